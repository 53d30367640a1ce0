//! What Doorkeeper does in GitLab: asking people, codes, tokens, and what is said of them.
//!
//! Rules and names of errors are of `doorkeeper` and `doorkeeper-openid_connect`, as GitLab's
//! `config/initializers` configure them; sentences that explain an error are our own.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::{Host, Url};

use super::signing::SigningKey;
use crate::api::answer::Refusal;
use crate::api::params::Params;
use crate::model::oauth::{Asked, Challenge, TOKEN_LIVES};
use crate::model::{Application, Grant, OauthToken, State, UserId};

/// What an application can ask for.
pub(crate) const SCOPES: &str = "api read_api read_user create_runner manage_runner k8s_proxy \
    self_rotate read_repository write_repository read_registry write_registry \
    read_virtual_registry write_virtual_registry read_observability write_observability \
    ai_features sudo admin_mode read_service_ping openid profile email";
/// How long an id token is good, in seconds.
const ID_TOKEN_LIVES: i64 = 120;

/// An error of OAuth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OauthError {
    pub(crate) error: &'static str,
    pub(crate) description: String,
    /// The address that the application hears of it at, with what it is told there.
    pub(crate) back: Option<String>,
}

impl OauthError {
    pub(crate) fn new(error: &'static str) -> Self {
        let description = match error {
            "invalid_client" => "The application is unknown, or has not proven who it is.",
            "invalid_redirect_uri" => "The redirect URI is not one of the application's.",
            "invalid_scope" => "The scopes are empty, unknown, or more than there may be.",
            "invalid_grant" => "The code or token is not good, or not for this.",
            "access_denied" => "The request was denied.",
            _ => "The request is not one that is answered.",
        };
        Self { error, description: description.to_owned(), back: None }
    }

    fn missing(parameter: &str) -> Self {
        let description = format!("Missing required parameter: {parameter}.");
        Self { error: "invalid_request", description, back: None }
    }

    /// With the way back to the application.
    fn told_to(self, redirect_uri: &str, state: Option<&str>) -> Self {
        let told = [
            ("error", self.error),
            ("error_description", &*self.description),
            ("state", state.unwrap_or_default()),
        ];
        Self { back: Some(with_query(redirect_uri, &told)), ..self }
    }

    pub(crate) fn status(&self) -> u16 {
        match self.error {
            "invalid_client" => 401,
            "unauthorized_client" => 403,
            _ => 400,
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "error": self.error, "error_description": self.description })
    }
}

impl From<OauthError> for Refusal {
    fn from(error: OauthError) -> Self {
        Self { status: error.status(), body: error.json().to_string() }
    }
}

impl Asked {
    /// Where the application hears that the person denied it.
    pub(crate) fn denied(&self) -> String {
        let error = OauthError::new("access_denied");
        error.told_to(&self.redirect_uri, self.state.as_deref()).back.unwrap_or_default()
    }
}

/// An address with more in its query; what is empty is left out.
fn with_query(uri: &str, pairs: &[(&str, &str)]) -> String {
    let Ok(mut url) = Url::parse(uri) else { return uri.to_owned() };
    url.query_pairs_mut().extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    url.into()
}

/// Whether an address is the same as a known one, letter by letter; only the port may differ where
/// both are loopback addresses (RFC 8252), of which `localhost` is none.
fn is_same_address(uri: &str, known: &str) -> bool {
    let without_port = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        let loopback = match url.host()? {
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
            Host::Domain(_) => false,
        };
        url.set_port(None).ok()?;
        Some(url).filter(|_| loopback)
    };
    uri == known || without_port(uri).is_some_and(|url| without_port(known) == Some(url))
}

/// What is wrong with an address that people are to be sent back to.
fn redirect_problem(uri: &str) -> Option<&'static str> {
    let url = match Url::parse(uri) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            return Some("must be an absolute URI.");
        }
        Err(_) => return Some("must be a valid URI."),
    };
    match () {
        () if ["data", "vbscript", "javascript"].contains(&url.scheme()) => {
            Some("is forbidden by the server.")
        }
        () if url.fragment().is_some() => Some("cannot contain a fragment."),
        () if url.cannot_be_a_base() => Some("must specify a scheme."),
        () => None,
    }
}

