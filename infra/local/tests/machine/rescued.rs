//! Somebody dies while it is applied, or the network does: nothing is made twice, the state is with
//! Gantry, and a person decides before anything is planned against the old one.

use crate::support::{Kind, SLUG, World, array, text};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use clap::Parser as _;
use gantry_domain::{protocol::NextAnswer, stack::Tool};
use gantry_engine::{Confinement, confine::MachinePolicy};
use gantry_local::Intervals;
use gantry_runner::{Arguments, CLAIM_TOKEN, Config, rescue::Rescuer};
use gantry_terraform::on_each_tool;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

const ONE: &str = "resource \"terraform_data\" \"one\" {\n  input = \"one\"\n}\n";
/// Waits in the run's own folder until the test lets it go on, and says much afterwards.
const SLOW: &str = r#"resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "echo it begins; until [ -e $TMPDIR/go ]; do sleep 0.05; done; seq 2000; echo hush: $HUSH"
  }
}
"#;

const SECRET: &str = "hunter-22-hunter";

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Killed {
    Runner,
    /// The host first: nobody is there when the runner dies.
    Both,
    /// A private worker and its runner, on a machine of their own.
    WorkerAndRunner,
    /// The worker alone: its runner goes on.
    Worker,
}

impl Killed {
    fn has_worker(self) -> bool {
        matches!(self, Self::Worker | Self::WorkerAndRunner)
    }
}

async fn state(w: &World) -> Value {
    w.api.get(&format!("/stacks/{SLUG}/state")).await.good()
}

fn end(process: u32) {
    kill(Pid::from_raw(process.try_into().unwrap()), Signal::SIGKILL).unwrap();
}

