//! Who gets a run: the build that was started for it, and nobody who has read how it was started.

use crate::world::{World, eventually};
use gantry_aws::codebuild::commands;
use reqwest::Method;
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_proves_its_role_and_is_made_once() {
    let world = World::new("claims").await;
    let codebuild = &world.cloud.codebuild;
    // No build comes to anything by itself.
    codebuild.set_waiting(true);
    world.push("topic", "preview");
    eventually("a build", async || (codebuild.builds().len() == 1).then_some(())).await;
    let commit = world.push("main", "tracked");
    eventually("a second build", async || (codebuild.builds().len() == 2).then_some(())).await;
    let builds = codebuild.builds();
    let (preview, tracked) = (&builds[0], &builds[1]);
    assert_ne!(preview.role, tracked.role);
    let refused = || {
        let log = fs::read_to_string(world.cloud.lambda.log("RunnerApi")).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["security"] == true).count()
    };

    let said = codebuild.execute(&tracked.id, &preview.id).await.unwrap();
    assert!(said.contains("role"), "{said}");
    assert_eq!(refused(), 1);
    let waits = async || world.status(&commit).filter(|told| told.status == "pending").map(drop);
    eventually("that it still waits for its runner", waits).await;

    let said = codebuild.execute(&tracked.id, &tracked.id).await.unwrap();
    assert!(said.contains("claimed a phase"), "{said}");
    eventually("the plan", async || {
        let runs = world.api(Method::GET, "/stacks/network/runs", Value::Null).await;
        let mut runs = runs["runs"].as_array().unwrap().iter();
        runs.any(|run| run["state"] == "unconfirmed").then_some(())
    })
    .await;

    let said = codebuild.execute(&tracked.id, &tracked.id).await.unwrap();
    assert!(!said.contains("claimed a phase"), "{said}");
    assert_eq!(refused(), 2);
    let metrics = world.cloud.lambda.metrics().unwrap();
    assert_eq!(metrics.get("ClaimsRefused"), Some(&2.0));
}

/// The commands with which a build fetches its program, with the real ones of this machine but for
/// AWS's own.
#[test]
fn a_build_executes_only_the_program_that_was_deployed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("gantry-runner"), "#!/bin/sh\necho it runs\n").unwrap();
    fs::set_permissions(path("gantry-runner"), fs::Permissions::from_mode(0o755)).unwrap();
    let zip = "import sys, zipfile\n\
               with zipfile.ZipFile(sys.argv[2], 'w') as z: z.write(sys.argv[1], 'gantry-runner')";
    let zipped = Command::new("python3")
        .args(["-c", zip])
        .args([path("gantry-runner"), path("good.zip")])
        .status();
    assert!(zipped.unwrap().success());
    fs::write(path("other.zip"), "something else").unwrap();
    let sha = Command::new("sh")
        .args(["-c", "openssl dgst -sha256 -binary good.zip | base64"])
        .current_dir(&folder)
        .output();
    let sha = String::from_utf8(sha.unwrap().stdout).unwrap();
    let install = commands(&crate::template::buildspec(), "install").unwrap();
    let install = install
        .replace("/tmp/", &format!("{}/", folder.path().display()))
        .replace("/opt/gantry", &path("opt").display().to_string());
    let fetch = |name: &str| {
        let _gone = fs::remove_dir_all(path("opt"));
        let address = format!("file://{}", path(name).display());
        let aws = format!("#!/bin/sh\nprintf '%s\\t%s\\n' '{address}' '{}'\n", sha.trim());
        fs::write(path("aws"), aws).unwrap();
        fs::set_permissions(path("aws"), fs::Permissions::from_mode(0o755)).unwrap();
        let search = gantry_terraform::path();
        Command::new("sh")
            .args(["-e", "-c", &install])
            .env("PATH", format!("{}:{search}", folder.path().display()))
            .env("GANTRY_RUNNER_LAYER", "arn:aws:lambda:eu-west-1:123456789012:layer:gantry:1")
            .status()
            .unwrap()
            .success()
    };
    assert!(fetch("good.zip"));
    let runs = Command::new(path("opt/gantry-runner")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&runs.stdout), "it runs\n");
    assert!(!fetch("other.zip"), "its digest is another one");
    assert!(!path("opt").exists());
}
