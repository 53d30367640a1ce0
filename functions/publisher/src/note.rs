//! The one note of a merge request.

use crate::{Client, Done, Memory, Trouble, Work, client, links::Links, refusal};
use gantry_connection::Connected;
use gantry_domain::{
    CommitSha, MergeRequestIid, ProjectId, StackId,
    feedback::PASSING,
    plan::Change,
    run::{Run, RunState, RunType},
    stack::{CommentLevel, OnPush, Stack, StackHead},
    text::{
        note::{self, AfterMerge, MergeRequestState, NoteInput, NoteStack},
        status::RunView,
    },
};
use gantry_gitlab::Error;
use gantry_store::{keys, scheduler::MergeRequestRecord};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Between two edits while runs go on: the more runs, the longer.
const BETWEEN_EDITS: SignedDuration = SignedDuration::from_secs(5);
const STACKS_A_SECOND: i64 = 20;

/// What was written for a merge request.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct NoteMemory {
    note: Option<u64>,
    /// SHA-256 of the body.
    body: Option<String>,
    /// A comment was sent and not answered: GitLab may have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unsure: bool,
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written_at: Option<Timestamp>,
    /// The comment that mentions the author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mention: Option<u64>,
    /// GitLab's own words where it refused.
    #[serde(default)]
    pub(crate) refusal: Option<String>,
}

impl Work {
    pub(crate) async fn publish_note(
        &self,
        connected: &Connected,
        project: ProjectId,
        iid: MergeRequestIid,
        mut memory: Memory<NoteMemory>,
    ) -> Result<Done, Trouble> {
        let gitlab = client(connected);
        let key = keys::merge_request(project, iid);
        let Some(record) = self.deps.store.get::<MergeRequestRecord>(&key).await? else {
            return Ok(Done::default());
        };
        let record = record.value;
        let Some(head) = record.head.clone() else { return Ok(Done::default()) };
        let live = gitlab.merge_request_lately(project, iid).await?;
        let author = live.as_ref().and_then(|mr| Some(mr.author.as_ref()?.username.clone()));
        let state = match record.state.as_str() {
            "merged" => MergeRequestState::Merged,
            "closed" => MergeRequestState::Closed,
            _ => MergeRequestState::Open,
        };
        let links = self.links_in(gitlab, project).await?;
        let tracked = match &record.merged_as {
            Some(commit) => self.tracked_runs(project, commit, &links).await?,
            None => Vec::new(),
        };
        let input = NoteInput {
            installation: connected.integration.value.installation.clone(),
            project,
            iid,
            commit: head.clone(),
            target_branch: record.target_branch.clone(),
            behind: live
                .as_ref()
                .and_then(|mr| mr.diverged_commits_count)
                .filter(|_| state == MergeRequestState::Open)
                .and_then(|count| u32::try_from(count).ok()),
            state,
            stacks: self.note_stacks(project, &head, &record, &links).await?,
            tracked,
        };
        let is_first = live.is_some_and(|mr| mr.user_notes_count == Some(0));
        let is_first = is_first && !self.was_interrupted && !memory.value.unsure;
        let is_wanted = memory.value.note.is_some() || note::is_wanted(&input);
        let mention = author.and_then(|author| note::mention(&input, &author));
        let mention = mention.filter(|_| memory.value.mention.is_none());
        if !is_wanted && mention.is_none() {
            return Ok(Done::default());
        }
        let (installation, bot) =
            (&connected.integration.value.installation, connected.integration.value.bot.id);
        let is_ours = |marker: String| {
            move |found: &gantry_gitlab::Note| {
                found.author.as_ref().is_some_and(|a| a.id == bot)
                    && found.body.starts_with(&marker)
            }
        };
        let (place, before) = ((project, iid), memory.value.refusal.take());
        let now = self.deps.clock.now();
        let waits_until = waits_until(&input, &memory.value, now).filter(|until| *until > now);
        let mut look_at = None;
        let body = note::render(&input);
        let digest = hex::encode(Sha256::digest(body.as_bytes()));
        let is_news = is_wanted && memory.value.body.as_deref() != Some(&digest);
        if let Some(until) = waits_until.filter(|_| is_news) {
            memory.value.refusal.clone_from(&before);
            look_at = Some(until);
        } else if is_news {
            let (known, marker) = (memory.value.note, note::marker(installation, project, iid));
            let written = match known {
                // Nobody has written any yet.
                None if is_first => gitlab.create_note(project, iid, &body).await.map(|n| n.id),
                known => self.write_note(gitlab, place, &body, known, is_ours(marker)).await,
            };
            match written {
                Ok(id) => {
                    memory.value.note = Some(id);
                    memory.value.body = Some(digest);
                    memory.value.written_at = Some(now);
                    memory.value.unsure = false;
                }
                Err(error) if refusal(&error).is_none() => {
                    memory.value.unsure = true;
                    self.remember(&mut memory).await?;
                    return Err(error.into());
                }
                Err(error) => memory.value.refusal = Some(refused(error, project, iid)?),
            }
            self.remember(&mut memory).await?;
        }
        if let Some(body) = mention {
            let marker = note::mention_marker(installation, project, iid);
            match self.write_note(gitlab, place, &body, None, is_ours(marker)).await {
                Ok(id) => memory.value.mention = Some(id),
                Err(error) => memory.value.refusal = Some(refused(error, project, iid)?),
            }
            self.remember(&mut memory).await?;
        }
        if before.is_some() && memory.value.refusal.is_none() {
            self.remember(&mut memory).await?;
        }
        Ok(Done { runs: 1, refused: memory.value.refusal, look_at })
    }

