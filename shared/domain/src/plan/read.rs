//! Reads `terraform show -json <plan>`: format 1.x, Terraform from 1.5 and OpenTofu.

use super::{
    Action, Change, CheckFailure, Delta, Drifted, Invocation, Limits, ResourceChange,
    json::Json,
    marks::{Marked, MarkedValues, PriorState},
    show::{Context, Key, SENSITIVE, clip, count, read_path},
    walk::{NULL, Node, TRUE, Walk, is_true, node_of, or_null},
    written::{Configured, Written},
};
use crate::{masking::Masker, stack::Tool, text::cut_middle};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::value::RawValue;
use std::{borrow::Cow, cell::RefCell, collections::BTreeMap};

/// Addresses and messages are cut beyond this, in characters.
const TEXT_CHARS: usize = 1_000;
/// Resources that changed outside of the tool and are named.
const NAMED_DRIFT: usize = 100;
/// Failing checks that are told, and messages of one of them.
const TOLD_CHECKS: usize = 1_000;
const TOLD_PROBLEMS: usize = 10;

/// Why a plan could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It is not the JSON of a plan.
    #[error("the plan's JSON cannot be read")]
    NotAPlan(#[source] serde_json::Error),
    /// It is in a format that came after this code.
    #[error("the plan is in format {0}, but only formats 1.x are supported")]
    Format(String),
}

#[derive(Deserialize)]
pub(super) struct RawPlan<'a> {
    format_version: String,
    terraform_version: Option<String>,
    pub(super) variables: Option<BTreeMap<String, Json>>,
    #[serde(borrow)]
    configuration: Option<Configuration<'a>>,
    // There may be thousands: each is taken apart for as long as it is looked at.
    #[serde(borrow)]
    pub(super) resource_changes: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    pub(super) resource_drift: Option<Vec<&'a RawValue>>,
    pub(super) prior_state: Option<PriorState>,
    pub(super) planned_values: Option<MarkedValues>,
    deferred_changes: Option<Vec<serde::de::IgnoredAny>>,
    deferred_action_invocations: Option<Vec<serde::de::IgnoredAny>>,
    pub(super) action_invocations: Option<Vec<RawInvocation>>,
    pub(super) output_changes: Option<BTreeMap<String, BTreeMap<String, Json>>>,
    checks: Option<Vec<Json>>,
    errored: Option<bool>,
    complete: Option<bool>,
}

#[derive(Deserialize)]
struct Configuration<'a> {
    #[serde(borrow)]
    root_module: Option<RootModule<'a>>,
}

/// As it stands in the plan, and what is declared in it.
struct RootModule<'a> {
    raw: &'a RawValue,
    declared: Declarations,
}

impl<'de: 'a, 'a> Deserialize<'de> for RootModule<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        let declared = serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
        Ok(Self { raw, declared })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Declarations {
    outputs: BTreeMap<String, Declared>,
    variables: BTreeMap<String, Declared>,
}

/// An output, or a variable.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Declared {
    sensitive: Json,
}

impl Declared {
    pub(super) fn is_marked(&self) -> bool {
        is_true(&self.sensitive)
    }
}

#[derive(Deserialize)]
pub(super) struct RawResource {
    #[serde(default)]
    address: String,
    deposed: Option<String>,
    previous_address: Option<String>,
    mode: Option<String>,
    #[serde(rename = "type", default)]
    pub(super) resource_type: String,
    provider_name: Option<String>,
    action_reason: Option<String>,
    #[serde(default)]
    pub(super) change: BTreeMap<String, Json>,
}

