//! Runs that nobody pushed: those that are planned in another way, and tasks.

use crate::{
    browser::{Browser, form_of},
    people::{member, offered, sign_in},
    support::{COMMIT, World, connected},
};
use bytes::Bytes;
use gantry_domain::{
    plan::{Action, Change, Delta, ResourceChange},
    run::{PlanMode, PlanOptions, Run, RunState, RunType, Unpushed},
    stack::{Blocked, LastApplied, Stack, StackHead, VariableValue},
};
use gantry_queue::{Command, Message, StackMessage};
use gantry_secrets::Sealer;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

const RUNS: &str = "/api/v1/stacks/network/runs";
const TASKS: &str = "/api/v1/stacks/network/tasks";

/// What was asked of the scheduler last.
pub(crate) fn asked(w: &World) -> Command {
    match w.sent().pop() {
        Some(Message::Stack(StackMessage::Command { command, .. })) => command,
        other => panic!("{other:?}"),
    }
}

/// How the run plans that was asked for last.
pub(crate) fn options(w: &World) -> PlanOptions {
    match asked(w) {
        Command::Trigger { options, .. } => options,
        other => panic!("{other:?}"),
    }
}

/// Asks with another key than the admin's.
pub(crate) async fn post_as(w: &World, key: &str, path: &str, body: Value) -> u16 {
    w.ask("POST", path, Some(key), &[], body.to_string()).await.status
}

/// Something of the stack was applied, and may have been destroyed since.
pub(crate) async fn applied(w: &World, stack: &Stack, more: impl FnOnce(StackHead) -> StackHead) {
    let last = LastApplied {
        run: "run-1".parse().unwrap(),
        commit: COMMIT.parse().unwrap(),
        at: w.clock.now(),
    };
    let head = StackHead { last_applied: Some(last), ..StackHead::default() };
    w.set_head(&stack.id, more(head)).await;
}

#[tokio::test]
async fn what_is_unusual_about_a_run_goes_with_it_and_secrets_are_sealed() {
    let w = connected().await;
    let stack = w.stack().await;
    w.sent();
    let body = json!({
        "type": "tracked", "commit": COMMIT, "mode": "normal",
        "targets": [" module.network "], "replace": ["aws_instance.web[0]"],
        "variables": [
            { "name": "TF_VAR_size", "value": "3" },
            { "name": "TF_VAR_token", "value": "hush-hush", "secret": true },
        ],
    });
    let got = w.post(RUNS, body).await.expect(202);
    assert!(!got.text.contains("hush-hush"), "{}", got.text);
    let command = asked(&w);
    let message = serde_json::to_string(&command).unwrap();
    assert!(!message.contains("hush-hush"), "{message}");
    let Command::Trigger { run_type: RunType::Tracked, commit: Some(commit), branch, options } =
        command
    else {
        panic!("{message}")
    };
    assert_eq!((commit.as_str(), branch), (COMMIT, None));
    assert_eq!(options.arguments(), ["-target=module.network", "-replace=aws_instance.web[0]"]);
    let [size, token] = &options.variables[..] else { panic!("{message}") };
    assert_eq!(
        (size.name.as_str(), &size.value),
        ("TF_VAR_size", &VariableValue::Plain("3".into()))
    );
    let VariableValue::Sealed(sealed) = &token.value else { panic!("{message}") };
    let opened = Sealer::new(&"sealing".into()).open(&stack.id, "TF_VAR_token", sealed).unwrap();
    assert_eq!(opened.expose_secret(), "hush-hush");
    let said = "requested. Targets: module.network; Replaces: aws_instance.web[0]; Variables of \
                this run: TF_VAR_size, TF_VAR_token (secret)";
    let outcomes = w.outcomes().await;
    assert!(outcomes.contains(&said.to_owned()), "{outcomes:?}");
}

