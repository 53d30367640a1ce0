//! Which configuration files of modules are taken, and what is said of the others.

use super::*;
use proptest::prelude::*;
use serde_json::Value as Json;
use std::collections::BTreeSet;

const WHOLE: &str = "\
# The module's tests.
version: 1
module_version: 1.2.0
test_defaults:
  project_root: examples/basic
  tool_version: 1.11.4
  variables: { TF_VAR_region: eu-west-1, TF_VAR_size: 2 }
tests:
  - name: basic
    variables:
      TF_VAR_name: x
      TF_VAR_size: 007
      TF_VAR_debug: true
      TF_VAR_my-größe: 1
      TF_VAR_text: |
        two
        lines
  - name: broken
    project_root: ./examples//broken/
    negative: true
    depends_on: [basic]
    tool: opentofu
    tool_version: 1.9.0-rc1
  - { name: other, project_root: '', depends_on: [broken, basic] }
";

#[test]
fn a_whole_file_is_read_with_its_defaults() {
    let config = read(WHOLE.as_bytes()).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&config).unwrap(), @r#"
    {
      "module_version": "1.2.0",
      "tests": [
        {
          "name": "basic",
          "project_root": "examples/basic",
          "variables": {
            "TF_VAR_debug": "true",
            "TF_VAR_my-größe": "1",
            "TF_VAR_name": "x",
            "TF_VAR_region": "eu-west-1",
            "TF_VAR_size": "007",
            "TF_VAR_text": "two\nlines\n"
          },
          "negative": false,
          "depends_on": [],
          "tool": null,
          "tool_version": "1.11.4"
        },
        {
          "name": "broken",
          "project_root": "examples/broken",
          "variables": {
            "TF_VAR_region": "eu-west-1",
            "TF_VAR_size": "2"
          },
          "negative": true,
          "depends_on": [
            "basic"
          ],
          "tool": "opentofu",
          "tool_version": "1.9.0-rc1"
        },
        {
          "name": "other",
          "project_root": "",
          "variables": {
            "TF_VAR_region": "eu-west-1",
            "TF_VAR_size": "2"
          },
          "negative": false,
          "depends_on": [
            "broken",
            "basic"
          ],
          "tool": null,
          "tool_version": "1.11.4"
        }
      ]
    }
    "#);
}

#[test]
fn it_is_kept_as_json() {
    let config = read(WHOLE.as_bytes()).unwrap();
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<ModuleConfig>(&json).unwrap(), config);
}

#[test]
fn little_is_enough() {
    for text in [
        "version: 1",
        "---\nversion: 1\n...\n",
        "{version: 1}",
        "\u{feff}version: 1\r\n",
        "version: 1\ntests: []\ntest_defaults: {}\n",
        "{\"version\": 1}",
    ] {
        let config = read(text.as_bytes()).unwrap();
        assert_eq!(config, ModuleConfig { module_version: None, tests: Vec::new() }, "{text}");
    }
}

