//! GitLab's answers: as documented, and as thin as old or busy servers give them.

use crate::server::{Answer, Server, sha};
use gantry_domain::{MergeRequestIid, PipelineId, ProjectId, UserId};
use gantry_gitlab::{
    Client, DeploymentState, HookSettings, MergeRequestFilter, NewDeployment, ProjectHook, TagOrder,
};
use serde_json::{Value, json};

const PROJECT: ProjectId = ProjectId(7);
const IID: MergeRequestIid = MergeRequestIid(12);

/// A client of a server that gives this one answer, and the server.
async fn answering(answer: Value) -> (Client, Server) {
    let server = Server::start(move |_| Answer::json(200, &answer.to_string())).await;
    (server.client(""), server)
}

fn body(server: &Server) -> Value {
    serde_json::from_slice(&server.seen()[0].body).expect("JSON")
}

#[tokio::test]
async fn a_merge_request_is_read_whole() {
    let (client, server) = answering(json!({
        "id": 1, "iid": 12, "project_id": 7, "title": "Widen the network", "state": "opened",
        "source_project_id": 7, "target_project_id": 7, "source_branch": "wider",
        "target_branch": "main", "draft": true, "work_in_progress": true, "sha": sha('2'),
        "merge_commit_sha": null, "squash_commit_sha": null, "merge_status": "can_be_merged",
        "detailed_merge_status": "draft_status", "prepared_at": "2026-01-16T05:56:22.123Z",
        "updated_at": "2026-01-16T05:56:22.123Z", "web_url": "https://host/g/p/-/merge_requests/12",
        "diff_refs": {"base_sha": sha('1'), "head_sha": sha('2'), "start_sha": sha('1')},
        "diverged_commits_count": 3, "user_notes_count": 2,
        "head_pipeline": {"id": 5, "iid": 1, "project_id": 7, "sha": sha('3'), "status": "running",
            "ref": "refs/merge-requests/12/merge", "source": "merge_request_event"},
    }))
    .await;
    let mr = client.merge_request(PROJECT, IID).await.unwrap().unwrap();
    assert!(mr.is_open() && mr.is_draft() && mr.is_prepared() && !mr.is_from_fork());
    assert_eq!(mr.sha, Some(sha('2')));
    let pipeline = mr.head_pipeline.unwrap();
    assert_eq!((pipeline.id, &pipeline.sha), (PipelineId(5), &sha('3')));
    assert_eq!(mr.diverged_commits_count, Some(3));
    assert_eq!(mr.user_notes_count, Some(2));
    assert_eq!(server.seen()[0].query("include_diverged_commits_count"), "true");
}

