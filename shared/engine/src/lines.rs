//! Output cut into lines, in bounded memory whatever a program writes.

/// A line of output, or a part of one that is too long to be kept whole; without its line end.
/// Colours are left in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The text.
    pub text: &'a str,
    /// A line begins with it.
    pub begins: bool,
    /// A line ends with it.
    pub ends: bool,
}

impl<'a> Piece<'a> {
    /// The line, where this is a whole one.
    pub fn line(&self) -> Option<&'a str> {
        (self.begins && self.ends).then_some(self.text)
    }
}

/// A line is cut into pieces of this many bytes.
const LONGEST_PIECE: usize = 1 << 20;

/// What was read and not yet passed on.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    pending: Vec<u8>,
    /// The beginning of this line was passed on already.
    goes_on: bool,
}

impl Splitter {
    /// Takes what was read and passes on what is whole by now.
    pub(crate) fn feed(&mut self, read: &[u8], mut sink: impl FnMut(Piece<'_>)) {
        let mut rest = read;
        while let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(&rest[..length]);
            self.end_line(&mut sink);
            rest = &rest[length + 1..];
        }
        self.pending.extend_from_slice(rest);
        if self.pending.len() >= LONGEST_PIECE {
            // Not within a character, and not before a line end that may follow a return.
            let end = self.pending.len() - unfinished(&self.pending);
            let text = String::from_utf8_lossy(&self.pending[..end]);
            sink(Piece { text: &text, begins: !self.goes_on, ends: false });
            self.pending.drain(..end);
            self.goes_on = true;
        }
    }

    /// How many bytes were taken and not yet passed on.
    pub(crate) fn pending(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Passes on what is left: nothing comes any more.
    pub(crate) fn finish(mut self, mut sink: impl FnMut(Piece<'_>)) {
        if !self.pending.is_empty() || self.goes_on {
            self.end_line(&mut sink);
        }
    }

    fn end_line(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        let line = self.pending.strip_suffix(b"\r").unwrap_or(&self.pending);
        let text = String::from_utf8_lossy(line);
        sink(Piece { text: &text, begins: !self.goes_on, ends: true });
        self.pending.clear();
        self.goes_on = false;
    }
}

/// How many bytes at the end may belong to what comes next.
fn unfinished(bytes: &[u8]) -> usize {
    if bytes.last() == Some(&b'\r') {
        return 1;
    }
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let Some(first) = tail.iter().rposition(|byte| *byte >= 0xc0) else { return 0 };
    let found = tail.len() - first;
    let whole = match tail[first] {
        0xf0.. => 4,
        0xe0.. => 3,
        _ => 2,
    };
    if found < whole { found } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(chunks: &[&[u8]]) -> Vec<(String, bool, bool)> {
        let (mut splitter, mut pieces) = (Splitter::default(), Vec::new());
        let mut take = |piece: Piece<'_>| {
            pieces.push((piece.text.to_owned(), piece.begins, piece.ends));
        };
        for chunk in chunks {
            splitter.feed(chunk, &mut take);
        }
        splitter.finish(&mut take);
        pieces
    }

    #[test]
    fn a_long_line_comes_in_pieces_that_say_so() {
        let long = "é".repeat(LONGEST_PIECE / 2 - 1);
        let pieces = split(&[b"a", long.as_bytes(), "éé\r".as_bytes(), b"\nnext\nlast"]);
        let seen: Vec<_> = pieces.iter().map(|(_, begins, ends)| (*begins, *ends)).collect();
        assert_eq!(seen, [(true, false), (false, true), (true, true), (true, true)]);
        assert_eq!(pieces[0].0.clone() + &pieces[1].0, format!("a{long}éé"));
        assert_eq!((pieces[2].0.as_str(), pieces[3].0.as_str()), ("next", "last"));
    }

    #[test]
    fn memory_stays_bounded_in_an_endless_line() {
        let mut splitter = Splitter::default();
        let mut bytes = 0;
        for _ in 0..1000 {
            splitter.feed(&[b'x'; 16 * 1024], |piece| bytes += piece.text.len());
            assert!(splitter.pending.capacity() <= 4 * LONGEST_PIECE);
        }
        splitter.finish(|piece| bytes += piece.text.len());
        assert_eq!(bytes, 1000 * 16 * 1024);
    }

    proptest! {
        #[test]
        fn however_it_is_read_the_lines_are_the_same(
            text in "([a-zé€😀]|\r\n|\n){0,80}", at in 0usize..200,
        ) {
            let bytes = text.as_bytes();
            let (one, two) = bytes.split_at(at.min(bytes.len()));
            let whole: Vec<_> = text.lines().map(|line| (line.to_owned(), true, true)).collect();
            prop_assert_eq!(split(&[one, two]), whole);
        }

        #[test]
        fn a_cut_is_never_within_a_character(text in "[a-zé€😀]{1,9}", end in 0usize..40) {
            let bytes = &text.as_bytes()[..end.min(text.len())];
            prop_assert!(str::from_utf8(&bytes[..bytes.len() - unfinished(bytes)]).is_ok());
        }
    }
}
