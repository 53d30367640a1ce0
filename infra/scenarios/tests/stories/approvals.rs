//! Who confirms a deploy: what GitLab protects its environment with, what the stack asks for, and what
//! happens while GitLab cannot be asked.

use gantry_domain::{
    GroupId,
    approval::{Approvals, Decision, VerdictState},
    rights::{Level, StackLevels},
    run::{PlanOptions, RunType},
};
use gantry_fake_gitlab::{
    Allowed, Fault, Matcher, MergeRequestIid, ProjectId, ProtectedEnvironment,
};
use gantry_queue::Command;
use gantry_scenarios::{StackOptions, World, story};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than the rules are not read again, also where a process ends over it.
const UNTIL_READ_AGAIN: Duration = Duration::from_secs(25 * 60);
const NEEDS_TWO: &str = "waits for 2 approvals, by @acme/ops";

fn confirm(run: &str) -> Command {
    Command::Confirm { run: run.parse().unwrap(), comment: None, override_reason: None }
}

fn approve(run: &str) -> Command {
    Command::Review { run: run.parse().unwrap(), decision: Decision::Approve, comment: None }
}

fn reject(run: &str, why: &str) -> Command {
    let comment = Some(why.to_owned());
    Command::Review { run: run.parse().unwrap(), decision: Decision::Reject, comment }
}

fn override_rules(run: &str, reason: &str) -> Command {
    Command::Confirm {
        run: run.parse().unwrap(),
        comment: Some("Agreed by phone.".to_owned()),
        override_reason: Some(reason.to_owned()),
    }
}

/// A stack whose environment Maintainers may deploy to, such as cy, after two approvals by @acme/ops:
/// ada and bob, who are Developers.
async fn guarded(w: &mut World, fields: Value) -> ProjectId {
    let ops = w.gitlab.create_group("acme/ops");
    w.gitlab.set_group_member(ops, w.bot, 10);
    let project = w.plain_project("acme/network");
    for name in ["ada", "bob"] {
        let person = w.gitlab.create_user(name);
        w.gitlab.set_member(project, person, 30);
        w.gitlab.set_group_member(ops, person, 30);
    }
    let rule = (Allowed::Group { id: ops, inherited: false }, 2);
    w.gitlab.configure(project, |options| {
        let name = "gantry/network";
        let protected = ProtectedEnvironment::new(name, vec![Allowed::Role(40)]);
        options.protected_environments =
            vec![ProtectedEnvironment { approval_rules: vec![rule], ..protected }];
    });
    with_people(w, project, fields).await;
    project
}

/// A stack that nothing protects. People can sign in; cy is a Maintainer.
async fn free(w: &mut World, fields: Value) -> ProjectId {
    let project = w.plain_project("acme/network");
    with_people(w, project, fields).await;
    project
}

async fn with_people(w: &mut World, project: ProjectId, fields: Value) {
    w.gitlab.set_member(project, w.gitlab.create_user("cy"), 40);
    w.people_sign_in(&[]).await;
    w.stack(project, "network", "infra", StackOptions { fields }).await;
}

/// Pushes to the tracked branch: the run that needs confirmation then, and its commit.
async fn waiting(w: &mut World, project: ProjectId) -> (String, String) {
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    (w.run_in("network", "unconfirmed").await, commit)
}

async fn done(w: &mut World, who: &str, command: Command, expected: &str) {
    let (done, said) = w.person_asks(who, "network", command).await;
    assert!(done && said == expected, "{who}: {said:?}, not {expected:?}\n{}", w.history());
}

async fn refused(w: &mut World, who: &str, command: Command, expected: &str) {
    let (done, said) = w.person_asks(who, "network", command).await;
    assert!(!done && said == expected, "{who}: {said:?}, not {expected:?}\n{}", w.history());
}

/// The comments of a run's steps.
async fn comments(w: &mut World, run: &str) -> Vec<String> {
    let (_, run) = w.api(Method::GET, &format!("/runs/{run}"), None).await;
    let steps = run["history"].as_array().unwrap();
    steps.iter().filter_map(|step| step["comment"].as_str()).map(str::to_owned).collect()
}

