//! A log for a terminal: its colors where they are wanted, and nothing else that a terminal would
//! obey.

use crate::safe::{is_hidden, push_code};

/// Sequences that are longer are none that a tool writes.
const LONGEST: usize = 64;

/// Reads a log piece by piece: a sequence may begin in one and end in another.
#[derive(Debug, Default)]
pub(crate) struct LogText {
    keeps_colors: bool,
    at: At,
    /// A carriage return came last: with a line break it is one.
    returned: bool,
    is_colored: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After `ESC [`: what came since.
    Sequence(String),
    /// In a text for the terminal itself, such as its title.
    Title,
}

impl LogText {
    pub(crate) fn new(keeps_colors: bool) -> Self {
        Self { keeps_colors, ..Self::default() }
    }

    /// The next piece, as it may be written.
    pub(crate) fn read(&mut self, piece: &str) -> String {
        let mut out = String::with_capacity(piece.len());
        for c in piece.chars() {
            if std::mem::take(&mut self.returned) && c != '\n' && c != '\r' {
                out.push('\n');
            }
            self.take(c, &mut out);
        }
        out
    }

    /// What ends the last color.
    pub(crate) fn end(&mut self) -> &'static str {
        if std::mem::take(&mut self.is_colored) { "\u{1b}[0m" } else { "" }
    }

    fn take(&mut self, c: char, out: &mut String) {
        let at = std::mem::take(&mut self.at);
        self.at = match (at, c) {
            // Whatever was not ended by the end of its line is over: it must not hide the rest.
            (_, '\n') => {
                out.push('\n');
                At::Text
            }
            (_, '\u{1b}') => At::Escape,
            (At::Escape, '[') => At::Sequence(String::new()),
            (At::Escape, ']' | 'P' | 'X' | '^' | '_') => At::Title,
            (At::Escape, ' '..='/') => At::Escape,
            (At::Escape, _) => At::Text,
            (At::Sequence(codes), '@'..='~') => {
                if c == 'm' && self.keeps_colors && is_color(&codes) {
                    out.push_str(&format!("\u{1b}[{codes}m"));
                    self.is_colored = !matches!(codes.as_str(), "" | "0");
                }
                At::Text
            }
            (At::Sequence(mut codes), c) => {
                if codes.len() < LONGEST {
                    codes.push(c);
                }
                At::Sequence(codes)
            }
            (At::Title, '\u{7}' | '\u{9c}') => At::Text,
            (At::Title, _) => At::Title,
            (At::Text, '\u{9b}') => At::Sequence(String::new()),
            (At::Text, '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') => At::Title,
            (At::Text, '\r') => {
                self.returned = true;
                At::Text
            }
            (At::Text, '\t') => {
                out.push('\t');
                At::Text
            }
            (At::Text, c) if c.is_control() => At::Text,
            (At::Text, c) if is_hidden(c) => {
                push_code(out, c);
                At::Text
            }
            (At::Text, c) => {
                out.push(c);
                At::Text
            }
        };
    }
}

/// Colors and how letters look, but not what hides them.
fn is_color(codes: &str) -> bool {
    if codes.len() >= LONGEST
        || !codes.bytes().all(|c| c.is_ascii_digit() || c == b';' || c == b':')
    {
        return false;
    }
    // A terminal reads 08 as 8, and what follows a colon belongs to the code before it.
    let mut codes = codes.split(';').map(|code| {
        let code = code.trim_start_matches('0');
        code.split(':').next().unwrap_or(code)
    });
    while let Some(code) = codes.next() {
        match code {
            "8" => return false,
            // A color of 256 or of millions: its numbers are no codes.
            "38" | "48" | "58" => {
                let numbers = if codes.next() == Some("5") { 1 } else { 3 };
                codes.by_ref().take(numbers).for_each(drop);
            }
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, colored: &str, plain: &str) {
        for (keeps, expected) in [(true, colored), (false, plain)] {
            assert_eq!(LogText::new(keeps).read(raw), expected, "{raw:?}");
            // Wherever it is cut into pieces.
            let mut log = LogText::new(keeps);
            let pieces: String = raw.chars().map(|c| log.read(&c.to_string())).collect();
            assert_eq!(pieces, expected, "{raw:?} in pieces");
        }
    }

    #[test]
    fn colors_stay_and_nothing_else_that_a_terminal_obeys() {
        check("\u{1b}[1m\u{1b}[32m+\u{1b}[0m a", "\u{1b}[1m\u{1b}[32m+\u{1b}[0m a", "+ a");
        check("\u{1b}[38;5;8mx\u{1b}[m", "\u{1b}[38;5;8mx\u{1b}[m", "x");
        check("\u{1b}[08mhidden\u{1b}[0;0008mtoo\u{1b}[8:0m.", "hiddentoo.", "hiddentoo.");
        check("\u{1b}[038;05;08mx\u{1b}[00m", "\u{1b}[038;05;08mx\u{1b}[00m", "x");
        check("\u{1b}[8mhidden\u{1b}[31;8mtoo", "hiddentoo", "hiddentoo");
        check("a\u{1b}[2Jb\u{1b}[1;1Hc\u{9b}2Kd\u{1b}[?25le", "abcde", "abcde");
        check(
            "a\u{1b}]0;title\u{7}b\u{1b}]8;;x\u{1b}\\c\u{1b}(Bd\u{1b}Pq\u{9c}e",
            "abcde",
            "abcde",
        );
        check("a\u{1b}]never ended\nb\u{1b}[31\nc", "a\nb\nc", "a\nb\nc");
        check(
            "one\r\ntwo\rthree\r\r\nfour\u{8}\u{7}\u{0}",
            "one\ntwo\nthree\nfour",
            "one\ntwo\nthree\nfour",
        );
        check("a\u{202e}b\tc", "a\\u202eb\tc", "a\\u202eb\tc");
    }

    #[test]
    fn a_color_that_was_left_on_is_ended() {
        let mut log = LogText::new(true);
        log.read("\u{1b}[31mred");
        assert_eq!((log.end(), log.end()), ("\u{1b}[0m", ""));
        log.read("\u{1b}[31mred\u{1b}[0m");
        assert_eq!(log.end(), "");
    }
}
