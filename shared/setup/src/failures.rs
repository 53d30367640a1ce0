//! How often a message failed. Queues ask, and the records answer: neither knows the other.
//!
//! The queue's own receive count will not do: followers in a poison message's group are received
//! together with it, and would be given up with it.

use async_trait::async_trait;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Counts failures by message. The records keep it, so that every invocation sees the same count.
#[async_trait]
pub trait FailureCounts: Send + Sync {
    /// Counts one more failure and answers how many there are now.
    async fn failed(&self, queue: &str, message_id: &str) -> anyhow::Result<u32>;

    /// Forgets a message.
    async fn clear(&self, queue: &str, message_id: &str) -> anyhow::Result<()>;
}

/// Counts that last as long as the process.
#[derive(Debug, Default)]
pub struct MemoryFailures(Mutex<HashMap<(String, String), u32>>);

impl MemoryFailures {
    fn counts(&self) -> MutexGuard<'_, HashMap<(String, String), u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl FailureCounts for MemoryFailures {
    async fn failed(&self, queue: &str, message_id: &str) -> anyhow::Result<u32> {
        let mut counts = self.counts();
        let count = counts.entry((queue.to_owned(), message_id.to_owned())).or_default();
        *count += 1;
        Ok(*count)
    }

    async fn clear(&self, queue: &str, message_id: &str) -> anyhow::Result<()> {
        self.counts().remove(&(queue.to_owned(), message_id.to_owned()));
        Ok(())
    }
}
