//! People's sessions and the keys that they make for themselves: what a key can do, how each of them
//! ends, and that nobody gets at those of others.

use crate::{
    browser::{Browser, FORM, form_of, hidden},
    people::{MINUTE, come_back, member, offer, offered, set_out, sign_in},
    support::{Got, Options, START, World, connected},
};
use gantry_domain::run::RunState;
use gantry_fake_gitlab::{Fault, Matcher, Person};
use gantry_queue::{Command, Message, StackMessage};
use gantry_secrets::{PersonTokens, Sealer};
use gantry_store::{Stored, config::PersonSession, keys};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Asks for a key on the page: GitLab's address, and what the browser keeps.
async fn ask_for_key(browser: &Browser<'_>, name: &str, days: &str) -> (String, String) {
    let fields = form_of(&[("name", name), ("days", days)]);
    let got = browser.send("/account/keys", &fields).await.expect(200);
    let kept = got.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert!(kept.starts_with("gantry_sign_in=") && !kept.contains(name), "{kept}");
    let (_, link) = got.text.split_once("<a role=\"button\" href=\"").unwrap();
    (link.split('"').next().unwrap().replace("&#38;", "&"), kept)
}

/// The key that a page shows.
fn key_on(page: &str) -> String {
    let (_, rest) = page.split_once("<code id=\"new-key\">").unwrap();
    rest.split('<').next().unwrap().to_owned()
}

/// Makes a key on the page, with GitLab's consent.
async fn make_key(browser: &Browser<'_>, person: &Person, name: &str, days: &str) -> String {
    let (url, kept) = ask_for_key(browser, name, days).await;
    let back = person.authorize(&url).unwrap();
    let cookies = format!("{}; {kept}", browser.cookie);
    key_on(&come_back(browser.w, &back, &cookies).await.expect(201).text)
}

/// Asks the API with a key.
async fn ask(w: &World, key: &str, method: &str, path: &str) -> Got {
    w.ask(method, path, Some(key), &[], "").await
}

/// The records of sessions and keys.
async fn records(w: &World) -> Vec<Stored<PersonSession>> {
    w.store.query_all(keys::SESSIONS, "").await.unwrap()
}

/// What a record's session has at GitLab.
fn tokens_of(record: &Stored<PersonSession>) -> PersonTokens {
    let sealer = Sealer::new(&"sealing".into());
    PersonTokens::open(&sealer, &record.key.sk, &record.value.tokens).unwrap()
}

/// Whether GitLab takes a token.
async fn is_good(w: &World, token: &SecretString) -> bool {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
    let asked = client.unwrap().get(format!("{}/oauth/userinfo", w.gitlab.base_url()));
    let answer = asked.bearer_auth(token.expose_secret()).send().await.unwrap();
    answer.status().is_success()
}

/// The sessions that a list has: whose each is, and its key's name.
fn named(list: &Value) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let all = list["sessions"].as_array().unwrap().iter();
    all.map(|one| (text(&one["person"]["username"]).unwrap(), text(&one["key"]))).collect()
}

/// The id that a list has for a session or key.
fn id_of(list: &Value, username: &str, key: Option<&str>) -> String {
    let mut all = list["sessions"].as_array().unwrap().iter();
    let is_it = |one: &&Value| one["person"]["username"] == username && one["key"].as_str() == key;
    all.find(is_it).unwrap()["id"].as_str().unwrap().to_owned()
}

fn is_of(name: &str, key: Option<&str>) -> (String, Option<String>) {
    (name.to_owned(), key.map(str::to_owned))
}

