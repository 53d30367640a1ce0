//! What is shown of the state of a stack, and how its runs went.

use crate::{
    browser::Browser,
    support::{World, connected},
};
use bytes::Bytes;
use gantry_domain::{
    run::{Run, RunState, Step},
    stack::{Stack, Variable, VariableRuns, VariableValue},
    state::StateForm,
};
use gantry_secrets::{Sealer, links::read_link};
use gantry_store::{keys, runner::StateVersion};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

const RESOURCES: &str = "/api/v1/stacks/network/resources";
const OUTPUTS: &str = "/api/v1/stacks/network/outputs";

/// Makes a state the current one, written by a run or a person.
async fn put_state(w: &World, stack: &Stack, number: u64, run: Option<&Run>, body: &Value) {
    let version = keep_state(w, stack, number, run, body).await;
    w.put(keys::state(&stack.id), &version).await;
}

/// Keeps a state, and makes no version the current one.
async fn keep_state(
    w: &World,
    stack: &Stack,
    number: u64,
    run: Option<&Run>,
    body: &Value,
) -> StateVersion {
    let body = Bytes::from(body.to_string());
    let object = gantry_objects::keys::state(&stack.id, "digest", number);
    w.objects.put(&object, body.clone()).await.unwrap();
    let version = StateVersion {
        number,
        serial: number,
        lineage: "l".to_owned(),
        digest: "digest".to_owned(),
        object,
        size: body.len() as u64,
        resources: Some(1),
        form: StateForm::Plain,
        run: run.map(|run| run.id.clone()),
        by: run.map_or("Ada".to_owned(), |run| run.id.to_string()),
        rescued: false,
        found: false,
        at: w.clock.now(),
    };
    w.put(keys::state_version(&stack.id, number), &version).await;
    version
}

/// A resource without a key, whose one attribute is never to be seen.
fn resource(name: &str, value: &str) -> Value {
    json!({
        "mode": "managed", "type": "x_net", "name": name,
        "instances": [{ "attributes": { "id": format!("attribute-{value}") } }],
    })
}

/// Two subnets in a module, by key, and what a data source has read.
fn module(tainted: bool) -> Vec<Value> {
    let status = tainted.then_some("tainted");
    let subnet = json!({
        "module": "module.net[\"eu\"]", "mode": "managed", "type": "x_subnet", "name": "a",
        "instances": [
            { "index_key": "one<b>", "status": status, "attributes": { "id": "attribute-1" } },
            { "index_key": "two", "attributes": { "id": "attribute-2" } },
        ],
    });
    let image = json!({
        "module": "module.net[\"eu\"]", "mode": "data", "type": "x_image", "name": "i",
        "instances": [{ "attributes": { "id": "attribute-3" } }],
    });
    vec![subnet, image]
}

fn state(resources: Vec<Value>) -> Value {
    json!({ "version": 4, "serial": 1, "lineage": "l", "outputs": {}, "resources": resources })
}

/// Who created a resource, and who changed it last.
fn told(list: &Value, address: &str) -> (Value, Value) {
    let all = list["resources"].as_array().unwrap();
    let found = all.iter().find(|one| one["address"] == address);
    let found = found.unwrap_or_else(|| panic!("{address} is not in {list:#}"));
    let by = |name: &str| found[name]["by"].clone();
    (by("created_by"), by("changed_by"))
}