#[tokio::test]
async fn what_is_wrong_with_it_is_said_by_its_place() {
    let w = connected().await;
    w.stack().await;
    w.sent();
    let got = w.post(RUNS, json!({ "mode": "half" })).await.expect(422);
    assert!(got.error("mode").contains("refresh_only"), "{}", got.text);
    let body = json!({
        "mode": "destroy", "confirm_slug": "network",
        "targets": ["module.a", "x"], "replace": ["a.b"],
        "variables": [
            { "name": "PATH", "value": "x" },
            { "name": "A", "value": "short", "secret": true },
            { "name": "A", "value": "b", "runs": "all" },
            { "name": "B" },
        ],
    });
    let got = w.post(RUNS, body).await.expect(422);
    assert!(!got.text.contains("\"short\""), "{}", got.text);
    for (field, problem) in [
        ("targets[1]", "Not an address: use one such as aws_instance.web[0] or module.network"),
        ("replace", "Only possible with the mode normal"),
        ("variables[0].name", "PATH is set by Gantry or would change what a run executes"),
        (
            "variables[1].value",
            "The value has fewer than 6 characters, so it is not hidden in logs, plans and \
             comments.",
        ),
        ("variables[2].name", "A is defined twice"),
        ("variables[2].runs", "Unknown field; allowed: name, value, secret"),
        ("variables[3].value", "Enter a value."),
    ] {
        assert_eq!(got.error(field), problem, "{field}");
    }
    assert_eq!(got.body["errors"].as_object().unwrap().len(), 7, "{}", got.text);
    let body = json!({ "variables": [{ "name": "TF_WORKSPACE", "value": "eu" }] });
    let got = w.post(RUNS, body).await.expect(422);
    assert!(got.error("variables[0].name").starts_with("TF_WORKSPACE requires"), "{}", got.text);
    assert!(w.sent().is_empty());
}

#[tokio::test]
async fn destroying_everything_asks_for_the_slug_and_for_more_than_a_deploy() {
    let w = connected().await;
    w.stack().await;
    let deployer = w.key("deploy").await;
    let destroy = json!({ "mode": "destroy", "confirm_slug": "network" });
    assert_eq!(post_as(&w, &deployer, RUNS, destroy.clone()).await, 403);
    for wrong in [json!({ "mode": "destroy" }), json!({ "mode": "destroy", "confirm_slug": "x" })] {
        let got = w.post(RUNS, wrong).await.expect(422);
        assert_eq!(got.error("confirm_slug"), "Type \"network\" to confirm.");
    }
    assert!(w.sent().iter().all(|sent| sent.kind() != "command"));
    w.post(RUNS, destroy).await.expect(202);
    assert_eq!(options(&w).mode, PlanMode::Destroy);
    let said = "requested. Plan: destroys everything that the stack holds";
    let outcomes = w.outcomes().await;
    assert!(outcomes.contains(&said.to_owned()), "{outcomes:?}");
    // A preview of it changes nothing, and neither do a deploy's targets need more than a deploy.
    let preview = json!({ "type": "proposed", "mode": "destroy" });
    assert_eq!(post_as(&w, &deployer, RUNS, preview).await, 202);
    assert_eq!(options(&w).mode, PlanMode::Destroy);
    let some = json!({ "targets": ["module.a"], "mode": "refresh_only" });
    assert_eq!(post_as(&w, &deployer, RUNS, some).await, 202);
    assert_eq!(options(&w).arguments(), ["-refresh-only", "-target=module.a"]);
}

#[tokio::test]
async fn a_task_is_one_command_of_whoever_may_edit() {
    let w = connected().await;
    let stack = w.stack().await;
    let deployer = w.key("deploy").await;
    let list = json!({ "command": "terraform state list" });
    assert_eq!(post_as(&w, &deployer, TASKS, list.clone()).await, 403);
    w.sent();
    for (body, problem) in [
        (json!({}), "Enter a command."),
        (json!({ "command": " \n" }), "Must not be empty"),
        (json!({ "command": "x".repeat(8_193) }), "Must be at most 8 kB; move it into a script"),
        (json!({ "command": "a\0b" }), "Must not contain a zero character"),
    ] {
        assert_eq!(w.post(TASKS, body).await.expect(422).error("command"), problem);
    }
    assert!(w.sent().is_empty());
    w.post(TASKS, list).await.expect(202);
    assert_eq!(asked(&w), Command::Task { command: "terraform state list".to_owned() });
    let said = "requested. Command: terraform state list";
    let outcomes = w.outcomes().await;
    assert!(outcomes.contains(&said.to_owned()), "{outcomes:?}");
    let blocked = Blocked {
        run: "r1".parse().unwrap(),
        reason: "result unknown".to_owned(),
        since: w.clock.now(),
    };
    let head = StackHead { blocked: Some(blocked), ..StackHead::default() };
    w.set_head(&stack.id, head).await;
    let got = w.post(TASKS, json!({ "command": "true" })).await.expect(409);
    assert!(got.detail().contains("blocked by run r1"), "{}", got.text);
}

