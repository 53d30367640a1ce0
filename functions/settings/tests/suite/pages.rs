//! The pages.

use crate::support::{connected, signer};
use bytes::Bytes;
use gantry_domain::{
    plan::{Action, Change, Delta, ResourceChange},
    run::{Phase, RunState},
};
use gantry_secrets::links::read_link;
use gantry_setup::objects;
use gantry_store::{keys, runner::LogPiece};

#[tokio::test]
async fn a_link_opens_one_run_and_nothing_else() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let other = w.run(&stack, "b", RunState::Finished).await;
    let link = read_link(&signer(), "", &run.id);
    let got = w.ask("GET", &link, None, &[], "").await.expect(200);
    assert!(got.text.contains("network: tracked run, unconfirmed"));
    let policy = got.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
    assert_eq!(got.headers["referrer-policy"], "no-referrer");
    assert_eq!(got.headers["cache-control"], "no-store");
    let (_, key) = link.split_once('?').unwrap();
    let refused = [
        format!("/runs/{}?{key}", other.id),
        format!("/runs/{}", run.id),
        "/runs/nowhere".to_owned(),
        format!("/runs/{}?key=x.y", run.id),
    ];
    let mut said = Vec::new();
    for path in refused {
        said.push(w.ask("GET", &path, None, &[], "").await.expect(401).text);
    }
    said.dedup();
    assert_eq!(said.len(), 1, "whether there is such a run is not told");
    assert!(!said[0].contains("network"));
    let api = format!("/api/v1/runs/{}?{key}", run.id);
    w.ask("GET", &api, None, &[], "").await.expect(401);
    let read = w.key("read").await;
    let page = format!("/runs/{}", other.id);
    w.ask("GET", &page, Some(&read), &[], "").await.expect(200);
    w.ask("GET", &page, Some("wrong"), &[], "").await.expect(401);
    w.ask("GET", "/runs/nowhere", Some(&read), &[], "").await.expect(404);
}

#[tokio::test]
async fn what_comes_from_outside_stays_text() {
    let w = connected().await;
    let stack = w.stack().await;
    let evil = "</pre><script>alert(1)</script>";
    let mut run = w.run(&stack, "a", RunState::Unconfirmed).await;
    run.git_ref = evil.to_owned();
    run.reason = evil.to_owned();
    w.save_run(&run).await;
    let resource = ResourceChange {
        address: evil.to_owned(),
        previous_address: None,
        resource_type: "x".to_owned(),
        provider: "y".to_owned(),
        action: Action::Create,
        import_id: None,
        reason: None,
        attributes: vec![],
        attributes_cut: 0,
    };
    let change = Change {
        v: 1,
        delta: Delta { add: 1, ..Delta::default() },
        resources: vec![resource],
        ..Change::default()
    };
    let body = Bytes::from(serde_json::to_vec(&change).unwrap());
    w.objects.put(&objects::keys::change(&run.id, 2), body).await.unwrap();
    let text = format!("\u{1b}[31m{evil}\n");
    let piece = LogPiece { phase: Phase::Plan, attempt: 2, offset: 0, text };
    w.put(keys::log(&run.id, 2, 0), &piece).await;
    let link = read_link(&signer(), "", &run.id);
    let got = w.ask("GET", &link, None, &[], "").await.expect(200);
    assert!(!got.text.contains("<script"));
    assert_eq!(got.text.matches("&lt;script&gt;").count(), 4, "{}", got.text);
    assert!(got.text.contains("1 to add, 0 to change, 0 to destroy"));
    assert!(!got.text.contains('\u{1b}'));
}

#[tokio::test]
async fn the_front_page_says_where_to_begin() {
    let w = connected().await;
    let got = w.ask("GET", "/", None, &[], "").await.expect(200);
    assert!(got.text.contains("/api/v1/openapi.json") && got.text.contains("secrets.json"));
    assert!(!got.text.contains(&w.admin));
    w.ask("GET", "/healthz", None, &[], "").await.expect(200);
    w.ask("GET", "/style.css", None, &[], "").await.expect(200);
    let got = w.ask("GET", "/api/v1/openapi.json", None, &[], "").await.expect(200);
    assert_eq!(got.body["openapi"], "3.1.0");
}
