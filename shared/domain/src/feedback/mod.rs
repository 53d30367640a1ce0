//! Which statuses GitLab lacks: what it should show for one commit, less what was posted.
//!
//! [`missing_statuses`] never repeats a post and never goes backwards, because GitLab refuses both;
//! a repeat after its posts were [recorded](Posted::record) gives nothing. Who was interrupted before
//! a post was recorded makes it again, which GitLab answers with "Cannot transition", which counts as
//! done; ends are looked up first.

use crate::{
    CommitSha, PipelineId, ProjectId, RunId, UserId,
    run::RunType,
    text::{
        names::Prefix,
        status::{
            CommitState, RunView, Status, failed_of_gate, of_gate, of_run_to_its_end,
            of_waiting_gate,
        },
    },
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Above this many stacks on a commit only the gate is posted.
pub const MOST_STACKS: usize = 50;
/// GitLab's limit for a status's address, in characters.
const URL_CHARS: usize = 255;

/// Which statuses a project wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statuses {
    /// One for each stack, and the gate.
    #[default]
    Both,
    /// The gate alone.
    Gate,
    /// One for each stack.
    Stacks,
}

/// Which runs a pipeline shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shows {
    /// The newest run of each name.
    #[default]
    Everything,
    /// All but tracked runs: a merge request's pipeline, whose commit may also be, after a
    /// fast-forward merge, the head of the tracked branch.
    Previews,
    /// Deploys only.
    Tracked,
}

/// Where statuses are posted to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    /// The project that it is in, when that is not the stacks' own but a fork.
    #[serde(default)]
    pub fork: Option<ProjectId>,
    /// The pipeline; none to have GitLab make an external one for `git_ref`.
    pub id: Option<PipelineId>,
    /// The commit in the address of the request: the run's, or a merge that has it as a parent.
    pub sha: CommitSha,
    /// Sent as `ref` when there is one.
    pub git_ref: Option<String>,
    /// Which runs it shows.
    #[serde(default)]
    pub shows: Shows,
}

impl Pipeline {
    fn is_same(&self, other: &Self) -> bool {
        match (self.id, other.id) {
            (Some(a), Some(b)) => a == b,
            (None, None) => self.is_for_same(other),
            _ => false,
        }
    }

    fn is_for_same(&self, other: &Self) -> bool {
        self.fork == other.fork && self.git_ref == other.git_ref && self.sha == other.sha
    }
}

/// What should be shown for one (project, commit).
#[derive(Debug, Clone)]
pub struct CommitView<'a> {
    /// The first part of every status name.
    pub prefix: &'a Prefix,
    /// What the project wants.
    pub statuses: Statuses,
    /// All runs of the commit, in any order.
    pub runs: &'a [RunView],
    /// How many stacks the event touched, when that is more than there are runs by now.
    pub stacks_touched: usize,
    /// The pipelines that belong to the commit now.
    pub pipelines: &'a [Pipeline],
    /// The page that the gate links to, where it is about several runs and not one of them failed.
    pub gate_url: Option<&'a str>,
    /// Post a gate, "No stacks affected", when there is no run.
    pub gate_without_runs: bool,
    /// Every run that is to come is there. Until then the gate waits, whatever the runs say.
    pub gate_may_end: bool,
}

/// One request to GitLab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusPost {
    /// Where to.
    pub pipeline: Pipeline,
    /// The status's name.
    pub name: String,
    /// The state to enter.
    pub state: CommitState,
    /// One line, at most 255 characters.
    pub description: String,
    /// A page, at most 255 characters.
    pub target_url: Option<String>,
    /// The run it is about; none for the gate.
    pub run: Option<RunId>,
}

/// The last post of one name in one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedStatus {
    /// Where to; with the id that GitLab answered, where it did.
    pub pipeline: Pipeline,
    /// The status's name.
    pub name: String,
    /// The state.
    pub state: CommitState,
    /// The description.
    pub description: String,
    /// The run it was about; none for the gate.
    pub run: Option<RunId>,
    /// Who posted it: GitLab lets a user change only its own statuses, and gives another one a
    /// second job of the same name.
    #[serde(default)]
    pub by: Option<UserId>,
}

/// Everything that was posted for one (project, commit).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The version of this record.
    pub v: u32,
    /// The last post of each name in each pipeline.
    pub statuses: Vec<PostedStatus>,
}

impl Default for Posted {
    fn default() -> Self {
        Self { v: 1, statuses: Vec::new() }
    }
}

