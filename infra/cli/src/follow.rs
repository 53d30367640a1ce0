//! Following a run: its log as it comes, its state while it comes, and what it came to; and `gantry
//! logs`.

use crate::{
    answers::{Kind, LogPart, Run, State},
    args::Logs,
    ended::Ended,
    error::{About as _, Error},
    list::json,
    run_name,
    session::Session,
    show, words,
};
use serde_json::{Value, json};
use std::{cell::Cell, time::Instant};

/// How often in a row a Gantry may be unreachable while a run is followed: about two minutes.
const MOST_FAILURES: u32 = 10;

/// When enough was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The run has ended, or a person has to decide.
    Decision,
    /// The run has ended.
    End,
}

/// Writes a run's log from a place on, until enough was seen. None: a person pressed Ctrl-C.
pub(crate) async fn follow(
    session: &mut Session,
    run: &Run,
    after: Option<String>,
    until: Until,
) -> Result<Option<Run>, Error> {
    let name = run.summary.name();
    let state = Cell::new(run.summary.state);
    let interrupted = tokio::select! {
        result = watch(session, run, after, until, &state) => Some(result),
        // Where it cannot be listened for, the process ends as any other does.
        Ok(()) = tokio::signal::ctrl_c() => None,
    };
    let Some(result) = interrupted else {
        session.screen.end_log()?;
        let how = match state.get() {
            State::Unconfirmed | State::Confirmed => "gantry discard",
            _ => "gantry stop",
        };
        session.screen.note(&format!(
            "{name} goes on. To see more of it: gantry logs {name} --follow. To end it: {how} \
             {name}."
        ));
        return Ok(None);
    };
    result.map(Some)
}

