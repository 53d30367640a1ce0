//! The transport: one call in, one typed answer or [`Error`] out.

use crate::{
    ApiHost, Compare, Download, Error, MergeRequest, Project, RateLimits,
    absent::Named,
    call::Call,
    connect::{CALL_SECONDS, CONNECT_SECONDS, no_answer},
    limits::{Bucket, Limits, number, retry_after},
    recent::Recent,
};
use bytes::{Bytes, BytesMut};
use gantry_domain::{CommitSha, MergeRequestIid, ProjectId};
use gantry_setup::{deadline, metrics};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, LINK, LOCATION},
};
use jiff::Timestamp;
use reqwest::Response;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use url::Url;

/// Where the client takes the time from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The largest JSON answer that is read.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;
/// Items on a page: the most that GitLab gives.
pub(crate) const PAGE: usize = 100;
/// Pages of one list: GitLab ends offset paging at 50,000 items.
const MOST_PAGES: usize = 500;
/// The headers in which GitLab names the next page of a list, empty on the last, and the page itself.
const NEXT_PAGE: &str = "x-next-page";
const THIS_PAGE: &str = "x-page";
/// The header in which GitLab names the file that it gives.
const BLOB: &str = "x-gitlab-blob-id";
/// An archive may take long, but each piece of it only as long as a call.
const DOWNLOAD: Duration = Duration::from_secs(14 * 60);

/// What a [`Client`] needs to know.
pub struct ClientConfig {
    /// The server.
    pub host: ApiHost,
    /// The API token.
    pub token: SecretString,
    /// Certificates (PEM) of authorities to trust besides the machine's own.
    pub ca_pem: Option<String>,
    /// Where to take the time from.
    pub clock: Clock,
}

/// Why no client can be made from a [`ClientConfig`]. Meant for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClient {
    /// The token is empty or has characters that no header can carry, like a line break.
    #[error("The API token is empty or contains invalid characters")]
    Token,
    /// The authority's certificate cannot be read.
    #[error("The authority's certificate is not in PEM format (-----BEGIN CERTIFICATE-----)")]
    Certificate,
    /// The machine has no usable TLS set-up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Talks to one GitLab server as one user. Cheap to clone; clones share connections and limits.
#[derive(Clone)]
pub struct Client(Arc<Inner>, Arc<AtomicU32>);

struct Inner {
    http: reqwest::Client,
    host: ApiHost,
    /// The header that carries the token, and what is in it.
    token: (HeaderName, HeaderValue),
    limits: Limits,
    clock: Clock,
    recent: Answers,
}

/// What a page of a list says of the next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NextPage {
    Follows,
    None,
    /// Nothing, where GitLab always says something.
    Unsaid,
}

/// Answers of the last seconds.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) merge_requests: Recent<(ProjectId, MergeRequestIid), MergeRequest>,
    pub(crate) projects: Recent<ProjectId, Project>,
    /// By project, both sides, and whether it is straight.
    pub(crate) comparisons: Recent<(ProjectId, String, CommitSha, bool), Compare>,
}

/// The HTTP client for a server, trusting these authorities (PEM) besides the machine's own. It follows
/// no redirect.
pub fn transport(host: &ApiHost, ca_pem: Option<&str>) -> Result<reqwest::Client, InvalidClient> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only when somebody else was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")))
        .read_timeout(Duration::from_secs(CALL_SECONDS))
        .connect_timeout(Duration::from_secs(CONNECT_SECONDS))
        // A Lambda sleeps between invocations, and its old connections die meanwhile.
        .pool_idle_timeout(Duration::from_secs(20))
        .redirect(reqwest::redirect::Policy::none());
    if host.is_loopback() {
        builder = builder.no_proxy();
    }
    if host.as_str().starts_with("http://") {
        // Reading the machine's certificates takes time, and none will be asked for.
        builder = builder.tls_certs_only([]);
    } else if let Some(pem) = ca_pem {
        let certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|_| InvalidClient::Certificate)?;
        if certificates.is_empty() {
            return Err(InvalidClient::Certificate);
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|problem| InvalidClient::Tls(chain(&problem)))
}

impl Client {
    /// Makes a client. No call is made.
    pub fn new(config: ClientConfig) -> Result<Self, InvalidClient> {
        let token = secret("", &config.token)?;
        let http = transport(&config.host, config.ca_pem.as_deref())?;
        let inner = Inner {
            http,
            host: config.host,
            token: (HeaderName::from_static("private-token"), token),
            limits: Limits::default(),
            clock: config.clock,
            recent: Answers::default(),
        };
        Ok(Self(Arc::new(inner), Arc::default()))
    }

