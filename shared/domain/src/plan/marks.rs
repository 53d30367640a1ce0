//! What a plan marks as sensitive, and what follows from it: the same values are hidden wherever
//! they stand, because providers copy values to attributes that nobody marked.

use super::{
    PlanError,
    json::Json,
    read::{Declared, RawPlan, RawResource},
    walk::{TRUE, any_true, is_true, node_of, or_null},
};
use crate::masking::{Masker, SHORTEST};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Bytes of marked texts that are looked for inside of other texts, the short ones first. The
/// others are hidden where they stand as a whole.
const MOST_INSIDE: usize = 128 * 1024;

/// Texts that a plan or a state marks as sensitive.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Marked(Vec<String>);

impl fmt::Debug for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Marked({} texts)", self.0.len())
    }
}

impl Marked {
    pub(super) fn new(texts: &BTreeSet<String>) -> Self {
        let mut by_length: Vec<&String> = texts.iter().collect();
        by_length.sort_by_key(|text| text.len());
        let mut bytes = 0;
        let inside = by_length.into_iter().take_while(|text| {
            bytes += text.len();
            bytes <= MOST_INSIDE
        });
        Self(inside.cloned().collect())
    }

    /// `masker`, and it knows these texts too.
    pub fn known_to(&self, masker: &Masker) -> Masker {
        masker.and(self.0.iter().map(String::as_str))
    }
}

impl RawPlan<'_> {
    /// Every text from six characters and number from six digits that is marked in this plan: in
    /// what it changes, in what changed without it, and in all that was there and will be, data that
    /// it has read among it.
    pub(super) fn sensitive_texts(&mut self) -> Result<(BTreeSet<String>, Marked), PlanError> {
        let mut texts = BTreeSet::new();
        let before = self.prior_state.as_mut().and_then(|state| state.values.as_mut());
        for values in before.into_iter().chain(self.planned_values.as_mut()) {
            texts.append(&mut values.0);
        }
        for raw in self.resource_changes.iter().chain(&self.resource_drift).flatten() {
            let resource = RawResource::of(raw)?;
            collect_sides(&resource.change, SHORTEST, &mut texts);
            if let Some(id) = resource.import_id()
                && id.chars().count() >= SHORTEST
                && resource.import_id_is_sensitive()
            {
                texts.insert(id.to_owned());
            }
        }
        for (name, change) in self.output_changes.iter().flatten() {
            collect_sides(change, SHORTEST, &mut texts);
            if self.output(name).is_some_and(Declared::is_marked) {
                for side in ["before", "after"] {
                    collect(or_null(change.get(side)), &TRUE, SHORTEST, &mut texts);
                }
            }
        }
        for invocation in self.action_invocations.iter().flatten() {
            let node = invocation.node();
            collect(node.after, node.after_sensitive, SHORTEST, &mut texts);
        }
        for (name, variable) in self.variables.iter().flatten() {
            if self.variable(name).is_some_and(Declared::is_marked) {
                collect(or_null(variable.get("value")), &TRUE, SHORTEST, &mut texts);
            }
        }
        let marked = Marked::new(&texts);
        Ok((texts, marked))
    }
}

impl RawResource {
    /// Marks what is a copy of something marked. `terraform_data` gives its input out again, and
    /// the mark does not go with it: not out of its `store`, and not where it was applied before
    /// the mark was set.
    pub(super) fn mark_copies(&mut self) {
        for marks in ["before_sensitive", "after_sensitive"] {
            if let Some(marks) = self.change.get_mut(marks) {
                mark_copies_of(&self.resource_type, marks);
            }
        }
    }

    /// The id is, holds, or is a part of a value of the resource that is marked: some resources
    /// are imported by what they keep secret.
    pub(super) fn import_id_is_sensitive(&self) -> bool {
        let Some(id) = self.import_id().filter(|id| !id.is_empty()) else { return false };
        let mut marked = BTreeSet::new();
        collect_sides(&self.change, 1, &mut marked);
        marked.iter().any(|text| text.contains(id) || id.contains(text.as_str()))
    }
}

/// What the state before the plan marks.
#[derive(Deserialize)]
pub(super) struct PriorState {
    values: Option<MarkedValues>,
}

/// The marked texts of all values of a state. Nothing else of it is kept: it may be large.
pub(super) struct MarkedValues(BTreeSet<String>);

impl<'de> Deserialize<'de> for MarkedValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Values::deserialize(deserializer)?;
        let mut texts = values.root_module.marked();
        collect_outputs(values.outputs, &mut texts);
        Ok(Self(texts))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Values {
    outputs: Outputs,
    root_module: Module,
}

/// By name, as plans and states have them.
pub(super) type Outputs = BTreeMap<String, Output>;

