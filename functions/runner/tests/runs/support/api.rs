//! The runner API in memory.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use gantry_domain::{
    plan::{Change, Warning},
    protocol::{
        BeatAnswer, ClaimAnswer, ClaimRequest, LockInfo, LogChunk, Report, ReportKind, StateCommit,
        StateDoubt, Upload, UploadAnswer, UploadRequest, VERSION, VERSION_HEADER,
    },
};
use gantry_engine::files::digest;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

/// Must never be seen in a log: the tests' runs have it as a secret variable.
pub(crate) const LOG_SECRET: &str = "hunter-22-hunter";

#[derive(Default)]
pub(crate) struct Data {
    offered: Option<(String, ClaimAnswer)>,
    nonce: Option<String>,
    run_token: String,
    source: Vec<u8>,
    /// Answers 202 this many times.
    pub(crate) source_waits: u32,
    log: String,
    log_received: u64,
    pub(crate) reports: Vec<ReportKind>,
    /// What the last report says that the tool warned of.
    pub(crate) warnings: Vec<Warning>,
    /// What the last report says a person must look at.
    pub(crate) doubt: Option<StateDoubt>,
    last_sequence: u32,
    pub(crate) plan: Option<Vec<u8>>,
    change: Option<Change>,
    pub(crate) stop: Option<String>,
    /// How many signs of life there were.
    pub(crate) beats: u32,
    /// Every token is refused.
    pub(crate) gone: bool,
    pub(crate) uploads: HashMap<String, Bytes>,
    /// The tokens with which the registry was asked for versions of a module.
    pub(crate) registry_tokens: Vec<String>,
    /// The versions of the state, the last one is current.
    pub(crate) states: Vec<Bytes>,
    pub(crate) rescued: Vec<Bytes>,
    pub(crate) lock: Option<LockInfo>,
    /// How often somebody wanted the lock that another one has.
    pub(crate) locks_refused: u32,
    /// Answers 503 to this many commits of a state.
    pub(crate) failing_commits: u32,
    /// Answers 503 to this many requests of any kind.
    pub(crate) failing: u32,
    /// Answers 422 to every commit of a state.
    pub(crate) refuses_states: bool,
    /// When the network is gone, until the test says otherwise.
    pub(crate) cut: Option<Cut>,
    /// Answers 422 to this many reports of an apply that was done.
    pub(crate) refused_applied: u32,
    /// What a backend of the code's own holds, at `own/state`.
    pub(crate) own_state: Option<Bytes>,
    /// Sends large bodies to the storage's own addresses.
    pub(crate) signs: bool,
    pub(crate) state_reads: u32,
    /// What was asked of the state and its lock, in order.
    pub(crate) state_calls: Vec<String>,
    /// Where the report that an apply is done gets no answer.
    pub(crate) hang: Option<Hang>,
    /// One waits for its answer.
    pub(crate) hangs: bool,
    /// How often it was asked for a further run.
    pub(crate) asked_further: u32,
}

/// When an answer to the report that an apply is done is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hang {
    /// Before it was taken.
    BeforeTheEnd,
    /// After that.
    AfterTheEnd,
}

/// When nobody answers any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before a state is taken.
    BeforeTheState,
    /// A state is taken, and nobody is told so.
    AfterTheState,
    /// The report of the end is not taken.
    BeforeTheEnd,
}

impl Data {
    /// The network is gone from here on, if it was to be.
    fn is_cut(&mut self, at: Cut) -> bool {
        let is_now = self.cut == Some(at);
        if is_now {
            self.failing = u32::MAX;
        }
        is_now
    }

    /// The network is back.
    pub(crate) fn mend(&mut self) {
        (self.failing, self.cut, self.refuses_states) = (0, None, false);
    }
}

pub(crate) struct Api {
    pub(crate) address: String,
    shared: Shared,
}

#[derive(Clone)]
struct Shared {
    data: Arc<Mutex<Data>>,
    address: String,
}

impl Shared {
    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap()
    }
}

