//! A run's log: masked text, piece by piece, as runners sent it.

use crate::{app::App, cursor, form::Params, refusal::Answer, runs};
use axum::{
    Json,
    extract::{Path, State},
    response::IntoResponse,
};
use gantry_domain::{
    RunId,
    run::{Phase, Run},
};
use gantry_store::{keys, runner::LogPiece};
use serde::{Deserialize, Serialize};

/// Bytes of text after which an answer ends: Lambda answers at most 6 MB, and JSON makes some
/// characters longer.
const ENOUGH: usize = 1024 * 1024;

/// Where to go on.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct LogQuery {
    after: Option<String>,
}

/// A part of a log.
#[derive(Serialize)]
pub(crate) struct LogPart {
    pub(crate) pieces: Vec<Piece>,
    /// The `after` of the next request: there may be more later.
    pub(crate) next: Option<String>,
    /// More is there already.
    pub(crate) more: bool,
    /// The run has ended: nothing comes after what is there.
    pub(crate) ended: bool,
}

/// What a runner sent at once.
#[derive(Serialize)]
pub(crate) struct Piece {
    phase: Phase,
    attempt: u32,
    /// Bytes of this attempt's log before it.
    offset: u64,
    pub(crate) text: String,
}

/// `GET /api/v1/runs/{id}/log?after=`
pub(crate) async fn log(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(query): Params<LogQuery>,
) -> Answer<impl IntoResponse> {
    let run = runs::find(&app, &id).await?;
    part(&app, &run, &query).await.map(Json)
}

/// A part of a run's log, from where the query says.
pub(crate) async fn part(app: &App, run: &Run, query: &LogQuery) -> Answer<LogPart> {
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
    Ok(LogPart { pieces, next, more, ended: run.state.is_final() })
}

impl LogQuery {
    /// What comes after a part.
    pub(crate) fn after(after: Option<String>) -> Self {
        Self { after }
    }
}

/// The end of a log, and where it goes on.
pub(crate) struct Tail {
    pub(crate) lines: Vec<String>,
    pub(crate) next: Option<String>,
}

/// The last `lines` lines of a run's log.
pub(crate) async fn tail(app: &App, run: &RunId, lines: usize) -> Answer<Tail> {
    let partition = keys::log_partition(run);
    let mut page = app.store.query::<LogPiece>(&partition, "", None, true, 40).await?;
    page.items.reverse();
    let next = page.items.last().map(|piece| cursor::from_key(&piece.key.sk));
    let text: String = page.items.into_iter().map(|piece| piece.value.text).collect();
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    Ok(Tail { lines: all[from..].iter().map(|&line| line.to_owned()).collect(), next })
}
