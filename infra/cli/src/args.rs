//! What can be typed: the commands, their arguments and their help.

use crate::{address::Slug, run_name::RunName};
use clap::{Args, Subcommand, builder::FalseyValueParser};
use clap_complete::Shell;
use std::path::PathBuf;

/// What a script can tell from how a command ended; for the end of a program's help.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done: applied, no changes, previewed, or shown
  1    failed, refused, or not reachable
  2    wrong usage
  3    needs confirmation: a plan with changes is waiting
  4    discarded, canceled or stopped; an apply that was stopped has failed (1)
  5    drifted: `gantry drift` found what was changed elsewhere
  130  interrupted with Ctrl-C; the run goes on";

/// The commands that talk to a Gantry elsewhere.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store the address and access key of a Gantry, and use it from now on.
    #[command(after_help = LOGIN_HELP)]
    Login(Login),
    /// Forget the stored key of a Gantry.
    Logout {
        /// Its address; the current one if omitted.
        url: Option<String>,
    },
    /// List stacks.
    Stacks(Stacks),
    /// List runs, of all stacks or of one, newest first.
    #[command(after_help = RUNS_HELP)]
    Runs(Runs),
    /// Show a run: its state, its plan in numbers, and what to do next.
    Show(Show),
    /// Start a run, follow its log, and end when it needs confirmation or has ended.
    #[command(after_help = EXIT_CODES)]
    Plan(Plan),
    /// Look for what was changed outside of the code since the last apply. Never applied.
    #[command(after_help = EXIT_CODES)]
    Drift(Drift),
    /// Run a command in a stack's workspace, with what its deploys get.
    #[command(after_help = EXIT_CODES)]
    Task(Task),
    /// Preview the working folder, uncommitted changes included. Never applied.
    #[command(after_help = PREVIEW_HELP)]
    Preview(Preview),
    /// Apply the plan of a run that needs confirmation, and follow the apply.
    #[command(after_help = EXIT_CODES)]
    Confirm(Confirm),
    /// Discard the plan of a run that needs confirmation.
    #[command(after_help = EXIT_CODES)]
    Discard(Discard),
    /// Approve or reject the plan of a run that needs confirmation. Needs a key of your own.
    #[command(after_help = EXIT_CODES)]
    Review(Review),
    /// Stop a run: a plan ends at once, an apply finishes what is in flight.
    #[command(after_help = EXIT_CODES)]
    Stop(Decide),
    /// Unblock a stack after a lost apply, once you have looked. Needs an admin key.
    Unblock(Unblock),
    /// Print a run's log.
    #[command(after_help = EXIT_CODES)]
    Logs(Logs),
    /// Terraform state that Gantry stores.
    #[command(subcommand)]
    State(State),
    /// Open a page in the browser.
    Open(Open),
    /// Print the completion script of a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
}

/// By what runs can be listed: each state and type in the API's words, and in those of the list.
pub(crate) const RUNS_HELP: &str = "\
States, each by either of its words:
  queued, preparing, initializing, planning, unconfirmed (needs confirmation), confirmed, applying,
  destroying, testing, finished (applied, no changes, planned, passed, drifted, no drift or done: the
  API has one state for all of them), failed, stopped, canceled, discarded

Types, each by either of its words:
  tracked (deploy), proposed (preview), test. Module tests are tracked or proposed.

What runs are for that nobody pushed:
  drift (drift check), schedule, task, replan (previews that were planned again after an apply)";

const PREVIEW_HELP: &str = "\
In a Git work tree, all of it is sent; otherwise the folder itself.
Not sent: what .gitignore and .terraformignore exclude, .git, .terraform, *.tfstate*, *.tfplan,
.ssh, .aws, .gnupg, .netrc and the file with the keys of `gantry login`. --list shows what is left.
The stack must allow it: an admin sets that on its page. The key needs the role deploy.
At most 50 MB can be sent, packed. While 50 folders or 1 GB of them wait or run for the stack, no
other one is accepted: stop a preview, or wait until one has ended.

The exit codes are those of `gantry plan`, without 3.";

const LOGIN_HELP: &str = "\
The key is asked for without being shown, or read from --key-file, or from standard input when that
is not a terminal. It is stored in a file that only you can read.

Log in to several, and log in to one again to switch to it.
GANTRY_URL and GANTRY_KEY take precedence over what is stored. GANTRY_KEY needs GANTRY_URL.";

/// How the Gantry is reached.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Reach {
    /// A file with certificates (PEM) to trust besides the system's own.
    #[arg(long, env = "GANTRY_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Allow http:// to other machines: the key is then sent unencrypted.
    #[arg(long, env = "GANTRY_INSECURE_HTTP", value_parser = FalseyValueParser::new())]
    pub(crate) insecure_http: bool,
}

