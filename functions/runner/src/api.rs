//! The runner API's client. Every call is tried again until its patience ends; what comes back
//! says what to do next.

use bytes::Bytes;
use gantry_domain::{
    plan::Change,
    protocol::{
        BeatAnswer, ClaimAnswer, ClaimRequest, LogChunk, NextAnswer, Report, StateCommit, Upload,
        UploadAnswer, UploadRequest, VERSION, VERSION_HEADER, claim_purpose,
    },
};
use gantry_setup::identity::Prover;
use rand::RngExt;
use reqwest::{
    Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode,
    header::{CONTENT_LENGTH, LOCATION, RETRY_AFTER},
    redirect::Policy,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};
use url::Url;

/// What to do when a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// Stop: the token is no longer good.
    #[error("the run no longer belongs to this runner")]
    Gone,
    /// Do not try again.
    #[error("{0}")]
    Refused(String),
    /// Somebody else was first; the body that says who.
    #[error("the runner API answered with a conflict")]
    Conflict(Bytes),
    /// It was tried until patience ended.
    #[error("the runner API cannot be reached: {0}")]
    Unavailable(String),
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const BEAT_TIMEOUT: Duration = Duration::from_secs(8);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Of a refusal's text.
const LONGEST_MESSAGE: usize = 1000;

/// A client that trusts the machine's authorities, which it reads now: that takes milliseconds.
pub(crate) fn http_client() -> reqwest::Result<Client> {
    builder().build()
}

/// The same without redirects: they are followed by hand, without the token.
fn client_of_api() -> reqwest::Result<Client> {
    builder().redirect(Policy::none()).build()
}

/// The same for addresses without TLS.
fn plain_client() -> reqwest::Result<Client> {
    builder().redirect(Policy::none()).tls_certs_only([]).build()
}

fn builder() -> ClientBuilder {
    // The first one stays; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT)
}

/// Speaks for one run. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    http: Client,
    base: Url,
    token: SecretString,
    patience: Duration,
}

impl Api {
    pub(crate) fn new(
        api: &Url,
        claim_token: SecretString,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let mut base = api.clone();
        base.path_segments_mut()
            .map_err(|()| anyhow::anyhow!("{api} is not the address of a runner API"))?
            .pop_if_empty()
            .extend(["runner", "v1", ""]);
        let http = match base.scheme() {
            "http" => plain_client()?,
            _ => client_of_api()?,
        };
        Ok(Self { http, base, token: claim_token, patience })
    }

