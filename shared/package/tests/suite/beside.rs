//! The reader beside the tools: what it reads of a folder is what the plan JSON of each tool says
//! of the same folder.

use crate::support::{module, pack};
use gantry_domain::{plan::planned_modules, stack::Tool};
use gantry_package::{Declared, Input, Metadata};
use gantry_terraform::on_each_tool;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Output},
};

/// A folder with these files, in which a tool is run.
struct Folder {
    tool: Tool,
    folder: tempfile::TempDir,
    metadata: Metadata,
}

impl Folder {
    fn new(tool: Tool, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mirror = match gantry_terraform::mirror() {
            Some(mirror) => format!("filesystem_mirror {{\n path = {mirror:?}\n}}"),
            None => String::new(),
        };
        let config = format!("provider_installation {{\n{mirror}\n}}\n");
        fs::write(folder.path().join("cli.rc"), config).unwrap();
        let metadata = pack(&module(files), "").unwrap().0.metadata;
        Self { tool, folder, metadata }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let program = gantry_terraform::folder(self.tool).unwrap().join(self.tool.command());
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env("TF_CLI_CONFIG_FILE", "cli.rc");
        command.args(arguments).output().unwrap()
    }

    /// What the tool read; or what it says of files that it does not take.
    fn planned(&self) -> Result<Value, String> {
        let inputs = self.read().inputs;
        let values = inputs.iter().filter(|input| input.required);
        let values: Vec<_> = values.map(|input| format!("-var={}=1", input.name)).collect();
        let mut plan = vec!["plan", "-input=false", "-no-color", "-out=plan"];
        plan.extend(values.iter().map(String::as_str));
        for arguments in [&["init", "-input=false", "-no-color"][..], &plan] {
            let output = self.run(arguments);
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
        }
        let shown = self.run(&["show", "-json", "plan"]).stdout;
        Ok(serde_json::from_slice::<Value>(&shown).unwrap()["configuration"].clone())
    }

    /// What the reader read for the tool.
    fn read(&self) -> Declared {
        Self::view(self.metadata.clone(), self.tool)
    }

    fn view(metadata: Metadata, tool: Tool) -> Declared {
        let Metadata { inputs, outputs, providers, opentofu, .. } = metadata;
        let shared = Declared { inputs, outputs, providers };
        opentofu.filter(|_| tool == Tool::OpenTofu).unwrap_or(shared)
    }

    /// Compares the two.
    #[track_caller]
    fn agree(&self) {
        assert_eq!(self.metadata.problems, [""; 0]);
        let said = self.planned().unwrap();
        let read = self.read();
        let root = &said["root_module"];
        let found: BTreeMap<_, _> = read.inputs.iter().map(of_input).collect();
        let expected: BTreeMap<_, _> = entries(&root["variables"]).map(of_variable).collect();
        assert_eq!(found, expected, "{}: variables", self.tool.command());
        let found: BTreeMap<_, _> = read
            .outputs
            .iter()
            .map(|o| (o.name.clone(), (o.description.clone().unwrap_or_default(), o.sensitive)))
            .collect();
        let expected: BTreeMap<_, _> = entries(&root["outputs"])
            .map(|(name, o)| (name, (text(&o["description"]), o["sensitive"] == true)))
            .collect();
        assert_eq!(found, expected, "{}: outputs", self.tool.command());
        let found: BTreeMap<_, _> = read
            .providers
            .iter()
            .map(|p| {
                let implied = format!("hashicorp/{}", p.name);
                let version = constraints(p.version.as_deref().unwrap_or_default());
                (p.name.clone(), (p.source.clone().unwrap_or(implied), version))
            })
            .collect();
        let expected: BTreeMap<_, _> = entries(&said["provider_config"])
            .filter(|(_, p)| p["full_name"] != "terraform.io/builtin/terraform")
            .map(|(_, p)| {
                let (_registry, source) = p["full_name"].as_str().unwrap().split_once('/').unwrap();
                let version = constraints(p["version_constraint"].as_str().unwrap_or_default());
                (text(&p["name"]), (source.to_owned(), version))
            })
            .collect();
        assert_eq!(found, expected, "{}: providers", self.tool.command());
        self.believed(&said);
    }

    /// The tool's own word changes nothing but how defaults are written.
    #[track_caller]
    fn believed(&self, said: &Value) {
        let plan = serde_json::to_vec(&json!({ "configuration": said })).unwrap();
        let planned = planned_modules(&plan, self.tool, &str::to_owned).unwrap();
        let mut believed = Self::view(self.metadata.clone(), self.tool);
        let mut metadata = self.metadata.clone();
        metadata.believe(&planned[0]);
        let told = Self::view(metadata, self.tool);
        for (input, told) in believed.inputs.iter_mut().zip(&told.inputs) {
            assert_eq!(input.default.is_some(), told.default.is_some(), "{told:?}");
            input.default.clone_from(&told.default);
        }
        assert_eq!(believed, told, "{}: believed", self.tool.command());
    }
}

