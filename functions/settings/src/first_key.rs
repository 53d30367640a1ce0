//! The first admin key: made by itself, so that somebody can sign in at all.

use gantry_secrets::{SecretError, SecretName, Secrets, random_secret};
use gantry_setup::Clock;
use gantry_store::{
    Expect, Store, StoreError, Write,
    config::{AdminKey, Role, admin_key_digest},
    keys,
};
use secrecy::{ExposeSecret as _, SecretString};

/// The name of the first key.
pub(crate) const NAME: &str = "first-admin-key";

/// What keys begin with: it lets scanners find those that were committed somewhere.
const PREFIX: &str = "gantry_";

/// A new key.
pub(crate) fn new_key() -> SecretString {
    SecretString::from(format!("{PREFIX}{}", random_secret().expose_secret()))
}

/// Makes sure that the first admin key exists among the secrets and is known by its digest.
/// Doing it again changes nothing.
pub async fn ensure_first_admin_key(
    store: &Store,
    secrets: &dyn Secrets,
    clock: &Clock,
) -> Result<(), FirstKeyError> {
    let secret = secrets.get_or_make(SecretName::AdminKey, new_key).await?;
    let key =
        AdminKey { name: NAME.to_owned(), role: Role::Admin, pool: None, created_at: clock.now() };
    let place = keys::admin_key(&admin_key_digest(secret.expose_secret()));
    // Somebody who was first wrote the same.
    let _written_or_there = store.write(vec![Write::put(place, Expect::Absent, &key)?]).await?;
    Ok(())
}

/// The first admin key could not be made; trying again later may help.
#[derive(Debug, thiserror::Error)]
pub enum FirstKeyError {
    /// The secrets did not answer.
    #[error("the first admin key could not be created")]
    Secrets(#[from] SecretError),
    /// The table did not answer.
    #[error("the first admin key could not be recorded")]
    Store(#[from] StoreError),
}
