//! The commands of `gantry` as a person uses them, from the login to the state.

use crate::support::{Kind, SLUG, World};
use gantry_local::Intervals;
use gantry_terraform::on_each_tool;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

const ONE: &str = "resource \"terraform_data\" \"one\" {\n  input = \"one\"\n}\n";
const PATIENCE: Duration = Duration::from_secs(120);

/// The command line of a person whose home is empty at first.
struct Shell<'a> {
    home: &'a Path,
}

#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Shell<'_> {
    fn gantry(&self, line: &str) -> Command {
        let mut gantry = Command::new(env!("CARGO_BIN_EXE_gantry"));
        gantry
            .env_clear()
            .env("HOME", self.home)
            .args(line.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        gantry
    }

    async fn says_to(&self, input: &str, line: &str) -> Said {
        let mut gantry = self.gantry(line).spawn().unwrap();
        let mut stdin = gantry.stdin.take().unwrap();
        // An error means that it does not read what it is told.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let ended = tokio::time::timeout(PATIENCE, gantry.wait_with_output()).await;
        ended.unwrap_or_else(|_| panic!("`{line}` does not end")).unwrap().into()
    }

    async fn says(&self, line: &str) -> Said {
        self.says_to("", line).await
    }
}

on_each_tool! {
    async fn a_person_logs_in_plans_confirms_and_reads_the_state_from_a_terminal(tool) {
        let w = World::on(tool, Kind::Inside(Intervals::default()), &[("main.tf", ONE)]).await;
        w.stack(json!({})).await;
        let home = tempfile::tempdir().unwrap();
        let shell = Shell { home: home.path() };
        let login = format!("login http://{}", w.address());

        let said = shell.says("stacks").await;
        assert!(said.code == 1 && said.err.contains("gantry login"), "{said:?}");
        let said = shell.says_to("wrong", &login).await;
        assert!(said.code == 1 && said.err.contains("not valid"), "{said:?}");
        let said = shell.says_to(&w.admin_key(), &login).await;
        assert_eq!(said.code, 0, "{said:?}");
        let file = home.path().join(".config/gantry/hosts.json");
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

        let said = shell.says("stacks").await;
        assert!(said.code == 0 && said.out.contains("\nnetwork  Idle "), "{said:?}");
        let said = shell.says(&format!("plan {SLUG}")).await;
        assert_eq!(said.code, 3, "{said:?}");
        assert!(said.out.contains("1 to add") && !said.out.contains('\u{1b}'), "{said:?}");
        let run = "network#1";
        let next = format!("gantry confirm {run}.");
        assert!(said.out.lines().next_back().unwrap().contains(&next), "{said:?}");
        let said = shell.says(&format!("runs {SLUG}")).await;
        assert!(said.out.contains("\nnetwork#1  Needs confirmation  Deploy "), "{said:?}");
        let said = shell.says("stacks").await;
        let waits = "\nnetwork  Needs confirmation (network#1) ";
        assert!(said.code == 0 && said.out.contains(waits), "{said:?}");
        let said = shell.says(&format!("show {run} --change")).await;
        assert!(said.out.contains("+ terraform_data.one will be created"), "{said:?}");

        // What waits goes on when nobody looks any more.
        let mut follows = shell.gantry(&format!("logs {run} --follow")).spawn().unwrap();
        let mut err = BufReader::new(follows.stderr.take().unwrap()).lines();
        let line = err.next_line().await.unwrap().unwrap();
        assert!(line.starts_with("network#1 needs confirmation"), "{line}");
        kill(Pid::from_raw(follows.id().unwrap().cast_signed()), Signal::SIGINT).unwrap();
        let ended = tokio::time::timeout(PATIENCE, follows.wait()).await.unwrap().unwrap();
        let mut last = String::new();
        while let Some(line) = err.next_line().await.unwrap() {
            last = line;
        }
        assert_eq!(ended.code(), Some(130), "{last}");
        assert!(last.starts_with("network#1 goes on."), "{last}");

        let said = shell.says(&format!("confirm {run}")).await;
        assert!(said.code == 2 && said.err.contains("--yes"), "{said:?}");
        let said = shell.says(&format!("confirm {run} --yes")).await;
        assert_eq!(said.code, 0, "{said:?}\n{}", w.told());
        let end = "network#1 is applied: 1 added, 0 changed, 0 destroyed.\n";
        assert!(said.out.ends_with(end), "{said:?}");
        let said = shell.says(&format!("confirm {run} --yes")).await;
        assert!(said.code == 1 && said.err.contains("does not wait for confirmation"), "{said:?}");

        let id = w.runs().await[0]["id"].as_str().unwrap().to_owned();
        let said = shell.says(&format!("logs {id}")).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains("terraform_data.one"), "{said:?}");
        assert!(!said.out.contains('\u{1b}'), "{said:?}");
        let said = shell.says(&format!("state pull {SLUG}")).await;
        let state: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(state["resources"][0]["name"], "one", "{state}");

        let said = shell.says(&format!("plan {SLUG} --preview")).await;
        let end = "network#2 is planned: no changes.\n";
        assert!(said.code == 0 && said.out.ends_with(end), "{said:?}");

        // A key that may only look.
        let reader = w.api.post("/keys", &json!({ "name": "reader", "role": "read" })).await.good();
        let said = shell.says_to(reader["key"].as_str().unwrap(), &login).await;
        assert_eq!(said.code, 0, "{said:?}");
        let said = shell.says(&format!("plan {SLUG}")).await;
        assert!(said.code == 1 && said.err.contains("has the role read"), "{said:?}");
        let said = shell.says(&format!("state pull {SLUG}")).await;
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
        let key = reader["id"].as_str().unwrap();
        assert_eq!(w.api.delete(&format!("/keys/{key}")).await.status.as_u16(), 204);
        let said = shell.says("stacks").await;
        assert!(said.code == 1 && said.err.contains("revoked"), "{said:?}");
    }
}
