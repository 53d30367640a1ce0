//! The source comes before the runner: a run that needs one enters the queue when its commit's archive
//! is there, so that nobody holds a runner while GitLab makes others wait.

use super::Runs;
use gantry_domain::{
    CommitSha, Repository, RunId, StackId,
    run::{Effect, Phase, Position, Run},
};
use gantry_queue::Failure;
use gantry_store::{Expect, Outcome, StoreError, Stored, Write, keys, scheduler::FetchedSource};
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
        if comes
            && run.phase == Phase::Plan
            && !self.is_fetched(&run.repository, &run.commit).await?
        {
            run.position = Position::Source;
            run.outstanding.remove(&Effect::Dispatch);
            run.outstanding.insert(Effect::Fetch);
        }
        Ok(())
    }

    /// Whether a commit's archive is known to be there.
    pub(crate) async fn is_fetched(
        &self,
        repository: &Repository,
        commit: &CommitSha,
    ) -> Result<bool, StoreError> {
        let (key, now) = (keys::fetched_source(repository, commit), self.deps.now());
        if self.shared.has_source(&key, now) {
            return Ok(true);
        }
        let Some(found) = self.deps.store.get::<FetchedSource>(&key).await? else {
            return Ok(false);
        };
        let is_kept = now.duration_since(found.value.at) < KEPT;
        if is_kept {
            self.shared.keep_source(key, now, found.value.at + KEPT);
        }
        Ok(is_kept)
    }

    /// Writes down that a commit's archive is there.
    async fn note_fetched(
        &self,
        repository: &Repository,
        commit: &CommitSha,
    ) -> Result<(), StoreError> {
        let (key, now) = (keys::fetched_source(repository, commit), self.deps.now());
        let write = Write::put(key.clone(), Expect::Any, &FetchedSource { at: now })?;
        if self.deps.store.write(vec![write.expires(now + KEPT)]).await? == Outcome::Written {
            self.shared.keep_source(key, now, now + KEPT);
        }
        Ok(())
    }

    /// The run goes to the queue: its source is there, or cannot be had, which its runner is told.
    pub(crate) async fn on_fetched(
        &self,
        run: &RunId,
        is_there: bool,
        is_new: bool,
        ahead: Option<(&StackId, &CommitSha)>,
    ) -> Result<(), Failure> {
        let Some(loaded) = self.load(run).await? else {
            return match ahead.filter(|_| is_there) {
                Some((stack, commit)) => self.on_fetched_ahead(stack, commit).await,
                None => Ok(()),
            };
        };
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
        if is_there && (is_new || !self.is_fetched(&run.repository, &run.commit).await?) {
            self.note_fetched(&run.repository, &run.commit).await?;
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

    /// A commit's source was asked for before the first of its runs was made.
    async fn on_fetched_ahead(&self, stack: &StackId, commit: &CommitSha) -> Result<(), Failure> {
        match self.deps.store.stack(stack).await? {
            Some(stack) => Ok(self.note_fetched(&stack.value.repository, commit).await?),
            None => Ok(()),
        }
    }
}
