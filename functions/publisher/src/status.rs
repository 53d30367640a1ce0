//! Statuses of one (project, commit), the gate among them.

use crate::{
    Client, Done, Memory, Trouble, Work, client,
    pipelines::{Found, OfBranches},
};
use gantry_connection::Connected;
use gantry_domain::{
    CommitSha, ProjectId, StackId,
    feedback::{CommitView, Pipeline, Posted, StatusPost, leave_out_passing, missing_statuses},
    run::{Run, RunType},
    stack::Stack,
    text::status::{CommitState, RunView},
};
use gantry_gitlab::{Error, NewStatus, PostedStatus, StatusState};
use gantry_queue::FeedbackMessage;
use gantry_setup::metrics;
use gantry_store::{
    Stored,
    config::ProjectEntry,
    keys,
    scheduler::{RunEntry, Subject},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

/// How long a project with CI of its own gets to make its pipeline before an external one is made.
const CI_MAY_TAKE: SignedDuration = SignedDuration::from_secs(15);
/// What was found so lately is not looked up again: less than until the first late look.
const RECENT: SignedDuration = SignedDuration::from_secs(4);
/// So many posts of stacks are remembered together. That ends are being posted is remembered before:
/// of those that nobody remembers, because the process ended, the ends are looked up, and GitLab
/// refuses all others as being there. That the gate waits is remembered before anything follows, which
/// may be its end. The last post is remembered with all that the look has found.
const TOGETHER: usize = 10;
/// After the first post, the pipelines of a project with CI of its own are looked up again: one
/// that came later gets the present state too.
const LATE_LOOKS: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(20), Duration::from_secs(60)];

/// The gate waits for the runs of stacks that a decision affects. A run that is made says so; what
/// became of its stack instead is looked up after this time first, then ever more seldom.
const FIRST_LOOK_FOR_RUNS: SignedDuration = SignedDuration::from_mins(2);
const LATEST_LOOK_FOR_RUNS: SignedDuration = SignedDuration::from_mins(15);
/// From then on nothing looks by itself, and the gate stays as it is.
const RUNS_LOOKED_FOR: SignedDuration = SignedDuration::from_hours(24 * 7);

/// What was posted for a commit.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StatusMemory {
    posted: Posted,
    /// When the commit was first looked at.
    first_seen: Option<Timestamp>,
    /// The commit has CI of its own.
    own_ci: Option<bool>,
    /// How many late looks there were.
    late_looks: usize,
    /// GitLab's own words where it refused, by status name.
    #[serde(default)]
    pub(crate) refusals: BTreeMap<String, String>,
    /// Ends are being posted, or a post had no answer: GitLab may have what is not remembered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unsure: bool,
    /// The pipelines that were found last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found: Option<Looked>,
}

/// The statuses that commits have, by project.
type There = BTreeMap<(ProjectId, CommitSha), Vec<PostedStatus>>;

/// The pipelines of a commit at a time.
#[derive(Debug, Serialize, Deserialize)]
struct Looked {
    at: Timestamp,
    /// What the commit was the head of.
    subjects: String,
    pipelines: Vec<Pipeline>,
}

impl StatusMemory {
    /// The commit's pipelines, all of them there, where they were found lately.
    fn found_lately(&self, subjects: &str, now: Timestamp) -> Option<Vec<Pipeline>> {
        let found = self.looked_lately(now).filter(|found| found.subjects == subjects)?;
        let pipelines: Vec<_> =
            found.pipelines.iter().map(|pipeline| self.posted.resolve(pipeline)).collect();
        let are_there = !pipelines.is_empty() && pipelines.iter().all(|found| found.id.is_some());
        are_there.then_some(pipelines)
    }

    /// The pipelines of the project's own branches that were found lately, or made by a status since,
    /// whatever else the commit is the head of by now.
    fn of_branches_lately(&self, commit: &CommitSha, now: Timestamp) -> OfBranches {
        let found = self.looked_lately(now).map(|found| &*found.pipelines).unwrap_or_default();
        found
            .iter()
            .filter(|pipeline| pipeline.fork.is_none() && pipeline.sha == *commit)
            .filter_map(|pipeline| {
                let id = self.posted.resolve(pipeline).id?;
                Some(((None, pipeline.git_ref.clone()?), Some(id)))
            })
            .collect()
    }