/// `gantry login`
#[derive(Debug, Args)]
pub struct Login {
    /// The address of the Gantry (https://gantry.example.com).
    pub(crate) url: String,
    /// Read the access key from this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `gantry stacks`
#[derive(Debug, Args)]
pub struct Stacks {
    /// Only stacks with these words in their slug, name, project or labels.
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Only stacks with this label.
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// Only stacks that want attention for this: unconfirmed, failed, blocked, drifted or running.
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<String>,
    /// Print the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `gantry runs`
#[derive(Debug, Args)]
pub struct Runs {
    /// The stack's slug; all stacks without one.
    pub(crate) stack: Option<Slug>,
    /// Only runs in this state, or in one of several with commas between; active for all that have
    /// not ended.
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<String>,
    /// Only runs of this type: deploy, preview or test.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Only runs that nobody pushed, for this: drift, schedule, task or replan.
    #[arg(long, value_name = "WORD")]
    pub(crate) purpose: Option<String>,
    /// Only runs of this branch or tag.
    #[arg(long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Only runs whose commit is by somebody of this name, or that they started.
    #[arg(long, value_name = "NAME")]
    pub(crate) author: Option<String>,
    /// Only runs since then: a date such as 2026-11-30, or a time.
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<String>,
    /// How many runs to list.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) limit: u32,
    /// Print the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `gantry show`
#[derive(Debug, Args)]
pub struct Show {
    /// The run: network#6, its id, or the address of its page.
    pub(crate) run: RunName,
    /// Also show what its plan would change.
    #[arg(long)]
    pub(crate) change: bool,
    /// Print the API's JSON: the run's, or with --change the change's.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `gantry plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// The stack's slug.
    pub(crate) stack: Slug,
    /// Only preview: the plan is never applied.
    #[arg(long)]
    pub(crate) preview: bool,
    /// A full commit id of the tracked branch; its latest commit if omitted.
    #[arg(long, value_name = "SHA")]
    pub(crate) commit: Option<String>,
    /// Only start the run.
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) unusual: Unusual,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What is unusual about a plan.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Plan in another way")]
pub(crate) struct Unusual {
    /// Destroy everything that the stack holds. Asks for the stack's slug. Needs an admin key, or the
    /// right to edit the stack.
    #[arg(long, conflicts_with_all = ["refresh_only", "replace"])]
    pub(crate) destroy: bool,
    /// The stack's slug, where no terminal is there to ask on.
    #[arg(long, value_name = "STACK", requires = "destroy")]
    pub(crate) confirm_slug: Option<String>,
    /// Only take over into the state what was changed elsewhere.
    #[arg(long, conflicts_with = "replace")]
    pub(crate) refresh_only: bool,
    /// Plan only this resource or module, and what it depends on. Can be repeated.
    #[arg(long = "target", value_name = "ADDRESS")]
    pub(crate) targets: Vec<String>,
    /// Replace this resource whether it changed or not. Can be repeated.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) replace: Vec<String>,
    /// An environment variable of this run alone, such as TF_VAR_size=3. Can be repeated.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) variables: Vec<(String, String)>,
    /// The same with a value that is encrypted and hidden: that of your own environment variable of
    /// this name. Can be repeated.
    #[arg(long = "secret", value_name = "NAME")]
    pub(crate) secrets: Vec<String>,
}

fn assignment(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("should look like TF_VAR_size=3")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `gantry drift`
#[derive(Debug, Args)]
pub struct Drift {
    /// The stack's slug.
    pub(crate) stack: Slug,
    /// Only start the run.
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `gantry task`
#[derive(Debug, Args)]
pub struct Task {
    /// The stack's slug.
    pub(crate) stack: Slug,
    /// Only start it.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// What is run, behind --: a command with its arguments, or one text for the shell.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `gantry preview`
#[derive(Debug, Args)]
pub struct Preview {
    /// The stack's slug.
    pub(crate) stack: Slug,
    /// A folder of the work tree, or the folder to send.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Only print the paths that would be sent.
    #[arg(long, conflicts_with_all = ["json", "no_wait"])]
    pub(crate) list: bool,
    /// Do not ask whether to send what may hold secrets.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print the API's JSON of the run instead of its log and change.
    #[arg(long)]
    pub(crate) json: bool,
    /// Only start the run.
    #[arg(long, visible_alias = "no-follow")]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `gantry confirm`
#[derive(Debug, Args)]
pub struct Confirm {
    #[command(flatten)]
    pub(crate) decide: Decide,
    /// What you want to say about it: shown with the run and in the activity log.
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// Why the rules about who confirms do not count for once. Needs an admin key.
    #[arg(long, value_name = "TEXT")]
    pub(crate) override_reason: Option<String>,
    /// Do not wait for the apply.
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// `gantry discard`
#[derive(Debug, Args)]
pub struct Discard {
    #[command(flatten)]
    pub(crate) decide: Decide,
    /// What you want to say about it: shown with the run and in the activity log.
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
}

/// `gantry review`
#[derive(Debug, Args)]
pub struct Review {
    /// The run: network#6, its id, or the address of its page.
    pub(crate) run: RunName,
    #[command(flatten)]
    pub(crate) decision: Decision,
    /// What you want to say about it: shown with the run and in the activity log.
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// One of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Decision {
    /// Approve the plan.
    #[arg(long)]
    pub(crate) approve: bool,
    /// Reject it: it is not applied until you decide otherwise.
    #[arg(long)]
    pub(crate) reject: bool,
}

/// `gantry stop`, and what all three of them have.
#[derive(Debug, Args)]
pub struct Decide {
    /// The run: network#6, its id, or the address of its page.
    pub(crate) run: RunName,
    /// Do not ask. Required where no terminal is there to ask on.
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `gantry unblock`
#[derive(Debug, Args)]
pub struct Unblock {
    /// The stack's slug.
    pub(crate) stack: Slug,
    /// What you found: shown with the run. Asked for if omitted, which needs a terminal.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `gantry logs`
#[derive(Debug, Args)]
pub struct Logs {
    /// The run: network#6, its id, or the address of its page.
    pub(crate) run: RunName,
    /// Go on until the run has ended.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Print the API's JSON.
    #[arg(long, conflicts_with = "follow")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `gantry state`
#[derive(Debug, Subcommand)]
pub enum State {
    /// Print the current state of a stack. Needs an admin key.
    Pull(Pull),
}

/// `gantry state pull`
#[derive(Debug, Args)]
pub struct Pull {
    /// The stack's slug.
    pub(crate) stack: Slug,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// `gantry open`
#[derive(Debug, Args)]
pub struct Open {
    /// A stack's or module's slug, or a run; the overview if omitted.
    #[arg(value_name = "STACK|RUN")]
    pub(crate) what: Option<String>,
    /// Only print the address.
    #[arg(long)]
    pub(crate) print: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(subcommand)]
        _command: Command,
    }

    #[test]
    fn arguments_are_read_or_refused_with_their_reason() {
        <Cli as clap::CommandFactory>::command().debug_assert();
        let read = |line: &str| Cli::try_parse_from(line.split(' '));
        let refused = |line: &str| {
            let error = read(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            error.to_string()
        };
        for good in [
            "gantry stacks --search net --label live --json",
            "gantry runs network --limit 5",
            "gantry runs --type Deploy --state Applied",
            "gantry stacks --state drifted",
            "gantry runs --purpose drift",
            "gantry plan network --target module.a --target b.c --replace d.e --var A=b=c",
            "gantry plan network --destroy --confirm-slug network --target module.a --secret TOKEN",
            "gantry plan network --preview --refresh-only",
            "gantry drift network --no-wait",
            "gantry task network -- terraform state list --help",
            "gantry show network#6 --change",
            "gantry preview network --folder infra --json --no-follow -y",
            "gantry preview network --list",
            "gantry confirm -y https://gantry.example.com/runs/r-1 --comment go",
            "gantry confirm network#6 --override-reason fire",
            "gantry discard network#6 --comment wait",
            "gantry review network#6 --approve --comment fine",
            "gantry review --reject r-8c41d7",
            "gantry unblock network --reason looked",
            "gantry logs r-8c41d7 -f",
            "gantry state pull network",
            "gantry open",
            "gantry completion zsh",
        ] {
            read(good).unwrap();
        }
        assert!(refused("gantry show network#six").contains("network#6"));
        assert!(refused("gantry runs Network").contains("a stack's slug"));
        refused("gantry runs network --limit 0");
        refused("gantry plan network --destroy --refresh-only");
        refused("gantry plan network --destroy --replace a.b");
        refused("gantry plan network --confirm-slug network");
        assert!(refused("gantry plan network --var size").contains("TF_VAR_size=3"));
        refused("gantry task network");
        refused("gantry task network true");
        refused("gantry logs r-1 --json --follow");
        refused("gantry preview network --list --json");
        refused("gantry stop network#6 --comment wait");
        refused("gantry review network#6");
        refused("gantry review network#6 --approve --reject");
        refused("gantry login https://gantry.example.com a-key");
    }
}