story!(two_approvals_of_a_groups_members_come_before_the_confirmation, |mut w| async move {
    let project = guarded(&mut w, json!({})).await;
    let (run, commit) = waiting(&mut w, project).await;
    w.expect_status(
        project,
        &commit,
        "gantry/network",
        "running: 1 to add, 0 to change, 0 to destroy, applied once approved and confirmed",
    );
    let needs = Some((VerdictState::NeedsApprovals, NEEDS_TWO.to_owned()));
    assert_eq!(w.rules_of(&run).await, needs);
    refused(&mut w, "cy", confirm(&run), "Waits for 2 approvals, by @acme/ops").await;
    let not_theirs = "Only @acme/ops may approve or reject this run";
    refused(&mut w, "cy", approve(&run), not_theirs).await;
    let one = "Approved. It waits for 1 of 2 approvals, by @acme/ops.";
    done(&mut w, "ada", approve(&run), one).await;
    done(&mut w, "ada", approve(&run), one).await;
    refused(&mut w, "cy", confirm(&run), "Waits for 1 of 2 approvals, by @acme/ops").await;
    done(&mut w, "bob", approve(&run), "Approved. 2 of 2 approvals by @acme/ops.").await;
    // Who approves need not be one who deploys, and is none by that.
    let developer = "In GitLab you are Developer in this project, and this requires Maintainer";
    refused(&mut w, "ada", confirm(&run), developer).await;
    let (confirmed, said) = w.key_asks("robot", "network", confirm(&run)).await;
    let expected = "Only Maintainers may deploy to gantry/network in GitLab, and a key is not a \
                    person there";
    assert!(!confirmed && said == expected, "{said}");
    assert_eq!(w.executed(), ["network plan"]);
    done(&mut w, "cy", confirm(&run), "Confirmed. Applying next.").await;
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    assert_eq!(w.executed(), ["network plan", "network apply"]);
    let (_, run) = w.api(Method::GET, &format!("/runs/{run}"), None).await;
    let steps = run["history"].as_array().unwrap();
    let confirmed = steps.iter().find(|step| step["state"] == "confirmed").unwrap();
    assert_eq!(confirmed["by"], "cy", "{run}");
    w
});

story!(whoever_merged_a_change_does_not_approve_its_deploy, |mut w| async move {
    let project = guarded(&mut w, json!({})).await;
    w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    w.gitlab.person("ada").merge(project, iid).unwrap();
    w.catch_up().await;
    let run = w.run_in("network", "unconfirmed").await;
    // Nobody is notified by a name in a comment.
    let said = "waits for 2 approvals, by &#64;&#8203;acme/ops";
    assert!(w.note(project, iid).contains(said), "{}", w.note(project, iid));
    let own = "You started this run or merged its change, so somebody else must approve it";
    refused(&mut w, "ada", approve(&run), own).await;
    // She may reject it, and take that back.
    let rejected = "Rejected. Nobody can confirm it until you approve it.";
    done(&mut w, "ada", reject(&run, "not yet"), rejected).await;
    refused(&mut w, "cy", confirm(&run), "Rejected by @ada: not yet").await;
    let taken_back = "Your rejection is taken back; you started this run or merged its change, so \
                      your approval does not count. It waits for 2 approvals, by @acme/ops.";
    done(&mut w, "ada", approve(&run), taken_back).await;
    refused(&mut w, "ada", approve(&run), own).await;
    refused(&mut w, "cy", confirm(&run), "Waits for 2 approvals, by @acme/ops").await;
    w.gitlab.configure(project, |options| options.allows_own_approval = true);
    let one = "Approved. It waits for 1 of 2 approvals, by @acme/ops.";
    done(&mut w, "ada", approve(&run), one).await;
    let note = w.note(project, iid);
    assert!(note.contains("waits for 1 of 2 approvals"), "{note}");
    done(&mut w, "bob", approve(&run), "Approved. 2 of 2 approvals by @acme/ops.").await;
    // It is read at the moment of confirming too.
    w.gitlab.configure(project, |options| options.allows_own_approval = false);
    refused(&mut w, "cy", confirm(&run), "Waits for 1 of 2 approvals, by @acme/ops").await;
    w.gitlab.configure(project, |options| options.allows_own_approval = true);
    done(&mut w, "cy", confirm(&run), "Confirmed. Applying next.").await;
    w.run_in("network", "finished").await;
    w
});

