//! A webhook is a hint, never a fact.

use gantry_fake_gitlab::{Fault, Matcher, MergeRequestSpec};
use gantry_scenarios::{Mode, StackOptions, World, run_test_in, story};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// What was received and found, newest first.
async fn events(w: &mut World) -> Vec<Value> {
    let (status, answer) = w.api(Method::GET, "/events", None).await;
    assert!(status.is_success(), "{answer}");
    answer["events"].as_array().unwrap().clone()
}

story!(an_old_push_sent_again_starts_nothing, with_webhooks, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let one = w.dev.push(project, "main", "infra/main.tf", "# one").unwrap();
    let old = w.gitlab.take_pending();
    for delivery in &old {
        w.deliver(delivery.clone()).await;
    }
    w.settle().await;
    let two = w.push(project, "main", "infra/main.tf", "# two").await;
    let (one, two) = (&one[..8], &two[..8]);
    let before = w.run_lines("network").await;
    w.pass(Duration::from_secs(400)).await;
    let events = self::events(&mut w).await;
    for delivery in old {
        w.deliver(delivery).await;
    }
    w.settle().await;
    assert_eq!(w.run_lines("network").await, before);
    // It is still the same event, which says what became of it both times.
    let again = self::events(&mut w).await;
    let ids = |events: &[Value]| events.iter().map(|e| e["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&events));
    let old = again.iter().find(|event| event["what"] == format!("push to main ({one})"));
    let outcome = old.unwrap()["outcome"].as_str().unwrap();
    let then = format!("; sent again: already processed: main is at {two}");
    assert!(outcome.ends_with(&then), "{outcome}");
    w
});

story!(
    pushes_that_arrive_in_the_wrong_order_make_one_run_of_the_newest,
    with_webhooks,
    |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.dev.push(project, "main", "infra/main.tf", "# b").unwrap();
        let newest = w.dev.push(project, "main", "infra/main.tf", "# c").unwrap();
        let mut hooks = w.gitlab.take_pending();
        assert_eq!(hooks.len(), 2);
        hooks.reverse();
        for delivery in hooks {
            w.deliver(delivery).await;
        }
        w.settle().await;
        assert_eq!(w.run_lines("network").await, [format!("tracked unconfirmed {}", &newest[..8])]);
        w
    }
);

story!(
    an_authentic_body_that_names_an_unmerged_commit_starts_nothing,
    with_webhooks,
    |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        let unmerged = w.push(project, "evil", "infra/main.tf", "# evil").await;
        let before = w.run_lines("network").await;
        let (secret, base) = w.webhook().await;
        let body = json!({
            "object_kind": "push",
            "ref": "refs/heads/main",
            "before": "1111111111111111111111111111111111111111",
            "after": unmerged,
            "project_id": project.0,
            "project": { "id": project.0 },
        });
        let status = w.post_webhook(&base, &secret, "Push Hook", &body).await;
        assert_eq!(status, 200);
        w.settle().await;
        assert_eq!(w.run_lines("network").await, before);
        let status = w.post_webhook(&base, "not the secret", "Push Hook", &body).await;
        assert_eq!(status, 401);
        w
    }
);

story!(every_decision_can_be_asked_for_with_its_reason, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.push(project, "main", "README.md", "changed").await;
    assert!(w.runs("network").await.is_empty());
    let (_, events) = w.api(reqwest::Method::GET, "/events", None).await;
    let text = events.to_string();
    assert!(text.contains("the changed file is not in infra/"), "{events:#}");
    w
});

story!(two_hooks_on_one_project_make_one_run, with_webhooks, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    let (secret, base) = w.webhook().await;
    w.second_hook(project, &base, &secret).await;
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    assert_eq!(w.run_lines("network").await, [format!("tracked unconfirmed {}", &commit[..8])]);
    w
});

story!(more_refs_than_gitlab_tells_of_are_found_by_comparing, with_webhooks, |mut w| async move {
    let project = w.plain_project("acme/network");
    for branch in ["one", "two", "three", "four"] {
        w.dev.set_branch(project, branch, "main").unwrap();
    }
    w.gitlab.drop_pending();
    // No branch is left that a comparison could find between the first stack and the last.
    let commit = w.dev.push(project, "side", "infra/main.tf", "# one").unwrap();
    w.dev.delete_branch(project, "side").unwrap();
    w.gitlab.drop_pending();
    for branch in ["one", "two", "three", "four"] {
        let fields = json!({ "branch": branch });
        w.stack(project, branch, "infra", StackOptions { fields }).await;
    }
    let names: Vec<String> =
        ["one", "two", "three", "four"].iter().map(|b| format!("refs/heads/{b}")).collect();
    let refs: Vec<_> = names.iter().map(|n| (n.as_str(), Some(commit.as_str()))).collect();
    w.dev.push_refs(project, &refs).unwrap();
    assert!(w.gitlab.pending().is_empty(), "GitLab tells of three refs at most");
    w.pass(Duration::from_secs(660)).await;
    for branch in ["one", "two", "three", "four"] {
        assert_eq!(w.runs(branch).await.len(), 1, "{branch}");
    }
    w
});

