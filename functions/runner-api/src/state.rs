//! Terraform's states, as Gantry keeps them for stacks that have no backend of their own.
//!
//! A version is a body in object storage under a key of its own, and an item that describes it.
//! One item more points to the current version. The pointer moves in one transaction that states
//! the lock, the version before, and the run or the stack's head as they were read; so two writers
//! never both win, and nothing is ever overwritten.

mod body;
mod by_hand;
mod from_storage;
mod locks;

pub(crate) use body::StateBody;
pub(crate) use by_hand::Replacement;
pub(crate) use from_storage::Restored;

use crate::{
    objects::{BodyDigest, check_size},
    refusal::Refusal,
    token::Holder,
};
use axum::http::StatusCode;
use bytes::Bytes;
use gantry_domain::{RunId, StackId, protocol::LockInfo, protocol::StateCommit, run::Run};
use gantry_objects::{ObjectError, Objects};
use gantry_setup::Clock;
use gantry_store::{
    Expect, Outcome, Page, Store, StoreError, Stored, Write, keys,
    runner::{StatePin, StateUpload, StateVersion},
};
use jiff::SignedDuration;

/// How often the records may change under our hands.
pub(crate) const TRIES: u32 = 8;
/// How long a body may take from its upload to its commit.
const UPLOAD_KEPT: SignedDuration = SignedDuration::from_hours(48);
/// How long a run's choice of version is kept.
const PIN_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Among how many of the newest versions a repeated rescue is recognised.
const RECENT: i32 = 20;

