//! What every run on a machine may reach: programs and what they need, and what its admin names.

use super::Policy;
use nix::unistd::{User, geteuid};
use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
};

/// Programs, libraries and what belongs to them.
const PROGRAMS: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/run/current-system/sw",
    "/home/linuxbrew/.linuxbrew",
];

/// The homes that some users of the system have, though everybody's programs are there.
const HOMES_OF_PROGRAMS: &[&str] = &["/usr/bin", "/usr/sbin"];

/// Settings of the system that programs read, and that hold no secrets. Not all of `/etc`.
const SETTINGS: &[&str] = &[
    "/etc/alternatives",
    "/etc/bash.bashrc",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/debian_version",
    "/etc/gai.conf",
    "/etc/gitconfig",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/inputrc",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/locale.conf",
    "/etc/localtime",
    "/etc/lsb-release",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/openssl",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/ca-trust",
    "/etc/pki/java",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/openssl.cnf",
    "/etc/profile",
    "/etc/protocols",
    "/etc/redhat-release",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/shells",
    "/etc/ssh/ssh_config",
    "/etc/ssh/ssh_config.d",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/system-release",
    "/etc/terminfo",
    "/etc/timezone",
    "/etc/vimrc",
    "/etc/wgetrc",
];

/// What the kernel shows of the machine, and nothing of other processes.
const KERNEL: &[&str] = &[
    "/dev/full",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys",
    "/proc/uptime",
    "/proc/version",
    "/sys/devices/system/cpu",
    "/sys/kernel/mm/transparent_hugepage",
];

/// Where a machine's policy comes from.
#[derive(Debug, Clone, Default)]
pub struct MachinePolicy {
    /// Folders that hold what no run may see: Gantry's.
    pub private: Vec<PathBuf>,
    /// `PATH` as runs have it from the runner.
    pub path: String,
    /// Files and folders that the runner's own environment names for runs: certificates.
    pub named: Vec<PathBuf>,
    /// What an admin lets runs read.
    pub may_read: Vec<PathBuf>,
    /// What an admin lets runs change.
    pub may_write: Vec<PathBuf>,
    /// Runs have a user of their own.
    pub has_user: bool,
}

/// Why a machine's policy is refused. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// It would show what is Gantry's own.
    #[error(
        "runs cannot be given {path}, because it would expose {private}, which contains Gantry's \
         own files"
    )]
    OpensPrivate {
        /// What was named.
        path: PathBuf,
        /// What it would open.
        private: PathBuf,
    },
    /// It is not there.
    #[error("runs cannot be given {path}")]
    NotThere {
        /// What was named.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl MachinePolicy {
    /// The policy that each run's own folders are added to.
    ///
    /// # Errors
    /// When the admin names what is not there, or is Gantry's.
    pub fn policy(&self) -> Result<Policy, MachineError> {
        self.policy_without(home())
    }

    fn policy_without(&self, home: Option<PathBuf>) -> Result<Policy, MachineError> {
        let private: Vec<PathBuf> = self.private.iter().map(|path| real(path)).collect();
        let has_programs = |home: &PathBuf| {
            PROGRAMS
                .iter()
                .chain(HOMES_OF_PROGRAMS)
                .any(|path| real(path.as_ref()).starts_with(home))
        };
        let home = home.filter(|home| !has_programs(home));
        let closed: Vec<PathBuf> = private.iter().cloned().chain(home).collect();

        let everybody_reads = |paths: &[&[&str]]| {
            let mut read = BTreeSet::new();
            for path in paths.iter().copied().flatten().map(Path::new) {
                // A link to a folder leads to one that is looked at like any other.
                spare(path, &closed, &mut read);
            }
            read
        };
        let mut read = everybody_reads(&[PROGRAMS, KERNEL]);
        let is_open = |path: &Path| !closed.iter().any(|closed| closed.starts_with(real(path)));
        let on_path = env::split_paths(&self.path).filter(|path| path.is_absolute());
        let named = on_path.chain(self.named.iter().cloned());
        read.extend(named.filter(|path| is_open(path) && !is_within(path, &private)));
        for path in &self.may_read {
            read.insert(given(path, &private)?);
        }
        let may_write = self.may_write.iter().map(|path| given(path, &private));
        Ok(Policy {
            read: read.into_iter().collect(),
            write: may_write.collect::<Result<_, _>>()?,
            settings: everybody_reads(&[SETTINGS]).into_iter().collect(),
            private,
            landlock_may_be_missing: self.has_user,
            ..Policy::default()
        })
    }
}

