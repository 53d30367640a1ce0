//! A plan's change as lines: what it destroys first, then resource by resource, attribute by
//! attribute.
//!
//! The first character says what happens, as in a `diff`: `+` comes, `-` goes, `!` changes; `-/+`
//! is replaced, as the tools write it.

use super::{PARTIAL_PLAN, clean, counted, cut, cut_middle, more, visible, visible_line};
use crate::plan::{Action, AttributeChange, Change, Invocation, Line, ResourceChange, Value};
use std::{collections::HashMap, fmt};

/// Characters of two values that stand in one line.
const LONGEST_PAIR: usize = 850;
/// Characters of an address.
const LONGEST_ADDRESS: usize = 500;
/// Characters of an attribute's path.
const LONGEST_PATH: usize = 300;
/// Characters of a value of which nobody knows what it becomes.
const LONGEST_OLD: usize = 80;
/// Resources that change in the same way, from which on they are told together.
const ALIKE: usize = 4;

/// Lines that belong together. Each element is one line, cleaned, but not yet safe to stand in
/// Markdown: see [`super::markdown::fence_lines`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// What it is about: an address with its action, an output with its values.
    pub head: Vec<String>,
    /// What is in it: attributes.
    pub rest: Vec<String>,
    /// Something else begins with it: an empty line stands before it.
    pub is_apart: bool,
}

/// The whole change, the most important first.
pub fn parts(change: &Change) -> Vec<Part> {
    let mut parts = vec![said(change)];
    parts.extend(resources(change));
    parts.push(left_out(change.resources_cut, "resource"));
    parts.extend(change.invocations.iter().map(invocation));
    parts.push(left_out(change.invocations_cut, "action to invoke"));
    parts.extend(outputs(change));
    parts.push(left_out(change.outputs_cut, "output"));
    for check in &change.checks {
        let mut part = Part { is_apart: true, ..Part::default() };
        add(&mut part.head, '!', &format!("{} failed", address(&check.address)));
        for problem in check.problems.iter().flat_map(|p| p.lines()) {
            add(&mut part.head, '!', &format!("  {}", visible_line(problem)));
        }
        parts.push(part);
    }
    parts.push(left_out(change.checks_cut, "failed check"));
    parts.push(drift(change));
    parts.push(tolerated(change));
    if change.deferred > 0 {
        let count = counted(change.deferred as usize, "change");
        parts.push(Part::of(' ', &format!("{count} deferred to a later plan")));
    }
    parts.push(warned(change));
    parts.retain(|part| !part.head.is_empty());
    parts
}

impl Part {
    fn of(sign: char, text: &str) -> Self {
        let mut part = Self::default();
        add(&mut part.head, sign, text);
        part
    }
}

fn add(lines: &mut Vec<String>, sign: impl fmt::Display, text: &str) {
    // A value or address with a line break in it would begin a line of its own.
    lines.push(format!("{sign} {}", clean(text).replace('\n', " ")));
}

/// What people should know of the whole.
fn said(change: &Change) -> Part {
    let mut part = Part::default();
    if change.errored {
        add(&mut part.head, ' ', "The plan ended with an error and is incomplete.");
    }
    if change.partial {
        add(&mut part.head, '!', PARTIAL_PLAN);
    }
    for warning in change.warnings() {
        add(&mut part.head, '!', &visible(&warning));
    }
    part
}

/// What the tool warned of.
fn warned(change: &Change) -> Part {
    let count = change.tool_warned();
    if count == 0 {
        return Part::default();
    }
    let from = change.tool.name();
    let mut part = Part::of('!', &format!("{} from {from}:", counted(count as usize, "warning")));
    part.is_apart = true;
    for warning in &change.tool_warnings {
        add(&mut part.rest, ' ', &format!("  {}", visible(&warning.text())));
    }
    if change.tool_warnings_cut > 0 {
        let rest = more(change.tool_warnings_cut as usize, "warning");
        add(&mut part.rest, ' ', &format!("  … {rest} (see the log)"));
    }
    part
}

fn left_out(count: u32, noun: &str) -> Part {
    match count {
        0 => Part::default(),
        _ => Part::of(' ', &format!("… {} (see the run)", more(count as usize, noun))),
    }
}

fn drift(change: &Change) -> Part {
    if change.drift == 0 {
        return Part::default();
    }
    let count = counted(change.drift as usize, "resource");
    let were = if change.drift == 1 { "was" } else { "were" };
    let colon = if change.drifted.is_empty() { "" } else { ":" };
    let tool = change.tool.name();
    let mut part = Part::of(' ', &format!("{count} {were} changed outside {tool}{colon}"));
    part.is_apart = true;
    for drifted in &change.drifted {
        add(&mut part.rest, ' ', &format!("  {}", visible(&drifted.text())));
    }
    if change.drift as usize > change.drifted.len() {
        let rest = more(change.drift as usize - change.drifted.len(), "resource");
        add(&mut part.rest, ' ', &format!("  … {rest}"));
    }
    part
}