/// An action of a provider that would be invoked
/// (<https://github.com/hashicorp/terraform/blob/v1.15.5/internal/command/jsonplan/action_invocations.go>).
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawInvocation {
    address: String,
    config_values: Json,
    config_sensitive: Json,
    config_unknown: Json,
    lifecycle_action_trigger: Option<RawTrigger>,
    invoke_action_trigger: Option<RawCaller>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawTrigger {
    triggering_resource_address: Option<String>,
    action_trigger_event: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawCaller {
    calling_resource_address: Option<String>,
}

impl Change {
    /// Reads a plan of `tool` from the bytes that `show -json` printed. Every text is masked
    /// *before* anything is cut or taken apart, so that half a secret cannot slip through; what the
    /// plan marks as sensitive is masked as the secrets are that `masker` knows. And what it marks,
    /// for what else is shown of the run.
    ///
    /// # Errors
    /// When it is not the JSON of a plan, or in a format that is not known.
    pub fn from_plan(
        plan: &[u8],
        tool: Tool,
        limits: Limits,
        masker: &Masker,
    ) -> Result<(Self, Marked), PlanError> {
        let plan: RawPlan = serde_json::from_slice(plan).map_err(PlanError::NotAPlan)?;
        plan.read(tool, limits, masker)
    }

    /// The same of a plan that was made with `-refresh-only`, which the JSON does not tell: what was
    /// changed outside of the tool is its change.
    ///
    /// # Errors
    /// As above.
    pub fn from_refresh_only_plan(
        plan: &[u8],
        tool: Tool,
        limits: Limits,
        masker: &Masker,
    ) -> Result<(Self, Marked), PlanError> {
        let mut plan: RawPlan = serde_json::from_slice(plan).map_err(PlanError::NotAPlan)?;
        // Both tools plan nothing besides.
        let outside = plan.resource_drift.take().unwrap_or_default();
        plan.resource_changes.get_or_insert_default().extend(outside);
        let (change, marked) = plan.read(tool, limits, masker)?;
        Ok((Self { refresh_only: true, ..change }, marked))
    }
}

impl RawPlan<'_> {
    fn read(
        mut self,
        tool: Tool,
        limits: Limits,
        masker: &Masker,
    ) -> Result<(Change, Marked), PlanError> {
        if self.format_version.split('.').next() != Some("1") {
            return Err(PlanError::Format(clip(&self.format_version, 20).0));
        }
        let (sensitive, marked) = self.sensitive_texts()?;
        let masker = marked.known_to(masker);
        let mask = |text: &str| masker.mask(text);
        let text = |value: &str| cut_middle(&mask(value), TEXT_CHARS);
        let mut context = Context {
            limits,
            mask: &mask,
            sensitive,
            bytes_left: limits.total_bytes,
            unmarked: 0,
            beside_secrets: RefCell::default(),
        };
        let (drift, drifted) = drifted(self.resource_drift.as_deref().unwrap_or_default(), &text)?;
        let mut change = Change {
            v: Change::VERSION,
            tool,
            terraform_version: text(self.terraform_version.as_deref().unwrap_or_default()),
            errored: self.errored.unwrap_or(false),
            partial: self.complete == Some(false) && self.errored != Some(true),
            drift,
            drifted,
            deferred: count(
                self.deferred_changes.as_ref().map_or(0, Vec::len)
                    + self.deferred_action_invocations.as_ref().map_or(0, Vec::len),
            ),
            checks: failed_checks(self.checks.as_deref().unwrap_or_default(), &text),
            ..Change::default()
        };
        change.checks_cut = count(change.checks.len().saturating_sub(TOLD_CHECKS));
        change.checks.truncate(TOLD_CHECKS);
        // Outputs first: they are few, and a plan of thousands of resources must not push them out.
        for (name, raw) in self.output_changes.iter().flatten() {
            if matches!(action_of(raw), None | Some(Action::Read)) {
                continue;
            }
            change.delta.outputs += 1;
            if change.outputs.len() >= limits.resources {
                change.outputs_cut += 1;
                continue;
            }
            let mut walk = Walk {
                context: &mut context,
                blocks: None,
                replace_paths: Vec::new(),
                changes: Vec::new(),
                cut: 0,
            };
            let node = self.output_node(name, raw);
            walk.visit(&mut vec![Key::Name(name.clone())], node);
            if walk.changes.is_empty() && walk.cut == 0 {
                walk.stays(name, node);
            }
            change.outputs.append(&mut walk.changes);
            change.outputs_cut += walk.cut;
        }
        let mut all = Vec::new();
        for raw in self.resource_changes.iter().flatten() {
            let resource = RawResource::of(raw)?;
            if let Some(action) = resource.action() {
                resource.count(action, &mut change.delta);
                all.push((action, raw));
            }
        }
        // Where there are too many, what is destroyed is not what is left out.
        all.sort_by_key(|(action, _)| action.rank());
        change.resources_cut = count(all.len().saturating_sub(limits.resources));
        let configured = Configured::of(self.root_module().map(|root| root.raw));
        for (action, raw) in all.into_iter().take(limits.resources) {
            let resource = RawResource::of(raw)?;
            let written = configured.resource(&resource.address);
            change.resources.push(resource.read(action, written, &mut context, &text));
        }
        for raw in self.action_invocations.iter().flatten() {
            change.delta.invoke += 1;
            if change.invocations.len() >= limits.resources {
                change.invocations_cut += 1;
            } else {
                change.invocations.push(raw.read(&mut context, &text));
            }
        }
        let Context { unmarked, beside_secrets, .. } = context;
        change.unmarked = unmarked;
        change.hide_other_sides(beside_secrets.into_inner());
        Ok((change, marked))
    }
}

impl<'a> RawPlan<'a> {
    fn root_module(&self) -> Option<&RootModule<'a>> {
        self.configuration.as_ref()?.root_module.as_ref()
    }

    /// What the configuration says of a variable of the root.
    pub(super) fn variable(&self, name: &str) -> Option<&Declared> {
        self.root_module()?.declared.variables.get(name)
    }

    pub(super) fn output(&self, name: &str) -> Option<&Declared> {
        self.root_module()?.declared.outputs.get(name)
    }

    /// Both tools mark both sides of an output that was marked or will be, and their states before
    /// and after contradict that: the configuration alone tells whether the mark comes or goes. Before
    /// it destroys, OpenTofu marks neither side of one that is marked in the configuration.
    fn output_node<'b>(&self, name: &str, raw: &'b BTreeMap<String, Json>) -> Node<'b> {
        let mut node = node_of(raw);
        let Some(output) = self.output(name) else { return node };
        if output.is_marked() {
            (node.before_sensitive, node.after_sensitive) = (&TRUE, &TRUE);
        } else if is_true(node.before_sensitive) && is_true(node.after_sensitive) {
            node.after_sensitive = &NULL;
        }
        node
    }
}

