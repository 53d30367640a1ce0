//! One child process: its own group, its own environment, its output line by line, and its end.

use crate::{
    Confinement, Environment, Processes, StopSignal, confine,
    kept::{KeptOutput, ProcessFile, Taker},
    lines::{Piece, Splitter},
};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    fs::File,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    process::Child,
    signal::unix::{SignalKind, signal},
    time,
};

/// Takes the output, line by line.
pub type Sink = Arc<dyn Fn(Piece<'_>) + Send + Sync>;

/// What to start.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Where it runs.
    pub folder: PathBuf,
    /// All that it sees; nothing is inherited.
    pub environment: Environment,
    /// Who it runs as; the runner itself when empty.
    pub user: Option<Unprivileged>,
    /// What it is kept from; nothing when empty.
    pub confinement: Option<Confinement>,
    /// The phase that it ends with; none when empty.
    pub processes: Option<Processes>,
}

/// A user without rights, for a runner that is root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unprivileged {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Unprivileged {
    /// The user of that name on this machine.
    pub fn named(name: &str) -> io::Result<Self> {
        let user = nix::unistd::User::from_name(name)?
            .ok_or_else(|| io::Error::other(format!("this machine has no user {name:?}")))?;
        Ok(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    }
}

/// What a wish to stop does to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// SIGINT to the process, and after the grace SIGKILL to its group: nothing is lost by it.
    Abandon {
        /// How long it may take to end by itself.
        grace: Duration,
    },
    /// As [`OnStop::Abandon`], with SIGTERM to the whole group first: a shell passes nothing on.
    AbandonGroup {
        /// How long it may take to end by itself.
        grace: Duration,
    },
    /// One SIGINT to the whole group, as a terminal sends it, and after the grace SIGKILL to what is
    /// left of it: for a shell that ends after what it has started.
    InterruptGroup {
        /// How long it may take to end by itself.
        grace: Duration,
    },
    /// Exactly one SIGINT to the process alone, then wait as long as it takes. A second one, or
    /// one to its plugins, would lose what is in flight.
    Interrupt,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// What the system says.
    pub status: ExitStatus,
    /// A wish to stop reached it before its end.
    pub stopped: bool,
}

/// How long output is awaited from something that outlives the process and holds its pipe.
const LINGER: Duration = Duration::from_secs(1);

/// Runs to the end; standard output and standard error go to `sink` in the order of writing.
pub async fn run(
    spec: &Spec,
    sink: &Sink,
    stop: &mut StopSignal,
    on_stop: OnStop,
) -> io::Result<Ended> {
    execute(spec, None, sink, stop, on_stop).await
}

/// Runs to the end; standard output goes into `file`, standard error to `sink`.
pub async fn run_into(
    spec: &Spec,
    file: File,
    sink: &Sink,
    stop: &mut StopSignal,
    on_stop: OnStop,
) -> io::Result<Ended> {
    execute(spec, Some(file), sink, stop, on_stop).await
}

/// Runs to the end; standard output and standard error go into a file that is there when this
/// process is not, and from there to `sink`. `passed` is told how many bytes that were.
pub async fn run_kept(
    spec: &Spec,
    output: KeptOutput,
    sink: &Sink,
    passed: &(dyn Fn(u64) + Send + Sync),
    stop: &mut StopSignal,
    on_stop: OnStop,
) -> io::Result<Ended> {
    let (writer, mut follower, process) = output.into_parts();
    let stdout = writer.try_clone()?;
    let mut child = spawn(spec, stdout.into(), writer.into())?;
    if let Some(processes) = &spec.processes {
        processes.let_outlive(&child);
    }
    process.write(child.id(), matches!(on_stop, OnStop::InterruptGroup { .. }));
    let to = Taker { sink: &**sink, passed };
    let ended = tokio::select! {
        ended = wait(&mut child, stop, on_stop, Some(&process)) => ended?,
        never = follower.follow(&to) => never,
    };
    process.take();
    follower.finish(&to, LINGER).await;
    Ok(ended)
}

async fn execute(
    spec: &Spec,
    stdout: Option<File>,
    sink: &Sink,
    stop: &mut StopSignal,
    on_stop: OnStop,
) -> io::Result<Ended> {
    let (reader, writer) = io::pipe()?;
    let stdout = match stdout {
        Some(file) => Stdio::from(file),
        None => Stdio::from(writer.try_clone()?),
    };
    let mut child = spawn(spec, stdout, writer.into())?;
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let mut reader = tokio::spawn(read_lines(output, Arc::clone(sink)));
    let ended = wait(&mut child, stop, on_stop, None).await?;
    if time::timeout(LINGER, &mut reader).await.is_err() {
        reader.abort();
    }
    Ok(ended)
}

async fn wait(
    child: &mut Child,
    stop: &mut StopSignal,
    on_stop: OnStop,
    process: Option<&ProcessFile>,
) -> io::Result<Ended> {
    tokio::select! {
        biased;
        status = child.wait() => Ok(Ended { status: status?, stopped: false }),
        _ = stop.wait() => {
            // From here on nobody else asks it, whatever becomes of this process.
            let _named = process.map(ProcessFile::take);
            Ok(Ended { status: end(child, on_stop).await?, stopped: true })
        }
    }
}

/// Starts it. What it writes to is open nowhere in this process afterwards, so that a pipe's reader
/// sees its end.
fn spawn(spec: &Spec, stdout: Stdio, stderr: Stdio) -> io::Result<Child> {
    // A child inherits that an interrupt is ignored, as it is in whatever a shell script started
    // with `&`: Terraform could then not be asked to stop. That it is caught, it does not inherit.
    let _caught_from_now_on = signal(SignalKind::interrupt())?;
    let mut command = confine::command(spec)?;
    command.stdout(stdout).stderr(stderr);
    let spawned = match &spec.processes {
        Some(processes) => processes.spawn(command),
        None => command.spawn(),
    };
    spawned.map_err(|error| {
        io::Error::new(error.kind(), format!("{} cannot start: {error}", spec.program.display()))
    })
}

async fn end(child: &mut Child, on_stop: OnStop) -> io::Result<ExitStatus> {
    // Not yet waited for, so the id cannot belong to another process.
    let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw) else {
        return child.wait().await;
    };
    let grace = match on_stop {
        OnStop::Interrupt => {
            let _ = kill(pid, Signal::SIGINT);
            return child.wait().await;
        }
        OnStop::Abandon { grace } => {
            let _ = kill(pid, Signal::SIGINT);
            grace
        }
        OnStop::AbandonGroup { grace } => {
            let _ = killpg(pid, Signal::SIGTERM);
            grace
        }
        OnStop::InterruptGroup { grace } => {
            let _ = killpg(pid, Signal::SIGINT);
            grace
        }
    };
    let status = time::timeout(grace, child.wait()).await;
    // What it started may still be there when it is gone itself.
    let _ = killpg(pid, Signal::SIGKILL);
    match status {
        Ok(status) => status,
        Err(_) => child.wait().await,
    }
}

async fn read_lines(mut output: pipe::Receiver, sink: Sink) {
    let mut lines = Splitter::default();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        lines.feed(&buffer[..read], &*sink);
    }
    lines.finish(&*sink);
}
