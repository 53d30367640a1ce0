//! Decisions about a plan that was shown: it is confirmed or discarded, approved or rejected.

use super::{CommandView, give, has_ended, may_start, refuse, run_and_stack};
use crate::{
    access::Caller,
    app::App,
    form::Form,
    refusal::{Answer, Refusal},
};
use axum::http::StatusCode;
use gantry_domain::{
    approval::Decision,
    run::{RunState, RunType},
    stack::Stack,
    text::{clean, clean_line},
};
use gantry_queue::Command;
use gantry_store::{config::Role, keys, scheduler::CommandOutcome};

/// Characters of what somebody says about a decision.
const LONGEST_COMMENT: usize = 1_000;
/// Characters of why the rules about who confirms do not count for once.
const LONGEST_REASON: usize = 500;

const CHOOSE: &str = "Choose approve or reject.";

/// What somebody asked for or said about a decision, besides what the list of activities has of it.
#[derive(Default)]
pub(super) struct Said {
    /// `Targets: module.network`.
    asked: Option<String>,
    decision: Option<Decision>,
    override_reason: Option<String>,
    comment: Option<String>,
}

impl Said {
    /// What was asked for, in a line.
    pub(super) fn asking(asked: Option<String>) -> Self {
        Self { asked, ..Self::default() }
    }

    /// The outcome of a command, as far as it is known, with this behind it: for the list of
    /// activities.
    pub(super) fn behind(&self, outcome: Option<&str>) -> String {
        let mut words = outcome.unwrap_or("requested").to_owned();
        // An outcome says itself what was decided, and that the rules were overridden and why.
        let decision = self.decision.filter(|_| outcome.is_none()).map(|it| it.to_string());
        let reason = self.override_reason.as_ref().filter(|reason| !words.contains(*reason));
        for (what, said) in [
            ("Decision", decision.as_ref()),
            ("Rules overridden", reason),
            ("Comment", self.comment.as_ref()),
        ] {
            if let Some(said) = said {
                let dot = if words.ends_with('.') { "" } else { "." };
                words.push_str(&format!("{dot} {what}: {}", clean_line(said, LONGEST_COMMENT)));
            }
        }
        if let Some(asked) = &self.asked {
            let dot = if words.ends_with('.') { "" } else { "." };
            words.push_str(&format!("{dot} {asked}"));
        }
        words
    }
}

pub(super) async fn confirm(
    app: &App,
    caller: &Caller,
    id: &str,
    mut form: Form,
) -> Answer<CommandView> {
    let (comment, override_reason) = (comment(&mut form), override_reason(&mut form));
    form.check()?;
    if override_reason.is_some() {
        may_override(caller)?;
    }
    let (run, stack) = run_and_stack(app, id).await?;
    let check = async {
        if run.state != RunState::Unconfirmed {
            return Err(match run.state {
                state if state.is_final() => has_ended(state),
                state => refuse(format!("The run is {state}, so there is nothing to confirm.")),
            });
        }
        may_start(app, &stack, RunType::Tracked).await
    };
    let command = Command::Confirm {
        run: run.id.clone(),
        comment: comment.clone(),
        override_reason: override_reason.clone(),
    };
    let said = Said { override_reason, comment, ..Said::default() };
    decide(app, caller, &stack, command, said, check).await
}

pub(super) async fn discard(
    app: &App,
    caller: &Caller,
    id: &str,
    mut form: Form,
) -> Answer<CommandView> {
    let comment = comment(&mut form);
    form.check()?;
    let (run, stack) = run_and_stack(app, id).await?;
    let check = async {
        match run.state {
            RunState::Unconfirmed | RunState::Confirmed => Ok(()),
            state if state.is_final() => Err(has_ended(state)),
            state => Err(refuse(format!("The run is {state}. Stop it instead."))),
        }
    };
    let command = Command::Discard { run: run.id.clone(), comment: comment.clone() };
    decide(app, caller, &stack, command, Said { comment, ..Said::default() }, check).await
}

