//! Runs that are not the usual ones: what they are for, and how they plan.

use super::{Run, RunType};
use crate::stack::Variable;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a run is for that nobody pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(rename = "RunPurpose")]
pub enum Unpushed {
    /// It looks for what was changed elsewhere.
    Drift,
    /// Its time has come.
    Schedule {
        /// The schedule's name.
        name: String,
    },
    /// One command in the stack's workspace, instead of a plan.
    Task {
        /// What the shell is given.
        command: String,
        /// The schedule's name, where its time has come.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schedule: Option<String>,
    },
    /// An apply made the preview before it old.
    Replan,
}

/// The same in one word.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Purpose {
    /// A look for drift.
    Drift,
    /// A deploy whose time has come.
    Schedule,
    /// A task.
    Task,
    /// A preview that is made again after an apply.
    Replan,
}

impl Unpushed {
    /// It in one word.
    pub fn purpose(&self) -> Purpose {
        match self {
            Self::Drift => Purpose::Drift,
            Self::Schedule { .. } => Purpose::Schedule,
            Self::Task { .. } => Purpose::Task,
            Self::Replan => Purpose::Replan,
        }
    }
}

/// How a run plans.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanOptions {
    /// What is planned.
    #[serde(skip_serializing_if = "PlanMode::is_normal")]
    pub mode: PlanMode,
    /// Only these resources or modules, and what they depend on (`-target`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Address>,
    /// Resources that are replaced whether they changed or not (`-replace`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<Address>,
    /// Environment variables of this run alone, beside those of its stack.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<OneOff>,
}

/// A variable of one run; what it is sealed for is as for the stack's own.
pub type OneOff = Variable;

/// What is planned.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PlanMode {
    /// What the code changes.
    #[default]
    Normal,
    /// That the state becomes what there is (`-refresh-only`).
    RefreshOnly,
    /// That nothing remains (`-destroy`).
    Destroy,
}

impl PlanMode {
    /// The usual one.
    pub fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

impl PlanOptions {
    /// Nothing of it was asked for.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Its plan is looked at by a person, also where its stack applies by itself: it does not bring
    /// the whole stack to what the code says.
    pub fn need_confirmation(&self) -> bool {
        !self.mode.is_normal() || !self.targets.is_empty() || !self.replace.is_empty()
    }

    /// The arguments of the tool's `plan`.
    pub fn arguments(&self) -> Vec<String> {
        let mode = match self.mode {
            PlanMode::Normal => None,
            PlanMode::RefreshOnly => Some("-refresh-only".to_owned()),
            PlanMode::Destroy => Some("-destroy".to_owned()),
        };
        let targets = self.targets.iter().map(|target| format!("-target={}", target.as_str()));
        let replace = self.replace.iter().map(|address| format!("-replace={}", address.as_str()));
        mode.into_iter().chain(targets).chain(replace).collect()
    }
}

impl Run {
    /// A run that was just made, for something that is not the usual: what it is for, where nobody
    /// pushed it, and how it plans.
    #[must_use]
    pub fn meant_for(self, unpushed: Option<Unpushed>, options: PlanOptions) -> Self {
        let asks = options.need_confirmation() && self.run_type == RunType::Tracked;
        Self { autodeploy: self.autodeploy && !asks, unpushed, options, ..self }
    }
}

/// The address of a resource or module, as far as that can be told without its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, with = "String")]
pub struct Address(String);

const LONGEST_ADDRESS: usize = 1_000;

impl Address {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Address {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let text = text.trim();
        let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let usable = starts
            && text.contains('.')
            && text.len() <= LONGEST_ADDRESS
            && !text.contains(char::is_control);
        match usable {
            true => Ok(Self(text.to_owned())),
            false => Err("Not an address: use one such as aws_instance.web[0] or module.network"),
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_purpose_has_the_word_of_its_kind() {
        for kind in [
            json!({ "kind": "drift" }),
            json!({ "kind": "schedule", "name": "nightly" }),
            json!({ "kind": "task", "command": "true" }),
            json!({ "kind": "replan" }),
        ] {
            let unpushed: Unpushed = serde_json::from_value(kind.clone()).unwrap();
            assert_eq!(json!(unpushed.purpose()), kind["kind"]);
            assert_eq!(kind["kind"], unpushed.purpose().to_string());
        }
    }

    #[test]
    fn what_was_asked_for_becomes_arguments() {
        let options: PlanOptions = serde_json::from_value(json!({
            "mode": "destroy",
            "targets": ["module.network", "aws_instance.web[\"a b\"]"],
            "replace": ["aws_instance.x"],
        }))
        .unwrap();
        assert_eq!(
            options.arguments(),
            [
                "-destroy",
                "-target=module.network",
                "-target=aws_instance.web[\"a b\"]",
                "-replace=aws_instance.x"
            ]
        );
        assert!(!options.is_usual() && PlanOptions::default().arguments().is_empty());
        assert_eq!(json!(PlanOptions::default()), json!({}));
    }

    #[test]
    fn only_a_usual_deploy_is_applied_without_asking() {
        let golden = include_str!("../../../store/golden/v1/run.json");
        let run: Run = serde_json::from_str(golden).unwrap();
        let run = Run { run_type: RunType::Tracked, autodeploy: true, held: false, ..run };
        let applies = |options: serde_json::Value| {
            let options = serde_json::from_value(options).unwrap();
            run.clone().meant_for(None, options).applies_at_once()
        };
        assert!(applies(json!({})));
        let variable = json!({ "name": "TF_VAR_a", "value": { "plain": "b" }, "runs": "all" });
        assert!(applies(json!({ "variables": [variable] })));
        for asks in [
            json!({ "mode": "destroy" }),
            json!({ "mode": "refresh_only" }),
            json!({ "targets": ["a.b"] }),
            json!({ "replace": ["a.b"] }),
        ] {
            assert!(!applies(asks.clone()), "{asks}");
        }
        // Nobody could look at a task before it is executed.
        let task = Unpushed::Task { command: "true".to_owned(), schedule: None };
        let task = Run { autodeploy: false, ..run }.meant_for(Some(task), PlanOptions::default());
        assert!(task.applies_at_once() && task.task() == Some("true"));
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        for wrong in ["", "x", "-destroy", "-var=a.b", ".a", "a.b\nc", "1.a"] {
            assert!(Address::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
        assert_eq!(Address::try_from(" a.b ".to_owned()).unwrap().as_str(), "a.b");
    }
}
