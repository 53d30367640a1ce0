//! Sending webhooks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Shared;
use crate::delivery::{Delivery, DeliveryResult};

/// Sends one webhook and writes down what came of it.
pub(super) async fn deliver(
    shared: &Arc<Shared>,
    mut delivery: Delivery,
    test: bool,
) -> DeliveryResult {
    let prepared = shared.lock().prepare_delivery(&delivery, test);
    let outgoing = match prepared {
        Ok(outgoing) => outgoing,
        Err(reason) => {
            return DeliveryResult { delivery, status: None, error: Some(reason.to_owned()) };
        }
    };
    // From here on it is what was sent.
    delivery.body = outgoing.body.clone().unwrap_or_else(|_| Bytes::from_static(b"{}"));
    let mut request =
        shared.client.post(&outgoing.url).timeout(outgoing.timeout).body(delivery.body.clone());
    for (name, value) in &outgoing.headers {
        request = request.header(name, value);
    }
    let outcome = match outgoing.body {
        Err(problem) => Err(problem),
        Ok(_) => match request.send().await {
            Ok(response) => {
                let code = response.status().as_u16();
                Ok((code, response.text().await.unwrap_or_default()))
            }
            Err(error) => Err(error.without_url().to_string()),
        },
    };
    shared.lock().record_delivery(&delivery, &outgoing.headers, &outcome);
    match outcome {
        Ok((code, _)) => DeliveryResult { delivery, status: Some(code), error: None },
        Err(error) => DeliveryResult { delivery, status: None, error: Some(error) },
    }
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
