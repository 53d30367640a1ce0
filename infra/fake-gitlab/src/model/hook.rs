//! Project hooks and how often they failed.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::config::wildcard;
use crate::version::ServerVersion;

/// The events that a project hook can ask for.
pub(crate) const EVENTS: [&str; 12] = [
    "push_events",
    "tag_push_events",
    "merge_requests_events",
    "note_events",
    "confidential_note_events",
    "issues_events",
    "confidential_issues_events",
    "job_events",
    "pipeline_events",
    "wiki_page_events",
    "deployment_events",
    "releases_events",
];

/// A project's webhook.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    pub(crate) id: u64,
    pub(crate) url: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) events: BTreeMap<&'static str, bool>,
    pub(crate) token: Option<String>,
    pub(crate) signing_token: Option<String>,
    pub(crate) enable_ssl_verification: bool,
    pub(crate) branch_filter: Option<String>,
    pub(crate) branch_filter_strategy: String,
    pub(crate) custom_headers: Vec<(String, String)>,
    pub(crate) custom_template: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) failures: u32,
    pub(crate) disabled_until: Option<Timestamp>,
    pub(crate) disabled: bool,
    pub(crate) log: Vec<HookEvent>,
}

/// One delivery as the hook's log keeps it.
#[derive(Clone, Debug)]
pub(crate) struct HookEvent {
    pub(crate) id: u64,
    pub(crate) url: String,
    pub(crate) trigger: &'static str,
    pub(crate) event: &'static str,
    pub(crate) key: String,
    pub(crate) body: String,
    pub(crate) request_headers: Vec<(String, String)>,
    pub(crate) response_status: String,
    pub(crate) response_body: String,
    pub(crate) created_at: Timestamp,
}

impl Hook {
    /// A hook as GitLab makes it when nothing but an address is given: it wants pushes.
    pub(crate) fn new(url: String, now: Timestamp) -> Self {
        Self {
            id: 0,
            url,
            name: None,
            description: None,
            events: EVENTS.iter().map(|event| (*event, *event == "push_events")).collect(),
            token: None,
            signing_token: None,
            enable_ssl_verification: true,
            branch_filter: None,
            branch_filter_strategy: "wildcard".to_owned(),
            custom_headers: Vec::new(),
            custom_template: None,
            created_at: now,
            failures: 0,
            disabled_until: None,
            disabled: false,
            log: Vec::new(),
        }
    }

    pub(crate) fn wants(&self, event: &str) -> bool {
        self.events.get(event).copied().unwrap_or(false)
    }

    /// The branch filter counts for push events only.
    pub(crate) fn wants_branch(&self, branch: &str) -> bool {
        match (&self.branch_filter, self.branch_filter_strategy.as_str()) {
            (Some(filter), "wildcard") if !filter.is_empty() => wildcard(filter, branch),
            _ => true,
        }
    }

    pub(crate) fn alert_status(&self, now: Timestamp) -> &'static str {
        match () {
            () if self.disabled => "disabled",
            () if self.disabled_until.is_some_and(|until| until > now) => "temporarily_disabled",
            () => "executable",
        }
    }

    /// Counts the outcome of a delivery; `code` is `None` when there was no answer at all.
    pub(crate) fn record(&mut self, code: Option<u16>, now: Timestamp, version: &ServerVersion) {
        if code.is_some_and(|code| (200..400).contains(&code)) {
            self.failures = 0;
            self.disabled_until = None;
            self.disabled = false;
            return;
        }
        self.failures += 1;
        if self.failures < 4 {
            return;
        }
        let minutes = if version.at_least(17, 11) {
            self.disabled = self.failures >= 40;
            1_i64 << (self.failures - 4).min(11)
        } else {
            self.disabled = code.is_some_and(|code| (400..500).contains(&code));
            10_i64 << (self.failures - 4).min(8)
        };
        let pause = SignedDuration::from_mins(minutes.min(24 * 60));
        self.disabled_until = (!self.disabled).then(|| now + pause);
    }
}
