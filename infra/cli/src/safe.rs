//! Texts of a server, made safe for a terminal: what would move its cursor, change its settings or
//! hide and reorder text is written out as `\u001b`.

use serde_json::Value;

/// A text as one line.
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push(' '),
            c if is_hidden(c) => push_code(&mut out, c),
            c => out.push(c),
        }
    }
    out
}

/// A text that may have several lines.
pub(crate) fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if is_hidden(c) => push_code(&mut out, c),
            c => out.push(c),
        }
    }
    out
}

/// A document as JSON that means the same and hides nothing.
pub(crate) fn json(document: &Value) -> String {
    let text = format!("{document:#}");
    if !text.contains(|c| c != '\n' && is_hidden(c)) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        // Everything but the line breaks between values is in a string.
        match c {
            '\n' => out.push(c),
            c if is_hidden(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// At most so many characters; the last is `…` when something was cut.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).collect::<String>() + "…",
    }
}

/// Writes a character as its code.
pub(crate) fn push_code(out: &mut String, c: char) {
    match u32::from(c) {
        code @ ..=0xffff => out.push_str(&format!("\\u{code:04x}")),
        code => out.push_str(&format!("\\U{code:08x}")),
    }
}

/// Control characters, and what reorders or hides text.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// What reorders the text around it, or takes no room. The zero-width joiners stay: scripts and
/// emoji need them.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_server_reaches_the_terminal_but_text() {
        let nasty = "a\u{1b}]0;title\u{7}b\u{9b}2Jc\u{202e}d\r\ne\tf";
        assert_eq!(line(nasty), "a\\u001b]0;title\\u0007b\\u009b2Jc\\u202ed\\r\\ne f");
        assert_eq!(lines(nasty), "a\\u001b]0;title\\u0007b\\u009b2Jc\\u202ed\ne\tf");
        assert_eq!((cut("abc", 3), cut("abcd", 3)), ("abc".to_owned(), "ab…".to_owned()));
    }

    #[test]
    fn json_stays_what_it_means() {
        let document = serde_json::json!({ "a\u{202e}": ["\u{1b}[2J\u{9b}\n", "\u{e0041}", "é"] });
        let text = json(&document);
        assert!(!text.contains(|c| c != '\n' && is_hidden(c)), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
    }
}
