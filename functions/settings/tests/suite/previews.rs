//! Previews of what somebody uploads: who may, what is taken, and how the run is shown.

use crate::{
    browser::Browser,
    support::{COMMIT, Got, World, connected},
};
use flate2::{Compression, write::GzEncoder};
use gantry_domain::run::{Run, RunState, RunType, Uploaded};
use gantry_objects::keys as objects;
use gantry_queue::{Command, Message, StackMessage};
use gantry_store::{config::UploadUse, keys, scheduler::CommandOutcome};
use jiff::SignedDuration;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    time::Duration,
};

const PREVIEWS: &str = "/api/v1/stacks/network/previews";

/// A world with a stack that allows it.
async fn allowing() -> World {
    let w = connected().await;
    w.stack().await;
    allow(&w, true).await;
    w
}

async fn allow(w: &World, is_allowed: bool) {
    let body = json!({ "local_previews": is_allowed });
    w.send("PUT", "/api/v1/stacks/network", body).await.expect(200);
    w.sent();
}

/// An archive with one entry, whatever it is named.
fn archive(name: &str, kind: tar::EntryType, link: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    // As it is: the crate itself would refuse some of them.
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    archive.append(&header, std::io::empty()).unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

fn good() -> Vec<u8> {
    archive("folder/main.tf", tar::EntryType::Regular, "")
}

fn digest(archive: &[u8]) -> String {
    Sha256::digest(archive).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn put(w: &World, digest: &str, archive: &[u8]) -> Got {
    let path = format!("{PREVIEWS}/{digest}");
    w.ask("PUT", &path, Some(&w.admin), &[], archive.to_vec()).await
}

/// Where storage signs addresses, nothing looks at what is uploaded.
async fn store(w: &World, archive: &[u8]) {
    let stack = w.stored_stack("network").await;
    let key = objects::upload(&stack.id, digest(archive));
    w.objects.put(&key, archive.to_vec().into()).await.unwrap();
}

/// An object of so many bytes, which take no room.
fn make_file(w: &World, key: &str, size: u64) {
    let path = w.folder.path().join("objects").join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap().set_len(size).unwrap();
    set_age(w, key, 0);
}

/// An object was written so many minutes ago.
fn set_age(w: &World, key: &str, minutes: i64) {
    let path = w.folder.path().join("objects").join(key);
    let at = w.clock.now() - SignedDuration::from_mins(minutes);
    File::options().write(true).open(path).unwrap().set_modified(at.into()).unwrap();
}

async fn start(w: &World, digest: &str) -> Got {
    let body = json!({ "commit": COMMIT });
    w.post(&format!("{PREVIEWS}/{digest}/start"), body).await
}

#[tokio::test]
async fn a_stack_that_does_not_allow_it_takes_nothing_and_says_who_can() {
    let w = connected().await;
    w.stack().await;
    w.sent();
    let digest = digest(&good());
    let asked = json!({ "digest": digest, "size": good().len() });
    for got in [
        w.post(PREVIEWS, asked.clone()).await,
        put(&w, &digest, &good()).await,
        start(&w, &digest).await,
    ] {
        let got = got.expect(409);
        assert!(got.detail().contains("Allow previews of uploaded code"), "{}", got.text);
    }
    // Also what was uploaded while it was allowed.
    allow(&w, true).await;
    put(&w, &digest, &good()).await.expect(204);
    allow(&w, false).await;
    start(&w, &digest).await.expect(409);
    assert!(w.sent().is_empty());
    assert!(w.post("/api/v1/stacks/nothing/previews", asked).await.expect(404).text.len() > 9);
}

#[tokio::test]
async fn whoever_may_only_read_uploads_and_starts_nothing() {
    let w = allowing().await;
    let reader = w.key("read").await;
    w.sent();
    let digest = digest(&good());
    for (method, path) in [
        ("POST", PREVIEWS.to_owned()),
        ("PUT", format!("{PREVIEWS}/{digest}")),
        ("POST", format!("{PREVIEWS}/{digest}/start")),
    ] {
        w.ask(method, &path, Some(&reader), &[], good()).await.expect(403);
    }
    assert!(w.sent().is_empty());
    start(&w, &digest).await.expect(409);
}

#[tokio::test]
async fn an_uploaded_preview_is_one_command_however_often_it_is_asked_for() {
    let w = allowing().await;
    let (archive, admin) = (good(), w.admin.clone());
    let digest = digest(&archive);
    let asked = json!({ "digest": digest, "size": archive.len() });
    let place = w.post(PREVIEWS, asked).await.expect(200);
    // A folder signs no addresses.
    assert_eq!(place.body, json!({ "url": null, "headers": {} }));
    put(&w, &digest, &archive).await.expect(204);
    put(&w, &digest, &archive).await.expect(204);
    let path = format!("{PREVIEWS}/{digest}/start");
    let body = json!({ "commit": COMMIT }).to_string();
    let ask = || w.ask("POST", &path, Some(&admin), &[("idempotency-key", "mine")], body.clone());
    ask().await.expect(202);
    let sent = w.sent();
    let [Message::Stack(StackMessage::Command { stack, request, actor, command, .. })] = &sent[..]
    else {
        panic!("{sent:?}")
    };
    assert_eq!(actor, "first-admin-key");
    let commit = Some(COMMIT.parse().unwrap());
    assert_eq!(*command, Command::Preview { digest: digest.clone(), commit });
    let known = CommandOutcome {
        actor: actor.clone(),
        done: true,
        message: "Queued".to_owned(),
        run: None,
        at: w.clock.now(),
    };
    w.put(keys::command(stack, request), &known).await;
    assert_eq!(ask().await.expect(200).body["message"], "Queued");
    assert!(w.sent().is_empty());
}

#[tokio::test]
async fn what_no_runner_should_unpack_starts_nothing() {
    let w = allowing().await;
    let link = |to: &str| archive("folder/a", tar::EntryType::Symlink, to);
    let file = |name: &str| archive(name, tar::EntryType::Regular, "");
    for (bad, why) in [
        (b"not an archive".to_vec(), "damaged, or not a tar.gz file"),
        (good()[..20].to_vec(), "damaged, or not a tar.gz file"),
        (file("/etc/passwd"), "outside of it"),
        (file("folder/../../x"), "outside of it"),
        (link("/etc/passwd"), "a link that leads outside of it"),
        (link("../x"), "a link that leads outside of it"),
        (archive("folder/a", tar::EntryType::Fifo, ""), "neither a file, a folder nor a link"),
        (file("folder/.git/config"), "part of .git"),
    ] {
        let digest = digest(&bad);
        let got = put(&w, &digest, &bad).await.expect(422);
        assert!(got.detail().contains(why), "{}", got.text);
        start(&w, &digest).await.expect(409);
        store(&w, &bad).await;
        let got = start(&w, &digest).await.expect(422);
        assert!(got.detail().contains(why), "{}", got.text);
    }
    // What the archive holds is told to nobody else.
    let done = w.activities().await;
    let refused = "refused: The archive cannot be used";
    assert!(done.iter().any(|done| done.2.starts_with(refused)), "{done:?}");
    assert!(!done.iter().any(|done| done.2.contains("passwd")), "{done:?}");
    // What was not uploaded, and what is another than its name says.
    let got = start(&w, &digest(&good())).await.expect(409);
    assert!(got.detail().contains("Upload it again"), "{}", got.text);
    put(&w, &digest(b"other"), &good()).await.expect(422);
    start(&w, &digest(b"other")).await.expect(409);
    put(&w, "short", &good()).await.expect(404);
    assert!(w.sent().is_empty());
    let inside = archive("folder/a", tar::EntryType::Symlink, "b");
    put(&w, &digest(&inside), &inside).await.expect(204);
    start(&w, &digest(&inside)).await.expect(202);
}

#[tokio::test]
async fn a_path_that_is_refused_is_shown_in_part_and_as_it_is() {
    let w = allowing().await;
    let path = format!("../\u{202e}{}", "x".repeat(1_000));
    let mut name = tar::Header::new_gnu();
    name.set_entry_type(tar::EntryType::GNULongName);
    name.set_size(path.len() as u64);
    name.set_cksum();
    let mut file = tar::Header::new_gnu();
    file.set_size(0);
    file.set_mode(0o644);
    file.set_cksum();
    let mut bad = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    bad.append(&name, path.as_bytes()).unwrap();
    bad.append(&file, std::io::empty()).unwrap();
    let bad = bad.into_inner().unwrap().finish().unwrap();
    let got = put(&w, &digest(&bad), &bad).await.expect(422);
    assert!(got.detail().starts_with("It contains \"../\\u202exxx"), "{}", got.text);
    assert!(got.detail().ends_with("x…\", which is outside of it."), "{}", got.text);
    assert!(got.detail().chars().count() < 250, "{}", got.text);
}

#[tokio::test]
async fn a_folder_that_is_too_large_is_refused_with_what_to_do() {
    let w = allowing().await;
    let asked = json!({ "digest": digest(b"x"), "size": 50_000_001 });
    let got = w.post(PREVIEWS, asked).await.expect(413);
    assert_eq!(
        got.detail(),
        "The packed folder is 50.1 MB; at most 50 MB can be uploaded. Exclude files with \
         .terraformignore."
    );
    put(&w, &digest(b"x"), &vec![0; 50_000_001]).await.expect(413);
    // Much, packed well.
    let mut zeros = GzEncoder::new(Vec::new(), Compression::fast());
    let mut header = tar::Header::new_gnu();
    header.set_path("folder/zeros").unwrap();
    header.set_size(300_000_000);
    header.set_mode(0o644);
    header.set_cksum();
    std::io::Write::write_all(&mut zeros, header.as_bytes()).unwrap();
    let zeros = zeros.finish().unwrap();
    put(&w, &digest(&zeros), &zeros).await.expect(422);
    store(&w, &zeros).await;
    let got = start(&w, &digest(&zeros)).await.expect(422);
    assert!(got.detail().contains("at most 250 MB"), "{}", got.text);
    // What storage took that looks at nothing.
    let stack = w.stored_stack("network").await;
    let key = objects::upload(&stack.id, digest(b"y"));
    make_file(&w, &key, 50_000_001);
    start(&w, &digest(b"y")).await.expect(413);
    assert!(!w.objects.exists(&key).await.unwrap());
    let got = w.post(PREVIEWS, json!({ "digest": "X", "size": -1 })).await.expect(422);
    assert!(got.error("digest").contains("SHA-256") && got.error("size").len() > 5, "{}", got.text);
}

#[tokio::test]
async fn a_run_of_uploaded_code_says_so_everywhere_and_cannot_be_repeated() {
    let w = allowing().await;
    let stack = w.stored_stack("network").await;
    let run = w.run(&stack, "a", RunState::Finished).await;
    let upload = Uploaded { digest: digest(&good()), by: "ada <i>".to_owned() };
    let run = Run { run_type: RunType::Proposed, upload: Some(upload), ..run };
    w.save_run(&run).await;
    let path = format!("/api/v1/runs/{}", run.id);
    let shown = w.get(&path).await.expect(200).body;
    assert_eq!((&shown["source"], &shown["uploaded_by"]), (&json!("upload"), &json!("ada <i>")));
    assert_eq!((&shown["actions"], &shown["links"]["commit"]), (&json!([]), &json!(null)));
    let listed = w.get("/api/v1/stacks/network/runs").await.expect(200).body;
    assert_eq!(listed["runs"][0]["source"], "upload");
    let got = w.post(&format!("{path}/retry"), json!({ "force": true })).await.expect(409);
    assert!(got.detail().contains("Upload the folder again"), "{}", got.text);

    let browser = Browser::sign_in(&w, &w.admin).await;
    let words = format!("based on {}", &COMMIT[..8]);
    for page in [format!("/runs/{}", run.id), "/stacks/network".to_owned()] {
        let text = browser.get(&page).await.expect(200).text;
        let (_, said) = text.split_once("Uploaded by ada ").expect(&page);
        assert!(said.contains(&words) && !said.starts_with("<i>"), "{text}");
        assert!(!text.contains(&format!("/-/commit/{COMMIT}")), "{text}");
    }
    let text = browser.get(&format!("/runs/{}", run.id)).await.text;
    assert!(text.contains("not from a commit") && !text.contains("Plan again"), "{text}");
    // A run of a commit has none of it.
    let plain = w.run(&stack, "b", RunState::Finished).await;
    let text = browser.get(&format!("/runs/{}", plain.id)).await.expect(200).text;
    assert!(!text.contains("Uploaded by") && !text.contains("not from a commit"), "{text}");
    let shown = w.get(&format!("/api/v1/runs/{}", plain.id)).await.expect(200).body;
    assert_eq!((&shown["source"], &shown["uploaded_by"]), (&json!("commit"), &json!(null)));
}

#[tokio::test]
async fn the_form_allows_it_and_forbids_it_again() {
    let w = connected().await;
    w.stack().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let box_of = |text: &str| {
        let (_, rest) = text.split_once("name=\"local_previews\"").unwrap();
        rest.split('>').next().unwrap().contains("checked")
    };
    let text = browser.get("/stacks/network/edit").await.expect(200).text;
    assert!(!box_of(&text) && text.contains("Allow previews of uploaded code"), "{text}");
    allow(&w, true).await;
    assert!(box_of(&browser.get("/stacks/network/edit").await.expect(200).text));
}

#[tokio::test]
async fn an_archive_that_no_preview_needs_is_removed_when_the_next_comes() {
    let w = allowing().await;
    let stack = w.stored_stack("network").await;
    let key = |name: &str| objects::upload(&stack.id, name);
    let kept = async || -> Vec<String> {
        let keys = w.objects.list(objects::UPLOADS).await.unwrap();
        let names = ["ended", "open", "both", "again", "new", "old"].into_iter();
        names.filter(|name| keys.contains(&key(name))).map(str::to_owned).collect()
    };
    let preview = async |name: &str, state: RunState| {
        let run = w.run(&stack, &format!("{name} {state}"), state).await;
        let upload = Some(Uploaded { digest: name.to_owned(), by: "ada".to_owned() });
        w.save_run(&Run { run_type: RunType::Proposed, upload, ..run }).await;
    };
    for (name, minutes) in
        [("ended", 20), ("open", 20), ("both", 20), ("again", 20), ("new", 20), ("old", 40)]
    {
        make_file(&w, &key(name), 1_000);
        set_age(&w, &key(name), minutes);
    }
    for (name, state) in [
        ("ended", RunState::Finished),
        ("open", RunState::Queued),
        ("both", RunState::Planning),
        ("both", RunState::Stopped),
        ("again", RunState::Failed),
    ] {
        preview(name, state).await;
    }
    // Uploaded once more, so that its next preview may be started soon.
    set_age(&w, &key("again"), 0);
    put(&w, &digest(&good()), &good()).await.expect(204);
    assert_eq!(kept().await, ["open", "both", "again", "new"]);

    w.hand.advance(Duration::from_secs(40 * 60));
    let asked = json!({ "digest": digest(&good()), "size": 1 });
    w.post(PREVIEWS, asked).await.expect(200);
    assert_eq!(kept().await, ["open", "both"], "only what a preview executes or will");
}

/// The scheduler has not come to the command yet, so that no run needs the archive.
#[tokio::test]
async fn an_archive_stays_while_a_preview_is_started_with_it() {
    let w = allowing().await;
    let stack = w.stored_stack("network").await;
    let key = objects::upload(&stack.id, digest(&good()));
    put(&w, &digest(&good()), &good()).await.expect(204);
    set_age(&w, &key, 29);
    start(&w, &digest(&good())).await.expect(202);
    w.hand.advance(Duration::from_secs(2 * 60));
    let other = archive("folder/other.tf", tar::EntryType::Regular, "");
    put(&w, &digest(&other), &other).await.expect(204);
    assert!(w.objects.exists(&key).await.unwrap());
    // Nothing came of it.
    w.hand.advance(Duration::from_secs(30 * 60));
    put(&w, &digest(&other), &other).await.expect(204);
    assert!(!w.objects.exists(&key).await.unwrap());
    let used = w.store.get::<UploadUse>(&keys::upload_use(&stack.id, &digest(&good()))).await;
    assert_eq!(used.unwrap(), None, "the removal is over");
}

#[tokio::test]
async fn nothing_is_started_with_an_archive_that_is_being_removed() {
    let w = allowing().await;
    let stack = w.stored_stack("network").await;
    put(&w, &digest(&good()), &good()).await.expect(204);
    w.sent();
    let removes = UploadUse { at: w.clock.now(), is_removed: true };
    w.put(keys::upload_use(&stack.id, &digest(&good())), &removes).await;
    let got = start(&w, &digest(&good())).await.expect(409);
    assert!(got.detail().contains("being removed") && got.detail().contains("Upload it again"));
    assert!(w.sent().is_empty());
    // Whoever removed it has not come to it.
    w.hand.advance(Duration::from_secs(60));
    start(&w, &digest(&good())).await.expect(202);
}

#[tokio::test]
async fn more_uploads_than_are_kept_are_refused_with_what_to_do() {
    let w = allowing().await;
    let stack = w.stored_stack("network").await;
    let names: Vec<String> = (0..50).map(|number| format!("{number:064x}")).collect();
    for name in &names {
        make_file(&w, &objects::upload(&stack.id, name), 2_000_000);
    }
    let ask = async |digest: &str, size: u64| {
        w.post(PREVIEWS, json!({ "digest": digest, "size": size })).await
    };
    let mine = digest(&good());
    let got = ask(&mine, 12_000_000).await.expect(409);
    assert_eq!(
        got.detail(),
        "50 uploads for the stack network (100.0 MB) are still needed for previews. At most 50 \
         with 1 GB together are kept, and this one has 12.0 MB. Wait until one of these previews \
         has ended, or stop one. An upload without a preview is removed after 30 minutes."
    );
    put(&w, &mine, &good()).await.expect(409);
    // What is there already takes no more room.
    ask(&names[7], 12_000_000).await.expect(200);
    w.hand.advance(Duration::from_secs(30 * 60));
    ask(&mine, 12_000_000).await.expect(200);
    assert!(w.objects.list(objects::UPLOADS).await.unwrap().is_empty());

    // By their size.
    for name in &names[..20] {
        make_file(&w, &objects::upload(&stack.id, name), 50_000_000);
    }
    let got = ask(&mine, 1).await.expect(409);
    assert!(
        got.detail().starts_with("20 uploads for the stack network (1000.0 MB)"),
        "{}",
        got.text
    );
    w.objects.delete(&objects::upload(&stack.id, &names[0])).await.unwrap();
    ask(&mine, 50_000_000).await.expect(200);
}

#[tokio::test]
async fn the_uploads_of_all_stacks_together_have_a_limit() {
    let w = allowing().await;
    for stack in 0..5 {
        for number in 0..20 {
            let key = objects::upload(format!("other-{stack}"), format!("{number:064x}"));
            make_file(&w, &key, 50_000_000);
        }
    }
    let asked = json!({ "digest": digest(&good()), "size": 1 });
    let got = w.post(PREVIEWS, asked.clone()).await.expect(409);
    assert!(got.detail().starts_with("100 uploads for all stacks (5000.0 MB)"), "{}", got.text);
    // As much is removed as there must be room.
    w.hand.advance(Duration::from_secs(30 * 60));
    w.post(PREVIEWS, asked).await.expect(200);
    assert_eq!(w.objects.list(objects::UPLOADS).await.unwrap().len(), 80);
}
