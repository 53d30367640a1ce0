//! Reads the module's files out of a commit's archive.
//!
//! An archive holds what anybody could push, or whoever stands between. Entries that Git does
//! not make are refused wherever they are; what lies outside of the module is passed over.

use crate::{Limits, MOST_PATH_BYTES, PackageError, error};
use flate2::read::GzDecoder;
use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};
use tar::EntryType;

/// How many links may follow each other to a file that is read for metadata.
const HOPS: usize = 8;
/// Bytes of a long name, or of a list of attributes, before an entry of an upload.
const LONGEST_EXTENSION: u64 = 64 << 10;
/// Bytes of a path, and of what a link leads to, in an upload.
const LONGEST_PATH: usize = 4096;
/// What an upload may have besides its files: the folder that they are in, and Git's header of all.
const BESIDE_FILES: usize = 2;

/// A module's files.
#[derive(Debug)]
pub(crate) struct Module {
    /// By their paths in the module; a folder stands directly before what is in it.
    pub(crate) entries: BTreeMap<PathBuf, Entry>,
    /// The links that were left out because they may lead outside.
    pub(crate) left_out: Vec<PathBuf>,
}

/// One of a module's files.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A folder.
    Folder,
    /// A regular file.
    File { body: Vec<u8>, executable: bool },
    /// A link that stays inside of the module.
    Link(PathBuf),
}

impl Module {
    /// The body of a file, also when links of the module lead to it.
    pub(crate) fn body(&self, path: &Path) -> Option<&[u8]> {
        let mut path = path.to_owned();
        for _ in 0..HOPS {
            match self.entries.get(&path)? {
                Entry::File { body, .. } => return Some(body),
                Entry::Folder => return None,
                Entry::Link(to) => {
                    path.pop();
                    for part in to.components() {
                        match part {
                            Component::ParentDir => drop(path.pop()),
                            Component::Normal(part) => path.push(part),
                            _ => {}
                        }
                    }
                }
            }
        }
        None
    }
}

/// What an archive is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To pack its files, whose bodies are read into memory.
    Pack,
    /// To know whether a runner may unpack all of it, as an upload. [`look_over`] comes first.
    Check,
}

/// Reads the archive to its end and keeps what is below `root`.
pub(crate) fn read(
    archive: impl Read,
    root: &Path,
    limits: Limits,
    purpose: Purpose,
) -> Result<Module, PackageError> {
    let entries = unpacked(archive, limits, |stream| collect(stream, root, limits, purpose))?;
    keep_inside(entries)
}

/// Refuses what reading the entries would take into memory before it shows them, and what would let
/// other entries be read than are looked at here.
pub(crate) fn look_over(archive: impl Read, limits: Limits) -> Result<(), PackageError> {
    unpacked(archive, limits, |stream| {
        let mut archive = tar::Archive::new(stream);
        let mut found = 0;
        for entry in archive.entries()?.raw(true) {
            let mut entry = entry?;
            if entry.size() > limits.unpacked {
                return Err(too_much(limits));
            }
            let kind = entry.header().entry_type();
            let is_extension = matches!(
                kind,
                EntryType::GNULongName
                    | EntryType::GNULongLink
                    | EntryType::XHeader
                    | EntryType::XGlobalHeader
            );
            if is_extension && entry.size() > LONGEST_EXTENSION {
                let problem = "a long name or a list of attributes of more than 64 KiB";
                return Err(refuse(&entry.path()?, problem));
            }
            if kind == EntryType::GNUSparse {
                return Err(refuse(&entry.path()?, "neither a file, a folder nor a link"));
            }
            // The next header would be looked for elsewhere. Only files of 8 GiB need it.
            let is_resized = match entry.pax_extensions()? {
                Some(attributes) => attributes.flatten().any(|one| one.key_bytes() == b"size"),
                None => false,
            };
            if is_resized {
                return Err(refuse(&entry.path()?, "a list of attributes with a size"));
            }
            // An entry has at most one of each before it.
            found += usize::from(!is_extension || kind == EntryType::XGlobalHeader);
            if found > limits.files.saturating_add(BESIDE_FILES) {
                return Err(too_many(limits));
            }
        }
        Ok(())
    })
}

/// What `with` makes of the archive's content, of which it gets no more than the limit.
fn unpacked<R: Read, T>(
    archive: R,
    limits: Limits,
    with: impl FnOnce(&mut Metered<GzDecoder<Source<R>>>) -> Result<T, PackageError>,
) -> Result<T, PackageError> {
    let source = Source { inner: archive, failed: false };
    let mut stream =
        Metered { inner: GzDecoder::new(source), left: limits.unpacked, exceeded: false };
    match with(&mut stream) {
        Err(PackageError::Io(_)) if stream.exceeded => Err(too_much(limits)),
        Err(PackageError::Io(error)) if !stream.inner.get_ref().failed => {
            Err(PackageError::Unreadable(error))
        }
        made => made,
    }
}

