//! The source comes before the runner: a run that needs one enters the queue when its commit's archive
//! is there, so that nobody holds a runner while GitLab makes others wait.

use super::Runs;
use gantry_domain::{
    RunId,
    run::{Effect, Phase, Position, Run},
};
use gantry_queue::Failure;
use gantry_store::{Expect, StoreError, Stored, Write, keys, scheduler::FetchedSource};
use jiff::SignedDuration;

/// How long an archive counts as there: object storage keeps it for eight days.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Runs<'_> {
    /// Has a run that would enter the queue wait for its source first, unless that is there.
    pub(super) async fn settle_source(
        &self,
        before: Position,
        run: &mut Run,
    ) -> Result<(), StoreError> {
        // What was uploaded is there already.
        let comes = run.upload.is_none()
            && run.position == Position::Queue
            && matches!(before, Position::Nowhere | Position::StackQueue | Position::Waiting);
        if comes && run.phase == Phase::Plan && !self.is_fetched(run).await? {
            run.position = Position::Source;
            run.outstanding.remove(&Effect::Dispatch);
            run.outstanding.insert(Effect::Fetch);
        }
        Ok(())
    }

    async fn is_fetched(&self, run: &Run) -> Result<bool, StoreError> {
        let key = keys::fetched_source(&run.repository, &run.commit);
        let found = self.deps.store.get::<FetchedSource>(&key).await?;
        Ok(found.is_some_and(|found| self.deps.now().duration_since(found.value.at) < KEPT))
    }

    /// The run goes to the queue: its source is there, or cannot be had, which its runner is told.
    pub(crate) async fn on_fetched(
        &self,
        run: &RunId,
        is_there: bool,
        is_new: bool,
    ) -> Result<(), Failure> {
        let Some(loaded) = self.load(run).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        match run.position {
            Position::Source => {}
            // It may not have asked: whoever brought it here may have ended before.
            Position::Queue if run.pool.is_none() => {
                return self.ask_for_slot(&loaded.stored).await;
            }
            _ => return Ok(()),
        }
        // Of what is new nobody has written down that it is there; of anything else somebody has, as
        // a rule, and many runs can wait for the same.
        if is_there && (is_new || !self.is_fetched(&run).await?) {
            let now = self.deps.now();
            let key = keys::fetched_source(&run.repository, &run.commit);
            let write = Write::put(key, Expect::Any, &FetchedSource { at: now })?;
            let _either_way = self.deps.store.write(vec![write.expires(now + KEPT)]).await?;
        }
        run.position = Position::Queue;
        if run.pool.is_some() {
            run.outstanding.insert(Effect::Dispatch);
            return self.commit(loaded, run, Vec::new()).await;
        }
        // That it stands in the queue says what is to be done: the sweep nudges the dispatcher as long
        // as anybody does. So nothing is written down as outstanding, nor as done after that.
        let (key, version) = (loaded.stored.key.clone(), loaded.stored.version + 1);
        self.commit(loaded, run.clone(), Vec::new()).await?;
        self.ask_for_slot(&Stored { key, version, value: run }).await
    }
}
