//! Everything but the live log works in a browser that runs no scripts.

use crate::support::{Page, Screen, World};
use gantry_fake_gitlab::{ProjectOptions, Visibility};

/// Chooses an option of a list by its value.
async fn choose(page: &Page, name: &str, value: &str) {
    page.click(&format!("main [name='{name}'] option[value='{value}']")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_sign_in_to_an_apply_and_to_the_end_of_the_stack() {
    let w = World::new().await;
    let options = ProjectOptions {
        files: vec![("main.tf".to_owned(), "resource \"terraform_data\" \"one\" {}\n".to_owned())],
        visibility: Visibility::Public,
        ..ProjectOptions::default()
    };
    w.gitlab.create_project("elsewhere/open", options).unwrap();
    let page = w.browser(Screen { without_scripts: true, ..Screen::default() }).await;
    page.sign_in(&w.key).await;
    page.set_up_gitlab(&w).await;
    page.make_stack("Network").await;
    // A script would have asked by itself.
    page.press("Check the project and its webhook").await;
    page.wait_for("The webhook exists and is configured correctly.").await;

    // A repository that is not at GitLab, whose runs are started by hand.
    page.go("/stacks/new").await;
    let more = page.find("[data-add-row]").await;
    assert!(!more.is_displayed().await.unwrap(), "a script has run");
    page.fill("name", "Open").await;
    choose(&page, "provider", "git").await;
    page.fill("project", "elsewhere/open").await;
    page.press("Create stack").await;
    page.wait_for("it must start with https://").await;
    let field = page.driver.active_element().await.unwrap();
    assert_eq!(field.attr("name").await.unwrap().as_deref(), Some("project"));
    page.fill("project", &format!("{}/elsewhere/open.git", w.gitlab.base_url())).await;
    page.press("Create stack").await;
    page.wait_for("Stack created. You can start its first run now.").await;
    page.press("Check the repository").await;
    page.wait_for("Branch main exists").await;
    page.press("Back to the stack").await;
    page.press("Start a run").await;
    page.press("Start").await;
    page.reload_until("Needs confirmation").await;
    page.reload_until("terraform_data.one").await;
    page.press("Confirm and apply").await;
    page.reload_until("Applied").await;
    page.reload_until("1 added").await;

    page.go("/stacks/open").await;
    page.wait_for("Serial 1, 1 resource").await;
    page.press("Edit").await;
    page.fill("name", "Wide open").await;
    page.press("Save").await;
    page.wait_for("Saved.").await;
    page.go("/?search=wide").await;
    page.wait_for("Wide open").await;
    page.go("/stacks/open").await;
    page.press("Delete this stack").await;
    choose(&page, "state", "keep").await;
    page.fill("slug", "open").await;
    page.press("Delete").await;
    page.wait_for("Last change").await;
    page.go("/activity").await;
    page.wait_for("deleted the stack open").await;
    page.fill("about", "open").await;
    choose(&page, "outcome", "refused").await;
    page.press("Filter").await;
    page.wait_for("Nothing matches.").await;
    choose(&page, "outcome", "done").await;
    page.press("Filter").await;
    page.wait_for("deleted the stack open").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_revoked_once_it_is_meant() {
    let w = World::new().await;
    let page = w.browser(Screen { without_scripts: true, ..Screen::default() }).await;
    page.sign_in(&w.key).await;
    page.go("/keys").await;
    page.fill("name", "Ada").await;
    choose(&page, "role", "read").await;
    page.press("Create key").await;
    page.wait_for("it won't be shown again").await;
    page.go("/keys").await;
    page.press("Revoke").await;
    page.wait_for("Revoke the key Ada?").await;
    page.press("Cancel").await;
    page.wait_for("Ada").await;
    page.press("Revoke").await;
    page.wait_for("This cannot be undone").await;
    page.press("Revoke").await;
    page.wait_for("Key revoked.").await;
    assert!(!page.text().await.contains("Ada"));
    page.close().await;
}
