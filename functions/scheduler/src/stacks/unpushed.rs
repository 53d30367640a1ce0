//! Runs that nobody pushed: looks for drift, tasks, and deploys whose time has come.

use super::Stacks;
use crate::{runs::Head, trouble::gitlab_failure};
use gantry_domain::{
    CommitLine, CommitSha, RunId,
    drift::DriftPlan,
    run::{NewRun, PlanMode, PlanOptions, Position, Run, RunState, RunType, Trigger, Unpushed},
    stack::Stack,
    text::names::Prefix,
};
use gantry_queue::Failure;
use gantry_store::{
    Expect, Stored, Write, keys,
    scheduler::{Once, TrackedBranch},
};
use std::time::Duration;

/// What names the one look for drift of a stack that is under way.
const LOOK: &str = "drift";
/// How long GitLab may take to say whether deploys need approval: somebody waits, and so do the
/// reports of the stack's runners.
const RULES_WITHIN: Duration = Duration::from_secs(10);

/// Why a task does not begin where people have to agree with a deploy first.
const NEEDS_APPROVAL: &str = "Deploys of the stack need approval, and nobody can look at a task \
                              before it is executed. Only an admin's access key can start it.";

/// A run that is ready to be made, or why there is none.
pub(super) enum Ready {
    /// To be made, with what is written beside it.
    New(Box<New>),
    /// This run does the same, and has not ended.
    UnderWay(RunId),
    /// Not now, for this reason.
    No(String),
}

/// A run that is ready to be made.
pub(super) struct New {
    pub(super) head: Head,
    pub(super) run: Run,
    pub(super) writes: Vec<Write>,
}

/// What somebody, or a schedule, asks for.
pub(super) struct Wish<'a> {
    /// What makes it the same run when asked for again.
    pub(super) key: String,
    /// Why, in one line for people.
    pub(super) reason: String,
    /// Who asks, where a person does.
    pub(super) by: Option<&'a str>,
}

fn no(why: impl Into<String>) -> Ready {
    Ready::No(why.into())
}

