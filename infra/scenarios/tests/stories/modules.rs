//! Modules: their tests run, and versions are made of what passed.

use gantry_scenarios::{
    Mode, Planned, Secure, StackOptions, World, run_test_in, run_test_on, story,
    story_on_each_tool, with_files,
};
use gantry_terraform::on_each_tool;
use reqwest::Method;
use serde_json::{Value, json};

/// A module that refuses the name "bad", and fails to be applied with the name "worse".
const MODULE: &str = r#"
variable "name" {
  type    = string
  default = "good"
  validation {
    condition     = var.name != "bad"
    error_message = "The name must not be bad."
  }
}

resource "terraform_data" "made" {
  input = var.name
  provisioner "local-exec" {
    command = "test ${var.name} != worse"
  }
}

output "name" {
  value = terraform_data.made.output
}
"#;

const CONFIG: &str = "\
version: 1
module_version: 1.0.0
tests:
  - name: basic
  - name: refuses
    negative: true
    variables: { TF_VAR_name: bad }
  - name: after
    depends_on: [basic]
";

async fn module(w: &mut World, files: &[(&str, &str)]) -> gantry_fake_gitlab::ProjectId {
    let project = w.plain_project("acme/terraform-aws-network");
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(*text))).collect();
    w.dev.push_files(project, "main", &files, "The module").unwrap();
    let (status, answer) = w
        .api(Method::POST, "/modules", Some(json!({ "project": project.0, "tool": w.tool })))
        .await;
    assert!(status.is_success(), "the module was refused: {answer}");
    assert_eq!(
        (&answer["name"], &answer["terraform_provider"]),
        (&json!("network"), &json!("aws"))
    );
    if !w.is_without_webhooks() {
        let (status, answer) =
            w.api(Method::POST, "/stacks/network/webhook", Some(json!({}))).await;
        assert!(status.is_success(), "the webhook was refused: {answer}");
    }
    w.settle().await;
    project
}

async fn versions(w: &mut World) -> Vec<String> {
    let (status, answer) = w.api(Method::GET, "/modules/network/versions", None).await;
    assert!(status.is_success(), "{answer}");
    let word = |version: &Value, name: &str| version[name].as_str().unwrap_or("?").to_owned();
    let versions = answer["versions"].as_array().unwrap();
    versions.iter().map(|v| format!("{} {}", word(v, "version"), word(v, "state"))).collect()
}

story_on_each_tool!(a_merge_request_is_tested_and_its_merge_makes_a_version, |mut w| async move {
    let project = module(&mut w, &[("main.tf", "# Nothing yet.\n")]).await;
    w.with_real_runners();
    let files = [("main.tf", Some(MODULE)), (".gantry/config.yml", Some(CONFIG))];
    let commit = w.dev.push_files(project, "topic", &files, "Begin").unwrap();
    let iid = w.open(project, "topic").await;
    w.expect_status(project, &commit, "gantry/network/basic", "success: Passed");
    w.expect_status(
        project,
        &commit,
        "gantry/network/refuses",
        "success: Failed as expected: Invalid value for variable",
    );
    w.expect_status(project, &commit, "gantry/network/after", "success: Passed");
    w.expect_status(
        project,
        &commit,
        "gantry/network",
        "success: 3 tests passed; merging creates version 1.0.0",
    );
    w.expect_status(project, &commit, "gantry", "success: 3 tests passed");
    let note = w.note(project, iid);
    assert!(note.contains("merging creates version 1.0.0"), "{note}");
    assert!(note.contains("network/refuses"), "{note}");
    assert!(versions(&mut w).await.is_empty(), "a merge request makes no version");

    w.dev.merge(project, iid).unwrap();
    w.catch_up().await;
    let merged = w.gitlab.head(project, "main").unwrap();
    w.expect_status(
        project,
        &merged,
        "gantry/network",
        "success: 3 tests passed; version 1.0.0 created",
    );
    assert_eq!(versions(&mut w).await, ["1.0.0 active"]);
    let (_, version) = w.api(Method::GET, "/modules/network/versions/1.0.0", None).await;
    assert_eq!(version["tests"].as_array().unwrap().len(), 3, "{version:#}");
    assert_eq!(version["code"]["inputs"][0]["name"], "name", "{version:#}");
    let (_, module) = w.api(Method::GET, "/modules/network", None).await;
    assert_eq!(module["current"], "1.0.0");
    assert!(w.gitlab.environments(project).is_empty(), "a module is deployed nowhere");

    // The number is not used again.
    let next = w.push(project, "main", "README.md", "# Network\n").await;
    w.expect_status(
        project,
        &next,
        "gantry/network",
        "success: 3 tests passed; version 1.0.0 already exists",
    );
    assert_eq!(versions(&mut w).await, ["1.0.0 active"]);
    w
});

