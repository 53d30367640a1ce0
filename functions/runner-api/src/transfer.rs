//! Source, plan and change: what runs read before, and leave behind.

use crate::{
    deps::Deps,
    objects::{ADDRESS_GOOD_FOR, BodyDigest, Named, address, check_size, receive, send},
    refusal::Refusal,
    state_routes,
    token::Holder,
    wall::off_the_runtime,
};
use axum::{
    Json,
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use gantry_domain::source::{SourceFailed, SourceWaits};
use gantry_domain::{
    plan::Change,
    protocol::{Upload, UploadAnswer, UploadRequest},
    run::{Phase, Run, RunType},
};
use gantry_objects::keys as objects;
use gantry_queue::SourceMessage;

/// Bodies that are gzip archives.
const GZIP: &str = "application/gzip";

/// `GET source`: the archive that was uploaded, or the commit's; 202 and what is waited for while it is fetched, 422 when it cannot be
/// had.
pub(crate) async fn source(State(deps): State<Deps>, holder: Holder) -> Result<Response, Refusal> {
    let run = &holder.run.value;
    let key = source_key(run);
    if run.upload.is_some() {
        let gone = "What was uploaded is no longer stored. Upload the folder again.";
        let gone = || Refusal::text(StatusCode::UNPROCESSABLE_ENTITY, gone);
        return send(&deps.objects, &key, GZIP).await?.ok_or_else(gone);
    }
    if let Some(archive) = send(&deps.objects, &key, GZIP).await? {
        return Ok(archive);
    }
    let since = run.handed_out_at.unwrap_or(run.created_at);
    let failed =
        deps.objects.get(&objects::source_failed(run.repository.key(), &run.commit)).await?;
    if let Some(failed) = failed.and_then(|body| SourceFailed::from_json(&body))
        && failed.counts_at(since)
    {
        return Err(Refusal::text(StatusCode::UNPROCESSABLE_ENTITY, failed.reason));
    }
    // Asked for again each minute: whatever became of the earlier wish, this one is another.
    let minute = deps.clock.now().as_second() / 60;
    let cause = format!("{}.{}.{minute}", run.id, run.attempt);
    let (repository, commit) = (run.repository.clone(), run.commit.clone());
    deps.sender.send(SourceMessage::Fetch { repository, commit, cause, waits: None }).await?;
    let wait = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
    let waits = deps.objects.get(&objects::source_waits(run.repository.key())).await?;
    let waits = waits.and_then(|body| SourceWaits::from_json(&body));
    let text = SourceWaits::to_text(waits.as_ref(), deps.clock.now());
    Ok((StatusCode::ACCEPTED, wait, text).into_response())
}

/// The archive that the run executes, whether it is there or not.
fn source_key(run: &Run) -> String {
    match &run.upload {
        Some(upload) => objects::upload(&run.stack, &upload.digest),
        None => objects::source(run.repository.key(), &run.commit),
    }
}

/// Where the archive is, as a rule, for who has just claimed the run; none for an apply, which reads no
/// source, and where the storage cannot sign.
pub(crate) async fn source_address(deps: &Deps, run: &Run) -> Result<Option<String>, Refusal> {
    match run.phase {
        Phase::Plan => Ok(deps.objects.sign_read(&source_key(run), ADDRESS_GOOD_FOR).await?),
        Phase::Apply => Ok(None),
    }
}

/// `POST upload`: where a body goes.
pub(crate) async fn upload(
    State(deps): State<Deps>,
    holder: Holder,
    Json(request): Json<UploadRequest>,
) -> Result<Json<UploadAnswer>, Refusal> {
    let digest = BodyDigest::parse(&request.digest)?;
    match request.what {
        Upload::Plan => {
            may_save_plan(&holder)?;
            check_size(request.size, deps.limits.plan)?;
            let key = objects::plan(&holder.run.value.id, digest.hex());
            address(&deps, &key, &digest).await
        }
        Upload::State => {
            holder.may_change_state()?;
            check_size(request.size, deps.limits.state)?;
            state_routes::address(&deps, &holder, &digest).await
        }
    }
}

/// `PUT plan?digest=`.
pub(crate) async fn write_plan(
    State(deps): State<Deps>,
    holder: Holder,
    Query(named): Query<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    may_save_plan(&holder)?;
    let digest = BodyDigest::parse(&named.digest)?;
    let key = objects::plan(&holder.run.value.id, digest.hex());
    receive(&deps.objects, &key, &headers, body, &digest, deps.limits.plan).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET plan`: for the apply of the same run, and the plan that was shown.
pub(crate) async fn read_plan(
    State(deps): State<Deps>,
    holder: Holder,
) -> Result<Response, Refusal> {
    let run = &holder.run.value;
    if run.phase != Phase::Apply || run.run_type != RunType::Tracked {
        return Err(Refusal::forbidden("only the run's apply can read its plan"));
    }
    let missing = || Refusal::text(StatusCode::NOT_FOUND, "the run's saved plan is missing");
    let digest = run.plan_digest.as_deref().ok_or_else(missing)?;
    send(&deps.objects, &objects::plan(&run.id, digest), GZIP).await?.ok_or_else(missing)
}

/// `PUT change`. The runner masked it with the secrets that it knows.
pub(crate) async fn write_change(
    State(deps): State<Deps>,
    holder: Holder,
    Json(mut change): Json<Change>,
) -> Result<StatusCode, Refusal> {
    let wall = deps.wall(&holder).await?;
    let body = off_the_runtime(move || {
        change.hide(&wall);
        serde_json::to_vec(&change)
    });
    let body = body.await?.map_err(|error| Refusal::trouble(&error))?;
    let key = objects::change(&holder.run.value.id, holder.token.attempt);
    deps.objects.put(&key, body.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A plan file holds secrets: what nobody will apply is not kept.
fn may_save_plan(holder: &Holder) -> Result<(), Refusal> {
    let run = &holder.run.value;
    if run.phase == Phase::Plan && run.run_type == RunType::Tracked {
        return Ok(());
    }
    Err(Refusal::forbidden("only the plan of a deploy is saved"))
}
