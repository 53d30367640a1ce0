//! Every function of Gantry, put together from values.
//!
//! The host gives them a listener, timers and consumers; the scenarios pump them by hand. Neither
//! changes anything in them.

use gantry_connection::Connection;
use gantry_domain::text::names::Prefix;
use gantry_git::Git;
use gantry_local_queues::LocalQueues;
use gantry_objects::Objects;
use gantry_publisher::{Outside, Publisher};
use gantry_queue::{Driver, Handler, QueueName, Resender, Sender, Transport};
use gantry_scheduler::{Limits, RunnerApi, Scheduler};
use gantry_secrets::{Sealer, SecretName, Secrets, Signer, random_secret};
use gantry_settings::{PublicUrl, RunsConfinement};
use gantry_setup::Clock;
use gantry_store::Store;
use std::{sync::Arc, time::Duration};

/// What a system is put together from.
pub struct Parts {
    /// The records.
    pub store: Store,
    /// The queues.
    pub queues: Arc<LocalQueues>,
    /// What messages go into them by.
    pub transport: Arc<dyn Transport>,
    /// The secrets.
    pub secrets: Arc<dyn Secrets>,
    /// Archives, plans, states, changes.
    pub objects: Objects,
    /// The time.
    pub clock: Clock,
    /// Where people and GitLab reach it, when somebody said so.
    pub public_url: Option<PublicUrl>,
    /// Where this process itself listens: the address in links while `public_url` is missing.
    pub own_address: String,
    /// The numbers that an operator may turn.
    pub limits: Limits,
    /// Certificates (PEM) of authorities that GitLab's certificate may come from.
    pub ca_pem: Option<String>,
    /// How long an API request waits for the outcome of its command.
    pub command_wait: Duration,
    /// What runs on this machine are kept from.
    pub confinement: Option<RunsConfinement>,
}

/// The functions, ready to be called.
pub struct System {
    /// The records.
    pub store: Store,
    /// The queues.
    pub queues: Arc<LocalQueues>,
    /// The secrets.
    pub secrets: Arc<dyn Secrets>,
    /// Sends messages.
    pub sender: Sender,
    /// The time.
    pub clock: Clock,
    /// Every HTTP route: webhooks, runner API, admin API, run pages.
    pub router: axum::Router,
    /// Runs a handler on each message of a batch.
    pub driver: Driver,
    handlers: Vec<(QueueName, Arc<dyn Handler>)>,
}

impl System {
    /// Puts the functions together. Keys that are missing are made.
    pub async fn new(parts: Parts) -> anyhow::Result<Self> {
        let Parts { store, queues, transport, secrets, objects, clock, .. } = parts;
        let Parts { public_url, own_address, .. } = parts;
        // Without an address that others reach, links carry this machine's own.
        let public_url = public_url.or_else(|| own_address.parse().ok());
        let heard_at = RunnerApi::at(&own_address)?;
        let base = public_url.as_ref().map_or(own_address, |url| url.as_str().to_owned());
        let now = {
            let clock = clock.clone();
            Arc::new(move || clock.now())
        };
        let sender = Sender::new(Arc::clone(&transport), now.clone());
        let signer =
            Signer::new(&secrets.get_or_make(SecretName::SigningKeys, random_secret).await?);
        let sealer =
            Sealer::new(&secrets.get_or_make(SecretName::SealingKey, random_secret).await?);
        gantry_settings::ensure_first_admin_key(&store, &*secrets, &clock).await?;
        let connection = Arc::new(
            Connection::new(store.clone(), Arc::clone(&secrets), now)
                .trusting(parts.ca_pem.clone()),
        );

        let scheduler = Scheduler::new(gantry_scheduler::Deps {
            store: store.clone(),
            sender: sender.clone(),
            dead_letters: Arc::clone(&queues) as _,
            gitlab: Arc::clone(&connection),
            signer: signer.clone(),
            clock: clock.clone(),
            limits: parts.limits,
            roles: None,
            runner_api: heard_at,
            starter: None,
        });
        let publisher = Publisher::new(gantry_publisher::Deps {
            store: store.clone(),
            sender: sender.clone(),
            gitlab: Arc::clone(&connection),
            objects: objects.clone(),
            clock: clock.clone(),
            prefix: Prefix::default(),
            signer: signer.clone(),
            public_url: base.clone(),
            outside: Outside::new(Arc::clone(&secrets), parts.ca_pem.clone()),
        });
        let source = gantry_source::handler(gantry_source::Deps {
            connection,
            git: Git::trusting(parts.ca_pem.clone()),
            sender: sender.clone(),
            objects: objects.clone(),
            clock: clock.clone(),
            largest: gantry_source::LARGEST_ARCHIVE,
        });

        let runner_api = gantry_runner_api::Deps {
            walls: Default::default(),
            store: store.clone(),
            sender: sender.clone(),
            objects: objects.clone(),
            secrets: Arc::clone(&secrets),
            clock: clock.clone(),
            limits: gantry_runner_api::Limits::default(),
            public_url: base.clone(),
            identities: None,
        };
        let router = axum::Router::new()
            .merge(gantry_webhook::router(gantry_webhook::Deps {
                sender: sender.clone(),
                secrets: Arc::clone(&secrets),
                clock: clock.clone(),
            }))
            .merge(gantry_runner_api::router(runner_api.clone()))
            .merge(gantry_runner_api::admin_state_router(runner_api))
            .merge(gantry_settings::router(gantry_settings::Deps {
                store: store.clone(),
                sender: sender.clone(),
                dead_letters: Arc::clone(&queues) as _,
                secrets: Arc::clone(&secrets),
                sealer,
                signer,
                objects,
                clock: clock.clone(),
                public_url,
                ca_pem: parts.ca_pem,
                command_wait: parts.command_wait,
                confinement: parts.confinement,
            }));
        let driver = Driver::new(transport, Arc::new(store.clone()));
        let handlers: Vec<(QueueName, Arc<dyn Handler>)> = vec![
            (QueueName::Events, Arc::new(scheduler)),
            (QueueName::Feedback, Arc::new(publisher)),
            (QueueName::Source, Arc::new(source)),
            (QueueName::Later, Arc::new(Resender::new(sender.clone()))),
        ];
        Ok(Self { store, queues, secrets, sender, clock, router, driver, handlers })
    }

    /// The queues that functions read, with their handlers. Starts are the host's own business.
    pub fn handlers(&self) -> impl Iterator<Item = (QueueName, Arc<dyn Handler>)> {
        self.handlers.iter().map(|(queue, handler)| (*queue, Arc::clone(handler)))
    }
}