#[tokio::test]
async fn a_key_does_what_its_person_can_and_nothing_more() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "one", RunState::Unconfirmed).await;
    let ada = member(&w, "ada", 40);
    let browser = sign_in(&w, &ada).await;
    let key = make_key(&browser, &ada, "laptop", "90").await;
    assert!(key.starts_with("gantry_person_"), "{key}");
    let page = browser.get("/account").await.expect(200).text;
    assert!(page.contains("Key laptop") && page.contains("in 90 days"), "{page}");
    assert!(!page.contains(&key), "it is shown once");

    let list = ask(&w, &key, "GET", "/api/v1/stacks").await.expect(200);
    assert_eq!(list.body["stacks"][0]["slug"], "network");
    ask(&w, &key, "GET", "/api/v1/keys").await.expect(403);
    ask(&w, &key, "PUT", "/api/v1/stacks/network").await.expect(403);
    let confirm = format!("/api/v1/runs/{}/confirm", run.id);
    ask(&w, &key, "POST", &confirm).await.expect(202);
    let actors: Vec<String> = w
        .sent()
        .iter()
        .filter_map(|sent| match sent {
            Message::Stack(StackMessage::Command {
                actor,
                command: Command::Confirm { .. },
                ..
            }) => Some(actor.clone()),
            _ => None,
        })
        .collect();
    assert!(matches!(actors.as_slice(), [one] if one.ends_with("@ada (key laptop)")), "{actors:?}");

    // Nor what only its person can do at the pages.
    let body = form_of(&[("key", &key), ("next", "")]);
    let got = w.ask("POST", "/sign-in", None, &[("content-type", FORM)], body).await;
    assert!(got.expect(401).text.contains("That key is not valid"));
    let eve = w.gitlab.person("eve");
    let of_eve = make_key(&sign_in(&w, &eve).await, &eve, "laptop", "30").await;
    ask(&w, &of_eve, "GET", "/api/v1/stacks/network").await.expect(404);
    let list = ask(&w, &of_eve, "GET", "/api/v1/stacks").await.expect(200).body;
    assert_eq!(list["stacks"], json!([]));

    let done = w.activities().await;
    let made = |who: &str, what: &str, outcome: &str| {
        done.iter().any(|done| done.0.ends_with(who) && done.1 == what && done.2 == outcome)
    };
    assert!(made("@ada", "ask for a key", "GitLab is asked first"), "{done:?}");
    let words = "created the key \"laptop\", which ends 2027-02-20";
    assert!(made("@ada", "create a key", words), "{done:?}");
}

#[tokio::test]
async fn an_admins_key_makes_no_keys() {
    let w = connected().await;
    let application = crate::people::application(&w);
    let group = w.gitlab.create_group("acme/platform");
    offer(&w, &application, json!({ "admin_groups": ["acme/platform"] })).await.expect(200);
    let grace = w.gitlab.person("grace");
    w.gitlab.set_group_member(group, grace.id(), 40);
    let browser = sign_in(&w, &grace).await;
    let key = make_key(&browser, &grace, "admin", "30").await;
    ask(&w, &key, "GET", "/api/v1/keys").await.expect(200);
    let body = json!({ "name": "more", "role": "admin" }).to_string();
    let got = w.ask("POST", "/api/v1/keys", Some(&key), &[], body).await.expect(403);
    assert!(got.detail().contains("cannot create keys"), "{}", got.text);
    assert_eq!(w.get("/api/v1/keys").await.body["keys"].as_array().unwrap().len(), 1);
    // She herself may.
    browser.send("/keys", "name=more&role=read").await.expect(201);
}

#[tokio::test]
async fn a_key_needs_a_name_of_its_own_and_one_of_the_times() {
    let (w, _) = offered().await;
    let ada = member(&w, "ada", 40);
    let browser = sign_in(&w, &ada).await;
    make_key(&browser, &ada, "laptop", "30").await;
    let long = "x".repeat(65);
    for (name, days, said) in [
        ("", "90", "Enter a name for the key"),
        ("laptop", "90", "You already have a key with this name"),
        (long.as_str(), "90", "At most 64 characters"),
        ("other", "7", "Choose 30 days, 90 days or 1 year"),
    ] {
        let fields = form_of(&[("name", name), ("days", days)]);
        let got = browser.send("/account/keys", &fields).await.expect(422);
        assert!(got.text.contains(said), "{said}: {}", got.text);
        assert!(!got.headers.contains_key("set-cookie"));
    }
    assert_eq!(records(&w).await.len(), 2);
    // A key of the installation has no account, and gets no key here.
    let admin = Browser::sign_in(&w, &w.admin).await;
    let page = admin.get("/account").await.expect(200).text;
    assert!(!page.contains("account/keys"), "{page}");
    admin.send("/account/keys", "name=x&days=30").await.expect(409);
}

