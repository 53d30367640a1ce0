//! Git objects: ids, parsing, and the loose object files they live in.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use jiff::Timestamp;
use sha1::{Digest, Sha1};

/// The id of a git object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Oid([u8; 20]);

impl Oid {
    /// What GitLab and git write where there is no object.
    pub(crate) const ZERO: Self = Self([0; 20]);

    /// A full id of 40 hexadecimal digits; short ones are not ids.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 20];
        (text.len() == 40 && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(Self(bytes))
    }

    /// The first eight digits, as GitLab shows commits.
    pub(crate) fn short(self) -> String {
        self.to_string()[..8].to_owned()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl serde::Serialize for Oid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The four kinds of git objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Blob,
    Tree,
    Commit,
    Tag,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Tree => "tree",
            Self::Commit => "commit",
            Self::Tag => "tag",
        }
    }

    fn parse(name: &[u8]) -> Option<Self> {
        [Self::Blob, Self::Tree, Self::Commit, Self::Tag]
            .into_iter()
            .find(|kind| kind.name().as_bytes() == name)
    }
}

/// Who made a commit or tag, and when (always written in UTC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) time: Timestamp,
}

impl Signature {
    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once(" <").or_else(|| Some(("", text.strip_prefix('<')?)))?;
        let (email, rest) = rest.rsplit_once("> ")?;
        let seconds = rest.split(' ').next()?.parse().ok()?;
        Some(Self {
            name: name.to_owned(),
            email: email.to_owned(),
            time: Timestamp::from_second(seconds).ok()?,
        })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <{}> {} +0000", self.name, self.email, self.time.as_second())
    }
}

/// A parsed commit.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) id: Oid,
    pub(crate) tree: Oid,
    pub(crate) parents: Vec<Oid>,
    pub(crate) author: Signature,
    pub(crate) committer: Signature,
    pub(crate) message: String,
}

impl Commit {
    /// The first line of the message.
    pub(crate) fn title(&self) -> &str {
        self.message.lines().next().unwrap_or("")
    }
}

/// A parsed annotated tag.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) target: Oid,
    pub(crate) tagger: Option<Signature>,
}

/// One line of a tree object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) mode: u32,
    pub(crate) name: String,
    pub(crate) id: Oid,
}

impl Entry {
    pub(crate) fn is_tree(&self) -> bool {
        self.mode == 0o040_000
    }
}

/// The loose objects of one repository, with those of the repositories it borrows from.
#[derive(Debug)]
pub(crate) struct Objects {
    own: PathBuf,
    borrowed: Vec<PathBuf>,
    commits: RefCell<HashMap<Oid, Arc<Commit>>>,
    trees: RefCell<HashMap<Oid, Arc<Vec<Entry>>>>,
}

impl Objects {
    pub(crate) fn new(own: PathBuf, borrowed: Vec<PathBuf>) -> Self {
        Self { own, borrowed, commits: RefCell::default(), trees: RefCell::default() }
    }

