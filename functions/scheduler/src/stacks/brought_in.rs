//! With which merge requests it came into the branch what a run would apply, and whether all of them
//! were approved.

use super::approvals::READS_AT_ONCE;
use crate::trouble::gitlab_failure;
use futures::{StreamExt as _, TryStreamExt as _};
use gantry_domain::{
    CommitSha, ProjectId,
    approval::{Beside, BroughtIn},
    run::Run,
};
use gantry_gitlab::{Client, Commit, MergeRequest};
use gantry_queue::Failure;
use std::collections::BTreeSet;

/// So many commits since the last apply are looked at: each may take two calls, whenever the rules are
/// read.
const MOST_COMMITS: usize = 50;

/// Whether the merge request that the run's commit came with was approved, and all others whose
/// changes are applied with it.
pub(super) async fn brought_in(
    client: &Client,
    project: ProjectId,
    run: &Run,
    merge_request: Option<&MergeRequest>,
    since: Option<&CommitSha>,
) -> Result<BroughtIn, Failure> {
    let Some(found) = merge_request else { return Ok(BroughtIn::WithoutMergeRequest) };
    if !is_approved(client, project, found).await? {
        return Ok(BroughtIn::NotApproved(found.iid));
    }
    let beside = beside(client, project, run, found, since).await?;
    Ok(beside.map_or(BroughtIn::Approved(found.iid), BroughtIn::Beside))
}

async fn is_approved(
    client: &Client,
    project: ProjectId,
    found: &MergeRequest,
) -> Result<bool, Failure> {
    let approvals = client.merge_request_approvals(project, found.iid).await;
    let author = found.author.as_ref().map(|author| author.id);
    Ok(approvals.map_err(gitlab_failure)?.is_some_and(|approvals| approvals.is_reviewed(author)))
}

/// What is in the way of what came since the last apply, besides the run's own commit. A branch moves
/// from first parent to first parent, by merges and by pushes: each of these has to have come with an
/// approved merge request. Where one is a merge that its merge request does not account for, all
/// commits have to.
async fn beside(
    client: &Client,
    project: ProjectId,
    run: &Run,
    own: &MergeRequest,
    since: Option<&CommitSha>,
) -> Result<Option<Beside>, Failure> {
    let commits = match commits_since(client, project, run, since, true).await? {
        Ok(commits) => commits,
        Err(why) => return Ok(Some(why)),
    };
    let mut found = came_with(client, project, run, own, commits).await?;
    let is_more = |(commit, merge_request): &(Commit, Option<MergeRequest>)| {
        merge_request.as_ref().is_some_and(|found| brings_more(commit, found))
    };
    if found.iter().any(is_more) {
        let all = match commits_since(client, project, run, since, false).await? {
            Ok(commits) => commits,
            Err(why) => return Ok(Some(why)),
        };
        found = came_with(client, project, run, own, all).await?;
    }
    let mut known = BTreeSet::from([own.iid]);
    let mut asks = Vec::new();
    for (Commit { id: commit, .. }, merge_request) in found {
        match merge_request {
            None => return Ok(Some(Beside::NotApproved { commit, merge_request: None })),
            Some(found) if known.insert(found.iid) => {
                asks.push(unless_approved(client, project, commit, found));
            }
            Some(_) => {}
        }
    }
    let refused: Vec<Option<Beside>> =
        futures::stream::iter(asks).buffered(READS_AT_ONCE).try_collect().await?;
    Ok(refused.into_iter().flatten().next())
}

