//! HTTP routes behind API Gateway.

use crate::{
    Deployment,
    environment::EnvironmentError,
    web::{ClientAddress, Problem},
};
use axum::{
    Router,
    http::{HeaderValue, StatusCode, Uri, header},
    response::IntoResponse,
};
use ipnet::IpNet;
use lambda_http::{
    Adapter, Error, LambdaEvent, Request, RequestExt as _, Service,
    aws_lambda_events::apigw::ApiGatewayV2httpResponse,
    request::{LambdaRequest, RequestContext},
    service_fn,
};
use serde::{Deserialize, Deserializer, Serialize};
use std::{net::IpAddr, sync::Arc};
use tokio::sync::OnceCell;
use tower::ServiceExt as _;
use url::Url;

/// What everybody may reach wherever they are: runners and Terraform prove themselves by tokens.
const FOR_ALL: &[&str] = &["/runner/", "/registry/", "/.well-known/", "/healthz"];

/// The networks that people may come from; empty means all.
#[derive(Debug, Clone, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// From `GANTRY_ADMIN_CIDRS`: networks with commas between them.
    pub fn from_environment(deployment: Deployment) -> Result<Self, EnvironmentError> {
        let name = "GANTRY_ADMIN_CIDRS";
        let text = deployment.environment().optional(name).unwrap_or_default();
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let networks = parts.map(|part| {
            part.parse().map_err(|error: ipnet::AddrParseError| EnvironmentError::Wrong {
                name: name.to_owned(),
                expected: "networks such as 10.0.0.0/8,192.0.2.7/32".to_owned(),
                problem: format!("{part:?}: {error}"),
            })
        });
        Ok(Self(networks.collect::<Result<_, _>>()?))
    }

    fn let_in(&self, path: &str, from: Option<IpAddr>) -> bool {
        self.0.is_empty()
            || FOR_ALL.iter().any(|prefix| path.starts_with(prefix))
            || from.is_some_and(|address| self.0.iter().any(|network| network.contains(&address)))
    }
}

/// Serves routes. What strangers send and is no request is answered with 400: `lambda_http` fails,
/// or panics, over some of it, which would be an error of the function.
pub async fn run<S, R>(routes: S) -> Result<(), Error>
where
    S: Service<Request, Response = R, Error: Into<Error> + std::fmt::Debug + Send>,
    S::Future: Send,
    R: lambda_http::IntoResponse,
{
    let mut adapter = Adapter::from(routes);
    lambda_http::lambda_runtime::run(service_fn(|event: LambdaEvent<Event>| {
        let answer = match event.payload.0 {
            Some(request) => Ok(adapter.call(LambdaEvent::new(request, event.context))),
            None => Err(refused()),
        };
        async {
            match answer {
                Ok(answer) => answer.await.map(Answer::Given).map_err(Into::into),
                Err(refused) => Ok::<_, Error>(Answer::Refused(Box::new(refused))),
            }
        }
    }))
    .await
}

/// A request, or none where it is nothing that can be one.
struct Event(Option<LambdaRequest>);

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(LambdaRequest::deserialize(deserializer).ok().and_then(as_sent)))
    }
}

