//! Which pipelines a commit's statuses belong to.
//!
//! A status without a pipeline makes GitLab choose the newest of the commit, even one of another
//! branch or merge request. So each is looked up, and only when there is none, and none is coming,
//! GitLab is asked to make an external one.

use crate::{Client, Trouble, Work};
use gantry_domain::{
    CommitSha, PipelineId, ProjectId,
    feedback::{Pipeline, Shows},
};
use gantry_gitlab::Error;
use gantry_store::scheduler::Subject;
use std::collections::{BTreeMap, BTreeSet};

/// The pipelines of a commit, as far as they are there.
pub(crate) struct Found {
    pub(crate) pipelines: Vec<Pipeline>,
    /// A branch has none yet, and the project's own CI may be about to make one.
    pub(crate) may_come: bool,
}

/// The newest pipeline of each branch, by its fork, where it is one's, and its name.
pub(crate) type OfBranches = BTreeMap<(Option<ProjectId>, String), Option<PipelineId>>;

impl Work {
    /// Looks up the pipelines for everything that the commit is the head of. `may_make` allows to
    /// have GitLab make an external one where there is none. Without `own_ci`, only a
    /// fork's CI may make one for the merge request itself, and what was read of it some seconds ago
    /// still holds. The branches of `newest` are not looked up.
    pub(crate) async fn pipelines(
        &self,
        client: &Client,
        project: ProjectId,
        commit: &CommitSha,
        subjects: &[Subject],
        (own_ci, may_make): (bool, bool),
        mut newest: OfBranches,
    ) -> Result<Found, Trouble> {
        let mut found = Found { pipelines: Vec::new(), may_come: false };
        let has_tracked = subjects.iter().any(|s| s.to_tracked && s.merge_request.is_none());
        let has_previews = subjects.iter().any(|s| s.merge_request.is_some());
        let both = has_tracked && has_previews;
        let previews = if both { Shows::Previews } else { Shows::Everything };
        let tracked = if both { Shows::Tracked } else { Shows::Everything };

        let mut of_merge_requests = BTreeSet::new();
        for subject in subjects.iter().filter(|s| is_shown(s)) {
            let Some(iid) = subject.merge_request else { continue };
            let live = match own_ci || subject.fork_of.is_some() {
                true => client.merge_request(project, iid).await?,
                false => client.merge_request_lately(project, iid).await?,
            };
            let Some(live) = live else { continue };
            if live.sha.as_ref() != Some(commit) {
                continue;
            }
            let Some(head) = live.head_pipeline else { continue };
            let is_merge = head.sha != *commit;
            if is_merge && !client.is_parent(project, commit, &head.sha).await? {
                continue;
            }
            of_merge_requests.insert((subject.fork_of, subject.branch.clone()));
            found.add(Pipeline {
                fork: subject.fork_of.filter(|fork| head.project_id == Some(*fork)),
                id: Some(head.id),
                sha: head.sha,
                git_ref: head.git_ref.filter(|_| !is_merge),
                shows: previews,
            });
        }
        for subject in subjects.iter().filter(|s| is_shown(s)) {
            let is_tracked = subject.to_tracked && subject.merge_request.is_none();
            let place = (subject.fork_of, subject.branch.clone());
            if of_merge_requests.contains(&place) && !is_tracked {
                continue;
            }
            let shows = if is_tracked { tracked } else { previews };
            let fork = subject.fork_of;
            let newest = match newest.get(&place) {
                Some(known) => *known,
                None => {
                    let there = client
                        .pipelines(fork.unwrap_or(project), commit, Some(&subject.branch))
                        .await;
                    let there = match there {
                        Ok(pipelines) => pipelines.first().map(|pipeline| pipeline.id),
                        // A fork that the token does not reach: the note says it all.
                        Err(Error::Forbidden { .. } | Error::NotFound { .. }) if fork.is_some() => {
                            continue;
                        }
                        Err(error) => return Err(error.into()),
                    };
                    newest.insert(place, there);
                    there
                }
            };
            let git_ref = Some(subject.branch.clone());
            let sha = commit.clone();
            match newest {
                Some(id) => found.add(Pipeline { fork, id: Some(id), sha, git_ref, shows }),
                None if may_make => found.add(Pipeline { fork, id: None, sha, git_ref, shows }),
                None => found.may_come = true,
            }
        }
        Ok(found)
    }

    /// True when the project has CI of its own for the commit, so that GitLab may make a pipeline
    /// a few seconds after the push.
    pub(crate) async fn has_own_ci(
        &self,
        client: &Client,
        project: ProjectId,
        commit: &CommitSha,
    ) -> Result<bool, Trouble> {
        let settings = client.project(project).await?;
        if !settings.has_ci() {
            return Ok(false);
        }
        let Some(path) = settings.ci_file() else { return Ok(true) };
        match client.file(project, commit.as_str(), path).await {
            Ok(file) => Ok(file.is_some()),
            // Not allowed to look: waiting a few seconds does no harm.
            Err(Error::Forbidden { .. } | Error::ScopeMissing { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// A fork's merge request is shown, in the fork, when it runs at all.
fn is_shown(subject: &Subject) -> bool {
    subject.fork_of.is_none() || subject.affected > 0
}

impl Found {
    fn add(&mut self, pipeline: Pipeline) {
        let same = |known: &&Pipeline| match (known.id, pipeline.id) {
            (Some(a), Some(b)) => a == b,
            (None, None) => known.fork == pipeline.fork && known.git_ref == pipeline.git_ref,
            _ => false,
        };
        match self.pipelines.iter_mut().find(|known| same(&&**known)) {
            // A tracked branch can be a merge request's source: both show in its one pipeline.
            Some(known) if known.shows != pipeline.shows => known.shows = Shows::Everything,
            Some(_) => {}
            None => self.pipelines.push(pipeline),
        }
    }
}
