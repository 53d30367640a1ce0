//! People who sign in with GitLab: how, what they see and may do, and how all of it ends.

use crate::{
    browser::{Browser, FORM},
    support::{Got, Options, World, connected, signer, world_with},
};
use gantry_domain::{UserId, run::RunState};
use gantry_fake_gitlab::{Application, Fault, Matcher, Person};
use gantry_queue::{Command, Message, StackMessage};
use gantry_secrets::Session;
use gantry_store::{
    Key,
    config::{persons_key, place_of_persons_key},
    keys,
};
use serde_json::{Value, json};
use std::time::Duration;

const CALLBACK: &str = "https://gantry.example.com/sign-in/gitlab/callback";
const SCOPES: &str = "openid profile read_api";
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// The application that Gantry needs.
pub(crate) fn application(w: &World) -> Application {
    w.gitlab.create_application("Gantry", CALLBACK, SCOPES, true).unwrap()
}

/// Lets people sign in.
pub(crate) async fn offer(w: &World, application: &Application, more: Value) -> Got {
    let mut body = json!({
        "application_id": application.application_id, "secret": application.secret,
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    w.send("PUT", "/api/v1/sign-in", body).await
}

/// A world in which people can sign in.
pub(crate) async fn offered() -> (World, Application) {
    let w = connected().await;
    let application = application(&w);
    offer(&w, &application, json!({})).await.expect(200);
    (w, application)
}

/// Somebody with this level in the project `acme/network`.
pub(crate) fn member(w: &World, name: &str, level: u8) -> Person {
    let person = w.gitlab.person(name);
    w.gitlab.set_member(w.project, person.id(), level);
    person
}

/// Sets out for GitLab: its address, and what the browser keeps.
pub(crate) async fn set_out(w: &World, next: &str) -> (String, String) {
    let got = w.ask("GET", &format!("/sign-in/gitlab?next={next}"), None, &[], "").await;
    let got = got.expect(303);
    let kept = got.headers["set-cookie"].to_str().unwrap();
    for part in ["gantry_sign_in=", "HttpOnly", "SameSite=Lax", "Secure", "Max-Age=600"] {
        assert!(kept.contains(part), "{kept}");
    }
    let kept = kept.split(';').next().unwrap().to_owned();
    (got.headers["location"].to_str().unwrap().to_owned(), kept)
}

/// Comes back from GitLab.
pub(crate) async fn come_back(w: &World, to: &str, kept: &str) -> Got {
    let way = to.strip_prefix("https://gantry.example.com").unwrap();
    w.ask("GET", way, None, &[("cookie", kept)], "").await
}

pub(crate) fn cookie_of(got: &Got) -> String {
    let cookies = got.headers.get_all("set-cookie").iter();
    let cookies: Vec<&str> = cookies.map(|cookie| cookie.to_str().unwrap()).collect();
    let session = cookies.iter().find(|cookie| cookie.starts_with("gantry_session=")).unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Secure", "Max-Age=43200"] {
        assert!(session.contains(part), "{session}");
    }
    assert!(cookies.iter().any(|one| one.starts_with("gantry_sign_in=;")), "{cookies:?}");
    session.split(';').next().unwrap().to_owned()
}

/// Signs in with GitLab.
pub(crate) async fn sign_in<'a>(w: &'a World, person: &Person) -> Browser<'a> {
    let (url, kept) = set_out(w, "").await;
    let back = person.authorize(&url).unwrap();
    let got = come_back(w, &back, &kept).await.expect(303);
    Browser { w, cookie: cookie_of(&got) }
}

/// A key of somebody who has signed in: good until GitLab is asked about them again.
pub(crate) async fn key_of(browser: &Browser<'_>) -> String {
    key_named(browser, "test").await
}

/// The same with this name.
pub(crate) async fn key_named(browser: &Browser<'_>, name: &str) -> String {
    let (w, session) = (browser.w, session_of(browser));
    let (person, id) = session.split_once('#').unwrap();
    let key = persons_key(UserId(person.parse().unwrap()), &format!("{id}-{name}"));
    let record = w.store.get::<Value>(&Key::new(keys::SESSIONS, session.as_str())).await.unwrap();
    let mut record = record.unwrap().value;
    record["key"] = name.into();
    w.put(place_of_persons_key(&key).unwrap(), &record).await;
    key
}

