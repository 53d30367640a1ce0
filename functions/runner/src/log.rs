//! The run's log: lines in, masked chunks out, soon after they were written.

use crate::{
    api::{Api, ApiError},
    failure::cut,
};
use gantry_domain::{
    masking::{MaskStream, Masker, PrintedStates, hide_import_id},
    protocol::LogChunk,
};
use gantry_engine::{Piece, Sink, diagnostics::strip_ansi, kept};
use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

/// A chunk goes out when it has this many bytes, or the interval has passed.
const CHUNK: usize = 64 * 1024;
/// Beyond this a log helps nobody; what runs may print for ever.
const LARGEST: u64 = 32 << 20;
/// Lines that a failure shows.
const TAIL: usize = 30;
/// Characters of each of them.
const LONGEST_TAIL_LINE: usize = 2000;
/// Where in the log the rest of an output goes: after everything that its runner may have said.
const REST: u64 = 2 * LARGEST;
/// In place of what still waited for a masker at the end.
const LEFT_OUT: &str = "the rest of the tool's output is left out because the run ended before \
                        Gantry knew which parts are secret";
/// How long the end of the log may take.
const LAST_FLUSH: Duration = Duration::from_secs(30);

/// Takes lines. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Log {
    lines: UnboundedSender<Event>,
    taken: Arc<AtomicU64>,
}

enum Event {
    /// Text, with its line end where it has one.
    Text(String),
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

/// What carries the lines out.
pub(crate) struct Pump {
    lines: UnboundedSender<Event>,
    tail: Arc<Mutex<Tail>>,
    task: JoinHandle<()>,
}

impl Log {
    /// Opens the log of one attempt.
    pub(crate) fn open(api: Api, masker: Arc<Masker>, interval: Duration) -> (Self, Pump) {
        let (lines, receiver) = unbounded_channel();
        let tail = Arc::<Mutex<Tail>>::default();
        let task = tokio::spawn(pump(api, masker, interval, receiver, Arc::clone(&tail)));
        (Self { lines: lines.clone(), taken: Arc::default() }, Pump { lines, tail, task })
    }

    /// Appends a line. Ids of imports are left out: nobody knows yet which are secrets.
    pub(crate) fn line(&self, line: &str) {
        self.piece(Piece { text: line, begins: true, ends: true });
    }

    /// Appends a line, or a part of one. Masking sees the parts of a line as one text.
    fn piece(&self, piece: Piece<'_>) {
        let text = hide_import_id(piece.text);
        let end = if piece.ends { "\n" } else { "" };
        let length = (text.len() + end.len()) as u64;
        let before = self.taken.fetch_add(length, Ordering::Relaxed);
        // After its end nobody listens any more.
        if before + length <= LARGEST {
            let _ = self.lines.send(Event::Text(format!("{text}{end}")));
        } else if before <= LARGEST {
            let cut = format!("The log is cut off here, after {} MiB\n", LARGEST >> 20);
            let _ = self.lines.send(Event::Cut(cut));
        }
    }

    /// Tells `taken` that this many bytes of an output were taken, once the runner API has everything
    /// that came until now.
    pub(crate) fn mark(&self, bytes: u64, taken: &Arc<AtomicU64>) {
        let _ = self.lines.send(Event::Mark(bytes, Arc::clone(taken)));
    }

    /// What comes after this waits for a masker. What waits when the log ends is left out of it.
    pub(crate) fn hold(&self) {
        let _ = self.lines.send(Event::Hold);
    }

    /// From here on this is what is taken out.
    pub(crate) fn mask_with(&self, masker: &Arc<Masker>) {
        let _ = self.lines.send(Event::Masker(Arc::clone(masker)));
    }

    /// Appends a line of the runner itself.
    pub(crate) fn say(&self, line: &str) {
        self.line(&of_the_runner(line));
    }

