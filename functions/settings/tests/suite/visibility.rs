//! What people must not learn of projects that they do not see: from lists and counts, from the
//! registry, from what an answer says, and from the reads that it takes.

use crate::{
    browser::Browser,
    people::{key_of, member, offer, offered, sign_in},
    support::{ADDRESS, COMMIT, Got, World, signer},
};
use gantry_domain::{
    RunId,
    event::{EventRecord, EventSource},
    ids::short_digest,
    run::{Phase, Run, RunState},
    stack::{Stack, StackHead},
};
use gantry_fake_gitlab::ProjectOptions;
use gantry_secrets::{TokenFor, TokenKind, links::read_link};
use gantry_store::{
    Key,
    config::SlugEntry,
    keys,
    scheduler::{Receipt, RunEntry, VersionRecord, VersionState},
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

/// A world with the stack `network`, and the stack `vault` of the project `acme/secret`.
async fn two_projects() -> (World, Stack, Stack) {
    let (w, _) = offered().await;
    let seen = w.stack().await;
    let project = w.gitlab.create_project("acme/secret", ProjectOptions::default()).unwrap();
    w.gitlab.set_member(project, w.bot, 40);
    let body = json!({ "name": "Vault", "project": "acme/secret", "branch": "main" });
    w.post("/api/v1/stacks", body).await.expect(201);
    let hidden = w.stored_stack("vault").await;
    (w, seen, hidden)
}

/// A run that waits for a person.
async fn waits(w: &World, stack: &Stack, key: &str) -> Run {
    let run = w.run(stack, key, RunState::Unconfirmed).await;
    let entry = RunEntry {
        run: run.id.clone(),
        stack: stack.id.clone(),
        run_type: run.run_type,
        created_at: run.created_at,
    };
    w.put(keys::waiting(run.created_at, &run.id), &entry).await;
    run
}

/// Something that happened in a stack's project.
async fn happened(w: &World, stack: &Stack, id: &str) {
    let at = w.clock.now();
    let record = EventRecord {
        id: id.parse().unwrap(),
        source: EventSource::Webhook,
        project: stack.project(),
        what: format!("push {id}"),
        received_at: at,
        outcome: None,
    };
    w.put(keys::event(at, &record.id), &record).await;
    w.put(keys::receipt(&record.id), &Receipt { at }).await;
}

/// The module `vpc` of a project, with one version.
async fn module(w: &World, project: &str) -> Stack {
    let body = json!({
        "project": project, "name": "vpc", "slug": "vpc", "terraform_provider": "aws",
    });
    w.post("/api/v1/modules", body).await.expect(201);
    let module = w.stored_stack("vpc").await;
    let run = w.run(&module, "suite", RunState::Finished).await;
    let record = VersionRecord {
        version: "1.0.0".parse().unwrap(),
        state: VersionState::Active,
        commit: COMMIT.parse().unwrap(),
        run: run.id,
        tag: None,
        at: w.clock.now(),
        digest: Some("abc".to_owned()),
        yanked: None,
    };
    w.put(keys::version(&module.id, &record.version), &record).await;
    module
}

async fn list(w: &World, key: &str, path: &str) -> Value {
    w.ask("GET", path, Some(key), &[], "").await.expect(200).body
}

#[tokio::test]
async fn lists_and_counts_have_only_what_somebody_sees() {
    let (w, seen, hidden) = two_projects().await;
    // Those of others are before and behind it.
    for key in ["a", "b", "c"] {
        waits(&w, &hidden, key).await;
    }
    let own = waits(&w, &seen, "own").await;
    waits(&w, &hidden, "d").await;
    happened(&w, &seen, "theirs").await;
    happened(&w, &hidden, "of-others").await;
    let body = json!({ "labels": ["secret-label"] });
    w.send("PUT", "/api/v1/stacks/vault", body).await.expect(200);
    let ada = sign_in(&w, &member(&w, "ada", 20)).await;
    let eve = sign_in(&w, &w.gitlab.person("eve")).await;
    let (adas, eves) = (key_of(&ada).await, key_of(&eve).await);

    let waiting = list(&w, &adas, "/api/v1/waiting?limit=1").await;
    assert_eq!(waiting["runs"][0]["id"], own.id.as_str());
    assert_eq!(waiting["next"], Value::Null, "there is none behind it that they see");
    assert_eq!(
        list(&w, &eves, "/api/v1/waiting?limit=1").await,
        json!({ "runs": [], "next": null })
    );
    assert!(w.get("/api/v1/waiting?limit=1").await.expect(200).body["next"].is_string());
    for (browser, count) in [(&ada, 1), (&eve, 0)] {
        let page = browser.get("/").await.expect(200).text;
        let title = if count == 0 { "Stacks".to_owned() } else { format!("({count}) Stacks") };
        assert!(page.contains(&format!("<title>{title} · Gantry</title>")), "{page}");
        assert!(page.contains(&format!("Needs confirmation {count}<")), "{page}");
    }

    let hidden_id = hidden.project().unwrap();
    for (path, field) in [
        (format!("/api/v1/events?project={hidden_id}"), "events"),
        (format!("/api/v1/runs?project={hidden_id}"), "runs"),
        ("/api/v1/stacks?search=vault".to_owned(), "stacks"),
        ("/api/v1/stacks?label=secret-label".to_owned(), "stacks"),
        ("/api/v1/activity?about=vault".to_owned(), "activities"),
    ] {
        let found = list(&w, &adas, &path).await;
        assert_eq!(found[field], json!([]), "{path}: {found}");
        assert_eq!(found["next"], Value::Null, "{path}: {found}");
        assert_ne!(w.get(&path).await.expect(200).body[field], json!([]), "{path}");
    }
    for page in ["/", "/?search=vault", "/runs", "/events", "/activity", "/modules"] {
        let text = ada.get(page).await.expect(200).text.replace("value=\"vault\"", "");
        for word in ["vault", "acme/secret", "secret-label", "of-others"] {
            assert!(!text.contains(word), "{page} has {word}: {text}");
        }
    }
    // Where others work from is for admins.
    w.send("PUT", "/api/v1/stacks/network", json!({ "labels": ["one"] })).await.expect(200);
    let path = "/api/v1/activity?about=network";
    let (hers, all) = (list(&w, &adas, path).await, w.get(path).await.expect(200).body);
    assert_ne!(hers["activities"], json!([]));
    assert!(all.to_string().contains(ADDRESS) && !hers.to_string().contains(ADDRESS), "{hers}");
    for path in ["/activity", "/activity/export"] {
        assert!(!ada.get(path).await.expect(200).text.contains(ADDRESS), "{path}");
    }
    // What is wrong with GitLab names projects.
    w.ask("GET", "/api/v1/integration", Some(&adas), &[], "").await.expect(403);
}

#[tokio::test]
async fn what_older_versions_did_not_write_down_is_looked_up() {
    let (w, seen, hidden) = two_projects().await;
    for stack in [&seen, &hidden] {
        let mut entry = SlugEntry::of(stack);
        entry.found_by.project_id = None;
        w.put(keys::slug(&stack.slug), &entry).await;
    }
    let ada = sign_in(&w, &member(&w, "ada", 20)).await;
    let key = key_of(&ada).await;
    let found = list(&w, &key, "/api/v1/stacks").await;
    let slugs: Vec<_> = found["stacks"].as_array().unwrap().iter().map(|s| &s["slug"]).collect();
    assert_eq!(slugs, ["network"]);
}

/// Asks as somebody, and counts what the table is asked for it.
async fn ask(browser: &Browser<'_>, who: (&str, &str), method: &str, path: &str) -> (Got, u64) {
    let (w, (key, token)) = (browser.w, who);
    let before = w.table.requests();
    let is_for_programs = path.starts_with("/api/") || path.starts_with("/registry/");
    let got = match is_for_programs {
        true => w.ask(method, path, Some(key), &[], "{}").await,
        false if method == "GET" => browser.get(path).await,
        false => browser.send_with(path, &format!("_token={token}"), &[]).await,
    };
    (got, w.table.requests() - before)
}

#[tokio::test]
async fn hidden_and_missing_are_one_answer_after_as_many_reads() {
    let (w, _, hidden) = two_projects().await;
    module(&w, "acme/secret").await;
    let run = w.run(&hidden, "one", RunState::Unconfirmed).await;
    happened(&w, &hidden, "of-others").await;
    let eve = sign_in(&w, &w.gitlab.person("eve")).await;
    let (key, token) = (key_of(&eve).await, eve.token("/events").await);
    let missing = RunId::derive(&hidden.id, "never");
    let mut asked = Vec::new();
    for (method, path) in [
        ("GET", "/stacks/{}"),
        ("GET", "/stacks/{}/history"),
        ("GET", "/stacks/{}/edit"),
        ("POST", "/stacks/{}/edit"),
        ("POST", "/stacks/{}/runs"),
        ("GET", "/runs?stack={}"),
        ("GET", "/api/v1/stacks/{}"),
        ("PUT", "/api/v1/stacks/{}"),
        ("DELETE", "/api/v1/stacks/{}"),
        ("GET", "/api/v1/stacks/{}/runs"),
        ("GET", "/api/v1/runs?stack={}"),
        ("GET", "/api/v1/commands/{}/some-command"),
    ] {
        asked.push((method, path.replace("{}", "vault"), path.replace("{}", "nosuch")));
    }
    for (method, path) in [
        ("GET", "/modules/{}"),
        ("POST", "/modules/{}/yank"),
        ("GET", "/api/v1/modules/{}/versions/1.0.0"),
        ("POST", "/api/v1/modules/{}/versions/1.0.0/yank"),
        ("GET", "/registry/v1/modules/acme/{}/aws/versions"),
        ("GET", "/registry/v1/modules/acme/{}/aws/1.0.0/download"),
    ] {
        asked.push((method, path.replace("{}", "vpc"), path.replace("{}", "nosuch")));
    }
    for (method, path) in [
        ("GET", "/runs/{}"),
        ("GET", "/runs/{}/log"),
        ("GET", "/runs/{}/compare"),
        ("POST", "/runs/{}/confirm"),
        ("GET", "/api/v1/runs/{}"),
        ("GET", "/api/v1/runs/{}/log"),
        ("POST", "/api/v1/runs/{}/confirm"),
    ] {
        let of = |run: &RunId| path.replace("{}", run.as_str());
        asked.push((method, of(&run.id), of(&missing)));
    }
    for path in ["/events/{}", "/api/v1/events/{}"] {
        let of = |event: &str| path.replace("{}", event);
        asked.push(("GET", of("of-others"), of("nosuch")));
    }
    for (method, hidden, missing) in asked {
        let who = (key.as_str(), token.as_str());
        let (of_hidden, reads) = ask(&eve, who, method, &hidden).await;
        let (of_missing, as_many) = ask(&eve, who, method, &missing).await;
        let expected = if hidden.contains("?stack=") { 422 } else { 404 };
        assert_eq!(of_hidden.status, expected, "{method} {hidden}: {}", of_hidden.text);
        assert_eq!(of_missing.status, expected, "{method} {missing}: {}", of_missing.text);
        // What was typed into a form stays there.
        let said = of_missing.text.replace("nosuch", "vault");
        assert_eq!(of_hidden.text, said, "{method} {hidden}");
        assert_eq!(reads, as_many, "{method} {hidden}");
    }
}

#[tokio::test]
async fn the_registry_has_only_the_modules_that_somebody_sees() {
    let (w, _) = offered().await;
    w.stack().await;
    let module = module(&w, "acme/network").await;
    let ada = key_of(&sign_in(&w, &member(&w, "ada", 20)).await).await;
    let eve = key_of(&sign_in(&w, &w.gitlab.person("eve")).await).await;
    let versions = "/registry/v1/modules/acme/vpc/aws/versions";
    let download = "/registry/v1/modules/acme/vpc/aws/1.0.0/download";
    let get = async |key: &str, path: &str| w.ask("GET", path, Some(key), &[], "").await;
    let found = get(&ada, versions).await.expect(200).body;
    assert_eq!(found["modules"][0]["versions"], json!([{ "version": "1.0.0" }]));
    get(&eve, versions).await.expect(404);
    get(&eve, download).await.expect(404);
    w.ask("GET", versions, None, &[], "").await.expect(401);
    get(&w.key("read").await, versions).await.expect(200);

    // What opens one archive is no run's token, which has all of them.
    let answer = get(&ada, download).await.expect(204);
    let to = answer.headers["x-terraform-get"].to_str().unwrap();
    let (_, opens) = to.split_once("?key=").unwrap();
    let (opens, _) = opens.split_once('&').unwrap();
    get(opens, versions).await.expect(401);
    let run = TokenFor {
        kind: TokenKind::Registry,
        run: RunId::derive(&module.id, "a run"),
        phase: Phase::Plan,
        attempt: 1,
        expires: None,
    };
    let run = signer().sign(&run);
    get(run.expose_secret(), versions).await.expect(200);
    get(run.expose_secret(), download).await.expect(204);
}

/// Its old runs are of the project that it was moved from: they show what is in that one.
#[tokio::test]
async fn a_stack_that_was_moved_keeps_what_it_ran_before_from_others() {
    let (w, mut stack, vault) = two_projects().await;
    let run = w.run(&stack, "one", RunState::Finished).await;
    let queued = RunEntry {
        run: run.id.clone(),
        stack: stack.id.clone(),
        run_type: run.run_type,
        created_at: run.created_at,
    };
    w.put(Key::new(keys::stack_partition(&stack.id), "queue#1"), &queued).await;
    let head = StackHead { latest: Some(run.id.clone()), last_number: 1, ..StackHead::default() };
    w.set_head(&stack.id, head).await;
    stack.repository = vault.repository.clone();
    stack.project_path.clone_from(&vault.project_path);
    w.put(keys::stack_config(&stack.id), &stack).await;
    w.put(keys::slug(&stack.slug), &SlugEntry::of(&stack)).await;
    let secret = vault.project().unwrap();
    let secret = gantry_fake_gitlab::ProjectId(secret.0);
    let (old, new, both) = (member(&w, "old", 20), w.gitlab.person("new"), member(&w, "both", 20));
    for person in [&new, &both] {
        w.gitlab.set_member(secret, person.id(), 20);
    }
    let page = format!("/runs/{}", run.id);
    for (person, stack, seen) in [(old, 404, 404), (new, 200, 404), (both, 200, 200)] {
        let browser = sign_in(&w, &person).await;
        browser.get(&page).await.expect(seen);
        browser.get(&format!("{page}/log")).await.expect(seen);
        let key = key_of(&browser).await;
        let api = format!("/api/v1{page}");
        w.ask("GET", &api, Some(&key), &[], "").await.expect(seen);
        let listed = list(&w, &key, "/api/v1/runs").await;
        assert_eq!(listed["runs"] != json!([]), seen == 200, "{listed}");
        let got = browser.get("/stacks/network").await.expect(stack);
        assert_eq!(got.text.contains(run.id.as_str()), seen == 200, "{}", got.text);
        // Nor do counts and the last run of a list tell of it.
        let got = browser.get("/stacks/network/history").await.expect(stack);
        assert_eq!(got.text.contains("1 run ended"), seen == 200, "{}", got.text);
        let got = browser.get("/").await.expect(200);
        assert_eq!(got.text.contains(run.id.as_str()), seen == 200, "{}", got.text);
    }
}

#[tokio::test]
async fn links_to_runs_open_nothing_where_the_installation_says_so() {
    let (w, application) = offered().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "one", RunState::Finished).await;
    let link = read_link(&signer(), "", &run.id);
    let (page, key) = link.split_once('?').unwrap();
    let all = [link.clone(), format!("{page}/log?{key}"), format!("{page}/log.txt?{key}")];
    let open = async |expected: u16| {
        for address in &all {
            w.ask("GET", address, None, &[], "").await.expect(expected);
        }
        w.ask("GET", &link, None, &[], "").await.text
    };
    open(200).await;
    let view = w.get("/api/v1/sign-in").await.expect(200).body;
    assert_eq!(view["run_links"], true);

    let got = offer(&w, &application, json!({ "run_links": "no" })).await.expect(422);
    assert!(got.error("run_links").contains("true or false"), "{}", got.text);
    let off = offer(&w, &application, json!({ "run_links": false })).await.expect(200);
    assert_eq!(off.body["run_links"], false);
    let shown = open(401).await;
    let sign_in_link = format!("sign-in?next=runs%2F{}", run.id);
    assert!(shown.contains(&sign_in_link) && !shown.contains("follow its link"), "{shown}");
    // Who has signed in needs no key, and a key takes nobody further.
    let ada = sign_in(&w, &member(&w, "ada", 20)).await;
    let eve = sign_in(&w, &w.gitlab.person("eve")).await;
    ada.get(&link).await.expect(200);
    eve.get(&link).await.expect(404);
    // It stays so until somebody says otherwise, on the page as well.
    let kept = offer(&w, &application, json!({})).await.expect(200);
    assert_eq!(kept.body["run_links"], false);
    let admin = Browser::sign_in(&w, &w.admin).await;
    let form = admin.get("/gitlab/sign-in").await.expect(200).text;
    assert!(form.contains("name=\"run_links\" aria-describedby"), "{form}");
    let fields = format!(
        "application_id={}&levels.read=reporter&levels.preview=developer\
         &levels.deploy=maintainer&levels.edit=owner",
        application.application_id
    );
    let ticked = format!("{fields}&run_links=on");
    for (fields, expected) in [(&fields, 401), (&ticked, 200)] {
        admin.send("/gitlab/sign-in", fields).await.expect(303);
        open(expected).await;
    }
    let form = admin.get("/gitlab/sign-in").await.expect(200).text;
    assert!(form.contains("name=\"run_links\" checked"), "{form}");

    // Where nobody signs in with GitLab, there is no other way.
    offer(&w, &application, json!({ "run_links": false })).await.expect(200);
    w.send("DELETE", "/api/v1/sign-in", json!({})).await.expect(204);
    open(200).await;
}

