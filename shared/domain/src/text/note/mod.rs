//! The note of a merge request: what its stacks would do, in one comment that is edited in place.
//!
//! The text depends on nothing but [`NoteInput`], so that an unchanged state gives an unchanged
//! text and nothing is written. It never holds a moment or an age.

mod budget;
mod section;

use super::{
    counted, cut, grouped,
    markdown::{code_cell, inline_code, link, plain, table_cell},
    more,
    status::{CommitState, RunView, failed_of_gate, of_gate, of_run, still_waiting},
};
use crate::{
    CommitSha, MergeRequestIid, ProjectId,
    plan::Change,
    run::{RunState, RunType},
    stack::{AppliedSince, CommentLevel},
};
use section::Section;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that a note may take. GitLab's limit is ten times that, but long notes are slow to show.
pub const BUDGET: usize = 100_000;

/// Characters of a result in the table.
const RESULT_CHARS: usize = 160;
/// Names listed in a sentence.
const NAMES: usize = 10;
/// Who may do in Gantry what a note asks for.
const DEPLOYER: &str = "somebody who may deploy in Gantry";
/// How a stack is applied that asks nobody. What GitLab protects its environment with is read when the
/// deploy begins.
const BY_ITSELF: &str = "without asking anybody, unless GitLab's rules for the environment do";
/// Who may unblock a stack.
const ADMIN: &str = "somebody who may unblock stacks in Gantry";

/// What a note says.
#[derive(Debug, Clone)]
pub struct NoteInput {
    /// The installation's id, for the marker.
    pub installation: String,
    /// The merge request's project.
    pub project: ProjectId,
    /// The merge request's number.
    pub iid: MergeRequestIid,
    /// The commit that the runs are for: the merge request's head.
    pub commit: CommitSha,
    /// The branch that it is to be merged into.
    pub target_branch: String,
    /// Commits of the target that the head lacks, when that is known.
    pub behind: Option<u32>,
    /// What became of the merge request.
    pub state: MergeRequestState,
    /// The affected stacks, in any order.
    pub stacks: Vec<NoteStack>,
    /// The tracked runs that the merge started, and their stacks.
    pub tracked: Vec<NoteStack>,
}

/// What became of a merge request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeRequestState {
    /// It may still be merged.
    Open,
    /// It was merged.
    Merged,
    /// It was closed without being merged.
    Closed,
}

/// A stack in a note, by one of its runs.
#[derive(Debug, Clone)]
pub struct NoteStack {
    /// The run.
    pub run: RunView,
    /// How much is shown of it.
    pub level: CommentLevel,
    /// What the plan found, when it is done and [`Self::level`] asks for it.
    pub change: Option<Change>,
    /// Terraform's errors, masked.
    pub errors: Vec<String>,
    /// The last lines of the log, masked.
    pub log_tail: Vec<String>,
    /// How another run of the stack was applied after this plan was made, if one was.
    pub applied_since: Option<AppliedSince>,
    /// What the stack does with a merge.
    pub after_merge: AfterMerge,
    /// Its deploys mention the merge request's author.
    pub mentions: bool,
    /// The run has blocked the stack: what its apply did, or where its state is, is not certain.
    pub blocks: bool,
}

/// What a stack does once its change is merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AfterMerge {
    /// It starts no deploy: another branch is its own, or it has no deploys.
    #[default]
    Nothing,
    /// A deploy begins, which somebody confirms.
    Confirm,
    /// A deploy begins, and is applied by itself once the stack has the approvals that it asks for.
    Approved,
    /// A deploy begins, and is applied by itself.
    Automatic,
}

/// The first line of a merge request's note, by which it is found again. Only a note of the bot's
/// own user that *starts* with it is the one.
pub fn marker(installation: &str, project: ProjectId, iid: MergeRequestIid) -> String {
    let key = |c: &char| c.is_ascii_alphanumeric() || *c == '_' || *c == '.';
    let installation: String = installation.chars().filter(key).collect();
    format!("<!-- gantry:{installation}:{project}:{iid} -->")
}

