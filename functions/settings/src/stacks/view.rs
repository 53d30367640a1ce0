//! A stack as it is answered: its definition, which may be sent back as it is, and its status.

use super::form::Provider;
use crate::gitlab::detached;
use gantry_domain::{
    ProjectId, Repository, RunId, StackId, StackSlug,
    integration::Integration,
    stack::{
        Blocked, CommentLevel, Hooks, LastApplied, Module, OnPush, OnTag, Stack, StackHead, Tool,
        TrackedQueue, Variable, VariableRuns, VariableValue,
    },
};
use gantry_store::Stored;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// What a person defines. [`super::form`] reads the same fields.
#[derive(Serialize)]
struct Definition {
    name: String,
    slug: StackSlug,
    provider: Provider,
    /// A path at GitLab or an address. None while the stack is detached: sending this back does not attach it by accident.
    project: Option<String>,
    branch: String,
    project_root: String,
    project_globs: Vec<String>,
    var_files: Vec<String>,
    tool: Tool,
    tool_version: Option<String>,
    pool: Option<String>,
    plan_role: Option<String>,
    apply_role: Option<String>,
    autodeploy: bool,
    allow_forks: Vec<String>,
    on_push: OnPush,
    on_tag: Option<OnTag>,
    tracked_queue: TrackedQueue,
    comment: CommentLevel,
    manage_state: bool,
    labels: Vec<String>,
    variables: Vec<VariableView>,
    hooks: Hooks,
}

#[derive(Serialize)]
struct VariableView {
    name: String,
    /// None for secret ones: they are never shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    secret: bool,
    runs: VariableRuns,
}

/// A stack in an answer.
#[derive(Serialize)]
pub(crate) struct StackView {
    id: StackId,
    version: u64,
    #[serde(flatten)]
    definition: Map<String, Value>,
    #[serde(skip)]
    slug: StackSlug,
    /// None where the code is not at GitLab.
    project_id: Option<ProjectId>,
    project_path: String,
    created_at: Timestamp,
    status: Status,
}

#[derive(Serialize)]
struct Status {
    /// Why nothing runs, as far as the connection goes.
    detached: Option<String>,
    /// Why no tracked run starts until a person unblocks the stack.
    blocked: Option<Blocked>,
    branch_missing: bool,
    /// The tracked run that holds the stack.
    tracked_run: Option<RunId>,
    applying: bool,
    last_applied: Option<LastApplied>,
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
    let fields = match &stack.module {
        None => serde_json::to_value(stack_definition(stack, is_attached)),
        Some(module) => serde_json::to_value(module_definition(stack, module, is_attached)),
    };
    match fields {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// What a person defines of a module.
#[derive(Serialize)]
struct ModuleDefinition {
    name: String,
    slug: StackSlug,
    provider: Provider,
    terraform_provider: String,
    /// None while the module is detached.
    project: Option<String>,
    branch: String,
    project_root: String,
    var_files: Vec<String>,
    tag_prefix: String,
    tool: Tool,
    tool_version: Option<String>,
    pool: Option<String>,
    plan_role: Option<String>,
    allow_forks: Vec<String>,
    comment: CommentLevel,
    labels: Vec<String>,
    variables: Vec<VariableView>,
}

fn module_definition(stack: &Stack, module: &Module, is_attached: bool) -> ModuleDefinition {
    ModuleDefinition {
        name: stack.name.clone(),
        slug: stack.slug.clone(),
        provider: Provider::Gitlab,
        terraform_provider: module.terraform_provider.clone(),
        project: is_attached.then(|| stack.project_path.clone()),
        branch: stack.branch.clone(),
        project_root: stack.project_root.clone(),
        var_files: stack.var_files.clone(),
        tag_prefix: module.tag_prefix.clone(),
        tool: stack.tool,
        tool_version: stack.tool_version.clone(),
        pool: stack.pool.as_ref().map(ToString::to_string),
        plan_role: stack.roles.plan.clone(),
        allow_forks: stack.allow_forks.clone(),
        comment: stack.comment,
        labels: stack.labels.clone(),
        variables: stack.variables.iter().map(variable).collect(),
    }
}

fn stack_definition(stack: &Stack, is_attached: bool) -> Definition {
    Definition {
        name: stack.name.clone(),
        slug: stack.slug.clone(),
        provider: match stack.repository {
            Repository::Gitlab(_) => Provider::Gitlab,
            Repository::Git(_) => Provider::Git,
        },
        project: is_attached.then(|| stack.project_path.clone()),
        branch: stack.branch.clone(),
        project_root: stack.project_root.clone(),
        project_globs: stack.project_globs.clone(),
        var_files: stack.var_files.clone(),
        tool: stack.tool,
        tool_version: stack.tool_version.clone(),
        pool: stack.pool.as_ref().map(ToString::to_string),
        plan_role: stack.roles.plan.clone(),
        apply_role: stack.roles.apply.clone(),
        autodeploy: stack.autodeploy,
        allow_forks: stack.allow_forks.clone(),
        on_push: stack.on_push,
        on_tag: stack.on_tag.clone(),
        tracked_queue: stack.tracked_queue,
        comment: stack.comment,
        manage_state: stack.manage_state,
        labels: stack.labels.clone(),
        variables: stack.variables.iter().map(variable).collect(),
        hooks: stack.hooks.clone(),
    }
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
    integration: Option<&Integration>,
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
            last_applied: head.last_applied,
        },
    }
}
