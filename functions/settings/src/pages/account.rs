//! Your account: a person's own sessions and keys. Making a key leads to GitLab and back, because it
//! gets a token of its own there.

use super::{
    fields::Fields,
    forms::FormView,
    go_to, respond,
    session::{cookie, viewer},
    sessions::Row,
    shell::{self, Frame, Shell},
    show::{Moment, short},
    sign_in::ON_THE_WAY,
};
use crate::{
    access::{Caller, Holder},
    app::App,
    people::{self, MadeKey, Whose},
    refusal::{Answer, Done, Refusal},
};
use askama::Template;
use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use secrecy::ExposeSecret as _;
use serde_json::Map;

#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    shell: Shell,
    /// None: an access key of the installation was used to sign in.
    username: Option<String>,
    sessions: Vec<Row>,
    keys: Vec<Row>,
    /// There are more than the one that is used.
    has_others: bool,
    form: FormView,
    made: Option<Made>,
}

/// The key that was just made: this is the only time that it is shown.
struct Made {
    name: String,
    key: String,
    ends: Moment,
}

/// The last step before a key is made.
#[derive(Template)]
#[template(path = "account_key.html")]
struct ToGitlab {
    shell: Shell,
    name: String,
    username: String,
    /// GitLab's page that asks whether they want it.
    url: String,
}

/// `GET /account`
pub(crate) async fn show(State(app): State<App>, frame: Frame) -> Answer<Response> {
    let form = FormView::of(Map::from_iter([("days".to_owned(), "90".into())]));
    draw(&app, &frame, StatusCode::OK, form, None).await
}

async fn draw(
    app: &App,
    frame: &Frame,
    status: StatusCode,
    form: FormView,
    made: Option<Made>,
) -> Answer<Response> {
    let (caller, now) = (frame.caller()?, app.clock.now());
    let all = people::listed(app, caller, Whose::Own).await?;
    let (keys, sessions): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.key.is_some());
    let rows = |all: Vec<people::SessionView>| -> Vec<Row> {
        all.into_iter().map(|one| Row::of(one, now)).collect()
    };
    let page = Account {
        shell: frame.shell("account", "Your account"),
        username: username(caller),
        has_others: sessions.len() + keys.len() > 1,
        sessions: rows(sessions),
        keys: rows(keys),
        form,
        made,
    };
    Ok(respond(status, &page))
}

fn username(caller: &Caller) -> Option<String> {
    match &caller.holder {
        Holder::Person(someone) => Some(someone.person.username.clone()),
        Holder::Key(_) => None,
    }
}

/// `POST /account/keys`
pub(crate) async fn begin_key(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let mut values = Map::new();
    for name in ["name", "days"] {
        values.insert(name.to_owned(), fields.value(name));
    }
    let set_out = match people::set_out_for_key(&app, &caller, values.clone()).await {
        Ok(set_out) => set_out,
        Err(refusal) if refusal.errors().is_empty() => return Err(refusal),
        Err(refusal) => {
            let form = FormView::refused(values, &refusal);
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let mut response = draw(&app, &frame, status, form, None).await?;
            response.extensions_mut().insert(Done::new(refusal.outcome()));
            return Ok(response);
        }
    };
    // A link leads there, and no form: what a form is answered with may lead to this site alone.
    let page = ToGitlab {
        shell: frame.shell("account", "One more step"),
        name: short(fields.text("name").trim(), 64),
        username: username(&caller).unwrap_or_default(),
        url: set_out.url.into(),
    };
    let mut response = respond(StatusCode::OK, &page);
    let cookie = cookie(&app, ON_THE_WAY, &set_out.kept, people::ON_THE_WAY.as_secs());
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response.extensions_mut().insert(Done::new("GitLab is asked first"));
    Ok(response)
}

/// The page with a key that was just made, for who came back from GitLab for it.
pub(super) async fn made(app: &App, frame: &Frame, headers: &HeaderMap, made: MadeKey) -> Response {
    let MadeKey { name, key, expires_at } = made;
    let words = format!("created the key {name:?}, which ends {}", expires_at.strftime("%Y-%m-%d"));
    let drawn = async {
        let frame = Frame { viewer: viewer(app, headers).await?, here: None, ..frame.clone() };
        let key = key.expose_secret().to_owned();
        let made = Made { name, key, ends: Moment::at(expires_at, app.clock.now()) };
        let form = FormView::of(Map::from_iter([("days".to_owned(), "90".into())]));
        draw(app, &frame, StatusCode::CREATED, form, Some(made)).await
    };
    let drawn: Answer<Response> = Box::pin(drawn).await;
    let mut response = drawn.unwrap_or_else(|refusal: Refusal| {
        shell::refusal(&frame.root, None, refusal.into_response())
    });
    response.extensions_mut().insert(Done::new(words));
    response
}

/// `POST /account/end`
pub(crate) async fn end(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let words = match fields.has("others") {
        true => people::end_others(&app, &caller).await?.1,
        false => people::end_one(&app, &caller, Whose::Own, fields.text("session")).await?,
    };
    let to = format!("{}account?done=ended", frame.root);
    Ok((Extension(Done::new(words)), go_to(&to)).into_response())
}
