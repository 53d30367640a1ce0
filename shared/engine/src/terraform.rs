//! The commands of Terraform and OpenTofu that a run consists of.

use crate::{Confinement, Environment, Processes, Spec, Unprivileged};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// How to call it for one run.
#[derive(Debug, Clone)]
pub struct Terraform {
    /// The program.
    pub program: PathBuf,
    /// The project root.
    pub folder: PathBuf,
    /// Variable files that plans get, relative to the folder, and applies where a plan does not
    /// hold the values.
    pub var_files: Vec<String>,
    /// All that it sees.
    pub environment: Environment,
    /// Who it runs as.
    pub user: Option<Unprivileged>,
    /// What it is kept from.
    pub confinement: Option<Confinement>,
    /// The phase that it ends with.
    pub processes: Option<Processes>,
}

/// What `-detailed-exitcode` says of a plan that has changes.
pub const EXIT_CHANGED: i32 = 2;

impl Terraform {
    /// `init`; `locked` keeps to the dependency lock file as it is. OpenTofu wants the variable files
    /// as well: sources of modules may be made of variables there.
    pub fn init(&self, locked: bool, var_files: &[String]) -> Spec {
        let mut arguments = vec!["init", "-input=false"];
        if locked {
            arguments.push("-lockfile=readonly");
        }
        self.spec(arguments.into_iter().map(OsString::from).chain(named(var_files)).collect())
    }

    /// `plan` into `file`, with the arguments of the run; exits with [`EXIT_CHANGED`] when there is
    /// something to apply.
    pub fn plan(&self, file: &Path, lock: bool, options: &[String]) -> Spec {
        let lock = if lock { "-lock=true" } else { "-lock=false" };
        let fixed = ["-detailed-exitcode", lock].into_iter();
        let arguments: Vec<&str> = fixed.chain(options.iter().map(String::as_str)).collect();
        self.plan_with(&arguments, file)
    }

    /// `plan` into `file` of how everything in the state is destroyed.
    pub fn plan_to_destroy(&self, file: &Path) -> Spec {
        self.plan_with(&["-destroy"], file)
    }

    fn plan_with(&self, arguments: &[&str], file: &Path) -> Spec {
        let mut out = OsString::from("-out=");
        out.push(file);
        let all = ["plan", "-input=false"].iter().chain(arguments).map(OsString::from);
        self.spec(all.chain(named(&self.var_files)).chain([out]).collect())
    }

    /// `show -json` of a plan file.
    pub fn show(&self, plan: &Path) -> Spec {
        let mut spec = self.spec(vec!["show".into(), "-json".into(), plan.into()]);
        // They are meant for what plans and applies, and `show` refuses most of them.
        spec.environment.unset("TF_CLI_ARGS");
        spec.environment.unset("TF_CLI_ARGS_show");
        spec
    }

    /// `apply` of a plan file.
    pub fn apply(&self, plan: &Path) -> Spec {
        let all = ["apply", "-input=false"].iter().map(OsString::from);
        self.spec(all.chain(named(&self.var_files)).chain([plan.into()]).collect())
    }

    /// A shell command of the stack's own, in the same place and with the same environment.
    pub fn hook(&self, command: &str) -> Spec {
        Spec { program: "/bin/sh".into(), ..self.spec(vec!["-c".into(), command.into()]) }
    }

    /// A task of the stack's own, as a hook. Asked to end together with what it has started, the
    /// shell waits for that, and starts nothing more.
    pub fn task(&self, command: &str) -> Spec {
        let script = "trap 'exit 130' INT; eval \"$1\"";
        let arguments = ["-c", script, "sh", command].map(OsString::from);
        Spec { program: "/bin/sh".into(), ..self.spec(arguments.into()) }
    }

    fn spec(&self, arguments: Vec<OsString>) -> Spec {
        Spec {
            program: self.program.clone(),
            arguments,
            folder: self.folder.clone(),
            environment: self.environment.clone(),
            user: self.user,
            confinement: self.confinement.clone(),
            processes: self.processes.clone(),
        }
    }
}

fn named(var_files: &[String]) -> impl Iterator<Item = OsString> {
    var_files.iter().map(|file| OsString::from(format!("-var-file={file}")))
}
