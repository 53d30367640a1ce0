//! Who gets a phase, and with it which secrets.

use crate::support::{SEALING_KEY, World, stack, stack_id};
use axum::http::Method;
use gantry_domain::{
    ProjectId, Repository,
    protocol::{ClaimAnswer, ReportKind},
    run::{Phase, PlanMode, PlanOptions, Run, RunState, RunType, TestOf, Unpushed},
    stack::{Stack, Variable, VariableRuns, VariableValue},
};
use gantry_queue::{Message, QueueName, StackMessage};
use gantry_secrets::{Sealer, TokenKind};
use gantry_store::{keys, runner::Claim};
use jiff::SignedDuration;
use std::time::Duration;

fn plain(name: &str, runs: VariableRuns) -> Variable {
    Variable { name: name.to_owned(), value: VariableValue::Plain("shown".to_owned()), runs }
}

fn secret(name: &str, runs: VariableRuns) -> Variable {
    let sealed = Sealer::new(&SEALING_KEY.into()).seal(&stack_id(), name, "hush").unwrap();
    Variable { name: name.to_owned(), value: VariableValue::Sealed(sealed), runs }
}

fn names(answer: &ClaimAnswer) -> Vec<String> {
    answer.variables.iter().map(|v| format!("{}={}", v.name, v.value)).collect()
}

fn reports(world: &World) -> Vec<(u32, ReportKind)> {
    let reports = world.messages(QueueName::Events).into_iter().map(|message| match message {
        Message::Stack(StackMessage::Report { report, .. }) => (report.sequence, report.what),
        other => panic!("{other:?}"),
    });
    reports.collect()
}

#[tokio::test]
async fn a_phase_is_taken_once() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let first: ClaimAnswer = world.claim(&run, "a").await.expect(200).json();
    assert_eq!((first.phase, first.project_root.as_str()), (Phase::Plan, "infra"));
    assert_eq!((first.timeout, first.apply_timeout), (3600, 7200));
    let claimed = ReportKind::Claimed { runner: "local-1".to_owned(), tells_again: false };
    assert_eq!(reports(&world), [(0, claimed)]);

    world.hand.advance(Duration::from_secs(30));
    world.edit(&run.id, |run| run.state = RunState::Initializing).await;
    let again: ClaimAnswer = world.claim(&run, "a").await.expect(200).json();
    assert_eq!(again.run_token, first.run_token, "its answer was lost");
    assert_eq!(reports(&world).len(), 1, "the queue knows it");

    let other = world.claim(&run, "b").await.expect(410);
    assert_eq!(other.text(), "another runner has claimed this phase");
    world.claim(&run, "").await.expect(410);
}

/// Whether it may is asked when it is handed out, and may be long ago.
#[tokio::test]
async fn a_deploy_that_is_taken_late_does_not_go_on_to_its_apply() {
    let world = World::new().await;
    for (id, minutes, goes_on) in [("r1", 10, true), ("r2", 11, false)] {
        let run = world.run(id, RunType::Tracked).await;
        let handed_out = world.clock.now() - SignedDuration::from_mins(minutes);
        let at_once = |run: &mut Run| {
            run.autodeploy = true;
            run.handed_out_at = Some(handed_out);
        };
        let run = world.edit(&run.id, at_once).await;
        let claimed: ClaimAnswer = world.claim(&run, "a").await.expect(200).json();
        // Also where it asks again.
        let again: ClaimAnswer = world.claim(&run, "a").await.expect(200).json();
        assert_eq!((claimed.autodeploy, again.autodeploy), (goes_on, goes_on), "{id}");
        // The scheduler reads what the runner was told.
        let claim = world.store.get::<Claim>(&keys::claim(&run.id, run.attempt)).await.unwrap();
        assert_eq!(claim.unwrap().value.held, !goes_on, "{id}");
    }
}

/// For another one the tools refuse the whole CLI configuration.
#[tokio::test]
async fn only_a_host_that_the_tools_take_is_named_as_registry() {
    for (url, host) in [
        ("https://gantry.example.com", Some("gantry.example.com")),
        ("http://127.0.0.1:8283", Some("127.0.0.1:8283")),
        ("http://[::1]:8283", None),
        ("https://my_gantry.example.com", None),
        ("http://localhost:8283", None),
    ] {
        let world = World::at(url).await;
        let run = world.run("r1", RunType::Tracked).await;
        let claimed: ClaimAnswer = world.claim(&run, "a").await.expect(200).json();
        assert_eq!(claimed.registry.map(|registry| registry.host).as_deref(), host, "{url}");
    }
}

