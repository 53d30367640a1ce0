//! A run's plan: grouped and searched on its page, and compared with the one before it.

use crate::{
    browser::Browser,
    support::{World, connected, signer},
};
use bytes::Bytes;
use gantry_domain::{
    MergeRequestIid,
    plan::{Action, AttributeChange, Change, Delta, ResourceChange, Value as Shown},
    run::{Interest, Run, RunState, RunType},
    stack::Stack,
};
use gantry_secrets::links::read_link;
use serde_json::{Value, json};

fn attribute(path: &str, after: Shown) -> AttributeChange {
    AttributeChange {
        path: path.to_owned(),
        before: Shown::Absent,
        after,
        forces_replacement: false,
        mark: None,
        lines: Vec::new(),
    }
}

fn known(text: &str) -> Shown {
    Shown::Known(format!("{text:?}"))
}

fn resource(action: Action, address: &str, attributes: Vec<AttributeChange>) -> ResourceChange {
    ResourceChange {
        address: address.to_owned(),
        deposed: None,
        previous_address: None,
        resource_type: "aws_vpc".to_owned(),
        provider: "aws".to_owned(),
        action,
        import_id: None,
        reason: None,
        attributes,
        attributes_cut: 0,
    }
}

/// A run that has planned to change these.
async fn planned(
    w: &World,
    stack: &Stack,
    key: &str,
    run_type: RunType,
    resources: Vec<ResourceChange>,
) -> Run {
    let mut run = w.run(stack, key, RunState::Unconfirmed).await;
    run.run_type = run_type;
    run.git_ref = format!("branch-{}", key.split('-').next().unwrap_or_default());
    w.save_run(&run).await;
    let delta = Delta { add: 1, ..Delta::default() };
    let change = Change { v: 1, delta, resources, ..Change::default() };
    let body = Bytes::from(serde_json::to_vec(&change).unwrap());
    w.objects.put(&gantry_objects::keys::change(&run.id, 2), body).await.unwrap();
    run
}

fn with(answer: &Value) -> u64 {
    answer["with"]["number"].as_u64().unwrap()
}

