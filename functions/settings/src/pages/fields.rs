//! A form as a browser sends it, and its way into the JSON that the API takes.

use gantry_domain::{stack::TimeLimit, text::clean};
use serde_json::{Map, Number, Value};

/// The fields of a form, in the order in which they were sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `application/x-www-form-urlencoded`. Browsers end lines with CR LF.
    pub(super) fn read(body: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(body);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n"))).collect())
    }

    /// What a browser sends of a form that shows these values and that nobody has changed. A page
    /// shows no control characters, and a browser ends every line in the same way.
    pub(super) fn of(values: &Map<String, Value>) -> Self {
        let mut fields = Vec::new();
        for (name, value) in values {
            add(&mut fields, name, value);
        }
        Self(fields)
    }

    /// A field's text; empty when it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The texts of a field that was sent several times.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// True for a box that is ticked, or a button that was pressed.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// The fields with what was typed before where they came back empty: of a row, `value` is what
    /// `open` finds in `kept`. Nothing is put into a row that is not secret, whose value would be
    /// shown, or that has no name. What does not open stays as `kept`.
    pub(super) fn with_kept(mut self, open: impl Fn(&str, &str) -> Option<String>) -> Self {
        let is_kept = |(name, sealed): &(String, String)| {
            Some((name.strip_suffix(".kept")?.to_owned(), sealed.clone()))
        };
        let rows: Vec<(String, String)> = self.0.iter().filter_map(is_kept).collect();
        for (row, sealed) in rows {
            let (value, kept) = (format!("{row}.value"), format!("{row}.kept"));
            let counts = !self.text(&format!("{row}.secret")).is_empty()
                && !self.text(&format!("{row}.name")).trim().is_empty()
                && self.text(&value).is_empty();
            let opened = counts.then(|| open(&value, &sealed));
            if opened == Some(None) {
                continue;
            }
            self.0.retain(|(name, _)| *name != kept);
            if let Some(Some(text)) = opened {
                self.0.retain(|(name, _)| *name != value);
                self.0.push((value, text));
            }
        }
        self
    }

    /// The fields as the query of an address, without those that are the page's own.
    pub(super) fn as_query(&self, address: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.0.iter().filter(|(name, _)| !name.starts_with('_')));
        match query.finish() {
            none if none.is_empty() => address.to_owned(),
            query => format!("{address}?{query}"),
        }
    }

    /// The fields without those that belong to a session: what starts with `_`.
    pub(super) fn of_no_session(mut self) -> Self {
        self.0.retain(|(name, _)| !name.starts_with('_'));
        self
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

    /// The texts of fields `name[0]`, `name[1]`, as they were typed; those that are not empty.
    pub(super) fn items(&self, name: &str) -> Value {
        let number = |field: &str| -> Option<usize> {
            field.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
        };
        let mut items: Vec<(usize, &str)> = self
            .0
            .iter()
            .filter_map(|(field, text)| Some((number(field)?, text.as_str())))
            .filter(|(_, text)| !text.trim().is_empty())
            .collect();
        items.sort_by_key(|(number, _)| *number);
        items.into_iter().map(|(_, text)| text).collect()
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

/// The fields that show a value: see [`Fields::of`].
fn add(fields: &mut Vec<(String, String)>, name: &str, value: &Value) {
    match value {
        Value::String(shown) => fields.push((name.to_owned(), clean(shown))),
        Value::Bool(true) => fields.push((name.to_owned(), "on".to_owned())),
        Value::Object(parts) => {
            for (part, value) in parts {
                add(fields, &format!("{name}.{part}"), value);
            }
        }
        // Commands have several lines: each has a field of its own.
        Value::Array(items) if name.starts_with("hooks.") || items.iter().any(Value::is_object) => {
            for (place, item) in items.iter().enumerate() {
                add(fields, &format!("{name}[{place}]"), item);
            }
        }
        Value::Array(lines) => {
            let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
            fields.push((name.to_owned(), clean(&lines.join("\n"))));
        }
        Value::Number(number) => fields.push((name.to_owned(), number_of(name, number))),
        Value::Null | Value::Bool(false) => {}
    }
}

/// How a form shows a number of a definition: time limits, which are in seconds, as times.
pub(super) fn number_of(name: &str, number: &Number) -> String {
    let seconds = number.as_u64().filter(|_| name.starts_with("timeouts."));
    let limit = seconds.and_then(|seconds| u32::try_from(seconds).ok());
    limit.map_or_else(|| number.to_string(), |limit| TimeLimit::of_seconds(limit).to_string())
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
        let mut map = Map::new();
        // Of a field that was sent twice the first counts, as for `text`.
        for (name, value) in &self.fields.0 {
            if let Some(part) = name.strip_prefix(&prefix) {
                map.entry(part).or_insert_with(|| Value::from(value.as_str()));
            }
        }
        map
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

    #[test]
    fn a_form_shows_times_numbers_lines_and_commands() {
        let Value::Object(values) = json!({
            "timeouts": { "plan": 3600 }, "hooks": { "after_plan": ["one\ntwo", "three"] },
            "approvals": { "required": 2, "from": ["@ada", "@acme/ops"] }, "levels": {},
        }) else {
            panic!()
        };
        let shown = Fields::of(&values);
        let texts = ["timeouts.plan", "approvals.required", "approvals.from"];
        assert_eq!(texts.map(|name| shown.text(name)), ["1 hour", "2", "@ada\n@acme/ops"]);
        assert_eq!(shown.items("hooks.after_plan"), json!(["one\ntwo", "three"]));
    }

    #[test]
    fn what_was_typed_before_counts_where_a_secret_field_is_empty() {
        let read = |fields: &[u8]| {
            let open = |field: &str, sealed: &str| (sealed == "good").then(|| format!("<{field}>"));
            Fields::read(fields).with_kept(open)
        };
        let row = read(b"v[0].name=A&v[0].value=&v[0].secret=on&v[0].kept=good");
        assert_eq!((row.text("v[0].value"), row.has("v[0].kept")), ("<v[0].value>", false));
        let typed = read(b"v[0].name=A&v[0].value=new&v[0].secret=on&v[0].kept=good");
        assert_eq!((typed.text("v[0].value"), typed.has("v[0].kept")), ("new", false));
        let lost = read(b"v[0].name=A&v[0].value=&v[0].secret=on&v[0].kept=bad");
        assert_eq!((lost.text("v[0].value"), lost.has("v[0].kept")), ("", true));
        for nothing in [
            &b"v[0].name=A&v[0].value=&v[0].kept=good"[..],
            b"v[0].name=+&v[0].value=&v[0].secret=on&v[0].kept=good",
            b"v[0].name=A&v[0].value=&v[0].secret=&v[0].kept=good",
            b"v[0].name=A&v[0].value=&v[0].secret=&v[0].secret=on&v[0].kept=good",
        ] {
            let row = read(nothing);
            assert_eq!((row.text("v[0].value"), row.has("v[0].kept")), ("", false));
        }
    }
}
