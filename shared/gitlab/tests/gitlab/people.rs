//! What GitLab says of people: in which projects they have which role, whom a rule means, who may see
//! the rules, and who merged what.

use crate::server::{Answer, Seen, Server, sha};
use gantry_domain::{AccessLevel, GroupId, ProjectId, UserId, approval::GroupReach};
use gantry_gitlab::{Client, Error, InvalidClient};
use serde_json::{Value, json};

const PROJECT: ProjectId = ProjectId(7);
const GROUP: GroupId = GroupId(3);
const ADA: UserId = UserId(9);

/// A client for the token of a person.
fn of_person(server: &Server) -> Client {
    server.client("").for_person(&"oauth-secret".into()).expect("the token can be sent")
}

fn ok(answer: &Value) -> Answer {
    Answer::json(200, &answer.to_string())
}

fn message(status: u16, words: &str) -> Answer {
    Answer::json(status, &json!({ "message": words }).to_string())
}

#[tokio::test]
async fn a_persons_token_is_a_bearer_and_the_bots_is_not_sent() {
    let server = Server::start(|_| ok(&json!({"id": 9, "username": "ada"}))).await;
    let bot = server.client("");
    let person = bot.for_person(&" oauth-secret\n".into()).unwrap();
    person.current_user().await.unwrap();
    bot.current_user().await.unwrap();
    let seen = server.seen();
    let headers = |seen: &Seen| {
        (seen.header("authorization").to_owned(), seen.header("private-token").to_owned())
    };
    assert_eq!(headers(&seen[0]), ("Bearer oauth-secret".to_owned(), String::new()));
    assert_eq!(headers(&seen[1]), (String::new(), "glpat-secret".to_owned()));
    assert_eq!((person.calls(), bot.calls()), (1, 1));
    for wrong in ["", " ", "a\nb"] {
        let refused = bot.for_person(&wrong.into()).map(drop);
        assert_eq!(refused, Err(InvalidClient::Token), "{wrong:?}");
    }
}

/// A page of the list of projects as GitLab gives it: the next one is named after each page that
/// has something, at an address that may be another than the one that was asked.
fn listed(seen: &Seen, ids: &[u64]) -> Answer {
    let after: u64 = seen.query("id_after").parse().unwrap_or(0);
    let page: Vec<u64> = ids.iter().copied().filter(|id| *id > after).take(2).collect();
    let projects: Vec<Value> = page
        .iter()
        .map(|id| json!({"id": id, "name": "net", "path_with_namespace": format!("acme/p{id}")}))
        .collect();
    let answer = ok(&json!(projects));
    let Some(last) = page.last() else { return answer };
    let level = seen.query("min_access_level");
    let next = format!(
        "<http://gitlab.internal/api/v4/projects?id_after={last}&membership=true\
         &min_access_level={level}>; rel=\"next\""
    );
    answer.header("link", &next)
}

#[tokio::test]
async fn a_list_for_each_role_tells_the_highest() {
    let server = Server::start(|seen| match seen.query("min_access_level").as_str() {
        "20" => listed(seen, &[1, 2, 3, 4]),
        "30" => listed(seen, &[2, 3, 4]),
        // The fifth came meanwhile, and the third went: it stays what it was.
        "40" => listed(seen, &[4, 5]),
        "50" => listed(seen, &[3, 5]),
        other => panic!("{other}"),
    })
    .await;
    let told: Vec<(u64, String, u32)> = of_person(&server)
        .project_levels()
        .await
        .unwrap()
        .into_iter()
        .map(|project| (project.id.0, project.path, project.level.0))
        .collect();
    let project = |id: u64, level: u32| (id, format!("acme/p{id}"), level);
    assert_eq!(told, [project(1, 20), project(2, 30), project(3, 30), project(4, 40)]);
    let seen = server.seen();
    assert_eq!(seen.len(), 3 + 3 + 2 + 2);
    for seen in &seen {
        assert_eq!(seen.line, "GET /api/v4/projects");
        let asked = ["membership", "simple", "pagination", "order_by", "sort", "per_page"];
        let asked = asked.map(|name| seen.query(name));
        assert_eq!(asked, ["true", "true", "keyset", "id", "asc", "100"]);
    }
    assert_eq!(seen[1].query("id_after"), "2");
}

