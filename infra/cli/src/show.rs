//! `gantry show`: a run, and what its plan would change.

use crate::{
    answers::{ChangeSummary, Kind, OneOff, Purpose, Review, Run, Stack, State, Warning},
    args::Show,
    change,
    ended::Ended,
    error::{About as _, Error},
    list::json,
    run_name, safe,
    session::Session,
    words,
};

/// Shows a run.
pub(crate) async fn show(session: &mut Session, args: &Show) -> Result<Ended, Error> {
    let run = run_name::find(session, &args.run, "show").await?;
    let id = run.summary.id.as_str();
    let change = match args.change {
        true => {
            let change = session.get(&["runs", id, "change"], &[]).await;
            Some(change.about(|| format!("show the change of {}", run.summary.name()))?)
        }
        false => None,
    };
    if args.json {
        let document = match change {
            Some(change) => change,
            None => session.get(&["runs", id], &[]).await?,
        };
        return json(session, &document);
    }
    let blocked = blocked_page(session, &run).await;
    let mut text = detail(&run, &page(session, &run), blocked.as_deref());
    if let Some(change) = change {
        text.push_str(&format!("\n\n{}", change::text(&change)));
    }
    session.screen.result(&text)?;
    Ok(Ended::Done)
}

/// The address of a run's page.
pub(crate) fn page(session: &Session, run: &Run) -> String {
    let said = run.summary.page.as_deref().filter(|page| crate::address::is_page(page));
    // As it is read, not as it was sent: that may hold what a terminal obeys.
    let said = said.and_then(|page| reqwest::Url::parse(page).ok());
    said.map_or_else(|| session.base().below(&["runs", &run.summary.id]), |page| page.to_string())
}

/// A stack, or a module, and its page.
pub(crate) async fn stack(session: &mut Session, slug: &str) -> Result<(Stack, String), Error> {
    let (stack, module) = (["stacks", slug], ["modules", slug]);
    let no_stack = match session.get_as(&stack, &[]).await {
        Err(Error::Refused(refusal)) if refusal.status == 404 => Error::Refused(refusal),
        found => return Ok((found?, session.base().below(&stack))),
    };
    match session.get_as(&module, &[]).await {
        Err(Error::Refused(refusal)) if refusal.status == 404 => Err(no_stack),
        found => Ok((found?, session.base().below(&module))),
    }
}

/// The page of the run's stack where the run has blocked it, and nobody has unblocked it since.
pub(crate) async fn blocked_page(session: &mut Session, run: &Run) -> Option<String> {
    if run.summary.state != State::Failed {
        return None;
    }
    // How the run ended is worth saying also where this cannot be read.
    let (stack, page) = stack(session, &run.summary.stack).await.ok()?;
    let blocked = stack.status.blocked?;
    (blocked.run == run.summary.id).then_some(page)
}