    /// The same with another patience.
    pub(crate) fn with_patience(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// Takes the phase and, with it, the token for everything else.
    pub(crate) async fn claim(
        &mut self,
        runner: &str,
        prover: Option<&Prover>,
        tells_again: bool,
    ) -> Result<ClaimAnswer, ApiError> {
        let nonce = hex::encode(rand::random::<[u8; 16]>());
        let runner = runner.to_owned();
        let mut request =
            ClaimRequest { runner, nonce, identity: None, tells_again, heeds_options: true };
        let purpose = claim_purpose(self.token.expose_secret());
        let mut retry = Retry::new(self.patience);
        let answer = loop {
            // Anew for each try: a proof is good for a minute.
            if let Some(prover) = prover {
                let proof = prover.prove(&purpose).await;
                request.identity = Some(proof.map_err(|e| ApiError::Refused(e.to_string()))?);
            }
            match attempt(self.request(Method::POST, "claim").json(&request)).await {
                Err(error) => retry.after(error).await?,
                Ok(answer) => break answer,
            }
        };
        let claim: ClaimAnswer = answer.json().await.map_err(unreadable)?;
        self.token = claim.run_token.clone().into();
        Ok(claim)
    }

    /// Downloads the commit's archive from this address of the storage, or else by the runner API, for
    /// as long as it takes to be fetched. What is waited for is said once.
    pub(crate) async fn source(
        &self,
        address: Option<&str>,
        to: &Path,
        limit: u64,
        say: impl Fn(&str),
    ) -> Result<(), ApiError> {
        if let Some(address) = address {
            match self.save_from(address, to, limit).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::info!(%error, "the source is not there yet, or not to be had")
                }
            }
        }
        let mut is_said = false;
        loop {
            let answer = self.download("source", to, limit).await?;
            if answer.status != StatusCode::ACCEPTED {
                return Ok(());
            }
            let text = std::fs::read_to_string(to).unwrap_or_default();
            if !is_said && !text.trim().is_empty() {
                say(text.trim());
                is_said = true;
            }
            let wait = answer.wait.unwrap_or(Duration::from_secs(1));
            tokio::time::sleep(wait.clamp(Duration::from_millis(50), LONGEST_WAIT)).await;
        }
    }

    /// Downloads the saved plan.
    pub(crate) async fn plan(&self, to: &Path, limit: u64) -> Result<(), ApiError> {
        self.download("plan", to, limit).await.map(|_| ())
    }

    pub(crate) async fn put_plan(
        &self,
        file: &Path,
        digest: &str,
        size: u64,
    ) -> Result<(), ApiError> {
        let path = format!("plan?digest={digest}");
        let what = UploadRequest { what: Upload::Plan, digest: digest.to_owned(), size };
        self.upload(&what, &path, || {
            let file = File::open(file).map_err(|error| ApiError::Refused(error.to_string()))?;
            Ok(reqwest::Body::from(tokio::fs::File::from_std(file)))
        })
        .await
    }

    pub(crate) async fn put_change(&self, change: &Change) -> Result<(), ApiError> {
        self.send_json(Method::PUT, "change", change).await
    }

    pub(crate) async fn log(&self, chunk: &LogChunk) -> Result<(), ApiError> {
        self.send_json(Method::POST, "log", chunk).await
    }

    ///
    /// Each try says anew how long ago the plan began that the report is about, if it is.
    pub(crate) async fn report(
        &self,
        report: &Report,
        plans_since: Option<Instant>,
    ) -> Result<(), ApiError> {
        let told = || Report {
            planning_for: plans_since
                .map_or(report.planning_for, |since| Some(milliseconds(since))),
            ..report.clone()
        };
        self.send(|| self.request(Method::POST, "report").json(&told())).await?;
        Ok(())
    }

    /// Another run, when there is one now: `next` for a worker, `further` for a machine whose run
    /// has ended.
    pub(crate) async fn ask_for_run(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<Option<NextAnswer>, ApiError> {
        let mut retry = Retry::new(self.patience);
        loop {
            let answer = self.send(|| self.request(Method::POST, path).json(request)).await?;
            if answer.status() == StatusCode::NO_CONTENT {
                return Ok(None);
            }
            match answer.bytes().await {
                Err(error) => retry.after(unavailable(error).into()).await?,
                Ok(body) => {
                    let unreadable = |error| ApiError::Refused(format!("no run is in it: {error}"));
                    return serde_json::from_slice(&body).map(Some).map_err(unreadable);
                }
            }
        }
    }

    /// One sign of life; not tried again, the next one comes anyway.
    pub(crate) async fn beat(&self) -> Result<BeatAnswer, ApiError> {
        let request = self.request(Method::POST, "beat").timeout(BEAT_TIMEOUT);
        let answer = check(request.send().await.map_err(unavailable)?).await?;
        answer.json().await.map_err(unreadable)
    }

    /// The state; none while there is none.
    pub(crate) async fn state(&self) -> Result<Option<Bytes>, ApiError> {
        let mut retry = Retry::new(self.patience);
        loop {
            let answer = self.get("state").await?;
            if answer.status() == StatusCode::NO_CONTENT {
                return Ok(None);
            }
            match answer.bytes().await {
                Err(error) => retry.after(unavailable(error).into()).await?,
                Ok(body) => return Ok(Some(body)),
            }
        }
    }

    /// Locks the state for Terraform, which sent `info`.
    pub(crate) async fn lock(&self, info: &Bytes) -> Result<(), ApiError> {
        self.send(|| self.request(Method::POST, "state/lock").body(info.clone())).await?;
        Ok(())
    }

    pub(crate) async fn unlock(&self, info: &Bytes) -> Result<(), ApiError> {
        self.send(|| self.request(Method::DELETE, "state/lock").body(info.clone())).await?;
        Ok(())
    }

    /// Uploads a state's body and makes it the current one, or keeps it aside.
    pub(crate) async fn put_state(
        &self,
        body: &Bytes,
        commit: &StateCommit,
    ) -> Result<(), ApiError> {
        let digest = commit.digest.as_str();
        let size = body.len() as u64;
        let what = UploadRequest { what: Upload::State, digest: digest.to_owned(), size };
        let path = format!("state/upload?digest={digest}");
        self.upload(&what, &path, || Ok(body.clone().into())).await?;
        self.send_json(Method::POST, "state", commit).await
    }

    async fn upload(
        &self,
        what: &UploadRequest,
        path: &str,
        body: impl Fn() -> Result<reqwest::Body, ApiError>,
    ) -> Result<(), ApiError> {
        let mut retry = Retry::new(self.patience);
        loop {
            // Asked for each time: a signed address is good for minutes.
            let answer = self.send(|| self.request(Method::POST, "upload").json(what)).await?;
            let target: UploadAnswer = answer.json().await.map_err(unreadable)?;
            let request = match target.url {
                None => self.request(Method::PUT, path),
                Some(url) => {
                    let request = self.elsewhere(Method::PUT, &url)?;
                    target
                        .headers
                        .iter()
                        .fold(request, |request, (name, value)| request.header(name, value))
                }
            };
            let request = request.header(CONTENT_LENGTH, what.size).body(body()?);
            match attempt(request).await {
                Err(error) => retry.after(error).await?,
                Ok(_) => return Ok(()),
            }
        }
    }

    async fn send_json(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(), ApiError> {
        self.send(|| self.request(method.clone(), path).json(body)).await?;
        Ok(())
    }

    /// A `GET`, followed to where the body is.
    async fn get(&self, path: &str) -> Result<Response, ApiError> {
        let mut retry = Retry::new(self.patience);
        loop {
            let answer = self.send(|| self.request(Method::GET, path)).await?;
            let Some(location) = redirect_of(&answer) else { return Ok(answer) };
            match attempt(self.elsewhere(Method::GET, location.as_str())?).await {
                Err(error) => retry.after(error).await?,
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// A body into a file, from its start again when the connection breaks.
    async fn download(&self, path: &str, to: &Path, limit: u64) -> Result<Downloaded, ApiError> {
        let mut retry = Retry::new(self.patience);
        loop {
            let answer = self.get(path).await?;
            let downloaded = Downloaded { status: answer.status(), wait: retry_after(&answer) };
            match save(answer, to, limit).await {
                Err(error) => retry.after(error.into()).await?,
                Ok(()) => return Ok(downloaded),
            }
        }
    }

    /// What is at an address of the storage, in a file.
    async fn save_from(&self, address: &str, to: &Path, limit: u64) -> Result<(), ApiError> {
        let asked = attempt(self.elsewhere(Method::GET, address)?).await;
        let answer = asked.map_err(|failed| failed.error)?;
        match answer.status() {
            StatusCode::OK => save(answer, to, limit).await,
            other => Err(ApiError::Unavailable(format!("it answered {other}"))),
        }
    }

    /// A request to where the runner API sends us: storage, without the token.
    fn elsewhere(&self, method: Method, address: &str) -> Result<RequestBuilder, ApiError> {
        let is_plain = self.base.scheme() == "http";
        let http = match is_plain && !address.starts_with("http://") {
            true => client_of_api().map_err(unavailable)?,
            false => self.http.clone(),
        };
        Ok(http.request(method, address))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        // `path` is one of ours and always joins.
        let url = self.base.join(path).unwrap_or_else(|_| self.base.clone());
        self.http
            .request(method, url)
            .bearer_auth(self.token.expose_secret())
            .header(VERSION_HEADER, VERSION)
    }

    async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Response, ApiError> {
        let mut retry = Retry::new(self.patience);
        loop {
            match attempt(request()).await {
                Err(error) => retry.after(error).await?,
                Ok(answer) => return Ok(answer),
            }
        }
    }
}

/// What one attempt may say beyond [`ApiError`]: how long to wait.
struct Failed {
    error: ApiError,
    wait: Option<Duration>,
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self { error, wait: None }
    }
}

/// What is known of an answer whose body is in a file.
struct Downloaded {
    status: StatusCode,
    wait: Option<Duration>,
}

async fn save(mut answer: Response, to: &Path, limit: u64) -> Result<(), ApiError> {
    let broken = |error: std::io::Error| ApiError::Refused(format!("cannot write: {error}"));
    let mut file = File::create(to).map_err(broken)?;
    let mut size = 0;
    while let Some(chunk) = answer.chunk().await.map_err(unavailable)? {
        size += chunk.len() as u64;
        if size > limit {
            return Err(ApiError::Refused(format!("it is larger than {} MiB", limit >> 20)));
        }
        file.write_all(&chunk).map_err(broken)?;
    }
    Ok(())
}

async fn attempt(request: RequestBuilder) -> Result<Response, Failed> {
    match request.send().await {
        Err(error) => Err(unavailable(error).into()),
        Ok(answer) => {
            let wait = retry_after(&answer);
            check(answer).await.map_err(|error| Failed { error, wait })
        }
    }
}

async fn check(answer: Response) -> Result<Response, ApiError> {
    let status = answer.status();
    if status.is_success() || status.is_redirection() {
        return Ok(answer);
    }
    let body = answer.bytes().await.unwrap_or_default();
    let text = || String::from_utf8_lossy(&body).trim().chars().take(LONGEST_MESSAGE).collect();
    Err(match status {
        StatusCode::GONE => ApiError::Gone,
        StatusCode::CONFLICT | StatusCode::LOCKED => ApiError::Conflict(body),
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            ApiError::Unavailable(format!("it answered {status}"))
        }
        _ if body.is_empty() => ApiError::Refused(format!("the runner API answered {status}")),
        _ => ApiError::Refused(text()),
    })
}

fn redirect_of(answer: &Response) -> Option<Url> {
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    answer.status().is_redirection().then(|| answer.url().join(location).ok())?
}

fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds: f64 = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Addresses may be signed and are left out of texts.
fn unavailable(error: reqwest::Error) -> ApiError {
    ApiError::Unavailable(error.without_url().to_string())
}

fn unreadable(error: reqwest::Error) -> ApiError {
    ApiError::Refused(format!("the runner API's answer cannot be read: {}", error.without_url()))
}

/// Waits longer each time, until patience ends.
struct Retry {
    until: Instant,
    wait: Duration,
}

impl Retry {
    fn new(patience: Duration) -> Self {
        Self { until: Instant::now() + patience, wait: FIRST_WAIT }
    }

    async fn after(&mut self, failed: Failed) -> Result<(), ApiError> {
        let ApiError::Unavailable(_) = failed.error else { return Err(failed.error) };
        if Instant::now() >= self.until {
            return Err(failed.error);
        }
        tracing::warn!(error = %failed.error, "retrying the runner API");
        let jitter = rand::rng().random_range(0.5..1.0);
        let wait = failed.wait.unwrap_or(self.wait.mul_f64(jitter)).min(LONGEST_WAIT);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// How long ago that was.
pub(crate) fn milliseconds(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX)
}