/// What the session of somebody who has signed in is kept under: it begins with GitLab's ID of them.
pub(crate) fn session_of(browser: &Browser<'_>) -> String {
    let (_, value) = browser.cookie.split_once('=').unwrap();
    Session::from_cookie(&signer(), value, browser.w.clock.now()).unwrap().key
}

/// The rows of the overview.
async fn stacks_of(browser: &Browser<'_>) -> bool {
    browser.get("/").await.expect(200).text.contains("stacks/network")
}

#[tokio::test]
async fn somebody_signs_in_and_goes_on_where_they_wanted_to() {
    let (w, _) = offered().await;
    w.stack().await;
    let ada = member(&w, "ada", 20);
    let page = w.ask("GET", "/sign-in?next=runs", None, &[], "").await.expect(200).text;
    assert!(page.contains("sign-in/gitlab?next=runs"), "{page}");
    let (url, kept) = set_out(&w, "stacks%2Fnetwork").await;
    for part in ["response_type=code", "code_challenge_method=S256", "state=", "nonce="] {
        assert!(url.contains(part), "{url}");
    }
    assert!(!kept.contains("state"), "what the browser keeps is sealed");
    let back = ada.authorize(&url).unwrap();
    let got = come_back(&w, &back, &kept).await.expect(303);
    assert_eq!(got.headers["location"], "../../stacks/network");
    let browser = Browser { w: &w, cookie: cookie_of(&got) };
    let page = browser.get("/stacks/network").await.expect(200).text;
    assert!(page.contains("@ada"), "{page}");
    let view = w.get("/api/v1/sign-in").await.expect(200).body;
    assert_eq!((view["offered"].as_bool(), view["works_since"].is_string()), (Some(true), true));
    let done = w.activities().await;
    assert!(done.iter().any(|done| done.0.ends_with("@ada") && done.1 == "sign in with GitLab"));
    assert!(!view.to_string().contains("gloas-"), "{view}");
}

#[tokio::test]
async fn what_somebody_sees_is_what_gitlab_shows_them() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "one", RunState::Unconfirmed).await;
    let (ada, eve) = (member(&w, "ada", 20), w.gitlab.person("eve"));
    let (ada, eve) = (sign_in(&w, &ada).await, sign_in(&w, &eve).await);
    let run = format!("/runs/{}", run.id);
    for page in ["/stacks/network", "/stacks/network/history", &run, &format!("{run}/log")] {
        ada.get(page).await.expect(200);
        eve.get(page).await.expect(404);
    }
    assert!(stacks_of(&ada).await);
    for list in ["/", "/runs", "/events", "/activity", "/modules"] {
        let page = eve.get(list).await.expect(200).text;
        for name in ["stacks/network", "acme/network"] {
            assert!(!page.contains(name), "{list}: {page}");
        }
    }
    // What may not be seen is answered as what is not there.
    let hidden = eve.get("/stacks/network").await;
    let missing = eve.get("/stacks/nothing").await;
    assert_eq!(hidden.text.replace("network", "nothing"), missing.text);
    let found = eve.get("/runs?stack=network").await.expect(422).text;
    assert!(found.contains("No stack or module has this slug"), "{found}");
    for page in ["/keys", "/operations", "/stacks/new", "/gitlab", "/gitlab/sign-in"] {
        ada.get(page).await.expect(403);
    }
}

