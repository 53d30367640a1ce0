//! Tests of modules: what they created is destroyed, and what is left of it is told.

use crate::support::World;
use gantry_domain::{
    protocol::{LeftBehind, ReportKind},
    run::RunType,
    stack::Tool,
};
use gantry_terraform::on_each_tool;
use serde_json::Value;

const ONE: &str = "resource \"terraform_data\" \"one\" {\n  input = \"a\"\n}\n";

async fn test(tool: Tool, code: &str) -> World {
    let mut w = World::new(&[("infra/main.tf", code)]).await;
    w.claim.tool = tool;
    w.claim.run_type = RunType::Test;
    w.claim.autodeploy = true;
    w
}

fn resources(state: &[u8]) -> usize {
    let state: Value = serde_json::from_slice(state).unwrap();
    state["resources"].as_array().unwrap().len()
}

#[track_caller]
fn current(w: &World) -> usize {
    resources(w.api.data().states.last().unwrap())
}

fn destroyed() -> ReportKind {
    ReportKind::Destroyed { left: Vec::new() }
}

on_each_tool! {
    async fn a_test_destroys_what_it_created(tool) {
        let mut w = test(tool, ONE).await;
        assert_eq!(w.run().await, destroyed(), "{}", w.api.log());
        let kinds = w.api.reports();
        assert!(matches!(kinds[2], ReportKind::Applied { .. }), "{kinds:?}");
        assert_eq!((current(&w), kinds.len()), (0, 4));
        assert!(w.api.data().lock.is_none());
    }

    async fn a_test_tells_the_modules_as_the_tool_read_them(tool) {
        let called = "variable \"a\" {\n  default = { b = 1 }\n}\noutput \"a\" {\n  value = var.a\n  sensitive = true\n}\n";
        let root = "module \"m\" {\n  source = \"../\"\n}\n";
        let mut w = World::new(&[("infra/main.tf", root), ("main.tf", called)]).await;
        w.claim.tool = tool;
        w.claim.run_type = RunType::Test;
        assert_eq!(w.run().await, destroyed(), "{}", w.api.log());
        let modules = w.api.change().modules;
        assert_eq!(modules.iter().map(|m| m.folder.as_str()).collect::<Vec<_>>(), ["", "../"]);
        assert_eq!(modules[1].tool, tool);
        assert_eq!(modules[1].inputs["a"].default.as_deref(), Some("{\"b\":1}"));
        assert!(modules[1].outputs["a"].sensitive);
        w.claim.run_type = RunType::Proposed;
        w.run().await;
        assert_eq!(w.api.change().modules, []);
    }

    async fn a_report_that_is_not_accepted_keeps_nothing(tool) {
        let mut w = test(tool, ONE).await;
        w.api.data().refused_applied = 1;
        w.run().await;
        assert_eq!(current(&w), 0, "{}", w.api.log());
        assert_eq!(w.api.reports().last(), Some(&destroyed()));
    }

    async fn nobody_accepts_that_it_was_applied(tool) {
        let mut w = test(tool, ONE).await;
        w.api.data().refused_applied = 2;
        w.run().await;
        assert_eq!(current(&w), 0, "{}", w.api.log());
        assert!(matches!(w.api.reports().last(), Some(ReportKind::Failed { .. })));
    }

    async fn what_a_failing_apply_created_is_destroyed(tool) {
        let code = format!(
            "{ONE}resource \"terraform_data\" \"bad\" {{\n  input = terraform_data.one.id\n  \
             provisioner \"local-exec\" {{\n    command = \"exit 3\"\n  }}\n}}\n"
        );
        let mut w = test(tool, &code).await;
        assert_eq!(w.run().await, destroyed(), "{}", w.api.log());
        let ReportKind::ApplyFailed { in_terraform: true, .. } = w.api.reports()[2] else { panic!() };
        assert_eq!(current(&w), 0);
    }

    async fn a_hook_before_the_apply_leaves_nothing(tool) {
        let mut w = test(tool, ONE).await;
        w.claim.hooks.before_apply = vec!["exit 4".into()];
        assert_eq!(w.run().await, destroyed(), "{}", w.api.log());
        let ReportKind::ApplyFailed { in_terraform: false, .. } = w.api.reports()[2] else { panic!() };
        assert!(w.api.data().states.is_empty());
    }
}

/// Only OpenTofu knows it, and Terraform from 1.16 on.
#[tokio::test]
async fn what_a_destroy_forgets_is_left_behind_with_its_state() {
    if !gantry_terraform::has(Tool::OpenTofu) {
        return;
    }
    let kept =
        "resource \"terraform_data\" \"kept\" {\n  lifecycle {\n    destroy = false\n  }\n}\n";
    let mut w = test(Tool::OpenTofu, &format!("{ONE}{kept}")).await;
    let ReportKind::Destroyed { left } = w.run().await else { panic!("{}", w.api.log()) };
    let [LeftBehind { address, id: Some(id) }] = left.as_slice() else { panic!("{left:?}") };
    assert_eq!((address.as_str(), current(&w)), ("terraform_data.kept", 0));
    let data = w.api.data();
    let rescued = String::from_utf8_lossy(&data.rescued[0]).into_owned();
    assert!(rescued.contains(id) && rescued.contains("\"kept\""), "{rescued}");
}
