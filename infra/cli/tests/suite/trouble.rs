//! A Gantry that is busy, away, or none.

use crate::support::{Gantry, KEY, Script, Terminal};
use serde_json::json;

#[tokio::test]
async fn a_busy_gantry_is_asked_again_a_few_times_with_the_same_request() {
    let gantry = Gantry::with_run(&[json!({ "state": "unconfirmed" })]).await;
    gantry.change(|script| script.busy = 2);
    let said = gantry.says("gantry plan network").await;
    assert_eq!(said.code, 3, "{said:?}");
    assert_eq!(said.err.matches("is busy (503 Service Unavailable): trying again").count(), 2);
    gantry.change(|script| {
        let requests: Vec<_> = script.seen[..3].iter().map(|(_, request, _)| request).collect();
        assert!(requests.iter().all(|request| *request == requests[0]), "{requests:?}");
        script.busy = 100;
    });
    let said = gantry.says("gantry stacks").await;
    assert_eq!(said.code, 1);
    let why =
        "Could not list stacks: Everybody is busy. It was busy each time; try again in 1 s.\n";
    assert!(said.err.ends_with(why), "{said:?}");
    gantry.change(|script| assert_eq!(script.busy, 94));
}

#[tokio::test]
async fn a_gantry_that_is_away_is_named_with_the_reason() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let terminal =
        Terminal { url: Some(url.clone()), key: Some(KEY.into()), ..Terminal::default() };
    let said = terminal.says("gantry stacks").await;
    assert_eq!(said.code, 1);
    assert_eq!(
        said.err,
        format!(
            "gantry: {url} cannot be reached: nothing listens there, or a firewall forbids it.\n"
        )
    );
}

#[tokio::test]
async fn what_is_no_gantry_is_called_so() {
    let gantry = Gantry::start(Script { is_html: true, ..Script::default() }).await;
    let said = gantry.says("gantry stacks").await;
    assert!(said.code == 1 && said.err.contains("not as Gantry does"), "{said:?}");
    let said = gantry.says("gantry state pull network").await;
    assert!(said.code == 1 && said.err.contains("no state") && said.out.is_empty(), "{said:?}");
}

#[tokio::test]
async fn a_page_of_another_gantry_decides_nothing_here() {
    let gantry = Gantry::with_run(&[json!({ "state": "unconfirmed" })]).await;
    for what in ["confirm", "discard", "stop"] {
        let line = format!("gantry {what} https://other.example/runs/r-8c41d7 --yes");
        let said = gantry.says(&line).await;
        assert!(said.code == 2 && said.err.contains("of https://other.example"), "{said:?}");
    }
    assert!(gantry.posts().is_empty(), "{:?}", gantry.posts());
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let gantry = Gantry::start(Script::default()).await;
    let wrong = json!({
        "status": 422, "title": "Some fields are wrong", "detail": "Nothing was done.",
        "errors": { "commit": "is no commit" },
    });
    gantry.change(|script| script.commands = vec![(422, wrong)]);
    let said = gantry.says("gantry plan network --commit x").await;
    let expected =
        "gantry: Could not start a run of network: Nothing was done.\n  commit: is no commit\n";
    assert_eq!((said.code, said.err.as_str()), (1, expected));
}

#[tokio::test]
async fn a_run_is_followed_through_an_outage() {
    let looks = ["planning", "planning", "failed"].map(|state| json!({ "state": state }));
    let gantry = Gantry::with_run(&looks).await;
    // Longer than one request is patient for.
    gantry.change(|script| script.outage = Some((1, 8)));
    let said = gantry.says("gantry logs network#6 --follow").await;
    assert!(said.err.contains("The run goes on; trying again."), "{said:?}");
    assert!(said.code == 1 && said.err.ends_with("then run `gantry plan network`.\n"), "{said:?}");
    gantry.change(|script| assert_eq!((script.busy, script.outage), (0, None)));
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_again_where_that_does_no_harm() {
    let gantry = Gantry::start_after(Script::default(), 2).await;
    let said = gantry.says("gantry stacks").await;
    assert!(said.code == 0 && said.err.is_empty(), "{said:?}");
    let gantry = Gantry::start_after(Script::default(), 1).await;
    let said = gantry.says("gantry plan network --no-wait").await;
    assert!(said.code == 1 && gantry.posts().is_empty(), "{said:?}");
}

#[tokio::test]
async fn a_list_that_leads_to_where_it_was_ends() {
    let gantry = Gantry::start(Script { is_stuck: true, ..Script::default() }).await;
    for line in ["gantry stacks", "gantry logs r-8c41d7", "gantry logs r-8c41d7 --json"] {
        let said = gantry.says(line).await;
        assert!(said.code == 1 && said.err.contains("again and again"), "{line}: {said:?}");
    }
}
