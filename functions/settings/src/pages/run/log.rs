//! A run's log: what came since, and the whole.

use super::{Query, Reader, reader};
use crate::{
    app::App,
    form::Params,
    pages::ansi,
    refusal::{Answer, Refusal},
    runs::{self, LogQuery},
};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::json;

/// `GET /runs/{id}/log?after=&key=`: what came since, as HTML that is safe to add to the page.
pub(crate) async fn log(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(key): Params<Query>,
    Params(query): Params<LogQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    may_look(&app, &id, &key, &headers).await?;
    let run = runs::find(&app, &id).await?;
    let part = runs::part(&app, &run, &query).await?;
    let raw: String = part.pieces.iter().map(|piece| piece.text.as_str()).collect();
    let answer = json!({
        "html": ansi::to_html(&raw),
        "next": part.next,
        "more": part.more,
        "ended": part.ended,
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// `GET /runs/{id}/log.txt?key=`: the whole log.
pub(crate) async fn log_text(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(key): Params<Query>,
    headers: HeaderMap,
) -> Answer<Response> {
    may_look(&app, &id, &key, &headers).await?;
    let run = runs::find(&app, &id).await?;
    let mut text = String::new();
    let mut query = LogQuery::default();
    loop {
        let part = runs::part(&app, &run, &query).await?;
        text.extend(part.pieces.iter().map(|piece| piece.text.as_str()));
        // Lambda answers at most 6 MB.
        if !part.more || text.len() > 5_000_000 {
            break;
        }
        query = LogQuery::after(part.next);
    }
    let name = format!("attachment; filename=\"{}-{}.log\"", run.slug, run.number);
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, text).into_response())
}

async fn may_look(app: &App, id: &str, query: &Query, headers: &HeaderMap) -> Answer<()> {
    match reader(app, id, query.key.as_deref(), headers).await? {
        Reader::Nobody => Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "Sign in to see this",
            "The log of a run is shown to those who are signed in, or came by a link from GitLab.",
        )),
        _ => Ok(()),
    }
}
