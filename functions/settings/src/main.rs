//! Settings as a Lambda function behind API Gateway.

use anyhow::Context as _;
use gantry_queue::{QueueName, QueueUrls, Sender, Sqs};
use gantry_secrets::{ManagedSecrets, Sealer, SecretName, Secrets, Signer, random_secret};
use gantry_settings::{Deps, PublicUrl, ensure_first_admin_key, router};
use gantry_setup::{
    Clock, Environment, Objects, aws,
    telemetry::{self, LogFormat},
};
use gantry_store::Store;
use std::{path::PathBuf, sync::Arc, time::Duration};

struct Config {
    table: String,
    secrets_prefix: String,
    events_queue: String,
    objects: PathBuf,
    public_url: Option<PublicUrl>,
    ca_pem: Option<String>,
    command_wait: Duration,
}

impl Config {
    fn from_environment(environment: Environment) -> anyhow::Result<Self> {
        let public_url = environment
            .optional("GANTRY_PUBLIC_URL")
            .map(|text| {
                text.parse().with_context(|| {
                    format!("GANTRY_PUBLIC_URL should be this installation's address, not {text:?}")
                })
            })
            .transpose()?;
        let wait = environment.parsed("GANTRY_COMMAND_WAIT_MS", "milliseconds", 3000)?;
        Ok(Self {
            table: environment.required("GANTRY_TABLE", "the name of the DynamoDB table")?,
            secrets_prefix: environment
                .optional("GANTRY_SECRETS_PREFIX")
                .unwrap_or_else(|| "gantry/".to_owned()),
            events_queue: environment
                .required("GANTRY_EVENTS_QUEUE", "the address of the queue events.fifo")?,
            objects: environment
                .required("GANTRY_OBJECTS", "the folder that holds objects")?
                .into(),
            public_url,
            ca_pem: environment.optional("GANTRY_GITLAB_CA_PEM"),
            command_wait: Duration::from_millis(wait),
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    let environment = Environment;
    telemetry::start(LogFormat::Json, environment.optional("RUST_LOG").as_deref());
    let config = Config::from_environment(environment)?;
    let deps = connect(config).await?;
    ensure_first_admin_key(&deps.store, deps.secrets.as_ref(), &deps.clock).await?;
    lambda_http::run(router(deps)).await
}

async fn connect(config: Config) -> anyhow::Result<Deps> {
    let sdk = aws::from_environment().await;
    let clock = Clock::system();
    let secrets: Arc<dyn Secrets> = Arc::new(ManagedSecrets::new(
        aws_sdk_secretsmanager::Client::new(&sdk),
        config.secrets_prefix,
    ));
    let sealing = secrets.get_or_make(SecretName::SealingKey, random_secret).await?;
    let signing = secrets.get_or_make(SecretName::SigningKeys, random_secret).await?;
    let queues = QueueUrls::default().with(QueueName::Events, config.events_queue)?;
    let transport = Sqs::new(aws_sdk_sqs::Client::new(&sdk), queues);
    let now = clock.clone();
    Ok(Deps {
        store: Store::new(aws_sdk_dynamodb::Client::new(&sdk), config.table),
        sender: Sender::new(Arc::new(transport), Arc::new(move || now.now())),
        secrets,
        sealer: Sealer::new(&sealing),
        signer: Signer::new(&signing),
        objects: Objects::in_folder(&config.objects)?,
        clock,
        public_url: config.public_url,
        ca_pem: config.ca_pem,
        command_wait: config.command_wait,
    })
}
