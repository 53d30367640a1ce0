//! Records what a newer Terraform says of what the tests' own Terraform does not know: actions,
//! and objects that are kept.
//!
//! The records are test data of `shared/domain`; nothing of a machine is in them but times.
//! To record again: `PATH=<folder of a Terraform from 1.16 on>:$PATH cargo test --workspace --test
//! provider -- --ignored`.

use crate::place::{Place, change, object};
use gantry_domain::stack::Tool;
use serde_json::json;
use std::{fs, path::Path};

const NOTES: &str = r#"
action "test_note" "told" {
  config {
    text   = "the object is there"
    secret = "of-an-action"
  }
}

action "test_note" "refused" {
  config {
    text  = "never told"
    fails = true
  }
}
"#;

/// A resource whose life invokes an action.
fn triggers(text: &str, triggers: &str) -> String {
    let lifecycle = format!("lifecycle {{\n{triggers}\n}}");
    object("a", &format!("name = \"web\"\ntext = {text:?}\n{lifecycle}")) + NOTES
}

fn trigger(events: &str, action: &str) -> String {
    format!(
        "action_trigger {{\n  events  = [{events}]\n  actions = [action.test_note.{action}]\n}}"
    )
}

#[test]
#[ignore = "it needs a Terraform from 1.16 on, which no test may count on"]
fn what_a_newer_terraform_says() {
    actions();
    kept_objects();
    deposed_objects();
    store();
}

fn actions() {
    let place = Place::new(Tool::Terraform);
    let all = trigger("before_create, after_create, before_update, after_update", "told");
    place.write(&triggers("one", &all));
    plan(&place, "actions-create");
    let said = apply(&place, "actions-create");
    assert!(said.contains("action_complete"), "{said}");
    assert_eq!(notes(&place), 2);

    place.write(&triggers("two", &all));
    let planned = plan(&place, "actions-update");
    let invocations = planned["action_invocations"].as_array().unwrap();
    assert_eq!(invocations.len(), 2, "{planned}");
    assert!(
        !planned["action_invocations"].to_string().contains("\"of-an-action\"") || {
            invocations[0]["config_sensitive"]["secret"] == json!(true)
        }
    );
    apply(&place, "actions-update");
    assert_eq!(notes(&place), 4);

    place.write(&triggers("three", &trigger("after_update", "refused")));
    plan(&place, "actions-failed");
    let said = apply(&place, "actions-failed");
    assert!(said.contains("The note cannot be left"), "{said}");

    place.write(&triggers("three", ""));
    let invoke = place.run(&["plan", "-out=plan", "-invoke=action.test_note.told"]);
    assert!(invoke.status.success(), "{invoke:?}");
    keep(&place, "actions-invoked.plan.json", &place.shown());
    apply(&place, "actions-invoked");

    let ends = [
        trigger("before_destroy", "refused").replace("events", "on_failure = continue\n  events"),
        trigger("after_destroy", "told"),
    ];
    place.write(&triggers("three", &ends.join("\n")));
    let destroy = place.run(&["plan", "-destroy", "-out=plan"]);
    assert!(destroy.status.success(), "{destroy:?}");
    keep(&place, "actions-destroyed.plan.json", &place.shown());
    apply(&place, "actions-destroyed");
}

fn kept_objects() {
    let place = Place::new(Tool::Terraform);
    let kept =
        |name: &str| object("a", &format!("name = {name:?}\nlifecycle {{\n  destroy = false\n}}"));
    place.write(&kept("web"));
    place.plan();
    place.apply();
    place.write(&kept("api"));
    plan(&place, "kept-replaced");
    apply(&place, "kept-replaced");
    let destroy = place.run(&["plan", "-destroy", "-out=plan"]);
    assert!(destroy.status.success(), "{destroy:?}");
    keep(&place, "kept-destroyed.plan.json", &place.shown());
    apply(&place, "kept-destroyed");
}

fn deposed_objects() {
    let place = Place::new(Tool::Terraform);
    let cautious = |name: &str| {
        let lifecycle = "lifecycle {\n  create_before_destroy = true\n}";
        object("a", &format!("name = {name:?}\nfails_to = [\"destroy\"]\n{lifecycle}"))
    };
    place.write(&cautious("web"));
    place.plan();
    place.apply();
    place.write(&cautious("api"));
    place.plan();
    place.fails();
    let planned = plan(&place, "deposed");
    assert_eq!(change(&planned, "test_object.a")["actions"], json!(["no-op"]));
}

fn store() {
    let place = Place::new(Tool::Terraform);
    place.write(
        "variable \"secret\" {\n  default   = \"of-a-variable\"\n  sensitive = true\n}\n\
         resource \"terraform_data\" \"a\" {\n  store {\n    input = var.secret\n  }\n}\n",
    );
    plan(&place, "store");
}

fn plan(place: &Place, name: &str) -> serde_json::Value {
    let said = place.run(&["plan", "-json", "-out=plan"]);
    assert!(said.status.success(), "{said:?}");
    keep(place, &format!("{name}.plan.jsonl"), &String::from_utf8_lossy(&said.stdout));
    let shown = place.shown();
    keep(place, &format!("{name}.plan.json"), &shown);
    serde_json::from_str(&shown).unwrap()
}

/// Some of them fail.
fn apply(place: &Place, name: &str) -> String {
    let said = place.run(&["apply", "-json", "plan"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    keep(place, &format!("{name}.apply.jsonl"), &said);
    said
}

fn notes(place: &Place) -> usize {
    fs::read_to_string(place.path("outside/notes")).unwrap().lines().count()
}

fn keep(place: &Place, name: &str, text: &str) {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/domain/testdata/terraform-1.16");
    fs::create_dir_all(&folder).unwrap();
    let text = text.replace(place.path("").to_str().unwrap(), "/recorded/");
    fs::write(folder.join(name), text.trim_end().to_owned() + "\n").unwrap();
}
