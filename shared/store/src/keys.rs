//! Where everything lies.
//!
//! The first word of a partition key says who may write the partition, because IAM can restrict
//! items by partition key alone:
//!
//! | first word | written by | holds |
//! |---|---|---|
//! | `config` | settings | integration, stacks, slugs, projects, admin keys, people with their sessions and keys, activity, what is done with uploads |
//! | `run` | scheduler | runs, the list of all, and which runs a commit has |
//! | `stack` | scheduler | a stack's head, its list of runs, its queue, its times; which stacks have drifted |
//! | `once` | scheduler | which run a (stack, key) became |
//! | `decision` | scheduler | how far branches are decided; what was decided for each event; what is known of two commits' trees |
//! | `event` | scheduler | events, merge requests and branches as they were last decided; which commits' sources are there; where projects are that were renamed; how many messages were given up |
//! | `line`, `room` | scheduler | the queue for runners, and their slots: older versions read these words |
//! | `feedback` | publisher (the scheduler raises `want`) | what GitLab was told |
//! | `beat`, `claim`, `lock`, `state`, `log` | runner-api | what runners say |
//! | `poison` | the queue driver of each function | how often a message failed |

use crate::Key;
use gantry_domain::{
    CommitSha, EventId, MergeRequestIid, ProjectId, Repository, RunId, StackId, StackSlug, UserId,
    module::sort_key, stack::Pool,
};
use jiff::Timestamp;
use semver::Version;

/// The sort key of an item that is alone in its partition, or at its head.
pub const HEAD: &str = "#";

fn millis(at: Timestamp) -> String {
    format!("{:013}", at.as_millisecond().max(0))
}

/// The GitLab server.
pub fn integration() -> Key {
    Key::new("config/integration", HEAD)
}

/// A stack's definition.
pub fn stack_config(stack: &StackId) -> Key {
    Key::new(format!("config/stack/{stack}"), HEAD)
}

/// All slugs ever used; also the list of stacks.
pub const SLUGS: &str = "config/slugs";

/// A slug and whose it is. It stays reserved when its stack is deleted.
pub fn slug(slug: &StackSlug) -> Key {
    Key::new(SLUGS, slug.as_str())
}

/// The partition of a project's stacks: it decides who is asked when something happens there.
pub fn project_stacks(project: ProjectId) -> String {
    format!("config/project/{project}")
}

/// A stack's place among its project's stacks.
pub fn project_stack(project: ProjectId, stack: &StackId) -> Key {
    Key::new(project_stacks(project), stack.as_str())
}

/// The partition of projects that have, or had, stacks.
pub const PROJECTS: &str = "config/projects";

/// A project with stacks.
pub fn project(project: ProjectId) -> Key {
    Key::new(PROJECTS, project.to_string())
}

/// Which module has an address in the registry.
pub fn registry(namespace: &str, name: &str, provider: &str) -> Key {
    Key::new("config/registry", format!("{namespace}/{name}/{provider}"))
}

/// The partition of admin keys, by digest.
pub const ADMIN_KEYS: &str = "config/keys";

/// An admin key by its SHA-256 in hexadecimal digits.
pub fn admin_key(digest: &str) -> Key {
    Key::new(ADMIN_KEYS, digest)
}

/// How people sign in with GitLab.
pub fn sign_in() -> Key {
    Key::new("config/sign-in", HEAD)
}

/// The partition of people who have signed in.
pub const PEOPLE: &str = "config/people";

/// What is known of a person.
pub fn person(person: UserId) -> Key {
    Key::new(PEOPLE, person.to_string())
}

/// The partition of the sessions of people, at the pages and with keys.
pub const SESSIONS: &str = "config/sessions";

/// A person's session: `id` is random, or the digest of the key that it is used with.
pub fn session(person: UserId, id: &str) -> Key {
    Key::new(SESSIONS, format!("{}{id}", sessions_of(person)))
}

/// What the sort keys of a person's sessions begin with.
pub fn sessions_of(person: UserId) -> String {
    format!("{person}#")
}

/// The partition of what admins did, newest last.
pub const ACTIVITY: &str = "config/activity";

/// One thing that an admin did.
pub fn activity(at: Timestamp, line: &EventId) -> Key {
    Key::new(ACTIVITY, format!("{}#{line}", millis(at)))
}

/// What comes before the sort keys of everything that admins did then or later.
pub fn activities_at(then: Timestamp) -> String {
    millis(then)
}

/// The partition of what is done with a stack's uploaded archives.
pub fn upload_uses(stack: &StackId) -> String {
    format!("config/upload/{stack}")
}

/// What is done with an uploaded archive, by its SHA-256 in hexadecimal digits.
pub fn upload_use(stack: &StackId, digest: &str) -> Key {
    Key::new(upload_uses(stack), digest)
}

