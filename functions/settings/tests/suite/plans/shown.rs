//! What is shown, compared with what a plan says.

use super::{
    generate::WRITE_ONLY,
    reading::{Place, Reading, Side, Told, only_in},
};
use serde_json::Value as Json;
use std::collections::HashSet;

/// Nothing may miss, nothing may be there that the plan does not say.
pub(super) fn in_the_api(reading: &Reading, api: &Json, what: &str) {
    no_secret(reading, &api.to_string(), what);
    let counts = api["delta"].as_object().unwrap().iter().filter(|(_, count)| **count != 0);
    let counts: serde_json::Map<String, Json> =
        counts.map(|(name, count)| (name.clone(), count.clone())).collect();
    assert_eq!(reading.counts, counts, "{what}");

    let mut told = list(&api["resources"]);
    assert_eq!(told.len(), reading.changes.len(), "{what}: {told:#?} {:#?}", reading.changes);
    for change in &reading.changes {
        let at = told.iter().position(|one| title(one) == change.title);
        let one = told.remove(at.unwrap_or_else(|| panic!("{what}: no {}", change.title)));
        assert_eq!(one["action"], change.action, "{what}: {}", change.title);
        attributes(reading, change, &list(&one["attributes"]), what);
    }
    let mut invoked = list(&api["invocations"]);
    for invocation in &reading.invocations {
        let at = invoked.iter().position(|one| is_invocation(one, invocation));
        let one = invoked.remove(at.unwrap_or_else(|| panic!("{what}: no {invocation:#?}")));
        attributes(reading, invocation, &list(&one["config"]), what);
    }
    assert_eq!(invoked, Vec::<Json>::new(), "{what}: what nobody invokes");
    let mut outputs = list(&api["outputs"]);
    for output in &reading.outputs {
        let (name, below) = (&output.title, format!("{}[", output.title));
        let is_its =
            |attribute: &Json| path(attribute) == *name || path(attribute).starts_with(&below);
        let (its, others): (Vec<Json>, Vec<Json>) = outputs.into_iter().partition(is_its);
        attributes(reading, output, &its, what);
        outputs = others;
    }
    assert_eq!(outputs, Vec::<Json>::new(), "{what}: outputs that do not change");

    let drifted = list(&api["drifted"])
        .into_iter()
        .map(|one| title(&one) + if one["gone"] == true { " (deleted)" } else { "" });
    assert_eq!(drifted.collect::<Vec<_>>(), reading.drift, "{what}");
    let checks =
        list(&api["checks"]).into_iter().map(|check| check["address"].as_str().unwrap().to_owned());
    assert_eq!(checks.collect::<Vec<_>>(), reading.failing_checks, "{what}");
}

fn attributes(reading: &Reading, change: &Told, shown: &[Json], what: &str) {
    let what = format!("{what}: {}", change.title);
    let mut rest: Vec<&Json> = shown.iter().collect();
    for place in &change.places {
        let below = format!("{}[", place.path);
        let is_its = |one: &&Json| {
            is_path(reading, &place.path, path(one))
                || (place.is_list && path(one).starts_with(&below))
        };
        let (its, others): (Vec<&Json>, Vec<&Json>) = rest.into_iter().partition(is_its);
        rest = others;
        if its.is_empty() && !place.is_optional {
            panic!("{what}: nothing of {place:#?} in {shown:#?}");
        }
        match its.as_slice() {
            [] => {}
            _ if place.is_list => elements(reading, place, &its, &what),
            [one] => {
                let sides = [("before", &place.before), ("after", &place.after)];
                let hides = sides.iter().any(|(_, side)| reading.may_hide(&side.text()));
                for (side, is) in sides {
                    let is_shown = reading.shows(is, &one[side]);
                    let is_hidden = hides && one[side] == "sensitive";
                    assert!(is_shown || is_hidden, "{what}: {side} {place:#?} {one:#?}");
                }
                assert_eq!(one["mark"].as_str(), place.mark, "{what}: {place:#?}");
                lines(reading, place, one, &what);
            }
            several => panic!("{what}: {place:#?} {several:#?}"),
        }
    }
    assert_eq!(rest, Vec::<&Json>::new(), "{what}: what is not in the plan");
}

fn is_invocation(one: &Json, invocation: &Told) -> bool {
    let trigger = Json::from(vec![one["resource"].clone(), one["event"].clone()]);
    one["address"] == *invocation.title && trigger == invocation.action
}

