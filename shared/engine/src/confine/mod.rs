//! Confined processes: whatever a run starts reaches only the files that its policy names.
//!
//! A process of a run starts as a launcher, which is the runner's own program with [`LAUNCH`] as
//! its only argument. It reads an [`Order`] from its standard input, confines itself and becomes
//! the program that it was told. Nothing of the run is in its arguments or its environment before
//! that, so that no variable of a stack can change what the launcher does.
//!
//! Two walls, each of them enough for files: a view of the file system in which nothing else
//! exists (`view`, where the machine lets us have mount namespaces), and Landlock (`landlock`),
//! which also keeps a run from signalling and tracing processes that are not its own. What neither
//! of them covers is refused as a system call (`calls`).

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod launcher;
mod machine;
#[cfg(target_os = "linux")]
mod settings;
#[cfg(target_os = "linux")]
mod view;

pub use machine::{MachineError, MachinePolicy};

use crate::{Spec, Unprivileged};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    sync::Arc,
};
use tokio::process::Command;

/// The argument that makes the runner's program a launcher.
pub const LAUNCH: &str = "--launch-confined";

/// What a process may reach. What does not exist is passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Files and folders that it may read and execute.
    pub read: Vec<PathBuf>,
    /// Those that it may also change.
    pub write: Vec<PathBuf>,
    /// Settings of the system that it may read, all of them in `/etc`.
    pub settings: Vec<PathBuf>,
    /// A copy of the files among them, which it finds at `/etc` where it has a view of its own: it
    /// costs less than to show each of them to each process.
    pub settings_copy: Option<PathBuf>,
    /// What it may never be given, whoever names it: Gantry's own.
    #[serde(skip)]
    pub private: Vec<PathBuf>,
    /// The folder that it finds at `/tmp`, where it has a view of its own.
    pub temporary: Option<PathBuf>,
    /// It sees the file system as the machine does, and Landlock alone restricts it: hard links do
    /// not lead from one mount to another. For scripts of ours.
    pub sees_machine: bool,
    /// It is not started where it cannot have a view of its own, unless it is to see the machine.
    pub needs_view: bool,
    /// Whether Landlock may be missing: something else keeps the process from what is not its own.
    pub landlock_may_be_missing: bool,
}

#[cfg(target_os = "linux")]
impl Policy {
    /// Each path, and whether it can be changed.
    fn reachable(&self) -> impl Iterator<Item = (&Path, bool)> {
        let read = self.read.iter().chain(&self.settings).map(|path| (path.as_path(), false));
        read.chain(self.write.iter().map(|path| (path.as_path(), true)))
    }
}

/// How the processes of a run are confined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    launcher: Arc<Path>,
    policy: Policy,
}

impl Confinement {
    /// Processes are started by `launcher`, with what `policy` allows.
    pub fn new(launcher: &Path, policy: Policy) -> Self {
        Self { launcher: launcher.into(), policy }
    }

    /// The same where this program is the launcher, also when another one lies at its path by now.
    /// None where there is no launcher and none is needed.
    pub fn by_this_program(policy: Policy) -> Option<Self> {
        if cfg!(target_os = "linux") || !policy.landlock_may_be_missing {
            return Some(Self::new(Path::new("/proc/self/exe"), policy));
        }
        None
    }

    /// The same, and `path` can be read.
    #[must_use]
    pub fn reading(mut self, path: impl Into<PathBuf>) -> Self {
        self.policy.read.push(path.into());
        self
    }

    /// The same, and `path`, which an admin names, can be read.
    ///
    /// # Errors
    /// When it is not there, or would open what is Gantry's own.
    pub fn reading_named(self, path: &Path) -> Result<Self, MachineError> {
        let path = machine::given(path, &self.policy.private)?;
        Ok(self.reading(path))
    }

    /// The same, and `path` can be changed.
    #[must_use]
    pub fn writing(mut self, path: impl Into<PathBuf>) -> Self {
        self.policy.write.push(path.into());
        self
    }

    /// The same, with `path` for temporary files.
    #[must_use]
    pub fn with_temporary(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.policy.temporary = Some(path.clone());
        self.writing(path)
    }

    /// The same, with a copy of the machine's files of settings as they are now, which is made in
    /// `folder`: an empty one that nothing confined may change. What can be reached is not added to
    /// any more.
    ///
    /// # Errors
    /// When the copy cannot be made.
    #[cfg(target_os = "linux")]
    pub fn with_settings(mut self, folder: &Path) -> io::Result<Self> {
        settings::copy(&mut self.policy, folder)?;
        Ok(self)
    }

    /// The same: there is no view in which a copy could be shown.
    ///
    /// # Errors
    /// None.
    #[cfg(not(target_os = "linux"))]
    pub fn with_settings(self, _folder: &Path) -> io::Result<Self> {
        Ok(self)
    }

    /// The same, and nothing is started without a view of its own: the machine has been seen to let
    /// processes have one, and others rely on it.
    #[must_use]
    pub fn needing_view(mut self) -> Self {
        self.policy.needs_view = true;
        self
    }

    /// The same for a script of ours that makes hard links.
    #[must_use]
    pub fn seeing_machine(mut self) -> Self {
        self.policy.sees_machine = true;
        self
    }

