//! Runs with the provider for tests, which has something outside: confined as all others are.

use crate::support::World;
use gantry_domain::{plan::Delta, protocol::ReportKind, run::Phase, stack::Tool};
use gantry_terraform::{mirror_config, on_each_tool, test_provider, test_provider_code};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

const OBJECT: &str = "resource \"test_object\" \"a\" {\n  name = \"web\"\n  text = \"hello\"\n}\n";

/// A world with a folder outside.
async fn world(tool: Tool, folder: &tempfile::TempDir) -> (World, PathBuf) {
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let config = folder.path().join("terraform.rc");
    fs::write(&config, mirror_config(test_provider())).unwrap();
    let code = test_provider_code(&outside) + OBJECT;
    let mut w = World::on(tool, &[("infra/main.tf", &code)]).await;
    w.terraform_config = Some(config);
    (w, outside)
}

on_each_tool! {
    async fn objects_outside_are_made_and_drift(tool) {
        let folder = tempfile::tempdir().unwrap();
        let (mut w, outside) = world(tool, &folder).await;
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
        let (mut w, outside) = world(tool, &folder).await;
        w.may_read.push(outside.clone());
        let planned = w.run().await;
        w.confirm(&planned);
        let end = w.run().await;
        assert!(matches!(end, ReportKind::Failed { in_terraform: true, .. }), "{end:?}");
        assert!(w.api.log().contains("cannot make the object web-1"), "{}", w.api.log());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
