//! A look below the surface, and records as the version before wrote them.

use crate::World;
use gantry_domain::run::{Position, Run, RunState};
use gantry_store::{
    Expect, Key, Outcome, Write,
    config::{ProjectStack, SlugEntry},
    keys,
    scheduler::{QueueEntry, SlotEntry},
    table::ATTENTION_SHARDS,
};
use jiff::SignedDuration;
use serde_json::Value;

impl World {
    /// How many places in the room are taken or granted.
    pub async fn taken_slots(&self) -> usize {
        self.system.store.query_all::<Value>(keys::SLOTS, "").await.unwrap().len()
    }

    /// The runs that the next sweep has to look at.
    pub async fn due_runs(&self) -> Vec<String> {
        let mut due = Vec::new();
        for shard in 0..ATTENTION_SHARDS {
            let found = self.system.store.maybe_due(shard, self.system.clock.now(), 100).await;
            due.extend(found.unwrap().iter().map(Key::to_string));
        }
        due.retain(|key| key.starts_with("run/"));
        due
    }

    /// A stack like one that is there for each of some roots, without a call of the API for each.
    pub async fn stacks_like(&self, slug: &str, roots: &[String]) {
        let store = &self.system.store;
        let like = store.stack_by_slug(&slug.parse().unwrap()).await.unwrap().unwrap().value;
        let mut writes = Vec::new();
        for root in roots {
            let mut stack = like.clone();
            stack.settings.name = root.replace('/', "-");
            stack.slug = stack.settings.name.parse().unwrap();
            stack.id = format!("id-{}", stack.settings.name).parse().unwrap();
            stack.settings.project_root = root.clone();
            let entry = ProjectStack { stack: stack.id.clone(), branch: stack.branch.clone() };
            let place = keys::project_stack(stack.project().unwrap(), &stack.id);
            let slug = SlugEntry::of(&stack);
            writes.push(Write::put(keys::slug(&stack.slug), Expect::Any, &slug).unwrap());
            writes.push(Write::put(keys::stack_config(&stack.id), Expect::Any, &stack).unwrap());
            writes.push(Write::put(place, Expect::Any, &entry).unwrap());
        }
        store.put_all(&writes).await.unwrap();
    }

    /// From now on each process ends at a call of GitLab, the next after so many; so many processes.
    pub fn processes_end_after_calls(&self, calls: usize, processes: usize) {
        self.stops.end_after_calls(calls, processes);
    }

    /// How many processes have ended.
    pub fn ended(&self) -> usize {
        self.stops.ended()
    }

    /// How many messages of this kind were handled.
    pub fn handled(&self, kind: &str) -> usize {
        self.told.iter().filter(|told| told.split(' ').nth(1) == Some(kind)).count()
    }

    /// A run that waits for a worker, as it waited before pools had lines of their own: in the room,
    /// or still behind all others in the line.
    pub async fn waits_as_before(&self, run: &str, taken_slots: bool) {
        let store = &self.system.store;
        let stored = store.get::<Run>(&keys::run(&run.parse().unwrap())).await.unwrap().unwrap();
        let line = store.query_all::<QueueEntry>(keys::POOL_QUEUES, "").await.unwrap();
        let entry = line.into_iter().find(|entry| entry.value.run == stored.value.id).unwrap();
        let mut run = stored.value.clone();
        let mut writes = vec![Write::Delete { key: entry.key, expect: Expect::Present }];
        if taken_slots {
            run.position = Position::Slot;
            let place = SlotEntry {
                run: run.id.clone(),
                stack: run.stack.clone(),
                pool: run.pool.clone(),
                taken: true,
                started: 0,
                at: run.since,
                drift: false,
            };
            writes.push(Write::put(keys::slot(&run.id), Expect::Absent, &place).unwrap());
        } else {
            (run.state, run.attempt, run.handed_out_at) = (RunState::Queued, 0, None);
            let key = keys::queued(9, run.created_at, run.number, &run.id);
            writes.push(Write::put(key, Expect::Absent, &entry.value).unwrap());
        }
        let due = self.system.clock.now() - SignedDuration::from_hours(1);
        let write = Write::put(stored.key.clone(), stored.unchanged(), &run).unwrap();
        writes.push(write.due(Some(due)));
        assert_eq!(store.write(writes).await.unwrap(), Outcome::Written);
    }
}
