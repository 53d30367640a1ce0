//! The state that Gantry keeps for a stack.

use crate::support::{Kind, SLUG, World, array, text};
use gantry_domain::stack::Tool;
use gantry_local::Intervals;
use gantry_terraform::on_each_tool;
use serde_json::{Value, json};

const ONE: &str = "resource \"terraform_data\" \"one\" {\n  input = \"one\"\n}\n";
const TWO: &str = "resource \"terraform_data\" \"two\" {\n  input = \"two\"\n}\n";
/// The time at which it was planned is in the plan: only that plan's apply has it.
const PLANNED: &str = "resource \"terraform_data\" \"when\" {\n  input = plantimestamp()\n}\n";

async fn world(tool: Tool, hooks: Value) -> World {
    let w = World::on(tool, Kind::Inside(Intervals::default()), &[("main.tf", "# Nothing yet.\n")]);
    let w = w.await;
    w.stack(json!({ "hooks": hooks })).await;
    w.webhook().await;
    w
}

async fn state(w: &World) -> Value {
    w.api.get(&format!("/stacks/{SLUG}/state")).await.good()
}

async fn body(w: &World, version: &str) -> Value {
    w.api.get(&format!("/stacks/{SLUG}/state/{version}")).await.good()
}

/// The names of the resources in a state.
fn names(state: &Value) -> Vec<String> {
    array(state, "/resources").iter().map(|resource| text(resource, "/name")).collect()
}

on_each_tool! {
    async fn a_person_reads_imports_restores_and_unlocks_it_while_no_run_needs_it(tool) {
        let w = world(tool, json!({})).await;
        let path = format!("/stacks/{SLUG}/state");
        w.api.get(&format!("{path}/current")).await.refused(404);
        w.apply(&w.push("main", ONE)).await;
        w.apply(&w.push("main", &format!("{ONE}{TWO}"))).await;

        let now = state(&w).await;
        let newest = now["current"]["version"].as_u64().unwrap();
        let versions = array(&now, "/versions").iter().map(|v| text(v, "/version"));
        assert_eq!(versions.rev().map(|v| v.parse::<u64>().unwrap()).next_back(), Some(newest));
        let oldest = text(array(&now, "/versions").last().unwrap(), "/version");
        let old = body(&w, &oldest).await;
        let current = body(&w, "current").await;
        assert_eq!(names(&current), ["one", "two"]);
        assert_eq!(body(&w, &newest.to_string()).await, current);
        w.api.get(&format!("{path}/9999")).await.refused(404);
        let reader = w.api.post("/keys", &json!({ "name": "reader", "role": "read" })).await.good();
        let reader = w.api.with_key(&text(&reader, "/key"));
        reader.get(&path).await.good();
        reader.get(&format!("{path}/current")).await.refused(403);

        // A plan that waits was made for this state: nobody changes it meanwhile.
        let next = w.push("main", &format!("{ONE}{TWO}{PLANNED}"));
        let run = w.run_is(&next, "unconfirmed").await;
        assert!(w.api.post(&path, &current).await.refused(409).contains(&run));
        let restore = json!({ "restore": oldest.parse::<u64>().unwrap() });
        w.api.post(&path, &restore).await.refused(409);
        w.api.delete(&format!("{path}/lock")).await.refused(409);
        w.api.post(&format!("/runs/{run}/discard"), &json!({})).await.good();
        w.run_is(&next, "discarded").await;

        w.api.post(&path, &json!({ "no": "state" })).await.refused(422);
        let foreign = json!({ "version": 4, "serial": 1, "lineage": "foreign", "resources": [] });
        w.api.post(&path, &foreign).await.refused(409);
        w.api.post(&format!("{path}?force=true"), &foreign).await.good();
        assert_eq!(body(&w, "current").await, foreign);
        assert_eq!(w.api.delete(&format!("{path}/lock")).await.status, 204);
        let restored = w.api.post(&path, &restore).await.good();
        assert_eq!(restored["version"].as_u64().unwrap(), newest + 2);
        assert_eq!(body(&w, "current").await, old);
        // Every version stays.
        assert_eq!(body(&w, &newest.to_string()).await, current);

        // What comes next is planned against what was restored.
        let retry = w.api.post(&format!("/runs/{run}/retry"), &json!({})).await.good();
        assert!(!text(&retry, "/id").is_empty() || !retry.is_null());
        let planned = w.run_is(&next, "unconfirmed").await;
        let planned = w.api.get(&format!("/runs/{planned}")).await.good();
        let expected = (2 + usize::from(names(&old).is_empty())).to_string();
        assert_eq!(text(&planned, "/delta/add"), expected, "{planned:#}");
    }
}

const PASSPHRASE: &str = "correct-horse-battery";

