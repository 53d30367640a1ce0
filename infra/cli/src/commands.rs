//! `gantry plan`, `confirm`, `discard`, `review`, `stop` and `unblock`: what is asked of a stack or a
//! run.

use crate::{
    answers::{Command, Run, State},
    args::{Confirm, Decide, Discard, Plan, Review, Unblock},
    ended::Ended,
    error::{About as _, Error, Refusal},
    follow::{Until, end_of_log, follow, outcome},
    run_name::{self, RunName},
    safe,
    session::Session,
    show::{self, blocked_page, page, remarks},
    unpushed, words,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long a decision may take that the API does not know at once.
const LONGEST_DECISION: Duration = Duration::from_secs(120);

/// Starts a run, and follows it until a person has to decide or it has ended.
pub(crate) async fn plan(session: &mut Session, args: &Plan) -> Result<Ended, Error> {
    let slug = args.stack.as_str();
    let mut body = json!({ "type": if args.preview { "proposed" } else { "tracked" } });
    if let Some(commit) = &args.commit {
        body["commit"] = commit.as_str().into();
    }
    if !unpushed::add_unusual(session, args, &mut body)? {
        return Ok(Ended::Failed);
    }
    let command = session.post(&["stacks", slug, "runs"], &body).await;
    let command = decided(session, slug, command).await;
    let command = command.about(|| format!("start a run of {slug}"))?;
    let Some(run) = started(session, slug, command, args.no_wait).await? else {
        return Ok(Ended::Done);
    };
    let run = finish(session, &run, None, Until::Decision, true).await?;
    Ok(ended(run))
}

/// The run that was started, which is said; none when that is all there is to say.
pub(crate) async fn started(
    session: &mut Session,
    slug: &str,
    command: Command,
    no_wait: bool,
) -> Result<Option<Run>, Error> {
    let Some(id) = command.run else {
        let message = command.message.unwrap_or_default();
        session.screen.result(&safe::line(&format!("{slug}: {message}")))?;
        return Ok(None);
    };
    let run: Run = session.get_as(&["runs", &id], &[]).await?;
    let name = run.summary.name();
    let started = format!("{name} was started: {}", page(session, &run));
    if no_wait {
        session.screen.result(&safe::line(&started))?;
        return Ok(None);
    }
    session.screen.note(&started);
    // Only what it has to wait for is news.
    if let Some(message) = command.message.filter(|message| message != "Queued") {
        session.screen.note(&format!("{name}: {message}"));
    }
    Ok(Some(run))
}

/// Applies the plan that a run waits with, and follows the apply.
pub(crate) async fn confirm(session: &mut Session, args: &Confirm) -> Result<Ended, Error> {
    let run = run_name::find(session, &args.decide.run, "confirm").await?;
    let (id, name) = (run.summary.id.clone(), run.summary.name());
    is_of_its_page(session, &args.decide.run, &run)?;
    // A plan that comes later would be applied without having been seen.
    if run.summary.state != State::Unconfirmed {
        return Err(Error::Failed(format!(
            "Could not confirm {name}: it does not wait for confirmation ({}).",
            words::state(&run.summary).to_lowercase()
        )));
    }
    must_be_able_to_ask(session, &args.decide)?;
    describe(session, &run);
    if !agreed(session, args.decide.yes, &format!("Apply the plan of {name}?"))? {
        return Ok(Ended::Failed);
    }
    let seen = end_of_log(session, &id).await?;
    let mut body = said(args.comment.as_deref());
    if let Some(reason) = &args.override_reason {
        body["override_reason"] = reason.as_str().into();
    }
    let command = give(session, &run, "confirm", &body).await?;
    if args.no_wait {
        return tell(session, &name, &command, "confirmed");
    }
    let run = finish(session, &run, seen, Until::End, true).await?;
    Ok(ended(run))
}

/// Discards the plan that a run waits with.
pub(crate) async fn discard(
    session: &mut Session,
    Discard { decide: args, comment }: &Discard,
) -> Result<Ended, Error> {
    let run = run_name::find(session, &args.run, "discard").await?;
    let name = run.summary.name();
    is_of_its_page(session, &args.run, &run)?;
    must_be_able_to_ask(session, args)?;
    describe(session, &run);
    if !agreed(session, args.yes, &format!("Discard the plan of {name}?"))? {
        return Ok(Ended::Failed);
    }
    let command = give(session, &run, "discard", &said(comment.as_deref())).await?;
    tell(session, &name, &command, "discarded")
}

/// Approves or rejects the plan that a run waits with.
pub(crate) async fn review(session: &mut Session, args: &Review) -> Result<Ended, Error> {
    let run = run_name::find(session, &args.run, "review").await?;
    is_of_its_page(session, &args.run, &run)?;
    let is_approved = args.decision.approve && !args.decision.reject;
    let (decision, decided) =
        if is_approved { ("approve", "approved") } else { ("reject", "rejected") };
    let mut body = said(args.comment.as_deref());
    body["decision"] = decision.into();
    let command = give(session, &run, "review", &body).await?;
    tell(session, &run.summary.name(), &command, decided)
}

/// Ends a run.
pub(crate) async fn stop(session: &mut Session, args: &Decide) -> Result<Ended, Error> {
    let run = run_name::find(session, &args.run, "stop").await?;
    let name = run.summary.name();
    is_of_its_page(session, &args.run, &run)?;
    must_be_able_to_ask(session, args)?;
    if run.summary.state == State::Applying {
        session.screen.note(
            "It is applying: what is in flight is finished and the state is written. Commands of \
             provisioners are killed at once; their resources are replaced by the next apply.",
        );
    }
    if !agreed(session, args.yes, &format!("Stop {name}?"))? {
        return Ok(Ended::Failed);
    }
    let command = give(session, &run, "stop", &json!({})).await?;
    tell(session, &name, &command, "stopped")
}

/// Lets deploys of a stack start again, once somebody has looked.
pub(crate) async fn unblock(session: &mut Session, args: &Unblock) -> Result<Ended, Error> {
    let slug = args.stack.as_str();
    let what = || format!("unblock {slug}");
    let (stack, page) = show::stack(session, slug).await.about(what)?;
    let Some(blocked) = stack.status.blocked else {
        return Err(Error::Failed(format!("Could not {}: it is not blocked.", what())));
    };
    let reason = match &args.reason {
        Some(reason) => reason.clone(),
        None if !session.person.is_there() => {
            return Err(Error::Usage(
                "Standard input is no terminal, so nobody can be asked: say what you found with \
                 --reason."
                    .into(),
            ));
        }
        None => {
            session.screen.note(&format!(
                "{slug} is blocked ({}): {}. Check the run {}, the state, and the infrastructure \
                 itself. If a state was rescued, restore it before you unblock the stack, because \
                 the next run plans against the current one.\n  {page}",
                words::ago(blocked.since, words::now()),
                blocked.reason.trim_end_matches('.'),
                blocked.run
            ));
            answer(session, "What did you find?")?
        }
    };
    if reason.trim().is_empty() {
        session.screen.note("Nothing was done: say what you found.");
        return Ok(Ended::Failed);
    }
    let command = session.post(&["stacks", slug, "unblock"], &json!({ "reason": reason })).await;
    let command = decided(session, slug, command).await.about(what)?;
    tell(session, slug, &command, "unblocked")
}

/// Says what is decided about.
fn describe(session: &mut Session, run: &Run) {
    let of = &run.summary;
    let plan = of.delta.map_or("no plan yet".to_owned(), words::to_do);
    let mut text =
        format!("{} at {} ({}): {plan}", of.name(), of.short_commit(), safe::line(&of.git_ref));
    for (name, value) in show::options(run) {
        text.push_str(&format!("\n  {name}: {}", safe::line(&value)));
    }
    for remark in run.change.iter().flat_map(remarks) {
        text.push_str(&format!("\n  {}", safe::line(&remark)));
    }
    if let Some(approval) = &run.approval {
        text.push_str(&format!("\n  Approvals: {}", safe::line(&approval.message)));
    }
    text.push_str(&format!("\n  {}", page(session, run)));
    session.screen.note(&text);
}

/// The page of another Gantry says nothing of a run here, even where both have one of its id: one
/// may be a copy of the other.
fn is_of_its_page(session: &Session, name: &RunName, run: &Run) -> Result<(), Error> {
    let RunName::Page { base: page, .. } = name else { return Ok(()) };
    let page = page.to_string();
    let own = run.summary.page.as_deref().unwrap_or_default();
    if session.base().as_str() == page || own.starts_with(&page) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "That page is of {page}, and this would ask {}. Run `gantry login {page}`, or set \
         GANTRY_URL to it.",
        session.base()
    )))
}

