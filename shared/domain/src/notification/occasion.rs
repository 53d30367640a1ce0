//! What a notification is about: one thing in one state, as a text that is the same for whoever
//! notices it.

use super::NotificationEvent;
use crate::{
    EventId, RunId, StackId,
    ids::{InvalidId, is_key, short_digest},
    run::{Run, RunState, RunType},
};
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One thing in one state. Written as `failed.<run>`; nothing in it needs to be encoded anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Occasion {
    /// This run needs confirmation.
    WaitsForPerson(RunId),
    /// This run failed.
    Failed(RunId),
    /// This run has blocked its stack.
    Blocked(RunId),
    /// Something differs from what was applied.
    Drifted {
        /// The stack.
        stack: StackId,
        /// Since when, in milliseconds.
        since: i64,
    },
    /// This run was applied.
    Applied(RunId),
    /// GitLab does not work.
    IntegrationBroken {
        /// Since when, in milliseconds.
        since: i64,
    },
    /// The token for GitLab is near its end.
    TokenExpires {
        /// The day on which it expires.
        on: Date,
        /// How near: that many days are left, or fewer.
        within: u16,
    },
    /// Somebody tries the target.
    Test(String),
}

/// So many days before a token's end it is told, each time once.
const DAYS_BEFORE: [u16; 3] = [1, 7, 14];

impl Occasion {
    /// That something differs since a moment.
    pub fn drifted(stack: &StackId, since: Timestamp) -> Self {
        Self::Drifted { stack: stack.clone(), since: since.as_millisecond() }
    }

    /// That GitLab does not work since a moment.
    pub fn integration_broken(since: Timestamp) -> Self {
        Self::IntegrationBroken { since: since.as_millisecond() }
    }

    /// That a token expires on a day, when that is so many days away; none while it is far away.
    pub fn token_expires(on: &str, days_left: i32) -> Option<Self> {
        let within = DAYS_BEFORE.into_iter().find(|days| days_left <= i32::from(*days))?;
        Some(Self::TokenExpires { on: on.parse().ok()?, within })
    }

    /// That somebody tries a target, with this request.
    pub fn test(request: &EventId) -> Self {
        Self::Test(short_digest(&["test", request.as_str()]))
    }

    /// What it is; none where somebody only tries.
    pub fn event(&self) -> Option<NotificationEvent> {
        Some(match self {
            Self::WaitsForPerson(_) => NotificationEvent::WaitsForPerson,
            Self::Failed(_) => NotificationEvent::Failed,
            Self::Blocked(_) => NotificationEvent::Blocked,
            Self::Drifted { .. } => NotificationEvent::Drifted,
            Self::Applied(_) => NotificationEvent::Applied,
            Self::IntegrationBroken { .. } => NotificationEvent::IntegrationBroken,
            Self::TokenExpires { .. } => NotificationEvent::TokenExpires,
            Self::Test(_) => return None,
        })
    }

    /// Its word: the event's, or `test`.
    pub fn word(&self) -> String {
        self.event().map_or_else(|| TEST.to_owned(), |event| event.to_string())
    }

    /// It is about a stack.
    pub fn is_of_stack(&self) -> bool {
        self.event().is_some_and(NotificationEvent::is_of_stack)
    }

    /// The run that it names.
    pub fn run(&self) -> Option<&RunId> {
        match self {
            Self::WaitsForPerson(run)
            | Self::Failed(run)
            | Self::Blocked(run)
            | Self::Applied(run) => Some(run),
            _ => None,
        }
    }
}

const TEST: &str = "test";

/// What is told of a run as it is now. Previews are shown in GitLab, and a module's tests by its run.
pub fn of_run(run: &Run) -> Option<Occasion> {
    let is_deploy = run.run_type == RunType::Tracked;
    match run.state {
        RunState::Unconfirmed => Some(Occasion::WaitsForPerson(run.id.clone())),
        RunState::Failed if is_deploy || run.is_drift() => Some(Occasion::Failed(run.id.clone())),
        RunState::Finished if is_deploy && run.applied && !run.module && run.task().is_none() => {
            Some(Occasion::Applied(run.id.clone()))
        }
        _ => None,
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.word())?;
        match self {
            Self::WaitsForPerson(run)
            | Self::Failed(run)
            | Self::Blocked(run)
            | Self::Applied(run) => run.fmt(f),
            Self::Drifted { stack, since } => write!(f, "{stack}.{since}"),
            Self::IntegrationBroken { since } => since.fmt(f),
            Self::TokenExpires { on, within } => write!(f, "{on}.{within}"),
            Self::Test(key) => f.write_str(key),
        }
    }
}

impl FromStr for Occasion {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // One text for each: it is the key of what became of it.
        let read = read(text).filter(|read| read.to_string() == text);
        let rule = "use an ID from the list of notifications";
        read.ok_or_else(|| InvalidId::new("notification", rule))
    }
}

