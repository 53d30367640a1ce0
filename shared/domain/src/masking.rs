//! Takes the values of secret variables out of texts: logs, errors, the plan.
//!
//! A secret is looked for as it is, JSON-escaped, percent-encoded and in base64 (both alphabets,
//! all three alignments), whole and, when it has several lines, line by line.
//! Values under [`SHORTEST`] characters are left alone: masking `true` or `dev` would hide
//! nothing and make every text unreadable.

use aho_corasick::AhoCorasick;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use std::{collections::BTreeSet, fmt, sync::Arc};

/// What stands where a secret was.
pub const MASK: &str = "(secret)";
/// The shortest value that is masked, in characters.
pub const SHORTEST: usize = 6;

/// Knows the secrets of one run and takes them out of texts. Cheap to clone.
#[derive(Clone)]
pub struct Masker {
    /// Sorted, so that "could this be the start of one?" is a binary search.
    patterns: Arc<[String]>,
    automaton: Option<AhoCorasick>,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masker({} patterns)", self.patterns.len())
    }
}

impl Default for Masker {
    fn default() -> Self {
        Self::new([])
    }
}

impl Masker {
    /// A masker of these values. Short and empty ones are left out.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns = BTreeSet::new();
        for secret in secrets {
            for whole in [secret, secret.trim()] {
                if is_long_enough(whole) {
                    add_written_forms(whole, &mut patterns);
                    add_base64(whole.as_bytes(), &mut patterns);
                }
            }
            for line in secret.lines().map(str::trim).filter(|line| is_long_enough(line)) {
                add_written_forms(line, &mut patterns);
            }
        }
        let patterns: Arc<[String]> = patterns.into_iter().collect();
        // Building fails only beyond 2^31 states; without an automaton everything is masked, so
        // that such a failure can never show a secret.
        let automaton = AhoCorasick::new(patterns.iter()).ok();
        Self { patterns, automaton }
    }

    /// True when there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The text with every secret replaced by [`MASK`]. Secrets that overlap or touch become one.
    pub fn mask(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for (start, end) in self.regions(text, None) {
            out.push_str(&text[at..start]);
            out.push_str(MASK);
            at = end;
        }
        out.push_str(&text[at..]);
        out
    }

    /// A masker for text that comes in pieces.
    pub fn stream(&self) -> MaskStream {
        MaskStream { masker: self.clone(), held: String::new(), open: None }
    }

    /// The byte ranges to hide, merged and in order. `open` is a range at the text's start that
    /// is known from what went before.
    fn regions(&self, text: &str, open: Option<usize>) -> Vec<(usize, usize)> {
        let mut regions: Vec<(usize, usize)> = open.map(|end| (0, end)).into_iter().collect();
        if self.patterns.is_empty() || text.is_empty() {
            return regions;
        }
        let Some(automaton) = &self.automaton else {
            return vec![(0, text.len())];
        };
        let mut found: Vec<(usize, usize)> =
            automaton.find_overlapping_iter(text).map(|m| (m.start(), m.end())).collect();
        found.sort_unstable();
        for (start, end) in found {
            match regions.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => regions.push((start, end)),
            }
        }
        regions
    }

    /// Some secret starts with `tail` and goes on after it.
    fn may_go_on(&self, tail: &str) -> bool {
        let next = self.patterns.partition_point(|p| p.as_str() <= tail);
        self.patterns.get(next).is_some_and(|p| p.starts_with(tail))
    }

    fn longest(&self) -> usize {
        self.patterns.iter().map(String::len).max().unwrap_or(0)
    }
}

/// Masks a text that comes in pieces. Only as much is held back as could be the beginning of a
/// secret, so that a log line is visible at once unless it ends like one begins.
#[derive(Debug)]
pub struct MaskStream {
    masker: Masker,
    held: String,
    /// The last thing given out was [`MASK`], and it also covers this many bytes of `held`.
    open: Option<usize>,
}

impl MaskStream {
    /// Takes the next piece and gives what can be shown by now.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let tail = self.held.len().saturating_sub(self.masker.longest());
        let safe = (tail..self.held.len())
            .find(|at| self.held.is_char_boundary(*at) && self.masker.may_go_on(&self.held[*at..]))
            .unwrap_or(self.held.len());
        self.give_out(safe)
    }

    /// Gives what was held back: nothing comes any more.
    pub fn finish(mut self) -> String {
        self.give_out(self.held.len())
    }

    fn give_out(&mut self, safe: usize) -> String {
        let continued = self.open.is_some();
        let mut out = String::new();
        let mut at = 0;
        let mut open = None;
        for (index, (start, end)) in
            self.masker.regions(&self.held, self.open).into_iter().enumerate()
        {
            if start > safe || (start == safe && !(index == 0 && continued)) {
                break;
            }
            out.push_str(&self.held[at..start]);
            if !(index == 0 && continued) {
                out.push_str(MASK);
            }
            if end >= safe {
                open = Some(end - safe);
            }
            at = end.min(safe);
        }
        out.push_str(&self.held[at..safe]);
        self.held.drain(..safe);
        self.open = open;
        out
    }
}

