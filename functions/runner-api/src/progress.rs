//! What runners say while they work, besides the log: signs of life, reports.

use crate::{deps::Deps, log, refusal::Refusal, token::Holder, wall};
use axum::{Json, extract::State, http::StatusCode};
use gantry_domain::{
    plan::Warning,
    protocol::{BeatAnswer, LeftBehind, Report, ReportKind},
    run::{Phase, RunType},
};
use gantry_objects::keys as objects;
use gantry_queue::StackMessage;
use gantry_store::{Expect, Write, keys, runner::Beat};

/// Limits of a report, which travels in a message of at most 256 KiB.
const LONGEST_TEXT: usize = 3_000;
const MOST_ERRORS: usize = 10;
const MOST_LINES: usize = 30;
const LONGEST_LINE: usize = 1_000;
const MOST_LEFT: usize = 50;
const MOST_WARNINGS: usize = 20;

/// `GET alive`: signs of life are taken.
pub(crate) async fn alive(State(deps): State<Deps>) -> Result<StatusCode, Refusal> {
    deps.signer().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST beat`.
pub(crate) async fn beat(
    State(deps): State<Deps>,
    holder: Holder,
) -> Result<Json<BeatAnswer>, Refusal> {
    let now = deps.clock.now();
    let beat = Beat { attempt: holder.token.attempt, at: now };
    let write = Write::put(keys::beat(&holder.token.run), Expect::Any, &beat)?;
    let _ = deps.store.write(vec![write.expires(log::kept_until(now))]).await?;
    Ok(Json(BeatAnswer { stop: holder.run.value.stop_asked.clone() }))
}

/// `POST report`: answered once the queue has it.
pub(crate) async fn report(
    State(deps): State<Deps>,
    holder: Holder,
    Json(report): Json<Report>,
) -> Result<StatusCode, Refusal> {
    let unprocessable = |text: &str| Refusal::text(StatusCode::UNPROCESSABLE_ENTITY, text);
    let run = &holder.run.value;
    match &report.what {
        _ if report.sequence == 0 => return Err(unprocessable("report numbers start at 1")),
        ReportKind::Applied { .. } | ReportKind::Interrupted { .. }
            if run.run_type == RunType::Proposed =>
        {
            return Err(Refusal::forbidden("a preview is never applied"));
        }
        ReportKind::Planned { .. } if run.phase != Phase::Plan => {
            return Err(Refusal::forbidden("an apply does not plan"));
        }
        // What a person is going to confirm must be there to be applied.
        ReportKind::Planned { plan_digest: Some(digest), .. }
            if !deps.objects.exists(&objects::plan(&run.id, digest)).await? =>
        {
            return Err(unprocessable("the plan was not uploaded"));
        }
        _ => {}
    }
    let last = wall::is_last(&report, run);
    let report = match deps.wall(&holder).await {
        Ok(masker) => {
            if last {
                log::end(&deps, &holder, &masker).await?;
            }
            wall::masked(report, &masker)
        }
        // The end of the run is told even so.
        Err(Refusal::Text(StatusCode::UNPROCESSABLE_ENTITY, why)) => {
            wall::without_texts(report, &why)
        }
        Err(refusal) => return Err(refusal),
    };
    let report = bounded(report);
    let (stack, id, attempt) = (run.stack.clone(), run.id.clone(), holder.token.attempt);
    deps.sender.send(StackMessage::Report { stack, run: id, attempt, report }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The report within the limits of a message.
fn bounded(report: Report) -> Report {
    let cut = |text: String, longest: usize| text.chars().take(longest).collect::<String>();
    let texts = |errors: Vec<String>| {
        errors.into_iter().take(MOST_ERRORS).map(|e| cut(e, LONGEST_TEXT)).collect()
    };
    let lines = |lines: Vec<String>| {
        let skipped = lines.len().saturating_sub(MOST_LINES);
        lines.into_iter().skip(skipped).map(|l| cut(l, LONGEST_LINE)).collect()
    };
    let what = match report.what {
        // Whose the phase is was said with the claim.
        ReportKind::Claimed { .. } => {
            ReportKind::Claimed { runner: String::new(), tells_again: false }
        }
        ReportKind::Failed { summary, errors, log_tail, in_terraform } => ReportKind::Failed {
            summary: cut(summary, 200),
            errors: texts(errors),
            log_tail: lines(log_tail),
            in_terraform,
        },
        ReportKind::ApplyFailed { summary, errors, log_tail, in_terraform } => {
            ReportKind::ApplyFailed {
                summary: cut(summary, 200),
                errors: texts(errors),
                log_tail: lines(log_tail),
                in_terraform,
            }
        }
        ReportKind::Interrupted { summary } => {
            ReportKind::Interrupted { summary: cut(summary, 200) }
        }
        ReportKind::Destroyed { left } => ReportKind::Destroyed {
            left: left
                .into_iter()
                .take(MOST_LEFT)
                .map(|LeftBehind { address, id }| LeftBehind {
                    address: cut(address, LONGEST_LINE),
                    id: id.map(|id| cut(id, LONGEST_LINE)),
                })
                .collect(),
        },
        other => other,
    };
    let warnings = report.warnings.into_iter().take(MOST_WARNINGS).map(|warning| Warning {
        summary: cut(warning.summary, LONGEST_LINE),
        place: warning.place.map(|place| cut(place, LONGEST_LINE)),
        count: warning.count,
    });
    Report { what, warnings: warnings.collect(), ..report }
}