impl Stacks<'_> {
    /// A look for what was changed elsewhere: at most one of a stack at once, and none that a deploy
    /// would make old.
    pub(super) async fn look(&self, stack: &Stack, wish: Wish<'_>) -> Result<Ready, Failure> {
        if stack.module.is_some() {
            return Ok(no("Nothing of a module stays, so nothing of it can drift"));
        }
        let head = self.runs.head(&stack.id).await?;
        if let Some(blocked) = &head.value.blocked {
            return Ok(no(format!("The stack is blocked: {}", blocked.reason)));
        }
        let Some(last) = head.value.last_applied.clone() else {
            return Ok(no("Nothing was applied yet, so there is nothing to compare with"));
        };
        if head.value.destroyed.is_some() {
            return Ok(no("Everything of the stack was destroyed"));
        }
        let once = keys::once(&stack.id, LOOK);
        let mark = self.deps.store.get::<Once>(&once).await?;
        if let Some(mark) = &mark
            && self.is_under_way(&mark.value.run).await?
        {
            return Ok(Ready::UnderWay(mark.value.run.clone()));
        }
        if let Some(holding) = &head.value.tracked
            && let Some(run) = self.known_run(holding).await?
            // While it waits for somebody, it changes nothing.
            && run.state != RunState::Unconfirmed
        {
            return Ok(no(format!("Run #{} of the stack has not ended", run.number)));
        }
        let applied = self.known_run(&last.run).await?;
        if applied.as_ref().is_some_and(|run| run.repository != stack.repository) {
            return Ok(no("Nothing was applied since the stack was moved to another project"));
        }
        let mode = match stack.settings.drift.plan {
            DriftPlan::RefreshOnly => PlanMode::RefreshOnly,
            DriftPlan::Full => PlanMode::Normal,
        };
        let line = line_of(applied.as_ref(), &last.commit);
        let trigger = trigger(stack, RunType::Proposed, wish, last.commit, line);
        let position = match head.value.applying {
            true => Position::Waiting,
            false => Position::Queue,
        };
        let run = self.new_run(stack, trigger, position);
        let run = run.meant_for(Some(Unpushed::Drift), PlanOptions { mode, ..Default::default() });
        let expect = mark.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let generation = mark.map_or(0, |mark| mark.value.generation + 1);
        let writes = vec![Write::put(once, expect, &Once { run: run.id.clone(), generation })?];
        Ok(Ready::New(Box::new(New { head, run, writes })))
    }

    /// One command in the workspace of the commit that is deployed, in its turn among the deploys.
    pub(super) async fn task(
        &self,
        stack: &Stack,
        wish: Wish<'_>,
        command: String,
        schedule: Option<String>,
    ) -> Result<Ready, Failure> {
        if stack.module.is_some() {
            return Ok(no("A module has no state that a task could work with"));
        }
        let head = self.runs.head(&stack.id).await?;
        let (commit, line) = match head.value.last_applied.clone() {
            Some(last) => {
                let applied = self.known_run(&last.run).await?;
                (last.commit.clone(), line_of(applied.as_ref(), &last.commit))
            }
            None => match self.branch_head(stack, &head).await? {
                Ok(found) => found,
                Err(why) => return Ok(no(why)),
            },
        };
        let task = Unpushed::Task { command, schedule };
        self.tracked(stack, head, (wish, task), (commit, line)).await
    }

    /// A deploy of the branch's head whose time has come.
    pub(super) async fn scheduled_deploy(
        &self,
        stack: &Stack,
        wish: Wish<'_>,
        name: String,
    ) -> Result<Ready, Failure> {
        let head = self.runs.head(&stack.id).await?;
        match self.branch_head(stack, &head).await? {
            Ok(found) => {
                self.tracked(stack, head, (wish, Unpushed::Schedule { name }), found).await
            }
            Err(why) => Ok(no(why)),
        }
    }

    /// Why a task may not begin unless an admin's key starts it: rules ask for people before a deploy,
    /// or it is not known whether they do.
    pub(super) async fn holds_tasks(&self, stack: &Stack) -> Result<Option<String>, Failure> {
        let settings = &stack.settings;
        if settings.approvals.is_some() || settings.require_merge_request_approval {
            return Ok(Some(NEEDS_APPROVAL.to_owned()));
        }
        let Some(project) = stack.project() else { return Ok(None) };
        let reading = async {
            let client = self.deps.gitlab().await?;
            let found = client.project(project).await.map_err(gitlab_failure)?;
            let environment = Prefix::default().environment(&stack.slug);
            client.protected_environment(&found, &environment).await.map_err(gitlab_failure)
        };
        let unknown = |why: String| {
            format!(
                "Whether deploys of the stack need approval could not be asked of GitLab: {why}"
            )
        };
        Ok(match tokio::time::timeout(RULES_WITHIN, Box::pin(reading)).await {
            Ok(Ok(protection)) => protection.map(|_| NEEDS_APPROVAL.to_owned()),
            Ok(Err(failure)) => Some(unknown(format!("{:#}", failure.error))),
            Err(_) => {
                let seconds = RULES_WITHIN.as_secs();
                Some(unknown(format!("it did not answer within {seconds} s")))
            }
        })
    }

    /// The run, if there is one of that name.
    pub(super) async fn known_run(&self, run: &RunId) -> Result<Option<Run>, Failure> {
        Ok(self.deps.store.get::<Run>(&keys::run(run)).await?.map(|found| found.value))
    }

    /// The run has not ended.
    pub(super) async fn is_under_way(&self, run: &RunId) -> Result<bool, Failure> {
        Ok(self.known_run(run).await?.is_some_and(|run| !run.state.is_final()))
    }

    async fn tracked(
        &self,
        stack: &Stack,
        head: Head,
        (wish, unpushed): (Wish<'_>, Unpushed),
        (commit, line): (CommitSha, CommitLine),
    ) -> Result<Ready, Failure> {
        if let Some(blocked) = &head.value.blocked {
            return Ok(no(format!("The stack is blocked: {}", blocked.reason)));
        }
        let trigger = trigger(stack, RunType::Tracked, wish, commit, line);
        let position = self.tracked_position(&stack.id, &head).await?;
        let run = self.new_run(stack, trigger, position);
        let run = run.meant_for(Some(unpushed), PlanOptions::default());
        Ok(Ready::New(Box::new(New { head, run, writes: Vec::new() })))
    }

    fn new_run(&self, stack: &Stack, trigger: Trigger, position: Position) -> Run {
        let (key, now) = (trigger.key.clone(), self.deps.now());
        NewRun { stack, trigger, event: None, key, position, now }.build()
    }

    /// The head of the tracked branch, as far as it is decided, or why there is none: GitLab is not
    /// asked, because nobody is there who could ask again. Code that is not at GitLab is not watched:
    /// there it is what was deployed last.
    async fn branch_head(
        &self,
        stack: &Stack,
        head: &Head,
    ) -> Result<Result<(CommitSha, CommitLine), String>, Failure> {
        let latest = match &head.value.latest {
            Some(run) => self.known_run(run).await?,
            None => None,
        };
        let Some(project) = stack.project() else {
            let known = latest.filter(|run| run.repository == stack.repository);
            let found = known.map(|run| (run.commit, run.commit_line));
            let missing = || {
                "Nothing was deployed yet, and the branch is not watched, because the code is not \
                 in GitLab"
                    .to_owned()
            };
            return Ok(found.ok_or_else(missing));
        };
        let key = keys::tracked_branch(project, &stack.branch);
        let known = self.deps.store.get::<TrackedBranch>(&key).await?.map(|found| found.value);
        Ok(match known {
            Some(branch) if branch.missing => {
                Err(format!("The branch {} does not exist", stack.branch))
            }
            Some(TrackedBranch { decided: Some(commit), .. }) => {
                let line = line_of(latest.as_ref(), &commit);
                Ok((commit, line))
            }
            _ => Err(format!("The head of {} is not known yet", stack.branch)),
        })
    }
}

/// What people recognise the commit by, where a run of it says so.
fn line_of(run: Option<&Run>, commit: &CommitSha) -> CommitLine {
    let of_it = run.filter(|run| run.commit == *commit);
    of_it.map(|run| run.commit_line.clone()).unwrap_or_default()
}

fn trigger(
    stack: &Stack,
    run_type: RunType,
    wish: Wish<'_>,
    commit: CommitSha,
    commit_line: CommitLine,
) -> Trigger {
    Trigger {
        run_type,
        key: wish.key,
        commit,
        commit_line,
        git_ref: stack.branch.clone(),
        tracked_branch: stack.branch.clone(),
        fork_of: None,
        interest: None,
        stacks_touched: 1,
        reason: wish.reason,
        by: wish.by.map(str::to_owned),
        asked_at: None,
        version: None,
    }
}
