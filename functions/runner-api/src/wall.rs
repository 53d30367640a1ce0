//! The second wall: what leaves a run is masked here, where the run's code cannot reach, with
//! every secret of its stack. The runner masks too, but it knows only the secrets that its run
//! gets, and the run's code may reach it.

use crate::{deps::Deps, refusal::Refusal, token::Holder, variables};
use axum::http::StatusCode;
use gantry_domain::{
    RunId,
    masking::Masker,
    plan::Warning,
    protocol::{LeftBehind, Report, ReportKind},
    run::{Run, RunType},
    stack::{Retired, Stack},
};
use gantry_secrets::{TokenFor, TokenKind};
use gantry_store::Stored;
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::spawn_blocking;

/// Maskers that are kept. One takes some milliseconds to build, and pieces of log come often.
const KEPT: usize = 32;
/// Bytes of a state that is searched for secrets while a runner waits.
const LARGEST_SEARCHED: u64 = 16 << 20;

/// The maskers of the runs that said something last. Cheap to clone.
#[derive(Clone, Default)]
pub struct Walls(Arc<Mutex<Vec<Wall>>>);

struct Wall {
    run: RunId,
    attempt: u32,
    /// Of the stack's record.
    version: u64,
    masker: Masker,
}

impl Walls {
    fn find(&self, run: &Run, version: u64) -> Option<Masker> {
        let walls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_run = |w: &&Wall| (&w.run, w.attempt, w.version) == (&run.id, run.attempt, version);
        walls.iter().find(of_run).map(|wall| wall.masker.clone())
    }

    fn keep(&self, run: &Run, version: u64, masker: Masker) {
        let mut walls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        walls.retain(|wall| wall.run != run.id);
        if walls.len() >= KEPT {
            walls.remove(0);
        }
        walls.push(Wall { run: run.id.clone(), attempt: run.attempt, version, masker });
    }
}

impl Deps {
    /// What masks everything that the run says. A refusal when a secret cannot be opened: what is
    /// not known cannot be masked.
    pub(crate) async fn wall(&self, holder: &Holder) -> Result<Masker, Refusal> {
        let run = &holder.run.value;
        let stack = self.store.stack(&run.stack).await?;
        let stack = stack.ok_or_else(|| Refusal::gone("the stack no longer exists"))?;
        self.wall_of(&stack, run, &holder.token).await
    }

    /// The same before there is a [`Holder`]: `token` is the run's token.
    pub(crate) async fn wall_of(
        &self,
        stack: &Stored<Stack>,
        run: &Run,
        token: &TokenFor,
    ) -> Result<Masker, Refusal> {
        if let Some(masker) = self.walls.find(run, stack.version) {
            return Ok(masker);
        }
        let applied = match stack.value.retired.is_empty() {
            true => None,
            false => self.store.applied_run_made_at(&stack.value.id).await?,
        };
        let retired = stack.value.retired.iter();
        let (retired, replaced): (Vec<&Retired>, Vec<_>) =
            retired.partition(|retired| retired.counts(applied));
        let sealer = self.sealer().await?;
        let secrets = variables::all_secrets(&stack.value, run, &retired, sealer.as_ref());
        let mut secrets = secrets.map_err(|sealed| {
            Refusal::text(StatusCode::UNPROCESSABLE_ENTITY, sealed.to_string())
        })?;
        let replaced = variables::opened(&stack.value, &replaced, sealer.as_ref());
        secrets.extend(self.left_in_state(&stack.value, replaced).await?);
        let signer = self.signer().await?;
        let registry = TokenFor { kind: TokenKind::Registry, ..token.clone() };
        secrets.extend([signer.sign(token), signer.sign(&registry)]);
        let masker =
            off_the_runtime(move || Masker::new(secrets.iter().map(SecretString::expose_secret)))
                .await?;
        self.walls.keep(run, stack.version, masker.clone());
        Ok(masker)
    }

