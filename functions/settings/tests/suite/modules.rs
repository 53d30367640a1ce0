//! Modules: made, changed, deleted, and their versions.

use crate::{
    browser::Browser,
    support::{Options, World, connected, world_with},
};
use gantry_fake_gitlab::{Person, ProjectOptions};
use gantry_queue::{Command, Message, StackMessage};
use gantry_store::{
    Expect, Write, keys,
    scheduler::{RunEntry, VersionRecord, VersionState, Yanked},
};
use semver::Version;
use serde_json::{Value, json};

const PATH: &str = "/api/v1/modules";
const MODULE: &str = "/api/v1/modules/network";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn project(w: &World, path: &str) -> u64 {
    let files = vec![("main.tf".to_owned(), "# main\n".to_owned())];
    let options = ProjectOptions { files, ..ProjectOptions::default() };
    let project = w.gitlab.create_project(path, options).unwrap();
    w.gitlab.set_member(project, w.bot, 40);
    let dev: Person = w.gitlab.person("dev");
    w.gitlab.set_member(project, dev.id(), 40);
    project.0
}

#[tokio::test]
async fn a_module_is_named_by_its_project() {
    let w = connected().await;
    let body = json!({ "project": project(&w, "Acme Ops/terraform-aws-network") });
    let made = w.post(PATH, body).await.expect(201);
    assert_eq!(made.headers["location"], MODULE);
    for (field, value) in [
        ("name", "network"),
        ("slug", "network"),
        ("terraform_provider", "aws"),
        ("namespace", "acme-ops"),
        ("branch", "main"),
    ] {
        assert_eq!(made.body[field], value, "{field}");
    }
    assert_eq!(made.body["current"], Value::Null);
    assert!(!made.body["findings"].as_array().unwrap().is_empty());

    let body = json!({ "project": project(&w, "acme/plain") });
    let got = w.post(PATH, body.clone()).await.expect(422);
    assert!(got.error("name").contains("cannot be guessed"), "{}", got.text);
    assert!(got.error("terraform_provider").contains("cannot be guessed"), "{}", got.text);
    let mut named = body;
    named["name"] = "Not A Name".into();
    named["terraform_provider"] = "AWS!".into();
    named["provider"] = "git".into();
    named["autodeploy"] = true.into();
    let got = w.post(PATH, named).await.expect(422);
    for field in ["name", "terraform_provider", "provider", "autodeploy"] {
        assert!(!got.error(field).is_empty(), "{field}: {}", got.text);
    }
}

#[tokio::test]
async fn modules_and_stacks_share_slugs_but_no_lists() {
    let w = connected().await;
    w.stack().await;
    let project = project(&w, "acme/terraform-aws-network");
    let got = w.post(PATH, json!({ "project": project })).await.expect(409);
    assert!(got.detail().contains("is already taken"), "{}", got.text);
    w.post(PATH, json!({ "project": project, "slug": "net" })).await.expect(201);
    let names = |list: &Value| {
        let slug = |one: &Value| one["slug"].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(slug).collect::<Vec<_>>()
    };
    assert_eq!(names(&w.get(PATH).await.expect(200).body["modules"]), ["net"]);
    assert_eq!(names(&w.get("/api/v1/stacks").await.expect(200).body["stacks"]), ["network"]);
    w.get("/api/v1/modules/network").await.expect(404);
    w.get("/api/v1/stacks/net").await.expect(404);
    w.send("PUT", "/api/v1/stacks/net", json!({ "name": "x" })).await.expect(404);
    w.send("DELETE", "/api/v1/stacks/net", json!({})).await.expect(404);

    let path = "/api/v1/modules/net";
    let before = w.get(path).await.expect(200).body;
    let changed = w
        .send("PUT", path, json!({ "tag_prefix": "net/", "labels": ["a"] }))
        .await
        .expect(200)
        .body;
    assert_eq!((&changed["tag_prefix"], &changed["labels"]), (&json!("net/"), &json!(["a"])));
    // What was answered can be sent back.
    w.send("PUT", path, changed).await.expect(200);
    w.send("PUT", path, before).await.expect(409);
    w.send("DELETE", path, json!({})).await.expect(200);
    w.get(path).await.expect(404);
}

