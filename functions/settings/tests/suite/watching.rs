//! What pages say while somebody fills in a form, watches a run, or looks back at one.

use crate::{
    browser::Browser,
    support::{connected, signer},
};
use gantry_domain::{
    EventId,
    run::{Position, RunState, Step},
    stack::StackHead,
};
use gantry_fake_gitlab::Visibility;
use gantry_secrets::links::read_link;
use gantry_store::{
    keys,
    scheduler::{CommandOutcome, ProjectVisibility},
};
use std::time::Duration;

const PICK: &str = "project=acme/network&branch=&project_root=";

#[tokio::test]
async fn a_form_suggests_what_the_project_has() {
    let w = connected().await;
    let dev = w.gitlab.person("ada");
    w.gitlab.set_member(w.project, dev.id(), 40);
    for path in ["live/eu/main.tf", "live/us/main.tf", "modules/net/main.tf"] {
        dev.push(w.project, "main", path, "# one").unwrap();
    }
    let browser = Browser::sign_in(&w, &w.admin).await;
    let pick = async |what: &str, typed: &str| {
        browser.get(&format!("/pick/{what}?{PICK}{typed}")).await.expect(200).text
    };
    let project = pick("project", "").await;
    assert!(project.contains("default branch is main"), "{project}");
    assert!(project.contains("data-fill=\"branch\" data-value=\"main\""), "{project}");
    assert!(project.contains("data-fill=\"name\" data-value=\"network\""), "{project}");
    let folders = pick("folders", "li").await;
    assert_eq!(folders, "<option value=\"live\"></option>");
    let folders = pick("folders", "live/").await;
    assert_eq!(folders, "<option value=\"live/eu\"></option><option value=\"live/us\"></option>");
    assert_eq!(pick("folders", "../").await, "");
    assert!(pick("root", "live/eu").await.contains("good"), "the default branch has it");
    assert!(pick("root", "live/asia").await.contains("live/asia does not exist in main."));
    let gone = browser.get("/pick/root?project=acme/gone&project_root=x").await.expect(200).text;
    assert!(gone.contains("No such project"), "{gone}");
    w.gitlab.set_down(true);
    let away = pick("root", "live/eu").await;
    assert!(away.contains("warn") && away.contains("GitLab"), "{away}");
}

#[tokio::test]
async fn what_was_asked_for_is_told_while_it_is_news() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "a", RunState::Confirmed).await;
    let request = EventId::derive("form", &["1"]);
    let outcome = CommandOutcome {
        actor: "ada".to_owned(),
        done: true,
        message: "It was confirmed just now".to_owned(),
        run: Some(run.id.clone()),
        at: w.clock.now(),
    };
    w.put(keys::command(&stack.id, &request), &outcome).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let address = format!("/runs/{}?asked={request}", run.id);
    let is_told = async || {
        let page = browser.get(&address).await.expect(200).text;
        let (told, follows) =
            (page.contains(&outcome.message), page.contains(&format!("?asked={request}\"")));
        assert_eq!(told, follows, "who watches reads it as long");
        told
    };
    assert!(is_told().await);
    w.hand.advance(Duration::from_secs(5));
    let (state, at) = (RunState::Applying, w.clock.now());
    run.state = state;
    run.history.push(Step { state, at, by: None, comment: None });
    w.save_run(&run).await;
    assert!(!is_told().await, "it is being applied, which is more than confirmed");
    run.history.pop();
    w.save_run(&run).await;
    assert!(is_told().await);
    w.hand.advance(Duration::from_secs(10 * 60));
    assert!(!is_told().await, "nobody was just asking");
}

#[tokio::test]
async fn who_comes_by_a_link_can_sign_in_and_come_back() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let link = read_link(&signer(), "", &run.id);
    let page = w.ask("GET", &link, None, &[], "").await.expect(200).text;
    let back = format!("href=\"../sign-in?next=runs%2F{}\"", run.id);
    assert!(page.contains("Sign in to confirm or discard"), "{page}");
    assert_eq!(page.matches(&back).count(), 2, "in the head, and where the button would be");
    let nobody = w.ask("GET", &format!("/runs/{}", run.id), None, &[], "").await.expect(401).text;
    assert!(nobody.contains(&back), "{nobody}");
    let signed_in = Browser::sign_in(&w, &w.admin).await;
    let page = signed_in.get(&format!("/runs/{}", run.id)).await.expect(200).text;
    assert!(!page.contains("sign-in?next="), "{page}");
}

#[tokio::test]
async fn a_key_opens_no_run_of_a_project_that_has_become_public() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let link = read_link(&signer(), "", &run.id);
    let log = link.replace("?key", "/log.txt?key");
    w.ask("GET", &link, None, &[], "").await.expect(200);
    let seen = async |is_public| {
        let (project, asked_at) = (stack.project().unwrap(), w.clock.now());
        let seen = ProjectVisibility { project, is_public, asked_at };
        w.put(keys::project_visibility(project), &seen).await;
    };
    let opens = async |status| {
        w.ask("GET", &link, None, &[], "").await.expect(status);
        w.ask("GET", &log, None, &[], "").await.expect(status);
    };
    seen(true).await;
    // What was learned before is believed for a while.
    w.hand.advance(Duration::from_secs(10 * 60));
    seen(true).await;
    opens(401).await;
    seen(false).await;
    opens(200).await;
    // Long ago somebody said that it was private.
    w.hand.advance(Duration::from_secs(10 * 60));
    w.gitlab.configure(w.project, |options| options.visibility = Visibility::Public);
    opens(401).await;
    w.hand.advance(Duration::from_secs(10 * 60));
    w.gitlab.configure(w.project, |options| options.visibility = Visibility::Private);
    opens(200).await;
    w.hand.advance(Duration::from_secs(10 * 60));
    w.gitlab.set_down(true);
    opens(401).await;
}

#[tokio::test]
async fn a_run_that_waits_says_for_which_one() {
    let w = connected().await;
    let stack = w.stack().await;
    let holder = w.run(&stack, "a", RunState::Unconfirmed).await;
    let mut queued = w.run(&stack, "b", RunState::Queued).await;
    queued.position = Position::StackQueue;
    w.save_run(&queued).await;
    let head = StackHead {
        last_number: queued.number,
        latest: Some(queued.id.clone()),
        tracked: Some(holder.id.clone()),
        ..StackHead::default()
    };
    w.set_head(&stack.id, head).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get(&format!("/runs/{}", queued.id)).await.expect(200).text;
    let said = format!("Queued behind #{}, which needs confirmation.", holder.number);
    assert!(page.contains(&said), "{page}");
    let api = w.get(&format!("/api/v1/runs/{}", queued.id)).await.expect(200).body;
    assert_eq!(api["waits_for"], said);
    let overview = browser.get("/").await.expect(200).text;
    let (_, stacks) = overview.split_once("id=\"rows\"").unwrap();
    assert!(stacks.contains(holder.id.as_str()), "the one that holds the stack: {stacks}");
    assert!(!stacks.contains(queued.id.as_str()), "{stacks}");
    w.ask("POST", &format!("/api/v1/runs/{}/confirm", holder.id), Some(&w.admin), &[], "").await;
    let named = format!("confirm the run network #{}", holder.number);
    let done = w.activities().await;
    assert!(done.iter().any(|activity| activity.1 == named), "{done:?}");
}
