//! What runners say while they work: log, signs of life, reports.

use crate::{Deps, Refusal, token::Holder};
use axum::{Json, extract::State, http::StatusCode};
use gantry_domain::{
    protocol::{BeatAnswer, LogChunk, Report, ReportKind},
    run::{Phase, RunType},
};
use gantry_queue::Message;
use gantry_setup::objects::keys as objects;
use gantry_store::{
    Expect, Outcome, Stored, Write, keys,
    runner::{Beat, LogPiece},
};
use jiff::{SignedDuration, Timestamp};

/// How long logs and signs of life are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(60 * 24);
/// Of a piece's text as JSON, in bytes: an item holds at most 400 kB.
const LARGEST_PIECE: usize = 300_000;
/// A log that is longer helps nobody.
const LONGEST_LOG: u64 = 256 << 20;
/// How often a piece may change under our hands.
const TRIES: u32 = 5;
/// Limits of a report, which travels in a message of at most 256 KiB.
const LONGEST_TEXT: usize = 3_000;
const MOST_ERRORS: usize = 10;
const MOST_LINES: usize = 30;
const LONGEST_LINE: usize = 1_000;

/// `POST log`.
pub(crate) async fn log(
    State(deps): State<Deps>,
    holder: Holder,
    Json(chunk): Json<LogChunk>,
) -> Result<StatusCode, Refusal> {
    if chunk.offset.saturating_add(chunk.text.len() as u64) > LONGEST_LOG {
        let text = format!("the log is longer than {} MiB", LONGEST_LOG >> 20);
        return Err(Refusal::text(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    let expires = kept_until(deps.clock.now());
    let mut offset = chunk.offset;
    for text in pieces(&chunk.text) {
        let piece = LogPiece {
            phase: holder.token.phase,
            attempt: holder.token.attempt,
            offset,
            text: text.to_owned(),
        };
        keep(&deps, &holder, &piece, expires).await?;
        offset += text.len() as u64;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Writes a piece. One at the same offset is the same piece, maybe with less of what followed:
/// a runner sends again what it is not sure of, with what came since.
async fn keep(
    deps: &Deps,
    holder: &Holder,
    piece: &LogPiece,
    expires: Timestamp,
) -> Result<(), Refusal> {
    let key = keys::log(&holder.token.run, piece.attempt, piece.offset);
    let mut expect = Expect::Absent;
    for _ in 0..TRIES {
        let write = Write::put(key.clone(), expect, piece)?.expires(expires);
        if deps.store.write(vec![write]).await? == Outcome::Written {
            return Ok(());
        }
        let there: Option<Stored<LogPiece>> = deps.store.get(&key).await?;
        match there {
            Some(there) if there.value.text.len() >= piece.text.len() => return Ok(()),
            Some(there) => expect = there.unchanged(),
            None => expect = Expect::Absent,
        }
    }
    Err(Refusal::busy())
}

/// Cuts a text into pieces that fit an item. The same beginning is always cut at the same places.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut cost = 0;
        let end = rest
            .char_indices()
            .find(|(_, c)| {
                cost += match c {
                    '"' | '\\' => 2,
                    c if c.is_control() => 6,
                    c => c.len_utf8(),
                };
                cost > LARGEST_PIECE
            })
            .map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// `POST beat`.
pub(crate) async fn beat(
    State(deps): State<Deps>,
    holder: Holder,
) -> Result<Json<BeatAnswer>, Refusal> {
    let now = deps.clock.now();
    let beat = Beat { attempt: holder.token.attempt, at: now };
    let write = Write::put(keys::beat(&holder.token.run), Expect::Any, &beat)?;
    let _ = deps.store.write(vec![write.expires(kept_until(now))]).await?;
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
        ReportKind::Claimed { .. } => {
            return Err(unprocessable("a claim is not reported, it is made"));
        }
        _ if report.sequence == 0 => return Err(unprocessable("reports are counted from 1")),
        ReportKind::Applied { .. } | ReportKind::Interrupted { .. }
            if run.run_type == RunType::Proposed =>
        {
            return Err(Refusal::forbidden("a proposed run applies nothing"));
        }
        ReportKind::Planned { .. } if run.phase != Phase::Plan => {
            return Err(Refusal::forbidden("an apply plans nothing"));
        }
        // What a person is going to confirm must be there to be applied.
        ReportKind::Planned { plan_digest: Some(digest), .. }
            if !deps.objects.exists(&objects::plan(&run.id, digest)).await? =>
        {
            return Err(unprocessable("the plan was not uploaded"));
        }
        _ => {}
    }
    let report = Report { sequence: report.sequence, what: bounded(report.what) };
    let (stack, id, attempt) = (run.stack.clone(), run.id.clone(), holder.token.attempt);
    deps.sender.send(Message::Report { stack, run: id, attempt, report }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The report within the limits of a message.
fn bounded(what: ReportKind) -> ReportKind {
    let cut = |text: String, longest: usize| text.chars().take(longest).collect::<String>();
    match what {
        ReportKind::Failed { summary, errors, log_tail, in_terraform } => {
            let skipped = log_tail.len().saturating_sub(MOST_LINES);
            ReportKind::Failed {
                summary: cut(summary, 200),
                errors: errors
                    .into_iter()
                    .take(MOST_ERRORS)
                    .map(|e| cut(e, LONGEST_TEXT))
                    .collect(),
                log_tail: log_tail
                    .into_iter()
                    .skip(skipped)
                    .map(|l| cut(l, LONGEST_LINE))
                    .collect(),
                in_terraform,
            }
        }
        ReportKind::Interrupted { summary } => {
            ReportKind::Interrupted { summary: cut(summary, 200) }
        }
        other => other,
    }
}

fn kept_until(now: Timestamp) -> Timestamp {
    now.saturating_add(KEPT).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fit_an_item_and_lose_nothing() {
        let text = "\u{1b}[31mé\"\n".repeat(40_000);
        let cut: Vec<&str> = pieces(&text).collect();
        assert!(cut.len() > 1);
        assert_eq!(cut.concat(), text);
        for piece in &cut {
            assert!(serde_json::to_string(piece).unwrap().len() <= LARGEST_PIECE + 2);
        }
        let longer: Vec<&str> = pieces(&text[..text.len() - 10]).collect();
        assert_eq!(cut[0], longer[0], "cut at the same places");
        assert_eq!(pieces("").count(), 0);
    }
}