    /// Tries it out: starts a launcher that confines itself and says how far it came.
    ///
    /// # Errors
    /// In words for people, when processes cannot be confined.
    pub async fn check(&self, user: Option<Unprivileged>) -> Result<Strength, Unconfinable> {
        if cfg!(not(target_os = "linux")) {
            return Err(Unconfinable("only Linux has Landlock".to_owned()));
        }
        let order = Order { user, policy: self.policy.clone(), ..Order::default() };
        let tried = async {
            let mut command = Command::new(&*self.launcher);
            command.arg(LAUNCH).env_clear().stdin(order.as_input()?).output().await
        };
        let output = tried.await.map_err(|error| {
            let launcher = self.launcher.display();
            Unconfinable(format!("{launcher} cannot be started: {error}"))
        })?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            Unconfinable(match said.trim().trim_start_matches(REFUSED) {
                // Killed, by a filter of system calls for example.
                "" => format!("the launcher ended with {}", output.status),
                said => said.to_owned(),
            })
        })
    }
}

/// What keeps the processes of a run from what is not their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strength {
    /// The version of Landlock's interface.
    pub landlock: Option<u32>,
    /// They have a view of the file system in which nothing else exists.
    pub own_view: bool,
}

impl std::fmt::Display for Strength {
    /// What it means, in sentences.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.landlock {
            Some(version) => write!(f, "Runs are confined by Landlock (version {version})")?,
            None => write!(f, "Runs are kept out of Gantry's files by running as a separate user")?,
        }
        match (self.own_view, self.landlock) {
            (true, Some(_)) => f.write_str(" and see only their own files.")?,
            (true, None) => f.write_str(
                " and see only their own files. This kernel has no Landlock, so through /proc they \
                 can reach what other runs of the same user have.",
            )?,
            (false, None) => f.write_str("; this kernel has no Landlock.")?,
            (false, Some(_)) => f.write_str(
                ". This machine does not allow them a separate file system view (mount \
                 namespaces), so they can connect to Unix sockets of the same user and change the \
                 modes and times of its files.",
            )?,
        }
        if self.landlock.is_some_and(|version| version < 6) {
            f.write_str(
                " Before Linux 6.12 they can connect to abstract Unix sockets and, without a \
                 separate PID namespace, signal other processes of the same user. Use a separate \
                 user for runs (GANTRY_RUNNER_USER) where that matters.",
            )?;
        }
        Ok(())
    }
}

/// Why processes cannot be confined, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Runs cannot be confined on this machine: {0}. An unconfined run could read Gantry's own \
     files, so none is started. Use Linux 5.13 or newer with Landlock enabled, start the runner as \
     root with a user for runs (GANTRY_RUNNER_USER), or accept the risk with --unconfined-runs"
)]
pub struct Unconfinable(String);

/// In front of what a launcher says when it gives up.
const REFUSED: &str = "gantry: the process cannot be confined: ";

/// What a launcher is told.
#[derive(Default, Serialize, Deserialize)]
struct Order {
    /// None when it shall only try.
    program: Option<PathBuf>,
    arguments: Vec<OsString>,
    folder: PathBuf,
    environment: BTreeMap<String, String>,
    user: Option<Unprivileged>,
    policy: Policy,
}

impl Order {
    /// A file in memory alone, as the launcher's standard input: it holds secrets.
    #[cfg(target_os = "linux")]
    fn as_input(&self) -> io::Result<Stdio> {
        use io::{Seek as _, Write as _};
        use nix::sys::memfd::{MFdFlags, memfd_create};
        let mut file = std::fs::File::from(memfd_create(c"gantry-order", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&serde_json::to_vec(self)?)?;
        file.rewind()?;
        Ok(Stdio::from(file))
    }

    #[cfg(not(target_os = "linux"))]
    fn as_input(&self) -> io::Result<Stdio> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

/// The command that starts the process, but for its output. It has a process group of its own.
pub(crate) fn command(spec: &Spec) -> io::Result<Command> {
    let Some(confinement) = &spec.confinement else {
        let mut command = Command::new(&spec.program);
        command.args(&spec.arguments).current_dir(&spec.folder);
        command.env_clear().envs(spec.environment.iter()).stdin(Stdio::null()).process_group(0);
        if let Some(user) = spec.user {
            command.uid(user.uid).gid(user.gid);
        }
        return Ok(command);
    };
    let variables = spec.environment.iter();
    let order = Order {
        program: Some(spec.program.clone()),
        arguments: spec.arguments.clone(),
        folder: spec.folder.clone(),
        environment: variables.map(|(name, value)| (name.into(), value.into())).collect(),
        user: spec.user,
        policy: confinement.policy.clone(),
    };
    let mut command = Command::new(&*confinement.launcher);
    // It makes the session, and so the group, itself.
    command.arg(LAUNCH).env_clear().stdin(order.as_input()?);
    Ok(command)
}

/// Does a launcher's work where this process was started as one: then it does not return, but when
/// it has tried only, or given up. To be called before anything else: it needs a single thread.
pub fn launch_if_asked() -> Option<ExitCode> {
    if std::env::args_os().nth(1).is_none_or(|argument| argument != LAUNCH) {
        return None;
    }
    #[cfg(target_os = "linux")]
    let result = launcher::launch();
    #[cfg(not(target_os = "linux"))]
    let result: Result<(), String> = Err("only Linux can".to_owned());
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let message = format!("{REFUSED}{problem}\n");
            let _nobody_reads = io::Write::write_all(&mut io::stderr(), message.as_bytes());
            // What a shell answers for a program that cannot be executed.
            ExitCode::from(126)
        }
    })
}
