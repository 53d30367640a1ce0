//! Pumping the queues by hand until nothing moves any more.

use crate::{World, modes::Mode, seed};
use gantry_domain::StackId;
use gantry_fake_gitlab::Delivery;
use gantry_queue::{
    Envelope, Handler, Message, QueueName, Received, SlotsMessage, StackMessage, StartMessage,
};
use jiff::SignedDuration;
use rand::{RngExt as _, rngs::StdRng};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Longer than any handler takes here.
const HANDLING: Duration = Duration::from_secs(60);
/// As short as a handler is begun at all: what nobody answers is given up after a second.
const SHORT_HANDLING: Duration = Duration::from_millis(5_100);
/// What waits for longer is left to stories that let time pass.
const FAR_AWAY: SignedDuration = SignedDuration::from_mins(5);
/// How often the timer sends a sweep.
const TIMER: Duration = Duration::from_secs(60);
/// How long runner programs work between two looks at the queues.
const A_MOMENT: Duration = Duration::from_millis(10);
/// How often runners say that they live.
const BEAT: Duration = Duration::from_secs(20);
/// More steps than any story needs: beyond it something goes in a circle.
const TOO_MANY: usize = 200_000;

pub(crate) struct Pump {
    random: StdRng,
    twice: bool,
    shuffled: bool,
    restarts: bool,
    /// Messages over which a process has ended. Each ends one only.
    fatal: HashSet<String>,
    /// How long a handler has.
    handling: Duration,
    /// Stacks whose triggers get lost on their way.
    pub(crate) loses: HashSet<StackId>,
    /// All triggers do.
    pub(crate) loses_all: bool,
    /// What got lost.
    pub(crate) lost: Vec<Message>,
}

impl Pump {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            random: seed::random(mode.twice_and_shuffled),
            twice: mode.twice_and_shuffled.is_some(),
            shuffled: mode.twice_and_shuffled.is_some(),
            restarts: mode.restarts,
            fatal: HashSet::new(),
            handling: HANDLING,
            loses: HashSet::new(),
            loses_all: false,
            lost: Vec::new(),
        }
    }

    fn pick(&mut self, of: usize) -> usize {
        if self.shuffled { self.random.random_range(0..of) } else { 0 }
    }
}

impl World {
    /// Lets everything happen that can happen now: webhooks, messages, runners. Messages that wait
    /// for a moment get it; the clock moves on by what they wait.
    pub async fn settle(&mut self) {
        for _ in 0..TOO_MANY {
            if self.do_one().await {
                continue;
            }
            if self.wait_for_programs().await {
                continue;
            }
            if self.wait_for_delayed().await {
                continue;
            }
            if !self.recovers {
                return;
            }
            self.recovers = false;
            self.timer_comes_by().await;
        }
        panic!("it never settles:\n{}", self.history());
    }

    /// Lets things happen until a run of the stack is in a state; its id.
    pub async fn settle_until(&mut self, slug: &str, state: &str) -> String {
        for i in 0..TOO_MANY {
            if i % 20 == 0 {
                let runs = self.runs(slug).await;
                let found = runs.iter().find(|run| run.get("state").is_some_and(|s| s == state));
                if let Some(id) = found.and_then(|run| run.get("id")).and_then(|id| id.as_str()) {
                    return id.to_owned();
                }
            }
            // What waits for GitLab comes again for ever, and the timer comes by meanwhile.
            if i % 20 == 10 && std::mem::take(&mut self.recovers) {
                self.timer_comes_by().await;
            }
            let moved = self.do_one().await;
            if moved || self.wait_for_programs().await || self.wait_for_delayed().await {
                continue;
            }
            if !std::mem::take(&mut self.recovers) {
                break;
            }
            self.timer_comes_by().await;
        }
        panic!("no run of {slug} becomes {state}:\n{}", self.history());
    }