/// That no runner is started, by an operator's wish.
pub fn pause() -> Key {
    Key::new("config/pause", HEAD)
}

/// How stacks are looked at for drift that say nothing else.
pub fn drift_defaults() -> Key {
    Key::new("config/drift", HEAD)
}

/// A run.
pub fn run(run: &RunId) -> Key {
    Key::new(format!("run/{run}"), HEAD)
}

/// The partition of all runs, the newest last: what lists over all stacks are made of.
pub const LISTED: &str = "run/list";

/// A run's place among all runs.
pub fn listed(created_at: Timestamp, run: &RunId) -> Key {
    Key::new(LISTED, format!("{}#{run}", millis(created_at)))
}

/// What comes before the sort keys of all runs that were made then or later.
pub fn listed_at(then: Timestamp) -> String {
    millis(then)
}

/// The partition of a commit's runs and of what the commit is the head of.
pub fn commit_runs(project: ProjectId, commit: &CommitSha) -> String {
    format!("run/commit/{project}/{commit}")
}

/// A run's place among its commit's runs.
pub fn commit_run(project: ProjectId, commit: &CommitSha, run: &RunId) -> Key {
    Key::new(commit_runs(project, commit), format!("run#{run}"))
}

/// That a branch or merge request has, or had, this commit as its head.
pub fn commit_subject(project: ProjectId, commit: &CommitSha, subject: &str) -> Key {
    Key::new(commit_runs(project, commit), format!("subject#{subject}"))
}

/// A stack's partition in the scheduler's records.
pub fn stack_partition(stack: &StackId) -> String {
    format!("stack/{stack}")
}

/// What the scheduler knows of a stack as a whole.
pub fn stack_head(stack: &StackId) -> Key {
    Key::new(stack_partition(stack), HEAD)
}

/// When a stack's work begins that nobody pushes.
pub fn stack_timer(stack: &StackId) -> Key {
    Key::new(stack_partition(stack), TIMER)
}

/// The sort key of a stack's timer.
pub const TIMER: &str = "timer";

/// The partition of stacks that differ from what was applied.
pub const DRIFTED: &str = "stack/drifted";

/// A stack that differs from what was applied.
pub fn drifted(stack: &StackId) -> Key {
    Key::new(DRIFTED, stack.as_str())
}

/// How far it was looked whether all timers are what their stacks ask for.
pub fn timers_look() -> Key {
    Key::new("stack/timers", HEAD)
}

/// A run's place in its stack's list of runs, by its number within the stack.
pub fn stack_run(stack: &StackId, number: u64) -> Key {
    Key::new(stack_partition(stack), format!("run#{number:012}"))
}

/// A tracked run's place in its stack's queue.
pub fn stack_queue(stack: &StackId, number: u64) -> Key {
    Key::new(stack_partition(stack), format!("queue#{number:012}"))
}

/// A proposed run that waits because its stack is being applied.
pub fn stack_waiting(stack: &StackId, run: &RunId) -> Key {
    Key::new(stack_partition(stack), format!("waiting#{run}"))
}

/// A module's run whose tests may go, or are under way.
pub fn stack_tests(stack: &StackId, number: u64) -> Key {
    Key::new(stack_partition(stack), format!("{OPEN_TESTS}{number:012}"))
}

/// What the sort keys of module runs under way begin with.
pub const OPEN_TESTS: &str = "tests#";

/// What a module's run tests.
pub fn suite(run: &RunId) -> Key {
    Key::new(format!("run/{run}"), "suite")
}

/// A version of a module. They sort as SemVer says.
pub fn version(module: &StackId, version: &Version) -> Key {
    Key::new(stack_partition(module), format!("{VERSIONS}{}", sort_key(version)))
}

/// What the sort keys of a module's versions begin with.
pub const VERSIONS: &str = "version#";

/// Which run a key of a stack became.
pub fn once(stack: &StackId, key: &str) -> Key {
    Key::new(format!("once/{stack}"), key)
}

/// How a person's command ended.
pub fn command(stack: &StackId, request: &EventId) -> Key {
    Key::new(format!("once/{stack}"), format!("command#{request}"))
}

/// How far a tracked branch is decided.
pub fn tracked_branch(project: ProjectId, branch: &str) -> Key {
    Key::new(tracked_branches(project), format!("{TRACKED_BRANCHES}{branch}"))
}

/// The partition of a project's tracked branches; their sort keys begin with
/// [`TRACKED_BRANCHES`].
pub fn tracked_branches(project: ProjectId) -> String {
    format!("decision/project/{project}")
}

/// What the sort keys of tracked branches begin with.
pub const TRACKED_BRANCHES: &str = "branch#";

/// The partition of what was decided for an event, stack by stack.
pub fn event_decisions(event: &EventId) -> String {
    format!("decision/event/{event}")
}

