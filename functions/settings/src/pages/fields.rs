//! A form as a browser sends it, and its way into the JSON that the API takes.

use serde_json::{Map, Value};

/// The fields of a form, in the order in which they were sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `application/x-www-form-urlencoded`. Browsers end lines with CR LF.
    pub(super) fn read(body: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(body);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n"))).collect())
    }

    /// A field's text; empty when it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// True for a box that is ticked, or a button that was pressed.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// A text, or null when nothing was typed.
    pub(super) fn value(&self, name: &str) -> Value {
        match self.text(name).trim() {
            "" => Value::Null,
            text => Value::from(text),
        }
    }

    /// The lines of a text that are not empty.
    pub(super) fn lines(&self, name: &str) -> Value {
        self.text(name).lines().map(str::trim).filter(|line| !line.is_empty()).collect()
    }

    /// The rows of a table of fields `name[0].part`, by their numbers; those that `keep` wants.
    pub(super) fn rows(&self, name: &str, keep: impl Fn(&Row<'_>) -> bool) -> Vec<Value> {
        let number = |field: &str| -> Option<usize> {
            field.strip_prefix(name)?.strip_prefix('[')?.split_once(']')?.0.parse().ok()
        };
        let mut numbers: Vec<usize> = self.0.iter().filter_map(|(name, _)| number(name)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
            .into_iter()
            .map(|number| Row { fields: self, prefix: format!("{name}[{number}]") })
            .filter(keep)
            .map(|row| Value::Object(row.to_map()))
            .collect()
    }
}

/// One row of a table of fields.
pub(super) struct Row<'a> {
    fields: &'a Fields,
    prefix: String,
}

impl Row<'_> {
    pub(super) fn text(&self, part: &str) -> &str {
        self.fields.text(&format!("{}.{part}", self.prefix))
    }

    fn to_map(&self) -> Map<String, Value> {
        let prefix = format!("{}.", self.prefix);
        self.fields
            .0
            .iter()
            .filter_map(|(name, value)| {
                Some((name.strip_prefix(&prefix)?.to_owned(), Value::from(value.as_str())))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_form_becomes_json() {
        let form = Fields::read(
            b"name=+Net+work&globs=a%2F**%0D%0A%0D%0A+b&on=on&v[3].name=B&v[0].name=A&v[0].value=1\
              &v[7].name=&v[7].value=",
        );
        assert_eq!(form.value("name"), json!("Net work"));
        assert_eq!(form.value("missing"), Value::Null);
        assert_eq!(form.lines("globs"), json!(["a/**", "b"]));
        assert!(form.has("on") && !form.has("off"));
        let rows = form.rows("v", |row| !row.text("name").is_empty());
        assert_eq!(rows, [json!({"name": "A", "value": "1"}), json!({"name": "B"})]);
    }
}
