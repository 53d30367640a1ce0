//! Runners that say what a story tells them to, over the real runner API.
//!
//! They run no Terraform: what real runners do is tested with them. What is tested here is what
//! the system makes of it.

use gantry_domain::{
    RunId,
    plan::{Action, Change, Delta, Limits},
    protocol::{
        BeatAnswer, ClaimAnswer, ClaimRequest, LogChunk, Report, ReportKind, VERSION,
        VERSION_HEADER,
    },
    run::{Phase, RunType},
    stack::Tool,
};
use gantry_queue::NotStarted;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// What a plan finds.
#[derive(Debug, Clone)]
pub enum Planned {
    /// Nothing to do.
    Clean,
    /// This many resources to add.
    Adds(u32),
    /// One resource to add, and a check that fails.
    FailsCheck,
    /// Terraform says no.
    Fails(String),
}

/// The runners of a story.
pub(crate) struct Runners {
    http: Client,
    api: String,
    pub(crate) plans: HashMap<String, Planned>,
    /// What looks for drift find; nothing where that is not said.
    pub(crate) drifts: HashMap<String, Planned>,
    /// Stacks whose runners stay in the middle of their phase.
    pub(crate) held: HashSet<String>,
    /// Runner-api answers nobody.
    pub(crate) cannot_speak: bool,
    /// The cloud starts none, and says why.
    pub(crate) refused: Option<(NotStarted, String)>,
    /// No runner ever comes up: starts lead to nothing.
    pub(crate) absent: bool,
    active: Vec<Active>,
    /// How many were ever active at once.
    pub(crate) most_at_once: usize,
    /// The SHA-256 of the source that a run got last.
    pub(crate) sources: HashMap<RunId, String>,
    /// Phases that were executed, in order: `network plan`, `network apply`.
    pub(crate) done: Vec<String>,
}

/// What became of a commit's source.
enum Source {
    /// It is there.
    There,
    /// It is still to be fetched.
    Waits,
    /// It cannot be had, for this reason.
    Cannot(String),
}

struct Active {
    claim: ClaimAnswer,
    phase: Phase,
    sequence: u32,
    announced: bool,
}

impl Runners {
    pub(crate) fn new(http: Client, api: String) -> Self {
        Self {
            http,
            api,
            plans: HashMap::new(),
            drifts: HashMap::new(),
            held: HashSet::new(),
            cannot_speak: false,
            refused: None,
            absent: false,
            active: Vec::new(),
            most_at_once: 0,
            sources: HashMap::new(),
            done: Vec::new(),
        }
    }

    /// Takes the phase of a start message, as a new process would.
    pub(crate) async fn start(&mut self, run: &RunId, attempt: u32, token: &str) {
        if self.absent {
            return;
        }
        let body = ClaimRequest {
            runner: format!("scenario-{run}-{attempt}"),
            nonce: format!("{run}-{attempt}"),
            identity: None,
            tells_again: false,
            heeds_options: true,
        };
        let claim = self
            .http
            .post(format!("{}/runner/v1/claim", self.api))
            .header(VERSION_HEADER, VERSION)
            .bearer_auth(token)
            .json(&body);
        let answer = answer(claim).await;
        if !answer.status().is_success() {
            // Taken already, or not wanted any more.
            assert!(
                matches!(
                    answer.status(),
                    StatusCode::CONFLICT | StatusCode::GONE | StatusCode::UNAUTHORIZED
                ),
                "the claim was answered with {}: {}",
                answer.status(),
                answer.text().await.unwrap_or_default()
            );
            return;
        }
        let claim: ClaimAnswer = answer.json().await.unwrap();
        if self.active.iter().any(|a| a.claim.run == claim.run && a.phase == claim.phase) {
            return;
        }
        let phase = claim.phase;
        self.active.push(Active { claim, phase, sequence: 0, announced: false });
        self.most_at_once = self.most_at_once.max(self.active.len());
    }

    /// The runners of a stack are gone, without a word.
    pub(crate) fn die(&mut self, slug: &str) {
        self.active.retain(|active| active.claim.stack.as_str() != slug);
    }

    /// Lets every runner that is not held do its next step. True when one did something.
    pub(crate) async fn step(&mut self) -> bool {
        let mut moved = false;
        let mut index = 0;
        if self.cannot_speak {
            return false;
        }
        while index < self.active.len() {
            let ended = self.step_one(index, &mut moved).await;
            if ended {
                let active = self.active.remove(index);
                self.done.push(format!("{} {}", active.claim.stack, active.phase));
            } else {
                index += 1;
            }
        }
        moved
    }

