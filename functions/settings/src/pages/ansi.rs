//! Colours of terminals as HTML. Only the colours: everything else that a terminal would do with a
//! text is dropped, and every character that HTML knows is escaped.

use gantry_domain::text;

/// The classes of the eight colours, by their number.
const COLOURS: [&str; 8] =
    ["t-black", "t-red", "t-green", "t-yellow", "t-blue", "t-magenta", "t-cyan", "t-white"];

/// Makes HTML that is safe to put into a page of a text with terminal escapes, part by part: a
/// colour lasts until another one comes.
#[derive(Default)]
pub(super) struct Painter(Style);

impl Painter {
    /// Adds the next part of the text.
    pub(super) fn paint(&mut self, html: &mut String, raw: &str) {
        let mut rest = raw;
        while let Some(at) = rest.find("\u{1b}[") {
            push(html, &rest[..at], &self.0);
            let sequence = &rest[at + 2..];
            let end = sequence.find(|c: char| ('@'..='~').contains(&c)).unwrap_or(sequence.len());
            if sequence[end..].starts_with('m') {
                self.0.change(&sequence[..end]);
            }
            rest = sequence.get(end + 1..).unwrap_or("");
        }
        push(html, rest, &self.0);
    }
}

#[derive(Default)]
struct Style {
    bold: bool,
    colour: Option<&'static str>,
}

impl Style {
    fn change(&mut self, codes: &str) {
        for code in codes.split(';') {
            match code.parse::<usize>().unwrap_or(0) {
                0 => *self = Self::default(),
                1 => self.bold = true,
                22 => self.bold = false,
                39 => self.colour = None,
                code @ 30..=37 => self.colour = COLOURS.get(code - 30).copied(),
                code @ 90..=97 => self.colour = COLOURS.get(code - 90).copied(),
                // 256 colours and millions of them take the rest of the codes.
                38 | 48 => return,
                _ => {}
            }
        }
    }

    fn classes(&self) -> String {
        let bold = self.bold.then_some("t-bold");
        [bold, self.colour].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

fn push(html: &mut String, raw: &str, style: &Style) {
    let clean = text::clean(raw);
    if clean.is_empty() {
        return;
    }
    let classes = style.classes();
    if !classes.is_empty() {
        html.push_str(&format!("<span class=\"{classes}\">"));
    }
    for c in clean.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    if !classes.is_empty() {
        html.push_str("</span>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_html(raw: &str) -> String {
        let mut html = String::new();
        Painter::default().paint(&mut html, raw);
        html
    }

    #[test]
    fn colours_stay_and_nothing_else() {
        insta::assert_snapshot!(
            to_html("plain \u{1b}[1m\u{1b}[32m+ <b>\u{1b}[0m end \u{1b}[2J\u{1b}[38;5;9mx\u{1b}]0;t\u{7}y"),
            @r#"plain <span class="t-bold t-green">+ &lt;b&gt;</span> end xy"#
        );
        assert_eq!(to_html("\u{1b}[31"), "");
        assert_eq!(to_html("a\"'&"), "a&quot;&#39;&amp;");
        let (mut painter, mut html) = (Painter::default(), String::new());
        painter.paint(&mut html, "\u{1b}[31mred\n");
        html.push('|');
        painter.paint(&mut html, "too\u{1b}[0m not");
        let red = |text: &str| format!("<span class=\"t-red\">{text}</span>");
        assert_eq!(html, format!("{}|{} not", red("red\n"), red("too")));
    }
}
