//! Who is notified: the addresses and secrets of targets, sealed, and the signature of what they get.
//!
//! A webhook is signed as Standard Webhooks says: HMAC-SHA256 over `<id>.<seconds>.<body>`, with the
//! bytes that the secret has behind `whsec_` in base64.

use crate::{SealError, Sealer};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gantry_domain::TargetName;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use rand::Rng as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// How a webhook's secret begins.
const PREFIX: &str = "whsec_";

/// What of a target is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetPart {
    /// Where it is.
    Address,
    /// What its messages are signed with.
    Secret,
}

/// Seals a part of a target. It opens for that part of that target alone.
pub fn seal_for_target(
    sealer: &Sealer,
    target: &TargetName,
    part: TargetPart,
    value: &SecretString,
) -> Result<String, SealError> {
    sealer.encrypt(value.expose_secret(), &bound_to(target, part))
}

/// What [`seal_for_target`] sealed.
pub fn open_for_target(
    sealer: &Sealer,
    target: &TargetName,
    part: TargetPart,
    sealed: &str,
) -> Result<SecretString, SealError> {
    sealer.decrypt(sealed, &bound_to(target, part))
}

/// Begins with words, unlike what the values of variables are bound to.
fn bound_to(target: &TargetName, part: TargetPart) -> Vec<u8> {
    let part = match part {
        TargetPart::Address => "address",
        TargetPart::Secret => "secret",
    };
    format!("notification target\n{part}\n{target}").into_bytes()
}

/// A new secret for a webhook.
pub fn new_target_secret() -> SecretString {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    SecretString::from(format!("{PREFIX}{}", STANDARD.encode(bytes)))
}

/// The header `webhook-signature` of a message: one signature with each secret.
pub fn sign_webhook(secrets: &[SecretString], id: &str, at: Timestamp, body: &str) -> String {
    let signed = secrets.iter().filter_map(|secret| {
        let key = STANDARD.decode(secret.expose_secret().strip_prefix(PREFIX)?).ok()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        mac.update(format!("{id}.{}.{body}", at.as_second()).as_bytes());
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    });
    signed.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_opens_only_for_itself() {
        let sealer = Sealer::new(&"key".into());
        let (ops, dev): (TargetName, TargetName) = ("ops".parse().unwrap(), "dev".parse().unwrap());
        let address = "https://hooks.example.com/secret".into();
        let sealed = seal_for_target(&sealer, &ops, TargetPart::Address, &address).unwrap();
        let open = |target, part| {
            let opened = open_for_target(&sealer, target, part, &sealed).ok();
            opened.map(|opened| opened.expose_secret().to_owned())
        };
        assert_eq!(open(&ops, TargetPart::Address).unwrap(), address.expose_secret());
        assert_eq!(open(&dev, TargetPart::Address), None);
        assert_eq!(open(&ops, TargetPart::Secret), None);
    }

    /// The example of the standard: <https://www.standardwebhooks.com>.
    #[test]
    fn a_signature_is_what_the_standard_says() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into();
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = sign_webhook(&[secret], id, at, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_ends_signs_too() {
        let (old, new) = (new_target_secret(), new_target_secret());
        assert_ne!(old.expose_secret(), new.expose_secret());
        let at = Timestamp::UNIX_EPOCH;
        let one =
            |secret: &SecretString| sign_webhook(std::slice::from_ref(secret), "id", at, "{}");
        let both = sign_webhook(&[new.clone(), old.clone()], "id", at, "{}");
        assert_eq!(both, format!("{} {}", one(&new), one(&old)));
    }
}
