//! Markdown that somebody wrote, as HTML for a page: nothing of theirs is HTML, and links lead to
//! the web alone.

use gantry_domain::text::clean;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html::push_html};

/// The HTML of a text in Markdown, whose headings stand below one of level `below`. What is HTML in
/// it is shown as it is written; pictures, which the reader's browser would fetch from anywhere,
/// are left to their descriptions.
pub(super) fn html(text: &str, below: usize) -> String {
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let lower = |level: HeadingLevel| {
        HeadingLevel::try_from(level as usize + below).unwrap_or(HeadingLevel::H6)
    };
    // Links do not nest in Markdown.
    let mut in_web_link = false;
    let events = parser.filter_map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        Event::Start(Tag::Link { ref dest_url, .. }) => {
            in_web_link = is_web(dest_url);
            in_web_link.then_some(event)
        }
        Event::End(TagEnd::Link) => in_web_link.then_some(event),
        Event::Start(Tag::Heading { level, id, classes, attrs }) => {
            Some(Event::Start(Tag::Heading { level: lower(level), id, classes, attrs }))
        }
        Event::End(TagEnd::Heading(level)) => Some(Event::End(TagEnd::Heading(lower(level)))),
        event => Some(event),
    });
    let mut html = String::new();
    push_html(&mut html, events);
    // Only now: what is not shown can be written by its number, too.
    clean(&html)
}

/// What is relative leads to a place in the repository, not here.
fn is_web(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    #[test]
    fn what_is_written_is_shown_and_nothing_of_it_runs() {
        assert_snapshot!(html("# Net\n\nOf `eu` and **us**.\n\n- [docs](https://a.b/c)\n", 1), @r#"
        <h2>Net</h2>
        <p>Of <code>eu</code> and <strong>us</strong>.</p>
        <ul>
        <li><a href="https://a.b/c">docs</a></li>
        </ul>
        "#);
        assert_snapshot!(html("<b onclick=x>a</b>\n\n<script>b</script>\n", 1), @"
        <p>&lt;b onclick=x&gt;a&lt;/b&gt;</p>
        &lt;script&gt;b&lt;/script&gt;
        ");
        assert_snapshot!(html("[a](javascript:b) [c](./d.md) <javascript:e> ![f](https://g/h.png)", 2), @"<p>a c javascript:e f</p>");
        assert_snapshot!(html("[![a](https://b/c.svg)](https://d/e)", 2), @r#"<p><a href="https://d/e">a</a></p>"#);
        assert_snapshot!(html("a&#x202e;b&#27;[31mc\u{202e}d", 2), @"<p>abcd</p>");
        assert_snapshot!(html("##### deep", 2), @"<h6>deep</h6>");
        assert_snapshot!(html("|a|b|\n|-|-|\n|1|~~2~~|\n", 2), @"
        <table><thead><tr><th>a</th><th>b</th></tr></thead><tbody>
        <tr><td>1</td><td><del>2</del></td></tr>
        </tbody></table>
        ");
    }

    /// The elements that Markdown has. None of them does anything by itself.
    const ELEMENTS: &[&str] = &[
        "a",
        "blockquote",
        "br",
        "code",
        "del",
        "em",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
        "strong",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
        "ul",
    ];

    proptest::proptest! {
        #[test]
        fn no_text_becomes_an_element_that_markdown_does_not_have(
            text in "([a-z]|[ \n#*_`~|!()<>\"'=/:&-]|\\[|\\]|<script|javascript:|https://a|onclick=|<!--|\\|-\\|){0,60}"
        ) {
            for tag in html(&text, 1).split('<').skip(1) {
                let tag = tag.split('>').next().unwrap().trim_start_matches('/').trim_end_matches(" /");
                let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
                proptest::prop_assert!(ELEMENTS.contains(&name), "{name} in {}", html(&text, 1));
                let known = ["href=\"http", "start=\"", "class=\"language-", "style=\"text-align:"];
                proptest::prop_assert!(
                    attributes.is_empty() || known.iter().any(|one| attributes.starts_with(one)),
                    "{attributes} in {}", html(&text, 1)
                );
            }
        }
    }
}