    /// Lets time pass while GitLab is in trouble: whatever can happen happens, and what waits is
    /// not waited for. Looks again every `step`.
    pub async fn endure(&mut self, time: Duration, step: Duration) {
        self.pump.handling = SHORT_HANDLING;
        let mut left = time;
        while !left.is_zero() {
            let now = step.min(left);
            left -= now;
            self.hand.advance(now);
            self.gitlab.create_due_pipelines();
            let cause = self.system.clock.now().as_millisecond().to_string();
            self.system.sender.send(SlotsMessage::Sweep { cause }).await.unwrap();
            self.happen(TOO_MANY).await;
        }
        self.pump.handling = HANDLING;
    }

    /// At most so many of the things that can happen now.
    pub(crate) async fn happen(&mut self, most: usize) {
        for _ in 0..most {
            if !self.do_one().await {
                return;
            }
        }
    }

    /// The next thing that can happen now. True when there was one.
    async fn do_one(&mut self) -> bool {
        if self.take_over().await {
            return true;
        }
        self.deliver_hooks().await || self.handle_one().await || self.runners.step().await
    }

    /// Another process takes over where one has ended. True where it did.
    pub(crate) async fn take_over(&mut self) -> bool {
        if self.ended == self.stops.ended() {
            return false;
        }
        let before = self.stops.stopped_before().unwrap_or_default();
        self.told.push(format!("=== the process ended before: {before}"));
        eprintln!("    the process ended before: {before}");
        self.restart().await;
        self.recovers = true;
        true
    }

    /// What a process left that ended is found a minute later at the latest. Runners go on meanwhile.
    async fn timer_comes_by(&mut self) {
        for _ in 0..6 {
            self.hand.advance(TIMER / 6);
            self.runners.step().await;
        }
        self.gitlab.create_due_pipelines();
        let cause = self.system.clock.now().as_millisecond().to_string();
        self.system.sender.send(SlotsMessage::Sweep { cause }).await.unwrap();
    }

    async fn deliver_hooks(&mut self) -> bool {
        let mut pending = self.gitlab.take_pending();
        if pending.is_empty() || self.mode.no_webhooks {
            return false;
        }
        if self.pump.shuffled {
            let at = self.pump.pick(pending.len());
            pending.rotate_left(at);
        }
        for delivery in pending {
            for _ in 0..=usize::from(self.pump.twice) {
                self.deliver(delivery.clone()).await;
            }
        }
        true
    }

    /// Delivers a webhook. One whose process ended is sent again, as somebody does at GitLab: what
    /// becomes of those that nobody sends again is told without webhooks.
    pub async fn deliver(&mut self, delivery: Delivery) {
        self.take_over().await;
        let mut result = self.gitlab.deliver(delivery.clone()).await;
        if self.take_over().await {
            assert!(!result.is_success(), "GitLab was told that its webhook is kept");
            result = self.gitlab.deliver(delivery).await;
        }
        assert!(result.is_success(), "a webhook was refused: {result:?}");
    }

    /// Handles one message of one queue. True when there was one.
    async fn handle_one(&mut self) -> bool {
        let mut waiting = Vec::new();
        for queue in [
            QueueName::Events,
            QueueName::Source,
            QueueName::Feedback,
            QueueName::Starts,
            QueueName::Later,
        ] {
            if self.system.queues.counts(queue).unwrap().visible > 0 {
                waiting.push(queue);
            }
        }
        // Where all of a queue's messages stand behind one that waits, it is the next queue's turn.
        let (queue, received) = loop {
            if waiting.is_empty() {
                return false;
            }
            let queue = waiting.remove(self.pump.pick(waiting.len()));
            if let Some(received) = self.receive(queue) {
                break (queue, received);
            }
        };
        if queue == QueueName::Starts {
            let stops = self.stops.clone();
            let start = stops.before(|| "the start of a runner".to_owned());
            if stops.watch("starts start", start).await.is_none() {
                return true;
            }
            self.start_runner(&received).await;
            self.system.queues.delete(queue, &[&received.receipt]).unwrap();
            return true;
        }
        if self.is_lost(&received) {
            self.system.queues.delete(queue, &[&received.receipt]).unwrap();
            return true;
        }
        let handler = self.handler(queue);
        self.run(queue, received.clone(), &handler).await;
        if self.pump.twice {
            self.run(queue, received, &handler).await;
        }
        true
    }

