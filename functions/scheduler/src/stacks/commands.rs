//! What people ask for. Each command stores how it ended, in the same transaction as what it did.

mod unpushed;

use super::Stacks;
use crate::{
    deps::HISTORY_KEPT,
    runs::{Head, Loaded, written},
    trouble::gitlab_failure,
};
use gantry_domain::{
    CommitLine, CommitSha, EventId, RunId, StackId,
    approval::Person,
    run::{
        Effect, Ending, Interest, NewRun, Phase, PlanOptions, Position, Run, RunEvent, RunState,
        RunType, Trigger, Uploaded,
    },
    stack::Stack,
    text::counted,
};
use gantry_gitlab::Error as GitlabError;
use gantry_queue::{Command, Failure};
use gantry_store::{
    Expect, Write, keys,
    runner::Claim,
    scheduler::{CommandOutcome, RunEntry, TrackedBranch, VersionRecord, Yanked},
};
use semver::Version;
use std::collections::BTreeSet;

/// One command of one person, or of a key.
struct Order<'a> {
    stack: &'a StackId,
    request: &'a EventId,
    actor: &'a str,
    /// None where a key asks that is nobody's.
    person: Option<&'a Person>,
}

/// What somebody asks a stack to run.
struct Asked {
    run_type: RunType,
    commit: Option<CommitSha>,
    branch: Option<String>,
    version: Option<Version>,
    options: PlanOptions,
}

/// What a run has that is started by hand, besides what its trigger says.
#[derive(Default)]
struct Besides {
    interests: BTreeSet<Interest>,
    upload: Option<Uploaded>,
    options: PlanOptions,
}

/// A commit that somebody asked to run, with the branch that has it.
struct ByHand {
    commit: CommitSha,
    commit_line: CommitLine,
    branch: String,
}

