//! Nothing that leaves a run holds a secret, wherever it was planted, also one that the runner did
//! not know when it read, took apart and cut what it sent.
//!
//! No secret shares a character with what stands around it, so that each part of one that got
//! through is seen, as it is and as it was written.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gantry_domain::{
    masking::{MaskStream, Masker, Suspended},
    plan::{Change, Limits},
    stack::Tool,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// Part of every escape and of every document: they give nothing away alone.
fn is_common(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_whitespace() || matches!(c, '\\' | '"' | '{')
}

/// How many characters of a secret in a row are a part of it. Numbers stand in plans anyway.
fn part_length(secret: &str) -> usize {
    if secret.bytes().all(|byte| byte.is_ascii_digit()) { 4 } else { 3 }
}

/// The parts of a secret that none but a secret has, and the whole of it.
fn parts(secret: &str) -> Vec<String> {
    let chars: Vec<char> = secret.chars().collect();
    let windows = chars.windows(part_length(secret));
    let telling = windows.filter(|window| !window.iter().any(|c| is_common(*c)));
    let whole = Some(secret.to_owned()).filter(|secret| !secret.chars().all(is_common));
    telling.map(|window| window.iter().collect()).chain(whole).collect()
}

/// Without the percent signs of an address.
fn of_address(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => bytes.extend([&[byte], &part.as_bytes()[2..]].concat()),
            None => bytes.extend([b"%", part.as_bytes()].concat()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The part of a secret that a text shows: as it is, in an address, in JSON and in base64.
fn shown(text: &str, secrets: &[String]) -> Option<String> {
    let parts: Vec<String> = secrets.iter().flat_map(|secret| parts(secret)).collect();
    let is_in = |text: &str| parts.iter().find(|part| text.contains(*part)).cloned();
    let in_base64 = || {
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
        let runs = text.split(|c| !is_base64(c)).filter(|run| run.len() >= 8);
        runs.flat_map(|run| (0..4).map(move |from| &run[from..])).find_map(|run| {
            let bytes = STANDARD.decode(&run[..run.len() / 4 * 4]).ok()?;
            is_in(&String::from_utf8_lossy(&bytes))
        })
    };
    is_in(text).or_else(|| is_in(&of_address(text))).or_else(in_base64).or_else(|| {
        match serde_json::from_str(text).ok()? {
            Json::Number(_) => None,
            document => shown_in(&document, secrets),
        }
    })
}

/// The same for the texts and names of a document.
fn shown_in(document: &Json, secrets: &[String]) -> Option<String> {
    match document {
        Json::String(text) => shown(text, secrets),
        Json::Array(items) => items.iter().find_map(|item| shown_in(item, secrets)),
        Json::Object(members) => members
            .iter()
            .find_map(|(name, member)| shown(name, secrets).or_else(|| shown_in(member, secrets))),
        Json::Null | Json::Bool(_) | Json::Number(_) => None,
    }
}

fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Z]{6,9}",
        "[A-Z]{20,60}",
        "[1-9][0-9]{5,12}",
        r#"[!#$%&'()*+;<>?@^_`|~{\\"-]{6,12}"#,
        r#"[A-Z][A-Z %'\\"$&<{]{4,18}[A-Z]"#,
        "[А-ЯÄß✓日本🔑]{6,12}",
        // A key of several lines.
        "[A-Z]{6,9}(\n[A-Z%\"\\\\✓]{6,9}){1,3}\n?",
    ]
}

/// In one of the ways in which a secret may be written.
fn written(secret: &str, way: usize) -> String {
    let json = |text: &str| json!(text).to_string().trim_matches('"').to_owned();
    match way {
        0 => secret.to_owned(),
        1 => json!(secret).to_string(),
        2 => json(&json!({ "p": secret }).to_string()),
        3 => secret
            .bytes()
            .map(|byte| match byte {
                b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
                b => format!("%{b:02X}"),
            })
            .collect(),
        4 => STANDARD.encode(secret),
        _ => STANDARD.encode(format!("user:{secret}")),
    }
}

/// How many ways there are.
const WAYS: usize = 6;

/// A place for a secret, with noise around it.
fn planted(secret: String) -> impl Strategy<Value = Json> {
    let around = ("[a-z \n]{0,40}", "[a-z \n]{0,40}");
    (around, 0..11usize, 0..WAYS).prop_map(move |((before, after), place, way)| {
        let said = written(&secret, way);
        let text = format!("{before} {said} {after}");
        match place {
            0 => json!(secret),
            1 => json!(text),
            2 => json!({"a": [text, "x"], "b": {"c": secret}}),
            3 => json!(json!({"deep": {"p": text}, "z": 1}).to_string()),
            4 => json!({ secret.as_str(): 1 }),
            5 => json!(format!("{before}\n{said}\n{after}\nend\n")),
            6 => json!(["x", text, secret]),
            7 => json!(json!([json!({"p": secret}).to_string()]).to_string()),
            8 => json!(format!("{before}{secret}{after}")),
            9 => secret.parse::<u64>().map_or_else(|_| json!(said), |number| json!({"n": number})),
            _ => json!(format!("https://user:{said}@host/{after}")),
        }
    })
}