/// The first line of the comment that mentions a merge request's author.
pub fn mention_marker(installation: &str, project: ProjectId, iid: MergeRequestIid) -> String {
    marker(installation, project, iid).replacen("gantry:", "gantry-mention:", 1)
}

/// The comment that mentions the author of a merged merge request: deploys need somebody. An edit of
/// the note would notify nobody. None when no run that asks for it is in such a state, or `author`
/// is not a name that GitLab gives to people.
pub fn mention(input: &NoteInput, author: &str) -> Option<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if author.is_empty() || author == "all" || !author.chars().all(is_name) {
        return None;
    }
    // What failed may have been repeated since.
    let is_newest = |stack: &NoteStack| {
        let others = input.tracked.iter().filter(|other| other.run.name == stack.run.name);
        others.map(|other| other.run.number).max() == Some(stack.run.number)
    };
    let line = |stack: &NoteStack| {
        let said = match stack.run.state {
            _ if !is_newest(stack) => return None,
            RunState::Unconfirmed => "needs confirmation".to_owned(),
            RunState::Failed if stack.level == CommentLevel::None => "failed".to_owned(),
            RunState::Failed => plain(&cut(&stack.run.failure(), RESULT_CHARS)),
            _ => return None,
        };
        let name = code_cell(&stack.run.name, 100);
        Some(format!("- {name}: {said}, {}\n", link("see the run", &stack.run.url)))
    };
    let lines: Vec<String> =
        input.tracked.iter().filter(|stack| stack.mentions).filter_map(line).take(NAMES).collect();
    if lines.is_empty() {
        return None;
    }
    let marker = mention_marker(&input.installation, input.project, input.iid);
    Some(format!("{marker}\n@{author} your merge needs attention:\n\n{}", lines.concat()))
}

/// True when there is something to say. A note that exists is brought up to date even when not.
pub fn is_wanted(input: &NoteInput) -> bool {
    input.stacks.iter().any(|stack| stack.level != CommentLevel::None)
}

/// The whole note, at most [`BUDGET`] bytes.
pub fn render(input: &NoteInput) -> String {
    let mut stacks: Vec<&NoteStack> =
        input.stacks.iter().filter(|s| s.level != CommentLevel::None).collect();
    stacks.sort_by(|a, b| a.run.name.cmp(&b.run.name));

    let is_merged = input.state == MergeRequestState::Merged;
    let started = input.tracked.iter().filter(|s| is_merged && s.level != CommentLevel::None);
    let started: Vec<&NoteStack> = started.collect();
    let deploys = newest(&started);

    let mut note = marker(&input.installation, input.project, input.iid) + "\n";
    note += &headline(if deploys.is_empty() { &stacks } else { &deploys });
    note += &context(input, &stacks);
    note += &tracked(&started);
    if !stacks.is_empty() {
        if is_merged {
            note += "\nThe plan before the merge:\n";
        }
        let rows = stacks.iter().map(|s| (importance(&s.run), row(s))).collect();
        note += "\n| Stack | Result | + | ~ | − | Run |\n|---|---|---:|---:|---:|---|\n";
        note += &table(rows, BUDGET * 4 / 10, "stack");
    }
    note += &next_step(input, &stacks, &deploys);
    // A deploy that failed is the news: the plans before the merge come behind it.
    let (failed, others): (Vec<&NoteStack>, Vec<&NoteStack>) =
        started.into_iter().partition(|s| s.run.state == RunState::Failed);
    // Where space is short, what failed and what changes keep their place.
    let mut sections: Vec<(u8, Section)> = failed
        .into_iter()
        .chain(stacks)
        .chain(others)
        .filter(|s| s.level == CommentLevel::Full)
        .filter_map(|s| Some((importance(&s.run), section::of(s)?)))
        .collect();
    note += &budget::share(&mut sections, BUDGET.saturating_sub(note.len()));
    note
}

