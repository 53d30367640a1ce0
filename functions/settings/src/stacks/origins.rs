//! Who brought what is in a state: its version is compared with those before it that were current.

use super::contents::{Turn, apart};
use crate::{app::App, refusal::Answer};
use gantry_domain::{
    RunId,
    run::Run,
    stack::Stack,
    state::{self, Instance, Origins},
};
use gantry_store::{keys, runner::StateVersion};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashMap;

/// Versions that are compared, and their bytes besides those of the one that is shown.
const COMPARED: usize = 20;
const COMPARED_BYTES: u64 = 64_000_000;
/// Records of versions that are looked at: a run writes several while it applies.
const RECORDS: i32 = 100;

/// Who wrote a version of a state.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct StateWriter {
    /// The run; null if somebody imported or restored it.
    pub(crate) run: Option<RunId>,
    /// The run as people call it (`network #6`), or the name of an access key.
    pub(crate) by: String,
    /// The number of the version.
    pub(crate) version: u64,
    pub(crate) at: Timestamp,
}

/// Where the instances of a version come from, by the versions before it that were current; and the
/// versions that were compared.
pub(super) async fn origins(
    app: &App,
    stack: &Stack,
    version: &StateVersion,
    instances: Vec<Instance>,
    turn: &Turn,
) -> Answer<(Origins, Vec<StateVersion>)> {
    let partition = keys::state_partition(&stack.id);
    let after = keys::state_version(&stack.id, version.number).sk;
    let prefix = keys::STATE_VERSIONS;
    let store = &app.store;
    let page = store.query::<StateVersion>(&partition, prefix, Some(&after), true, RECORDS).await?;
    let mut is_begin = page.next.is_none();
    let mut versions = vec![version.clone()];
    versions.extend(page.items.into_iter().map(|item| item.value).filter(|one| !one.rescued));
    // A run's last version tells what it did.
    versions.dedup_by(|older, newer| older.run.is_some() && older.run == newer.run);
    let mut origins = Origins::of(version.number, instances);
    let mut bytes = 0;
    for (count, older) in versions.iter().enumerate().skip(1) {
        if origins.are_known() {
            break;
        }
        bytes += older.size;
        let body = match count >= COMPARED || bytes > COMPARED_BYTES {
            true => None,
            false => app.objects.get(&older.object).await?,
        };
        let read = match body {
            Some(body) => apart(turn, move || state::instances(&body)).await?,
            None => None,
        };
        let Some(before) = read.filter(|_| older.form.is_plain()) else {
            is_begin = false;
            break;
        };
        origins.compare(older.number, &before);
    }
    if is_begin {
        origins.end();
    }
    versions.retain(|one| one.number >= origins.oldest());
    Ok((origins, versions))
}

/// Who wrote the versions, by their numbers.
pub(super) async fn writers(
    app: &App,
    versions: &[StateVersion],
) -> Answer<HashMap<u64, StateWriter>> {
    let mut runs: Vec<_> = versions.iter().filter_map(|version| version.run.as_ref()).collect();
    runs.sort_unstable();
    runs.dedup();
    let wanted: Vec<_> = runs.into_iter().map(keys::run).collect();
    let runs = app.store.get_many::<Run>(&wanted).await?;
    let writer = |version: &StateVersion| {
        let run =
            runs.iter().map(|run| &run.value).find(|run| version.run.as_ref() == Some(&run.id));
        let writer = StateWriter {
            run: run.map(|run| run.id.clone()),
            by: run.map_or(version.by.clone(), |run| format!("{} #{}", run.slug, run.number)),
            version: version.number,
            at: version.at,
        };
        (version.number, writer)
    };
    Ok(versions.iter().map(writer).collect())
}
