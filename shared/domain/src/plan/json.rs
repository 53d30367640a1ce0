//! JSON with numbers as they are written: Terraform's have any number of digits, and `1e400` is one.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::Error as _,
    ser::{SerializeMap as _, SerializeSeq as _},
};
use serde_json::value::RawValue;
use std::{collections::BTreeMap, fmt};

/// Values inside of values beyond this are refused, as by `serde_json`.
const DEEPEST: usize = 128;

/// A value. Members are in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Json {
    #[default]
    Null,
    Bool(bool),
    /// A number's digits.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// A step into a value.
pub(crate) trait Step {
    fn of<'a>(&self, value: &'a Json) -> Option<&'a Json>;
}

impl Step for &str {
    fn of<'a>(&self, value: &'a Json) -> Option<&'a Json> {
        value.as_object()?.get(*self)
    }
}

impl Step for usize {
    fn of<'a>(&self, value: &'a Json) -> Option<&'a Json> {
        value.as_array()?.get(*self)
    }
}

impl Json {
    pub(crate) fn get(&self, step: impl Step) -> Option<&Self> {
        step.of(self)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        match self {
            Self::Object(members) => members.get_mut(name),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        *self == Self::Null
    }

    pub(crate) fn is_array(&self) -> bool {
        matches!(self, Self::Array(_))
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&Vec<Self>> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn as_object(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// An index, where it is a number that can be one.
    pub(crate) fn as_index(&self) -> Option<usize> {
        match self {
            Self::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// Laid out over several lines.
    pub(crate) fn laid_out(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// Walks once over the text of a value, which `serde_json` has found valid. It keeps numbers as they
/// are written, for which `serde_json` alone would have to read each value once more at every level.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> serde_json::Result<Json> {
        if depth == 0 {
            return Err(serde_json::Error::custom(format!(
                "a value is nested more than {DEEPEST} levels deep, which is Gantry's limit"
            )));
        }
        Ok(match self.next() {
            Some(b'{') => {
                self.at += 1;
                let mut members = BTreeMap::new();
                while self.goes_on(b'}') {
                    let name = self.text()?;
                    self.goes_on(b':');
                    members.insert(name, self.value(depth - 1)?);
                }
                Json::Object(members)
            }
            Some(b'[') => {
                self.at += 1;
                let mut items = Vec::new();
                while self.goes_on(b']') {
                    items.push(self.value(depth - 1)?);
                }
                Json::Array(items)
            }
            Some(b'"') => Json::String(self.text()?),
            _ => match self.word() {
                "" => return Err(serde_json::Error::custom("a value is missing")),
                "null" => Json::Null,
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                digits => Json::Number(digits.to_owned()),
            },
        })
    }

    /// The byte that something begins with.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at += space;
        rest.get(space).copied()
    }

    /// Passes a comma, or what ends: false at the end.
    fn goes_on(&mut self, end: u8) -> bool {
        let next = self.next();
        if next.is_some_and(|next| next == b',' || next == end) {
            self.at += 1;
        }
        next.is_some_and(|next| next != end)
    }

    /// A text. One without escapes is as it stands there.
    fn text(&mut self) -> serde_json::Result<String> {
        self.next();
        let text = self.text;
        let begin = self.at;
        let mut bytes = text.bytes().enumerate().skip(begin + 1);
        let mut is_escaped = false;
        let end = loop {
            match bytes.next() {
                Some((at, b'"')) => break at,
                Some((_, b'\\')) => {
                    is_escaped = true;
                    bytes.next();
                }
                Some(_) => {}
                None => return Err(serde_json::Error::custom("a string does not end")),
            }
        };
        self.at = end + 1;
        match text.get(begin + 1..end) {
            Some(plain) if !is_escaped => Ok(plain.to_owned()),
            _ => serde_json::from_str(text.get(begin..=end).unwrap_or_default()),
        }
    }

    /// What stands there up to a sign or a space.
    fn word(&mut self) -> &str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.find([',', ']', '}', ' ', '\n', '\r', '\t']).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Reader { text: raw.get(), at: 0 }.value(DEEPEST).map_err(D::Error::custom)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(digits) => RawValue::from_string(digits.clone())
                .map_err(serde::ser::Error::custom)?
                .serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

impl fmt::Display for Json {
    /// On one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_stay_as_they_are_written() {
        let text = r#"{"a":[18446744073709551616,1e400,-0.10,1.50],"b":{"c":null,"d":true}}"#;
        let json: Json = serde_json::from_str(text).unwrap();
        assert_eq!(json.to_string(), text);
        assert_eq!(json.get("a").unwrap().get(2).unwrap().to_string(), "-0.10");
        assert_eq!(serde_json::from_str::<Json>(&json.laid_out()).unwrap(), json);
    }

    #[test]
    fn what_is_too_deep_is_refused() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(serde_json::from_str::<Json>(&nested(DEEPEST)).is_ok());
        let error = serde_json::from_str::<Json>(&nested(DEEPEST + 1)).unwrap_err();
        assert!(error.to_string().contains("more than 128 levels"), "{error}");
    }

    #[test]
    fn texts_are_read_however_they_are_written() {
        let text = " { \"\\u00e4\\/\\\"\" :\n[ \"\\\\\" , \"\" ,{ } , [ ] ] } ";
        let json: Json = serde_json::from_str(text).unwrap();
        assert_eq!(json.to_string(), r#"{"ä/\"":["\\","",{},[]]}"#);
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(key in any::<String>(), text in any::<String>()) {
            let value = serde_json::json!({ key: [text, {"n": null}] });
            for written in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let json: Json = serde_json::from_str(&written).unwrap();
                let again: serde_json::Value = serde_json::from_str(&json.to_string()).unwrap();
                prop_assert_eq!(&again, &value);
            }
        }

        #[test]
        fn whatever_is_written_is_read(text in r#"[\[\]{}",:\\a0e.1 tfn-]{0,12}"#) {
            let other = serde_json::from_str::<serde_json::Value>(&text);
            if let Ok(other) = other {
                let json: Json = serde_json::from_str(&text).unwrap();
                let again: serde_json::Value = serde_json::from_str(&json.to_string()).unwrap();
                prop_assert_eq!(again, other);
            }
        }
    }
}
