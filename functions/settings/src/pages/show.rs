//! What states are called on pages, and how times and numbers look.

use crate::integration::{Broken, LastTrouble};
use gantry_domain::run::{PlanMode, Run, RunState, RunType};
use jiff::Timestamp;

/// A state as a small sign: never by its colour alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chip {
    /// The class that colours it: `ok`, `bad`, `busy`, `wait`, `quiet`.
    pub(super) class: &'static str,
    pub(super) glyph: &'static str,
    pub(super) text: &'static str,
}

impl Chip {
    pub(super) fn new(class: &'static str, glyph: &'static str, text: &'static str) -> Self {
        Self { class, glyph, text }
    }

    /// A state of a run.
    pub(super) fn of(state: RunState, run: &Run) -> Self {
        let (class, glyph, text) = match state {
            RunState::Queued => ("quiet", "○", "Queued"),
            RunState::Preparing => ("busy", "◔", "Preparing"),
            RunState::Initializing => ("busy", "◔", "Initializing"),
            RunState::Planning => ("busy", "◑", "Planning"),
            RunState::Unconfirmed => ("wait", "‖", "Needs confirmation"),
            RunState::Confirmed => ("busy", "◕", "Confirmed"),
            RunState::Applying if run.task().is_some() => ("busy", "▶", "Running"),
            RunState::Applying => ("busy", "▶", "Applying"),
            RunState::Destroying => ("busy", "▶", "Destroying"),
            RunState::Testing => ("busy", "▶", "Testing"),
            RunState::Finished if has_drifted(run) => ("wait", "≠", "Drifted"),
            RunState::Finished => ("ok", "✓", finished(run)),
            RunState::Failed => ("bad", "✕", "Failed"),
            RunState::Stopped => ("quiet", "■", "Stopped"),
            RunState::Canceled => ("quiet", "⊘", "Canceled"),
            RunState::Discarded => ("quiet", "⊘", "Discarded"),
        };
        Self { class, glyph, text }
    }
}

/// What a run is for, in a word or two.
pub(super) fn type_of(run: &Run) -> &'static str {
    match run.run_type {
        _ if run.module => "Module tests",
        _ if run.is_drift() => "Drift check",
        _ if run.task().is_some() => "Task",
        RunType::Tracked if run.options.mode == PlanMode::Destroy => "Destroy",
        RunType::Tracked if run.options.mode == PlanMode::RefreshOnly => "Refresh",
        other => other.label(),
    }
}

/// A look for drift has found some.
fn has_drifted(run: &Run) -> bool {
    run.is_drift() && run.delta.is_some_and(|delta| !delta.is_empty())
}

/// How a run ended well, in a word or two.
fn finished(run: &Run) -> &'static str {
    if run.module || run.run_type == RunType::Test {
        "Passed"
    } else if run.task().is_some() {
        "Done"
    } else if run.is_drift() {
        "No drift"
    } else if run.run_type == RunType::Proposed {
        "Planned"
    } else if run.applied {
        "Applied"
    } else {
        "No changes"
    }
}

/// A time, for `<time>`: exact for machines and the mouse, its age for the eye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) exact: String,
    pub(super) age: String,
}

impl Moment {
    pub(super) fn at(at: Timestamp, now: Timestamp) -> Self {
        let seconds = now.duration_since(at).as_secs();
        let age = match seconds {
            ..0 => format!("in {}", span(-seconds)),
            0..5 => "just now".to_owned(),
            _ => format!("{} ago", span(seconds)),
        };
        Self { exact: at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(), age }
    }
}

/// What does not work at GitLab, for a banner.
pub(super) struct Trouble {
    pub(super) heading: &'static str,
    pub(super) reason: String,
    pub(super) since: Option<Moment>,
    /// In the middle of what it was noticed.
    pub(super) noticed: &'static str,
    /// What is to be done.
    pub(super) next: &'static str,
}

impl Trouble {
    pub(super) fn of(broken: &Broken, now: Timestamp) -> Self {
        let by_itself = "Gantry keeps retrying; until then everything waits, and nothing is lost.";
        let (heading, next) = match broken {
            Broken { token_rejected: true, .. } => (
                "GitLab rejects the token.",
                "An admin must replace the token; until then everything waits, and nothing is lost.",
            ),
            Broken { rate_limited: true, .. } => ("GitLab is rate limiting Gantry.", by_itself),
            _ => ("GitLab is not responding as expected.", by_itself),
        };
        let reason = broken.reason.trim_end_matches('.').to_owned();
        let since = broken.since.map(|since| Moment::at(since, now));
        Self { heading, reason, since, noticed: noticed(broken.seen_by), next }
    }
}

fn noticed(seen_by: &str) -> &'static str {
    match seen_by {
        "publisher" => "while writing statuses, comments and environments",
        _ => "while looking for changes",
    }
}

/// What did not work at GitLab, and does again.
pub(super) struct PastTrouble {
    pub(super) reason: String,
    /// How long it lasted.
    pub(super) lasted: Option<String>,
    pub(super) ended: Moment,
    pub(super) noticed: &'static str,
}

impl PastTrouble {
    pub(super) fn of(last: &LastTrouble, now: Timestamp) -> Self {
        let lasted = last.since.map(|since| span(last.ended_at.duration_since(since).as_secs()));
        Self {
            reason: last.reason.trim_end_matches('.').to_owned(),
            lasted,
            ended: Moment::at(last.ended_at, now),
            noticed: noticed(last.seen_by),
        }
    }
}

/// A span of time in its two largest units.
pub(super) fn span(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..60 => format!("{seconds} s"),
        60..600 => format!("{minutes} min {} s", seconds % 60),
        600..7_200 => format!("{minutes} min"),
        7_200..172_800 => format!("{hours} h"),
        _ => format!("{days} days"),
    }
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// A text cut to a number of characters.
pub(super) fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let cut: String = text.chars().take(most).collect();
    format!("{cut}…")
}

/// A count of what is counted to 100 at most.
pub(super) fn at_most(count: usize) -> String {
    if count < 100 { count.to_string() } else { "99+".to_owned() }
}

/// A text as one part of an address.
pub(super) fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let age = |seconds| Moment::at(now - jiff::SignedDuration::from_secs(seconds), now).age;
        let ages: Vec<String> =
            [0, 42, 61, 3_000, 9_000, 400_000, -90].into_iter().map(age).collect();
        assert_eq!(
            ages,
            [
                "just now",
                "42 s ago",
                "1 min 1 s ago",
                "50 min ago",
                "2 h ago",
                "4 days ago",
                "in 1 min 30 s"
            ]
        );
        assert_eq!(Moment::at(now, now).exact, "2026-03-01 12:00:00 UTC");
        assert_eq!([size(7), size(1_200), size(2_500_000)], ["7 B", "1.2 kB", "2.5 MB"]);
        assert_eq!((short("abc", 2), encoded("a b/c")), ("ab…".to_owned(), "a+b%2Fc".to_owned()));
    }
}
