//! The project's one webhook.

use crate::{
    people::{key_of, member, offer, offered, sign_in},
    support::{Options, connected, world_with},
};
use gantry_fake_gitlab::{Fault, Matcher};
use gantry_gitlab::{ApiHost, Client, ClientConfig};
use serde_json::json;
use std::sync::Arc;

const PATH: &str = "/api/v1/stacks/network/webhook";

#[tokio::test]
async fn it_is_made_once_and_repaired_after_that() {
    let w = connected().await;
    w.stack().await;
    let made = w.post(PATH, json!({})).await.expect(200).body;
    assert_eq!(made["created"], true);
    let again = w.post(PATH, json!({})).await.expect(200).body;
    assert_eq!((&again["created"], &again["repaired"]), (&json!(false), &json!([])));
    assert_eq!(again["hook"]["id"], made["hook"]["id"]);
    let hooks = w.gitlab.hooks(w.project);
    assert_eq!(hooks.len(), 1);
    assert_eq!(hooks[0].url, "https://gantry.example.com/webhooks/gitlab");
    assert!(hooks[0].token_present && hooks[0].signing_token_present);
    let mut events = hooks[0].events.clone();
    events.sort_unstable();
    assert_eq!(events, ["merge_requests_events", "push_events", "tag_push_events"]);
    assert!(w.gitlab.unknown_requests().is_empty());
}

#[tokio::test]
async fn it_calls_for_comments_once_a_stack_takes_commands_from_them() {
    let w = connected().await;
    w.stack().await;
    w.post(PATH, json!({})).await.expect(200);
    let calls = || w.gitlab.hooks(w.project)[0].events.contains(&"note_events");
    assert!(!calls());
    let stack = "/api/v1/stacks/network";
    w.send("PUT", stack, json!({ "comment_commands": true })).await.expect(200);
    assert!(calls(), "saving has repaired the webhook");
    let again = w.post(PATH, json!({})).await.expect(200).body;
    assert_eq!(again["repaired"], json!([]));
    // Whoever wants comments for another reason keeps them.
    w.send("PUT", stack, json!({ "comment_commands": false })).await.expect(200);
    w.post(PATH, json!({})).await.expect(200);
    assert!(calls());
}

#[tokio::test]
async fn a_webhook_that_lacks_comments_is_named_and_repaired() {
    let w = connected().await;
    w.stack().await;
    by_hand(&w).create(&w, "https://gantry.example.com/webhooks/gitlab").await;
    let stack = "/api/v1/stacks/network";
    w.send("PUT", stack, json!({ "comment_commands": true })).await.expect(200);
    let events = || w.gitlab.hooks(w.project)[0].events.clone();
    assert!(!events().contains(&"note_events"), "nobody asked Gantry to change that webhook");
    let repaired = w.post(PATH, json!({})).await.expect(200).body;
    assert_eq!(repaired["repaired"], json!(["Comment events not enabled"]));
    assert!(events().contains(&"note_events"));
}

#[tokio::test]
async fn two_people_at_once_make_one() {
    let w = connected().await;
    w.stack().await;
    let (one, two) = tokio::join!(w.post(PATH, json!({})), w.post(PATH, json!({})));
    let (one, two) = (one.expect(200).body, two.expect(200).body);
    assert_eq!(one["hook"]["id"], two["hook"]["id"]);
    assert_eq!(w.gitlab.hooks(w.project).len(), 1);
}

#[tokio::test]
async fn a_hook_that_was_made_unseen_is_found_again() {
    let w = connected().await;
    w.stack().await;
    w.gitlab.fail_next(Matcher::new("POST", "/hooks"), Fault::ApplyThenDrop);
    w.post(PATH, json!({})).await.expect(503);
    let got = w.post(PATH, json!({})).await.expect(200).body;
    assert_eq!(got["created"], false);
    assert_eq!(w.gitlab.hooks(w.project).len(), 1);
}

#[tokio::test]
async fn hooks_made_by_hand_are_taken_over_and_doubles_named() {
    let w = connected().await;
    w.stack().await;
    let client = by_hand(&w);
    for _ in 0..2 {
        client.create(&w, "https://gantry.example.com/webhooks/gitlab").await;
    }
    client.create(&w, "https://elsewhere.example.com/").await;
    let got = w.post(PATH, json!({})).await.expect(200).body;
    assert_eq!(got["created"], false);
    assert_eq!(got["duplicates"].as_array().unwrap().len(), 1);
    assert_eq!(w.gitlab.hooks(w.project).len(), 3);
}