#[tokio::test]
async fn a_level_gives_a_right_and_each_more_than_the_one_before() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "one", RunState::Unconfirmed).await;
    let confirm = format!("/runs/{}/confirm", run.id);
    // Each with what a preview, a deploy, and a change of the stack answer.
    for (name, level, expected) in [
        ("reporter", 20, [403, 403, 403]),
        ("developer", 30, [303, 403, 403]),
        ("maintainer", 40, [303, 303, 403]),
        ("owner", 50, [303, 303, 200]),
    ] {
        let browser = sign_in(&w, &member(&w, name, level)).await;
        let preview = browser.send("/stacks/network/runs", "type=proposed").await;
        let confirmed = browser.send(&confirm, "comment=").await;
        let edit = browser.get("/stacks/network/edit").await;
        assert_eq!([preview.status, confirmed.status, edit.status], expected, "{name}");
        let deploy = browser.send("/stacks/network/runs", "type=tracked").await;
        assert_eq!(deploy.status, expected[1], "{name}");
        let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
        assert_eq!(page.contains("Confirm and apply"), expected[1] == 303, "{name}");
    }
    let sent = w.sent();
    let by = |sent: &Message| match sent {
        Message::Stack(StackMessage::Command {
            actor, command: Command::Confirm { .. }, ..
        }) => Some(actor.clone()),
        _ => None,
    };
    let confirmed: Vec<String> = sent.iter().filter_map(by).collect();
    assert_eq!(confirmed.len(), 2, "{confirmed:?}");
    assert!(confirmed[0].ends_with("@maintainer") && confirmed[1].ends_with("@owner"));
    let denied = w.activities().await;
    assert!(
        denied.iter().any(|done| done.0.ends_with("@developer")
            && done
                .2
                .contains("In GitLab you are Developer in this project; this requires Maintainer")),
        "{denied:?}"
    );
}

#[tokio::test]
async fn maintainers_of_an_admin_group_are_admins() {
    let w = connected().await;
    let (application, group) = (application(&w), w.gitlab.create_group("acme/platform"));
    let got =
        offer(&w, &application, json!({ "admin_groups": ["acme/platform", "no such"] })).await;
    assert!(got.expect(422).error("admin_groups[1]").contains("full path"));
    let groups = json!({ "admin_groups": ["acme/platform", "nowhere"] });
    offer(&w, &application, groups).await.expect(200);
    for (name, level, status) in [("grace", 40, 200), ("bob", 30, 403)] {
        let person = w.gitlab.person(name);
        w.gitlab.set_group_member(group, person.id(), level);
        let browser = sign_in(&w, &person).await;
        browser.get("/keys").await.expect(status);
        assert_eq!(browser.get("/stacks/new").await.status, status, "{name}");
    }
}

/// Anybody may get the path that a group had before: it makes no admins.
#[tokio::test]
async fn an_admin_group_is_the_same_group_whatever_its_path_is() {
    for bot_sees_it in [true, false] {
        let w = connected().await;
        let (application, group) = (application(&w), w.gitlab.create_group("acme/platform"));
        if bot_sees_it {
            w.gitlab.set_group_member(group, w.bot, 10);
        }
        let groups = json!({ "admin_groups": ["acme/platform"] });
        offer(&w, &application, groups.clone()).await.expect(200);
        let grace = w.gitlab.person("grace");
        w.gitlab.set_group_member(group, grace.id(), 40);
        let browser = sign_in(&w, &grace).await;
        browser.get("/keys").await.expect(200);
        let view = w.get("/api/v1/sign-in").await.expect(200).body;
        assert!(view["works_since"].is_string(), "{view}");

        w.gitlab.rename_group(group, "acme/engineering");
        let squatted = w.gitlab.create_group("acme/platform");
        let eve = w.gitlab.person("eve");
        w.gitlab.set_group_member(squatted, eve.id(), 50);
        let eves = sign_in(&w, &eve).await;
        eves.get("/keys").await.expect(403);
        w.hand.advance(5 * MINUTE);
        browser.get("/keys").await.expect(200);
        // Nor does saving again make it another one.
        w.gitlab.set_group_member(squatted, w.bot, 10);
        offer(&w, &application, groups).await.expect(200);
        w.hand.advance(5 * MINUTE);
        eves.get("/keys").await.expect(403);
        browser.get("/keys").await.expect(200);
    }
}

