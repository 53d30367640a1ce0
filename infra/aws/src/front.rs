//! API Gateway in small: HTTP requests become events of the payload format 2.0, and functions'
//! answers HTTP.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use crate::{
    deployed::Route,
    functions::{InvokeError, Lambda},
};
use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gantry_setup::Clock;
use http::{StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::net::TcpListener;

/// The most bytes that Lambda takes, and gives back.
const LARGEST: usize = 6 * 1024 * 1024;

/// The API.
pub struct Front {
    routes: Vec<Route>,
    lambda: Arc<Lambda>,
}

impl Front {
    /// Answers on this listener until the process ends.
    pub fn start(listener: TcpListener, routes: Vec<Route>, lambda: Arc<Lambda>) {
        let front = Arc::new(Self { routes, lambda });
        let router = axum::Router::new().fallback(answer).with_state(front);
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// The route of a request: the most specific one.
    fn route(&self, method: &str, path: &str) -> Option<&Route> {
        let fits = |route: &&Route| {
            let any = route.method == "x-amazon-apigateway-any-method";
            (any || route.method.eq_ignore_ascii_case(method)) && matches(&route.path, path)
        };
        self.routes.iter().filter(fits).max_by_key(|route| {
            let fixed = route.path.split('/').filter(|part| !part.starts_with('{')).count();
            (route.path != "/$default" && route.path != "$default", fixed)
        })
    }
}

fn matches(route: &str, path: &str) -> bool {
    if route.trim_start_matches('/') == "$default" {
        return true;
    }
    let (mut route, mut path) = (route.split('/'), path.split('/').peekable());
    loop {
        match (route.next(), path.peek()) {
            (None, None) => return true,
            (Some(part), Some(_)) if part.ends_with("+}") => return true,
            (Some(part), Some(found)) if part.starts_with('{') || part == *found => {
                path.next();
            }
            _ => return false,
        }
    }
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let Some(route) = front.route(&method, &path) else {
        return problem(StatusCode::NOT_FOUND, "Not Found");
    };
    let Ok(event) = event(route, request).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long");
    };
    match front.lambda.invoke(&route.function, &event).await {
        Ok(value) => response(&value)
            .unwrap_or_else(|| problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")),
        Err(InvokeError::Failed(_)) => {
            problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
        }
        Err(InvokeError::Ended) => problem(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}

async fn event(route: &Route, request: Request) -> anyhow::Result<Value> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, LARGEST * 3 / 4).await?;
    let mut headers: Map<String, Value> = Map::new();
    let mut cookies = Vec::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name == header::COOKIE {
            cookies.extend(value.split("; ").map(|cookie| Value::from(cookie.to_owned())));
            continue;
        }
        match headers.get_mut(name.as_str()) {
            Some(Value::String(before)) => {
                before.push(',');
                before.push_str(&value);
            }
            _ => drop(headers.insert(name.to_string(), value.into())),
        }
    }
    let method = head.method.to_string();
    let key = match route.path.trim_start_matches('/') {
        "$default" => "$default".to_owned(),
        _ if route.method.starts_with("x-amazon") => format!("ANY {}", route.path),
        _ => format!("{method} {}", route.path),
    };
    let host = headers.get("host").and_then(Value::as_str).unwrap_or_default();
    let domain = host.split(':').next().unwrap_or_default();
    // HTTP APIs decode the path.
    let path = percent_decode_str(head.uri.path()).decode_utf8_lossy();
    Ok(json!({
        "version": "2.0",
        "routeKey": key,
        "rawPath": path,
        "rawQueryString": head.uri.query().unwrap_or_default(),
        "cookies": cookies,
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": domain,
            "domainPrefix": "api",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": headers.get("user-agent"),
            },
            "requestId": format!("request-{}", Clock::system().now().as_nanosecond()),
            "routeKey": key,
            "stage": "$default",
            "time": "22/Nov/2026:00:00:00 +0000",
            "timeEpoch": Clock::system().now().as_millisecond(),
        },
        "body": STANDARD.encode(&body),
        "isBase64Encoded": true,
    }))
}

fn response(value: &Value) -> Option<Response> {
    let mut response =
        Response::builder().status(u16::try_from(value["statusCode"].as_u64()?).ok()?);
    for (name, value) in value["headers"].as_object().into_iter().flatten() {
        response = response.header(name, value.as_str()?);
    }
    for cookie in value["cookies"].as_array().into_iter().flatten() {
        response = response.header(header::SET_COOKIE, cookie.as_str()?);
    }
    let text = value["body"].as_str().unwrap_or_default();
    if text.len() > LARGEST {
        return None;
    }
    let body = match value["isBase64Encoded"].as_bool() {
        Some(true) => STANDARD.decode(text).ok()?,
        _ => text.as_bytes().to_vec(),
    };
    response.body(Body::from(body)).ok()
}

fn problem(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({"message": message}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn routes_are_api_gateways() {
        for (route, path, fits) in [
            ("/webhooks/gitlab", "/webhooks/gitlab", true),
            ("/webhooks/gitlab", "/webhooks/gitlab/x", false),
            ("/runner/{proxy+}", "/runner/v1/claim", true),
            ("/runner/{proxy+}", "/runner", false),
            ("/api/v1/stacks/{slug}/state", "/api/v1/stacks/a/state", true),
            ("/api/v1/stacks/{slug}/state", "/api/v1/stacks/a/states", false),
            ("$default", "/anything", true),
        ] {
            assert_eq!(matches(route, path), fits, "{route} {path}");
        }
    }
}