/// A key may hold a secret.
fn is_path(reading: &Reading, path: &str, shown: &str) -> bool {
    path == shown || (reading.may_hide(path) && shown.contains("(secret)"))
}

/// What is in one of two lists alone is shown on its side.
fn elements(reading: &Reading, place: &Place, shown: &[&Json], what: &str) {
    for (side, this, other) in
        [("before", &place.before, &place.after), ("after", &place.after, &place.before)]
    {
        let texts: String =
            shown.iter().map(|one| format!("{} {}", one[side], one["lines"])).collect();
        let is_cut = ["truncated", "part", "lines"].iter().any(|is| texts.contains(is));
        let is_hidden = texts.contains("sensitive");
        for text in only_in(this, other) {
            let inside = [
                Json::from(&*text).to_string(),
                Json::from(Json::from(&*text).to_string()).to_string(),
            ];
            let is_there = inside.iter().any(|text| texts.contains(&text[1..text.len() - 1]));
            let may_miss = is_cut || is_hidden || reading.may_hide(&text) || *this == Side::Unknown;
            assert!(is_there || may_miss, "{what}: {side} has no {text:?}: {place:#?} {shown:#?}");
        }
    }
}

/// A text's difference has each of its lines that only one side has.
fn lines(reading: &Reading, place: &Place, one: &Json, what: &str) {
    let shown = list(&one["lines"]);
    let of = |side: &Side| match side {
        Side::Is(Json::String(text)) => text.clone(),
        _ => String::new(),
    };
    let (before, after) = (of(&place.before), of(&place.after));
    let is_document = |text: &str| text.trim_start().starts_with(['{', '[']);
    if shown.is_empty()
        || [&before, &after].into_iter().any(|text| is_document(text) || reading.may_hide(text))
    {
        return;
    }
    let sides = [("removed", &before, &after), ("added", &after, &before)];
    for (kind, this, other) in sides {
        let shown: Vec<&str> = shown.iter().filter_map(|line| line[kind].as_str()).collect();
        for line in this.split_inclusive('\n') {
            let line = line.strip_suffix('\n').unwrap_or(line);
            let is_long = line.chars().count() > 400;
            let is_in_both = other.split('\n').any(|other| other == line);
            let is_shown = shown.iter().any(|shown| shown.starts_with(line));
            assert!(is_long || is_in_both || is_shown, "{what}: {line:?} is not in {one:#?}");
        }
    }
}

