//! The one-machine host: a listener, the consumers of the queues, the timer and the runners.

use crate::{
    folder::{self, Held},
    reach::Reach,
    starter::{self, Runners, Starter},
    system::{Parts, System},
    table,
    tls::Tls,
};
use anyhow::Context as _;
use gantry_domain::{integration::Integration, stack::Tool};
use gantry_engine::tool;
use gantry_local_queues::{LocalQueues, consume};
use gantry_local_table::LocalTable;
use gantry_objects::Objects;
use gantry_queue::{Handler, QueueName, SlotsMessage, StackMessage};
use gantry_runner::rescue::Rescuer;
use gantry_scheduler::Limits;
use gantry_secrets::FileSecrets;
use gantry_settings::{PublicUrl, RunsConfinement};
use gantry_setup::{Clock, web};
use gantry_store::{keys, scheduler::SlotEntry};
use jiff::SignedDuration;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// How the host is started.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Where to listen.
    pub address: SocketAddr,
    /// Where to listen for HTTPS as well.
    pub tls: Option<Tls>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where people and GitLab reach it, when somebody said so.
    pub public_url: Option<PublicUrl>,
    /// How many runs execute at once.
    pub runners: u32,
    /// The runner program.
    pub runner: PathBuf,
    /// `PATH` for runners: where `terraform` and `tofu` are found.
    pub path: String,
    /// The CLI configuration of Terraform and OpenTofu for runs that bring none.
    pub terraform_config: Option<PathBuf>,
    /// The user that Terraform and hooks run as, where the host is root.
    pub runner_user: Option<String>,
    /// What runs may reach besides their own.
    pub reach: Reach,
    /// A file of certificates (PEM) that GitLab's certificate may come from.
    pub ca_file: Option<PathBuf>,
    /// How often it looks by itself.
    pub intervals: Intervals,
}

impl HostConfig {
    /// Holds the data folder.
    pub(crate) fn hold(&self) -> anyhow::Result<Held> {
        Held::new(&self.data_dir, self.runner_user.is_some())
    }
}

/// How often the host looks by itself for what no message told.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// Between two sweeps. What is due waits at most this long.
    pub sweep: Duration,
    /// Between two comparisons of a project with GitLab.
    pub compare: SignedDuration,
    /// The same while no webhook of the project was seen.
    pub compare_unseen: SignedDuration,
    /// Calls of GitLab a minute that comparisons may make, all together.
    pub compare_calls: u32,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            sweep: Duration::from_secs(5),
            compare: Limits::default().compare_every,
            // A laptop that GitLab cannot call.
            compare_unseen: SignedDuration::from_secs(30),
            compare_calls: Limits::default().compare_calls,
        }
    }
}

/// A running host.
pub struct Host {
    /// Where it listens.
    pub address: SocketAddr,
    /// The functions in it.
    pub system: Arc<System>,
    /// The file that holds the admin key.
    pub secrets_file: PathBuf,
    /// What runs are kept from.
    pub confinement: RunsConfinement,
    table: LocalTable,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    runners: Runners,
    _data: Held,
}

/// Messages of different groups that are handled at the same time, a queue.
const SIDE_BY_SIDE: usize = 8;

impl Host {
    /// Starts everything. Answers once requests are taken.
    pub async fn start(config: HostConfig) -> anyhow::Result<Self> {
        let held = config.hold()?;
        Self::start_in(config, held).await
    }

