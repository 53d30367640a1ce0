//! Terraform's `http` backend, served on loopback for one run and answered by the runner API.
//!
//! A body that Terraform writes is on the disk before anything else is done with it, and stays
//! there until the runner API has it. While that takes, Terraform waits for its answer. Room for it
//! is reserved before anything is applied; what finds none even so stays in memory.

use crate::{
    api::{Api, ApiError},
    log::Log,
};
use anyhow::Context;
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, Request, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use gantry_domain::protocol::{LockInfo, StateCommit};
use gantry_engine::{backend::HttpBackend, files};
use gantry_setup::web;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};
use subtle::ConstantTimeEq;
use tokio::{net::TcpListener, sync::OnceCell, task::JoinHandle};

const USERNAME: &str = "gantry";
/// Room on the disk for a state that comes when the disk is full.
const RESERVE: u64 = 32 << 20;
/// The folder of a run's bodies.
pub(crate) const STATES: &str = "states";
/// The file that keeps that room.
const RESERVED: &str = "reserved";

/// What a run may do with the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reads one version for its whole life.
    Pinned,
    /// Locks, reads and writes.
    Write,
}

/// The server; it ends when this is dropped.
pub(crate) struct StateServer {
    backend: HttpBackend,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    api: Api,
    log: Log,
    folder: PathBuf,
    access: Access,
    authorization: String,
    pinned: OnceCell<Option<Bytes>>,
    writes: AtomicU32,
    /// The size of the state that Terraform read last.
    last_read: AtomicU64,
    /// The state as Terraform has read or brought it last.
    newest: Mutex<Option<Bytes>>,
    /// The lock as Terraform took it, until it gives it back.
    held: Mutex<Option<Bytes>>,
    /// The newest state, where it is neither on the disk nor with the runner API.
    unsaved: Mutex<Option<Bytes>>,
}

/// What became of bodies that could not be delivered in time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rescue {
    /// The runner API keeps them aside.
    pub(crate) kept_aside: usize,
    /// The runner API has them already, as the current state.
    pub(crate) current: usize,
    /// They are still on this machine.
    pub(crate) left: Vec<PathBuf>,
    /// The runner API did not answer: it is worth trying again.
    pub(crate) is_unavailable: bool,
}

/// Leaves with the runner API, kept aside, what it did not take in time: the bodies at `paths` in a
/// run's folder, those that are there. What it has is removed here.
pub(crate) async fn rescue(api: &Api, run: &Path, paths: &[PathBuf]) -> Rescue {
    let mut rescue = Rescue::default();
    let mut last = None;
    for path in paths {
        let Some(body) = read(run, path) else { continue };
        let content = content(&body);
        let delivered = match last.as_ref() == Some(&content) {
            true => Ok(()),
            false => keep_aside(api, &body, &content, &mut rescue).await,
        };
        match delivered {
            Ok(()) => {
                last = Some(content);
                let _ = files::remove_file(run, path);
                if path.parent() == Some(&run.join(STATES)) {
                    // It holds everything that those before it held.
                    remove_all(&run.join(STATES));
                }
            }
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "a state could not be rescued");
                rescue.is_unavailable |= matches!(error, ApiError::Unavailable(_));
                rescue.left.push(path.clone());
            }
        }
    }
    rescue
}

/// The same with a body that is nowhere else.
pub(crate) async fn rescue_from_memory(api: &Api, body: &Bytes, rescue: &mut Rescue) -> bool {
    let delivered = keep_aside(api, body, &content(body), rescue).await;
    if let Err(error) = &delivered {
        tracing::error!(%error, "a state could not be rescued and exists only in memory");
    }
    delivered.is_ok()
}

