//! What is typed and pasted into forms: variables as a `.env` has them, and secrets that outlast a
//! refusal without being shown.

use crate::{
    browser::{Browser, form_of, hidden},
    support::{World, connected, world},
};
use gantry_domain::stack::{Stack, VariableRuns, VariableValue};
use gantry_secrets::Sealer;
use secrecy::ExposeSecret as _;
use std::time::Duration;

const PLACE: [(&str, &str); 3] =
    [("project", "acme/network"), ("branch", "main"), ("manage_state", "on")];
const KEPT: &str = "kept (typed before)";
const LOST: &str = "Enter it again. What was typed before is kept for 30 minutes";

/// A form of a stack: its place, and these fields.
fn stack_form(fields: &[(&str, &str)]) -> String {
    form_of(&[&PLACE[..], fields].concat())
}

/// A row of the form that is a secret.
fn row<'a>(value: &'a str, kept: &'a str) -> [(&'static str, &'a str); 5] {
    [
        ("variables[0].name", "TOKEN"),
        ("variables[0].value", value),
        ("variables[0].secret", "on"),
        ("variables[0].runs", "tracked"),
        ("variables[0].kept", kept),
    ]
}

/// A stack's variables: the name, the value, whether it is secret, and for all runs.
fn variables(stack: &Stack) -> Vec<(String, String, bool, bool)> {
    let sealer = Sealer::new(&"sealing".into());
    let read = |variable: &gantry_domain::stack::Variable| {
        let (value, secret) = match &variable.value {
            VariableValue::Plain(text) => (text.clone(), false),
            VariableValue::Sealed(sealed) => {
                let opened = sealer.open(&stack.id, &variable.name, sealed).unwrap();
                (opened.expose_secret().to_owned(), true)
            }
        };
        (variable.name.clone(), value, secret, variable.runs == VariableRuns::All)
    };
    stack.variables.iter().map(read).collect()
}

async fn value_of(w: &World, slug: &str) -> String {
    variables(&w.stored_stack(slug).await)[0].1.clone()
}

fn variable(name: &str, value: &str, secret: bool, all: bool) -> (String, String, bool, bool) {
    (name.to_owned(), value.to_owned(), secret, all)
}

