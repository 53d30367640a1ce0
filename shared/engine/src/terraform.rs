//! The commands of Terraform and OpenTofu that a run consists of.

use crate::{Confinement, Environment, Spec, Unprivileged};
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
    /// All that it sees.
    pub environment: Environment,
    /// Who it runs as.
    pub user: Option<Unprivileged>,
    /// What it is kept from.
    pub confinement: Option<Confinement>,
}

/// What `-detailed-exitcode` says of a plan that has changes.
pub const EXIT_CHANGED: i32 = 2;

impl Terraform {
    /// `init`; `locked` keeps to the dependency lock file as it is.
    pub fn init(&self, locked: bool) -> Spec {
        let mut arguments = vec!["init", "-input=false"];
        if locked {
            arguments.push("-lockfile=readonly");
        }
        self.spec(arguments.into_iter().map(OsString::from).collect())
    }

    /// `plan` into `file`; exits with [`EXIT_CHANGED`] when there is something to apply.
    pub fn plan(&self, file: &Path, lock: bool) -> Spec {
        let mut out = OsString::from("-out=");
        out.push(file);
        let lock = if lock { "-lock=true" } else { "-lock=false" };
        self.spec(vec![
            "plan".into(),
            "-input=false".into(),
            "-detailed-exitcode".into(),
            lock.into(),
            out,
        ])
    }

    /// `show -json` of a plan file.
    pub fn show(&self, plan: &Path) -> Spec {
        self.spec(vec!["show".into(), "-json".into(), plan.into()])
    }

    /// `apply` of a plan file.
    pub fn apply(&self, plan: &Path) -> Spec {
        self.spec(vec!["apply".into(), "-input=false".into(), plan.into()])
    }

    /// `destroy` of everything in the state.
    pub fn destroy(&self) -> Spec {
        self.spec(vec!["destroy".into(), "-input=false".into(), "-auto-approve".into()])
    }

    /// A shell command of the stack's own, in the same place and with the same environment.
    pub fn hook(&self, command: &str) -> Spec {
        Spec { program: "/bin/sh".into(), ..self.spec(vec!["-c".into(), command.into()]) }
    }

    fn spec(&self, arguments: Vec<OsString>) -> Spec {
        Spec {
            program: self.program.clone(),
            arguments,
            folder: self.folder.clone(),
            environment: self.environment.clone(),
            user: self.user,
            confinement: self.confinement.clone(),
        }
    }
}
