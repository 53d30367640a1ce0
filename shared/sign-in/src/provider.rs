//! The provider: beginning a sign-in, finishing it, renewing and ending what came of it.

use crate::{
    SignInError,
    transport::{NoAnswer, in_time, sender},
};
use chrono::DateTime;
use gantry_domain::UserId;
use gantry_gitlab::{ApiHost, Clock, InvalidClient, transport};
use gantry_secrets::PersonTokens;
use jiff::{SignedDuration, Timestamp};
use openidconnect::{
    AuthenticationFlow, AuthorizationCode, ClientId, ClientSecret, CsrfToken, DiscoveryError,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, Nonce, OAuth2TokenResponse as _,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope,
    StandardErrorResponse, TokenResponse as _,
    core::{
        CoreClient, CoreErrorResponseType, CoreProviderMetadata, CoreResponseType,
        CoreTokenResponse,
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use url::Url;

/// What a sign-in asks for: who it is, and to read what GitLab lets them read.
pub const SCOPES: [&str; 3] = ["openid", "profile", "read_api"];

/// How long a discovery document and its keys are taken for true.
const KNOWN_FOR: SignedDuration = SignedDuration::from_mins(10);

/// How long a token lives where GitLab does not say so.
const TOKEN_LASTS: SignedDuration = SignedDuration::from_hours(2);

/// What a [`Provider`] needs to know.
pub struct ProviderConfig {
    /// The linked server.
    pub host: ApiHost,
    /// The application's ID.
    pub application: String,
    /// The application's secret.
    pub secret: SecretString,
    /// Where GitLab sends people back to: exactly as the application has it.
    pub redirect: Url,
    /// Certificates (PEM) of authorities to trust besides the machine's own.
    pub ca_pem: Option<String>,
    /// Where to take the time from.
    pub clock: Clock,
}

/// GitLab as a provider of identities.
pub struct Provider {
    config: ProviderConfig,
    http: reqwest::Client,
    known: Mutex<Option<(Timestamp, CoreProviderMetadata)>>,
}

/// A sign-in that has begun. All but the address stays with whoever began it.
#[derive(Debug)]
pub struct Begun {
    /// Where the person goes next.
    pub url: Url,
    /// What GitLab must send back with the person.
    pub state: SecretString,
    /// What the ID token must say.
    pub nonce: SecretString,
    /// What proves that whoever began it is whoever finishes it.
    pub verifier: SecretString,
}

/// Who signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// GitLab's ID of the person.
    pub id: UserId,
    /// The user name, which can change.
    pub username: String,
    /// The name, for people.
    pub name: String,
    /// What asks in their name.
    pub tokens: PersonTokens,
}

/// The fields of GitLab's `userinfo` answer that name a person.
#[derive(Deserialize)]
struct UserInfo {
    sub: String,
    nickname: Option<String>,
    preferred_username: Option<String>,
    name: Option<String>,
}

#[derive(Serialize)]
struct Revocation<'a> {
    client_id: &'a str,
    client_secret: &'a str,
    token: &'a str,
}

type Discovered = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

impl Provider {
    /// A provider. No call is made.
    pub fn new(config: ProviderConfig) -> Result<Self, InvalidClient> {
        let http = transport(&config.host, config.ca_pem.as_deref())?;
        Ok(Self { config, http, known: Mutex::default() })
    }