/// A run as a list of what is known of it. `blocked` is the page of the stack that it has blocked.
fn detail(run: &Run, page: &str, blocked: Option<&str>) -> String {
    let of = &run.summary;
    let now = words::now();
    let name = safe::line(&of.name());
    let mut text = format!("{name}: {} ({})\n", words::state(of), words::ago(of.since, now));
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("\n{name:<12} {}", safe::line(value)));
        }
    };
    let by_itself = if run.autodeploy { ", applied without confirmation" } else { "" };
    line("Type", &format!("{}{by_itself}", words::kind(of)));
    match &of.uploaded_by {
        Some(_) => line("Code", &format!("{} (not from a commit)", of.code())),
        None => line("Commit", &format!("{} ({})", of.commit, of.git_ref)),
    }
    // The reason of a run that was started by hand names who did.
    let by = of.by.as_ref().filter(|by| !of.reason.ends_with(by.as_str()));
    let by = by.map(|by| format!(", by {by}")).unwrap_or_default();
    line("Reason", &format!("{}{by}", of.reason));
    line("For", &of.purpose.as_ref().map(words::purpose).unwrap_or_default());
    if let Some(Purpose::Task { command, .. }) = &of.purpose {
        for (at, part) in command.lines().enumerate() {
            line(if at == 0 { "Command" } else { "" }, part);
        }
    }
    for (name, value) in options(run) {
        line(name, &value);
    }
    line("Started", &words::ago(of.created_at, now));
    line("Waits for", run.waits_for.as_deref().unwrap_or_default());
    line("Stop asked", run.stop_asked.as_deref().unwrap_or_default());
    line("Plan", &of.delta.map(words::to_do).unwrap_or_default());
    for remark in run.change.iter().flat_map(remarks) {
        line("Note", &remark);
    }
    for warning in &run.warnings {
        line("Warning", &warned(warning));
    }
    if let Some(approval) = &run.approval {
        line("Approvals", &approval.message);
    }
    for review in &run.reviews {
        line("Review", &reviewed(review));
    }
    if let Some(ending) = &run.ending {
        line("Ended", &ending.summary);
        for error in &ending.errors {
            for (at, part) in error.lines().enumerate() {
                line(if at == 0 { "Error" } else { "" }, part);
            }
        }
    }
    if run.lost {
        line("Lost", "its apply was lost: nobody knows what it did. Look at the state.");
    }
    if let Some(page) = blocked {
        line("Stack", &format!("blocked until somebody has looked: {page}"));
    }
    for refused in &run.refused_by_gitlab {
        line("GitLab", &format!("refused what the run should show there: {refused}"));
    }
    line("Page", page);
    line("Next", &next(run, blocked.is_some()));
    text
}