story_on_each_tool!(a_stack_uses_a_module_through_the_registry, |mut w| async move {
    let config = "version: 1\nmodule_version: 1.0.0\n";
    let files = [("main.tf", MODULE), (".gantry/config.yml", config)];
    let project = module(&mut w, &files).await;
    w.push(project, "main", "README.md", "# Network\n").await;
    let newer = "version: 1\nmodule_version: 1.1.0\n";
    w.push(project, "main", ".gantry/config.yml", newer).await;
    let older = "version: 1\nmodule_version: 2.0.0\n";
    w.push(project, "main", ".gantry/config.yml", older).await;
    assert_eq!(versions(&mut w).await, ["2.0.0 active", "1.1.0 active", "1.0.0 active"]);
    w.order("/modules/network/versions/1.1.0/yank", json!({ "note": "it leaks" })).await;

    w.with_real_runners();
    let office = w.plain_project("acme/office");
    w.stack(office, "office", "infra", StackOptions::default()).await;
    let code = format!(
        "module \"net\" {{\n  source  = \"{}/acme/network/aws\"\n  version = \"~> 1.0\"\n  \
         name    = \"office\"\n}}\n\noutput \"name\" {{\n  value = module.net.name\n}}\n",
        w.host()
    );
    let commit = w.push(office, "main", "infra/main.tf", &code).await;
    w.expect_status(office, &commit, "gantry/office", "running: 1 to add");
    let run = w.run_in("office", "unconfirmed").await;
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
    w.expect_status(office, &commit, "gantry/office", "success: Applied: 1 added");
    let (_, log) = w.api(Method::GET, &format!("/runs/{run}/log"), None).await;
    let log = log.to_string();
    assert!(log.contains("acme/network/aws 1.0.0 for net"), "the yanked one is left out: {log}");
    w
});

story_on_each_tool!(
    what_a_failed_test_made_is_destroyed_and_what_depends_on_it_is_skipped,
    |mut w| async move {
        let project = module(&mut w, &[("main.tf", "# Nothing yet.\n")]).await;
        w.with_real_runners();
        let config = "version: 1\nmodule_version: 2.0.0\ntests:\n  - name: broken\n    variables: { \
                  TF_VAR_name: worse }\n  - name: after\n    depends_on: [broken]\n";
        let files = [("main.tf", Some(MODULE)), (".gantry/config.yml", Some(config))];
        let commit = w.dev.push_files(project, "main", &files, "Broken").unwrap();
        w.catch_up().await;
        w.expect_status(project, &commit, "gantry/network/broken", "failed: Apply failed: ");
        w.expect_status(
            project,
            &commit,
            "gantry/network/after",
            "canceled: Skipped: broken failed",
        );
        w.expect_status(
            project,
            &commit,
            "gantry/network",
            "failed: 1 of 2 tests failed: broken; 1 skipped",
        );
        w.expect_status(project, &commit, "gantry", "failed: 1 of 2 tests failed: network/broken");
        assert_eq!(versions(&mut w).await, ["2.0.0 failed"]);

        // Another commit may take the number.
        let config = "version: 1\nmodule_version: 2.0.0\n";
        let next = w.push(project, "main", ".gantry/config.yml", config).await;
        w.expect_status(project, &next, "gantry/network", "success: No tests; version 2.0.0");
        w.expect_status(project, &next, "gantry", "success: 1 module passed");
        assert_eq!(versions(&mut w).await, ["2.0.0 active"]);
        w
    }
);