/// Of a stack whose deploy was repeated, the last one.
fn newest<'a>(started: &[&'a NoteStack]) -> Vec<&'a NoteStack> {
    let mut newest: BTreeMap<&str, &NoteStack> = BTreeMap::new();
    for &stack in started {
        let kept = newest.entry(&stack.run.name).or_insert(stack);
        if kept.run.number < stack.run.number {
            *kept = stack;
        }
    }
    newest.into_values().collect()
}

/// What became of these runs; what failed is told while others still go on.
fn headline(stacks: &[&NoteStack]) -> String {
    let runs: Vec<&RunView> = stacks.iter().map(|stack| &stack.run).collect();
    let gate = of_gate(&runs);
    let is_open = gate.state == CommitState::Pending;
    let mut said = vec![plain(&if is_open { still_waiting(&runs) } else { gate.description })];
    let failed: Vec<&str> =
        failed_of_gate(&runs).into_iter().map(|run| run.name.as_str()).collect();
    if is_open && !failed.is_empty() {
        let names = format!("{} failed: {}", grouped(failed.len()), failed.join(", "));
        said.push(plain(&cut(&names, RESULT_CHARS)));
    }
    // One that has ended says itself how many checks failed.
    let counted_here = stacks.iter().filter(|_| is_open);
    let checks: usize = counted_here.map(|stack| failed_checks(stack)).sum();
    if checks > 0 {
        said.push(format!("{} failed", counted(checks, "check")));
    }
    format!("### Gantry: {}\n\n", said.join(" · "))
}

/// For which commit this is, and what has happened since.
fn context(input: &NoteInput, stacks: &[&NoteStack]) -> String {
    let branch = inline_code(&input.target_branch);
    let behind = match input.behind {
        None => String::new(),
        // Nobody writes the note anew when the branch moves.
        Some(0) => format!(", up to date with {branch} at the time"),
        Some(n) => format!(", {} behind {branch} at the time", counted(n as usize, "commit")),
    };
    // Without backticks GitLab makes it a link to the commit.
    let mut out = format!("Plan for commit {}{behind}.\n", input.commit.short());
    match input.state {
        MergeRequestState::Open => {}
        MergeRequestState::Merged if input.tracked.is_empty() => {
            out += "\n**Merged.** Runs started by the merge will be linked here.\n";
        }
        MergeRequestState::Merged => out += "\n**Merged.**\n",
        MergeRequestState::Closed => {
            out += "\n**Closed without merging.** None of this will be applied.\n";
        }
    }
    if input.state == MergeRequestState::Open {
        out += &applied_since(stacks);
    }
    out
}

/// Which of the plans are old.
fn applied_since(stacks: &[&NoteStack]) -> String {
    let since = |how: AppliedSince| named(&those(stacks, |s| s.applied_since == Some(how)));
    let done = since(AppliedSince::Done).map(|(names, is_one)| {
        let was = if is_one { "was" } else { "were" };
        format!("{names} {was} applied after this plan.")
    });
    let in_part = since(AppliedSince::InPart)
        .map(|(names, _)| format!("{names} may have been applied in part after this plan."));
    let said: Vec<String> = done.into_iter().chain(in_part).collect();
    if said.is_empty() {
        return String::new();
    }
    format!(
        "\n⚠️ {} Rebase or push to see what would change now (or ask for “Plan again” in \
         Gantry).\n",
        said.join(" ")
    )
}

/// Who does what now.
fn next_step(input: &NoteInput, stacks: &[&NoteStack], deploys: &[&NoteStack]) -> String {
    let said = match input.state {
        MergeRequestState::Open if stacks.iter().any(|s| !s.run.state.is_final()) => None,
        MergeRequestState::Open => next_before_merge(stacks),
        MergeRequestState::Merged => next_after_merge(deploys),
        MergeRequestState::Closed => None,
    };
    said.map(|said| format!("\n**Next:** {said}\n")).unwrap_or_default()
}