story!(a_rejection_stands_until_its_giver_decides_otherwise, |mut w| async move {
    let project = guarded(&mut w, json!({})).await;
    let (run, commit) = waiting(&mut w, project).await;
    for who in ["ada", "bob"] {
        let (done, said) = w.person_asks(who, "network", approve(&run)).await;
        assert!(done, "{said}");
    }
    let rejected = "Rejected. Nobody can confirm it until you approve it.";
    done(&mut w, "bob", reject(&run, "not on a Friday"), rejected).await;
    let why = "Rejected by @bob: not on a Friday";
    refused(&mut w, "cy", confirm(&run), why).await;
    done(&mut w, "ada", approve(&run), &format!("Approved. {why}.")).await;
    w.run_in("network", "unconfirmed").await;
    done(&mut w, "bob", approve(&run), "Approved. 2 of 2 approvals by @acme/ops.").await;
    done(&mut w, "cy", confirm(&run), "Confirmed. Applying next.").await;
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    w
});

story!(
    who_has_left_the_group_approves_no_more_and_what_gitlab_says_is_read_again,
    |mut w| async move {
        let project = guarded(&mut w, json!({})).await;
        let (run, _) = waiting(&mut w, project).await;
        let one = "Approved. It waits for 1 of 2 approvals, by @acme/ops.";
        done(&mut w, "ada", approve(&run), one).await;
        let ops = w.gitlab.create_group("acme/ops");
        w.gitlab.set_group_member(ops, w.gitlab.create_user("ada"), 0);
        w.pass(UNTIL_READ_AGAIN).await;
        let needs = Some((VerdictState::NeedsApprovals, NEEDS_TWO.to_owned()));
        assert_eq!(w.rules_of(&run).await, needs);
        // Nothing protects it any more.
        w.gitlab.configure(project, |options| options.protected_environments.clear());
        w.pass(UNTIL_READ_AGAIN).await;
        assert_eq!(w.rules_of(&run).await, None);
        refused(&mut w, "bob", approve(&run), "This run needs no approvals").await;
        done(&mut w, "cy", confirm(&run), "Confirmed. Applying next.").await;
        w
    }
);

story!(nobody_confirms_while_gitlab_cannot_be_asked, |mut w| async move {
    let project = free(&mut w, json!({})).await;
    let (run, commit) = waiting(&mut w, project).await;
    w.gitlab.set_down(true);
    let (a_second, moment) = (Duration::from_secs(1), Duration::from_secs(2));
    let request = w.send_for("cy", "network", confirm(&run)).await;
    w.endure(moment, a_second).await;
    let (confirmed, said) = w.outcome("network", &request).await;
    assert!(
        !confirmed && said.starts_with("GitLab could not be asked for your rights: "),
        "{said}"
    );
    let request = w.send_with_key("robot", "network", confirm(&run)).await;
    w.endure(moment, a_second).await;
    let (confirmed, said) = w.outcome("network", &request).await;
    let expected = "GitLab could not be asked who may confirm: ";
    assert!(!confirmed && said.starts_with(expected) && said.contains("503"), "{said}");
    let rules = w.rules_of(&run).await;
    assert!(rules.is_some_and(|(state, _)| state == VerdictState::NotYet));
    w.run_in("network", "unconfirmed").await;
    w.gitlab.set_down(false);
    w.pass(UNTIL_READ_AGAIN).await;
    assert_eq!(w.rules_of(&run).await, None, "it was asked again");
    done(&mut w, "cy", confirm(&run), "Confirmed. Applying next.").await;
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    w
});

story!(an_admins_key_goes_past_the_rules_with_a_reason_that_stays, |mut w| async move {
    let project = guarded(&mut w, json!({})).await;
    let (run, commit) = waiting(&mut w, project).await;
    let reason = "Nobody of ops is awake.";
    let not_a_key = "Only an access key with the role admin can override the rules";
    refused(&mut w, "cy", override_rules(&run, reason), not_a_key).await;
    let (confirmed, said) = w.key_asks("night shift", "network", override_rules(&run, " ")).await;
    assert!(!confirmed && said == "Waits for 2 approvals, by @acme/ops", "{said}");
    let (confirmed, said) =
        w.key_asks("night shift", "network", override_rules(&run, reason)).await;
    let expected = "Confirmed, overriding the rules: Nobody of ops is awake. Applying next.";
    assert!(confirmed && said == expected, "{said}");
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    let said = format!("Overrides the rules: {reason}\nAgreed by phone.");
    assert_eq!(comments(&mut w, &run).await, [said]);
    let kept = format!("the rules are overridden by the key night shift: {reason}");
    assert_eq!(w.rules_of(&run).await, Some((VerdictState::Overridden, kept)));
    w
});