    /// Those of the values that the current state holds, although it was applied without them:
    /// code may tell Terraform to ignore a change. All, where nobody can look into the state.
    async fn left_in_state(
        &self,
        stack: &Stack,
        values: Vec<SecretString>,
    ) -> Result<Vec<SecretString>, Refusal> {
        // What Gantry kept before another backend did says nothing of the state of today.
        if values.is_empty() || !stack.settings.manage_state {
            return Ok(values);
        }
        let Some(version) = self.states().current(&stack.id).await? else { return Ok(values) };
        let version = version.value;
        if !version.form.is_plain() || version.size > LARGEST_SEARCHED {
            return Ok(values);
        }
        let Some(body) = self.objects.get(&version.object).await? else { return Ok(values) };
        off_the_runtime(move || {
            let state = String::from_utf8_lossy(&body);
            let holds =
                |value: &SecretString| Masker::new([value.expose_secret()]).mask(&state) != state;
            values.into_iter().filter(holds).collect()
        })
        .await
    }
}

/// Work that takes long enough to hold up others.
pub(crate) async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    spawn_blocking(work).await.map_err(|error| Refusal::trouble(&error))
}

/// A report with every secret masked. It was cut by the runner, who did not know all of them.
pub(crate) fn masked(report: Report, wall: &Masker) -> Report {
    with_texts(report, &|text| wall.mask_clipped(&text))
}

/// A report without what the run says itself, where that cannot be masked; `why` stands there.
pub(crate) fn without_texts(report: Report, why: &str) -> Report {
    with_texts(report, &|text| if text.is_empty() { text } else { why.to_owned() })
}

fn with_texts(report: Report, change: &dyn Fn(String) -> String) -> Report {
    let each = |texts: Vec<String>| texts.into_iter().map(change).collect();
    // A secret of several lines is in no line alone.
    let lines = |lines: Vec<String>| {
        let text = change(lines.join("\n"));
        text.lines().map(str::to_owned).collect()
    };
    let what = match report.what {
        ReportKind::Failed { summary, errors, log_tail, in_terraform } => ReportKind::Failed {
            summary: change(summary),
            errors: each(errors),
            log_tail: lines(log_tail),
            in_terraform,
        },
        ReportKind::ApplyFailed { summary, errors, log_tail, in_terraform } => {
            ReportKind::ApplyFailed {
                summary: change(summary),
                errors: each(errors),
                log_tail: lines(log_tail),
                in_terraform,
            }
        }
        ReportKind::Interrupted { summary } => ReportKind::Interrupted { summary: change(summary) },
        ReportKind::Claimed { runner, tells_again } => ReportKind::Claimed { runner, tells_again },
        ReportKind::Planning => ReportKind::Planning,
        ReportKind::Planned { delta, plan_digest, partial, failed_checks, tolerated } => {
            ReportKind::Planned { delta, plan_digest, partial, failed_checks, tolerated }
        }
        ReportKind::Applied { delta } => ReportKind::Applied { delta },
        ReportKind::Destroyed { left } => {
            let left = left.into_iter().map(|LeftBehind { address, id }| LeftBehind {
                address: change(address),
                id: id.map(change),
            });
            ReportKind::Destroyed { left: left.collect() }
        }
        ReportKind::Stopped => ReportKind::Stopped,
    };
    let warnings = report.warnings.into_iter().map(|Warning { summary, place, count }| Warning {
        summary: change(summary),
        place: place.map(change),
        count,
    });
    Report { what, warnings: warnings.collect(), ..report }
}

/// True when the runner says nothing any more in this attempt.
pub(crate) fn is_last(report: &Report, run: &Run) -> bool {
    match &report.what {
        ReportKind::Claimed { .. } | ReportKind::Planning | ReportKind::ApplyFailed { .. } => false,
        // Its command is still to come.
        ReportKind::Planned { .. } if run.task().is_some() => false,
        ReportKind::Planned { plan_digest, .. } => match run.run_type {
            RunType::Proposed => true,
            RunType::Tracked => plan_digest.is_none() || !run.applies_at_once(),
            RunType::Test => false,
        },
        ReportKind::Applied { .. } => run.run_type != RunType::Test,
        ReportKind::Destroyed { .. }
        | ReportKind::Failed { .. }
        | ReportKind::Stopped
        | ReportKind::Interrupted { .. } => true,
    }
}