#[tokio::test]
async fn a_sign_in_is_good_once_in_the_browser_that_began_it_and_for_ten_minutes() {
    let (w, _) = offered().await;
    let ada = member(&w, "ada", 40);
    let (url, kept) = set_out(&w, "").await;
    let back = ada.authorize(&url).unwrap();
    let (other_url, other_kept) = set_out(&w, "").await;
    let other = ada.authorize(&other_url).unwrap();
    // Another browser's, none, a forged one, and a state that was changed.
    for (to, kept) in [
        (&back, &other_kept),
        (&back, &String::new()),
        (&back, &format!("{kept}x")),
        (&back.replace("state=", "state=x"), &kept),
        (&other.replace("state=", "no="), &other_kept),
    ] {
        let got = come_back(&w, to, kept).await.expect(400);
        assert!(got.text.contains("not begun here"), "{}", got.text);
    }
    // The code of one sign-in with the state of another: it was asked for with another challenge.
    let code = |to: &str| {
        let url: url::Url = to.parse().unwrap();
        url.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned()
    };
    let mixed = back.replace(&code(&back), &code(&other));
    come_back(&w, &mixed, &kept).await.expect(401);

    let (url, kept) = set_out(&w, "").await;
    let back = ada.authorize(&url).unwrap();
    come_back(&w, &back, &kept).await.expect(303);
    come_back(&w, &back, &kept).await.expect(401);

    let (url, kept) = set_out(&w, "").await;
    let back = ada.authorize(&url).unwrap();
    w.hand.advance(10 * MINUTE);
    come_back(&w, &back, &kept).await.expect(400);

    let (url, kept) = set_out(&w, "").await;
    let denied = come_back(&w, &ada.deny(&url).unwrap(), &kept).await.expect(403);
    assert!(denied.text.contains("You did not let Gantry see who you are"), "{}", denied.text);
}

#[tokio::test]
async fn nobody_is_led_away() {
    let (w, _) = offered().await;
    let ada = member(&w, "ada", 40);
    for next in [
        "%2F%2Fevil.example",
        "https:%2F%2Fevil.example",
        "..%2F..%2Fx",
        "%5C%5Cevil",
        "%252e%252e%2F%252E.%2Fx",
        "ada@evil.example:%2F%2Fx",
        "javascript:alert(1)",
        "%09%2F%2Fevil.example",
    ] {
        let (url, kept) = set_out(&w, next).await;
        let back = ada.authorize(&url).unwrap();
        let got = come_back(&w, &back, &kept).await.expect(303);
        assert_eq!(got.headers["location"], "../../", "{next}");
    }
}

#[tokio::test]
async fn what_somebody_is_called_is_a_line_and_what_is_known_of_them_goes_after_a_year() {
    let (w, _) = offered().await;
    let ada = w.gitlab.person("ada");
    w.gitlab.name_user(ada.id(), "Ada\u{202e}\n\u{1b}[31m Lovelace");
    let browser = sign_in(&w, &ada).await;
    let activities = w.activities().await;
    assert!(activities.iter().any(|(by, ..)| by == "Ada Lovelace @ada"), "{activities:?}");
    w.gitlab.name_user(ada.id(), "\u{200b}");
    w.hand.advance(5 * MINUTE);
    let page = browser.get("/account").await.expect(200).text;
    assert!(page.contains(">ada @ada</a>"), "{page}");

    let key = keys::person(UserId(ada.id().0));
    let client = aws_sdk_dynamodb::Client::new(&w.table.config());
    let text = aws_sdk_dynamodb::types::AttributeValue::S;
    let asked = client.get_item().table_name("gantry").key("pk", text(key.pk));
    let item = asked.key("sk", text(key.sk)).send().await.unwrap().item.unwrap();
    let ends: i64 = item["ttl"].as_n().unwrap().parse().unwrap();
    assert_eq!(ends, w.clock.now().as_second() + 366 * 24 * 60 * 60);
}

#[tokio::test]
async fn a_session_is_new_and_ends_when_somebody_signs_out() {
    let (w, _) = offered().await;
    let ada = member(&w, "ada", 40);
    let (url, kept) = set_out(&w, "").await;
    let back = ada.authorize(&url).unwrap();
    // A session that somebody else put into the browser is not taken over.
    let planted = sign_in(&w, &w.gitlab.person("eve")).await.cookie;
    let got = come_back(&w, &back, &format!("{planted}; {kept}")).await.expect(303);
    let mine = cookie_of(&got);
    assert_ne!(mine, planted);
    let browser = Browser { w: &w, cookie: mine };
    let got = browser.send("/sign-out", "").await.expect(303);
    assert!(got.headers["set-cookie"].to_str().unwrap().starts_with("gantry_session=;"));
    // The cookie is good no more, wherever it was copied to.
    let got = browser.get("/").await.expect(303);
    assert!(got.headers["location"].to_str().unwrap().starts_with("sign-in"));
}

