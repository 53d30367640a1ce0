//! Metrics, as CloudWatch takes them out of a function's log: one line of its embedded metric
//! format each.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! They are for graphs and alarms; whatever explains one event is a log line. Nothing is written
//! where [`start`] was not called: on one machine and in tests.

use crate::Clock;
use serde_json::{Map, Value, json};
use std::{io::Write as _, sync::OnceLock, time::Duration};

const NAMESPACE: &str = "Gantry";
/// The dimension of all of them: several installations can share an account.
const INSTALLATION: &str = "Installation";

static STARTED: OnceLock<String> = OnceLock::new();

/// Writes metrics from now on, for the installation of this name.
pub fn start(installation: String) {
    // The first one stays.
    let _again = STARTED.set(installation);
}

/// A number of things that happened just now.
pub fn count(name: &'static str, how_many: u64) {
    write(name, "Count", json!(how_many), None);
}

/// The same, told apart by a property of a few values.
pub fn count_of(name: &'static str, property: &'static str, value: &str, how_many: usize) {
    if how_many > 0 {
        write(name, "Count", json!(how_many), Some((property, value)));
    }
}

/// How many there are now.
pub fn level(name: &'static str, how_many: i64) {
    write(name, "None", json!(how_many), None);
}

/// The same, told apart by a property of a few values.
pub fn level_of(name: &'static str, property: &'static str, value: &str, how_many: usize) {
    write(name, "None", json!(how_many), Some((property, value)));
}

/// How long something took, in milliseconds.
pub fn time(name: &'static str, took: Duration) {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    write(name, "Milliseconds", json!(millis), None);
}

fn write(name: &str, unit: &str, value: Value, property: Option<(&str, &str)>) {
    let Some(installation) = STARTED.get() else { return };
    let now = Clock::system().now().as_millisecond();
    let line = line(installation, now, name, unit, value, property);
    // A log that cannot be written to is no reason to fail.
    let _lost = writeln!(std::io::stdout().lock(), "{line}");
}

fn line(
    installation: &str,
    now: i64,
    name: &str,
    unit: &str,
    value: Value,
    property: Option<(&str, &str)>,
) -> Value {
    let mut dimensions = vec![INSTALLATION];
    dimensions.extend(property.map(|(property, _)| property));
    let mut line = Map::new();
    let metrics = json!([{
        "Namespace": NAMESPACE,
        "Dimensions": [dimensions],
        "Metrics": [{"Name": name, "Unit": unit}],
    }]);
    line.insert("_aws".to_owned(), json!({"Timestamp": now, "CloudWatchMetrics": metrics}));
    line.insert(INSTALLATION.to_owned(), json!(installation));
    if let Some((property, value)) = property {
        line.insert(property.to_owned(), json!(value));
    }
    line.insert(name.to_owned(), value);
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_dimensions_and_holds_their_values() {
        let line = line("gantry", 7, "RunsEnded", "Count", json!(1), Some(("State", "finished")));
        assert_eq!(
            line,
            json!({
                "_aws": {"Timestamp": 7, "CloudWatchMetrics": [{
                    "Namespace": "Gantry",
                    "Dimensions": [["Installation", "State"]],
                    "Metrics": [{"Name": "RunsEnded", "Unit": "Count"}],
                }]},
                "Installation": "gantry", "State": "finished", "RunsEnded": 1,
            })
        );
    }
}
