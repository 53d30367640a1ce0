//! Plans of open merge requests that an apply made old are made again, behind what people push.

use super::Stacks;
use crate::{runs::written, trouble::gitlab_failure};
use gantry_domain::{
    CommitSha, MergeRequestIid, ProjectId, RunId,
    run::{Interest, NewRun, PlanOptions, Position, Run, RunType, Trigger, Unpushed},
    stack::{Replan, Stack, StackHead},
};
use gantry_queue::{Failure, StackMessage};
use gantry_setup::metrics;
use gantry_store::{
    Stored, Write, keys,
    scheduler::{MergeRequestRecord, Once},
};
use std::time::Duration;

/// How many merge requests one message looks at.
const AT_ONCE: usize = 10;
/// How often all of them are looked at, while GitLab works out whether they can be merged, and how
/// far apart.
const ROUNDS: u32 = 3;
const BETWEEN_ROUNDS: Duration = Duration::from_secs(30);

/// A deploy that made plans old.
struct Applied<'a> {
    stack: &'a Stack,
    project: ProjectId,
    run: &'a Run,
    head: &'a StackHead,
    /// What GitLab does not say now, it is not asked again.
    is_last_round: bool,
}

/// A plan that is to be made again.
struct Old {
    commit: CommitSha,
    /// Which run is the one of its commit.
    made: Stored<Once>,
    run: Run,
}

impl Stacks<'_> {
    /// Looks at the next merge requests whose plans may be older than the deploy.
    pub(crate) async fn on_replan(
        &self,
        run: &RunId,
        after: Option<MergeRequestIid>,
        round: u32,
    ) -> Result<(), Failure> {
        let Some(run) = self.known_run(run).await? else { return Ok(()) };
        let Some(stack) = self.runnable(&run.stack).await? else { return Ok(()) };
        let Some(project) = stack.project().filter(|_| run.repository == stack.repository) else {
            return Ok(());
        };
        let head = self.runs.head(&stack.id).await?.value;
        // A later one makes the same plans old, and has them made again itself.
        let is_last = head.last_applied.as_ref().is_some_and(|last| last.run == run.id);
        if stack.settings.replan == Replan::None || stack.module.is_some() || !is_last {
            return Ok(());
        }
        let is_last_round = round + 1 >= ROUNDS;
        let applied = Applied { stack: &stack, project, run: &run, head: &head, is_last_round };
        let asked = self.runs.previewed_before(&run).await?;
        let mut left = asked.into_iter().filter(|iid| after.is_none_or(|after| *iid > after));
        let these: Vec<MergeRequestIid> = left.by_ref().take(AT_ONCE).collect();
        let mut is_decided = true;
        for iid in &these {
            is_decided &= Box::pin(self.replan(&applied, *iid)).await?;
        }
        let next = |after, round| StackMessage::Replan {
            stack: stack.id.clone(),
            run: run.id.clone(),
            after,
            round,
        };
        if !is_decided {
            self.deps.sender.send_later(next(after, round + 1), BETWEEN_ROUNDS).await?;
        }
        match left.next() {
            Some(_) => Ok(self.deps.sender.send(next(these.last().copied(), round)).await?),
            None => Ok(()),
        }
    }

    /// Plans the head of a merge request again where its plan is older than the deploy, once for
    /// each deploy. False where GitLab does not say yet whether it could be merged.
    async fn replan(&self, applied: &Applied<'_>, iid: MergeRequestIid) -> Result<bool, Failure> {
        let Some(old) = self.old_plan(applied, iid).await? else { return Ok(true) };
        let key = format!("replan#{}#{}", applied.run.id, old.commit);
        let id = RunId::derive(&applied.stack.id, &key);
        if self.runs.load(&id).await?.is_some() {
            return Ok(true);
        }
        if applied.stack.settings.replan == Replan::Mergeable {
            match self.could_be_merged(applied.project, iid, &old.commit).await? {
                Some(true) => {}
                Some(false) => return Ok(true),
                None if !applied.is_last_round => return Ok(false),
                None => {}
            }
        }
        let Old { commit, made, run } = old;
        let stack = applied.stack;
        let trigger = Trigger {
            run_type: RunType::Proposed,
            key: key.clone(),
            commit,
            commit_line: run.commit_line,
            git_ref: run.git_ref,
            tracked_branch: stack.branch.clone(),
            fork_of: None,
            interest: None,
            stacks_touched: run.stacks_touched,
            reason: format!("planned again after #{} was applied", applied.run.number),
            by: None,
            asked_at: None,
            version: None,
        };
        let head = self.runs.head(&stack.id).await?;
        let position = match head.value.applying {
            true => Position::Waiting,
            false => Position::Queue,
        };
        let now = self.deps.now();
        let again = NewRun { stack, trigger, event: None, key, position, now }.build();
        let mut again = again.meant_for(Some(Unpushed::Replan), PlanOptions::default());
        again.interests = run.interests;
        let generation = made.value.generation + 1;
        let mark = Once { run: again.id.clone(), generation };
        let mark = Write::put(made.key.clone(), made.unchanged(), &mark)?;
        let outcome = Box::pin(self.runs.create(head, again, vec![mark])).await?;
        written(outcome, &stack.slug)?;
        metrics::count("Replans", 1);
        Ok(true)
    }

    /// The plan of the merge request's head, where it began before the deploy had ended. None where
    /// somebody has pushed since, or the code is a fork's: that runs only when somebody asks for it.
    async fn old_plan(
        &self,
        applied: &Applied<'_>,
        iid: MergeRequestIid,
    ) -> Result<Option<Old>, Failure> {
        let (store, stack) = (&self.deps.store, applied.stack);
        let key = keys::merge_request(applied.project, iid);
        let Some(record) = store.get::<MergeRequestRecord>(&key).await? else { return Ok(None) };
        let record = record.value;
        let is_shown = record.state == "opened"
            && record.source_project == Some(applied.project)
            && record.affected.contains(&stack.id);
        let Some(commit) = record.head.filter(|_| is_shown) else { return Ok(None) };
        let once = keys::once(&stack.id, &format!("proposed#{commit}"));
        let Some(made) = store.get::<Once>(&once).await? else { return Ok(None) };
        let Some(run) = self.known_run(&made.value.run).await? else { return Ok(None) };
        let is_old = run.planned_at().and_then(|at| applied.head.applied_since(at)).is_some();
        let is_its = run.interests.contains(&Interest::MergeRequest(iid))
            && run.fork_of.is_none()
            && run.answers_for_its_commit();
        Ok((is_old && is_its).then_some(Old { commit, made, run }))
    }

    /// Whether the merge request could be merged; none where GitLab does not say so yet, or is in
    /// trouble. One that has another head by now is planned for that.
    async fn could_be_merged(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        head: &CommitSha,
    ) -> Result<Option<bool>, Failure> {
        let asked = async {
            let client = self.deps.gitlab().await?;
            client.merge_request(project, iid).await.map_err(gitlab_failure)
        };
        match asked.await {
            Ok(Some(live)) if live.sha.as_ref() == Some(head) => Ok(live.could_be_merged()),
            Ok(_) => Ok(Some(false)),
            // The reports of the stack's runners come behind this message: it must not wait.
            Err(failure) if failure.retry_after.is_some() => Ok(None),
            Err(failure) => {
                tracing::warn!(
                    project.id = project.0,
                    merge_request = iid.0,
                    "it is not planned again: {:#}",
                    failure.error
                );
                Ok(Some(false))
            }
        }
    }
}