#[tokio::test]
async fn a_right_that_is_lost_in_gitlab_is_lost_here_within_five_minutes() {
    let (w, application) = offered().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "one", RunState::Unconfirmed).await;
    let confirm = format!("/runs/{}/confirm", run.id);
    let ada = member(&w, "ada", 40);
    let browser = sign_in(&w, &ada).await;
    w.gitlab.set_member(w.project, ada.id(), 30);
    w.hand.advance(5 * MINUTE);
    browser.send(&confirm, "comment=").await.expect(403);
    w.gitlab.set_member(w.project, ada.id(), 0);
    w.hand.advance(5 * MINUTE);
    browser.get("/stacks/network").await.expect(404);
    assert!(!stacks_of(&browser).await);
    assert!(w.sent().iter().all(|sent| !matches!(
        sent,
        Message::Stack(StackMessage::Command { command: Command::Confirm { .. }, .. })
    )));

    // A name that changes, and tokens that are renewed, do not matter.
    w.gitlab.set_member(w.project, ada.id(), 40);
    w.gitlab.rename_user(ada.id(), "countess");
    w.hand.advance(Duration::from_secs(3 * 60 * 60));
    let page = browser.get("/stacks/network").await.expect(200).text;
    assert!(page.contains("@countess") && !page.contains("@ada"), "{page}");

    // Nor does anybody go on who takes the application back, or is blocked.
    let again = sign_in(&w, &w.gitlab.person("countess")).await;
    w.gitlab.person("countess").revoke_application(&application);
    w.hand.advance(5 * MINUTE);
    for browser in [browser, again] {
        browser.get("/stacks/network").await.expect(303);
    }
}

#[tokio::test]
async fn while_gitlab_is_away_people_read_for_an_hour_and_do_nothing() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "one", RunState::Unconfirmed).await;
    let confirm = format!("/runs/{}/confirm", run.id);
    let browser = sign_in(&w, &member(&w, "ada", 40)).await;
    w.gitlab.set_down(true);
    w.hand.advance(6 * MINUTE);
    browser.get("/stacks/network").await.expect(200);
    let got = browser.send(&confirm, "comment=").await.expect(503);
    assert!(got.text.contains("You can go on reading"), "{}", got.text);
    w.hand.advance(55 * MINUTE);
    let got = browser.get("/stacks/network").await.expect(503);
    assert!(got.text.contains("GitLab cannot be reached"), "{}", got.text);
    let got = w.ask("GET", "/sign-in/gitlab", None, &[], "").await;
    assert_eq!(got.status, 502, "{}", got.text);
    w.gitlab.set_down(false);
    w.hand.advance(Duration::from_secs(30));
    browser.send(&confirm, "comment=").await.expect(303);
}

#[tokio::test]
async fn another_server_ends_all_sessions_and_what_is_on_its_way() {
    let (w, application) = offered().await;
    let groups = json!({ "admin_groups": ["acme/platform"] });
    offer(&w, &application, groups).await.expect(200);
    w.stack().await;
    let ada = member(&w, "ada", 40);
    let browser = sign_in(&w, &ada).await;
    let (url, kept) = set_out(&w, "").await;
    let back = ada.authorize(&url).unwrap();
    let other = connected().await;
    let body = json!({ "api_host": other.gitlab.base_url(), "token": other.token });
    w.send("PUT", "/api/v1/integration", body).await.expect(200);
    browser.get("/").await.expect(303);
    come_back(&w, &back, &kept).await.expect(409);
    let view = w.get("/api/v1/sign-in").await.expect(200).body;
    assert_eq!(view["offered"], false);
    assert!(view["problem"].as_str().unwrap().contains("connected before"), "{view}");
    // The secret of the other server's application is sent to nobody.
    let got = w
        .send("PUT", "/api/v1/sign-in", json!({ "application_id": application.application_id }))
        .await;
    assert!(got.expect(422).error("secret").contains("secret"));
    // Groups of the same paths are others' there.
    let there = self::application(&other);
    let view = offer(&w, &there, json!({})).await.expect(200).body;
    assert_eq!((view["offered"].as_bool(), &view["admin_groups"]), (Some(true), &json!([])));
}