/// What differs and may.
fn tolerated(change: &Change) -> Part {
    let count = change.tolerated.len().saturating_add(change.tolerated_cut as usize);
    if count == 0 {
        return Part::default();
    }
    let mut part = Part::of(' ', &format!("{} tolerated:", counted(count, "difference")));
    part.is_apart = true;
    for one in &change.tolerated {
        add(&mut part.rest, ' ', &format!("  {}", address(one)));
    }
    if change.tolerated_cut > 0 {
        let rest = more(change.tolerated_cut as usize, "difference");
        add(&mut part.rest, ' ', &format!("  … {rest}"));
    }
    part
}

/// Resource by resource, those that change in the same way together.
fn resources(change: &Change) -> Vec<Part> {
    let mut sorted: Vec<&ResourceChange> = change.resources.iter().collect();
    sorted.sort_by_key(|resource| resource.action.rank());
    let mut groups: Vec<Vec<(&ResourceChange, Part)>> = Vec::new();
    let mut alike: HashMap<(&'static str, String, Vec<String>), usize> = HashMap::new();
    for one in sorted {
        let part = resource(change, one);
        // What is moved or imported has a line of its own.
        if part.rest.is_empty() || part.head.len() > 1 {
            groups.push(vec![(one, part)]);
            continue;
        }
        let key = (sign(one.action), what_happens(change, one), part.rest.clone());
        match alike.get(&key) {
            Some(group) => groups[*group].push((one, part)),
            None => {
                alike.insert(key, groups.len());
                groups.push(vec![(one, part)]);
            }
        }
    }
    let told = groups.into_iter().flat_map(|group| match group.as_slice() {
        [(first, part), _, ..] if group.len() >= ALIKE => {
            let sign = sign(first.action);
            let count = counted(group.len(), "resource");
            let mut head = Vec::new();
            let happens = what_happens(change, first);
            add(&mut head, sign, &format!("{count}, each of which {happens}:"));
            for (one, _) in &group {
                add(&mut head, sign, &format!("  {}", address(&one.title())));
            }
            vec![Part { head, rest: part.rest.clone(), is_apart: false }]
        }
        _ => group.into_iter().map(|(_, part)| part).collect(),
    });
    told.collect()
}

fn sign(action: Action) -> &'static str {
    match action {
        Action::Create => "+",
        Action::Delete => "-",
        Action::Replace { .. } => "-/+",
        Action::Read => " ",
        _ => "!",
    }
}

/// `will be updated in place (its provisioner failed)`
fn what_happens(change: &Change, resource: &ResourceChange) -> String {
    let reason = resource.reason_text().map(|r| format!(" ({r})")).unwrap_or_default();
    format!("{}{reason}", change.what_happens(resource.action))
}

fn resource(change: &Change, resource: &ResourceChange) -> Part {
    let mut part = Part::default();
    let title = resource.title();
    let happens = format!("{} {}", address(&title), what_happens(change, resource));
    add(&mut part.head, sign(resource.action), &happens);
    if let Some(previous) = &resource.previous_address {
        add(&mut part.head, '!', &format!("  moved from {}", address(previous)));
    }
    match resource.import_id.as_deref() {
        Some("") => add(&mut part.head, '!', "  imported"),
        Some(id) => add(&mut part.head, '!', &format!("  imported from {}", visible(id))),
        None => {}
    }
    // What a data source will be asked is in the configuration.
    if resource.action != Action::Read {
        part.rest = attributes(&resource.attributes, resource.attributes_cut);
    }
    part
}

fn invocation(invocation: &Invocation) -> Part {
    let trigger = invocation.trigger().map(|trigger| format!(" {trigger}")).unwrap_or_default();
    let text = format!("{} will be invoked{}", address(&invocation.address), visible(&trigger));
    let mut part = Part::of('!', &text);
    part.rest = attributes(&invocation.config, invocation.config_cut);
    part
}

fn attributes(attributes: &[AttributeChange], cut: u32) -> Vec<String> {
    let mut lines = Vec::new();
    for one in attributes {
        lines.extend(attribute(one));
        lines.extend(difference(one));
    }
    if cut > 0 {
        add(&mut lines, ' ', &format!("  … {} (see the run)", more(cut as usize, "attribute")));
    }
    lines
}

fn outputs(change: &Change) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for output in &change.outputs {
        let (head, rest) = (attribute(output), difference(output));
        parts.push(Part { head, rest, is_apart: false });
    }
    if let Some(first) = parts.first_mut() {
        first.is_apart = true;
        first.head.insert(0, "  Changes to outputs:".to_owned());
    }
    parts
}

