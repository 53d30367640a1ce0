//! Signing in with this server: applications, consent, codes, tokens, keys.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_fake_gitlab::{Application, Person};
use jiff::SignedDuration;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Got, START, World, client, world};

const BACK: &str = "https://gantry.example/auth/callback";

/// A server with an application, and somebody who signs in.
struct Site {
    w: World,
    application: Application,
    ada: Person,
}

async fn site() -> Site {
    let w = world().await;
    let application =
        w.gitlab.create_application("Gantry", BACK, "openid profile email read_api", true).unwrap();
    let ada = w.gitlab.person("ada");
    Site { w, application, ada }
}

/// A parameter of an address; empty where it is not there.
fn query(url: &str, key: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    let found = url.query_pairs().find(|(name, _)| name == key);
    found.map_or_else(String::new, |(_, value)| value.into_owned())
}

impl Site {
    /// Where a browser is sent to sign in.
    fn address(&self, changes: &[(&str, &str)]) -> String {
        let mut query = BTreeMap::from([
            ("client_id", self.application.application_id.as_str()),
            ("redirect_uri", BACK),
            ("response_type", "code"),
            ("scope", "openid read_api"),
            ("state", "s 1"),
            ("nonce", "n-1"),
        ]);
        query.extend(changes.iter().copied());
        let base = format!("{}/oauth/authorize", self.w.gitlab.base_url());
        url::Url::parse_with_params(&base, query).unwrap().into()
    }

    /// A code for ada's tokens.
    fn code(&self, changes: &[(&str, &str)]) -> String {
        query(&self.ada.authorize(&self.address(changes)).unwrap(), "code")
    }

    async fn get(&self, path: &str, bearer: Option<&str>) -> Got {
        let mut request = client().get(format!("{}{path}", self.w.gitlab.base_url()));
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        Got::of(request.send().await.unwrap()).await.unwrap()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Got {
        let request = client().post(format!("{}{path}", self.w.gitlab.base_url())).form(form);
        Got::of(request.send().await.unwrap()).await.unwrap()
    }

    /// The same as the application.
    async fn prove(&self, path: &str, form: &[(&str, &str)]) -> Got {
        let mut all = vec![
            ("client_id", self.application.application_id.as_str()),
            ("client_secret", self.application.secret.as_str()),
        ];
        all.extend_from_slice(form);
        self.post(path, &all).await
    }

    async fn exchange(&self, code: &str, more: &[(&str, &str)]) -> Got {
        let mut form =
            vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", BACK)];
        form.extend_from_slice(more);
        self.prove("/oauth/token", &form).await
    }

    async fn refresh(&self, token: &str, more: &[(&str, &str)]) -> Got {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        form.extend_from_slice(more);
        self.prove("/oauth/token", &form).await
    }

    /// Access token, refresh token and id token.
    async fn tokens(&self, changes: &[(&str, &str)]) -> (String, String, String) {
        tokens(&self.exchange(&self.code(changes), &[]).await.expect(200))
    }

    /// The claims of an id token that one of the published keys has signed.
    async fn verified(&self, id_token: &str) -> Value {
        let parts: Vec<&str> = id_token.split('.').collect();
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let header: Value = serde_json::from_slice(&bytes(parts[0])).unwrap();
        assert_eq!(header["alg"], "RS256");
        let keys = self.get("/oauth/discovery/keys", None).await.expect(200).body;
        let keys = keys["keys"].as_array().unwrap();
        let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
        let part = |name: &str| bytes(key[name].as_str().unwrap());
        let key = RsaPublicKeyComponents { n: part("n"), e: part("e") };
        let signed = format!("{}.{}", parts[0], parts[1]);
        key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &bytes(parts[2])).unwrap();
        serde_json::from_slice(&bytes(parts[1])).unwrap()
    }
}

fn tokens(got: &Got) -> (String, String, String) {
    let text = |key: &str| got.body[key].as_str().unwrap_or_default().to_owned();
    (text("access_token"), text("refresh_token"), text("id_token"))
}