    /// The same in the data folder that is held already.
    pub(crate) async fn start_in(config: HostConfig, held: Held) -> anyhow::Result<Self> {
        let data = &config.data_dir;
        let terraform_config = config.terraform_config.as_deref().map(readable).transpose()?;
        let closed = held.prepare()?;
        if closed > 0 {
            tracing::warn!(
                files = closed,
                "other users could read the folder {}; it is now closed to them",
                data.display()
            );
        }
        starter::check(&config.runner, &config.path).await?;
        let is_missing = |tool: &Tool| tool::on_path(*tool, &config.path).is_none();
        if [Tool::Terraform, Tool::OpenTofu].iter().all(is_missing) {
            tracing::warn!(
                "neither `terraform` nor `tofu` is on PATH ({}); only stacks that specify a \
                 version can run, with a release that is downloaded",
                config.path
            );
        }
        let reach = config.reach.checked(&config).await?;
        let listener = TcpListener::bind(config.address).await.with_context(|| {
            format!("{} is already in use; choose another address with GANTRY_ADDR", config.address)
        })?;
        let address = listener.local_addr()?;
        let tls = config.tls.clone().map(Tls::listen).transpose()?;
        let own_address = format!("http://{address}");
        let clock = Clock::system();
        let now_at_start = clock.now();
        let now = {
            let clock = clock.clone();
            Arc::new(move || clock.now())
        };
        let secrets_file = data.join("secrets.json");
        let queues = Arc::new(LocalQueues::open(&data.join("queues.db"), now)?);
        queues.take_back()?;
        let ca_pem = match &config.ca_file {
            None => None,
            Some(file) => Some(
                std::fs::read_to_string(file)
                    .with_context(|| format!("{} cannot be read", file.display()))?,
            ),
        };
        let local_table = LocalTable::in_file(&data.join("table.db"))?;
        let system = Arc::new(
            System::new(Parts {
                store: table::open(&local_table.config()).await?,
                transport: Arc::clone(&queues) as _,
                queues,
                secrets: Arc::new(FileSecrets::new(secrets_file.clone())),
                objects: Objects::in_folder(&data.join("objects"))?,
                clock,
                public_url: config.public_url.clone(),
                own_address: own_address.clone(),
                limits: Limits {
                    runners: config.runners,
                    sweep_every: SignedDuration::try_from(config.intervals.sweep)?,
                    compare_every: config.intervals.compare,
                    compare_unseen_every: config.intervals.compare_unseen,
                    compare_calls: config.intervals.compare_calls,
                    // Hooks that came while nobody listened are lost: what they would have told is
                    // found by comparing.
                    compare_anew_since: now_at_start,
                },
                ca_pem,
                command_wait: Duration::from_secs(10),
                confinement: Some(reach.clone()),
            })
            .await?,
        );
        grant_again(&system).await?;
        let starter = Starter {
            program: config.runner,
            api: own_address,
            work: made(data.join(folder::RUNNERS))?,
            private: private(data, config.tls.as_ref())?,
            reach: config.reach,
            logs: made(data.join("runner-logs"))?,
            path: config.path,
            terraform_config,
            user: config.runner_user,
            sender: system.sender.clone(),
            runners: Runners::default(),
        };
        let runners = starter.runners.clone();
        let rescuer = Rescuer::new(starter.work.clone(), Some(starter.api.parse()?));
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(rescue(rescuer, stopped.clone()));
        let handlers =
            system.handlers().chain([(QueueName::Starts, Arc::new(starter) as Arc<dyn Handler>)]);
        for (queue, handler) in handlers {
            let (queues, driver) = (Arc::clone(&system.queues), system.driver.clone());
            let until = until_stopped(stopped.clone());
            tasks.spawn(consume(queues, queue, driver, handler, SIDE_BY_SIDE, until));
        }
        tasks.spawn(sweep(Arc::clone(&system), config.intervals.sweep, stopped.clone()));
        let router = system.router.clone();
        if let Some(tls) = tls {
            tasks.spawn(tls.serve(router.clone(), until_stopped(stopped.clone())));
        }
        tasks.spawn(async move {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            let served = axum::serve(web::at_once(listener), service)
                .with_graceful_shutdown(until_stopped(stopped));
            if let Err(error) = served.await {
                tracing::error!("the listener failed: {error}");
            }
        });
        Ok(Self {
            address,
            system,
            secrets_file,
            confinement: reach,
            table: local_table,
            stop,
            tasks,
            runners,
            _data: held,
        })
    }

    /// Stops taking requests and messages, and ends when those under way are done. Runners go on.
    pub async fn stop(mut self) {
        let _nobody_listens = self.stop.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(10), all).await.is_err() {
            tracing::warn!(
                "something did not finish within 10 s; it will be resumed at the next start"
            );
        }
        // `make bench` reads it.
        tracing::debug!("the table has answered {} requests", self.table.requests());
    }

    /// The same for a host that nobody starts again: its runners end too.
    pub async fn stop_with_runners(self) {
        let runners = self.runners.clone();
        // They say that they end while somebody listens.
        runners.end(Duration::from_secs(5)).await;
        self.stop().await;
        // One that was started meanwhile.
        runners.end(Duration::ZERO).await;
    }
}

fn made(folder: PathBuf) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("the folder {} cannot be created", folder.display()))?;
    Ok(std::path::absolute(folder)?)
}

/// What no run may see: everything of the host's, and the key of its certificate.
pub(crate) fn private(data: &Path, tls: Option<&Tls>) -> anyhow::Result<Vec<PathBuf>> {
    let key = tls.map(|tls| tls.key.canonicalize()).transpose()?;
    Ok([std::path::absolute(data)?].into_iter().chain(key).collect())
}

/// A file that must be there, wherever runners look from.
fn readable(file: &Path) -> anyhow::Result<PathBuf> {
    std::fs::File::open(file)
        .with_context(|| format!("--terraform-config: {} cannot be read", file.display()))?;
    Ok(std::path::absolute(file)?)
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the host is gone, which is a stop as well.
    let _stopped_or_gone = stopped.wait_for(|stop| *stop).await;
}

/// A place in the room that was granted by a message which was never sent, or never handled.
async fn grant_again(system: &System) -> anyhow::Result<()> {
    let cause = system.clock.now().as_millisecond().unsigned_abs();
    for place in system.store.query_all::<SlotEntry>(keys::SLOTS, "").await? {
        let SlotEntry { run, stack, taken, .. } = place.value;
        if !taken {
            system.sender.send(StackMessage::Grant { stack, run, grant: cause }).await?;
        }
    }
    Ok(())
}

