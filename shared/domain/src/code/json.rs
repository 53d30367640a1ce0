//! The blocks of a configuration file in JSON syntax: objects by their labels, or lists of such
//! objects. A key that stands twice counts twice, as it does for the tools.
//! <https://developer.hashicorp.com/terraform/language/syntax/json>

use super::blocks::{Block, Body, Problem};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::cell::Cell;

/// Lists within lists are read this deep; the tools know one level.
const DEPTH: usize = 4;

/// The kinds that are looked for: where they stand, and how many labels they have.
const KINDS: &[(&str, &str, usize)] = &[
    ("", "terraform", 0),
    ("terraform", "backend", 1),
    ("terraform", "cloud", 0),
    ("terraform", "required_providers", 0),
    ("", "language", 0),
    ("language", "compatible_with", 0),
    ("", "variable", 1),
    ("", "output", 1),
    ("", "provider", 1),
    ("", "resource", 2),
    ("resource", "lifecycle", 0),
    ("", "data", 2),
    ("", "ephemeral", 2),
    ("", "action", 2),
    ("", "check", 1),
    ("check", "data", 2),
];

/// What a file in JSON syntax holds. One that is no JSON, which no tool reads either, is looked
/// through for what might be meant.
pub(super) fn read(text: &str) -> (Body, Option<Problem>) {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(file) => (File { text, counted: Cell::new((0, 1)) }.body("", file), None),
        Err(error) => {
            let said = error.to_string();
            let what = said.split(" at line ").next().unwrap_or_default();
            let message = format!("not valid JSON: {what}");
            (suspected(text), Some(Problem { line: error.line(), message }))
        }
    }
}

fn suspected(text: &str) -> Body {
    let named = |name: &'static str| {
        text.lines().enumerate().filter(move |(_, line)| line.contains(name)).map(move |(at, _)| {
            Block { kind: name.trim_matches('"').to_owned(), line: at + 1, ..Block::default() }
        })
    };
    let blocks = named("\"backend\"").chain(named("\"cloud\"")).collect();
    let terraform = Block {
        kind: "terraform".to_owned(),
        line: 1,
        body: Body { blocks, ..Body::default() },
        ..Block::default()
    };
    Body { blocks: vec![terraform], ..Body::default() }
}

struct File<'a> {
    text: &'a str,
    /// Up to where lines were counted, and which one that is: blocks are read as they follow.
    counted: Cell<(usize, usize)>,
}

impl<'a> File<'a> {
    /// What a block of the kind `within` holds; the file itself has no name.
    fn body(&self, within: &str, raw: &'a RawValue) -> Body {
        let mut body = Body::default();
        for (name, value) in objects(raw, DEPTH).into_iter().flatten() {
            match KINDS.iter().find(|(above, kind, _)| *above == within && *kind == name) {
                Some((_, kind, labels)) => self.blocks(kind, *labels, &[], value, &mut body),
                None => body.attributes.push((name, value.get().to_owned())),
            }
        }
        body
    }

    fn blocks(
        &self,
        kind: &'static str,
        labels: usize,
        known: &[String],
        raw: &'a RawValue,
        into: &mut Body,
    ) {
        if labels > 0 {
            for (label, value) in objects(raw, DEPTH).into_iter().flatten() {
                if label != "//" {
                    let known = [known, &[label]].concat();
                    self.blocks(kind, labels - 1, &known, value, into);
                }
            }
        } else if kind == "backend" || !objects(raw, DEPTH).is_empty() {
            into.blocks.push(Block {
                kind: kind.to_owned(),
                labels: known.to_vec(),
                line: self.line(raw),
                body: self.body(kind, raw),
            });
        }
    }

    fn line(&self, raw: &RawValue) -> usize {
        let begins = raw.get().as_ptr() as usize - self.text.as_ptr() as usize;
        let (counted, line) = self.counted.get();
        let passed = self.text.as_bytes().get(counted..begins).unwrap_or_default();
        let line = line + passed.iter().filter(|byte| **byte == b'\n').count();
        self.counted.set((begins.max(counted), line));
        line
    }
}

/// The keys of an object and what is written as their values, in their order; also of the one
/// object of a list. Nothing of another value.
pub fn entries(written: &str) -> Vec<(String, &str)> {
    let Ok(raw) = serde_json::from_str::<&RawValue>(written) else { return Vec::new() };
    let found = objects(raw, DEPTH).into_iter().flatten();
    found.map(|(key, value)| (key, value.get())).collect()
}

/// The objects that a value is, or lists, each with its keys in order.
fn objects(raw: &RawValue, depth: usize) -> Vec<Vec<(String, &RawValue)>> {
    match raw.get().as_bytes().first() {
        Some(b'{') => {
            serde_json::from_str::<Object<'_>>(raw.get()).map(|o| o.0).into_iter().collect()
        }
        Some(b'[') if depth > 0 => {
            let list: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
            list.into_iter().flat_map(|item| objects(item, depth - 1)).collect()
        }
        _ => Vec::new(),
    }
}

struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Keys).map(Object)
    }
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, Vec<String>, usize)> {
        read(text)
            .0
            .of("terraform")
            .flat_map(|terraform| terraform.body.blocks.clone())
            .map(|block| (block.kind, block.labels, block.line))
            .collect()
    }

    fn backend(label: &str, line: usize) -> (String, Vec<String>, usize) {
        ("backend".to_owned(), vec![label.to_owned()], line)
    }

    #[test]
    fn each_form_of_a_block_is_read() {
        let one = "{\"terraform\": {\n\"backend\": {\"gcs\": {}}}}";
        assert_eq!(found(one), [backend("gcs", 2)]);
        let lists = "{\"terraform\": [[{\"backend\": [{\"s3\":\n [{}]}]}]]}";
        assert_eq!(found(lists), [backend("s3", 2)]);
        let cloud = "{\"terraform\": {\"//\": \"x\", \"cloud\": [{\"organization\": \"x\"}]}}";
        assert_eq!(found(cloud), [("cloud".to_owned(), vec![], 1)]);
        assert_eq!(found("{\"terraform\": {\"cloud\": null}}"), []);
    }

    #[test]
    fn a_key_that_stands_twice_counts_twice() {
        let twice = "{\"terraform\": {\"backend\": {\"s3\": {}}},\n\"terraform\": {}}";
        assert_eq!(found(twice), [backend("s3", 1)]);
        let escaped = "{\"\\u0074erraform\": {\"backend\": {\"s3\": 1e999}}}";
        assert_eq!(found(escaped), [backend("s3", 1)]);
    }

    #[test]
    fn what_is_no_json_is_looked_through() {
        let broken = "{\"terraform\": {\n\"backend\": {\"gcs\": {}}},}";
        assert_eq!(found(broken), [("backend".to_owned(), vec![], 2)]);
        assert_eq!(found("["), []);
        read(&"[".repeat(100_000));
        read(&format!("{{\"terraform\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)));
    }
}
