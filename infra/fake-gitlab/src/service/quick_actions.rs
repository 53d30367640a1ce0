//! Lines of a note that GitLab executes instead of keeping.

use crate::version::ServerVersion;

/// The commands that merge requests know.
const COMMANDS: &[&str] = &[
    "approve",
    "unapprove",
    "merge",
    "close",
    "reopen",
    "title",
    "label",
    "labels",
    "unlabel",
    "relabel",
    "assign",
    "unassign",
    "reassign",
    "assign_reviewer",
    "unassign_reviewer",
    "target_branch",
    "rebase",
    "ready",
    "draft",
    "wip",
    "todo",
    "done",
    "subscribe",
    "unsubscribe",
    "milestone",
    "remove_milestone",
    "estimate",
    "spend",
    "remove_estimate",
    "remove_time_spent",
    "lock",
    "unlock",
    "award",
    "react",
    "copy_metadata",
    "cc",
    "shrug",
    "tableflip",
    "create_merge_request",
    "submit_review",
    "request_changes",
];

/// A note's text after extraction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extracted {
    pub(crate) body: String,
    pub(crate) commands: Vec<(String, String)>,
}

/// Takes the commands out of a text the way this version of GitLab finds them.
pub(crate) fn extract(text: &str, version: &ServerVersion) -> Extracted {
    let text = text.replace("\r\n", "\n");
    let lines: Vec<&str> = text.split('\n').collect();
    let hidden = if version.parses_quick_actions_as_markdown() {
        outside_paragraphs(&text, lines.len())
    } else {
        inside_blocks(&lines)
    };
    let (mut kept, mut commands) = (Vec::new(), Vec::new());
    for (line, hidden) in lines.iter().zip(hidden) {
        match command(line).filter(|_| !hidden) {
            Some(found) => commands.push(found),
            None => kept.push(*line),
        }
    }
    if commands.is_empty() {
        return Extracted { body: text, commands };
    }
    Extracted { body: kept.join("\n").trim().to_owned(), commands }
}

fn command(line: &str) -> Option<(String, String)> {
    let rest = line.strip_prefix('/')?;
    let (name, argument) = rest.split_once(' ').unwrap_or((rest, ""));
    let name = name.trim_end().to_ascii_lowercase();
    COMMANDS.contains(&name.as_str()).then(|| (name, argument.trim().to_owned()))
}

/// Old versions: only fences that close with exactly three backticks, `>>>` quotes and HTML
/// blocks protect a line.
fn inside_blocks(lines: &[&str]) -> Vec<bool> {
    let mut hidden = vec![false; lines.len()];
    let mut at = 0;
    while at < lines.len() {
        let end = closing(lines[at]).and_then(|close| {
            lines[at + 1..].iter().position(|line| line.trim_end() == close).map(|n| at + 1 + n)
        });
        match end {
            Some(end) => {
                hidden[at..=end].fill(true);
                at = end + 1;
            }
            None => at += 1,
        }
    }
    hidden
}

/// The line that closes a block which this line opens.
fn closing(line: &str) -> Option<String> {
    if line.starts_with("```") {
        // The pattern is three backticks, then anything: four open a block that three close.
        return Some("```".to_owned());
    }
    if line.trim_end() == ">>>" {
        return Some(">>>".to_owned());
    }
    let tag = line.trim_end().strip_prefix('<')?.strip_suffix('>')?;
    let name = tag.split(' ').next()?;
    (!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()))
        .then(|| format!("</{name}>"))
}

/// Newer versions: only lines of top-level paragraphs are commands.
fn outside_paragraphs(text: &str, lines: usize) -> Vec<bool> {
    use pulldown_cmark::{Event, Parser, Tag, TagEnd};
    let mut hidden = vec![true; lines];
    let mut depth = 0;
    for (event, range) in Parser::new(text).into_offset_iter() {
        match event {
            Event::Start(Tag::Paragraph) if depth == 0 => {
                let first = text[..range.start].matches('\n').count();
                let last = first + text[range.clone()].trim_end_matches('\n').matches('\n').count();
                hidden[first..=last].fill(false);
                depth += 1;
            }
            Event::Start(_) => depth += 1,
            Event::End(TagEnd::Paragraph | _) => depth -= 1,
            _ => {}
        }
    }
    hidden
}

/// The names that a text notifies: `@name` outside code.
pub(crate) fn mentions(text: &str) -> Vec<String> {
    use pulldown_cmark::{Event, Parser, Tag, TagEnd};
    let (mut names, mut code) = (Vec::new(), false);
    let mut before = ' ';
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => code = true,
            Event::End(TagEnd::CodeBlock) => code = false,
            Event::Text(text) if !code => {
                for (at, _) in text.match_indices('@') {
                    let previous = text[..at].chars().next_back().unwrap_or(before);
                    let name: String = text[at + 1..]
                        .chars()
                        .take_while(|c| c.is_ascii_alphanumeric() || "_-./".contains(*c))
                        .collect();
                    let name = name.trim_end_matches(['.', '/', '-']);
                    if !name.is_empty() && !previous.is_alphanumeric() {
                        names.push(name.to_owned());
                    }
                }
                before = text.chars().next_back().unwrap_or(before);
            }
            _ => before = ' ',
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{extract, mentions};

    fn commands(text: &str, version: &str) -> Vec<String> {
        let version = version.parse().unwrap();
        extract(text, &version).commands.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn commands_leave_the_text() {
        for version in ["16.0.0", "19.1.0"] {
            let found = extract("Looks good\n\n/close\n/label ~bug", &version.parse().unwrap());
            assert_eq!(found.body, "Looks good");
            assert_eq!(found.commands.len(), 2);
            assert_eq!(found.commands[1], ("label".to_owned(), "~bug".to_owned()));
        }
    }

    #[test]
    fn fences_protect() {
        let text = "```\n/close\n```";
        assert!(commands(text, "16.0.0").is_empty());
        assert!(commands(text, "19.1.0").is_empty());
    }

    #[test]
    fn long_fences_do_not_protect_in_old_versions() {
        let text = "````\n/close\n````";
        assert_eq!(commands(text, "16.0.0"), ["close"]);
        assert!(commands(text, "19.1.0").is_empty());
    }

    #[test]
    fn a_space_before_the_slash_is_enough_inside_a_fence() {
        assert!(commands("````\n /close\n````", "16.0.0").is_empty());
        assert!(commands("/path/to/file", "16.0.0").is_empty());
    }

    #[test]
    fn code_mentions_nobody() {
        assert_eq!(mentions("hi @ada, `@bob` and a@b.c"), ["ada"]);
        assert!(mentions("```\n@all\n```").is_empty());
        assert!(mentions("@\u{200b}ada").is_empty());
    }
}
