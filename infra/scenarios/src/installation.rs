//! The part of an installation that ends with its process, and what outlives it.

use crate::stops::{self, BeforeObjects, BeforeQueues, Stops};
use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse as _, Response},
};
use gantry_local::{Parts, System, table};
use gantry_local_queues::LocalQueues;
use gantry_objects::Objects;
use gantry_scheduler::Limits;
use gantry_secrets::{FileSecrets, SecretName, Secrets as _};
use gantry_setup::{Clock, aws::SdkConfig};
use jiff::SignedDuration;
use object_store::local::LocalFileSystem;
use secrecy::ExposeSecret as _;
use std::{
    convert::Infallible,
    net::Ipv4Addr,
    path::Path,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

/// What outlives the process: the table, the files, the address.
pub(crate) struct Installation {
    folder: TempDir,
    table: SdkConfig,
    clock: Clock,
    /// The address of every HTTP route.
    pub(crate) base: String,
    /// The routes of the process that runs now.
    routes: Arc<RwLock<Router>>,
    stops: Stops,
    pub(crate) front: Arc<Front>,
}

/// What is between the process and its callers.
#[derive(Default)]
pub(crate) struct Front {
    /// Nobody answers runners.
    pub(crate) runner_api_is_away: AtomicBool,
    /// Processes end over what people change, too.
    pub(crate) people_are_watched: AtomicBool,
}

impl Installation {
    /// An empty one, with this table.
    pub(crate) async fn new(clock: Clock, table: SdkConfig, stops: Stops) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let base = format!("http://{}", listener.local_addr()?);
        let routes = Arc::new(RwLock::new(Router::new()));
        let front = Arc::new(Front::default());
        let state = (Arc::clone(&routes), stops.clone(), Arc::clone(&front));
        let router = Router::new().fallback(to_current).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("objects"))?;
        Ok(Self { folder, table, clock, base, routes, stops, front })
    }

    /// A process. It has nothing of the one before but what that one has written.
    pub(crate) async fn start(&self) -> anyhow::Result<System> {
        let now = {
            let clock = self.clock.clone();
            move || clock.now()
        };
        let queues = LocalQueues::open(&self.folder().join("queues.db"), Arc::new(now))?;
        queues.take_back()?;
        let queues = Arc::new(queues);
        let transport =
            BeforeQueues { stops: self.stops.clone(), queues: Arc::clone(&queues) as _ };
        let objects = LocalFileSystem::new_with_prefix(self.folder().join("objects"))?;
        let objects = BeforeObjects { stops: self.stops.clone(), objects: Arc::new(objects) };
        let system = System::new(Parts {
            store: table::open(&self.table).await?,
            queues,
            transport: Arc::new(transport),
            secrets: Arc::new(self.secrets()),
            objects: Objects::new(Arc::new(objects)),
            clock: self.clock.clone(),
            public_url: None,
            own_address: self.base.clone(),
            limits: Limits {
                runners: 4,
                // Stories let hours pass in a few steps.
                sweep_every: SignedDuration::from_mins(10),
                compare_every: SignedDuration::from_mins(10),
                compare_unseen_every: SignedDuration::from_secs(30),
                ..Limits::default()
            },
            ca_pem: None,
            command_wait: Duration::ZERO,
            confinement: None,
        })
        .await?;
        *self.routes.write().unwrap() = system.router.clone();
        Ok(system)
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The key of the first admin.
    pub(crate) async fn admin_key(&self) -> anyhow::Result<String> {
        let key = self.secrets().get(SecretName::AdminKey).await?;
        Ok(key.unwrap().expose_secret().to_owned())
    }

    fn secrets(&self) -> FileSecrets {
        FileSecrets::new(self.folder().join("secrets.json"))
    }
}

/// A process that ends over a call gives no answer; whoever is before it says so.
async fn to_current(
    State((routes, stops, front)): State<(Arc<RwLock<Router>>, Stops, Arc<Front>)>,
    request: Request,
) -> Result<Response, Infallible> {
    let current = routes.read().unwrap().clone();
    let path = request.uri().path();
    let is_of_runners = path.starts_with("/runner/");
    let is_watched = is_of_runners
        || path.starts_with("/webhooks/")
        || (request.method() != Method::GET && front.people_are_watched.load(Ordering::Relaxed));
    if !is_watched {
        return current.oneshot(request).await;
    }
    if is_of_runners && front.runner_api_is_away.load(Ordering::Relaxed) {
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    }
    let kind = stops::without_ids(&format!("{} {path}", request.method()));
    let answer = stops.watch(&kind, current.oneshot(request)).await;
    answer.unwrap_or_else(|| Ok(StatusCode::BAD_GATEWAY.into_response()))
}
