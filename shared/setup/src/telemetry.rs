//! Logs: JSON lines on AWS, readable lines on a terminal.

use crate::Environment;
use std::io::{IsTerminal as _, stderr};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Starts logging to standard error. `filter` is in `RUST_LOG`'s language; a filter that cannot
/// be read falls back to `info`. A second call changes nothing.
pub fn start(format: LogFormat, filter: Option<&str>) {
    let filter =
        filter.and_then(|f| EnvFilter::try_new(f).ok()).unwrap_or_else(|| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_target(false).with_ansi(colors()).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging had been started before");
    }
}

/// Whether log lines have colors: on a terminal, unless `NO_COLOR` is set. A file is searched.
pub fn colors() -> bool {
    stderr().is_terminal() && Environment.optional("NO_COLOR").is_none()
}
