//! How a plan differs from an earlier one of the same stack.

use super::{Action, AttributeChange, Change, ResourceChange, hide::secrets_in};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashMap;

/// Resources of each kind that are listed.
const RESOURCES: usize = 200;
/// Attributes that are listed of one resource, and outputs.
const ATTRIBUTES: usize = 50;
/// Bytes of all attributes together. Beyond it resources keep their address and actions.
const BYTES: usize = 1_000_000;

/// How a plan differs from an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "PlanComparison")]
pub struct Comparison {
    /// Resources that only this plan changes: what is destroyed first.
    pub added: Vec<ComparedResource>,
    /// Those beyond the limit.
    pub added_cut: u32,
    /// Resources that only the earlier plan would have changed.
    pub gone: Vec<ComparedResource>,
    /// Those beyond the limit.
    pub gone_cut: u32,
    /// Resources that both change, but not in the same way: what is destroyed first.
    pub different: Vec<ComparedResource>,
    /// Those beyond the limit.
    pub different_cut: u32,
    /// Outputs that do not change in the same way.
    pub outputs: Vec<ComparedAttribute>,
    /// Those beyond the limit.
    pub outputs_cut: u32,
    /// The actions of providers that would be invoked, or their configurations, are not the same.
    pub invocations_differ: bool,
    /// Resources that both plans change in the same way.
    pub same: u32,
    /// Attributes that are hidden in both plans: they count as equal, and may not be.
    pub sensitive: u32,
    /// A plan was too large to be kept as a whole: what was left out of it is not compared.
    pub incomplete: bool,
}

/// A resource that two plans do not change in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ComparedResource {
    /// The address, and which of its objects where it is not its own.
    pub address: String,
    /// What the earlier plan would have done; null if nothing.
    pub earlier: Option<Action>,
    /// What this plan would do; null if nothing.
    pub now: Option<Action>,
    /// Attributes that differ. Empty if only one of the plans changes the resource.
    pub attributes: Vec<ComparedAttribute>,
    /// Those beyond the limit.
    pub attributes_cut: u32,
}

/// An attribute, or an output, that two plans do not change in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ComparedAttribute {
    /// Where it is.
    pub path: String,
    /// Its change in the earlier plan; null if there was none.
    pub earlier: Option<AttributeChange>,
    /// Its change in this plan; null if there is none.
    pub now: Option<AttributeChange>,
}

/// What tells one object of a plan from the others.
type Id<'a> = (&'a str, Option<&'a str>);

impl Comparison {
    /// How `now` differs from `earlier`. A hidden value equals a hidden value only.
    pub fn of(earlier: &Change, now: &Change) -> Self {
        let mut comparison = Self {
            incomplete: is_cut(earlier) || is_cut(now),
            invocations_differ: earlier.invocations != now.invocations
                || earlier.invocations_cut != now.invocations_cut,
            ..Self::default()
        };
        let mut room = Room(BYTES);
        let (outputs, sensitive) = differences(&earlier.outputs, &now.outputs);
        comparison.sensitive += sensitive;
        (comparison.outputs, comparison.outputs_cut) = room.fill(outputs);
        let mut before: HashMap<Id<'_>, &ResourceChange> =
            earlier.resources.iter().map(|resource| (id(resource), resource)).collect();
        for resource in ranked(&now.resources) {
            match before.remove(&id(resource)) {
                None => push(
                    &mut comparison.added,
                    &mut comparison.added_cut,
                    ComparedResource::alone(resource, None, Some(resource.action)),
                ),
                Some(other) => comparison.add(other, resource, &mut room),
            }
        }
        for resource in ranked(&earlier.resources) {
            if before.contains_key(&id(resource)) {
                let gone = ComparedResource::alone(resource, Some(resource.action), None);
                push(&mut comparison.gone, &mut comparison.gone_cut, gone);
            }
        }
        comparison
    }

    /// Both plans would do the same, as far as is known.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.gone.is_empty()
            && self.different.is_empty()
            && self.outputs.is_empty()
            && self.outputs_cut == 0
            && !self.invocations_differ
    }

    fn add(&mut self, earlier: &ResourceChange, now: &ResourceChange, room: &mut Room) {
        let (differ, sensitive) = differences(&earlier.attributes, &now.attributes);
        self.sensitive += sensitive;
        let is_moved_alike =
            earlier.previous_address == now.previous_address && earlier.import_id == now.import_id;
        if earlier.action == now.action && is_moved_alike && differ.is_empty() {
            self.same += 1;
            return;
        }
        let mut resource = ComparedResource::alone(now, Some(earlier.action), Some(now.action));
        if self.different.len() < RESOURCES {
            (resource.attributes, resource.attributes_cut) = room.fill(differ);
        }
        push(&mut self.different, &mut self.different_cut, resource);
    }
}

