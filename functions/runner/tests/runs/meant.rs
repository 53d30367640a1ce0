//! Only what was meant is planned and applied, with the state where it should be.

use crate::support::{World, archive};
use gantry_domain::{
    plan::Delta,
    protocol::ReportKind,
    run::{Phase, RunType},
    stack::Tool,
};
use gantry_terraform::on_each_tool;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

const ONE: &str = "resource \"terraform_data\" \"one\" {\n  input = \"a\"\n}\n";
const LOCAL: &str = "terraform {\n  backend \"local\" {}\n}\n";
const KEPT: &str = r#"{"version":4,"terraform_version":"1.10.0","serial":1,"lineage":"x","outputs":{},"resources":[
    {"mode":"managed","type":"terraform_data","name":"one","provider":"provider[\"terraform.io/builtin/terraform\"]",
     "instances":[{"schema_version":0,"attributes":{"id":"id-1","input":null,"output":null,"triggers_replace":null},"skip_destroy":true}]}]}"#;

async fn world(tool: Tool, files: &[(&str, &str)]) -> World {
    let mut w = World::new(files).await;
    w.claim.tool = tool;
    w.claim.autodeploy = true;
    w
}

/// The run fails before it plans, and nothing is left anywhere.
async fn refused(w: &mut World) -> String {
    w.api.data().plan = None;
    let ReportKind::Failed { summary, in_terraform, .. } = w.run().await else {
        panic!("{}", w.api.log())
    };
    assert!(!in_terraform);
    assert!(!w.api.log().contains(" plan -input"), "{}", w.api.log());
    assert!(w.api.data().plan.is_none());
    summary
}

