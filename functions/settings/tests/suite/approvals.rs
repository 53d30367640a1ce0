//! Who confirms: reviews, going past the rules, what is shown of them, and what a stack asks for.

use crate::{
    browser::Browser,
    people::{key_of, member, offered, sign_in},
    support::{Options, World, connected, signer, world_with},
};
use gantry_domain::{
    UserId,
    approval::{Decision, LastVerdict, Person, Review, VerdictState},
    rights::Level,
    run::{Run, RunState, RunType},
};
use gantry_fake_gitlab::{Allowed, ProtectedEnvironment};
use gantry_queue::{Command, Message, StackMessage};
use gantry_secrets::links::read_link;
use gantry_store::{keys, scheduler::CommandOutcome};
use serde_json::{Value, json};
use std::time::Duration;

const STACKS: &str = "/api/v1/stacks";
const STACK: &str = "/api/v1/stacks/network";

/// What was asked of stacks since the last look: the request, who asked, and what.
fn asked(w: &World) -> Vec<(String, Option<Person>, Command)> {
    let asked = |message: Message| match message {
        Message::Stack(StackMessage::Command { request, person, command, .. }) => {
            Some((request.as_str().to_owned(), person, command))
        }
        _ => None,
    };
    w.sent().into_iter().filter_map(asked).collect()
}

/// The run as the scheduler keeps it where rules ask for something.
async fn with_rules(w: &World, run: &Run, state: VerdictState, message: &str) -> Run {
    let at = w.clock.now();
    let grace =
        Person { id: UserId(77), username: "grace".to_owned(), name: "Grace Hopper".to_owned() };
    let review = |decision, comment: Option<&str>| Review {
        by: grace.clone(),
        decision,
        comment: comment.map(str::to_owned),
        at,
    };
    let reviews =
        vec![review(Decision::Reject, Some("not on <Friday>")), review(Decision::Approve, None)];
    let approval = Some(LastVerdict { state, message: message.to_owned(), at });
    let run = Run { approval, reviews, ..run.clone() };
    w.save_run(&run).await;
    run
}

#[tokio::test]
async fn a_review_carries_the_person_and_each_button_is_a_request_of_its_own() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let ada = member(&w, "ada", 20);
    let browser = sign_in(&w, &ada).await;
    let path = format!("/runs/{}/review", run.id);
    w.sent();
    for fields in [
        "_request=1&decision=approve&comment=Looks%0D%0Aright",
        "_request=1&decision=approve&comment=Looks%0D%0Aright",
        "_request=1&decision=reject&comment=+",
    ] {
        let got = browser.send(&path, fields).await.expect(303);
        let location = got.headers["location"].to_str().unwrap();
        assert!(location.starts_with(&format!("../../runs/{}?asked=", run.id)), "{location}");
    }
    let asked = asked(&w);
    let [(first, by, approved), (again, ..), (other, _, rejected)] = &asked[..] else {
        panic!("{asked:?}")
    };
    assert!(first == again && first != other, "{asked:?}");
    let by = by.as_ref().unwrap();
    assert_eq!((by.id, by.username.as_str()), (UserId(ada.id().0), "ada"));
    let review = |decision, comment: Option<&str>| Command::Review {
        run: run.id.clone(),
        decision,
        comment: comment.map(str::to_owned),
    };
    assert_eq!(*approved, review(Decision::Approve, Some("Looks\nright")));
    assert_eq!(*rejected, review(Decision::Reject, None));
    let activities = w.activities().await;
    let is_said = |(actor, what, outcome): &(String, String, String)| {
        actor.ends_with("@ada")
            && what.starts_with("review the run network #")
            && outcome == "requested. Decision: reject"
    };
    assert!(activities.iter().any(is_said), "{activities:?}");

    let long = format!("decision=approve&comment={}", "x".repeat(1_001));
    for wrong in ["decision=maybe", "comment=yes", &long] {
        browser.send(&path, wrong).await.expect(422);
    }
    assert!(self::asked(&w).is_empty(), "nothing of what was refused is asked for");
}

