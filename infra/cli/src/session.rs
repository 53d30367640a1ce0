//! A command's conversation with a Gantry: its HTTP API with the key, patient with one that is
//! busy.

use crate::{
    address::Base,
    answers::UploadPlace,
    args::Reach,
    error::{Error, Refusal, may_pass, unreachable},
    hosts::{Chosen, Hosts},
    screen::Screen,
    surroundings::{Person, Surroundings},
};
use bytes::Bytes;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

const CONNECT: Duration = Duration::from_secs(10);
/// Without a byte. API Gateway answers within 30 s.
const READ: Duration = Duration::from_secs(60);
/// Until all of an archive is sent and was answered.
const UPLOAD: Duration = Duration::from_secs(15 * 60);
/// How often a busy Gantry is asked again, and how long all the waiting may take.
const MOST_TRIES: u32 = 5;
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// How often what does no harm when it is repeated is sent again over another connection.
const MOST_CONNECTIONS: u32 = 2;

/// The conversation, and everything else that a command needs.
pub(crate) struct Session {
    pub(crate) screen: Screen,
    pub(crate) person: Box<dyn Person>,
    pub(crate) browser: fn(&str) -> io::Result<()>,
    pub(crate) look_every: Duration,
    /// A variable of the environment.
    pub(crate) variable: fn(&str) -> Option<String>,
    /// The user's home folder.
    pub(crate) home: Option<PathBuf>,
    http: Client,
    base: Base,
    key: SecretString,
    key_is_given: bool,
    ca_file: Option<PathBuf>,
}

/// What becomes of a request that is sent twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeated {
    /// The same as of one.
    Harmless,
    /// Whoever asked has to look first.
    MayMatter,
}

impl Session {
    /// With the Gantry that is meant. The address of a page may choose it.
    pub(crate) fn open(
        around: Surroundings,
        reach: &Reach,
        page: Option<&str>,
    ) -> Result<Self, (Box<Screen>, Error)> {
        let given = around.given();
        let Surroundings {
            folder,
            home,
            no_color,
            variable,
            out,
            err,
            person,
            browser,
            look_every,
            ..
        } = around;
        let screen = Screen::new(out, err, no_color);
        let chosen = Hosts::load(folder.as_deref())
            .and_then(|hosts| hosts.choose(&given, page, reach))
            .and_then(|chosen| {
                let (base, ca_file) = (&chosen.base, chosen.ca_file.as_deref());
                Ok((client(base.as_str(), base.is_local(), ca_file, READ)?, chosen))
            });
        match chosen {
            Ok((http, Chosen { base, key, key_is_given, ca_file })) => Ok(Self {
                screen,
                person,
                browser,
                look_every,
                variable,
                home,
                http,
                base,
                key,
                key_is_given,
                ca_file,
            }),
            Err(error) => Err((Box::new(screen), error)),
        }
    }

    /// With a Gantry whose key is tried.
    pub(crate) fn try_key(
        (screen, person): (Screen, Box<dyn Person>),
        base: Base,
        key: SecretString,
        ca_file: Option<&Path>,
        look_every: Duration,
    ) -> Result<Self, (Box<Screen>, Error)> {
        let browser = |_: &str| Ok(());
        match client(base.as_str(), base.is_local(), ca_file, READ) {
            Ok(http) => Ok(Self {
                screen,
                person,
                browser,
                look_every,
                variable: |_| None,
                home: None,
                http,
                base,
                key,
                key_is_given: false,
                ca_file: ca_file.map(Path::to_owned),
            }),
            Err(error) => Err((Box::new(screen), error)),
        }
    }

