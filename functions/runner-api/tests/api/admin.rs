//! States by hand.

use crate::support::{PROJECT, World, digest, lock_info, stack_id, state_body};
use axum::http::Method;
use gantry_domain::{
    run::RunType,
    stack::{Blocked, StackHead},
};
use gantry_store::{
    config::{Activity, Pause, Role},
    keys,
};
use serde_json::{Value, json};

const STATE: &str = "/api/v1/stacks/network/state";

async fn activity(world: &World) -> Vec<String> {
    let all = world.store.query_all::<Activity>(keys::ACTIVITY, "").await.unwrap();
    let mut lines: Vec<String> = all
        .into_iter()
        .map(|a| format!("{} {}: {}", a.value.actor, a.value.what, a.value.outcome))
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_state_is_imported_packed() {
    let world = World::new().await;
    let admin = world.admin(Role::Admin).await;
    let packed = async |text: String| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
        let body = packed.finish().unwrap();
        world.send(Method::POST, STATE, &admin, body).await
    };
    packed(state_body(4, "l")).await.expect(200);
    packed("{}".to_owned()).await.expect(422);
    // Small as it comes, and larger than is taken.
    packed(" ".repeat(65 << 10)).await.expect(413);
    let broken = world.send(Method::POST, STATE, &admin, vec![0x1f, 0x8b, 0]).await;
    assert!(broken.expect(422).text().contains("cannot be unpacked"));
    let body = world.get(&format!("{STATE}/current"), &admin).await.expect(200);
    assert_eq!(body.text(), state_body(4, "l"));
}

const LINEAGE: &str = "9d3c2f6a-0c1b-4d5e-8f70-1a2b3c4d5e6f";

#[tokio::test]
async fn states_are_imported_shown_and_restored() {
    let world = World::new().await;
    let admin = world.admin(Role::Admin).await;
    let import = async |query: &str, body: String| {
        world.send(Method::POST, &format!("{STATE}{query}"), &admin, body.into()).await
    };
    import("", "{}".to_owned()).await.expect(422);
    import("", state_body(4, LINEAGE)).await.expect(200);
    let refused: Value =
        import("", state_body(4, LINEAGE).replace("\"a\"", "\"b\"")).await.expect(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("?force=true"));
    import("", state_body(9, "other")).await.expect(409);
    import("?force=true", state_body(1, "other")).await.expect(200);
    let restored: Value = import("", json!({"restore": 1}).to_string()).await.expect(200).json();
    assert_eq!((&restored["version"], &restored["serial"]), (&json!(3), &json!(4)));
    import("", json!({"restore": 77}).to_string()).await.expect(404);

    let shown: Value = world.get(STATE, &admin).await.expect(200).json();
    assert_eq!(shown["current"]["lineage"], LINEAGE);
    // What is no UUID may be anything that a run has put there.
    assert_eq!(shown["versions"][1]["lineage"], "");
    let numbers: Vec<_> =
        shown["versions"].as_array().unwrap().iter().map(|v| v["version"].clone()).collect();
    assert_eq!(numbers, [3, 2, 1]);
    let first: Value = world.get(&format!("{STATE}?limit=2"), &admin).await.expect(200).json();
    let on = format!("{STATE}?after={}", first["next"].as_str().unwrap());
    let older: Value = world.get(&on, &admin).await.expect(200).json();
    assert_eq!(older["versions"].as_array().unwrap().len(), 1);
    assert_eq!(older["next"], Value::Null);
    assert_eq!(
        world.get(&format!("{STATE}/2"), &admin).await.expect(200).text(),
        state_body(1, "other")
    );
    assert_eq!(
        world.get(&format!("{STATE}/current"), &admin).await.expect(200).text(),
        state_body(4, LINEAGE)
    );
    world.get(&format!("{STATE}/9"), &admin).await.expect(404);
    world.get("/api/v1/stacks/nothing/state", &admin).await.expect(404);

    let lines = activity(&world).await;
    assert!(
        lines.contains(
            &"Admin imported a state for network by force: now version 2 (serial 1)".to_owned()
        ),
        "{lines:?}"
    );
    assert!(lines.contains(&"Admin downloaded version 2 of the state of network: done".to_owned()));
    assert!(lines.iter().any(|line| line.contains("refused: the state has a different lineage")));
    assert!(!lines.iter().any(|line| line.contains("other,")), "{lines:?}");
    let all = world.store.query_all::<Activity>(keys::ACTIVITY, "").await.unwrap();
    assert!(all.iter().all(|one| one.value.about().as_deref() == Some("network")), "{all:?}");
    assert!(all.iter().all(|one| one.value.role == Some(Role::Admin)), "{all:?}");
    let refused = all.iter().filter(|one| one.value.refused);
    let mut statuses: Vec<_> = refused.filter_map(|one| one.value.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [404, 409, 409, 422]);
}

