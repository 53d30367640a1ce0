//! The reply to a comment with commands: what each of them came to.
//!
//! Like a note it depends on nothing but [`AnswerInput`], so that an unchanged state gives an unchanged
//! text. Nothing of it begins with a slash: GitLab would do it, and so would Gantry.

use super::{
    clean_line,
    markdown::{code_cell, inline_code, link, plain},
    note,
};
use crate::{
    MergeRequestIid,
    approval::Person,
    comment::{Answered, MOST_COMMANDS, MOST_STACKS, Place, Reply, Why},
    rights::Level,
    run::RunState,
};

/// The stack's setting says so.
pub const TAKES_NONE: &str = "it takes no commands from comments";
/// For whom no level is enough.
pub const MAY_NOT: &str = "you may not do this";
/// Nobody named a stack, and the merge request affects none.
pub const NONE_AFFECTED: &str = "No stack that takes commands is affected by this merge request. Name one: /gantry plan <stack>";
/// What a fork has was decided when it was pushed.
pub const FROM_FORK: &str =
    "the merge request comes from a fork, so only what its push has started is planned again";
/// Nothing can be confirmed or discarded.
pub const NOTHING_WAITS: &str = "No deploy of this merge request waits for confirmation.";
/// The merge has made no deploy.
pub const NO_DEPLOY: &str = "the merge has not started a deploy of it";
/// Nothing can be stopped.
pub const NOTHING_RUNS: &str = "nothing of this merge request is running";
/// Nothing can be unblocked.
pub const NOT_BLOCKED: &str = "it is not blocked";
/// What somebody found is kept with the stack.
pub const SAY_WHY: &str =
    "Name the stack and say what you found about the lost apply: /gantry unlock <stack> <reason>";

/// Characters of a name, and of words.
const NAME_CHARS: usize = 80;
const WORDS_CHARS: usize = 500;
/// Names in a sentence.
const NAMES: usize = 10;

/// A name of no stack.
pub fn no_such_stack(name: &str) -> String {
    format!("This project has no stack {}.", clean_line(name, NAME_CHARS))
}

/// A level that is not enough.
pub fn lacks(needs: Level, has: Level) -> String {
    format!("this takes the role {needs} in the project, and you are {has}")
}

/// More stacks than one command asks.
pub fn too_many(count: usize) -> String {
    format!("These are {count} stacks. Name at most {MOST_STACKS}.")
}

/// A preview that has not ended.
pub fn still(state: RunState) -> String {
    format!("its preview has not ended yet ({state})")
}

/// Nothing is previewed for it any more.
pub fn not_open(state: &str) -> String {
    match state {
        "opened" => "GitLab is still preparing the merge request. Try again.".to_owned(),
        state => format!("Only open merge requests are planned; this one is {}.", word(state)),
    }
}

/// Nothing was merged yet.
pub fn not_merged(state: &str) -> String {
    match state {
        "opened" => "Nothing is applied before the merge. Merge it first.".to_owned(),
        state => format!("The merge request is {}, and was not merged.", word(state)),
    }
}

/// A deploy that is not at the point of being confirmed.
pub fn does_not_wait(state: RunState) -> String {
    format!("its deploy does not wait for confirmation ({state})")
}

/// Several deploys wait.
pub fn which<'a>(stacks: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = stacks.take(NAMES + 1).collect();
    let more = if names.len() > NAMES { ", …" } else { "" };
    names.truncate(NAMES);
    format!("Several deploys wait: {}{more}. Name the stack.", names.join(", "))
}

/// What is kept of the reason for an unblocking.
pub fn unblock_reason(reason: &str, iid: MergeRequestIid) -> String {
    format!("{} (comment on !{iid})", clean_line(reason, WORDS_CHARS))
}

/// A person, as runs and activities name them: `Ada Lovelace @ada`.
pub fn person(person: &Person) -> String {
    let username = clean_line(&person.username, NAME_CHARS);
    match clean_line(&person.name, NAME_CHARS) {
        name if name.is_empty() => format!("@{username}"),
        name => format!("{name} @{username}"),
    }
}

fn word(state: &str) -> String {
    clean_line(state, NAME_CHARS)
}

/// What a reply says.
#[derive(Debug, Clone)]
pub struct AnswerInput<'a> {
    /// The installation's id, for the marker.
    pub installation: &'a str,
    /// The comment.
    pub place: Place,
    /// Its commands.
    pub commands: Vec<Shown<'a>>,
    /// It has more commands, which do nothing.
    pub more: bool,
    /// It was found too late, so that none was carried out.
    pub late: bool,
}

/// A command, with what its stacks have said.
#[derive(Debug, Clone)]
pub struct Shown<'a> {
    /// What became of it.
    pub answered: &'a Answered,
    /// What each of those that were asked has said; none where it has not yet.
    pub outcomes: Vec<Option<Outcome>>,
}

/// What a stack has said.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// It was done.
    pub done: bool,
    /// In words.
    pub message: String,
    /// The page of the run that it made or was about.
    pub run: Option<String>,
}

