//! The Lambda service in small: `cargo lambda watch` is its API, and each function is a process.

use crate::{deployed::Function, tools};
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::File,
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A process that ends with its handle, and everything it started.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts it in a process group of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.process_group(0).stdin(Stdio::null()).spawn();
        child.map(Self).with_context(|| format!("{:?} does not start", command.get_program()))
    }

    /// True while it runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Whether it ended well; none while it runs.
    pub fn ended(&mut self) -> Option<bool> {
        match self.0.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.success()),
            Err(_) => Some(false),
        }
    }

    /// Stops it where it is, as a machine does that is gone.
    pub fn freeze(&self) {
        let group = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        // It may have ended by itself.
        let _gone = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGSTOP);
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        // It may have ended by itself.
        let _gone = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _status = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that is free now.
///
/// # Errors
/// When the machine has none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The Lambda service.
pub struct Lambda {
    http: reqwest::Client,
    /// Where `cargo lambda watch` is: `http://127.0.0.1:1`.
    pub address: String,
    folder: PathBuf,
    functions: BTreeMap<String, Function>,
    /// Variables of every function, besides its own.
    common: BTreeMap<String, String>,
    processes: Mutex<BTreeMap<String, Process>>,
    invocations: AtomicUsize,
    _service: Process,
}

/// How an invocation came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// The function said so.
    #[error("the function failed: {0}")]
    Failed(String),
    /// It was ended at its timeout, or its process died; a new one is there.
    #[error("the function was ended")]
    Ended,
}

impl Lambda {
    /// Starts the service, and no function. Logs go to files in `folder`.
    ///
    /// # Errors
    /// When `cargo lambda watch` does not come up.
    pub async fn start(
        folder: &Path,
        functions: BTreeMap<String, Function>,
        common: BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let log = File::create(folder.join("cargo-lambda.log"))?;
        let mut service = Process::start(
            Command::new(tools::folder()?.join("cargo-lambda"))
                .args(["lambda", "watch", "--only-lambda-apis", "-A", "127.0.0.1", "-P"])
                .arg(port.to_string())
                .current_dir(tools::repository())
                .stdout(log.try_clone()?)
                .stderr(log),
        )?;
        let address = format!("http://127.0.0.1:{port}");
        let http = reqwest::Client::builder().no_proxy().build()?;
        for _ in 0..600 {
            // A request would wait for a function.
            if tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
                let (processes, invocations) = (Mutex::default(), AtomicUsize::new(0));
                let folder = folder.to_owned();
                return Ok(Self {
                    http,
                    address,
                    folder,
                    functions,
                    common,
                    processes,
                    invocations,
                    _service: service,
                });
            }
            if !service.runs() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("cargo lambda watch does not come up: see {}", folder.display())
    }

    /// The functions' names in the template.
    pub fn names(&self) -> Vec<String> {
        self.functions.keys().cloned().collect()
    }

    /// Starts (again) the function of this name in the template.
    ///
    /// # Errors
    /// When its program was not built or cannot be started.
    pub fn spawn(&self, name: &str) -> anyhow::Result<()> {
        let variables = self.variables(name)?;
        let mut processes = self.processes.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Ended before the next one asks for work.
        processes.remove(name);
        let log = File::options().create(true).append(true).open(self.log(name))?;
        let mut command = Command::new(tools::program(&package(name))?);
        command.env_clear().envs(variables).stdout(log.try_clone()?).stderr(log);
        processes.insert(name.to_owned(), Process::start(&mut command)?);
        Ok(())
    }

    /// Ends the function's process, as when its machine is lost.
    pub fn kill(&self, name: &str) {
        self.processes.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(name);
    }

    /// All variables that the function of this name is started with.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn variables(&self, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let function = self.functions.get(name).with_context(|| format!("no function {name}"))?;
        let mut variables = function.environment.clone();
        variables.extend(self.common.clone());
        let own = [
            ("AWS_ACCESS_KEY_ID", name.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_LAMBDA_FUNCTION_NAME", package(name)),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "1".to_owned()),
            ("AWS_LAMBDA_RUNTIME_API", format!("{}/.rt/{}", self.address, package(name))),
        ];
        variables.extend(own.map(|(name, value)| (name.to_owned(), value)));
        Ok(variables)
    }

    /// How often functions were invoked so far.
    pub fn invocations(&self) -> usize {
        self.invocations.load(Ordering::Relaxed)
    }

    /// The file with what the function of this name logged.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// The metrics that functions wrote, by name: the sums of their values.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn metrics(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        let mut sums = BTreeMap::new();
        for name in self.functions.keys() {
            let log = std::fs::read_to_string(self.log(name))?;
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            for line in lines.filter(|line| line["_aws"].is_object()) {
                let metric = &line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"];
                let metric = metric.as_str().context("a metric without a name")?;
                *sums.entry(metric.to_owned()).or_default() +=
                    line[metric].as_f64().context("a metric without a value")?;
            }
        }
        Ok(sums)
    }

    /// The function's answer to an event, as Lambda gives it: one that does not come before the
    /// function's timeout never comes, and the next event finds a new process.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn invoke(&self, name: &str, event: &Value) -> Result<Value, InvokeError> {
        self.invocations.fetch_add(1, Ordering::Relaxed);
        let timeout = self.functions.get(name).map_or(30, |function| function.timeout);
        let url = format!("{}/2015-03-31/functions/{}/invocations", self.address, package(name));
        let sent = self.http.post(url).json(event).send();
        let dies = async {
            while self.runs(name) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let answer = tokio::select! {
            answer = sent => answer.ok(),
            () = tokio::time::sleep(Duration::from_secs(timeout)) => None,
            () = dies => None,
        };
        let Some(answer) = answer else {
            if let Err(error) = self.spawn(name) {
                eprintln!("{error:#}");
            }
            return Err(InvokeError::Ended);
        };
        let status = answer.status();
        let text = answer.text().await.map_err(|error| InvokeError::Failed(error.to_string()))?;
        if !status.is_success() {
            return Err(InvokeError::Failed(text));
        }
        serde_json::from_str(&text).map_err(|error| InvokeError::Failed(error.to_string()))
    }

    fn runs(&self, name: &str) -> bool {
        let mut processes = self.processes.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        processes.get_mut(name).is_some_and(Process::runs)
    }
}

/// The program of a function: `RunnerApi` is `gantry-runner-api`.
pub fn package(name: &str) -> String {
    let mut package = "gantry".to_owned();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            package.push('-');
        }
        package.push(letter.to_ascii_lowercase());
    }
    package
}
