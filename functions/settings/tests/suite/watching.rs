//! What pages say while somebody fills in a form, watches a run, or looks back at one.

use crate::{
    browser::Browser,
    support::{connected, signer},
};
use gantry_domain::{
    EventId, MergeRequestIid,
    protocol::StateDoubt,
    run::{Ending, Interest, Position, Run, RunState, RunType, Step},
    stack::{Blocked, LastApplied, StackHead},
    state::StateForm,
};
use gantry_fake_gitlab::Visibility;
use gantry_secrets::links::read_link;
use gantry_store::{
    keys,
    runner::StateVersion,
    scheduler::{CommandOutcome, ProjectVisibility, Subject},
};
use jiff::Timestamp;
use serde_json::{Value, json};
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
    let server = w.store.integration().await.unwrap().unwrap().value.api_host;
    let seen_by = async |server: &str, is_public| {
        let (project, asked_at) = (stack.project().unwrap(), w.clock.now());
        let seen = ProjectVisibility { project, server: server.to_owned(), is_public, asked_at };
        w.put(keys::project_visibility(project), &seen).await;
    };
    let seen = async |is_public| seen_by(&server, is_public).await;
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
    // Another server had another project with the same id.
    w.hand.advance(Duration::from_secs(10 * 60));
    seen_by("https://before.example.com", true).await;
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
    let link = format!("<a href=\"../runs/{}\">#{}</a>", holder.id, holder.number);
    let linked = format!("Queued behind {link}, which needs confirmation.");
    assert!(page.contains(&linked), "{page}");
    let by_link = w.ask("GET", &read_link(&signer(), "", &queued.id), None, &[], "").await;
    let page = by_link.expect(200).text;
    assert!(page.contains(&said), "who sees one run sees no other one: {page}");
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

/// What a run wrote of its stack's state that could not be made current.
fn rescued(run: &Run, number: u64, at: Timestamp) -> StateVersion {
    StateVersion {
        number,
        serial: number,
        lineage: "l1".to_owned(),
        digest: "0".repeat(64),
        object: "o".to_owned(),
        size: 100,
        resources: Some(1),
        form: StateForm::Plain,
        run: Some(run.id.clone()),
        by: run.id.to_string(),
        rescued: true,
        found: false,
        at,
    }
}

