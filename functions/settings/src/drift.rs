//! How stacks are looked at for drift that say nothing else, and how many at once.

use crate::{
    app::App,
    form::{Body, Form},
    refusal::{Answer, Done},
    stacks,
};
use axum::{Extension, Json, extract::State, response::IntoResponse};
use gantry_store::{Expect, Write, config::DriftDefaults, keys};
use serde_json::{Map, Value};

/// The most looks at once: no installation has more runners to spare.
const MOST_AT_ONCE: u64 = 100;

/// `GET /api/v1/drift`
pub(crate) async fn show(State(app): State<App>) -> Answer<impl IntoResponse> {
    Ok(Json(defaults(&app).await?))
}

/// What is set, or else what is usual.
pub(crate) async fn defaults(app: &App) -> Answer<DriftDefaults> {
    let found = app.store.get::<DriftDefaults>(&keys::drift_defaults()).await?;
    Ok(found.map(|found| found.value).unwrap_or_default())
}

/// `PUT /api/v1/drift {"schedule"?, "at_most"?}`
pub(crate) async fn save(State(app): State<App>, Body(body): Body) -> Answer<impl IntoResponse> {
    let (defaults, done) = set(&app, body).await?;
    Ok((Extension(done), Json(defaults)))
}

/// Sets what a body says. The scheduler finds by itself that stacks are to be looked at at other
/// times.
pub(crate) async fn set(app: &App, body: Map<String, Value>) -> Answer<(DriftDefaults, Done)> {
    let mut form = Form::new(body);
    let schedule = form.object("schedule", stacks::schedule).flatten();
    let usual = DriftDefaults::default();
    let at_most = match form.value("at_most") {
        None => usual.at_most,
        Some(value) => match value.as_u64().filter(|number| (1..=MOST_AT_ONCE).contains(number)) {
            Some(number) => u32::try_from(number).unwrap_or(usual.at_most),
            None => {
                form.wrong("at_most", "Use a number from 1 to 100");
                usual.at_most
            }
        },
    };
    form.check()?;
    let defaults = DriftDefaults { schedule, at_most };
    let write = Write::put(keys::drift_defaults(), Expect::Any, &defaults)?;
    let _outcome = app.store.write(vec![write]).await?;
    let when = match &defaults.schedule {
        Some(schedule) => schedule.describe(),
        None => "never by themselves".to_owned(),
    };
    Ok((defaults, Done::new(format!("stacks are looked at for drift: {when}"))))
}