#[tokio::test]
async fn a_right_that_is_lost_is_lost_to_keys_within_five_minutes() {
    let (w, _) = offered().await;
    w.stack().await;
    let ada = member(&w, "ada", 40);
    let browser = sign_in(&w, &ada).await;
    let key = make_key(&browser, &ada, "laptop", "365").await;
    ask(&w, &key, "GET", "/api/v1/stacks/network").await.expect(200);
    w.gitlab.set_member(w.project, ada.id(), 0);
    w.hand.advance(5 * MINUTE);
    ask(&w, &key, "GET", "/api/v1/stacks/network").await.expect(404);
    // A role that she has again counts again, long after the key's first token has ended.
    w.gitlab.set_member(w.project, ada.id(), 20);
    w.hand.advance(3 * DAY);
    ask(&w, &key, "GET", "/api/v1/stacks/network").await.expect(200);
    ask(&w, &key, "POST", "/api/v1/stacks/network/runs").await.expect(403);

    // Who has left is nobody here.
    w.gitlab.set_blocked(ada.id(), true);
    w.hand.advance(5 * MINUTE);
    let got = ask(&w, &key, "GET", "/api/v1/stacks").await.expect(401);
    assert_eq!(got.headers["www-authenticate"], "Bearer");
    assert!(got.detail().contains("GitLab does not accept its token any more"), "{}", got.text);
    assert!(records(&w).await.iter().all(|record| record.value.key.is_none()));
    // Nor does the key come back with her.
    w.gitlab.set_blocked(ada.id(), false);
    let got = ask(&w, &key, "GET", "/api/v1/stacks").await.expect(401);
    assert!(got.detail().contains("it was ended"), "{}", got.text);
}

/// A key that was copied dies with its own token, however often its person signs in elsewhere.
#[tokio::test]
async fn a_key_lives_by_its_own_token_alone() {
    let (w, application) = offered().await;
    w.stack().await;
    let ada = member(&w, "ada", 40);
    let key = make_key(&sign_in(&w, &ada).await, &ada, "laptop", "90").await;
    ada.revoke_application(&application);
    let again = sign_in(&w, &ada).await;
    w.hand.advance(4 * MINUTE);
    again.get("/stacks/network").await.expect(200);
    w.hand.advance(MINUTE);
    again.get("/stacks/network").await.expect(200);
    ask(&w, &key, "GET", "/api/v1/stacks").await.expect(401);
    again.get("/stacks/network").await.expect(200);
}

#[tokio::test]
async fn a_key_is_made_for_nobody_but_whoever_asked_for_it() {
    let (w, _) = offered().await;
    let (ada, eve) = (member(&w, "ada", 40), w.gitlab.person("eve"));
    let (hers, eves) = (sign_in(&w, &ada).await, sign_in(&w, &eve).await);
    let both = |session: &str, kept: &str| format!("{session}; {kept}");
    let (url, kept) = ask_for_key(&hers, "laptop", "90").await;

    // With somebody else's account at GitLab, whose tokens are not kept there either.
    let before = w.gitlab.requests().len();
    let as_eve = eve.authorize(&url).unwrap();
    let got = come_back(&w, &as_eve, &both(&hers.cookie, &kept)).await.expect(403);
    assert!(got.text.contains("No key was created"), "{}", got.text);
    let revoked = |from: usize| {
        let asked = w.gitlab.requests();
        let of =
            asked[from..].iter().filter(|one| one.path == "/oauth/revoke" && one.status == 200);
        of.count()
    };
    assert_eq!(revoked(before), 2);

    // Without the session that asked, with another person's, and in a session that has ended.
    let back = ada.authorize(&url).unwrap();
    for cookies in [kept.clone(), both(&eves.cookie, &kept)] {
        let got = come_back(&w, &back, &cookies).await.expect(403);
        assert!(got.text.contains("You are no longer signed in here"), "{}", got.text);
        let mut set = got.headers.get_all("set-cookie").iter();
        assert!(set.all(|one| one.to_str().unwrap().starts_with("gantry_sign_in=;")));
    }
    let other = sign_in(&w, &ada).await;
    let (other_url, other_kept) = ask_for_key(&other, "laptop", "90").await;
    let other_back = ada.authorize(&other_url).unwrap();
    other.send("/sign-out", "").await.expect(303);
    come_back(&w, &other_back, &both(&other.cookie, &other_kept)).await.expect(403);

    // With a forged state, a changed cookie, and what a sign-in keeps.
    let (_, of_sign_in) = set_out(&w, "").await;
    for (to, kept) in [
        (&back.replace("state=", "state=x"), &kept),
        (&back, &format!("{kept}x")),
        (&back, &of_sign_in),
    ] {
        come_back(&w, to, &both(&hers.cookie, kept)).await.expect(400);
    }
    assert!(records(&w).await.iter().all(|record| record.value.key.is_none()));

    // Once.
    come_back(&w, &back, &both(&hers.cookie, &kept)).await.expect(201);
    come_back(&w, &back, &both(&hers.cookie, &kept)).await.expect(401);
    let anew = ada.authorize(&url).unwrap();
    come_back(&w, &anew, &both(&hers.cookie, &kept)).await.expect(409);
    let made = records(&w).await;
    assert_eq!(made.iter().filter(|record| record.value.key.is_some()).count(), 1);
}

