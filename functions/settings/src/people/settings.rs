//! How people sign in with GitLab: the OAuth application, who is an admin, which level gives which
//! right.

use super::{LastProvider, callback, sessions};
use crate::{
    app::App,
    form::{Body, Form},
    refusal::{Answer, Done, Refusal},
};
use axum::{Extension, Json, extract::State, http::StatusCode, response::IntoResponse};
use gantry_domain::{GroupId, rights::Levels};
use gantry_gitlab::{ApiHost, Client};
use gantry_secrets::{open_application, seal_application};
use gantry_sign_in::{Provider, ProviderConfig, SCOPES, SignInError};
use gantry_store::{Expect, Outcome, Stored, Write, config::SignIn, keys};
use jiff::Timestamp;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc};

/// How people sign in with GitLab.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SignIn")]
pub(crate) struct SignInView {
    /// People can sign in with GitLab.
    pub(crate) offered: bool,
    /// The ID of the OAuth application in GitLab.
    pub(crate) application_id: Option<String>,
    /// The redirect URI that the application must have, exactly; null without a public URL.
    pub(crate) redirect_uri: Option<String>,
    /// The scopes that the application must have.
    pub(crate) scopes: Vec<String>,
    /// Groups whose Maintainers are admins here, by their full paths.
    pub(crate) admin_groups: Vec<String>,
    /// Which level of a stack's project gives which right.
    pub(crate) levels: Levels,
    /// The links to runs that GitLab shows, where they carry a key, open without signing in.
    pub(crate) run_links: bool,
    /// When somebody first signed in with this application. Until then, GitLab may not have its
    /// redirect URI.
    pub(crate) works_since: Option<Timestamp>,
    /// Why people cannot sign in, although it is set up.
    pub(crate) problem: Option<String>,
}

/// `GET /api/v1/sign-in`
pub(crate) async fn show_settings(State(app): State<App>) -> Answer<impl IntoResponse> {
    Ok(Json(present(&app).await?))
}

/// What is set up now.
pub(crate) async fn present(app: &App) -> Answer<SignInView> {
    let key = keys::sign_in();
    let (settings, integration) =
        tokio::try_join!(app.store.get::<SignIn>(&key), app.store.integration())?;
    let settings = settings.map(|found| found.value);
    let linked = integration.map(|found| found.value).filter(|known| known.linked);
    let problem = match (&settings, &linked) {
        (None, _) => None,
        (Some(_), None) => Some("GitLab is not connected"),
        (Some(settings), Some(linked)) if settings.generation != linked.generation => {
            Some("The application is of a server that was connected before. Enter one of this one")
        }
        (Some(_), Some(_)) if callback(app).is_none() => Some("GANTRY_PUBLIC_URL is not set"),
        (Some(_), Some(_)) => None,
    };
    Ok(SignInView {
        offered: settings.is_some() && problem.is_none(),
        application_id: settings.as_ref().map(|known| known.application.clone()),
        redirect_uri: callback(app),
        scopes: SCOPES.map(str::to_owned).to_vec(),
        admin_groups: settings.as_ref().map(|s| s.admin_groups.clone()).unwrap_or_default(),
        levels: settings.as_ref().map(|known| known.levels).unwrap_or_default(),
        run_links: settings.as_ref().is_none_or(|known| !known.run_links_off),
        works_since: settings.and_then(|known| known.works_since),
        problem: problem.map(str::to_owned),
    })
}

/// Whether the links to runs open without signing in. Where nobody signs in with GitLab, they do.
pub(crate) async fn run_links(app: &App) -> Answer<bool> {
    let settings = app.store.get::<SignIn>(&keys::sign_in()).await?;
    Ok(settings.is_none_or(|settings| !settings.value.run_links_off))
}

/// `PUT /api/v1/sign-in {"application_id", "secret"?, "admin_groups"?, "levels"?, "run_links"?}`
pub(crate) async fn save_settings(
    State(app): State<App>,
    Body(body): Body,
) -> Answer<impl IntoResponse> {
    save(&app, body).await?;
    let done = Done::new("set up signing in with GitLab");
    Ok((Extension(done), Json(present(&app).await?)))
}

