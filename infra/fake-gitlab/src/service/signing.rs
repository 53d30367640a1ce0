//! The keys that sign id tokens.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// RSA keys, as PKCS #1. That everybody knows them does no harm: whoever reaches this server may
/// sign in as anybody. Making one would take every test seconds.
const KEYS: [&[u8]; 2] =
    [include_bytes!("signing_keys/1.der"), include_bytes!("signing_keys/2.der")];

/// A key with what is published of it.
pub(crate) struct SigningKey {
    pair: RsaKeyPair,
    kid: String,
    /// As a member of a JWK set.
    pub(crate) public: Value,
}

impl SigningKey {
    /// The key of a number; behind the last one comes the first one again.
    pub(crate) fn number(number: usize) -> &'static Self {
        static READ: OnceLock<[SigningKey; KEYS.len()]> = OnceLock::new();
        let keys = READ.get_or_init(|| KEYS.map(Self::read));
        &keys[number % keys.len()]
    }

    fn read(der: &[u8]) -> Self {
        let pair = RsaKeyPair::from_der(der).expect("the keys beside this file are RSA keys");
        let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
        let (n, e) = (URL_SAFE_NO_PAD.encode(public.n), URL_SAFE_NO_PAD.encode(public.e));
        // The key's thumbprint (RFC 7638).
        let members = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(members.as_bytes()));
        let public =
            json!({ "kty": "RSA", "kid": kid, "e": e, "n": n, "use": "sig", "alg": "RS256" });
        Self { pair, kid, public }
    }

    /// A JWT of these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "kid": self.kid, "alg": "RS256" });
        let [header, claims] =
            [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = format!("{header}.{claims}");
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .expect("the signature is as long as the modulus");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
