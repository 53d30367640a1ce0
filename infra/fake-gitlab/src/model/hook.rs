//! Project hooks and how often they failed.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::config::wildcard;
use crate::delivery::Delivery;

/// The events that a project hook can ask for, with their `X-Gitlab-Event`.
pub(crate) const EVENTS: [(&str, &str); 5] = [
    ("push_events", "Push Hook"),
    ("tag_push_events", "Tag Push Hook"),
    ("merge_requests_events", "Merge Request Hook"),
    ("note_events", "Note Hook"),
    ("confidential_note_events", "Confidential Note Hook"),
];

/// A project's webhook.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    pub(crate) id: u64,
    pub(crate) url: String,
    pub(crate) events: BTreeSet<&'static str>,
    pub(crate) token: Option<String>,
    pub(crate) signing_token: Option<String>,
    pub(crate) enable_ssl_verification: bool,
    pub(crate) branch_filter: Option<String>,
    /// What its body is made by, in place of the event as it is.
    pub(crate) custom_template: Option<String>,
    pub(crate) failures: u32,
    pub(crate) disabled_until: Option<Timestamp>,
    pub(crate) log: Vec<HookEvent>,
}

/// One delivery as the hook's log keeps it.
#[derive(Clone, Debug)]
pub(crate) struct HookEvent {
    pub(crate) id: u64,
    /// Where it went.
    pub(crate) url: String,
    pub(crate) delivery: Delivery,
    pub(crate) response_status: String,
    pub(crate) created_at: Timestamp,
}

impl Hook {
    /// A hook as GitLab makes it when nothing but an address is given: it wants pushes.
    pub(crate) fn new(id: u64, url: String) -> Self {
        Self {
            id,
            url,
            events: BTreeSet::from(["push_events"]),
            token: None,
            signing_token: None,
            enable_ssl_verification: true,
            branch_filter: None,
            custom_template: None,
            failures: 0,
            disabled_until: None,
            log: Vec::new(),
        }
    }

    /// The branch filter counts for push events only.
    pub(crate) fn wants_branch(&self, branch: &str) -> bool {
        match &self.branch_filter {
            Some(filter) if !filter.is_empty() => wildcard(filter, branch),
            _ => true,
        }
    }

    pub(crate) fn alert_status(&self, now: Timestamp) -> &'static str {
        match () {
            () if self.failures >= 40 => "disabled",
            () if self.disabled_until.is_some_and(|until| until > now) => "temporarily_disabled",
            () => "executable",
        }
    }

    /// Counts the outcome of a delivery: from the fourth failure on a hook is disabled for a
    /// minute and doubling, from the fortieth on for good.
    pub(crate) fn record(&mut self, succeeded: bool, now: Timestamp) {
        self.failures = if succeeded { 0 } else { self.failures + 1 };
        let doublings = self.failures.checked_sub(4).map(|doublings| doublings.min(11));
        let minutes = doublings.map(|doublings| (1 << doublings).min(24 * 60));
        self.disabled_until = minutes.map(|minutes| now + SignedDuration::from_mins(minutes));
    }
}
