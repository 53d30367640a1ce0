//! Providers that stay on a machine between runs.

use crate::support::{World, path};
use gantry_domain::{plan::Warning, stack::Tool};
use gantry_engine::Unprivileged;
use gantry_terraform::on_each_tool;
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

const CODE: &str = r#"
terraform {
  required_providers {
    fake = { source = "example.com/acme/fake" }
  }
}
# Both tools warn of this.
provider "fake" {
  version = "1.0.0"
}
"#;

/// A mirror with one provider, and settings that name it. Nobody can call the provider: runs get
/// no further than its installation.
fn make_mirror(folder: &Path) -> String {
    let platform = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let platform = format!("{}_{platform}", std::env::consts::OS);
    let mirror = folder.join("mirror");
    let package = mirror.join("example.com/acme/fake");
    fs::create_dir_all(&package).unwrap();
    let file = package.join(format!("terraform-provider-fake_1.0.0_{platform}.zip"));
    let mut archive = zip::ZipWriter::new(fs::File::create(file).unwrap());
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    archive.start_file("terraform-provider-fake_v1.0.0", options).unwrap();
    archive.finish().unwrap();
    format!("provider_installation {{\n filesystem_mirror {{\n path = {mirror:?}\n }}\n}}\n")
}

/// What `init` writes for the code.
fn lock_file(tool: Tool, folder: &Path, settings: &str) -> String {
    fs::write(folder.join("settings.tfrc"), settings).unwrap();
    fs::write(folder.join("main.tf"), CODE).unwrap();
    let mut init = Command::new(tool.command());
    init.args(["init", "-input=false"]).current_dir(folder).env("PATH", path());
    init.env("TF_CLI_CONFIG_FILE", folder.join("settings.tfrc"));
    let output = init.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(folder.join(".terraform.lock.hcl")).unwrap()
}

/// How often the tool warned of the code's constraint.
fn warned(w: &World) -> u32 {
    let of_it = |warning: &&Warning| warning.summary.contains("Version constraints");
    w.api.data().warnings.iter().filter(of_it).map(|warning| warning.count).sum()
}

/// Who runs execute as: as in a build, where it can be.
fn user() -> Option<Unprivileged> {
    let is_root = gantry_terraform::is_root("providers of a user of its own");
    is_root.then(|| Unprivileged::named("nobody").unwrap())
}

/// One run of the world on the one machine; what its init has said of the provider.
async fn init(w: &mut World, machine: &Path) -> String {
    let mut config = w.offer();
    config.work = machine.to_owned();
    config.user = user();
    let mirror = machine.with_file_name("mirror");
    config.confinement = Some(crate::support::confinement(machine).reading(mirror));
    gantry_runner::run(config).await.unwrap();
    let log = w.api.log();
    let of_provider = log.lines().filter(|line| line.contains("acme/fake v1.0.0"));
    of_provider.map(|line| format!("{line}\n")).collect()
}

on_each_tool! {
    async fn providers_are_installed_once_for_a_lock_file_and_again_where_they_were_changed(tool) {
        let open = fs::Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new().permissions(open).tempdir().unwrap();
        let settings = make_mirror(folder.path());
        let lock = lock_file(tool, folder.path(), &settings);
        let files = [("infra/main.tf", CODE), ("infra/.terraform.lock.hcl", lock.as_str())];
        let mut w = World::on(tool, &files).await;
        w.claim.hooks.before_init = vec![format!("printf '%s' '{settings}' > $HOME/.terraformrc")];
        let machine = folder.path().join("machine");
        let said = init(&mut w, &machine).await;
        assert!(said.contains("- Installing"), "{said}{}", w.api.log());
        let usual = warned(&w);
        assert!(usual > 0, "{:?}", w.api.data().warnings);
        for _ in 0..2 {
            let said = init(&mut w, &machine).await;
            assert!(said.contains("previously-installed") && !said.contains("Installing"), "{said}");
        }

        // What a run has changed there, or laid beside it, is not taken: nothing of it is left.
        let kept = || fs::read_dir(machine.join("providers")).unwrap().map(|e| e.unwrap().path());
        let package = || {
            let package = kept().next().unwrap().join("providers/example.com/acme/fake/1.0.0");
            let entries = fs::read_dir(package).unwrap().map(|entry| entry.unwrap().path());
            // OpenTofu leaves a lock's file beside it.
            entries.into_iter().find(|entry| entry.is_dir()).unwrap()
        };
        for name in ["terraform-provider-fake_v1.0.0", "terraform-provider-fake"] {
            let file = package().join(name);
            fs::write(&file, "something else").unwrap();
            if let Some(Unprivileged { uid, gid }) = user() {
                std::os::unix::fs::lchown(file, Some(uid), Some(gid)).unwrap();
            }
            let said = init(&mut w, &machine).await;
            assert_eq!(said.matches("- Installing").count(), 2, "{said}");
            assert!(w.api.log().contains("trying again without the providers"), "{}", w.api.log());
            assert_eq!(warned(&w), usual, "what an init that is done again has said counts once");
            let files: Vec<_> = fs::read_dir(package()).unwrap().map(|e| e.unwrap().path()).collect();
            assert_eq!(files, [package().join("terraform-provider-fake_v1.0.0")]);
            assert_eq!(fs::read(&files[0]).unwrap(), b"", "as it should be");
        }
        let said = init(&mut w, &machine).await;
        assert!(said.contains("previously-installed") && !said.contains("Installing"), "{said}");
        assert_eq!(kept().count(), 1);

        // Another lock file is another matter, and one that is not complete says nothing for sure.
        let (before, rest) = lock.split_once("  hashes").unwrap();
        let other = format!("{before}{}", rest.split_once("]\n").unwrap().1);
        let files = [("infra/main.tf", CODE), ("infra/.terraform.lock.hcl", other.as_str())];
        let mut w = World::on(tool, &files).await;
        w.claim.hooks.before_init = vec![format!("printf '%s' '{settings}' > $HOME/.terraformrc")];
        let said = init(&mut w, &machine).await;
        assert!(said.contains("- Installing"), "{}", w.api.log());
        assert!(w.api.log().contains("providers lock -platform="), "{}", w.api.log());
        assert_eq!(kept().count(), 1);
    }
}
