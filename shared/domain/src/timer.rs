//! When a stack's work begins that nobody pushes: its looks for drift, and what it runs at times of
//! its own.
//!
//! A time that was missed, because nobody was there to see it come, begins its work once.

use crate::{RunId, StackId, drift::DriftSchedule, schedule::Schedule, stack::Stack};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The times of a stack, as the scheduler keeps them. Due at the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackTimer {
    /// The stack.
    pub stack: StackId,
    /// The look for drift; none where it is not looked at by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Timed>,
    /// Its schedules, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schedules: BTreeMap<String, Timed>,
}

/// Work that has its times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// Its schedule, in words that are another's where it was edited. It is kept as a text, because
    /// thousands of these are read, and each schedule is checked when it is read.
    pub of: String,
    /// When it begins next; none where there is no other time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// The run that it began last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Why the last time began nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skipped>,
}

/// A time that began nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// When.
    pub at: Timestamp,
    /// Why, for people: `The stack is blocked`.
    pub why: String,
}

/// What begins at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// What the schedule of this name runs.
    Schedule(String),
    /// A look for drift.
    Drift,
}

/// What became of a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    /// This run began.
    Run(RunId),
    /// Nothing, for this reason.
    Skipped(String),
}

/// The times that a stack asks for.
#[derive(Debug, Clone, Copy)]
pub struct Times<'a> {
    stack: &'a Stack,
    installation: Option<&'a Schedule>,
}

impl<'a> Times<'a> {
    /// Those of a stack, where looks for drift come as `installation` says unless it says otherwise.
    pub fn of(stack: &'a Stack, installation: Option<&'a Schedule>) -> Self {
        Self { stack, installation }
    }

    /// When this work begins; none where it does not, or not any more.
    pub fn schedule(&self, work: &Work) -> Option<&'a Schedule> {
        let settings = &self.stack.settings;
        match (work, &settings.drift.schedule) {
            (Work::Drift, DriftSchedule::Installation) => self.installation,
            (Work::Drift, DriftSchedule::Never) => None,
            (Work::Drift, DriftSchedule::Own(schedule)) => Some(schedule),
            (Work::Schedule(name), _) => {
                let mut all = settings.schedules.iter();
                all.find(|scheduled| scheduled.name == *name).map(|scheduled| &scheduled.when)
            }
        }
    }

    /// The timer for them. What is `known` stays as long as its schedule does. None where nothing of
    /// the stack has its times.
    pub fn timer(&self, known: Option<&StackTimer>, now: Timestamp) -> Option<StackTimer> {
        let stack = self.stack;
        if stack.deleted_at.is_some() || stack.module.is_some() {
            return None;
        }
        let timed = |work: &Work| {
            let of = self.schedule(work)?;
            let before = known.and_then(|known| known.get(work));
            Some(match before {
                Some(before) if before.of == text(of) => before.clone(),
                // A run that an earlier schedule began may still wait, and is not begun beside it.
                before => Timed {
                    of: text(of),
                    next_at: self.next(work, now),
                    run: before.and_then(|before| before.run.clone()),
                    skipped: None,
                },
            })
        };
        let names = stack.settings.schedules.iter().map(|scheduled| &scheduled.name);
        let schedule = |name: &String| {
            let timed = timed(&Work::Schedule(name.clone()))?;
            Some((name.clone(), timed))
        };
        let schedules: BTreeMap<String, Timed> = names.filter_map(schedule).collect();
        let drift = timed(&Work::Drift);
        let is_asked_for = drift.is_some() || !schedules.is_empty();
        is_asked_for.then(|| StackTimer { stack: stack.id.clone(), drift, schedules })
    }

    /// Looks for drift are spread: many stacks share their times, and nobody waits for them.
    fn next(&self, work: &Work, now: Timestamp) -> Option<Timestamp> {
        let of = self.schedule(work)?;
        match work {
            Work::Drift => of.next_spread(now, self.stack.id.as_str()),
            Work::Schedule(_) => of.next(now),
        }
    }
}

fn text(schedule: &Schedule) -> String {
    format!("{} {}", schedule.cron, schedule.time_zone)
}