/// A module's paths count from the module, and a test has a folder of its own.
#[tokio::test]
async fn variable_files_are_named_from_where_the_run_is() {
    let world = World::new().await;
    let mut stack = stack();
    stack.settings.var_files = vec!["eu.tfvars".to_owned(), "../all.tfvars".to_owned()];
    world.put(keys::stack_config(&stack.id), &stack).await;
    let run = world.run("r1", RunType::Tracked).await;
    let claimed: ClaimAnswer = world.claim(&run, "a").await.expect(200).json();
    assert_eq!(claimed.var_files, ["eu.tfvars", "../all.tfvars"]);
    let run = world.run("r2", RunType::Test).await;
    let case = serde_json::from_value(serde_json::json!({
        "name": "basic", "project_root": "examples/basic", "negative": false, "tool": null,
        "tool_version": null, "variables": {}, "depends_on": [],
    }));
    let suite = "suite".parse().unwrap();
    let test = TestOf { suite, case: case.unwrap(), tracked: true };
    let run = world.edit(&run.id, |run| run.test = Some(test)).await;
    let claimed: ClaimAnswer = world.claim(&run, "a").await.expect(200).json();
    assert_eq!(claimed.project_root, "infra/examples/basic");
    assert_eq!(claimed.var_files, ["../../eu.tfvars", "../../../all.tfvars"]);
}

/// What it would get are the stack's present variables and hooks.
#[tokio::test]
async fn a_run_of_a_stack_that_is_gone_or_elsewhere_is_not_claimed() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Proposed).await;
    let gone = Stack { deleted_at: Some(world.clock.now()), ..stack() };
    let elsewhere = Stack { repository: Repository::Gitlab(ProjectId(8)), ..stack() };
    let of_another_server = Stack { generation: 2, ..stack() };
    for (now_is, why) in [
        (gone, "The stack was deleted"),
        (elsewhere, "The stack was moved to another project or branch"),
        (of_another_server, "The stack was detached from its GitLab server"),
    ] {
        world.put(keys::stack_config(&stack_id()), &now_is).await;
        let refused = world.claim(&run, "a").await.expect(410);
        assert_eq!(refused.text(), why);
    }
    // The scheduler ends it.
    let due = world.messages(QueueName::Events);
    assert!(
        matches!(&due[..], [Message::Stack(StackMessage::RunDue { .. })]),
        "one nudge is enough: {due:?}"
    );
    world.put(keys::stack_config(&stack_id()), &stack()).await;
    world.claim(&run, "a").await.expect(200);
}

#[tokio::test]
async fn of_many_runners_one_gets_the_phase() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Proposed).await;
    let (world, run) = (&world, &run);
    let claims = (0..8).map(|i| async move { world.claim(run, &i.to_string()).await.status });
    let answers = futures::future::join_all(claims).await;
    assert_eq!(answers.iter().filter(|status| status.as_u16() == 200).count(), 1);
    assert_eq!(answers.iter().filter(|status| status.as_u16() == 410).count(), 7);
}

#[tokio::test]
async fn only_good_tokens_take_anything() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let claim = serde_json::json!({"runner": "x"});
    for token in ["", "x", "x.y", &world.token(&run, TokenKind::Run)] {
        world.json(Method::POST, "claim", token, &claim).await.expect(401);
    }
    let token = world.claim_token(&run);
    world.get("source", &token).await.expect(401);
    world.hand.advance(Duration::from_secs(600));
    world.json(Method::POST, "claim", &token, &claim).await.expect(401);
}

#[tokio::test]
async fn a_phase_that_is_not_wanted_is_gone() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    for state in [RunState::Queued, RunState::Canceled, RunState::Unconfirmed] {
        world.edit(&run.id, |run| run.state = state).await;
        world.claim(&run, "a").await.expect(410);
    }
    world.edit(&run.id, |run| (run.state, run.attempt) = (RunState::Preparing, 2)).await;
    world.claim(&run, "a").await.expect(410);
    let now = world.edit(&run.id, |_| ()).await;
    world.claim(&now, "a").await.expect(200);
}

