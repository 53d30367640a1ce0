//! Pipelines that a project's own CI makes, and which one counts for a merge request.

use jiff::Timestamp;

use crate::config::CiMode;
use crate::git::repo::RefChange;
use crate::git::{Oid, Signature, merge};
use crate::model::project::{Due, DueWork};
use crate::model::{Job, JobKind, MergeRequest, Pipeline, ProjectId, Source, State, UserId};

/// What a new pipeline is made of.
pub(crate) struct NewPipeline {
    pub(crate) sha: Oid,
    pub(crate) ref_name: String,
    pub(crate) source: Source,
    pub(crate) tag: bool,
    pub(crate) user: UserId,
    pub(crate) merge_request: Option<(ProjectId, u64)>,
    pub(crate) source_sha: Option<Oid>,
}

impl State {
    /// Does everything whose time has come: merge requests to prepare, pipelines to make, jobs
    /// to end.
    pub(crate) fn tick(&mut self) {
        self.prepare_due_merge_requests();
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
        let ci = self.projects.values().flat_map(|project| &project.due).map(|due| due.at);
        let requests = self.projects.values().flat_map(|project| &project.merge_requests);
        let unprepared = requests.filter(|mr| mr.prepared_at.is_none()).map(|mr| mr.prepare_due);
        ci.chain(unprepared).min()
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
        let commit = found.repo.objects.commit(sha);
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
        let head = found.merge_request(iid).and_then(MergeRequest::head);
        if let (true, Some(sha)) = (runs && found.options.builds_enabled, head) {
            let delay = found.ci().delay;
            self.plan(project, delay, DueWork::MergeRequest { iid, sha, user });
        }
    }

    fn do_due(&mut self, project: ProjectId, work: DueWork) {
        match work {
            DueWork::Branch { ref_name, sha, tag, user } => {
                self.start_ci(
                    project,
                    NewPipeline {
                        sha,
                        ref_name,
                        source: Source::Push,
                        tag,
                        user,
                        merge_request: None,
                        source_sha: None,
                    },
                );
            }
            DueWork::MergeRequest { iid, sha, user } => {
                let open = self.project(project).merge_request(iid).filter(|mr| mr.is_open());
                if let Some(mr) = open.filter(|mr| mr.head() == Some(sha)).cloned() {
                    let merged = self.merged_result(project, &mr, user);
                    // A fork's pipelines run in the fork.
                    self.start_ci(
                        mr.source_project,
                        NewPipeline {
                            sha: merged.unwrap_or(sha),
                            ref_name: if merged.is_some() { mr.merge_ref() } else { mr.head_ref() },
                            source: Source::MergeRequest,
                            tag: false,
                            user,
                            merge_request: Some((project, iid)),
                            source_sha: merged.map(|_| sha),
                        },
                    );
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
        let objects = &project.repo.objects;
        let diff = mr.diff?;
        let target = objects.commit(project.repo.branch(&mr.target_branch)?)?;
        let (base, head) = (objects.commit(diff.base)?, objects.commit(diff.head)?);
        let tree = merge::merge(objects, base.tree, target.tree, head.tree)?;
        let message = format!("Merge {} into {}", head.id, target.id);
        let sha = objects.write_commit(tree, &[target.id, head.id], &author, &message);
        // Nobody but the server writes these refs.
        project.repo.set_ref(&mr.merge_ref(), sha).ok()?;
        Some(sha)
    }

    fn start_ci(&mut self, project: ProjectId, new: NewPipeline) {
        let user = new.user;
        let ref_name = new.ref_name.clone();
        let id = self.create_pipeline(project, new);
        let (job, now) = (self.next_id("job"), self.now());
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
                coverage: None,
                retried: false,
                created_at: now,
                started_at: Some(now),
                finished_at: None,
            });
        }
        if let Some(duration) = ci.duration {
            self.plan(project, duration, DueWork::Finish { pipeline: id });
        }
    }

    pub(crate) fn create_pipeline(&mut self, project: ProjectId, new: NewPipeline) -> u64 {
        let (id, now) = (self.next_id("pipeline"), self.now());
        let project = self.project_mut(project);
        let iid = project.pipelines.len() as u64 + 1;
        project.pipelines.push(Pipeline {
            id,
            iid,
            sha: new.sha,
            ref_name: new.ref_name,
            source: new.source,
            tag: new.tag,
            user: new.user,
            merge_request: new.merge_request,
            source_sha: new.source_sha,
            archived: false,
            jobs: Vec::new(),
            created_at: now,
            updated_at: now,
        });
        id
    }

    /// Ends the CI jobs of a pipeline.
    pub(crate) fn finish_pipeline(&mut self, project: ProjectId, pipeline: u64, status: &str) {
        let now = self.now();
        let found = self.project_mut(project);
        let Some(pipeline) = found.pipelines.iter_mut().find(|known| known.id == pipeline) else {
            return;
        };
        for job in pipeline.jobs.iter_mut().filter(|job| job.kind == JobKind::Ci && job.is_live()) {
            job.status = status.to_owned();
            job.finished_at = Some(now);
        }
        pipeline.updated_at = now;
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
        let head = mr.head()?;
        let is_current =
            |pipeline: &&Pipeline| pipeline.sha == head || pipeline.source_sha == Some(head);
        self.candidates(mr).find(is_current)
    }

    /// `head_pipeline` as the API shows it: while the newest head has none, an older one's.
    pub(crate) fn head_pipeline<'a>(&'a self, mr: &'a MergeRequest) -> Option<&'a Pipeline> {
        self.current_head_pipeline(mr).or_else(|| {
            self.candidates(mr).find(|pipeline| {
                mr.heads.contains(&pipeline.sha)
                    || pipeline.source_sha.is_some_and(|sha| mr.heads.contains(&sha))
            })
        })
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
        let time = self.now();
        let user = self.user(user);
        Signature { name: user.name.clone(), email: user.email(), time }
    }
}
