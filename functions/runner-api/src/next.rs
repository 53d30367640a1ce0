//! What a worker of a pool can take now.

use crate::{Deps, Refusal};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use gantry_domain::{
    protocol::NextAnswer,
    run::{Run, RunState},
    stack::Pool,
};
use gantry_secrets::{TokenFor, TokenKind};
use gantry_setup::web::bearer;
use gantry_store::{config::Role, keys, runner::Claim, scheduler::RoomEntry};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;

/// How long a worker may take from its answer to its claim.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(5);

/// `POST next`: a claim token for a run of the worker's pool that nobody has claimed, the oldest
/// place first; 204 when there is none. Two workers can get the same one: the second one's claim is
/// refused, and it asks again.
pub(crate) async fn next(
    State(deps): State<Deps>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let pool = pool_of(&deps, &headers).await?;
    let mut places = deps.store.query_all::<RoomEntry>(keys::ROOM, "").await?;
    places.retain(|place| place.value.taken && place.value.pool.as_ref() == Some(&pool));
    places.sort_by_key(|place| place.value.at);
    for place in places {
        let Some(run) = deps.store.get::<Run>(&keys::run(&place.value.run)).await? else {
            continue;
        };
        let run = run.value;
        let waits = matches!(run.state, RunState::Preparing | RunState::Confirmed);
        if !waits || run.pool.as_ref() != Some(&pool) {
            continue;
        }
        if deps.store.get::<Claim>(&keys::claim(&run.id, run.attempt)).await?.is_some() {
            continue;
        }
        let token = deps.signer().await?.sign(&TokenFor {
            kind: TokenKind::Claim,
            run: run.id.clone(),
            phase: run.phase,
            attempt: run.attempt,
            expires: Some((deps.clock.now() + GOOD_FOR).as_second()),
        });
        let claim_token = token.expose_secret().to_owned();
        return Ok(Json(NextAnswer { run: run.id, claim_token }).into_response());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The pool of the worker's key.
async fn pool_of(deps: &Deps, headers: &HeaderMap) -> Result<Pool, Refusal> {
    let refused = || {
        let text = "a worker's key is needed: an admin makes one with the role worker and a pool";
        Refusal::text(StatusCode::UNAUTHORIZED, text.to_owned())
    };
    let secret = bearer(headers).ok_or_else(refused)?;
    let key = deps.store.admin_key(secret).await?.ok_or_else(refused)?;
    key.pool.filter(|_| key.role == Role::Worker).ok_or_else(refused)
}
