//! What a plan's JSON says, read once more and in another way: what is shown must be this.

use super::generate::{SECRET_NUMBER, SECRET_TEXT};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeSet;

/// In front of a number's digits, which are read as a text: no digit gets lost.
const DIGITS: &str = "\u{1}";
const HIDDEN: &str = "(sensitive value)";

/// A plan.
pub(super) struct Reading {
    pub(super) changes: Vec<Told>,
    pub(super) outputs: Vec<Told>,
    /// Actions, each with when it is invoked.
    pub(super) invocations: Vec<Told>,
    /// `add`, `change`, …
    pub(super) counts: Map<String, Json>,
    /// Addresses with what became of them outside.
    pub(super) drift: Vec<String>,
    pub(super) failing_checks: Vec<String>,
    /// Secrets that are marked in it.
    pub(super) secrets: BTreeSet<String>,
    /// All that is marked in it.
    marked: BTreeSet<String>,
    /// Values on the other side of something marked.
    beside: BTreeSet<String>,
}

/// A change of a resource or an output.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) title: String,
    /// As the API has it.
    pub(super) action: Json,
    /// What is said of it.
    pub(super) words: String,
    pub(super) places: Vec<Place>,
}

/// A place whose value differs.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) before: Side,
    pub(super) after: Side,
    pub(super) mark: Option<&'static str>,
    /// A list: its elements are told at paths below.
    pub(super) is_list: bool,
    /// A list in which only marks differ: whether it is told does not matter.
    pub(super) is_optional: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Side {
    Absent,
    Hidden,
    Unknown,
    /// What is in it is hidden where it is marked.
    Is(Json),
}

impl Side {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Is(value) => write(value),
            _ => String::new(),
        }
    }
}

/// The JSON with each number as a text of its digits.
fn parse(plan: &str) -> Json {
    let (mut out, mut in_text, mut chars) = (String::new(), false, plan.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_text => out.extend([c, chars.next().unwrap()]),
            '"' => {
                in_text = !in_text;
                out.push(c);
            }
            '-' | '0'..='9' if !in_text => {
                out.push_str("\"\\u0001");
                out.push(c);
                while let Some(more) = chars.next_if(|c| "+-.eE".contains(*c) || c.is_ascii_digit())
                {
                    out.push(more);
                }
                out.push('"');
            }
            c => out.push(c),
        }
    }
    serde_json::from_str(&out).unwrap()
}

