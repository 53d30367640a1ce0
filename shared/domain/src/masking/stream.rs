//! Masks a text that comes in pieces.

use super::{
    MASK, Masker,
    search::{Region, add},
};
use aho_corasick::automaton::StateID;

/// Masks a text that comes in pieces. Only as much is held back as could be the beginning of a
/// secret, so that a log line is visible at once unless it ends like one begins.
#[derive(Debug)]
pub struct MaskStream {
    masker: Masker,
    state: Option<StateID>,
    /// What is held back.
    held: String,
    /// What is to be hidden, in bytes from the start of `held`.
    regions: Vec<Region>,
    /// The last thing given out was [`MASK`], and it stands for the first region too.
    open: bool,
}

/// Where a stream stopped: kept until its next piece comes. It holds what may be a part of a
/// secret: no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Suspended {
    /// What was held back.
    pub held: String,
    /// The last thing given out was [`MASK`], and it also stands for this many bytes of `held`.
    pub open: Option<usize>,
}

impl MaskStream {
    pub(super) fn new(masker: Masker) -> Self {
        Self::resume(masker, Suspended::default())
    }

    /// Goes on where a stream stopped, maybe with a masker that knows other secrets.
    pub fn resume(masker: Masker, suspended: Suspended) -> Self {
        let Suspended { held, open } = suspended;
        let state = masker.search.as_ref().map(|search| search.start());
        let regions = open.map(|end| (0, end.min(held.len()))).into_iter().collect();
        let mut stream = Self { masker, state, held: String::new(), regions, open: open.is_some() };
        stream.take(&held);
        stream
    }

    /// Stops here.
    pub fn suspend(self) -> Suspended {
        let open = self.regions.first().filter(|_| self.open).map(|(_, end)| *end);
        Suspended { held: self.held, open }
    }

    /// Whether everything that was taken has been given out.
    pub fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes the next piece and gives what can be shown by now.
    pub fn push(&mut self, piece: &str) -> String {
        self.take(piece);
        self.give_out(self.held.len() - self.begun())
    }

    /// Gives what was held back: nothing comes any more.
    pub fn finish(mut self) -> String {
        self.give_out(self.held.len())
    }

    /// The same where the text may have been cut off: without an end that is the beginning of a
    /// secret.
    pub fn finish_cut(mut self) -> String {
        let end = self.held.len();
        if let (Some(search), Some(state)) = (&self.masker.search, self.state) {
            search.hide_begun(state, end, &mut self.regions);
        }
        self.give_out(end)
    }

    fn take(&mut self, piece: &str) {
        let at = self.held.len();
        match (&self.masker.search, self.state) {
            (Some(search), Some(state)) => {
                self.state = Some(search.feed(state, piece, at, &mut self.regions));
            }
            _ => add(&mut self.regions, (at, at + piece.len())),
        }
        self.held.push_str(piece);
    }

    fn begun(&self) -> usize {
        let search = self.masker.search.as_ref();
        search.zip(self.state).map_or(0, |(search, state)| search.begun(state))
    }

    fn give_out(&mut self, safe: usize) -> String {
        let mut out = String::with_capacity(safe);
        let (mut at, mut open) = (0, false);
        let mut left = Vec::new();
        for (index, (start, end)) in std::mem::take(&mut self.regions).into_iter().enumerate() {
            let continued = index == 0 && self.open;
            if start > safe || (start == safe && !continued) {
                left.push((start - safe, end - safe));
                continue;
            }
            out.push_str(&self.held[at..start]);
            if !continued {
                out.push_str(MASK);
            }
            if end >= safe {
                open = true;
                left.push((0, end - safe));
            }
            at = end.min(safe);
        }
        out.push_str(&self.held[at..safe]);
        self.held.drain(..safe);
        self.regions = left;
        self.open = open;
        out
    }
}
