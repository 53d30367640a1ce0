//! Consumes local queues as Lambda's event source mapping consumes SQS.

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
    let mut running = JoinSet::new();
    while (&mut shutdown).now_or_never().is_none() {
        while running.try_join_next().is_some() {}
        let mut changed = std::pin::pin!(queues.changed(queue));
        // From here on no change is missed.
        changed.as_mut().enable();
        let room = side_by_side.max(1).saturating_sub(running.len());
        match look(&queues, queue, room) {
            Ok(Found::Messages(batch)) => {
                // Groups end on their own, so that a slow one does not hold back the others.
                for group in by_group(batch) {
                    let (queues, driver, handler) =
                        (Arc::clone(&queues), driver.clone(), Arc::clone(&handler));
                    let deadline = Instant::now() + queue.handling_time();
                    running.spawn(async move {
                        run(&queues, queue, &driver, group, deadline, &handler).await;
                    });
                }
                // Others get their turn between two batches.
                tokio::task::yield_now().await;
            }
            Ok(Found::NothingFor(wait)) => {
                let wait = wait.unwrap_or(Duration::from_secs(3600));
                tokio::select! {
                    () = &mut shutdown => break,
                    () = changed => {}
                    Some(_) = running.join_next() => {}
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
    while running.join_next().await.is_some() {}
}

enum Found {
    Messages(Vec<Received>),
    NothingFor(Option<Duration>),
}

fn look(queues: &LocalQueues, queue: QueueName, room: usize) -> rusqlite::Result<Found> {
    if room > 0 {
        let batch = queues.receive(queue, room, queue.handling_time() + SPARE)?;
        if !batch.is_empty() {
            return Ok(Found::Messages(batch));
        }
    }
    let next = queues.next_visible_at(queue)?;
    Ok(Found::NothingFor(next.map(|at| queues.until(at) + Duration::from_millis(1))))
}

async fn run(
    queues: &LocalQueues,
    queue: QueueName,
    driver: &Driver,
    group: Vec<Received>,
    deadline: Instant,
    handler: &Arc<dyn Handler>,
) {
    let receipts: Vec<(String, String)> =
        group.iter().map(|m| (m.message_id.clone(), m.receipt.clone())).collect();
    let outcome = driver.run_batch(queue, group, deadline, handler).await;
    let done: Vec<&str> = receipts
        .iter()
        .filter(|(id, _)| !outcome.failed.contains(id))
        .map(|(_, receipt)| receipt.as_str())
        .collect();
    if let Err(error) = queues.delete(queue, &done) {
        // They are delivered again, which does no harm.
        tracing::error!(%queue, "handled messages cannot be deleted: {error}");
    }
}
