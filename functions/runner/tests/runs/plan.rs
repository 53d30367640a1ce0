//! Plans on real Terraform: what is found, what is told, what is kept from whom.

use crate::support::{LOG_SECRET, World, archive, until};
use gantry_domain::{
    plan::{Delta, LARGEST_CHANGE, MarkChange, Value},
    protocol::ReportKind,
    run::RunType,
};
use gantry_engine::Unprivileged;
use gantry_runner::Outcome;
use gantry_terraform::on_each_tool;
use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

const ONE: &str = r#"
resource "terraform_data" "one" {
  input = "a"
}
output "shown" {
  value = "b"
}
"#;

on_each_tool! {
    async fn a_proposed_run_shows_what_would_change_and_saves_nothing(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.run_type = RunType::Proposed;
        w.timings.heartbeat = Duration::from_secs(300);
        // It is not there: the runner API says what is waited for.
        w.claim.source_url = Some("http://127.0.0.1:1/source.tar.gz".to_owned());
        w.api.data().source_waits = 2;
        let report = w.run().await;
        let delta = Delta { add: 1, outputs: 1, ..Delta::default() };
        assert_eq!(report, ReportKind::Planned { delta, plan_digest: None, partial: false, failed_checks: 0, tolerated: 0 });
        assert_eq!(w.api.reports(), [ReportKind::Planning, report]);
        assert_eq!(w.api.change().resources[0].address, "terraform_data.one");
        assert!(w.api.log().contains("# terraform_data.one"), "{}", w.api.log());
        assert_eq!(w.api.log().matches("Waits for the commit's source.").count(), 1);
        let data = w.api.data();
        assert!(data.plan.is_none() && data.lock.is_none() && data.states.is_empty());
        assert_eq!(data.state_reads, 1, "one version for its whole life");
        assert_eq!(data.beats, 0, "the claim was its sign of life");
        // Which version the tool is, and nothing of the run.
        let left = std::fs::read_dir(w.work()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["tools"], "files are left");
    }
}

on_each_tool! {
    async fn a_change_that_is_too_large_to_be_sent_is_cut_and_counted(tool) {
        // A thousand characters of an address are kept, whatever bytes they take.
        let name = "長".repeat(1_000);
        let code = format!("resource \"terraform_data\" \"{name}\" {{\n  count = 1500\n}}\n");
        let mut w = World::on(tool, &[("infra/main.tf", &code)]).await;
        w.claim.run_type = RunType::Proposed;
        assert!(matches!(w.run().await, ReportKind::Planned { .. }), "{:?}", w.api.reports());
        let change = w.api.change();
        let sent = serde_json::to_vec(&change).unwrap().len();
        let (listed, cut) = (change.resources.len(), change.resources_cut as usize);
        assert!(sent <= LARGEST_CHANGE, "{sent} bytes");
        assert!(listed > 0 && listed < 1500, "{listed}");
        assert_eq!((listed + cut, change.delta.add), (1500, 1500));
    }
}

on_each_tool! {
    /// The tool's JSON has the same on both sides, and the log says that nothing changes.
    async fn an_output_whose_type_alone_changes_is_told_and_applied(tool) {
        let code = |value: &str| {
            format!("output \"open\" {{\n  value = {value}\n}}\noutput \"closed\" {{\n  value = {value}\n  sensitive = true\n}}\n")
        };
        let mut w = World::on(tool, &[("infra/main.tf", &code("tolist([\"a\"])"))]).await;
        w.claim.autodeploy = true;
        let delta = Delta { outputs: 2, ..Delta::default() };
        assert_eq!(w.run().await, ReportKind::Applied { delta });
        w.api.push(archive(&[("infra/main.tf", &code("[\"a\"]"))]));
        assert_eq!(w.run().await, ReportKind::Applied { delta });
        let marks: Vec<_> = w.api.change().outputs.into_iter().map(|output| output.mark).collect();
        assert_eq!(marks, [Some(MarkChange::AddedOrType), Some(MarkChange::TypeAlone)]);
        w.claim.autodeploy = false;
        let clean = ReportKind::Planned { delta: Delta::default(), plan_digest: None, partial: false, failed_checks: 0, tolerated: 0 };
        assert_eq!(w.run().await, clean);
    }
}

