//! Who is asking: tokens, and whether what they speak for still counts.

use crate::{deps::Deps, refusal::Refusal};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, StatusCode, request::Parts},
};
use gantry_domain::run::{Run, RunType};
use gantry_secrets::{Sealer, SecretName, Signer, TokenFor, TokenKind, TokenRefused};
use gantry_setup::web::bearer;
use gantry_store::{Expect, Store, StoreError, Stored, Write, keys};

pub(crate) const SUPERSEDED: &str =
    "this attempt was abandoned; the run continues without this runner";
const ENDED: &str = "the run has ended";

/// Proof that a request speaks for the attempt that counts, as the run's record had it.
/// Handlers of everything but the claim demand one.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub(crate) run: Stored<Run>,
    pub(crate) token: TokenFor,
}

impl Holder {
    /// Looks again whether the attempt still counts.
    pub(crate) async fn refresh(&mut self, store: &Store) -> Result<(), Refusal> {
        self.run = run_of(store, &self.token).await?;
        Ok(())
    }

    /// A part of a transaction that fails if the run has changed since.
    pub(crate) fn still_counts(&self) -> Write {
        let run = &self.run;
        Write::Check { key: run.key.clone(), expect: Expect::Version(run.version) }
    }

    /// Only tracked runs change anything, and tests what is their own. What a plan's own hooks do to the state counts too, but
    /// not once the plan waits for a person.
    pub(crate) fn may_change_state(&self) -> Result<(), Refusal> {
        use gantry_domain::run::RunState::Unconfirmed;
        if self.run.value.run_type == RunType::Proposed {
            return Err(Refusal::forbidden("only a deploy can change the state"));
        }
        if self.run.value.state == Unconfirmed {
            return Err(Refusal::forbidden("the plan is done and nothing has been applied yet"));
        }
        Ok(())
    }
}

impl FromRequestParts<Deps> for Holder {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, deps: &Deps) -> Result<Self, Refusal> {
        let token = deps.token(TokenKind::Run, &parts.headers).await?;
        let run = run_of(&deps.store, &token).await?;
        Ok(Self { run, token })
    }
}

/// The run that a token speaks for, if its attempt still counts. A lost run has ended, but what
/// its runner may still bring is wanted until a person unblocks the stack.
async fn run_of(store: &Store, token: &TokenFor) -> Result<Stored<Run>, Refusal> {
    let run = matching_run(store, token).await?.ok_or_else(|| Refusal::gone(SUPERSEDED))?;
    if run.value.state.is_final() && !run.value.lost {
        return Err(Refusal::gone(ENDED));
    }
    Ok(run)
}

/// The run of a token, if it is still at the token's phase and attempt.
pub(crate) async fn matching_run(
    store: &Store,
    token: &TokenFor,
) -> Result<Option<Stored<Run>>, StoreError> {
    let run = store.get::<Run>(&keys::run(&token.run)).await?;
    Ok(run.filter(|run| run.value.attempt == token.attempt && run.value.phase == token.phase))
}

impl Deps {
    /// What the request's token says, if it is a good one of `kind`.
    pub(crate) async fn token(
        &self,
        kind: TokenKind,
        headers: &HeaderMap,
    ) -> Result<TokenFor, Refusal> {
        let refuse = |text: String| Refusal::text(StatusCode::UNAUTHORIZED, text);
        let sent =
            bearer(headers).ok_or_else(|| refuse("a bearer token is required".to_owned()))?;
        let signer = self.signer().await?;
        signer.verify(kind, sent, self.clock.now()).map_err(|refused| match (kind, refused) {
            // It was a runner's for longer than its phase may take: that runner stops.
            (TokenKind::Run, TokenRefused::Expired) => Refusal::gone(ENDED),
            _ => refuse(refused.to_string()),
        })
    }

    /// What opens the secrets of stacks; none where there never was one.
    pub(crate) async fn sealer(&self) -> Result<Option<Sealer>, Refusal> {
        let key = self.secrets.get(SecretName::SealingKey).await?;
        Ok(key.map(|key| Sealer::new(&key)))
    }

    pub(crate) async fn signer(&self) -> Result<Signer, Refusal> {
        let keys = self.secrets.get(SecretName::SigningKeys).await?;
        keys.map(|keys| Signer::new(&keys)).ok_or_else(|| {
            tracing::error!("the secret {} is missing", SecretName::SigningKeys.as_str());
            Refusal::Trouble
        })
    }
}