/// Looks after runs whose runner has died, those of an earlier host too.
async fn rescue(rescuer: Rescuer, stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = until_stopped(stopped) => {}
        () = rescuer.watch() => {}
    }
}

async fn sweep(system: Arc<System>, every: Duration, stopped: watch::Receiver<bool>) {
    let mut timer = tokio::time::interval(every);
    let mut stop = std::pin::pin!(until_stopped(stopped));
    loop {
        tokio::select! {
            () = &mut stop => return,
            _ = timer.tick() => {
                let cause = system.clock.now().as_millisecond().to_string();
                if let Err(error) = system.sender.send(SlotsMessage::Sweep { cause }).await {
                    tracing::error!("the sweep could not be asked for: {error}");
                }
            }
        }
    }
}

/// Waits for Ctrl-C, or for the polite end that service managers ask for.
pub async fn asked_to_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    tokio::select! {
        asked = tokio::signal::ctrl_c() => asked.context("Ctrl-C cannot be waited for"),
        _ = terminate.recv() => Ok(()),
    }
}

/// Who reaches the host at its public address, and who does not.
fn how_it_is_reached(public_url: Option<&PublicUrl>) -> String {
    let calls = match public_url {
        Some(url) if !url.is_loopback() => format!("GitLab calls {url}/webhooks/gitlab."),
        _ => "GitLab cannot call this machine, so changes are found by polling GitLab every 30 s. \
              Set GANTRY_PUBLIC_URL to an address that GitLab can call."
            .to_owned(),
    };
    match public_url.and_then(PublicUrl::without_registry) {
        Some(why) => format!("{calls}\n{why}."),
        None => calls,
    }
}

/// What the host says when it is up: where it is, where the key is, what to do next.
pub fn welcome(
    host: &Host,
    public_url: Option<&PublicUrl>,
    integration: Option<&Integration>,
) -> String {
    let here = format!("http://{}", host.address);
    let key = host.secrets_file.display();
    let runs = &host.confinement.words;
    let reached = how_it_is_reached(public_url);
    let next = match integration.filter(|known| known.linked) {
        Some(Integration { api_host, bot, .. }) => {
            let gitlab = api_host.split_once("://").map_or(api_host.as_str(), |(_, host)| host);
            format!("Connected to {gitlab} as @{}.", bot.username)
        }
        None => first_steps(&here, &key.to_string()),
    };
    format!(
        "Gantry is up at {here}\n\
         The first access key (role admin) is \"admin-key\" in {key}\n\
         {reached}\n\
         {runs}\n\n\
         {next}\n\
         API description: {here}/api/v1/openapi.json\n\
         Press Ctrl-C to stop; everything is kept in the data folder."
    )
}

/// What to do where no GitLab is connected.
fn first_steps(here: &str, key: &str) -> String {
    format!(
        "Next, sign in at {here} and connect your GitLab, or do the same through the API\n\
         (with a token with scope api, preferably from a bot user):\n\
         \x20 KEY=$(python3 -c 'import json;print(json.load(open(\"{key}\"))[\"admin-key\"])')\n\
         \x20 curl -X PUT {here}/api/v1/integration -H \"Authorization: Bearer $KEY\" \\\n\
         \x20   -H 'Content-Type: application/json' \\\n\
         \x20   -d '{{\"api_host\":\"https://gitlab.com\",\"token\":\"glpat-…\"}}'\n\
         and then create a stack:\n\
         \x20 curl -X POST {here}/api/v1/stacks -H \"Authorization: Bearer $KEY\" \\\n\
         \x20   -H 'Content-Type: application/json' \\\n\
         \x20   -d '{{\"name\":\"Network\",\"project\":\"group/project\",\"branch\":\"main\",\"project_root\":\"network\"}}'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_certificate_is_kept_from_runs() {
        let folder = tempfile::tempdir().unwrap();
        let (key, link) = (folder.path().join("key.pem"), folder.path().join("link.pem"));
        std::fs::write(&key, "a key").unwrap();
        std::os::unix::fs::symlink(&key, &link).unwrap();
        let address = ([127, 0, 0, 1], 0).into();
        let tls = Tls { address, certificate: key.clone(), key: link };
        let kept = private(Path::new("/data"), Some(&tls)).unwrap();
        assert_eq!(kept, [PathBuf::from("/data"), key.canonicalize().unwrap()]);
    }

    #[test]
    fn an_address_that_cannot_be_a_registrys_is_told_at_the_start() {
        let said = |url: &str| how_it_is_reached(Some(&url.parse().unwrap()));
        for url in ["http://localhost:8283", "http://gantry:8080"] {
            let expected =
                format!("Terraform and OpenTofu do not accept {url} as a module registry: ");
            assert!(said(url).contains(&expected), "{}", said(url));
        }
        for url in ["http://127.0.0.1:8283", "https://gantry.example.com"] {
            assert!(!said(url).contains("Terraform"), "{}", said(url));
        }
        assert!(!how_it_is_reached(None).contains("Terraform"));
    }
}
