//! Drift: what is not as it was applied, because somebody changed it elsewhere.
//!
//! A stack is looked at by a run that nobody pushed. What it finds and nobody tolerates is told, until
//! it is brought back or accepted.

use crate::{
    RunId,
    plan::{Action, Change, Delta, ResourceChange},
    run::{Run, RunState, RunType, Unpushed},
    schedule::Schedule,
};
use globset::{GlobBuilder, GlobMatcher};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a stack is looked at for drift.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct DriftSettings {
    /// When; the installation's own schedule where none is named.
    pub schedule: DriftSchedule,
    /// What is planned.
    pub plan: DriftPlan,
    /// Keep one issue in the stack's GitLab project as long as there is drift.
    pub issue: bool,
    /// Labels of that issue.
    pub labels: Vec<String>,
    /// Whom that issue is assigned to: users of GitLab, without `@`.
    pub assignees: Vec<String>,
    /// What may differ.
    pub tolerate: Vec<Tolerated>,
}

/// When a stack is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum DriftSchedule {
    /// As the installation says.
    #[default]
    Installation,
    /// Never by itself.
    Never,
    /// At times of its own.
    Own(Schedule),
}

/// What is planned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftPlan {
    /// What differs from the state (`-refresh-only`).
    #[default]
    RefreshOnly,
    /// What an apply of the code would change.
    Full,
}

/// Something that may differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Tolerated {
    /// A glob over addresses: `module.asg.*`, `aws_instance.web[*]`, `output.url`.
    pub address: AddressGlob,
    /// Globs over attributes (`tags.*`); everything of the resource, where there are none.
    #[serde(default)]
    pub attributes: Vec<AddressGlob>,
}

/// A glob over addresses or attributes: `*` stands for anything, and all else for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, with = "String")]
pub struct AddressGlob(String);

const LONGEST_GLOB: usize = 500;

impl AddressGlob {
    /// The pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn matcher(&self) -> Option<GlobMatcher> {
        // Brackets and braces are what addresses have.
        let mut literal = String::with_capacity(self.0.len());
        for c in self.0.chars() {
            if matches!(c, '[' | ']' | '{' | '}' | '?' | '\\' | '!') {
                literal.push('\\');
            }
            literal.push(c);
        }
        let mut glob = GlobBuilder::new(&literal);
        let glob = glob.literal_separator(false).backslash_escape(true).build().ok()?;
        Some(glob.compile_matcher())
    }
}

impl TryFrom<String> for AddressGlob {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let text = text.trim().to_owned();
        match text {
            text if text.is_empty() => Err("Must not be empty"),
            text if text.len() > LONGEST_GLOB => Err("Must have at most 500 characters"),
            text => Some(Self(text)).filter(|glob| glob.matcher().is_some()).ok_or("Not a pattern"),
        }
    }
}

impl From<AddressGlob> for String {
    fn from(glob: AddressGlob) -> Self {
        glob.0
    }
}

/// What may differ, and is named in a change.
const NAMED: usize = 100;

/// Takes out of a change what may differ, names it there, and says how many resources and outputs
/// that is. An output is addressed as `output.NAME`.
pub fn take_tolerated(change: &mut Change, tolerated: &[Tolerated]) -> u32 {
    let rules: Vec<(GlobMatcher, Vec<GlobMatcher>)> = tolerated
        .iter()
        .filter_map(|rule| {
            let attributes = rule.attributes.iter().filter_map(AddressGlob::matcher).collect();
            Some((rule.address.matcher()?, attributes))
        })
        .collect();
    let may_differ = |resource: &ResourceChange| {
        rules.iter().any(|(address, attributes)| {
            let all_of_it = attributes.is_empty();
            let only_these = resource.action == Action::Update
                && resource.attributes_cut == 0
                && !resource.attributes.is_empty()
                && resource
                    .attributes
                    .iter()
                    .all(|changed| attributes.iter().any(|glob| glob.is_match(&changed.path)));
            address.is_match(&resource.address) && (all_of_it || only_these)
        })
    };
    let may_give_out = |output: &str| {
        let address = format!("output.{output}");
        rules.iter().any(|(rule, attributes)| attributes.is_empty() && rule.is_match(&address))
    };
    let (taken, kept): (Vec<_>, Vec<_>) =
        std::mem::take(&mut change.resources).into_iter().partition(|found| may_differ(found));
    change.resources = kept;
    for resource in &taken {
        uncount(&mut change.delta, resource);
    }
    let (taken_outputs, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut change.outputs)
        .into_iter()
        .partition(|found| may_give_out(output_of(&found.path)));
    change.outputs = kept;
    // A part of an output each, those of one output together.
    let mut outputs: Vec<&str> = taken_outputs.iter().map(|part| output_of(&part.path)).collect();
    outputs.dedup();
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    change.delta.outputs = change.delta.outputs.saturating_sub(count(outputs.len()));
    let addresses = taken.iter().map(|resource| resource.title().into_owned());
    let addresses = addresses.chain(outputs.iter().map(|output| format!("output.{output}")));
    change.tolerated = addresses.take(NAMED).collect();
    let all = count(taken.len() + outputs.len());
    change.tolerated_cut = all.saturating_sub(count(change.tolerated.len()));
    all
}