    /// The folders that hold objects, own first.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&self.own).chain(&self.borrowed).map(PathBuf::as_path)
    }

    /// Copies what `other` has and this does not, so that a fork's commits can be shown here.
    pub(crate) fn copy_from(&self, other: &Self) -> std::io::Result<()> {
        for folder in std::fs::read_dir(&other.own)? {
            let folder = folder?;
            if folder.file_name().len() != 2 {
                continue;
            }
            let target = self.own.join(folder.file_name());
            std::fs::create_dir_all(&target)?;
            for object in std::fs::read_dir(folder.path())? {
                let object = object?;
                let copy = target.join(object.file_name());
                if !copy.exists() {
                    std::fs::copy(object.path(), copy)?;
                }
            }
        }
        Ok(())
    }

    /// Reads an object; `None` when it is not there.
    pub(crate) fn read(&self, id: Oid) -> Option<(Kind, Vec<u8>)> {
        let name = id.to_string();
        let file = self.folders().find_map(|folder| {
            std::fs::File::open(folder.join(&name[..2]).join(&name[2..])).ok()
        })?;
        let mut raw = Vec::new();
        ZlibDecoder::new(file).read_to_end(&mut raw).ok()?;
        let end = raw.iter().position(|byte| *byte == 0)?;
        let kind = Kind::parse(raw[..end].split(|byte| *byte == b' ').next()?)?;
        raw.drain(..=end);
        Some((kind, raw))
    }

    /// Writes an object and returns its id; writing it again changes nothing.
    pub(crate) fn write(&self, kind: Kind, content: &[u8]) -> Oid {
        let header = format!("{} {}\0", kind.name(), content.len());
        let digest = Sha1::new().chain_update(&header).chain_update(content).finalize();
        let id = Oid::from_bytes(&digest).expect("SHA-1 has 20 bytes");
        let name = id.to_string();
        let folder = self.own.join(&name[..2]);
        let path = folder.join(&name[2..]);
        if !path.exists() {
            // Stored, not deflated: these repositories live for minutes.
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::none());
            let written = encoder
                .write_all(header.as_bytes())
                .and_then(|()| encoder.write_all(content))
                .and_then(|()| encoder.finish())
                .and_then(|bytes| {
                    std::fs::write(&path, &bytes).or_else(|_| {
                        std::fs::create_dir_all(&folder)?;
                        std::fs::write(&path, &bytes)
                    })
                });
            written.expect("the data directory can be written");
        }
        id
    }

    /// Writes a commit.
    pub(crate) fn write_commit(
        &self,
        tree: Oid,
        parents: &[Oid],
        author: &Signature,
        message: &str,
    ) -> Oid {
        let mut text = format!("tree {tree}\n");
        for parent in parents {
            text += &format!("parent {parent}\n");
        }
        text += &format!("author {author}\ncommitter {author}\n\n{message}");
        self.write(Kind::Commit, text.as_bytes())
    }

    /// Writes an annotated tag of a commit.
    pub(crate) fn write_tag(
        &self,
        name: &str,
        target: Oid,
        tagger: &Signature,
        message: &str,
    ) -> Oid {
        let text =
            format!("object {target}\ntype commit\ntag {name}\ntagger {tagger}\n\n{message}\n");
        self.write(Kind::Tag, text.as_bytes())
    }

    /// Writes a tree; the entries may come in any order.
    pub(crate) fn write_tree(&self, mut entries: Vec<Entry>) -> Oid {
        let key = |entry: &Entry| {
            let slash = if entry.is_tree() { "/" } else { "" };
            format!("{}{slash}", entry.name).into_bytes()
        };
        entries.sort_by_key(key);
        let mut content = Vec::new();
        for entry in &entries {
            content.extend_from_slice(format!("{:o} {}\0", entry.mode, entry.name).as_bytes());
            content.extend_from_slice(entry.id.as_bytes());
        }
        self.write(Kind::Tree, &content)
    }

    /// The commit with this id; `None` when there is none or it is another kind of object.
    pub(crate) fn commit(&self, id: Oid) -> Option<Arc<Commit>> {
        if let Some(known) = self.commits.borrow().get(&id) {
            return Some(Arc::clone(known));
        }
        let (Kind::Commit, raw) = self.read(id)? else { return None };
        let commit = Arc::new(parse_commit(id, &String::from_utf8_lossy(&raw))?);
        self.commits.borrow_mut().insert(id, Arc::clone(&commit));
        Some(commit)
    }

    /// The commits that were read or made so far.
    pub(crate) fn known_commits(&self) -> Vec<Arc<Commit>> {
        self.commits.borrow().values().cloned().collect()
    }

    /// The annotated tag with this id.
    pub(crate) fn tag(&self, id: Oid) -> Option<Tag> {
        let (Kind::Tag, raw) = self.read(id)? else { return None };
        let text = String::from_utf8_lossy(&raw);
        let (head, _) = text.split_once("\n\n")?;
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let tagger = value("tagger ").and_then(Signature::parse);
        let target = Oid::parse(value("object ")?)?;
        Some(Tag { target, tagger })
    }

    /// The entries of a tree.
    pub(crate) fn tree(&self, id: Oid) -> Option<Arc<Vec<Entry>>> {
        if let Some(known) = self.trees.borrow().get(&id) {
            return Some(Arc::clone(known));
        }
        let (Kind::Tree, raw) = self.read(id)? else { return None };
        let tree = Arc::new(parse_tree(&raw)?);
        self.trees.borrow_mut().insert(id, Arc::clone(&tree));
        Some(tree)
    }

    /// The content of a file.
    pub(crate) fn blob(&self, id: Oid) -> Option<Vec<u8>> {
        match self.read(id)? {
            (Kind::Blob, raw) => Some(raw),
            _ => None,
        }
    }

    /// Removes an object, as garbage collection does after a force push.
    pub(crate) fn forget(&self, id: Oid) {
        let name = id.to_string();
        for folder in self.folders() {
            // Most folders do not have it.
            let _ = std::fs::remove_file(folder.join(&name[..2]).join(&name[2..]));
        }
        self.commits.borrow_mut().remove(&id);
    }

    /// The one commit whose id begins with `prefix` (at least seven digits).
    pub(crate) fn commit_by_prefix(&self, prefix: &str) -> Option<Oid> {
        let prefix = prefix.to_ascii_lowercase();
        if prefix.len() < 7 || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut found = self.folders().filter_map(|folder| {
            std::fs::read_dir(folder.join(&prefix[..2])).ok()?.flatten().find_map(|file| {
                let name = file.file_name().into_string().ok()?;
                let id = Oid::parse(&format!("{}{name}", &prefix[..2]))?;
                (name.starts_with(&prefix[2..]) && self.commit(id).is_some()).then_some(id)
            })
        });
        found.next()
    }
}

fn parse_commit(id: Oid, text: &str) -> Option<Commit> {
    let (head, message) = text.split_once("\n\n").unwrap_or((text, ""));
    let values = |key: &'static str| head.lines().filter_map(move |line| line.strip_prefix(key));
    Some(Commit {
        id,
        tree: Oid::parse(values("tree ").next()?)?,
        parents: values("parent ").filter_map(Oid::parse).collect(),
        author: Signature::parse(values("author ").next()?)?,
        committer: Signature::parse(values("committer ").next()?)?,
        message: message.to_owned(),
    })
}

fn parse_tree(mut raw: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while !raw.is_empty() {
        let end = raw.iter().position(|byte| *byte == 0)?;
        let line = String::from_utf8_lossy(&raw[..end]).into_owned();
        let (mode, name) = line.split_once(' ')?;
        let id = Oid::from_bytes(raw.get(end + 1..end + 21)?)?;
        entries.push(Entry { mode: u32::from_str_radix(mode, 8).ok()?, name: name.to_owned(), id });
        raw = &raw[end + 21..];
    }
    Some(entries)
}
