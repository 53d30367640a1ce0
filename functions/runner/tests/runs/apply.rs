//! Applies on real Terraform: exactly the plan that was shown, and a state that is never lost.

use crate::support::{World, until};
use gantry_domain::{
    plan::Delta,
    protocol::{ReportKind, StateDoubt},
    stack::Tool,
};
use gantry_runner::Outcome;
use gantry_terraform::on_each_tool;
use serde_json::Value;
use std::time::Duration;

const ONE: &str = r#"
resource "terraform_data" "one" {
  input = "a"
}
output "shown" {
  value = terraform_data.one.output
}
"#;

/// Takes long, and says when it has begun.
const SLOW: &str = r#"
resource "terraform_data" "first" {
  input = "a"
}
resource "terraform_data" "slow" {
  input = terraform_data.first.output
  provisioner "local-exec" {
    command = "echo has begun; sleep ${var.seconds}"
  }
}
resource "terraform_data" "never" {
  input = terraform_data.slow.output
}
variable "seconds" {}
"#;

fn state(w: &World) -> Value {
    serde_json::from_slice(w.api.data().states.last().unwrap()).unwrap()
}

fn resources(state: &Value) -> Vec<&str> {
    state["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect()
}

on_each_tool! {
    async fn what_was_planned_is_applied_on_another_machine(tool) {
        let generated = (
            "infra/main.tf",
            "resource \"terraform_data\" \"one\" {\n  input = file(\"${path.module}/generated\")\n}\n",
        );
        for signs in [false, true] {
            let mut w = World::on(tool, &[generated]).await;
            w.api.data().signs = signs;
            w.claim.hooks.before_init = vec!["echo once >> generated".into()];
            w.claim.hooks.before_apply = vec!["echo before the apply; cat generated".into()];
            w.claim.hooks.after_apply = vec!["echo after the apply".into()];
            let planned = w.run().await;
            assert!(w.api.data().states.is_empty() && w.api.data().lock.is_none());
            w.confirm(&planned);
            let applied = w.run().await;
            let delta = Delta { add: 1, ..Delta::default() };
            assert_eq!(applied, ReportKind::Applied { delta }, "{}", w.api.log());
            assert_eq!(resources(&state(&w)), ["one"]);
            let log = w.api.log();
            assert!(log.contains("-lockfile=readonly") && !log.contains("before_init"), "{log}");
            assert!(log.contains("\nonce\n") && log.contains("\nafter the apply\n"), "{log}");
            assert!(w.api.data().lock.is_none());

            // The next run sees what this one made.
            w.claim.phase = gantry_domain::run::Phase::Plan;
            w.claim.plan_digest = None;
            let again = w.run().await;
            assert_eq!(again, ReportKind::Planned { delta: Delta::default(), plan_digest: None, partial: false, failed_checks: 0, tolerated: 0 });
        }
    }
}

on_each_tool! {
    async fn each_kind_of_change_is_told_and_counted(tool) {
        let before = r#"
resource "terraform_data" "kept" {
  input = "a"
}
resource "terraform_data" "number" {
  input = 18446744073709551616
}
resource "terraform_data" "third" {
  input = 1 / 3
}
resource "terraform_data" "huge" {
  input = 1e400
}
resource "terraform_data" "text" {
  input = "ab"
}
output "opened" {
  value     = "the same"
  sensitive = true
}
"#;
        let after = r#"
removed {
  from = terraform_data.kept
  lifecycle {
    destroy = false
  }
}
resource "terraform_data" "number" {
  input = 18446744073709551617
}
resource "terraform_data" "third" {
  input = 1 / 3 + 1e-40
}
resource "terraform_data" "huge" {
  input = 2e400
}
resource "terraform_data" "text" {
  input = "a\u200bb"
}
output "opened" {
  value = "the same"
}
"#;
        let mut w = World::on(tool, &[("infra/main.tf", before)]).await;
        let planned = w.run().await;
        w.confirm(&planned);
        w.run().await;

        w.api.push(crate::support::archive(&[("infra/main.tf", after)]));
        w.claim.phase = gantry_domain::run::Phase::Plan;
        w.claim.plan_digest = None;
        let planned = w.run().await;
        let change = w.api.change();
        assert_eq!(change.tool, tool);
        let parts = gantry_domain::text::change::parts(&change).into_iter();
        let lines = parts.flat_map(|part| [part.head, part.rest].concat());
        let lines = lines.collect::<Vec<_>>().join("\n");
        for line in [
            "! output opened is no longer sensitive and will be visible after the apply",
            "! terraform_data.kept will be forgotten, but not destroyed",
            "!   input = 18446744073709551616 -> 18446744073709551617",
            r#"!   input = "ab" -> "a\u200bb""#,
            "!   opened = (sensitive value)  # no longer sensitive; the value is unchanged",
        ] {
            assert!(lines.contains(line), "{line} is not in\n{lines}");
        }
        for (name, differs) in [("third", "3333433333"), ("huge", "-> 2000000000")] {
            let heading = format!("! terraform_data.{name} will be updated in place\n");
            let shown = lines.split_once(&heading).unwrap_or_else(|| panic!("{lines}")).1;
            let shown = shown.split_once("output = ").map_or("", |(input, _)| input);
            assert!(shown.contains(differs), "{shown}");
        }
        w.confirm(&planned);
        let delta = Delta { change: 4, forget: 1, outputs: 1, ..Delta::default() };
        assert_eq!(w.run().await, ReportKind::Applied { delta }, "{}", w.api.log());
    }
}

/// Terraform of the tests does not know `destroy = false` of a resource.
#[tokio::test]
async fn a_replacement_that_leaves_the_old_object_is_told_and_counted() {
    if !gantry_terraform::has(Tool::OpenTofu) {
        return;
    }
    let code = |version: u32| {
        format!(
            "resource \"terraform_data\" \"kept\" {{\n  triggers_replace = {version}\n  lifecycle \
             {{\n    destroy = false\n  }}\n}}\n"
        )
    };
    let mut w = World::on(Tool::OpenTofu, &[("infra/main.tf", &code(1))]).await;
    let planned = w.run().await;
    w.confirm(&planned);
    w.run().await;
    w.api.push(crate::support::archive(&[("infra/main.tf", &code(2))]));
    w.claim.phase = gantry_domain::run::Phase::Plan;
    w.claim.plan_digest = None;
    let planned = w.run().await;
    let change = w.api.change();
    let [kept] = &*change.resources else { panic!("{change:?}") };
    assert_eq!(kept.action, gantry_domain::plan::Action::ReplaceAndForget);
    w.confirm(&planned);
    let delta = Delta { add: 1, replace: 1, forget: 1, ..Delta::default() };
    assert_eq!(w.run().await, ReportKind::Applied { delta }, "{}", w.api.log());
}

on_each_tool! {
    async fn what_the_plan_marks_is_in_nothing_that_is_said_after_it(tool) {
        let code = r#"
resource "terraform_data" "url" {
  input = "https://user:${trimspace(file("${path.module}/value"))}@host"
}
output "made" {
  value     = "made:${terraform_data.url.id}"
  sensitive = true
}
resource "terraform_data" "one" {
  input = sensitive(trimspace(file("${path.module}/value")))
  provisioner "local-exec" {
    command = "echo the provisioner says $(cat ${path.module}/value)"
  }
}
"#;
        let marked = "marked-by-the-plan-alone";
        let mut w = World::on(tool, &[("infra/main.tf", code), ("infra/value", marked)]).await;
        w.claim.hooks.after_plan = vec!["echo after the plan $(cat value)".into()];
        w.claim.hooks.before_apply = vec!["echo before the apply $(cat value)".into()];
        w.claim.hooks.after_apply = vec![
            format!("echo made by the apply $({} output -raw made)", tool.command()),
            "echo after the apply $(cat value) >&2; exit 3".into(),
        ];
        let planned = w.run().await;
        let log_of_plan = w.api.log();
        w.confirm(&planned);
        let ended = format!("{:?}", w.run().await);
        let log = log_of_plan + &w.api.log();
        for said in ["made by the apply", "after the plan", "before the apply", "the provisioner says", "after the apply"] {
            assert!(log.contains(&format!("{said} (secret)")), "{log}");
        }
        // The plan as it is printed.
        assert!(log.contains("\"https://user:(secret)@host\""), "{log}");
        assert!(ended.contains("The after_apply hook failed"), "{ended}");
        assert!(!log.contains(marked) && !ended.contains(marked), "{ended} {log}");
    }
}

on_each_tool! {
    async fn what_a_plan_that_fails_marks_is_in_nothing_that_is_said_of_it(tool) {
        let code = r#"
resource "terraform_data" "url" {
  input = "https://user:${trimspace(file("${path.module}/value"))}@host"
}
resource "terraform_data" "one" {
  input = sensitive(trimspace(file("${path.module}/value")))
}
resource "terraform_data" "never" {
  input = "x"
  lifecycle {
    precondition {
      condition     = fileexists("${path.module}/allowed")
      error_message = "It is ${file("${path.module}/value")} that is not allowed."
    }
  }
}
"#;
        let marked = "marked-by-a-plan-that-fails";
        let mut w = World::on(tool, &[("infra/main.tf", code), ("infra/value", marked)]).await;
        let ended = format!("{:?}", w.run().await);
        let log = w.api.log();
        assert!(log.contains("but then encountered a problem"), "{log}");
        assert!(log.contains("\"https://user:(secret)@host\""), "{log}");
        assert!(log.contains("It is (secret)"), "{log}");
        assert!(ended.contains("It is (secret)"), "{ended}");
        assert!(!log.contains(marked) && !ended.contains(marked), "{ended} {log}");
    }
}

on_each_tool! {
    async fn autodeploy_applies_at_once(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.autodeploy = true;
        w.claim.hooks.after_apply = vec!["exit 5".into()];
        let ReportKind::Failed { summary, in_terraform, .. } = w.run().await else { panic!() };
        assert_eq!(
            summary,
            "Applied (1 added, 0 changed, 0 destroyed, 1 output). The after_apply hook failed (exit status: 5): exit 5"
        );
        assert!(!in_terraform);
        let kinds: Vec<_> = w.api.reports();
        assert!(matches!(kinds[1], ReportKind::Planned { plan_digest: Some(_), .. }));

        w.claim.hooks.after_apply.clear();
        let mut w2 = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w2.claim.autodeploy = true;
        let delta = Delta { add: 1, outputs: 1, ..Delta::default() };
        assert_eq!(w2.run().await, ReportKind::Applied { delta });
        assert_eq!(state(&w2)["outputs"]["shown"]["value"], "a");
    }
}

on_each_tool! {
    /// Nothing that is planned or applied rests on a state that was read before the lock was taken.
    async fn the_lock_is_taken_before_the_state_is_read(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        let planned = w.run().await;
        let plan = std::mem::take(&mut w.api.data().state_calls).join(", ");
        w.confirm(&planned);
        assert!(matches!(w.run().await, ReportKind::Applied { .. }), "{}", w.api.log());
        let apply = std::mem::take(&mut w.api.data().state_calls).join(", ");
        // What `init` reads first decides nothing.
        let begins = "GET /state, POST /state/lock, GET /state, ";
        assert!(plan.starts_with(begins) && plan.ends_with("DELETE /state/lock"), "{plan}");
        let writes = "PUT /state/upload, POST /state, DELETE /state/lock";
        assert!(apply.starts_with(begins) && apply.ends_with(writes), "{apply}");
    }
}

on_each_tool! {
    async fn another_plan_than_the_one_shown_is_refused(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.hooks.before_apply = vec!["echo reached".into()];
        let planned = w.run().await;
        w.confirm(&planned);
        w.api.data().plan.as_mut().unwrap().push(0);
        let ReportKind::Failed { summary, in_terraform, .. } = w.run().await else { panic!() };
        assert!(
            summary.starts_with(
                "Nothing was applied: the saved plan is not the one that was shown"
            ),
            "{summary}"
        );
        assert!(!in_terraform && !w.api.log().contains("init"), "{}", w.api.log());

        w.claim.plan_digest = None;
        let ReportKind::Failed { summary, .. } = w.run().await else { panic!() };
        assert_eq!(summary, "Nothing was applied: The run has no saved plan");
        assert!(w.api.data().states.is_empty());
    }
}

on_each_tool! {
    async fn what_was_shown_is_applied_whatever_hooks_plan(tool) {
        let other = format!(
            "sed -i s/shown/other/ main.tf; {0} plan -lock=false -out=../../plan.tfplan; \
             cp -f ../../plan.tfplan ../../../shown/plan.tfplan; mv ../../plan.tfplan ../../../shown; \
             rm -rf ../../../shown; chmod 777 ../../../shown ../../../shown/plan.tfplan; true",
            tool.command()
        );
        let one = "resource \"terraform_data\" \"one\" {\n  input = \"shown\"\n}\n";
        for (phase, autodeploy) in [("plan", true), ("plan", false), ("apply", false)] {
            let mut w = World::on(tool, &[("infra/main.tf", one)]).await;
            let hooks = &mut w.claim.hooks;
            match phase {
                "plan" => hooks.after_plan = vec![other.clone()],
                _ => hooks.before_apply = vec![other.clone()],
            }
            w.claim.autodeploy = autodeploy;
            let mut end = w.run().await;
            if !autodeploy {
                w.confirm(&end);
                end = w.run().await;
            }
            assert!(matches!(end, ReportKind::Applied { .. }), "{phase}: {}", w.api.log());
            let state = String::from_utf8(w.api.data().states.pop().unwrap().into()).unwrap();
            assert!(state.contains("shown") && !state.contains("other"), "{phase}: {state}");
        }
    }
}

on_each_tool! {
    async fn a_state_that_moved_makes_the_plan_stale(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        let planned = w.run().await;
        w.api.data().states.push(
            r#"{"version":4,"terraform_version":"1.0.0","serial":9,"lineage":"x","outputs":{},"resources":[]}"#
                .into(),
        );
        w.confirm(&planned);
        let ReportKind::Failed { summary, in_terraform, .. } = w.run().await else { panic!() };
        assert!(summary.contains("Saved plan"), "{summary}");
        assert!(in_terraform);
        assert_eq!(w.api.data().states.len(), 1);
    }
}

on_each_tool! {
    async fn a_proposed_run_cannot_write_the_state(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.run_type = gantry_domain::run::RunType::Proposed;
        // What its code can do at most: ask the backend itself.
        let ask = |method: &str, path: &str| {
            format!(
                "curl -s -o /dev/null -w '{method} {path} %{{http_code}}\\n' -X {method} -d '{{}}' \
                 -u $TF_HTTP_USERNAME:$TF_HTTP_PASSWORD ${{TF_HTTP_ADDRESS%state}}{path}"
            )
        };
        w.claim.hooks.before_plan = vec![
            ask("POST", "state"),
            ask("POST", "lock"),
            ask("DELETE", "lock"),
            "curl -s -o /dev/null -w 'without %{http_code}\\n' $TF_HTTP_ADDRESS".into(),
        ];
        w.run().await;
        let log = w.api.log();
        for said in ["POST state 403", "POST lock 403", "DELETE lock 403", "without 401"] {
            assert!(log.contains(said), "{log}");
        }
        assert!(w.api.data().states.is_empty());
        // And a run of that type is never applied, whoever asks.
        w.claim.phase = gantry_domain::run::Phase::Apply;
        w.claim.plan_digest = Some("00".repeat(32));
        let ReportKind::Failed { summary, .. } = w.run().await else { panic!() };
        assert_eq!(summary, "Nothing was applied: A preview is never applied");
    }
}

on_each_tool! {
    async fn an_interrupted_apply_finishes_what_is_in_flight_and_writes_its_state(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", SLOW)]).await;
        w.variable("TF_VAR_seconds", "30", false);
        w.claim.autodeploy = true;
        let running = tokio::spawn(gantry_runner::run(w.offer()));
        until("the apply", || w.api.log().contains("has begun\n")).await;
        w.api.data().stop = Some("Stopped by alice".into());
        let Ok(Outcome::Reported(report)) = running.await.unwrap() else { panic!() };
        let ReportKind::Interrupted { summary } = report else { panic!("{report:?}") };
        assert_eq!(summary, "local-exec provisioner error");
        let state = state(&w);
        assert_eq!(resources(&state), ["first", "slow"]);
        assert_eq!(state["resources"][1]["instances"][0]["status"], "tainted");
        let log = w.api.log();
        assert_eq!(log.matches("Interrupt received").count(), 1, "{log}");
        assert!(w.api.data().lock.is_none());
    }
}

on_each_tool! {
    async fn an_apply_that_takes_too_long_is_interrupted(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", SLOW)]).await;
        w.variable("TF_VAR_seconds", "60", false);
        let planned = w.run().await;
        w.confirm(&planned);
        w.claim.timeout = 4;
        let ReportKind::Interrupted { summary } = w.run().await else { panic!("{}", w.api.log()) };
        assert_eq!(summary, "The apply took longer than 4 seconds");
        assert_eq!(resources(&state(&w)), ["first", "slow"]);
    }
}

on_each_tool! {
    async fn a_stop_before_the_apply_costs_nothing(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        let planned = w.run().await;
        w.confirm(&planned);
        w.claim.hooks.before_apply = vec!["echo in the hook; sleep 300".into()];
        let running = tokio::spawn(gantry_runner::run(w.offer()));
        until("the hook", || w.api.log().contains("\nin the hook\n")).await;
        w.api.data().stop = Some("Stopped by alice".into());
        let outcome = running.await.unwrap().unwrap();
        let summary = "Nothing was applied: Stopped by alice".into();
        assert_eq!(outcome, Outcome::Reported(ReportKind::Interrupted { summary }));
        assert!(w.api.data().states.is_empty());
    }
}

on_each_tool! {
    async fn a_failing_apply_keeps_what_it_made(tool) {
        let code = SLOW.replace("sleep ${var.seconds}", "exit 4");
        let mut w = World::on(tool, &[("infra/main.tf", &code)]).await;
        w.variable("TF_VAR_seconds", "0", false);
        w.claim.autodeploy = true;
        let ReportKind::Failed { summary, in_terraform, errors, .. } = w.run().await else { panic!() };
        assert_eq!(summary, "local-exec provisioner error");
        assert!(in_terraform && errors[0].contains("exit status 4"));
        assert_eq!(resources(&state(&w)), ["first", "slow"]);
    }
}

on_each_tool! {
    async fn a_state_waits_for_the_runner_api(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.timings.state_patience = Duration::from_secs(20);
        w.claim.autodeploy = true;
        w.api.data().failing_commits = 3;
        assert!(matches!(w.run().await, ReportKind::Applied { .. }), "{}", w.api.log());
        assert_eq!(resources(&state(&w)), ["one"]);
        assert!(w.api.data().rescued.is_empty());
    }
}

on_each_tool! {
    async fn a_state_that_cannot_be_made_current_is_kept_aside(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.autodeploy = true;
        w.api.data().failing_commits = 1000;
        let ReportKind::Failed { summary, in_terraform, .. } = w.run().await else { panic!() };
        assert_eq!(summary, "Failed to save state");
        assert!(in_terraform);
        let data = w.api.data();
        assert!(data.states.is_empty());
        let rescued: Value = serde_json::from_slice(&data.rescued[0]).unwrap();
        assert_eq!(resources(&rescued), ["one"]);
        assert_eq!(data.rescued.len(), 1, "the same state twice");
    }
}

on_each_tool! {
    async fn a_state_that_nobody_takes_stays_on_the_machine(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", SLOW)]).await;
        w.variable("TF_VAR_seconds", "3", false);
        w.claim.autodeploy = true;
        let running = tokio::spawn(gantry_runner::run(w.offer()));
        until("the apply", || w.api.log().contains("has begun\n")).await;
        w.api.data().gone = true;
        let error = running.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("states remain in"), "{error}");
        let left = std::fs::read_dir(w.work().join("run-1/states")).unwrap();
        let newest = left.map(|entry| entry.unwrap().path()).max().unwrap();
        let body = std::fs::read(&newest).unwrap();
        let state: Value = serde_json::from_slice(&body).unwrap();
        assert!(resources(&state).contains(&"slow"), "{state}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&newest.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// An output of 1000 texts.
fn long(text: &str) -> String {
    format!(
        "resource \"terraform_data\" \"id\" {{}}\noutput \"long\" {{\n  \
         value = join(\"\", [for i in range(1000) : {text}])\n}}\n"
    )
}

on_each_tool! {
    async fn what_would_make_too_large_a_state_is_not_applied(tool) {
        let known = |length| long(&format!("\"{}\"", "x".repeat(length)));
        let mut w = World::on(tool, &[("infra/main.tf", &known(100))]).await;
        w.claim.autodeploy = true;
        w.claim.largest_state = 100_000;
        let ReportKind::Failed { summary, .. } = w.run().await else { panic!("{}", w.api.log()) };
        assert!(summary.starts_with("Nothing was applied: the state would be about 19"), "{summary}");
        assert!(summary.contains("limit is 97 KiB. Split"), "{summary}");
        assert!(w.api.data().states.is_empty() && w.api.data().lock.is_none());
        // What fits is applied, and what it grows to is judged by the state that is there.
        w.claim.largest_state = 250_000;
        assert!(matches!(w.run().await, ReportKind::Applied { .. }), "{}", w.api.log());
        w.api.push(crate::support::archive(&[("infra/main.tf", &known(300))]));
        let ReportKind::Failed { summary, .. } = w.run().await else { panic!("{}", w.api.log()) };
        assert!(summary.starts_with("Nothing was applied: the state would be about 29"), "{summary}");
        assert_eq!(w.api.data().states.len(), 1);
    }
}

on_each_tool! {
    async fn a_state_that_grew_too_large_unseen_is_kept_on_the_machine(tool) {
        let unknown = long("\"${terraform_data.id.id}${terraform_data.id.id}\"");
        let mut w = World::on(tool, &[("infra/main.tf", &unknown)]).await;
        w.claim.autodeploy = true;
        w.claim.largest_state = 50_000;
        let error = gantry_runner::run(w.offer()).await.unwrap_err().to_string();
        assert!(error.contains("states remain in"), "{error}");
        let ReportKind::Failed { summary, .. } = w.api.reports().pop().unwrap() else { panic!() };
        assert_eq!(summary, "Failed to save state");
        assert_eq!(w.api.data().doubt, Some(StateDoubt::NotDelivered));
        let log = w.api.log();
        assert!(log.contains("the state was not accepted: it is too large"), "{log}");
        let left = std::fs::read_dir(w.work().join("run-1/states")).unwrap();
        let newest = left.map(|entry| entry.unwrap().path()).max().unwrap();
        let body: Value = serde_json::from_slice(&std::fs::read(newest).unwrap()).unwrap();
        assert_eq!(resources(&body), ["id"]);
        assert!(body["outputs"]["long"]["value"].as_str().unwrap().len() == 72_000);
    }
}
