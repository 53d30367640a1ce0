//! What states, kinds, counts and times are called for people.

use crate::answers::{Delta, Kind, Purpose, RunSummary, State};
use jiff::Timestamp;

/// What the state of a run is called that has finished: the API has one word for all of them.
const FINISHED: [&str; 7] =
    ["applied", "no changes", "planned", "passed", "drifted", "no drift", "done"];

/// Where a run is.
pub(crate) fn state(run: &RunSummary) -> &'static str {
    match run.state {
        State::Queued => "Queued",
        State::Preparing => "Preparing",
        State::Initializing => "Initializing",
        State::Planning => "Planning",
        State::Unconfirmed => "Needs confirmation",
        State::Confirmed => "Confirmed",
        State::Applying if run.is_task() => "Running",
        State::Applying => "Applying",
        State::Destroying => "Destroying",
        State::Testing => "Testing",
        State::Finished => match run.kind {
            _ if run.module => "Passed",
            _ if run.has_drifted() => "Drifted",
            _ if run.is_drift() => "No drift",
            _ if run.is_task() => "Done",
            Kind::Proposed => "Planned",
            Kind::Test => "Passed",
            _ if run.applied => "Applied",
            _ if run.delta.is_none_or(|delta| delta == Delta::default()) => "No changes",
            _ => "Finished",
        },
        State::Failed => "Failed",
        State::Stopped => "Stopped",
        State::Canceled => "Canceled",
        State::Discarded => "Discarded",
        State::Other => "(unknown to this client)",
    }
}

/// What a run is for.
pub(crate) fn kind(run: &RunSummary) -> &'static str {
    match run.kind {
        _ if run.module => "Module tests",
        _ if run.is_drift() => "Drift check",
        _ if run.is_task() => "Task",
        Kind::Proposed => "Preview",
        Kind::Tracked => "Deploy",
        Kind::Test => "Test",
        Kind::Other => "(unknown to this client)",
    }
}

/// The API's words for states, by those or by what people read: `Needs confirmation, failed`.
pub(crate) fn asked_states(text: &str) -> String {
    let word = |word: &str| match word.trim().to_lowercase().as_str() {
        "needs confirmation" => "unconfirmed".to_owned(),
        "running" => "applying".to_owned(),
        word if FINISHED.contains(&word) => "finished".to_owned(),
        word => word.to_owned(),
    };
    text.split(',').map(word).collect::<Vec<_>>().join(",")
}

/// The API's word for why stacks want attention, by that or by what the list of stacks says.
pub(crate) fn asked_matter(text: &str) -> String {
    match text.trim().to_lowercase().as_str() {
        "needs confirmation" => "unconfirmed".to_owned(),
        "deploy in progress" | "applying" => "running".to_owned(),
        word => word.to_owned(),
    }
}

/// What a run is for that nobody pushed.
pub(crate) fn purpose(purpose: &Purpose) -> String {
    match purpose {
        Purpose::Drift => "looks for drift".to_owned(),
        Purpose::Schedule { name } => format!("schedule {name}"),
        Purpose::Task { schedule: Some(name), .. } => format!("task of the schedule {name}"),
        Purpose::Task { schedule: None, .. } => "task".to_owned(),
        Purpose::Replan => "planned again after an apply".to_owned(),
        Purpose::Other => "(unknown to this client)".to_owned(),
    }
}

/// The API's word for it, by that or by what people read.
pub(crate) fn asked_purpose(text: &str) -> String {
    match text.trim().to_lowercase().as_str() {
        "drift check" => "drift".to_owned(),
        word => word.to_owned(),
    }
}

/// How a run finished is asked for, which the API's words do not tell.
pub(crate) fn is_asked_how_it_finished(text: &str) -> bool {
    text.split(',').any(|word| FINISHED.contains(&word.trim().to_lowercase().as_str()))
}

/// The API's word for what a run is for, by that or by what people read.
pub(crate) fn asked_kind(text: &str) -> String {
    match text.trim().to_lowercase().as_str() {
        "deploy" => "tracked".to_owned(),
        "preview" => "proposed".to_owned(),
        word => word.to_owned(),
    }
}

/// What a plan would do, in Terraform's order: `1 to add, 0 to change, 2 to destroy`.
pub(crate) fn to_do(delta: Delta) -> String {
    counts(
        delta,
        ["to add", "to change", "to destroy", "to import", "to move", "to forget", "to invoke"],
    )
}

/// What an apply did: `1 added, 0 changed, 2 destroyed`.
pub(crate) fn did(delta: Delta) -> String {
    counts(delta, ["added", "changed", "destroyed", "imported", "moved", "forgotten", "invoked"])
}

/// What is said of checks behind these counts: `, 1 check failed`, and nothing where none did.
pub(crate) fn and_failed_checks(run: &RunSummary) -> String {
    match run.failing_checks {
        0 => String::new(),
        count => format!(", {} failed", counted(count, "check")),
    }
}

