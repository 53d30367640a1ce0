//! The runner's routes to the state.

use crate::{
    deps::Deps,
    objects::{self, BodyDigest, Named, receive, send},
    refusal::Refusal,
    state::States,
    token::Holder,
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse as _, Response},
};
use gantry_domain::{
    protocol::{LockInfo, STATE_SERIAL_HEADER, StateCommit, UploadAnswer},
    run::RunType,
};

/// A state's content type.
pub(crate) const JSON: &str = "application/json";

impl Deps {
    pub(crate) fn states(&self) -> States {
        let Self { store, objects, clock, limits, .. } = self.clone();
        States::new(store, objects, clock, limits.state)
    }
}

/// `GET state`: the current version for tracked runs; for others the one they began with.
pub(crate) async fn read(State(deps): State<Deps>, holder: Holder) -> Result<Response, Refusal> {
    let run = &holder.run.value;
    let states = deps.states();
    let version = match run.run_type {
        RunType::Tracked | RunType::Test => {
            states.current(&run.state_owner()).await?.map(|current| current.value)
        }
        RunType::Proposed => states.pinned(run).await?,
    };
    let Some(version) = version else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let mut answer = send(&deps.objects, &version.object, JSON).await?.ok_or_else(|| {
        tracing::error!(object = version.object, "the body of a state is missing");
        Refusal::Trouble
    })?;
    answer.headers_mut().insert(STATE_SERIAL_HEADER, HeaderValue::from(version.serial));
    Ok(answer)
}

/// `PUT state/upload?digest=`.
pub(crate) async fn upload(
    State(deps): State<Deps>,
    holder: Holder,
    Query(named): Query<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    holder.may_change_state()?;
    let digest = BodyDigest::parse(&named.digest)?;
    let object = States::new_object(&holder.run.value.state_owner(), &digest);
    receive(&deps.objects, &object, &headers, body, &digest, deps.limits.state).await?;
    deps.states().uploads_to(&holder, &digest, object).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where a state's body goes, for `POST upload`.
pub(crate) async fn address(
    deps: &Deps,
    holder: &Holder,
    digest: &BodyDigest,
) -> Result<Json<UploadAnswer>, Refusal> {
    let object = States::new_object(&holder.run.value.state_owner(), digest);
    let answer = objects::address(deps, &object, digest).await?;
    if answer.url.is_some() {
        deps.states().uploads_to(holder, digest, object).await?;
    }
    Ok(answer)
}

/// `POST state`.
pub(crate) async fn commit(
    State(deps): State<Deps>,
    holder: Holder,
    Json(commit): Json<StateCommit>,
) -> Result<StatusCode, Refusal> {
    deps.states().commit(holder, &commit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST state/lock`.
pub(crate) async fn lock(
    State(deps): State<Deps>,
    holder: Holder,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let info = lock_info(&body)?.filter(|info| !info.id.is_empty());
    let info = info.ok_or_else(no_lock_info)?;
    // People and other runs are told who holds it, in the words of whoever took it.
    let wall = deps.wall(&holder).await?;
    if wall.mask(&info.id) != info.id {
        // It must stay as it is, to be given back by.
        let why = "the lock's id contains a secret of the stack; the tool itself would use a UUID";
        return Err(Refusal::text(StatusCode::BAD_REQUEST, why));
    }
    let info = LockInfo {
        operation: wall.mask(&info.operation),
        info: wall.mask(&info.info),
        who: wall.mask(&info.who),
        version: wall.mask(&info.version),
        created: wall.mask(&info.created),
        path: wall.mask(&info.path),
        id: info.id,
    };
    deps.states().lock(holder, &info).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE state/lock`. Terraform sends the lock's information; `force-unlock` sends its id.
pub(crate) async fn unlock(
    State(deps): State<Deps>,
    holder: Holder,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let info = lock_info(&body)?;
    let id = info.as_ref().map(|info| info.id.as_str()).filter(|id| !id.is_empty());
    deps.states().unlock(&holder, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Terraform sends JSON without saying so.
fn lock_info(body: &[u8]) -> Result<Option<LockInfo>, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(body).map(Some).map_err(|_| no_lock_info())
}

fn no_lock_info() -> Refusal {
    Refusal::text(
        StatusCode::BAD_REQUEST,
        "the body is not the lock information that Terraform and OpenTofu send",
    )
}