/// The output that a path begins with.
fn output_of(path: &str) -> &str {
    path.split(['[', '.']).next().unwrap_or(path)
}

/// The opposite of how a plan's changes are counted.
fn uncount(delta: &mut Delta, resource: &ResourceChange) {
    let less = |count: &mut u32| *count = count.saturating_sub(1);
    match resource.action {
        Action::Create => less(&mut delta.add),
        Action::Update | Action::Other => less(&mut delta.change),
        Action::Delete => less(&mut delta.destroy),
        Action::Replace { .. } => {
            less(&mut delta.add);
            less(&mut delta.destroy);
            less(&mut delta.replace);
        }
        Action::ReplaceAndForget => {
            less(&mut delta.add);
            less(&mut delta.forget);
            less(&mut delta.replace);
        }
        Action::Forget => less(&mut delta.forget),
        Action::Read | Action::Import | Action::Move => {}
    }
    if resource.import_id.is_some() {
        less(&mut delta.import);
    }
    if resource.previous_address.is_some() && resource.action != Action::Delete {
        less(&mut delta.moved);
    }
}

/// What is known of a stack's drift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StackDrift")]
pub struct Drift {
    /// The run that looked last and came to an end.
    pub run: RunId,
    /// When it ended.
    pub at: Timestamp,
    /// Resources and outputs that are not as they were applied; none where all are.
    pub found: u32,
    /// Resources that differ and may.
    #[serde(default)]
    pub tolerated: u32,
    /// Since when something differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The last look failed: what it would have found is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<RunId>,
}