#[tokio::test]
async fn a_wrong_application_is_refused_when_it_is_saved() {
    let w = connected().await;
    let application = application(&w);
    for (id, secret) in
        [(application.application_id.as_str(), "wrong"), ("wrong", application.secret.as_str())]
    {
        let got = w
            .send("PUT", "/api/v1/sign-in", json!({ "application_id": id, "secret": secret }))
            .await;
        assert!(got.expect(422).error("secret").contains("does not know the application"));
    }
    w.ask("GET", "/sign-in/gitlab", None, &[], "").await.expect(409);
    let levels = json!({ "levels": {
        "read": "developer", "preview": "reporter", "deploy": "owner", "edit": "owner"
    } });
    let got = offer(&w, &application, levels).await.expect(422);
    assert!(got.error("levels").contains("at least the level of the one before"));
    w.gitlab.fail_always(Matcher::new("POST", "/oauth/token"), Fault::status(503));
    offer(&w, &application, json!({})).await.expect(502);
    w.gitlab.clear_faults();
    offer(&w, &application, json!({})).await.expect(200);
    // The secret stays where nothing is entered.
    let again = json!({
        "application_id": application.application_id, "admin_groups": ["acme"],
    });
    let got = w.send("PUT", "/api/v1/sign-in", again).await.expect(200);
    assert_eq!(got.body["admin_groups"], json!(["acme"]));
    assert!(!got.text.contains(&application.secret));
    w.send("DELETE", "/api/v1/sign-in", json!({})).await.expect(204);
    let page = w.ask("GET", "/sign-in", None, &[], "").await.expect(200).text;
    assert!(!page.contains("Sign in with GitLab"), "{page}");
}

#[tokio::test]
async fn an_admin_sets_it_up_on_the_page() {
    let w = connected().await;
    let application = application(&w);
    let admin = Browser::sign_in(&w, &w.admin).await;
    let page = admin.get("/gitlab/sign-in").await.expect(200).text;
    assert!(page.contains(CALLBACK) && page.contains("gitlab_application"), "{page}");
    let fields = |secret: &str| {
        format!(
            "application_id={}&secret={secret}&admin_groups=acme%2Fplatform&levels.read=reporter\
             &levels.preview=developer&levels.deploy=owner&levels.edit=owner",
            application.application_id
        )
    };
    let got = admin.send("/gitlab/sign-in", &fields("wrong")).await.expect(422);
    assert!(got.text.contains("does not know the application"), "{}", got.text);
    assert!(!got.text.contains("value=\"wrong\""), "{}", got.text);
    let got = admin.send("/gitlab/sign-in", &fields(&application.secret)).await.expect(303);
    assert_eq!(got.headers["location"], "../gitlab/sign-in?done=sign-in");
    let view = w.get("/api/v1/sign-in").await.expect(200).body;
    assert_eq!(view["levels"]["deploy"], "owner");
    assert_eq!(view["admin_groups"], json!(["acme/platform"]));
    let page = admin.get("/gitlab/sign-in").await.expect(200).text;
    assert!(page.contains("Nobody has signed in yet"), "{page}");
    admin.send("/gitlab/sign-in/remove", "").await.expect(303);
    assert_eq!(w.get("/api/v1/sign-in").await.expect(200).body["offered"], false);
}

#[tokio::test]
async fn without_a_public_address_it_cannot_be_set_up() {
    let w = world_with(Options { public_url: None, ..Options::default() }).await;
    w.connect().await.expect(200);
    let application = application(&w);
    let got = offer(&w, &application, json!({})).await.expect(409);
    assert!(got.detail().contains("GANTRY_PUBLIC_URL"), "{}", got.detail());
}

#[tokio::test]
async fn a_form_of_a_session_that_has_ended_is_not_carried_out() {
    let (w, application) = offered().await;
    w.stack().await;
    let ada = member(&w, "ada", 40);
    let browser = sign_in(&w, &ada).await;
    let token = browser.token("/events").await;
    ada.revoke_application(&application);
    w.hand.advance(5 * MINUTE);
    let fields = format!("_token={token}&type=tracked");
    let headers = [("cookie", browser.cookie.as_str()), ("content-type", FORM)];
    let got = w.ask("POST", "/stacks/network/runs", None, &headers, fields).await.expect(401);
    assert!(got.text.contains("was not carried out"), "{}", got.text);
    assert!(w.sent().iter().all(|sent| !matches!(
        sent,
        Message::Stack(StackMessage::Command { command: Command::Trigger { .. }, .. })
    )));
}