    /// Edits the note, or finds it again by its marker, or makes it. A note whose making timed out
    /// is found, not made twice.
    async fn write_note(
        &self,
        gitlab: &Client,
        (project, iid): (ProjectId, MergeRequestIid),
        body: &str,
        known: Option<u64>,
        is_ours: impl Fn(&gantry_gitlab::Note) -> bool,
    ) -> Result<u64, Error> {
        if let Some(known) = known {
            match gitlab.update_note(project, iid, known, body).await {
                Ok(note) => return Ok(note.id),
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(found) = gitlab.find_note(project, iid, is_ours).await? {
            return Ok(gitlab.update_note(project, iid, found.id, body).await?.id);
        }
        Ok(gitlab.create_note(project, iid, body).await?.id)
    }

    /// The newest run of each stack that the head affects.
    async fn note_stacks(
        &self,
        project: ProjectId,
        head: &CommitSha,
        record: &MergeRequestRecord,
        links: &Links<'_>,
    ) -> Result<Vec<NoteStack>, Trouble> {
        let mut newest: BTreeMap<StackId, Run> = BTreeMap::new();
        let mut tests = Vec::new();
        for run in self.runs_of_commit(project, head).await? {
            // Not by the run's wants: they are taken away some time after the record says so.
            let is_shown = record.affected.contains(&run.stack);
            match run.run_type {
                RunType::Proposed if is_shown => drop(newest.insert(run.stack.clone(), run)),
                RunType::Test if is_shown => tests.push(run),
                _ => {}
            }
        }
        // A module's run with the tests that it consists of.
        tests.retain(|test| {
            let suite = newest.get(&test.stack).map(|suite| &suite.id);
            test.test.as_ref().is_some_and(|of| Some(&of.suite) == suite)
        });
        let shown = newest.into_values().chain(tests);
        let mut stacks = Vec::new();
        for run in shown {
            let id = run.stack.clone();
            let Some(stack) = self.deps.store.stack(&id).await? else { continue };
            let level = stack.value.settings.comment;
            let change = match level {
                CommentLevel::Full if run.delta.is_some() && run.test.is_none() => {
                    self.change(&run).await?
                }
                _ => None,
            };
            let head = self.deps.store.get::<StackHead>(&keys::stack_head(&id)).await?;
            let planned_at = run
                .history
                .iter()
                .rev()
                .find(|step| step.state == RunState::Planning)
                .map(|step| step.at);
            let is_blocked = head.as_ref().is_some_and(|head| head.value.blocked.is_some());
            let applied_since = head
                .zip(planned_at.filter(|_| record.state == "opened"))
                .and_then(|(head, at)| head.value.applied_since(at));
            let after_merge = match is_blocked {
                true => AfterMerge::Nothing,
                false => after_merge(&stack.value, project, &record.target_branch),
            };
            let shown = note_stack(&run, level, links);
            stacks.push(NoteStack { change, applied_since, after_merge, ..shown });
        }
        Ok(stacks)
    }

    /// What the run's plan found; none when it cannot be read, which only leaves out the details.
    async fn change(&self, run: &Run) -> Result<Option<Change>, Trouble> {
        let key = gantry_objects::keys::change(&run.id, run.attempt);
        let Some(bytes) = self.deps.objects.get(&key).await? else { return Ok(None) };
        Ok(serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::error!(run.id = %run.id, "{key} cannot be read: {error}"))
            .ok())
    }

    async fn tracked_runs(
        &self,
        project: ProjectId,
        commit: &CommitSha,
        links: &Links<'_>,
    ) -> Result<Vec<NoteStack>, Trouble> {
        let mut tracked = Vec::new();
        for run in self.runs_of_commit(project, commit).await? {
            if run.run_type != RunType::Tracked {
                continue;
            }
            let stack = self.deps.store.stack(&run.stack).await?;
            let settings = stack.map(|stack| stack.value.settings);
            let level = settings.as_ref().map_or(CommentLevel::Summary, |set| set.comment);
            let mentions = settings.is_some_and(|set| set.mention);
            let blocks = self.blocks_stack(&run).await?;
            tracked.push(NoteStack { mentions, blocks, ..note_stack(&run, level, links) });
        }
        Ok(tracked)
    }

    /// The run has blocked its stack, and nobody has unblocked it since.
    async fn blocks_stack(&self, run: &Run) -> Result<bool, Trouble> {
        if !run.may_block() {
            return Ok(false);
        }
        let head = self.deps.store.get::<StackHead>(&keys::stack_head(&run.stack)).await?;
        let blocked = head.and_then(|head| head.value.blocked);
        Ok(blocked.is_some_and(|blocked| blocked.run == run.id))
    }
}

/// While runs go on, the note says how they get on now and then only; what the last of them comes to,
/// it says at once.
fn waits_until(input: &NoteInput, memory: &NoteMemory, now: Timestamp) -> Option<Timestamp> {
    let runs = || input.stacks.iter().chain(&input.tracked).map(|stack| &stack.run);
    if !runs().any(RunView::goes_on) {
        return None;
    }
    let begun = runs().map(|run| run.created_at).min()? + PASSING;
    let stacks = i64::try_from(runs().count()).unwrap_or(i64::MAX);
    let pause = BETWEEN_EDITS.max(SignedDuration::from_secs(stacks / STACKS_A_SECOND));
    let next = memory.written_at.map_or(begun, |at| begun.max(at + pause));
    // A clock may be set back.
    Some(next.min(now + pause))
}

/// What the stack does once something is merged into a branch of the project.
fn after_merge(stack: &Stack, project: ProjectId, branch: &str) -> AfterMerge {
    let settings = &stack.settings;
    let deploys = stack.module.is_none()
        && stack.project() == Some(project)
        && stack.branch == branch
        && settings.on_push == OnPush::Tracked;
    match deploys {
        false => AfterMerge::Nothing,
        true if settings.autodeploy => AfterMerge::Automatic,
        true => AfterMerge::Confirm,
    }
}

/// The run with as much of its end as may be shown.
fn note_stack(run: &Run, level: CommentLevel, links: &Links<'_>) -> NoteStack {
    let end = run.ending.as_ref().filter(|_| level == CommentLevel::Full);
    NoteStack {
        level,
        change: None,
        errors: end.map(|end| end.errors.clone()).unwrap_or_default(),
        log_tail: end.map(|end| end.log_tail.clone()).unwrap_or_default(),
        applied_since: None,
        after_merge: AfterMerge::Nothing,
        mentions: false,
        blocks: false,
        run: RunView::of(run, links.to(&run.id)),
    }
}

/// GitLab's own words where it refused a comment; other trouble is told.
fn refused(error: Error, project: ProjectId, iid: MergeRequestIid) -> Result<String, Trouble> {
    match refusal(&error) {
        Some(words) => {
            tracing::warn!(project.id = project.0, merge_request = iid.0, "{words}");
            Ok(words)
        }
        None => Err(error.into()),
    }
}
