//! Previews of what people upload: they run what was uploaded, and belong to no commit.

use flate2::{Compression, write::GzEncoder};
use gantry_scenarios::{Planned, StackOptions, World, story};
use serde_json::json;

fn archive(code: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(code.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "folder/infra/main.tf", code.as_bytes()).unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

fn allowed() -> StackOptions {
    StackOptions { fields: json!({"local_previews": true}) }
}

/// The newest run, which is of an upload.
async fn uploaded(w: &mut World, state: &str) -> String {
    let run = w.runs("network").await.remove(0);
    assert_eq!((&run["state"], &run["type"]), (&json!(state), &json!("proposed")), "{run}");
    let source = (&run["source"], &run["uploaded_by"]);
    assert_eq!(source, (&json!("upload"), &json!("first-admin-key")), "{run}");
    run["id"].as_str().unwrap().to_owned()
}

story!(an_uploaded_preview_runs_the_upload_and_gitlab_shows_nothing_of_it, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", allowed()).await;
    let commit = w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    w.expect_status(project, &commit, "gantry/network", "success: 1 to add");
    let of_commit = w.run_in("network", "finished").await;
    let note = w.note(project, iid);

    // Based on the merge request's own commit, and all the same not a run of it.
    w.plans("network", Planned::Adds(7));
    let (start, digest) = w.upload("network", &archive("# mine")).await;
    w.order(&start, json!({ "commit": commit })).await;
    w.settle().await;
    let run = uploaded(&mut w, "finished").await;
    assert_eq!(w.source_of(&run), Some(digest.as_str()));
    assert_ne!(w.source_of(&of_commit), Some(digest.as_str()));
    w.expect_status(project, &commit, "gantry/network", "success: 1 to add");
    assert_eq!(w.note(project, iid), note);

    let (done, said) = w.command(&format!("/runs/{run}/confirm"), json!({})).await;
    assert!(!done && said.contains("already ended"), "{said}");
    let (done, said) = w.command(&format!("/runs/{run}/retry"), json!({"force": true})).await;
    assert!(!done && said.contains("Upload the folder again"), "{said}");
    assert!(w.executed().iter().all(|phase| phase == "network plan"), "{:?}", w.executed());
    w
});

story!(
    an_upload_without_a_commit_is_based_on_the_branch_and_is_no_answer_for_it,
    |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", allowed()).await;
        let head = w.push(project, "main", "infra/main.tf", "# one").await;
        let deploy = w.run_in("network", "unconfirmed").await;
        w.order(&format!("/runs/{deploy}/discard"), json!({})).await;
        let (start, _) = w.upload("network", &archive("# mine")).await;
        w.order(&start, json!({})).await;
        w.settle().await;
        uploaded(&mut w, "finished").await;
        assert_eq!(w.runs("network").await[0]["commit"], json!(head));
        // The commit's own preview is still to be made.
        w.order("/stacks/network/runs", json!({"type": "proposed"})).await;
        w.settle().await;
        let run = w.runs("network").await.remove(0);
        assert_eq!((&run["source"], &run["state"]), (&json!("commit"), &json!("finished")));
        w.expect_status(project, &head, "gantry/network", "success");
        w
    }
);

story!(what_is_uploaded_does_not_run_once_that_is_forbidden, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", allowed()).await;
    let head = w.gitlab.head(project, "main").unwrap();
    // An apply that goes on: the preview waits for it.
    w.order("/stacks/network/runs", json!({})).await;
    let deploy = w.run_in("network", "unconfirmed").await;
    w.hold("network");
    w.order(&format!("/runs/{deploy}/confirm"), json!({})).await;
    w.settle().await;
    let (start, _) = w.upload("network", &archive("# mine")).await;
    w.order(&start, json!({ "commit": head })).await;
    uploaded(&mut w, "queued").await;
    let forbidden = json!({"local_previews": false});
    let (status, said) = w.api(reqwest::Method::PUT, "/stacks/network", Some(forbidden)).await;
    assert!(status.is_success(), "{said}");
    w.release("network");
    w.settle().await;
    uploaded(&mut w, "canceled").await;
    assert!(w.executed().iter().filter(|phase| *phase == "network plan").count() < 2);
    let (done, said) = w.command(&start, json!({ "commit": head })).await;
    assert!(!done && said.contains("Allow previews of uploaded code"), "{said}");
    w
});
