//! The scheduler as a Lambda function behind `events.fifo`, `later` and a timer.
//!
//! Messages of `events.fifo` are the scheduler's own. Messages of `later`, which are nudges whose
//! time has come, are sent again to where they belong: this function knows every queue. Any other
//! event is the timer's, from EventBridge once a minute: it sends one sweep to `events.fifo`.
//!
//! Settings: `GANTRY_TABLE`, `GANTRY_SECRETS_PREFIX`, `GANTRY_QUEUE_<NAME>_URL` of all five queues,
//! `GANTRY_GITLAB_CA`, `RUST_LOG` ([`gantry_setup::deployment`]), and
//! `GANTRY_RUNNERS`: how many runs execute at once (10);
//! `GANTRY_COMPARE_EVERY`: how often a project is compared with GitLab (`10m`).

use aws_lambda_events::event::sqs::SqsBatchResponse;
use gantry_gitlab::Connection;
use gantry_queue::{
    Driver, Handler, Message, QueueName, QueueUrls, Resender, Sender, Sqs,
    lambda::{self, Call},
};
use gantry_scheduler::{Deps, Limits, Scheduler};
use gantry_secrets::{ManagedSecrets, SecretName, Secrets, Signer, random_secret};
use gantry_setup::{Clock, Deployment, aws};
use gantry_store::Store;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let deployment = Deployment::start();
    let limits = limits(deployment)?;
    let urls = QueueUrls::default()
        .with(QueueName::Events, deployment.queue_url("EVENTS")?)?
        .with(QueueName::Source, deployment.queue_url("SOURCE")?)?
        .with(QueueName::Feedback, deployment.queue_url("FEEDBACK")?)?
        .with(QueueName::Starts, deployment.queue_url("STARTS")?)?
        .with(QueueName::Later, deployment.queue_url("LATER")?)?;
    let (table, gitlab_ca) = (deployment.table()?, deployment.gitlab_ca()?);
    let sdk = aws::from_environment().await;
    let clock = Clock::system();
    let now = {
        let clock = clock.clone();
        Arc::new(move || clock.now())
    };
    let store = Store::new(aws_sdk_dynamodb::Client::new(&sdk), table);
    let secrets: Arc<dyn Secrets> = Arc::new(ManagedSecrets::new(
        aws_sdk_secretsmanager::Client::new(&sdk),
        deployment.secrets_prefix(),
    ));
    let queues = Arc::new(Sqs::new(aws_sdk_sqs::Client::new(&sdk), urls));
    let sender = Sender::new(Arc::clone(&queues) as _, now.clone());
    let driver = Driver::new(queues, Arc::new(store.clone()));
    let signing = secrets.get_or_make(SecretName::SigningKeys, random_secret).await?;
    let connection = Connection::new(store.clone(), secrets, now).trusting(gitlab_ca);
    let scheduler: Arc<dyn Handler> = Arc::new(Scheduler::new(Deps {
        store,
        sender: sender.clone(),
        gitlab: Arc::new(connection),
        signer: Signer::new(&signing),
        clock: clock.clone(),
        limits,
    }));
    let resender: Arc<dyn Handler> = Arc::new(Resender::new(sender.clone()));
    lambda_runtime::run(service_fn(|event: LambdaEvent<serde_json::Value>| {
        let remaining = lambda::remaining(event.context.deadline, clock.now());
        let (driver, sender) = (driver.clone(), sender.clone());
        let (scheduler, resender) = (Arc::clone(&scheduler), Arc::clone(&resender));
        async move {
            match Call::try_from(event.payload)? {
                Call::Batch(batch) => {
                    let later = lambda::queue(&batch) == Some(QueueName::Later);
                    let handler = if later { &resender } else { &scheduler };
                    Ok::<_, Error>(lambda::run(&driver, batch, remaining, handler).await)
                }
                Call::Timer => {
                    // Lambda calls again with the same id when this fails.
                    sender.send(Message::Sweep { cause: event.context.request_id }).await?;
                    Ok(SqsBatchResponse::default())
                }
            }
        }
    }))
    .await
}

fn limits(deployment: Deployment) -> Result<Limits, Error> {
    let usual = Limits::default();
    let environment = deployment.environment();
    let every =
        environment.parsed("GANTRY_COMPARE_EVERY", "a time span (10m)", usual.compare_every)?;
    Ok(Limits {
        room: environment.parsed("GANTRY_RUNNERS", "a number of runs", usual.room)?,
        compare_every: every,
        compare_unseen_every: every,
    })
}