/// Two texts that begin alike, with a secret in what they share: only where they differ is shown.
fn behind_it((begin, one, other): (Json, String, String)) -> (Json, Json) {
    match begin {
        Json::String(begin) => (json!(format!("{begin}{one}")), json!(format!("{begin}{other}"))),
        begin => (begin, json!(other)),
    }
}

/// The two sides of an attribute: a secret on one of them, on both, or two of them.
fn sides(one: String, other: String) -> impl Strategy<Value = (Json, Json)> {
    let plain = || Just(json!("plain text")).boxed();
    prop_oneof![
        (planted(one.clone()), plain()),
        (plain(), planted(one.clone())),
        (planted(one.clone()), planted(other)),
        (planted(one.clone()), "[a-z\n]{0,30}", "[α-ω]{1,30}").prop_map(behind_it),
        (planted(one.clone()), planted(one)),
    ]
}

fn plan() -> impl Strategy<Value = (Vec<String>, Json, bool)> {
    (secret(), secret()).prop_flat_map(|(one, other)| {
        let secrets = vec![one.clone(), other.clone()];
        let attributes = prop::collection::vec(sides(one.clone(), other.clone()), 1..5);
        (Just(secrets), attributes, planted(other), any::<bool>(), any::<bool>()).prop_map(
            |(secrets, attributes, output, unknown, known)| {
                let side = |pick: fn(&(Json, Json)) -> &Json| {
                    let name = |at: usize| format!("a{at}");
                    let named = attributes
                        .iter()
                        .enumerate()
                        .map(|(at, both)| (name(at), pick(both).clone()));
                    Json::Object(named.collect())
                };
                let plan = json!({
                    "format_version": "1.2",
                    "resource_changes": [{
                        "address": format!("t.a[{:?}]", secrets[0]), "type": "t",
                        "change": {"actions": ["update"], "importing": {"id": secrets[1]},
                            "before": side(|both| &both.0), "after": side(|both| &both.1),
                            "after_unknown": {"u": unknown}},
                    }],
                    "output_changes": {"o": {"actions": ["create"], "after": output}},
                    "checks": [{"status": "fail", "instances": [
                        {"problems": [{"message": format!("not {}", secrets[0])}]}]}],
                });
                (secrets, plan, known)
            },
        )
    })
}

proptest! {
    #[test]
    fn no_change_shows_a_secret(
        (secrets, plan, known) in plan(), value_chars in 1usize..60, lines in 1usize..8,
    ) {
        // The runner knows one of them, or none.
        let runner = Masker::new(secrets.iter().take(usize::from(known)).map(String::as_str));
        let limits = Limits { value_chars, lines, ..Limits::default() };
        let mut change = Change::from_plan(plan.to_string().as_bytes(), Tool::Terraform, limits, &runner).unwrap().0;
        change.hide(&Masker::new(secrets.iter().map(String::as_str)));
        let kept = serde_json::to_value(&change).unwrap();
        prop_assert_eq!(shown_in(&kept, &secrets), None, "{:#}", kept);
    }

    #[test]
    fn what_a_plan_marks_is_nowhere_in_its_change(
        (secrets, mut plan, _) in plan(), value_chars in 1usize..60,
    ) {
        plan["output_changes"]["marked"] = json!({
            "actions": ["create"], "after": secrets, "after_sensitive": true,
        });
        let limits = Limits { value_chars, ..Limits::default() };
        let change = Change::from_plan(plan.to_string().as_bytes(), Tool::Terraform, limits, &Masker::default()).unwrap().0;
        let kept = serde_json::to_value(&change).unwrap();
        prop_assert_eq!(shown_in(&kept, &secrets), None, "{:#}", kept);
    }

    #[test]
    fn no_log_and_no_error_shows_a_secret(
        secrets in prop::collection::vec(secret(), 1..4),
        noise in prop::collection::vec(("[a-z \n]{0,20}", 0..WAYS), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        end in any::<prop::sample::Index>(),
    ) {
        let text: String = noise.iter().zip(secrets.iter().cycle())
            .map(|((noise, way), secret)| format!("{noise} {} ", written(secret, *way)))
            .collect();
        let wall = Masker::new(secrets.iter().map(String::as_str));
        // What was running may have been killed anywhere.
        let text = &text[..text.floor_char_boundary(end.index(text.len() + 1))];
        let cut = |at: usize| text.floor_char_boundary(at);
        let mut cuts: Vec<usize> = cuts.iter().map(|at| cut(at.index(text.len() + 1))).collect();
        cuts.sort_unstable();
        let (mut so_far, mut kept, mut at) = (String::new(), Suspended::default(), 0);
        for cut in cuts.into_iter().chain([text.len()]) {
            let mut stream = MaskStream::resume(wall.clone(), kept);
            so_far += &stream.push(&text[at..cut]);
            kept = stream.suspend();
            at = cut;
            prop_assert_eq!(shown(&so_far, &secrets), None, "{}", so_far);
        }
        so_far += &MaskStream::resume(wall.clone(), kept).finish_cut();
        prop_assert_eq!(shown(&so_far, &secrets), None, "{}", so_far);
        let error = wall.mask_clipped(&format!("{text}…"));
        prop_assert_eq!(shown(&error, &secrets), None, "{}", error);
    }
}