#[tokio::test]
async fn keys_do_what_their_role_allows() {
    let world = World::new().await;
    let (read, deploy) = (world.admin(Role::Read).await, world.admin(Role::Deploy).await);
    world.get(STATE, "nobody").await.expect(401);
    world.get(STATE, &read).await.expect(200);
    for key in [&read, &deploy] {
        world.get(&format!("{STATE}/current"), key).await.expect(403);
        world.send(Method::POST, STATE, key, state_body(1, "l").into()).await.expect(403);
        world.send(Method::DELETE, &format!("{STATE}/lock"), key, vec![]).await.expect(403);
    }
    world.get("/api/v1/stacks/glpat-5ecret/state/1", &read).await.expect(403);
    let lines = activity(&world).await;
    let said = "refused: You don't have permission. States contain secrets";
    for what in [
        "Read download the state of network",
        "Read replace the state of network",
        "Deploy unlock the state of network",
        "Read download a state",
    ] {
        let line = format!("{what}: {said}");
        assert!(lines.iter().any(|one| one.starts_with(&line)), "{what}: {lines:?}");
    }
    assert!(lines.len() == 7 && !format!("{lines:?}").contains("glpat"), "{lines:?}");
}

/// What they may is read from GitLab, which nobody does here.
#[tokio::test]
async fn people_are_refused_also_those_who_are_admins() {
    let world = World::new().await;
    let admin = world.admin(Role::Admin).await;
    world.send(Method::POST, STATE, &admin, state_body(1, "l").into()).await.expect(200);
    let (session, key) = world.ada().await;
    for (method, path) in [
        (Method::GET, STATE.to_owned()),
        (Method::GET, format!("{STATE}/current")),
        (Method::GET, "/api/v1/runs/r1/state/current".to_owned()),
        (Method::POST, STATE.to_owned()),
        (Method::DELETE, format!("{STATE}/lock")),
        (Method::POST, "/api/v1/operations/restore-states".to_owned()),
    ] {
        let got = world.send(method, &path, &key, state_body(2, "l").into()).await.expect(403);
        let said = got.json::<Value>()["detail"].as_str().unwrap().to_owned();
        let expected = "This key belongs to a person. Use an access key of an admin";
        assert!(said.starts_with(expected), "{path}: {said}");
    }
    world.get(STATE, &format!("{key}x")).await.expect(401);
    // Nor does a session take anybody further than a key.
    let form = async |path: &str, session: &str| {
        world.form_of(path, session.to_owned(), "sure=yes&version=1").await
    };
    for path in ["/stacks/network/state/restore", "/stacks/network/state/unlock"] {
        let refused = form(path, &session).await.expect(303);
        assert_eq!(refused.headers["location"], "../../network?state=refused#state");
        form(path, "7#gone").await.expect(401);
    }
    world.send(Method::POST, "next", &key, Vec::new()).await.expect(401);

    let shown: Value = world.get(STATE, &admin).await.expect(200).json();
    assert_eq!(shown["current"]["version"], 1);
    let all = world.store.query_all::<Activity>(keys::ACTIVITY, "").await.unwrap();
    let of_ada = all.iter().map(|one| &one.value).filter(|one| one.actor == "Ada Lovelace @ada");
    let of_ada: Vec<_> = of_ada.collect();
    assert!(of_ada.len() == 7, "{of_ada:?}");
    assert!(of_ada.iter().all(|one| one.refused && one.role.is_none()), "{of_ada:?}");
    let by_hand = of_ada.iter().filter(|one| one.outcome.contains("You are signed in with GitLab"));
    assert_eq!(by_hand.count(), 2, "{of_ada:?}");
    assert!(of_ada.iter().any(|one| one.project == Some(PROJECT)), "{of_ada:?}");
}

#[tokio::test]
async fn people_do_not_learn_which_stacks_there_are() {
    let world = World::new().await;
    let (_, key) = world.ada().await;
    let ask = async |method: Method, path: &str| {
        let before = world.table.requests();
        let got = world.send(method, path, &key, state_body(2, "l").into()).await.expect(403);
        (got.text(), world.table.requests() - before)
    };
    for (method, end) in [
        (Method::GET, ""),
        (Method::GET, "/current"),
        (Method::POST, ""),
        (Method::DELETE, "/lock"),
    ] {
        let is_there = ask(method.clone(), &format!("{STATE}{end}")).await;
        let missing = format!("/api/v1/stacks/nothing/state{end}");
        assert_eq!(is_there, ask(method, &missing).await, "{end}");
    }
}

