//! Many stacks, little room.

use gantry_scenarios::{Mode, StackOptions, run_test_in};

/// Each takes a minute: as it is, and with everything made harder at once.
const MODES: [Mode; 2] =
    [Mode::PLAIN, Mode { twice_and_shuffled: Some(1), stale_index: true, ..Mode::PLAIN }];

#[tokio::test]
async fn many_stacks_touched_by_one_push_share_the_room() {
    run_test_in(&MODES, |mut w| async move {
        const STACKS: usize = 200;
        let project = w.plain_project("acme/many");
        for i in 0..STACKS {
            w.stack(project, &format!("stack-{i:03}"), "infra", StackOptions::default()).await;
        }
        let commit = w.push(project, "change", "infra/main.tf", "# one").await;
        for i in 0..STACKS {
            assert_eq!(w.runs(&format!("stack-{i:03}")).await.len(), 1);
        }
        assert!(w.most_runners_at_once() <= 4, "{}", w.most_runners_at_once());
        assert_eq!(w.executed().len(), STACKS);
        // Above 50 stacks on a commit only the gate is shown.
        w.expect_status(project, &commit, "gantry", "success");
        assert!(w.status(project, &commit, "gantry/stack-000").is_none());
        w
    })
    .await;
}