    /// Whether GitLab knows the application with this secret. Whether it has the redirect URL shows
    /// only when somebody signs in: before that GitLab does not look at it.
    pub async fn check(&self) -> Result<(), SignInError> {
        // No code is like this one: what GitLab says of it is what it says of the application.
        let code = "none".to_owned();
        let verifier = PkceCodeVerifier::new("none".repeat(12));
        match self.exchange(code, verifier).await {
            Ok(_) | Err(SignInError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Begins a sign-in.
    pub async fn begin(&self) -> Result<Begun, SignInError> {
        let client = self.client().await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let mut request = client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
        for scope in SCOPES.into_iter().filter(|scope| *scope != "openid") {
            request = request.add_scope(Scope::new(scope.to_owned()));
        }
        let (url, state, nonce) = request.set_pkce_challenge(challenge).url();
        Ok(Begun {
            url,
            state: state.into_secret().into(),
            nonce: nonce.secret().clone().into(),
            verifier: verifier.into_secret().into(),
        })
    }

    /// Finishes a sign-in with the code that GitLab sent the person back with.
    pub async fn finish(
        &self,
        code: &str,
        nonce: &SecretString,
        verifier: &SecretString,
    ) -> Result<SignedIn, SignInError> {
        let verifier = PkceCodeVerifier::new(verifier.expose_secret().to_owned());
        let answer = self.exchange(code.to_owned(), verifier).await?;
        let client = self.client().await?;
        let missing = || SignInError::NotProven("it has no ID token".to_owned());
        let now = self.now();
        let told = DateTime::from_timestamp(now.as_second(), 0).unwrap_or_default();
        let verifier = client.id_token_verifier().set_time_fn(move || told);
        let nonce = Nonce::new(nonce.expose_secret().to_owned());
        let claims = answer.id_token().ok_or_else(missing)?;
        let claims = claims
            .claims(&verifier, &nonce)
            .map_err(|problem| SignInError::NotProven(problem.to_string()))?;
        let subject = claims.subject().to_string();
        let tokens = tokens(&answer, now)?;
        let person = self.person(&tokens).await?;
        if person.sub != subject {
            let why = "it is about somebody else than whose token came with it";
            return Err(SignInError::NotProven(why.to_owned()));
        }
        let id = subject
            .parse()
            .map(UserId)
            .map_err(|_| SignInError::NotProven("the person's ID is not a number".to_owned()))?;
        let username = person.preferred_username.or(person.nickname).ok_or_else(|| {
            SignInError::Unavailable("GitLab did not say the person's user name".to_owned())
        })?;
        let name = person.name.unwrap_or_else(|| username.clone());
        Ok(SignedIn { id, username, name, tokens })
    }

    /// New tokens for old ones, which end with this.
    pub async fn renew(&self, refresh: &SecretString) -> Result<PersonTokens, SignInError> {
        let client = self.client().await?;
        let refresh = RefreshToken::new(refresh.expose_secret().to_owned());
        let request = client.exchange_refresh_token(&refresh).map_err(unusable)?;
        let send = sender(self.http.clone(), self.config.host.clone());
        let answer = request.request_async(&send).await.map_err(refused)?;
        tokens(&answer, self.now())
    }

    /// Ends a token at GitLab. One that had ended already is as good.
    pub async fn revoke(&self, token: &SecretString) -> Result<(), SignInError> {
        let form = Revocation {
            client_id: &self.config.application,
            client_secret: self.config.secret.expose_secret(),
            token: token.expose_secret(),
        };
        let lost = |problem: reqwest::Error| {
            SignInError::Unavailable(gantry_gitlab::explain(&problem, &self.config.host))
        };
        let request = self.http.post(self.address("oauth/revoke")).form(&form);
        let sent = request.timeout(in_time()).send();
        match sent.await.map_err(lost)?.status() {
            status if status.is_success() => Ok(()),
            http::StatusCode::UNAUTHORIZED | http::StatusCode::FORBIDDEN => {
                Err(SignInError::WrongSecret)
            }
            status => Err(SignInError::Unavailable(format!("GitLab answered {status}"))),
        }
    }

    async fn exchange(
        &self,
        code: String,
        verifier: PkceCodeVerifier,
    ) -> Result<CoreTokenResponse, SignInError> {
        let client = self.client().await?;
        let request = client.exchange_code(AuthorizationCode::new(code)).map_err(unusable)?;
        let send = sender(self.http.clone(), self.config.host.clone());
        request.set_pkce_verifier(verifier).request_async(&send).await.map_err(refused)
    }

    /// Who a token belongs to: the ID token of a sign-in has no user name without the scope `email`
    /// in older versions of GitLab.
    async fn person(&self, tokens: &PersonTokens) -> Result<UserInfo, SignInError> {
        let lost = |problem: reqwest::Error| {
            SignInError::Unavailable(gantry_gitlab::explain(&problem, &self.config.host))
        };
        let request = self.http.get(self.address("oauth/userinfo"));
        let request = request.bearer_auth(tokens.access.expose_secret()).timeout(in_time());
        let answer = request.send().await.map_err(lost)?;
        if !answer.status().is_success() {
            let status = answer.status();
            return Err(SignInError::Refused(format!("GitLab answered {status}")));
        }
        answer.json().await.map_err(lost)
    }

    fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.config.host.as_str())
    }

    fn now(&self) -> Timestamp {
        (self.config.clock)()
    }

    /// The client for what GitLab says of itself, which is asked again after a while: keys change.
    async fn client(&self) -> Result<Discovered, SignInError> {
        let now = self.now();
        let mut known = self.known.lock().await;
        let found = match &*known {
            Some((at, found)) if now.duration_since(*at) < KNOWN_FOR => found.clone(),
            _ => {
                let found = self.discover().await?;
                *known = Some((now, found.clone()));
                found
            }
        };
        drop(known);
        let application = ClientId::new(self.config.application.clone());
        let secret = ClientSecret::new(self.config.secret.expose_secret().to_owned());
        let client = CoreClient::from_provider_metadata(found, application, Some(secret));
        Ok(client.set_redirect_uri(RedirectUrl::from_url(self.config.redirect.clone())))
    }

    async fn discover(&self) -> Result<CoreProviderMetadata, SignInError> {
        let known = self.config.host.as_str();
        let issuer = IssuerUrl::new(known.to_owned())
            .map_err(|problem| SignInError::Unavailable(problem.to_string()))?;
        let send = sender(self.http.clone(), self.config.host.clone());
        let found = CoreProviderMetadata::discover_async(issuer, &send).await;
        let found = found.map_err(|problem| self.not_discovered(problem))?;
        let endpoints = [
            Some(found.authorization_endpoint().url()),
            found.token_endpoint().map(|endpoint| endpoint.url()),
        ];
        // The secret goes to the linked server, and to no other.
        if endpoints.into_iter().flatten().any(|url| !self.config.host.has_same_origin(url)) {
            return Err(SignInError::OtherIssuer {
                says: found.authorization_endpoint().to_string(),
                known: known.to_owned(),
            });
        }
        Ok(found)
    }

    fn not_discovered(&self, problem: DiscoveryError<NoAnswer>) -> SignInError {
        match problem {
            DiscoveryError::Request(why) => SignInError::Unavailable(why.to_string()),
            DiscoveryError::Validation(words) => SignInError::OtherIssuer {
                says: words,
                known: self.config.host.as_str().to_owned(),
            },
            other => SignInError::Unavailable(format!(
                "GitLab did not say how to sign in with it (/.well-known/openid-configuration): \
                 {other}"
            )),
        }
    }
}

fn tokens(answer: &CoreTokenResponse, now: Timestamp) -> Result<PersonTokens, SignInError> {
    let refresh = answer
        .refresh_token()
        .ok_or_else(|| SignInError::Unavailable("GitLab gave no refresh token".to_owned()))?;
    let lasts = answer.expires_in().and_then(|lasts| SignedDuration::try_from(lasts).ok());
    Ok(PersonTokens {
        access: answer.access_token().secret().clone().into(),
        refresh: refresh.secret().clone().into(),
        expires_at: now + lasts.unwrap_or(TOKEN_LASTS),
    })
}

fn unusable(problem: openidconnect::ConfigurationError) -> SignInError {
    SignInError::Unavailable(format!("GitLab did not say where to get tokens: {problem}"))
}

fn refused(
    problem: RequestTokenError<NoAnswer, StandardErrorResponse<CoreErrorResponseType>>,
) -> SignInError {
    match problem {
        RequestTokenError::ServerResponse(said) => match said.error() {
            CoreErrorResponseType::InvalidClient | CoreErrorResponseType::UnauthorizedClient => {
                SignInError::WrongSecret
            }
            // No word of OAuth: it is of what stands before GitLab, or of a GitLab in trouble.
            CoreErrorResponseType::Extension(word) => {
                let word = gantry_domain::text::clean_line(word, 200);
                SignInError::Unavailable(format!("GitLab answered \"{word}\""))
            }
            other => SignInError::Refused(
                said.error_description()
                    .map_or_else(|| other.as_ref().to_owned(), ToOwned::to_owned),
            ),
        },
        RequestTokenError::Request(why) => SignInError::Unavailable(why.to_string()),
        // Not repeated: it may hold the tokens.
        RequestTokenError::Parse(..) => {
            SignInError::Unavailable("GitLab's answer is not what OAuth says it is".to_owned())
        }
        RequestTokenError::Other(why) => SignInError::Unavailable(why),
    }
}