#[tokio::test]
async fn administrators_make_applications() {
    let w = world().await;
    let body = json!({ "name": "Gantry", "redirect_uri": BACK, "scopes": "openid read_api" });
    w.send("POST", "/applications", None, Some(body.clone())).await.expect(401);
    w.post("/applications", body.clone()).await.expect(403);
    let root = w.gitlab.create_user("root");
    w.gitlab.make_admin(root);
    let read = w.gitlab.create_token(root, &["read_api"], None);
    w.send("POST", "/applications", Some(&read), Some(body.clone())).await.expect(403);
    let token = w.gitlab.create_token(root, &["api"], None);
    let post = |body: Value| w.send("POST", "/applications", Some(&token), Some(body));
    let made = post(body.clone()).await.expect(201).body;
    assert_eq!(made["callback_url"], BACK);
    assert_eq!(made["confidential"], true);
    assert_eq!(made["application_id"].as_str().unwrap().len(), 64);
    assert!(made["secret"].as_str().unwrap().starts_with("gloas-"));
    for (field, value, words) in [
        ("name", Value::Null, r#"{"error":"name is missing"}"#),
        ("redirect_uri", Value::Null, r#"{"error":"redirect_uri is missing"}"#),
        ("redirect_uri", json!("http://"), "must be a valid URI."),
        ("redirect_uri", json!("/callback"), "must be an absolute URI."),
        ("redirect_uri", json!("javascript://alert()"), "is forbidden by the server."),
        ("redirect_uri", json!("https://a.example/#b"), "cannot contain a fragment."),
        ("redirect_uri", json!("localhost:3000/cb"), "must specify a scheme."),
        ("scopes", Value::Null, "scopes is missing, scopes is empty"),
        ("scopes", json!(""), "scopes is empty"),
        ("scopes", json!("everything"), "doesn't match configured on the server."),
    ] {
        let mut wrong = body.clone();
        wrong[field] = value;
        let refused = post(wrong.clone()).await.expect(400);
        assert!(refused.text.contains(words), "{wrong}: {}", refused.text);
    }
}

#[tokio::test]
async fn it_says_where_everything_is() {
    let s = site().await;
    let found = s.get("/.well-known/openid-configuration", None).await.expect(200).body;
    let base = s.w.gitlab.base_url();
    assert_eq!(found["issuer"], base);
    assert_eq!(found["jwks_uri"], format!("{base}/oauth/discovery/keys"));
    assert_eq!(found["code_challenge_methods_supported"], json!(["plain", "S256"]));
    assert_eq!(found["id_token_signing_alg_values_supported"], json!(["RS256"]));
    let scopes = found["scopes_supported"].as_array().unwrap();
    assert!(scopes.contains(&json!("openid")) && scopes.contains(&json!("read_api")));
}

#[tokio::test]
async fn a_person_signs_in() {
    let s = site().await;
    let group = s.w.gitlab.create_group("acme/platform");
    s.w.gitlab.set_group_member(group, s.ada.id(), 30);
    let page = s.get(&s.address(&[]).replace(s.w.gitlab.base_url(), ""), None).await.expect(200);
    for shown in ["Gantry", "read_api", "value=\"ada\"", "value=\"s 1\"", "Authorize", "Deny"] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    assert!(!page.text.contains("project_1_bot"), "{}", page.text);
    let form = [
        ("client_id", s.application.application_id.as_str()),
        ("redirect_uri", BACK),
        ("response_type", "code"),
        ("scope", "openid read_api"),
        ("state", "s 1"),
        ("nonce", "n-1"),
        ("user", "ada"),
    ];
    let back = s.post("/oauth/authorize", &form).await.expect(302).header("location");
    assert!(back.starts_with(&format!("{BACK}?code=")), "{back}");
    assert_eq!(query(&back, "state"), "s 1");
    s.w.advance(SignedDuration::from_secs(5));
    let got = s.exchange(&query(&back, "code"), &[]).await.expect(200);
    let mut plain = got.body.clone();
    for secret in ["access_token", "refresh_token", "id_token"] {
        assert!(plain.as_object_mut().unwrap().remove(secret).is_some());
    }
    let rest = json!({
        "token_type": "Bearer", "expires_in": 7200, "scope": "openid read_api",
        "created_at": START + 5,
    });
    assert_eq!(plain, rest);
    let (access, _, id_token) = tokens(&got);
    let mut claims = s.verified(&id_token).await;
    assert_eq!(claims["sub_legacy"].as_str().unwrap().len(), 64);
    claims.as_object_mut().unwrap().remove("sub_legacy");
    let expected = json!({
        "iss": s.w.gitlab.base_url(), "sub": s.ada.id().to_string(),
        "aud": s.application.application_id, "iat": START + 5, "exp": START + 125,
        "auth_time": START, "nonce": "n-1", "groups_direct": ["acme/platform"],
    });
    assert_eq!(claims, expected, "no name is in it, and no address without its scope");
    let info = s.get("/oauth/userinfo", Some(&access)).await.expect(200).body;
    assert_eq!(info["sub"], s.ada.id().to_string());
    assert_eq!((&info["name"], &info["preferred_username"]), (&json!("Ada"), &json!("ada")));
    assert_eq!(info["groups"], json!(["acme/platform"]));
    assert!(info.get("email").is_none());
    let (_, _, with_email) = s.tokens(&[("scope", "openid email")]).await;
    assert_eq!(s.verified(&with_email).await["email"], "ada@example.com");
    s.w.gitlab.rename_user(s.ada.id(), "ada2");
    let info = s.get("/oauth/userinfo", Some(&access)).await.expect(200).body;
    assert_eq!(info["preferred_username"], "ada2");
}

#[tokio::test]
async fn nobody_is_sent_back_by_a_request_that_is_wrong() {
    let s = site().await;
    for (changes, error) in [
        (("client_id", ""), "invalid_request"),
        (("client_id", "unknown"), "invalid_client"),
        (("redirect_uri", "https://evil.example/"), "invalid_redirect_uri"),
        (("redirect_uri", &*format!("{BACK}/more")), "invalid_redirect_uri"),
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("scope", "openid api"), "invalid_scope"),
        (("scope", ""), "invalid_scope"),
        (("code_challenge", "x"), "invalid_code_challenge_method"),
    ] {
        let address = s.address(&[changes]);
        let page = s.get(&address.replace(s.w.gitlab.base_url(), ""), None).await.expect(200);
        assert!(page.text.contains("Nothing to authorize"), "{address}: {}", page.text);
        assert_eq!(page.header("location"), "", "{address}");
        assert!(s.ada.authorize(&address).unwrap_err().body.contains(error), "{address}");
        let form: Vec<(String, String)> =
            url::Url::parse(&address).unwrap().query_pairs().into_owned().collect();
        let mut form: Vec<(&str, &str)> = form.iter().map(|(k, v)| (&**k, &**v)).collect();
        form.push(("user", "ada"));
        let got = s.post("/oauth/authorize", &form).await;
        let safe = !["client_id", "redirect_uri"].contains(&changes.0);
        if safe {
            let back = got.expect(302).header("location");
            assert!(back.starts_with(BACK), "{back}");
            assert_eq!(
                (query(&back, "error"), query(&back, "state")),
                (error.to_owned(), "s 1".to_owned())
            );
        } else {
            assert_eq!(got.header("location"), "", "{address}");
            assert_eq!(got.body["error"], error, "{address}");
            assert_eq!(got.status, if error == "invalid_client" { 401 } else { 400 });
        }
    }
}

#[tokio::test]
async fn a_person_can_deny_it_and_has_to_say_who_they_are() {
    let s = site().await;
    let denied = s.ada.deny(&s.address(&[])).unwrap();
    assert_eq!(query(&denied, "error"), "access_denied");
    assert_eq!(query(&denied, "state"), "s 1");
    let form = [
        ("client_id", s.application.application_id.as_str()),
        ("redirect_uri", BACK),
        ("response_type", "code"),
        ("scope", "openid"),
    ];
    let with = |more: (&'static str, &'static str)| [form.as_slice(), &[more]].concat();
    let denied = s.post("/oauth/authorize", &with(("_method", "delete"))).await.expect(302);
    assert_eq!(query(&denied.header("location"), "error"), "access_denied");
    s.post("/oauth/authorize", &form).await.expect(422);
    s.post("/oauth/authorize", &with(("user", "nobody"))).await.expect(422);
    let elsewhere = client()
        .post(format!("{}/oauth/authorize", s.w.gitlab.base_url()))
        .header("sec-fetch-site", "cross-site")
        .form(&with(("user", "ada")));
    assert_eq!(elsewhere.send().await.unwrap().status(), 404);
    s.w.gitlab.set_blocked(s.ada.id(), true);
    s.post("/oauth/authorize", &with(("user", "ada"))).await.expect(403);
}

#[tokio::test]
async fn ports_of_loopback_addresses_may_differ() {
    let s = site().await;
    let scopes = "openid";
    let uris = "http://127.0.0.1:1/cb http://localhost:1/cb\nhttps://a.example:1/cb";
    let other = s.w.gitlab.create_application("Cli", uris, scopes, false).unwrap();
    let ask = |uri: &str| {
        let changes =
            [("client_id", &*other.application_id), ("scope", "openid"), ("redirect_uri", uri)];
        s.ada.authorize(&s.address(&changes))
    };
    assert!(ask("http://127.0.0.1:2/cb").unwrap().starts_with("http://127.0.0.1:2/cb?code="));
    for wrong in ["http://localhost:2/cb", "https://a.example:2/cb", "http://127.0.0.1:1/cb/"] {
        assert!(ask(wrong).is_err(), "{wrong}");
    }
    // An application that cannot keep a secret needs none, and has none that is wrong.
    let code = query(&ask("http://127.0.0.1:2/cb").unwrap(), "code");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", "http://127.0.0.1:2/cb"),
        ("client_id", &*other.application_id),
    ];
    let wrong = [form.as_slice(), &[("client_secret", "guess")]].concat();
    s.post("/oauth/token", &wrong).await.expect(401);
    s.post("/oauth/token", &form).await.expect(200);
}

