//! What is refused of an upload before any runner unpacks it.

use crate::support::{Entry, LIMITS, TOP, archive, entry, file, folder, header, link};
use gantry_package::{Limits, PackageError, check};
use std::iter;
use tar::EntryType;

/// Why it is refused, as people read it.
#[track_caller]
fn refused(entries: &[Entry]) -> String {
    check(&archive(entries), LIMITS).unwrap_err().to_string()
}

/// What comes before an entry, with that body.
fn before(kind: EntryType, body: impl Into<Vec<u8>>) -> Entry {
    Entry { body: body.into(), ..entry(kind, "././@before") }
}

/// Of a list of attributes; its length has two digits.
fn record(text: &str) -> String {
    format!("{} {text}\n", text.len() + 4)
}

#[test]
fn a_folder_with_long_paths_and_links_of_its_own_is_taken() {
    let path = format!("{TOP}/{}main.tf", "long/".repeat(60));
    let entries = [
        before(EntryType::XGlobalHeader, record("comment=1f0c2b")),
        folder(""),
        file("main.tf", "# main"),
        before(EntryType::XHeader, record("mtime=1700000000.5")),
        link("again.tf", "main.tf"),
        before(EntryType::GNULongName, path),
        file("short", "# long"),
        file(".github/x.yml", ""),
        file(".gitignore", ""),
    ];
    check(&archive(&entries), LIMITS).unwrap();
}

#[test]
fn what_is_read_before_an_entry_is_small() {
    for kind in [
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XHeader,
        EntryType::XGlobalHeader,
    ] {
        let why = refused(&[before(kind, "a/".repeat(35 << 10)), file("x", "")]);
        assert!(why.contains("of more than 64 KiB"), "{kind:?}: {why}");
    }
}

#[test]
fn nothing_hides_in_what_is_taken_for_a_file() {
    // Behind a file of no bytes the next header would be the one in its body.
    let large = before(EntryType::GNULongName, "");
    let hidden = header(&large, 70 << 10).as_bytes().to_vec();
    let size = before(EntryType::XHeader, record("size=0"));
    let why = refused(&[size, file("x", [hidden, vec![b'a'; 70 << 10]].concat())]);
    assert!(why.contains("a list of attributes with a size"), "{why}");
    let why = refused(&[entry(EntryType::GNUSparse, "top/x")]);
    assert!(why.contains("neither a file, a folder nor a link"), "{why}");
}

#[test]
fn a_path_has_an_end() {
    let long = format!("{TOP}/{}", "a/".repeat(2_100));
    for (kind, of) in
        [(EntryType::GNULongName, file("x", "")), (EntryType::GNULongLink, link("x", "y"))]
    {
        let why = refused(&[before(kind, long.clone()), of]);
        assert!(why.contains("of more than 4,096 bytes"), "{kind:?}: {why}");
    }
}

#[test]
fn all_paths_together_have_an_end() {
    let long = format!("{}/", "a".repeat(199)).repeat(20);
    let pair = |number: usize| {
        [before(EntryType::GNULongName, format!("{TOP}/{long}{number}")), file("x", "")]
    };
    let limits = Limits { unpacked: 64 << 20, files: 10_000, ..LIMITS };
    let entries: Vec<_> = (0..4_000).flat_map(pair).collect();
    let error = check(&archive(&entries), limits).unwrap_err();
    assert!(error.to_string().contains("paths and links are too long"), "{error}");
    check(&archive(&entries[..1_000]), limits).unwrap();
}

#[test]
fn every_entry_counts() {
    let few = Limits { files: 3, ..LIMITS };
    let files = |names: &[&str]| names.iter().map(|name| file(name, "")).collect::<Vec<_>>();
    let whole = |files: Vec<Entry>| archive(&[vec![folder("")], files].concat());
    check(&whole(files(&["a", "b", "c"])), few).unwrap();
    let again = iter::repeat_n(folder(""), 6).collect();
    for entries in [files(&["a", "b", "c", "d"]), again] {
        let error = check(&whole(entries), few).unwrap_err();
        assert!(matches!(error, PackageError::TooLarge(_)), "{error}");
    }
}

#[test]
fn the_folder_of_git_is_refused() {
    for git in [folder(".git"), file(".git/config", ""), file("modules/a/.git", "gitdir: x")] {
        let why = refused(&[file("main.tf", ""), git]);
        assert!(why.contains("part of .git, which is not uploaded"), "{why}");
    }
}
