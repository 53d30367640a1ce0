//! The publisher as a Lambda function behind `feedback.fifo`.
//!
//! Settings: `GANTRY_TABLE`, `GANTRY_BUCKET`, `GANTRY_SECRETS_PREFIX`, `GANTRY_QUEUE_FEEDBACK_URL`,
//! `GANTRY_QUEUE_LATER_URL`, `GANTRY_PUBLIC_URL`, `GANTRY_GITLAB_CA`, `RUST_LOG`
//! ([`gantry_setup::deployment`]).

use gantry_connection::Connection;
use gantry_domain::text::names::Prefix;
use gantry_objects::Objects;
use gantry_publisher::{Deps, Outside, Publisher};
use gantry_queue::{Driver, Handler, QueueName, QueueUrls, Sender, Sqs, lambda};
use gantry_secrets::{ManagedSecrets, SecretName, Secrets, Signer};
use gantry_setup::{Clock, Deployment, aws};
use gantry_store::Store;
use lambda_runtime::Error;
use std::{process::ExitCode, sync::Arc};

#[tokio::main]
async fn main() -> ExitCode {
    Deployment::run(run).await
}

async fn run(deployment: Deployment) -> Result<(), Error> {
    let urls = QueueUrls::default()
        .with(QueueName::Feedback, deployment.queue_url("FEEDBACK")?)?
        .with(QueueName::Later, deployment.queue_url("LATER")?)?;
    let (table, gitlab_ca) = (deployment.table()?, deployment.gitlab_ca()?);
    let public_url = deployment.public_url()?;
    let objects = Objects::in_bucket(&deployment.bucket()?)?;
    let sdk = aws::from_environment().await;
    let clock = Clock::system();
    let now = {
        let clock = clock.clone();
        Arc::new(move || clock.now())
    };
    let store = Store::new(aws_sdk_dynamodb::Client::new(&sdk), table);
    let secrets: Arc<dyn Secrets> = Arc::new(ManagedSecrets::new(
        aws_sdk_secretsmanager::Client::new(&sdk),
        deployment.secrets_prefix()?,
    ));
    let queues = Arc::new(Sqs::new(aws_sdk_sqs::Client::new(&sdk), urls));
    let driver = Driver::new(Arc::clone(&queues) as _, Arc::new(store.clone()));
    let signer = Signer::new(&secrets.required(SecretName::SigningKeys).await?);
    let ((), there) = tokio::join!(queues.connect(QueueName::Feedback), store.is_there());
    there?;
    let outside = Outside::new(Arc::clone(&secrets), gitlab_ca.clone());
    let publisher: Arc<dyn Handler> = Arc::new(Publisher::new(Deps {
        sender: Sender::new(queues, now.clone()),
        gitlab: Arc::new(Connection::new(store.clone(), secrets, now.clone()).trusting(gitlab_ca)),
        store,
        objects,
        clock,
        prefix: Prefix::default(),
        signer,
        public_url,
        outside,
    }));
    lambda::serve(driver, now, &[(QueueName::Feedback, publisher)], None).await
}