fn entries(object: &Value) -> impl Iterator<Item = (String, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace("\r\n", "\n").trim_end().to_owned()
}

fn constraints(said: &str) -> BTreeSet<String> {
    let parts = said.split(',').map(|part| part.replace(' ', ""));
    parts.filter(|part| !part.is_empty()).collect()
}

/// Name, description, whether it is sensitive, and the default where it is written as JSON is.
type Seen = (String, (String, bool, Option<Option<Value>>));

fn of_input(input: &Input) -> Seen {
    let default = input.default.as_ref().map(|written| serde_json::from_str(written).ok());
    let default = default.map(|value: Option<Value>| value.map(as_number));
    let description = input.description.clone().unwrap_or_default();
    (input.name.clone(), (description, input.sensitive, default))
}

/// A number in one form: the tool may write it in another.
fn as_number(value: Value) -> Value {
    value.as_f64().map_or(value, |number| json!(number))
}

fn of_variable((name, said): (String, &Value)) -> Seen {
    let default = said.get("default").map(|default| match default {
        Value::Array(_) | Value::Object(_) => None,
        plain => Some(as_number(plain.clone())),
    });
    (name, (text(&said["description"]), said["sensitive"] == true, default))
}

const SYNTAX: &str = r#"
locals {
  empty = <<E
E
}

variable "between" {
  description = "Not part of a heredoc"
  default     = "a"
}

locals {
  same_marker = <<E
E
  begins_with_it = <<E
E;
E.
E
  twice = { a = 1, a = 2 }
  lines = { for k, v in
    { x = 1 }
  : k =>
    v
    + 1 }
  list = [for
    v in [1] : v]
  condition = "%{ if
    true }a%{ endif }"
  large = 1e400
  nested = "${"${1}"}"
}

variable "flush" {
  description = <<-EOT
      First
    second } {
      $${third}

    EOT, not yet
  EOT
  default = 1.50
}

variable "quoted" {
  description = "a \"b\" \u00e9 %%{c} \\"
  sensitive   = (true)
  default     = true
}

variable "parenthesized" {
  description = ("a")
  sensitive   = !false
  type        = any
}

variable "chosen" {
  sensitive = true ? true : false
  default   = null
}

variable "plain" { # not sensitive
  sensitive = false || !true
}

output "chosen" {
  value       = "a"
  sensitive   = !(false)
  description = <<E
E of it
E
}

output "plain" { value = 1 }
"#;

const JSON: &str = r#"{
  "//": "A comment",
  "variable": {
    "digits": { "default": 1234567890123456789012345, "description": "First" },
    "power": { "default": 1e3 }
  },
  "output": { "a": [{ "value": 1, "description": "\u00e9", "sensitive": "true" }] },
  "variable": {
    "second": { "default": "a", "description": 7 },
    "third": { "sensitive": true, "type": "string" }
  }
}"#;

/// `[!a]` is no letter but a to one of them.
const PATTERN: &str =
    "output \"found\" {\n  value = join(\",\", fileset(path.module, \"[!a].md\"))\n}\n";