/// Each change with its action, each attribute, what is counted, what drifted, what does not hold.
pub(super) fn in_the_note(reading: &Reading, api: &Json, note: &str, what: &str) {
    no_secret(reading, note, what);
    let note = note.replace('\u{200b}', "");
    let (table, block) = note.split_once("```diff\n").unwrap_or((&note, ""));
    let counts = ["add", "change", "destroy"];
    let counts =
        counts.map(|name| reading.counts.get(name).map_or("0".to_owned(), Json::to_string));
    let row = format!("| {} | [run]", counts.join(" | "));
    assert!(table.contains(&row), "{what}: {row} is not in {table}");
    let told = note.replace("&#40;", "(").replace("&#41;", ")");
    assert!(told.contains(&sentence(reading)), "{what}: {note}");

    let lines: Vec<&str> = block.lines().take_while(|line| *line != "```").collect();
    // Each head with the lines below it.
    let mut parts: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in lines {
        let said = line.strip_prefix("-/+ ").or_else(|| line.get(2..));
        match (said, parts.last_mut()) {
            (Some(said), Some((_, below))) if said.starts_with(' ') => below.push(line),
            (Some(said), _) if !said.is_empty() => parts.push((line, Vec::new())),
            _ => {}
        }
    }
    let mut told_together = HashSet::new();
    for change in &reading.changes {
        let sign = match change.action.as_object() {
            Some(_) => "-/+",
            None if change.action == "create" => "+",
            None if change.action == "delete" => "-",
            None if change.action == "read" => " ",
            None => "!",
        };
        let head = format!("{sign} {} {}", visible(&change.title), change.words);
        let below = match parts.iter().position(|(line, _)| line.starts_with(&head)) {
            Some(at) => parts.remove(at).1,
            None => {
                let of_each = format!(" resources, each of which {}", change.words);
                let its = format!("{sign}   {}", visible(&change.title));
                let at = parts
                    .iter()
                    .position(|(line, below)| line.contains(&of_each) && below.contains(&&*its));
                let at = at.unwrap_or_else(|| panic!("{what}: {head:?} is not in {note}"));
                told_together.insert(parts[at].0);
                parts[at].1.clone()
            }
        };
        if change.action == "read" {
            continue;
        }
        let one =
            list(&api["resources"]).into_iter().find(|one| title(one) == change.title).unwrap();
        for attribute in list(&one["attributes"]) {
            value_in(&below, &attribute, what);
        }
    }
    for invocation in &reading.invocations {
        let head = format!("! {} {}", visible(&invocation.title), visible(&invocation.words));
        let at = parts.iter().position(|(line, _)| *line == head);
        let (_, below) =
            parts.remove(at.unwrap_or_else(|| panic!("{what}: no {head:?} in {note}")));
        let one = list(&api["invocations"]);
        let one = one.iter().find(|one| is_invocation(one, invocation)).unwrap();
        list(&one["config"]).iter().for_each(|attribute| value_in(&below, attribute, what));
    }
    for output in list(&api["outputs"]) {
        let all: Vec<&str> = parts.iter().flat_map(|(_, below)| below.iter().copied()).collect();
        value_in(&all, &output, what);
    }
    for check in &reading.failing_checks {
        let at = parts.iter().position(|(line, _)| *line == format!("! {check} failed"));
        parts.remove(at.unwrap_or_else(|| panic!("{what}: {check} is not in {note}")));
    }
    if !reading.drift.is_empty() {
        let at = parts.iter().position(|(line, _)| line.contains("changed outside"));
        let (_, below) = parts.remove(at.unwrap_or_else(|| panic!("{what}: no drift in {note}")));
        let drift: Vec<String> =
            reading.drift.iter().map(|one| format!("    {}", visible(one))).collect();
        assert_eq!(below, drift, "{what}");
    }
    parts.retain(|(line, _)| !told_together.contains(line));
    let others = ["Changes to outputs:", "no longer sensitive", "only part"];
    parts.retain(|(line, _)| !others.iter().any(|other| line.contains(other)));
    assert!(parts.is_empty(), "{what}: {parts:#?} is not in the plan");
}

/// A line has the attribute, and both of its sides unless they are too long for one.
fn value_in(lines: &[&str], attribute: &Json, what: &str) {
    let path = visible(path(attribute));
    let said = |line: &&str| line[2..].strip_prefix("  ")?.strip_prefix(&*path).map(str::to_owned);
    let said: Vec<String> = lines
        .iter()
        .filter_map(said)
        .filter(|rest| rest.starts_with(" = ") || rest.starts_with(':'))
        .collect();
    assert!(!said.is_empty(), "{what}: no {attribute:#?} in {lines:#?}");
    for line in list(&attribute["lines"]) {
        for (kind, sign) in [("removed", '-'), ("added", '+')] {
            let Some(text) = line[kind].as_str() else { continue };
            // What is long may be cut, and spaces at the end are written out.
            let begin: String = visible(text.trim_end()).chars().take(200).collect();
            let is_told = lines.iter().any(|one| one.contains(sign) && one.contains(&begin));
            assert!(is_told, "{what}: {line} is not in {lines:#?}");
        }
    }
    // Of what becomes of nobody knows what, the note shows the beginning.
    let long =
        |side: &str| if side == "before" && attribute["after"] == "unknown" { 70 } else { 100 };
    for side in ["before", "after"] {
        let Some(text) = attribute[side]["truncated"][0].as_str() else { continue };
        let begin: String = visible(text).chars().take(long(side)).collect();
        let is_told = lines.iter().any(|one| one.contains(&begin));
        assert!(is_told, "{what}: {side} of {attribute:#?} is not in {lines:#?}");
    }
    let is = |side: &str| match &attribute[side] {
        Json::String(word) if word == "absent" => Some("null".to_owned()),
        Json::String(word) if word == "sensitive" => Some("(sensitive value)".to_owned()),
        Json::String(word) if word == "unknown" => Some("(known after apply)".to_owned()),
        value => value["known"].as_str().map(visible).filter(|text| text.chars().count() < 300),
    };
    let (Some(before), Some(after)) = (is("before"), is("after")) else { return };
    if !list(&attribute["lines"]).is_empty() {
        return;
    }
    let has = |text: &str| said.iter().any(|rest| rest.starts_with(&format!(" = {text}")));
    let is_told = match (&attribute["before"], &attribute["after"]) {
        (Json::String(word), _) if word == "absent" => has(&after),
        (_, Json::String(word)) if word == "absent" => has(&before),
        (one, other) if one == other => has(&after),
        (_, Json::String(word)) if word == "unknown" && before.chars().count() > 70 => {
            let begin: String = before.chars().take(70).collect();
            let is_cut = said.iter().any(|rest| rest.contains(&format!("… -> {after}")));
            has(&format!("{before} -> {after}")) || (has(&begin) && is_cut)
        }
        _ => has(&format!("{before} -> {after}")) || (has(&before) && has(&after)),
    };
    assert!(is_told, "{what}: {attribute:#?} in {said:#?}");
}

