//! Every text that people read in GitLab: pure functions of what is known.
//!
//! What comes from outside (branch names, addresses, values, errors, logs) is untrusted.
//! It passes through [`clean_line`] or [`markdown`] before it stands in any text.

pub mod answer;
pub mod approval;
pub mod change;
pub mod drift;
pub mod markdown;
pub mod module;
pub mod names;
pub mod note;
pub mod notification;
pub mod status;
pub mod unpushed;

use crate::protocol::StateDoubt;
use std::borrow::Cow;

/// Removes what has no place in a text that people read: terminal escapes, control characters,
/// and characters that reorder or hide text. Line breaks and tabs stay; every kind of line break
/// becomes `\n`.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_control_sequence(&mut chars),
            '\r' => {
                if chars.peek() != Some(&'\n') {
                    out.push('\n');
                }
            }
            '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || is_invisible(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Writes what nobody sees as `\u200b`, so that texts that differ look different: control
/// characters, what reorders or hides text, and blanks that are no space. A tab stays.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if !is_hidden(c) => out.push(c),
            c if c <= '\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.into()
}

/// The same for a line of a text, at whose end blanks are seen too.
pub fn visible_line(text: &str) -> Cow<'_, str> {
    let visible = visible(text);
    let end = match visible.chars().next_back() {
        Some(' ') => "\\u0020",
        Some('\t') => "\\t",
        _ => return visible,
    };
    (visible[..visible.len() - 1].to_owned() + end).into()
}

fn is_hidden(c: char) -> bool {
    c != '\t' && c != ' ' && (c.is_control() || c.is_whitespace() || is_unseen(c))
}

/// How many characters [`visible`] makes of one.
pub fn visible_width(c: char) -> usize {
    match c {
        '\n' | '\r' => 2,
        c if !is_hidden(c) => 1,
        c if c <= '\u{ffff}' => 6,
        _ => 10,
    }
}

/// At most `chars` characters: what is too long loses its middle, so that its end is seen.
pub fn cut_middle(text: &str, chars: usize) -> String {
    let all = text.chars().count();
    if all <= chars {
        return text.to_owned();
    }
    let kept = chars.saturating_sub(1);
    let end = kept / 2;
    let begin: String = text.chars().take(kept - end).collect();
    begin + "…" + &text.chars().skip(all - end).collect::<String>()
}

/// What is said of a plan whose arguments leave something out.
pub const PARTIAL_PLAN: &str = "This plan covers only part of the configuration.";

/// Who or what ended a run, as a sentence: "Superseded by …" stays as it is, a name becomes
/// "Stopped by …". A person is called `Ada Lovelace @ada`, and may choose any name.
pub fn stopped_by(who: &str) -> String {
    let is_person = who.contains(" @") && !who.starts_with("Stopped by ");
    if who.contains(' ') && who.starts_with(char::is_uppercase) && !is_person {
        who.to_owned()
    } else {
        format!("Stopped by {who}")
    }
}

/// How a runner begins to say why its phase ended before the tool was told to apply.
pub const NOTHING_APPLIED: &str = "Nothing was applied";

/// Why a stack is blocked whose runner was not heard of any more.
pub const LOST_WHILE_APPLYING: &str = "the runner was lost during an apply, so the result is \
                                       unknown";

/// Why a stack is blocked, where its runner could tell.
pub fn why_blocked(doubt: StateDoubt) -> &'static str {
    match doubt {
        StateDoubt::KeptAside => {
            "the newest state could not be made current and was set aside; restore it if it is \
             correct"
        }
        StateDoubt::NotDelivered => {
            "a state from its last apply exists only on the runner's machine; the runner's log \
             names the file"
        }
        StateDoubt::RunnerDied => {
            "the runner died during an apply and left no state, so the result is unknown"
        }
    }
}

/// Why no runner has a run yet: how that came, and what was said of it.
pub fn not_started(how: &str, words: &str) -> String {
    clean_line(&format!("{how}: {}", words.trim().trim_end_matches('.')), 300)
}

/// One clean line of at most `chars` characters: line breaks become spaces, runs of spaces one.
pub fn clean_line(text: &str, chars: usize) -> String {
    let line = clean(text).split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&line, chars)
}

/// At most `chars` characters; the last one is `…` when something was cut.
pub fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(chars.saturating_sub(1)).collect();
            kept.trim_end().to_owned() + "…"
        }
    }
}

