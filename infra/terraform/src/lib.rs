//! Where tests find the programs that they run for real: Terraform, OpenTofu and the runner; and
//! what they say where a machine does not let them.

#![expect(clippy::panic, reason = "a test without its tools cannot begin")]

use gantry_domain::stack::Tool;
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The folder that holds a tool's command: the machine's own, or one that is made for the tests.
/// None where OpenTofu is neither installed nor can be built, which CI does not accept.
///
/// # Panics
/// When there is none and none can be made.
pub fn folder(tool: Tool) -> Option<&'static Path> {
    static TERRAFORM: OnceLock<Option<PathBuf>> = OnceLock::new();
    static OPENTOFU: OnceLock<Option<PathBuf>> = OnceLock::new();
    match tool {
        Tool::Terraform => {
            TERRAFORM.get_or_init(|| set_up(concat!(env!("CARGO_MANIFEST_DIR"), "/setup.sh")))
        }
        Tool::OpenTofu => OPENTOFU
            .get_or_init(|| set_up(concat!(env!("CARGO_MANIFEST_DIR"), "/../opentofu/setup.sh"))),
    }
    .as_deref()
}

/// A filesystem mirror with the provider hashicorp/time, for both tools, that is made for the
/// tests. None where it cannot be built, which CI does not accept.
///
/// # Panics
/// When it should be there and is not.
pub fn mirror() -> Option<&'static Path> {
    static MIRROR: OnceLock<Option<PathBuf>> = OnceLock::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../provider/setup.sh");
    let mirror = MIRROR.get_or_init(|| set_up(script)).as_deref();
    if mirror.is_none() {
        left_out("no Go to build a provider with");
    }
    mirror
}

/// The program of the provider for tests, built with the workspace.
pub const TEST_PROVIDER_PROGRAM: &str = "gantry-test-provider";

/// How configurations name it. `infra/test-provider` lists its switches.
const TEST_PROVIDER: &str = "gantry.test/gantry/test";

/// A filesystem mirror with the provider for tests, for both tools: built with the workspace,
/// beside the test's own program.
///
/// # Panics
/// When it was not built, or the mirror cannot be made.
pub fn test_provider() -> &'static Path {
    static MIRROR: OnceLock<PathBuf> = OnceLock::new();
    MIRROR.get_or_init(|| {
        let program = beside(TEST_PROVIDER_PROGRAM);
        match test_provider_mirror(&program) {
            Ok(mirror) => mirror,
            Err(error) => panic!("no mirror beside {}: {error}", program.display()),
        }
    })
}

/// The code that every configuration with the provider for tests begins with; its objects lie in
/// the folder `outside`.
pub fn test_provider_code(outside: &Path) -> String {
    format!(
        "terraform {{\n  required_providers {{\n    test = {{\n      source = {TEST_PROVIDER:?}\n    \
         }}\n  }}\n}}\n\nprovider \"test\" {{\n  folder = {outside:?}\n}}\n\n"
    )
}

/// A CLI configuration that has providers from `mirror` alone.
pub fn mirror_config(mirror: &Path) -> String {
    format!("provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n  }}\n}}\n")
}

/// A filesystem mirror with this program of the provider for tests, beside it. Who makes it at the
/// same time, and a tool that is just reading it, sees the old program or the new one, never a part.
///
/// # Errors
/// When there is no such program, or no mirror can be made beside it.
pub fn test_provider_mirror(program: &Path) -> std::io::Result<PathBuf> {
    const VERSION: &str = "1.0.0";
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let processor = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let mirror = program.with_file_name("test-provider");
    let folder = mirror.join(TEST_PROVIDER).join(VERSION).join(format!("{system}_{processor}"));
    fs::create_dir_all(&folder)?;
    let there = folder.join(format!("terraform-provider-test_v{VERSION}"));
    let inode = |path: &Path| fs::metadata(path).map(|is| is.ino());
    if inode(&there).ok() == Some(inode(program)?) {
        return Ok(mirror);
    }
    // A name that the tools do not take for a provider's.
    let new = mirror.join(format!("{}.new", std::process::id()));
    fs::hard_link(program, &new)?;
    fs::rename(new, there)?;
    Ok(mirror)
}

