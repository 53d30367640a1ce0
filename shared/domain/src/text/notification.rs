//! What notifications say: a title, and what stands below it. They are read outside of GitLab, often by
//! more people than may see a plan: counts, names and titles only.

use super::{clean_line, counted};
use crate::{StackSlug, TargetName, drift::Drift, plan::Delta, run::Run, stack::Blocked};
use jiff::{Timestamp, civil::Date};

/// How long what others wrote may be, in characters.
const TITLE: usize = 120;
const NAME: usize = 100;

/// A notification in words: clean, and without the marks of any chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// One line.
    pub title: String,
    /// One line, or a few.
    pub text: String,
}

impl Words {
    fn new(title: impl Into<String>, text: impl Into<String>) -> Self {
        Self { title: title.into(), text: text.into() }
    }
}

/// A run whose plan was shown.
pub fn needs_confirmation(run: &Run) -> Words {
    let delta = run.delta.unwrap_or_default();
    Words::new(
        format!("{} #{} needs confirmation", run.slug, run.number),
        format!("{delta}\n{}", code(run)),
    )
}

/// A run that failed. Why is for those who may see it.
pub fn failed(run: &Run) -> Words {
    Words::new(
        format!("{} #{} failed", run.slug, run.number),
        format!("{}\n{}", what(run), code(run)),
    )
}

/// A run that was applied.
pub fn applied(run: &Run) -> Words {
    let done = run.delta.as_ref().map(Delta::done).unwrap_or_default();
    Words::new(
        format!("{} #{} was applied", run.slug, run.number),
        format!("{done}\n{}", code(run)).trim_start().to_owned(),
    )
}

/// A stack that is blocked.
pub fn blocked(slug: &StackSlug, blocked: &Blocked) -> Words {
    let reason = clean_line(&blocked.reason, 300);
    let reason = reason.trim_end_matches('.');
    Words::new(
        format!("{slug} is blocked"),
        format!("{reason}. Nothing is deployed until somebody unblocks it."),
    )
}

/// A stack that has drifted.
pub fn drifted(slug: &StackSlug, drift: &Drift) -> Words {
    let found = usize::try_from(drift.found).unwrap_or(usize::MAX);
    let verb = if found == 1 { "differs" } else { "differ" };
    let mut text = format!("{} {verb} from what was applied", counted(found, "item"));
    if drift.tolerated > 0 {
        text.push_str(&format!(", and {} tolerated", more(drift.tolerated)));
    }
    Words::new(format!("{slug} has drifted"), text + ".")
}

fn more(tolerated: u32) -> String {
    match tolerated {
        1 => "1 more is".to_owned(),
        count => format!("{count} more are"),
    }
}

/// GitLab does not work: whether it rejects the token, or limits calls.
pub fn integration_broken(token_rejected: bool, rate_limited: bool, since: Timestamp) -> Words {
    let (title, next) = match (token_rejected, rate_limited) {
        (true, _) => (
            "GitLab rejects Gantry's token",
            "Until an admin replaces it, everything waits, and nothing is lost.",
        ),
        (_, true) => (
            "GitLab is rate limiting Gantry",
            "Gantry keeps retrying; until then everything waits, and nothing is lost.",
        ),
        _ => (
            "GitLab is not responding as expected",
            "Gantry keeps retrying; until then everything waits, and nothing is lost.",
        ),
    };
    Words::new(title, format!("Since {}. {next}", since.strftime("%Y-%m-%d %H:%M UTC")))
}

/// The token for GitLab is near its end.
pub fn token_expires(on: Date, days_left: i32) -> Words {
    let (verb, when) = match days_left {
        ..=0 => ("expired", "From now on".to_owned()),
        1 => ("expires", "From tomorrow on".to_owned()),
        days => ("expires", format!("In {days} days")),
    };
    Words::new(
        format!("Gantry's GitLab token {verb} on {on}"),
        format!("{when}, nothing works any more until an admin replaces it."),
    )
}

/// Somebody tries a target.
pub fn test(target: &TargetName) -> Words {
    Words::new("This is a test", format!("Gantry's notifications for {target} arrive here."))
}

/// What a run is for.
fn what(run: &Run) -> &'static str {
    if run.is_drift() {
        "Check for drift"
    } else if run.task().is_some() {
        "Task"
    } else if run.module {
        "Module tests"
    } else {
        run.run_type.label()
    }
}