#[tokio::test]
async fn codes_are_good_once_for_whom_they_are_meant_for() {
    let s = site().await;
    let refused = |got: Got, status: u16, error: &str| {
        assert_eq!((got.status, &got.body["error"]), (status, &json!(error)), "{}", got.text);
    };
    let code = s.code(&[]);
    let form = |secret| {
        [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", BACK),
            ("client_id", s.application.application_id.as_str()),
            ("client_secret", secret),
        ]
    };
    refused(s.post("/oauth/token", &form("wrong")).await, 401, "invalid_client");
    refused(s.post("/oauth/token", &form("")).await, 401, "invalid_client");
    refused(s.post("/oauth/token", &form("")[..3]).await, 401, "invalid_client");
    refused(s.prove("/oauth/token", &[]).await, 400, "invalid_request");
    let password = [("grant_type", "password")];
    refused(s.prove("/oauth/token", &password).await, 400, "unsupported_grant_type");
    refused(s.exchange("", &[]).await, 400, "invalid_request");
    refused(s.exchange("unknown", &[]).await, 400, "invalid_grant");
    let other = ("redirect_uri", "https://gantry.example/other");
    refused(s.exchange(&code, &[other]).await, 400, "invalid_grant");
    refused(s.exchange(&code, &[("code_verifier", "unasked")]).await, 400, "invalid_grant");
    let theirs = s.w.gitlab.create_application("Other", BACK, "openid", true).unwrap();
    let basic = |application: &Application| {
        client()
            .post(format!("{}/oauth/token", s.w.gitlab.base_url()))
            .basic_auth(&application.application_id, Some(&application.secret))
            .form(&form("")[..3])
    };
    let got = Got::of(basic(&theirs).send().await.unwrap()).await.unwrap();
    refused(got, 400, "invalid_grant");
    let got = Got::of(basic(&s.application).send().await.unwrap()).await.unwrap();
    let (access, ..) = tokens(&got.expect(200));
    refused(s.exchange(&code, &[]).await, 400, "invalid_grant");
    // GitLab does not know which tokens came of a code, and leaves them.
    s.get("/oauth/userinfo", Some(&access)).await.expect(200);

    let code = s.code(&[]);
    s.w.advance(SignedDuration::from_secs(601));
    refused(s.exchange(&code, &[]).await, 400, "invalid_grant");
    let code = s.code(&[]);
    s.w.gitlab.set_blocked(s.ada.id(), true);
    refused(s.exchange(&code, &[]).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_challenge_has_to_be_answered() {
    let s = site().await;
    let verifier = "ks02i3jdikdo2k0dkfodf3m39rjfjsdk0wk349rj3jrhf";
    let hashed = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    for (method, challenge) in [("S256", hashed.as_str()), ("plain", verifier)] {
        let changes = [("code_challenge", challenge), ("code_challenge_method", method)];
        let code = s.code(&changes);
        assert_eq!(s.exchange(&code, &[]).await.expect(400).body["error"], "invalid_request");
        let wrong = s.exchange(&code, &[("code_verifier", "wrong")]).await.expect(400);
        assert_eq!(wrong.body["error"], "invalid_grant");
        s.exchange(&code, &[("code_verifier", verifier)]).await.expect(200);
    }
}

#[tokio::test]
async fn a_refresh_token_replaces_both() {
    let s = site().await;
    let (access, refresh, _) = s.tokens(&[]).await;
    s.w.advance(SignedDuration::from_secs(7201));
    let expired = s.get("/api/v4/projects", Some(&access)).await.expect(401);
    assert_eq!(expired.body["error"], "invalid_token");
    assert!(expired.text.contains("Token is expired."), "{}", expired.text);
    let got = s.refresh(&refresh, &[]).await.expect(200);
    let (access, second, id_token) = tokens(&got);
    assert_eq!(got.body["scope"], "openid read_api");
    let claims = s.verified(&id_token).await;
    assert_eq!((&claims["nonce"], &claims["auth_time"]), (&Value::Null, &json!(START)));
    s.get("/api/v4/projects", Some(&access)).await.expect(200);
    let again = s.refresh(&refresh, &[]).await.expect(400);
    assert_eq!(again.body["error"], "invalid_grant");
    let wider = s.refresh(&second, &[("scope", "openid email")]).await.expect(400);
    assert_eq!(wider.body["error"], "invalid_scope");
    s.refresh(&second, &[("client_secret", "wrong")]).await.expect(401);
    let got = s.refresh(&second, &[("scope", "openid")]).await.expect(200);
    assert_eq!(got.body["scope"], "openid");
    let dead = s.get("/api/v4/projects", Some(&access)).await.expect(401);
    assert!(dead.text.contains("Token was revoked."), "{}", dead.text);
    let (_, third, _) = tokens(&got);
    s.w.gitlab.set_blocked(s.ada.id(), true);
    s.refresh(&third, &[]).await.expect(400);
}

#[tokio::test]
async fn a_token_opens_what_its_scopes_say() {
    let s = site().await;
    s.w.gitlab.set_member(s.w.project, s.ada.id(), 40);
    let (access, ..) = s.tokens(&[]).await;
    let project = format!("/api/v4/projects/{}", s.w.project);
    let me = s.get("/api/v4/user", Some(&access)).await.expect(200).body;
    assert_eq!(me["username"], "ada");
    s.get(&format!("{project}/hooks"), Some(&access)).await.expect(200);
    let url = format!("{}{project}/hooks", s.w.gitlab.base_url());
    let write = client().post(url).bearer_auth(&access).json(&json!({ "url": "https://a" }));
    let refused = Got::of(write.send().await.unwrap()).await.unwrap().expect(403);
    assert_eq!(refused.body["error"], "insufficient_scope");
    s.w.send("GET", "/user", Some(&access), None).await.expect(401);
    s.get("/api/v4/personal_access_tokens/self", Some(&access)).await.expect(401);

    let (only, ..) = s.tokens(&[("scope", "openid profile")]).await;
    s.get("/oauth/userinfo", Some(&only)).await.expect(200);
    let refused = s.get("/api/v4/user", Some(&only)).await.expect(403);
    assert_eq!(refused.body["error"], "insufficient_scope");
    let (api, _, none) = s.tokens(&[("scope", "read_api")]).await;
    assert_eq!(none, "", "there is an id token for openid alone");
    let refused = s.get("/oauth/userinfo", Some(&api)).await.expect(403);
    assert_eq!(refused.text, "");
    let refused = s.get("/oauth/userinfo", None).await.expect(401);
    assert!(refused.header("www-authenticate").contains("invalid_token"));

    s.w.gitlab.set_blocked(s.ada.id(), true);
    let blocked = s.get("/api/v4/user", Some(&access)).await.expect(403);
    assert_eq!(blocked.message(), "403 Forbidden - Your account has been blocked.");
    s.get("/oauth/userinfo", Some(&only)).await.expect(401);
    let token = s.w.gitlab.create_token(s.ada.id(), &["api"], None);
    s.w.send("GET", "/user", Some(&token), None).await.expect(403);
    s.w.gitlab.set_blocked(s.ada.id(), false);
    s.get("/api/v4/user", Some(&access)).await.expect(200);
}

#[tokio::test]
async fn tokens_are_revoked_by_the_application_and_by_the_person() {
    let s = site().await;
    let (access, refresh, _) = s.tokens(&[]).await;
    let info = s.get("/oauth/token/info", Some(&access)).await.expect(200).body;
    assert_eq!(info["application"]["uid"], s.application.application_id);
    assert_eq!(info["scope"], json!(["openid", "read_api"]));
    s.post("/oauth/revoke", &[("token", &*access)]).await.expect(403);
    let theirs = s.w.gitlab.create_application("Other", BACK, "openid", true).unwrap();
    let form = [
        ("client_id", &*theirs.application_id),
        ("client_secret", &*theirs.secret),
        ("token", &*access),
    ];
    assert_eq!(
        s.post("/oauth/revoke", &form).await.expect(403).body["error"],
        "unauthorized_client"
    );
    s.prove("/oauth/revoke", &[("token", "unknown")]).await.expect(200);
    s.get("/api/v4/user", Some(&access)).await.expect(200);
    s.prove("/oauth/revoke", &[("token", &*refresh)]).await.expect(200);
    s.get("/api/v4/user", Some(&access)).await.expect(401);
    s.get("/oauth/token/info", Some(&access)).await.expect(400);
    s.refresh(&refresh, &[]).await.expect(400);

    let (access, refresh, _) = s.tokens(&[]).await;
    let code = s.code(&[]);
    s.ada.revoke_application(&s.application);
    s.get("/oauth/userinfo", Some(&access)).await.expect(401);
    s.refresh(&refresh, &[]).await.expect(400);
    s.exchange(&code, &[]).await.expect(400);
    s.tokens(&[]).await;
}

#[tokio::test]
async fn keys_change() {
    let s = site().await;
    let (_, _, before) = s.tokens(&[]).await;
    s.verified(&before).await;
    let keys = s.get("/oauth/discovery/keys", None).await.body;
    s.w.gitlab.rotate_signing_key();
    assert_ne!(s.get("/oauth/discovery/keys", None).await.body, keys);
    let (_, _, after) = s.tokens(&[]).await;
    s.verified(&after).await;
    assert_ne!(before.split('.').next(), after.split('.').next());
}
