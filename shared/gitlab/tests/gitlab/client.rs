//! The client against a small server that says what it is told to.

use crate::server::{Answer, Server, sha};
use gantry_domain::{MergeRequestIid, ProjectId};
use gantry_gitlab::{Error, HookSettings, MergeRequestFilter, NewStatus, StatusState, TreeKind};
use std::time::Duration;

const PROJECT: ProjectId = ProjectId(7);
/// What every gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

fn status(state: StatusState) -> NewStatus {
    NewStatus {
        state,
        name: "gantry/net".to_owned(),
        target_url: None,
        description: None,
        git_ref: Some("main".to_owned()),
        pipeline: None,
    }
}

#[tokio::test]
async fn a_call_carries_token_agent_and_encoded_names() {
    let server = Server::start(|_| {
        Answer::json(
            200,
            r#"{"name":"a/b","commit":{"id":"1111111111111111111111111111111111111111"},"protected":null}"#,
        )
    })
    .await;
    let branch = server.client("").branch(PROJECT, "a/b c#1").await.unwrap().unwrap();
    assert_eq!(branch.sha, sha('1'));
    assert!(!branch.protected);
    let seen = server.seen();
    assert_eq!(seen[0].line, "GET /api/v4/projects/7/repository/branches/a%2Fb%20c%231");
    assert_eq!(seen[0].header("private-token"), "glpat-secret");
    assert_eq!(seen[0].header("user-agent"), concat!("gantry/", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_server_below_a_path_is_asked_there() {
    let server = Server::start(|_| Answer::json(200, r#"{"id":3,"username":"bot"}"#)).await;
    for base in ["/gitlab", "/gitlab/", "/a/b/api/v4"] {
        server.client(base).current_user().await.unwrap();
    }
    let lines: Vec<String> = server.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(
        lines,
        ["GET /gitlab/api/v4/user", "GET /gitlab/api/v4/user", "GET /a/b/api/v4/user"]
    );
}

#[tokio::test]
async fn lists_are_read_to_the_end_even_through_empty_pages() {
    let server = Server::start(|seen| {
        let note = |id: u64| format!(r#"{{"id":{id},"body":"b","system":false,"author":null}}"#);
        let page = |body: String, next: &str| Answer::json(200, &body).header("x-next-page", next);
        match seen.query("page").as_str() {
            "1" => page(format!("[{},{}]", note(1), note(2)), "2"),
            "2" => page("[]".to_owned(), "3"),
            "3" => page(format!("[{}]", note(3)), ""),
            other => panic!("page {other}"),
        }
    })
    .await;
    let client = server.client("");
    let notes = client.notes(PROJECT, MergeRequestIid(1)).await.unwrap();
    assert_eq!(notes.iter().map(|note| note.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(server.seen().len(), 3);
    assert_eq!(server.seen()[0].query("per_page"), "100");
    let found = client.find_note(PROJECT, MergeRequestIid(1), |note| note.id == 2).await.unwrap();
    assert_eq!(found.unwrap().id, 2);
    assert_eq!(server.seen().len(), 4, "one more page was enough");
    let none = client.find_note(PROJECT, MergeRequestIid(1), |note| note.id == 9).await.unwrap();
    assert!(none.is_none());
}

#[tokio::test]
async fn a_list_that_names_itself_as_next_page_ends() {
    let server = Server::start(|_| Answer::json(200, "[]").header("x-next-page", "1")).await;
    let filter = MergeRequestFilter {
        updated_after: Some("2026-01-02T03:04:05Z".parse().unwrap()),
        source_branch: Some("a&b=c+d".to_owned()),
        ..Default::default()
    };
    assert!(server.client("").merge_requests(PROJECT, &filter).await.unwrap().is_empty());
    let seen = server.seen();
    assert_eq!(seen[0].query("source_branch"), "a&b=c+d");
    assert_eq!(seen[0].query("updated_after"), "2026-01-02T03:04:05Z");
    assert_eq!(seen[0].query("state"), "opened");
}

/// A page that is full, behind a proxy that drops GitLab's headers: there may be more.
#[tokio::test]
async fn a_list_that_may_go_on_is_not_taken_for_a_whole_one() {
    let notes = |count: u64| {
        let note = |id: u64| format!(r#"{{"id":{id},"body":"b","system":false,"author":null}}"#);
        format!("[{}]", (0..count).map(note).collect::<Vec<_>>().join(","))
    };
    for (count, this_page, is_whole) in [(100, false, false), (99, false, true), (100, true, true)]
    {
        let body = notes(count);
        let server = Server::start(move |_| {
            let answer = Answer::json(200, &body);
            if this_page { answer.header("x-page", "1") } else { answer }
        })
        .await;
        let read = server.client("").notes(PROJECT, MergeRequestIid(1)).await;
        match is_whole {
            true => assert_eq!(read.map(|notes| notes.len() as u64), Ok(count)),
            false => assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}"),
        }
    }
}

#[tokio::test]
async fn reads_follow_redirects_on_the_same_server_and_writes_none() {
    let server = Server::start(|seen| match seen.line.as_str() {
        line if line.contains("/projects/8") => Answer::json(200, r#"{"id":1,"pipeline_id":2}"#),
        _ => Answer::json(301, "{}").header("location", "/api/v4/projects/8/pipelines/1"),
    })
    .await;
    let client = server.client("");
    let moved = client.project(PROJECT).await.unwrap_err();
    assert!(matches!(moved, Error::Unavailable { .. }), "followed, then not a project: {moved}");
    assert_eq!(server.seen()[1].line, "GET /api/v4/projects/8/pipelines/1");
    let before = server.seen().len();
    let refused = client.post_status(PROJECT, &sha('1'), &status(StatusState::Running)).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    assert_eq!(server.seen().len(), before + 1, "nothing was sent on");
}

#[tokio::test]
async fn the_token_never_goes_to_another_server() {
    let other = Server::start(|_| Answer::json(200, "{}")).await;
    let to = format!("{}/api/v4/user", other.url);
    let server = Server::start(move |_| Answer::json(302, "").header("location", &to)).await;
    let error = server.client("").current_user().await.unwrap_err();
    assert!(error.to_string().contains(&format!("redirects to {}", other.url)), "{error}");
    assert!(other.seen().is_empty());
    let circle = Server::start(|_| Answer::json(302, "").header("location", "/x")).await;
    let error = circle.client("").current_user().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_429_says_when_to_come_back_with_and_without_headers() {
    let server = Server::start(|seen| match seen.line.as_str() {
        line if line.contains("notes") => Answer::text(429, "Retry later\n"),
        _ => Answer::text(429, "Retry later\n").header("retry-after", "17"),
    })
    .await;
    let client = server.client("");
    let error = client.project(PROJECT).await.unwrap_err();
    assert_eq!(error, Error::RateLimited { retry_after: Duration::from_secs(17) });
    let error = client.create_note(PROJECT, MergeRequestIid(1), "x").await.unwrap_err();
    assert_eq!(error, Error::RateLimited { retry_after: Duration::from_secs(60) });
    assert!(error.is_trouble());
}

#[tokio::test]
async fn when_the_limit_is_used_up_no_call_is_made() {
    let server = Server::start(|_| {
        Answer::json(200, r#"{"id":3,"username":"bot"}"#)
            .header("ratelimit-limit", "2000")
            .header("ratelimit-remaining", "10")
            .header("ratelimit-reset", &(crate::server::NOW + 42).to_string())
    })
    .await;
    let client = server.client("");
    client.current_user().await.unwrap();
    let limits = client.rate_limits();
    assert_eq!((limits.limit, limits.remaining), (Some(2000), Some(10)));
    let error = client.clone().current_user().await.unwrap_err();
    assert_eq!(error, Error::RateLimited { retry_after: Duration::from_secs(42) });
    assert_eq!(server.seen().len(), 1);
    server.advance(42);
    client.current_user().await.unwrap();
}

#[tokio::test]
async fn pages_of_proxies_are_trouble_and_not_answers() {
    let server = Server::start(|seen| match seen.line.as_str() {
        line if line.contains("branches") => Answer::html(404),
        line if line.contains("user") || line.contains("repository") => Answer::html(200),
        line if line.contains("stop") => Answer::text(200, ""),
        _ => Answer::html(502).header("retry-after", "5"),
    })
    .await;
    let client = server.client("");
    let error = client.project(PROJECT).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(5)));
    let error = client.branch(PROJECT, "main").await.unwrap_err();
    assert!(error.is_trouble(), "a proxy's 404 does not mean that the branch is gone: {error}");
    let error = client.current_user().await.unwrap_err();
    assert!(error.to_string().contains("a web page instead of GitLab's API"), "{error}");
    assert!(error.is_trouble(), "{error:?}");
    let error = client.file(PROJECT, "main", ".gantry/config.yml").await.unwrap_err();
    assert!(error.is_trouble(), "a page is no file: {error:?}");
    let error = client.archive(PROJECT, &sha('1')).await.map(drop).unwrap_err();
    assert!(error.is_trouble(), "a page is no archive: {error:?}");
    let error = client.stop_environment(PROJECT, 3).await.unwrap_err();
    assert!(error.is_trouble(), "an empty answer is none: {error:?}");
}

#[tokio::test]
async fn what_comes_in_place_of_an_archive_or_a_file_is_trouble() {
    for (kind, body, came) in [
        ("text/plain", b"".as_slice(), "nothing"),
        ("text/plain", b"<!DOCTYPE html>\n<html></html>", "a web page"),
        ("text/plain", b"Back soon", "\"Back soon\""),
        ("application/json", br#"{"status":"ok"}"#, r#""{\"status\":\"ok\"}""#),
        ("text/html", &GZIP, "a web page"),
    ] {
        let answer = move |_: &_| Answer::bytes(200, body).header("content-type", kind);
        let server = Server::start(answer).await;
        let client = server.client("");
        let error = client.archive(PROJECT, &sha('1')).await.map(drop).unwrap_err();
        assert!(error.is_trouble(), "{came} is no archive: {error:?}");
        assert!(error.to_string().contains(came), "{came}: {error}");
        let error = client.file(PROJECT, "main", "main.tf.json").await.unwrap_err();
        assert!(error.is_trouble(), "{came} is no file: {error:?}");
        assert!(error.to_string().contains(came), "{came}: {error}");
    }
    // GitLab says of each file which it is; the file may be anything, even empty.
    for content in ["", "{}", "<html></html>"] {
        let server = Server::start(move |_| {
            Answer::text(200, content).header("x-gitlab-blob-id", sha('3').as_str())
        })
        .await;
        let file = server.client("").file(PROJECT, "main", "a").await.unwrap();
        assert_eq!(file.as_deref(), Some(content.as_bytes()));
    }
}

#[tokio::test]
async fn a_write_is_done_where_gitlab_says_so() {
    let server = Server::start(|seen| match seen.path() {
        path if path.ends_with("/environments/3/stop") => Answer::json(200, r#"{"id":3}"#),
        path if path.ends_with("/hooks/3") => Answer::text(204, ""),
        _ => Answer::json(200, r#"{"status":"ok"}"#),
    })
    .await;
    let client = server.client("");
    assert_eq!(client.stop_environment(PROJECT, 3).await, Ok(()));
    assert_eq!(client.delete_hook(PROJECT, 3).await, Ok(()));
    for error in [client.stop_environment(PROJECT, 4).await, client.delete_hook(PROJECT, 4).await] {
        let error = error.unwrap_err();
        assert!(error.is_trouble(), "another service's JSON is no answer: {error:?}");
    }
}

#[tokio::test]
async fn a_missing_thing_is_not_a_missing_project() {
    let server = Server::start(|seen| {
        let words = match seen.path() {
            path if path.starts_with("/api/v4/projects/8") => "404 Project Not Found",
            path if path.contains("/commits/") => "404 Commit Not Found",
            path if path.ends_with("/compare") => "404 Ref Not Found",
            path if path.ends_with("/merge_base") => {
                let known = seen.query("refs[]") == "main";
                let (status, words) = match known {
                    true => (404, "404 Merge Base Not Found"),
                    false => (400, "Could not find ref: gone"),
                };
                return Answer::json(status, &format!(r#"{{"message":"{words}"}}"#));
            }
            path if path.ends_with("/tree") => "404 Tree Not Found",
            path if path.contains("/hooks/") => "404 Not found",
            "/api/v4/projects/7" => return Answer::json(200, PROJECT_JSON),
            _ => "404 Branch Not Found",
        };
        Answer::json(404, &format!(r#"{{"message":"{words}"}}"#))
    })
    .await;
    let client = server.client("");
    assert_eq!(client.branch(PROJECT, "x").await, Ok(None));
    let gone = client.branch(ProjectId(8), "x").await.unwrap_err();
    assert!(gone.is_refusal(), "{gone:?}");
    assert_eq!(client.compare(PROJECT, &sha('1'), &sha('2'), true).await, Ok(None));
    assert_eq!(client.merge_base(PROJECT, "main", &sha('2')).await, Ok(None), "no common commit");
    assert_eq!(client.merge_base(PROJECT, "gone", &sha('2')).await, Ok(None), "no such branch");
    assert!(client.tree_id(PROJECT, &sha('1'), "a/b").await.is_err(), "the commit is unknown");
    assert_eq!(client.delete_hook(PROJECT, 4).await, Ok(()));
    assert!(client.delete_hook(ProjectId(8), 4).await.is_err());
    let before = server.seen().len();
    assert!(client.branch(PROJECT, "..").await.is_err());
    assert_eq!(server.seen().len(), before, "a name that would change the address is not sent");
}

const PROJECT_JSON: &str = r#"{"id":7,"path_with_namespace":"acme/network"}"#;
const BRANCH_JSON: &str =
    r#"{"name":"change","commit":{"id":"1111111111111111111111111111111111111111"}}"#;

/// A server that says 404 in these words to every address that has `part`.
async fn not_found(words: &'static str, part: &'static str, lists: &'static str) -> Server {
    Server::start(move |seen| match seen.path() {
        path if path.contains(part) => Answer::json(404, &format!(r#"{{"message":"{words}"}}"#)),
        "/api/v4/projects/7" => Answer::json(200, PROJECT_JSON),
        _ => Answer::json(200, lists),
    })
    .await
}

#[tokio::test]
async fn a_404_that_does_not_name_the_thing_needs_a_second_look() {
    let iid = MergeRequestIid(3);
    for words in ["404 Project Not Found", "404 Not Found", "404 Not found"] {
        // Something before GitLab answers so to everything.
        let server = not_found(words, "", "[]").await;
        let client = server.client("");
        assert!(client.branch(PROJECT, "change").await.is_err(), "{words}");
        assert!(client.tag(PROJECT, "v1").await.is_err(), "{words}");
        assert!(client.commit(PROJECT, "main").await.is_err(), "{words}");
        assert!(client.merge_request(PROJECT, iid).await.is_err(), "{words}");
        assert!(client.compare(PROJECT, "main", &sha('2'), true).await.is_err(), "{words}");
        assert!(client.entries(PROJECT, &sha('1'), "a").await.is_err(), "{words}");
        assert!(client.file(PROJECT, "main", "a").await.is_err(), "{words}");
        assert!(client.archive(PROJECT, &sha('1')).await.is_err(), "{words}");
        assert!(client.deployment(PROJECT, 4).await.is_err(), "{words}");
        assert!(client.stop_environment(PROJECT, 4).await.is_err(), "{words}");
        assert!(client.delete_hook(PROJECT, 4).await.is_err(), "{words}");

        // GitLab itself has no words for a merge request: its list says that it is not there.
        let server = not_found(words, "/merge_requests/", r#"[{"iid":2}]"#).await;
        assert_eq!(server.client("").merge_request(PROJECT, iid).await, Ok(None), "{words}");
        // Or that it is, and what came was nonsense.
        let server = not_found(words, "/merge_requests/", r#"[{"iid":3}]"#).await;
        let found = server.client("").merge_request(PROJECT, iid).await;
        assert!(found.is_err_and(|error| error.is_trouble()), "{words}");
        let server = not_found(words, "/deployments/", "[]").await;
        assert_eq!(server.client("").deployment(PROJECT, 4).await, Ok(None), "{words}");
    }
}

#[tokio::test]
async fn a_404_that_is_over_at_the_second_look_is_forgotten() {
    let times = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |seen| match seen.path() {
        _ if times.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 => {
            Answer::json(404, r#"{"message":"404 Project Not Found"}"#)
        }
        path if path.ends_with("/branches") => Answer::json(200, &format!("[{BRANCH_JSON}]")),
        _ => Answer::json(200, BRANCH_JSON),
    })
    .await;
    let branch = server.client("").branch(PROJECT, "change").await.unwrap().unwrap();
    assert_eq!(branch.sha, sha('1'));
    assert_eq!(server.seen()[1].query("search"), "^change");
}

#[tokio::test]
async fn tree_ids_come_from_the_folder_above() {
    let server = Server::start(|seen| match (seen.path(), seen.query("path").as_str()) {
        (path, "infra") if path.ends_with("/tree") => {
            Answer::json(200, r#"[{"id":"t1","name":"net"},{"id":"t2","name":"netz"}]"#)
        }
        (path, "") if path.ends_with("/tree") => {
            Answer::json(200, r#"[{"id":"t3","name":"infra"}]"#)
        }
        (path, _) if path.ends_with("/tree") => {
            Answer::json(404, r#"{"message":"404 invalid revision or path Not Found"}"#)
        }
        _ => Answer::json(200, r#"{"id":"1111111111111111111111111111111111111111"}"#),
    })
    .await;
    let client = server.client("");
    for (path, id) in [
        ("infra/net", Some("t1")),
        ("infra/net/", Some("t1")),
        ("infra/other", None),
        ("infra", Some("t3")),
        ("gone/net", None),
        ("", Some(sha('1').as_str())),
    ] {
        let found = client.tree_id(PROJECT, &sha('1'), path).await.unwrap();
        assert_eq!(found.as_deref(), id, "{path}");
    }
}

#[tokio::test]
async fn what_a_tree_has_is_found() {
    let server = Server::start(|seen| {
        assert!(seen.path().ends_with("/tree"));
        match seen.query("recursive").as_str() {
            "true" => Answer::json(
                200,
                r#"[{"id":"1","name":"vpc","path":"mod/vpc","type":"tree","mode":"040000"},
                    {"id":"2","name":"a.tf","path":"mod/vpc/a.tf","type":"blob","mode":"100644"},
                    {"id":"3","name":"sub","path":"mod/sub","type":"commit","mode":"160000"}]"#,
            ),
            _ => Answer::json(
                200,
                r#"[{"id":"1","name":"vpc","path":"vpc","type":"tree","mode":"040000"},
                    {"id":"2","name":"a.tf","path":"a.tf","type":"blob","mode":"100755"},
                    {"id":"3","name":"sub","path":"sub","type":"commit","mode":"160000"},
                    {"id":"4","name":"link","path":"link","type":"blob","mode":"120000"}]"#,
            ),
        }
    })
    .await;
    let client = server.client("");
    for (path, kind) in [
        ("vpc", Some(TreeKind::Folder)),
        ("a.tf", Some(TreeKind::File)),
        ("sub", Some(TreeKind::Submodule)),
        ("link", Some(TreeKind::Link)),
        ("gone", None),
    ] {
        assert_eq!(client.tree_kind(PROJECT, &sha('1'), path).await.unwrap(), kind, "{path}");
    }
    for (path, most, found) in [
        ("mod/vpc/a.tf", 10, Some(true)),
        ("mod/sub", 10, Some(true)),
        ("mod/vpc", 10, Some(false)),
        ("mod/vpc/a.tf", 1, None),
    ] {
        let is_it = |looked_at: &str| looked_at == path;
        let answer = client.has_file(PROJECT, &sha('1'), "mod", most, is_it).await.unwrap();
        assert_eq!(answer, found, "{path} of {most}");
    }
}

#[tokio::test]
async fn a_status_is_cut_to_what_gitlab_takes() {
    let server = Server::start(|_| Answer::json(201, r#"{"id":5,"pipeline_id":null}"#)).await;
    let long = NewStatus {
        description: Some("ä".repeat(300)),
        target_url: Some(format!("https://x/{}", "a".repeat(250))),
        pipeline: Some(gantry_domain::PipelineId(9)),
        ..status(StatusState::Pending)
    };
    let posted = server.client("").post_status(PROJECT, &sha('1'), &long).await.unwrap();
    assert_eq!((posted.id, posted.pipeline_id), (5, None));
    let sent: serde_json::Value = serde_json::from_slice(&server.seen()[0].body).unwrap();
    let description = "ä".repeat(255);
    assert_eq!(
        sent,
        serde_json::json!({"state": "pending", "name": "gantry/net", "ref": "main",
            "pipeline_id": 9, "description": description})
    );
}

#[tokio::test]
async fn a_comment_that_gitlab_executed_is_a_refusal() {
    let server =
        Server::start(|_| Answer::json(202, r#"{"commands_changes":{},"summary":["Closed"]}"#))
            .await;
    let error = server.client("").create_note(PROJECT, MergeRequestIid(1), "/close").await;
    assert!(matches!(error, Err(Error::Refused { status: 202, .. })), "{error:?}");
}

#[tokio::test]
async fn no_secret_is_shown() {
    let server = Server::start(|_| Answer::json(422, r#"{"message":"Invalid url given"}"#)).await;
    let settings = HookSettings {
        url: "https://x/hook".to_owned(),
        token: "hook-secret".into(),
        signing_token: Some("whsec_secret".into()),
        verify_tls: true,
        note_events: false,
    };
    let client = server.client("");
    let error = client.create_hook(PROJECT, &settings).await.unwrap_err();
    let shown = format!("{client:?} {settings:?} {error:?} {error} {:?}", server.config(""));
    assert!(!shown.contains("secret\""), "{shown}");
    assert!(!shown.contains("hook-secret") && !shown.contains("glpat"), "{shown}");
    let sent: serde_json::Value = serde_json::from_slice(&server.seen()[0].body).unwrap();
    assert_eq!(sent["token"], "hook-secret");
    assert_eq!(sent["signing_token"], "whsec_secret");
}

#[tokio::test]
async fn downloads_come_in_pieces() {
    let archive = [GZIP.as_slice(), "x".repeat(300_000 - GZIP.len()).as_bytes()].concat();
    let server = Server::start(move |_| Answer::bytes(200, &archive)).await;
    let mut download = server.client("").archive(PROJECT, &sha('1')).await.unwrap().unwrap();
    assert_eq!(download.length(), Some(300_000));
    let mut read = 0;
    while let Some(chunk) = download.chunk().await.unwrap() {
        read += chunk.len();
    }
    assert_eq!(read, 300_000);
    assert_eq!(server.seen()[0].query("sha"), sha('1').as_str());
}

#[tokio::test]
async fn old_servers_tell_their_version_elsewhere() {
    let server = Server::start(|seen| match seen.path() {
        "/api/v4/version" => Answer::json(200, r#"{"version":"13.4.0-ee","revision":"x"}"#),
        _ => Answer::json(404, r#"{"error":"404 Not Found"}"#),
    })
    .await;
    let client = server.client("");
    assert_eq!(client.version().await.unwrap().numbers(), Some((13, 4)));
    assert_eq!(client.token_self().await, Ok(None));
}