fn next_before_merge(stacks: &[&NoteStack]) -> Option<String> {
    let failed = those(stacks, |s| s.run.state == RunState::Failed);
    if let Some((names, _)) = named(&failed) {
        // What the tool said may be of the code, or of a locked state and the like.
        let again = again(&failed);
        return Some(format!(
            "fix the code of {names} and push: a push plans everything anew. If the code is not \
             the reason (a lost runner, a time limit, a locked state), ask {DEPLOYER} to open the \
             run and choose {again}."
        ));
    }
    let changes = |s: &NoteStack| s.run.delta.is_some_and(|delta| !delta.is_empty());
    let after = |wanted: AfterMerge| {
        named(&those(stacks, |s| s.after_merge == wanted && changes(s))).map(|(names, _)| names)
    };
    let said = match (after(AfterMerge::Confirm), after(AfterMerge::Automatic)) {
        (None, None) => None,
        (Some(names), None) => Some(format!(
            "after the merge, Gantry plans {names} again, and applies once {DEPLOYER} confirms."
        )),
        (None, Some(names)) => Some(format!("the merge applies {names} {BY_ITSELF}.")),
        (Some(asks), Some(names)) => Some(format!(
            "the merge applies {names} {BY_ITSELF}. Gantry applies {asks} once {DEPLOYER} confirms."
        )),
    };
    let approved = after(AfterMerge::Approved).map(|names| {
        format!("{names} as soon as the approvals are given that the stack asks for.")
    });
    match (said, approved) {
        (said, None) => said,
        (None, Some(names)) => {
            Some(format!("after the merge, Gantry plans again, and applies {names}"))
        }
        (Some(said), Some(names)) => Some(format!("{said} Gantry applies {names}")),
    }
}

/// What went wrong first.
fn next_after_merge(deploys: &[&NoteStack]) -> Option<String> {
    let in_state = |state: RunState| those(deploys, |s| s.run.state == state);
    // Also one whose change is applied, when its state was set aside.
    let blocking = those(deploys, |s| s.blocks);
    let failed = those(deploys, |s| s.run.state == RunState::Failed && !s.blocks);
    let how = |s: &NoteStack| match s.run.applied_in_part {
        _ if s.run.module => Failed::Tests,
        true => Failed::InApply,
        false => Failed::BeforeApply,
    };
    let mut said = Vec::new();
    said.extend(named(&blocking).map(|(names, is_one)| match is_one {
        true => format!(
            "{names} blocked its stack because the result of its apply is not certain: {ADMIN} \
             opens the run, checks the state and the infrastructure, and unblocks the stack. \
             Nothing is deployed there until then."
        ),
        false => format!(
            "{names} blocked their stacks because the results of their applies are not certain: \
             {ADMIN} opens each run, checks the state and the infrastructure, and unblocks the \
             stack. Nothing is deployed there until then."
        ),
    }));
    for (wanted, text) in [
        (Failed::InApply, "failed while being applied; a part of the change may be done."),
        (Failed::BeforeApply, "failed before anything was applied."),
        (Failed::Tests, "failed."),
    ] {
        let names = named(&those(&failed, |s| how(s) == wanted));
        said.extend(names.map(|(names, _)| format!("{names} {text}")));
    }
    if !failed.is_empty() {
        let again = again(&failed);
        said.push(format!("Fix the code and merge again, or ask {DEPLOYER} to choose {again}."));
    }
    let unconfirmed = in_state(RunState::Unconfirmed);
    let (approved_first, others): (Vec<&NoteStack>, Vec<&NoteStack>) =
        unconfirmed.into_iter().partition(|s| s.run.needs_approvals());
    let (kept, ready): (Vec<&NoteStack>, Vec<&NoteStack>) =
        others.into_iter().partition(|s| s.run.is_kept_back());
    if let Some((names, is_one)) = named(&approved_first) {
        let need = if is_one { "needs" } else { "need" };
        said.push(format!(
            "{names} {need} approvals first: whoever may give them opens the run, and approves or \
             rejects it."
        ));
    }
    said.extend(named(&kept).map(|(names, is_one)| {
        let why = if is_one { "the run says why" } else { "each run says why" };
        format!("{names} cannot be confirmed as things are: {why}.")
    }));
    if let Some((names, is_one)) = named(&ready) {
        let need = if is_one { "needs" } else { "need" };
        said.push(format!(
            "{names} {need} confirmation: {DEPLOYER} opens the run, and confirms or discards it."
        ));
    }
    said.extend(named(&in_state(RunState::Discarded)).map(|(names, is_one)| match is_one {
        true => format!(
            "{names} was discarded: its change is merged but not applied; the next deploy \
             contains it."
        ),
        false => format!(
            "{names} were discarded: their changes are merged but not applied; the next deploys \
             contain them."
        ),
    }));
    let queued = those(deploys, |s| s.run.state == RunState::Queued && !s.run.module);
    if let Some((names, is_one)) = named(&queued) {
        let is = if is_one { "is" } else { "are" };
        said.push(format!(
            "{names} {is} queued: earlier deploys of the same stack come first, and the run says \
             what it waits for."
        ));
    }
    Some(said.join(" ")).filter(|said| !said.is_empty())
}

