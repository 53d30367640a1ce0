//! A working folder as an archive: without what is ignored, and without what nobody should send.
//! The same files are the same bytes.

use crate::{error::Error, hosts, safe};
use flate2::{Compression, write::GzEncoder};
use ignore::WalkBuilder;
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    io::{self, Read},
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};
use tar::EntryType;

/// Bytes of all files together: more is no code, and not worth the time to pack it.
const MOST: u64 = 250_000_000;
/// Everything is below one folder, as in the archives of commits.
const TOP: &str = "folder";
/// What a stack's project may ignore besides what Git does.
pub(crate) const IGNORES: &str = ".terraformignore";
/// Folders of keys.
const KEYS: [&str; 3] = [".ssh", ".aws", ".gnupg"];
/// How names of files end that may hold secrets.
const SUSPECTS: [&str; 4] = [".tfvars", ".tfvars.json", ".pem", ".key"];

/// What of a folder is sent, by its paths in the folder.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Files and links, in the order of paths.
    pub(crate) sent: Vec<PathBuf>,
    /// Links that lead out of the folder, which are not.
    pub(crate) left_out: Vec<PathBuf>,
}

/// A packed folder.
#[derive(Debug)]
pub(crate) struct Packed {
    /// A `tar.gz`.
    pub(crate) archive: Vec<u8>,
    /// Its SHA-256, hex.
    pub(crate) digest: String,
    /// How many files and links it has.
    pub(crate) files: u64,
}

/// What a work tree is based on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BasedOn {
    /// The full id of the commit.
    pub(crate) commit: String,
    /// The files are not as they are there.
    pub(crate) is_changed: bool,
}

/// The folder that is packed: the whole work tree that `folder` is in, because the modules of a
/// project lie beside its roots; or `folder` itself. One that holds more than a project is refused.
pub(crate) fn root_of(folder: &Path, home: Option<&Path>) -> Result<PathBuf, Error> {
    let whole = fs::canonicalize(folder).map_err(|error| Error::file("read", folder, &error))?;
    if !whole.is_dir() {
        return Err(Error::Usage(format!("{} is no folder.", folder.display())));
    }
    let tree = whole.ancestors().find(|folder| folder.join(".git").exists());
    let root = tree.unwrap_or(&whole);
    let Some(why) = is_no_project(root, home) else { return Ok(root.to_owned()) };
    let shown = |path: &Path| safe::line(&path.to_string_lossy());
    let what_to_do = match root == whole {
        true => "Name the folder of the project with --folder.".to_owned(),
        false => format!(
            "It is the Git work tree that {} is in: run `git init` in the folder of the project, \
             or name one elsewhere with --folder.",
            shown(&whole)
        ),
    };
    Err(Error::Usage(format!("{} is not sent: it {why}. {what_to_do}", shown(root))))
}

/// Why a folder cannot be meant.
fn is_no_project(root: &Path, home: Option<&Path>) -> Option<&'static str> {
    let home = home.and_then(|home| fs::canonicalize(home).ok());
    match home {
        _ if root.parent().is_none() => Some("is the whole file system"),
        Some(home) if home == root => Some("is your home folder"),
        Some(home) if home.starts_with(root) => Some("has your home folder in it"),
        _ if root.iter().any(|part| KEYS.contains(&&*part.to_string_lossy())) => Some("holds keys"),
        _ => None,
    }
}

/// The commit that is checked out; none outside of Git, and where git cannot tell.
pub(crate) fn based_on(root: &Path) -> Option<BasedOn> {
    if !root.join(".git").exists() {
        return None;
    }
    let commit = git(root, &["rev-parse", "--verify", "HEAD"])?;
    let is_commit = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
    // What cannot be compared counts as changed.
    let is_changed = git(root, &["status", "--porcelain"]).is_none_or(|said| !said.is_empty());
    is_commit.then_some(BasedOn { commit, is_changed })
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let mut git = git_in(root);
    let output = git.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let said = output.status.success().then_some(output.stdout)?;
    Some(String::from_utf8_lossy(&said).trim().to_owned())
}

/// Git for this folder and no other, without the program that the folder's configuration names to
/// watch it.
fn git_in(root: &Path) -> Command {
    let mut git = Command::new("git");
    git.args(["-c", "core.fsmonitor=false", "-C"]).arg(root).env("GIT_OPTIONAL_LOCKS", "0");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        git.env_remove(name);
    }
    git
}

impl Found {
    /// What looks like secrets among what is sent.
    pub(crate) fn suspects(&self) -> Vec<&Path> {
        self.sent.iter().map(PathBuf::as_path).filter(|path| may_hold_secrets(path)).collect()
    }
}