    fn looked_lately(&self, now: Timestamp) -> Option<&Looked> {
        // A clock may be set back.
        let is_recent = |at| (SignedDuration::ZERO..RECENT).contains(&now.duration_since(at));
        self.found.as_ref().filter(|found| is_recent(found.at))
    }

    fn keep_found(&mut self, subjects: String, pipelines: Vec<Pipeline>, now: Timestamp) {
        let is_known = self.found_lately(&subjects, now).is_some();
        if !is_known {
            self.found = Some(Looked { at: now, subjects, pipelines });
        }
    }
}

/// What decides which pipelines are the commit's.
fn heads(subjects: &[Subject]) -> Result<String, Trouble> {
    let heads: Vec<_> = subjects
        .iter()
        .map(|s| (&s.branch, s.merge_request, s.fork_of, s.to_tracked, s.affected > 0))
        .collect();
    let heads = serde_json::to_vec(&heads).map_err(|error| Trouble::Own(error.into()))?;
    Ok(hex::encode(Sha256::digest(heads)))
}

impl Work {
    pub(crate) async fn publish_statuses(
        &self,
        connected: &Connected,
        project: ProjectId,
        commit: &CommitSha,
        mut memory: Memory<StatusMemory>,
    ) -> Result<Done, Trouble> {
        let gitlab = client(connected);
        let (entries, subjects) = self.recorded_of_commit(project, commit).await?;
        let runs = self.runs_of(&entries).await?;
        let subjects = with_refs_of_runs(subjects, &runs);
        let gate_without_runs =
            runs.is_empty() && self.wants_empty_gate(gitlab, project, &subjects).await?;
        if runs.is_empty() && !gate_without_runs {
            return Ok(Done::default());
        }
        let now = self.deps.clock.now();
        let first_seen = *memory.value.first_seen.get_or_insert(now);
        let own_ci = match memory.value.own_ci {
            Some(known) => known,
            None => self.has_own_ci(gitlab, project, commit).await?,
        };
        memory.value.own_ci = Some(own_ci);
        let may_make = !own_ci || now.duration_since(first_seen) >= CI_MAY_TAKE;
        let heads = heads(&subjects)?;
        let found = match memory.value.found_lately(&heads, now) {
            Some(pipelines) => Found { pipelines, may_come: false },
            None => {
                // A merge request that comes after its push makes no pipeline where there is no CI.
                let known = match own_ci {
                    true => OfBranches::new(),
                    false => memory.value.of_branches_lately(commit, now),
                };
                let how = (own_ci, may_make);
                self.pipelines(gitlab, project, commit, &subjects, how, known).await?
            }
        };

        let settings = self.deps.store.get::<ProjectEntry>(&keys::project(project)).await?;
        let links = self.links_in(gitlab, project).await?;
        let views: Vec<RunView> =
            runs.iter().map(|run| RunView::of(run, links.to(&run.id))).collect();
        let touched = runs.iter().map(|r| r.stacks_touched).max().unwrap_or(0);
        let held = self.waits_for_runs(connected, project, &subjects, &runs).await?;
        let why = format!("{}/events?project={project}", self.deps.public_url);
        let view = CommitView {
            prefix: &self.deps.prefix,
            statuses: settings.map(|s| s.value.statuses).unwrap_or_default(),
            runs: &views,
            stacks_touched: touched as usize,
            pipelines: &found.pipelines,
            gate_url: Some(&why),
            gate_without_runs,
            gate_may_end: held.is_none(),
        };
        let is_first = memory.value.posted.statuses.is_empty();
        let mut refused = None;
        let mut closed: Vec<Pipeline> = Vec::new();
        let mut posts = missing_statuses(&view, &memory.value.posted);
        let passing = leave_out_passing(&mut posts, &view, &memory.value.posted, now);
        let mut there = (self.was_interrupted || memory.value.unsure).then(BTreeMap::new);
        if posts.iter().any(|post| post.state.is_final()) && !memory.value.unsure {
            // Whoever finds this looks before it repeats an end.
            memory.value.unsure = true;
            self.remember(&mut memory).await?;
        }
        let last = posts.len().saturating_sub(1);
        for (count, post) in posts.into_iter().enumerate() {
            if closed.contains(&post.pipeline) {
                continue;
            }
            let is_begun_gate = post.run.is_none() && !post.state.is_final();
            let posted = self.post(connected, project, &post, &mut there, &mut memory).await;
            let is_time = is_begun_gate || count % TOGETHER == TOGETHER - 1;
            if posted.is_err() || is_time && count < last {
                self.remember(&mut memory).await?;
            }
            let Some(error) = posted? else { continue };
            if error.is_of_all() {
                closed.push(post.pipeline);
            }
            refused = Some(error.to_string());
        }
        memory.value.unsure = false;
        let asked_at = runs.iter().filter_map(|run| run.asked_at).min();
        let posted = !memory.value.posted.statuses.is_empty();
        if let Some(asked_at) = asked_at.filter(|_| is_first && posted) {
            let took = self.deps.clock.now().duration_since(asked_at);
            metrics::time("FirstStatus", took.try_into().unwrap_or_default());
        }
        let held = held.and_then(|since| next_look_for_runs(since, now));
        let wait = wait_for_pipelines(&mut memory.value, found.may_come, own_ci).or(held);
        if !found.may_come {
            memory.value.keep_found(heads, found.pipelines, now);
        }
        if let Some(wait) = wait {
            let nudge = FeedbackMessage::Status { project, commit: commit.clone(), want: 0 };
            self.deps.sender.send_later(nudge, wait).await?;
        }
        self.remember(&mut memory).await?;
        Ok(Done { runs: runs.len(), refused, look_at: passing })
    }