fn collect(
    stream: &mut impl Read,
    root: &Path,
    limits: Limits,
    purpose: Purpose,
) -> Result<BTreeMap<PathBuf, Entry>, PackageError> {
    let mut archive = tar::Archive::new(&mut *stream);
    let mut top = None;
    let mut found = root.as_os_str().is_empty();
    let mut path_bytes = 0;
    let mut entries = BTreeMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        if entry.size() > limits.unpacked {
            return Err(too_much(limits));
        }
        let name = entry.path()?.into_owned();
        if purpose == Purpose::Check {
            let to = entry.link_name_bytes().map_or(0, |to| to.len());
            path_bytes += measure(&name, to)?;
            if path_bytes > MOST_PATH_BYTES {
                let why = "its paths and links are too long, all together";
                return Err(PackageError::TooLarge(why.to_owned()));
            }
        }
        let is_folder = kind == EntryType::Directory;
        let path =
            below_top(&name, is_folder, &mut top).map_err(|problem| refuse(&name, problem))?;
        match kind {
            EntryType::Directory
            | EntryType::Regular
            | EntryType::Continuous
            | EntryType::Symlink => {}
            EntryType::Link => return Err(refuse(&name, "a hard link")),
            _ => return Err(refuse(&name, "neither a file, a folder nor a link")),
        }
        let Ok(path) = path.strip_prefix(root) else { continue };
        if path.as_os_str().is_empty() {
            found |= is_folder;
            continue;
        }
        found = true;
        if path.components().any(|part| part.as_os_str() == ".git") {
            match purpose {
                Purpose::Pack => continue,
                Purpose::Check => return Err(refuse(&name, "part of .git, which is not uploaded")),
            }
        }
        let read = match kind {
            EntryType::Directory => Entry::Folder,
            EntryType::Symlink => Entry::Link(entry.link_name()?.unwrap_or_default().into_owned()),
            _ => {
                let executable = entry.header().mode()? & 0o111 != 0;
                let mut body = Vec::new();
                if purpose == Purpose::Pack {
                    entry.read_to_end(&mut body)?;
                }
                Entry::File { body, executable }
            }
        };
        let before = entries.insert(path.to_owned(), read);
        if before.is_some_and(|before| !matches!(before, Entry::Folder) || !is_folder) {
            return Err(refuse(&name, "included twice"));
        }
        if entries.len() > limits.files {
            return Err(too_many(limits));
        }
    }
    // What follows the last entry is padding and the checksum, which says whether all is well.
    io::copy(stream, &mut io::sink())?;
    if !found {
        return Err(PackageError::RootMissing(root.display().to_string()));
    }
    Ok(entries)
}

/// Leaves out the links that may lead out of the module.
fn keep_inside(mut entries: BTreeMap<PathBuf, Entry>) -> Result<Module, PackageError> {
    // In this order everything below a path follows it directly.
    let mut leaf: Option<&PathBuf> = None;
    for (path, entry) in &entries {
        if leaf.is_some_and(|leaf| path.starts_with(leaf)) {
            return Err(refuse(path, "below something that is not a folder"));
        }
        if !matches!(entry, Entry::Folder) {
            leaf = Some(path);
        }
    }
    let mut left_out = Vec::new();
    entries.retain(|path, entry| match entry {
        Entry::Link(to) if !leads_inside(path, to) => {
            left_out.push(path.clone());
            false
        }
        _ => true,
    });
    Ok(Module { entries, left_out })
}

/// How many bytes a path and what it leads to have, if neither is too long.
fn measure(name: &Path, to: usize) -> Result<usize, PackageError> {
    let length = name.as_os_str().len();
    if length.max(to) > LONGEST_PATH {
        return Err(refuse(name, "a path, or a link to one, of more than 4,096 bytes"));
    }
    Ok(length + to)
}

/// An entry's path without the one folder that everything is below; or what is wrong with it.
fn below_top(
    name: &Path,
    is_folder: bool,
    top: &mut Option<PathBuf>,
) -> Result<PathBuf, &'static str> {
    if name.as_os_str().as_encoded_bytes().contains(&0) {
        return Err("a name that ends too early");
    }
    let mut parts = Vec::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            _ => return Err("outside of it"),
        }
    }
    let Some((first, below)) = parts.split_first() else { return Ok(PathBuf::new()) };
    let top = top.get_or_insert_with(|| first.into());
    if top.as_os_str() != *first || (below.is_empty() && !is_folder) {
        return Err("outside the folder that should contain everything");
    }
    Ok(below.iter().collect())
}

/// Whether the link at `path` to `to` stays inside: it climbs at its start only, and not too far.
/// What follows may be links again, each of which stays inside by itself.
fn leads_inside(path: &Path, to: &Path) -> bool {
    let mut depth = path.components().count() - 1;
    let mut descended = false;
    for part in to.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if !descended && depth > 0 => depth -= 1,
            Component::Normal(part) if !part.as_encoded_bytes().contains(&0) => descended = true,
            _ => return false,
        }
    }
    !to.as_os_str().is_empty()
}

fn refuse(path: &Path, problem: &'static str) -> PackageError {
    PackageError::Unsafe { path: path.to_string_lossy().into_owned(), problem }
}

fn too_many(limits: Limits) -> PackageError {
    let most = limits.files;
    PackageError::TooLarge(format!("the module has more than {most} files, folders and links"))
}

fn too_much(limits: Limits) -> PackageError {
    PackageError::TooLarge(format!("it has more than {}", error::bytes(limits.unpacked)))
}

/// The reader that was given, which remembers whether it was the one that failed.
struct Source<R> {
    inner: R,
    failed: bool,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
                read => return read,
            }
        }
    }
}

/// Gives no more than so many bytes: whoever reads gets an error instead of the next one.
struct Metered<R> {
    inner: R,
    left: u64,
    exceeded: bool,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                self.exceeded = true;
                return Err(io::Error::other("more than the limit"));
            }
        }
        Ok(read)
    }
}
