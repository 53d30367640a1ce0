//! What wants somebody's attention, of all stacks: each in a list that the scheduler keeps.

use crate::{
    access::Caller,
    app::App,
    refusal::{Answer, Refusal},
};
use gantry_domain::{
    RunId, StackId,
    stack::{Stack, StackHead},
};
use gantry_store::{Key, Stored, keys, scheduler::FailedStack};
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};

/// Entries of a list that are read: more of them count as many.
const MOST: i32 = 100;

/// Why a stack wants attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Matter {
    /// A run needs confirmation.
    Unconfirmed,
    /// Its last deploy that succeeded or failed has failed.
    Failed,
    /// Nothing is deployed until a person has looked.
    Blocked,
    /// Something of it was changed elsewhere.
    Drifted,
    /// A runner is at work for it, or about to be.
    Running,
}

/// All of them, in the order in which people read them.
pub(crate) const MATTERS: [Matter; 5] =
    [Matter::Unconfirmed, Matter::Failed, Matter::Blocked, Matter::Drifted, Matter::Running];

/// An entry of any of the lists.
#[derive(Deserialize)]
struct Entry {
    stack: StackId,
}

impl Matter {
    /// What a parameter says; none for an empty one.
    pub(crate) fn read(text: Option<&str>) -> Answer<Option<Self>> {
        let Some(word) = text.map(str::trim).filter(|word| !word.is_empty()) else {
            return Ok(None);
        };
        let known = serde_json::from_value(word.into()).ok();
        let unknown = || {
            Refusal::parameter("state", "Must be unconfirmed, failed, blocked, drifted or running")
        };
        known.map(Some).ok_or_else(unknown)
    }

    /// Its word in an address.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Unconfirmed => "unconfirmed",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Drifted => "drifted",
            Self::Running => "running",
        }
    }

    /// Whether a stack is one of them, its head says: the list keeps those that are no more. None
    /// where the list is exact.
    fn of_head(self) -> Option<fn(&StackHead) -> bool> {
        match self {
            Self::Blocked => Some(|head| head.blocked.is_some()),
            Self::Drifted => Some(|head| head.drift.as_ref().is_some_and(|drift| drift.found > 0)),
            Self::Unconfirmed | Self::Failed | Self::Running => None,
        }
    }

    fn list(self) -> &'static str {
        match self {
            Self::Unconfirmed => keys::WAITING,
            Self::Failed => keys::FAILED,
            Self::Blocked => keys::BLOCKED,
            Self::Drifted => keys::DRIFTED,
            Self::Running => keys::SLOTS,
        }
    }
}

/// The stacks, or modules, that want attention for this, and how many entries its list has of them: of
/// the first 100. Of those that the caller may see, where that is not all.
pub(crate) async fn wanting(
    app: &App,
    caller: &Caller,
    matter: Matter,
    modules: bool,
) -> Answer<(BTreeSet<StackId>, usize)> {
    let entries = entries(app, caller, matter).await?;
    let listed: BTreeSet<&StackId> = entries.iter().map(|entry| &entry.value.stack).collect();
    let configs: Vec<Key> = listed.iter().map(|stack| keys::stack_config(stack)).collect();
    let of_head = matter.of_head();
    let heads: Vec<Key> = match of_head {
        Some(_) => listed.iter().map(|stack| keys::stack_head(stack)).collect(),
        None => Vec::new(),
    };
    let (configs, heads) = tokio::try_join!(
        app.store.get_many::<Stack>(&configs),
        app.store.get_many::<StackHead>(&heads)
    )?;
    let is_still = |stack: &StackId| {
        let partition = keys::stack_partition(stack);
        of_head.is_none_or(|is_so| {
            heads.iter().any(|head| head.key.pk == partition && is_so(&head.value))
        })
    };
    let wanting: BTreeSet<StackId> = configs
        .into_iter()
        .map(|stack| stack.value)
        .filter(|stack| stack.deleted_at.is_none() && stack.module.is_some() == modules)
        .filter(|stack| caller.sees(stack.project()))
        .map(|stack| stack.id)
        .filter(is_still)
        .collect();
    let count = entries.iter().filter(|entry| wanting.contains(&entry.value.stack)).count();
    Ok((wanting, count))
}

/// The last deploys that succeeded or failed, of the stacks where they have failed.
/// Reading a thousand of them costs less than asking for each stack of a page.
pub(super) async fn failed(app: &App) -> Answer<HashMap<StackId, RunId>> {
    let all = app.store.query_all::<FailedStack>(keys::FAILED, "").await?;
    Ok(all.into_iter().map(|failed| (failed.value.stack, failed.value.run)).collect())
}

/// The entries of a list that are looked at: whoever may not see each of them may see none of the
/// first.
async fn entries(app: &App, caller: &Caller, matter: Matter) -> Answer<Vec<Stored<Entry>>> {
    Ok(match caller.sees_all() {
        true => app.store.query::<Entry>(matter.list(), "", None, false, MOST).await?.items,
        false => app.store.query_all::<Entry>(matter.list(), "").await?,
    })
}

/// How many runs need confirmation that the caller may see: at most 100.
pub(crate) async fn unconfirmed(app: &App, caller: &Caller) -> Answer<usize> {
    let entries = entries(app, caller, Matter::Unconfirmed).await?;
    if caller.sees_all() {
        return Ok(entries.len());
    }
    let listed: BTreeSet<&StackId> = entries.iter().map(|entry| &entry.value.stack).collect();
    let configs: Vec<Key> = listed.into_iter().map(keys::stack_config).collect();
    let configs = app.store.get_many::<Stack>(&configs).await?;
    let seen: BTreeSet<StackId> = configs
        .into_iter()
        .filter(|stack| caller.sees(stack.value.project()))
        .map(|stack| stack.value.id)
        .collect();
    let count = entries.iter().filter(|entry| seen.contains(&entry.value.stack)).count();
    Ok(count.min(usize::try_from(MOST).unwrap_or_default()))
}
