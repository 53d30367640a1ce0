//! Who may do what: groups, lists of one's own, protected environments, approvals.

use gantry_fake_gitlab::{Allowed, MergeRequestSpec, ProjectOptions, ProtectedEnvironment};
use serde_json::json;

use crate::support::{Got, World, world, world_with};

/// The numbers of a list.
fn ids(got: &Got) -> Vec<u64> {
    got.body.as_array().unwrap().iter().map(|item| item["id"].as_u64().unwrap()).collect()
}

/// What follows the address of the API in the link to the next page.
fn next(w: &World, got: &Got) -> Option<String> {
    let link = got.header("link");
    let url = link.strip_prefix('<')?.split_once('>')?.0;
    Some(url.strip_prefix(&format!("{}/api/v4", w.gitlab.base_url()))?.to_owned())
}

#[tokio::test]
async fn groups_give_their_members_a_role_below_them() {
    let w = world().await;
    let ada = w.gitlab.create_user("ada");
    let token = w.gitlab.create_token(ada, &["api"], None);
    let get = |path: String| {
        let token = token.clone();
        let w = &w;
        async move { w.send("GET", &path, Some(&token), None).await }
    };
    let project = w.path("");
    get(project.clone()).await.expect(404);
    let acme = w.gitlab.create_group("acme");
    let inner = w.gitlab.create_group("acme/inner");
    let deep = w.gitlab.create_project("acme/inner/deep", ProjectOptions::default()).unwrap();
    w.gitlab.set_group_member(acme, ada, 30);
    let found = get(project.clone()).await.expect(200).body;
    let access = json!({ "project_access": null, "group_access": { "access_level": 30 } });
    assert_eq!(found["permissions"], access);
    let member = |id: u64, rest: &str| get(format!("/projects/{id}/members{rest}/{ada}"));
    assert_eq!(member(w.project.0, "/all").await.expect(200).body["access_level"], 30);
    member(w.project.0, "").await.expect(404);
    w.gitlab.set_member(deep, ada, 20);
    assert_eq!(member(deep.0, "/all").await.expect(200).body["access_level"], 30);
    assert_eq!(member(deep.0, "").await.expect(200).body["access_level"], 20);
    w.gitlab.set_group_member(inner, ada, 40);
    assert_eq!(member(deep.0, "/all").await.expect(200).body["access_level"], 40);
    let deep_path = format!("/projects/{deep}");
    let found = get(deep_path.clone()).await.expect(200).body;
    assert_eq!(found["permissions"]["group_access"]["access_level"], 40);

    let group = |id: &str, rest: &str| get(format!("/groups/{id}/members{rest}/{ada}"));
    assert_eq!(group("acme%2Finner", "/all").await.expect(200).body["access_level"], 40);
    let owned = get("/groups?min_access_level=40".to_owned()).await.expect(200);
    assert_eq!(ids(&owned), [inner.0]);
    assert_eq!(owned.body[0]["full_path"], "acme/inner");
    assert_eq!(owned.body[0]["parent_id"], acme.0);
    assert_eq!(ids(&get("/groups".to_owned()).await.expect(200)), [acme.0, inner.0]);
    get("/groups?min_access_level=41".to_owned()).await.expect(400);

    w.gitlab.set_group_member(inner, ada, 0);
    assert_eq!(group(&inner.to_string(), "/all").await.expect(200).body["access_level"], 30);
    group(&inner.to_string(), "").await.expect(404);
    // A list knows nothing of the groups above.
    let list = get(format!("/projects?order_by=id&id_after={}", deep.0 - 1)).await.expect(200);
    assert_eq!(list.body[0]["permissions"]["group_access"], json!(null));
    w.gitlab.set_group_member(acme, ada, 0);
    get(project).await.expect(404);
    w.gitlab.move_project(deep, "elsewhere/deep").unwrap();
    assert_eq!(get(deep_path).await.expect(200).body["path_with_namespace"], "elsewhere/deep");
    get("/groups/acme/members/all/1".to_owned()).await.expect(404);
}