#[tokio::test]
async fn everybody_sees_and_ends_their_own_and_an_admin_all() {
    let (w, _) = offered().await;
    let (ada, eve) = (member(&w, "ada", 40), w.gitlab.person("eve"));
    let (hers, eves) = (sign_in(&w, &ada).await, sign_in(&w, &eve).await);
    w.hand.advance(Duration::from_secs(1));
    let key = make_key(&hers, &ada, "laptop", "90").await;
    let of_eve = make_key(&eves, &eve, "robot", "90").await;

    let own = ask(&w, &key, "GET", "/api/v1/sessions").await.expect(200);
    assert_eq!(named(&own.body), [is_of("ada", None), is_of("ada", Some("laptop"))]);
    let current: Vec<_> =
        own.body["sessions"].as_array().unwrap().iter().map(|one| &one["current"]).collect();
    assert_eq!(current, [&json!(false), &json!(true)]);
    assert_eq!(own.body["sessions"][0]["last_used_at"], START);
    let all = w.get("/api/v1/sessions").await.expect(200);
    assert_eq!(all.body["sessions"].as_array().unwrap().len(), 4);
    // What a list shows opens nothing.
    let admin = Browser::sign_in(&w, &w.admin).await;
    let page = admin.get("/people").await.expect(200).text;
    assert!(page.contains("@ada") && page.contains("Key robot"), "{page}");
    for shown in [&own.text, &all.text, &page, &hers.get("/account").await.expect(200).text] {
        for record in records(&w).await {
            let sk = record.key.sk.as_str();
            let tokens = tokens_of(&record);
            let id = sk.split('#').nth(1).unwrap();
            for secret in [
                id,
                record.value.tokens.as_str(),
                tokens.access.expose_secret(),
                tokens.refresh.expose_secret(),
                &key,
                &of_eve,
                &hers.cookie,
            ] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }

    // Those of others are not there, whatever names them.
    let robot = id_of(&all.body, "eve", Some("robot"));
    let robots = records(&w).await;
    let robots = robots.iter().find(|one| one.value.key.as_deref() == Some("robot")).unwrap();
    for id in [robot.as_str(), "robot", &robots.key.sk.replace('#', "%23"), &of_eve] {
        ask(&w, &key, "DELETE", &format!("/api/v1/sessions/{id}")).await.expect(404);
    }
    ask(&w, &key, "DELETE", "/api/v1/sessions?person=eve").await.expect(403);
    hers.send("/account/end", &format!("session={robot}&sure=yes")).await.expect(404);
    hers.send("/people/end", &format!("session={robot}&sure=yes")).await.expect(403);
    ask(&w, &of_eve, "GET", "/api/v1/stacks").await.expect(200);
    // Of keys of the installation, admins alone see and end them.
    let deploy = w.key("deploy").await;
    let list = ask(&w, &deploy, "GET", "/api/v1/sessions").await.expect(200);
    assert_eq!(list.body["sessions"], json!([]));
    ask(&w, &deploy, "DELETE", &format!("/api/v1/sessions/{robot}")).await.expect(404);
    ask(&w, &deploy, "DELETE", "/api/v1/sessions?person=eve").await.expect(403);

    w.send("DELETE", &format!("/api/v1/sessions/{robot}"), json!({})).await.expect(204);
    ask(&w, &of_eve, "GET", "/api/v1/stacks").await.expect(401);
    eves.get("/").await.expect(200);
    w.send("DELETE", "/api/v1/sessions?person=nobody", json!({})).await.expect(404);
    let ended = w.send("DELETE", "/api/v1/sessions?person=%40Eve", json!({})).await.expect(200);
    assert_eq!(ended.body, json!({ "ended": 1 }));
    eves.get("/").await.expect(303);
    let by_id = format!("/api/v1/sessions?person={}", ada.id());
    assert_eq!(w.send("DELETE", &by_id, json!({})).await.expect(200).body, json!({ "ended": 2 }));
    hers.get("/").await.expect(303);
    ask(&w, &key, "GET", "/api/v1/stacks").await.expect(401);
    assert!(records(&w).await.is_empty());
    let done = w.activities().await;
    let ended = |what: &str, words: &str| {
        done.iter().any(|done| done.1 == what && done.2.starts_with(words))
    };
    assert!(ended("end a session or key", "ended the key \"robot\" of "), "{done:?}");
    assert!(ended("end sessions and keys", "ended 2 sessions of "), "{done:?}");
}

#[tokio::test]
async fn on_their_account_people_end_one_or_all_others() {
    let (w, _) = offered().await;
    let ada = member(&w, "ada", 40);
    let (here, there) = (sign_in(&w, &ada).await, sign_in(&w, &ada).await);
    w.hand.advance(Duration::from_secs(1));
    let third = sign_in(&w, &ada).await;
    let key = make_key(&here, &ada, "laptop", "90").await;
    let page = here.get("/account").await.expect(200).text;
    assert!(page.contains("current session") && page.contains("End all others"), "{page}");
    assert!(page.contains("href=\"account\""), "the name leads there: {page}");
    let list = w.get("/api/v1/sessions").await.expect(200).body;
    let all = list["sessions"].as_array().unwrap().iter().filter(|one| one["key"].is_null());
    let newest = all.max_by_key(|one| one["begun_at"].as_str().unwrap().to_owned());
    let third_id = newest.unwrap()["id"].as_str().unwrap().to_owned();
    let asked = here.send("/account/end", &format!("session={third_id}")).await.expect(303);
    assert_eq!(asked.headers["location"], format!("end?session={third_id}"));
    let question = here.get(&format!("/account/end?session={third_id}")).await.expect(200).text;
    assert!(question.contains("has to sign in again") && question.contains(">End</button>"));
    third.get("/").await.expect(200);
    here.send("/account/end", &format!("session={third_id}&sure=yes")).await.expect(303);
    third.get("/").await.expect(303);
    there.get("/").await.expect(200);

    let question = here.get("/account/end?others=on").await.expect(200).text;
    assert!(question.contains("all your keys"), "{question}");
    let got = here.send("/account/end", "others=on&sure=yes").await.expect(303);
    assert_eq!(got.headers["location"], "../account?done=ended");
    there.get("/").await.expect(303);
    ask(&w, &key, "GET", "/api/v1/stacks").await.expect(401);
    let page = here.get("/account?done=ended").await.expect(200).text;
    assert!(page.contains("no longer works") && !page.contains("Key laptop"), "{page}");
    assert!(!page.contains("End all others"), "{page}");

    // With a key: all but the key.
    let key = make_key(&here, &ada, "laptop", "90").await;
    let got = ask(&w, &key, "DELETE", "/api/v1/sessions").await.expect(200);
    assert_eq!(got.body, json!({ "ended": 1 }));
    here.get("/").await.expect(303);
    ask(&w, &key, "GET", "/api/v1/stacks").await.expect(200);
}

#[tokio::test]
async fn what_has_ended_is_good_nowhere() {
    let (w, _) = offered().await;
    let ada = member(&w, "ada", 40);
    let browser = sign_in(&w, &ada).await;
    let key = make_key(&browser, &ada, "laptop", "90").await;
    for is_key in [false, true] {
        let all = records(&w).await;
        let record = all.iter().find(|record| record.value.key.is_some() == is_key).unwrap();
        let tokens = tokens_of(record);
        assert!(is_good(&w, &tokens.access).await);
        if is_key {
            let list = ask(&w, &key, "GET", "/api/v1/sessions").await.expect(200).body;
            let id = id_of(&list, "ada", Some("laptop"));
            ask(&w, &key, "DELETE", &format!("/api/v1/sessions/{id}")).await.expect(204);
            ask(&w, &key, "GET", "/api/v1/sessions").await.expect(401);
        } else {
            browser.send("/sign-out", "").await.expect(303);
            // The cookie was copied.
            browser.get("/account").await.expect(303);
        }
        assert!(!is_good(&w, &tokens.access).await);
        assert!(records(&w).await.iter().all(|left| left.key != record.key));
    }
}

#[tokio::test]
async fn what_is_over_is_not_used_and_does_not_stay() {
    let (w, _) = offered().await;
    let ada = member(&w, "ada", 40);
    let browser = sign_in(&w, &ada).await;
    let key = make_key(&browser, &ada, "laptop", "30").await;
    w.hand.advance(DAY / 2);
    browser.get("/").await.expect(303);
    ask(&w, &key, "GET", "/api/v1/stacks").await.expect(200);
    // Nobody asks for the record any more; whoever signs in next removes it.
    assert_eq!(records(&w).await.len(), 2);
    let again = sign_in(&w, &ada).await;
    let left = records(&w).await;
    let begun = w.clock.now();
    assert!(left.iter().all(|one| one.value.key.is_some() || one.value.begun_at == begun));
    assert_eq!(left.len(), 2);

    w.hand.advance(30 * DAY - DAY / 2);
    let before = w.gitlab.requests().len();
    let got = ask(&w, &key, "GET", "/api/v1/stacks").await.expect(401);
    assert!(got.detail().contains("Its time is over"), "{}", got.text);
    let asked = w.gitlab.requests();
    let paths: Vec<&str> = asked[before..].iter().map(|one| one.path.as_str()).collect();
    assert!(paths.iter().all(|path| *path == "/oauth/revoke") && !paths.is_empty(), "{paths:?}");
    // A list is a look, too.
    again.get("/").await.expect(303);
    assert_eq!(records(&w).await.len(), 1);
    assert_eq!(w.get("/api/v1/sessions").await.expect(200).body, json!({ "sessions": [] }));
    assert!(records(&w).await.is_empty());
}

#[tokio::test]
async fn of_too_many_sessions_the_oldest_end_and_no_key_does() {
    let (w, _) = offered().await;
    let (ada, eve) = (member(&w, "ada", 40), w.gitlab.person("eve"));
    let of_eve = sign_in(&w, &eve).await;
    let mut all = vec![sign_in(&w, &ada).await];
    let key = make_key(&all[0], &ada, "laptop", "90").await;
    let first = records(&w).await;
    let first =
        first.iter().find(|one| one.value.key.is_none() && one.value.person.0 == ada.id().0);
    let tokens = tokens_of(first.unwrap());
    for _ in 0..20 {
        w.hand.advance(Duration::from_secs(1));
        all.push(sign_in(&w, &ada).await);
    }
    all[0].get("/").await.expect(303);
    assert!(!is_good(&w, &tokens.access).await);
    for browser in all[1..].iter().chain([&of_eve]) {
        browser.get("/").await.expect(200);
    }
    ask(&w, &key, "GET", "/api/v1/stacks").await.expect(200);
    assert_eq!(records(&w).await.len(), 22);
}

#[tokio::test]
async fn without_sign_in_and_without_the_server_nothing_is_left() {
    for how in ["remove", "unlink"] {
        let (w, application) = offered().await;
        let ada = member(&w, "ada", 40);
        let browser = sign_in(&w, &ada).await;
        let key = make_key(&browser, &ada, "laptop", "365").await;
        let all = records(&w).await;
        assert_eq!(all.len(), 2);
        match how {
            "remove" => w.send("DELETE", "/api/v1/sign-in", json!({})).await.expect(204),
            _ => w.send("DELETE", "/api/v1/integration", json!({})).await.expect(200),
        };
        assert!(records(&w).await.is_empty(), "{how}");
        for record in &all {
            assert!(!is_good(&w, &tokens_of(record).access).await, "{how}");
        }
        // Nor does anything come back when all is as it was before.
        match how {
            "remove" => offer(&w, &application, json!({})).await.expect(200),
            _ => w.connect().await.expect(200),
        };
        assert_eq!(w.get("/api/v1/sign-in").await.expect(200).body["offered"], true, "{how}");
        ask(&w, &key, "GET", "/api/v1/stacks").await.expect(401);
        browser.get("/").await.expect(303);
        sign_in(&w, &ada).await.get("/").await.expect(200);
    }
}

#[tokio::test]
async fn while_gitlab_is_away_a_key_reads_and_what_is_ended_ends() {
    let (w, _) = offered().await;
    w.stack().await;
    let ada = member(&w, "ada", 40);
    let browser = sign_in(&w, &ada).await;
    let key = make_key(&browser, &ada, "laptop", "90").await;
    let other = make_key(&browser, &ada, "other", "90").await;
    w.gitlab.set_down(true);
    w.hand.advance(6 * MINUTE);
    ask(&w, &key, "GET", "/api/v1/stacks/network").await.expect(200);
    ask(&w, &key, "POST", "/api/v1/stacks/network/runs").await.expect(503);
    let list = ask(&w, &key, "GET", "/api/v1/sessions").await.expect(200).body;
    let id = id_of(&list, "ada", Some("other"));
    ask(&w, &key, "DELETE", &format!("/api/v1/sessions/{id}")).await.expect(204);
    ask(&w, &other, "GET", "/api/v1/stacks/network").await.expect(401);
    w.hand.advance(55 * MINUTE);
    let got = ask(&w, &key, "GET", "/api/v1/stacks/network").await.expect(503);
    assert_eq!(got.headers["retry-after"], "60");
    w.gitlab.set_down(false);
    w.hand.advance(MINUTE);
    ask(&w, &key, "GET", "/api/v1/stacks/network").await.expect(200);
}

/// GitLab takes a refresh token once.
#[tokio::test]
async fn tokens_that_are_renewed_are_kept_whoever_stops_waiting() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "one", RunState::Unconfirmed).await;
    let browser = sign_in(&w, &member(&w, "ada", 40)).await;
    w.hand.advance(Duration::from_secs(3 * 60 * 60));
    let before = w.gitlab.requests().len();
    let renewed = async {
        while w.gitlab.requests()[before..].iter().all(|one| one.path != "/oauth/token") {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = renewed => {}
        got = browser.get("/stacks/network") => panic!("it was not left: {}", got.status),
    }
    browser.send(&format!("/runs/{}/confirm", run.id), "comment=").await.expect(303);
    assert_eq!(records(&w).await.len(), 1);
}

