//! Looking at the state, for tests.

use crate::model::{
    IssueIid, Job, JobKind, MergeRequestIid, NoteId, Pipeline, PipelineId, ProjectId, State, UserId,
};
use crate::observe::{RequestRecord, Write};
use crate::server::FakeGitlab;

/// A commit status or CI job.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusView {
    /// Its id.
    pub id: u64,
    /// The pipeline it is in.
    pub pipeline: PipelineId,
    /// The ref it was posted for.
    pub ref_name: String,
    /// Its name.
    pub name: String,
    /// Its state.
    pub status: String,
    /// The text beside it.
    pub description: Option<String>,
    /// Where it links to.
    pub target_url: Option<String>,
    /// Who posted it.
    pub user: String,
    /// Whether a newer one of the same name hides it.
    pub retried: bool,
    /// Whether it was posted from outside, not run by the project's own CI.
    pub external: bool,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineView {
    /// Its id.
    pub id: PipelineId,
    /// The commit.
    pub sha: String,
    /// The ref.
    pub ref_name: String,
    /// `push`, `merge_request_event` or `external`.
    pub source: String,
    /// The status that its jobs make together.
    pub status: String,
    /// Its merge request, if it is of one.
    pub merge_request: Option<MergeRequestIid>,
    /// All its jobs, hidden ones too, oldest first.
    pub jobs: Vec<StatusView>,
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteView {
    /// Its id.
    pub id: NoteId,
    /// The user name of its author.
    pub author: String,
    /// The text, Markdown.
    pub body: String,
    /// Whether GitLab wrote it by itself.
    pub system: bool,
    /// The discussion that it is in.
    pub discussion: String,
    /// Whether its thread is resolved.
    pub resolved: bool,
    /// The emoji that it was given, each as `eyes by ada`.
    pub awards: Vec<String>,
}

/// An issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueView {
    /// Its number in the project.
    pub iid: IssueIid,
    /// The user name of its author.
    pub author: String,
    /// Its title.
    pub title: String,
    /// Its text, Markdown.
    pub description: String,
    /// `opened` or `closed`.
    pub state: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// The user names of those that it is assigned to.
    pub assignees: Vec<String>,
    /// Whether only members from Reporter on, its author and its assignees see it.
    pub confidential: bool,
    /// The number that only its copy has, where it was moved.
    pub moved_to: Option<u64>,
}

/// An environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentView {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its address.
    pub external_url: Option<String>,
    /// `available` or `stopped`.
    pub state: String,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentView {
    /// Its id.
    pub id: u64,
    /// The name of the environment.
    pub environment: String,
    /// The commit.
    pub sha: String,
    /// The branch or tag.
    pub ref_name: String,
    /// `running`, `success`, `failed` or `canceled`.
    pub status: String,
}

/// A merge request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRequestView {
    /// Its number.
    pub iid: MergeRequestIid,
    /// `opened`, `closed` or `merged`.
    pub state: String,
    /// Its title.
    pub title: String,
    /// The source branch.
    pub source_branch: String,
    /// The target branch.
    pub target_branch: String,
    /// The newest head.
    pub sha: String,
    /// `detailed_merge_status`.
    pub merge_status: String,
    /// The pipeline that gates it.
    pub head_pipeline: Option<PipelineId>,
    /// The merge commit.
    pub merge_commit: Option<String>,
    /// Whether it waits for its pipeline.
    pub auto_merge: bool,
}

/// A project hook, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookView {
    /// Its id.
    pub id: u64,
    /// Its address.
    pub url: String,
    /// The events it wants.
    pub events: Vec<&'static str>,
    /// Whether it has a token.
    pub token_present: bool,
    /// Whether it has a signing token.
    pub signing_token_present: bool,
}

fn status_view(state: &State, pipeline: &Pipeline, job: &Job) -> StatusView {
    StatusView {
        id: job.id,
        pipeline: PipelineId(pipeline.id),
        ref_name: job.ref_name.clone(),
        name: job.name.clone(),
        status: job.status.clone(),
        description: job.description.clone(),
        target_url: job.target_url.clone(),
        user: state.user(job.user).username.clone(),
        retried: job.retried,
        external: job.kind == JobKind::Status,
    }
}