#[tokio::test]
async fn a_module_has_none_of_it() {
    let w = connected().await;
    let module = json!({
        "project": w.project.0, "name": "net", "slug": "net", "terraform_provider": "aws",
    });
    let made = w.post("/api/v1/modules", module).await.expect(201).body;
    for field in ["drift", "schedules", "replan"] {
        assert_eq!(made.get(field), None, "{made}");
        let got = w.send("PUT", "/api/v1/modules/net", json!({ field: null })).await.expect(422);
        assert!(got.error(field).starts_with("Unknown field"), "{}", got.text);
    }
    w.sent();
    let got = w.post("/api/v1/stacks/net/runs", json!({ "targets": ["a.b"] })).await.expect(409);
    assert!(got.detail().contains("A module is tested"), "{}", got.text);
    w.post("/api/v1/stacks/net/drift", json!({})).await.expect(404);
    w.post("/api/v1/stacks/net/tasks", json!({ "command": "true" })).await.expect(404);
    assert!(w.sent().is_empty());
}

#[tokio::test]
async fn people_start_it_with_their_right_in_the_project() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    applied(&w, &stack, |head| head).await;
    let back = format!("type=tracked&commit={COMMIT}");
    let asks = [
        ("drift", ""),
        ("runs", "type=proposed&targets=module.a"),
        ("runs", back.as_str()),
        ("runs", "type=tracked&mode=refresh_only"),
        ("runs", "type=tracked&mode=destroy&confirm_slug=network"),
        ("tasks", "command=true"),
    ];
    for (name, level, allowed) in
        [("reporter", 20, 0), ("developer", 30, 2), ("maintainer", 40, 4), ("owner", 50, 6)]
    {
        let browser = sign_in(&w, &member(&w, name, level)).await;
        w.sent();
        for (place, (what, fields)) in asks.iter().enumerate() {
            let got = browser.send(&format!("/stacks/network/{what}"), fields).await;
            let expected = if place < allowed { 303 } else { 403 };
            assert_eq!(got.status, expected, "{name} {what} {fields}: {}", got.text);
        }
        let commands = w.sent().iter().filter(|sent| sent.kind() == "command").count();
        assert_eq!(commands, allowed, "{name}");
        let page = browser.get("/stacks/network").await.expect(200).text;
        assert_eq!(page.contains("Look now"), allowed >= 2, "{name}");
        assert_eq!(page.contains("Run a task"), allowed >= 6, "{name}");
        assert_eq!(page.contains("name=\"confirm_slug\""), allowed >= 6, "{name}");
    }
}

#[tokio::test]
async fn a_form_asks_for_a_run_as_the_api_does() {
    let w = connected().await;
    w.stack().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let fields = form_of(&[
        ("type", "tracked"),
        ("mode", ""),
        ("targets", "module.z\r\n\r\n module.y "),
        ("chosen", "aws_instance.web[\"a b\"]"),
        ("chosen", "module.a.x.y"),
        ("chosen_are", "targets"),
        ("replace", ""),
        ("variables[0].name", "TF_VAR_token"),
        ("variables[0].value", "hush-hush"),
        ("variables[0].secret", "on"),
        ("variables[1].name", ""),
        ("variables[1].value", ""),
    ]);
    browser.send("/stacks/network/runs", &fields).await.expect(303);
    let sent = options(&w);
    let targets: Vec<&str> = sent.targets.iter().map(|address| address.as_str()).collect();
    assert_eq!(targets, ["module.z", "module.y", "aws_instance.web[\"a b\"]", "module.a.x.y"]);
    assert!(sent.replace.is_empty() && sent.mode.is_normal());
    assert!(matches!(&sent.variables[..], [of] if matches!(of.value, VariableValue::Sealed(_))));
    let fields = "type=proposed&targets=&replace=a.b&chosen=c.d&chosen_are=replace";
    browser.send("/stacks/network/runs", fields).await.expect(303);
    assert_eq!(options(&w).arguments(), ["-replace=a.b", "-replace=c.d"]);
    let got = browser.send("/stacks/network/runs", "targets=x&confirm_slug=").await.expect(422);
    assert!(got.text.contains("Not an address"), "{}", got.text);
    let got = browser.send("/stacks/network/tasks", "command=").await.expect(422);
    assert!(got.text.contains("Enter a command."), "{}", got.text);
}

