//! Starting runners as builds. It takes what the scheduler has decided to start, from the scheduler
//! itself or from `starts`, and tells the scheduler only when that came to nothing: everything else the
//! runner says itself.

use async_trait::async_trait;
use gantry_domain::{
    RunId, StackId,
    run::{Run, RunState},
};
use gantry_queue::{
    ClaimToken, Context, Failure, Handler, Message, NotStarted as Why, Sender, SlotsMessage,
    StackMessage, StartMessage,
};
use gantry_setup::{
    Clock,
    builds::{BuildStart, Builds, NotStarted},
};
use gantry_store::{
    Expect, Outcome, Store, Write, keys,
    runner::{Claim, HandedOn},
    scheduler::{SlotEntry, StartedBuild},
};
use jiff::SignedDuration;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// The variables that tell a build which attempt it was started for.
const RUN: &str = "GANTRY_RUN";
const STACK: &str = "GANTRY_STACK_ID";
const ATTEMPT: &str = "GANTRY_ATTEMPT";

/// How long a message waits when CodeBuild cannot be asked. That is not its fault.
const OUTAGE: Duration = Duration::from_secs(10);

/// How long somebody waits for CodeBuild who can send a message instead.
const AT_ONCE: Duration = Duration::from_secs(5);
/// CodeBuild takes few starts at the same moment: more of them would look as if it had no capacity.
static STARTING: Semaphore = Semaphore::const_new(2);

/// How long a build's id is kept: no build lasts longer.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Starts a build for each start that the scheduler asks for, and ends those of lost runners.
pub struct Starter {
    /// The records, which it only reads.
    pub store: Store,
    /// Tells the scheduler.
    pub sender: Sender,
    /// The builds.
    pub builds: Arc<dyn Builds>,
    /// The time.
    pub clock: Clock,
    /// The address of the runner API.
    pub api: String,
}

impl Starter {
    /// True when the attempt still waits for its runner.
    async fn is_wanted(&self, run: &RunId, attempt: u32) -> Result<bool, Failure> {
        let Some(stored) = self.store.get::<Run>(&keys::run(run)).await? else { return Ok(false) };
        let run = stored.value;
        let waits = matches!(run.state, RunState::Preparing | RunState::Confirmed);
        if run.attempt != attempt || !waits {
            return Ok(false);
        }
        let claim = self.store.get::<Claim>(&keys::claim(&run.id, attempt)).await?;
        Ok(claim.is_none())
    }

    /// Records that a build is started for the attempt. False when a build that has ended its own
    /// run takes this one too, or when it has lost its slot.
    async fn is_ours(&self, run: &RunId, attempt: u32) -> Result<bool, Failure> {
        let (room, handed_on) = (keys::slot(run), keys::handed_on(run, attempt));
        loop {
            let Some(place) = self.store.get::<SlotEntry>(&room).await? else { return Ok(false) };
            if place.value.started == attempt {
                return Ok(true);
            }
            if !place.value.taken {
                return Ok(false);
            }
            let started = SlotEntry { started: attempt, ..place.value.clone() };
            let writes = vec![
                Write::put(room.clone(), place.unchanged(), &started)?,
                Write::Check { key: handed_on.clone(), expect: Expect::Absent },
            ];
            if self.store.write(writes).await? == Outcome::Written {
                return Ok(true);
            }
            if self.store.get::<HandedOn>(&handed_on).await?.is_some() {
                return Ok(false);
            }
        }
    }

    /// The build of the runner with this name, or else the one that was started for the run's last
    /// attempt. One of an attempt before may have other runs by now.
    async fn build_of(
        &self,
        run: &RunId,
        runner: Option<String>,
    ) -> Result<Option<String>, Failure> {
        if runner.is_some() {
            return Ok(runner);
        }
        let started = self.store.get::<StartedBuild>(&keys::build(run)).await?;
        let run = self.store.get::<Run>(&keys::run(run)).await?;
        let (Some(started), Some(run)) = (started, run) else { return Ok(None) };
        Ok((started.value.attempt == run.value.attempt).then_some(started.value.id))
    }

    /// Starts a build for who would send this message. False where it has to be sent: what `starts` has
    /// is tried again, a few at once, and why it comes to nothing is told.
    pub(crate) async fn start_at_once(&self, start: &StartMessage) -> bool {
        let start_it = async {
            let _few = STARTING.acquire().await;
            self.try_to_start(start).await
        };
        let why = match tokio::time::timeout(AT_ONCE, start_it).await {
            Ok(Ok(Ok(()))) => return true,
            Ok(Ok(Err(why))) => why.to_string(),
            Ok(Err(failure)) => format!("{:#}", failure.error),
            Err(_) => format!("CodeBuild does not answer within {} seconds", AT_ONCE.as_secs()),
        };
        tracing::warn!("a build is started by a message: {why}");
        false
    }

