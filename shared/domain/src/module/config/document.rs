//! A small YAML document as a tree in which everything knows its place.
//!
//! Less than YAML is taken: one document, every key once, no anchors, aliases and tags, and little
//! depth. So a tree is never larger than its text, and says what a person sees in the text.

use super::ConfigError;
use crate::text::{clean_line, cut};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};
use std::{borrow::Cow, collections::HashMap};

/// How many lists and mappings may lie in each other; the file needs four.
const DEEPEST: usize = 8;

/// Where something begins, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Place {
    /// The problem that was found here.
    pub(super) fn error(self, problem: impl Into<String>) -> ConfigError {
        let (line, column) = (Some(self.line), Some(self.column));
        ConfigError { line, column, problem: problem.into() }
    }
}

/// A value and where it begins; a value that is not there has its key's place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Value {
    /// No value: nothing at all, `~` or `null`.
    Nothing,
    /// `true` or `false`, as it was written.
    Flag(String),
    /// A number, as it was written.
    Number(String),
    /// Any other text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the file's order.
    Mapping(Vec<Entry>),
}

impl Value {
    /// What it is, after "is".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "empty",
            Self::Flag(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Mapping(_) => "a mapping",
        }
    }
}

/// A key of a mapping and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: Place,
    pub(super) key: String,
    pub(super) value: Node,
}

/// Something that a person wrote, as it is repeated in a problem: quoted, short, on one line.
pub(super) fn shown(text: &str) -> String {
    format!("{:?}", cut(text, 60))
}

/// The document in the text; nothing when there is none.
pub(super) fn read(text: &str) -> Result<Option<Node>, ConfigError> {
    let mut reader = Reader { events: Parser::new_from_str(text), depth: 0 };
    let mut document = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(document),
            Event::DocumentStart(_) if document.is_some() => {
                return Err(
                    place(span.start).error("a second document starts here; only one is allowed")
                );
            }
            Event::DocumentStart(_) => {
                let (event, span) = reader.next()?;
                document = Some(reader.node(event, span)?);
            }
            _ => {}
        }
    }
}

struct Reader<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), ConfigError> {
        // There is always a next event until the stream's end was seen, which ends the reading.
        self.events.next().unwrap_or(Ok((Event::StreamEnd, Span::default()))).map_err(not_yaml)
    }

    /// The node that begins with this event.
    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, ConfigError> {
        let at = place(span.start);
        let (anchor, is_tagged) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor, tag.is_some())
            }
            Event::Alias(anchor) => (*anchor, false),
            _ => return Err(at.error("not YAML: a value is missing")),
        };
        if anchor != 0 || matches!(event, Event::Alias(_)) {
            return Err(
                at.error("anchors and aliases (& and *) are not supported; repeat the value")
            );
        }
        if is_tagged {
            return Err(at.error("tags (!) are not supported; remove it"));
        }
        if let Event::Scalar(text, style, ..) = event {
            return Ok(Node { at, value: scalar(text, style) });
        }
        if self.depth == DEEPEST {
            return Err(
                at.error(format!("lists and mappings are nested more than {DEEPEST} levels deep"))
            );
        }
        self.depth += 1;
        let value = match event {
            Event::SequenceStart(..) => Value::List(self.list()?),
            _ => Value::Mapping(self.mapping()?),
        };
        self.depth -= 1;
        Ok(Node { at, value })
    }

    fn list(&mut self) -> Result<Vec<Node>, ConfigError> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(list),
                (event, span) => list.push(self.node(event, span)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<Vec<Entry>, ConfigError> {
        let mut entries = Vec::new();
        let mut first: HashMap<String, u64> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let Node { at, value } = self.node(event, span)?;
            let key = match value {
                Value::Flag(text) | Value::Number(text) | Value::Text(text) => text,
                other => {
                    return Err(at.error(format!("a key must be a string, not {}", other.kind())));
                }
            };
            if let Some(line) = first.insert(key.clone(), at.line) {
                let key = shown(&key);
                let problem = format!("duplicate key {key}, first used in line {line}");
                return Err(at.error(problem));
            }
            let (event, span) = self.next()?;
            let mut value = self.node(event, span)?;
            if matches!(value.value, Value::Nothing) {
                value.at = at;
            }
            entries.push(Entry { at, key, value });
        }
    }
}

/// A scalar by YAML 1.2's core schema; what is quoted or in a block is a text.
fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value {
    let text = text.into_owned();
    if style != ScalarStyle::Plain {
        return Value::Text(text);
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Nothing,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Value::Flag(text),
        number if is_number(number) => Value::Number(text),
        _ => Value::Text(text),
    }
}

fn is_number(text: &str) -> bool {
    let has = |digits: &str, is: fn(&u8) -> bool| {
        !digits.is_empty() && digits.bytes().all(|digit| is(&digit))
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return has(digits, u8::is_ascii_hexdigit);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return has(digits, |digit| matches!(digit, b'0'..=b'7'));
    }
    let plain = text.strip_prefix(['+', '-']).unwrap_or(text);
    // Rust's numbers are YAML's, but for words such as "infinity" that begin with a letter.
    let begins = plain.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let is_word =
        matches!(plain, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN");
    is_word || (begins && plain.parse::<f64>().is_ok())
}

fn place(marker: Marker) -> Place {
    Place { line: marker.line() as u64, column: marker.col() as u64 + 1 }
}

fn not_yaml(error: ScanError) -> ConfigError {
    place(*error.marker()).error(format!("not YAML: {}", clean_line(error.info(), 200)))
}
