//! The note, as it is written and as GitLab renders it.

use super::*;
use crate::{
    approval::{LastVerdict, VerdictState},
    masking::Masker,
    plan::{Action, CheckFailure, Delta, Limits, ResourceChange, Warning},
    stack::Tool,
    text::{
        change, clean_line,
        markdown::{BREAK, fence_lines, oracle::*, tests::untrusted},
    },
};
use jiff::Timestamp;
use proptest::prelude::*;
use strum::VariantArray as _;

fn run(name: &str, state: RunState) -> RunView {
    RunView {
        id: "r1".parse().unwrap(),
        name: name.to_owned(),
        run_type: RunType::Proposed,
        state,
        delta: None,
        applied: false,
        summary: None,
        in_terraform: true,
        ended_in: Some(RunState::Planning),
        applied_in_part: false,
        by: None,
        number: 1,
        created_at: Timestamp::UNIX_EPOCH,
        since: Timestamp::UNIX_EPOCH,
        url: format!("https://gantry.example/runs/{name}"),
        module: false,
        suite: None,
        verdict: None,
        left_behind: false,
        warnings: Vec::new(),
        checks: 0,
        approval: None,
        held: false,
    }
}

fn stack(name: &str, state: RunState) -> NoteStack {
    NoteStack {
        run: run(name, state),
        level: CommentLevel::Full,
        change: None,
        errors: Vec::new(),
        log_tail: Vec::new(),
        applied_since: None,
        after_merge: AfterMerge::Nothing,
        mentions: false,
        blocks: false,
    }
}

fn changed(name: &str, resources: usize, value: &str) -> NoteStack {
    let resources: Vec<serde_json::Value> = (0..resources)
        .map(|i| {
            serde_json::json!({
                "address": format!("test.r[{i}]"),
                "change": {"actions": ["update"], "before": {"a": i + 1}, "after": {"a": value}},
            })
        })
        .collect();
    let plan = serde_json::json!({"format_version": "1.2", "resource_changes": resources});
    let change = Change::from_plan(
        plan.to_string().as_bytes(),
        Tool::Terraform,
        Limits::default(),
        &Masker::default(),
    )
    .unwrap()
    .0;
    let mut stack = stack(name, RunState::Finished);
    stack.run.delta = Some(change.delta);
    stack.change = Some(change);
    stack
}

fn input(stacks: Vec<NoteStack>) -> NoteInput {
    NoteInput {
        installation: "i7".to_owned(),
        project: ProjectId(12),
        iid: MergeRequestIid(34),
        commit: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
        target_branch: "main".to_owned(),
        behind: Some(2),
        state: MergeRequestState::Open,
        stacks,
        tracked: Vec::new(),
    }
}

fn story() -> NoteInput {
    let mut network = changed("network", 1, "x");
    network.applied_since = Some(AppliedSince::Done);
    let mut database = stack("database", RunState::Failed);
    database.run.summary = Some("Reference to undeclared resource".to_owned());
    database.errors =
        vec!["Error: Reference to undeclared resource\n\n  on main.tf line 3".to_owned()];
    database.log_tail = vec!["Initializing...".to_owned(), "/bin/false".to_owned()];
    let mut dns = changed("dns", 1, "x");
    dns.level = CommentLevel::Summary;
    let mut hidden = changed("hidden", 1, "x");
    hidden.level = CommentLevel::None;
    let mut clean = stack("clean", RunState::Finished);
    clean.run.delta = Some(Delta::default());
    input(vec![network, database, dns, hidden, clean, stack("web", RunState::Planning)])
}

#[test]
fn what_people_should_know_of_a_plan_is_told() {
    let mut part = changed("part", 1, "x");
    part.change.as_mut().unwrap().partial = true;
    let mut remark = stack("remark", RunState::Finished);
    remark.run.delta = Some(Delta::default());
    remark.change =
        Some(Change { remarks: vec!["backend is not used".to_owned()], ..Change::default() });
    let mut warns = changed("warns", 1, "x");
    let warning = Warning { summary: "Old".to_owned(), place: None, count: 4 };
    warns.change.as_mut().unwrap().tool_warnings = vec![warning];
    let mut failed = stack("failed", RunState::Failed);
    failed.errors = vec!["Error: No".to_owned()];
    failed.run.warnings = vec![Warning {
        summary: "New".to_owned(),
        place: Some("on a.tf line 1".to_owned()),
        count: 2,
    }];
    let note = render(&input(vec![part, remark, warns, failed]));
    let told = "Error: No\n```\n\n2 warnings before that:\n\n```\nNew (2×), on a.tf line 1\n```\n";
    assert!(note.contains(told), "{note}");
    assert!(note.contains("✅ Planned, with 4 warnings (see below) |"), "{note}");
    assert!(note.contains("! 4 warnings from Terraform:\n    Old (4×)\n"), "{note}");
    assert!(note.contains("✅ Planned, but only in part (see below) |"), "{note}");
    assert!(note.contains("✅ No changes, with a remark (see below) |"), "{note}");
    assert!(note.contains("\n! backend is not used\n"), "{note}");
}