/// Unless it is the current one: whoever brought it may have died before it was told so.
async fn keep_aside(
    api: &Api,
    body: &Bytes,
    content: &[u8],
    rescue: &mut Rescue,
) -> Result<(), ApiError> {
    if api.state().await?.is_some_and(|current| self::content(&current) == content) {
        rescue.current += 1;
        return Ok(());
    }
    let commit = StateCommit { lock_id: None, digest: files::digest(body), rescued: true };
    api.put_state(body, &commit).await?;
    rescue.kept_aside += 1;
    Ok(())
}

impl StateServer {
    /// Serves on a port of its own to who knows the password; bodies are kept in `folder`.
    pub(crate) async fn start(
        api: Api,
        log: Log,
        password: &str,
        folder: &Path,
        access: Access,
    ) -> anyhow::Result<Self> {
        files::make_folder(folder, 0o700)?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port on loopback")?;
        let backend = HttpBackend {
            address: format!("http://{}", listener.local_addr()?),
            username: USERNAME.to_owned(),
            password: password.to_owned(),
        };
        let credentials = STANDARD.encode(format!("{USERNAME}:{}", backend.password));
        let shared = Arc::new(Shared {
            api,
            log,
            folder: folder.to_owned(),
            access,
            authorization: format!("Basic {credentials}"),
            pinned: OnceCell::new(),
            writes: AtomicU32::new(0),
            last_read: AtomicU64::new(0),
            newest: Mutex::new(None),
            held: Mutex::new(None),
            unsaved: Mutex::new(None),
        });
        let router = router(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(web::at_once(listener), router).await {
                tracing::error!(%error, "the state is no longer served");
            }
        });
        Ok(Self { backend, shared, task })
    }

    /// What Terraform is told.
    pub(crate) fn backend(&self) -> &HttpBackend {
        &self.backend
    }

    /// Gives back the lock of a Terraform that was ended before it could, and had nothing to write.
    pub(crate) async fn release(&self) {
        let Some(info) = take(&self.shared.held) else { return };
        if let Err(error) = self.shared.api.unlock(&info).await {
            tracing::warn!(%error, "the lock of the state could not be released");
        }
    }

    /// Makes sure that there is room for a state.
    pub(crate) fn reserve(&self) -> std::io::Result<()> {
        files::reserve(&self.shared.reserved(), RESERVE)
    }

    /// Takes the state that is in memory alone.
    pub(crate) fn take_unsaved(&self) -> Option<Bytes> {
        take(&self.shared.unsaved)
    }

    /// Tries to put a state onto the disk.
    pub(crate) fn save(&self, body: &Bytes) -> std::io::Result<()> {
        self.shared.save(body)
    }

    /// How many bytes the state has that Terraform read last; 0 while there was none.
    pub(crate) fn last_read(&self) -> u64 {
        self.shared.last_read.load(Ordering::SeqCst)
    }

    /// The state as Terraform has read or brought it last, if there was one.
    pub(crate) fn newest(&self) -> Option<Bytes> {
        self.shared.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether Terraform has brought a state.
    pub(crate) fn was_written(&self) -> bool {
        self.shared.writes.load(Ordering::SeqCst) > 0
    }
}

impl Drop for StateServer {
    fn drop(&mut self) {
        self.task.abort();
        let _gone_with_its_folder = std::fs::remove_file(self.shared.reserved());
    }
}

/// What a state says, whatever its form. OpenTofu sends it without white space, and writes what it
/// could not send with some, under the next serial.
fn content(body: &[u8]) -> Vec<u8> {
    let Ok(mut fields) = serde_json::from_slice::<BTreeMap<&str, &RawValue>>(body) else {
        return body.to_vec();
    };
    fields.remove("serial");
    let mut content = Vec::new();
    for (name, value) in fields {
        content.extend_from_slice(name.as_bytes());
        let (mut in_text, mut escaped) = (false, false);
        for byte in value.get().bytes() {
            if in_text || !byte.is_ascii_whitespace() {
                content.push(byte);
            }
            in_text ^= byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
        }
    }
    content
}

