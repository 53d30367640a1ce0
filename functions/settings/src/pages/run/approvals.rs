//! What the rules about who confirms say of a run, who approved or rejected it, and what whoever looks
//! can do about it.

use crate::{
    pages::{
        shell::Who,
        show::{Chip, Moment},
    },
    runs,
};
use gantry_domain::{
    approval::{Decision, LastVerdict, VerdictState},
    run::Run,
    text,
};
use jiff::Timestamp;

/// What the page shows of all that.
pub(super) struct Approvals {
    pub(super) verdict: Option<Verdict>,
    pub(super) reviews: Vec<Review>,
    /// Its stack applies by itself: this run too, once the rules let it.
    pub(super) applies_by_itself: bool,
    /// It waits for somebody's decision.
    pub(super) can_be_reviewed: bool,
    /// Whoever looks is somebody who can decide, as far as is known here.
    pub(super) may_review: bool,
}

/// What the rules came to when they were last read.
pub(super) struct Verdict {
    pub(super) chip: Chip,
    pub(super) words: String,
    pub(super) read: Moment,
}

/// What somebody decided.
pub(super) struct Review {
    pub(super) chip: Chip,
    pub(super) by: String,
    pub(super) at: Moment,
    pub(super) comment: Option<String>,
}

impl Approvals {
    /// None where no rule asks for anything.
    pub(super) fn of(run: &Run, who: Option<&Who>, now: Timestamp) -> Option<Self> {
        let can_be_reviewed = runs::can_be_reviewed(run);
        is_asked(run).then(|| Self {
            verdict: run.approval.as_ref().map(|verdict| Verdict::of(verdict, now)),
            reviews: run.reviews.iter().map(|review| Review::of(review, now)).collect(),
            applies_by_itself: run.waits_for_rules_alone(),
            can_be_reviewed,
            may_review: can_be_reviewed && who.is_some_and(Who::is_person),
        })
    }
}

/// Rules ask for something, or did.
fn is_asked(run: &Run) -> bool {
    run.approval.is_some() || !run.reviews.is_empty()
}

/// Whoever looks can confirm the run past the rules. Where these only say who may deploy, no verdict
/// for everybody tells of them: an admin's key meets them when it is refused.
pub(super) fn may_override(run: &Run, who: Option<&Who>, is_refused: bool) -> bool {
    (is_asked(run) || is_refused) && who.is_some_and(Who::may_override)
}

impl Verdict {
    fn of(verdict: &LastVerdict, now: Timestamp) -> Self {
        let (class, glyph, words) = match verdict.state {
            VerdictState::MayConfirm => ("ok", "✓", "Rules met"),
            VerdictState::Overridden => ("wait", "!", "Rules overridden"),
            VerdictState::NeedsApprovals => ("wait", "‖", "Needs approvals"),
            VerdictState::NotAllowed => ("bad", "✕", "Not allowed"),
            VerdictState::NotYet => ("wait", "…", "Not known yet"),
            VerdictState::Rejected => ("bad", "✕", "Rejected"),
        };
        Self {
            chip: Chip::new(class, glyph, words),
            words: sentence(&verdict.message),
            read: Moment::at(verdict.at, now),
        }
    }
}

impl Review {
    fn of(review: &gantry_domain::approval::Review, now: Timestamp) -> Self {
        let (class, glyph, words) = match review.decision {
            Decision::Approve => ("ok", "✓", "Approved"),
            Decision::Reject => ("bad", "✕", "Rejected"),
        };
        Self {
            chip: Chip::new(class, glyph, words),
            by: text::approval::person(&review.by),
            at: Moment::at(review.at, now),
            comment: review.comment.as_deref().map(text::clean),
        }
    }
}

/// With a capital letter and a full stop.
fn sentence(words: &str) -> String {
    let words = text::clean_line(words, 1_000);
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if words.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_a_sentence() {
        for (words, shown) in [
            ("waits for 1 approval, by @ops", "Waits for 1 approval, by @ops."),
            ("2 of 2 approvals by @ops", "2 of 2 approvals by @ops."),
            ("rejected by Ada @ada: not now!", "Rejected by Ada @ada: not now!"),
        ] {
            assert_eq!(sentence(words), shown);
        }
    }
}
