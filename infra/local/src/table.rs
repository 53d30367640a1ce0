//! The one table: as every host needs it.

use gantry_setup::aws;
use gantry_store::Store;

const TABLE: &str = "gantry";

/// The table where the SDK's configuration leads, made if it is missing.
///
/// # Errors
/// When it cannot be reached, or not be made.
pub async fn open(config: &aws::SdkConfig) -> anyhow::Result<Store> {
    let store = Store::new(aws_sdk_dynamodb::Client::new(config), TABLE.to_owned());
    store.create_table_if_missing().await?;
    Ok(store)
}