on_each_tool! {
    async fn no_change_needs_no_plan(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", "locals {\n  a = 1\n}\n")]).await;
        w.claim.autodeploy = true;
        let report = w.run().await;
        assert_eq!(report, ReportKind::Planned { delta: Delta::default(), plan_digest: None, partial: false, failed_checks: 0, tolerated: 0 });
        assert!(w.api.data().plan.is_none() && w.api.data().lock.is_none());
        assert!(w.api.change().delta.is_empty());
    }
}

on_each_tool! {
    async fn a_failing_plan_says_why(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", "locals {\n  a = var.nope\n}\n")]).await;
        let ReportKind::Failed { summary, errors, log_tail, in_terraform } = w.run().await else {
            panic!("{}", w.api.log())
        };
        assert_eq!(summary, "Reference to undeclared input variable");
        assert!(in_terraform);
        assert!(errors[0].contains("on main.tf line 2"), "{errors:?}");
        assert!(log_tail.iter().any(|line| line.starts_with("│ Error: Reference")), "{log_tail:?}");
        assert!(log_tail.len() <= 30 && !log_tail.concat().contains('\u{1b}'));
    }
}

on_each_tool! {
    async fn what_never_came_to_terraform_says_so(tool) {
        let mut w = World::on(tool, &[("elsewhere/main.tf", ONE)]).await;
        let ReportKind::Failed { summary, in_terraform, .. } = w.run().await else { panic!() };
        assert_eq!(summary, "The source has no folder \"infra\"");
        assert!(!in_terraform);

        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.run_type = RunType::Proposed;
        w.claim.uploaded_by = Some("ada".to_owned());
        w.claim.upload_digest = Some("0".repeat(64));
        let ReportKind::Failed { summary, in_terraform, .. } = w.run().await else { panic!() };
        assert!(summary.contains("not the one that was uploaded"), "{summary}");
        assert!(!in_terraform);

        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.hooks.before_init = vec!["true".into(), "exit 3".into()];
        let ReportKind::Failed { summary, in_terraform, .. } = w.run().await else { panic!() };
        assert_eq!(summary, "The before_init hook failed (exit status: 3): exit 3");
        assert!(!in_terraform);
    }
}

on_each_tool! {
    async fn a_stack_with_a_backend_of_its_own_keeps_it(tool) {
        let mut w = World::on(tool, &[]).await;
        let backend = w.api.own_backend();
        w.api.push(archive(&[("infra/main.tf", ONE), ("infra/backend.tf", &backend)]));
        w.claim.manage_state = false;
        w.claim.hooks.after_init = vec!["env; ls".into()];
        assert!(matches!(w.run().await, ReportKind::Planned { plan_digest: Some(_), .. }));
        assert!(!w.api.log().contains("TF_HTTP_") && !w.api.log().contains("override"));
        assert_eq!(w.api.data().state_reads, 0);
    }
}

on_each_tool! {
    async fn whatever_backend_the_code_has_gantry_keeps_the_state(tool) {
        let cloud = "terraform {\n  cloud {\n    organization = \"acme\"\n    workspaces {\n      name = \"x\"\n    }\n  }\n}\n";
        let s3 = "terraform {\n  backend \"s3\" {\n    bucket = \"x\"\n  }\n}\n";
        for backend in [cloud, s3] {
            let mut w = World::on(tool, &[("infra/main.tf", ONE), ("infra/backend.tf", backend)]).await;
            let report = w.run().await;
            assert!(matches!(report, ReportKind::Planned { .. }), "{report:?}");
            assert!(w.api.data().state_reads > 0);
        }
    }
}