    /// Posts one status. Answers what GitLab refused. `there` is what GitLab has, as far as it was
    /// asked; none where nothing can have been posted that is not remembered.
    async fn post(
        &self,
        connected: &Connected,
        project: ProjectId,
        post: &StatusPost,
        there: &mut Option<There>,
        memory: &mut Memory<StatusMemory>,
    ) -> Result<Option<Error>, Trouble> {
        let pipeline = memory.value.posted.resolve(&post.pipeline);
        let state = match post.state {
            CommitState::Pending => StatusState::Pending,
            CommitState::Running => StatusState::Running,
            CommitState::Success => StatusState::Success,
            CommitState::Failed => StatusState::Failed,
            CommitState::Canceled => StatusState::Canceled,
        };
        let status = NewStatus {
            state,
            name: post.name.clone(),
            target_url: post.target_url.clone(),
            description: Some(post.description.clone()),
            git_ref: pipeline.git_ref.clone(),
            pipeline: pipeline.id,
        };
        let place = pipeline.fork.unwrap_or(project);
        let bot = connected.integration.value.bot.id;
        let began = memory.value.posted.began(&pipeline, &post.name).unwrap_or(bot);
        let (mut by, mut poster) = (bot, Arc::clone(&connected.client));
        if began != bot {
            let previous = self.deps.gitlab.previous(connected, began).await;
            if let Some(previous) = previous.map_err(Trouble::NotConnected)? {
                (by, poster) = (began, previous);
            }
        }
        if let Some(there) = there {
            let found = find_end(&connected.client, place, &pipeline, &status, there).await?;
            if let Some(found) = found {
                memory.value.refusals.remove(&post.name);
                memory.value.posted.record(post, found.pipeline_id.or(pipeline.id), by);
                return Ok(None);
            }
        }
        let mut sent = poster.post_status(place, &pipeline.sha, &status).await;
        if by != bot && matches!(sent, Err(Error::TokenRejected { .. })) {
            // Its token was revoked: a second job of the name is better than none that ends.
            by = bot;
            sent = connected.client.post_status(place, &pipeline.sha, &status).await;
        }
        let answered = match sent {
            Ok(posted) => posted.pipeline_id,
            // There already, or beyond it.
            Err(error) if error.transition_refused_from().is_some() => {
                if !error.already_there(state) {
                    tracing::warn!(project.id = project.0, status = post.name, "{error}");
                }
                pipeline.id
            }
            Err(error) if error.is_refusal() => {
                tracing::warn!(project.id = project.0, status = post.name, "{error}");
                memory.value.refusals.insert(post.name.clone(), error.to_string());
                return Ok(Some(error));
            }
            Err(error) => {
                memory.value.unsure = true;
                return Err(error.into());
            }
        };
        memory.value.refusals.remove(&post.name);
        memory.value.posted.record(post, answered, by);
        Ok(None)
    }