/// How far a deploy came that failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failed {
    InApply,
    BeforeApply,
    /// A module's: tests destroy what they apply.
    Tests,
}

fn those<'a>(stacks: &[&'a NoteStack], is: impl Fn(&NoteStack) -> bool) -> Vec<&'a NoteStack> {
    stacks.iter().copied().filter(|stack| is(stack)).collect()
}

/// Their names for a sentence, and whether it is one.
fn named(stacks: &[&NoteStack]) -> Option<(String, bool)> {
    let names: BTreeSet<&str> = stacks.iter().map(|stack| &*stack.run.name).collect();
    let mut names: Vec<String> = names.into_iter().map(inline_code).collect();
    if names.len() > NAMES {
        let rest = names.split_off(NAMES).len();
        names.push(format!("{} more", grouped(rest)));
    }
    let last = names.pop()?;
    Some(match names.is_empty() {
        true => (last, true),
        false => (format!("{} and {last}", names.join(", ")), false),
    })
}

/// What the button is called that starts these runs again.
fn again(stacks: &[&NoteStack]) -> &'static str {
    let tests = stacks.iter().filter(|s| s.run.module || s.run.run_type == RunType::Test).count();
    match tests {
        0 => "“Plan again”",
        _ if tests == stacks.len() => "“Test again”",
        _ => "“Plan again” or “Test again”",
    }
}

fn failed_checks(stack: &NoteStack) -> usize {
    let count = match &stack.change {
        Some(change) => change.failed_checks(),
        // What it came to is its verdict.
        None if stack.run.run_type == RunType::Test => 0,
        None => stack.run.checks,
    };
    count as usize
}

/// Small is important: what failed, what would change something, what is not done, the rest.
fn importance(run: &RunView) -> u8 {
    let changes = run.delta.is_some_and(|d| !d.is_empty());
    match of_run(run).state {
        CommitState::Failed => 0,
        _ if changes => 1,
        CommitState::Pending | CommitState::Running => 2,
        CommitState::Canceled => 3,
        CommitState::Success => 4,
    }
}

