//! Processes that a run leaves in the background end with its phase, however that ends.

use crate::support::{Mark, World, until};
use gantry_domain::{protocol::ReportKind, run::RunType};
use gantry_engine::kept::is_being_written;
use gantry_terraform::on_each_tool;

/// A resource whose provisioner runs the command.
fn making(command: &str) -> String {
    format!(
        "resource \"terraform_data\" \"one\" {{\n  provisioner \"local-exec\" {{\n    \
         command = <<-END\n      {command}\n    END\n  }}\n}}\n"
    )
}

fn none() -> Vec<u32> {
    Vec::new()
}

on_each_tool! {
    async fn an_apply_leaves_none(tool) {
        let mark = Mark::new();
        let mut w = World::on(tool, &[("infra/main.tf", &making(&mark.left_behind()))]).await;
        let planned = w.run().await;
        w.confirm(&planned);
        let applied = w.run().await;
        assert!(matches!(applied, ReportKind::Applied { .. }), "{applied:?} {}", w.api.log());
        assert_eq!(mark.processes(), none());
    }

    async fn a_module_test_leaves_none(tool) {
        let (by_hook, mark) = (Mark::new(), Mark::new());
        let mut w = World::on(tool, &[("infra/main.tf", &making(&mark.left_behind()))]).await;
        w.claim.run_type = RunType::Test;
        w.claim.hooks.before_plan = vec![by_hook.left_behind()];
        let ended = w.run().await;
        assert!(matches!(ended, ReportKind::Destroyed { .. }), "{ended:?} {}", w.api.log());
        assert_eq!((by_hook.processes(), mark.processes()), (none(), none()));
    }

    async fn a_run_that_is_stopped_leaves_none(tool) {
        let mark = Mark::new();
        let mut w = World::on(tool, &[("infra/main.tf", &making("true"))]).await;
        w.claim.hooks.before_plan = vec![format!("{}; sleep 300", mark.left_behind())];
        let config = w.offer();
        let run = tokio::spawn(gantry_runner::run(config));
        until("the hook", || mark.processes().len() == 1).await;
        w.api.data().stop = Some("Stopped by alice".to_owned());
        run.await.unwrap().unwrap();
        assert_eq!(mark.processes(), none());
    }

    /// All end at once, but an apply, which ends first.
    async fn a_runner_that_is_killed_leaves_none(tool) {
        let mark = Mark::new();
        let command = format!(
            "{}\n      echo > $TMPDIR/made; until [ -e $TMPDIR/go ]; do sleep 0.05; done",
            mark.left_behind()
        );
        let mut w = World::on(tool, &[("infra/main.tf", &making(&command))]).await;
        w.claim.autodeploy = true;
        let mut runner = w.program().spawn().unwrap();
        let run = w.work().join("run-1");
        until("the resource", || run.join("tmp/made").exists()).await;
        runner.kill().unwrap();
        runner.wait().unwrap();
        assert!(is_being_written(&run.join("output")).unwrap(), "the apply ended with its runner");
        assert_eq!(mark.processes().len(), 1);
        std::fs::write(run.join("tmp/go"), "").unwrap();
        until("the end of all", || mark.processes().is_empty()).await;
        until("the end of the apply", || !is_being_written(&run.join("output")).unwrap()).await;
        let state = std::fs::read(run.join("job/workspace/infra/errored.tfstate")).unwrap();
        assert_eq!(crate::rescued::names(&state), ["one"], "the apply did not come to its end");

        let mark = Mark::new();
        let mut w = World::on(tool, &[("infra/main.tf", &making("true"))]).await;
        w.claim.hooks.before_plan = vec![format!("{}; sleep 300", mark.left_behind())];
        let mut runner = w.program().spawn().unwrap();
        until("the hook", || mark.processes().len() == 1).await;
        runner.kill().unwrap();
        runner.wait().unwrap();
        until("the end of all", || mark.processes().is_empty()).await;
    }
}