#[tokio::test]
async fn versions_are_listed_asked_for_and_yanked() {
    let w = connected().await;
    let project = project(&w, "acme/terraform-aws-network");
    w.post(PATH, json!({ "project": project })).await.expect(201);
    let module = w.stored_stack("network").await;
    let run = w.run(&module, "tracked#1", gantry_domain::run::RunState::Finished).await;
    let versions = [("1.2.0", false, false), ("1.10.0", false, false), ("1.11.0", false, true)];
    let more = [("2.0.0-rc.1", false, false), ("3.0.0", true, false)];
    for (number, failed, yanked) in versions.into_iter().chain(more) {
        let version: Version = number.parse().unwrap();
        let at = w.clock.now();
        let record = VersionRecord {
            state: if failed { VersionState::Failed } else { VersionState::Active },
            commit: COMMIT.parse().unwrap(),
            run: run.id.clone(),
            tag: None,
            at,
            digest: None,
            yanked: yanked.then(|| Yanked {
                note: "broken".to_owned(),
                by: "alice".to_owned(),
                at,
            }),
            version: version.clone(),
        };
        let write = Write::put(keys::version(&module.id, &version), Expect::Absent, &record);
        let _written = w.store.write(vec![write.unwrap()]).await.unwrap();
    }
    assert_eq!(w.get(MODULE).await.expect(200).body["current"], "1.10.0");
    let page = w.get(&format!("{MODULE}/versions?limit=2")).await.expect(200).body;
    assert_eq!(page["versions"][0]["version"], "3.0.0");
    assert_eq!(
        (&page["versions"][1]["version"], &page["next"]),
        (&json!("2.0.0-rc.1"), &json!("2.0.0-rc.1"))
    );
    let page = w.get(&format!("{MODULE}/versions?after=2.0.0-rc.1")).await.expect(200).body;
    assert_eq!(page["versions"].as_array().unwrap().len(), 3);
    assert_eq!(page["versions"][0]["yanked"]["note"], "broken");
    let one = w.get(&format!("{MODULE}/versions/1.2.0")).await.expect(200).body;
    assert_eq!(one["tests"], json!([]));
    w.get(&format!("{MODULE}/versions/9.9.9")).await.expect(404);

    w.sent();
    let got =
        w.post(&format!("{MODULE}/versions"), json!({ "version": "1.2.0" })).await.expect(409);
    assert!(got.detail().contains("never reused"), "{}", got.text);
    w.post(&format!("{MODULE}/versions"), json!({ "version": "v1" })).await.expect(422);
    w.post(&format!("{MODULE}/versions"), json!({ "version": "3.0.0" })).await.expect(202);
    let yank = |number: &str| format!("{MODULE}/versions/{number}/yank");
    w.post(&yank("3.0.0"), json!({ "note": "x" })).await.expect(409);
    w.post(&yank("1.2.0"), json!({ "note": "leaks" })).await.expect(202);
    let commands: Vec<Command> = w
        .sent()
        .into_iter()
        .filter_map(|message| match message {
            Message::Stack(StackMessage::Command { command, .. }) => Some(command),
            _ => None,
        })
        .collect();
    assert!(
        matches!(
            &commands[..],
            [Command::MakeVersion { commit: None, .. }, Command::Yank { note: Some(note), .. }]
                if note == "leaks"
        ),
        "{commands:?}"
    );
}

/// A module with one version, whose code was read as `code`.
async fn with_code<'a>(w: &'a World, tool: &str, code: Value) -> Browser<'a> {
    let project = project(w, "acme/terraform-aws-network");
    w.post(PATH, json!({ "project": project, "tool": tool })).await.expect(201);
    let module = w.stored_stack("network").await;
    let run = w.run(&module, "tracked#1", gantry_domain::run::RunState::Finished).await;
    let version = Version::new(1, 0, 0);
    let record = VersionRecord {
        state: VersionState::Active,
        commit: COMMIT.parse().unwrap(),
        run: run.id.clone(),
        tag: None,
        at: w.clock.now(),
        digest: Some("abc".to_owned()),
        yanked: None,
        version: version.clone(),
    };
    let write = Write::put(keys::version(&module.id, &version), Expect::Absent, &record);
    let _written = w.store.write(vec![write.unwrap()]).await.unwrap();
    let key = gantry_objects::keys::module_metadata(&module.id, "abc");
    w.objects.put(&key, serde_json::to_vec(&code).unwrap().into()).await.unwrap();
    Browser::sign_in(w, &w.admin).await
}

