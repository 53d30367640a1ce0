//! What a run's code plants in its folders for the runner, which nothing confines, to follow.

use crate::support::World;
use flate2::read::GzDecoder;
use gantry_domain::{
    protocol::ReportKind,
    stack::{Hooks, Tool},
};
use gantry_terraform::on_each_tool;
use std::{fs, io::Read as _, path::PathBuf};

const SECRET: &str = "what-no-run-may-see";
const ONE: &str = "resource \"terraform_data\" \"one\" {\n  input = \"a\"\n}\n";

/// A stack, and beside its run what looks like the workspace of another one.
struct Beside {
    w: World,
    other: PathBuf,
    _folder: tempfile::TempDir,
}

impl Beside {
    async fn new(tool: Tool, code: &str) -> Self {
        let w = World::on(tool, &[("infra/main.tf", code), ("shared/x", "x")]).await;
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        fs::create_dir_all(other.join("infra/.terraform")).unwrap();
        let files = [
            ("secrets.json", SECRET.to_owned()),
            ("infra/main.tf", format!("# {SECRET}\n{ONE}")),
            ("infra/terraform.tfstate", format!("{{\"version\": 4, \"{SECRET}\": 1}}")),
            ("infra/errored.tfstate", format!("{{\"version\": 4, \"{SECRET}\": 2}}")),
            ("infra/.terraform.lock.hcl", SECRET.to_owned()),
            (
                "infra/.terraform/terraform.tfstate",
                format!("{{\"backend\": {{\"type\": \"{SECRET}\", \"config\": {{}}}}}}"),
            ),
        ];
        for (name, body) in files {
            fs::write(other.join(name), body).unwrap();
        }
        Self { w, other, _folder: folder }
    }

    /// With `OTHER` for the other one's workspace.
    fn hook(&self, command: &str) -> Vec<String> {
        vec![format!("OTHER={}; {command}", self.other.display())]
    }

    /// Everything that has left the run, and the other one's files.
    fn look(&self) -> (String, Vec<PathBuf>) {
        let data = self.w.api.data();
        let mut all = format!("{:?} {:?} {:?}", data.reports, data.states, data.rescued);
        if let Some(plan) = &data.plan {
            let mut unpacked = Vec::new();
            GzDecoder::new(plan.as_slice()).read_to_end(&mut unpacked).unwrap();
            all.push_str(&String::from_utf8_lossy(&unpacked));
        }
        drop(data);
        all.push_str(&self.w.api.log());
        let mut files = Vec::new();
        let mut folders = vec![self.other.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                files.push(path);
            }
        }
        files.sort();
        (all, files)
    }
}

/// A link where the workspace was, one where its folder was, and one where a file was; and the hooks
/// that it is tried in.
const SWAPS: &[(&str, &str)] = &[
    ("cd ../.. && mv workspace own && ln -s $OTHER workspace", "before_init after_init after_plan"),
    ("cd .. && mv infra own && ln -s $OTHER/infra infra", "before_init before_plan"),
    ("rm -f main.tf && ln -s $OTHER/infra/main.tf main.tf", "before_init"),
    ("mv .terraform own; ln -s $OTHER/infra/.terraform .terraform", "after_init"),
    (
        "rm -f .terraform.lock.hcl && ln -s $OTHER/infra/.terraform.lock.hcl .terraform.lock.hcl",
        "before_init after_plan",
    ),
    ("rm -f ../../plan.tfplan && ln -s $OTHER/secrets.json ../../plan.tfplan", "after_plan"),
    ("rm -rf ../../cli-config && ln -s $OTHER ../../cli-config", "after_plan"),
    ("ln -s $OTHER all && ln -s $OTHER/secrets.json one", "after_plan"),
];

/// The same while it is applied.
const SWAPS_IN_APPLY: &[&str] = &[
    "cd ../.. && mv workspace own && ln -s $OTHER workspace",
    "cd .. && mv infra own && ln -s $OTHER/infra infra",
    "ln -sf $OTHER/infra/errored.tfstate . && ln -sf $OTHER/infra/terraform.tfstate .",
];

on_each_tool! {
    async fn no_link_leads_the_runner_elsewhere(tool) {
        let mut holes = Vec::new();
        for (swap, hooks) in SWAPS {
            for when in hooks.split(' ') {
                let mut beside = Beside::new(tool, ONE).await;
                let hook = beside.hook(swap);
                let hooks = &mut beside.w.claim.hooks;
                match when {
                    "before_init" => hooks.before_init = hook,
                    "after_init" => hooks.after_init = hook,
                    "before_plan" => hooks.before_plan = hook,
                    _ => hooks.after_plan = hook,
                }
                let before = beside.look().1;
                let _ended = gantry_runner::run(beside.w.offer()).await;
                let (all, after) = beside.look();
                if all.contains(SECRET) || before != after {
                    holes.push((when, *swap));
                }
            }
        }
        assert!(holes.is_empty(), "{holes:#?}");
    }

    async fn no_state_of_somebody_elses_is_taken_for_the_runs(tool) {
        for swap in SWAPS_IN_APPLY {
            let code = format!(
                "variable \"other\" {{}}\nresource \"terraform_data\" \"one\" {{\n  provisioner \
                 \"local-exec\" {{\n    command = \"OTHER=${{var.other}}; {swap}\"\n  }}\n}}\n"
            );
            let mut beside = Beside::new(tool, &code).await;
            beside.w.claim.autodeploy = true;
            let other = beside.other.display().to_string();
            beside.w.variable("TF_VAR_other", &other, false);
            let before = beside.look().1;
            let _ended = gantry_runner::run(beside.w.offer()).await;
            let (all, after) = beside.look();
            assert!(all.contains("Applied"), "{swap}\n{all}");
            assert!(!all.contains(SECRET), "{swap}");
            assert_eq!(before, after, "{swap}");
        }
    }

    async fn pipes_and_sockets_hold_nothing_up(tool) {
        let mut beside = Beside::new(tool, ONE).await;
        let names = "errored.tfstate terraform.tfstate .terraform.lock.hcl pipe";
        beside.w.claim.hooks = Hooks {
            before_init: vec!["mkfifo linked.tfvars && ln -s linked.tfvars x.tfvars".to_owned()],
            after_plan: vec![format!(
                "rm -f .terraform.lock.hcl && mkfifo {names} && /usr/bin/python3 -c \
                 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'"
            )],
            ..Hooks::default()
        };
        let planned = beside.w.run().await;
        assert!(matches!(planned, ReportKind::Planned { .. }), "{planned:?}");
        beside.w.confirm(&planned);
        let applied = beside.w.run().await;
        assert!(matches!(applied, ReportKind::Applied { .. }), "{applied:?}");
    }
}
