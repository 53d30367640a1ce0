//! The scheduler's records, besides [`gantry_domain::run::Run`] itself.

use crate::{Store, StoreError, keys};
use gantry_domain::{
    CommitLine, CommitSha, EventId, MergeRequestIid, ProjectId, RunId, StackId, StackSlug,
    approval::Person,
    comment::Answered,
    module::{ModuleConfig, Packed},
    run::{Phase, Purpose, Run, RunState, RunType, Unpushed},
    stack::{Pool, Stack},
};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// That a stack was blocked, for those who count ([`crate::keys::blocked`]). Its head says whether it
/// is still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedStack {
    /// The stack.
    pub stack: StackId,
}

/// How many messages were given up ([`crate::keys::given_up`]), for the pages: they cannot ask five
/// queues each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// How many, of all queues; never 0.
    pub count: u64,
    /// When the first of them was noticed.
    pub since: Timestamp,
}

/// That the last deploy of a stack that succeeded or failed has failed ([`crate::keys::failed`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStack {
    /// The stack.
    pub stack: StackId,
    /// The deploy.
    pub run: RunId,
}

/// That a stack differs from what was applied ([`crate::keys::drifted`]). Its head says in what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftedStack {
    /// The stack.
    pub stack: StackId,
}

/// How far it was looked whether all timers are what their stacks ask for
/// ([`crate::keys::timers_look`]): a message that should have set one may have been lost, and what
/// the installation asks of all stacks may have become another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimersLook {
    /// The version of the installation's own settings that this look goes by; 0 where there are none.
    pub defaults: u64,
    /// The last slug that was looked at; none at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// When the next look begins.
    pub next_at: Timestamp,
}

/// A run's entry in the list of all runs ([`crate::keys::listed`]): what lists are filtered by. It is
/// written with the run, and again with its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRun {
    /// The run.
    pub run: RunId,
    /// Its stack.
    pub stack: StackId,
    /// The GitLab project of its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// Its type.
    pub run_type: RunType,
    /// The branch or tag that it was started for; empty for an upload.
    pub git_ref: String,
    /// Its commit.
    pub commit: CommitSha,
    /// Who wrote the commit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Who asked for it, when a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The state in which it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<RunState>,
    /// What it is for, where nobody pushed anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
}

impl From<&Run> for ListedRun {
    fn from(run: &Run) -> Self {
        Self {
            run: run.id.clone(),
            stack: run.stack.clone(),
            project: run.project(),
            run_type: run.run_type,
            // What was uploaded is on no branch.
            git_ref: run.upload.as_ref().map_or_else(|| run.git_ref.clone(), |_| String::new()),
            commit: run.commit.clone(),
            author: run.commit_line.author.clone(),
            by: run.by.clone(),
            created_at: run.created_at,
            ended: Some(run.state).filter(|state| state.is_final()),
            purpose: run.unpushed.as_ref().map(Unpushed::purpose),
        }
    }
}

/// A run's entry in a list: its stack's runs, its stack's queue, its commit's runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEntry {
    /// The run.
    pub run: RunId,
    /// Its stack.
    pub stack: StackId,
    /// Its type.
    pub run_type: RunType,
    /// When it was made.
    pub created_at: Timestamp,
}

impl From<&Run> for RunEntry {
    fn from(run: &Run) -> Self {
        Self {
            run: run.id.clone(),
            stack: run.stack.clone(),
            run_type: run.run_type,
            created_at: run.created_at,
        }
    }
}

/// Which run a (stack, key) became. `generation` rises when a run that no longer counts is
/// replaced by a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    /// The run.
    pub run: RunId,
    /// How many runs before it had the same key.
    pub generation: u32,
}

/// What a module's run tests ([`crate::keys::suite`]): its configuration, read once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suite {
    /// What the commit's configuration file says.
    pub config: ModuleConfig,
    /// The code as the registry hands it out, once it is packed.
    #[serde(default)]
    pub packed: Option<Packed>,
}

/// A version of a module ([`crate::keys::version`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// The number.
    pub version: Version,
    /// Whether it can be used.
    pub state: VersionState,
    /// The commit that was tested.
    pub commit: CommitSha,
    /// The module's run that tested it.
    pub run: RunId,
    /// The tag that asked for it.
    pub tag: Option<String>,
    /// When the tests ended.
    pub at: Timestamp,
    /// The SHA-256 of its archive, in hexadecimal digits; none for one that failed.
    pub digest: Option<String>,
    /// Set while nobody is to use it.
    pub yanked: Option<Yanked>,
}

/// Why a version should no longer be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Yanked {
    /// Why, in a person's words.
    pub note: String,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Whether a version of a module can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// Its tests have passed. The number is never used again.
    Active,
    /// Its tests have failed. Another commit may take the number.
    Failed,
}

