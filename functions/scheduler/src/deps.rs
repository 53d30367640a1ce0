//! What the whole scheduler works with: its connections, limits and intervals.

use crate::{
    builds::Starter,
    heard::RunnerApi,
    trouble::{REFUSALS_WAIT, refusal},
};
use gantry_connection::{Connection, NotConnected};
use gantry_domain::{
    integration::{Integration, Outage},
    stack::Roles,
};
use gantry_gitlab::{Client, Error};
use gantry_queue::{DeadLetters, Failure, FeedbackMessage, Sender};
use gantry_secrets::Signer;
use gantry_setup::{Clock, Environment, environment::EnvironmentError};
use gantry_store::{Store, Stored};
use jiff::{SignedDuration, Timestamp};
use std::{sync::Arc, time::Duration};

/// Events, decisions and the outcomes of commands are kept this long.
pub(crate) const HISTORY_KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);

/// What the scheduler works with.
#[derive(Clone)]
pub struct Deps {
    /// The records.
    pub store: Store,
    /// The queues.
    pub sender: Sender,
    /// Messages that were given up: they are counted.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// GitLab, read only.
    pub gitlab: Arc<Connection>,
    /// Signs claim tokens.
    pub signer: Signer,
    /// The time.
    pub clock: Clock,
    /// The numbers that an operator may turn.
    pub limits: Limits,
    /// The cloud roles of runs whose stack names none; none where runners have no roles.
    pub roles: Option<Roles>,
    /// Where runners send their signs of life.
    pub runner_api: RunnerApi,
    /// Starts builds at once; none where whoever takes messages of `starts` starts something else.
    pub starter: Option<Arc<Starter>>,
}

/// Numbers that an operator may turn.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many runners at once.
    pub runners: u32,
    /// How often a sweep comes by.
    pub sweep_every: SignedDuration,
    /// How often a project is compared with GitLab.
    pub compare_every: SignedDuration,
    /// How often while no webhook of the project was ever seen.
    pub compare_unseen_every: SignedDuration,
    /// How many calls of GitLab a minute may be made that nobody waits for: comparisons, and repeats
    /// of what GitLab refused.
    pub compare_calls: u32,
    /// Everything is compared anew that was not compared since: when a machine was started that
    /// GitLab could not call before.
    pub compare_anew_since: Timestamp,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            runners: 10,
            sweep_every: SignedDuration::from_mins(1),
            compare_every: SignedDuration::from_mins(10),
            compare_unseen_every: SignedDuration::from_mins(10),
            compare_calls: 60,
            compare_anew_since: Timestamp::UNIX_EPOCH,
        }
    }
}

impl Limits {
    /// What `GANTRY_RUNNERS`, `GANTRY_COMPARE_EVERY` and `GANTRY_COMPARE_CALLS` set.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn from_environment(environment: Environment) -> Result<Self, EnvironmentError> {
        let usual = Self::default();
        let every =
            environment.parsed("GANTRY_COMPARE_EVERY", "a time span (10m)", usual.compare_every)?;
        let calls = "a number of calls per minute";
        Ok(Self {
            runners: environment.parsed("GANTRY_RUNNERS", "a number of runs", usual.runners)?,
            compare_every: every,
            compare_unseen_every: every,
            compare_calls: environment.parsed(
                "GANTRY_COMPARE_CALLS",
                calls,
                usual.compare_calls,
            )?,
            ..usual
        })
    }
}

impl Deps {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// True while a message that came at `since` waits for GitLab to allow what it refused.
    pub(crate) fn waits_for_allowance(&self, failure: &Failure, since: Option<Timestamp>) -> bool {
        let is_new = since.is_some_and(|at| self.now().duration_since(at) < REFUSALS_WAIT);
        is_new && refusal(failure).is_some()
    }

    /// Writes down that GitLab does not work for us, if that is what went wrong.
    pub(crate) async fn note_outage(&self, failure: &Failure) -> Result<(), Failure> {
        match failure.error.downcast_ref().and_then(Error::outage) {
            Some(outage) => self.note_health(Some(outage)).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn note_health(&self, outage: Option<Outage>) -> Result<(), Failure> {
        Ok(self.store.note_health("scheduler", outage, self.now()).await?)
    }

    /// The client for GitLab, or a wait: events are not lost while GitLab is not set up.
    pub(crate) async fn gitlab(&self) -> Result<Arc<Client>, Failure> {
        self.gitlab.current().await.map_err(no_client)
    }

    /// The same, by settings that were just read.
    pub(crate) async fn gitlab_by(
        &self,
        integration: &Stored<Integration>,
    ) -> Result<Arc<Client>, Failure> {
        let connected = self.gitlab.connected_by(integration.clone()).await.map_err(no_client)?;
        Ok(connected.client)
    }

    /// Records that a target at GitLab is out of date, and nudges the publisher unless a nudge is
    /// on its way. `nudge` names the target; its own `want` does not matter.
    pub(crate) async fn raise(&self, nudge: FeedbackMessage) -> Result<(), Failure> {
        self.raise_within(nudge, SignedDuration::ZERO).await
    }

    /// The same for what need not be shown before that time is over.
    pub(crate) async fn raise_within(
        &self,
        nudge: FeedbackMessage,
        wait: SignedDuration,
    ) -> Result<(), Failure> {
        let target = nudge.target();
        let at = self.now() + wait;
        let Some(number) = self.store.raise_want(&target, at).await? else { return Ok(()) };
        let nudge = nudge.numbered(number);
        match wait.is_zero() {
            true => self.sender.send(nudge).await?,
            false => self.sender.send_later(nudge, wait.unsigned_abs()).await?,
        }
        Ok(self.store.nudge_sent(&target, number, at).await?)
    }
}

fn no_client(error: NotConnected) -> Failure {
    Failure::wait(error, Duration::from_secs(30))
}
