//! Errors stand beside the fields that caused them, and what was typed stays.

use crate::support::{Page, Screen, World};
use serde_json::{Value, json};
use thirtyfour::prelude::*;

/// What a field's error says.
async fn error_of(page: &Page, name: &str) -> String {
    page.find(&format!("[id='p-{name}']")).await.text().await.unwrap()
}

async fn value_of(page: &Page, name: &str) -> String {
    page.find(&format!("[name='{name}']")).await.value().await.unwrap().unwrap_or_default()
}

/// The name of the field that has the focus.
async fn focused(page: &Page) -> String {
    let field = page.driver.active_element().await.unwrap();
    field.attr("name").await.unwrap().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_form_says_what_is_wrong_beside_its_fields() {
    let w = World::new().await;
    let page = w.browser(Screen::default()).await;
    page.sign_in(&w.key).await;
    for (host, said) in [
        ("http://127.0.0.1:1", "127.0.0.1"),
        ("ftp://gitlab.example", ""),
        ("http://gitlab.example", "https"),
    ] {
        page.go("/gitlab").await;
        page.fill("api_host", host).await;
        page.fill("token", "glpat-x").await;
        page.press("Save").await;
        let problem = error_of(&page, "api_host").await;
        assert!(problem.contains(said), "{host}: {problem}");
        assert_eq!(value_of(&page, "api_host").await, host);
        assert_eq!(value_of(&page, "token").await, "", "a token is in no page");
    }
    // Once it was typed, it counts when the address is right.
    page.go("/gitlab").await;
    page.fill("api_host", "http://127.0.0.1:1").await;
    page.fill("token", &w.token).await;
    page.press("Save").await;
    error_of(&page, "api_host").await;
    page.fill("api_host", w.gitlab.base_url()).await;
    page.press("Save").await;
    page.wait_for("Saved: connected").await;

    page.go("/stacks/new").await;
    page.run("document.querySelectorAll('[required]').forEach((f) => { f.required = false })")
        .await;
    page.fill("slug", "Not A Slug").await;
    page.fill("project", "acme/nowhere").await;
    page.fill("branch", "a..b").await;
    page.fill("project_root", "../up").await;
    page.fill("project_globs", "ok/**").await;
    page.find("[name=project_globs]").await.send_keys(Key::Enter + "/bad").await.unwrap();
    page.fill("tool_version", "latest").await;
    page.fill("on_tag.pattern", "v[").await;
    page.fill("variables[0].name", "1A").await;
    page.fill("variables[0].value", "x").await;
    page.fill("variables[1].name", "SECRET").await;
    page.fill("variables[1].value", "geheim").await;
    page.click("[name='variables[1].secret']").await;
    page.press("Add variable").await;
    page.find("[name='variables[3].name']").await;
    page.press("Create stack").await;
    page.wait_for("Check the highlighted fields").await;
    for (field, said) in [
        ("name", "Enter a name."),
        ("slug", "valid slug"),
        ("project", "not visible to the user gantry-bot"),
        ("branch", "Not a valid branch name"),
        ("project_root", "without"),
        ("project_globs", "line 2"),
        ("tool_version", "released version"),
        ("on_tag.pattern", "Not a valid glob"),
    ] {
        let problem = error_of(&page, field).await;
        assert!(problem.contains(said), "{field}: {problem}");
    }
    assert_eq!(value_of(&page, "branch").await, "a..b");
    assert_eq!(value_of(&page, "project_globs").await, "ok/**\n/bad");
    assert_eq!(value_of(&page, "variables[0].name").await, "1A");
    let text = page.text().await;
    assert!(text.contains("Use only letters, digits and _"), "{text}");
    assert!(text.contains("Choose which runs get the secret"), "{text}");
    assert!(!page.driver.source().await.unwrap().contains("geheim"));
    assert_eq!(focused(&page).await, "project");
    page.picture("stack-form-errors").await;

    page.go("/keys").await;
    page.fill("name", "first-admin-key").await;
    page.find("[name=role] option[value=read]").await.click().await.unwrap();
    page.press("Create key").await;
    assert!(error_of(&page, "name").await.contains("Another key"));

    page.go("/operations").await;
    assert!(page.text().await.contains("Every message was handled."));
    page.press("Pause runs").await;
    page.wait_for("Runs are paused (by first-admin-key").await;
    page.picture("operations-paused").await;
    page.go("/").await;
    page.wait_for("Runs are paused by first-admin-key").await;
    page.click("a[href$=operations]").await;
    page.press("Resume runs").await;
    page.wait_for("Runs start normally.").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_can_be_sent_past_all_scripts() {
    let w = World::with_a_stack().await;
    w.push("main", "two");
    let page = w.browser(Screen::default()).await;
    page.sign_in(&w.key).await;
    page.go("/").await;
    // Each form has a target and its token, and `submit()` asks no listener.
    page.wait_for("Needs confirmation").await;
    page.click("#live tbody a").await;
    page.wait_for("Confirm and apply").await;
    let forms = page
        .run(
            "return [...document.forms].every((f) => f.method === 'get' ||
               (f.method === 'post' && f.action && f.querySelector('[name=_token]')))",
        )
        .await;
    assert_eq!(forms, true);
    page.run("document.querySelector('form[action$=\"/confirm\"]').submit()").await;
    page.wait_for("Applied").await;
    page.close().await;
}

/// A text as a browser has it: of several lines, ended as on another system, with a break at its end.
const PEM: &str = "-----BEGIN-----\r\nabc\r\n-----END-----\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn one_label_is_changed_and_nothing_else() {
    let w = World::with_a_stack().await;
    let page = w.browser(Screen::default()).await;
    page.sign_in(&w.key).await;
    let definition = json!({
        "variables": [
            { "name": "PEM", "value": PEM, "secret": false, "runs": "all" },
            { "name": "LINES", "value": "\n one\n\ntwo \n\n", "secret": false, "runs": "all" },
            { "name": "SECRET", "value": "one\ntwo", "secret": true, "runs": "tracked" },
        ],
        "hooks": {
            "before_init": ["if true\nthen\n  echo one\nfi\n", "echo two"],
            "after_apply": ["echo \"an end\"\r\n"],
        },
    });
    page.go("/stacks/network").await;
    let mut before = page.api(&w.key, "PUT", "/stacks/network", definition).await;
    assert_eq!(before["variables"][0]["value"], PEM, "{before}");
    page.go("/stacks/network/edit").await;
    page.press("Shell commands around the phases").await;
    let commands = page.driver.find_all(By::Css("[name^='hooks.before_init[']")).await.unwrap();
    assert_eq!(commands.len(), 3, "each has its own field, and one is free");
    assert_eq!(value_of(&page, "variables[1].value").await, "\n one\n\ntwo \n\n");
    assert_eq!(value_of(&page, "variables[2].value").await, "");
    page.fill("labels", "office").await;
    page.press("Save").await;
    page.wait_for("Saved.").await;
    let after = page.api(&w.key, "GET", "/stacks/network", Value::Null).await;
    before["labels"] = json!(["office"]);
    for field in before.as_object().unwrap().keys().filter(|field| after.get(field).is_some()) {
        if !["version", "status"].contains(&field.as_str()) {
            assert_eq!(before[field], after[field], "{field}");
        }
    }
    page.go("/activity").await;
    page.wait_for("changed labels").await;

    // A secret and a hook of several lines are typed.
    page.go("/stacks/network/edit").await;
    page.find("[name='variables[2].value']")
        .await
        .send_keys("three" + Key::Enter + "four")
        .await
        .unwrap();
    page.press("Shell commands around the phases").await;
    page.find("[name='hooks.before_plan[0]']")
        .await
        .send_keys("one" + Key::Enter + "two")
        .await
        .unwrap();
    page.click("[data-add-row=commands-before_plan]").await;
    page.fill("hooks.before_plan[1]", "three").await;
    page.press("Save").await;
    page.wait_for("Saved.").await;
    let after = page.api(&w.key, "GET", "/stacks/network", Value::Null).await;
    assert_eq!(after["hooks"]["before_plan"], json!(["one\ntwo", "three"]));
    assert_eq!(after["hooks"]["before_init"], before["hooks"]["before_init"]);
    assert_eq!(after["variables"][0]["value"], PEM);
    page.close().await;

    for screen in [
        Screen::default(),
        Screen { dark: true, ..Screen::default() },
        Screen { narrow: true, ..Screen::default() },
    ] {
        let page = w.browser(screen).await;
        page.sign_in(&w.key).await;
        page.go("/stacks/network/edit").await;
        page.press("Shell commands around the phases").await;
        page.picture("stack-edit-lines").await;
        page.go("/gitlab/unlink").await;
        page.picture("question").await;
        page.close().await;
    }
}
