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
fn its_folder_is_gone_however_it_is_asked_to_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let temporary = tempfile::tempdir().unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_gantry-fake-gitlab"))
            .args(["--addr", "127.0.0.1:0"])
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(program.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().starts_with("Clone ")));
        assert_eq!(temporary.path().read_dir().unwrap().count(), 1);
        kill(Pid::from_raw(program.id().cast_signed()), signal).unwrap();
        let status = program.wait().unwrap();
        assert_eq!(temporary.path().read_dir().unwrap().count(), 0, "{signal}: {status}");
        assert!(status.success(), "{signal}: {status}");
    }
}
