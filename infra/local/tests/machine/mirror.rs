//! A network without internet: a real provider that only a mirror has, on every kind of run.

use crate::support::{Kind, SLUG, STATUS, World, text};
use gantry_fake_gitlab::ProjectOptions;
use gantry_local::Intervals;
use gantry_terraform::on_each_tool;
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt as _};

const CODE: &str = r#"terraform {
  required_providers {
    time = { source = "hashicorp/time" }
  }
}

resource "time_static" "made" {}
"#;

on_each_tool! {
    async fn stacks_modules_and_workers_install_providers_from_the_installations_mirror(tool) {
        let Some(mirror) = gantry_terraform::mirror() else { return };
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let config = folder.path().join("terraform.rc");
        let text_of_it = format!(
            "provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n  }}\n}}\n"
        );
        fs::write(&config, text_of_it).unwrap();
        let kind = Kind::Inside(Intervals::default());
        let files = [("main.tf", "# Nothing yet.\n")];
        let w = World::configured(tool, kind, &files, Some(config.clone())).await;

        // A module's test plans, applies and destroys; then the version is there.
        let options = ProjectOptions {
            files: vec![("README.md".into(), "A module.\n".into())],
            ..ProjectOptions::default()
        };
        let module = w.gitlab.create_project("acme/terraform-time-clock", options).unwrap();
        w.gitlab.set_member(module, w.bot, 40);
        let made = json!({ "project": module.0, "tool": tool });
        let slug = text(&w.api.post("/modules", &made).await.good(), "/slug");
        w.api.post(&format!("/stacks/{slug}/webhook"), &json!({})).await.good();
        let tests = "version: 1\nmodule_version: 1.0.0\ntests:\n  - name: basic\n";
        let files = [("main.tf", Some(CODE)), (".gantry/config.yml", Some(tests))];
        w.you.push_files(module, "main", &files, "Begin").unwrap();
        w.eventually("the version", async || {
            let versions = w.api.get(&format!("/modules/{slug}/versions")).await.good();
            (text(&versions, "/versions/0/state") == "active").then_some(())
        })
        .await;

        // A stack that uses it, through the registry.
        w.stack(json!({})).await;
        w.webhook().await;
        let source = format!("{}/{}", w.address(), "acme/clock/time");
        let uses = format!("module \"clock\" {{\n  source  = \"{source}\"\n  version = \"1.0.0\"\n}}\n");
        let commit = w.push("main", &uses);
        w.apply(&commit).await;
        assert!(w.succeeded(&commit, STATUS).await.contains("1 added"));

        // The same on a private worker, with a configuration of its own machine.
        let mut stack = w.api.get(&format!("/stacks/{SLUG}")).await.good();
        stack["pool"] = json!("office");
        w.api.put(&format!("/stacks/{SLUG}"), &stack).await.good();
        let key = w.worker_key("office").await;
        let mut worker = w.worker(&key, &folder.path().join("worker"));
        let worker = worker.arg("--terraform-config").arg(&config).spawn().unwrap();
        let commit = w.push("main", &format!("{uses}{CODE}"));
        let run = w.apply(&commit).await;
        assert!(w.succeeded(&commit, STATUS).await.contains("1 added"));
        let said = fs::read_to_string(folder.path().join("worker.log")).unwrap();
        assert!(said.contains(&run), "the worker did not execute the run: {said}");
        drop(worker);
    }
}
