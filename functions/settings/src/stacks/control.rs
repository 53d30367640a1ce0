//! Who may do what with a stack, and whose approval its deploys need: the fields that hold people
//! back.

use crate::form::Form;
use gantry_domain::{
    approval::{Approvals, Approver, Approvers, RequiredApprovals},
    rights::StackLevels,
    stack::Settings,
};
use serde_json::Value;

/// The approvals that a deploy needs before it is applied.
pub(super) fn approvals(form: &mut Form) -> Option<Approvals> {
    let (required, from) = form.object("approvals", |form| (required(form), from(form)))?;
    Some(Approvals { required: required?, from: from? })
}

fn required(form: &mut Form) -> Option<RequiredApprovals> {
    let said = form.value("required");
    let number =
        said.as_ref().and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    match RequiredApprovals::try_from(number.unwrap_or(0)) {
        Ok(required) => Some(required),
        Err(problem) => {
            form.wrong("required", problem);
            None
        }
    }
}

fn from(form: &mut Form) -> Option<Approvers> {
    let read = |text: &str| Approver::try_from(text.trim().to_owned());
    let check = |text: &str| read(text).map(String::from).map_err(str::to_owned);
    let named = form.texts("from", 20, check).unwrap_or_default();
    if form.is_wrong("from") {
        return None;
    }
    let named: Vec<Approver> = named.iter().filter_map(|name| read(name).ok()).collect();
    match Approvers::try_from(named) {
        Ok(approvers) => Some(approvers),
        Err(problem) => {
            form.wrong("from", problem);
            None
        }
    }
}

/// What people need to be in the project, where that is more than the installation asks for.
pub(super) fn levels(form: &mut Form) -> StackLevels {
    form.object("levels", |form| StackLevels {
        preview: form.choice("preview"),
        deploy: form.choice("deploy"),
        edit: form.choice("edit"),
    })
    .unwrap_or_default()
}

/// Says of each of these why it cannot be where the code is not in GitLab.
pub(super) fn refuse_elsewhere(form: &mut Form, settings: &Settings) {
    const NO_ROLES: &str =
        "Not possible for code outside of GitLab, because nobody has a role in its project";
    const NO_MERGE_REQUESTS: &str =
        "Not possible for code outside of GitLab, because it has no merge requests there";
    for (name, is_said, problem) in [
        ("approvals", settings.approvals.is_some(), NO_ROLES),
        (
            "require_merge_request_approval",
            settings.require_merge_request_approval,
            NO_MERGE_REQUESTS,
        ),
        ("levels", settings.levels != StackLevels::default(), NO_ROLES),
    ] {
        if is_said {
            form.wrong(name, problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> (Option<Approvals>, String) {
        let Value::Object(fields) = body else { panic!() };
        let mut form = Form::new(fields);
        let approvals = approvals(&mut form);
        let said = form.finish().into_iter().map(|(field, problem)| format!("{field}: {problem}"));
        (approvals, said.collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn what_is_wrong_with_approvals_is_said_once_and_by_its_place() {
        let many: Vec<String> = (0..21).map(|number| format!("@user{number}")).collect();
        for (wrong, said) in [
            (
                json!({}),
                "approvals.from: Name at least one user, group or role\n\
                 approvals.required: Use a number from 1 to 10",
            ),
            (
                json!({ "required": 11, "from": ["@ada"] }),
                "approvals.required: Use a number from 1 to 10",
            ),
            (
                json!({ "required": "2", "from": ["@ada"] }),
                "approvals.required: Use a number from 1 to 10",
            ),
            (json!({ "required": 1, "from": "@ada" }), "approvals.from: Must be a list of strings"),
            (
                json!({ "required": 1, "from": [[]] }),
                "approvals.from[0]: Must be a string, not a list",
            ),
            (
                json!({ "required": 1, "from": ["@ada", " @ada"] }),
                "approvals.from: Name each user, group and role once",
            ),
            (
                json!({ "required": 1, "from": many }),
                "approvals.from: Has 21 entries; at most 20 are allowed",
            ),
        ] {
            let read = read(json!({ "approvals": wrong }));
            assert_eq!(read, (None, said.to_owned()), "{wrong}");
        }
        assert_eq!(read(json!({ "approvals": null })), (None, String::new()));
        let (approvals, said) =
            read(json!({ "approvals": { "required": 2, "from": ["@acme/ops", "owner"] } }));
        assert_eq!((approvals.map(|it| it.required.get()), said), (Some(2), String::new()));
    }
}
