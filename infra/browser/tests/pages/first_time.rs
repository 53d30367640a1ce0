//! From the first sign-in to the first deployment, with a browser and a `git push`.

use crate::support::{Page, Screen, World};
use serde_json::json;
use std::time::{Duration, Instant};
use thirtyfour::Key;

#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_sign_in_to_a_deployment() {
    let w = World::new().await;
    let page = w.browser(Screen::default()).await;
    page.go("/").await;
    assert_eq!(page.place().await, "/sign-in?next=");
    page.fill("key", "gantry_no").await;
    page.press("Sign in").await;
    page.wait_for("That key is not valid.").await;
    page.sign_in(&w.key).await;
    page.wait_for("Connect GitLab").await;

    page.press("Set up").await;
    page.fill("api_host", w.gitlab.base_url()).await;
    page.fill("token", "glpat-nobody").await;
    page.press("Save").await;
    page.wait_for("Check the highlighted fields").await;
    let token = page.find("[name=token]").await;
    assert_eq!(token.attr("aria-invalid").await.unwrap().as_deref(), Some("true"));
    page.fill("token", &w.token).await;
    page.press("Save").await;
    page.wait_for("Saved: connected").await;
    page.picture("gitlab").await;

    page.go("/").await;
    page.press("Create your first stack").await;
    page.fill("name", "Network").await;
    page.fill("project", "netw").await;
    page.find("#projects option[value='acme/network']").await;
    page.fill("project", "acme/network").await;
    page.fill("branch", "ma").await;
    page.find("#branches option[value='main']").await;
    page.fill("branch", "main").await;
    page.fill("project_root", "network").await;
    page.fill("labels", "office").await;
    page.wait_for("network exists.").await;
    page.press("Create stack").await;
    page.wait_for("The webhook exists and is configured correctly.").await;
    page.picture("stack-made").await;
    assert_eq!(w.gitlab.hooks(w.project).len(), 1);

    // Nothing is loaded again from here on but by the page itself.
    let commit = w.push("main", "two");
    page.go("/").await;
    page.wait_for("Needs confirmation").await;
    page.picture("overview").await;
    page.click("#live tbody a").await;
    page.wait_for("1 to add, 0 to change, 0 to destroy").await;
    page.wait_for("terraform_data.office").await;
    let log = page.find("#log").await.text().await.unwrap();
    assert!(log.contains("Terraform will perform the following actions"), "{log}");
    page.run("document.querySelectorAll('details.resource').forEach((d) => { d.open = true })")
        .await;
    page.picture("run").await;
    page.press("Confirm and apply").await;
    page.wait_for("Applied: 1 added").await;
    let deployments = w.gitlab.deployments(w.project);
    assert_eq!(deployments.len(), 1);
    assert_eq!(
        (deployments[0].status.as_str(), deployments[0].sha.as_str()),
        ("success", &*commit)
    );
    page.picture("run-finished").await;

    page.go("/stacks/network").await;
    page.wait_for("Serial 1, 1 resource").await;
    let environment = page.find("a[href*='/-/environments/']").await.attr("href").await.unwrap();
    let id = w.gitlab.environments(w.project)[0].id;
    assert!(environment.unwrap().ends_with(&format!("acme/network/-/environments/{id}")));
    page.go("/events").await;
    page.wait_for("network/main.tf changed").await;
    page.go("/activity").await;
    page.wait_for("confirm the run").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_follows_pauses_and_is_searched() {
    let w = World::with_a_stack().await;
    let page = w.browser(Screen::default()).await;
    page.sign_in(&w.key).await;
    page.go("/stacks/network/edit").await;
    page.press("Shell commands around the phases").await;
    let hook = "for i in 1 2 3 4 5 6; do echo \"line $i of the hook\"; sleep 1; done";
    page.fill("hooks.before_plan[0]", hook).await;
    page.press("Save").await;
    page.wait_for("Saved.").await;
    w.push("main", "slow");
    page.go("/stacks/network").await;
    page.wait_for("#1").await;
    page.click("#live tbody a").await;
    page.wait_for("line 2 of the hook").await;
    assert!(!page.text().await.contains("line 6 of the hook"), "the log is there while it runs");
    page.press("Pause").await;
    page.wait_for("Follow").await;
    page.press("Follow").await;
    page.wait_for("line 6 of the hook").await;
    page.wait_for("Confirm and apply").await;
    page.fill_id("log-find", "LINE 5 of\n").await;
    // The command itself is in the log as well.
    page.wait_for("Found in 1 line.").await;
    assert_eq!(page.find("#log-found code").await.text().await.unwrap(), "line 5 of the hook");
    page.close().await;
}

