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
    status::{CommitState, RunView, of_gate, of_run},
};
use crate::{
    CommitSha, MergeRequestIid, ProjectId,
    plan::Change,
    run::{RunState, RunType},
    stack::CommentLevel,
};
use section::Section;
use std::collections::BTreeSet;

/// Bytes that a note may take. GitLab's limit is ten times that, but long notes are slow to show.
pub const BUDGET: usize = 100_000;

/// Characters of a result in the table.
const RESULT_CHARS: usize = 160;
/// Names listed in a sentence.
const NAMES: usize = 10;

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
    /// Another run of the stack was applied after this plan was made.
    pub applied_since: bool,
    /// What the stack does with a merge.
    pub after_merge: AfterMerge,
    /// Its deploys mention the merge request's author.
    pub mentions: bool,
}

/// What a stack does once its change is merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AfterMerge {
    /// It starts no deploy: another branch is its own, or it has no deploys.
    #[default]
    Nothing,
    /// A deploy begins, which somebody confirms.
    Confirm,
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
    Some(format!("{marker}\n@{author} what was merged needs somebody:\n\n{}", lines.concat()))
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

    let mut note = marker(&input.installation, input.project, input.iid) + "\n";
    let runs: Vec<&RunView> = stacks.iter().map(|s| &s.run).collect();
    let failing: usize = stacks.iter().map(|stack| failed_checks(stack)).sum();
    let failing = match failing {
        0 => String::new(),
        count => format!(", {} failed", counted(count, "check")),
    };
    note += &format!("### Gantry: {}{failing}\n\n", plain(&of_gate(&runs).description));
    note += &context(input, &stacks);
    let is_merged = input.state == MergeRequestState::Merged;
    let started = input.tracked.iter().filter(|s| is_merged && s.level != CommentLevel::None);
    let started: Vec<&NoteStack> = started.collect();
    note += &tracked(&started);
    if !stacks.is_empty() {
        if is_merged {
            note += "\nThe plan before the merge:\n";
        }
        let rows = stacks.iter().map(|s| (importance(&s.run), row(s))).collect();
        note += "\n| Stack | Result | + | ~ | − | Run |\n|---|---|---:|---:|---:|---|\n";
        note += &table(rows, BUDGET * 4 / 10, "stack");
    }
    note += &next_step(input, &stacks, &started);
    // Where space is short, what failed and what changes keep their place.
    let mut sections: Vec<(u8, Section)> = stacks
        .into_iter()
        .chain(started)
        .filter(|s| s.level == CommentLevel::Full)
        .filter_map(|s| Some((importance(&s.run), section::of(s)?)))
        .collect();
    note += &budget::share(&mut sections, BUDGET.saturating_sub(note.len()));
    note
}

/// For which commit this is, and what has happened since.
fn context(input: &NoteInput, stacks: &[&NoteStack]) -> String {
    let branch = inline_code(&input.target_branch);
    let behind = match input.behind {
        None => String::new(),
        Some(0) => format!(", up to date with {branch}"),
        Some(n) => format!(", {} behind {branch}", counted(n as usize, "commit")),
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
    let applied: Vec<&str> = stacks
        .iter()
        .filter(|s| s.applied_since && input.state == MergeRequestState::Open)
        .map(|s| s.run.name.as_str())
        .collect();
    if !applied.is_empty() {
        let mut names: Vec<String> =
            applied.iter().take(NAMES).map(|name| inline_code(name)).collect();
        if applied.len() > NAMES {
            names.push(format!("{} more", grouped(applied.len() - NAMES)));
        }
        let was = if applied.len() == 1 { "was" } else { "were" };
        out += &format!(
            "\n⚠️ {} {was} applied after this plan. Plan again to see what would change now.\n",
            names.join(", ")
        );
    }
    out
}

/// Who does what now, in a sentence.
fn next_step(input: &NoteInput, stacks: &[&NoteStack], started: &[&NoteStack]) -> String {
    let named = |stacks: &[&NoteStack], is: &dyn Fn(&NoteStack) -> bool| {
        let found = stacks.iter().filter(|stack| is(stack));
        let names: BTreeSet<&str> = found.map(|stack| &*stack.run.name).collect();
        let mut names: Vec<String> = names.into_iter().map(inline_code).collect();
        if names.len() > NAMES {
            let rest = names.split_off(NAMES).len();
            names.push(format!("{} more", grouped(rest)));
        }
        Some(names.join(", ")).filter(|names| !names.is_empty())
    };
    let said = match input.state {
        MergeRequestState::Open if stacks.iter().any(|s| !s.run.state.is_final()) => None,
        MergeRequestState::Open => {
            let failed = |s: &NoteStack| s.run.state == RunState::Failed && s.run.in_terraform;
            let broke = |s: &NoteStack| s.run.state == RunState::Failed && !s.run.in_terraform;
            let changes = |s: &NoteStack| s.run.delta.is_some_and(|delta| !delta.is_empty());
            let after = |wanted: AfterMerge| {
                named(stacks, &|s: &NoteStack| s.after_merge == wanted && changes(s))
            };
            if let Some(names) = named(stacks, &failed) {
                Some(format!("fix {names} and push again. A push plans everything anew."))
            } else if let Some(names) = named(stacks, &broke) {
                Some(format!("open the run of {names}, and choose “Plan again”."))
            } else {
                match (after(AfterMerge::Confirm), after(AfterMerge::Automatic)) {
                    (None, None) => None,
                    (Some(names), None) => Some(format!(
                        "after the merge, Gantry plans {names} again, and applies once somebody \
                         with the role “deploy” confirms."
                    )),
                    (None, Some(names)) => {
                        Some(format!("the merge applies {names} without asking anybody."))
                    }
                    (Some(asks), Some(names)) => Some(format!(
                        "the merge applies {names} without asking anybody. Gantry applies {asks} \
                         once somebody with the role “deploy” confirms."
                    )),
                }
            }
        }
        MergeRequestState::Merged => {
            let waits = |s: &NoteStack| s.run.state == RunState::Unconfirmed;
            named(started, &waits).map(|names| {
                format!(
                    "to be confirmed: {names}. Somebody with the role “deploy” opens the run, \
                     and confirms or discards it."
                )
            })
        }
        MergeRequestState::Closed => None,
    };
    said.map(|said| format!("\n**Next:** {said}\n")).unwrap_or_default()
}

fn failed_checks(stack: &NoteStack) -> usize {
    let change = stack.change.as_ref();
    change.map_or(0, |change| change.checks.len() + change.checks_cut as usize)
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
            let sign = match status.state {
                CommitState::Pending | CommitState::Running => "⏳",
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
    let since = if stack.applied_since { ", outdated by a later apply" } else { "" };
    let said = stack.change.as_ref().map_or(String::new(), |change| match change.tool_warned() {
        _ if change.partial => ", but only in part (see below)".to_owned(),
        _ if !change.warnings().is_empty() => ", with a remark (see below)".to_owned(),
        0 => String::new(),
        count => format!(", with {} (see below)", counted(count as usize, "warning")),
    });
    let checks = match (failed_checks(stack), &stack.change) {
        (0, _) | (_, None) => String::new(),
        (1, Some(change)) if change.checks_cut == 0 => {
            format!(", but {} failed", table_cell(&change.checks[0].address, 100))
        }
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
