//! Addresses of run pages, and the key in them that lets a reader see one run.

use crate::{Signer, TokenFor, TokenKind};
use gantry_domain::{RunId, run::Phase};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;

/// The address of a run's page, without a key.
pub fn run_page(public_url: &str, run: &RunId) -> String {
    format!("{}/runs/{run}", public_url.trim_end_matches('/'))
}

/// The address of a run's page with a key that lets whoever has it read that one run.
///
/// GitLab takes links of at most 255 characters. What a read token says follows from the run, so
/// the key is the token's signature alone: with a public address of 120 characters the link has
/// 200.
pub fn read_link(signer: &Signer, public_url: &str, run: &RunId) -> String {
    let token = signer.sign(&content(run));
    let (_, signature) = token.expose_secret().split_once('.').unwrap_or_default();
    format!("{}?key={signature}", run_page(public_url, run))
}

/// True when `key` (from a link, or a whole read token) lets its bearer read the run.
pub fn may_read(signer: &Signer, run: &RunId, key: &str, now: Timestamp) -> bool {
    let whole = if key.contains('.') {
        key.to_owned()
    } else {
        let token = signer.sign(&content(run));
        let (body, _) = token.expose_secret().split_once('.').unwrap_or_default();
        format!("{body}.{key}")
    };
    signer.verify(TokenKind::Read, &whole, now).is_ok_and(|token| token.run == *run)
}

fn content(run: &RunId) -> TokenFor {
    TokenFor {
        kind: TokenKind::Read,
        run: run.clone(),
        phase: Phase::Plan,
        attempt: 0,
        expires: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_its_own_run_and_is_short_enough_for_gitlab() {
        let signer = Signer::new(&"key".into());
        let stack = "s".parse().unwrap();
        let (run, other) = (RunId::derive(&stack, "a"), RunId::derive(&stack, "b"));
        let address = format!("https://{}", "a".repeat(112));
        let link = read_link(&signer, &address, &run);
        assert!(link.len() <= 255, "{}", link.len());
        let (_, key) = link.split_once("?key=").unwrap();
        assert!(may_read(&signer, &run, key, Timestamp::MIN));
        assert!(!may_read(&signer, &other, key, Timestamp::MIN));
        assert!(!may_read(&signer, &run, "", Timestamp::MIN));
        assert!(!may_read(&Signer::new(&"other".into()), &run, key, Timestamp::MIN));
        let whole = signer.sign(&content(&run));
        assert!(may_read(&signer, &run, whole.expose_secret(), Timestamp::MIN));
        assert!(!may_read(&signer, &other, whole.expose_secret(), Timestamp::MIN));
        let rotated = Signer::new(&r#"{"current":"new","previous":"key"}"#.to_owned().into());
        assert!(may_read(&rotated, &run, key, Timestamp::MIN));
    }
}