story!(a_bad_configuration_is_a_failed_status_with_line_and_reason, |mut w| async move {
    let project = module(&mut w, &[("main.tf", MODULE)]).await;
    let bad: [(&str, &[u8], &str); 7] = [
        ("empty", b"", "is empty"),
        ("text", b"version: 1\ntests: 3\n", "line 2"),
        ("unknown", b"version: 1\nteests: []\n", "teests"),
        ("utf", b"version: 1\n# \xff\n", "UTF-8"),
        (
            "cycle",
            b"version: 1\ntests:\n  - { name: a, depends_on: [b] }\n  - { name: b, depends_on: [a] }\n",
            "→",
        ),
        ("twice", b"version: 1\ntests:\n  - { name: a }\n  - { name: a }\n", "line 4"),
        ("large", &[b'#'; 1_000_000], "the limit is 65536"),
    ];
    let missing = w.push(project, "main", "README.md", "# Without\n").await;
    w.expect_status(
        project,
        &missing,
        "gantry/network",
        "failed: .gantry/config.yml, which defines what to test, is not in the commit",
    );
    let misnamed = w.push(project, "main", ".gantry/config.yaml", CONFIG).await;
    w.expect_status(
        project,
        &misnamed,
        "gantry/network",
        "failed: .gantry/config.yml, which defines what to test, is not in the commit; \
         .gantry/config.yaml exists but is not read",
    );
    for (branch, text, said) in bad {
        let commit = w.dev.push_bytes(project, branch, ".gantry/config.yml", text).unwrap();
        let iid = w.open(project, branch).await;
        w.expect_status(project, &commit, "gantry/network", "failed: .gantry/config.yml");
        let status = w.status(project, &commit, "gantry/network").unwrap();
        let description = status.description.unwrap_or_default();
        assert!(description.contains(said), "{branch}: {description}");
        let note = w.note(project, iid);
        assert!(note.contains(".gantry/config.yml"), "{branch}: {note}");
    }
    w
});

story!(a_tag_makes_a_version_of_its_commit, |mut w| async move {
    let config = "version: 1\n";
    let files = [("main.tf", MODULE), (".gantry/config.yml", config)];
    let project = module(&mut w, &files).await;
    let main = w.gitlab.head(project, "main").unwrap();
    w.dev.tag(project, "v1.2.3", &main, None).unwrap();
    w.catch_up().await;
    assert_eq!(versions(&mut w).await, ["1.2.3 active"]);
    // Elsewhere than in the branch, and not protected.
    let topic = w.dev.push(project, "topic", "main.tf", "# topic\n").unwrap();
    w.catch_up().await;
    w.dev.tag(project, "v1.3.0", &topic, None).unwrap();
    w.dev.tag(project, "nonsense", &main, Some("annotated")).unwrap();
    w.catch_up().await;
    assert_eq!(versions(&mut w).await, ["1.2.3 active"]);
    w
});

#[tokio::test]
async fn thirty_tests_share_the_room_and_a_stop_ends_them() {
    const MODES: [Mode; 2] = [Mode::PLAIN, Mode { twice_and_shuffled: Some(1), ..Mode::PLAIN }];
    run_test_in(&MODES, |mut w| async move {
        let mut config = "version: 1\ntests:\n".to_owned();
        for i in 0..30 {
            config += &format!("  - name: test-{i}\n");
        }
        let project = module(&mut w, &[("main.tf", MODULE)]).await;
        w.plans("network", Planned::Adds(1));
        let commit = w.push(project, "main", ".gantry/config.yml", &config).await;
        w.expect_status(project, &commit, "gantry", "success: 30 tests passed");
        assert_eq!(w.most_runners_at_once(), 4);
        w.hold("network");
        let commit = w.push(project, "main", "main.tf", "# again\n").await;
        w.expect_status(project, &commit, "gantry/network", "running: Testing");
        let run = w.run_in("network", "testing").await;
        w.order(&format!("/runs/{run}/stop"), json!({})).await;
        w.release("network");
        w.settle().await;
        w.expect_status(project, &commit, "gantry/network", "canceled: Stopped by");
        w.expect_status(project, &commit, "gantry/network/test-29", "canceled: Stopped by");
        w
    })
    .await;
}

