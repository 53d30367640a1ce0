//! What each tool reads of the same files.

use crate::support::{module, pack};
use gantry_domain::{
    plan::{PlannedModule, PlannedValue},
    stack::Tool,
};
use gantry_package::{Declared, Metadata};

#[track_caller]
fn read(files: &[(&str, &str)]) -> Metadata {
    let metadata = pack(&module(files), "").unwrap().0.metadata;
    assert_eq!(metadata.problems, [""; 0]);
    metadata
}

/// What Terraform reads, and what OpenTofu does.
fn by_tool(metadata: Metadata) -> (Declared, Declared) {
    let Metadata { inputs, outputs, providers, opentofu, .. } = metadata;
    let terraform = Declared { inputs, outputs, providers };
    (terraform.clone(), opentofu.unwrap_or(terraform))
}

fn providers(declared: &Declared) -> Vec<String> {
    let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let row = |p: &gantry_package::ProviderRequirement| {
        format!("{} {} {}", p.name, said(&p.source), said(&p.version))
    };
    declared.providers.iter().map(row).collect()
}

fn names(declared: &Declared) -> Vec<&str> {
    declared.inputs.iter().map(|input| input.name.as_str()).collect()
}

fn requires(version: &str) -> String {
    format!("terraform {{\n  required_version = \"{version}\"\n}}\n")
}

