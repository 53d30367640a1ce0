//! Reads `terraform show -json <plan>`: format 1.x, Terraform from 1.5 and OpenTofu.

use super::{
    Action, Change, CheckFailure, Delta, Limits, ResourceChange,
    marks::{Marked, MarkedValues, PriorState},
    show::{Context, Key, SENSITIVE, clip, count, read_path},
    walk::{Walk, node_of},
};
use crate::masking::Masker;
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Addresses and messages are cut beyond this, in characters.
const TEXT_CHARS: usize = 1_000;

/// Why a plan could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It is not the JSON of a plan.
    #[error("this is not the JSON of a plan")]
    NotAPlan(#[source] serde_json::Error),
    /// It is in a format that came after this code.
    #[error("the plan is in format {0}; formats 1.x can be read")]
    Format(String),
}

#[derive(Deserialize)]
pub(super) struct RawPlan {
    format_version: String,
    terraform_version: Option<String>,
    pub(super) variables: Option<BTreeMap<String, Json>>,
    pub(super) configuration: Option<Json>,
    pub(super) resource_changes: Option<Vec<RawResource>>,
    pub(super) resource_drift: Option<Vec<RawResource>>,
    pub(super) prior_state: Option<PriorState>,
    pub(super) planned_values: Option<MarkedValues>,
    deferred_changes: Option<Vec<serde::de::IgnoredAny>>,
    pub(super) output_changes: Option<BTreeMap<String, BTreeMap<String, Json>>>,
    checks: Option<Vec<Json>>,
    errored: Option<bool>,
    complete: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct RawResource {
    #[serde(default)]
    address: String,
    previous_address: Option<String>,
    mode: Option<String>,
    #[serde(rename = "type", default)]
    pub(super) resource_type: String,
    provider_name: Option<String>,
    action_reason: Option<String>,
    #[serde(default)]
    pub(super) change: BTreeMap<String, Json>,
}

impl Change {
    /// Reads a plan from parsed JSON. Every text is masked *before* anything is cut or taken apart,
    /// so that half a secret cannot slip through; what the plan marks as sensitive is masked as
    /// the secrets are that `masker` knows.
    pub fn from_plan_json(plan: &Json, limits: Limits, masker: &Masker) -> Result<Self, PlanError> {
        let plan = RawPlan::deserialize(plan).map_err(PlanError::NotAPlan)?;
        plan.read(limits, masker).map(|(change, _)| change)
    }

    /// Reads a plan from the bytes that Terraform printed; see [`Self::from_plan_json`]. And what it
    /// marks, for what else is shown of the run.
    pub fn from_plan_bytes(
        plan: &[u8],
        limits: Limits,
        masker: &Masker,
    ) -> Result<(Self, Marked), PlanError> {
        serde_json::from_slice::<RawPlan>(plan).map_err(PlanError::NotAPlan)?.read(limits, masker)
    }
}

impl RawPlan {
    fn read(mut self, limits: Limits, masker: &Masker) -> Result<(Change, Marked), PlanError> {
        if self.format_version.split('.').next() != Some("1") {
            return Err(PlanError::Format(clip(&self.format_version, 20).0));
        }
        self.mark_copies();
        let (sensitive, marked) = self.sensitive_texts();
        let masker = marked.known_to(masker);
        let mask = |text: &str| masker.mask(text);
        let text = |value: &str| match clip(&mask(value), TEXT_CHARS) {
            (text, 0) => text,
            (text, _) => text + "…",
        };
        let mut context =
            Context { limits, mask: &mask, sensitive, bytes_left: limits.total_bytes };
        let mut change = Change {
            v: Change::VERSION,
            terraform_version: text(self.terraform_version.as_deref().unwrap_or_default()),
            errored: self.errored.unwrap_or(false),
            partial: self.complete == Some(false) && self.errored != Some(true),
            drift: count(self.resource_drift.map_or(0, |d| d.len())),
            deferred: count(self.deferred_changes.map_or(0, |d| d.len())),
            checks: self.checks.iter().flatten().filter_map(|c| failed_check(c, &text)).collect(),
            ..Change::default()
        };
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
                replace_paths: Vec::new(),
                changes: Vec::new(),
                cut: 0,
            };
            walk.visit(&mut vec![Key::Name(name.clone())], node_of(raw));
            change.outputs.append(&mut walk.changes);
            change.outputs_cut += walk.cut;
        }
        for raw in self.resource_changes.iter().flatten() {
            let Some(action) = raw.action() else { continue };
            raw.count(action, &mut change.delta);
            if change.resources.len() >= limits.resources {
                change.resources_cut += 1;
            } else {
                change.resources.push(raw.read(action, &mut context, &text));
            }
        }
        change.hide_other_sides();
        Ok((change, marked))
    }
}

