//! Looks for many patterns at once, byte by byte, and knows at each byte how much of what it has
//! seen may be the beginning of one: so a text may come in pieces.

use aho_corasick::{
    Anchored,
    automaton::{Automaton, StateID},
    nfa::contiguous::NFA,
};
use std::collections::{BTreeSet, HashMap};

/// At a cut, so many bytes that begin a secret are taken for its beginning.
pub(super) const SHORTEST_CUT: usize = 3;

/// A range of bytes.
pub(super) type Region = (usize, usize);

/// The searcher. It fails to be built only beyond 2^31 states.
pub(super) struct Search {
    automaton: NFA,
    start: StateID,
    /// How many bytes before a state are the beginning of a pattern that goes on.
    begun: HashMap<StateID, usize>,
}

impl Search {
    pub(super) fn new(patterns: &BTreeSet<String>) -> Option<Self> {
        let automaton = NFA::builder().prefilter(false).build(patterns).ok()?;
        let start = automaton.start_state(Anchored::No).ok()?;
        let mut search = Self { automaton, start, begun: HashMap::new() };
        search.learn(patterns);
        Some(search)
    }

    /// Every beginning of a pattern is a state of its own, whose depth is its length.
    fn learn(&mut self, patterns: &BTreeSet<String>) {
        let mut ends: HashMap<StateID, &[u8]> = HashMap::new();
        for pattern in patterns {
            let mut state = self.start;
            for (at, byte) in pattern.bytes().enumerate() {
                state = self.next(state, byte);
                if at + 1 < pattern.len() {
                    self.begun.insert(state, at + 1);
                }
            }
            ends.insert(state, pattern.as_bytes());
        }
        // Where no pattern goes on, the longest shorter beginning counts.
        let mut shorter = Vec::new();
        for (end, pattern) in &ends {
            let mut rest = *pattern;
            while !rest.is_empty() && !self.begun.contains_key(end) {
                let state =
                    rest[1..].iter().fold(self.start, |state, byte| self.next(state, *byte));
                if let Some(length) = self.begun.get(&state) {
                    shorter.push((*end, *length));
                    break;
                }
                rest = ends.get(&state).copied().unwrap_or_default();
            }
        }
        self.begun.extend(shorter);
    }

    fn next(&self, state: StateID, byte: u8) -> StateID {
        self.automaton.next_state(Anchored::No, state, byte)
    }

    /// The state before anything was seen.
    pub(super) fn start(&self) -> StateID {
        self.start
    }

    /// Goes over `text`, which begins at byte `at`, and adds what it finds to `regions`, which
    /// stay in order; those that overlap or touch become one.
    pub(super) fn feed(
        &self,
        mut state: StateID,
        text: &str,
        at: usize,
        regions: &mut Vec<Region>,
    ) -> StateID {
        let automaton = &self.automaton;
        for (index, byte) in text.bytes().enumerate() {
            state = automaton.next_state(Anchored::No, state, byte);
            if automaton.is_special(state) && automaton.is_match(state) {
                let end = at + index + 1;
                let found = (0..automaton.match_len(state))
                    .map(|i| automaton.pattern_len(automaton.match_pattern(state, i)));
                add(regions, (end - found.max().unwrap_or(0), end));
            }
        }
        state
    }

    /// How many bytes at the end of what was seen may be the beginning of a pattern.
    pub(super) fn begun(&self, state: StateID) -> usize {
        self.begun.get(&state).copied().unwrap_or(0)
    }

    /// Adds what stands before a cut at `end` and may be the beginning of a pattern.
    pub(super) fn hide_begun(&self, state: StateID, end: usize, regions: &mut Vec<Region>) {
        let begun = self.begun(state);
        if begun >= SHORTEST_CUT {
            add(regions, (end - begun, end));
        }
    }
}

/// Adds a region, which ends after all others, or lies over the last.
pub(super) fn add(regions: &mut Vec<Region>, (mut start, mut end): Region) {
    while let Some(&(first, last)) = regions.last()
        && start <= last
    {
        (start, end) = (start.min(first), end.max(last));
        regions.pop();
    }
    regions.push((start, end));
}