impl RawResource {
    /// Takes one apart.
    pub(super) fn of(raw: &RawValue) -> Result<Self, PlanError> {
        let mut resource: Self = serde_json::from_str(raw.get()).map_err(PlanError::NotAPlan)?;
        resource.mark_copies();
        Ok(resource)
    }

    pub(super) fn import_id(&self) -> Option<&str> {
        self.change.get("importing")?.get("id")?.as_str()
    }

    fn import_identity(&self) -> Option<&Json> {
        self.change.get("importing")?.get("identity").filter(|identity| !identity.is_null())
    }

    fn is_imported(&self) -> bool {
        self.change.get("importing").is_some_and(|i| !i.is_null())
    }

    fn is_moved(&self) -> bool {
        self.previous_address.as_ref().is_some_and(|p| *p != self.address)
    }

    /// What would be done; nothing when there is nothing to show.
    fn action(&self) -> Option<Action> {
        let is_data = self.mode.as_deref() == Some("data");
        // What is opened for one operation changes nothing.
        if self.mode.as_deref() == Some("ephemeral") {
            return None;
        }
        match action_of(&self.change) {
            // Terraform does not speak of data sources that go.
            Some(Action::Delete) if is_data => None,
            None if self.is_imported() => Some(Action::Import),
            None if self.is_moved() => Some(Action::Move),
            action => action,
        }
    }

    /// Why, and what the tool calls it where nobody knows that.
    fn reason(&self, action: Action) -> Option<Cow<'_, str>> {
        let words = match action {
            Action::Other => actions(&self.change).join(", "),
            _ => String::new(),
        };
        match (self.action_reason.as_deref(), &*words) {
            (reason, "") => reason.map(Cow::Borrowed),
            (None, _) => Some(words.into()),
            (Some(reason), words) => Some(format!("{words}: {reason}").into()),
        }
    }

    fn count(&self, action: Action, delta: &mut Delta) {
        match action {
            Action::Create => delta.add += 1,
            // What is not known is never nothing.
            Action::Update | Action::Other => delta.change += 1,
            Action::Delete => delta.destroy += 1,
            Action::Replace { .. } => {
                delta.add += 1;
                delta.destroy += 1;
                delta.replace += 1;
            }
            Action::ReplaceAndForget => {
                delta.add += 1;
                delta.forget += 1;
                delta.replace += 1;
            }
            Action::Forget => delta.forget += 1,
            Action::Read | Action::Import | Action::Move => {}
        }
        delta.import += u32::from(self.is_imported());
        // What goes has no new address.
        delta.moved += u32::from(self.is_moved() && action != Action::Delete);
    }

    fn read(
        &self,
        action: Action,
        written: Written<'_>,
        context: &mut Context<'_>,
        text: &impl Fn(&str) -> String,
    ) -> ResourceChange {
        let import_id =
            self.is_imported().then(|| match (self.import_id(), self.import_identity()) {
                (Some(_), _) if self.import_id_is_sensitive() => SENSITIVE.to_owned(),
                (Some(id), _) => text(id),
                // Nothing of it is marked, but a text of it may be elsewhere.
                (None, Some(identity)) => text(&context.redact(identity, &NULL).to_string()),
                (None, None) => String::new(),
            });
        let replace_paths = self.change.get("replace_paths").and_then(Json::as_array);
        let mut walk = Walk {
            context,
            // Terraform's own has attributes alone: a list in it was written.
            blocks: Some(written).filter(|_| self.resource_type != "terraform_data"),
            replace_paths: replace_paths.into_iter().flatten().map(read_path).collect(),
            changes: Vec::new(),
            cut: 0,
        };
        if !matches!(action, Action::Forget | Action::Move) {
            walk.visit(&mut Vec::new(), node_of(&self.change));
        }
        ResourceChange {
            address: text(&self.address),
            deposed: self.deposed.as_deref().map(text),
            previous_address: self
                .previous_address
                .as_deref()
                .filter(|_| self.is_moved())
                .map(text),
            resource_type: text(&self.resource_type),
            provider: text(
                self.provider_name
                    .as_deref()
                    .and_then(|p| p.rsplit('/').next())
                    .unwrap_or_default(),
            ),
            action,
            import_id,
            reason: self.reason(action).as_deref().map(text),
            attributes: walk.changes,
            attributes_cut: walk.cut,
        }
    }
}

