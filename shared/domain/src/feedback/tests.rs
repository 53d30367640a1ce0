//! Which statuses a commit lacks, case by case and for random runs.

use super::*;
use crate::run::{RunEvent, RunState, next};
use jiff::Timestamp;
use proptest::prelude::*;
use strum::VariantArray as _;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

fn pipeline(id: u64) -> Pipeline {
    Pipeline {
        fork: None,
        id: Some(PipelineId(id)),
        sha: SHA.parse().unwrap(),
        git_ref: None,
        shows: Shows::Everything,
    }
}

fn external(git_ref: &str) -> Pipeline {
    Pipeline { id: None, git_ref: Some(git_ref.to_owned()), ..pipeline(0) }
}

fn run(name: &str, number: i64, state: RunState) -> RunView {
    RunView {
        id: format!("{name}-{number}").parse().unwrap(),
        name: name.to_owned(),
        run_type: RunType::Proposed,
        state,
        delta: None,
        applied: false,
        summary: None,
        in_terraform: true,
        ended_in: None,
        applied_in_part: false,
        by: None,
        number: number.unsigned_abs(),
        created_at: Timestamp::from_second(number).unwrap(),
        since: Timestamp::from_second(number).unwrap(),
        url: format!("https://gantry.example/runs/{name}-{number}"),
        module: false,
        suite: None,
        verdict: None,
        left_behind: false,
        warnings: Vec::new(),
        checks: 0,
        approval: None,
        held: false,
    }
}

/// GitLab as far as statuses go: section 3.2 of its state machine, a record a (pipeline, name).
#[derive(Default)]
struct GitLab {
    records: BTreeMap<(u64, String), CommitState>,
}

impl GitLab {
    fn take(&mut self, post: &StatusPost) -> PipelineId {
        use CommitState::{Pending, Running};
        let id = post.pipeline.id.map_or(99, |id| id.0);
        let before = self.records.get(&(id, post.name.clone())).filter(|s| !s.is_final());
        let refused = post.state == Pending && before.is_some()
            || post.state == Running && before == Some(&Running);
        assert!(!refused, "{} cannot go from {before:?} to {}", post.name, post.state);
        assert!(post.description.chars().count() <= 255);
        self.records.insert((id, post.name.clone()), post.state);
        PipelineId(id)
    }

    fn looks_done(&self, id: u64) -> bool {
        let mut of_pipeline = self.records.iter().filter(|((p, _), _)| *p == id).peekable();
        of_pipeline.peek().is_some() && of_pipeline.all(|(_, s)| *s == CommitState::Success)
    }
}

struct World {
    gitlab: GitLab,
    posted: Posted,
    runs: Vec<RunView>,
    pipelines: Vec<Pipeline>,
    statuses: Statuses,
    gate_may_end: bool,
    log: Vec<String>,
}

impl World {
    fn new(statuses: Statuses, pipelines: Vec<Pipeline>) -> Self {
        Self {
            gitlab: GitLab::default(),
            posted: Posted::default(),
            runs: Vec::new(),
            pipelines,
            statuses,
            gate_may_end: true,
            log: Vec::new(),
        }
    }

    fn missing(&self) -> Vec<StatusPost> {
        let view = CommitView {
            prefix: &Prefix::default(),
            statuses: self.statuses,
            runs: &self.runs,
            stacks_touched: 0,
            pipelines: &self.pipelines,
            gate_url: None,
            gate_without_runs: false,
            gate_may_end: self.gate_may_end,
        };
        missing_statuses(&view, &self.posted)
    }

    /// Posts what is missing, then checks that nothing is missing any more.
    fn publish(&mut self) {
        for mut post in self.missing() {
            post.pipeline = self.posted.resolve(&post.pipeline);
            let id = self.gitlab.take(&post);
            self.posted.record(&post, Some(id), UserId(1));
            self.log.push(format!("{id} {} {}: {}", post.name, post.state, post.description));
            // One that is not the commit's any more, and never had a gate, only gets the ends of
            // what was begun in it.
            let has_gate = self
                .posted
                .statuses
                .iter()
                .any(|s| s.pipeline.id == Some(id) && s.name == Prefix::default().gate());
            let is_present = self.pipelines.iter().any(|p| self.posted.resolve(p).id == Some(id));
            let is_gated = self.statuses == Statuses::Both && (is_present || has_gate);
            if is_gated && self.gitlab.looks_done(id.0) {
                let newest = |r: &&RunView| {
                    !self.runs.iter().any(|o| o.name == r.name && o.number > r.number)
                };
                assert!(
                    self.runs.iter().filter(newest).all(|r| r.state == RunState::Finished),
                    "pipeline {id} looks done too early: {:#?}",
                    self.log
                );
            }
        }
        assert_eq!(self.missing(), vec![]);
    }

