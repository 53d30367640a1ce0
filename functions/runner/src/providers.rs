//! Providers that an earlier run on this machine has installed, by dependency lock file and
//! platform.
//!
//! What is kept is an offer and not trusted: before Terraform uses what lies in
//! `.terraform/providers` it checks it against the lock file's `h1:` checksums, and installs anew
//! what does not match (<https://developer.hashicorp.com/terraform/language/files/dependency-lock>).
//! Copies are made by the user that Terraform runs as, who wrote what is copied: the runner follows
//! nothing of a run's.

use crate::{
    failure::Failure,
    job::{Care, Job},
};
use gantry_engine::{Sink, Spec, Terraform, files, process};
use gantry_setup::Clock;
use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::task::spawn_blocking;

/// Terraform's name for the file.
const LOCK_FILE: &str = ".terraform.lock.hcl";
const LARGEST_LOCK_FILE: u64 = 1 << 20;
/// Bytes of all that is kept; what was used least recently goes first.
const LARGEST: u64 = 4 << 30;
/// What Terraform and OpenTofu say for each provider that they do not find installed.
const INSTALLING: &str = "- Installing ";

/// Takes the folder in `$1`, makes it the project's providers.
const BRING: &str = r#"mkdir -p .terraform && cp -RP "$1" .terraform/providers ||
{ rm -rf .terraform/providers; exit 1; }"#;
/// Copies the project's providers into the folder in `$1`.
const KEEP: &str = r#"cp -RP .terraform/providers/. "$1""#;

/// `terraform init`, with the providers of an earlier run and for a later one.
pub(crate) async fn init(
    job: &mut Job,
    terraform: &Terraform,
    locked: bool,
) -> Result<(), Failure> {
    let lock = lock_digest(terraform);
    let entry = lock
        .as_ref()
        .map(|digest| job.config.work.join("providers").join(format!("{}-{digest}", platform())));
    if let Some(entry) = entry.as_ref().filter(|entry| entry.is_dir()) {
        // Where it does not work out, Terraform installs them.
        let now = Clock::system().now().into();
        let _touched = File::open(entry).and_then(|folder| folder.set_modified(now));
        copy(job, terraform, BRING, entry).await?;
    }
    let installed = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&installed);
    let watch = move |line: &str| {
        if line.contains(INSTALLING) {
            heard.store(true, Ordering::Relaxed);
        }
    };
    job.terraform_or_fail("init", &terraform.init(locked), &[0], watch).await?;
    let Some(entry) = entry.filter(|_| installed.load(Ordering::Relaxed)) else { return Ok(()) };
    if lock_digest(terraform) == lock {
        return keep(job, terraform, &entry).await;
    }
    let (program, platform) = (job.claim.tool.command(), platform());
    job.log.say(&format!(
        "the dependency lock file lacks what it takes to keep providers between runs: \
         `{program} providers lock -platform={platform}` adds it"
    ));
    Ok(())
}

/// The digest of the dependency lock file, where there is one that counts.
fn lock_digest(terraform: &Terraform) -> Option<String> {
    // The run has its providers somewhere else.
    if terraform.environment.get("TF_DATA_DIR").is_some() {
        return None;
    }
    let file = files::open_regular(&terraform.folder.join(LOCK_FILE)).ok()?;
    let mut body = Vec::new();
    file.take(LARGEST_LOCK_FILE).read_to_end(&mut body).ok()?;
    Some(files::digest(&body))
}

/// As Terraform names it.
fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}_{architecture}", std::env::consts::OS)
}

/// Keeps what Terraform has installed, in place of what was kept for this lock file and was not
/// taken. That it cannot be kept is no trouble of the run's.
async fn keep(job: &mut Job, terraform: &Terraform, entry: &Path) -> Result<(), Failure> {
    let mut name = entry.as_os_str().to_owned();
    name.push(format!(".{}", job.claim.run));
    let new = PathBuf::from(name);
    let made = make_place(&new, terraform);
    let copied = made.is_ok() && copy(job, terraform, KEEP, &new).await?;
    let (into, from) = (entry.to_owned(), new);
    let placed = spawn_blocking(move || {
        let placed = made.and_then(|()| match copied {
            true => put_in_place(&from, &into),
            false => Ok(()),
        });
        files::remove_folder(&from).and(placed)
    });
    if let Err(error) = placed.await.map_err(io::Error::other).flatten() {
        tracing::warn!(%error, "providers were not kept");
    }
    Ok(())
}

fn make_place(new: &Path, terraform: &Terraform) -> io::Result<()> {
    if let Some(folder) = new.parent() {
        files::make_folder(folder, 0o711)?;
    }
    files::make_fresh_folder(new, 0o700)?;
    terraform.user.map_or(Ok(()), |user| files::give_to(new, user))
}

fn put_in_place(new: &Path, entry: &Path) -> io::Result<()> {
    files::remove_folder(entry)?;
    fs::rename(new, entry)?;
    entry.parent().map_or(Ok(()), |folder| prune(folder, LARGEST))
}

/// Removes what was used least recently until the rest is small enough.
fn prune(folder: &Path, largest: u64) -> io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        entries.push((fs::metadata(&path)?.modified()?, size_of(&path)?, path));
    }
    entries.sort();
    let mut all: u64 = entries.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in entries {
        if all <= largest {
            break;
        }
        files::remove_folder(&path)?;
        all -= size;
    }
    Ok(())
}

fn size_of(path: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.size());
    }
    fs::read_dir(path)?.map(|entry| size_of(&entry?.path())).sum()
}

/// Runs one of the scripts above in the project's folder; whether it worked.
async fn copy(
    job: &mut Job,
    terraform: &Terraform,
    script: &str,
    folder: &Path,
) -> Result<bool, Failure> {
    let mut spec: Spec = terraform.hook(script);
    spec.arguments.extend(["providers".into(), folder.into()]);
    let sink: Sink = Arc::new(|line| tracing::warn!(line, "providers were not copied"));
    let on_stop = job.on_stop(Care::Hook);
    let ended = process::run(&spec, &sink, &mut job.stop, on_stop).await?;
    job.go_on()?;
    Ok(ended.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn what_was_used_least_recently_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        for (name, used) in [("a", 10), ("b", 30), ("c", 20)] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.join("deep")).unwrap();
            fs::write(path.join("deep/file"), [0; 100]).unwrap();
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(used);
            File::open(path).unwrap().set_modified(used).unwrap();
        }
        prune(folder.path(), 300).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        prune(folder.path(), 299).unwrap();
        assert!(!folder.path().join("a").exists());
        prune(folder.path(), 150).unwrap();
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["b"]);
    }
}
