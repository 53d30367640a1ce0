//! Compare and merge base.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Call;
use super::answer::{Answer, ApiResult, Refusal};
use crate::git::Commit;
use crate::model::{ProjectId, State};

pub(crate) fn compare(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let found = state.require_code(call, project)?;
    let (from, to) = (call.params.required("from")?, call.params.required("to")?);
    let straight = call.params.flag("straight")?.unwrap_or(false);
    let resolve = |name: &str| found.resolve(name).ok_or_else(|| Refusal::not_found("Ref"));
    let (from, to) = (resolve(&from)?, resolve(&to)?);
    let repo = &found.repo;
    let base = match straight {
        true => Some(from.id),
        false => repo.merge_base(from.id, to.id),
    };
    let base = base.and_then(|base| repo.commit(base));
    let changes = base.map_or_else(Vec::new, |base| repo.changes(base.tree, to.tree));
    // The list is oldest first, and never cut.
    let commits = repo.log(to.id, &[from.id]);
    let commits: Vec<Value> =
        commits.iter().rev().map(|commit| state.commit_json(found, commit)).collect();
    let newest = commits.last().cloned();
    let timeout = state.observed.compare_timeout;
    let limit = if timeout { 0 } else { state.config.limits.diff_files };
    let diffs = changes.iter().take(limit);
    let diffs: Vec<Value> = diffs
        .map(|change| json!({ "old_path": change.old_path, "new_path": change.new_path }))
        .collect();
    let body = json!({
        "commit": newest, "commits": commits, "diffs": diffs, "compare_timeout": timeout,
    });
    Ok(Answer::ok(body))
}

pub(crate) fn merge_base(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    let found = state.require_code(call, project)?;
    let names = call.params.list("refs");
    if names.len() < 2 {
        return Err(Refusal::bad_request("Provide at least 2 refs"));
    }
    let resolve = |name: &String| {
        let commit = found.resolve(name);
        commit.ok_or_else(|| Refusal::bad_request(&format!("Could not find ref: {name}")))
    };
    let commits: Vec<Arc<Commit>> = names.iter().map(resolve).collect::<Result<_, _>>()?;
    let repo = &found.repo;
    let ids = commits.iter().map(|commit| Some(commit.id));
    let base = ids.reduce(|one, other| repo.merge_base(one?, other?)).flatten();
    let commit = base.and_then(|base| repo.commit(base));
    let commit = commit.ok_or_else(|| Refusal::not_found("Merge Base"))?;
    Ok(Answer::ok(state.commit_json(found, &commit)))
}
