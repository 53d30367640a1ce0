//! What GitLab shows: pipelines, the gate, mergeability.

use gantry_fake_gitlab::{Ci, CiMode, Fault, Matcher, ProjectOptions, Visibility};
use gantry_scenarios::{Mode, StackOptions, World, run_test_in, story, with_files};
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

fn with_ci(mode: CiMode, delay: i64) -> ProjectOptions {
    ProjectOptions {
        ci: Ci {
            mode,
            delay: SignedDuration::from_secs(delay),
            duration: None,
            job: "build".to_owned(),
        },
        pipelines_must_succeed: true,
        ..with_files(&["infra/main.tf", "README.md", ".gitlab-ci.yml"])
    }
}

async fn lands_on_the_projects_own_pipeline(mut w: World, options: ProjectOptions) -> World {
    let project = w.project("acme/network", options);
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.dev.push(project, "change", "infra/main.tf", "# one").unwrap();
    let iid = w.open(project, "change").await;
    w.pass(Duration::from_secs(60)).await;
    w.gitlab.finish_all_ci(project, "success");
    w.pass(Duration::from_secs(60)).await;
    let merge_request = w.gitlab.mr(project, iid).unwrap();
    let pipelines = w.gitlab.pipelines(project);
    let head = pipelines.iter().find(|p| Some(p.id) == merge_request.head_pipeline).unwrap();
    let names: Vec<_> = head.jobs.iter().filter(|j| !j.retried).map(|j| j.name.as_str()).collect();
    for name in ["build", "gantry", "gantry/network"] {
        assert!(names.contains(&name), "{names:?}\n{}", w.history());
    }
    assert_eq!(head.status, "success");
    for pipeline in &pipelines {
        for job in pipeline.jobs.iter().filter(|j| j.external && !j.retried) {
            assert_eq!(job.status, "success", "{pipeline:#?}");
        }
    }
    w.dev.merge(project, iid).unwrap();
    w.catch_up().await;
    w
}

story!(statuses_land_on_a_branch_pipeline, |w| lands_on_the_projects_own_pipeline(
    w,
    with_ci(CiMode::Branch, 0)
));

story!(statuses_land_on_a_merge_request_pipeline_that_comes_late, |w| {
    lands_on_the_projects_own_pipeline(w, with_ci(CiMode::MergeRequest, 4))
});

story!(statuses_land_on_a_merged_results_pipeline, |w| lands_on_the_projects_own_pipeline(
    w,
    with_ci(CiMode::MergedResults, 2)
));

story!(statuses_land_on_a_late_pipeline_whose_file_lies_elsewhere, |w| async move {
    let elsewhere = ProjectOptions {
        ci_config_path: "ci/main.yml@acme/pipelines".to_owned(),
        files: with_files(&["infra/main.tf", "README.md"]).files,
        ..with_ci(CiMode::Branch, 4)
    };
    lands_on_the_projects_own_pipeline(w, elsewhere).await
});

story!(auto_merge_waits_for_both_stacks, |mut w| async move {
    let options = ProjectOptions {
        pipelines_must_succeed: true,
        ..with_files(&["fast/main.tf", "slow/main.tf"])
    };
    let project = w.project("acme/two", options);
    w.stack(project, "fast", "fast", StackOptions::default()).await;
    w.stack(project, "slow", "slow", StackOptions::default()).await;
    w.hold("slow");
    let files = [("fast/main.tf", Some("# one")), ("slow/main.tf", Some("# one"))];
    w.dev.push_files(project, "change", &files, "Change both").unwrap();
    let iid = w.open(project, "change").await;
    w.dev.auto_merge(project, iid).unwrap();
    w.catch_up().await;
    assert_eq!(w.gitlab.mr(project, iid).unwrap().state, "opened");
    w.release("slow");
    w.catch_up().await;
    w.settle().await;
    assert_eq!(w.gitlab.mr(project, iid).unwrap().state, "merged", "{}", w.history());
    w
});

