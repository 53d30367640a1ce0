//! Deploys that wait for approvals: who gives them, who may not, and who goes past them.

use crate::{
    every_page::{SCREENS, look},
    support::{Screen, World},
};
use gantry_fake_gitlab::{Allowed, MergeRequestSpec, ProtectedEnvironment};

/// The environment is protected in GitLab: Maintainers deploy, after two approvals by @acme/ops. These
/// are ada and bob, who are Developers, and you.
fn protect(w: &World) {
    let ops = w.gitlab.create_group("acme/ops");
    w.gitlab.set_group_member(ops, w.bot, 10);
    w.gitlab.set_group_member(ops, w.you.id(), 30);
    for name in ["ada", "bob"] {
        let person = w.member(name, 30);
        w.gitlab.set_group_member(ops, person.id(), 30);
    }
    w.gitlab.configure(w.project, |options| {
        options.protected_environments.push(ProtectedEnvironment {
            approval_rules: vec![(Allowed::Group { id: ops, inherited: false }, 2)],
            ..ProtectedEnvironment::new("gantry/network", vec![Allowed::Role(40)])
        });
    });
}

/// You merge a change.
fn merge(w: &World) {
    w.push("change", "two");
    let spec = MergeRequestSpec::from("change").titled("Another value");
    let iid = w.you.open_merge_request(w.project, spec).unwrap();
    w.you.merge(w.project, iid).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_approve_at_once_and_whoever_merged_it_does_not() {
    let (w, _) = World::with_people().await;
    protect(&w);
    merge(&w);
    let you = w.browser_of("you", Screen::default()).await;
    let ada = w.browser_of("ada", Screen::default()).await;
    let bob = w.browser_of("bob", Screen::default()).await;
    let run = you.open_waiting().await;
    you.wait_for("Waits for 2 approvals, by @acme/ops.").await;
    you.press("Approve").await;
    you.wait_for("You started this run or merged its change, so somebody else must approve it")
        .await;
    you.go(&run).await;
    you.press("Confirm and apply").await;
    you.wait_at(&format!("{run}/confirm")).await;
    you.wait_for("Waits for 2 approvals, by @acme/ops").await;
    you.go(&run).await;
    you.wait_for("Needs confirmation").await;

    for page in [&ada, &bob] {
        page.go(&run).await;
        page.wait_for("Waits for 2 approvals, by @acme/ops.").await;
        let text = page.text().await;
        assert!(!text.contains("Confirm and apply"), "a Developer does not deploy: {text}");
    }
    ada.fill_id("review", "Two is right.").await;
    tokio::join!(ada.press("Approve"), bob.press("Approve"));
    // Each page follows what the other has done, and so does one that only looks.
    for page in [&ada, &bob, &you] {
        for words in
            ["Rules met", "2 of 2 approvals by @acme/ops.", "Ada @ada", "Two is right.", "Bob @bob"]
        {
            page.wait_for(words).await;
        }
    }
    ada.close().await;
    bob.close().await;
    you.press("Confirm and apply").await;
    you.wait_for("Applied: 1 added").await;
    let deployments = w.gitlab.deployments(w.project);
    assert_eq!(deployments.len(), 1);
    assert_eq!(deployments[0].status, "success");
    you.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_holds_a_run_unless_an_admins_key_says_why_not() {
    let (w, _) = World::with_people().await;
    protect(&w);
    merge(&w);
    let bob = w.browser_of("bob", Screen::default()).await;
    let run = bob.open_waiting().await;
    bob.fill_id("review", "Not on a Friday.").await;
    bob.press("Reject").await;
    bob.wait_for("Rejected. Nobody can confirm it until you approve it.").await;
    bob.wait_for("Rejected by Bob @bob: Not on a Friday.").await;
    let admin = w.browser(Screen::default()).await;
    admin.sign_in(&w.key).await;
    admin.go(&run).await;
    admin.wait_for("To approve or reject it, sign in with GitLab.").await;
    admin.press("Confirm and apply").await;
    admin.wait_at(&format!("{run}/confirm")).await;
    admin.wait_for("Rejected by Bob @bob: Not on a Friday.").await;
    admin.go(&run).await;
    admin.fill_id("override-reason", "It is needed today.").await;
    admin.press("Confirm and apply").await;
    admin.wait_for("Applied: 1 added").await;
    for page in [&admin, &bob] {
        page.wait_for("Overrides the rules: It is needed today.").await;
    }
    admin.close().await;
    bob.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn approvals_are_accessible_small_and_fit_the_screen() {
    let (w, _) = World::with_people().await;
    protect(&w);
    merge(&w);
    let bob = w.browser_of("bob", Screen::default()).await;
    let run = bob.open_waiting().await;
    bob.fill_id("review", "Two is right.").await;
    bob.press("Approve").await;
    bob.wait_for("Waits for 1 of 2 approvals, by @acme/ops.").await;
    bob.close().await;
    let mut wrong = Vec::new();
    for screen in SCREENS {
        let page = w.browser_of("ada", screen).await;
        page.go(&run).await;
        page.wait_for("Waits for 1 of 2 approvals, by @acme/ops.").await;
        look(&page, "run-approvals", screen, &mut wrong).await;
        page.sign_in(&w.key).await;
        page.go(&run).await;
        page.find("#override-reason").await;
        look(&page, "run-override", screen, &mut wrong).await;
        page.close().await;
    }
    let ada = w.browser_of("ada", Screen::default()).await;
    ada.go(&run).await;
    ada.press("Approve").await;
    ada.wait_for("Rules met").await;
    ada.close().await;
    for screen in SCREENS {
        let page = w.browser_of("you", screen).await;
        page.go(&run).await;
        page.wait_for("2 of 2 approvals by @acme/ops.").await;
        look(&page, "run-approved", screen, &mut wrong).await;
        page.close().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
