//! The running server: listening, the state's lock, sending webhooks.

mod api_http;
mod git_http;
mod http;
mod oauth_http;
mod send;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::config::{Config, DeliveryMode, Gate};
use crate::delivery::{Delivery, DeliveryResult};
use crate::git::backend;
use crate::model::State;

/// A running fake GitLab; clones are handles of the same server, which ends with the last one.
#[derive(Clone)]
pub struct FakeGitlab {
    pub(crate) shared: Arc<Shared>,
    _running: Arc<Running>,
}

/// What requests, background work and handles share.
pub(crate) struct Shared {
    state: Mutex<State>,
    addr: SocketAddr,
    base_url: String,
    /// Wakes the background work.
    wake: Notify,
    /// One push at a time, so that it is clear whose refs moved.
    pushes: tokio::sync::Mutex<()>,
    client: reqwest::Client,
    gate: Option<Gate>,
}

/// Ends the server when the last handle goes.
struct Running {
    tasks: Vec<AbortHandle>,
    _folder: Option<TempDir>,
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl FakeGitlab {
    /// Starts a server on `config.addr`.
    ///
    /// # Errors
    /// When the address is taken or the data folder cannot be written.
    pub async fn start(config: Config) -> Result<Self> {
        let client = client()?;
        let (folder, data) = match &config.data_dir {
            // A folder of our own: what is in it is removed at the start.
            Some(path) => (None, path.join("fake-gitlab")),
            None => {
                let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
                let path = folder.path().to_path_buf();
                (Some(folder), path)
            }
        };
        // Repositories without the state that belongs to them are of no use.
        let _ = std::fs::remove_dir_all(data.join("repositories"));
        std::fs::create_dir_all(&data)?;
        let data = data.canonicalize().context("cannot find the data folder")?;
        backend::write_hooks(&data.join("hooks"))?;
        let listener = TcpListener::bind(config.addr)
            .await
            .with_context(|| format!("cannot listen on {}", config.addr))?;
        let addr = listener.local_addr()?;
        let base_url = format!("http://{addr}");
        let mode = config.delivery;
        let gate = config.gate.clone();
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(config, base_url.clone(), data)),
            addr,
            base_url,
            wake: Notify::new(),
            pushes: tokio::sync::Mutex::new(()),
            client,
            gate,
        });
        let mut tasks = vec![tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle()];
        if mode == DeliveryMode::Immediate {
            tasks.push(tokio::spawn(send::work(Arc::clone(&shared))).abort_handle());
        }
        Ok(Self { shared, _running: Arc::new(Running { tasks, _folder: folder }) })
    }

    /// The address that people and clients use, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.shared.base_url
    }

    /// The address of its socket.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// Sends one webhook; the same one again is a resend.
    pub async fn deliver(&self, delivery: Delivery) -> DeliveryResult {
        send::deliver(&self.shared, delivery, false).await
    }

    /// Works on the state; hooks that this queues are sent afterwards.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        self.shared.with(work)
    }
}

impl Shared {
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        state.tick();
        let result = work(&mut state);
        state.tick();
        drop(state);
        self.wake.notify_one();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A handler that panicked is a bug of the fake; others may still look at the state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One client for all servers of the process: making one reads the machine's certificates.
fn client() -> Result<reqwest::Client> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    // Somebody else in the process may have chosen a provider already; any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        // Tests have a runtime each, and a kept connection would die with its own.
        .pool_max_idle_per_host(0)
        .no_proxy()
        .build()
        .context("cannot create an HTTP client")?;
    Ok(CLIENT.get_or_init(|| client).clone())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with the server.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Without this, answers that go out in two writes wait for the client's delayed ACK.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| http::handle(Arc::clone(&shared), request));
            // A client that goes away is none of our business.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}