/// What AWS's CLI needs, which is made for the tests: the first folder has it in its `bin`.
///
/// # Panics
/// When it cannot be made.
pub fn aws_cli() -> Vec<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../aws-cli/setup.sh");
    set_up(script).iter().flat_map(std::env::split_paths).collect()
}

/// What the script exits with where it cannot make what it should.
const NOT_HERE: i32 = 3;

fn set_up(script: &str) -> Option<PathBuf> {
    let output = match Command::new(script).output() {
        Ok(output) => output,
        Err(error) => panic!("{script} cannot be started: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())),
        Some(NOT_HERE) => {
            left_out(said.trim());
            None
        }
        _ => panic!("{script}: {said}"),
    }
}

/// Whether tests can run `tool`; says so where they are left out.
///
/// # Panics
/// In CI, where none may be left out.
pub fn has(tool: Tool) -> bool {
    let has = folder(tool).is_some();
    if !has {
        left_out("no tofu on PATH, and no Go to build it with");
    }
    has
}

/// Whether the tests are root; says what is left out where they are not.
///
/// # Panics
/// In CI, where nothing may be left out.
pub fn is_root(what: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        left_out(&format!("{what}: only root can try it"));
    }
    is_root
}

/// Says that a test, or a part of it, is left out, and why. Whoever cannot try something on this
/// machine calls it before it goes on without.
///
/// # Panics
/// In CI, where nothing may be left out.
#[expect(clippy::disallowed_methods, reason = "what the tests were started with, not a setting")]
pub fn left_out(why: &str) {
    let is_ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty());
    assert!(!is_ci, "nothing may be left out where CI is set, and this would be: {why}");
    let message = format!("left out: {why}\n");
    let _nobody_reads = std::io::Write::write_all(&mut std::io::stderr(), message.as_bytes());
}

/// What the tools need besides those folders: a `terraform` that was made of a PyPI package needs
/// its Python.
///
/// # Panics
/// When it cannot be found out.
pub fn needs() -> Vec<PathBuf> {
    static NEEDS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    NEEDS.get_or_init(|| needs_of(&path())).clone()
}

/// The folder of the Terraform that is made of a PyPI package, whatever is on `PATH`, and what it
/// needs besides: it knows actions.
///
/// # Panics
/// When it cannot be made.
pub fn with_actions() -> (PathBuf, Vec<PathBuf>) {
    let folder = PathBuf::from(said_by_setup(&["--own"], &path()).trim());
    let needs = needs_of(&format!("{}:{}", folder.display(), path()));
    (folder, needs)
}

fn needs_of(path: &str) -> Vec<PathBuf> {
    let needs = said_by_setup(&["--needs"], path);
    needs.trim().split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

fn said_by_setup(arguments: &[&str], path: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/setup.sh");
    match Command::new(script).args(arguments).env("PATH", path).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        failed => panic!("{script}: {failed:?}"),
    }
}

/// The folders of all tools, as the front of a `PATH`.
pub fn folders() -> String {
    let folders = [Tool::Terraform, Tool::OpenTofu].into_iter().filter_map(folder);
    folders.map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":")
}

/// `PATH` with the tools in front.
#[expect(clippy::disallowed_methods, reason = "what the tests were started with, not a setting")]
pub fn path() -> String {
    format!("{}:{}", folders(), std::env::var("PATH").unwrap_or_default())
}

/// Makes two tests of each story: `<name>::terraform` and `<name>::opentofu`.
///
/// ```ignore
/// on_each_tool! {
///     async fn a_plan_is_shown(tool) { … }
/// }
/// ```
#[macro_export]
macro_rules! on_each_tool {
    ($($(#[$meta:meta])* async fn $name:ident($tool:ident) $story:block)+) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn story($tool: gantry_domain::stack::Tool) $story

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn terraform() {
                story(gantry_domain::stack::Tool::Terraform).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn opentofu() {
                if $crate::has(gantry_domain::stack::Tool::OpenTofu) {
                    story(gantry_domain::stack::Tool::OpenTofu).await;
                }
            }
        }
    )+};
}

/// The runner program, beside the test's own.
///
/// # Panics
/// When it was not built.
pub fn runner() -> PathBuf {
    beside("gantry-runner")
}

/// A program of the workspace, beside the test's own.
fn beside(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let programs = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let program = programs.join(name);
    assert!(program.exists(), "{} is missing: `make test` builds it", program.display());
    program
}
