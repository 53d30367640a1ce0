//! What is asked of stacks and runs.

use crate::support::{Gantry, READER, RUN, SECRET, Script, Terminal, example};
use serde_json::{Value, json};

fn looks(states: &[&str]) -> Vec<Value> {
    states.iter().map(|state| json!({ "state": state })).collect()
}

/// What is confirmed and applied in the end.
fn applied() -> Vec<Value> {
    let mut looks = looks(&["unconfirmed", "applying"]);
    looks.push(json!({ "state": "finished", "applied": true }));
    looks
}

#[tokio::test]
async fn a_plan_is_followed_until_a_person_has_to_decide() {
    let states = ["queued", "queued", "planning", "unconfirmed"];
    let log = vec![(0, "init\n"), (2, "plan: 1 to "), (3, "add\n")];
    let gantry = Gantry::start(Script { looks: looks(&states), log, ..Script::default() }).await;
    let said = gantry.says("gantry plan network").await;
    assert_eq!(
        said.out,
        "init\nplan: 1 to add\nnetwork#6 needs confirmation: 1 to add, 0 to change, 0 to destroy. To \
         apply it: gantry confirm network#6. To discard it: gantry discard network#6.\n"
    );
    let begin = "network#6 was started: https://gantry.example.com/runs/r-8c41d7\n";
    assert!(said.err.starts_with(begin), "{said:?}");
    assert!(said.err.contains("network#6: queued\nnetwork#6: planning\n"), "{said:?}");
    assert_eq!(said.code, 3);
    gantry.change(|script| {
        let (line, request, body) = script.seen[0].clone();
        assert_eq!(line, "POST /api/v1/stacks/network/runs");
        assert!(request.len() > 20, "{request}");
        assert_eq!(body, json!({ "type": "tracked" }));
    });
}

#[tokio::test]
async fn how_a_plan_ended_is_in_the_exit_code() {
    let ends = [
        (json!({ "state": "finished", "delta": {} }), 0, "network#6: no changes.\n"),
        (
            json!({ "state": "failed", "summary": "No such file" }),
            1,
            "network#6 failed: No such file.",
        ),
        (json!({ "state": "discarded" }), 4, "network#6 was discarded.\n"),
        (json!({ "state": "canceled" }), 4, "network#6 was canceled.\n"),
        (json!({ "state": "stopped" }), 4, "network#6 was stopped.\n"),
    ];
    for (end, code, words) in ends {
        let gantry = Gantry::with_run(&[end]).await;
        let said = gantry.says("gantry plan network").await;
        assert!(said.code == code && said.out.starts_with(words), "{said:?}");
    }
}

#[tokio::test]
async fn a_preview_of_a_commit_is_started_and_not_waited_for() {
    let gantry = Gantry::with_run(&looks(&["queued"])).await;
    let commit = "4f1c2ab09d3e57f6a8b1c0d2e3f405162738495a";
    let said =
        gantry.says(&format!("gantry plan network --preview --no-wait --commit {commit}")).await;
    assert_eq!(said.code, 0);
    assert_eq!(said.out, "network#6 was started: https://gantry.example.com/runs/r-8c41d7\n");
    gantry.change(|script| {
        assert_eq!(script.seen[0].2, json!({ "type": "proposed", "commit": commit }));
    });
}

/// The path and the body of what was asked for last.
fn asked(gantry: &Gantry) -> (String, Value) {
    let mut last = None;
    gantry.change(|script| {
        let post = script.seen.iter().rfind(|(line, ..)| line.starts_with("POST "));
        last = post.map(|(line, _, body)| (line.clone(), body.clone()));
    });
    last.expect("nothing was asked for")
}

