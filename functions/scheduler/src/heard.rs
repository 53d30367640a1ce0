//! Whether runners can be heard: time in which runner-api does not answer counts against no run.

use anyhow::Context as _;
use gantry_domain::protocol::{VERSION, VERSION_HEADER};
use std::time::Duration;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The way that runners' signs of life take.
#[derive(Debug, Clone)]
pub struct RunnerApi {
    http: reqwest::Client,
    address: String,
}

impl RunnerApi {
    /// The API at the address that runners are given.
    ///
    /// # Errors
    /// When this machine lets nobody make HTTP calls.
    pub fn at(address: &str) -> anyhow::Result<Self> {
        gantry_setup::crypto::install();
        let mut builder = reqwest::Client::builder().timeout(TIMEOUT);
        if address.starts_with("http://") {
            // Reading the machine's certificates takes time, and none will be asked for.
            builder = builder.tls_certs_only([]);
        }
        Ok(Self { http: builder.build()?, address: format!("{address}/runner/v1/alive") })
    }

    /// Asks it whether it answers.
    pub(crate) async fn answers(&self) -> anyhow::Result<()> {
        let request = self.http.get(&self.address).header(VERSION_HEADER, VERSION);
        let answer = request.send().await.with_context(|| self.address.clone())?;
        anyhow::ensure!(
            answer.status() == reqwest::StatusCode::NO_CONTENT,
            "{} answered {}",
            self.address,
            answer.status()
        );
        Ok(())
    }
}
