//! Notifications: what is told outside of GitLab, to whom, and how often that is tried.
//!
//! Each is about one thing in one state, its [`Occasion`]: a run that needs confirmation, a stack that
//! has drifted since a moment. A target gets one message for each, however often somebody notices it.
//! What it says ([`News`]) is made when it is sent, of what is true then.

mod news;
mod occasion;

pub use news::{AboutDrift, AboutRun, AboutStack, News};
pub use occasion::{Occasion, of_run};

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What somebody can be notified of.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum NotificationEvent {
    /// A deploy needs confirmation.
    WaitsForPerson,
    /// A deploy, a task, or a check for drift failed.
    Failed,
    /// A stack is blocked.
    Blocked,
    /// A stack has drifted.
    Drifted,
    /// A deploy was applied.
    Applied,
    /// GitLab rejects Gantry's token, or has not worked for five minutes.
    IntegrationBroken,
    /// Gantry's token for GitLab expires in two weeks, in a week, or within a day.
    TokenExpires,
}

impl NotificationEvent {
    /// What people call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::WaitsForPerson => "A deploy needs confirmation",
            Self::Failed => "A deploy, a task or a check for drift failed",
            Self::Blocked => "A stack is blocked",
            Self::Drifted => "A stack has drifted",
            Self::Applied => "A deploy was applied",
            Self::IntegrationBroken => "GitLab does not work for Gantry",
            Self::TokenExpires => "The GitLab token expires soon",
        }
    }

    /// It is about a stack: labels count.
    pub fn is_of_stack(self) -> bool {
        !matches!(self, Self::IntegrationBroken | Self::TokenExpires)
    }
}

/// What understands the messages of a target.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TargetKind {
    /// Anything that takes JSON, signed as Standard Webhooks says.
    Webhook,
    /// An incoming webhook of Slack, or of what takes the same: Mattermost, Rocket.Chat.
    Slack,
    /// A workflow of Microsoft Teams that posts Adaptive Cards.
    Teams,
}

impl TargetKind {
    /// What people call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Webhook => "Webhook",
            Self::Slack => "Slack",
            Self::Teams => "Microsoft Teams",
        }
    }
}

/// What a target asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// What it is notified of.
    pub events: BTreeSet<NotificationEvent>,
    /// Only of stacks that have one of these labels; of all, where there are none.
    pub labels: Vec<String>,
}

impl Filter {
    /// Whether it asks for this, whichever stack it is about. Who is tried gets the message.
    pub fn wants(&self, about: &Occasion) -> bool {
        about.event().is_none_or(|event| self.events.contains(&event))
    }

    /// The same of a stack with these labels.
    pub fn wants_of(&self, about: &Occasion, labels: &[String]) -> bool {
        let of_any = self.labels.is_empty() || !about.is_of_stack();
        self.wants(about) && (of_any || labels.iter().any(|label| self.labels.contains(label)))
    }
}

/// What a target's answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has the message.
    Delivered,
    /// Nobody is there, and nobody will be: nothing more is sent.
    Gone,
    /// Not this time.
    Later,
}

/// What an HTTP status means, as Standard Webhooks has it
/// (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
/// Redirects are not followed.
pub fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Delivered,
        410 => Verdict::Gone,
        _ => Verdict::Later,
    }
}

/// How long a message is tried.
pub const TRIED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The seconds between attempts, ever more of them.
const WAITS: [i64; 9] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800];
/// A target that asks for more is asked again after this time.
const LONGEST_ASKED: SignedDuration = SignedDuration::from_hours(6);

/// When a message is tried again that has failed so often since `begun_at`; none when that is enough.
/// The target may have asked for a pause.
pub fn next_attempt(
    failed: usize,
    begun_at: Timestamp,
    now: Timestamp,
    asked: Option<SignedDuration>,
) -> Option<Timestamp> {
    let nth = failed.saturating_sub(1).min(WAITS.len() - 1);
    let asked = asked.unwrap_or(SignedDuration::ZERO).min(LONGEST_ASKED);
    let next = now + SignedDuration::from_secs(WAITS[nth]).max(asked);
    (next <= begun_at + TRIED_FOR).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunId;

    fn run() -> RunId {
        "r-1".parse().unwrap()
    }

    #[test]
    fn a_target_gets_what_it_asks_for() {
        use NotificationEvent::{Failed, IntegrationBroken};
        let labels = |labels: &[&str]| -> Vec<String> {
            labels.iter().map(|label| (*label).to_owned()).collect()
        };
        let of = |events: &[NotificationEvent], asked: &[&str]| Filter {
            events: events.iter().copied().collect(),
            labels: labels(asked),
        };
        let failed = Occasion::Failed(run());
        let broken = Occasion::IntegrationBroken { since: 1 };
        let production = labels(&["production", "eu"]);
        assert!(of(&[Failed], &[]).wants_of(&failed, &production));
        assert!(of(&[Failed], &["eu", "us"]).wants_of(&failed, &production));
        assert!(!of(&[Failed], &["us"]).wants_of(&failed, &production));
        assert!(!of(&[Failed], &["us"]).wants_of(&failed, &[]));
        assert!(!of(&[IntegrationBroken], &[]).wants_of(&failed, &production));
        // What is about no stack has no labels.
        assert!(of(&[IntegrationBroken], &["us"]).wants_of(&broken, &[]));
        assert!(!of(&[Failed], &[]).wants(&broken));
        let test = Occasion::Test("one".to_owned());
        assert!(Filter::default().wants_of(&test, &[]), "who tries it asks for it");
    }

    #[test]
    fn an_answer_means_what_the_standard_says() {
        for (status, means) in [
            (200, Verdict::Delivered),
            (204, Verdict::Delivered),
            (302, Verdict::Later),
            (400, Verdict::Later),
            (404, Verdict::Later),
            (410, Verdict::Gone),
            (429, Verdict::Later),
            (503, Verdict::Later),
        ] {
            assert_eq!(verdict(status), means, "{status}");
        }
    }

    #[test]
    fn a_message_is_tried_ever_more_seldom_for_a_day() {
        let begun: Timestamp = "2026-03-02T09:00:00Z".parse().unwrap();
        let (mut now, mut attempts) = (begun, 1);
        let mut last = SignedDuration::ZERO;
        while let Some(next) = next_attempt(attempts, begun, now, None) {
            let wait = next.duration_since(now);
            assert!(wait >= last, "after {attempts}");
            (now, last, attempts) = (next, wait, attempts + 1);
        }
        assert_eq!(attempts, 11);
        assert!(now.duration_since(begun) > SignedDuration::from_hours(20));
        assert!(now.duration_since(begun) <= TRIED_FOR);
    }

    #[test]
    fn a_target_may_ask_for_a_pause_that_is_not_too_long() {
        let begun: Timestamp = "2026-03-02T09:00:00Z".parse().unwrap();
        let next =
            |asked| next_attempt(1, begun, begun, Some(asked)).unwrap().duration_since(begun);
        assert_eq!(next(SignedDuration::from_secs(1)), SignedDuration::from_secs(5));
        assert_eq!(next(SignedDuration::from_mins(10)), SignedDuration::from_mins(10));
        assert_eq!(next(SignedDuration::from_hours(100)), LONGEST_ASKED);
        assert_eq!(next_attempt(1, begun, begun + TRIED_FOR, None), None);
    }
}