story_on_each_tool!(what_cannot_be_destroyed_is_kept_and_blocks_the_module, |mut w| async move {
    let project = module(&mut w, &[("main.tf", "# Nothing yet.\n")]).await;
    w.with_real_runners();
    // Its apply fails after the first resource is made, and that one cannot be destroyed.
    let code = r#"
resource "terraform_data" "made" {
  provisioner "local-exec" {
    when    = destroy
    command = "exit 1"
  }
}

resource "terraform_data" "broken" {
  depends_on = [terraform_data.made]
  provisioner "local-exec" {
    command = "exit 1"
  }
}
"#;
    let config = "version: 1\ntests:\n  - name: stays\n";
    let files = [("main.tf", Some(code)), (".gantry/config.yml", Some(config))];
    let commit = w.dev.push_files(project, "main", &files, "Stays").unwrap();
    w.catch_up().await;
    w.expect_status(project, &commit, "gantry/network/stays", "failed: Destroy failed: ");
    let (_, module) = w.api(Method::GET, "/modules/network", None).await;
    let blocked = &module["status"]["blocked"];
    assert_eq!(blocked["reason"], "resources created by the test stays may still exist");
    let run = blocked["run"].as_str().unwrap();
    let (status, state) = w.api(Method::GET, &format!("/runs/{run}/state/current"), None).await;
    assert!(status.is_success(), "{state}");
    assert_eq!(state["resources"][0]["name"], "made", "{state:#}");
    let (_, told) = w.api(Method::GET, &format!("/runs/{run}"), None).await;
    let steps = told["history"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["state"] == "destroying"), "{told:#}");
    assert_eq!(told["blocks_stack"], *blocked, "{told:#}");

    // The next tests wait.
    let fixed = "# Nothing.\n";
    let next = w.push(project, "main", "main.tf", fixed).await;
    w.expect_status(project, &next, "gantry/network", "pending: Queued");
    w.sweep().await;
    assert_eq!(w.blocked().await, 1);
    w.order("/stacks/network/unblock", json!({ "reason": "removed it by hand" })).await;
    w.sweep().await;
    assert_eq!(w.blocked().await, 0);
    w.expect_status(project, &next, "gantry/network", "success: 1 test passed");
    w
});

