//! The file in a module's repository that says which tests it has: [`PATH`].
//!
//! [`read`] takes its bytes and gives all of it or the first thing that is wrong, with its place.
//! It is as strict as a person can be helped with: what it does not know, it refuses.

mod dependencies;
mod document;
mod fields;

use super::version;
use crate::{
    ids::TestName,
    stack::{Tool, VARIABLE_NAMES, is_variable_name, normalize_root},
    text::cut,
};
use document::{Entry, Node, Place, Value, shown};
use fields::{Keys, as_written, flag, list, test_name, text};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where the file lies, relative to the module's root.
pub const PATH: &str = ".gantry/config.yml";
/// The most bytes that the file has.
pub const LARGEST: usize = 64 * 1024;
/// The most tests of a module.
pub const MOST_TESTS: usize = 100;
/// The most variables of one mapping, so that the defaults cannot be a hundred times a large one.
pub const MOST_VARIABLES: usize = 100;
/// A JSON Schema (draft 2020-12) of the file, for editors.
pub const SCHEMA: &str = include_str!("schema.json");

/// The keys of the file.
const KEYS: &[&str] = &["version", "module_version", "test_defaults", "tests"];
/// The keys of `test_defaults`.
const DEFAULTS_KEYS: &[&str] = &["project_root", "variables", "tool", "tool_version"];
/// The keys of a test.
const TEST_KEYS: &[&str] =
    &["name", "project_root", "variables", "negative", "depends_on", "tool", "tool_version"];

/// Beginnings of names of variables that are Gantry's.
const RESERVED_PREFIXES: &[&str] = &["GANTRY_", "TF_HTTP_"];
/// Names of variables that Gantry sets itself.
const RESERVED: &[&str] = &["PATH", "HOME", "TF_DATA_DIR"];

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleConfig {
    /// The version that the module has next; without build metadata.
    pub module_version: Option<Version>,
    /// The tests in the file's order. Each name is there once, and no test waits for itself.
    pub tests: Vec<TestCase>,
}

/// A test of the module: a folder that is planned, applied and destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCase {
    /// Its name.
    pub name: TestName,
    /// The folder that the tool runs in, relative to the module's root: no leading or trailing
    /// slash, empty for the module's root itself.
    pub project_root: String,
    /// Environment variables, the defaults' among them.
    pub variables: BTreeMap<String, String>,
    /// True when its plan or apply has to fail.
    pub negative: bool,
    /// The tests that have to pass before this one starts.
    pub depends_on: Vec<TestName>,
    /// The program that runs it.
    pub tool: Option<Tool>,
    /// The program's version: a released one, without a leading `v`.
    pub tool_version: Option<String>,
}

/// Why the file cannot be used, in one line for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", position(.line, .column))]
pub struct ConfigError {
    /// The line, counted from 1, where one is known.
    pub line: Option<u64>,
    /// The character in the line, counted from 1, where one is known.
    pub column: Option<u64>,
    /// What is wrong.
    pub problem: String,
}