/// Whether the part of the log that is on the page has these words.
async fn is_in_log(page: &Page, words: &str) -> bool {
    let script = format!("return document.getElementById('log').textContent.includes({words:?})");
    page.run(&script).await == true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_is_read_and_searched_to_its_beginning() {
    let w = World::with_a_stack().await;
    let page = w.browser(Screen::default()).await;
    page.sign_in(&w.key).await;
    let hooks = json!({ "before_plan": ["seq -f 'line %g of many' 1 3000"] });
    page.api(&w.key, "PUT", "/stacks/network", json!({ "hooks": hooks })).await;
    w.push("main", "long");
    page.go("/stacks/network").await;
    page.wait_for("#1").await;
    page.click("#live tbody a").await;
    page.wait_for("Confirm and apply").await;
    let run = page.place().await;
    page.go(&run).await;
    page.wait_for("The log begins before these lines.").await;
    assert!(is_in_log(&page, "line 3000 of many").await);
    assert!(!is_in_log(&page, "line 1 of many").await);
    let began = Instant::now();
    while !is_in_log(&page, "line 1 of many").await {
        assert!(began.elapsed() < Duration::from_secs(60), "the beginning does not come");
        page.run("document.getElementById('log').scrollTop = 0").await;
    }
    let lines =
        "const all = document.getElementById('log').textContent.match(/line \\d+ of many/g);
        return [all.length, all[0], new Set(all).size]";
    assert_eq!(page.run(lines).await, json!([3000, "line 1 of many", 3000]));
    assert!(!page.text().await.contains("The log begins before these lines."));

    page.fill_id("log-find", "line 29\n").await;
    page.wait_for("Found in 100 lines of this part.").await;
    page.press("Search further").await;
    page.wait_for("Found in 11 lines of this part.").await;
    page.click("#log-found li:nth-child(3) a").await;
    page.wait_for("Newest lines").await;
    let place = page.place().await;
    let at = page.find("#at").await.text().await.unwrap();
    assert!(at.starts_with("line 29") && place.ends_with("#at"), "{at} at {place}");
    // What comes after it is loaded when somebody scrolls down to it.
    let began = Instant::now();
    while !is_in_log(&page, "Plan: 1 to add").await {
        assert!(began.elapsed() < Duration::from_secs(60), "the end does not come");
        page.run("const log = document.getElementById('log'); log.scrollTop = log.scrollHeight")
            .await;
    }
    page.close().await;

    for (dark, narrow) in [(false, false), (true, false), (false, true), (true, true)] {
        let page = w.browser(Screen { dark, narrow, ..Screen::default() }).await;
        page.sign_in(&w.key).await;
        page.go(&place).await;
        page.find("#log-found a").await;
        page.picture("log").await;
        assert_eq!(page.violations().await, Vec::<String>::new());
        page.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_unfolded_found_and_pointed_at() {
    let w = World::with_a_stack().await;
    let page = w.browser(Screen::default()).await;
    page.sign_in(&w.key).await;
    let hooks = json!({ "before_plan": ["seq -f 'line %g of three' 1 3"] });
    page.api(&w.key, "PUT", "/stacks/network", json!({ "hooks": hooks })).await;
    let second = "\nresource \"terraform_data\" \"second\" {}\n";
    let code = format!("resource \"terraform_data\" \"office\" {{}}\n{second}");
    w.you.push(w.project, "main", "network/main.tf", &code).unwrap();
    page.go("/stacks/network").await;
    page.wait_for("#1").await;
    page.click("#live tbody a").await;
    page.wait_for("Confirm and apply").await;
    page.wait_for("terraform_data.second").await;
    let title = page.driver.title().await.unwrap();
    assert!(title.starts_with("(1) Needs confirmation · network #1"), "it follows: {title}");

    // What was typed stays while the page follows.
    page.fill("comment", "Agreed.").await;
    page.run("document.activeElement.blur()").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let typed = "return document.getElementById('comment').value";
    assert_eq!(page.run(typed).await, "Agreed.");

    let open = "return [...document.querySelectorAll('#resources details')].map((d) => d.open)";
    assert_eq!(page.run(open).await, json!([false, false]));
    page.press("Expand all").await;
    assert_eq!(page.run(open).await, json!([true, true]));
    page.press("Collapse all").await;
    assert_eq!(page.run(open).await, json!([false, false]));

    // A search has an address.
    page.fill("text", "second").await;
    page.wait_for("1 resource").await;
    let began = Instant::now();
    while !page.place().await.ends_with("?text=second") {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", page.place().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // A line's number is its address.
    let number = "const all = [...document.querySelectorAll('#log a.no')];
        const one = all.find((a) => a.nextSibling?.textContent.startsWith('line 2 of three'));
        one.click();
        return [one.classList.contains('here'), one.dataset.n, location.href]";
    let found = page.run(number).await;
    assert_eq!(found[0], true, "{found}");
    let place = page.place().await;
    assert!(place.contains("?at=") && place.ends_with("#at"), "{place}");
    let away = w.browser(Screen::default()).await;
    away.sign_in(&w.key).await;
    away.go(&place).await;
    assert_eq!(away.find("#at").await.text().await.unwrap(), "line 2 of three");
    away.close().await;

    // From line to line by keyboard.
    page.fill_id("log-find", "of three\n").await;
    page.wait_for("Found in 4 lines.").await;
    for (keys, said) in [("\n", "1 of 4 lines"), ("\n", "2 of 4 lines"), ("\n", "3 of 4 lines")] {
        page.driver.active_element().await.unwrap().send_keys(keys).await.unwrap();
        page.wait_for(said).await;
        page.find("#log-find:focus").await;
    }
    let back = Key::Shift + Key::Enter;
    page.driver.active_element().await.unwrap().send_keys(back).await.unwrap();
    page.wait_for("2 of 4 lines").await;
    assert_eq!(page.find("#at").await.text().await.unwrap(), "line 1 of three");
    page.picture("run-found").await;
    assert_eq!(page.violations().await, Vec::<String>::new());

    // The comment goes with the decision, and the apply is followed.
    page.go("/stacks/network").await;
    page.click("#live tbody a").await;
    page.fill("comment", "Agreed.").await;
    page.press("Confirm and apply").await;
    page.wait_for("Applied").await;
    page.wait_for("Agreed.").await;
    page.close().await;
}
