//! Queues in one SQLite file, for one machine and for tests. They behave as SQS does where it
//! shows: order and one delivery at a time within a group, five minutes of deduplication,
//! visibility, receive counts, delays and dead letters. What was accepted survives `kill -9`.
//!
//! Calls take microseconds and block the thread that they are made on.

mod consume;
mod sql;

pub use consume::consume;

use async_trait::async_trait;
use gantry_queue::{
    Backlog, DeadLetter, DeadLetters, Envelope, Now, Outgoing, QueueName, Received, SendError,
    Transport,
};
use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, futures::Notified};

/// The most messages of one receipt, as with SQS.
pub const MAX_BATCH: usize = 10;

/// The queues of one machine.
pub struct LocalQueues {
    connection: Mutex<Connection>,
    now: Now,
    changed: [Notify; QueueName::ALL.len()],
}

/// How many messages a queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Visible, though maybe behind another message of their group.
    pub visible: usize,
    /// Received and neither deleted nor visible again, or still delayed.
    pub invisible: usize,
    /// Given up.
    pub dead: usize,
}

/// What may be received.
#[derive(Default)]
struct Pick<'a> {
    group: Option<&'a str>,
    message_id: Option<&'a str>,
}

impl LocalQueues {
    /// Queues in a file, which is made if it is not there.
    pub fn open(path: &Path, now: Now) -> rusqlite::Result<Self> {
        Self::new(Connection::open(path)?, now)
    }

    /// Queues that end with the process.
    pub fn in_memory(now: Now) -> rusqlite::Result<Self> {
        Self::new(Connection::open_in_memory()?, now)
    }

    fn new(connection: Connection, now: Now) -> rusqlite::Result<Self> {
        sql::prepare(&connection)?;
        Ok(Self { connection: Mutex::new(connection), now, changed: Default::default() })
    }

    /// Receives up to `max` (at most [`MAX_BATCH`]) messages, which stay invisible for
    /// `visibility`. While one message of a group is invisible, no other of it is received.
    pub fn receive(
        &self,
        queue: QueueName,
        max: usize,
        visibility: Duration,
    ) -> rusqlite::Result<Vec<Received>> {
        self.exchange(queue, &[], max, visibility)
    }

    /// Ends received messages and receives others, in one transaction.
    pub(crate) fn exchange(
        &self,
        queue: QueueName,
        ended: &[String],
        max: usize,
        visibility: Duration,
    ) -> rusqlite::Result<Vec<Received>> {
        self.take(queue, ended, &Pick::default(), max, visibility)
    }

    /// Like [`Self::receive`], from one group alone.
    pub fn receive_group(
        &self,
        queue: QueueName,
        group: &str,
        max: usize,
        visibility: Duration,
    ) -> rusqlite::Result<Vec<Received>> {
        self.take(queue, &[], &Pick { group: Some(group), ..Pick::default() }, max, visibility)
    }

    /// Receives one message, also when earlier ones of its group are still waiting: for tests
    /// that shuffle. None when it is invisible, or another one of its group is.
    pub fn receive_message(
        &self,
        queue: QueueName,
        message_id: &str,
        visibility: Duration,
    ) -> rusqlite::Result<Option<Received>> {
        let pick = Pick { message_id: Some(message_id), ..Pick::default() };
        Ok(self.take(queue, &[], &pick, 1, visibility)?.pop())
    }

    /// Everything in a queue, in order and without receiving it: `receipt` is empty.
    pub fn peek(&self, queue: QueueName) -> rusqlite::Result<Vec<Received>> {
        self.with(|connection| sql::peek(connection, queue))
    }

