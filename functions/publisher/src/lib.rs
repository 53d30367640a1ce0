//! The publisher: the only writer of feedback to GitLab.
//!
//! It is level-triggered: a message names what to bring up to date, never what to write. It reads
//! the records, computes what GitLab should show, compares with what it last wrote, and writes the
//! difference. Run twice, it writes nothing.

mod environment;
mod issue;
mod links;
mod note;
mod pipelines;
#[cfg(test)]
mod remembered;
mod status;

use gantry_connection::{Connected, Connection, NotConnected};
use gantry_domain::text::names::Prefix;
use gantry_gitlab::Error as GitlabError;
use gantry_objects::Objects;
use gantry_queue::{Context, Failure, FeedbackMessage, Handler, Message, Sender};
use gantry_secrets::Signer;
use gantry_setup::Clock;
use gantry_store::{
    Expect, Outcome, Store, Stored, Write,
    feedback::{Counters, Known, Published},
    keys,
};
use jiff::{SignedDuration, Timestamp};
use links::Visibility;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// What the publisher works with.
#[derive(Clone)]
pub struct Deps {
    /// The records.
    pub store: Store,
    /// The queues.
    pub sender: Sender,
    /// GitLab.
    pub gitlab: Arc<Connection>,
    /// What plans found.
    pub objects: Objects,
    /// The time.
    pub clock: Clock,
    /// The first part of status and environment names.
    pub prefix: Prefix,
    /// Signs the links to runs.
    pub signer: Signer,
    /// The installation's own address, for stack pages.
    pub public_url: String,
}

/// Handles the messages of `feedback.fifo`.
#[derive(Clone)]
pub struct Publisher {
    deps: Deps,
    visibility: Visibility,
}

impl Publisher {
    /// A publisher.
    pub fn new(deps: Deps) -> Self {
        Self { deps, visibility: Visibility::default() }
    }
}

/// A change that comes while another is published is published in the same go, this often; then
/// it is left to the next nudge.
const ROUNDS: usize = 3;
/// More runs than this are looked at again after a pause, however much changes meanwhile: each look
/// reads all of them.
pub(crate) const MANY_RUNS: usize = 50;
/// Looked at again when GitLab does not say when.
const TROUBLE: Duration = Duration::from_secs(15);
/// Longer waits are left to the sweep.
const LONGEST_DELAY: Duration = Duration::from_secs(15 * 60);

/// How long so many runs are not looked at again.
pub(crate) fn between_large_looks(runs: usize) -> Duration {
    Duration::from_secs((runs as u64 / 100).clamp(3, 15))
}

#[async_trait::async_trait]
impl Handler for Publisher {
    async fn handle(&self, context: Context, message: Message) -> Result<(), Failure> {
        let message: FeedbackMessage = message.try_into()?;
        let target = message.target();
        let sender = self.deps.sender.following(context.hops);
        let was_interrupted = context.receive_count > 1;
        let deps = Deps { sender, ..self.deps.clone() };
        let visibility = Arc::clone(&self.visibility);
        let work = Work { deps, target, was_interrupted, visibility };
        let mut known = work.deps.store.known_feedback(&work.target).await?;
        // An earlier nudge has shown it already. Whoever was interrupted may have shown this one, and
        // begun with what changed meanwhile, for which no other nudge is on its way.
        let is_shown = known.counters.has_done(message.number())
            && !known.counters.look_is_due(work.deps.clock.now());
        if is_shown && !work.was_interrupted {
            return Ok(());
        }
        for _ in 0..ROUNDS {
            let Known { counters, memory } = known;
            let done = match work.bring_up_to_date(&message, memory).await {
                Ok(done) => done,
                // Not even reading is allowed, or the whole project is not shown.
                Err(Trouble::Gitlab(error)) if error.is_refusal() => {
                    Done { refused: Some(error.to_string()), ..Done::default() }
                }
                Err(trouble) => return work.wait_for_gitlab(&message, trouble).await,
            };
            let runs = done.runs;
            // What changes meanwhile makes the next look necessary, not this message.
            let sender = &self.deps.sender;
            if work.note_done(sender, &message, counters, done).await? == Published::UpToDate {
                return Ok(());
            }
            if runs > MANY_RUNS {
                return work.nudge_later(sender, &message, between_large_looks(runs)).await;
            }
            known = work.deps.store.known_feedback(&work.target).await?;
        }
        work.nudge_later(&self.deps.sender, &message, Duration::from_secs(1)).await
    }
}

