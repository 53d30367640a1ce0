//! Taking in an event: it is written down, then whatever it hints at is looked up and decided.

use super::{Dealt, Event, Projects};
use crate::{nudges::distinct, trouble::refusal};
use gantry_domain::{
    EventId, ProjectId, StackId,
    decision::runs_on_tags,
    event::{EventRecord, EventSource, Hook},
};
use gantry_queue::{Failure, FeedbackMessage, ProjectMessage, StackMessage};
use gantry_store::{
    Expect, Outcome, Write, keys,
    scheduler::{Comparing, TrackedBranch},
};
use jiff::{SignedDuration, Timestamp};

/// That webhooks come is written down again after this time.
const NEWS_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// GitLab prepares a new merge request within seconds.
const NOT_READY: std::time::Duration = std::time::Duration::from_secs(3);

impl Projects<'_> {
    pub(crate) async fn on_hook(
        &self,
        id: EventId,
        received_at: Timestamp,
        source: EventSource,
        hook: Hook,
    ) -> Result<(), Failure> {
        let what = hook.describe();
        let Some(project) = hook.project() else {
            let record = EventRecord {
                id,
                source,
                project: None,
                what,
                received_at,
                outcome: Some("it does not name a project, so there is nothing to do".to_owned()),
            };
            return self.write_event(record).await;
        };
        let event = Event { id, source, project, received_at, what };
        if source == EventSource::Webhook {
            self.webhook_seen(project).await?;
        }
        let dealt = self.deal(&event, &hook).await;
        if let Err(failure) = &dealt {
            self.deps.note_outage(failure).await?;
        }
        let outcome = match &dealt {
            Ok(Dealt::Done(outcome) | Dealt::Later(outcome)) => outcome.clone(),
            Err(failure) => format!("not processed yet: {:#}", failure.error),
        };
        self.write_outcome(&event, outcome).await?;
        if let Err(failure) = &dealt
            && refusal(failure).is_some()
            && !self.deps.waits_for_allowance(failure, Some(received_at))
        {
            // GitLab has refused for long enough: what it hinted at is found by comparing, as soon
            // as that is allowed.
            return Ok(());
        }
        if matches!(dealt?, Dealt::Later(_)) {
            let again = ProjectMessage::Hook { event: event.id, received_at, source, hook };
            self.deps.sender.send_later(again, NOT_READY).await?;
        }
        Ok(())
    }

    async fn deal(&self, event: &Event, hook: &Hook) -> Result<Dealt, Failure> {
        let none = || Dealt::Done("this installation has no stack in the project".to_owned());
        let Some(integration) = self.linked().await? else { return Ok(none()) };
        let stacks = self.stacks_at(&integration.value, event.project).await?;
        if stacks.is_empty() {
            return Ok(none());
        }
        // By the settings that the stacks were looked up with.
        let client = || self.deps.gitlab_by(&integration);
        let dealt = match hook {
            Hook::Push { branch, .. } if stacks.iter().any(|s| &s.branch == branch) => {
                let tracked =
                    self.decide_tracked(event, &*client().await?, branch, &stacks).await?;
                // The branch may be a merge request's source as well; its own hook tells.
                Dealt::Done(tracked)
            }
            Hook::Push { branch, .. } => {
                Dealt::Done(self.decide_branch(event, &*client().await?, branch, &stacks).await?)
            }
            Hook::MergeRequest { iid, .. } => {
                self.decide_merge_request(event, &*client().await?, *iid, &stacks).await?
            }
            Hook::Tag { tag, .. } => {
                Dealt::Done(self.decide_tag(event, &*client().await?, tag, &stacks).await?)
            }
            Hook::Note { .. } | Hook::Other { .. } => {
                return Ok(Dealt::Done("events of this kind do not start anything".to_owned()));
            }
        };
        // GitLab was asked what is there now, and answered.
        self.deps.note_health(None).await?;
        Ok(dealt)
    }

    async fn webhook_seen(&self, project: ProjectId) -> Result<(), Failure> {
        let now = self.deps.now();
        if self.remembered.has_webhooks(project, now) {
            return Ok(());
        }
        let key = keys::comparing(project);
        let Some(found) = self.deps.store.get::<Comparing>(&key).await? else { return Ok(()) };
        let since = found.value.webhook_at.map(|at| now.duration_since(at));
        if let Some(since) = since.filter(|since| *since <= NEWS_AFTER) {
            self.remembered.keep_webhooks(project, now, NEWS_AFTER - since);
            return Ok(());
        }
        let seen = Comparing {
            webhook_at: Some(now),
            changed_at: Some(now),
            next_at: Some(now + self.deps.limits.compare_every),
            ..found.value.clone()
        };
        let write = Write::put(key, found.unchanged(), &seen)?;
        // Losing against a comparison is no loss: the next webhook says it again.
        if self.deps.store.write(vec![write]).await? == Outcome::Written {
            self.remembered.keep_webhooks(project, now, NEWS_AFTER);
        }
        Ok(())
    }

    /// Tags that are there when the first stack asks for them start nothing; later ones do.
    async fn begin_with_tags(&self, project: ProjectId) -> Result<(), Failure> {
        let key = keys::comparing(project);
        let Some(found) = self.deps.store.get::<Comparing>(&key).await? else { return Ok(()) };
        if found.value.knows_tags() {
            return Ok(());
        }
        let client = self.deps.gitlab().await?;
        let mut known = self.learn_tags(&client, project, found.value.clone()).await?;
        known.next_at = Some(self.next_look(&known, self.deps.limits.compare_unseen_every));
        let write = Write::put(key, found.unchanged(), &known)?;
        // A comparison that was first knows them too.
        let _either_way = self.deps.store.write(vec![write]).await?;
        Ok(())
    }

    /// Settings made, changed or deleted a stack: its branch's head becomes the point from which
    /// changes count, and its project is compared with GitLab from now on.
    pub(crate) async fn on_stack_changed(
        &self,
        project: ProjectId,
        stack: &StackId,
    ) -> Result<(), Failure> {
        // The stack alone is looked at, where that is enough: a project may have thousands.
        let own =
            self.stacks.runnable(stack).await?.filter(|stack| stack.project() == Some(project));
        let key = keys::comparing(project);
        if own.is_some() && self.deps.store.get::<Comparing>(&key).await?.is_none() {
            let now = self.deps.now();
            let before = now - SignedDuration::from_secs(60);
            let begin = Comparing {
                updated_after: Some(before.to_string()),
                branches_from: Some(before),
                asked_at: Some(now),
                changed_at: Some(now),
                next_at: Some(now + self.deps.limits.compare_unseen_every),
                ..Comparing::default()
            };
            let write = Write::put(key, Expect::Absent, &begin)?;
            let _either_way = self.deps.store.write(vec![write]).await?;
            self.remembered.forget_webhooks(project);
        }
        self.leave_branches(project, own.as_ref().map(|stack| stack.branch.as_str())).await?;
        if let Some(stack) = &own {
            let key = keys::tracked_branch(project, &stack.branch);
            let known = self.deps.store.get::<TrackedBranch>(&key).await?;
            let begun = async {
                if known.as_ref().is_none_or(|known| known.value.left) {
                    let stacks = self.stacks_of(project).await?;
                    self.begin_branch(project, &stack.branch, &stacks, known).await?;
                }
                if runs_on_tags(stack) {
                    self.begin_with_tags(project).await?;
                }
                // It was just looked up: news, where the project was renamed before.
                let own = std::slice::from_ref(stack);
                self.note_path(project, own, &stack.project_path).await?;
                Ok(())
            };
            match begun.await {
                // Comparing begins as soon as GitLab allows it.
                Err(failure) if refusal(&failure).is_some() => {
                    tracing::warn!(
                        project.id = project.0,
                        "polling GitLab is delayed: {:#}",
                        failure.error
                    );
                }
                begun => begun?,
            }
        }
        let version = distinct(&(stack, self.deps.now().as_millisecond()));
        let due = StackMessage::StackDue { stack: stack.clone(), version };
        let timer = StackMessage::TimerDue { stack: stack.clone(), version };
        self.deps.sender.send_all(vec![due, timer]).await?;
        // One that is not asked for any more is closed.
        let issue = FeedbackMessage::Issue { stack: stack.clone(), want: 0 };
        let asks = own.as_ref().is_some_and(|stack| stack.settings.drift.issue);
        if asks || self.deps.store.counters(&issue.target()).await?.want > 0 {
            self.deps.raise(issue).await?;
        }
        self.deps.raise(FeedbackMessage::Environment { stack: stack.clone(), want: 0 }).await
    }
}