/// A branch or merge request whose head a commit is, or was: where its statuses belong, and what
/// the gate says when no stack is affected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The branch's bare name.
    pub branch: String,
    /// The merge request, when it is one.
    pub merge_request: Option<MergeRequestIid>,
    /// The project that the code is in, when it is not the stacks' own.
    pub fork_of: Option<ProjectId>,
    /// How many stacks it affects.
    pub affected: u32,
    /// Which they are. Empty in records of before, and where nothing says it.
    #[serde(default)]
    pub stacks: Vec<StackId>,
    /// It is a merge request to a tracked branch, or the tracked branch itself.
    pub to_tracked: bool,
    /// When that was decided: the stacks make their runs soon after.
    #[serde(default)]
    pub decided_at: Option<Timestamp>,
}

/// How far a tracked branch is decided ([`crate::keys::tracked_branch`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedBranch {
    /// The head up to which all stacks are decided; none while the branch was never there.
    pub decided: Option<CommitSha>,
    /// Rises by one with each decision.
    pub number: u64,
    /// A decision that is written but not yet handed to all stacks.
    pub open: Option<OpenDecision>,
    /// The branch was not there at the last look.
    pub missing: bool,
    /// No stack tracks it any more: the next one that does begins at the branch's head then.
    #[serde(default)]
    pub left: bool,
}

/// A decision being carried out; a retry resumes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDecision {
    /// The event that made it.
    pub event: EventId,
    /// Its number.
    pub number: u64,
    /// The head before.
    pub from: Option<CommitSha>,
    /// The head now.
    pub to: CommitSha,
    /// Its title and author.
    #[serde(default, skip_serializing_if = "CommitLine::is_empty")]
    pub line: CommitLine,
}

/// When an event was first received ([`crate::keys::receipt`]): sent again, it is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// When; the event's record has its place by it.
    pub at: Timestamp,
}

/// What was decided for one event and one stack ([`crate::keys::decision`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The stack.
    pub stack: StackId,
    /// Its slug at that time.
    pub slug: StackSlug,
    /// Something runs for it.
    pub runs: bool,
    /// Why, or why not.
    pub reason: String,
    /// The commit that was looked at.
    pub commit: Option<CommitSha>,
    /// When.
    pub at: Timestamp,
}

/// A merge request as it was last decided ([`crate::keys::merge_request`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeRequestRecord {
    /// Its number.
    pub iid: MergeRequestIid,
    /// GitLab's state: `opened`, `closed`, `merged`, `locked`.
    pub state: String,
    /// The head that was decided.
    pub head: Option<CommitSha>,
    /// The source branch's bare name.
    pub source_branch: String,
    /// The project of the source branch.
    pub source_project: Option<ProjectId>,
    /// The target branch's bare name.
    pub target_branch: String,
    /// The stacks that the head affects.
    pub affected: Vec<StackId>,
    /// The commit that the merge made on the target branch.
    pub merged_as: Option<CommitSha>,
    /// GitLab's `updated_at`, as it was given: where comparing goes on.
    pub updated_at: Option<String>,
    /// The event that was decided last.
    #[serde(default)]
    pub event: Option<EventId>,
    /// The event by which it was decided what the head affects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<EventId>,
}

/// A comment with commands ([`crate::keys::comment`]). What they ask for is decided once; a retry
/// carries it out from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentRecord {
    /// The merge request.
    pub iid: MergeRequestIid,
    /// GitLab's id of the comment.
    pub note: u64,
    /// The discussion that it is in, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discussion: Option<String>,
    /// Who wrote it.
    pub by: Person,
    /// What became of each command.
    pub commands: Vec<Answered>,
    /// It has more commands, which do nothing.
    #[serde(default)]
    pub more: bool,
    /// It was found too late: its commands do nothing.
    #[serde(default)]
    pub late: bool,
    /// All that it asks for was handed to the stacks.
    pub handed_over: bool,
    /// When that was decided.
    pub at: Timestamp,
}

/// A branch that is not tracked, or a tag, as it was last decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefRecord {
    /// The commit that was decided; none when the ref is gone.
    pub head: Option<CommitSha>,
    /// The stacks that were asked for a run of it.
    #[serde(default)]
    pub affected: Vec<StackId>,
}

/// What one folder has in two commits, so that a comparison that is interrupted goes on where it was
/// ([`crate::keys::compared_trees`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedFolder {
    /// Its path, empty for the repository itself.
    pub folder: String,
    /// The names in it that were asked for.
    pub names: BTreeMap<String, Sides>,
}

/// What two commits have of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sides {
    /// The same.
    Same,
    /// Something else each.
    Different,
    /// One of them has nothing.
    One,
    /// Neither has anything.
    Neither,
}