impl ComparedResource {
    fn alone(of: &ResourceChange, earlier: Option<Action>, now: Option<Action>) -> Self {
        Self {
            address: of.title().into_owned(),
            earlier,
            now,
            attributes: Vec::new(),
            attributes_cut: 0,
        }
    }
}

/// Bytes that are left for attributes.
struct Room(usize);

impl Room {
    /// As many as there is room for, and how many are left out. Once one does not fit none follows.
    fn fill(&mut self, all: Vec<ComparedAttribute>) -> (Vec<ComparedAttribute>, u32) {
        let count = all.len();
        let mut kept = Vec::new();
        for attribute in all.into_iter().take(ATTRIBUTES) {
            let sides = [&attribute.earlier, &attribute.now];
            let size: usize = sides.into_iter().flatten().map(AttributeChange::size).sum();
            match self.0.checked_sub(size) {
                Some(left) => self.0 = left,
                None => {
                    self.0 = 0;
                    break;
                }
            }
            kept.push(attribute);
        }
        let cut = u32::try_from(count - kept.len()).unwrap_or(u32::MAX);
        (kept, cut)
    }
}

fn push(list: &mut Vec<ComparedResource>, cut: &mut u32, resource: ComparedResource) {
    match list.len() < RESOURCES {
        true => list.push(resource),
        false => *cut += 1,
    }
}

fn id(resource: &ResourceChange) -> Id<'_> {
    (&resource.address, resource.deposed.as_deref())
}

/// What is destroyed first.
fn ranked(resources: &[ResourceChange]) -> Vec<&ResourceChange> {
    let mut ranked: Vec<&ResourceChange> = resources.iter().collect();
    ranked.sort_by_key(|resource| resource.action.rank());
    ranked
}

fn is_cut(change: &Change) -> bool {
    change.partial
        || change.deferred > 0
        || change.resources_cut > 0
        || change.outputs_cut > 0
        || change.invocations_cut > 0
        || change.resources.iter().any(|resource| resource.attributes_cut > 0)
}