story!(a_rejected_token_is_shown_as_broken_until_it_works, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.gitlab.fail_times(Matcher::any(), Fault::status(401), 1000);
    w.pass(Duration::from_secs(660)).await;
    let (_, answer) = w.api(Method::GET, "/integration", None).await;
    assert!(answer.to_string().contains(r#""seen_by":"scheduler""#), "{answer:#}");
    w.gitlab.clear_faults();
    w.pass(Duration::from_secs(660)).await;
    let (_, answer) = w.api(Method::GET, "/integration", None).await;
    assert_eq!(answer["broken"], json!([]), "{answer:#}");
    w
});

// A merge request without a new commit is found by no branch: only where comparing was before tells
// that it is news.
story!(what_changed_while_gitlab_was_unlinked_is_found_afterwards, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.push(project, "change", "infra/main.tf", "# one").await;
    w.open(project, "change").await;
    let other = w.push(project, "other", "infra/main.tf", "# other").await;
    w.dev.set_branch(project, "stable", "main").unwrap();
    let elsewhere = w.push(project, "elsewhere", "infra/main.tf", "# elsewhere").await;
    let spec = MergeRequestSpec::from("elsewhere").into("stable");
    let retargeted = w.dev.open_merge_request(project, spec).unwrap();
    w.catch_up().await;
    w.pass(Duration::from_secs(11 * 60)).await;
    let notes = w.gitlab.notes(project, retargeted);
    assert!(notes.iter().all(|note| note.author != "gantry-bot"), "no stack has its target");
    w.unlink().await;
    w.pass(Duration::from_secs(11 * 60)).await;
    let two = w.dev.push(project, "change", "infra/main.tf", "# two").unwrap();
    let opened = w.dev.open_merge_request(project, MergeRequestSpec::from("other")).unwrap();
    w.dev.retarget(project, retargeted, "main").unwrap();
    w.gitlab.drop_pending();
    w.pass(Duration::from_secs(11 * 60)).await;
    w.link().await;
    w.pass(Duration::from_secs(11 * 60)).await;
    let lines = w.run_lines("network").await;
    assert!(lines.contains(&format!("proposed finished {}", &two[..8])), "{lines:?}");
    for (iid, head) in [(opened, &other), (retargeted, &elsewhere)] {
        assert!(w.note(project, iid).contains(&head[..8]), "{}", w.history());
    }
    w
});

story!(
    people_are_told_since_when_gitlab_does_not_work_and_that_it_does_again,
    |mut w| async move {
        let broken = async |w: &mut World| {
            let (_, answer) = w.api(Method::GET, "/integration", None).await;
            answer.get("broken").cloned().unwrap_or_default()
        };
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.hold("network");
        w.push(project, "change", "infra/main.tf", "# one").await;
        w.open(project, "change").await;
        assert_eq!(broken(&mut w).await, json!([]));
        w.gitlab.set_down(true);
        w.release("network");
        w.settle_until("network", "finished").await;
        w.pass(Duration::ZERO).await;
        let said = broken(&mut w).await;
        let (reason, since) = (&said[0]["reason"], &said[0]["since"]);
        assert!(reason.as_str().is_some_and(|why| why.contains("503")), "{said}");
        assert!(since.is_string(), "{said}");
        w.gitlab.set_down(false);
        w.catch_up().await;
        w.pass(Duration::from_secs(11 * 60)).await;
        assert_eq!(broken(&mut w).await, json!([]));
        let (_, answer) = w.api(Method::GET, "/integration", None).await;
        let last = &answer["last_trouble"];
        assert!(last["reason"].as_str().is_some_and(|why| why.contains("503")), "{answer}");
        assert!(last["ended_at"].as_str() > last["since"].as_str(), "{answer}");
        w
    }
);

#[tokio::test]
async fn a_rate_limit_is_told_as_trouble_by_who_writes_and_by_who_reads() {
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.hold("network");
        let commit = w.push(project, "change", "infra/main.tf", "# one").await;
        w.gitlab.fail_always(Matcher::any(), Fault::RateLimited { retry_after: 60 });
        w.release("network");
        w.dev.push(project, "other", "infra/main.tf", "# two").unwrap();
        w.endure(Duration::from_secs(40), Duration::from_secs(20)).await;
        let (_, answer) = w.api(Method::GET, "/integration", None).await;
        let broken = answer["broken"].as_array().unwrap();
        let seen: Vec<_> = broken.iter().map(|b| b["seen_by"].as_str().unwrap()).collect();
        assert_eq!(seen, ["publisher", "scheduler"], "{answer}");
        for trouble in broken {
            assert_eq!(trouble["reason"], "GitLab's rate limit was reached (429)");
            assert!(trouble["since"].is_string(), "{answer}");
        }
        w.gitlab.clear_faults();
        w.pass(Duration::from_secs(180)).await;
        w.expect_status(project, &commit, "gantry/network", "success");
        let (_, answer) = w.api(Method::GET, "/integration", None).await;
        assert_eq!(answer["broken"], json!([]));
        assert_eq!(answer["last_trouble"]["reason"], "GitLab's rate limit was reached (429)");
        w
    })
    .await;
}

#[tokio::test]
async fn a_hook_that_is_decided_shows_that_gitlab_answers_again() {
    run_test_in(&[Mode::PLAIN], |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.gitlab.set_down(true);
        w.dev.push(project, "change", "infra/main.tf", "# one").unwrap();
        w.endure(Duration::from_secs(1), Duration::from_secs(1)).await;
        let (_, said) = w.api(Method::GET, "/integration", None).await;
        assert_eq!(said["broken"][0]["seen_by"], "scheduler", "{said}");

        w.gitlab.set_down(false);
        w.pass(Duration::from_secs(60)).await;
        let (_, said) = w.api(Method::GET, "/integration", None).await;
        assert_eq!(said["broken"], json!([]), "long before it is compared: {}", w.history());
        w
    })
    .await;
}