#[tokio::test]
async fn what_is_unusual_about_a_plan_goes_with_it() {
    let gantry = Gantry::with_run(&looks(&["unconfirmed"])).await;
    let line = "gantry plan network --target module.a --target b.c --replace d.e --var A=b=c \
                --secret TF_VAR_token";
    let said = gantry.says(line).await;
    assert_eq!(said.code, 3, "{said:?}");
    let sent = json!({
        "type": "tracked", "targets": ["module.a", "b.c"], "replace": ["d.e"],
        "variables": [
            { "name": "A", "value": "b=c", "secret": false },
            { "name": "TF_VAR_token", "value": SECRET, "secret": true },
        ],
    });
    assert_eq!(asked(&gantry), ("POST /api/v1/stacks/network/runs".to_owned(), sent));
    gantry.says("gantry plan network --refresh-only").await;
    assert_eq!(asked(&gantry).1, json!({ "type": "tracked", "mode": "refresh_only" }));
    let before = gantry.posts().len();
    let said = gantry.says("gantry plan network --secret OTHER").await;
    assert!(said.code == 2 && said.err.contains("OTHER is not set"), "{said:?}");
    assert_eq!(gantry.posts().len(), before);
}

#[tokio::test]
async fn what_destroys_everything_needs_the_slug() {
    let gantry = Gantry::with_run(&looks(&["unconfirmed"])).await;
    let said = gantry.says("gantry plan network --destroy").await;
    assert!(said.code == 2 && said.err.contains("--confirm-slug"), "{said:?}");
    let said = gantry.says("gantry plan network --destroy --confirm-slug netwrok").await;
    assert!(said.code == 1 && said.err.contains("that is not network"), "{said:?}");
    let said = gantry.says_to("yes\n", "gantry plan network --destroy").await;
    assert!(said.code == 1 && said.err.contains("Type network to go on:"), "{said:?}");
    assert!(said.err.contains("destroys everything that it holds"), "{said:?}");
    assert!(gantry.posts().is_empty(), "{:?}", gantry.posts());
    let sent = json!({ "type": "tracked", "mode": "destroy", "confirm_slug": "network" });
    for (typed, line) in [
        ("network\n", "gantry plan network --destroy"),
        ("", "gantry plan network --destroy --confirm-slug network"),
    ] {
        let said = gantry.says_to(typed, line).await;
        assert_eq!((said.code, asked(&gantry).1), (3, sent.clone()), "{said:?}");
    }
    // A preview destroys nothing, so nobody is asked.
    let said = gantry.says("gantry plan network --destroy --preview --no-wait").await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(asked(&gantry).1, json!({ "type": "proposed", "mode": "destroy" }));
}

#[tokio::test]
async fn what_a_plan_destroys_is_said_before_it_is_confirmed() {
    let options = json!({ "mode": "destroy", "targets": [], "replace": [], "variables": [] });
    let gantry = Gantry::with_run(&[json!({ "state": "unconfirmed", "options": options })]).await;
    let said = gantry.says_to("n\n", "gantry confirm network#6").await;
    assert!(said.err.contains("\n  Destroys: everything that the stack holds\n"), "{said:?}");
    assert!(gantry.posts().is_empty());
}

#[tokio::test]
async fn a_look_for_drift_tells_by_its_exit_code_what_it_found() {
    let look = |more: Value| {
        let mut look = json!({
            "type": "proposed", "state": "finished", "purpose": { "kind": "drift" }, "delta": {},
        });
        look.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        look
    };
    for (end, code, words) in [
        (
            look(json!({ "delta": { "change": 1 } })),
            5,
            "network#6 found drift: 0 to add, 1 to change",
        ),
        (look(json!({})), 0, "network#6 found no drift.\n"),
        (look(json!({ "state": "failed", "summary": "No" })), 1, "network#6 failed: No."),
    ] {
        let gantry = Gantry::with_run(&[look(json!({ "state": "planning" })), end]).await;
        let said = gantry.says("gantry drift network").await;
        assert!(said.code == code && said.out.starts_with(words), "{said:?}");
        assert_eq!(asked(&gantry), ("POST /api/v1/stacks/network/drift".to_owned(), json!({})));
    }
    let gantry = Gantry::with_run(&looks(&["queued"])).await;
    let said = gantry.says("gantry drift network --no-wait").await;
    assert!(said.code == 0 && said.out.starts_with("network#6 was started: "), "{said:?}");
}

