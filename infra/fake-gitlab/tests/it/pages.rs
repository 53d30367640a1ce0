//! The pages for people, without a browser.

use crate::support::{World, world};
use gantry_fake_gitlab::MergeRequestSpec;

async fn page(w: &World, path: &str, form: Option<&[(&str, &str)]>) -> (u16, String, String) {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    let url = format!("{}{path}", w.gitlab.base_url());
    let request = match form {
        None => client.get(url),
        Some(form) => client.post(url).form(form),
    };
    let response = request.send().await.unwrap();
    let place = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), place.unwrap_or_default(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_merge_request_is_opened_read_and_merged() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    let sha = ada.push(w.project, "topic/1", "net/a.tf", "<b>\n").unwrap();
    let (status, _, text) = page(&w, "/", None).await;
    assert!(status == 200 && text.contains("acme/network"));
    let (_, _, text) = page(&w, "/acme/network", None).await;
    assert!(text.contains("merge_request%5Bsource_branch%5D=topic%2F1"), "{text}");
    let new = "/acme/network/-/merge_requests/new?merge_request%5Bsource_branch%5D=topic%2F1";
    let (_, _, text) = page(&w, new, None).await;
    assert!(text.contains("<option selected>topic/1</option>"), "{text}");
    let form = [("source_branch", "topic/1"), ("target_branch", "main"), ("title", "A <i>")];
    let (status, place, _) = page(&w, "/acme/network/-/merge_requests", Some(&form)).await;
    assert_eq!(status, 303);
    assert!(place.ends_with("/acme/network/-/merge_requests/1"));
    let one = "/acme/network/-/merge_requests/1";
    let body = [("body", "<!-- x -->\n| a |\n|---|\n| 1 |")];
    page(&w, &format!("{one}/comment"), Some(&body)).await;
    let (_, _, text) = page(&w, one, None).await;
    assert!(
        text.contains("A &lt;i&gt;") && text.contains("<td>1</td>") && !text.contains("<!-- x")
    );
    assert!(text.contains("&lt;b&gt;") && text.contains(&sha));
    let (status, _, _) = page(&w, &format!("{one}/merge"), Some(&[])).await;
    assert_eq!(status, 303);
    assert_eq!(
        w.gitlab.mr(w.project, gantry_fake_gitlab::MergeRequestIid(1)).unwrap().state,
        "merged"
    );
    let (status, _, text) = page(&w, &format!("{one}/merge"), Some(&[])).await;
    assert!(status == 422 && text.contains("GitLab refused: 405"), "{text}");
    for path in [
        format!("/acme/network/-/commit/{sha}"),
        format!("/acme/network/-/commit/{}", &sha[..8]),
        "/acme/network/-/tree/topic/1".into(),
    ] {
        assert_eq!(page(&w, &path, None).await.0, 200, "{path}");
    }
    assert_eq!(page(&w, "/acme/none", None).await.0, 404);
}

#[tokio::test]
async fn a_refused_form_says_why() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "topic", "a.tf", "1").unwrap();
    ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let form = [("source_branch", "topic"), ("target_branch", "main"), ("title", "Again")];
    let (status, _, text) = page(&w, "/acme/network/-/merge_requests", Some(&form)).await;
    assert_eq!(status, 422);
    assert!(text.contains("Another open merge request already exists"), "{text}");
}

#[tokio::test]
async fn replies_stand_below_what_they_reply_to() {
    let w = world().await;
    let ada = w.gitlab.person("ada");
    ada.push(w.project, "topic", "a.tf", "1").unwrap();
    let iid = ada.open_merge_request(w.project, MergeRequestSpec::from("topic")).unwrap();
    let first = ada.comment(w.project, iid, "First").unwrap().unwrap();
    ada.comment(w.project, iid, "Second").unwrap();
    ada.react(w.project, iid, first, "eyes").unwrap();
    let discussion = w.gitlab.notes(w.project, iid)[0].discussion.clone();
    let one = format!("/acme/network/-/merge_requests/{iid}");
    let form = [("body", "Reply"), ("discussion", discussion.as_str())];
    assert_eq!(page(&w, &format!("{one}/comment"), Some(&form)).await.0, 303);
    let (_, _, text) = page(&w, &one, None).await;
    let at = |word: &str| text.find(&format!("<p>{word}</p>")).unwrap();
    assert!(at("First") < at("Reply") && at("Reply") < at("Second"), "{text}");
    assert!(text.contains(":eyes:") && text.contains("Resolve thread"), "{text}");
    let form = [("discussion", discussion.as_str())];
    assert_eq!(page(&w, &format!("{one}/resolve"), Some(&form)).await.0, 303);
    let (_, _, text) = page(&w, &one, None).await;
    assert!(text.contains("resolved by Root"), "{text}");
}

#[tokio::test]
async fn issues_are_opened_closed_moved_and_deleted() {
    let w = world().await;
    w.gitlab.create_project("acme/other", gantry_fake_gitlab::ProjectOptions::default()).unwrap();
    let all = "/acme/network/-/issues";
    let (status, place, _) =
        page(&w, all, Some(&[("title", "A <i>"), ("description", "**x**")])).await;
    assert!(status == 303 && place.ends_with("/acme/network/-/issues/1"), "{place}");
    assert_eq!(page(&w, all, Some(&[("title", "")])).await.0, 422);
    let (_, _, text) = page(&w, all, None).await;
    assert!(text.contains("A &lt;i&gt;"), "{text}");
    let (_, _, text) = page(&w, &format!("{all}/1"), None).await;
    assert!(text.contains("<strong>x</strong>") && text.contains("Close issue"), "{text}");
    for (action, state) in [("close", "closed"), ("reopen", "opened")] {
        assert_eq!(page(&w, &format!("{all}/1/{action}"), Some(&[])).await.0, 303);
        assert_eq!(w.gitlab.issues(w.project)[0].state, state);
    }
    let to = [("project", "acme/other")];
    let (status, place, _) = page(&w, &format!("{all}/1/move"), Some(&to)).await;
    assert!(status == 303 && place.ends_with("/acme/other/-/issues/1"), "{place}");
    let (status, _, text) = page(&w, &format!("{all}/1/move"), Some(&[("project", "no")])).await;
    assert!(status == 422 && text.contains("Project Not Found"), "{text}");
    let (status, place, _) = page(&w, &format!("{all}/1/delete"), Some(&[])).await;
    assert!(status == 303 && place.ends_with(all), "{place}");
    assert_eq!(page(&w, &format!("{all}/1"), None).await.0, 404);
}
