//! Tasks: one command in the stack's initialised workspace, with its credentials and its state.

use crate::{
    rescued::{names, rescued},
    support::{LOG_SECRET, World, until},
};
use gantry_domain::{
    plan::Delta,
    protocol::{ReportKind, StateDoubt},
    stack::Tool,
};
use gantry_engine::kept::is_being_written;
use gantry_runner::{Outcome, rescue::Rescuer};
use gantry_terraform::on_each_tool;
use std::time::{Duration, Instant};

const TWO: &str = "resource \"terraform_data\" \"one\" {\n  input = \"a\"\n}\n\
                   resource \"terraform_data\" \"two\" {\n  input = sensitive(\"marked-in-the-state\")\n}\n";

/// A stack whose code was applied, and whose next run executes this.
async fn task(tool: Tool, command: &str) -> World {
    let mut w = World::on(tool, &[("infra/main.tf", TWO)]).await;
    w.claim.autodeploy = true;
    let end = w.run().await;
    assert!(matches!(end, ReportKind::Applied { .. }), "{end:?} {}", w.api.log());
    {
        let mut data = w.api.data();
        data.plan = None;
        data.reports.clear();
    }
    w.claim.task = Some(command.to_owned());
    w
}

fn done() -> ReportKind {
    ReportKind::Applied { delta: Delta::default() }
}

fn current(w: &World) -> Vec<String> {
    names(w.api.data().states.last().unwrap())
}

