//! Comments and their discussions.

use crate::server::{Answer, Server};
use gantry_domain::{MergeRequestIid, ProjectId, UserId};
use gantry_gitlab::Error;
use jiff::Timestamp;
use serde_json::{Value, json};

const PROJECT: ProjectId = ProjectId(7);
const IID: MergeRequestIid = MergeRequestIid(12);

fn note(id: u64, at: &str) -> Value {
    json!({
        "id": id, "body": format!("note {id}"), "author": {"id": 3, "username": "ada"},
        "system": false, "internal": false, "created_at": at, "updated_at": at,
    })
}

fn message(status: u16, words: &str) -> Answer {
    Answer::json(status, &json!({ "message": words }).to_string())
}

#[tokio::test]
async fn a_comment_is_read_with_its_times() {
    let answer = note(5, "2026-03-02T09:00:00.123Z");
    let server = Server::start(move |_| Answer::json(200, &answer.to_string())).await;
    let read = server.client("").note(PROJECT, IID, 5).await.unwrap().unwrap();
    assert_eq!(server.seen()[0].line, "GET /api/v4/projects/7/merge_requests/12/notes/5");
    assert_eq!((read.id, read.body.as_str(), read.internal), (5, "note 5", false));
    assert_eq!(read.created_at, read.updated_at);
    assert!(read.created_at.is_some());
}

#[tokio::test]
async fn a_comment_that_is_gone_is_none_only_where_its_project_is_there() {
    let server = Server::start(|seen| match seen.path() {
        "/api/v4/projects/7" => {
            Answer::json(200, r#"{"id":7,"path_with_namespace":"acme/network"}"#)
        }
        _ => message(404, "404 Not Found"),
    })
    .await;
    let client = server.client("");
    assert_eq!(client.note(PROJECT, IID, 5).await, Ok(None));
    assert_eq!(client.discussion(PROJECT, IID, "d1").await, Ok(None));
    let hidden = Server::start(|_| message(404, "404 Project Not Found")).await;
    let asked = hidden.client("").note(PROJECT, IID, 5).await;
    assert!(matches!(asked, Err(Error::NotFound { .. })), "{asked:?}");
}

#[tokio::test]
async fn newer_comments_are_read_no_further_than_needed() {
    // A next page is named after each.
    let server = Server::start(|seen| {
        let page = seen.query("page");
        let body = match page.as_str() {
            "1" => json!([note(9, "2026-03-02T09:03:00Z"), note(8, "2026-03-02T09:02:00Z")]),
            "2" => json!([note(7, "2026-03-02T09:01:00Z"), note(6, "2026-03-02T08:59:00Z")]),
            _ => json!([]),
        };
        let next = page.parse::<u64>().unwrap_or(0) + 1;
        Answer::json(200, &body.to_string()).header("x-next-page", &next.to_string())
    })
    .await;
    let since: Timestamp = "2026-03-02T09:00:00Z".parse().unwrap();
    let found = server.client("").notes_since(PROJECT, IID, since).await.unwrap();
    assert_eq!(found.iter().map(|note| note.id).collect::<Vec<_>>(), [9, 8, 7]);
    assert_eq!(server.seen()[0].query("sort"), "desc");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn the_discussion_of_a_comment_is_looked_for() {
    let server = Server::start(|seen| match seen.query("page").as_str() {
        "1" => {
            let one = json!({"id": "d1", "individual_note": true, "notes": [note(5, "")]});
            Answer::json(200, &json!([one]).to_string()).header("x-next-page", "2")
        }
        _ => {
            let two =
                json!({"id": "d2", "individual_note": false, "notes": [note(6, ""), note(7, "")]});
            Answer::json(200, &json!([two]).to_string()).header("x-next-page", "")
        }
    })
    .await;
    let client = server.client("");
    let found = client.discussion_of(PROJECT, IID, 7).await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.individual_note), ("d2", false));
    let first = client.discussion_of(PROJECT, IID, 5).await.unwrap().unwrap();
    assert_eq!((first.id.as_str(), first.individual_note), ("d1", true));
    assert_eq!(client.discussion_of(PROJECT, IID, 8).await, Ok(None));
    assert_eq!(server.seen().len(), 5, "the first page was enough once");
}

#[tokio::test]
async fn a_reply_goes_into_its_discussion() {
    let server = Server::start(|_| {
        Answer::json(201, r#"{"id":9,"body":"b","author":{"id":1,"username":"bot"}}"#)
    })
    .await;
    let client = server.client("");
    let reply = client.reply(PROJECT, IID, "d1", "b").await.unwrap();
    assert_eq!((reply.id, reply.author.map(|author| author.id)), (9, Some(UserId(1))));
    let seen = server.seen();
    assert_eq!(seen[0].line, "POST /api/v4/projects/7/merge_requests/12/discussions/d1/notes");
    let gone = Server::start(|_| message(404, "404 Discussion Not Found")).await;
    let refused = gone.client("").reply(PROJECT, IID, "d1", "b").await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_emoji_that_was_given_before_is_no_error() {
    let server =
        Server::start(|_| message(404, "404 Award Emoji Name has already been taken Not Found"))
            .await;
    assert_eq!(server.client("").award(PROJECT, IID, 5, "eyes").await, Ok(()));
    let seen = server.seen();
    assert_eq!(seen[0].line, "POST /api/v4/projects/7/merge_requests/12/notes/5/award_emoji");
    assert_eq!(seen[0].body, br#"{"name":"eyes"}"#);
    let forbidden = Server::start(|_| message(403, "403 Forbidden")).await;
    let refused = forbidden.client("").award(PROJECT, IID, 5, "eyes").await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_user_may_be_a_bot_blocked_or_gone() {
    let server = Server::start(|seen| match seen.path() {
        "/api/v4/users/1" => Answer::json(
            200,
            r#"{"id":1,"username":"project_1_bot","name":"CI","bot":true,"state":"active"}"#,
        ),
        "/api/v4/users/2" => {
            Answer::json(200, r#"{"id":2,"username":"eve","name":"Eve","state":"blocked"}"#)
        }
        "/api/v4/users/3" => Answer::json(200, r#"{"id":3,"username":"ada","name":null}"#),
        _ => message(404, "404 User Not Found"),
    })
    .await;
    let client = server.client("");
    let mut kinds = vec![];
    for id in 1..=3 {
        let account = client.account(UserId(id)).await.unwrap().unwrap();
        kinds.push((account.bot, account.is_active()));
    }
    assert_eq!(kinds, [(true, true), (false, false), (false, true)]);
    assert_eq!(client.account(UserId(4)).await, Ok(None));
}
