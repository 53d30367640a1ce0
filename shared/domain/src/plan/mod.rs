//! What a plan would change, read from Terraform's plan JSON.
//!
//! [`Change`] is small enough to keep as one JSON object and complete enough to draw notes and
//! pages from. It never holds a value that the plan marks as sensitive.

mod align;
mod compare;
mod delta;
mod fit;
mod hide;
pub(crate) mod json;
mod left;
mod marks;
mod modules;
mod read;
mod show;
mod state_marks;
mod walk;
mod written;

pub use compare::{ComparedAttribute, ComparedResource, Comparison};
pub use delta::Delta;
pub(crate) use delta::is_zero;
pub use fit::LARGEST_CHANGE;
pub use left::left_by_destroy;
pub use marks::Marked;
pub use modules::{PlannedModule, PlannedValue, planned_modules};
pub use read::PlanError;
pub(crate) use written::without_keys;

use crate::{
    stack::Tool,
    text::{grouped, more},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// How much of a plan is kept. What is beyond is counted, never silently dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Resources and outputs that are listed at all.
    pub resources: usize,
    /// Attributes of one resource.
    pub attributes: usize,
    /// Characters of one value, and of one line of a value with several.
    pub value_chars: usize,
    /// Lines kept of one value's line-by-line difference.
    pub lines: usize,
    /// Bytes of all attributes together. Beyond it resources keep their address and action.
    pub total_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            resources: 10_000,
            attributes: 200,
            value_chars: 400,
            lines: 200,
            total_bytes: 1_000_000,
        }
    }
}

/// Values that are not hidden any more and are told of.
const TOLD_UNMARKED: usize = 20;

/// What a plan found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Change {
    /// The version of this record.
    pub v: u32,
    /// The program that planned.
    pub tool: Tool,
    /// The program's version, as it says itself.
    pub terraform_version: String,
    /// The counts over everything, also over what is not listed.
    pub delta: Delta,
    /// The plan is incomplete because an error ended it.
    pub errored: bool,
    /// The plan does not cover the whole configuration: arguments leave something out.
    pub partial: bool,
    /// The plan only refreshes: its changes were made outside of the tool, and an apply takes them
    /// into the state.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub refresh_only: bool,
    /// What people should know before they confirm it, masked, one line each.
    pub remarks: Vec<String>,
    /// What would happen to resources: what is destroyed first, and else in the tool's order.
    pub resources: Vec<ResourceChange>,
    /// Resources beyond the limit.
    pub resources_cut: u32,
    /// Actions of providers that would be invoked, in the tool's order.
    pub invocations: Vec<Invocation>,
    /// Invocations beyond the limit.
    pub invocations_cut: u32,
    /// Outputs that would change, by name.
    pub outputs: Vec<AttributeChange>,
    /// Outputs' attributes beyond the limit.
    pub outputs_cut: u32,
    /// Values that are no longer marked as sensitive, including those that are not listed.
    #[serde(skip_serializing_if = "delta::is_zero")]
    pub unmarked: u32,
    /// Resources that were changed outside of the tool.
    pub drift: u32,
    /// The first of them.
    pub drifted: Vec<Drifted>,
    /// Of a look for drift: what differs and may, the first of it by address. It is not counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerated: Vec<String>,
    /// Those beyond the limit.
    #[serde(skip_serializing_if = "delta::is_zero")]
    pub tolerated_cut: u32,
    /// Resources put off to a later plan.
    pub deferred: u32,
    /// Checks and conditions that fail.
    pub checks: Vec<CheckFailure>,
    /// Those beyond the limit.
    #[serde(skip_serializing_if = "delta::is_zero")]
    pub checks_cut: u32,
    /// What the tool warned of while it planned, masked: each summary once, in its order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_warnings: Vec<Warning>,
    /// Warnings with further summaries.
    #[serde(skip_serializing_if = "delta::is_zero")]
    pub tool_warnings_cut: u32,
    /// Of a module's test: the module as the tool read it, and others that the test calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<PlannedModule>,
}

/// What would happen to one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceChange {
    /// The address (`module.net.aws_subnet.a["x"]`).
    pub address: String,
    /// The key of a deposed object: one that was replaced, and could not be destroyed. It goes
    /// beside the address's own object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposed: Option<String>,
    /// The address before a move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_address: Option<String>,
    /// The resource type (`aws_subnet`).
    #[serde(rename = "type")]
    pub resource_type: String,
    /// The provider's short name (`aws`).
    pub provider: String,
    /// What would be done.
    pub action: Action,
    /// The id, or the identity as JSON, under which it is imported, or an empty text when that is not
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import_id: Option<String>,
    /// The tool's reason for the action (`replace_because_tainted`), and its words for an action that
    /// is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What changes in it.
    #[serde(default)]
    pub attributes: Vec<AttributeChange>,
    /// Changed attributes beyond the limits.
    #[serde(default)]
    pub attributes_cut: u32,
}

