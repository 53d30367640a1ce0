//! The runner program is killed: Terraform goes on, and what it made is not lost.

use crate::support::{Cut, Hang, World, until};
use gantry_domain::{
    protocol::{ReportKind, StateDoubt},
    stack::Tool,
};
use gantry_engine::kept::is_being_written;
use gantry_runner::rescue::Rescuer;
use gantry_terraform::on_each_tool;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Waits within the run's own folder until the test lets it go on, and says much afterwards.
const SLOW: &str = r#"
resource "terraform_data" "slow" {
  input = sensitive("marked-and-printed")
  provisioner "local-exec" {
    command = "echo made >> $TMPDIR/made; until [ -e $TMPDIR/go ]; do sleep 0.05; done; seq 2000; echo marked-and-printed"
  }
}
resource "terraform_data" "after" {
  input = terraform_data.slow.id
  provisioner "local-exec" {
    command = "echo made >> $TMPDIR/made"
  }
}
"#;

/// What Terraform says before it waits.
const CREATING: &str = "slow: Creating...";

/// When the runner is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// Terraform may not have said anything yet.
    Begins,
    /// A resource is being made.
    Applying,
    /// The state is with Gantry, the end is not.
    StateWritten,
    /// Gantry knows the end, and the runner has not cleaned up.
    Reported,
}

pub(crate) fn names(state: &[u8]) -> Vec<String> {
    let state: Value = serde_json::from_slice(state).unwrap();
    let all = state["resources"].as_array().unwrap().iter();
    all.map(|resource| resource["name"].as_str().unwrap().to_owned()).collect()
}

