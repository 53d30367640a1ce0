//! Commands in comments: who may give them, what is none, and that each is done once and answered
//! once.

use gantry_fake_gitlab::{
    Fault, Matcher, MergeRequestIid, NoteId, NoteView, Person, ProjectId, ProjectOptions,
};
use gantry_scenarios::{Planned, StackOptions, World, story, with_files};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// A stack that takes commands from comments.
async fn stack(w: &mut World, project: ProjectId, name: &str, root: &str) {
    let fields = json!({ "comment_commands": true });
    w.stack(project, name, root, StackOptions { fields }).await;
}

/// A project with one such stack, `network`, and a merge request that changes it.
async fn proposed(w: &mut World) -> (ProjectId, MergeRequestIid) {
    let project = w.plain_project("acme/network");
    stack(w, project, "network", "infra").await;
    w.push(project, "change", "infra/main.tf", "# one").await;
    (project, w.open(project, "change").await)
}

/// It is merged, and its deploy waits for somebody: the run.
async fn merged(w: &mut World, project: ProjectId, iid: MergeRequestIid) -> String {
    w.dev.merge(project, iid).unwrap();
    w.catch_up().await;
    w.run_in("network", "unconfirmed").await
}

/// Gantry's replies to comments on a merge request.
fn answers(w: &World, project: ProjectId, iid: MergeRequestIid) -> Vec<NoteView> {
    let mut notes = w.gitlab.notes(project, iid);
    notes.retain(|note| note.body.starts_with("<!-- gantry-answer:"));
    notes
}

fn expect_no_answer(w: &World, project: ProjectId, iid: MergeRequestIid) {
    let found = answers(w, project, iid);
    assert!(found.is_empty(), "{found:#?}\n{}", w.history());
}

/// The one reply in a comment's discussion.
fn answer(w: &World, project: ProjectId, iid: MergeRequestIid, comment: NoteId) -> String {
    let notes = w.gitlab.notes(project, iid);
    let of = &notes.iter().find(|note| note.id == comment).unwrap().discussion;
    let mut replies = answers(w, project, iid);
    replies.retain(|reply| reply.discussion == *of);
    assert_eq!(replies.len(), 1, "one reply was expected: {notes:#?}\n{}", w.history());
    assert_eq!(replies[0].author, "gantry-bot");
    replies.remove(0).body
}

/// Somebody comments, and everything happens: the reply.
async fn tell(
    w: &mut World,
    by: &Person,
    project: ProjectId,
    iid: MergeRequestIid,
    text: &str,
) -> String {
    let comment = by.comment(project, iid, text).unwrap().unwrap();
    w.catch_up().await;
    answer(w, project, iid, comment)
}

/// The developer of the story does.
async fn ask(w: &mut World, project: ProjectId, iid: MergeRequestIid, text: &str) -> String {
    let dev = w.dev.clone();
    tell(w, &dev, project, iid, text).await
}

/// The list of events, as text.
async fn events(w: &mut World) -> String {
    let (status, events) = w.api(Method::GET, "/events", None).await;
    assert!(status.is_success(), "{events}");
    events.to_string()
}

story!(a_comment_plans_again_and_is_answered_in_its_discussion, |mut w| async move {
    let project = w.plain_project("acme/network");
    stack(&mut w, project, "network", "infra").await;
    w.plans("network", Planned::Fails("no quota".to_owned()));
    w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    w.run_in("network", "failed").await;
    w.plans("network", Planned::Adds(2));
    let said = ask(&mut w, project, iid, "Try again:\n/gantry plan\n").await;
    assert!(said.contains("`/gantry plan`\n\n- [network](http"), "{said}");
    assert!(!said.contains("Not done") && !said.contains("not answered"), "{said}");
    let run = w.run_in("network", "finished").await;
    assert!(said.contains(&run), "{said}");
    assert_eq!(w.runs("network").await.len(), 2);
    assert!(w.note(project, iid).contains("2 to add"), "{}", w.note(project, iid));

    // Time goes by, and nothing of it happens again.
    w.pass(11 * MINUTE).await;
    assert_eq!(w.runs("network").await.len(), 2);
    assert_eq!(answers(&w, project, iid).len(), 1);
    w
});

