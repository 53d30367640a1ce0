//! Files that a run's code may have had its hands on.

use gantry_engine::files::{self, Folder};
use nix::sys::stat::SFlag;
use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
};

fn read(file: io::Result<File>) -> Option<String> {
    io::read_to_string(file.ok()?).ok()
}

#[test]
fn what_is_put_in_the_way_leads_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["own/a/b", "other/a/b"] {
        fs::create_dir_all(path(name)).unwrap();
        fs::write(path(name).join("file"), name).unwrap();
    }
    let own = path("own");
    symlink(own.join("a/b"), own.join("inside")).unwrap();
    symlink(path("other/a/b"), own.join("outside")).unwrap();
    symlink(path("other/a/b/file"), own.join("link")).unwrap();
    let text = |name: &str| read(files::open_regular(&own, &own.join(name)));
    assert_eq!(text("a/b/file").as_deref(), Some("own/a/b"));
    assert_eq!(text("inside/file").as_deref(), Some("own/a/b"));
    for name in ["outside/file", "link", "a", "../other/a/b/file", "a/b/none", "a/b/.."] {
        assert_eq!(text(name), None, "{name}");
    }
    assert!(files::remove_file(&own, &own.join("outside/file")).is_err());
    assert!(path("other/a/b/file").exists());

    // Held, it is what it was, whatever has its name by now.
    let held = Folder::within(&own, &own.join("a")).unwrap();
    fs::rename(own.join("a"), own.join("was")).unwrap();
    symlink(path("other/a"), own.join("a")).unwrap();
    let inner = held.folder("b".as_ref()).unwrap();
    assert_eq!(read(inner.file("file".as_ref())).as_deref(), Some("own/a/b"));
    fs::rename(own.join("was/b"), own.join("was/c")).unwrap();
    symlink(path("other/a/b"), own.join("was/b")).unwrap();
    assert!(held.folder("b".as_ref()).is_err());
    assert_eq!(held.kind("b".as_ref()).unwrap(), SFlag::S_IFLNK);
    for name in ["..", ".", "c/file", "/", ""] {
        assert!(held.folder(name.as_ref()).is_err(), "{name}");
    }
    let mut names = held.names().unwrap();
    names.sort();
    assert_eq!(names, ["b", "c"]);
    held.create_new("new".as_ref()).unwrap();
    assert!(held.create_new("b".as_ref()).is_err() && own.join("was/new").exists());
    held.remove("b".as_ref()).unwrap();
    assert!(path("other/a/b/file").exists());
}
