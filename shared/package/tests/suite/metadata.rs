//! What is read from a module's text.

use crate::support::{LIMITS, archive, file, module, pack, pack_within};
use gantry_package::{Limits, Metadata};
use insta::assert_snapshot;
use std::time::Duration;

#[track_caller]
fn read(files: &[(&str, &str)]) -> Metadata {
    pack(&module(files), "").unwrap().0.metadata
}

/// The inputs, as a person would list them.
fn inputs(metadata: &Metadata) -> String {
    let mut text = String::new();
    for input in &metadata.inputs {
        let mark = |set, mark| if set { mark } else { "" };
        let (required, sensitive) =
            (mark(input.required, " required"), mark(input.sensitive, " sensitive"));
        text += &format!("{}{required}{sensitive}\n", input.name);
        let parts =
            [("type", &input.type_), ("says", &input.description), ("default", &input.default)];
        for (name, value) in parts {
            if let Some(value) = value {
                text += &format!("  {name}: {}\n", value.replace('\n', "\n    |"));
            }
        }
    }
    text
}

#[test]
fn variables_are_read_as_they_are_written() {
    let metadata = read(&[(
        "variables.tf",
        r###"
# The name of it all.
variable "name" {
  type        = string
  description = "What it is called: \"a\tb\" and $${literally}"
}

variable plain {}

variable "token" {
  type      = string
  sensitive = true
  default   = null
}

variable "rules" {
  description = <<-EOT
    Rules, by name:
      - `port`: where
      - `from`: who
  EOT
  type = map(object({
    port     = number      # where   it listens
    from     = optional(list(string), ["10.0.0.0/8",  "::1/128"])

    nested   = object({
      deep   = bool
    })
  }))
  default = {}

  validation {
    condition     = alltrue([for rule in var.rules : rule.port > 0])
    error_message = "Every port is above 0."
  }
}

variable "script" {
  default = <<EOT
#!/bin/sh
  echo "${upper("x")}"
EOT
}

variable "tags" {
  type    = map ( string )
  default = merge({ a = "1" }, {
    for key, value in { b = "2" } : key => upper(value) if value != ""
  })
}

variable "sizes" {
  type    = list(number)
  default = [
    for size in [1, 2]:
      size * 2
  ]
}

variable "old" {
  type    = "list"
  default = ["${1 + 1}"]
}
"###,
    )]);
    assert_eq!(metadata.problems, [""; 0]);
    assert_snapshot!(inputs(&metadata), @r#"
    name required
      type: string
      says: What it is called: "a	b" and ${literally}
    old
      type: list
      default: ["${1 + 1}"]
    plain required
    rules
      type: map(object({
        |  port = number # where   it listens
        |  from = optional(list(string), ["10.0.0.0/8", "::1/128"])
        |  nested = object({
        |    deep = bool
        |  })
        |}))
      says: Rules, by name:
        |  - `port`: where
        |  - `from`: who
      default: {}
    script
      default: <<EOT
        |#!/bin/sh
        |  echo "${upper("x")}"
        |EOT
    sizes
      type: list(number)
      default: [
        |  for size in [1, 2]:
        |    size * 2
        |]
    tags
      type: map ( string )
      default: merge({ a = "1" }, {
        |  for key, value in { b = "2" } : key => upper(value) if value != ""
        |})
    token sensitive
      type: string
      default: null
    "#);
}

#[test]
fn lines_that_end_as_on_windows_and_a_mark_at_the_start_change_nothing() {
    let text = "variable \"a\" {\n  type = object({\n    b = string\n  })\n  default = {\n    b = 1\n  }\n}\n";
    let dos = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    assert_eq!(read(&[("a.tf", &dos)]), read(&[("a.tf", text)]));
}

#[test]
fn outputs_providers_and_versions_are_read() {
    let metadata = read(&[
        (
            "main.tf",
            r#"
terraform {
  required_version = ">= 1.5, < 2"
  required_providers {
    aws = {
      source                = "hashicorp/aws"
      version               = "~> 5.0"
      configuration_aliases = [aws.east]
    }
    null   = "~> 3"
    random = { "source" : "hashicorp/random" }
  }
}
output "id" {
  description = "The id."
  value       = provider::aws::arn_parse(aws_vpc.this.arn).resource
}
output "password" {
  value     = one(aws_db.this[*].password)
  sensitive = true
}
"#,
        ),
        (
            "versions.tf",
            "terraform {\n  required_version = \">= 1.6\"\n  required_providers {\n    time = \"1.0\"\n  }\n}\n",
        ),
        ("modules/below/main.tf", "variable \"below\" {}"),
    ]);
    assert_snapshot!(serde_json::to_string_pretty(&metadata).unwrap(), @r#"
    {
      "inputs": [],
      "outputs": [
        {
          "name": "id",
          "description": "The id.",
          "sensitive": false
        },
        {
          "name": "password",
          "description": null,
          "sensitive": true
        }
      ],
      "providers": [
        {
          "name": "aws",
          "source": "hashicorp/aws",
          "version": "~> 5.0"
        },
        {
          "name": "null",
          "source": null,
          "version": "~> 3"
        },
        {
          "name": "random",
          "source": "hashicorp/random",
          "version": null
        },
        {
          "name": "time",
          "source": null,
          "version": "1.0"
        }
      ],
      "required_version": ">= 1.5, < 2, >= 1.6",
      "required_opentofu": null,
      "opentofu": null,
      "readme": null,
      "problems": []
    }
    "#);
}

#[test]
fn json_is_read_too() {
    let metadata = read(&[(
        "main.tf.json",
        r#"{
  "//": "A comment",
  "variable": {
    "name": { "type": "string", "description": "Its name" },
    "tags": { "type": "map(string)", "default": { "b": "2", "a": [1, true, null] } },
    "token": [{ "sensitive": true, "default": null }]
  },
  "output": [{ "id": { "value": "${aws_vpc.this.id}", "description": "The id" } }],
  "terraform": [{
    "required_version": ">= 1.5",
    "required_providers": {
      "aws": { "source": "hashicorp/aws", "version": "~> 5.0" },
      "null": "~> 3"
    }
  }]
}"#,
    )]);
    assert_snapshot!(inputs(&metadata), @r#"
    name required
      type: string
      says: Its name
    tags
      type: map(string)
      default: {"b":"2","a":[1,true,null]}
    token sensitive
      default: null
    "#);
    assert_snapshot!(serde_json::to_string(&(&metadata.outputs, &metadata.providers)).unwrap(), @r#"[[{"name":"id","description":"The id","sensitive":false}],[{"name":"aws","source":"hashicorp/aws","version":"~> 5.0"},{"name":"null","source":null,"version":"~> 3"}]]"#);
    assert_eq!(metadata.required_version.as_deref(), Some(">= 1.5"));
}

#[test]
fn json_of_another_shape_declares_nothing() {
    for text in
        ["[]", "3", r#"{"variable": 3, "output": ["x"], "terraform": {"required_providers": 1}}"#]
    {
        let metadata = read(&[("main.tf.json", text)]);
        assert_eq!(metadata, Metadata::default(), "{text}");
    }
}

#[test]
fn a_file_that_cannot_be_parsed_is_named_and_the_others_are_read() {
    let mut entries = module(&[
        ("broken.tf", "variable \"a\" {\n  type = string\n  default = [1,\n}\n"),
        ("broken.tf.json", "{\n  \"variable\": {,}\n}"),
        ("fine.tofu", "variable \"fine\" {}"),
        ("open.tf", "resource \"x\" \"y\" {\n"),
        ("twice.tf", "variable \"b\" {\n  type = string\n  type = number\n}\n"),
    ]);
    entries.push(file("latin.tf", b"# one\n# caf\xe9\n"));
    let metadata = pack(&entries, "").unwrap().0.metadata;
    assert_snapshot!(metadata.problems.join("\n"), @r#"
    broken.tf line 4: mismatched closing bracket
    broken.tf.json line 2: not valid JSON: key must be a string
    latin.tf line 2: not valid UTF-8
    open.tf line 1: the block resource is not closed
    twice.tf line 3: type is already set in this block
    "#);
    // What can be told of such a file is told.
    assert_eq!(metadata.inputs.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let fine = metadata.opentofu.unwrap().inputs;
    assert_eq!(fine.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["a", "b", "fine"]);
}

#[test]
fn what_nests_without_end_is_no_overflow() {
    for (open, close) in [("[", "]"), ("f(", ")"), ("\"${", "}\""), ("!", ""), ("1 + ", "")] {
        let value = format!("{}1{}", open.repeat(20_000), close.repeat(20_000));
        for attribute in ["default", "type", "description", "sensitive"] {
            let text = format!("variable \"a\" {{\n  {attribute} = {value}\n}}\n");
            let metadata = read(&[("a.tf", &text)]);
            assert_eq!((metadata.inputs.len(), metadata.problems.len()), (1, 0), "{open}");
        }
    }
    let json = format!("{{\"a\": {}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let blocks = "a {\n".repeat(20_000);
    let metadata = read(&[("a.tf", &blocks), ("b.tf.json", &json), ("c.tf", "variable \"c\" {}")]);
    assert_snapshot!(metadata.problems.join("\n"), @"a.tf line 3: the block a is not closed");
    assert_eq!(metadata.inputs[0].name, "c");
}

#[test]
fn what_nests_as_deep_as_the_parser_goes_fits_on_any_stack() {
    for (open, close) in [
        ("[", "]"),
        ("(", ")"),
        ("!", ""),
        ("{ for k, v in ", " : k => v... }"),
        ("\"%{ for x in ", " }%{ endfor }\""),
        ("<<E\n${", "}\nE\n"),
        ("true ? true : ", ""),
    ] {
        for depth in 1..=64 {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            for attribute in ["default", "sensitive"] {
                read(&[(
                    "a.tf",
                    &format!("variable \"a\" {{\n  {attribute} = {open}1{close}\n}}\n"),
                )]);
            }
        }
    }
}

#[test]
fn files_that_override_have_the_last_word() {
    let metadata = read(&[
        ("a_override.tf", "variable \"size\" {\n  default = 3\n}\n"),
        ("main.tf", "variable \"size\" {\n  type = number\n  default = 1\n}\n"),
        ("main.tofu", "variable \"size\" {\n  description = \"For OpenTofu\"\n  default = 2\n}\n"),
    ]);
    assert_snapshot!(inputs(&metadata), @"
    size
      type: number
      default: 3
    ");
    // OpenTofu takes main.tofu in the place of main.tf.
    let opentofu = Metadata { inputs: metadata.opentofu.unwrap().inputs, ..Metadata::default() };
    assert_snapshot!(inputs(&opentofu), @"
    size
      says: For OpenTofu
      default: 3
    ");
}

#[test]
fn a_readme_is_found_by_any_spelling() {
    let readme = |files: &[(&str, &str)]| {
        read(&[files, &[("main.tf", ""), ("docs/README.md", "below")]].concat()).readme
    };
    assert_eq!(readme(&[]), None);
    for name in ["README.md", "readme.md", "ReadMe.MD", "README", "readme"] {
        assert_eq!(readme(&[(name, "# It")]).as_deref(), Some("# It"), "{name}");
    }
    assert_eq!(readme(&[("README", "plain"), ("readme.md", "# It")]).as_deref(), Some("# It"));
}

#[test]
fn a_readme_is_text_whatever_it_holds() {
    let entries = [file("main.tf", ""), file("README.md", b"caf\xe9")];
    assert_eq!(pack(&entries, "").unwrap().0.metadata.readme.as_deref(), Some("caf\u{fffd}"));
}

#[test]
fn a_long_readme_is_cut_between_two_characters() {
    // Three bytes each: the limit is within one.
    let text = "€".repeat(100_000);
    let readme = read(&[("main.tf", ""), ("README.md", &text)]).readme.unwrap();
    let (kept, note) = readme.split_at(readme.find('\n').unwrap());
    assert_eq!(kept.len(), (256 << 10) / 3 * 3);
    assert_snapshot!(note.trim(), @"*The rest was left out because the file is longer than 256 KiB.*");
    let whole = "x".repeat(256 << 10);
    assert_eq!(read(&[("main.tf", ""), ("README.md", &whole)]).readme, Some(whole));
}

#[test]
fn files_that_are_too_large_are_packed_but_not_read() {
    let large = format!("variable \"a\" {{}}\n{}", "# more\n".repeat(20));
    let entries =
        module(&[("README.md", &large), ("large.tf", &large), ("b.tf", "variable \"b\" {}")]);
    let limits = Limits { file: 100, ..LIMITS };
    let (packed, bytes) = pack_within(&archive(&entries), "", limits).unwrap();
    assert_snapshot!(packed.metadata.problems.join("\n"), @"
    large.tf was not read because it is larger than 100 bytes
    README.md was not read because it is larger than 100 bytes
    ");
    assert_snapshot!(inputs(&packed.metadata), @"b required");
    assert_eq!(packed.metadata.readme, None);
    assert!(crate::support::listed(&bytes).contains("large.tf"));
}

/// What grew with the square of how many there are took hours: the limit is far from what it
/// takes.
#[test]
fn many_files_and_blocks_are_read_within_the_time() {
    let limits =
        Limits { unpacked: 64 << 20, files: 20_000, file: 2 << 20, time: Duration::from_secs(60) };
    let problems = |files: &[(&str, &str)]| {
        pack_within(&archive(&module(files)), "", limits).unwrap().0.metadata.problems
    };
    let files: Vec<_> = (0..15_000).map(|n| format!("{n}.tf")).collect();
    let files: Vec<_> = files.iter().map(|name| (name.as_str(), "")).collect();
    assert_eq!(problems(&files), Vec::<String>::new());
    let versions = |n| format!("terraform {{\nrequired_version = \"{n}\"\n}}\n");
    let providers = |n| format!("provider \"a\" {{\nalias = \"{n}\"\nversion = \"{n}\"\n}}\n");
    for block in [&versions as &dyn Fn(usize) -> String, &providers] {
        let body = |from| (from..from + 30_000).map(block).collect::<String>();
        let files: Vec<_> = (0..6).map(|n| (format!("{n}.tf"), body(n * 30_000))).collect();
        let files: Vec<_> = files.iter().map(|(name, body)| (name.as_str(), &**body)).collect();
        assert_eq!(problems(&files), Vec::<String>::new());
    }
}

#[test]
fn what_takes_too_long_to_read_is_packed_and_said() {
    let entries = module(&[("README.md", "# Net"), ("main.tf", &"a = 1\n".repeat(100_000))]);
    let limits = Limits { time: Duration::ZERO, ..LIMITS };
    let (packed, bytes) = pack_within(&archive(&entries), "", limits).unwrap();
    assert_snapshot!(packed.metadata.problems.join("\n"), @"The code is not shown: reading it took longer than 0 seconds");
    assert!(crate::support::listed(&bytes).contains("main.tf"));
    let none = pack_within(&archive(&module(&[("README.md", "# Net")])), "", limits);
    assert_snapshot!(none.unwrap_err(), @"the repository's top folder has no .tf, .tf.json or .tofu file");
}

#[test]
fn what_an_older_version_wrote_is_read() {
    let metadata: Metadata = serde_json::from_str(r#"{"inputs": [{"name": "a"}]}"#).unwrap();
    assert_eq!(metadata.inputs[0].name, "a");
    let written = read(&[("main.tf", "variable \"a\" {\n  type = string\n}\n")]);
    let text = serde_json::to_string(&written).unwrap();
    assert!(text.contains(r#""type":"string""#), "{text}");
    assert_eq!(serde_json::from_str::<Metadata>(&text).unwrap(), written);
}