fn attribute(attribute: &AttributeChange) -> Vec<String> {
    let AttributeChange { path, before, after, forces_replacement, mark, lines } = attribute;
    let forces = if *forces_replacement { "  # forces replacement" } else { "" };
    let mark = mark.map(|mark| format!("  # {}", mark.text())).unwrap_or_default();
    let (sign, values) = match (before, after) {
        _ if !lines.is_empty() => (side(before, after), String::new()),
        (Value::Absent, after) => ('+', value(after)),
        (before, Value::Absent) => ('-', value(before)),
        (before, after) if before == after => ('!', value(after)),
        // It says where the value was, not what comes: its beginning is enough.
        (before, Value::Unknown) => {
            ('!', format!("{} -> {}", cut(&value(before), LONGEST_OLD), value(after)))
        }
        (before, after) => ('!', format!("{} -> {}", value(before), value(after))),
    };
    let path = cut_middle(&visible(path), LONGEST_PATH);
    let mut line = Vec::new();
    // Cut, such a line would show the old value alone.
    if sign == '!' && values.chars().count() > LONGEST_PAIR {
        add(&mut line, '-', &format!("  {path} = {}", value(before)));
        add(&mut line, '+', &format!("  {path} = {}{mark}{forces}", value(after)));
        return line;
    }
    let equals = if values.is_empty() { ":" } else { " = " };
    add(&mut line, sign, &format!("  {path}{equals}{values}{mark}{forces}"));
    line
}

fn difference(attribute: &AttributeChange) -> Vec<String> {
    let mut lines = Vec::new();
    for line in &attribute.lines {
        match line {
            Line::Same(text) => add(&mut lines, ' ', &format!("    {}", visible_line(text))),
            Line::Removed(text) => add(&mut lines, '-', &format!("    {}", visible_line(text))),
            Line::Added(text) => add(&mut lines, '+', &format!("    {}", visible_line(text))),
            Line::Skipped(n) => {
                add(&mut lines, ' ', &format!("    … {}", counted(*n as usize, "unchanged line")));
            }
            Line::Cut(n) => {
                add(&mut lines, ' ', &format!("    … {} (see the run)", more(*n as usize, "line")));
            }
        }
    }
    lines
}

/// An address, short enough that what is said of it stands beside it.
pub fn address(text: &str) -> String {
    cut_middle(&visible(text), LONGEST_ADDRESS)
}

fn side(before: &Value, after: &Value) -> char {
    match (before, after) {
        (Value::Absent, _) => '+',
        (_, Value::Absent) => '-',
        _ => '!',
    }
}