fn counts(delta: Delta, words: [&str; 7]) -> String {
    if delta == Delta::default() {
        return "no changes".to_owned();
    }
    let numbers = [
        delta.add,
        delta.change,
        delta.destroy,
        delta.import,
        delta.moved,
        delta.forget,
        delta.invoke,
    ];
    let counts = numbers.into_iter().zip(words).enumerate();
    let shown = counts.filter(|(at, (count, _))| *at < 3 || *count > 0);
    let mut shown: Vec<String> =
        shown.map(|(_, (count, word))| format!("{count} {word}")).collect();
    if delta.outputs > 0 {
        shown.push(counted(delta.outputs, "output"));
    }
    shown.join(", ")
}

/// The name of the program that planned, by the API's word for it.
pub(crate) fn tool(word: Option<&str>) -> &'static str {
    match word {
        Some("opentofu") => "OpenTofu",
        _ => "Terraform",
    }
}

/// `1 warning`, `2 warnings`.
pub(crate) fn counted(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// Bytes, for people.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// How long ago: `3 min ago`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    match now.duration_since(at).as_secs() {
        ..5 => "just now".to_owned(),
        seconds => format!("{} ago", span(seconds.unsigned_abs())),
    }
}

/// A span of time, as exactly as anybody wants to know.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..600 => format!("{} min {} s", seconds / 60, seconds % 60),
        600..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The time now, for what is said to people.
#[expect(clippy::disallowed_methods, reason = "the one place that asks for the time here")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::RUNS_HELP;

    #[test]
    fn what_is_printed_can_be_asked_for() {
        let run = |kind: &str, state: &str, applied: bool| -> RunSummary {
            serde_json::from_value(serde_json::json!({
                "id": "r-1", "number": 6, "stack": "network", "type": kind, "state": state,
                "commit": "4f1c2ab09d3e57f6a8b1c0d2e3f405162738495a", "git_ref": "main",
                "reason": "", "by": null, "delta": null, "applied": applied, "summary": null,
                "created_at": "2026-03-02T09:30:00Z", "since": "2026-03-02T09:30:00Z", "page": null,
            }))
            .unwrap()
        };
        let states = [
            "queued",
            "preparing",
            "initializing",
            "planning",
            "unconfirmed",
            "confirmed",
            "applying",
            "destroying",
            "testing",
            "finished",
            "failed",
            "stopped",
            "canceled",
            "discarded",
        ];
        for word in states {
            for (kind, applied) in
                [("tracked", true), ("tracked", false), ("proposed", false), ("test", true)]
            {
                let shown = state(&run(kind, word, applied));
                assert_eq!(asked_states(shown), word, "{shown}");
                assert_eq!(is_asked_how_it_finished(shown), word == "finished", "{shown}");
            }
            assert_eq!(asked_states(word), word);
            assert!(RUNS_HELP.contains(word), "{word} is not in the help");
        }
        assert_eq!(asked_states("Needs confirmation, active"), "unconfirmed,active");
        for word in ["tracked", "proposed", "test"] {
            let shown = kind(&run(word, "queued", false));
            assert_eq!([asked_kind(shown), asked_kind(word)], [word, word]);
        }
        let look =
            RunSummary { purpose: Some(Purpose::Drift), ..run("proposed", "finished", false) };
        let command = "true".to_owned();
        let task = Purpose::Task { command, schedule: None };
        let task = RunSummary { purpose: Some(task), ..run("tracked", "finished", false) };
        let delta = Some(Delta { change: 1, ..Delta::default() });
        let drifted = RunSummary { delta, ..look.clone() };
        for (run, said) in [(&look, "No drift"), (&drifted, "Drifted"), (&task, "Done")] {
            assert_eq!(state(run), said);
            assert_eq!(asked_states(said), "finished");
            assert!(RUNS_HELP.contains(&said.to_lowercase()), "{said} is not in the help");
        }
        let running = RunSummary { state: State::Applying, ..task.clone() };
        assert_eq!(asked_states(state(&running)), "applying");
        for (run, word) in [(&look, "drift"), (&task, "task")] {
            assert_eq!([asked_purpose(kind(run)), asked_purpose(word)], [word, word]);
        }
    }

    #[test]
    fn counts_come_in_terraforms_order() {
        let delta = Delta { add: 1, destroy: 2, import: 3, outputs: 1, ..Delta::default() };
        assert_eq!(to_do(delta), "1 to add, 0 to change, 2 to destroy, 3 to import, 1 output");
        assert_eq!(did(delta), "1 added, 0 changed, 2 destroyed, 3 imported, 1 output");
        assert_eq!(to_do(Delta::default()), "no changes");
        assert_eq!([counted(1, "warning"), counted(2, "warning")], ["1 warning", "2 warnings"]);
    }

    #[test]
    fn times_are_for_people() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let ago = |seconds| ago(now - jiff::SignedDuration::from_secs(seconds), now);
        assert_eq!(
            [-90, 0, 42, 61, 3_000, 9_000, 400_000].map(ago),
            [
                "just now",
                "just now",
                "42 s ago",
                "1 min 1 s ago",
                "50 min ago",
                "2 h ago",
                "4 days ago"
            ]
        );
    }
}
