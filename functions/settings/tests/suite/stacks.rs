//! Stacks: made, changed, deleted.

use crate::support::{Options, World, connected, world, world_with};
use gantry_domain::{
    run::{Run, RunState},
    stack::{CommentLevel, Retired, Stack, StackHead, VariableValue},
    state::StateForm,
};
use gantry_fake_gitlab::{Person, ProjectOptions, Protection, Visibility};
use gantry_queue::{Command, Message, ProjectMessage, StackMessage};
use gantry_secrets::Sealer;
use gantry_store::{
    config::{ProjectEntry, ProjectStack, SlugEntry},
    keys,
    runner::StateVersion,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

const PATH: &str = "/api/v1/stacks";
const STACK: &str = "/api/v1/stacks/network";

fn person(w: &World) -> Person {
    let person = w.gitlab.person("alice");
    w.gitlab.set_member(w.project, person.id(), 40);
    person
}

fn findings(body: &Value) -> Vec<String> {
    let line = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        format!("{}: {}", text("level"), text("what"))
    };
    body["findings"].as_array().unwrap().iter().map(line).collect()
}

#[tokio::test]
async fn a_stack_needs_a_connection() {
    let w = world().await;
    let got = w.post(PATH, json!({ "name": "a", "project": 1 })).await.expect(409);
    assert!(got.detail().contains("PUT /api/v1/integration"));
    w.get(STACK).await.expect(404);
}