async fn watch(
    session: &mut Session,
    run: &Run,
    mut after: Option<String>,
    until: Until,
    state: &Cell<State>,
) -> Result<Run, Error> {
    let (id, name) = (run.summary.id.as_str(), run.summary.name());
    let (mut failures, mut known, mut since) = (0, None, Instant::now());
    loop {
        match look(session, id, &mut after).await {
            Ok(run) => {
                failures = 0;
                let now = run.summary.state;
                let waits = now == State::Unconfirmed;
                if now.is_final() || (waits && until == Until::Decision) {
                    return Ok(run);
                }
                if known.replace(now) != Some(now) {
                    since = Instant::now();
                    if waits {
                        session.screen.note(&needs_confirmation(&run));
                    }
                }
                state.set(now);
                let mut how_long = words::span(since.elapsed().as_secs());
                if let Some(waits_for) = &run.waits_for {
                    how_long.push_str(&format!("; {waits_for}"));
                }
                let what = format!("{name}: {}", words::state(&run.summary).to_lowercase());
                session.screen.progress(&what, &how_long);
            }
            Err(error) if failures < MOST_FAILURES && passes(&error) => {
                if failures == 0 {
                    session.screen.note(&format!("{error} The run goes on; trying again."));
                }
                failures += 1;
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(session.look_every * 2u32.pow(failures.min(4))).await;
    }
}

/// What may be over soon.
fn passes(error: &Error) -> bool {
    match error {
        Error::Unreachable(_) => true,
        Error::Refused(refusal) => matches!(refusal.status, 429 | 500..),
        _ => false,
    }
}

/// The run, and all that it has logged since.
async fn look(session: &mut Session, id: &str, after: &mut Option<String>) -> Result<Run, Error> {
    let run = session.get_as(&["runs", id], &[]).await?;
    write_log(session, id, after).await?;
    Ok(run)
}

/// Writes what is there of a log behind a place.
async fn write_log(
    session: &mut Session,
    id: &str,
    after: &mut Option<String>,
) -> Result<(), Error> {
    loop {
        let query = after.as_deref().map(|after| ("after", after));
        let path = ["runs", id, "log"];
        let part: LogPart = session.get_as(&path, query.as_slice()).await?;
        for piece in &part.pieces {
            session.screen.log(&piece.text)?;
        }
        let more = part.more;
        let next = part.next.or_else(|| after.clone());
        if more {
            session.must_go_on(after.as_ref(), next.as_ref())?;
        }
        *after = next;
        if !more {
            return Ok(());
        }
    }
}

/// Where the log ends now.
pub(crate) async fn end_of_log(session: &mut Session, id: &str) -> Result<Option<String>, Error> {
    let part: LogPart = session.get_as(&["runs", id, "log"], &[("before", "end")]).await?;
    Ok(part.next)
}

/// `gantry logs`
pub(crate) async fn logs(session: &mut Session, args: &Logs) -> Result<Ended, Error> {
    let run = run_name::find(session, &args.run, "read the log of").await?;
    let (id, name) = (run.summary.id.as_str(), run.summary.name());
    if args.json {
        let log = whole_log(session, id).await.about(|| format!("read the log of {name}"))?;
        return json(session, &log);
    }
    if !args.follow {
        let written = write_log(session, id, &mut None).await;
        written.about(|| format!("read the log of {name}"))?;
        session.screen.end_log()?;
        return Ok(Ended::Done);
    }
    let Some(run) = follow(session, &run, None, Until::End).await? else {
        return Ok(Ended::Interrupted);
    };
    session.screen.end_log()?;
    let blocked = show::blocked_page(session, &run).await;
    session.screen.note(&outcome(&run, blocked.as_deref()));
    Ok(Ended::of(run.summary.state))
}

/// The log as one document.
async fn whole_log(session: &mut Session, id: &str) -> Result<Value, Error> {
    let mut pieces: Vec<Value> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let query = after.as_deref().map(|after| ("after", after));
        let mut part = session.get(&["runs", id, "log"], query.as_slice()).await?;
        if let Value::Array(found) = part["pieces"].take() {
            pieces.extend(found);
        }
        let next = part["next"].as_str().map(str::to_owned).or_else(|| after.clone());
        if part["more"] == true {
            session.must_go_on(after.as_ref(), next.as_ref())?;
        }
        after = next;
        if part["more"] != true {
            let ended = part["ended"] == true;
            return Ok(json!({ "pieces": pieces, "next": after, "more": false, "ended": ended }));
        }
    }
}

fn needs_confirmation(run: &Run) -> String {
    let name = run.summary.name();
    let plan = run.summary.delta.map(words::to_do).unwrap_or_default();
    let checks = words::and_failed_checks(&run.summary);
    format!(
        "{name} needs confirmation: {plan}{checks}. To apply it: gantry confirm {name}. To discard \
         it: gantry discard {name}."
    )
}

/// What a run came to, and what to do next. `blocked` is the page of the stack that it has blocked.
pub(crate) fn outcome(run: &Run, blocked: Option<&str>) -> String {
    let of = &run.summary;
    let name = of.name();
    let why = of.summary.as_deref().unwrap_or_default().trim_end_matches('.');
    let why = if why.is_empty() { ".".to_owned() } else { format!(": {why}.") };
    let delta = of.delta.unwrap_or_default();
    let checks = words::and_failed_checks(of);
    if let Some(page) = blocked {
        return format!(
            "{name} failed{why} The stack is blocked until somebody has looked and unblocks it \
             (gantry unblock {}): {page}",
            of.stack
        );
    }
    match of.state {
        State::Unconfirmed => needs_confirmation(run),
        State::Finished => match of.kind {
            _ if of.module => format!("{name} passed."),
            _ if of.has_drifted() => format!(
                "{name} found drift: {}. To see all of it: gantry show {name} --change. To bring it \
                 back: gantry plan {stack} --commit {commit}. To accept it: gantry plan {stack} \
                 --commit {commit} --refresh-only.",
                words::to_do(delta),
                stack = of.stack,
                commit = of.commit,
            ),
            _ if of.is_drift() => format!("{name} found no drift."),
            _ if of.is_task() => format!("{name} is done."),
            Kind::Proposed if of.delta.is_some_and(|delta| delta != Default::default()) => format!(
                "{name} is planned: {}{checks}. To see all of it: gantry show {name} --change.",
                words::to_do(delta)
            ),
            Kind::Proposed => format!("{name} is planned: no changes{checks}."),
            Kind::Test => format!("{name} passed."),
            _ if of.applied => format!("{name} is applied: {}{checks}.", words::did(delta)),
            _ => format!("{name}: no changes{checks}."),
        },
        State::Failed => {
            let again = match of.uploaded_by {
                Some(_) => "preview",
                None if of.is_drift() => "drift",
                None => "plan",
            };
            let next = match was_stopped(run) {
                // Its command is not known here.
                _ if of.is_task() => "Fix the cause, then run it again.".to_owned(),
                true if of.is_drift() => format!("To look again: gantry drift {}.", of.stack),
                true => format!("To plan again: gantry {again} {}.", of.stack),
                false => format!("Fix the cause, then run `gantry {again} {}`.", of.stack),
            };
            format!("{name} failed{why} {next}")
        }
        State::Stopped => format!("{name} was stopped{why}"),
        State::Canceled => format!("{name} was canceled{why}"),
        State::Discarded => format!("{name} was discarded{why}"),
        _ => format!("{name} is {}.", words::state(of).to_lowercase()),
    }
}

/// A person stopped the apply, which then counts as failed. Of a time limit the cause is to be fixed.
fn was_stopped(run: &Run) -> bool {
    run.ending.as_ref().is_some_and(|ending| ending.interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(kind: &str, state: &str, change: u64, applied: bool, summary: &str) -> Run {
        serde_json::from_value(json!({
            "id": "r-1", "number": 6, "stack": "network", "type": kind, "state": state,
            "commit": "4f1c2ab09d3e57f6a8b1c0d2e3f405162738495a", "git_ref": "main",
            "reason": "", "by": null, "delta": { "change": change }, "applied": applied,
            "summary": (!summary.is_empty()).then_some(summary),
            "created_at": "2026-03-02T09:30:00Z", "since": "2026-03-02T09:30:00Z", "page": null,
        }))
        .unwrap()
    }

    fn module(mut run: Run) -> Run {
        run.summary.module = true;
        run
    }

    fn stopped(by: &str, interrupted: bool) -> Run {
        let summary = format!("Interrupted by {by}");
        let ended = run("tracked", "failed", 1, false, &summary);
        let ending =
            serde_json::from_value(json!({ "summary": summary, "interrupted": interrupted }));
        Run { stop_asked: Some(by.to_owned()), ending: Some(ending.unwrap()), ..ended }
    }

    fn uploaded(mut run: Run) -> Run {
        run.summary.uploaded_by = Some("ada".to_owned());
        run
    }

    fn meant_for(purpose: Value, mut run: Run) -> Run {
        run.summary.purpose = Some(serde_json::from_value(purpose).unwrap());
        run
    }

    #[test]
    fn what_nobody_pushed_ends_in_its_own_words() {
        let drift = |state: &str, change: u64| {
            meant_for(json!({ "kind": "drift" }), run("proposed", state, change, false, ""))
        };
        let task = |state: &str| {
            let purpose = json!({ "kind": "task", "command": "true" });
            meant_for(purpose, run("tracked", state, 0, false, ""))
        };
        let all = [
            drift("finished", 2),
            drift("finished", 0),
            drift("failed", 0),
            task("finished"),
            task("failed"),
        ];
        let said: Vec<_> = all.iter().map(|run| outcome(run, None)).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        network#6 found drift: 0 to add, 2 to change, 0 to destroy. To see all of it: gantry show network#6 --change. To bring it back: gantry plan network --commit 4f1c2ab09d3e57f6a8b1c0d2e3f405162738495a. To accept it: gantry plan network --commit 4f1c2ab09d3e57f6a8b1c0d2e3f405162738495a --refresh-only.
        network#6 found no drift.
        network#6 failed. Fix the cause, then run `gantry drift network`.
        network#6 is done.
        network#6 failed. Fix the cause, then run it again.
        ");
    }

    fn checked(mut run: Run) -> Run {
        run.summary.failing_checks = 1;
        run
    }

    #[test]
    fn checks_that_failed_are_said_behind_the_counts() {
        let all = [
            run("tracked", "unconfirmed", 1, false, ""),
            run("tracked", "finished", 1, true, ""),
            run("tracked", "finished", 0, false, ""),
            run("proposed", "finished", 1, false, ""),
            run("proposed", "finished", 0, false, ""),
        ];
        let said: Vec<_> = all.map(checked).iter().map(|run| outcome(run, None)).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        network#6 needs confirmation: 0 to add, 1 to change, 0 to destroy, 1 check failed. To apply it: gantry confirm network#6. To discard it: gantry discard network#6.
        network#6 is applied: 0 added, 1 changed, 0 destroyed, 1 check failed.
        network#6: no changes, 1 check failed.
        network#6 is planned: 0 to add, 1 to change, 0 to destroy, 1 check failed. To see all of it: gantry show network#6 --change.
        network#6 is planned: no changes, 1 check failed.
        ");
    }

    #[test]
    fn what_a_run_came_to_is_said_with_what_to_do_next() {
        let all = [
            run("tracked", "unconfirmed", 1, false, ""),
            run("tracked", "finished", 1, true, ""),
            run("tracked", "finished", 0, false, ""),
            run("proposed", "finished", 1, false, ""),
            run("proposed", "finished", 0, false, ""),
            module(run("tracked", "finished", 0, false, "")),
            run("tracked", "failed", 0, false, "Error: No such file."),
            stopped("ada", true),
            stopped("the time limit of 2 h", false),
            uploaded(run("proposed", "failed", 0, false, "Error: No such file.")),
            run("tracked", "stopped", 0, false, "Stopped by ada"),
            run("tracked", "canceled", 0, false, ""),
            run("tracked", "discarded", 1, false, "Superseded by a newer run"),
        ];
        let mut said: Vec<_> = all.iter().map(|run| outcome(run, None)).collect();
        let lost = run("tracked", "failed", 0, false, "Result unknown");
        said.push(outcome(&lost, Some("https://gantry.example.com/stacks/network")));
        insta::assert_snapshot!(said.join("\n"), @r"
        network#6 needs confirmation: 0 to add, 1 to change, 0 to destroy. To apply it: gantry confirm network#6. To discard it: gantry discard network#6.
        network#6 is applied: 0 added, 1 changed, 0 destroyed.
        network#6: no changes.
        network#6 is planned: 0 to add, 1 to change, 0 to destroy. To see all of it: gantry show network#6 --change.
        network#6 is planned: no changes.
        network#6 passed.
        network#6 failed: Error: No such file. Fix the cause, then run `gantry plan network`.
        network#6 failed: Interrupted by ada. To plan again: gantry plan network.
        network#6 failed: Interrupted by the time limit of 2 h. Fix the cause, then run `gantry plan network`.
        network#6 failed: Error: No such file. Fix the cause, then run `gantry preview network`.
        network#6 was stopped: Stopped by ada.
        network#6 was canceled.
        network#6 was discarded: Superseded by a newer run.
        network#6 failed: Result unknown. The stack is blocked until somebody has looked and unblocks it (gantry unblock network): https://gantry.example.com/stacks/network
        ");
    }
}