on_each_tool! {
    async fn a_root_without_configuration_destroys_nothing(tool) {
        let mut w = world(tool, &[("infra/main.tf", ONE)]).await;
        let delta = Delta { add: 1, ..Delta::default() };
        assert_eq!(w.run().await, ReportKind::Applied { delta }, "{}", w.api.log());
        for files in [
            &[("infra/README.md", "x"), ("infra/sub/main.tf", ONE)][..],
            &[("infra/.main.tf", ONE), ("infra/main.tf~", ONE)],
            &[("infra/backend_override.tf", "")],
        ] {
            w.api.push(archive(files));
            for run_type in [RunType::Tracked, RunType::Proposed, RunType::Test] {
                w.claim.run_type = run_type;
                let summary = refused(&mut w).await;
                assert!(summary.starts_with("No configuration files"), "{summary}");
                assert!(!w.api.log().contains("init"), "{}", w.api.log());
            }
        }
        assert_eq!(w.api.data().states.len(), 1);
    }

    async fn code_that_a_hook_makes_counts(tool) {
        let mut w = world(tool, &[("infra/README.md", "x")]).await;
        w.claim.hooks.before_init = vec!["echo 'locals {}' > made.tf".into()];
        assert!(matches!(w.run().await, ReportKind::Planned { .. }), "{}", w.api.log());
    }

    async fn no_override_takes_the_state_away(tool) {
        let own = match tool {
            Tool::Terraform => ["zzz_override.tf", "zzz_override.tf.json"],
            Tool::OpenTofu => ["zzz_override.tofu", "zzz_override.tofu.json"],
        };
        for name in own.into_iter().chain(["zzz_override.tf"]) {
            let text = match name.ends_with(".json") {
                true => r#"{"terraform":[{"backend":{"local":{}}}]}"#,
                false => LOCAL,
            };
            let name = format!("infra/{name}");
            let mut w = world(tool, &[("infra/main.tf", ONE), (&name, text)]).await;
            let summary = refused(&mut w).await;
            assert!(summary.contains("would override Gantry"), "{summary}");
        }
        for ending in ["tf", "tofu", "tf.json", "tofu.json"] {
            let name = format!("infra/zz_gantry_backend_override.{ending}");
            let mut w = world(tool, &[("infra/main.tf", ONE), (&name, "")]).await;
            let summary = refused(&mut w).await;
            assert!(summary.contains("has the name of the file"), "{summary}");
        }
    }

    async fn a_backend_that_is_not_used_is_told(tool) {
        let gcs = "terraform {\n  backend \"gcs\" {}\n}\n";
        let mut w = world(tool, &[("infra/main.tf", ONE), ("infra/backend.tf", gcs)]).await;
        assert!(matches!(w.run().await, ReportKind::Applied { .. }), "{}", w.api.log());
        let remark = "backend \"gcs\" in backend.tf line 2 is ignored";
        assert!(w.api.log().contains(remark), "{}", w.api.log());
        assert!(w.api.change().remarks[0].starts_with(remark));
        assert_eq!(w.api.data().states.len(), 1);
    }

    async fn a_state_that_nobody_keeps_is_not_planned(tool) {
        let mut w = world(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.manage_state = false;
        assert!(refused(&mut w).await.starts_with("No file in the project root has a backend"));
        w.api.push(archive(&[("infra/main.tf", ONE), ("infra/backend.tf", LOCAL)]));
        assert!(refused(&mut w).await.starts_with("backend \"local\" in backend.tf line 2"));
        let own = w.api.own_backend();
        w.api.push(archive(&[("infra/main.tf", ONE), ("infra/backend.tf", &own)]));
        assert!(matches!(w.run().await, ReportKind::Applied { .. }), "{}", w.api.log());
        assert!(w.api.data().own_state.is_some() && w.api.data().states.is_empty());
    }

    async fn the_tool_is_asked_which_backend_it_uses(tool) {
        let mut w = world(tool, &[("infra/main.tf", ONE)]).await;
        w.variable("TF_CLI_ARGS_init", "-backend-config=lock_method=PUT", false);
        let summary = refused(&mut w).await;
        assert!(summary.contains("settings that are not Gantry's (lock_method)"), "{summary}");

        let mut w = world(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.hooks.after_init = vec!["rm -r .terraform/terraform.tfstate zz_gantry*".into()];
        let summary = refused(&mut w).await;
        assert!(summary.contains("in the local folder instead of Gantry"), "{summary}");
    }

    async fn an_apply_whose_state_went_elsewhere_is_no_success(tool) {
        let mut w = world(tool, &[("infra/main.tf", ONE)]).await;
        // Somebody's hook that plans again, with another backend, where nothing confines it.
        w.claim.hooks.before_apply = vec![format!(
            "rm -r .terraform zz_gantry*; {0} init && {0} plan -out=../../../shown/plan.tfplan",
            tool.command()
        )];
        let mut config = w.offer();
        config.confinement = None;
        gantry_runner::run(config).await.unwrap();
        let end = w.api.reports().pop();
        let Some(ReportKind::Failed { summary, .. }) = end else { panic!("{}", w.api.log()) };
        assert!(summary.contains("Gantry received no state"), "{summary}");
        let data = w.api.data();
        assert!(data.states.is_empty());
        let rescued: Value = serde_json::from_slice(&data.rescued[0]).unwrap();
        assert_eq!(rescued["resources"][0]["name"], "one");
    }

    async fn a_plan_that_covers_only_a_part_says_so(tool) {
        let mut all = vec![("-target terraform_data.one", true), ("-refresh=false", true), ("-no-color", false)];
        if tool == Tool::OpenTofu {
            all.push(("-exclude=terraform_data.two", true));
        }
        let two = "resource \"terraform_data\" \"two\" {}\n";
        for (arguments, partial) in all {
            let mut w = world(tool, &[("infra/main.tf", ONE), ("infra/two.tf", two)]).await;
            w.claim.run_type = RunType::Proposed;
            w.variable("TF_CLI_ARGS_plan", arguments, false);
            let ReportKind::Planned { partial: told, .. } = w.run().await else {
                panic!("{}", w.api.log())
            };
            assert_eq!(told, partial);
            let change = w.api.change();
            assert_eq!((change.partial, change.remarks.len()), (partial, usize::from(partial)));
            assert_eq!(w.api.log().contains("covers only part"), partial, "{}", w.api.log());
        }
    }

    async fn a_variable_gets_its_value_whatever_its_name(tool) {
        let code = "variable \"my-var\" {}\nvariable \"größe\" {}\n\
                    output \"both\" {\n  value = \"${var.my-var} and ${var.größe}\"\n}\n";
        let mut w = world(tool, &[("infra/main.tf", code)]).await;
        w.claim.run_type = RunType::Proposed;
        w.variable("TF_VAR_my-var", "given", false);
        w.variable("TF_VAR_größe", "ja", false);
        assert!(matches!(w.run().await, ReportKind::Planned { .. }), "{}", w.api.log());
        let change = serde_json::to_string(&w.api.change()).unwrap();
        assert!(change.contains("given and ja"), "{change}");
    }

    async fn the_state_that_gantry_keeps_has_one_workspace(tool) {
        for (workspace, is_there) in [("default", true), ("prod", false)] {
            let mut w = world(tool, &[("infra/main.tf", ONE)]).await;
            w.variable("TF_WORKSPACE", workspace, false);
            let report = w.run().await;
            assert_eq!(matches!(report, ReportKind::Applied { .. }), is_there, "{report:?}");
        }
    }

    async fn an_apply_gets_the_values_that_its_plan_got(tool) {
        let code = "variable \"v\" {\n  ephemeral = true\n  default   = \"default\"\n}\n\
                    resource \"terraform_data\" \"one\" {\n  provisioner \"local-exec\" {\n    \
                    command = \"printf '%s' \\\"$V\\\" > $HOME/seen\"\n    environment = { V = var.v }\n  }\n}\n";
        let values = ("infra/prod.tfvars", "v = \"given value\"\n");
        let mut by_argument = world(tool, &[("infra/main.tf", code)]).await;
        by_argument.variable("TF_CLI_ARGS_plan", "-var='v=given value'", false);
        let mut by_file = world(tool, &[("infra/main.tf", code), values]).await;
        by_file.claim.var_files = vec!["prod.tfvars".into()];
        for mut w in [by_argument, by_file] {
            w.claim.hooks.after_apply = vec!["echo \"seen: $(cat $HOME/seen)\"".into()];
            for autodeploy in [true, false] {
                w.claim.autodeploy = autodeploy;
                w.api.data().states.clear();
                let mut report = w.run().await;
                if !autodeploy {
                    w.confirm(&report);
                    report = w.run().await;
                }
                assert!(matches!(report, ReportKind::Applied { .. }), "{}", w.api.log());
                assert!(w.api.log().contains("seen: given value\n"), "{}", w.api.log());
                (w.claim.phase, w.claim.plan_digest) = (Phase::Plan, None);
            }
        }
    }

    async fn a_source_of_a_module_may_come_from_a_variable_file(tool) {
        // Only OpenTofu knows variables before it has read all modules.
        if tool == Tool::Terraform {
            return;
        }
        let code = "variable \"v\" {\n  type = string\n}\nmodule \"m\" {\n  source = var.v\n}\n";
        let files = [
            ("infra/main.tf", code),
            ("infra/m/main.tf", ONE),
            ("infra/v.tfvars", "v = \"./m\"\n"),
        ];
        let mut w = world(tool, &files).await;
        w.claim.autodeploy = false;
        w.claim.var_files = vec!["v.tfvars".into()];
        let planned = w.run().await;
        assert!(matches!(planned, ReportKind::Planned { .. }), "{}", w.api.log());
        w.confirm(&planned);
        assert!(matches!(w.run().await, ReportKind::Applied { .. }), "{}", w.api.log());
    }

    async fn variable_files_lie_in_the_source(tool) {
        let code = "variable \"v\" {}\noutput \"v\" {\n  value = var.v\n}\n";
        let files = [("infra/main.tf", code), ("shared/v.tfvars", "v = \"shared\"\n")];
        let mut w = world(tool, &files).await;
        w.claim.var_files = vec!["../shared/v.tfvars".into()];
        assert!(matches!(w.run().await, ReportKind::Applied { .. }), "{}", w.api.log());
        for outside in ["../../../../../../../etc/passwd", "/etc/passwd", "gone.tfvars", "."] {
            w.claim.var_files = vec![outside.into()];
            let summary = refused(&mut w).await;
            assert!(summary.contains("has no variable file"), "{summary}");
        }
    }

    async fn what_was_not_to_be_destroyed_is_told_loudly(tool) {
        let mut w = world(tool, &[("infra/main.tf", "locals {}\n")]).await;
        w.claim.run_type = RunType::Proposed;
        w.api.data().states.push(KEPT.into());
        assert!(matches!(w.run().await, ReportKind::Planned { .. }), "{}", w.api.log());
        let change = w.api.change();
        match tool {
            Tool::Terraform => {
                assert_eq!(change.delta.destroy, 1);
                let remark = "DESTROYS RESOURCES PROTECTED BY destroy = false: terraform_data.one";
                assert!(change.remarks[0].starts_with(remark), "{:?}", change.remarks);
                assert!(w.api.log().contains(remark), "{}", w.api.log());
            }
            Tool::OpenTofu => {
                assert_eq!((change.delta.forget, change.remarks.len()), (1, 0));
            }
        }
    }

    async fn a_plan_that_failed_is_neither_shown_nor_saved(tool) {
        let code = format!(
            "{ONE}resource \"terraform_data\" \"bad\" {{\n  lifecycle {{\n    precondition {{\n      \
             condition     = terraform_data.one.id == null\n      error_message = \"no\"\n    }}\n  }}\n}}\n\
             resource \"terraform_data\" \"worse\" {{\n  lifecycle {{\n    precondition {{\n      \
             condition     = var.no\n      error_message = \"no\"\n    }}\n  }}\n}}\n\
             variable \"no\" {{\n  default = false\n}}\n"
        );
        let mut w = world(tool, &[("infra/main.tf", &code)]).await;
        let mut config = w.offer();
        // A wrapper that hides how the plan ended.
        let folder = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().unwrap();
        let program = folder.path().join(tool.command());
        let real = gantry_terraform::folder(tool).unwrap().join(tool.command());
        let script = format!("#!/bin/sh\n{} \"$@\"\ncode=$?\n[ \"$1\" = plan ] && exit 2\nexit $code\n", real.display());
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        config.environment.set("PATH", format!("{}:{}", folder.path().display(), crate::support::path()));
        gantry_runner::run(config).await.unwrap();
        let last = w.api.reports().pop().unwrap();
        let ReportKind::Failed { summary, in_terraform, .. } = last else { panic!("{}", w.api.log()) };
        assert_eq!(summary, "The plan is incomplete because of an error");
        assert!(in_terraform && w.api.data().plan.is_none() && w.api.data().states.is_empty());
    }
}