fn may_hold_secrets(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    matches!(&*name, ".env" | ".npmrc")
        || name.starts_with(".env.")
        || SUSPECTS.iter().any(|end| name.ends_with(end))
}

/// Looks what of a folder is sent.
pub(crate) fn find(root: &Path) -> Result<Found, Error> {
    let mut found = Found::default();
    for entry in walk(root) {
        let entry = entry.map_err(|error| {
            Error::Failed(format!("Could not read {}: {error}.", root.display()))
        })?;
        let (Some(kind), Ok(name)) = (entry.file_type(), entry.path().strip_prefix(root)) else {
            continue;
        };
        if kind.is_symlink() {
            let to = fs::read_link(entry.path());
            let to = to.map_err(|error| Error::file("read", entry.path(), &error))?;
            match leads_inside(name, &to) {
                true => found.sent.push(name.to_owned()),
                false => found.left_out.push(name.to_owned()),
            }
        } else if kind.is_file() {
            found.sent.push(name.to_owned());
        }
    }
    Ok(found)
}

/// Packs what was found in a folder.
pub(crate) fn pack(root: &Path, sent: &[PathBuf]) -> Result<Packed, Error> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut left = MOST;
    for name in sent {
        let from = root.join(name);
        let unread = |error: io::Error| Error::file("read", &from, &error);
        let place = Path::new(TOP).join(name);
        if from.is_symlink() {
            let to = fs::read_link(&from).map_err(unread)?;
            let mut header = header(EntryType::Symlink, 0o777, 0);
            archive.append_link(&mut header, place, to).map_err(unread)?;
            continue;
        }
        let file = fs::File::open(&from).map_err(unread)?;
        let known = file.metadata().map_err(unread)?;
        if known.len() > left {
            return Err(too_much(root));
        }
        let body = read_at_most(file, left).map_err(unread)?.ok_or_else(|| too_much(root))?;
        left -= body.len() as u64;
        let mode = if is_executable(&known) { 0o755 } else { 0o644 };
        let mut header = header(EntryType::Regular, mode, body.len() as u64);
        archive.append_data(&mut header, place, &body[..]).map_err(unread)?;
    }
    let packed = archive.into_inner().and_then(GzEncoder::finish);
    let archive = packed.map_err(|error| Error::file("pack", root, &error))?;
    let digest = hex::encode(Sha256::digest(&archive));
    Ok(Packed { archive, digest, files: sent.len() as u64 })
}

/// All of a file; none if that is more, however it grows while it is read.
fn read_at_most(file: impl Read, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    file.take(most + 1).read_to_end(&mut body)?;
    Ok((body.len() as u64 <= most).then_some(body))
}

/// What Git and `.terraformignore` leave of the folder, in the order of paths. Only what lies in the
/// folder itself decides, so that everybody sends the same.
fn walk(root: &Path) -> ignore::Walk {
    let mut walk = WalkBuilder::new(root);
    walk.hidden(false).parents(false).ignore(false).git_global(false).require_git(false);
    walk.add_custom_ignore_filename(IGNORES);
    walk.filter_entry(|entry| !is_never_sent(entry.path())).sort_by_file_path(|a, b| a.cmp(b));
    walk.build()
}

/// Git's own files, what Terraform downloads again, keys, and states and plans, which are full of
/// secrets.
fn is_never_sent(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    matches!(&*name, ".git" | ".terraform" | ".netrc")
        || KEYS.contains(&&*name)
        || name.contains(".tfstate")
        || name.ends_with(".tfplan")
        || hosts::is_key_file(path)
}

/// Whether the link at `path` to `to` stays inside: it climbs at its start only, and not too far.
fn leads_inside(path: &Path, to: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    let mut descended = false;
    for part in to.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if !descended && depth > 0 => depth -= 1,
            Component::Normal(_) => descended = true,
            _ => return false,
        }
    }
    !to.as_os_str().is_empty()
}

fn header(kind: EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header
}

#[cfg(unix)]
fn is_executable(known: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    known.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_known: &fs::Metadata) -> bool {
    false
}