#[test]
fn opentofu_takes_its_own_file_instead() {
    let (terraform, opentofu) = by_tool(read(&[
        ("main.tf", "variable \"terraform\" {}"),
        ("main.tofu", "variable \"opentofu\" {}"),
        ("more.tf.json", r#"{"variable": {"json": {}}}"#),
        ("more.tofu.json", r#"{"variable": {"own_json": {}}}"#),
        ("both.tf", "variable \"both\" {\n  default = 1\n}\n"),
        ("override.tf", "variable \"both\" {\n  default = 2\n}\n"),
        ("override.tofu", "variable \"both\" {\n  default = 3\n}\n"),
        ("z_override.tf.json", r#"{"variable": {"both": {"description": "z"}}}"#),
        (".hidden.tf", "variable \"hidden\" {}"),
        ("kept.tf~", "variable \"kept\" {}"),
        ("#kept.tf#", "variable \"kept\" {}"),
    ]));
    assert_eq!(names(&terraform), ["both", "json", "terraform"]);
    assert_eq!(names(&opentofu), ["both", "opentofu", "own_json"]);
    assert_eq!(terraform.inputs[0].default.as_deref(), Some("2"));
    assert_eq!(opentofu.inputs[0].default.as_deref(), Some("3"));
    assert_eq!(terraform.inputs[0].description, opentofu.inputs[0].description);
    let same = read(&[("main.tf", "variable \"a\" {}"), ("b.tofu", "# nothing\n")]);
    assert_eq!(same.opentofu, None);
    let own = read(&[("main.tofu", "variable \"a\" {}")]);
    assert_eq!((own.inputs.len(), own.opentofu.unwrap().inputs.len()), (0, 1));
}

#[test]
fn an_override_takes_the_place_of_a_whole_entry() {
    let metadata = read(&[
        (
            "main.tf",
            "terraform {\n  required_version = \">= 1\"\n  required_providers {\n    a = { source = \"x/a\", version = \"1\" }\n    \
             b = { source = \"x/b\", version = \"1\" }\n  }\n}\n\
             variable \"v\" {\n  sensitive = true\n  description = \"kept\"\n}\noutput \"o\" {\n  value = 1\n  sensitive = true\n}\n",
        ),
        (
            "override.tf",
            "terraform {\n  required_version = \">= 2\"\n  required_providers {\n    a = { version = \"2\" }\n  }\n}\n\
             variable \"v\" {\n  sensitive = false\n}\noutput \"o\" {\n  sensitive = false\n}\n",
        ),
    ]);
    assert_eq!(metadata.required_version.as_deref(), Some(">= 2"));
    assert!(!metadata.inputs[0].sensitive && !metadata.outputs[0].sensitive);
    assert_eq!(metadata.inputs[0].description.as_deref(), Some("kept"));
    assert_eq!(providers(&by_tool(metadata).0), ["a - 2", "b x/b 1"]);
}

#[test]
fn providers_that_nobody_requires_are_told() {
    let (terraform, opentofu) = by_tool(read(&[
        (
            "main.tf",
            "terraform {\n  required_providers {\n    named = { source = \"x/named\", version = \"1\" }\n  }\n}\n\
             resource \"aws_vpc\" \"a\" {}\ndata \"null_data_source\" \"b\" {}\nephemeral \"tls_key\" \"c\" {}\n\
             resource \"google_x\" \"d\" {\n  provider = beta.east\n}\nresource \"terraform_data\" \"e\" {}\n\
             resource \"named_thing\" \"f\" {}\nresource \"quoted_x\" \"g\" {\n  provider = \"old\"\n}\n\
             check \"h\" {\n  data \"http_x\" \"i\" {}\n}\nresource \"external\" \"j\" {}\n\
             provider \"named\" {\n  version = \"~> 1.2\"\n}\nprovider \"random\" {}\n\
             provider \"aws\" {\n  alias = \"east\"\n  version = \">= 5\"\n}\n",
        ),
        (
            "more.tf.json",
            r#"{"resource": {"local_file": {"k": {}}, "azurerm_x": {"l": {"provider": "az.west"}}},
                "provider": {"vault": [{"version": "4"}]}, "data": {"archive_file": {"m": {}}}}"#,
        ),
        ("x.tofu", "resource \"only_tofu\" \"n\" {}"),
        (
            "override.tf",
            "resource \"aws_vpc\" \"a\" {\n  provider = cloud.x\n}\nprovider \"random\" {\n  version = \"3\"\n}\n",
        ),
    ]));
    let mut expected = vec![
        "archive - -",
        "aws - >= 5",
        "az - -",
        "beta - -",
        "cloud - -",
        "external - -",
        "http - -",
        "local - -",
        "named x/named 1, ~> 1.2",
        "null - -",
        "old - -",
        "random - 3",
        "tls - -",
        "vault - 4",
    ];
    assert_eq!(providers(&terraform), expected);
    expected.insert(11, "only - -");
    assert_eq!(providers(&opentofu), expected);
}

#[test]
fn each_tool_has_a_constraint_of_its_own() {
    let versions = |files: &[(&str, &str)]| {
        let metadata = read(files);
        (metadata.required_version, metadata.required_opentofu)
    };
    let some = |text: &str| Some(text.to_owned());
    let language =
        "language {\n  compatible_with {\n    opentofu = \">= 1.12\"\n    other = \"1\"\n  }\n}\n";
    let old = requires(">= 1.5");
    assert_eq!(versions(&[("a.tf", &old)]), (some(">= 1.5"), None));
    assert_eq!(versions(&[("a.tofu", &old)]), (None, some(">= 1.5")));
    assert_eq!(
        versions(&[("a.tf", &old), ("b.tofu", language)]),
        (some(">= 1.5"), some(">= 1.12"))
    );
    let (one, two) = (requires(">= 1.8"), requires("< 2"));
    let files = [("a.tf", old.as_str()), ("a.tofu", &one), ("b_override.tofu", &two)];
    assert_eq!(versions(&files), (some(">= 1.5"), some(">= 1.8, < 2")));
    let json = r#"{"language": {"compatible_with": {"opentofu": ">= 1.12"}}, "terraform": {"required_version": "1"}}"#;
    assert_eq!(versions(&[("a.tf.json", json)]), (some("1"), some(">= 1.12")));
    assert_eq!(versions(&[("a.tofu.json", json)]), (None, some("1, >= 1.12")));
}

#[test]
fn the_tools_own_word_counts_more() {
    let planned = |tool| PlannedModule {
        tool,
        folder: String::new(),
        inputs: [
            ("same", PlannedValue { default: Some("1.5".to_owned()), ..PlannedValue::default() }),
            ("other", PlannedValue { default: Some("2".to_owned()), ..PlannedValue::default() }),
            ("hidden", PlannedValue { sensitive: true, ..PlannedValue::default() }),
            ("found", PlannedValue { required: true, ..PlannedValue::default() }),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        outputs: [("o".to_owned(), PlannedValue::default())].into(),
    };
    let code = "variable \"same\" {\n  type = number\n  default = 1.50\n}\nvariable \"other\" {\n  default = 1\n}\n\
                variable \"hidden\" {\n  default = \"x\"\n}\nvariable \"lost\" {}\noutput \"o\" {\n  value = 1\n  sensitive = true\n}\n";
    let read = read(&[("main.tf", code)]);
    for tool in [Tool::Terraform, Tool::OpenTofu] {
        let mut believed = read.clone();
        believed.believe(&planned(tool));
        let (terraform, opentofu) = by_tool(believed);
        let (told, unchanged) = match tool {
            Tool::Terraform => (terraform, opentofu),
            Tool::OpenTofu => (opentofu, terraform),
        };
        assert_eq!(unchanged, by_tool(read.clone()).0);
        let rows: Vec<_> = told
            .inputs
            .iter()
            .map(|i| (i.name.as_str(), i.default.as_deref(), i.type_.as_deref(), i.sensitive))
            .collect();
        assert_eq!(
            rows,
            [
                ("found", None, None, false),
                ("hidden", Some("\"x\""), None, true),
                ("other", Some("2"), None, false),
                ("same", Some("1.50"), Some("number"), false),
            ]
        );
        assert!(!told.outputs[0].sensitive);
    }
    let mut both = read.clone();
    both.believe(&planned(Tool::Terraform));
    both.believe(&planned(Tool::OpenTofu));
    assert_eq!(both.opentofu, None);
}
