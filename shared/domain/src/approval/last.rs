//! What is kept with a run of the rules about who confirms it: for people, who read it until the
//! rules are read again.

use super::Verdict;
use crate::text;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the rules came to when they were last read, kept with the run for people: who confirms is
/// decided again at that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunApproval")]
pub struct LastVerdict {
    /// What they came to.
    pub state: VerdictState,
    /// The same in words, with who has approved and who can: `waits for 1 of 2 approvals, by @ops`.
    pub message: String,
    /// When the rules were read.
    pub at: Timestamp,
}

/// A [`Verdict`] without what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[schemars(inline)]
pub enum VerdictState {
    /// All that was asked for was given.
    MayConfirm,
    /// An admin's key overrode the rules.
    Overridden,
    /// Approvals are missing.
    NeedsApprovals,
    /// It may not be confirmed, however many approve it.
    NotAllowed,
    /// GitLab could not be asked.
    NotYet,
    /// Somebody has rejected it.
    Rejected,
}

impl LastVerdict {
    /// What is kept of a verdict for anyone; none where nothing was asked for.
    pub fn of(verdict: &Verdict, at: Timestamp) -> Option<Self> {
        let state = match verdict {
            Verdict::MayConfirm { approvals, merge_request: None } if approvals.is_empty() => {
                return None;
            }
            Verdict::MayConfirm { .. } => VerdictState::MayConfirm,
            Verdict::Overridden(_) => VerdictState::Overridden,
            Verdict::NeedsApprovals { .. } => VerdictState::NeedsApprovals,
            Verdict::NotAllowed(_) => VerdictState::NotAllowed,
            Verdict::NotYet { .. } => VerdictState::NotYet,
            Verdict::Rejected(_) => VerdictState::Rejected,
        };
        Some(Self { state, message: text::approval::of_run(verdict), at })
    }

    /// The same for a run that goes on by itself once the rules let whoever started it: where only
    /// they are in the way, others may confirm it, and read who.
    pub fn of_held(anyone: &Verdict, starter: &Verdict, at: Timestamp) -> Option<Self> {
        match (anyone, starter) {
            (Verdict::MayConfirm { .. }, Verdict::NotAllowed(_)) => Some(Self {
                state: VerdictState::MayConfirm,
                message: text::approval::of_run(starter),
                at,
            }),
            _ => Self::of(anyone, at),
        }
    }

    /// People read the same.
    pub fn says(&self, other: &Self) -> bool {
        self.state == other.state && self.message == other.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AccessLevel, MergeRequestIid,
        approval::{NotAllowed, Origin, Progress, Who},
    };

    fn may(approvals: Vec<Progress>, merge_request: Option<u64>) -> Verdict {
        Verdict::MayConfirm { approvals, merge_request: merge_request.map(MergeRequestIid) }
    }

    fn said(last: Option<LastVerdict>) -> Option<(VerdictState, String)> {
        last.map(|last| (last.state, last.message))
    }

    #[test]
    fn nothing_is_kept_where_nothing_was_asked_for() {
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(LastVerdict::of(&may(vec![], None), at), None);
        let approved = said(LastVerdict::of(&may(vec![], Some(12)), at));
        let expected = (VerdictState::MayConfirm, "merge request !12 was approved".to_owned());
        assert_eq!(approved, Some(expected));
        let open = Progress {
            origin: Origin::Stack,
            who: vec![Who::Role(AccessLevel::OWNER)],
            required: 2,
            given: vec![],
        };
        let waits = Verdict::NeedsApprovals { approvals: vec![open] };
        let expected =
            (VerdictState::NeedsApprovals, "waits for 2 approvals, by Owners".to_owned());
        assert_eq!(said(LastVerdict::of(&waits, at)), Some(expected));
    }

    #[test]
    fn who_else_may_confirm_a_run_is_said_where_only_whoever_started_it_may_not() {
        let at = Timestamp::UNIX_EPOCH;
        let refused = Verdict::NotAllowed(NotAllowed::MayNotDeploy {
            environment: "gantry/network".to_owned(),
            who: vec![Who::Role(AccessLevel::MAINTAINER)],
        });
        let free = may(vec![], None);
        let message = "only Maintainers may deploy to gantry/network in GitLab".to_owned();
        let kept = said(LastVerdict::of_held(&free, &refused, at));
        assert_eq!(kept, Some((VerdictState::MayConfirm, message)));
        assert_eq!(LastVerdict::of_held(&free, &free, at), None);
        // What is in everybody's way comes first.
        let away = Verdict::NotYet { why: "no answer".to_owned() };
        let kept = LastVerdict::of_held(&away, &away, at);
        assert_eq!(kept, LastVerdict::of(&away, at));
        assert_eq!(kept.map(|kept| kept.state), Some(VerdictState::NotYet));
    }

    #[test]
    fn when_the_rules_were_read_is_not_what_people_read() {
        let away = Verdict::NotYet { why: "no answer".to_owned() };
        let at = |second| Timestamp::from_second(second).unwrap();
        let kept = |second| LastVerdict::of(&away, at(second)).unwrap();
        assert!(kept(1).says(&kept(2)) && kept(1) != kept(2));
        let other = Verdict::NotYet { why: "503".to_owned() };
        assert!(!kept(1).says(&LastVerdict::of(&other, at(1)).unwrap()));
    }
}
