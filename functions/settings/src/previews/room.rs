//! Room for what people upload: what no preview needs any more is removed when the next archive comes,
//! and one that would be too much is refused.

use super::{LARGEST, MEGABYTE};
use crate::{
    app::App,
    refusal::{Answer, Refusal},
};
use futures::{StreamExt as _, stream};
use gantry_domain::{
    StackId,
    run::{Run, RunType},
    stack::Stack,
};
use gantry_objects::{Listed, keys as objects};
use gantry_store::{Key, keys, scheduler::RunEntry};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// How much is kept at a time.
struct Limit {
    archives: usize,
    bytes: u64,
}

const GIGABYTE: u64 = 1_000 * MEGABYTE as u64;
/// Of one stack.
const OF_A_STACK: Limit = Limit { archives: 50, bytes: GIGABYTE };
/// Of all stacks together.
const OF_ALL: Limit = Limit { archives: 500, bytes: 5 * GIGABYTE };
/// How long an archive is kept that no preview was started with.
const UNSTARTED: SignedDuration = SignedDuration::from_mins(30);
/// What the sort keys of a stack's runs begin with.
const RUNS: &str = "run#";
/// Runs that one read brings.
const RUNS_AT_ONCE: i32 = 100;
/// Runs of a stack that are looked through for those of its archives.
const MOST_RUNS: usize = 1_000;
/// Archives of one stack, and stacks besides the one that asks, that one request clears at most.
const MOST_REMOVED: usize = 200;
const MOST_STACKS: usize = 50;
const REMOVED_AT_ONCE: usize = 8;

/// An archive that is there.
struct Archive {
    key: String,
    stack: StackId,
    digest: String,
    size: u64,
    written_at: Timestamp,
}

impl Archive {
    fn of(listed: Listed) -> Option<Self> {
        let Listed { key, size, written_at } = listed;
        let name = key.strip_prefix(objects::UPLOADS)?.strip_prefix('/')?;
        let (stack, digest) = name.strip_suffix(".tar.gz")?.split_once('/')?;
        let (stack, digest) = (stack.parse().ok()?, digest.to_owned());
        Some(Self { key, stack, digest, size, written_at })
    }
}

impl Limit {
    /// Refuses one more archive of `size` where there is no room for it. `whose` are those that are
    /// there: `for the stack network`.
    fn check<'a>(
        &self,
        kept: impl Iterator<Item = &'a Archive>,
        size: u64,
        whose: &str,
    ) -> Answer<()> {
        let (archives, bytes) = kept.fold((0_usize, 0_u64), |(archives, bytes), archive| {
            (archives + 1, bytes + archive.size)
        });
        if archives < self.archives && bytes + size <= self.bytes {
            return Ok(());
        }
        let detail = format!(
            "{archives} uploads {whose} ({}) are still needed for previews. At most {} with {} GB \
             together are kept, and this one has {}. Wait until one of these previews has ended, or \
             stop one. An upload without a preview is removed after {} minutes.",
            megabytes(bytes),
            self.archives,
            self.bytes / GIGABYTE,
            megabytes(size),
            UNSTARTED.as_mins()
        );
        Err(Refusal::conflict("Too many uploads", detail))
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / MEGABYTE as f64)
}

/// Makes room for an archive of the stack, or refuses it.
pub(super) async fn make(app: &App, stack: &Stack, digest: &str, size: u64) -> Answer<()> {
    let listed = app.objects.list_by_age(objects::UPLOADS).await?;
    // What is uploaded once more takes the place of what is there.
    let is_other = |archive: &Archive| archive.stack != stack.id || archive.digest != digest;
    let mut kept: Vec<Archive> =
        listed.into_iter().filter_map(Archive::of).filter(is_other).collect();
    clear(app, &mut kept, &stack.id).await?;
    let mine = kept.iter().filter(|archive| archive.stack == stack.id);
    OF_A_STACK.check(mine, size, &format!("for the stack {}", stack.slug))?;
    let mut looked_at = BTreeSet::from([stack.id.clone()]);
    loop {
        let full = match OF_ALL.check(kept.iter(), size, "for all stacks") {
            Ok(()) => return Ok(()),
            Err(full) => full,
        };
        let next = kept.iter().map(|archive| &archive.stack).find(|of| !looked_at.contains(*of));
        let Some(next) = next.filter(|_| looked_at.len() <= MOST_STACKS).cloned() else {
            return Err(full);
        };
        clear(app, &mut kept, &next).await?;
        looked_at.insert(next);
    }
}

