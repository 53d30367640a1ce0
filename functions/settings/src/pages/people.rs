//! Keys.

use super::{
    fields::Fields,
    forms::FormView,
    go_to, respond,
    shell::{Frame, Shell},
    show::Moment,
};
use crate::{
    access::Caller,
    app::App,
    keys::{self as api, KeyView, NewKey},
    refusal::{Answer, Done},
};
use askama::Template;
use axum::{
    Extension,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::Map;

#[derive(Template)]
#[template(path = "keys.html")]
struct Keys {
    shell: Shell,
    keys: Vec<KeyRow>,
    form: FormView,
    /// The key that was just made: this is the only time that it is shown.
    made: Option<NewKey>,
}

struct KeyRow {
    id: String,
    name: String,
    role: &'static str,
    pool: String,
    made: Moment,
    /// It is the one of this session.
    own: bool,
}

async fn draw(
    app: &App,
    frame: &Frame,
    status: StatusCode,
    form: FormView,
    made: Option<NewKey>,
) -> Answer<Response> {
    let now = app.clock.now();
    let own = frame.viewer.as_ref().and_then(|viewer| viewer.caller.digest.get(..16));
    let row = |key: KeyView| KeyRow {
        own: own == Some(key.id.as_str()),
        role: key.role.as_str(),
        pool: key.pool.map(|pool| pool.to_string()).unwrap_or_default(),
        made: Moment::at(key.created_at, now),
        id: key.id,
        name: key.name,
    };
    let keys = api::listed(app).await?.into_iter().map(row).collect();
    Ok(respond(status, &Keys { shell: frame.shell("keys", "Keys"), keys, form, made }))
}

/// `GET /keys`
pub(crate) async fn keys(State(app): State<App>, frame: Frame) -> Answer<Response> {
    draw(&app, &frame, StatusCode::OK, FormView::default(), None).await
}

/// `POST /keys`
pub(crate) async fn make_key(
    State(app): State<App>,
    frame: Frame,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let mut values = Map::new();
    for name in ["name", "role", "pool"] {
        values.insert(name.to_owned(), fields.value(name));
    }
    match api::make(&app, values.clone()).await {
        Ok(made) => {
            let done = Done::new(format!("created the key {:?}", made.view.name));
            let response =
                draw(&app, &frame, StatusCode::CREATED, FormView::default(), Some(made)).await?;
            Ok((Extension(done), response).into_response())
        }
        Err(refusal) => {
            let form = FormView::refused(values, &refusal);
            let done = Done::new(refusal.outcome());
            let response = draw(&app, &frame, StatusCode::UNPROCESSABLE_ENTITY, form, None).await?;
            Ok((Extension(done), response).into_response())
        }
    }
}

/// `POST /keys/delete`
pub(crate) async fn delete_key(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let name = api::revoke(&app, &caller, fields.text("key")).await?;
    let done = Done::new(format!("deleted the key {name:?}"));
    Ok((Extension(done), go_to(&format!("{}keys?done=revoked", frame.root))).into_response())
}