/// What would be done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ResourceAction")]
pub enum Action {
    /// Created.
    Create,
    /// Changed in place.
    Update,
    /// Destroyed.
    Delete,
    /// Destroyed and recreated.
    Replace {
        /// The new one is created first.
        create_before_destroy: bool,
    },
    /// Recreated, while the old one is dropped from the state and not destroyed.
    ReplaceAndForget,
    /// A data source that can only be read while applying.
    Read,
    /// Imported into the state and otherwise unchanged.
    Import,
    /// Moved to another address and otherwise unchanged.
    Move,
    /// Dropped from the state and not destroyed.
    Forget,
    /// Something that this version of Gantry does not know.
    Other,
}

impl Action {
    /// What would be done, in words: `will be created`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Create => "will be created",
            Self::Update => "will be updated in place",
            Self::Delete => "will be destroyed",
            Self::Replace { create_before_destroy: false } => {
                "must be replaced: destroyed, then created"
            }
            Self::Replace { create_before_destroy: true } => {
                "must be replaced: created, then the old one destroyed"
            }
            Self::ReplaceAndForget => {
                "will be replaced, leaving the old object in place and unmanaged"
            }
            Self::Read => "will be read during apply",
            Self::Import => "will be imported",
            Self::Move => "will be moved",
            Self::Forget => "will be forgotten, but not destroyed",
            Self::Other => "will be changed in a way unknown to Gantry",
        }
    }

    /// What somebody has done, in words, where a plan that only refreshes finds it: `was changed
    /// outside`.
    pub fn found(self) -> Option<&'static str> {
        match self {
            Self::Update => Some("was changed outside"),
            Self::Delete => Some("was deleted outside"),
            _ => None,
        }
    }

    /// Where it belongs in a list: what is destroyed comes first, then what is dropped or not
    /// known, then what is made or changed, and what is only read last.
    pub fn rank(self) -> u8 {
        match self {
            Self::Delete | Self::Replace { .. } => 0,
            Self::ReplaceAndForget | Self::Forget | Self::Other => 1,
            Self::Create | Self::Update | Self::Import | Self::Move => 2,
            Self::Read => 3,
        }
    }
}

impl ResourceChange {
    /// What it is called: the address, and which of its objects where it is not its own.
    pub fn title(&self) -> Cow<'_, str> {
        title(&self.address, self.deposed.as_deref())
    }

    /// Why it is done, where the tool says so. A reason that is not known is shown as it is.
    pub fn reason_text(&self) -> Option<&str> {
        Some(match self.reason.as_deref()? {
            "replace_because_tainted" => "it is tainted",
            "replace_because_cannot_update" => "it cannot be updated in place",
            "replace_by_request" => "its replacement was requested",
            "replace_by_triggers" => "something in its replace_triggered_by changed",
            "delete_because_no_resource_config" => "it is not in the configuration",
            "delete_because_no_module" => "its module is not in the configuration",
            "delete_because_wrong_repetition" => "it switched between count and for_each",
            "delete_because_count_index" => "its index is out of range for count",
            "delete_because_each_key" => "its key is not in for_each",
            "delete_because_no_move_target" => "it was moved to an address that does not exist",
            "delete_because_enabled_false" => "enabled is false",
            "forgot_because_lifecycle_destroy_in_config" => "its configuration has destroy = false",
            "forgot_because_lifecycle_destroy_in_state" => "the state has destroy = false",
            "read_because_config_unknown" => "its configuration is not known until apply",
            "read_because_dependency_pending" => "it depends on pending changes",
            "read_because_check_nested" => "it belongs to a check",
            other => other,
        })
    }
}

/// The module that an address is in, such as `module.net["a.b"].module.dns`; empty for the root
/// module.
pub fn module_of(address: &str) -> &str {
    let mut end = 0;
    let mut rest = address;
    while let Some(after) = rest.strip_prefix("module.") {
        let (mut is_quoted, mut is_escaped) = (false, false);
        let dot = after.find(|c: char| {
            let is_dot = c == '.' && !is_quoted;
            is_quoted ^= c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_dot
        });
        let Some(dot) = dot else { break };
        end = address.len() - after.len() + dot;
        rest = &after[dot + 1..];
    }
    &address[..end]
}

