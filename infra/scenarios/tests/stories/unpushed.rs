//! Work that nobody pushed: drift and its issue, schedules, tasks, destroys, and plans that an apply
//! made old.

use gantry_domain::{schedule::Schedule, timer::StackTimer};
use gantry_fake_gitlab::ProjectId;
use gantry_scenarios::{Mode, Planned, StackOptions, World, run_test_in, story};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn options(fields: Value) -> StackOptions {
    StackOptions { fields }
}

/// Looked at once each night, with an issue.
fn nightly() -> Value {
    json!({
        "schedule": { "own": { "cron": "0 3 * * *", "time_zone": "UTC" } },
        "issue": true,
        "labels": ["drift"],
    })
}

/// A stack that was deployed.
async fn deployed(w: &mut World, fields: Value) -> ProjectId {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", options(fields)).await;
    w.push(project, "main", "infra/main.tf", "# one").await;
    apply(w).await;
    project
}

/// The deploy that waits is applied.
async fn apply(w: &mut World) {
    let run = w.run_in("network", "unconfirmed").await;
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
}

/// How the previews of the stack ended, the newest first: looks for drift are among them.
async fn previews(w: &mut World) -> Vec<String> {
    let lines = w.run_lines("network").await;
    let previews = lines.iter().filter_map(|line| line.strip_prefix("proposed "));
    previews.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// Why the last time of a schedule, or of the look for drift, began nothing.
fn skipped(timer: &Option<StackTimer>, schedule: Option<&str>) -> Option<String> {
    let timer = timer.as_ref().unwrap();
    let timed = match schedule {
        Some(name) => timer.schedules.get(name),
        None => timer.drift.as_ref(),
    };
    timed.unwrap().skipped.as_ref().map(|skipped| skipped.why.clone())
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

story!(drift_comes_stays_changes_and_goes_and_one_issue_tells_it, |mut w| async move {
    let project = deployed(&mut w, json!({ "drift": nightly() })).await;
    let commit = w.gitlab.head(project, "main").unwrap();
    w.pass(DAY).await;
    assert_eq!(previews(&mut w).await, ["finished"]);
    assert!(w.issues(project).await.is_empty(), "nothing differs");
    assert_eq!(w.drifted().await, 0);

    w.drifts("network", Planned::Adds(1));
    w.pass(DAY).await;
    let first = w.open_issue(project).await;
    assert_eq!(text(&first, "title"), "Drift in network");
    assert_eq!(first["labels"], json!(["drift"]));
    let said = text(&first, "description");
    assert!(said.contains("**1 difference**") && said.contains("terraform_data.made[0]"), "{said}");
    assert_eq!(w.drifted().await, 1);

    w.pass(DAY).await;
    let same = w.open_issue(project).await;
    assert_eq!(same["description"], first["description"], "nothing new is found");

    w.drifts("network", Planned::Adds(2));
    w.pass(DAY).await;
    let more = w.open_issue(project).await;
    assert!(text(&more, "description").contains("**2 differences**"), "{more}");
    assert_eq!(more["iid"], first["iid"]);

    w.drifts("network", Planned::Clean);
    w.pass(DAY).await;
    assert_eq!(w.issues(project).await[0]["state"], "closed");
    assert_eq!(w.drifted().await, 0);

    // It is back, and the same issue says so, until somebody brings the code back.
    w.drifts("network", Planned::Adds(2));
    w.pass(DAY).await;
    assert_eq!(w.open_issue(project).await["iid"], first["iid"]);
    w.order("/stacks/network/runs", json!({})).await;
    apply(&mut w).await;
    assert_eq!(w.issues(project).await[0]["state"], "closed");
    assert_eq!(w.head("network").await.drift.unwrap().found, 0);

    // The commit shows nothing of it.
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    assert_eq!(previews(&mut w).await, vec!["finished"; 6]);
    w
});

story!(
    an_issue_that_people_closed_or_deleted_is_theirs_until_something_else_differs,
    |mut w| async move {
        let project = deployed(&mut w, json!({ "drift": nightly() })).await;
        w.drifts("network", Planned::Adds(1));
        w.pass(DAY).await;
        let first = w.open_issue(project).await;
        w.close_issue(project, &first).await;
        w.pass(DAY).await;
        assert_eq!(w.issues(project).await[0]["state"], "closed", "it is known");

        w.drifts("network", Planned::Adds(2));
        w.pass(DAY).await;
        let again = w.open_issue(project).await;
        assert_eq!(again["iid"], first["iid"]);
        w.delete_issue(project, &again).await;
        w.pass(DAY).await;
        assert!(w.issues(project).await.is_empty(), "nobody wants it");

        w.drifts("network", Planned::Adds(3));
        w.pass(DAY).await;
        let other = w.open_issue(project).await;
        assert!(text(&other, "description").contains("**3 differences**"), "{other}");
        // What was closed by hand stays closed when nothing differs any more.
        w.close_issue(project, &other).await;
        w.drifts("network", Planned::Clean);
        w.pass(DAY).await;
        w.drifts("network", Planned::Adds(3));
        w.pass(DAY).await;
        assert_eq!(w.open_issue(project).await["iid"], other["iid"], "it came back");
        w
    }
);

story!(an_issue_that_somebody_moved_goes_on_without_gantry, |mut w| async move {
    let project = deployed(&mut w, json!({ "drift": nightly() })).await;
    let other = w.plain_project("acme/elsewhere");
    w.drifts("network", Planned::Adds(1));
    w.pass(DAY).await;
    let first = w.open_issue(project).await;
    w.move_issue(project, &first, other).await;
    w.pass(DAY).await;
    assert_eq!(w.issues(project).await.len(), 1, "no other is opened for the same");
    let moved = w.open_issue(other).await;
    w.drifts("network", Planned::Adds(2));
    w.pass(DAY).await;
    assert_ne!(w.open_issue(project).await["iid"], first["iid"]);
    assert_eq!(w.open_issue(other).await["description"], moved["description"]);
    w
});

story!(a_look_that_fails_says_so_and_closes_nothing, |mut w| async move {
    let project = deployed(&mut w, json!({ "drift": nightly() })).await;
    w.drifts("network", Planned::Fails("no credentials".to_owned()));
    w.pass(DAY).await;
    assert!(w.issues(project).await.is_empty(), "nothing is known to differ");
    w.drifts("network", Planned::Adds(1));
    w.pass(DAY).await;
    let found = w.open_issue(project).await;
    w.drifts("network", Planned::Fails("no credentials".to_owned()));
    w.pass(DAY).await;
    let failed = w.open_issue(project).await;
    let said = text(&failed, "description");
    assert!(said.contains("The last look failed") && said.contains("**1 difference**"), "{said}");
    let head = w.head("network").await;
    assert!(head.drift.is_some_and(|drift| drift.failed.is_some() && drift.found == 1));
    w.drifts("network", Planned::Adds(1));
    w.pass(DAY).await;
    let again = w.open_issue(project).await;
    assert!(!text(&again, "description").contains("The last look failed"), "{again}");
    assert_eq!(again["iid"], found["iid"]);
    w
});

story!(
    nothing_is_looked_at_where_there_is_nothing_to_compare_and_the_timer_says_why,
    |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", options(json!({ "drift": nightly() }))).await;
        w.pass(DAY).await;
        assert!(w.runs("network").await.is_empty());
        let why = skipped(&w.timer("network").await, None).unwrap();
        assert!(why.starts_with("Nothing was applied yet"), "{why}");
        let (done, said) = w.command("/stacks/network/drift", json!({})).await;
        assert!(!done && said.contains("Nothing was applied yet"), "{said}");

        // While a deploy waits for somebody it changes nothing; while it is applied, it does.
        w.push(project, "main", "infra/main.tf", "# one").await;
        apply(&mut w).await;
        w.push(project, "main", "infra/main.tf", "# two").await;
        w.order("/stacks/network/drift", json!({})).await;
        assert_eq!(previews(&mut w).await, ["finished"]);
        w.hold("network");
        apply(&mut w).await;
        let (done, said) = w.command("/stacks/network/drift", json!({})).await;
        assert!(!done && said.contains("has not ended"), "{said}");
        w.release("network");
        w.settle().await;
        w.pass(DAY).await;
        assert_eq!(skipped(&w.timer("network").await, None), None);

        // Deleted, it has no times any more.
        let (status, said) = w.api(Method::DELETE, "/stacks/network", Some(json!({}))).await;
        assert!(status.is_success(), "{said}");
        w.settle().await;
        assert_eq!(w.timer("network").await, None);
        w
    }
);

story!(a_stack_is_looked_at_once_however_often_somebody_asks, |mut w| async move {
    deployed(&mut w, json!({})).await;
    w.hold("network");
    w.order("/stacks/network/drift", json!({})).await;
    let (done, said) = w.command("/stacks/network/drift", json!({})).await;
    assert!(done, "{said}");
    assert_eq!(previews(&mut w).await, ["planning"]);
    w.release("network");
    w.settle().await;
    w.order("/stacks/network/drift", json!({})).await;
    assert_eq!(previews(&mut w).await, ["finished", "finished"]);
    w
});

story!(what_the_installation_says_reaches_all_stacks_that_say_nothing_else, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let never = json!({ "drift": { "schedule": "never" } });
    w.stack(project, "other", "infra", options(never)).await;
    w.pass(HOUR).await;
    assert_eq!(w.timer("network").await, None);
    w.drift_defaults(Some(Schedule::daily(3))).await;
    w.pass(HOUR).await;
    let next = w.timer("network").await.unwrap().next_at().unwrap();
    assert!((3..5).contains(&next.to_zoned(jiff::tz::TimeZone::UTC).hour()), "{next}");
    assert_eq!(w.timer("other").await, None);
    w.drift_defaults(None).await;
    w.pass(HOUR).await;
    assert_eq!(w.timer("network").await, None);
    w
});

