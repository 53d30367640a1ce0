//! Runs as they begin.

use super::{Effect, Phase, PlanOptions, Position, Run, RunState, RunType, Step, TestOf, Trigger};
use crate::{EventId, RunId, TestName, stack::Stack};
use jiff::Timestamp;

/// A run as it is first written, queued; its number comes with the write.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the field of the run that it is named for")]
pub struct NewRun<'a> {
    pub stack: &'a Stack,
    pub trigger: Trigger,
    pub event: Option<&'a EventId>,
    pub key: String,
    pub position: Position,
    pub now: Timestamp,
}

impl NewRun<'_> {
    /// The run.
    pub fn build(self) -> Run {
        let Self { stack, trigger, event, key, mut position, now } = self;
        if stack.module.is_some() && position == Position::Queue {
            position = Position::Tests;
        }
        Run {
            id: RunId::derive(&stack.id, &key),
            stack: stack.id.clone(),
            slug: stack.slug.clone(),
            repository: stack.repository.clone(),
            run_type: trigger.run_type,
            number: 0,
            key,
            commit: trigger.commit,
            commit_line: trigger.commit_line,
            git_ref: trigger.git_ref,
            tracked_branch: trigger.tracked_branch,
            fork_of: trigger.fork_of,
            stacks_touched: trigger.stacks_touched,
            event: event.cloned(),
            reason: trigger.reason,
            by: trigger.by,
            state: RunState::Queued,
            history: vec![Step { state: RunState::Queued, at: now, by: None, comment: None }],
            interests: trigger.interest.into_iter().collect(),
            phase: Phase::Plan,
            attempt: 0,
            last_report: 0,
            runner: None,
            stop_asked: None,
            over_time: false,
            delta: None,
            partial: false,
            failed_checks: 0,
            applied: false,
            plan_digest: None,
            ending: None,
            lost: false,
            doubt: None,
            outstanding: match position {
                Position::Queue => [Effect::Feedback, Effect::Dispatch].into(),
                Position::StackQueue | Position::Tests => {
                    [Effect::Feedback, Effect::Advance].into()
                }
                _ => [Effect::Feedback].into(),
            },
            autodeploy: stack.settings.autodeploy,
            created_at: now,
            pool: stack.settings.pool.clone(),
            asked_at: trigger.asked_at,
            since: now,
            handed_out_at: None,
            unclaimed: 0,
            not_started: None,
            role: None,
            position,
            module: stack.module.is_some(),
            test: None,
            version: trigger.version,
            verdict: None,
            left_behind: false,
            warnings: Vec::new(),
            upload: None,
            started_by: None,
            reviews: Vec::new(),
            approval: None,
            held: false,
            unpushed: None,
            options: PlanOptions::default(),
            tolerated: 0,
        }
    }

    /// One test of a module's run, `suite`.
    pub fn test(suite: &Run, test: TestOf, position: Position, now: Timestamp) -> Run {
        let key = test_key(suite, &test.case.name);
        Run {
            id: Run::test_id(suite, &test.case.name),
            run_type: RunType::Test,
            number: 0,
            key,
            reason: format!("test {} of run #{}", test.case.name, suite.number),
            state: RunState::Queued,
            history: vec![Step { state: RunState::Queued, at: now, by: None, comment: None }],
            interests: Default::default(),
            stop_asked: None,
            over_time: false,
            ending: None,
            doubt: None,
            outstanding: match position {
                Position::Queue => [Effect::Feedback, Effect::Dispatch].into(),
                _ => [Effect::Feedback].into(),
            },
            autodeploy: true,
            created_at: now,
            since: now,
            position,
            module: false,
            test: Some(test),
            version: None,
            verdict: None,
            held: false,
            ..suite.clone()
        }
    }
}

impl Run {
    /// The id of a test run: the same test of the same run of a module is the same test run.
    pub fn test_id(suite: &Run, name: &TestName) -> RunId {
        RunId::derive(&suite.stack, &test_key(suite, name))
    }
}

/// What makes a test run the same when asked for again.
fn test_key(suite: &Run, name: &TestName) -> String {
    format!("test#{}#{name}", suite.id)
}
