//! Room for what people upload: what no preview needs any more is removed when the next archive comes,
//! and one that would be too much is refused.
//!
//! Whoever starts a preview and whoever removes its archive write both to one record, on condition of
//! what they have read there: either the archive stays, or the start is refused.

use super::{LARGEST, MEGABYTE};
use crate::{
    app::App,
    commands::refuse,
    refusal::{Answer, Refusal},
};
use futures::{StreamExt as _, stream};
use gantry_domain::{
    StackId,
    run::{Run, RunType},
    stack::Stack,
};
use gantry_objects::{Listed, keys as objects};
use gantry_store::{
    Expect, Key, Outcome, Stored, Write, config::UploadUse, keys, scheduler::RunEntry,
};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

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
/// How long a start may take until its run is there.
const STARTING: SignedDuration = SignedDuration::from_mins(1);
/// How long a removal may take.
const REMOVAL: SignedDuration = SignedDuration::from_mins(1);
/// How long it is known what was done with an archive: longer than it counts.
const USE_KEPT: SignedDuration = SignedDuration::from_hours(2);
/// How often somebody else may have begun the same at the same time.
const MOST_TRIES: usize = 3;
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

/// Keeps an archive for the preview that is started with it now, until its run is there.
pub(super) async fn keep(app: &App, stack: &StackId, digest: &str) -> Answer<()> {
    let (key, now) = (keys::upload_use(stack, digest), app.clock.now());
    for _ in 0..MOST_TRIES {
        let known = app.store.get::<UploadUse>(&key).await?;
        let expect = known.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let is_removed = known.is_some_and(|known| {
            known.value.is_removed && now.duration_since(known.value.at) < REMOVAL
        });
        if is_removed {
            break;
        }
        let starts = UploadUse { at: now, is_removed: false };
        let write = Write::put(key.clone(), expect, &starts)?.expires(now + USE_KEPT);
        if app.store.write(vec![write]).await? == Outcome::Written {
            return Ok(());
        }
    }
    Err(refuse("The archive is being removed, because no preview needed it. Upload it again."))
}

/// An archive that nobody needs.
struct Removal {
    object: String,
    /// What is done with it, and what is known of that.
    key: Key,
    known: Expect,
}

impl Removal {
    /// Removes it, unless somebody starts a preview with it; says whether it did.
    async fn carry_out(&self, app: &App) -> Answer<bool> {
        let now = app.clock.now();
        let removes = UploadUse { at: now, is_removed: true };
        let begins = Write::put(self.key.clone(), self.known, &removes)?.expires(now + USE_KEPT);
        let ends = Write::Delete {
            key: self.key.clone(),
            expect: begins.version().map_or(Expect::Absent, Expect::Version),
        };
        if app.store.write(vec![begins]).await? == Outcome::Stale {
            return Ok(false);
        }
        app.objects.delete(&self.object).await?;
        let _or_another_removes_it_too = app.store.write(vec![ends]).await?;
        Ok(true)
    }
}

/// Removes what no preview of a stack needs any more. What cannot be removed is kept for the next.
async fn clear(app: &App, kept: &mut Vec<Archive>, stack: &StackId) -> Answer<()> {
    let of_stack: Vec<&Archive> = kept.iter().filter(|archive| archive.stack == *stack).collect();
    let Some(oldest) = of_stack.first() else { return Ok(()) };
    // Before the runs: who starts one has written there.
    let uses = app.store.query_all::<UploadUse>(&keys::upload_uses(stack), "").await?;
    let uses: BTreeMap<String, Stored<UploadUse>> =
        uses.into_iter().map(|found| (found.key.sk.clone(), found)).collect();
    let previews = Previews::since(app, stack, oldest.written_at).await?;
    let now = app.clock.now();
    let is_unneeded = |archive: &&Archive| {
        let used = uses.get(&archive.digest).map(|found| &found.value);
        !previews.need(archive, used, now)
    };
    let removal = |archive: &Archive| Removal {
        object: archive.key.clone(),
        key: keys::upload_use(stack, &archive.digest),
        known: uses.get(&archive.digest).map_or(Expect::Absent, Stored::unchanged),
    };
    let unneeded: Vec<Removal> =
        of_stack.into_iter().filter(is_unneeded).take(MOST_REMOVED).map(removal).collect();
    let removed: BTreeSet<String> = stream::iter(unneeded)
        .map(|removal| async move {
            match removal.carry_out(app).await {
                Ok(is_removed) => is_removed.then_some(removal.object),
                Err(refusal) => {
                    let why = refusal.words();
                    tracing::warn!("an upload that is not needed was not removed: {why}");
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
    fn need(&self, archive: &Archive, used: Option<&UploadUse>, now: Timestamp) -> bool {
        // Storage that signs addresses takes what nothing is started with.
        if archive.size > LARGEST as u64 {
            return false;
        }
        let executes =
            |run: &&Run| run.upload.as_ref().is_some_and(|upload| upload.digest == archive.digest);
        let of_it: Vec<&Run> = self.runs.iter().filter(executes).collect();
        // Also the start of a preview is older than its run.
        let started_at = used.filter(|used| !used.is_removed).map(|used| used.at);
        let wanted_at = started_at.map_or(archive.written_at, |at| at.max(archive.written_at));
        let is_new = now.duration_since(wanted_at) < UNSTARTED;
        // Another start of the same archive may be on its way to its own run.
        let is_starting = started_at.is_some_and(|at| now.duration_since(at) < STARTING);
        let is_started = !is_starting && of_it.iter().any(|run| run.created_at >= wanted_at);
        // What is older than what was looked through may have a preview that nobody saw.
        (is_new && !is_started)
            || archive.written_at < self.since
            || of_it.iter().any(|run| !run.state.is_final())
    }
}
