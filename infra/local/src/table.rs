//! DynamoDB on one machine: dynoxide on a loopback port, spoken to with the real SDK.
//!
//! Everybody on the machine reaches a loopback port, runs too. So the host's table answers only who
//! knows the access key id that it was started with, which never leaves this process.

mod guarded;

use anyhow::Context as _;
use dynoxide::Database;
use gantry_setup::aws;
use gantry_store::Store;
use std::{net::Ipv4Addr, path::Path};
use tokio::net::TcpListener;

const TABLE: &str = "gantry";

/// The table in a file, made if it is missing, for this process alone.
///
/// # Errors
/// When the file cannot be opened.
pub async fn open_own(file: &Path) -> anyhow::Result<Store> {
    let database = Database::new(&file.to_string_lossy()).map_err(|e| anyhow::anyhow!("{e}"));
    let database =
        database.with_context(|| format!("the table {} cannot be opened", file.display()))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = format!("http://{}", listener.local_addr()?);
    let key = hex::encode(rand::random::<[u8; 16]>());
    let config = aws::for_loopback_with_key(&address, &key);
    let router = guarded::router(database, key);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("the table does not answer any more: {error}");
        }
    });
    store(&config).await
}

/// Starts dynoxide in memory for tests, and answers its address. It asks nobody who they are.
pub async fn serve() -> anyhow::Result<String> {
    let database = Database::memory().map_err(|error| anyhow::anyhow!("{error}"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    Ok(address)
}

/// The table of [`serve`], made if it is missing.
pub async fn open(address: &str) -> anyhow::Result<Store> {
    store(&aws::for_loopback(address)).await
}

async fn store(config: &aws::SdkConfig) -> anyhow::Result<Store> {
    let store = Store::new(aws_sdk_dynamodb::Client::new(config), TABLE.to_owned());
    store.create_table_if_missing().await?;
    Ok(store)
}