/// Many who look may review: nobody uses up the ID that somebody else confirms with.
#[tokio::test]
async fn the_same_request_id_of_two_people_is_two_requests() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let rita = key_of(&sign_in(&w, &member(&w, "rita", 20)).await).await;
    let mia = key_of(&sign_in(&w, &member(&w, "mia", 40)).await).await;
    w.sent();
    let same = [("idempotency-key", "deploy-1")];
    let ask = async |key: &str, what: &str, body: Value| {
        let path = format!("/api/v1/runs/{}/{what}", run.id);
        w.ask("POST", &path, Some(key), &same, body.to_string()).await
    };
    let review = ask(&rita, "review", json!({ "decision": "reject" })).await.expect(202);
    let request = review.body["request"].as_str().unwrap().parse().unwrap();
    let outcome = CommandOutcome {
        actor: "rita".to_owned(),
        done: true,
        message: "Rejected.".to_owned(),
        run: Some(run.id.clone()),
        at: w.clock.now(),
    };
    w.put(keys::command(&stack.id, &request), &outcome).await;
    // Her own request is the same again; Mia's is another one, and so is that of a key.
    let again = ask(&rita, "review", json!({ "decision": "reject" })).await.expect(200);
    assert_eq!(again.body["request"], review.body["request"]);
    let confirmed = ask(&mia, "confirm", json!({})).await.expect(202);
    assert_ne!(confirmed.body["request"], review.body["request"]);
    let by_key = ask(&w.admin, "confirm", json!({})).await.expect(202);
    assert_eq!(by_key.body["request"], "deploy-1");
    let commands: Vec<Command> = asked(&w).into_iter().map(|(_, _, command)| command).collect();
    let [Command::Review { .. }, Command::Confirm { .. }, Command::Confirm { .. }] = &commands[..]
    else {
        panic!("{commands:?}")
    };
}

#[tokio::test]
async fn a_key_reviews_nothing() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let path = format!("/runs/{}/review", run.id);
    for key in [w.admin.clone(), w.key("deploy").await, w.key("read").await] {
        let body = json!({ "decision": "approve" }).to_string();
        let got = w.ask("POST", &format!("/api/v1{path}"), Some(&key), &[], body).await.expect(403);
        assert_eq!(got.detail(), "A key is not a person: sign in with GitLab to review.");
        let browser = Browser::sign_in(&w, &key).await;
        browser.send(&path, "decision=approve").await.expect(403);
    }
    assert!(asked(&w).is_empty());
    let refused = w.activities().await;
    let of_key = refused.iter().filter(|done| done.1.starts_with("review the run network #"));
    assert!(of_key.clone().all(|done| done.2.contains("A key is not a person")), "{refused:?}");
    assert_eq!(of_key.count(), 6);
}

#[tokio::test]
async fn only_a_deploy_that_waits_is_reviewed_and_only_by_who_sees_it() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    let waits = w.run(&stack, "a", RunState::Unconfirmed).await;
    let planning = w.run(&stack, "b", RunState::Planning).await;
    let ended = w.run(&stack, "c", RunState::Discarded).await;
    let preview = w.run(&stack, "d", RunState::Finished).await;
    w.save_run(&Run { run_type: RunType::Proposed, ..preview.clone() }).await;
    let path = |run: &Run| format!("/runs/{}/review", run.id);
    let ada = sign_in(&w, &member(&w, "ada", 20)).await;
    let eve = sign_in(&w, &w.gitlab.person("eve")).await;
    w.sent();
    for (run, said) in [
        (&planning, "The run is planning, so there is nothing to review."),
        (&ended, "The run has already ended (discarded)."),
        (&preview, "Only deploys are reviewed"),
    ] {
        let got = ada.send(&path(run), "decision=approve").await.expect(409);
        assert!(got.text.contains(said), "{}", got.text);
    }
    eve.send(&path(&waits), "decision=approve").await.expect(404);
    // Nobody decides while it is not known whether they still see it.
    w.gitlab.set_down(true);
    w.hand.advance(Duration::from_secs(6 * 60));
    let got = ada.send(&path(&waits), "decision=approve").await.expect(503);
    assert!(got.text.contains("You can go on reading"), "{}", got.text);
    assert!(asked(&w).is_empty());
}

#[tokio::test]
async fn a_confirmation_names_the_person() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let ada = member(&w, "ada", 40);
    let browser = sign_in(&w, &ada).await;
    w.sent();
    browser
        .send(&format!("/runs/{}/confirm", run.id), "comment=&override_reason=")
        .await
        .expect(303);
    w.post(&format!("/api/v1/runs/{}/confirm", run.id), json!({})).await.expect(202);
    let confirmed = Command::Confirm { run: run.id, comment: None, override_reason: None };
    let asked = asked(&w);
    let [(_, person, by_person), (_, none, by_key)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(person.as_ref().unwrap().id, UserId(ada.id().0));
    assert_eq!(*none, None);
    assert_eq!((by_person, by_key), (&confirmed, &confirmed));
}

