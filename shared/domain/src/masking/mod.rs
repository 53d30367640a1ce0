//! Takes secrets out of texts: logs, errors, the plan.
//!
//! A secret is looked for whole, line by line, and by the values inside it where it is a document,
//! in every way in which Terraform, JSON, addresses and base64 write it ([`secret`]).
//! Values under [`SHORTEST`] characters are left alone: masking `true` or `dev` would hide
//! nothing and make every text unreadable. [`Weakness`] tells of them.

mod import;
mod search;
mod secret;
mod state;
mod stream;

pub use import::hide_import_id;
pub use secret::Weakness;
pub use state::PrintedStates;
pub use stream::{MaskStream, Suspended};

use search::{Region, Search};
use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, OnceLock},
};

/// What stands where a secret was.
pub const MASK: &str = "(secret)";
/// The shortest value that is masked, in characters.
pub const SHORTEST: usize = 6;
/// What stands at the end of a text that was cut.
pub const CUT: char = '…';

/// Knows secrets and takes them out of texts. Cheap to clone.
#[derive(Clone)]
pub struct Masker {
    patterns: Arc<BTreeSet<String>>,
    /// Without a searcher everything is masked, so that a failure can never show a secret.
    search: Option<Arc<Search>>,
    /// The same of the patterns written backwards, for texts that were cut off at their start.
    ends: Arc<OnceLock<Option<Search>>>,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masker({} patterns)", self.patterns.len())
    }
}

impl Default for Masker {
    fn default() -> Self {
        Self::of_patterns(BTreeSet::new())
    }
}

impl Masker {
    /// A masker of these values. Short and empty ones are left out.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self::default().and(secrets)
    }

    /// A masker that knows these values too.
    #[must_use]
    pub fn and<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns = BTreeSet::clone(&self.patterns);
        for secret in secrets {
            secret::add_patterns(secret, &mut patterns);
        }
        if patterns.len() == self.patterns.len() {
            return self.clone();
        }
        Self::of_patterns(patterns)
    }

    /// A masker of exactly these texts.
    pub(crate) fn of_patterns(patterns: BTreeSet<String>) -> Self {
        let search = Search::new(&patterns).map(Arc::new);
        Self { patterns: Arc::new(patterns), search, ends: Arc::default() }
    }

    /// True when there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The text with every secret replaced by [`MASK`]. Secrets that overlap or touch become one.
    pub fn mask(&self, text: &str) -> String {
        replace(text, &self.regions(text))
    }

    /// The same for a text whose end may have been cut off: also without an end that is the
    /// beginning of a secret.
    pub fn mask_beginning(&self, text: &str) -> String {
        replace(text, &self.regions_of_beginning(text))
    }

    /// The same for a text that says itself, with [`CUT`], where something was cut off: also without
    /// what follows a cut at its start and may be the end of a secret.
    pub fn mask_clipped(&self, text: &str) -> String {
        let Some(search) = &self.search else { return MASK.to_owned() };
        let (mut state, mut at, mut regions) = (search.start(), 0, Vec::new());
        for (cut, _) in text.match_indices(CUT) {
            state = search.feed(state, &text[at..cut], at, &mut regions);
            at = cut;
            search.hide_begun(state, at, &mut regions);
            let after = cut + CUT.len_utf8();
            let piece = text[after..].split(CUT).next().unwrap_or_default();
            match self.ended(piece) {
                0 => {}
                ended => search::add(&mut regions, (after, after + ended)),
            }
        }
        search.feed(state, &text[at..], at, &mut regions);
        replace(text, &regions)
    }

    /// How many bytes at the start of a piece that was cut off there may be the end of a secret, or
    /// out of the middle of one that is longer.
    fn ended(&self, piece: &str) -> usize {
        let backwards = |text: &str| text.chars().rev().collect::<String>();
        let ends = self.ends.get_or_init(|| {
            Search::new(&self.patterns.iter().map(|pattern| backwards(pattern)).collect())
        });
        let Some(ends) = ends else { return piece.len() };
        let is_in = |pattern: &&String| pattern.len() > piece.len() && pattern.contains(piece);
        if piece.len() >= search::SHORTEST_CUT && self.patterns.iter().any(|p| is_in(&p)) {
            return piece.len();
        }
        let state = ends.feed(ends.start(), &backwards(piece), 0, &mut Vec::new());
        Some(ends.begun(state)).filter(|ended| *ended >= search::SHORTEST_CUT).unwrap_or(0)
    }

    /// The byte ranges to hide, merged and in order.
    pub(crate) fn regions(&self, text: &str) -> Vec<Region> {
        let Some(search) = &self.search else { return vec![(0, text.len())] };
        let mut regions = Vec::new();
        if !self.is_empty() {
            search.feed(search.start(), text, 0, &mut regions);
        }
        regions
    }

    fn regions_of_beginning(&self, text: &str) -> Vec<Region> {
        let Some(search) = &self.search else { return vec![(0, text.len())] };
        let mut regions = Vec::new();
        let state = search.feed(search.start(), text, 0, &mut regions);
        search.hide_begun(state, text.len(), &mut regions);
        regions
    }

    /// A masker for text that comes in pieces.
    pub fn stream(&self) -> MaskStream {
        MaskStream::new(self.clone())
    }
}

fn replace(text: &str, regions: &[Region]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for &(start, end) in regions {
        out.push_str(&text[at..start]);
        out.push_str(MASK);
        at = end;
    }
    out.push_str(&text[at..]);
    out
}

#[cfg(test)]
mod tests;
