//! What is read of plans, as Terraform and OpenTofu write them.

use super::{
    Action, AttributeChange, Change, Delta, Drifted, Limits, Line, PlanError, ResourceChange,
    Value, left_by_destroy, module_of, planned_modules,
};
use crate::{masking::Masker, stack::Tool, text};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn read(plan: &Json) -> Change {
    Change::from_plan(
        plan.to_string().as_bytes(),
        Tool::Terraform,
        Limits::default(),
        &Masker::default(),
    )
    .unwrap()
    .0
}

/// A plan of one resource with this `change`.
fn one(change: Json) -> Json {
    json!({
        "format_version": "1.2",
        "resource_changes": [{
            "address": "test.a", "mode": "managed", "type": "test",
            "provider_name": "registry.terraform.io/acme/test", "change": change,
        }],
    })
}

fn show_value(value: &Value) -> String {
    match value {
        Value::Known(text) => text.clone(),
        Value::Truncated(text, more) => format!("{text}…{more} more"),
        Value::Part(same, text, more) => format!("{same} equal…{text}…{more} more"),
        other => format!("{other:?}"),
    }
}

fn show(attribute: &AttributeChange) -> String {
    let AttributeChange { path, before, after, forces_replacement, mark, lines } = attribute;
    let forces = if *forces_replacement { " !" } else { "" };
    let mark = mark.map(|mark| format!(" # {}", mark.text())).unwrap_or_default();
    let mut out =
        format!("{path}: {} -> {}{mark}{forces}\n", show_value(before), show_value(after));
    for line in lines {
        out += &match line {
            Line::Same(text) => format!("      {text}\n"),
            Line::Removed(text) => format!("    - {text}\n"),
            Line::Added(text) => format!("    + {text}\n"),
            other => format!("    {other:?}\n"),
        };
    }
    out
}

fn show_resource(resource: &ResourceChange) -> String {
    let from =
        resource.previous_address.as_deref().map(|p| format!(" from {p}")).unwrap_or_default();
    let reason = resource.reason_text().map(|r| format!(" because {r}")).unwrap_or_default();
    let attributes: String = resource.attributes.iter().map(|a| format!("  {}", show(a))).collect();
    format!(
        "{}{from} [{}] {}{reason}\n{attributes}",
        resource.title(),
        resource.provider,
        resource.action.text()
    )
}

fn show_all(change: &Change) -> String {
    let resources: String = change.resources.iter().map(show_resource).collect();
    let outputs: String = change.outputs.iter().map(|o| format!("output {}", show(o))).collect();
    format!("{}\n{resources}{outputs}{:?}", change.delta, change.checks)
}

fn attributes(change: Json) -> String {
    read(&one(change)).resources[0].attributes.iter().map(show).collect()
}

/// A plan that a newer Terraform wrote: `infra/test-provider` records them.
macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../../testdata/terraform-1.16/", $name, ".plan.json")).as_slice()
    };
}

#[test]
fn plans_that_a_newer_terraform_wrote_are_counted() {
    let counted = [
        ((1, 0, 0, 0), recorded!("actions-create")),
        ((0, 1, 0, 0), recorded!("actions-update")),
        ((0, 1, 0, 0), recorded!("actions-failed")),
        ((0, 0, 0, 0), recorded!("actions-invoked")),
        ((0, 0, 1, 0), recorded!("actions-destroyed")),
        // Terraform destroys at a replacement what `destroy = false` keeps at a destroy.
        ((1, 0, 1, 0), recorded!("kept-replaced")),
        ((0, 0, 0, 1), recorded!("kept-destroyed")),
        ((0, 0, 1, 0), recorded!("deposed")),
        ((1, 0, 0, 0), recorded!("store")),
    ];
    for (added_changed_destroyed_forgotten, plan) in counted {
        let (change, _) =
            Change::from_plan(plan, Tool::Terraform, Limits::default(), &Masker::default())
                .unwrap();
        let Delta { add, change, destroy, forget, .. } = change.delta;
        let counted = (add, change, destroy, forget);
        let plan = String::from_utf8_lossy(plan);
        assert_eq!(counted, added_changed_destroyed_forgotten, "{plan}");
    }
}

