//! What a run is for that nobody pushed, what is unusual about its plan, and what may be planned of it
//! again.

use super::ChangeView;
use crate::pages::shell::Shell;
use gantry_domain::{
    run::{Address, PlanMode, Run, RunState, RunType},
    stack::Stack,
    text::{clean, unpushed},
};

/// What the page says besides.
pub(super) struct Purpose {
    /// What it destroys, or would.
    pub(super) destroys: Option<String>,
    /// An apply of it only takes over what there is.
    pub(super) refreshes: bool,
    /// What it is for.
    pub(super) words: Option<String>,
    /// The command that it executes.
    pub(super) command: Option<String>,
    /// What is unusual about its plan.
    pub(super) options: Vec<(&'static str, String)>,
}

impl Purpose {
    pub(super) fn of(run: &Run) -> Self {
        let is_deploy = run.run_type == RunType::Tracked;
        Self {
            destroys: (run.options.mode == PlanMode::Destroy).then(|| destroys(run)),
            refreshes: is_deploy && run.options.mode == PlanMode::RefreshOnly,
            words: run.unpushed.as_ref().map(unpushed::purpose),
            command: run.task().map(clean),
            options: unpushed::options(&run.options),
        }
    }
}

fn destroys(run: &Run) -> String {
    let what = match run.options.targets.is_empty() {
        true => "everything that the stack holds",
        false => "its targets",
    };
    match run.run_type {
        RunType::Tracked if run.applied => format!("This run destroyed {what}."),
        RunType::Tracked if run.state.is_final() => format!("This run was to destroy {what}."),
        RunType::Tracked => format!("Once it is confirmed, this run destroys {what}."),
        _ => format!("This shows what destroying {what} would do. It is never applied."),
    }
}

/// The form that plans some of the run's resources again.
pub(super) struct Again {
    /// The commit to plan.
    pub(super) commit: String,
    /// Resources to choose from.
    pub(super) addresses: Vec<String>,
    /// It may be a deploy, and is one unless something else is chosen.
    pub(super) may_deploy: bool,
}

impl Again {
    /// None where nothing can be planned again so, or not by whoever looks.
    pub(super) fn of(
        run: &Run,
        stack: Option<&Stack>,
        is_detached: bool,
        shell: &Shell,
        change: Option<&ChangeView>,
    ) -> Option<Self> {
        let is_usual = !run.module
            && run.test.is_none()
            && run.upload.is_none()
            && (run.is_drift() || run.options.mode.is_normal());
        let has_settled = run.state.is_final() || run.state == RunState::Unconfirmed;
        if !is_usual || !has_settled || is_detached || !shell.may_preview() {
            return None;
        }
        stack.filter(|stack| stack.module.is_none())?;
        let groups = change?.groups.iter();
        let addresses: Vec<String> = groups
            .flat_map(|group| group.resources.iter())
            .map(|resource| resource.target.clone())
            .filter(|target| Address::try_from(target.clone()).is_ok())
            .collect();
        // A preview of another branch has a commit that is not deployed.
        let is_deployed = run.run_type == RunType::Tracked || run.is_drift();
        let may_deploy = is_deployed && shell.may_deploy();
        let commit = run.commit.to_string();
        (!addresses.is_empty()).then_some(Self { commit, addresses, may_deploy })
    }
}