#[tokio::test]
async fn what_needs_more_than_a_retry_is_not_retried() {
    let w = connected().await;
    let stack = w.stack().await;
    let (look, task) =
        (Unpushed::Drift, Unpushed::Task { command: "true".to_owned(), schedule: None });
    let (destroy, refresh) = (PlanMode::Destroy, PlanMode::RefreshOnly);
    for (key, run_type, unpushed, mode, again) in [
        ("a", RunType::Proposed, Some(look), refresh, false),
        ("b", RunType::Tracked, Some(task), PlanMode::Normal, false),
        ("c", RunType::Tracked, None, destroy, false),
        ("d", RunType::Proposed, None, destroy, false),
        ("e", RunType::Tracked, None, refresh, true),
    ] {
        let options = PlanOptions { mode, ..PlanOptions::default() };
        let run = w.run(&stack, key, RunState::Failed).await;
        w.save_run(&Run { run_type, unpushed, options, ..run.clone() }).await;
        let seen = w.get(&format!("/api/v1/runs/{}", run.id)).await.expect(200).body;
        assert_eq!(seen["actions"] == json!(["retry"]), again, "{key}: {seen}");
        let got = w.post(&format!("/api/v1/runs/{}/retry", run.id), json!({})).await;
        assert_eq!(got.status, if again { 202 } else { 409 }, "{key}: {}", got.text);
        let page = Browser::sign_in(&w, &w.admin).await;
        let page = page.get(&format!("/runs/{}", run.id)).await.expect(200).text;
        assert_eq!(page.contains(">Plan again</button>"), again, "{key}: {page}");
    }
}