    async fn step_one(&mut self, index: usize, moved: &mut bool) -> bool {
        let slug = self.active[index].claim.stack.to_string();
        if !self.active[index].announced {
            self.active[index].announced = true;
            *moved = true;
            if self.active[index].phase == Phase::Plan {
                return !self.report(index, ReportKind::Planning).await;
            }
        }
        let Some(beat) = self.beat(index).await else { return true };
        if beat.stop.is_some() {
            *moved = true;
            let is_test = self.active[index].claim.run_type == RunType::Test;
            let what = match self.active[index].phase {
                Phase::Plan => ReportKind::Stopped,
                Phase::Apply if is_test => {
                    let (summary, errors, log_tail) = (String::new(), Vec::new(), Vec::new());
                    let failed =
                        ReportKind::ApplyFailed { summary, errors, log_tail, in_terraform: true };
                    self.report(index, failed).await;
                    ReportKind::Destroyed { left: Vec::new() }
                }
                Phase::Apply => ReportKind::Interrupted { summary: String::new() },
            };
            self.report(index, what).await;
            return true;
        }
        if self.held.contains(&slug) {
            return false;
        }
        match self.active[index].phase {
            Phase::Plan => match self.source(index).await {
                Source::Waits => false,
                Source::Cannot(why) => {
                    *moved = true;
                    self.report(index, failed(&why)).await;
                    true
                }
                Source::There => {
                    *moved = true;
                    self.plan(index, &slug).await
                }
            },
            Phase::Apply => {
                *moved = true;
                self.apply(index, &slug).await
            }
        }
    }

    /// What became of the source.
    async fn source(&mut self, index: usize) -> Source {
        let call = self
            .http
            .get(format!("{}/runner/v1/source", self.api))
            .header(VERSION_HEADER, VERSION)
            .bearer_auth(&self.active[index].claim.run_token);
        let answer = answer(call).await;
        match answer.status() {
            StatusCode::ACCEPTED => Source::Waits,
            StatusCode::UNPROCESSABLE_ENTITY => Source::Cannot(answer.text().await.unwrap()),
            // The run is not this runner's any more: its next report says so.
            StatusCode::GONE => Source::There,
            status => {
                assert!(status.is_success(), "the source was answered with {status}");
                // Cut short, it is as good as not there.
                if let Ok(source) = answer.bytes().await {
                    let run = self.active[index].claim.run.clone();
                    self.sources.insert(run, sha256(&source));
                }
                Source::There
            }
        }
    }

    async fn plan(&mut self, index: usize, slug: &str) -> bool {
        if self.active[index].claim.task.is_some() {
            return self.begin_task(index, slug).await;
        }
        let is_look = self.active[index].claim.tolerate.is_some();
        let planned = match is_look {
            true => self.drifts.get(slug).cloned().unwrap_or(Planned::Clean),
            false => self.plans.get(slug).cloned().unwrap_or(Planned::Adds(1)),
        };
        let delta = match &planned {
            Planned::Fails(summary) => {
                self.report(index, failed(summary)).await;
                return true;
            }
            Planned::Clean => Delta::default(),
            Planned::Adds(found) if is_look => Delta { change: *found, ..Delta::default() },
            Planned::Adds(add) => Delta { add: *add, ..Delta::default() },
            Planned::FailsCheck => Delta { add: 1, ..Delta::default() },
        };
        self.log(index, "planning\n").await;
        let change = match is_look {
            true => drifted(delta.change),
            false => change(delta.add, matches!(planned, Planned::FailsCheck)),
        };
        self.put(index, "change", serde_json::to_vec(&change).unwrap()).await;
        let plan_digest = match planned {
            Planned::Clean => None,
            _ if self.active[index].claim.run_type != RunType::Tracked => None,
            _ => {
                let archive = b"a saved plan".to_vec();
                let digest = sha256(&archive);
                self.put(index, &format!("plan?digest={digest}"), archive).await;
                Some(digest)
            }
        };
        let failed_checks = change.failed_checks();
        let what =
            ReportKind::Planned { delta, plan_digest, partial: false, failed_checks, tolerated: 0 };
        self.report(index, what).await;
        let active = &mut self.active[index];
        let goes_on = active.claim.autodeploy
            && (active.claim.run_type == RunType::Test || !delta.is_empty());
        if goes_on {
            self.done.push(format!("{slug} plan"));
            self.active[index].phase = Phase::Apply;
        }
        !goes_on
    }

    /// A task has no plan: its command is executed where an apply would be.
    async fn begin_task(&mut self, index: usize, slug: &str) -> bool {
        let what = ReportKind::Planned {
            delta: Delta::default(),
            plan_digest: None,
            partial: false,
            failed_checks: 0,
            tolerated: 0,
        };
        let is_mine = self.report(index, what).await;
        let command = self.active[index].claim.task.clone().unwrap_or_default();
        self.done.push(format!("{slug} task {command}"));
        self.active[index].phase = Phase::Apply;
        !is_mine
    }

    async fn apply(&mut self, index: usize, slug: &str) -> bool {
        if self.active[index].claim.task.is_some() {
            self.report(index, ReportKind::Applied { delta: Delta::default() }).await;
            return true;
        }
        let add = match self.plans.get(slug) {
            Some(Planned::Adds(add)) => *add,
            Some(Planned::Fails(summary)) => {
                let summary = summary.clone();
                self.report(index, failed(&summary)).await;
                return true;
            }
            _ => 1,
        };
        self.report(index, ReportKind::Applied { delta: Delta { add, ..Delta::default() } }).await;
        if self.active[index].claim.run_type == RunType::Test {
            self.report(index, ReportKind::Destroyed { left: Vec::new() }).await;
        }
        true
    }