/// Looks until nothing is left; a rescuer of its own each time, so that none waits in between.
pub(crate) async fn rescued(w: &World) {
    for _ in 0..200 {
        // A process that another test starts has the folder's lock for a moment.
        if Rescuer::new(w.work(), None).look().await && !w.work().join("run-1").exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is still there: {:?}", std::fs::read_dir(w.work()).unwrap().collect::<Vec<_>>());
}

/// An apply whose runner was killed while a resource is made, the runner's program, and the run's
/// folder.
async fn without_its_runner(tool: Tool) -> (World, Command, PathBuf) {
    let mut w = World::on(tool, &[("infra/main.tf", SLOW)]).await;
    w.claim.autodeploy = true;
    let mut program = w.program();
    let mut runner = program.spawn().unwrap();
    let run = w.work().join("run-1");
    until("the apply", || run.join("tmp/made").exists()).await;
    runner.kill().unwrap();
    runner.wait().unwrap();
    (w, program, run)
}

async fn terraform_has_ended(run: &Path) {
    until("the end of Terraform", || !is_being_written(&run.join("output")).unwrap()).await;
}

async fn killed_at(point: Point, tool: Tool) {
    let mut w = World::new(&[("infra/main.tf", SLOW)]).await;
    w.claim.tool = tool;
    w.claim.autodeploy = true;
    w.api.data().hang = match point {
        Point::StateWritten => Some(Hang::BeforeTheEnd),
        Point::Reported => Some(Hang::AfterTheEnd),
        _ => None,
    };
    let mut runner = w.program().spawn().unwrap();
    let run = w.work().join("run-1");
    let (go, made) = (run.join("tmp/go"), run.join("tmp/made"));
    match point {
        Point::Begins => until("the apply", || run.join("output").exists()).await,
        Point::Applying => until("the resource", || made.exists()).await,
        _ => {
            until("the resource", || made.exists()).await;
            std::fs::write(&go, "").unwrap();
            until("the end", || w.api.data().hangs).await;
        }
    }
    if point == Point::Applying {
        // What is not known to have come is brought again.
        let is_brought = || {
            let output = std::fs::read(run.join("output")).unwrap();
            w.api.log().contains(CREATING) && !String::from_utf8_lossy(&output).contains(CREATING)
        };
        until("its log", is_brought).await;
    }
    runner.kill().unwrap();
    runner.wait().unwrap();
    w.api.data().hang = None;
    if point == Point::Applying {
        assert!(is_being_written(&run.join("output")).unwrap(), "Terraform died with its runner");
        assert!(!Rescuer::new(w.work(), None).look().await, "nobody waits for Terraform");
        assert!(made.exists());
    }
    let _not_there_where_all_is_gone = std::fs::write(&go, "");
    terraform_has_ended(&run).await;
    let made = std::fs::read_to_string(&made).unwrap_or_default();
    // The network is gone for a while as well.
    w.api.data().failing = 4;
    rescued(&w).await;

    assert!(!run.exists());
    assert!(made.lines().count() <= 2, "{made}");
    let data = w.api.data();
    let end = data.reports.last().unwrap();
    match point {
        Point::Begins => {
            assert!(matches!(end, ReportKind::Interrupted { .. }), "{end:?}");
            assert!(data.doubt.is_some());
            // Made by Terraform, or not begun: never made and unknown.
            let kept = data.rescued.last().map(|state| names(state)).unwrap_or_default();
            assert_eq!(kept.len(), made.lines().count(), "{kept:?}");
        }
        Point::Applying => {
            assert!(matches!(end, ReportKind::Interrupted { .. }), "{end:?}");
            assert_eq!(data.doubt, Some(StateDoubt::KeptAside));
            assert_eq!(data.rescued.len(), 1);
            assert_eq!(names(&data.rescued[0]), ["after", "slow"]);
            // What was said without it is there, and once.
            drop(data);
            let log = w.api.log();
            let died = log.find("the rest was found on its machine:").unwrap();
            assert!(log.contains("(local-exec):\u{1b}[0m \u{1b}[0m(secret)\n"), "{log}");
            assert!(!log.contains("marked-and-printed"), "{log}");
            for line in ["1999\n", "after: Creation complete", "Failed to save state"] {
                assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
                assert!(log.find(line).unwrap() > died, "{line}: {log}");
            }
            assert!(
                log.find(CREATING).unwrap() < died && log.matches(CREATING).count() == 1,
                "{log}"
            );
        }
        Point::StateWritten | Point::Reported => {
            assert!(matches!(end, ReportKind::Applied { .. }), "{end:?}");
            assert_eq!((data.doubt, data.rescued.len()), (None, 0));
            assert_eq!(names(data.states.last().unwrap()), ["after", "slow"]);
        }
    }
}

on_each_tool! {
    async fn killed_before_the_first_output(tool) {
        killed_at(Point::Begins, tool).await;
    }

    async fn killed_while_a_resource_is_made(tool) {
        killed_at(Point::Applying, tool).await;
    }

    async fn killed_between_the_state_and_the_report(tool) {
        killed_at(Point::StateWritten, tool).await;
    }

    async fn killed_between_the_report_and_the_clean_up(tool) {
        killed_at(Point::Reported, tool).await;
    }
}

on_each_tool! {
    /// As long as it takes, somebody waits, who passes on a wish to stop: once.
    async fn an_apply_without_its_runner_is_asked_to_stop(tool) {
        let (w, ..) = without_its_runner(tool).await;
        w.api.data().stop = Some("Stopped by alice".into());
        assert!(!Rescuer::new(w.work(), None).look().await, "nobody waits for Terraform");
        rescued(&w).await;
        let log = w.api.log();
        assert_eq!(log.matches("Interrupt received").count(), 1, "{log}");
        let data = w.api.data();
        assert!(matches!(data.reports.last(), Some(ReportKind::Interrupted { .. })));
        let state: Value = serde_json::from_slice(&data.rescued[0]).unwrap();
        assert_eq!(names(&data.rescued[0]), ["slow"]);
        assert_eq!(state["resources"][0]["instances"][0]["status"], "tainted");
    }
}

on_each_tool! {
    /// As a build on AWS does, whose machine goes away with it.
    async fn a_machine_that_goes_away_brings_first_what_is_left(tool) {
        let (w, mut program, run) = without_its_runner(tool).await;
        let mut rescuer = program.arg("--rescue").spawn().unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(rescuer.try_wait().unwrap().is_none(), "it does not wait");
        w.api.data().failing = 2;
        std::fs::write(run.join("tmp/go"), "").unwrap();
        until("its end", || rescuer.try_wait().unwrap().is_some()).await;
        assert!(rescuer.wait().unwrap().success());
        let data = w.api.data();
        assert_eq!(names(&data.rescued[0]), ["after", "slow"]);
        assert_eq!(data.doubt, Some(StateDoubt::KeptAside));
        assert!(!run.exists());
    }
}

/// What nobody takes is said, and not awaited for ever.
#[tokio::test]
async fn a_machine_goes_away_with_what_nobody_takes() {
    let (w, mut program, run) = without_its_runner(Tool::Terraform).await;
    w.api.data().refuses_states = true;
    std::fs::write(run.join("tmp/go"), "").unwrap();
    let mut rescuer = program.arg("--rescue").spawn().unwrap();
    until("its end", || rescuer.try_wait().unwrap().is_some()).await;
    assert!(!rescuer.wait().unwrap().success());
    assert_eq!(w.api.data().doubt, Some(StateDoubt::NotDelivered));
}

/// Nothing was applied: the run fails at once, and nothing is left of it.
#[tokio::test]
async fn killed_while_it_plans() {
    let mut w = World::new(&[("infra/main.tf", SLOW)]).await;
    w.claim.hooks.before_plan = vec!["echo > $TMPDIR/plans; sleep 300".into()];
    let mut runner = w.program().spawn().unwrap();
    let run = w.work().join("run-1");
    until("the plan", || run.join("tmp/plans").exists()).await;
    assert!(Rescuer::new(w.work(), None).look().await, "a runner that lives is left alone");
    assert!(run.exists());
    runner.kill().unwrap();
    runner.wait().unwrap();
    rescued(&w).await;
    assert!(!run.exists());
    let ReportKind::Failed { summary, .. } = w.api.reports().pop().unwrap() else { panic!() };
    assert_eq!(summary, "Nothing was applied: the runner died");
    assert_eq!(w.api.data().doubt, None);
}

/// A resource that is made once, however often somebody applies.
const ONE: &str = r#"
resource "terraform_data" "one" {
  provisioner "local-exec" {
    command = "echo made >> $TMPDIR/made"
  }
}
"#;

/// The runner lives, and tries longer than it has patience for.
async fn given_up(cut: Option<Cut>, tool: Tool) {
    let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
    w.claim.autodeploy = true;
    let short = Duration::from_millis(300);
    (w.timings.patience, w.timings.report_patience) = (2 * short, short);
    w.timings.state_patience = short;
    (w.api.data().cut, w.api.data().refuses_states) = (cut, cut.is_none());
    let config = w.offer();
    let run = w.work().join("run-1");
    // As a preview has them.
    for folder in ["layer/tree", "changes/changed"] {
        std::fs::create_dir_all(run.join(folder)).unwrap();
    }
    let ended = gantry_runner::run(config).await;
    for folder in ["job", "layer", "changes"] {
        assert!(!run.join(folder).exists(), "{folder}");
    }
    let made = || std::fs::read_to_string(run.join("tmp/made")).unwrap_or_default();
    assert_eq!(made(), "made\n");
    let error = ended.unwrap_err().to_string();
    match cut {
        Some(Cut::BeforeTheEnd) => {
            assert!(error.contains("the result was not reported"), "{error}")
        }
        _ => assert!(error.contains("states remain in"), "{error}"),
    }
    if cut.is_none() {
        // Who refuses a state can be told so.
        let ReportKind::Failed { summary, .. } = w.api.reports().pop().unwrap() else { panic!() };
        assert_eq!(summary, "Failed to save state");
        assert_eq!(w.api.data().doubt, Some(StateDoubt::NotDelivered));
        let log = w.api.log();
        let named = log.lines().filter_map(|line| line.split_once("runner's machine: "));
        let named: Vec<_> = named.map(|(_, path)| Path::new(path)).collect();
        assert!(!named.is_empty() && named.iter().all(|path| path.exists()), "{named:?}");
        assert!(!Rescuer::new(w.work(), None).look().await, "it is refused still");
    } else {
        assert!(!matches!(w.api.reports().pop(), Some(ReportKind::Failed { .. })));
        assert!(!Rescuer::new(w.work(), None).look().await, "the network is gone still");
    }
    assert!(run.exists());
    w.api.data().mend();
    rescued(&w).await;

    assert!(!run.exists());
    let data = w.api.data();
    let end = data.reports.last().unwrap();
    let (states, rescued): (Vec<_>, Vec<_>) = (
        data.states.iter().map(|s| names(s)).collect(),
        data.rescued.iter().map(|s| names(s)).collect(),
    );
    match cut {
        None | Some(Cut::BeforeTheState) => {
            assert!(matches!(end, ReportKind::Failed { .. }), "{end:?}");
            assert_eq!(
                (data.doubt, rescued),
                (Some(StateDoubt::KeptAside), vec![vec!["one".to_owned()]])
            );
        }
        Some(Cut::AfterTheState) => {
            assert!(matches!(end, ReportKind::Failed { .. }), "{end:?}");
            assert_eq!((data.doubt, rescued.len(), states.len()), (None, 0, 1), "{states:?}");
        }
        Some(Cut::BeforeTheEnd) => {
            assert!(matches!(end, ReportKind::Applied { .. }), "{end:?}");
            assert_eq!((data.doubt, rescued.len(), states.len()), (None, 0, 1), "{states:?}");
        }
    }
}

on_each_tool! {
    async fn a_state_that_is_refused_is_brought_once_it_is_wanted(tool) {
        given_up(None, tool).await;
    }

    async fn a_network_that_is_cut_before_the_state_came(tool) {
        given_up(Some(Cut::BeforeTheState), tool).await;
    }

    async fn a_network_that_is_cut_before_the_state_was_acknowledged(tool) {
        given_up(Some(Cut::AfterTheState), tool).await;
    }

    async fn a_network_that_is_cut_before_the_end_was_told(tool) {
        given_up(Some(Cut::BeforeTheEnd), tool).await;
    }
}
