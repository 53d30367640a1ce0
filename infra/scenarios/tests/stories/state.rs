//! The state that Gantry keeps for a stack, with the real runner on real Terraform.

use gantry_fake_gitlab::{ProjectOptions, Visibility};
use gantry_scenarios::{StackOptions, World, story_on_each_tool, with_files};
use reqwest::Method;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

const ONE: &str = "resource \"terraform_data\" \"one\" {\n  input = \"one\"\n}\n";
const TWO: &str = "resource \"terraform_data\" \"two\" {\n  input = \"two\"\n}\n";
/// The time at which it was planned is in the plan: only that plan's apply has it.
const PLANNED: &str = "resource \"terraform_data\" \"when\" {\n  input = plantimestamp()\n}\n";

/// Tries what Terraform may do in a tracked run, and what the runner may do.
const ATTACK: &str = r#"
ask() {
    name=$1 authorization=$2; shift 2
    status=$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: $authorization" \
        -H 'Content-Type: application/json' "$@")
    echo "$name $status"
}

basic="Basic $(printf %s "$TF_HTTP_USERNAME:$TF_HTTP_PASSWORD" | base64 -w 0)"
forged='{"version": 4, "serial": 99, "lineage": "forged", "resources": []}'
info='{"ID": "mine", "Operation": "attack", "Who": "me"}'
ask write: "$basic" -X POST -d "$forged" "$TF_HTTP_ADDRESS"
ask 'write with a lock:' "$basic" -X POST -d "$forged" "$TF_HTTP_ADDRESS?ID=mine"
ask lock: "$basic" -X POST -d "$info" "$TF_HTTP_LOCK_ADDRESS"
ask unlock: "$basic" -X DELETE -d "$info" "$TF_HTTP_LOCK_ADDRESS"

# Whoever may read the runner's environment finds a token that was good once.
pid=$$
while [ "${pid:-0}" -gt 1 ]; do
    environment=$(tr '\0' '\n' < "/proc/$pid/environ") 2> /dev/null
    token=$(printf %s "$environment" | sed -n 's/^GANTRY_CLAIM_TOKEN=//p')
    if [ -n "$token" ]; then
        api=$(printf %s "$environment" | sed -n 's/^GANTRY_RUNNER_API=//p')/runner/v1
        ask claim: "Bearer $token" "$api/claim" \
            -d '{"runner": "mine", "nonce": "0123456789abcdef0123456789abcdef"}'
        ask commit: "Bearer $token" "$api/state" \
            -d "{\"lock_id\": null, \"digest\": \"$(printf %064d 0)\", \"rescued\": false}"
    fi
    pid=$(sed 's/.*) [A-Z] \([0-9]*\) .*/\1/' "/proc/$pid/stat") 2> /dev/null
done
true
"#;

/// What a hook has said after `word` in a log: in the plan's part and in the apply's.
fn said<'a>(log: &'a str, word: &str) -> Vec<&'a str> {
    log.lines().filter_map(|line| line.strip_prefix(word)).collect()
}

async fn body_of(w: &mut World, path: &str) -> Value {
    let (status, answer) = w.api(Method::GET, path, None).await;
    assert!(status.is_success(), "{path}: {answer}\n{}", w.history());
    answer
}

/// The names of the resources in the current state.
async fn names(w: &mut World) -> Vec<String> {
    let state = body_of(w, "/stacks/network/state/current").await;
    let name = |resource: &Value| resource["name"].as_str().unwrap_or_default().to_owned();
    state["resources"].as_array().unwrap().iter().map(name).collect()
}

async fn log(w: &mut World, run: &str) -> String {
    let log = body_of(w, &format!("/runs/{run}/log")).await;
    assert_ne!(log["more"], json!(true), "the log is longer than one answer");
    let pieces = log["pieces"].as_array().unwrap();
    pieces.iter().map(|piece| piece["text"].as_str().unwrap_or_default()).collect()
}

