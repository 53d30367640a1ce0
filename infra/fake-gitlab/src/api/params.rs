//! Parameters from the query, a form or a JSON body, merged as Grape merges them.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::answer::Refusal;

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Map<String, Value>);

impl Params {
    /// Adds `a=1&b[]=2&c[d]=3`.
    pub(crate) fn add_form(&mut self, text: &str) {
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decode_form(key), Value::String(decode_form(value)));
            let Some((outer, inner)) = key.split_once('[') else {
                self.0.insert(key, value);
                continue;
            };
            let inner = inner.split(']').next().unwrap_or_default();
            if inner.is_empty() {
                let list = self.0.entry(outer).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(value);
                }
            } else {
                let map = self.0.entry(outer).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    map.insert(inner.to_owned(), value);
                }
            }
        }
    }

    /// Adds the members of a JSON object.
    pub(crate) fn add_json(&mut self, body: &[u8]) -> Result<(), Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => {
                self.0.extend(map);
                Ok(())
            }
            _ => Err(Refusal::error(400, "The request body is not a JSON object")),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// A string; numbers and booleans are taken as text.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        match self.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    /// A string that has something in it.
    pub(crate) fn filled(&self, key: &str) -> Option<String> {
        self.text(key).filter(|text| !text.trim().is_empty())
    }

    /// The same where a list or an object is refused, as GitLab does for all that is one value.
    fn single(&self, key: &str) -> Result<Option<String>, Refusal> {
        match self.get(key) {
            Some(Value::Array(_) | Value::Object(_)) => Err(Refusal::invalid(key)),
            _ => Ok(self.text(key)),
        }
    }

    /// Whether a text is what a filter asks for, if it asks at all.
    pub(crate) fn fits(&self, key: &str, text: &str) -> bool {
        self.filled(key).is_none_or(|wanted| wanted == text)
    }

    /// Refuses lists and objects where texts should be that may be missing.
    pub(crate) fn check_texts(&self, keys: &[&str]) -> Result<(), Refusal> {
        keys.iter().try_for_each(|key| self.single(key).map(drop))
    }

    pub(crate) fn required(&self, key: &str) -> Result<String, Refusal> {
        self.single(key)?.ok_or_else(|| Refusal::missing(key))
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, Refusal> {
        match self.single(key)?.map(|text| text.to_ascii_lowercase()).as_deref() {
            None | Some("") => Ok(None),
            Some("true" | "1" | "t" | "yes" | "y" | "on") => Ok(Some(true)),
            Some("false" | "0" | "f" | "no" | "n" | "off") => Ok(Some(false)),
            Some(_) => Err(Refusal::invalid(key)),
        }
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, Refusal> {
        match self.single(key)?.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| Refusal::invalid(key)),
        }
    }

    pub(crate) fn time(&self, key: &str) -> Result<Option<jiff::Timestamp>, Refusal> {
        let Some(text) = self.filled(key) else { return Ok(None) };
        let date = || text.parse::<jiff::civil::Date>().ok();
        let midnight =
            || date()?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
        text.parse().ok().or_else(midnight).map(Some).ok_or_else(|| Refusal::invalid(key))
    }

    /// A list, given as a JSON array, as `key[]=…`, or separated by commas.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        match self.get(key) {
            Some(Value::Array(items)) => {
                items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
            }
            Some(Value::String(text)) => text
                .split(',')
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty())
                .collect(),
            _ => Vec::new(),
        }
    }

    /// One of several words.
    pub(crate) fn choice(
        &self,
        key: &str,
        allowed: &[&'static str],
    ) -> Result<Option<&'static str>, Refusal> {
        let Some(text) = self.single(key)? else { return Ok(None) };
        let found = allowed.iter().find(|word| **word == text);
        found.copied().map(Some).ok_or_else(|| Refusal::bad_value(key))
    }
}

fn decode_form(text: &str) -> String {
    decode(&text.replace('+', " "))
}

/// Percent-decodes a path segment or a form value.
pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Percent-encodes a value for a path segment or a query.
pub(crate) fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