/// All counts in words.
fn sentence(reading: &Reading) -> String {
    let count = |name: &str| reading.counts.get(name).map_or(0, |count| count.as_u64().unwrap());
    let of = |name: &str| (count(name) > 0).then(|| format!(", {} to {name}", count(name)));
    let outputs = match count("outputs") {
        0 => None,
        1 => Some(", 1 output".to_owned()),
        count => Some(format!(", {count} outputs")),
    };
    if reading.counts.is_empty() {
        return "No changes".to_owned();
    }
    let replaced = match count("replace") {
        0 => String::new(),
        1 => " (1 replacement)".to_owned(),
        count => format!(" ({count} replacements)"),
    };
    format!(
        "{} to add, {} to change, {} to destroy{replaced}",
        count("add"),
        count("change"),
        count("destroy")
    ) + &["import", "move", "forget", "invoke"].into_iter().filter_map(of).collect::<String>()
        + &outputs.unwrap_or_default()
}

/// The same, as a browser has it.
pub(super) fn on_the_page(reading: &Reading, api: &Json, page: &str, what: &str) {
    assert!(page.contains(&sentence(reading)), "{what}: {page}");
    let (_, page) = page.split_once("id=\"change-section\"").unwrap_or(("", ""));
    let (page, _) = page.split_once("</section>").unwrap_or((page, ""));
    no_secret(reading, &unescaped(page), what);
    let mut parts: Vec<&str> = page.split("<details class=\"resource").skip(1).collect();
    for change in &reading.changes {
        let of = |part: &str| (inside(part, "<code>"), inside(part, "<span class=\"dim\">"));
        let is_its = |part: &&str| {
            let (address, said) = of(part);
            address == visible(&change.title) && said.starts_with(&change.words)
        };
        let at = parts.iter().position(is_its);
        let part =
            parts.remove(at.unwrap_or_else(|| panic!("{what}: {change:#?} is not on {page}")));
        let one =
            list(&api["resources"]).into_iter().find(|one| title(one) == change.title).unwrap();
        rows(part, &list(&one["attributes"]), what);
    }
    for invocation in &reading.invocations {
        let is_its = |part: &&str| {
            inside(part, "<code>") == visible(&invocation.title)
                && inside(part, "<span class=\"dim\">") == visible(&invocation.words)
        };
        let at = parts.iter().position(is_its);
        let part =
            parts.remove(at.unwrap_or_else(|| panic!("{what}: no {invocation:#?} on {page}")));
        let one = list(&api["invocations"]);
        let one = one.iter().find(|one| is_invocation(one, invocation)).unwrap();
        rows(part, &list(&one["config"]), what);
    }
    if !list(&api["outputs"]).is_empty() {
        let at = parts.iter().position(|part| part.contains("»</span>"));
        let part = parts.remove(at.unwrap_or_else(|| panic!("{what}: no outputs on {page}")));
        rows(part, &list(&api["outputs"]), what);
    }
    assert_eq!(parts, Vec::<&str>::new(), "{what}: what is not in the plan");
    let page = unescaped(page);
    for one in
        reading.drift.iter().map(|one| visible(one)).chain(reading.failing_checks.iter().cloned())
    {
        assert!(page.contains(&one), "{what}: {one} is not on {page}");
    }
}

