//! Archives: what is taken, what is refused, and that a saved plan comes back as it was.

use flate2::{Compression, write::GzEncoder};
use gantry_engine::workspace::{self, ArchiveError, Limits, PLAN, WORKSPACE};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};
use tar::{EntryType, Header};

enum Entry {
    File(&'static str, &'static str),
    Folder(&'static str),
    Link(&'static str, &'static str),
    Other(EntryType, &'static str),
}
use Entry::*;

/// Writes headers by hand: the tar crate's own builder would refuse what is to be refused here.
fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for entry in entries {
        let (kind, name, to, body) = match entry {
            File(name, body) => (EntryType::Regular, *name, "", *body),
            Folder(name) => (EntryType::Directory, *name, "", ""),
            Link(name, to) => (EntryType::Symlink, *name, *to, ""),
            Other(kind, name) => (*kind, *name, "x", ""),
        };
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(body.len() as u64);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + to.len()].copy_from_slice(to.as_bytes());
        header.set_cksum();
        builder.append(&header, body.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn unpack(entries: &[Entry]) -> (tempfile::TempDir, Result<Vec<String>, ArchiveError>) {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("into");
    fs::create_dir(&into).unwrap();
    let result = workspace::unpack_source(&*archive(entries), &into, Limits::default());
    (folder, result)
}

#[track_caller]
fn refused(entries: &[Entry], says: &str) {
    let (folder, result) = unpack(entries);
    let error = result.unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was written outside");
}

#[test]
fn the_first_folder_is_taken_off() {
    let (folder, result) = unpack(&[
        Other(EntryType::XGlobalHeader, "pax_global_header"),
        Folder("net-abc/"),
        File("net-abc/main.tf", "a"),
        File("net-abc/infra/run.sh", "b"),
        Link("net-abc/infra/up", "../main.tf"),
    ]);
    assert_eq!(result.unwrap(), Vec::<String>::new());
    let into = folder.path().join("into");
    assert_eq!(fs::read_to_string(into.join("infra/up")).unwrap(), "a");
    assert_eq!(fs::read_to_string(into.join("infra/run.sh")).unwrap(), "b");
}

#[test]
fn nothing_is_unpacked_outside() {
    refused(&[File("top/../../evil", "x")], "outside");
    refused(&[File("/evil", "x")], "outside");
    refused(&[Other(EntryType::Link, "top/hard")], "a hard link");
    refused(&[Other(EntryType::Char, "top/tty")], "neither a file");
    refused(&[Other(EntryType::Fifo, "top/pipe")], "neither a file");
    refused(&[Link("top/x", "y"), File("top/x", "z")], "included twice");
}

#[test]
fn links_that_lead_outside_are_left_out() {
    let (folder, result) = unpack(&[
        Folder("top/"),
        Link("top/abs", "/etc/passwd"),
        Link("top/a/up", "../../etc"),
        // Each is inside by its letters; together they would climb.
        Link("top/d", "."),
        Link("top/b/c", "../d/.."),
        Link("top/z/e", "../d/../.."),
    ]);
    assert_eq!(
        result.unwrap(),
        ["a/up -> ../../etc", "abs -> /etc/passwd", "b/c -> ../d/..", "z/e -> ../d/../.."]
    );
    assert!(folder.path().join("into/d").is_symlink());
}

#[test]
fn an_upload_that_is_another_one_is_not_even_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let (path, into) = (folder.path().join("archive"), folder.path().join("into"));
    fs::write(&path, archive(&[File("top/a", "12345")])).unwrap();
    fs::create_dir(&into).unwrap();
    let other = "0".repeat(64);
    let error = workspace::unpack_upload(&path, &other, &into, Limits::default()).unwrap_err();
    assert!(matches!(error, ArchiveError::WrongUpload { .. }), "{error}");
    assert!(error.to_string().contains("not the one that was uploaded"), "{error}");
    assert_eq!(fs::read_dir(&into).unwrap().count(), 0);
    let digest = gantry_engine::files::digest(&fs::read(&path).unwrap());
    workspace::unpack_upload(&path, &digest, &into, Limits::default()).unwrap();
    assert_eq!(fs::read_to_string(into.join("a")).unwrap(), "12345");
}

#[test]
fn a_file_below_a_link_is_not_written_through_it() {
    // The folder is made for the file; the link of the same name then has no place.
    refused(&[Link("top/x", "."), File("top/x/main.tf", "z")], "included twice");
    // A link below a link is left out: its `..` would start elsewhere.
    let (_folder, result) = unpack(&[Link("top/x", "deep"), Link("top/x/y", "..")]);
    assert_eq!(result.unwrap(), ["x/y -> .."]);
}

#[test]
fn too_much_is_too_much() {
    let into = tempfile::tempdir().unwrap();
    let bytes = archive(&[File("top/a", "12345"), File("top/b", "12345")]);
    let small = Limits { bytes: 9, entries: 10 };
    let error = workspace::unpack_source(&*bytes, into.path(), small).unwrap_err();
    assert!(matches!(error, ArchiveError::TooLarge(_)));
    let few = Limits { bytes: 100, entries: 1 };
    let error = workspace::unpack_source(&*bytes, into.path(), few).unwrap_err();
    insta::assert_snapshot!(error, @"the archive contains more than 1 files");
}

fn saved() -> (tempfile::TempDir, PathBuf, workspace::Packed) {
    let folder = tempfile::tempdir().unwrap();
    let job = folder.path().join("job");
    let root = job.join(WORKSPACE).join("infra");
    for made in ["infra/.terraform/providers/x", "infra/.terraform/modules/m", "empty"] {
        fs::create_dir_all(job.join(WORKSPACE).join(made)).unwrap();
    }
    fs::write(job.join(PLAN), "the plan").unwrap();
    fs::write(root.join(".terraform/providers/x/binary"), "large").unwrap();
    fs::write(root.join(".terraform/modules/m/main.tf"), "module").unwrap();
    fs::write(root.join("generated.zip"), "generated").unwrap();
    fs::write(root.join(".terraform.lock.hcl"), "lock").unwrap();
    std::os::unix::fs::symlink("generated.zip", root.join("link")).unwrap();
    let long = root.join("l".repeat(150)).join("m".repeat(150));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("deep"), "deep").unwrap();
    let archive = folder.path().join("plan.tar.gz");
    let packed =
        workspace::pack_plan(&job.join(workspace::PLAN), &job, &archive, Limits::default())
            .unwrap();
    (folder, archive, packed)
}

#[test]
fn a_saved_plan_comes_back_as_it_was_without_providers() {
    let (folder, archive, packed) = saved();
    let into = folder.path().join("again");
    fs::create_dir(&into).unwrap();
    workspace::unpack_plan(&archive, &packed.digest, &into, Limits::default()).unwrap();
    let root = into.join(WORKSPACE).join("infra");
    assert_eq!(fs::read_to_string(into.join(PLAN)).unwrap(), "the plan");
    assert_eq!(fs::read_to_string(root.join("link")).unwrap(), "generated");
    assert_eq!(fs::read_to_string(root.join(".terraform.lock.hcl")).unwrap(), "lock");
    assert!(root.join(".terraform/modules/m/main.tf").is_file());
    assert!(!root.join(".terraform/providers").exists());
    assert!(into.join(WORKSPACE).join("empty").is_dir());
    assert!(root.join("l".repeat(150)).join("m".repeat(150)).join("deep").is_file());
    assert_eq!(packed.size, fs::metadata(&archive).unwrap().len());
}

#[test]
fn a_plan_that_was_tampered_with_is_not_even_unpacked() {
    let (folder, archive, packed) = saved();
    fs::OpenOptions::new().append(true).open(&archive).unwrap().write_all(b"x").unwrap();
    let into = folder.path().join("again");
    fs::create_dir(&into).unwrap();
    let error = workspace::unpack_plan(&archive, &packed.digest, &into, Limits::default());
    assert!(matches!(error, Err(ArchiveError::WrongDigest { .. })));
    assert_eq!(fs::read_dir(&into).unwrap().count(), 0);
}

#[test]
fn a_plan_that_is_a_link_is_not_packed() {
    let (folder, _, _) = saved();
    let job = folder.path().join("job");
    fs::remove_file(job.join(PLAN)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", job.join(PLAN)).unwrap();
    let to: &Path = &folder.path().join("second.tar.gz");
    assert!(workspace::pack_plan(&job.join(workspace::PLAN), &job, to, Limits::default()).is_err());
}