impl Posted {
    /// Keeps a post that GitLab took, or answered with "Cannot transition … from the state you
    /// want". `answered` is the pipeline in GitLab's answer: later posts go there, also those of
    /// other names. `by` is the user who posted.
    pub fn record(&mut self, post: &StatusPost, answered: Option<PipelineId>, by: UserId) {
        let mut pipeline = self.resolve(&post.pipeline);
        if pipeline.id.is_none() && answered.is_some() {
            for status in &mut self.statuses {
                if status.pipeline.is_same(&pipeline) {
                    status.pipeline.id = answered;
                }
            }
            pipeline.id = answered;
        }
        let kept = PostedStatus {
            pipeline,
            name: post.name.clone(),
            state: post.state,
            description: post.description.clone(),
            run: post.run.clone(),
            by: Some(by),
        };
        let same =
            |s: &&mut PostedStatus| s.name == kept.name && s.pipeline.is_same(&kept.pipeline);
        match self.statuses.iter_mut().find(same) {
            Some(status) => *status = kept,
            None => self.statuses.push(kept),
        }
    }

    /// The pipeline with the id that GitLab gave it, once it is known. To be asked before every
    /// post: the first one may have made the pipeline that the next one belongs to.
    pub fn resolve(&self, pipeline: &Pipeline) -> Pipeline {
        let known = self.statuses.iter().map(|s| &s.pipeline).find(|known| {
            pipeline.id.is_none() && known.id.is_some() && known.is_for_same(pipeline)
        });
        Pipeline { id: known.map_or(pipeline.id, |k| k.id), ..pipeline.clone() }
    }

    /// Who began a record that is not at its end: the only one who can end it.
    pub fn began(&self, pipeline: &Pipeline, name: &str) -> Option<UserId> {
        self.find(pipeline, name).filter(|posted| !posted.state.is_final())?.by
    }

    fn find(&self, pipeline: &Pipeline, name: &str) -> Option<&PostedStatus> {
        self.statuses.iter().find(|s| s.name == name && s.pipeline.is_same(pipeline))
    }
}

/// The posts that bring GitLab up to date, in the order in which they must be made.
pub fn missing_statuses(view: &CommitView<'_>, posted: &Posted) -> Vec<StatusPost> {
    let mut targets: Vec<(Pipeline, bool)> = Vec::new();
    let present = view.pipelines.iter().map(|p| (posted.resolve(p), true));
    // A pipeline that is no longer the commit's still gets the end of what was begun in it.
    let open = posted.statuses.iter().filter(|s| !s.state.is_final());
    for (pipeline, is_present) in present.chain(open.map(|s| (s.pipeline.clone(), false))) {
        if !targets.iter().any(|(known, _)| known.is_same(&pipeline)) {
            targets.push((pipeline, is_present));
        }
    }
    targets
        .into_iter()
        .flat_map(|(pipeline, is_present)| Target { view, posted, pipeline, is_present }.posts())
        .collect()
}

/// A step of a run that may be followed by another one this soon is not told.
pub const PASSING: SignedDuration = SignedDuration::from_secs(2);

/// Leaves out of `posts` what is about runs that may be a step further in a moment, as long as the
/// gate shows that they go on. Answers when to look again, where something was left out.
pub fn leave_out_passing(
    posts: &mut Vec<StatusPost>,
    view: &CommitView<'_>,
    posted: &Posted,
    now: Timestamp,
) -> Option<Timestamp> {
    let gate = view.prefix.gate();
    let gated: Vec<Pipeline> = posts
        .iter()
        .filter(|post| post.name == gate && !post.state.is_final())
        .map(|post| post.pipeline.clone())
        .chain(
            posted
                .statuses
                .iter()
                .filter(|status| status.name == gate && !status.state.is_final())
                .map(|status| status.pipeline.clone()),
        )
        .collect();
    let mut look_at = None;
    posts.retain(|post| {
        let run = view.runs.iter().find(|run| Some(&run.id) == post.run.as_ref());
        let Some(run) = run.filter(|run| run.goes_on() && !post.state.is_final()) else {
            return true;
        };
        let settled_at = run.since + PASSING;
        // A clock may be set back.
        let is_passing = now < settled_at && settled_at <= now + PASSING * 2;
        if !is_passing || !gated.iter().any(|gated| gated.is_same(&post.pipeline)) {
            return true;
        }
        look_at = Some(look_at.map_or(settled_at, |at: Timestamp| at.min(settled_at)));
        false
    });
    look_at
}

