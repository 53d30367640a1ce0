//! The pages: who sees them, which forms are taken, and that everything from outside stays text.

use crate::{
    browser::{Browser, FORM, form_of, hidden},
    support::{COMMIT, connected, signer, world},
};
use bytes::Bytes;
use gantry_domain::{
    plan::{Action, AttributeChange, Change, Delta, ResourceChange, Value as Shown},
    run::{Phase, RunState},
    stack::StackHead,
};
use gantry_secrets::links::read_link;
use gantry_store::{
    health::{Ended, Health},
    keys,
    runner::LogPiece,
    scheduler::GivenUp,
};
use serde_json::json;
use std::time::Duration;

/// Every page that needs a session, and the least role that sees it.
const PAGES: [(&str, &str); 21] = [
    ("/account", "read"),
    ("/people", "admin"),
    ("/sign-in/back", "read"),
    ("/modules", "read"),
    ("/modules/new", "admin"),
    ("/", "read"),
    ("/gitlab", "read"),
    ("/stacks/network", "read"),
    ("/stacks/network/history", "read"),
    ("/stacks/network/outputs", "read"),
    ("/stacks/network/resources", "read"),
    ("/events", "read"),
    ("/activity", "read"),
    ("/activity/export", "read"),
    ("/stacks/new", "admin"),
    ("/stacks/network/edit", "admin"),
    ("/stacks/network/check", "admin"),
    ("/keys", "admin"),
    ("/gitlab/unlink", "admin"),
    ("/gitlab/rotate", "admin"),
    ("/stacks/network/catch-up", "deploy"),
];

/// Every form, and the least role that may send it.
const FORMS: [(&str, &str); 27] = [
    ("/account/keys", "read"),
    ("/account/end", "read"),
    ("/people/end", "admin"),
    ("/modules/new", "admin"),
    ("/modules/network/edit", "admin"),
    ("/modules/network/versions", "deploy"),
    ("/modules/network/yank", "admin"),
    ("/modules/network/delete", "admin"),
    ("/gitlab", "admin"),
    ("/gitlab/rotate", "admin"),
    ("/gitlab/unlink", "admin"),
    ("/stacks/new", "admin"),
    ("/stacks/network/edit", "admin"),
    ("/stacks/network/webhook", "admin"),
    ("/stacks/network/unblock", "admin"),
    ("/stacks/network/delete", "admin"),
    ("/keys", "admin"),
    ("/keys/delete", "admin"),
    ("/stacks/network/catch-up", "deploy"),
    ("/stacks/network/runs", "deploy"),
    ("/stacks/network/drift", "deploy"),
    ("/stacks/network/tasks", "admin"),
    ("/operations/drift", "admin"),
    ("/runs/{run}/confirm", "deploy"),
    ("/runs/{run}/discard", "deploy"),
    ("/runs/{run}/review", "read"),
    ("/runs/{run}/retry", "deploy"),
];

#[tokio::test]
async fn a_key_signs_in_and_a_wrong_one_tells_nothing() {
    let w = connected().await;
    let got = w.ask("GET", "/stacks/network?a=b", None, &[], "").await.expect(303);
    assert_eq!(got.headers["location"], "../sign-in?next=stacks%2Fnetwork%3Fa%3Db");
    let try_key = async |key: &str| {
        let body = format!("key={key}&next=https://evil.example");
        w.ask("POST", "/sign-in", None, &[("content-type", FORM)], body).await
    };
    let wrong = try_key("gantry_wrong").await.expect(401);
    assert!(wrong.text.contains("That key is not valid.") && !wrong.text.contains("gantry_wrong"));
    let good = try_key(&w.admin).await.expect(303);
    assert_eq!(good.headers["location"], "./", "the way back stays here");
    for _ in 0..4 {
        try_key("gantry_wrong").await.expect(401);
    }
    let slow = try_key("gantry_wrong").await.expect(429);
    assert_eq!(slow.headers["retry-after"], "60");
    try_key(&w.admin).await.expect(429);
    w.hand.advance(Duration::from_secs(61));
    try_key(&w.admin).await.expect(303);
}

#[tokio::test]
async fn every_page_tells_admins_of_messages_that_were_given_up() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Finished).await;
    let of_run = format!("/runs/{}", run.id);
    let deployer = w.key("deploy").await;
    let admin = Browser::sign_in(&w, &w.admin).await;
    let pages = [
        ("/", ""),
        ("/runs", ""),
        ("/keys", ""),
        ("/gitlab", ""),
        ("/stacks/new", "../"),
        ("/stacks/network", "../"),
        (of_run.as_str(), "../"),
    ];
    let link = |root: &str| format!("<a href=\"{root}operations#dead\">View failed messages</a>");
    for (page, root) in pages {
        assert!(!admin.get(page).await.expect(200).text.contains(&link(root)), "{page}");
    }
    w.put(keys::given_up(), &GivenUp { count: 3, since: w.clock.now() }).await;
    w.hand.advance(Duration::from_secs(2 * 60 * 60));
    let deployer = Browser::sign_in(&w, &deployer).await;
    for (page, root) in pages {
        let text = admin.get(page).await.expect(200).text;
        assert!(text.contains("<strong>3 messages failed</strong> (noticed <time"), "{text}");
        assert!(text.contains(">2 h ago</time>)") && text.contains(&link(root)), "{text}");
        // Who cannot send them again is not told.
        assert!(!deployer.get(page).await.text.contains("messages failed"), "{page}");
    }
    // The page that shows them needs no banner.
    let text = admin.get("/operations").await.expect(200).text;
    assert!(text.contains("id=\"dead\"") && !text.contains("messages failed"), "{text}");
}

