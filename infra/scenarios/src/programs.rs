//! Real runner programs, for stories about what only real Terraform can show.

use crate::installation::Installation;
use gantry_domain::RunId;
use gantry_local::{Reach, starter::Starter};
use gantry_queue::ClaimToken;
use tokio::process::Child;

/// The runner programs of a story.
#[derive(Default)]
pub(crate) struct Programs {
    starter: Option<Starter>,
    running: Vec<Child>,
    /// Every process that was ever started, oldest first.
    pub(crate) ids: Vec<u32>,
}

impl Programs {
    pub(crate) fn start_from_now_on(&mut self, installation: &Installation) {
        let made = |name: &str| {
            let folder = installation.folder().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            folder
        };
        self.starter = Some(Starter {
            program: gantry_terraform::runner(),
            api: installation.base.clone(),
            work: made("runners"),
            logs: made("runner-logs"),
            path: gantry_terraform::path(),
            terraform_config: None,
            user: None,
            data: installation.folder().to_owned(),
            reach: Reach { may_read: gantry_terraform::needs(), ..Reach::default() },
            runners: gantry_local::starter::Runners::default(),
        });
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
