//! HTTP, for `openidconnect`: our own client, and answers of a bounded size.

use gantry_gitlab::{ApiHost, explain};
use gantry_setup::deadline;
use http::{Request, Response};
use std::{future::Future, pin::Pin, time::Duration};

/// The largest answer that is read: a discovery document and a few keys are small.
const LARGEST: usize = 1024 * 1024;

/// The longest that a call may take.
const LONGEST: Duration = Duration::from_secs(30);

/// How long a call may take: no longer than the work that it is for.
pub(crate) fn in_time() -> Duration {
    deadline::at_most(LONGEST)
}

/// Why there is no answer, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoAnswer(String);

/// An answer that is on its way.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, NoAnswer>> + Send>>;

/// What `openidconnect` calls for each of its requests.
pub(crate) fn sender(
    http: reqwest::Client,
    host: ApiHost,
) -> impl Fn(Request<Vec<u8>>) -> Answering + Send + Sync {
    move |request| {
        let (http, host) = (http.clone(), host.clone());
        Box::pin(async move { send(&http, &host, request).await })
    }
}

async fn send(
    http: &reqwest::Client,
    host: &ApiHost,
    request: Request<Vec<u8>>,
) -> Result<Response<Vec<u8>>, NoAnswer> {
    let lost = |problem: reqwest::Error| NoAnswer(explain(&problem, host));
    let mut request = reqwest::Request::try_from(request).map_err(lost)?;
    *request.timeout_mut() = Some(in_time());
    let mut response = http.execute(request).await.map_err(lost)?;
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(lost)? {
        if body.len() + piece.len() > LARGEST {
            return Err(NoAnswer(format!("{} answered with more than 1 MB", host.authority())));
        }
        body.extend_from_slice(&piece);
    }
    let mut answer = Response::new(body);
    *answer.status_mut() = response.status();
    *answer.headers_mut() = response.headers().clone();
    Ok(answer)
}
