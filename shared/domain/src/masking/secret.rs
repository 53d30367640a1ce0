//! What a secret is made of, and how each part of it may be written.

use super::SHORTEST;
use base64::{
    Engine as _,
    engine::{
        DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig,
        general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
    },
};
use saphyr_parser::{Event, Parser};
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// How deep documents inside documents are looked into.
const DEEPEST: u32 = 4;
/// How often what is escaped may be escaped again: a JSON document that is a text of another one,
/// in an attribute of a plan that is shown on one line.
const TEXTS_IN_TEXTS: u32 = 2;
/// Longer texts are not looked for in base64 and percent-encoded: a searcher takes memory for
/// every byte that it looks for.
const LONGEST_ENCODED: usize = 32 * 1024;

/// Why a secret cannot be masked well enough. Meant for people, after the variable's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// It is too short itself.
    TooShort,
    /// It is a document in which no text and no number is long enough.
    NothingLongEnough,
}

impl Weakness {
    /// The weakness of a value, if it has one.
    pub fn of(value: &str) -> Option<Self> {
        if !is_long_enough(value.trim()) {
            return Some(Self::TooShort);
        }
        let inside = Inside::of(value);
        (inside.is_document && inside.texts.is_empty()).then_some(Self::NothingLongEnough)
    }

    /// What it means, as sentences.
    pub fn text(self) -> &'static str {
        match self {
            Self::TooShort => {
                "The value has fewer than 6 characters, so it is not hidden in logs, plans and \
                 comments."
            }
            Self::NothingLongEnough => {
                "The value is a document in which no single value has 6 or more characters. Only \
                 the document as a whole is hidden in logs, plans and comments; the values \
                 inside it are not."
            }
        }
    }
}

pub(super) fn is_long_enough(value: &str) -> bool {
    value.chars().nth(SHORTEST - 1).is_some()
}

/// Adds everything that gives a secret away: the value itself, its lines, the values inside when
/// it is a document, what it says when it is base64, all in every way of writing.
pub(super) fn add_patterns(secret: &str, patterns: &mut BTreeSet<String>) {
    add_value(secret, DEEPEST, patterns);
}

fn add_value(value: &str, depth: u32, patterns: &mut BTreeSet<String>) {
    for whole in [value, value.trim()] {
        if is_long_enough(whole) {
            add_written_forms(whole, patterns);
            add_base64(whole, patterns);
        }
    }
    for line in value.lines().map(str::trim).filter(|line| is_long_enough(line)) {
        add_written_forms(line, patterns);
    }
    if depth == 0 {
        return;
    }
    for text in Inside::of(value).texts.into_iter().chain(decoded(value)) {
        if text != value {
            add_value(&text, depth - 1, patterns);
        }
    }
}

/// What stands in a JSON or YAML document.
#[derive(Default)]
struct Inside {
    /// False for what is a single text.
    is_document: bool,
    /// The texts from six characters and the numbers from six digits. Names of members are none.
    texts: BTreeSet<String>,
}

impl Inside {
    fn of(value: &str) -> Self {
        let mut inside = Self::default();
        if let Ok(json @ (Json::Array(_) | Json::Object(_) | Json::String(_))) =
            serde_json::from_str(value)
        {
            inside.add_json(&json);
        }
        // Nearly all JSON is YAML too, which gives numbers as they are written.
        inside.add_yaml(value);
        inside
    }

    fn add(&mut self, text: &str, is_number: bool) {
        self.is_document = true;
        let digits = || text.bytes().filter(u8::is_ascii_digit).count();
        if is_long_enough(text) && (!is_number || digits() >= SHORTEST) {
            self.texts.insert(text.to_owned());
        }
    }

    fn add_json(&mut self, json: &Json) {
        match json {
            Json::String(text) => self.add(text, false),
            Json::Number(number) => self.add(&number.to_string(), true),
            Json::Array(items) => items.iter().for_each(|item| self.add_json(item)),
            Json::Object(members) => members.values().for_each(|member| self.add_json(member)),
            Json::Null | Json::Bool(_) => {}
        }
    }

