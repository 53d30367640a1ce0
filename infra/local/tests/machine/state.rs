//! The state that Gantry keeps for a stack.

use crate::support::{Kind, SLUG, STATUS, World, array, text};
use gantry_local::Intervals;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ONE: &str = "resource \"terraform_data\" \"one\" {\n  input = \"one\"\n}\n";
const TWO: &str = "resource \"terraform_data\" \"two\" {\n  input = \"two\"\n}\n";
/// The time at which it was planned is in the plan: only that plan's apply has it.
const PLANNED: &str = "resource \"terraform_data\" \"when\" {\n  input = plantimestamp()\n}\n";

async fn world(hooks: Value) -> World {
    let w = World::new(Kind::Inside(Intervals::default()), &[("main.tf", "# Nothing yet.\n")]);
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

/// What a hook has said after `word` in a log: in the plan's part and in the apply's.
fn said<'a>(log: &'a str, word: &str) -> Vec<&'a str> {
    log.lines().filter_map(|line| line.strip_prefix(word)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_is_of_the_shown_plan_and_builds_on_the_one_before() {
    let hook = "echo port=$TF_HTTP_ADDRESS; echo runner=$PPID";
    let w = world(json!({ "before_plan": [hook], "before_apply": [hook] })).await;

    let first = w.push("main", &format!("{ONE}{PLANNED}"));
    let run = w.run_is(&first, "unconfirmed").await;
    let shown = w.api.get(&format!("/runs/{run}/change")).await.good();
    // Waits in line: what is confirmed is the plan that was shown, not the newest commit.
    let second = w.push("main", &format!("{ONE}{PLANNED}{TWO}"));
    w.eventually("the run in line", async || w.runs_of(&second).await.pop()).await;
    assert_eq!(w.apply(&first).await, run);
    let one = state(&w).await;
    let applied = body(&w, "current").await;
    assert_eq!(names(&applied), ["one", "when"]);
    let when = array(&applied, "/resources").iter().find(|r| text(r, "/name") == "when");
    let when = text(when.unwrap(), "/instances/0/attributes/input/value");
    assert!(shown.to_string().contains(&when), "{when} was not shown: {shown:#}");

    let log = w.log(&run).await;
    for word in ["port=", "runner="] {
        let said = said(&log, word);
        assert_eq!(said.iter().collect::<BTreeSet<_>>().len(), 2, "{word}{said:?}\n{log}");
    }
    let expected: BTreeSet<_> = w.runners()[..2].iter().map(ToString::to_string).collect();
    let said: BTreeSet<_> = said(&log, "runner=").into_iter().map(str::to_owned).collect();
    assert_eq!(said, expected);

    w.apply(&second).await;
    assert!(w.succeeded(&second, STATUS).await.contains("1 added"));
    let two = state(&w).await;
    assert_eq!(names(&body(&w, "current").await), ["one", "two", "when"]);
    assert_eq!(text(&one, "/current/lineage"), text(&two, "/current/lineage"));
    let serial = |state: &Value| text(state, "/current/serial").parse::<u64>().unwrap();
    assert!(serial(&one) < serial(&two), "{two:#}");
    assert_eq!(text(&two, "/lock"), "");
}

/// Tries what Terraform may do in a tracked run, and what the runner may do.
const ATTACK: &str = r#"
import base64, json, os, urllib.error, urllib.request

password = os.environ["TF_HTTP_PASSWORD"]
basic = base64.b64encode(f"{os.environ['TF_HTTP_USERNAME']}:{password}".encode()).decode()

def ask(name, method, address, body, authorization):
    request = urllib.request.Request(address, data=body.encode(), method=method)
    request.add_header("Authorization", authorization)
    request.add_header("Content-Type", "application/json")
    try:
        print(name, urllib.request.urlopen(request).status)
    except urllib.error.HTTPError as refused:
        print(name, refused.code)

state = os.environ["TF_HTTP_ADDRESS"]
lock = os.environ["TF_HTTP_LOCK_ADDRESS"]
forged = '{"version": 4, "serial": 99, "lineage": "forged", "resources": []}'
info = '{"ID": "mine", "Operation": "attack", "Who": "me"}'
ask("write:", "POST", state, forged, "Basic " + basic)
ask("write with a lock:", "POST", state + "?ID=mine", forged, "Basic " + basic)
ask("lock:", "POST", lock, info, "Basic " + basic)
ask("unlock:", "DELETE", lock, info, "Basic " + basic)

# Whoever may read the runner's environment finds a token that was good once.
def parent(pid):
    return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])

pid = os.getpid()
while pid > 1:
    try:
        pairs = open(f"/proc/{pid}/environ").read().split("\0")
    except PermissionError:
        pairs = []
    seen = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if "GANTRY_CLAIM_TOKEN" in seen:
        api, token = seen["GANTRY_RUNNER_API"] + "/runner/v1/", "Bearer " + seen["GANTRY_CLAIM_TOKEN"]
        claim = '{"runner": "mine", "nonce": "0123456789abcdef0123456789abcdef"}'
        commit = '{"lock_id": null, "digest": "' + "0" * 64 + '", "rescued": false}'
        ask("claim:", "POST", api + "claim", claim, token)
        ask("commit:", "POST", api + "state", commit, token)
    pid = parent(pid)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_proposed_run_cannot_write_it() {
    let w = world(json!({ "before_plan": ["if [ -e attack.py ]; then python3 attack.py; fi"] }));
    let w = w.await;
    w.apply(&w.push("main", ONE)).await;
    let before = state(&w).await;

    let files = [("attack.py", Some(ATTACK)), ("main.tf", Some(TWO))];
    let commit = w.you.push_files(w.project, "topic", &files, "Attack").unwrap();
    let run = w.run_is(&commit, "finished").await;
    let log = w.log(&run).await;
    for line in ["write: 403", "write with a lock: 403", "lock: 403", "unlock: 403"] {
        assert!(log.lines().any(|said| said == line), "{line}\n{log}");
    }
    for (word, refusal) in [("claim: ", "410"), ("commit: ", "401")] {
        let said = said(&log, word);
        assert!(said.iter().all(|status| *status == refusal), "{word}{said:?}");
    }
    assert_eq!(state(&w).await, before);
    assert_eq!(names(&body(&w, "current").await), ["one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_reads_imports_restores_and_unlocks_it_while_no_run_needs_it() {
    let w = world(json!({})).await;
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
