//! Finds commands in a comment. Only a line of plain text counts, in a paragraph that stands in
//! nothing else: no quote, list, code, table or HTML. So what somebody quotes, shows as an example, or
//! answers by e-mail is no command.

use super::{MOST_COMMANDS, WORD};
use crate::ids::short_digest;
use comrak::{Arena, Node, Options, nodes::NodeValue, parse_document};

/// Characters of a command that are kept.
const LONGEST: usize = 300;
/// HTML elements that nothing stands in.
const VOID: [&str; 6] = ["br", "hr", "img", "input", "link", "meta"];

/// What was found in a comment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The first commands.
    pub lines: Vec<Line>,
    /// There are more, which do nothing.
    pub more: bool,
}

/// A line with a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// As it was written, at most 300 characters.
    pub text: String,
    /// What it says.
    pub command: Command,
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Preview these stacks again; those that the merge request affects where none is named.
    Plan(Vec<String>),
    /// Apply what waits for confirmation of a stack, or a run.
    Confirm(Option<String>),
    /// Do not apply it.
    Discard(Option<String>),
    /// End what goes on of a stack, a run, or everything of the merge request.
    Stop(Option<String>),
    /// Let a stack run again after a lost apply.
    Unlock {
        /// The stack.
        stack: Option<String>,
        /// What the person found.
        reason: String,
    },
    /// Say which commands there are.
    Help,
    /// Say why something runs, or does not.
    Why,
    /// None of these.
    Unknown,
}

/// Whether a text may hold a command: cheap, and true too often.
pub fn may_hold_command(text: &str) -> bool {
    text.split(['\n', '\r']).any(begins)
}

/// A digest of a comment's text: another one tells that it was edited.
pub fn digest(text: &str) -> String {
    short_digest(&[text])
}

fn begins(line: &str) -> bool {
    let rest = line.trim_start().strip_prefix(WORD);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// The commands of a comment, as GitLab would show it.
pub fn commands(text: &str) -> Found {
    if !may_hold_command(text) {
        return Found::default();
    }
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    // What was written otherwise, such as `&#47;gantry`, is to be read and not to be done.
    let written: Vec<&str> = text.lines().map(str::trim).filter(|line| begins(line)).collect();
    let mut found = Found::default();
    for (line, is_plain) in paragraph_lines(&text) {
        let line = line.trim();
        if !begins(line) {
            continue;
        }
        let command = match written.contains(&line) {
            true if is_plain => command(line),
            _ if !is_plain && !written.is_empty() => Command::Unknown,
            _ => continue,
        };
        if found.lines.len() == MOST_COMMANDS {
            found.more = true;
            break;
        }
        found.lines.push(Line { text: line.chars().take(LONGEST).collect(), command });
    }
    found
}

/// What a line says.
fn command(line: &str) -> Command {
    let mut words = line.split_whitespace().skip(1).map(str::to_owned);
    let verb = words.next().unwrap_or_default().to_ascii_lowercase();
    let mut rest: Vec<String> = words.collect();
    let one = |rest: &[String]| match rest {
        [] => Some(None),
        [one] => Some(Some(one.clone())),
        _ => None,
    };
    let found = match verb.as_str() {
        "plan" => Some(Command::Plan(rest)),
        "apply" | "confirm" => one(&rest).map(Command::Confirm),
        "discard" => one(&rest).map(Command::Discard),
        "stop" => one(&rest).map(Command::Stop),
        "unlock" => {
            let reason = rest.split_off(rest.len().min(1)).join(" ");
            Some(Command::Unlock { stack: rest.pop(), reason })
        }
        "help" if rest.is_empty() => Some(Command::Help),
        "why" if rest.is_empty() => Some(Command::Why),
        _ => None,
    };
    found.unwrap_or(Command::Unknown)
}

/// The lines of all paragraphs at the top that stand in no HTML, and whether each is nothing but
/// text.
fn paragraph_lines(text: &str) -> Vec<(String, bool)> {
    let arena = Arena::new();
    let root = parse_document(&arena, text, &as_gitlab());
    let (mut lines, mut open) = (Vec::new(), 0);
    for block in root.children() {
        match &block.data().value {
            NodeValue::HtmlBlock(html) => open = still_open(&html.literal, open),
            NodeValue::Paragraph if open == 0 => lines_of(block, &mut lines),
            _ => {}
        }
    }
    lines
}

/// The extensions that GitLab turns on and that decide what a line is.
fn as_gitlab() -> Options<'static> {
    let mut options = Options::default();
    let extension = &mut options.extension;
    extension.alerts = true;
    extension.description_lists = true;
    extension.footnotes = true;
    extension.math_code = true;
    extension.math_dollars = true;
    extension.multiline_block_quotes = true;
    extension.strikethrough = true;
    extension.table = true;
    extension.tasklist = true;
    // `\/gantry` is told apart from `/gantry`.
    options.parse.escaped_char_spans = true;
    options.render.escaped_char_spans = true;
    options
}

/// The lines of a paragraph; none of one that has HTML in it.
fn lines_of<'a>(paragraph: Node<'a>, lines: &mut Vec<(String, bool)>) {
    let has_html = |node: Node<'a>| matches!(node.data().value, NodeValue::HtmlInline(_));
    if paragraph.descendants().any(has_html) {
        return;
    }
    let (mut line, mut is_plain) = (String::new(), true);
    for part in paragraph.children() {
        match &part.data().value {
            NodeValue::Text(text) => line.push_str(text),
            NodeValue::SoftBreak | NodeValue::LineBreak => {
                lines.push((std::mem::take(&mut line), is_plain));
                is_plain = true;
            }
            _ => {
                // Nothing before it: the line does not begin with plain text.
                if line.is_empty() {
                    line.push('\u{fffc}');
                }
                is_plain = false;
            }
        }
    }
    lines.push((line, is_plain));
}

/// How many HTML elements are open behind a block, of so many before it.
fn still_open(html: &str, before: usize) -> usize {
    let mut open = before;
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, behind)| behind);
            continue;
        }
        let tag = rest.split('>').next().unwrap_or_default();
        let (is_end, tag) = match tag.strip_prefix('/') {
            Some(tag) => (true, tag),
            None => (false, tag),
        };
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
        let is_alone = tag.ends_with('/') || VOID.contains(&name.to_ascii_lowercase().as_str());
        if name.is_empty() || is_alone {
            continue;
        }
        open = if is_end { open.saturating_sub(1) } else { open + 1 };
    }
    open
}