#[tokio::test]
async fn a_run_says_what_it_is_for_and_how_it_plans() {
    let w = connected().await;
    let stack = w.stack().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page_of = async |run: &Run| {
        w.save_run(run).await;
        browser.get(&format!("/runs/{}", run.id)).await.expect(200).text
    };
    let usual = w.run(&stack, "a", RunState::Unconfirmed).await;
    let options: PlanOptions = serde_json::from_value(json!({
        "mode": "destroy", "targets": ["module.<b>"],
        "variables": [
            { "name": "TF_VAR_size", "value": { "plain": "3" }, "runs": "all" },
            { "name": "TF_VAR_token", "value": { "sealed": "hush" }, "runs": "all" },
        ],
    }))
    .unwrap();
    let seen = w.get(&format!("/api/v1/runs/{}", usual.id)).await.expect(200).body;
    assert_eq!(seen["purpose"], Value::Null);
    let none = json!({ "mode": "normal", "targets": [], "replace": [], "variables": [] });
    assert_eq!(seen["options"], none);
    let some = Run { options, tolerated: 2, ..usual.clone() };
    let page = page_of(&some).await;
    for part in [
        "Once it is confirmed, this run destroys its targets.",
        "<dt>Targets</dt><dd>module.&#60;b&#62;</dd>",
        "<dt>Variables of this run</dt><dd>TF_VAR_size, TF_VAR_token (secret)</dd>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let got = w.get(&format!("/api/v1/runs/{}", some.id)).await.expect(200);
    let seen = json!({
        "mode": "destroy", "targets": ["module.<b>"], "replace": [],
        "variables": [
            { "name": "TF_VAR_size", "value": "3", "secret": false },
            { "name": "TF_VAR_token", "secret": true },
        ],
    });
    assert_eq!((&got.body["options"], &got.body["tolerated"]), (&seen, &json!(2)));
    assert!(!got.text.contains("hush") && !page.contains("hush"));

    let options = PlanOptions { mode: PlanMode::Destroy, ..PlanOptions::default() };
    let all = Run { options, ..usual.clone() };
    let said = "Once it is confirmed, this run destroys everything that the stack holds.";
    assert!(page_of(&all).await.contains(said));
    let done = Run { state: RunState::Finished, applied: true, ..all.clone() };
    let said = "This run destroyed everything that the stack holds.";
    assert!(page_of(&done).await.contains(said));
    let preview = Run { run_type: RunType::Proposed, state: RunState::Finished, ..all };
    assert!(page_of(&preview).await.contains("It is never applied."));

    let task = Unpushed::Task {
        command: "echo <b>\nsecond".to_owned(),
        schedule: Some("nightly".to_owned()),
    };
    let task = Run { unpushed: Some(task), state: RunState::Finished, ..usual.clone() };
    let page = page_of(&task).await;
    for part in ["Task of the schedule nightly", "<pre>echo &#60;b&#62;\nsecond</pre>", "Done"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let seen = w.get(&format!("/api/v1/runs/{}", task.id)).await.expect(200).body;
    let purpose = json!({ "kind": "task", "command": "echo <b>\nsecond", "schedule": "nightly" });
    assert_eq!(seen["purpose"], purpose);
    let list = w.get("/api/v1/runs?purpose=task").await.expect(200).body;
    assert_eq!(list["runs"][0]["purpose"], purpose);

    let look = Run {
        unpushed: Some(Unpushed::Drift),
        run_type: RunType::Proposed,
        state: RunState::Finished,
        delta: Some(Delta::default()),
        ..usual
    };
    let page = page_of(&look).await;
    assert!(page.contains("Looks for drift") && page.contains("No drift"), "{page}");
    let found = Run { delta: Some(Delta { change: 1, ..Delta::default() }), ..look };
    assert!(page_of(&found).await.contains("Drifted"));
}

#[tokio::test]
async fn resources_of_a_run_can_be_chosen_and_planned_again() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let resource = |address: &str| ResourceChange {
        address: address.to_owned(),
        deposed: None,
        previous_address: None,
        resource_type: "x".to_owned(),
        provider: "y".to_owned(),
        action: Action::Create,
        import_id: None,
        reason: None,
        attributes: Vec::new(),
        attributes_cut: 0,
    };
    let change = Change {
        v: 1,
        delta: Delta { add: 2, ..Delta::default() },
        resources: vec![resource("module.a.x.y[\"<\"]"), resource("b.c")],
        ..Change::default()
    };
    let body = Bytes::from(serde_json::to_vec(&change).unwrap());
    w.objects.put(&gantry_objects::keys::change(&run.id, 2), body).await.unwrap();
    let path = format!("/runs/{}", run.id);
    let admin = Browser::sign_in(&w, &w.admin).await;
    let reader = Browser::sign_in(&w, &w.key("read").await).await;
    let page = admin.get(&path).await.expect(200).text;
    for part in [
        "Plan again with targets",
        "name=\"chosen\" value=\"module.a.x.y[&#34;&#60;&#34;]\"",
        "name=\"chosen\" value=\"b.c\"",
        &format!("name=\"commit\" value=\"{COMMIT}\""),
        "<option value=\"tracked\">",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let page = reader.get(&path).await.expect(200).text;
    assert!(!page.contains("Plan again with targets"), "{page}");
    // The commit of a merge request is previewed again, and not deployed.
    run.run_type = RunType::Proposed;
    run.state = RunState::Finished;
    w.save_run(&run).await;
    let page = admin.get(&path).await.expect(200).text;
    assert!(page.contains("Plan again with targets"), "{page}");
    assert!(!page.contains("<option value=\"tracked\">"), "{page}");
    run.state = RunState::Planning;
    w.save_run(&run).await;
    let page = admin.get(&path).await.expect(200).text;
    assert!(!page.contains("Plan again with targets"), "it is being planned: {page}");
}