fn title<'a>(address: &'a str, deposed: Option<&str>) -> Cow<'a, str> {
    match deposed {
        Some(key) => format!("{address} (deposed object {key})").into(),
        None => address.into(),
    }
}

/// An action of a provider that would be invoked (Terraform from 1.14).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Invocation {
    /// The action's address (`action.aws_lambda_invoke.warm`).
    pub address: String,
    /// The resource whose change invokes it; none where it is invoked by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// When it is invoked, in the tool's word (`AfterUpdate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Its configuration.
    #[serde(default)]
    pub config: Vec<AttributeChange>,
    /// Attributes of its configuration beyond the limits.
    #[serde(default)]
    pub config_cut: u32,
}

impl Invocation {
    /// When it is invoked, in words: `after terraform_data.y is updated`.
    pub fn trigger(&self) -> Option<String> {
        let resource = self.resource.as_deref()?;
        let event = self.event.as_deref().unwrap_or_default();
        let (when, rest) = match (event.strip_prefix("Before"), event.strip_prefix("After")) {
            (Some(rest), _) => ("before", rest),
            (_, Some(rest)) => ("after", rest),
            _ => ("", ""),
        };
        let what = match rest {
            "Create" => "is created",
            "Update" => "is updated",
            "Destroy" => "is destroyed",
            _ => return Some(format!("by {resource} ({event})")),
        };
        Some(format!("{when} {resource} {what}"))
    }
}

/// A resource that was changed outside of the tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drifted {
    /// The address.
    pub address: String,
    /// The key of a deposed object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposed: Option<String>,
    /// It is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

impl Drifted {
    /// What it is called, and what became of it.
    pub fn text(&self) -> String {
        let gone = if self.gone { " (deleted)" } else { "" };
        format!("{}{gone}", title(&self.address, self.deposed.as_deref()))
    }
}

/// What would happen to one attribute, or one output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttributeChange {
    /// Where it is: `rule[0].cidr`, `tags["a"]`, an output's name.
    pub path: String,
    /// What it is now.
    pub before: Value,
    /// What it will be.
    pub after: Value,
    /// This change is why the resource is replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forces_replacement: bool,
    /// Its mark as sensitive comes or goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<MarkChange>,
    /// The difference line by line, where a value has several lines or holds JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
}

/// What becomes of a value's mark as sensitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MarkChange {
    /// The value is marked from now on.
    Added,
    /// The value is not marked any more: it will be shown.
    Removed,
    /// The same, and the value stays as it is.
    RemovedAlone,
    /// The value is marked from now on, and stays as it is.
    AddedAlone,
    /// The value of an output stays as it is, and is marked from now on or has another type: the
    /// tools' JSON does not tell which.
    AddedOrType,
    /// The value of an output stays as it is, and has another type.
    TypeAlone,
}

impl MarkChange {
    /// What was hidden is not hidden any more.
    pub fn is_removed(self) -> bool {
        matches!(self, Self::Removed | Self::RemovedAlone)
    }

    /// What it means, in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Added => "now marked as sensitive",
            Self::AddedAlone => "now marked as sensitive; the value is unchanged",
            Self::AddedOrType => {
                "now marked as sensitive, or its type changes; the value is unchanged"
            }
            Self::TypeAlone => "the type changes; the value is unchanged",
            Self::Removed => "no longer sensitive",
            Self::RemovedAlone => "no longer sensitive; the value is unchanged",
        }
    }
}

/// A value as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AttributeValue")]
pub enum Value {
    /// Nothing, or null.
    Absent,
    /// The value as the tool writes it, texts in quotes.
    Known(String),
    /// Marked as sensitive in the plan.
    Sensitive,
    /// Known only after the apply.
    Unknown,
    /// The start of a value that is too long, and how many characters were left out.
    Truncated(String, u32),
    /// What stands around the difference to the other side: how many characters were left out
    /// before, which are the same on both, and how many after.
    Part(u32, String, u32),
    /// A value of that many lines, which are in `lines` of the change.
    Lines(u32),
}

/// One line of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "DifferenceLine")]
pub enum Line {
    /// On both sides.
    Same(String),
    /// Only before.
    Removed(String),
    /// Only after.
    Added(String),
    /// That many unchanged lines are left out.
    Skipped(u32),
    /// That many lines are left out because the difference is too long.
    Cut(u32),
}

/// A check, precondition or postcondition that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckFailure {
    /// What was checked (`check.health`).
    pub address: String,
    /// The messages, at most ten.
    pub problems: Vec<String>,
}

/// How the tools say that a check fails.
pub const FAILED_CHECK: &str = "Check block assertion failed";

