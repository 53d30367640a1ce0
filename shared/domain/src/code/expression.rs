//! Where an expression of HCL ends, by the rules of its scanner.

/// What is open.
enum Open<'a> {
    /// A bracket, or a template (`${`, `%{`), and what closes it.
    Code(u8),
    /// A text in quotes.
    Text,
    /// A heredoc; `whole` at the beginning of a line, which may be the marker that ends it.
    Heredoc { marker: &'a str, whole: bool },
}

/// An expression, as far as it was scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Where the scan ended.
    pub(super) end: usize,
    /// Behind the last of it that is neither blank nor comment.
    pub(super) code: usize,
    /// Where something is wrong with it, and what.
    pub(super) fault: Option<(usize, &'static str)>,
}

/// The expression at `from`. It ends before the end of its line, or the brace that closes its
/// block.
pub(super) fn scan(text: &str, from: usize) -> Scanned {
    scan_open(text, from, Vec::new(), b"\n}")
}

/// Behind the brace that closes what was opened before `from`.
pub fn end_of_braces(text: &str, from: usize) -> usize {
    scan_open(text, from, vec![Open::Code(b'}')], b"").end
}

/// Behind the quote that closes the text that begins at `from`.
pub fn end_of_text(text: &str, from: usize) -> usize {
    scan_text(text, from).end
}

pub(super) fn scan_text(text: &str, from: usize) -> Scanned {
    scan_open(text, from, vec![Open::Text], b"")
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

/// An expression without the parentheses around all of it.
pub fn without_parentheses(written: &str) -> &str {
    let mut written = written.trim();
    // Each pair is scanned again: nobody writes many.
    for _ in 0..8 {
        let opened = Vec::from([Open::Code(b')')]);
        if !written.starts_with('(') || scan_open(written, 1, opened, b"").end < written.len() {
            break;
        }
        let Some(inside) = written.get(1..written.len() - 1) else { break };
        written = inside.trim();
    }
    written
}

/// The keys and values of an object as they are written; nothing of another expression.
pub fn items(object: &str) -> Vec<(&str, &str)> {
    let Some(inside) = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return Vec::new();
    };
    let mut items = Vec::new();
    let mut at = 0;
    while let Some(byte) = inside.as_bytes().get(at).copied() {
        if byte.is_ascii_whitespace() || byte == b',' {
            at += 1;
            continue;
        }
        let comment = end_of_comment(inside, at);
        if comment > at {
            at = comment;
            continue;
        }
        let key = scan_open(inside, at, Vec::new(), b"=:,\n");
        let name = inside.get(at..key.code).unwrap_or_default();
        at = key.end;
        if matches!(inside.as_bytes().get(at), Some(b'=' | b':')) {
            let value = scan_open(inside, at + 1, Vec::new(), b",\n");
            items.push((name, inside.get(at + 1..value.code).unwrap_or_default().trim()));
            at = value.end;
        }
    }
    items
}

/// Scans until everything that is `open` is closed, or, where nothing is, to the end of the
/// expression, which one of `ends` follows.
fn scan_open<'a>(text: &'a str, from: usize, mut open: Vec<Open<'a>>, ends: &[u8]) -> Scanned {
    let bytes = text.as_bytes();
    let to_the_end = !open.is_empty();
    let (mut at, mut code, mut fault) = (from, from, None);
    while let Some(byte) = bytes.get(at).copied() {
        let mut is_code = true;
        match open.last_mut() {
            None if ends.contains(&byte) => break,
            None | Some(Open::Code(_)) => match byte {
                b'"' => {
                    open.push(Open::Text);
                    at += 1;
                }
                b'(' => push(&mut open, b')', &mut at),
                b'[' => push(&mut open, b']', &mut at),
                b'{' => push(&mut open, b'}', &mut at),
                b')' | b']' | b'}' => {
                    let closes = matches!(open.pop(), Some(Open::Code(with)) if with == byte);
                    if !closes {
                        fault.get_or_insert((at, "mismatched closing bracket"));
                    }
                    at += 1;
                }
                b'#' | b'/' => {
                    let end = end_of_comment(text, at);
                    is_code = end == at;
                    at = end.max(at + usize::from(is_code));
                }
                b'<' => match heredoc(text, at) {
                    Some((marker, begins)) => {
                        open.push(Open::Heredoc { marker, whole: true });
                        at = begins;
                    }
                    None => at += 1,
                },
                _ => {
                    is_code = !byte.is_ascii_whitespace();
                    at += 1;
                }
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
                    fault.get_or_insert((at, "unterminated string"));
                }
                b'$' | b'%' => at += template(bytes, at, &mut open),
                _ => at += 1,
            },
            Some(Open::Heredoc { marker, whole }) => {
                let begins_line = std::mem::replace(whole, byte == b'\n');
                let length = if begins_line { length_of_line(bytes, at) } else { 0 };
                let line = text.get(at..at + length).unwrap_or_default();
                if begins_line && line.trim() == *marker {
                    at += line.trim_end().len();
                    open.pop();
                } else {
                    match byte {
                        b'$' | b'%' => at += template(bytes, at, &mut open),
                        _ => at += 1,
                    }
                }
            }
        }
        if is_code {
            code = at;
        }
        if to_the_end && open.is_empty() {
            break;
        }
    }
    let end = at.min(text.len());
    if !open.is_empty() {
        fault.get_or_insert((from, "what starts here is not closed"));
    }
    Scanned { end, code: code.min(text.len()), fault }
}

fn push(open: &mut Vec<Open<'_>>, closes: u8, at: &mut usize) {
    open.push(Open::Code(closes));
    *at += 1;
}

fn length_of_line(bytes: &[u8], from: usize) -> usize {
    bytes.iter().skip(from).take_while(|byte| **byte != b'\n').count()
}

/// Passes over what begins with `$` or `%`: a template that opens, one that is escaped, or the
/// sign itself.
fn template(bytes: &[u8], at: usize, open: &mut Vec<Open<'_>>) -> usize {
    match bytes.get(at + 1..) {
        Some([b'{', ..]) => {
            open.push(Open::Code(b'}'));
            2
        }
        Some([next, b'{', ..]) if *next == bytes[at] => 3,
        _ => 1,
    }
}

/// The marker of the heredoc at `at`, and where its first line begins.
pub(super) fn heredoc(text: &str, at: usize) -> Option<(&str, usize)> {
    let rest = text.get(at..)?.strip_prefix("<<")?;
    let named = rest.strip_prefix('-').unwrap_or(rest);
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let marker = named.get(..named.find(|c| !fits(c))?).filter(|marker| !marker.is_empty())?;
    let behind = named.get(marker.len()..)?;
    let ends = if behind.starts_with("\r\n") { 2 } else { usize::from(behind.starts_with('\n')) };
    (ends > 0).then(|| (marker, text.len() - behind.len() + ends))
}
