//! Markdown as people see it: tables, folded sections, coloured diffs, and nothing that runs.

use pulldown_cmark::{CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::html::esc;

/// The HTML elements that a note may bring itself, without attributes.
const ALLOWED: [&str; 16] = [
    "details",
    "summary",
    "br",
    "sub",
    "sup",
    "b",
    "i",
    "em",
    "strong",
    "kbd",
    "code",
    "p",
    "ins",
    "del",
    "hr",
    "blockquote",
];

/// Renders a note.
pub(super) fn render(text: &str) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut events = Vec::new();
    let mut diff = false;
    for event in Parser::new_ext(text, options) {
        match event {
            Event::Html(raw) | Event::InlineHtml(raw) => {
                events.push(Event::Html(CowStr::from(sanitise(&raw))));
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let dest_url = if is_safe(&dest_url) { dest_url } else { CowStr::from("#") };
                events.push(Event::Start(Tag::Link { link_type, dest_url, title, id }));
            }
            // Pictures would be fetched from elsewhere.
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => {}
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(kind))) => {
                diff = &*kind == "diff";
                events.push(Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(kind))));
            }
            Event::End(TagEnd::CodeBlock) => {
                diff = false;
                events.push(event);
            }
            Event::Text(text) if diff => events.push(Event::Html(CowStr::from(diff_lines(&text)))),
            other => events.push(other),
        }
    }
    let mut rendered = String::new();
    html::push_html(&mut rendered, events.into_iter());
    rendered
}

/// A patch with coloured lines.
pub(super) fn diff_lines(text: &str) -> String {
    let line = |line: &str| {
        let class = match line.chars().next() {
            Some('+') => "add",
            Some('-') => "remove",
            _ => return format!("{}\n", esc(line)),
        };
        format!("<span class=\"{class}\">{}</span>\n", esc(line))
    };
    text.lines().map(line).collect()
}

fn is_safe(url: &str) -> bool {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https" | "mailto") => true,
        Some(other) => other.contains(['/', '?', '#']),
        None => true,
    }
}

/// Keeps the allowed elements, drops comments, and shows everything else as text.
fn sanitise(raw: &str) -> String {
    let mut clean = String::new();
    let mut rest = raw;
    while let Some(start) = rest.find('<') {
        clean.push_str(&text(&rest[..start]));
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let Some(end) = rest.find('>') else { break };
        clean.push_str(&tag(&rest[1..end]).unwrap_or_else(|| esc(&rest[..=end])));
        rest = &rest[end + 1..];
    }
    clean.push_str(&text(rest));
    clean
}

/// Text between elements: what it has written as `&#40;` or `&amp;` is what a browser makes of it.
fn text(raw: &str) -> String {
    let mut parts = raw.split('&');
    let mut clean = esc(parts.next().unwrap_or_default());
    for part in parts {
        clean.push_str(if is_reference(part) { "&" } else { "&amp;" });
        clean.push_str(&esc(part));
    }
    clean
}

/// Behind an ampersand: the rest of a character reference, such as `#40;` or `amp;`.
fn is_reference(behind: &str) -> bool {
    let Some((name, _)) = behind.split_once(';') else { return false };
    let name = name.strip_prefix('#').unwrap_or(name);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// An allowed tag without its attributes; `<details open>` keeps the one that matters.
fn tag(inside: &str) -> Option<String> {
    let (slash, inside) = match inside.strip_prefix('/') {
        Some(rest) => ("/", rest),
        None => ("", inside),
    };
    let mut words = inside.trim_end_matches('/').split_ascii_whitespace();
    let name = words.next()?.to_ascii_lowercase();
    let open = if name == "details" && words.any(|word| word == "open") { " open" } else { "" };
    ALLOWED.contains(&name.as_str()).then(|| format!("<{slash}{name}{open}>"))
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn folded_sections_and_tables_render() {
        let text = "<!-- gantry:1 -->\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<details>\n<summary>net\
                    </summary>\n\n```diff\n+ one\n- two\n```\n\n</details>\n";
        let html = render(text);
        assert!(!html.contains("gantry:1"), "{html}");
        assert!(html.contains("<td>1</td>"), "{html}");
        assert!(html.contains("<details>\n<summary>net</summary>"), "{html}");
        assert!(html.contains("<span class=\"add\">+ one</span>"), "{html}");
        assert!(html.contains("</details>"), "{html}");
    }

    #[test]
    fn what_is_written_as_a_reference_is_read_as_the_character() {
        let text = "<summary>a &#40;1 replacement&#41; &amp; &#x3C;b&#x3e; & &#; &lt</summary>";
        let html = render(text);
        let read = "a &#40;1 replacement&#41; &amp; &#x3C;b&#x3e; &amp; &amp;#; &amp;lt</summary>";
        assert!(html.contains(read), "{html}");
    }

    #[test]
    fn nothing_runs() {
        let html = render("<script>alert(1)</script> <b onclick=\"x\">b</b>\n\n[x](javascript:y)");
        assert!(!html.contains("<script") && !html.contains("onclick"), "{html}");
        assert!(html.contains("<b>b</b>"), "{html}");
        assert!(!html.contains("javascript:"), "{html}");
    }
}
