//! Many stacks, few slots.

use gantry_fake_gitlab::ProjectId;
use gantry_scenarios::{Mode, StackOptions, World, run_test_in, with_files};

/// Each takes a minute: as it is, and with everything made harder at once.
const MODES: [Mode; 2] =
    [Mode::PLAIN, Mode { twice_and_shuffled: Some(1), stale_index: true, ..Mode::PLAIN }];

#[tokio::test]
async fn many_stacks_touched_by_one_push_share_the_room() {
    run_test_in(&MODES, |mut w| async move {
        // More than are shown one by one.
        const STACKS: usize = 60;
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

/// Each run ends on its own, and the note is edited now and then.
#[tokio::test]
async fn a_merge_request_of_many_stacks_has_one_note_that_few_edits_complete() {
    const STACKS: usize = 55;
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let roots: Vec<String> = (0..STACKS).map(|i| format!("live/app-{i:02}")).collect();
        let (project, files) = roots_with_files(&mut w, &roots).await;
        w.gitlab.take_requests();
        push_new(&w, project, "change", &files);
        let iid = w.open(project, "change").await;
        let note = w.note(project, iid);
        assert!(note.contains(&format!("### Gantry: {STACKS} stacks: ")), "{note}");
        let calls = w.gitlab.take_requests();
        let writes = calls.iter().filter(|call| call.method != "GET");
        let notes = writes.filter(|call| call.path.contains("/notes")).count();
        // A process that ends may write what is there.
        assert!(notes <= 30 + w.ended(), "{notes} notes and edits");
        w
    })
    .await;
}

/// GitLab lists no more than 3,000 of them. Of the roots that are not among these the trees of both
/// sides are read, each root's own.
#[tokio::test]
async fn a_push_of_5000_files_in_1000_roots_is_decided_however_often_it_is_stopped() {
    const ROOTS: usize = 1000;
    const UNLISTED: usize = ROOTS - 3000 / 5;
    const CALLS: usize = 100;
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let roots: Vec<String> = (0..=ROOTS).map(|i| format!("apps/app-{i:04}/live")).collect();
        let (project, files) = roots_with_files(&mut w, &roots).await;
        // What becomes of a run is told elsewhere.
        w.lose_all_triggers();
        // All but the last root.
        push_new(&w, project, "main", &files[..ROOTS * 5]);
        w.processes_end_after_calls(CALLS, 100);
        w.settle().await;
        assert!((2 * UNLISTED / CALLS..40).contains(&w.ended()), "{} processes", w.ended());
        assert_eq!(w.lost_for().len(), ROOTS, "stacks to run");
        w
    })
    .await;
}

/// A folder is listed once for all roots in it, and GitLab has listed no change at all.
#[tokio::test]
async fn a_push_of_5000_files_in_1000_roots_of_10_folders_takes_few_calls() {
    const ROOTS: usize = 1000;
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let root = |i: usize| format!("live/team-{}/app-{i:04}", i % 10);
        let roots: Vec<String> = (0..=ROOTS).map(root).collect();
        let (project, files) = roots_with_files(&mut w, &roots).await;
        w.lose_all_triggers();
        w.gitlab.set_compare_timeout(true);
        w.gitlab.take_requests();
        push_new(&w, project, "main", &files[..ROOTS * 5]);
        w.settle().await;
        let calls = w.gitlab.take_requests();
        let calls: Vec<_> = calls.iter().map(|c| format!("{} {}", c.method, c.path)).collect();
        // A process that ends does some of it again.
        assert!(calls.len() <= 40 || w.ended() > 0, "{} calls: {calls:#?}", calls.len());
        assert_eq!(w.lost_for().len(), ROOTS, "stacks to run");
        w
    })
    .await;
}

/// A project with five files in each of these roots, and a stack of each.
async fn roots_with_files(w: &mut World, roots: &[String]) -> (ProjectId, Vec<String>) {
    let of = |root: &String| (0..5).map(|i| format!("{root}/{i}.tf")).collect::<Vec<_>>();
    let files: Vec<String> = roots.iter().flat_map(of).collect();
    let paths: Vec<&str> = files.iter().map(String::as_str).collect();
    let project = w.project("acme/many", with_files(&paths));
    w.stack(project, "first", &roots[0], StackOptions::default()).await;
    w.stacks_like("first", &roots[1..]).await;
    (project, files)
}

fn push_new(w: &World, project: ProjectId, branch: &str, files: &[String]) {
    let changed: Vec<_> = files.iter().map(|file| (file.as_str(), Some("# new"))).collect();
    w.dev.push_files(project, branch, &changed, "Change all").unwrap();
}
