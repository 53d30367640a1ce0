//! The webhook as a Lambda function behind an HTTP API.
//!
//! Settings: `GANTRY_QUEUE_EVENTS_URL`, `GANTRY_SECRETS_PREFIX`, `RUST_LOG`
//! ([`gantry_setup::deployment`]).

use gantry_queue::{QueueName, Sender, Sqs, transport::sqs::QueueUrls};
use gantry_secrets::ManagedSecrets;
use gantry_setup::{Clock, Deployment, aws, lambda};
use gantry_webhook::{Deps, ready_router};
use std::{process::ExitCode, sync::Arc, time::Duration};

/// GitLab gives up after 10 seconds. Who cannot say by then that the queue has the message says that
/// it has not.
const PATIENCE: Duration = Duration::from_millis(9500);

// One request at a time: more threads would only cost start time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    Deployment::run(run).await
}

async fn run(deployment: Deployment) -> Result<(), lambda_http::Error> {
    let sdk = aws::from_environment_within(PATIENCE).await;
    let clock = Clock::system();
    let events = deployment.queue_url("EVENTS")?;
    let urls = QueueUrls::default().with(QueueName::Events, events)?;
    let queues = Arc::new(Sqs::new(aws_sdk_sqs::Client::new(&sdk), urls));
    let secrets = ManagedSecrets::new(
        aws_sdk_secretsmanager::Client::new(&sdk),
        deployment.secrets_prefix()?,
    );
    let now = clock.clone();
    let deps = Deps {
        sender: Sender::new(Arc::clone(&queues) as _, Arc::new(move || now.now())),
        secrets: Arc::new(secrets.fresh_for(Duration::ZERO)),
        clock,
    };
    // Two calls before the first event, at the same time: it then costs one, on open connections.
    let (router, ()) = tokio::join!(ready_router(deps), queues.connect(QueueName::Events));
    lambda::run(router).await
}
