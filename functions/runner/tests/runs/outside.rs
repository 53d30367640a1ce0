//! Runs with the provider for tests, which has something outside: confined as all others are.

use crate::support::{LOG_SECRET, World, archive};
use gantry_domain::{
    masking::MASK,
    plan::{Delta, Warning},
    protocol::ReportKind,
    run::Phase,
    stack::Tool,
};
use gantry_terraform::{
    mirror_config, on_each_tool, test_provider, test_provider_code, with_actions,
};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

pub(crate) const OBJECT: &str =
    "resource \"test_object\" \"a\" {\n  name = \"web\"\n  text = \"hello\"\n}\n";

/// A world with a folder outside.
pub(crate) async fn world(
    tool: Tool,
    folder: &tempfile::TempDir,
    objects: &str,
) -> (World, PathBuf) {
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let config = folder.path().join("terraform.rc");
    fs::write(&config, mirror_config(test_provider())).unwrap();
    let code = test_provider_code(&outside) + objects;
    let mut w = World::on(tool, &[("infra/main.tf", &code)]).await;
    w.terraform_config = Some(config);
    (w, outside)
}

on_each_tool! {
    async fn objects_outside_are_made_and_drift(tool) {
        let folder = tempfile::tempdir().unwrap();
        let (mut w, outside) = world(tool, &folder, OBJECT).await;
        w.may_write.push(outside.clone());
        let planned = w.run().await;
        w.confirm(&planned);
        let delta = Delta { add: 1, ..Delta::default() };
        assert_eq!(w.run().await, ReportKind::Applied { delta }, "{}", w.api.log());
        let file = outside.join("web-1.json");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("hello", "by hand")).unwrap();

        w.claim.phase = Phase::Plan;
        w.claim.plan_digest = None;
        let ReportKind::Planned { delta, .. } = w.run().await else { panic!("{}", w.api.log()) };
        assert_eq!(delta, Delta { change: 1, ..Delta::default() });
        let log = w.api.log();
        assert!(log.contains("by hand"), "{log}");
    }

    async fn a_confined_run_changes_nothing_outside_that_it_may_not(tool) {
        let folder = tempfile::tempdir().unwrap();
        let (mut w, outside) = world(tool, &folder, OBJECT).await;
        w.may_read.push(outside.clone());
        let planned = w.run().await;
        w.confirm(&planned);
        let end = w.run().await;
        assert!(matches!(end, ReportKind::Failed { in_terraform: true, .. }), "{end:?}");
        assert!(w.api.log().contains("cannot make the object web-1"), "{}", w.api.log());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    async fn what_the_tool_warns_of_is_told_once_with_its_number_and_place(tool) {
        let folder = tempfile::tempdir().unwrap();
        let old = |name: &str| format!(
            "resource \"test_object\" \"{name}\" {{\n  name     = \"{name}\"\n  old_text = \"x\"\n}}\n"
        );
        let secret = format!(
            "resource \"test_object\" \"late\" {{\n  for_each = toset([\"{LOG_SECRET}\"])\n  \
             name     = \"late\"\n  warns_at = [\"plan\"]\n}}\n"
        );
        let objects = [old("a"), old("b"), old("c"), secret].concat();
        let (mut w, outside) = world(tool, &folder, &objects).await;
        w.variable("HUSH", LOG_SECRET, true);
        w.may_read.push(outside);
        let end = w.run().await;
        assert!(matches!(end, ReportKind::Planned { .. }), "{}", w.api.log());
        let change = w.api.change();
        let of = |summary: &str| -> Warning {
            let mut all = change.tool_warnings.iter().filter(|known| known.summary == summary);
            let found = all.next().unwrap_or_else(|| panic!("{:?}", change.tool_warnings)).clone();
            assert_eq!(all.next(), None);
            found
        };
        let deprecated = of("Argument is deprecated");
        assert!(deprecated.count >= 3, "{deprecated:?}");
        let place = deprecated.place.unwrap();
        assert!(place.starts_with("with test_object.") && place.contains(", on main.tf line "));
        let late = of("The text may be too old");
        assert_eq!(late.count, 1);
        let place = late.place.unwrap();
        assert!(place.starts_with(&format!("with test_object.late[\"{MASK}\"]")), "{place}");
        assert_eq!(change.tool_warned(), deprecated.count + 1);

        w.variable("TF_CLI_ARGS_plan", "-target=test_object.a", false);
        w.run().await;
        let change = w.api.change();
        let is_told = |warning: &Warning| warning.summary == "Resource targeting is in effect";
        assert!(change.tool_warnings.iter().any(is_told), "{:?}", change.tool_warnings);
    }

    async fn warnings_of_an_apply_and_of_a_plan_that_fails_are_reported(tool) {
        let folder = tempfile::tempdir().unwrap();
        let objects = format!(r#"
resource "test_object" "a" {{
  for_each = toset(["{LOG_SECRET}"])
  name     = "a"
  warns_at = ["apply"]
}}

check "ids" {{
  assert {{
    condition     = alltrue([for a in test_object.a : a.id != "a-1"])
    error_message = "An object is called a-1."
  }}
}}
"#);
        let (mut w, outside) = world(tool, &folder, &objects).await;
        w.variable("HUSH", LOG_SECRET, true);
        w.may_write.push(outside);
        let planned = w.run().await;
        assert_eq!(w.api.data().warnings, []);
        let change = w.api.change();
        let [unknown] = &*change.tool_warnings else { panic!("{change:?}") };
        assert_eq!(unknown.summary, "Check block assertion known after apply");
        w.confirm(&planned);
        let end = w.run().await;
        assert!(matches!(end, ReportKind::Applied { .. }), "{end:?} {}", w.api.log());
        let told = |w: &World| -> Vec<String> {
            w.api.data().warnings.iter().map(Warning::text).collect()
        };
        let [late, check] = &*told(&w) else { panic!("{:?}", told(&w)) };
        assert!(
            late.starts_with(&format!("The text may be too old, with test_object.a[\"{MASK}\"], on")),
            "{late}"
        );
        assert!(
            check.starts_with("Check block assertion failed: An object is called a-1, on main.tf"),
            "{check}"
        );

        w.api.push(archive(&[("infra/main.tf", &(test_provider_code(&folder.path().join("outside")) + r#"
resource "test_object" "b" {
  name     = "b"
  old_text = "x"
  fails_to = ["plan"]
}
"#))]));
        w.claim.phase = Phase::Plan;
        w.claim.plan_digest = None;
        let end = w.run().await;
        assert!(matches!(end, ReportKind::Failed { in_terraform: true, .. }), "{end:?}");
        let [old] = &*told(&w) else { panic!("{:?}", told(&w)) };
        assert!(old.starts_with("Argument is deprecated (2×), with test_object.b, on main.tf"), "{old}");
    }
}

#[tokio::test]
async fn an_action_is_shown_invoked_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let code = format!(
        r#"resource "test_object" "a" {{
  name = "web"
  lifecycle {{
    action_trigger {{
      events  = [after_create]
      actions = [action.test_note.told]
    }}
  }}
}}

action "test_note" "told" {{
  config {{
    text   = "the object is there"
    secret = "{LOG_SECRET}"
  }}
}}
"#
    );
    let (mut w, outside) = world(Tool::Terraform, &folder, &code).await;
    let (tool, needs) = with_actions();
    w.first_on_path = Some(tool);
    w.may_read.extend(needs);
    w.may_write.push(outside.clone());
    let planned = w.run().await;
    let delta = Delta { add: 1, invoke: 1, ..Delta::default() };
    assert!(matches!(planned, ReportKind::Planned { delta: of, .. } if of == delta), "{planned:?}");
    let change = w.api.change();
    let [invocation] = change.invocations.as_slice() else { panic!("{change:?}") };
    assert_eq!(invocation.address, "action.test_note.told");
    assert_eq!(invocation.trigger().as_deref(), Some("after test_object.a is created"));
    let shown = serde_json::to_string(&change).unwrap();
    assert!(shown.contains("the object is there") && !shown.contains(LOG_SECRET), "{shown}");

    w.confirm(&planned);
    assert_eq!(w.run().await, ReportKind::Applied { delta }, "{}", w.api.log());
    let notes = fs::read_to_string(outside.join("notes")).unwrap();
    assert_eq!(notes, "the object is there\n");
    assert!(!w.api.log().contains(LOG_SECRET), "{}", w.api.log());
}
