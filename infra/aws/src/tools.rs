//! The programs from PyPI: moto, SAM's transform, `cargo lambda`.

use anyhow::{Context as _, bail};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// The repository's folder.
pub fn repository() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}

/// The folder that holds `moto_server`, `cargo-lambda` and a `python` with their packages. Made on
/// first use, which takes a minute.
///
/// # Errors
/// With what the installation said.
pub fn folder() -> anyhow::Result<&'static Path> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = FOLDER.get() {
        return Ok(folder);
    }
    let output = Command::new(repository().join("infra/aws/setup.sh")).output()?;
    if !output.status.success() {
        bail!("setup.sh: {}", String::from_utf8_lossy(&output.stderr));
    }
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    Ok(FOLDER.get_or_init(|| folder))
}

/// What a Python program of this folder prints when it is given `input`.
///
/// # Errors
/// With what it said when it failed.
pub fn python(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let mut child = Command::new(folder()?.join("python"))
        .arg(repository().join("infra/aws").join(program))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("it has no input")?;
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    // A program that does not read its input closes it.
    let _unread = writer.join();
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The template as plain CloudFormation, in JSON.
///
/// # Errors
/// When SAM does not take it.
pub fn transformed() -> anyhow::Result<&'static str> {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    if let Some(template) = TEMPLATE.get() {
        return Ok(template);
    }
    let template = python("template.py", &[], "")?;
    Ok(TEMPLATE.get_or_init(|| template))
}

/// The folder of the workspace's programs, as the tests' own build made them.
///
/// # Errors
/// When this is no test's program.
pub fn programs() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).context("the test is in no folder")?;
    Ok(folder.to_owned())
}

/// A program of the workspace (`gantry-webhook`).
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let program = programs()?.join(name);
    if !program.exists() {
        bail!("{} is missing: `make test-aws` builds it", program.display());
    }
    Ok(program)
}
