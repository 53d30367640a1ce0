//! What is packed, and what is refused.

use crate::support::{
    Entry, LIMITS, TOP, archive, entry, file, folder, header, link, listed, pack,
};
use crate::support::{module, pack_within};
use flate2::{Compression, read::GzEncoder};
use gantry_package::{Limits, PackageError, pack as pack_to};
use insta::assert_snapshot;
use std::{
    cell::Cell,
    io::{self, Read},
};
use tar::EntryType;

fn repository() -> Vec<Entry> {
    vec![
        folder(""),
        file("main.tf", "# the repository's"),
        folder("modules"),
        folder("modules/net"),
        file("modules/net/main.tf", "# net"),
        folder("modules/net/.gantry"),
        file("modules/net/.gantry/stack.toml", "# gantry"),
        file("modules/net/.gitignore", "*.tfstate"),
        Entry { mode: 0o775, ..file("modules/net/bin/run.sh", "#!/bin/sh") },
        link("modules/net/bin/again", "../bin/run.sh"),
        folder("modules/network"),
        file("modules/network/main.tf", "# network"),
    ]
}

/// Why it is refused, as people read it.
#[track_caller]
fn refused(entries: &[Entry], root: &str) -> String {
    pack(entries, root).unwrap_err().to_string()
}

#[test]
fn a_nested_root_is_at_the_top_of_the_package_and_nothing_else_is_in_it() {
    let (packed, bytes) = pack(&repository(), "modules/net").unwrap();
    assert_snapshot!(listed(&bytes), @"
    Directory 755 .gantry
    Regular 644 .gantry/stack.toml # gantry
    Regular 644 .gitignore *.tfstate
    Symlink 777 bin/again -> ../bin/run.sh
    Regular 755 bin/run.sh #!/bin/sh
    Regular 644 main.tf # net
    ");
    assert_eq!(packed.size, bytes.len() as u64);
    assert_eq!(packed.metadata.problems, [""; 0]);
}

#[test]
fn the_whole_repository_can_be_the_module() {
    let (_, bytes) = pack(&repository(), "").unwrap();
    assert_snapshot!(listed(&bytes), @"
    Regular 644 main.tf # the repository's
    Directory 755 modules
    Directory 755 modules/net
    Directory 755 modules/net/.gantry
    Regular 644 modules/net/.gantry/stack.toml # gantry
    Regular 644 modules/net/.gitignore *.tfstate
    Symlink 777 modules/net/bin/again -> ../bin/run.sh
    Regular 755 modules/net/bin/run.sh #!/bin/sh
    Regular 644 modules/net/main.tf # net
    Directory 755 modules/network
    Regular 644 modules/network/main.tf # network
    ");
}

#[test]
fn the_digest_is_that_of_the_bytes() {
    let (packed, bytes) = pack(&module(&[("main.tf", "")]), "").unwrap();
    use sha2::Digest as _;
    assert_eq!(packed.digest, hex::encode(sha2::Sha256::digest(&bytes)));
}

#[test]
fn the_order_times_owners_and_the_top_folder_do_not_change_the_bytes() {
    let mut entries = repository();
    let (first, bytes) = pack(&entries, "modules/net").unwrap();
    for _ in 0..entries.len() {
        entries.rotate_left(1);
        assert_eq!(pack(&entries, "modules/net").unwrap(), (first.clone(), bytes.clone()));
    }
    entries.reverse();
    for entry in &mut entries {
        entry.path = entry.path.replace(TOP, "./repository");
        entry.mode |= 0o200;
    }
    assert_eq!(pack(&entries, "modules/net").unwrap(), (first, bytes));
}

#[test]
fn pax_headers_are_read_and_not_packed() {
    let long = format!("{TOP}/{}/main.tf", "long/".repeat(60));
    let record = |text: String| format!("{} {text}", text.len() + 4);
    let mut entries = vec![
        Entry {
            body: record(format!("comment={}\n", "1f0c2b".repeat(10))).into(),
            ..entry(EntryType::XGlobalHeader, "pax_global_header")
        },
        Entry {
            body: record(format!("path={long}\n")).into(),
            ..entry(EntryType::XHeader, "long.paxheader")
        },
    ];
    entries.extend([file("short", "# long"), file("main.tf", "# main")]);
    let (_, bytes) = pack(&entries, "").unwrap();
    let listed = listed(&bytes);
    let expected = format!(
        "Regular 644 {}/main.tf # long\nRegular 644 main.tf # main",
        ["long"; 60].join("/")
    );
    assert_eq!(listed, expected);
}

#[test]
fn the_folder_of_git_is_left_out() {
    let mut entries = module(&[("main.tf", ""), (".git/config", "x"), (".github/x.yml", "x")]);
    entries.push(folder(".git"));
    assert_snapshot!(listed(&pack(&entries, "").unwrap().1), @"
    Regular 644 .github/x.yml x
    Regular 644 main.tf
    ");
}

#[test]
fn links_that_stay_inside_are_packed_and_others_are_left_out_and_named() {
    let mut entries = vec![file("versions.tf", "# outside")];
    for (path, to) in [
        ("m/inside.tf", "main.tf"),
        ("m/deep/up", "../main.tf"),
        ("m/deep/top", ".."),
        ("m/deep/dangling", "nowhere/else"),
        ("m/outside.tf", "../versions.tf"),
        ("m/deep/outside", "../../versions.tf"),
        ("m/absolute", "/etc/passwd"),
        ("m/around", "deep/../../versions.tf"),
        ("m/nothing", ""),
    ] {
        entries.push(link(path, to));
    }
    entries.push(file("m/main.tf", r#"variable "once" {}"#));
    let (packed, bytes) = pack(&entries, "m").unwrap();
    assert_snapshot!(listed(&bytes), @r#"
    Symlink 777 deep/dangling -> nowhere/else
    Symlink 777 deep/top -> ..
    Symlink 777 deep/up -> ../main.tf
    Symlink 777 inside.tf -> main.tf
    Regular 644 main.tf variable "once" {}
    "#);
    assert_snapshot!(packed.metadata.problems.join("\n"), @"
    absolute was left out because it is a link that may lead outside the module
    around was left out because it is a link that may lead outside the module
    deep/outside was left out because it is a link that may lead outside the module
    nothing was left out because it is a link that may lead outside the module
    outside.tf was left out because it is a link that may lead outside the module
    ");
    assert_eq!(packed.metadata.inputs.len(), 1);
}

#[test]
fn code_behind_links_of_the_module_is_read() {
    let entries = [link("main.tf", "src/a/main.tf"), link("README.md", "main.tf")];
    let body = file("src/a/main.tf", "variable \"a\" {}");
    let entries = [entries.to_vec(), vec![body]].concat();
    let metadata = pack(&entries, "").unwrap().0.metadata;
    assert_eq!(metadata.inputs[0].name, "a");
    assert_eq!(metadata.readme.unwrap(), "variable \"a\" {}");
    let circle = [link("main.tf", "other.tf"), link("other.tf", "main.tf")];
    assert!(matches!(pack(&circle, ""), Err(PackageError::NoCode { .. })));
}

#[test]
fn a_root_that_is_no_folder_of_the_commit_is_said() {
    for root in ["nowhere", "modules/ne", "main.tf", "../x", "modules/net/bin/again"] {
        let why = refused(&repository(), root);
        assert_eq!(why, format!("the folder {root} does not exist in the commit"));
    }
}

#[test]
fn a_folder_without_code_is_no_module() {
    assert_snapshot!(refused(&repository(), "modules"), @"the folder modules has no .tf, .tf.json or .tofu file");
    assert_snapshot!(refused(&repository(), "modules/net/.gantry"), @"the folder modules/net/.gantry has no .tf, .tf.json or .tofu file");
    assert_snapshot!(refused(&[folder("")], ""), @"the repository's top folder has no .tf, .tf.json or .tofu file");
    assert_snapshot!(refused(&[], ""), @"the repository's top folder has no .tf, .tf.json or .tofu file");
    // What editors leave behind is no code, and a folder is none.
    let entries =
        [module(&[(".tf", ""), (".#main.tf", ""), ("main.tf~", "")]), vec![folder("x.tf")]];
    assert!(matches!(pack(&entries.concat(), ""), Err(PackageError::NoCode { .. })));
    for name in ["a.tf", "a.tf.json", "a.tofu", "a.tofu.json"] {
        pack(&module(&[(name, "")]), "").unwrap();
    }
}

#[test]
fn what_no_commit_holds_is_refused_wherever_it_is() {
    let mut texts = Vec::new();
    for (kind, path, to) in [
        (EntryType::Regular, "top/../../x", ""),
        (EntryType::Regular, "../x", ""),
        (EntryType::Directory, "top/m/..", ""),
        (EntryType::Regular, "/etc/passwd", ""),
        (EntryType::Link, "top/m/hard", "top/m/main.tf"),
        (EntryType::Char, "top/m/null", ""),
        (EntryType::Block, "top/m/disk", ""),
        (EntryType::Fifo, "top/elsewhere/pipe", ""),
        (EntryType::new(b'?'), "top/m/odd", ""),
        (EntryType::Regular, "other/m/main.tf", ""),
        (EntryType::Regular, "top", ""),
        (EntryType::Regular, "top/m/main.tf", ""),
        (EntryType::Directory, "top/m/main.tf", ""),
        (EntryType::Regular, "top/m/main.tf/below", ""),
    ] {
        let strange = Entry { to: to.to_owned(), ..entry(kind, path) };
        let entries = [entry(EntryType::Regular, "top/m/main.tf"), strange];
        texts.push(refused(&entries, "m"));
    }
    assert_snapshot!(texts.join("\n"), @r#"
    the commit's archive contains "top/../../x", which is outside of it
    the commit's archive contains "../x", which is outside of it
    the commit's archive contains "top/m/..", which is outside of it
    the commit's archive contains "/etc/passwd", which is outside of it
    the commit's archive contains "top/m/hard", which is a hard link
    the commit's archive contains "top/m/null", which is neither a file, a folder nor a link
    the commit's archive contains "top/m/disk", which is neither a file, a folder nor a link
    the commit's archive contains "top/elsewhere/pipe", which is neither a file, a folder nor a link
    the commit's archive contains "top/m/odd", which is neither a file, a folder nor a link
    the commit's archive contains "other/m/main.tf", which is outside the folder that should contain everything
    the commit's archive contains "top", which is outside the folder that should contain everything
    the commit's archive contains "top/m/main.tf", which is included twice
    the commit's archive contains "top/m/main.tf", which is included twice
    the commit's archive contains "main.tf/below", which is below something that is not a folder
    "#);
}

#[test]
fn nothing_is_below_a_link() {
    let entries = [file("main.tf", ""), file("to/x.tf", ""), link("dir", "to"), file("dir/x", "")];
    assert_snapshot!(refused(&entries, ""), @r#"the commit's archive contains "dir/x", which is below something that is not a folder"#);
}

#[test]
fn a_name_does_not_end_early() {
    let path = format!("path={TOP}/main.tf\0.md\n");
    let pax = Entry {
        body: format!("{} {path}", path.len() + 3).into(),
        ..entry(EntryType::XHeader, "x")
    };
    assert_snapshot!(refused(&[pax, file("x", "")], ""), @r#"the commit's archive contains "shop-1f0c2b-1f0c2b/main.tf\0.md", which is a name that ends too early"#);
}

#[test]
fn what_is_damaged_is_said() {
    let whole = archive(&repository());
    let mut flipped = whole.clone();
    let at = flipped.len() - 6;
    flipped[at] ^= 1;
    for damaged in [b"".as_slice(), b"no archive at all", &whole[..whole.len() / 2], &flipped] {
        let error = pack_within(damaged, "", LIMITS).unwrap_err();
        assert!(matches!(error, PackageError::Unreadable(_)), "{error:?}");
        assert_eq!(error.to_string(), "the commit's archive is damaged or not a tar.gz file");
    }
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    }
}

impl io::Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_or_writer_that_fails_is_told_from_a_damaged_archive() {
    let whole = archive(&repository());
    let cut = whole[..whole.len() / 2].chain(Failing);
    let errors = [
        pack_to(cut, "", io::sink(), LIMITS).unwrap_err(),
        pack_to(whole.as_slice(), "", Failing, LIMITS).unwrap_err(),
    ];
    for (error, kind) in errors.into_iter().zip(["ConnectionReset", "StorageFull"]) {
        let PackageError::Io(error) = error else { panic!("{error:?}") };
        assert_eq!(format!("{:?}", error.kind()), kind);
    }
}

#[test]
fn every_limit_is_kept() {
    let entries = [module(&[("a.tf", "# a"), ("b.tf", "# b")]), vec![folder("c")]].concat();
    let bytes = archive(&entries);
    let within = |limits| pack_within(&bytes, "", limits).map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(within(Limits { files: 3, ..LIMITS }), Ok(()));
    assert_snapshot!(within(Limits { files: 2, ..LIMITS }).unwrap_err(), @"the commit exceeds the size limits of a module: the module has more than 2 files, folders and links");
    assert_eq!(within(Limits { unpacked: 10 << 10, ..LIMITS }), Ok(()));
    assert_snapshot!(within(Limits { unpacked: 3 << 9, ..LIMITS }).unwrap_err(), @"the commit exceeds the size limits of a module: it has more than 1 KiB");
    // What is not of the module does not count as its files.
    let nested = archive(&[entries, vec![file("c/main.tf", "")]].concat());
    pack_within(&nested, "c", Limits { files: 1, ..LIMITS }).unwrap();
}

/// One gigabyte of zeros as the body of an entry, compressed while it is read.
fn bomb(of: Entry, declared: u64) -> impl Read {
    let header = io::Cursor::new(header(&of, declared).as_bytes().to_vec());
    GzEncoder::new(header.chain(io::repeat(0).take(1 << 30)), Compression::fast())
}

struct Counted<'a, R>(R, &'a Cell<usize>);

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(into)?;
        self.1.set(self.1.get() + read);
        Ok(read)
    }
}

#[test]
fn a_bomb_is_not_unpacked() {
    for (of, declared) in [
        (file("m/main.tf", ""), 1 << 30),
        (file("elsewhere/zeros", ""), 1 << 30),
        (entry(EntryType::XGlobalHeader, "pax_global_header"), 1 << 30),
        (entry(EntryType::XHeader, "x"), 1 << 30),
        (entry(EntryType::GNULongName, "x"), 1 << 30),
        // More than is said, behind the end.
        (file("m/main.tf", ""), 0),
    ] {
        let read = Cell::new(0);
        let name = format!("{of:?}");
        let bomb = Counted(bomb(of, declared), &read);
        let error = pack_to(bomb, "m", io::sink(), LIMITS).unwrap_err();
        assert!(matches!(error, PackageError::TooLarge(_)), "{name}: {error:?}");
        assert_eq!(
            error.to_string(),
            "the commit exceeds the size limits of a module: it has more than 4 MiB"
        );
        // All of it would be five megabytes.
        assert!(read.get() < 200_000, "{name}: {} bytes were read", read.get());
    }
}
