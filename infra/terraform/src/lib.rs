//! Where tests find the programs that they run for real: Terraform and the runner.

#![expect(clippy::panic, reason = "a test without its tools cannot begin")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The folder that holds a `terraform`: the machine's own, or one made of a package.
///
/// # Panics
/// When there is none and none can be made.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/setup.sh")).output();
        match output {
            Ok(output) if output.status.success() => {
                PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
            }
            Ok(output) => panic!("no terraform: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => panic!("no terraform: setup.sh cannot be started: {error}"),
        }
    })
}

/// `PATH` with Terraform in front.
///
/// # Panics
/// When there is no Terraform and none can be made.
#[expect(clippy::disallowed_methods, reason = "what the tests were started with, not a setting")]
pub fn path() -> String {
    let rest = std::env::var("PATH").unwrap_or_default();
    format!("{}:{rest}", folder().display())
}

/// The runner program, beside the test's own.
///
/// # Panics
/// When it was not built.
pub fn runner() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let programs = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let runner = programs.join("gantry-runner");
    assert!(runner.exists(), "{} is missing: `make test` builds it", runner.display());
    runner
}