#[tokio::test]
async fn only_an_admins_key_goes_past_the_rules_and_says_why() {
    let (w, application) = offered().await;
    let group = w.gitlab.create_group("acme/platform");
    let admins = json!({
        "application_id": application.application_id, "admin_groups": ["acme/platform"],
    });
    w.send("PUT", "/api/v1/sign-in", admins).await.expect(200);
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let (api, page) =
        (format!("/api/v1/runs/{}/confirm", run.id), format!("/runs/{}/confirm", run.id));
    let body = json!({ "override_reason": " GitLab\nis down ", "comment": "go" });
    let confirmed = |comment: Option<&str>, reason: Option<&str>| Command::Confirm {
        run: run.id.clone(),
        comment: comment.map(str::to_owned),
        override_reason: reason.map(str::to_owned),
    };
    w.sent();
    w.post(&api, body.clone()).await.expect(202);
    let sent = asked(&w).remove(0);
    assert_eq!((sent.1, sent.2), (None, confirmed(Some("go"), Some("GitLab is down"))));
    let said = "requested. Rules overridden: GitLab is down. Comment: go";
    assert!(w.outcomes().await.iter().any(|outcome| outcome == said));
    // Nothing is no reason.
    w.post(&api, json!({ "override_reason": " \n" })).await.expect(202);
    assert_eq!(asked(&w).remove(0).2, confirmed(None, None));
    w.post(&api, json!({ "override_reason": "é".repeat(500) })).await.expect(202);
    asked(&w);
    let got = w.post(&api, json!({ "override_reason": "é".repeat(501) })).await.expect(422);
    assert_eq!(got.error("override_reason"), "Has 501 characters; at most 500 are allowed");

    let deploy = w.key("deploy").await;
    let got = w.ask("POST", &api, Some(&deploy), &[], body.to_string()).await.expect(403);
    assert!(got.detail().starts_with("Only access keys with the role admin"), "{}", got.text);
    let grace = w.gitlab.person("grace");
    w.gitlab.set_group_member(group, grace.id(), 40);
    for person in [member(&w, "ada", 50), grace] {
        let browser = sign_in(&w, &person).await;
        let got = browser.send(&page, "comment=&override_reason=fire").await.expect(403);
        assert!(got.text.contains("Only access keys with the role admin"), "{}", got.text);
    }
    assert!(asked(&w).is_empty());
    let admin = Browser::sign_in(&w, &w.admin).await;
    admin.send(&page, "comment=&override_reason=fire").await.expect(303);
    assert_eq!(asked(&w).remove(0).2, confirmed(None, Some("fire")));
}

/// What a page of a run has of approvals, in this order: the verdict, whom it names, the buttons of
/// a review, a field for going past the rules, and the button that confirms.
fn parts(page: &str) -> [bool; 5] {
    [
        "Waits for 1 of 2 approvals, by @ops.",
        "Grace Hopper @grace",
        "name=\"decision\" value=\"approve\"",
        "name=\"override_reason\"",
        "Confirm and apply",
    ]
    .map(|part| page.contains(part))
}

