//! Merge requests: one run a commit, one note, wants that come and go.

use gantry_fake_gitlab::MergeRequestSpec;
use gantry_scenarios::{Planned, StackOptions, World, story};

story!(a_push_and_its_merge_request_make_one_run_and_one_note, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let commit = w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    assert_eq!(w.run_lines("network").await, [format!("proposed finished {}", &commit[..8])]);
    w.expect_status(
        project,
        &commit,
        "gantry/network",
        "success: 1 to add, 0 to change, 0 to destroy",
    );
    w.expect_status(project, &commit, "gantry", "success");
    let note = w.note(project, iid);
    assert!(note.contains("value 0"), "the exact change is shown: {note}");
    w
});

story!(a_check_that_failed_is_in_the_statuses_of_a_preview_and_in_its_note, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.plans("network", Planned::FailsCheck);
    let commit = w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    w.expect_status(
        project,
        &commit,
        "gantry/network",
        "success: 1 to add, 0 to change, 0 to destroy, 1 check failed",
    );
    w.expect_status(project, &commit, "gantry", "success: 1 stack: +1 ~0 −0 · 1 check failed");
    let note = w.note(project, iid);
    assert!(note.contains("but check.health failed"), "{note}");
    w
});

story!(a_merge_request_that_is_opened_before_its_push_is_seen_makes_one_run, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.dev.push(project, "change", "infra/main.tf", "# one").unwrap();
    let iid = w.open(project, "change").await;
    assert_eq!(w.runs("network").await.len(), 1);
    w.note(project, iid);
    w
});

story!(
    a_merge_request_that_is_opened_during_a_retry_shows_its_end,
    with_webhooks,
    |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.plans("network", Planned::Fails("no such zone".to_owned()));
        w.push(project, "change", "infra/main.tf", "# one").await;
        let run = w.run_in("network", "failed").await;
        w.plans("network", Planned::Adds(2));
        w.hold("network");
        w.order(&format!("/runs/{run}/retry"), serde_json::json!({})).await;
        let iid = w.open(project, "change").await;
        w.run_in("network", "planning").await;
        w.release("network");
        w.settle().await;
        let note = w.note(project, iid);
        assert!(note.contains("2 to add"), "{note}");
        w
    }
);

story!(an_apply_is_said_in_the_notes_of_older_previews, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(
        project,
        "network",
        "infra",
        StackOptions { fields: serde_json::json!({ "replan": "none" }) },
    )
    .await;
    w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    assert!(!w.note(project, iid).contains("outdated by a later apply"));
    w.pass(std::time::Duration::from_secs(10)).await;
    w.push(project, "main", "infra/other.tf", "# two").await;
    let run = w.run_in("network", "unconfirmed").await;
    w.order(&format!("/runs/{run}/confirm"), serde_json::json!({})).await;
    assert!(w.note(project, iid).contains("outdated by a later apply"), "{}", w.note(project, iid));
    w
});

story!(an_apply_that_failed_is_said_in_the_notes_of_older_previews, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    w.pass(std::time::Duration::from_secs(10)).await;
    w.push(project, "main", "infra/other.tf", "# two").await;
    let run = w.run_in("network", "unconfirmed").await;
    assert!(!w.note(project, iid).contains("outdated"));
    w.plans("network", Planned::Fails("no quota left".to_owned()));
    w.order(&format!("/runs/{run}/confirm"), serde_json::json!({})).await;
    w.run_in("network", "failed").await;
    let note = w.note(project, iid);
    assert!(note.contains("possibly outdated by an incomplete apply"), "{note}");
    w
});

story!(a_new_push_supersedes_the_old_one, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.hold("network");
    let old = w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    w.expect_status(project, &old, "gantry/network", "running: Planning");
    let new = w.push(project, "change", "infra/main.tf", "# two").await;
    w.release("network");
    w.settle().await;
    w.expect_status(project, &new, "gantry/network", "success");
    w.expect_status(
        project,
        &old,
        "gantry/network",
        &format!("canceled: Superseded by {}", &new[..8]),
    );
    assert!(w.note(project, iid).contains(&new[..8]));
    w
});

// Where everything is found by comparing, so is the branch, which wants the run by itself then.
story!(closing_cancels_and_reopening_plans_again, with_webhooks, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.dev.push(project, "change", "infra/main.tf", "# one").unwrap();
    w.gitlab.drop_pending();
    w.hold("network");
    let iid = w.open(project, "change").await;
    w.dev.close(project, iid).unwrap();
    w.catch_up().await;
    w.release("network");
    let lines = w.run_lines("network").await;
    assert!(lines.iter().all(|l| l.contains("stopped") || l.contains("canceled")), "{lines:?}");
    w.dev.reopen(project, iid).unwrap();
    w.catch_up().await;
    let lines = w.run_lines("network").await;
    assert!(lines[0].contains("proposed finished"), "{lines:?}");
    w
});

