//! Lines of a note that GitLab executes instead of keeping.

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

/// A note's text after extraction, and the commands in it without slashes and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extracted {
    pub(crate) body: String,
    pub(crate) commands: Vec<String>,
}

/// Takes the commands out of a text: lines of its top-level paragraphs, since GitLab 17.0.
pub(crate) fn extract(text: &str) -> Extracted {
    let text = text.replace("\r\n", "\n");
    let lines: Vec<&str> = text.split('\n').collect();
    let hidden = outside_paragraphs(&text, lines.len());
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

fn command(line: &str) -> Option<String> {
    let name = line.strip_prefix('/')?.split(' ').next()?.trim_end().to_ascii_lowercase();
    COMMANDS.contains(&name.as_str()).then_some(name)
}

fn outside_paragraphs(text: &str, lines: usize) -> Vec<bool> {
    use pulldown_cmark::{Event, Parser, Tag};
    let mut hidden = vec![true; lines];
    let mut depth = 0;
    for (event, range) in Parser::new(text).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if depth == 0 && tag == Tag::Paragraph {
                    let first = text[..range.start].matches('\n').count();
                    let paragraph = text[range].trim_end_matches('\n');
                    hidden[first..=first + paragraph.matches('\n').count()].fill(false);
                }
                depth += 1;
            }
            Event::End(_) => depth -= 1,
            _ => {}
        }
    }
    hidden
}

#[cfg(test)]
mod tests {
    use super::extract;

    #[test]
    fn commands_leave_the_text() {
        let found = extract("Looks good\n\n/close\n/label ~bug");
        assert_eq!(found.body, "Looks good");
        assert_eq!(found.commands, ["close", "label"]);
    }

    #[test]
    fn what_is_no_line_of_a_paragraph_is_no_command() {
        for text in ["```\n/close\n```", "````\n/close\n````", "    /close", "/path/to/file"] {
            assert!(extract(text).commands.is_empty(), "{text}");
        }
    }
}