    /// The runs of a commit.
    pub(crate) async fn runs_of_commit(
        &self,
        project: ProjectId,
        commit: &CommitSha,
    ) -> Result<Vec<Run>, Trouble> {
        let partition = keys::commit_runs(project, commit);
        let entries = self.deps.store.query_all::<RunEntry>(&partition, "run#").await?;
        self.runs_of(&entries).await
    }

    /// Which runs a commit has, and what it is the head of.
    async fn recorded_of_commit(
        &self,
        project: ProjectId,
        commit: &CommitSha,
    ) -> Result<(Vec<Stored<RunEntry>>, Vec<Subject>), Trouble> {
        let partition = keys::commit_runs(project, commit);
        let (mut entries, mut subjects) = (Vec::new(), Vec::new());
        for found in self.deps.store.query_all::<Value>(&partition, "").await? {
            match found.key.sk.split_once('#') {
                Some(("run", _)) => entries.push(found.parsed::<RunEntry>()?),
                Some(("subject", subject)) if !subject.starts_with("merged#") => {
                    subjects.push(found.parsed::<Subject>()?.value);
                }
                _ => {}
            }
        }
        Ok((entries, subjects))
    }

    async fn runs_of(&self, entries: &[Stored<RunEntry>]) -> Result<Vec<Run>, Trouble> {
        let wanted: Vec<_> = entries.iter().map(|entry| keys::run(&entry.value.run)).collect();
        let found = self.deps.store.get_many::<Run>(&wanted).await?;
        let mut runs: Vec<Run> = found.into_iter().map(|run| run.value).collect();
        runs.sort_by(|a, b| (a.number, &a.id).cmp(&(b.number, &b.id)));
        Ok(runs)
    }

    /// Since when the gate waits because an affected stack that may run has no run yet: the first
    /// may have ended before the last is made, and what should make it may be lost. A stack that
    /// was deleted, detached or moved never makes one.
    async fn waits_for_runs(
        &self,
        connected: &Connected,
        project: ProjectId,
        subjects: &[Subject],
        runs: &[Run],
    ) -> Result<Option<Timestamp>, Trouble> {
        let integration = &connected.integration.value;
        let mut since = None;
        for subject in subjects {
            let Some(decided_at) = subject.decided_at else { continue };
            let missing = without_run(subject, runs);
            // A record of before says how many, not which.
            let mut waits = subject.stacks.is_empty()
                && runs.len() < subject.affected as usize
                && self.deps.clock.now() < decided_at + FIRST_LOOK_FOR_RUNS;
            for chunk in missing.chunks(100) {
                let wanted: Vec<_> = chunk.iter().map(keys::stack_config).collect();
                let found = self.deps.store.get_many::<Stack>(&wanted).await?;
                waits |= found.iter().any(|stack| {
                    stack.value.deleted_at.is_none()
                        && stack.value.project() == Some(project)
                        && stack.value.is_attached(Some(integration))
                });
            }
            if waits {
                since = since.max(Some(decided_at));
            }
        }
        Ok(since)
    }

    /// A merge request that touches no stack, in a project whose pipelines must succeed, needs the
    /// gate to be mergeable at all.
    async fn wants_empty_gate(
        &self,
        gitlab: &Client,
        project: ProjectId,
        subjects: &[Subject],
    ) -> Result<bool, Trouble> {
        let is_candidate =
            subjects.iter().any(|s| s.merge_request.is_some() && s.to_tracked && s.affected == 0);
        if !is_candidate {
            return Ok(false);
        }
        Ok(gitlab.project(project).await?.only_allow_merge_if_pipeline_succeeds)
    }
}