impl Api {
    pub(crate) async fn start(source: Vec<u8>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let data = Arc::new(Mutex::new(Data { source, ..Data::default() }));
        let shared = Shared { data, address: address.clone() };
        let router = router(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address: format!("{address}/some/prefix/"), shared }
    }

    pub(crate) fn offer(&self, claim_token: &str, claim: ClaimAnswer) {
        let mut data = self.data();
        data.offered = Some((claim_token.to_owned(), claim));
        (data.nonce, data.last_sequence) = (None, 0);
        data.log.clear();
        data.log_received = 0;
    }

    /// A backend of the code's own.
    pub(crate) fn own_backend(&self) -> String {
        let address = format!("{}/own/state", self.shared.address);
        format!("terraform {{\n  backend \"http\" {{\n    address = \"{address}\"\n  }}\n}}\n")
    }

    /// Other files than those it began with.
    pub(crate) fn push(&self, source: Vec<u8>) {
        self.data().source = source;
    }

    pub(crate) fn data(&self) -> MutexGuard<'_, Data> {
        self.shared.data.lock().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.data().log.clone()
    }

    pub(crate) fn reports(&self) -> Vec<ReportKind> {
        self.data().reports.clone()
    }

    pub(crate) fn change(&self) -> Change {
        self.data().change.clone().unwrap()
    }
}

/// What Lambda takes, less what it makes of the body.
const LARGEST_BODY: usize = 4_500_000;

fn router(shared: Shared) -> Router {
    let api = Router::new()
        .route("/claim", post(claim))
        .route("/further", post(further))
        .route("/source", get(source))
        .route("/log", post(log))
        .route("/beat", post(beat))
        .route("/report", post(report))
        .route("/change", put(change))
        .route("/upload", post(upload))
        .route("/plan", get(read_plan).put(write_body))
        .route("/state", get(read_state).post(commit_state))
        .route("/state/upload", put(write_body))
        .route("/state/lock", post(lock).delete(unlock))
        .layer(middleware::from_fn_with_state(shared.clone(), door))
        .layer(DefaultBodyLimit::max(LARGEST_BODY));
    Router::new()
        .nest("/some/prefix/runner/v1", api)
        .route("/some/prefix/registry/v1/modules/acme/zone/dns/versions", get(versions))
        .route("/some/prefix/registry/v1/modules/acme/zone/dns/1.0.0/download", get(download))
        .route("/storage/{*key}", get(storage_get).put(storage_put))
        .route("/own/state", get(read_own).post(write_own))
        .with_state(shared)
}

