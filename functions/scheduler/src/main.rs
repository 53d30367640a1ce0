//! The scheduler as a Lambda function behind `events.fifo`, `starts`, `later` and EventBridge.
//!
//! Messages of `events.fifo` are the scheduler's own, those of `starts` become builds: what could not
//! be started at once, or waits for a runner that is free. Messages of `later`, which are nudges whose
//! time has come, are sent again to where they belong: this function knows every queue. EventBridge
//! tells of builds that ended badly; any other event is its timer's, once a minute, and sends one sweep
//! to `events.fifo`.
//!
//! Settings: `GANTRY_TABLE`, `GANTRY_SECRETS_PREFIX`, `GANTRY_QUEUE_<NAME>_URL` of all five queues,
//! `GANTRY_PUBLIC_URL`, `GANTRY_GITLAB_CA`, `RUST_LOG` ([`gantry_setup::deployment`]), and
//! `GANTRY_CODEBUILD_PROJECT`: where runners are started;
//! `GANTRY_PLAN_ROLE`, `GANTRY_APPLY_ROLE`: the roles (ARN) of runs whose stack names none;
//! `GANTRY_RUNNERS`: how many runs execute at once (10);
//! `GANTRY_COMPARE_EVERY`: how often a project is compared with GitLab (`10m`);
//! `GANTRY_COMPARE_CALLS`: how many calls of GitLab a minute that may take, together with what
//! GitLab refused and is asked again (60).

use gantry_connection::Connection;
use gantry_domain::stack::Roles;
use gantry_queue::{Driver, Handler, QueueName, QueueUrls, Resender, Sender, Sqs, lambda};
use gantry_scheduler::{Deps, Limits, RunnerApi, Scheduler, Starter};
use gantry_secrets::{ManagedSecrets, SecretName, Secrets, Signer};
use gantry_setup::{Clock, Deployment, aws, builds::CodeBuild};
use gantry_store::Store;
use lambda_runtime::Error;
use std::{process::ExitCode, sync::Arc};

#[tokio::main]
async fn main() -> ExitCode {
    Deployment::run(run).await
}

async fn run(deployment: Deployment) -> Result<(), Error> {
    let limits = Limits::from_environment(deployment.environment())?;
    let urls = QueueUrls::default()
        .with(QueueName::Events, deployment.queue_url("EVENTS")?)?
        .with(QueueName::Source, deployment.queue_url("SOURCE")?)?
        .with(QueueName::Feedback, deployment.queue_url("FEEDBACK")?)?
        .with(QueueName::Starts, deployment.queue_url("STARTS")?)?
        .with(QueueName::Later, deployment.queue_url("LATER")?)?;
    let (table, gitlab_ca) = (deployment.table()?, deployment.gitlab_ca()?);
    let (project, roles, api) = runners(deployment)?;
    let sdk = aws::from_environment().await;
    let clock = Clock::system();
    let time = clock.clone();
    let now = Arc::new(move || time.now());
    let store = Store::new(aws_sdk_dynamodb::Client::new(&sdk), table);
    let secrets: Arc<dyn Secrets> = Arc::new(ManagedSecrets::new(
        aws_sdk_secretsmanager::Client::new(&sdk),
        deployment.secrets_prefix()?,
    ));
    let queues = Arc::new(Sqs::new(aws_sdk_sqs::Client::new(&sdk), urls));
    let sender = Sender::new(Arc::clone(&queues) as _, now.clone());
    let ((), there) = tokio::join!(queues.connect(QueueName::Events), store.is_there());
    there?;
    let driver = Driver::new(Arc::clone(&queues) as _, Arc::new(store.clone()));
    let signing = secrets.required(SecretName::SigningKeys).await?;
    let connection = Connection::new(store.clone(), secrets, now.clone()).trusting(gitlab_ca);
    let starter = Arc::new(Starter {
        store: store.clone(),
        sender: sender.clone(),
        builds: Arc::new(CodeBuild::new(&sdk, project)),
        clock: clock.clone(),
        api,
    });
    let scheduler: Arc<dyn Handler> = Arc::new(Scheduler::new(Deps {
        store,
        sender: sender.clone(),
        dead_letters: queues,
        gitlab: Arc::new(connection),
        signer: Signer::new(&signing),
        clock: clock.clone(),
        limits,
        roles: Some(roles),
        runner_api: RunnerApi::at(&deployment.public_url()?)?,
        starter: Some(Arc::clone(&starter)),
    }));
    let handlers = [
        (QueueName::Events, scheduler),
        (QueueName::Starts, starter as Arc<dyn Handler>),
        (QueueName::Later, Arc::new(Resender::new(sender.clone())) as Arc<dyn Handler>),
    ];
    lambda::serve(driver, now, &handlers, Some((sender, gantry_scheduler::from_event))).await
}

/// Where runners are started, with which roles, and where they call.
fn runners(deployment: Deployment) -> Result<(String, Roles, String), Error> {
    let required = |name, expected| deployment.environment().required(name, expected);
    let project = required("GANTRY_CODEBUILD_PROJECT", "the name of the CodeBuild project")?;
    let role = |name| required(name, "the ARN of a role").map(Some);
    let roles = Roles { plan: role("GANTRY_PLAN_ROLE")?, apply: role("GANTRY_APPLY_ROLE")? };
    Ok((project, roles, deployment.public_url()?))
}