/// Saves the settings, once GitLab has taken ID and secret.
pub(crate) async fn save(app: &App, body: Map<String, Value>) -> Answer<()> {
    let before = app.store.get::<SignIn>(&keys::sign_in()).await?;
    let linked = app.gitlab.linked().await?;
    let generation = linked.integration.generation;
    let redirect = callback(app).ok_or_else(|| {
        Refusal::conflict(
            "Gantry does not know its address",
            "Set GANTRY_PUBLIC_URL first: GitLab sends people back there.",
        )
    })?;
    let mut form = Form::new(body);
    let asks = "Enter the application's ID, as GitLab shows it.";
    let application = form.required_text("application_id", asks);
    let secret = form.raw_text("secret").map(|text| text.trim().to_owned());
    let secret = secret.filter(|text| !text.is_empty()).map(SecretString::from);
    let known = before.as_ref().map(|found| &found.value);
    // On another server the same paths are others' groups. The secret that is there stays, for the
    // same application of the same server.
    let of_this_server = known.filter(|known| known.generation == generation);
    let kept = of_this_server
        .filter(|known| application.as_ref() == Some(&known.application))
        .and_then(|known| open_application(&app.sealer, generation, &known.secret).ok());
    if secret.is_none() && kept.is_none() {
        form.wrong("secret", "Enter the application's secret.");
    }
    let groups = form.texts("admin_groups", MOST_GROUPS, is_group);
    let levels = levels(&mut form, known.map(|known| known.levels).unwrap_or_default());
    let run_links = form.flag("run_links");
    form.check()?;
    let missing = || Refusal::field("application_id", asks);
    let (application, secret) = application.zip(secret.or(kept)).ok_or_else(missing)?;
    let provider =
        provider_of(app, &linked.integration.api_host, &application, &secret, &redirect)?;
    provider.check().await.map_err(wrong)?;
    let same = of_this_server.is_some_and(|known| known.application == application);
    let groups_before = || of_this_server.map(|known| known.admin_groups.clone());
    let admin_groups = groups.or_else(groups_before).unwrap_or_default();
    let settings = SignIn {
        secret: seal_application(&app.sealer, generation, &secret)?,
        application,
        generation,
        admin_group_ids: group_ids(&linked.client, of_this_server, &admin_groups).await?,
        admin_groups,
        levels,
        run_links_off: run_links
            .map_or_else(|| known.is_some_and(|known| known.run_links_off), |links| !links),
        saved_at: app.clock.now(),
        works_since: known.filter(|_| same).and_then(|known| known.works_since),
    };
    put(app, before.as_ref(), &settings).await
}

/// The most groups whose Maintainers are admins: each is asked for, for each person.
const MOST_GROUPS: usize = 10;

/// A group's full path, or what is wrong with it.
fn is_group(text: &str) -> Result<String, String> {
    let text = text.trim().trim_matches('/');
    let good = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    match text.split('/').all(good) {
        true => Ok(text.to_owned()),
        false => Err("Must be a group's full path, such as acme/platform".to_owned()),
    }
}

/// GitLab's IDs of the groups. Those that are known stay: whoever gets the path of such a group later
/// gets nothing with it. What Gantry's user does not see is remembered with the first admin.
async fn group_ids(
    client: &Client,
    before: Option<&SignIn>,
    groups: &[String],
) -> Answer<BTreeMap<String, GroupId>> {
    let mut ids = BTreeMap::new();
    for path in groups {
        let id = match before.and_then(|before| before.admin_group_ids.get(path)) {
            Some(id) => Some(*id),
            None => client.group_by_path(path).await?.map(|group| group.id),
        };
        ids.extend(id.map(|id| (path.clone(), id)));
    }
    Ok(ids)
}

/// Remembers which group is meant by a path, once somebody is an admin by it.
pub(super) async fn remember_group(
    app: &App,
    generation: u32,
    path: String,
    group: GroupId,
) -> Answer<()> {
    let Some(found) = app.store.get::<SignIn>(&keys::sign_in()).await? else { return Ok(()) };
    let mut settings = found.value.clone();
    let is_meant = settings.generation == generation
        && settings.admin_groups.contains(&path)
        && !settings.admin_group_ids.contains_key(&path);
    if is_meant {
        settings.admin_group_ids.insert(path, group);
        // Where somebody else was first, the next reading looks again.
        let write = Write::put(keys::sign_in(), found.unchanged(), &settings)?;
        let _either_way = app.store.write(vec![write]).await?;
    }
    Ok(())
}

fn levels(form: &mut Form, before: Levels) -> Levels {
    let Some(value) = form.value("levels") else { return before };
    match serde_json::from_value::<Levels>(value) {
        Err(_) => {
            let problem = "Must have read, preview, deploy and edit, each with one of reporter, \
                           developer, maintainer, owner";
            form.wrong("levels", problem);
            before
        }
        Ok(levels) => {
            let order = [levels.read, levels.preview, levels.deploy, levels.edit];
            if !order.is_sorted() {
                let problem = "Each of read, preview, deploy and edit must need at least the level \
                               of the one before";
                form.wrong("levels", problem);
            }
            levels
        }
    }
}