#[tokio::test]
async fn a_run_shows_what_it_waits_for_and_each_what_they_can_do() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let message = "waits for 1 of 2 approvals, by @ops";
    let run = with_rules(&w, &run, VerdictState::NeedsApprovals, message).await;
    let got = w.get(&format!("/api/v1/runs/{}", run.id)).await.expect(200).body;
    assert_eq!(got["approval"]["state"], "needs_approvals");
    assert_eq!(got["approval"]["message"], message);
    assert_eq!(got["reviews"][0]["by"]["username"], "grace");
    assert_eq!(got["reviews"][0]["comment"], "not on <Friday>");
    assert_eq!(got["reviews"][1]["decision"], "approve");
    assert_eq!(got["actions"], json!(["confirm", "discard"]), "a key does not review");

    let path = format!("/runs/{}", run.id);
    let (admin, deploy) = (w.admin.clone(), w.key("deploy").await);
    let reporter = sign_in(&w, &member(&w, "ada", 20)).await;
    let maintainer = sign_in(&w, &member(&w, "bob", 40)).await;
    let (admin, deploy) = (Browser::sign_in(&w, &admin).await, Browser::sign_in(&w, &deploy).await);
    for (who, browser, expected) in [
        ("reporter", &reporter, [true, true, true, false, false]),
        ("maintainer", &maintainer, [true, true, true, false, true]),
        ("admin's key", &admin, [true, true, false, true, true]),
        ("deployer's key", &deploy, [true, true, false, false, true]),
    ] {
        let page = browser.get(&path).await.expect(200).text;
        assert_eq!(parts(&page), expected, "{who}: {page}");
        assert!(page.contains("<p class=\"comment\">not on &#60;Friday&#62;</p>"), "{page}");
        let tells_keys = page.contains("To approve or reject it, sign in with GitLab.");
        assert_eq!(tells_keys, who.ends_with("key"), "{who}: {page}");
    }
    let link = read_link(&signer(), "", &run.id);
    let page = w.ask("GET", &link, None, &[], "").await.expect(200).text;
    assert_eq!(parts(&page), [true, true, false, false, false], "{page}");
    assert!(!page.contains("method=\"post\""), "{page}");

    // What is applied by itself once it may be says so; what has ended is decided no more.
    w.save_run(&Run { held: true, ..run.clone() }).await;
    let page = reporter.get(&path).await.expect(200).text;
    assert!(page.contains("It is applied automatically once the rules allow it."), "{page}");
    // Not where somebody wanted it to stop while it was planned: that waits for a person.
    let stopped = Some("ada".to_owned());
    w.save_run(&Run { held: true, stop_asked: stopped, ..run.clone() }).await;
    let page = reporter.get(&path).await.expect(200).text;
    assert!(!page.contains("It is applied automatically"), "{page}");
    w.save_run(&Run { held: true, state: RunState::Finished, ..run }).await;
    for browser in [&reporter, &maintainer, &admin] {
        let page = browser.get(&path).await.expect(200).text;
        assert_eq!(parts(&page), [true, true, false, false, false], "{page}");
        assert!(!page.contains("It is applied automatically"), "{page}");
    }
}

#[tokio::test]
async fn without_rules_nothing_is_said_of_them_until_an_admins_key_is_refused() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let got = w.get(&format!("/api/v1/runs/{}", run.id)).await.expect(200).body;
    assert_eq!((&got["approval"], &got["reviews"]), (&Value::Null, &json!([])));
    let ada = sign_in(&w, &member(&w, "ada", 40)).await;
    let (admin, deploy) = (w.admin.clone(), w.key("deploy").await);
    let (admin, deploy) = (Browser::sign_in(&w, &admin).await, Browser::sign_in(&w, &deploy).await);
    let path = format!("/runs/{}", run.id);
    for browser in [&ada, &admin, &deploy] {
        let page = browser.get(&path).await.expect(200).text;
        assert_eq!(parts(&page), [false, false, false, false, true], "{page}");
        assert!(!page.contains("id=\"approvals\""), "{page}");
    }
    let refused = CommandOutcome {
        actor: "first-admin-key".to_owned(),
        done: false,
        message: "only Maintainers may deploy to gantry/network in GitLab".to_owned(),
        run: Some(run.id),
        at: w.clock.now(),
    };
    w.put(keys::command(&stack.id, &"r-1".parse().unwrap()), &refused).await;
    for (browser, may_override) in [(&ada, false), (&admin, true), (&deploy, false)] {
        let page = browser.get(&format!("{path}?asked=r-1")).await.expect(200).text;
        assert!(page.contains("only Maintainers may deploy"), "{page}");
        assert_eq!(parts(&page), [false, false, false, may_override, true], "{page}");
    }
}