#[tokio::test]
async fn a_superseded_attempt_is_told_to_stop() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let token = world.claimed(&run).await;
    world.json(Method::POST, "beat", &token, &()).await.expect(200);
    world.edit(&run.id, |run| run.attempt = 2).await;
    for path in ["beat", "log", "report", "upload", "state"] {
        world.send(Method::POST, path, &token, vec![]).await.expect(410);
    }
    world.get("source", &token).await.expect(410);
    world.edit(&run.id, |run| (run.attempt, run.state) = (1, RunState::Finished)).await;
    world.json(Method::POST, "beat", &token, &()).await.expect(410);
}

#[tokio::test]
async fn a_confirmed_run_is_claimed_for_its_apply() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let plan_token = world.claimed(&run).await;
    let run = world
        .edit(&run.id, |run| {
            (run.state, run.phase, run.attempt) = (RunState::Confirmed, Phase::Apply, 2);
            run.plan_digest = Some("d".repeat(64));
        })
        .await;
    world.json(Method::POST, "beat", &plan_token, &()).await.expect(410);
    let answer: ClaimAnswer = world.claim(&run, "a").await.expect(200).json();
    assert_eq!((answer.phase, answer.timeout), (Phase::Apply, 7200));
    assert_eq!(answer.plan_digest, Some("d".repeat(64)));
}

#[tokio::test]
async fn runs_get_the_variables_that_are_for_them() {
    let world = World::new().await;
    world
        .set_variables(vec![
            plain("ALL", VariableRuns::All),
            secret("SECRET", VariableRuns::All),
            plain("TRACKED", VariableRuns::Tracked),
            secret("DEPLOY", VariableRuns::Tracked),
        ])
        .await;
    let tracked = world.run("r1", RunType::Tracked).await;
    let answer: ClaimAnswer = world.claim(&tracked, "a").await.expect(200).json();
    assert_eq!(names(&answer), ["ALL=shown", "SECRET=hush", "TRACKED=shown", "DEPLOY=hush"]);
    assert!(answer.variables.iter().all(|v| v.secret == (v.value == "hush")));

    for (id, run_type) in [("r2", RunType::Proposed), ("r3", RunType::Test)] {
        let run = world.run(id, run_type).await;
        let answer: ClaimAnswer = world.claim(&run, "a").await.expect(200).json();
        assert_eq!(names(&answer), ["ALL=shown", "SECRET=hush"]);
    }

    // What was deployed with them is looked at with them.
    let look = world.run("r5", RunType::Proposed).await;
    let look = world.edit(&look.id, |run| run.unpushed = Some(Unpushed::Drift)).await;
    let answer: ClaimAnswer = world.claim(&look, "a").await.expect(200).json();
    assert_eq!(names(&answer), ["ALL=shown", "SECRET=hush", "TRACKED=shown", "DEPLOY=hush"]);

    let fork = world.run("r4", RunType::Proposed).await;
    let fork = world.edit(&fork.id, |run| run.fork_of = Some(ProjectId(8))).await;
    let answer: ClaimAnswer = world.claim(&fork, "a").await.expect(200).json();
    assert_eq!(names(&answer), ["ALL=shown"]);
}

#[tokio::test]
async fn a_run_gets_its_own_variables_in_place_of_the_stacks() {
    let world = World::new().await;
    let all = VariableRuns::All;
    world.set_variables(vec![plain("A", all), secret("B", all)]).await;
    let value = |text: &str| VariableValue::Plain(text.to_owned());
    let own = vec![
        Variable { value: value("own"), ..plain("B", all) },
        secret("HUSH", all),
        Variable { value: value("last"), ..plain("A", all) },
    ];
    let options = PlanOptions { variables: own, ..PlanOptions::default() };
    let run = world.run("r1", RunType::Tracked).await;
    let run = world.edit(&run.id, |run| run.options = options.clone()).await;
    let answer: ClaimAnswer = world.claim(&run, "a").await.expect(200).json();
    assert_eq!(names(&answer), ["B=own", "HUSH=hush", "A=last"]);
    let secrets: Vec<bool> = answer.variables.iter().map(|variable| variable.secret).collect();
    assert_eq!(secrets, [false, true, false]);
    assert!(answer.options.variables.is_empty(), "they are not told twice");

    let fork = world.run("r2", RunType::Proposed).await;
    let fork = world
        .edit(&fork.id, |run| (run.options, run.fork_of) = (options, Some(ProjectId(8))))
        .await;
    let answer: ClaimAnswer = world.claim(&fork, "a").await.expect(200).json();
    assert_eq!(names(&answer), ["B=own", "A=last"]);
}

