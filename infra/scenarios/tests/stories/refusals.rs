//! GitLab refuses for a while what it allows otherwise: what was begun there is finished.

use gantry_fake_gitlab::{Fault, Matcher, ProjectId};
use gantry_scenarios::{Mode, Planned, StackOptions, World, run_test_in};
use serde_json::json;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const A_LOOK: Duration = Duration::from_secs(30);

/// What GitLab, or something before it, says where it lets nobody write.
fn refusals() -> Vec<Vec<(Matcher, Fault)>> {
    let writes = |fault: Fault| {
        ["POST", "PUT"].map(|method| (Matcher::new(method, "/api/v4"), fault.clone())).to_vec()
    };
    vec![
        writes(Fault::saying(403, "403 Forbidden")),
        writes(Fault::saying(404, "404 Project Not Found")),
        writes(Fault::saying(404, "404 Not Found")),
        vec![(Matcher::any(), Fault::saying(404, "404 Project Not Found"))],
        vec![(Matcher::any(), Fault::saying(404, "404 Not Found"))],
        vec![(Matcher::any(), Fault::saying(403, "403 Forbidden"))],
    ]
}

fn refuse(w: &World, how: &[(Matcher, Fault)]) {
    for (matcher, fault) in how {
        w.gitlab.fail_always(matcher.clone(), fault.clone());
    }
}

/// A stack with an open merge request that has been planned, and the commit of it.
async fn planned(w: &mut World) -> (ProjectId, String) {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.hold("network");
    let commit = w.push(project, "change", "infra/main.tf", "# one").await;
    w.open(project, "change").await;
    w.expect_status(project, &commit, "gantry/network", "running");
    (project, commit)
}

#[tokio::test]
async fn statuses_end_as_soon_as_gitlab_takes_them_again() {
    for how in refusals() {
        run_test_in(&[Mode::PLAIN], |mut w| {
            let how = how.clone();
            async move {
                let (project, commit) = planned(&mut w).await;
                refuse(&w, &how);
                w.release("network");
                w.endure(Duration::from_secs(90), A_LOOK).await;
                w.expect_status(project, &commit, "gantry/network", "running");
                w.gitlab.clear_faults();
                w.pass(3 * MINUTE).await;
                w.expect_status(project, &commit, "gantry/network", "success: 1 to add");
                w.expect_status(project, &commit, "gantry", "success");
                assert!(refused(&mut w).await.is_empty(), "nothing is refused any more");
                w
            }
        })
        .await;
    }
}

/// The commit's statuses that have no end.
fn begun(w: &World, project: ProjectId, commit: &str) -> Vec<String> {
    let mut statuses = w.gitlab.statuses(project, commit);
    statuses.retain(|s| !s.retried && ["pending", "running"].contains(&&*s.status));
    statuses.into_iter().map(|status| status.name).collect()
}

/// GitLab's words on the page of the newest run.
async fn refused(w: &mut World) -> Vec<String> {
    let run = w.runs("network").await.remove(0);
    let id = run["id"].as_str().unwrap().to_owned();
    let (status, run) = w.api(reqwest::Method::GET, &format!("/runs/{id}"), None).await;
    assert!(status.is_success(), "{run}");
    serde_json::from_value(run["refused_by_gitlab"].clone()).unwrap_or_default()
}

