//! The runner API as a Lambda function behind an HTTP API. It serves the runners' routes and the
//! admin routes to states.
//!
//! Settings: `GANTRY_TABLE`, `GANTRY_BUCKET`, `GANTRY_SECRETS_PREFIX`, `GANTRY_QUEUE_EVENTS_URL`,
//! `GANTRY_QUEUE_SOURCE_URL`, `RUST_LOG` ([`gantry_setup::deployment`]).

use gantry_queue::{QueueName, Sender, Sqs, transport::sqs::QueueUrls};
use gantry_runner_api::{Deps, Limits, admin_state_router, router};
use gantry_secrets::ManagedSecrets;
use gantry_setup::{Clock, Deployment, Objects, aws};
use gantry_store::Store;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    let deployment = Deployment::start();
    let sdk = aws::from_environment().await;
    let clock = Clock::system();
    let urls = QueueUrls::default()
        .with(QueueName::Events, deployment.queue_url("EVENTS")?)?
        .with(QueueName::Source, deployment.queue_url("SOURCE")?)?;
    let queues = Arc::new(Sqs::new(aws_sdk_sqs::Client::new(&sdk), urls));
    let now = clock.clone();
    let deps = Deps {
        store: Store::new(aws_sdk_dynamodb::Client::new(&sdk), deployment.table()?),
        sender: Sender::new(queues, Arc::new(move || now.now())),
        objects: Objects::in_bucket(&deployment.bucket()?)?,
        secrets: Arc::new(ManagedSecrets::new(
            aws_sdk_secretsmanager::Client::new(&sdk),
            deployment.secrets_prefix(),
        )),
        clock,
        limits: Limits::default(),
        public_url: deployment.public_url()?,
    };
    lambda_http::run(router(deps.clone()).merge(admin_state_router(deps))).await
}