fn refused() -> ApiGatewayV2httpResponse {
    let mut refused = ApiGatewayV2httpResponse::default();
    refused.status_code = i64::from(StatusCode::BAD_REQUEST.as_u16());
    refused.body = Some("This request cannot be read.".into());
    refused
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer<R> {
    Given(R),
    Refused(Box<ApiGatewayV2httpResponse>),
}

/// The request with the path as its client sent it. HTTP APIs decode it before they give it to a
/// function, so that a blank or a question mark can be in there.
fn as_sent(request: LambdaRequest) -> Option<LambdaRequest> {
    let LambdaRequest::ApiGatewayV2(mut request) = request else { return None };
    let mut url = Url::parse("https://gantry.invalid").ok()?;
    if let Some(domain) = &request.request_context.domain_name {
        url.set_host(Some(domain)).ok()?;
    }
    url.set_path(&request.raw_path.as_deref().unwrap_or_default().replace('%', "%25"));
    request.raw_path = Some(url.path().to_owned());
    // What its client named is the same where API Gateway found this function by it.
    let authority = HeaderValue::from_str(url.host_str()?).ok()?;
    request.headers.insert(header::HOST, authority);
    request.headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    let query = request.raw_query_string.as_deref().unwrap_or_default();
    format!("{url}?{query}").parse::<Uri>().ok()?;
    Some(LambdaRequest::ApiGatewayV2(request))
}

/// Serves the routes that `make` builds for the installation's address: `public_url`, or what the
/// first request was sent to. A template cannot tell it to a function that its API leads to.
pub async fn serve(
    public_url: Option<String>,
    networks: Networks,
    make: impl Fn(String) -> Router + Sync,
) -> Result<(), Error> {
    let router = Arc::new(OnceCell::new());
    run(service_fn(|mut request: Request| {
        let (domain, from) = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => {
                (context.domain_name.clone(), context.http.source_ip.clone())
            }
            _ => (None, None),
        };
        let address = from.as_ref().and_then(|from| from.parse().ok());
        let let_in = networks.let_in(request.uri().path(), address);
        if let Some(from) = from {
            request.extensions_mut().insert(ClientAddress(from));
        }
        let base = public_url
            .clone()
            .or_else(|| domain.map(|domain| format!("https://{domain}")))
            .unwrap_or_default();
        let (router, make) = (Arc::clone(&router), &make);
        async move {
            if !let_in {
                return Ok::<_, Error>(elsewhere());
            }
            let router: &Router = router.get_or_init(|| async { make(base) }).await;
            let Ok(answer) = router.clone().oneshot(request).await;
            Ok(answer)
        }
    }))
    .await
}

fn elsewhere() -> axum::response::Response {
    Problem::new(
        StatusCode::FORBIDDEN,
        "Not allowed from this network",
        "Gantry's pages and API can only be reached from certain networks. Connect from one of \
         them, or have yours added to the parameter AdminCidrs.",
    )
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(path: &str, more: &serde_json::Value) -> Option<LambdaRequest> {
        let mut event = serde_json::json!({
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": "a=b%20c",
            "headers": { "host": "anything" },
            "requestContext": {
                "domainName": "gantry.example.com",
                "http": { "method": "GET", "path": path },
                "stage": "$default",
            },
            "isBase64Encoded": false,
        });
        let all = event.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        serde_json::from_str::<Event>(&event.to_string()).unwrap().0
    }

    #[test]
    fn paths_are_as_they_were_sent() {
        for (given, sent) in [
            ("/stacks/network", "/stacks/network"),
            ("", "/"),
            ("/a b", "/a%20b"),
            ("/a?b#c", "/a%3Fb%23c"),
            ("/100%", "/100%25"),
            ("/ä", "/%C3%A4"),
        ] {
            let event = event(given, &serde_json::json!({})).unwrap();
            let request: Request = event.into();
            let uri = format!("https://gantry.example.com{sent}?a=b%20c");
            assert_eq!(request.uri().to_string(), uri, "{given}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert!(event("/", &serde_json::json!({ "requestContext": "none" })).is_none());
        assert!(event("/", &serde_json::json!({ "headers": { "a\nb": "c" } })).is_none());
        assert!(serde_json::from_str::<Event>("[]").unwrap().0.is_none());
    }

    #[test]
    fn people_come_from_the_named_networks_and_runners_from_everywhere() {
        let networks = Networks(vec!["10.0.0.0/8".parse().unwrap()]);
        let from = |text: &str| text.parse().ok();
        assert!(networks.let_in("/stacks/a", from("10.9.9.9")));
        assert!(!networks.let_in("/stacks/a", from("11.0.0.1")));
        assert!(!networks.let_in("/api/v1/stacks", None));
        assert!(networks.let_in("/runner/v1/claim", from("11.0.0.1")));
        assert!(!networks.let_in("/runners", from("11.0.0.1")));
        assert!(Networks::default().let_in("/", None));
    }
}