#[tokio::test]
async fn many_requests_at_once_renew_tokens_once() {
    let (w, _) = offered().await;
    w.stack().await;
    let browser = sign_in(&w, &member(&w, "ada", 40)).await;
    w.hand.advance(Duration::from_secs(3 * 60 * 60));
    let before = w.gitlab.requests().len();
    let all = (0..8).map(|_| browser.get("/stacks/network"));
    for got in futures::future::join_all(all).await {
        got.expect(200);
    }
    let asked = w.gitlab.requests();
    let renewed = asked[before..].iter().filter(|one| one.path == "/oauth/token");
    assert_eq!(renewed.count(), 1);
}

/// The tokens of people are as good as before once an admin has put it right.
#[tokio::test]
async fn what_is_wrong_with_nobodys_tokens_ends_no_session_and_no_key() {
    let (mut w, _) = offered().await;
    w.stack().await;
    let ada = member(&w, "ada", 40);
    let browser = sign_in(&w, &ada).await;
    let key = make_key(&browser, &ada, "laptop", "365").await;
    let cookie = browser.cookie;
    let expect = async |w: &World, status: u16| {
        let got = ask(w, &key, "GET", "/api/v1/stacks/network").await;
        got.expect(status);
        Browser { w, cookie: cookie.clone() }.get("/").await.expect(status);
        assert_eq!(records(w).await.len(), 2);
    };
    // The application has another secret in GitLab, which nobody has entered yet; or what stands
    // before GitLab answers in its place.
    for (code, error) in [(401, "invalid_client"), (503, "Service Unavailable")] {
        let body = json!({ "error": error }).to_string();
        let fault = Fault::Status { code, body, headers: Vec::new() };
        w.gitlab.fail_always(Matcher::new("POST", "/oauth/token"), fault);
        w.hand.advance(Duration::from_secs(3 * 60 * 60));
        expect(&w, 503).await;
        w.gitlab.clear_faults();
        w.hand.advance(MINUTE);
        expect(&w, 200).await;
    }
    // Somebody has left out its address.
    w.hand.advance(Duration::from_secs(3 * 60 * 60));
    w.start(Options { public_url: None, ..Options::default() });
    expect(&w, 503).await;
    w.start(Options::default());
    w.hand.advance(MINUTE);
    expect(&w, 200).await;
}