/// The attributes that do not change in the same way, and how many are hidden in both.
fn differences(
    earlier: &[AttributeChange],
    now: &[AttributeChange],
) -> (Vec<ComparedAttribute>, u32) {
    let mut before: HashMap<&str, &AttributeChange> =
        earlier.iter().map(|attribute| (attribute.path.as_str(), attribute)).collect();
    let (mut differ, mut sensitive) = (Vec::new(), 0);
    for attribute in now {
        let other = before.remove(attribute.path.as_str());
        match other {
            Some(other) if other == attribute => {
                let sides = [&attribute.before, &attribute.after];
                sensitive += u32::from(sides.into_iter().any(|side| secrets_in(side) > 0));
            }
            _ => differ.push(ComparedAttribute {
                path: attribute.path.clone(),
                earlier: other.cloned(),
                now: Some(attribute.clone()),
            }),
        }
    }
    let gone = earlier.iter().filter(|attribute| before.contains_key(attribute.path.as_str()));
    differ.extend(gone.map(|attribute| ComparedAttribute {
        path: attribute.path.clone(),
        earlier: Some(attribute.clone()),
        now: None,
    }));
    (differ, sensitive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Value;

    fn attribute(path: &str, after: Value) -> AttributeChange {
        AttributeChange {
            path: path.to_owned(),
            before: Value::Absent,
            after,
            forces_replacement: false,
            mark: None,
            lines: Vec::new(),
        }
    }

    fn known(text: &str) -> Value {
        Value::Known(text.to_owned())
    }

    fn resource(action: Action, address: &str, attributes: Vec<AttributeChange>) -> ResourceChange {
        ResourceChange { attributes, ..ResourceChange::of(action, address) }
    }

    fn plan(resources: Vec<ResourceChange>) -> Change {
        Change { resources, ..Change::default() }
    }

    fn addresses(list: &[ComparedResource]) -> Vec<&str> {
        list.iter().map(|resource| resource.address.as_str()).collect()
    }

    #[test]
    fn what_is_new_gone_and_different_is_told_what_is_destroyed_first() {
        let update = |value| resource(Action::Update, "t.u", vec![attribute("x", known(value))]);
        let earlier = plan(vec![
            update("1"),
            resource(Action::Create, "t.gone", vec![]),
            resource(Action::Create, "t.acts", vec![]),
            resource(Action::Read, "t.same", vec![attribute("x", Value::Unknown)]),
        ]);
        let now = plan(vec![
            resource(Action::Create, "t.new", vec![attribute("x", known("1"))]),
            update("2"),
            resource(Action::Delete, "t.new_too", vec![]),
            resource(Action::Delete, "t.acts", vec![]),
            resource(Action::Read, "t.same", vec![attribute("x", Value::Unknown)]),
        ]);
        let told = Comparison::of(&earlier, &now);
        assert_eq!(addresses(&told.added), ["t.new_too", "t.new"]);
        assert_eq!(addresses(&told.gone), ["t.gone"]);
        assert_eq!(addresses(&told.different), ["t.acts", "t.u"]);
        assert_eq!((told.same, told.is_empty(), told.incomplete), (1, false, false));
        let [acts, updated] = told.different.as_slice() else { panic!("{told:#?}") };
        assert_eq!((acts.earlier, acts.now), (Some(Action::Create), Some(Action::Delete)));
        let [x] = updated.attributes.as_slice() else { panic!("{updated:#?}") };
        let after = |side: &Option<AttributeChange>| side.as_ref().unwrap().after.clone();
        assert_eq!((after(&x.earlier), after(&x.now)), (known("1"), known("2")));
        let same = Comparison::of(&now, &now);
        assert!(same.is_empty());
        assert_eq!(same.same, 5);
    }

    #[test]
    fn a_hidden_value_equals_a_hidden_one_only() {
        let of = |value| plan(vec![resource(Action::Update, "t.a", vec![attribute("p", value)])]);
        let both = Comparison::of(&of(Value::Sensitive), &of(Value::Sensitive));
        assert_eq!((both.is_empty(), both.sensitive), (true, 1));
        let one = Comparison::of(&of(Value::Sensitive), &of(known("1")));
        assert_eq!((one.different.len(), one.sensitive), (1, 0));
    }

    #[test]
    fn what_only_one_plan_changes_in_a_resource_is_a_difference() {
        let of = |paths: &[&str]| {
            let attributes = paths.iter().map(|path| attribute(path, known("1"))).collect();
            plan(vec![resource(Action::Update, "t.a", attributes)])
        };
        let told = Comparison::of(&of(&["a", "b"]), &of(&["b", "c"]));
        let sides: Vec<_> = told.different[0]
            .attributes
            .iter()
            .map(|one| (one.path.as_str(), one.earlier.is_some(), one.now.is_some()))
            .collect();
        assert_eq!(sides, [("c", false, true), ("a", true, false)]);
    }

    #[test]
    fn an_object_that_was_kept_aside_is_another_one() {
        let own = resource(Action::Update, "t.a", vec![]);
        let aside = ResourceChange {
            deposed: Some("00ff".to_owned()),
            ..resource(Action::Delete, "t.a", vec![])
        };
        let told = Comparison::of(&plan(vec![own.clone()]), &plan(vec![own, aside]));
        assert_eq!(addresses(&told.added), ["t.a (deposed object 00ff)"]);
        assert_eq!((told.same, told.gone.len(), told.different.len()), (1, 0, 0));
    }

    #[test]
    fn outputs_and_invocations_are_compared_too() {
        let of = |value| Change { outputs: vec![attribute("url", value)], ..Change::default() };
        let told = Comparison::of(&of(known("1")), &of(known("2")));
        assert_eq!((told.outputs.len(), told.is_empty()), (1, false));
        let cut = Change { invocations_cut: 1, ..Change::default() };
        let told = Comparison::of(&Change::default(), &cut);
        assert!(told.invocations_differ && told.incomplete && !told.is_empty());
    }

    #[test]
    fn much_is_counted() {
        let long = "x".repeat(400);
        let of = |value: &str| {
            let attributes = |_| (0..60).map(|n| attribute(&n.to_string(), known(value)));
            let one =
                |n: u32| resource(Action::Update, &format!("t.a[{n}]"), attributes(n).collect());
            plan((0..300).map(one).collect())
        };
        let told = Comparison::of(&of(&long), &of(&format!("{long}y")));
        assert_eq!((told.different.len(), told.different_cut), (200, 100));
        let first = &told.different[0];
        assert_eq!((first.attributes.len(), first.attributes_cut), (50, 10));
        let last = &told.different[199];
        assert_eq!((last.attributes.len(), last.attributes_cut), (0, 60));
        assert!(serde_json::to_string(&told).unwrap().len() < 2_000_000);
        let new = Comparison::of(&Change::default(), &of(&long));
        assert_eq!((new.added.len(), new.added_cut), (200, 100));
    }
}