#[tokio::test]
async fn a_description_is_shown_as_markdown() {
    let w = connected().await;
    w.stack().await;
    let text = "Of **all** regions,\nsee [here](https://a.example/b).";
    let stack = "/api/v1/stacks/network";
    let got = w.send("PUT", stack, json!({ "description": text })).await.expect(200).body;
    assert_eq!(got["description"], text);
    let module = json!({
        "project": w.project.0, "name": "net", "slug": "net", "terraform_provider": "aws",
        "description": text,
    });
    w.post("/api/v1/modules", module).await.expect(201);
    let browser = Browser::sign_in(&w, &w.admin).await;
    for page in ["/stacks/network", "/modules/net"] {
        let page = browser.get(page).await.expect(200).text;
        let html =
            "Of <strong>all</strong> regions,\nsee <a href=\"https://a.example/b\">here</a>.";
        assert!(page.contains(html), "{page}");
    }
    let long = json!({ "description": "x".repeat(2_001) });
    let got = w.send("PUT", stack, long).await.expect(422);
    assert_eq!(got.error("description"), "Has 2001 characters; at most 2,000 are allowed");
    w.send("PUT", stack, json!({ "description": " \n" })).await.expect(200);
    assert_eq!(w.stored_stack("network").await.settings.description, None);
}

