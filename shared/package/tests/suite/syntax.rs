//! What valid configuration is read as, however it is written.

use crate::support::{module, pack};
use gantry_package::{Input, Metadata};
use std::time::{Duration, Instant};

#[track_caller]
fn read(files: &[(&str, &str)]) -> Metadata {
    pack(&module(files), "").unwrap().0.metadata
}

/// What one file is read as, without a problem, in both forms of line ends.
#[track_caller]
fn inputs(text: &str) -> Vec<Input> {
    let read_as = |text: &str| {
        let metadata = read(&[("main.tf", text)]);
        assert_eq!(metadata.problems, [""; 0], "{text}");
        metadata.inputs
    };
    let inputs = read_as(text);
    assert_eq!(read_as(&text.replace('\n', "\r\n")), inputs, "CRLF: {text}");
    inputs
}

#[track_caller]
fn names(text: &str) -> Vec<String> {
    inputs(text).into_iter().map(|input| input.name).collect()
}

#[track_caller]
fn description(written: &str) -> Option<String> {
    let text = format!("variable \"a\" {{\n  description = {written}\n}}\nvariable \"b\" {{}}\n");
    let inputs = inputs(&text);
    assert_eq!(inputs.len(), 2, "{text}");
    inputs[0].description.clone()
}

const END: &str = "variable \"end\" {}\n";

#[test]
fn an_empty_heredoc_hides_nothing() {
    let text = format!(
        "locals {{\n  a = <<E\nE\n}}\nvariable \"hidden\" {{}}\nlocals {{\n  b = <<E\nE\n}}\n{END}"
    );
    assert_eq!(names(&text), ["end", "hidden"]);
    assert_eq!(description("<<E\nE").as_deref(), Some(""));
    let default = "variable \"a\" {\n  default = <<E\nE\n}\n";
    assert_eq!(inputs(default)[0].default.as_deref(), Some("<<E\nE"));
}

#[test]
fn what_both_tools_take_refuses_no_file() {
    for valid in [
        "{ a = 1, a = 2 }",
        "{ a = 1\n a = 2 }",
        "{ for k, v in {} : k =>\n v }",
        "{ for k, v in {} : k => v\n + 1 }",
        "{ for k, v in\n {} : k => v }",
        "[ for v in\n [] : v ]",
        "\"%{ if\n true }a%{ endif }\"",
        "<<E\nE;\nE",
        "<<E\nE.\nE",
        "<<-E\n  E)\n  E",
        "[for\n v in [] : v]",
        "1e400",
        "\"${\"${1}\"}\"",
        "/* a } */ 1 # }",
        "(\n1\n+\n1)",
    ] {
        assert_eq!(names(&format!("locals {{\n  a = {valid}\n}}\n{END}")), ["end"], "{valid}");
        let default = format!("variable \"a\" {{\n  default = {valid}\n}}\n{END}");
        assert_eq!(names(&default), ["a", "end"], "{valid}");
    }
    let long = |between: &str| vec!["1"; 300].join(between);
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(200), close.repeat(200));
    for valid in [long(" + "), deep("[", "]"), deep("(", ")"), deep("\"${", "}\"")] {
        assert_eq!(names(&format!("locals {{\n  a = {valid}\n}}\n{END}")), ["end"], "{valid}");
    }
}

