//! How what is written differs from its sample, in words for who changes a record.

use serde_json::Value;

/// One line for each difference of what is written from what stands at a pointer in a file.
pub(crate) fn differences(
    file: &str,
    pointer: &str,
    sample: &Value,
    written: &Value,
) -> Vec<String> {
    let place = if pointer.is_empty() { "the top level" } else { pointer };
    match (sample, written) {
        (Value::Object(before), Value::Object(after)) => {
            let added = after.iter().filter(|(field, _)| !before.contains_key(*field));
            let added = added.map(|(field, value)| {
                format!("add the line {field:?}: {value} to {file}, at {place}: it is a new field")
            });
            let lost = before.keys().filter(|field| !after.contains_key(*field)).map(|field| {
                format!(
                    "{field:?} in {file}, at {place}, is lost when the record is written again: \
                     records that have it must keep it"
                )
            });
            let inside = before.iter().flat_map(|(field, value)| match after.get(field) {
                Some(now) => differences(file, &format!("{pointer}/{field}"), value, now),
                None => Vec::new(),
            });
            added.chain(lost).chain(inside).collect()
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            let both = before.iter().zip(after).enumerate();
            let inside = both.flat_map(|(at, (value, now))| {
                differences(file, &format!("{pointer}/{at}"), value, now)
            });
            inside.collect()
        }
        _ if sample == written => Vec::new(),
        _ => vec![format!("{sample} in {file}, at {place}, is written again as {written}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_difference_names_file_place_and_line() {
        let sample = json!({ "a": 1, "gone": 2, "in": [{ "b": true }] });
        let written = json!({ "a": 3, "new": null, "in": [{ "b": true, "c": [] }] });
        let expected = [
            r#"add the line "new": null to f.json, at the top level: it is a new field"#,
            r#""gone" in f.json, at the top level, is lost when the record is written again: records that have it must keep it"#,
            "1 in f.json, at /a, is written again as 3",
            r#"add the line "c": [] to f.json, at /in/0: it is a new field"#,
        ];
        assert_eq!(differences("f.json", "", &sample, &written), expected);
        assert!(differences("f.json", "", &sample, &sample).is_empty());
        assert_eq!(differences("f.json", "", &json!([1]), &json!([])).len(), 1);
    }
}
