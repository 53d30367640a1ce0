//! Connecting GitLab, and the webhook's secrets.

use crate::support::{Options, World, connected, world, world_with};
use gantry_domain::integration::Integration;
use gantry_fake_gitlab::{Fault, Matcher};
use gantry_gitlab::webhook::WebhookSecrets;
use gantry_queue::{Message, SlotsMessage};
use gantry_secrets::SecretName;
use gantry_store::{config::ProjectEntry, health::Health, keys};
use secrecy::ExposeSecret as _;
use serde_json::json;

const PATH: &str = "/api/v1/integration";

async fn saved(w: &World) -> Option<Integration> {
    w.store.integration().await.unwrap().map(|found| found.value)
}

#[tokio::test]
async fn connecting_says_what_it_found() {
    let w = world().await;
    let before = w.get(PATH).await.expect(200).body;
    assert_eq!(before["linked"], false);
    let got = w.connect().await.expect(200).body;
    assert_eq!(got["found"]["version"], "19.1.0-ee");
    assert_eq!(got["found"]["bot_user"]["username"], "project_1_bot_abc");
    assert_eq!(got["found"]["scopes"], json!(["api"]));
    assert_eq!(got["webhook"]["endpoint"], "https://gantry.example.com/webhooks/gitlab");
    assert!(got["webhook"]["signing_token"].as_str().unwrap().starts_with("whsec_"));
    assert!(got["webhook"]["terraform"].as_str().unwrap().contains("signing_token"));
    assert_eq!(got["note"], json!(null));
    assert!(!got.to_string().contains(&w.token));
    assert!(matches!(w.sent()[..], [Message::Slots(SlotsMessage::Sweep { .. })]));
    let kept = w.secrets.get(SecretName::WebhookSecrets).await.unwrap().unwrap();
    let kept = WebhookSecrets::from_json(&kept).unwrap();
    assert_eq!(got["webhook"]["secret"], kept.token.expose_secret());
    let integration = saved(&w).await.unwrap();
    assert_eq!((integration.generation, integration.linked), (1, true));

    w.put(keys::health("publisher"), &Health { broken: Some("401".into()), ..Health::default() })
        .await;
    let shown = w.get(PATH).await.expect(200).body;
    assert_eq!(shown["broken"][0]["reason"], "401");
    assert_eq!(shown["webhook"]["secret"], got["webhook"]["secret"]);
    let read = w.key("read").await;
    let shown = w.ask("GET", PATH, Some(&read), &[], "").await.expect(200).body;
    assert_eq!(shown["webhook"].get("secret"), None);
    assert_eq!(shown["webhook"].get("signing_token"), None);
}

#[tokio::test]
async fn what_is_wrong_is_said_of_its_field_and_nothing_is_saved() {
    let w = world().await;
    let host = w.gitlab.base_url().to_owned();
    let connect = async |host: &str, token: &str| {
        let body = json!({ "api_host": host, "token": token });
        w.send("PUT", PATH, body).await.expect(422)
    };
    let got = w.send("PUT", PATH, json!({ "hots": "x" })).await.expect(422);
    let errors = got.body["errors"].as_object().unwrap();
    assert_eq!(errors.keys().collect::<Vec<_>>(), ["api_host", "hots", "token"]);
    assert!(connect("gitlab.com", "x").await.error("api_host").contains("https://"));
    assert!(connect("http://127.0.0.1:9", "x").await.error("api_host").contains("refused"));
    let unknown = connect("https://gitlab.invalid", "x").await;
    assert!(unknown.error("api_host").contains("DNS"), "{}", unknown.text);
    assert!(connect(&host, "a\nb").await.error("token").contains("characters"));
    assert!(connect(&host, "wrong").await.error("token").contains("401 Unauthorized"));
    assert!(connect(&format!("{host}/sub"), &w.token).await.error("api_host").contains("GitLab"));
    let token = |scopes: &[&str], expires: Option<&str>| {
        w.gitlab.create_token(w.bot, scopes, expires.map(|day| day.parse().unwrap()))
    };
    let got = connect(&host, &token(&["read_api"], None)).await;
    assert!(got.error("token").contains("it can only read"), "{}", got.text);
    let got = connect(&host, &token(&["read_repository"], None)).await;
    assert!(got.error("token").contains("lacks the scope api"), "{}", got.text);
    let got = connect(&host, &token(&["api"], Some("2026-11-21"))).await;
    assert!(got.error("token").contains("expired"), "{}", got.text);
    w.gitlab.fail_next(Matcher::new("GET", "/metadata"), Fault::status(502));
    assert!(connect(&host, &w.token).await.error("api_host").contains("502"));
    w.gitlab.fail_next(Matcher::new("GET", "/metadata"), Fault::RateLimited { retry_after: 7 });
    let body = json!({ "api_host": host, "token": w.token });
    let got = w.send("PUT", PATH, body).await.expect(503);
    assert_eq!(got.headers["retry-after"], "7");
    assert!(saved(&w).await.is_none());
    assert!(w.secrets.get(SecretName::ApiToken).await.unwrap().is_none());
    let outcomes: Vec<_> = w.activities().await.into_iter().map(|done| done.2).collect();
    assert!(outcomes.iter().all(|outcome| outcome.starts_with("refused")), "{outcomes:?}");
}