#[tokio::test]
async fn a_runner_is_told_how_to_plan_what_may_differ_and_what_to_execute() {
    let world = World::new().await;
    let mut stack = stack();
    let tolerate = serde_json::json!([{ "address": "module.asg.*", "attributes": ["tags.*"] }]);
    stack.settings.drift.tolerate = serde_json::from_value(tolerate).unwrap();
    world.put(keys::stack_config(&stack.id), &stack).await;
    let options: PlanOptions = serde_json::from_value(serde_json::json!({
        "mode": "refresh_only", "targets": ["module.net"], "replace": ["a.b"],
    }))
    .unwrap();
    let run = world.run("r1", RunType::Proposed).await;
    let edit = |run: &mut Run| (run.options, run.unpushed) = (options, Some(Unpushed::Drift));
    let run = world.edit(&run.id, edit).await;
    let answer: ClaimAnswer = world.claim(&run, "a").await.expect(200).json();
    assert_eq!(answer.options, run.options);
    assert_eq!(answer.tolerate, Some(stack.settings.drift.tolerate));
    assert_eq!((answer.task, answer.autodeploy), (None, false));

    let run = world.run("r2", RunType::Tracked).await;
    let command = "terraform state list".to_owned();
    let task = Unpushed::Task { command: command.clone(), schedule: None };
    let run = world.edit(&run.id, |run| run.unpushed = Some(task)).await;
    let answer: ClaimAnswer = world.claim(&run, "a").await.expect(200).json();
    assert_eq!((answer.task, answer.autodeploy), (Some(command), true));
    assert!(answer.options.is_usual() && answer.tolerate.is_none());

    // What is usual is told as it was to earlier runners.
    let run = world.run("r3", RunType::Tracked).await;
    let answer: serde_json::Value = world.claim(&run, "a").await.expect(200).json();
    for field in ["options", "tolerate", "task"] {
        assert!(answer.get(field).is_none(), "{answer}");
    }
}

/// It would plan, and apply, the branch as it is.
#[tokio::test]
async fn an_earlier_runner_gets_nothing_that_it_would_do_otherwise() {
    let world = World::new().await;
    let destroy = PlanOptions { mode: PlanMode::Destroy, ..PlanOptions::default() };
    let task = Unpushed::Task { command: "true".to_owned(), schedule: None };
    let unusual = [
        (destroy, None),
        (PlanOptions::default(), Some(task)),
        (PlanOptions::default(), Some(Unpushed::Drift)),
    ];
    let claim = serde_json::json!({ "runner": "old", "nonce": "n" });
    for (number, (options, unpushed)) in unusual.into_iter().enumerate() {
        let run = world.run(&format!("r{number}"), RunType::Tracked).await;
        let edit = |run: &mut Run| (run.options, run.unpushed) = (options, unpushed);
        let run = world.edit(&run.id, edit).await;
        let token = world.claim_token(&run);
        let answer = world.json(Method::POST, "claim", &token, &claim).await.expect(422);
        assert!(answer.text().contains("too old"), "{}", answer.text());
        let Some((1, ReportKind::Failed { summary, .. })) = reports(&world).pop() else {
            panic!("{:?}", reports(&world))
        };
        assert_eq!(summary, answer.text());
    }
    let run = world.run("usual", RunType::Tracked).await;
    let scheduled = Some(Unpushed::Schedule { name: "nightly".to_owned() });
    let run = world.edit(&run.id, |run| run.unpushed = scheduled).await;
    let token = world.claim_token(&run);
    world.json(Method::POST, "claim", &token, &claim).await.expect(200);
}

#[tokio::test]
async fn a_secret_that_does_not_open_fails_the_run() {
    let world = World::new().await;
    let moved = Variable { name: "MOVED".to_owned(), ..secret("SECRET", VariableRuns::All) };
    world.set_variables(vec![moved]).await;
    let run = world.run("r1", RunType::Tracked).await;
    let answer = world.claim(&run, "a").await.expect(422);
    assert!(answer.text().contains("MOVED"));
    let reports = reports(&world);
    assert!(
        matches!(&reports[1], (1, ReportKind::Failed { summary, .. }) if summary == &answer.text())
    );
}

#[tokio::test]
async fn runners_of_another_version_are_told() {
    let world = World::new().await;
    let run = world.run("r1", RunType::Tracked).await;
    let token = world.claimed(&run).await;
    let answer = world.send_version(&token, "99").await.expect(400);
    assert!(answer.text().contains("speaks version 1"));
    world.send_version(&token, "1").await.expect(200);
}
