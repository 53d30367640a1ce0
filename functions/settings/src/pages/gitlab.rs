//! The connection to GitLab: set up, looked at, replaced, unlinked.

use super::{
    fields::Fields,
    forms::FormView,
    go_to,
    kept::{Keeper, TYPE_AGAIN},
    page, respond,
    shell::{Frame, Shell},
    show::{PastTrouble, Trouble},
};
use crate::{
    access::{About, Caller},
    app::App,
    form::Params,
    integration::{self, IntegrationView},
    people,
    refusal::{Answer, Done, Refusal},
    stacks,
};
use askama::Template;
use axum::{
    Extension,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use gantry_domain::rights::Right;
use gantry_gitlab::ApiHost;
use serde::Deserialize;
use serde_json::Map;

#[derive(Template)]
#[template(path = "gitlab.html")]
struct Page {
    shell: Shell,
    view: IntegrationView,
    troubles: Vec<Trouble>,
    past: Option<PastTrouble>,
    /// The form is open: nothing is linked, or somebody asked for it.
    form: Option<FormView>,
    /// Secrets are shown because somebody asked for them.
    secrets: Option<Secrets>,
    endpoint: String,
    terraform: String,
    said: Vec<String>,
    /// Where a token is created.
    token_page: String,
    token_path: &'static str,
    has_no_stacks: bool,
    /// People can sign in with this server.
    signs_in: bool,
}

/// GitLab's page for a new token, with name and scope filled in.
const TOKEN_PAGE: &str = "/-/user_settings/personal_access_tokens?name=Gantry&scopes=api";

struct Secrets {
    secret: String,
    signing: Option<String>,
    previous_until: Option<String>,
}

#[derive(Default, Deserialize)]
pub(crate) struct Shown {
    show: Option<String>,
    replace: Option<String>,
}

/// `GET /gitlab?show=secrets&replace=`
pub(crate) async fn show(
    State(app): State<App>,
    frame: Frame,
    Params(query): Params<Shown>,
) -> Answer<Response> {
    // What is wrong there names projects.
    if !frame.caller()?.sees_all() {
        frame.caller()?.check(Right::Admin, About::Installation)?;
    }
    let shell = frame.shell("gitlab", "GitLab");
    let with_secrets = query.show.as_deref() == Some("secrets") && shell.is_admin();
    let form = query.replace.is_some().then(FormView::default);
    draw(&app, frame.caller()?, shell, StatusCode::OK, form, with_secrets, Vec::new()).await
}

async fn draw(
    app: &App,
    caller: &Caller,
    shell: Shell,
    status: StatusCode,
    form: Option<FormView>,
    with_secrets: bool,
    said: Vec<String>,
) -> Answer<Response> {
    let view = integration::present(app, with_secrets).await?;
    let host = || {
        let mut values = Map::new();
        if let Some(host) = view.api_host.clone() {
            values.insert("api_host".to_owned(), host.into());
        }
        FormView::of(values)
    };
    let form = match form {
        Some(form) if form.text("api_host").is_empty() && !form.has_errors() => Some(host()),
        Some(form) => Some(form),
        None if !view.linked => Some(host()),
        None => None,
    };
    let hook = view.webhook.clone();
    let secrets = hook.secrets.filter(|_| with_secrets).map(|secrets| Secrets {
        secret: secrets.secret,
        signing: secrets.signing_token,
        previous_until: secrets.previous_secret_until.flatten().map(|until| until.to_string()),
    });
    let (endpoint, terraform) = (hook.endpoint.unwrap_or_default(), hook.terraform);
    let now = app.clock.now();
    let troubles = view.broken.iter().map(|broken| Trouble::of(broken, now)).collect();
    let past = view.last_trouble.as_ref().map(|last| PastTrouble::of(last, now));
    let host = form.as_ref().map(|form| form.text("api_host")).unwrap_or_default();
    let host = host.parse::<ApiHost>().map(|host| host.to_string());
    let host = host.unwrap_or_else(|_| "https://gitlab.com".to_owned());
    let token_page = format!("{host}{TOKEN_PAGE}");
    let page = Page {
        signs_in: people::present(app).await?.offered,
        has_no_stacks: !said.is_empty() && stacks::none_is_there(app, caller).await?,
        shell,
        view,
        troubles,
        past,
        form,
        secrets,
        endpoint,
        terraform,
        said,
        token_page,
        token_path: TOKEN_PAGE,
    };
    Ok(respond(status, &page))
}

/// `POST /gitlab`
pub(crate) async fn connect(
    State(app): State<App>,
    frame: Frame,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let mut values = Map::new();
    for name in ["api_host", "token"] {
        values.insert(name.to_owned(), fields.value(name));
    }
    let keeper = Keeper::of(&app, &frame, "gitlab");
    let kept = Some(fields.text("token.kept")).filter(|kept| !kept.is_empty());
    let kept = kept.filter(|_| fields.value("token").is_null());
    let linked = match kept.map(|sealed| keeper.open("token", sealed)) {
        Some(None) => Err(Refusal::field("token", TYPE_AGAIN)),
        kept => {
            if let Some(token) = kept.flatten() {
                values.insert("token".to_owned(), token.into());
            }
            integration::link(&app, values.clone()).await
        }
    };
    match linked {
        Ok((known, found)) => {
            let outcome = format!("connected {} as {}", known.api_host, known.bot.username);
            let shell = frame.shell("gitlab", "GitLab");
            let mut said = vec![format!("Saved: {outcome}.")];
            said.extend(found.warnings);
            let mut response =
                draw(&app, frame.caller()?, shell, StatusCode::OK, None, false, said).await?;
            response.extensions_mut().insert(Done::new(outcome));
            Ok(response)
        }
        Err(refusal) => {
            // The token is not written into a page.
            let token = values.remove("token").unwrap_or_default();
            let form = FormView::refused(values, &refusal);
            let form = form.keeping(&keeper, "token", token.as_str().unwrap_or_default());
            let shell = frame.shell("gitlab", "GitLab");
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let mut response =
                draw(&app, frame.caller()?, shell, status, Some(form), false, Vec::new()).await?;
            response.extensions_mut().insert(Done::new(refusal.outcome()));
            Ok(response)
        }
    }
}

/// `POST /gitlab/rotate`
pub(crate) async fn rotate(
    State(app): State<App>,
    frame: Frame,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let mut body = Map::new();
    for name in ["end", "force"] {
        body.insert(name.to_owned(), fields.has(name).into());
    }
    let (answer, outcome) = integration::rotate_secret(&app, body).await?;
    let mut said = vec![format!("Done: {outcome}.")];
    said.extend(answer.still_on_previous.iter().map(|project| {
        let problem = project.problem.as_deref().unwrap_or_default();
        format!("{} still uses the old secret: {problem}", project.path)
    }));
    let page = Said {
        shell: frame.shell("gitlab", "The webhook's secret"),
        said,
        back: "gitlab?show=secrets".to_owned(),
        to: "Show the current secret".to_owned(),
    };
    let mut response = self::page(&page);
    response.extensions_mut().insert(Done::new(outcome));
    Ok(response)
}

/// `POST /gitlab/unlink`
pub(crate) async fn unlink(State(app): State<App>, frame: Frame) -> Answer<Response> {
    let unlinked = integration::end(&app).await?;
    let done = Done::new(format!("unlinked {}", unlinked.api_host));
    Ok((Extension(done), go_to(&format!("{}gitlab?done=unlinked", frame.root))).into_response())
}

/// What was done, where there is more to say than fits on the page that shows it.
#[derive(Template)]
#[template(path = "said.html")]
struct Said {
    shell: Shell,
    said: Vec<String>,
    back: String,
    to: String,
}
