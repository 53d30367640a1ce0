//! The runner API as a Lambda function behind an HTTP API. It serves the runners' routes and the
//! admin routes to states.
//!
//! Settings: `GANTRY_TABLE`, `GANTRY_BUCKET`, `GANTRY_SECRETS_PREFIX`, `GANTRY_QUEUE_EVENTS_URL`,
//! `GANTRY_QUEUE_SOURCE_URL`, `GANTRY_PUBLIC_URL`, `GANTRY_ADMIN_CIDRS`, `RUST_LOG` ([`gantry_setup::deployment`]).

use gantry_objects::Objects;
use gantry_queue::{QueueName, Sender, Sqs, transport::sqs::QueueUrls};
use gantry_runner_api::{Deps, Limits, admin_state_router, router};
use gantry_secrets::{ManagedSecrets, SecretName};
use gantry_setup::{
    Clock, Deployment, aws,
    identity::Verifier,
    lambda::{self, Networks},
};
use gantry_store::Store;
use std::{process::ExitCode, sync::Arc};

#[tokio::main]
async fn main() -> ExitCode {
    Deployment::run(run).await
}

async fn run(deployment: Deployment) -> Result<(), lambda_http::Error> {
    let sdk = aws::from_environment().await;
    let clock = Clock::system();
    let urls = QueueUrls::default()
        .with(QueueName::Events, deployment.queue_url("EVENTS")?)?
        .with(QueueName::Source, deployment.queue_url("SOURCE")?)?;
    let queues = Arc::new(Sqs::new(aws_sdk_sqs::Client::new(&sdk), urls));
    let now = clock.clone();
    let deps = Deps {
        walls: Default::default(),
        store: Store::new(aws_sdk_dynamodb::Client::new(&sdk), deployment.table()?),
        sender: Sender::new(Arc::clone(&queues) as _, Arc::new(move || now.now())),
        objects: Objects::in_bucket(&deployment.bucket()?)?,
        secrets: Arc::new(ManagedSecrets::new(
            aws_sdk_secretsmanager::Client::new(&sdk),
            deployment.secrets_prefix()?,
        )),
        clock,
        limits: Limits::default(),
        // Said with the first request, at the latest.
        public_url: String::new(),
        identities: Some(Verifier::new(&sdk)?),
    };
    let ((), there) = tokio::join!(queues.connect(QueueName::Events), deps.store.is_there());
    there?;
    deps.secrets.required(SecretName::SigningKeys).await?;
    deps.secrets.required(SecretName::SealingKey).await?;
    let networks = Networks::from_environment(deployment)?;
    lambda::serve(deployment.public_url_if_set(), networks, |public_url| {
        let deps = Deps { public_url, ..deps.clone() };
        router(deps.clone()).merge(admin_state_router(deps))
    })
    .await
}
