//! How people sign in with GitLab: what to enter there, and here.

use super::{
    fields::Fields,
    forms::FormView,
    go_to,
    kept::{Keeper, TYPE_AGAIN},
    respond,
    shell::{Frame, Shell},
    show::Moment,
};
use crate::{
    app::App,
    people::{self, SignInView},
    refusal::{Answer, Done, Refusal},
};
use askama::Template;
use axum::{
    Extension,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value, json};

#[derive(Template)]
#[template(path = "sign_in_settings.html")]
struct Page {
    shell: Shell,
    view: SignInView,
    form: FormView,
    works_since: Option<Moment>,
    /// GitLab's pages where an application is made.
    places: Vec<Place>,
    terraform: String,
}

/// Where an application can be made.
struct Place {
    whose: &'static str,
    url: Option<String>,
    way: &'static str,
}

/// What the form calls the rights.
const RIGHTS: [(&str, &str); 4] = [
    ("levels.read", "See stacks, runs and modules"),
    ("levels.preview", "Start, repeat and stop previews"),
    ("levels.deploy", "Confirm, discard, start and stop deploys, and unblock"),
    ("levels.edit", "Change and delete stacks and modules"),
];
/// What GitLab calls the levels.
pub(super) const LEVELS: [(&str, &str); 4] = [
    ("reporter", "Reporter"),
    ("developer", "Developer"),
    ("maintainer", "Maintainer"),
    ("owner", "Owner"),
];

/// `GET /gitlab/sign-in`
pub(crate) async fn show(State(app): State<App>, frame: Frame) -> Answer<Response> {
    draw(&app, &frame, StatusCode::OK, None).await
}

async fn draw(
    app: &App,
    frame: &Frame,
    status: StatusCode,
    form: Option<FormView>,
) -> Answer<Response> {
    let view = people::present(app).await?;
    let host = app.store.integration().await?.map(|known| known.value.api_host);
    let form = form.unwrap_or_else(|| FormView::of(values(&view)));
    let page = Page {
        shell: frame.shell("gitlab", "Sign in with GitLab"),
        works_since: view.works_since.map(|at| Moment::at(at, app.clock.now())),
        places: places(host.as_deref()),
        terraform: terraform(&view),
        form,
        view,
    };
    Ok(respond(status, &page))
}

fn values(view: &SignInView) -> Map<String, Value> {
    let mut values = Map::new();
    values.insert("application_id".to_owned(), json!(view.application_id));
    values.insert("admin_groups".to_owned(), json!(view.admin_groups));
    values.insert("levels".to_owned(), json!(view.levels));
    values.insert("run_links".to_owned(), json!(view.run_links));
    values
}

fn places(host: Option<&str>) -> Vec<Place> {
    let at = |path: &str| host.map(|host| format!("{host}{path}"));
    vec![
        Place {
            whose: "your own",
            url: at("/-/user_settings/applications"),
            way: "User settings → Applications. It goes when your account is blocked",
        },
        Place {
            whose: "a group's",
            url: None,
            way: "the group → Settings → Applications. It stays when people leave",
        },
        Place {
            whose: "the whole server's",
            url: at("/admin/applications/new"),
            way: "Admin area → Applications. Mark it as trusted, and nobody is asked to authorize it",
        },
    ]
}

/// The application for the provider `gitlabhq/gitlab`, as the whole server's.
fn terraform(view: &SignInView) -> String {
    let scopes: Vec<_> = view.scopes.iter().map(|scope| format!("{scope:?}")).collect();
    format!(
        "resource \"gitlab_application\" \"gantry\" {{\n  name         = \"Gantry\"\n  \
         redirect_url = {:?}\n  scopes       = [{}]\n  confidential = true\n}}\n",
        view.redirect_uri
            .as_deref()
            .unwrap_or("https://gantry.example.com/sign-in/gitlab/callback"),
        scopes.join(", ")
    )
}

/// `POST /gitlab/sign-in`
pub(crate) async fn save(
    State(app): State<App>,
    frame: Frame,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let mut values = Map::new();
    values.insert("application_id".to_owned(), fields.value("application_id"));
    values.insert("secret".to_owned(), fields.value("secret"));
    values.insert("admin_groups".to_owned(), fields.lines("admin_groups"));
    let level = |name: &str| (name.to_owned(), fields.value(&format!("levels.{name}")));
    let levels: Map<String, Value> =
        ["read", "preview", "deploy", "edit"].map(level).into_iter().collect();
    values.insert("levels".to_owned(), Value::Object(levels));
    values.insert("run_links".to_owned(), fields.has("run_links").into());
    let keeper = Keeper::of(&app, &frame, "gitlab/sign-in");
    let kept = Some(fields.text("secret.kept")).filter(|kept| !kept.is_empty());
    let kept = kept.filter(|_| fields.value("secret").is_null());
    let saved = match kept.map(|sealed| keeper.open("secret", sealed)) {
        Some(None) => Err(Refusal::field("secret", TYPE_AGAIN)),
        kept => {
            if let Some(secret) = kept.flatten() {
                values.insert("secret".to_owned(), secret.into());
            }
            people::save(&app, values.clone()).await
        }
    };
    match saved {
        Ok(()) => {
            let done = Done::new("set up signing in with GitLab");
            let to = format!("{}gitlab/sign-in?done=sign-in", frame.root);
            Ok((Extension(done), go_to(&to)).into_response())
        }
        Err(refusal) => {
            // The secret is not written into a page.
            let secret = values.remove("secret").unwrap_or_default();
            let form = FormView::refused(values, &refusal);
            let form = form.keeping(&keeper, "secret", secret.as_str().unwrap_or_default());
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let mut response = draw(&app, &frame, status, Some(form)).await?;
            response.extensions_mut().insert(Done::new(refusal.outcome()));
            Ok(response)
        }
    }
}

/// `POST /gitlab/sign-in/remove`
pub(crate) async fn remove(State(app): State<App>, frame: Frame) -> Answer<Response> {
    people::remove(&app).await?;
    let done = Done::new("ended signing in with GitLab");
    let to = format!("{}gitlab/sign-in?done=no-sign-in", frame.root);
    Ok((Extension(done), go_to(&to)).into_response())
}
