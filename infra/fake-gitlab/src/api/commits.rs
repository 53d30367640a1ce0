//! Commits: reading them, and what contains them.

use std::sync::Arc;

use serde_json::json;

use super::answer::{Answer, ApiResult, Refusal};
use super::{Call, paging};
use crate::git::Commit;
use crate::model::{ProjectId, State};

/// The commit of a name or id that a caller may read.
pub(crate) fn find(
    state: &State,
    call: &Call,
    project: ProjectId,
    name: &str,
) -> Result<Arc<Commit>, Refusal> {
    let commit = state.require_code(call, project)?.resolve(name);
    commit.ok_or_else(|| Refusal::not_found("Commit"))
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let commit = find(state, call, project, name)?;
    Ok(Answer::ok(state.commit_json(state.project(project), &commit)))
}

pub(crate) fn refs(state: &State, call: &Call, project: ProjectId, name: &str) -> ApiResult {
    let commit = find(state, call, project, name)?;
    let wanted = call.params.choice("type", &["branch", "tag", "all"])?.unwrap_or("all");
    let repo = &state.project(project).repo;
    let kinds = [("branch", "refs/heads/"), ("tag", "refs/tags/")];
    let kinds = kinds.into_iter().filter(|(kind, _)| wanted == "all" || wanted == *kind);
    let all = kinds
        .flat_map(|(kind, prefix)| repo.refs_below(prefix).map(move |(name, id)| (kind, name, id)));
    let containing = all.filter(|(.., id)| {
        let tip = repo.peel(*id);
        tip.is_some_and(|tip| repo.is_ancestor(commit.id, tip))
    });
    paging::page(
        call,
        containing.collect(),
        |(kind, name, _)| json!({ "type": kind, "name": name }),
    )
}
