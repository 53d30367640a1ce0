//! Output whose lines never end.

use crate::support::{LOG_SECRET, World};
use gantry_domain::protocol::ReportKind;
use std::time::Duration;

/// What the runner may need at most, for a line of 300 MB.
const MOST_MEMORY_KB: u64 = 150_000;

/// Secrets lie where pieces of the line begin and end, and everywhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_without_an_end_costs_no_memory_and_shows_no_secret() {
    let mut w = World::new(&[("infra/main.tf", "output \"one\" {\n  value = 1\n}\n")]).await;
    w.variable("HUSH", LOG_SECRET, true);
    let hook = "printf 'beginning '; for at in 1 2 3; do head -c 1048566 /dev/zero | tr '\\0' x; \
                printf %s \"$HUSH\"; done; yes \"$HUSH\" | tr -d '\\n' | head -c 300000000; echo; \
                echo afterwards";
    w.claim.hooks.before_plan = vec![hook.into()];
    let mut runner = w.program().spawn().unwrap();
    let status = format!("/proc/{}/status", runner.id());
    let mut memory = 0;
    while runner.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().trim_end_matches("kB").trim().parse().ok());
        memory = memory.max(peak.unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(memory > 0 && memory < MOST_MEMORY_KB, "{memory} kB");
    // The memory API refuses a log with the secret in it.
    let log = w.api.log();
    assert!(
        log.contains("\nbeginning xxx") && log.contains("The log is cut off here, after 128 MiB\n")
    );
    assert!(log.len() < 136 << 20, "{}", log.len());
    let end = w.api.reports().pop().unwrap();
    assert!(matches!(end, ReportKind::Planned { .. }), "{end:?}");
}