/// What the tool warns of, once, however often it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// What it says first (`Argument is deprecated`).
    pub summary: String,
    /// Where it says so the first time: `with terraform_data.a, on main.tf line 3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// How often it does.
    pub count: u32,
}

impl Warning {
    /// In one line: `Argument is deprecated (3×), with terraform_data.a, on main.tf line 3`.
    pub fn text(&self) -> String {
        let Self { summary, place, count } = self;
        let times =
            if *count > 1 { format!(" ({}×)", grouped(*count as usize)) } else { String::new() };
        let place = place.as_ref().map(|place| format!(", {place}")).unwrap_or_default();
        let summary = match times.is_empty() && place.is_empty() {
            true => summary.as_str(),
            // The sentence goes on.
            false => summary.strip_suffix('.').unwrap_or(summary),
        };
        format!("{summary}{times}{place}")
    }

    /// It is about a check that fails.
    pub fn is_failed_check(&self) -> bool {
        self.summary.starts_with(FAILED_CHECK)
    }
}

/// How often the tool gave these warnings.
pub fn warned(warnings: &[Warning]) -> u32 {
    warnings.iter().map(|warning| warning.count).fold(0, u32::saturating_add)
}

/// How many checks failed by these warnings.
pub fn failed_checks(warnings: &[Warning]) -> u32 {
    let failed = warnings.iter().filter(|warning| warning.is_failed_check());
    failed.map(|warning| warning.count).fold(0, u32::saturating_add)
}

impl Change {
    /// The version that this code writes.
    pub const VERSION: u32 = 1;

    /// How many checks and conditions failed, also of those that are not listed.
    pub fn failed_checks(&self) -> u32 {
        u32::try_from(self.checks.len()).unwrap_or(u32::MAX).saturating_add(self.checks_cut)
    }

    /// How often the tool warned while it planned.
    pub fn tool_warned(&self) -> u32 {
        warned(&self.tool_warnings).saturating_add(self.tool_warnings_cut)
    }

    /// What happens to one of its resources, in words: what would be done to it (`will be created`),
    /// or what somebody has done, where the plan only refreshes.
    pub fn what_happens(&self, action: Action) -> Cow<'static, str> {
        match action.found().filter(|_| self.refresh_only) {
            Some(found) => format!("{found} of {}", self.tool.name()).into(),
            None => action.text().into(),
        }
    }

    /// What people should know before they confirm it, one line each: the remarks, and what will not
    /// be hidden any more.
    pub fn warnings(&self) -> Vec<String> {
        let is_unmarked =
            |attribute: &&AttributeChange| attribute.mark.is_some_and(MarkChange::is_removed);
        let outputs = self.outputs.iter().filter(is_unmarked);
        let outputs = outputs.map(|output| format!("output {}", output.path));
        let attributes = self.resources.iter().flat_map(|resource| {
            let unmarked = resource.attributes.iter().filter(is_unmarked);
            unmarked.map(|attribute| format!("{}: {}", resource.title(), attribute.path))
        });
        let shown = outputs.chain(attributes).take(TOLD_UNMARKED);
        let shown = shown.map(|what| {
            format!("{what} is no longer sensitive and will be visible after the apply")
        });
        let mut warnings: Vec<String> = self.remarks.iter().cloned().chain(shown).collect();
        let told = warnings.len() - self.remarks.len();
        let rest = (self.unmarked as usize).saturating_sub(told);
        if rest > 0 {
            warnings.push(format!("{} no longer sensitive; see the run", more(rest, "value")));
        }
        warnings
    }
}

impl AttributeChange {
    /// About how many bytes this takes when it is kept.
    fn size(&self) -> usize {
        let value = |v: &Value| match v {
            Value::Known(text) | Value::Truncated(text, _) | Value::Part(_, text, _) => {
                text.len() + 16
            }
            _ => 16,
        };
        let line = |l: &Line| match l {
            Line::Same(text) | Line::Removed(text) | Line::Added(text) => text.len() + 16,
            _ => 16,
        };
        48 + self.path.len()
            + value(&self.before)
            + value(&self.after)
            + self.lines.iter().map(line).sum::<usize>()
    }
}

#[cfg(test)]
impl ResourceChange {
    pub(crate) fn of(action: Action, address: &str) -> Self {
        Self {
            address: address.to_owned(),
            deposed: None,
            previous_address: None,
            resource_type: "terraform_data".to_owned(),
            provider: "terraform".to_owned(),
            action,
            import_id: None,
            reason: None,
            attributes: Vec::new(),
            attributes_cut: 0,
        }
    }
}

#[cfg(test)]
mod tests;
