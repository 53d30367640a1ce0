//! Notifications: one message to one target, until the target has it or a day is over.
//!
//! Whether it is still true is looked up when it is sent. A target that does not accept messages gets
//! one at a time, until it accepts one again: the others wait, and hold nobody up.

use crate::{
    Done, Memory, Trouble, Work,
    outside::{Answered, Outgoing},
};
use gantry_domain::{
    RunId, StackId, TargetName,
    integration::days_left,
    notification::{
        AboutDrift, AboutRun, AboutStack, News, Occasion, Verdict, next_attempt, of_run, verdict,
    },
    run::Run,
    stack::{Stack, StackHead},
    text::{notification as text, notification::Words},
};
use gantry_queue::Failure;
use gantry_secrets::links::run_page;
use gantry_store::{
    Expect, Outcome, Stored, Write,
    health::{Health, broken_since},
    keys,
    notifications::{
        DELIVERIES_KEPT, Delivery, DeliveryState, NotificationTarget, SendAgain, TargetHealth,
    },
};
use jiff::{SignedDuration, Timestamp};
use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

/// Why a message ended without being delivered.
const NOBODY: &str = "The target was deleted";
const NOT_ASKED_FOR: &str = "The target does not ask for this any more";
const NOT_SO: &str = "It was no longer so when it could be sent";
const TOO_LATE: &str = "The target did not accept it within a day";
const ONCE: &str = "The target did not accept it. A test is sent once";
const GONE: &str = "The target answered 410 Gone, so nothing more is sent until it is saved again";
/// A message that is tried this little early is not put off once more.
const EARLY: SignedDuration = SignedDuration::from_secs(1);
/// Messages that wait for a target come one after the other within this time.
const SPREAD: u64 = 30;
/// How long one message may take to find out whether a target is back: a call, and what is around it.
const PROBE: SignedDuration = SignedDuration::from_secs(15);
/// More failures in a row count as so many: another message finds out after ten minutes at the latest
/// whether a target is back, unless that has asked for a longer pause.
const MOST_FAILURES: usize = 4;

impl Work {
    pub(crate) async fn notify(
        &self,
        to: &TargetName,
        about: &Occasion,
        mut memory: Memory<Option<Delivery>>,
    ) -> Result<Done, Trouble> {
        let (store, now) = (&self.deps.store, self.deps.clock.now());
        let target = store.notification_target(to).await?.map(|found| found.value);
        let known = memory.value.take().filter(|known| {
            // What another target of this name had is not this one's.
            target.as_ref().is_none_or(|target| known.raised_at >= target.created_at)
        });
        let known = known.unwrap_or_else(|| Delivery::new(about.clone(), now));
        let asked = store.get::<SendAgain>(&keys::send_again(to, about)).await?;
        let asked = asked.map(|asked| asked.value.asked_at);
        let asked = asked.filter(|at| Some(*at) > known.asked_at && *at >= known.raised_at);
        let delivery = match asked {
            Some(at) => known.again(at, now),
            None if known.state != DeliveryState::Waiting => return Ok(Done::default()),
            None => known,
        };
        let Some(target) = target else {
            let ended = delivery.ended(DeliveryState::Dropped, Some(NOBODY.to_owned()));
            return self.keep(to, &memory, ended, Vec::new()).await;
        };
        let health = store.target_health(&target).await?;
        // Who tries it, or asks for a message once more, wants to know whether it works now.
        let is_asked = asked.is_some() || about.event().is_none();
        let disabled = health.as_ref().and_then(|health| health.value.disabled.clone());
        let refused = match target.filter.wants(about) {
            true => disabled.filter(|_| !is_asked),
            false => Some(NOT_ASKED_FOR.to_owned()),
        };
        if let Some(why) = refused {
            let ended = delivery.ended(DeliveryState::Dropped, Some(why));
            return self.keep(to, &memory, ended, Vec::new()).await;
        }
        if let Some(next) = delivery.next_at.filter(|at| *at > now + EARLY) {
            return Ok(Done { look_at: Some(next), ..Done::default() });
        }
        let waits = match &health {
            Some(health) if !is_asked => self.waits_for(health, now).await?,
            _ => None,
        };
        if let Some(at) = waits {
            // It is tried as long as the others are, though it was not its turn.
            if next_attempt(1, delivery.begun_at, at, None).is_none() {
                let why = Some(TOO_LATE.to_owned());
                let ended = delivery.ended(DeliveryState::GivenUp, why);
                return self.keep(to, &memory, ended, Vec::new()).await;
            }
            let waiting = Delivery { next_at: Some(at), ..delivery };
            return self.keep(to, &memory, waiting, Vec::new()).await;
        }
        let Some(news) = Box::pin(self.news(&target, about, now)).await? else {
            let ended = delivery.ended(DeliveryState::Dropped, Some(NOT_SO.to_owned()));
            return self.keep(to, &memory, ended, Vec::new()).await;
        };
        // The same for whoever gets it a second time, because this process ends before it is noted.
        let id = format!("{to}.{about}");
        let message = Outgoing { id: &id, body: news.body(target.kind) };
        let answered = Box::pin(self.deps.outside.send(&target, &message, now)).await?;
        let delivery = Delivery { title: news.words.title, url: news.url, ..delivery };
        let known = health.as_ref().map(|health| &health.value);
        self.conclude(&target, known, &memory, delivery, answered).await
    }