/// How a target was brought up to date.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// How many runs were looked at.
    pub(crate) runs: usize,
    /// GitLab's own words where it refused something.
    pub(crate) refused: Option<String>,
    /// When to look again, where something was left out for now.
    pub(crate) look_at: Option<Timestamp>,
}

/// Why something was not published.
pub(crate) enum Trouble {
    /// GitLab's side: the item waits, the message is done.
    Gitlab(GitlabError),
    /// Nobody is connected: the item waits for a person.
    NotConnected(NotConnected),
    /// Ours: the message is delivered again.
    Own(Failure),
}

impl From<GitlabError> for Trouble {
    fn from(error: GitlabError) -> Self {
        Self::Gitlab(error)
    }
}

/// Errors of our own side, as opposed to GitLab's.
macro_rules! own {
    ($($error:ty),*) => {$(
        impl From<$error> for Trouble {
            fn from(error: $error) -> Self {
                Self::Own(error.into())
            }
        }
    )*};
}
own!(gantry_store::StoreError, gantry_queue::SendError, gantry_objects::ObjectError);

/// The handling of one target.
pub(crate) struct Work {
    pub(crate) deps: Deps,
    pub(crate) target: String,
    /// It was begun before, and GitLab may know more than what is remembered.
    pub(crate) was_interrupted: bool,
    pub(crate) visibility: Visibility,
}

impl Work {
    /// `memory` is what was remembered of the target.
    async fn bring_up_to_date(
        &self,
        message: &FeedbackMessage,
        memory: Option<Stored<Value>>,
    ) -> Result<Done, Trouble> {
        let connected = self.deps.gitlab.connected().await.map_err(Trouble::NotConnected)?;
        let done = match message {
            FeedbackMessage::Status { project, commit, .. } => {
                self.publish_statuses(&connected, *project, commit, Memory::of(memory)?).await
            }
            FeedbackMessage::Note { project, iid, .. } => {
                self.publish_note(&connected, *project, *iid, Memory::of(memory)?).await
            }
            FeedbackMessage::Environment { stack, .. } => {
                self.publish_environment(&connected, stack, Memory::of(memory)?).await
            }
            FeedbackMessage::Issue { stack, .. } => {
                self.publish_issue(&connected, stack, Memory::of(memory)?).await
            }
        };
        let health = match &done {
            Ok(_) => Some(None),
            Err(Trouble::Gitlab(error)) => error.outage().map(Some),
            Err(_) => None,
        };
        if let Some(outage) = health {
            self.deps.store.note_health("publisher", outage, self.deps.clock.now()).await?;
        }
        done
    }

    /// Writes down what was done for the `counters` of before, and has the target looked at again
    /// where something was left out.
    async fn note_done(
        &self,
        sender: &Sender,
        message: &FeedbackMessage,
        counters: Counters,
        done: Done,
    ) -> Result<Published, Failure> {
        let (store, now, want) = (&self.deps.store, self.deps.clock.now(), counters.want);
        // What was refused is asked again by and by: the sweep and comparisons see to it.
        store.note_refusal(&self.target, counters, done.refused, now).await?;
        let Some(at) = done.look_at else {
            return Ok(store.published(&self.target, want, now).await?);
        };
        // Whoever was interrupted may have written down a nudge that it did not come to send.
        let sent = counters.looks_by(at, now).filter(|_| !self.was_interrupted);
        let next = sent.unwrap_or(at);
        let published = store.published_for_now(&self.target, want, next, now).await?;
        if published == Published::UpToDate && sent.is_none() {
            let wait = at.duration_since(now).max(SignedDuration::ZERO);
            let nudge = message.clone().numbered(want + 1);
            sender.send_later(nudge, wait.unsigned_abs()).await?;
        }
        Ok(published)
    }