/// What was decided for an event and a stack.
pub fn decision(event: &EventId, stack: &StackId) -> Key {
    Key::new(event_decisions(event), stack.as_str())
}

/// The partition of what is known of the trees of two commits, folder by folder.
pub fn compared_trees(project: ProjectId, from: &CommitSha, to: &CommitSha) -> String {
    format!("decision/trees/{project}/{from}/{to}")
}

/// The partition of events received on a day, oldest first.
pub fn events_of_day(at: Timestamp) -> String {
    let text = at.to_string();
    format!("event/day/{}", text.get(..10).unwrap_or(&text))
}

/// An event.
pub fn event(at: Timestamp, event: &EventId) -> Key {
    Key::new(events_of_day(at), format!("{}#{event}", millis(at)))
}

/// When an event was first received.
pub fn receipt(event: &EventId) -> Key {
    Key::new(format!("event/receipt/{event}"), HEAD)
}

/// The partition of a project's merge requests as they were last decided.
pub fn merge_requests(project: ProjectId) -> String {
    format!("event/project/{project}")
}

/// A merge request as it was last decided.
pub fn merge_request(project: ProjectId, iid: MergeRequestIid) -> Key {
    Key::new(merge_requests(project), format!("mr#{:012}", iid.0))
}

/// A branch that is not tracked, as it was last decided.
pub fn branch(project: ProjectId, branch: &str) -> Key {
    Key::new(merge_requests(project), format!("{BRANCHES}{branch}"))
}

/// What the sort keys of branches that are not tracked begin with.
pub const BRANCHES: &str = "branch#";

/// A tag as it was last decided.
pub fn tag(project: ProjectId, tag: &str) -> Key {
    Key::new(merge_requests(project), format!("tag#{tag}"))
}

/// That a commit's archive is in object storage.
pub fn fetched_source(repository: &Repository, commit: &CommitSha) -> Key {
    Key::new(format!("event/source/{}", repository.key()), commit.as_str())
}

/// When a project is to be compared with GitLab next.
pub fn comparing(project: ProjectId) -> Key {
    Key::new(merge_requests(project), "comparing")
}

/// The partition of the paths of projects that were renamed or moved.
pub const PROJECT_PATHS: &str = "event/paths";

/// Where a project is now.
pub fn project_path(project: ProjectId) -> Key {
    Key::new(PROJECT_PATHS, project.to_string())
}

/// Whether everybody can read a project.
pub fn project_visibility(project: ProjectId) -> Key {
    Key::new(format!("feedback/visibility/{project}"), HEAD)
}

/// Until when the budget for comparisons is used up.
pub fn budget() -> Key {
    Key::new("event/budget", HEAD)
}

/// The health of the connection to GitLab, as `function` saw it.
pub fn health(function: &str) -> Key {
    let owner = if function == "publisher" { "feedback" } else { "event" };
    Key::new(format!("{owner}/health"), function)
}

/// How many messages were given up; there only while there are any.
pub fn given_up() -> Key {
    Key::new("event/given-up", HEAD)
}

/// The partition of targets of which GitLab refuses something.
pub const REFUSED: &str = "feedback/refused";

/// What GitLab refuses of a target.
pub fn refused(target: &str) -> Key {
    Key::new(REFUSED, target)
}

/// The partition of runs that wait for a runner, in the order in which they get one.
pub const QUEUE: &str = "line/all";

/// A run's position in the queue. Lower classes go first: 0 tracked and confirmed, 1 proposed, 2 tests
/// and what is planned again after an apply, 3 looks for drift.
pub fn queued(class: u8, created_at: Timestamp, number: u64, run: &RunId) -> Key {
    Key::new(QUEUE, format!("{class}#{}#{number:012}#{run}", millis(created_at)))
}

/// What the positions of pools' runs in the queue began with before they had a queue of their own.
pub const POOLS_BEFORE: &str = "9#";

/// The partition of runs that wait for a worker of their pool: the queue of each pool.
pub const POOL_QUEUES: &str = "line/pool";

/// A run's position in its pool's queue, in the order of [`queued`].
pub fn pool_queued(pool: &Pool, class: u8, created_at: Timestamp, number: u64, run: &RunId) -> Key {
    let Key { sk, .. } = queued(class, created_at, number, run);
    Key::new(POOL_QUEUES, format!("{}{sk}", queue_of(pool)))
}

/// What the sort keys of a pool's queue begin with.
pub fn queue_of(pool: &Pool) -> String {
    format!("{pool}#")
}

/// The partition of runs that have a runner, or are about to get one.
pub const SLOTS: &str = "room/all";

/// A run that has a runner.
pub fn slot(run: &RunId) -> Key {
    Key::new(SLOTS, run.as_str())
}