#[tokio::test]
async fn a_run_that_blocked_its_stack_says_so_and_what_to_do_until_it_is_unblocked() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "a", RunState::Failed).await;
    run.doubt = Some(StateDoubt::KeptAside);
    w.save_run(&run).await;
    let mut other = w.run(&stack, "b", RunState::Failed).await;
    other.lost = true;
    w.save_run(&other).await;
    let mut next = w.run(&stack, "c", RunState::Queued).await;
    next.position = Position::StackQueue;
    w.save_run(&next).await;
    let reason = "the newest state was set aside <b>".to_owned();
    let blocked = Blocked { run: run.id.clone(), reason, since: w.clock.now() };
    let head = StackHead { blocked: Some(blocked), ..StackHead::default() };
    w.set_head(&stack.id, head).await;

    let path = format!("/runs/{}", run.id);
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get(&path).await.expect(200).text;
    for said in [
        "<strong>This run blocked its stack</strong>",
        ": the newest state was set aside &#60;b&#62;. Nothing is deployed until an admin unblocks",
        "If a state was rescued, restore it before you unblock the stack",
        "<a href=\"../stacks/network#blocked\">Unblock the stack</a>",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let stack_page = browser.get("/stacks/network").await.expect(200).text;
    assert!(stack_page.contains("id=\"blocked\"><strong>Blocked</strong>"), "{stack_page}");
    let api = w.get(&format!("/api/v1{path}")).await.expect(200).body;
    assert_eq!(api["blocks_stack"]["run"], run.id.as_str(), "{api:#}");
    assert_eq!(api["blocks_stack"]["reason"], "the newest state was set aside <b>");

    // Both pages name the version that was kept.
    let version = rescued(&run, 4, w.clock.now());
    w.put(keys::state_version(&stack.id, 4), &version).await;
    w.put(keys::state_version(&stack.id, 5), &rescued(&other, 5, w.clock.now())).await;
    let said = "Version 4 of the state was rescued: if it is correct, restore it before you";
    for path in [path.as_str(), "/stacks/network"] {
        let page = browser.get(path).await.expect(200).text;
        assert!(page.contains(said), "{path}: {page}");
    }

    // Whoever may not unblock it is told who may; whoever has the link alone is led nowhere.
    let key = w.key("read").await;
    let reader = Browser::sign_in(&w, &key).await.get(&path).await.expect(200).text;
    assert!(reader.contains("#blocked\">Open the stack</a>"), "{reader}");
    let by_link = w.ask("GET", &read_link(&signer(), "", &run.id), None, &[], "").await;
    let by_link = by_link.expect(200).text;
    assert!(by_link.contains("until an admin unblocks the stack"), "{by_link}");
    assert!(!by_link.contains("#blocked"), "{by_link}");

    // It is this run's news alone; one that queues says what for.
    let page = browser.get(&format!("/runs/{}", other.id)).await.expect(200).text;
    assert!(!page.contains("blocked its stack"), "{page}");
    let api = w.get(&format!("/api/v1/runs/{}", other.id)).await.expect(200).body;
    assert_eq!(api["blocks_stack"], Value::Null);
    let api = w.get(&format!("/api/v1/runs/{}", next.id)).await.expect(200).body;
    let name = format!("#{}", run.number);
    let said = "Queued until an admin unblocks the stack, which was blocked by";
    assert_eq!(api["waits_for"], format!("{said} {name}."));
    // A module's run waits too, also where it is the first to read what is to be tested.
    for position in [Position::StackQueue, Position::Tests] {
        (next.module, next.position) = (true, position);
        w.save_run(&next).await;
        let api = w.get(&format!("/api/v1/runs/{}", next.id)).await.expect(200).body;
        let said = said.replace("stack", "module");
        assert_eq!(api["waits_for"], format!("{said} {name}."), "{position:?}");
    }

    w.set_head(&stack.id, StackHead::default()).await;
    let page = browser.get(&path).await.expect(200).text;
    assert!(!page.contains("blocked its stack"), "{page}");
    let api = w.get(&format!("/api/v1{path}")).await.expect(200).body;
    assert_eq!(api["blocks_stack"], Value::Null);
}

#[tokio::test]
async fn a_deploy_leads_back_to_what_was_merged_and_an_old_run_to_the_newer_commit() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "a", RunState::Canceled).await;
    run.ending = Some(Ending::new("Superseded by a4f1449d"));
    w.save_run(&run).await;
    let merged = Subject {
        branch: "main".to_owned(),
        merge_request: Some(MergeRequestIid(2)),
        fork_of: None,
        affected: 0,
        stacks: Vec::new(),
        to_tracked: true,
        decided_at: None,
    };
    let of = |subject: &str| keys::commit_subject(stack.project().unwrap(), &run.commit, subject);
    w.put(of("merged#2"), &merged).await;
    w.put(of("mr#3"), &Subject { merge_request: Some(MergeRequestIid(3)), ..merged }).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
    assert!(page.contains("/acme/network/-/merge_requests/2\">!2</a>"), "{page}");
    assert!(!page.contains("!3"), "{page}");
    let newer = "/acme/network/-/commit/a4f1449d\"><code>a4f1449d</code></a></strong>";
    assert!(page.contains("<strong>Superseded by <a href=") && page.contains(newer), "{page}");
    // What was merged later is of no preview.
    run.run_type = RunType::Proposed;
    run.ending = Some(Ending::new("Superseded by a newer run"));
    w.save_run(&run).await;
    let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
    assert!(!page.contains("<dt>Merge request"), "{page}");
    assert!(page.contains("<strong>Superseded by a newer run</strong>"), "{page}");
}