/// Keys that nobody knows, in each object of the format. What is by name, and what are values, stays.
fn with_unknown_keys(json: &mut Json) {
    let named = [
        "before",
        "after",
        "after_unknown",
        "before_sensitive",
        "after_sensitive",
        "values",
        "sensitive_values",
        "value",
        "config_values",
        "config_sensitive",
        "config_unknown",
    ];
    let by_name = ["output_changes", "outputs", "variables"];
    match json {
        Json::Array(items) => items.iter_mut().for_each(with_unknown_keys),
        Json::Object(members) => {
            for (name, member) in members.iter_mut().filter(|(name, _)| !named.contains(&&***name))
            {
                match member {
                    Json::Object(all) if by_name.contains(&&**name) => {
                        all.values_mut().for_each(with_unknown_keys);
                    }
                    member => with_unknown_keys(member),
                }
            }
            members.insert("of_a_newer_tool".into(), json!({"is": true, "list": [1, null]}));
        }
        _ => {}
    }
}

#[test]
fn what_a_newer_tool_says_besides_changes_nothing() {
    let recorded = [
        recorded!("actions-create"),
        recorded!("actions-update"),
        recorded!("actions-invoked"),
        recorded!("actions-destroyed"),
        recorded!("kept-replaced"),
        recorded!("kept-destroyed"),
        recorded!("deposed"),
        recorded!("store"),
    ];
    for plan in recorded {
        let plan: Json = serde_json::from_slice(plan).unwrap();
        let mut newer = plan.clone();
        with_unknown_keys(&mut newer);
        newer["format_version"] = json!("1.99");
        assert_eq!(read(&newer), read(&plan), "{newer}");
        let plans = [&plan, &newer].map(Json::to_string);
        let mask = |text: &str| text.to_owned();
        let [left, of_newer] =
            plans.each_ref().map(|plan| left_by_destroy(plan.as_bytes(), &mask).unwrap());
        assert_eq!(of_newer, left, "{newer}");
        let [modules, of_newer] = plans
            .each_ref()
            .map(|plan| planned_modules(plan.as_bytes(), Tool::Terraform, &mask).unwrap());
        assert_eq!(of_newer, modules, "{newer}");
    }
}