    /// Starts the build that the message asks for, unless nobody needs it any more.
    async fn try_to_start(&self, start: &StartMessage) -> Result<Result<(), NotStarted>, Failure> {
        let StartMessage::Start { run, stack, attempt, claim_token, expires_at, role, .. } = start
        else {
            return Ok(Ok(()));
        };
        let attempt = *attempt;
        // Late: the sweep hands it out again.
        if self.clock.now() >= *expires_at
            || !self.is_wanted(run, attempt).await?
            || !self.is_ours(run, attempt).await?
        {
            return Ok(Ok(()));
        }
        let role = role.clone();
        let build = BuildStart { role, ..self.build(run, stack, attempt, claim_token) };
        let id = match self.builds.start(&build).await {
            Ok(id) => id,
            Err(why) => return Ok(Err(why)),
        };
        tracing::info!(run.id = %run, attempt, build = id, "a build was started");
        let write = Write::put(keys::build(run), Expect::Any, &StartedBuild { id, attempt })?;
        let _ = self.store.write(vec![write.expires(self.clock.now() + KEPT)]).await?;
        Ok(Ok(()))
    }

    /// Everything in it derives from the message, so that a repeated start is the same start.
    fn build(&self, run: &RunId, stack: &StackId, attempt: u32, token: &ClaimToken) -> BuildStart {
        let variables = [
            ("GANTRY_RUNNER_API", self.api.clone()),
            ("GANTRY_CLAIM_TOKEN", token.expose().to_owned()),
            (RUN, run.to_string()),
            (STACK, stack.to_string()),
            (ATTEMPT, attempt.to_string()),
        ];
        BuildStart {
            token: format!("{run}-{attempt}"),
            role: None,
            variables: variables.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        }
    }
}

#[async_trait]
impl Handler for Starter {
    async fn handle(&self, _context: Context, message: Message) -> Result<(), Failure> {
        let message: StartMessage = message.try_into()?;
        let (run, stack, attempt) = match &message {
            StartMessage::Start { run, stack, attempt, .. } => {
                (run.clone(), stack.clone(), *attempt)
            }
            StartMessage::EndRunner { run, runner } => {
                let Some(build) = self.build_of(run, runner.clone()).await? else { return Ok(()) };
                tracing::warn!(run.id = %run, build, "ending a build that is lost or no longer \
                                                      needed");
                let stopped = self.builds.stop(&build).await;
                return stopped.map_err(|error| Failure::wait(error, OUTAGE));
            }
        };
        let (why, words) = match self.try_to_start(&message).await? {
            Ok(()) => return Ok(()),
            Err(NotStarted::NoCapacity(words)) => (Why::NoCapacity, words),
            Err(NotStarted::Refused(words)) => (Why::Refused, words),
            Err(error @ NotStarted::Unavailable(_)) => {
                // The run says why it waits, as long as this is tried again.
                let (why, words) = (Why::Delayed, error.to_string());
                let told = StackMessage::NotStarted { stack, run, attempt, why, words };
                if let Err(unsent) = self.sender.send(told).await {
                    tracing::warn!(attempt, "the run does not say why it waits: {unsent}");
                }
                return Err(Failure::wait(error, OUTAGE));
            }
        };
        tracing::error!(run.id = %run, attempt, words, "a build was not started");
        Ok(self.sender.send(StackMessage::NotStarted { stack, run, attempt, why, words }).await?)
    }
}