/// As JSON on one line, as it was before [`parse`].
fn write(value: &Json) -> String {
    match value {
        Json::String(text) => match text.strip_prefix(DIGITS) {
            Some(digits) => digits.to_owned(),
            None => value.to_string(),
        },
        Json::Array(items) => {
            format!("[{}]", items.iter().map(write).collect::<Vec<_>>().join(","))
        }
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.as_str());
            let member =
                |(name, value): (&String, &Json)| format!("{}:{}", json!(name), write(value));
            format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

impl Reading {
    /// `was_marked` tells of outputs what the plan does not: both of their sides are marked there.
    pub(super) fn of(plan: &str, was_marked: impl Fn(&str) -> bool) -> Self {
        let plan = parse(plan);
        let mut reading = Self {
            changes: Vec::new(),
            outputs: Vec::new(),
            invocations: Vec::new(),
            counts: Map::new(),
            drift: Vec::new(),
            failing_checks: Vec::new(),
            secrets: BTreeSet::new(),
            marked: BTreeSet::new(),
            beside: BTreeSet::new(),
        };
        let list = |name: &str| plan[name].as_array().cloned().unwrap_or_default();
        for resource in list("resource_changes") {
            reading.resource(&resource, &plan["configuration"]["root_module"]);
        }
        for (name, change) in plan["output_changes"].as_object().into_iter().flatten() {
            reading.output(name, change, &plan, was_marked(name));
        }
        for resource in list("resource_drift") {
            reading.collect_change(&resource["change"], &resource["type"]);
            if resource["change"]["actions"] == json!(["no-op"]) {
                continue;
            }
            let gone = resource["change"]["actions"] == json!(["delete"]);
            reading.drift.push(title(&resource) + if gone { " (deleted)" } else { "" });
        }
        for invocation in list("action_invocations") {
            reading.invocation(&invocation);
        }
        for check in list("checks") {
            let instances = check["instances"].as_array().into_iter().flatten();
            let failing = instances.filter(|instance| instance["status"] == "fail");
            let address =
                |failing: &Json| failing["address"]["to_display"].as_str().unwrap().to_owned();
            reading.failing_checks.extend(failing.map(address));
        }
        for values in [&plan["prior_state"]["values"], &plan["planned_values"]] {
            reading.collect_values(&values["root_module"]);
            for (_, output) in values["outputs"].as_object().into_iter().flatten() {
                reading.collect(&output["value"], &output["sensitive"]);
            }
        }
        for (name, variable) in plan["variables"].as_object().into_iter().flatten() {
            let declared = &plan["configuration"]["root_module"]["variables"][name];
            reading.collect(&variable["value"], &declared["sensitive"]);
        }
        reading.beside_what_holds_secrets();
        let cores = |text: &String| {
            let found = text.match_indices(SECRET_TEXT);
            let found = found.filter_map(|(at, core)| text.get(at..at + core.len() + 10));
            found.map(str::to_owned).collect::<Vec<_>>()
        };
        let numbers = reading.marked.iter().filter(|text| text.starts_with(SECRET_NUMBER));
        let secrets = reading.marked.iter().flat_map(cores).chain(numbers.cloned());
        reading.secrets = secrets.collect();
        reading
    }

    fn resource(&mut self, resource: &Json, code: &Json) {
        let change = &resource["change"];
        self.collect_change(change, &resource["type"]);
        let previous = resource["previous_address"].as_str();
        let is_moved = previous.is_some_and(|previous| resource["address"] != previous);
        let is_imported = !change["importing"].is_null();
        let told = told(&write(&change["actions"]));
        let (action, words) = match told {
            _ if resource["mode"] == "ephemeral" => return,
            Some(("delete", _)) if resource["mode"] == "data" => return,
            Some((action, words)) => (action, words),
            None if is_imported => ("import", "will be imported"),
            None if is_moved => ("move", "will be moved"),
            None => return,
        };
        let mut count = |name: &str| {
            let before = self.counts.get(name).and_then(Json::as_u64).unwrap_or_default();
            self.counts.insert(name.to_owned(), json!(before + 1));
        };
        for name in ["create", "update", "delete", "forget"] {
            if action == "read" || !write(&change["actions"]).contains(name) {
                continue;
            }
            let names = [("create", "add"), ("update", "change"), ("delete", "destroy")];
            count(names.iter().find(|(is, _)| *is == name).map_or(name, |(_, is)| is));
        }
        // Both come and go at once: one object takes the place of another.
        if action.starts_with("replace") {
            count("replace");
        }
        if is_imported {
            count("import");
        }
        if is_moved && action != "delete" {
            count("move");
        }
        let action = match action {
            "replace" => json!({ "replace": {
                "create_before_destroy": change["actions"] == json!(["create", "delete"]),
            } }),
            action => json!(action),
        };
        let mut places = Vec::new();
        if action != "forget" && action != "move" {
            let copied = marks_of(change, &resource["type"]);
            let marks = [&copied.0, &copied.1];
            self.compare(
                "",
                [&change["before"], &change["after"]],
                &change["after_unknown"],
                marks,
                Some(&written(resource, code)).filter(|_| resource["type"] != "terraform_data"),
                &mut places,
            );
        }
        let words = words.to_owned();
        self.changes.push(Told { title: title(resource), action, words, places });
    }

    fn invocation(&mut self, invocation: &Json) {
        let [values, unknown, marks] =
            ["config_values", "config_unknown", "config_sensitive"].map(|part| &invocation[part]);
        self.collect(values, marks);
        let invoked = self.counts.get("invoke").and_then(Json::as_u64).unwrap_or_default();
        self.counts.insert("invoke".to_owned(), json!(invoked + 1));
        let trigger = &invocation["lifecycle_action_trigger"];
        let (resource, event) =
            (&trigger["triggering_resource_address"], &trigger["action_trigger_event"]);
        let when = match event.as_str().unwrap() {
            "BeforeCreate" => ("before", "created"),
            "AfterCreate" => ("after", "created"),
            "BeforeUpdate" => ("before", "updated"),
            "AfterUpdate" => ("after", "updated"),
            other => panic!("nobody told the tests of {other}"),
        };
        let words =
            format!("will be invoked {} {} is {}", when.0, resource.as_str().unwrap(), when.1);
        let mut places = Vec::new();
        let (nothing, marks) = (Json::Null, [&Json::Null, marks]);
        let written = Some(&nothing);
        self.compare("", [&Json::Null, values], unknown, marks, written, &mut places);
        let title = invocation["address"].as_str().unwrap().to_owned();
        let action = json!([resource, event]);
        self.invocations.push(Told { title, action, words, places });
    }

    fn output(&mut self, name: &str, change: &Json, plan: &Json, was_marked: bool) {
        self.collect_change(change, &Json::Null);
        if change["actions"] == json!(["no-op"]) {
            return;
        }
        let outputs = self.counts.get("outputs").and_then(Json::as_u64).unwrap_or_default();
        self.counts.insert("outputs".to_owned(), json!(outputs + 1));
        let declared = &plan["configuration"]["root_module"]["outputs"][name];
        let is_marked = declared["sensitive"] == true;
        // Before it destroys, OpenTofu reads the code's outputs anew.
        let is_read_anew =
            change["actions"] == json!(["delete"]) && change["before_sensitive"] == false;
        let was_marked = was_marked && !is_read_anew;
        let (mut places, yes, no) = (Vec::new(), json!(true), Json::Null);
        let has_value = [&change["before"], &change["after"]].map(|value| !value.is_null());
        let marks = match (was_marked, is_marked) {
            // Nobody can tell whether what goes was marked: both sides are.
            _ if change["before_sensitive"] == true && declared.is_null() => [&yes, &yes],
            (true, false) => [&yes, &no],
            (false, true) if has_value[0] => [&yes, &yes],
            (was, is) => [if was { &yes } else { &no }, if is { &yes } else { &no }],
        };
        self.compare(
            name,
            [&change["before"], &change["after"]],
            &change["after_unknown"],
            marks,
            None,
            &mut places,
        );
        if places.is_empty() && change["before"] == change["after"] {
            // Its type has changed, or the mark comes: where both sides are marked nobody can tell.
            let (side, mark) = match marks.contains(&&yes) {
                true => (Side::Hidden, "added_or_type"),
                false => (Side::Is(change["after"].clone()), "type_alone"),
            };
            let (path, before, after, mark) = (name.to_owned(), side.clone(), side, Some(mark));
            let (is_list, is_optional) = (false, false);
            places.push(Place { path, before, after, mark, is_list, is_optional });
        }
        let (title, words) = (name.to_owned(), String::new());
        self.outputs.push(Told { title, action: Json::Null, words, places });
    }

    fn compare(
        &mut self,
        path: &str,
        [before, after]: [&Json; 2],
        unknown: &Json,
        marks: [&Json; 2],
        written: Option<&Json>,
        into: &mut Vec<Place>,
    ) {
        let is_same = before == after && !has_true(unknown);
        let alike =
            (before.is_object() && after.is_object()) || (before.is_array() && after.is_array());
        let in_part = marks.iter().any(|marks| **marks != true && has_true(marks));
        let is_marked = marks.map(|marks| *marks == true);
        let mut place = Place {
            path: path.to_owned(),
            before: side(before, marks[0]),
            after: if *unknown == true { Side::Unknown } else { side(after, marks[1]) },
            mark: None,
            is_list: false,
            is_optional: false,
        };
        if is_marked.contains(&true) && !(alike && in_part) {
            let is_there = !before.is_null() && !after.is_null() && !has_true(unknown);
            place.mark = match is_marked {
                _ if !is_there => None,
                [true, false] => Some(if is_same { "removed_alone" } else { "removed" }),
                [false, true] => Some(if is_same { "added_alone" } else { "added" }),
                _ => None,
            };
            let hide = |side: Side| if let Side::Is(_) = side { Side::Hidden } else { side };
            (place.before, place.after) = (hide(place.before), hide(place.after));
            if !is_same || place.mark.is_some() {
                leaves(before, &mut self.beside);
                leaves(after, &mut self.beside);
                into.push(place);
            }
        } else if *unknown == true {
            into.push(place);
        } else if is_some(before, after, unknown, Json::is_object) {
            let all = [before, after, unknown].map(|value| value.as_object().into_iter().flatten());
            let names: BTreeSet<&String> =
                all.into_iter().flatten().map(|(name, _)| name).collect();
            let told = into.len();
            for name in names {
                let marks = marks.map(|marks| if *marks == true { marks } else { &marks[name] });
                let unknown = &unknown[name];
                let was = into.len();
                let has = [before, after].map(|side| side.get(name).is_some());
                let is_null = before[name].is_null() && after[name].is_null();
                if alike && has[0] != has[1] && is_null && !has_true(unknown) {
                    let null = match marks.iter().any(|marks| **marks == true) {
                        true => Side::Hidden,
                        false => Side::Is(Json::Null),
                    };
                    let of = |has| if has { null.clone() } else { Side::Absent };
                    let (path, [before, after]) = (below(path, name), has.map(of));
                    let (mark, is_list, is_optional) = (None, false, false);
                    into.push(Place { path, before, after, mark, is_list, is_optional });
                    continue;
                }
                self.compare(
                    &below(path, name),
                    [&before[name], &after[name]],
                    unknown,
                    marks,
                    written,
                    into,
                );
                // Blocks that nobody wrote.
                let is_whole = path.is_empty() && (before.is_null() || after.is_null());
                if let Some(written) = written.filter(|_| is_whole && !has_true(unknown)) {
                    let is_empty = |value: &Json| value.is_null() || *value == json!([]);
                    let is_nothing = is_empty(&before[name]) && is_empty(&after[name]);
                    if is_nothing && !written[name].is_object() {
                        into.truncate(was);
                    }
                }
            }
            // Nothing but nulls.
            let is_whole = before.is_null() || after.is_null();
            if is_whole && !path.is_empty() && into.len() == told {
                into.push(place);
            }
        } else if is_some(before, after, unknown, Json::is_array) {
            place.is_list = true;
            let differ = marks[0] != marks[1] && marks.iter().any(|marks| has_true(marks));
            place.is_optional = is_same;
            if !is_same || differ {
                if in_part {
                    leaves(before, &mut self.beside);
                    leaves(after, &mut self.beside);
                }
                into.push(place);
            }
        } else if before != after {
            into.push(place);
        }
    }

    /// What holds a secret that is marked elsewhere has another side as well.
    fn beside_what_holds_secrets(&mut self) {
        let mut beside = BTreeSet::new();
        for place in self
            .changes
            .iter()
            .chain(&self.outputs)
            .chain(&self.invocations)
            .flat_map(|told| &told.places)
        {
            if [&place.before, &place.after].into_iter().any(|side| self.may_hide(&side.text())) {
                for side in [&place.before, &place.after] {
                    if let Side::Is(value) = side {
                        leaves(value, &mut beside);
                    }
                }
            }
        }
        self.beside.append(&mut beside);
    }

    fn collect_change(&mut self, change: &Json, kind: &Json) {
        let (before, after) = marks_of(change, kind);
        self.collect(&change["before"], &before);
        self.collect(&change["after"], &after);
    }

    fn collect_values(&mut self, module: &Json) {
        for resource in module["resources"].as_array().into_iter().flatten() {
            let marks = with_copies(&resource["sensitive_values"], &resource["type"]);
            self.collect(&resource["values"], &marks);
        }
        for module in module["child_modules"].as_array().into_iter().flatten() {
            self.collect_values(module);
        }
    }

    fn collect(&mut self, value: &Json, marks: &Json) {
        match (value, marks) {
            (_, Json::Bool(true)) => leaves(value, &mut self.marked),
            (Json::Array(items), _) => {
                items.iter().enumerate().for_each(|(at, item)| self.collect(item, &marks[at]));
            }
            (Json::Object(members), _) => {
                members.iter().for_each(|(name, value)| self.collect(value, &marks[name]));
            }
            _ => {}
        }
    }

    /// Whether a text may be hidden: it holds something marked, a line of it, or stands beside it.
    pub(super) fn may_hide(&self, text: &str) -> bool {
        let holds = |of: &str| {
            let inside = json!(of).to_string();
            of.chars().count() >= 6
                && (text.contains(of) || text.contains(&inside[1..inside.len() - 1]))
        };
        let mut all = self.marked.iter().chain(&self.beside);
        all.any(|of| holds(of) || of.lines().any(|line| holds(line.trim())))
    }

    /// Whether a value is shown as it is.
    pub(super) fn shows(&self, side: &Side, shown: &Json) -> bool {
        let text = match side {
            Side::Absent => return shown == "absent",
            Side::Hidden => return shown == "sensitive",
            Side::Unknown => return shown == "unknown",
            side => side.text(),
        };
        let part = |skip: &Json, kept: &Json, rest: &Json| {
            let [skip, rest] = [skip, rest].map(|count| count.as_u64().unwrap() as usize);
            let all: Vec<char> = text.chars().collect();
            let shown: Vec<char> = kept.as_str().unwrap().chars().collect();
            skip + shown.len() + rest == all.len() && all[skip..skip + shown.len()] == shown[..]
        };
        let is_it = match (&shown["known"], &shown["truncated"], &shown["part"]) {
            (Json::String(known), ..) => *known == text,
            (_, Json::Array(of), _) => part(&json!(0), &of[0], &of[1]),
            (.., Json::Array(of)) => part(&of[0], &of[1], &of[2]),
            // Its lines are shown beside.
            _ => shown["lines"].is_u64(),
        };
        is_it || (shown != "absent" && shown != "unknown" && self.may_hide(&text))
    }
}

/// What an action is called, and what is said of it.
fn told(actions: &str) -> Option<(&'static str, &'static str)> {
    Some(match actions {
        r#"["no-op"]"# => return None,
        r#"["create"]"# => ("create", "will be created"),
        r#"["update"]"# => ("update", "will be updated in place"),
        r#"["delete"]"# => ("delete", "will be destroyed"),
        r#"["read"]"# => ("read", "will be read during apply"),
        r#"["forget"]"# => ("forget", "will be forgotten, but not destroyed"),
        r#"["delete","create"]"# => ("replace", "must be replaced: destroyed, then created"),
        r#"["create","delete"]"# => {
            ("replace", "must be replaced: created, then the old one destroyed")
        }
        r#"["create","forget"]"# | r#"["forget","create"]"# => {
            ("replace_and_forget", "will be replaced, leaving the old object in place")
        }
        other => panic!("nobody told the tests of {other}"),
    })
}

