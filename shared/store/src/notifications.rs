//! Notifications' records: who is notified, which settings writes, and what became of each message,
//! which the publisher writes.

use crate::{Store, StoreError, Stored, keys};
use gantry_domain::{
    TargetName,
    notification::{Filter, Occasion, TargetKind},
};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long is kept what became of a message.
pub const DELIVERIES_KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);
/// So many attempts of a message are kept, the newest.
pub const ATTEMPTS_KEPT: usize = 20;

/// Somebody who is notified ([`keys::notification_target`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationTarget {
    /// Its name.
    pub name: TargetName,
    /// What understands its messages.
    pub kind: TargetKind,
    /// Where it is, sealed: whoever knows the address can write there.
    pub address: String,
    /// As much of the address as everybody may see: `https://hooks.slack.com`.
    pub shown: String,
    /// What a webhook's messages are signed with, sealed.
    #[serde(default)]
    pub secret: Option<String>,
    /// The secret before, for a while.
    #[serde(default)]
    pub previous: Option<EndingSecret>,
    /// What it asks for.
    pub filter: Filter,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub saved_at: Timestamp,
}

/// A secret that signs until then, beside the one that replaced it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndingSecret {
    /// The secret, sealed.
    pub sealed: String,
    /// Until when.
    pub until: Timestamp,
}

/// A message to a target: what became of it ([`keys::delivery`]), and what the publisher remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// What it is about.
    pub about: Occasion,
    /// Its title, once it was made.
    pub title: String,
    /// The page that it leads to, once it was made.
    pub url: String,
    /// When the publisher first learned of it.
    pub raised_at: Timestamp,
    /// Since when it is tried; it is tried for a day.
    pub begun_at: Timestamp,
    /// What became of it.
    pub state: DeliveryState,
    /// Why it was not delivered, in words.
    #[serde(default)]
    pub why: Option<String>,
    /// When it is tried next.
    #[serde(default)]
    pub next_at: Option<Timestamp>,
    /// How often it failed since `begun_at`.
    pub failed: u32,
    /// The newest attempts, the earliest of them first.
    pub attempts: Vec<Attempt>,
    /// When somebody asked last to send it again, as far as that was heeded.
    #[serde(default)]
    pub asked_at: Option<Timestamp>,
}

impl Delivery {
    /// One that was just learned of.
    pub fn new(about: Occasion, now: Timestamp) -> Self {
        Self {
            about,
            title: String::new(),
            url: String::new(),
            raised_at: now,
            begun_at: now,
            state: DeliveryState::Waiting,
            why: None,
            next_at: None,
            failed: 0,
            attempts: Vec::new(),
            asked_at: None,
        }
    }

    /// The same, to be tried anew from now on, because somebody asked then.
    #[must_use]
    pub fn again(self, asked_at: Timestamp, now: Timestamp) -> Self {
        Self {
            begun_at: now,
            state: DeliveryState::Waiting,
            why: None,
            next_at: None,
            failed: 0,
            asked_at: Some(asked_at),
            ..self
        }
    }

    /// The same at its end.
    #[must_use]
    pub fn ended(self, state: DeliveryState, why: Option<String>) -> Self {
        Self { state, why, next_at: None, ..self }
    }

    /// Keeps another attempt.
    pub fn tried(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
        let surplus = self.attempts.len().saturating_sub(ATTEMPTS_KEPT);
        self.attempts.drain(..surplus);
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is tried, or is about to be.
    Waiting,
    /// The target accepted it.
    Delivered,
    /// The target did not accept it within a day.
    GivenUp,
    /// It was not sent, because what it would have said was no longer so, or nobody asked for it.
    Dropped,
}

/// One attempt to deliver a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DeliveryAttempt")]
pub struct Attempt {
    /// When.
    pub at: Timestamp,
    /// The HTTP status of the target's answer; null where there was none.
    pub status: Option<u16>,
    /// The beginning of the answer, or why there was none.
    pub answer: String,
}

/// How a target does ([`keys::target_health`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetHealth {
    /// The target that this is known of, by when it was saved: one that was changed begins anew.
    pub saved_at: Timestamp,
    /// Why nothing is sent to it any more, until somebody saves it.
    #[serde(default)]
    pub disabled: Option<String>,
    /// Since when nothing was accepted.
    #[serde(default)]
    pub failing_since: Option<Timestamp>,
    /// How many messages in a row it did not accept.
    #[serde(default)]
    pub failures: u32,
    /// Until then nothing else is sent: one message at a time finds out whether it is back.
    #[serde(default)]
    pub quiet_until: Option<Timestamp>,
}

impl TargetHealth {
    /// Nothing is known to be wrong.
    pub fn well(target: &NotificationTarget) -> Self {
        Self {
            saved_at: target.saved_at,
            disabled: None,
            failing_since: None,
            failures: 0,
            quiet_until: None,
        }
    }
}

/// That a person wants a message sent again ([`keys::send_again`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendAgain {
    /// When they asked.
    pub asked_at: Timestamp,
}

impl Store {
    /// Everybody who is notified, by name.
    pub async fn notification_targets(
        &self,
    ) -> Result<Vec<Stored<NotificationTarget>>, StoreError> {
        self.query_all(keys::NOTIFICATION_TARGETS, "").await
    }

    /// Somebody who is notified.
    pub async fn notification_target(
        &self,
        name: &TargetName,
    ) -> Result<Option<Stored<NotificationTarget>>, StoreError> {
        self.get(&keys::notification_target(name)).await
    }

    /// How a target does, if that is known of what it is now.
    pub async fn target_health(
        &self,
        target: &NotificationTarget,
    ) -> Result<Option<Stored<TargetHealth>>, StoreError> {
        let found = self.get::<TargetHealth>(&keys::target_health(&target.name)).await?;
        Ok(found.filter(|health| health.value.saved_at == target.saved_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_attempts_are_kept() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut delivery = Delivery::new("test.a".parse().unwrap(), at(0));
        for second in 1..=25 {
            let answer = "no".to_owned();
            delivery.tried(Attempt { at: at(second), status: Some(500), answer });
        }
        let times: Vec<i64> = delivery.attempts.iter().map(|it| it.at.as_second()).collect();
        assert_eq!(times, (6..=25).collect::<Vec<_>>());
        let again = delivery.clone().again(at(30), at(31));
        assert_eq!((again.raised_at, again.begun_at), (at(0), at(31)));
        assert_eq!((again.attempts.len(), again.failed), (20, 0));
    }
}
