//! DynamoDB on one machine: dynoxide in this process, called by the real SDK without a port, which
//! anyone on the machine, runs included, could reach.

use anyhow::Context as _;
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use dynoxide::{Database, DynoxideError};
use gantry_setup::aws::{self, SdkConfig};
use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::task::coop::consume_budget;

const TARGET: &str = "DynamoDB_20120810.";

/// Tables, in a file or in memory. Clones are the same one.
#[derive(Clone)]
pub struct LocalTable {
    database: Database,
    /// Those that it has answered.
    requests: Arc<AtomicU64>,
}

impl LocalTable {
    /// The tables in a file, which is made if it is missing, for this process alone.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn in_file(file: &Path) -> anyhow::Result<Self> {
        let database = Database::new(&file.to_string_lossy()).map_err(|e| anyhow::anyhow!("{e}"));
        let name = || format!("the table {} cannot be opened", file.display());
        database.map(Self::of).with_context(name)
    }

    /// Tables that are gone with this process.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn in_memory() -> anyhow::Result<Self> {
        Database::memory().map(Self::of).map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn of(database: Database) -> Self {
        Self { database, requests: Arc::default() }
    }

    /// How many requests it has answered, refused ones too: what DynamoDB would be asked.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// With this the SDK's client calls these tables.
    pub fn config(&self) -> SdkConfig {
        aws::in_process(self.clone())
    }

    /// Answers a request of the SDK, as DynamoDB does.
    ///
    /// # Errors
    /// When dynoxide answers with a status that is none.
    pub fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let body = request.body().bytes().unwrap_or_default();
        self.requests.fetch_add(1, Ordering::Relaxed);
        let (status, body) = match call(&self.database, operation(request), body) {
            Ok(body) => (200, body),
            Err(error) => (error.status_code(), error.to_json()),
        };
        let status = StatusCode::try_from(status);
        let status = status.map_err(|error| ConnectorError::other(error.into(), None))?;
        Ok(HttpResponse::new(status, body.into()))
    }
}

/// The name of the operation that a request is for (`PutItem`).
pub fn operation(request: &HttpRequest) -> &str {
    let target = request.headers().get("x-amz-target");
    target.and_then(|target| target.strip_prefix(TARGET)).unwrap_or_default()
}

impl fmt::Debug for LocalTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTable").finish_non_exhaustive()
    }
}

impl HttpConnector for LocalTable {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let table = self.clone();
        HttpConnectorFuture::new(async move {
            // Whoever makes many calls lets others work too, as with calls that are waited for.
            consume_budget().await;
            table.answer(&request)
        })
    }
}

/// The part of DynamoDB's protocol that Gantry speaks.
fn call(database: &Database, operation: &str, body: &[u8]) -> dynoxide::Result<String> {
    macro_rules! call {
        ($($name:literal => $method:ident,)+) => {
            match operation {
                $($name => write(&database.$method(read(body)?)?),)+
                _ => Err(DynoxideError::ValidationException(format!(
                    "{operation:?} is not an operation that Gantry calls"
                ))),
            }
        };
    }
    call! {
        "BatchGetItem" => batch_get_item,
        "BatchWriteItem" => batch_write_item,
        "CreateTable" => create_table,
        "DeleteItem" => delete_item,
        "DescribeTable" => describe_table,
        "GetItem" => get_item,
        "PutItem" => put_item,
        "Query" => query,
        "Scan" => scan,
        "TransactWriteItems" => transact_write_items,
        "UpdateItem" => update_item,
        "UpdateTimeToLive" => update_time_to_live,
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> dynoxide::Result<T> {
    serde_json::from_slice(body).map_err(|e| DynoxideError::SerializationException(e.to_string()))
}

fn write<T: serde::Serialize>(answer: &T) -> dynoxide::Result<String> {
    serde_json::to_string(answer).map_err(|e| DynoxideError::InternalServerError(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::{Client, error::ProvideErrorMetadata as _};
    use gantry_store::{Expect, Key, Outcome, Store, Write};

    #[tokio::test]
    async fn the_sdk_is_told_what_went_wrong_in_dynamodbs_words() {
        let table = LocalTable::in_memory().unwrap();
        let client = Client::new(&table.config());
        let error = client.describe_table().table_name("gantry").send().await.unwrap_err();
        assert_eq!(error.code(), Some("ResourceNotFoundException"));
        let error = client.list_backups().send().await.unwrap_err();
        assert_eq!(error.code(), Some("ValidationException"));
        assert!(error.message().unwrap().contains("ListBackups"), "{error:?}");
        assert_eq!(table.requests(), 2);
    }

    #[tokio::test]
    async fn what_a_file_holds_is_there_again_and_a_file_that_is_no_table_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = |file: &Path| {
            let table = LocalTable::in_file(file).unwrap();
            Store::new(Client::new(&table.config()), "gantry".to_owned())
        };
        let (file, key) = (folder.path().join("table.db"), Key::new("a", "b"));
        let first = store(&file);
        first.create_table_if_missing().await.unwrap();
        let written = first.write(vec![Write::put(key.clone(), Expect::Absent, &7).unwrap()]).await;
        assert_eq!(written.unwrap(), Outcome::Written);
        drop(first);
        assert_eq!(store(&file).get::<u64>(&key).await.unwrap().unwrap().value, 7);

        let damaged = folder.path().join("damaged.db");
        std::fs::write(&damaged, "no database, and longer than the head of one".repeat(9)).unwrap();
        let error = LocalTable::in_file(&damaged).unwrap_err();
        assert!(format!("{error:#}").contains("damaged.db cannot be opened"), "{error:#}");
    }
}
