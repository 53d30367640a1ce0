//! Drift and schedules in the form of a stack: its fields, and their way into the JSON that the API
//! takes.

use super::{
    fields::{Fields, Row},
    forms::FormView,
};
use gantry_domain::schedule::{CronPattern, Schedule, TimeZoneName};
use serde_json::{Value, json};

const DRIFT_CRON: &str = "drift.schedule.own.cron";
const DRIFT_ZONE: &str = "drift.schedule.own.time_zone";

/// `drift`, as it was typed.
pub(super) fn drift(fields: &Fields) -> Value {
    let cron = fields.value(DRIFT_CRON);
    let schedule = match fields.text("drift.schedule") {
        "" if cron.is_null() => json!("installation"),
        // A schedule of its own is known by its fields, where nobody has chosen.
        "" | "own" => json!({ "own": { "cron": cron, "time_zone": fields.value(DRIFT_ZONE) } }),
        word => word.into(),
    };
    json!({
        "schedule": schedule,
        "plan": fields.value("drift.plan"),
        "issue": fields.has("drift.issue"),
        "labels": fields.lines("drift.labels"),
        "assignees": fields.lines("drift.assignees"),
        "tolerate": tolerated(fields),
    })
}

fn tolerated(fields: &Fields) -> Vec<Value> {
    let rows = fields.rows("drift.tolerate", |row| is_filled(row, &["address", "attributes"]));
    let read = |row: Value| {
        let lines = text(&row, "attributes").lines().map(str::trim);
        let attributes: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        json!({ "address": typed(&row, "address"), "attributes": attributes })
    };
    rows.into_iter().map(read).collect()
}

/// `schedules`, as they were typed. A command is one, on one or more lines.
pub(super) fn schedules(fields: &Fields) -> Value {
    let rows = fields.rows("schedules", |row| is_filled(row, &["name", "when.cron", "task"]));
    let read = |row: Value| {
        let task = match text(&row, "task") {
            none if none.trim().is_empty() => Value::Null,
            task => task.into(),
        };
        json!({
            "name": typed(&row, "name"),
            "when": { "cron": typed(&row, "when.cron"), "time_zone": typed(&row, "when.time_zone") },
            "task": task,
        })
    };
    rows.into_iter().map(read).collect()
}

fn is_filled(row: &Row<'_>, parts: &[&str]) -> bool {
    parts.iter().any(|part| !row.text(part).trim().is_empty())
}

fn text<'a>(row: &'a Value, part: &str) -> &'a str {
    row.get(part).and_then(Value::as_str).unwrap_or_default()
}

/// What was typed, or null.
fn typed(row: &Value, part: &str) -> Value {
    match text(row, part).trim() {
        "" => Value::Null,
        text => text.into(),
    }
}

/// The rows that the form shows, each table with one row more.
pub(super) struct UnpushedFields {
    /// The schedule of looks for drift, in words.
    pub(super) drift_words: Option<String>,
    pub(super) tolerated: Vec<ToleratedRow>,
    pub(super) schedules: Vec<ScheduleRow>,
}

/// What may differ.
pub(super) struct ToleratedRow {
    pub(super) at: usize,
    pub(super) address: String,
    pub(super) attributes: String,
    /// How many lines the field of attributes has.
    pub(super) lines: usize,
    pub(super) address_error: Option<String>,
    pub(super) attributes_error: Option<String>,
}

/// What runs at times of its own.
pub(super) struct ScheduleRow {
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) cron: String,
    pub(super) time_zone: String,
    pub(super) task: String,
    /// How many lines the field of the command has.
    pub(super) lines: usize,
    /// When it runs, in words.
    pub(super) words: Option<String>,
    pub(super) name_error: Option<String>,
    pub(super) cron_error: Option<String>,
    pub(super) zone_error: Option<String>,
    pub(super) task_error: Option<String>,
}

impl UnpushedFields {
    pub(super) fn of(form: &FormView) -> Self {
        let rows = |name: &str| form.value(name).and_then(Value::as_array).cloned();
        let tolerated = rows("drift.tolerate").unwrap_or_default();
        let tolerated = tolerated.iter().chain([&Value::Null]).enumerate();
        let schedules = rows("schedules").unwrap_or_default();
        let schedules = schedules.iter().chain([&Value::Null]).enumerate();
        Self {
            drift_words: words(&form.text(DRIFT_CRON), &form.text(DRIFT_ZONE)),
            tolerated: tolerated.map(|(at, row)| ToleratedRow::of(form, at, row)).collect(),
            schedules: schedules.map(|(at, row)| ScheduleRow::of(form, at, row)).collect(),
        }
    }
}

impl ToleratedRow {
    fn of(form: &FormView, at: usize, row: &Value) -> Self {
        let error = |part: &str| form.error(&format!("drift.tolerate[{at}].{part}"));
        let attributes = row.get("attributes").and_then(Value::as_array);
        let attributes: Vec<&str> =
            attributes.into_iter().flatten().filter_map(Value::as_str).collect();
        Self {
            at,
            address: text(row, "address").to_owned(),
            lines: attributes.len().clamp(1, 15),
            attributes: attributes.join("\n"),
            address_error: error("address"),
            attributes_error: error("attributes"),
        }
    }
}