/// Two schedules at noon.
fn at_noon() -> Value {
    let when = json!({ "cron": "0 12 * * *", "time_zone": "UTC" });
    json!([{ "name": "first", "when": when }, { "name": "second", "when": when }])
}

story!(
    two_schedules_at_once_run_one_after_the_other_and_what_was_missed_runs_once,
    |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", options(json!({ "schedules": at_noon() }))).await;
        let head = w.gitlab.head(project, "main").unwrap();
        let short = &head[..8];
        w.pass(4 * HOUR).await;
        let expected = [format!("tracked queued {short}"), format!("tracked unconfirmed {short}")];
        assert_eq!(w.run_lines("network").await, expected);

        // Neither is begun again while it waits.
        w.pass(2 * DAY).await;
        assert_eq!(w.run_lines("network").await, expected);
        let timer = w.timer("network").await;
        assert_eq!(
            skipped(&timer, Some("second")).as_deref(),
            Some("The run before has not ended")
        );
        apply(&mut w).await;
        apply(&mut w).await;
        assert_eq!(w.executed().len(), 4, "{:?}", w.executed());

        // Nobody is there for three days.
        w.nobody_is_there(3 * DAY);
        w.pass(HOUR).await;
        assert_eq!(w.runs("network").await.len(), 4);
        apply(&mut w).await;
        apply(&mut w).await;
        w.pass(HOUR).await;
        assert_eq!(w.runs("network").await.len(), 4, "what was missed ran once");
        w
    }
);

