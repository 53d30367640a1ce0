//! Commit statuses: which pipeline, which job, which transition.

use serde_json::json;

use super::ci::NewPipeline;
use crate::api::answer::Refusal;
use crate::git::{Oid, parse_id};
use crate::model::{Job, JobKind, Pipeline, Project, ProjectId, Source, State, UserId};

/// What is posted to `statuses/:sha`.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewStatus {
    pub(crate) state: String,
    pub(crate) ref_name: Option<String>,
    pub(crate) name: String,
    pub(crate) target_url: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) pipeline: Option<u64>,
}

/// GitLab's event for a posted state, when the record in `from` may take it.
pub(crate) fn transition(from: Option<&str>, to: &str) -> Result<(), String> {
    let allowed = matches!(
        (to, from),
        ("pending", None)
            | ("running" | "skipped", None | Some("pending"))
            | ("success" | "failed" | "canceled", _)
    );
    if allowed {
        return Ok(());
    }
    let event = match to {
        "pending" => "enqueue",
        "running" => "run",
        "skipped" => "skip",
        other => other,
    };
    let from = from.unwrap_or("created");
    Err(format!(
        "Cannot transition status via :{event} from :{from} \
         (Reason(s): Status cannot transition via \"{event}\")"
    ))
}

impl State {
    /// Posts a status; gives the id of its pipeline and the job it became.
    pub(crate) fn post_status(
        &mut self,
        project: ProjectId,
        user: UserId,
        sha: &str,
        new: NewStatus,
    ) -> Result<(u64, Job), Refusal> {
        let commit_missing = || Refusal::not_found("Commit");
        let sha = parse_id(sha).ok_or_else(commit_missing)?;
        self.project(project).repo.commit(sha).ok_or_else(commit_missing)?;
        validate(&new)?;
        let found = self.choose_pipeline(project, sha, &new)?;
        let ref_name = match (&new.ref_name, found) {
            (Some(name), _) => name.clone(),
            (None, Some(id)) => self
                .project(project)
                .pipeline(id)
                .map(|known| known.ref_name.clone())
                .unwrap_or_default(),
            (None, None) => branch_with(self.project(project), sha)
                .ok_or_else(|| Refusal::not_found("References for commit"))?,
        };
        self.authorize_pipeline(project, user, &ref_name)?;
        let full = |state: &Self, id: u64| {
            let limit = state.config.limits.jobs_per_pipeline;
            state.project(project).pipeline(id).is_some_and(|known| known.jobs.len() >= limit)
        };
        let live = found.and_then(|id| self.live_status(project, id, user, &ref_name, &new.name));
        let pipeline = match found {
            Some(id) if live.is_some() || !full(self, id) => id,
            Some(_) if new.pipeline.is_some() => {
                return Err(Refusal::message(422, "The number of jobs has exceeded the limit"));
            }
            _ => self.create_pipeline(
                project,
                NewPipeline {
                    sha,
                    tag: is_tag(self.project(project), &ref_name),
                    ref_name: ref_name.clone(),
                    source: Source::External,
                    merge_request: None,
                    source_sha: None,
                },
            ),
        };
        let job = self.apply_status(project, pipeline, user, ref_name, live, new)?;
        self.pipelines_moved(project);
        Ok((pipeline, job))
    }

    /// The newest pipeline of the commit that fits the given ref and id.
    fn choose_pipeline(
        &self,
        project: ProjectId,
        sha: Oid,
        new: &NewStatus,
    ) -> Result<Option<u64>, Refusal> {
        let fits = |pipeline: &&Pipeline| {
            pipeline.sha == sha
                && new.ref_name.as_ref().is_none_or(|name| pipeline.ref_name == *name)
                && new.pipeline.is_none_or(|id| pipeline.id == id)
        };
        let found = self.project(project).pipelines.iter().rev().find(fits).map(|known| known.id);
        if found.is_none() && new.pipeline.is_some() {
            return Err(Refusal::not_found("Pipeline for pipeline_id, sha and ref"));
        }
        Ok(found)
    }

    /// GitLab's `update_pipeline`: on protected refs only for those who may push or merge there.
    fn authorize_pipeline(
        &self,
        project: ProjectId,
        user: UserId,
        ref_name: &str,
    ) -> Result<(), Refusal> {
        let (project, user) = (self.project(project), self.user(user));
        let rights = self.branch_rights(project, user, ref_name);
        let is_branch = !ref_name.starts_with("refs/") && !is_tag(project, ref_name);
        let is_free = !is_branch || !project.is_protected(ref_name);
        if is_free || rights.push || rights.merge { Ok(()) } else { Err(Refusal::forbidden()) }
    }