#[test]
fn descriptions_lose_no_letter() {
    let check = |written: &str, expected: &str| {
        assert_eq!(description(written).as_deref(), Some(expected), "{written}");
    };
    check(r#""a \"b\" \u00e9 $${c} %%{d}""#, "a \"b\" é ${c} %{d}");
    check("(\"a\")", "a");
    check("\"a ${\"b\"} c\"", "a ${\"b\"} c");
    check("<<E\nE;\n a\nE", "E;\n a");
    check("<<-E\n    a\n  b\n    ${1}c\n  E", "  a\nb\n  ${1}c");
    check("<<-E\n    ${1} a\n  ${2} b\n\n  c\n  E", "  ${1} a\n${2} b\n\nc");
    check("<<-E\n\ta\n  b\n  E", "a\n b");
    check("<<E\n$${a} \\n\nE", "${a} \\n");
    check("true ? \"a\" : \"b\"", "true ? \"a\" : \"b\"");
    check("\"a\" # b", "a");
    assert_eq!(description("null"), None);
}

#[test]
fn types_are_left_as_they_are_written_where_they_hold_a_heredoc() {
    let written = "object({\n    a = optional(string, <<E\n  two  blanks\nE\n    )\n  })";
    let inputs = inputs(&format!("variable \"a\" {{\n  type = {written}\n}}\n{END}"));
    assert_eq!(inputs[0].type_.as_deref(), Some(written));
}

#[test]
fn what_is_sensitive_is_told_however_it_is_written() {
    for (written, expected) in [
        ("true", true),
        ("(true)", true),
        ("!false", true),
        ("true ? true : false", true),
        ("\"true\"", true),
        ("true # false", true),
        ("true && !false || false", true),
        ("1 == 1", true),
        ("false", false),
        ("(false)", false),
        ("!true", false),
        ("!(true)", false),
        ("\"false\"", false),
        ("null", false),
        ("false ? true : false", false),
        ("false // true", false),
    ] {
        let text = format!("variable \"a\" {{\n  sensitive = {written}\n}}\n");
        assert_eq!(inputs(&text)[0].sensitive, expected, "{written}");
        let output = format!("output \"a\" {{\n  value = 1\n  sensitive = {written}\n}}\n");
        assert_eq!(read(&[("o.tf", &output)]).outputs[0].sensitive, expected, "{written}");
    }
}

#[test]
fn providers_are_read_from_objects_of_any_form() {
    let text = "terraform {\n  required_providers {\n    a = { \"source\" : \"x/a\", version = (\"1\") }\n    \
                b = {\n      source = \"x/b\" # {\n      version = \"2\"\n      \
                configuration_aliases = [b.east,\n b.west]\n    }\n    c = \"~> 3\"\n    \
                d = { source = \"x/lost\", source = \"x/d\" }\n  }\n}\n";
    let metadata = read(&[("main.tf", text)]);
    assert_eq!(metadata.problems, [""; 0]);
    let said = |name: &str, source: Option<&str>, version: Option<&str>| {
        format!("{name} {source:?} {version:?}")
    };
    let found: Vec<_> = metadata
        .providers
        .iter()
        .map(|provider| {
            said(&provider.name, provider.source.as_deref(), provider.version.as_deref())
        })
        .collect();
    assert_eq!(
        found,
        [
            said("a", Some("x/a"), Some("1")),
            said("b", Some("x/b"), Some("2")),
            said("c", None, Some("~> 3")),
            said("d", Some("x/d"), None),
        ]
    );
}

#[test]
fn json_is_read_as_the_tools_read_it() {
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let text = format!(
        r#"{{"variable": {{"first": {{"default": 1234567890123456789012345}}}},
 "locals": {{"a": {deep}}},
 "output": {{"a": {{"value": 1, "description": 7}}, "b": [{{"sensitive": "true"}}]}},
 "variable": {{"second": {{"default": 1e3, "description": "A \u00e9\n\"b\""}},
  "third": {{"default": {{"b": 1.50, "a": [ 1e400, "x  y" ]}}, "description": true}}}}}}"#
    );
    let metadata = read(&[("main.tf.json", &text)]);
    assert_eq!(metadata.problems, [""; 0]);
    let found: Vec<_> = metadata
        .inputs
        .iter()
        .map(|i| (i.name.as_str(), i.default.as_deref().unwrap(), i.description.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("first", "1234567890123456789012345", None),
            ("second", "1e3", Some("A é\n\"b\"")),
            ("third", r#"{"b":1.50,"a":[1e400,"x  y"]}"#, Some("true")),
        ]
    );
    let outputs: Vec<_> =
        metadata.outputs.iter().map(|o| (o.description.as_deref(), o.sensitive)).collect();
    assert_eq!(outputs, [(Some("7"), false), (None, true)]);
}

#[test]
fn json_that_the_tools_refuse_is_a_problem() {
    let metadata = read(&[("main.tf.json", "\u{feff}{\"variable\": {\"a\": {}}}")]);
    assert!(metadata.problems[0].starts_with("main.tf.json line 1: "), "{:?}", metadata.problems);
    assert_eq!(metadata.inputs, []);
}

/// Each is valid, or nearly so.
#[test]
fn the_time_it_takes_grows_with_the_size_alone() {
    let size = 1 << 18;
    let filled = |piece: &str| piece.repeat(size / piece.len());
    let value = |value: String| format!("locals {{\n  a = {value}\n}}\n{END}");
    let json = |inside: String| format!("{{\"variable\": {{{inside}\"end\": {{}}}}}}");
    let many = (0..size / 30).map(|at| format!("\"v{at}\": {{\"default\": 1}},\n")).collect();
    for (name, text) in [
        ("a.tf", value(filled("<"))),
        ("a.tf", value(filled("<<E "))),
        ("a.tf", value(format!("<<E\n{}\nE", filled("$ %{1} ")))),
        ("a.tf", value(format!("\"{}\"", filled("${1}")))),
        ("a.tf", value(format!("<<E\n{}E", filled("E;\n")))),
        ("a.tf", value(format!("[{}]", filled("\"${[\"x\"][0]}\", ")))),
        ("a.tf", value(format!("{{{}}}", filled("a = 1, ")))),
        ("a.tf", value(format!("1{}", filled(" + 1")))),
        ("a.tf", value(format!("{}1{}", filled("["), filled("]")))),
        ("a.tf", value(format!("{}1", filled("!")))),
        ("a.tf", format!("{}{END}", filled("/**/"))),
        ("a.tf", format!("{}{END}", filled("variable \"a\" {}\n"))),
        ("a.tf", format!("{}{END}", filled("a = 1\n"))),
        ("a.tf", format!("{END}{}", filled("a {\n"))),
        ("a.tf", format!("{END}{}", filled("/* "))),
        ("a.tf", format!("variable \"end\" {{\n  sensitive = {}\n}}\n", filled("!("))),
        ("a.tf", format!("variable \"end\" {{\n  description = {}\n}}\n", filled("("))),
        (
            "a.tf",
            format!("variable \"end\" {{\n  description = <<-E\n{}\nE\n}}\n", filled("${1}\n")),
        ),
        ("a.tf", format!("variable \"end\" {{\n  type = {}\n}}\n", filled("a  "))),
        ("a.tf.json", json(many)),
        ("a.tf.json", json(format!("\"a\": {{\"default\": {}1{}}},", filled("["), filled("]")))),
        ("a.tf.json", json(format!("\"a\": {}1{},", filled("["), filled("]")))),
    ] {
        let began = Instant::now();
        let metadata = read(&[(name, &text)]);
        let took = began.elapsed();
        let begins: String = text.chars().take(50).collect();
        assert!(took < Duration::from_secs(5), "{begins:?}: {took:?}");
        assert!(metadata.inputs.iter().any(|input| input.name == "end"), "{begins:?}");
    }
}