/// Makes hooks as a person would, through GitLab's API.
struct ByHand(Client);

fn by_hand(w: &crate::support::World) -> ByHand {
    let clock = w.clock.clone();
    let host: ApiHost = w.gitlab.base_url().parse().unwrap();
    let config = ClientConfig {
        host,
        token: w.token.clone().into(),
        ca_pem: None,
        clock: Arc::new(move || clock.now()),
    };
    ByHand(Client::new(config).unwrap())
}

impl ByHand {
    async fn create(&self, w: &crate::support::World, url: &str) {
        let settings = gantry_gitlab::HookSettings {
            url: url.to_owned(),
            token: "by hand".into(),
            signing_token: None,
            verify_tls: true,
            note_events: false,
        };
        let project = gantry_domain::ProjectId(w.project.0);
        self.0.create_hook(project, &settings).await.unwrap();
    }
}

#[tokio::test]
async fn where_it_cannot_be_made_all_is_said_to_make_it_by_hand() {
    let w = connected().await;
    w.stack().await;
    w.gitlab.set_member(w.project, w.bot, 30);
    let got = w.post(PATH, json!({})).await.expect(409);
    assert!(got.detail().contains("Maintainer"), "{}", got.detail());
    let hook = &got.body["webhook"];
    assert_eq!(hook["endpoint"], "https://gantry.example.com/webhooks/gitlab");
    assert_eq!(hook["events"].as_array().unwrap().len(), 3);
    assert!(hook["secret"].is_string());
    let id = format!("project               = {}", w.project.0);
    assert!(hook["terraform"].as_str().unwrap().contains(&id), "{}", hook["terraform"]);
    let takes = json!({ "comment_commands": true });
    w.send("PUT", "/api/v1/stacks/network", takes).await.expect(200);
    let got = w.post(PATH, json!({})).await.expect(409);
    let hook = &got.body["webhook"];
    assert_eq!(hook["events"][3], "note_events");
    assert!(hook["terraform"].as_str().unwrap().contains("  note_events           = true\n"));
    w.gitlab.set_down(true);
    w.post(PATH, json!({})).await.expect(503);
}

/// They are the secrets of all projects' webhooks.
#[tokio::test]
async fn its_secrets_are_told_to_admins_alone() {
    let (w, application) = offered().await;
    let group = w.gitlab.create_group("acme/platform");
    offer(&w, &application, json!({ "admin_groups": ["acme/platform"] })).await.expect(200);
    w.stack().await;
    w.gitlab.set_member(w.project, w.bot, 30);
    let grace = w.gitlab.person("grace");
    w.gitlab.set_group_member(group, grace.id(), 40);
    let secret = w.post(PATH, json!({})).await.expect(409).body["webhook"]["secret"].clone();
    for (person, is_told) in [(member(&w, "olga", 50), false), (grace, true)] {
        let browser = sign_in(&w, &person).await;
        let key = key_of(&browser).await;
        let got = w.ask("POST", PATH, Some(&key), &[], "{}").await.expect(409);
        let hook = &got.body["webhook"];
        assert_eq!(hook["endpoint"], "https://gantry.example.com/webhooks/gitlab");
        assert_eq!(hook["secret"] == secret, is_told, "{}", got.text);
        assert_eq!(hook["signing_token"].is_string(), is_told, "{}", got.text);
        assert_eq!(got.text.contains(secret.as_str().unwrap()), is_told, "{}", got.text);
    }
}

#[tokio::test]
async fn without_an_address_nothing_is_made() {
    let w = world_with(Options { public_url: None, ..Options::default() }).await;
    w.connect().await.expect(200);
    w.stack().await;
    let got = w.post(PATH, json!({})).await.expect(409);
    assert!(got.detail().contains("GitLab cannot reach Gantry"), "{}", got.detail());
    assert!(w.gitlab.hooks(w.project).is_empty());
}

#[tokio::test]
async fn an_old_server_does_not_sign_and_that_is_said() {
    let w = world_with(Options { version: "18.11.2-ee", ..Options::default() }).await;
    w.connect().await.expect(200);
    w.stack().await;
    let got = w.post(PATH, json!({})).await.expect(200).body;
    assert!(got["warnings"][0].as_str().unwrap().contains("does not sign"), "{got}");
}