story!(a_readme_only_merge_request_is_mergeable_where_pipelines_must_succeed, |mut w| async move {
    let options = ProjectOptions {
        pipelines_must_succeed: true,
        ..with_files(&["infra/main.tf", "README.md"])
    };
    let project = w.project("acme/network", options);
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let commit = w.dev.push(project, "docs", "README.md", "better").unwrap();
    let iid = w.open(project, "docs").await;
    w.expect_status(project, &commit, "gantry", "success: No stacks affected");
    w.dev.merge(project, iid).unwrap();
    w.catch_up().await;
    assert!(w.runs("network").await.is_empty());
    w
});

story!(what_a_replaced_user_began_is_finished_with_its_own_token, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.hold("network");
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    w.expect_status(project, &commit, "gantry/network", "pending");

    let next = w.gitlab.create_bot("next-bot");
    w.gitlab.set_member(project, next, 40);
    let token = w.gitlab.create_token(next, &["api"], None);
    let link = serde_json::json!({ "api_host": w.gitlab.base_url(), "token": token });
    let (status, answer) = w.api(reqwest::Method::PUT, "/integration", Some(link)).await;
    assert!(status.is_success(), "{answer}");
    assert!(answer.to_string().contains("finished with its old token"), "{answer}");

    w.plans("network", gantry_scenarios::Planned::Clean);
    w.release("network");
    w.settle().await;
    w.expect_status(project, &commit, "gantry/network", "success: No changes");
    let jobs = w.gitlab.statuses(project, &commit);
    let of_stack: Vec<_> = jobs.iter().filter(|job| job.name == "gantry/network").collect();
    assert_eq!(of_stack.len(), 1, "no second job: {of_stack:#?}");

    let later = w.push(project, "change", "infra/main.tf", "# two").await;
    w.open(project, "change").await;
    w.expect_status(project, &later, "gantry/network", "success");
    assert!(w.gitlab.statuses(project, &later).iter().all(|job| job.user == "next-bot"));
    w
});

story!(the_author_is_mentioned_once_when_what_was_merged_needs_somebody, |mut w| async move {
    let project = w.plain_project("acme/network");
    let options = StackOptions { fields: json!({"mention": true}) };
    w.stack(project, "network", "infra", options).await;
    w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    let mentions = |w: &World| {
        let notes = w.gitlab.notes(project, iid).into_iter().map(|note| note.body);
        notes.filter(|body| body.contains("gantry-mention")).collect::<Vec<_>>()
    };
    assert_eq!(mentions(&w), [""; 0], "nobody has to act yet");
    w.dev.merge(project, iid).unwrap();
    w.pass(Duration::from_secs(60)).await;
    let told = mentions(&w);
    assert_eq!(told.len(), 1, "{told:?}");
    let author = w.gitlab.mr(project, iid).unwrap();
    assert!(told[0].contains("needs confirmation"), "{author:?} {told:?}");
    assert!(told[0].contains("\n@dev your merge needs attention:"), "{told:?}");
    let run = w.run_in("network", "unconfirmed").await;
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
    w.pass(Duration::from_secs(60)).await;
    assert_eq!(mentions(&w), told, "it is said once");
    w
});

/// Everybody can read a public project, and so whatever a link in it opens.
#[tokio::test]
async fn links_in_a_public_project_carry_no_key() {
    run_test_in(&[Mode::default()], |mut w| async move {
        let mut options = with_files(&["infra/main.tf"]);
        options.visibility = Visibility::Public;
        let public = w.project("acme/open", options);
        let private = w.plain_project("acme/network");
        for (project, slug) in [(public, "open"), (private, "network")] {
            w.stack(project, slug, "infra", StackOptions::default()).await;
            let commit = w.push(project, "change", "infra/main.tf", "# one").await;
            let iid = w.open(project, "change").await;
            w.expect_status(project, &commit, &format!("gantry/{slug}"), "success");
            let notes = w.gitlab.notes(project, iid);
            let statuses = w.gitlab.statuses(project, &commit);
            let links: Vec<&str> =
                statuses.iter().filter_map(|s| s.target_url.as_deref()).collect();
            assert!(links.iter().any(|link| link.contains("/runs/")), "{links:?}");
            let has_key = |text: &str| text.contains("?key=");
            let of_runs = links.iter().filter(|link| link.contains("/runs/"));
            assert!(of_runs.clone().all(|link| has_key(link) == (project == private)), "{links:?}");
            assert_eq!(notes.iter().any(|note| has_key(&note.body)), project == private);
        }
        w
    })
    .await;
}