/// What kept the application from being checked, as the form shows it.
fn wrong(error: SignInError) -> Refusal {
    match error {
        SignInError::WrongSecret => Refusal::field(
            "secret",
            "GitLab does not know the application with this ID and secret. Copy both again from \
             the application's page in GitLab; the application must be confidential",
        ),
        SignInError::OtherIssuer { .. } => {
            Refusal::conflict("GitLab has another address", format!("{error}."))
        }
        error => Refusal::new(
            StatusCode::BAD_GATEWAY,
            "GitLab could not check the application",
            format!("{error}. Nothing was saved."),
        ),
    }
}

/// `DELETE /api/v1/sign-in`
pub(crate) async fn remove_settings(State(app): State<App>) -> Answer<impl IntoResponse> {
    remove(&app).await?;
    Ok((StatusCode::NO_CONTENT, Extension(Done::new("people cannot sign in with GitLab any more"))))
}

/// Ends signing in with GitLab, and every session and key of a person.
pub(crate) async fn remove(app: &App) -> Answer<()> {
    // Without the settings there is none to ask.
    let provider = provider(app).await.ok().flatten();
    let delete = Write::Delete { key: keys::sign_in(), expect: Expect::Any };
    let _gone_either_way = app.store.write(vec![delete]).await?;
    sessions::end_all(app, provider.as_deref()).await
}

async fn put(app: &App, before: Option<&Stored<SignIn>>, settings: &SignIn) -> Answer<()> {
    let expect = before.map_or(Expect::Absent, Stored::unchanged);
    match app.store.write(vec![Write::put(keys::sign_in(), expect, settings)?]).await? {
        Outcome::Written => Ok(()),
        Outcome::Stale => Err(Refusal::conflict(
            "Somebody else changed it",
            "The settings were changed at the same time. Check them and try again.",
        )),
    }
}

/// Remembers that somebody came back from GitLab: it has the redirect URI.
pub(super) async fn seen_working(app: &App, settings: &SignIn) -> Answer<()> {
    if settings.works_since.is_some() {
        return Ok(());
    }
    // Read again: what was learned of this person may stand there since.
    let found = app.store.get::<SignIn>(&keys::sign_in()).await?;
    if let Some(found) = found.filter(|found| found.value.application == settings.application) {
        let works_since = Some(app.clock.now());
        let seen = SignIn { works_since, ..found.value.clone() };
        // The next person is as good.
        let write = Write::put(keys::sign_in(), found.unchanged(), &seen)?;
        let _either_way = app.store.write(vec![write]).await?;
    }
    Ok(())
}

/// The provider, where people can sign in.
pub(crate) async fn provider(app: &App) -> Answer<Option<Arc<Provider>>> {
    Ok(provider_and_settings(app).await?.map(|(_, provider)| provider))
}

/// The same with the settings that it was made from.
pub(super) async fn provider_and_settings(
    app: &App,
) -> Answer<Option<(Stored<SignIn>, Arc<Provider>)>> {
    let key = keys::sign_in();
    let (settings, integration) =
        tokio::try_join!(app.store.get::<SignIn>(&key), app.store.integration())?;
    let (Some(settings), Some(integration), Some(redirect)) =
        (settings, integration, callback(app))
    else {
        return Ok(None);
    };
    if !integration.value.linked || integration.value.generation != settings.value.generation {
        return Ok(None);
    }
    let LastProvider(last) = &app.provider;
    let mut last = last.lock().await;
    if let Some((of, at, provider)) = &*last
        && (*of, *at) == (settings.version, integration.version)
    {
        return Ok(Some((settings, Arc::clone(provider))));
    }
    let secret = open_application(&app.sealer, settings.value.generation, &settings.value.secret)?;
    let host = &integration.value.api_host;
    let made = provider_of(app, host, &settings.value.application, &secret, &redirect)?;
    let made = Arc::new(made);
    *last = Some((settings.version, integration.version, Arc::clone(&made)));
    Ok(Some((settings, made)))
}

fn provider_of(
    app: &App,
    host: &str,
    application: &str,
    secret: &SecretString,
    redirect: &str,
) -> Answer<Provider> {
    let unusable =
        |problem: String| Refusal::conflict("GitLab cannot be asked to sign people in", problem);
    let clock = app.clock.clone();
    let config = ProviderConfig {
        host: ApiHost::parse_allowing_http(host).map_err(|why| unusable(why.to_string()))?,
        application: application.to_owned(),
        secret: secret.clone(),
        redirect: redirect
            .parse()
            .map_err(|_| unusable("GANTRY_PUBLIC_URL is not a URL".to_owned()))?,
        ca_pem: app.ca_pem.clone(),
        clock: Arc::new(move || clock.now()),
    };
    Provider::new(config).map_err(|why| unusable(why.to_string()))
}
