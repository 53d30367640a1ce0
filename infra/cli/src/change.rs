//! What a plan would change, as text: what the API's document of a change says, resource by
//! resource.

use crate::{answers::Delta, safe, words};
use serde_json::Value;

/// The whole change.
pub(crate) fn text(change: &Value) -> String {
    let mut out = Vec::new();
    for resource in list(&change["resources"]) {
        out.push(resource_heading(resource, change));
        attributes(&resource["attributes"], &mut out);
        cut(&resource["attributes_cut"], "further attribute", &mut out);
    }
    cut(&change["resources_cut"], "further resource", &mut out);
    for invocation in list(&change["invocations"]) {
        out.push(format!("! {} will be invoked", line(&invocation["address"])));
        attributes(&invocation["config"], &mut out);
    }
    cut(&change["invocations_cut"], "further action", &mut out);
    if !list(&change["outputs"]).is_empty() {
        out.push("Outputs:".to_owned());
        attributes(&change["outputs"], &mut out);
    }
    cut(&change["outputs_cut"], "further output", &mut out);
    for drifted in list(&change["drifted"]) {
        let how = if drifted["gone"] == true { "is gone" } else { "was changed" };
        let tool = words::tool(change["tool"].as_str());
        out.push(format!("Outside of {tool}, {} {how}", line(&drifted["address"])));
    }
    for tolerated in list(&change["tolerated"]) {
        out.push(format!("Tolerated: {}", line(tolerated)));
    }
    cut(&change["tolerated_cut"], "further difference", &mut out);
    for check in list(&change["checks"]) {
        let problems: Vec<String> = list(&check["problems"]).iter().map(line).collect();
        out.push(format!("{} failed: {}", line(&check["address"]), problems.join("; ")));
    }
    let delta = serde_json::from_value::<Delta>(change["delta"].clone()).unwrap_or_default();
    out.push(format!("Plan: {}.", words::to_do(delta)));
    out.join("\n")
}

fn resource_heading(resource: &Value, change: &Value) -> String {
    let action = &resource["action"];
    let word = action.as_str().or_else(|| action.as_object()?.keys().next().map(String::as_str));
    // What a plan that only refreshes finds was done by somebody.
    let found = match word.filter(|_| change["refresh_only"] == true) {
        Some("update") => Some(("~", "was changed")),
        Some("delete") => Some(("-", "was deleted")),
        _ => None,
    };
    let outside = format!(" outside of {}", words::tool(change["tool"].as_str()));
    let outside = if found.is_some() { outside.as_str() } else { "" };
    let (sign, what) = match word.unwrap_or_default() {
        "create" => ("+", "will be created"),
        "update" => ("~", "will be changed in place"),
        "delete" => ("-", "will be destroyed"),
        "replace" if action["replace"]["create_before_destroy"] == true => {
            ("+/-", "will be replaced: the new one is created first")
        }
        "replace" => ("-/+", "will be replaced: destroyed, then created"),
        "replace_and_forget" => {
            ("+", "will be created anew; the old one is forgotten, not destroyed")
        }
        "read" => ("<=", "will be read during the apply"),
        "import" => ("<-", "will be imported"),
        "move" => ("->", "will be moved"),
        "forget" => (".", "will be forgotten, not destroyed"),
        _ => ("?", "will be changed in a way that this client does not know"),
    };
    let (sign, what) = found.unwrap_or((sign, what));
    let mut text = format!("{sign} {}", line(&resource["address"]));
    if let Some(key) = resource["deposed"].as_str() {
        text.push_str(&format!(" (deposed {})", safe::line(key)));
    }
    text.push_str(&format!(" {what}{outside}"));
    if let Some(before) = resource["previous_address"].as_str() {
        text.push_str(&format!(", was {}", safe::line(before)));
    }
    if let Some(id) = resource["import_id"].as_str().filter(|id| !id.is_empty()) {
        text.push_str(&format!(", imported from {}", safe::line(id)));
    }
    if let Some(reason) = resource["reason"].as_str() {
        text.push_str(&format!(" ({})", safe::line(&reason.replace('_', " "))));
    }
    text
}

fn attributes(attributes: &Value, out: &mut Vec<String>) {
    for attribute in list(attributes) {
        let path = line(&attribute["path"]);
        let forces = match attribute["forces_replacement"] == true {
            true => "  (forces replacement)",
            false => "",
        };
        let mark = match attribute["mark"].as_str() {
            Some("removed" | "removed_alone") => "  (no longer sensitive)",
            Some("added" | "added_alone") => "  (sensitive from now on)",
            Some("type_alone" | "added_or_type") => "  (its type changes)",
            _ => "",
        };
        let lines = list(&attribute["lines"]);
        if lines.is_empty() {
            let (before, after) = (value(&attribute["before"]), value(&attribute["after"]));
            let change = match (attribute["before"] == "absent", attribute["after"] == "absent") {
                (true, _) => after,
                (false, true) => format!("{before} -> (none)"),
                _ => format!("{before} -> {after}"),
            };
            out.push(format!("    {path} = {change}{forces}{mark}"));
            continue;
        }
        out.push(format!("    {path}:{forces}{mark}"));
        out.extend(lines.iter().map(difference));
    }
}