/// What was typed while the session ended is kept in its tab while another one signs in.
#[tokio::test]
async fn a_form_that_was_typed_too_late_is_sent_again_after_signing_in_with_gitlab() {
    let (w, application) = offered().await;
    w.stack().await;
    let ada = member(&w, "ada", 50);
    let browser = sign_in(&w, &ada).await;
    let token = browser.token("/events").await;
    let page = browser.get("/stacks/network/edit").await.expect(200).text;
    let version = hidden(&page, "version");
    ada.revoke_application(&application);
    w.hand.advance(5 * MINUTE);
    let here = [("sec-fetch-site", "same-origin")];
    let typed = form_of(&[("_token", &token), ("version", &version), ("name", "Renamed <b>")]);
    let edit = "/stacks/network/edit";
    let late = browser.send_with(edit, &typed, &here).await.expect(401).text;
    assert!(late.contains("sign-in/gitlab?next=sign-in%2Fback\" target=\"_blank\""), "{late}");
    let kept = hidden(&late, "kept");
    let go_on = form_of(&[("next", "stacks/network/edit"), ("kept", &kept)]);
    let send = async |cookie: &str, body: &str, from: &str| {
        let headers = [("cookie", cookie), ("content-type", FORM), ("sec-fetch-site", from)];
        w.ask("POST", "/sign-in/again", None, &headers, body.to_owned()).await
    };

    // Too early: nothing is lost.
    let early = send(&browser.cookie, &go_on, "same-origin").await.expect(401).text;
    assert_eq!(hidden(&early, "kept"), kept);
    let (url, on_the_way) = set_out(&w, "sign-in%2Fback").await;
    let back = ada.authorize(&url).unwrap();
    let got = come_back(&w, &back, &on_the_way).await.expect(303);
    assert_eq!(got.headers["location"], "../../sign-in/back");
    let again = Browser { w: &w, cookie: crate::people::cookie_of(&got) };
    let page = again.get("/sign-in/back").await.expect(200).text;
    assert!(page.contains("Close this tab"), "{page}");
    // Another site has nothing sent in her name.
    let got = send(&again.cookie, &go_on, "cross-site").await.expect(303);
    assert_eq!(got.headers["location"], "../stacks/network/edit");
    let asked = send(&again.cookie, &go_on, "same-origin").await.expect(200).text;
    assert!(asked.contains("action=\"../stacks/network/edit\""), "{asked}");
    assert!(!asked.contains("Renamed") && !late.contains("Renamed"), "in clear text");
    let sealed = form_of(&[("_again", &hidden(&asked, "_again"))]);
    // Good in this session alone.
    let other = sign_in(&w, &ada).await;
    let got = other.send(edit, &sealed).await.expect(422).text;
    assert!(got.contains("no longer kept"), "{got}");
    let sent = again.send(edit, &sealed).await;
    assert!(sent.status == 303 || sent.text.contains("Renamed"), "{}", sent.text);
}

