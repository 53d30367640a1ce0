//! Real runner programs, for stories about what only real Terraform can show.

use crate::installation::Installation;
use gantry_domain::RunId;
use gantry_local::{Reach, starter::Starter};
use gantry_queue::{ClaimToken, Sender};
use gantry_terraform::{mirror_config, test_provider};
use std::path::Path;
use tempfile::TempDir;
use tokio::process::Child;

/// The runner programs of a story.
#[derive(Default)]
pub(crate) struct Programs {
    starter: Option<Starter>,
    outside: Option<TempDir>,
    running: Vec<Child>,
    /// Every process that was ever started, oldest first.
    pub(crate) ids: Vec<u32>,
}

impl Programs {
    pub(crate) fn start_from_now_on(&mut self, installation: &Installation, sender: &Sender) {
        let made = |name: &str| {
            let folder = installation.folder().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            folder
        };
        let config = installation.folder().join("terraform.rc");
        std::fs::write(&config, mirror_config(test_provider())).unwrap();
        let outside = self.outside.insert(tempfile::tempdir().unwrap()).path();
        self.starter = Some(Starter {
            program: gantry_terraform::runner(),
            api: installation.base.clone(),
            work: made("runners"),
            logs: made("runner-logs"),
            path: gantry_terraform::path(),
            terraform_config: Some(config),
            user: None,
            private: vec![installation.folder().to_owned()],
            reach: Reach {
                may_read: gantry_terraform::needs(),
                may_write: vec![outside.to_owned()],
                ..Reach::default()
            },
            sender: sender.clone(),
            runners: gantry_local::starter::Runners::default(),
        });
    }

    /// The folder that runs may change.
    pub(crate) fn outside(&self) -> Option<&Path> {
        self.outside.as_ref().map(TempDir::path)
    }

    /// Starts a program; false when the story has none.
    pub(crate) fn start(&mut self, run: &RunId, attempt: u32, token: &ClaimToken) -> bool {
        let Some(starter) = &self.starter else { return false };
        let child = starter.start(run, attempt, token).unwrap();
        self.ids.extend(child.id());
        self.running.push(child);
        true
    }

    /// True while a program works.
    pub(crate) fn are_running(&mut self) -> bool {
        self.running.retain_mut(|child| child.try_wait().unwrap().is_none());
        !self.running.is_empty()
    }
}