/// Whether this person's review counts, the scheduler decides: it knows the rules.
pub(super) async fn review(
    app: &App,
    caller: &Caller,
    id: &str,
    mut form: Form,
) -> Answer<CommandView> {
    if caller.person().is_none() {
        return Err(denied("A key is not a person: sign in with GitLab to review."));
    }
    caller.check_known()?;
    let decision = form.choice::<Decision>("decision");
    if decision.is_none() {
        form.wrong("decision", CHOOSE);
    }
    let comment = comment(&mut form);
    form.check()?;
    let decision = decision.ok_or_else(|| Refusal::field("decision", CHOOSE))?;
    let (run, stack) = run_and_stack(app, id).await?;
    let check = async {
        match run.state {
            _ if run.run_type != RunType::Tracked => {
                Err(refuse("Only deploys are reviewed: nothing else waits for a confirmation."))
            }
            RunState::Unconfirmed => Ok(()),
            state if state.is_final() => Err(has_ended(state)),
            state => Err(refuse(format!("The run is {state}, so there is nothing to review."))),
        }
    };
    let command = Command::Review { run: run.id.clone(), decision, comment: comment.clone() };
    let said = Said { decision: Some(decision), comment, ..Said::default() };
    decide(app, caller, &stack, command, said, check).await
}

/// Asks for it. The same request again keeps what was said first.
pub(super) async fn decide(
    app: &App,
    caller: &Caller,
    stack: &Stack,
    command: Command,
    said: Said,
    check: impl Future<Output = Answer<()>>,
) -> Answer<CommandView> {
    let key = keys::command(&stack.id, &caller.request);
    let is_new = app.store.get::<CommandOutcome>(&key).await?.is_none();
    let view = give(app, caller, stack, command, Box::pin(check)).await?;
    Ok(if is_new { CommandView { said, ..view } } else { view })
}

/// What somebody says about a decision, if they do.
fn comment(form: &mut Form) -> Option<String> {
    let comment = clean(&form.raw_text("comment")?).trim().to_owned();
    let length = comment.chars().count();
    if length > LONGEST_COMMENT {
        form.wrong("comment", format!("Has {length} characters; at most 1,000 are allowed"));
    }
    Some(comment).filter(|comment| !comment.is_empty())
}

/// Why the rules about who confirms do not count for once, on one line.
fn override_reason(form: &mut Form) -> Option<String> {
    let reason = clean_line(&form.raw_text("override_reason")?, usize::MAX);
    let length = reason.chars().count();
    if length > LONGEST_REASON {
        form.wrong("override_reason", format!("Has {length} characters; at most 500 are allowed"));
    }
    Some(reason).filter(|reason| !reason.is_empty())
}

/// No person goes past the rules that are about people, not even an admin: that needs a key.
fn may_override(caller: &Caller) -> Answer<()> {
    match caller.role() {
        Some(Role::Admin) => Ok(()),
        _ => Err(denied(
            "Only access keys with the role admin can override the rules about who confirms. \
             Without override_reason, the rules decide.",
        )),
    }
}

fn denied(why: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "You don't have permission", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_stands_behind_the_outcome_once() {
        let text = |text: &str| Some(text.to_owned());
        let reviewed = Said {
            decision: Some(Decision::Reject),
            comment: text("not on\na Friday"),
            ..Said::default()
        };
        let overrides = Said { override_reason: text("GitLab is down"), ..Said::default() };
        let said = [
            reviewed.behind(None),
            reviewed.behind(Some("Rejected")),
            overrides.behind(None),
            overrides.behind(Some("Confirmed. Applying next.")),
            overrides
                .behind(Some("Confirmed, overriding the rules: GitLab is down. Applying next.")),
            Said::default().behind(None),
            Said::asking(text("Targets: a.b")).behind(Some("Queued behind #6.")),
        ];
        insta::assert_snapshot!(said.join("\n"), @"
        requested. Decision: reject. Comment: not on a Friday
        Rejected. Comment: not on a Friday
        requested. Rules overridden: GitLab is down
        Confirmed. Applying next. Rules overridden: GitLab is down
        Confirmed, overriding the rules: GitLab is down. Applying next.
        requested
        Queued behind #6. Targets: a.b
        ");
    }
}
