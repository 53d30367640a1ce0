//! What exists outside of any state, with the provider for tests on the real tool.

use gantry_domain::stack::Tool;
use gantry_scenarios::{StackOptions, World, run_test_on};
use gantry_terraform::{on_each_tool, test_provider_code};
use reqwest::Method;
use serde_json::json;
use std::{fs, path::Path};

/// An object with a nested block. Its successor is made first, and its end may fail.
fn object(name: &str, port: u16, fails_to: &str) -> String {
    format!(
        r#"resource "test_object" "web" {{
  name     = "{name}"
  text     = "hello"
  fails_to = {fails_to}
  rule {{
    port = {port}
    text = "open"
  }}
  lifecycle {{
    create_before_destroy = true
  }}
}}
"#
    )
}

/// Edits an object by hand.
fn edit(outside: &Path, id: &str, what: &str, with: &str) {
    let file = outside.join(format!("{id}.json"));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(what), "{text}");
    fs::write(file, text.replace(what, with)).unwrap();
}

/// Confirms the run that waits.
async fn confirm(w: &mut World) {
    let run = w.run_in("network", "unconfirmed").await;
    w.order(&format!("/runs/{run}/confirm"), json!({})).await;
}

on_each_tool! {
    async fn drift_a_nested_block_and_a_deposed_object_are_shown_as_they_are(tool) {
        run_test_on(tool, |mut w| async move {
            let project = w.plain_project("acme/network");
            w.with_real_runners();
            // The folder is another one in each telling, and the code is the same.
            let outside = w.outside();
            let fields = json!({
                "variables": [{ "name": "TF_VAR_outside", "value": outside, "runs": "all" }],
            });
            w.stack(project, "network", "infra", StackOptions { fields }).await;
            let begin = test_provider_code(Path::new("outside"));
            let begin = begin.replace("\"outside\"", "var.outside") + "variable \"outside\" {}\n\n";
            let code = |object: String| format!("{begin}{object}");

            let first = code(object("web", 80, "[\"destroy\"]"));
            let first = w.push(project, "main", "infra/main.tf", &first).await;
            confirm(&mut w).await;
            w.expect_status(project, &first, "gantry/network", "success: Applied: 1 added");

            // Drift, and a change of the block, in a merge request.
            edit(&outside, "web-1", "hello", "by hand");
            let ports = code(object("web", 443, "[\"destroy\"]"));
            w.push(project, "ports", "infra/main.tf", &ports).await;
            let iid = w.open(project, "ports").await;
            let note = w.note(project, iid);
            let change = format!(
                "! test_object.web will be updated in place\n\
                 !   revision = 1 -> (known after apply)\n\
                 !   rule[0].port = 80 -> 443\n\
                 !   text = \"by hand\" -> \"hello\"\n\n  \
                 1 resource was changed outside {}:\n    test_object.web\n",
                tool.name()
            );
            assert!(note.contains(&change), "{note}");

            // The old object cannot be destroyed: it is deposed.
            let renamed = code(object("site", 80, "[\"destroy\"]"));
            let renamed = w.push(project, "main", "infra/main.tf", &renamed).await;
            confirm(&mut w).await;
            w.expect_status(project, &renamed, "gantry/network", "failed");
            edit(&outside, "web-1", "destroy", "finish_update");
            let again = w.push(project, "main", "infra/more.tf", "# again").await;
            let planned = "running: 0 to add, 0 to change, 1 to destroy";
            w.expect_status(project, &again, "gantry/network", planned);
            let run = w.run_in("network", "unconfirmed").await;
            let (_, change) = w.api(Method::GET, &format!("/runs/{run}/change"), None).await;
            let [gone] = change["resources"].as_array().unwrap().as_slice() else {
                panic!("{change:#}")
            };
            assert_eq!(gone["action"], "delete");
            assert!(gone["deposed"].is_string(), "{change:#}");
            confirm(&mut w).await;
            let applied = "success: Applied: 0 added, 0 changed, 1 destroyed";
            w.expect_status(project, &again, "gantry/network", applied);

            // All this time the tool was called by its own name.
            let other = match tool {
                Tool::Terraform => "OpenTofu",
                Tool::OpenTofu => "Terraform",
            };
            let mut told = vec![w.history(), w.note(project, iid)];
            for run in w.runs("network").await {
                let id = run["id"].as_str().unwrap();
                for part in ["", "/log", "/change"] {
                    let (_, said) = w.api(Method::GET, &format!("/runs/{id}{part}"), None).await;
                    told.push(said.to_string());
                }
            }
            for text in told {
                assert!(!text.contains(other), "{text}");
            }
            w
        })
        .await;
    }
}
