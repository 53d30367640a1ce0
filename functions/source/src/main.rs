//! The fetching of archives as a Lambda function behind `source.fifo`.
//!
//! Settings: `GANTRY_TABLE`, `GANTRY_BUCKET`, `GANTRY_SECRETS_PREFIX`, `GANTRY_QUEUE_SOURCE_URL`,
//! `GANTRY_QUEUE_EVENTS_URL`, `GANTRY_GITLAB_CA`, `RUST_LOG` ([`gantry_setup::deployment`]), and
//! `GANTRY_SOURCE_LARGEST_MB`: the largest archive that is kept, in megabytes (500).

use gantry_connection::Connection;
use gantry_git::Git;
use gantry_objects::Objects;
use gantry_queue::{Driver, Handler, QueueName, Sender, Sqs, lambda, transport::sqs::QueueUrls};
use gantry_secrets::ManagedSecrets;
use gantry_setup::{Clock, Deployment, aws};
use gantry_source::{Deps, LARGEST_ARCHIVE, handler};
use gantry_store::Store;
use lambda_runtime::Error;
use std::{process::ExitCode, sync::Arc};

const MEGABYTE: u64 = 1_000_000;

#[tokio::main]
async fn main() -> ExitCode {
    Deployment::run(run).await
}

async fn run(deployment: Deployment) -> Result<(), Error> {
    let sdk = aws::from_environment().await;
    let clock = Clock::system();
    let store = Store::new(aws_sdk_dynamodb::Client::new(&sdk), deployment.table()?);
    let secrets = Arc::new(ManagedSecrets::new(
        aws_sdk_secretsmanager::Client::new(&sdk),
        deployment.secrets_prefix()?,
    ));
    let urls = QueueUrls::default()
        .with(QueueName::Source, deployment.queue_url("SOURCE")?)?
        .with(QueueName::Events, deployment.queue_url("EVENTS")?)?;
    let queues = Arc::new(Sqs::new(aws_sdk_sqs::Client::new(&sdk), urls));
    let ((), there) = tokio::join!(queues.connect(QueueName::Source), store.is_there());
    there?;
    let driver = Driver::new(Arc::clone(&queues) as _, Arc::new(store.clone()));
    let now = {
        let clock = clock.clone();
        Arc::new(move || clock.now())
    };
    let sender = Sender::new(queues, now.clone());
    let connection = Connection::new(store, secrets, now.clone());
    let ca_pem = deployment.gitlab_ca()?;
    let handler: Arc<dyn Handler> = Arc::new(handler(Deps {
        git: Git::trusting(ca_pem.clone()),
        sender,
        connection: Arc::new(connection.trusting(ca_pem)),
        objects: Objects::in_bucket(&deployment.bucket()?)?,
        clock,
        largest: MEGABYTE
            * deployment.environment().parsed(
                "GANTRY_SOURCE_LARGEST_MB",
                "a number of megabytes",
                LARGEST_ARCHIVE / MEGABYTE,
            )?,
    }));
    lambda::serve(driver, now, &[(QueueName::Source, handler)], None).await
}
