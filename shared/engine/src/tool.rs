//! The program that executes a stack: on `PATH`, or a release that is downloaded once.

use crate::{
    Confinement, Environment, OnStop, Spec,
    files::{self, HashingWriter},
    process,
    stop::stop_channel,
};
use gantry_domain::stack::Tool;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use url::Url;

/// What programs have said of their versions, in the folder of the releases.
const VERSIONS: &str = "versions.json";

/// A program that can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its absolute path.
    pub program: PathBuf,
    /// The version that it says it is.
    pub version: String,
}

/// Where releases are published.
#[derive(Debug, Clone)]
pub struct Releases {
    /// Terraform's, without `/terraform/<version>/`.
    pub terraform: Url,
    /// OpenTofu's, without `/v<version>/`.
    pub opentofu: Url,
}

/// Why there is no program to call. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// None on `PATH`, and no version was named.
    #[error(
        "the runner has no `{0}` on its PATH and the stack does not specify a version to download"
    )]
    NotInstalled(&'static str),
    /// What was named is no version.
    #[error("{0:?} is not a version such as 1.15.5")]
    NotAVersion(String),
    /// There is no such release for this machine.
    #[error("{tool} {version} is not published for this machine ({file} is not in its SHA256SUMS)")]
    NotPublished {
        /// The command.
        tool: &'static str,
        /// The version.
        version: String,
        /// The archive's name.
        file: String,
    },
    /// What came is not what was published.
    #[error("the download of {0} does not match its published SHA-256")]
    WrongDigest(String),
    /// The vendor's address did not give it.
    #[error("{address} answered {status}")]
    Refused {
        /// What was asked for.
        address: Url,
        /// What was answered.
        status: u16,
    },
    /// The vendor's address could not be reached.
    #[error("the release cannot be downloaded")]
    Unreachable(#[from] reqwest::Error),
    /// It cannot be kept, or not be called.
    #[error("the program cannot be used")]
    Io(#[from] io::Error),
}

/// Finds the program: the one on `PATH` if it has the wanted version or none is named, else the
/// wanted version's release, downloaded into `cache` the first time. What a program on `PATH` says of
/// its version is kept there too.
pub async fn find(
    tool: Tool,
    version: Option<&str>,
    path: &str,
    cache: &Path,
    releases: &Releases,
    http: impl FnOnce() -> reqwest::Result<reqwest::Client>,
    confinement: Option<&Confinement>,
) -> Result<Found, ToolError> {
    let on_path = on_path(tool, path);
    let Some(wanted) = version else {
        let program = on_path.ok_or(ToolError::NotInstalled(tool.command()))?;
        let version = version_once(tool, &program, path, cache, confinement).await?;
        return Ok(Found { program, version });
    };
    if !is_version(wanted) {
        return Err(ToolError::NotAVersion(wanted.to_owned()));
    }
    if let Some(program) = on_path {
        let version = version_once(tool, &program, path, cache, confinement).await;
        if version.is_ok_and(|found| found == wanted) {
            return Ok(Found { program, version: wanted.to_owned() });
        }
    }
    let program = cache.join(tool.command()).join(wanted).join(tool.command());
    if !program.is_file() {
        tracing::info!(tool = tool.command(), version = wanted, "downloading a release");
        download(tool, wanted, &program, releases, &http()?).await?;
    }
    Ok(Found { program, version: wanted.to_owned() })
}

/// The tool's program in the folders of `path`.
pub fn on_path(tool: Tool, path: &str) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(tool.command())).find(|file| {
        file.is_absolute()
            && fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    })
}

/// The version of the tool in the folders of `path`.
///
/// # Errors
/// When it is not there, or says none.
pub async fn version_on_path(tool: Tool, path: &str) -> Result<String, ToolError> {
    let program = on_path(tool, path).ok_or(ToolError::NotInstalled(tool.command()))?;
    Ok(version_of(&program, path, None).await?)
}

fn is_version(text: &str) -> bool {
    let (numbers, pre) = text.split_once('-').map_or((text, None), |(n, p)| (n, Some(p)));
    let numbers: Vec<_> = numbers.split('.').collect();
    numbers.len() == 3
        && numbers.iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        && pre.is_none_or(|p| {
            !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
        })
}

/// A program that has said its version.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    inode: u64,
    size: u64,
    /// When it was changed last.
    changed: (i64, i64),
    version: String,
}

/// What a program says it is, which is asked once: starting it takes longer than all else that comes
/// before a run's own work.
async fn version_once(
    tool: Tool,
    program: &Path,
    path: &str,
    cache: &Path,
    confinement: Option<&Confinement>,
) -> io::Result<String> {
    let all = fs::read(cache.join(VERSIONS)).ok();
    let all = all.and_then(|all| serde_json::from_slice(&all).ok());
    let mut all: BTreeMap<PathBuf, Asked> = all.unwrap_or_default();
    let found = fs::metadata(program)?;
    let asked = |version: String| Asked {
        inode: found.ino(),
        size: found.len(),
        changed: (found.ctime(), found.ctime_nsec()),
        version,
    };
    if let Some(known) = all.get(program)
        && *known == asked(known.version.clone())
    {
        return Ok(known.version.clone());
    }
    let version = version_of(program, path, confinement).await?;
    all.insert(program.to_owned(), asked(version.clone()));
    let (cache, program) = (cache.to_owned(), program.to_owned());
    let keep = move || match is_itself(tool, &program)? {
        true => keep(&cache, &all),
        false => Ok(()),
    };
    let kept = tokio::task::spawn_blocking(keep).await.map_err(io::Error::other).flatten();
    if let Err(error) = kept {
        // It is asked again next time.
        tracing::warn!(%error, "the version of a program could not be kept");
    }
    Ok(version)
}

