//! What a person does to a state: import, restore, unlock. Only while no run can write it.

use super::{StateBody, StateError, States, TRIES};
use crate::objects::BodyDigest;
use bytes::Bytes;
use gantry_domain::{StackId, stack::StackHead, state::StateForm};
use gantry_store::{Expect, Outcome, Stored, Write, keys, runner::StateVersion};

/// What becomes the current version.
#[derive(Debug, Clone)]
pub(crate) enum Replacement {
    /// A state from outside. Without `force` it must follow the current one.
    Import {
        /// The state.
        body: Bytes,
        /// Take it whatever its lineage and serial are.
        force: bool,
    },
    /// An earlier or rescued version, as it is.
    Restore {
        /// Its number.
        number: u64,
    },
}

impl States {
    /// Makes another body the current version, as a new version with `by` as its author.
    pub(crate) async fn replace(
        &self,
        stack: &StackId,
        replacement: Replacement,
        by: &str,
    ) -> Result<StateVersion, StateError> {
        // Before anything is stored; what counts is asked again with the write.
        self.no_run_writes(stack).await?;
        let (wanted, force) = match replacement {
            Replacement::Import { body, force } => (self.keep(stack, body).await?, force),
            Replacement::Restore { number } => (self.readable(stack, number).await?, true),
        };
        for _ in 0..TRIES {
            let free = self.no_run_writes(stack).await?;
            let current = self.current(stack).await?;
            if !force {
                let body = StateBody {
                    serial: wanted.serial,
                    lineage: wanted.lineage.clone(),
                    resources: wanted.resources,
                    form: wanted.form,
                    size: wanted.size,
                };
                body.check_follows(current.as_ref().map(|current| &current.value))?;
            }
            let number = self.next_number(stack).await?;
            let version = StateVersion {
                number,
                run: None,
                by: by.to_owned(),
                rescued: false,
                found: false,
                at: self.clock.now(),
                ..wanted.clone()
            };
            let expect = current.as_ref().map_or(Expect::Absent, Stored::unchanged);
            let writes = vec![
                Write::put(keys::state_version(stack, number), Expect::Absent, &version)?,
                Write::put(keys::state(stack), expect, &version)?,
                free,
            ];
            if self.store.write(writes).await? == Outcome::Written {
                return Ok(version);
            }
        }
        Err(StateError::Busy)
    }

    /// A version that others can follow.
    async fn readable(&self, stack: &StackId, number: u64) -> Result<StateVersion, StateError> {
        let version = self.version(stack, number).await?;
        if version.form == StateForm::Unknown && version.lineage.is_empty() {
            return Err(StateError::Unusable(format!(
                "Gantry cannot read version {number} as a state. Download it, repair it and import \
                 the result"
            )));
        }
        Ok(version)
    }

    /// Takes the lock from whoever has it. Answers whether there was one.
    pub(crate) async fn break_lock(&self, stack: &StackId) -> Result<bool, StateError> {
        for _ in 0..TRIES {
            let free = self.is_free(stack).await?;
            let Some(held) = self.lock_of(stack).await? else { return Ok(false) };
            let gone = Write::Delete { key: held.key.clone(), expect: held.unchanged() };
            if self.store.write(vec![gone, free]).await? == Outcome::Written {
                return Ok(true);
            }
        }
        Err(StateError::Busy)
    }

    /// The part of a write that fails if a run took the stack since. A blocked stack runs nothing:
    /// its state is put right before it is unblocked, or the next run plans against the old one.
    async fn no_run_writes(&self, stack: &StackId) -> Result<Write, StateError> {
        Ok(self.head_of(stack).await?.0)
    }

    /// The same where the late writes of a lost run are still taken.
    async fn is_free(&self, stack: &StackId) -> Result<Write, StateError> {
        let (free, head) = self.head_of(stack).await?;
        match head.blocked {
            Some(blocked) => Err(StateError::Blocked(blocked.reason)),
            None => Ok(free),
        }
    }

    async fn head_of(&self, stack: &StackId) -> Result<(Write, StackHead), StateError> {
        let key = keys::stack_head(stack);
        let head: Option<Stored<StackHead>> = self.store.get(&key).await?;
        let expect = head.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let head = head.map(|head| head.value).unwrap_or_default();
        match head.tracked {
            Some(run) => Err(StateError::RunUnfinished(run)),
            None => Ok((Write::Check { key, expect }, head)),
        }
    }

    /// Stores an imported body. Its number and author are set when it becomes current.
    async fn keep(&self, stack: &StackId, body: Bytes) -> Result<StateVersion, StateError> {
        let read = StateBody::read(&body)?;
        let digest = BodyDigest::of(&body);
        let object = Self::new_object(stack, &digest);
        self.objects.put(&object, body).await?;
        Ok(StateVersion {
            number: 0,
            serial: read.serial,
            lineage: read.lineage,
            digest: digest.hex().to_owned(),
            object,
            size: read.size,
            resources: read.resources,
            form: read.form,
            run: None,
            by: String::new(),
            rescued: false,
            found: false,
            at: self.clock.now(),
        })
    }
}