#[tokio::test]
async fn a_task_is_followed_to_its_end() {
    let task = |state: &str| {
        let purpose = json!({ "kind": "task", "command": "true" });
        json!({ "state": state, "purpose": purpose, "delta": null })
    };
    for (end, code, words) in [
        ("finished", 0, "a.b\nnetwork#6 is done.\n"),
        ("failed", 1, "a.b\nnetwork#6 failed"),
        ("stopped", 4, "a.b\nnetwork#6 was stopped"),
    ] {
        let looks = vec![task("applying"), task("applying"), task(end)];
        let gantry =
            Gantry::start(Script { looks, log: vec![(0, "a.b\n")], ..Script::default() }).await;
        let said = gantry.says("gantry task network -- terraform state rm a.b[0]").await;
        assert!(said.code == code && said.out.starts_with(words), "{said:?}");
        assert!(said.err.contains("network#6: running\n"), "{said:?}");
        let sent = json!({ "command": "terraform state rm 'a.b[0]'" });
        assert_eq!(asked(&gantry), ("POST /api/v1/stacks/network/tasks".to_owned(), sent));
    }
}

#[tokio::test]
async fn a_decision_that_takes_its_time_is_waited_for() {
    let open = json!({ "request": "x-1", "done": null, "message": null, "run": null });
    let no = json!({ "request": "x-1", "done": false, "message": "the branch is not there", "run": null });
    let commands = vec![(202, open.clone()), (202, open.clone()), (200, example("Command"))];
    let script = Script { looks: looks(&["unconfirmed"]), commands, ..Script::default() };
    let gantry = Gantry::start(script).await;
    assert_eq!(gantry.says("gantry plan network").await.code, 3);
    gantry.change(|script| {
        assert_eq!(script.seen[2].0, "GET /api/v1/commands/network/x-1");
        script.commands = vec![(202, open), (200, no)];
    });
    let said = gantry.says("gantry plan network").await;
    assert!(
        said.err.ends_with("Could not start a run of network: the branch is not there\n"),
        "{said:?}"
    );
    assert_eq!(said.code, 1);
}

#[tokio::test]
async fn a_confirmed_apply_is_followed_from_where_the_plan_ended() {
    let log = vec![(0, "the plan\n"), (2, "the apply\n")];
    let gantry = Gantry::start(Script { looks: applied(), log, ..Script::default() }).await;
    let said = gantry.says(&format!("gantry confirm {RUN} --yes")).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.out, "the apply\nnetwork#6 is applied: 1 added, 0 changed, 0 destroyed.\n");
    assert!(
        said.err.starts_with("network#6 at 4f1c2ab0 (main): 1 to add, 0 to change, 0 to destroy\n"),
        "{said:?}"
    );
    assert_eq!(gantry.posts(), ["POST /api/v1/runs/r-8c41d7/confirm"]);
}

#[tokio::test]
async fn what_is_said_about_a_decision_goes_with_it() {
    for (what, said) in
        [("confirm --no-wait --comment go", json!({ "comment": "go" })), ("discard", json!({}))]
    {
        let gantry = Gantry::with_run(&looks(&["unconfirmed"])).await;
        let told = gantry.says(&format!("gantry {what} network#6 --yes")).await;
        assert_eq!(told.code, 0, "{told:?}");
        gantry.change(|script| {
            let mut posts = script.seen.iter().filter(|(line, ..)| line.starts_with("POST "));
            assert_eq!(posts.next().unwrap().2, said);
        });
    }
}

