//! Sending webhooks.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::delivery::{Delivery, DeliveryResult, NotSent};

/// Sends one webhook, by itself or by hand (a test, a resend), and writes down what came of it.
pub(super) async fn deliver(
    shared: &Arc<Shared>,
    delivery: Delivery,
    by_hand: bool,
) -> DeliveryResult {
    let prepared = shared.lock().prepare_delivery(&shared.client, &delivery, by_hand);
    let request = match prepared {
        Ok(request) => request,
        Err(NotSent::Nowhere(reason)) => {
            return DeliveryResult { delivery, status: None, error: Some(reason.to_owned()) };
        }
        Err(NotSent::Failed(reason)) => {
            let result = DeliveryResult { delivery, status: None, error: Some(reason) };
            shared.lock().record_delivery(&result);
            return result;
        }
    };
    let result = match request.send().await {
        Ok(response) => {
            let status = Some(response.status().as_u16());
            DeliveryResult { delivery, status, error: None }
        }
        Err(error) => {
            let error = Some(error.without_url().to_string());
            DeliveryResult { delivery, status: None, error }
        }
    };
    shared.lock().record_delivery(&result);
    result
}

/// The background work of a server that nobody drives by hand: pipelines whose time has come,
/// and webhooks, each in a job of its own as GitLab's are.
pub(super) async fn work(shared: Arc<Shared>) {
    let mut jobs = tokio::task::JoinSet::new();
    loop {
        let (deliveries, next, now) = {
            let mut state = shared.lock();
            state.tick();
            let deliveries: Vec<Delivery> = state.outbox.drain(..).collect();
            (deliveries, state.next_due(), state.now())
        };
        for delivery in deliveries {
            let shared = Arc::clone(&shared);
            jobs.spawn(async move { deliver(&shared, delivery, false).await });
        }
        while jobs.try_join_next().is_some() {}
        let pause = next.and_then(|due| Duration::try_from(due.duration_since(now)).ok());
        let pause = pause.unwrap_or(Duration::from_secs(3600)).max(Duration::from_millis(5));
        // Whichever comes first; both mean: look again.
        let _ = tokio::time::timeout(pause, shared.wake.notified()).await;
    }
}