    /// The Gantry.
    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    /// What the API answers.
    pub(crate) async fn get(
        &mut self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Value, Error> {
        let response = self.send(Method::GET, path, query, None).await?;
        self.document(response).await
    }

    /// The same as a type.
    pub(crate) async fn get_as<T: DeserializeOwned>(
        &mut self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, Error> {
        let document = self.get(path, query).await?;
        self.read_as(document)
    }

    /// A document of the API as a type.
    pub(crate) fn read_as<T: DeserializeOwned>(&self, document: Value) -> Result<T, Error> {
        serde_json::from_value(document).map_err(|error| {
            Error::Failed(format!(
                "{} answered with something that this client does not understand ({error}). Is one \
                 of them much older than the other?",
                self.base
            ))
        })
    }

    /// All pages of a list, or as many as have `limit` items, as one document.
    pub(crate) async fn list(
        &mut self,
        path: &[&str],
        name: &str,
        query: &[(&str, &str)],
        limit: Option<usize>,
    ) -> Result<Value, Error> {
        let mut items: Vec<Value> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let wanted = limit.map_or(100, |limit| (limit - items.len()).min(100)).to_string();
            let mut query = query.to_vec();
            query.push(("limit", &wanted));
            query.extend(after.as_deref().map(|after| ("after", after)));
            let mut page = self.get(path, &query).await?;
            let Value::Array(found) = page[name].take() else {
                return Err(not_gantry(&self.base));
            };
            items.extend(found);
            let next = page["next"].as_str().map(str::to_owned);
            if next.is_some() {
                self.must_go_on(after.as_ref(), next.as_ref())?;
            }
            after = next;
            if after.is_none() || limit.is_some_and(|limit| items.len() >= limit) {
                return Ok(serde_json::json!({ name: items, "next": after }));
            }
        }
    }

    /// A list that leads to where it just was would never end.
    pub(crate) fn must_go_on(
        &self,
        after: Option<&String>,
        next: Option<&String>,
    ) -> Result<(), Error> {
        match after == next {
            true => Err(Error::Failed(format!(
                "{} answers with the same part of a list again and again. Is something in front \
                 of it?",
                self.base
            ))),
            false => Ok(()),
        }
    }

    /// Asks for something. The same request is never carried out twice, however often it is sent.
    pub(crate) async fn post(&mut self, path: &[&str], body: &Value) -> Result<Value, Error> {
        let response = self.send(Method::POST, path, &[], Some(body)).await?;
        self.document(response).await
    }

    /// An answer that is not read yet: a success.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Response, Error> {
        let request_id = format!("cli-{:032x}", rand::random::<u128>());
        let (http, url, key) = (self.http.clone(), self.base.api(path, query), self.key_header()?);
        let make = || {
            let request = http.request(method.clone(), &url);
            let request = request.header(header::AUTHORIZATION, key.clone());
            match body {
                Some(body) => request.header("idempotency-key", &request_id).json(body),
                None => request,
            }
        };
        let repeated = if body.is_some() { Repeated::MayMatter } else { Repeated::Harmless };
        let response = self.answered(self.base.to_string(), repeated, make).await?;
        self.judged(response).await
    }

    /// Sends an archive to where it is wanted: to a signed address, which gets no key, or to the API.
    pub(crate) async fn upload(
        &mut self,
        path: &[&str],
        place: &UploadPlace,
        archive: Vec<u8>,
    ) -> Result<(), Error> {
        let (url, archive) = (place.url.clone(), Bytes::from(archive));
        let is_signed = url.is_some();
        let url = url.unwrap_or_else(|| self.base.api(path, &[]));
        if self.base.as_str().starts_with("https://") && !url.starts_with("https://") {
            return Err(Error::Failed(
                "The folder would be uploaded unencrypted, so nothing was sent.".to_owned(),
            ));
        }
        let http = client(&url, self.base.is_local(), self.ca_file.as_deref(), UPLOAD)?;
        let key = self.key_header()?;
        let make = || {
            let request = http.put(&url).body(archive.clone());
            match is_signed {
                true => place.headers.iter().fold(request, |request, (name, value)| {
                    request.header(name.as_str(), value.as_str())
                }),
                false => request.header(header::AUTHORIZATION, key.clone()),
            }
        };
        let name = match is_signed {
            true => format!("The storage of {}", self.base),
            false => self.base.to_string(),
        };
        let response = self.answered(name, Repeated::Harmless, make).await?;
        if is_signed && !response.status().is_success() {
            let status = response.status();
            return Err(Error::Failed(format!(
                "The storage of {} did not accept the packed folder ({status}). Try again.",
                self.base
            )));
        }
        self.judged(response).await.map(drop)
    }

