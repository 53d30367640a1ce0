//! A stack's own times: its looks for drift, and its schedules.

use super::{
    Stacks,
    triggers::{Found, taken},
    unpushed::{New, Ready, Wish},
};
use crate::runs::written;
use gantry_domain::{
    RunId, StackId,
    stack::Stack,
    timer::{Became, StackTimer, Times, Work},
};
use gantry_queue::Failure;
use gantry_store::{Expect, Stored, Write, config::DriftDefaults, keys};
use jiff::Timestamp;
use serde_json::Value;

impl Stacks<'_> {
    /// Begins what is due, and sets the next times as the stack's settings ask for them. A run that is
    /// there already, because whoever made it ended before this was written down, is not made again.
    pub(crate) async fn on_timer_due(&self, stack: &StackId) -> Result<(), Failure> {
        let (definition, place) = (keys::stack_config(stack), keys::stack_timer(stack));
        let defaults = keys::drift_defaults();
        let wanted = [definition.clone(), place.clone(), defaults.clone()];
        let found = self.deps.store.get_many::<Value>(&wanted).await?;
        let mut found: Found = found.into_iter().map(|item| (item.key.clone(), item)).collect();
        let definition = taken::<Stack>(&mut found, &definition)?.map(|found| found.value);
        let known = taken::<StackTimer>(&mut found, &place)?;
        let defaults = taken::<DriftDefaults>(&mut found, &defaults)?;
        let installation = defaults.and_then(|defaults| defaults.value.schedule);
        let now = self.deps.now();
        let times = definition.as_ref().map(|stack| Times::of(stack, installation.as_ref()));
        let asked = times.and_then(|times| {
            let known = known.as_ref().map(|known| &known.value);
            Some((times, times.timer(known, now)?))
        });
        let expect = known.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let write = match (&definition, asked) {
            (Some(definition), Some((times, mut timer))) => {
                for (work, at) in timer.due(now) {
                    let before = timer.get(&work).and_then(|timed| timed.run.clone());
                    let became =
                        Box::pin(self.begin_timed(definition, &work, at, before.as_ref())).await?;
                    if let Became::Skipped(why) = &became {
                        tracing::info!(stack = %definition.slug, ?work, "nothing begins: {why}");
                    }
                    timer.passed(&times, &work, became, now);
                }
                if known.is_some_and(|known| known.value == timer) {
                    return Ok(());
                }
                Write::put(place, expect, &timer)?.due(timer.next_at())
            }
            _ if known.is_some() => Write::Delete { key: place, expect },
            _ => return Ok(()),
        };
        written(self.deps.store.write(vec![write]).await?, stack)
    }

    /// Begins work whose time has come, unless the run that it began last has not ended.
    async fn begin_timed(
        &self,
        stack: &Stack,
        work: &Work,
        at: Timestamp,
        before: Option<&RunId>,
    ) -> Result<Became, Failure> {
        let key = match work {
            Work::Drift => format!("drift#{at}"),
            Work::Schedule(name) => format!("schedule#{name}#{at}"),
        };
        let id = RunId::derive(&stack.id, &key);
        if self.runs.load(&id).await?.is_some() {
            return Ok(Became::Run(id));
        }
        if self.runnable(&stack.id).await?.is_none() {
            let why = "The stack is detached from its GitLab project".to_owned();
            return Ok(Became::Skipped(why));
        }
        if let Some(before) = before
            && self.is_under_way(before).await?
        {
            return Ok(Became::Skipped("The run before has not ended".to_owned()));
        }
        let ready = match work {
            Work::Drift => {
                let reason = "scheduled look for drift".to_owned();
                Box::pin(self.look(stack, Wish { key, reason, by: None })).await?
            }
            Work::Schedule(name) => Box::pin(self.scheduled(stack, key, name)).await?,
        };
        Ok(match ready {
            Ready::New(new) => {
                let New { head, run, writes } = *new;
                let outcome = Box::pin(self.runs.create(head, run, writes)).await?;
                written(outcome, &stack.slug)?;
                Became::Run(id)
            }
            Ready::UnderWay(_) => Became::Skipped("The run before has not ended".to_owned()),
            Ready::No(why) => Became::Skipped(why),
        })
    }

    /// What the schedule of this name runs.
    async fn scheduled(&self, stack: &Stack, key: String, name: &str) -> Result<Ready, Failure> {
        let schedules = &stack.settings.schedules;
        let Some(scheduled) = schedules.iter().find(|scheduled| scheduled.name == name) else {
            return Ok(Ready::No("The schedule was removed".to_owned()));
        };
        let wish = Wish { key, reason: format!("schedule {name}"), by: None };
        let name = name.to_owned();
        let Some(command) = scheduled.task.clone() else {
            return Box::pin(self.scheduled_deploy(stack, wish, name)).await;
        };
        match self.holds_tasks(stack).await? {
            Some(why) => Ok(Ready::No(why)),
            None => Box::pin(self.task(stack, wish, command, Some(name))).await,
        }
    }
}
