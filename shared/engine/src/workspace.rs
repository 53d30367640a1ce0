//! A run's files: unpacked from a commit's archive, packed with the plan, unpacked to apply it.
//!
//! Archives hold what anybody could push. Nothing in one can name a place outside the folder it
//! is unpacked into, neither by its own path nor through a link, whatever the order of entries.

use crate::files::{self, Folder, HashingWriter};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use nix::sys::stat::SFlag;
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};
use tar::EntryType;

/// The folder of the commit's files, within a run's folder and within a saved plan.
pub const WORKSPACE: &str = "workspace";
/// The plan file, beside it.
pub const PLAN: &str = "plan.tfplan";

/// What the plan marks as sensitive (`gantry_domain::plan::Marked`), beside it, where that is known.
pub const MARKED: &str = "marked.json";

/// The folder of the run's own CLI configuration, where it has one.
pub const CLI_CONFIG: &str = "cli-config";

/// How much an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, unpacked.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 2 << 30, entries: 200_000 }
    }
}

/// Why an archive is not taken. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It reaches outside, or holds what files are not.
    #[error("the archive contains {path:?}, which is {problem}")]
    Unsafe {
        /// The entry.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More than the limits allow.
    #[error("the archive contains more than {0}")]
    TooLarge(String),
    /// Not what was saved.
    #[error("the saved plan is not the one that was shown (its digest is {found}, not {expected})")]
    WrongDigest {
        /// What the run says.
        expected: String,
        /// What was read.
        found: String,
    },
    /// Not what was uploaded.
    #[error("the archive is not the one that was uploaded (its digest is {found}, not {expected})")]
    WrongUpload {
        /// What the run says.
        expected: String,
        /// What was read.
        found: String,
    },
    /// It cannot be read, or its files cannot be written.
    #[error("the archive cannot be read")]
    Io(#[from] io::Error),
}

/// Unpacks a commit's archive into the empty folder `into`, without its first folder, which is
/// named for the commit. Returns the links that were left out because they lead outside.
pub fn unpack_source(
    archive: impl Read,
    into: &Path,
    limits: Limits,
) -> Result<Vec<String>, ArchiveError> {
    unpack(archive, into, 1, limits)
}

/// The same for what somebody uploaded, if it is the archive with that digest.
pub fn unpack_upload(
    archive: &Path,
    digest: &str,
    into: &Path,
    limits: Limits,
) -> Result<Vec<String>, ArchiveError> {
    let (found, _) = files::digest_of(File::open(archive)?)?;
    if found != digest {
        return Err(ArchiveError::WrongUpload { expected: digest.to_owned(), found });
    }
    unpack_source(File::open(archive)?, into, limits)
}

/// Unpacks a saved plan, [`PLAN`], [`MARKED`], [`WORKSPACE`] and [`CLI_CONFIG`], into the empty folder `into`, if it is the
/// one with that digest.
pub fn unpack_plan(
    archive: &Path,
    digest: &str,
    into: &Path,
    limits: Limits,
) -> Result<(), ArchiveError> {
    let (found, _) = files::digest_of(File::open(archive)?)?;
    if found != digest {
        return Err(ArchiveError::WrongDigest { expected: digest.to_owned(), found });
    }
    unpack(File::open(archive)?, into, 0, limits)?;
    Ok(())
}

/// What packing made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// SHA-256 of the archive, hex.
    pub digest: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Packs the file `plan` as [`PLAN`], [`MARKED`] that lies beside it, and [`WORKSPACE`] and [`CLI_CONFIG`] of the folder `from`, into
/// the file `to`, as they are: what the plan generated, the modules and the dependency lock file
/// included. Providers are left out: they are downloaded again and checked against the lock file.
pub fn pack_plan(
    plan: &Path,
    from: &Path,
    to: &Path,
    limits: Limits,
) -> Result<Packed, ArchiveError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let writer = GzEncoder::new(HashingWriter::new(io::BufWriter::new(file)), Compression::fast());
    let mut archive = tar::Builder::new(writer);
    let mut budget = Budget { left: limits, limits };
    let from = Folder::within(from, from)?;
    let folder = plan.parent().unwrap_or(Path::new("/"));
    let plan_file = files::open_regular(folder, plan)?;
    append_file(&mut archive, plan_file, Path::new(PLAN), &mut budget)?;
    if let Ok(marked) = files::open_regular(folder, &folder.join(MARKED)) {
        append_file(&mut archive, marked, Path::new(MARKED), &mut budget)?;
    }
    let workspace = from.folder(WORKSPACE.as_ref())?;
    append_folder(&mut archive, &workspace, Path::new(WORKSPACE), &mut budget)?;
    if from.kind(CLI_CONFIG.as_ref()).is_ok_and(|kind| kind == SFlag::S_IFDIR) {
        let cli_config = from.folder(CLI_CONFIG.as_ref())?;
        append_folder(&mut archive, &cli_config, Path::new(CLI_CONFIG), &mut budget)?;
    }
    let (mut file, digest) = archive.into_inner()?.finish()?.finish();
    file.flush()?;
    Ok(Packed { digest, size: fs::metadata(to)?.len() })
}