    fn live_status(
        &self,
        project: ProjectId,
        pipeline: u64,
        user: UserId,
        ref_name: &str,
        name: &str,
    ) -> Option<u64> {
        let pipeline = self.project(project).pipeline(pipeline)?;
        let same = |job: &&Job| {
            job.kind == JobKind::Status
                && job.is_live()
                && job.user == user
                && job.ref_name == ref_name
                && job.name == name
        };
        pipeline.jobs.iter().find(same).map(|job| job.id)
    }

    fn apply_status(
        &mut self,
        project: ProjectId,
        pipeline: u64,
        user: UserId,
        ref_name: String,
        live: Option<u64>,
        new: NewStatus,
    ) -> Result<Job, Refusal> {
        let id = self.next_id("job");
        let project = self.project_mut(project);
        let pipeline = project.pipelines.iter_mut().find(|known| known.id == pipeline);
        let pipeline = pipeline.expect("the pipeline was just found or made");
        if pipeline.jobs.iter().any(|job| job.kind == JobKind::Ci && job.name == new.name) {
            return Err(Refusal::message(400, json!({ "name": ["has already been taken"] })));
        }
        let at = live.and_then(|live| pipeline.jobs.iter().position(|job| job.id == live));
        let from = at.map(|at| pipeline.jobs[at].status.as_str());
        transition(from, &new.state).map_err(|text| Refusal::message(400, text))?;
        let at = at.unwrap_or_else(|| {
            for job in pipeline.jobs.iter_mut().filter(|job| job.name == new.name) {
                job.retried = true;
            }
            pipeline.jobs.push(Job {
                id,
                kind: JobKind::Status,
                name: new.name.clone(),
                ref_name,
                user,
                status: "created".to_owned(),
                description: None,
                target_url: None,
                retried: false,
            });
            pipeline.jobs.len() - 1
        });
        let job = &mut pipeline.jobs[at];
        job.description = new.description.or_else(|| job.description.take());
        job.target_url = new.target_url.or_else(|| job.target_url.take());
        job.status = new.state;
        Ok(job.clone())
    }
}

/// Whether a name is a tag's and no branch's.
fn is_tag(project: &Project, name: &str) -> bool {
    project.repo.branch(name).is_none() && project.repo.tag_commit(name).is_some()
}

/// The first branch by name that contains a commit.
fn branch_with(project: &Project, sha: Oid) -> Option<String> {
    let contains = |tip: Oid| project.repo.is_ancestor(sha, tip);
    let mut branches = project.repo.refs_below("refs/heads/");
    branches.find(|(_, tip)| contains(*tip)).map(|(name, _)| name.to_owned())
}

fn validate(new: &NewStatus) -> Result<(), Refusal> {
    let too_long = |field: &str, text: &str| {
        let problem = "is too long (maximum is 255 characters)";
        if text.chars().count() > 255 { Err(Refusal::field(field, problem)) } else { Ok(()) }
    };
    too_long("name", &new.name)?;
    too_long("ref", new.ref_name.as_deref().unwrap_or_default())?;
    too_long("description", new.description.as_deref().unwrap_or_default())?;
    if let Some(text) = &new.target_url {
        too_long("target_url", text)?;
        let url = url::Url::parse(text).ok();
        if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            let problem = "is blocked: Only allowed schemes are http, https";
            return Err(Refusal::field("target_url", problem));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::transition;

    #[test]
    fn the_grid_of_transitions() {
        let refused = |from: Option<&str>, to: &str| transition(from, to).err();
        for from in [None, Some("pending"), Some("running")] {
            for to in ["success", "failed", "canceled"] {
                assert_eq!(refused(from, to), None, "{from:?} to {to}");
            }
        }
        assert_eq!(refused(None, "pending"), None);
        assert_eq!(refused(None, "running"), None);
        assert_eq!(refused(None, "skipped"), None);
        assert_eq!(refused(Some("pending"), "running"), None);
        assert_eq!(refused(Some("pending"), "skipped"), None);
        for (from, to, event) in [
            ("pending", "pending", "enqueue"),
            ("running", "pending", "enqueue"),
            ("running", "running", "run"),
            ("running", "skipped", "skip"),
        ] {
            let expected = format!(
                "Cannot transition status via :{event} from :{from} \
                 (Reason(s): Status cannot transition via \"{event}\")"
            );
            assert_eq!(refused(Some(from), to), Some(expected));
        }
    }
}