story!(what_applies_by_itself_waits_for_approvals_and_then_goes_on_by_itself, |mut w| async move {
    let project = guarded(&mut w, json!({ "autodeploy": true })).await;
    let (run, commit) = waiting(&mut w, project).await;
    w.expect_status(
        project,
        &commit,
        "gantry/network",
        "running: 1 to add, 0 to change, 0 to destroy, applied once approved",
    );
    let one = "Approved. It waits for 1 of 2 approvals, by @acme/ops.";
    done(&mut w, "ada", approve(&run), one).await;
    assert_eq!(w.executed(), ["network plan"]);
    let all = "Approved. 2 of 2 approvals by @acme/ops. Applying next.";
    done(&mut w, "bob", approve(&run), all).await;
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    assert_eq!(w.executed(), ["network plan", "network apply"]);
    let said = "Confirmed by itself: 2 of 2 approvals by @acme/ops";
    assert_eq!(comments(&mut w, &run).await, [said]);
    w
});

story!(
    what_applies_by_itself_waits_for_a_person_where_whoever_started_it_may_not,
    |mut w| async move {
        let project = guarded(&mut w, json!({ "autodeploy": true })).await;
        let start = Command::Trigger {
            run_type: RunType::Tracked,
            commit: None,
            branch: None,
            options: PlanOptions::default(),
        };
        done(&mut w, "bob", start.clone(), "Queued").await;
        let run = w.run_in("network", "unconfirmed").await;
        let own = "You started this run or merged its change, so somebody else must approve it";
        refused(&mut w, "bob", approve(&run), own).await;
        // Nothing is to be approved any more; but he may not deploy.
        w.gitlab.configure(project, |options| {
            options.protected_environments[0].approval_rules.clear();
        });
        w.pass(UNTIL_READ_AGAIN).await;
        let message = "only Maintainers may deploy to gantry/network in GitLab".to_owned();
        let waits = Some((VerdictState::MayConfirm, message));
        assert_eq!(w.rules_of(&run).await, waits);
        // Whoever tries in vain changes nothing of what others read.
        let (confirmed, said) = w.key_asks("robot", "network", confirm(&run)).await;
        assert!(!confirmed && said.ends_with("a key is not a person there"), "{said}");
        assert_eq!(w.rules_of(&run).await, waits);
        done(&mut w, "cy", confirm(&run), "Confirmed. Applying next.").await;
        w.run_in("network", "finished").await;
        // Where whoever started it may, nobody else has to look.
        done(&mut w, "cy", start, "Queued").await;
        assert_eq!(w.runs("network").await[0]["state"], "finished");
        assert_eq!(w.executed().len(), 4);
        w
    }
);

story!(without_rules_what_applies_by_itself_is_applied_at_once, |mut w| async move {
    let project = free(&mut w, json!({ "autodeploy": true })).await;
    let commit = w.push(project, "main", "infra/main.tf", "# one").await;
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    let run = w.run_in("network", "finished").await;
    assert_eq!(w.rules_of(&run).await, None);
    let (_, run) = w.api(Method::GET, &format!("/runs/{run}"), None).await;
    let steps = run["history"].as_array().unwrap();
    let waits = |state: &Value| *state == "unconfirmed" || *state == "confirmed";
    assert!(!steps.iter().any(|step| waits(&step["state"])), "{run}");
    w
});

story!(what_applies_by_itself_waits_as_long_as_nobody_knows_the_rules, |mut w| async move {
    let project = free(&mut w, json!({ "autodeploy": true })).await;
    let rules = Matcher::new("GET", "/protected_environments");
    w.gitlab.fail_always(rules, Fault::status(503));
    let (run, commit) = waiting(&mut w, project).await;
    w.expect_status(
        project,
        &commit,
        "gantry/network",
        "running: 1 to add, 0 to change, 0 to destroy, applied once GitLab's rules allow it",
    );
    assert_eq!(w.executed(), ["network plan"]);
    w.gitlab.clear_faults();
    w.pass(UNTIL_READ_AGAIN).await;
    w.expect_status(project, &commit, "gantry/network", "success: Applied");
    let said = "Confirmed by itself: no approvals are needed";
    assert_eq!(comments(&mut w, &run).await, [said]);
    w
});