#[tokio::test]
async fn what_a_stack_asks_for_is_kept_and_taken_back() {
    let w = connected().await;
    let asks = json!({
        "approvals": { "required": 2, "from": ["@ada", "@acme/ops", "maintainer"] },
        "require_merge_request_approval": true, "levels": { "deploy": "owner" },
    });
    let mut body = json!({ "name": "Network", "project": "acme/network" });
    body.as_object_mut().unwrap().extend(asks.as_object().unwrap().clone());
    let got = w.post(STACKS, body).await.expect(201).body;
    for (field, value) in asks.as_object().unwrap() {
        assert_eq!(got[field], *value, "{field}");
    }
    let kept = w.stored_stack("network").await.settings;
    assert_eq!(json!(kept.approvals), asks["approvals"]);
    assert_eq!((kept.levels.preview, kept.levels.deploy), (None, Some(Level::Owner)));
    // What was answered can be sent back.
    w.send("PUT", STACK, got).await.expect(200);
    assert!(w.outcomes().await.iter().any(|outcome| outcome == "changed nothing"));

    let wrong = json!({
        "approvals": { "required": 11, "from": ["@ada", "ops"] }, "levels": { "edit": "king" },
    });
    let got = w.send("PUT", STACK, wrong).await.expect(422);
    assert_eq!(got.error("approvals.required"), "Use a number from 1 to 10");
    assert!(got.error("approvals.from[1]").starts_with("Not a valid approver"), "{}", got.text);
    assert!(got.error("levels.edit").contains("one of reporter, developer"), "{}", got.text);
    assert_eq!(w.stored_stack("network").await.settings, kept);

    let nothing =
        json!({ "approvals": null, "require_merge_request_approval": null, "levels": null });
    let got = w.send("PUT", STACK, nothing).await.expect(200).body;
    assert_eq!((&got["approvals"], &got["levels"]), (&Value::Null, &json!({})));
    assert_eq!(got["require_merge_request_approval"], false);
    let said = "changed approvals, levels, require_merge_request_approval";
    assert!(w.outcomes().await.iter().any(|outcome| outcome == said));

    // Elsewhere nobody has a role, and nothing has a merge request.
    let mut elsewhere = asks.clone();
    elsewhere["name"] = "Elsewhere".into();
    elsewhere["provider"] = "git".into();
    elsewhere["project"] = format!("{}/acme/network.git", w.gitlab.base_url()).into();
    let got = w.post(STACKS, elsewhere).await.expect(422);
    for field in asks.as_object().unwrap().keys() {
        assert!(got.error(field).contains("outside of GitLab"), "{field}: {}", got.text);
    }
    // A module asks for levels, and is never applied.
    let got = w.post("/api/v1/modules", asks.clone()).await.expect(422);
    for (field, is_known) in
        [("approvals", false), ("require_merge_request_approval", false), ("levels", true)]
    {
        assert_eq!(got.body["errors"][field].is_null(), is_known, "{field}: {}", got.text);
    }
}

const FORM: &str = "provider=gitlab&project=acme/network&branch=main&manage_state=on&tool=terraform\
                    &on_push=tracked&tracked_queue=every&comment=full";
const ASKS: &str = "approvals.required=2&approvals.from=@ada%0D%0A@acme/ops\
                    &require_merge_request_approval=on&levels.deploy=owner";

