//! What a transition leaves to be done. Each effect can be performed any number of times.

use super::Runs;
use crate::nudges::distinct;
use gantry_domain::{
    CommitSha, MergeRequestIid, ProjectId, RunId, StackId,
    feedback::PASSING,
    run::{
        Effect, Interest, Position, Run, RunState, RunType,
        recheck::{CLAIM_TIMEOUT, recheck_at},
    },
};
use gantry_queue::{
    ClaimToken, Failure, FeedbackMessage, SlotsMessage, SourceMessage, StackMessage, StartMessage,
};
use gantry_secrets::{TokenFor, TokenKind};
use gantry_store::{
    Outcome, Stored, Write, keys,
    runner::FreeRunner,
    scheduler::{RunEntry, Subject},
};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use std::{collections::BTreeSet, time::Duration};

/// How many of a stack's newest runs are looked through for previews that an apply made old.
const RECENT_RUNS: i32 = 100;
/// How long the start of a runner waits where a free one may take the run: those ask once a second.
const HELD_BACK: Duration = Duration::from_secs(2);
/// How long a claim token can be read. An attempt that is given up before takes no claim.
const CLAIMABLE: SignedDuration = SignedDuration::from_hours(24);

impl Runs<'_> {
    /// Performs what is outstanding, then says so in the run. Losing the race for that last write
    /// does no harm: whoever won it performs the effects again.
    ///
    /// With `is_started` it was just found out that no free runner can take the run.
    pub(super) async fn perform(
        &self,
        stored: Stored<Run>,
        is_started: bool,
    ) -> Result<(), Failure> {
        let run = &stored.value;
        if run.outstanding.is_empty() {
            return Ok(());
        }
        for effect in &run.outstanding {
            Box::pin(self.perform_one(*effect, &stored, is_started)).await?;
        }
        let mut done = run.clone();
        done.outstanding.clear();
        let timeouts = self.timeouts(&done).await?;
        let write = Write::put(stored.key.clone(), stored.unchanged(), &done)?.due(recheck_at(
            &done,
            &timeouts,
            None,
            self.deps.now(),
        ));
        match self.deps.store.write(vec![write]).await? {
            Outcome::Written | Outcome::Stale => Ok(()),
        }
    }

    async fn perform_one(
        &self,
        effect: Effect,
        stored: &Stored<Run>,
        is_started: bool,
    ) -> Result<(), Failure> {
        let run = &stored.value;
        match effect {
            Effect::Fetch => self.fetch(stored).await,
            Effect::Start => self.start(run, is_started).await,
            Effect::Dispatch => self.give_slots(stored, None).await,
            // It held neither the stack nor a module's tests: nothing goes on because of its end.
            Effect::Advance if (run.only_plans() || run.is_drift()) && run.state.is_final() => {
                Ok(())
            }
            Effect::Advance => self.nudge_stack(&run.stack, stored).await,
            Effect::Feedback => self.tell_gitlab(run).await,
            Effect::EndRunner => self.end_runner(run).await,
        }
    }

    /// Shows a run that a trigger has made, and brings it on from where it is, unless somebody has
    /// brought it further.
    pub(crate) async fn begin(&self, stored: &Stored<Run>) -> Result<(), Failure> {
        if stored.value.state != RunState::Queued {
            return Ok(());
        }
        self.tell_gitlab(&stored.value).await?;
        match stored.value.position {
            // Of thousands that are made at the same moment, most find every slot taken.
            // Runs of a pool take no slot.
            Position::Queue
                if stored.value.pool.is_none()
                    && self.shared.full.once("", self.slots.are_full()).await? =>
            {
                Ok(())
            }
            Position::Queue => self.give_slots(stored, None).await,
            Position::Source => self.fetch(stored).await,
            Position::StackQueue | Position::Tests => {
                self.nudge_stack(&stored.value.stack, stored).await
            }
            _ => Ok(()),
        }
    }

    /// Has the source fetched of a run that waits for it.
    async fn fetch(&self, stored: &Stored<Run>) -> Result<(), Failure> {
        let run = &stored.value;
        if run.position != Position::Source {
            return Ok(());
        }
        let cause = format!("{}.{}", run.id, stored.version);
        // A fork's commit is in the target project too, as its merge request's head; there the
        // token may read, and there runner-api looks for the archive.
        let (repository, commit) = (run.repository.clone(), run.commit.clone());
        let waits = Some((run.stack.clone(), run.id.clone()));
        Ok(self.deps.sender.send(SourceMessage::Fetch { repository, commit, cause, waits }).await?)
    }

    /// Has a runner started. Everything in the message derives from the run, so that a repeated
    /// start is the same start.
    async fn start(&self, run: &Run, is_started: bool) -> Result<(), Failure> {
        let Some(handed_out_at) = run.handed_out_at else { return Ok(()) };
        // A worker asks for a run of its pool, and gets its token then.
        if run.position != Position::Slot || run.runner.is_some() || run.pool.is_some() {
            return Ok(());
        }
        let expires_at = handed_out_at + CLAIM_TIMEOUT;
        // A build is started with it, and a repeated start must be the same, whatever becomes of the
        // stack's settings: when an attempt is over is known without it.
        let token = self.deps.signer.sign(&TokenFor {
            kind: TokenKind::Claim,
            run: run.id.clone(),
            phase: run.phase,
            attempt: run.attempt,
            expires: Some((handed_out_at + CLAIMABLE).as_second()),
        });
        let start = StartMessage::Start {
            run: run.id.clone(),
            stack: run.stack.clone(),
            phase: run.phase,
            attempt: run.attempt,
            claim_token: ClaimToken::from(token.expose_secret().to_owned()),
            expires_at,
            role: run.role.clone(),
        };
        if !is_started && self.is_runner_free(run).await? {
            return Ok(self.deps.sender.send_later(start, HELD_BACK).await?);
        }
        let is_started = match &self.deps.starter {
            Some(starter) => Box::pin(starter.start_at_once(&start)).await,
            None => false,
        };
        match is_started {
            true => Ok(()),
            false => Ok(self.deps.sender.send(start).await?),
        }
    }

    /// True when a runner that has ended its run asks for one like this. It may be that somebody
    /// else gets it: a runner of its own is started all the same, a little later.
    pub(crate) async fn is_runner_free(&self, run: &Run) -> Result<bool, Failure> {
        let Some(role) = &run.role else { return Ok(false) };
        let now = keys::free_at(self.deps.now());
        let free =
            self.deps.store.query::<FreeRunner>(keys::FREE_RUNNERS, "", Some(&now), false, 100);
        let is_like = |free: &FreeRunner| free.role == *role && free.run_type == run.run_type;
        Ok(free.await?.items.iter().any(|free| is_like(&free.value)))
    }

    /// Has the machine of the run's runner ended, where one was started for it.
    async fn end_runner(&self, run: &Run) -> Result<(), Failure> {
        if run.role.is_none() {
            return Ok(());
        }
        let (run, runner) = (run.id.clone(), run.runner.clone());
        Ok(self.deps.sender.send(StartMessage::EndRunner { run, runner }).await?)
    }

    /// Gives slots where this run has entered the queue. Who calls it looks next whether the run got
    /// one: nobody else is told.
    pub(super) async fn ask_for_slot(&self, stored: &Stored<Run>) -> Result<(), Failure> {
        self.give_slots(stored, Some(&stored.value.id)).await
    }

    /// Gives the slots that are free where a run has entered the queue, and nudges the dispatcher where
    /// others do so too, or where a slot became free and somebody stands in the queue. Nobody is told of
    /// the slot of a run that is the caller's `own`. Who enters has written that before it looks at the
    /// slots, and who leaves a slot before it looks at the queue; both read what is written. So of two
    /// at the same moment one sees the other.
    ///
    /// A run of a pool needs none: it is handed to whichever worker comes.
    async fn give_slots(&self, stored: &Stored<Run>, own: Option<&RunId>) -> Result<(), Failure> {
        if stored.value.pool.is_some() {
            let Run { stack, id: run, position, .. } = stored.value.clone();
            let grant = distinct(&(&run, stored.version));
            return match position {
                Position::Queue => {
                    Ok(self.deps.sender.send(StackMessage::Grant { stack, run, grant }).await?)
                }
                _ => Ok(()),
            };
        }
        let is_done = match stored.value.position {
            Position::Queue => Box::pin(self.slots.give_free(own)).await?,
            _ => !self.slots.are_wanted().await?,
        };
        if is_done {
            return Ok(());
        }
        let cause = format!("{}.{}", stored.value.id, stored.version);
        Ok(self.deps.sender.send(SlotsMessage::Dispatch { cause }).await?)
    }

    async fn nudge_stack(&self, stack: &StackId, stored: &Stored<Run>) -> Result<(), Failure> {
        let version = distinct(&(&stored.value.id, stored.version));
        Ok(self.deps.sender.send(StackMessage::StackDue { stack: stack.clone(), version }).await?)
    }

    /// Raises what GitLab should show of the run: its commit's statuses, the notes of the merge
    /// requests that are interested in it, the stack's environment, and the issue of its drift. What
    /// it made old is told too.
    async fn tell_gitlab(&self, run: &Run) -> Result<(), Failure> {
        let Some(project) = run.project() else { return Ok(()) };
        if run.is_of_commit() {
            self.tell_at_commit(project, run).await?;
        }
        self.tell_of_drift(run).await?;
        if run.task().is_some() || !(run.applied || run.may_be_applied_in_part()) {
            return Ok(());
        }
        let previews = self.previewed_before(run).await?;
        for iid in &previews {
            self.deps.raise(FeedbackMessage::Note { project, iid: *iid, want: 0 }).await?;
        }
        if run.run_type == RunType::Tracked && run.applied && !previews.is_empty() {
            let (stack, run) = (run.stack.clone(), run.id.clone());
            let replan = StackMessage::Replan { stack, run, after: None, round: 0 };
            self.deps.sender.send(replan).await?;
        }
        Ok(())
    }

    /// What differs of a stack is known now, or is gone: its issue says so, where it asks for one.
    async fn tell_of_drift(&self, run: &Run) -> Result<(), Failure> {
        let is_apply = run.run_type == RunType::Tracked && run.applied && run.task().is_none();
        if !run.state.is_final() || !(run.is_drift() || is_apply) {
            return Ok(());
        }
        let stack = self.deps.store.stack(&run.stack).await?;
        if stack.is_some_and(|stack| stack.value.settings.drift.issue) {
            self.deps.raise(FeedbackMessage::Issue { stack: run.stack.clone(), want: 0 }).await?;
        }
        Ok(())
    }

    /// What is shown at the run's commit.
    async fn tell_at_commit(&self, project: ProjectId, run: &Run) -> Result<(), Failure> {
        let wait = match run.state {
            // What lasts less is not shown.
            RunState::Preparing | RunState::Initializing | RunState::Planning
                if self.deps.now() < run.since + PASSING =>
            {
                PASSING
            }
            _ => SignedDuration::ZERO,
        };
        let status = FeedbackMessage::Status { project, commit: run.commit.clone(), want: 0 };
        self.raise_within(status, wait).await?;
        for iid in self.merge_requests_of(project, run).await? {
            let note = FeedbackMessage::Note { project, iid, want: 0 };
            self.raise_within(note, wait).await?;
        }
        if run.run_type == RunType::Tracked && !run.module && has_deployment(run.state) {
            self.deps
                .raise(FeedbackMessage::Environment { stack: run.stack.clone(), want: 0 })
                .await?;
        }
        Ok(())
    }

    /// The same for runs of a commit that come to it at the same moment is raised once.
    async fn raise_within(
        &self,
        nudge: FeedbackMessage,
        wait: SignedDuration,
    ) -> Result<(), Failure> {
        let what = format!("{}.{}", nudge.target(), wait.as_millis());
        self.shared.raised.once(&what, self.deps.raise_within(nudge, wait)).await
    }

    async fn merge_requests_of(
        &self,
        project: ProjectId,
        run: &Run,
    ) -> Result<Vec<MergeRequestIid>, Failure> {
        let mut found: Vec<MergeRequestIid> = run
            .interests
            .iter()
            .filter_map(|interest| match interest {
                Interest::MergeRequest(iid) => Some(*iid),
                _ => None,
            })
            .collect();
        let listed = match run.run_type {
            RunType::Tracked => Some("subject#merged#"),
            // One that a person has started is shown wherever its commit is the head, and a merge
            // request that came later is known to the commit's first run alone.
            _ if run.interests.contains(&Interest::Person) => Some("subject#"),
            _ => None,
        };
        if let Some(listed) = listed {
            let what = format!("{project}.{}.{listed}", run.commit);
            let read = self.listed_merge_requests(project, &run.commit, listed);
            found.extend(self.shared.listed.once(&what, read).await?);
        }
        Ok(found)
    }

    async fn listed_merge_requests(
        &self,
        project: ProjectId,
        commit: &CommitSha,
        listed: &str,
    ) -> Result<Vec<MergeRequestIid>, Failure> {
        let partition = keys::commit_runs(project, commit);
        let subjects = self.deps.store.query_all::<Subject>(&partition, listed).await?;
        Ok(subjects.into_iter().filter_map(|subject| subject.value.merge_request).collect())
    }

    /// Merge requests whose previews are older than this apply: their notes say so.
    pub(crate) async fn previewed_before(
        &self,
        run: &Run,
    ) -> Result<BTreeSet<MergeRequestIid>, Failure> {
        let partition = keys::stack_partition(&run.stack);
        let recent =
            self.deps.store.query::<RunEntry>(&partition, "run#", None, true, RECENT_RUNS).await?;
        let previews: Vec<_> = recent
            .items
            .iter()
            .filter(|entry| entry.value.run_type == RunType::Proposed)
            .map(|entry| keys::run(&entry.value.run))
            .collect();
        let previews = self.deps.store.get_many::<Run>(&previews).await?;
        let interests = previews.into_iter().flat_map(|preview| preview.value.interests);
        Ok(interests
            .filter_map(|interest| match interest {
                Interest::MergeRequest(iid) => Some(iid),
                _ => None,
            })
            .collect())
    }
}

/// A deployment begins when the run is confirmed, or has ended.
fn has_deployment(state: RunState) -> bool {
    matches!(state, RunState::Confirmed | RunState::Applying) || state.is_final()
}