impl FakeGitlab {
    /// Every project, oldest first.
    #[must_use]
    pub fn projects(&self) -> Vec<ProjectId> {
        self.with(|state| state.projects.keys().copied().collect())
    }

    /// The head of a branch.
    #[must_use]
    pub fn head(&self, project: ProjectId, branch: &str) -> Option<String> {
        self.with(|state| state.project(project).repo.branch(branch)).map(|id| id.to_string())
    }

    /// The commits of a project that anybody has asked for: id, title, and all files, one after
    /// the other, each after its path.
    #[must_use]
    pub fn commits(&self, project: ProjectId) -> Vec<(String, String, String)> {
        self.with(|state| {
            let repo = &state.project(project).repo;
            let content =
                |id| String::from_utf8_lossy(&repo.blob(id).unwrap_or_default()).into_owned();
            repo.known_commits()
                .iter()
                .map(|commit| {
                    let files = repo.files(commit.tree).into_iter();
                    let files = files.map(|file| format!("{}\0{}\0", file.path, content(file.id)));
                    (commit.id.to_string(), commit.title().to_owned(), files.collect())
                })
                .collect()
        })
    }

    /// The clone URL of a project.
    #[must_use]
    pub fn clone_url(&self, project: ProjectId) -> String {
        self.with(|state| format!("{}.git", state.project_url(state.project(project))))
    }

    /// The path of a project.
    #[must_use]
    pub fn project_path(&self, project: ProjectId) -> String {
        self.with(|state| state.project(project).path.clone())
    }

    /// All pipelines of a project, oldest first.
    #[must_use]
    pub fn pipelines(&self, project: ProjectId) -> Vec<PipelineView> {
        self.with(|state| {
            let view = |pipeline: &Pipeline| PipelineView {
                id: PipelineId(pipeline.id),
                sha: pipeline.sha.to_string(),
                ref_name: pipeline.ref_name.clone(),
                source: pipeline.source.name().to_owned(),
                status: pipeline.status().to_owned(),
                merge_request: pipeline.merge_request.map(|(_, iid)| MergeRequestIid(iid)),
                jobs: pipeline.jobs.iter().map(|job| status_view(state, pipeline, job)).collect(),
            };
            state.project(project).pipelines.iter().map(view).collect()
        })
    }

    /// The external statuses of a commit that are not hidden, over all its pipelines.
    #[must_use]
    pub fn statuses(&self, project: ProjectId, sha: &str) -> Vec<StatusView> {
        self.pipelines(project)
            .into_iter()
            .filter(|pipeline| pipeline.sha == sha)
            .flat_map(|pipeline| pipeline.jobs)
            .filter(|job| job.external && !job.retried)
            .collect()
    }

    /// The notes of a merge request, oldest first, without GitLab's own.
    #[must_use]
    pub fn notes(&self, project: ProjectId, iid: MergeRequestIid) -> Vec<NoteView> {
        self.all_notes(project, iid).into_iter().filter(|note| !note.system).collect()
    }

    /// The notes of a merge request, oldest first, with GitLab's own.
    #[must_use]
    pub fn all_notes(&self, project: ProjectId, iid: MergeRequestIid) -> Vec<NoteView> {
        self.with(|state| {
            let mr = state.project(project).merge_request(iid.0);
            let notes = mr.iter().flat_map(|mr| &mr.notes);
            notes
                .map(|note| NoteView {
                    id: NoteId(note.id),
                    author: state.user(note.author).username.clone(),
                    body: note.body.clone(),
                    system: note.system,
                    discussion: note.discussion.clone(),
                    resolved: note.resolved_by.is_some(),
                    awards: note
                        .awards
                        .iter()
                        .map(|award| {
                            format!("{} by {}", award.name, state.user(award.user).username)
                        })
                        .collect(),
                })
                .collect()
        })
    }

