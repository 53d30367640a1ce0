//! Comparing with GitLab: what it finds, and how much it asks.

use gantry_fake_gitlab::ProjectId;
use gantry_scenarios::{Mode, StackOptions, World, run_test_in, story};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

story!(a_branch_without_a_merge_request_is_found_though_its_webhook_was_lost, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.dev.push(project, "old", "infra/main.tf", "# before there was a stack").unwrap();
    w.gitlab.drop_pending();
    w.pass(10 * MINUTE).await;
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.pass(11 * MINUTE).await;
    assert!(w.runs("network").await.is_empty(), "what was there before starts nothing");

    // The host is down.
    let one = w.dev.push(project, "change", "infra/main.tf", "# one").unwrap();
    w.dev.push(project, "docs", "README.md", "better").unwrap();
    w.gitlab.drop_pending();
    w.pass(11 * MINUTE).await;
    let planned = |commit: &str| format!("proposed finished {}", &commit[..8]);
    assert_eq!(w.run_lines("network").await, [planned(&one)], "{}", w.history());
    w.expect_status(project, &one, "gantry/network", "success");

    let two = w.dev.push(project, "change", "infra/main.tf", "# two").unwrap();
    let three = w.dev.push(project, "old", "infra/main.tf", "# three").unwrap();
    w.gitlab.drop_pending();
    w.pass(11 * MINUTE).await;
    let mut lines = w.run_lines("network").await;
    lines.sort();
    let mut expected = [planned(&one), planned(&two), planned(&three)];
    expected.sort();
    assert_eq!(lines, expected, "{}", w.history());
    w
});

/// GitLab lists branches by the time of their commits, a hundred a page.
#[tokio::test]
async fn a_branch_that_is_not_among_the_newest_is_missed_when_it_goes_or_goes_back() {
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let project = w.plain_project("acme/network");
        let old = w.gitlab.head(project, "main").unwrap();
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.hold("network");
        let mut commits = Vec::new();
        for branch in ["away", "back", "stays"] {
            commits.push(w.push(project, branch, "infra/main.tf", &format!("# {branch}")).await);
        }
        w.pass(MINUTE).await;
        let newest = w.push(project, "docs", "README.md", "better").await;
        for number in 0..100 {
            w.dev.set_branch(project, &format!("docs-{number}"), &newest).unwrap();
        }
        w.gitlab.drop_pending();
        w.pass(11 * MINUTE).await;

        w.dev.delete_branch(project, "away").unwrap();
        w.dev.set_branch(project, "back", &old).unwrap();
        w.gitlab.drop_pending();
        w.pass(11 * MINUTE).await;
        w.release("network");
        w.settle().await;
        let mut lines = w.run_lines("network").await;
        lines.sort();
        let line = |state: &str, commit: &str| format!("proposed {state} {}", &commit[..8]);
        let mut expected = [
            line("stopped", &commits[0]),
            line("stopped", &commits[1]),
            line("finished", &commits[2]),
        ];
        expected.sort();
        assert_eq!(lines, expected, "{}", w.history());
        w
    })
    .await;
}

fn compared(w: &World, project: ProjectId) -> bool {
    let hooks = format!("/projects/{}/hooks", project.0);
    w.gitlab.requests().iter().any(|request| request.path == hooks)
}

#[tokio::test]
async fn comparing_keeps_to_its_budget_and_still_comes_to_everybody() {
    let alone = [Mode { no_webhooks: true, ..Mode::PLAIN }];
    run_test_in(&alone, |mut w| async move {
        let mut projects = Vec::new();
        for number in 0..30 {
            let project = w.plain_project(&format!("acme/network-{number}"));
            w.stack(project, &format!("network-{number}"), "infra", StackOptions::default()).await;
            projects.push(project);
        }
        w.pass(5 * MINUTE).await;
        for _ in 0..3 {
            w.gitlab.take_requests();
            let begun = w.now();
            w.pass(2 * MINUTE).await;
            // It takes longer where a process ends.
            let seconds = usize::try_from(w.now().duration_since(begun).as_secs()).unwrap();
            let calls = w.gitlab.requests().len();
            assert!(calls <= seconds + 8, "{calls} calls in {seconds} seconds");
            assert!(calls > 60, "the budget is used: {calls}");
        }
        w.gitlab.take_requests();
        w.pass(5 * MINUTE).await;
        assert!(projects.iter().all(|project| compared(&w, *project)), "each had its turn");

        // What changed lately comes first.
        let project = projects[29];
        w.dev.push(project, "main", "infra/main.tf", "# one").unwrap();
        w.pass(5 * MINUTE).await;
        assert_eq!(w.runs("network-29").await.len(), 1);
        let two = w.dev.push(project, "main", "infra/main.tf", "# two").unwrap();
        w.pass(MINUTE).await;
        let newest = w.runs("network-29").await.remove(0);
        assert_eq!(newest["commit"], two.as_str());
        w
    })
    .await;
}

#[tokio::test]
async fn what_no_webhook_told_is_found_soon_after_a_save_though_nothing_was_ever_compared() {
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        let told = w.push(project, "change", "infra/main.tf", "# one").await;
        w.gitlab.take_requests();
        w.pass(MINUTE).await;
        assert!(!compared(&w, project), "webhooks come: it is compared every ten minutes");

        let lost = w.dev.push(project, "other", "infra/main.tf", "# two").unwrap();
        w.gitlab.drop_pending();
        w.link().await;
        w.pass(MINUTE / 6).await;
        if w.ended() > 0 {
            // A comparison that nobody was told to begin is begun a while later.
            w.pass(3 * MINUTE).await;
        }
        let planned = |commit: &str| format!("proposed finished {}", &commit[..8]);
        let mut lines = w.run_lines("network").await;
        lines.sort();
        let mut expected = [planned(&told), planned(&lost)];
        expected.sort();
        assert_eq!(lines, expected, "{}", w.history());
        w
    })
    .await;
}
