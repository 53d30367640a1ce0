//! What a worker of a pool can take now, and what a runner can take that has ended its run.

use crate::{
    deps::Deps,
    refusal::Refusal,
    token::{SUPERSEDED, matching_run},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use gantry_domain::{
    RunId,
    protocol::{FurtherRequest, NextAnswer},
    run::{Run, RunState, RunType},
    stack::Pool,
};
use gantry_secrets::{TokenFor, TokenKind};
use gantry_setup::web::bearer;
use gantry_store::{
    Expect, Outcome, Stored, Write,
    config::{Pause, Role},
    keys,
    runner::{Claim, FreeRunner, HandedOn},
    scheduler::{QueueEntry, SlotEntry},
};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;

/// Runs of a pool's line that are read at once. The first is taken, as a rule.
const LOOKED_AT_ONCE: i32 = 20;
/// How long a runner may take from its answer to its claim.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(5);
/// A runner that asks for another run asks again within this time, as long as it does.
const ASKS_WITHIN: SignedDuration = SignedDuration::from_secs(3);
/// An apply that is asked to end finishes what it has begun, and its end has to be told, in seconds.
const AFTER_THE_LIMIT: u32 = 60 * 60;
/// How long what free runners left is kept: nobody reads it once its time is over.
const KEPT: SignedDuration = SignedDuration::from_mins(10);

/// `POST next`: a claim token for a run of the worker's pool that nobody has claimed, the first of
/// the pool's line; 204 when there is none, and while starts are paused. Two workers can get the same
/// one: the second one's claim is refused, and it asks again.
pub(crate) async fn next(
    State(deps): State<Deps>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let pool = pool_of(&deps, &headers).await?;
    if deps.store.get::<Pause>(&keys::pause()).await?.is_some() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (line, mut after) = (keys::queue_of(&pool), None);
    loop {
        let page = deps.store.query::<QueueEntry>(
            keys::POOL_QUEUES,
            &line,
            after.as_deref(),
            false,
            LOOKED_AT_ONCE,
        );
        let page = page.await?;
        for entry in page.items {
            let Some(run) = waiting_run(&deps, &entry.value.run).await? else { continue };
            let is_handed_out = run.pool.as_ref() == Some(&pool) && run.handed_out_at.is_some();
            let claim = keys::claim(&run.id, run.attempt);
            if is_handed_out && deps.store.get::<Claim>(&claim).await?.is_none() {
                return hand_out(&deps, &run).await;
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(StatusCode::NO_CONTENT.into_response()),
        }
    }
}

/// `POST further`: a claim token for a run that no runner was started for, with the role and the
/// type of the run that the asking runner has ended, the oldest place first; 204 while there is
/// none. Whoever of the two records it first, this or the start of a runner, gets the run.
pub(crate) async fn further(
    State(deps): State<Deps>,
    headers: HeaderMap,
    Json(request): Json<FurtherRequest>,
) -> Result<Response, Refusal> {
    let token = deps.token(TokenKind::Run, &headers).await?;
    let ended = matching_run(&deps.store, &token).await?;
    let ended = ended.ok_or_else(|| Refusal::gone(SUPERSEDED))?.value;
    // The machine of a lost run is being ended, whatever it does now.
    let is_recorded = ended.last_report >= request.last_report;
    let was_given_up = ended.lost || ended.state.is_final() && !is_recorded;
    let Some(role) = ended.role.clone().filter(|_| !was_given_up) else {
        return Err(Refusal::gone("there is nothing left for this runner"));
    };
    let now = deps.clock.now();
    let free = FreeRunner { role, run_type: ended.run_type };
    let place = keys::free_runner(now + ASKS_WITHIN, &ended.id);
    let write = Write::put(place, Expect::Any, &free)?.expires(now + KEPT);
    let _ = deps.store.write(vec![write]).await?;
    if !is_recorded || !(ended.state.is_final() || ended.state == RunState::Unconfirmed) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let to = HandedOn { to: ended.id.clone(), attempt: ended.attempt };
    for place in places(&deps).await? {
        if place.value.pool.is_some() || place.value.started > 0 {
            continue;
        }
        let Some(run) = waiting_run(&deps, &place.value.run).await? else { continue };
        let is_like = run.role.as_ref() == Some(&free.role) && run.run_type == free.run_type;
        if is_like
            && fits(&deps, &run, request.seconds_left).await?
            && take(&deps, &place, &run, &to).await?
        {
            tracing::info!(run.id = %run.id, after = %ended.id, "a run was given to a free runner");
            return hand_out(&deps, &run).await;
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The places that runs have taken, the oldest first.
async fn places(deps: &Deps) -> Result<Vec<Stored<SlotEntry>>, Refusal> {
    let mut places = deps.store.query_all::<SlotEntry>(keys::SLOTS, "").await?;
    places.retain(|place| place.value.taken);
    places.sort_by_key(|place| place.value.at);
    Ok(places)
}

/// The run, if it waits for a runner.
async fn waiting_run(deps: &Deps, run: &RunId) -> Result<Option<Run>, Refusal> {
    let run = deps.store.get::<Run>(&keys::run(run)).await?.map(|run| run.value);
    Ok(run.filter(|run| matches!(run.state, RunState::Preparing | RunState::Confirmed)))
}

/// True when the run's phase, and what follows its time limit, ends within the time.
async fn fits(deps: &Deps, run: &Run, seconds_left: u32) -> Result<bool, Refusal> {
    let Some(stack) = deps.store.stack(&run.stack).await? else { return Ok(false) };
    let limits = stack.value.settings.timeouts;
    let (plan, apply) = (limits.plan.seconds(), limits.apply.seconds());
    let changes = match run.run_type {
        RunType::Proposed => 0,
        RunType::Tracked => apply,
        // It destroys what it has applied.
        RunType::Test => apply.saturating_mul(2),
    };
    let longest = plan.saturating_add(changes).saturating_add(AFTER_THE_LIMIT);
    Ok(longest <= seconds_left)
}

/// Makes the run this runner's. The same runner, whose answer was lost, gets it again.
async fn take(
    deps: &Deps,
    place: &Stored<SlotEntry>,
    run: &Run,
    to: &HandedOn,
) -> Result<bool, Refusal> {
    let handed_on = keys::handed_on(&run.id, run.attempt);
    let writes = vec![
        Write::put(handed_on.clone(), Expect::Absent, to)?,
        Write::Check { key: place.key.clone(), expect: place.unchanged() },
    ];
    if deps.store.write(writes).await? == Outcome::Written {
        return Ok(true);
    }
    let holder = deps.store.get::<HandedOn>(&handed_on).await?;
    Ok(holder.is_some_and(|holder| holder.value == *to))
}

/// What takes the run's phase.
async fn hand_out(deps: &Deps, run: &Run) -> Result<Response, Refusal> {
    let token = deps.signer().await?.sign(&TokenFor {
        kind: TokenKind::Claim,
        run: run.id.clone(),
        phase: run.phase,
        attempt: run.attempt,
        expires: Some((deps.clock.now() + GOOD_FOR).as_second()),
    });
    let claim_token = token.expose_secret().to_owned();
    Ok(Json(NextAnswer { run: run.id.clone(), claim_token }).into_response())
}

/// The pool of the worker's key.
async fn pool_of(deps: &Deps, headers: &HeaderMap) -> Result<Pool, Refusal> {
    let refused = || {
        let text = "a worker's key is required; an admin can create one with the role worker and a \
                    pool";
        Refusal::text(StatusCode::UNAUTHORIZED, text.to_owned())
    };
    let secret = bearer(headers).ok_or_else(refused)?;
    let key = deps.store.admin_key(secret).await?.ok_or_else(refused)?;
    key.pool.filter(|_| key.role == Role::Worker).ok_or_else(refused)
}
