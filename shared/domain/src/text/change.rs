//! A plan's change as lines: resource by resource, attribute by attribute.
//!
//! The first character says what happens, as in a `diff`: `+` comes, `-` goes, `!` changes.

use super::{PARTIAL_PLAN, clean, counted, more};
use crate::plan::{Action, AttributeChange, Change, Line, ResourceChange, Value};

/// The whole change. Each element is one line, cleaned, but not yet safe to stand in Markdown:
/// see [`super::markdown::fence_lines`].
pub fn lines(change: &Change) -> Vec<String> {
    let mut out = Lines(Vec::new());
    if change.errored {
        out.add(' ', "The plan ended with an error and is incomplete.");
    }
    if change.partial {
        out.add('!', PARTIAL_PLAN);
    }
    for remark in &change.remarks {
        out.add('!', remark);
    }
    for resource in &change.resources {
        out.resource(resource);
    }
    if change.resources_cut > 0 {
        out.gap();
        out.add(
            ' ',
            &format!("… {}: see the run", more(change.resources_cut as usize, "resource")),
        );
    }
    if !change.outputs.is_empty() || change.outputs_cut > 0 {
        out.gap();
        out.add(' ', "Changes to outputs:");
        for output in &change.outputs {
            out.attribute(output);
        }
        if change.outputs_cut > 0 {
            out.add(
                ' ',
                &format!("  … {}: see the run", more(change.outputs_cut as usize, "output")),
            );
        }
    }
    for check in &change.checks {
        out.gap();
        out.add('!', &format!("{} does not hold", check.address));
        for problem in check.problems.iter().flat_map(|p| p.lines()) {
            out.add('!', &format!("  {problem}"));
        }
    }
    if change.drift > 0 {
        out.gap();
        let count = counted(change.drift as usize, "resource");
        let were = if change.drift == 1 { "was" } else { "were" };
        out.add(' ', &format!("{count} {were} changed outside Terraform"));
    }
    if change.deferred > 0 {
        out.gap();
        let count = counted(change.deferred as usize, "change");
        out.add(' ', &format!("{count} put off to a later plan"));
    }
    out.0
}

struct Lines(Vec<String>);

impl Lines {
    fn add(&mut self, sign: char, text: &str) {
        // A value or address with a line break in it would begin a line of its own.
        self.0.push(format!("{sign} {}", clean(text).replace('\n', " ")).trim_end().to_owned());
    }

    fn gap(&mut self) {
        if !self.0.is_empty() {
            self.0.push(String::new());
        }
    }

    fn resource(&mut self, resource: &ResourceChange) {
        self.gap();
        let sign = match resource.action {
            Action::Create => '+',
            Action::Delete => '-',
            Action::Read => ' ',
            _ => '!',
        };
        let reason = resource.reason_text().map(|r| format!(" ({r})")).unwrap_or_default();
        self.add(sign, &format!("{} {}{reason}", resource.address, resource.action.text()));
        if let Some(previous) = &resource.previous_address {
            self.add('!', &format!("  moved from {previous}"));
        }
        match resource.import_id.as_deref() {
            Some("") => self.add('!', "  imported"),
            Some(id) => self.add('!', &format!("  imported from {id}")),
            None => {}
        }
        // What a data source will be asked is in the configuration.
        if resource.action == Action::Read {
            return;
        }
        for attribute in &resource.attributes {
            self.attribute(attribute);
        }
        if resource.attributes_cut > 0 {
            self.add(
                ' ',
                &format!(
                    "  … {}: see the run",
                    more(resource.attributes_cut as usize, "attribute")
                ),
            );
        }
    }

    fn attribute(&mut self, attribute: &AttributeChange) {
        let AttributeChange { path, before, after, forces_replacement, lines } = attribute;
        let mark = if *forces_replacement { "  # forces replacement" } else { "" };
        let (sign, values) = match (before, after) {
            _ if !lines.is_empty() => (side(before, after), String::new()),
            (Value::Absent, after) => ('+', value(after)),
            (before, Value::Absent) => ('-', value(before)),
            (Value::Sensitive, Value::Sensitive) => ('!', value(after)),
            (before, after) => ('!', format!("{} -> {}", value(before), value(after))),
        };
        let equals = if values.is_empty() { ":" } else { " = " };
        self.add(sign, &format!("  {path}{equals}{values}{mark}"));
        for line in lines {
            match line {
                Line::Same(text) => self.add(' ', &format!("    {text}")),
                Line::Removed(text) => self.add('-', &format!("    {text}")),
                Line::Added(text) => self.add('+', &format!("    {text}")),
                Line::Skipped(n) => {
                    self.add(' ', &format!("    … {}", counted(*n as usize, "equal line")));
                }
                Line::Cut(n) => {
                    self.add(' ', &format!("    … {}: see the run", more(*n as usize, "line")))
                }
            }
        }
    }
}

