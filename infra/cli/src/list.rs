//! `gantry stacks`, `gantry runs` and `gantry state pull`.

use crate::{
    answers::{RunSummary, Stack, StackDrift, StackStatus},
    args::{Pull, Runs, Stacks},
    ended::Ended,
    error::{About as _, Error},
    safe,
    screen::table,
    session::Session,
    words,
};
use reqwest::Method;
use serde_json::Value;
use std::collections::HashMap;

/// Of a branch's or a person's name in a table.
const LONGEST_NAME: usize = 40;

/// Lists stacks.
pub(crate) async fn stacks(session: &mut Session, args: &Stacks) -> Result<Ended, Error> {
    let search = args.search.as_deref().map(|text| ("search", text));
    let label = args.label.as_deref().map(|label| ("label", label));
    let state = args.state.as_deref().map(words::asked_matter);
    let state = state.as_deref().map(|word| ("state", word));
    let query: Vec<(&str, &str)> = search.into_iter().chain(label).chain(state).collect();
    let mut found = session.list(&["stacks"], "stacks", &query, None).await;
    found = found.about(|| "list stacks".into());
    let mut found = found?;
    if args.json {
        return json(session, &found);
    }
    let stacks: Vec<Stack> = session.read_as(found["stacks"].take())?;
    if stacks.is_empty() {
        session.screen.note(match query.is_empty() {
            true => "There are no stacks.",
            false => "No stacks match.",
        });
        return Ok(Ended::Done);
    }
    let unconfirmed = unconfirmed(session, &stacks).await?;
    let now = words::now();
    let row = |stack: &Stack| {
        let applied = stack.status.last_applied.as_ref();
        vec![
            stack.slug.clone(),
            status(&stack.status, &unconfirmed),
            applied.map_or("never".to_owned(), |applied| words::ago(applied.at, now)),
            stack.project_path.clone(),
            safe::cut(&stack.branch, LONGEST_NAME),
        ]
    };
    let rows: Vec<_> = stacks.iter().map(row).collect();
    let heading = ["STACK", "STATUS", "LAST APPLIED", "PROJECT", "BRANCH"];
    session.screen.result(&table(&heading, &rows))?;
    Ok(Ended::Done)
}

/// The names of the runs that need confirmation, by their ids; none where no stack has a deploy.
async fn unconfirmed(
    session: &mut Session,
    stacks: &[Stack],
) -> Result<HashMap<String, String>, Error> {
    if stacks.iter().all(|stack| stack.status.tracked_run.is_none()) {
        return Ok(HashMap::new());
    }
    let found = session.list(&["waiting"], "runs", &[], None).await;
    let mut found = found.about(|| "list the runs that need confirmation".into())?;
    let runs: Vec<RunSummary> = session.read_as(found["runs"].take())?;
    Ok(runs.into_iter().map(|run| (run.id.clone(), run.name())).collect())
}

/// What keeps it from running comes first.
fn status(status: &StackStatus, unconfirmed: &HashMap<String, String>) -> String {
    let word = match status {
        StackStatus { detached: Some(_), .. } => "Detached",
        StackStatus { blocked: Some(_), .. } => "Blocked",
        StackStatus { branch_missing: true, .. } => "Branch missing",
        StackStatus { applying: true, .. } => "Applying",
        StackStatus { tracked_run: Some(run), .. } => match unconfirmed.get(run) {
            Some(name) => return format!("Needs confirmation ({name})"),
            None => "Deploy in progress",
        },
        StackStatus { failed: Some(_), .. } => "Failed",
        StackStatus { drift: Some(StackDrift { found: 1.. }), .. } => "Drifted",
        _ => "Idle",
    };
    word.to_owned()
}

