//! The queue driver's counts of failures, kept in the table so that every invocation sees them.

use crate::{Expect, Key, Outcome, Store, Stored, Write, keys};
use async_trait::async_trait;
use gantry_setup::failures::FailureCounts;
use serde::{Deserialize, Serialize};

/// How often two counters of one message are let in each other's way before the driver tries
/// again later.
const TRIES: u32 = 5;

/// How often a message failed ([`crate::keys::poison`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Failures {
    count: u32,
}

fn place(queue: &str, message_id: &str) -> Key {
    keys::poison(queue, message_id)
}

#[async_trait]
impl FailureCounts for Store {
    async fn failed(&self, queue: &str, message_id: &str) -> anyhow::Result<u32> {
        let key = place(queue, message_id);
        for _ in 0..TRIES {
            let read: Option<Stored<Failures>> = self.get(&key).await?;
            let expect = read.as_ref().map_or(Expect::Absent, Stored::unchanged);
            let count = read.map_or(0, |read| read.value.count) + 1;
            let write = Write::put(key.clone(), expect, &Failures { count })?;
            if self.write(vec![write]).await? == Outcome::Written {
                return Ok(count);
            }
        }
        anyhow::bail!("the count of failures of {message_id} changes too fast")
    }

    async fn clear(&self, queue: &str, message_id: &str) -> anyhow::Result<()> {
        let gone = Write::Delete { key: place(queue, message_id), expect: Expect::Any };
        let _ = self.write(vec![gone]).await?;
        Ok(())
    }
}