on_each_tool! {
    async fn a_pattern_means_what_the_tool_takes_it_for(tool) {
        let folder = Folder::new(tool, &[("main.tf", PATTERN), ("a.md", ""), ("b.md", "")]);
        folder.planned().unwrap();
        let shown: Value = serde_json::from_slice(&folder.run(&["show", "-json", "plan"]).stdout).unwrap();
        let expected = match tool {
            Tool::Terraform => "a.md",
            Tool::OpenTofu => "b.md",
        };
        assert_eq!(shown["planned_values"]["outputs"]["found"]["value"], expected);
    }

    async fn the_syntax_is_read_as_the_tool_reads_it(tool) {
        Folder::new(tool, &[("main.tf", SYNTAX), ("more.tf.json", JSON)]).agree();
    }

    async fn windows_files_are_read_as_the_tool_reads_them(tool) {
        let windows = format!("\u{feff}{}", SYNTAX.replace('\n', "\r\n"));
        Folder::new(tool, &[("main.tf", &windows)]).agree();
    }

    async fn the_files_are_those_that_the_tool_reads(tool) {
        Folder::new(tool, &[
            ("main.tf", "variable \"a\" {\n  default = 1\n}\noutput \"terraform\" {\n  value = 1\n}\n"),
            ("main.tofu", "variable \"a\" {\n  default = 2\n}\noutput \"opentofu\" {\n  value = 1\n}\n"),
            ("b.tf.json", r#"{"output": {"json": {"value": 1}}}"#),
            ("b.tofu.json", r#"{"output": {"own_json": {"value": 1}}}"#),
            ("override.tf", "variable \"a\" {\n  description = \"terraform\"\n}\n"),
            ("override.tofu", "variable \"a\" {\n  description = \"opentofu\"\n}\n"),
            ("z_override.tf.json", r#"{"variable": {"a": {"sensitive": true}}}"#),
            ("zz_override.tf", "variable \"a\" {\n  sensitive = false\n  default = 3\n}\n"),
            (".hidden.tf", "variable \"hidden\" {}"),
            ("main.tf~", "variable \"kept\" {}"),
            ("#main.tf#", "variable \"kept\" {}"),
        ])
        .agree();
    }

    async fn providers_are_those_that_the_tool_asks_for(tool) {
        if gantry_terraform::mirror().is_none() {
            return;
        }
        let resource = ("main.tf", "resource \"time_static\" \"a\" {}\nresource \"terraform_data\" \"b\" {}\n");
        let required = |entry: &str| {
            format!("terraform {{\n  required_providers {{\n    time = {entry}\n  }}\n}}\n")
        };
        Folder::new(tool, &[resource]).agree();
        let provider = "provider \"time\" {\n  version = \">= 0.1.0\"\n}\n";
        Folder::new(tool, &[resource, ("p.tf", provider)]).agree();
        for entry in [
            "\">= 0.2.0\"",
            "{ \"source\" : \"hashicorp/time\", version = (\">= 0.2.0\") }",
            "{\n source = \"hashicorp/time\" # }\n version = <<E\n>= 0.2.0\nE\n}",
        ] {
            let required = required(entry);
            Folder::new(tool, &[resource, ("p.tf", provider), ("r.tf", &required)]).agree();
        }
        let json = r#"{"terraform": {"required_providers": {"//": "x", "time": {"version": "0.14.2"}}}}"#;
        Folder::new(tool, &[resource, ("r.tf.json", json)]).agree();
        // The whole entry is replaced, so that nothing else is asked for.
        let (lost, won) = (required("{ source = \"elsewhere/time\", version = \"9\" }"), required("{}"));
        Folder::new(tool, &[resource, ("r.tf", &lost), ("r_override.tf", &won)]).agree();
    }

    async fn a_constraint_is_kept_by_the_tool_that_it_is_named_for(tool) {
        let old = "terraform {\n  required_version = \"< 1.0\"\n}\n";
        let language = "language {\n  compatible_with {\n    opentofu = \"< 1.0\"\n  }\n}\n";
        let new = "terraform {\n  required_version = \"> 1.0\"\n}\n";
        for files in [
            &[("main.tf", old)][..],
            &[("main.tf", ""), ("v.tofu", old)],
            &[("main.tf", ""), ("v.tofu", language)],
            &[("main.tf", old), ("main.tofu", "")],
            &[("main.tf", ""), ("v.tf", old), ("v.tofu", new)],
            &[("main.tf", ""), ("v.tf", new), ("v_override.tf", old)],
            &[("main.tf", ""), ("v.tofu", new), ("v_override.tofu", old)],
        ] {
            let folder = Folder::new(tool, files);
            let named = match tool {
                Tool::Terraform => &folder.metadata.required_version,
                Tool::OpenTofu => &folder.metadata.required_opentofu,
            };
            let refuses = named.as_deref().is_some_and(|named| named.contains("< 1.0"));
            assert_eq!(folder.planned().is_err(), refuses, "{files:?} {named:?}");
        }
    }

    async fn what_the_tool_refuses_is_a_problem(tool) {
        for (name, text) in [
            ("main.tf.json", "\u{feff}{\"variable\": {\"a\": {\"default\": 1}}}"),
            ("main.tf.json", "{\"variable\": {}"),
            ("main.tf", "variable \"a\" {\n  default = [1,\n}\n"),
            ("main.tf", "variable \"a\" {\n  default = 1\n  default = 2\n}\n"),
            ("main.tf", "locals {\n"),
            ("main.tf", "locals {\n  a = \"b\n}\n"),
        ] {
            let folder = Folder::new(tool, &[(name, text)]);
            assert!(folder.planned().is_err(), "{text}");
            assert_eq!(folder.metadata.problems.len(), 1, "{text}");
        }
    }
}

#[test]
fn a_comparison_can_fail() {
    let default = |written: &str| Input { default: Some(written.to_owned()), ..Input::default() };
    let said = json!({ "default": 1 });
    assert_eq!(of_input(&default("1")), of_variable((String::new(), &said)));
    assert_ne!(of_input(&default("2")), of_variable((String::new(), &said)));
}
