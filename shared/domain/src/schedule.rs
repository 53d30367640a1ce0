//! When work that nobody pushed begins: cron patterns in a time zone.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Times that recur: a cron pattern, read in a time zone.
///
/// Where clocks go forward, a fixed time that there is not comes at the first moment after the gap.
/// Where they go back, a fixed time comes once, and `*` and steps go on as time does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Schedule {
    /// Minute, hour, day of the month, month and day of the week: `30 6 * * 1-5`; or `@daily` and
    /// its like. At most once every 15 minutes.
    pub cron: CronPattern,
    /// The time zone by its name in the IANA database, such as `Europe/Berlin`.
    #[serde(default)]
    pub time_zone: TimeZoneName,
}

/// A cron pattern of five fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, with = "String")]
pub struct CronPattern(String);

/// The name of a time zone in the IANA database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, with = "String")]
pub struct TimeZoneName(String);

/// The shortest time between two runs.
const AT_MOST_EVERY: SignedDuration = SignedDuration::from_mins(15);
/// How many times are looked through for two that are too close.
const TIMES_LOOKED_AT: usize = 100;
/// The longest time by which the begin of spread work is put off, and the part of the time to the
/// next that it may be.
const LONGEST_SPREAD: SignedDuration = SignedDuration::from_hours(2);
const PART_OF_THE_TIME: i32 = 4;

impl CronPattern {
    /// The pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TimeZoneName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TimeZoneName {
    fn default() -> Self {
        Self("UTC".to_owned())
    }
}

impl fmt::Display for CronPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TimeZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<CronPattern> for String {
    fn from(pattern: CronPattern) -> Self {
        pattern.0
    }
}

impl From<TimeZoneName> for String {
    fn from(name: TimeZoneName) -> Self {
        name.0
    }
}

impl TryFrom<String> for CronPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let cron = parse(&text).ok_or(
            "Not a cron pattern: use minute, hour, day of the month, month and day of the week, \
             such as 30 6 * * 1-5",
        )?;
        let from = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        let Ok(mut last) = cron.find_next_occurrence(&from, true) else {
            return Err("There is no such time".to_owned());
        };
        // At one minute of the hour, two of them are an hour apart. It is read thousands of times.
        let is_one = |minute: &str| minute.bytes().all(|digit| digit.is_ascii_digit());
        if text.starts_with('@') || text.split(' ').next().is_some_and(is_one) {
            return Ok(Self(text));
        }
        for _ in 0..TIMES_LOOKED_AT {
            let Ok(next) = cron.find_next_occurrence(&last, false) else { break };
            if next.duration_since(&last) < AT_MOST_EVERY {
                return Err("Use at least 15 minutes between two runs".to_owned());
            }
            last = next;
        }
        Ok(Self(text))
    }
}

impl TryFrom<String> for TimeZoneName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match TimeZone::get(&name) {
            // The database finds names in any case, and has one spelling for each.
            Ok(zone) => Ok(Self(zone.iana_name().unwrap_or(&name).to_owned())),
            Err(_) => Err("Not a time zone of the IANA database, such as Europe/Berlin or UTC"),
        }
    }
}

fn parse(text: &str) -> Option<Cron> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(text).ok()
}

impl Schedule {
    /// Every day at this hour, UTC.
    pub fn daily(hour: u8) -> Self {
        let cron = CronPattern(format!("0 {} * * *", hour.min(23)));
        Self { cron, time_zone: TimeZoneName::default() }
    }