#[tokio::test]
async fn resources_are_listed_with_the_runs_that_they_come_from() {
    let w = connected().await;
    let stack = w.stack().await;
    let (a, b, c) = (
        w.run(&stack, "a", RunState::Finished).await,
        w.run(&stack, "b", RunState::Finished).await,
        w.run(&stack, "c", RunState::Finished).await,
    );
    let of_all = |value: &str| {
        let own = [resource("kept", "0"), resource("changed", value)];
        state(own.into_iter().chain(module(false)).collect())
    };
    put_state(&w, &stack, 1, Some(&a), &state(vec![resource("kept", "0")])).await;
    put_state(&w, &stack, 2, Some(&b), &state(vec![resource("changed", "0")])).await;
    put_state(&w, &stack, 3, Some(&b), &of_all("1")).await;
    // Nobody has ever made this one current.
    let aside = keep_state(&w, &stack, 4, Some(&b), &state(Vec::new())).await;
    w.put(keys::state_version(&stack.id, 4), &StateVersion { rescued: true, ..aside }).await;
    put_state(&w, &stack, 5, Some(&c), &of_all("2")).await;

    let list = w.get(RESOURCES).await.expect(200).body;
    let by = |run: &Run| json!(format!("network #{}", run.number));
    let subnet = r#"module.net["eu"].x_subnet.a["one<b>"]"#;
    for (address, created, changed) in [
        ("x_net.kept", &a, &a),
        ("x_net.changed", &b, &c),
        (subnet, &b, &b),
        (r#"module.net["eu"].data.x_image.i"#, &b, &b),
    ] {
        assert_eq!(told(&list, address), (by(created), by(changed)), "{address}");
    }
    assert_eq!((&list["total"], &list["version"]), (&json!(5), &json!(5)));
    assert_eq!(list["resources"][0]["created_by"]["run"], json!(a.id));
    assert_eq!(list["resources"][2]["module"], r#"module.net["eu"]"#);

    let browser = Browser::sign_in(&w, &w.key("read").await).await;
    let page = browser.get("/stacks/network/resources").await.expect(200).text;
    for part in [
        "4 resources, 1 data source.",
        "<strong>Root module</strong>",
        "<strong>module.net[&#34;eu&#34;]</strong>",
        "<code>data.x_image</code>",
        "x_subnet.a[&#34;one&#60;b&#62;&#34;]",
        &format!("last changed by <a href=\"../../runs/{}\">network #{}</a>", c.id, c.number),
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("attribute-") && !list.to_string().contains("attribute-"), "{page}");
    let leads_there = browser.get("/stacks/network").await.expect(200).text;
    assert!(leads_there.contains("href=\"../stacks/network/resources\""), "{leads_there}");
    assert!(leads_there.contains("hx-get=\"../stacks/network/outputs\""), "{leads_there}");

    put_state(&w, &stack, 6, None, &state(module(true))).await;
    let list = w.get(RESOURCES).await.expect(200).body;
    assert_eq!(list["resources"][0]["tainted"], true);
    assert_eq!(told(&list, subnet).0, by(&b), "what somebody imports is compared, too");
}

#[tokio::test]
async fn resources_are_found_by_words_of_their_addresses() {
    let w = connected().await;
    let stack = w.stack().await;
    let all = [resource("kept", "0")].into_iter().chain(module(false)).collect();
    put_state(&w, &stack, 1, None, &state(all)).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    for (search, found) in [("SUBNET eu", 2), ("x_net", 1), ("data", 1), ("eu kept", 0), ("", 4)] {
        let search = search.replace(' ', "+");
        let list = w.get(&format!("{RESOURCES}?search={search}")).await.expect(200).body;
        assert_eq!(list["total"], found, "{search}: {list:#}");
        let page = browser.get(&format!("/stacks/network/resources?search={search}")).await;
        let page = page.expect(200).text;
        assert_eq!(page.matches("<li><code>").count(), found, "{search}: {page}");
        let says = format!("{found} of them match");
        assert_eq!(page.contains(&says), !search.is_empty(), "{search}: {page}");
    }
    for path in ["resources?page=2", "resources?limit=2", "outputs?search=x", "history?after=x"] {
        let got = browser.get(&format!("/stacks/network/{path}")).await.expect(422);
        assert!(got.text.contains("<html"), "{path}: {}", got.text);
    }
    w.get(&format!("{RESOURCES}?module=x")).await.expect(422).error("module");
    w.get(&format!("{RESOURCES}?after=x")).await.expect(422).error("after");
    w.get(&format!("{OUTPUTS}?limit=2")).await.expect(422).error("limit");
}

#[tokio::test]
async fn a_large_state_comes_in_pages_of_one_version() {
    let w = connected().await;
    let stack = w.stack().await;
    let all = |name: &str| {
        let instance = |key: usize| json!({ "index_key": key, "attributes": { "id": key } });
        let instances: Vec<_> = (0..700).map(instance).collect();
        let resource = json!({
            "module": "module.m", "mode": "managed", "type": "x", "name": name,
            "instances": instances,
        });
        state(vec![resource])
    };
    put_state(&w, &stack, 1, None, &all("old")).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/stacks/network/resources").await.expect(200).text;
    assert!(page.contains("700 resources; 300 of these are on this page."), "{page}");
    let next = |page: &str| {
        let (_, rest) = page.split_once("/resources?after=")?;
        Some(rest.split('&').next()?.to_owned())
    };
    let after = next(&page).unwrap();
    // What was begun is read to its end.
    put_state(&w, &stack, 2, None, &all("new")).await;
    let page = browser.get(&format!("/stacks/network/resources?after={after}")).await;
    let page = page.expect(200).text;
    assert!(page.contains("<code>module.m.x.old[300]</code>"), "{page}");
    assert!(!page.contains("x.old[299]") && !page.contains("x.new"), "{page}");
    let after = next(&page).unwrap();
    let page = browser.get(&format!("/stacks/network/resources?after={after}")).await;
    let page = page.expect(200).text;
    assert!(page.contains("x.old[699]") && next(&page).is_none(), "{page}");

    let mut seen = 0;
    let mut path = format!("{RESOURCES}?limit=99&search=x.new");
    loop {
        let list = w.get(&path).await.expect(200).body;
        seen += list["resources"].as_array().unwrap().len();
        match list["next"].as_str() {
            Some(next) => path = format!("{RESOURCES}?limit=99&search=x.new&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, 700);
}

#[tokio::test]
async fn what_is_older_than_the_versions_that_are_compared_is_said_to_be() {
    let w = connected().await;
    let stack = w.stack().await;
    for number in 1..=25 {
        let run = w.run(&stack, &format!("run-{number}"), RunState::Finished).await;
        let moving = resource("moving", &number.to_string());
        let body = state(vec![resource("still", "0"), moving]);
        put_state(&w, &stack, number, Some(&run), &body).await;
    }
    let list = w.get(RESOURCES).await.expect(200).body;
    assert_eq!(told(&list, "x_net.still"), (Value::Null, Value::Null));
    assert_eq!(list["compared_to"]["version"], 6, "twenty versions are compared");
    let (created, changed) = told(&list, "x_net.moving");
    assert!(created.is_null() && changed.is_string(), "{list:#}");
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/stacks/network/resources").await.expect(200).text;
    let oldest = list["compared_to"]["by"].as_str().unwrap();
    let (_, rest) = page.split_once("<code>x_net.still</code>").unwrap();
    let (said, _) = rest.split_once("</li>").unwrap();
    assert!(said.contains(oldest) && said.contains("or earlier"), "{said}");
}

#[tokio::test]
async fn outputs_are_shown_without_what_is_sensitive_or_secret() {
    let w = connected().await;
    w.stack().await;
    let secret = json!({ "variables": [
        { "name": "TF_VAR_p", "value": "hunter22-secret", "secret": true, "runs": "tracked" },
    ] });
    w.send("PUT", "/api/v1/stacks/network", secret).await.expect(200);
    let none = json!({ "variables": [] });
    w.send("PUT", "/api/v1/stacks/network", none).await.expect(200);
    let stack = w.stored_stack("network").await;
    assert_eq!(stack.retired.len(), 1, "the state may still hold it");
    let resource = json!({
        "mode": "managed", "type": "x", "name": "a", "instances": [{
            "index_key": "as hunter22-secret",
            "attributes": { "password": "marked-password" },
            "sensitive_attributes": [[{ "type": "get_attr", "value": "password" }]],
        }],
    });
    let mut body = state(vec![resource]);
    body["outputs"] = json!({
        "list": { "value": ["a<b>", "marked-password"], "type": ["list", "string"] },
        "long": { "value": "word ".repeat(60), "type": "string" },
        "password": { "value": "a-hidden-output", "type": "string", "sensitive": true },
        "url": { "value": "https://u:hunter22-secret@host", "type": "string" },
    });
    put_state(&w, &stack, 1, None, &body).await;

    let list = w.get(OUTPUTS).await.expect(200).body;
    let output = |name: &str| {
        let all = list["outputs"].as_array().unwrap();
        all.iter().find(|output| output["name"] == name).unwrap().clone()
    };
    assert_eq!(output("url")["value"], "https://u:(secret)@host");
    assert_eq!(output("list")["type"], "list(string)");
    assert_eq!(output("list")["value"], "[\n  \"a<b>\",\n  \"(secret)\"\n]");
    let hidden = output("password");
    assert_eq!((&hidden["value"], &hidden["sensitive"]), (&Value::Null, &json!(true)));

    let browser = Browser::sign_in(&w, &w.key("read").await).await;
    let page = browser.get("/stacks/network/outputs").await.expect(200).text;
    for part in ["(sensitive)", "https://u:(secret)@host", "a&#60;b&#62;", "<summary>word word"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let resources = browser.get("/stacks/network/resources").await.expect(200).text;
    assert!(resources.contains("x.a[&#34;as (secret)&#34;]"), "{resources}");
    let found = w.get(&format!("{RESOURCES}?search=hunter22")).await.expect(200).body;
    assert_eq!(found["total"], 0, "nobody finds out what is hidden by looking for it");
    let whole = w.get(RESOURCES).await.expect(200).text;
    for text in [page, resources, list.to_string(), whole] {
        for hidden in ["hunter22", "a-hidden-output", "marked-password"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
}

#[tokio::test]
async fn what_a_state_marks_is_hidden_however_much_it_is() {
    let w = connected().await;
    let stack = w.stack().await;
    let marked = |at: usize| format!("{at:04}-{}", "x".repeat(1_000));
    let all: Vec<_> = (0..200).map(marked).collect();
    let resource = json!({
        "mode": "managed", "type": "x", "name": "a", "instances": [{
            "index_key": marked(199), "attributes": { "list": all },
            "sensitive_attributes": [[{ "type": "get_attr", "value": "list" }]],
        }],
    });
    let mut body = state(vec![resource]);
    body["outputs"] = json!({
        "copy": { "value": marked(199), "type": "string" },
        "deep": { "value": { "a": [marked(198), "open"] } },
    });
    put_state(&w, &stack, 1, None, &body).await;
    let list = w.get(OUTPUTS).await.expect(200).body;
    assert_eq!(list["outputs"][0]["value"], "(secret)");
    let deep = "{\n  \"a\": [\n    \"(secret)\",\n    \"open\"\n  ]\n}";
    assert_eq!(list["outputs"][1]["value"], deep);
    let list = w.get(RESOURCES).await.expect(200).body;
    assert_eq!(list["resources"][0]["address"], r#"x.a["(secret)"]"#);
}

#[tokio::test]
async fn no_value_is_shown_where_nobody_can_tell_what_is_sensitive() {
    let w = connected().await;
    let stack = w.stack().await;
    let outputs = json!({
        "copy": { "value": "a-hidden-output", "type": "string" },
        "hidden": { "value": "a-hidden-output", "type": "string", "sensitive": true },
    });
    let no_instances = json!([{ "mode": "managed", "type": "x", "name": "a", "instances": null }]);
    for (number, resources) in (1..).zip([Value::Null, no_instances]) {
        let body = json!({ "version": 4, "outputs": outputs, "resources": resources });
        put_state(&w, &stack, number, None, &body).await;
        let list = w.get(OUTPUTS).await.expect(200).body;
        assert_eq!(list["outputs"][0]["value"], "(secret)", "{list:#}");
        assert_eq!(w.get(RESOURCES).await.expect(200).body["total"], 0);
    }
    let instance = json!({ "attributes": {}, "sensitive_attributes": [[{ "type": "get_attr" }]] });
    let unclear = json!({ "mode": "managed", "type": "x", "name": "a", "instances": [instance] });
    let mut body = state(vec![unclear]);
    body["outputs"] = outputs;
    put_state(&w, &stack, 3, None, &body).await;
    for path in [RESOURCES, OUTPUTS] {
        let said = w.get(path).await.expect(200);
        let why = said.body["unavailable"].as_str().unwrap_or_default();
        assert!(why.contains("Gantry cannot read the state."), "{}", said.text);
        assert!(!said.text.contains("a-hidden-output"), "{}", said.text);
    }
}

#[tokio::test]
async fn an_answer_with_outputs_has_an_end() {
    let w = connected().await;
    let stack = w.stack().await;
    let mut body = state(Vec::new());
    body["outputs"]["a"] = json!({ "value": ["x".repeat(1_000_000)] });
    for at in 0..200 {
        body["outputs"][format!("b{at:03}")] = json!({ "value": "<".repeat(30_000) });
    }
    put_state(&w, &stack, 1, None, &body).await;
    let got = w.get(OUTPUTS).await.expect(200);
    assert!(got.text.len() < 1_100_000, "{}", got.text.len());
    let list = got.body["outputs"].as_array().unwrap();
    assert_eq!((list.len(), &got.body["total"]), (200, &json!(201)));
    let too_long = |at: usize| list[at]["value"] == "(too long to show)";
    assert!(too_long(0) && !too_long(1) && !too_long(49) && too_long(50) && too_long(199));
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/stacks/network/outputs").await.expect(200).text;
    assert!(page.contains("1 more are not shown.") && page.len() < 5_500_000, "{}", page.len());
}

#[tokio::test]
async fn a_cursor_opens_only_what_was_just_the_current_version() {
    let w = connected().await;
    let stack = w.stack().await;
    let body = state(vec![resource("a", "0"), resource("b", "0")]);
    let first = async || {
        let list = w.get(&format!("{RESOURCES}?limit=1")).await.expect(200).body;
        format!("{RESOURCES}?after={}", list["next"].as_str().unwrap())
    };
    put_state(&w, &stack, 1, None, &body).await;
    let old = first().await;
    put_state(&w, &stack, 21, None, &body).await;
    w.get(&old).await.expect(200);
    let aside = first().await;
    put_state(&w, &stack, 22, None, &body).await;
    w.get(&old).await.expect(422).error("after");
    w.get(&aside).await.expect(200);
    let version = keep_state(&w, &stack, 21, None, &body).await;
    let rescued = StateVersion { rescued: true, ..version };
    w.put(keys::state_version(&stack.id, 21), &rescued).await;
    w.get(&aside).await.expect(422).error("after");
}

#[tokio::test]
async fn outputs_of_a_large_state_are_not_loaded_by_themselves() {
    let w = connected().await;
    let stack = w.stack().await;
    let version = keep_state(&w, &stack, 1, None, &state(Vec::new())).await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    for (size, loads) in [(5_000_000, true), (5_000_001, false)] {
        w.put(keys::state(&stack.id), &StateVersion { size, ..version.clone() }).await;
        let page = browser.get("/stacks/network").await.expect(200).text;
        assert_eq!(page.contains("hx-get=\"../stacks/network/outputs\""), loads, "{page}");
        assert!(page.contains("href=\"../stacks/network/outputs\""), "{page}");
    }
}

#[tokio::test]
async fn a_state_that_cannot_be_listed_is_told_with_what_to_do() {
    let w = connected().await;
    let mut stack = w.stack().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let says = async |words: &str| {
        for path in [RESOURCES, OUTPUTS] {
            let said = w.get(path).await.expect(200).body["unavailable"].clone();
            let said = said.as_str().unwrap_or_else(|| panic!("{path} lists something"));
            assert!(said.contains(words), "{path}: {said}");
        }
        for path in ["/stacks/network/resources", "/stacks/network/outputs"] {
            let page = browser.get(path).await.expect(200).text;
            assert!(page.contains(words), "{path}: {page}");
        }
    };
    says("The first apply creates it.").await;
    let version = keep_state(&w, &stack, 1, None, &state(Vec::new())).await;
    let current = keys::state(&stack.id);
    let encrypted = StateVersion { form: StateForm::Encrypted, ..version.clone() };
    w.put(current.clone(), &encrypted).await;
    says("Encrypted by OpenTofu.").await;
    w.put(current.clone(), &StateVersion { size: 61_000_000, ..version.clone() }).await;
    says("The state has 61 MB, and Gantry lists at most 50.").await;
    let object = gantry_objects::keys::state(&stack.id, "digest", "gone");
    w.put(current.clone(), &StateVersion { object, ..version.clone() }).await;
    says("missing in object storage").await;
    w.put(current.clone(), &version).await;
    w.objects.put(&version.object, Bytes::from_static(b"no state")).await.unwrap();
    says("Gantry cannot read the state.").await;

    let sealed = Sealer::new(&"another".into()).seal(&stack.id, "TOKEN", "hunter22").unwrap();
    let value = VariableValue::Sealed(sealed);
    let runs = VariableRuns::All;
    stack.variables = vec![Variable { name: "TOKEN".to_owned(), value, runs }];
    w.put(keys::stack_config(&stack.id), &stack).await;
    says("secret variable TOKEN cannot be decrypted").await;
    stack.settings.manage_state = false;
    w.put(keys::stack_config(&stack.id), &stack).await;
    says("the code configures its own backend").await;
}

#[tokio::test]
async fn who_has_only_the_link_of_a_run_sees_no_state_and_no_history() {
    let w = connected().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "a", RunState::Finished).await;
    let link = read_link(&crate::support::signer(), "", &run.id);
    w.ask("GET", &link, None, &[], "").await.expect(200);
    let (_, key) = link.split_once('?').unwrap();
    for page in ["resources", "outputs", "history"] {
        let path = format!("/stacks/network/{page}");
        w.ask("GET", &path, None, &[], "").await.expect(303);
        w.ask("GET", &format!("{path}?{key}"), None, &[], "").await.expect(303);
    }
    for path in [RESOURCES, OUTPUTS] {
        w.ask("GET", path, None, &[], "").await.expect(401);
    }
}

/// A run that was asked for some minutes before `at`, with the states that it entered so many
/// seconds after that.
async fn past(w: &World, stack: &Stack, key: &str, at: Timestamp, steps: &[(RunState, i64)]) {
    let mut run = w.run(stack, key, steps.last().unwrap().0).await;
    let step = |(state, seconds): &(RunState, i64)| {
        let at = at + SignedDuration::from_secs(*seconds);
        Step { state: *state, at, by: None, comment: None }
    };
    run.history = steps.iter().map(step).collect();
    run.created_at = at;
    run.asked_at = Some(at - SignedDuration::from_secs(10));
    w.save_run(&run).await;
}

#[tokio::test]
async fn the_history_tells_how_runs_went_and_how_long_people_waited() {
    use RunState::{
        Applying, Confirmed, Discarded, Failed, Finished, Initializing, Planning, Queued,
        Unconfirmed,
    };
    let w = connected().await;
    let stack = w.stack().await;
    let ago = |days: i64| w.clock.now() - SignedDuration::from_hours(24 * days);
    let planned = [(Queued, 0), (Initializing, 20), (Planning, 30)];
    let with = |more: &[(RunState, i64)]| planned.iter().chain(more).copied().collect::<Vec<_>>();
    let applied = with(&[(Unconfirmed, 50), (Confirmed, 110), (Applying, 120), (Finished, 420)]);
    let slower = with(&[(Unconfirmed, 170), (Confirmed, 770), (Applying, 780), (Finished, 1_980)]);
    past(&w, &stack, "old", ago(31), &applied).await;
    past(&w, &stack, "a", ago(2), &applied).await;
    past(&w, &stack, "b", ago(2), &slower).await;
    past(&w, &stack, "c", ago(2), &with(&[(Failed, 40)])).await;
    past(&w, &stack, "d", ago(1), &with(&[(Unconfirmed, 50), (Discarded, 60)])).await;
    past(&w, &stack, "e", ago(0), &with(&[])).await;

    let browser = Browser::sign_in(&w, &w.key("read").await).await;
    let page = browser.get("/stacks/network/history").await.expect(200).text;
    for part in [
        "4 runs ended in the last 30 days: 2 applied or planned, 1 failed, 1 discarded, stopped or \
         canceled. At most 3 on one day.",
        "1 run not ended yet.",
        "role=\"img\"",
        "<title>2026-11-20: 2 applied or planned, 1 failed, 0 discarded",
        "<th scope=\"row\">2026-11-20</th><td>2</td><td>1</td><td>0</td>",
        "<th scope=\"row\">2026-11-21</th><td>0</td><td>0</td><td>1</td>",
        // Ten seconds before the run was created it was asked for.
        "<dt>From request to plan</dt><dd>median 1 min 0 s, 90% within 3 min 0 s (3 runs)</dd>",
        "<dt>From plan to confirmation</dt><dd>median 1 min 0 s, 90% within 10 min (2 runs)</dd>",
        "<dt>Apply</dt><dd>median 5 min 0 s, 90% within 20 min (2 runs)</dd>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("2026-10-22</th>") && !page.contains("newest 200"), "{page}");
    assert_eq!(page.matches("url(#striped)").count(), 2, "one bar, and what it means");

    let stack_page = browser.get("/stacks/network").await.expect(200).text;
    assert!(stack_page.contains("href=\"../stacks/network/history\""), "{stack_page}");
    // From its first state on a runner to its end.
    for took in ["6 min 40 s", "32 min", "20 s", "40 s"] {
        let cell = format!("<td class=\"age\">{took}</td>");
        assert!(stack_page.contains(&cell), "{took}: {stack_page}");
    }
}

#[tokio::test]
async fn a_long_history_says_where_it_begins() {
    let w = connected().await;
    let stack = w.stack().await;
    for number in 0..205 {
        w.run(&stack, &format!("run-{number}"), RunState::Finished).await;
        w.hand.advance(Duration::from_secs(60));
    }
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/stacks/network/history").await.expect(200).text;
    assert!(page.contains("200 runs ended in the last 30 days"), "{page}");
    assert!(page.contains("Only the newest 200 runs are counted"), "{page}");
    w.hand.advance(Duration::from_secs(40 * 24 * 60 * 60));
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/stacks/network/history").await.expect(200).text;
    assert!(page.contains("0 runs ended in the last 30 days"), "{page}");
    assert!(!page.contains("Only the newest"), "{page}");
}
