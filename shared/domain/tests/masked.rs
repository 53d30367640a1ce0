//! Nothing that leaves a run holds a secret, wherever it was planted, also one that the runner did
//! not know when it read, took apart and cut what it sent.
//!
//! Secrets are capital letters here and everything else is not, so that each part of a secret that
//! got through is seen.

use gantry_domain::{
    masking::{MaskStream, Masker, Suspended},
    plan::{Change, Limits},
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// Three letters of a secret in a row.
fn part_of_secret(text: &str) -> Option<&str> {
    let capital = |c: &u8| c.is_ascii_uppercase();
    let at = text.as_bytes().windows(3).position(|three| three.iter().all(capital))?;
    text.get(at..)
}

fn secret() -> impl Strategy<Value = String> {
    prop_oneof!["[A-Z]{6,9}", "[A-Z]{20,60}"]
}

/// A place for a secret, with noise around it.
fn planted(secret: String) -> impl Strategy<Value = Json> {
    let around = ("[a-z \n]{0,40}", "[a-z \n]{0,40}");
    (around, 0..9usize).prop_map(move |((before, after), place)| {
        let text = format!("{before}{secret}{after}");
        match place {
            0 => json!(secret),
            1 => json!(text),
            2 => json!({"a": [text, "x"], "b": {"c": secret}}),
            3 => json!(json!({"deep": {"p": text}, "z": 1}).to_string()),
            4 => json!({ secret.as_str(): 1 }),
            5 => json!(format!("{before}\n{secret}\n{after}\nend\n")),
            6 => json!(["x", text, secret]),
            7 => json!(json!([json!({"p": secret}).to_string()]).to_string()),
            _ => json!(format!("https://user:{secret}@host/{after}")),
        }
    })
}

/// The two sides of an attribute: a secret on one of them, on both, or two of them.
fn sides(one: String, other: String) -> impl Strategy<Value = (Json, Json)> {
    let plain = || Just(json!("plain text")).boxed();
    prop_oneof![
        (planted(one.clone()), plain()),
        (plain(), planted(one.clone())),
        (planted(one.clone()), planted(other)),
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
        let mut change = Change::from_plan_json(&plan, limits, &runner).unwrap();
        change.hide(&Masker::new(secrets.iter().map(String::as_str)));
        let kept = serde_json::to_string(&change).unwrap();
        prop_assert_eq!(part_of_secret(&kept), None, "{}", kept);
    }

    #[test]
    fn what_a_plan_marks_is_nowhere_in_its_change(
        (secrets, mut plan, _) in plan(), value_chars in 1usize..60,
    ) {
        plan["output_changes"]["marked"] = json!({
            "actions": ["create"], "after": secrets, "after_sensitive": true,
        });
        let limits = Limits { value_chars, ..Limits::default() };
        let change = Change::from_plan_json(&plan, limits, &Masker::default()).unwrap();
        let kept = serde_json::to_string(&change).unwrap();
        prop_assert_eq!(part_of_secret(&kept), None, "{}", kept);
    }

    #[test]
    fn no_log_and_no_error_shows_a_secret(
        secrets in prop::collection::vec(secret(), 1..4),
        noise in prop::collection::vec("[a-z \n(]{0,20}", 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        end in any::<prop::sample::Index>(),
    ) {
        let text: String = noise.iter().zip(secrets.iter().cycle())
            .map(|(noise, secret)| format!("{noise}{secret}")).collect();
        let wall = Masker::new(secrets.iter().map(String::as_str));
        // What was running may have been killed anywhere.
        let text = &text[..end.index(text.len() + 1)];
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut shown, mut kept, mut at) = (String::new(), Suspended::default(), 0);
        for cut in cuts.into_iter().chain([text.len()]) {
            let mut stream = MaskStream::resume(wall.clone(), kept);
            shown += &stream.push(&text[at..cut]);
            kept = stream.suspend();
            at = cut;
            prop_assert_eq!(part_of_secret(&shown), None, "{}", shown);
        }
        shown += &MaskStream::resume(wall.clone(), kept).finish_cut();
        prop_assert_eq!(part_of_secret(&shown), None, "{}", shown);
        let error = wall.mask_clipped(&format!("{text}…"));
        prop_assert_eq!(part_of_secret(&error), None, "{}", error);
    }
}
