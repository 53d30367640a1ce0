//! What the tool itself read of a module's code: the configuration in the plan JSON of a test.

use super::PlanError;
use crate::stack::Tool;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Of modules that declare more than so many bytes nothing is kept.
const LARGEST: usize = 200_000;

/// A module as the tool read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedModule {
    /// The program that read it.
    pub tool: Tool,
    /// Its folder as the root's code names it (`../..`); empty for the root of the run.
    pub folder: String,
    /// Its variables.
    pub inputs: BTreeMap<String, PlannedValue>,
    /// Its outputs.
    pub outputs: BTreeMap<String, PlannedValue>,
}

/// A variable or an output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlannedValue {
    /// What it is for.
    pub description: Option<String>,
    /// A variable's default as JSON; a sensitive one's is not kept.
    pub default: Option<String>,
    /// A variable has to be given.
    pub required: bool,
    /// Its value is not shown.
    pub sensitive: bool,
}

impl PlannedModule {
    /// Passes every text through `mask`.
    pub(super) fn mask(&mut self, mask: &dyn Fn(&str) -> String) {
        let Self { tool: _, folder, inputs, outputs } = self;
        *folder = mask(folder);
        for values in [inputs, outputs] {
            let named = std::mem::take(values).into_iter();
            let masked = named.map(|(name, mut value)| {
                let PlannedValue { description, default, required: _, sensitive: _ } = &mut value;
                description.iter_mut().chain(default).for_each(|text| *text = mask(text));
                (mask(&name), value)
            });
            *values = masked.collect();
        }
    }
}

#[derive(Deserialize)]
struct Plan {
    configuration: Option<Configuration>,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    root_module: Module,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Module {
    variables: BTreeMap<String, Declared>,
    outputs: BTreeMap<String, Declared>,
    module_calls: BTreeMap<String, Call>,
}

/// A default of null is one.
type Declared = BTreeMap<String, Box<RawValue>>;

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    source: String,
    module: Option<Module>,
}

/// The root of a plan, and the folders that its code calls as modules. Every text is masked.
///
/// # Errors
/// When this is no plan.
pub fn planned_modules(
    plan: &[u8],
    tool: Tool,
    mask: &dyn Fn(&str) -> String,
) -> Result<Vec<PlannedModule>, PlanError> {
    let plan: Plan = serde_json::from_slice(plan).map_err(PlanError::NotAPlan)?;
    let Some(Configuration { mut root_module }) = plan.configuration else { return Ok(Vec::new()) };
    let calls = std::mem::take(&mut root_module.module_calls).into_values();
    let called = calls.filter(|call| call.source.starts_with('.'));
    let modules = called.filter_map(|call| Some((call.source, call.module?)));
    let all = std::iter::once((String::new(), root_module)).chain(modules);
    let mut left = LARGEST;
    let read = all.filter_map(|(folder, module)| {
        let read = |declared: BTreeMap<String, Declared>| {
            declared.into_iter().map(|(name, said)| (name, value(&said))).collect()
        };
        let (inputs, outputs) = (read(module.variables), read(module.outputs));
        let mut module = PlannedModule { tool, folder, inputs, outputs };
        module.mask(mask);
        let length = serde_json::to_vec(&module).ok()?.len();
        left = left.checked_sub(length)?;
        Some(module)
    });
    Ok(read.collect())
}

fn value(said: &Declared) -> PlannedValue {
    let raw = |name| Some(said.get(name)?.get());
    let sensitive = raw("sensitive") == Some("true");
    let description = raw("description").and_then(|raw| serde_json::from_str::<String>(raw).ok());
    PlannedValue {
        description: description.map(|text| text.replace("\r\n", "\n").trim_end().to_owned()),
        default: raw("default").filter(|_| !sensitive).map(str::to_owned),
        required: raw("default").is_none(),
        sensitive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"{"configuration": {"root_module": {
        "outputs": {"all": {"sensitive": true, "description": "All of hunter22"}},
        "module_calls": {
            "m": {"source": "../..", "module": {
                "variables": {
                    "none": {"default": null}, "digits": {"default": 12345678901234567890123},
                    "secret": {"default": "x", "sensitive": true}, "name": {"description": "hunter22"}},
                "outputs": {"o": {}}}},
            "other": {"source": "acme/other/aws", "module": {"variables": {"a": {}}}}}}}}"#;

    fn read(plan: &str) -> Vec<PlannedModule> {
        let mask = |text: &str| text.replace("hunter22", "(masked)");
        planned_modules(plan.as_bytes(), Tool::OpenTofu, &mask).unwrap()
    }

    #[test]
    fn the_root_and_the_folders_that_it_calls_are_read() {
        let [root, called] = &read(PLAN)[..] else { panic!("{:?}", read(PLAN)) };
        assert_eq!((root.folder.as_str(), called.folder.as_str()), ("", "../.."));
        let all = &root.outputs["all"];
        assert_eq!((all.description.as_deref(), all.sensitive), (Some("All of (masked)"), true));
        let shown = |name: &str| {
            let value = &called.inputs[name];
            (value.default.as_deref(), value.required, value.sensitive)
        };
        assert_eq!(shown("none"), (Some("null"), false, false));
        assert_eq!(shown("digits"), (Some("12345678901234567890123"), false, false));
        assert_eq!(shown("secret"), (None, false, true));
        assert_eq!(shown("name"), (None, true, false));
        assert_eq!(called.inputs["name"].description.as_deref(), Some("(masked)"));
        assert_eq!(read("{}"), []);
        assert!(planned_modules(b"[]x", Tool::Terraform, &str::to_owned).is_err());
    }

    #[test]
    fn what_declares_too_much_is_not_kept() {
        let long = "x".repeat(LARGEST);
        let plan = PLAN.replace("\"default\": \"x\"", &format!("\"description\": \"{long}\""));
        assert_eq!(read(&plan).len(), 1);
    }
}