#[tokio::test]
async fn a_repository_elsewhere_needs_no_gitlab_and_runs_by_hand() {
    let w = world().await;
    let open = |name: &str, visibility| {
        let files = vec![("main.tf".to_owned(), "# main\n".to_owned())];
        let options = ProjectOptions { files, visibility, ..ProjectOptions::default() };
        let project = w.gitlab.create_project(name, options).unwrap();
        (format!("{}/{name}.git", w.gitlab.base_url()), w.gitlab.head(project, "main").unwrap())
    };
    let (url, head) = open("acme/open", Visibility::Public);
    let (closed, _) = open("acme/closed", Visibility::Private);

    let wrong = json!({ "name": "a", "provider": "git", "project": "acme/network" });
    let got = w.post(PATH, wrong).await.expect(422);
    assert!(got.error("project").contains("must start with https://"), "{}", got.text);
    let wrong = json!({ "name": "a", "provider": "git", "project": closed });
    let got = w.post(PATH, wrong).await.expect(422);
    assert!(got.error("project").contains("no public repository at this address"), "{}", got.text);

    let body = json!({ "name": "Network", "provider": "git", "project": url });
    let got = w.post(PATH, body).await.expect(201);
    assert_eq!((&got.body["provider"], &got.body["project"]), (&json!("git"), &json!(url)));
    assert_eq!(got.body["branch"], "main");
    assert_eq!(got.body["project_id"], Value::Null);
    assert_eq!(got.body["status"]["detached"], Value::Null);
    assert_eq!(
        findings(&got.body),
        [
            "ok: Everybody can read the repository",
            &format!("ok: Branch main exists and is at {}", &head[..8])
        ]
    );
    // What was answered can be sent back.
    w.send("PUT", STACK, got.body.clone()).await.expect(200);
    let got = w.post(&format!("{STACK}/webhook"), json!({})).await.expect(409);
    assert!(got.detail().contains("started by hand"), "{}", got.text);

    w.sent();
    w.post(&format!("{STACK}/runs"), json!({})).await.expect(202);
    let sent = w.sent();
    let commit = match &sent[..] {
        [
            Message::Stack(StackMessage::Command {
                command: Command::Trigger { commit, .. }, ..
            }),
        ] => commit.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(commit.unwrap().as_str(), head, "the head at that moment is what is run");
    let other = json!({ "commit": "1".repeat(40) });
    let got = w.post(&format!("{STACK}/runs"), other).await.expect(409);
    assert!(got.detail().contains("Only that commit"), "{}", got.text);
    w.send("PUT", STACK, json!({ "branch": "gone" })).await.expect(200);
    let got = w.post(&format!("{STACK}/runs"), json!({})).await.expect(409);
    assert!(got.detail().contains("gone does not exist"), "{}", got.text);

    // It can move to GitLab, and back.
    w.connect().await.expect(200);
    let project = json!({ "provider": "gitlab", "project": "acme/network", "branch": "main" });
    w.send("PUT", STACK, project).await.expect(200);
    let stack = w.stored_stack("network").await;
    assert_eq!(w.store.stacks_of_project(stack.project().unwrap()).await.unwrap().len(), 1);
    w.send("PUT", STACK, json!({ "provider": "git", "project": url })).await.expect(200);
    assert!(w.store.stacks_of_project(stack.project().unwrap()).await.unwrap().is_empty());
    w.send("DELETE", STACK, json!({})).await.expect(200);
}

#[tokio::test]
async fn making_one_says_what_was_found_and_writes_all_its_places() {
    let w = connected().await;
    person(&w).push(w.project, "main", "infra/net/main.tf", "").unwrap();
    w.sent();
    let body = json!({
        "name": "Network: eu", "project": w.project.0, "project_root": "/infra/net/",
        "variables": [
            { "name": "REGION", "value": "eu" },
            { "name": "TOKEN", "value": "hush", "secret": true, "runs": "all" },
        ],
    });
    let got = w.post(PATH, body).await.expect(201);
    assert_eq!(got.headers["location"], "/api/v1/stacks/network-eu");
    assert_eq!(got.body["project"], "acme/network");
    assert_eq!(got.body["branch"], "main");
    assert_eq!(got.body["project_root"], "infra/net");
    assert_eq!(got.body["variables"][1], json!({ "name": "TOKEN", "secret": true, "runs": "all" }));
    assert!(!got.text.contains("hush"));
    insta::assert_snapshot!(findings(&got.body).join("\n"), @r#"
    warning: The secret TOKEN cannot be masked
    ok: project_1_bot_abc has the role Maintainer
    ok: Gantry may create the project's webhook
    ok: CI/CD is on
    warning: "Pipelines must succeed" is off
    ok: Branch main is protected; Gantry's user may push to it
    ok: Folder infra/net exists
    ok: Environment gantry/network-eu is not protected
    warning: Secrets available to all runs: TOKEN
    "#);
    let stack = w.stored_stack("network-eu").await;
    let VariableValue::Sealed(sealed) = &stack.variables[1].value else { panic!() };
    let opened = Sealer::new(&"sealing".into()).open(&stack.id, "TOKEN", sealed).unwrap();
    assert_eq!(opened.expose_secret(), "hush");
    let place = keys::project_stack(stack.project().unwrap(), &stack.id);
    let place = w.store.get::<ProjectStack>(&place).await.unwrap().unwrap();
    assert_eq!(place.value.branch, "main");
    let entry = w
        .store
        .get::<ProjectEntry>(&keys::project(stack.project().unwrap()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(entry.value.path, "acme/network");
    let sent = w.sent();
    assert!(
        matches!(&sent[..], [Message::Project(ProjectMessage::StackChanged { stack: id, .. })] if *id == stack.id),
        "{sent:?}"
    );
    assert!(w.gitlab.unknown_requests().is_empty());
}

#[tokio::test]
async fn earlier_secret_values_are_kept_until_an_apply_without_them() {
    let w = connected().await;
    let stack = w.stack().await;
    let secret = |name: &str, value: Option<&str>| match value {
        Some(value) => json!({ "name": name, "value": value, "secret": true, "runs": "tracked" }),
        None => json!({ "name": name, "secret": true, "runs": "tracked" }),
    };
    let save = async |variables: Value| {
        let got = w.send("PUT", STACK, json!({ "variables": variables })).await.expect(200);
        assert!(!got.text.contains("retired") && !got.text.contains("sealed"), "{}", got.text);
        let kept = w.stored_stack("network").await.retired;
        let sealer = Sealer::new(&"sealing".into());
        let open = |kept: &Retired| {
            let value = sealer.open(&stack.id, &kept.name, &kept.sealed).unwrap();
            format!("{}={}", kept.name, value.expose_secret())
        };
        kept.iter().map(open).collect::<Vec<_>>()
    };
    assert_eq!(
        save(json!([secret("A", Some("first-a")), secret("B", Some("first-b"))])).await,
        [""; 0]
    );
    assert_eq!(save(json!([secret("A", None), secret("B", None)])).await, [""; 0]);
    // Replaced; renamed; made plain.
    assert_eq!(
        save(json!([secret("A", Some("second-a")), secret("B", None)])).await,
        ["A=first-a"]
    );
    let all = ["A=first-a", "B=first-b"];
    assert_eq!(save(json!([secret("A", None), secret("C", Some("first-b"))])).await, all);
    let plain = json!({ "name": "C", "value": "shown" });
    let all = ["A=first-a", "B=first-b", "C=first-b"];
    assert_eq!(save(json!([secret("A", None), plain])).await, all);

    // A run that was made before has been applied, and then one that was made after.
    let since = w.stored_stack("network").await.retired[0].since;
    let run = w.run(&stack, "k1", RunState::Finished).await;
    let applied = async |created_at| {
        w.save_run(&Run { created_at, ..run.clone() }).await;
        let last_whole = Some(run.id.clone());
        w.set_head(&stack.id, StackHead { last_whole, ..StackHead::default() }).await;
    };
    applied(since).await;
    assert_eq!(save(json!([secret("A", None)])).await, all);
    applied(since + jiff::SignedDuration::from_hours(1)).await;
    // The state may hold them even so, until others need the room.
    assert_eq!(save(json!([secret("A", None)])).await, all);
    let long = |letter: &str| letter.repeat(60 * 1024);
    save(json!([secret("A", None), secret("L", Some(&long("x")))])).await;
    let with_long = save(json!([secret("A", None)])).await;
    let with = format!("L={}", long("x"));
    assert_eq!(with_long, [&all[..], &[with.as_str()]].concat());
    let since = w.stored_stack("network").await.retired[3].since;
    applied(since + jiff::SignedDuration::from_hours(1)).await;
    save(json!([secret("A", None), secret("L", Some(&long("y")))])).await;
    assert_eq!(save(json!([secret("A", None)])).await, [format!("L={}", long("y"))]);
}

#[tokio::test]
async fn a_secret_that_cannot_be_masked_is_said_so() {
    let w = connected().await;
    w.stack().await;
    let secret = |name: &str, value: &str| json!({ "name": name, "value": value, "secret": true, "runs": "tracked" });
    let variables = json!([
        secret("PIN", "4711"),
        secret("DB", r#"{"user":"app","pin":4711}"#),
        secret("GOOD", r#"{"user":"app","password":"correct-horse-1"}"#),
    ]);
    let got = w.send("PUT", STACK, json!({ "variables": variables })).await.expect(200);
    insta::assert_snapshot!(serde_json::to_string_pretty(&got.body["findings"]).unwrap(), @r#"
    [
      {
        "level": "warning",
        "what": "The secret PIN cannot be masked",
        "meaning": "The value has fewer than 6 characters, so it is not hidden in logs, plans and comments."
      },
      {
        "level": "warning",
        "what": "The secret DB cannot be masked",
        "meaning": "The value is a document in which no single value has 6 or more characters. Only the document as a whole is hidden in logs, plans and comments; the values inside it are not."
      }
    ]
    "#);
}

#[tokio::test]
async fn what_the_code_means_for_the_state_is_said() {
    let w = connected().await;
    let gcs = "terraform {\n  backend \"gcs\" {}\n}\n";
    person(&w).push(w.project, "main", "infra/net/backend.tf", gcs).unwrap();
    let warnings = |body: &Value| {
        let found = body["findings"].as_array().unwrap().iter();
        let texts = found.filter(|f| f["what"].as_str().unwrap().starts_with("The code "));
        texts.map(|f| f["meaning"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let body = json!({ "name": "Network", "project": "acme/network", "project_root": "infra/net" });
    let got = w.post(PATH, body).await.expect(201).body;
    insta::assert_snapshot!(warnings(&got).join("\n"), @r#"backend "gcs" in backend.tf line 2 is ignored because Gantry stores the state of this stack. If that backend holds a state, import it first, or set manage_state to false"#);
    let own = json!({ "manage_state": false });
    let got = w.send("PUT", STACK, own).await.expect(200).body;
    assert!(warnings(&got).is_empty());
    let got = w.send("PUT", STACK, json!({ "project_root": "infra" })).await.expect(200).body;
    assert!(findings(&got).contains(&"warning: Runs will be refused".to_owned()), "{got}");
    let got = w.send("PUT", STACK, json!({ "tool": "opentofu" })).await.expect(200).body;
    assert_eq!(findings(&got), ["warning: The tool is now tofu"]);
    let asks = "terraform {\n  required_version = \"< 1.0\"\n}\n";
    person(&w).push(w.project, "main", "infra/net/versions.tf", asks).unwrap();
    let unenforced = "warning: The code has a version constraint that nothing enforces".to_owned();
    for (tool, version, told) in [
        ("opentofu", json!(null), true),
        ("opentofu", json!("1.11.0"), false),
        ("terraform", json!(null), false),
    ] {
        let body = json!({ "tool": tool, "tool_version": version, "project_root": "infra/net" });
        let got = w.send("PUT", STACK, body).await.expect(200).body;
        assert_eq!(findings(&got).contains(&unenforced), told, "{tool} {version}: {got}");
    }
    assert!(w.gitlab.unknown_requests().is_empty());
}

#[tokio::test]
async fn what_will_not_work_is_said_and_prevents_nothing() {
    let project = ProjectOptions {
        visibility: Visibility::Public,
        builds_enabled: false,
        protected_branches: vec![Protection::no_push("main")],
        ..ProjectOptions::default()
    };
    let w = world_with(Options { project, public_url: None, ..Options::default() }).await;
    w.connect().await.expect(200);
    w.gitlab.set_member(w.project, w.bot, 20);
    let body = json!({ "name": "Network", "project": "acme/network", "project_root": "nowhere" });
    let got = w.post(PATH, body).await.expect(201).body;
    insta::assert_snapshot!(findings(&got).join("\n"), @r#"
    warning: project_1_bot_abc has the role Reporter
    warning: Only Maintainers may create the project's webhook
    warning: CI/CD is off
    warning: "Pipelines must succeed" is off
    warning: Branch main is protected; Gantry's user may not see the rules
    warning: Folder nowhere does not exist in main
    warning: Gantry's user may not read who may deploy to gantry/network
    ok: The project is public; comments show counts only
    "#);
    assert_eq!(got["comment"], "summary");
    assert!(got["note"].as_str().unwrap().contains("GitLab cannot reach Gantry"));
    let body =
        json!({ "name": "b", "project": "acme/network", "branch": "later", "comment": "full" });
    let got = w.post(PATH, body).await.expect(201).body;
    insta::assert_snapshot!(findings(&got).join("\n"), @r#"
    warning: project_1_bot_abc has the role Reporter
    warning: Only Maintainers may create the project's webhook
    warning: CI/CD is off
    warning: "Pipelines must succeed" is off
    warning: Branch later does not exist
    warning: Gantry's user may not read who may deploy to gantry/b
    warning: The project is public, and comments show every change
    "#);
}

#[tokio::test]
async fn everything_wrong_is_said_in_one_answer() {
    let w = connected().await;
    w.stack().await;
    let body = json!({
        "name": "Network", "project": "acme/other", "tool": "pulumi", "branch": "a b",
        "variables": [{ "name": "A", "secret": true }], "colour": "red",
    });
    let got = w.post(PATH, body).await.expect(422);
    let said = got.body["errors"].as_object().unwrap().iter();
    let said: Vec<_> = said.map(|(field, problem)| format!("{field} {problem}")).collect();
    let said = said.join("\n").replace(w.gitlab.base_url(), "GITLAB");
    insta::assert_snapshot!(said, @r#"
    branch "Not a valid branch name; patterns are not supported"
    colour "Unknown field; allowed: name, slug, provider, project, branch, project_root, comment, description, var_files, tool, tool_version, pool, plan_role, allow_forks, labels, timeouts, levels, project_globs, apply_role, autodeploy, approvals, require_merge_request_approval, on_push, on_tag, tracked_queue, mention, comment_commands, local_previews, manage_state, drift, schedules, replan, hooks, variables, version"
    name "The name gives the slug network, which is already taken. Enter a slug as well."
    project "Not found at GITLAB, or not visible to the user project_1_bot_abc. Make it a member of the project."
    tool "Must be terraform or opentofu"
    variables[0].runs "Choose which runs get the secret. all: previews get it too, and a plan executes the branch's code, so anyone who can push can read it. tracked: only runs of the tracked branch get it."
    variables[0].value "Enter a value. There is no secret value to keep."
    "#);
}

#[tokio::test]
async fn a_slug_stays_reserved() {
    let w = connected().await;
    w.stack().await;
    let body = json!({ "name": "x", "slug": "network", "project": "acme/network" });
    let got = w.post(PATH, body.clone()).await.expect(409);
    assert!(got.error("slug").contains("is already taken. Choose"));
    w.send("DELETE", STACK, json!({})).await.expect(200);
    w.get(STACK).await.expect(404);
    let got = w.post(PATH, body).await.expect(409);
    assert!(got.error("slug").contains("stays reserved"), "{}", got.text);
    let list = w.get(PATH).await.expect(200).body;
    assert_eq!(list["stacks"], json!([]));
}

/// The name gives the slug where none is sent.
#[tokio::test]
async fn a_slug_that_was_not_sent_is_not_what_is_wrong() {
    let w = connected().await;
    w.stack().await;
    let body = json!({ "name": "Network", "project": "acme/network" });
    let got = w.post(PATH, body.clone()).await.expect(409);
    let said = "The name gives the slug network, which is already taken. Enter a slug as well.";
    assert_eq!(got.body["errors"], json!({ "name": said }));
    assert_eq!(got.detail(), format!("Nothing was created. {said}"));
    w.send("DELETE", STACK, json!({})).await.expect(200);
    let got = w.post(PATH, body).await.expect(409);
    assert!(got.error("name").contains("reserved for a deleted stack"), "{}", got.text);
    let also = json!({ "name": "Network", "project": "acme/network", "colour": "red" });
    let got = w.post(PATH, also).await.expect(422);
    assert!(got.error("name").contains("gives the slug network"), "{}", got.text);
    let body = json!({ "name": "Network", "slug": "A B", "project": "acme/network" });
    assert!(!w.post(PATH, body).await.expect(422).error("slug").is_empty());
    let body = json!({ "name": "Network", "slug": "network-2", "project": "acme/network" });
    w.post(PATH, body).await.expect(201);
}

#[tokio::test]
async fn a_glob_that_matches_nothing_is_refused_or_told() {
    let w = connected().await;
    let files = [("modules/vpc/main.tf", Some("")), ("Makefile", Some("all:\n"))];
    person(&w).push_files(w.project, "main", &files, "Modules").unwrap();
    let globs = ["../../modules/**/*.tf", "./modules/**", "modules/", "modules\\**", "!a/**"];
    let body = json!({
        "name": "Network", "project": "acme/network", "project_root": "live/net",
        "project_globs": globs, "on_tag": { "pattern": "refs/tags/v*", "run": "tracked" },
    });
    let got = w.post(PATH, body).await.expect(422);
    for (field, said) in [
        ("project_globs[0]", " Use modules/**/*.tf instead."),
        ("project_globs[1]", " Use modules/** instead."),
        ("project_globs[2]", " Use modules/** instead."),
        ("project_globs[3]", " Use modules/** instead."),
        ("project_globs[4]", "List the paths that count."),
        ("on_tag.pattern", "v*"),
    ] {
        let problem = got.error(field);
        assert!(problem.ends_with(said), "{field}: {problem}");
    }
    let globs = ["modules/**/*.tf", "modules", "Makefile", "**/*.tf", "module/**", "*.yml"];
    let body = json!({ "name": "Network", "project": "acme/network", "project_globs": globs });
    let got = w.post(PATH, body).await.expect(201).body;
    let idle = |body: &Value| {
        let mut found = findings(body);
        found.retain(|finding| finding.contains("Glob"));
        found
    };
    let without = |glob: &str| format!("warning: Glob {glob} matches no file in main");
    assert_eq!(idle(&got), [without("module/**"), without("*.yml")]);
    for (glob, told) in [("modul/**", true), ("modules/*", true), ("modules", false)] {
        let got = w.send("PUT", STACK, json!({ "project_globs": [glob] })).await.expect(200);
        let expected = if told { vec![without(glob)] } else { Vec::new() };
        assert_eq!(idle(&got.body), expected, "{glob}");
    }
    assert!(w.gitlab.unknown_requests().is_empty());
}

/// Commits with git itself, which makes links.
async fn commit_with_git(w: &World, script: &str) {
    let url = w.gitlab.clone_url(w.project);
    let url = url.replace("http://", &format!("http://oauth2:{}@", w.token));
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "set -e; export GIT_CONFIG_GLOBAL=/dev/null; git clone -q {url} work; cd work; {script}; \
         git add -A; git -c user.name=a -c user.email=a@example.com commit -qm change; \
         git push -q origin HEAD:main"
    );
    let mut shell = tokio::process::Command::new("sh");
    let done = shell.arg("-c").arg(script).current_dir(folder.path()).output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn what_a_stack_does_not_get_of_its_repository_is_told() {
    let w = connected().await;
    commit_with_git(
        &w,
        "mkdir -p envs/prod/net && echo > envs/prod/net/main.tf && ln -s envs live && \
         ln -s envs/prod/net net && printf '/tests export-ignore\\n' > .gitattributes && \
         printf 'version.txt export-subst\\n' > envs/prod/.gitattributes",
    )
    .await;
    let seen = async |root: &str| {
        let slug = format!("at-{}", root.replace(['/', '.'], "-"));
        let body = json!({
            "name": slug, "slug": slug, "project": "acme/network", "project_root": root,
        });
        let mut found = findings(&w.post(PATH, body).await.expect(201).body);
        found.retain(|one| ["Folder", "link", "file", "archives"].iter().any(|w| one.contains(w)));
        found.join("\n")
    };
    insta::assert_snapshot!(seen("envs/prod/net").await, @"
    ok: Folder envs/prod/net exists
    warning: .gitattributes excludes from archives: /tests
    warning: envs/prod/.gitattributes substitutes text in archives: version.txt
    ");
    insta::assert_snapshot!(seen("net").await, @"
    warning: net is a symbolic link
    warning: .gitattributes excludes from archives: /tests
    ");
    insta::assert_snapshot!(seen("live/prod/net").await, @"
    warning: live is a symbolic link
    warning: .gitattributes excludes from archives: /tests
    ");
    insta::assert_snapshot!(seen("envs/prod/net/main.tf").await, @"
    warning: envs/prod/net/main.tf is a file
    warning: .gitattributes excludes from archives: /tests
    warning: envs/prod/.gitattributes substitutes text in archives: version.txt
    ");
    assert!(w.gitlab.unknown_requests().is_empty());
}

#[tokio::test]
async fn names_of_variables_that_terraform_takes_are_taken() {
    let w = connected().await;
    w.stack().await;
    let plain = json!({ "name": "TF_VAR_my-var", "value": "a", "secret": false, "runs": "all" });
    let variables = json!([
        plain,
        { "name": "TF_VAR_größe", "value": "hush-hush", "secret": true, "runs": "all" },
        { "name": "TF_WORKSPACE", "value": "default" },
    ]);
    let got = w.send("PUT", STACK, json!({ "variables": variables })).await.expect(200);
    assert_eq!(got.body["variables"][0], plain);
    let workspace = |value: &str| json!([{ "name": "TF_WORKSPACE", "value": value }]);
    let got = w.send("PUT", STACK, json!({ "variables": workspace("prod") })).await.expect(422);
    assert!(got.error("variables[0].name").contains("without workspaces"), "{}", got.text);
    let own = json!({ "variables": workspace("prod"), "manage_state": false });
    w.send("PUT", STACK, own).await.expect(200);
    let got = w.send("PUT", STACK, json!({ "manage_state": true })).await.expect(422);
    assert!(got.error("variables[0].name").contains("manage_state"), "{}", got.text);
}

#[tokio::test]
async fn arguments_for_every_command_that_some_refuse_are_told() {
    let w = connected().await;
    w.stack().await;
    for (arguments, told) in [
        ("-no-color -lock-timeout=1m", None),
        ("-var-file=prod.tfvars", Some("warning: The variable TF_CLI_ARGS has -var-file")),
        (
            "-target a.b -parallelism=1",
            Some("warning: The variable TF_CLI_ARGS has -target -parallelism"),
        ),
    ] {
        let variables = json!([{ "name": "TF_CLI_ARGS", "value": arguments }]);
        let got = w.send("PUT", STACK, json!({ "variables": variables })).await.expect(200).body;
        assert_eq!(findings(&got), told.map(str::to_owned).into_iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn of_two_at_once_one_gets_the_slug() {
    let w = connected().await;
    let body = json!({ "name": "Network", "project": "acme/network" });
    let (one, two) = tokio::join!(w.post(PATH, body.clone()), w.post(PATH, body));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    assert_eq!(w.get(PATH).await.expect(200).body["stacks"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_left_out_stays() {
    let w = connected().await;
    let body = json!({
        "name": "Network", "project": "acme/network", "labels": ["prod"], "autodeploy": true,
        "on_tag": { "pattern": "v*", "run": "tracked" },
        "variables": [{ "name": "TOKEN", "value": "hush", "secret": true, "runs": "tracked" }],
    });
    let made = w.post(PATH, body).await.expect(201).body;
    let sealed = w.stored_stack("network").await.variables;
    // What was read can be sent back as it is.
    let read = w.get(STACK).await.expect(200);
    assert_eq!(read.headers["etag"], "\"1\"");
    let got = w.send("PUT", STACK, read.body).await.expect(200).body;
    assert_eq!((&got["version"], &got["labels"]), (&json!(2), &made["labels"]));
    assert_eq!(w.stored_stack("network").await.variables, sealed);
    let got =
        w.send("PUT", STACK, json!({ "autodeploy": false, "on_tag": null })).await.expect(200);
    assert_eq!(got.body["autodeploy"], false);
    assert_eq!(got.body["on_tag"], json!(null));
    assert_eq!(got.body["labels"], json!(["prod"]));
    let w2: Stack = w.stored_stack("network").await;
    assert_eq!(w2.variables, sealed);
    let done = w.activities().await;
    let line = |outcome: &str| done.iter().any(|done| done.2 == outcome);
    assert!(line("changed autodeploy, on_tag") && line("changed nothing"), "{done:?}");
    assert!(w.gitlab.unknown_requests().is_empty());
}

#[tokio::test]
async fn variable_files_stay_in_the_repository_when_the_root_moves() {
    let w = connected().await;
    w.stack().await;
    let body =
        json!({ "project_root": "infra/net", "var_files": ["./eu.tfvars", "../../a.tfvars"] });
    let got = w.send("PUT", STACK, body).await.expect(200).body;
    assert_eq!(got["var_files"], json!(["eu.tfvars", "../../a.tfvars"]));
    assert_eq!(w.stored_stack("network").await.settings.var_files, ["eu.tfvars", "../../a.tfvars"]);
    let got = w.send("PUT", STACK, json!({ "project_root": "infra" })).await.expect(422);
    assert!(got.error("var_files[1]").contains("inside the repository"), "{}", got.text);
    let many = json!({ "var_files": vec!["a"; 21] });
    let got = w.send("PUT", STACK, many).await.expect(422);
    assert!(got.error("var_files").contains("21 entries"), "{}", got.text);
}

#[tokio::test]
async fn a_secret_cannot_be_read_by_making_it_plain() {
    let w = connected().await;
    w.stack().await;
    let variables = |variables: Value| w.send("PUT", STACK, json!({ "variables": variables }));
    let new = variables(json!([{ "name": "A", "secret": true, "runs": "all" }])).await.expect(422);
    assert!(new.error("variables[0].value").contains("no secret value to keep"));
    let secret = json!([{ "name": "A", "value": "hush", "secret": true, "runs": "all" }]);
    variables(secret).await.expect(200);
    let got = variables(json!([{ "name": "A", "secret": false }])).await.expect(422);
    assert_eq!(got.error("variables[0].value"), "Enter a value.");
    variables(json!([])).await.expect(200);
    assert!(w.stored_stack("network").await.variables.is_empty());
}

#[tokio::test]
async fn a_change_is_based_on_what_was_read() {
    let w = connected().await;
    w.stack().await;
    w.send("PUT", STACK, json!({ "version": 1, "autodeploy": true })).await.expect(200);
    w.send("PUT", STACK, json!({ "version": 1, "autodeploy": false })).await.expect(409);
    let admin = Some(w.admin.as_str());
    let change = async |tag: &str| {
        w.ask("PUT", STACK, admin, &[("if-match", tag)], r#"{"autodeploy": false}"#).await
    };
    change("\"1\"").await.expect(409);
    change("\"2\"").await.expect(200);
    let got = w.send("PUT", STACK, json!({ "slug": "other" })).await.expect(422);
    assert!(got.error("slug").contains("Cannot be changed"));
}

#[tokio::test]
async fn its_place_changes_only_while_nothing_tracked_is_unfinished() {
    let w = connected().await;
    let stack = w.stack().await;
    let busy = StackHead { tracked: Some("r1".parse().unwrap()), ..StackHead::default() };
    w.set_head(&stack.id, busy).await;
    for change in [
        json!({ "branch": "other" }),
        json!({ "project_root": "infra" }),
        json!({ "manage_state": false }),
    ] {
        let got = w.send("PUT", STACK, change).await.expect(409);
        assert!(got.detail().contains("run r1"), "{}", got.detail());
    }
    w.send("DELETE", STACK, json!({})).await.expect(409);
    w.send("PUT", STACK, json!({ "autodeploy": true })).await.expect(200);
    w.set_head(&stack.id, StackHead::default()).await;
    w.sent();
    let other = w.gitlab.create_project("acme/other", ProjectOptions::default()).unwrap();
    w.gitlab.set_member(other, w.bot, 40);
    let got = w.send("PUT", STACK, json!({ "project": "acme/other", "branch": "x" })).await;
    let got = got.expect(200).body;
    assert_eq!((&got["project_id"], &got["branch"]), (&json!(other.0), &json!("x")));
    assert!(findings(&got).contains(&"warning: Branch x does not exist".to_owned()));
    let places = async |project| {
        let partition = keys::project_stacks(project);
        w.store.query_all::<ProjectStack>(&partition, "").await.unwrap().len()
    };
    let (old, new) = (stack.project().unwrap(), gantry_domain::ProjectId(other.0));
    let told: Vec<_> = w
        .sent()
        .into_iter()
        .map(|message| match message {
            Message::Project(ProjectMessage::StackChanged { project, .. }) => project,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [old, new]);
    assert_eq!((places(old).await, places(new).await), (0, 1));
}

#[tokio::test]
async fn a_state_with_resources_is_not_dropped_by_accident() {
    let w = connected().await;
    let stack = w.stack().await;
    let state = StateVersion {
        number: 1,
        serial: 1,
        lineage: "l".to_owned(),
        digest: "d".to_owned(),
        object: "o".to_owned(),
        size: 1,
        resources: Some(3),
        form: StateForm::Plain,
        run: None,
        by: "r".to_owned(),
        rescued: false,
        found: false,
        at: w.clock.now(),
    };
    w.put(keys::state(&stack.id), &state).await;
    let got = w.send("DELETE", STACK, json!({})).await.expect(409);
    assert!(got.detail().contains("3 resources"));
    let hidden = StateVersion { resources: None, form: StateForm::Encrypted, ..state.clone() };
    w.put(keys::state(&stack.id), &hidden).await;
    let got = w.send("DELETE", STACK, json!({})).await.expect(409);
    assert!(got.detail().contains("(encrypted by OpenTofu)"), "{}", got.detail());
    w.put(keys::state(&stack.id), &state).await;
    w.send("DELETE", &format!("{STACK}?state=burn"), json!({})).await.expect(422);
    let got = w.send("DELETE", &format!("{STACK}?state=keep"), json!({})).await.expect(200).body;
    assert!(got["meaning"].as_str().unwrap().contains("kept for 30 days"));
    let slug = keys::slug(&stack.slug);
    assert!(w.store.get::<SlugEntry>(&slug).await.unwrap().unwrap().value.deleted);
    assert!(w.store.stacks_of_project(stack.project().unwrap()).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_list_comes_in_pages() {
    let w = connected().await;
    for name in ["c", "a", "d", "b"] {
        let body = json!({ "name": name, "project": "acme/network", "comment": "none" });
        w.post(PATH, body).await.expect(201);
    }
    assert_eq!(w.stored_stack("a").await.settings.comment, CommentLevel::None);
    let mut slugs = Vec::new();
    let mut path = format!("{PATH}?limit=3");
    loop {
        let page = w.get(&path).await.expect(200).body;
        let stacks = page["stacks"].as_array().unwrap();
        slugs.extend(stacks.iter().map(|stack| stack["slug"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => path = format!("{PATH}?limit=3&after={next}"),
            None => break,
        }
    }
    assert_eq!(slugs, ["a", "b", "c", "d"]);
}
