//! Writing down what became of an event.

use super::{Event, Projects};
use crate::deps::HISTORY_KEPT;
use gantry_domain::event::EventRecord;
use gantry_queue::Failure;
use gantry_store::{Expect, Outcome, Write, keys, scheduler::Receipt};
use jiff::Timestamp;

/// Between what became of an event and what became of it when it was sent again.
const AGAIN: &str = "; sent again: ";

/// The outcome of an event that was sent again: what is `known` from before, and the newest.
fn known_and_again(known: Option<String>, again: Option<String>) -> Option<String> {
    let known = known.map(|known| known.split(AGAIN).next().unwrap_or_default().to_owned());
    match (known, again) {
        (Some(known), Some(again)) if known != again => Some(format!("{known}{AGAIN}{again}")),
        (known, again) => known.or(again),
    }
}

impl Projects<'_> {
    pub(super) async fn write_outcome(
        &self,
        event: &Event,
        outcome: String,
    ) -> Result<(), Failure> {
        let record = EventRecord {
            id: event.id.clone(),
            source: event.source,
            project: Some(event.project),
            what: event.what.clone(),
            received_at: event.received_at,
            outcome: Some(outcome),
        };
        self.write_event(record).await
    }

    pub(super) async fn write_event(&self, mut record: EventRecord) -> Result<(), Failure> {
        tracing::info!(
            event = %record.id, project.id = record.project.map(|p| p.0),
            "{}: {}", record.what, record.outcome.as_deref().unwrap_or("received")
        );
        if let Some(first) = self.first_receipt(&record).await? {
            let key = keys::event(first, &record.id);
            let known = self.deps.store.get::<EventRecord>(&key).await?;
            let known = known.and_then(|known| known.value.outcome);
            record.received_at = first;
            record.outcome = known_and_again(known, record.outcome);
        }
        let write = Write::put(keys::event(record.received_at, &record.id), Expect::Any, &record)?
            .expires(record.received_at + HISTORY_KEPT);
        self.deps.store.put_all(&[write]).await?;
        Ok(())
    }

    /// When the event was received before, if it was: GitLab, or a person there, sends it again for
    /// days.
    async fn first_receipt(&self, record: &EventRecord) -> Result<Option<Timestamp>, Failure> {
        let store = &self.deps.store;
        let key = keys::receipt(&record.id);
        let receipt = Receipt { at: record.received_at };
        let write = Write::put(key.clone(), Expect::Absent, &receipt)?
            .expires(record.received_at + HISTORY_KEPT);
        if store.write(vec![write]).await? == Outcome::Written {
            return Ok(None);
        }
        let known = store.get::<Receipt>(&key).await?;
        Ok(known.map(|known| known.value.at).filter(|at| *at != record.received_at))
    }
}
