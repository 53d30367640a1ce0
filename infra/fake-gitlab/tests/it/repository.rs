//! Code: branches, tags, commits, compare, trees, files, archives.

use std::io::Read;

use gantry_fake_gitlab::ProjectOptions;
use serde_json::json;

use crate::support::{world, world_with};

fn options(files: &[(&str, &str)]) -> ProjectOptions {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    ProjectOptions { files: files.collect(), ..ProjectOptions::default() }
}

#[tokio::test]
async fn branches_with_strange_names() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    let name = "feature/50%#ü";
    let sha = ada.push(w.project, name, "a.tf", "1").unwrap();
    let path = w.path("/repository/branches/feature%2F50%25%23%C3%BC");
    let branch = w.get(&path).await.expect(200).body;
    assert_eq!(
        (branch["name"].as_str(), branch["commit"]["id"].as_str()),
        (Some(name), Some(&*sha))
    );
    let list = w.get(&w.path("/repository/branches?search=^feature")).await.expect(200);
    assert_eq!(list.body.as_array().unwrap().len(), 1);
    w.get(&w.path("/repository/branches/none")).await.expect(404);
    let commit = w.path("/repository/commits/feature%2F50%25%23%C3%BC");
    assert_eq!(w.get(&commit).await.expect(200).body["id"], sha);
    let refs = w.get(&w.path(&format!("/repository/commits/{sha}/refs?type=branch"))).await;
    assert_eq!(refs.body, json!([{ "type": "branch", "name": name }]));
}