story!(an_end_whose_answer_was_lost_is_not_posted_again, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.hold("network");
    let commit = w.push(project, "change", "infra/main.tf", "# one").await;
    w.open(project, "change").await;
    w.expect_status(project, &commit, "gantry/network", "running");
    w.gitlab.fail_next(Matcher::new("POST", "/statuses/"), Fault::ApplyThenDrop);
    w.release("network");
    w.pass(Duration::from_secs(60)).await;
    w.expect_status(project, &commit, "gantry/network", "success: 1 to add");
    w.expect_status(project, &commit, "gantry", "success");
    for name in ["gantry", "gantry/network"] {
        let all = w.gitlab.statuses(project, &commit);
        let of_name = all.iter().filter(|status| status.name == name).count();
        assert_eq!(of_name, 1, "{name}\n{}", w.history());
    }
    w
});

story!(the_gate_waits_for_every_affected_stack_as_long_as_it_takes, |mut w| async move {
    let project = w.plain_project("acme/network");
    for name in ["network", "cluster"] {
        w.stack(project, name, "infra", StackOptions::default()).await;
    }
    w.lose_triggers("cluster").await;
    let commit = w.push(project, "wider", "infra/main.tf", "# one").await;
    w.open(project, "wider").await;
    w.expect_status(project, &commit, "gantry/network", "success");
    for minutes in [5, 60, 600] {
        w.pass(Duration::from_secs(minutes * 60)).await;
        w.expect_status(project, &commit, "gantry", "pending");
    }
    w.find_triggers().await;
    w.expect_status(project, &commit, "gantry/cluster", "success");
    w.expect_status(project, &commit, "gantry", "success");

    // A stack that is gone makes no run any more.
    w.lose_triggers("cluster").await;
    let commit = w.push(project, "wider", "infra/main.tf", "# two").await;
    w.pass(Duration::from_secs(5 * 60)).await;
    w.expect_status(project, &commit, "gantry", "pending");
    let (status, said) = w.api(Method::DELETE, "/stacks/cluster", None).await;
    assert!(status.is_success(), "{said}");
    w.pass(Duration::from_secs(30 * 60)).await;
    w.expect_status(project, &commit, "gantry", "success");
    w
});

/// What GitLab is asked and told for a preview that takes less than two seconds, from the push to the
/// finished comment: nothing twice, and nothing that is another thing a moment later.
#[tokio::test]
async fn a_short_preview_takes_few_calls() {
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        // What is read of a project is believed for hours.
        w.push(project, "before", "infra/main.tf", "# before").await;
        w.gitlab.take_requests();
        let commit = w.dev.push(project, "change", "infra/main.tf", "# one").unwrap();
        let iid = w.open(project, "change").await;
        w.expect_status(project, &commit, "gantry", "success");
        w.expect_status(project, &commit, "gantry/network", "success");
        assert!(w.note(project, iid).contains("network"));
        let calls: Vec<_> = w.gitlab.take_requests();
        let calls: Vec<_> = calls.iter().map(|c| format!("{} {}", c.method, c.path)).collect();
        // A process that ends does some of it again.
        assert!(calls.len() <= 12 || w.ended() > 0, "{} calls: {calls:#?}", calls.len());
        w
    })
    .await;
}

/// The gate says at once that something goes on; what else is a moment later another thing waits.
#[tokio::test]
async fn what_goes_on_is_told_once_it_lasts() {
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.hold("network");
        let commit = w.dev.push(project, "change", "infra/main.tf", "# one").unwrap();
        let iid = w.open(project, "change").await;
        w.expect_status(project, &commit, "gantry/network", "running: Planning");
        assert!(w.note(project, iid).contains("network"));
        w.plans("network", gantry_scenarios::Planned::Clean);
        w.release("network");
        w.settle().await;
        w.expect_status(project, &commit, "gantry", "success");
        let told = |name: &str| {
            w.gitlab.statuses(project, &commit).iter().filter(|s| s.name == name).count()
        };
        assert_eq!((told("gantry"), told("gantry/network")), (1, 1), "no second job");
        w
    })
    .await;
}