/// Removes the bodies in `folder`: what they hold is with the runner API.
fn remove_all(folder: &Path) {
    for body in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let _ = std::fs::remove_file(body.path());
    }
}

fn read(run: &Path, path: &Path) -> Option<Bytes> {
    let mut file = files::open_regular(run, path).ok()?;
    let mut body = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut body).ok()?;
    // A disk that is full lets Terraform make a file, and write nothing into it.
    (!body.is_empty()).then(|| body.into())
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/state", get(read_state).post(write_state))
        .route("/lock", post(take_lock).delete(release_lock))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), authorize))
        // What Terraform has made is kept, whatever its size: the runner API says what it takes.
        .layer(DefaultBodyLimit::disable())
        .with_state(shared)
}

/// Other users of this machine reach the port too.
async fn authorize(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    match bool::from(given.ct_eq(shared.authorization.as_bytes())) {
        true => next.run(request).await,
        false => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn read_state(State(shared): State<Arc<Shared>>) -> Response {
    let state = match shared.access {
        Access::Write => shared.api.state().await,
        Access::Pinned => shared.pinned.get_or_try_init(|| shared.api.state()).await.cloned(),
    };
    match state {
        Ok(Some(body)) => {
            shared.last_read.store(body.len() as u64, Ordering::SeqCst);
            shared.remember(&body);
            body.into_response()
        }
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refuse(&error),
    }
}

#[derive(Deserialize)]
struct LockId {
    #[serde(rename = "ID")]
    id: Option<String>,
}

async fn write_state(
    State(shared): State<Arc<Shared>>,
    Query(lock): Query<LockId>,
    body: Bytes,
) -> Response {
    if shared.access != Access::Write {
        return (StatusCode::FORBIDDEN, "this run cannot write the state").into_response();
    }
    // A task of its own: a Terraform that goes away does not end it.
    let written = tokio::spawn(async move { shared.write(lock.id, body).await });
    match written.await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(text)) => (StatusCode::BAD_GATEWAY, text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Shared {
    fn remember(&self, body: &Bytes) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(body.clone());
    }

    async fn write(self: Arc<Self>, lock_id: Option<String>, body: Bytes) -> Result<(), String> {
        let (shared, copy) = (Arc::clone(&self), body.clone());
        let saved = tokio::task::spawn_blocking(move || shared.save(&copy)).await;
        let saved = saved.map_err(std::io::Error::other).flatten();
        set_or_take(&self.unsaved, saved.is_err().then(|| body.clone()));
        if let Err(error) = &saved {
            tracing::error!(%error, "a state could not be written to the disk first");
        }
        self.remember(&body);
        let commit = StateCommit { lock_id, digest: files::digest(&body), rescued: false };
        match self.api.put_state(&body, &commit).await {
            Ok(()) => {
                // It holds everything that an earlier one held.
                take(&self.unsaved);
                remove_all(&self.folder);
                Ok(())
            }
            Err(error) => {
                // Terraform does not show the answer's text.
                let text = text_of(&error);
                self.log.say(&format!("the state was not accepted: {text}"));
                if let Err(error) = saved {
                    let folder = self.folder.display();
                    let line = format!("the state cannot be kept in {folder} either: {error}");
                    self.log.say(&line);
                }
                Err(text)
            }
        }
    }

    /// Puts a body onto the disk, into the room that was reserved where there is no other.
    fn save(&self, body: &Bytes) -> std::io::Result<()> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        // Never the name of one that an earlier runner had to leave here.
        let name = format!("{}-{number:04}.tfstate", std::process::id());
        let path = self.folder.join(name);
        // Half of one is none.
        let part = path.with_extension("part");
        let write = || files::write_private(&part, body);
        write()
            .or_else(|_| std::fs::remove_file(self.reserved()).and_then(|()| write()))
            .and_then(|()| std::fs::rename(&part, &path))
            .inspect_err(|_| {
                let _nothing_of_it_helps = std::fs::remove_file(&part);
            })
    }

    fn reserved(&self) -> PathBuf {
        self.folder.with_file_name(RESERVED)
    }
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn set_or_take<T>(place: &Mutex<Option<T>>, value: Option<T>) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = value;
}

fn set<T>(place: &Mutex<Option<T>>, value: T) {
    set_or_take(place, Some(value));
}

async fn take_lock(State(shared): State<Arc<Shared>>, info: Bytes) -> Response {
    if shared.access != Access::Write {
        return (StatusCode::FORBIDDEN, "this run cannot lock the state").into_response();
    }
    match shared.api.lock(&info).await {
        Ok(()) => {
            set(&shared.held, info);
            StatusCode::OK.into_response()
        }
        Err(ApiError::Conflict(holder)) => {
            // Terraform shows its own name and only the holder's id.
            if let Ok(LockInfo { who, operation, created, .. }) = serde_json::from_slice(&holder) {
                let line = format!("the state is locked by {who} ({operation}) since {created}");
                shared.log.say(&line);
            }
            (StatusCode::LOCKED, holder).into_response()
        }
        Err(error) => refuse(&error),
    }
}

async fn release_lock(State(shared): State<Arc<Shared>>, info: Bytes) -> Response {
    if shared.access != Access::Write {
        return (StatusCode::FORBIDDEN, "this run cannot unlock the state").into_response();
    }
    match shared.api.unlock(&info).await {
        Ok(()) => {
            take(&shared.held);
            StatusCode::OK.into_response()
        }
        Err(ApiError::Conflict(holder)) => (StatusCode::CONFLICT, holder).into_response(),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &ApiError) -> Response {
    (StatusCode::BAD_GATEWAY, text_of(error)).into_response()
}

fn text_of(error: &ApiError) -> String {
    match error {
        ApiError::Conflict(body) => String::from_utf8_lossy(body).into_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_domain::protocol::UploadAnswer;
    use std::time::{Duration, SystemTime};

    /// Two bodies could not be delivered while the run went on, and the newer one can be at its end.
    #[tokio::test]
    async fn a_body_that_is_delivered_later_takes_those_before_it_along() {
        let upload = async || axum::Json(UploadAnswer::default());
        let routes = Router::new()
            .route("/state", get(async || StatusCode::NO_CONTENT).post(async || StatusCode::OK))
            .route("/upload", post(upload))
            .route("/state/upload", axum::routing::put(async || StatusCode::OK));
        let routes = Router::new().nest("/runner/v1", routes);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let api = Api::new(&address, "t".to_owned().into(), Duration::ZERO).unwrap();

        let run = tempfile::tempdir().unwrap();
        let states = run.path().join(STATES);
        files::make_folder(&states, 0o700).unwrap();
        for (number, at) in [(0, 10), (1, 20)] {
            let path = states.join(format!("1-{number:04}.tfstate"));
            std::fs::write(&path, format!("{{\"serial\":{number}}}")).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(at)).unwrap();
        }
        let rescued = rescue(&api, run.path(), &crate::rescue::left(run.path(), "")).await;
        assert_eq!((rescued.kept_aside, rescued.left.len()), (1, 0));
        assert_eq!(std::fs::read_dir(&states).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn a_state_is_the_same_in_another_form_and_under_another_serial() {
        let sent = br#"{"version":4,"serial":1,"outputs":{"a":{"value":"x \" y","n":1.50}}}"#;
        let written = br#"{
            "version": 4, "serial": 2,
            "outputs": { "a": { "value": "x \" y", "n": 1.50 } }
        }"#;
        assert_eq!(content(sent), content(written));
        for other in [r#"x \"  y"#, r#"x \" z"#] {
            let other = String::from_utf8_lossy(sent).replace(r#"x \" y"#, other);
            assert_ne!(content(sent), content(other.as_bytes()), "{other}");
        }
        assert_ne!(content(b"no JSON"), content(b"no  JSON"));
    }
}
