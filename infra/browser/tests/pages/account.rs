//! A person's own sessions and keys, and those of all people at an admin's page.

use crate::{
    every_page::{SCREENS, look, refuse},
    support::{Screen, World},
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_with_gitlabs_consent_and_does_what_its_person_can() {
    let (w, _) = World::with_people().await;
    w.member("ada", 30);
    w.gitlab.create_user("eve");
    let page = w.browser_of("ada", Screen::default()).await;
    page.click("header a.who").await;
    page.wait_for("You are signed in with GitLab as @ada.").await;

    // With another account at GitLab there is none.
    page.fill("name", "laptop").await;
    page.press("Create key").await;
    page.wait_for("Confirm it there as @ada").await;
    page.press("Continue to GitLab").await;
    page.authorize("eve").await;
    page.wait_for("GitLab knows you as somebody else").await;
    page.go("/account").await;
    page.wait_for("Create key").await;
    assert!(!page.text().await.contains("Key laptop"), "{}", page.text().await);

    let key = page.make_key("ada", "laptop").await;
    assert!(key.starts_with("gantry_person_"), "{key}");
    let list = page.api(&key, "GET", "/stacks", Value::Null).await;
    assert_eq!(list["stacks"][0]["slug"], "network", "{list}");
    let denied = page.api(&key, "PUT", "/stacks/network", json!({ "name": "Ours" })).await;
    assert_eq!(denied["status"], 403, "{denied}");
    page.go("/account").await;
    page.wait_for("Key laptop").await;
    assert!(!page.driver.source().await.unwrap().contains(&key), "it is shown once");

    page.press("End").await;
    page.wait_for("End Key laptop?").await;
    page.press("Cancel").await;
    page.wait_for("Key laptop").await;
    page.press("End").await;
    page.wait_for("It stops working at once.").await;
    page.press("End").await;
    page.wait_for("What was ended no longer works.").await;
    assert!(!page.text().await.contains("Key laptop"), "{}", page.text().await);
    let refused = page.api(&key, "GET", "/stacks", Value::Null).await;
    assert_eq!(refused["status"], 401, "{refused}");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_where_their_person_or_an_admin_says_so() {
    let (w, _) = World::with_people().await;
    w.member("ada", 30);
    let here = w.browser_of("ada", Screen::default()).await;
    let there = w.browser_of("ada", Screen::default()).await;
    let key = there.make_key("ada", "robot").await;
    here.go("/account").await;
    here.press("End all others").await;
    here.wait_for("End all other sessions, and all your keys?").await;
    here.press("End all").await;
    here.wait_for("What was ended no longer works.").await;
    assert!(!here.text().await.contains("Key robot"), "{}", here.text().await);
    there.go("/stacks/network").await;
    assert_eq!(there.place().await, "/sign-in?next=stacks%2Fnetwork");
    let refused = here.api(&key, "GET", "/stacks", Value::Null).await;
    assert_eq!(refused["status"], 401, "{refused}");
    there.close().await;

    let admin = w.browser(Screen::default()).await;
    admin.sign_in(&w.key).await;
    admin.go("/keys").await;
    admin.press("People").await;
    admin.wait_for("@ada").await;
    admin.press("End all").await;
    admin.wait_for("End everything of Ada?").await;
    admin.press("End all").await;
    admin.wait_for("No sessions and no keys.").await;
    here.go("/stacks/network").await;
    assert_eq!(here.place().await, "/sign-in?next=stacks%2Fnetwork");
    // Who still has a role signs in again.
    here.sign_in_with_gitlab("ada").await;
    assert_eq!(here.place().await, "/stacks/network");
    admin.go("/activity").await;
    admin.wait_for("ended 1 session of Ada @ada").await;
    admin.close().await;
    here.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_is_accessible_small_and_fits_the_screen() {
    let (w, _) = World::with_people().await;
    w.member("ada", 30);
    let page = w.browser_of("ada", Screen::default()).await;
    page.make_key("ada", "laptop").await;
    page.close().await;
    let mut wrong = Vec::new();
    for (number, screen) in SCREENS.into_iter().enumerate() {
        let page = w.browser_of("ada", screen).await;
        page.go("/account").await;
        look(&page, "account-person", screen, &mut wrong).await;
        page.go("/account/end?others=on").await;
        look(&page, "account-question", screen, &mut wrong).await;
        refuse(&page, "/account", &[("name", "laptop")]).await;
        look(&page, "account-refused", screen, &mut wrong).await;
        page.fill("name", &format!("phone {number}")).await;
        page.press("Create key").await;
        page.wait_for("One more step").await;
        look(&page, "account-key", screen, &mut wrong).await;
        page.press("Continue to GitLab").await;
        page.authorize("ada").await;
        page.wait_for("Copy it now").await;
        look(&page, "account-key-made", screen, &mut wrong).await;
        page.close().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
