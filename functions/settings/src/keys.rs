//! Admin keys: named, each with a role, shown once.

use crate::{
    access::Caller,
    app::App,
    first_key,
    form::{Body, Form},
    people,
    refusal::{Answer, Done, Refusal},
    stacks::pool,
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};
use gantry_domain::stack::Pool;
use gantry_secrets::SecretName;
use gantry_store::{
    Expect, Outcome, Stored, Write,
    config::{AdminKey, Role, admin_key_digest},
    keys,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Map, Value};

/// An access key as it is listed. The key itself is shown once, when it is created.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub(crate) struct KeyView {
    /// The start of its digest.
    pub(crate) id: String,
    /// Shown next to everything that is done with it.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: Role,
    /// Worker keys only: the pool to take runs from.
    pub(crate) pool: Option<Pool>,
    /// When it was created.
    pub(crate) created_at: Timestamp,
}

/// A key that was just created.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NewKey {
    #[serde(flatten)]
    pub(crate) view: KeyView,
    /// The key itself. It is never shown again.
    pub(crate) key: String,
}

/// All access keys.
#[derive(Serialize, JsonSchema)]
pub(crate) struct KeyList {
    /// The oldest first.
    keys: Vec<KeyView>,
}

fn view(digest: &str, key: AdminKey) -> KeyView {
    let id = digest.get(..16).unwrap_or(digest).to_owned();
    KeyView { id, name: key.name, role: key.role, pool: key.pool, created_at: key.created_at }
}

async fn all(app: &App) -> Answer<Vec<Stored<AdminKey>>> {
    let mut found = app.store.query_all::<AdminKey>(keys::ADMIN_KEYS, "").await?;
    found.sort_by_key(|key| key.value.created_at);
    Ok(found)
}

/// `GET /api/v1/keys`
pub(crate) async fn list(State(app): State<App>) -> Answer<impl IntoResponse> {
    Ok(Json(KeyList { keys: listed(&app).await? }))
}

/// All keys, the oldest first.
pub(crate) async fn listed(app: &App) -> Answer<Vec<KeyView>> {
    Ok(all(app).await?.into_iter().map(|key| view(&key.key.sk, key.value)).collect())
}

/// `POST /api/v1/keys {"name", "role", "pool"?}`
pub(crate) async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Body(body): Body,
) -> Answer<impl IntoResponse> {
    people::not_with_a_key(&caller)?;
    let made = make(&app, body).await?;
    let done = Done::new(format!("created the key {:?}", made.view.name));
    Ok((StatusCode::CREATED, Extension(done), Json(made)))
}

/// Makes a key.
pub(crate) async fn make(app: &App, body: Map<String, Value>) -> Answer<NewKey> {
    let mut form = Form::new(body);
    let name = form.required_text("name", "Enter a name for the key, such as its holder's.");
    let role = form.choice::<Role>("role");
    if role.is_none() {
        form.wrong("role", "Choose a role: worker, read, deploy or admin.");
    }
    let pool = pool(&mut form);
    match role {
        Some(Role::Worker) if pool.is_none() && !form.is_wrong("pool") => {
            form.wrong("pool", "Enter the pool that the worker takes runs from.");
        }
        Some(role) if role != Role::Worker && pool.is_some() => {
            form.wrong("pool", "Only worker keys have a pool");
        }
        _ => {}
    }
    if let Some(name) = &name {
        if name.chars().count() > 64 {
            form.wrong("name", "At most 64 characters are allowed");
        }
        if all(app).await?.iter().any(|key| key.value.name == *name) {
            form.wrong("name", "Another key already has this name");
        }
    }
    form.check()?;
    let (Some(name), Some(role)) = (name, role) else {
        return Err(Refusal::field("name", "Enter a name."));
    };
    let secret = first_key::new_key();
    let digest = admin_key_digest(secret.expose_secret());
    let key = AdminKey { name, role, pool, created_at: app.clock.now() };
    let write = Write::put(keys::admin_key(&digest), Expect::Absent, &key)?;
    match app.store.write(vec![write]).await? {
        Outcome::Written => {}
        Outcome::Stale => return Err(Refusal::conflict("Try again", "The key was not created.")),
    }
    Ok(NewKey { view: view(&digest, key), key: secret.expose_secret().to_owned() })
}

/// `DELETE /api/v1/keys/{id}`: by id, by name, or by the key itself.
pub(crate) async fn delete(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(which): Path<String>,
) -> Answer<impl IntoResponse> {
    let name = revoke(&app, &caller, &which).await?;
    let done = Done::new(format!("deleted the key {name:?}"));
    Ok((StatusCode::NO_CONTENT, Extension(done)))
}

/// Ends a key, and with it every session that was begun with it. Answers its name.
pub(crate) async fn revoke(app: &App, caller: &Caller, which: &str) -> Answer<String> {
    let found = all(app).await?;
    let digest = admin_key_digest(which);
    let find = |is_it: &dyn Fn(&Stored<AdminKey>) -> bool| found.iter().find(|key| is_it(key));
    // Who sends the key itself means it, and wants it ended all the more.
    let key = find(&|key| key.key.sk == digest)
        .or_else(|| find(&|key| key.key.sk.get(..16) == Some(which)))
        .or_else(|| find(&|key| key.value.name == which))
        .ok_or_else(|| Refusal::not_found("key"))?;
    if key.key.sk == caller.digest {
        return Err(Refusal::conflict(
            "The key is in use",
            "This request uses it. Use another key with the role admin to delete it.",
        ));
    }
    // The first key is made anew from its secret whenever a program starts: so the secret goes
    // with it. What is made then is known only to those who can read the secrets.
    let first = app.secrets.get(SecretName::AdminKey).await?;
    if first.is_some_and(|secret| admin_key_digest(secret.expose_secret()) == key.key.sk) {
        app.secrets.put(SecretName::AdminKey, &first_key::new_key()).await?;
    }
    let delete = Write::Delete { key: key.key.clone(), expect: Expect::Any };
    let _gone_either_way = app.store.write(vec![delete]).await?;
    Ok(key.value.name.clone())
}
