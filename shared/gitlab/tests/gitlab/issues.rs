//! Issues, and whether a merge request could be merged.

use crate::server::{Answer, Server, sha};
use gantry_domain::{MergeRequestIid, ProjectId, UserId};
use gantry_gitlab::{Error, Issue, IssueEdit, NewIssue};
use serde_json::{Value, json};

const PROJECT: ProjectId = ProjectId(7);
const BOT: UserId = UserId(9);

fn issue(iid: u64, state: &str, description: &str) -> Value {
    json!({
        "id": 1_000 + iid, "iid": iid, "project_id": 7, "state": state, "title": "Drift in network",
        "description": description, "labels": ["drift"], "confidential": true,
        "author": {"id": 9, "username": "gantry"}, "moved_to_id": null,
        "web_url": format!("https://host/g/p/-/issues/{iid}"),
    })
}

#[tokio::test]
async fn an_issue_is_opened_and_edited() {
    let answer = issue(3, "opened", "text");
    let server = Server::start(move |_| Answer::json(200, &answer.to_string())).await;
    let client = server.client("");
    let new = NewIssue {
        title: "Drift in network".to_owned(),
        description: "text".to_owned(),
        labels: vec!["drift".to_owned(), "eu".to_owned()],
        assignees: vec![UserId(4)],
        confidential: true,
    };
    let made = client.create_issue(PROJECT, &new).await.unwrap();
    assert_eq!((made.iid, made.is_open(), made.is_moved()), (3, true, false));
    assert!(made.confidential && made.author.is_some_and(|author| author.id == BOT));
    let bare = NewIssue { labels: Vec::new(), assignees: Vec::new(), confidential: false, ..new };
    client.create_issue(PROJECT, &bare).await.unwrap();
    let close = IssueEdit { is_open: Some(false), ..IssueEdit::default() };
    client.edit_issue(PROJECT, 3, &close).await.unwrap();
    let seen = server.seen();
    let lines: Vec<&str> = seen.iter().map(|seen| seen.line.as_str()).collect();
    let (post, put) = ("POST /api/v4/projects/7/issues", "PUT /api/v4/projects/7/issues/3");
    assert_eq!(lines, [post, post, put]);
    let body = |at: usize| serde_json::from_slice::<Value>(&seen[at].body).unwrap();
    assert_eq!(
        body(0),
        json!({
            "title": "Drift in network", "description": "text", "labels": "drift,eu",
            "assignee_ids": [4], "confidential": true,
        })
    );
    assert_eq!(body(1), json!({ "title": "Drift in network", "description": "text" }));
    assert_eq!(body(2), json!({ "state_event": "close" }));
}

#[tokio::test]
async fn an_issue_that_was_deleted_is_none_and_a_project_that_is_hidden_is_an_error() {
    let gone = |words: &'static str, has_project: bool| {
        move |seen: &crate::server::Seen| match seen.path() {
            "/api/v4/projects/7" if has_project => {
                Answer::json(200, r#"{"id": 7, "path_with_namespace": "g/p"}"#)
            }
            _ => Answer::json(404, &json!({ "message": words }).to_string()),
        }
    };
    for (words, has_project, expected) in [
        ("404 Issue Not Found", false, Ok(None)),
        ("404 Not found", true, Ok(None)),
        ("404 Project Not Found", false, Err(())),
    ] {
        let server = Server::start(gone(words, has_project)).await;
        let found = server.client("").issue(PROJECT, 3).await;
        let found = found.map_err(|error| assert!(matches!(error, Error::NotFound { .. })));
        assert_eq!(found, expected, "{words}");
    }
}

#[tokio::test]
async fn the_newest_of_ones_own_is_found_by_what_it_says() {
    let server = Server::start(|seen| {
        let page = seen.query("page");
        let listed = match page.as_str() {
            "1" => json!([issue(9, "opened", "else"), issue(8, "closed", "mine, later")]),
            _ => panic!("nobody has to read on"),
        };
        Answer::json(200, &listed.to_string()).header("x-next-page", "2")
    })
    .await;
    let is_mine = |found: &Issue| found.description.starts_with("mine");
    let found = server.client("").issues_by(PROJECT, BOT, is_mine).await.unwrap().unwrap();
    assert_eq!((found.iid, found.is_open()), (8, false));
    let seen = &server.seen()[0];
    let asked = ["author_id", "state", "order_by", "sort"].map(|name| seen.query(name));
    assert_eq!(asked, ["9", "all", "created_at", "desc"]);
}

#[tokio::test]
async fn whether_it_could_be_merged_is_told_apart_from_what_is_still_missing() {
    let cases = [
        (json!({"detailed_merge_status": "mergeable"}), Some(true)),
        (json!({"detailed_merge_status": "not_approved"}), Some(true)),
        (json!({"detailed_merge_status": "ci_must_pass", "has_conflicts": true}), Some(false)),
        (json!({"detailed_merge_status": "conflict"}), Some(false)),
        (json!({"detailed_merge_status": "unchecked"}), None),
        (json!({"detailed_merge_status": "checking"}), None),
        (json!({"detailed_merge_status": "mergeable", "draft": true}), Some(false)),
        (json!({"detailed_merge_status": "mergeable", "state": "merged"}), Some(false)),
        // Older servers.
        (json!({"merge_status": "can_be_merged"}), Some(true)),
        (json!({"merge_status": "cannot_be_merged"}), Some(false)),
        (json!({}), None),
    ];
    for (said, expected) in cases {
        let mut answer = json!({
            "iid": 12, "state": "opened", "source_project_id": 7, "target_project_id": 7,
            "source_branch": "wider", "target_branch": "main", "sha": sha('2'),
        });
        for (field, value) in said.as_object().unwrap() {
            answer[field] = value.clone();
        }
        let server = Server::start(move |_| Answer::json(200, &answer.to_string())).await;
        let found = server.client("").merge_request(PROJECT, MergeRequestIid(12)).await;
        assert_eq!(found.unwrap().unwrap().could_be_merged(), expected, "{said}");
    }
}