#[test]
fn an_open_merge_request() {
    insta::assert_snapshot!(render(&story()).replace('\u{200b}', "¦"), @r#"
    <!-- gantry:i7:12:34 -->
    ### Gantry: Waiting for 1 of 5 stacks · 1 failed: database

    Plan for commit 01234567, 2 commits behind `main` at the time.

    ⚠️ `network` was applied after this plan. Rebase or push to see what would change now (or ask for “Plan again” in Gantry).

    | Stack | Result | + | ~ | − | Run |
    |---|---|---:|---:|---:|---|
    | <code>clean</code> | ✅ No changes | 0 | 0 | 0 | [run](https://gantry.example/runs/clean) |
    | <code>database</code> | ❌ Plan failed: Reference to undeclared resource |  |  |  | [run](https://gantry.example/runs/database) |
    | <code>dns</code> | ✅ Planned | 0 | 1 | 0 | [run](https://gantry.example/runs/dns) |
    | <code>network</code> | ✅ Planned, outdated by a later apply | 0 | 1 | 0 | [run](https://gantry.example/runs/network) |
    | <code>web</code> | ⏳ Planning |  |  |  | [run](https://gantry.example/runs/web) |

    <code>database</code>: Plan failed: Reference to undeclared resource

    ```
    Error: Reference to undeclared resource

      on main.tf line 3
    ```

    End of the log:

    ```
    Initializing...
    ¦/bin/false
    ```

    <code>network</code>: 0 to add, 1 to change, 0 to destroy

    ```diff
    ! test.r[0] will be updated in place
    !   a = 1 -> "x"
    ```
    "#);
}

#[test]
fn what_was_applied_since_is_told_as_what_it_was() {
    let since = |name, how| NoteStack { applied_since: Some(how), ..changed(name, 1, "x") };
    let done = since("dns", AppliedSince::Done);
    let in_part = since("network", AppliedSince::InPart);
    let mut input = input(vec![done, in_part]);
    let note = render(&input);
    let told = "\n⚠️ `dns` was applied after this plan. `network` may have been applied in part after \
                this plan. Rebase or push to see what would change now (or ask for “Plan again” in \
                Gantry).\n";
    assert!(note.contains(told), "{note}");
    assert!(note.contains("✅ Planned, outdated by a later apply |"), "{note}");
    assert!(note.contains("✅ Planned, possibly outdated by an incomplete apply |"), "{note}");
    input.stacks.push(since("web", AppliedSince::InPart));
    let note = render(&input);
    assert!(note.contains("`network` and `web` may have been applied in part after"), "{note}");
    input.state = MergeRequestState::Closed;
    assert!(!render(&input).contains("after this plan"));
}

#[test]
fn after_the_merge_and_after_closing() {
    let tracked = |name, state| {
        let delta = Some(Delta { add: 1, ..Delta::default() });
        let run = RunView { run_type: RunType::Tracked, delta, ..run(name, state) };
        NoteStack { run, ..stack(name, state) }
    };
    let mut done = tracked("web", RunState::Finished);
    done.run.applied = true;
    let (place, summary) = (Some("on main.tf line 3".to_owned()), "Old argument".to_owned());
    let check = "Check block assertion failed: The site is down.".to_owned();
    done.run.warnings = vec![
        Warning { summary, place: place.clone(), count: 2 },
        Warning { summary: check, place, count: 1 },
    ];
    done.run.checks = 1;
    let mut failed = tracked("db", RunState::Failed);
    (failed.run.ended_in, failed.run.applied_in_part) = (Some(RunState::Applying), true);
    failed.run.summary = Some("No quota".to_owned());
    failed.errors = vec!["Error: No quota".to_owned()];
    failed.log_tail = vec!["aws_db_instance.main: Creating...".to_owned()];
    let mut merged = input(vec![changed("network", 1, "x")]);
    merged.state = MergeRequestState::Merged;
    merged.tracked = vec![tracked("network", RunState::Unconfirmed), done, failed];
    insta::assert_snapshot!(render(&merged), @r#"
    <!-- gantry:i7:12:34 -->
    ### Gantry: Waiting for 1 of 3 stacks · 1 failed: db · 1 check failed

    Plan for commit 01234567, 2 commits behind `main` at the time.

    **Merged.**

    The merge started:

    | Stack | Result | Run |
    |---|---|---|
    | <code>db</code> | ❌ Apply failed: No quota | [run](https://gantry.example/runs/db) |
    | <code>network</code> | ⏳ Needs confirmation: 1 to add, 0 to change, 0 to destroy | [run](https://gantry.example/runs/network) |
    | <code>web</code> | ⚠️ Applied: 1 added, 0 changed, 0 destroyed, 1 check failed, with 2 warnings | [run](https://gantry.example/runs/web) |

    The plan before the merge:

    | Stack | Result | + | ~ | − | Run |
    |---|---|---:|---:|---:|---|
    | <code>network</code> | ✅ Planned | 0 | 1 | 0 | [run](https://gantry.example/runs/network) |

    **Next:** `db` failed while being applied; a part of the change may be done. Fix the code and merge again, or ask somebody who may deploy in Gantry to choose “Plan again”. `network` needs confirmation: somebody who may deploy in Gantry opens the run, and confirms or discards it.

    <code>db</code>: Apply failed: No quota

    ```
    Error: No quota
    ```

    End of the log:

    ```
    aws_db_instance.main: Creating...
    ```

    <code>network</code>: 0 to add, 1 to change, 0 to destroy

    ```diff
    ! test.r[0] will be updated in place
    !   a = 1 -> "x"
    ```

    <code>web</code>: Applied: 1 added, 0 changed, 0 destroyed, 1 check failed, with 2 warnings

    1 failed check, 2 warnings:

    ```
    Old argument (2×), on main.tf line 3
    Check block assertion failed: The site is down, on main.tf line 3
    ```
    "#);

    let mut closed = input(vec![stack("network", RunState::Canceled)]);
    closed.state = MergeRequestState::Closed;
    closed.behind = None;
    insta::assert_snapshot!(render(&closed), @"
    <!-- gantry:i7:12:34 -->
    ### Gantry: network canceled

    Plan for commit 01234567.

    **Closed without merging.** None of this will be applied.

    | Stack | Result | + | ~ | − | Run |
    |---|---|---:|---:|---:|---|
    | <code>network</code> | ⚪ Canceled |  |  |  | [run](https://gantry.example/runs/network) |
    ");
}

#[test]
fn no_stack_is_left() {
    let mut none = input(vec![]);
    none.behind = Some(0);
    assert!(!is_wanted(&none));
    insta::assert_snapshot!(render(&none), @"
    <!-- gantry:i7:12:34 -->
    ### Gantry: No stacks affected

    Plan for commit 01234567, up to date with `main` at the time.
    ");
}

#[test]
fn space_is_shared_fairly_and_what_is_cut_is_counted() {
    let value = "v".repeat(300);
    let note = render(&input(vec![
        changed("huge", 5_000, &value),
        changed("large", 500, &value),
        changed("small", 3, &value),
    ]));
    assert!(note.len() <= BUDGET && note.len() > BUDGET - 2_000, "{}", note.len());
    let of = |name: &str| {
        let from = note.find(&format!("<summary><code>{name}")).unwrap();
        let to = note[from..].find("</details>").unwrap();
        &note[from..from + to]
    };
    assert!(of("huge").len().abs_diff(of("large").len()) < 1_000);
    assert!(!of("small").contains("more line"));
    let cut: Vec<&str> = note.lines().filter(|l| l.starts_with('…')).collect();
    insta::assert_snapshot!(cut.join("\n"), @"
    … 6,342 more lines, [see the run](https://gantry.example/runs/huge)
    … 408 more lines, [see the run](https://gantry.example/runs/large)
    ");
}

#[test]
fn of_a_log_that_has_no_room_the_end_is_kept() {
    let failed = |number: usize| {
        let mut stack = stack(&format!("s{number}"), RunState::Failed);
        stack.log_tail = (0..30).map(|at| format!("line {at} {}", "x".repeat(400))).collect();
        stack
    };
    let note = render(&input((0..12).map(failed).collect()));
    assert!(note.len() <= BUDGET);
    assert_eq!(note.matches("\nline 29 x").count(), 12, "{note}");
    assert!(!note.contains("\nline 0 x"), "{note}");
}

#[test]
fn what_is_destroyed_and_each_address_and_output_come_before_attributes() {
    let mut stack = changed("network", 151, &"value".repeat(60));
    let change = stack.change.as_mut().unwrap();
    let attributes = change.resources[0].attributes.clone();
    for resource in &mut change.resources {
        resource.action = Action::Update;
        let own = resource.attributes.clone();
        resource.attributes = own.iter().cycle().take(5).cloned().collect();
    }
    change.resources[150].action = Action::Delete;
    change.outputs = attributes.iter().cycle().take(2).cloned().collect();
    change.outputs[1].path = "the_last_output".to_owned();
    let address = |resource: &ResourceChange| resource.address.clone();
    let addresses: Vec<String> = change.resources.iter().map(address).collect();
    let note = render(&input(vec![stack]));
    let at = |text: &str| note.find(text).unwrap_or_else(|| panic!("{text}: {note}"));
    let destroyed = at(&format!("- {} will be destroyed", addresses[150]));
    let attribute = note.matches("\n!   ").count();
    assert!(attribute < 150 * 5 && note.contains(" more lines, "), "{attribute}: {note}");
    for address in &addresses[..150] {
        assert!(destroyed < at(&format!("! {address} will be updated in place\n")));
    }
    at("the_last_output");
}

/// A finished preview of these changes.
fn planned(name: &str, plan: &serde_json::Value) -> NoteStack {
    let plan = plan.to_string();
    let (change, _) =
        Change::from_plan(plan.as_bytes(), Tool::Terraform, Limits::default(), &Masker::default())
            .unwrap();
    let mut stack = stack(name, RunState::Finished);
    stack.run.delta = Some(change.delta);
    stack.run.checks = change.failed_checks();
    stack.change = Some(change);
    stack
}

#[test]
fn a_check_that_failed_is_told_where_the_change_is_not() {
    let mut brief = NoteStack { level: CommentLevel::Summary, ..changed("dns", 1, "x") };
    (brief.change, brief.run.checks) = (None, 1);
    let mut clean = stack("web", RunState::Finished);
    (clean.run.delta, clean.run.run_type) = (Some(Delta::default()), RunType::Tracked);
    clean.run.checks = 2;
    let mut test = stack("base/one", RunState::Finished);
    (test.run.run_type, test.run.checks) = (RunType::Test, 3);
    let mut input = input(vec![brief, test]);
    let note = render(&input);
    assert!(note.contains(" · 1 check failed\n"), "{note}");
    assert!(note.contains("⚠️ Planned, but 1 check failed | 0 | 1 | 0 |"), "{note}");
    assert!(note.contains("✅ Passed |"), "{note}");
    input.stacks.push(stack("edge", RunState::Planning));
    let note = render(&input);
    assert!(note.contains("Waiting for 1 of 3 runs · 1 check failed\n"), "{note}");
    (input.state, input.tracked) = (MergeRequestState::Merged, vec![clean]);
    let note = render(&input);
    assert!(note.contains("1 stack: no changes · 2 checks failed\n"), "{note}");
    assert!(note.contains("⚠️ No changes, 2 checks failed |"), "{note}");
}

#[test]
fn changes_that_are_alike_are_told_once() {
    let resource = |at: usize| {
        let after = if at == 7 { 61 } else { 60 };
        serde_json::json!({
            "address": format!("test.input[\"{at}\"]"),
            "change": {"actions": ["update"], "before": {"ttl": 300}, "after": {"ttl": after}},
        })
    };
    let resources: Vec<_> = (0..400).map(resource).collect();
    let plan = serde_json::json!({"format_version": "1.2", "resource_changes": resources});
    let note = render(&input(vec![planned("fleet", &plan)]));
    assert!(note.len() < 15_000, "{}", note.len());
    let told = "! 399 resources, each of which will be updated in place:\n!   test.input[\"0\"]\n";
    assert!(note.contains(told), "{note}");
    assert_eq!(note.matches("ttl = 300 -> 60\n").count(), 1);
    for at in 0..400 {
        assert_eq!(note.matches(&format!("test.input[\"{at}\"]")).count(), 1);
    }
    let exception = "! test.input[\"7\"] will be updated in place\n!   ttl = 300 -> 61\n";
    assert!(note.contains(exception), "{note}");
}

#[test]
fn what_matters_is_in_the_title_and_what_is_short_is_open() {
    let long = "x".repeat(200);
    let plan = serde_json::json!({
        "format_version": "1.2",
        "resource_changes": [
            {"address": "a.a", "change": {"actions": ["update"], "before": {"n": 1}, "after": {"n": 2}}},
            {"address": "a.b", "change": {
                "actions": ["delete", "create"], "before": {"id": long}, "after": {},
                "after_unknown": {"id": true},
            }},
        ],
        "checks": [{
            "address": {"to_display": "check.health"}, "status": "fail",
            "instances": [{"address": {"to_display": "check.health"}, "status": "fail",
                           "problems": [{"message": "down"}]}],
        }],
    });
    let mut stack = planned("network", &plan);
    stack.after_merge = AfterMerge::Confirm;
    insta::assert_snapshot!(render(&input(vec![stack])).replace('\u{200b}', "¦"), @r#"
    <!-- gantry:i7:12:34 -->
    ### Gantry: 1 stack: &#43;&#8203;1 &#126;&#8203;1 −1 &#40;1 replacement&#41; · 1 check failed

    Plan for commit 01234567, 2 commits behind `main` at the time.

    | Stack | Result | + | ~ | − | Run |
    |---|---|---:|---:|---:|---|
    | <code>network</code> | ⚠️ Planned, 1 replacement, but check.health failed | 1 | 1 | 1 | [run](https://gantry.example/runs/network) |

    **Next:** after the merge, Gantry plans `network` again, and applies once somebody who may deploy in Gantry confirms.

    <code>network</code>: 1 to add, 1 to change, 1 to destroy &#40;1 replacement&#41;

    ```diff
    -/+ a.b must be replaced: destroyed, then created
    !   id = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx… -> (known after apply)

    ! a.a will be updated in place
    !   n = 1 -> 2

    ! check.health failed
    !   down
    ```
    "#);
}

#[test]
fn it_says_what_comes_next_and_who_does_it() {
    let next = |input: &NoteInput| {
        let note = render(input);
        note.lines().find_map(|line| line.strip_prefix("**Next:** ")).map(str::to_owned)
    };
    let mut asks = changed("network", 1, "x");
    asks.after_merge = AfterMerge::Confirm;
    let mut applies = changed("dns", 1, "x");
    applies.after_merge = AfterMerge::Automatic;
    let other = changed("other", 1, "x");
    let of = |stacks: &[&NoteStack]| next(&input(stacks.iter().map(|s| (*s).clone()).collect()));
    assert_eq!(of(&[&other]), None);
    assert_eq!(of(&[&asks, &stack("web", RunState::Planning)]), None, "it is not known yet");
    insta::assert_snapshot!(of(&[&asks, &other]).unwrap(), @"after the merge, Gantry plans `network` again, and applies once somebody who may deploy in Gantry confirms.");
    insta::assert_snapshot!(of(&[&applies]).unwrap(), @"the merge applies `dns` without asking anybody, unless GitLab's rules for the environment do.");
    insta::assert_snapshot!(of(&[&applies, &asks]).unwrap(), @"the merge applies `dns` without asking anybody, unless GitLab's rules for the environment do. Gantry applies `network` once somebody who may deploy in Gantry confirms.");
    let approved = NoteStack { after_merge: AfterMerge::Approved, ..changed("edge", 1, "x") };
    insta::assert_snapshot!(of(&[&approved]).unwrap(), @"after the merge, Gantry plans again, and applies `edge` as soon as the approvals are given that the stack asks for.");
    insta::assert_snapshot!(of(&[&applies, &approved]).unwrap(), @"the merge applies `dns` without asking anybody, unless GitLab's rules for the environment do. Gantry applies `edge` as soon as the approvals are given that the stack asks for.");
    insta::assert_snapshot!(of(&[&asks, &stack("db", RunState::Failed)]).unwrap(), @"fix the code of `db` and push: a push plans everything anew. If the code is not the reason (a lost runner, a time limit, a locked state), ask somebody who may deploy in Gantry to open the run and choose “Plan again”.");
    let mut module = stack("base", RunState::Failed);
    module.run.module = true;
    assert!(of(&[&module]).unwrap().ends_with("choose “Test again”."));
    assert!(of(&[&module, &stack("db", RunState::Failed)]).unwrap().contains("`base` and `db`"));
    let mut merged = input(vec![asks]);
    merged.state = MergeRequestState::Merged;
    let deploy = |name: &str, state: RunState, ended_in: RunState| {
        let mut deploy = changed(name, 1, "x");
        deploy.run.run_type = RunType::Tracked;
        (deploy.run.state, deploy.run.ended_in) = (state, Some(ended_in));
        deploy
    };
    use RunState::{Applying, Discarded, Failed, Finished, Planning, Queued, Unconfirmed};
    merged.tracked = vec![
        deploy("data", Unconfirmed, Planning),
        deploy("edge", Unconfirmed, Planning),
        deploy("network", Unconfirmed, Planning),
    ];
    insta::assert_snapshot!(next(&merged).unwrap(), @"`data`, `edge` and `network` need confirmation: somebody who may deploy in Gantry opens the run, and confirms or discards it.");
    merged.tracked[0].run.approval = Some(LastVerdict {
        state: VerdictState::NeedsApprovals,
        message: "waits for 1 of 2 approvals, by @ops".to_owned(),
        at: Timestamp::UNIX_EPOCH,
    });
    insta::assert_snapshot!(next(&merged).unwrap(), @"`data` needs approvals first: whoever may give them opens the run, and approves or rejects it. `edge` and `network` need confirmation: somebody who may deploy in Gantry opens the run, and confirms or discards it.");
    merged.tracked[1].run.approval = Some(LastVerdict {
        state: VerdictState::Rejected,
        message: "rejected by @bob".to_owned(),
        at: Timestamp::UNIX_EPOCH,
    });
    insta::assert_snapshot!(next(&merged).unwrap(), @"`data` needs approvals first: whoever may give them opens the run, and approves or rejects it. `edge` cannot be confirmed as things are: the run says why. `network` needs confirmation: somebody who may deploy in Gantry opens the run, and confirms or discards it.");
    // A name in a comment would notify all of its group.
    let row = render(&merged).lines().find(|line| line.contains("waits for")).map(str::to_owned);
    assert!(row.as_ref().is_some_and(|row| row.contains("by &#64;&#8203;ops")), "{row:?}");
    merged.tracked = vec![deploy("shop", Failed, Planning)];
    insta::assert_snapshot!(next(&merged).unwrap(), @"`shop` failed before anything was applied. Fix the code and merge again, or ask somebody who may deploy in Gantry to choose “Plan again”.");
    let mut again = deploy("shop", Finished, Applying);
    again.run.number = 2;
    merged.tracked.push(again);
    assert_eq!(next(&merged), None, "it was repeated");
    merged.tracked[1] = deploy("web", Failed, Applying);
    assert!(next(&merged).unwrap().starts_with("`shop` and `web` failed before anything was"));
    merged.tracked[1].run.applied_in_part = true;
    assert!(next(&merged).unwrap().starts_with("`web` failed while being applied; a part"));
    let unknown = |name: &str| NoteStack { blocks: true, ..deploy(name, Failed, Applying) };
    merged.tracked = vec![unknown("db")];
    insta::assert_snapshot!(next(&merged).unwrap(), @"`db` blocked its stack because the result of its apply is not certain: somebody who may unblock stacks in Gantry opens the run, checks the state and the infrastructure, and unblocks the stack. Nothing is deployed there until then.");
    merged.tracked[0].run.state = Finished;
    assert!(next(&merged).unwrap().starts_with("`db` blocked its stack because"), "it is applied");
    let mut in_part = deploy("shop", Failed, Applying);
    in_part.run.applied_in_part = true;
    merged.tracked = vec![unknown("db"), unknown("lb"), in_part];
    insta::assert_snapshot!(next(&merged).unwrap(), @"`db` and `lb` blocked their stacks because the results of their applies are not certain: somebody who may unblock stacks in Gantry opens each run, checks the state and the infrastructure, and unblocks the stack. Nothing is deployed there until then. `shop` failed while being applied; a part of the change may be done. Fix the code and merge again, or ask somebody who may deploy in Gantry to choose “Plan again”.");
    merged.tracked = vec![deploy("edge", Discarded, Unconfirmed), deploy("data", Queued, Queued)];
    insta::assert_snapshot!(next(&merged).unwrap(), @"`edge` was discarded: its change is merged but not applied; the next deploy contains it. `data` is queued: earlier deploys of the same stack come first, and the run says what it waits for.");
    merged.state = MergeRequestState::Closed;
    assert_eq!(next(&merged), None);
}

#[test]
fn the_author_is_mentioned_where_somebody_has_to_act() {
    let deploy = |name: &str, state: RunState, mentions: bool| {
        let mut stack = NoteStack { mentions, ..stack(name, state) };
        stack.run.run_type = RunType::Tracked;
        stack.run.summary = Some("No *quota* for @all".to_owned());
        stack
    };
    let mut merged = input(vec![]);
    merged.state = MergeRequestState::Merged;
    merged.tracked = vec![
        deploy("network", RunState::Unconfirmed, true),
        deploy("quiet", RunState::Unconfirmed, false),
        deploy("web", RunState::Applying, true),
    ];
    insta::assert_snapshot!(mention(&merged, "ada.l-1").unwrap(), @"
    <!-- gantry-mention:i7:12:34 -->
    @ada.l-1 your merge needs attention:

    - <code>network</code>: needs confirmation, [see the run](https://gantry.example/runs/network)
    ");
    for nobody in ["", "all", "a b", "all\n/close", "<b>"] {
        assert_eq!(mention(&merged, nobody), None);
    }
    merged.tracked = vec![deploy("db", RunState::Failed, true)];
    let failed = mention(&merged, "ada").unwrap();
    assert!(failed.contains("quota"), "{failed}");
    merged.tracked[0].level = CommentLevel::None;
    let brief = mention(&merged, "ada").unwrap();
    assert!(brief.contains("failed") && !brief.contains("quota"), "{brief}");
    let mut again = deploy("db", RunState::Finished, true);
    again.run.number = 2;
    merged.tracked.push(again);
    assert_eq!(mention(&merged, "ada"), None, "it was repeated");
    assert_eq!(failed.matches('@').count(), 1, "{failed}");
    merged.tracked.clear();
    assert_eq!(mention(&merged, "ada"), None);
}

#[test]
fn outputs_and_checks_stand_apart() {
    let plan = serde_json::json!({
        "format_version": "1.2",
        "resource_changes": [{"address": "a.a", "change": {"actions": ["delete"]}}],
        "output_changes": {
            "o": {"actions": ["update"], "before": "1", "after": "2"},
            "p": {"actions": ["update"], "before": "1", "after": "2"},
        },
        "checks": [{
            "address": {"to_display": "check.health"}, "status": "fail",
            "instances": [{"address": {"to_display": "check.health"}, "status": "fail",
                           "problems": [{"message": "down"}]}],
        }],
    });
    let note = render(&input(vec![planned("network", &plan)]));
    let told = "- a.a will be destroyed\n\n  Changes to outputs:\n!   o = \"1\" -> \"2\"\n\
                !   p = \"1\" -> \"2\"\n\n! check.health failed\n!   down\n```";
    assert!(note.contains(told), "{note}");
}

#[test]
fn after_the_merge_the_headline_is_of_the_deploys() {
    let deploy = |name: &str, state: RunState| {
        let mut deploy = changed(name, 1, "x");
        deploy.run.run_type = RunType::Tracked;
        (deploy.run.state, deploy.run.applied) = (state, state == RunState::Finished);
        deploy.change = None;
        deploy
    };
    let mut merged = input(vec![changed("data", 1, "x"), changed("edge", 1, "x")]);
    merged.state = MergeRequestState::Merged;
    let headline = |input: &NoteInput| {
        let note = render(input);
        read(note.lines().nth(1).unwrap()).trim().to_owned()
    };
    assert!(headline(&merged).contains("2 stacks: "), "the merge started nothing yet");
    merged.tracked = vec![deploy("data", RunState::Finished), deploy("edge", RunState::Failed)];
    let said = headline(&merged);
    assert!(said.contains("1 of 2 stacks failed: edge; 1 applied: "), "{said}");
    let mut again = deploy("edge", RunState::Finished);
    again.run.number = 2;
    merged.tracked.push(again);
    let said = headline(&merged);
    assert!(said.contains("2 stacks applied: "), "{said}");
}

#[test]
fn errors_are_told_apart() {
    let mut failed = stack("network", RunState::Failed);
    failed.errors = vec!["Error: one\n  on a.tf".to_owned(), "Error: two".to_owned()];
    let note = render(&input(vec![failed]));
    assert!(note.contains("\nError: one\n  on a.tf\n\nError: two\n"), "{note}");
}

#[test]
fn thousands_of_stacks_fit() {
    let mut stacks: Vec<NoteStack> =
        (0..3_000).map(|i| changed(&format!("stack-{i:04}"), 2, "x")).collect();
    let mut failed = stack("zzz", RunState::Failed);
    failed.errors = vec!["Error: boom".to_owned()];
    stacks.push(failed);
    let note = render(&input(stacks));
    assert!(note.len() <= BUDGET, "{}", note.len());
    assert!(note.contains("Error: boom") && note.contains("<code>zzz</code>"));
    let cut: Vec<&str> = note.lines().filter(|l| l.starts_with('…')).collect();
    insta::assert_snapshot!(cut.join("\n"), @"
    … and 2,634 more stacks
    … and 2,854 more stacks with details (see the runs in the table)
    ");
}

#[test]
fn only_what_is_said_matters() {
    let a = render(&story());
    let mut later = story();
    later.stacks.reverse();
    for stack in &mut later.stacks {
        stack.run.number = 2;
        stack.run.created_at = Timestamp::from_second(1_000_000).unwrap();
    }
    assert_eq!(a, render(&later));
}

/// Every text that people or programs outside can choose.
fn hostile() -> impl Strategy<Value = NoteInput> {
    let texts = prop::collection::vec(untrusted(), 8);
    (texts, 0..RunState::VARIANTS.len(), 0..3usize).prop_map(|(t, state, mr)| {
        let mut stack = changed("a", 1, &t[0]);
        stack.run.state = RunState::VARIANTS[state];
        stack.run.summary = Some(t[1].clone());
        stack.run.by = Some(t[2].clone());
        stack.errors = vec![t[3].clone()];
        stack.log_tail = t[4].lines().map(str::to_owned).collect();
        stack.run.name = t[5].clone();
        stack.applied_since = Some([AppliedSince::Done, AppliedSince::InPart][mr % 2]);
        let change = stack.change.as_mut().unwrap();
        change.resources[0].address = t[6].clone();
        change.resources[0].previous_address = Some(t[0].clone());
        let warning = Warning { summary: t[1].clone(), place: Some(t[2].clone()), count: 2 };
        change.tool_warnings = vec![warning.clone()];
        change.remarks = vec![t[3].clone()];
        change.checks = vec![CheckFailure { address: t[4].clone(), problems: vec![t[5].clone()] }];
        stack.run.warnings = vec![warning];
        let mut input = input(vec![stack]);
        input.target_branch = t[7].clone();
        let run = RunView { name: t[6].clone(), ..input.stacks[0].run.clone() };
        input.tracked = vec![NoteStack { run, ..input.stacks[0].clone() }];
        input.state =
            [MergeRequestState::Open, MergeRequestState::Merged, MergeRequestState::Closed][mr];
        input
    })
}

/// What notes are made of.
const ELEMENTS: [&str; 18] = [
    "<!-- gantry:i7:12:34 -->",
    "<h3>",
    "<p>",
    "<strong>",
    "<code>",
    "<table>",
    "<thead>",
    "<tbody>",
    "<tr>",
    "<th>",
    "<th align=\"right\">",
    "<td>",
    "<td align=\"right\">",
    "<details>",
    "<summary>",
    "<pre>",
    "<code class=\"language-diff\">",
    "<a href=\"https://gantry.example/runs/a\">",
];

proptest! {
    #[test]
    fn whatever_stands_in_it_a_note_is_inert(input in hostile()) {
        let note = render(&input);
        prop_assert!(note.len() <= BUDGET);
        prop_assert_eq!(quick_action_lines(&note), Vec::<&str>::new());
        prop_assert!(note.starts_with(&marker("i7", ProjectId(12), MergeRequestIid(34))));
        prop_assert_eq!(note.matches("<!--").count(), 1);
        let unclean = note.contains(['\r', '\u{1b}', '\u{202e}']);
        prop_assert!(!unclean);
        let ours = [
            "<!-- gantry:i7:12:34 -->", "<details>", "</details>", "<summary>", "</summary>",
            "<code>", "</code>", "https://gantry.example/runs/a",
        ];
        for outside in [outside_new(&note), outside_old(&note)] {
            let markup = without_code(&outside);
            let count = |tag: &str| markup.matches(tag).count();
            prop_assert_eq!(count("<details>"), count("</details>"));
            prop_assert_eq!(count("<"), ours[..7].iter().map(|tag| count(tag)).sum::<usize>());
            let said = ours.iter().fold(markup, |text, own| text.replace(own, ""));
            prop_assert_eq!(mentions(&decode(&said)), None, "{}", note);
        }
        // What GitLab makes of it has no element that is not ours.
        let ours = ELEMENTS.iter().map(|element| (*element).to_owned()).collect();
        let others: Vec<String> = elements(&note).difference(&ours).cloned().collect();
        prop_assert_eq!(others, Vec::<String>::new(), "{}", note);
        // And what people read is what was said.
        let read = read(&note);
        let stack = &input.stacks[0];
        let mut said = vec![clean_line(&stack.run.name, 100), clean_line(&input.target_branch, 200)];
        let part = change::parts(stack.change.as_ref().unwrap());
        said.extend(part.into_iter().flat_map(|part| part.head));
        if stack.run.state == RunState::Failed {
            let texts = stack.errors.iter().chain(&stack.log_tail);
            said.extend(texts.flat_map(|text| fence_lines(text).collect::<Vec<_>>()));
        }
        for text in said {
            let text = text.replace(BREAK, "");
            let is_read = read.contains(text.trim_end());
            prop_assert!(is_read, "{:?} is not in {:?}, which is {}", text, read, note);
        }
    }
}