/// Lists runs: a stack's, or those that filters let through.
pub(crate) async fn runs(session: &mut Session, args: &Runs) -> Result<Ended, Error> {
    let slug = args.stack.as_ref().map(|stack| stack.as_str());
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let state = args.state.as_deref().map(words::asked_states);
    let kind = args.kind.as_deref().map(words::asked_kind);
    let purpose = args.purpose.as_deref().map(words::asked_purpose);
    let filters = [
        ("state", &state),
        ("type", &kind),
        ("purpose", &purpose),
        ("branch", &args.branch),
        ("author", &args.author),
        ("since", &args.since),
    ];
    let mut query: Vec<(&str, &str)> =
        filters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let is_filtered = !query.is_empty();
    let found = match slug {
        Some(slug) if !is_filtered => {
            session.list(&["stacks", slug, "runs"], "runs", &[], Some(limit)).await
        }
        slug => {
            query.extend(slug.map(|slug| ("stack", slug)));
            session.list(&["runs"], "runs", &query, Some(limit)).await
        }
    };
    let mut found = found.about(|| match slug {
        Some(slug) => format!("list the runs of {slug}"),
        None => "list runs".to_owned(),
    })?;
    if args.state.as_deref().is_some_and(words::is_asked_how_it_finished) {
        session.screen.note("All finished runs are listed, however they finished.");
    }
    if args.json {
        return json(session, &found);
    }
    let runs: Vec<RunSummary> = session.read_as(found["runs"].take())?;
    if runs.is_empty() {
        session.screen.note(&match slug {
            _ if is_filtered => "No runs match.".to_owned(),
            None => "There are no runs yet.".to_owned(),
            Some(slug) => {
                format!("{slug} has no runs yet. Push to its branch, or run `gantry plan {slug}`.")
            }
        });
        return Ok(Ended::Done);
    }
    let now = words::now();
    let row = |run: &RunSummary| {
        vec![
            run.name(),
            words::state(run).to_owned(),
            words::kind(run).to_owned(),
            run.code(),
            // What was uploaded is on no branch.
            match &run.uploaded_by {
                Some(_) => "-".to_owned(),
                None => safe::cut(&run.git_ref, LONGEST_NAME),
            },
            run.delta.map_or("-".to_owned(), |delta| {
                words::to_do(delta) + &words::and_failed_checks(run)
            }),
            words::ago(run.created_at, now),
            safe::cut(run.by.as_deref().unwrap_or("-"), LONGEST_NAME),
        ]
    };
    let rows: Vec<_> = runs.iter().map(row).collect();
    let heading = ["RUN", "STATE", "TYPE", "COMMIT", "REF", "PLAN", "STARTED", "BY"];
    session.screen.result(&table(&heading, &rows))?;
    Ok(Ended::Done)
}

/// Prints a document as the API's JSON.
pub(crate) fn json(session: &mut Session, document: &Value) -> Result<Ended, Error> {
    session.screen.result(&safe::json(document))?;
    Ok(Ended::Done)
}

/// Prints a stack's state as the API sends it.
pub(crate) async fn pull_state(session: &mut Session, args: &Pull) -> Result<Ended, Error> {
    let slug = args.stack.as_str();
    let path = ["stacks", slug, "state", "current"];
    let response = session.send(Method::GET, &path, &[], None).await;
    let mut response = response.about(|| format!("pull the state of {slug}"))?;
    let is_terminal = session.screen.is_terminal();
    let (mut shown, mut is_first) = (Vec::new(), true);
    loop {
        let piece = response.chunk().await.map_err(|problem| {
            Error::Failed(format!(
                "The state of {slug} is incomplete: the connection broke ({problem})."
            ))
        })?;
        if is_first
            && !piece.as_ref().is_some_and(|piece| piece.trim_ascii_start().starts_with(b"{"))
        {
            return Err(Error::Failed(format!(
                "{} answered with something that is no state. Is something in front of it?",
                session.base()
            )));
        }
        is_first = false;
        match piece {
            Some(piece) if is_terminal => shown.extend_from_slice(&piece),
            Some(piece) => session.screen.bytes(&piece)?,
            None => break,
        }
    }
    if is_terminal {
        session.screen.result(&safe::lines(&String::from_utf8_lossy(&shown)))?;
    }
    session.screen.flush()?;
    Ok(Ended::Done)
}
