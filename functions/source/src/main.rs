//! The fetching of archives as a Lambda function behind `source.fifo`.
//!
//! Settings: `GANTRY_TABLE`, `GANTRY_BUCKET`, `GANTRY_SECRETS_PREFIX`, `GANTRY_QUEUE_SOURCE_URL`,
//! `GANTRY_QUEUE_EVENTS_URL`,
//! `GANTRY_GITLAB_CA`, `RUST_LOG` ([`gantry_setup::deployment`]), and
//! `GANTRY_SOURCE_LARGEST_MB`: the largest archive that is kept, in megabytes (500).

use aws_lambda_events::event::sqs::SqsEvent;
use gantry_git::Git;
use gantry_gitlab::Connection;
use gantry_queue::{Driver, Handler, QueueName, Sender, Sqs, lambda, transport::sqs::QueueUrls};
use gantry_secrets::ManagedSecrets;
use gantry_setup::{Clock, Deployment, Objects, aws};
use gantry_source::{Deps, LARGEST_ARCHIVE, handler};
use gantry_store::Store;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use std::sync::Arc;

const MEGABYTE: u64 = 1_000_000;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let deployment = Deployment::start();
    let sdk = aws::from_environment().await;
    let clock = Clock::system();
    let store = Store::new(aws_sdk_dynamodb::Client::new(&sdk), deployment.table()?);
    let secrets = Arc::new(ManagedSecrets::new(
        aws_sdk_secretsmanager::Client::new(&sdk),
        deployment.secrets_prefix(),
    ));
    let urls = QueueUrls::default()
        .with(QueueName::Source, deployment.queue_url("SOURCE")?)?
        .with(QueueName::Events, deployment.queue_url("EVENTS")?)?;
    let queues = Arc::new(Sqs::new(aws_sdk_sqs::Client::new(&sdk), urls));
    let driver = Driver::new(Arc::clone(&queues) as _, Arc::new(store.clone()));
    let now = clock.clone();
    let sender = Sender::new(queues, Arc::new(move || now.now()));
    let now = clock.clone();
    let connection = Connection::new(store, secrets, Arc::new(move || now.now()));
    let ca_pem = deployment.gitlab_ca()?;
    let handler: Arc<dyn Handler> = Arc::new(handler(Deps {
        git: Git::trusting(ca_pem.clone()),
        sender,
        connection: Arc::new(connection.trusting(ca_pem)),
        objects: Objects::in_bucket(&deployment.bucket()?)?,
        clock: clock.clone(),
        largest: MEGABYTE
            * deployment.environment().parsed(
                "GANTRY_SOURCE_LARGEST_MB",
                "a number of megabytes",
                LARGEST_ARCHIVE / MEGABYTE,
            )?,
    }));
    lambda_runtime::run(service_fn(|event: LambdaEvent<SqsEvent>| {
        let remaining = lambda::remaining(event.context.deadline, clock.now());
        let (driver, handler) = (driver.clone(), Arc::clone(&handler));
        async move { Ok::<_, Error>(lambda::run(&driver, event.payload, remaining, &handler).await) }
    }))
    .await
}