    /// What comes before a mistake counts too: too much is masked rather than too little.
    fn add_yaml(&mut self, value: &str) {
        // Of each open list or mapping: whether the next thing in it is the name of a member.
        let mut open: Vec<Option<bool>> = Vec::new();
        let next = |open: &mut Vec<Option<bool>>| {
            let is_name = open.last().copied().flatten() == Some(true);
            if let Some(Some(name)) = open.last_mut() {
                *name = !*name;
            }
            is_name
        };
        for event in Parser::new_from_str(value).map_while(Result::ok) {
            match event.0 {
                Event::SequenceStart(..) => {
                    next(&mut open);
                    open.push(None);
                }
                Event::MappingStart(..) => {
                    next(&mut open);
                    open.push(Some(true));
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    open.pop();
                }
                Event::Alias(_) => {
                    next(&mut open);
                }
                Event::Scalar(text, ..) if !open.is_empty() && !next(&mut open) => {
                    self.add(&text, text.parse::<f64>().is_ok());
                }
                _ => {}
            }
        }
    }
}

/// The text that a value is in base64, where it is one that people could read.
pub(super) fn decoded(value: &str) -> Option<String> {
    const EITHER_WAY: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const ENGINES: [GeneralPurpose; 2] = [
        GeneralPurpose::new(&base64::alphabet::STANDARD, EITHER_WAY),
        GeneralPurpose::new(&base64::alphabet::URL_SAFE, EITHER_WAY),
    ];
    let joined: String = value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = ENGINES.iter().find_map(|engine| engine.decode(&joined).ok())?;
    let text = String::from_utf8(bytes).ok()?;
    let readable = text.chars().all(|c| !c.is_control() || c.is_ascii_whitespace());
    (readable && is_long_enough(text.trim())).then_some(text)
}

fn add_written_forms(value: &str, patterns: &mut BTreeSet<String>) {
    for mut form in escaped_forms(value) {
        for _ in 0..TEXTS_IN_TEXTS {
            let outside = json_escaped(&form);
            patterns.insert(std::mem::replace(&mut form, outside));
        }
        patterns.insert(form);
    }
    if value.len() <= LONGEST_ENCODED {
        let percent = percent_encoded(value);
        patterns.insert(percent.replace("%20", "+"));
        patterns.insert(lower_case_escapes(&percent));
        patterns.insert(percent);
    }
}

/// The value as it is, and in the ways of escaping of JSON, of Go's JSON, and of Terraform.
fn escaped_forms(value: &str) -> BTreeSet<String> {
    let json = json_escaped(value);
    // Go, and with it Terraform's jsonencode, also escapes these.
    let go = json
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    let quoted = go_quoted(value);
    let template = |text: &str| text.replace("${", "$${").replace("%{", "%%{");
    BTreeSet::from([template(value), template(&quoted), quoted, go, json, value.to_owned()])
}

fn json_escaped(value: &str) -> String {
    let json = Json::from(value).to_string();
    json[1..json.len() - 1].to_owned()
}

/// As Go's `%q` writes it, without the quotes.
fn go_quoted(value: &str) -> String {
    value.chars().fold(String::with_capacity(value.len()), |mut out, c| {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '"' | '\\' => out.extend(['\\', c]),
            c if c < '\u{80}' && c.is_control() => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if c.is_control() || (c.is_whitespace() && c != ' ') => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
        out
    })
}

/// As in the user information or query of an address: everything but unreserved characters.
pub(super) fn percent_encoded(value: &str) -> String {
    value.bytes().fold(String::with_capacity(value.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// The same with `%2f` for `%2F`.
fn lower_case_escapes(percent: &str) -> String {
    let mut digits = 0;
    percent
        .chars()
        .map(|c| match c {
            '%' => {
                digits = 2;
                c
            }
            c if digits > 0 => {
                digits -= 1;
                c.to_ascii_lowercase()
            }
            c => c,
        })
        .collect()
}

fn add_base64(value: &str, patterns: &mut BTreeSet<String>) {
    if value.len() > LONGEST_ENCODED {
        return;
    }
    for form in escaped_forms(value) {
        add_base64_of(form.as_bytes(), patterns);
    }
}

/// The value encoded by itself, and what of it appears when it is part of something longer that
/// was encoded as a whole: that depends on how many bytes stand before it, modulo three.
fn add_base64_of(value: &[u8], patterns: &mut BTreeSet<String>) {
    patterns.insert(STANDARD.encode(value));
    patterns.insert(URL_SAFE.encode(value));
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value);
        // Characters that also hold bits of a neighbour are left out.
        let from = (before * 8).div_ceil(6);
        let to = bytes.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            patterns.insert(engine.encode(&bytes)[from..to].to_owned());
        }
    }
}
