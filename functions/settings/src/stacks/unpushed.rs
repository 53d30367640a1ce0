//! What runs for a stack that nobody pushes: the fields about drift and schedules.

use crate::form::Form;
use gantry_domain::{
    drift::{AddressGlob, DriftSchedule, DriftSettings, Tolerated},
    schedule::{CronPattern, Schedule, TimeZoneName},
    stack::{Scheduled, Settings},
};
use std::collections::HashSet;

/// Labels, or assignees, of an issue.
const MOST_NAMES: usize = 20;
/// Patterns of what may differ, and of attributes of each.
const MOST_PATTERNS: usize = 100;
/// Schedules of a stack.
const MOST_SCHEDULES: usize = 20;
/// Characters of a schedule's name.
const LONGEST_NAME: usize = 40;

/// A command for a shell: of a hook, or of a task.
pub(crate) fn command(text: &str) -> Result<String, String> {
    match text {
        _ if text.trim().is_empty() => Err("Must not be empty".to_owned()),
        _ if text.len() > 8192 => Err("Must be at most 8 kB; move it into a script".to_owned()),
        _ if text.contains('\0') => Err("Must not contain a zero character".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// Times that recur: the pattern and the time zone, each with what is wrong with it.
pub(crate) fn schedule(form: &mut Form) -> Option<Schedule> {
    let cron = form.choice::<CronPattern>("cron");
    if cron.is_none() && !form.is_wrong("cron") {
        form.wrong("cron", "Enter a cron pattern, such as 30 6 * * 1-5.");
    }
    let time_zone = form.choice::<TimeZoneName>("time_zone");
    if form.is_wrong("time_zone") {
        return None;
    }
    Some(Schedule { cron: cron?, time_zone: time_zone.unwrap_or_default() })
}

/// How the stack is looked at for drift.
pub(super) fn drift(form: &mut Form) -> DriftSettings {
    form.object("drift", |form| DriftSettings {
        schedule: drift_schedule(form),
        plan: form.choice("plan").unwrap_or_default(),
        issue: form.flag("issue").unwrap_or(false),
        labels: each_once(form.texts("labels", MOST_NAMES, label)),
        assignees: each_once(form.texts("assignees", MOST_NAMES, user)),
        tolerate: form.objects("tolerate", MOST_PATTERNS, tolerated).unwrap_or_default(),
    })
    .unwrap_or_default()
}

fn drift_schedule(form: &mut Form) -> DriftSchedule {
    if form.has_object("schedule") {
        let own = form.object("schedule", |form| {
            let own = form.object("own", schedule);
            if own.is_none() && !form.is_wrong("own") {
                form.wrong("own", "Enter a cron pattern and a time zone.");
            }
            own.flatten()
        });
        return own.flatten().map_or_else(DriftSchedule::default, DriftSchedule::Own);
    }
    let Some(value) = form.value("schedule") else { return DriftSchedule::default() };
    match value.as_str() {
        Some("installation") => DriftSchedule::Installation,
        Some("never") => DriftSchedule::Never,
        _ => {
            form.wrong("schedule", "Must be installation, never, or an object with own");
            DriftSchedule::default()
        }
    }
}

fn each_once(names: Option<Vec<String>>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut names = names.unwrap_or_default();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// GitLab takes several with commas between them.
fn label(text: &str) -> Result<String, String> {
    let text = text.trim();
    let usable = (1..=255).contains(&text.chars().count())
        && !text.contains(|c: char| c == ',' || c.is_control());
    match usable {
        true => Ok(text.to_owned()),
        false => Err("Must have 1 to 255 characters, and no comma".to_owned()),
    }
}

fn user(text: &str) -> Result<String, String> {
    let text = text.trim();
    let name = text.strip_prefix('@').unwrap_or(text);
    let usable = (1..=255).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    match usable {
        true => Ok(name.to_owned()),
        false => Err("Must be the user name of somebody in GitLab, such as ada".to_owned()),
    }
}

fn tolerated(form: &mut Form) -> Option<Tolerated> {
    let address = form.choice::<AddressGlob>("address");
    if address.is_none() && !form.is_wrong("address") {
        form.wrong("address", "Enter an address, such as module.asg.*");
    }
    let glob = |text: &str| AddressGlob::try_from(text.to_owned());
    let check = |text: &str| glob(text).map(String::from).map_err(str::to_owned);
    let attributes = form.texts("attributes", MOST_PATTERNS, check).unwrap_or_default();
    let attributes = attributes.iter().filter_map(|text| glob(text).ok()).collect();
    Some(Tolerated { address: address?, attributes })
}

/// What runs at times of its own.
pub(super) fn schedules(form: &mut Form) -> Vec<Scheduled> {
    let read = form.objects("schedules", MOST_SCHEDULES, scheduled).unwrap_or_default();
    let mut names = HashSet::new();
    for (place, (name, ..)) in read.iter().enumerate() {
        if !name.is_empty() && !names.insert(name.as_str()) {
            let problem = format!("{name} is defined twice");
            form.wrong(&format!("schedules[{place}].name"), problem);
        }
    }
    let scheduled = |(name, when, task): (String, Option<Schedule>, Option<String>)| {
        Some(Scheduled { name, when: when?, task })
    };
    read.into_iter().filter_map(scheduled).collect()
}

/// One of them; a wrong one too, so that the others keep their places.
fn scheduled(form: &mut Form) -> Option<(String, Option<Schedule>, Option<String>)> {
    let name = form.required_text("name", "Enter a name.").unwrap_or_default();
    let is_usual = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.');
    if name.chars().count() > LONGEST_NAME || !name.chars().all(is_usual) {
        form.wrong("name", "Use 1 to 40 letters, digits, spaces, -, _ and .");
    }
    let when = form.object("when", schedule);
    if when.is_none() && !form.is_wrong("when") {
        form.wrong("when", "Enter a cron pattern and a time zone.");
    }
    let task = form.raw_text("task").and_then(|text| match command(&text) {
        Ok(task) => Some(task),
        Err(problem) => {
            form.wrong("task", problem);
            None
        }
    });
    Some((name, when.flatten(), task))
}

/// Says why an issue cannot be had where the code is not in GitLab.
pub(super) fn refuse_elsewhere(form: &mut Form, settings: &Settings) {
    if settings.drift.issue {
        let problem = "Not possible for code outside of GitLab, because it has no issues there";
        form.wrong("drift.issue", problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// What is read, and what is wrong, a line each.
    fn read(body: Value) -> (DriftSettings, Vec<Scheduled>, String) {
        let Value::Object(fields) = body else { panic!() };
        let mut form = Form::new(fields);
        let (drift, schedules) = (drift(&mut form), schedules(&mut form));
        let said = form.finish().into_iter().map(|(field, problem)| format!("{field}: {problem}"));
        (drift, schedules, said.collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn what_is_wrong_is_said_by_its_place() {
        let many: Vec<String> = (0..21).map(|number| format!("user{number}")).collect();
        let (.., said) = read(json!({
            "drift": {
                "schedule": { "own": { "cron": "noon", "time_zone": "Mars", "at": 1 } },
                "plan": "half", "issue": "yes", "labels": ["a,b", ""], "assignees": many,
                "tolerate": [
                    { "attributes": ["tags.*"] },
                    { "address": "a.b", "attributes": [""], "why": "x" },
                    "a.b",
                ],
            },
            "schedules": [
                { "name": "nightly", "when": { "cron": "0 3 * * *" } },
                { "name": "night#2", "when": "daily", "task": " " },
                { "name": "nightly", "when": {}, "task": 3 },
                { "when": { "cron": "* * * * *" } },
            ],
        }));
        insta::assert_snapshot!(said, @r"
        drift.assignees: Has 21 entries; at most 20 are allowed
        drift.issue: Must be true or false, not a string
        drift.labels[0]: Must have 1 to 255 characters, and no comma
        drift.labels[1]: Must have 1 to 255 characters, and no comma
        drift.plan: Must be refresh_only or full
        drift.schedule.own.at: Unknown field; allowed: cron, time_zone
        drift.schedule.own.cron: Not a cron pattern: use minute, hour, day of the month, month and day of the week, such as 30 6 * * 1-5
        drift.schedule.own.time_zone: Not a time zone of the IANA database, such as Europe/Berlin or UTC
        drift.tolerate[0].address: Enter an address, such as module.asg.*
        drift.tolerate[1].attributes[0]: Must not be empty
        drift.tolerate[1].why: Unknown field; allowed: address, attributes
        drift.tolerate[2]: Must be an object, not a string
        schedules[1].name: Use 1 to 40 letters, digits, spaces, -, _ and .
        schedules[1].task: Must not be empty
        schedules[1].when: Must be an object, not a string
        schedules[2].name: nightly is defined twice
        schedules[2].task: Must be a string, not a number
        schedules[2].when.cron: Enter a cron pattern, such as 30 6 * * 1-5.
        schedules[3].name: Enter a name.
        schedules[3].when.cron: Use at least 15 minutes between two runs
        ");
        for (wrong, problem) in [
            (json!("daily"), "drift.schedule: Must be installation, never, or an object with own"),
            (json!("own"), "drift.schedule: Must be installation, never, or an object with own"),
            (json!({}), "drift.schedule.own: Enter a cron pattern and a time zone."),
            (
                json!({ "own": {} }),
                "drift.schedule.own.cron: Enter a cron pattern, such as 30 6 * * 1-5.",
            ),
        ] {
            let (.., said) = read(json!({ "drift": { "schedule": wrong } }));
            assert_eq!(said, problem, "{wrong}");
        }
    }

    #[test]
    fn what_is_right_is_taken_as_the_record_has_it() {
        let drift = json!({
            "schedule": { "own": { "cron": "30 6 * * 1-5", "time_zone": "Europe/Berlin" } },
            "plan": "full", "issue": true, "labels": ["drift", "infra: eu"],
            "assignees": ["ada", "grace.h"],
            "tolerate": [{ "address": "module.asg.*", "attributes": ["desired", "tags.*"] }],
        });
        let schedules = json!([
            { "name": "nightly", "when": { "cron": "0 3 * * *", "time_zone": "UTC" }, "task": null },
            {
                "name": "Rotate keys", "when": { "cron": "0 4 1 * *", "time_zone": "UTC" },
                "task": "terraform state list\n",
            },
        ]);
        let (read_drift, read_schedules, said) =
            read(json!({ "drift": drift, "schedules": schedules }));
        assert_eq!((json!(read_drift), json!(read_schedules)), (drift, schedules));
        assert_eq!(said, "");
        let (usual, none, said) = read(json!({ "drift": null }));
        assert_eq!((usual, none, said), (DriftSettings::default(), vec![], String::new()));
        let (twice, ..) =
            read(json!({ "drift": { "labels": ["a", " a", "b"], "assignees": ["@ada", "ada"] } }));
        assert_eq!(
            (twice.labels, twice.assignees),
            (vec!["a".to_owned(), "b".to_owned()], vec!["ada".to_owned()])
        );
        let (never, ..) = read(json!({ "drift": { "schedule": "never" } }));
        assert_eq!(never.schedule, DriftSchedule::Never);
    }

    #[test]
    fn code_elsewhere_has_no_issues() {
        let (drift, schedules, _) = read(json!({
            "drift": { "issue": true },
            "schedules": [{ "name": "b", "when": { "cron": "0 3 * * *" } }],
        }));
        assert_eq!((drift.issue, schedules.len()), (true, 1));
        let mut form = Form::new(serde_json::Map::new());
        refuse_elsewhere(&mut form, &Settings { drift, schedules, ..Settings::default() });
        let fields: Vec<String> = form.finish().into_keys().collect();
        assert_eq!(fields, ["drift.issue"]);
    }
}
