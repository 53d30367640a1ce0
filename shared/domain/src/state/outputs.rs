//! A state's outputs, for people.

use super::StateMasker;
use crate::{plan::json::Json, text::cut};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Outputs that are told.
const TOLD: usize = 200;
/// Characters of a type, which may be that of a large object.
const LONGEST_TYPE: usize = 200;
/// Characters of a value.
const LONGEST_VALUE: usize = 20_000;
/// Bytes of a value or a type, as the state has it, that is taken apart.
const LARGEST: usize = 1_000_000;
/// Bytes of all values together, as JSON: a function's answer has at most 6 MB, and pages write some
/// characters with five.
const ALL_VALUES: usize = 1_000_000;
/// What stands for a value that is not shown.
const TOO_LONG: &str = "(too long to show)";

/// The outputs of a state.
#[derive(Debug, PartialEq, Eq)]
pub struct Outputs {
    /// The first ones, by name.
    pub told: Vec<Output>,
    /// How many there are.
    pub total: usize,
}

/// An output of the root module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its type as it is written in code: `list(string)`.
    pub kind: String,
    /// A text as it is, and anything else as JSON; words where it is too long. None of one that is
    /// marked as sensitive.
    pub value: Option<String>,
}

/// The outputs of a state, masked. None where it is not one that can be read: it is encrypted, or of
/// another format.
pub fn outputs(body: &[u8], masker: &StateMasker) -> Option<Outputs> {
    let state = serde_json::from_slice::<State<'_>>(body).ok()?;
    let all = state.outputs.unwrap_or_default();
    let total = all.len();
    let mut left = ALL_VALUES;
    let mut told = Vec::new();
    for (name, found) in all.into_iter().take(TOLD) {
        let kind = match part(found.kind) {
            Part::TooLong => TOO_LONG.to_owned(),
            Part::Read(of) => masker.mask(&kind(&of)),
            Part::Unreadable => return None,
        };
        let value = match part(found.value.filter(|_| !found.sensitive)) {
            _ if found.sensitive => None,
            Part::TooLong => Some(TOO_LONG.to_owned()),
            Part::Read(value) => {
                let value = cut(&masker.mask_value(value), LONGEST_VALUE);
                match left.checked_sub(Json::from(value.as_str()).to_string().len()) {
                    Some(rest) => {
                        left = rest;
                        Some(value)
                    }
                    None => Some(TOO_LONG.to_owned()),
                }
            }
            Part::Unreadable => return None,
        };
        told.push(Output { name: masker.mask(&name), kind: cut(&kind, LONGEST_TYPE), value });
    }
    Some(Outputs { told, total })
}

#[derive(Deserialize)]
struct State<'a> {
    #[serde(borrow)]
    outputs: Option<BTreeMap<String, Found<'a>>>,
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(rename = "type", borrow)]
    kind: Option<&'a RawValue>,
    #[serde(default)]
    sensitive: bool,
}

/// A part of an output.
enum Part {
    Read(Json),
    TooLong,
    Unreadable,
}

fn part(raw: Option<&RawValue>) -> Part {
    match raw.map(RawValue::get) {
        None => Part::Read(Json::Null),
        Some(text) if text.len() > LARGEST => Part::TooLong,
        Some(text) => serde_json::from_str(text).map_or(Part::Unreadable, Part::Read),
    }
}

/// A type, which states write as `["list", "string"]`.
fn kind(of: &Json) -> String {
    let Some([outer, inner]) = of.as_array().map(Vec::as_slice) else {
        return of.as_str().unwrap_or("any").to_owned();
    };
    let outer = outer.as_str().unwrap_or("any");
    match inner {
        Json::Object(members) => {
            let members = members.iter().map(|(name, of)| format!("{name} = {}", kind(of)));
            format!("{outer}({{ {} }})", members.collect::<Vec<_>>().join(", "))
        }
        Json::Array(items) if outer == "tuple" => {
            let items: Vec<_> = items.iter().map(kind).collect();
            format!("{outer}([{}])", items.join(", "))
        }
        inner => format!("{outer}({})", kind(inner)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masking::Masker;
    use serde_json::json;

    fn read(body: &str, masker: &Masker) -> Option<Outputs> {
        outputs(body.as_bytes(), &StateMasker::of(body.as_bytes(), masker)?)
    }

    #[test]
    fn outputs_are_shown_as_they_are_written_without_secrets() {
        let body = r#"{"outputs": {
            "hidden": { "value": "an-open-secret", "type": "string", "sensitive": true },
            "large": { "value": 18446744073709551616, "type": "number" },
            "map": { "value": { "a": ["x"] }, "type": ["map", ["list", "string"]] },
            "object": { "value": { "url": "https://u:hunter2-x@host" },
                        "type": ["object", { "url": "string", "pair": ["tuple", ["string", "bool"]] }] },
            "text": { "value": "line\n\"two\"", "type": "string" },
            "odd": {}
        }}"#;
        let found = read(body, &Masker::new(["hunter2-x"])).unwrap();
        assert_eq!(found.total, 6);
        let told: Vec<_> = found
            .told
            .iter()
            .map(|output| (output.name.as_str(), output.kind.as_str(), output.value.as_deref()))
            .collect();
        let object = "object({ pair = tuple([string, bool]), url = string })";
        assert_eq!(
            told,
            [
                ("hidden", "string", None),
                ("large", "number", Some("18446744073709551616")),
                ("map", "map(list(string))", Some("{\n  \"a\": [\n    \"x\"\n  ]\n}")),
                ("object", object, Some("{\n  \"url\": \"https://u:(secret)@host\"\n}")),
                ("odd", "any", Some("null")),
                ("text", "string", Some("line\n\"two\"")),
            ]
        );
        let none = Outputs { told: Vec::new(), total: 0 };
        assert_eq!(read("{}", &Masker::default()), Some(none));
        assert_eq!(read("[]", &Masker::default()), None);
    }

    #[test]
    fn what_is_too_long_says_so() {
        let mut all = serde_json::Map::new();
        all.insert("a".to_owned(), json!({ "value": "x".repeat(LARGEST), "type": "string" }));
        for at in 0..300 {
            all.insert(format!("b{at:03}"), json!({ "value": "\"".repeat(LONGEST_VALUE) }));
        }
        let found = read(&json!({ "outputs": all }).to_string(), &Masker::default()).unwrap();
        assert_eq!((found.told.len(), found.total), (TOLD, 301));
        let value = |at: usize| found.told[at].value.as_deref().unwrap();
        assert_eq!(value(0), TOO_LONG);
        let shown = (1..TOLD).filter(|at| value(*at) != TOO_LONG).count();
        assert_eq!(shown, 24, "each has some 40,000 bytes");
        assert!(value(24).starts_with("\"\"") && value(25) == TOO_LONG);
    }
}