#[tokio::test]
async fn ones_own_projects_are_listed_in_pages_until_one_is_empty() {
    let w = world().await;
    let group = w.gitlab.create_group("team");
    w.gitlab.set_group_member(group, w.bot, 30);
    let mut all = vec![w.project.0];
    for name in ["a", "b", "c"] {
        let path = format!("team/{name}");
        all.push(w.gitlab.create_project(&path, ProjectOptions::default()).unwrap().0);
    }
    w.gitlab.create_project("other/hidden", ProjectOptions::default()).unwrap();
    let start = "/projects?membership=true&simple=true&pagination=keyset&order_by=id&per_page=2";
    for (sort, backwards) in [("asc", false), ("desc", true)] {
        let (mut found, mut pages) = (Vec::new(), 0);
        let mut path = Some(format!("{start}&sort={sort}"));
        while let Some(page) = path {
            let got = w.get(&page).await.expect(200);
            assert_eq!(got.header("x-total"), "");
            found.extend(ids(&got));
            path = next(&w, &got);
            assert_eq!(path.is_none(), ids(&got).is_empty(), "{page}");
            pages += 1;
        }
        if backwards {
            found.reverse();
        }
        assert_eq!((&found, pages), (&all, 3));
    }
    let simple = w.get(start).await.expect(200).body;
    assert!(simple[0].get("permissions").is_none(), "{simple}");
    w.get("/projects?pagination=keyset&order_by=name").await.expect(405);
    w.get("/projects?pagination=keyset").await.expect(405);
    let owned = w.get("/projects?membership=true&min_access_level=40").await.expect(200);
    assert_eq!(ids(&owned), [w.project.0]);
    w.get("/projects?min_access_level=7").await.expect(400);
    w.gitlab.configure(w.project, |options| options.archived = true);
    let archived = w.get("/projects?archived=true").await.expect(200);
    assert_eq!((ids(&archived), &archived.body[0]["archived"]), (vec![w.project.0], &json!(true)));
    assert_eq!(ids(&w.get("/projects?archived=false&sort=asc").await.expect(200)), all[1..]);
}

#[tokio::test]
async fn environments_are_protected_and_freed() {
    let w = world().await;
    let (path, ada) = (w.path("/protected_environments"), w.gitlab.create_user("ada"));
    w.gitlab.set_member(w.project, ada, 30);
    let group = w.gitlab.create_group("acme/ops");
    let one = format!("{path}/gantry%2Fnetwork");
    assert_eq!(w.get(&one).await.expect(404).message(), "404 Not found");
    let body = json!({
        "name": "gantry/network",
        "deploy_access_levels": [
            { "access_level": 40 }, { "user_id": ada.0 }, { "user_id": 9999 },
            { "group_id": group.0, "group_inheritance_type": 1 },
        ],
        "required_approval_count": 1,
        "approval_rules": [{ "user_id": ada.0, "required_approvals": 2 }],
    });
    let made = w.post(&path, body.clone()).await.expect(201).body;
    let level = |id: u64, text: &str, user: Option<u64>, group: Option<u64>, inheritance: u8| {
        json!({
            "id": id, "access_level": 40, "access_level_description": text, "user_id": user,
            "group_id": group, "group_inheritance_type": inheritance,
        })
    };
    let expected = json!({
        "name": "gantry/network",
        "deploy_access_levels": [
            level(1, "Maintainers", None, None, 0),
            level(2, "Ada", Some(ada.0), None, 0),
            level(3, "acme/ops", None, Some(group.0), 1),
        ],
        "required_approval_count": 1,
        "approval_rules": [{
            "id": 1, "access_level": null, "access_level_description": "Ada", "user_id": ada.0,
            "group_id": null, "group_inheritance_type": 0, "required_approvals": 2,
        }],
    });
    assert_eq!(made, expected);
    assert_eq!(w.get(&one).await.expect(200).body, expected);
    assert_eq!(w.get(&path).await.expect(200).body, json!([expected]));
    let twice = w.post(&path, body.clone()).await.expect(409);
    assert_eq!(twice.message(), "Protected environment 'gantry/network' already exists");
    for (levels, status) in [
        (json!(null), 400),
        (json!([{ "access_level": 20 }]), 400),
        (json!([]), 422),
        (json!([{ "user_id": 9999 }]), 422),
    ] {
        let body = json!({ "name": "other", "deploy_access_levels": levels });
        w.post(&path, body).await.expect(status);
    }
    let token = w.gitlab.create_token(ada, &["api"], None);
    w.send("GET", &one, Some(&token), None).await.expect(403);
    w.delete(&one).await.expect(204);
    w.delete(&one).await.expect(404);
    let own_approval = async |w: &World| {
        let project = w.get(&w.path("")).await.expect(200).body;
        project["allow_pipeline_trigger_approve_deployment"].clone()
    };
    assert_eq!(own_approval(&w).await, false);
    w.gitlab.configure(w.project, |options| options.allows_own_approval = true);
    assert_eq!(own_approval(&w).await, true);
    let free = world_with(|config| config.version = "18.0.0".parse().unwrap(), Default::default());
    let free = free.await;
    free.get(&free.path("/protected_environments/x")).await.expect(404);
    assert!(own_approval(&free).await.is_null(), "only the edition that has them says it");
}

