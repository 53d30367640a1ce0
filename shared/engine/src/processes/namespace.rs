//! A PID namespace and the thread that starts processes in it: the kernel lets a thread say where
//! its children are born, and not where it lives itself.

use super::KEEP;
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};
use std::{
    fs,
    io::{self, PipeWriter, Write as _},
    path::Path,
    process::Stdio,
    sync::{Mutex, PoisonError, mpsc},
    thread,
};
use tokio::{
    process::{Child, Command},
    runtime::Handle,
};

type Work = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
pub(super) struct Namespace {
    work: mpsc::Sender<Work>,
    /// What the keeper is told: each a number of four bytes.
    orders: PipeWriter,
    keeper: Mutex<Option<Child>>,
}

/// The process of that number, in the namespace, is let end when this process has died.
/// Of the number 0 there is none: all end at once.
const END_NOW: u32 = 0;

impl Namespace {
    pub(super) fn begin(program: &Path) -> io::Result<Self> {
        let (input, orders) = io::pipe()?;
        let mut keeper = Command::new(program);
        keeper.arg(KEEP).env_clear().current_dir("/");
        keeper.stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
        let (work, works) = mpsc::channel::<Work>();
        let (tell, told) = mpsc::channel();
        let runtime = Handle::current();
        thread::Builder::new().name("processes".to_owned()).spawn(move || {
            let _runtime = runtime.enter();
            // The first process that is born there is the one that all others end with.
            let begun = unshare(CloneFlags::CLONE_NEWPID).map_err(io::Error::from);
            let begun = begun.and_then(|()| keeper.spawn());
            drop(keeper);
            let goes_on = begun.is_ok();
            let _nobody_waits = tell.send(begun);
            if goes_on {
                works.into_iter().for_each(|work| work());
            }
        })?;
        let keeper = told.recv().map_err(io::Error::other)??;
        Ok(Self { work, orders, keeper: Mutex::new(Some(keeper)) })
    }

    pub(super) fn spawn(&self, mut command: Command) -> io::Result<Child> {
        let (tell, told) = mpsc::channel();
        let work = Box::new(move || {
            let _nobody_waits = tell.send(command.spawn());
        });
        self.work.send(work).map_err(|_| io::Error::other("the phase has ended"))?;
        told.recv().map_err(io::Error::other)?
    }

    pub(super) fn let_outlive(&self, child: &Child) -> io::Result<()> {
        let Some(id) = child.id() else { return Ok(()) };
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let inner = numbers.and_then(|numbers| numbers.split_whitespace().last()?.parse().ok());
        let inner: u32 = inner.ok_or_else(|| io::Error::other("its number is not known"))?;
        (&self.orders).write_all(&inner.to_le_bytes())
    }

    pub(super) async fn end(&self) -> io::Result<()> {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut keeper) = keeper else { return Ok(()) };
        // It may have died, and all others with it.
        let _told = (&self.orders).write_all(&END_NOW.to_le_bytes());
        // The kernel lets it end when all others have.
        keeper.wait().await.map(|_| ())
    }
}

/// Makes a user namespace, where it takes one.
pub(super) fn gain() -> io::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // Otherwise it would be nobody, to itself and to whoever asks.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}