story!(a_stack_that_the_merge_request_does_not_affect_is_planned_by_its_name, |mut w| async move {
    let project = w.project("acme/two", with_files(&["infra/main.tf", "web/main.tf"]));
    stack(&mut w, project, "network", "infra").await;
    stack(&mut w, project, "web", "web").await;
    w.stack(project, "closed", "infra", StackOptions::default()).await;
    w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    assert!(w.runs("web").await.is_empty());
    let said = ask(&mut w, project, iid, "/gantry plan web closed nowhere").await;
    assert!(said.contains("- [web](http"), "{said}");
    assert!(said.contains("- closed: Not done: it takes no commands from comments"), "{said}");
    assert!(said.contains("- This project has no stack nowhere."), "{said}");
    w.run_in("web", "finished").await;
    assert_eq!((w.runs("network").await.len(), w.runs("closed").await.len()), (1, 1));
    w
});

story!(help_fits_the_project_and_why_says_what_was_decided, |mut w| async move {
    let project = w.project("acme/two", with_files(&["infra/main.tf", "web/main.tf"]));
    stack(&mut w, project, "network", "infra").await;
    stack(&mut w, project, "web", "web").await;
    w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    let said = ask(&mut w, project, iid, "/gantry help").await;
    assert!(said.contains("Stacks that take commands: `network`, `web`."), "{said}");
    assert!(!said.contains("There is no such command"), "{said}");
    let said = ask(&mut w, project, iid, "/gantry dance").await;
    assert!(said.contains("There is no such command") && said.contains("| Maintainer |"), "{said}");
    let said = ask(&mut w, project, iid, "/gantry why").await;
    assert!(said.contains("- network: affected: "), "{said}");
    assert!(said.contains("- web: not affected: "), "{said}");
    assert!(w.runs("web").await.is_empty());
    w
});

story!(apply_says_why_not_before_the_merge_and_confirms_after_it, |mut w| async move {
    let (project, iid) = proposed(&mut w).await;
    let said = ask(&mut w, project, iid, "/gantry apply network").await;
    assert!(said.contains("Nothing is applied before the merge. Merge it first."), "{said}");
    let run = merged(&mut w, project, iid).await;
    let said = ask(&mut w, project, iid, "/gantry apply network").await;
    assert!(said.contains(&run) && said.contains("): Confirmed. Applying next."), "{said}");
    assert_eq!(w.run_in("network", "finished").await, run);
    let (_, shown) = w.api(Method::GET, &format!("/runs/{run}"), None).await;
    let steps = shown["history"].as_array().unwrap();
    let step = steps.iter().find(|step| step["comment"].is_string()).unwrap();
    assert_eq!(step["comment"], format!("In a comment on !{iid}"), "{shown:#}");
    assert_eq!(step["by"], "Dev @dev", "{shown:#}");
    let said = ask(&mut w, project, iid, "/gantry confirm").await;
    assert!(said.contains("No deploy of this merge request waits for confirmation."), "{said}");
    let said = ask(&mut w, project, iid, "/gantry plan").await;
    assert!(said.contains("Only open merge requests are planned"), "{said}");
    w
});

story!(a_deploy_is_discarded_by_its_run, |mut w| async move {
    let (project, iid) = proposed(&mut w).await;
    let run = merged(&mut w, project, iid).await;
    let said = ask(&mut w, project, iid, &format!("/gantry discard {run}")).await;
    assert!(said.contains(&run) && said.contains("): Discarded"), "{said}");
    assert_eq!(w.run_in("network", "discarded").await, run);
    w
});

story!(what_a_merge_request_has_running_is_stopped, |mut w| async move {
    let project = w.plain_project("acme/network");
    stack(&mut w, project, "network", "infra").await;
    w.hold("network");
    w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    let run = w.run_in("network", "planning").await;
    let said = ask(&mut w, project, iid, "/gantry stop").await;
    assert!(said.contains("- [network](http") && said.contains(&run), "{said}");
    assert_eq!(w.run_in("network", "stopped").await, run);
    w.release("network");
    w.settle().await;
    let said = ask(&mut w, project, iid, "/gantry stop").await;
    assert!(said.contains("nothing of this merge request is running"), "{said}");
    w
});

