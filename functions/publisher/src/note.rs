//! The one note of a merge request.

use crate::{
    Client, Done, MANY_RUNS, Memory, Trouble, Work, between_large_looks, client, links::Links,
    refusal,
};
use futures::{StreamExt as _, TryStreamExt as _};
use gantry_connection::Connected;
use gantry_domain::{
    CommitSha, MergeRequestIid, ProjectId, RunId, StackId,
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
use gantry_store::{Key, keys, scheduler::MergeRequestRecord};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Between two edits while runs go on: the more runs, the longer.
const BETWEEN_EDITS: SignedDuration = SignedDuration::from_secs(5);
const STACKS_A_SECOND: i64 = 20;
/// Between two edits of many runs, which part of the time that they have gone on for, and at most
/// how long: few edits have shown as much as anybody reads, however long all of it takes.
const PART_OF_THE_TIME: i32 = 5;
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// How many changes are read side by side.
const CHANGES_AT_ONCE: usize = 32;
/// Bytes of JSON that all changes of a note may have together, and one of very many: far more than
/// the note has room for.
const ALL_CHANGES: usize = 20 * note::BUDGET;
const ONE_OF_MANY: usize = 8_000;

/// What was written for a merge request.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct NoteMemory {
    note: Option<u64>,
    /// SHA-256 of the body.
    body: Option<String>,
    /// A comment was sent and not answered: GitLab may have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unsure: bool,
    /// When it was written, or GitLab refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written_at: Option<Timestamp>,
    /// What went on at the last look at many runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waits_for: Option<WaitsFor>,
    /// The comment that mentions the author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mention: Option<u64>,
    /// GitLab's own words where it refused.
    #[serde(default)]
    pub(crate) refusal: Option<String>,
}

impl NoteMemory {
    /// GitLab refused a comment: it is tried again when it would be time for an edit.
    fn was_refused(&mut self, words: String, now: Timestamp) {
        self.refusal = Some(words);
        self.written_at = Some(now);
    }
}

/// One of many runs that went on, likely the last to end. As long as it goes on, nobody has to look
/// at the others before it is time for an edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WaitsFor {
    run: RunId,
    /// How many they are.
    runs: usize,
    /// When that is.
    until: Timestamp,
}

impl WaitsFor {
    /// It is not yet time for an edit.
    fn is_early(&self, now: Timestamp) -> bool {
        // A clock may be set back.
        let longest = between_edits(self.runs, SignedDuration::MAX);
        now < self.until && self.until <= now + longest
    }
}

/// The runs that a note shows.
struct Runs {
    /// The newest of each stack that the head affects, and the tests of modules.
    stacks: Vec<Run>,
    /// Those that the merge started.
    tracked: Vec<Run>,
}

impl Runs {
    fn all(&self) -> impl Iterator<Item = &Run> {
        self.stacks.iter().chain(&self.tracked)
    }

