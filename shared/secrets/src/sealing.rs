//! Secret variable values, sealed in the table: AES-256-GCM, bound to stack and name.

use aes_gcm::{
    Aes256Gcm, Key, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use gantry_domain::StackId;
use rand::Rng as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

const VERSION: u8 = 1;
const NONCE: usize = 12;

/// A sealed value that does not open: another key, another stack, another name, or damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value cannot be decrypted with this installation's key for this stack and name")]
pub struct SealError;

/// Seals and opens values with the installation's key.
#[derive(Clone)]
pub struct Sealer(Aes256Gcm);

impl Sealer {
    /// A sealer from the installation's sealing secret, whatever its length.
    pub fn new(secret: &SecretString) -> Self {
        let digest: [u8; 32] = Sha256::digest(secret.expose_secret().as_bytes()).into();
        Self(Aes256Gcm::new(&Key::<Aes256Gcm>::from(digest)))
    }

    /// Encrypts `value`; the result opens only for the same stack and name.
    pub fn seal(&self, stack: &StackId, name: &str, value: &str) -> Result<String, SealError> {
        self.encrypt(value, &bound_to(stack, name))
    }

    /// Encrypts `value`; the result opens only when `bound_to` is the same.
    pub(crate) fn encrypt(&self, value: &str, bound_to: &[u8]) -> Result<String, SealError> {
        let mut nonce = [0u8; NONCE];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: value.as_bytes(), aad: bound_to };
        let sealed = self.0.encrypt(&Nonce::from(nonce), payload).map_err(|_| SealError)?;
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        Ok(STANDARD_NO_PAD.encode(bytes))
    }

    /// Decrypts what [`Sealer::seal`] made.
    pub fn open(
        &self,
        stack: &StackId,
        name: &str,
        sealed: &str,
    ) -> Result<SecretString, SealError> {
        self.decrypt(sealed, &bound_to(stack, name))
    }

    /// Decrypts what [`Sealer::encrypt`] made.
    pub(crate) fn decrypt(&self, sealed: &str, bound_to: &[u8]) -> Result<SecretString, SealError> {
        let bytes = STANDARD_NO_PAD.decode(sealed).map_err(|_| SealError)?;
        let (head, rest) = bytes.split_first().ok_or(SealError)?;
        if *head != VERSION || rest.len() < NONCE {
            return Err(SealError);
        }
        let (nonce, sealed) = rest.split_at(NONCE);
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| SealError)?;
        let payload = Payload { msg: sealed, aad: bound_to };
        let opened = self.0.decrypt(&Nonce::from(nonce), payload).map_err(|_| SealError)?;
        String::from_utf8(opened).map(SecretString::from).map_err(|_| SealError)
    }
}

fn bound_to(stack: &StackId, name: &str) -> Vec<u8> {
    format!("{}\n{stack}\n{name}", stack.as_str().len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_only_where_it_was_sealed() {
        let sealer = Sealer::new(&"key".into());
        let (a, b): (StackId, StackId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let sealed = sealer.seal(&a, "TOKEN", "hush").unwrap();
        assert_eq!(sealer.open(&a, "TOKEN", &sealed).unwrap().expose_secret(), "hush");
        assert!(sealer.open(&b, "TOKEN", &sealed).is_err());
        assert!(sealer.open(&a, "OTHER", &sealed).is_err());
        assert!(Sealer::new(&"other".into()).open(&a, "TOKEN", &sealed).is_err());
        assert!(sealer.open(&a, "TOKEN", &sealed[..sealed.len() - 2]).is_err());
        assert_ne!(sealed, sealer.seal(&a, "TOKEN", "hush").unwrap());
    }
}
