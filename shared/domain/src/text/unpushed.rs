//! What a run is for that nobody pushed, and what is unusual about its plan, in words.

use super::clean_line;
use crate::{
    run::{Address, PlanMode, PlanOptions, Unpushed},
    stack::{Variable, VariableValue},
};

/// Characters of a list that is shown in a line.
const LONGEST_LIST: usize = 2_000;

/// What nobody pushed: `Schedule nightly`.
pub fn purpose(unpushed: &Unpushed) -> String {
    let name = |name: &str| clean_line(name, 100);
    match unpushed {
        Unpushed::Drift => "Looks for drift".to_owned(),
        Unpushed::Schedule { name: of } => format!("Schedule {}", name(of)),
        Unpushed::Task { schedule: Some(of), .. } => format!("Task of the schedule {}", name(of)),
        Unpushed::Task { schedule: None, .. } => "Task".to_owned(),
        Unpushed::Replan => "Planned again after an apply".to_owned(),
    }
}

/// What is unusual about a plan: each of it by its name. Values of variables are not in it.
pub fn options(options: &PlanOptions) -> Vec<(&'static str, String)> {
    let mode = match options.mode {
        PlanMode::Normal => "",
        PlanMode::RefreshOnly => "refresh only: what there is becomes the state",
        PlanMode::Destroy => "destroys everything that the stack holds",
    };
    let addresses =
        |all: &[Address]| all.iter().map(Address::as_str).collect::<Vec<_>>().join(", ");
    let variable = |variable: &Variable| match variable.value {
        VariableValue::Plain(_) => variable.name.clone(),
        VariableValue::Sealed(_) => format!("{} (secret)", variable.name),
    };
    let variables: Vec<String> = options.variables.iter().map(variable).collect();
    [
        ("Plan", mode.to_owned()),
        ("Targets", addresses(&options.targets)),
        ("Replaces", addresses(&options.replace)),
        ("Variables of this run", variables.join(", ")),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| (name, clean_line(&value, LONGEST_LIST)))
    .collect()
}

/// The same in one line; none where all is usual.
pub fn options_in_a_line(asked: &PlanOptions) -> Option<String> {
    let parts: Vec<String> =
        options(asked).into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_run_is_for_is_said() {
        let said = [
            json!({ "kind": "drift" }),
            json!({ "kind": "schedule", "name": "night\u{202e}ly" }),
            json!({ "kind": "task", "command": "terraform state list" }),
            json!({ "kind": "task", "command": "x", "schedule": "weekly" }),
            json!({ "kind": "replan" }),
        ]
        .map(|kind| purpose(&serde_json::from_value(kind).unwrap()));
        insta::assert_snapshot!(said.join("\n"), @r"
        Looks for drift
        Schedule nightly
        Task
        Task of the schedule weekly
        Planned again after an apply
        ");
    }

    #[test]
    fn what_is_unusual_about_a_plan_is_said_without_values() {
        let said = |options: serde_json::Value| {
            let options: PlanOptions = serde_json::from_value(options).unwrap();
            options_in_a_line(&options)
        };
        assert_eq!(said(json!({})), None);
        let all = json!({
            "mode": "destroy",
            "targets": ["module.network", "aws_instance.web[\"a\u{202e}b\"]"],
            "replace": ["aws_instance.x"],
            "variables": [
                { "name": "TF_VAR_a", "value": { "plain": "hush" }, "runs": "all" },
                { "name": "TOKEN", "value": { "sealed": "hush" }, "runs": "all" },
            ],
        });
        insta::assert_snapshot!(said(all).unwrap(), @r#"Plan: destroys everything that the stack holds; Targets: module.network, aws_instance.web["ab"]; Replaces: aws_instance.x; Variables of this run: TF_VAR_a, TOKEN (secret)"#);
        let refresh = said(json!({ "mode": "refresh_only" })).unwrap();
        assert_eq!(refresh, "Plan: refresh only: what there is becomes the state");
    }
}