/// The build that was started for a run.
pub fn build(run: &RunId) -> Key {
    Key::new("room/builds", run.as_str())
}

/// How many runners the cloud takes, when it takes fewer than the installation is set to.
pub fn slot_limit() -> Key {
    Key::new("room/limit", HEAD)
}

/// Since when runners can be heard.
pub fn heard() -> Key {
    Key::new("room/heard", HEAD)
}

/// How many wrong admin keys came from an address in one minute.
pub fn wrong_keys(address: &str, now: Timestamp) -> Key {
    let minute = now.as_second() / 60;
    Key::new(
        format!("config/tries/{}", gantry_domain::ids::short_digest(&[address])),
        minute.to_string(),
    )
}

/// The partition of stacks that were blocked, each until somebody sees that it is not any more.
pub const BLOCKED: &str = "line/blocked";

/// A stack that was blocked.
pub fn blocked(stack: &StackId) -> Key {
    Key::new(BLOCKED, stack.to_string())
}

/// The partition of stacks whose last deploy that succeeded or failed has failed.
pub const FAILED: &str = "line/failed";

/// A stack whose last deploy that succeeded or failed has failed.
pub fn failed(stack: &StackId) -> Key {
    Key::new(FAILED, stack.as_str())
}

/// The partition of runs that wait for a person, the oldest first.
pub const WAITING: &str = "line/person";

/// A run that waits for a person.
pub fn waiting(created_at: Timestamp, run: &RunId) -> Key {
    Key::new(WAITING, format!("{}#{run}", millis(created_at)))
}

/// What is to be brought up to date at GitLab; `target` is the message group of its nudges.
pub fn feedback(target: &str) -> Key {
    Key::new(format!("feedback/{target}"), HEAD)
}

/// What the publisher remembers of a target.
pub fn feedback_memory(target: &str) -> Key {
    Key::new(format!("feedback/{target}"), "memory")
}

/// A runner's last sign of life.
pub fn beat(run: &RunId) -> Key {
    Key::new(format!("beat/{run}"), HEAD)
}

/// That an attempt was claimed.
pub fn claim(run: &RunId, attempt: u32) -> Key {
    Key::new(format!("claim/{run}"), format!("{attempt:06}"))
}

/// That an attempt goes to a runner that has ended its own run.
pub fn handed_on(run: &RunId, attempt: u32) -> Key {
    Key::new(format!("claim/{run}"), format!("{attempt:06}#handed-on"))
}

/// The partition of runners that have ended their run and take another one.
pub const FREE_RUNNERS: &str = "claim/free";

/// A runner that takes another run until then; `ended` is the run that it has ended.
pub fn free_runner(until: Timestamp, ended: &RunId) -> Key {
    Key::new(FREE_RUNNERS, format!("{}#{ended}", free_at(until)))
}

/// What comes before the sort keys of all runners that are still free then.
pub fn free_at(then: Timestamp) -> String {
    millis(then)
}

/// Who holds the lock on a stack's Terraform state.
pub fn lock(stack: &StackId) -> Key {
    Key::new(format!("lock/{stack}"), HEAD)
}

/// Which version of a stack's Terraform state is the current one.
pub fn state(stack: &StackId) -> Key {
    Key::new(state_partition(stack), HEAD)
}

/// A version of a stack's Terraform state.
pub fn state_version(stack: &StackId, number: u64) -> Key {
    Key::new(state_partition(stack), format!("{STATE_VERSIONS}{number:010}"))
}

/// The partition of a stack's Terraform state; its versions begin with [`STATE_VERSIONS`].
pub fn state_partition(stack: &StackId) -> String {
    format!("state/{stack}")
}

/// What the sort keys of state versions begin with.
pub const STATE_VERSIONS: &str = "version#";

/// Which version of the state a run reads.
pub fn state_pin(stack: &StackId, run: &RunId) -> Key {
    Key::new(state_partition(stack), format!("pin#{run}"))
}

/// Where a run's upload of a state body goes.
pub fn state_upload(stack: &StackId, run: &RunId, attempt: u32, digest: &str) -> Key {
    Key::new(state_partition(stack), format!("upload#{run}#{attempt:06}#{digest}"))
}

/// The partition of a run's log.
pub fn log_partition(run: &RunId) -> String {
    format!("log/{run}")
}

/// A piece of a run's log.
pub fn log(run: &RunId, attempt: u32, offset: u64) -> Key {
    Key::new(log_partition(run), format!("{attempt:06}#{offset:012}"))
}

/// How far the log of an attempt was taken.
pub fn log_held(run: &RunId, attempt: u32) -> Key {
    Key::new(format!("log/{run}/held"), format!("{attempt:06}"))
}

/// How often a message failed.
pub fn poison(queue: &str, message: &str) -> Key {
    Key::new(format!("poison/{queue}"), message)
}