/// A value in words, what nobody sees in it written out.
pub fn value(value: &Value) -> String {
    match value {
        Value::Absent => "null".to_owned(),
        Value::Known(text) => visible(text).into_owned(),
        Value::Sensitive => "(sensitive value)".to_owned(),
        Value::Unknown => "(known after apply)".to_owned(),
        Value::Truncated(text, rest) => {
            format!("{}… {}", visible(text), more(*rest as usize, "character"))
        }
        Value::Part(same, text, rest) => {
            let same = counted(*same as usize, "unchanged character");
            let rest = match rest {
                0 => String::new(),
                rest => format!("… {}", more(*rest as usize, "character")),
            };
            format!("({same}) …{}{rest}", visible(text))
        }
        Value::Lines(count) => counted(*count as usize, "line"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        masking::Masker,
        plan::{CheckFailure, Limits, Warning},
        stack::Tool,
    };

    fn lines(change: &Change) -> Vec<String> {
        let parts = parts(change).into_iter();
        parts.flat_map(|part| [part.head, part.rest, vec![String::new()]].concat()).collect()
    }

    #[test]
    fn a_plan_that_terraform_wrote() {
        let plan = include_bytes!("../../testdata/plan.json");
        let (change, _) =
            Change::from_plan(plan, Tool::Terraform, Limits::default(), &Masker::default())
                .unwrap();
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
        -/+ terraform_data.b must be replaced: destroyed, then created (it cannot be updated in place)
        !   id = "ab0b4dfe-b693-9d5f-8d69-80909599d67f" -> (known after apply)
        !   input:
              line1
        -     line2
        +     line2b
        !   output = "line1\nline2\n" -> (known after apply)
        !   triggers_replace[0] = "one" -> "two"  # forces replacement

        ! terraform_data.zz will be forgotten, but not destroyed (it is not in the configuration)

        ! terraform_data.a will be updated in place
        +   input["list"][1] = "z"
        !   input["secret"] = (sensitive value)
        !   output = {"list":["a","b"],"name":"x","secret":"(sensitive value)"} -> (known after apply)

        ! terraform_data.d will be updated in place
        !   moved from terraform_data.c
        !   input:
              {
        -       "a": 1,
        +       "a": 2,
                "b": "<x>"
              }
        !   output = "{\"a\":1,\"b\":\"\\u003cx\\u003e\"}" -> (known after apply)

          Changes to outputs:
        !   o = (sensitive value) -> (known after apply)

        !   p = "plain" -> "plain2"

        ! check.c failed
        !   never
        "#);
    }

    #[test]
    fn what_somebody_did_outside_is_not_told_as_what_will_be_done() {
        let resource = |address: &str, actions: [&str; 1]| {
            serde_json::json!({"address": address, "change": {
                "actions": actions, "before": {"text": "hello"}, "after": {"text": "by hand"},
            }})
        };
        let plan = serde_json::json!({
            "format_version": "1.2",
            "resource_drift": [
                resource("a.changed", ["update"]),
                {"address": "a.deleted", "change": {"actions": ["delete"], "before": {"text": "x"}}},
            ],
        })
        .to_string();
        let (limits, masker) = (Limits::default(), Masker::default());
        let read = Change::from_refresh_only_plan(plan.as_bytes(), Tool::OpenTofu, limits, &masker);
        let mut change = read.unwrap().0;
        change.tolerated = vec!["a.b\u{200b}[0]".to_owned(), "output.url".to_owned()];
        change.tolerated_cut = 7;
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
        - a.deleted was deleted outside of OpenTofu
        -   text = "x"

        ! a.changed was changed outside of OpenTofu
        !   text = "hello" -> "by hand"

          9 differences tolerated:
            a.b\u200b[0]
            output.url
            … 7 more differences
        "#);
        change.resources = (0..4)
            .map(|number| {
                let mut one = change.resources[0].clone();
                one.address = format!("a.x[{number}]");
                one
            })
            .collect();
        let told = lines(&change);
        let which = told[0].split_once(", each of which ").map(|(_, which)| which);
        assert!(which.is_some_and(|which| which.contains("outside of OpenTofu:")), "{told:?}");
    }

    #[test]
    fn what_people_should_know_comes_first() {
        let plan = serde_json::json!({
            "format_version": "1.2",
            "complete": false,
            "resource_changes": [{"address": "a.a", "change": {"actions": ["delete"]}}],
        });
        let read = |plan: &serde_json::Value| {
            Change::from_plan(
                plan.to_string().as_bytes(),
                Tool::Terraform,
                Limits::default(),
                &Masker::default(),
            )
            .unwrap()
            .0
        };
        let mut change = read(&plan);
        change.remarks = vec!["backend \"gcs\" is not used".to_owned()];
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
        ! This plan covers only part of the configuration.
        ! backend "gcs" is not used

        - a.a will be destroyed
        "#);
        change.tool_warnings = vec![
            Warning {
                summary: "Argument is deprecated".to_owned(),
                place: Some("with a.a, on main.tf line 3".to_owned()),
                count: 3,
            },
            Warning { summary: "Value for `x`".to_owned(), place: None, count: 1 },
        ];
        change.tool_warnings_cut = 2;
        let told = [
            "    Argument is deprecated (3×), with a.a, on main.tf line 3",
            "    Value for `x`",
            "    … 2 more warnings (see the log)",
        ];
        assert_eq!(parts(&change).last().unwrap().rest, told);
        assert_eq!(parts(&change).last().unwrap().head, ["! 6 warnings from Terraform:"]);
        let failed = serde_json::json!({
            "format_version": "1.2", "complete": false, "errored": true,
        });
        assert!(!read(&failed).partial, "what an error ended is told as that");
    }

    fn read(plan: serde_json::Value, tool: Tool) -> Change {
        let plan = plan.to_string();
        Change::from_plan(plan.as_bytes(), tool, Limits::default(), &Masker::default()).unwrap().0
    }

    #[test]
    fn each_kind_of_change_is_told() {
        let change = read(
            serde_json::json!({
                "format_version": "1.2",
                "resource_changes": [
                    {"address": "a.b", "change": {"actions": ["update"], "before": {"n": 1}, "after": {"n": 2}}},
                    {"address": "a.b", "deposed": "8a3f1c2b", "change": {"actions": ["delete"]}},
                    {"address": "a.kept", "action_reason": "forgot_because_lifecycle_destroy_in_state", "change": {"actions": ["forget"]}},
                    {"address": "a.forgotten", "action_reason": "forgot_because_lifecycle_destroy_in_config", "change": {"actions": ["forget"]}},
                    {"address": "a.left", "action_reason": "replace_because_cannot_update", "change": {"actions": ["forget", "create"]}},
                    {"address": "a.off", "action_reason": "delete_because_enabled_false", "change": {"actions": ["delete"]}},
                    {"address": "a.new", "action_reason": "because_of_a_new_reason", "change": {"actions": ["delete"]}},
                    {"address": "ephemeral.a.b", "mode": "ephemeral", "change": {"actions": ["open"]}},
                    {"address": "a.id", "change": {"actions": ["no-op"], "importing": {"identity": {"account": "1", "name": "x"}}}},
                    {"address": "a.moved", "previous_address": "a.before", "change": {"actions": ["delete"]}},
                ],
                "action_invocations": [
                    {"address": "action.notify.x", "config_values": {"text": "hi", "token": "t"}, "config_sensitive": {"token": true},
                     "lifecycle_action_trigger": {"triggering_resource_address": "a.b", "action_trigger_event": "AfterUpdate"}},
                    {"address": "action.notify.y", "lifecycle_action_trigger": {"triggering_resource_address": "a.b", "action_trigger_event": "Sometimes"}},
                    {"address": "action.notify.z", "invoke_action_trigger": {}},
                ],
                "resource_drift": [
                    {"address": "a.c", "change": {"actions": ["update"]}},
                    {"address": "a.d", "deposed": "0123", "change": {"actions": ["delete"]}},
                ],
            }),
            Tool::OpenTofu,
        );
        insta::assert_snapshot!(change.delta, @"1 to add, 1 to change, 4 to destroy (1 replacement), 1 to import, 3 to forget, 3 to invoke");
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
        - a.b (deposed object 8a3f1c2b) will be destroyed

        - a.off will be destroyed (enabled is false)

        - a.new will be destroyed (because_of_a_new_reason)

        - a.moved will be destroyed
        !   moved from a.before

        ! a.kept will be forgotten, but not destroyed (the state has destroy = false)

        ! a.forgotten will be forgotten, but not destroyed (its configuration has destroy = false)

        ! a.left will be replaced, leaving the old object in place and unmanaged (it cannot be updated in place)

        ! a.b will be updated in place
        !   n = 1 -> 2

        ! a.id will be imported
        !   imported from {"account":"1","name":"x"}

        ! action.notify.x will be invoked after a.b is updated
        +   text = "hi"
        +   token = (sensitive value)

        ! action.notify.y will be invoked by a.b (Sometimes)

        ! action.notify.z will be invoked

          2 resources were changed outside OpenTofu:
            a.c
            a.d (deposed object 0123) (deleted)
        "#);
    }

    #[test]
    fn what_a_newer_terraform_says_of_actions_is_told() {
        let of = |plan: &[u8]| {
            let masker = Masker::default();
            let read = Change::from_plan(plan, Tool::Terraform, Limits::default(), &masker);
            let (change, _) = read.unwrap();
            format!("{}\n{}", change.delta, lines(&change).join("\n"))
        };
        let plans = [
            include_bytes!("../../testdata/terraform-1.16/actions-update.plan.json").as_slice(),
            include_bytes!("../../testdata/terraform-1.16/actions-invoked.plan.json"),
            include_bytes!("../../testdata/terraform-1.16/deposed.plan.json"),
        ];
        insta::assert_snapshot!(plans.map(of).join("\n"), @r#"
        0 to add, 1 to change, 0 to destroy, 2 to invoke
        ! test_object.a will be updated in place
        !   revision = 1 -> (known after apply)
        !   text = "one" -> "two"

        ! action.test_note.told will be invoked before test_object.a is updated
        +   secret = (sensitive value)
        +   text = "the object is there"

        ! action.test_note.told will be invoked after test_object.a is updated
        +   secret = (sensitive value)
        +   text = "the object is there"

        0 to add, 0 to change, 0 to destroy, 1 to invoke
        ! action.test_note.told will be invoked
        +   secret = (sensitive value)
        +   text = "the object is there"

        0 to add, 0 to change, 1 to destroy
        - test_object.a (deposed object 02220b6e) will be destroyed
        -   fails_to[0] = "destroy"
        -   id = "web-1"
        -   name = "web"
        -   revision = 1
        "#);
    }

    #[test]
    fn what_is_not_known_is_a_change_in_the_tools_own_words() {
        let change = read(
            serde_json::json!({
                "format_version": "1.9",
                "resource_changes": [{
                    "address": "a.b",
                    "action_reason": "of_a_new_kind",
                    "change": {"actions": ["renew", "rotate"], "before": {"n": 1}, "after": {"n": 2}},
                }],
            }),
            Tool::Terraform,
        );
        insta::assert_snapshot!(change.delta, @"0 to add, 1 to change, 0 to destroy");
        insta::assert_snapshot!(lines(&change).join("\n"), @"
        ! a.b will be changed in a way unknown to Gantry (renew, rotate: of_a_new_kind)
        !   n = 1 -> 2
        ");
    }

    #[test]
    fn an_outputs_type_that_changes_alone_is_told() {
        let marks = |marked: bool| {
            serde_json::json!({
                "actions": ["update"], "before": ["a"], "after": ["a"],
                "before_sensitive": marked, "after_sensitive": marked,
            })
        };
        // As both tools write it: what was before has the new type too.
        let outputs = serde_json::json!({
            "plain": {"sensitive": false, "type": ["tuple", ["string"]], "value": ["a"]},
            "hidden": {"sensitive": true, "type": ["tuple", ["string"]], "value": ["a"]},
        });
        let change = read(
            serde_json::json!({
                "format_version": "1.2",
                "output_changes": {"plain": marks(false), "hidden": marks(true)},
                "prior_state": {"values": {"outputs": outputs}},
                "planned_values": {"outputs": outputs},
                "configuration": {"root_module": {"outputs": {"plain": {}, "hidden": {"sensitive": true}}}},
            }),
            Tool::Terraform,
        );
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
          Changes to outputs:
        !   hidden = (sensitive value)  # now marked as sensitive, or its type changes; the value is unchanged

        !   plain = ["a"]  # the type changes; the value is unchanged
        "#);
    }

    #[test]
    fn both_sides_of_a_long_difference_are_seen() {
        let text = |end: &str| (0..300).map(|n| format!("line {n}{end}")).collect::<String>();
        let invisible = "\u{200b}".repeat(300);
        let change = read(
            serde_json::json!({
                "format_version": "1.2",
                "resource_changes": [{"address": "a.b", "change": {
                    "actions": ["update"],
                    "before": {"script": text("\n"), "value": format!("{invisible}a")},
                    "after": {"script": text("\r\n"), "value": format!("{invisible}b")},
                }}],
            }),
            Tool::Terraform,
        );
        let lines = lines(&change);
        let count = |sign: char| lines.iter().filter(|line| line.starts_with(sign)).count();
        assert_eq!((count('-'), count('+')), (100, 100), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("200 more lines")), "{lines:#?}");
    }

    #[test]
    fn what_differs_is_in_a_line_however_long_the_rest_is() {
        for unseen in ["\u{200b}", "\u{e0001}"] {
            let many = |end: &str| unseen.repeat(300) + end;
            let key = |end: &str| "k".repeat(2000) + end;
            let change = read(
                serde_json::json!({
                    "format_version": "1.2",
                    "resource_changes": [{"address": format!("a.b[{:?}]", key("")), "change": {
                        "actions": ["update"],
                        "before": {"both": many("a"), "one": "x", "path": {key(""): "a"}},
                        "after": {"both": many("b"), "one": many("y"), "path": {key(""): "b"}},
                    }}],
                }),
                Tool::Terraform,
            );
            let lines = lines(&change);
            assert!(lines.iter().all(|line| line.chars().count() <= 1000), "{lines:#?}");
            assert!(lines[0].ends_with("\"] will be updated in place"), "{lines:#?}");
            let found = |text: &str| lines.iter().find(|line| line.contains(text)).unwrap();
            let both = found("  both = ");
            let (before, after) = both.split_once(" -> ").unwrap();
            assert!(before.ends_with("a\"") && after.ends_with("b\""), "{both}");
            assert!(both.contains("(281 unchanged characters) …"), "{both}");
            let one = found("  one = ");
            assert!(one.contains("… ") && one.ends_with("more characters"), "{one}");
            assert!(found("  path[").ends_with(" = \"a\" -> \"b\""), "{lines:#?}");
        }
    }

    #[test]
    fn a_list_that_was_written_is_shown_though_nothing_is_in_it() {
        let change = read(
            serde_json::json!({
                "format_version": "1.2",
                "resource_changes": [
                    {"address": "terraform_data.a", "type": "terraform_data", "change": {
                        "actions": ["create"], "before": null, "after": {"input": []},
                    }},
                    {"address": "a.b", "type": "a", "change": {
                        "actions": ["create"], "before": null, "after": {"rule": [], "names": []},
                    }},
                ],
                "configuration": {"root_module": {"resources": [
                    {"address": "a.b", "expressions": {"names": {"constant_value": []}}},
                ]}},
            }),
            Tool::Terraform,
        );
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
        + terraform_data.a will be created
        +   input = []

        + a.b will be created
        +   names = []
        "#);
    }

    #[test]
    fn nothing_unseen_is_in_what_a_check_says() {
        let checks = vec![CheckFailure {
            address: "check.c\u{200b}".to_owned(),
            problems: vec!["a\u{200b}b\nc ".to_owned()],
        }];
        let change = Change { checks, ..Change::default() };
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
        ! check.c\u200b failed
        !   a\u200bb
        !   c\u0020
        "#);
    }

    #[test]
    fn a_mark_that_goes_is_told_first() {
        let change = read(
            serde_json::json!({
                "format_version": "1.2",
                "resource_changes": [{"address": "a.b", "change": {
                    "actions": ["update"],
                    "before": {"p": "same", "q": "same", "r": {"x": "1", "y": "2"}, "l": ["a", "b"]},
                    "after": {"p": "same", "q": "same", "r": {"x": "1", "y": "2"}, "l": ["a", "b"]},
                    "before_sensitive": {"q": true, "r": true, "l": [true]},
                    "after_sensitive": {"p": true, "r": {"x": true}, "l": [true, true]},
                }}],
                // As both tools write it.
                "output_changes": {
                    "o": {
                        "actions": ["update"], "before": "hunter", "after": "hunter",
                        "before_sensitive": true, "after_sensitive": true,
                    },
                    "q": {
                        "actions": ["update"], "before": "q", "after": "q",
                        "before_sensitive": true, "after_sensitive": true,
                    },
                },
                "prior_state": {"values": {"outputs": {"o": {"sensitive": false, "value": "hunter"}}}},
                "planned_values": {"outputs": {"o": {"sensitive": true, "value": "hunter"}}},
                "configuration": {"root_module": {"outputs": {"o": {}, "q": {"sensitive": true}}}},
            }),
            Tool::Terraform,
        );
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
        ! output o is no longer sensitive and will be visible after the apply
        ! a.b: q is no longer sensitive and will be visible after the apply
        ! a.b: r["y"] is no longer sensitive and will be visible after the apply

        ! a.b will be updated in place
        !   l[1] = (sensitive value)  # now marked as sensitive; the value is unchanged
        !   p = (sensitive value)  # now marked as sensitive; the value is unchanged
        !   q = (sensitive value)  # no longer sensitive; the value is unchanged
        !   r["y"] = (sensitive value)  # no longer sensitive; the value is unchanged

          Changes to outputs:
        !   o = (sensitive value)  # no longer sensitive; the value is unchanged

        !   q = (sensitive value)  # now marked as sensitive, or its type changes; the value is unchanged
        "#);
    }

    #[test]
    fn a_difference_is_seen_wherever_it_is() {
        let long = |end: &str| format!("{}{end}", "0123456789".repeat(45));
        let script = |end: &str| ["one", "two", "three", ""].join(end);
        let change = read(
            serde_json::json!({
                "format_version": "1.2",
                "resource_changes": [{"address": "a.b", "change": {
                    "actions": ["update"],
                    "before": {"ends": script("\n"), "far": long("before"), "hidden": "ab", "lines": format!("first\n{}\n", long("x")), "blank": "a\nb\n", "last": "a\nb\n", "map": {}},
                    "after": {"ends": script("\r\n").replace("two", "2"), "far": long("after"), "hidden": "a\u{200b}b", "lines": format!("first\n{}\n", long("y")), "blank": "a\nb \n", "last": "a\nb", "map": {"k\u{a0}": "\u{202e}"}},
                }}],
            }),
            Tool::Terraform,
        );
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
        ! a.b will be updated in place
        !   blank:
              a
        -     b
        +     b\u0020
        !   ends:
        -     one
        -     two
        -     three
        +     one\r
        +     2\r
        +     three\r
        !   far = (431 unchanged characters) …01234567890123456789before" -> (431 unchanged characters) …01234567890123456789after"
        !   hidden = "ab" -> "a\u200bb"
        !   last:
              a
        -     b
        +     b (no newline at the end)
        !   lines:
              first
        -     (430 unchanged characters) …01234567890123456789x
        +     (430 unchanged characters) …01234567890123456789y
        +   map["k\u00a0"] = "\u202e"
        "#);
    }

    #[test]
    fn a_difference_is_seen_in_the_line_that_is_most_alike() {
        let long = |end: &str| format!("{}{end}", "0123456789".repeat(45));
        let change = read(
            serde_json::json!({"format_version": "1.2", "resource_changes": [{"address": "a.b", "change": {
                "actions": ["update"],
                "before": {"t": format!("first\n{}\n", long("x"))},
                "after": {"t": format!("first\ninserted\n{}\n", long(&"y".repeat(500)))},
            }}]}),
            Tool::Terraform,
        );
        insta::assert_snapshot!(lines(&change).join("\n"), @"
        ! a.b will be updated in place
        !   t:
              first
        -     (430 unchanged characters) …01234567890123456789x
        +     inserted
        +     (430 unchanged characters) …01234567890123456789yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy… 120 more characters
        ");
    }

    #[test]
    fn a_block_in_which_nothing_is_written_is_told() {
        let change = read(
            serde_json::json!({"format_version": "1.2", "resource_changes": [{"address": "a.b", "change": {
                "actions": ["update"],
                "before": {"action": [{"allow": [{"custom": []}], "block": []}]},
                "after": {"action": [{"allow": [], "block": [{"custom": []}]}]},
            }}]}),
            Tool::Terraform,
        );
        insta::assert_snapshot!(lines(&change).join("\n"), @"
        ! a.b will be updated in place
        -   action[0].allow[0] = {}
        +   action[0].block[0] = {}
        ");
    }

    #[test]
    fn what_is_beside_a_secret_is_hidden_also_behind_a_cut() {
        let same = "0123456789".repeat(45);
        let masker = Masker::new(["the-new-password"]);
        let after = format!("{same}{}password=the-new-password", "x".repeat(500));
        let plan = serde_json::json!({"format_version": "1.2", "resource_changes": [{"address": "a.b", "change": {
            "actions": ["update"],
            "before": {"v": format!("{same}password=old-one"), "t": format!("a\n{same}old-one\n")},
            "after": {"v": after, "t": format!("a\n{same}foo\n{same}the-new-password\n")},
        }}]});
        let plan = plan.to_string();
        let read = Change::from_plan(plan.as_bytes(), Tool::Terraform, Limits::default(), &masker);
        let lines = lines(&read.unwrap().0).join("\n");
        assert!(!lines.contains("old-one"), "{lines}");
    }

    #[test]
    fn marks_that_go_are_counted_beyond_what_is_listed() {
        let names: Vec<String> = (0..300).map(|n| format!("a{n:03}")).collect();
        let all = |value: serde_json::Value| -> serde_json::Value {
            names
                .iter()
                .map(|name| (name.clone(), value.clone()))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let part = serde_json::json!({"x": "1", "y": "2"});
        let change = read(
            serde_json::json!({"format_version": "1.2", "resource_changes": [
                {"address": "a.many", "change": {
                    "actions": ["update"], "before": all("v".into()), "after": all("v".into()),
                    "before_sensitive": all(true.into()), "after_sensitive": {},
                }},
                {"address": "a.part", "change": {
                    "actions": ["update"], "before": {"r": part}, "after": {"r": {"x": "1", "y": "3"}},
                    "before_sensitive": {"r": true}, "after_sensitive": {"r": {"x": true}},
                }},
            ]}),
            Tool::Terraform,
        );
        let warnings = change.warnings();
        assert_eq!(warnings.len(), 21, "{warnings:?}");
        assert_eq!(warnings[20], "281 more values no longer sensitive; see the run");
        let part: Vec<_> =
            change.resources[1].attributes.iter().map(|a| (&*a.path, a.mark)).collect();
        assert_eq!(part, [("r[\"y\"]", Some(crate::plan::MarkChange::Removed))]);
    }

    #[test]
    fn what_is_destroyed_is_not_what_is_left_out() {
        let resource = |name: &str, action: &str| serde_json::json!({"address": name, "change": {"actions": [action]}});
        let plan = serde_json::json!({"format_version": "1.2", "resource_changes": [
            resource("a.a", "create"), resource("a.b", "create"), resource("z.db", "delete"),
        ]})
        .to_string();
        let limits = Limits { resources: 2, ..Limits::default() };
        let masker = Masker::default();
        let read = Change::from_plan(plan.as_bytes(), Tool::Terraform, limits, &masker);
        let change = read.unwrap().0;
        let kept: Vec<_> = change.resources.iter().map(|r| &*r.address).collect();
        assert_eq!((kept, change.resources_cut), (vec!["z.db", "a.a"], 1));
    }

    #[test]
    fn numbers_have_their_digits() {
        let plan = r#"{"format_version": "1.2", "resource_changes": [{"address": "a.b", "change": {
            "actions": ["update"],
            "before": {"n": 18446744073709551616, "t": 0.33333333333333333333333333, "e": 1e400, "j": "{\"n\":18446744073709551616}"},
            "after": {"n": 18446744073709551617, "t": 0.33333333333333333333333334, "e": 1e401, "j": "{\"n\":18446744073709551617}"}
        }}]}"#;
        let masker = Masker::default();
        let read = Change::from_plan(plan.as_bytes(), Tool::Terraform, Limits::default(), &masker);
        insta::assert_snapshot!(lines(&read.unwrap().0).join("\n"), @r#"
        ! a.b will be updated in place
        !   e = 1e400 -> 1e401
        !   j:
              {
        -       "n": 18446744073709551616
        +       "n": 18446744073709551617
              }
        !   n = 18446744073709551616 -> 18446744073709551617
        !   t = 0.33333333333333333333333333 -> 0.33333333333333333333333334
        "#);
    }

    #[test]
    fn blocks_that_nobody_wrote_are_not_told() {
        let resource = |action: &str, before: serde_json::Value, after: serde_json::Value| {
            serde_json::json!({
                "address": format!("a.{action}"), "change": {"actions": [action], "before": before, "after": after},
            })
        };
        let object =
            serde_json::json!({"rule": [], "deep": [{"rule": [], "n": 1}], "map": {"list": []}});
        let none = serde_json::Value::Null;
        let change = read(
            serde_json::json!({"format_version": "1.2", "resource_changes": [
                resource("create", none.clone(), object.clone()),
                resource("delete", object, none),
                resource("update", serde_json::json!({"rule": null}), serde_json::json!({"rule": []})),
            ]}),
            Tool::Terraform,
        );
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
        - a.delete will be destroyed
        -   deep[0].n = 1
        -   map["list"] = []

        + a.create will be created
        +   deep[0].n = 1
        +   map["list"] = []

        ! a.update will be updated in place
        +   rule = []
        "#);
    }

    #[test]
    fn each_instance_of_a_check_is_told() {
        let instance = |key: &str, status: &str| {
            serde_json::json!({
                "address": {"to_display": format!("a.b[{key}]")}, "status": status, "problems": [{"message": format!("{key} is bad")}],
            })
        };
        let change = read(
            serde_json::json!({"format_version": "1.2", "checks": [
                {"address": {"to_display": "a.b"}, "status": "fail", "instances": [instance("0", "fail"), instance("1", "pass"), instance("2", "error")]},
                {"address": {"to_display": "check.c"}, "status": "error"},
            ]}),
            Tool::Terraform,
        );
        insta::assert_snapshot!(lines(&change).join("\n"), @"
        ! a.b[0] failed
        !   0 is bad

        ! a.b[2] failed
        !   2 is bad

        ! check.c failed
        ");
    }

    #[test]
    fn what_was_cut_is_counted() {
        let plan = serde_json::json!({
            "format_version": "1.2",
            "errored": true,
            "resource_drift": [{"address": "test.a", "change": {"actions": ["delete"]}}],
            "resource_changes": [
                {"address": "a.a", "change": {"actions": ["create"], "after": {"a": "0123456789", "b": 1, "c": true}}},
                {"address": "a.b", "change": {"actions": ["delete"], "before": {"a": "x"}}},
                {"address": "a.c", "change": {"actions": ["delete"], "before": {"a": "x"}}},
                {"address": "data.d", "mode": "data", "change": {"actions": ["read"], "after": {"a": "x"}}},
            ],
        });
        let limits = Limits { attributes: 2, value_chars: 6, resources: 2, ..Limits::default() };
        let change = Change::from_plan(
            plan.to_string().as_bytes(),
            Tool::Terraform,
            limits,
            &Masker::default(),
        )
        .unwrap()
        .0;
        insta::assert_snapshot!(lines(&change).join("\n"), @r#"
          The plan ended with an error and is incomplete.

        - a.b will be destroyed
        -   a = "x"

        - a.c will be destroyed
        -   a = "x"

          … 2 more resources (see the run)

          1 resource was changed outside Terraform:
            test.a (deleted)
        "#);
    }
}