fn read(text: &str) -> Option<Occasion> {
    let (word, thing) = text.split_once('.')?;
    let run = || thing.parse::<RunId>().ok();
    Some(match word {
        "waits_for_person" => Occasion::WaitsForPerson(run()?),
        "failed" => Occasion::Failed(run()?),
        "blocked" => Occasion::Blocked(run()?),
        "applied" => Occasion::Applied(run()?),
        "drifted" => {
            let (stack, since) = thing.split_once('.')?;
            Occasion::Drifted { stack: stack.parse().ok()?, since: moment(since)? }
        }
        "integration_broken" => Occasion::IntegrationBroken { since: moment(thing)? },
        "token_expires" => {
            let (on, within) = thing.split_once('.')?;
            Occasion::TokenExpires { on: on.parse().ok()?, within: within.parse().ok()? }
        }
        TEST if is_key(thing) => Occasion::Test(thing.to_owned()),
        _ => return None,
    })
}

/// Milliseconds.
fn moment(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().filter(|millis| *millis >= 0)
}

impl TryFrom<String> for Occasion {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Occasion> for String {
    fn from(occasion: Occasion) -> Self {
        occasion.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Unpushed;
    use strum::VariantArray as _;

    #[test]
    fn each_is_read_as_it_is_written() {
        let all = [
            "waits_for_person.r-1",
            "failed.r-1",
            "blocked.r-1",
            "drifted.s-1.1767323045000",
            "applied.r-1",
            "integration_broken.1767323045000",
            "token_expires.2027-01-31.7",
            "test.0a1b",
        ];
        let mut events = Vec::new();
        for text in all {
            let read: Occasion = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
            assert!(text.starts_with(&format!("{}.", read.word())));
            let in_address = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            assert!(text.bytes().all(in_address), "{text}");
            events.extend(read.event());
        }
        events.sort_unstable();
        assert_eq!(events, NotificationEvent::VARIANTS);
        for wrong in [
            "",
            "failed",
            "failed.",
            "failed.a.b",
            "failed.A",
            "drifted.s-1",
            "drifted.s-1.007",
            "drifted.s-1.-7",
            "drifted.s-1.+7",
            "integration_broken.soon",
            "token_expires.2027-1-31.7",
            "token_expires.2027-01-31",
            "test.a:b",
            "other.r-1",
        ] {
            assert!(wrong.parse::<Occasion>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_that_ends_is_told_three_times() {
        let told = |days| Occasion::token_expires("2027-01-31", days).map(|told| told.to_string());
        let at = |within: u16| Some(format!("token_expires.2027-01-31.{within}"));
        for (days, expected) in [
            (60, None),
            (15, None),
            (14, at(14)),
            (8, at(14)),
            (7, at(7)),
            (2, at(7)),
            (1, at(1)),
            (0, at(1)),
            (-3, at(1)),
        ] {
            assert_eq!(told(days), expected, "{days}");
        }
        assert_eq!(Occasion::token_expires("soon", 1), None);
    }

    #[test]
    fn of_a_run_only_what_somebody_waits_for_is_told() {
        let golden = include_str!("../../../store/golden/v1/run.json");
        let run: Run = serde_json::from_str(golden).unwrap();
        let deploy = Run {
            run_type: RunType::Tracked,
            test: None,
            module: false,
            unpushed: None,
            applied: false,
            ..run
        };
        let preview = Run { run_type: RunType::Proposed, ..deploy.clone() };
        let drift = Run { unpushed: Some(Unpushed::Drift), ..preview.clone() };
        let test = Run { run_type: RunType::Test, ..deploy.clone() };
        let told = |run: &Run, state, applied| {
            of_run(&Run { state, applied, ..run.clone() }).map(|told| told.word())
        };
        let word = |word: &str| Some(word.to_owned());
        assert_eq!(told(&deploy, RunState::Unconfirmed, false), word("waits_for_person"));
        assert_eq!(told(&deploy, RunState::Failed, false), word("failed"));
        assert_eq!(told(&deploy, RunState::Finished, true), word("applied"));
        assert_eq!(told(&deploy, RunState::Finished, false), None, "nothing was changed");
        assert_eq!(told(&drift, RunState::Failed, false), word("failed"));
        for run in [&preview, &test] {
            for state in RunState::VARIANTS.iter().filter(|s| **s != RunState::Unconfirmed) {
                assert_eq!(told(run, *state, true), None, "{} {state}", run.run_type);
            }
        }
        let module = Run { module: true, ..deploy.clone() };
        assert_eq!(told(&module, RunState::Finished, true), None);
        assert_eq!(told(&module, RunState::Failed, false), word("failed"));
        for state in [RunState::Queued, RunState::Applying, RunState::Discarded] {
            assert_eq!(told(&deploy, state, false), None, "{state}");
        }
    }
}
