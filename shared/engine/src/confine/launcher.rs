//! The launcher: a process that gives up all that it could do, and becomes the program of a run.

use super::{Order, Strength, calls, landlock, view::View};
use crate::Unprivileged;
use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        stat::{Mode, umask},
    },
    unistd::{self, Gid, Uid},
};
use rustix::thread::{self, CapabilitySet, CapabilitySets};
use std::{
    fs, io,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

/// Confines this process and replaces it by the program of the order on its standard input.
pub(super) fn launch() -> Result<(), String> {
    let order: Order = serde_json::from_reader(io::stdin().lock())
        .map_err(|_| "no instructions were received".to_owned())?;
    // However strict the runner's own is: a run's user passes through the folders of its view, and
    // a run's files get the modes that they get anywhere.
    umask(Mode::from_bits_truncate(0o022));
    let strength = confine(&order)?;
    let Some(program) = &order.program else {
        return serde_json::to_writer(io::stdout().lock(), &strength).map_err(|e| e.to_string());
    };
    let mut command = Command::new(program);
    command.args(&order.arguments).current_dir(&order.folder);
    command.env_clear().envs(&order.environment).stdin(Stdio::null());
    let error = command.exec();
    Err(format!("{} cannot start: {error}", program.display()))
}

fn confine(order: &Order) -> Result<Strength, String> {
    let step = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    // Without a controlling terminal nothing can be typed into it.
    unistd::setsid().map_err(io::Error::from).map_err(step("cannot create a new session"))?;
    close_inherited_files().map_err(step("cannot close inherited files"))?;
    let mut user = order.user;
    let view =
        make_view(order, &mut user).map_err(step("cannot create a separate file system view"))?;
    let own_view = view.is_some();
    let rules = match &view {
        Some(view) => landlock::rules(view.reachable()),
        None => landlock::rules(order.policy.reachable()),
    };
    let rules = rules.map_err(|e| format!("Landlock: {e}"))?;
    let filters = calls::filters(own_view).map_err(|e| format!("system calls: {e}"))?;
    drop_rights(user).map_err(step("cannot give up privileges"))?;
    let landlock = rules.apply().map_err(|e| format!("Landlock: {e}"))?;
    if landlock.is_none() && !order.policy.landlock_may_be_missing {
        return Err("this kernel has no Landlock or it is not enabled".to_owned());
    }
    filters.apply().map_err(step("cannot filter system calls"))?;
    Ok(Strength { landlock, own_view })
}

/// Files that whoever started the runner has left open are no business of a run.
fn close_inherited_files() -> io::Result<()> {
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in open {
        // The folder's own is among them, and closed already.
        let _closed = unistd::close(number);
    }
    Ok(())
}

/// The view that the process has from now on, if it has one of its own. Where it takes a user
/// namespace to make one, the process is its user already.
fn make_view(order: &Order, user: &mut Option<Unprivileged>) -> io::Result<Option<View>> {
    if order.policy.sees_machine {
        return Ok(None);
    }
    let none = |error: Errno| match order.policy.needs_view {
        true => Err(io::Error::other(format!("{error}; there was one when the run began"))),
        false => Ok(None),
    };
    let spaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC;
    if unshare(spaces).is_err() {
        if let Some(user) = user.take() {
            drop_bounding_set();
            become_user(user)?;
        }
        let (uid, gid) = (unistd::geteuid(), unistd::getegid());
        if let Err(error) = unshare(CloneFlags::CLONE_NEWUSER | spaces) {
            return none(error);
        }
        // Otherwise it would be nobody, to itself and to whoever asks.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    }
    let view = View::of(&order.policy);
    match view.enter()? {
        Ok(()) => Ok(Some(view)),
        Err(error) => none(error),
    }
}

fn drop_rights(user: Option<Unprivileged>) -> io::Result<()> {
    drop_bounding_set();
    if let Some(user) = user {
        become_user(user)?;
    }
    let _none_to_clear = thread::clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    prctl::set_no_new_privs()?;
    Ok(())
}

/// An error means that the kernel knows no more of them, or that it has no right to, and then that
/// it has none to lose.
fn drop_bounding_set() {
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if thread::remove_capability_from_bounding_set(one).is_err() {
            return;
        }
    }
}

fn become_user(user: Unprivileged) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    unistd::setgroups(&[])?;
    unistd::setresgid(gid, gid, gid)?;
    unistd::setresuid(uid, uid, uid)?;
    // It was lost with the change of user, and its own maps could not be written without it.
    prctl::set_dumpable(true)?;
    Ok(())
}
