//! Reading code: branches, compare, trees, files, archives.

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
    let file = |path: &str| w.path(&format!("/repository/files/{path}/raw?ref=main"));
    assert_eq!(w.get(&file("net%2Fmain.tf")).await.expect(200).text, "x\n");
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
