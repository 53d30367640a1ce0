//! Deciding what an event means for each stack of its project, and handing it to them.
//!
//! Each of these can be repeated from the start: what was already decided is recognised, triggers
//! name what makes them necessary, and the record that closes a decision is written last.

mod branches;
mod merge_requests;
mod tags;
mod tracked;

use crate::{
    deps::HISTORY_KEPT,
    projects::{Event, Projects},
    runs::written,
    stacks::first_proposed,
};
use gantry_domain::{
    CommitLine, CommitSha, RunId, StackId,
    decision::Decision,
    run::{Interest, RunType, Trigger},
    stack::Stack,
};
use gantry_queue::{Failure, SourceMessage, StackMessage};
use gantry_setup::metrics;
use gantry_store::scheduler::{DecisionRecord, RunEntry, Subject};
use gantry_store::{Expect, Outcome, Write, keys};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Where a commit has more runs than these, its source is fetched before they are made.
const MANY: usize = 10;

/// What was decided for the stacks of a project, on the way to their triggers.
struct Decided<'a> {
    commit: &'a CommitSha,
    commit_line: CommitLine,
    git_ref: &'a str,
    /// Names a tracked run; proposed ones are named by their commit.
    tracked_key: String,
    each: Vec<(&'a Stack, Decision)>,
}

impl Decided<'_> {
    /// What names the run of a stack, besides the stack.
    fn key(&self, run_type: RunType) -> String {
        match run_type {
            RunType::Proposed => format!("proposed#{}", self.commit),
            _ => self.tracked_key.clone(),
        }
    }

    fn affected(&self) -> Vec<StackId> {
        self.each.iter().filter(|(_, d)| d.runs()).map(|(s, _)| s.id.clone()).collect()
    }

    /// What the commit is the head of: `git_ref`, and what runs for it.
    fn subject(&self, to_tracked: bool, now: Timestamp) -> Subject {
        let stacks = self.affected();
        Subject {
            branch: self.git_ref.to_owned(),
            merge_request: None,
            fork_of: None,
            affected: u32::try_from(stacks.len()).unwrap_or(u32::MAX),
            stacks,
            to_tracked,
            decided_at: Some(now),
        }
    }

    fn summary(&self) -> String {
        let runs = self.affected().len();
        match (runs, self.each.len()) {
            (0, 1) => "the stack is not affected".to_owned(),
            (0, all) => format!("none of {all} stacks is affected"),
            (runs, all) => format!("{runs} of {all} stacks affected"),
        }
    }
}