#[tokio::test]
async fn variables_are_pasted_as_a_dot_env_has_them() {
    let w = connected().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let page = browser.get("/stacks/new").await.expect(200).text;
    assert!(
        page.contains(r#"name="pasted.secret" checked"#),
        "secret unless said otherwise: {page}"
    );
    let text = "# ours\r\nexport TOKEN='it is $HOME'\r\n\r\nKEY=\"a\\nb\r\nc\" # two lines\r\n";
    let form = stack_form(&[
        ("name", "Network"),
        ("variables[0].name", "REGION"),
        ("variables[0].value", "eu"),
        ("pasted", text),
        ("pasted.secret", "on"),
        ("pasted.runs", "tracked"),
    ]);
    browser.send("/stacks/new", &form).await.expect(303);
    assert_eq!(
        variables(&w.stored_stack("network").await),
        [
            variable("REGION", "eu", false, true),
            variable("TOKEN", "it is $HOME", true, false),
            variable("KEY", "a\nb\nc", true, false),
        ]
    );

    // To those that are there, and as they are where they are no secrets.
    let page = browser.get("/stacks/network/edit").await.expect(200).text;
    let mut fields = vec![
        ("name", "Network"),
        ("version", "1"),
        ("pasted", "MODE=\"$x\""),
        ("pasted.runs", "all"),
    ];
    let names = ["REGION", "TOKEN", "KEY"];
    let rows: Vec<[String; 4]> = (0..names.len())
        .map(|at| ["name", "value", "secret", "runs"].map(|part| format!("variables[{at}].{part}")))
        .collect();
    for (at, row) in rows.iter().enumerate() {
        assert!(page.contains(&format!("name=\"{}\" value=\"{}\"", row[0], names[at])), "{page}");
        fields.push((&row[0], names[at]));
        fields.push((&row[1], if at == 0 { "eu" } else { "" }));
        if at > 0 {
            fields.push((&row[2], "on"));
        }
        fields.push((&row[3], if at == 0 { "all" } else { "tracked" }));
    }
    browser.send("/stacks/network/edit", &stack_form(&fields)).await.expect(303);
    let after = variables(&w.stored_stack("network").await);
    assert_eq!(after[1], variable("TOKEN", "it is $HOME", true, false));
    assert_eq!(after[3], variable("MODE", "$x", false, true));

    // A name that is there already is refused by name.
    fields[1] = ("version", "2");
    fields[2] = ("pasted", "TOKEN=other-value");
    fields.push(("pasted.secret", "on"));
    let page = browser.send("/stacks/network/edit", &stack_form(&fields)).await.expect(422).text;
    assert!(page.contains("TOKEN is defined twice") && !page.contains("other-value"), "{page}");

    let module = form_of(&[
        ("project", "acme/network"),
        ("name", "net"),
        ("slug", "net"),
        ("terraform_provider", "aws"),
        ("pasted", "TF_VAR_x=hush-hush"),
        ("pasted.secret", "on"),
        ("pasted.runs", "tracked"),
    ]);
    browser.send("/modules/new", &module).await.expect(303);
    let module = variables(&w.stored_stack("net").await);
    assert_eq!(module, [variable("TF_VAR_x", "hush-hush", true, false)]);
}

#[tokio::test]
async fn lines_that_cannot_be_pasted_are_told_and_the_others_are_not_lost() {
    let w = connected().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let text =
        "TOKEN=geheim-eins\ngeheim-zwei\n1B=geheim-drei\nGANTRY_X=geheim-vier\nTOKEN=geheim-fünf";
    let pasted = [("pasted", text), ("pasted.secret", "on"), ("pasted.runs", "tracked")];
    let form = stack_form(&[&[("name", "")][..], &pasted].concat());
    let page = browser.send("/stacks/new", &form).await.expect(422).text;
    for part in [
        "Enter a name.",
        "Line 2: no = after the name",
        "Line 3: what is before the = is not a variable name",
        "Line 5: TOKEN is already defined on line 1",
        "GANTRY_X is set by Gantry",
        r#"<details class="pasted" open>"#,
        r#"name="variables[0].name" value="TOKEN""#,
        r#"name="variables[1].name" value="GANTRY_X""#,
        KEPT,
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("geheim"), "a secret is in the page: {page}");
    // The first field that is wrong has the focus, without a script.
    assert_eq!(page.matches(" autofocus").count(), 1, "{page}");
    assert!(
        page.contains(
            r#"<input name="name" value="" autocomplete="off" required autofocus aria-invalid"#
        ),
        "{page}"
    );
    let stacks = w.get("/api/v1/stacks").await.expect(200).body;
    assert_eq!(stacks["stacks"], serde_json::json!([]), "nothing was saved");

    let kept = hidden(&page, "variables[0].kept");
    let form = stack_form(&[&[("name", "Network")][..], &row("", &kept)].concat());
    browser.send("/stacks/new", &form).await.expect(303);
    assert_eq!(value_of(&w, "network").await, "geheim-eins");
}

#[tokio::test]
async fn a_refused_form_keeps_the_secrets_that_were_typed_and_shows_none() {
    let w = connected().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let form = |name: &'static str, value: &str, kept: &str| {
        stack_form(&[&[("name", name), ("version", "1")][..], &row(value, kept)].concat())
    };
    let page = browser.send("/stacks/new", &form("", "geheim-eins", "")).await.expect(422).text;
    assert!(page.contains(KEPT) && !page.contains("geheim"), "{page}");
    // As often as something else is wrong.
    let kept = hidden(&page, "variables[0].kept");
    let page = browser.send("/stacks/new", &form("", "", &kept)).await.expect(422).text;
    assert!(page.contains(KEPT) && !page.contains("geheim"), "{page}");
    let kept = hidden(&page, "variables[0].kept");
    browser.send("/stacks/new", &form("Network", "", &kept)).await.expect(303);
    assert_eq!(value_of(&w, "network").await, "geheim-eins");

    // What is typed anew counts, before what was kept; and that, before what is stored.
    let edit = "/stacks/network/edit";
    let page = browser.send(edit, &form("", "geheim-zwei", "")).await.expect(422).text;
    let kept = hidden(&page, "variables[0].kept");
    let page = browser.send(edit, &form("", "geheim-drei", &kept)).await.expect(422).text;
    assert!(!page.contains("geheim"), "{page}");
    let kept = hidden(&page, "variables[0].kept");
    assert_eq!(value_of(&w, "network").await, "geheim-eins");
    browser.send(edit, &form("Network", "", &kept)).await.expect(303);
    assert_eq!(value_of(&w, "network").await, "geheim-drei");

    // A name that was wrong is corrected without typing the value again.
    let mut wrong = row("geheim-vier", "");
    wrong[0].1 = "1A";
    let fields = [&[("name", "Other")][..], &wrong].concat();
    let page = browser.send("/stacks/new", &stack_form(&fields)).await.expect(422).text;
    let kept = hidden(&page, "variables[0].kept");
    browser.send("/stacks/new", &form("Other", "", &kept)).await.expect(303);
    assert_eq!(value_of(&w, "other").await, "geheim-vier");
}