    fn is_lost(&mut self, received: &Received) -> bool {
        let Ok(Envelope { message, .. }) = Envelope::from_body(&received.body) else {
            return false;
        };
        let is_lost = matches!(
            &message,
            Message::Stack(StackMessage::Trigger { stack, .. }) if self.pump.loses_all || self.pump.loses.contains(stack)
        );
        if is_lost {
            self.pump.lost.push(message);
        }
        is_lost
    }

    /// Any group's first message; groups take turns at random when shuffled.
    fn receive(&mut self, queue: QueueName) -> Option<Received> {
        let visibility = HANDLING * 2;
        if self.pump.shuffled {
            let mut groups: Vec<Option<String>> =
                self.system.queues.peek(queue).unwrap().into_iter().map(|m| m.group).collect();
            groups.dedup();
            let at = self.pump.pick(groups.len().max(1));
            if let Some(Some(group)) = groups.get(at) {
                let found = self.system.queues.receive_group(queue, group, 1, visibility).unwrap();
                if let Some(found) = found.into_iter().next() {
                    return Some(found);
                }
            }
        }
        self.system.queues.receive(queue, 1, visibility).unwrap().into_iter().next()
    }

    async fn run(&mut self, queue: QueueName, received: Received, handler: &Arc<dyn Handler>) {
        let what = Envelope::from_body(&received.body)
            .map(|e| format!("{queue} {} {:?}", e.message.kind(), e.message.ids()))
            .unwrap_or_default();
        let kind = what.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let (receipt, message) = (received.receipt.clone(), received.message_id.clone());
        let deadline = Instant::now() + self.pump.handling;
        let work = self.system.driver.run_batch(queue, vec![received], deadline, handler);
        let Some(outcome) = self.stops.watch(&kind, work).await else {
            self.told.push(format!("{what} (not to its end)"));
            return;
        };
        if self.pump.restarts && self.pump.fatal.insert(message) {
            self.restart().await;
        } else if outcome.failed.is_empty() {
            self.system.queues.delete(queue, &[&receipt]).unwrap();
        }
        let end = if outcome.failed.is_empty() { "" } else { " (again later)" };
        self.told.push(format!("{what}{end}"));
        assert!(outcome.dead.is_empty(), "a message was given up:\n{}", self.history());
    }

    async fn start_runner(&mut self, received: &Received) {
        let envelope = Envelope::from_body(&received.body).unwrap();
        let StartMessage::Start { stack, run, attempt, claim_token, .. } =
            envelope.message.try_into().unwrap()
        else {
            panic!("not a start");
        };
        if let Some((why, words)) = self.runners.refused.clone() {
            let message = StackMessage::NotStarted { stack, run, attempt, why, words };
            self.system.sender.send(message).await.unwrap();
            return;
        }
        for _ in 0..=usize::from(self.pump.twice) {
            if !self.programs.start(&run, attempt, &claim_token) {
                self.runners.start(&run, attempt, claim_token.expose()).await;
            }
        }
    }

    /// Lets runner programs work for a moment. True while there are any.
    async fn wait_for_programs(&mut self) -> bool {
        if !self.programs.are_running() {
            return false;
        }
        tokio::time::sleep(A_MOMENT).await;
        self.hand.advance(A_MOMENT);
        true
    }

    /// Moves the clock to the next message that waits for its moment, unless that is far away.
    async fn wait_for_delayed(&mut self) -> bool {
        let now = self.system.clock.now();
        let next = [
            QueueName::Events,
            QueueName::Source,
            QueueName::Feedback,
            QueueName::Later,
            QueueName::Starts,
        ]
        .into_iter()
        .filter_map(|queue| self.system.queues.next_visible_at(queue).unwrap())
        .min();
        match next.filter(|at| at.duration_since(now) <= FAR_AWAY) {
            Some(at) => {
                let mut wait = at.duration_since(now).unsigned_abs() + Duration::from_millis(1);
                // Runners show that they live meanwhile.
                while wait > BEAT {
                    wait -= BEAT;
                    self.hand.advance(BEAT);
                    if self.runners.step().await {
                        return true;
                    }
                }
                self.hand.advance(wait);
                self.gitlab.create_due_pipelines();
                true
            }
            None => false,
        }
    }
}