/// Why a state was not read, locked or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Somebody else holds the lock.
    #[error("the state is locked by {}", .0.who)]
    Locked(Box<LockInfo>),
    /// The write does not come from the lock's holder.
    #[error("this run does not hold the state's lock under this id")]
    NotHeld,
    /// It does not follow the current version.
    #[error("{0}")]
    NotSuccessor(String),
    /// The body is not there, not what its digest says, or no state.
    #[error("{0}")]
    Unusable(String),
    /// There is no such version.
    #[error("the state has no version {0}")]
    NoVersion(u64),
    /// A tracked run holds the stack.
    #[error("run {0} of this stack is unfinished; wait for it to end, discard it or stop it")]
    RunUnfinished(RunId),
    /// The result of an apply is not known, and its late writes are still taken.
    #[error("the stack is blocked ({0}); check the state, then unblock the stack")]
    Blocked(String),
    /// The run may no longer do this.
    #[error("the run may no longer change the state")]
    Refused(Box<Refusal>),
    /// The records changed at each try.
    #[error("someone else is changing the same state at the same time; try again")]
    Busy,
    /// The table did not answer.
    #[error("the records of the state cannot be reached")]
    Store(#[from] StoreError),
    /// The storage did not answer.
    #[error("the storage of the state cannot be reached")]
    Objects(#[from] ObjectError),
}

impl From<Refusal> for StateError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<StateError> for Refusal {
    fn from(error: StateError) -> Self {
        let text = error.to_string();
        match error {
            StateError::Locked(info) => Self::Locked(info),
            StateError::NotHeld
            | StateError::NotSuccessor(_)
            | StateError::RunUnfinished(_)
            | StateError::Blocked(_) => Self::text(StatusCode::CONFLICT, text),
            StateError::Unusable(_) => Self::text(StatusCode::UNPROCESSABLE_ENTITY, text),
            StateError::NoVersion(_) => Self::text(StatusCode::NOT_FOUND, text),
            StateError::Refused(refusal) => *refusal,
            StateError::Busy => Self::busy(),
            StateError::Store(error) => error.into(),
            StateError::Objects(error) => error.into(),
        }
    }
}

/// Every stack's states.
#[derive(Debug, Clone)]
pub(crate) struct States {
    store: Store,
    objects: Objects,
    clock: Clock,
    largest: u64,
}

impl States {
    /// States in these records and this storage, each of at most `largest` bytes.
    pub(crate) fn new(store: Store, objects: Objects, clock: Clock, largest: u64) -> Self {
        Self { store, objects, clock, largest }
    }

    /// The current version.
    pub(crate) async fn current(
        &self,
        stack: &StackId,
    ) -> Result<Option<Stored<StateVersion>>, StateError> {
        Ok(self.store.get(&keys::state(stack)).await?)
    }

    /// A version by its number.
    pub(crate) async fn version(
        &self,
        stack: &StackId,
        number: u64,
    ) -> Result<StateVersion, StateError> {
        let found: Option<Stored<StateVersion>> =
            self.store.get(&keys::state_version(stack, number)).await?;
        Ok(found.ok_or(StateError::NoVersion(number))?.value)
    }

    /// Versions, the newest first, older than `before`.
    pub(crate) async fn versions(
        &self,
        stack: &StackId,
        before: Option<u64>,
        limit: i32,
    ) -> Result<Page<StateVersion>, StateError> {
        let after = before.map(|number| keys::state_version(stack, number).sk);
        let partition = keys::state_partition(stack);
        let prefix = keys::STATE_VERSIONS;
        Ok(self.store.query(&partition, prefix, after.as_deref(), true, limit).await?)
    }

    /// The version that a run which changes nothing reads: the one that was current when it asked
    /// first.
    pub(crate) async fn pinned(&self, run: &Run) -> Result<Option<StateVersion>, StateError> {
        let place = keys::state_pin(&run.stack, &run.id);
        for _ in 0..TRIES {
            if let Some(pin) = self.store.get::<StatePin>(&place).await? {
                return match pin.value.number {
                    Some(number) => self.version(&run.stack, number).await.map(Some),
                    None => Ok(None),
                };
            }
            let current = self.current(&run.stack).await?.map(|current| current.value);
            let pin = StatePin { number: current.as_ref().map(|current| current.number) };
            let until = self.clock.now().saturating_add(PIN_KEPT).unwrap_or_default();
            let write = Write::put(place.clone(), Expect::Absent, &pin)?.expires(until);
            if self.store.write(vec![write]).await? == Outcome::Written {
                return Ok(current);
            }
        }
        Err(StateError::Busy)
    }

    /// A new key for a body of this digest. Keys are never used again.
    pub(crate) fn new_object(stack: &StackId, digest: &BodyDigest) -> String {
        let unique = hex::encode(rand::random::<[u8; 12]>());
        gantry_objects::keys::state(stack, digest.hex(), unique)
    }

    /// Remembers where the body that a run is about to commit lies.
    pub(crate) async fn uploads_to(
        &self,
        holder: &Holder,
        digest: &BodyDigest,
        object: String,
    ) -> Result<(), StateError> {
        let place = self.upload_place(holder, digest.hex());
        let until = self.clock.now().saturating_add(UPLOAD_KEPT).unwrap_or_default();
        let write = Write::put(place, Expect::Any, &StateUpload { object })?.expires(until);
        let _ = self.store.write(vec![write]).await?;
        Ok(())
    }

    fn upload_place(&self, holder: &Holder, digest: &str) -> gantry_store::Key {
        let run = &holder.run.value;
        keys::state_upload(&run.state_owner(), &run.id, holder.token.attempt, digest)
    }

    /// Makes an uploaded body the current version, or keeps it aside. The same commit again
    /// changes nothing.
    pub(crate) async fn commit(
        &self,
        mut holder: Holder,
        commit: &StateCommit,
    ) -> Result<(), StateError> {
        holder.may_change_state()?;
        let stack = holder.run.value.state_owner();
        if self.is_known(&stack, commit).await? {
            return Ok(());
        }
        let digest = BodyDigest::parse(&commit.digest)?;
        let (object, bytes) = self.uploaded(&holder, &digest).await?;
        // What no tool could write again is never thrown away for its form.
        let (body, unreadable) = match StateBody::read(&bytes) {
            Ok(body) => (body, None),
            Err(error) => (StateBody::unreadable(&bytes), Some(error)),
        };
        if let (Some(error), true) = (&unreadable, bytes.is_empty()) {
            return Err(StateError::Unusable(error.to_string()));
        }
        let rescued = commit.rescued || unreadable.is_some();
        let refused = |error: Option<StateError>| match error {
            Some(error) if !commit.rescued => {
                Err(StateError::Unusable(format!("{error}. It was set aside")))
            }
            _ => Ok(()),
        };
        let as_kept = StateCommit { rescued, ..commit.clone() };
        if rescued && self.is_known(&stack, &as_kept).await? {
            return refused(unreadable);
        }
        for attempt in 0..TRIES {
            if attempt > 0 {
                holder.refresh(&self.store).await?;
                holder.may_change_state()?;
            }
            let run = &holder.run.value;
            let number = self.next_number(&stack).await?;
            let version = StateVersion {
                number,
                serial: body.serial,
                lineage: body.lineage.clone(),
                digest: digest.hex().to_owned(),
                object: object.clone(),
                size: body.size,
                resources: body.resources,
                form: body.form,
                run: Some(run.id.clone()),
                by: run.id.to_string(),
                rescued,
                found: false,
                at: self.clock.now(),
            };
            let mut writes = vec![
                Write::put(keys::state_version(&stack, number), Expect::Absent, &version)?,
                holder.still_counts(),
            ];
            if !rescued {
                writes.push(self.held_lock(&holder, commit.lock_id.as_deref()).await?);
                let current = self.current(&stack).await?;
                body.check_follows(current.as_ref().map(|current| &current.value))?;
                let expect = current.as_ref().map_or(Expect::Absent, Stored::unchanged);
                writes.push(Write::put(keys::state(&stack), expect, &version)?);
            }
            if self.store.write(writes).await? == Outcome::Written {
                tracing::info!(
                    stack.id = %stack, run.id = %run.id, number, serial = body.serial,
                    rescued, "a state was written"
                );
                return refused(unreadable);
            }
            // The winner may have been this very commit, sent twice.
            if self.is_known(&stack, &as_kept).await? {
                return refused(unreadable);
            }
        }
        Err(StateError::Busy)
    }

    /// True when the body is the current one, or was rescued before.
    async fn is_known(&self, stack: &StackId, commit: &StateCommit) -> Result<bool, StateError> {
        let current = self.current(stack).await?;
        if current.is_some_and(|current| current.value.digest == commit.digest) {
            return Ok(true);
        }
        if !commit.rescued {
            return Ok(false);
        }
        let recent = self.versions(stack, None, RECENT).await?.items;
        Ok(recent.iter().any(|v| v.value.rescued && v.value.digest == commit.digest))
    }

    async fn uploaded(
        &self,
        holder: &Holder,
        digest: &BodyDigest,
    ) -> Result<(String, Bytes), StateError> {
        let missing = || StateError::Unusable("the state's body was not uploaded".to_owned());
        let place = self.upload_place(holder, digest.hex());
        let upload: Option<Stored<StateUpload>> = self.store.get(&place).await?;
        let object = upload.ok_or_else(missing)?.value.object;
        let reading = self.objects.read(&object).await?.ok_or_else(missing)?;
        check_size(reading.size, self.largest)?;
        let body = self.objects.get(&object).await?.ok_or_else(missing)?;
        if BodyDigest::of(&body) != *digest {
            let text = "the state's body does not match its digest";
            return Err(StateError::Unusable(text.to_owned()));
        }
        Ok((object, body))
    }

    async fn next_number(&self, stack: &StackId) -> Result<u64, StateError> {
        let newest = self.versions(stack, None, 1).await?.items;
        Ok(newest.first().map_or(1, |version| version.value.number + 1))
    }
}
