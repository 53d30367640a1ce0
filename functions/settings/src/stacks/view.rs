//! A stack as it is answered: its definition, which may be sent back as it is, and its status.

use super::{
    form::{self, Kind, Provider},
    times::ScheduleStatus,
};
use crate::{gitlab::detached, openapi};
use gantry_domain::{
    ProjectId, Repository, RunId, StackId, StackSlug,
    drift::Drift,
    integration::Integration,
    stack::{
        Blocked, LastApplied, Settings, Stack, StackHead, Variable, VariableRuns, VariableValue,
    },
    timer::StackTimer,
};
use gantry_store::Stored;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// What a person defines. [`super::form`] reads the same fields.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Definition<'a> {
    #[serde(flatten)]
    settings: &'a Settings,
    /// Unique, and reserved forever.
    #[schemars(with = "StackSlug")]
    slug: &'a str,
    provider: Provider,
    /// The project's path, or the URL of a repository that is not in GitLab. Null while the stack
    /// is detached, so that sending this back does not attach it by accident.
    project: Option<&'a str>,
    /// The tracked branch.
    branch: &'a str,
    /// Environment variables of runs.
    variables: Vec<VariableView>,
    #[serde(flatten)]
    #[schemars(skip)]
    module: Option<ModuleDefinition<'a>>,
}

/// What a person defines of a module besides.
#[derive(Serialize)]
struct ModuleDefinition<'a> {
    terraform_provider: &'a str,
    tag_prefix: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct VariableView {
    /// The environment variable.
    name: String,
    /// Absent for secrets, which are never shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// It is encrypted.
    secret: bool,
    /// Which runs get it.
    runs: VariableRuns,
}

/// A stack: its definition, and its status.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Stack", transform = openapi::of_stack)]
pub(crate) struct StackView {
    id: StackId,
    /// Increases with each change. Send it back to change what you read.
    version: u64,
    #[serde(flatten)]
    #[schemars(with = "Definition<'static>")]
    definition: Map<String, Value>,
    #[serde(skip)]
    slug: StackSlug,
    /// Null if the code is not in GitLab.
    project_id: Option<ProjectId>,
    project_path: String,
    created_at: Timestamp,
    status: Status,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Status {
    /// Why nothing runs, if that is because of the connection to GitLab.
    detached: Option<String>,
    /// Why no deploy starts until somebody unblocks the stack.
    blocked: Option<Blocked>,
    /// The tracked branch does not exist. Nothing runs until it is pushed.
    branch_missing: bool,
    /// The deploy that is in progress.
    tracked_run: Option<RunId>,
    /// That deploy is applying.
    applying: bool,
    /// The last deploy that succeeded or failed, if it failed.
    failed: Option<RunId>,
    last_applied: Option<LastApplied>,
    /// The deploy that destroyed everything that the stack held, if nothing was applied since.
    destroyed: Option<LastApplied>,
    /// What was changed outside of the tool; null if nobody has looked.
    drift: Option<Drift>,
    /// When it is looked at for drift next; null if it is not by itself.
    drift_next_at: Option<Timestamp>,
    /// Its schedules, by name.
    schedules: Vec<ScheduleStatus>,
}

impl StackView {
    /// The stack's slug.
    pub(crate) fn slug(&self) -> &StackSlug {
        &self.slug
    }
}

/// False when the project that the stack names is not one of the server that was linked last.
pub(crate) fn is_there(stack: &Stack, integration: Option<&Integration>) -> bool {
    stack.project().is_none()
        || integration.is_none_or(|known| known.generation == stack.generation)
}

/// The definition alone, as it may be sent back.
pub(crate) fn definition(stack: &Stack, is_attached: bool) -> Map<String, Value> {
    let definition = Definition {
        settings: &stack.settings,
        slug: stack.slug.as_str(),
        provider: match stack.repository {
            Repository::Gitlab(_) => Provider::Gitlab,
            Repository::Git(_) => Provider::Git,
        },
        project: is_attached.then_some(&stack.project_path),
        branch: &stack.branch,
        variables: stack.variables.iter().map(variable).collect(),
        module: stack.module.as_ref().map(|module| ModuleDefinition {
            terraform_provider: &module.terraform_provider,
            tag_prefix: &module.tag_prefix,
        }),
    };
    fields(&definition)
}

/// What a form has before anybody has typed: what counts where nothing is said.
pub(crate) fn blank(kind: Kind) -> Map<String, Value> {
    let (usual, _) = form::read(kind, Map::new());
    let module = ModuleDefinition { terraform_provider: "", tag_prefix: "" };
    let mut fields = fields(&Definition {
        settings: &usual.settings,
        slug: "",
        provider: Provider::default(),
        project: None,
        branch: "",
        variables: Vec::new(),
        module: (kind == Kind::Module).then_some(module),
    });
    // By the project's visibility.
    fields.insert("comment".to_owned(), Value::Null);
    fields
}

fn fields(definition: &Definition<'_>) -> Map<String, Value> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(definition) else {
        return Map::new();
    };
    fields.remove("roles");
    let roles = &definition.settings.roles;
    fields.insert("plan_role".to_owned(), roles.plan.clone().into());
    fields.insert("apply_role".to_owned(), roles.apply.clone().into());
    if definition.module.is_some() {
        // Its runs wait for nobody.
        if let Some(limits) = fields.get_mut("timeouts").and_then(Value::as_object_mut) {
            limits.remove("unconfirmed");
        }
        fields.retain(|name, _| !Settings::OF_STACKS_ALONE.contains(&name.as_str()));
    }
    fields
}

fn variable(variable: &Variable) -> VariableView {
    let value = match &variable.value {
        VariableValue::Plain(value) => Some(value.clone()),
        VariableValue::Sealed(_) => None,
    };
    VariableView {
        name: variable.name.clone(),
        secret: value.is_none(),
        value,
        runs: variable.runs,
    }
}

/// The stack with its status.
pub(crate) fn of(
    stack: Stored<Stack>,
    head: StackHead,
    branch_missing: bool,
    failed: Option<RunId>,
    integration: Option<&Integration>,
    timer: Option<&StackTimer>,
) -> StackView {
    let Stored { version, value: stack, .. } = stack;
    let detached = detached(&stack, integration);
    let is_attached = is_there(&stack, integration);
    StackView {
        definition: definition(&stack, is_attached),
        slug: stack.slug.clone(),
        version,
        project_id: stack.project(),
        id: stack.id,
        project_path: stack.project_path,
        created_at: stack.created_at,
        status: Status {
            detached,
            blocked: head.blocked,
            branch_missing,
            tracked_run: head.tracked,
            applying: head.applying,
            failed,
            last_applied: head.last_applied,
            destroyed: head.destroyed,
            drift: head.drift,
            drift_next_at: timer
                .and_then(|timer| timer.drift.as_ref())
                .and_then(|timed| timed.next_at),
            schedules: timer.map(ScheduleStatus::all).unwrap_or_default(),
        },
    }
}