on_each_tool! {
    async fn secrets_are_nowhere(tool) {
        let code = r#"
variable "password" {}
resource "terraform_data" "one" {
  input = { plain = var.password, encoded = base64encode("user:${var.password}") }
}
check "never" {
  assert {
    condition     = var.password == ""
    error_message = "it is ${var.password}"
  }
}
"#;
        let mut w = World::on(tool, &[("infra/main.tf", code)]).await;
        w.variable("TF_VAR_password", LOG_SECRET, true);
        w.variable("SHOWN", "not-a-secret", false);
        w.claim.hooks.before_plan =
            vec!["echo $TF_VAR_password $SHOWN".into(), "echo it is: $TF_HTTP_PASSWORD".into()];
        let report = w.run().await;
        assert!(
            matches!(report, ReportKind::Planned { failed_checks: 1, .. }),
            "{report:?} {}",
            w.api.log()
        );
        // The API itself refuses a log with the secret in it.
        assert!(w.api.log().contains("(secret) not-a-secret"), "{}", w.api.log());
        assert!(w.api.log().contains("it is: (secret)\n"), "{}", w.api.log());
        let change = serde_json::to_string(&w.api.change()).unwrap();
        assert!(change.contains("(secret)") && !change.contains(LOG_SECRET), "{change}");

        let broken = "variable \"password\" {}\nlocals {\n  a = jsondecode(var.password)\n}\noutput \"a\" {\n  value = local.a\n}\n";
        let mut w = World::on(tool, &[("infra/main.tf", broken)]).await;
        w.variable("TF_VAR_password", &format!("{{{LOG_SECRET}"), true);
        let report = w.run().await;
        assert!(matches!(report, ReportKind::Failed { .. }), "{report:?}");
        assert!(!format!("{report:?}").contains(LOG_SECRET), "{report:?}");
    }
}

on_each_tool! {
    async fn a_stopped_plan_ends_at_once(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.hooks.before_plan = vec!["echo in the hook; sleep 300".into()];
        let running = tokio::spawn(gantry_runner::run(w.offer()));
        until("the hook", || w.api.log().contains("\nin the hook\n")).await;
        w.api.data().stop = Some("Stopped by alice".into());
        let asked = Instant::now();
        let outcome = running.await.unwrap().unwrap();
        assert_eq!(outcome, Outcome::Reported(ReportKind::Stopped));
        assert!(asked.elapsed().as_secs() < 8);
        assert!(w.api.log().contains("stopped: Stopped by alice"));
    }
}

on_each_tool! {
    async fn terraform_is_asked_to_end_before_it_is_ended(tool) {
        // The lock is held by somebody else, and Terraform waits for it: a plan that takes long.
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.variable("TF_CLI_ARGS_plan", "-lock-timeout=300s", false);
        let holder = r#"{"ID":"1","Operation":"","Info":"","Who":"bob","Version":"","Created":"2026-01-01T00:00:00Z","Path":""}"#;
        w.api.data().lock = Some(serde_json::from_str(holder).unwrap());
        let running = tokio::spawn(gantry_runner::run(w.offer()));
        until("that it waits", || w.api.data().locks_refused > 0).await;
        w.api.data().stop = Some("Stopped by alice".into());
        let outcome = running.await.unwrap().unwrap();
        assert_eq!(outcome, Outcome::Reported(ReportKind::Stopped));
        assert!(w.api.log().contains("Interrupt received"), "{}", w.api.log());
    }
}

on_each_tool! {
    async fn arguments_for_plans_do_not_keep_a_plan_from_being_shown(tool) {
        let code = "variable \"v\" {\n}\nresource \"terraform_data\" \"a\" {\n  input = var.v\n}\n";
        let files = [("infra/main.tf", code), ("infra/x.tfvars", "v = \"given\"\n")];
        let mut w = World::on(tool, &files).await;
        w.variable("TF_CLI_ARGS", "-var-file=x.tfvars", false);
        let planned = w.run().await;
        w.confirm(&planned);
        let delta = Delta { add: 1, ..Delta::default() };
        assert_eq!(w.run().await, ReportKind::Applied { delta }, "{}", w.api.log());
        let change = w.api.change();
        assert_eq!(change.delta, delta);
        let input = change.resources[0].attributes.iter().find(|a| a.path == "input").unwrap();
        assert_eq!(input.after, Value::Known("\"given\"".to_owned()));
    }
}