/// The expressions that the code has for a resource, by the names of its attributes.
fn written(resource: &Json, code: &Json) -> Json {
    let module = match resource["module_address"].as_str() {
        Some(_) => &code["module_calls"]["m"]["module"],
        None => code,
    };
    let is_its = |one: &&Json| ["mode", "type", "name"].iter().all(|of| one[of] == resource[of]);
    let found = module["resources"].as_array().into_iter().flatten().find(is_its);
    found.map(|one| one["expressions"].clone()).unwrap_or_default()
}

fn title(resource: &Json) -> String {
    let address = resource["address"].as_str().unwrap();
    match resource["deposed"].as_str() {
        Some(key) => format!("{address} (deposed object {key})"),
        None => address.to_owned(),
    }
}

fn marks_of(change: &Json, kind: &Json) -> (Json, Json) {
    (with_copies(&change["before_sensitive"], kind), with_copies(&change["after_sensitive"], kind))
}

/// `terraform_data` gives its input out again.
fn with_copies(marks: &Json, kind: &Json) -> Json {
    let mut marks = marks.clone();
    if kind == "terraform_data" && has_true(&marks["input"]) {
        let both = either(&marks["input"], &marks["output"]);
        marks["output"] = both;
    }
    marks
}

fn either(one: &Json, other: &Json) -> Json {
    match (one, other) {
        (Json::Bool(true), _) | (_, Json::Bool(true)) => json!(true),
        (Json::Object(one), Json::Object(other)) => {
            let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
            let both = |name: &String| {
                either(one.get(name).unwrap_or(&Json::Null), other.get(name).unwrap_or(&Json::Null))
            };
            Json::Object(names.into_iter().map(|name| (name.clone(), both(name))).collect())
        }
        (Json::Array(one), Json::Array(other)) => {
            let of = |list: &[Json], at: usize| list.get(at).cloned().unwrap_or_default();
            (0..one.len().max(other.len())).map(|at| either(&of(one, at), &of(other, at))).collect()
        }
        (Json::Null | Json::Bool(_), other) => other.clone(),
        (one, _) => one.clone(),
    }
}

