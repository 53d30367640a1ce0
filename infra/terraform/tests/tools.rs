//! Which tools the targets of the Makefile get: `infra/tools.sh`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use gantry_domain::stack::Tool;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A copy of the script where nothing was set up, and nothing can be.
struct Machine(PathBuf);

impl Machine {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _not_there_yet = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("infra")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools.sh");
        fs::copy(script, folder.join("infra/tools.sh")).unwrap();
        Self(folder)
    }

    /// What a target gets on a `PATH` that has these tools, and that `PATH`.
    fn ask(&self, arguments: &[&str], installed: &[Tool]) -> (Output, String) {
        let path = self.0.join("bin");
        let _not_there_yet = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        let link = |program: PathBuf| symlink(&program, path.join(program.file_name().unwrap()));
        link("/usr/bin/dirname".into()).unwrap();
        for tool in installed {
            link(gantry_terraform::folder(*tool).unwrap().join(tool.command())).unwrap();
        }
        let mut command = Command::new("/bin/sh");
        command.arg(self.0.join("infra/tools.sh")).args(arguments).env("PATH", &path);
        (command.output().unwrap(), path.display().to_string())
    }
}

#[test]
fn the_demo_takes_the_tool_that_is_installed() {
    if !gantry_terraform::has(Tool::OpenTofu) {
        return;
    }
    let machine = Machine::new("installed");
    for installed in [&[Tool::OpenTofu][..], &[Tool::Terraform], &[Tool::Terraform, Tool::OpenTofu]]
    {
        for target in ["demo", "run"] {
            let (said, path) = machine.ask(&[target, "--once"], installed);
            assert!(said.status.success(), "{target} {installed:?}: {said:?}");
            assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), path, "{installed:?}");
        }
    }
}

#[test]
fn the_demo_sets_up_the_tool_that_it_is_told() {
    let machine = Machine::new("told");
    for (arguments, folder) in [
        (&["demo", "--once", "--tool=opentofu"][..], "opentofu"),
        (&["demo", "--tool", "opentofu", "--once"], "opentofu"),
        (&["demo", "--tool=terraform"], "terraform"),
        (&["demo"], "terraform"),
    ] {
        let (said, _) = machine.ask(arguments, &[]);
        let missing = format!("{folder}/setup.sh");
        assert!(!said.status.success(), "{arguments:?}: {said:?}");
        assert!(
            String::from_utf8_lossy(&said.stderr).contains(&missing),
            "{arguments:?}: {said:?}"
        );
    }
}

#[test]
#[ignore = "started by what_cannot_be_tried_fails_in_ci_and_says_why_elsewhere"]
fn what_cannot_be_tried_here() {
    gantry_terraform::left_out("a disk that is full: only root can try it");
}

#[test]
fn what_cannot_be_tried_fails_in_ci_and_says_why_elsewhere() {
    for (ci, passes) in [(None, true), (Some(""), true), (Some("true"), false)] {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--ignored", "--exact", "--nocapture", "what_cannot_be_tried_here"]);
        test.env_remove("CI").envs(ci.map(|ci| ("CI", ci)));
        let output = test.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), passes, "CI={ci:?} {said}");
        assert!(said.contains("a disk that is full: only root can try it"), "CI={ci:?} {said}");
    }
}