#[tokio::test]
async fn a_merge_request_just_made_or_of_an_old_server_is_read_too() {
    let thin = json!({
        "iid": 12, "state": "opened", "source_project_id": null, "target_project_id": 7,
        "source_branch": "a", "target_branch": "main", "work_in_progress": true, "sha": null,
        "title": null, "merge_status": "preparing", "diff_refs": null, "head_pipeline": null,
        "updated_at": "2018-05-15 07:45:37 -0700",
    });
    let (client, _server) = answering(thin.clone()).await;
    let mr = client.merge_request(PROJECT, IID).await.unwrap().unwrap();
    assert!(mr.is_draft() && mr.is_from_fork() && !mr.is_prepared());
    let (client, _server) = answering(json!([thin])).await;
    let filter = MergeRequestFilter { with_closed: true, ..Default::default() };
    assert_eq!(client.merge_requests(PROJECT, &filter).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_project_tells_roles_and_ci() {
    let (client, server) = answering(json!({
        "id": 7, "name": "net", "path_with_namespace": "ops/infra/net", "visibility": "private",
        "default_branch": "main", "web_url": "https://host/ops/infra/net", "archived": null,
        "namespace": {"id": 3, "full_path": "ops/infra", "kind": "group"},
        "permissions": {"project_access": {"access_level": 30}, "group_access": {"access_level": 40}},
        "builds_access_level": "disabled", "jobs_enabled": true, "merge_trains_enabled": null,
        "only_allow_merge_if_pipeline_succeeds": true, "merge_pipelines_enabled": true,
        "forked_from_project": {"id": 6, "path_with_namespace": "up/net"},
    }))
    .await;
    let project = client.project_by_path("ops/infra/net").await.unwrap();
    assert_eq!(server.seen()[0].line, "GET /api/v4/projects/ops%2Finfra%2Fnet");
    assert_eq!(project.own_access_level(), Some(40));
    assert!(!project.has_ci() && !project.is_public() && project.merge_pipelines_enabled);
    assert_eq!(project.forked_from.unwrap().id, ProjectId(6));

    let (client, _server) = answering(json!({
        "id": 7, "path_with_namespace": "g/p", "default_branch": null,
        "permissions": {"project_access": null, "group_access": null},
    }))
    .await;
    let empty = client.project(PROJECT).await.unwrap();
    assert_eq!((empty.own_access_level(), empty.has_ci()), (None, true));
}

#[tokio::test]
async fn user_token_and_role_are_read() {
    let (client, _server) = answering(json!({
        "id": 9, "username": "project_7_bot_ab", "name": "gantry", "state": "active", "bot": true,
        "scopes": ["api"], "expires_at": "2027-01-31", "active": true, "revoked": false,
        "user_id": 9, "access_level": 30, "version": "19.1.0-ee", "enterprise": true,
    }))
    .await;
    assert_eq!(client.current_user().await.unwrap().id, UserId(9));
    let token = client.token_self().await.unwrap().unwrap();
    assert_eq!(
        (token.scopes, token.expires_at.as_deref()),
        (vec!["api".into()], Some("2027-01-31"))
    );
    assert_eq!(client.member_access_level(PROJECT, UserId(9)).await, Ok(Some(30)));
    assert!(client.version().await.unwrap().is_at_least(19, 1));
}

#[tokio::test]
async fn a_commit_is_in_a_branch_or_follows_another() {
    let (client, _server) = answering(json!([
        {"type": "branch", "name": "main2"}, {"type": "branch", "name": "main"},
        {"type": "branch", "name": "z"},
    ]))
    .await;
    assert_eq!(client.is_commit_in_branch(PROJECT, &sha('1'), "main").await, Ok(true));
    assert_eq!(client.is_commit_in_branch(PROJECT, &sha('1'), "mai").await, Ok(false));
    let (client, _server) =
        answering(json!({"id": sha('3'), "parent_ids": [sha('1'), sha('2')], "title": null})).await;
    assert_eq!(client.is_parent(PROJECT, &sha('2'), &sha('3')).await, Ok(true));
    assert_eq!(client.is_parent(PROJECT, &sha('4'), &sha('3')).await, Ok(false));
}

#[tokio::test]
async fn tags_of_other_things_than_commits_are_left_out() {
    let tag = |name: &str, commit: Value| json!({"name": name, "commit": commit, "target": "x"});
    let (client, _server) =
        answering(json!([tag("blob", Value::Null), tag("v1", json!({"id": sha('1')}))])).await;
    let (tags, more) = client.tags(PROJECT, TagOrder::Newest, 1).await.unwrap();
    assert_eq!((tags.len(), &tags[0].sha, more), (1, &sha('1'), false));
    let (client, _server) = answering(tag("blob", Value::Null)).await;
    assert_eq!(client.tag(PROJECT, "blob").await, Ok(None));
}

#[tokio::test]
async fn pipelines_and_statuses_come_newest_first() {
    let (client, _server) = answering(json!([
        {"id": 3, "sha": sha('1'), "ref": "main", "status": "success", "source": "push"},
        {"id": 8, "sha": sha('1'), "ref": "refs/merge-requests/12/head", "status": "running"},
    ]))
    .await;
    let statuses = client.statuses(PROJECT, &sha('1')).await.unwrap();
    assert_eq!((statuses[0].id, statuses[0].status.as_str()), (8, "running"));
    let pipelines = client.pipelines(PROJECT, &sha('1'), Some("main")).await.unwrap();
    assert_eq!((pipelines.len(), pipelines[1].id), (2, PipelineId(8)));
}

#[tokio::test]
async fn environments_are_found_by_their_whole_name() {
    let (client, server) = answering(json!([
        {"id": 1, "name": "gantry/network", "external_url": null, "state": "available"},
        {"id": 2, "name": "gantry/net", "external_url": "https://x", "state": "stopped"},
    ]))
    .await;
    let found = client.environment_by_name(PROJECT, "gantry/net").await.unwrap().unwrap();
    assert_eq!((found.id, found.state.as_deref()), (2, Some("stopped")));
    assert_eq!(server.seen()[0].query("name"), "gantry/net");
    assert_eq!(client.environment_by_name(PROJECT, "gantry").await, Ok(None));
}

#[tokio::test]
async fn a_deployment_names_all_that_gitlab_asks_for() {
    let (client, server) = answering(json!({
        "id": 4, "iid": 2, "status": "running", "sha": sha('1'), "ref": "main",
    }))
    .await;
    let deployment = NewDeployment {
        environment: "gantry/net".to_owned(),
        sha: sha('1'),
        git_ref: "main".to_owned(),
        is_tag: false,
        state: DeploymentState::Running,
    };
    assert_eq!(client.create_deployment(PROJECT, &deployment).await.unwrap().id, 4);
    assert_eq!(
        body(&server),
        json!({"environment": "gantry/net", "sha": sha('1'), "ref": "main", "tag": false,
            "status": "running"})
    );
    client.update_deployment(PROJECT, 4, DeploymentState::Success).await.unwrap();
    assert_eq!(server.seen()[1].line, "PUT /api/v4/projects/7/deployments/4");
}

#[tokio::test]
async fn a_hook_tells_its_health_but_not_its_secrets() {
    let hook = json!({
        "id": 1, "url": "https://gantry/hook", "push_events": true, "tag_push_events": true,
        "merge_requests_events": true, "push_events_branch_filter": "", "alert_status": "executable",
        "disabled_until": null, "enable_ssl_verification": true, "signing_token_present": true,
    });
    let settings = HookSettings {
        url: "https://gantry/hook".to_owned(),
        token: "t".into(),
        signing_token: None,
        verify_tls: true,
        note_events: false,
    };
    let (client, server) = answering(hook.clone()).await;
    let made = client.create_hook(PROJECT, &settings).await.unwrap();
    assert!(made.has_all_events() && !made.is_disabled() && !made.note_events);
    assert_eq!(made.signing_token_present, Some(true));
    assert_eq!(body(&server).get("signing_token"), None);
    assert_eq!(body(&server).get("note_events"), None, "what is not asked for stays as it is");
    let with_comments = HookSettings { note_events: true, ..settings };
    let (client, server) = answering(hook.clone()).await;
    client.create_hook(PROJECT, &with_comments).await.unwrap();
    assert_eq!(body(&server)["note_events"], true);
    let mut changed = hook.clone();
    changed["push_events_branch_filter"] = json!("release/*");
    changed["alert_status"] = json!("temporarily_disabled");
    let changed: ProjectHook = serde_json::from_value(changed).unwrap();
    assert!(!changed.has_all_events() && changed.is_disabled());
    let old = json!({"id": 1, "url": "u", "push_events": true, "tag_push_events": null});
    let old: ProjectHook = serde_json::from_value(old).unwrap();
    assert_eq!((old.has_all_events(), old.signing_token_present), (false, None));
}