fn keep(cache: &Path, all: &BTreeMap<PathBuf, Asked>) -> io::Result<()> {
    // The programs in it are for the user that executes runs, too.
    files::make_folder(cache, 0o755)?;
    let mut new = tempfile::NamedTempFile::new_in(cache)?;
    serde_json::to_writer(&mut new, all)?;
    new.persist(cache.join(VERSIONS))?;
    Ok(())
}

/// Whether the program is the tool: what starts one of several versions of it may say another one
/// next time. Go programs name the package that they are made of
/// (<https://pkg.go.dev/runtime/debug#BuildInfo>).
fn is_itself(tool: Tool, program: &Path) -> io::Result<bool> {
    let package = memchr::memmem::Finder::new(match tool {
        Tool::Terraform => "path\tgithub.com/hashicorp/terraform\n",
        Tool::OpenTofu => "path\tgithub.com/opentofu/opentofu/cmd/tofu\n",
    });
    let overlap = package.needle().len();
    let (mut file, mut piece, mut kept) = (fs::File::open(program)?, vec![0; 1 << 20], 0);
    loop {
        let read = file.read(&mut piece[kept..])?;
        if read == 0 {
            return Ok(false);
        }
        let end = kept + read;
        if package.find(&piece[..end]).is_some() {
            return Ok(true);
        }
        kept = overlap.min(end);
        piece.copy_within(end - kept..end, 0);
    }
}

/// What `version -json` says.
async fn version_of(
    program: &Path,
    path: &str,
    confinement: Option<&Confinement>,
) -> io::Result<String> {
    let home = tempfile::tempdir()?;
    let mut environment = Environment::default();
    environment.set("PATH", path);
    environment.prepare(home.path(), home.path());
    let spec = Spec {
        program: program.to_owned(),
        arguments: vec!["version".into(), "-json".into()],
        folder: home.path().to_owned(),
        environment,
        user: None,
        confinement: confinement
            .map(|all| all.clone().reading(program).with_temporary(home.path())),
        processes: None,
    };
    let (stopper, mut stop) = stop_channel();
    let out = tempfile::NamedTempFile::new()?;
    let grace = OnStop::Abandon { grace: Duration::ZERO };
    let sink: process::Sink = Arc::new(|_| ());
    process::run_into(&spec, out.reopen()?, &sink, &mut stop, grace).await?;
    drop(stopper);
    let answer: serde_json::Value = serde_json::from_reader(out.reopen()?)?;
    answer["terraform_version"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other(format!("{} does not report a version", program.display())))
}

/// This machine, as Terraform names it (`linux_arm64`).
pub fn platform() -> String {
    let os = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    format!("{os}_{machine}")
}

struct Release {
    folder: String,
    archive: String,
    sums: String,
}

impl Release {
    fn of(tool: Tool, version: &str, releases: &Releases) -> Self {
        let platform = platform();
        let command = tool.command();
        let folder = match tool {
            Tool::Terraform => format!("{}/terraform/{version}", base(&releases.terraform)),
            Tool::OpenTofu => format!("{}/v{version}", base(&releases.opentofu)),
        };
        Self {
            folder,
            archive: format!("{command}_{version}_{platform}.zip"),
            sums: format!("{command}_{version}_SHA256SUMS"),
        }
    }
}

fn base(address: &Url) -> &str {
    address.as_str().trim_end_matches('/')
}

async fn download(
    tool: Tool,
    version: &str,
    program: &Path,
    releases: &Releases,
    http: &reqwest::Client,
) -> Result<(), ToolError> {
    let release = Release::of(tool, version, releases);
    let sums = get(http, &format!("{}/{}", release.folder, release.sums)).await?.text().await?;
    let published = sums
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace))
        .find(|(_, file)| file.trim_start().trim_start_matches('*') == release.archive)
        .map(|(digest, _)| digest.to_ascii_lowercase())
        .ok_or_else(|| ToolError::NotPublished {
            tool: tool.command(),
            version: version.to_owned(),
            file: release.archive.clone(),
        })?;

    let mut answer = get(http, &format!("{}/{}", release.folder, release.archive)).await?;
    let mut archive = HashingWriter::new(tempfile::tempfile()?);
    while let Some(chunk) = answer.chunk().await? {
        archive.write_all(&chunk)?;
    }
    let (archive, digest) = archive.finish();
    if digest != published {
        return Err(ToolError::WrongDigest(release.archive));
    }
    let (program, command) = (program.to_owned(), tool.command());
    tokio::task::spawn_blocking(move || install(archive, command, &program))
        .await
        .map_err(io::Error::other)??;
    Ok(())
}

async fn get(http: &reqwest::Client, address: &str) -> Result<reqwest::Response, ToolError> {
    let answer = http.get(address).send().await?;
    match answer.status() {
        status if status.is_success() => Ok(answer),
        status => {
            Err(ToolError::Refused { address: answer.url().clone(), status: status.as_u16() })
        }
    }
}

/// Takes the program out of the archive; it appears under its name when it is complete.
fn install(archive: fs::File, command: &str, program: &Path) -> io::Result<()> {
    let folder = program.parent().ok_or_else(|| io::Error::other("the cache has no folder"))?;
    files::make_folder(folder, 0o755)?;
    let mut archive = zip::ZipArchive::new(archive).map_err(io::Error::other)?;
    let mut entry = archive.by_name(command).map_err(io::Error::other)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::copy(&mut entry, &mut file)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o755))?;
    // Closed for writing before it has its name: a program that is open for writing cannot start.
    file.into_temp_path().persist(program)?;
    Ok(())
}
