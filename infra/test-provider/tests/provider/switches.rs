//! What Terraform and OpenTofu make of each switch of the provider for tests.

use crate::place::{Place, change, changes, diagnostics, object, text};
use gantry_domain::stack::Tool;
use gantry_terraform::on_each_tool;
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

on_each_tool! {
    async fn an_object_lives_from_create_to_destroy(tool) {
        let place = Place::new(tool);
        let digits = "123456789012345678901234567890.125";
        let made = |text: &str| format!("name = \"web\"\ntext = \"{text}\"\nnumber = {digits}");
        place.write(&object("a", &made("one")));
        let plan = place.plan();
        let created = change(&plan, "test_object.a");
        assert_eq!(created["actions"], json!(["create"]));
        assert_eq!(created["after_unknown"]["id"], json!(true));
        assert_eq!(created["after_unknown"]["revision"], json!(true));
        assert!(place.shown().contains(&format!("\"number\":{digits}")), "{}", place.shown());
        place.apply();
        let outside = place.outside("web-1").unwrap();
        assert_eq!(outside["number"], json!(digits));
        assert_eq!(changes(&place.plan()), json!([["test_object.a", ["no-op"]]]));

        place.write(&object("a", &made("two")));
        let updated = change(&place.plan(), "test_object.a");
        assert_eq!(updated["actions"], json!(["update"]));
        assert_eq!(updated["before"]["text"], json!("one"));
        assert_eq!(updated["before"]["revision"], json!(1));
        place.apply();
        assert_eq!(place.outside("web-1").unwrap()["revision"], json!(2));

        place.write(&object("a", "name = \"api\""));
        let replaced = change(&place.plan(), "test_object.a");
        assert_eq!(replaced["actions"], json!(["delete", "create"]));
        assert_eq!(replaced["replace_paths"], json!([["name"]]));
        place.apply();
        assert!(place.outside("web-1").is_none());
        assert!(place.outside("api-1").is_some());

        place.write("");
        place.plan();
        place.apply();
        assert!(place.outside("api-1").is_none());
        // Every start of the provider has ended by itself.
        assert_eq!(place.left_in_tmp(), Vec::<String>::new());
    }

    async fn who_edits_or_deletes_a_file_outside_makes_drift(tool) {
        let place = Place::new(tool);
        place.write(&object("a", "name = \"web\"\ntext = \"one\""));
        place.plan();
        place.apply();
        place.edit("web-1", |outside| outside["text"] = json!("by hand"));
        let plan = place.plan();
        let drift = &plan["resource_drift"][0];
        assert_eq!(drift["address"], json!("test_object.a"));
        assert_eq!(drift["change"]["before"]["text"], json!("one"));
        assert_eq!(drift["change"]["after"]["text"], json!("by hand"));
        assert_eq!(change(&plan, "test_object.a")["actions"], json!(["update"]));
        place.apply();

        place.delete("web-1");
        let plan = place.plan();
        assert_eq!(plan["resource_drift"][0]["change"]["actions"], json!(["delete"]));
        assert_eq!(change(&plan, "test_object.a")["actions"], json!(["create"]));
    }

    async fn nested_blocks_are_lists_sets_and_at_most_one(tool) {
        let place = Place::new(tool);
        let nested = r#"name = "web"
            endpoints = [{ url = "https://a.example", token = "endpoint-token" }]
            rule {
              port   = 80
              secret = "rule-secret"
            }
            rule { port = 443 }
            label {
              key   = "team"
              value = "blue"
            }
            settings { number = 3 }"#;
        place.write(&object("a", nested));
        let created = change(&place.plan(), "test_object.a");
        let after = &created["after"];
        let rule = |port: i64, secret: Value| json!({ "port": port, "secret": secret, "text": null });
        let rules = json!([rule(80, json!("rule-secret")), rule(443, Value::Null)]);
        assert_eq!(after["rule"], rules);
        assert_eq!(after["label"], json!([{ "key": "team", "value": "blue" }]));
        assert_eq!(after["settings"], json!({ "number": 3, "text": null }));
        // Nobody wrote one, and it is there all the same.
        assert_eq!(after["unwritten"], json!([]));
        let marks = &created["after_sensitive"];
        assert_eq!(marks["endpoints"], json!([{ "token": true }]));
        assert_eq!(marks["rule"], json!([{ "secret": true }, { "secret": true }]));
        place.apply();

        // A rule in front moves all others; a set has no order.
        let moved = nested.replacen("rule {", "rule { port = 22 }\n rule {", 1);
        let moved = moved.replace("label {", "label { key = \"env\" }\n label {");
        place.write(&object("a", &moved));
        let updated = change(&place.plan(), "test_object.a");
        assert_eq!(updated["before"]["rule"], rules);
        assert_eq!(updated["after"]["rule"][0], rule(22, Value::Null));
        assert_eq!(updated["after"]["label"].as_array().unwrap().len(), 2);
        place.apply();
        assert_eq!(changes(&place.plan()), json!([["test_object.a", ["no-op"]]]));
    }

    async fn a_destroy_that_fails_leaves_a_deposed_object(tool) {
        let place = Place::new(tool);
        let cautious = |name: &str| {
            let lifecycle = "lifecycle { create_before_destroy = true }";
            object("a", &format!("name = {name:?}\nfails_to = [\"destroy\"]\n{lifecycle}"))
        };
        place.write(&cautious("web"));
        place.plan();
        place.apply();
        place.write(&cautious("api"));
        let replaced = change(&place.plan(), "test_object.a");
        assert_eq!(replaced["actions"], json!(["create", "delete"]));
        let said = place.fails();
        assert!(said.contains("The object cannot be destroyed"), "{said}");
        assert!(said.contains("fails_to has \"destroy\""), "{said}");
        assert!(place.outside("web-1").is_some() && place.outside("api-1").is_some());

        let plan = place.plan();
        let changes = plan["resource_changes"].as_array().unwrap();
        let deposed = changes.iter().find(|change| change["deposed"].is_string()).unwrap();
        assert_eq!(deposed["address"], json!("test_object.a"));
        assert_eq!(deposed["change"]["actions"], json!(["delete"]));
        place.edit("web-1", |outside| outside["fails_to"] = json!([]));
        place.plan();
        place.apply();
        assert!(place.outside("web-1").is_none() && place.outside("api-1").is_some());
    }

    async fn each_step_fails_where_it_is_told_to(tool) {
        let place = Place::new(tool);
        let failing = |step: &str, text: &str| {
            object("a", &format!("name = \"web\"\ntext = {text:?}\nfails_to = [{step:?}]"))
        };
        place.write(&failing("plan", "one"));
        let said = place.run(&["plan", "-no-color"]);
        assert!(!said.status.success() && text(&said).contains("The object cannot be planned"));

        place.write(&failing("create", "one"));
        place.plan();
        assert!(place.fails().contains("The object cannot be created"));
        assert!(place.outside("web-1").is_none());

        place.write(&failing("finish_create", "one"));
        place.plan();
        assert!(place.fails().contains("fails_to has \"finish_create\""));
        assert!(place.outside("web-1").is_some());
        let tainted = change(&place.plan(), "test_object.a");
        assert_eq!(tainted["actions"], json!(["delete", "create"]));

        place.write(&object("a", "name = \"web\""));
        place.plan();
        place.apply();
        place.write(&failing("update", "two"));
        place.plan();
        assert!(place.fails().contains("The object cannot be updated"));
        assert_eq!(place.outside("web-1").unwrap()["text"], Value::Null);

        place.write(&failing("read", "one"));
        place.plan();
        place.apply();
        let said = place.run(&["plan", "-no-color"]);
        assert!(!said.status.success() && text(&said).contains("The object cannot be read"));
    }

    async fn marks_and_write_only_values(tool) {
        let place = Place::new(tool);
        let secrets = |version: i64, pin: i64| {
            format!(
                "variable \"password\" {{\n  default   = \"of-a-variable\"\n  ephemeral = true\n}}\n\
                 ephemeral \"test_token\" \"t\" {{\n  name = \"web\"\n}}\n{}",
                object(
                    "a",
                    &format!(
                        "name = \"web\"\nsecret = \"of-a-secret\"\npin = {pin}\n\
                         write_only = \"${{var.password}} ${{ephemeral.test_token.t.value}}\"\n\
                         write_only_version = {version}"
                    )
                )
            )
        };
        place.write(&secrets(1, 48_151_623));
        let created = change(&place.plan(), "test_object.a");
        assert_eq!(created["after_sensitive"]["secret"], json!(true));
        assert_eq!(created["after_sensitive"]["pin"], json!(true));
        assert_eq!(created["after"]["pin"], json!(48_151_623));
        assert_eq!(created["after"]["write_only"], Value::Null);
        assert!(!place.shown().contains("token-of-web"));
        place.apply();
        let outside = place.outside("web-1").unwrap();
        assert_eq!(outside["write_only"], json!("of-a-variable token-of-web"));
        let state = std::fs::read_to_string(place.path("code/terraform.tfstate")).unwrap();
        assert!(state.contains("of-a-secret") && !state.contains("token-of-web"));
        assert_eq!(changes(&place.plan())[0], json!(["test_object.a", ["no-op"]]));

        place.write(&secrets(2, 48_151_624));
        let updated = change(&place.plan(), "test_object.a");
        assert_eq!(updated["before"]["pin"], json!(48_151_623));
        assert_eq!(updated["before_sensitive"]["pin"], json!(true));
        assert_eq!(updated["after"]["write_only_version"], json!(2));
    }

    async fn warnings_have_a_summary_and_a_place(tool) {
        let place = Place::new(tool);
        let warns = "name = \"web\"\ntext = \"hello\"\nold_text = \"\"\nwarns_at = [\"plan\", \"apply\"]";
        place.write(&object("a", warns));
        let said = place.run(&["plan", "-json", "-out=plan"]);
        let warnings = diagnostics(&said);
        let told = warnings.iter().find(|said| said["summary"] == "The text may be too old").unwrap();
        assert_eq!(told["severity"], json!("warning"));
        assert_eq!(told["detail"], json!("The object web warns at plan, as it was told to."));
        assert_eq!(told["address"], json!("test_object.a"));
        assert_eq!(told["snippet"]["code"], json!("text = \"hello\""));
        assert!(warnings.iter().any(|said| said["snippet"]["code"] == "old_text = \"\""));
        let warnings = diagnostics(&place.run(&["apply", "-json", "plan"]));
        let details: Vec<_> = warnings.iter().map(|said| said["detail"].clone()).collect();
        let detail = json!("The object web warns at apply, as it was told to.");
        assert!(details.contains(&detail), "{details:?}");
    }

    async fn objects_are_imported_moved_to_the_other_type_and_read(tool) {
        let place = Place::new(tool);
        place.write(&object("a", "name = \"web\"\ntext = \"hello\""));
        place.plan();
        place.apply();
        std::fs::remove_file(place.path("code/terraform.tfstate")).unwrap();

        let import = "import {\n  to = test_object.a\n  id = \"web-1\"\n}\n";
        place.write(&format!("{import}{}", object("a", "name = \"web\"\ntext = \"other\"")));
        let imported = change(&place.plan(), "test_object.a");
        assert_eq!(imported["importing"]["id"], json!("web-1"));
        assert_eq!(imported["before"]["text"], json!("hello"));
        place.apply();

        let thing = object("b", "name = \"web\"\ntext = \"other\"").replace("test_object", "test_thing");
        let moved = "moved {\n  from = test_object.a\n  to = test_thing.b\n}\n";
        let data = "data \"test_object\" \"d\" {\n  id = \"web-1\"\n}\noutput \"text\" {\n  value = data.test_object.d.text\n}\n";
        place.write(&format!("{thing}{moved}{data}"));
        let plan = place.plan();
        assert_eq!(changes(&plan), json!([["test_thing.b", ["no-op"]]]));
        assert_eq!(plan["resource_changes"][0]["previous_address"], json!("test_object.a"));
        assert_eq!(plan["planned_values"]["outputs"]["text"]["value"], json!("other"));
        place.apply();

        let from_another = "moved {\n  from = terraform_data.x\n  to = test_thing.b\n}\n";
        std::fs::remove_file(place.path("code/terraform.tfstate")).unwrap();
        place.write("resource \"terraform_data\" \"x\" {\n}\n");
        place.plan();
        place.apply();
        place.write(&format!("{thing}{from_another}"));
        let said = place.run(&["plan", "-no-color"]);
        assert!(text(&said).contains("A terraform_data cannot become a test_thing"), "{said:?}");
    }

    async fn an_interrupt_ends_what_is_slow(tool) {
        let place = Place::new(tool);
        place.write(&object("a", "name = \"web\"\ntakes = { create = 600 }"));
        place.plan();
        let mut apply = place.command(&["apply", "-no-color", "plan"]);
        let mut apply = apply.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(apply.stdout.take().unwrap()).lines();
        // "Creating..." is said before the provider is asked.
        let began = said.find(|line| line.as_ref().unwrap().contains("Still creating"));
        assert!(began.is_some());
        let pid = nix::unistd::Pid::from_raw(apply.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        let rest: Vec<_> = said.map(Result::unwrap).collect();
        let ended = apply.wait_with_output().unwrap();
        assert!(!ended.status.success(), "{rest:?}");
        assert!(String::from_utf8_lossy(&ended.stderr).contains("it was interrupted"), "{ended:?}");
        assert!(place.outside("web-1").is_none());
    }

    async fn the_provider_ends_with_a_tool_that_is_killed(tool) {
        let place = Place::new(tool);
        place.write(&object("a", "name = \"web\"\ntakes = { create = 600 }"));
        place.plan();
        let mut apply = place.command(&["apply", "-no-color", "plan"]);
        let mut apply = apply.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(apply.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().contains("Creating...")));
        assert_eq!(place.providers(), 1);
        apply.kill().unwrap();
        apply.wait().unwrap();
        let begun = Instant::now();
        while place.providers() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "the provider goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// OpenTofu shows them from 1.12 on, as Terraform does.
#[test]
fn objects_have_an_identity() {
    if !gantry_terraform::has(Tool::OpenTofu) {
        return;
    }
    let place = Place::new(Tool::OpenTofu);
    place.write(&object("a", "name = \"web\""));
    place.plan();
    place.apply();
    std::fs::remove_file(place.path("code/terraform.tfstate")).unwrap();
    let import = "import {\n  to = test_object.a\n  identity = {\n    id = \"web-1\"\n  }\n}\n";
    place.write(&format!("{import}{}", object("a", "name = \"web\"")));
    let imported = change(&place.plan(), "test_object.a");
    assert_eq!(imported["importing"]["identity"], json!({ "id": "web-1" }));
    place.apply();

    place.write(&object("a", "name = \"api\""));
    let replaced = change(&place.plan(), "test_object.a");
    assert_eq!(replaced["before_identity"], json!({ "id": "web-1" }));
    assert_eq!(replaced["after_identity"], Value::Null);
    place.apply();
    let kept = change(&place.plan(), "test_object.a");
    assert_eq!(kept["after_identity"], json!({ "id": "api-1" }));
}
