//! Everybody who has signed in with GitLab, with their sessions and keys, for admins.

use super::{
    fields::Fields,
    go_to, page,
    shell::{Frame, Shell},
    show::{Moment, short},
};
use crate::{
    access::Caller,
    app::App,
    people::{self, SessionView, Whose},
    refusal::{Answer, Done},
};
use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;

#[derive(Template)]
#[template(path = "people.html")]
struct Page {
    shell: Shell,
    people: Vec<PersonRow>,
}

struct PersonRow {
    id: String,
    name: String,
    username: String,
    is_admin: bool,
    sessions: Vec<Row>,
}

/// A session or a key.
pub(super) struct Row {
    pub(super) id: String,
    /// `Key laptop`, or the browser.
    pub(super) what: String,
    pub(super) address: String,
    pub(super) begun: Moment,
    pub(super) used: Moment,
    pub(super) ends: Moment,
    /// It is the one of this page.
    pub(super) is_own: bool,
}

impl Row {
    pub(super) fn of(session: SessionView, now: Timestamp) -> Self {
        Self {
            what: what(&session),
            id: session.id,
            address: session.address,
            begun: Moment::at(session.begun_at, now),
            used: Moment::at(session.last_used_at, now),
            ends: Moment::at(session.expires_at, now),
            is_own: session.current,
        }
    }
}

/// What people call it.
pub(super) fn what(session: &SessionView) -> String {
    match (&session.key, session.browser.as_str()) {
        (Some(key), _) => format!("Key {key}"),
        (None, "") => "Unknown browser".to_owned(),
        (None, browser) => short(browser, 80),
    }
}

/// `GET /people`
pub(crate) async fn show(State(app): State<App>, frame: Frame) -> Answer<Response> {
    let (caller, now) = (frame.caller()?, app.clock.now());
    let (people, mut sessions) =
        tokio::try_join!(people::everybody(&app), people::listed(&app, caller, Whose::Everybodys))?;
    let mut rows = Vec::with_capacity(people.len());
    for person in people {
        let (own, others): (Vec<_>, Vec<_>) =
            sessions.into_iter().partition(|session| session.person.id == person.id);
        sessions = others;
        rows.push(PersonRow {
            id: person.id.to_string(),
            name: person.name,
            username: person.username,
            is_admin: person.admin,
            sessions: own.into_iter().map(|session| Row::of(session, now)).collect(),
        });
    }
    Ok(page(&Page { shell: frame.shell("keys", "People"), people: rows }))
}

/// `POST /people/end`
pub(crate) async fn end(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let words = match fields.text("person") {
        "" => people::end_one(&app, &caller, Whose::Everybodys, fields.text("session")).await?,
        person => people::end_everything_of(&app, &caller, person).await?.1,
    };
    let to = format!("{}people?done=ended", frame.root);
    Ok((Extension(Done::new(words)), go_to(&to)).into_response())
}
