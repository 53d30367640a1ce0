//! The publisher: the only writer of feedback to GitLab.
//!
//! It is level-triggered: a message names what to bring up to date, never what to write. It reads
//! the records, computes what GitLab should show, compares with what it last wrote, and writes the
//! difference. Run twice, it writes nothing.

mod environment;
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
use gantry_store::{Expect, Outcome, Store, Stored, Write, feedback::Published, keys};
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, de::DeserializeOwned};
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
}

impl Publisher {
    /// A publisher.
    pub fn new(deps: Deps) -> Self {
        Self { deps }
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
fn between_large_looks(runs: usize) -> Duration {
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
        let work = Work { deps, target, was_interrupted };
        let mut counters = work.deps.store.counters(&work.target).await?;
        if counters.has_done(message.number()) {
            // An earlier nudge has shown it already.
            return Ok(());
        }
        for _ in 0..ROUNDS {
            let want = counters.want;
            let done = match work.bring_up_to_date(&message).await {
                Ok(done) => done,
                // Not even reading is allowed, or the whole project is not shown.
                Err(Trouble::Gitlab(error)) if error.is_refusal() => {
                    Done { refused: Some(error.to_string()), ..Done::default() }
                }
                Err(trouble) => return work.wait_for_gitlab(&message, trouble).await,
            };
            let now = work.deps.clock.now();
            // What was refused is asked again by and by: the sweep and comparisons see to it.
            work.deps.store.note_refusal(&work.target, counters, done.refused, now).await?;
            // What changes meanwhile makes the next look necessary, not this message.
            let sender = &self.deps.sender;
            if done.waits {
                let wait = between_large_looks(done.runs);
                return work.nudge_later(sender, &message, wait).await;
            }
            if work.deps.store.published(&work.target, want, now).await? == Published::UpToDate {
                return Ok(());
            }
            if done.runs > MANY_RUNS {
                let wait = between_large_looks(done.runs);
                return work.nudge_later(sender, &message, wait).await;
            }
            counters = work.deps.store.counters(&work.target).await?;
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
    /// Nothing was brought up to date: it is not time yet, and others go on.
    pub(crate) waits: bool,
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
}

impl Work {
    async fn bring_up_to_date(&self, message: &FeedbackMessage) -> Result<Done, Trouble> {
        let connected = self.deps.gitlab.connected().await.map_err(Trouble::NotConnected)?;
        let done = match message {
            FeedbackMessage::Status { project, commit, .. } => {
                self.publish_statuses(&connected, *project, commit).await
            }
            FeedbackMessage::Note { project, iid, .. } => {
                self.publish_note(&connected, *project, *iid).await
            }
            FeedbackMessage::Environment { stack, .. } => {
                self.publish_environment(&connected, stack).await
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

    /// What was remembered of the target.
    pub(crate) async fn memory<T: DeserializeOwned + Default>(&self) -> Result<Memory<T>, Trouble> {
        let key = keys::feedback_memory(&self.target);
        Ok(match self.deps.store.get::<T>(&key).await? {
            Some(Stored { version, value, .. }) => {
                Memory { expect: Expect::Version(version), value }
            }
            None => Memory { expect: Expect::Absent, value: T::default() },
        })
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

/// Whether a nudge that was sent for `next` is still to come, and comes in time for `at`.
pub(crate) fn comes_before(next: Option<Timestamp>, at: Timestamp, now: Timestamp) -> bool {
    // One that comes a little too early, by another machine's clock, is not waited for again.
    next.is_some_and(|next| next > now + SignedDuration::from_secs(1) && next <= at)
}

/// An answer that repeating will not change soon: GitLab's own words, kept for people.
pub(crate) fn refusal(error: &GitlabError) -> Option<String> {
    error.is_refusal().then(|| error.to_string())
}

pub(crate) use gantry_gitlab::Client;

pub(crate) fn client(connected: &Connected) -> &Client {
    &connected.client
}