    /// An answer that is not "busy". What does no harm is sent again where a connection breaks.
    async fn answered(
        &mut self,
        name: String,
        repeated: Repeated,
        make: impl Fn() -> RequestBuilder,
    ) -> Result<Response, Error> {
        let (mut waited, mut tries, mut broken) = (Duration::ZERO, 0, 0);
        loop {
            let response = match make().send().await {
                Ok(response) => response,
                Err(problem)
                    if repeated == Repeated::Harmless
                        && broken < MOST_CONNECTIONS
                        && may_pass(&problem) =>
                {
                    tokio::time::sleep(self.look_every * 2u32.pow(broken)).await;
                    broken += 1;
                    continue;
                }
                Err(problem) => {
                    let error = unreachable(&name, &problem);
                    let may_have_arrived = repeated == Repeated::MayMatter && !problem.is_connect();
                    return Err(match may_have_arrived {
                        true => Error::Unreachable(format!(
                            "{error} What was asked for may have arrived: look before you try \
                             again."
                        )),
                        false => error,
                    });
                }
            };
            let status = response.status();
            if !is_busy(status) {
                return Ok(response);
            }
            let wait = retry_after(&response).unwrap_or(self.look_every * 2u32.pow(tries));
            tries += 1;
            waited = waited.saturating_add(wait);
            if tries > MOST_TRIES || waited > LONGEST_WAIT {
                return Err(self.too_busy(response, wait).await);
            }
            self.screen.note(&format!(
                "{name} is busy ({status}): trying again in {} s.",
                wait.as_secs_f32().ceil()
            ));
            tokio::time::sleep(wait).await;
        }
    }

    fn key_header(&self) -> Result<header::HeaderValue, Error> {
        let value = format!("Bearer {}", self.key.expose_secret());
        let mut value = header::HeaderValue::from_str(&value).map_err(|_| {
            Error::Usage("The access key contains characters that no key has.".into())
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn judged(&self, response: Response) -> Result<Response, Error> {
        let status = response.status();
        match status {
            // Object storage, which a state may be in, knows nothing of keys.
            StatusCode::UNAUTHORIZED if response.url().as_str().starts_with(self.base.as_str()) => {
                Err(self.rejected())
            }
            status if status.is_success() => Ok(response),
            status => Err(Error::Refused(self.refusal(status, response).await)),
        }
    }

    async fn refusal(&self, status: StatusCode, response: Response) -> Refusal {
        // What of a refusal was not sent is not worth more words than its status.
        let body = response.bytes().await.unwrap_or_default();
        Refusal::read(self.base.as_str(), status, &body)
    }

    async fn too_busy(&self, response: Response, wait: Duration) -> Error {
        let status = response.status();
        let refusal = self.refusal(status, response).await;
        let wait = wait.as_secs().max(1);
        Error::Refused(refusal.with(&format!("It was busy each time; try again in {wait} s.")))
    }

    fn rejected(&self) -> Error {
        let base = &self.base;
        Error::KeyRejected(match self.key_is_given {
            true => format!(
                "{base} does not accept the key in GANTRY_KEY: it is not valid, or it was revoked. \
                 Set another one."
            ),
            false => format!(
                "{base} does not accept the key: it is not valid, or it was revoked. Run `gantry \
                 login {base}` with another one."
            ),
        })
    }

    async fn document(&self, response: Response) -> Result<Value, Error> {
        let body = response.bytes().await;
        let body = body.map_err(|problem| unreachable(self.base.as_str(), &problem))?;
        serde_json::from_slice(&body).map_err(|_| not_gantry(&self.base))
    }
}

fn not_gantry(base: &Base) -> Error {
    Error::Failed(format!("{base} answers, but not as Gantry does. Is the address right?"))
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// A client that trusts the system's certificates and those in a file.
fn client(
    to: &str,
    is_local: bool,
    ca_file: Option<&Path>,
    read: Duration,
) -> Result<Client, Error> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only when somebody else was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let mut builder = Client::builder()
        .user_agent(concat!("gantry-cli/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(read)
        .redirect(redirects());
    if is_local {
        builder = builder.no_proxy();
    }
    if to.starts_with("http://") {
        // Reading the system's certificates takes time, and none will be asked for.
        builder = builder.tls_certs_only([]);
    } else if let Some(path) = ca_file {
        let pem = fs::read(path).map_err(|error| Error::file("read", path, &error))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if certificates.is_empty() {
            return Err(Error::Usage(format!("{} has no certificates (PEM).", path.display())));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| Error::Failed(format!("TLS could not be set up: {error}.")))
}

/// A state may be elsewhere, in object storage. The key goes to no other host: reqwest leaves it
/// out there. Nothing goes from https to http.
fn redirects() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let was_encrypted = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
        if attempt.previous().len() > 5 {
            attempt.error("it redirects again and again")
        } else if was_encrypted && attempt.url().scheme() != "https" {
            attempt.error("it redirects to an address that is not encrypted")
        } else {
            attempt.follow()
        }
    })
}
