//! Turns a batch into single messages, and decides what becomes of those that fail.
//!
//! Groups run side by side, each in order. The first failure of a group holds back the later
//! messages of that group only. What failed or was held back becomes visible again after a short,
//! growing delay. A message that keeps failing is moved to the dead-letter queue with its error.
//! Nothing in here knows what a message means.

use crate::{
    Context, Envelope, Failure, Handler, Message, QueueName,
    transport::{Received, Transport},
};
use futures::StreamExt;
use gantry_setup::{deadline, failures::FailureCounts};
use std::{sync::Arc, time::Duration};
use tokio::{
    task::{JoinError, JoinSet},
    time::Instant,
};
use tracing::{Instrument, Span, field::Empty};

/// The longest that a failed message waits: what needs longer is found by the sweep.
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// How a driver works.
#[derive(Debug, Clone)]
pub struct DriverOptions {
    /// At this many failures a message is moved to the dead-letter queue.
    pub limit: u32,
    /// No message is started with less time left than this.
    pub reserve: Duration,
    /// A handler is interrupted this long before the deadline, so that the outcome can be told.
    pub grace: Duration,
    /// How many groups run at the same time.
    pub side_by_side: usize,
}

impl Default for DriverOptions {
    fn default() -> Self {
        Self {
            limit: 5,
            reserve: Duration::from_secs(5),
            grace: Duration::from_secs(1),
            side_by_side: 10,
        }
    }
}

/// Runs batches. Cheap to clone.
#[derive(Clone)]
pub struct Driver {
    transport: Arc<dyn Transport>,
    failures: Arc<dyn FailureCounts>,
    options: DriverOptions,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    /// The ids of the messages that failed or were held back: all others are done.
    pub failed: Vec<String>,
    /// The ids of the messages that were moved to the dead-letter queue; they are done.
    pub dead: Vec<String>,
}

/// What became of one message.
enum Fate {
    Done,
    Dead,
    Retry(Duration),
}

impl Driver {
    /// A driver with the usual options.
    pub fn new(transport: Arc<dyn Transport>, failures: Arc<dyn FailureCounts>) -> Self {
        Self::with_options(transport, failures, DriverOptions::default())
    }

    /// A driver with options of its own.
    pub fn with_options(
        transport: Arc<dyn Transport>,
        failures: Arc<dyn FailureCounts>,
        options: DriverOptions,
    ) -> Self {
        Self { transport, failures, options }
    }

    /// Handles a batch as far as the time until `deadline` allows. Never fails as a whole.
    pub async fn run_batch(
        &self,
        queue: QueueName,
        batch: Vec<Received>,
        deadline: Instant,
        handler: &Arc<dyn Handler>,
    ) -> BatchOutcome {
        let outcomes: Vec<BatchOutcome> = futures::stream::iter(by_group(batch))
            .map(|group| self.run_group(queue, group, deadline, handler))
            .buffer_unordered(self.options.side_by_side.max(1))
            .collect()
            .await;
        let mut all = BatchOutcome::default();
        for outcome in outcomes {
            all.failed.extend(outcome.failed);
            all.dead.extend(outcome.dead);
        }
        all
    }

    async fn run_group(
        &self,
        queue: QueueName,
        group: Vec<Received>,
        deadline: Instant,
        handler: &Arc<dyn Handler>,
    ) -> BatchOutcome {
        let mut outcome = BatchOutcome::default();
        // Set once the rest of the group must wait: how long.
        let mut held: Option<Duration> = None;
        for message in group {
            if held.is_none() && Instant::now() + self.options.reserve > deadline {
                held = Some(Duration::ZERO);
            }
            let wait = match held {
                Some(wait) => wait,
                None => match self.run_message(queue, &message, deadline, handler).await {
                    Fate::Done => continue,
                    Fate::Dead => {
                        outcome.dead.push(message.message_id);
                        continue;
                    }
                    Fate::Retry(wait) => *held.insert(wait),
                },
            };
            if let Err(error) =
                self.transport.change_visibility(queue, &message.receipt, wait).await
            {
                // It becomes visible after the queue's own time instead.
                tracing::warn!(%queue, message.id = message.message_id, "a message is waiting \
                                                                         longer than it should: \
                                                                         {error:#}");
            }
            outcome.failed.push(message.message_id);
        }
        outcome
    }

    async fn run_message(
        &self,
        queue: QueueName,
        message: &Received,
        deadline: Instant,
        handler: &Arc<dyn Handler>,
    ) -> Fate {
        let span = tracing::info_span!(
            "message",
            %queue,
            message.id = message.message_id,
            receives = message.receive_count,
            kind = Empty,
            hops = Empty,
            event.id = Empty,
            project.id = Empty,
            stack = Empty,
            run.id = Empty,
            commit = Empty,
        );
        let work = async {
            let begun = Instant::now();
            let result = match Envelope::from_body(&message.body) {
                Ok(envelope) => {
                    record_ids(&Span::current(), &envelope);
                    self.handle(queue, message, envelope, deadline, handler).await
                }
                Err(error) => Err(error.into()),
            };
            // `make bench` reads it.
            let duration_ms = begun.elapsed().as_secs_f64() * 1e3;
            tracing::debug!(duration_ms, "the handler has ended");
            match result {
                Ok(()) => {
                    // Only what was delivered before can have failed before.
                    if message.receive_count > 1 {
                        self.forget(queue, message).await;
                    }
                    Fate::Done
                }
                Err(failure) => self.failed(queue, message, failure).await,
            }
        };
        work.instrument(span).await
    }

