//! The way of every call that a function makes to AWS. It passes calls on to who stands in for the
//! service, writes them down, and makes trouble where a test asks for it.

use crate::{codebuild::CodeBuild, policy::Request};
use anyhow::Context as _;
use axum::{
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde_json::Value;
use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{net::TcpListener, sync::Notify};

/// The account and the region that everything is in.
pub const ACCOUNT: &str = "123456789012";
/// See [`ACCOUNT`].
pub const REGION: &str = "eu-west-1";

/// A call to AWS.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whose credentials signed it: a function's name in the template, or a runner's access key.
    pub caller: String,
    /// `sqs:SendMessage`, `dynamodb:TransactWriteItems`, `s3:GET`.
    pub name: String,
    /// What has to be allowed for it.
    pub requests: Vec<Request>,
    /// What the service answered.
    pub status: u16,
}

/// What happens to calls.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// They are answered with an error of the service, before it did anything.
    Refuse,
    /// They are carried out, and answered late.
    Slow(Duration),
    /// They are carried out, and never answered; [`Wire::hung`] says so. Whoever waits is killed.
    Hang,
}

#[derive(Debug)]
struct Planned {
    caller: String,
    name: String,
    trouble: Trouble,
    after: usize,
    times: usize,
}

/// The calls' way.
pub struct Wire {
    /// Where functions find AWS.
    pub address: String,
    moto: String,
    dynoxide: String,
    codebuild: Arc<CodeBuild>,
    http: reqwest::Client,
    calls: Mutex<Vec<Call>>,
    planned: Mutex<Vec<Planned>>,
    problems: Mutex<Vec<String>>,
    hung: Notify,
}

impl Wire {
    /// Starts to pass calls on.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(
        moto: String,
        dynoxide: String,
        codebuild: Arc<CodeBuild>,
    ) -> anyhow::Result<Arc<Self>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let wire = Arc::new(Self {
            address: format!("http://{}", listener.local_addr()?),
            moto,
            dynoxide,
            codebuild,
            http: reqwest::Client::builder().no_proxy().build()?,
            calls: Mutex::default(),
            planned: Mutex::default(),
            problems: Mutex::default(),
            hung: Notify::new(),
        });
        let router = axum::Router::new().fallback(pass).with_state(Arc::clone(&wire));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(wire)
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.calls).clone()
    }

    /// Calls that were not understood here, or not passed on.
    pub fn problems(&self) -> Vec<String> {
        locked(&self.problems).clone()
    }

    /// The names of one function's calls since the last time, in order.
    pub fn take(&self, caller: &str) -> Vec<String> {
        let mut calls = locked(&self.calls);
        let names = calls.iter().filter(|call| call.caller == caller).map(|c| c.name.clone());
        let names = names.collect();
        calls.retain(|call| call.caller != caller);
        names
    }

    /// Makes trouble for the next `times` calls of this name (`sqs:SendMessage`; empty for all)
    /// by a function, after `after` calls went well.
    pub fn trouble(&self, caller: &str, name: &str, trouble: Trouble, after: usize, times: usize) {
        let (caller, name) = (caller.to_owned(), name.to_owned());
        locked(&self.planned).push(Planned { caller, name, trouble, after, times });
    }

    /// Ends all trouble that is still to come.
    pub fn calm(&self) {
        locked(&self.planned).clear();
    }

    /// Waits until a call hangs.
    pub async fn hung(&self) {
        self.hung.notified().await;
    }

    fn planned_for(&self, caller: &str, name: &str) -> Option<Trouble> {
        let mut planned = locked(&self.planned);
        let fits = |p: &&mut Planned| p.caller == caller && (p.name.is_empty() || p.name == name);
        let found = planned.iter_mut().find(fits)?;
        if found.after > 0 {
            found.after -= 1;
            return None;
        }
        found.times -= 1;
        let trouble = found.trouble;
        planned.retain(|planned| planned.times > 0);
        Some(trouble)
    }

    async fn carry_out(
        &self,
        service: Service,
        method: Method,
        uri: &Uri,
        mut headers: HeaderMap,
        body: Bytes,
        access_key: &str,
    ) -> anyhow::Result<Response> {
        let base = match service {
            Service::DynamoDb => &self.dynoxide,
            Service::CodeBuild => return self.codebuild.answer(&headers, &body).await,
            _ => &self.moto,
        };
        if service == Service::Sts {
            // Who signed an address is looked up by moto in this header alone.
            let credential = format!(
                "AWS4-HMAC-SHA256 Credential={access_key}/20260101/{REGION}/sts/aws4_request, \
                 SignedHeaders=host, Signature=0"
            );
            headers.insert(http::header::AUTHORIZATION, HeaderValue::from_str(&credential)?);
        }
        for name in [http::header::HOST, http::header::CONTENT_LENGTH] {
            headers.remove(name);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let sent = self.http.request(method, format!("{base}{path}")).headers(headers).body(body);
        let answer = sent.send().await?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if *name != HeaderName::from_static("transfer-encoding") {
                response = response.header(name, value);
            }
        }
        Ok(response.body(Body::from(answer.bytes().await?))?)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    DynamoDb,
    Sqs,
    SecretsManager,
    CodeBuild,
    Sts,
    S3,
}

