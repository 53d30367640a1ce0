//! Gantry from a terminal: the commands of `gantry` that talk to a Gantry elsewhere, over its HTTP
//! API. Nothing in here knows more of Gantry than that API.

mod address;
mod answers;
mod args;
mod change;
mod commands;
mod ended;
mod error;
mod follow;
mod hosts;
mod list;
mod log_text;
mod login;
mod open_page;
mod pack;
mod preview;
mod run_name;
mod safe;
mod screen;
mod session;
mod show;
mod surroundings;
mod unpushed;
mod words;

pub use args::{Command, EXIT_CODES};
pub use ended::Ended;
pub use surroundings::{Person, Stream, Surroundings};

use crate::{args::State, error::Error, run_name::RunName, screen::Screen, session::Session};

/// Carries out a command. `whole` is the program that it belongs to, whose completion script may be
/// asked for.
pub async fn run(command: Command, whole: clap::Command, around: Surroundings) -> Ended {
    // What was only listed is done when nobody reads on; what was followed is not.
    let is_list = match &command {
        Command::Logs(logs) => !logs.follow,
        Command::Plan(_) | Command::Drift(_) | Command::Task(_) => false,
        Command::Preview(preview) => preview.list,
        Command::Confirm(_) | Command::Discard(_) | Command::Review(_) => false,
        Command::Stop(_) | Command::Unblock(_) => false,
        Command::State(_) => false,
        _ => true,
    };
    let (mut screen, result) = match command {
        Command::Login(login) => login::login(login, around).await,
        Command::Logout { url } => login::logout(url.as_deref(), around),
        Command::Completion { shell } => completion(shell, whole, around),
        command => match Session::open(around, reach_of(&command), page_of(&command).as_deref()) {
            Ok(mut session) => {
                let result = carry_out(command, &mut session).await;
                (session.screen, result)
            }
            Err((screen, error)) => (*screen, Err(error)),
        },
    };
    match result {
        Ok(ended) => ended,
        Err(Error::OutputClosed) if !is_list => Ended::Failed,
        Err(error) => {
            if !matches!(error, Error::OutputClosed) {
                // The log may have stopped in the middle of a line.
                let _ = screen.end_log();
                screen.note(&format!("gantry: {error}"));
            }
            error.ended()
        }
    }
}

async fn carry_out(command: Command, session: &mut Session) -> Result<Ended, Error> {
    match command {
        Command::Stacks(stacks) => list::stacks(session, &stacks).await,
        Command::Runs(runs) => list::runs(session, &runs).await,
        Command::Show(show) => show::show(session, &show).await,
        Command::Plan(plan) => commands::plan(session, &plan).await,
        Command::Drift(drift) => unpushed::drift(session, &drift).await,
        Command::Task(task) => unpushed::task(session, &task).await,
        Command::Preview(preview) => preview::preview(session, &preview).await,
        Command::Confirm(confirm) => commands::confirm(session, &confirm).await,
        Command::Discard(discard) => commands::discard(session, &discard).await,
        Command::Review(review) => commands::review(session, &review).await,
        Command::Stop(stop) => commands::stop(session, &stop).await,
        Command::Unblock(unblock) => commands::unblock(session, &unblock).await,
        Command::Logs(logs) => follow::logs(session, &logs).await,
        Command::State(State::Pull(pull)) => list::pull_state(session, &pull).await,
        Command::Open(open) => open_page::open(session, &open).await,
        Command::Login(_) | Command::Logout { .. } | Command::Completion { .. } => Ok(Ended::Done),
    }
}

fn reach_of(command: &Command) -> &args::Reach {
    static NONE: args::Reach = args::Reach { ca_file: None, insecure_http: false };
    match command {
        Command::Login(login) => &login.reach,
        Command::Stacks(stacks) => &stacks.reach,
        Command::Runs(runs) => &runs.reach,
        Command::Show(show) => &show.reach,
        Command::Plan(plan) => &plan.reach,
        Command::Drift(drift) => &drift.reach,
        Command::Task(task) => &task.reach,
        Command::Preview(preview) => &preview.reach,
        Command::Confirm(confirm) => &confirm.decide.reach,
        Command::Discard(discard) => &discard.decide.reach,
        Command::Review(review) => &review.reach,
        Command::Stop(decide) => &decide.reach,
        Command::Unblock(unblock) => &unblock.reach,
        Command::Logs(logs) => &logs.reach,
        Command::State(State::Pull(pull)) => &pull.reach,
        Command::Open(open) => &open.reach,
        Command::Logout { .. } | Command::Completion { .. } => &NONE,
    }
}

/// The Gantry whose page was given instead of a run.
fn page_of(command: &Command) -> Option<String> {
    match command {
        Command::Open(open) => base_of(&open.what.as_deref()?.parse().ok()?),
        Command::Show(show) => base_of(&show.run),
        Command::Confirm(confirm) => base_of(&confirm.decide.run),
        Command::Discard(discard) => base_of(&discard.decide.run),
        Command::Review(review) => base_of(&review.run),
        Command::Stop(decide) => base_of(&decide.run),
        Command::Logs(logs) => base_of(&logs.run),
        _ => None,
    }
}

fn base_of(run: &RunName) -> Option<String> {
    match run {
        RunName::Page { base, .. } => Some(base.to_string()),
        _ => None,
    }
}

fn completion(
    shell: clap_complete::Shell,
    mut whole: clap::Command,
    around: Surroundings,
) -> (Screen, Result<Ended, Error>) {
    let mut screen = Screen::new(around.out, around.err, around.no_color);
    let name = whole.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole, name, &mut script);
    let result = screen.bytes(&script).and_then(|()| screen.flush()).map(|()| Ended::Done);
    (screen, result)
}
