//! Plans that are not the usual ones: looks for drift, what is accepted, what is destroyed, and parts.

use crate::{outside::world, support::World};
use gantry_domain::{
    plan::{Action, Change, Delta},
    protocol::ReportKind,
    run::{PlanMode, PlanOptions, RunType},
    stack::Tool,
    text::{self, change::Part},
};
use gantry_terraform::on_each_tool;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const CODE: &str = r#"
resource "test_object" "a" {
  name   = "a"
  text   = "hello"
  secret = "hush-hush-hush"
}
resource "test_object" "b" {
  name = "b"
}
output "text" {
  value = test_object.a.text
}
"#;

/// A stack whose code was applied, and the folder where its objects are. The next run is a preview.
async fn applied(tool: Tool, folder: &TempDir) -> (World, PathBuf) {
    let (mut w, outside) = world(tool, folder, CODE).await;
    w.may_write.push(outside.clone());
    w.claim.autodeploy = true;
    let end = w.run().await;
    assert!(matches!(end, ReportKind::Applied { .. }), "{end:?} {}", w.api.log());
    w.claim.autodeploy = false;
    w.claim.run_type = RunType::Proposed;
    (w, outside)
}

fn by_hand(outside: &Path) {
    let file = outside.join("a-1.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("hello", "by hand")).unwrap();
}

/// What a plan of a run that is never applied found.
fn found(delta: Delta, tolerated: u32) -> ReportKind {
    let (plan_digest, partial, failed_checks) = (None, false, 0);
    ReportKind::Planned { delta, plan_digest, partial, failed_checks, tolerated }
}

fn mode(mode: PlanMode) -> PlanOptions {
    PlanOptions { mode, ..PlanOptions::default() }
}

fn options(json: Value) -> PlanOptions {
    serde_json::from_value(json).unwrap()
}

fn lines(change: &Change) -> String {
    let parts = text::change::parts(change).into_iter();
    parts.flat_map(|Part { head, rest, .. }| [head, rest].concat()).collect::<Vec<_>>().join("\n")
}

on_each_tool! {
    async fn a_look_for_drift_tells_what_somebody_did_and_changes_nothing(tool) {
        let folder = tempfile::tempdir().unwrap();
        let (mut w, outside) = applied(tool, &folder).await;
        w.claim.options = mode(PlanMode::RefreshOnly);
        w.claim.tolerate = Some(Vec::new());
        assert_eq!(w.run().await, found(Delta::default(), 0), "{}", w.api.log());
        assert!(w.api.change().refresh_only);

        by_hand(&outside);
        fs::remove_file(outside.join("b-1.json")).unwrap();
        let delta = Delta { change: 1, destroy: 1, outputs: 1, ..Delta::default() };
        assert_eq!(w.run().await, found(delta, 0), "{}", w.api.log());
        let change = w.api.change();
        let all: Vec<_> = change.resources.iter().map(|r| (r.address.as_str(), r.action)).collect();
        assert_eq!(all, [("test_object.b", Action::Delete), ("test_object.a", Action::Update)]);
        assert_eq!((change.drift, change.partial, change.delta), (0, false, delta));
        let lines = lines(&change);
        for line in [
            format!("- test_object.b was deleted outside of {}", tool.name()),
            format!("! test_object.a was changed outside of {}", tool.name()),
            "!   text = \"hello\" -> \"by hand\"".to_owned(),
        ] {
            assert!(lines.contains(&line), "{line} is not in\n{lines}");
        }
        assert!(!lines.contains("hush-hush-hush"), "{lines}");
        assert!(w.api.log().contains(" -refresh-only "), "{}", w.api.log());
        let data = w.api.data();
        assert!(data.states.len() == 1 && data.lock.is_none());
    }

    async fn what_may_differ_is_counted_and_named_apart(tool) {
        let folder = tempfile::tempdir().unwrap();
        let (mut w, outside) = applied(tool, &folder).await;
        by_hand(&outside);
        fs::remove_file(outside.join("b-1.json")).unwrap();
        w.claim.options = mode(PlanMode::RefreshOnly);
        let tolerate = json!([
            { "address": "test_object.a", "attributes": ["te*"] }, { "address": "output.*" },
            { "address": "test_object.b", "attributes": ["*"] },
        ]);
        w.claim.tolerate = Some(serde_json::from_value(tolerate).unwrap());
        let delta = Delta { destroy: 1, ..Delta::default() };
        assert_eq!(w.run().await, found(delta, 2), "{}", w.api.log());
        let change = w.api.change();
        assert_eq!(change.tolerated, ["test_object.a", "output.text"]);
        assert_eq!((change.resources.len(), change.outputs.len()), (1, 0));
        assert!(w.api.log().contains("2 differences tolerated"), "{}", w.api.log());

        let all = json!([{ "address": "*" }]);
        w.claim.tolerate = Some(serde_json::from_value(all).unwrap());
        assert_eq!(w.run().await, found(Delta::default(), 3), "{}", w.api.log());
        assert!(!w.api.log().contains("work that is not a change"), "{}", w.api.log());
    }

    async fn a_look_with_a_full_plan_tells_what_the_code_would_do(tool) {
        let folder = tempfile::tempdir().unwrap();
        let (mut w, outside) = applied(tool, &folder).await;
        by_hand(&outside);
        let tolerate = json!([{ "address": "test_object.b" }]);
        w.claim.tolerate = Some(serde_json::from_value(tolerate).unwrap());
        let ReportKind::Planned { delta, tolerated: 0, plan_digest: None, .. } = w.run().await
        else {
            panic!("{}", w.api.log())
        };
        assert_eq!((delta.change, delta.destroy), (1, 0));
        let lines = lines(&w.api.change());
        assert!(lines.contains("! test_object.a will be updated in place"), "{lines}");
    }

    async fn what_is_accepted_is_in_the_state_and_nothing_outside_changes(tool) {
        let folder = tempfile::tempdir().unwrap();
        let (mut w, outside) = applied(tool, &folder).await;
        by_hand(&outside);
        w.claim.run_type = RunType::Tracked;
        w.claim.options = mode(PlanMode::RefreshOnly);
        let planned = w.run().await;
        w.confirm(&planned);
        let delta = Delta { change: 1, outputs: 1, ..Delta::default() };
        assert_eq!(w.run().await, ReportKind::Applied { delta }, "{}", w.api.log());
        let state: Value = serde_json::from_slice(w.api.data().states.last().unwrap()).unwrap();
        assert_eq!(state["outputs"]["text"]["value"], "by hand");
        let file = outside.join("a-1.json");
        assert!(fs::read_to_string(&file).unwrap().contains("by hand"));

        // The code still says otherwise: to apply it brings back what it says.
        w.next_run();
        w.claim.options = PlanOptions::default();
        w.claim.autodeploy = true;
        let end = w.run().await;
        assert!(matches!(end, ReportKind::Applied { .. }), "{end:?} {}", w.api.log());
        assert!(fs::read_to_string(&file).unwrap().contains("hello"));
    }

    async fn everything_is_destroyed_that_the_plan_showed(tool) {
        let folder = tempfile::tempdir().unwrap();
        let (mut w, outside) = applied(tool, &folder).await;
        w.claim.run_type = RunType::Tracked;
        w.claim.options = mode(PlanMode::Destroy);
        let planned = w.run().await;
        assert!(
            matches!(planned, ReportKind::Planned { delta, partial: false, .. } if delta.destroy == 2),
            "{planned:?}"
        );
        w.confirm(&planned);
        let end = w.run().await;
        assert!(matches!(end, ReportKind::Applied { delta } if delta.destroy == 2), "{end:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        let state: Value = serde_json::from_slice(w.api.data().states.last().unwrap()).unwrap();
        assert_eq!(state["resources"], json!([]));
    }

    async fn a_plan_with_targets_is_partial_and_one_with_replacements_is_not(tool) {
        let folder = tempfile::tempdir().unwrap();
        let (mut w, outside) = world(tool, &folder, CODE).await;
        w.may_write.push(outside);
        w.claim.run_type = RunType::Proposed;
        w.claim.options = options(json!({ "targets": ["test_object.b"] }));
        let end = w.run().await;
        assert!(
            matches!(end, ReportKind::Planned { delta, partial: true, .. } if delta.add == 1),
            "{end:?} {}", w.api.log()
        );
        assert!(w.api.change().partial && w.api.log().contains("covers only part"));

        w.claim.run_type = RunType::Tracked;
        w.claim.options = PlanOptions::default();
        w.claim.autodeploy = true;
        w.run().await;
        w.claim.autodeploy = false;
        w.claim.options = options(json!({ "replace": ["test_object.b"] }));
        let end = w.run().await;
        assert!(
            matches!(end, ReportKind::Planned { delta, partial: false, .. } if delta.replace == 1),
            "{end:?} {}", w.api.log()
        );
        assert_eq!(w.api.change().resources[0].reason_text(), Some("its replacement was requested"));
    }

    /// What cannot go together the tool itself says.
    async fn arguments_that_exclude_each_other_fail_with_the_tools_words(tool) {
        let code = "resource \"terraform_data\" \"a\" {}\n";
        for mode in ["destroy", "refresh_only"] {
            let mut w = World::on(tool, &[("infra/main.tf", code)]).await;
            w.claim.options = options(json!({ "mode": mode, "replace": ["terraform_data.a"] }));
            let end = w.run().await;
            assert!(matches!(end, ReportKind::Failed { in_terraform: true, .. }), "{end:?}");
            assert!(w.api.data().plan.is_none());
        }
    }

    /// An address with quotes and blanks is one argument.
    async fn an_address_reaches_the_tool_as_it_is(tool) {
        let folder = tempfile::tempdir().unwrap();
        let objects = "resource \"test_object\" \"each\" {\n  for_each = toset([\"a b\", \"c\"])\n  \
                       name     = \"each\"\n}\n";
        let (mut w, outside) = world(tool, &folder, objects).await;
        w.may_read.push(outside);
        w.claim.run_type = RunType::Proposed;
        w.claim.options = options(json!({ "targets": ["test_object.each[\"a b\"]"] }));
        let end = w.run().await;
        assert!(matches!(end, ReportKind::Planned { delta, .. } if delta.add == 1), "{end:?}");
        assert_eq!(w.api.change().resources[0].address, "test_object.each[\"a b\"]");
    }
}
