//! The environment of one stack, and a deployment for each tracked run that is applied.

use crate::{Client, Done, Memory, Trouble, Work, client};
use gantry_connection::Connected;
use gantry_domain::{
    ProjectId, RunId, StackId,
    run::{Run, RunState, RunType},
    stack::{Stack, StackHead},
};
use gantry_gitlab::{DeploymentState, Error, NewDeployment};
use gantry_store::{keys, scheduler::RunEntry};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Runs of a stack that are looked at: a deployment is made soon after its run.
const NEWEST: i32 = 20;

/// What was written for a stack.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct EnvironmentMemory {
    /// The project that the environment is in.
    project: Option<ProjectId>,
    environment: Option<u64>,
    external_url: Option<String>,
    is_stopped: bool,
    /// Deployments of the newest runs.
    deployments: BTreeMap<RunId, Deployed>,
    /// GitLab's own words where it refused.
    #[serde(default)]
    pub(crate) refusal: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Deployed {
    /// None while a creation is under way, or after GitLab refused it.
    id: Option<u64>,
    state: String,
}

impl Deployed {
    /// Nothing more is to be written of it.
    fn is_over(&self) -> bool {
        is_end(&self.state) || self.state == REFUSED
    }
}

impl Work {
    pub(crate) async fn publish_environment(
        &self,
        connected: &Connected,
        stack: &StackId,
        mut memory: Memory<EnvironmentMemory>,
    ) -> Result<Done, Trouble> {
        let gitlab = client(connected);
        let Some(found) = self.deps.store.stack(stack).await? else { return Ok(Done::default()) };
        let stack = found.value;
        if stack.generation != connected.integration.value.generation {
            return Ok(Done::default());
        }
        let refused = match self.bring_up(gitlab, &stack, &mut memory).await {
            Ok(refused) => refused,
            Err(Trouble::Gitlab(error)) if error.is_refusal() => Some(error),
            Err(trouble) => return Err(trouble),
        };
        let refused = refused.map(|error| error.to_string());
        if let Some(words) = &refused {
            tracing::warn!(stack = %stack.slug, "{words}");
        }
        if memory.value.refusal != refused {
            memory.value.refusal.clone_from(&refused);
            self.remember(&mut memory).await?;
        }
        Ok(Done { runs: 1, refused, look_at: None })
    }

    /// Answers what GitLab refused of a deployment, which does not keep the others.
    async fn bring_up(
        &self,
        gitlab: &Client,
        stack: &Stack,
        memory: &mut Memory<EnvironmentMemory>,
    ) -> Result<Option<Error>, Trouble> {
        let left = memory
            .value
            .project
            .filter(|p| Some(*p) != stack.project() || stack.deleted_at.is_some());
        if let (Some(project), Some(environment), false) =
            (left, memory.value.environment, memory.value.is_stopped)
        {
            gitlab.stop_environment(project, environment).await?;
            memory.value.is_stopped = true;
            self.remember(memory).await?;
        }
        if stack.deleted_at.is_some() {
            return Ok(None);
        }
        if left.is_some() {
            memory.value = EnvironmentMemory::default();
        }
        let Some(project) = stack.project().filter(|_| stack.module.is_none()) else {
            return Ok(None);
        };
        self.ensure_environment(gitlab, project, stack, memory).await?;
        let partition = keys::stack_partition(&stack.id);
        let newest =
            self.deps.store.query::<RunEntry>(&partition, "run#", None, true, NEWEST).await?;
        let tracked = newest.items.iter().filter(|e| e.value.run_type == RunType::Tracked);
        let mut shown: BTreeSet<RunId> = tracked.map(|e| e.value.run.clone()).collect();
        // Many previews may have come since: what holds the stack, and what is not ended at
        // GitLab, is looked at however old it is.
        let head = self.deps.store.get::<StackHead>(&keys::stack_head(&stack.id)).await?;
        shown.extend(head.and_then(|h| h.value.tracked));
        let open = memory.value.deployments.iter().filter(|(_, deployed)| !deployed.is_over());
        shown.extend(open.map(|(run, _)| run.clone()));
        let mut runs = Vec::with_capacity(shown.len());
        for run in &shown {
            runs.extend(self.deps.store.get::<Run>(&keys::run(run)).await?.map(|r| r.value));
        }
        // Oldest first, so that the newest deployment is the environment's last.
        runs.sort_by_key(|run| run.number);
        let mut refused = None;
        // What only takes over what there is, or destroys it, deploys nothing.
        let deploys = |run: &&Run| {
            let is_here = run.repository == stack.repository;
            is_here && run.applies_code() && run.options.mode.is_normal()
        };
        for run in runs.iter().filter(deploys) {
            let Some(error) = self.deploy(gitlab, project, run, memory).await? else { continue };
            let of_all = error.is_of_all();
            refused = Some(error);
            if of_all {
                break;
            }
        }
        let before = memory.value.deployments.len();
        memory.value.deployments.retain(|run, _| shown.contains(run));
        if memory.value.deployments.len() != before {
            self.remember(memory).await?;
        }
        Ok(refused)
    }