/// `main at 01234567: Add the network, by Ada Lovelace @ada`
fn code(run: &Run) -> String {
    let (branch, commit) = (clean_line(&run.git_ref, NAME), run.commit.short());
    let title = match clean_line(&run.commit_line.title, TITLE) {
        title if title.is_empty() => title,
        title => format!(": {title}"),
    };
    let by = run.by.as_deref().map(|by| format!("\nStarted by {}", clean_line(by, NAME)));
    format!("{branch} at {commit}{title}{}", by.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        CommitLine,
        run::{RunType, Unpushed},
    };

    fn run() -> Run {
        let golden = include_str!("../../../store/golden/v1/run.json");
        let run: Run = serde_json::from_str(golden).unwrap();
        Run {
            run_type: RunType::Tracked,
            test: None,
            module: false,
            unpushed: None,
            slug: "network".parse().unwrap(),
            number: 7,
            commit: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            git_ref: "main".to_owned(),
            commit_line: CommitLine::new("Add the\nnetwork", "Ada"),
            by: None,
            delta: Some(Delta { add: 1, ..Delta::default() }),
            ..run
        }
    }

    fn said(words: Words) -> String {
        format!("{}\n{}", words.title, words.text)
    }

    #[test]
    fn what_is_said_of_runs() {
        insta::assert_snapshot!(said(needs_confirmation(&run())), @"
        network #7 needs confirmation
        1 to add, 0 to change, 0 to destroy
        main at 01234567: Add the network
        ");
        let by = Run { by: Some("Ada Lovelace @ada".to_owned()), ..run() };
        insta::assert_snapshot!(said(applied(&by)), @"
        network #7 was applied
        1 added, 0 changed, 0 destroyed
        main at 01234567: Add the network
        Started by Ada Lovelace @ada
        ");
        let untitled = Run { commit_line: CommitLine::default(), ..run() };
        insta::assert_snapshot!(said(failed(&untitled)), @"
        network #7 failed
        Deploy
        main at 01234567
        ");
        let drift = Run { unpushed: Some(Unpushed::Drift), run_type: RunType::Proposed, ..run() };
        assert!(failed(&drift).text.starts_with("Check for drift\n"));
        let command = "make secret=x".to_owned();
        let task = Run { unpushed: Some(Unpushed::Task { command, schedule: None }), ..run() };
        let told = said(failed(&task));
        assert!(told.contains("\nTask\n") && !told.contains("secret"), "{told}");
    }

    #[test]
    fn what_is_said_of_stacks() {
        let slug: StackSlug = "network".parse().unwrap();
        let since: Timestamp = "2026-03-02T09:00:00Z".parse().unwrap();
        let reason = crate::text::LOST_WHILE_APPLYING.to_owned();
        let why = Blocked { run: "r-1".parse().unwrap(), reason, since };
        insta::assert_snapshot!(said(blocked(&slug, &why)), @"
        network is blocked
        the runner was lost during an apply, so the result is unknown. Nothing is deployed until somebody unblocks it.
        ");
        let drift = |found, tolerated| {
            let run = "r-1".parse().unwrap();

            drifted(
                &slug,
                &Drift { run, at: since, found, tolerated, since: Some(since), failed: None },
            )
        };
        insta::assert_snapshot!(said(drift(2, 0)), @"
        network has drifted
        2 items differ from what was applied.
        ");
        assert_eq!(
            drift(1, 1).text,
            "1 item differs from what was applied, and 1 more is tolerated."
        );
        assert!(drift(1, 3).text.ends_with("3 more are tolerated."));
    }

    #[test]
    fn what_is_said_of_gitlab() {
        let since: Timestamp = "2026-03-02T09:00:00Z".parse().unwrap();
        insta::assert_snapshot!(said(integration_broken(true, false, since)), @"
        GitLab rejects Gantry's token
        Since 2026-03-02 09:00 UTC. Until an admin replaces it, everything waits, and nothing is lost.
        ");
        assert!(integration_broken(false, true, since).title.contains("rate limiting"));
        let on: Date = "2027-01-31".parse().unwrap();
        insta::assert_snapshot!(said(token_expires(on, 7)), @"
        Gantry's GitLab token expires on 2027-01-31
        In 7 days, nothing works any more until an admin replaces it.
        ");
        assert!(token_expires(on, 0).title.contains("expired on 2027-01-31"));
        insta::assert_snapshot!(said(test(&"ops".parse().unwrap())), @"
        This is a test
        Gantry's notifications for ops arrive here.
        ");
    }
}