async fn pass(
    State(wire): State<Arc<Wire>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let call = format!("{method} {uri}");
    match through(&wire, method, uri, headers, body).await {
        Ok(response) => response,
        Err(error) => {
            let text = format!("{call}: {error:#}");
            locked(&wire.problems).push(text.clone());
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

async fn through(
    wire: &Wire,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> anyhow::Result<Response> {
    let body = axum::body::to_bytes(body, usize::MAX).await?;
    let (service, name, requests) = read(&method, &uri, &headers, &body)?;
    let caller = access_key(&uri, &headers).context("a call without credentials")?;
    let trouble = wire.planned_for(&caller, &name);
    if matches!(trouble, Some(Trouble::Refuse)) {
        let refusal = r#"{"__type":"InternalFailure","message":"made by the test"}"#;
        note(wire, caller, name, requests, 500);
        return Ok((StatusCode::INTERNAL_SERVER_ERROR, refusal).into_response());
    }
    let answer = wire.carry_out(service, method, &uri, headers, body, &caller).await?;
    note(wire, caller, name, requests, answer.status().as_u16());
    match trouble {
        Some(Trouble::Slow(how_long)) => tokio::time::sleep(how_long).await,
        Some(Trouble::Hang) => {
            wire.hung.notify_one();
            std::future::pending::<()>().await;
        }
        Some(Trouble::Refuse) | None => {}
    }
    Ok(answer)
}

fn note(wire: &Wire, caller: String, name: String, mut requests: Vec<Request>, status: u16) {
    // Who may not list a bucket gets 403 where an object is missing.
    if name == "s3:GET" || name == "s3:HEAD" {
        let missing = requests.first().filter(|_| status == 404);
        let bucket = missing.and_then(|r| r.resource.split_once('/')).map(|(b, _)| b.to_owned());
        requests.extend(bucket.map(|bucket| Request::new("s3:ListBucket", bucket)));
    }
    locked(&wire.calls).push(Call { caller, name, requests, status });
}

/// Whose call it is: the access key, in the header or in a signed address.
fn access_key(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let in_header = headers
        .get(http::header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once("Credential="))
        .map(|(_, rest)| rest.to_owned());
    let in_address = || {
        let query = uri.query().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "X-Amz-Credential")
            .map(|(_, value)| value.into_owned())
    };
    let credential = in_header.or_else(in_address)?;
    credential.split('/').next().map(str::to_owned)
}

/// What kind of call it is, and what has to be allowed for it.
fn read(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> anyhow::Result<(Service, String, Vec<Request>)> {
    if let Some(target) = headers.get("x-amz-target") {
        let (service, operation) = target.to_str()?.split_once('.').context("no operation")?;
        let body: Value = serde_json::from_slice(body)?;
        let service = match service.split('_').next().unwrap_or_default() {
            "DynamoDB" => Service::DynamoDb,
            "AmazonSQS" => Service::Sqs,
            "secretsmanager" => Service::SecretsManager,
            "CodeBuild" => Service::CodeBuild,
            other => anyhow::bail!("a call to {other}"),
        };
        return Ok(match service {
            Service::DynamoDb => (
                service,
                format!("dynamodb:{operation}"),
                crate::policy::dynamodb(operation, &body)?,
            ),
            Service::Sqs => {
                (service, format!("sqs:{operation}"), crate::policy::sqs(operation, &body)?)
            }
            Service::CodeBuild => (
                service,
                format!("codebuild:{operation}"),
                crate::policy::codebuild(operation, &body)?,
            ),
            _ => {
                let requests = crate::policy::secrets_manager(operation, &body)?;
                (Service::SecretsManager, format!("secretsmanager:{operation}"), requests)
            }
        });
    }
    let query = uri.query().unwrap_or_default();
    if query.contains("Action=GetCallerIdentity") {
        // Everybody may ask who he is.
        return Ok((Service::Sts, "sts:GetCallerIdentity".to_owned(), Vec::new()));
    }
    let requests = crate::policy::s3(method.as_str(), uri.path(), query, body)?;
    Ok((Service::S3, format!("s3:{method}"), requests))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