impl Stacks<'_> {
    pub(crate) async fn on_command(
        &self,
        stack: &StackId,
        request: &EventId,
        actor: &str,
        person: Option<&Person>,
        command: Command,
    ) -> Result<(), Failure> {
        let key = keys::command(stack, request);
        if self.deps.store.get::<CommandOutcome>(&key).await?.is_some() {
            return Ok(());
        }
        let order = Order { stack, request, actor, person };
        match command {
            Command::Confirm { run, comment } => self.confirm(&order, &run, comment).await,
            Command::Discard { run, comment } => self.discard(&order, &run, comment).await,
            Command::Stop { run } => self.stop(&order, &run).await,
            Command::Retry { run, force } => self.retry(&order, &run, force).await,
            Command::CatchUp => self.catch_up(&order).await,
            Command::Unblock { reason } => self.unblock(&order, &reason).await,
            Command::Trigger { run_type, commit, branch, options } => {
                let asked = Asked { run_type, commit, branch, version: None, options };
                Box::pin(self.trigger_by_hand(&order, asked)).await
            }
            Command::LookForDrift => Box::pin(self.look_for_drift(&order)).await,
            Command::Task { command } => Box::pin(self.start_task(&order, command)).await,
            Command::Preview { digest, commit } => {
                self.preview_upload(&order, digest, commit).await
            }
            Command::Yank { version, note } => self.yank(&order, &version, note).await,
            Command::MakeVersion { version, commit } => {
                let (run_type, version) = (RunType::Tracked, Some(version));
                let options = PlanOptions::default();
                let asked = Asked { run_type, commit, branch: None, version, options };
                Box::pin(self.trigger_by_hand(&order, asked)).await
            }
        }
    }

    fn outcome(
        &self,
        order: &Order<'_>,
        done: bool,
        message: impl Into<String>,
        run: Option<&RunId>,
    ) -> Result<Write, Failure> {
        let outcome = CommandOutcome {
            actor: order.actor.to_owned(),
            done,
            message: message.into(),
            run: run.cloned(),
            at: self.deps.now(),
        };
        let key = keys::command(order.stack, order.request);
        Ok(Write::put(key, Expect::Absent, &outcome)?.expires(self.deps.now() + HISTORY_KEPT))
    }

    async fn refuse(
        &self,
        order: &Order<'_>,
        message: impl Into<String>,
        run: Option<&RunId>,
    ) -> Result<(), Failure> {
        let write = self.outcome(order, false, message, run)?;
        let _said_before_or_now = self.deps.store.write(vec![write]).await?;
        Ok(())
    }

    /// The run, if it is one of the order's stack.
    async fn ordered_run(&self, order: &Order<'_>, run: &RunId) -> Result<Option<Loaded>, Failure> {
        match self.runs.load(run).await? {
            Some(loaded) if &loaded.run().stack == order.stack => Ok(Some(loaded)),
            _ => {
                self.refuse(order, "This stack has no such run", None).await?;
                Ok(None)
            }
        }
    }

    async fn confirm(
        &self,
        order: &Order<'_>,
        run: &RunId,
        comment: Option<String>,
    ) -> Result<(), Failure> {
        let Some(loaded) = self.ordered_run(order, run).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        if run.apply(RunEvent::Confirmed, self.deps.now(), Some(order.actor)).is_err() {
            let why = format!(
                "Only a run that needs confirmation can be confirmed (state: {})",
                run.state
            );
            return self.refuse(order, why, Some(&run.id)).await;
        }
        if self.runnable(order.stack).await?.is_none() {
            let why = "The stack is detached from its GitLab project, so nothing is applied";
            return self.refuse(order, why, Some(&run.id)).await;
        }
        let blocked = loaded.head.as_ref().and_then(|head| head.value.blocked.as_ref());
        if let Some(blocked) = blocked {
            let why = format!("The stack is blocked: {}. Unblock it first.", blocked.reason);
            return self.refuse(order, why, Some(&run.id)).await;
        }
        run.comment(comment);
        // A stop, or a time limit, that the plan outran is not meant for its apply.
        run.stop_asked = None;
        run.over_time = false;
        run.phase = Phase::Apply;
        run.handed_out_at = None;
        run.runner = None;
        let said = self.outcome(order, true, "Confirmed. Applying next.", Some(&run.id))?;
        self.runs.commit(loaded, run, vec![said]).await
    }

    async fn discard(
        &self,
        order: &Order<'_>,
        run: &RunId,
        comment: Option<String>,
    ) -> Result<(), Failure> {
        let Some(loaded) = self.ordered_run(order, run).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        let mut extra = Vec::new();
        let is_handed_out = run.position == Position::Slot || run.waits_for_worker();
        if run.state == RunState::Confirmed && is_handed_out {
            let claim = keys::claim(&run.id, run.attempt);
            if self.deps.store.get::<Claim>(&claim).await?.is_some() {
                let why = "A runner is about to apply the run. Stop it instead.";
                return self.refuse(order, why, Some(&run.id)).await;
            }
            extra.push(Write::Check { key: claim, expect: Expect::Absent });
        }
        if run.apply(RunEvent::Discarded, self.deps.now(), Some(order.actor)).is_err() {
            let why = format!(
                "Only a run that needs confirmation or was confirmed can be discarded (state: {})",
                run.state
            );
            return self.refuse(order, why, Some(&run.id)).await;
        }
        run.comment(comment);
        run.ending = Some(Ending::new(format!("Discarded by {}", order.actor)));
        extra.push(self.outcome(order, true, "Discarded", Some(&run.id))?);
        self.runs.commit(loaded, run, extra).await
    }

    async fn stop(&self, order: &Order<'_>, run: &RunId) -> Result<(), Failure> {
        let Some(loaded) = self.ordered_run(order, run).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        let refused = match run.state {
            RunState::Unconfirmed | RunState::Confirmed => {
                Some("Nothing is running. Discard the run instead.".to_owned())
            }
            RunState::Destroying => {
                Some("The test's resources are being destroyed, which cannot be stopped".to_owned())
            }
            state if state.is_final() => {
                Some(format!("The run has already ended (state: {state})"))
            }
            _ => None,
        };
        if let Some(why) = refused {
            return self.refuse(order, why, Some(&run.id)).await;
        }
        let applying = run.state == RunState::Applying;
        let mut extra = self.end(&mut run, &format!("Stopped by {}", order.actor)).await?;
        if run.stop_asked.is_some() {
            run.stop_asked = Some(order.actor.to_owned());
            run.over_time = false;
        }
        let message = match (run.state.is_final(), applying) {
            (true, _) => "Canceled before it started",
            (false, true) => {
                "Stopping the apply. It finishes what is in flight and writes its state; \
                 provisioner commands are killed, and their resources will be replaced by the next \
                 apply."
            }
            (false, false) => "Stopping the plan",
        };
        extra.push(self.outcome(order, true, message, Some(&run.id))?);
        self.runs.commit(loaded, run, extra).await
    }

    /// A retry is a new run of the same commit.
    async fn retry(&self, order: &Order<'_>, run: &RunId, force: bool) -> Result<(), Failure> {
        let Some(loaded) = self.ordered_run(order, run).await? else { return Ok(()) };
        let old = loaded.run();
        if !old.state.is_final() {
            let state = match old.state {
                RunState::Unconfirmed => "needs confirmation".to_owned(),
                state => state.to_string(),
            };
            let why = format!("Only a run that has ended can be retried (state: {state})");
            return self.refuse(order, why, Some(&old.id)).await;
        }
        if old.run_type == RunType::Test {
            let why = "A single test cannot be retried. Retry the module's run that it belongs to.";
            return self.refuse(order, why, Some(&old.id)).await;
        }
        if let Some(why) = unpushed::not_retried(old) {
            return self.refuse(order, why, Some(&old.id)).await;
        }
        if old.is_drift() {
            return Box::pin(self.look_for_drift(order)).await;
        }
        if old.upload.is_some() {
            let why = "Uploaded code cannot be planned again from here. Upload the folder again.";
            return self.refuse(order, why, Some(&old.id)).await;
        }
        let Some(stack) = self.accepts_commands(order).await? else { return Ok(()) };
        if let (RunType::Tracked, Some(project), false) = (old.run_type, stack.project(), force) {
            let key = keys::tracked_branch(project, &stack.branch);
            let head = self.deps.store.get::<TrackedBranch>(&key).await?;
            let head = head.and_then(|b| b.value.decided);
            if head.as_ref() != Some(&old.commit) {
                let now_at = head.map_or("another commit".to_owned(), |h| h.short().to_owned());
                let why = format!(
                    "{} has moved to {now_at}. Running this older commit may revert newer changes. \
                     Repeat with force to run it anyway.",
                    stack.branch
                );
                return self.refuse(order, why, Some(&old.id)).await;
            }
        }
        let trigger = Trigger {
            run_type: old.run_type,
            key: format!("retry#{}", order.request),
            commit: old.commit.clone(),
            commit_line: old.commit_line.clone(),
            git_ref: old.git_ref.clone(),
            tracked_branch: stack.branch.clone(),
            fork_of: old.fork_of,
            interest: Some(Interest::Person).filter(|_| old.run_type == RunType::Proposed),
            stacks_touched: old.stacks_touched,
            reason: format!("{} retried run #{}", order.actor, old.number),
            by: Some(order.actor.to_owned()),
            asked_at: None,
            version: old.version.clone(),
        };
        let (interests, options) = (old.interests.clone(), old.options.clone());
        let besides = Besides { interests, options, ..Besides::default() };
        self.start_by_hand(order, &stack, trigger, besides).await
    }

    async fn trigger_by_hand(&self, order: &Order<'_>, asked: Asked) -> Result<(), Failure> {
        let Some(stack) = self.accepts_commands(order).await? else { return Ok(()) };
        if stack.module.is_some() && !asked.options.is_usual() {
            let why = "A module is tested as its configuration says: it has no such options";
            return self.refuse(order, why, None).await;
        }
        let ByHand { commit, commit_line, branch } = match self.commit_by_hand(&stack, &asked).await
        {
            Ok(Ok(found)) => found,
            Ok(Err(why)) => return self.refuse(order, why, None).await,
            // The command must not wait: behind it wait the reports of the stack's runners.
            Err(failure) if failure.retry_after.is_some() => {
                let why = match failure.error.downcast_ref::<GitlabError>() {
                    Some(GitlabError::TokenRejected { .. }) => {
                        "GitLab rejected the token: an admin must replace it (GitLab settings)"
                            .to_owned()
                    }
                    _ => {
                        format!("GitLab is not available right now, try again: {:#}", failure.error)
                    }
                };
                return self.refuse(order, why, None).await;
            }
            Err(failure) => return Err(failure),
        };
        let trigger = Trigger {
            run_type: asked.run_type,
            key: format!("manual#{}", order.request),
            commit,
            commit_line,
            git_ref: branch,
            tracked_branch: stack.branch.clone(),
            fork_of: None,
            interest: Some(Interest::Person).filter(|_| asked.run_type == RunType::Proposed),
            stacks_touched: 1,
            reason: format!("started by {}", order.actor),
            by: Some(order.actor.to_owned()),
            asked_at: None,
            version: asked.version,
        };
        let besides = Besides { options: asked.options, ..Besides::default() };
        self.start_by_hand(order, &stack, trigger, besides).await
    }

    /// A preview of what somebody uploaded: never applied, and of no commit's runs.
    async fn preview_upload(
        &self,
        order: &Order<'_>,
        digest: String,
        commit: Option<CommitSha>,
    ) -> Result<(), Failure> {
        let Some(stack) = self.accepts_commands(order).await? else { return Ok(()) };
        if stack.module.is_some() || !stack.settings.local_previews {
            let why = "Previews of uploaded code are not allowed for it";
            return self.refuse(order, why, None).await;
        }
        let commit = match (commit, stack.project()) {
            (None, Some(project)) => {
                let key = keys::tracked_branch(project, &stack.branch);
                let known = self.deps.store.get::<TrackedBranch>(&key).await?;
                known.and_then(|known| known.value.decided)
            }
            (commit, _) => commit,
        };
        let Some(commit) = commit else {
            let why = "The request does not name the commit that the code is based on, and the \
                       branch's head is not known yet";
            return self.refuse(order, why, None).await;
        };
        let trigger = Trigger {
            run_type: RunType::Proposed,
            key: format!("upload#{digest}#{}", order.request),
            commit,
            commit_line: CommitLine::default(),
            git_ref: stack.branch.clone(),
            tracked_branch: stack.branch.clone(),
            fork_of: None,
            interest: Some(Interest::Person),
            stacks_touched: 1,
            reason: format!("uploaded by {}", order.actor),
            by: Some(order.actor.to_owned()),
            asked_at: None,
            version: None,
        };
        let upload = Uploaded { digest, by: order.actor.to_owned() };
        let besides = Besides { upload: Some(upload), ..Besides::default() };
        self.start_by_hand(order, &stack, trigger, besides).await
    }

    /// The commit to run, or why it cannot be run: a deploy is of the tracked branch, a preview of
    /// any branch of the project.
    async fn commit_by_hand(
        &self,
        stack: &Stack,
        asked: &Asked,
    ) -> Result<Result<ByHand, String>, Failure> {
        let commit = asked.commit.clone();
        let on_branch =
            |commit, commit_line| Ok(ByHand { commit, commit_line, branch: stack.branch.clone() });
        let Some(project) = stack.project() else {
            // Whoever ordered it has looked there: the head of the branch, at that moment.
            let missing = || "The request does not name a commit".to_owned();
            let commit = commit.ok_or_else(missing);
            return Ok(commit.and_then(|commit| on_branch(commit, CommitLine::default())));
        };
        let client = self.deps.gitlab().await?;
        let live = match client.branch(project, &stack.branch).await {
            // A person waits for the answer.
            Err(error) if error.is_refusal() => return Ok(Err(error.to_string())),
            live => live.map_err(gitlab_failure)?,
        };
        let commit = match (commit, live) {
            (None, None) => return Ok(Err(format!("The branch {} does not exist", stack.branch))),
            (None, Some(live)) => return Ok(on_branch(live.sha, live.line)),
            (Some(commit), Some(live)) if commit == live.sha && asked.branch.is_none() => {
                return Ok(on_branch(live.sha, live.line));
            }
            (Some(commit), _) => commit,
        };
        let is_preview = asked.run_type == RunType::Proposed;
        let preferred = asked.branch.as_ref().filter(|_| is_preview).unwrap_or(&stack.branch);
        let (found, branch) = futures::try_join!(
            client.commit(project, commit.as_str()),
            client.branch_of_commit(project, &commit, preferred)
        )
        .map_err(gitlab_failure)?;
        let commit_line = found.map(|found| found.line).unwrap_or_default();
        let missing = || format!("{} is not on any branch; push it to one first", commit.short());
        Ok(branch.ok_or_else(missing).and_then(|branch| match asked.run_type {
            RunType::Tracked if branch != stack.branch => {
                Err(format!("{} is not on {}", commit.short(), stack.branch))
            }
            _ => Ok(ByHand { commit, commit_line, branch }),
        }))
    }

    /// Makes the run and stores the outcome with it: a repeated command finds both.
    async fn start_by_hand(
        &self,
        order: &Order<'_>,
        stack: &Stack,
        trigger: Trigger,
        besides: Besides,
    ) -> Result<(), Failure> {
        let Besides { interests, upload, options } = besides;
        let head = self.runs.head(&stack.id).await?;
        let position = match trigger.run_type {
            RunType::Proposed if head.value.applying => Position::Waiting,
            RunType::Proposed => Position::Queue,
            _ => self.tracked_position(&stack.id, &head).await?,
        };
        let key = trigger.key.clone();
        let now = self.deps.now();
        let mut run = NewRun { stack, trigger, event: None, key, position, now }.build();
        run.interests.extend(interests);
        run.upload = upload;
        let message = match position {
            Position::StackQueue => self.queued_behind(&head).await?,
            Position::Waiting => "Waiting for the stack's apply to end".to_owned(),
            _ => "Queued".to_owned(),
        };
        let run = run.meant_for(None, options);
        let said = self.outcome(order, true, message, Some(&run.id))?;
        written(Box::pin(self.runs.create(head, run, vec![said])).await?, &stack.slug)
    }

    /// What somebody is told whose run comes after others of the stack.
    async fn queued_behind(&self, head: &Head) -> Result<String, Failure> {
        let holding = match &head.value.tracked {
            Some(run) => self.deps.store.get::<Run>(&keys::run(run)).await?,
            None => None,
        };
        Ok(match holding.map(|found| found.value) {
            Some(run) if run.state == RunState::Unconfirmed => {
                format!("Queued behind #{}, which needs confirmation", run.number)
            }
            Some(run) => format!("Queued behind #{}", run.number),
            None => "Queued behind the stack's other runs".to_owned(),
        })
    }

    /// The stack, if people may start runs of it now.
    async fn accepts_commands(&self, order: &Order<'_>) -> Result<Option<Stack>, Failure> {
        let Some(stack) = self.runnable(order.stack).await? else {
            let why = "The stack was deleted or is detached from its GitLab project, so it does \
                       not run";
            self.refuse(order, why, None).await?;
            return Ok(None);
        };
        if let Some(blocked) = self.runs.head(order.stack).await?.value.blocked {
            let why = format!("The stack is blocked: {}. Unblock it first.", blocked.reason);
            self.refuse(order, why, Some(&blocked.run)).await?;
            return Ok(None);
        }
        Ok(Some(stack))
    }

    /// Nobody is to use a version any more; without a note, they may again.
    async fn yank(
        &self,
        order: &Order<'_>,
        version: &Version,
        note: Option<String>,
    ) -> Result<(), Failure> {
        let place = keys::version(order.stack, version);
        let Some(found) = self.deps.store.get::<VersionRecord>(&place).await? else {
            return self.refuse(order, "There is no such version", None).await;
        };
        let said = match &note {
            Some(_) => format!("Yanked {version}. The registry no longer offers it."),
            None => format!("The registry offers {version} again"),
        };
        let (by, at) = (order.actor.to_owned(), self.deps.now());
        let yanked = note.map(|note| Yanked { note, by, at });
        let record = VersionRecord { yanked, ..found.value.clone() };
        let writes = vec![
            Write::put(place, found.unchanged(), &record)?,
            self.outcome(order, true, said, None)?,
        ];
        written(self.deps.store.write(writes).await?, order.stack)
    }

    /// Discards the unconfirmed run and cancels all queued ones but the newest.
    async fn catch_up(&self, order: &Order<'_>) -> Result<(), Failure> {
        let partition = keys::stack_partition(order.stack);
        let queue = self.deps.store.query_all::<RunEntry>(&partition, "queue#").await?;
        let Some((newest, older)) = queue.split_last() else {
            return self.refuse(order, "No newer run is waiting", None).await;
        };
        let newest = newest.value.run.clone();
        let by = self.deps.store.get::<Run>(&keys::run(&newest)).await?;
        let by = by.map(|r| r.value.commit.short().to_owned()).unwrap_or_default();
        for entry in older {
            self.cancel_queued(&entry.value.run, &format!("Superseded by {by}")).await?;
        }
        let holding = self.runs.head(order.stack).await?.value.tracked;
        if let Some(holding) = holding
            && let Some(loaded) = self.runs.load(&holding).await?
            && loaded.run().state == RunState::Unconfirmed
        {
            let mut run = loaded.run().clone();
            run.apply(RunEvent::Discarded, self.deps.now(), Some(order.actor))?;
            run.ending = Some(Ending::new(format!("Superseded by {by}")));
            self.runs.commit(loaded, run, Vec::new()).await?;
        }
        let message = format!("Superseded {}", counted(older.len(), "older run"));
        let write = self.outcome(order, true, message, Some(&newest))?;
        let _said_before_or_now = self.deps.store.write(vec![write]).await?;
        Ok(())
    }

    /// Takes the stack back from a lost run: its token is no longer good, its lock can be taken.
    async fn unblock(&self, order: &Order<'_>, reason: &str) -> Result<(), Failure> {
        let head = self.runs.head(order.stack).await?;
        let Some(blocked) = head.value.blocked.clone() else {
            return self.refuse(order, "The stack is not blocked", None).await;
        };
        let mut after = head.value.clone();
        after.blocked = None;
        let mut writes = vec![
            Write::put(keys::stack_head(order.stack), head.expect, &after)?,
            self.outcome(order, true, format!("Unblocked: {reason}"), Some(&blocked.run))?,
        ];
        if let Some(lost) = self.deps.store.get::<Run>(&keys::run(&blocked.run)).await? {
            let mut run = lost.value.clone();
            run.lost = false;
            // The comment no longer asks for somebody.
            run.outstanding.extend([Effect::Advance, Effect::Feedback]);
            if let Some(end) = &mut run.ending {
                end.errors.push(format!("{} unblocked the stack: {reason}", order.actor));
            }
            let soon = self.deps.now() + jiff::SignedDuration::from_secs(30);
            writes.push(Write::put(lost.key.clone(), lost.unchanged(), &run)?.due(Some(soon)));
        }
        written(self.deps.store.write(writes).await?, order.stack)?;
        self.runs.load(&blocked.run).await?;
        Ok(())
    }
}