#[tokio::test]
async fn compare_two_and_three_dots() {
    let files = options(&[("net/a.tf", "a\n"), ("old.tf", "1\n2\n3\n")]);
    let w = world_with(|config| config.limits.diff_files = 2, files).await;
    let ada = w.gitlab.person("ada");
    let base = w.gitlab.head(w.project, "main").unwrap();
    let moved = [("old.tf", None), ("new.tf", Some("1\n2\n3\n4\n"))];
    ada.push_files(w.project, "topic", &moved, "Move").unwrap();
    ada.push(w.project, "main", "net/a.tf", "b\n").unwrap();
    let compare = |query: &str| {
        let path = w.path(&format!("/repository/compare?{query}"));
        let w = &w;
        async move { w.get(&path).await }
    };
    let three = compare("from=main&to=topic").await.expect(200).body;
    assert_eq!(three["diffs"], json!([{ "old_path": "old.tf", "new_path": "new.tf" }]));
    assert_eq!(three["commits"].as_array().unwrap().len(), 1);
    let two = compare("from=main&to=topic&straight=true").await.expect(200).body;
    assert_eq!(two["diffs"].as_array().unwrap().len(), 2);
    let none = compare(&format!("from={}&to=main", "1".repeat(40))).await.expect(404);
    assert_eq!(none.message(), "404 Ref Not Found");
    let both = w.get(&w.path("/repository/merge_base?refs[]=main&refs[]=topic")).await.expect(200);
    assert_eq!(both.body["id"], base);
    ada.push(w.project, "topic", "more.tf", "# more").unwrap();
    let cut = compare("from=main&to=topic&straight=true").await.expect(200).body;
    assert_eq!(cut["diffs"].as_array().unwrap().len(), 2, "files over the limit are missing");
    w.gitlab.set_compare_timeout(true);
    let late = compare("from=main&to=topic").await.expect(200).body;
    assert_eq!((&late["compare_timeout"], &late["diffs"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn trees_in_pages() {
    let w = world_with(|_| (), options(&[("a/b/c.tf", "1"), ("a/d.tf", "1"), ("e.tf", "1")])).await;
    let path = w.path("/repository/tree");
    let root = w.get(&path).await.expect(200).body;
    let names: Vec<_> =
        root.as_array().unwrap().iter().map(|entry| entry["path"].clone()).collect();
    assert_eq!(names, ["a", "e.tf"]);
    let below = w.get(&format!("{path}?path=a&recursive=true")).await.expect(200);
    assert_eq!(below.body.as_array().unwrap().len(), 3);
    w.get(&format!("{path}?path=none")).await.expect(404);
    w.get(&format!("{path}?ref=none")).await.expect(404);
    let mut link = format!("{path}?recursive=true&pagination=keyset&per_page=2");
    let mut all = Vec::new();
    loop {
        let page = w.get(&link).await.expect(200);
        all.extend(page.body.as_array().unwrap().iter().map(|entry| entry["path"].clone()));
        let next = page.header("link");
        let Some(url) = next.strip_prefix('<').and_then(|rest| rest.split('>').next()) else {
            break;
        };
        link = url.split("/api/v4").nth(1).unwrap().to_owned();
    }
    assert_eq!(all.len(), 5);
}

#[tokio::test]
async fn files_and_archives() {
    let files = [
        ("net/main.tf", "x\n"),
        ("b.tf", "y\n"),
        ("tests/a.tf", "z\n"),
        (".gitattributes", "/tests export-ignore\n"),
    ];
    let w = world_with(|_| (), options(&files)).await;
    let sha = w.gitlab.head(w.project, "main").unwrap();
    let got = w.get(&w.path("/repository/files/net%2Fmain.tf?ref=main")).await.expect(200).body;
    assert_eq!((&got["content"], &got["last_commit_id"]), (&json!("eAo="), &json!(sha)));
    let file = |path: &str| w.path(&format!("/repository/files/{path}/raw?ref=main"));
    let raw = w.get(&file("net%2Fmain.tf")).await.expect(200);
    assert_eq!(raw.text, "x\n");
    // By these a client knows that it is the file, and not a page of a proxy.
    assert_eq!(raw.header("x-gitlab-blob-id"), got["blob_id"].as_str().unwrap());
    assert_eq!(raw.header("x-gitlab-commit-id"), sha);
    assert_eq!(raw.header("x-gitlab-file-path"), "net%2Fmain%2Etf");
    for missing in ["none", "net"] {
        assert_eq!(w.get(&file(missing)).await.expect(404).message(), "404 File Not Found");
    }
    for outside in ["..%2Fa.tf", "net%2F..%2F..%2Fa.tf", "%2Fa.tf"] {
        let refused = w.get(&file(outside)).await.expect(400);
        assert_eq!(refused.body["error"], "file_path should be a valid file path", "{outside}");
    }
    let url =
        format!("{}/api/v4{}?sha={sha}", w.gitlab.base_url(), w.path("/repository/archive.tar.gz"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let bytes = client.get(url).header("PRIVATE-TOKEN", &w.token).send().await.unwrap();
    let bytes = bytes.bytes().await.unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
    let mut text = String::new();
    let mut names = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type() == tar::EntryType::XGlobalHeader {
            continue;
        }
        names.push(entry.path().unwrap().display().to_string());
        if names.last().unwrap().ends_with("net/main.tf") {
            entry.read_to_string(&mut text).unwrap();
        }
    }
    assert_eq!(text, "x\n");
    let top = format!("network-{sha}-{sha}/");
    assert!(names.iter().all(|name| name.starts_with(&top)), "{names:?}");
    let files = names.iter().filter(|name| !name.ends_with('/')).map(|name| &name[top.len()..]);
    assert_eq!(files.collect::<Vec<_>>(), [".gitattributes", "b.tf", "net/main.tf"]);
    for _ in 0..4 {
        w.get(&w.path("/repository/archive.tar.gz")).await.expect(200);
    }
    let limited = w.get(&w.path("/repository/archive.tar.gz")).await.expect(429);
    assert!(limited.body.is_null() && limited.header("ratelimit-limit").is_empty());
}

#[tokio::test]
async fn tags_name_commits() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    let head = w.gitlab.head(w.project, "main").unwrap();
    let made = ada.tag(w.project, "v1", "main", Some("One")).unwrap();
    ada.tag(w.project, "v1", "main", None).unwrap_err();
    let tag = w.get(&w.path("/repository/tags/v1")).await.expect(200).body;
    assert_eq!((&tag["target"], &tag["commit"]["id"]), (&json!(made), &json!(head)));
    assert_ne!(made, head);
    assert_eq!(w.get(&w.path("/repository/tags?search=^v")).await.body[0], tag);
    w.get(&w.path("/repository/tags/v2")).await.expect(404);
    let refs = w.get(&w.path(&format!("/repository/commits/{head}/refs"))).await.expect(200).body;
    let both = [("branch", "main"), ("tag", "v1")];
    assert_eq!(refs, json!(both.map(|(kind, name)| json!({ "type": kind, "name": name }))));
}

#[tokio::test]
async fn collected_commits_are_gone() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    let old = ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let start = w.gitlab.head(w.project, "main").unwrap();
    ada.set_branch(w.project, "topic", &start).unwrap();
    let path = w.path(&format!("/repository/compare?from={old}&to=topic&straight=true"));
    w.get(&path).await.expect(200);
    w.gitlab.forget_commit(w.project, &old);
    w.get(&path).await.expect(404);
}

#[tokio::test]
async fn a_branch_cannot_be_a_folder() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "a/b", "x", "1").unwrap();
    ada.push(w.project, "a", "x", "1").unwrap_err();
    assert!(w.gitlab.head(w.project, "a").is_none());
    ada.delete_branch(w.project, "a/b").unwrap();
    ada.push(w.project, "a", "x", "1").unwrap();
    let pushed = [("refs/heads/one", Some("a")), ("refs/tags/t", Some("main"))];
    ada.push_refs(w.project, &pushed).unwrap();
    assert_eq!(w.gitlab.head(w.project, "one"), w.gitlab.head(w.project, "a"));
}

#[tokio::test]
async fn commits_through_the_api() {
    let w = world().await;
    let body = json!({
        "branch": "topic", "start_branch": "main", "commit_message": "One",
        "actions": [
            { "action": "create", "file_path": "a.tf", "content": "1" },
            { "action": "move", "file_path": "READYOU.md", "previous_path": "README.md" },
            { "action": "update", "file_path": "a.tf", "content": "Mg==", "encoding": "base64" },
        ],
    });
    let path = w.path("/repository/commits");
    let made = w.post(&path, body.clone()).await.expect(201).body;
    assert_eq!(w.gitlab.head(w.project, "topic").unwrap(), made["id"].as_str().unwrap());
    let file = w.path("/repository/files/a.tf/raw?ref=topic");
    assert_eq!(w.get(&file).await.expect(200).text, "2");
    let taken = w.post(&path, body.clone()).await.expect(400);
    assert!(taken.message().starts_with("A branch called 'topic' already exists."));
    let mut forced = body;
    forced["force"] = json!(true);
    w.post(&path, forced).await.expect(201);
    let listed = w.get(&format!("{path}?ref_name=topic&path=a.tf")).await.expect(200);
    assert_eq!((listed.body.as_array().unwrap().len(), listed.header("x-total")), (1, "".into()));
    let diff = w.get(&format!("{path}/topic/diff")).await.expect(200).body;
    assert_eq!(
        (&diff[0]["new_path"], &diff[0]["renamed_file"]),
        (&json!("READYOU.md"), &json!(true))
    );
    assert_eq!(diff[1]["diff"], "@@ -0,0 +1 @@\n+2\n\\ No newline at end of file\n");
    let tag = json!({ "tag_name": "v1", "ref": "topic", "message": "One" });
    let tags = w.path("/repository/tags");
    let tag = w.post(&tags, tag).await.expect(201).body;
    assert_ne!(tag["target"], made["id"]);
    assert_eq!(tag["message"], "One");
    w.post(&tags, json!({ "tag_name": "a..b", "ref": "topic" })).await.expect(400);
    w.delete(&format!("{tags}/v1")).await.expect(204);
    w.delete(&format!("{tags}/v1")).await.expect(404);
}

#[tokio::test]
async fn actions_that_cannot_be_done_are_refused() {
    let w = world().await;
    let create = json!({ "action": "create", "file_path": "README.md", "content": "1" });
    let missing = "A file with this name doesn't exist";
    let words = [
        (create, "A file with this name already exists"),
        (json!({ "action": "delete", "file_path": "none" }), missing),
        (json!({ "action": "update", "file_path": "none", "content": "1" }), missing),
        (json!({ "action": "move", "file_path": "a", "previous_path": "none" }), missing),
        (json!({ "action": "create" }), "actions[0][file_path] is missing"),
        (json!({ "action": "move", "file_path": "a" }), "actions[0][previous_path] is missing"),
        (
            json!({ "action": "burn", "file_path": "a" }),
            "actions[0][action] does not have a valid value",
        ),
    ];
    for (action, words) in words {
        let body = json!({ "branch": "main", "commit_message": "One", "actions": [action] });
        let refused = w.post(&w.path("/repository/commits"), body).await.expect(400);
        assert!(refused.text.contains(words), "{}", refused.text);
    }
}

#[tokio::test]
async fn what_is_no_branch_or_no_path_is_refused() {
    let w = world().await;
    let commits = w.path("/repository/commits");
    let commit = |branch: &str, path: &str| {
        let action = json!({ "action": "create", "file_path": path, "content": "1" });
        json!({ "branch": branch, "commit_message": "One", "actions": [action] })
    };
    let refused = w.post(&commits, commit("topic", "a.tf")).await.expect(400);
    let no_branch = "You can only create or edit files when you are on a branch";
    assert_eq!(refused.message(), no_branch);
    let file = json!({ "branch": "topic", "commit_message": "One", "content": "1" });
    let refused = w.post(&w.path("/repository/files/a.tf"), file.clone()).await.expect(400);
    assert_eq!(refused.message(), no_branch);
    for path in ["../a.tf", "net/../../a.tf", "/a.tf"] {
        let refused = w.post(&commits, commit("main", path)).await.expect(400);
        assert_eq!(refused.message(), "Path cannot include directory traversal", "{path}");
        let encoded = path.replace('/', "%2F");
        let path = w.path(&format!("/repository/files/{encoded}"));
        let refused = w.post(&path, file.clone()).await.expect(400);
        assert_eq!(refused.body["error"], "file_path should be a valid file path", "{path}");
    }
    let mut both = commit("topic", "a.tf");
    both["start_branch"] = json!("main");
    both["start_sha"] = json!(w.gitlab.head(w.project, "main"));
    let refused = w.post(&commits, both).await.expect(400);
    assert_eq!(refused.message(), "You can't pass both start_branch and start_sha");
    assert!(w.gitlab.head(w.project, "topic").is_none());
}

#[tokio::test]
async fn files_and_branches_are_written_by_those_who_may() {
    let w = world().await;
    let branches = w.path("/repository/branches");
    let topic = json!({ "branch": "topic", "ref": "main" });
    w.post(&branches, topic.clone()).await.expect(201);
    let refused = w.post(&branches, topic).await.expect(400);
    assert_eq!(refused.message(), "Branch already exists");
    let refused = w.post(&branches, json!({ "branch": "x", "ref": "none" })).await.expect(400);
    assert_eq!(refused.message(), "Invalid reference name: none");
    w.gitlab.set_member(w.project, w.bot, 30);
    let file = w.path("/repository/files/net%2Fa.tf");
    let change = |branch: &str, text: &str| json!({ "branch": branch, "commit_message": "Change", "content": text });
    w.post(&file, change("main", "1")).await.expect(403);
    w.put(&file, change("topic", "1")).await.expect(400);
    let made = w.post(&file, change("topic", "1")).await.expect(201).body;
    assert_eq!(made, json!({ "file_path": "net/a.tf", "branch": "topic" }));
    w.post(&file, change("topic", "1")).await.expect(400);
    w.put(&file, change("topic", "2")).await.expect(200);
    assert_eq!(w.get(&format!("{file}/raw?ref=topic")).await.expect(200).text, "2");
    w.delete(&format!("{file}?branch=topic&commit_message=Gone")).await.expect(204);
    w.get(&format!("{file}?ref=topic")).await.expect(404);
    w.delete(&format!("{branches}/main")).await.expect(405);
    w.delete(&format!("{branches}/topic")).await.expect(204);
    w.delete(&format!("{branches}/topic")).await.expect(404);
    w.gitlab.set_member(w.project, w.bot, 20);
    w.post(&branches, json!({ "branch": "x", "ref": "main" })).await.expect(403);
}
