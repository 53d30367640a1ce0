//! What of a log waits for being taken: texts that follow each other wait as one, so that many short
//! lines need no more memory than a few long ones.

use crate::spool::Text;
use gantry_domain::masking::Masker;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// What comes to a log.
pub(crate) enum Event {
    /// Text, with its line end where it has one.
    Text(Text),
    /// Nothing of what comes after this is wanted: the text that says so.
    Cut(String),
    /// So many bytes of an output end here.
    Mark(u64, Arc<AtomicU64>),
    /// Nothing of what comes after this goes out before a masker comes.
    Hold,
    /// What is to be taken out of all that comes, and of what was held.
    Masker(Arc<Masker>),
    End,
}

/// Events in their order.
#[derive(Default)]
pub(crate) struct Waiting(VecDeque<Event>);

impl Waiting {
    /// Puts an event behind those that wait.
    pub(crate) fn push(&mut self, event: Event) {
        match event {
            Event::Text(text) => {
                let rest = self.join(text);
                self.0.extend(rest.map(Event::Text));
            }
            Event::Mark(bytes, taken) => self.mark(bytes, taken),
            event => self.0.push_back(event),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, the first one first.
    pub(crate) fn into_events(self) -> VecDeque<Event> {
        self.0
    }

    /// Puts a mark behind what waits. It says what the one before it says, and takes its place where
    /// the texts before and behind that one can wait as one.
    fn mark(&mut self, bytes: u64, taken: Arc<AtomicU64>) {
        let text = self.0.pop_back_if(|last| matches!(last, Event::Text(_)));
        let is_of_it =
            |last: &mut Event| matches!(last, Event::Mark(_, of) if Arc::ptr_eq(of, &taken));
        let earlier = self.0.pop_back_if(is_of_it);
        if let Some(Event::Text(text)) = text
            && let Some(text) = self.join(text)
        {
            self.0.extend(earlier);
            self.0.push_back(Event::Text(text));
        }
        self.0.push_back(Event::Mark(bytes, taken));
    }

    /// Adds a text to the one at the end, or gives it back.
    fn join(&mut self, text: Text) -> Option<Text> {
        match self.0.back_mut() {
            Some(Event::Text(last)) => last.join(text),
            _ => Some(text),
        }
    }
}

/// Where events are put. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lines {
    waiting: Arc<Mutex<Waiting>>,
    wake: Sender<()>,
}

/// Where they are taken.
pub(crate) struct Events {
    waiting: Arc<Mutex<Waiting>>,
    woken: Receiver<()>,
}

/// Lines, and where they arrive.
pub(crate) fn lines() -> (Lines, Events) {
    let waiting = Arc::<Mutex<Waiting>>::default();
    let (wake, woken) = channel(1);
    (Lines { waiting: Arc::clone(&waiting), wake }, Events { waiting, woken })
}

impl Lines {
    /// Puts an event behind those that wait. It is dropped where nobody listens any more.
    pub(crate) fn push(&self, event: Event) {
        if self.wake.is_closed() {
            return;
        }
        lock(&self.waiting).push(event);
        // Where there is no room, whoever takes is woken already.
        let _or_is_woken = self.wake.try_send(());
    }
}

impl Events {
    /// The first event that waits, once there is one. Where nobody can put any more, it is the end.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.pop() {
                return event;
            }
            if self.woken.recv().await.is_none() {
                return self.pop().unwrap_or(Event::End);
            }
        }
    }

    fn pop(&self) -> Option<Event> {
        lock(&self.waiting).0.pop_front()
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Spool;
    use std::sync::atomic::Ordering;

    #[tokio::test]
    async fn however_short_lines_are_few_texts_wait_and_all_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().to_owned());
        let (lines, mut events) = lines();
        let taken = Arc::<AtomicU64>::default();
        // Of 100 bytes each: 12 MB, more than waits in memory.
        let line = |number: u64| format!("{number:099}\n");
        for number in 0..120_000 {
            lines.push(Event::Text(spool.put(line(number))));
            lines.push(Event::Mark(number, Arc::clone(&taken)));
        }
        let waiting = lock(&lines.waiting).0.len();
        assert!(waiting < 300, "{waiting}");
        drop(lines);
        let (mut all, mut last) = (String::new(), 0);
        loop {
            match events.next().await {
                Event::Text(text) => {
                    let mut rest = Some(text);
                    while let Some(text) = rest {
                        let (part, more) = spool.take(text).unwrap();
                        all.push_str(&part);
                        rest = more;
                    }
                }
                Event::Mark(bytes, taken) => {
                    // What it says has come before it, and nothing behind it.
                    assert!(all.ends_with(&line(bytes)), "{bytes}");
                    taken.store(bytes, Ordering::Relaxed);
                    last = bytes;
                }
                _ => break,
            }
        }
        assert_eq!(all, (0..120_000).map(line).collect::<String>());
        assert_eq!((last, taken.load(Ordering::Relaxed)), (119_999, 119_999));
    }

    #[test]
    fn marks_of_another_output_stay_where_they_are() {
        let spool = Spool::new("/nowhere".into());
        let (one, other) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let mut waiting = Waiting::default();
        for (bytes, of) in [(1, &one), (2, &other), (3, &other)] {
            waiting.push(Event::Text(spool.put("line\n".to_owned())));
            waiting.push(Event::Mark(bytes, Arc::clone(of)));
        }
        let marks = waiting.into_events().into_iter().filter_map(|event| match event {
            Event::Mark(bytes, _) => Some(bytes),
            _ => None,
        });
        assert_eq!(marks.collect::<Vec<_>>(), [1, 3]);
    }

    #[tokio::test]
    async fn what_nobody_takes_any_more_is_not_kept() {
        let (lines, events) = lines();
        drop(events);
        lines.push(Event::Hold);
        assert!(lock(&lines.waiting).is_empty());
    }
}