story!(two_modules_and_a_stack_in_one_project_each_do_their_part, |mut w| async move {
    let config = "version: 1\ntests:\n  - name: basic\n";
    let files = with_files(&["a/main.tf", "b/main.tf", "infra/main.tf"]);
    let project = w.project("acme/platform", files);
    for name in ["a", "b"] {
        let path = format!("{name}/.gantry/config.yml");
        w.dev.push(project, "main", &path, config).unwrap();
    }
    for name in ["a", "b"] {
        let body = json!({
            "name": name, "terraform_provider": "null", "project": project.0,
            "project_root": name, "tag_prefix": format!("{name}/"),
        });
        let (status, answer) = w.api(Method::POST, "/modules", Some(body)).await;
        assert!(status.is_success(), "{answer}");
    }
    w.stack(project, "infra", "infra", StackOptions::default()).await;
    let everywhere: Vec<_> =
        ["a/x.tf", "infra/x.tf"].into_iter().map(|path| (path, Some("# x\n"))).collect();
    let commit = w.dev.push_files(project, "main", &everywhere, "Both").unwrap();
    w.catch_up().await;
    w.expect_status(project, &commit, "gantry/a/basic", "success: Passed");
    w.expect_status(project, &commit, "gantry/infra", "running: 1 to add");
    w.expect_status(project, &commit, "gantry", "pending");
    assert!(w.status(project, &commit, "gantry/b").is_none());
    let run = w.run_in("infra", "unconfirmed").await;
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
    w.expect_status(project, &commit, "gantry", "success: 2 runs: +1 ~0 −0");

    w.dev.tag(project, "a/v1.0.0", &commit, Some("annotated")).unwrap();
    w.dev.tag(project, "b/2.0.0", &commit, None).unwrap();
    w.catch_up().await;
    let of = async |w: &mut World, slug: &str| {
        let (_, answer) = w.api(Method::GET, &format!("/modules/{slug}/versions"), None).await;
        let versions = answer["versions"].as_array().unwrap().clone();
        let text = |version: &Value| {
            format!("{} {}", version["version"].as_str().unwrap(), version["tag"].as_str().unwrap())
        };
        versions.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(of(&mut w, "a").await, ["1.0.0 a/v1.0.0"]);
    assert_eq!(of(&mut w, "b").await, ["2.0.0 b/2.0.0"]);

    // A version stays what it is, whatever becomes of its tag.
    let newer = w.push(project, "main", "a/y.tf", "# y\n").await;
    w.dev.push_refs(project, &[("refs/tags/a/v1.0.0", Some(&newer))]).unwrap();
    w.catch_up().await;
    w.expect_status(
        project,
        &newer,
        "gantry/a",
        "success: 1 test passed; version 1.0.0 already exists",
    );
    w.dev.push_refs(project, &[("refs/tags/b/2.0.0", None)]).unwrap();
    w.catch_up().await;
    assert_eq!(of(&mut w, "a").await, ["1.0.0 a/v1.0.0"]);
    assert_eq!(of(&mut w, "b").await, ["2.0.0 b/2.0.0"]);
    let (_, version) = w.api(Method::GET, "/modules/a/versions/1.0.0", None).await;
    assert_eq!(version["commit"], commit.as_str());
    w
});

story!(a_version_by_hand_is_of_the_branchs_head_and_two_want_one_number_once, |mut w| async move {
    let files = [("main.tf", MODULE), (".gantry/config.yml", "version: 1\n")];
    let project = module(&mut w, &files).await;
    let one = w.gitlab.head(project, "main").unwrap();
    let both = json!({ "version": "1.0.0" });
    w.order("/modules/network/versions", both.clone()).await;
    assert_eq!(versions(&mut w).await, ["1.0.0 active"]);
    let two = w.push(project, "main", "main.tf", "# two\n").await;
    // Two tags of one number on two commits: one gets it.
    w.dev.tag(project, "v2.0.0", &one, None).unwrap();
    w.dev.tag(project, "2.0.0", &two, None).unwrap();
    w.catch_up().await;
    assert_eq!(versions(&mut w).await, ["2.0.0 active", "1.0.0 active"]);
    let (_, version) = w.api(Method::GET, "/modules/network/versions/2.0.0", None).await;
    assert!([&one, &two].contains(&&version["commit"].as_str().unwrap().to_owned()));
    let (done, said) = w.command("/modules/network/versions", both).await;
    assert!(!done && said.contains("never reused"), "{said}");
    w
});

on_each_tool! {
    /// The tool finds the registry by itself, over HTTPS, as on anybody's machine.
    async fn anybody_discovers_the_registry_over_https(tool) {
        run_test_on(tool, |mut w| async move {
            let config = "version: 1\nmodule_version: 1.0.0\n";
            let project = module(&mut w, &[("main.tf", MODULE)]).await;
            w.push(project, "main", ".gantry/config.yml", config).await;
            let secure = Secure::before(w.host()).await.unwrap();
            let reader = json!({ "name": "terraform", "role": "read" });
            let (_, key) = w.api(Method::POST, "/keys", Some(reader)).await;
            let folder = secure.folder();
            let code = format!(
                "module \"net\" {{\n  source  = \"{}/acme/network/aws\"\n  version = \"~> 1.0\"\n}}\n",
                secure.host
            );
            std::fs::write(folder.join("main.tf"), code).unwrap();
            let init = async |token: &str| {
                let rc = format!("credentials \"{}\" {{\n  token = \"{token}\"\n}}\n", secure.host);
                std::fs::write(folder.join("terraform.rc"), rc).unwrap();
                let mut terraform = tokio::process::Command::new(tool.command());
                terraform
                    .args(["init", "-input=false", "-no-color"])
                    .current_dir(folder)
                    .env("PATH", gantry_terraform::path())
                    .env("HOME", folder)
                    .env("TF_CLI_CONFIG_FILE", folder.join("terraform.rc"))
                    .env("SSL_CERT_FILE", &secure.certificate)
                    .env("CHECKPOINT_DISABLE", "1");
                let output = terraform.output().await.unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned()
                    + &String::from_utf8_lossy(&output.stderr);
                (output.status.success(), said)
            };
            let (done, said) = init("gantry_nobody").await;
            assert!(!done, "without a key nothing is handed out: {said}");
            let (done, said) = init(key["key"].as_str().unwrap()).await;
            assert!(done && said.contains("acme/network/aws 1.0.0 for net"), "{said}");
            let unpacked = std::fs::read_to_string(folder.join(".terraform/modules/net/main.tf"));
            assert_eq!(unpacked.unwrap(), MODULE);
            w
        })
        .await;
    }
}

on_each_tool! {
    async fn a_test_that_is_stopped_leaves_nothing(tool) {
        let slow = "resource \"terraform_data\" \"made\" {\n  provisioner \"local-exec\" {\n    command = \
                    \"sleep 8\"\n  }\n}\n";
        run_test_on(tool, |mut w| async move {
            let project = module(&mut w, &[("main.tf", slow)]).await;
            let config = "version: 1\ntests:\n  - name: slow\n";
            // Nobody has it yet.
            w.without_runners();
            let commit = w.push(project, "main", ".gantry/config.yml", config).await;
            let test = w.run_in("network", "preparing").await;
            w.order(&format!("/runs/{test}/stop"), json!({})).await;
            w.expect_status(project, &commit, "gantry/network/slow", "canceled: Stopped by");
            w.expect_status(project, &commit, "gantry/network", "failed: 1 of 1 test did not run");
            w.with_runners_again();

            w.hold("network");
            let commit = w.push(project, "main", "README.md", "# Planned\n").await;
            let test = w.run_in("network", "planning").await;
            w.order(&format!("/runs/{test}/stop"), json!({})).await;
            w.release("network");
            w.settle().await;
            w.expect_status(project, &commit, "gantry/network/slow", "canceled: Stopped by");
            w.expect_status(project, &commit, "gantry/network", "failed: 1 of 1 test failed: slow");

            w.with_real_runners();
            let commit = w.dev.push(project, "main", "README.md", "# Again\n").unwrap();
            let test = w.settle_until("network", "applying").await;
            let (status, _) = w.api(Method::POST, &format!("/runs/{test}/stop"), Some(json!({}))).await;
            assert!(status.is_success());
            w.settle().await;
            w.expect_status(project, &commit, "gantry/network/slow", "failed: Interrupted by");
            let (_, run) = w.api(Method::GET, &format!("/runs/{test}"), None).await;
            let states: Vec<_> =
                run["history"].as_array().unwrap().iter().map(|step| step["state"].clone()).collect();
            assert!(states.contains(&json!("destroying")), "{states:?}");
            let (_, module) = w.api(Method::GET, "/modules/network", None).await;
            assert_eq!(module["status"]["blocked"], Value::Null, "what it made is gone");
            w
        })
        .await;
    }
}