impl Projects<'_> {
    /// Writes down what was decided and sends each stack its trigger.
    async fn hand_over(
        &self,
        event: &Event,
        decided: &Decided<'_>,
        subject_name: &str,
        subject: &Subject,
    ) -> Result<(), Failure> {
        self.fetch_ahead(event, decided).await?;
        let now = self.deps.now();
        let key = keys::commit_subject(event.project, decided.commit, subject_name);
        let mut writes = vec![Write::put(key, Expect::Any, subject)?.expires(now + HISTORY_KEPT)];
        for (stack, decision) in &decided.each {
            let record = DecisionRecord {
                stack: stack.id.clone(),
                slug: stack.slug.clone(),
                runs: decision.runs(),
                reason: decision.reason().to_owned(),
                commit: Some(decided.commit.clone()),
                at: now,
            };
            let key = keys::decision(&event.id, &stack.id);
            writes.push(Write::put(key, Expect::Any, &record)?.expires(now + HISTORY_KEPT));
        }
        self.deps.store.put_all(&writes).await?;
        let runs = decided.affected().len();
        metrics::count_of("Decisions", "Outcome", "run", runs);
        metrics::count_of("Decisions", "Outcome", "skip", decided.each.len() - runs);
        let triggers = decided.each.iter().filter_map(|(stack, decision)| {
            let Decision::Run { run_type, interest, fork_of, version, reason } = decision else {
                return None;
            };
            let key = decided.key(*run_type);
            let trigger = Trigger {
                run_type: *run_type,
                key,
                commit: decided.commit.clone(),
                commit_line: decided.commit_line.clone(),
                git_ref: decided.git_ref.to_owned(),
                tracked_branch: stack.branch.clone(),
                fork_of: *fork_of,
                interest: interest.clone(),
                stacks_touched: subject.affected,
                reason: reason.clone(),
                by: None,
                asked_at: Some(event.received_at),
                version: version.clone(),
            };
            let (stack, event) = (stack.id.clone(), event.id.clone());
            Some(StackMessage::Trigger { stack, event, trigger: Box::new(trigger) })
        });
        Ok(self.deps.sender.send_all(triggers.collect()).await?)
    }

    /// Has the source of many runs fetched before they are made: those that find it there go to the
    /// queue at once, and are written once. Any that comes before waits for it, as a run of few does.
    async fn fetch_ahead(&self, event: &Event, decided: &Decided<'_>) -> Result<(), Failure> {
        // A module's own run takes no runner.
        let run = |(stack, decision): &(&Stack, Decision)| match decision {
            Decision::Run { run_type, .. } if stack.module.is_none() => {
                let run = match run_type {
                    RunType::Proposed => first_proposed(&stack.id, decided.commit),
                    _ => RunId::derive(&stack.id, &decided.key(*run_type)),
                };
                Some((stack.repository.clone(), (stack.id.clone(), run)))
            }
            _ => None,
        };
        // One of the last is told: its own trigger keeps that back the least.
        let Some((repository, last)) = decided.each.iter().rev().filter_map(run).nth(MANY) else {
            return Ok(());
        };
        let commit = decided.commit.clone();
        if self.stacks.runs.is_fetched(&repository, &commit).await? {
            return Ok(());
        }
        let (cause, waits) = (event.id.to_string(), Some(last));
        Ok(self.deps.sender.send(SourceMessage::Fetch { repository, commit, cause, waits }).await?)
    }

    /// Takes an interest from the proposed runs of a commit whose stack `applies_to`. `asked` are the
    /// stacks that were asked for one.
    async fn release_all(
        &self,
        event: &Event,
        commit: &CommitSha,
        interest: &Interest,
        because: &str,
        asked: &[StackId],
        applies_to: impl Fn(&StackId) -> bool,
    ) -> Result<(), Failure> {
        let partition = keys::commit_runs(event.project, commit);
        let entries = self.deps.store.query_all::<RunEntry>(&partition, "run#").await?;
        let mut runs: BTreeSet<(StackId, RunId)> = entries
            .iter()
            .filter(|entry| entry.value.run_type == RunType::Proposed)
            .map(|entry| (entry.value.stack.clone(), entry.value.run.clone()))
            .collect();
        // A stack that was asked may not have come to it yet. Its run will have this name, and is
        // there when this message is handled: behind the trigger.
        let have: BTreeSet<StackId> = runs.iter().map(|(stack, _)| stack.clone()).collect();
        for stack in asked.iter().filter(|stack| !have.contains(stack)) {
            runs.insert((stack.clone(), first_proposed(stack, commit)));
        }
        let messages =
            runs.into_iter().filter(|(stack, _)| applies_to(stack)).map(|(stack, run)| {
                StackMessage::Release {
                    stack,
                    run,
                    interest: interest.clone(),
                    event: event.id.clone(),
                    because: because.to_owned(),
                }
            });
        Ok(self.deps.sender.send_all(messages.collect()).await?)
    }

    /// A single write that is based on a read; somebody being first means: read again.
    async fn replace(&self, write: Write) -> Result<(), Failure> {
        match self.deps.store.write(vec![write]).await? {
            Outcome::Written => Ok(()),
            Outcome::Stale => written(Outcome::Stale, &"a record"),
        }
    }
}