    /// Ends received messages. A receipt that is no longer good ends nothing.
    pub fn delete(&self, queue: QueueName, receipts: &[&str]) -> rusqlite::Result<()> {
        self.with(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for receipt in receipts {
                sql::delete(&transaction, queue, receipt)?;
            }
            transaction.commit()
        })?;
        self.wake(queue);
        Ok(())
    }

    /// Makes visible what a process received that is gone. For the one process that consumes the
    /// file, when it starts: nobody else holds anything then.
    pub fn take_back(&self) -> rusqlite::Result<()> {
        let now = self.millis();
        self.with(|connection| sql::take_back(connection, now))?;
        QueueName::ALL.into_iter().for_each(|queue| self.wake(queue));
        Ok(())
    }

    /// How many messages a queue holds.
    pub fn counts(&self, queue: QueueName) -> rusqlite::Result<QueueCounts> {
        let now = self.millis();
        self.with(|connection| sql::counts(connection, queue, now))
    }

    /// When the next invisible message of a queue becomes visible.
    pub fn next_visible_at(&self, queue: QueueName) -> rusqlite::Result<Option<Timestamp>> {
        let now = self.millis();
        let next = self.with(|connection| sql::next_visible_at(connection, queue, now))?;
        Ok(next.and_then(|millis| Timestamp::from_millisecond(millis).ok()))
    }

    /// Waits for the next change of a queue: enable it, look, then await it.
    pub fn changed(&self, queue: QueueName) -> Notified<'_> {
        self.changed[queue as usize].notified()
    }

    /// The time until `at`, by the queues' own clock.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        let millis = at.as_millisecond().saturating_sub(self.millis());
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    fn take(
        &self,
        queue: QueueName,
        ended: &[String],
        pick: &Pick<'_>,
        max: usize,
        visibility: Duration,
    ) -> rusqlite::Result<Vec<Received>> {
        let now = self.millis();
        let until = now.saturating_add(in_millis(visibility));
        self.with(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for receipt in ended {
                sql::delete(&transaction, queue, receipt)?;
            }
            sql::bury_worn_out(&transaction, queue, now)?;
            let received = sql::receive(&transaction, queue, pick, max.min(MAX_BATCH), now, until)?;
            transaction.commit()?;
            Ok(received)
        })
    }

    fn accept(&self, messages: &[Outgoing]) -> rusqlite::Result<()> {
        let now = self.millis();
        self.with(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            sql::forget_old_dedups(&transaction, now)?;
            for message in messages {
                let visible_at = now.saturating_add(in_millis(message.delay.unwrap_or_default()));
                sql::insert(&transaction, message, now, visible_at)?;
            }
            transaction.commit()
        })
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        work(&mut self.connection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wake(&self, queue: QueueName) {
        self.changed[queue as usize].notify_waiters();
    }

    fn millis(&self) -> i64 {
        (self.now)().as_millisecond()
    }
}

fn in_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl Transport for LocalQueues {
    async fn send(&self, messages: Vec<Outgoing>) -> Vec<Result<(), SendError>> {
        let mut results: Vec<_> = messages.iter().map(Outgoing::check).collect();
        let mut good = messages;
        let mut verdicts = results.iter();
        good.retain(|_| verdicts.next().is_some_and(Result::is_ok));
        if let Err(error) = self.accept(&good) {
            for (result, message) in results.iter_mut().filter(|r| r.is_ok()).zip(&good) {
                let message_text = error.to_string();
                *result =
                    Err(SendError::Unavailable { queue: message.queue, message: message_text });
            }
        }
        for queue in QueueName::ALL {
            if good.iter().any(|message| message.queue == queue) {
                self.wake(queue);
            }
        }
        results
    }

    async fn change_visibility(
        &self,
        queue: QueueName,
        receipt: &str,
        delay: Duration,
    ) -> anyhow::Result<()> {
        let until = self.millis().saturating_add(in_millis(delay));
        self.with(|connection| sql::change_visibility(connection, queue, receipt, until))?;
        self.wake(queue);
        Ok(())
    }

    async fn move_to_dead_letters(
        &self,
        queue: QueueName,
        message: &Received,
        error: &str,
    ) -> anyhow::Result<()> {
        self.with(|connection| sql::bury(connection, queue, &message.message_id, error))?;
        Ok(())
    }
}

#[async_trait]
impl DeadLetters for LocalQueues {
    async fn backlog(&self, queue: QueueName) -> anyhow::Result<Backlog> {
        let now = self.millis();
        Ok(self.with(|connection| sql::backlog(connection, queue, now))?)
    }

    async fn count_dead_letters(&self, queue: QueueName) -> anyhow::Result<u64> {
        Ok(self.with(|connection| sql::count_dead_letters(connection, queue))?)
    }

    async fn dead_letters(&self, queue: QueueName) -> anyhow::Result<Vec<DeadLetter>> {
        let dead = self.with(|connection| sql::dead_letters(connection, queue))?;
        let letter = |(message, error): (Received, Option<String>)| {
            let envelope = Envelope::from_body(&message.body).ok();
            let ids = envelope.as_ref().map(|envelope| envelope.message.ids()).unwrap_or_default();
            DeadLetter {
                kind: envelope.as_ref().map(|envelope| envelope.message.kind()),
                stack: ids.stack.cloned(),
                run: ids.run.cloned(),
                id: message.message_id,
                group: message.group,
                sent_at: message.sent_at,
                error,
            }
        };
        Ok(dead.into_iter().map(letter).collect())
    }

    async fn redrive(&self, queue: QueueName) -> anyhow::Result<usize> {
        let now = self.millis();
        let count = self.with(|connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let count = sql::redrive(&transaction, queue, now)?;
            transaction.commit()?;
            Ok(count)
        })?;
        self.wake(queue);
        Ok(count)
    }
}