/// Log lines of one thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_key_and_no_token_is_written_down_anywhere() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let (w, application) = offered().await;
    let ada = member(&w, "ada", 40);
    let browser = sign_in(&w, &ada).await;
    let key = make_key(&browser, &ada, "laptop", "90").await;
    let mut secrets = vec![key.clone(), browser.cookie.clone()];
    let note = |records: &[Stored<PersonSession>], secrets: &mut Vec<String>| {
        for record in records {
            let tokens = tokens_of(record);
            for token in [&tokens.access, &tokens.refresh] {
                secrets.push(token.expose_secret().to_owned());
            }
        }
    };
    note(&records(&w).await, &mut secrets);
    // Renewed, refused, and ended.
    w.hand.advance(Duration::from_secs(3 * 60 * 60));
    ask(&w, &key, "GET", "/api/v1/stacks").await.expect(200);
    note(&records(&w).await, &mut secrets);
    let mut kept = String::new();
    for partition in [keys::SESSIONS, keys::PEOPLE, keys::ADMIN_KEYS, keys::ACTIVITY] {
        let all = w.store.query_all::<Value>(partition, "").await.unwrap();
        assert!(!all.is_empty(), "{partition}");
        kept.extend(all.iter().map(|one| format!("{} {}\n", one.key, one.value)));
    }
    ask(&w, &format!("{key}x"), "GET", "/api/v1/stacks").await.expect(401);
    ada.revoke_application(&application);
    w.hand.advance(5 * MINUTE);
    ask(&w, &key, "GET", "/api/v1/stacks").await.expect(401);
    ask(&w, &key, "DELETE", &format!("/api/v1/sessions/{key}")).await.expect(401);
    w.send("DELETE", &format!("/api/v1/sessions/{key}"), json!({})).await.expect(404);
    kept.extend(w.activities().await.iter().map(|done| format!("{done:?}\n")));
    drop(guard);
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("an access key was used"), "the log was looked at: {log}");
    assert!(secrets.len() >= 8, "{}", secrets.len());
    for secret in &secrets {
        assert!(!kept.contains(secret.as_str()), "{secret} in\n{kept}");
        assert!(!log.contains(secret.as_str()), "{secret} in\n{log}");
    }
}