on_each_tool! {
    /// In a variable of the stack: OpenTofu encrypts states and plans, and Terraform does not know
    /// it, which is said when the stack is saved.
    async fn an_encryption_in_the_environment_counts_for_opentofu_and_is_told_for_terraform(tool) {
        let w = world(tool, json!({})).await;
        let encryption = format!(
            "key_provider \"pbkdf2\" \"k\" {{\n  passphrase = \"{PASSPHRASE}\"\n}}\n\
             method \"aes_gcm\" \"m\" {{\n  keys = key_provider.pbkdf2.k\n}}\n\
             state {{\n  method   = method.aes_gcm.m\n  enforced = true\n}}\n\
             plan {{\n  method   = method.aes_gcm.m\n  enforced = true\n}}\n"
        );
        let variable =
            json!({ "name": "TF_ENCRYPTION", "value": encryption, "secret": true, "runs": "all" });
        let change = json!({ "variables": [variable] });
        let saved = w.api.put(&format!("/stacks/{SLUG}"), &change).await.good();
        let told = array(&saved, "/findings").iter().any(|finding| {
            text(finding, "/what").contains("Terraform does not know the variable TF_ENCRYPTION")
                && text(finding, "/level") == "warning"
        });
        assert_eq!(told, tool == Tool::Terraform, "{saved:#}");

        w.apply(&w.push("main", ONE)).await;
        let current = body(&w, "current").await;
        let form = text(&state(&w).await, "/current/form");
        match tool {
            Tool::Terraform => assert_eq!((names(&current), form.as_str()), (vec!["one".to_owned()], "plain")),
            Tool::OpenTofu => {
                assert!(current["encrypted_data"].is_string(), "{current:#}");
                assert_eq!((form.as_str(), &current["resources"]), ("encrypted", &Value::Null));
            }
        }
        // What was kept is read again, by a preview and by a deploy.
        let preview = w.push("topic", &format!("{ONE}{TWO}"));
        w.open("topic");
        let preview = w.run_is(&preview, "finished").await;
        let deploy = w.apply(&w.push("main", &format!("{ONE}{TWO}# More.\n"))).await;
        for run in [preview, deploy] {
            let shown = w.api.get(&format!("/runs/{run}")).await.good();
            assert_eq!(text(&shown, "/delta/add"), "1", "{shown:#}");
            assert!(!w.log(&run).await.contains(PASSPHRASE));
        }
    }
}

/// OpenTofu encrypts the state, in the code's own words, and stops to do so.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_opentofu_encrypts_is_kept_as_it_is() {
    if !gantry_terraform::has(Tool::OpenTofu) {
        return;
    }
    let w = World::new(Kind::Inside(Intervals::default()), &[("main.tf", "# Nothing yet.\n")]);
    let w = w.await;
    w.stack(json!({ "tool": "opentofu" })).await;
    w.webhook().await;
    let path = format!("/stacks/{SLUG}/state");
    let encryption = |now: &str, before: &str| {
        format!(
            "terraform {{\n  encryption {{\n    key_provider \"pbkdf2\" \"k\" {{\n      passphrase = \
             \"{PASSPHRASE}\"\n    }}\n    method \"aes_gcm\" \"m\" {{\n      keys = \
             key_provider.pbkdf2.k\n    }}\n    method \"unencrypted\" \"u\" {{}}\n    state {{\n      \
             method = method.{now}\n      fallback {{\n        method = method.{before}\n      \
             }}\n    }}\n  }}\n}}\n"
        )
    };
    let (hidden, clear) = ("aes_gcm.m", "unencrypted.u");

    w.apply(&w.push("main", ONE)).await;
    assert_eq!(state(&w).await["current"]["form"], "plain");
    w.apply(&w.push("main", &format!("{}{ONE}{TWO}", encryption(hidden, clear)))).await;
    let now = state(&w).await["current"].clone();
    assert_eq!((&now["form"], &now["resources"]), (&json!("encrypted"), &Value::Null));
    let encrypted = body(&w, "current").await;
    assert_eq!(encrypted["serial"], now["serial"]);
    assert!(encrypted["encrypted_data"].is_string() && encrypted["version"].is_null());

    // Where nothing can decrypt it, nobody is said to hold a lock.
    let other = encryption(hidden, clear).replace(PASSPHRASE, "incorrect-horse-battery");
    cannot_be_read(&w, &w.push("main", &format!("{other}{ONE}{TWO}"))).await;
    w.api.put(&format!("/stacks/{SLUG}"), &json!({ "tool": "terraform" })).await.good();
    cannot_be_read(&w, &w.push("main", &format!("{ONE}{TWO}"))).await;
    w.api.put(&format!("/stacks/{SLUG}"), &json!({ "tool": "opentofu" })).await.good();

    // Nobody can count what it holds: it counts as holding something.
    assert!(w.api.delete(&format!("/stacks/{SLUG}")).await.refused(409).contains("encrypted"));
    // A person gets it back as it is, by restoring and by importing.
    let restored = w.api.post(&path, &json!({ "restore": now["version"] })).await.good();
    assert_eq!(restored["form"], "encrypted");
    w.api.post(&format!("{path}?force=true"), &encrypted).await.good();
    assert_eq!(body(&w, "current").await, encrypted);

    w.apply(&w.push("main", &format!("{}{ONE}", encryption(clear, hidden)))).await;
    assert_eq!(names(&body(&w, "current").await), ["one"]);
    let current = state(&w).await["current"].clone();
    assert_eq!((&current["form"], &current["resources"]), (&json!("plain"), &json!(1)));
    assert_eq!(current["lineage"], now["lineage"]);
}

/// A tracked run, which takes the lock first, fails for the state that it cannot read, and for no
/// lock.
async fn cannot_be_read(w: &World, commit: &str) {
    let run = w.run_is(commit, "failed").await;
    let shown = w.api.get(&format!("/runs/{run}")).await.good().to_string();
    assert!(shown.contains("Error refreshing state"), "{shown}");
    for said in ["acquiring the state lock", "\"lock\"", "nlock"] {
        assert!(!shown.contains(said), "{said}: {shown}");
    }
}