/// How a person's command ended ([`crate::keys::command`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandOutcome {
    /// Who gave it.
    pub actor: String,
    /// It was carried out.
    pub done: bool,
    /// What was done, or why not, in words for that person.
    pub message: String,
    /// The run that it made or was about.
    pub run: Option<RunId>,
    /// When.
    pub at: Timestamp,
}

/// A position in the queue for runners ([`crate::keys::queued`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueEntry {
    /// The run.
    pub run: RunId,
    /// Its stack.
    pub stack: StackId,
    /// What it waits to do.
    pub phase: Phase,
    /// How often it was handed out before.
    #[serde(default)]
    pub attempt: u32,
    /// Since when it stands there.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The pool whose workers take it.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// It looks for drift.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drift: bool,
}

/// A run that has a runner, or was granted one ([`crate::keys::slot`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotEntry {
    /// The run.
    pub run: RunId,
    /// Its stack.
    pub stack: StackId,
    /// The pool whose workers take it. Its entries do not count as the installation's runners.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// The run took the grant.
    pub taken: bool,
    /// The attempt that a build was started for; 0 while there is none. What the version before
    /// wrote does not say, and counts as started.
    #[serde(default = "started_before")]
    pub started: u32,
    /// When it was granted.
    pub at: Timestamp,
    /// It looks for drift.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drift: bool,
}

/// The build that was started for a run, to end it if it is not needed any more
/// ([`crate::keys::build`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedBuild {
    /// CodeBuild's id of it.
    pub id: String,
    /// The attempt that it was started for.
    pub attempt: u32,
}

fn started_before() -> u32 {
    u32::MAX
}

/// That the cloud takes fewer runners than the installation is set to
/// ([`crate::keys::slot_limit`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotLimit {
    /// How many it took.
    pub runners: u32,
    /// How many were set then.
    #[serde(default)]
    pub set: u32,
    /// When it said so.
    pub since: Timestamp,
    /// Its own words.
    pub words: String,
}

impl SlotLimit {
    /// How many runs may have a runner now, of the `set` ones: one more is tried each minute.
    pub fn allows(&self, set: u32, now: Timestamp) -> u32 {
        let minutes = now.duration_since(self.since).as_secs() / 60;
        let more = u32::try_from(minutes).unwrap_or(0);
        set.min(self.runners.saturating_add(more))
    }

    /// True while it keeps runs waiting.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.allows(self.set, now) < self.set
    }
}

/// The time in which signs of life could come: runner-api answered whenever it was asked
/// ([`crate::keys::heard`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// From when on.
    pub since: Timestamp,
    /// The last answer but one; the first, where there is only one.
    pub before: Timestamp,
    /// The last answer.
    pub last: Timestamp,
}

/// Answers that come closer together are one look.
const SAME_MOMENT: SignedDuration = SignedDuration::from_secs(1);

impl Heard {
    /// After another answer. Nothing is known of a time between two that is longer than `longest`,
    /// and one of the same moment, as when a sweep is done twice, tells nothing new.
    pub fn after(found: Option<Self>, now: Timestamp, longest: SignedDuration) -> Self {
        match found {
            Some(found) if now.duration_since(found.last) < SAME_MOMENT => found,
            Some(found) if now.duration_since(found.last) <= longest => {
                Self { since: found.since, before: found.last, last: now.max(found.last) }
            }
            _ => Self { since: now, before: now, last: now },
        }
    }

    /// How long nothing was heard of a runner whose last sign of life came at `sign`, and would have
    /// been if it lived: what happens between two answers is not known, so it takes two of them.
    pub fn silence_since(&self, sign: Timestamp) -> SignedDuration {
        match self.before > sign {
            true => self.last.duration_since(sign.max(self.since)),
            false => SignedDuration::ZERO,
        }
    }
}

/// That a commit's archive is in object storage ([`crate::keys::fetched_source`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedSource {
    /// When it was found there.
    pub at: Timestamp,
}