#[tokio::test]
async fn the_form_of_a_stack_has_what_it_asks_for() {
    let w = connected().await;
    w.stack().await;
    let admin = Browser::sign_in(&w, &w.admin).await;
    let edit = "/stacks/network/edit";
    let saved = format!("version=1&name=Network&{FORM}&{ASKS}");
    admin.send(edit, &saved).await.expect(303);
    let kept = w.stored_stack("network").await.settings;
    assert_eq!(json!(kept.approvals), json!({ "required": 2, "from": ["@ada", "@acme/ops"] }));
    assert!(kept.require_merge_request_approval);
    let page = admin.get(edit).await.expect(200).text;
    for part in [
        "name=\"approvals.required\" value=\"2\"",
        "@ada\n@acme/ops</textarea>",
        "name=\"require_merge_request_approval\" checked",
        "<option value=\"owner\" selected>Owner</option>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    admin.send(edit, &saved.replace("version=1", "version=2")).await.expect(303);
    assert!(w.outcomes().await.iter().any(|outcome| outcome == "changed nothing"));

    let wrong = format!(
        "version=3&name=Network&{FORM}&approvals.required=two&approvals.from=@ada%0D%0Aada\
         &levels.deploy=king"
    );
    let page = admin.send(edit, &wrong).await.expect(422).text;
    for part in [
        "id=\"p-approvals.required\">Use a number from 1 to 10<",
        "value=\"two\"",
        "line 2: Not a valid approver",
        "id=\"p-levels.deploy\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(w.stored_stack("network").await.settings, kept);
    let page = admin.get("/modules/new").await.expect(200).text;
    assert!(page.contains("levels.deploy") && !page.contains("approvals.required"), "{page}");
}

#[tokio::test]
async fn who_may_change_a_stack_does_not_lift_the_rules_that_bind_them() {
    let (w, _) = offered().await;
    w.stack().await;
    let asks = json!({
        "approvals": { "required": 2, "from": ["@ada", "@acme/ops"] },
        "require_merge_request_approval": true, "levels": { "deploy": "owner" },
    });
    w.send("PUT", STACK, asks).await.expect(200);
    let kept = w.stored_stack("network").await.settings;
    let owner = sign_in(&w, &member(&w, "ada", 50)).await;
    let edit = "/stacks/network/edit";
    for asks in [
        String::new(),
        ASKS.replace("required=2", "required=1"),
        ASKS.replace("required=2", "required=3"),
        ASKS.replace("&require_merge_request_approval=on", ""),
        ASKS.replace("owner", ""),
    ] {
        let fields = format!("version=2&name=Network&{FORM}&{asks}");
        let page = owner.send(edit, &fields).await.expect(422).text;
        assert!(page.contains("could lift the rule for a deploy of their own"), "{asks}: {page}");
        assert_eq!(w.stored_stack("network").await.settings, kept, "{asks}");
    }
    let fields = format!("version=2&name=Net&{FORM}&{ASKS}");
    owner.send(edit, &fields).await.expect(303);
    assert_eq!(w.stored_stack("network").await.settings.name, "Net");
}

/// What was found about rules: how it looks, what, and what it means.
fn rules(body: &Value) -> Vec<String> {
    let line = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        format!("{}: {}. {}", text("level"), text("what"), text("meaning"))
    };
    let all = body["findings"].as_array().unwrap().iter().map(line);
    let of_rules = ["gantry/network", "rules", "@"];
    all.filter(|line| of_rules.iter().any(|part| line.contains(part))).collect()
}

#[tokio::test]
async fn creating_a_stack_says_who_confirms_in_gitlab() {
    let w = connected().await;
    let ops = w.gitlab.create_group("acme/ops");
    let hidden = w.gitlab.create_group("acme/hidden");
    w.gitlab.set_group_member(ops, w.bot, 10);
    w.gitlab.set_group_member(hidden, w.gitlab.create_user("eve"), 40);
    w.gitlab.configure(w.project, |options| {
        options.protected_environments.push(ProtectedEnvironment {
            approval_rules: vec![(Allowed::Group { id: ops, inherited: false }, 2)],
            ..ProtectedEnvironment::new("gantry/network", vec![Allowed::Role(40)])
        });
    });
    let body = json!({
        "name": "Network", "project": "acme/network",
        "approvals": { "required": 1, "from": ["@eve", "@acme/ops", "@acme/hidden", "@nobody", "owner"] },
    });
    let found = rules(&w.post(STACKS, body).await.expect(201).body);
    let unknown = |name: &str| {
        format!(
            "warning: GitLab has no user or group @{name}, as far as Gantry's user sees. Nobody's \
             approval counts in its place. If it is a private group, make Gantry's user a member \
             of it."
        )
    };
    let [deployments, followed, first, second] = &found[..] else { panic!("{found:#?}") };
    assert_eq!(
        deployments,
        "ok: Environment gantry/network is protected; Gantry's user may deploy to it. Deployments \
         can be written."
    );
    let follows = "ok: GitLab's rules say who confirms a deploy. Gantry follows them: only \
                   Maintainers may deploy to gantry/network in GitLab, and a deploy waits for 2 \
                   approvals, by ";
    assert!(followed.starts_with(follows), "{followed}");
    assert_eq!([first, second], [&unknown("acme/hidden"), &unknown("nobody")]);
    assert!(w.gitlab.unknown_requests().is_empty());
}

#[tokio::test]
async fn rules_that_gantrys_user_may_not_read_hold_everything() {
    // Before 15.8 nothing tells a server without the feature from a user who may not look.
    let w = world_with(Options { version: "15.7.9-ee", ..Options::default() }).await;
    w.connect().await.expect(200);
    w.gitlab.set_member(w.project, w.bot, 30);
    let body = json!({ "name": "Network", "project": "acme/network" });
    let found = rules(&w.post(STACKS, body).await.expect(201).body);
    assert_eq!(
        found,
        ["warning: Gantry's user may not read who may deploy to gantry/network. GitLab shows \
          protected environments to Maintainers only. Until Gantry's user is one, nothing of this \
          stack can be confirmed."]
    );
}