story_on_each_tool!(
    an_apply_is_of_the_shown_plan_by_another_process_and_builds_on_the_one_before,
    |mut w| async move {
        let project = w.plain_project("acme/network");
        w.with_real_runners();
        // Each runner serves the state at a port of its own.
        let hook = "echo port=$TF_HTTP_ADDRESS";
        let hooks = json!({ "hooks": { "before_plan": [hook], "before_apply": [hook] } });
        w.stack(project, "network", "infra", StackOptions { fields: hooks }).await;

        let code = format!("{ONE}{PLANNED}");
        let first = w.push(project, "main", "infra/main.tf", &code).await;
        let run = w.run_in("network", "unconfirmed").await;
        let shown = body_of(&mut w, &format!("/runs/{run}/change")).await;
        // Plans of the same second have the same time.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        // Waits in line: what is confirmed is the plan that was shown, not the newest commit.
        let second = w.push(project, "main", "infra/main.tf", &format!("{code}{TWO}")).await;
        w.order(&format!("/runs/{run}/confirm"), json!({})).await;
        w.expect_status(project, &first, "gantry/network", "success: Applied: 2 added");
        let one = body_of(&mut w, "/stacks/network/state").await;
        let applied = body_of(&mut w, "/stacks/network/state/current").await;
        let resources = applied["resources"].as_array().unwrap();
        let when = resources.iter().find(|resource| resource["name"] == "when").unwrap();
        let when = when.pointer("/instances/0/attributes/input/value").unwrap().as_str().unwrap();
        assert!(shown.to_string().contains(when), "{when} was not shown: {shown:#}");

        let log = log(&mut w, &run).await;
        let ports: BTreeSet<_> = said(&log, "port=").into_iter().collect();
        assert_eq!(ports.len(), 2, "{ports:?}\n{log}");

        w.expect_status(project, &second, "gantry/network", "running: 1 to add");
        let run = w.run_in("network", "unconfirmed").await;
        w.order(&format!("/runs/{run}/confirm"), json!({})).await;
        w.expect_status(project, &second, "gantry/network", "success: Applied: 1 added");
        let two = body_of(&mut w, "/stacks/network/state").await;
        assert_eq!(names(&mut w).await, ["one", "two", "when"]);
        assert_eq!(one["current"]["lineage"], two["current"]["lineage"]);
        let serial = |state: &Value| state["current"]["serial"].as_u64().unwrap();
        assert!(serial(&one) < serial(&two), "{two:#}");
        assert_eq!(two["lock"], Value::Null);
        w
    }
);

story_on_each_tool!(a_proposed_run_cannot_write_it, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.with_real_runners();
    let attack = "if [ -e attack.sh ]; then sh attack.sh; fi";
    let fields = json!({ "hooks": { "before_plan": [attack] }, "autodeploy": true });
    w.stack(project, "network", "infra", StackOptions { fields }).await;
    let commit = w.push(project, "main", "infra/main.tf", ONE).await;
    w.expect_status(project, &commit, "gantry/network", "success: Applied: 1 added");
    let before = body_of(&mut w, "/stacks/network/state").await;

    w.dev.push(project, "topic", "infra/attack.sh", ATTACK).unwrap();
    let commit = w.dev.push(project, "topic", "infra/main.tf", TWO).unwrap();
    w.open(project, "topic").await;
    w.expect_status(project, &commit, "gantry/network", "success: 1 to add");
    let runs = w.runs("network").await;
    let run = runs.iter().find(|run| run["commit"] == commit.as_str()).unwrap();
    let log = log(&mut w, run["id"].as_str().unwrap()).await;
    for line in ["write: 403", "write with a lock: 403", "lock: 403", "unlock: 403"] {
        assert!(log.lines().any(|said| said == line), "{line}\n{log}");
    }
    for (word, refusal) in [("claim: ", "410"), ("commit: ", "401")] {
        let said = said(&log, word);
        assert!(said.iter().all(|status| *status == refusal), "{word}{said:?}");
    }
    assert_eq!(body_of(&mut w, "/stacks/network/state").await, before);
    assert_eq!(names(&mut w).await, ["one"]);
    w
});

story_on_each_tool!(
    code_that_is_not_at_gitlab_is_run_by_hand_and_nothing_is_written_there,
    |mut w| async move {
        let options =
            ProjectOptions { visibility: Visibility::Public, ..with_files(&["README.md"]) };
        let project = w.project("elsewhere/network", options);
        w.with_real_runners();
        let address = format!("{}/elsewhere/network.git", w.gitlab.base_url());
        let commit = w.dev.push(project, "main", "infra/main.tf", ONE).unwrap();
        let body = json!({
            "name": "network", "provider": "git", "project": address, "project_root": "infra", "tool": w.tool,
        });
        let (status, answer) = w.api(Method::POST, "/stacks", Some(body)).await;
        assert!(status.is_success(), "{answer}");
        w.catch_up().await;
        assert!(w.runs("network").await.is_empty(), "nobody tells of it");

        w.order("/stacks/network/runs", json!({})).await;
        assert_eq!(w.run_lines("network").await, [format!("tracked unconfirmed {}", &commit[..8])]);
        let run = w.run_in("network", "unconfirmed").await;
        w.order(&format!("/runs/{run}/confirm"), json!({})).await;
        assert_eq!(w.run_lines("network").await, [format!("tracked finished {}", &commit[..8])]);
        assert_eq!(names(&mut w).await, ["one"]);
        w.order(&format!("/runs/{run}/retry"), json!({})).await;
        assert!(w.status(project, &commit, "gantry/network").is_none());
        assert!(w.gitlab.environments(project).is_empty());
        w
    }
);