/// What is unusual about how it plans.
pub(crate) fn options(run: &Run) -> Vec<(&'static str, String)> {
    let options = &run.options;
    let (destroys, refresh) = match options.mode.as_str() {
        "destroy" if options.targets.is_empty() => ("everything that the stack holds", ""),
        "destroy" => ("its targets", ""),
        "refresh_only" => ("", "only: what there is becomes the state"),
        _ => ("", ""),
    };
    let variable = |of: &OneOff| match of.secret {
        true => format!("{} (secret)", of.name),
        false => of.name.clone(),
    };
    let variables: Vec<String> = options.variables.iter().map(variable).collect();
    let tolerated = match run.tolerated {
        0 => String::new(),
        count => words::counted(count, "difference"),
    };
    [
        ("Destroys", destroys.to_owned()),
        ("Refresh", refresh.to_owned()),
        ("Targets", options.targets.join(", ")),
        ("Replaces", options.replace.join(", ")),
        ("Variables", variables.join(", ")),
        ("Tolerated", tolerated),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .collect()
}

/// What people should know of a plan.
pub(crate) fn remarks(change: &ChangeSummary) -> Vec<String> {
    let mut remarks = Vec::new();
    if change.errored {
        remarks.push("The plan is incomplete: an error ended it.".to_owned());
    }
    if change.partial {
        remarks.push("The plan covers only a part of the configuration.".to_owned());
    }
    remarks.extend(change.remarks.iter().cloned());
    let outside = format!("changed outside of {}.", words::tool(change.tool.as_deref()));
    let counts = [
        (change.drift, "resource", outside.as_str()),
        (change.deferred, "change", "put off to a later plan."),
        (change.failing_checks, "check", "failed."),
    ];
    let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
    remarks.extend(
        counts.map(|(count, noun, what)| format!("{} {what}", words::counted(count, noun))),
    );
    if change.tool_warnings > 0 {
        remarks
            .push(format!("{} while planning.", words::counted(change.tool_warnings, "warning")));
    }
    remarks
}

fn warned(warning: &Warning) -> String {
    let place = warning.place.as_ref().map(|place| format!(", {place}")).unwrap_or_default();
    let often =
        if warning.count > 1 { format!(" ({} times)", warning.count) } else { String::new() };
    format!("{}{place}{often}", warning.summary)
}

fn reviewed(review: &Review) -> String {
    let comment = review.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
    let decision = match review.decision.as_str() {
        "approve" => "approved",
        "reject" => "rejected",
        other => other,
    };
    format!("{decision} by @{}{comment}", review.by.username)
}

/// What a person can do with the run now.
fn next(run: &Run, is_blocking: bool) -> String {
    let name = run.summary.name();
    if is_blocking {
        return format!("gantry logs {name}, then gantry unblock {}", run.summary.stack);
    }
    if run.may("confirm") {
        return format!("gantry confirm {name}, or gantry discard {name}");
    }
    match run.summary.state {
        State::Unconfirmed | State::Confirmed if run.may("discard") => {
            format!("gantry discard {name}")
        }
        State::Failed if run.summary.kind != Kind::Test => format!("gantry logs {name}"),
        state if state.is_final() => String::new(),
        _ => format!("gantry logs {name} --follow"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_run_is_shown_with_what_to_do_next() {
        let run: Run = serde_json::from_value(json!({
            "id": "r-8c41d7", "number": 6, "stack": "network", "type": "tracked",
            "state": "unconfirmed", "commit": "4f1c2ab09d3e57f6a8b1c0d2e3f405162738495a",
            "git_ref": "main", "reason": "push to main", "by": "ada",
            "delta": { "add": 1, "change": 0, "destroy": 2 }, "applied": false, "summary": null,
            "created_at": "2026-03-02T09:30:00Z", "since": "2026-03-02T09:31:40Z", "page": null,
            "waits_for": null, "autodeploy": false, "lost": false, "ending": null,
            "warnings": [{ "summary": "Old argument\u{1b}[2J", "place": "on main.tf line 3", "count": 2 }],
            "approval": { "state": "needs_approvals", "message": "waits for 1 of 2 approvals, by @ops", "at": "2026-03-02T09:32:00Z" },
            "reviews": [{ "by": { "id": 7, "username": "grace", "name": "Grace" }, "decision": "approve", "comment": "fine\u{1b}[2J", "at": "2026-03-02T09:32:00Z" }],
            "change": { "remarks": ["x is no longer sensitive"], "drift": 1, "tool_warnings": 1, "tool": "opentofu" },
            "actions": ["confirm", "discard"], "refused_by_gitlab": [],
        }))
        .unwrap();
        let text = detail(&run, "https://gantry.example.com/runs/r-8c41d7", None);
        // All but how long ago it was.
        let lines = text.lines().filter(|line| !line.contains(" ago"));
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r"

        Type         Deploy
        Commit       4f1c2ab09d3e57f6a8b1c0d2e3f405162738495a (main)
        Reason       push to main, by ada
        Plan         1 to add, 0 to change, 2 to destroy
        Note         x is no longer sensitive
        Note         1 resource changed outside of OpenTofu.
        Note         1 warning while planning.
        Warning      Old argument\u001b[2J, on main.tf line 3 (2 times)
        Approvals    waits for 1 of 2 approvals, by @ops
        Review       approved by @grace: fine\u001b[2J
        Page         https://gantry.example.com/runs/r-8c41d7
        Next         gantry confirm network#6, or gantry discard network#6
        ");
        assert!(text.starts_with("network#6: Needs confirmation ("), "{text}");
        let mut unusual = run.clone();
        unusual.summary.purpose = serde_json::from_value(json!({
            "kind": "task", "command": "one\ntwo\u{1b}[2J", "schedule": "nightly",
        }))
        .unwrap();
        unusual.options = serde_json::from_value(json!({
            "mode": "destroy", "targets": ["module.a", "b.c"],
            "variables": [{ "name": "A", "value": "b" }, { "name": "TOKEN", "secret": true }],
        }))
        .unwrap();
        let text = detail(&unusual, "", None);
        for line in [
            "Type         Task\n",
            "For          task of the schedule nightly\n",
            "Command      one\n             two\\u001b[2J\n",
            "Destroys     its targets\n",
            "Targets      module.a, b.c\n",
            "Variables    A, TOKEN (secret)\n",
        ] {
            assert!(text.contains(line), "{line:?}: {text}");
        }
        let mut failed = Run { actions: Vec::new(), ..run };
        failed.summary.state = State::Failed;
        failed.summary.reason = "started by ada".to_owned();
        let text = detail(&failed, "", Some("https://gantry.example.com/stacks/network"));
        for line in [
            "Reason       started by ada\n",
            "Stack        blocked until somebody has looked: https://gantry.example.com/stacks",
            "Next         gantry logs network#6, then gantry unblock network",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
