//! The variables of a form: its rows, and a text that was pasted beside them.

use super::{
    fields::{Fields, Row},
    kept::TYPE_AGAIN,
};
use crate::{form::Errors, stacks::Kind};
use gantry_domain::stack::DotEnv;
use serde_json::{Map, Value, json};

/// Wrong lines that are told one by one.
const TOLD: usize = 10;

/// The rows as the API takes them.
pub(super) fn read(fields: &Fields) -> Vec<Value> {
    rows(fields).into_iter().map(variable).collect()
}

/// The rows of one run, whose variables are for that run.
pub(super) fn of_one_run(fields: &Fields) -> Vec<Value> {
    let mut rows = read(fields);
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        row.remove("runs");
    }
    rows
}

fn rows(fields: &Fields) -> Vec<Value> {
    let keep = |row: &Row<'_>| !row.text("name").trim().is_empty() || !row.text("value").is_empty();
    fields.rows("variables", keep)
}

/// The rows whose value was typed before and is kept no more. Left empty, they would keep the value
/// of before that.
pub(super) fn lost(fields: &Fields) -> Errors {
    let is_lost = |(_, row): &(usize, Value)| row.get("kept").is_some();
    let error = |(place, _)| (format!("variables[{place}].value"), TYPE_AGAIN.to_owned());
    rows(fields).into_iter().enumerate().filter(is_lost).map(error).collect()
}

/// What is said where nobody chose which runs get a secret, in the words of the list beside it.
pub(super) fn choose_runs(kind: Kind) -> &'static str {
    match kind {
        Kind::Stack => {
            "Choose which runs get the secret. With \"all runs\", previews get it too, and a plan \
             executes the branch's code, so anyone who can push can read it. With \"deploys only\", \
             previews do not get it."
        }
        Kind::Module => {
            "Choose which runs get the secret. With \"all runs\", the tests of every branch get it, \
             and they execute the branch's code, so anyone who can push can read it. With \"runs of \
             the branch only\", the tests of merge requests and other branches do not get it."
        }
    }
}

/// The variables of the text that was pasted become rows like those that were typed; its other lines
/// become an error.
pub(super) fn add_pasted(fields: &Fields, rows: &mut Vec<Value>, errors: &mut Errors) {
    let found = DotEnv::read(fields.text("pasted"));
    let (secret, runs) = (fields.text("pasted.secret"), fields.text("pasted.runs"));
    let read = found.variables.len();
    rows.extend(found.variables.into_iter().map(|(name, value)| {
        variable(json!({ "name": name, "value": value, "secret": secret, "runs": runs }))
    }));
    if found.problems.is_empty() {
        return;
    }
    let wrong = found.problems.len();
    let lines = found.problems.iter().take(TOLD);
    let mut said: Vec<String> =
        lines.map(|(line, problem)| format!("Line {line}: {problem}.")).collect();
    if wrong > TOLD {
        said.push(format!("And {} more.", wrong - TOLD));
    }
    match read {
        0 => said.push("Correct the text and paste it again.".to_owned()),
        1 => said.push(
            "The variable that could be read is in the table now: paste only the rest, \
                        corrected."
                .to_owned(),
        ),
        _ => said.push(format!(
            "The {read} variables that could be read are in the table now: paste only the rest, \
             corrected."
        )),
    }
    errors.insert("pasted".to_owned(), said.join(" "));
}

/// A row of the form as the API takes it. A secret one without a value keeps the value it has.
fn variable(row: Value) -> Value {
    let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let secret = !text("secret").is_empty();
    let mut variable = Map::new();
    variable.insert("name".to_owned(), text("name").trim().into());
    variable.insert("secret".to_owned(), secret.into());
    if !(secret && text("value").is_empty()) {
        variable.insert("value".to_owned(), text("value").into());
    }
    match text("runs").as_str() {
        "" if secret => {}
        "" => drop(variable.insert("runs".to_owned(), "all".into())),
        runs => drop(variable.insert("runs".to_owned(), runs.into())),
    }
    Value::Object(variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pasted(text: &str, more: &str) -> (Vec<Value>, Errors) {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let form = form.append_pair("pasted", text).finish();
        let (mut rows, mut errors) = (Vec::new(), Errors::new());
        add_pasted(&Fields::read(format!("{form}{more}").as_bytes()), &mut rows, &mut errors);
        (rows, errors)
    }

    #[test]
    fn what_is_pasted_becomes_rows() {
        let secret = "&pasted.secret=on&pasted.runs=tracked";
        let (rows, errors) = pasted("A=1\r\nexport B='x\r\ny'\r\n", secret);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(
            rows,
            [
                json!({ "name": "A", "secret": true, "value": "1", "runs": "tracked" }),
                json!({ "name": "B", "secret": true, "value": "x\ny", "runs": "tracked" }),
            ]
        );
        let (rows, _) = pasted("A=", "&pasted.runs=all");
        let plain = json!({ "name": "A", "secret": false, "value": "", "runs": "all" });
        assert_eq!(rows, [plain]);
        assert_eq!(pasted(" \n", secret), (Vec::new(), Errors::new()));
    }

    #[test]
    fn the_rows_of_one_run_say_nothing_of_others() {
        let fields = Fields::read(
            b"variables[0].name=TF_VAR_a&variables[0].value=1&variables[1].name=&variables[1].value=\
              &variables[2].name=B&variables[2].value=hush-hush&variables[2].secret=on",
        );
        assert_eq!(
            of_one_run(&fields),
            [
                json!({ "name": "TF_VAR_a", "secret": false, "value": "1" }),
                json!({ "name": "B", "secret": true, "value": "hush-hush" }),
            ]
        );
        assert!(of_one_run(&Fields::read(b"type=tracked")).is_empty());
    }

    #[test]
    fn wrong_lines_are_told_and_the_others_become_rows() {
        let (rows, errors) = pasted("A=1\nhush\nB=2\nA=hush", "");
        assert_eq!(rows.len(), 2);
        insta::assert_snapshot!(errors["pasted"], @"Line 2: no = after the name. Put quotes around a value of several lines. Line 4: A is already defined on line 1. The 2 variables that could be read are in the table now: paste only the rest, corrected.");
        let (_, errors) = pasted(&"hush\n".repeat(12), "");
        assert!(errors["pasted"].ends_with("And 2 more. Correct the text and paste it again."));
        assert!(!errors["pasted"].contains("hush"));
    }

    #[test]
    fn a_row_whose_value_is_kept_no_more_is_told_by_its_place() {
        let fields = Fields::read(
            b"variables[0].name=&variables[0].value=&variables[1].name=A&variables[1].value=1\
              &variables[4].name=B&variables[4].value=&variables[4].kept=old",
        );
        assert_eq!(lost(&fields).into_keys().collect::<Vec<_>>(), ["variables[1].value"]);
    }
}
