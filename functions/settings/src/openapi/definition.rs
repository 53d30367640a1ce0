//! The definition of a stack or a module, as it is sent and answered: all of it comes from
//! [`Settings`] and what stands beside them.

#![expect(dead_code, reason = "they describe what is read field by field")]

use crate::stacks::Provider;
use gantry_domain::{
    StackSlug,
    stack::{Roles, Settings, VariableRuns},
};
use schemars::{JsonSchema, Schema, schema_for};
use serde_json::{Map, Value};

/// A stack's definition.
#[derive(JsonSchema)]
#[schemars(transform = of_new_stack)]
pub(crate) struct NewStack {
    #[schemars(flatten)]
    definition: Definition,
}

/// A stack's definition. Omitted fields stay as they are; null resets a field to its default. Other
/// fields of a response are ignored.
#[derive(JsonSchema)]
#[schemars(transform = of_stack_change)]
pub(crate) struct StackChange {
    #[schemars(flatten)]
    definition: Definition,
    /// The version that the change is based on; `If-Match` does the same.
    version: Option<u64>,
}

/// A module's definition. Name and provider are derived from a project named
/// `terraform-<provider>-<name>`.
#[derive(JsonSchema)]
#[schemars(transform = of_new_module)]
pub(crate) struct NewModule {
    #[schemars(flatten)]
    definition: Definition,
    #[schemars(flatten)]
    module: ModuleDefinition,
}

/// A module's definition. Omitted fields stay as they are; null resets a field to its default.
#[derive(JsonSchema)]
#[schemars(transform = of_module_change)]
pub(crate) struct ModuleChange {
    #[schemars(flatten)]
    definition: Definition,
    #[schemars(flatten)]
    module: ModuleDefinition,
    /// The version that the change is based on; `If-Match` does the same.
    version: Option<u64>,
}

/// What both have.
#[derive(JsonSchema)]
struct Definition {
    #[schemars(flatten)]
    settings: Settings,
    /// Unique, and reserved forever. Derived from the name if omitted. Cannot be changed.
    slug: Option<StackSlug>,
    /// `gitlab` if omitted.
    provider: Option<Provider>,
    /// A project's path (`group/project`) or ID; with provider `git`, the https URL of a public
    /// repository.
    #[schemars(extend("type" = ["string", "integer", "null"]))]
    project: Option<String>,
    /// The tracked branch; the project's default branch if omitted.
    branch: Option<String>,
    /// Environment variables of runs.
    variables: Option<Vec<Variable>>,
}

/// A variable as it is sent.
#[derive(JsonSchema)]
#[schemars(inline)]
struct Variable {
    /// The environment variable; `TF_VAR_name` sets the input variable `name`.
    name: String,
    /// Write-only for secrets. Omit it to keep the current value of a secret. A secret with fewer
    /// than 6 characters cannot be masked; the findings in the response say so.
    value: Option<String>,
    /// It is encrypted and never shown again.
    secret: Option<bool>,
    /// Which runs get it; required for secrets.
    runs: Option<VariableRuns>,
}

#[derive(JsonSchema)]
#[schemars(inline)]
struct ModuleDefinition {
    /// The main provider, such as `aws`.
    terraform_provider: Option<String>,
    /// What tags begin with before the version, for a project with several modules.
    tag_prefix: Option<String>,
}

fn of_new_stack(schema: &mut Schema) {
    of_stack_change(schema);
    schema.insert("required".to_owned(), vec!["name", "project"].into());
}

fn of_new_module(schema: &mut Schema) {
    of_module_change(schema);
    schema.insert("required".to_owned(), vec!["project"].into());
}

/// What is left out of a request stays as it is, or takes what is usual.
fn of_stack_change(schema: &mut Schema) {
    of_stack(schema);
    schema.remove("required");
}

fn of_module_change(schema: &mut Schema) {
    of_module(schema);
    schema.remove("required");
}

/// Gives the cloud roles the names that they have here. A definition says itself what counts where
/// nothing is said.
pub(crate) fn of_stack(schema: &mut Schema) {
    let mut roles = fields(&schema_for!(Roles));
    let said = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let is_kept =
        |name: &Value| !matches!(name.as_str(), Some("roles" | "plan_role" | "apply_role"));
    let mut required: Vec<Value> = said.into_iter().filter(is_kept).collect();
    let has_all = required.iter().any(|name| name == "tool");
    let mut properties = fields(schema);
    properties.remove("roles");
    for name in ["plan", "apply"] {
        let here = format!("{name}_role");
        required.extend(has_all.then(|| here.clone().into()));
        properties.insert(here, roles.remove(name).unwrap_or_default());
    }
    for property in properties.values_mut().filter_map(Value::as_object_mut) {
        property.remove("default");
    }
    schema.insert("properties".to_owned(), properties.into());
    schema.insert("required".to_owned(), required.into());
}

/// The same of a module, without what only stacks have.
pub(crate) fn of_module(schema: &mut Schema) {
    of_stack(schema);
    let is_of_modules = |name: &str| !Settings::OF_STACKS_ALONE.contains(&name);
    let mut properties = fields(schema);
    properties.retain(|name, _| is_of_modules(name));
    // Its runs wait for nobody.
    let limits = properties.get_mut("timeouts").and_then(Value::as_object_mut);
    for part in limits.into_iter().flat_map(Map::values_mut) {
        match part {
            Value::Object(fields) => drop(fields.remove("unconfirmed")),
            Value::Array(needed) => needed.retain(|name| name != "unconfirmed"),
            _ => {}
        }
    }
    schema.insert("properties".to_owned(), properties.into());
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| name.as_str().is_some_and(is_of_modules));
    }
}

/// A module in an answer has what makes it one besides.
pub(crate) fn of_answered_module(schema: &mut Schema) {
    of_module(schema);
    let mut properties = fields(schema);
    for (name, mut property) in fields(&schema_for!(ModuleDefinition)) {
        property["type"] = "string".into();
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.push(name.clone().into());
        }
        properties.insert(name, property);
    }
    schema.insert("properties".to_owned(), properties.into());
}

fn fields(schema: &Schema) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}