    /// False when the run is not this runner's any more.
    async fn report(&mut self, index: usize, what: ReportKind) -> bool {
        let active = &mut self.active[index];
        active.sequence += 1;
        let report = Report::new(active.sequence, what);
        let status = self.send(index, "report", serde_json::to_vec(&report).unwrap()).await;
        assert!(status.is_success() || status == StatusCode::GONE, "a report got {status}");
        status.is_success()
    }

    async fn beat(&self, index: usize) -> Option<BeatAnswer> {
        let beat = self
            .http
            .post(format!("{}/runner/v1/beat", self.api))
            .header(VERSION_HEADER, VERSION)
            .bearer_auth(&self.active[index].claim.run_token)
            .json(&json!({}));
        let answer = answer(beat).await;
        if answer.status() == StatusCode::GONE {
            return None;
        }
        assert!(answer.status().is_success(), "a heartbeat got {}", answer.status());
        Some(answer.json().await.unwrap())
    }

    async fn log(&self, index: usize, text: &str) {
        let chunk = LogChunk { offset: 0, text: text.to_owned() };
        self.send(index, "log", serde_json::to_vec(&chunk).unwrap()).await;
    }

    async fn send(&self, index: usize, path: &str, body: Vec<u8>) -> StatusCode {
        let call = self
            .http
            .post(format!("{}/runner/v1/{path}", self.api))
            .header(VERSION_HEADER, VERSION)
            .header("content-type", "application/json")
            .bearer_auth(&self.active[index].claim.run_token)
            .body(body);
        let answer = answer(call).await;
        answer.status()
    }

    async fn put(&self, index: usize, path: &str, body: Vec<u8>) {
        let call = self
            .http
            .put(format!("{}/runner/v1/{path}", self.api))
            .header(VERSION_HEADER, VERSION)
            .header("content-type", "application/json")
            .bearer_auth(&self.active[index].claim.run_token)
            .body(body);
        let answer = answer(call).await;
        let status = answer.status();
        assert!(
            status.is_success() || status == StatusCode::GONE,
            "PUT {path} got {status}: {}",
            answer.text().await.unwrap_or_default()
        );
    }
}

/// The answer to a call. Where a process ended over it there is none, and it is made again, as
/// runners do.
pub(crate) async fn answer(call: RequestBuilder) -> Response {
    loop {
        let answer = call.try_clone().unwrap().send().await.unwrap();
        if answer.status() != StatusCode::BAD_GATEWAY {
            return answer;
        }
    }
}

fn failed(summary: &str) -> ReportKind {
    ReportKind::Failed {
        summary: summary.to_owned(),
        errors: vec![format!("Error: {summary}")],
        log_tail: Vec::new(),
        in_terraform: true,
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    gantry_domain::ids::sha256(bytes).iter().fold(String::new(), |mut text, byte| {
        let _cannot_fail = write!(text, "{byte:02x}");
        text
    })
}

/// A resource of a plan, of which this becomes another.
fn resource(number: u32, action: &str, before: &Value, after: &Value) -> Value {
    json!({
        "address": format!("terraform_data.made[{number}]"),
        "mode": "managed",
        "type": "terraform_data",
        "name": "made",
        "provider_name": "terraform.io/builtin/terraform",
        "change": {
            "actions": [action],
            "before": before,
            "after": after,
            "after_unknown": {},
            "before_sensitive": false,
            "after_sensitive": {},
        },
    })
}

/// A change of so many resources that somebody changed elsewhere.
fn drifted(count: u32) -> Change {
    let resource = |number| {
        let (before, after) = (json!({ "input": "as applied" }), json!({ "input": "by hand" }));
        resource(number, "update", &before, &after)
    };
    let resources: Vec<_> = (0..count).map(resource).collect();
    read(&json!({
        "format_version": "1.2",
        "terraform_version": "1.11.4",
        "resource_changes": resources,
    }))
}

fn read(plan: &Value) -> Change {
    let (limits, masker) = (Limits::default(), gantry_domain::masking::Masker::default());
    let plan = plan.to_string();
    Change::from_plan(plan.as_bytes(), Tool::Terraform, limits, &masker).unwrap().0
}

/// A change of `add` resources, as real plans bring it, perhaps with a check that fails.
fn change(add: u32, fails_check: bool) -> Change {
    let created = |number| {
        let after = json!({ "input": format!("value {number}") });
        resource(number, "create", &Value::Null, &after)
    };
    let resources: Vec<_> = (0..add).map(created).collect();
    let check = json!({
        "address": { "to_display": "check.health" },
        "status": "fail",
        "instances": [{
            "address": { "to_display": "check.health" },
            "status": "fail",
            "problems": [{ "message": "it is down" }],
        }],
    });
    let checks: Vec<_> = fails_check.then_some(check).into_iter().collect();
    let change = read(&json!({
        "format_version": "1.2",
        "terraform_version": "1.11.4",
        "resource_changes": resources,
        "checks": checks,
    }));
    assert!(change.resources.iter().all(|r| r.action == Action::Create));
    change
}