#[tokio::test]
async fn an_old_server_is_refused() {
    let w = world_with(Options { version: "15.4.6", ..Options::default() }).await;
    let got = w.connect().await.expect(422);
    assert!(got.error("api_host").contains("15.5 is the oldest"), "{}", got.text);
}

#[tokio::test]
async fn a_loopback_address_is_said_to_be_no_use() {
    let options = Options { public_url: None, ..Options::default() };
    let got = world_with(options).await.connect().await.expect(200).body;
    assert!(got["note"].as_str().unwrap().contains("GANTRY_PUBLIC_URL is not set"));
    // The fake GitLab is on this machine and can call here.
    let options = Options { public_url: Some("http://127.0.0.1:1"), ..Options::default() };
    let got = world_with(options).await.connect().await.expect(200).body;
    assert_eq!(got["note"], json!(null));
}

#[tokio::test]
async fn another_token_says_when_it_brings_another_user() {
    let w = connected().await;
    let installation = saved(&w).await.unwrap().installation;
    let other = w.gitlab.create_user("somebody");
    let token = w.gitlab.create_token(other, &["api"], None);
    let body = json!({ "api_host": w.gitlab.base_url(), "token": token });
    let got = w.send("PUT", PATH, body).await.expect(200).body;
    let warnings = got["found"]["warnings"].to_string();
    assert!(warnings.contains("somebody instead of project_1_bot_abc"), "{warnings}");
    let integration = saved(&w).await.unwrap();
    assert_eq!(integration.generation, 1);
    assert_eq!(integration.installation, installation);
}

#[tokio::test]
async fn another_server_detaches_stacks_until_they_are_pointed_there() {
    let w = connected().await;
    let stack = w.stack().await;
    w.post("/api/v1/stacks/network/webhook", json!({})).await.expect(200);
    let other = crate::support::world().await;
    let body = json!({ "api_host": other.gitlab.base_url(), "token": other.token });
    w.send("PUT", PATH, body).await.expect(200);
    assert_eq!(saved(&w).await.unwrap().generation, 2);
    let entry = w
        .store
        .get::<ProjectEntry>(&keys::project(stack.project().unwrap()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(entry.value.hook, None, "the id of a hook belongs to its server");
    let shown = w.get("/api/v1/stacks/network").await.expect(200).body;
    assert_eq!(shown["project"], json!(null));
    assert!(shown["status"]["detached"].as_str().unwrap().contains("point the stack"));
    w.post("/api/v1/stacks/network/runs", json!({})).await.expect(409);
    // Sending back what was read does not attach it.
    w.send("PUT", "/api/v1/stacks/network", shown).await.expect(200);
    assert_eq!(w.stored_stack("network").await.generation, 1);
    let body = json!({ "project": "acme/network" });
    let got = w.send("PUT", "/api/v1/stacks/network", body).await.expect(200).body;
    assert_eq!(got["status"]["detached"], json!(null));
    assert_eq!(w.stored_stack("network").await.generation, 2);
}

#[tokio::test]
async fn unlinking_keeps_stacks_and_forgets_the_token() {
    let w = connected().await;
    w.stack().await;
    w.send("DELETE", PATH, json!({})).await.expect(200);
    w.send("DELETE", PATH, json!({})).await.expect(409);
    let token = w.secrets.get(SecretName::ApiToken).await.unwrap().unwrap();
    assert_ne!(token.expose_secret(), w.token);
    let shown = w.get("/api/v1/stacks/network").await.expect(200).body;
    assert!(shown["status"]["detached"].as_str().unwrap().contains("was unlinked"));
    let got = w.post("/api/v1/stacks", json!({ "name": "b", "project": 1 })).await.expect(409);
    assert!(got.detail().contains("unlinked"), "{}", got.detail());
    w.connect().await.expect(200);
    let shown = w.get("/api/v1/stacks/network").await.expect(200).body;
    assert_eq!(shown["status"]["detached"], json!(null), "it is the same server");
}

#[tokio::test]
async fn a_rotation_rewrites_hooks_and_lists_the_rest() {
    let w = connected().await;
    w.stack().await;
    let rotate = "/api/v1/integration/rotate-secret";
    let secret = w.get(PATH).await.body["webhook"]["secret"].clone();
    let got = w.post(rotate, json!({})).await.expect(200).body;
    assert_ne!(got["webhook"]["secret"], secret);
    assert_eq!(got["webhook"]["previous_secret_until"], "2026-11-29T10:00:00Z");
    assert_eq!(got["still_on_previous"][0]["path"], "acme/network");
    w.post(rotate, json!({})).await.expect(409);
    w.post("/api/v1/stacks/network/webhook", json!({})).await.expect(200);
    let got = w.post(rotate, json!({ "force": true })).await.expect(200).body;
    assert_eq!(got["projects"][0]["renewed"], true);
    assert_eq!(got["still_on_previous"], json!([]));
    let got = w.post(rotate, json!({ "end": true })).await.expect(200).body;
    assert_eq!(got["webhook"]["previous_secret_until"], json!(null));
    assert!(w.gitlab.unknown_requests().is_empty());
}
