//! DynamoDB on one machine: dynoxide on a loopback port, spoken to with the real SDK.

use anyhow::Context as _;
use gantry_setup::aws;
use gantry_store::Store;
use std::{net::Ipv4Addr, path::Path};
use tokio::net::TcpListener;

const TABLE: &str = "gantry";

/// Starts dynoxide on the database file, or in memory without one, and answers its address.
pub async fn serve(file: Option<&Path>) -> anyhow::Result<String> {
    let database = match file {
        Some(file) => dynoxide::Database::new(&file.to_string_lossy()),
        None => dynoxide::Database::memory(),
    };
    let database = database.map_err(|error| anyhow::anyhow!("{error}")).with_context(|| {
        format!(
            "the table cannot be opened: {}",
            file.map_or("in memory".into(), Path::to_string_lossy)
        )
    })?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    Ok(address)
}

/// The table at the address, made if it is missing.
pub async fn open(address: &str) -> anyhow::Result<Store> {
    let client = aws_sdk_dynamodb::Client::new(&aws::for_loopback(address));
    let store = Store::new(client, TABLE.to_owned());
    store.create_table_if_missing().await?;
    Ok(store)
}