/// What happened, in a few words, with a sign for the eye.
fn result(run: &RunView) -> String {
    match run.state {
        RunState::Queued | RunState::Preparing => "⏳ Queued".to_owned(),
        RunState::Initializing | RunState::Planning => "⏳ Planning".to_owned(),
        RunState::Finished if run.run_type == RunType::Proposed && !run.module => {
            let delta = run.delta.unwrap_or_default();
            let rest = delta.besides();
            match (delta.is_empty(), rest.is_empty()) {
                (true, _) => "✅ No changes".to_owned(),
                (false, true) => "✅ Planned".to_owned(),
                (false, false) => format!("✅ Planned, {rest}"),
            }
        }
        _ => {
            let status = of_run(run);
            let is_deploy = run.run_type == RunType::Tracked;
            let sign = match status.state {
                CommitState::Pending | CommitState::Running => "⏳",
                CommitState::Success if is_deploy && run.checks > 0 => "⚠️",
                CommitState::Success => "✅",
                CommitState::Failed => "❌",
                CommitState::Canceled => "⚪",
            };
            format!("{sign} {}", status.description)
        }
    }
}

fn row(stack: &NoteStack) -> String {
    let run = &stack.run;
    // What a test makes, it destroys.
    let stays = run.state == RunState::Finished && run.run_type != RunType::Test;
    let counts = match run.delta.filter(|_| stays) {
        Some(d) => [d.add, d.change, d.destroy].map(|n| grouped(n as usize)).join(" | "),
        None => " |  | ".to_owned(),
    };
    let since = match stack.applied_since {
        None => "",
        Some(AppliedSince::Done) => ", outdated by a later apply",
        Some(AppliedSince::InPart) => ", possibly outdated by an incomplete apply",
    };
    let said = stack.change.as_ref().map_or(String::new(), |change| match change.tool_warned() {
        _ if change.partial => ", but only in part (see below)".to_owned(),
        _ if !change.warnings().is_empty() => ", with a remark (see below)".to_owned(),
        0 => String::new(),
        count => format!(", with {} (see below)", counted(count as usize, "warning")),
    });
    let checks = match (failed_checks(stack), stack.change.as_ref().map(|c| c.checks.as_slice())) {
        (0, _) => String::new(),
        (1, Some([check])) => format!(", but {} failed", table_cell(&check.address, 100)),
        (count, _) => format!(", but {} failed", counted(count, "check")),
    };
    let mut result = result(run);
    if !checks.is_empty() {
        result = result.replacen('✅', "⚠️", 1);
    }
    format!(
        "| {} | {}{checks}{said}{since} | {counts} | {} |\n",
        code_cell(&run.name, 100),
        table_cell(&result, RESULT_CHARS),
        link("run", &run.url),
    )
}

/// The rows that fit, the important ones first to stay; what is left out is counted.
fn table(rows: Vec<(u8, String)>, bytes: usize, noun: &str) -> String {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|i| rows[*i].0);
    let mut left = bytes;
    let mut kept: Vec<usize> = order
        .into_iter()
        .take_while(|i| {
            let fits = rows[*i].1.len() <= left;
            left = left.saturating_sub(rows[*i].1.len());
            fits
        })
        .collect();
    kept.sort_unstable();
    let mut out: String = kept.iter().map(|i| rows[*i].1.as_str()).collect();
    if kept.len() < rows.len() {
        let cut = more(rows.len() - kept.len(), noun);
        out += &format!("\n… and {cut}\n");
    }
    out
}

/// After the merge: the runs that it started, and how they ended.
fn tracked(stacks: &[&NoteStack]) -> String {
    if stacks.is_empty() {
        return String::new();
    }
    let mut runs: Vec<&RunView> = stacks.iter().map(|stack| &stack.run).collect();
    runs.sort_by(|a, b| a.name.cmp(&b.name).then(a.number.cmp(&b.number)));
    let rows = runs
        .iter()
        .map(|run| {
            let row = format!(
                "| {} | {} | {} |\n",
                code_cell(&run.name, 100),
                table_cell(&result(run), RESULT_CHARS),
                link("run", &run.url)
            );
            (importance(run), row)
        })
        .collect();
    "\nThe merge started:\n\n| Stack | Result | Run |\n|---|---|---|\n".to_owned()
        + &table(rows, BUDGET * 2 / 10, "run")
}

#[cfg(test)]
mod tests;
