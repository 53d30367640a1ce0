//! Signing in with GitLab, and all that ends it: signing out, time, what is taken back in GitLab.

use crate::{
    people::FIVE_MINUTES,
    support::{Screen, World},
};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_by_a_button_and_out_again() {
    let w = World::with_a_stack().await;
    let page = w.browser(Screen::default()).await;
    page.go("/sign-in").await;
    page.wait_for("Access key").await;
    assert!(!page.text().await.contains("Sign in with GitLab"));
    let admin = w.browser(Screen::default()).await;
    admin.sign_in(&w.key).await;
    w.let_people_sign_in(&admin).await;
    admin.wait_for("Nobody has signed in yet.").await;
    w.member("ada", 20);

    page.go("/stacks/network").await;
    assert_eq!(page.place().await, "/sign-in?next=stacks%2Fnetwork");
    page.press("Sign in with GitLab").await;
    page.wait_for("Gantry asks for access").await;
    assert!(page.place().await.starts_with(w.gitlab.base_url()), "{}", page.place().await);
    page.press("Deny").await;
    page.wait_for("You did not let Gantry see who you are.").await;
    page.go("/stacks/network").await;
    page.sign_in_with_gitlab("ada").await;
    assert_eq!(page.place().await, "/stacks/network");
    assert_eq!(page.who().await, "Ada @ada");
    // A Reporter looks.
    let text = page.text().await;
    assert!(text.contains("Settings") && !text.contains("Start a run"), "{text}");
    admin.go("/gitlab/sign-in").await;
    admin.wait_for("People sign in with GitLab since").await;
    admin.close().await;

    page.sign_out().await;
    page.go("/stacks/network").await;
    assert_eq!(page.place().await, "/sign-in?next=stacks%2Fnetwork");
    // GitLab asks again who it is, and another person sees something else.
    w.gitlab.create_user("eve");
    page.sign_in_with_gitlab("eve").await;
    page.wait_for("There is no such stack.").await;
    page.go("/").await;
    assert_eq!(page.who().await, "Eve @eve");
    assert!(!page.text().await.contains("Network"), "{}", page.text().await);
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_before_a_session_ended_is_sent_after_signing_in_again() {
    let (w, _) = World::with_people().await;
    w.member("ada", 50);
    let page = w.browser_of("ada", Screen::default()).await;
    page.go("/stacks/network/edit").await;
    page.fill("labels", "office").await;
    w.let_pass(Duration::from_secs(12 * 60 * 60)).await;
    page.press("Save").await;
    page.wait_for("Your request was not carried out").await;
    assert_eq!(page.violations().await, Vec::<String>::new());
    page.picture("sign-in-unsent").await;

    // GitLab comes in another tab: this one keeps what was typed.
    let first = page.driver.window().await.unwrap();
    page.press("Sign in with GitLab").await;
    let other = loop {
        let all = page.driver.windows().await.unwrap();
        match all.into_iter().find(|window| *window != first) {
            Some(other) => break other,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    page.driver.switch_to_window(other).await.unwrap();
    page.authorize("ada").await;
    page.wait_for("Close this tab").await;
    assert_eq!(page.violations().await, Vec::<String>::new());
    page.picture("signed-in").await;
    page.driver.close_window().await.unwrap();
    page.driver.switch_to_window(first).await.unwrap();
    page.press("Continue").await;
    page.wait_for("You are signed in again").await;
    let before = page.api(&w.key, "GET", "/stacks/network", Value::Null).await;
    assert_ne!(before["labels"], json!(["office"]), "nothing is sent before somebody says so");
    page.press("Submit again").await;
    page.wait_for("Saved.").await;
    let after = page.api(&w.key, "GET", "/stacks/network", Value::Null).await;
    assert_eq!(after["labels"], json!(["office"]));
    page.close().await;
}

/// A page that has been open all the time does not give more than its person has.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_in_gitlab_is_gone_from_open_pages() {
    let (w, application) = World::with_people().await;
    let ada = w.member("ada", 40);
    w.push("main", "two");
    let page = w.browser_of("ada", Screen::default()).await;
    let run = page.open_waiting().await;
    page.wait_for("Confirm and apply").await;

    // Nothing is loaded again from here on but by the page itself.
    w.gitlab.set_member(w.project, ada.id(), 20);
    w.let_pass(FIVE_MINUTES).await;
    page.wait_without("Confirm and apply").await;
    assert_eq!(page.place().await, run);
    page.wait_for("Needs confirmation").await;
    w.gitlab.set_member(w.project, ada.id(), 40);
    w.let_pass(FIVE_MINUTES).await;
    page.wait_for("Confirm and apply").await;

    // No member any more.
    w.gitlab.set_member(w.project, ada.id(), 0);
    w.let_pass(FIVE_MINUTES).await;
    page.wait_for("There is no such run.").await;
    page.go("/").await;
    assert!(!page.text().await.contains("Network"), "{}", page.text().await);
    w.gitlab.set_member(w.project, ada.id(), 40);
    w.let_pass(FIVE_MINUTES).await;
    page.go(&run).await;
    page.wait_for("Needs confirmation").await;
    page.wait_for("Confirm and apply").await;

    // Who takes the application back is led to the sign-in, and from there to the same page.
    ada.revoke_application(&application);
    w.let_pass(FIVE_MINUTES).await;
    page.wait_at("/sign-in?next=runs").await;
    page.sign_in_with_gitlab("ada").await;
    page.wait_at(&run).await;
    page.press("Confirm and apply").await;
    page.wait_for("Applied: 1 added").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_gitlab_people_read_and_keys_work() {
    let (w, _) = World::with_people().await;
    w.member("ada", 40);
    let page = w.browser(Screen::default()).await;
    w.gitlab.set_down(true);
    page.go("/sign-in").await;
    page.press("Sign in with GitLab").await;
    page.wait_for("GitLab cannot sign you in now").await;
    page.wait_for("Try again later, or sign in with an access key.").await;
    assert_eq!(page.violations().await, Vec::<String>::new());
    page.picture("sign-in-without-gitlab").await;
    page.press("Sign in").await;
    page.fill("key", &w.key).await;
    page.click("main form button").await;
    page.find("header .who").await;
    page.wait_for("Network").await;
    page.sign_out().await;

    w.gitlab.set_down(false);
    w.push("main", "two");
    page.sign_in_with_gitlab("ada").await;
    let run = page.open_waiting().await;
    w.gitlab.set_down(true);
    w.let_pass(2 * FIVE_MINUTES).await;
    page.go(&run).await;
    page.wait_for("1 to add, 0 to change, 0 to destroy").await;
    page.press("Confirm and apply").await;
    page.wait_for("GitLab cannot be asked for your rights").await;
    page.wait_for("You can go on reading.").await;
    assert_eq!(page.violations().await, Vec::<String>::new());
    page.picture("acting-without-gitlab").await;
    // Longer than that, nobody knows what they may see.
    w.let_pass(Duration::from_secs(60 * 60)).await;
    page.go(&run).await;
    page.wait_for("GitLab has not said for more than an hour what you may see.").await;
    w.gitlab.set_down(false);
    w.let_pass(FIVE_MINUTES).await;
    page.go(&run).await;
    page.wait_for("Needs confirmation").await;
    page.close().await;
}

/// A person is who they are by GitLab's ID, whatever they are called.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_gets_another_user_name_stays_who_they_are() {
    let (w, _) = World::with_people().await;
    let ada = w.member("ada", 40);
    w.push("main", "two");
    let page = w.browser_of("ada", Screen::default()).await;
    let run = page.open_waiting().await;
    w.gitlab.rename_user(ada.id(), "countess");
    // Somebody else takes the name that is free now.
    w.gitlab.create_user("ada");
    w.let_pass(FIVE_MINUTES).await;
    page.go(&run).await;
    assert_eq!(page.who().await, "Ada @countess");
    page.press("Confirm and apply").await;
    page.wait_for("Applied: 1 added").await;
    let found = page.api(&w.key, "GET", &run, Value::Null).await;
    let steps = found["history"].as_array().unwrap();
    let confirmed = steps.iter().find(|step| step["state"] == "confirmed").unwrap();
    assert_eq!(confirmed["by"], "Ada @countess", "{found}");
    page.go("/account").await;
    page.wait_for("You are signed in with GitLab as @countess.").await;

    let other = w.browser_of("ada", Screen::default()).await;
    assert_eq!(other.who().await, "Ada @ada");
    other.go(&run).await;
    other.wait_for("There is no such run.").await;
    other.go("/account").await;
    other.wait_for("current session").await;
    assert!(!other.text().await.contains("End all others"), "{}", other.text().await);
    other.close().await;
    page.close().await;
}
