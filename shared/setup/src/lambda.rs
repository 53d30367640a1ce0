//! HTTP routes behind API Gateway.

use crate::{
    Deployment,
    environment::EnvironmentError,
    web::{ClientAddress, Problem},
};
use axum::{Router, http::StatusCode, response::IntoResponse as _};
use ipnet::IpNet;
use lambda_http::{Error, Request, RequestExt as _, request::RequestContext, service_fn};
use std::{net::IpAddr, sync::Arc};
use tokio::sync::OnceCell;
use tower::ServiceExt as _;

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

/// Serves the routes that `make` builds for the installation's address: `public_url`, or what the
/// first request was sent to. A template cannot tell it to a function that its API leads to.
pub async fn serve(
    public_url: Option<String>,
    networks: Networks,
    make: impl Fn(String) -> Router + Sync,
) -> Result<(), Error> {
    let router = Arc::new(OnceCell::new());
    lambda_http::run(service_fn(|mut request: Request| {
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
        "Not from here",
        "Gantry's pages and API are open to some networks only. Come from one of them, or have \
         yours added to the parameter AdminCidrs.",
    )
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

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
