//! What the tests of this crate share.

use gantry_domain::{ProjectId, StackId};
use gantry_local_queues::LocalQueues;
use gantry_queue::{Message, Now, ProjectMessage, StackMessage};
use jiff::Timestamp;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// A clock that stands until it is moved.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicI64>);

impl Hand {
    pub(crate) fn new() -> Self {
        let start: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        Self(Arc::new(AtomicI64::new(start.as_millisecond())))
    }

    pub(crate) fn now(&self) -> Now {
        let hand = self.clone();
        Arc::new(move || Timestamp::from_millisecond(hand.0.load(Ordering::SeqCst)).unwrap())
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

/// Queues in memory under a clock that stands.
pub(crate) fn queues() -> (Arc<LocalQueues>, Hand) {
    let hand = Hand::new();
    (Arc::new(LocalQueues::in_memory(hand.now()).unwrap()), hand)
}

pub(crate) fn stack(name: &str) -> StackId {
    name.parse().unwrap()
}

/// A message of the group `stack:<name>`; `number` makes it another one.
pub(crate) fn nudge(name: &str, number: u64) -> Message {
    StackMessage::StackDue { stack: stack(name), version: number }.into()
}

/// A message of the group `proj:<project>`.
pub(crate) fn compare(project: u64, cause: &str) -> Message {
    ProjectMessage::Compare { project: ProjectId(project), cause: cause.to_owned() }.into()
}

/// `<stack>-<number>` of a message made by [`nudge`].
pub(crate) fn name_of(message: &Message) -> String {
    match message {
        Message::Stack(StackMessage::StackDue { stack, version }) => format!("{stack}-{version}"),
        Message::Project(ProjectMessage::Compare { project, cause }) => {
            format!("{project}-{cause}")
        }
        other => panic!("no nudge: {other:?}"),
    }
}