story!(a_lost_apply_is_unlocked_with_what_was_found, |mut w| async move {
    let (project, iid) = proposed(&mut w).await;
    merged(&mut w, project, iid).await;
    w.hold("network");
    ask(&mut w, project, iid, "/gantry confirm").await;
    w.pass(MINUTE / 2).await;
    w.run_in("network", "applying").await;
    w.runners_die("network");
    w.pass(10 * MINUTE).await;
    w.run_in("network", "failed").await;
    assert_eq!(w.blocked().await, 1);
    w.release("network");
    let said = ask(&mut w, project, iid, "/gantry unlock network").await;
    assert!(said.contains("say what you found about the lost apply"), "{said}");
    assert_eq!(w.blocked().await, 1);
    let said = ask(&mut w, project, iid, "/gantry unlock network nothing was made").await;
    assert!(said.contains("Unblocked: nothing was made"), "{said}");
    // The list is kept by whoever counts it.
    w.pass(2 * MINUTE).await;
    assert_eq!(w.blocked().await, 0);
    w
});

story!(each_may_do_what_their_role_in_the_project_gives, |mut w| async move {
    let (project, iid) = proposed(&mut w).await;
    let [developer, reporter, visitor] =
        ["developer", "reporter", "visitor"].map(|name| w.gitlab.person(name));
    w.gitlab.set_member(project, developer.id(), 30);
    w.gitlab.set_member(project, reporter.id(), 20);
    // Who sees no stack is not told that there are any.
    visitor.comment(project, iid, "/gantry plan").unwrap();
    visitor.comment(project, iid, "/gantry help").unwrap();
    w.catch_up().await;
    expect_no_answer(&w, project, iid);
    assert_eq!(w.runs("network").await.len(), 1);
    let events = events(&mut w).await;
    // Whoever takes over where a process has ended finds it done.
    let is_said = ["its author has no role in the project", r#""outcome":"already processed""#]
        .into_iter()
        .any(|why| events.contains(why));
    assert!(is_said, "{events}");

    let said = tell(&mut w, &reporter, project, iid, "/gantry plan").await;
    let denied = "this takes the role Developer in the project, and you are Reporter";
    assert!(said.contains(&format!("- network: Not done: {denied}")), "{said}");
    assert_eq!(w.runs("network").await.len(), 1);
    tell(&mut w, &developer, project, iid, "/gantry plan").await;
    assert_eq!(w.runs("network").await.len(), 2);
    let run = merged(&mut w, project, iid).await;
    let said = tell(&mut w, &developer, project, iid, "/gantry apply network").await;
    let denied = "this takes the role Maintainer in the project, and you are Developer";
    assert!(said.contains(denied), "{said}");
    assert_eq!(w.run_in("network", "unconfirmed").await, run);
    w
});

story!(what_is_no_plain_text_of_a_person_does_nothing, |mut w| async move {
    let (project, iid) = proposed(&mut w).await;
    for text in [
        "```\n/gantry plan\n```",
        "    /gantry plan",
        "> /gantry plan",
        "- /gantry plan",
        "<div>\n/gantry plan\n</div>",
        "<details><summary>How</summary>\n\n/gantry plan\n\n</details>",
        "<!--\n/gantry plan\n-->",
        "Say /gantry plan to plan again",
    ] {
        w.dev.comment(project, iid, text).unwrap();
    }
    w.dev.comment_internally(project, iid, "/gantry plan").unwrap();
    w.gitlab.create_bot("robot");
    let robot = w.gitlab.person("robot");
    w.gitlab.set_member(project, robot.id(), 40);
    robot.comment(project, iid, "/gantry plan").unwrap();
    let blocked = w.gitlab.person("blocked");
    w.gitlab.set_member(project, blocked.id(), 40);
    blocked.comment(project, iid, "/gantry plan").unwrap();
    w.gitlab.set_blocked(blocked.id(), true);
    w.catch_up().await;
    expect_no_answer(&w, project, iid);
    assert_eq!(w.runs("network").await.len(), 1, "{}", w.history());
    w
});

story!(a_reply_by_mail_repeats_nothing_that_it_quotes, |mut w| async move {
    let (project, iid) = proposed(&mut w).await;
    let note = w.dev.comment(project, iid, "/gantry plan").unwrap().unwrap();
    w.catch_up().await;
    assert_eq!(w.runs("network").await.len(), 2);
    w.dev.reply_by_mail(project, iid, note, "Thank you!").unwrap();
    w.catch_up().await;
    assert_eq!(w.runs("network").await.len(), 2);
    answer(&w, project, iid, note);
    // What is written above the quote is a comment like any other.
    w.dev.reply_by_mail(project, iid, note, "/gantry help").unwrap();
    w.catch_up().await;
    assert_eq!(w.runs("network").await.len(), 2);
    let said = answers(&w, project, iid);
    assert_eq!(said.len(), 2, "{said:#?}");
    assert_eq!(said[0].discussion, said[1].discussion);
    w
});

story!(an_edit_makes_no_command, |mut w| async move {
    let (project, iid) = proposed(&mut w).await;
    let note = w.dev.comment(project, iid, "Looks good").unwrap().unwrap();
    w.skip(Duration::from_secs(1));
    w.dev.edit_comment(project, iid, note, "/gantry plan").unwrap();
    w.catch_up().await;
    w.pass(11 * MINUTE).await;
    expect_no_answer(&w, project, iid);
    assert_eq!(w.runs("network").await.len(), 1);
    w
});

story!(a_command_that_was_edited_before_it_is_read_does_nothing, with_webhooks, |mut w| {
    async move {
        let (project, iid) = proposed(&mut w).await;
        let note = w.dev.comment(project, iid, "/gantry help").unwrap().unwrap();
        let hooks = w.gitlab.take_pending();
        w.skip(Duration::from_secs(1));
        w.dev.edit_comment(project, iid, note, "/gantry plan").unwrap();
        for hook in hooks {
            w.deliver(hook).await;
        }
        w.catch_up().await;
        expect_no_answer(&w, project, iid);
        assert_eq!(w.runs("network").await.len(), 1);
        let events = events(&mut w).await;
        assert!(events.contains("it has changed since it was written"), "{events}");
        w
    }
});

// Whoever may change a webhook can have GitLab send any body with its secret.
story!(a_body_that_says_otherwise_makes_no_command_of_an_edit, with_webhooks, |mut w| {
    async move {
        let (project, iid) = proposed(&mut w).await;
        let note = w.dev.comment(project, iid, "Looks good").unwrap().unwrap();
        w.skip(Duration::from_secs(1));
        w.dev.edit_comment(project, iid, note, "/gantry plan").unwrap();
        w.settle().await;
        let (secret, url) = w.webhook().await;
        let body = json!({
            "object_kind": "note",
            "project_id": project.0,
            "object_attributes": {
                "id": note.0,
                "note": "/gantry plan",
                "noteable_type": "MergeRequest",
                "action": "create",
            },
            "merge_request": { "iid": iid.0 },
        });
        assert_eq!(w.post_webhook(&url, &secret, "Note Hook", &body).await, 200);
        w.settle().await;
        expect_no_answer(&w, project, iid);
        assert_eq!(w.runs("network").await.len(), 1);
        let events = events(&mut w).await;
        assert!(events.contains("it has changed since it was written"), "{events}");
        w
    }
});

story!(an_edit_afterwards_does_nothing_more, |mut w| async move {
    let (project, iid) = proposed(&mut w).await;
    let note = w.dev.comment(project, iid, "/gantry help").unwrap().unwrap();
    w.catch_up().await;
    let before = answer(&w, project, iid, note);
    w.dev.edit_comment(project, iid, note, "/gantry plan").unwrap();
    w.catch_up().await;
    w.pass(11 * MINUTE).await;
    assert_eq!(answer(&w, project, iid, note), before);
    assert_eq!(w.runs("network").await.len(), 1);
    w
});

story!(a_comment_that_is_gone_before_it_is_read_does_nothing, |mut w| async move {
    let (project, iid) = proposed(&mut w).await;
    let note = w.dev.comment(project, iid, "/gantry plan").unwrap().unwrap();
    w.dev.delete_comment(project, iid, note).unwrap();
    w.catch_up().await;
    assert_eq!(w.runs("network").await.len(), 1);
    expect_no_answer(&w, project, iid);
    w
});

story!(a_comment_that_is_gone_before_its_answer_is_not_answered, |mut w| async move {
    let (project, iid) = proposed(&mut w).await;
    let note = w.dev.comment(project, iid, "/gantry plan").unwrap().unwrap();
    for method in ["GET", "POST"] {
        w.gitlab.fail_always(Matcher::new(method, "/discussions"), Fault::status(502));
    }
    w.endure(2 * MINUTE, Duration::from_secs(10)).await;
    w.dev.delete_comment(project, iid, note).unwrap();
    w.gitlab.clear_faults();
    w.pass(20 * MINUTE).await;
    assert_eq!(w.runs("network").await.len(), 2, "what it asked for was done");
    expect_no_answer(&w, project, iid);
    let (_, integration) = w.api(Method::GET, "/integration", None).await;
    assert_eq!(integration["broken"], json!([]), "{integration:#}");
    w
});

story!(a_comment_of_which_no_webhook_told_is_found, |mut w| async move {
    let (project, iid) = proposed(&mut w).await;
    let first = w.dev.comment(project, iid, "/gantry plan").unwrap().unwrap();
    w.gitlab.drop_pending();
    w.pass(11 * MINUTE).await;
    answer(&w, project, iid, first);
    assert_eq!(w.runs("network").await.len(), 2);
    // In a thread, right after something that GitLab has written down the time of.
    w.dev.set_title(project, iid, "Another title").unwrap();
    w.catch_up().await;
    w.dev.reply(project, iid, first, "/gantry help").unwrap();
    w.gitlab.drop_pending();
    w.pass(11 * MINUTE).await;
    let said = answers(&w, project, iid);
    assert_eq!(said.len(), 2, "{said:#?}\n{}", w.history());
    assert_eq!(said[0].discussion, said[1].discussion);
    w
});

story!(a_command_that_is_found_an_hour_late_does_nothing_and_says_so, |mut w| async move {
    let (project, iid) = proposed(&mut w).await;
    w.pass(11 * MINUTE).await;
    w.unlink().await;
    let note = w.dev.comment(project, iid, "/gantry plan").unwrap().unwrap();
    w.gitlab.drop_pending();
    w.pass(65 * MINUTE).await;
    w.link().await;
    w.pass(11 * MINUTE).await;
    let said = answer(&w, project, iid, note);
    assert!(said.contains("more than an hour after it was written"), "{said}");
    assert_eq!(w.runs("network").await.len(), 1);
    w
});

story!(a_comment_from_before_the_stack_took_commands_does_nothing, |mut w| async move {
    let project = w.plain_project("acme/network");
    w.stack(project, "network", "infra", StackOptions::default()).await;
    w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    w.dev.comment(project, iid, "/gantry plan").unwrap();
    w.catch_up().await;
    w.pass(11 * MINUTE).await;
    let takes = json!({ "comment_commands": true });
    let (status, said) = w.api(Method::PUT, "/stacks/network", Some(takes)).await;
    assert!(status.is_success(), "{said}");
    w.settle().await;
    w.pass(11 * MINUTE).await;
    expect_no_answer(&w, project, iid);
    assert_eq!(w.runs("network").await.len(), 1);
    // The webhook calls for comments now.
    let said = ask(&mut w, project, iid, "/gantry plan").await;
    assert!(said.contains("- [network](http"), "{said}");
    assert_eq!(w.runs("network").await.len(), 2);
    let hooks = w.gitlab.hooks(project);
    assert!(hooks.iter().all(|hook| hook.events.contains(&"note_events")), "{hooks:?}");
    w
});

story!(several_commands_have_one_answer, |mut w| async move {
    let (project, iid) = proposed(&mut w).await;
    let text =
        "/gantry plan\n/gantry why\n\n/gantry stop network\n/gantry x\n/gantry help\n/gantry";
    let said = ask(&mut w, project, iid, text).await;
    let lines = ["`/gantry plan`", "`/gantry why`", "`/gantry stop network`", "`/gantry x`"];
    assert!(lines.iter().all(|line| said.contains(line)), "{said}");
    assert!(said.contains("A comment has at most 5 commands; the others did nothing."), "{said}");
    assert_eq!(answers(&w, project, iid).len(), 1);
    w
});

story!(an_answer_holds_no_merge_back, |mut w| async move {
    let options = ProjectOptions {
        threads_must_be_resolved: true,
        ..with_files(&["infra/main.tf", "README.md"])
    };
    let project = w.project("acme/network", options);
    stack(&mut w, project, "network", "infra").await;
    w.push(project, "change", "infra/main.tf", "# one").await;
    let iid = w.open(project, "change").await;
    ask(&mut w, project, iid, "/gantry help").await;
    let answered = answers(&w, project, iid);
    assert!(answered[0].resolved, "{answered:#?}");
    // A thread of people's own is theirs to resolve.
    let asked = w.dev.comment(project, iid, "Why?").unwrap().unwrap();
    w.dev.reply(project, iid, asked, "/gantry why").unwrap();
    w.catch_up().await;
    let notes = w.gitlab.notes(project, iid);
    let of = &notes.iter().find(|note| note.id == asked).unwrap().discussion;
    let thread: Vec<_> = notes.iter().filter(|note| note.discussion == *of).collect();
    assert_eq!(thread.len(), 3, "{thread:#?}");
    assert!(thread.iter().all(|note| !note.resolved), "{thread:#?}");
    w
});
