//! The processes of one phase, which end with it, whatever they have become: a process that a hook
//! leaves in the background serves the rest of its phase, and no more.
//!
//! They live in a PID namespace of their own, whose first process is a keeper: the runner's own
//! program with [`KEEP`] as its only argument. With the keeper the kernel ends all of them. The
//! keeper ends when it is told so, and when the runner has died; then it lets an apply end first.
//!
//! Where the machine lets a runner make no PID namespace, a process that executes nothing but runs
//! ends all that it has started itself, as long as it lives.

#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod namespace;

use crate::leftovers;
use std::{io, path::Path, process::ExitCode, sync::Arc};
use tokio::process::{Child, Command};

/// The argument that makes the runner's program a keeper.
pub const KEEP: &str = "--keep-processes";

/// Starts the processes of a phase, and ends them. Clones stand for the same processes.
#[derive(Debug, Clone)]
pub struct Processes(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    #[cfg(target_os = "linux")]
    Namespace(Box<namespace::Namespace>),
    /// All that this process starts is the phase's.
    Descendants,
    /// What leaves its process group is not found again.
    Unknown,
}

impl Processes {
    /// For a phase that begins. `program` is the runner's own; `own_process` says that this process
    /// executes nothing but runs, one after the other.
    pub fn begin(program: &Path, own_process: bool) -> Self {
        #[cfg(target_os = "linux")]
        match namespace::Namespace::begin(program) {
            Ok(namespace) => return Self(Arc::new(Kind::Namespace(Box::new(namespace)))),
            Err(error) => tracing::info!(%error, "runs do not have their own PID namespace"),
        }
        #[cfg(not(target_os = "linux"))]
        let _ = program;
        if own_process && leftovers::adopt_orphans().is_ok() {
            return Self(Arc::new(Kind::Descendants));
        }
        tracing::warn!("background processes of a run may outlive it");
        Self(Arc::new(Kind::Unknown))
    }

    /// Whether [`end`](Self::end) ends all of them, whatever they have become.
    pub fn are_known(&self) -> bool {
        !matches!(*self.0, Kind::Unknown)
    }

    pub(crate) fn spawn(&self, command: Command) -> io::Result<Child> {
        match &*self.0 {
            #[cfg(target_os = "linux")]
            Kind::Namespace(namespace) => namespace.spawn(command),
            _ => { command }.spawn(),
        }
    }

    /// Should this process die, `child` goes on, and those with it until it ends.
    pub(crate) fn let_outlive(&self, child: &Child) {
        #[cfg(target_os = "linux")]
        if let Kind::Namespace(namespace) = &*self.0
            && let Err(error) = namespace.let_outlive(child)
        {
            tracing::warn!(%error, "the apply would end with its runner");
        }
        #[cfg(not(target_os = "linux"))]
        let _ = child;
    }

    /// Ends all of them, and starts no more. None may be awaited meanwhile.
    ///
    /// # Errors
    /// When something is left.
    pub async fn end(&self) -> io::Result<()> {
        match &*self.0 {
            #[cfg(target_os = "linux")]
            Kind::Namespace(namespace) => namespace.end().await,
            Kind::Descendants => leftovers::end_descendants().await,
            Kind::Unknown => Ok(()),
        }
    }
}

/// Gives this process the right to make PID namespaces, where it takes a user namespace: it is the
/// same user there, and nobody else is. To be called before anything else: it needs a single thread.
pub fn gain_namespaces() {
    #[cfg(target_os = "linux")]
    if let Err(error) = namespace::gain() {
        tracing::debug!(%error, "it has no user namespace");
    }
}

/// Does a keeper's work where this process was started as one: then it does not return before the
/// end of the phase. To be called before anything else.
pub fn keep_if_asked() -> Option<ExitCode> {
    if std::env::args_os().nth(1).is_none_or(|argument| argument != KEEP) {
        return None;
    }
    #[cfg(target_os = "linux")]
    return Some(match keeper::keep() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_reads) => ExitCode::FAILURE,
    });
    #[cfg(not(target_os = "linux"))]
    Some(ExitCode::FAILURE)
}
