//! What a stack's page shows of work that nobody pushed: drift, and schedules.

use super::Moment;
use crate::{app::App, refusal::Answer, stacks};
use gantry_domain::{
    schedule::Schedule,
    stack::{Scheduled, Stack, StackHead},
    text::{clean_line, counted},
    timer::Timed,
};
use jiff::Timestamp;

/// What was changed elsewhere, and when somebody looks.
pub(super) struct DriftBox {
    /// How much differs: `2 differences`; none where nothing does, or nobody has looked.
    pub(super) found: Option<String>,
    pub(super) since: Option<Moment>,
    /// The run that looked last, and as of when that counts.
    pub(super) looked: Option<(String, Moment)>,
    /// What differs and may.
    pub(super) tolerated: Option<String>,
    /// The last look, where that failed.
    pub(super) failed: Option<String>,
    /// When it is looked at by itself, in words, and next.
    pub(super) when: String,
    pub(super) next: Option<Moment>,
    /// Why the last time began no look.
    pub(super) skipped: Option<String>,
    /// The commit that was applied last: what is brought back.
    pub(super) commit: Option<String>,
}

/// Something that runs at times of its own.
pub(super) struct ScheduleRow {
    pub(super) name: String,
    pub(super) when: String,
    pub(super) what: String,
    pub(super) next: Option<Moment>,
    pub(super) skipped: Option<String>,
    /// The run that it began last.
    pub(super) run: Option<String>,
}

/// Both.
pub(super) struct Unpushed {
    pub(super) drift: Option<DriftBox>,
    pub(super) schedules: Vec<ScheduleRow>,
}

impl Unpushed {
    pub(super) async fn of(app: &App, stack: &Stack, head: &StackHead) -> Answer<Self> {
        let (looks, timer) = stacks::times_of(app, stack).await?;
        let (timer, now) = (timer.as_ref(), app.clock.now());
        let timed = timer.and_then(|timer| timer.drift.as_ref());
        let drift = DriftBox::of(head, looks.as_ref(), timed, now);
        let schedule = |of: &Scheduled| {
            let timed = timer.and_then(|timer| timer.schedules.get(&of.name));
            ScheduleRow::of(of, timed, now)
        };
        let schedules = stack.settings.schedules.iter().map(schedule).collect();
        Ok(Self { drift, schedules })
    }
}

impl DriftBox {
    /// None where there is nothing to compare with, and nothing that would be looked at.
    fn of(
        head: &StackHead,
        looks: Option<&Schedule>,
        timed: Option<&Timed>,
        now: Timestamp,
    ) -> Option<Self> {
        let known = head.drift.as_ref();
        let commit = head.last_applied.as_ref().map(|applied| applied.commit.to_string());
        if known.is_none() && timed.is_none() && commit.is_none() {
            return None;
        }
        let when = looks.map(Schedule::describe);
        let when = when.unwrap_or_else(|| "Not looked at by itself".to_owned());
        let at = |at: Timestamp| Moment::at(at, now);
        // A failed look that is the only one has found nothing out.
        let looked = known.filter(|drift| drift.failed.as_ref() != Some(&drift.run));
        let count = |count: u32, word: &str| (count > 0).then(|| counted(count as usize, word));
        Some(Self {
            found: known.and_then(|drift| count(drift.found, "difference")),
            since: known.and_then(|drift| drift.since).map(at),
            looked: looked.map(|drift| (drift.run.to_string(), at(drift.at))),
            tolerated: known.and_then(|drift| count(drift.tolerated, "difference")),
            failed: known.and_then(|drift| drift.failed.as_ref()).map(ToString::to_string),
            when,
            next: timed.and_then(|timed| timed.next_at).map(at),
            skipped: timed.and_then(skipped),
            commit,
        })
    }
}

impl ScheduleRow {
    fn of(scheduled: &Scheduled, timed: Option<&Timed>, now: Timestamp) -> Self {
        Self {
            name: clean_line(&scheduled.name, 100),
            when: scheduled.when.describe(),
            what: match &scheduled.task {
                Some(command) => format!("Task: {}", clean_line(command, 160)),
                None => "Deploy".to_owned(),
            },
            next: timed.and_then(|timed| timed.next_at).map(|at| Moment::at(at, now)),
            skipped: timed.and_then(skipped),
            run: timed.and_then(|timed| timed.run.as_ref()).map(ToString::to_string),
        }
    }
}

fn skipped(timed: &Timed) -> Option<String> {
    timed.skipped.as_ref().map(|skipped| clean_line(&skipped.why, 300))
}