#[tokio::test]
async fn groups_and_users_deploy_where_roles_do_not() {
    let w = world().await;
    let sha = w.gitlab.head(w.project, "main").unwrap();
    let inner = w.gitlab.create_group("acme/ops/inner");
    let ops = w.gitlab.create_group("acme/ops");
    let body = json!({
        "environment": "prod", "sha": sha, "ref": "main", "tag": false, "status": "success",
    });
    let protect = |allowed: Allowed| {
        w.gitlab.configure(w.project, |options| {
            options.protected_environments = vec![ProtectedEnvironment::new("prod", vec![allowed])];
        });
    };
    w.gitlab.set_group_member(ops, w.bot, 30);
    for (allowed, status) in [
        (Allowed::Role(0), 403),
        (Allowed::Role(40), 201),
        (Allowed::Role(60), 403),
        (Allowed::User(w.bot), 201),
        (Allowed::Group { id: ops, inherited: false }, 201),
        (Allowed::Group { id: inner, inherited: false }, 403),
        (Allowed::Group { id: inner, inherited: true }, 201),
    ] {
        protect(allowed);
        let got = w.post(&w.path("/deployments"), body.clone()).await;
        assert_eq!(got.status, status, "{allowed:?}: {}", got.text);
    }
}

#[tokio::test]
async fn merge_requests_are_approved() {
    let w = world().await;
    w.gitlab.configure(w.project, |options| options.approvals_required = 1);
    let (ada, bob) = (w.gitlab.person("ada"), w.gitlab.person("bob"));
    let head = ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let path = w.path(&format!("/merge_requests/{iid}"));
    let approvals = async || w.get(&format!("{path}/approvals")).await.expect(200).body;
    assert_eq!(approvals().await["approved"], false);
    assert_eq!(approvals().await["approvals_left"], 1);
    ada.merge(w.project, iid).unwrap_err();
    w.gitlab.set_member(w.project, ada.id(), 40);
    assert_eq!(ada.approve(w.project, iid).unwrap_err().status, 401, "its author");
    assert_eq!(bob.approve(w.project, iid).unwrap_err().status, 401, "no member");
    let token = w.gitlab.create_token(bob.id(), &["api"], None);
    w.gitlab.set_member(w.project, bob.id(), 30);
    let approve =
        async |body| w.send("POST", &format!("{path}/approve"), Some(&token), Some(body)).await;
    let wrong = approve(json!({ "sha": "0".repeat(40) })).await.expect(409);
    assert!(wrong.message().contains(&head), "{}", wrong.text);
    let done = approve(json!({ "sha": head })).await.expect(201).body;
    assert_eq!((&done["approved"], &done["user_has_approved"]), (&json!(true), &json!(true)));
    approve(json!({})).await.expect(401);
    assert_eq!(approvals().await["approved_by"][0]["user"]["username"], "bob");
    ada.push(w.project, "topic", "a.tf", "2").unwrap();
    assert_eq!(approvals().await["approved_by"], json!([]), "new commits take it back");
    bob.approve(w.project, iid).unwrap();
    ada.merge(w.project, iid).unwrap();
}
