//! The variables that every deployed function reads, by their one name each.
//!
//! | variable | meaning |
//! |---|---|
//! | `GANTRY_TABLE` | the DynamoDB table's name |
//! | `GANTRY_BUCKET` | the S3 bucket's name |
//! | `GANTRY_SECRETS_PREFIX` | what secrets' names begin with: `gantry/` |
//! | `GANTRY_QUEUE_<NAME>_URL` | a queue's address: `EVENTS`, `SOURCE`, `FEEDBACK`, `STARTS`, `LATER` |
//! | `GANTRY_PUBLIC_URL` | the address in links and webhooks |
//! | `GANTRY_GITLAB_CA` | certificates (PEM) of the GitLab server's own authority, or a file with them |
//! | `GANTRY_INSTALLATION` | the name that its metrics carry |
//! | `RUST_LOG` | what is logged; `info` when not set |
//!
//! A function asks only for those that it uses, and is given only those.

use crate::{
    Environment,
    environment::EnvironmentError,
    metrics,
    telemetry::{self, LogFormat},
};
use std::{error::Error, process::ExitCode};

/// The settings of a deployed function.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deployment(Environment);

impl Deployment {
    /// Starts JSON logs and runs a function with its settings. An error that ends it is one line
    /// of the log: a missing variable, table or secret is named there.
    pub async fn run<F, E>(function: impl FnOnce(Self) -> F) -> ExitCode
    where
        F: Future<Output = Result<(), E>>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        telemetry::start(LogFormat::Json, Environment.optional("RUST_LOG").as_deref());
        let started = async {
            // Without it every metric, and with it every alarm, would be silent.
            let installation =
                Environment.required("GANTRY_INSTALLATION", "the installation's name (gantry)")?;
            metrics::start(installation);
            function(Self(Environment)).await.map_err(Into::into)
        };
        match started.await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("the function ends: {}", with_causes(&*error));
                ExitCode::FAILURE
            }
        }
    }

    /// For settings that only one function has.
    pub fn environment(self) -> Environment {
        self.0
    }

    /// The table's name.
    pub fn table(self) -> Result<String, EnvironmentError> {
        self.0.required("GANTRY_TABLE", "the name of the DynamoDB table")
    }

    /// The bucket's name.
    pub fn bucket(self) -> Result<String, EnvironmentError> {
        self.0.required("GANTRY_BUCKET", "the name of the S3 bucket")
    }

    /// What the names of secrets begin with.
    pub fn secrets_prefix(self) -> Result<String, EnvironmentError> {
        self.0.required("GANTRY_SECRETS_PREFIX", "what the names of secrets begin with (gantry/)")
    }

    /// A queue's address, by the queue's name (`EVENTS`).
    pub fn queue_url(self, queue: &str) -> Result<String, EnvironmentError> {
        let expected = "the address of an SQS queue (https://sqs.…/gantry-…)";
        self.0.required(&format!("GANTRY_QUEUE_{queue}_URL"), expected)
    }

    /// The address in links and webhooks, where it is known before the first request.
    pub fn public_url_if_set(self) -> Option<String> {
        self.0.optional("GANTRY_PUBLIC_URL").map(|url| url.trim_end_matches('/').to_owned())
    }

    /// The address in links and webhooks, without a trailing slash.
    pub fn public_url(self) -> Result<String, EnvironmentError> {
        let url =
            self.0.required("GANTRY_PUBLIC_URL", "an address (https://gantry.example.com)")?;
        Ok(url.trim_end_matches('/').to_owned())
    }

    /// Certificates of the GitLab server's own authority, if it has one.
    pub fn gitlab_ca(self) -> Result<Option<String>, EnvironmentError> {
        let name = "GANTRY_GITLAB_CA";
        let Some(path) = self.0.optional(name) else { return Ok(None) };
        if path.contains("-----BEGIN CERTIFICATE-----") {
            return Ok(Some(path));
        }
        std::fs::read_to_string(path).map(Some).map_err(|error| EnvironmentError::Wrong {
            name: name.to_owned(),
            expected: "certificates (PEM), or a file with them".to_owned(),
            problem: error.to_string(),
        })
    }
}

/// An error and its causes in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.replace('\n', " ")
}