/// Removes what no preview of a stack needs any more. What cannot be removed is kept for the next.
async fn clear(app: &App, kept: &mut Vec<Archive>, stack: &StackId) -> Answer<()> {
    let of_stack: Vec<&Archive> = kept.iter().filter(|archive| archive.stack == *stack).collect();
    let Some(oldest) = of_stack.first() else { return Ok(()) };
    let previews = Previews::since(app, stack, oldest.written_at).await?;
    let now = app.clock.now();
    let unneeded = of_stack.into_iter().filter(|archive| !previews.need(archive, now));
    let unneeded: Vec<String> =
        unneeded.take(MOST_REMOVED).map(|archive| archive.key.clone()).collect();
    let removed: BTreeSet<String> = stream::iter(unneeded)
        .map(|key| async move {
            match app.objects.delete(&key).await {
                Ok(()) => Some(key),
                Err(error) => {
                    tracing::warn!(%error, "an upload that is not needed was not removed");
                    None
                }
            }
        })
        .buffer_unordered(REMOVED_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    kept.retain(|archive| !removed.contains(&archive.key));
    Ok(())
}

/// A stack's previews of uploaded code.
struct Previews {
    runs: Vec<Run>,
    /// All that were made since then are among them.
    since: Timestamp,
}

impl Previews {
    /// Those that were made since then, as far back as runs are looked through.
    async fn since(app: &App, stack: &StackId, since: Timestamp) -> Answer<Self> {
        let partition = keys::stack_partition(stack);
        let (mut runs, mut looked_at, mut after) = (Vec::new(), 0, None::<String>);
        loop {
            let page =
                app.store.query::<RunEntry>(&partition, RUNS, after.as_deref(), true, RUNS_AT_ONCE);
            let page = page.await?;
            let entries = page.items.iter().map(|entry| &entry.value);
            let wanted: Vec<Key> = entries
                .filter(|entry| entry.run_type == RunType::Proposed)
                .map(|entry| keys::run(&entry.run))
                .collect();
            let found = app.store.get_many::<Run>(&wanted).await?;
            runs.extend(found.into_iter().map(|run| run.value).filter(|run| run.upload.is_some()));
            looked_at += page.items.len();
            let reached = page.items.last().map(|entry| entry.value.created_at);
            let Some(reached) = reached.filter(|at| *at >= since && page.next.is_some()) else {
                return Ok(Self { runs, since });
            };
            if looked_at >= MOST_RUNS {
                return Ok(Self { runs, since: reached });
            }
            after = page.next;
        }
    }

    /// One of them executes the archive or will, or may still be started with it.
    fn need(&self, archive: &Archive, now: Timestamp) -> bool {
        // Storage that signs addresses takes what nothing is started with.
        if archive.size > LARGEST as u64 {
            return false;
        }
        let executes =
            |run: &&Run| run.upload.as_ref().is_some_and(|upload| upload.digest == archive.digest);
        let of_it: Vec<&Run> = self.runs.iter().filter(executes).collect();
        let is_started = of_it.iter().any(|run| run.created_at >= archive.written_at);
        let is_new = now.duration_since(archive.written_at) < UNSTARTED;
        // What is older than what was looked through may have a preview that nobody saw.
        (is_new && !is_started)
            || archive.written_at < self.since
            || of_it.iter().any(|run| !run.state.is_final())
    }
}