/// Asks where nobody has said yes already.
pub(crate) fn agreed(session: &mut Session, is_said: bool, question: &str) -> Result<bool, Error> {
    if is_said {
        return Ok(true);
    }
    let answer = answer(session, &format!("{question} [y/N]"))?;
    let is_yes = matches!(answer.to_lowercase().as_str(), "y" | "yes");
    if !is_yes {
        session.screen.note("Nothing was done.");
    }
    Ok(is_yes)
}

/// What a person types behind a question.
pub(crate) fn answer(session: &mut Session, question: &str) -> Result<String, Error> {
    session.screen.ask(question);
    let line = session.person.line();
    let line =
        line.map_err(|error| Error::Failed(format!("Could not read the answer: {error}.")))?;
    Ok(line.trim().to_owned())
}

fn must_be_able_to_ask(session: &Session, args: &Decide) -> Result<(), Error> {
    match args.yes || session.person.is_there() {
        true => Ok(()),
        false => Err(Error::Usage(
            "Standard input is no terminal, so nobody can be asked: say --yes if you are sure."
                .into(),
        )),
    }
}

/// What is said about a decision, which an older Gantry does not take.
fn said(comment: Option<&str>) -> Value {
    comment.map_or_else(|| json!({}), |comment| json!({ "comment": comment }))
}