    async fn ensure_environment(
        &self,
        gitlab: &Client,
        project: ProjectId,
        stack: &Stack,
        memory: &mut Memory<EnvironmentMemory>,
    ) -> Result<(), Trouble> {
        let address = format!("{}/stacks/{}", self.deps.public_url, stack.slug);
        let url = (address.len() <= 255).then_some(address);
        if memory.value.environment.is_some() && memory.value.external_url == url {
            return Ok(());
        }
        let name = self.deps.prefix.environment(&stack.slug);
        let environment = match gitlab.environment_by_name(project, &name).await? {
            Some(found) => {
                if let Some(url) = &url
                    && found.external_url.as_ref() != Some(url)
                {
                    gitlab.update_environment(project, found.id, url).await?;
                }
                found
            }
            None => gitlab.create_environment(project, &name, url.as_deref()).await?,
        };
        memory.value.project = Some(project);
        memory.value.environment = Some(environment.id);
        memory.value.external_url = url;
        self.remember(memory).await
    }

    /// Answers what GitLab refused.
    async fn deploy(
        &self,
        gitlab: &Client,
        project: ProjectId,
        run: &Run,
        memory: &mut Memory<EnvironmentMemory>,
    ) -> Result<Option<Error>, Trouble> {
        let known = memory.value.deployments.get(&run.id).cloned();
        let Some(wanted) = wanted(run, known.is_some()) else { return Ok(None) };
        let answered = match &known {
            Some(known) if known.state == wanted.as_str() && known.id.is_some() => return Ok(None),
            Some(Deployed { id: Some(id), .. }) => self.update(gitlab, project, *id, wanted).await,
            // Nothing is known, or a creation was begun and never heard of: look before making one.
            _ => {
                let begun = Deployed { id: None, state: BEGUN.to_owned() };
                memory.value.deployments.insert(run.id.clone(), begun);
                self.remember(memory).await?;
                let made = self.make(gitlab, project, run, wanted, known.is_some(), memory).await;
                if made.is_err() {
                    let refused = Deployed { id: None, state: REFUSED.to_owned() };
                    memory.value.deployments.entry(run.id.clone()).and_modify(|known| {
                        if known.id.is_none() {
                            *known = refused;
                        }
                    });
                }
                made
            }
        };
        let refused = match answered {
            Ok(state) => {
                memory.value.deployments.insert(run.id.clone(), state);
                None
            }
            Err(Trouble::Gitlab(error)) if error.is_refusal() => Some(error),
            Err(trouble) => return Err(trouble),
        };
        self.remember(memory).await?;
        Ok(refused)
    }

    async fn make(
        &self,
        gitlab: &Client,
        project: ProjectId,
        run: &Run,
        wanted: DeploymentState,
        may_exist: bool,
        memory: &mut Memory<EnvironmentMemory>,
    ) -> Result<Deployed, Trouble> {
        let environment = self.deps.prefix.environment(&run.slug);
        if may_exist {
            let ours: Vec<u64> =
                memory.value.deployments.values().filter_map(|known| known.id).collect();
            let there = gitlab.deployments(project, &environment, &run.commit).await?;
            if let Some(found) = there.into_iter().find(|d| !ours.contains(&d.id)) {
                let id = Some(found.id);
                memory
                    .value
                    .deployments
                    .insert(run.id.clone(), Deployed { id, state: found.status.clone() });
                if found.status == wanted.as_str() {
                    return Ok(Deployed { id, state: found.status });
                }
                return self.update(gitlab, project, found.id, wanted).await;
            }
        }
        let deployment = NewDeployment {
            environment,
            sha: run.commit.clone(),
            git_ref: run.git_ref.clone(),
            is_tag: run.key.starts_with("tag#"),
            state: wanted,
        };
        let made = gitlab.create_deployment(project, &deployment).await?;
        Ok(Deployed { id: Some(made.id), state: wanted.as_str().to_owned() })
    }

    /// One final update; "it is that already" is what was wanted.
    async fn update(
        &self,
        gitlab: &Client,
        project: ProjectId,
        deployment: u64,
        wanted: DeploymentState,
    ) -> Result<Deployed, Trouble> {
        let state = wanted.as_str().to_owned();
        if let Err(error) = gitlab.update_deployment(project, deployment, wanted).await {
            if !error.is_refusal() {
                return Err(error.into());
            }
            // Somebody else may have ended or deleted it, which no repeat changes.
            let live = gitlab.deployment(project, deployment).await?;
            if live.is_some_and(|live| live.status != state && !is_end(&live.status)) {
                return Err(error.into());
            }
        }
        Ok(Deployed { id: Some(deployment), state })
    }
}

fn is_end(state: &str) -> bool {
    matches!(state, "success" | "failed" | "canceled")
}

const BEGUN: &str = "begun";
const REFUSED: &str = "refused";

/// What the run's deployment should say; none while nothing is deployed, or is about to be: GitLab
/// has no word for one that waits for a person.
fn wanted(run: &Run, is_known: bool) -> Option<DeploymentState> {
    let planned = run.delta.is_some();
    match run.state {
        RunState::Confirmed | RunState::Applying => Some(DeploymentState::Running),
        RunState::Finished => Some(DeploymentState::Success),
        RunState::Failed
            if is_known || planned || run.ending.as_ref().is_some_and(|e| e.in_terraform) =>
        {
            Some(DeploymentState::Failed)
        }
        RunState::Discarded | RunState::Canceled | RunState::Stopped if is_known => {
            Some(DeploymentState::Canceled)
        }
        _ => None,
    }
}
