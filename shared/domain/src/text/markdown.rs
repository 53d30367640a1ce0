//! Markdown that stays what it was meant to be, whatever untrusted text it holds.
//!
//! GitLab *executes* lines that start with a slash in the notes that we post, notifies whoever is
//! mentioned, and links what looks like a reference. Old versions look for such lines with
//! regular expressions that know fences of exactly three backticks only; newer ones parse the
//! Markdown. Every function here is safe for both, and the tests hold an oracle of each.

use super::{clean, clean_line};

/// Separates what must not stand together; nobody sees it.
pub(super) const BREAK: char = '\u{200b}';
/// The fence. Inside no three backticks stand together, so that three are always longer than any
/// run inside, and GitLab's old regular expression, which wants exactly three, sees its end too.
const FENCE: &str = "```";

/// Text within a paragraph, a heading, a table cell or an HTML element, as one line. Nothing in it
/// is Markdown, HTML, a mention or a reference.
pub fn plain(text: &str) -> String {
    let line = clean_line(text, usize::MAX);
    let mut out = String::with_capacity(line.len() * 2);
    let mut chars = line.chars().peekable();
    let mut word = String::new();
    let (mut is_first, mut is_number, mut last) = (true, true, ' ');
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        // Signs, or a number and a dot, at the start could make a list or a heading.
        // GitLab looks for links and references in the text that people would read: the one below
        // in brackets, `acme/network>` for a project, `GL-1` and Jira's for an issue.
        let ends_reference = match c {
            '(' => last == ']',
            '>' => last.is_alphanumeric() || last == '_' || last == '-' || last == '.',
            _ => c.is_ascii_digit() && last == '-',
        };
        if ends_reference {
            out.push_str("&#8203;");
        }
        let is_plain = c.is_alphabetic()
            || matches!(c, ' ' | ',' | ';' | '?' | '\'' | '"')
            || c.is_numeric()
            || (c == '.' && !is_number && !word.ends_with("www"))
            || (!is_first && matches!(c, '-' | '/' | '='))
            || (c == ':' && next == ' ');
        if is_plain || !c.is_ascii() {
            out.push(c);
        } else {
            out.push_str(&format!("&#{};", u32::from(c)));
        }
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
        // References, emoji, links that would be made of plain text, and scripted addresses.
        let begins_reference = "@#!~%&$^*:[{+".contains(c) && !next.is_whitespace();
        if begins_reference {
            out.push_str("&#8203;");
        }
        if !c.is_ascii_alphanumeric() {
            word.clear();
        }
        last = c;
        is_first = false;
        is_number &= c.is_ascii_digit();
    }
    out
}

/// Text in a cell of a table, at most `chars` characters; `&#160;` when there is none.
pub fn table_cell(text: &str, chars: usize) -> String {
    match plain(&super::clean_line(text, chars)) {
        cell if cell.is_empty() => "&#160;".to_owned(),
        cell => cell,
    }
}

/// Text as code within a paragraph. Not for tables, where a `|` would end the cell: see
/// [`code_cell`].
pub fn inline_code(text: &str) -> String {
    // No run of two inside: the span then never starts with three, which at the beginning of a
    // line would be a block.
    let line = disarm(&clean_line(text, usize::MAX), 2);
    let fence = "`".repeat(longest_run(&line) + 1);
    // Spaces keep backticks at the ends apart from the fence; one on each side is not shown.
    let pad =
        if line.is_empty() || line.starts_with('`') || line.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{line}{pad}{fence}")
}

/// Text as code in a cell of a table, at most `chars` characters.
pub fn code_cell(text: &str, chars: usize) -> String {
    format!("<code>{}</code>", table_cell(text, chars))
}

/// A link in a paragraph or a table. Anything but a plain `http` or `https` address gives the text
/// alone.
pub fn link(text: &str, url: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#@!$&'*+,;=%".contains(&b);
    if (url.starts_with("https://") || url.starts_with("http://")) && url.bytes().all(is_plain) {
        format!("[{}]({url})", plain(text))
    } else {
        plain(text)
    }
}

/// A block of code in `language`, every line of it inert.
pub fn fenced(language: &str, text: &str) -> String {
    let mut out = format!("{FENCE}{language}\n");
    for line in fence_lines(text) {
        out.push_str(&line);
        out.push('\n');
    }
    out + FENCE + "\n"
}