    /// Trouble at GitLab is no poison: the item gets its next time, and the message is done.
    async fn wait_for_gitlab(
        &self,
        message: &FeedbackMessage,
        trouble: Trouble,
    ) -> Result<(), Failure> {
        let (why, wait) = match trouble {
            Trouble::Own(failure) => return Err(failure),
            Trouble::NotConnected(error) => (error.to_string(), Duration::from_secs(60)),
            Trouble::Gitlab(error) => {
                let wait = match &error {
                    GitlabError::RateLimited { retry_after } => *retry_after,
                    GitlabError::Unavailable { retry_after, .. } => retry_after.unwrap_or(TROUBLE),
                    GitlabError::Conflict { .. } => Duration::from_secs(2),
                    GitlabError::TokenRejected { .. } => Duration::from_secs(60),
                    _ => TROUBLE,
                };
                (error.to_string(), wait)
            }
        };
        tracing::warn!(target_of_feedback = %self.target, "GitLab could not be brought up to date \
                                                           yet: {why}");
        self.nudge_later(&self.deps.sender, message, wait).await
    }

    async fn nudge_later(
        &self,
        sender: &Sender,
        message: &FeedbackMessage,
        wait: Duration,
    ) -> Result<(), Failure> {
        let pause = SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_mins(15));
        let now = self.deps.clock.now();
        let at = now + pause;
        let mut counters = self.deps.store.counters(&self.target).await?;
        if counters.want <= counters.done {
            // A later look: the sweep would not know that it is still to be done.
            self.deps.store.raise_want(&self.target, now).await?;
            counters.want += 1;
        }
        // This nudge is on its way: whoever raises the want meanwhile needs no other.
        self.deps.store.nudge_sent(&self.target, counters.want, now).await?;
        self.deps.store.look_again(&self.target, at + SignedDuration::from_secs(5)).await?;
        if wait <= LONGEST_DELAY {
            // Of a number that nothing has shown yet.
            let message = message.clone().numbered(counters.want);
            sender.send_later(message, wait).await?;
        }
        Ok(())
    }

    /// Writes down what was done.
    pub(crate) async fn remember<T: Serialize>(
        &self,
        memory: &mut Memory<T>,
    ) -> Result<(), Trouble> {
        let key = keys::feedback_memory(&self.target);
        let write = Write::put(key, memory.expect, &memory.value)?;
        let version = write.version();
        match self.deps.store.write(vec![write]).await? {
            Outcome::Written => {
                memory.expect = version.map_or(Expect::Absent, Expect::Version);
                Ok(())
            }
            Outcome::Stale => Err(Trouble::Own(Failure::wait(
                anyhow::anyhow!("another delivery is publishing {} right now", self.target),
                Duration::from_secs(1),
            ))),
        }
    }
}

/// What the publisher remembers of a target, and what a write of it expects.
pub(crate) struct Memory<T> {
    expect: Expect,
    pub(crate) value: T,
}

impl<T: DeserializeOwned + Default> Memory<T> {
    fn of(found: Option<Stored<Value>>) -> Result<Self, Trouble> {
        Ok(match found.map(|found| found.parsed::<T>()).transpose()? {
            Some(Stored { version, value, .. }) => Self { expect: Expect::Version(version), value },
            None => Self { expect: Expect::Absent, value: T::default() },
        })
    }
}

/// An answer that repeating will not change soon: GitLab's own words, kept for people.
pub(crate) fn refusal(error: &GitlabError) -> Option<String> {
    error.is_refusal().then(|| error.to_string())
}

pub(crate) use gantry_gitlab::Client;

pub(crate) fn client(connected: &Connected) -> &Client {
    &connected.client
}