fn child_of(process: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    children.unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

/// The version that was rescued of the run, which has failed and blocks its stack.
async fn kept_aside(w: &World) -> Value {
    w.eventually("the reason", async || {
        let stack = w.api.get(&format!("/stacks/{SLUG}")).await.good();
        text(&stack, "/status/blocked/reason").contains("was set aside").then_some(())
    })
    .await;
    let known = state(w).await;
    let rescued: Vec<_> =
        array(&known, "/versions").iter().filter(|v| v["rescued"] == json!(true)).collect();
    assert_eq!(rescued.len(), 1, "{known:#}");
    assert_eq!(text(rescued[0], "/resources"), "2", "{known:#}");
    rescued[0]["version"].clone()
}

/// The next commit waits for a person, who puts the state right first. Then nothing is left to do.
async fn put_right(w: &World, next: &str, rescued: &Value) {
    w.run_is(next, "queued").await;
    let restore = json!({ "restore": rescued });
    w.api.post(&format!("/stacks/{SLUG}/state"), &restore).await.good();
    assert_eq!(text(&w.runs_of(next).await[0], "/state"), "queued", "it did not wait");
    let reason = json!({ "reason": "restored the state" });
    w.api.post(&format!("/stacks/{SLUG}/unblock"), &reason).await.good();
    w.run_is(next, "finished").await;
    let again = w.runs_of(next).await;
    assert_eq!(text(&again[0], "/delta/add"), "0", "it would be made again: {again:#?}");
    assert_eq!(w.runs().await.len(), 2);
}

async fn killed(tool: Tool, who: Killed) {
    let kind = match who {
        Killed::Both => Kind::Program,
        _ => Kind::Inside(Intervals::default()),
    };
    let mut w = World::on(tool, kind, &[("main.tf", ONE)]).await;
    let folder = tempfile::tempdir().unwrap();
    let (work, pool) = match who.has_worker() {
        true => (folder.path().join("worker"), "office"),
        false => (w.data_dir().join("runners"), ""),
    };
    // What comes next would be applied without a word.
    let secret = json!({ "name": "HUSH", "value": SECRET, "secret": true, "runs": "all" });
    w.stack(json!({ "autodeploy": true, "pool": pool, "variables": [secret] })).await;
    w.webhook().await;
    let mut worker = None;
    if who.has_worker() {
        let key = w.worker_key(pool).await;
        let command = w.worker(&key, &work);
        worker = Some((command, None));
    }
    if let Some((command, running)) = &mut worker {
        *running = Some(command.spawn().unwrap());
    }
    let commit = w.push("main", &format!("{ONE}{SLOW}"));
    let run = w.run_is(&commit, "applying").await;
    w.logged(&run, "it begins").await;
    if who == Killed::Both {
        w.kill().await;
    }
    let runner = match &mut worker {
        Some((_, running)) => {
            let mut running = running.take().unwrap();
            let runner = child_of(running.id().unwrap());
            running.kill().await.unwrap();
            runner
        }
        None => w.runners().pop().unwrap(),
    };
    if who != Killed::Worker {
        end(runner);
    }
    // It goes on while nobody is there.
    std::fs::write(work.join(&run).join("tmp/go"), "").unwrap();
    if who == Killed::Both {
        w.start_again().await;
    }
    if let Some((command, running)) = &mut worker {
        *running = Some(command.spawn().unwrap());
    }

    let ends = if who == Killed::Worker { "finished" } else { "failed" };
    w.run_is(&commit, ends).await;
    // What was said without the runner is there too, and masked.
    let log = w.log(&run).await;
    assert!(log.contains("1999\n") && log.contains("hush: (secret)\n"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
    w.eventually("an empty folder", async || (!work.join(&run).exists()).then_some(())).await;
    if who == Killed::Worker {
        let known = state(&w).await;
        assert_eq!(text(&known, "/current/resources"), "2", "{known:#}");
        let is_rescued = |v: &Value| v["rescued"] == json!(true);
        assert!(!array(&known, "/versions").iter().any(is_rescued), "{known:#}");
        return;
    }
    let shown = w.api.get(&format!("/runs/{run}")).await.good();
    let said = text(&shown, "/ending/summary");
    assert!(said.contains("its state was set aside"), "{shown:#}");
    let rescued = kept_aside(&w).await;
    let next = w.push("main", &format!("# The same.\n{ONE}{SLOW}"));
    put_right(&w, &next, &rescued).await;
}

/// What stands between a runner and Gantry.
#[derive(Clone)]
struct Gate {
    to: SocketAddr,
    http: reqwest::Client,
    passes: Arc<Mutex<Passes>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Passes {
    Everything,
    /// All but states.
    NoState,
    Nothing,
}

impl Gate {
    /// Its address, and itself.
    async fn before(to: SocketAddr) -> (SocketAddr, Self) {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy();
        let passes = Arc::new(Mutex::new(Passes::Everything));
        let gate = Self { to, http: http.build().unwrap(), passes };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(pass).with_state(gate.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (address, gate)
    }

    fn set(&self, passes: Passes) {
        *self.passes.lock().unwrap() = passes;
    }
}

async fn pass(
    State(gate): State<Gate>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let passes = *gate.passes.lock().unwrap();
    let is_state = method == Method::POST && uri.path() == "/runner/v1/state";
    match passes {
        Passes::Nothing => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Passes::NoState if is_state => {
            return (StatusCode::FORBIDDEN, "no state passes here").into_response();
        }
        _ => {}
    }
    let request = gate.http.request(method, format!("http://{}{uri}", gate.to));
    let answer = request.headers(headers).body(body).send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    (status, headers, answer.bytes().await.unwrap()).into_response()
}

/// A runner with little patience, in this process.
fn impatient(api: SocketAddr, claim_token: String, work: &Path) -> Config {
    let (path, work_text) = (gantry_terraform::path(), work.display().to_string());
    let api = format!("http://{api}");
    let arguments = ["gantry-runner", "--api", &api, "--work", &work_text];
    let variables =
        BTreeMap::from([(CLAIM_TOKEN.to_owned(), claim_token), ("PATH".to_owned(), path.clone())]);
    let mut config = Config::new(Arguments::parse_from(arguments), variables).unwrap();
    let machine = MachinePolicy {
        private: vec![work.to_owned()],
        path,
        may_read: gantry_terraform::needs(),
        ..MachinePolicy::default()
    };
    let policy = machine.policy().unwrap();
    (config.program, config.own_process) = (gantry_terraform::runner(), false);
    config.confinement = Some(Confinement::new(&config.program, policy));
    let short = Duration::from_millis(300);
    (config.timings.patience, config.timings.log) = (2 * short, short);
    (config.timings.state_patience, config.timings.report_patience) = (short, short);
    config
}

/// The runner lives, and Gantry takes no state, or cannot be reached, for longer than it waits.
async fn not_taken(tool: Tool, passes: Passes) {
    let w = World::on(tool, Kind::Inside(Intervals::default()), &[("main.tf", ONE)]).await;
    w.stack(json!({ "autodeploy": true, "pool": "office" })).await;
    w.webhook().await;
    let key = w.worker_key("office").await;
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("worker");
    std::fs::create_dir(&work).unwrap();
    let (address, gate) = Gate::before(w.address()).await;
    let commit = w.push("main", &format!("{ONE}{SLOW}"));
    let next = w
        .eventually("a run for the pool", async || {
            let next = format!("http://{address}/runner/v1/next");
            let answer = gate.http.post(next).bearer_auth(&key).json(&()).send().await.unwrap();
            answer.json::<NextAnswer>().await.ok()
        })
        .await;
    let runner = impatient(address, next.claim_token, &work);
    let runner = tokio::spawn(gantry_runner::run(runner));
    let run = w.run_is(&commit, "applying").await;
    w.logged(&run, "it begins").await;
    gate.set(passes);
    std::fs::write(work.join(&run).join("tmp/go"), "").unwrap();
    let error = runner.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("states remain in"), "{error}");

    // What comes next waits, whatever is known of this one.
    let next = w.push("main", &format!("# The same.\n{ONE}{SLOW}"));
    w.run_is(&next, "queued").await;
    if passes == Passes::NoState {
        w.run_is(&commit, "failed").await;
        let log = w.log(&run).await;
        assert!(log.contains("the state was not accepted: no state passes here"), "{log}");
        assert!(log.contains("a state is still on the runner's machine: /"), "{log}");
        let stack = w.api.get(&format!("/stacks/{SLUG}")).await.good();
        let reason = text(&stack, "/status/blocked/reason");
        assert!(reason.contains("only on the runner's machine"), "{stack:#}");
    }
    assert!(!Rescuer::new(work.clone(), None).look().await, "nobody takes it yet");
    gate.set(Passes::Everything);
    w.eventually("an empty folder", async || {
        Rescuer::new(work.clone(), None).look().await.then_some(())
    })
    .await;
    w.run_is(&commit, "failed").await;
    let rescued = kept_aside(&w).await;
    let _worker = w.worker(&key, &work).spawn().unwrap();
    put_right(&w, &next, &rescued).await;
}

on_each_tool! {
    async fn the_runner_is_killed(tool) {
        killed(tool, Killed::Runner).await;
    }

    async fn host_and_runner_are_killed(tool) {
        killed(tool, Killed::Both).await;
    }

    async fn a_worker_is_killed_with_its_runner(tool) {
        killed(tool, Killed::WorkerAndRunner).await;
    }

    async fn a_worker_is_killed_alone(tool) {
        killed(tool, Killed::Worker).await;
    }

    async fn no_state_is_taken(tool) {
        not_taken(tool, Passes::NoState).await;
    }

    async fn the_network_is_cut(tool) {
        not_taken(tool, Passes::Nothing).await;
    }
}