fn side(value: &Json, marks: &Json) -> Side {
    match value {
        Json::Null => Side::Absent,
        value => Side::Is(redacted(value, marks)),
    }
}

fn redacted(value: &Json, marks: &Json) -> Json {
    match (value, marks) {
        (_, Json::Bool(true)) => json!(HIDDEN),
        (Json::Array(items), _) => {
            items.iter().enumerate().map(|(at, item)| redacted(item, &marks[at])).collect()
        }
        (Json::Object(members), _) => {
            let member =
                |(name, value): (&String, &Json)| (name.clone(), redacted(value, &marks[name]));
            Json::Object(members.iter().map(member).collect())
        }
        (value, _) => value.clone(),
    }
}

/// Adds all texts and numbers.
fn leaves(value: &Json, into: &mut BTreeSet<String>) {
    match value {
        Json::String(text) => {
            into.insert(text.trim_start_matches(DIGITS).to_owned());
        }
        Json::Array(items) => items.iter().for_each(|item| leaves(item, into)),
        Json::Object(members) => members.values().for_each(|value| leaves(value, into)),
        _ => {}
    }
}

fn has_true(marks: &Json) -> bool {
    match marks {
        Json::Bool(is) => *is,
        Json::Array(items) => items.iter().any(has_true),
        Json::Object(members) => members.values().any(has_true),
        _ => false,
    }
}

/// Both are such containers, or one is and the other is nothing.
fn is_some(before: &Json, after: &Json, unknown: &Json, is: fn(&Json) -> bool) -> bool {
    let has = |value: &Json| *value != json!({}) && *value != json!([]);
    match (is(before), is(after)) {
        (true, true) => true,
        (true, false) => after.is_null() && (has(before) || has_true(unknown)),
        (false, true) => before.is_null() && (has(after) || has_true(unknown)),
        (false, false) => before.is_null() && after.is_null() && is(unknown) && has_true(unknown),
    }
}

/// A name below a path that no index is in: `a`, `a["b"]`, `a["b"]["c"]`.
fn below(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}[{}]", json!(name)),
    }
}

/// All texts and numbers of a list, as they are shown, but those that the other list has too.
pub(super) fn only_in(list: &Side, other: &Side) -> Vec<String> {
    let texts = |side: &Side| {
        let mut texts = BTreeSet::new();
        if let Side::Is(value) = side {
            leaves(value, &mut texts);
        }
        texts
    };
    texts(list).difference(&texts(other)).filter(|text| *text != HIDDEN).cloned().collect()
}