    /// One handler in a task of its own, so that its panic is a failure like any other.
    async fn handle(
        &self,
        queue: QueueName,
        message: &Received,
        envelope: Envelope,
        deadline: Instant,
        handler: &Arc<dyn Handler>,
    ) -> Result<(), Failure> {
        let deadline = deadline.checked_sub(self.options.grace).unwrap_or(deadline);
        let context = Context {
            queue,
            message_id: message.message_id.clone(),
            receive_count: message.receive_count,
            hops: envelope.hops,
            sent_at: envelope.sent_at.or(message.sent_at),
            deadline,
        };
        let handler = Arc::clone(handler);
        let work = async move {
            deadline::until(deadline, handler.handle(context, envelope.message)).await
        };
        // A set aborts its tasks when it is dropped, by the time limit or with the whole batch.
        let mut task = JoinSet::new();
        task.spawn(work.in_current_span());
        match tokio::time::timeout_at(deadline, task.join_next()).await {
            Ok(Some(Ok(result))) => result,
            Ok(Some(Err(error))) => Err(anyhow::anyhow!(panic_text(error)).into()),
            Ok(None) => Err(anyhow::anyhow!("the handler did not run").into()),
            // Whatever took so long, the message is not to blame: what was done so far stays done.
            Err(_) => {
                let error = anyhow::anyhow!("the handler was not done in time");
                Err(Failure::wait(error, delay(message.receive_count)))
            }
        }
    }

    /// Poison is decided here: by the message's own count of failures.
    async fn failed(&self, queue: QueueName, message: &Received, failure: Failure) -> Fate {
        let error = format!("{:#}", failure.error);
        if let Some(wait) = failure.retry_after {
            let wait = wait.max(patience(message.receive_count)).min(LONGEST_WAIT);
            tracing::warn!(wait_s = wait.as_secs(), error, "not handled yet, trouble elsewhere");
            return Fate::Retry(wait);
        }
        let count = match self.failures.failed(queue.as_str(), &message.message_id).await {
            Ok(count) => count,
            Err(uncounted) => {
                // While the records cannot be reached nothing is given up.
                let wait = delay(message.receive_count).max(patience(message.receive_count));
                let uncounted = format!("{uncounted:#}");
                tracing::warn!(wait_s = wait.as_secs(), error, uncounted, "not handled");
                return Fate::Retry(wait);
            }
        };
        let wait = delay(count);
        if count < self.options.limit {
            tracing::warn!(wait_s = wait.as_secs(), failures = count, error, "not handled");
            return Fate::Retry(wait);
        }
        match self.transport.move_to_dead_letters(queue, message, &error).await {
            Ok(()) => {
                tracing::error!(failures = count, error, "moved to the dead-letter queue");
                self.forget(queue, message).await;
                Fate::Dead
            }
            Err(not_moved) => {
                let not_moved = format!("{not_moved:#}");
                tracing::error!(
                    failures = count,
                    error,
                    not_moved,
                    "cannot be moved to the dead-letter queue"
                );
                Fate::Retry(wait)
            }
        }
    }

    async fn forget(&self, queue: QueueName, message: &Received) {
        if let Err(error) = self.failures.clear(queue.as_str(), &message.message_id).await {
            tracing::debug!("a count of failures stays: {error:#}");
        }
    }
}

/// The least that a message waits for trouble elsewhere to end. The queue itself gives a message
/// up at its 50th delivery: an outage of hours must not use them up.
fn patience(deliveries: u32) -> Duration {
    Duration::from_secs(match deliveries {
        0..=10 => 0,
        11..=20 => 60,
        21..=25 => 300,
        _ => 900,
    })
}

/// How long a message waits after its n-th failure.
fn delay(failures: u32) -> Duration {
    Duration::from_secs(match failures {
        0 | 1 => 1,
        2 => 2,
        3 => 5,
        4 => 15,
        _ => 60,
    })
}

/// Splits a batch into its groups, each in the batch's order. Without a group, each message is
/// its own.
pub fn by_group(batch: Vec<Received>) -> Vec<Vec<Received>> {
    let mut groups: Vec<Vec<Received>> = Vec::new();
    for message in batch {
        let same = groups
            .iter_mut()
            .find(|group| message.group.is_some() && group[0].group == message.group);
        match same {
            Some(group) => group.push(message),
            None => groups.push(vec![message]),
        }
    }
    groups
}

fn record_ids(span: &Span, envelope: &Envelope<Message>) {
    use tracing::field::display;
    let ids = envelope.message.ids();
    span.record("kind", envelope.message.kind());
    span.record("hops", envelope.hops);
    ids.event.map(|id| span.record("event.id", display(id)));
    ids.project.map(|id| span.record("project.id", display(id)));
    ids.stack.map(|id| span.record("stack", display(id)));
    ids.run.map(|id| span.record("run.id", display(id)));
    ids.commit.map(|id| span.record("commit", display(id)));
}

fn panic_text(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned());
            format!("the handler panicked: {}", text.as_deref().unwrap_or("without a text"))
        }
        Err(_) => "the handler was interrupted".to_owned(),
    }
}