/// Asks for something of a run; what became of it.
async fn give(
    session: &mut Session,
    run: &Run,
    what: &str,
    body: &Value,
) -> Result<Command, Error> {
    let command = session.post(&["runs", &run.summary.id, what], body).await;
    let command = decided(session, &run.summary.stack, command).await;
    command.about(|| format!("{what} {}", run.summary.name()))
}

/// Waits until what was asked for is decided.
pub(crate) async fn decided(
    session: &mut Session,
    slug: &str,
    answer: Result<Value, Error>,
) -> Result<Command, Error> {
    let mut command: Command = session.read_as(answer?)?;
    let began = Instant::now();
    loop {
        match command.done {
            Some(true) => return Ok(command),
            Some(false) => {
                let why = command.message.unwrap_or_else(|| "it was refused".to_owned());
                return Err(Error::Refused(Refusal::new(409, why)));
            }
            None if began.elapsed() > LONGEST_DECISION => {
                return Err(Error::Failed(format!(
                    "{} has not decided yet, and may still do what was asked: look at `gantry runs \
                     {slug}`.",
                    session.base()
                )));
            }
            None => session.screen.progress("asked for", "waiting for the decision"),
        }
        tokio::time::sleep(session.look_every).await;
        command = session.get_as(&["commands", slug, &command.request], &[]).await?;
    }
}

fn tell(
    session: &mut Session,
    name: &str,
    command: &Command,
    otherwise: &str,
) -> Result<Ended, Error> {
    let message = command.message.as_deref().unwrap_or(otherwise);
    session.screen.result(&safe::line(&format!("{name}: {message}")))?;
    Ok(Ended::Done)
}

/// Follows a run, and says what it came to. None: a person pressed Ctrl-C.
pub(crate) async fn finish(
    session: &mut Session,
    run: &Run,
    after: Option<String>,
    until: Until,
    says_outcome: bool,
) -> Result<Option<Run>, Error> {
    let run = follow(session, run, after, until).await?;
    if let Some(run) = run.as_ref().filter(|_| says_outcome) {
        let blocked = blocked_page(session, run).await;
        session.screen.result(&safe::line(&outcome(run, blocked.as_deref())))?;
    }
    Ok(run)
}

pub(crate) fn ended(run: Option<Run>) -> Ended {
    run.map_or(Ended::Interrupted, |run| Ended::of(run.summary.state))
}
