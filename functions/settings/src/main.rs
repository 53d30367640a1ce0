//! Settings as a Lambda function behind an HTTP API.
//!
//! Settings: `GANTRY_TABLE`, `GANTRY_BUCKET`, `GANTRY_SECRETS_PREFIX`, `GANTRY_QUEUE_EVENTS_URL`,
//! `GANTRY_PUBLIC_URL`, `GANTRY_GITLAB_CA`, `RUST_LOG` ([`gantry_setup::deployment`]), and
//! `GANTRY_COMMAND_WAIT_MS`: how long a request waits for the outcome of its command.

use anyhow::Context as _;
use axum::middleware::map_request;
use gantry_queue::{QueueName, QueueUrls, Sender, Sqs};
use gantry_secrets::{ManagedSecrets, Sealer, SecretName, Secrets, Signer, random_secret};
use gantry_settings::{Deps, PublicUrl, ensure_first_admin_key, router};
use gantry_setup::{Clock, Deployment, Objects, aws, web::ClientAddress};
use gantry_store::Store;
use lambda_http::request::RequestContext;
use std::{sync::Arc, time::Duration};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    let deps = connect(Deployment::start()).await?;
    ensure_first_admin_key(&deps.store, deps.secrets.as_ref(), &deps.clock).await?;
    lambda_http::run(router(deps).layer(map_request(with_address))).await
}

/// Tells handlers where a request comes from, as API Gateway saw it.
async fn with_address(mut request: axum::extract::Request) -> axum::extract::Request {
    if let Some(RequestContext::ApiGatewayV2(context)) =
        request.extensions().get::<RequestContext>()
        && let Some(address) = context.http.source_ip.clone()
    {
        request.extensions_mut().insert(ClientAddress(address));
    }
    request
}

async fn connect(deployment: Deployment) -> anyhow::Result<Deps> {
    let wait = deployment.environment().parsed("GANTRY_COMMAND_WAIT_MS", "milliseconds", 3000)?;
    let queues = QueueUrls::default().with(QueueName::Events, deployment.queue_url("EVENTS")?)?;
    let table = deployment.table()?;
    let objects = Objects::in_bucket(&deployment.bucket()?)?;
    let sdk = aws::from_environment().await;
    let clock = Clock::system();
    let secrets: Arc<dyn Secrets> = Arc::new(ManagedSecrets::new(
        aws_sdk_secretsmanager::Client::new(&sdk),
        deployment.secrets_prefix(),
    ));
    let sealing = secrets.get_or_make(SecretName::SealingKey, random_secret).await?;
    let signing = secrets.get_or_make(SecretName::SigningKeys, random_secret).await?;
    let transport = Sqs::new(aws_sdk_sqs::Client::new(&sdk), queues);
    let now = clock.clone();
    Ok(Deps {
        store: Store::new(aws_sdk_dynamodb::Client::new(&sdk), table),
        sender: Sender::new(Arc::new(transport), Arc::new(move || now.now())),
        secrets,
        sealer: Sealer::new(&sealing),
        signer: Signer::new(&signing),
        objects,
        clock,
        public_url: public_url(deployment)?,
        ca_pem: deployment.gitlab_ca()?,
        command_wait: Duration::from_millis(wait),
    })
}

/// The public address may be missing: the answers then say what that means.
fn public_url(deployment: Deployment) -> anyhow::Result<Option<PublicUrl>> {
    let name = "GANTRY_PUBLIC_URL";
    let Some(text) = deployment.environment().optional(name) else { return Ok(None) };
    let url = text.parse().with_context(|| {
        format!("{name} should be an address (https://gantry.example.com), not {text:?}")
    })?;
    Ok(Some(url))
}