/// What is neither a file, a folder nor a link is left out.
fn append_folder<W: Write>(
    archive: &mut tar::Builder<W>,
    folder: &Folder,
    name: &Path,
    budget: &mut Budget,
) -> Result<(), ArchiveError> {
    let mut header = header(EntryType::Directory, 0o755);
    archive.append_data(&mut header, name, io::empty())?;
    for entry in folder.names()? {
        let name = name.join(&entry);
        match folder.kind(&entry)? {
            SFlag::S_IFDIR if !name.ends_with(".terraform/providers") => {
                budget.take(0)?;
                append_folder(archive, &folder.folder(&entry)?, &name, budget)?;
            }
            SFlag::S_IFREG => append_file(archive, folder.file(&entry)?, &name, budget)?,
            SFlag::S_IFLNK => {
                budget.take(0)?;
                let mut header = self::header(EntryType::Symlink, 0o777);
                archive.append_link(&mut header, &name, folder.link(&entry)?)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn append_file<W: Write>(
    archive: &mut tar::Builder<W>,
    file: File,
    name: &Path,
    budget: &mut Budget,
) -> Result<(), ArchiveError> {
    let metadata = file.metadata()?;
    budget.take(metadata.len())?;
    let executable = metadata.permissions().mode() & 0o111 != 0;
    let mut header = header(EntryType::Regular, if executable { 0o755 } else { 0o644 });
    header.set_size(metadata.len());
    archive.append_data(&mut header, name, file.take(metadata.len()))?;
    Ok(())
}

fn header(kind: EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header
}

struct Budget {
    left: Limits,
    limits: Limits,
}

impl Budget {
    fn take(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        let too_large = |what| Err(ArchiveError::TooLarge(what));
        let Some(entries) = self.left.entries.checked_sub(1) else {
            return too_large(format!("{} files", self.limits.entries));
        };
        let Some(bytes) = self.left.bytes.checked_sub(bytes) else {
            return too_large(format!("{} MiB", self.limits.bytes >> 20));
        };
        self.left = Limits { bytes, entries };
        Ok(())
    }
}

fn unpack(
    archive: impl Read,
    into: &Path,
    strip: usize,
    limits: Limits,
) -> Result<Vec<String>, ArchiveError> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    let mut budget = Budget { left: limits, limits };
    // Links are made when everything else is there: nothing can be written through one.
    let mut links = BTreeMap::new();
    // Where the last file is: the next one is likely there too.
    let mut folder = PathBuf::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        budget.take(entry.size())?;
        let name = entry.path()?.into_owned();
        let refuse = |problem| {
            Err(ArchiveError::Unsafe { path: name.to_string_lossy().into_owned(), problem })
        };
        let Some(path) = inside(&name, strip) else {
            return refuse("outside of it");
        };
        if path.as_os_str().is_empty() {
            continue;
        }
        let target = into.join(&path);
        match kind {
            EntryType::Directory => fs::create_dir_all(target)?,
            EntryType::Regular | EntryType::Continuous => {
                let executable = entry.header().mode()? & 0o111 != 0;
                if let Some(own) = target.parent().filter(|own| *own != folder) {
                    fs::create_dir_all(own)?;
                    folder = own.to_owned();
                }
                write_file(&mut entry, &target, if executable { 0o755 } else { 0o644 })?;
            }
            EntryType::Symlink => {
                let to = entry.link_name()?.map(|to| to.into_owned()).unwrap_or_default();
                links.insert(path, to);
            }
            EntryType::Link => return refuse("a hard link"),
            _ => return refuse("neither a file, a folder nor a link"),
        }
    }
    make_links(into, links)
}

fn write_file(body: &mut impl Read, target: &Path, mode: u32) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(target)?;
    io::copy(body, &mut file)?;
    Ok(())
}

fn make_links(into: &Path, links: BTreeMap<PathBuf, PathBuf>) -> Result<Vec<String>, ArchiveError> {
    let mut left_out = Vec::new();
    for (path, to) in links {
        // No link's folder is reached through another link, so that `..` means what it says.
        let folder = path.parent().unwrap_or(Path::new(""));
        if !leads_inside(folder, &to) || !is_folder_itself(into, folder)? {
            left_out.push(format!("{} -> {}", path.display(), to.display()));
            continue;
        }
        let target = into.join(&path);
        if fs::symlink_metadata(&target).is_ok() {
            return Err(ArchiveError::Unsafe {
                path: path.to_string_lossy().into_owned(),
                problem: "included twice",
            });
        }
        std::os::unix::fs::symlink(to, target)?;
    }
    Ok(left_out)
}

/// Makes `folder` below `into`; false when a part of it is a link.
fn is_folder_itself(into: &Path, folder: &Path) -> io::Result<bool> {
    let mut path = into.to_owned();
    for part in folder.components() {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&path)?,
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// `name` without its first `strip` parts; none when it is absolute or climbs.
fn inside(name: &Path, strip: usize) -> Option<PathBuf> {
    let mut parts = Vec::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(parts.into_iter().skip(strip).collect())
}

/// Whether a link in `folder` to `to` stays inside: it climbs at its start only, and not too far.
/// What follows may be links again, each of which stays inside by itself.
fn leads_inside(folder: &Path, to: &Path) -> bool {
    let mut depth = folder.components().count();
    let mut descended = false;
    for part in to.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if !descended && depth > 0 => depth -= 1,
            Component::Normal(_) => descended = true,
            _ => return false,
        }
    }
    true
}