/// The status, where GitLab has it already and it is an end. An end that is posted again makes a
/// second job of the same name; any other state is refused as being there.
async fn find_end(
    gitlab: &Client,
    project: ProjectId,
    pipeline: &Pipeline,
    status: &NewStatus,
    there: &mut There,
) -> Result<Option<PostedStatus>, Trouble> {
    if matches!(status.state, StatusState::Pending | StatusState::Running) {
        return Ok(None);
    }
    let latest = match there.entry((project, pipeline.sha.clone())) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => match gitlab.statuses(project, &pipeline.sha).await {
            // Posting says so too, and its refusal is kept for people.
            Err(error) if error.is_refusal() => return Ok(None),
            latest => unknown.insert(latest?),
        },
    };
    let mut of_name = latest.iter().filter(|there| {
        let is_here = match (there.pipeline_id, pipeline.id) {
            (Some(there), Some(here)) => there == here,
            // Rather one job too many than none that ends.
            _ => there.git_ref.is_some() && there.git_ref == pipeline.git_ref,
        };
        there.name == status.name && is_here
    });
    // The newest, which may be of another run: its address tells.
    Ok(of_name.next().cloned().filter(|there| {
        there.status == status.state.as_str()
            && there.description == status.description
            && there.target_url == status.target_url
    }))
}

/// After how long pipelines that may still come are looked for again.
fn wait_for_pipelines(memory: &mut StatusMemory, may_come: bool, own_ci: bool) -> Option<Duration> {
    if may_come {
        return Some(Duration::from_secs(3));
    }
    let wait = LATE_LOOKS.get(memory.late_looks).copied().filter(|_| own_ci)?;
    memory.late_looks += 1;
    Some(wait)
}

/// The affected stacks that have no run yet.
fn without_run(subject: &Subject, runs: &[Run]) -> Vec<StackId> {
    let is_tracked = subject.to_tracked && subject.merge_request.is_none();
    let have: BTreeSet<&StackId> = runs
        .iter()
        .filter(|run| {
            // A preview of the same commit does not stand for its tracked run.
            !is_tracked || run.run_type == RunType::Tracked || run.git_ref == subject.branch
        })
        .map(|run| &run.stack)
        .collect();
    subject.stacks.iter().filter(|stack| !have.contains(stack)).cloned().collect()
}

/// When a gate that waits since then is looked at again without being asked.
fn next_look_for_runs(since: Timestamp, now: Timestamp) -> Option<Duration> {
    let waited = now.duration_since(since);
    let wait = waited.clamp(FIRST_LOOK_FOR_RUNS, LATEST_LOOK_FOR_RUNS);
    (waited < RUNS_LOOKED_FOR).then(|| wait.unsigned_abs())
}

/// A run started by hand has no subject of its own: its statuses belong to the ref it was started
/// for.
fn with_refs_of_runs(mut subjects: Vec<Subject>, runs: &[Run]) -> Vec<Subject> {
    for run in runs.iter().filter(|r| r.fork_of.is_none()) {
        if !subjects.iter().any(|s| s.branch == run.git_ref) {
            subjects.push(Subject {
                branch: run.git_ref.clone(),
                merge_request: None,
                fork_of: None,
                affected: 1,
                stacks: Vec::new(),
                to_tracked: run.git_ref == run.tracked_branch,
                decided_at: None,
            });
        }
    }
    subjects
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_domain::{PipelineId, UserId, feedback::Shows};

    #[test]
    fn a_branch_is_not_looked_up_again_because_its_merge_request_comes() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let commit: CommitSha = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        let pipeline = Pipeline {
            fork: None,
            id: None,
            sha: commit.clone(),
            git_ref: Some("change".to_owned()),
            shows: Shows::Everything,
        };
        let mut memory = StatusMemory::default();
        memory.keep_found("the branch".to_owned(), vec![pipeline.clone()], at(10));
        assert!(memory.of_branches_lately(&commit, at(11)).is_empty(), "it has none yet");
        let post = StatusPost {
            pipeline,
            name: "gantry".to_owned(),
            state: CommitState::Pending,
            description: "Waiting for 1 stack".to_owned(),
            target_url: None,
            run: None,
        };
        memory.posted.record(&post, Some(PipelineId(7)), UserId(1));
        let known = OfBranches::from([((None, "change".to_owned()), Some(PipelineId(7)))]);
        assert_eq!(memory.of_branches_lately(&commit, at(13)), known);
        assert_eq!(memory.found_lately("and its merge request", at(13)), None);
        assert!(memory.of_branches_lately(&commit, at(14)).is_empty(), "CI may be there by now");
    }
}