#[test]
fn words_that_nobody_knows_are_shown_as_they_are() {
    let mut plan =
        one(json!({"actions": ["transmute", "create"], "before": {"a": 1}, "after": {"a": 2}}));
    let told = |plan: &Json| {
        let change = read(plan);
        let parts = text::change::parts(&change).into_iter();
        parts.flat_map(|part| [part.head, part.rest].concat()).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(told(&plan), @"
    ! test.a will be changed in a way unknown to Gantry (transmute, create)
    !   a = 1 -> 2
    ");
    plan["resource_changes"][0]["action_reason"] = json!("because_of_the_moon");
    insta::assert_snapshot!(told(&plan), @"
    ! test.a will be changed in a way unknown to Gantry (transmute, create: because_of_the_moon)
    !   a = 1 -> 2
    ");
}

#[test]
fn a_plan_that_terraform_wrote() {
    let (change, _) = Change::from_plan(
        include_bytes!("../../testdata/plan.json"),
        Tool::Terraform,
        Limits::default(),
        &Masker::default(),
    )
    .unwrap();
    insta::assert_snapshot!(show_all(&change), @r#"
    1 to add, 2 to change, 1 to destroy (1 replacement), 1 to move, 1 to forget, 2 outputs
    terraform_data.b [terraform] must be replaced: destroyed, then created because it cannot be updated in place
      id: "ab0b4dfe-b693-9d5f-8d69-80909599d67f" -> Unknown
      input: Lines(2) -> Lines(2)
          line1
        - line2
        + line2b
      output: "line1\nline2\n" -> Unknown
      triggers_replace[0]: "one" -> "two" !
    terraform_data.zz [terraform] will be forgotten, but not destroyed because it is not in the configuration
    terraform_data.a [terraform] will be updated in place
      input["list"][1]: Absent -> "z"
      input["secret"]: Sensitive -> Sensitive
      output: {"list":["a","b"],"name":"x","secret":"(sensitive value)"} -> Unknown
    terraform_data.d from terraform_data.c [terraform] will be updated in place
      input: Lines(4) -> Lines(4)
          {
        -   "a": 1,
        +   "a": 2,
            "b": "<x>"
          }
      output: "{\"a\":1,\"b\":\"\\u003cx\\u003e\"}" -> Unknown
    output o: Sensitive -> Unknown
    output p: "plain" -> "plain2"
    [CheckFailure { address: "check.c", problems: ["never"] }]
    "#);
    assert!(!change.delta.is_empty());
    // A provider copied the sensitive input to an attribute that it did not mark.
    let kept = serde_json::to_string(&change).unwrap();
    assert!(!kept.contains("hunter"), "{kept}");
    assert_eq!(serde_json::from_str::<Change>(&kept).unwrap(), change);
}

#[test]
fn blocks_maps_and_lists() {
    insta::assert_snapshot!(attributes(json!({
        "actions": ["delete", "create"],
        "before": {"tags": {"a b": "1", "b": "2"}, "rule": [{"cidr": "x", "port": 1}, {"cidr": "y"}], "n": 1, "gone": true, "e": []},
        "after": {"tags": {"a b": "9", "c": "3"}, "rule": [{"cidr": "y"}, {"cidr": "z"}], "n": 2.5, "e": {}},
        "after_unknown": {"id": true, "rule": [{}, {"id": true}]},
        "replace_paths": [["rule", 0, "cidr"], ["n"]],
    })), @r#"
    e: [] -> {}
    gone: true -> Absent
    id: Absent -> Unknown
    n: 1 -> 2.5 !
    rule[0].cidr: "x" -> Absent !
    rule[0].port: 1 -> Absent
    rule[1].cidr: Absent -> "z"
    rule[1].id: Absent -> Unknown
    tags["a b"]: "1" -> "9"
    tags["b"]: "2" -> Absent
    tags["c"]: Absent -> "3"
    "#);
}

#[test]
fn marks_reach_down_and_across() {
    insta::assert_snapshot!(attributes(json!({
        "actions": ["update"],
        "before": {"a": {"x": "one", "y": "two"}, "b": ["p", "q"], "c": {"k": "old"}, "d": "same", "e": "shown", "f": {"deep": {"s": "hide"}}},
        "after": {"a": {"x": "one", "y": "three"}, "b": ["p", "r", "q"], "c": {"k": "new"}, "d": "same", "e": "hidden"},
        "before_sensitive": {"a": {"y": true}, "b": [false, true], "c": true, "d": true, "f": {"deep": {"s": true}}},
        "after_sensitive": {"a": {"y": true}, "b": [false, false, true], "c": true, "d": true, "e": true},
        "after_unknown": {"f": true},
    })), @r#"
    a["y"]: Sensitive -> Sensitive
    b[1]: Absent -> Sensitive
    c: Sensitive -> Sensitive
    e: Sensitive -> Sensitive # now marked as sensitive
    f: {"deep":{"s":"(sensitive value)"}} -> Unknown
    "#);
}

#[test]
fn texts_of_several_lines_and_json_are_compared_by_line() {
    let policy =
        |effect: &str| json!({"Version": "2012", "Effect": effect, "Sid": "s"}).to_string();
    let before = (1..12).map(|i| format!("line {i}\n")).collect::<String>();
    insta::assert_snapshot!(attributes(json!({
        "actions": ["update"],
        "before": {"p": policy("Allow"), "t": before, "u": "a\n", "v": "{\"a\":1}"},
        "after": {"p": policy("Deny"), "t": before.replace("line 6", "changed"), "u": "a", "v": "{ \"a\": 1 }", "w": "new\ntext"},
    })), @r#"
    p: Lines(5) -> Lines(5)
          {
        -   "Effect": "Allow",
        +   "Effect": "Deny",
            "Sid": "s",
            "Version": "2012"
        Skipped(1)
    t: Lines(11) -> Lines(11)
        Skipped(3)
          line 4
          line 5
        - line 6
        + changed
          line 7
          line 8
        Skipped(3)
    u: "a\n" -> "a"
    v: "{\"a\":1}" -> "{ \"a\": 1 }"
    w: Absent -> Lines(2)
        + new
        + text
    "#);
}

#[test]
fn actions_are_counted_as_terraform_counts() {
    let resource = |i: usize, actions: Json, more: Json| {
        let mut r = json!({"address": format!("t.r{i}"), "mode": "managed", "change": {"actions": actions}});
        for (k, v) in more.as_object().unwrap() {
            if k == "importing" { r["change"][k] = v.clone() } else { r[k] = v.clone() }
        }
        r
    };
    let change = read(&json!({"format_version": "1.0", "resource_changes": [
        resource(0, json!(["no-op"]), json!({})),
        resource(1, json!(["create", "delete"]), json!({})),
        resource(2, json!(["no-op"]), json!({"importing": {"id": "i-1"}})),
        resource(3, json!(["update"]), json!({"importing": {"unknown": true}})),
        resource(4, json!(["no-op"]), json!({"previous_address": "t.old"})),
        resource(5, json!(["read"]), json!({"mode": "data"})),
        resource(6, json!(["delete"]), json!({"mode": "data"})),
        resource(7, json!(["forget"]), json!({})),
        resource(8, json!(["create", "forget"]), json!({})),
        resource(9, json!(["transmute"]), json!({})),
    ]}));
    insta::assert_snapshot!(change.delta, @"2 to add, 2 to change, 1 to destroy (2 replacements), 2 to import, 1 to move, 2 to forget");
    let actions: Vec<Action> = change.resources.iter().map(|r| r.action).collect();
    insta::assert_debug_snapshot!(actions, @"
    [
        Replace {
            create_before_destroy: true,
        },
        Forget,
        ReplaceAndForget,
        Other,
        Import,
        Update,
        Move,
        Read,
    ]
    ");
}

#[test]
fn nulls_that_come_and_go_are_told() {
    insta::assert_snapshot!(attributes(json!({
        "actions": ["update"],
        "before": {"goes": [null], "empties": [null], "less": [null, "b"], "map": {"a": null, "b": 1}, "same": [null], "n": null},
        "after": {"comes": {"a": {"b": null}}, "empties": [], "less": ["b"], "map": {"b": 1}, "same": [null], "n": null},
    })), @r#"
    comes["a"]: Absent -> {"b":null}
    empties[0]: null -> Absent
    goes[0]: null -> Absent
    less[0]: null -> Absent
    map["a"]: null -> Absent
    "#);
    insta::assert_snapshot!(attributes(json!({
        "actions": ["create"],
        "after": {"list": [null, "b"], "n": null, "object": {"a": null, "b": 1}},
    })), @r#"
    list[0]: Absent -> null
    list[1]: Absent -> "b"
    object["b"]: Absent -> 1
    "#);
}

#[test]
fn what_has_only_moved_is_no_drift() {
    let change = read(&json!({"format_version": "1.2", "resource_drift": [
        {"address": "t.new", "previous_address": "t.old", "change": {"actions": ["no-op"]}},
        {"address": "t.other", "change": {"actions": ["update"]}},
    ]}));
    let drifted: Vec<String> = change.drifted.iter().map(Drifted::text).collect();
    assert_eq!((change.drift, drifted), (1, vec!["t.other".to_owned()]));
}

/// As both tools write it: what is planned is empty, and an output follows what was changed.
fn refreshed() -> Json {
    let named = |name: &str| {
        json!({
            "address": format!("test_object.{name}"), "mode": "managed", "type": "test_object",
            "name": name, "provider_name": "gantry.test/gantry/test",
        })
    };
    let entry = |name: &str, change: Json| {
        let mut entry = named(name);
        entry["change"] = change;
        entry
    };
    let mut moved = entry(
        "new",
        json!({
            "actions": ["no-op"], "before": {"id": "m-1"}, "after": {"id": "m-1"}, "after_unknown": {},
            "before_sensitive": {}, "after_sensitive": {},
        }),
    );
    moved["previous_address"] = json!("test_object.old");
    json!({
        "format_version": "1.2",
        "terraform_version": "1.11.4",
        "planned_values": {"outputs": {"text": {"sensitive": false, "value": "by hand"}}, "root_module": {}},
        "resource_drift": [
            entry("a", json!({
                "actions": ["update"],
                "before": {"id": "a-1", "secret": "first-secret", "text": "hello", "tags": null},
                "after": {"id": "a-1", "secret": "other-secret", "text": "by hand", "tags": {"k": "other-secret"}},
                "after_unknown": {},
                "before_sensitive": {"secret": true},
                "after_sensitive": {"secret": true, "tags": {}},
            })),
            entry("gone", json!({
                "actions": ["delete"], "before": {"id": "g-1", "text": "x"}, "after": null,
                "after_unknown": {}, "before_sensitive": {}, "after_sensitive": false,
            })),
            moved,
        ],
        "output_changes": {
            "same": {
                "actions": ["no-op"], "before": 1, "after": 1, "after_unknown": false,
                "before_sensitive": false, "after_sensitive": false,
            },
            "text": {
                "actions": ["update"], "before": "hello", "after": "by hand", "after_unknown": false,
                "before_sensitive": false, "after_sensitive": false,
            },
        },
        "configuration": {"root_module": {"outputs": {"same": {}, "text": {}}}},
        "applyable": true,
        "complete": true,
        "errored": false,
    })
}

fn read_refreshed(tool: Tool, limits: Limits) -> Change {
    let (plan, masker) = (refreshed().to_string(), Masker::default());
    Change::from_refresh_only_plan(plan.as_bytes(), tool, limits, &masker).unwrap().0
}

#[test]
fn what_was_changed_outside_is_the_change_of_a_plan_that_only_refreshes() {
    for tool in [Tool::Terraform, Tool::OpenTofu] {
        let change = read_refreshed(tool, Limits::default());
        let counts = Delta { change: 1, destroy: 1, moved: 1, outputs: 1, ..Delta::default() };
        assert_eq!(change.delta, counts);
        assert!(change.refresh_only && !change.partial);
        assert_eq!((change.drift, change.drifted.len()), (0, 0), "it is said once");
        let happens = |action| change.what_happens(action).into_owned();
        let outside = format!("outside of {}", tool.name());
        assert_eq!(happens(Action::Update), format!("was changed {outside}"));
        assert_eq!(happens(Action::Delete), format!("was deleted {outside}"));
        assert_eq!(happens(Action::Move), "will be moved");
        let shown = show_all(&change);
        assert!(shown.contains("text: \"hello\" -> \"by hand\""), "{shown}");
        assert!(!shown.contains("-secret"), "{shown}");
    }
    let some = read_refreshed(Tool::Terraform, Limits { resources: 1, ..Limits::default() });
    assert_eq!((some.resources[0].address.as_str(), some.resources_cut), ("test_object.gone", 2));
    assert_eq!(some.delta.change, 1, "what is not listed is counted");
}

/// Nothing in the JSON tells how it was planned.
#[test]
fn the_same_plan_has_no_change_where_it_was_to_plan_everything() {
    let change = read(&refreshed());
    assert_eq!(change.delta, Delta { outputs: 1, ..Delta::default() });
    assert_eq!((change.drift, change.refresh_only), (2, false));
    assert_eq!(change.what_happens(Action::Update), "will be updated in place");
}

#[test]
fn reads_alone_are_clean() {
    let mut plan = one(json!({"actions": ["read"], "after": {"a": 1}}));
    assert!(read(&plan).delta.is_empty());
    plan["output_changes"] = json!({"o": {"actions": ["create"], "after": 1}});
    assert!(!read(&plan).delta.is_empty());
}

#[test]
fn secrets_are_masked_before_anything_is_cut() {
    let masker = Masker::new(["hunter22hunter22"]);
    let limits = Limits { value_chars: 12, ..Limits::default() };
    let plan = one(json!({"actions": ["create"], "after": {
        "a": "xxxxhunter22hunter22", "j": "{\"k\":\"hunter22hunter22\",\"l\":1}", "hunter22hunter22": 1,
    }}));
    let change =
        Change::from_plan(plan.to_string().as_bytes(), Tool::Terraform, limits, &masker).unwrap().0;
    assert!(!serde_json::to_string(&change).unwrap().contains("hunter"), "{change:?}");
}

#[test]
fn what_is_marked_is_hidden_inside_other_texts_too() {
    insta::assert_snapshot!(attributes(json!({
        "actions": ["create"],
        "after": {"secret": "topsecretvalue", "pin": 48151623, "url": "https://u:topsecretvalue@h/", "list": ["48151623", 48151623, 4711], "k": "{\"p\":\"topsecretvalue\",\"q\":1}", "short": 4711},
        "after_sensitive": {"secret": true, "pin": true, "short": true},
    })), @r#"
    k: Absent -> Lines(4)
        + {
        +   "p": "(secret)",
        +   "q": 1
        + }
    list[0]: Absent -> Sensitive
    list[1]: Absent -> (secret)
    list[2]: Absent -> 4711
    pin: Absent -> Sensitive
    secret: Absent -> Sensitive
    short: Absent -> Sensitive
    url: Absent -> "https://u:(secret)@h/"
    "#);
}

#[test]
fn beside_a_secret_the_other_side_is_hidden() {
    let masker = Masker::new(["the-new-secret"]);
    let plan = one(json!({
        "actions": ["update"],
        "before": {"a": "the-old-secret", "b": "u:the-old-secret@h", "c": {"d": "the-old-secret"}, "doc": "{\"p\":\"the-old-secret\",\"q\":1}", "note": "plain", "both": "x the-new-secret"},
        "after": {"a": "the-new-secret", "b": "u:the-new-secret@h", "doc": "{\"p\":\"the-new-secret\",\"q\":1}", "note": "other", "both": "y the-new-secret"},
        "after_unknown": {"c": true},
    }));
    let change =
        Change::from_plan(plan.to_string().as_bytes(), Tool::Terraform, Limits::default(), &masker)
            .unwrap()
            .0;
    let shown: String = change.resources[0].attributes.iter().map(show).collect();
    insta::assert_snapshot!(shown, @r#"
    a: Sensitive -> "(secret)"
    b: Sensitive -> "u:(secret)@h"
    both: "x (secret)" -> "y (secret)"
    c: {"d":(secret)} -> Unknown
    doc: Lines(4) -> Lines(4)
          {
        - (sensitive value)
        +   "p": "(secret)",
            "q": 1
          }
    note: "plain" -> "other"
    "#);
    // The same for who knows the secret only afterwards.
    let mut later = read(&plan);
    later.hide(&masker);
    assert_eq!(later.resources[0].attributes.iter().map(show).collect::<String>(), shown);
}

#[test]
fn a_secret_of_several_lines_and_one_that_was_cut_are_hidden_later() {
    let limits = Limits { value_chars: 12, ..Limits::default() };
    let plan = one(json!({"actions": ["update"],
        "before": {"t": "first\nab\ncd\nef\nlast", "v": "123456hunter22hunter22"},
        "after": {"t": "second\nab\ncd\nef\nend", "v": "123hunter22"},
    }));
    let mut change =
        Change::from_plan(plan.to_string().as_bytes(), Tool::Terraform, limits, &Masker::default())
            .unwrap()
            .0;
    change.hide(&Masker::new(["ab\ncd\nef", "hunter22hunter22"]));
    insta::assert_snapshot!(change.resources[0].attributes.iter().map(show).collect::<String>(), @r#"
    t: Lines(5) -> Lines(5)
        - first
        + second
          (secret)
          (secret)
          (secret)
        - last
        + end
    v: "123456(secret)…12 more -> "123(secret)…1 more
    "#);
}

#[test]
fn an_import_by_a_secret_does_not_show_it() {
    let import = |id: &str, after: Json, marks: Json| {
        let change = read(&one(json!({
            "actions": ["no-op"], "importing": {"id": id}, "before": after, "after": after,
            "before_sensitive": marks, "after_sensitive": marks,
        })));
        change.resources[0].import_id.clone().unwrap()
    };
    let password = |text: &str| json!({"id": "none", "result": text});
    let marked = json!({"result": true});
    let hidden = "(sensitive value)";
    assert_eq!(import("hunter22", password("hunter22"), marked.clone()), hidden);
    assert_eq!(import("pw1", password("pw1"), marked.clone()), hidden);
    assert_eq!(import("us/hunter22", password("hunter22"), marked.clone()), hidden);
    assert_eq!(import("hunter", password("hunter22"), marked.clone()), hidden);
    assert_eq!(import("i-1234", password("hunter22"), marked), "i-1234");
    // What stands elsewhere in the plan is the same secret.
    let mut plan = one(json!({
        "actions": ["no-op"], "importing": {"id": "x/hunter"}, "before": {"r": "hunter"},
        "before_sensitive": {"r": true},
    }));
    plan["checks"] =
        json!([{"status": "fail", "instances": [{"problems": [{"message": "not x/hunter"}]}]}]);
    assert!(!serde_json::to_string(&read(&plan)).unwrap().contains("x/"));
}

#[test]
fn what_terraform_data_gives_out_is_as_secret_as_what_it_took() {
    let plan = |marks: Json| {
        let change = json!({
            "actions": ["update"],
            "before": {"input": "abc", "output": "abc", "store": [{"input": {"a": "abc", "b": 1}, "output": {"a": "abc", "b": 1}}]},
            "after": {"input": "abd", "output": "abd", "store": [{"input": {"a": "abd", "b": 2}, "output": {"a": "abd", "b": 2}}]},
            "before_sensitive": marks, "after_sensitive": marks,
        });
        let mut plan = one(change);
        plan["resource_changes"][0]["type"] = json!("terraform_data");
        read(&plan).resources[0].attributes.iter().map(show).collect::<String>()
    };
    insta::assert_snapshot!(plan(json!({"store": [{"input": {"a": true}}], "input": true})), @r#"
    input: Sensitive -> Sensitive
    output: Sensitive -> Sensitive
    store[0].input["a"]: Sensitive -> Sensitive
    store[0].input["b"]: 1 -> 2
    store[0].output["a"]: Sensitive -> Sensitive
    store[0].output["b"]: 1 -> 2
    "#);
}

#[test]
fn a_huge_plan_keeps_every_address() {
    let big: Json = (0..50)
        .map(|i| (format!("k{i}"), json!("v".repeat(1_000))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let resources: Vec<Json> = (0..5_000)
        .map(|i| json!({"address": format!("t.r[{i}]"), "change": {"actions": ["create"], "after": big}}))
        .collect();
    let change = read(&json!({"format_version": "1.2", "resource_changes": resources}));
    assert_eq!(change.delta.add, 5_000);
    assert_eq!(change.resources.len(), 5_000);
    let cut: u32 = change.resources.iter().map(|r| r.attributes_cut).sum();
    let kept: usize = change.resources.iter().map(|r| r.attributes.len()).sum();
    assert_eq!(cut as usize + kept, 250_000);
    assert!(serde_json::to_vec(&change).unwrap().len() < 2_500_000);
}

/// As OpenTofu 1.12.6 writes it with `-destroy`.
#[test]
fn an_output_that_the_code_marks_is_hidden_where_the_plan_forgets_the_mark() {
    let plan = json!({
        "format_version": "1.2",
        "output_changes": {"o": {
            "actions": ["delete"], "before": {"a": ["hunter-22"]}, "after": null,
            "before_sensitive": false, "after_sensitive": false,
        }},
        "configuration": {"root_module": {"outputs": {"o": {"sensitive": true}}}},
    });
    let plan = plan.to_string();
    let (change, marked) =
        Change::from_plan(plan.as_bytes(), Tool::OpenTofu, Limits::default(), &Masker::default())
            .unwrap();
    let [o] = &*change.outputs else { panic!("{change:?}") };
    assert_eq!((o.path.as_str(), &o.before, &o.after), ("o", &Value::Sensitive, &Value::Absent));
    assert!(!marked.known_to(&Masker::default()).mask("is hunter-22").contains("hunter"));
}

#[test]
fn what_is_not_a_plan_is_refused() {
    let refuse = |json: &str| {
        Change::from_plan(json.as_bytes(), Tool::Terraform, Limits::default(), &Masker::default())
            .unwrap_err()
    };
    assert!(matches!(refuse("{}"), PlanError::NotAPlan(_)));
    assert!(matches!(refuse("nonsense"), PlanError::NotAPlan(_)));
    let deep = "[".repeat(129) + &"]".repeat(129);
    let values = format!(r#"{{"resources": [{{"address": "a.b", "values": {{"x": {deep}}}}}]}}"#);
    let plan =
        format!(r#"{{"format_version": "1.2", "planned_values": {{"root_module": {values}}}}}"#);
    let PlanError::NotAPlan(error) = refuse(&plan) else { panic!() };
    let said = error.to_string();
    assert!(said.starts_with("a.b: a value is nested more than 128 levels deep"), "{said}");
    insta::assert_snapshot!(refuse(r#"{"format_version":"2.0"}"#), @"the plan is in format 2.0, but only formats 1.x are supported");
}

/// Any JSON, a few levels deep, over few keys and values, so that the trees often meet.
fn tree() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (0..3u8).prop_map(Json::from),
        "[ab\n{}\"]{0,4}".prop_map(Json::from),
        Just(Json::from("topsecret")),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::btree_map("[abc]", inner, 0..3)
                .prop_map(|m| Json::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_marks_on_any_values_are_survived(
        before in tree(), after in tree(), unknown in tree(), bs in tree(), a_s in tree(),
    ) {
        let change = read(&one(json!({
            "actions": ["update"], "before": before, "after": after, "after_unknown": unknown,
            "before_sensitive": bs, "after_sensitive": a_s,
        })));
        let kept = serde_json::to_string(&change).unwrap();
        prop_assert_eq!(serde_json::from_str::<Change>(&kept).unwrap(), change);
    }

    #[test]
    fn what_is_marked_as_a_whole_is_never_shown(before in tree(), after in tree()) {
        let change = read(&one(json!({
            "actions": ["update"], "before": {"x": before}, "after": {"x": after},
            "before_sensitive": {"x": true}, "after_sensitive": {},
        })));
        prop_assert!(!serde_json::to_string(&change).unwrap().contains("topsecret"));
        prop_assert!(change.resources[0].attributes.len() <= 1);
    }

    #[test]
    fn equal_values_show_nothing(value in tree(), marks in tree()) {
        let change = read(&one(json!({
            "actions": ["update"], "before": value, "after": value,
            "before_sensitive": marks, "after_sensitive": marks,
        })));
        prop_assert_eq!(&change.resources[0].attributes, &vec![]);
    }
}

#[test]
fn an_address_says_its_module() {
    for (address, module) in [
        ("aws_vpc.module", ""),
        ("module.net.aws_vpc.a", "module.net"),
        ("module.net[0].module.dns.data.aws_zone.a[\"x\"]", "module.net[0].module.dns"),
        (r#"module.net["a.b\".c"].aws_vpc.a["module.no.x"]"#, r#"module.net["a.b\".c"]"#),
        ("module.net", ""),
        ("module.é.x.y", "module.é"),
        ("", ""),
    ] {
        assert_eq!(module_of(address), module, "{address}");
    }
}
