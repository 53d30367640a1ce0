//! `gantry preview`: the working folder as a preview of a stack, which is never applied.

use crate::{
    answers::{State, UploadPlace},
    args::Preview,
    change,
    commands::{agreed, decided, finish, started},
    ended::Ended,
    error::{About as _, Error},
    follow::Until,
    list::json,
    pack::{self, BasedOn, Found, Packed},
    safe,
    session::Session,
    words,
};
use serde_json::json;
use std::path::Path;

/// Of files that may hold secrets, so many are named.
const NAMED: usize = 5;

/// Sends the folder, starts the run, and follows it to its end.
pub(crate) async fn preview(session: &mut Session, args: &Preview) -> Result<Ended, Error> {
    let slug = args.stack.as_str();
    let what = || format!("preview {slug}");
    let root = pack::root_of(&args.folder, session.home.as_deref())?;
    if args.list {
        return list(session, &pack::find(&root)?);
    }
    let stack = session.get(&["stacks", slug], &[]).await.about(what)?;
    has_root(&root, slug, stack["project_root"].as_str().unwrap_or_default())?;
    let found = pack::find(&root)?;
    if !may_be_sent(session, &found, args.yes)? {
        return Ok(Ended::Failed);
    }
    let based_on = pack::based_on(&root);
    let packed = pack::pack(&root, &found.sent)?;
    session.screen.note(&sending(&packed, &root, based_on.as_ref()));
    say_left_out(session, &found);
    let digest = packed.digest.clone();
    let path = ["stacks", slug, "previews"];
    let asked = json!({ "digest": digest, "size": packed.archive.len() });
    let place = session.post(&path, &asked).await.about(what)?;
    let place: UploadPlace = session.read_as(place)?;
    let path = ["stacks", slug, "previews", &digest];
    session.upload(&path, &place, packed.archive).await.about(what)?;
    let body = based_on.map_or_else(|| json!({}), |base| json!({ "commit": base.commit }));
    let path = ["stacks", slug, "previews", &digest, "start"];
    let command = session.post(&path, &body).await;
    let command = decided(session, slug, command).await.about(what)?;
    let is_quiet = args.no_wait && !args.json;
    let Some(run) = started(session, slug, command, is_quiet).await? else {
        return Ok(Ended::Done);
    };
    let id = run.summary.id.as_str();
    if args.no_wait {
        let run = session.get(&["runs", id], &[]).await?;
        return json(session, &run);
    }
    session.screen.shows_log = !args.json;
    let Some(run) = finish(session, &run, None, Until::End, !args.json).await? else {
        return Ok(Ended::Interrupted);
    };
    if args.json {
        let run = session.get(&["runs", id], &[]).await?;
        json(session, &run)?;
    } else if run.summary.state == State::Finished
        && run.summary.delta.is_some_and(|delta| delta != Default::default())
    {
        let change = session.get(&["runs", id, "change"], &[]).await;
        let change = change.about(|| format!("show the change of {}", run.summary.name()))?;
        session.screen.result(&format!("\n{}", change::text(&change)))?;
    }
    Ok(Ended::of(run.summary.state))
}

/// Whoever is in the wrong folder is told before anything is sent.
fn has_root(root: &Path, slug: &str, project_root: &str) -> Result<(), Error> {
    if root.join(project_root).is_dir() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{slug} runs in {}, which {} does not have. Name the right folder with --folder.",
        safe::line(project_root),
        safe::line(&root.to_string_lossy())
    )))
}

/// Prints what would be sent.
fn list(session: &mut Session, found: &Found) -> Result<Ended, Error> {
    for path in &found.sent {
        session.screen.result(&safe::line(&path.to_string_lossy()))?;
    }
    say_left_out(session, found);
    Ok(Ended::Done)
}

fn say_left_out(session: &mut Session, found: &Found) {
    for link in &found.left_out {
        let link = safe::line(&link.to_string_lossy());
        session.screen.note(&format!("{link} is left out: the link leads outside."));
    }
}

/// Names what may hold secrets. Whoever is there is asked; a script goes on.
fn may_be_sent(session: &mut Session, found: &Found, is_said: bool) -> Result<bool, Error> {
    let suspects = found.suspects();
    if suspects.is_empty() {
        return Ok(true);
    }
    session.screen.note(&warning(&suspects));
    let is_said = is_said || !session.person.is_there();
    agreed(session, is_said, "Send them?")
}

fn warning(suspects: &[&Path]) -> String {
    let names = suspects.iter().take(NAMED).map(|path| safe::line(&path.to_string_lossy()));
    let names = names.collect::<Vec<_>>().join(", ");
    let more = match suspects.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "These are sent too, and may hold secrets: {names}{more}. Exclude them by {}.",
        pack::IGNORES
    )
}

fn sending(packed: &Packed, root: &Path, based_on: Option<&BasedOn>) -> String {
    let base = match based_on {
        Some(BasedOn { commit, is_changed }) => {
            let changed = if *is_changed { " with uncommitted changes" } else { "" };
            format!(", based on {}{changed}", commit.get(..8).unwrap_or(commit))
        }
        None => String::new(),
    };
    format!(
        "Sending {} ({}) of {}{base}",
        words::counted(packed.files, "file"),
        words::size(packed.archive.len()),
        safe::line(&root.to_string_lossy())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_said() {
        let packed = Packed { archive: vec![0; 120_400], digest: String::new(), files: 42 };
        let commit = "4f1c2ab09d3e57f6a8b1c0d2e3f405162738495a".to_owned();
        let based_on = |is_changed| BasedOn { commit: commit.clone(), is_changed };
        let said = |base: Option<&BasedOn>| sending(&packed, Path::new("/path"), base);
        assert_eq!(said(None), "Sending 42 files (120 kB) of /path");
        let clean = "Sending 42 files (120 kB) of /path, based on 4f1c2ab0";
        assert_eq!(said(Some(&based_on(false))), clean);
        let changed = format!("{clean} with uncommitted changes");
        assert_eq!(said(Some(&based_on(true))), changed);
    }

    #[test]
    fn the_first_of_many_secrets_are_named() {
        let names = ["a.pem", "b.pem", "c.pem", "d.pem", "e.pem", "f.pem", "g.pem"].map(Path::new);
        let begin = "These are sent too, and may hold secrets: a.pem";
        let end = ". Exclude them by .terraformignore.";
        assert_eq!(warning(&names[..1]), format!("{begin}{end}"));
        let five = format!("{begin}, b.pem, c.pem, d.pem, e.pem");
        assert_eq!(warning(&names[..5]), format!("{five}{end}"));
        assert_eq!(warning(&names), format!("{five} and 2 more{end}"));
    }
}
