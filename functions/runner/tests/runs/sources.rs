//! A commit's files that stay on a machine between runs.

use crate::support::{World, until};
use gantry_domain::{protocol::ReportKind, run::RunType};
use gantry_engine::Unprivileged;
use gantry_terraform::on_each_tool;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

const CODE: &str = r#"
resource "terraform_data" "one" {
  input = file("../data/1.txt")
}
"#;

/// Who runs execute as: as in a build, where it can be.
fn user() -> Option<Unprivileged> {
    let is_root = gantry_terraform::is_root("sources of a user of its own");
    is_root.then(|| Unprivileged::named("nobody").unwrap())
}

/// Whether the file system is one that tells each change of a file.
fn tells_changes(folder: &Path) -> bool {
    let mut stat = Command::new("stat");
    let named = stat.args(["-f", "-c", "%T"]).arg(folder).output().unwrap().stdout;
    ["ext2/ext3", "btrfs"].contains(&String::from_utf8(named).unwrap().trim())
}

/// One run of the world on the one machine.
async fn run(w: &mut World, machine: &Path) {
    let mut config = w.offer();
    config.work = machine.to_owned();
    config.user = user();
    config.confinement = Some(crate::support::confinement(machine));
    gantry_runner::run(config).await.unwrap();
    let reports = w.api.reports();
    assert!(matches!(reports.last(), Some(ReportKind::Planned { .. })), "{}", w.api.log());
}

/// The copies that the machine has, with the type of run that each is for.
fn copies(machine: &Path) -> Vec<(String, PathBuf)> {
    let Ok(places) = fs::read_dir(machine.join("sources")) else { return Vec::new() };
    let mut copies = Vec::new();
    for place in places {
        let place = place.unwrap();
        let name = place.file_name().into_string().unwrap();
        let run_type = name.split_once('-').unwrap().0.to_owned();
        let all = fs::read_dir(place.path()).unwrap();
        copies.extend(all.map(|copy| (run_type.clone(), copy.unwrap().path().join("tree"))));
    }
    copies.sort();
    copies
}

on_each_tool! {
    /// And whatever a run does with them, the next one has them as the commit has them.
    async fn a_commits_files_are_unpacked_once_on_a_machine(tool) {
        let open = fs::Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new().permissions(open).tempdir().unwrap();
        let machine = folder.path().join("machine");
        let names: Vec<_> = (1..=120).map(|n| format!("data/{n}.txt")).collect();
        let mut files = vec![("infra/main.tf", CODE)];
        files.extend(names.iter().map(|name| (name.as_str(), "as committed")));
        let mut w = World::on(tool, &files).await;
        w.claim.run_type = RunType::Proposed;
        run(&mut w, &machine).await;
        if !tells_changes(folder.path()) {
            assert!(copies(&machine).is_empty(), "on this file system nothing is kept");
            return;
        }
        let [(_, copy)] = copies(&machine).try_into().unwrap();
        let number = |copy: &Path| fs::metadata(copy.join("data/1.txt")).unwrap().ino();
        let first = number(&copy);
        assert!(!copy.join("infra/.terraform").exists(), "what a run has made is not kept");

        let added = "echo added > added.tf.off; ln -s /etc ../data/elsewhere; mkdir ../data/new";
        w.claim.hooks.after_plan = vec![added.to_owned()];
        run(&mut w, &machine).await;
        let [(_, copy)] = copies(&machine).try_into().unwrap();
        assert_eq!(number(&copy), first, "the same files");
        assert_eq!(fs::read_dir(copy.join("infra")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(copy.join("data")).unwrap().count(), 120);

        // A deploy of the same commit has files of its own.
        w.claim.hooks.after_plan.clear();
        w.claim.run_type = RunType::Tracked;
        run(&mut w, &machine).await;
        let [(preview, copy), (deploy, of_deploy)] = copies(&machine).try_into().unwrap();
        assert_eq!((preview.as_str(), deploy.as_str()), ("proposed", "tracked"));
        assert_eq!(number(&copy), first);
        assert_ne!(number(&of_deploy), first);

        let changed = "t=$(stat -c %y ../data/1.txt); printf 'as Committed' > ../data/1.txt; \
                       touch -d \"$t\" ../data/1.txt";
        w.claim.run_type = RunType::Proposed;
        w.claim.hooks.before_init = vec![changed.to_owned()];
        run(&mut w, &machine).await;
        assert!(w.api.log().contains("as Committed"), "{}", w.api.log());
        assert_eq!(copies(&machine).len(), 1, "the deploy's");
        w.claim.hooks.before_init.clear();
        run(&mut w, &machine).await;
        let log = w.api.log();
        let (_, last) = log.rsplit_once("fetched source").unwrap();
        assert!(last.contains("as committed"), "{log}");
    }

    /// Each of them changes them as it likes, and none sees what another one has changed.
    async fn previews_share_a_commits_files(tool) {
        let folder = tempfile::tempdir().unwrap();
        let machine = folder.path().join("machine");
        let names: Vec<_> = (1..=120).map(|n| format!("data/{n}.txt")).collect();
        let mut files = vec![("infra/main.tf", CODE)];
        files.extend(names.iter().map(|name| (name.as_str(), "as committed\n")));
        let mut w = World::on(tool, &files).await;
        w.claim.run_type = RunType::Proposed;
        w.claim.hooks.before_init = vec![
            "echo there: $(cat ../data/*.txt | sort -u), $(ls ../data | wc -l)".to_owned(),
            "echo changed > ../data/1.txt; rm ../data/2.txt; chmod 700 ../data; mkdir ../data/new; \
             mv ../data/3.txt ../data/new; ln -s /etc ../data/elsewhere; mv ../data ../moved; \
             mv ../moved ../data"
                .to_owned(),
            // What is shared, and where its own changes lie, it does not even see.
            format!(
                "for at in {0}/layers {0}/layers/* {0}/run-1/changes {0}/run-1/changes/changed; do \
                 chmod 700 $at || touch -d 2020-01-01 $at || ls $at; test $? != 0 || echo reached: \
                 $at; done",
                machine.display()
            ),
        ];
        for _ in 0..2 {
            let mut program = w.program();
            let mut runner = program.env("GANTRY_RUNNER_WORK", &machine).spawn().unwrap();
            until("the end of the run", || runner.try_wait().unwrap().is_some()).await;
            let (reports, log) = (w.api.reports(), w.api.log());
            assert!(matches!(reports.last(), Some(ReportKind::Planned { .. })), "{log}");
            assert_eq!(log.matches("there: as committed, 120").count(), 1, "{log}");
            assert!(!log.contains("\nreached: "), "{log}");
            assert!(!machine.join("run-1").exists(), "nothing of the run is left");
        }
        // Not every machine can show them.
        let kept = fs::read_dir(machine.join("layers")).into_iter().flatten();
        let mut trees = kept.map(|kept| kept.unwrap().path().join("tree"));
        let Some(tree) = trees.find(|tree| tree.exists()) else { return };
        assert_eq!(fs::read_dir(tree.join("data")).unwrap().count(), 120);
        assert_eq!(fs::read_to_string(tree.join("data/1.txt")).unwrap(), "as committed\n");
        assert_eq!(fs::read_dir(tree.join("infra")).unwrap().count(), 1, "as it was unpacked");
    }
}