#[tokio::test]
async fn a_plan_is_approved_or_rejected_without_being_asked_again() {
    for (what, decision, otherwise) in
        [("--approve --comment fine", "approve", "approved"), ("--reject", "reject", "rejected")]
    {
        let gantry = Gantry::with_run(&looks(&["unconfirmed"])).await;
        let mut answer = example("Command");
        answer["message"] = json!(null);
        gantry.change(|script| script.commands = vec![(200, answer)]);
        let told = gantry.says(&format!("gantry review network#6 {what}")).await;
        assert_eq!((told.code, told.out), (0, format!("network#6: {otherwise}\n")));
        assert_eq!(gantry.posts(), ["POST /api/v1/runs/r-8c41d7/review"]);
        gantry.change(|script| {
            let mut posts = script.seen.iter().filter(|(line, ..)| line.starts_with("POST "));
            let body = &posts.next().unwrap().2;
            assert_eq!(body["decision"], decision);
            assert_eq!(body["comment"].as_str(), what.contains("fine").then_some("fine"));
        });
    }
    // Why the API does not take it is said.
    let gantry = Gantry::with_run(&looks(&["unconfirmed"])).await;
    let detail = "A key is not a person: sign in with GitLab to review.";
    let refused = json!({ "status": 403, "title": "No", "detail": detail });
    gantry.change(|script| script.commands = vec![(403, refused)]);
    let said = gantry.says("gantry review network#6 --approve").await;
    assert!(said.code == 1 && said.err.contains(detail), "{said:?}");
}

#[tokio::test]
async fn an_admin_goes_past_the_rules_with_a_reason() {
    let approval = json!({
        "state": "needs_approvals", "message": "waits for 1 approval, by @ops\u{1b}[2J",
        "at": "2026-03-02T09:32:00Z",
    });
    let gantry = Gantry::with_run(&[json!({ "state": "unconfirmed", "approval": approval })]).await;
    let line = "gantry confirm network#6 --yes --no-wait --override-reason fire";
    let said = gantry.says(line).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.err.contains("  Approvals: waits for 1 approval, by @ops\\u001b[2J\n"),
        "{said:?}"
    );
    gantry.change(|script| {
        let mut posts = script.seen.iter().filter(|(line, ..)| line.starts_with("POST "));
        assert_eq!(posts.next().unwrap().2, json!({ "override_reason": "fire" }));
    });
}

#[tokio::test]
async fn a_person_is_asked_and_only_yes_is_yes() {
    for typed in ["", "n\n", "sure\n"] {
        let gantry = Gantry::with_run(&applied()).await;
        let said = gantry.says_to(typed, "gantry confirm network#6").await;
        assert!(
            said.code == 1 && said.err.contains("Apply the plan of network#6? [y/N]"),
            "{said:?}"
        );
        assert!(said.err.ends_with("Nothing was done.\n") && gantry.posts().is_empty(), "{said:?}");
    }
    let gantry = Gantry::with_run(&applied()).await;
    let said = gantry.says_to("Y\n", "gantry confirm network#6").await;
    assert!(said.code == 0 && gantry.posts().len() == 1, "{said:?}");
}

#[tokio::test]
async fn where_nobody_can_be_asked_it_has_to_be_said() {
    let gantry = Gantry::with_run(&applied()).await;
    for what in ["confirm", "discard", "stop"] {
        let said = gantry.says(&format!("gantry {what} network#6")).await;
        assert!(said.code == 2 && said.err.contains("--yes"), "{said:?}");
        // That there is such a run is looked at first.
        let said = gantry.says(&format!("gantry {what} network")).await;
        assert!(said.code == 1 && said.err.contains("network is a stack, not a run"), "{said:?}");
    }
    assert!(gantry.posts().is_empty(), "{:?}", gantry.posts());
}

#[tokio::test]
async fn a_plan_that_nobody_has_seen_is_not_confirmed() {
    let gantry = Gantry::with_run(&looks(&["planning"])).await;
    let said = gantry.says("gantry confirm network#6 --yes").await;
    assert_eq!(said.code, 1);
    assert_eq!(
        said.err,
        "gantry: Could not confirm network#6: it does not wait for confirmation (planning).\n"
    );
    assert!(gantry.posts().is_empty());
}