#[tokio::test]
async fn who_has_no_project_is_asked_about_once() {
    let server = Server::start(|_| ok(&json!([]))).await;
    assert_eq!(of_person(&server).project_levels().await, Ok(vec![]));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn half_a_list_is_none() {
    let project = json!([{"id": 1, "path_with_namespace": "acme/p1"}]);
    for link in [
        "<http://x/api/v4/projects?page=2>; rel=\"next\", <http://x/>; rel=\"first\"",
        "<http://x/api/v4/projects?id_after=1>; rel=\"next\"",
    ] {
        let project = project.clone();
        let server = Server::start(move |_| ok(&project).header("link", link)).await;
        let error = of_person(&server).project_levels().await.unwrap_err();
        assert!(error.is_trouble(), "{link}: {error:?}");
    }
    let server = Server::start(|_| message(401, "401 Unauthorized")).await;
    let error = of_person(&server).project_levels().await.unwrap_err();
    assert!(matches!(error, Error::TokenRejected { .. }), "{error:?}");
}

#[tokio::test]
async fn groups_and_users_are_found_by_name() {
    let server = Server::start(|seen| match seen.path() {
        "/api/v4/groups/acme%2Fops" => ok(&json!({"id": 3, "full_path": "Acme/ops"})),
        "/api/v4/groups/3" => ok(&json!({"id": 3, "full_path": "acme/ops"})),
        path if path.starts_with("/api/v4/groups/") => message(404, "404 Group Not Found"),
        "/api/v4/users" if seen.query("username") == "Ada" => {
            ok(&json!([{"id": 9, "username": "ada", "name": "Ada Lovelace"}]))
        }
        "/api/v4/users" => ok(&json!([])),
        "/api/v4/users/9" => ok(&json!({"id": 9, "username": "ada"})),
        _ => message(404, "404 User Not Found"),
    })
    .await;
    let client = server.client("");
    assert_eq!(client.group_by_path("acme/ops").await.unwrap().unwrap().id, GROUP);
    assert_eq!(server.seen()[0].query("with_projects"), "false");
    assert_eq!(client.group_by_path("acme/dev").await, Ok(None));
    assert_eq!(client.group_by_path("3").await, Ok(None), "an id is not a path");
    // Who got the path of a group whose id is known is not meant.
    let moved = client.group_meant("acme/dev", Some(GROUP)).await.unwrap().unwrap();
    assert_eq!((moved.id, moved.full_path.as_str()), (GROUP, "acme/ops"));
    assert_eq!(client.group_meant("acme/ops", Some(GroupId(4))).await, Ok(None));
    assert_eq!(client.group_meant("acme/ops", None).await.unwrap().unwrap().id, GROUP);
    assert_eq!(client.user_by_name("Ada").await.unwrap().unwrap().id, ADA);
    assert_eq!(client.user_by_name("bob").await, Ok(None));
    assert_eq!(client.user(ADA).await.unwrap().unwrap().username, "ada");
    assert_eq!(client.user(UserId(8)).await, Ok(None));
}

#[tokio::test]
async fn direct_members_of_a_group_are_told_from_inherited_ones() {
    let server = Server::start(|seen| match seen.path() {
        "/api/v4/groups/3/members/all/9" => ok(&json!({"id": 9, "access_level": 40})),
        "/api/v4/groups/3" => ok(&json!({"id": 3, "full_path": "acme/ops"})),
        path if path.starts_with("/api/v4/groups/4") => message(404, "404 Group Not Found"),
        _ => message(404, "404 Not found"),
    })
    .await;
    let client = server.client("");
    let inherited = client.group_member_level(GROUP, ADA, GroupReach::Inherited).await;
    assert_eq!(inherited, Ok(Some(AccessLevel::MAINTAINER)));
    let direct = client.group_member_level(GROUP, ADA, GroupReach::Direct).await;
    assert_eq!(direct, Ok(None));
    let hidden = client.group_member_level(GroupId(4), ADA, GroupReach::Direct).await;
    assert!(matches!(hidden, Err(Error::NotFound { .. })), "no group is not no member: {hidden:?}");
}

/// What is told of the protection of `gantry/network` where the list of protected environments is
/// answered so, and the project and the server say this of themselves.
async fn protection(
    list: fn() -> Answer,
    own_approval: Option<bool>,
    version: &'static str,
) -> Result<Option<String>, Error> {
    let server = Server::start(move |seen| match seen.path() {
        "/api/v4/projects/7" => ok(&json!({
            "id": 7, "path_with_namespace": "acme/network",
            "allow_pipeline_trigger_approve_deployment": own_approval,
        })),
        "/api/v4/metadata" => ok(&json!({ "version": version })),
        _ => list(),
    })
    .await;
    let client = server.client("");
    let project = client.project(PROJECT).await?;
    let found = client.protected_environment(&project, "gantry/network").await?;
    Ok(found.map(|environment| environment.name))
}

#[tokio::test]
async fn not_to_see_the_rules_is_not_to_have_none() {
    let rules = || ok(&json!([{"name": "production"}, {"name": "gantry/network"}]));
    let others = || ok(&json!([{"name": "production"}]));
    let forbidden = || message(403, "403 Forbidden");
    let unknown = || message(404, "404 Not Found");
    let found = Ok(Some("gantry/network".to_owned()));
    assert_eq!(protection(rules, Some(false), "19.1.0-ee").await, found);
    assert_eq!(protection(others, Some(false), "19.1.0-ee").await, Ok(None));
    // Editions without the feature.
    assert_eq!(protection(unknown, None, "19.1.0").await, Ok(None));
    assert_eq!(protection(forbidden, None, "19.1.0-ee").await, Ok(None));
    // Premium, and something before GitLab that does not know the list.
    let kept_back = protection(unknown, Some(false), "19.1.0-ee").await;
    assert!(matches!(kept_back, Err(Error::Unavailable { .. })), "{kept_back:?}");
    // Premium, and a bot that is no Maintainer; before 15.8 nothing tells it from the others.
    for (own_approval, version) in [(Some(false), "19.1.0-ee"), (None, "15.7.9-ee")] {
        let refused = protection(forbidden, own_approval, version).await;
        assert!(matches!(refused, Err(Error::Forbidden { .. })), "{version}: {refused:?}");
    }
}

#[tokio::test]
async fn what_came_since_a_commit_is_told_merge_by_merge() {
    let server = Server::start(|seen| match seen.query("ref_name").as_str() {
        name if name == sha('2').as_str() => ok(&json!([{"id": sha('2')}])),
        _ => ok(&json!([{"id": sha('2')}, {"id": sha('3')}, {"id": sha('4')}])),
    })
    .await;
    let client = server.client("");
    let ids = |commits: Vec<gantry_gitlab::Commit>| {
        commits.into_iter().map(|commit| commit.id).collect::<Vec<_>>()
    };
    let since = client.commits_since(PROJECT, Some(&sha('1')), &sha('2'), true, 2).await.unwrap();
    assert_eq!(ids(since), [sha('2'), sha('3')], "no more than asked for");
    let all = client.commits_since(PROJECT, None, &sha('2'), false, 2).await.unwrap();
    assert_eq!(ids(all), [sha('2')]);
    let seen = server.seen();
    assert_eq!(seen[0].line, "GET /api/v4/projects/7/repository/commits");
    let asked = ["ref_name", "first_parent", "per_page"].map(|name| seen[0].query(name));
    assert_eq!(seen[1].query("first_parent"), "false");
    assert_eq!(asked, [&*format!("{}..{}", sha('1'), sha('2')), "true", "2"]);
}

#[tokio::test]
async fn a_commit_came_with_its_merge_request_without_one_or_is_gone() {
    let server = Server::start(|seen| match seen.path().rsplit('/').nth(1) {
        Some(commit) if commit.starts_with('1') => ok(&json!([
            {"iid": 3, "state": "opened", "target_project_id": 7, "source_branch": "a",
                "target_branch": "main"},
            {"iid": 4, "state": "merged", "target_project_id": 7, "source_branch": "b",
                "target_branch": "main", "merge_user": {"id": 9, "username": "ada"},
                "author": {"id": 8, "username": "bob"}},
        ])),
        Some(commit) if commit.starts_with('2') => ok(&json!([])),
        Some(commit) if commit.starts_with('3') => message(404, "404 Commit Not Found"),
        _ => message(404, "404 Project Not Found"),
    })
    .await;
    let client = server.client("");
    let of = |digit| {
        let (client, commit) = (client.clone(), sha(digit));
        async move { client.merge_request_of_commit(PROJECT, &commit, "main").await }
    };
    let found = of('1').await.unwrap().unwrap();
    assert_eq!((found.iid.0, found.merger().map(|user| user.id)), (4, Some(ADA)));
    let path = format!("/api/v4/projects/7/repository/commits/{}/merge_requests", sha('1'));
    assert_eq!(server.seen()[0].line, format!("GET {path}"));
    assert_eq!(of('2').await.map(|found| found.is_some()), Ok(false));
    assert_eq!(of('3').await.map(|found| found.is_some()), Ok(false));
    let hidden = of('4').await;
    assert!(
        matches!(hidden, Err(Error::NotFound { .. })),
        "no project is not no merge: {hidden:?}"
    );
}
