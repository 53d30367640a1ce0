//! Branches that are not tracked, and tags.

use gantry_scenarios::{Mode, StackOptions, World, run_test_in, story, with_files};
use serde_json::json;
use std::time::Duration;

story!(a_branch_forced_away_and_back_is_planned_again, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.hold("network");
    let one = w.push(project, "change", "infra/main.tf", "# one").await;
    w.dev.set_branch(project, "change", "main").unwrap();
    w.catch_up().await;
    w.expect_status(project, &one, "gantry/network", "canceled");
    w.release("network");
    w.dev.set_branch(project, "change", &one).unwrap();
    w.catch_up().await;
    let lines = w.run_lines("network").await;
    assert_eq!(lines[0], format!("proposed finished {}", &one[..8]), "{lines:?}");
    w.expect_status(project, &one, "gantry/network", "success");
    w
});

story!(a_deleted_branch_cancels_its_run, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.hold("network");
    let one = w.push(project, "change", "infra/main.tf", "# one").await;
    w.dev.delete_branch(project, "change").unwrap();
    w.catch_up().await;
    let lines = w.run_lines("network").await;
    assert_eq!(lines, [format!("proposed stopped {}", &one[..8])]);
    w.release("network");
    w
});

story!(a_tag_starts_what_the_stack_says, |mut w| async move {
    let project = w.plain_project("acme/network");
    let fields = json!({ "on_tag": { "pattern": "v*", "run": "tracked" }, "on_push": "proposed" });
    w.stack(project, "network", "infra", StackOptions { fields }).await;
    if w.is_without_webhooks() {
        // The tags that are there before are learnt by the first comparison.
        w.catch_up().await;
    }
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    assert_eq!(w.run_lines("network").await, [format!("proposed finished {}", &commit[..8])]);
    w.dev.tag(project, "other", &commit, None).unwrap();
    w.dev.tag(project, "v1", &commit, Some("the first")).unwrap();
    w.catch_up().await;
    let lines = w.run_lines("network").await;
    assert_eq!(lines[0], format!("tracked unconfirmed {}", &commit[..8]), "{lines:?}");
    assert_eq!(lines.len(), 2, "{lines:?}");
    w
});

/// Only the newest hundred tags are looked at again and again: what was older may slide into them.
#[tokio::test]
async fn tags_that_were_there_before_start_nothing_when_newer_ones_go() {
    // So many tags take long: as it is, and where only comparing finds what has changed.
    run_test_in(&[Mode::PLAIN, Mode::NO_WEBHOOKS], |mut w| async move {
        let project = w.plain_project("acme/network");
        for i in 0..300 {
            // Some have a date of their own, others the commit's.
            let message = (i % 3 == 0).then_some("a release");
            w.dev.tag(project, &format!("v{i:03}"), "main", message).unwrap();
        }
        w.pass(Duration::from_secs(60)).await;
        let fields = json!({ "on_tag": { "pattern": "v*", "run": "tracked" } });
        w.stack(project, "network", "infra", StackOptions { fields }).await;
        w.pass(Duration::from_secs(60)).await;
        for i in 280..300 {
            w.dev.delete_tag(project, &format!("v{i:03}")).unwrap();
        }
        w.pass(Duration::from_secs(30 * 60)).await;
        assert!(w.runs("network").await.is_empty(), "{:?}", w.run_lines("network").await);

        // One that is made now starts what the stack says.
        let commit = w.push(project, "main", "README.md", "# for a tag").await;
        w.dev.tag(project, "v300", &commit, None).unwrap();
        w.pass(Duration::from_secs(20 * 60)).await;
        assert_eq!(w.run_lines("network").await, [format!("tracked unconfirmed {}", &commit[..8])]);
        w
    })
    .await;
}

// Where no webhook tells, a tag on a commit from before may be from before too.
story!(a_tag_on_an_old_commit_runs_where_a_webhook_tells_that_it_is_new, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.pass(Duration::from_secs(60)).await;
    let fields = json!({ "on_tag": { "pattern": "v*", "run": "tracked" } });
    w.stack(project, "network", "infra", StackOptions { fields }).await;
    w.catch_up().await;
    w.dev.tag(project, "v1", "main", None).unwrap();
    w.pass(Duration::from_secs(20 * 60)).await;
    assert_eq!(w.runs("network").await.len(), usize::from(!w.is_without_webhooks()));
    w
});

