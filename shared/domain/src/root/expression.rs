//! Where an expression of HCL ends, by the rules of its scanner.

/// What is open.
enum Open<'a> {
    /// Brackets, or a template (`${`, `%{`).
    Code,
    /// A text in quotes.
    Text,
    /// A heredoc; `whole` while the line at hand has had no template in it, so that it may be the
    /// marker that ends it.
    Heredoc { marker: &'a str, whole: bool },
}

/// Where the expression at `from` ends: before the end of its line, or the brace that closes its
/// block.
pub(super) fn end(text: &str, from: usize) -> usize {
    scan(text, from, Vec::new())
}

/// Behind the brace that closes what was opened before `from`.
pub(super) fn end_of_braces(text: &str, from: usize) -> usize {
    scan(text, from, vec![Open::Code])
}

/// Behind the quote that closes the text that begins at `from`.
pub(super) fn end_of_text(text: &str, from: usize) -> usize {
    scan(text, from, vec![Open::Text])
}

/// Behind the comment at `at`, before the end of its line; `at` where there is none.
pub(super) fn end_of_comment(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let end = if rest.starts_with('#') || rest.starts_with("//") {
        rest.find('\n')
    } else if let Some(inside) = rest.strip_prefix("/*") {
        inside.find("*/").map(|length| length + 4)
    } else {
        Some(0)
    };
    at + end.unwrap_or(rest.len())
}

/// Scans until everything that is `open` is closed, or, where nothing is, to the end of the
/// expression.
fn scan<'a>(text: &'a str, from: usize, mut open: Vec<Open<'a>>) -> usize {
    let bytes = text.as_bytes();
    let to_the_end = !open.is_empty();
    let mut at = from;
    while let Some(byte) = bytes.get(at).copied() {
        match open.last_mut() {
            None if matches!(byte, b'\n' | b'}') => return at,
            None | Some(Open::Code) => match byte {
                b'"' => {
                    open.push(Open::Text);
                    at += 1;
                }
                b'(' | b'[' | b'{' => {
                    open.push(Open::Code);
                    at += 1;
                }
                b')' | b']' | b'}' => {
                    open.pop();
                    at += 1;
                }
                b'#' | b'/' if end_of_comment(text, at) > at => at = end_of_comment(text, at),
                b'<' if heredoc(text, at).is_some() => {
                    if let Some((marker, begins)) = heredoc(text, at) {
                        open.push(Open::Heredoc { marker, whole: true });
                        at = begins;
                    }
                }
                _ => at += 1,
            },
            Some(Open::Text) => match byte {
                b'\\' => at += 2,
                b'"' => {
                    open.pop();
                    at += 1;
                }
                // A text has one line: what is not closed is no HCL.
                b'\n' => {
                    open.pop();
                }
                b'$' | b'%' => at += template(bytes, at, &mut open),
                _ => at += 1,
            },
            Some(Open::Heredoc { marker, whole }) => {
                let rest = text.get(at..).unwrap_or_default();
                let line = rest.split('\n').next().unwrap_or_default();
                if *whole && line.trim() == *marker {
                    open.pop();
                    at += line.len();
                    continue;
                }
                match line.bytes().position(|byte| matches!(byte, b'$' | b'%')) {
                    // Until the next template, or the end of the line, nothing counts.
                    Some(length) => {
                        *whole = false;
                        at += length;
                        at += template(bytes, at, &mut open);
                    }
                    None => {
                        *whole = true;
                        at += line.len() + 1;
                    }
                }
            }
        }
        if to_the_end && open.is_empty() {
            break;
        }
    }
    at.min(text.len())
}

/// Passes over what begins with `$` or `%`: a template that opens, one that is escaped, or the
/// sign itself.
fn template(bytes: &[u8], at: usize, open: &mut Vec<Open<'_>>) -> usize {
    match bytes.get(at + 1..) {
        Some([b'{', ..]) => {
            open.push(Open::Code);
            2
        }
        Some([next, b'{', ..]) if *next == bytes[at] => 3,
        _ => 1,
    }
}

/// The marker of the heredoc at `at`, and where its first line begins.
fn heredoc(text: &str, at: usize) -> Option<(&str, usize)> {
    let rest = text.get(at..)?.strip_prefix("<<")?;
    let marker = rest.split('\n').next()?;
    let begins = at + 2 + marker.len() + 1;
    let marker = marker.strip_prefix('-').unwrap_or(marker).trim_end_matches('\r');
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let is_name = !marker.is_empty() && marker.chars().all(fits);
    is_name.then_some((marker, begins))
}
