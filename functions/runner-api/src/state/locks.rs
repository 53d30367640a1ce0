//! The lock on a stack's state: who holds it, and when it falls to somebody else.

use super::{StateError, States, TRIES};
use crate::token::Holder;
use gantry_domain::{StackId, protocol::LockInfo, run::Run};
use gantry_store::{Expect, Outcome, Stored, Write, keys, runner::StateLock};

impl States {
    /// Who holds the lock.
    pub(crate) async fn lock_of(
        &self,
        stack: &StackId,
    ) -> Result<Option<Stored<StateLock>>, StateError> {
        Ok(self.store.get(&keys::lock(stack)).await?)
    }

    /// Takes the lock for a run. The same lock again is no conflict; one whose holder is over is
    /// taken over.
    pub(crate) async fn lock(&self, mut holder: Holder, info: &LockInfo) -> Result<(), StateError> {
        holder.may_change_state()?;
        let stack = holder.run.value.state_owner();
        for attempt in 0..TRIES {
            if attempt > 0 {
                holder.refresh(&self.store).await?;
                holder.may_change_state()?;
            }
            let held = self.lock_of(&stack).await?;
            if let Some(held) = &held {
                if is_of(&held.value, &holder) && held.value.info.id == info.id {
                    return Ok(());
                }
                if !self.is_over(&held.value, &holder).await? {
                    return Err(StateError::Locked(Box::new(held.value.info.clone())));
                }
                tracing::warn!(
                    stack.id = %stack, run.id = %holder.token.run, before = %held.value.run,
                    "the state's lock is taken over from a run that has ended"
                );
            }
            let lock = StateLock {
                info: info.clone(),
                run: holder.token.run.clone(),
                attempt: holder.token.attempt,
                at: self.clock.now(),
            };
            let expect = held.as_ref().map_or(Expect::Absent, Stored::unchanged);
            let writes =
                vec![Write::put(keys::lock(&stack), expect, &lock)?, holder.still_counts()];
            if self.store.write(writes).await? == Outcome::Written {
                return Ok(());
            }
        }
        Err(StateError::Busy)
    }

    /// Gives the lock back. One that is free already is as good as given back; `id` none is the
    /// run's own lock, whichever it is.
    pub(crate) async fn unlock(&self, holder: &Holder, id: Option<&str>) -> Result<(), StateError> {
        let stack = &holder.run.value.state_owner();
        for _ in 0..TRIES {
            let Some(held) = self.lock_of(stack).await? else { return Ok(()) };
            let same_id = id.is_none_or(|id| held.value.info.id == id);
            if !is_of(&held.value, holder) || !same_id {
                return Err(StateError::Locked(Box::new(held.value.info)));
            }
            let gone = Write::Delete { key: held.key.clone(), expect: held.unchanged() };
            if self.store.write(vec![gone]).await? == Outcome::Written {
                return Ok(());
            }
        }
        Err(StateError::Busy)
    }

    /// The part of a commit that fails if the lock is not what the commit says.
    pub(super) async fn held_lock(
        &self,
        holder: &Holder,
        id: Option<&str>,
    ) -> Result<Write, StateError> {
        let key = keys::lock(&holder.run.value.state_owner());
        match (self.store.get::<StateLock>(&key).await?, id) {
            (Some(held), Some(id)) if is_of(&held.value, holder) && held.value.info.id == id => {
                Ok(Write::Check { key, expect: held.unchanged() })
            }
            // Terraform was told not to lock, and nobody else has.
            (None, None) => Ok(Write::Check { key, expect: Expect::Absent }),
            (Some(held), None) => Err(StateError::Locked(Box::new(held.value.info))),
            _ => Err(StateError::NotHeld),
        }
    }

    /// True when nobody will come back for the lock: an earlier attempt of the same run, or a run
    /// that has ended. A lost run may still come back until a person unblocks its stack.
    async fn is_over(&self, lock: &StateLock, asking: &Holder) -> Result<bool, StateError> {
        if lock.run == asking.token.run {
            return Ok(lock.attempt < asking.token.attempt);
        }
        let run: Option<Stored<Run>> = self.store.get(&keys::run(&lock.run)).await?;
        Ok(run.is_none_or(|run| run.value.state.is_final() && !run.value.lost))
    }
}

fn is_of(lock: &StateLock, holder: &Holder) -> bool {
    lock.run == holder.token.run && lock.attempt == holder.token.attempt
}
