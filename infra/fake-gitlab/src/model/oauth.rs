//! OAuth: applications, what people let them do, and the tokens that came of it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::UserId;

/// How long a code waits to be exchanged.
const CODE_LIVES: SignedDuration = SignedDuration::from_mins(10);
/// How long an access token is good, in seconds.
pub(crate) const TOKEN_LIVES: i64 = 7200;

/// An OAuth application: it signs people in, or acts for them.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its number.
    pub id: u64,
    /// What people call it.
    pub name: String,
    /// Its client id.
    pub application_id: String,
    /// Its secret, `gloas-…`.
    pub secret: String,
    /// Where people are sent back to: addresses, with blanks or line ends between them.
    pub redirect_uri: String,
    /// What it may ask for.
    pub scopes: Vec<String>,
    /// Whether it can keep its secret; one that cannot need not show it.
    pub confidential: bool,
}

/// The proof that a code is asked for with, which only whoever began the flow can answer (PKCE).
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    pub(crate) text: String,
    /// `S256`, or `plain`.
    pub(crate) hashed: bool,
}

/// What an application asks a person for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) application: Application,
    pub(crate) redirect_uri: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) state: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: Option<Challenge>,
}

/// A code, to be exchanged for tokens once.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) code: String,
    pub(crate) asked: Asked,
    pub(crate) user: UserId,
    pub(crate) created_at: Timestamp,
    pub(crate) revoked: bool,
}

impl Grant {
    pub(crate) fn is_good(&self, now: Timestamp) -> bool {
        !self.revoked && now <= self.created_at + CODE_LIVES
    }

    /// Whether a verifier answers the challenge; where there is none, nothing may answer it.
    pub(crate) fn is_answered_by(&self, verifier: Option<&str>) -> bool {
        match (&self.asked.challenge, verifier) {
            (None, None) => true,
            (Some(challenge), Some(verifier)) if challenge.hashed => {
                URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())) == challenge.text
            }
            (Some(challenge), Some(verifier)) => challenge.text == verifier,
            _ => false,
        }
    }
}

/// An access token, and the refresh token that it is replaced with.
#[derive(Clone, Debug)]
pub(crate) struct OauthToken {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    /// The number of the application.
    pub(crate) application: u64,
    pub(crate) user: UserId,
    pub(crate) scopes: Vec<String>,
    /// When the user was seen last, and not only the application.
    pub(crate) signed_in_at: Timestamp,
    pub(crate) created_at: Timestamp,
    pub(crate) revoked: bool,
}

impl OauthToken {
    pub(crate) fn expires_at(&self) -> Timestamp {
        self.created_at + SignedDuration::from_secs(TOKEN_LIVES)
    }

    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        now > self.expires_at()
    }

    pub(crate) fn is_good(&self, now: Timestamp) -> bool {
        !self.revoked && !self.is_expired(now)
    }

    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|known| known == scope)
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Oauth {
    pub(crate) applications: Vec<Application>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) tokens: Vec<OauthToken>,
    /// The number of the key that signs.
    pub(crate) signing_key: usize,
}

impl Oauth {
    pub(crate) fn application(&self, application_id: &str) -> Option<&Application> {
        self.applications.iter().find(|known| known.application_id == application_id)
    }

    /// The application that shows its secret, or that need not have one.
    pub(crate) fn client(&self, application_id: &str, secret: &str) -> Option<&Application> {
        let found = self.application(application_id)?;
        let needless = secret.is_empty() && !found.confidential;
        (needless || secret == found.secret).then_some(found)
    }

    pub(crate) fn by_access_token(&self, value: &str) -> Option<&OauthToken> {
        self.tokens.iter().find(|token| token.access_token == value)
    }

    /// The token of which this is the access token or the refresh token.
    pub(crate) fn by_either(&self, value: &str) -> Option<&OauthToken> {
        let refresh = || self.tokens.iter().find(|token| token.refresh_token == value);
        self.by_access_token(value).or_else(refresh)
    }

    /// Ends an access token together with its refresh token.
    pub(crate) fn revoke(&mut self, access_token: &str) {
        let same = |token: &&mut OauthToken| token.access_token == access_token;
        if let Some(token) = self.tokens.iter_mut().find(same) {
            token.revoked = true;
        }
    }

    /// Takes back what a user let an application do: its codes and its tokens.
    pub(crate) fn revoke_application(&mut self, application: u64, user: UserId) {
        for grant in &mut self.grants {
            grant.revoked |= grant.asked.application.id == application && grant.user == user;
        }
        for token in &mut self.tokens {
            token.revoked |= token.application == application && token.user == user;
        }
    }
}