    /// The issues of a project, oldest first.
    #[must_use]
    pub fn issues(&self, project: ProjectId) -> Vec<IssueView> {
        let name = |state: &State, user: UserId| state.user(user).username.clone();
        self.with(|state| {
            let issues = state.project(project).issues.iter();
            issues
                .map(|issue| IssueView {
                    iid: IssueIid(issue.iid),
                    author: name(state, issue.author),
                    title: issue.title.clone(),
                    description: issue.description.clone(),
                    state: issue.state.name().to_owned(),
                    labels: issue.labels.clone(),
                    assignees: issue.assignees.iter().map(|user| name(state, *user)).collect(),
                    confidential: issue.confidential,
                    moved_to: issue.moved_to,
                })
                .collect()
        })
    }

    /// The environments of a project.
    #[must_use]
    pub fn environments(&self, project: ProjectId) -> Vec<EnvironmentView> {
        self.with(|state| {
            let environments = state.project(project).environments.iter();
            environments
                .map(|known| EnvironmentView {
                    id: known.id,
                    name: known.name.clone(),
                    external_url: known.external_url.clone(),
                    state: known.state().to_owned(),
                })
                .collect()
        })
    }

    /// The deployments of a project, oldest first.
    #[must_use]
    pub fn deployments(&self, project: ProjectId) -> Vec<DeploymentView> {
        self.with(|state| {
            let deployments = state.project(project).deployments.iter();
            deployments
                .map(|known| DeploymentView {
                    id: known.id,
                    environment: known.environment.clone(),
                    sha: known.sha.to_string(),
                    ref_name: known.ref_name.clone(),
                    status: known.status.clone(),
                })
                .collect()
        })
    }

    /// A merge request.
    #[must_use]
    pub fn mr(&self, project: ProjectId, iid: MergeRequestIid) -> Option<MergeRequestView> {
        self.with(|state| {
            let mr = state.project(project).merge_request(iid.0)?;
            Some(MergeRequestView {
                iid,
                state: mr.state.name().to_owned(),
                title: mr.title.clone(),
                source_branch: mr.source_branch.clone(),
                target_branch: mr.target_branch.clone(),
                sha: mr.diff.head.to_string(),
                merge_status: state.detailed_merge_status(mr).to_owned(),
                head_pipeline: state.head_pipeline(mr).map(|pipeline| PipelineId(pipeline.id)),
                merge_commit: mr.merge_commit.map(|id| id.to_string()),
                auto_merge: mr.auto_merge.is_some(),
            })
        })
    }

    /// The merge requests of a project, oldest first.
    #[must_use]
    pub fn merge_requests(&self, project: ProjectId) -> Vec<MergeRequestIid> {
        self.with(|state| {
            let known = state.project(project).merge_requests.iter();
            known.map(|mr| MergeRequestIid(mr.iid)).collect()
        })
    }

    /// The hooks of a project.
    #[must_use]
    pub fn hooks(&self, project: ProjectId) -> Vec<HookView> {
        self.with(|state| {
            let hooks = state.project(project).hooks.iter();
            hooks
                .map(|hook| HookView {
                    id: hook.id,
                    url: hook.url.clone(),
                    events: hook.events.iter().copied().collect(),
                    token_present: hook.token.is_some(),
                    signing_token_present: hook.signing_token.is_some(),
                })
                .collect()
        })
    }

    /// Every request so far, in order of the answers.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.with(|state| state.observed.requests.clone())
    }

    /// Forgets the requests so far and gives them.
    pub fn take_requests(&self) -> Vec<RequestRecord> {
        self.with(|state| std::mem::take(&mut state.observed.requests))
    }

    /// Requests to addresses that this fake does not know: each is a gap here or a bug there.
    #[must_use]
    pub fn unknown_requests(&self) -> Vec<RequestRecord> {
        self.with(|state| state.observed.unknown.clone())
    }

    /// The successful writes of bots.
    #[must_use]
    pub fn unread_writes(&self) -> Vec<Write> {
        self.with(|state| state.observed.writes.clone())
    }

    /// The quick actions that notes have executed, without slashes and arguments.
    #[must_use]
    pub fn executed_quick_actions(&self) -> Vec<String> {
        self.with(|state| state.observed.quick_actions.clone())
    }
}
