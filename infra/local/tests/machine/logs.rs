//! A log that is seen while what writes it goes on.

use crate::support::{Kind, World};
use gantry_terraform::on_each_tool;
use serde_json::json;
use std::time::{Duration, Instant};

/// What is promised.
const SOON: Duration = Duration::from_secs(3);
const SECRET: &str = "hunter-22-hunter";

on_each_tool! {
    async fn a_line_is_seen_while_its_hook_goes_on(tool) {
        let w = World::on(tool, Kind::Program, &[("main.tf", "# Nothing yet.\n")]).await;
        // Nothing is printed after the line, so that nothing but time brings it.
        let waits = "echo it waits for $HUSH; touch $TMPDIR/said; \
                     until [ -e $TMPDIR/go ]; do sleep 0.05; done";
        let secret = json!({ "name": "HUSH", "value": SECRET, "secret": true, "runs": "all" });
        w.stack(json!({ "variables": [secret], "hooks": { "before_plan": [waits] } })).await;
        w.webhook().await;
        let commit = w.push("topic", "output \"one\" {\n  value = 1\n}\n");
        let run = w.run_is(&commit, "planning").await;
        let folder = w.data_dir().join("runners").join(&run).join("tmp");
        w.eventually("the hook", async || folder.join("said").exists().then_some(())).await;
        let said = Instant::now();
        w.logged(&run, "\nit waits for (secret)\n").await;
        let took = said.elapsed();
        assert!(!folder.join("go").exists() && took < SOON, "it took {took:?}");
        std::fs::write(folder.join("go"), "").unwrap();
        w.run_is(&commit, "finished").await;
    }
}