impl ScheduleRow {
    fn of(form: &FormView, at: usize, row: &Value) -> Self {
        let error = |part: &str| form.error(&format!("schedules[{at}].{part}"));
        let when = row.get("when").unwrap_or(&Value::Null);
        let (cron, time_zone) = (text(when, "cron").to_owned(), text(when, "time_zone").to_owned());
        let task = text(row, "task").to_owned();
        Self {
            at,
            name: text(row, "name").to_owned(),
            words: words(&cron, &time_zone),
            cron,
            time_zone,
            lines: task.split('\n').count().clamp(1, 15),
            task,
            name_error: error("name"),
            cron_error: error("when.cron"),
            zone_error: error("when.time_zone"),
            task_error: error("task"),
        }
    }
}

/// The schedule in words, where it is one.
fn words(cron: &str, time_zone: &str) -> Option<String> {
    let cron = CronPattern::try_from(cron.to_owned()).ok()?;
    let time_zone = match time_zone {
        "" => TimeZoneName::default(),
        name => TimeZoneName::try_from(name.to_owned()).ok()?,
    };
    Some(Schedule { cron, time_zone }.describe())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{form::Errors, refusal::Refusal};

    #[test]
    fn what_is_typed_becomes_what_the_api_takes() {
        let fields = Fields::read(
            b"drift.schedule=own&drift.schedule.own.cron=30+6+*+*+1-5&drift.schedule.own.time_zone=\
              &drift.plan=full&drift.issue=on&drift.labels=drift%0D%0A+eu+%0D%0A&drift.assignees=@ada\
              &drift.tolerate[0].address=module.asg.*&drift.tolerate[0].attributes=tags.*%0D%0Asize\
              &drift.tolerate[1].address=&drift.tolerate[1].attributes=+\
              &drift.tolerate[2].address=&drift.tolerate[2].attributes=x\
              &schedules[0].name=nightly&schedules[0].when.cron=0+3+*+*+*\
              &schedules[0].when.time_zone=Europe/Berlin&schedules[0].task=\
              &schedules[1].name=&schedules[1].when.cron=&schedules[1].when.time_zone=UTC\
              &schedules[1].task=+&schedules[4].task=one%0D%0Atwo",
        );
        assert_eq!(
            drift(&fields),
            json!({
                "schedule": { "own": { "cron": "30 6 * * 1-5", "time_zone": null } },
                "plan": "full", "issue": true, "labels": ["drift", "eu"], "assignees": ["@ada"],
                "tolerate": [
                    { "address": "module.asg.*", "attributes": ["tags.*", "size"] },
                    { "address": null, "attributes": ["x"] },
                ],
            })
        );
        assert_eq!(
            schedules(&fields),
            json!([
                {
                    "name": "nightly", "task": null,
                    "when": { "cron": "0 3 * * *", "time_zone": "Europe/Berlin" },
                },
                { "name": null, "when": { "cron": null, "time_zone": null }, "task": "one\ntwo" },
            ])
        );
        for (typed, schedule) in [
            ("", json!("installation")),
            ("drift.schedule=never", json!("never")),
            ("drift.schedule=installation&drift.schedule.own.cron=1", json!("installation")),
            ("drift.schedule=own", json!({ "own": { "cron": null, "time_zone": null } })),
            ("drift.schedule.own.cron=1", json!({ "own": { "cron": "1", "time_zone": null } })),
        ] {
            let read = drift(&Fields::read(typed.as_bytes()));
            assert_eq!(read["schedule"], schedule, "{typed}");
        }
    }

    #[test]
    fn each_table_shows_what_is_there_what_is_wrong_and_one_row_more() {
        let Value::Object(values) = json!({
            "drift": {
                "schedule": { "own": { "cron": "30 6 * * 1-5", "time_zone": "Europe/Berlin" } },
                "tolerate": [{ "address": "a.b", "attributes": ["x", "y"] }],
            },
            "schedules": [
                { "name": "nightly", "when": { "cron": "0 3 * * *", "time_zone": null } },
                { "name": "x", "when": { "cron": "noon" }, "task": "one\ntwo" },
            ],
        }) else {
            panic!()
        };
        let errors = Errors::from([
            ("drift.tolerate[0].attributes[1]".to_owned(), "No".to_owned()),
            ("schedules[1].when.cron".to_owned(), "Not a cron pattern".to_owned()),
        ]);
        let form = FormView::refused(values, &Refusal::fields(errors));
        let shown = UnpushedFields::of(&form);
        let drift = shown.drift_words.unwrap();
        assert!(drift.ends_with("(Europe/Berlin)"), "{drift}");
        let [tolerated, spare] = &shown.tolerated[..] else { panic!() };
        assert_eq!((tolerated.attributes.as_str(), tolerated.lines), ("x\ny", 2));
        assert_eq!(tolerated.attributes_error.as_deref(), Some("line 2: No"));
        assert_eq!((spare.at, spare.address.as_str(), spare.lines), (1, "", 1));
        let [nightly, wrong, spare] = &shown.schedules[..] else { panic!() };
        assert!(nightly.words.as_ref().is_some_and(|words| words.ends_with("(UTC)")));
        assert_eq!((wrong.words.as_ref(), wrong.lines), (None, 2));
        assert_eq!(wrong.cron_error.as_deref(), Some("Not a cron pattern"));
        assert_eq!((nightly.cron_error.as_ref(), spare.at), (None, 2));
    }
}
