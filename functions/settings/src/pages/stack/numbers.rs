//! What a stack's runs of the last 30 days came to, in numbers: by day and result, and how long
//! people waited for what.

use gantry_domain::run::{Run, RunState};
use jiff::{SignedDuration, Timestamp};

/// Days that are looked back on, today included. They are those of UTC.
pub(super) const DAYS: usize = 30;

const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;

/// The numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    /// The oldest first.
    pub(super) days: Vec<Day>,
    /// Runs that have not ended.
    pub(super) unfinished: usize,
    /// From when a run was asked for to its plan.
    pub(super) to_plan: Option<Spread>,
    /// From a plan that needs confirmation to who confirmed it.
    pub(super) to_confirm: Option<Spread>,
    /// Of an apply that went well.
    pub(super) apply: Option<Spread>,
}

/// The runs that were created on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Day {
    /// `2026-03-01`.
    pub(super) date: String,
    /// Those that were applied or planned.
    pub(super) good: usize,
    /// Those that failed.
    pub(super) failed: usize,
    /// Those that were discarded, stopped or canceled.
    pub(super) ended: usize,
}

impl Day {
    /// All that have ended.
    pub(super) fn all(&self) -> usize {
        self.good + self.failed + self.ended
    }
}

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spread {
    /// How often.
    pub(super) count: usize,
    /// Half of them took at most this long.
    pub(super) median: SignedDuration,
    /// Nine of ten took at most this long.
    pub(super) most: SignedDuration,
}

impl Spread {
    fn of(mut spans: Vec<SignedDuration>) -> Option<Self> {
        spans.sort_unstable();
        let rank = |percent: usize| (spans.len() * percent).div_ceil(100).saturating_sub(1);
        let (median, most) = (*spans.get(rank(50))?, *spans.get(rank(90))?);
        Some(Self { count: spans.len(), median, most })
    }
}

impl Numbers {
    /// The numbers of those runs that were created in the last 30 days.
    pub(super) fn of(runs: &[Run], now: Timestamp) -> Self {
        let day_of = |at: Timestamp| at.as_second().div_euclid(SECONDS_OF_A_DAY);
        let first = day_of(now) + 1 - i64::try_from(DAYS).unwrap_or_default();
        let date = |day: i64| {
            let at = Timestamp::from_second(day * SECONDS_OF_A_DAY).unwrap_or_default();
            at.strftime("%Y-%m-%d").to_string()
        };
        let day = |date: String| Day { date, good: 0, failed: 0, ended: 0 };
        let mut days: Vec<Day> = (first..=day_of(now)).map(|at| day(date(at))).collect();
        let (mut unfinished, mut plans, mut confirmations, mut applies) =
            (0, Vec::new(), Vec::new(), Vec::new());
        for run in runs {
            let place = usize::try_from(day_of(run.created_at) - first).ok();
            let Some(day) = place.and_then(|place| days.get_mut(place)) else { continue };
            match run.state {
                RunState::Finished => day.good += 1,
                RunState::Failed => day.failed += 1,
                state if state.is_final() => day.ended += 1,
                _ => unfinished += 1,
            }
            plans.extend(to_plan(run));
            confirmations.extend(between(run, RunState::Unconfirmed, RunState::Confirmed));
            applies.extend(between(run, RunState::Applying, RunState::Finished));
        }
        Self {
            days,
            unfinished,
            to_plan: Spread::of(plans),
            to_confirm: Spread::of(confirmations),
            apply: Spread::of(applies),
        }
    }
}

/// How long who asked for a run waited for its plan; none where there was none.
fn to_plan(run: &Run) -> Option<SignedDuration> {
    let mut steps = run.history.iter().skip_while(|step| step.state != RunState::Planning).skip(1);
    let is_planned =
        |state| matches!(state, RunState::Unconfirmed | RunState::Applying | RunState::Finished);
    let planned = steps.next().filter(|step| is_planned(step.state))?;
    let asked = run.asked_at.unwrap_or(run.created_at);
    Some(planned.at.duration_since(asked).max(SignedDuration::ZERO))
}

/// How long a run was in a state, where another one came next.
fn between(run: &Run, from: RunState, to: RunState) -> Option<SignedDuration> {
    let steps = run.history.windows(2);
    steps
        .filter_map(|pair| match pair {
            [one, next] if one.state == from && next.state == to => {
                Some(next.at.duration_since(one.at).max(SignedDuration::ZERO))
            }
            _ => None,
        })
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_and_nine_of_ten_are_counted_from_the_shortest() {
        let seconds = SignedDuration::from_secs;
        let spread = |all: &[i64]| Spread::of(all.iter().map(|one| seconds(*one)).collect());
        assert_eq!(spread(&[]), None);
        let one = Spread { count: 1, median: seconds(7), most: seconds(7) };
        assert_eq!(spread(&[7]), Some(one));
        let ten = Spread { count: 10, median: seconds(5), most: seconds(9) };
        assert_eq!(spread(&[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]), Some(ten));
        let two = Spread { count: 2, median: seconds(1), most: seconds(60) };
        assert_eq!(spread(&[60, 1]), Some(two));
    }

    #[test]
    fn the_days_are_those_of_utc_and_today_is_the_last() {
        let now: Timestamp = "2026-03-01T00:00:01Z".parse().unwrap();
        let numbers = Numbers::of(&[], now);
        assert_eq!(numbers.days.len(), DAYS);
        assert_eq!(numbers.days[0].date, "2026-01-31");
        assert_eq!(numbers.days[DAYS - 1].date, "2026-03-01");
        assert_eq!((numbers.unfinished, numbers.to_plan), (0, None));
    }
}