async fn door(
    State(shared): State<Shared>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    assert_eq!(headers[VERSION_HEADER], VERSION.to_string());
    {
        let mut data = shared.data();
        if data.failing > 0 {
            data.failing -= 1;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let bearer = headers[header::AUTHORIZATION].to_str().unwrap();
        let claims = request.uri().path().ends_with("/claim");
        let expected = match (&data.offered, claims) {
            (Some((token, _)), true) => token.clone(),
            _ => data.run_token.clone(),
        };
        if data.gone || bearer != format!("Bearer {expected}") {
            return StatusCode::GONE.into_response();
        }
        let path = request.uri().path();
        if path.starts_with("/state") {
            data.state_calls.push(format!("{} {path}", request.method()));
        }
    }
    next.run(request).await
}

async fn claim(State(shared): State<Shared>, Json(request): Json<ClaimRequest>) -> Response {
    let mut data = shared.data();
    assert_eq!(request.nonce.len(), 32);
    assert!(request.heeds_options);
    if data.nonce.as_ref().is_some_and(|nonce| *nonce != request.nonce) {
        return StatusCode::GONE.into_response();
    }
    data.nonce = Some(request.nonce);
    let answer = data.offered.as_ref().unwrap().1.clone();
    data.run_token = answer.run_token.clone();
    Json(answer).into_response()
}

async fn versions(State(shared): State<Shared>, headers: HeaderMap) -> Json<serde_json::Value> {
    let token = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
    shared.data().registry_tokens.push(token);
    Json(serde_json::json!({ "modules": [{ "versions": [{ "version": "1.0.0" }] }] }))
}

async fn download(State(shared): State<Shared>) -> impl IntoResponse {
    let address = format!("{}/storage/zone.tar.gz//project-0123", shared.address);
    (StatusCode::NO_CONTENT, [("x-terraform-get", address)])
}

async fn further(State(shared): State<Shared>) -> StatusCode {
    shared.data().asked_further += 1;
    StatusCode::NO_CONTENT
}

async fn source(State(shared): State<Shared>) -> Response {
    let mut data = shared.data();
    if data.source_waits > 0 {
        data.source_waits -= 1;
        let waits = "Waits for the commit's source.";
        return (StatusCode::ACCEPTED, [(header::RETRY_AFTER, "0")], waits).into_response();
    }
    let body = Bytes::from(data.source.clone());
    shared.body(&mut data, body)
}

impl Shared {
    /// The body, or where it is.
    fn body(&self, data: &mut Data, body: Bytes) -> Response {
        if !data.signs {
            return body.into_response();
        }
        let key = digest(&body);
        data.uploads.insert(key.clone(), body);
        let location = format!("{}/storage/{key}?signature=x", self.address);
        (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response()
    }
}

async fn log(State(shared): State<Shared>, Json(chunk): Json<LogChunk>) -> StatusCode {
    let mut data = shared.data();
    assert!(!chunk.text.contains(LOG_SECRET), "{}", chunk.text);
    // What was taken before is not taken again; what is missing will never come.
    if chunk.offset >= data.log_received {
        data.log.push_str(&chunk.text);
        data.log_received = chunk.offset + chunk.text.len() as u64;
    }
    StatusCode::NO_CONTENT
}

async fn beat(State(shared): State<Shared>) -> Json<BeatAnswer> {
    let mut data = shared.data();
    data.beats += 1;
    Json(BeatAnswer { stop: data.stop.clone() })
}

async fn read_own(State(shared): State<Shared>) -> Response {
    match shared.data().own_state.clone() {
        Some(state) => state.into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn write_own(State(shared): State<Shared>, body: Bytes) {
    shared.data().own_state = Some(body);
}

async fn report(State(shared): State<Shared>, Json(report): Json<Report>) -> StatusCode {
    let is_end = matches!(report.what, ReportKind::Applied { .. });
    let hang = shared.data().hang.filter(|_| is_end);
    let answer = match hang {
        Some(Hang::BeforeTheEnd) => StatusCode::ACCEPTED,
        _ => take_report(&shared, report),
    };
    if hang.is_some() {
        shared.data().hangs = true;
        std::future::pending::<()>().await;
    }
    answer
}

fn take_report(shared: &Shared, report: Report) -> StatusCode {
    let mut data = shared.data();
    let is_applied = matches!(report.what, ReportKind::Applied { .. });
    if is_applied && data.is_cut(Cut::BeforeTheEnd) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if data.refused_applied > 0 && matches!(report.what, ReportKind::Applied { .. }) {
        data.refused_applied -= 1;
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    // One may have been refused, and that a preview goes on and plans is told only where it lasts.
    assert!((data.last_sequence..=data.last_sequence + 3).contains(&report.sequence));
    if report.sequence > data.last_sequence {
        data.last_sequence = report.sequence;
        data.doubt = report.doubt;
        data.warnings = report.warnings;
        data.reports.push(report.what);
    }
    StatusCode::ACCEPTED
}

async fn change(State(shared): State<Shared>, Json(change): Json<Change>) -> StatusCode {
    shared.data().change = Some(change);
    StatusCode::NO_CONTENT
}

async fn upload(State(shared): State<Shared>, Json(request): Json<UploadRequest>) -> Response {
    let signs = shared.data().signs;
    let largest = shared.data().offered.as_ref().unwrap().1.largest_state;
    if request.what == Upload::State && request.size > largest {
        return (StatusCode::PAYLOAD_TOO_LARGE, "it is too large").into_response();
    }
    let kind = match request.what {
        Upload::Plan => "plan",
        Upload::State => "state",
    };
    let url = signs.then(|| format!("{}/storage/{kind}/{}", shared.address, request.digest));
    let headers = BTreeMap::from([("x-signed".to_owned(), request.size.to_string())]);
    Json(UploadAnswer { url, headers }).into_response()
}

#[derive(Deserialize)]
struct Digest {
    digest: String,
}

async fn write_body(
    State(shared): State<Shared>,
    Query(Digest { digest: expected }): Query<Digest>,
    request: Request,
) -> StatusCode {
    let is_plan = request.uri().path().ends_with("/plan");
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    shared.keep(&expected, body, is_plan)
}

impl Shared {
    fn keep(&self, expected: &str, body: Bytes, is_plan: bool) -> StatusCode {
        if digest(&body) != expected {
            return StatusCode::UNPROCESSABLE_ENTITY;
        }
        let mut data = self.data();
        if is_plan {
            data.plan = Some(body.to_vec());
        }
        data.uploads.insert(expected.to_owned(), body);
        StatusCode::NO_CONTENT
    }
}

async fn storage_put(
    State(shared): State<Shared>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    // As S3: one kind of authorization, a known length, the signed headers.
    if headers.contains_key(header::AUTHORIZATION) {
        return StatusCode::BAD_REQUEST;
    }
    assert_eq!(headers["content-length"], headers["x-signed"]);
    let (kind, digest) = key.split_once('/').unwrap();
    shared.keep(digest, body, kind == "plan")
}

async fn storage_get(
    State(shared): State<Shared>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Response {
    if headers.contains_key(header::AUTHORIZATION) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    shared.data().uploads.get(&key).cloned().unwrap().into_response()
}

async fn read_plan(State(shared): State<Shared>) -> Response {
    let mut data = shared.data();
    let plan = data.plan.clone().unwrap();
    shared.body(&mut data, plan.into())
}

async fn read_state(State(shared): State<Shared>) -> Response {
    let mut data = shared.data();
    data.state_reads += 1;
    match data.states.last().cloned() {
        Some(state) => shared.body(&mut data, state),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn commit_state(State(shared): State<Shared>, Json(commit): Json<StateCommit>) -> Response {
    let mut data = shared.data();
    let Some(body) = data.uploads.get(&commit.digest).cloned() else {
        return (StatusCode::UNPROCESSABLE_ENTITY, "not uploaded").into_response();
    };
    if data.refuses_states {
        return (StatusCode::UNPROCESSABLE_ENTITY, "no state is taken").into_response();
    }
    if data.is_cut(Cut::BeforeTheState) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if commit.rescued {
        data.rescued.push(body);
        return StatusCode::NO_CONTENT.into_response();
    }
    if data.failing_commits > 0 {
        data.failing_commits -= 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if data.lock.as_ref().map(|lock| lock.id.clone()) != commit.lock_id {
        return (StatusCode::CONFLICT, "the state is not locked by this run").into_response();
    }
    data.states.push(body);
    match data.is_cut(Cut::AfterTheState) {
        true => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        false => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn lock(State(shared): State<Shared>, body: Bytes) -> Response {
    let info: LockInfo = serde_json::from_slice(&body).unwrap();
    let mut data = shared.data();
    if let Some(holder) = data.lock.clone().filter(|holder| holder.id != info.id) {
        data.locks_refused += 1;
        return (StatusCode::LOCKED, Json(holder)).into_response();
    }
    data.lock = Some(info);
    StatusCode::NO_CONTENT.into_response()
}

async fn unlock(State(shared): State<Shared>, body: Bytes) -> StatusCode {
    let info: LockInfo = serde_json::from_slice(&body).unwrap();
    let mut data = shared.data();
    if data.lock.as_ref().is_some_and(|holder| holder.id != info.id) {
        return StatusCode::CONFLICT;
    }
    data.lock = None;
    StatusCode::NO_CONTENT
}