on_each_tool! {
    async fn a_task_is_executed_after_init_with_the_stacks_variables(tool) {
        let command = format!("{0} state list; {0} state show terraform_data.two; {0} state pull; \
            echo \"$SHOWN $HUSH in ${{PWD##*/}}\"", tool.command());
        let mut w = task(tool, &command).await;
        w.variable("SHOWN", "shown", false);
        w.variable("HUSH", LOG_SECRET, true);
        w.claim.hooks.before_init = vec!["echo a hook before init".into()];
        w.claim.hooks.after_init = vec!["echo a hook after init".into()];
        for hooks in [
            &mut w.claim.hooks.before_plan,
            &mut w.claim.hooks.before_apply,
            &mut w.claim.hooks.after_apply,
        ] {
            *hooks = vec!["echo a hook of something else".into()];
        }
        assert_eq!(w.run().await, done(), "{}", w.api.log());
        let nothing = ReportKind::Planned {
            delta: Delta::default(),
            plan_digest: None,
            partial: false,
            failed_checks: 0,
            tolerated: 0,
        };
        assert_eq!(w.api.reports(), [nothing, done()]);
        let log = w.api.log();
        for said in [
            "\na hook before init\n", "\na hook after init\n", "\nterraform_data.one\n",
            "\nshown (secret) in infra\n", "state output hidden",
        ] {
            assert!(log.contains(said), "{said} is not in {log}");
        }
        for not_said in ["a hook of something else", " plan -input", "marked-in-the-state"] {
            assert!(!log.contains(not_said), "{not_said} is in {log}");
        }
        let data = w.api.data();
        assert!(data.plan.is_none() && data.lock.is_none() && data.states.len() == 1);
    }

    async fn a_task_may_change_the_state(tool) {
        let command = format!("{} state rm terraform_data.one", tool.command());
        let mut w = task(tool, &command).await;
        assert_eq!(w.run().await, done(), "{}", w.api.log());
        assert_eq!(current(&w), ["two"]);
        assert!(w.api.data().lock.is_none());
    }

    async fn a_task_fails_with_its_command(tool) {
        for (command, said) in [
            ("echo it is wrong; exit 3", "The command ended with exit code 3"),
            ("echo it is wrong; kill -9 $$", "The command was ended: signal: 9 (SIGKILL)"),
        ] {
            let mut w = task(tool, command).await;
            let ReportKind::Failed { summary, errors, log_tail, in_terraform: false } = w.run().await
            else {
                panic!("{}", w.api.log())
            };
            assert_eq!((summary.as_str(), errors.len()), (said, 0));
            assert!(log_tail.iter().any(|line| line == "it is wrong"), "{log_tail:?}");
            assert_eq!(current(&w), ["one", "two"]);
        }
    }

    async fn a_task_that_is_stopped_ends_and_starts_nothing_more(tool) {
        let mut w = task(tool, "echo it has begun; sleep 300; echo it goes on").await;
        let running = tokio::spawn(gantry_runner::run(w.offer()));
        until("the task", || w.api.log().contains("\nit has begun\n")).await;
        w.api.data().stop = Some("Stopped by alice".into());
        let asked = Instant::now();
        let outcome = running.await.unwrap().unwrap();
        let summary = "The command ended with exit code 130".to_owned();
        assert_eq!(outcome, Outcome::Reported(ReportKind::Interrupted { summary }));
        assert!(asked.elapsed() < Duration::from_secs(30));
        assert!(!w.api.log().contains("\nit goes on\n"), "{}", w.api.log());
    }

    async fn a_task_that_does_not_want_to_end_is_ended(tool) {
        let mut w = task(tool, "trap '' INT; echo it has begun; while :; do sleep 0.1; done").await;
        w.timings.grace = Duration::from_millis(50);
        let running = tokio::spawn(gantry_runner::run(w.offer()));
        until("the task", || w.api.log().contains("\nit has begun\n")).await;
        w.api.data().stop = Some("Stopped by alice".into());
        let outcome = running.await.unwrap().unwrap();
        let summary = "The command was ended: signal: 9 (SIGKILL)".to_owned();
        assert_eq!(outcome, Outcome::Reported(ReportKind::Interrupted { summary }));
    }

    /// The limit of an apply counts from the end of init.
    async fn a_task_that_takes_too_long_is_stopped(tool) {
        let mut w = task(tool, "sleep 300").await;
        w.claim.apply_timeout = 1;
        let summary = "The task took longer than 1 seconds".to_owned();
        assert_eq!(w.run().await, ReportKind::Interrupted { summary });
    }

    async fn a_state_of_a_task_that_is_not_accepted_is_set_aside(tool) {
        let command = format!("{} state rm terraform_data.one", tool.command());
        let mut w = task(tool, &command).await;
        w.api.data().failing_commits = 1000;
        let end = w.run().await;
        assert!(matches!(end, ReportKind::Failed { .. }), "{end:?} {}", w.api.log());
        assert_eq!(current(&w), ["one", "two"]);
        let data = w.api.data();
        assert_eq!((data.doubt, data.rescued.len()), (Some(StateDoubt::KeptAside), 1));
        assert_eq!(names(&data.rescued[0]), ["two"]);
    }

    /// As an apply: what it is about to write must not be lost.
    async fn a_task_goes_on_when_its_runner_is_killed(tool) {
        let mut w = task(
            tool,
            "echo > $TMPDIR/made; until [ -e $TMPDIR/go ]; do sleep 0.05; done; echo > $TMPDIR/done",
        )
        .await;
        let mut runner = w.program().spawn().unwrap();
        let run = w.work().join("run-1");
        until("the task", || run.join("tmp/made").exists()).await;
        runner.kill().unwrap();
        runner.wait().unwrap();
        assert!(is_being_written(&run.join("output")).unwrap(), "the task died with its runner");
        assert!(!Rescuer::new(w.work(), None).look().await, "nobody waits for the task");
        std::fs::write(run.join("tmp/go"), "").unwrap();
        until("its end", || run.join("tmp/done").exists()).await;
        rescued(&w).await;
        let data = w.api.data();
        assert!(matches!(data.reports.last(), Some(ReportKind::Interrupted { .. })));
        assert_eq!(data.doubt, Some(StateDoubt::RunnerDied));
    }
}