impl RawResource {
    pub(super) fn import_id(&self) -> Option<&str> {
        self.change.get("importing")?.get("id")?.as_str()
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
        match action_of(&self.change) {
            // Terraform does not speak of data sources that go.
            Some(Action::Delete) if is_data => None,
            None if self.is_imported() => Some(Action::Import),
            None if self.is_moved() => Some(Action::Move),
            action => action,
        }
    }

    fn count(&self, action: Action, delta: &mut Delta) {
        match action {
            Action::Create => delta.add += 1,
            Action::Update => delta.change += 1,
            Action::Delete => delta.destroy += 1,
            Action::Replace { .. } => {
                delta.add += 1;
                delta.destroy += 1;
            }
            Action::Forget => delta.forget += 1,
            Action::Read | Action::Import | Action::Move | Action::Other => {}
        }
        delta.import += u32::from(self.is_imported());
        delta.moved += u32::from(self.is_moved());
        // `create, forget` replaces without destroying what was there.
        if action == Action::Create && has(&self.change, "forget") {
            delta.forget += 1;
        }
    }

    fn read(
        &self,
        action: Action,
        context: &mut Context<'_>,
        text: &impl Fn(&str) -> String,
    ) -> ResourceChange {
        let replace_paths = self.change.get("replace_paths").and_then(Json::as_array);
        let mut walk = Walk {
            context,
            replace_paths: replace_paths.into_iter().flatten().map(read_path).collect(),
            changes: Vec::new(),
            cut: 0,
        };
        if !matches!(action, Action::Forget | Action::Move) {
            walk.visit(&mut Vec::new(), node_of(&self.change));
        }
        ResourceChange {
            address: text(&self.address),
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
            import_id: self.is_imported().then(|| match self.import_id() {
                Some(_) if self.import_id_is_sensitive() => SENSITIVE.to_owned(),
                id => text(id.unwrap_or_default()),
            }),
            reason: self.action_reason.as_deref().map(text),
            attributes: walk.changes,
            attributes_cut: walk.cut,
        }
    }
}

fn has(change: &BTreeMap<String, Json>, action: &str) -> bool {
    actions(change).contains(&action)
}

fn actions(change: &BTreeMap<String, Json>) -> Vec<&str> {
    let list = change.get("actions").and_then(Json::as_array);
    list.into_iter().flatten().filter_map(Json::as_str).collect()
}

fn action_of(change: &BTreeMap<String, Json>) -> Option<Action> {
    Some(match actions(change).as_slice() {
        [] | ["no-op"] => return None,
        ["create"] | ["create", "forget"] | ["forget", "create"] => Action::Create,
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

fn failed_check(check: &Json, text: &impl Fn(&str) -> String) -> Option<CheckFailure> {
    let failed =
        |v: &Json| matches!(v.get("status").and_then(Json::as_str), Some("fail" | "error"));
    if !failed(check) {
        return None;
    }
    let instances = check.get("instances").and_then(Json::as_array);
    let problems = instances
        .into_iter()
        .flatten()
        .filter_map(|i| i.get("problems").and_then(Json::as_array))
        .flatten()
        .filter_map(|p| p.get("message").and_then(Json::as_str))
        .take(10)
        .map(text)
        .collect();
    let address = check.pointer("/address/to_display").and_then(Json::as_str).unwrap_or_default();
    Some(CheckFailure { address: text(address), problems })
}