// The rules are asked when a run is handed out. A worker comes when it comes.
story!(
    what_a_worker_takes_late_is_not_applied_past_rules_that_came_meanwhile,
    |mut w| async move {
        let project = free(&mut w, json!({ "autodeploy": true, "pool": "office" })).await;
        let commit = w.push(project, "main", "infra/main.tf", "# one").await;
        w.run_in("network", "preparing").await;
        w.gitlab.configure(project, |options| {
            let protected = ProtectedEnvironment::new("gantry/network", vec![Allowed::Role(40)]);
            let approval_rules = vec![(Allowed::Role(40), 1)];
            options.protected_environments =
                vec![ProtectedEnvironment { approval_rules, ..protected }];
        });
        w.pass(UNTIL_READ_AGAIN).await;
        w.worker("office").await;
        let run = w.run_in("network", "unconfirmed").await;
        assert_eq!(w.executed(), ["network plan"]);
        let message = "waits for 1 approval, by Maintainers".to_owned();
        assert_eq!(w.rules_of(&run).await, Some((VerdictState::NeedsApprovals, message)));
        let all = "Approved. 1 of 1 approval by Maintainers. Applying next.";
        done(&mut w, "cy", approve(&run), all).await;
        w.worker("office").await;
        w.expect_status(project, &commit, "gantry/network", "success: Applied");
        assert_eq!(w.executed(), ["network plan", "network apply"]);

        // Nothing asks any more: late or not, it goes on by itself.
        w.gitlab.configure(project, |options| options.protected_environments.clear());
        let commit = w.push(project, "main", "infra/main.tf", "# two").await;
        w.pass(UNTIL_READ_AGAIN).await;
        w.worker("office").await;
        w.expect_status(project, &commit, "gantry/network", "success: Applied");
        w
    }
);

story!(nothing_is_applied_for_whoever_loses_the_right_while_they_confirm, |mut w| async move {
    let project = free(&mut w, json!({})).await;
    let (run, _) = waiting(&mut w, project).await;
    let cy = w.gitlab.create_user("cy");
    let request = w.send_for("cy", "network", confirm(&run)).await;
    w.gitlab.set_member(project, cy, 30);
    w.settle().await;
    let (confirmed, said) = w.outcome("network", &request).await;
    let lost = "In GitLab you are Developer in this project, and this requires Maintainer";
    assert!(!confirmed && said == lost, "{said}");
    w.gitlab.set_member(project, cy, 0);
    let gone = "In GitLab you have no role in this project that shows you its code, and this \
                requires Maintainer";
    refused(&mut w, "cy", confirm(&run), gone).await;
    // A stack may ask for more.
    w.gitlab.set_member(project, cy, 40);
    let levels = StackLevels { deploy: Some(Level::Owner), ..StackLevels::default() };
    w.change_settings("network", |settings| settings.levels = levels).await;
    let maintainer = "In GitLab you are Maintainer in this project, and this requires Owner";
    refused(&mut w, "cy", confirm(&run), maintainer).await;
    assert_eq!(w.executed(), ["network plan"]);
    w.change_settings("network", |settings| settings.levels = StackLevels::default()).await;
    done(&mut w, "cy", confirm(&run), "Confirmed. Applying next.").await;
    w
});

story!(admins_confirm_whatever_they_are_in_the_project, |mut w| async move {
    let project = free(&mut w, json!({})).await;
    let platform = w.gitlab.create_group("tools/platform");
    w.gitlab.set_group_member(platform, w.gitlab.create_user("dee"), 40);
    w.gitlab.set_group_member(platform, w.gitlab.create_user("eve"), 30);
    w.people_sign_in(&["tools/platform"]).await;
    let (run, _) = waiting(&mut w, project).await;
    // Gantry's user does not see the group, and nobody else has said what she is.
    let gone = "In GitLab you have no role in this project that shows you its code, and this \
                requires Maintainer";
    refused(&mut w, "dee", confirm(&run), gone).await;
    w.gitlab.set_group_member(platform, w.bot, 10);
    refused(&mut w, "eve", confirm(&run), gone).await;
    // Whoever gets the path of a group that is known makes no admins with it.
    w.admin_group_is("tools/platform", GroupId(platform.0)).await;
    w.gitlab.rename_group(platform, "tools/engineering");
    let another = w.gitlab.create_group("tools/platform");
    w.gitlab.set_group_member(another, w.gitlab.create_user("eve"), 50);
    w.gitlab.set_group_member(another, w.bot, 10);
    refused(&mut w, "eve", confirm(&run), gone).await;
    done(&mut w, "dee", confirm(&run), "Confirmed. Applying next.").await;
    w.run_in("network", "finished").await;
    w.gitlab.set_group_member(platform, w.bot, 0);
    w.push(project, "main", "infra/main.tf", "# two").await;
    let run = w.run_in("network", "unconfirmed").await;
    w.admin_signs_in("dee").await;
    done(&mut w, "dee", confirm(&run), "Confirmed. Applying next.").await;
    w
});