    fn set(&mut self, run: RunView) {
        self.runs.retain(|r| r.id != run.id);
        self.runs.push(run);
        self.publish();
    }
}

#[test]
fn a_commit_from_push_to_end() {
    use RunState::{Failed, Finished, Planning, Queued};
    let mut w = World::new(Statuses::Both, vec![external("feature")]);
    w.set(run("a", 1, Queued));
    w.set(run("b", 1, Queued));
    w.set(run("a", 1, Planning));
    // A merge request pipeline appears.
    w.pipelines = vec![pipeline(7)];
    w.set(run("a", 1, Finished));
    w.set(run("b", 1, Failed));
    // Somebody retries.
    w.set(run("b", 2, Queued));
    w.set(run("b", 2, Finished));
    insta::assert_snapshot!(w.log.join("\n"), @"
    99 gantry pending: Waiting for 1 stack
    99 gantry/a pending: Queued
    99 gantry/b pending: Queued
    99 gantry/a running: Planning
    7 gantry pending: Waiting for 2 stacks
    7 gantry/a success: No changes
    7 gantry/b pending: Queued
    99 gantry/a success: No changes
    7 gantry/b failed: Failed
    7 gantry failed: 1 of 2 stacks failed: b
    99 gantry/b failed: Failed
    99 gantry failed: 1 of 2 stacks failed: b
    7 gantry pending: Waiting for 2 stacks
    7 gantry/b pending: Queued
    7 gantry/b success: No changes
    7 gantry success: 2 stacks: no changes
    ");
}

/// GitLab changes no text of a status that runs.
#[test]
fn what_waits_for_a_person_says_nothing_that_its_apply_makes_untrue() {
    let mut w = World::new(Statuses::Stacks, vec![pipeline(1)]);
    let tracked = |state| RunView { run_type: RunType::Tracked, ..run("network", 1, state) };
    w.runs = vec![tracked(RunState::Unconfirmed)];
    let post = w.missing().remove(0);
    assert_eq!(post.description, "No changes, applied once confirmed");
    w.publish();
    for state in [RunState::Confirmed, RunState::Applying] {
        w.runs = vec![tracked(state)];
        assert_eq!(w.missing(), [], "{state} goes on as running");
    }
}

#[test]
fn the_gate_waits_for_runs_that_are_still_to_come() {
    use RunState::{Finished, Queued};
    let mut w = World::new(Statuses::Both, vec![pipeline(1)]);
    w.gate_may_end = false;
    w.set(run("a", 1, Queued));
    w.set(run("a", 1, Finished));
    w.set(run("b", 1, Queued));
    w.gate_may_end = true;
    w.set(run("b", 1, Finished));
    insta::assert_snapshot!(w.log.join("\n"), @"
    1 gantry pending: Waiting for 1 stack
    1 gantry/a pending: Queued
    1 gantry/a success: No changes
    1 gantry/b pending: Queued
    1 gantry/b success: No changes
    1 gantry success: 2 stacks: no changes
    ");
}

/// What a run passes through within two seconds is never told; the gate says at once that it goes on.
#[test]
fn what_passes_is_not_told() {
    use RunState::{Finished, Planning, Queued, Unconfirmed};
    let told = |statuses, state, passed: i64, posted: &Posted| {
        let prefix = Prefix::default();
        let pipelines = [pipeline(1)];
        let runs = [run("a", 1, state)];
        let view = CommitView {
            prefix: &prefix,
            statuses,
            runs: &runs,
            stacks_touched: 1,
            pipelines: &pipelines,
            gate_url: None,
            gate_without_runs: false,
            gate_may_end: true,
        };
        let mut posts = missing_statuses(&view, posted);
        let now = Timestamp::from_second(1).unwrap() + SignedDuration::from_millis(passed);
        let again = leave_out_passing(&mut posts, &view, posted, now);
        let names: Vec<_> =
            posts.iter().map(|post| format!("{} {}", post.name, post.state)).collect();
        (posts, names, again.map(|at| at.as_millisecond()))
    };
    let nothing = Posted::default();
    let (posts, names, again) = told(Statuses::Both, Queued, 0, &nothing);
    assert_eq!((names, again), (vec!["gantry pending".to_owned()], Some(3_000)));
    let mut gated = Posted::default();
    gated.record(&posts[0], None, UserId(1));
    let (_, names, again) = told(Statuses::Both, Planning, 1_999, &gated);
    assert_eq!((names, again), (vec![], Some(3_000)));
    let (_, names, again) = told(Statuses::Both, Planning, 2_000, &gated);
    assert_eq!((names, again), (vec!["gantry/a running".to_owned()], None));
    // The clock was set back by a minute, and not by one that is a little behind.
    let (_, names, again) = told(Statuses::Both, Planning, -60_000, &gated);
    assert_eq!((names, again), (vec!["gantry/a running".to_owned()], None));
    let (_, names, again) = told(Statuses::Both, Planning, -500, &gated);
    assert_eq!((names, again), (vec![], Some(3_000)));
    let (_, names, again) = told(Statuses::Both, Finished, 0, &gated);
    assert_eq!((names.len(), again), (2, None), "an end is told at once");
    let (_, names, again) = told(Statuses::Both, Unconfirmed, 0, &gated);
    assert_eq!((names.len(), again), (1, None), "and so is what waits for a person");
    // Without a gate, nothing else says that something goes on.
    let (_, names, again) = told(Statuses::Stacks, Queued, 0, &nothing);
    assert_eq!((names, again), (vec!["gantry/a pending".to_owned()], None));
}

#[test]
fn one_kind_only() {
    for (statuses, names) in [(Statuses::Gate, "gantry"), (Statuses::Stacks, "gantry/a")] {
        let mut w = World::new(statuses, vec![pipeline(1)]);
        w.set(run("a", 1, RunState::Queued));
        w.set(run("a", 1, RunState::Finished));
        assert!(w.posted.statuses.iter().all(|s| s.name == names), "{:?}", w.log);
    }
}

#[test]
fn above_fifty_stacks_the_gate_stands_alone_and_what_was_begun_is_ended() {
    let mut w = World::new(Statuses::Both, vec![pipeline(1)]);
    w.set(run("s0", 1, RunState::Queued));
    w.runs.extend((1..60).map(|i| run(&format!("s{i}"), 1, RunState::Queued)));
    w.publish();
    for run in &mut w.runs {
        run.state = RunState::Finished;
    }
    w.publish();
    insta::assert_snapshot!(w.log.join("\n"), @"
    1 gantry pending: Waiting for 1 stack
    1 gantry/s0 pending: Queued
    1 gantry/s0 success: No changes
    1 gantry success: 60 stacks: no changes
    ");
}

#[test]
fn a_gate_without_runs() {
    let prefix = Prefix::default();
    let pipelines = [pipeline(1)];
    let view = CommitView {
        prefix: &prefix,
        statuses: Statuses::Both,
        runs: &[],
        stacks_touched: 0,
        pipelines: &pipelines,
        gate_url: Some("https://gantry.example/"),
        gate_without_runs: true,
        gate_may_end: true,
    };
    let mut posted = Posted::default();
    let posts = missing_statuses(&view, &posted);
    assert_eq!(posts.len(), 1);
    assert_eq!(posts[0].description, "No stacks affected");
    posted.record(&posts[0], None, UserId(1));
    assert_eq!(missing_statuses(&view, &posted), vec![]);
    let kept = serde_json::to_string(&posted).unwrap();
    assert_eq!(serde_json::from_str::<Posted>(&kept).unwrap(), posted);
}

#[test]
fn the_gate_counts_what_is_still_to_come_and_leads_to_the_one_that_failed() {
    use RunState::{Failed, Finished, Queued};
    let prefix = Prefix::default();
    let pipelines = [pipeline(1)];
    let last = |runs: &[RunView]| {
        let view = CommitView {
            prefix: &prefix,
            statuses: Statuses::Gate,
            runs,
            stacks_touched: 3,
            pipelines: &pipelines,
            gate_url: Some("https://gantry.example/events"),
            gate_without_runs: false,
            gate_may_end: true,
        };
        let post = missing_statuses(&view, &Posted::default()).pop().unwrap();
        format!("{} ({})", post.description, post.target_url.unwrap())
    };
    let all = [
        last(&[run("a", 1, Queued), run("b", 1, Finished)]),
        last(&[run("a", 1, Failed), run("b", 1, Finished), run("c", 1, Finished)]),
        last(&[run("a", 1, Failed), run("b", 1, Failed), run("c", 1, Finished)]),
        last(&[run("a", 1, Failed), run("b", 1, Queued), run("c", 1, Finished)]),
    ];
    insta::assert_snapshot!(all.join("\n"), @"
    Waiting for 3 stacks (https://gantry.example/events)
    1 of 3 stacks failed: a (https://gantry.example/runs/a-1)
    2 of 3 stacks failed: a, b (https://gantry.example/events)
    Waiting for 3 stacks (https://gantry.example/events)
    ");
}

#[test]
fn a_pipeline_shows_its_own_kind_of_runs() {
    let mut w = World::new(
        Statuses::Stacks,
        vec![
            Pipeline { shows: Shows::Previews, ..pipeline(1) },
            Pipeline { shows: Shows::Tracked, ..pipeline(2) },
        ],
    );
    w.set(run("a", 1, RunState::Finished));
    w.set(RunView { run_type: RunType::Tracked, ..run("a", 2, RunState::Queued) });
    insta::assert_snapshot!(w.log.join("\n"), @"
    1 gantry/a success: No changes
    2 gantry/a pending: Queued or planning
    ");
}

/// What happens between two times of publishing.
#[derive(Debug, Clone)]
enum Happening {
    /// A run of one of few names is made.
    New(u8, RunType),
    /// A run takes one of the steps that its state allows.
    Step(prop::sample::Index, prop::sample::Index),
    /// The commit's pipelines change.
    Pipelines(Vec<u8>),
    /// The project's setting changes.
    Statuses(Statuses),
    Publish,
}

fn happening() -> impl Strategy<Value = Happening> {
    let statuses = prop_oneof![
        4 => Just(Statuses::Both),
        1 => Just(Statuses::Gate),
        1 => Just(Statuses::Stacks),
    ];
    prop_oneof![
        3 => (0..3u8, prop_oneof![Just(RunType::Proposed), Just(RunType::Tracked)])
            .prop_map(|(name, kind)| Happening::New(name, kind)),
        12 => any::<(prop::sample::Index, prop::sample::Index)>()
            .prop_map(|(run, step)| Happening::Step(run, step)),
        1 => prop::collection::vec(0..4u8, 0..3).prop_map(Happening::Pipelines),
        1 => statuses.prop_map(Happening::Statuses),
        6 => Just(Happening::Publish),
    ]
}

fn take_a_step(run: &mut RunView, step: &prop::sample::Index) {
    let ways: Vec<RunState> = RunEvent::VARIANTS
        .iter()
        .filter_map(|event| next(run.state, *event).ok().map(|(state, _)| state))
        .collect();
    if !ways.is_empty() {
        run.state = *step.get(&ways);
    }
}

fn targets(numbers: &[u8]) -> Vec<Pipeline> {
    let target = |n: &u8| if *n == 0 { external("feature") } else { pipeline(u64::from(*n)) };
    numbers.iter().map(target).collect()
}

proptest! {
    #[test]
    fn gitlab_takes_every_post_and_everything_ends(
        happenings in prop::collection::vec(happening(), 0..60),
        pipelines in prop::collection::vec(0..4u8, 1..3),
        one_kind in any::<bool>(),
    ) {
        let mut w = World::new(Statuses::Both, targets(&pipelines));
        for (now, happening) in happenings.iter().enumerate() {
            match happening {
                Happening::New(name, run_type) => {
                    let new = run(&format!("s{name}"), i64::try_from(now).unwrap(), RunState::Queued);
                    w.runs.push(RunView { run_type: *run_type, ..new });
                }
                Happening::Step(index, step) if !w.runs.is_empty() => {
                    let index = index.index(w.runs.len());
                    take_a_step(&mut w.runs[index], step);
                }
                Happening::Step(..) => {}
                Happening::Pipelines(numbers) => w.pipelines = targets(numbers),
                Happening::Statuses(statuses) if !one_kind => w.statuses = *statuses,
                Happening::Statuses(_) => {}
                Happening::Publish => w.publish(),
            }
        }
        // Whatever is under way comes to an end.
        for run in &mut w.runs {
            if !run.state.is_final() {
                run.state = RunState::Finished;
            }
        }
        w.publish();
        prop_assert!(w.gitlab.records.values().all(|s| s.is_final()), "{:#?}", w.log);
    }
}
