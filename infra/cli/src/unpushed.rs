//! `gantry drift` and `gantry task`, and plans that are not the usual ones.

use crate::{
    args::{Drift, Plan, Task},
    commands::{answer, decided, ended, finish, started},
    ended::Ended,
    error::{About as _, Error},
    follow::Until,
    session::Session,
};
use serde_json::{Value, json};

/// Adds to the body of a request for a run what is unusual about its plan. False where somebody was
/// asked whether that is meant, and it is not.
pub(crate) fn add_unusual(
    session: &mut Session,
    args: &Plan,
    body: &mut Value,
) -> Result<bool, Error> {
    let unusual = &args.unusual;
    let variables = unusual.variables.iter();
    let mut variables: Vec<Value> = variables
        .map(|(name, value)| json!({ "name": name, "value": value, "secret": false }))
        .collect();
    for name in &unusual.secrets {
        let Some(value) = (session.variable)(name) else {
            return Err(Error::Usage(format!(
                "The environment variable {name} is not set: --secret takes its value."
            )));
        };
        variables.push(json!({ "name": name, "value": value, "secret": true }));
    }
    let mode = match (unusual.destroy, unusual.refresh_only) {
        (true, _) => Some("destroy"),
        (false, true) => Some("refresh_only"),
        (false, false) => None,
    };
    if let Some(mode) = mode {
        body["mode"] = mode.into();
    }
    for (name, addresses) in [("targets", &unusual.targets), ("replace", &unusual.replace)] {
        if !addresses.is_empty() {
            body[name] = addresses.clone().into();
        }
    }
    if !variables.is_empty() {
        body["variables"] = variables.into();
    }
    // A preview destroys nothing.
    if unusual.destroy && !args.preview {
        let Some(typed) = confirmed_slug(session, args)? else { return Ok(false) };
        body["confirm_slug"] = typed.into();
    }
    Ok(true)
}

/// The slug of the stack of which nothing is to be left, as somebody has typed it; none where it is
/// another one.
fn confirmed_slug(session: &mut Session, args: &Plan) -> Result<Option<String>, Error> {
    let slug = args.stack.as_str();
    let typed = match &args.unusual.confirm_slug {
        Some(typed) => typed.clone(),
        None if !session.person.is_there() => {
            return Err(Error::Usage(
                "Standard input is no terminal, so nobody can be asked: say --confirm-slug STACK \
                 if you are sure."
                    .into(),
            ));
        }
        None => {
            let what = match args.unusual.targets.is_empty() {
                true => "everything that it holds",
                false => "its targets",
            };
            session.screen.note(&format!(
                "This plans a deploy of {slug} that destroys {what}, once somebody confirms it."
            ));
            answer(session, &format!("Type {slug} to go on:"))?
        }
    };
    if typed != slug {
        session.screen.note(&format!("Nothing was done: that is not {slug}."));
        return Ok(None);
    }
    Ok(Some(typed))
}

/// Looks for what was changed elsewhere.
pub(crate) async fn drift(session: &mut Session, args: &Drift) -> Result<Ended, Error> {
    let slug = args.stack.as_str();
    let command = session.post(&["stacks", slug, "drift"], &json!({})).await;
    let command = decided(session, slug, command).await;
    let command = command.about(|| format!("look for drift of {slug}"))?;
    let Some(run) = started(session, slug, command, args.no_wait).await? else {
        return Ok(Ended::Done);
    };
    let run = finish(session, &run, None, Until::End, true).await?;
    let has_drifted = run.as_ref().is_some_and(|run| run.summary.has_drifted());
    Ok(match ended(run) {
        Ended::Done if has_drifted => Ended::Drifted,
        other => other,
    })
}

/// Runs a command in a stack's workspace.
pub(crate) async fn task(session: &mut Session, args: &Task) -> Result<Ended, Error> {
    let slug = args.stack.as_str();
    let body = json!({ "command": for_a_shell(&args.command) });
    let command = session.post(&["stacks", slug, "tasks"], &body).await;
    let command = decided(session, slug, command).await;
    let command = command.about(|| format!("run a task of {slug}"))?;
    let Some(run) = started(session, slug, command, args.no_wait).await? else {
        return Ok(Ended::Done);
    };
    let run = finish(session, &run, None, Until::End, true).await?;
    Ok(ended(run))
}

/// What a shell is given: one text as it is, and of several each as it came out of the shell here.
fn for_a_shell(words: &[String]) -> String {
    match words {
        [text] => text.clone(),
        words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+=:,./@%".contains(&byte);
    match !word.is_empty() && word.bytes().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reaches_the_other_shell_as_it_was_typed_here() {
        let said = |words: &[&str]| {
            for_a_shell(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            said(&["terraform state list | grep 'a b'"]),
            "terraform state list | grep 'a b'"
        );
        assert_eq!(said(&["terraform", "state", "list"]), "terraform state list");
        assert_eq!(
            said(&["terraform", "state", "rm", "a.b[\"it's\"]", "", "$HOME", "~"]),
            r#"terraform state rm 'a.b["it'\''s"]' '' '$HOME' '~'"#
        );
    }
}