#[tokio::test]
async fn a_deployment_ends_as_soon_as_gitlab_takes_it_again() {
    for how in refusals() {
        run_test_in(&[Mode::PLAIN], |mut w| {
            let how = how.clone();
            async move {
                let project = w.plain_project("acme/network");
                w.stack(project, "network", "infra", StackOptions::default()).await;
                let commit = w.push(project, "main", "infra/main.tf", "# one").await;
                let run = w.run_in("network", "unconfirmed").await;
                w.order(&format!("/runs/{run}/confirm"), json!({})).await;
                let later = w.push(project, "main", "infra/main.tf", "# two").await;
                let run = w.run_in("network", "unconfirmed").await;
                w.hold("network");
                w.order(&format!("/runs/{run}/confirm"), json!({})).await;
                refuse(&w, &how);
                w.release("network");
                w.endure(Duration::from_secs(90), A_LOOK).await;
                let deployments = w.gitlab.deployments(project);
                let ends: Vec<_> = deployments.iter().map(|d| (&*d.sha, &*d.status)).collect();
                assert_ne!(ends[1], (&*later, "success"), "it was to be refused");
                w.gitlab.clear_faults();
                // What was refused for so long is asked again as long after.
                w.pass(4 * MINUTE).await;
                let deployments = w.gitlab.deployments(project);
                let ends: Vec<_> = deployments.iter().map(|d| (&*d.sha, &*d.status)).collect();
                let expected = [(&*commit, "success"), (&*later, "success")];
                assert_eq!(ends, expected, "{}", w.history());
                for commit in [&commit, &later] {
                    assert_eq!(begun(&w, project, commit), [""; 0], "{}", w.history());
                    w.expect_status(project, commit, "gantry/network", "success");
                    w.expect_status(project, commit, "gantry", "success");
                }
                assert!(refused(&mut w).await.is_empty(), "nothing is refused any more");
                w
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_push_that_gitlab_would_not_explain_is_decided_later() {
    for how in refusals() {
        run_test_in(&[Mode::PLAIN], |mut w| {
            let how = how.clone();
            async move {
                let project = w.plain_project("acme/network");
                w.stack(project, "network", "infra", StackOptions::default()).await;
                w.plans("network", Planned::Clean);
                let old = w.push(project, "change", "infra/main.tf", "# one").await;
                let iid = w.open(project, "change").await;
                refuse(&w, &how);
                let new = w.dev.push(project, "change", "infra/main.tf", "# two").unwrap();
                let tracked = w.dev.push(project, "main", "infra/main.tf", "# three").unwrap();
                w.endure(Duration::from_secs(90), A_LOOK).await;
                w.gitlab.clear_faults();
                w.pass(12 * MINUTE).await;
                let mut lines = w.run_lines("network").await;
                lines.sort();
                let mut expected = [
                    format!("proposed finished {}", &old[..8]),
                    format!("proposed finished {}", &new[..8]),
                    format!("tracked finished {}", &tracked[..8]),
                ];
                expected.sort();
                assert_eq!(lines, expected, "{}", w.history());
                assert!(w.note(project, iid).contains(&new[..8]));
                w
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_was_refused_for_long_is_written_after_a_save_and_after_a_comparison() {
    for saves in [true, false] {
        run_test_in(&[Mode::PLAIN], |mut w| async move {
            let (project, commit) = planned(&mut w).await;
            refuse(&w, &refusals()[0]);
            w.release("network");
            w.endure(MINUTE, A_LOOK).await;
            w.endure(130 * MINUTE, 5 * MINUTE).await;
            let asked = statuses_asked(&w);
            w.endure(20 * MINUTE, 2 * MINUTE).await;
            let more = statuses_asked(&w) - asked;
            assert!(more <= 8, "{more} more tries of what is refused for two hours");
            w.gitlab.clear_faults();
            if saves {
                w.link().await;
                w.sweep().await;
            } else {
                w.pass(11 * MINUTE).await;
            }
            if !w.is_on_time() {
                // A process that ended over it had spent the budget of calls, or had begun a
                // comparison, which is begun again after two minutes.
                w.pass(4 * MINUTE).await;
            }
            w.expect_status(project, &commit, "gantry/network", "success: 1 to add");
            w.expect_status(project, &commit, "gantry", "success");
            w
        })
        .await;
    }
}

fn statuses_asked(w: &World) -> usize {
    let asked = w.gitlab.requests();
    asked.iter().filter(|r| r.method == "POST" && r.path.contains("/statuses/")).count()
}
