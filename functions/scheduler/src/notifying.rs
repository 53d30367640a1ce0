//! Who is notified of what. Here it is only noticed, and raised for each target that asks for it: the
//! publisher makes the message, of what is true when it is sent, and sends it once.

use crate::deps::Deps;
use gantry_domain::{
    StackId,
    integration::days_left,
    notification::{Occasion, of_run},
    run::{Run, RunState},
    stack::StackHead,
};
use gantry_queue::{Failure, FeedbackMessage};
use gantry_store::{
    Stored,
    health::{Health, broken_since},
    keys,
    notifications::NotificationTarget,
    scheduler::BlockedStack,
};
use jiff::SignedDuration;

/// GitLab may be away for as long: nobody is called for a short trouble.
const TROUBLE_LASTS: SignedDuration = SignedDuration::from_mins(5);

/// Everybody who is notified.
pub(crate) struct Notifying<'a> {
    deps: &'a Deps,
    targets: Vec<Stored<NotificationTarget>>,
}

impl<'a> Notifying<'a> {
    async fn read(deps: &'a Deps) -> Result<Self, Failure> {
        Ok(Self { deps, targets: deps.store.notification_targets().await? })
    }

    /// Of what a run has come to.
    pub(crate) async fn of_run(deps: &'a Deps, run: &Run) -> Result<(), Failure> {
        let looked = run.is_drift() && run.state == RunState::Finished;
        let told = of_run(run);
        if told.is_none() && !looked {
            return Ok(());
        }
        let all = Self::read(deps).await?;
        if all.targets.is_empty() {
            return Ok(());
        }
        if let Some(about) = told {
            all.raise(&about, Some(&run.stack)).await?;
        }
        // What it found lies with what is known of its stack: since when, whoever found it first.
        let head = match looked {
            true => deps.store.get::<StackHead>(&keys::stack_head(&run.stack)).await?,
            false => None,
        };
        let drift = head.and_then(|head| head.value.drift);
        if let Some(since) = drift.and_then(|drift| drift.since) {
            all.raise(&Occasion::drifted(&run.stack, since), Some(&run.stack)).await?;
        }
        Ok(())
    }

    /// Of what lasts until somebody does something: each is noticed at every sweep, and raised once.
    pub(crate) async fn of_what_lasts(deps: &'a Deps) -> Result<(), Failure> {
        let all = Self::read(deps).await?;
        if all.targets.is_empty() {
            return Ok(());
        }
        for listed in deps.store.query_all::<BlockedStack>(keys::BLOCKED, "").await? {
            let stack = &listed.value.stack;
            let head = deps.store.get::<StackHead>(&keys::stack_head(stack)).await?;
            if let Some(blocked) = head.and_then(|head| head.value.blocked) {
                all.raise_once(&Occasion::Blocked(blocked.run), Some(stack)).await?;
            }
        }
        let integration = deps.store.integration().await?.map(|found| found.value);
        let Some(integration) = integration.filter(|known| known.linked) else { return Ok(()) };
        let (now, seen) = (deps.now(), deps.store.seen_health().await?);
        let needs_somebody = |health: &Health| health.token_rejected;
        let since = broken_since(&seen).filter(|since| {
            now.duration_since(*since) >= TROUBLE_LASTS || seen.iter().any(needs_somebody)
        });
        if let Some(since) = since {
            all.raise_once(&Occasion::integration_broken(since), None).await?;
        }
        let ends = integration.token_expires_on.and_then(|day| {
            let left = days_left(&day, now)?;
            Occasion::token_expires(&day, left)
        });
        match ends {
            Some(about) => all.raise_once(&about, None).await,
            None => Ok(()),
        }
    }

    /// Has everybody notified who asks for this, of this stack.
    async fn raise(&self, about: &Occasion, stack: Option<&StackId>) -> Result<(), Failure> {
        for nudge in self.asking(about, stack).await? {
            self.deps.raise(nudge).await?;
        }
        Ok(())
    }

    /// The same for what was perhaps raised before.
    async fn raise_once(&self, about: &Occasion, stack: Option<&StackId>) -> Result<(), Failure> {
        for nudge in self.asking(about, stack).await? {
            if self.deps.store.counters(&nudge.target()).await?.want == 0 {
                self.deps.raise(nudge).await?;
            }
        }
        Ok(())
    }

    async fn asking(
        &self,
        about: &Occasion,
        stack: Option<&StackId>,
    ) -> Result<Vec<FeedbackMessage>, Failure> {
        let targets = self.targets.iter().map(|target| &target.value);
        let mut asking: Vec<_> = targets.filter(|target| target.filter.wants(about)).collect();
        let has_labels = asking.iter().any(|target| !target.filter.labels.is_empty());
        if let Some(stack) = stack.filter(|_| has_labels) {
            let stack = self.deps.store.stack(stack).await?;
            let labels = stack.map(|stack| stack.value.settings.labels).unwrap_or_default();
            asking.retain(|target| target.filter.wants_of(about, &labels));
        }
        let nudge = |target: &NotificationTarget| FeedbackMessage::Notify {
            to: target.name.clone(),
            about: about.clone(),
            want: 0,
        };
        Ok(asking.into_iter().map(nudge).collect())
    }
}