/// Every kind of wrong file.
const WRONG: &[&str] = &[
    // The file as a whole.
    "",
    "\n# Nothing yet.\n",
    "---\n",
    "null",
    "hello",
    "- version: 1",
    "version: 1\n---\nversion: 1\n",
    "version: 1\n...\n- x\n",
    // No YAML, or more of it than is taken.
    "version: 1\ntests: [",
    "version: 1\n\ttests: []",
    "version: 1\n tests: []",
    "version: 1\nmodule_version: 'x",
    "version: 1\nmodule_version: @x",
    "version: 1\nx: \"\\q\"",
    "version: 1\nversion: 1",
    "version: 1\ntests:\n  - name: a\n    name: b",
    "version: 1\ntest_defaults:\n  variables:\n    A: 1\n    B: 1\n    A: 2",
    "version: 1\ntest_defaults: &d\n  tool: terraform",
    "version: 1\ntest_defaults: *d",
    "a: &a [x]\nb: *a",
    "version: !!int 1",
    "version: 1\ntests: [[[[[[[[1]]]]]]]]",
    "version: 1\n? [a]\n: b",
    "version: 1\n? &a x\n: b",
    "version: 1\n: b",
    // The version.
    "tests: []",
    "# A comment.\n\ntests: []",
    "version:\ntests: []",
    "version: 2\nstacks: []",
    "version: 1.0",
    "version: '1'",
    "version: true",
    "version: one",
    "version: [1]",
    // Unknown keys at every level.
    "version: 1\nstacks: []",
    "version: 1\n\"a\\nb\": []",
    "version: 1\n1: x",
    "version: 1\ntest_defaults: { name: x }",
    "version: 1\ntests:\n  - name: a\n    depends-on: [b]",
    // Wrong types.
    "version: 1\nmodule_version:\n",
    "version: 1\nmodule_version: [1, 2]",
    "version: 1\ntest_defaults: []",
    "version: 1\ntest_defaults:",
    "version: 1\ntests: {}",
    "version: 1\ntests: ~",
    "version: 1\ntests: [basic]",
    "version: 1\ntests:\n  - name: 123",
    "version: 1\ntests:\n  - name: [a]",
    "version: 1\ntests:\n  - name:\n    negative: true",
    "version: 1\ntests:\n  - { name: a, negative: yes }",
    "version: 1\ntests:\n  - { name: a, negative: 'true' }",
    "version: 1\ntests:\n  - { name: a, project_root: 1 }",
    "version: 1\ntests:\n  - { name: a, depends_on: b }",
    "version: 1\ntests:\n  - { name: a, depends_on: [[b]] }",
    "version: 1\ntests:\n  - { name: a, variables: [A=1] }",
    "version: 1\ntests:\n  - { name: a, variables: { A: } }",
    "version: 1\ntests:\n  - { name: a, variables: { A: [1] } }",
    // Values.
    "version: 1\nmodule_version: v1.2.0",
    "version: 1\nmodule_version: 1.2",
    "version: 1\nmodule_version: 1.2.0+build",
    "version: 1\nmodule_version: 01.2.0",
    "version: 1\ntests:\n  - negative: true",
    "version: 1\ntests:\n  - { name: '' }",
    "version: 1\ntests:\n  - { name: -a }",
    "version: 1\ntests:\n  - { name: a b }",
    "version: 1\ntests:\n  - { name: größe }",
    "version: 1\ntests:\n  - { name: a, project_root: ../other }",
    "version: 1\ntests:\n  - { name: a, project_root: 'a\\b' }",
    "version: 1\ntests:\n  - { name: a, tool: pulumi }",
    "version: 1\ntests:\n  - { name: a, tool_version: latest }",
    "version: 1\ntests:\n  - { name: a, tool: }",
    "version: 1\ntests:\n  - { name: a, tool_version: 1.9 }",
    "version: 1\ntests:\n  - { name: a, tool_version: '~> 1.9' }",
    "version: 1\ntests:\n  - { name: a, tool_version: v1.9.8 }",
    "version: 1\ntest_defaults:\n  tool_version: 1.9.8+x",
    "version: 1\ntests:\n  - { name: a, variables: { A-B: 1 } }",
    "version: 1\ntests:\n  - { name: a, variables: { 1A: 1 } }",
    "version: 1\ntests:\n  - { name: a, variables: { '': 1 } }",
    "version: 1\ntests:\n  - { name: a, variables: { TF_VAR_a.b: 1 } }",
    "version: 1\ntests:\n  - { name: a, variables: { TF_WORKSPACE: prod } }",
    "version: 1\ntests:\n  - { name: a, variables: { GANTRY_RUN: 1 } }",
    "version: 1\ntests:\n  - { name: a, variables: { TF_HTTP_ADDRESS: x } }",
    "version: 1\ntest_defaults:\n  variables:\n    PATH: /bin",
    "version: 1\ntest_defaults:\n  variables:\n    TF_DATA_DIR: x",
    "version: 1\ntests:\n  - { name: a, variables: { A: \"x\\0y\" } }",
    // Between tests.
    "version: 1\ntests:\n  - name: a\n  - name: b\n  - name: a",
    "version: 1\ntests:\n  - { name: a, depends_on: [b] }",
    "version: 1\ntests:\n  - { name: a, depends_on: [a] }",
    "version: 1\ntests:\n  - { name: a }\n  - { name: b, depends_on: [a, a] }",
    "version: 1\ntests:\n  - { name: a, depends_on: [b] }\n  - { name: b, depends_on: [a] }",
    "version: 1
tests:
  - { name: outside, depends_on: [c] }
  - { name: free }
  - { name: b, depends_on: [free, c] }
  - { name: c, depends_on: [d] }
  - { name: d, depends_on: [free, b] }
  - { name: inside, depends_on: [free] }",
];

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let said = |text: &&str| {
        let error = read(text.as_bytes()).expect_err(text).to_string();
        assert!(!error.contains('\n') && error.chars().count() < 300, "{error}");
        format!("{}\n    {error}", text.replace('\n', "⏎").replace('\t', "⇥"))
    };
    insta::assert_snapshot!(WRONG.iter().map(said).collect::<Vec<_>>().join("\n"), @r#"
        the file is empty; it needs at least the line version: 1
    ⏎# Nothing yet.⏎
        the file is empty; it needs at least the line version: 1
    ---⏎
        the file is empty; it needs at least the line version: 1
    null
        the file is empty; it needs at least the line version: 1
    hello
        line 1, column 1: the file is a string; it must be a mapping
    - version: 1
        line 1, column 1: the file is a list; it must be a mapping
    version: 1⏎---⏎version: 1⏎
        line 2, column 1: a second document starts here; only one is allowed
    version: 1⏎...⏎- x⏎
        line 3, column 1: a second document starts here; only one is allowed
    version: 1⏎tests: [
        line 3, column 1: not YAML: while parsing a node, did not find expected node content
    version: 1⏎⇥tests: []
        line 1, column 10: not YAML: while scanning a plain scalar, found a tab
    version: 1⏎ tests: []
        line 2, column 7: not YAML: mapping values are not allowed in this context
    version: 1⏎module_version: 'x
        line 2, column 17: not YAML: while scanning a quoted scalar, found unexpected end of stream
    version: 1⏎module_version: @x
        line 2, column 17: not YAML: unexpected character: `@'
    version: 1⏎x: "\q"
        line 2, column 4: not YAML: while parsing a quoted scalar, found unknown escape character
    version: 1⏎version: 1
        line 2, column 1: duplicate key "version", first used in line 1
    version: 1⏎tests:⏎  - name: a⏎    name: b
        line 4, column 5: duplicate key "name", first used in line 3
    version: 1⏎test_defaults:⏎  variables:⏎    A: 1⏎    B: 1⏎    A: 2
        line 6, column 5: duplicate key "A", first used in line 4
    version: 1⏎test_defaults: &d⏎  tool: terraform
        line 2, column 16: anchors and aliases (& and *) are not supported; repeat the value
    version: 1⏎test_defaults: *d
        line 2, column 16: not YAML: while parsing node, found unknown anchor
    a: &a [x]⏎b: *a
        line 1, column 4: anchors and aliases (& and *) are not supported; repeat the value
    version: !!int 1
        line 1, column 10: tags (!) are not supported; remove it
    version: 1⏎tests: [[[[[[[[1]]]]]]]]
        line 2, column 15: lists and mappings are nested more than 8 levels deep
    version: 1⏎? [a]⏎: b
        line 2, column 3: a key must be a string, not a list
    version: 1⏎? &a x⏎: b
        line 2, column 3: anchors and aliases (& and *) are not supported; repeat the value
    version: 1⏎: b
        line 2, column 1: a key must be a string, not empty
    tests: []
        line 1, column 1: version is missing; start the file with version: 1
    # A comment.⏎⏎tests: []
        line 3, column 1: version is missing; start the file with version: 1
    version:⏎tests: []
        line 1, column 1: version is empty; it must be 1
    version: 2⏎stacks: []
        line 1, column 10: version 2 is not supported; use 1
    version: 1.0
        line 1, column 10: version 1.0 is not supported; use 1
    version: '1'
        line 1, column 10: version is a string; it must be 1
    version: true
        line 1, column 10: version is true or false; it must be 1
    version: one
        line 1, column 10: version is a string; it must be 1
    version: [1]
        line 1, column 10: version is a list; it must be 1
    version: 1⏎stacks: []
        line 2, column 1: unknown key "stacks"; allowed: version, module_version, test_defaults, tests
    version: 1⏎"a\nb": []
        line 2, column 1: unknown key "a\nb"; allowed: version, module_version, test_defaults, tests
    version: 1⏎1: x
        line 2, column 1: unknown key "1"; allowed: version, module_version, test_defaults, tests
    version: 1⏎test_defaults: { name: x }
        line 2, column 18: unknown key "name"; allowed: project_root, variables, tool, tool_version
    version: 1⏎tests:⏎  - name: a⏎    depends-on: [b]
        line 4, column 5: unknown key "depends-on"; allowed: name, project_root, variables, negative, depends_on, tool, tool_version
    version: 1⏎module_version:⏎
        line 2, column 1: module_version is empty; it must be a version
    version: 1⏎module_version: [1, 2]
        line 2, column 17: module_version is a list; it must be a version
    version: 1⏎test_defaults: []
        line 2, column 16: test_defaults is a list; it must be a mapping
    version: 1⏎test_defaults:
        line 2, column 1: test_defaults is empty; it must be a mapping
    version: 1⏎tests: {}
        line 2, column 8: tests is a mapping; it must be a list
    version: 1⏎tests: ~
        line 2, column 1: tests is empty; it must be a list
    version: 1⏎tests: [basic]
        line 2, column 9: a test is a string; it must be a mapping
    version: 1⏎tests:⏎  - name: 123
        line 3, column 11: name is a number; it must be a string, so put it in quotes
    version: 1⏎tests:⏎  - name: [a]
        line 3, column 11: name is a list; it must be a string
    version: 1⏎tests:⏎  - name:⏎    negative: true
        line 3, column 5: name is empty; it must be a string
    version: 1⏎tests:⏎  - { name: a, negative: yes }
        line 3, column 26: negative is a string; it must be true or false
    version: 1⏎tests:⏎  - { name: a, negative: 'true' }
        line 3, column 26: negative is a string; it must be true or false
    version: 1⏎tests:⏎  - { name: a, project_root: 1 }
        line 3, column 30: project_root is a number; it must be a string, so put it in quotes
    version: 1⏎tests:⏎  - { name: a, depends_on: b }
        line 3, column 28: depends_on is a string; it must be a list
    version: 1⏎tests:⏎  - { name: a, depends_on: [[b]] }
        line 3, column 29: depends_on is a list; it must be a string
    version: 1⏎tests:⏎  - { name: a, variables: [A=1] }
        line 3, column 27: variables is a list; it must be a mapping
    version: 1⏎tests:⏎  - { name: a, variables: { A: } }
        line 3, column 29: A is empty; it must be a string, a number, true or false
    version: 1⏎tests:⏎  - { name: a, variables: { A: [1] } }
        line 3, column 32: A is a list; it must be a string, a number, true or false
    version: 1⏎module_version: v1.2.0
        line 2, column 17: module_version "v1.2.0" is not a version such as 1.2.0 or 1.2.0-rc.1 (without a leading v or build metadata)
    version: 1⏎module_version: 1.2
        line 2, column 17: module_version "1.2" is not a version such as 1.2.0 or 1.2.0-rc.1 (without a leading v or build metadata)
    version: 1⏎module_version: 1.2.0+build
        line 2, column 17: module_version "1.2.0+build" is not a version such as 1.2.0 or 1.2.0-rc.1 (without a leading v or build metadata)
    version: 1⏎module_version: 01.2.0
        line 2, column 17: module_version "01.2.0" is not a version such as 1.2.0 or 1.2.0-rc.1 (without a leading v or build metadata)
    version: 1⏎tests:⏎  - negative: true
        line 3, column 5: a test has no name
    version: 1⏎tests:⏎  - { name: '' }
        line 3, column 13: "" is not a valid test name: use 1 to 64 of a-z, A-Z, 0-9, '_', '.' and '-', starting with a letter or digit
    version: 1⏎tests:⏎  - { name: -a }
        line 3, column 13: "-a" is not a valid test name: use 1 to 64 of a-z, A-Z, 0-9, '_', '.' and '-', starting with a letter or digit
    version: 1⏎tests:⏎  - { name: a b }
        line 3, column 13: "a b" is not a valid test name: use 1 to 64 of a-z, A-Z, 0-9, '_', '.' and '-', starting with a letter or digit
    version: 1⏎tests:⏎  - { name: größe }
        line 3, column 13: "größe" is not a valid test name: use 1 to 64 of a-z, A-Z, 0-9, '_', '.' and '-', starting with a letter or digit
    version: 1⏎tests:⏎  - { name: a, project_root: ../other }
        line 3, column 30: project_root "../other" is not a folder inside the module, such as examples/basic; it cannot contain .. or \
    version: 1⏎tests:⏎  - { name: a, project_root: 'a\b' }
        line 3, column 30: project_root "a\\b" is not a folder inside the module, such as examples/basic; it cannot contain .. or \
    version: 1⏎tests:⏎  - { name: a, tool: pulumi }
        line 3, column 22: unknown tool "pulumi"; use terraform or opentofu
    version: 1⏎tests:⏎  - { name: a, tool_version: latest }
        line 3, column 30: tool_version "latest" is not a released version such as 1.9.8
    version: 1⏎tests:⏎  - { name: a, tool: }
        line 3, column 16: tool is empty; it must be terraform or opentofu
    version: 1⏎tests:⏎  - { name: a, tool_version: 1.9 }
        line 3, column 30: tool_version "1.9" is not a released version such as 1.9.8
    version: 1⏎tests:⏎  - { name: a, tool_version: '~> 1.9' }
        line 3, column 30: tool_version "~> 1.9" is not a released version such as 1.9.8
    version: 1⏎tests:⏎  - { name: a, tool_version: v1.9.8 }
        line 3, column 30: tool_version "v1.9.8" is not a released version such as 1.9.8
    version: 1⏎test_defaults:⏎  tool_version: 1.9.8+x
        line 3, column 17: tool_version "1.9.8+x" is not a released version such as 1.9.8
    version: 1⏎tests:⏎  - { name: a, variables: { A-B: 1 } }
        line 3, column 29: the variable "A-B" is not valid. Use only letters, digits and _, and do not start with a digit; after TF_VAR_, any valid name of a Terraform variable
    version: 1⏎tests:⏎  - { name: a, variables: { 1A: 1 } }
        line 3, column 29: the variable "1A" is not valid. Use only letters, digits and _, and do not start with a digit; after TF_VAR_, any valid name of a Terraform variable
    version: 1⏎tests:⏎  - { name: a, variables: { '': 1 } }
        line 3, column 29: the variable "" is not valid. Use only letters, digits and _, and do not start with a digit; after TF_VAR_, any valid name of a Terraform variable
    version: 1⏎tests:⏎  - { name: a, variables: { TF_VAR_a.b: 1 } }
        line 3, column 29: the variable "TF_VAR_a.b" is not valid. Use only letters, digits and _, and do not start with a digit; after TF_VAR_, any valid name of a Terraform variable
    version: 1⏎tests:⏎  - { name: a, variables: { TF_WORKSPACE: prod } }
        line 3, column 43: remove TF_WORKSPACE: the state of a test has only the default workspace
    version: 1⏎tests:⏎  - { name: a, variables: { GANTRY_RUN: 1 } }
        line 3, column 29: Gantry sets the variable GANTRY_RUN itself
    version: 1⏎tests:⏎  - { name: a, variables: { TF_HTTP_ADDRESS: x } }
        line 3, column 29: Gantry sets the variable TF_HTTP_ADDRESS itself
    version: 1⏎test_defaults:⏎  variables:⏎    PATH: /bin
        line 4, column 5: Gantry sets the variable PATH itself
    version: 1⏎test_defaults:⏎  variables:⏎    TF_DATA_DIR: x
        line 4, column 5: Gantry sets the variable TF_DATA_DIR itself
    version: 1⏎tests:⏎  - { name: a, variables: { A: "x\0y" } }
        line 3, column 32: A contains a NUL character, which no environment variable can hold
    version: 1⏎tests:⏎  - name: a⏎  - name: b⏎  - name: a
        line 5, column 11: two tests are named a (lines 3 and 5)
    version: 1⏎tests:⏎  - { name: a, depends_on: [b] }
        line 3, column 29: the test a depends on b, which does not exist
    version: 1⏎tests:⏎  - { name: a, depends_on: [a] }
        line 3, column 29: the test a depends on itself
    version: 1⏎tests:⏎  - { name: a }⏎  - { name: b, depends_on: [a, a] }
        line 4, column 32: the test b depends on a twice
    version: 1⏎tests:⏎  - { name: a, depends_on: [b] }⏎  - { name: b, depends_on: [a] }
        line 3, column 29: these tests depend on each other: a → b → a
    version: 1⏎tests:⏎  - { name: outside, depends_on: [c] }⏎  - { name: free }⏎  - { name: b, depends_on: [free, c] }⏎  - { name: c, depends_on: [d] }⏎  - { name: d, depends_on: [free, b] }⏎  - { name: inside, depends_on: [free] }
        line 5, column 35: these tests depend on each other: b → c → d → b
    "#);
}

#[test]
fn what_is_no_text_or_too_much_is_refused() {
    let tests = |count: usize| {
        let tests: String = (0..count).map(|n| format!("  - name: t{n}\n")).collect();
        format!("version: 1\ntests:\n{tests}").into_bytes()
    };
    let variables = |count: usize| {
        let variables: String = (0..count).map(|n| format!("    V{n}: 1\n")).collect();
        format!("version: 1\ntest_defaults:\n  variables:\n{variables}").into_bytes()
    };
    let padded = |length: usize| {
        let mut text = b"version: 1\n#".to_vec();
        text.resize(length, b'x');
        text
    };
    for fits in [tests(MOST_TESTS), variables(MOST_VARIABLES), padded(LARGEST)] {
        read(&fits).unwrap();
    }
    let wrong = [
        padded(LARGEST + 1),
        tests(MOST_TESTS + 1),
        variables(MOST_VARIABLES + 1),
        b"version: 1\n# \xc3\xb6 \xff".to_vec(),
        b"\xff\xfev\0e\0".to_vec(),
        format!("version: 1\n{}: 1", "k".repeat(500)).into_bytes(),
        format!("version: 1\ntests: [{{name: {}}}]", "n".repeat(500)).into_bytes(),
        format!("version: 1\ntests: [{{name: a, tool_version: 1.2.3-{}}}]", "1".repeat(40))
            .into_bytes(),
    ];
    let said = wrong.map(|bytes| read(&bytes).unwrap_err().to_string()).join("\n");
    insta::assert_snapshot!(said, @r#"
    the file has 65537 bytes; the limit is 65536
    line 3, column 3: 101 tests; the limit is 100
    line 4, column 5: 101 variables; the limit is 100
    line 2, column 5: the file is not UTF-8: byte 17 is invalid
    line 1, column 1: the file is not UTF-8: byte 1 is invalid
    line 2, column 1: unknown key "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk…"; allowed: version, module_version, test_defaults, tests
    line 2, column 16: "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…" is not a valid test name: use 1 to 64 of a-z, A-Z, 0-9, '_', '.' and '-', starting with a letter or digit
    line 2, column 33: tool_version "1.2.3-1111111111111111111111111111111111111111" is not a released version such as 1.9.8
    "#);
}

#[test]
fn a_name_may_be_long_and_a_variable_anything_else() {
    let name = "n".repeat(64);
    let text = format!(
        "version: 1\ntests:\n  - name: {name}\n    variables: {{ path: a, TF_VAR_PATH: b, _: '' }}"
    );
    let config = read(text.as_bytes()).unwrap();
    assert_eq!(config.tests[0].name.as_str(), name);
    assert_eq!(config.tests[0].variables.len(), 3);
}

#[test]
fn what_would_grow_is_refused_at_once() {
    let mut bomb = "a0: &a0 [x, x]\n".to_owned();
    for n in 1..40 {
        bomb += &format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1);
    }
    assert!(read(bomb.as_bytes()).unwrap_err().problem.contains("anchors"));
    for open in ["[", "{", "- ", "? ", "{a: ", "[:"] {
        let deep = open.repeat(LARGEST / open.len());
        assert!(read(deep.as_bytes()).is_err(), "{open}");
    }
}

#[test]
fn the_schema_has_the_keys_that_are_read() {
    let schema: Json = serde_json::from_str(SCHEMA).unwrap();
    for (place, known, required) in [
        ("", KEYS, "version"),
        ("/properties/test_defaults", DEFAULTS_KEYS, ""),
        ("/$defs/test", TEST_KEYS, "name"),
    ] {
        let object = schema.pointer(place).unwrap();
        let keys: BTreeSet<_> = object["properties"].as_object().unwrap().keys().collect();
        assert_eq!(keys.into_iter().map(String::as_str).collect::<BTreeSet<_>>(), set(known));
        assert_eq!(object["additionalProperties"], false, "{place}");
        let needs: Vec<_> = object["required"].as_array().into_iter().flatten().collect();
        assert_eq!(needs, if required.is_empty() { vec![] } else { vec![required] }, "{place}");
        for (key, property) in object["properties"].as_object().unwrap() {
            let defined = property["$ref"].as_str().and_then(|to| schema.pointer(&to[1..]));
            let describes = |it: &Json| it["description"].is_string();
            assert!(describes(property) || defined.is_some_and(describes), "{key}");
        }
    }
}

#[test]
fn the_schema_has_the_limits_that_are_kept() {
    let schema: Json = serde_json::from_str(SCHEMA).unwrap();
    let at = |place: &str| schema.pointer(place).unwrap();
    assert_eq!(at("/properties/tests/maxItems"), MOST_TESTS);
    assert_eq!(at("/$defs/variables/maxProperties"), MOST_VARIABLES);
    assert_eq!(at("/$defs/version/maxLength"), version::LONGEST);
    let tools: Vec<Tool> = serde_json::from_value(at("/$defs/tool/enum").clone()).unwrap();
    assert_eq!(tools, [Tool::Terraform, Tool::OpenTofu]);
    let refused = at("/$defs/variables/propertyNames/not/pattern").as_str().unwrap();
    let (prefixes, names) = (RESERVED_PREFIXES.join("|"), RESERVED.join("|"));
    assert_eq!(refused, format!("^({prefixes}|({names})$)"));
}

fn set<'a>(keys: &[&'a str]) -> BTreeSet<&'a str> {
    keys.iter().copied().collect()
}

/// Texts that are nearly a file.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("version: 1\n"),
        Just("tests:\n"),
        Just("  - name: a\n"),
        Just("    depends_on: [a, b]\n"),
        Just("  - { name: b, depends_on: [a] }\n"),
        Just("test_defaults:\n"),
        Just("    variables: { A: 1 }\n"),
        Just("  tool: terraform\n"),
        Just("module_version: 1.0.0\n"),
        Just("---\n"),
        Just("...\n"),
        Just("&a "),
        Just("*a"),
        Just("!x "),
        Just("- "),
        Just("? "),
        Just(": "),
        Just("["),
        Just("}"),
        Just(", "),
        Just("|\n"),
        Just(">-\n"),
        Just("\""),
        Just("'"),
        Just("\\x"),
        Just("#"),
        Just("\t"),
        Just("\r\n"),
        Just("\n"),
        Just("  "),
        Just("\u{feff}"),
        Just("é"),
        Just("\0"),
        Just("%YAML 1.2\n"),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_a_file_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn any_text_is_a_file_or_refused_in_one_line(text in nearly()) {
        if let Err(error) = read(text.as_bytes()) {
            prop_assert!(!error.to_string().contains(char::is_control), "{error}");
            let lines = text.lines().count() as u64 + 1;
            prop_assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_read_has_no_cycle(
        needs in prop::collection::vec((0usize..6, 0usize..6), 0..8),
    ) {
        let depends_on = |test: usize| {
            let needs: BTreeSet<_> = needs.iter().filter(|(from, _)| *from == test).collect();
            needs.iter().map(|(_, to)| format!("t{to}")).collect::<Vec<_>>().join(", ")
        };
        let test = |n| format!("  - {{ name: t{n}, depends_on: [{}] }}\n", depends_on(n));
        let tests = (0..6).map(test);
        let text = format!("version: 1\ntests:\n{}", tests.collect::<String>());
        // By another way: a test that passes makes room for others, until all have passed.
        let mut passed = BTreeSet::new();
        for _ in 0..6 {
            for test in 0..6 {
                if needs.iter().all(|(from, to)| *from != test || passed.contains(to)) {
                    passed.insert(test);
                }
            }
        }
        prop_assert_eq!(read(text.as_bytes()).is_ok(), passed.len() == 6, "{}", text);
    }
}
