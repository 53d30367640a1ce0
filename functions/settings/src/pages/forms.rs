//! A form as it is shown: what was typed, or what is there, and what is wrong with it.

use super::{fields::number_of, kept::Keeper};
use crate::{form::Errors, refusal::Refusal};
use gantry_domain::masking::Weakness;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The fields of a form, as the API takes them, with the errors that belong to them.
#[derive(Debug, Clone, Default)]
pub(super) struct FormView {
    values: Map<String, Value>,
    errors: Errors,
    /// Secrets that are kept and cannot be masked, by the names of their variables.
    weak: BTreeMap<String, Weakness>,
    /// Secrets that were typed, sealed, by their fields.
    kept: BTreeMap<String, String>,
    /// What is wrong as a whole.
    pub(super) problem: Option<String>,
}

impl FormView {
    pub(super) fn of(values: Map<String, Value>) -> Self {
        Self { values, ..Self::default() }
    }

    /// The same, with what a refusal says.
    pub(super) fn refused(values: Map<String, Value>, refusal: &Refusal) -> Self {
        let (errors, problem) = (refusal.errors().clone(), Some(refusal.words()));
        Self { values, errors, problem, ..Self::default() }
    }

    /// The same, and it tells of secrets that are kept and cannot be masked.
    #[must_use]
    pub(super) fn warning_of<'a>(
        mut self,
        weak: impl IntoIterator<Item = (&'a str, Weakness)>,
    ) -> Self {
        self.weak = weak.into_iter().map(|(name, weakness)| (name.to_owned(), weakness)).collect();
        self
    }

    /// The same, and it tells of errors that the refusal may not have.
    #[must_use]
    pub(super) fn telling(mut self, errors: Errors) -> Self {
        self.errors.extend(errors);
        self
    }

    /// The same, with the secret variables that were typed.
    #[must_use]
    pub(super) fn keeping_secrets(mut self, keeper: &Keeper) -> Self {
        let rows = self.value("variables").and_then(Value::as_array).cloned().unwrap_or_default();
        for (at, row) in rows.iter().enumerate() {
            let is_secret = row.get("secret").and_then(Value::as_bool) == Some(true);
            if let Some(typed) = row.get("value").and_then(Value::as_str).filter(|_| is_secret) {
                self = self.keeping(keeper, &format!("variables[{at}].value"), typed);
            }
        }
        self
    }

    /// The same, with a secret that was typed. One that is wrong itself is typed again.
    #[must_use]
    pub(super) fn keeping(mut self, keeper: &Keeper, field: &str, typed: &str) -> Self {
        let keeps = !typed.is_empty() && !self.errors.contains_key(field);
        if let Some(sealed) = keeps.then(|| keeper.seal(field, typed)).flatten() {
            self.kept.insert(field.to_owned(), sealed);
        }
        self
    }

    /// The sealed text of a secret that was typed before.
    pub(super) fn kept(&self, field: &str) -> Option<&str> {
        self.kept.get(field).map(String::as_str)
    }

    /// A field's value, whatever it is.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        let mut parts = name.split('.');
        let first = self.values.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// A field as text; a list as lines.
    pub(super) fn text(&self, name: &str) -> String {
        match self.value(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number_of(name, number),
            Some(Value::Array(lines)) => {
                lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
            }
            _ => String::new(),
        }
    }

    /// Something is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| !value.is_null())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.value(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn is(&self, name: &str, word: &str) -> bool {
        self.value(name).and_then(Value::as_str) == Some(word)
    }

    /// What is wrong with a field or with a part of it.
    pub(super) fn error(&self, name: &str) -> Option<String> {
        let is_part = |field: &str| {
            field
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
        };
        let mut said =
            self.errors.iter().filter(|(field, _)| is_part(field)).map(|(field, why)| {
                let place = field.strip_prefix(name).unwrap_or_default();
                let line = place.strip_prefix('[').and_then(|rest| rest.split(']').next());
                match line.and_then(|line| line.parse::<usize>().ok()) {
                    Some(line) => format!("line {}: {why}", line + 1),
                    None => why.clone(),
                }
            });
        let first = said.next()?;
        Some(said.fold(first, |all, next| format!("{all}; {next}")))
    }

    /// What is wrong with a field as a whole, its parts aside.
    pub(super) fn whole_error(&self, name: &str) -> Option<&str> {
        self.errors.get(name).map(String::as_str)
    }

    /// True when some field is wrong: then the errors beside the fields say more than the whole.
    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The rows of `variables`.
    pub(super) fn variables(&self) -> Vec<VariableRow> {
        let rows = self.value("variables").and_then(Value::as_array).cloned().unwrap_or_default();
        rows.iter().enumerate().map(|(at, row)| self.variable(at, row)).collect()
    }

    /// The commands of a list of hooks, with one place more.
    pub(super) fn commands(&self, name: &str) -> Vec<CommandRow> {
        let known = self.value(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let row = |(at, command): (usize, &Value)| {
            let text = command.as_str().unwrap_or_default().to_owned();
            let error = self.errors.get(&format!("{name}[{at}]")).cloned();
            CommandRow { at, lines: lines_of(&text), text, error }
        };
        let mut rows: Vec<CommandRow> = known.iter().enumerate().map(row).collect();
        rows.push(CommandRow { at: rows.len(), lines: 1, ..CommandRow::default() });
        rows
    }

    fn variable(&self, at: usize, row: &Value) -> VariableRow {
        let text =
            |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let error = |part: &str| self.errors.get(&format!("variables[{at}].{part}")).cloned();
        let secret = row.get("secret").and_then(Value::as_bool).unwrap_or(false);
        // What was typed replaces what is kept.
        let weakness = match text("value") {
            kept if kept.is_empty() => self.weak.get(&text("name")).copied(),
            typed => Weakness::of(&typed),
        };
        // A secret value is never written into a page.
        let value = if secret { String::new() } else { text("value") };
        VariableRow {
            at,
            kept: self.kept(&format!("variables[{at}].value")).map(str::to_owned),
            name: text("name"),
            lines: lines_of(&value),
            value,
            secret,
            runs: text("runs"),
            name_error: error("name"),
            value_error: error("value"),
            warning: weakness.filter(|_| secret).map(Weakness::text),
            runs_error: error("runs"),
        }
    }
}

/// One variable in the form.
#[derive(Debug, Clone, Default)]
pub(super) struct VariableRow {
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) value: String,
    /// The secret value that was typed before, sealed.
    pub(super) kept: Option<String>,
    /// How many lines its field has.
    pub(super) lines: usize,
    pub(super) secret: bool,
    pub(super) runs: String,
    pub(super) name_error: Option<String>,
    pub(super) value_error: Option<String>,
    /// Why the secret cannot be masked.
    pub(super) warning: Option<&'static str>,
    pub(super) runs_error: Option<String>,
}

/// One command of a hook in the form.
#[derive(Debug, Clone, Default)]
pub(super) struct CommandRow {
    pub(super) at: usize,
    pub(super) text: String,
    /// How many lines its field has.
    pub(super) lines: usize,
    pub(super) error: Option<String>,
}

/// How many lines a text's field has: all of them, as far as that is no page of its own.
fn lines_of(text: &str) -> usize {
    text.split('\n').count().clamp(1, 15)
}