    /// The first time after this moment; none where there is no other.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let (cron, at) = (parse(&self.cron.0)?, self.at(after));
        cron.find_next_occurrence(&at, false).ok().map(|next| next.timestamp())
    }

    /// The same, put off by a while that is always the same for `whom`: many that share a schedule
    /// do not begin at once.
    pub fn next_spread(&self, after: Timestamp, whom: &str) -> Option<Timestamp> {
        // A time that has come may be put off, and is still the next.
        let mut from = after - LONGEST_SPREAD;
        loop {
            let time = self.next(from)?;
            let at = time + self.spread(time, whom);
            if at > after {
                return Some(at);
            }
            from = time;
        }
    }

    /// By how much the work of a time is put off.
    fn spread(&self, time: Timestamp, whom: &str) -> SignedDuration {
        let until_next = self.next(time).map_or(LONGEST_SPREAD, |next| next.duration_since(time));
        let most = (until_next / PART_OF_THE_TIME).min(LONGEST_SPREAD);
        let digest = Sha256::digest(whom.as_bytes());
        let number = digest.iter().take(4).fold(0, |number, byte| number * 256 + i64::from(*byte));
        SignedDuration::from_secs(number % most.as_secs().max(1))
    }

    /// For people: `At 06:30, Monday through Friday (Europe/Berlin)`.
    pub fn describe(&self) -> String {
        let words = parse(&self.cron.0).map(|cron| cron.describe()).unwrap_or_default();
        format!("{} ({})", words.trim_end_matches('.'), self.time_zone)
    }

    fn at(&self, moment: Timestamp) -> Zoned {
        moment.to_zoned(TimeZone::get(&self.time_zone.0).unwrap_or(TimeZone::UTC))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schedule(cron: &str, zone: &str) -> Schedule {
        serde_json::from_value(json!({ "cron": cron, "time_zone": zone })).unwrap()
    }

    fn times(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = schedule(cron, zone);
        let mut at: Timestamp = from.parse().unwrap();
        let mut times = vec![];
        for _ in 0..count {
            at = schedule.next(at).unwrap();
            times.push(at.to_string());
        }
        times
    }

    #[test]
    fn a_missing_hour_and_a_doubled_one_come_once() {
        // Berlin's clocks go from 02:00 to 03:00 on 29 March, and from 03:00 to 02:00 on 25 October.
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", 3),
            ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        // What recurs by steps goes on as time does.
        assert_eq!(
            times("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 4),
            [
                "2026-10-25T00:00:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T02:00:00Z",
                "2026-10-25T03:00:00Z"
            ]
        );
        assert_eq!(
            times("@daily", "UTC", "2026-02-28T00:00:00Z", 2),
            ["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"]
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let refused = |cron: &str, zone: &str| {
            let read =
                serde_json::from_value::<Schedule>(json!({ "cron": cron, "time_zone": zone }));
            read.unwrap_err().to_string()
        };
        for cron in ["", "* * *", "61 0 * * *", "0 0 0 * * *", "0 0 * * * 2030", "noon"] {
            assert!(refused(cron, "UTC").starts_with("Not a cron pattern"), "{cron}");
        }
        assert_eq!(refused("0 0 31 2 *", "UTC"), "There is no such time");
        for cron in ["* * * * *", "*/10 * * * *", "0,5 3 * * *", "59 23 * * *,", "50,59 0 * * *"] {
            let said = refused(cron, "UTC");
            assert!(
                said.contains("15 minutes") || said.starts_with("Not a cron"),
                "{cron}: {said}"
            );
        }
        assert!(refused("0 0 * * *", "Mars/Olympus").starts_with("Not a time zone"));
        let unknown = json!({ "cron": "0 0 * * *", "zone": "UTC" });
        assert!(serde_json::from_value::<Schedule>(unknown).is_err());
    }

    #[test]
    fn it_is_written_as_it_was_read_but_for_spaces_and_case() {
        let read: Schedule = serde_json::from_value(
            json!({ "cron": " 0   6 * * * ", "time_zone": "europe/berlin" }),
        )
        .unwrap();
        assert_eq!(json!(read), json!({ "cron": "0 6 * * *", "time_zone": "Europe/Berlin" }));
        assert!(read.describe().contains("Europe/Berlin"), "{}", read.describe());
        assert_eq!(Schedule::daily(3), schedule("0 3 * * *", "UTC"));
    }

    #[test]
    fn a_thousand_stacks_do_not_begin_at_once_and_each_begins_once_a_day() {
        let daily = Schedule::daily(3);
        let midnight: Timestamp = "2026-05-01T00:00:00Z".parse().unwrap();
        let mut minutes = std::collections::BTreeMap::<i64, u32>::new();
        for number in 0..1_000 {
            let whom = format!("stack-{number}");
            let first = daily.next_spread(midnight, &whom).unwrap();
            let after = first.duration_since(midnight) - SignedDuration::from_hours(3);
            assert!((0..7_200).contains(&after.as_secs()), "{after}");
            *minutes.entry(after.as_mins()).or_default() += 1;
            // Asked a moment before and after, it is the same time and then that of the next day.
            let before = first - SignedDuration::from_secs(1);
            assert_eq!(daily.next_spread(before, &whom), Some(first));
            let next = daily.next_spread(first, &whom).unwrap();
            assert_eq!(next.duration_since(first), SignedDuration::from_hours(24));
        }
        assert!(minutes.len() > 100 && minutes.values().all(|count| *count < 40), "{minutes:?}");
    }
}