/// Reads the file.
pub fn read(bytes: &[u8]) -> Result<ModuleConfig, ConfigError> {
    let nowhere = |problem| ConfigError { line: None, column: None, problem };
    if bytes.len() > LARGEST {
        let problem = format!("the file has {} bytes; the limit is {LARGEST}", bytes.len());
        return Err(nowhere(problem));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    let top = document::read(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    let Some(top) = top.filter(|top| !matches!(top.value, Value::Nothing)) else {
        return Err(nowhere("the file is empty; it needs at least the line version: 1".to_owned()));
    };
    let at = top.at;
    let mut top = Keys::of(top, "the file")?;
    check_version(&mut top, at)?;
    top.only(KEYS)?;
    let module_version = top.take("module_version").map(module_version).transpose()?;
    let defaults = match top.take("test_defaults") {
        Some(node) => {
            let mut keys = Keys::of(node, "test_defaults")?;
            keys.only(DEFAULTS_KEYS)?;
            Settings::take(&mut keys)?
        }
        None => Settings::default(),
    };
    let tests = top.take("tests").map(|node| tests(node, &defaults)).transpose()?;
    Ok(ModuleConfig { module_version, tests: tests.unwrap_or_default() })
}

fn position(line: &Option<u64>, column: &Option<u64>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: "),
        (Some(line), None) => format!("line {line}: "),
        (None, _) => String::new(),
    }
}

fn not_utf8(bytes: &[u8], good: usize) -> ConfigError {
    let before = String::from_utf8_lossy(&bytes[..good]);
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() as u64 + 1;
    Place { line, column }.error(format!("the file is not UTF-8: byte {} is invalid", good + 1))
}

/// First of all: a file of another version may have other keys.
fn check_version(top: &mut Keys, at: Place) -> Result<(), ConfigError> {
    let Some(node) = top.take("version") else {
        return Err(at.error("version is missing; start the file with version: 1"));
    };
    match node.value {
        Value::Number(number) if number == "1" => Ok(()),
        Value::Number(number) => {
            let problem = format!("version {} is not supported; use 1", cut(&number, 20));
            Err(node.at.error(problem))
        }
        other => Err(node.at.error(format!("version is {}; it must be 1", other.kind()))),
    }
}

fn module_version(node: Node) -> Result<Version, ConfigError> {
    let (at, text) = as_written(node, "module_version", "a version")?;
    version::strict(&text).ok_or_else(|| {
        let text = shown(&text);
        at.error(format!(
            "module_version {text} is not a version such as 1.2.0 or 1.2.0-rc.1 (without a leading \
             v or build metadata)"
        ))
    })
}

/// What `test_defaults` and a test have in common.
#[derive(Default)]
struct Settings {
    project_root: Option<String>,
    variables: BTreeMap<String, String>,
    tool: Option<Tool>,
    tool_version: Option<String>,
}

impl Settings {
    fn take(keys: &mut Keys) -> Result<Self, ConfigError> {
        Ok(Self {
            project_root: keys.take("project_root").map(project_root).transpose()?,
            variables: keys.take("variables").map(variables).transpose()?.unwrap_or_default(),
            tool: keys.take("tool").map(tool).transpose()?,
            tool_version: keys.take("tool_version").map(tool_version).transpose()?,
        })
    }
}

fn project_root(node: Node) -> Result<String, ConfigError> {
    let (at, root) = text(node, "project_root")?;
    normalize_root(&root).map_err(|_| {
        let root = shown(&root);
        at.error(format!(
            "project_root {root} is not a folder inside the module, such as examples/basic; it \
             cannot contain .. or \\"
        ))
    })
}

fn variables(node: Node) -> Result<BTreeMap<String, String>, ConfigError> {
    let Keys { entries, at, .. } = Keys::of(node, "variables")?;
    if entries.len() > MOST_VARIABLES {
        let count = entries.len();
        return Err(at.error(format!("{count} variables; the limit is {MOST_VARIABLES}")));
    }
    let mut variables = BTreeMap::new();
    for Entry { at, key: name, value } in entries {
        check_variable(&name).map_err(|problem| at.error(problem))?;
        let (at, value) = as_written(value, &name, "a string, a number, true or false")?;
        if value.contains('\0') {
            let name = cut(&name, 60);
            let problem =
                format!("{name} contains a NUL character, which no environment variable can hold");
            return Err(at.error(problem));
        }
        if name == "TF_WORKSPACE" && value != "default" {
            return Err(
                at.error("remove TF_WORKSPACE: the state of a test has only the default workspace")
            );
        }
        variables.insert(name, value);
    }
    Ok(variables)
}

fn check_variable(name: &str) -> Result<(), String> {
    if !is_variable_name(name) {
        return Err(format!("the variable {} is not valid. {VARIABLE_NAMES}", shown(name)));
    }
    if RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(format!("Gantry sets the variable {} itself", cut(name, 60)));
    }
    Ok(())
}

fn tool(node: Node) -> Result<Tool, ConfigError> {
    let (at, text) = as_written(node, "tool", "terraform or opentofu")?;
    match text.as_str() {
        "terraform" => Ok(Tool::Terraform),
        "opentofu" => Ok(Tool::OpenTofu),
        _ => Err(at.error(format!("unknown tool {}; use terraform or opentofu", shown(&text)))),
    }
}

/// It becomes part of an address that the program is downloaded from, so it is strict and short.
fn tool_version(node: Node) -> Result<String, ConfigError> {
    let (at, text) = as_written(node, "tool_version", "a version")?;
    if text.len() <= 32 && version::strict(&text).is_some() {
        return Ok(text);
    }
    let text = shown(&text);
    Err(at.error(format!("tool_version {text} is not a released version such as 1.9.8")))
}

/// A test, with the places that what is wrong between tests is said at.
struct Placed {
    at: Place,
    test: TestCase,
    depends_on_at: Vec<Place>,
}

fn tests(node: Node, defaults: &Settings) -> Result<Vec<TestCase>, ConfigError> {
    let (at, nodes) = list(node, "tests")?;
    if nodes.len() > MOST_TESTS {
        let count = nodes.len();
        return Err(at.error(format!("{count} tests; the limit is {MOST_TESTS}")));
    }
    let tests = nodes.into_iter().map(|node| test(node, defaults));
    let tests: Vec<Placed> = tests.collect::<Result<_, _>>()?;
    dependencies::check(&tests)?;
    Ok(tests.into_iter().map(|placed| placed.test).collect())
}

fn test(node: Node, defaults: &Settings) -> Result<Placed, ConfigError> {
    let mut keys = Keys::of(node, "a test")?;
    keys.only(TEST_KEYS)?;
    let Some(name) = keys.take("name") else {
        return Err(keys.at.error("a test has no name"));
    };
    let (at, name) = test_name(name, "name")?;
    let own = Settings::take(&mut keys)?;
    let negative = keys.take("negative").map(flag).transpose()?.unwrap_or_default();
    let depends_on = match keys.take("depends_on") {
        Some(node) => {
            let nodes = list(node, "depends_on")?.1.into_iter();
            nodes.map(|node| test_name(node, "depends_on")).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    let (depends_on_at, depends_on) = depends_on.into_iter().unzip();
    let mut variables = defaults.variables.clone();
    variables.extend(own.variables);
    let root = own.project_root.or_else(|| defaults.project_root.clone());
    let test = TestCase {
        name,
        project_root: root.unwrap_or_default(),
        variables,
        negative,
        depends_on,
        tool: own.tool.or(defaults.tool),
        tool_version: own.tool_version.or_else(|| defaults.tool_version.clone()),
    };
    Ok(Placed { at, test, depends_on_at })
}

#[cfg(test)]
mod tests;
