//! What of a comment is a command, and what becomes of it.

use super::*;
use crate::{
    rights::{Levels, StackLevels},
    run::RunState,
    text::answer,
};

fn texts(found: &Found) -> Vec<&str> {
    found.lines.iter().map(|line| line.text.as_str()).collect()
}

fn only(text: &str) -> Command {
    let mut found = commands(text);
    assert_eq!(found.lines.len(), 1, "{text}");
    found.lines.remove(0).command
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn each_command_is_read() {
    let some = |name: &str| Some(name.to_owned());
    for (text, command) in [
        ("/gantry plan", Command::Plan(vec![])),
        ("/gantry plan network  web", Command::Plan(words(&["network", "web"]))),
        ("/gantry PLAN", Command::Plan(vec![])),
        ("/gantry apply network", Command::Confirm(some("network"))),
        ("/gantry confirm", Command::Confirm(None)),
        ("/gantry confirm run-1", Command::Confirm(some("run-1"))),
        ("/gantry discard network", Command::Discard(some("network"))),
        ("/gantry stop", Command::Stop(None)),
        (
            "/gantry unlock network all is there",
            Command::Unlock { stack: some("network"), reason: "all is there".to_owned() },
        ),
        ("/gantry unlock", Command::Unlock { stack: None, reason: String::new() }),
        ("/gantry help", Command::Help),
        ("/gantry why\r\n", Command::Why),
        ("   /gantry why   ", Command::Why),
        ("\t\n/gantry help", Command::Help),
        ("/gantry", Command::Unknown),
        ("/gantry dance", Command::Unknown),
        ("/gantry confirm network web", Command::Unknown),
        ("/gantry help me", Command::Unknown),
        // Written for people, not as plain text: it is asked back.
        ("/gantry plan `network`", Command::Unknown),
        ("/gantry plan **network**", Command::Unknown),
        ("/gantry plan [network](https://x.example)", Command::Unknown),
    ] {
        assert_eq!(only(text), command, "{text}");
    }
}

#[test]
fn commands_stand_between_other_lines() {
    let text = "Looks good.\n/gantry plan network\nThanks!\n\n/gantry why\n";
    assert_eq!(texts(&commands(text)), ["/gantry plan network", "/gantry why"]);
    assert_eq!(texts(&commands("one\r/gantry why\rtwo")), ["/gantry why"]);
    let hard = "one  \n/gantry why\\\ntwo";
    assert_eq!(texts(&commands(hard)), [""; 0], "a backslash at its end is not plain text");
}

#[test]
fn what_is_quoted_shown_or_hidden_is_no_command() {
    for text in [
        "Please run /gantry plan",
        "/gantryplan",
        "/gantry-plan",
        "//gantry plan",
        "\\/gantry plan",
        "&#47;gantry plan",
        "`/gantry plan`",
        "`a\n/gantry plan\nb`",
        "```\n/gantry plan\n```",
        "```\n/gantry plan",
        "~~~~\n```\n/gantry plan\n```\n~~~~",
        "    /gantry plan",
        "\t/gantry plan",
        "> /gantry plan",
        "> quoted\n/gantry plan",
        ">>>\n/gantry plan\n>>>",
        ">>>\nquoted\n\n/gantry plan\n\n>>>",
        "> [!note]\n> /gantry plan",
        "- /gantry plan",
        "1. /gantry plan",
        "- one\n  /gantry plan",
        "- [ ] /gantry plan",
        "# /gantry plan",
        "/gantry plan\n---",
        "| a |\n|---|\n| /gantry plan |",
        "[^1]\n\n[^1]: one\n\n    /gantry plan",
        "term\n\n: /gantry plan",
        "$$\n/gantry plan\n$$",
        "<!--\n/gantry plan\n-->",
        "<div>\n/gantry plan\n</div>",
        "<details>\n<summary>log</summary>\n\n/gantry plan\n\n</details>",
        "<pre>\n\n/gantry plan\n</pre>",
        "one <b>\n/gantry plan\n</b> two",
        "one <span>two</span>\n/gantry plan",
        "**one\n/gantry plan**",
        "[a link\n/gantry plan](https://x.example)",
        "[`x`\n/gantry plan][y]\n\n[y]: https://x.example",
    ] {
        assert_eq!(commands(text), Found::default(), "{text:?}");
    }
}

#[test]
fn html_that_has_ended_hides_nothing() {
    for text in [
        "<!-- a template -->\n\n/gantry why",
        "<details>\n<summary>log</summary>\n\ntext\n\n</details>\n\n/gantry why",
        "<hr>\n\n/gantry why",
        "<br/>\n\n/gantry why",
        "a < b and c > d\n/gantry why",
    ] {
        assert_eq!(texts(&commands(text)), ["/gantry why"], "{text:?}");
    }
}

#[test]
fn an_answer_by_e_mail_repeats_no_command() {
    let mail = "Fine with me.\n\n/gantry why\n\nOn Tue, 3 Mar 2026 at 10:01, Ada Lovelace \
                (@ada) wrote:\n\n> Ada commented:\n>\n> /gantry apply network\n> /gantry plan\n>\n\
                > —\n> Reply to this email directly.\n";
    assert_eq!(texts(&commands(mail)), ["/gantry why"]);
}

#[test]
fn a_comment_has_at_most_five_commands() {
    let text = "/gantry why\n".repeat(5);
    let found = commands(&text);
    assert_eq!((found.lines.len(), found.more), (5, false));
    let found = commands(&format!("{text}/gantry why"));
    assert_eq!((found.lines.len(), found.more), (5, true));
}

#[test]
fn the_cheap_look_misses_nothing() {
    for text in ["/gantry", "x\n /gantry why", "x\r/gantry why", "> x\n\t/gantry\n"] {
        assert!(may_hold_command(text), "{text:?}");
    }
    for text in ["", "gantry", "/gantryx", "see /gantry why", "/approve"] {
        assert!(!may_hold_command(text), "{text:?}");
    }
    assert_ne!(digest("/gantry why"), digest("/gantry why "));
}

#[test]
fn a_request_names_its_comment_and_nobody_chooses_one() {
    let place = Place { project: ProjectId(7), iid: MergeRequestIid(12), note: 345 };
    let request = place.request(3);
    assert_eq!(request.as_str(), "comment:7:12:345:3");
    assert_eq!(Place::of_request(&request), Some(place));
    for other in ["comment:7:12:345", "comment:7:12:345:3:4", "comment:a:12:345:3", "request-1"] {
        assert_eq!(Place::of_request(&other.parse().unwrap()), None, "{other}");
    }
    assert_eq!(Place::of_request(&chosen_request("comment:7:12:345:3")), None);
    assert_eq!(chosen_request("mine").as_str(), "mine");
}

fn run(id: &str, state: RunState) -> Option<RunFacts> {
    Some(RunFacts { run: id.parse().unwrap(), state })
}

fn stack(slug: &str) -> StackFacts {
    StackFacts {
        stack: slug.parse().unwrap(),
        slug: slug.parse().unwrap(),
        takes: true,
        levels: StackLevels::default(),
        affected: true,
        blocked: false,
        preview: None,
        deploy: None,
    }
}

fn facts(state: &str, level: Level, stacks: Vec<StackFacts>) -> Facts {
    Facts {
        place: Place { project: ProjectId(7), iid: MergeRequestIid(12), note: 345 },
        level,
        levels: Levels::default(),
        state: state.to_owned(),
        head: Some("0123456789abcdef0123456789abcdef01234567".parse().unwrap()),
        branch: "change".to_owned(),
        from_fork: false,
        stacks,
        why: vec![],
    }
}

fn decided(text: &str, facts: &Facts) -> Answered {
    decide(&commands(text).lines[0], facts, 0)
}

/// What is asked, as `stack: action`, and what is refused, as `stack: why`.
fn told(answered: &Answered) -> Vec<String> {
    let asked = answered.asked.iter().map(|asked| {
        let what = match &asked.action {
            Action::Start { branch, .. } => format!("start {branch}"),
            Action::Retry { run } => format!("retry {run}"),
            Action::Confirm { run } => format!("confirm {run}"),
            Action::Discard { run } => format!("discard {run}"),
            Action::Stop { run } => format!("stop {run}"),
            Action::Unblock { reason } => format!("unblock: {reason}"),
        };
        format!("{}: {what}", asked.slug)
    });
    let refused = answered.refused.iter().map(|refused| {
        let stack = refused.stack.as_ref().map_or("-", |stack| stack.as_str());
        format!("{stack}: NO {}", refused.why)
    });
    asked.chain(refused).collect()
}

#[test]
fn a_plan_is_of_what_the_merge_request_affects_or_of_what_is_named() {
    let ended = StackFacts { preview: run("run-1", RunState::Finished), ..stack("ended") };
    let goes_on = StackFacts { preview: run("run-2", RunState::Planning), ..stack("goes-on") };
    let other = StackFacts { affected: false, ..stack("other") };
    let silent = StackFacts { takes: false, ..stack("silent") };
    let facts = facts("opened", Level::Developer, vec![ended, goes_on, other, silent]);
    assert_eq!(
        told(&decided("/gantry plan", &facts)),
        ["ended: retry run-1", "goes-on: NO its preview has not ended yet (planning)"]
    );
    assert_eq!(
        told(&decided("/gantry plan other silent nothing other", &facts)),
        [
            "other: start change".to_owned(),
            "-: NO This project has no stack nothing.".to_owned(),
            format!("silent: NO {}", answer::TAKES_NONE),
        ]
    );
    let fork = Facts { from_fork: true, ..facts.clone() };
    assert_eq!(
        told(&decided("/gantry plan other ended", &fork)),
        ["ended: retry run-1".to_owned(), format!("other: NO {}", answer::FROM_FORK)]
    );
    let merged = Facts { state: "merged".to_owned(), ..facts.clone() };
    assert!(told(&decided("/gantry plan", &merged))[0].contains("Only open"));
    let none = Facts { stacks: vec![], ..facts };
    assert_eq!(told(&decided("/gantry plan", &none)), [format!("-: NO {}", answer::NONE_AFFECTED)]);
}

#[test]
fn one_command_asks_so_many_stacks_and_no_more() {
    let stacks = |count: usize| (0..count).map(|n| stack(&format!("s-{n:03}"))).collect();
    let most = facts("opened", Level::Developer, stacks(MOST_STACKS));
    let answered = decide(&commands("/gantry plan").lines[0], &most, 7);
    assert_eq!(answered.asked.len(), MOST_STACKS);
    let requests: Vec<_> = answered.asked.iter().map(|asked| asked.request.as_str()).collect();
    assert_eq!(requests[..2], ["comment:7:12:345:7", "comment:7:12:345:8"]);
    let more = facts("opened", Level::Developer, stacks(MOST_STACKS + 1));
    assert_eq!(
        told(&decided("/gantry plan", &more)),
        ["-: NO These are 51 stacks. Name at most 50."]
    );
}

#[test]
fn a_deploy_is_confirmed_after_the_merge_by_who_may() {
    let waits = StackFacts { deploy: run("run-1", RunState::Unconfirmed), ..stack("waits") };
    let done = StackFacts { deploy: run("run-2", RunState::Finished), ..stack("done") };
    let all = vec![waits.clone(), done, stack("none")];
    let merged = facts("merged", Level::Maintainer, all.clone());
    for text in ["/gantry apply waits", "/gantry confirm", "/gantry confirm run-1"] {
        assert_eq!(told(&decided(text, &merged)), ["waits: confirm run-1"], "{text}");
    }
    assert_eq!(told(&decided("/gantry discard", &merged)), ["waits: discard run-1"]);
    assert_eq!(
        told(&decided("/gantry apply done", &merged)),
        ["done: NO its deploy does not wait for confirmation (finished)"]
    );
    assert_eq!(
        told(&decided("/gantry apply none", &merged)),
        [format!("none: NO {}", answer::NO_DEPLOY)]
    );
    for (state, says) in [("opened", "before the merge"), ("closed", "was not merged")] {
        let open = facts(state, Level::Maintainer, all.clone());
        let said = told(&decided("/gantry apply waits", &open));
        assert!(said.len() == 1 && said[0].contains(says), "{said:?}");
    }
    let developer = facts("merged", Level::Developer, all);
    assert_eq!(
        told(&decided("/gantry apply waits", &developer)),
        ["waits: NO this takes the role Maintainer in the project, and you are Developer"]
    );
    let two = facts(
        "merged",
        Level::Maintainer,
        vec![
            waits.clone(),
            StackFacts {
                slug: "also".parse().unwrap(),
                deploy: run("run-3", RunState::Unconfirmed),
                ..waits
            },
        ],
    );
    assert_eq!(
        told(&decided("/gantry confirm", &two)),
        ["-: NO Several deploys wait: waits, also. Name the stack."]
    );
}

#[test]
fn a_confirmed_deploy_can_be_discarded_and_not_confirmed_again() {
    let confirmed = StackFacts { deploy: run("run-1", RunState::Confirmed), ..stack("web") };
    let facts = facts("merged", Level::Owner, vec![confirmed]);
    assert_eq!(told(&decided("/gantry discard web", &facts)), ["web: discard run-1"]);
    assert!(told(&decided("/gantry confirm web", &facts))[0].contains("NO"));
    assert_eq!(
        told(&decided("/gantry confirm", &facts)),
        [format!("-: NO {}", answer::NOTHING_WAITS)]
    );
}

#[test]
fn a_stack_may_ask_for_more_than_the_installation() {
    let levels = StackLevels { preview: Some(Level::Owner), ..StackLevels::default() };
    let facts = facts("opened", Level::Maintainer, vec![StackFacts { levels, ..stack("web") }]);
    assert_eq!(
        told(&decided("/gantry plan", &facts)),
        ["web: NO this takes the role Owner in the project, and you are Maintainer"]
    );
}

#[test]
fn what_goes_on_is_stopped_by_who_may_stop_it() {
    let both = StackFacts {
        preview: run("run-1", RunState::Planning),
        deploy: run("run-2", RunState::Applying),
        ..stack("web")
    };
    let waits = StackFacts { deploy: run("run-3", RunState::Unconfirmed), ..stack("waits") };
    let stacks = vec![both, waits];
    let maintainer = facts("merged", Level::Maintainer, stacks.clone());
    assert_eq!(told(&decided("/gantry stop", &maintainer)), ["web: stop run-1", "web: stop run-2"]);
    assert_eq!(told(&decided("/gantry stop run-2", &maintainer)), ["web: stop run-2"]);
    assert_eq!(
        told(&decided("/gantry stop waits", &maintainer)),
        [format!("waits: NO {}", answer::NOTHING_RUNS)]
    );
    let developer = facts("merged", Level::Developer, stacks);
    let said = told(&decided("/gantry stop web", &developer));
    assert_eq!(said[0], "web: stop run-1");
    assert!(said[1].starts_with("web: NO this takes the role Maintainer"), "{said:?}");
}

#[test]
fn a_stack_is_unlocked_with_a_reason() {
    let blocked = StackFacts { blocked: true, ..stack("web") };
    let facts = facts("opened", Level::Maintainer, vec![blocked, stack("free")]);
    assert_eq!(
        told(&decided("/gantry unlock web all is there", &facts)),
        ["web: unblock: all is there (comment on !12)"]
    );
    for (text, stack, why) in [
        ("/gantry unlock web", "web", answer::SAY_WHY),
        ("/gantry unlock", "-", answer::SAY_WHY),
        ("/gantry unlock free x", "free", answer::NOT_BLOCKED),
    ] {
        assert_eq!(told(&decided(text, &facts)), [format!("{stack}: NO {why}")], "{text}");
    }
}

#[test]
fn help_and_why_ask_nobody_and_list_no_more_than_fits() {
    let mut stacks: Vec<_> = (0..25).map(|n| stack(&format!("s-{n:02}"))).collect();
    stacks[0].affected = false;
    stacks[1].takes = false;
    let why = |n: usize| Why {
        stack: format!("s-{n:02}").parse().unwrap(),
        runs: n == 24,
        reason: "because".to_owned(),
    };
    let facts =
        Facts { why: (0..25).map(why).collect(), ..facts("opened", Level::Reporter, stacks) };
    let answered = decided("/gantry dance", &facts);
    assert!(answered.asked.is_empty() && answered.refused.is_empty());
    let Some(Reply::Help { unknown, stacks, more, .. }) = answered.reply else { panic!() };
    assert_eq!((unknown, stacks.len(), more), (true, MOST_LISTED, 4));
    assert_eq!(stacks[0].as_str(), "s-02", "those of the merge request come first");
    let Some(Reply::Why { stacks, more }) = decided("/gantry why", &facts).reply else { panic!() };
    assert_eq!((stacks.len(), more), (MOST_LISTED, 5));
    assert_eq!(stacks[0].stack.as_str(), "s-24", "what runs comes first");
}
