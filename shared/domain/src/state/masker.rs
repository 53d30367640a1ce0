//! Takes secrets out of what is told of a state, and what the state marks as sensitive.

use crate::{
    masking::{MASK, Masker},
    plan::{Marked, json::Json},
};
use std::collections::BTreeSet;

/// Knows secrets, and what a state marks.
pub struct StateMasker {
    masker: Masker,
    /// All that the state marks, which may be more than is looked for inside of other texts.
    marked: BTreeSet<String>,
}

impl StateMasker {
    /// `masker`, and it knows what this state marks too. None where nobody can tell what that is.
    pub fn of(body: &[u8], masker: &Masker) -> Option<Self> {
        let (all, marked) = Marked::of_state(body)?;
        Some(Self { masker: marked.known_to(masker), marked: all })
    }

    /// The text without secrets; nothing of it where it is marked as a whole.
    pub fn mask(&self, text: &str) -> String {
        match self.marked.contains(text) {
            true => MASK.to_owned(),
            false => self.masker.mask(text),
        }
    }

    /// The same for an address: the keys in it, which stand in quotes, are texts of their own.
    pub fn mask_address(&self, address: &str) -> String {
        let (mut out, mut rest) = (String::new(), address);
        while let Some(begin) = rest.find('"') {
            let (before, quoted) = rest.split_at(begin);
            let mut texts = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
            let Some(Ok(key)) = texts.next() else { break };
            let (quoted, after) = quoted.split_at(texts.byte_offset());
            out.push_str(before);
            let key = key.replace("$${", "${").replace("%%{", "%{");
            match self.marked.contains(&key) {
                true => out.push_str(&Json::from(MASK).to_string()),
                false => out.push_str(quoted),
            }
            rest = after;
        }
        self.masker.mask(&(out + rest))
    }

    /// A text as it is and anything else as JSON, without secrets.
    pub(super) fn mask_value(&self, mut value: Json) -> String {
        if let Json::String(text) = &value {
            return self.mask(text);
        }
        self.hide(&mut value);
        self.masker.mask(&value.laid_out())
    }

    /// Takes out the texts and numbers that are marked.
    fn hide(&self, value: &mut Json) {
        match value {
            Json::String(text) | Json::Number(text) => {
                if self.marked.contains(text.as_str()) {
                    *value = Json::from(MASK);
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.hide(item)),
            Json::Object(members) => {
                let hidden = std::mem::take(members).into_iter().map(|(name, mut value)| {
                    self.hide(&mut value);
                    (if self.marked.contains(&name) { MASK.to_owned() } else { name }, value)
                });
                *members = hidden.collect();
            }
            Json::Null | Json::Bool(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_marked_is_hidden_as_a_whole_however_much_it_is() {
        // More than is looked for inside of other texts; all are of the same length.
        let text = |at: usize| format!("{at:04} \"${{x}}\" {}", "x".repeat(1_000));
        let all: Vec<_> = (0..200).map(text).collect();
        let state = json!({ "outputs": { "all": { "value": all, "sensitive": true } } });
        let masker = StateMasker::of(state.to_string().as_bytes(), &Masker::default()).unwrap();
        let last = text(199);
        assert_ne!(masker.masker.mask(&last), MASK, "there are too many");
        assert_eq!(masker.mask(&last), MASK);
        let value = json!({ "a": [last, "open"], last.as_str(): 1 }).to_string();
        let told = masker.mask_value(serde_json::from_str(&value).unwrap());
        let hidden = "{\n  \"(secret)\": 1,\n  \"a\": [\n    \"(secret)\",\n    \"open\"\n  ]\n}";
        assert_eq!(told, hidden);
        let key = Json::from(last.as_str()).to_string().replace("${", "$${");
        let address = format!("module.m[\"open\"].x.a[{key}]");
        assert_eq!(masker.mask_address(&address), r#"module.m["open"].x.a["(secret)"]"#);
        for odd in ["x.a[0]", "x.a[\"", "\"\""] {
            assert_eq!(masker.mask_address(odd), odd);
        }
    }
}
