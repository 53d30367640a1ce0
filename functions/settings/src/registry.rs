//! The module registry protocol, so that Terraform and OpenTofu find modules by their address:
//! `source = "<host>/<namespace>/<name>/<provider>"`.
//! <https://developer.hashicorp.com/terraform/internals/module-registry-protocol>
//!
//! Whoever has a key of this installation may read it, a person what they see of it, and every run all
//! of it, with a token of its own.

use crate::{
    access::{self, About, Caller},
    app::App,
    form::Params,
    refusal::{Answer, Refusal},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use gantry_domain::{RunId, StackId, rights::Right, run::Phase, stack::Stack};
use gantry_objects::keys as objects;
use gantry_secrets::{TokenFor, TokenKind};
use gantry_setup::web::{Problem, bearer};
use gantry_store::{
    Stored,
    config::RegistryEntry,
    keys,
    scheduler::{VersionRecord, VersionState},
};
use secrecy::ExposeSecret as _;
use semver::Version;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long the address of an archive is good, in seconds.
const GOOD_FOR: i64 = 15 * 60;
/// The attempt that a key of an archive names: no run has it when it is executed.
const OF_ARCHIVES: u32 = 0;

/// `GET /.well-known/terraform.json`: where the registry is.
pub(crate) async fn discovery() -> Json<Value> {
    Json(json!({ "modules.v1": "/registry/v1/modules/" }))
}

/// The address of a module.
#[derive(Deserialize)]
pub(crate) struct Address {
    namespace: String,
    name: String,
    provider: String,
}

/// `GET /registry/v1/modules/{namespace}/{name}/{provider}/versions`
pub(crate) async fn versions(
    State(app): State<App>,
    headers: HeaderMap,
    Path(address): Path<Address>,
) -> Answer<Json<Value>> {
    let reader = authorize(&app, &headers).await?;
    let module = find(&app, &reader, &address).await?;
    let partition = keys::stack_partition(&module.id);
    let all = app.store.query_all::<VersionRecord>(&partition, keys::VERSIONS).await?;
    let versions: Vec<Value> = all
        .iter()
        .filter(|version| is_offered(&version.value))
        .map(|version| json!({ "version": version.value.version }))
        .collect();
    Ok(Json(json!({ "modules": [{ "versions": versions }] })))
}

/// `GET /registry/v1/modules/{namespace}/{name}/{provider}/{version}/download`: where its code is.
pub(crate) async fn download(
    State(app): State<App>,
    headers: HeaderMap,
    Path((namespace, name, provider, version)): Path<(String, String, String, String)>,
) -> Answer<Response> {
    let reader = authorize(&app, &headers).await?;
    let module = find(&app, &reader, &Address { namespace, name, provider }).await?;
    let missing = || Refusal::not_found("version");
    let number: Version = version.parse().map_err(|_| missing())?;
    let found = app.store.get::<VersionRecord>(&keys::version(&module.id, &number)).await?;
    // Who has locked a version that was yanked since still gets it.
    let record = found.map(|found| found.value).ok_or_else(missing)?;
    let digest = record.digest.filter(|_| record.state == VersionState::Active);
    let digest = digest.ok_or_else(missing)?;
    let token = app.signer.sign(&token_for(
        archive_id(&module.id, &digest),
        Some(app.clock.now().as_second() + GOOD_FOR),
    ));
    // Terraform resolves it against this very address, and checks the archive's digest itself.
    let location = format!(
        "/registry/v1/archives/{}/{digest}.tar.gz?key={}&checksum=sha256:{digest}",
        module.id,
        token.expose_secret()
    );
    let location = HeaderValue::from_str(&location).map_err(|error| Problem::internal(&error))?;
    Ok((StatusCode::NO_CONTENT, [("x-terraform-get", location)]).into_response())
}

/// What opens an archive.
#[derive(Deserialize)]
pub(crate) struct ArchiveQuery {
    #[serde(default)]
    key: String,
}

/// `GET /registry/v1/archives/{module}/{file}?key=`: the code, for a quarter of an hour.
pub(crate) async fn archive(
    State(app): State<App>,
    Path((module, file)): Path<(String, String)>,
    Params(query): Params<ArchiveQuery>,
) -> Answer<Response> {
    let missing = || Refusal::not_found("archive");
    let digest = file.strip_suffix(".tar.gz").ok_or_else(missing)?;
    let module: StackId = module.parse().map_err(|_| missing())?;
    let token = app.signer.verify(TokenKind::Registry, &query.key, app.clock.now());
    if token.is_ok_and(|token| token.run == archive_id(&module, digest)) {
        return send(&app, &objects::module(&module, digest)).await?.ok_or_else(missing);
    }
    Err(unauthorized("The URL of the archive has expired. Request it again."))
}

async fn send(app: &App, key: &str) -> Answer<Option<Response>> {
    let good_for = Duration::from_secs(60);
    if let Some(url) = app.objects.sign_read(key, good_for).await.map_err(trouble)? {
        let location = HeaderValue::from_str(&url).map_err(|error| Problem::internal(&error))?;
        let answer = (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]);
        return Ok(Some(answer.into_response()));
    }
    let Some(reading) = app.objects.read(key).await.map_err(trouble)? else { return Ok(None) };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/gzip")),
        (header::CONTENT_LENGTH, HeaderValue::from(reading.size)),
    ];
    Ok(Some((headers, Body::from_stream(reading.stream)).into_response()))
}