/// `1 stack`, `2 stacks`.
pub fn counted(count: usize, word: &str) -> String {
    format!("{} {word}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// What is said of checks behind the counts of a plan or an apply: `, 1 check failed`, and nothing
/// where none did.
pub fn and_failed_checks(count: u32) -> String {
    match count {
        0 => String::new(),
        count => format!(", {} failed", counted(count as usize, "check")),
    }
}

/// `1 more line`, `2 more lines`.
pub fn more(count: usize, word: &str) -> String {
    format!("{} more {word}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A number with its thousands set apart: `4,213`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Characters that reorder the text around them or that nobody sees. The zero-width joiners stay:
/// scripts and emoji need them.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// The same, and what takes no room or is only a part of what stands before it.
fn is_unseen(c: char) -> bool {
    is_invisible(c)
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200c}'..='\u{200d}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fff8}'
                | '\u{e0080}'..='\u{e0fff}'
        )
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// After ESC: a control sequence, a string such as a title or link, or a single character.
fn skip_escape(chars: &mut Chars<'_>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_control_sequence(chars);
        }
        // OSC, DCS, SOS, PM, APC: up to BEL or ESC \. A line never belongs to one, so that a
        // forged start cannot swallow the rest of a log.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            while let Some(c) = chars.peek().copied() {
                if c == '\n' || c == '\r' {
                    return;
                }
                chars.next();
                if c == '\u{7}' {
                    return;
                }
                if c == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    return;
                }
            }
        }
        Some('(' | ')' | '#' | '%') => {
            chars.next();
            chars.next_if(|c| c.is_ascii_alphanumeric());
        }
        Some('@'..='~' | '0'..='9' | '=' | '>' | '<') => {
            chars.next();
        }
        _ => {}
    }
}

/// Parameters, then one final character.
fn skip_control_sequence(chars: &mut Chars<'_>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn terminals_words_are_taken_out() {
        assert_eq!(clean("\u{1b}[1;31mError\u{1b}[0m: x\r\ny\rz"), "Error: x\ny\nz");
        assert_eq!(clean("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{7}!"), "link!");
        assert_eq!(clean("a\u{202e}b\u{0}c\u{200b}d\te"), "abcd\te");
        assert_eq!(clean("\u{1b}]swallow\nkept"), "\nkept");
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(clean_line(" a\n\n  b\tc ", 10), "a b c");
        assert_eq!(clean_line("abcdef", 6), "abcdef");
        assert_eq!(clean_line("abcdefg", 6), "abcde…");
    }

    #[test]
    fn whoever_stops_a_run_is_named_whatever_they_are_called() {
        for (who, said) in [
            ("ada", "Stopped by ada"),
            ("Superseded by c14e3cbd", "Superseded by c14e3cbd"),
            ("Ada Lovelace @ada", "Stopped by Ada Lovelace @ada"),
            ("Ada Lovelace @ada (key laptop)", "Stopped by Ada Lovelace @ada (key laptop)"),
            ("Superseded by c14e3cbd @eve", "Stopped by Superseded by c14e3cbd @eve"),
            ("Stopped by Ada Lovelace @ada", "Stopped by Ada Lovelace @ada"),
        ] {
            assert_eq!(stopped_by(who), said);
        }
    }

    #[test]
    fn why_no_runner_has_a_run_is_one_short_line() {
        let said =
            not_started("A runner could not be started", " No \u{1b}[1mroom\u{1b}[0m\nhere. ");
        assert_eq!(said, "A runner could not be started: No room here");
        assert_eq!(not_started("No", &"x".repeat(1_000)).chars().count(), 300);
    }

    #[test]
    fn what_nobody_sees_is_written_out() {
        let text = "a\u{200b}b\u{a0}\u{2028}c\u{202e}\r\u{1f9d1}\u{200d}\u{e0041}\t";
        let seen = "a\\u200bb\\u00a0\\u2028c\\u202e\\r\u{1f9d1}\\u200d\\U000e0041\t";
        assert_eq!(visible(text), seen);
        assert_eq!(visible("ä b"), "ä b");
        assert_eq!(visible_line("a  "), "a \\u0020");
        assert_eq!(visible_line("a\t"), "a\\t");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(4213), "4,213");
        assert_eq!(counted(1, "line"), "1 line");
        assert_eq!(counted(1_234_567, "line"), "1,234,567 lines");
    }

    proptest! {
        #[test]
        fn one_more_character_is_seen(text in any::<String>(), at in any::<prop::sample::Index>(), c in any::<char>()) {
            let at = text.char_indices().nth(at.index(text.chars().count() + 1)).map_or(text.len(), |(at, _)| at);
            let longer = format!("{}{c}{}", &text[..at], &text[at..]);
            let seen = |text: &str| clean(&visible_line(text));
            // What stood at the end is written shorter where something follows.
            prop_assert_ne!(seen(&longer), seen(&text));
            prop_assert_eq!(seen(&text), visible_line(&text));
        }

        #[test]
        fn nothing_unclean_stays(text in any::<String>(), chars in 1usize..300) {
            let clean = clean(&text);
            prop_assert!(clean.chars().all(|c| c == '\n' || c == '\t' || !(c.is_control() || is_invisible(c))));
            let line = clean_line(&text, chars);
            prop_assert!(line.chars().count() <= chars);
            prop_assert!(!line.contains(['\n', '\t']));
        }
    }
}