fn random() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl State {
    /// Makes an application; plain `http` is fine for its addresses, as in GitLab.
    pub(crate) fn create_application(
        &mut self,
        name: &str,
        redirect_uri: &str,
        scopes: &str,
        confidential: bool,
    ) -> Result<Application, Refusal> {
        let scopes = words(scopes);
        if redirect_uri.trim().is_empty() {
            return Err(Refusal::field("redirect_uri", "can't be blank"));
        }
        if let Some(problem) = redirect_uri.split_whitespace().find_map(redirect_problem) {
            return Err(Refusal::field("redirect_uri", problem));
        }
        let known = words(SCOPES);
        if scopes.is_empty() || !scopes.iter().all(|scope| known.contains(scope)) {
            return Err(Refusal::field("scopes", "doesn't match configured on the server."));
        }
        let application = Application {
            id: self.next_id("application"),
            name: name.to_owned(),
            application_id: random(),
            secret: format!("gloas-{}", random()),
            redirect_uri: redirect_uri.to_owned(),
            scopes,
            confidential,
        };
        self.oauth.applications.push(application.clone());
        Ok(application)
    }

    /// Checks what an application asks a person for. An error has a way back once the address for
    /// it is known to be the application's.
    pub(crate) fn ask(&self, params: &Params) -> Result<Asked, OauthError> {
        let required = |key: &str| params.filled(key).ok_or_else(|| OauthError::missing(key));
        let application = self.oauth.application(&required("client_id")?);
        let application = application.ok_or_else(|| OauthError::new("invalid_client"))?;
        let known = |uri: &String| {
            application.redirect_uri.split_whitespace().any(|known| is_same_address(uri, known))
        };
        let redirect_uri = params.filled("redirect_uri").filter(known);
        let redirect_uri = redirect_uri.ok_or_else(|| OauthError::new("invalid_redirect_uri"))?;
        let state = params.filled("state");
        let told = |error: OauthError| error.told_to(&redirect_uri, state.as_deref());
        if required("response_type").map_err(told)? != "code" {
            return Err(told(OauthError::new("unsupported_response_type")));
        }
        let usual = || application.scopes.iter().find(|scope| *scope == "api").cloned();
        let scopes = words(&params.filled("scope").or_else(usual).unwrap_or_default());
        if scopes.is_empty() || !scopes.iter().all(|scope| application.scopes.contains(scope)) {
            return Err(told(OauthError::new("invalid_scope")));
        }
        let challenge = match params.filled("code_challenge") {
            None => None,
            Some(text) => match params.text("code_challenge_method").as_deref() {
                Some("S256") => Some(Challenge { text, hashed: true }),
                Some("plain") => Some(Challenge { text, hashed: false }),
                _ => return Err(told(OauthError::new("invalid_code_challenge_method"))),
            },
        };
        let nonce = params.filled("nonce");
        let application = application.clone();
        Ok(Asked { application, scopes, redirect_uri, state, nonce, challenge })
    }

    /// Lets the application have it: the address where it gets its code.
    pub(crate) fn authorize(&mut self, asked: Asked, user: UserId) -> Result<String, Refusal> {
        if self.user(user).blocked {
            return Err(Refusal::blocked());
        }
        let (code, created_at) = (random(), self.now());
        let told = [("code", &*code), ("state", asked.state.as_deref().unwrap_or_default())];
        let back = with_query(&asked.redirect_uri, &told);
        self.oauth.grants.push(Grant { code, asked, user, created_at, revoked: false });
        Ok(back)
    }

    /// Answers at the token endpoint. The credentials are a client id and a secret.
    pub(crate) fn give_tokens(
        &mut self,
        credentials: Option<&(String, String)>,
        params: &Params,
    ) -> Result<Value, OauthError> {
        let client = credentials.and_then(|(id, secret)| self.oauth.client(id, secret));
        let client = client.map(|client| client.id);
        match params.filled("grant_type").as_deref() {
            None => Err(OauthError::missing("grant_type")),
            Some("authorization_code") => self.exchange(client, params),
            Some("refresh_token") => self.refresh(credentials.is_some(), client, params),
            Some(_) => Err(OauthError::new("unsupported_grant_type")),
        }
    }

    /// A code for tokens. The second time it is refused, and the tokens of the first time stay:
    /// GitLab does not keep which they were.
    fn exchange(&mut self, client: Option<u64>, params: &Params) -> Result<Value, OauthError> {
        let required = |key: &str| params.filled(key).ok_or_else(|| OauthError::missing(key));
        let code = required("code")?;
        let grant = self.oauth.grants.iter().find(|grant| grant.code == code).cloned();
        let verifier = params.filled("code_verifier");
        if grant.as_ref().is_some_and(|grant| grant.asked.challenge.is_some()) {
            required("code_verifier")?;
        }
        let uri = required("redirect_uri")?;
        let client = client.ok_or_else(|| OauthError::new("invalid_client"))?;
        let now = self.now();
        let fits = |grant: &Grant| {
            grant.asked.application.id == client
                && grant.is_good(now)
                && is_same_address(&uri, &grant.asked.redirect_uri)
                && grant.is_answered_by(verifier.as_deref())
        };
        let grant = grant.filter(fits).ok_or_else(|| OauthError::new("invalid_grant"))?;
        let token = self.issue(client, grant.user, grant.asked.scopes, grant.created_at)?;
        for grant in self.oauth.grants.iter_mut().filter(|grant| grant.code == code) {
            grant.revoked = true;
        }
        Ok(self.token_json(&token, grant.asked.nonce))
    }

    /// A refresh token for new tokens; the old ones are dead at once.
    fn refresh(
        &mut self,
        has_credentials: bool,
        client: Option<u64>,
        params: &Params,
    ) -> Result<Value, OauthError> {
        let value = params.filled("refresh_token");
        let value = value.ok_or_else(|| OauthError::missing("refresh_token"))?;
        let invalid = || OauthError::new("invalid_grant");
        let same = |token: &&OauthToken| token.refresh_token == value && !token.revoked;
        let old = self.oauth.tokens.iter().find(same).cloned().ok_or_else(invalid)?;
        if has_credentials && client.is_none() {
            return Err(OauthError::new("invalid_client"));
        }
        let client = client.filter(|client| *client == old.application).ok_or_else(invalid)?;
        let scopes = match params.filled("scope") {
            None => old.scopes.clone(),
            Some(scopes) => words(&scopes),
        };
        if !scopes.iter().all(|scope| old.scopes.contains(scope)) {
            return Err(OauthError::new("invalid_scope"));
        }
        let token = self.issue(client, old.user, scopes, old.signed_in_at)?;
        self.oauth.revoke(&old.access_token);
        Ok(self.token_json(&token, None))
    }

    fn issue(
        &mut self,
        application: u64,
        user: UserId,
        scopes: Vec<String>,
        signed_in_at: Timestamp,
    ) -> Result<OauthToken, OauthError> {
        if self.user(user).blocked {
            return Err(OauthError::new("invalid_grant"));
        }
        let token = OauthToken {
            access_token: random(),
            refresh_token: random(),
            application,
            user,
            scopes,
            signed_in_at,
            created_at: self.now(),
            revoked: false,
        };
        self.oauth.tokens.push(token.clone());
        Ok(token)
    }

    fn token_json(&self, token: &OauthToken, nonce: Option<String>) -> Value {
        let mut body = json!({
            "access_token": token.access_token,
            "token_type": "Bearer",
            "expires_in": TOKEN_LIVES,
            "refresh_token": token.refresh_token,
            "scope": token.scopes.join(" "),
            "created_at": token.created_at.as_second(),
        });
        if token.has("openid") {
            body["id_token"] = json!(self.id_token(token, nonce));
        }
        body
    }

    /// The client id of a token's application.
    pub(crate) fn client_of(&self, token: &OauthToken) -> &str {
        let known = self.oauth.applications.iter().find(|known| known.id == token.application);
        known.map_or("", |application| &application.application_id)
    }

    /// Name and user name are not in it: GitLab tells them at the user info endpoint alone.
    fn id_token(&self, token: &OauthToken, nonce: Option<String>) -> String {
        let issued_at = self.now().as_second();
        let mut claims = self.claims(token);
        claims["iss"] = json!(self.base_url);
        claims["aud"] = json!(self.client_of(token));
        claims["exp"] = json!(issued_at + ID_TOKEN_LIVES);
        claims["iat"] = json!(issued_at);
        claims["auth_time"] = json!(token.signed_in_at.as_second());
        if let Some(nonce) = nonce {
            claims["nonce"] = json!(nonce);
        }
        let direct = self.groups.values().filter(|group| group.members.contains_key(&token.user));
        claims["groups_direct"] = direct.map(|group| group.path.as_str()).collect();
        SigningKey::number(self.oauth.signing_key).sign(&claims)
    }

    /// The claims that the id token and the user info endpoint have in common. Nobody here has an
    /// e-mail address that everybody may know, so that the scope `email` is needed to see one.
    fn claims(&self, token: &OauthToken) -> Value {
        let user = self.user(token.user);
        let legacy = hex::encode(Sha256::digest(format!("{}-secret", user.id).as_bytes()));
        let mut claims = json!({ "sub": user.id.to_string(), "sub_legacy": legacy });
        if token.has("email") {
            claims["email"] = json!(user.email());
            claims["email_verified"] = json!(true);
        }
        claims
    }

    /// What the user info endpoint tells about the user of a token.
    pub(crate) fn user_info(&self, token: &OauthToken) -> Value {
        let user = self.user(token.user);
        let mut claims = self.claims(token);
        claims["name"] = json!(user.name);
        claims["nickname"] = json!(user.username);
        claims["preferred_username"] = json!(user.username);
        claims["profile"] = json!(format!("{}/{}", self.base_url, user.username));
        let all = self.groups.values().filter(|group| self.inherited(&group.path, user.id) > 0);
        claims["groups"] = all.map(|group| group.path.as_str()).collect();
        claims
    }
}