#[tokio::test]
async fn discarding_and_stopping_say_what_became_of_it() {
    for (what, message) in [("discard", "discarded"), ("stop", "it ends soon\u{1b}[2J")] {
        let gantry = Gantry::with_run(&looks(&["unconfirmed"])).await;
        let mut answer = example("Command");
        answer["message"] = message.into();
        gantry.change(|script| script.commands = vec![(200, answer)]);
        let said = gantry.says(&format!("gantry {what} network#6 -y")).await;
        let words = message.replace('\u{1b}', "\\u001b");
        assert_eq!((said.code, said.out), (0, format!("network#6: {words}\n")));
        assert_eq!(gantry.posts(), [format!("POST /api/v1/runs/r-8c41d7/{what}")]);
    }
}

#[tokio::test]
async fn a_stack_that_a_run_blocked_is_unblocked_by_who_has_looked() {
    let gantry =
        Gantry::with_run(&[json!({ "state": "failed", "summary": "Result unknown" })]).await;
    let said = gantry.says("gantry unblock network --reason looked").await;
    let why = "gantry: Could not unblock network: it is not blocked.\n";
    assert_eq!((said.code, said.err.as_str()), (1, why));
    gantry.change(|script| script.blocked_by = Some(RUN));
    let page = format!("{}/stacks/network", gantry.url);
    let said = gantry.says("gantry logs network#6 --follow").await;
    let end = format!(
        "network#6 failed: Result unknown. The stack is blocked until somebody has looked and \
         unblocks it (gantry unblock network): {page}\n"
    );
    assert!(said.code == 1 && said.err.ends_with(&end), "{said:?}");
    let said = gantry.says("gantry show network#6").await;
    assert!(said.out.contains(&format!("blocked until somebody has looked: {page}\n")), "{said:?}");

    let said = gantry.says("gantry unblock network").await;
    assert!(said.code == 2 && said.err.contains("--reason"), "{said:?}");
    let said = gantry.says_to("\n", "gantry unblock network").await;
    assert!(
        said.code == 1 && said.err.contains("the result is unknown. Check the run"),
        "{said:?}"
    );
    assert!(said.err.contains("What did you find? ") && gantry.posts().is_empty(), "{said:?}");
    for (typed, line) in
        [("it is right\n", "gantry unblock network"), ("", "gantry unblock network --reason x")]
    {
        let mut answer = example("Command");
        answer["message"] = "Unblocked".into();
        gantry.change(|script| script.commands = vec![(200, answer)]);
        let said = gantry.says_to(typed, line).await;
        assert_eq!((said.code, said.out.as_str()), (0, "network: Unblocked\n"), "{said:?}");
    }
    gantry.change(|script| {
        let posts = script.seen.iter().filter(|(line, ..)| line.starts_with("POST "));
        let posts: Vec<_> = posts.map(|(line, _, body)| (line.as_str(), body.clone())).collect();
        let line = "POST /api/v1/stacks/network/unblock";
        let sent = |reason: &str| (line, json!({ "reason": reason }));
        assert_eq!(posts, [sent("it is right"), sent("x")]);
    });
    // What is done with a run that blocked its stack before is another matter.
    gantry.change(|script| script.blocked_by = Some("r-1"));
    let said = gantry.says("gantry logs network#6 --follow").await;
    assert!(said.err.ends_with("Fix the cause, then run `gantry plan network`.\n"), "{said:?}");
}

#[tokio::test]
async fn what_the_key_may_not_do_is_said_in_the_apis_words() {
    let gantry = Gantry::with_run(&looks(&["unconfirmed"])).await;
    let (url, key) = (Some(gantry.url.clone()), Some(READER.to_owned()));
    let said =
        Terminal { url, key, ..Terminal::default() }.says("gantry discard network#6 -y").await;
    assert_eq!(said.code, 1);
    let why = "gantry: Could not discard network#6: The key \"reader\" has the role read, this needs \
               deploy.\n";
    assert!(said.err.ends_with(why), "{said:?}");
}
