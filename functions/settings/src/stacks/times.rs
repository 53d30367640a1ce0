//! When a stack's work begins that nobody pushes.

use super::list::Row;
use crate::{app::App, drift, refusal::Answer};
use gantry_domain::{
    RunId, StackId,
    schedule::Schedule,
    stack::Stack,
    timer::{StackTimer, Timed, Times, Work},
};
use gantry_store::{Key, keys};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashMap;

/// A schedule of a stack.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct ScheduleStatus {
    /// Its name.
    name: String,
    /// When it comes next.
    next_at: Option<Timestamp>,
    /// The run that it began last.
    run: Option<RunId>,
    /// Why the last time began nothing; null if it began a run.
    skipped: Option<String>,
}

impl ScheduleStatus {
    pub(super) fn all(timer: &StackTimer) -> Vec<Self> {
        let status = |(name, timed): (&String, &Timed)| Self {
            name: name.clone(),
            next_at: timed.next_at,
            run: timed.run.clone(),
            skipped: timed.skipped.as_ref().map(|skipped| skipped.why.clone()),
        };
        timer.schedules.iter().map(status).collect()
    }
}

/// When a stack is looked at for drift by itself, and its times as the scheduler has them, or will as
/// soon as it has seen the last change; none where it has none.
pub(crate) async fn times_of(
    app: &App,
    stack: &Stack,
) -> Answer<(Option<Schedule>, Option<StackTimer>)> {
    let key = keys::stack_timer(&stack.id);
    let known = app.store.get::<StackTimer>(&key).await?.map(|known| known.value);
    let defaults = drift::defaults(app).await?;
    let times = Times::of(stack, defaults.schedule.as_ref());
    let looks = times.schedule(&Work::Drift).cloned();
    Ok((looks, times.timer(known.as_ref(), app.clock.now())))
}

/// The same of the stacks of a page.
pub(super) async fn timers(app: &App, rows: &[Row]) -> Answer<HashMap<StackId, StackTimer>> {
    let wanted: Vec<Key> = rows.iter().map(|row| keys::stack_timer(&row.stack.value.id)).collect();
    let known = app.store.get_many::<StackTimer>(&wanted).await?;
    let known: HashMap<StackId, StackTimer> =
        known.into_iter().map(|known| (known.value.stack.clone(), known.value)).collect();
    let (defaults, now) = (drift::defaults(app).await?, app.clock.now());
    let timer = |row: &Row| {
        let stack = &row.stack.value;
        let known = known.get(&stack.id);
        let timer = Times::of(stack, defaults.schedule.as_ref()).timer(known, now)?;
        Some((stack.id.clone(), timer))
    };
    Ok(rows.iter().filter_map(timer).collect())
}
