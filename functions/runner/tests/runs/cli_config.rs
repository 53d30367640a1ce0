//! CLI configurations of the installation, of a run and of Gantry, together: with a real provider
//! that comes from a mirror, and a module that comes from the registry.

use crate::support::{LOG_SECRET, World, archive};
use gantry_domain::{
    plan::Delta,
    protocol::{Registry, ReportKind},
    run::RunType,
    stack::Tool,
};
use gantry_terraform::on_each_tool;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

const CODE: &str = r#"
terraform {
  required_providers {
    time = { source = "hashicorp/time" }
  }
}
resource "time_static" "made" {}
module "zone" {
  source  = "gantry.example.com/acme/zone/dns"
  version = "1.0.0"
}
"#;

/// A configuration that has providers from `mirror` alone, and something to say of Gantry's host.
fn configuration(mirror: &Path) -> String {
    format!(
        "provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n  }}\n}}\n\
         host \"gantry.example.com\" {{\n  services = {{\n    \"modules.v1\" = \"http://127.0.0.1:9/\"\n  }}\n}}\n\
         credentials \"gantry.example.com\" {{\n  token = \"{LOG_SECRET}\"\n}}\n"
    )
}

/// A world whose code needs a provider and a module of Gantry's registry.
async fn world(tool: Tool) -> World {
    let mut w = World::on(tool, &[("infra/main.tf", CODE)]).await;
    let token = "registry-token".to_owned();
    w.claim.registry = Some(Registry { host: "gantry.example.com".into(), token });
    let module = archive(&[("main.tf", "output \"zone\" {\n  value = 1\n}\n")]);
    w.api.data().uploads.insert("zone.tar.gz".into(), module.into());
    w
}

/// A file of the machine that everybody can read.
fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = folder.path().join(name);
    fs::write(&file, text).unwrap();
    file
}

/// Plans, and applies on another machine: both get the provider, and the module from Gantry.
async fn is_applied(mut w: World, how: &str) {
    let planned = w.run().await;
    assert!(matches!(planned, ReportKind::Planned { .. }), "{how}: {}", w.api.log());
    w.confirm(&planned);
    let applied = w.run().await;
    let delta = Delta { add: 1, ..Delta::default() };
    assert_eq!(applied, ReportKind::Applied { delta }, "{how}: {}", w.api.log());
    assert!(!w.api.log().contains("CLI configuration"), "{how}: {}", w.api.log());
    let tokens = w.api.data().registry_tokens.clone();
    assert!(!tokens.is_empty(), "{how}");
    assert!(tokens.iter().all(|token| token == "Bearer registry-token"), "{how}: {tokens:?}");
}

#[tokio::test]
async fn no_mirror_opens_what_is_gantrys() {
    let mut w = world(Tool::Terraform).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = w.offer();
    // Whose folder the runs' own are in.
    let above = config.work.parent().unwrap().to_owned();
    config.terraform_config = Some(file(&folder, "terraform.rc", &configuration(&above)));
    gantry_runner::run(config).await.unwrap();
    let end = format!("{:?}", w.api.reports().last());
    assert!(end.contains("names a mirror") && end.contains("Gantry's own files"), "{end}");
}

on_each_tool! {
    async fn the_installations_configuration_serves_runs_that_bring_none(tool) {
        let Some(mirror) = gantry_terraform::mirror() else { return };
        let folder = tempfile::tempdir().unwrap();
        let installations = file(&folder, "terraform.rc", &configuration(mirror));
        let mut w = world(tool).await;
        w.terraform_config = Some(installations.clone());
        // What is secret in it is in no log: the API itself refuses a log with the secret in it.
        w.claim.hooks.before_init = vec!["cat ~/.terraformrc".into()];
        is_applied(w, "the installation's").await;

        let mut w = world(tool).await;
        w.claim.run_type = RunType::Test;
        w.terraform_config = Some(installations);
        assert_eq!(w.run().await, ReportKind::Destroyed { left: Vec::new() }, "{}", w.api.log());
    }
}

// Why Gantry names no registry where its address has such a host.
on_each_tool! {
    async fn a_registry_has_a_host_with_a_dot(tool) {
        for (host, said) in [
            ("localhost:8283", "must contain at least one dot"),
            ("gantry", "must contain at least one dot"),
            ("[::1]:8283", "invalid hostname"),
            ("my_gantry.example.com", "invalid hostname"),
        ] {
            let code = CODE.replace("gantry.example.com", host);
            let mut w = World::on(tool, &[("infra/main.tf", code.as_str())]).await;
            let token = "registry-token".to_owned();
            w.claim.registry = Some(Registry { host: host.to_owned(), token });
            let report = w.run().await;
            assert!(matches!(report, ReportKind::Failed { .. }), "{host}: {report:?}");
            assert!(w.api.log().contains(said), "{host}: {}", w.api.log());
        }
    }
}