/// What is known once a run of the stack has moved; the same as before where that says nothing.
pub fn after(known: Option<&Drift>, before: &Run, now_is: &Run, now: Timestamp) -> Option<Drift> {
    let known = known.cloned();
    if now_is.run_type == RunType::Tracked {
        // What was applied as a whole, or accepted, is as it is in the state.
        let is_applied = now_is.applied && !before.applied && !now_is.partial;
        return known.map(|drift| match is_applied {
            true => Drift { found: 0, since: None, failed: None, at: now, ..drift },
            false => drift,
        });
    }
    let is_look = matches!(now_is.unpushed, Some(Unpushed::Drift));
    if !is_look || !now_is.state.is_final() || before.state.is_final() {
        return known;
    }
    let delta = now_is.delta.filter(|_| now_is.state == RunState::Finished);
    match delta {
        Some(delta) => {
            let found = [
                delta.add.saturating_sub(delta.replace),
                delta.change,
                delta.destroy,
                delta.import,
                delta.moved,
                delta.forget,
                delta.outputs,
            ]
            .into_iter()
            .fold(0, u32::saturating_add);
            let since = known.as_ref().and_then(|drift| drift.since).unwrap_or(now);
            Some(Drift {
                run: now_is.id.clone(),
                at: now,
                found,
                tolerated: now_is.tolerated,
                since: (found > 0).then_some(since),
                failed: None,
            })
        }
        // Nobody wanted it any more: that says nothing.
        None if now_is.state != RunState::Failed => known,
        None => Some(match known {
            Some(drift) => Drift { failed: Some(now_is.id.clone()), ..drift },
            None => Drift {
                run: now_is.id.clone(),
                at: now,
                found: 0,
                tolerated: 0,
                since: None,
                failed: Some(now_is.id.clone()),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{AttributeChange, Value};
    use serde_json::json;

    fn attribute(path: &str) -> AttributeChange {
        AttributeChange {
            path: path.to_owned(),
            before: Value::Absent,
            after: Value::Absent,
            forces_replacement: false,
            mark: None,
            lines: vec![],
        }
    }

    fn changed(address: &str, paths: &[&str]) -> ResourceChange {
        let attributes = paths.iter().map(|path| attribute(path)).collect();
        ResourceChange { attributes, ..ResourceChange::of(Action::Update, address) }
    }

    fn rules(rules: serde_json::Value) -> Vec<Tolerated> {
        serde_json::from_value(rules).unwrap()
    }

    #[test]
    fn what_may_differ_is_counted_apart() {
        let mut change = Change {
            resources: vec![
                changed("aws_instance.web[0]", &["tags.a", "tags.b"]),
                changed("aws_instance.web[1]", &["tags.a", "ami"]),
                changed("module.asg[\"eu\"].aws_x.y", &["desired"]),
                ResourceChange::of(Action::Delete, "aws_instance.web[2]"),
                changed("aws_instance_web.z", &["tags.a"]),
            ],
            delta: Delta { change: 4, destroy: 1, ..Delta::default() },
            ..Change::default()
        };
        let rules = rules(json!([
            { "address": "aws_instance.web[*]", "attributes": ["tags.*"] },
            { "address": "module.asg[\"eu\"].*" },
        ]));
        assert_eq!(take_tolerated(&mut change, &rules), 2);
        let left: Vec<_> = change.resources.iter().map(|r| r.address.as_str()).collect();
        assert_eq!(left, ["aws_instance.web[1]", "aws_instance.web[2]", "aws_instance_web.z"]);
        assert_eq!(change.delta, Delta { change: 2, destroy: 1, ..Delta::default() });
        let named = ["aws_instance.web[0]", "module.asg[\"eu\"].aws_x.y"];
        assert_eq!(
            (&change.tolerated[..], change.tolerated_cut),
            (&named.map(str::to_owned)[..], 0)
        );
        assert_eq!(take_tolerated(&mut change, &[]), 0);
        assert!(change.tolerated.is_empty());
    }

    #[test]
    fn an_output_may_differ_by_its_own_address_alone() {
        let outputs = ["url", "sizes[\"a\"]", "sizes[\"b\"]", "sizes_of_all"].map(attribute).into();
        let delta = Delta { outputs: 3, ..Delta::default() };
        let mut change = Change { outputs, delta, ..Change::default() };
        let rules = rules(json!([
            { "address": "output.sizes" },
            { "address": "url" },
            { "address": "output.url", "attributes": ["*"] },
        ]));
        assert_eq!(take_tolerated(&mut change, &rules), 1);
        let left: Vec<_> = change.outputs.iter().map(|output| output.path.as_str()).collect();
        assert_eq!((left, change.delta.outputs), (vec!["url", "sizes_of_all"], 2));
        assert_eq!(change.tolerated, ["output.sizes"]);
    }

    #[test]
    fn what_is_not_named_is_counted() {
        let resources = (0..150).map(|number| changed(&format!("a.b[{number}]"), &["x"])).collect();
        let delta = Delta { change: 150, ..Delta::default() };
        let mut change = Change { resources, delta, ..Change::default() };
        assert_eq!(take_tolerated(&mut change, &rules(json!([{ "address": "a.*" }]))), 150);
        assert_eq!((change.tolerated.len(), change.tolerated_cut), (100, 50));
        assert!(change.delta.is_empty());
    }

    #[test]
    fn each_kind_of_change_is_taken_out_of_the_counts() {
        let of = |action| ResourceChange::of(action, "a.b");
        let moved =
            |action| ResourceChange { previous_address: Some("a.before".to_owned()), ..of(action) };
        let add = Delta { add: 1, ..Delta::default() };
        let moves = Delta { moved: 1, ..Delta::default() };
        for (resource, delta) in [
            (of(Action::Create), add),
            (moved(Action::Move), moves),
            (moved(Action::Update), Delta { change: 1, ..moves }),
            (moved(Action::Delete), Delta { destroy: 1, ..Delta::default() }),
            (of(Action::Other), Delta { change: 1, ..Delta::default() }),
            (of(Action::Forget), Delta { forget: 1, ..Delta::default() }),
            (of(Action::Read), Delta::default()),
            (
                ResourceChange { import_id: Some(String::new()), ..of(Action::Import) },
                Delta { import: 1, ..Delta::default() },
            ),
            (
                of(Action::Replace { create_before_destroy: true }),
                Delta { destroy: 1, replace: 1, ..add },
            ),
            (of(Action::ReplaceAndForget), Delta { forget: 1, replace: 1, ..add }),
        ] {
            let mut change = Change { resources: vec![resource], delta, ..Change::default() };
            assert_eq!(take_tolerated(&mut change, &rules(json!([{ "address": "*" }]))), 1);
            assert_eq!(change.delta, Delta::default(), "{:?}", change.tolerated);
        }
    }

    #[test]
    fn a_pattern_is_taken_word_for_word_but_for_stars() {
        let rule = |glob: &str| rules(json!([{ "address": glob }]));
        for (glob, address, is_meant) in [
            ("a.b", "a.b", true),
            ("a.?", "a.b", false),
            ("a.b[0]", "a.b0", false),
            ("a.{b,c}", "a.b", false),
            ("*", "module.x.a[\"k/l\"]", true),
        ] {
            let mut change =
                Change { resources: vec![changed(address, &["x"])], ..Change::default() };
            let taken = take_tolerated(&mut change, &rule(glob));
            assert_eq!(taken == 1, is_meant, "{glob} {address}");
        }
        for wrong in ["", "  "] {
            let read = serde_json::from_value::<Tolerated>(json!({ "address": wrong }));
            assert!(read.is_err(), "{wrong}");
        }
    }

    fn look(state: RunState, delta: Option<Delta>) -> Run {
        let golden = include_str!("../../store/golden/v1/run.json");
        let run: Run = serde_json::from_str(golden).unwrap();
        Run {
            run_type: RunType::Proposed,
            unpushed: Some(Unpushed::Drift),
            test: None,
            state,
            delta,
            ..run
        }
    }

    #[test]
    fn drift_comes_stays_and_goes() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let planning = look(RunState::Planning, None);
        let two = Delta { change: 1, destroy: 1, ..Delta::default() };
        let ended = |delta| look(RunState::Finished, Some(delta));
        let first = after(None, &planning, &ended(two), at(1)).unwrap();
        assert_eq!((first.found, first.since), (2, Some(at(1))));
        let again = after(Some(&first), &planning, &ended(two), at(2)).unwrap();
        assert_eq!((again.at, again.since), (at(2), Some(at(1))));
        let failed = after(Some(&again), &planning, &look(RunState::Failed, None), at(3)).unwrap();
        assert!(failed.failed.is_some());
        assert_eq!((failed.found, failed.at), (2, at(2)), "what is known stays");
        let stopped = look(RunState::Canceled, None);
        assert_eq!(after(Some(&failed), &planning, &stopped, at(4)), Some(failed.clone()));
        let gone = after(Some(&failed), &planning, &ended(Delta::default()), at(5)).unwrap();
        assert_eq!((gone.found, gone.since, gone.failed), (0, None, None));
        assert_eq!(after(None, &ended(two), &ended(two), at(6)), None, "told before");
    }

    #[test]
    fn an_apply_of_the_whole_brings_back() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let drift = Drift {
            run: look(RunState::Finished, None).id,
            at: at(1),
            found: 3,
            tolerated: 1,
            since: Some(at(1)),
            failed: None,
        };
        let applying = Run {
            run_type: RunType::Tracked,
            unpushed: None,
            applied: false,
            ..look(RunState::Applying, None)
        };
        let done = Run { applied: true, state: RunState::Finished, ..applying.clone() };
        let told = after(Some(&drift), &applying, &done, at(9)).unwrap();
        assert_eq!((told.found, told.since, told.at), (0, None, at(9)));
        let part = Run { partial: true, ..done };
        assert_eq!(after(Some(&drift), &applying, &part, at(9)), Some(drift));
    }
}
