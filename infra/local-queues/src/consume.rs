//! Consumes local queues as Lambda's event source mapping consumes SQS. What was handled meanwhile is
//! deleted with each look for more.

use crate::LocalQueues;
use futures::FutureExt as _;
use gantry_queue::{Driver, Handler, QueueName, Received, by_group};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};

/// A received message stays invisible this much longer than its handler may take.
const SPARE: Duration = Duration::from_secs(10);
/// How long to wait when the file cannot be read.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Consumes a queue until `shutdown`, `side_by_side` groups at the same time, then lets what runs finish. Wakes at once when a message
/// comes or becomes visible, and asks nothing in between.
pub async fn consume(
    queues: Arc<LocalQueues>,
    queue: QueueName,
    driver: Driver,
    handler: Arc<dyn Handler>,
    side_by_side: usize,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut running: JoinSet<Vec<String>> = JoinSet::new();
    // The receipts of what was handled and is still in the file.
    let mut done = Vec::new();
    while (&mut shutdown).now_or_never().is_none() {
        while let Some(ended) = running.try_join_next() {
            done.extend(ended.unwrap_or_default());
        }
        let mut changed = std::pin::pin!(queues.changed(queue));
        // From here on no change is missed.
        changed.as_mut().enable();
        let room = side_by_side.max(1).saturating_sub(running.len());
        match look(&queues, queue, &mut done, room) {
            Ok(Found::Messages(batch)) => {
                // Groups end on their own, so that a slow one does not hold back the others.
                for group in by_group(batch) {
                    let (driver, handler) = (driver.clone(), Arc::clone(&handler));
                    let deadline = Instant::now() + queue.handling_time();
                    running.spawn(run(queue, driver, group, deadline, handler));
                }
                // Others get their turn between two batches.
                tokio::task::yield_now().await;
            }
            Ok(Found::NothingFor(wait)) => {
                let wait = wait.unwrap_or(Duration::from_secs(3600));
                tokio::select! {
                    () = &mut shutdown => break,
                    () = changed => {}
                    Some(ended) = running.join_next() => done.extend(ended.unwrap_or_default()),
                    () = tokio::time::sleep(wait) => {}
                }
            }
            Err(error) => {
                tracing::error!(%queue, "the queue cannot be read: {error}");
                tokio::select! {
                    () = &mut shutdown => break,
                    () = tokio::time::sleep(AFTER_ERROR) => {}
                }
            }
        }
    }
    delete(&queues, queue, &done);
    while let Some(ended) = running.join_next().await {
        delete(&queues, queue, &ended.unwrap_or_default());
    }
}

enum Found {
    Messages(Vec<Received>),
    NothingFor(Option<Duration>),
}

/// Deletes what is done, together with the look for more.
fn look(
    queues: &LocalQueues,
    queue: QueueName,
    done: &mut Vec<String>,
    room: usize,
) -> rusqlite::Result<Found> {
    if room > 0 {
        let batch = queues.exchange(queue, done, room, queue.handling_time() + SPARE)?;
        done.clear();
        if !batch.is_empty() {
            return Ok(Found::Messages(batch));
        }
    }
    let next = queues.next_visible_at(queue)?;
    Ok(Found::NothingFor(next.map(|at| queues.until(at) + Duration::from_millis(1))))
}

/// The receipts of what is done.
async fn run(
    queue: QueueName,
    driver: Driver,
    group: Vec<Received>,
    deadline: Instant,
    handler: Arc<dyn Handler>,
) -> Vec<String> {
    let receipts: Vec<(String, String)> =
        group.iter().map(|m| (m.message_id.clone(), m.receipt.clone())).collect();
    let outcome = driver.run_batch(queue, group, deadline, &handler).await;
    let mut done = receipts;
    done.retain(|(id, _)| !outcome.failed.contains(id));
    done.into_iter().map(|(_, receipt)| receipt).collect()
}

fn delete(queues: &LocalQueues, queue: QueueName, done: &[String]) {
    if done.is_empty() {
        return;
    }
    let receipts: Vec<&str> = done.iter().map(String::as_str).collect();
    if let Err(error) = queues.delete(queue, &receipts) {
        // They are delivered again, which does no harm.
        tracing::error!(%queue, "handled messages cannot be deleted: {error}");
    }
}
