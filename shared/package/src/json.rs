//! Values as they are written in Terraform's JSON syntax.
//! <https://developer.hashicorp.com/terraform/language/syntax/json>

use crate::{metadata::ProviderRequirement, native};
use gantry_domain::code;

/// What a text says; another value as it is written.
pub(crate) fn text(written: &str) -> Option<String> {
    match serde_json::from_str(written) {
        Ok(text) => Some(text),
        Err(_) => Some(compact(written)).filter(|written| written != "null"),
    }
}

pub(crate) fn type_of(written: &str) -> String {
    native::type_of(&text(written).unwrap_or_default())
}

pub(crate) fn default(written: &str) -> String {
    compact(written)
}

/// What a module says in `required_providers` of one of them.
pub(crate) fn provider(name: &str, written: &str) -> ProviderRequirement {
    let mut provider = ProviderRequirement { name: name.to_owned(), ..Default::default() };
    if written.starts_with('"') {
        provider.version = text(written);
    }
    for (key, value) in code::entries(written) {
        match key.as_str() {
            "source" => provider.source = text(value),
            "version" => provider.version = text(value),
            _ => {}
        }
    }
    provider
}

/// Whether a value is true; unknown where it is neither true nor false.
pub(crate) fn is_true(written: &str) -> Option<bool> {
    text(written).map_or(Some(false), |text| text.parse().ok())
}

/// JSON without space between its parts. Numbers keep their digits.
fn compact(written: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let kept = written.chars().filter(|character| {
        let keep = quoted || !character.is_ascii_whitespace();
        quoted ^= *character == '"' && !escaped;
        escaped = quoted && *character == '\\' && !escaped;
        keep
    });
    kept.collect()
}