on_each_tool! {
    async fn what_a_run_brings_counts_in_each_form(tool) {
        let Some(mirror) = gantry_terraform::mirror() else { return };
        let folder = tempfile::tempdir().unwrap();
        let nothing_there = configuration(Path::new("/nowhere"));
        let installations = file(&folder, "terraform.rc", &nothing_there);
        let own = file(&folder, "own.rc", &configuration(mirror)).display().to_string();
        let may_read = vec![mirror.to_owned(), folder.path().to_owned()];
        let copy = |to: &str| format!("mkdir -p $(dirname {to}); cp {own} {to}");

        let mut w = world(tool).await;
        w.may_read = may_read.clone();
        w.terraform_config = Some(installations.clone());
        w.claim.hooks.before_init = vec![copy("~/.terraformrc")];
        is_applied(w, "a hook writes ~/.terraformrc").await;

        let mut w = world(tool).await;
        w.may_read = may_read.clone();
        w.claim.hooks.before_init = vec![copy("~/.terraform.d/mirror.tfrc")];
        is_applied(w, "a hook writes a file of ~/.terraform.d").await;

        let mut w = world(tool).await;
        w.may_read = may_read.clone();
        w.terraform_config = Some(installations.clone());
        w.variable("TF_CLI_CONFIG_FILE", "../written.tfrc", false);
        w.claim.hooks.before_init = vec![copy("$TF_CLI_CONFIG_FILE")];
        is_applied(w, "TF_CLI_CONFIG_FILE names a file of the source").await;

        let mut w = world(tool).await;
        w.may_read = may_read.clone();
        w.terraform_config = Some(installations.clone());
        w.variable("TF_CLI_CONFIG_FILE", &own, false);
        w.claim.run_type = RunType::Test;
        assert_eq!(w.run().await, ReportKind::Destroyed { left: Vec::new() }, "{}", w.api.log());

        if tool == Tool::OpenTofu {
            let mut w = world(tool).await;
        w.may_read = may_read.clone();
            w.terraform_config = Some(installations.clone());
            w.claim.hooks.before_init = vec![copy("~/.tofurc")];
            is_applied(w, "a hook writes ~/.tofurc").await;

            for name in ["tofurc", "mirror.tfrc"] {
                let mut w = world(tool).await;
        w.may_read = may_read.clone();
                if name == "tofurc" {
                    w.terraform_config = Some(installations.clone());
                }
                let place = folder.path().join("xdg");
                w.variable("XDG_CONFIG_HOME", &place.display().to_string(), false);
                fs::create_dir_all(place.join("opentofu")).unwrap();
                fs::write(place.join("opentofu").join(name), configuration(mirror)).unwrap();
                is_applied(w, name).await;
                fs::remove_dir_all(place).unwrap();
            }
        }
    }
}

on_each_tool! {
    async fn an_apply_reads_nothing_that_its_plan_did_not(tool) {
        let code = "resource \"terraform_data\" \"one\" {}\n";
        let mut w = World::on(tool, &[("infra/main.tf", code)]).await;
        let planned = w.run().await;
        w.confirm(&planned);
        // The stack has it since then.
        w.variable("TF_CLI_CONFIG_FILE", "/nowhere/own.rc", false);
        let applied = w.run().await;
        assert!(matches!(applied, ReportKind::Applied { .. }), "{applied:?} {}", w.api.log());
        assert!(!w.api.log().contains("/nowhere/own.rc"), "{}", w.api.log());
    }
}

on_each_tool! {
    async fn what_is_not_there_is_told(tool) {
        let mut w = world(tool).await;
        w.terraform_config = Some("/nowhere/terraform.rc".into());
        let ReportKind::Failed { summary, in_terraform, .. } = w.run().await else { panic!() };
        assert_eq!(
            summary,
            "the file of --terraform-config cannot be read: /nowhere/terraform.rc"
        );
        assert!(!in_terraform);

        let mut w = World::on(tool, &[("infra/main.tf", "# empty\n")]).await;
        w.variable("TF_CLI_CONFIG_FILE", "/nowhere/own.rc", false);
        w.run().await;
        let log = w.api.log();
        assert!(log.contains("CLI configuration file") && log.contains("/nowhere/own.rc"), "{log}");
    }
}
