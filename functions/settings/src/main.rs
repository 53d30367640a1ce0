//! Settings as a Lambda function behind an HTTP API.
//!
//! Settings: `GANTRY_TABLE`, `GANTRY_BUCKET`, `GANTRY_SECRETS_PREFIX`, `GANTRY_QUEUE_<NAME>_URL` of all five queues,
//! `GANTRY_PUBLIC_URL`, `GANTRY_GITLAB_CA`, `RUST_LOG` ([`gantry_setup::deployment`]), and
//! `GANTRY_ADMIN_CIDRS`: the networks that people may come from;
//! `GANTRY_COMMAND_WAIT_MS`: how long a request waits for the outcome of its command.

use gantry_objects::Objects;
use gantry_queue::{QueueName, QueueUrls, Sender, Sqs};
use gantry_secrets::{ManagedSecrets, Sealer, SecretName, Secrets, Signer};
use gantry_settings::{Deps, PublicUrl, ensure_first_admin_key, router};
use gantry_setup::{
    Clock, Deployment, aws,
    environment::EnvironmentError,
    lambda::{self, Networks},
};
use gantry_store::Store;
use std::{process::ExitCode, sync::Arc, time::Duration};

#[tokio::main]
async fn main() -> ExitCode {
    Deployment::run(run).await
}

async fn run(deployment: Deployment) -> Result<(), lambda_http::Error> {
    let (url, networks) = (public_url(deployment)?, Networks::from_environment(deployment)?);
    let deps = connect(deployment).await?;
    ensure_first_admin_key(&deps.store, deps.secrets.as_ref(), &deps.clock).await?;
    lambda::serve(url, networks, |address| {
        router(Deps { public_url: address.parse().ok(), ..deps.clone() })
    })
    .await
}

async fn connect(deployment: Deployment) -> anyhow::Result<Deps> {
    let wait = deployment.environment().parsed("GANTRY_COMMAND_WAIT_MS", "milliseconds", 3000)?;
    let queues = QueueUrls::default()
        .with(QueueName::Events, deployment.queue_url("EVENTS")?)?
        .with(QueueName::Source, deployment.queue_url("SOURCE")?)?
        .with(QueueName::Feedback, deployment.queue_url("FEEDBACK")?)?
        .with(QueueName::Starts, deployment.queue_url("STARTS")?)?
        .with(QueueName::Later, deployment.queue_url("LATER")?)?;
    let table = deployment.table()?;
    let objects = Objects::in_bucket(&deployment.bucket()?)?;
    let sdk = aws::from_environment().await;
    let clock = Clock::system();
    let secrets: Arc<dyn Secrets> = Arc::new(ManagedSecrets::new(
        aws_sdk_secretsmanager::Client::new(&sdk),
        deployment.secrets_prefix()?,
    ));
    let sealing = secrets.required(SecretName::SealingKey).await?;
    let signing = secrets.required(SecretName::SigningKeys).await?;
    secrets.required(SecretName::AdminKey).await?;
    let store = Store::new(aws_sdk_dynamodb::Client::new(&sdk), table);
    let queues = Arc::new(Sqs::new(aws_sdk_sqs::Client::new(&sdk), queues));
    let ((), there) = tokio::join!(queues.connect(QueueName::Events), store.is_there());
    there?;
    let now = clock.clone();
    Ok(Deps {
        store,
        sender: Sender::new(Arc::clone(&queues) as _, Arc::new(move || now.now())),
        dead_letters: queues,
        secrets,
        sealer: Sealer::new(&sealing),
        signer: Signer::new(&signing),
        objects,
        clock,
        // Said with the first request, at the latest.
        public_url: None,
        ca_pem: deployment.gitlab_ca()?,
        command_wait: Duration::from_millis(wait),
        // Builds and workers say it in their own logs.
        confinement: None,
    })
}

/// The address that was set, checked; none where the first request says it.
fn public_url(deployment: Deployment) -> Result<Option<String>, EnvironmentError> {
    let Some(url) = deployment.public_url_if_set() else { return Ok(None) };
    match url.parse::<PublicUrl>() {
        Ok(_) => Ok(Some(url)),
        Err(error) => Err(EnvironmentError::Wrong {
            name: "GANTRY_PUBLIC_URL".to_owned(),
            expected: "a URL (https://gantry.example.com)".to_owned(),
            problem: error.to_string(),
        }),
    }
}