fn rows(part: &str, attributes: &[Json], what: &str) {
    let rows: Vec<&str> = part.split("<tr><th scope=\"row\">").skip(1).collect();
    assert_eq!(rows.len(), attributes.len(), "{what}: {part}");
    for (row, attribute) in rows.into_iter().zip(attributes) {
        assert_eq!(inside(row, "<code>"), visible(path(attribute)), "{what}");
        if !list(&attribute["lines"]).is_empty() {
            let lines = row.matches("<span class=\"").count();
            assert!(lines >= list(&attribute["lines"]).len(), "{what}: {row}");
            let shown = without_tags(row);
            for line in list(&attribute["lines"]) {
                for text in ["removed", "added"].iter().filter_map(|kind| line[kind].as_str()) {
                    let begin: String = visible(text.trim_end()).chars().take(200).collect();
                    assert!(shown.contains(&begin), "{what}: {line} is not in {row}");
                }
            }
            continue;
        }
        for side in ["before", "after"] {
            let shown = inside(row, &format!("class=\"{side}\">"));
            let wanted = match &attribute[side] {
                Json::String(word) if word == "absent" => "–".to_owned(),
                Json::String(word) if word == "sensitive" => "(sensitive value)".to_owned(),
                Json::String(word) if word == "unknown" => "(known after apply)".to_owned(),
                value => match value["known"].as_str() {
                    Some(known) => visible(known),
                    None => {
                        let begin = value["truncated"][0].as_str().unwrap_or_default();
                        let begin: String = visible(begin).chars().take(100).collect();
                        assert!(shown.starts_with(&begin), "{what}: {attribute:#?} in {shown}");
                        continue;
                    }
                },
            };
            assert_eq!(shown, wanted, "{what}: {attribute:#?}");
        }
    }
}

/// What is left out for want of room is counted.
pub(super) fn counted(whole: &Json, cut: &Json, what: &str) {
    assert_eq!(whole["delta"], cut["delta"], "{what}");
    let of = |change: &Json, field: &str, cut: &str| {
        list(&change[field]).len() as u64 + change[cut].as_u64().unwrap()
    };
    assert_eq!(
        of(whole, "resources", "resources_cut"),
        of(cut, "resources", "resources_cut"),
        "{what}"
    );
    for (whole, cut) in list(&whole["resources"]).iter().zip(list(&cut["resources"])) {
        let [whole, cut] =
            [whole, &cut].map(|one| (title(one), of(one, "attributes", "attributes_cut")));
        assert_eq!(whole, cut, "{what}");
    }
}

/// Nothing that is marked, and nothing that is write-only.
fn no_secret(reading: &Reading, shown: &str, what: &str) {
    assert!(!shown.contains(WRITE_ONLY), "{what}: {shown}");
    for secret in &reading.secrets {
        assert!(!shown.contains(secret.as_str()), "{what}: {secret} is in {shown}");
    }
}

/// The text of a piece of a page.
fn without_tags(html: &str) -> String {
    let parts = html.split('<').enumerate();
    let text = parts.filter_map(|(at, part)| match at {
        0 => Some(part),
        _ => Some(part.split_once('>')?.1),
    });
    unescaped(&text.collect::<String>())
}

fn list(json: &Json) -> Vec<Json> {
    json.as_array().cloned().unwrap_or_default()
}

fn path(attribute: &Json) -> &str {
    attribute["path"].as_str().unwrap()
}

fn title(resource: &Json) -> String {
    let address = resource["address"].as_str().unwrap();
    match resource["deposed"].as_str() {
        Some(key) => format!("{address} (deposed object {key})"),
        None => address.to_owned(),
    }
}

/// What nobody would see, written out.
fn visible(text: &str) -> String {
    let shown = |sign: char| match sign {
        '\r' => "\\r".to_owned(),
        '\n' | '\t' => sign.to_string(),
        '\u{200b}' | '\u{202e}' => format!("\\u{:04x}", u32::from(sign)),
        sign if sign.is_control() => format!("\\u{:04x}", u32::from(sign)),
        sign => sign.to_string(),
    };
    text.chars().map(shown).collect()
}

/// The text after an element's beginning.
fn inside(html: &str, tag: &str) -> String {
    let (_, rest) = html.split_once(tag).unwrap_or_default();
    unescaped(rest.split('<').next().unwrap())
}

fn unescaped(html: &str) -> String {
    // The last one begins what is no other one.
    let entities =
        [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")];
    entities.iter().fold(html.to_owned(), |text, (entity, is)| text.replace(entity, is))
}