/// GitLab lists no changes beyond its limits: the trees of both sides say what changed.
#[tokio::test]
async fn what_gitlab_does_not_list_is_told_by_the_trees() {
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let files: Vec<String> = (0..250).map(|i| format!("live/s{i:03}/main.tf")).collect();
        let mut files: Vec<&str> = files.iter().map(String::as_str).collect();
        files.extend(["other/deep/er/main.tf", "README.md"]);
        let project = w.project("acme/many", with_files(&files));
        let roots = ["live/s000", "live/s249", "other/deep/er", "gone/away"];
        for root in roots {
            let name = root.replace('/', "-");
            w.stack(project, &name, root, StackOptions::default()).await;
        }
        w.gitlab.set_compare_timeout(true);
        w.gitlab.take_requests();
        let before = w.gitlab.head(project, "main").unwrap();
        let changed = [("live/s249/main.tf", Some("# new")), ("live/s100/main.tf", Some("# new"))];
        w.dev.push_files(project, "main", &changed, "Change two").unwrap();
        w.catch_up().await;
        let runs = async |w: &mut World| {
            let mut counts = Vec::new();
            for root in roots {
                counts.push(w.runs(&root.replace('/', "-")).await.len());
            }
            counts
        };
        assert_eq!(runs(&mut w).await, [0, 1, 0, 1], "what cannot be told counts as affected");
        let reads = w.gitlab.take_requests();
        let lists = reads.iter().filter(|read| read.path.ends_with("/repository/tree"));
        // The top, and three pages of the one folder that differs, on both sides. A process that ends
        // leaves some to be asked again.
        let (lists, all) = (lists.count(), 2 + 2 * 3);
        assert!(if w.ended() == 0 { lists == all } else { lists >= all }, "{lists} lists");

        // The commit that was decided last is gone: a restored backup, a rewritten history.
        let decided = w.gitlab.head(project, "main").unwrap();
        w.dev.set_branch(project, "main", &before).unwrap();
        w.dev.push_files(project, "main", &[("README.md", Some("# new"))], "Change one").unwrap();
        w.gitlab.forget_commit(project, &decided);
        w.catch_up().await;
        assert_eq!(runs(&mut w).await, [1, 2, 1, 2], "{}", w.history());
        w
    })
    .await;
}

// A branch without a merge request, its merge request and the push of its merge: each of them plans
// what the change touches, and nothing else.
story!(
    a_cut_list_of_changes_plans_the_same_for_a_branch_its_merge_request_and_its_merge,
    |mut w| async move {
        let files: Vec<String> = (0..1001).map(|i| format!("docs/page{i:04}.md")).collect();
        let mut before: Vec<&str> = files.iter().map(String::as_str).collect();
        before.extend(["infra/main.tf", "other/main.tf"]);
        let project = w.project("acme/network", with_files(&before));
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.stack(project, "other", "other", StackOptions::default()).await;
        // What the target has of its own since the branch left it is no change of the branch.
        w.dev.set_branch(project, "change", "main").unwrap();
        w.push(project, "main", "other/main.tf", "# meanwhile").await;
        assert_eq!(w.runs("other").await.len(), 1);

        let mut changed: Vec<(&str, Option<&str>)> =
            files.iter().map(|path| (path.as_str(), Some("# new"))).collect();
        changed.push(("infra/main.tf", Some("# new")));
        w.dev.push_files(project, "change", &changed, "Change many").unwrap();
        w.catch_up().await;
        let branch = (w.runs("network").await.len(), w.runs("other").await.len());
        assert_eq!(branch, (1, 1), "the branch: {}", w.history());
        let iid = w.open(project, "change").await;
        let open = (w.runs("network").await.len(), w.runs("other").await.len());
        assert_eq!(open, (1, 1), "the merge request: {}", w.history());
        w.dev.merge(project, iid).unwrap();
        w.catch_up().await;
        let merged = (w.runs("network").await.len(), w.runs("other").await.len());
        assert_eq!(merged, (2, 1), "the merge: {}", w.history());
        w
    }
);