on_each_tool! {
    async fn a_plan_that_was_ended_leaves_no_lock(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        let info = r#"{"ID":"mine","Who":"me"}"#;
        w.claim.hooks.before_plan = vec![format!(
            "curl -s -d '{info}' -u $TF_HTTP_USERNAME:$TF_HTTP_PASSWORD $TF_HTTP_LOCK_ADDRESS; sleep 300"
        )];
        let running = tokio::spawn(gantry_runner::run(w.offer()));
        until("the lock", || w.api.data().lock.is_some()).await;
        w.api.data().stop = Some("Stopped by alice".into());
        assert_eq!(running.await.unwrap().unwrap(), Outcome::Reported(ReportKind::Stopped));
        assert!(w.api.data().lock.is_none());
    }
}

on_each_tool! {
    async fn where_the_runner_is_root_what_it_runs_is_not(tool) {
        if !gantry_terraform::is_root("a runner that is root") {
            return;
        }
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.hooks.before_init = vec![
            "echo user $(id -u) groups $(id -G); touch made $HOME/made $TMPDIR/made && echo written"
                .into(),
            format!(
                "cat /proc/{}/environ ../../../states/x /etc/shadow > /dev/null; ls ../../..",
                std::process::id()
            ),
        ];
        let mut config = w.offer();
        let nobody = Unprivileged::named("nobody").unwrap();
        config.user = Some(nobody);
        gantry_runner::run(config).await.unwrap();
        let log = w.api.log();
        let Unprivileged { uid, gid } = nobody;
        assert!(log.contains(&format!("user {uid} groups {gid}\nwritten\n")), "{log}");
        // What is not its own does not even exist for it, where the machine lets it have its own view.
        let refused = ["Permission denied", "No such file or directory"];
        let refused: usize = refused.iter().map(|words| log.matches(words).count()).sum();
        assert_eq!(refused, 4, "{log}");
    }
}

on_each_tool! {
    async fn a_lock_is_told_with_its_holder(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        let holder = r#"{"ID":"lock-of-bob","Who":"bob@laptop","Created":"2026-01-01T00:00:00Z"}"#;
        w.api.data().lock = Some(serde_json::from_str(holder).unwrap());
        let ReportKind::Failed { summary, errors, .. } = w.run().await else {
            panic!("{}", w.api.log())
        };
        assert_eq!(summary, "Error acquiring the state lock");
        assert!(errors[0].contains("lock-of-bob"), "{errors:?}");
        assert!(w.api.log().contains("locked by bob@laptop"), "{}", w.api.log());
    }
}

on_each_tool! {
    async fn a_plan_that_takes_too_long_fails(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.timeout = 1;
        w.claim.hooks.before_init = vec!["sleep 300".into()];
        let ReportKind::Failed { summary, in_terraform, .. } = w.run().await else { panic!() };
        assert_eq!(summary, "The plan took longer than 1 seconds");
        assert!(!in_terraform);
    }
}

on_each_tool! {
    async fn a_run_that_was_given_up_ends_without_a_word(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.hooks.before_plan = vec!["echo in the hook; sleep 300".into()];
        let config = w.offer();
        let running = tokio::spawn(gantry_runner::run(config.clone()));
        until("the hook", || w.api.log().contains("\nin the hook\n")).await;
        w.api.data().gone = true;
        assert_eq!(running.await.unwrap().unwrap(), Outcome::GivenUp);
        w.api.data().gone = false;
        assert_eq!(gantry_runner::run(config).await.unwrap(), Outcome::NothingToDo);
    }
}

on_each_tool! {
    async fn trouble_on_the_way_is_ridden_out(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.api.data().failing = 3;
        w.api.data().signs = true;
        w.claim.hooks.before_plan = vec!["echo reached".into()];
        let config = w.offer();
        let running = tokio::spawn(gantry_runner::run(config));
        until("the hook", || w.api.log().contains("\nreached\n")).await;
        w.api.data().failing = 4;
        assert!(matches!(
            running.await.unwrap().unwrap(),
            Outcome::Reported(ReportKind::Planned { .. })
        ));
    }
}