story!(of_two_merge_requests_on_one_head_closing_one_leaves_the_other, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let commit = w.push(project, "one", "infra/main.tf", "# one").await;
    w.dev.set_branch(project, "two", &commit).unwrap();
    let first = w.open(project, "one").await;
    let second = w.open(project, "two").await;
    w.dev.close(project, first).unwrap();
    w.catch_up().await;
    assert_eq!(w.run_lines("network").await, [format!("proposed finished {}", &commit[..8])]);
    assert!(w.note(project, second).contains("value 0"));
    w.note(project, first);
    w
});

story!(a_title_edit_starts_nothing, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    let before = w.note(project, iid);
    w.dev.set_title(project, iid, "Another title").unwrap();
    w.catch_up().await;
    assert_eq!(w.runs("network").await.len(), 1);
    assert_eq!(w.note(project, iid), before);
    w
});

story!(a_fork_starts_nothing_unless_the_stack_lists_it, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let stranger = w.gitlab.person("stranger");
    w.gitlab.set_member(project, stranger.id(), 20);
    let fork = w.gitlab.fork(project, "stranger/network", stranger.id()).unwrap();
    stranger.push(fork, "evil", "infra/main.tf", "# evil").unwrap();
    let spec = MergeRequestSpec::from("evil").of(fork);
    stranger.open_merge_request(project, spec).unwrap();
    w.catch_up().await;
    assert!(w.runs("network").await.is_empty());
    w
});

story!(a_retarget_starts_a_run_only_where_none_exists, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.dev.set_branch(project, "stable", "main").unwrap();
    w.gitlab.drop_pending();
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let fields = serde_json::json!({ "branch": "stable" });
    w.stack(project, "stable", "infra", StackOptions { fields }).await;
    w.dev.push(project, "change", "infra/main.tf", "# one").unwrap();
    w.gitlab.drop_pending();
    let iid = w.open(project, "change").await;
    assert_eq!(w.runs("network").await.len(), 1);
    let before = w.runs("stable").await.len();
    w.dev.retarget(project, iid, "stable").unwrap();
    w.catch_up().await;
    assert_eq!(w.runs("stable").await.len(), 1, "there were {before}");
    assert!(w.note(project, iid).contains("stable"));
    w.dev.retarget(project, iid, "main").unwrap();
    w.catch_up().await;
    assert_eq!(w.runs("network").await.len(), 1);
    w
});

story!(after_the_merge_the_note_links_the_tracked_run, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    w.plans("network", Planned::Clean);
    w.dev.merge(project, iid).unwrap();
    w.catch_up().await;
    let run = w.run_in("network", "finished").await;
    assert!(w.note(project, iid).contains(&run), "{}", w.note(project, iid));
    w
});

async fn shows_an_allowed_fork(mut w: World, reaches: bool) -> World {
    let project = w.plain_project("acme/network");
    let friend = w.gitlab.person("friend");
    w.gitlab.set_member(project, friend.id(), 20);
    let fork = w.gitlab.fork(project, "friend/network", friend.id()).unwrap();
    // By its id: the path of a fork that the token does not reach is not known.
    let fields = serde_json::json!({ "allow_forks": [fork.0.to_string()] });
    w.stack(project, "network", "infra", StackOptions { fields }).await;
    if reaches {
        w.gitlab.set_member(fork, w.bot, 30);
    }
    let commit = friend.push(fork, "change", "infra/main.tf", "# one").unwrap();
    let spec = MergeRequestSpec::from("change").of(fork);
    let iid = friend.open_merge_request(project, spec).unwrap();
    w.catch_up().await;
    assert!(w.note(project, iid).contains("network"));
    assert!(w.gitlab.statuses(project, &commit).is_empty());
    if reaches {
        w.expect_status(fork, &commit, "gantry/network", "success: 1 to add");
        w.expect_status(fork, &commit, "gantry", "success");
        assert!(w.gitlab.mr(project, iid).unwrap().head_pipeline.is_some());
    } else {
        assert!(w.gitlab.statuses(fork, &commit).is_empty());
    }
    w
}

story!(an_allowed_fork_that_the_token_reaches_is_shown_there_too, |w| shows_an_allowed_fork(
    w, true
));
story!(an_allowed_fork_that_the_token_does_not_reach_is_shown_in_the_note, |w| {
    shows_an_allowed_fork(w, false)
});