story!(an_edited_schedule_is_counted_anew_and_the_run_that_waits_stays, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", options(json!({ "schedules": at_noon() }))).await;
    w.pass(4 * HOUR).await;
    let waits = w.run_in("network", "unconfirmed").await;
    let evening = json!({ "cron": "0 22 * * *", "time_zone": "UTC" });
    let edited = json!({ "schedules": [{ "name": "first", "when": evening }] });
    let (status, said) = w.api(Method::PUT, "/stacks/network", Some(edited)).await;
    assert!(status.is_success(), "{said}");
    w.settle().await;
    let timer = w.timer("network").await.unwrap();
    let names: Vec<&String> = timer.schedules.keys().collect();
    assert_eq!(names, ["first"]);
    assert_eq!(timer.next_at(), Some("2026-03-02T22:00:00Z".parse().unwrap()));
    assert_eq!(w.run_in("network", "unconfirmed").await, waits);
    apply(&mut w).await;
    apply(&mut w).await;
    w.pass_until("2026-03-02T22:30:00Z").await;
    assert_eq!(w.runs("network").await.len(), 3);
    w.run_in("network", "unconfirmed").await;
    w
});

/// Berlin's clocks go from 02:00 to 03:00 on 29 March, and from 03:00 to 02:00 on 25 October.
#[tokio::test]
async fn a_missing_hour_and_a_doubled_one_run_once() {
    run_test_in(&[Mode::PLAIN, Mode::NO_WEBHOOKS], |mut w| async move {
        let project = w.plain_project("acme/network");
        w.plans("network", Planned::Clean);
        let when = json!({ "cron": "30 2 * * *", "time_zone": "Europe/Berlin" });
        let schedules = json!({ "schedules": [{ "name": "night", "when": when }] });
        w.stack(project, "network", "infra", options(schedules)).await;
        let days = [
            ("2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"),
            ("2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ];
        for (before, at, next) in days {
            let before: jiff::Timestamp = before.parse().unwrap();
            w.nobody_is_there(before.duration_since(w.now()).unsigned_abs());
            w.pass(HOUR).await;
            let runs = w.runs("network").await.len();
            let due = |timer: Option<StackTimer>| timer.unwrap().next_at().unwrap().to_string();
            assert_eq!(due(w.timer("network").await), at);
            w.pass_until(next.replace(":30:00Z", ":20:00Z").as_str()).await;
            assert_eq!(w.runs("network").await.len(), runs + 1, "once in the night before {next}");
            assert_eq!(due(w.timer("network").await), next);
        }
        w
    })
    .await;
}

story!(a_task_is_executed_in_its_turn_and_gitlab_shows_nothing_of_it, |mut w| async move {
    let project = deployed(&mut w, json!({})).await;
    let commit = w.gitlab.head(project, "main").unwrap();
    let deployments = w.gitlab.deployments(project).len();
    let before = w.head("network").await;
    w.push(project, "main", "infra/main.tf", "# two").await;
    let task = json!({ "command": "terraform state list" });
    let (done, said) = w.command("/stacks/network/tasks", task).await;
    assert!(done && said.contains("Queued behind #2, which needs confirmation"), "{said}");
    let waits = w.run_in("network", "unconfirmed").await;
    w.order(&format!("/runs/{waits}/discard"), json!({})).await;
    w.settle().await;
    let executed = w.executed().iter().filter(|phase| phase.contains("task")).count();
    assert_eq!(executed, 1, "{:?}", w.executed());
    assert_eq!(w.run_lines("network").await[0], format!("tracked finished {}", &commit[..8]));
    assert_eq!(w.gitlab.deployments(project).len(), deployments);
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    let after = w.head("network").await;
    assert_eq!((after.last_applied, after.last_whole), (before.last_applied, before.last_whole));
    let run = w.run_in("network", "finished").await;
    let (done, said) = w.command(&format!("/runs/{run}/retry"), json!({ "force": true })).await;
    assert!(!done, "{said}");
    w
});

story!(a_scheduled_task_waits_for_an_admin_where_deploys_need_approval, |mut w| async move {
    let when = json!({ "cron": "0 12 * * *", "time_zone": "UTC" });
    let schedules = json!([{ "name": "clean", "when": when, "task": "make clean" }]);
    let fields = json!({
        "schedules": schedules,
        "approvals": { "required": 1, "from": ["maintainer"] },
    });
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", options(fields)).await;
    w.pass(4 * HOUR).await;
    assert!(w.runs("network").await.is_empty());
    let why = skipped(&w.timer("network").await, Some("clean")).unwrap();
    assert!(why.contains("need approval"), "{why}");
    w.order("/stacks/network/tasks", json!({ "command": "make clean" })).await;
    assert!(w.executed().contains(&"network task make clean".to_owned()), "{:?}", w.executed());

    let free = json!({ "approvals": null });
    let (status, said) = w.api(Method::PUT, "/stacks/network", Some(free)).await;
    assert!(status.is_success(), "{said}");
    w.pass(DAY).await;
    assert_eq!(w.runs("network").await.len(), 2);
    w
});

story!(a_destroy_asks_also_where_the_stack_applies_by_itself, |mut w| async move {
    let project = w.plain_project("acme/network");
    let fields = json!({ "autodeploy": true, "drift": nightly() });
    w.stack(project, "network", "infra", options(fields)).await;
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    let deployments = w.gitlab.deployments(project).len();
    let destroy = json!({ "mode": "destroy", "confirm_slug": "network" });
    w.order("/stacks/network/runs", destroy).await;
    apply(&mut w).await;
    let head = w.head("network").await;
    assert_eq!(head.destroyed, head.last_applied);
    assert!(head.destroyed.is_some());
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    assert_eq!(w.gitlab.deployments(project).len(), deployments);
    w.pass(DAY).await;
    let why = skipped(&w.timer("network").await, None);
    assert_eq!(why.as_deref(), Some("Everything of the stack was destroyed"));

    w.push(project, "main", "infra/main.tf", "# two").await;
    assert_eq!(w.head("network").await.destroyed, None);
    w
});

/// The previews that were made again because of an apply.
async fn replans(w: &mut World) -> usize {
    let runs = w.runs("network").await;
    runs.iter().filter(|run| text(run, "reason").starts_with("planned again after")).count()
}

/// A stack with merge requests of these branches, each of which changes a file of its own.
async fn with_merge_requests(w: &mut World, replan: &str, branches: &[&str]) -> ProjectId {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", options(json!({ "replan": replan }))).await;
    for branch in branches {
        w.push(project, branch, &format!("infra/{branch}.tf"), "# mine").await;
        w.open(project, branch).await;
    }
    project
}

/// A commit comes to the tracked branch, and is applied a minute later.
async fn deploy(w: &mut World, project: ProjectId, text: &str) {
    w.push(project, "main", "infra/main.tf", text).await;
    w.pass(Duration::from_secs(60)).await;
    apply(w).await;
    w.pass(Duration::from_secs(120)).await;
}

story!(an_apply_makes_older_plans_anew_once_for_each_merge_request, |mut w| async move {
    let project = with_merge_requests(&mut w, "all", &["one", "two"]).await;
    let head = w.gitlab.head(project, "one").unwrap();
    assert_eq!(previews(&mut w).await, ["finished", "finished"]);
    deploy(&mut w, project, "# first").await;
    assert_eq!(replans(&mut w).await, 2);
    w.expect_status(project, &head, "gantry/network", "success: 1 to add");
    let [one, _two] = w.gitlab.merge_requests(project)[..] else { panic!("two were opened") };
    let note = w.note(project, one);
    assert!(!note.contains("was applied after this plan"), "{note}");
    deploy(&mut w, project, "# second").await;
    assert_eq!(replans(&mut w).await, 4, "once for each apply");
    // Nothing was applied: nothing is old.
    w.plans("network", Planned::Clean);
    w.push(project, "main", "infra/main.tf", "# third").await;
    assert_eq!(replans(&mut w).await, 4);
    w
});

story!(plans_are_made_again_as_the_stack_asks, |mut w| async move {
    let project = with_merge_requests(&mut w, "none", &["one"]).await;
    // It does not fit to what comes to the branch.
    w.push(project, "conflict", "infra/main.tf", "# theirs").await;
    w.open(project, "conflict").await;
    deploy(&mut w, project, "# first").await;
    assert_eq!(replans(&mut w).await, 0);
    let ask = async |w: &mut World, replan: &str| {
        let (status, said) =
            w.api(Method::PUT, "/stacks/network", Some(json!({ "replan": replan }))).await;
        assert!(status.is_success(), "{said}");
        w.settle().await;
    };
    ask(&mut w, "mergeable").await;
    deploy(&mut w, project, "# second").await;
    assert_eq!(replans(&mut w).await, 1, "the other one has conflicts");
    ask(&mut w, "all").await;
    deploy(&mut w, project, "# third").await;
    assert_eq!(replans(&mut w).await, 3);
    w
});

story!(what_somebody_pushes_meanwhile_is_planned_and_not_what_it_replaced, |mut w| async move {
    let project = with_merge_requests(&mut w, "all", &["one"]).await;
    w.push(project, "main", "infra/main.tf", "# first").await;
    w.pass(Duration::from_secs(60)).await;
    w.hold("network");
    apply(&mut w).await;
    // Its preview waits for the apply, and sees what that has changed.
    let newer = w.push(project, "one", "infra/one.tf", "# newer").await;
    w.release("network");
    w.settle().await;
    w.pass(Duration::from_secs(120)).await;
    assert_eq!(replans(&mut w).await, 0);
    w.expect_status(project, &newer, "gantry/network", "success: 1 to add");
    w
});