/// The first line of the reply to a comment, by which it is found again.
pub fn marker(installation: &str, place: Place) -> String {
    let Place { project, iid, note } = place;
    let of_merge_request = note::marker(installation, project, iid);
    let of_merge_request = of_merge_request.replacen("gantry:", "gantry-answer:", 1);
    of_merge_request.replacen(" -->", &format!(":{note} -->"), 1)
}

/// The reply, as Markdown.
pub fn render(input: &AnswerInput<'_>) -> String {
    let mut parts = vec![];
    if input.late {
        parts.push(
            "Gantry found this comment more than an hour after it was written, so nothing was \
             done. Write it again if it is still wanted."
                .to_owned(),
        );
    }
    parts.extend(input.commands.iter().map(command));
    if input.more {
        parts.push(format!(
            "A comment has at most {MOST_COMMANDS} commands; the others did nothing."
        ));
    }
    format!("{}\n{}\n", marker(input.installation, input.place), parts.join("\n\n"))
}

fn command(shown: &Shown<'_>) -> String {
    let Answered { line, reply, refused, asked } = shown.answered;
    let mut out = inline_code(line);
    match reply {
        Some(Reply::Help { unknown, preview, deploy, stacks, more }) => {
            if *unknown {
                out.push_str("\n\nThere is no such command, or it is not plain text.");
            }
            let names = stacks.iter().map(|stack| stack.as_str());
            out.push_str(&help(*preview, *deploy, names.collect(), *more));
        }
        Some(Reply::Why { stacks, more }) => out.push_str(&why(stacks, *more)),
        None => {}
    }
    let mut lines = vec![];
    for (asked, outcome) in asked.iter().zip(&shown.outcomes) {
        let slug = asked.slug.as_str();
        let name = |outcome: &Outcome| match &outcome.run {
            Some(page) => link(slug, page),
            None => plain(slug),
        };
        lines.push(match outcome {
            None => format!("- {}: not answered yet", plain(slug)),
            Some(outcome) => {
                let not = if outcome.done { "" } else { "Not done: " };
                let message = plain(&clean_line(&outcome.message, WORDS_CHARS));
                format!("- {}: {not}{message}", name(outcome))
            }
        });
    }
    for refused in refused {
        let why = plain(&clean_line(&refused.why, WORDS_CHARS));
        lines.push(match &refused.stack {
            Some(stack) => format!("- {}: Not done: {why}", plain(stack.as_str())),
            None => format!("- {why}"),
        });
    }
    if !lines.is_empty() {
        out.push_str("\n\n");
        out.push_str(&lines.join("\n"));
    }
    out
}

/// The commands, with what they take in GitLab.
fn help(preview: Level, deploy: Level, stacks: Vec<&str>, more: usize) -> String {
    let rows = [
        ("plan [stack…]", "Plan again, or plan these stacks", Some(preview)),
        ("apply <stack>", "Apply the deploy that waits, after the merge", Some(deploy)),
        ("confirm [stack|run]", "The same, also by the run", Some(deploy)),
        ("discard [stack|run]", "Discard the deploy that waits", Some(deploy)),
        ("stop [stack|run]", "Stop what is running", Some(preview)),
        ("unlock <stack> <reason>", "Unblock a stack after a lost apply", Some(deploy)),
        ("why", "Why stacks are affected, or not", None),
        ("help", "This list", None),
    ];
    let mut out = "\n\n| Command | | Role in the project |\n|---|---|---|\n".to_owned();
    for (command, what, level) in rows {
        let command = code_cell(&format!("/gantry {command}"), NAME_CHARS);
        let level = level.map_or_else(|| "&#160;".to_owned(), |level| level.to_string());
        out.push_str(&format!("| {command} | {what} | {level} |\n"));
    }
    out.push('\n');
    out.push_str(&match stacks.as_slice() {
        [] => "No stack of this project takes commands from comments.".to_owned(),
        stacks => {
            let names: Vec<String> = stacks.iter().map(|stack| inline_code(stack)).collect();
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            format!(
                "Stacks that take commands: {}{more}. A stack may ask for a higher role. To stop \
                 a deploy takes the role {deploy}.",
                names.join(", ")
            )
        }
    });
    out
}