/// One pipeline to bring up to date.
struct Target<'a> {
    view: &'a CommitView<'a>,
    posted: &'a Posted,
    pipeline: Pipeline,
    is_present: bool,
}

impl Target<'_> {
    fn posts(&self) -> Vec<StatusPost> {
        let shown = self.newest_runs();
        let many = self.view.stacks_touched.max(shown.len()) > MOST_STACKS;
        let shows_stacks = self.is_present && self.view.statuses != Statuses::Gate && !many;
        let shows_gate = self.is_present && (self.view.statuses != Statuses::Stacks || many);

        let mut posts: Vec<StatusPost> = shown
            .iter()
            .filter_map(|run| {
                let name = self.view.prefix.status(&run.name);
                let status = of_run_to_its_end(run);
                let repeats = |p: &PostedStatus| p.run.as_ref() == Some(&run.id);
                self.needs(&name, &status, shows_stacks, repeats)
                    .then(|| self.post(name, status, Some(&run.url), Some(&run.id)))
            })
            .collect();

        if shown.is_empty() && !self.view.gate_without_runs {
            return posts;
        }
        let name = self.view.prefix.gate();
        // GitLab keeps the text of a gate that waits: it counts the runs that are still to come.
        let gate = match of_gate(&shown) {
            gate if gate.state.is_final() && self.view.gate_may_end => gate,
            _ => of_waiting_gate(&shown, self.view.stacks_touched),
        };
        let repeats = |p: &PostedStatus| p.state == gate.state && p.description == gate.description;
        if !self.needs(name, &gate, shows_gate, repeats) {
            return posts;
        }
        // A single run says more than the page that leads to all of them.
        let gate_url = match (shown.as_slice(), failed_of_gate(&shown).as_slice()) {
            ([only], _) => Some(&*only.url),
            (_, [failed]) if gate.state == CommitState::Failed => Some(&*failed.url),
            _ => self.view.gate_url,
        };
        let is_open = self.posted.find(&self.pipeline, name).is_some_and(|p| !p.state.is_final());
        if !gate.state.is_final() || (!is_open && !posts.is_empty()) {
            // Before the first stack's status, so that the pipeline cannot look done between two.
            let waiting = match gate.state.is_final() {
                true => of_waiting_gate(&shown, 0),
                false => gate.clone(),
            };
            posts.insert(0, self.post(name.to_owned(), waiting, gate_url, None));
        }
        if gate.state.is_final() {
            posts.push(self.post(name.to_owned(), gate, gate_url, None));
        }
        posts
    }

    /// The newest run of each name, by name.
    fn newest_runs(&self) -> Vec<&RunView> {
        let mut newest: BTreeMap<&str, &RunView> = BTreeMap::new();
        for run in self.view.runs {
            let is_shown = match self.pipeline.shows {
                Shows::Everything => true,
                Shows::Previews => run.run_type != RunType::Tracked,
                Shows::Tracked => run.run_type == RunType::Tracked,
            };
            let age = |r: &RunView| (r.number, r.id.clone());
            if is_shown && newest.get(run.name.as_str()).is_none_or(|kept| age(kept) < age(run)) {
                newest.insert(&run.name, run);
            }
        }
        newest.into_values().collect()
    }

    /// Whether GitLab lacks `status`. `may_begin` lets a new record start; what was begun is
    /// always ended. `repeats` says whether a finished record is about the same.
    fn needs(
        &self,
        name: &str,
        status: &Status,
        may_begin: bool,
        repeats: impl Fn(&PostedStatus) -> bool,
    ) -> bool {
        match self.posted.find(&self.pipeline, name) {
            None => may_begin,
            Some(posted) if posted.state.is_final() => may_begin && !repeats(posted),
            Some(_) if status.state.is_final() => true,
            Some(posted) => {
                may_begin
                    && posted.state == CommitState::Pending
                    && status.state == CommitState::Running
            }
        }
    }

    fn post(
        &self,
        name: String,
        status: Status,
        url: Option<&str>,
        run: Option<&RunId>,
    ) -> StatusPost {
        // GitLab refuses the whole status for the address alone.
        let fits = |url: &&str| url.starts_with("http") && url.chars().count() <= URL_CHARS;
        StatusPost {
            pipeline: self.pipeline.clone(),
            name,
            state: status.state,
            description: status.description,
            target_url: url.filter(fits).map(str::to_owned),
            run: run.cloned(),
        }
    }
}

#[cfg(test)]
mod tests;
