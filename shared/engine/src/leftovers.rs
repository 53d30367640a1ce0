//! What a run leaves on a machine that others use after it: processes, and files outside of its own
//! folder. Memory that System V shares between processes is not looked for: Terraform has none.

use crate::Unprivileged;
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{fs, io, os::unix::fs::MetadataExt, path::Path, process::Stdio, time::Duration};
use tokio::process::Command;

/// Where every user can leave files.
pub const SHARED_FOLDERS: [&str; 7] = [
    "/tmp",
    "/var/tmp",
    "/dev/shm",
    "/dev/mqueue",
    "/run/lock",
    "/var/lock",
    // The folders that AWS CodeBuild makes.
    "/codebuild",
];

/// How often processes are ended anew that came while others were ended.
const ROUNDS: u32 = 100;
const ROUND: Duration = Duration::from_millis(20);

/// From now on [`end_processes`] finds what was started by something that has ended meanwhile.
///
/// # Errors
/// Where the system cannot do this: only Linux can.
pub fn adopt_orphans() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return Ok(nix::sys::prctl::set_child_subreaper(true)?);
    #[cfg(not(target_os = "linux"))]
    return Err(io::Error::from(io::ErrorKind::Unsupported));
}

/// Ends every process that this one has started, directly or not, and all others of `user`. No
/// child may be awaited meanwhile: its end would be heard of here.
///
/// # Errors
/// When something is left.
pub async fn end_processes(user: Unprivileged) -> io::Result<()> {
    end_all(Some(user)).await
}

/// Ends every process that this one has started, directly or not. No child may be awaited meanwhile.
///
/// # Errors
/// When something is left.
pub async fn end_descendants() -> io::Result<()> {
    end_all(None).await
}

async fn end_all(user: Option<Unprivileged>) -> io::Result<()> {
    for _ in 0..ROUNDS {
        if let Some(user) = user {
            end_all_of(user).await?;
        }
        reap()?;
        let left = descendants()?;
        if left.is_empty() {
            return Ok(());
        }
        for pid in left {
            match kill(pid, Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        tokio::time::sleep(ROUND).await;
    }
    Err(io::Error::other("processes started by the run cannot be ended"))
}

/// The system's own way is the only one that misses nobody who starts others meanwhile.
async fn end_all_of(user: Unprivileged) -> io::Result<()> {
    let mut everybody = Command::new("/bin/sh");
    everybody.args(["-c", "kill -s KILL -- -1"]).uid(user.uid).gid(user.gid);
    everybody.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    everybody.status().await.map(|_| ())
}

/// Takes note of children that have ended.
fn reap() -> io::Result<()> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn descendants() -> io::Result<Vec<Pid>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        match fs::read(format!("/proc/{pid}/stat")) {
            Ok(stat) => {
                let parent = parent_of(&stat).ok_or_else(|| {
                    io::Error::other(format!("/proc/{pid}/stat is not what it should be"))
                })?;
                all.push((pid, parent));
            }
            Err(error) if has_ended(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let mut found = vec![Pid::this().as_raw()];
    let mut looked_at = 0;
    while let Some(parent) = found.get(looked_at).copied() {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        looked_at += 1;
    }
    Ok(found.into_iter().skip(1).map(Pid::from_raw).collect())
}

fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// The second field behind the program's name, which is in parentheses and may hold any bytes:
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>.
fn parent_of(stat: &[u8]) -> Option<i32> {
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = str::from_utf8(stat.get(name_ends + 1..)?).ok()?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// Removes what belongs to `user` in `folder`, if there is such a folder. Only when nothing of the
/// user's runs any more: it could put links in the way.
///
/// # Errors
/// When something cannot be looked at or removed.
pub fn remove_files(user: Unprivileged, folder: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let path = entry?.path();
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        match (metadata.uid() == user.uid, metadata.is_dir()) {
            (true, true) => gone(fs::remove_dir_all(&path))?,
            (true, false) => gone(fs::remove_file(&path))?,
            (false, true) => remove_files(user, &path)?,
            (false, false) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_may_look_like_fields() {
        assert_eq!(parent_of(b"42 (a) 7 (b) S 7 42 42 0 -1"), Some(7));
        assert_eq!(parent_of(b"42 (\xff) S 7 42 42 0 -1"), Some(7));
        assert_eq!(parent_of(b"42"), None);
    }

    #[test]
    fn what_belongs_to_the_user_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(elsewhere.path().join("stays"), "").unwrap();
        fs::create_dir_all(path("of-all/of-user")).unwrap();
        for name in ["stays", "of-user", "of-all/stays", "of-all/of-user/file"] {
            fs::write(path(name), "").unwrap();
        }
        std::os::unix::fs::symlink(elsewhere.path(), path("link")).unwrap();
        let user = Unprivileged { uid: 12_345, gid: 12_345 };
        remove_files(user, folder.path()).unwrap();
        assert!(path("of-all/of-user/file").exists());
        if !gantry_terraform::is_root("removing what another user owns") {
            return;
        }
        for name in ["of-user", "of-all/of-user", "link"] {
            crate::files::give_to(&path(name), user).unwrap();
        }
        remove_files(user, folder.path()).unwrap();
        remove_files(user, &path("not there")).unwrap();
        let left = |path: &Path| {
            let mut names: Vec<_> = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(left(folder.path()), ["of-all", "stays"]);
        assert_eq!(left(&path("of-all")), ["stays"]);
        assert_eq!(left(elsewhere.path()), ["stays"]);
    }
}
