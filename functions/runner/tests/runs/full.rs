//! The disk is full when the state comes, on a real small disk, and the runner API takes none.

use crate::{
    rescued::{names, rescued},
    support::{World, until},
};
use gantry_domain::{
    protocol::{ReportKind, StateDoubt},
    stack::Tool,
};
use gantry_terraform::on_each_tool;
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Waits, fills the disk where it is told to, and goes on.
const FILLS: &str = r#"
resource "terraform_data" "fills" {
  provisioner "local-exec" {
    command = "echo made > $TMPDIR/made; until [ -e $TMPDIR/go ]; do sleep 0.05; done; if [ -e $TMPDIR/fill ]; then cat /dev/zero > $TMPDIR/fill; fi; true"
  }
}
resource "terraform_data" "after" {
  input = join(terraform_data.fills.id, [for i in range(1000) : "0123456789"])
}
"#;

/// Where there is room for the state when it comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Where the runner has reserved some.
    Reserved,
    /// Where the run's own files were that filled the disk.
    AfterTheRun,
    /// Nowhere.
    Nowhere,
}

/// A disk of its own, as long as this is there.
struct Disk(PathBuf);

impl Disk {
    /// None where nobody may mount one.
    fn at(path: &Path) -> Option<Self> {
        if !gantry_terraform::is_root("a disk that is full") {
            return None;
        }
        let options = ["-t", "tmpfs", "-o", "size=48m,mode=711", "tmpfs"];
        if !mount("mount", &options, path) {
            gantry_terraform::left_out("a disk that is full: root cannot mount one here");
            return None;
        }
        Some(Self(path.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        mount("umount", &["--lazy"], &self.0);
    }
}

fn mount(command: &str, arguments: &[&str], path: &Path) -> bool {
    Command::new(command).args(arguments).arg(path).status().is_ok_and(|status| status.success())
}

/// Fills the disk from outside of the run.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    while file.write_all(&[1; 64 * 1024]).is_ok() {}
    while file.write_all(&[1; 512]).is_ok() {}
}

/// The run's doubt and its log; the world, whose runner API takes rescued states or none.
async fn applied(tool: Tool, room: Room, takes_rescued: bool) -> Option<(World, Disk)> {
    let mut w = World::on(tool, &[("infra/main.tf", FILLS)]).await;
    w.claim.autodeploy = true;
    w.timings.state_patience = Duration::from_millis(300);
    w.api.data().refuses_states = !takes_rescued;
    w.api.data().failing_commits = u32::MAX;
    let config = w.offer();
    let disk = Disk::at(&w.work())?;
    let running = tokio::spawn(gantry_runner::run(config));
    let run = w.work().join("run-1");
    until("the apply", || run.join("tmp/made").exists()).await;
    if room != Room::Reserved {
        fs::remove_file(run.join("reserved")).unwrap();
    }
    match room {
        Room::Nowhere => fill(&w.work().join("filler")),
        _ => fs::write(run.join("tmp/fill"), "").unwrap(),
    }
    fs::write(run.join("tmp/go"), "").unwrap();
    let _says_what_is_left = running.await.unwrap();
    // What Terraform said of it found no room either.
    let end = w.api.reports().pop().unwrap();
    assert!(matches!(end, ReportKind::Failed { in_terraform: true, .. }), "{end:?}");
    // Where OpenTofu finds no room either, it prints the state.
    let log = w.api.log();
    assert!(!log.contains("lineage") && !log.contains("0123456789"), "{log}");
    Some((w, disk))
}

/// It is on the disk, and is delivered once somebody takes it.
async fn kept(tool: Tool, room: Room) {
    let Some((w, _disk)) = applied(tool, room, false).await else { return };
    let log = w.api.log();
    assert_eq!(w.api.data().doubt, Some(StateDoubt::NotDelivered), "{log}");
    assert!(log.contains("a state is still on the runner's machine: /"), "{log}");
    w.api.data().mend();
    rescued(&w).await;
    let data = w.api.data();
    assert_eq!(data.doubt, Some(StateDoubt::KeptAside));
    assert_eq!(names(data.rescued.last().unwrap()), ["after", "fills"]);
    assert!(matches!(data.reports.last(), Some(ReportKind::Failed { .. })));
}

on_each_tool! {
    async fn the_run_fills_the_disk_and_the_state_has_room(tool) {
        kept(tool, Room::Reserved).await;
    }

    async fn the_run_fills_the_disk_and_makes_room(tool) {
        kept(tool, Room::AfterTheRun).await;
    }

    async fn a_state_without_any_room_is_delivered_from_memory(tool) {
        let Some((w, _disk)) = applied(tool, Room::Nowhere, true).await else { return };
        let log = w.api.log();
        let data = w.api.data();
        assert_eq!(data.doubt, Some(StateDoubt::KeptAside), "{log}");
        assert_eq!(names(data.rescued.last().unwrap()), ["after", "fills"]);
        assert!(log.contains("the state cannot be kept in /"), "{log}");
    }

    async fn a_state_that_nobody_can_keep_is_not_lost_silently(tool) {
        let Some((w, _disk)) = applied(tool, Room::Nowhere, false).await else { return };
        let log = w.api.log();
        assert_eq!(w.api.data().doubt, Some(StateDoubt::NotDelivered), "{log}");
        assert!(log.contains("the state is lost: the runner API did not accept it"), "{log}");
    }

    async fn nothing_is_applied_where_there_is_no_room(tool) {
        let mut w = World::on(tool, &[("infra/main.tf", FILLS)]).await;
        w.claim.autodeploy = true;
        w.claim.hooks.before_apply = vec!["cat /dev/zero > $TMPDIR/fill; true".into()];
        let config = w.offer();
        let Some(_disk) = Disk::at(&w.work()) else { return };
        gantry_runner::run(config).await.unwrap();
        let ReportKind::Failed { summary, in_terraform, .. } = w.api.reports().pop().unwrap() else {
            panic!("{}", w.api.log())
        };
        assert!(!in_terraform);
        let says = "Nothing was applied because the runner's machine has no room for a state (No space left on device";
        assert!(summary.starts_with(says), "{summary}");
        assert!(summary.contains("Free up 32 MiB in /"), "{summary}");
        assert!(w.api.data().states.is_empty() && w.api.data().lock.is_none());
    }
}