#[tokio::test]
async fn a_preview_says_that_it_is_old_while_somebody_is_interested_in_it() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "a", RunState::Finished).await;
    run.run_type = RunType::Proposed;
    let step = |state, at| Step { state, at, by: None, comment: None };
    let planned = run.created_at;
    run.history = [RunState::Planning, RunState::Finished].map(|to| step(to, planned)).into();
    run.interests = [Interest::MergeRequest(MergeRequestIid(2))].into();
    w.save_run(&run).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let says = async |how: &str| {
        let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
        page.contains(&format!("Another run of this stack {how} after this plan was made."))
    };
    let is_old = async || says("was applied").await;
    let last = |at| Some(LastApplied { run: run.id.clone(), commit: run.commit.clone(), at });
    let applied = async |at| {
        let head = StackHead { last_applied: last(at), ..StackHead::default() };
        w.set_head(&stack.id, head).await;
    };
    assert!(!is_old().await);
    applied(planned).await;
    assert!(!is_old().await, "it was planned with what that left");
    applied(w.clock.now()).await;
    assert!(is_old().await);
    let in_part = StackHead {
        last_applied: last(planned),
        last_applied_in_part: last(w.clock.now()),
        ..StackHead::default()
    };
    w.set_head(&stack.id, in_part).await;
    assert!(!is_old().await && says("may have been applied in part").await);
    applied(w.clock.now()).await;
    let merged = Run { interests: Default::default(), ..run.clone() };
    w.save_run(&merged).await;
    assert!(!is_old().await, "nobody asks what would change now");
}

#[tokio::test]
async fn a_deploy_that_failed_while_it_was_applied_says_what_that_means() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "a", RunState::Failed).await;
    run.ending = Some(Ending::new("no"));
    let browser = Browser::sign_in(&w, &w.admin).await;
    let begun = run.history.remove(0);
    let said = "A part of this change may have been applied: see the log.";
    for (before, lost, is_in_part) in [
        (RunState::Planning, false, false),
        (RunState::Applying, false, true),
        (RunState::Applying, true, false),
    ] {
        run.history =
            [before, RunState::Failed].map(|to| Step { state: to, ..begun.clone() }).into();
        run.lost = lost;
        w.save_run(&run).await;
        let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
        assert_eq!(page.contains(said), is_in_part, "{before} {lost}: {page}");
    }
    // The runner knows better.
    let errors = vec!["Nothing was applied: Stopped by ada".to_owned()];
    run.lost = false;
    run.ending = Some(Ending { errors, ..Ending::new("Interrupted by ada") });
    w.save_run(&run).await;
    let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
    assert!(!page.contains(said), "{page}");
}

#[tokio::test]
async fn the_link_to_a_modules_run_opens_its_tests_and_no_other_ones() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut suite = w.run(&stack, "suite", RunState::Finished).await;
    suite.module = true;
    w.save_run(&suite).await;
    let other = w.run(&stack, "other", RunState::Finished).await;
    let mut tests = Vec::new();
    for (name, of) in [("basic", &suite), ("elsewhere", &other)] {
        let mut test = w.run(&stack, name, RunState::Finished).await;
        test.run_type = RunType::Test;
        let case = json!({ "name": name, "project_root": "examples", "variables": {},
            "negative": false, "depends_on": [], "tool": null, "tool_version": null });
        let of = json!({ "suite": of.id, "case": case, "tracked": true });
        test.test = Some(serde_json::from_value(of).unwrap());
        w.save_run(&test).await;
        tests.push(test);
    }
    let link = read_link(&signer(), "", &suite.id);
    let page = w.ask("GET", &link, None, &[], "").await.expect(200).text;
    let to_test = read_link(&signer(), "", &tests[0].id);
    assert!(page.contains(&format!("<a href=\"..{to_test}\">basic</a>")), "{page}");
    assert!(!page.contains("elsewhere"), "{page}");
    w.ask("GET", &to_test, None, &[], "").await.expect(200);
    // Who may see all of them needs no key.
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get(&format!("/runs/{}", suite.id)).await.expect(200).text;
    assert!(page.contains(&format!("<a href=\"../runs/{}\">basic</a>", tests[0].id)), "{page}");
    assert!(!page.contains("?key="), "{page}");
}
