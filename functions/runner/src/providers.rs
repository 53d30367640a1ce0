//! Providers that an earlier run on this machine has installed, by dependency lock file and
//! platform.
//!
//! What is kept belongs to the user that runs' code runs as, and is an offer. Terraform checks the
//! folder of each provider against the lock file's `h1:` checksums
//! (<https://developer.hashicorp.com/terraform/language/files/dependency-lock>). What does not
//! match it would install over, and so mix with what was there: as soon as it installs anything,
//! the offer is withdrawn, and it starts from nothing. Copies are made by that user too: the runner
//! follows nothing of a run's. Between that check and their end nobody changes them: a run's own
//! processes, where they are confined, can only read what is kept and what is lent.

use crate::{
    failure::Failure,
    job::{Care, Job},
    root,
};
use gantry_domain::stack::Tool;
use gantry_engine::{
    Confinement, Environment, Sink, Terraform, diagnostics::Warned, files, process, tool::platform,
};
use gantry_setup::Clock;
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{MetadataExt, lchown},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::task::spawn_blocking;

/// Terraform's name for the file.
const LOCK_FILE: &str = ".terraform.lock.hcl";
/// Bytes. A larger one does not fit an argument, and locks more than a hundred providers.
const LARGEST_LOCK_FILE: u64 = 100_000;
/// Bytes of all that is kept; what was used least recently goes first.
const LARGEST: u64 = 4 << 30;
/// What Terraform and OpenTofu say for each provider that they do not find installed.
const INSTALLING: &str = "- Installing ";
/// What they warn of with every mirror, of a file that they have made and that goes with the run.
const INCOMPLETE_LOCK_FILE: &str = "Incomplete lock file information for providers";
/// The folder of what is kept, in a folder that is the runner's own.
const KEPT: &str = "providers";