story!(a_stack_asks_for_approvals_by_itself, |mut w| async move {
    let project = free(&mut w, json!({})).await;
    w.gitlab.set_member(project, w.gitlab.create_user("bob"), 30);
    let approvals = json!({ "required": 1, "from": ["@bob", "@gone", "owner"] });
    let approvals: Approvals = serde_json::from_value(approvals).unwrap();
    w.change_settings("network", |settings| settings.approvals = Some(approvals)).await;
    let (run, _) = waiting(&mut w, project).await;
    let by = "by @bob, @gone (not found in GitLab) or Owners";
    refused(&mut w, "cy", confirm(&run), &format!("Waits for 1 approval, {by}")).await;
    let only = "Only @bob, @gone (not found in GitLab) and Owners may approve or reject this run";
    refused(&mut w, "cy", approve(&run), only).await;
    done(&mut w, "bob", approve(&run), &format!("Approved. 1 of 1 approval {by}.")).await;
    // GitLab protects nothing: a key is as good as a person.
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
    w.run_in("network", "finished").await;

    let start = Command::Trigger {
        run_type: RunType::Tracked,
        commit: None,
        branch: None,
        options: PlanOptions::default(),
    };
    done(&mut w, "bob", start, "Queued").await;
    let run = w.run_in("network", "unconfirmed").await;
    let own = "You started this run or merged its change, so somebody else must approve it";
    refused(&mut w, "bob", approve(&run), own).await;
    w
});

/// Merges a branch with a change of its own; the run of the merge that needs confirmation.
async fn merged(w: &mut World, project: ProjectId, branch: &str, approved: bool) -> String {
    w.push(project, branch, "infra/main.tf", &format!("# of {branch}")).await;
    let iid = w.open(project, branch).await;
    if approved {
        w.gitlab.person("bob").approve(project, iid).unwrap();
    }
    w.dev.merge(project, iid).unwrap();
    w.catch_up().await;
    w.run_in("network", "unconfirmed").await
}

story!(
    only_what_came_with_an_approved_merge_request_is_applied_where_that_is_asked_for,
    |mut w| async move {
        let project = free(&mut w, json!({})).await;
        w.gitlab.set_member(project, w.gitlab.create_user("bob"), 30);
        w.change_settings("network", |settings| settings.require_merge_request_approval = true)
            .await;
        let (run, pushed) = waiting(&mut w, project).await;
        let without = "This commit did not come with a merge request that was approved";
        refused(&mut w, "cy", confirm(&run), without).await;
        w.order(&format!("/runs/{run}/discard"), json!({})).await;

        let run = merged(&mut w, project, "one", false).await;
        let not_approved = "Merge request !1, which this commit came with, was not approved";
        refused(&mut w, "cy", confirm(&run), not_approved).await;
        w.order(&format!("/runs/{run}/discard"), json!({})).await;

        // What was discarded is not applied: this run would apply it too.
        let run = merged(&mut w, project, "two", true).await;
        let beside = format!(
            "Commit {}, which is applied with this one, did not come with a merge request that was \
             approved",
            &pushed[..8]
        );
        refused(&mut w, "cy", confirm(&run), &beside).await;
        let (confirmed, said) =
            w.key_asks("night shift", "network", override_rules(&run, "It was read.")).await;
        assert!(confirmed, "{said}");
        w.run_in("network", "finished").await;

        let run = merged(&mut w, project, "three", false).await;
        let third = w.gitlab.head(project, "main").unwrap();
        w.order(&format!("/runs/{run}/discard"), json!({})).await;
        let run = merged(&mut w, project, "four", true).await;
        let beside = format!(
            "Merge request !3, which commit {} came with, is applied with this one and was not \
             approved",
            &third[..8]
        );
        refused(&mut w, "cy", confirm(&run), &beside).await;
        w.gitlab.person("bob").approve(project, MergeRequestIid(3)).unwrap();
        done(&mut w, "cy", confirm(&run), "Confirmed. Applying next.").await;
        w.run_in("network", "finished").await;

        let run = merged(&mut w, project, "five", true).await;
        let message = "merge request !5 was approved".to_owned();
        assert_eq!(w.rules_of(&run).await, Some((VerdictState::MayConfirm, message)));
        done(&mut w, "cy", confirm(&run), "Confirmed. Applying next.").await;
        w.run_in("network", "finished").await;
        w
    }
);