/// When and how a project is compared with GitLab ([`crate::keys::comparing`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparing {
    /// When it was last done.
    pub last_at: Option<Timestamp>,
    /// The newest `updated_at` of a merge request that was seen.
    pub updated_after: Option<String>,
    /// When a webhook of the project was last received.
    pub webhook_at: Option<Timestamp>,
    /// The tags that were there before any stack asked for tags are recorded, all of them.
    #[serde(default)]
    pub tags_known: bool,
    /// When the first look at them began. None in records of before, which knew the newest only.
    #[serde(default)]
    pub tags_from: Option<Timestamp>,
    /// How many pages of them are recorded, while more are left.
    #[serde(default)]
    pub tag_pages: u32,
    /// GitLab's word on the project's hook (`executable`, `disabled`, …), or why it is not known.
    pub hook_status: Option<String>,
    /// From when it is due; none in records of before, which are due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// When the last comparison was asked for; at first, when the project's first stack began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
    /// When something in the project was last seen to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
    /// Branches that nobody tracks, and of which no webhook told, run when their commit is not
    /// older than this: others were there before. None until the first look at them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches_from: Option<Timestamp>,
    /// The sort key of the last branch that was looked for because it is not among those with the
    /// newest commits. None when the next look begins with the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches_after: Option<String>,
    /// Comments may hold commands that are not older than this: when a stack of the project began to
    /// take them. None while none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comments_from: Option<Timestamp>,
    /// How many calls of GitLab the last comparison took.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub calls: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Where a project is that was renamed or moved since a stack of it was saved
/// ([`crate::keys::project_path`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectPath {
    /// The project.
    pub project: ProjectId,
    /// The integration's generation that it belongs to.
    pub generation: u32,
    /// Its path, as GitLab said it.
    pub path: String,
}

/// Who can read a project ([`crate::keys::project_visibility`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectVisibility {
    /// The project.
    pub project: ProjectId,
    /// The address of the server that said so, to which the project belongs. Older records do not
    /// name it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server: String,
    /// Everybody can.
    pub is_public: bool,
    /// When GitLab said so.
    pub asked_at: Timestamp,
}

impl ProjectVisibility {
    /// This server said so lately enough: within ten minutes.
    pub fn is_believed(&self, server: &str, now: Timestamp) -> bool {
        let is_recent = now.duration_since(self.asked_at) < SignedDuration::from_mins(10);
        is_recent && self.server == server
    }
}

/// The paths of projects that were renamed or moved.
#[derive(Debug, Clone, Default)]
pub struct ProjectPaths(Vec<ProjectPath>);

impl ProjectPaths {
    /// The project's path; none where it is the one that its stacks were saved with.
    pub fn of(&self, project: ProjectId, generation: u32) -> Option<&str> {
        let is_it =
            |known: &&ProjectPath| known.project == project && known.generation == generation;
        self.0.iter().find(is_it).map(|known| known.path.as_str())
    }

    /// Gives a stack the path that its project has now: the one in its record is as old as its
    /// last save.
    pub fn set_in(&self, stack: &mut Stack) {
        let path = stack.project().and_then(|project| self.of(project, stack.generation));
        if let Some(path) = path {
            path.clone_into(&mut stack.project_path);
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &ProjectPath> {
        self.0.iter()
    }
}

impl Store {
    /// Where projects are that were renamed or moved.
    pub async fn project_paths(&self) -> Result<ProjectPaths, StoreError> {
        let known = self.query_all::<ProjectPath>(keys::PROJECT_PATHS, "").await?;
        Ok(ProjectPaths(known.into_iter().map(|known| known.value).collect()))
    }
}

/// Until when the budget for comparisons is used up ([`crate::keys::budget`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetUsed {
    /// Until when.
    pub until: Timestamp,
}

impl Comparing {
    /// True when it is to be compared: its time has come, or everything is to be looked at anew
    /// since a time after the last look.
    pub fn is_due(&self, now: Timestamp, anew_since: Timestamp) -> bool {
        let last_at = self.asked_at.max(self.last_at);
        self.next_at.is_none_or(|at| at <= now) || last_at.is_none_or(|at| at < anew_since)
    }

    /// Every tag that was there at the first look is recorded.
    pub fn knows_tags(&self) -> bool {
        self.tags_known && self.tags_from.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    /// How long a runner with this last sign was silent, after answers at these times.
    #[track_caller]
    fn check(answers: &[i64], sign: i64, silent: i64) {
        let longest = SignedDuration::from_secs(120);
        let heard = answers
            .iter()
            .fold(None, |heard, answer| Some(Heard::after(heard, at(*answer), longest)));
        let silence = heard.unwrap().silence_since(at(sign));
        assert_eq!(silence.as_secs(), silent, "{answers:?} {sign}");
    }

    #[test]
    fn silence_counts_while_somebody_could_be_heard() {
        check(&[0, 60, 120], 10, 110);
        // Between two answers anything may have happened.
        check(&[0, 60], 10, 0);
        check(&[0], -600, 0);
        // The answers began after the last sign, or stopped for a while.
        check(&[0, 60, 120], -600, 120);
        check(&[0, 60, 240, 300], 10, 60);
        // A sweep that was done twice has looked once: runners may not have been heard before it.
        check(&[0, 66, 66], 0, 0);
        check(&[0, 66, 66, 132], 0, 132);
        // It has been heard since.
        check(&[0, 60, 120], 115, 0);
    }
}