    /// As something that takes the output of one process, and leaves states out of it.
    pub(crate) fn sink(&self) -> Sink {
        let (log, states) = (self.clone(), Mutex::new(PrintedStates::default()));
        Arc::new(move |piece| {
            let mut states = states.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(text) = states.shown(piece.text, piece.begins, piece.ends) {
                log.piece(Piece { text, ..piece });
            }
        })
    }
}

fn of_the_runner(line: &str) -> String {
    format!("\u{1b}[36mgantry:\u{1b}[0m {line}")
}

/// Brings what is in the file at `output` and no runner has brought. The same again changes nothing.
pub(crate) async fn bring_rest(api: &Api, output: &Path, masker: &Masker) -> Result<(), ApiError> {
    let mut rest = String::new();
    let mut states = PrintedStates::default();
    let read = kept::pass_rest(output, |piece| {
        let shown = states.shown(piece.text, piece.begins, piece.ends);
        if let Some(shown) = shown.filter(|_| rest.len() as u64 <= LARGEST) {
            rest.push_str(&hide_import_id(shown));
            rest.push_str(if piece.ends { "\n" } else { "" });
        }
    });
    if let Err(error) = read {
        tracing::error!(%error, "the rest of a log cannot be read");
    }
    if rest.is_empty() {
        return Ok(());
    }
    let died = of_the_runner(
        "the runner delivered the log up to here; the rest was found on its machine:",
    );
    let text = format!("\n{died}\n{}", masker.mask(&rest));
    let mut sender = Sender::new(api.clone(), REST);
    sender.pending = text;
    sender.flush().await.map_or(Ok(()), Err)
}

impl Pump {
    /// Sends what is left and gives the last lines, masked.
    pub(crate) async fn finish(self) -> Vec<String> {
        let _ = self.lines.send(Event::End);
        if timeout(LAST_FLUSH, self.task).await.is_err() {
            tracing::warn!("the end of the log was not accepted");
        }
        lock(&self.tail).take()
    }
}

fn lock(tail: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pump(
    api: Api,
    masker: Arc<Masker>,
    interval: Duration,
    mut lines: UnboundedReceiver<Event>,
    tail: Arc<Mutex<Tail>>,
) {
    let masked = masker.stream();
    let mut out = Out { masker, masked, held: None, sender: Sender::new(api, 0), tail };
    let mut open = true;
    while open {
        let mut event = lines.recv().await.unwrap_or(Event::End);
        let due = Instant::now() + interval;
        loop {
            open &= !matches!(event, Event::End);
            out.take(event);
            if !open || out.sender.pending.len() >= CHUNK {
                break;
            }
            match timeout_at(due, lines.recv()).await {
                Ok(next) => event = next.unwrap_or(Event::End),
                Err(_) => break,
            }
        }
        let _again_with_what_comes = out.sender.flush().await;
    }
}

/// What takes the events in their order.
struct Out {
    masker: Arc<Masker>,
    masked: MaskStream,
    /// What waits for a masker.
    held: Option<Vec<Event>>,
    sender: Sender,
    tail: Arc<Mutex<Tail>>,
}

impl Out {
    fn take(&mut self, event: Event) {
        match (event, &mut self.held) {
            (Event::Hold, held) => *held = Some(held.take().unwrap_or_default()),
            (Event::Masker(better), held) => {
                let held = held.take().unwrap_or_default();
                let before = std::mem::replace(&mut self.masked, better.stream());
                self.masked = MaskStream::resume(Masker::clone(&better), before.suspend());
                self.masker = better;
                held.into_iter().for_each(|event| self.take(event));
            }
            (Event::End, held) => {
                if held.take().is_some_and(|held| !held.is_empty()) {
                    self.push(&format!("{}\n", of_the_runner(LEFT_OUT)));
                }
                self.cut();
            }
            (event, Some(held)) => held.push(event),
            (Event::Text(text), None) => self.push(&text),
            (Event::Cut(text), None) => {
                self.cut();
                self.push(&format!("\n{text}"));
            }
            // What is held back belongs to the next one.
            (Event::Mark(bytes, taken), None) if self.masked.holds_nothing() => {
                self.sender.mark(bytes, taken)
            }
            (Event::Mark(..), None) => {}
        }
    }

    fn push(&mut self, text: &str) {
        let text = self.masked.push(text);
        self.send(text);
    }

    /// Ends the text here: what was cut or killed may have been writing a secret.
    fn cut(&mut self) {
        let before = std::mem::replace(&mut self.masked, self.masker.stream());
        self.send(before.finish_cut());
    }

    fn send(&mut self, text: String) {
        lock(&self.tail).push(&text);
        self.sender.pending.push_str(&text);
    }
}

struct Sender {
    api: Api,
    offset: u64,
    pending: String,
    refused: bool,
    /// Who is to be told what, once so much of the log was taken.
    marks: VecDeque<(u64, u64, Arc<AtomicU64>)>,
}

impl Sender {
    fn new(api: Api, offset: u64) -> Self {
        Self { api, offset, pending: String::new(), refused: false, marks: VecDeque::new() }
    }

    fn mark(&mut self, bytes: u64, taken: Arc<AtomicU64>) {
        let length = self.offset + self.pending.len() as u64;
        // Of many in one chunk the last one counts.
        if self.marks.back().is_some_and(|(before, ..)| *before == length) {
            self.marks.pop_back();
        }
        self.marks.push_back((length, bytes, taken));
        self.tell();
    }

    fn tell(&mut self) {
        let told = |mark: &mut (u64, u64, Arc<AtomicU64>)| mark.0 <= self.offset || self.refused;
        while let Some((_, bytes, taken)) = self.marks.pop_front_if(told) {
            taken.store(bytes, Ordering::Relaxed);
        }
    }

    /// Sends what there is; an error when the runner API was away.
    async fn flush(&mut self) -> Option<ApiError> {
        while !self.pending.is_empty() && !self.refused {
            let end = self.pending.floor_char_boundary(CHUNK);
            let chunk = LogChunk { offset: self.offset, text: self.pending[..end].to_owned() };
            match self.api.log(&chunk).await {
                Ok(()) => {
                    self.offset += end as u64;
                    self.pending.drain(..end);
                    self.tell();
                }
                // Kept: it is tried again with what comes next.
                Err(error @ ApiError::Unavailable(_)) => return Some(error),
                Err(error) => {
                    tracing::warn!(%error, "the log is no longer accepted");
                    self.refused = true;
                    self.tell();
                }
            }
        }
        None
    }
}

/// The last lines, without colours.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    open: String,
}

impl Tail {
    fn push(&mut self, text: &str) {
        for piece in text.split_inclusive('\n') {
            self.open.push_str(piece);
            if self.open.ends_with('\n') {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        let line = strip_ansi(std::mem::take(&mut self.open).trim_end());
        if self.lines.len() == TAIL {
            self.lines.pop_front();
        }
        self.lines.push_back(cut(&line, LONGEST_TAIL_LINE));
    }

    fn take(&mut self) -> Vec<String> {
        if !self.open.is_empty() {
            self.close();
        }
        std::mem::take(&mut self.lines).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the log is in the end, where nobody takes it.
    async fn of(said: impl FnOnce(&Log)) -> Vec<String> {
        let nobody = "http://127.0.0.1:9".parse().unwrap();
        let api = Api::new(&nobody, "token".into(), Duration::ZERO).unwrap();
        let (log, pump) = Log::open(api, Arc::new(Masker::new(["declared"])), Duration::ZERO);
        said(&log);
        pump.finish().await
    }

    #[tokio::test]
    async fn what_is_held_waits_for_a_masker_in_its_order_and_is_left_out_without_one() {
        let marked = Arc::new(Masker::new(["declared", "marked-by-a-plan"]));
        let log = of(|log| {
            log.line("declared");
            log.hold();
            log.line("first marked-by-a-plan");
            log.hold();
            log.line("then declared");
            log.mask_with(&marked);
            log.line("marked-by-a-plan");
            log.hold();
        });
        assert_eq!(
            log.await,
            ["(secret)", "first (secret)", "then (secret)", "(secret)"].map(str::to_owned)
        );
        let log = of(|log| {
            log.line("before");
            log.hold();
            log.line("marked-by-a-plan");
        });
        assert_eq!(log.await, ["before".to_owned(), strip_ansi(&of_the_runner(LEFT_OUT))]);
    }

    #[tokio::test]
    async fn what_is_held_ends_where_the_log_is_cut() {
        let log = of(|log| {
            log.hold();
            let _ = log.lines.send(Event::Text("half of a secr".to_owned()));
            let _ = log.lines.send(Event::Cut("It is cut\n".to_owned()));
            log.mask_with(&Arc::new(Masker::new(["secret"])));
        });
        assert_eq!(log.await, ["half of a (secret)", "It is cut"].map(str::to_owned));
    }
}