    /// A client of the same server for a person who has signed in there, by their OAuth token. It
    /// shares connections with this one, but neither rate limits nor answers. No call is made.
    ///
    /// GitLab takes such a token as `Authorization: Bearer` only. It would take tokens of users,
    /// projects and groups there too.
    pub fn for_person(&self, token: &SecretString) -> Result<Self, InvalidClient> {
        let inner = Inner {
            http: self.0.http.clone(),
            host: self.0.host.clone(),
            token: (AUTHORIZATION, secret("Bearer ", token)?),
            limits: Limits::default(),
            clock: Arc::clone(&self.0.clock),
            recent: Answers::default(),
        };
        Ok(Self(Arc::new(inner), Arc::default()))
    }

    /// The same client with a count of calls of its own.
    #[must_use]
    pub fn counting(&self) -> Self {
        Self(Arc::clone(&self.0), Arc::default())
    }

    /// How many calls were made through it.
    pub fn calls(&self) -> u32 {
        self.1.load(Ordering::Relaxed)
    }

    /// The server that this client talks to.
    pub fn host(&self) -> &ApiHost {
        &self.0.host
    }

    /// What the last answers said about GitLab's rate limit.
    pub fn rate_limits(&self) -> RateLimits {
        self.0.limits.read(Bucket::General)
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    pub(crate) fn recent(&self) -> &Answers {
        &self.0.recent
    }

    /// The answer as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let response = self.send(&call).await?;
        self.decode(self.read(response).await?.as_deref())
    }

