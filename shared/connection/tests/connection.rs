//! When a connection makes a new client, and when it says that there is none.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use gantry_connection::{Connection, NotConnected};
use gantry_domain::{
    UserId,
    integration::{BotUser, Integration},
};
use gantry_local_table::LocalTable;
use gantry_secrets::{FileSecrets, SecretName, Secrets};
use gantry_store::{Expect, Outcome, Store, Write, keys};
use jiff::Timestamp;
use std::sync::Arc;

async fn store() -> Store {
    let table = LocalTable::in_memory().unwrap();
    let client = aws_sdk_dynamodb::Client::new(&table.config());
    let store = Store::new(client, "gantry".to_owned());
    store.create_table_if_missing().await.unwrap();
    store
}

fn integration(api_host: &str, linked: bool) -> Integration {
    Integration {
        api_host: api_host.to_owned(),
        generation: 1,
        linked,
        server_version: None,
        bot: BotUser { id: UserId(1), username: "gantry".to_owned() },
        previous_bot: None,
        token_scopes: vec![],
        token_expires_on: None,
        saved_at: Timestamp::UNIX_EPOCH,
        installation: "i".to_owned(),
    }
}

async fn save(store: &Store, expect: Expect, integration: &Integration) {
    let write = Write::put(keys::integration(), expect, integration).unwrap();
    assert_eq!(store.write(vec![write]).await.unwrap(), Outcome::Written);
}

#[tokio::test]
async fn a_client_lives_as_long_as_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let secrets: Arc<dyn Secrets> = Arc::new(FileSecrets::new(folder.path().join("secrets.json")));
    let store = store().await;
    let clock = Arc::new(|| Timestamp::UNIX_EPOCH);
    let connection = Connection::new(store.clone(), Arc::clone(&secrets), clock);

    assert!(matches!(connection.current().await, Err(NotConnected::NotSetUp)));
    save(&store, Expect::Absent, &integration("https://one.example", true)).await;
    assert!(matches!(connection.current().await, Err(NotConnected::NoToken)));

    secrets.put(SecretName::ApiToken, &"first".into()).await.unwrap();
    let first = connection.current().await.unwrap();
    assert_eq!(first.host().as_str(), "https://one.example");
    assert!(Arc::ptr_eq(&first, &connection.current().await.unwrap()));

    secrets.put(SecretName::ApiToken, &"second".into()).await.unwrap();
    let second = connection.current().await.unwrap();
    assert!(!Arc::ptr_eq(&first, &second), "the token was replaced");

    let before = store.integration().await.unwrap().unwrap();
    save(&store, before.unchanged(), &integration("https://two.example", true)).await;
    let connected = connection.connected().await.unwrap();
    assert_eq!(connected.client.host().as_str(), "https://two.example");
    assert_eq!(connected.integration.version, before.version + 1);

    save(&store, connected.integration.unchanged(), &integration("https://two.example", false))
        .await;
    assert!(matches!(connection.current().await, Err(NotConnected::Unlinked)));
}