fn why(stacks: &[Why], more: usize) -> String {
    if stacks.is_empty() {
        return "\n\nNothing was decided for this merge request yet.".to_owned();
    }
    let mut lines = vec![];
    for Why { stack, runs, reason } in stacks {
        let word = if *runs { "affected" } else { "not affected" };
        let reason = plain(&clean_line(reason, WORDS_CHARS));
        lines.push(format!("- {}: {word}: {reason}", plain(stack.as_str())));
    }
    if more > 0 {
        lines.push(format!("- … and {more} more stacks"));
    }
    format!("\n\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ProjectId, StackSlug, UserId,
        comment::{Action, Asked, Refused},
        text::markdown::{oracle::quick_action_lines, tests::untrusted},
    };
    use proptest::prelude::*;

    const PLACE: Place = Place { project: ProjectId(7), iid: MergeRequestIid(12), note: 345 };

    fn slug(text: &str) -> StackSlug {
        text.parse().unwrap()
    }

    fn asked(stack: &str, number: usize) -> Asked {
        Asked {
            stack: stack.parse().unwrap(),
            slug: slug(stack),
            request: PLACE.request(number),
            action: Action::Stop { run: "run-1".parse().unwrap() },
        }
    }

    fn rendered(commands: Vec<Shown<'_>>) -> String {
        let input =
            AnswerInput { installation: "i1", place: PLACE, commands, more: false, late: false };
        render(&input)
    }

    #[test]
    fn what_became_of_each_stack_is_said() {
        let answered = Answered {
            line: "/gantry plan network cluster web x".to_owned(),
            reply: None,
            refused: vec![
                Refused {
                    stack: Some(slug("web")),
                    why: lacks(Level::Maintainer, Level::Developer),
                },
                Refused { stack: None, why: no_such_stack("x") },
            ],
            asked: vec![asked("network", 0), asked("cluster", 1), asked("db", 2)],
        };
        let outcome = |done, message: &str, run: Option<&str>| {
            Some(Outcome { done, message: message.to_owned(), run: run.map(str::to_owned) })
        };
        let outcomes = vec![
            outcome(true, "Queued", Some("https://g.example/runs/run-1")),
            outcome(false, "The stack is blocked: @all lost.", None),
            None,
        ];
        let body = rendered(vec![Shown { answered: &answered, outcomes }]);
        insta::assert_snapshot!(body.replace('\u{200b}', ""), @r"
        <!-- gantry-answer:i1:7:12:345 -->
        `/gantry plan network cluster web x`

        - [network](https://g.example/runs/run-1): Queued
        - cluster: Not done: The stack is blocked: &#64;&#8203;all lost.
        - db: not answered yet
        - web: Not done: this takes the role Maintainer in the project, and you are Developer
        - This project has no stack x.
        ");
    }

    #[test]
    fn help_lists_commands_with_what_they_take_and_the_stacks() {
        let reply = Reply::Help {
            unknown: true,
            preview: Level::Developer,
            deploy: Level::Maintainer,
            stacks: vec![slug("network"), slug("web")],
            more: 3,
        };
        let answered = Answered {
            line: "/gantry dance".to_owned(),
            reply: Some(reply),
            ..Answered::default()
        };
        let body = rendered(vec![Shown { answered: &answered, outcomes: vec![] }]);
        assert!(body.contains("There is no such command"), "{body}");
        assert!(body.contains("`network`, `web`, and 3 more"), "{body}");
        assert!(body.contains("| Plan again, or plan these stacks | Developer |"), "{body}");
        let with_slash = body.lines().filter(|line| line.trim_start().starts_with('/'));
        assert_eq!(with_slash.count(), 0, "{body}");
    }

    #[test]
    fn why_names_what_runs_and_what_does_not() {
        let of = |stack: &str, runs, reason: &str| Why {
            stack: slug(stack),
            runs,
            reason: reason.to_owned(),
        };
        let stacks =
            vec![of("network", true, "infra/main.tf"), of("web", false, "nothing in web/")];
        let reply = Some(Reply::Why { stacks, more: 2 });
        let answered = Answered { line: "/gantry why".to_owned(), reply, ..Answered::default() };
        let body = rendered(vec![Shown { answered: &answered, outcomes: vec![] }]);
        assert!(body.contains("- network: affected: infra/main.tf\n"), "{body}");
        assert!(body.contains("- web: not affected: nothing in web/\n"), "{body}");
        assert!(body.contains("and 2 more stacks"), "{body}");
    }

    #[test]
    fn what_was_not_done_at_all_is_said() {
        let input = AnswerInput {
            installation: "i1",
            place: PLACE,
            commands: vec![],
            more: true,
            late: true,
        };
        let body = render(&input);
        assert!(body.contains("more than an hour"), "{body}");
        assert!(body.contains("at most 5 commands"), "{body}");
    }

    #[test]
    fn people_are_named_as_elsewhere() {
        let named = |name: &str| {
            person(&Person { id: UserId(1), username: "ada".to_owned(), name: name.to_owned() })
        };
        assert_eq!(named("Ada Lovelace"), "Ada Lovelace @ada");
        assert_eq!(named(" "), "@ada");
    }

    proptest! {
        #[test]
        fn nothing_in_a_reply_is_done_by_gitlab_or_by_gantry(text in untrusted()) {
            let answered = Answered {
                line: format!("/gantry unlock {text}"),
                reply: Some(Reply::Why {
                    stacks: vec![Why { stack: slug("web"), runs: true, reason: text.clone() }],
                    more: 0,
                }),
                refused: vec![Refused { stack: None, why: text.clone() }],
                asked: vec![asked("network", 0)],
            };
            let outcomes = vec![Some(Outcome { done: false, message: text, run: None })];
            let body = rendered(vec![Shown { answered: &answered, outcomes }]);
            prop_assert_eq!(quick_action_lines(&body), Vec::<&str>::new());
            prop_assert!(crate::comment::commands(&body).lines.is_empty(), "{}", body);
            prop_assert!(body.starts_with(&marker("i1", PLACE)));
        }
    }
}
