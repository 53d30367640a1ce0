//! The server as a program.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

#[test]
fn its_project_has_code_and_its_folder_is_gone_however_it_is_asked_to_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let temporary = tempfile::tempdir().unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_gantry-fake-gitlab"))
            .args(["--addr", "127.0.0.1:0"])
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(program.stdout.take().unwrap()).lines();
        let clone = said.find_map(|line| Some(line.unwrap().strip_prefix("Clone ")?.to_owned()));
        let clone = format!("{} {}", clone.unwrap().trim(), temporary.path().join("c").display());
        assert!(Command::new("sh").args(["-c", &clone]).status().unwrap().success());
        let readme = std::fs::read_to_string(temporary.path().join("c/README.md")).unwrap();
        assert!(
            readme.contains("`network/`") && temporary.path().join("c/network/main.tf").exists()
        );
        std::fs::remove_dir_all(temporary.path().join("c")).unwrap();
        assert_eq!(temporary.path().read_dir().unwrap().count(), 1);
        kill(Pid::from_raw(program.id().cast_signed()), signal).unwrap();
        let status = program.wait().unwrap();
        assert_eq!(temporary.path().read_dir().unwrap().count(), 0, "{signal}: {status}");
        assert!(status.success(), "{signal}: {status}");
    }
}