#[tokio::test]
async fn an_open_page_does_not_go_on_showing_what_its_person_may_not_see_any_more() {
    let (w, _, hidden) = two_projects().await;
    let run = waits(&w, &hidden, "one").await;
    let ada = sign_in(&w, &member(&w, "ada", 40)).await;
    // As htmx asks for what is new.
    for path in [format!("/runs/{}", run.id), "/stacks/vault".to_owned()] {
        let asked = [("cookie", ada.cookie.as_str()), ("hx-request", "true")];
        let got = w.ask("GET", &path, None, &asked, "").await.expect(404);
        assert_eq!(got.headers["hx-refresh"], "true", "{path}");
        let got = w.ask("GET", &path, None, &asked[..1], "").await.expect(404);
        assert!(!got.headers.contains_key("hx-refresh"), "{path}");
        // And without a session.
        let got = w.ask("GET", &path, None, &asked[1..], "").await.expect(204);
        let to = got.headers["hx-redirect"].to_str().unwrap();
        assert!(to.contains("sign-in?next="), "{path}: {to}");
    }
}

#[tokio::test]
async fn entries_of_an_older_version_are_looked_up_however_many_they_are() {
    let (w, seen, _) = two_projects().await;
    for number in 0..120 {
        let slug = format!("old-{number:03}");
        let id = short_digest(&[&slug]).parse().unwrap();
        let stack = Stack { id, slug: slug.parse().unwrap(), ..seen.clone() };
        let mut entry = SlugEntry::of(&stack);
        entry.found_by.project_id = None;
        w.put(keys::slug(&stack.slug), &entry).await;
        w.put(keys::stack_config(&stack.id), &stack).await;
    }
    let ada = sign_in(&w, &member(&w, "ada", 20)).await;
    let page = ada.get("/?limit=100").await.expect(200).text;
    assert!(page.contains("old-000") && page.contains("network") && !page.contains("vault"));
}
