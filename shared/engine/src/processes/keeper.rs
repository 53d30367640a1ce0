//! The first process of a PID namespace. It executes nothing; no process of the namespace can end
//! it, and all end with it.

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::setsid,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// Between two looks for processes that have ended and whose parents had before.
const REAP_EVERY_MS: u16 = 1000;

/// Returns when all are to end.
pub(super) fn keep() -> io::Result<()> {
    let _is_one_already = setsid();
    // Not by its buffer: what is in there nobody would be told of.
    let mut orders = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut outlives: Option<OwnedFd> = None;
    loop {
        wait_for(orders.as_fd())?;
        let mut order = [0; 4];
        match orders.read_exact(&mut order) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        let Some(process) = Pid::from_raw(i32::from_le_bytes(order)) else { return Ok(()) };
        // It has ended already where there is none.
        outlives = pidfd_open(process, PidfdFlags::empty()).ok();
    }
    match outlives {
        Some(process) => wait_for(process.as_fd()),
        None => Ok(()),
    }
}

/// Waits until there is something to read, or the process has ended.
fn wait_for(file: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        let mut files = [PollFd::new(file, PollFlags::POLLIN)];
        match poll(&mut files, PollTimeout::from(REAP_EVERY_MS)) {
            Ok(0) | Err(Errno::EINTR) => reap(),
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn reap() {
    while waitpid(None, Some(WaitPidFlag::WNOHANG))
        .is_ok_and(|status| status != WaitStatus::StillAlive)
    {}
}