impl RawInvocation {
    pub(super) fn node(&self) -> Node<'_> {
        Node {
            before: &NULL,
            after: &self.config_values,
            unknown: &self.config_unknown,
            before_sensitive: &NULL,
            after_sensitive: &self.config_sensitive,
        }
    }

    fn read(&self, context: &mut Context<'_>, text: &impl Fn(&str) -> String) -> Invocation {
        let mut walk = Walk {
            context,
            blocks: Some(Written::default()),
            replace_paths: Vec::new(),
            changes: Vec::new(),
            cut: 0,
        };
        walk.visit(&mut Vec::new(), self.node());
        let trigger = self.lifecycle_action_trigger.as_ref();
        let caller = self.invoke_action_trigger.as_ref();
        let resource = trigger
            .and_then(|trigger| trigger.triggering_resource_address.as_deref())
            .or_else(|| caller.and_then(|caller| caller.calling_resource_address.as_deref()));
        let event = trigger.and_then(|trigger| trigger.action_trigger_event.as_deref());
        Invocation {
            address: text(&self.address),
            resource: resource.map(text),
            event: event.map(text),
            config: walk.changes,
            config_cut: walk.cut,
        }
    }
}

fn actions(change: &BTreeMap<String, Json>) -> Vec<&str> {
    let list = change.get("actions").and_then(Json::as_array);
    list.into_iter().flatten().filter_map(Json::as_str).collect()
}

fn action_of(change: &BTreeMap<String, Json>) -> Option<Action> {
    Some(match actions(change).as_slice() {
        // OpenTofu lists its ephemeral resources.
        [] | ["no-op" | "open" | "renew" | "close"] => return None,
        ["create"] => Action::Create,
        ["create", "forget"] | ["forget", "create"] => Action::ReplaceAndForget,
        ["update"] => Action::Update,
        ["delete"] => Action::Delete,
        ["delete", "create"] => Action::Replace { create_before_destroy: false },
        ["create", "delete"] => Action::Replace { create_before_destroy: true },
        ["read"] => Action::Read,
        // OpenTofu's word is `forget` as well; `remove` was in early releases.
        ["forget"] | ["remove"] => Action::Forget,
        _ => Action::Other,
    })
}

/// How many were changed outside of the tool, and the first of them.
fn drifted(
    raw: &[&RawValue],
    text: &impl Fn(&str) -> String,
) -> Result<(u32, Vec<Drifted>), PlanError> {
    let (mut all, mut named) = (0, Vec::new());
    for raw in raw {
        let resource = RawResource::of(raw)?;
        // With `-refresh-only` both tools list here what has only moved.
        if actions(&resource.change) == ["no-op"] {
            continue;
        }
        all += 1;
        if named.len() < NAMED_DRIFT {
            named.push(Drifted {
                address: text(&resource.address),
                deposed: resource.deposed.as_deref().map(text),
                gone: action_of(&resource.change) == Some(Action::Delete),
            });
        }
    }
    Ok((all, named))
}

/// What does not hold: each instance of a check, or the check where it has none.
fn failed_checks(checks: &[Json], text: &impl Fn(&str) -> String) -> Vec<CheckFailure> {
    let failed =
        |v: &&Json| matches!(v.get("status").and_then(Json::as_str), Some("fail" | "error"));
    let address = |of: &Json| {
        let address = or_null(of.get("address")).get("to_display").and_then(Json::as_str);
        address.map(str::to_owned)
    };
    let mut failures = Vec::new();
    for check in checks.iter().filter(failed) {
        let instances = check.get("instances").and_then(Json::as_array).into_iter().flatten();
        let mut told = instances.filter(failed).peekable();
        let name = address(check).unwrap_or_default();
        if told.peek().is_none() {
            failures.push(CheckFailure { address: text(&name), problems: Vec::new() });
        }
        for instance in told {
            let problems = instance.get("problems").and_then(Json::as_array).into_iter().flatten();
            let messages = problems.filter_map(|p| p.get("message").and_then(Json::as_str));
            failures.push(CheckFailure {
                address: text(address(instance).as_ref().unwrap_or(&name)),
                problems: messages.take(TOLD_PROBLEMS).map(text).collect(),
            });
        }
    }
    failures
}
