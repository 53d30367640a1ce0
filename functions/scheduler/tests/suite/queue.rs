//! What stands in for the queues: it keeps what is sent, and nobody receives it.

use gantry_queue::{
    Backlog, DeadLetter, DeadLetters, Envelope, Message, Outgoing, QueueName, Received, SendError,
    Transport,
};
use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::Notify;

/// Takes messages, and hangs once it has taken as many as it may.
pub(crate) struct Queue {
    sent: Mutex<Vec<Message>>,
    /// How many it takes from now on.
    pub(crate) takes: Mutex<usize>,
    /// It has begun to hang.
    pub(crate) is_over: Notify,
    /// How many dead letters each of two queues has; none when it does not answer.
    pub(crate) dead: Mutex<Option<[u64; 2]>>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            sent: Mutex::default(),
            takes: Mutex::new(usize::MAX),
            is_over: Notify::new(),
            dead: Mutex::default(),
        }
    }
}

impl Queue {
    /// What was sent since this was asked last.
    pub(crate) fn take_sent(&self) -> Vec<Message> {
        std::mem::take(&mut *self.sent())
    }

    fn sent(&self) -> MutexGuard<'_, Vec<Message>> {
        self.sent.lock().unwrap()
    }
}

#[async_trait::async_trait]
impl Transport for Queue {
    async fn send(&self, messages: Vec<Outgoing>) -> Vec<Result<(), SendError>> {
        let takes = {
            let mut takes = self.takes.lock().unwrap();
            let left = *takes;
            *takes = left.saturating_sub(messages.len());
            left >= messages.len()
        };
        if !takes {
            self.is_over.notify_one();
            std::future::pending::<()>().await;
        }
        let read = messages.iter().map(|m| Envelope::from_body(&m.body).unwrap().message);
        self.sent().extend(read);
        messages.iter().map(|_| Ok(())).collect()
    }

    async fn change_visibility(&self, _: QueueName, _: &str, _: Duration) -> anyhow::Result<()> {
        Ok(())
    }

    async fn move_to_dead_letters(
        &self,
        _: QueueName,
        _: &Received,
        _: &str,
    ) -> anyhow::Result<()> {
        anyhow::bail!("nothing is given up here")
    }
}

#[async_trait::async_trait]
impl DeadLetters for Queue {
    async fn backlog(&self, _: QueueName) -> anyhow::Result<Backlog> {
        anyhow::bail!("nobody looks here")
    }

    async fn count_dead_letters(&self, queue: QueueName) -> anyhow::Result<u64> {
        let Some([events, starts]) = *self.dead.lock().unwrap() else {
            anyhow::bail!("the queues do not answer")
        };
        Ok(match queue {
            QueueName::Events => events,
            QueueName::Starts => starts,
            _ => 0,
        })
    }

    async fn dead_letters(&self, _: QueueName) -> anyhow::Result<Vec<DeadLetter>> {
        anyhow::bail!("counting is enough")
    }

    async fn redrive(&self, _: QueueName) -> anyhow::Result<usize> {
        anyhow::bail!("nothing is sent again")
    }
}
