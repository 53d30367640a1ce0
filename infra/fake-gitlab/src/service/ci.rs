//! Pipelines that a project's own CI makes, and which one counts for a merge request.

use jiff::Timestamp;

use crate::config::CiMode;
use crate::git::repo::RefChange;
use crate::git::{Oid, Signature};
use crate::model::project::{Due, DueWork};
use crate::model::{Job, JobKind, MergeRequest, Pipeline, ProjectId, Source, State, UserId};

/// What a new pipeline is made of.
pub(crate) struct NewPipeline {
    pub(crate) sha: Oid,
    pub(crate) ref_name: String,
    pub(crate) source: Source,
    pub(crate) tag: bool,
    pub(crate) merge_request: Option<(ProjectId, u64)>,
    pub(crate) source_sha: Option<Oid>,
}

impl State {
    /// Does everything whose time has come: pipelines to make, jobs to end.
    pub(crate) fn tick(&mut self) {
        loop {
            let now = self.now();
            let next = self.projects.values_mut().find_map(|project| {
                let at = project.due.iter().position(|due| due.at <= now)?;
                Some((project.id, project.due.remove(at).what))
            });
            match next {
                Some((project, work)) => self.do_due(project, work),
                None => break,
            }
        }
    }

    /// When [`Self::tick`] has something to do next.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.projects.values().flat_map(|project| &project.due).map(|due| due.at).min()
    }

    fn plan(&mut self, project: ProjectId, after: jiff::SignedDuration, what: DueWork) {
        let at = self.now() + after;
        self.project_mut(project).due.push(Due { at, what });
        self.tick();
    }

    pub(crate) fn plan_branch_pipeline(
        &mut self,
        project: ProjectId,
        user: UserId,
        change: &RefChange,
        tag: bool,
    ) {
        let found = self.project(project);
        let ref_name = change.name.splitn(3, '/').nth(2).unwrap_or_default().to_owned();
        let runs = match found.ci().mode {
            CiMode::None => false,
            CiMode::Branch => true,
            CiMode::MergeRequest | CiMode::MergedResults => ref_name == found.default_branch(),
        };
        let Some(sha) = found.repo.peel(change.after) else { return };
        let commit = found.repo.commit(sha);
        let skipped = commit.is_some_and(|commit| {
            commit.message.contains("[ci skip]") || commit.message.contains("[skip ci]")
        });
        if runs && !skipped && found.options.builds_enabled {
            let delay = found.ci().delay;
            self.plan(project, delay, DueWork::Branch { ref_name, sha, tag, user });
        }
    }

    pub(crate) fn plan_merge_request_pipeline(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
    ) {
        let found = self.project(project);
        let runs = matches!(found.ci().mode, CiMode::MergeRequest | CiMode::MergedResults);
        let mr = found.merge_request(iid).filter(|_| runs && found.options.builds_enabled);
        if let Some(sha) = mr.map(|mr| mr.diff.head) {
            let delay = found.ci().delay;
            self.plan(project, delay, DueWork::MergeRequest { iid, sha, user });
        }
    }

    fn do_due(&mut self, project: ProjectId, work: DueWork) {
        match work {
            DueWork::Branch { ref_name, sha, tag, user } => {
                let source = Source::Push;
                let (merge_request, source_sha) = (None, None);
                let new = NewPipeline { sha, ref_name, source, tag, merge_request, source_sha };
                self.start_ci(project, user, new);
            }
            DueWork::MergeRequest { iid, sha, user } => {
                let open = self.project(project).merge_request(iid).filter(|mr| mr.is_open());
                if let Some(mr) = open.filter(|mr| mr.diff.head == sha).cloned() {
                    let merged = self.merged_result(project, &mr, user);
                    // A fork's pipelines run in the fork.
                    let new = NewPipeline {
                        sha: merged.unwrap_or(sha),
                        ref_name: if merged.is_some() { mr.merge_ref() } else { mr.head_ref() },
                        source: Source::MergeRequest,
                        tag: false,
                        merge_request: Some((project, iid)),
                        source_sha: merged.map(|_| sha),
                    };
                    self.start_ci(mr.source_project, user, new);
                }
            }
            DueWork::Finish { pipeline } => self.finish_pipeline(project, pipeline, "success"),
        }
    }

    /// The commit that a merged results pipeline runs on; `None` in other modes, for forks, and
    /// on conflict.
    fn merged_result(
        &mut self,
        project: ProjectId,
        mr: &MergeRequest,
        user: UserId,
    ) -> Option<Oid> {
        let author = self.signature(user);
        let project = self.project_mut(project);
        if project.ci().mode != CiMode::MergedResults || mr.is_from_fork() {
            return None;
        }
        let repo = &mut project.repo;
        let target = repo.commit(repo.branch(&mr.target_branch)?)?;
        let (base, head) = (repo.commit(mr.diff.base)?, repo.commit(mr.diff.head)?);
        let tree = repo.merge(base.tree, target.tree, head.tree)?;
        let message = format!("Merge {} into {}", head.id, target.id);
        let sha = repo.write_commit(tree, &[target.id, head.id], &author, &message);
        // Nobody but the server writes these refs.
        repo.set_ref(&mr.merge_ref(), sha).ok()?;
        Some(sha)
    }

    fn start_ci(&mut self, project: ProjectId, user: UserId, new: NewPipeline) {
        let ref_name = new.ref_name.clone();
        let id = self.create_pipeline(project, new);
        let job = self.next_id("job");
        let found = self.project_mut(project);
        let ci = found.ci().clone();
        if let Some(pipeline) = found.pipelines.iter_mut().find(|known| known.id == id) {
            pipeline.jobs.push(Job {
                id: job,
                kind: JobKind::Ci,
                name: if ci.job.is_empty() { "build".to_owned() } else { ci.job },
                ref_name,
                user,
                status: "running".to_owned(),
                description: None,
                target_url: None,
                retried: false,
            });
        }
        if let Some(duration) = ci.duration {
            self.plan(project, duration, DueWork::Finish { pipeline: id });
        }
    }

    pub(crate) fn create_pipeline(&mut self, project: ProjectId, new: NewPipeline) -> u64 {
        let (id, created_at) = (self.next_id("pipeline"), self.now());
        let NewPipeline { sha, ref_name, source, tag, merge_request, source_sha } = new;
        self.project_mut(project).pipelines.push(Pipeline {
            id,
            sha,
            ref_name,
            source,
            tag,
            merge_request,
            source_sha,
            jobs: Vec::new(),
            created_at,
        });
        id
    }

    /// Ends the CI jobs of a pipeline.
    pub(crate) fn finish_pipeline(&mut self, project: ProjectId, pipeline: u64, status: &str) {
        let pipelines = self.project_mut(project).pipelines.iter_mut();
        let jobs = pipelines.filter(|known| known.id == pipeline).flat_map(|known| &mut known.jobs);
        for job in jobs.filter(|job| job.kind == JobKind::Ci && job.is_live()) {
            status.clone_into(&mut job.status);
        }
        self.pipelines_moved(project);
    }

    /// Merges what waited for its pipeline.
    pub(crate) fn pipelines_moved(&mut self, project: ProjectId) {
        let waiting: Vec<(ProjectId, u64)> = self
            .projects
            .values()
            .flat_map(|project| &project.merge_requests)
            .filter(|mr| mr.is_open() && mr.auto_merge.is_some())
            .filter(|mr| mr.target_project == project || mr.source_project == project)
            .map(|mr| (mr.target_project, mr.iid))
            .collect();
        for (project, iid) in waiting {
            self.try_auto_merge(project, iid);
        }
    }

    /// The pipeline that counts for the present head of a merge request.
    pub(crate) fn current_head_pipeline<'a>(
        &'a self,
        mr: &'a MergeRequest,
    ) -> Option<&'a Pipeline> {
        self.candidates(mr).find(|pipeline| pipeline.is_of(&[mr.diff.head]))
    }

    /// `head_pipeline` as the API shows it: while the newest head has none, an older one's.
    pub(crate) fn head_pipeline<'a>(&'a self, mr: &'a MergeRequest) -> Option<&'a Pipeline> {
        let any = || self.candidates(mr).find(|pipeline| pipeline.is_of(&mr.heads));
        self.current_head_pipeline(mr).or_else(any)
    }

    /// Merge request pipelines first, then branch pipelines of the source project, newest first.
    pub(crate) fn candidates<'a>(
        &'a self,
        mr: &'a MergeRequest,
    ) -> impl Iterator<Item = &'a Pipeline> {
        let newest = |id: ProjectId| {
            let project = self.projects.get(&id);
            project.into_iter().flat_map(|project| project.pipelines.iter().rev())
        };
        let own = newest(mr.source_project)
            .filter(|pipeline| pipeline.merge_request == Some((mr.target_project, mr.iid)));
        let branch = newest(mr.source_project)
            .filter(|pipeline| pipeline.merge_request.is_none() && !pipeline.tag)
            .filter(|pipeline| pipeline.ref_name == mr.source_branch);
        own.chain(branch)
    }

    /// Who signs what the server writes for a user, now.
    pub(crate) fn signature(&self, user: UserId) -> Signature {
        let seconds = self.now().as_second();
        let user = self.user(user);
        let time = gix::date::Time { seconds, offset: 0 };
        Signature { name: user.name.as_str().into(), email: user.email().into(), time }
    }
}