on_each_tool! {
    async fn the_program_hands_nothing_of_its_own_to_what_it_runs(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", ONE)]).await;
        w.claim.hooks.before_plan = vec![
            "env | cut -d= -f1 | sort | tr '\\n' ' '; echo".into(),
            "echo \"$GANTRY_RUN_ID $GANTRY_RUN_TYPE $GANTRY_STACK $GANTRY_COMMIT_SHA $GANTRY_BRANCH\""
                .into(),
            "cat /proc/[0-9]*/environ | grep -qa GANTRY_CLAIM_TOKEN && exit 1; \
             cat ../../home/x; ls -d $HOME $TMPDIR"
                .into(),
        ];
        w.offer();
        let (work, path) = (w.work(), crate::support::path());
        let needs = std::env::join_paths(gantry_terraform::needs()).unwrap().into_string().unwrap();
        let variables = BTreeMap::from([
            ("PATH", path.as_str()),
            ("GANTRY_CLAIM_TOKEN", "claim-token-1"),
            ("GANTRY_RUNNER_API", &w.api.address),
            ("GANTRY_RUNNER_WORK", work.to_str().unwrap()),
            ("GANTRY_RUNS_MAY_READ", needs.as_str()),
            ("AWS_SECRET_ACCESS_KEY", "parent"),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/cloud"),
            ("HOME", "/root"),
            ("PARENT", "parent"),
        ]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_gantry-runner"));
        command.env_clear().envs(variables);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let log = w.api.log();
        assert!(!stderr.contains("token-1") && !log.contains("token-1"), "{stderr}{log}");
        assert!(
            log.contains("run-1 tracked net 0123456789abcdef0123456789abcdef01234567 main"),
            "{log}"
        );
        let names = log.lines().find(|line| line.contains("TF_IN_AUTOMATION ")).unwrap();
        let own: Vec<_> = names
            .split_whitespace()
            .filter(|name| !name.starts_with("TF_HTTP_") && !matches!(*name, "PWD" | "_" | "SHLVL"))
            .collect();
        assert_eq!(
            own.join(" "),
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI CHECKPOINT_DISABLE GANTRY_BRANCH \
             GANTRY_COMMIT_SHA GANTRY_RUN_ID GANTRY_RUN_TYPE GANTRY_STACK HOME LANG PATH TF_INPUT \
             TF_IN_AUTOMATION TMPDIR"
        );
    }
}

on_each_tool! {
    /// A line that is too long for one piece is masked as one text, wherever it is cut.
    async fn a_secret_across_the_cut_of_a_long_line_is_hidden(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", "")]).await;
        w.variable("PASSWORD", LOG_SECRET, true);
        let long = "head -c 1048568 /dev/zero | tr '\\0' x; echo \"$PASSWORD\"; echo after";
        w.claim.hooks.before_init = vec![long.into()];
        w.run().await;
        let log = w.api.log();
        assert!(log.contains("xxx(secret)\nafter\n"), "{}", &log[log.len().saturating_sub(2000)..]);
        for half in [&LOG_SECRET[..8], &LOG_SECRET[8..]] {
            assert!(!log.contains(half), "{half}");
        }
    }
}

gantry_terraform::on_each_tool! {
    /// For some resources the id is the secret, and the output comes before anything says so.
    async fn ids_of_imports_are_not_in_the_log(tool) {
        let code = r#"
import {
  to = terraform_data.one
  id = "the-secret-id"
}
resource "terraform_data" "one" {
  input = "a"
}
"#;
        let mut w = World::new(&[("infra/main.tf", code)]).await;
        w.claim.tool = tool;
        w.claim.autodeploy = true;
        assert!(matches!(w.run().await, ReportKind::Applied { .. }), "{}", w.api.log());
        let log = w.api.log();
        let shown = |line: &&str| line.contains("mport") && line.contains("the-secret-id");
        assert_eq!(log.lines().find(shown), None);
        for said in ["Preparing import...", "Importing...", "Import complete"] {
            assert!(log.contains(&format!("{said} [id=(secret)]")), "{log}");
        }
        assert!(log.contains("(imported from \"(secret)\")"), "{log}");
    }
}
