//! Looks for drift of thousands of stacks: they are in nobody's way, and no stack is forgotten.

use crate::sweep::{World, context};
use gantry_domain::{RunId, StackId, run::Phase, schedule::Schedule, stack::Stack};
use gantry_queue::{Handler as _, Message, SlotsMessage, StackMessage};
use gantry_scheduler::Limits;
use gantry_store::{
    Expect, Outcome, Write,
    config::{DriftDefaults, SlugEntry},
    keys,
    scheduler::QueueEntry,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

const STACKS: u64 = 5_000;

fn run(what: &str, number: u64) -> RunId {
    format!("{what}-{number}").parse().unwrap()
}

impl World {
    /// So many runs enter the queue, of stacks of their own.
    async fn enter(&self, what: &str, class: u8, count: u64) {
        let at = self.clock.now();
        let entry = |number| {
            let run = run(what, number);
            let key = keys::queued(class, at, number, &run);
            let stack = format!("stack-{number}").parse().unwrap();
            let entry = QueueEntry {
                run,
                stack,
                phase: Phase::Plan,
                attempt: 0,
                since: Some(at),
                pool: None,
                drift: what == "look",
            };
            Write::put(key, Expect::Any, &entry).unwrap()
        };
        let entries: Vec<Write> = (0..count).map(entry).collect();
        self.store.put_all(&entries).await.unwrap();
    }

    /// The runs that get slots now.
    async fn dispatch(&self) -> Vec<RunId> {
        let dispatch = SlotsMessage::Dispatch { cause: "test".to_owned() };
        self.scheduler.handle(context(), dispatch.into()).await.unwrap();
        let sent = self.queue.take_sent().into_iter();
        let granted = sent.filter_map(|message| match message {
            Message::Stack(StackMessage::Grant { run, .. }) => Some(run),
            _ => None,
        });
        granted.collect()
    }

    /// A run leaves the queue and its slot.
    async fn ends(&self, run: &RunId, class: u8, number: u64) {
        let line = keys::queued(class, self.clock.now(), number, run);
        for key in [line, keys::slot(run)] {
            let delete = Write::Delete { key, expect: Expect::Present };
            assert_eq!(self.store.write(vec![delete]).await.unwrap(), Outcome::Written);
        }
    }
}

#[tokio::test]
async fn looks_of_5000_stacks_take_few_slots_and_whoever_else_comes_goes_first() {
    let w = World::new().await;
    w.enter("look", 3, STACKS).await;
    assert_eq!(w.dispatch().await, [run("look", 0), run("look", 1)], "as many as are set");
    assert!(w.dispatch().await.is_empty(), "however many slots are free");
    w.enter("fresh", 1, 20).await;
    let fresh: Vec<RunId> = (0..8).map(|number| run("fresh", number)).collect();
    assert_eq!(w.dispatch().await, fresh, "all other slots");
    // A look ends: its slot is for whoever is first.
    w.ends(&run("look", 0), 3, 0).await;
    assert_eq!(w.dispatch().await, [run("fresh", 8)]);
    for number in 0..11 {
        w.ends(&run("fresh", number), 1, number).await;
        assert_eq!(w.dispatch().await, [run("fresh", number + 9)]);
    }
    for number in 11..20 {
        w.ends(&run("fresh", number), 1, number).await;
    }
    assert_eq!(w.dispatch().await, [run("look", 2)], "the second of two");
    let set = DriftDefaults { at_most: 4, ..DriftDefaults::default() };
    w.write(Write::put(keys::drift_defaults(), Expect::Absent, &set).unwrap()).await;
    assert_eq!(w.dispatch().await, [run("look", 3), run("look", 4)]);
}

#[tokio::test]
async fn where_there_is_one_slot_others_wait_for_one_look_at_most() {
    let w = World::with(Limits { runners: 1, ..Limits::default() }).await;
    w.enter("look", 3, STACKS).await;
    assert_eq!(w.dispatch().await, [run("look", 0)]);
    w.enter("fresh", 1, 2).await;
    assert!(w.dispatch().await.is_empty());
    w.ends(&run("look", 0), 3, 0).await;
    assert_eq!(w.dispatch().await, [run("fresh", 0)]);
    w.ends(&run("fresh", 0), 1, 0).await;
    assert_eq!(w.dispatch().await, [run("fresh", 1)]);
    w.ends(&run("fresh", 1), 1, 1).await;
    assert_eq!(w.dispatch().await, [run("look", 1)]);
}

/// The stacks whose times may have come.
fn nudged(sent: Vec<Message>) -> Vec<StackId> {
    let stacks = sent.into_iter().filter_map(|message| match message {
        Message::Stack(StackMessage::TimerDue { stack, .. }) => Some(stack),
        _ => None,
    });
    stacks.collect()
}

#[tokio::test]
async fn times_that_have_come_are_nudged_all_together_and_others_are_not() {
    let w = World::new().await;
    let now = w.clock.now();
    let timer = |number: u64| {
        let stack: StackId = format!("stack-{number}").parse().unwrap();
        // Every tenth is not due, whatever the index says.
        let next_at = now + SignedDuration::from_hours(if number % 10 == 0 { 9 } else { 0 });
        let timer = json!({
            "stack": stack,
            "drift": { "of": "0 3 * * * UTC", "next_at": next_at },
        });
        Write::put(keys::stack_timer(&stack), Expect::Any, &timer).unwrap().due(Some(now))
    };
    let timers: Vec<Write> = (0..STACKS).map(timer).collect();
    w.store.put_all(&timers).await.unwrap();
    let nudged = nudged(w.sweep(usize::MAX).await);
    assert_eq!(nudged.len() as u64, STACKS * 9 / 10);
}

/// A stack that says nothing of drift, without a timer.
async fn add_stack(w: &World, slug: &str, schedules: Value) {
    let golden = include_str!("../../../../shared/store/golden/v1/stack.json");
    let mut stack: Value = serde_json::from_str(golden).unwrap();
    for (field, value) in [
        ("id", json!(slug)),
        ("slug", json!(slug)),
        ("deleted_at", Value::Null),
        ("module", Value::Null),
        ("drift", json!({})),
        ("schedules", schedules),
    ] {
        stack[field] = value;
    }
    let stack: Stack = serde_json::from_value(stack).unwrap();
    let entry = SlugEntry::of(&stack);
    w.write(Write::put(keys::slug(&stack.slug), Expect::Absent, &entry).unwrap()).await;
    w.write(Write::put(keys::stack_config(&stack.id), Expect::Absent, &stack).unwrap()).await;
}

#[tokio::test]
async fn a_timer_that_was_lost_is_set_and_what_is_asked_of_all_reaches_all() {
    let w = World::new().await;
    let nightly = json!([{ "name": "nightly", "when": { "cron": "0 1 * * *" } }]);
    add_stack(&w, "lost", nightly).await;
    add_stack(&w, "quiet", json!([])).await;
    let ids = |names: &[&str]| -> Vec<StackId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    };
    assert_eq!(nudged(w.sweep(usize::MAX).await), ids(&["lost"]));
    assert!(nudged(w.sweep(usize::MAX).await).is_empty(), "all were asked just now");
    let mut sweeps = 0;
    while nudged(w.sweep(usize::MAX).await).is_empty() {
        sweeps += 1;
        assert!(sweeps < 15, "nobody asks any more");
    }
    let set = DriftDefaults { schedule: Some(Schedule::daily(3)), ..DriftDefaults::default() };
    w.write(Write::put(keys::drift_defaults(), Expect::Absent, &set).unwrap()).await;
    let mut both = nudged(w.sweep(usize::MAX).await);
    both.sort();
    assert_eq!(both, ids(&["lost", "quiet"]));
}
