//! What dead runners leave: states that nobody has, ends that nobody was told, folders.
//!
//! Whoever looks after a machine (the host, a worker) looks regularly. A folder whose runner lives
//! is left alone, and so is one whose Terraform still applies: it goes on without its runner, and
//! leaves its state in the project root when it cannot deliver it. Nothing is ever applied here.

use crate::{
    Arguments,
    api::{Api, ApiError},
    job::Folders,
    log::bring_rest,
    record::{Held, Record, Stage, Taken},
    state::{self, Rescue},
};
use gantry_domain::{
    masking::Masker,
    plan::Marked,
    protocol::{BeatAnswer, Report, ReportKind, StateDoubt},
    text::NOTHING_APPLIED,
};
use gantry_engine::{
    cli_config, files,
    kept::{interrupt, is_being_written},
    workspace::WORKSPACE,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use url::Url;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a look that did not come to an end: the runner API may be away, or have refused a state.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
const AGAIN_AFTER_REFUSAL: Duration = Duration::from_secs(10 * 60);

/// Looks after the runs of one machine.
#[derive(Clone)]
pub struct Rescuer {
    work: PathBuf,
    /// Where the runner API is now; where the run said it was when none.
    api: Option<Url>,
    /// Not looked at before then.
    later: BTreeMap<PathBuf, Instant>,
    /// Those with something that nobody took.
    refused: BTreeSet<PathBuf>,
    /// A runner lived in one of them at the last look.
    is_anybody_alive: bool,
}

/// What became of a folder.
enum Seen {
    /// It is gone, or is no run's.
    Done,
    /// It belongs to a runner that lives.
    Lives,
    /// Terraform still works in it, or the runner API is away.
    Waits,
    /// A state in it is wanted by nobody, or it cannot be cleaned up.
    Refused,
}

impl Rescuer {
    /// For the runs below `work`. `api` is asked instead of the address that the run knew.
    pub fn new(work: PathBuf, api: Option<Url>) -> Self {
        Self {
            work,
            api,
            later: BTreeMap::new(),
            refused: BTreeSet::new(),
            is_anybody_alive: false,
        }
    }

    /// For the runs that a program with these settings executes.
    pub fn of(arguments: &Arguments) -> Self {
        Self::new(arguments.work(), None)
    }

    /// Looks until nobody lives and nothing is left that may still be taken: before the machine goes
    /// away. True when nothing is left at all.
    pub async fn finish(mut self) -> bool {
        while !self.look().await || self.is_anybody_alive {
            if !self.is_anybody_alive
                && self.later.keys().all(|folder| self.refused.contains(folder))
            {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Looks again and again, for ever.
    pub async fn watch(mut self) {
        loop {
            self.look().await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Looks once at each folder whose time has come. True when nothing was left behind.
    pub async fn look(&mut self) -> bool {
        let folders: Vec<PathBuf> = fs::read_dir(&self.work)
            .map(|entries| entries.flatten().map(|entry| entry.path()))
            .map(|paths| paths.filter(|path| path.is_dir()).collect())
            .unwrap_or_default();
        let now = Instant::now();
        self.later.retain(|folder, until| folders.contains(folder) && *until > now);
        let mut clean = true;
        self.is_anybody_alive = false;
        for folder in folders {
            if self.later.contains_key(&folder) {
                clean = false;
                continue;
            }
            let seen = self.visit(&folder).await.unwrap_or_else(|error| {
                tracing::error!(%error, folder = %folder.display(), "it is not cleaned up");
                Seen::Refused
            });
            self.refused.remove(&folder);
            let wait = match seen {
                Seen::Done => continue,
                Seen::Lives => {
                    self.is_anybody_alive = true;
                    continue;
                }
                Seen::Waits => AGAIN_AFTER,
                Seen::Refused => {
                    self.refused.insert(folder.clone());
                    AGAIN_AFTER_REFUSAL
                }
            };
            clean = false;
            self.later.insert(folder, Instant::now() + wait);
        }
        clean
    }

    async fn visit(&self, folder: &Path) -> io::Result<Seen> {
        let held = match Held::take(folder)? {
            Taken::Ours(held) => held,
            Taken::Others => return Ok(Seen::Lives),
            Taken::NoRuns => return Ok(Seen::Done),
        };
        let Some(mut record) = held.read()? else {
            held.remove()?;
            return Ok(Seen::Done);
        };
        let api = self.api.as_ref().unwrap_or(&record.api);
        let api = Api::new(api, record.token.clone().into(), Duration::ZERO);
        let api = api.map_err(io::Error::other)?;
        let output = folder.join("output");
        if record.stage == Stage::Applying && is_being_written(&output)? {
            // Somebody still applies, and nobody is to take the run for lost.
            if let Ok(BeatAnswer { stop: Some(reason) }) = api.beat().await
                && interrupt(&output)?
            {
                tracing::warn!(run.id = record.run, reason, "an apply was asked to stop");
            }
            return Ok(Seen::Waits);
        }
        tracing::warn!(run.id = record.run, "the runner has died; cleaning up after it");
        let rescue = state::rescue(&api, folder, &left(folder, &record.root)).await;
        if rescue.is_unavailable {
            return Ok(Seen::Waits);
        }
        let end = end_of(&record, &rescue);
        if record.end.as_ref() != Some(&end) {
            record.end = Some(end.clone());
            record.sequence = end.sequence;
            held.write(&record)?;
        }
        if bring_rest(&api, &output, &masker(folder)).await.is_err() {
            return Ok(Seen::Waits);
        }
        match api.report(&end, None).await {
            Ok(()) | Err(ApiError::Gone) => {}
            Err(ApiError::Unavailable(_)) => return Ok(Seen::Waits),
            Err(error) => {
                tracing::error!(run.id = record.run, %error, "the end of a run was refused");
            }
        }
        if rescue.left.is_empty() {
            held.remove()?;
            return Ok(Seen::Done);
        }
        for path in rescue.left {
            tracing::error!(
                run.id = record.run, path = %path.display(),
                "no one accepts this state; it exists only here"
            );
        }
        Ok(Seen::Refused)
    }
}

/// Hides what the runner API does not know: the secrets of this machine's CLI configuration, and
/// what the plan marks as sensitive.
fn masker(folder: &Path) -> Masker {
    let in_config = cli_config::of_home(&folder.join("home"));
    let secrets = in_config.as_deref().map(cli_config::secrets).unwrap_or_default();
    let marked = fs::read(Folders::new(folder.to_owned()).marked()).ok();
    let marked = marked.and_then(|body| serde_json::from_slice(&body).ok());
    let marked: Marked = marked.unwrap_or_default();
    marked.known_to(&Masker::new(secrets.iter().map(String::as_str)))
}

/// Where states may lie, the oldest first.
pub(crate) fn left(folder: &Path, root: &str) -> Vec<PathBuf> {
    let states = fs::read_dir(folder.join(state::STATES));
    let states = states.into_iter().flatten().flatten().map(|entry| entry.path());
    let mut states: Vec<PathBuf> =
        states.filter(|path| path.extension().is_some_and(|e| e == "tfstate")).collect();
    states.sort_by_key(|path| path.metadata().and_then(|m| m.modified()).ok());
    // Its last one holds everything that those before it held.
    let newest = states.pop();
    let root = Path::new(WORKSPACE).join(root);
    let root = files::within(&folder.join("job"), &root);
    let errored = root.map(|root| root.join("errored.tfstate"));
    newest.into_iter().chain(errored).collect()
}

/// What is reported of a run whose runner has died: the end that it knew, or what can be told now.
fn end_of(record: &Record, rescue: &Rescue) -> Report {
    let kept_aside = (rescue.kept_aside > 0).then_some(StateDoubt::KeptAside);
    let not_delivered = (!rescue.left.is_empty()).then_some(StateDoubt::NotDelivered);
    let found = not_delivered.or(kept_aside);
    let sequence = record.sequence + 1;
    if let Some(end) = &record.end {
        let was_delivered = rescue.left.is_empty() && rescue.kept_aside + rescue.current > 0;
        let doubt = match end.doubt {
            Some(StateDoubt::NotDelivered) if was_delivered => kept_aside,
            doubt => doubt.or(found),
        };
        // When its plan began is not known any more: with the run itself, at the earliest.
        let planning_for = end.planning_for.map(|_| u32::MAX);
        let end = Report { planning_for, ..end.clone() };
        return match doubt == end.doubt {
            true => end,
            false => Report { sequence, doubt, ..end },
        };
    }
    if record.stage == Stage::Before {
        let summary = format!("{NOTHING_APPLIED}: the runner died");
        let what = ReportKind::Failed {
            summary,
            errors: Vec::new(),
            log_tail: Vec::new(),
            in_terraform: false,
        };
        return Report { doubt: found, ..Report::new(sequence, what) };
    }
    let summary = match found {
        Some(StateDoubt::KeptAside) => {
            "The runner died during the apply. The apply finished; its state was set aside"
        }
        Some(_) => {
            "The runner died during the apply. The apply finished; its state exists only on the \
             runner's machine"
        }
        None => "The runner died during the apply, so the result is unknown",
    };
    let doubt = Some(found.unwrap_or(StateDoubt::RunnerDied));
    Report {
        doubt,
        ..Report::new(sequence, ReportKind::Interrupted { summary: summary.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stage: Stage, end: Option<Report>) -> Record {
        Record {
            api: "http://127.0.0.1:9".parse().unwrap(),
            token: "t".to_owned(),
            run: "r".to_owned(),
            stage,
            root: String::new(),
            sequence: 3,
            end,
        }
    }

    #[test]
    fn a_run_that_applied_is_never_taken_for_one_that_did_not() {
        let none = Rescue::default();
        let aside = Rescue { kept_aside: 1, ..Rescue::default() };
        let left = Rescue { kept_aside: 1, left: vec!["x".into()], ..Rescue::default() };
        let doubt = |record: &Record, rescue: &Rescue| end_of(record, rescue).doubt;
        let applying = record(Stage::Applying, None);
        assert_eq!(doubt(&applying, &none), Some(StateDoubt::RunnerDied));
        assert_eq!(doubt(&applying, &aside), Some(StateDoubt::KeptAside));
        assert_eq!(doubt(&applying, &left), Some(StateDoubt::NotDelivered));
        let before = end_of(&record(Stage::Before, None), &none);
        assert_eq!((before.sequence, before.doubt), (4, None));
        // The end that the runner knew is told as it is.
        let end = Report::new(3, ReportKind::Applied { delta: Default::default() });
        assert_eq!(end_of(&record(Stage::Applying, Some(end.clone())), &none), end);
        // Unless what it could not deliver is delivered by now: then it is another report.
        let end = Report { doubt: Some(StateDoubt::NotDelivered), ..end };
        let known = record(Stage::Applying, Some(end.clone()));
        assert_eq!(end_of(&known, &none), end);
        assert_eq!(end_of(&known, &left), end);
        let brought = end_of(&known, &aside);
        assert_eq!((brought.sequence, brought.doubt), (4, Some(StateDoubt::KeptAside)));
        let current = Rescue { current: 1, ..Rescue::default() };
        assert_eq!(doubt(&known, &current), None);
    }
}