/// The marked texts of one output.
pub(super) struct Output(BTreeSet<String>);

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Found<'a> {
            #[serde(default)]
            sensitive: bool,
            #[serde(borrow)]
            value: Option<&'a RawValue>,
        }
        let found = Found::deserialize(deserializer)?;
        let mut texts = BTreeSet::new();
        if let Some(value) = found.value.filter(|_| found.sensitive) {
            let value: Json = serde_json::from_str(value.get()).map_err(D::Error::custom)?;
            collect(&value, &TRUE, SHORTEST, &mut texts);
        }
        Ok(Self(texts))
    }
}

/// Adds the texts of outputs that are marked.
pub(super) fn collect_outputs(outputs: Outputs, into: &mut BTreeSet<String>) {
    into.extend(outputs.into_values().flat_map(|output| output.0));
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Module {
    resources: Vec<MarkedResource>,
    child_modules: Vec<Module>,
}

impl Module {
    fn marked(self) -> BTreeSet<String> {
        let mut texts: BTreeSet<_> = self.resources.into_iter().flat_map(|r| r.0).collect();
        texts.extend(self.child_modules.into_iter().flat_map(Self::marked));
        texts
    }
}

/// The marked texts of one resource.
struct MarkedResource(BTreeSet<String>);

impl<'de> Deserialize<'de> for MarkedResource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Resource<'a> {
            #[serde(default)]
            address: String,
            #[serde(rename = "type", default)]
            resource_type: String,
            #[serde(borrow)]
            values: Option<&'a RawValue>,
            #[serde(borrow)]
            sensitive_values: Option<&'a RawValue>,
        }
        let found = Resource::deserialize(deserializer)?;
        // Its values are what most can be wrong with: whose they are is said.
        let read = |raw: Option<&RawValue>| match raw {
            None => Ok(Json::Null),
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|error| D::Error::custom(format!("{}: {error}", found.address))),
        };
        let (values, mut marks) = (read(found.values)?, read(found.sensitive_values)?);
        mark_copies_of(&found.resource_type, &mut marks);
        let mut texts = BTreeSet::new();
        collect(&values, &marks, SHORTEST, &mut texts);
        Ok(Self(texts))
    }
}

fn mark_copies_of(resource_type: &str, marks: &mut Json) {
    if resource_type != "terraform_data" {
        return;
    }
    mark_output(marks);
    match marks.get_mut("store") {
        Some(Json::Array(stores)) => stores.iter_mut().for_each(mark_output),
        Some(store) => mark_output(store),
        None => {}
    }
}

fn mark_output(marks: &mut Json) {
    let Json::Object(marks) = marks else { return };
    if let Some(input) = marks.get("input").filter(|input| any_true(input)).cloned() {
        let output = marks.remove("output").unwrap_or(Json::Null);
        marks.insert("output".to_owned(), either(output, input));
    }
}

/// Both trees of marks in one.
fn either(one: Json, other: Json) -> Json {
    match (one, other) {
        (Json::Bool(true), _) | (_, Json::Bool(true)) => TRUE.clone(),
        (Json::Object(mut one), Json::Object(other)) => {
            for (key, marks) in other {
                let both = either(one.remove(&key).unwrap_or(Json::Null), marks);
                one.insert(key, both);
            }
            Json::Object(one)
        }
        (Json::Array(mut one), Json::Array(other)) => {
            one.resize(one.len().max(other.len()), Json::Null);
            for (at, marks) in other.into_iter().enumerate() {
                one[at] = either(std::mem::take(&mut one[at]), marks);
            }
            Json::Array(one)
        }
        (Json::Null | Json::Bool(false), marks) | (marks, _) => marks,
    }
}

/// Adds what is marked on both sides of a change.
fn collect_sides(change: &BTreeMap<String, Json>, shortest: usize, into: &mut BTreeSet<String>) {
    let node = node_of(change);
    collect(node.before, node.before_sensitive, shortest, into);
    collect(node.after, node.after_sensitive, shortest, into);
}

/// Adds the texts under the marks of a tree from `shortest` characters, and the numbers from as
/// many digits.
pub(super) fn collect(value: &Json, marks: &Json, shortest: usize, into: &mut BTreeSet<String>) {
    let whole = is_true(marks);
    if !whole && !any_true(marks) {
        return;
    }
    match value {
        Json::String(text) if whole && text.chars().count() >= shortest => {
            into.insert(text.clone());
        }
        Json::Number(number)
            if whole && number.bytes().filter(u8::is_ascii_digit).count() >= shortest =>
        {
            into.insert(number.clone());
        }
        Json::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                collect(item, if whole { &TRUE } else { or_null(marks.get(i)) }, shortest, into);
            }
        }
        Json::Object(members) => {
            for (key, member) in members {
                let marks = if whole { &TRUE } else { or_null(marks.get(key.as_str())) };
                collect(member, marks, shortest, into);
            }
        }
        _ => {}
    }
}