fn trouble(error: gantry_objects::ObjectError) -> Refusal {
    Problem::internal(&error).into()
}

fn is_offered(version: &VersionRecord) -> bool {
    version.state == VersionState::Active && version.yanked.is_none() && version.digest.is_some()
}

/// The module at an address, where the reader may know of it.
async fn find(app: &App, reader: &Reader, address: &Address) -> Answer<Stack> {
    let Address { namespace, name, provider } = address;
    let missing = || Refusal::not_found("module");
    let key = keys::registry(namespace, name, provider);
    let entry: Option<Stored<RegistryEntry>> = app.store.get(&key).await?;
    let module = access::stack_or_in_vain(app, entry.map(|entry| entry.value.module)).await?;
    let module = module.map(|module| module.value).filter(|module| module.deleted_at.is_none());
    module.filter(|module| reader.sees(module)).ok_or_else(missing)
}

/// Who reads.
enum Reader {
    /// A run, which downloads what its code names.
    Run,
    /// Somebody with a key.
    Caller(Caller),
}

impl Reader {
    fn sees(&self, module: &Stack) -> bool {
        match self {
            Self::Run => true,
            Self::Caller(caller) => caller.sees(module.project()),
        }
    }
}

/// Any key of this installation that may read, or the token of a run.
async fn authorize(app: &App, headers: &HeaderMap) -> Answer<Reader> {
    let sent = bearer(headers).unwrap_or_default();
    let token = app.signer.verify(TokenKind::Registry, sent, app.clock.now());
    // A run has been handed out once at least; what opens an archive opens nothing else.
    if token.is_ok_and(|token| token.attempt > OF_ARCHIVES) {
        return Ok(Reader::Run);
    }
    if sent.is_empty() {
        return Err(unauthorized(
            "The registry requires an access key for this installation. Set TF_TOKEN_<host> to \
             one with the role read, with every dot in the host replaced by an underscore.",
        ));
    }
    let caller = access::find_caller(app, headers).await?;
    caller.check(Right::Read, About::Installation)?;
    Ok(Reader::Caller(caller))
}

fn unauthorized(why: &str) -> Refusal {
    Problem::new(StatusCode::UNAUTHORIZED, "An access key is required", why.to_owned()).into()
}

/// What the key of an archive's address names.
fn archive_id(module: &StackId, digest: &str) -> RunId {
    RunId::derive(module, digest)
}

fn token_for(run: RunId, expires: Option<i64>) -> TokenFor {
    let kind = TokenKind::Registry;
    TokenFor { kind, run, phase: Phase::Plan, attempt: OF_ARCHIVES, expires }
}