fn side(before: &Value, after: &Value) -> char {
    match (before, after) {
        (Value::Absent, _) => '+',
        (_, Value::Absent) => '-',
        _ => '!',
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Absent => "null".to_owned(),
        Value::Known(text) => text.clone(),
        Value::Sensitive => "(sensitive value)".to_owned(),
        Value::Unknown => "(known after apply)".to_owned(),
        Value::Truncated(text, rest) => format!("{text}… {}", more(*rest as usize, "character")),
        Value::Lines(count) => counted(*count as usize, "line"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{masking::Masker, plan::Limits};

    #[test]
    fn a_plan_that_terraform_wrote() {
        let plan = include_bytes!("../../testdata/plan.json");
        let (change, _) =
            Change::from_plan_bytes(plan, Limits::default(), &Masker::default()).unwrap();
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
        ! terraform_data.a will be updated in place
        +   input["list"][1] = "z"
        !   input["secret"] = (sensitive value)
        !   output = {"list":["a","b"],"name":"x","secret":"(sensitive value)"} -> (known after apply)

        ! terraform_data.b must be replaced: destroyed, then created (a change cannot be made in place)
        !   id = "ab0b4dfe-b693-9d5f-8d69-80909599d67f" -> (known after apply)
        !   input:
              line1
        -     line2
        +     line2b
        !   output = "line1\nline2\n" -> (known after apply)
        !   triggers_replace[0] = "one" -> "two"  # forces replacement

        ! terraform_data.d will be updated in place
        !   moved from terraform_data.c
        !   input:
              {
        -       "a": 1,
        +       "a": 2,
                "b": "<x>"
              }
        !   output = "{\"a\":1,\"b\":\"\\u003cx\\u003e\"}" -> (known after apply)

        ! terraform_data.zz will be forgotten, but not destroyed (it is not in the configuration)

          Changes to outputs:
        !   o = (sensitive value) -> (known after apply)
        !   p = "plain" -> "plain2"

        ! check.c does not hold
        !   never
        "#);
    }

    #[test]
    fn what_people_should_know_comes_first() {
        let plan = serde_json::json!({
            "format_version": "1.2",
            "complete": false,
            "resource_changes": [{"address": "a.a", "change": {"actions": ["delete"]}}],
        });
        let read =
            |plan| Change::from_plan_json(plan, Limits::default(), &Masker::default()).unwrap();
        let mut change = read(&plan);
        change.remarks = vec!["backend \"gcs\" is not used".to_owned()];
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
        ! This plan covers only a part of the configuration.
        ! backend "gcs" is not used

        - a.a will be destroyed
        "#);
        let failed = serde_json::json!({
            "format_version": "1.2", "complete": false, "errored": true,
        });
        assert!(!read(&failed).partial, "what an error ended is told as that");
    }

    #[test]
    fn what_was_cut_is_counted() {
        let plan = serde_json::json!({
            "format_version": "1.2",
            "errored": true,
            "resource_drift": [{}],
            "resource_changes": [
                {"address": "a.a", "change": {"actions": ["create"], "after": {"a": "0123456789", "b": 1, "c": true}}},
                {"address": "a.b", "change": {"actions": ["delete"], "before": {"a": "x"}}},
                {"address": "a.c", "change": {"actions": ["delete"], "before": {"a": "x"}}},
                {"address": "data.d", "mode": "data", "change": {"actions": ["read"], "after": {"a": "x"}}},
            ],
        });
        let limits = Limits { attributes: 2, value_chars: 6, resources: 2, ..Limits::default() };
        let change = Change::from_plan_json(&plan, limits, &Masker::default()).unwrap();
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
          The plan ended with an error and is incomplete.

        + a.a will be created
        +   a = "01234… 6 more characters
        +   b = 1
            … 1 more attribute: see the run

        - a.b will be destroyed
        -   a = "x"

          … 2 more resources: see the run

          1 resource was changed outside Terraform
        "#);
    }
}