#[tokio::test]
async fn a_stack_in_use_is_left_alone() {
    let world = World::new().await;
    let admin = world.admin(Role::Admin).await;
    let run = world.run("r1", RunType::Tracked).await;
    let token = world.claimed(&run).await;
    world.lock(&token, "a").await.expect(204);
    let head = keys::stack_head(&stack_id());
    let held = StackHead { tracked: Some(run.id.clone()), ..StackHead::default() };
    let blocked = Blocked {
        run: run.id.clone(),
        reason: "result unknown".to_owned(),
        since: world.clock.now(),
    };
    let blocked = StackHead { blocked: Some(blocked), ..StackHead::default() };
    world.put(head.clone(), &held).await;
    world.send(Method::POST, STATE, &admin, state_body(1, "l").into()).await.expect(409);
    world.send(Method::DELETE, &format!("{STATE}/lock"), &admin, vec![]).await.expect(409);
    // Before it is unblocked, and the next run plans against it.
    world.put(head.clone(), &blocked).await;
    world.send(Method::POST, STATE, &admin, state_body(1, "l").into()).await.expect(200);
    world.send(Method::DELETE, &format!("{STATE}/lock"), &admin, vec![]).await.expect(409);
    let shown: Value = world.get(STATE, &admin).await.expect(200).json();
    assert_eq!(shown["lock"]["who"], lock_info("a").who);

    world.put(head, &StackHead::default()).await;
    for _ in 0..2 {
        world.send(Method::DELETE, &format!("{STATE}/lock"), &admin, vec![]).await.expect(204);
    }
    world.send(Method::POST, STATE, &admin, state_body(2, "l").into()).await.expect(200);

    let mut own = crate::support::stack();
    own.settings.manage_state = false;
    world.put(keys::stack_config(&stack_id()), &own).await;
    world.send(Method::POST, STATE, &admin, state_body(3, "l").into()).await.expect(409);
}

#[tokio::test]
async fn states_that_the_records_forgot_are_found_in_storage() {
    let world = World::new().await;
    let admin = world.admin(Role::Admin).await;
    let restore = async || {
        let path = "/api/v1/operations/restore-states";
        world.send(Method::POST, path, &admin, "".into()).await
    };
    restore().await.expect(409);
    let pause = Pause { by: "test".to_owned(), since: world.clock.now() };
    world.put(keys::pause(), &pause).await;
    let nothing: Value = restore().await.expect(200).json();
    assert_eq!(nothing, json!({"stacks": [], "next": null}));

    world.send(Method::POST, STATE, &admin, state_body(4, "l").into()).await.expect(200);
    let keep = async |serial: u64, text: &str, unique: &str| {
        let body = state_body(serial, "l").replace("\"a\"", &format!("\"{text}\""));
        let key = gantry_objects::keys::state(stack_id(), digest(&body), unique);
        world.objects.put(&key, body.into()).await.unwrap();
    };
    // The same body once more is nothing new.
    keep(4, "a", "twin").await;
    let nothing: Value = restore().await.expect(200).json();
    assert_eq!(nothing["stacks"], json!([]));

    keep(5, "b", "u").await;
    world.objects.put("state/s1/broken.tfstate", "no state".into()).await.unwrap();
    let found: Value = restore().await.expect(200).json();
    let said = &found["stacks"][0];
    assert_eq!(
        (&said["before"], &said["current"], &said["found"]),
        (&json!(4), &json!(5), &json!(1))
    );
    assert_eq!(said["conflict"], "state/s1/broken.tfstate is not a state, or incomplete");

    // Two of the same serial: a person decides, and is asked until it is done.
    keep(7, "c", "u").await;
    keep(7, "d", "u").await;
    for found in [2, 0] {
        let told: Value = restore().await.expect(200).json();
        let said = &told["stacks"][0];
        assert_eq!((&said["current"], &said["found"]), (&json!(5), &json!(found)));
        let conflict = said["conflict"].as_str().unwrap();
        assert!(conflict.contains("2 different states have the serial 7"), "{conflict}");
    }
    let shown: Value = world.get(STATE, &admin).await.expect(200).json();
    let newest = shown["versions"][0]["version"].clone();
    assert_eq!(shown["versions"][0]["rescued"], true);
    let choose = json!({"restore": newest}).to_string();
    world.send(Method::POST, STATE, &admin, choose.into()).await.expect(200);
    let told: Value = restore().await.expect(200).json();
    assert!(!told.to_string().contains("different states"), "{told}");
}

#[tokio::test]
async fn parameters_that_an_address_does_not_take_are_refused() {
    let world = World::new().await;
    let admin = world.admin(Role::Admin).await;
    for (method, path, takes) in [
        (Method::GET, STATE, "allowed: after, limit"),
        (Method::POST, STATE, "allowed: force"),
        (Method::GET, "/api/v1/stacks/network/state/current", "none are allowed here"),
        (Method::GET, "/api/v1/runs/r1/state/current", "none are allowed here"),
        (Method::DELETE, "/api/v1/stacks/network/state/lock", "none are allowed here"),
        (Method::POST, "/api/v1/operations/restore-states", "allowed: after"),
    ] {
        let wrong = format!("{path}?before=2");
        let got: Value = world.send(method, &wrong, &admin, Vec::new()).await.expect(422).json();
        let said = got["errors"]["before"].as_str().unwrap();
        assert!(said.ends_with(takes), "{path}: {said}");
    }
    for (query, said) in [
        ("limit=0", "must be from 1 to 100"),
        ("limit=x", "must be a positive integer"),
        ("after=x", "must be a positive integer"),
    ] {
        let got: Value = world.get(&format!("{STATE}?{query}"), &admin).await.expect(422).json();
        let name = query.split('=').next().unwrap();
        assert_eq!(got["errors"][name], said);
    }
    let forced = world.send(Method::POST, &format!("{STATE}?force=yes"), &admin, Vec::new()).await;
    let forced: Value = forced.expect(422).json();
    assert_eq!(forced["errors"]["force"], "must be true or false");
}