fn is_long_enough(value: &str) -> bool {
    value.chars().nth(SHORTEST - 1).is_some()
}

fn add_written_forms(value: &str, patterns: &mut BTreeSet<String>) {
    patterns.insert(value.to_owned());
    let json = serde_json::Value::from(value).to_string();
    let json = &json[1..json.len() - 1];
    patterns.insert(json.to_owned());
    // Go, and with it Terraform's jsonencode, also escapes these.
    let go = json
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    patterns.insert(go);
    patterns.insert(percent_encoded(value));
}

/// As in the user information or query of an address: everything but unreserved characters.
fn percent_encoded(value: &str) -> String {
    value.bytes().fold(String::with_capacity(value.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// The value encoded by itself, and what of it appears when it is part of something longer that
/// was encoded as a whole: that depends on how many bytes stand before it, modulo three.
fn add_base64(value: &[u8], patterns: &mut BTreeSet<String>) {
    patterns.insert(STANDARD.encode(value));
    patterns.insert(URL_SAFE.encode(value));
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value);
        // Characters that also hold bits of a neighbour are left out.
        let from = (before * 8).div_ceil(6);
        let to = bytes.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            patterns.insert(engine.encode(&bytes)[from..to].to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(secret: &str, text: &str) -> String {
        Masker::new([secret]).mask(text)
    }

    #[test]
    fn a_secret_is_found_however_it_is_written() {
        insta::assert_snapshot!(mask("hunter22", "password=hunter22!"), @"password=(secret)!");
        insta::assert_snapshot!(mask("a\"b<c>dé", r#"{"p":"a\"b\u003cc\u003edé"}"#), @r#"{"p":"(secret)"}"#);
        insta::assert_snapshot!(mask("p@ss/word", "https://u:p%40ss%2Fword@host"), @"https://u:(secret)@host");
        assert_eq!(
            mask("key line one\nkey line two\nx\n", "  key line two\n  x"),
            "  (secret)\n  x"
        );
    }

    #[test]
    fn short_values_stay() {
        assert_eq!(mask("true", "true"), "true");
        assert_eq!(mask("äöüäö", "äöüäö"), "äöüäö");
        assert_eq!(mask("äöüäöü", "äöüäöü"), MASK);
    }

    #[test]
    fn overlapping_secrets_leave_nothing() {
        assert_eq!(Masker::new(["abcdef", "defghi"]).mask("xabcdefghiy"), "x(secret)y");
        assert_eq!(Masker::new(["abcdef", "abcdefgh"]).mask("abcdefgh"), MASK);
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", Masker::new(["hunter22"])).contains("hunter22"));
    }

    #[test]
    fn a_stream_shows_lines_at_once() {
        let masker = Masker::new(["hunter22"]);
        let mut stream = masker.stream();
        assert_eq!(stream.push("creating\nhun"), "creating\n");
        assert_eq!(stream.push("ger\n"), "hunger\n");
        assert_eq!(stream.push("hunter"), "");
        assert_eq!(stream.push("22 done"), "(secret) done");
        assert_eq!(stream.finish(), "");
    }

    /// Texts over a small alphabet, so that secrets overlap and repeat often.
    fn secret() -> impl Strategy<Value = String> {
        prop_oneof!["[abü\n]{6,12}", "[a-c\"<]{6,9}", "\\PC{6,20}"]
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(
            secrets in prop::collection::vec(secret(), 1..4),
            pieces in prop::collection::vec(prop_oneof!["[abü\n]{0,8}", "[a-c\"<]{0,5}"], 0..12),
            inserted in any::<prop::sample::Index>(),
        ) {
            let masker = Masker::new(secrets.iter().map(String::as_str));
            let mut pieces = pieces;
            // Whole secrets, cut at an arbitrary place.
            for secret in &secrets {
                let cut = inserted.index(secret.len());
                if secret.is_char_boundary(cut) {
                    pieces.push(secret[..cut].to_owned());
                    pieces.push(secret[cut..].to_owned());
                }
            }
            let mut stream = masker.stream();
            let mut out: String = pieces.iter().map(|piece| stream.push(piece)).collect();
            out += &stream.finish();
            prop_assert_eq!(out, masker.mask(&pieces.concat()));
        }

        #[test]
        fn no_form_of_a_secret_survives(secret in "\\PC{6,30}", before in "[a-z]{0,5}", after in "[a-z]{0,5}") {
            prop_assume!(is_long_enough(secret.trim()));
            let masker = Masker::new([secret.as_str()]);
            let whole = format!("{before}{secret}{after}");
            let encoded = [
                whole.clone(),
                serde_json::Value::from(whole.as_str()).to_string(),
                STANDARD.encode(&whole),
                URL_SAFE_NO_PAD.encode(&whole),
                percent_encoded(&whole),
            ];
            for text in encoded {
                prop_assert!(masker.mask(&text).contains(MASK), "{}", text);
            }
        }

        #[test]
        fn a_text_without_secrets_is_unchanged(text in "[0-9 \n]{0,60}") {
            prop_assert_eq!(Masker::new(["hunter22"]).mask(&text), text);
        }
    }
}