fn difference(line_of: &Value) -> String {
    let text = |name: &str| line_of[name].as_str().map(safe::line);
    let count = |name: &str| line_of[name].as_u64();
    if let Some(same) = text("same") {
        format!("          {same}")
    } else if let Some(removed) = text("removed") {
        format!("        - {removed}")
    } else if let Some(added) = text("added") {
        format!("        + {added}")
    } else if let Some(skipped) = count("skipped") {
        format!("          … {}", words::counted(skipped, "unchanged line"))
    } else {
        format!("          … {}", words::counted(count("cut").unwrap_or_default(), "further line"))
    }
}

fn value(value: &Value) -> String {
    match value.as_str() {
        Some("absent") => return "(none)".to_owned(),
        Some("sensitive") => return "(sensitive)".to_owned(),
        Some("unknown") => return "(known after apply)".to_owned(),
        _ => {}
    }
    if let Some(known) = value["known"].as_str() {
        return safe::line(known);
    }
    if let Some([start, left]) = value["truncated"].as_array().map(Vec::as_slice) {
        return format!("{}… ({} more)", line(start), characters(left));
    }
    if let Some([before, part, after]) = value["part"].as_array().map(Vec::as_slice) {
        let dots = |left: &Value| if left.as_u64() > Some(0) { "…" } else { "" };
        return format!("{}{}{}", dots(before), line(part), dots(after));
    }
    match value["lines"].as_u64() {
        Some(lines) => format!("({})", words::counted(lines, "line")),
        None => "(unknown to this client)".to_owned(),
    }
}

fn characters(count: &Value) -> String {
    words::counted(count.as_u64().unwrap_or_default(), "character")
}

fn cut(count: &Value, what: &str, out: &mut Vec<String>) {
    if let Some(count) = count.as_u64().filter(|count| *count > 0) {
        out.push(format!("… and {}: not listed", words::counted(count, what)));
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn line(value: &Value) -> String {
    safe::line(value.as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_shown_resource_by_resource() {
        let change = json!({
            "delta": { "add": 2, "change": 1, "destroy": 1 },
            "resources": [
                {
                    "address": "aws_subnet.a", "action": { "replace": { "create_before_destroy": false } },
                    "reason": "replace_because_tainted", "attributes_cut": 2,
                    "attributes": [
                        { "path": "cidr", "before": { "known": "\"10.0.0.0/24\"" },
                          "after": { "known": "\"10.0.1.0/24\"" }, "forces_replacement": true },
                        { "path": "id", "before": { "known": "\"a\"" }, "after": "unknown" },
                        { "path": "tag\u{1b}[2J", "before": { "known": "\"x\"" }, "after": "absent" },
                    ],
                },
                {
                    "address": "null_resource.b", "action": "create", "attributes_cut": 0,
                    "attributes": [
                        { "path": "secret", "before": "absent", "after": "sensitive" },
                        { "path": "long", "before": "absent", "after": { "truncated": ["\"abc", 40] } },
                        { "path": "text", "before": { "lines": 2 }, "after": { "lines": 2 },
                          "lines": [{ "skipped": 1 }, { "removed": "old" }, { "added": "new" },
                                    { "same": "end" }, { "cut": 3 }] },
                    ],
                },
                { "address": "x.y", "action": "teleport", "attributes": [], "attributes_cut": 0 },
            ],
            "resources_cut": 1,
            "outputs": [{ "path": "url", "before": { "part": [3, "a", 0] }, "after": { "part": [3, "b", 2] } }],
            "drifted": [{ "address": "aws_vpc.main", "gone": true }],
            "checks": [{ "address": "check.health", "problems": ["it is down"] }],
        });
        insta::assert_snapshot!(text(&change), @r#"
        -/+ aws_subnet.a will be replaced: destroyed, then created (replace because tainted)
            cidr = "10.0.0.0/24" -> "10.0.1.0/24"  (forces replacement)
            id = "a" -> (known after apply)
            tag\u001b[2J = "x" -> (none)
        … and 2 further attributes: not listed
        + null_resource.b will be created
            secret = (sensitive)
            long = "abc… (40 characters more)
            text:
                  … 1 unchanged line
                - old
                + new
                  end
                  … 3 further lines
        ? x.y will be changed in a way that this client does not know
        … and 1 further resource: not listed
        Outputs:
            url = …a -> …b…
        Outside of Terraform, aws_vpc.main is gone
        check.health failed: it is down
        Plan: 2 to add, 1 to change, 1 to destroy.
        "#);
        assert_eq!(text(&json!({})), "Plan: no changes.");
    }

    #[test]
    fn what_was_done_outside_is_not_told_as_what_will_be_done() {
        let resource = |address: &str, action: &str| json!({ "address": address, "action": action, "attributes": [], "attributes_cut": 0 });
        let mut change = json!({
            "tool": "opentofu", "refresh_only": true, "delta": { "change": 1, "destroy": 1 },
            "resources": [resource("a.b", "update"), resource("a.c", "delete"), resource("a.d", "move")],
            "tolerated": ["a.e"], "tolerated_cut": 2,
        });
        insta::assert_snapshot!(text(&change), @r"
        ~ a.b was changed outside of OpenTofu
        - a.c was deleted outside of OpenTofu
        -> a.d will be moved
        Tolerated: a.e
        … and 2 further differences: not listed
        Plan: 0 to add, 1 to change, 1 to destroy.
        ");
        change["refresh_only"] = json!(false);
        assert!(
            text(&change).starts_with("~ a.b will be changed in place\n- a.c will be destroyed\n")
        );
    }
}
