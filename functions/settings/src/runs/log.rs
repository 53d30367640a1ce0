//! A run's log: masked text, piece by piece, as runners sent it.

use crate::{app::App, cursor, form::Params, refusal::Answer, runs};
use axum::{
    Json,
    extract::{Path, State},
    response::IntoResponse,
};
use gantry_domain::{RunId, run::Phase};
use gantry_store::{keys, runner::LogPiece};
use serde::{Deserialize, Serialize};

/// Bytes of text after which an answer ends: Lambda answers at most 6 MB, and JSON makes some
/// characters longer.
const ENOUGH: usize = 1024 * 1024;

/// Where to go on.
#[derive(Deserialize)]
pub(crate) struct LogQuery {
    after: Option<String>,
}

#[derive(Serialize)]
struct LogPart {
    pieces: Vec<Piece>,
    /// The `after` of the next request: there may be more later.
    next: Option<String>,
    /// More is there already.
    more: bool,
    /// The run has ended: nothing comes after what is there.
    ended: bool,
}

#[derive(Serialize)]
struct Piece {
    phase: Phase,
    attempt: u32,
    /// Bytes of this attempt's log before it.
    offset: u64,
    text: String,
}

/// `GET /api/v1/runs/{id}/log?after=`
pub(crate) async fn log(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(query): Params<LogQuery>,
) -> Answer<impl IntoResponse> {
    let run = runs::find(&app, &id).await?;
    let mut after = query.after.as_deref().map(|at| cursor::to_key(at, "after")).transpose()?;
    let partition = keys::log_partition(&run.id);
    let mut pieces = Vec::new();
    let mut size = 0;
    let more = loop {
        let page = app.store.query::<LogPiece>(&partition, "", after.as_deref(), false, 50).await?;
        for piece in page.items {
            size += piece.value.text.len();
            after = Some(piece.key.sk);
            let LogPiece { phase, attempt, offset, text } = piece.value;
            pieces.push(Piece { phase, attempt, offset, text });
            if size >= ENOUGH {
                break;
            }
        }
        if size >= ENOUGH {
            break true;
        }
        if page.next.is_none() {
            break false;
        }
    };
    let next = after.as_deref().map(cursor::from_key);
    Ok(Json(LogPart { pieces, next, more, ended: run.state.is_final() }))
}

/// The last `lines` lines of a run's log.
pub(crate) async fn tail(app: &App, run: &RunId, lines: usize) -> Answer<Vec<String>> {
    let partition = keys::log_partition(run);
    let mut page = app.store.query::<LogPiece>(&partition, "", None, true, 40).await?;
    page.items.reverse();
    let text: String = page.items.into_iter().map(|piece| piece.value.text).collect();
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].iter().map(|&line| line.to_owned()).collect())
}