/// Puts what is kept in the folder `$1` into the run's folder `$2`. They share the disk.
const LEND: &str = r#"cp -RPl "$1/." "$2""#;
/// Offers the packages in the folder `$1` as the project's, by links as those of a plugin cache.
const OFFER: &str = r#"test ! -e .terraform/providers && mkdir -p .terraform/providers || exit 1
for package in "$1"/*/*/*/*/*; do
  [ -d "$package" ] || continue
  name=.terraform/providers/${package#"$1"/}
  mkdir -p "${name%/*}" && ln -s "$package" "$name" || { rm -rf .terraform/providers; exit 1; }
done"#;
/// Withdraws the offer; `$1` is the lock file as it was.
const WITHDRAW: &str = r#"rm -rf .terraform/providers && printf %s "$1" > .terraform.lock.hcl"#;
/// Puts copies of the project's providers into the folder `$1`: whoever has the originals can
/// change them.
const KEEP: &str = r#"cp -RP .terraform/providers/. "$1""#;

/// `terraform init`, with the providers of an earlier run and for a later one.
pub(crate) async fn init(
    job: &mut Job,
    terraform: &Terraform,
    locked: bool,
) -> Result<(), Failure> {
    let var_files = match job.claim.tool {
        Tool::OpenTofu => root::var_files(job, &terraform.folder)?,
        Tool::Terraform => Vec::new(),
    };
    let spec = terraform.init(locked, &var_files);
    let lock = lock_file(job, terraform);
    let entry = lock.as_deref().map(|lock| {
        let digest = files::digest(lock.as_bytes());
        job.config.work.join("providers").join(format!("{}-{digest}", platform()))
    });
    if let (Some(lock), Some(entry)) = (&lock, &entry)
        && offer(job, terraform, entry).await?
    {
        let (installs, watch) = watch();
        let (ended, _) = job.terraform(&spec, Care::Plan, watch).await?;
        job.go_on()?;
        if ended.status.success() && !installs.load(Ordering::Relaxed) {
            return Ok(());
        }
        job.log.say("trying again without the providers left here by an earlier run");
        withdraw(job, terraform, entry, lock).await?;
        // It says all of it again.
        job.warned = Warned::default();
    }
    let (installs, watch) = watch();
    job.terraform_or_fail("init", &spec, &[0], watch).await?;
    job.warned.warnings.retain(|warning| warning.summary != INCOMPLETE_LOCK_FILE);
    let Some(entry) = entry.filter(|_| installs.load(Ordering::Relaxed)) else { return Ok(()) };
    if lock_file(job, terraform) == lock {
        return keep(job, terraform, &entry).await;
    }
    let (program, platform) = (job.claim.tool.command(), platform());
    job.log.say(&format!(
        "the dependency lock file lacks the checksums needed to keep providers between runs; add \
         them with `{program} providers lock -platform={platform}`"
    ));
    Ok(())
}

/// Whether Terraform installs a provider, and what finds it out.
fn watch() -> (Arc<AtomicBool>, impl Fn(&str) + Send + Sync + 'static) {
    let installs = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&installs);
    let watch = move |line: &str| {
        if line.contains(INSTALLING) {
            heard.store(true, Ordering::Relaxed);
        }
    };
    (installs, watch)
}

/// The dependency lock file, where there is one that counts.
fn lock_file(job: &Job, terraform: &Terraform) -> Option<String> {
    // The run has its providers somewhere else.
    if terraform.environment.get("TF_DATA_DIR").is_some() {
        return None;
    }
    let file = job.open_own(&terraform.folder.join(LOCK_FILE)).ok()?;
    let mut body = String::new();
    file.take(LARGEST_LOCK_FILE + 1).read_to_string(&mut body).ok()?;
    (body.len() as u64 <= LARGEST_LOCK_FILE).then_some(body)
}

/// Whether there was something, and it lies where Terraform looks.
async fn offer(job: &mut Job, terraform: &Terraform, entry: &Path) -> Result<bool, Failure> {
    if !entry.is_dir() {
        return Ok(false);
    }
    let now = Clock::system().now().into();
    let _touched = File::open(entry).and_then(|folder| folder.set_modified(now));
    let (kept, lent) = (entry.join(KEPT), job.folders.providers.clone());
    let linking =
        |confinement: Confinement| confinement.writing(&kept).writing(&lent).seeing_machine();
    let lend = Script { text: LEND, arguments: vec![kept.as_os_str(), lent.as_os_str()] };
    Ok(lend.run(job, terraform, linking).await?
        && Script { text: OFFER, arguments: vec![lent.as_os_str()] }
            .run(job, terraform, |as_it_is| as_it_is)
            .await?)
}

async fn withdraw(
    job: &mut Job,
    terraform: &Terraform,
    entry: &Path,
    lock: &str,
) -> Result<(), Failure> {
    let entry = entry.to_owned();
    let removed = spawn_blocking(move || files::remove_folder(&entry)).await;
    removed.map_err(io::Error::other)??;
    let withdraw = Script { text: WITHDRAW, arguments: vec![OsStr::new(lock)] };
    match withdraw.run(job, terraform, |as_it_is| as_it_is).await? {
        true => Ok(()),
        false => Err(Failure::other("the providers of an earlier run cannot be removed")),
    }
}

/// Keeps what Terraform has installed. That it cannot be kept is no trouble of the run's.
async fn keep(job: &mut Job, terraform: &Terraform, entry: &Path) -> Result<(), Failure> {
    let mut name = entry.as_os_str().to_owned();
    name.push(format!(".{}", job.claim.run));
    let new = PathBuf::from(name);
    let made = make_place(&new, terraform);
    let kept = new.join(KEPT);
    let keep = Script { text: KEEP, arguments: vec![kept.as_os_str()] };
    let copied = made.is_ok() && keep.run(job, terraform, |c| c.writing(&kept)).await?;
    let into = entry.to_owned();
    let placed = spawn_blocking(move || {
        let placed = made.and_then(|()| match copied {
            true => put_in_place(&new, &into),
            false => Ok(()),
        });
        files::remove_folder(&new).and(placed)
    });
    if let Err(error) = placed.await.map_err(io::Error::other).flatten() {
        tracing::warn!(%error, "providers were not kept");
    }
    Ok(())
}

fn make_place(new: &Path, terraform: &Terraform) -> io::Result<()> {
    files::make_fresh_folder(new, 0o711)?;
    let kept = new.join(KEPT);
    files::make_folder(&kept, 0o700)?;
    terraform.user.map_or(Ok(()), |user| lchown(kept, Some(user.uid), Some(user.gid)))
}

fn put_in_place(new: &Path, entry: &Path) -> io::Result<()> {
    files::remove_folder(entry)?;
    fs::rename(new, entry)?;
    entry.parent().map_or(Ok(()), |folder| prune(folder, LARGEST))
}

/// Removes what cannot be looked at, and then what was used least recently until the rest is small
/// enough.
fn prune(folder: &Path, largest: u64) -> io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let used = fs::metadata(&path).and_then(|metadata| metadata.modified());
        match used.and_then(|used| Ok((used, size_of(&path)?))) {
            Ok((used, size)) => entries.push((used, size, path)),
            Err(_) => files::remove_folder(&path)?,
        }
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

/// One of the scripts above.
struct Script<'a> {
    text: &'static str,
    arguments: Vec<&'a OsStr>,
}

impl Script<'_> {
    /// Runs it in the project's folder; whether it worked. Nothing of the stack's is in its
    /// environment: it reaches more than the run does.
    async fn run(
        self,
        job: &mut Job,
        terraform: &Terraform,
        confine: impl FnOnce(Confinement) -> Confinement,
    ) -> Result<bool, Failure> {
        let mut spec = terraform.hook(self.text);
        spec.arguments.push("providers".into());
        spec.arguments.extend(self.arguments.into_iter().map(OsStr::to_owned));
        spec.environment = Environment::default();
        spec.environment.set("PATH", job.config.environment.get("PATH").unwrap_or_default());
        spec.confinement = spec.confinement.map(confine);
        let masker = Arc::clone(&job.masker);
        let sink: Sink = Arc::new(move |piece| {
            // A part of a line may be a part of a secret.
            let line = piece.line().map(|line| masker.mask(line));
            tracing::warn!(line, "providers were not copied");
        });
        let on_stop = job.on_stop(Care::Hook);
        let ended = process::run(&spec, &sink, &mut job.stop, on_stop).await?;
        job.go_on()?;
        Ok(ended.status.success())
    }
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