impl StackTimer {
    /// When something of it begins next.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.all().filter_map(|(_, timed)| timed.next_at).min()
    }

    /// What is to begin now, each with the time that it was to begin at. Schedules come first: what
    /// they apply is no drift.
    pub fn due(&self, now: Timestamp) -> Vec<(Work, Timestamp)> {
        let due = |(work, timed): (Work, &Timed)| {
            let at = timed.next_at.filter(|at| *at <= now)?;
            Some((work, at))
        };
        self.all().filter_map(due).collect()
    }

    /// What is known of this work.
    pub fn get(&self, work: &Work) -> Option<&Timed> {
        match work {
            Work::Drift => self.drift.as_ref(),
            Work::Schedule(name) => self.schedules.get(name),
        }
    }

    /// A time of this work is over. The next is counted from now: what was missed comes once.
    pub fn passed(&mut self, times: &Times<'_>, work: &Work, became: Became, now: Timestamp) {
        let timed = match work {
            Work::Drift => self.drift.as_mut(),
            Work::Schedule(name) => self.schedules.get_mut(name),
        };
        let Some(timed) = timed else { return };
        timed.next_at = times.next(work, now);
        match became {
            Became::Run(run) => (timed.run, timed.skipped) = (Some(run), None),
            Became::Skipped(why) => timed.skipped = Some(Skipped { at: now, why }),
        }
    }

    /// Everything that has its times.
    fn all(&self) -> impl Iterator<Item = (Work, &Timed)> {
        let schedules = self.schedules.iter();
        let schedules = schedules.map(|(name, timed)| (Work::Schedule(name.clone()), timed));
        schedules.chain(self.drift.iter().map(|timed| (Work::Drift, timed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use serde_json::{Value, json};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn stack(drift: Value, schedules: Value) -> Stack {
        let golden = include_str!("../../store/golden/v1/stack.json");
        let mut stack: Value = serde_json::from_str(golden).unwrap();
        stack["deleted_at"] = Value::Null;
        stack["module"] = Value::Null;
        stack["drift"] = json!({ "schedule": drift });
        stack["schedules"] = schedules;
        serde_json::from_value(stack).unwrap()
    }

    fn daily(name: &str, hour: u8) -> Value {
        json!({ "name": name, "when": { "cron": format!("0 {hour} * * *") } })
    }

    const MORNING: &str = "2026-03-02T09:00:00Z";

    fn timer(stack: &Stack, known: Option<&StackTimer>, now: &str) -> Option<StackTimer> {
        Times::of(stack, Some(&Schedule::daily(3))).timer(known, at(now))
    }

    fn passed(timer: &mut StackTimer, stack: &Stack, work: &Work, became: Became, now: Timestamp) {
        timer.passed(&Times::of(stack, Some(&Schedule::daily(3))), work, became, now);
    }

    fn run(id: &str) -> Became {
        Became::Run(id.parse().unwrap())
    }

    #[test]
    fn only_what_has_its_times_has_a_timer() {
        assert_eq!(timer(&stack(json!("never"), json!([])), None, MORNING), None);
        let found = timer(&stack(json!("installation"), json!([])), None, MORNING).unwrap();
        let looks = found.next_at().unwrap().duration_since(at("2026-03-03T03:00:00Z"));
        assert!((0..7_200).contains(&looks.as_secs()), "{looks}");
        let installation = stack(json!("installation"), json!([]));
        assert_eq!(Times::of(&installation, None).timer(None, at(MORNING)), None);
        let own = json!({ "own": { "cron": "0 22 * * *", "time_zone": "UTC" } });
        let found = timer(&stack(own, json!([])), None, MORNING).unwrap();
        assert!(found.next_at() >= Some(at("2026-03-02T22:00:00Z")));

        let mut gone = stack(json!("installation"), json!([daily("nightly", 1)]));
        assert!(timer(&gone, None, MORNING).is_some());
        gone.deleted_at = Some(at(MORNING));
        assert_eq!(timer(&gone, None, MORNING), None);
    }

    #[test]
    fn two_at_once_both_begin_and_what_was_missed_begins_once() {
        let schedules = json!([daily("b", 1), daily("a", 1), daily("later", 23)]);
        let stack = stack(json!("never"), schedules);
        let mut found = timer(&stack, None, MORNING).unwrap();
        assert!(found.due(at("2026-03-02T22:59:59Z")).is_empty());
        // Nobody was there for a week.
        let now = at("2026-03-09T12:00:00Z");
        let names: Vec<Work> = found.due(now).into_iter().map(|(work, _)| work).collect();
        assert_eq!(names, ["a", "b", "later"].map(|name| Work::Schedule(name.to_owned())));
        for (work, was) in found.due(now) {
            assert!(was < at("2026-03-03T02:00:00Z"), "the first of those that were missed");
            passed(&mut found, &stack, &work, run("run-1"), now);
        }
        assert!(found.due(now).is_empty());
        assert_eq!(found.next_at(), Some(at("2026-03-09T23:00:00Z")));
    }

    #[test]
    fn an_edited_schedule_is_counted_anew_and_others_stay() {
        let before = stack(json!("never"), json!([daily("a", 1), daily("b", 2)]));
        let mut known = timer(&before, None, MORNING).unwrap();
        let a = Work::Schedule("a".to_owned());
        passed(&mut known, &before, &a, run("run-1"), at(MORNING));
        // A day later, which nobody has seen.
        let now = "2026-03-03T12:00:00Z";
        let edited = stack(json!("never"), json!([daily("a", 13), daily("b", 2)]));
        let found = timer(&edited, Some(&known), now).unwrap();
        let a = found.get(&a).unwrap();
        assert_eq!(a.next_at, Some(at("2026-03-03T13:00:00Z")));
        assert!(a.run.is_some(), "it may still wait");
        let b = Work::Schedule("b".to_owned());
        assert_eq!(found.due(at(now)), [(b, at("2026-03-03T02:00:00Z"))]);
        let again = timer(&edited, Some(&found), now).unwrap();
        assert_eq!(again, found, "nothing changes any more");
    }

    #[test]
    fn why_a_time_began_nothing_is_said_until_one_does() {
        let stack = stack(json!("installation"), json!([]));
        let mut found = timer(&stack, None, MORNING).unwrap();
        let mut now = found.next_at().unwrap();
        let skipped = Became::Skipped("The stack is blocked".to_owned());
        passed(&mut found, &stack, &Work::Drift, skipped, now);
        let skipped = found.drift.as_ref().unwrap().skipped.as_ref().unwrap();
        assert_eq!((skipped.at, skipped.why.as_str()), (now, "The stack is blocked"));
        let next = found.next_at().unwrap();
        assert_eq!(next.duration_since(now), SignedDuration::from_hours(24));
        now = next;
        passed(&mut found, &stack, &Work::Drift, run("run-2"), now);
        let drift = found.drift.unwrap();
        assert_eq!((drift.skipped, drift.run), (None, Some("run-2".parse().unwrap())));
    }
}