/// What an admin names, if it opens nothing private.
pub(super) fn given(path: &Path, private: &[PathBuf]) -> Result<PathBuf, MachineError> {
    let real = path
        .canonicalize()
        .map_err(|source| MachineError::NotThere { path: path.to_owned(), source })?;
    match private.iter().find(|private| touches(private, &real)) {
        Some(private) => {
            Err(MachineError::OpensPrivate { path: path.to_owned(), private: private.clone() })
        }
        None => Ok(std::path::absolute(path).unwrap_or(real)),
    }
}

/// One of them is in the other.
fn touches(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

fn is_within(path: &Path, folders: &[PathBuf]) -> bool {
    let path = real(path);
    folders.iter().any(|folder| path.starts_with(folder))
}

/// `path`, or where something closed is in there, all else that is in there.
fn spare(path: &Path, closed: &[PathBuf], into: &mut BTreeSet<PathBuf>) {
    let real = real(path);
    if closed.iter().any(|closed| real.starts_with(closed)) {
        return;
    }
    if !closed.iter().any(|closed| closed.starts_with(&real)) {
        into.insert(path.to_owned());
        return;
    }
    for entry in fs::read_dir(&real).into_iter().flatten().flatten() {
        // What a link leads to is looked at where it is.
        if !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            spare(&entry.path(), closed, into);
        }
    }
}

/// Without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.canonicalize().unwrap_or(path)
}

/// The home of the runner's user, where it has one.
fn home() -> Option<PathBuf> {
    let home = User::from_uid(geteuid()).ok()??.dir;
    (home != Path::new("/") && home.is_dir()).then(|| real(&home))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(private: &Path) -> MachinePolicy {
        MachinePolicy { private: vec![private.to_owned()], ..MachinePolicy::default() }
    }

    #[test]
    fn what_is_private_is_spared_from_what_everybody_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().canonicalize().unwrap().join(name);
        for name in ["gantry/data/objects", "gantry/other", "tools"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        std::os::unix::fs::symlink(path("gantry/data"), path("link")).unwrap();
        let mut read = BTreeSet::new();
        spare(folder.path(), &[path("gantry/data")], &mut read);
        assert_eq!(read, BTreeSet::from([path("gantry/other"), path("tools")]));
        let mut read = BTreeSet::new();
        spare(&path("link"), &[path("gantry/data")], &mut read);
        assert!(read.is_empty(), "{read:?}");
        spare(&path("tools"), &[path("gantry/data")], &mut read);
        assert_eq!(read, BTreeSet::from([path("tools")]));
    }

    #[test]
    fn folders_on_path_count_unless_they_hold_what_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["data/bin", "tools"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        let all = [path(""), path("data"), path("data/bin"), path("tools"), "relative".into()];
        let machine = MachinePolicy {
            path: env::join_paths(all).unwrap().into_string().unwrap(),
            ..machine(&path("data"))
        };
        let policy = machine.policy().unwrap();
        let found: Vec<_> =
            policy.read.iter().filter(|found| found.starts_with(folder.path())).collect();
        assert_eq!(found, [&path("tools")]);
        assert!(policy.read.contains(&"/usr".into()) && !policy.read.contains(&"/etc".into()));
    }

    #[test]
    fn a_home_is_closed_wherever_it_is() {
        let read_with = |home: &str| {
            let policy = MachinePolicy::default().policy_without(Some(home.into())).unwrap();
            policy.read.into_iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        for home in ["/", "/usr", "/usr/sbin", "/opt", "/home/linuxbrew"] {
            assert!(read_with(home).contains(&"/usr".to_owned()), "{home}");
        }
        // Within a folder of programs: all else that is in there can be read.
        let read = read_with("/usr/share");
        assert!(!read.iter().any(|path| "/usr/share".starts_with(path)), "{read:?}");
        assert!(read.contains(&"/usr/bin".to_owned()), "{read:?}");
    }

    #[test]
    fn an_admin_cannot_give_away_what_is_gantrys() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir_all(data.join("objects")).unwrap();
        std::os::unix::fs::symlink(&data, folder.path().join("link")).unwrap();
        for bad in ["", "data", "data/objects", "link", "data/../data/objects"] {
            let bad = folder.path().join(bad);
            for (may_read, may_write) in [(vec![bad.clone()], vec![]), (vec![], vec![bad])] {
                let machine = MachinePolicy { may_read, may_write, ..machine(&data) };
                let refused = machine.policy().unwrap_err();
                assert!(matches!(refused, MachineError::OpensPrivate { .. }), "{refused}");
            }
        }
        let missing =
            MachinePolicy { may_read: vec![folder.path().join("nope")], ..machine(&data) };
        assert!(matches!(missing.policy(), Err(MachineError::NotThere { .. })));
    }
}