/// What EventBridge tells of a build that did not end well (`CodeBuild Build State Change`).
/// <https://docs.aws.amazon.com/codebuild/latest/userguide/sample-build-notifications.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Ended {
    build_status: String,
    additional_information: Information,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Information {
    environment: Environment,
    #[serde(default)]
    phases: Vec<BuildPhase>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Environment {
    environment_variables: Vec<Variable>,
}

#[derive(Debug, Deserialize)]
struct Variable {
    name: String,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct BuildPhase {
    phase_type: String,
    #[serde(default)]
    phase_context: Vec<String>,
    #[serde(default)]
    phase_status: Option<String>,
}

/// What EventBridge tells: a build that ended badly, or that it is time to sweep.
pub fn from_event(event: &serde_json::Value, request: &str) -> Message {
    match ended_build(event) {
        Some(message) => message.into(),
        None => SlotsMessage::Sweep { cause: request.to_owned() }.into(),
    }
}

/// The message for a build that ended badly; none for an event that tells of none of ours.
fn ended_build(event: &serde_json::Value) -> Option<StackMessage> {
    if event.get("detail-type")?.as_str()? != "CodeBuild Build State Change" {
        return None;
    }
    let ended = Ended::deserialize(event.get("detail")?).ok()?;
    let variables = &ended.additional_information.environment.environment_variables;
    let value = |name: &str| variables.iter().find(|v| v.name == name).map(|v| v.value.as_str());
    let went_wrong = went_wrong(&ended);
    // It waited for a machine until its time was over.
    let queued = went_wrong.is_some_and(|phase| phase.phase_type == "QUEUED");
    Some(StackMessage::NotStarted {
        stack: value(STACK)?.parse().ok()?,
        run: value(RUN)?.parse().ok()?,
        attempt: value(ATTEMPT)?.parse().ok()?,
        why: if queued { Why::NoCapacity } else { Why::Ended },
        words: words(&ended.build_status, went_wrong),
    })
}

/// The first phase that went wrong.
fn went_wrong(ended: &Ended) -> Option<&BuildPhase> {
    let phases = &ended.additional_information.phases;
    phases.iter().find(|phase| phase.phase_status.as_deref().is_some_and(|s| s != "SUCCEEDED"))
}

/// How a build ended, in CodeBuild's words.
fn words(status: &str, went_wrong: Option<&BuildPhase>) -> String {
    let Some(phase) = went_wrong else { return status.to_owned() };
    let said = phase.phase_context.join(" ");
    let said = said.trim().trim_matches(':').trim();
    let (kind, how) = (&phase.phase_type, phase.phase_status.as_deref().unwrap_or_default());
    let words = match said.is_empty() {
        true => format!("{status}, {kind} {how}"),
        false => format!("{status}, {kind}: {said}"),
    };
    words.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(variables: serde_json::Value) -> serde_json::Value {
        json!({
            "source": "aws.codebuild",
            "detail-type": "CodeBuild Build State Change",
            "detail": {
                "build-status": "FAILED",
                "project-name": "gantry-runner",
                "build-id": "arn:aws:codebuild:eu-west-1:123456789012:build/gantry-runner:1f2e",
                "additional-information": {
                    "environment": { "environment-variables": variables },
                    "phases": [
                        { "phase-type": "SUBMITTED", "phase-context": [], "phase-status": "SUCCEEDED" },
                        {
                            "phase-type": "PROVISIONING",
                            "phase-context": ["BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE: no such image"],
                            "phase-status": "FAILED",
                        },
                        { "phase-type": "COMPLETED" },
                    ],
                },
            },
        })
    }

    #[test]
    fn a_build_that_ended_badly_says_for_which_attempt_and_why() {
        let variables = json!([
            { "name": "GANTRY_RUN", "value": "r1", "type": "PLAINTEXT" },
            { "name": "GANTRY_STACK_ID", "value": "s1", "type": "PLAINTEXT" },
            { "name": "GANTRY_ATTEMPT", "value": "2", "type": "PLAINTEXT" },
        ]);
        let message = ended_build(&event(variables)).unwrap();
        let StackMessage::NotStarted { run, attempt, why, words, .. } = message else { panic!() };
        assert_eq!((run.as_str(), attempt, why), ("r1", 2, Why::Ended));
        assert_eq!(
            words,
            "FAILED, PROVISIONING: BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE: no such image"
        );
    }

    #[test]
    fn a_build_that_waited_for_a_machine_in_vain_found_no_room() {
        let mut event = event(json!([
            { "name": "GANTRY_RUN", "value": "r1" },
            { "name": "GANTRY_STACK_ID", "value": "s1" },
            { "name": "GANTRY_ATTEMPT", "value": "2" },
        ]));
        event["detail"]["build-status"] = json!("TIMED_OUT");
        event["detail"]["additional-information"]["phases"] =
            json!([{ "phase-type": "QUEUED", "phase-status": "TIMED_OUT" }]);
        let message = ended_build(&event).unwrap();
        let StackMessage::NotStarted { why, words, .. } = message else { panic!() };
        assert_eq!((why, words.as_str()), (Why::NoCapacity, "TIMED_OUT, QUEUED TIMED_OUT"));
    }

    #[test]
    fn other_events_and_other_builds_are_none() {
        let timer = json!({"source": "aws.events", "detail": {}});
        assert_eq!(from_event(&timer, "r1"), SlotsMessage::Sweep { cause: "r1".to_owned() }.into());
        assert_eq!(ended_build(&event(json!([]))), None);
    }
}