/// The commits since the last apply, the run's own first, or why they are not known; none where the run
/// is of an older one, or of the same.
async fn commits_since(
    client: &Client,
    project: ProjectId,
    run: &Run,
    since: Option<&CommitSha>,
    first_parents: bool,
) -> Result<Result<Vec<Commit>, Beside>, Failure> {
    if since == Some(&run.commit) {
        return Ok(Ok(Vec::new()));
    }
    let most = MOST_COMMITS + 1;
    let found = client.commits_since(project, since, &run.commit, first_parents, most).await;
    let found = found.map_err(gitlab_failure)?;
    if found.first().is_none_or(|newest| newest.id != run.commit) {
        let Some(since) = since else { return Ok(Err(Beside::Unknown(run.commit.clone()))) };
        let base = client.merge_base(project, since.as_str(), &run.commit).await;
        return Ok(match base.map_err(gitlab_failure)? {
            Some(base) if base == run.commit => Ok(Vec::new()),
            _ => Err(Beside::Unknown(since.clone())),
        });
    }
    Ok(match found.len() > MOST_COMMITS {
        true => Err(Beside::TooMany(MOST_COMMITS)),
        false => Ok(found),
    })
}

/// Commits, and the merge requests that they came with.
async fn came_with(
    client: &Client,
    project: ProjectId,
    run: &Run,
    own: &MergeRequest,
    commits: Vec<Commit>,
) -> Result<Vec<(Commit, Option<MergeRequest>)>, Failure> {
    let asks: Vec<_> = commits
        .into_iter()
        .map(|commit| with_merge_request(client, project, run, own, commit))
        .collect();
    futures::stream::iter(asks).buffered(READS_AT_ONCE).try_collect().await
}

async fn with_merge_request(
    client: &Client,
    project: ProjectId,
    run: &Run,
    own: &MergeRequest,
    commit: Commit,
) -> Result<(Commit, Option<MergeRequest>), Failure> {
    if commit.id == run.commit {
        return Ok((commit, Some(own.clone())));
    }
    let found = client.merge_request_of_commit(project, &commit.id, &run.tracked_branch).await;
    Ok((commit, found.map_err(gitlab_failure)?))
}

async fn unless_approved(
    client: &Client,
    project: ProjectId,
    commit: CommitSha,
    found: MergeRequest,
) -> Result<Option<Beside>, Failure> {
    let is_approved = is_approved(client, project, &found).await?;
    let merge_request = Some(found.iid);
    Ok((!is_approved).then_some(Beside::NotApproved { commit, merge_request }))
}

/// A merge of something else than what its merge request was to merge. So is one of the target into the
/// source, where the source becomes the target without a merge of its own: what lay on the target until
/// then is no first parent, and not in the merge request.
fn brings_more(commit: &Commit, found: &MergeRequest) -> bool {
    let is_merged = |parent: &CommitSha| {
        let merged = [&found.sha, &found.squash_commit_sha];
        merged.into_iter().flatten().any(|merged| merged == parent)
    };
    commit.parent_ids.iter().skip(1).any(|parent| !is_merged(parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sha(digit: char) -> CommitSha {
        digit.to_string().repeat(40).parse().unwrap()
    }

    #[test]
    fn a_merge_is_told_by_its_merge_request_where_it_merges_nothing_else() {
        let merged = |squashed: Option<CommitSha>| -> MergeRequest {
            let body = json!({
                "iid": 4, "state": "merged", "sha": sha('a'), "squash_commit_sha": squashed,
                "source_project_id": 7, "target_project_id": 7, "source_branch": "change",
                "target_branch": "main",
            });
            serde_json::from_value(body).unwrap()
        };
        let commit = |parents: &str| -> Commit {
            let parents: Vec<CommitSha> = parents.chars().map(sha).collect();
            serde_json::from_value(json!({ "id": sha('f'), "parent_ids": parents })).unwrap()
        };
        for (parents, squashed, more) in [
            ("1", None, false),
            ("1a", None, false),
            ("1b", Some(sha('b')), false),
            // The target, merged into the source.
            ("a1", None, true),
            ("1b", None, true),
            ("1ab", None, true),
        ] {
            assert_eq!(brings_more(&commit(parents), &merged(squashed)), more, "{parents:?}");
        }
    }
}