/// What a section of a page says, without its tags.
fn said(page: &str, section: &str) -> String {
    let (_, rest) = page.split_once(&format!("aria-labelledby=\"{section}\"")).unwrap();
    let (inside, _) = rest.split_once("</section>").unwrap();
    let words = inside.split('<').filter_map(|piece| Some(piece.split_once('>')?.1.trim()));
    words.filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" | ")
}

#[tokio::test]
async fn the_page_shows_all_that_was_read_and_what_was_not() {
    let w = connected().await;
    let code = json!({
        "inputs": [
            { "name": "cidr", "type": "string", "required": true, "sensitive": true },
            { "name": "size", "default": "1", "description": "How <many>." },
        ],
        "outputs": [{ "name": "key", "sensitive": true }, { "name": "id" }],
        "providers": [
            { "name": "aws", "source": "hashicorp/aws", "version": "~> 5.0" }, { "name": "null" },
        ],
        "required_version": ">= 1.5",
        "problems": ["more.tf line 3: the block locals is not closed <b>"],
    });
    let browser = with_code(&w, "terraform", code.clone()).await;
    let page = browser.get("/modules/network").await.expect(200).text;
    insta::assert_snapshot!(said(&page, "code"), @"Inputs and outputs | Some of the code could not be read | , so details may be missing here: | more.tf line 3: the block locals is not closed &#60;b&#62; | Terraform | &#62;= 1.5 | OpenTofu | any version | (since 1.12 it reads | required_version | only in | .tofu | files) | Inputs | Name | Type | Default | Description | cidr | sensitive | string | required | size | any | 1 | How &#60;many&#62;. | Outputs | Name | Description | key | sensitive | id | Providers | Name | Source | Version | aws | hashicorp/aws | ~&#62; 5.0 | null | hashicorp/null | any");
    assert!(said(&page, "use").contains("cidr = …"), "{page}");
    let version = w.get(&format!("{MODULE}/versions/1.0.0")).await.expect(200).body;
    for (name, value) in code.as_object().unwrap() {
        if let Value::String(_) | Value::Number(_) = value {
            assert_eq!(version["code"][name], *value, "{name}");
        } else {
            assert_eq!(
                version["code"][name].as_array().unwrap().len(),
                value.as_array().unwrap().len(),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn an_address_that_no_tool_takes_is_not_offered() {
    let at = async |url: &'static str| {
        let w = world_with(Options { public_url: Some(url), ..Options::default() }).await;
        w.connect().await.expect(200);
        w
    };
    for (url, host) in [
        ("https://localhost:8283", None),
        ("https://gantry:8080", None),
        ("https://127.0.0.1:8283", Some("127.0.0.1:8283")),
    ] {
        let w = at(url).await;
        let browser = with_code(&w, "terraform", json!({})).await;
        let usage = said(&browser.get("/modules/network").await.expect(200).text, "use");
        let why = format!("Terraform and OpenTofu do not accept {url} as a module registry: ");
        assert_eq!(usage.contains(&why), host.is_none(), "{usage}");
        let source = host.map(|host| format!("{host}/acme/network/aws"));
        assert_eq!(usage.contains("source"), source.is_some(), "{usage}");
        assert!(source.is_none_or(|source| usage.contains(&source)), "{usage}");
        let credentials = host.map(|host| format!("credentials \"{host}\" {{"));
        assert!(credentials.is_none_or(|block| usage.contains(&block)), "{usage}");
        let check = browser.get("/stacks/network/check").await.expect(200).text;
        assert_eq!(check.contains(&why), host.is_none(), "{check}");
        assert!(check.contains("modules/network\">Back to the module</a>"), "{check}");
    }
}

#[tokio::test]
async fn a_configuration_file_with_another_name_is_told() {
    let w = connected().await;
    let project = project(&w, "acme/terraform-aws-network");
    let dev = w.gitlab.person("dev");
    let found = async |slug: &str| {
        let body = json!({ "project": project, "name": slug, "slug": slug });
        let got = w.post(PATH, body).await.expect(201).body;
        let all = got["findings"].as_array().unwrap().iter();
        let texts = all.map(|one| one["what"].as_str().unwrap().to_owned());
        texts.filter(|what| what.contains(".gantry")).collect::<Vec<_>>()
    };
    assert_eq!(found("one").await, [".gantry/config.yml does not exist in main"]);
    let text = "version: 1\n";
    dev.push(gantry_fake_gitlab::ProjectId(project), "main", ".gantry/config.yaml", text).unwrap();
    assert_eq!(found("two").await, [".gantry/config.yaml is not read"]);
    dev.push(gantry_fake_gitlab::ProjectId(project), "main", ".gantry/config.yml", text).unwrap();
    assert_eq!(found("three").await, [""; 0]);
}

#[tokio::test]
async fn the_page_shows_what_each_tool_reads() {
    let w = connected().await;
    let required = |name: &str| json!([{ "name": name, "required": true }]);
    let code = json!({
        "inputs": required("of_terraform"),
        "required_version": ">= 1.5",
        "required_opentofu": ">= 1.12",
        "opentofu": { "inputs": required("of_opentofu"), "providers": [{ "name": "aws" }] },
    });
    let browser = with_code(&w, "opentofu", code).await;
    let page = browser.get("/modules/network").await.expect(200).text;
    insta::assert_snapshot!(said(&page, "code"), @"Inputs and outputs | Terraform | &#62;= 1.5 | OpenTofu | &#62;= 1.12 | As OpenTofu reads it | Inputs | Name | Type | Default | Description | of_opentofu | any | required | Providers | Name | Source | Version | aws | hashicorp/aws | any | As Terraform reads it | Inputs | Name | Type | Default | Description | of_terraform | any | required");
    let usage = said(&page, "use");
    assert!(usage.contains("of_opentofu = …") && !usage.contains("of_terraform"), "{usage}");
}

#[tokio::test]
async fn what_a_tool_read_in_a_test_counts_more_than_what_is_read_here() {
    let w = connected().await;
    let code = json!({
        "inputs": [
            { "name": "lost", "required": true },
            { "name": "size", "type": "number", "default": "1.50" },
        ],
        "outputs": [{ "name": "id" }],
        "providers": [{ "name": "aws" }],
    });
    let browser = with_code(&w, "terraform", code).await;
    let module = w.stored_stack("network").await;
    let suite = gantry_domain::RunId::derive(&module.id, "tracked#1");
    let mut test = w.run(&module, "test#1", gantry_domain::run::RunState::Finished).await;
    test.run_type = gantry_domain::run::RunType::Test;
    test.delta = Some(gantry_domain::plan::Delta::default());
    let case = json!({ "name": "basic", "project_root": "examples/basic", "variables": {},
        "negative": false, "depends_on": [], "tool": null, "tool_version": null });
    test.test =
        serde_json::from_value(json!({ "suite": suite, "case": case, "tracked": true })).unwrap();
    w.save_run(&test).await;
    let entry = RunEntry {
        run: test.id.clone(),
        stack: test.stack.clone(),
        run_type: test.run_type,
        created_at: test.created_at,
    };
    let project = test.project().unwrap();
    w.put(keys::commit_run(project, &test.commit, &test.id), &entry).await;
    let planned = |tool: &str, folder: &str, name: &str| {
        json!({ "tool": tool, "folder": folder, "outputs": { "id": { "sensitive": true } }, "inputs": {
            "size": { "default": "1.5", "description": "As planned" }, name: { "required": true },
        } })
    };
    let change = json!({ "v": 1, "modules": [
        planned("terraform", "", "root"), planned("terraform", "../../", "found"),
        planned("opentofu", "../..", "found"), planned("terraform", "../other", "other"),
    ] });
    let key = gantry_objects::keys::change(&test.id, test.attempt);
    w.objects.put(&key, serde_json::to_vec(&change).unwrap().into()).await.unwrap();
    let page = browser.get("/modules/network").await.expect(200).text;
    insta::assert_snapshot!(said(&page, "code"), @"Inputs and outputs | Inputs | Name | Type | Default | Description | found | any | required | size | number | 1.50 | As planned | Outputs | Name | Description | id | sensitive | Providers | Name | Source | Version | aws | hashicorp/aws | any");
    let version = w.get(&format!("{MODULE}/versions/1.0.0")).await.expect(200).body;
    assert_eq!(version["code"]["inputs"][0]["name"], "found");
}

#[tokio::test]
async fn the_schema_of_the_configuration_is_served_to_editors() {
    let w = connected().await;
    let got = w.ask("GET", "/api/v1/module-config.schema.json", None, &[], "").await.expect(200);
    assert_eq!(got.body["properties"]["version"]["const"], 1);
}