/// The lines that stand in a block of code for `text`.
pub fn fence_lines(text: &str) -> impl Iterator<Item = String> {
    clean(text).lines().map(disarm_line).collect::<Vec<_>>().into_iter()
}

/// A clean line as it may stand within a fence: no run of three backticks, no slash in front, no
/// beginning of an HTML comment.
fn disarm_line(line: &str) -> String {
    let line = disarm(line, 3);
    let start = line.len() - line.trim_start().len();
    let (indent, rest) = line.split_at(start);
    // `>>>` alone on a line begins a quote for GitLab's old regular expression.
    if rest.starts_with('/') || rest.starts_with(">>>") {
        format!("{indent}{BREAK}{rest}")
    } else {
        line
    }
}

/// Breaks runs of `most` backticks and the beginnings of HTML comments.
fn disarm(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        if run == most || (c == '!' && out.ends_with('<')) {
            out.push(BREAK);
            run = run.min(1);
        }
        out.push(c);
    }
    out
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod oracle {
    //! What GitLab would make of a note: its old way and its new way.

    use std::collections::BTreeSet;

    /// A line that the strictest reading takes for a quick action, wherever it stands.
    pub(crate) fn quick_action_lines(note: &str) -> Vec<&str> {
        let is_action = |line: &&str| {
            let mut chars = line.trim_start().chars();
            chars.next() == Some('/') && chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        };
        note.split(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'])
            .filter(is_action)
            .collect()
    }

    /// What is outside blocks of code as CommonMark closes them: a fence of at least as many
    /// backticks, indented by at most three spaces, and nothing behind it.
    pub(crate) fn outside_new(note: &str) -> String {
        let mut open: Option<usize> = None;
        let mut out = String::new();
        for line in note.lines() {
            let body = line.trim_start_matches(' ');
            let indent = line.len() - body.len();
            let ticks = body.chars().take_while(|c| *c == '`').count();
            let is_fence = indent <= 3 && ticks >= 3;
            match open {
                None if is_fence && !body[ticks..].contains('`') => open = Some(ticks),
                None => out += &format!("{line}\n"),
                Some(n) if is_fence && ticks >= n && body[ticks..].trim().is_empty() => open = None,
                Some(_) => {}
            }
        }
        assert_eq!(open, None, "a fence is not closed");
        out
    }

    /// The same by GitLab's old regular expression, ``^```.+?\n```$`` over several lines.
    pub(crate) fn outside_old(note: &str) -> String {
        let mut out = String::new();
        let mut lines = note.lines();
        while let Some(line) = lines.next() {
            if line.starts_with("```") {
                assert!(lines.by_ref().any(|l| l == "```"), "a fence is not closed");
            } else {
                out += &format!("{line}\n");
            }
        }
        out
    }

    /// Markdown with a sign in place of each code span.
    pub(crate) fn without_code(markdown: &str) -> String {
        let mut out = String::new();
        let mut rest = markdown;
        while let Some(at) = rest.find('`') {
            out += &rest[..at];
            let ticks = rest[at..].chars().take_while(|c| *c == '`').count();
            let body = &rest[at + ticks..];
            let mut search = 0;
            let end = loop {
                let Some(found) = body[search..].find('`') else { break None };
                let start = search + found;
                let run = body[start..].chars().take_while(|c| *c == '`').count();
                if run == ticks {
                    break Some(start);
                }
                search = start + run;
            };
            match end {
                Some(end) => {
                    out.push('\u{fffc}');
                    rest = &body[end + ticks..];
                }
                None => {
                    out += &"`".repeat(ticks);
                    rest = body;
                }
            }
        }
        out + rest
    }

    /// The text outside code spans, with entities decoded: what filters for mentions, references
    /// and links look at.
    pub(crate) fn spoken(markdown: &str) -> String {
        decode(&without_code(markdown))
    }

    /// Numeric entities as the characters that they stand for.
    pub(crate) fn decode(html: &str) -> String {
        let mut decoded = String::new();
        let mut rest = html;
        while let Some(at) = rest.find("&#") {
            decoded += &rest[..at];
            let Some(end) = rest[at..].find(';') else { break };
            match rest[at + 2..at + end].parse().ok().and_then(char::from_u32) {
                Some(c) => decoded.push(c),
                None => decoded += &rest[at..=at + end],
            }
            rest = &rest[at + end + 1..];
        }
        decoded + rest
    }

    /// What GitLab shows: the text that people read, and whether anything in it is a link, an image,
    /// or an element of its own.
    pub(crate) fn rendered(markdown: &str) -> (String, bool) {
        let html = html(markdown);
        let html = html.trim().trim_start_matches("<p>").trim_end_matches("</p>");
        (unescaped(html), html.contains('<'))
    }

    /// All that people read of a note, without the breaks that nobody sees.
    pub(crate) fn read(markdown: &str) -> String {
        let html = html(markdown);
        let text = html.split('<').enumerate().map(|(at, part)| match at {
            0 => part,
            _ => part.split_once('>').map_or("", |(_, text)| text),
        });
        unescaped(&text.collect::<String>()).replace(super::BREAK, "")
    }

    fn unescaped(html: &str) -> String {
        let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")];
        entities.iter().fold(html.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// The elements that GitLab makes of a note, as they begin (`<a href="…">`), and comments.
    pub(crate) fn elements(markdown: &str) -> BTreeSet<String> {
        let html = html(markdown);
        let begin = html.split('<').skip(1).filter(|tag| !tag.starts_with('/'));
        begin.map(|tag| format!("<{}>", tag.split_once('>').map_or(tag, |(tag, _)| tag))).collect()
    }

    /// What GitLab makes of Markdown: comrak with the extensions that GitLab turns on.
    fn html(markdown: &str) -> String {
        let mut options = comrak::Options::default();
        let extension = &mut options.extension;
        extension.autolink = true;
        extension.description_lists = true;
        extension.footnotes = true;
        extension.math_code = true;
        extension.math_dollars = true;
        extension.multiline_block_quotes = true;
        extension.strikethrough = true;
        extension.table = true;
        extension.tasklist = true;
        options.parse.relaxed_autolinks = true;
        options.render.r#unsafe = true;
        comrak::markdown_to_html(markdown, &options)
    }

    /// Somebody or something would be mentioned or linked.
    pub(crate) fn mentions(spoken: &str) -> Option<String> {
        let chars: Vec<char> = spoken.chars().collect();
        let at = |i: usize| chars.get(i).copied().unwrap_or(' ');
        (0..chars.len())
            .find(|i| {
                "@#!~%$&^".contains(at(*i))
                    && (at(i + 1).is_alphanumeric() || "\"_".contains(at(i + 1)))
                    || (at(*i) == ':' && at(i + 1) == '/' && at(i + 2) == '/')
            })
            .map(|i| chars[i..(i + 12).min(chars.len())].iter().collect())
    }

    /// GitLab would make a link or a reference of it in what people read: `[x](y)`, `GL-1`,
    /// `acme/network>`.
    pub(crate) fn references(spoken: &str) -> bool {
        let chars: Vec<char> = spoken.chars().collect();
        chars.windows(2).any(|pair| match pair {
            [']', '('] => true,
            ['-', next] => next.is_ascii_digit(),
            [before, '>'] => before.is_alphanumeric(),
            _ => false,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{oracle::*, *};
    use proptest::prelude::*;

    #[test]
    fn plain_text_is_nothing_but_text() {
        insta::assert_snapshot!(plain("# @all: see !12, <b>*x*</b> | `y`\n/close"), @"&#35; &#64;&#8203;all: see &#33;&#8203;12, &#60;b&#8203;&#62;&#42;&#8203;x&#42;&#8203;&#60;/b&#8203;&#62; &#124; &#96;y&#96; /close");
        insta::assert_snapshot!(plain("1. https://gitlab.com/a/b/-/issues/1 www.x.y"), @"1&#46; https&#58;&#8203;//gitlab.com/a/b/-/issues/1 www&#46;x.y");
        insta::assert_snapshot!(plain("[x](//y.example) acme/network> GL-1 SHA-256"), @"&#91;&#8203;x&#93;&#8203;&#40;//y.example&#41; acme/network&#8203;&#62; GL-&#8203;1 SHA-&#8203;256");
        insta::assert_snapshot!(plain("Invalid reference: a-b.c is 5/6 = x"), @"Invalid reference: a-b.c is 5/6 = x");
        insta::assert_snapshot!(plain("- /close"), @"&#45; /close");
    }

    #[test]
    fn code_is_fenced() {
        insta::assert_snapshot!(inline_code("a`b"), @"``a`b``");
        insta::assert_snapshot!(inline_code("`"), @"`` ` ``");
        insta::assert_snapshot!(inline_code("feature/x|y"), @"`feature/x|y`");
        insta::assert_snapshot!(code_cell("a|b", 10), @"<code>a&#124;b</code>");
        insta::assert_snapshot!(link("run", "https://x.example/runs/1?key=a"), @"[run](https://x.example/runs/1?key=a)");
        insta::assert_snapshot!(link("run", "javascript:alert(1)"), @"run");
        insta::assert_snapshot!(link("run", "https://x.example/a)b"), @"run");
    }

    #[test]
    fn a_block_cannot_be_left() {
        let text =
            "```\n/close\n  /merge\n````\n<!-- gantry:x -->\n>>>\n\u{1b}[31mred\u{1b}[0m\r\nend";
        insta::assert_snapshot!(fenced("diff", text).replace(BREAK, "¦"), @"
        ```diff
        ``¦`
        ¦/close
          ¦/merge
        ``¦``
        <¦!-- gantry:x -->
        ¦>>>
        red
        end
        ```
        ");
    }

    /// Text made of what is dangerous, with ordinary text between.
    pub(crate) fn untrusted() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("`".to_owned()),
            Just("```".to_owned()),
            Just("\n".to_owned()),
            Just("\r".to_owned()),
            Just("\u{2028}".to_owned()),
            Just("\u{c}".to_owned()),
            Just("/close".to_owned()),
            Just("/merge now".to_owned()),
            Just(" ".to_owned()),
            Just("@all".to_owned()),
            Just("#1".to_owned()),
            Just("!2".to_owned()),
            Just("~bug".to_owned()),
            Just("https://gitlab.com/x".to_owned()),
            Just("|".to_owned()),
            Just("<!--".to_owned()),
            Just("<".to_owned()),
            Just("!--".to_owned()),
            Just("</details>".to_owned()),
            Just(">>>".to_owned()),
            Just("\\".to_owned()),
            Just("\u{1b}[31m".to_owned()),
            Just("\u{202e}".to_owned()),
            Just("~~~".to_owned()),
            Just("&#64;".to_owned()),
            Just("\u{200b}".to_owned()),
            Just("[x](y)".to_owned()),
            Just("[x](//y.example)".to_owned()),
            Just("www.y.example".to_owned()),
            Just("a@y.example".to_owned()),
            Just("acme/network>".to_owned()),
            Just("GL-1".to_owned()),
            "\\PC{0,6}",
            any::<String>(),
        ];
        prop::collection::vec(part, 0..14).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn plain_is_inert(text in untrusted()) {
            let plain = plain(&text);
            let source = plain.replace("&#", "");
            prop_assert!(!source.contains(['\n', '<', '>', '|', '`', '*', '_', '[', ']', '\\', '~', '@', '#', '!']), "{}", plain);
            prop_assert_eq!(mentions(&spoken(&plain)), None);
            prop_assert!(!references(&spoken(&plain)), "{}", plain);
            prop_assert_eq!(quick_action_lines(&plain), Vec::<&str>::new());
            // Nothing gets lost but what is not text.
            let shown = spoken(&plain).replace(BREAK, "");
            prop_assert_eq!(&shown, &clean_line(&text, usize::MAX));
            let (read, has_elements) = rendered(&plain);
            prop_assert!(!has_elements, "{}", read);
            prop_assert_eq!(read.replace(BREAK, ""), shown);
        }

        #[test]
        fn inline_code_is_one_span(text in untrusted()) {
            let code = inline_code(&text);
            prop_assert_eq!(spoken(&code), "\u{fffc}");
            prop_assert!(!code.contains("<!--") && !code.contains("```"));
        }

        #[test]
        fn a_cell_stays_one_cell(text in untrusted()) {
            for cell in [table_cell(&text, 40), code_cell(&text, 40)] {
                prop_assert!(!cell.contains(['|', '\n', '`', '\\']), "{}", cell);
            }
        }

        #[test]
        fn a_fence_holds(text in untrusted()) {
            let block = format!("before\n\n{}\nafter\n", fenced("diff", &text));
            prop_assert_eq!(outside_new(&block), "before\n\n\nafter\n");
            prop_assert_eq!(outside_old(&block), "before\n\n\nafter\n");
            prop_assert_eq!(quick_action_lines(&block), Vec::<&str>::new());
            prop_assert!(!block.contains("<!--"));
        }
    }
}