#[tokio::test]
async fn a_plan_is_compared_with_the_one_before_it() {
    let w = connected().await;
    let stack = w.stack().await;
    let vpc = |cidr: &str| vec![attribute("cidr", known(cidr)), attribute("key", Shown::Sensitive)];
    let first = vec![
        resource(Action::Update, "aws_vpc.a", vpc("10.0.0.0/16")),
        resource(Action::Create, "aws_vpc.old", vec![]),
        resource(Action::Create, "aws_vpc.same", vec![]),
    ];
    let second = vec![
        resource(Action::Update, "aws_vpc.a", vpc("10.1.0.0/16")),
        resource(Action::Delete, "aws_vpc.new", vec![]),
        resource(Action::Create, "aws_vpc.same", vec![]),
    ];
    let one = planned(&w, &stack, "one", RunType::Tracked, first).await;
    let alone = format!("/api/v1/runs/{}/compare", one.id);
    let got = w.get(&alone).await.expect(404);
    assert!(got.detail().contains("no earlier deploy"), "{}", got.detail());
    // What has no plan, and what is of another type, is passed by.
    w.run(&stack, "queued", RunState::Queued).await;
    planned(&w, &stack, "preview", RunType::Proposed, vec![]).await;
    let two = planned(&w, &stack, "two", RunType::Tracked, second).await;
    let path = format!("/api/v1/runs/{}/compare", two.id);
    let got = w.get(&path).await.expect(200).body;
    assert_eq!((with(&got), &got["run"]["number"]), (one.number, &json!(two.number)));
    let address = |list: &str| got[list][0]["address"].as_str().unwrap();
    assert_eq!((address("added"), address("gone")), ("aws_vpc.new", "aws_vpc.old"));
    assert_eq!(address("different"), "aws_vpc.a");
    let [cidr] = got["different"][0]["attributes"].as_array().unwrap().as_slice() else {
        panic!("{got:#}")
    };
    assert_eq!(cidr["earlier"]["after"], json!({ "known": "\"10.0.0.0/16\"" }));
    assert_eq!(cidr["now"]["after"], json!({ "known": "\"10.1.0.0/16\"" }));
    assert_eq!((&got["same"], &got["sensitive"]), (&json!(1), &json!(1)));

    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get(&format!("/runs/{}", two.id)).await.expect(200).text;
    assert!(
        page.contains(&format!("compare?with={0}\">Compare with #{0}</a>", one.number)),
        "{page}"
    );
    let address = format!("/runs/{}/compare", two.id);
    let page = browser.get(&address).await.expect(200).text;
    for said in [
        "New in this plan",
        "No longer in this plan",
        "Changed differently",
        "10.0.0.0/16",
        "10.1.0.0/16",
        "cannot tell whether the values differ",
        "1 resource changed in the same way",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let same = browser.get(&format!("{address}?with={}", two.number)).await.expect(200).text;
    assert!(same.contains("No differences found."), "{same}");

    // Another run of the stack, by its number.
    let back = format!("/api/v1/runs/{}/compare?with={}", one.id, two.number);
    assert_eq!(with(&w.get(&back).await.expect(200).body), two.number);
    let got = w.get(&format!("{path}?with=7")).await.expect(422);
    assert_eq!(got.error("with"), "This stack has no such run");
    w.get(&format!("{path}?with=x")).await.expect(422);
    let unplanned = w.run(&stack, "later", RunState::Queued).await;
    w.get(&format!("{path}?with={}", unplanned.number)).await.expect(404);
    w.get(&format!("/api/v1/runs/{}/compare", unplanned.id)).await.expect(404);
    browser.get(&format!("/runs/{}/compare", unplanned.id)).await.expect(404);
}

#[tokio::test]
async fn a_preview_is_compared_with_the_one_of_the_same_work() {
    let w = connected().await;
    let stack = w.stack().await;
    let preview = async |key: &str| planned(&w, &stack, key, RunType::Proposed, vec![]).await;
    let here = preview("here-1").await;
    let mut of_merge_request = preview("moved-1").await;
    let elsewhere = preview("elsewhere-1").await;
    let find = async |run: &Run| {
        with(&w.get(&format!("/api/v1/runs/{}/compare", run.id)).await.expect(200).body)
    };
    let again = preview("here-2").await;
    assert_eq!(find(&again).await, here.number, "the same branch");
    let mut other = preview("renamed-1").await;
    assert_eq!(find(&other).await, again.number, "else the newest one");
    for run in [&mut of_merge_request, &mut other] {
        run.interests = [Interest::MergeRequest(MergeRequestIid(7))].into();
        w.save_run(run).await;
    }
    assert_eq!(find(&other).await, of_merge_request.number, "the same merge request");
    assert!(elsewhere.number < again.number);
}

#[tokio::test]
async fn a_link_to_one_run_shows_no_other_one() {
    let w = connected().await;
    let stack = w.stack().await;
    planned(&w, &stack, "one", RunType::Tracked, vec![]).await;
    let two = planned(&w, &stack, "two", RunType::Tracked, vec![]).await;
    let link = read_link(&signer(), "", &two.id);
    let page = w.ask("GET", &link, None, &[], "").await.expect(200).text;
    assert!(!page.contains("Compare with"), "{page}");
    w.ask("GET", &format!("/runs/{}/compare", two.id), None, &[], "").await.expect(303);
}

#[tokio::test]
async fn a_change_is_grouped_and_searched_by_its_address() {
    let w = connected().await;
    let stack = w.stack().await;
    let cidr = |cidr: &str| vec![attribute("cidr", known(cidr))];
    let resources = vec![
        resource(Action::Create, "aws_vpc.a", cidr("10.0.0.0/16")),
        resource(Action::Create, "module.net.aws_vpc.b", cidr("10.1.0.0/16")),
        resource(Action::Delete, "module.net.aws_vpc.c", vec![attribute("k", Shown::Sensitive)]),
    ];
    let run = planned(&w, &stack, "one", RunType::Tracked, resources).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let address = format!("/runs/{}", run.id);
    let at = |page: &str, what: &str| page.find(what).unwrap_or_else(|| panic!("{what}: {page}"));
    let page = browser.get(&address).await.expect(200).text;
    assert!(at(&page, "<code>module.net.aws_vpc.c") < at(&page, "<code>aws_vpc.a"));
    assert!(page.contains("Group by module") && !page.contains("<h3>"), "{page}");
    let page = browser.get(&format!("{address}?group=module")).await.expect(200).text;
    let counts = "<span class=\"dim\">1 to destroy, 1 to add</span>";
    let net = format!("<h3><code>module.net</code> {counts}</h3>");
    // They stand where they can be chosen for another plan, too.
    let listed = &page[at(&page, &net)..];
    assert!(listed.contains("<code>module.net.aws_vpc.c"), "{listed}");
    assert!(at(listed, "<code>module.net.aws_vpc.b") < at(listed, "<code>Root module</code>"));
    let page = browser.get(&format!("{address}?text=10.1.")).await.expect(200).text;
    assert!(page.contains("<code>module.net.aws_vpc.b") && !page.contains("<code>aws_vpc.a"));
    let page = browser.get(&format!("{address}?text=sensitive")).await.expect(200).text;
    assert!(page.contains("No matches in 3 resources."), "{page}");
}

#[tokio::test]
async fn the_title_says_how_a_run_is_doing() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut run = w.run(&stack, "a", RunState::Unconfirmed).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    for (state, said) in
        [(RunState::Unconfirmed, "Needs confirmation"), (RunState::Applying, "Applying")]
    {
        run.state = state;
        w.save_run(&run).await;
        let page = browser.get(&format!("/runs/{}", run.id)).await.expect(200).text;
        let title = format!("<title>{said} · network #{} · Gantry</title>", run.number);
        assert!(page.contains(&title), "{page}");
        // It goes on by itself.
        assert!(page.contains("data-live") && page.contains("data-ended=\"false\""), "{page}");
    }
}
