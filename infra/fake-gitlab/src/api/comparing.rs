//! Compare and merge base.

use serde_json::json;

use super::Call;
use super::answer::{Answer, ApiResult, Refusal};
use crate::git::{Commit, diff, history};
use crate::model::{ProjectId, State};

pub(crate) fn route(
    state: &mut State,
    call: &Call,
    project: ProjectId,
    path: &[&str],
) -> Option<ApiResult> {
    match (call.method.as_str(), path) {
        ("GET", ["repository", "compare"]) => Some(compare(state, call, project)),
        ("GET", ["repository", "merge_base"]) => Some(merge_base(state, call, project)),
        _ => None,
    }
}

fn compare(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    state.require_code(call, project)?;
    let (from, to) = (call.params.required("from")?, call.params.required("to")?);
    let straight = call.params.flag("straight")?.unwrap_or(false);
    let head_project = match call.params.number("from_project_id")? {
        None => project,
        Some(id) => {
            let id = ProjectId(id);
            let found = state.projects.get(&id);
            let found = found.filter(|found| state.can_see(found, call.auth.user));
            found.ok_or_else(|| Refusal::not_found("Project"))?.id
        }
    };
    let found = state.project(project);
    let resolve = |id: ProjectId, name: &str| {
        let owner = state.project(id);
        let commit = owner.repo.resolve(name, owner.default_branch());
        commit.ok_or_else(|| Refusal::not_found("Ref"))
    };
    let (from, to) = (resolve(head_project, &from)?, resolve(project, &to)?);
    let objects = &found.repo.objects;
    let base = match straight {
        true => Some(from.id),
        false => history::merge_base(objects, from.id, to.id),
    };
    let base_tree = base.and_then(|base| objects.commit(base)).map(|commit| commit.tree);
    // The list is oldest first, and never cut.
    let commits: Vec<_> = history::log(objects, to.id, &[from.id])
        .iter()
        .rev()
        .map(|commit| state.commit_json(found, commit))
        .collect();
    let changes = if straight || base.is_some() {
        diff::with_renames(objects, base_tree, Some(to.tree))
    } else {
        Vec::new()
    };
    let timeout = state.observed.compare_timeout;
    let limit = if timeout { 0 } else { state.config.limits.diff_files };
    let diffs: Vec<_> =
        changes.iter().take(limit).map(|change| state.change_json(found, change)).collect();
    Ok(Answer::ok(json!({
        "commit": newest(&to, base).map(|commit| state.commit_json(found, commit)),
        "commits": commits,
        "diffs": diffs,
        "compare_timeout": timeout,
        "compare_same_ref": from.id == to.id,
        "web_url": format!("{}/-/compare/{}...{}", state.project_url(found), from.id, to.id),
    })))
}

fn newest(to: &Commit, base: Option<crate::git::Oid>) -> Option<&Commit> {
    (base != Some(to.id)).then_some(to)
}

fn merge_base(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    state.require_code(call, project)?;
    let names = call.params.list("refs");
    if names.len() < 2 {
        return Err(Refusal::bad_request("Provide at least 2 refs"));
    }
    let found = state.project(project);
    let mut base: Option<crate::git::Oid> = None;
    for name in &names {
        let commit = found.repo.resolve(name, found.default_branch());
        let commit =
            commit.ok_or_else(|| Refusal::bad_request(&format!("Could not find ref: {name}")))?;
        base = match base {
            None => Some(commit.id),
            Some(one) => {
                let both = history::merge_base(&found.repo.objects, one, commit.id);
                Some(both.ok_or_else(|| Refusal::not_found("Merge Base"))?)
            }
        };
    }
    let commit = base.and_then(|base| found.repo.objects.commit(base));
    let commit = commit.ok_or_else(|| Refusal::not_found("Merge Base"))?;
    Ok(Answer::ok(state.commit_json(found, &commit)))
}