#[tokio::test]
async fn time_limits_are_typed_as_people_write_them() {
    let w = connected().await;
    w.stack().await;
    let stack = "/api/v1/stacks/network";
    let usual = json!({ "plan": 3_600, "apply": 7_200, "unconfirmed": 604_800 });
    assert_eq!(w.get(stack).await.expect(200).body["timeouts"], usual);
    let browser = Browser::sign_in(&w, &w.admin).await;
    let form = browser.get("/stacks/network/edit").await.expect(200).text;
    for shown in [
        r#"name="timeouts.plan" value="1 hour""#,
        r#"name="timeouts.apply" value="2 hours""#,
        r#"name="timeouts.unconfirmed" value="7 days""#,
    ] {
        assert!(form.contains(shown), "{shown}: {form}");
    }
    let fields = "version=1&name=Network&project=acme/network&branch=main&manage_state=on\
                  &timeouts.plan=90m&timeouts.apply=";
    let save = |time: &str| format!("{fields}&timeouts.unconfirmed={time}");
    let refused = browser.send("/stacks/network/edit", &save("soon")).await.expect(422).text;
    assert!(refused.contains(r#"name="timeouts.unconfirmed" value="soon""#), "{refused}");
    assert!(refused.contains("Use a duration such as 90m"), "{refused}");
    browser.send("/stacks/network/edit", &save("3+days")).await.expect(303);
    let set = json!({ "plan": 5_400, "apply": 7_200, "unconfirmed": 259_200 });
    assert_eq!(w.get(stack).await.expect(200).body["timeouts"], set);
    let page = browser.get("/stacks/network").await.expect(200).text;
    let said = "1 hour 30 minutes for a plan, 2 hours for an apply, 3 days to confirm";
    assert!(page.contains(said), "{page}");
}

#[tokio::test]
async fn what_is_sent_without_a_session_is_not_done_and_not_lost() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await.id;
    let here = [("content-type", FORM), ("sec-fetch-site", "same-origin")];
    let send = async |path: &str, body: &str, headers: &[(&str, &str)]| {
        w.ask("POST", path, None, headers, body.to_owned()).await
    };

    // A button leads back to its page.
    let got = send(&format!("/runs/{run}/confirm"), "_token=x", &here).await.expect(401).text;
    assert!(got.contains("Your request was not carried out"), "{got}");
    assert!(got.contains(&format!(r#"name="next" value="runs/{run}""#)), "{got}");
    assert!(!got.contains("name=\"kept\""), "{got}");

    // What was typed into a form is kept through a wrong key, and sent again by who typed it.
    let typed = "_token=old&name=N%3Ct&project=acme%2Fnetwork&variables%5B0%5D.value=a%0D%0Ab";
    let got = send("/stacks/new", typed, &here).await.expect(401).text;
    let kept = hidden(&got, "kept");
    assert!(got.contains(r#"name="next" value="stacks/new""#), "{got}");
    let form =
        |key: &str, kept: &str| form_of(&[("key", key), ("next", "stacks/new"), ("kept", kept)]);
    let wrong = send("/sign-in", &form("gantry_no", &kept), &here).await.expect(401).text;
    assert_eq!(hidden(&wrong, "kept"), kept);
    let again = send("/sign-in", &form(&w.admin, &kept), &here).await.expect(200);
    assert!(again.text.contains(r#"action="stacks/new""#), "{}", again.text);
    assert!(again.text.contains("Submit again"), "{}", again.text);
    for page in [&got, &wrong, &again.text] {
        assert!(!page.contains("N%3Ct") && !page.contains("N&#60;t"), "in clear text: {page}");
    }
    let cookie = again.headers["set-cookie"].to_str().unwrap();
    let browser = Browser { w: &w, cookie: cookie.split(';').next().unwrap().to_owned() };
    let sealed = form_of(&[("_again", &hidden(&again.text, "_again"))]);
    let form_again = browser.send("/stacks/new", &sealed).await.expect(422).text;
    for part in [r#"value="N&#60;t""#, "a\nb</textarea>", "Enter the variable&#39;s name."] {
        assert!(form_again.contains(part), "{part}: {form_again}");
    }
    let other = Browser::sign_in(&w, &w.admin).await;
    for (browser, path) in [(&other, "/stacks/new"), (&browser, "/modules/new")] {
        let got = browser.send(path, &sealed).await.expect(422).text;
        assert!(got.contains("What you typed is no longer kept"), "{path}: {got}");
    }

    // Another site has nothing sent in somebody's name.
    for (elsewhere, signed_in) in [
        (&[("content-type", FORM)][..], 303),
        (&[("content-type", FORM), ("sec-fetch-site", "cross-site")], 403),
        (&[("content-type", FORM), ("sec-fetch-site", "same-site")], 403),
    ] {
        let got = send("/stacks/new", typed, elsewhere).await.expect(401).text;
        assert!(!got.contains("name=\"kept\""), "{got}");
        let got = send("/sign-in", &form(&w.admin, &kept), elsewhere).await.expect(signed_in);
        // Nor is somebody signed in by it, with a key of the other site's.
        assert_eq!(got.headers.contains_key("set-cookie"), signed_in == 303, "{}", got.text);
    }
    // Not for ever, and nothing but what was sealed here.
    send("/sign-in", &form(&w.admin, typed), &here).await.expect(303);
    w.hand.advance(Duration::from_secs(12 * 60 * 60));
    send("/sign-in", &form(&w.admin, &kept), &here).await.expect(303);
}

#[tokio::test]
async fn where_there_is_nothing_a_page_says_so() {
    let w = connected().await;
    let html = [("accept", "text/html,*/*")];
    let got = w.ask("GET", "/stack/network", None, &html, "").await.expect(404).text;
    assert!(got.contains("Page not found") && got.contains("../sign-in"), "{got}");
    let browser = Browser::sign_in(&w, &w.admin).await;
    browser.get("/nothing").await.expect(404);
    let got = w.ask("GET", "/nothing", None, &[], "").await.expect(404).text;
    assert_eq!(got, "There is no page at this address.\n");
    w.ask("POST", "/nothing", None, &[], "").await.expect(404);
}

#[tokio::test]
async fn a_list_refuses_parameters_that_it_does_not_know() {
    let w = connected().await;
    w.stack().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    browser.get("/runs?page=2").await.expect(422);
    for page in ["/", "/modules", "/events", "/activity", "/stacks/network"] {
        browser.get(&format!("{page}?done=sent")).await.expect(200);
        let got = browser.get(&format!("{page}?page=2")).await.expect(422);
        assert!(got.headers["content-type"].to_str().unwrap().starts_with("text/html"), "{page}");
        assert!(got.text.contains("Check these query parameters: page."), "{}", got.text);
    }
}

#[tokio::test]
async fn what_shows_a_run_refuses_parameters_that_it_does_not_know() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    for (address, takes) in [
        ("", "action=create&find=x&group=module&page=1&section=plan&text=y&times=1"),
        ("/log", "before=end&times=1"),
        ("/log.txt", "key=old&times=1"),
    ] {
        let address = format!("/runs/{}{address}", run.id);
        browser.get(&format!("{address}?{takes}")).await.expect(200);
        for wrong in ["limit=2", "find=x&find=y&limit=2"] {
            let got = browser.get(&format!("{address}?{wrong}")).await.expect(422);
            assert!(got.text.contains("limit."), "{address}?{wrong}: {}", got.text);
        }
    }
    let page = browser.get(&format!("/runs/{}?stat=x", run.id)).await.expect(422);
    assert!(page.text.contains("<html") && page.text.contains("Sign out"), "{}", page.text);
}

#[tokio::test]
async fn a_session_ends_with_its_time_and_with_its_key() {
    let w = connected().await;
    let key = w.key("read").await;
    let browser = Browser::sign_in(&w, &key).await;
    browser.get("/").await.expect(200);
    w.ask("DELETE", "/api/v1/keys/read", Some(&w.admin), &[], "").await.expect(204);
    browser.get("/").await.expect(303);
    let admin = Browser::sign_in(&w, &w.admin).await;
    let out = admin.send("/sign-out", "").await.expect(303);
    assert!(out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    w.hand.advance(Duration::from_secs(12 * 60 * 60));
    admin.get("/").await.expect(303);
    let forged = Browser { w: &w, cookie: format!("{}x", admin.cookie) };
    forged.get("/").await.expect(303);
}

#[tokio::test]
async fn roles_see_and_do_what_is_theirs() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let rank = |role: &str| ["read", "deploy", "admin"].iter().position(|known| *known == role);
    for role in ["read", "deploy", "admin"] {
        let key = if role == "admin" { w.admin.clone() } else { w.key(role).await };
        let browser = Browser::sign_in(&w, &key).await;
        for (page, needs) in PAGES {
            let expected = if rank(role) >= rank(needs) { 200 } else { 403 };
            let got = browser.get(page).await;
            assert_eq!(got.status, expected, "{role} {page}: {}", got.text);
            assert!(!got.text.contains(&w.token), "the token is in no page");
        }
        let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
        assert_eq!(page.contains("Confirm and apply"), role != "read", "{role}");
        for (form, needs) in FORMS {
            if rank(role) < rank(needs) {
                let form = form.replace("{run}", run.id.as_str());
                let got = browser.send(&form, "slug=network&name=x&role=read&reason=x").await;
                assert_eq!(got.status, 403, "{role} {form}: {}", got.text);
                assert!(got.text.contains("You don&#39;t have permission"), "{}", got.text);
            }
        }
    }
    assert!(w.sent().iter().all(|m| m.kind() != "command"), "nobody may have asked for anything");
    let activity = Browser::sign_in(&w, &w.admin).await.get("/activity").await.expect(200).text;
    assert!(activity.contains("refused") && activity.contains("confirm the run"), "{activity}");
}

#[tokio::test]
async fn a_form_without_its_token_changes_nothing() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let (browser, other) =
        (Browser::sign_in(&w, &w.admin).await, Browser::sign_in(&w, &w.admin).await);
    let foreign = other.token("/events").await;
    let own = browser.token("/events").await;
    let before = w.get("/api/v1/keys").await.body;
    w.sent();
    for (form, _) in FORMS {
        let form = form.replace("{run}", run.id.as_str());
        let fields = "slug=network&name=x&role=read&reason=x&project=acme/network";
        for token in ["", "_token=&", "_token=x&", &format!("_token={foreign}&")] {
            let got = browser.send_with(&form, &format!("{token}{fields}"), &[]).await;
            assert_eq!(got.status, 403, "{form} {token}: {}", got.text);
        }
        let from_elsewhere = [("sec-fetch-site", "cross-site")];
        let got =
            browser.send_with(&form, &format!("_token={own}&{fields}"), &from_elsewhere).await;
        assert_eq!(got.status, 403, "{form}: {}", got.text);
    }
    assert!(w.sent().is_empty());
    assert_eq!(w.get("/api/v1/keys").await.body, before);
    assert_eq!(w.stored_stack("network").await, stack);
}

#[tokio::test]
async fn the_first_steps_are_made_with_forms_alone() {
    let w = world().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let empty = browser.get("/").await.expect(200).text;
    assert!(empty.contains("Set up") && empty.contains("Connect GitLab"), "{empty}");

    let wrong = browser.send("/gitlab", "api_host=http://127.0.0.1:1&token=glpat-x").await;
    let wrong = wrong.expect(422).text;
    assert!(wrong.contains("aria-invalid") && wrong.contains("http://127.0.0.1:1"), "{wrong}");
    assert!(!wrong.contains("glpat-x"), "a token is not written into a page");
    let host = w.gitlab.base_url();
    let wrong = browser.send("/gitlab", &format!("api_host={host}&token=wrong")).await.expect(422);
    assert!(wrong.text.contains("id=\"p-token\""), "{}", wrong.text);
    let fields = format!("api_host={host}&token={}", w.token);
    let saved = browser.send("/gitlab", &fields).await.expect(200).text;
    assert!(saved.contains("Saved: connected"), "{saved}");
    let page = browser.get("/gitlab").await.expect(200).text;
    assert!(page.contains("/webhooks/gitlab") && page.contains("gitlab_project_hook"));
    assert!(!page.contains("id=\"secret\""), "the secret is shown when asked for");
    assert!(page.contains("<dt>Signing token</dt>"), "{page}");
    let page = browser.get("/gitlab?show=secrets").await.expect(200).text;
    assert!(page.contains("id=\"secret\"") && !page.contains(&w.token));

    let wrong = browser
        .send(
            "/stacks/new",
            "name=&project=nowhere&branch=a..b&project_globs=ok%0D%0A/x&manage_state=on\
             &variables[0].name=1A&variables[0].value=geheim&variables[0].secret=on",
        )
        .await
        .expect(422)
        .text;
    for part in [
        "id=\"p-name\"",
        "id=\"p-project\"",
        "id=\"p-branch\"",
        "line 2:",
        "value=\"a..b\"",
        "Use only letters",
        "Choose which runs get the secret",
        "deploys only&#34;, previews do not get it.",
        "value=\"1A\"",
    ] {
        assert!(wrong.contains(part), "{part}: {wrong}");
    }
    assert!(!wrong.contains("geheim"), "a secret value is not written into a page");
    let made = browser
        .send(
            "/stacks/new",
            "name=Network&provider=gitlab&project=acme/network&branch=main&tool=terraform\
             &on_push=tracked&tracked_queue=every&manage_state=on&labels=a%0D%0Ab&make_webhook=on\
             &variables[0].name=A&variables[0].value=geheim&variables[0].secret=on\
             &variables[0].runs=tracked&variables[1].name=&variables[1].value=",
        )
        .await
        .expect(303);
    assert_eq!(made.headers["location"], "../stacks/network?made=checked#check");
    assert_eq!(w.gitlab.hooks(w.project).len(), 1);
    let page = browser.get("/stacks/network?made=checked").await.expect(200).text;
    assert!(page.contains("Stack created.") && !page.contains("geheim"), "{page}");
    let check = browser.get("/stacks/network/check").await.expect(200).text;
    assert!(check.contains("The webhook exists and is configured correctly."), "{check}");
}

#[tokio::test]
async fn what_waits_for_a_person_comes_first_and_is_confirmed_once() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get(&format!("/runs/{}?page=abc", run.id)).await.expect(422).text;
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("page"), "{page}");
    let entry = gantry_store::scheduler::RunEntry {
        run: run.id.clone(),
        stack: stack.id.clone(),
        run_type: run.run_type,
        created_at: run.created_at,
    };
    w.put(keys::waiting(run.created_at, &run.id), &entry).await;
    let head = StackHead { latest: Some(run.id.clone()), ..StackHead::default() };
    w.set_head(&stack.id, head).await;
    let page = browser.get("/").await.expect(200).text;
    let (waits, stacks) = page.split_once("id=\"stacks\"").unwrap();
    assert!(waits.contains("Needs confirmation") && waits.contains(run.id.as_str()));
    assert!(stacks.contains("+1 ~0 −0") && stacks.contains(&COMMIT[..8]), "{stacks}");
    w.sent();
    let path = format!("/runs/{}/confirm", run.id);
    for _ in 0..2 {
        let got = browser.send(&path, "_request=77").await.expect(303);
        let location = got.headers["location"].to_str().unwrap();
        assert!(location.starts_with(&format!("../../runs/{}?asked=", run.id)), "{location}");
    }
    let mut requests: Vec<String> =
        w.sent().into_iter().filter_map(|message| message.dedup_id()).collect();
    requests.dedup();
    assert_eq!(requests.len(), 1, "two clicks are one request");
}

#[tokio::test]
async fn stacks_are_found_by_their_words() {
    let w = connected().await;
    for (name, label) in [("Network", "prod"), ("Data base", "prod"), ("Cluster", "test")] {
        let body = serde_json::json!({
            "name": name, "project": "acme/network", "labels": [label],
        });
        w.post("/api/v1/stacks", body).await.expect(201);
    }
    let browser = Browser::sign_in(&w, &w.admin).await;
    let shown = async |query: &str| {
        let page = browser.get(&format!("/?{query}")).await.expect(200).text;
        let api = w.get(&format!("/api/v1/stacks?{query}")).await.expect(200).body;
        let by_api: Vec<String> = api["stacks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stack| stack["slug"].as_str().unwrap().to_owned())
            .collect();
        let all = ["cluster", "data-base", "network"];
        let on_page: Vec<&str> =
            all.into_iter().filter(|slug| page.contains(&format!("stacks/{slug}\""))).collect();
        assert_eq!(on_page, by_api, "{query}");
        by_api
    };
    assert_eq!(shown("search=NET").await, ["cluster", "data-base", "network"], "by project");
    assert_eq!(shown("search=data").await, ["data-base"]);
    assert_eq!(shown("label=test").await, ["cluster"]);
    assert_eq!(shown("search=base&label=prod").await, ["data-base"]);
    assert!(shown("search=nothing").await.is_empty());
    assert_eq!(shown("limit=2").await, ["cluster", "data-base"]);
    let next = w.get("/api/v1/stacks?limit=2").await.expect(200).body["next"].clone();
    let next = next.as_str().unwrap();
    assert_eq!(shown(&format!("limit=2&after={next}")).await, ["network"]);
}

#[tokio::test]
async fn an_edit_of_an_old_version_shows_both() {
    let w = connected().await;
    w.stack().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let form = browser.get("/stacks/network/edit").await.expect(200).text;
    assert!(form.contains("name=\"version\" value=\"1\""), "{form}");
    let body = serde_json::json!({ "name": "Theirs" });
    w.send("PUT", "/api/v1/stacks/network", body).await.expect(200);
    let fields = "version=1&name=Mine&project=acme/network&branch=main&manage_state=on\
                  &tool=terraform&on_push=tracked&tracked_queue=every&comment=full";
    let refused = browser.send("/stacks/network/edit", fields).await.expect(422).text;
    assert!(refused.contains("Both versions"), "{refused}");
    assert!(refused.contains("<td>Theirs</td><td>Mine</td>"), "{refused}");
    assert!(refused.contains("name=\"version\" value=\"2\"") && refused.contains("value=\"Mine\""));
    let fields = fields.replace("version=1", "version=2");
    browser.send("/stacks/network/edit", &fields).await.expect(303);
    assert_eq!(w.stored_stack("network").await.settings.name, "Mine");
}

#[tokio::test]
async fn a_stack_is_deleted_only_by_its_name() {
    let w = connected().await;
    w.stack().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let refused = browser.send("/stacks/network/delete", "slug=netwrk").await.expect(422).text;
    assert!(refused.contains("Type &#34;network&#34; to confirm."), "{refused}");
    browser.send("/stacks/network/delete", "slug=network").await.expect(303);
    let gone = browser.get("/stacks/network").await.expect(404).text;
    assert!(gone.contains("<h1>Not found</h1>"), "{gone}");
}

#[tokio::test]
async fn trouble_at_gitlab_is_told_by_its_kind_with_since_when_and_who_noticed() {
    let w = connected().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let since = Some(w.clock.now());
    w.hand.advance(Duration::from_secs(15 * 60));
    let told = async |function: &str, reason: &str, token_rejected, rate_limited| {
        let broken = Some(reason.to_owned());
        let health = Health { broken, token_rejected, rate_limited, since, ended: None };
        w.put(keys::health(function), &health).await;
        let pages = [browser.get("/").await, browser.get("/gitlab").await];
        w.put(keys::health(function), &Health::default()).await;
        pages.map(|page| page.expect(200).text)
    };
    for page in told("publisher", "GitLab rejected the token: 401 Unauthorized", true, false).await
    {
        assert!(page.contains("GitLab rejects the token."), "{page}");
        assert!(page.contains("401 Unauthorized. "), "{page}");
        assert!(page.contains("15 min ago"), "{page}");
        assert!(page.contains("while writing statuses, comments and environments"), "{page}");
        assert!(page.contains("An admin must replace the token"), "{page}");
    }
    for page in told("scheduler", "gitlab.example answered 503 with nothing", false, false).await {
        assert!(page.contains("GitLab is not responding as expected."), "{page}");
        assert!(!page.contains("rejects the token"), "{page}");
        assert!(page.contains("503 with nothing. "), "{page}");
        assert!(page.contains("15 min ago"), "{page}");
        assert!(page.contains("while looking for changes"), "{page}");
        assert!(page.contains("Gantry keeps retrying"), "{page}");
    }
    for page in told("publisher", "GitLab's rate limit was reached (429)", false, true).await {
        assert!(page.contains("GitLab is rate limiting Gantry."), "{page}");
        assert!(page.contains("(429). "), "{page}");
        assert!(page.contains("Gantry keeps retrying"), "{page}");
    }
}

#[tokio::test]
async fn trouble_that_is_over_is_told_with_when_it_ended_and_what_it_was() {
    let w = connected().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let none = w.get("/api/v1/integration").await.expect(200).body;
    assert_eq!(none["last_trouble"], json!(null));
    assert!(!browser.get("/gitlab").await.expect(200).text.contains("Last problem"));

    let since = Some(w.clock.now());
    for (function, reason) in [("publisher", "answered 502"), ("scheduler", "answered 503")] {
        w.hand.advance(Duration::from_secs(15 * 60));
        let ended = Some(Ended { reason: reason.to_owned(), since, at: w.clock.now() });
        w.put(keys::health(function), &Health { ended, ..Health::default() }).await;
    }
    let at = w.clock.now();
    w.hand.advance(Duration::from_secs(20 * 60));
    let page = browser.get("/gitlab").await.expect(200).text;
    assert!(page.contains("Last problem"), "{page}");
    assert!(page.contains("20 min ago"), "{page}");
    assert!(page.contains("after 30 min, noticed while looking for changes: answered 503"));
    let told = w.get("/api/v1/integration").await.expect(200).body;
    assert_eq!(told["broken"], json!([]));
    let expected =
        json!({ "seen_by": "scheduler", "reason": "answered 503", "since": since, "ended_at": at });
    assert_eq!(told["last_trouble"], expected);
}

#[tokio::test]
async fn a_webhooks_health_is_seen_and_repaired() {
    let w = connected().await;
    w.stack().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let seen = async || browser.get("/stacks/network/check").await.expect(200).text;
    let missing = seen().await;
    assert!(missing.contains("The project has no webhook that calls Gantry"), "{missing}");
    assert!(missing.contains(">Create webhook</button>"), "{missing}");
    browser.send("/stacks/network/webhook", "").await.expect(303);
    assert!(seen().await.contains("The webhook exists and is configured correctly."));

    let hooks = format!("{}/api/v4/projects/{}/hooks", w.gitlab.base_url(), w.project.0);
    let by_hand = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
    let by_hand = by_hand.unwrap();
    let id = w.gitlab.hooks(w.project)[0].id;
    let asked = by_hand.put(format!("{hooks}/{id}")).header("PRIVATE-TOKEN", &w.token);
    let url = "https://gantry.example.com/webhooks/gitlab";
    let changed = json!({ "url": url, "push_events": false });
    assert!(asked.json(&changed).send().await.unwrap().status().is_success());
    let asked = by_hand.post(&hooks).header("PRIVATE-TOKEN", &w.token);
    assert!(asked.json(&json!({ "url": url })).send().await.unwrap().status().is_success());
    let wrong = seen().await;
    assert!(wrong.contains("Push events not enabled"), "{wrong}");
    assert!(wrong.contains("Other webhooks also call Gantry"), "{wrong}");
    assert!(wrong.contains(">Repair</button>"), "{wrong}");
    browser.send("/stacks/network/webhook", "").await.expect(303);
    assert!(!seen().await.contains("Push events not enabled"));

    // Nobody answers at that address: GitLab gives up after four deliveries.
    let dev = w.gitlab.person("dev");
    w.gitlab.set_member(w.project, dev.id(), 40);
    for i in 0..4 {
        dev.push(w.project, "main", "main.tf", &format!("# {i}\n")).unwrap();
        for delivery in w.gitlab.take_pending() {
            assert!(!w.gitlab.deliver(delivery).await.is_success());
        }
    }
    let given_up = seen().await;
    assert!(given_up.contains("GitLab disabled it after failures"), "{given_up}");
}

#[tokio::test]
async fn keys_are_made_shown_once_and_revoked() {
    let w = connected().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let wrong = browser.send("/keys", "name=&role=").await.expect(422).text;
    assert!(wrong.contains("id=\"p-name\"") && wrong.contains("id=\"p-role\""), "{wrong}");
    let made = browser.send("/keys", "name=Ada&role=deploy").await.expect(201).text;
    let (_, rest) = made.split_once("id=\"new-key\">").unwrap();
    let key = rest.split('<').next().unwrap();
    Browser::sign_in(&w, key).await;
    let list = browser.get("/keys").await.expect(200).text;
    assert!(list.contains("Ada") && !list.contains(key), "it is shown once");
    let (_, rest) = list.split_once("name=\"key\" value=\"").unwrap();
    let id = rest.split('"').next().unwrap();
    let revoked = browser.send("/keys/delete", &format!("key={id}&sure=yes")).await.expect(303);
    assert_eq!(revoked.headers["location"], "../keys?done=revoked");
    w.ask("GET", "/api/v1/stacks", Some(key), &[], "").await.expect(401);
    let page = browser.get("/keys?done=revoked").await.expect(200).text;
    assert!(page.contains("Key revoked."), "{page}");
}

/// Beside the field, whenever the form is shown: with what is kept, and with what was typed.
#[tokio::test]
async fn a_secret_that_cannot_be_masked_is_told_beside_its_field() {
    const SHORT: &str = "The value has fewer than 6 characters,";
    let w = connected().await;
    w.stack().await;
    let secret = |name: &str, value: &str| json!({ "name": name, "value": value, "secret": true, "runs": "tracked" });
    let variables = json!([secret("GOOD", "correct-horse-1"), secret("PIN", "47_11")]);
    w.send("PUT", "/api/v1/stacks/network", json!({ "variables": variables })).await.expect(200);
    let browser = Browser::sign_in(&w, &w.admin).await;
    /// What stands in the cell of a variable's value.
    fn cell(page: &str, at: usize) -> &str {
        let (_, rest) = page.split_once(&format!("name=\"variables[{at}].value\"")).unwrap();
        rest.split("</td>").next().unwrap()
    }
    let page = browser.get("/stacks/network/edit").await.expect(200).text;
    assert!(cell(&page, 1).contains(SHORT), "{page}");
    assert!(!cell(&page, 0).contains("warning") && !cell(&page, 2).contains("warning"), "{page}");

    // Something else is wrong, so nothing is saved: what was typed counts.
    let row = |at: usize, name: &str, value: &str| {
        let field = |part: &str, value: &str| format!("&variables%5B{at}%5D.{part}={value}");
        let (name, value) = (field("name", name), field("value", value));
        format!("{name}{value}{}{}", field("secret", "on"), field("runs", "tracked"))
    };
    let version = w.get("/api/v1/stacks/network").await.body["version"].clone();
    let typed = format!(
        "version={version}&name=&project=acme%2Fnetwork&branch=main{}{}",
        row(0, "GOOD", "08_15"),
        row(1, "PIN", "long+enough")
    );
    let page = browser.send("/stacks/network/edit", &typed).await.expect(422).text;
    assert!(cell(&page, 0).contains(SHORT) && !cell(&page, 1).contains("warning"), "{page}");
    assert!(!page.contains("08_15") && !page.contains("47_11"), "{page}");
}

/// Sends the form of a page as a browser does: what it shows, with lines that end as HTML says.
#[tokio::test]
async fn a_label_is_changed_and_nothing_else() {
    let w = connected().await;
    w.stack().await;
    let pem = "-----BEGIN\r\nabc\r\n-----END\r\n";
    let body = json!({
        "labels": ["a"],
        "variables": [
            { "name": "PEM", "value": pem, "secret": false, "runs": "all" },
            { "name": "MANY", "value": "\none\n two \n", "secret": false, "runs": "tracked" },
            { "name": "SECRET", "value": "one\ntwo\n", "secret": true, "runs": "tracked" },
        ],
        "hooks": { "before_init": ["if true\nthen echo 1\nfi", " echo 2 "] },
    });
    w.send("PUT", "/api/v1/stacks/network", body).await.expect(200);
    let before = w.stored_stack("network").await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/stacks/network/edit").await.expect(200).text;
    assert!(!page.contains("one\ntwo"), "a secret is not shown");
    let form = as_sent(&page);
    assert_eq!(form.iter().filter(|(name, _)| name.starts_with("hooks.before_init[")).count(), 3);
    let send = async |form: &[(String, String)]| {
        let fields = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form.iter().filter(|(name, _)| name != "_token"))
            .finish();
        browser.send("/stacks/network/edit", &fields).await.expect(303);
        w.stored_stack("network").await
    };
    let mut changed = form.clone();
    for (name, value) in &mut changed {
        if name == "labels" {
            *value = "a\r\nb".to_owned();
        }
    }
    let after = send(&changed).await;
    assert_eq!(after.settings.labels, ["a", "b"]);
    assert_eq!(
        (&after.variables, &after.settings.hooks),
        (&before.variables, &before.settings.hooks)
    );
    let done = w.activities().await;
    assert!(done.iter().any(|done| done.2 == "changed labels"), "{done:?}");

    // A secret of several lines can be typed.
    let mut changed = as_sent(&browser.get("/stacks/network/edit").await.expect(200).text);
    for (name, value) in &mut changed {
        if name == "variables[2].value" {
            *value = "three\r\nfour\r\n".to_owned();
        }
    }
    let after = send(&changed).await;
    assert_eq!(after.variables[..2], before.variables[..2]);
    let gantry_domain::stack::VariableValue::Sealed(sealed) = &after.variables[2].value else {
        panic!("it is no secret any more")
    };
    let sealer = gantry_secrets::Sealer::new(&"sealing".into());
    let opened = sealer.open(&after.id, "SECRET", sealed).unwrap();
    assert_eq!(secrecy::ExposeSecret::expose_secret(&opened), "three\nfour\n");
}

/// The fields of the page's main form, as a browser sends them when nothing is typed.
fn as_sent(page: &str) -> Vec<(String, String)> {
    let (_, form) = page.split_once("/edit\">").unwrap();
    let (form, _) = form.split_once("</form>").unwrap();
    let plain = |text: &str| {
        let mut text = text.to_owned();
        for (code, sign) in
            [("&#34;", "\""), ("&#38;", "&"), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">")]
        {
            text = text.replace(code, sign);
        }
        text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n")
    };
    let mut sent = Vec::new();
    for tag in form.split('<').skip(1) {
        let (head, rest) = tag.split_once('>').unwrap();
        let attribute = |name: &str| {
            let (_, rest) = head.split_once(&format!(" {name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let Some(name) = attribute("name") else {
            // The options of the list before.
            if head.starts_with("option") && head.ends_with(" selected") {
                let (_, chosen): &mut (String, String) = sent.last_mut().unwrap();
                *chosen = attribute("value").unwrap();
            }
            continue;
        };
        let checked = head.ends_with(" checked");
        match head.split(' ').next().unwrap() {
            "textarea" => {
                // The first line break belongs to the tag.
                let text = rest.strip_prefix('\n').unwrap_or(rest);
                sent.push((name, plain(text)));
            }
            "select" => sent.push((name, String::new())),
            "input" if head.contains("type=\"checkbox\"") => {
                if checked {
                    sent.push((name, "on".to_owned()));
                }
            }
            _ => sent.push((name, plain(&attribute("value").unwrap_or_default()))),
        }
    }
    sent
}

#[tokio::test]
async fn a_link_opens_one_run_and_nothing_else() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let other = w.run(&stack, "b", RunState::Finished).await;
    let link = read_link(&signer(), "", &run.id);
    let got = w.ask("GET", &link, None, &[], "").await.expect(200);
    assert!(got.text.contains("network #") && got.text.contains("Needs confirmation"));
    for part in ["method=\"post\"", "href=\"../stacks", "href=\"../gitlab", "Confirm", "Sign out"] {
        assert!(!got.text.contains(part), "{part}: {}", got.text);
    }
    let policy = got.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'"));
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(got.headers["referrer-policy"], "no-referrer");
    assert_eq!(got.headers["cache-control"], "no-store");
    let (_, key) = link.split_once('?').unwrap();
    for log in ["log", "log.txt"] {
        let path = format!("/runs/{}/{log}?{key}", run.id);
        w.ask("GET", &path, None, &[], "").await.expect(200);
        let path = format!("/runs/{}/{log}?{key}", other.id);
        w.ask("GET", &path, None, &[], "").await.expect(401);
    }
    let found = w.ask("GET", &format!("{link}&find=nothing"), None, &[], "").await.expect(200).text;
    assert!(found.contains("No matching lines."), "{found}");
    let refused = [
        format!("/runs/{}?{key}", other.id),
        format!("/runs/{}", run.id),
        "/runs/nowhere".to_owned(),
        format!("/runs/{}?key=x.y", run.id),
    ];
    let mut said = Vec::new();
    for path in refused {
        let text = w.ask("GET", &path, None, &[], "").await.expect(401).text;
        // Where the sign-in leads back to is what was asked for.
        let (_, asked) = path.split_once("/runs/").unwrap();
        said.push(text.replace(asked.split('?').next().unwrap(), "ID"));
    }
    said.dedup();
    assert_eq!(said.len(), 1, "whether there is such a run is not told");
    assert!(!said[0].contains("network"));
    let api = format!("/api/v1/runs/{}?{key}", run.id);
    w.ask("GET", &api, None, &[], "").await.expect(401);
    let read = w.key("read").await;
    let page = format!("/runs/{}", other.id);
    w.ask("GET", &page, Some(&read), &[], "").await.expect(200);
    w.ask("GET", &page, Some("wrong"), &[], "").await.expect(401);
    w.ask("GET", "/runs/nowhere", Some(&read), &[], "").await.expect(404);
}

/// HTML, quotes, terminal escapes, a template's own marks, and very long.
fn evil() -> String {
    let start = "</pre><script>alert(1)</script>\" onload='x' {{ 7 * 7 }} \u{1b}[31m\u{202e}";
    format!("{start}{}", "ä".repeat(10_000))
}

#[tokio::test]
async fn what_comes_from_outside_stays_text() {
    let w = connected().await;
    let mut stack = w.stack().await;
    stack.settings.name = evil();
    // No branch is longer: it is a part of keys.
    stack.branch = evil().chars().take(120).collect();
    stack.project_path = evil();
    stack.settings.labels = vec![evil()];
    w.put(keys::stack_config(&stack.id), &stack).await;
    let entry = gantry_store::config::SlugEntry::of(&stack);
    w.put(keys::slug(&stack.slug), &entry).await;
    let mut run = w.run(&stack, "a", RunState::Failed).await;
    (run.git_ref, run.reason, run.by) = (evil(), evil(), Some(evil()));
    run.history[0].comment = Some(evil());
    run.delta = Some(Delta { add: 1, ..Delta::default() });
    run.ending = Some(gantry_domain::run::Ending {
        summary: evil(),
        errors: vec![evil()],
        log_tail: vec![evil()],
        in_terraform: true,
        interrupted: false,
    });
    w.save_run(&run).await;
    let head = StackHead { latest: Some(run.id.clone()), ..StackHead::default() };
    w.set_head(&stack.id, head).await;
    let attribute = AttributeChange {
        path: evil(),
        before: Shown::Known(evil()),
        after: Shown::Known(evil()),
        mark: None,
        forces_replacement: true,
        lines: Vec::new(),
    };
    let resource = ResourceChange {
        address: evil(),
        deposed: None,
        previous_address: Some(evil()),
        resource_type: "x".to_owned(),
        provider: "y".to_owned(),
        action: Action::Create,
        import_id: None,
        reason: None,
        attributes: vec![attribute],
        attributes_cut: 0,
    };
    let change = Change {
        v: 1,
        delta: Delta { add: 1, ..Delta::default() },
        resources: vec![resource],
        ..Change::default()
    };
    let body = Bytes::from(serde_json::to_vec(&change).unwrap());
    w.objects.put(&gantry_objects::keys::change(&run.id, 2), body).await.unwrap();
    let mut other = w.run(&stack, "b", RunState::Failed).await;
    other.delta = run.delta;
    w.save_run(&other).await;
    let mut different = change.clone();
    different.resources[0].attributes[0].after = Shown::Known(evil() + "x");
    let body = Bytes::from(serde_json::to_vec(&different).unwrap());
    w.objects.put(&gantry_objects::keys::change(&other.id, 2), body).await.unwrap();
    let text = format!("{}\n", evil());
    let (phase, at) = (Phase::Plan, Some(w.clock.now()));
    let piece = LogPiece { phase, attempt: 2, offset: 0, lines: None, at, text };
    w.put(keys::log(&run.id, 2, 0), &piece).await;

    let browser = Browser::sign_in(&w, &w.admin).await;
    browser.send("/keys", &format!("name={}&role=read", "%3Cscript%3E%22")).await.expect(201);
    let run_page = format!("/runs/{}", run.id);
    let search = "/?search=%3Cscript%3Ealert(1)%3C/script%3E%22%20onload=x";
    let compare = format!("/runs/{}/compare", other.id);
    let module = format!("{run_page}?group=module&times=1");
    let filter = format!("/runs/{}?text=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", run.id);
    for path in [
        "/",
        search,
        "/stacks/network",
        "/stacks/network/edit",
        "/keys",
        "/activity",
        "/events",
        &run_page,
        &filter,
        &compare,
        &module,
    ] {
        let got = browser.get(path).await.expect(200);
        assert!(!got.text.contains("<script>"), "{path}");
        assert!(!got.text.contains("\" onload"), "{path}");
        assert!(!got.text.contains('\u{1b}') && !got.text.contains('\u{202e}'), "{path}");
    }
    let page = browser.get(&run_page).await.expect(200).text;
    assert!(page.contains("&#60;script&#62;") || page.contains("&lt;script&gt;"));
    assert!(page.contains("class=\"t-red\""), "the log's colour is kept");
    let log = browser.get(&format!("/runs/{}/log", run.id)).await.expect(200);
    assert!(!log.body["html"].as_str().unwrap().contains("<script>"));
    let raw = browser.get(&format!("/runs/{}/log.txt", run.id)).await.expect(200);
    assert_eq!(raw.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(raw.headers["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn what_was_applied_is_told_as_done() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "a", RunState::Finished).await;
    run.delta = Some(Delta { forget: 1, ..Delta::default() });
    run.failed_checks = 2;
    let head = StackHead { latest: Some(run.id.clone()), ..StackHead::default() };
    w.set_head(&stack.id, head).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    for (applied, on_its_page, in_lists) in [
        (
            false,
            "0 to add, 0 to change, 0 to destroy, 1 to forget, 2 checks failed<",
            "1 to forget, 2 checks failed",
        ),
        (true, "0 added, 0 changed, 0 destroyed, 1 forgotten<", "1 forgotten"),
    ] {
        run.applied = applied;
        w.save_run(&run).await;
        let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
        assert!(page.contains(on_its_page), "{page}");
        for path in ["/", "/stacks/network"] {
            let page = browser.get(path).await.expect(200).text;
            assert!(page.contains(&format!(">{in_lists}<")), "{path}: {page}");
        }
    }
}

#[tokio::test]
async fn styles_and_scripts_come_from_here_and_are_small() {
    let w = world().await;
    w.ask("GET", "/healthz", None, &[], "").await.expect(200);
    let mut bytes = 0;
    for name in ["pico.css", "gantry.css", "htmx.js", "gantry.js", "icon.svg"] {
        let path = format!("/assets/{name}");
        let plain = w.ask("GET", &path, None, &[], "").await.expect(200);
        assert!(!plain.headers.contains_key("content-encoding"));
        let request = axum::http::Request::get(&path).header("accept-encoding", "gzip, br");
        let answer = w.raw(request.body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(answer.0["content-encoding"], "gzip");
        bytes += answer.1;
    }
    assert!(bytes < 60_000, "{bytes} bytes for what every page needs");
    w.ask("GET", "/assets/secrets.json", None, &[], "").await.expect(404);
    let got = w.ask("GET", "/api/v1/openapi.json", None, &[], "").await.expect(200);
    assert_eq!(got.body["openapi"], "3.1.0");
}
