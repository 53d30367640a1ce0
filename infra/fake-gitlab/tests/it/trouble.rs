//! Trouble on request, limits, and what is remembered of requests.

use std::time::Duration;

use gantry_fake_gitlab::{FakeGitlab, Fault, Matcher};
use serde_json::json;

use crate::support::world;

#[tokio::test]
async fn requests_fail_when_told_to() {
    let w = world().await;
    let sha = w.gitlab.head(w.project, "main").unwrap();
    w.gitlab.fail_next(Matcher::new("GET", "/user"), Fault::status(502));
    w.get("/version").await.expect(200);
    w.get("/user").await.expect(502);
    w.get("/user").await.expect(200);
    w.gitlab.fail_next(Matcher::any(), Fault::RateLimited { retry_after: 30 });
    let limited = w.get("/user").await.expect(429);
    assert_eq!(
        (limited.header("retry-after").as_str(), limited.text.as_str()),
        ("30", "Retry later\n")
    );
    let path = w.path(&format!("/statuses/{sha}"));
    let send = || w.try_send("POST", &path, Some(&w.token), Some(json!({ "state": "pending" })));
    w.gitlab.fail_next(Matcher::any(), Fault::Drop);
    send().await.unwrap_err();
    assert!(w.gitlab.statuses(w.project, &sha).is_empty());
    w.gitlab.fail_next(Matcher::any(), Fault::ApplyThenDrop);
    send().await.unwrap_err();
    assert_eq!(w.gitlab.statuses(w.project, &sha).len(), 1);
    w.gitlab.set_down(true);
    w.get("/user").await.expect(503);
    w.gitlab.set_down(false);
    w.get("/user").await.expect(200);
    let seen: Vec<u16> = w.gitlab.requests().iter().map(|request| request.status).collect();
    assert_eq!(seen, [200, 502, 200, 429, 0, 0, 503, 200]);
}

#[tokio::test]
async fn unknown_addresses_are_remembered() {
    let w = world().await;
    w.get(&w.path("/wikis")).await.expect(404);
    w.put(&w.path("/hooks/1"), json!({})).await.expect(404);
    let unknown = w.gitlab.unknown_requests();
    assert_eq!(unknown.len(), 1);
    assert_eq!(unknown[0].path, w.path("/wikis"));
    assert_eq!(unknown[0].user.as_deref(), Some("project_1_bot_abc"));
}

#[tokio::test]
async fn a_fake_ends_with_its_last_handle() {
    let config = gantry_fake_gitlab::Config::for_tests(|| jiff::Timestamp::UNIX_EPOCH);
    let gitlab = FakeGitlab::start(config).await.unwrap();
    let addr = gitlab.addr();
    let other = gitlab.clone();
    drop(gitlab);
    tokio::net::TcpStream::connect(addr).await.unwrap();
    drop(other);
    let ended = async {
        while tokio::net::TcpStream::connect(addr).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
}