    /// Until when a message waits for its target, if it does: one at a time finds out whether it is
    /// back.
    async fn waits_for(
        &self,
        health: &Stored<TargetHealth>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Trouble> {
        let Some(until) = health.value.quiet_until else { return Ok(None) };
        let spread = SignedDuration::from_secs(i64::from(turn(&self.target)));
        if until > now + EARLY {
            return Ok(Some(until + spread));
        }
        let probing = TargetHealth { quiet_until: Some(now + PROBE), ..health.value.clone() };
        let write = Write::put(health.key.clone(), health.unchanged(), &probing)?;
        Ok(match self.deps.store.write(vec![write]).await? {
            Outcome::Written => None,
            Outcome::Stale => Some(now + PROBE + spread),
        })
    }

    /// Writes down how an attempt ended, and when there is another one.
    async fn conclude(
        &self,
        target: &NotificationTarget,
        known: Option<&TargetHealth>,
        memory: &Memory<Option<Delivery>>,
        mut delivery: Delivery,
        Answered { attempt, retry_after }: Answered,
    ) -> Result<Done, Trouble> {
        let now = self.deps.clock.now();
        let status = attempt.status;
        tracing::info!(
            notified = %target.name, about = %delivery.about, status,
            "a notification was sent: {}", attempt.answer
        );
        delivery.tried(attempt);
        let well = TargetHealth::well(target);
        let failing_since = known.and_then(|known| known.failing_since).or(Some(now));
        let (delivery, health) = match status.map_or(Verdict::Later, verdict) {
            Verdict::Delivered => {
                let is_back = known.is_some_and(|known| *known != well);
                (delivery.ended(DeliveryState::Delivered, None), is_back.then_some(well))
            }
            Verdict::Gone => {
                let why = || Some(GONE.to_owned());
                let health = TargetHealth { disabled: why(), failing_since, ..well };
                (delivery.ended(DeliveryState::Dropped, why()), Some(health))
            }
            // Hours later nobody would know what was tried.
            Verdict::Later if delivery.about.event().is_none() => {
                (delivery.ended(DeliveryState::GivenUp, Some(ONCE.to_owned())), None)
            }
            Verdict::Later => {
                let failed = delivery.failed.saturating_add(1);
                let nth = usize::try_from(failed).unwrap_or(usize::MAX);
                let next_at = next_attempt(nth, delivery.begun_at, now, retry_after);
                // The others wait as a message would that failed as often as the target did.
                let failures = known.map_or(0, |known| known.failures).saturating_add(1);
                let in_a_row = usize::try_from(failures).unwrap_or(MOST_FAILURES);
                let in_a_row = in_a_row.min(MOST_FAILURES);
                let quiet_until = next_attempt(in_a_row, now, now, retry_after);
                let health = TargetHealth { failing_since, failures, quiet_until, ..well };
                let delivery = Delivery { failed, next_at, ..delivery };
                let delivery = match next_at {
                    Some(_) => delivery,
                    None => delivery.ended(DeliveryState::GivenUp, Some(TOO_LATE.to_owned())),
                };
                (delivery, Some(health))
            }
        };
        let mut more = Vec::new();
        if let Some(health) = health {
            more.push(Write::put(keys::target_health(&target.name), Expect::Any, &health)?);
        }
        self.keep(&target.name, memory, delivery, more).await
    }

    /// Keeps what became of a message: what is remembered, and what the list of them shows.
    async fn keep(
        &self,
        to: &TargetName,
        memory: &Memory<Option<Delivery>>,
        delivery: Delivery,
        more: Vec<Write>,
    ) -> Result<Done, Trouble> {
        let until = self.deps.clock.now() + DELIVERIES_KEPT;
        let listed = keys::delivery(to, delivery.raised_at, &delivery.about);
        let mut writes = vec![
            Write::put(keys::feedback_memory(&self.target), memory.expect, &delivery)?
                .expires(until),
            Write::put(listed, Expect::Any, &delivery)?.expires(until),
        ];
        writes.extend(more);
        match self.deps.store.write(writes).await? {
            Outcome::Written => Ok(Done { look_at: delivery.next_at, ..Done::default() }),
            Outcome::Stale => Err(Trouble::Own(Failure::wait(
                anyhow::anyhow!("another delivery is notifying {to} right now"),
                Duration::from_secs(1),
            ))),
        }
    }

    /// What there is to say now; none where it is not so any more.
    async fn news(
        &self,
        target: &NotificationTarget,
        about: &Occasion,
        now: Timestamp,
    ) -> Result<Option<News>, Trouble> {
        let store = &self.deps.store;
        let page = |path: &str| format!("{}/{path}", self.deps.public_url.trim_end_matches('/'));
        let of_gantry = |at, words: Words, path: &str| News {
            about: about.clone(),
            at,
            words,
            url: page(path),
            stack: None,
            run: None,
            drift: None,
        };
        Ok(match about {
            Occasion::WaitsForPerson(run) | Occasion::Failed(run) | Occasion::Applied(run) => {
                let run = self.run(run).await?;
                let Some(run) = run.filter(|run| of_run(run).as_ref() == Some(about)) else {
                    return Ok(None);
                };
                let words = match about {
                    Occasion::WaitsForPerson(_) => text::needs_confirmation(&run),
                    Occasion::Failed(_) => text::failed(&run),
                    _ => text::applied(&run),
                };
                let stack = store.stack(&run.stack).await?.map(|found| found.value);
                Some(News {
                    at: run.since,
                    url: run_page(&self.deps.public_url, &run.id),
                    stack: stack.as_ref().map(|stack| self.named(stack)),
                    run: Some(AboutRun::new(&run)),
                    ..of_gantry(now, words, "")
                })
            }
            Occasion::Blocked(by) => {
                let Some(run) = self.run(by).await? else { return Ok(None) };
                let Some((stack, head)) = self.stack_and_head(&run.stack).await? else {
                    return Ok(None);
                };
                head.blocked.filter(|blocked| blocked.run == *by).map(|blocked| News {
                    url: run_page(&self.deps.public_url, by),
                    stack: Some(self.named(&stack)),
                    run: Some(AboutRun::new(&run)),
                    ..of_gantry(blocked.since, text::blocked(&stack.slug, &blocked), "")
                })
            }
            Occasion::Drifted { stack, since } => {
                let Some((stack, head)) = self.stack_and_head(stack).await? else {
                    return Ok(None);
                };
                let is_it = |at: Timestamp| at.as_millisecond() == *since;
                let drift = head.drift.filter(|drift| drift.since.is_some_and(is_it));
                drift.map(|drift| {
                    let (words, named) = (text::drifted(&stack.slug, &drift), self.named(&stack));
                    News {
                        stack: Some(named),
                        drift: Some(AboutDrift::new(&drift)),
                        ..of_gantry(
                            drift.since.unwrap_or(now),
                            words,
                            &format!("stacks/{}", stack.slug),
                        )
                    }
                })
            }
            Occasion::IntegrationBroken { since } => {
                let seen = store.seen_health().await?;
                let begun = broken_since(&seen).filter(|at| at.as_millisecond() == *since);
                let says = |what: fn(&Health) -> bool| seen.iter().any(what);
                let (rejected, limited) =
                    (says(|it| it.token_rejected), says(|it| it.rate_limited));
                begun.map(|at| {
                    of_gantry(at, text::integration_broken(rejected, limited, at), "gitlab")
                })
            }
            Occasion::TokenExpires { on, .. } => {
                let day = on.to_string();
                let integration = store.integration().await?.map(|found| found.value);
                let is_it = integration
                    .filter(|known| known.linked && known.token_expires_on.as_ref() == Some(&day));
                let left = is_it.and_then(|_| days_left(&day, now));
                left.map(|left| of_gantry(now, text::token_expires(*on, left), "gitlab"))
            }
            Occasion::Test(_) => {
                let path = format!("notifications/{}", target.name);
                Some(of_gantry(now, text::test(&target.name), &path))
            }
        })
    }

    async fn run(&self, run: &RunId) -> Result<Option<Run>, Trouble> {
        let found = self.deps.store.get::<Run>(&keys::run(run)).await?;
        Ok(found.map(|found| found.value))
    }

    /// A stack that was not deleted, and what is known of it as a whole.
    async fn stack_and_head(&self, stack: &StackId) -> Result<Option<(Stack, StackHead)>, Trouble> {
        let head = self.deps.store.get::<StackHead>(&keys::stack_head(stack)).await?;
        let stack = self.deps.store.stack(stack).await?.map(|found| found.value);
        let stack = stack.filter(|stack| stack.deleted_at.is_none());
        Ok(stack.zip(head.map(|head| head.value)))
    }

    fn named(&self, stack: &Stack) -> AboutStack {
        let kind = if stack.module.is_some() { "modules" } else { "stacks" };
        let base = self.deps.public_url.trim_end_matches('/');
        AboutStack::new(stack, format!("{base}/{kind}/{}", stack.slug))
    }
}

/// In which second of those that messages are spread over.
fn turn(target: &str) -> u8 {
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    u8::try_from(hasher.finish() % SPREAD).unwrap_or_default()
}
