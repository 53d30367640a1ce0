//! The run's log: lines in, masked chunks out, soon after they were written.

use crate::{
    api::{Api, ApiError},
    failure::cut,
    spool::{Spool, Text},
    waiting::{Event, Events, Lines, Waiting, lines},
};
use gantry_domain::{
    masking::{MaskStream, Masker, PrintedStates, hide_import_id},
    protocol::LogChunk,
};
use gantry_engine::{Piece, Sink, diagnostics::strip_ansi, kept};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

/// A chunk goes out when it has this many bytes, or the interval has passed.
const CHUNK: usize = 256 * 1024;
/// Beyond this a log helps nobody; what runs may print for ever.
const LARGEST: u64 = 128 << 20;
/// The same for what a runner did not come to send, which is read whole.
const LARGEST_REST: u64 = 32 << 20;
/// Lines that a failure shows.
const TAIL: usize = 30;
/// Characters of each of them.
const LONGEST_TAIL_LINE: usize = 2000;
/// Where in the log the rest of an output goes: after everything that its runner may have said, which
/// is longer once it is masked. `runner-api` takes 256 MiB.
const REST: u64 = 192 << 20;
/// In place of what still waited for a masker at the end.
const LEFT_OUT: &str = "the rest of the tool's output is left out because the run ended before \
                        Gantry knew which parts are secret";
/// In place of what waited in a file that cannot be read any more.
const LOST: &str = "a part of the tool's output is lost because the runner could not keep it";
/// How long the end of the log may take.
const LAST_FLUSH: Duration = Duration::from_secs(120);

/// Takes lines. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Log {
    lines: Lines,
    taken: Arc<AtomicU64>,
    spool: Arc<Spool>,
}

/// What carries the lines out.
pub(crate) struct Pump {
    lines: Lines,
    tail: Arc<Mutex<Tail>>,
    task: JoinHandle<()>,
}

impl Log {
    /// Opens the log of one attempt. What is not sent yet waits in this folder, where it is much.
    pub(crate) fn open(
        api: Api,
        masker: Arc<Masker>,
        interval: Duration,
        folder: PathBuf,
    ) -> (Self, Pump) {
        let (lines, events) = lines();
        let tail = Arc::<Mutex<Tail>>::default();
        let spool = Arc::new(Spool::new(folder));
        let out = Out {
            masked: masker.stream(),
            masker,
            held: None,
            ready: VecDeque::new(),
            spool: Arc::clone(&spool),
            sender: Sender::new(api, 0),
            tail: Arc::clone(&tail),
        };
        let task = tokio::spawn(pump(out, interval, events));
        (Self { lines: lines.clone(), taken: Arc::default(), spool }, Pump { lines, tail, task })
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
            let text = self.spool.put(format!("{text}{end}"));
            self.lines.push(Event::Text(text));
        } else if before <= LARGEST {
            let cut = format!("The log is cut off here, after {} MiB\n", LARGEST >> 20);
            self.lines.push(Event::Cut(cut));
        }
    }

    /// Tells `taken` that this many bytes of an output were taken, once the runner API has everything
    /// that came until now.
    pub(crate) fn mark(&self, bytes: u64, taken: &Arc<AtomicU64>) {
        self.lines.push(Event::Mark(bytes, Arc::clone(taken)));
    }

    /// What comes after this waits for a masker. What waits when the log ends is left out of it.
    pub(crate) fn hold(&self) {
        self.lines.push(Event::Hold);
    }

    /// From here on this is what is taken out.
    pub(crate) fn mask_with(&self, masker: &Arc<Masker>) {
        self.lines.push(Event::Masker(Arc::clone(masker)));
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
        if let Some(shown) = shown.filter(|_| rest.len() as u64 <= LARGEST_REST) {
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
        self.lines.push(Event::End);
        if timeout(LAST_FLUSH, self.task).await.is_err() {
            tracing::warn!("the end of the log was not accepted");
        }
        lock(&self.tail).take()
    }
}

fn lock(tail: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pump(mut out: Out, interval: Duration, mut events: Events) {
    let mut open = true;
    while open {
        let mut event = out.next(&mut events).await;
        let due = Instant::now() + interval;
        loop {
            open &= !matches!(event, Event::End);
            out.take(event);
            if !open || out.sender.pending.len() >= CHUNK {
                break;
            }
            match timeout_at(due, out.next(&mut events)).await {
                Ok(next) => event = next,
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
    held: Option<Waiting>,
    /// What waits no more, and comes before anything else.
    ready: VecDeque<Event>,
    spool: Arc<Spool>,
    sender: Sender,
    tail: Arc<Mutex<Tail>>,
}

impl Out {
    async fn next(&mut self, events: &mut Events) -> Event {
        match self.ready.pop_front() {
            Some(event) => event,
            None => events.next().await,
        }
    }

    fn take(&mut self, event: Event) {
        match (event, &mut self.held) {
            (Event::Hold, held) => *held = Some(held.take().unwrap_or_default()),
            (Event::Masker(better), held) => {
                let held = held.take().unwrap_or_default();
                let before = std::mem::replace(&mut self.masked, better.stream());
                self.masked = MaskStream::resume(Masker::clone(&better), before.suspend());
                self.masker = better;
                self.ready.extend(held.into_events());
            }
            (Event::End, held) => {
                if held.take().is_some_and(|held| !held.is_empty()) {
                    self.push(&format!("{}\n", of_the_runner(LEFT_OUT)));
                }
                self.cut();
            }
            (event, Some(held)) => held.push(event),
            (Event::Text(text), None) => self.pass(text),
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

    /// Passes on a text that waits no more. Of a long one the rest comes next.
    fn pass(&mut self, text: Text) {
        match self.spool.take(text) {
            Ok((text, rest)) => {
                self.push(&text);
                if let Some(rest) = rest {
                    self.ready.push_front(Event::Text(rest));
                }
            }
            Err(error) => {
                tracing::error!(%error, "a part of the log is lost");
                self.cut();
                self.push(&format!("\n{}\n", of_the_runner(LOST)));
            }
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
        let masker = Arc::new(Masker::new(["declared"]));
        let folder = tempfile::tempdir().unwrap();
        let (log, pump) = Log::open(api, masker, Duration::ZERO, folder.path().to_owned());
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
            log.lines.push(Event::Text(log.spool.put("half of a secr".to_owned())));
            log.lines.push(Event::Cut("It is cut\n".to_owned()));
            log.mask_with(&Arc::new(Masker::new(["secret"])));
        });
        assert_eq!(log.await, ["half of a (secret)", "It is cut"].map(str::to_owned));
    }

    #[tokio::test]
    async fn what_is_held_is_masked_in_its_order_however_much_it_is() {
        let marked = Arc::new(Masker::new(["declared", "marked-by-a-plan"]));
        let long = "x".repeat(1 << 20);
        let log = of(|log| {
            log.hold();
            for number in 0..20 {
                log.line(&long);
                log.line(&format!("{number} marked-by-a-plan"));
            }
            log.mask_with(&marked);
            log.line("and on");
        });
        let log = log.await;
        let numbered: Vec<&str> = log.iter().map(String::as_str).filter(|l| l.len() < 20).collect();
        let of_tail: Vec<String> = (6..20).map(|number| format!("{number} (secret)")).collect();
        assert_eq!(numbered[numbered.len() - 15..], [of_tail, vec!["and on".to_owned()]].concat());
    }
}
