//! How long the phases of a stack's runs may take.

use jiff::{SignedDuration, Span, SpanRelativeTo, SpanRound, Unit, fmt::friendly::SpanPrinter};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, str::FromStr};

/// How long phases may take, from the moment the phase starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct Timeouts {
    /// Init and plan together, in seconds, or as a text such as `90m` or `1h 30m`. At least a
    /// minute, and together with the apply at most 7 hours; an hour by default.
    pub plan: TimeLimit,
    /// An apply, in seconds, or as a text such as `90m` or `1h 30m`. At least a minute, and
    /// together with the plan at most 7 hours; two hours by default. Destroying what a test created
    /// may take as long again.
    pub apply: TimeLimit,
    /// How long a run waits for confirmation before it is discarded, in seconds, or as a text such
    /// as `3 days`. From an hour to seven days; seven days by default. It counts from when the run
    /// began to wait.
    pub unconfirmed: TimeLimit,
}

impl Default for Timeouts {
    fn default() -> Self {
        let hours = TimeLimit::of_hours;
        Self { plan: hours(1), apply: hours(2), unconfirmed: hours(7 * 24) }
    }
}

/// A time in seconds, which people may also write as `90m`, `1h 30m` or `7 days`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "Typed")]
pub struct TimeLimit(u32);

impl TimeLimit {
    /// So many minutes.
    pub const fn of_minutes(minutes: u32) -> Self {
        Self(minutes * 60)
    }

    /// So many hours.
    pub const fn of_hours(hours: u32) -> Self {
        Self::of_minutes(hours * 60)
    }

    /// So many seconds.
    pub const fn of_seconds(seconds: u32) -> Self {
        Self(seconds)
    }

    /// In seconds.
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// As a duration.
    pub const fn duration(self) -> SignedDuration {
        SignedDuration::from_secs(self.0 as i64)
    }
}

/// A text that is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Use a duration such as 90m, 1h 30m or 7 days")]
pub struct InvalidTimeLimit;

impl FromStr for TimeLimit {
    type Err = InvalidTimeLimit;

    fn from_str(text: &str) -> Result<Self, InvalidTimeLimit> {
        let span: Span = text.parse().map_err(|_| InvalidTimeLimit)?;
        let time = span.to_duration(SpanRelativeTo::days_are_24_hours());
        let seconds = time.map_err(|_| InvalidTimeLimit)?.as_secs();
        u32::try_from(seconds).map(Self).map_err(|_| InvalidTimeLimit)
    }
}

/// As people say it: `1 hour 30 minutes`.
impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use jiff::fmt::friendly::{Designator, Spacing};
        let in_days = SpanRound::new().largest(Unit::Day).days_are_24_hours();
        let span = Span::new().seconds(self.0).round(in_days).map_err(|_| fmt::Error)?;
        let printer = SpanPrinter::new()
            .designator(Designator::Verbose)
            .spacing(Spacing::BetweenUnitsAndDesignators);
        f.write_str(&printer.span_to_string(&span))
    }
}

impl From<TimeLimit> for u32 {
    fn from(limit: TimeLimit) -> Self {
        limit.0
    }
}

/// As it is sent.
#[derive(Deserialize)]
#[serde(untagged, expecting = "Use a duration such as 90m, 1h 30m or 7 days")]
enum Typed {
    Seconds(u32),
    Text(String),
}

impl TryFrom<Typed> for TimeLimit {
    type Error = InvalidTimeLimit;

    fn try_from(typed: Typed) -> Result<Self, InvalidTimeLimit> {
        match typed {
            Typed::Seconds(seconds) => Ok(Self(seconds)),
            Typed::Text(text) => text.parse(),
        }
    }
}

impl JsonSchema for TimeLimit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TimeLimit".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        if generator.contract().is_serialize() {
            json_schema!({ "type": "integer", "minimum": 60, "description": "In seconds." })
        } else {
            json_schema!({
                "type": ["integer", "string"],
                "minimum": 60,
                "description": "In seconds, or a text such as `90m`, `1h 30m` or `7 days`.",
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_people_write_it_and_told_as_they_say_it() {
        for (typed, seconds, said) in [
            ("60m", 3_600, "1 hour"),
            ("1h 30m", 5_400, "1 hour 30 minutes"),
            ("1h30m", 5_400, "1 hour 30 minutes"),
            ("2 hours", 7_200, "2 hours"),
            ("7 days", 604_800, "7 days"),
            ("1d 1s", 86_401, "1 day 1 second"),
        ] {
            let limit: TimeLimit = typed.parse().unwrap();
            assert_eq!((limit.seconds(), limit.to_string().as_str()), (seconds, said), "{typed}");
            assert_eq!(said.parse(), Ok(limit));
        }
        for wrong in ["", "60", "-1h", "soon", "1 month", "200y", "1h 30"] {
            assert_eq!(wrong.parse::<TimeLimit>(), Err(InvalidTimeLimit), "{wrong}");
        }
    }

    #[test]
    fn a_record_has_seconds_and_those_of_earlier_versions_are_read() {
        let earlier = r#"{"claim": 600, "plan": 3600, "apply": 7200, "unconfirmed": 604800}"#;
        let read: Timeouts = serde_json::from_str(earlier).unwrap();
        assert_eq!(read, Timeouts::default());
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(written, r#"{"plan":3600,"apply":7200,"unconfirmed":604800}"#);
    }
}