    /// What to remember when all of them are looked at later.
    fn wait(&self, until: Timestamp) -> Option<WaitsFor> {
        let latest = |run: &Run| (run.state == RunState::Queued, run.created_at, run.id.clone());
        let last = self.all().filter(|run| goes_on(run)).max_by_key(|&run| latest(run))?;
        Some(WaitsFor { run: last.id.clone(), runs: self.all().count(), until })
    }
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
        let now = self.deps.clock.now();
        let later = |runs, until: Timestamp, refused| {
            let look_at = Some(until.min(now + between_large_looks(runs)));
            Done { runs, refused, look_at }
        };
        if let Some((runs, until)) = self.still_waits(&memory.value, &record, now).await? {
            return Ok(later(runs, until, memory.value.refusal));
        }
        let runs = self.runs_of_note(project, &head, &record).await?;
        let count = runs.all().count();
        let until = waits_until(&runs, memory.value.written_at, now).filter(|until| *until > now);
        // A comment that mentions the author is not put off, unless GitLab has refused one.
        let is_put_off = until.is_some()
            && count > MANY_RUNS
            && (memory.value.refusal.is_some()
                || !self.may_mention(&runs.tracked, &memory.value).await?);
        if let Some(until) = until.filter(|_| is_put_off) {
            let waits_for = runs.wait(until);
            if memory.value.waits_for != waits_for {
                memory.value.waits_for = waits_for;
                self.remember(&mut memory).await?;
            }
            return Ok(later(count, until, memory.value.refusal));
        }
        let live = gitlab.merge_request_lately(project, iid).await?;
        let author = live.as_ref().and_then(|mr| Some(mr.author.as_ref()?.username.clone()));
        let state = match record.state.as_str() {
            "merged" => MergeRequestState::Merged,
            "closed" => MergeRequestState::Closed,
            _ => MergeRequestState::Open,
        };
        let links = self.links_in(gitlab, project).await?;
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
            stacks: self.note_stacks(project, &runs.stacks, &record, &links).await?,
            tracked: self.tracked_stacks(&runs.tracked, &links).await?,
        };
        let is_first = live.is_some_and(|mr| mr.user_notes_count == Some(0));
        let is_first = is_first && !self.was_interrupted && !memory.value.unsure;
        let is_wanted = memory.value.note.is_some() || note::is_wanted(&input);
        let mention = author.and_then(|author| note::mention(&input, &author));
        let mention = mention.filter(|_| memory.value.mention.is_none());
        let mention_waits = until.filter(|_| mention.is_some() && memory.value.refusal.is_some());
        let mention = mention.filter(|_| mention_waits.is_none());
        if !is_wanted && mention.is_none() && mention_waits.is_none() {
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
        let mut look_at = mention_waits;
        if look_at.is_some() {
            memory.value.refusal.clone_from(&before);
        }
        let body = note::render(&input);
        let digest = hex::encode(Sha256::digest(body.as_bytes()));
        let is_news = is_wanted && memory.value.body.as_deref() != Some(&digest);
        if let Some(until) = until.filter(|_| is_news) {
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
                Err(error) => memory.value.was_refused(refused(error, project, iid)?, now),
            }
            self.remember(&mut memory).await?;
        }
        if let Some(body) = mention {
            let marker = note::mention_marker(installation, project, iid);
            match self.write_note(gitlab, place, &body, None, is_ours(marker)).await {
                Ok(id) => memory.value.mention = Some(id),
                Err(error) => memory.value.was_refused(refused(error, project, iid)?, now),
            }
            self.remember(&mut memory).await?;
        }
        if before.is_some() && memory.value.refusal.is_none() {
            self.remember(&mut memory).await?;
        }
        Ok(Done { runs: count, refused: memory.value.refusal, look_at })
    }

    /// Until when an open merge request waits, and for how many runs, without a look at all of them:
    /// one is known to go on.
    async fn still_waits(
        &self,
        memory: &NoteMemory,
        record: &MergeRequestRecord,
        now: Timestamp,
    ) -> Result<Option<(usize, Timestamp)>, Trouble> {
        let waits_for = memory.waits_for.as_ref().filter(|waits| waits.is_early(now));
        let Some(WaitsFor { run, runs, until }) = waits_for.filter(|_| record.state == "opened")
        else {
            return Ok(None);
        };
        let run = self.deps.store.get::<Run>(&keys::run(run)).await?;
        let waits = run.is_some_and(|run| {
            goes_on(&run.value) && record.head.as_ref() == Some(&run.value.commit)
        });
        Ok(waits.then_some((*runs, *until)))
    }

    /// A deploy may be why the author is mentioned, which its stack asks for.
    async fn may_mention(&self, tracked: &[Run], memory: &NoteMemory) -> Result<bool, Trouble> {
        if memory.mention.is_some() {
            return Ok(false);
        }
        let needing = tracked.iter().filter(|run| needs_somebody(run.state));
        let stacks = self.stacks_of(stacks_in(needing)).await?;
        Ok(stacks.values().any(|stack| stack.settings.mention))
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

    /// The newest run of each stack that the head affects, and the deploys of a merge.
    async fn runs_of_note(
        &self,
        project: ProjectId,
        head: &CommitSha,
        record: &MergeRequestRecord,
    ) -> Result<Runs, Trouble> {
        let affected: BTreeSet<&StackId> = record.affected.iter().collect();
        let mut newest: BTreeMap<StackId, Run> = BTreeMap::new();
        let mut tests = Vec::new();
        for run in self.runs_of_commit(project, head).await? {
            // Not by the run's wants: they are taken away some time after the record says so.
            let is_shown = affected.contains(&run.stack);
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
        let mut tracked = match &record.merged_as {
            Some(commit) => self.runs_of_commit(project, commit).await?,
            None => Vec::new(),
        };
        tracked.retain(|run| run.run_type == RunType::Tracked);
        Ok(Runs { stacks: newest.into_values().chain(tests).collect(), tracked })
    }

    /// The runs of these stacks, with all that is shown of them.
    async fn note_stacks(
        &self,
        project: ProjectId,
        runs: &[Run],
        record: &MergeRequestRecord,
        links: &Links<'_>,
    ) -> Result<Vec<NoteStack>, Trouble> {
        let stacks = self.stacks_of(stacks_in(runs)).await?;
        let heads: Vec<Key> = stacks.keys().map(keys::stack_head).collect();
        let heads: HashMap<Key, StackHead> = self
            .deps
            .store
            .get_many::<StackHead>(&heads)
            .await?
            .into_iter()
            .map(|head| (head.key, head.value))
            .collect();
        let is_full = |run: &&Run| {
            let stack = stacks.get(&run.stack);
            let level = stack.map(|stack| stack.settings.comment);
            level == Some(CommentLevel::Full) && run.delta.is_some() && run.test.is_none()
        };
        let most = (ALL_CHANGES / runs.len().max(1)).max(ONE_OF_MANY);
        let reads: Vec<_> = runs.iter().filter(is_full).map(|run| self.change(run, most)).collect();
        let changes: Vec<Option<(RunId, Change)>> =
            futures::stream::iter(reads).buffered(CHANGES_AT_ONCE).try_collect().await?;
        let mut changes: HashMap<RunId, Change> = changes.into_iter().flatten().collect();
        let mut shown = Vec::with_capacity(runs.len());
        for run in runs {
            let Some(stack) = stacks.get(&run.stack) else { continue };
            let head = heads.get(&keys::stack_head(&run.stack));
            let planned_at = run
                .history
                .iter()
                .rev()
                .find(|step| step.state == RunState::Planning)
                .map(|step| step.at);
            let is_blocked = head.is_some_and(|head| head.blocked.is_some());
            let applied_since = head
                .zip(planned_at.filter(|_| record.state == "opened"))
                .and_then(|(head, at)| head.applied_since(at));
            let after_merge = match is_blocked {
                true => AfterMerge::Nothing,
                false => after_merge(stack, project, &record.target_branch),
            };
            let change = changes.remove(&run.id);
            let of_run = note_stack(run, stack.settings.comment, links);
            shown.push(NoteStack { change, applied_since, after_merge, ..of_run });
        }
        Ok(shown)
    }

    /// Those of the stacks that there are.
    async fn stacks_of(
        &self,
        ids: BTreeSet<&StackId>,
    ) -> Result<BTreeMap<StackId, Stack>, Trouble> {
        let wanted: Vec<Key> = ids.into_iter().map(keys::stack_config).collect();
        let found = self.deps.store.get_many::<Stack>(&wanted).await?;
        Ok(found.into_iter().map(|stack| (stack.value.id.clone(), stack.value)).collect())
    }

    /// What the run's plan found, in at most so many bytes of JSON; none when it cannot be read,
    /// which only leaves out the details.
    pub(crate) async fn change(
        &self,
        run: &Run,
        most: usize,
    ) -> Result<Option<(RunId, Change)>, Trouble> {
        let key = gantry_objects::keys::change(&run.id, run.attempt);
        let Some(bytes) = self.deps.objects.get(&key).await? else { return Ok(None) };
        let change = serde_json::from_slice::<Change>(&bytes)
            .inspect_err(|error| tracing::error!(run.id = %run.id, "{key} cannot be read: {error}"))
            .ok();
        Ok(change.map(|mut change| {
            if bytes.len() > most {
                change.fit(most);
            }
            (run.id.clone(), change)
        }))
    }

    async fn tracked_stacks(
        &self,
        runs: &[Run],
        links: &Links<'_>,
    ) -> Result<Vec<NoteStack>, Trouble> {
        let stacks = self.stacks_of(stacks_in(runs)).await?;
        let mut shown = Vec::with_capacity(runs.len());
        for run in runs {
            let settings = stacks.get(&run.stack).map(|stack| &stack.settings);
            let level = settings.map_or(CommentLevel::Summary, |set| set.comment);
            let mentions = settings.is_some_and(|set| set.mention);
            let blocks = self.blocks_stack(run).await?;
            shown.push(NoteStack { mentions, blocks, ..note_stack(run, level, links) });
        }
        Ok(shown)
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

/// True while it goes on by itself, as [`RunView::goes_on`] has it.
fn goes_on(run: &Run) -> bool {
    !run.state.is_final() && run.state != RunState::Unconfirmed
}

/// The stacks of these runs.
fn stacks_in<'r>(runs: impl IntoIterator<Item = &'r Run>) -> BTreeSet<&'r StackId> {
    runs.into_iter().map(|run| &run.stack).collect()
}

/// A deploy in this state may be why its author is mentioned.
fn needs_somebody(state: RunState) -> bool {
    matches!(state, RunState::Unconfirmed | RunState::Failed)
}

/// While runs go on, the note says how they get on now and then only; what the last of them comes to,
/// it says at once.
fn waits_until(runs: &Runs, written_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    // After a merge these are the deploys, however long ago their previews were made.
    let since = runs.all().filter(|run| goes_on(run)).map(|run| run.created_at).min()?;
    let begun = runs.all().map(|run| run.created_at).min()? + PASSING;
    let lasted = written_at.map(|at| at.duration_since(since)).unwrap_or_default();
    let pause = between_edits(runs.all().count(), lasted);
    let next = written_at.map_or(begun, |at| begun.max(at + pause));
    // A clock may be set back.
    Some(next.min(now + pause))
}

/// The pause after an edit that was made when so many runs had gone on for so long.
fn between_edits(runs: usize, lasted: SignedDuration) -> SignedDuration {
    let of_runs = i64::try_from(runs).unwrap_or(i64::MAX) / STACKS_A_SECOND;
    let pause = BETWEEN_EDITS.max(SignedDuration::from_secs(of_runs));
    match runs > MANY_RUNS {
        true => pause.max(LONGEST_PAUSE.min(lasted / PART_OF_THE_TIME)),
        false => pause,
    }
}

/// What the stack does once something is merged into a branch of the project.
fn after_merge(stack: &Stack, project: ProjectId, branch: &str) -> AfterMerge {
    let settings = &stack.settings;
    let deploys = stack.module.is_none()
        && stack.project() == Some(project)
        && stack.branch == branch
        && settings.on_push == OnPush::Tracked;
    let asks = settings.approvals.is_some() || settings.require_merge_request_approval;
    match deploys {
        false => AfterMerge::Nothing,
        true if settings.autodeploy && asks => AfterMerge::Approved,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Edits of a note while so many runs go on for so long, and end all the time.
    fn edits(runs: usize, lasts: SignedDuration) -> usize {
        let mut at = SignedDuration::ZERO;
        let mut edits = 0;
        while at < lasts {
            edits += 1;
            at += between_edits(runs, at);
        }
        edits
    }

    #[test]
    fn many_runs_make_few_edits_however_long_they_take() {
        let minutes = SignedDuration::from_mins;
        assert!(edits(1000, minutes(5)) >= 5, "how it gets on is shown");
        for (runs, lasts) in [(51, 10), (100, 20), (1000, 10), (1000, 100), (5000, 200)] {
            let edits = edits(runs, minutes(lasts));
            assert!(edits <= 30, "{edits} edits of {runs} runs in {lasts} minutes");
        }
        assert_eq!(edits(10, minutes(10)), 120, "few runs are told of as they get on");
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_deploys_of_many_stacks_are_told_of_however_old_their_previews_are() {
        const DAY: i64 = 24 * 60 * 60;
        let runs = |state, created| {
            let golden = include_str!("../../../shared/store/golden/v1/run.json");
            let run: Run = serde_json::from_str(golden).unwrap();
            vec![Run { state, created_at: at(created), ..run }; 50]
        };
        let merged =
            |state| Runs { stacks: runs(RunState::Finished, 0), tracked: runs(state, DAY) };
        let next = |state, written| waits_until(&merged(state), Some(at(written)), at(written));
        assert_eq!(next(RunState::Applying, DAY + 10), Some(at(DAY + 15)));
        assert_eq!(next(RunState::Applying, DAY + 300), Some(at(DAY + 360)));
        assert_eq!(next(RunState::Applying, 2 * DAY), Some(at(2 * DAY + 600)));
        assert_eq!(next(RunState::Unconfirmed, DAY + 10), None);
    }

    #[test]
    fn what_gitlab_refused_of_many_runs_is_tried_again_when_an_edit_would_be_due() {
        let golden = include_str!("../../../shared/store/golden/v1/run.json");
        let run: Run = serde_json::from_str(golden).unwrap();
        let run = Run { state: RunState::Planning, created_at: at(0), ..run };
        let runs = Runs { stacks: vec![run; 100], tracked: Vec::new() };
        let mut memory = NoteMemory::default();
        let until = |memory: &NoteMemory, now| waits_until(&runs, memory.written_at, at(now));
        assert!(until(&memory, 60).is_some_and(|until| until <= at(60)), "it is time");
        memory.was_refused("403 Forbidden".to_owned(), at(60));
        assert_eq!(until(&memory, 61), Some(at(72)));
        memory.was_refused("403 Forbidden".to_owned(), at(6_000));
        assert_eq!(until(&memory, 6_001), Some(at(6_600)));
    }

    #[test]
    fn a_merge_is_applied_by_itself_at_once_unless_its_stack_asks_for_approvals() {
        let golden = include_str!("../../../shared/store/golden/v1/stack.json");
        let mut stack: Stack = serde_json::from_str(golden).unwrap();
        (stack.module, stack.settings.on_push) = (None, OnPush::Tracked);
        let after = |stack: &Stack| after_merge(stack, ProjectId(42), "main");
        assert_eq!(after(&stack), AfterMerge::Approved);
        stack.settings.approvals = None;
        assert_eq!(after(&stack), AfterMerge::Approved, "of its merge request");
        stack.settings.require_merge_request_approval = false;
        assert_eq!(after(&stack), AfterMerge::Automatic);
        stack.settings.autodeploy = false;
        assert_eq!(after(&stack), AfterMerge::Confirm);
    }

    #[test]
    fn no_edit_waits_longer_because_a_clock_is_set_back() {
        let waits = WaitsFor { run: "run-1".parse().unwrap(), runs: 100, until: at(1000) };
        let early = [1000, 999, 400, 399, 0].map(|second| waits.is_early(at(second)));
        assert_eq!(early, [false, true, true, false, false]);
    }
}