fn too_much(root: &Path) -> Error {
    Error::Failed(format!(
        "{} has more than {} MB of files that are not ignored. Exclude what runs do not need in \
         {IGNORES}.",
        safe::line(&root.to_string_lossy()),
        MOST / 1_000_000
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, body) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, body).unwrap();
        }
        folder
    }

    /// The files of an archive by their paths.
    fn files(packed: &Packed) -> BTreeMap<String, String> {
        let unzipped = flate2::read::GzDecoder::new(&packed.archive[..]);
        let mut archive = tar::Archive::new(unzipped);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut body = String::new();
            entry.read_to_string(&mut body).unwrap();
            (entry.path().unwrap().to_str().unwrap().to_owned(), body)
        });
        entries.collect()
    }

    fn packed(root: &Path) -> Packed {
        pack(root, &find(root).unwrap().sent).unwrap()
    }

    fn names(root: &Path) -> Vec<String> {
        let packed = packed(root);
        let all = files(&packed);
        assert_eq!(packed.files, all.len() as u64);
        all.keys().map(|path| path.strip_prefix("folder/").unwrap().to_owned()).collect()
    }

    #[test]
    fn what_is_ignored_stays_and_hidden_files_go() {
        let folder = folder(&[
            (".git/HEAD", "ref: refs/heads/main"),
            (".git/config", "token"),
            (".gitignore", "*.log\n/build/\n*.tfvars\n"),
            (".terraformignore", "docs/\n!live.tfvars\n"),
            ("infra/.terraform.lock.hcl", "# locked"),
            ("infra/.gitignore", "generated.tf\n"),
            ("infra/generated.tf", ""),
            ("infra/main.tf", "# main"),
            ("infra/apply.log", ""),
            ("modules/a/generated.tf", ""),
            ("build/main.tf", ""),
            ("docs/read.md", ""),
            ("live.tfvars", ""),
            ("secret.tfvars", ""),
        ]);
        assert_eq!(
            names(folder.path()),
            [
                ".gitignore",
                ".terraformignore",
                "infra/.gitignore",
                "infra/.terraform.lock.hcl",
                "infra/main.tf",
                "live.tfvars",
                "modules/a/generated.tf",
            ]
        );
    }

    #[test]
    fn git_providers_states_plans_and_keys_are_never_sent() {
        let folder = folder(&[
            (".terraformignore", "!.git\n!.terraform\n!*.tfstate\n!.ssh\n"),
            ("main.tf", ""),
            (".terraform/providers/a", ""),
            ("live/.terraform/modules/modules.json", ""),
            ("terraform.tfstate", ""),
            ("terraform.tfstate.backup", ""),
            ("live/.terraform.tfstate.lock.info", ""),
            ("terraform.tfstate.d/eu/terraform.tfstate", ""),
            ("modules/a/.git", "gitdir: ../../.git/modules/a"),
            ("modules/a/main.tf", ""),
            (".ssh/id_ed25519", ""),
            ("home/.aws/credentials", ""),
            (".gnupg/private-keys-v1.d/a.key", ""),
            (".netrc", ""),
            ("live/out.tfplan", ""),
            ("dotfiles/gantry/hosts.json", ""),
            // Not everything that is called so has keys.
            ("live/hosts.json", ""),
        ]);
        assert_eq!(
            names(folder.path()),
            [".terraformignore", "live/hosts.json", "main.tf", "modules/a/main.tf"]
        );
    }

    #[test]
    fn what_looks_like_secrets_is_found() {
        let folder = folder(&[
            (".terraformignore", "ignored.tfvars\n"),
            ("ignored.tfvars", ""),
            ("main.tf", ""),
            ("environment", ""),
            (".env", ""),
            (".env.prod", ""),
            (".npmrc", ""),
            ("live/prod.auto.tfvars", ""),
            ("live/prod.tfvars", ""),
            ("live/prod.tfvars.json", ""),
            ("tls/a.key", ""),
            ("tls/a.pem", ""),
        ]);
        let found = find(folder.path()).unwrap();
        let expected = [
            ".env",
            ".env.prod",
            ".npmrc",
            "live/prod.auto.tfvars",
            "live/prod.tfvars",
            "live/prod.tfvars.json",
            "tls/a.key",
            "tls/a.pem",
        ];
        assert_eq!(found.suspects(), expected.map(Path::new));
    }

    #[test]
    fn a_file_that_grows_is_not_read_without_end() {
        assert_eq!(read_at_most(&b"abc"[..], 3).unwrap().as_deref(), Some(&b"abc"[..]));
        assert_eq!(read_at_most(&b"abc"[..], 2).unwrap(), None);
        assert_eq!(read_at_most(io::repeat(b'a'), 1_000).unwrap(), None);
    }

    #[test]
    fn the_same_files_are_the_same_bytes_whenever_they_were_written() {
        let one = folder(&[("b/main.tf", "b"), ("a/main.tf", "a"), ("main.tf", "c")]);
        let two = folder(&[("main.tf", "c"), ("a/main.tf", "a"), ("b/main.tf", "b")]);
        let old = fs::File::options().write(true).open(two.path().join("main.tf")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH).unwrap();
        let (one, two) = (packed(one.path()), packed(two.path()));
        assert_eq!((one.digest.len(), &one.digest), (64, &two.digest));
        assert_eq!(one.archive, two.archive);
        let other = packed(folder(&[("main.tf", "d")]).path());
        assert_ne!(one.digest, other.digest);
    }

    #[test]
    fn the_whole_work_tree_is_sent_and_outside_of_git_the_folder_itself() {
        let tree = folder(&[(".git/HEAD", ""), ("infra/live/main.tf", "")]);
        let top = fs::canonicalize(tree.path()).unwrap();
        assert_eq!(root_of(&tree.path().join("infra/live"), None).unwrap(), top);
        // A folder that git makes nothing of.
        assert_eq!(based_on(&top), None);
        let plain = folder(&[("infra/main.tf", "")]);
        let infra = plain.path().join("infra");
        assert_eq!(root_of(&infra, None).unwrap(), fs::canonicalize(&infra).unwrap());
        for wrong in ["main.tf", "x"] {
            assert!(root_of(&infra.join(wrong), None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_folder_that_holds_more_than_a_project_is_refused_with_what_to_do() {
        let top = folder(&[("ada/infra/main.tf", ""), ("ada/.ssh/config", "")]);
        let home = top.path().join("ada");
        let refused = |folder: &Path, home: Option<&Path>| {
            let error = root_of(folder, home).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        let name = "Name the folder of the project with --folder.";
        let said = refused(&home, Some(&home));
        assert!(
            said.ends_with(&format!("ada is not sent: it is your home folder. {name}")),
            "{said}"
        );
        let said = refused(top.path(), Some(&home));
        assert!(said.ends_with(&format!("it has your home folder in it. {name}")), "{said}");
        let said = refused(&home.join(".ssh"), Some(&home));
        assert!(said.ends_with(&format!("it holds keys. {name}")), "{said}");
        let infra = home.join("infra");
        assert_eq!(root_of(&infra, Some(&home)).unwrap(), fs::canonicalize(&infra).unwrap());
        // All of the home folder is one work tree.
        fs::create_dir(home.join(".git")).unwrap();
        let said = refused(&infra, Some(&home));
        assert!(said.contains("run `git init` in the folder of the project"), "{said}");
    }

    #[cfg(unix)]
    #[test]
    fn the_whole_file_system_is_refused() {
        let said = root_of(Path::new("/"), None).unwrap_err().to_string();
        assert!(said.starts_with("/ is not sent: it is the whole file system. "), "{said}");
    }

    #[test]
    fn git_looks_at_the_folder_and_at_nothing_that_the_environment_names() {
        let git = git_in(Path::new("/path"));
        let removed = git.get_envs().filter(|(_, value)| value.is_none());
        let removed: Vec<_> = removed.map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(removed, ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"]);
        assert!(git.get_args().any(|argument| argument == "core.fsmonitor=false"));
    }

    #[cfg(unix)]
    #[test]
    fn nothing_that_the_folder_configures_runs() {
        use std::os::unix::fs::PermissionsExt as _;
        let (tree, outside) = (folder(&[("main.tf", "")]), tempfile::tempdir().unwrap());
        let (watcher, ran) = (outside.path().join("watch"), outside.path().join("ran"));
        fs::write(&watcher, format!("#!/bin/sh\n: > '{}'\n", ran.display())).unwrap();
        fs::set_permissions(&watcher, fs::Permissions::from_mode(0o755)).unwrap();
        let run = |arguments: &[&str]| assert!(git(tree.path(), arguments).is_some());
        run(&["init", "-q"]);
        run(&["add", "main.tf"]);
        let who = ["-c", "user.name=ada", "-c", "user.email=ada@example.com"];
        run(&[&who[..], &["commit", "-q", "-m", "one"]].concat());
        run(&["config", "core.fsmonitor", watcher.to_str().unwrap()]);
        assert!(!based_on(tree.path()).unwrap().is_changed);
        assert!(!ran.exists());
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_outside_are_left_out_and_said() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = folder(&[("modules/a/main.tf", ""), ("infra/run.sh", "")]);
        let at = |path: &str| folder.path().join(path);
        symlink("../modules/a", at("infra/a")).unwrap();
        symlink("/etc/passwd", at("infra/passwd")).unwrap();
        symlink("../../outside", at("infra/outside")).unwrap();
        fs::set_permissions(at("infra/run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
        let found = find(folder.path()).unwrap();
        assert_eq!(found.left_out, [Path::new("infra/outside"), Path::new("infra/passwd")]);
        let packed = packed(folder.path());
        let unzipped = flate2::read::GzDecoder::new(&packed.archive[..]);
        let mut archive = tar::Archive::new(unzipped);
        let modes: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.path().unwrap().into_owned(), entry.header().mode().unwrap())
            })
            .collect();
        let expected = [("infra/a", 0o777), ("infra/run.sh", 0o755), ("modules/a/main.tf", 0o644)];
        let expected = expected.map(|(path, mode)| (Path::new(TOP).join(path), mode));
        assert_eq!(modes, expected);
    }
}