    /// The answer as JSON, or none when GitLab does not have the thing ([`crate::absent`]).
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        what: Named<'_>,
        call: Call,
    ) -> Result<Option<T>, Error> {
        self.unless_absent(what, self.json(call.clone()), self.json(call)).await
    }

    /// Success, where GitLab says so: with nothing, or with the thing that it was about.
    pub(crate) async fn done(&self, call: Call) -> Result<(), Error> {
        let response = self.send(&call).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(());
        }
        self.decode::<Thing>(self.read(response).await?.as_deref()).map(drop)
    }

    /// The raw answer; none when it is larger than [`LARGEST_ANSWER`].
    pub(crate) async fn bytes(&self, call: Call) -> Result<Option<Bytes>, Error> {
        let response = self.send(&call).await?;
        self.read(response).await
    }

    /// A file as it is; none when it is larger than [`LARGEST_ANSWER`]. It may be anything, even
    /// empty: that it is GitLab's shows only in the header that names it.
    pub(crate) async fn content(&self, call: Call) -> Result<Option<Bytes>, Error> {
        let response = self.send(&call).await?;
        let is_named = response.headers().contains_key(BLOB);
        let body = self.read(response).await?;
        if is_named {
            return Ok(body);
        }
        let came = body.unwrap_or_default();
        Err(Error::without_words(StatusCode::OK, None, &came, self.0.host.authority()))
    }

    /// Every item of a list, through all pages.
    pub(crate) async fn list<T: DeserializeOwned>(&self, call: Call) -> Result<Vec<T>, Error> {
        self.list_until(call, usize::MAX, |_| false).await
    }

    /// The items of a list up to `limit`, or up to and with the first that `is_last`.
    pub(crate) async fn list_until<T: DeserializeOwned>(
        &self,
        call: Call,
        limit: usize,
        is_last: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, Error> {
        let mut call = call.query("per_page", limit.clamp(1, PAGE)).query("page", 1);
        let mut items = Vec::new();
        for page in 1..=MOST_PAGES as u64 {
            let (read, next) = self.read_page(&mut call, page).await?;
            let is_full = read.len() >= limit.clamp(1, PAGE);
            for item in read {
                let last = is_last(&item);
                items.push(item);
                if last || items.len() >= limit {
                    return Ok(items);
                }
            }
            match next {
                NextPage::Follows => {}
                NextPage::None => return Ok(items),
                // Some proxies drop headers. What is missing then may be what was asked for.
                NextPage::Unsaid if is_full => {
                    let host = self.0.host.authority();
                    return Err(Error::not_gitlabs(format!(
                        "{host} does not say whether a list goes on; a proxy may drop its headers"
                    )));
                }
                NextPage::Unsaid => return Ok(items),
            }
        }
        Err(Error::not_gitlabs(format!("the list has more than {MOST_PAGES} pages")))
    }

    /// Every item of a list that goes on from an item and not from a number: it misses none where
    /// others come and go meanwhile. GitLab gives only a few lists so.
    pub(crate) async fn list_by_id<T: DeserializeOwned>(
        &self,
        call: Call,
    ) -> Result<Vec<T>, Error> {
        let begin = call
            .query("pagination", "keyset")
            .query("order_by", "id")
            .query("sort", "asc")
            .query("per_page", PAGE);
        let (mut call, mut last) = (begin.clone(), None);
        let mut items = Vec::new();
        for _ in 0..MOST_PAGES {
            let response = self.send(&call).await?;
            let next = self.next_by_id(response.headers())?;
            let read: Vec<T> = self.decode(self.read(response).await?.as_deref())?;
            // GitLab names a next page after each that has an item, also after the last.
            let ends = read.is_empty();
            items.extend(read);
            let Some((name, value)) = next.filter(|_| !ends) else { return Ok(items) };
            if last.as_ref() == Some(&value) {
                let host = self.0.host.authority();
                return Err(Error::not_gitlabs(format!("{host} sent the same page twice")));
            }
            call = begin.clone().query(name, &value);
            last = Some(value);
        }
        Err(Error::not_gitlabs(format!("the list has more than {MOST_PAGES} pages")))
    }

    /// One page of a list, counted from 1, and whether more follow. The last parameter of the call
    /// is the page.
    pub(crate) async fn list_page<T: DeserializeOwned>(
        &self,
        call: &mut Call,
        page: u64,
    ) -> Result<(Vec<T>, bool), Error> {
        let (read, next) = self.read_page(call, page).await?;
        Ok((read, next == NextPage::Follows))
    }

    async fn read_page<T: DeserializeOwned>(
        &self,
        call: &mut Call,
        page: u64,
    ) -> Result<(Vec<T>, NextPage), Error> {
        if let Some(last) = call.query.last_mut() {
            last.1 = page.to_string();
        }
        let response = self.send(call).await?;
        let headers = response.headers();
        // A page may hold fewer items than asked for, even none: only this says "the end".
        let next = if number(headers, NEXT_PAGE).is_some_and(|next| next > page) {
            NextPage::Follows
        } else if headers.contains_key(NEXT_PAGE) || headers.contains_key(THIS_PAGE) {
            NextPage::None
        } else {
            NextPage::Unsaid
        };
        Ok((self.decode(self.read(response).await?.as_deref())?, next))
    }

    /// From which item a list goes on, as the answer's `Link` has it. Only the parameter is taken of
    /// the address: a server may think that it is called otherwise than it is.
    fn next_by_id(&self, headers: &HeaderMap) -> Result<Option<(&'static str, String)>, Error> {
        let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let mut links = links.flat_map(|value| value.split(','));
        let Some(next) = links.find(|link| link.contains("rel=\"next\"")) else {
            return Ok(None);
        };
        let (_, after) = next.split_once('?').unwrap_or_default();
        let (query, _) = after.split_once('>').unwrap_or_default();
        let key = url::form_urlencoded::parse(query.as_bytes()).find_map(|(name, value)| {
            let name = ["id_after", "cursor"].into_iter().find(|known| *known == name)?;
            Some((name, value.into_owned()))
        });
        key.map(Some).ok_or_else(|| {
            let host = self.0.host.authority();
            Error::not_gitlabs(format!("{host} does not say from which item a list goes on"))
        })
    }

    /// The answer as a stream of bytes, which is a gzip file.
    pub(crate) async fn download(&self, mut call: Call) -> Result<Download, Error> {
        call.download = true;
        let response = self.send(&call).await?;
        Download::begin(response, self.0.host.clone()).await
    }

    /// Sends a call, follows redirects of reads on the same server, and takes only 2xx.
    async fn send(&self, call: &Call) -> Result<Response, Error> {
        let mut url = self.0.host.endpoint(&call.segments).ok_or_else(|| Error::Refused {
            status: 400,
            message: "a name in the address is empty, . or ..".to_owned(),
        })?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        for _ in 0..4 {
            let response = self.attempt(call, &url).await?;
            let status = response.status();
            if status.is_success() && call.download {
                // It says itself what came.
                return Ok(response);
            }
            if status.is_success() {
                return self.unless_page(response);
            }
            if !status.is_redirection() {
                return Err(self.refusal(response).await);
            }
            url = self.redirected(call, &url, &response)?;
        }
        Err(Error::not_gitlabs(format!("{} redirects in a loop", self.0.host.authority())))
    }

    /// The answer, unless it is a page: GitLab's API gives none, files and archives included.
    fn unless_page(&self, response: Response) -> Result<Response, Error> {
        if is_page(&response) {
            let status = response.status();
            return Err(Error::without_words(status, None, b"<", self.0.host.authority()));
        }
        Ok(response)
    }

    /// One request. A read whose connection breaks is sent once more: idle connections die unseen.
    async fn attempt(&self, call: &Call, url: &Url) -> Result<Response, Error> {
        let Inner { limits, clock, host, .. } = &*self.0;
        limits.take(call.bucket(), clock())?;
        let longest = if call.download { DOWNLOAD } else { Duration::from_secs(CALL_SECONDS) };
        let mut most = deadline::at_most(longest);
        let mut answer = Box::pin(self.request(call, url).timeout(most).send()).await;
        if let Err(problem) = &answer
            && call.method == Method::GET
            && !problem.is_timeout()
            && !problem.is_connect()
        {
            most = deadline::at_most(longest);
            answer = Box::pin(self.request(call, url).timeout(most).send()).await;
        }
        metrics::count("GitlabCalls", 1);
        self.1.fetch_add(1, Ordering::Relaxed);
        let response = answer.map_err(|problem| {
            metrics::count("GitlabTrouble", 1);
            no_answer(&problem, host, most)
        })?;
        match response.status() {
            StatusCode::TOO_MANY_REQUESTS => metrics::count("GitlabLimited", 1),
            status if status.is_server_error() => metrics::count("GitlabTrouble", 1),
            _ => {}
        }
        limits.learn(call.bucket(), response.headers(), clock());
        Ok(response)
    }

    fn request(&self, call: &Call, url: &Url) -> reqwest::RequestBuilder {
        let (header, token) = &self.0.token;
        let mut request = self
            .0
            .http
            .request(call.method.clone(), url.clone())
            .header(header.clone(), token.clone());
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        request
    }

    /// Where a read goes on. Writes never do: a redirected POST would become a GET.
    fn redirected(&self, call: &Call, from: &Url, response: &Response) -> Result<Url, Error> {
        let host = &self.0.host;
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let Some(to) = location.and_then(|location| from.join(location).ok()) else {
            return Err(Error::not_gitlabs(format!(
                "{} sent a redirect without a valid target",
                host.authority()
            )));
        };
        let server = to.origin().ascii_serialization();
        if !host.has_same_origin(&to) {
            return Err(Error::not_gitlabs(format!(
                "{host} redirects to {server}. If that is the right server, use it as the address"
            )));
        }
        if call.method != Method::GET {
            return Err(Error::not_gitlabs(format!(
                "{host} redirected a write to another address, so it was not sent"
            )));
        }
        Ok(to)
    }

    async fn refusal(&self, response: Response) -> Error {
        let status = response.status();
        let wait = retry_after(response.headers());
        let body = match self.read(response).await {
            Ok(body) => body.unwrap_or_default(),
            Err(error) if status.is_server_error() => return error,
            Err(_) => Bytes::new(),
        };
        Error::from_answer(status, wait, &body, self.0.host.authority())
    }

    /// The whole body; none when it is too large.
    async fn read(&self, mut response: Response) -> Result<Option<Bytes>, Error> {
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > LARGEST_ANSWER => return Ok(None),
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(Some(body.freeze())),
                Err(problem) => {
                    return Err(no_answer(
                        &problem,
                        &self.0.host,
                        Duration::from_secs(CALL_SECONDS),
                    ));
                }
            }
        }
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self, body: Option<&[u8]>) -> Result<T, Error> {
        let name = self.0.host.authority();
        let body =
            body.ok_or_else(|| Error::not_gitlabs(format!("{name} sent too large a response")))?;
        serde_json::from_slice(body).map_err(|problem| {
            if body.trim_ascii_start().starts_with(b"<") {
                return Error::without_words(StatusCode::OK, None, body, name);
            }
            let came = if body.is_empty() { "an empty response" } else { "a response" };
            Error::not_gitlabs(format!(
                "{name} sent {came} that cannot be read as GitLab's: {problem}"
            ))
        })
    }
}

/// What every answer of GitLab's about one thing has.
#[derive(Deserialize)]
struct Thing {
    #[serde(rename = "id")]
    _id: u64,
}

/// True when the answer calls itself a web page.
pub(crate) fn is_page(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/html"))
}

/// A token as a header's value, behind what the header wants before it.
fn secret(before: &str, token: &SecretString) -> Result<HeaderValue, InvalidClient> {
    let token = token.expose_secret().trim();
    if token.is_empty() {
        return Err(InvalidClient::Token);
    }
    let value = HeaderValue::from_str(&format!("{before}{token}"));
    let mut value = value.map_err(|_| InvalidClient::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn chain(problem: &dyn std::error::Error) -> String {
    let mut text = problem.to_string();
    let mut next = problem.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.0.host)
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientConfig({})", self.host)
    }
}
