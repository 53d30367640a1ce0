//! Projects that get another path.

use gantry_fake_gitlab::ProjectId;
use gantry_scenarios::{StackOptions, World, story};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// What the API says of a stack: its project, and where its newest run links to.
async fn shown(w: &mut World, slug: &str) -> (Value, String) {
    let (status, stack) = w.api(Method::GET, &format!("/stacks/{slug}"), None).await;
    assert_eq!(status, StatusCode::OK, "{stack}");
    let run = w.runs(slug).await[0]["id"].as_str().unwrap().to_owned();
    let (status, run) = w.api(Method::GET, &format!("/runs/{run}"), None).await;
    assert_eq!(status, StatusCode::OK, "{run}");
    let link = run["links"]["commit"].as_str().unwrap().to_owned();
    (stack["project"].clone(), link.rsplit_once("/-/").unwrap().0.to_owned())
}

/// The slugs of the stacks that a search finds.
async fn found(w: &mut World, search: &str) -> Vec<String> {
    let (status, answer) = w.api(Method::GET, &format!("/stacks?search={search}"), None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let stacks = answer["stacks"].as_array().unwrap();
    stacks.iter().map(|stack| stack["slug"].as_str().unwrap().to_owned()).collect()
}

fn link(w: &World, project: ProjectId) -> String {
    format!("{}/{}", w.gitlab.base_url(), w.gitlab.project_path(project))
}

story!(
    a_renamed_project_has_its_new_path_and_its_old_one_is_another_projects,
    |mut w| async move {
        let project = w.plain_project("acme/network");
        w.stack(project, "network", "infra", StackOptions::default()).await;
        w.push(project, "change", "infra/main.tf", "# one").await;
        let iid = w.open(project, "change").await;
        w.gitlab.move_project(project, "core/web").unwrap();
        let taken = w.plain_project("acme/network");
        w.stack(taken, "taken", "infra", StackOptions::default()).await;
        w.push(taken, "change", "infra/main.tf", "# one").await;
        let commit = w.push(project, "change", "infra/main.tf", "# two").await;

        let (path, page) = shown(&mut w, "network").await;
        assert_eq!((path, page), (json!("core/web"), link(&w, project)), "{}", w.history());
        let (path, page) = shown(&mut w, "taken").await;
        assert_eq!((path, page), (json!("acme/network"), link(&w, taken)));
        assert!(w.note(project, iid).contains(&commit[..8]), "{}", w.note(project, iid));
        assert_eq!(found(&mut w, "core").await, ["network"]);
        // Who looks for the old path finds both, until the stack is saved.
        assert_eq!(found(&mut w, "acme").await, ["network", "taken"]);

        // What is saved now means the project that has the path now.
        let body = json!({ "project": "core/web", "labels": ["moved"] });
        let (status, answer) = w.api(Method::PUT, "/stacks/network", Some(body)).await;
        assert_eq!((status, &answer["project_id"]), (StatusCode::OK, &json!(project.0)));
        w.settle().await;
        assert_eq!(found(&mut w, "acme").await, ["taken"]);

        // And back, where only comparing finds it.
        w.gitlab.move_project(taken, "acme/other").unwrap();
        w.gitlab.move_project(project, "acme/network").unwrap();
        // A comparison that gets lost is begun anew.
        w.pass(std::time::Duration::from_secs(1_320)).await;
        for (slug, project) in [("network", project), ("taken", taken)] {
            let (path, page) = shown(&mut w, slug).await;
            let now = w.gitlab.project_path(project);
            assert_eq!((path, page), (json!(now), link(&w, project)), "{slug}");
        }
        w
    }
);