#[tokio::test]
async fn a_sealed_secret_counts_only_where_and_while_it_was_typed() {
    let w = connected().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let form = |name: &'static str, row: &[(&str, &str)]| {
        stack_form(&[&[("name", name), ("version", "1")][..], row].concat())
    };
    for name in ["Network", "Other"] {
        browser.send("/stacks/new", &form(name, &row("stored-value", ""))).await.expect(303);
    }
    let typed = async |browser: &Browser<'_>, path: &str| {
        let page = browser.send(path, &form("", &row("geheim", ""))).await.expect(422).text;
        hidden(&page, "variables[0].kept")
    };
    let edit = "/stacks/network/edit";
    let VariableValue::Sealed(stored) = w.stored_stack("other").await.variables[0].value.clone()
    else {
        panic!("it is no secret")
    };
    let own = typed(&browser, edit).await;
    let (expires, body) = own.split_once('.').unwrap();
    let session = Browser::sign_in(&w, &w.admin).await;
    let planted = [
        ("of another stack", typed(&browser, "/stacks/other/edit").await),
        ("of a new stack", typed(&browser, "/stacks/new").await),
        ("of another session", typed(&session, edit).await),
        ("stored for another stack", stored.clone()),
        ("stored for another stack, with a time", format!("{expires}.{stored}")),
        ("with a longer time", format!("9999999999.{body}")),
        ("nonsense", "x".to_owned()),
    ];
    for (what, kept) in planted {
        let page = browser.send(edit, &form("Network", &row("", &kept))).await.expect(422).text;
        assert!(page.contains(LOST) && !page.contains("geheim"), "{what}: {page}");
        assert_eq!(value_of(&w, "network").await, "stored-value", "{what}");
    }
    // In another row it is another field's.
    let mut moved: Vec<(String, &str)> =
        row("", &own).iter().map(|(name, value)| (name.replace("[0]", "[1]"), *value)).collect();
    moved[0].1 = "MOVED";
    let both: Vec<(&str, &str)> = row("", "")
        .into_iter()
        .take(4)
        .chain(moved.iter().map(|(n, v)| (n.as_str(), *v)))
        .collect();
    let page = browser.send(edit, &form("Network", &both)).await.expect(422).text;
    assert!(page.contains(LOST), "{page}");

    // Who unticks Secret, or takes the row away, does not get at the value.
    let page = browser.get(edit).await.expect(200).text;
    assert!(!page.contains(KEPT), "{page}");
    let mut open = row("", &own).to_vec();
    open.remove(2);
    let page = browser.send(edit, &form("", &open)).await.expect(422).text;
    assert!(!page.contains("geheim") && !page.contains(KEPT), "{page}");

    w.hand.advance(Duration::from_secs(30 * 60 - 1));
    let page = browser.send(edit, &form("", &row("", &own))).await.expect(422).text;
    assert!(page.contains(KEPT), "{page}");
    w.hand.advance(Duration::from_secs(1));
    let page = browser.send(edit, &form("Network", &row("", &own))).await.expect(422).text;
    assert!(page.contains(LOST), "{page}");
    assert_eq!(value_of(&w, "network").await, "stored-value");
    // Left as it is then, and typed again, it is saved.
    browser.send(edit, &form("Network", &row("geheim", &own))).await.expect(303);
    assert_eq!(value_of(&w, "network").await, "geheim");
}

#[tokio::test]
async fn what_is_lost_is_told_although_somebody_else_was_first() {
    let w = connected().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let form = |version: &'static str, kept: &str| {
        let fields = [("name", "Network"), ("version", version), ("pasted", "hush")];
        stack_form(&[&fields[..], &row("", kept)].concat())
    };
    let new = stack_form(&[&[("name", "Network")][..], &row("stored-value", "")].concat());
    browser.send("/stacks/new", &new).await.expect(303);
    let labels = serde_json::json!({ "labels": ["theirs"] });
    w.send("PUT", "/api/v1/stacks/network", labels).await.expect(200);
    let page = browser.send("/stacks/network/edit", &form("1", "x")).await.expect(422).text;
    for said in ["Somebody else changed the stack", LOST, "Line 1: no = after the name"] {
        assert!(page.contains(said), "{said}: {page}");
    }
}

#[tokio::test]
async fn gitlabs_token_is_typed_once() {
    let w = world().await;
    let browser = Browser::sign_in(&w, &w.admin).await;
    let form = |host: &str, token: &str, kept: &str| {
        form_of(&[("api_host", host), ("token", token), ("token.kept", kept)])
    };
    let wrong = form("http://127.0.0.1:1", &w.token, "");
    let page = browser.send("/gitlab", &wrong).await.expect(422).text;
    assert!(page.contains(KEPT) && !page.contains(&w.token), "{page}");
    let kept = hidden(&page, "token.kept");
    let host = w.gitlab.base_url();
    let other = Browser::sign_in(&w, &w.admin).await;
    let page = other.send("/gitlab", &form(host, "", &kept)).await.expect(422).text;
    assert!(page.contains(LOST) && !page.contains(KEPT), "{page}");
    // One that is wrong itself is not kept.
    let page = browser.send("/gitlab", &form(host, "glpat-nobody", &kept)).await.expect(422).text;
    assert!(!page.contains(KEPT) && !page.contains("glpat-nobody"), "{page}");
    let saved = browser.send("/gitlab", &form(host, "", &kept)).await.expect(200).text;
    assert!(saved.contains("Saved: connected") && !saved.contains(&w.token), "{saved}");
    w.hand.advance(Duration::from_secs(30 * 60));
    let page = browser.send("/gitlab", &form(host, "", &kept)).await.expect(422).text;
    assert!(page.contains(LOST), "{page}");
}
