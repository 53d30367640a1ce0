//! The working folder, sent as a preview.

use crate::support::{Gantry, KEY, Script, Terminal};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// A folder with the root of the example's stack.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("live")).unwrap();
    fs::write(folder.path().join("live/main.tf"), "# mine").unwrap();
    folder
}

fn looks() -> Vec<Value> {
    let uploaded = |state: &str| json!({ "state": state, "type": "proposed", "source": "upload", "uploaded_by": "ada" });
    vec![uploaded("planning"), uploaded("planning"), uploaded("finished")]
}

async fn gantry() -> Gantry {
    let log = vec![(0, "init\n"), (1, "plan: 1 to add\n")];
    Gantry::start(Script { looks: looks(), log, ..Script::default() }).await
}

fn line(folder: &Path, more: &str) -> String {
    format!("gantry preview network --folder {}{more}", folder.display())
}

#[tokio::test]
async fn a_folder_is_sent_and_its_preview_followed_to_the_change() {
    let (gantry, folder) = (gantry().await, folder());
    let said = gantry.says(&line(folder.path(), "")).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.starts_with("Sending 1 file ("), "{said:?}");
    assert!(said.out.starts_with("init\nplan: 1 to add\nnetwork#6 is planned: "), "{said:?}");
    assert!(said.out.contains("aws_subnet.a"), "{said:?}");
    let posts = gantry.posts();
    gantry.change(|script| {
        let [archive] = &script.uploads[..] else { panic!("{:?}", script.uploads.len()) };
        let (_, _, asked) = script.seen.iter().find(|(line, ..)| line == &posts[0]).unwrap();
        assert_eq!(asked["size"], archive.len());
        let digest = asked["digest"].as_str().unwrap();
        let previews = "POST /api/v1/stacks/network/previews";
        assert_eq!(posts, [previews.to_owned(), format!("{previews}/{digest}/start")]);
        let put = format!("PUT /api/v1/stacks/network/previews/{digest}");
        assert!(script.seen.iter().any(|(line, ..)| *line == put), "{put}");
    });
}

#[tokio::test]
async fn a_signed_address_gets_the_folder_and_no_key() {
    let (gantry, storage, folder) = (gantry().await, gantry().await, folder());
    let at = format!("{}/signed-upload", storage.url);
    gantry.change(|script| script.upload_at = Some(at));
    let said = gantry.says(&line(folder.path(), " --no-follow")).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("network#6 was started: "), "{said:?}");
    gantry.change(|script| assert_eq!(script.uploads.len(), 0));
    storage.change(|script| assert_eq!((script.uploads.len(), script.seen.len()), (1, 1)));
}

#[tokio::test]
async fn the_run_is_printed_as_json_alone() {
    let (gantry, folder) = (gantry().await, folder());
    let said = gantry.says(&line(folder.path(), " --json")).await;
    let run: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &run["state"]), (0, &json!("finished")), "{said:?}");
    let said = gantry.says(&line(folder.path(), " --json --no-wait")).await;
    assert!(said.code == 0 && serde_json::from_str::<Value>(&said.out).is_ok(), "{said:?}");
}

#[tokio::test]
async fn a_refusal_is_told_with_its_next_step() {
    let (gantry, folder) = (gantry().await, folder());
    let why = "An admin can allow them in its settings.";
    gantry.change(|script| script.commands = vec![(409, json!({ "detail": why }))]);
    let said = gantry.says(&line(folder.path(), "")).await;
    assert_eq!(said.code, 1);
    assert!(said.err.ends_with(&format!("Could not preview network: {why}\n")), "{said:?}");
}

#[tokio::test]
async fn a_folder_without_the_stacks_root_is_not_sent() {
    let (gantry, empty) = (gantry().await, tempfile::tempdir().unwrap());
    let said = gantry.says(&line(empty.path(), "")).await;
    assert!(said.code == 2 && said.err.contains("network runs in live, which"), "{said:?}");
    assert!(gantry.posts().is_empty(), "{:?}", gantry.posts());
}

#[tokio::test]
async fn the_home_folder_is_not_sent() {
    let (gantry, home) = (gantry().await, folder());
    let (url, key) = (Some(gantry.url.clone()), Some(KEY.into()));
    let terminal = Terminal { url, key, home: Some(home.path()), ..Terminal::default() };
    for more in ["", " --yes", " --list"] {
        let said = terminal.says(&line(home.path(), more)).await;
        assert!(said.code == 2 && said.err.contains("it is your home folder"), "{said:?}");
        assert!(said.err.contains("--folder") && said.out.is_empty(), "{said:?}");
    }
    gantry.change(|script| assert!(script.seen.is_empty()));
}

#[tokio::test]
async fn what_may_hold_secrets_is_named_and_asked_about_where_somebody_is() {
    let folder = folder();
    fs::write(folder.path().join("live/prod.tfvars"), "").unwrap();
    fs::write(folder.path().join(".env"), "").unwrap();
    let warning = "These are sent too, and may hold secrets: .env, live/prod.tfvars. Exclude them \
                   by .terraformignore.\n";
    let question = format!("{warning}Send them? [y/N] ");
    let sending = "Sending 3 files (";
    // Nobody is there.
    let said = gantry().await.says(&line(folder.path(), "")).await;
    assert!(said.code == 0 && said.err.starts_with(&format!("{warning}{sending}")), "{said:?}");
    let said = gantry().await.says_to("no", &line(folder.path(), " --yes")).await;
    assert!(said.code == 0 && said.err.starts_with(&format!("{warning}{sending}")), "{said:?}");
    let said = gantry().await.says_to("y", &line(folder.path(), "")).await;
    assert!(said.code == 0 && said.err.starts_with(&format!("{question}{sending}")), "{said:?}");
    let gantry = gantry().await;
    let said = gantry.says_to("", &line(folder.path(), "")).await;
    assert_eq!((said.code, said.err), (1, format!("{question}Nothing was done.\n")));
    assert!(gantry.posts().is_empty(), "{:?}", gantry.posts());
}

#[tokio::test]
async fn what_would_be_sent_is_listed_and_not_sent() {
    let (gantry, folder) = (gantry().await, folder());
    fs::write(folder.path().join("live/prod.tfvars"), "").unwrap();
    fs::write(folder.path().join("live/terraform.tfstate"), "").unwrap();
    let said = gantry.says_to("no", &line(folder.path(), " --list")).await;
    assert_eq!((said.code, said.out.as_str()), (0, "live/main.tf\nlive/prod.tfvars\n"));
    assert_eq!(said.err, "");
    gantry.change(|script| assert!(script.seen.is_empty() && script.uploads.is_empty()));
}

#[tokio::test]
async fn what_was_uploaded_is_marked_in_lists_and_details() {
    let gantry = Gantry::with_run(&looks()[2..]).await;
    let said = gantry.says("gantry show network#6").await;
    let expected = "Code         Uploaded by ada, based on 4f1c2ab0 (not from a commit)\n";
    assert!(said.out.contains(expected) && !said.out.contains("Commit"), "{said:?}");
}
