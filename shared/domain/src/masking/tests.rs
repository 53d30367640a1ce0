//! What is masked, in which forms, and what is not.

use super::{
    secret::{decoded, is_long_enough, percent_encoded},
    *,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use proptest::prelude::*;
use serde_json::json;

fn mask(secret: &str, text: &str) -> String {
    Masker::new([secret]).mask(text)
}

#[test]
fn a_secret_is_found_however_it_is_written() {
    insta::assert_snapshot!(mask("hunter22", "password=hunter22!"), @"password=(secret)!");
    insta::assert_snapshot!(mask("a\"b<c>dé", r#"{"p":"a\"b\u003cc\u003edé"}"#), @r#"{"p":"(secret)"}"#);
    insta::assert_snapshot!(mask("p@ss/word", "https://u:p%40ss%2Fword@host"), @"https://u:(secret)@host");
    assert_eq!(mask("key line one\nkey line two\nx\n", "  key line two\n  x"), "  (secret)\n  x");
}

#[test]
fn a_secret_is_found_in_documents_that_are_texts_of_documents() {
    let mut text = "say \"hunter\\22\"".to_owned();
    let masker = Masker::new([text.as_str()]);
    for _ in 0..3 {
        text = json!({ "p": text }).to_string();
        let masked = masker.mask(&text);
        assert!(masked.contains(MASK) && !masked.contains("hunter"), "{masked}");
    }
}

#[test]
fn short_values_stay() {
    assert_eq!(mask("true", "true"), "true");
    assert_eq!(mask("äöüäö", "äöüäö"), "äöüäö");
    assert_eq!(mask("äöüäöü", "äöüäöü"), MASK);
}

#[test]
fn overlapping_secrets_leave_nothing() {
    assert_eq!(Masker::new(["abcdef", "defghi"]).mask("xabcdefghiy"), "x(secret)y");
    assert_eq!(Masker::new(["abcdef", "abcdefgh"]).mask("abcdefgh"), MASK);
}

#[test]
fn debug_shows_no_secret() {
    assert!(!format!("{:?}", Masker::new(["hunter22"])).contains("hunter22"));
}

#[test]
fn a_stream_shows_lines_at_once() {
    let masker = Masker::new(["hunter22"]);
    let mut stream = masker.stream();
    assert_eq!(stream.push("creating\nhun"), "creating\n");
    assert_eq!(stream.push("ger\n"), "hunger\n");
    assert_eq!(stream.push("hunter"), "");
    assert_eq!(stream.push("22 done"), "(secret) done");
    assert_eq!(stream.finish(), "");
}

#[test]
fn values_inside_a_document_are_secrets_too() {
    let json = r#"{"username":"app","password":"correct-horse-1","pin":48151623,"n":{"l":["pass\\/w@rd"]}}"#;
    let masker = Masker::new([json]);
    let shown = [
        "postgres://app:correct-horse-1@db/app",
        "pin 48151623, 4815",
        "https://u:pass%5c%2fw%40rd@h and pass%5C%2Fw%40rd",
        r#"{"a":"{\"b\":\"pass\\\\/w@rd\"}"}"#,
        &STANDARD.encode("user:correct-horse-1"),
        "password username",
    ];
    insta::assert_snapshot!(shown.map(|text| masker.mask(text)).join("\n"), @r#"
    postgres://app:(secret)@db/app
    pin (secret), 4815
    https://u:(secret)@h and (secret)
    {"a":"{\"b\":\"(secret)\"}"}
    dXNlcjp(secret)E=
    password username
    "#);
    let yaml = "db:\n  token: yaml-token-12345\n  list: [a, \"second one\"]\n  key: |\n    line one of it\n    line two of it\n";
    let masker = Masker::new([yaml]);
    let shown = ["Bearer yaml-token-12345", "'second one'", "+ line two of it", "list token"];
    insta::assert_snapshot!(shown.map(|text| masker.mask(text)).join("\n"), @"
    Bearer (secret)
    '(secret)'
    + (secret)
    list token
    ");
}

#[test]
fn what_base64_says_is_a_secret_too() {
    for value in ["aHVudGVyMjIK", "aHVudGVyMjIK\n", "{\"auth\": \"aHVudGVyMjIK\"}"] {
        assert_eq!(mask(value, "p=hunter22;"), "p=(secret);", "{value}");
    }
    assert_eq!(decoded("password").as_deref(), None);
}

#[test]
fn people_are_told_what_is_not_masked() {
    let weak = |value: &str| Weakness::of(value);
    assert_eq!(weak("4711"), Some(Weakness::TooShort));
    assert_eq!(weak(" 12345 \n"), Some(Weakness::TooShort));
    assert_eq!(weak("123456"), None);
    assert_eq!(weak(r#"{"user":"app","pin":4711}"#), Some(Weakness::NothingLongEnough));
    assert_eq!(weak("user: app\npin: 4711\n"), Some(Weakness::NothingLongEnough));
    assert_eq!(weak(r#"{"user":"app","password":"hunter22"}"#), None);
    assert_eq!(weak("{} not a document"), None);
}

#[test]
fn at_a_cut_the_beginning_of_a_secret_is_hidden() {
    let masker = Masker::new(["hunter22"]);
    assert_eq!(masker.mask_clipped("x hunte…"), "x (secret)…");
    assert_eq!(masker.mask_clipped("x hunter22h…"), "x (secret)h…");
    assert_eq!(masker.mask_clipped("x hunte"), "x hunte");
    assert_eq!(masker.mask_beginning("x hunter22hunt"), "x (secret)");
    let mut stream = masker.stream();
    assert_eq!(stream.push("a hunt") + &stream.finish_cut(), "a (secret)");
}

/// Texts over a small alphabet, so that secrets overlap and repeat often.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof!["[abü\n]{6,12}", "[a-c\"<]{6,9}", "\\PC{6,20}"]
}

proptest! {
    #[test]
    fn pieces_give_what_the_whole_gives(
        secrets in prop::collection::vec(secret(), 1..4),
        pieces in prop::collection::vec(prop_oneof!["[abü\n]{0,8}", "[a-c\"<]{0,5}"], 0..12),
        inserted in any::<prop::sample::Index>(),
    ) {
        let masker = Masker::new(secrets.iter().map(String::as_str));
        let mut pieces = pieces;
        // Whole secrets, cut at an arbitrary place.
        for secret in &secrets {
            let cut = inserted.index(secret.len());
            if secret.is_char_boundary(cut) {
                pieces.push(secret[..cut].to_owned());
                pieces.push(secret[cut..].to_owned());
            }
        }
        let mut stream = masker.stream();
        let mut out: String = pieces.iter().map(|piece| stream.push(piece)).collect();
        out += &stream.finish();
        prop_assert_eq!(out, masker.mask(&pieces.concat()));
        // The same where the stream stops after each piece, and a cut hides what a cut hides.
        let mut kept = Suspended::default();
        let mut out = String::new();
        for piece in &pieces {
            let mut stream = MaskStream::resume(masker.clone(), kept);
            out += &stream.push(piece);
            kept = stream.suspend();
        }
        out += &MaskStream::resume(masker.clone(), kept).finish_cut();
        prop_assert_eq!(out, masker.mask_beginning(&pieces.concat()));
    }

    #[test]
    fn any_secret_is_taken(secret in "(\\PC|[\\[\\]{}:,&*!|>'\"%@`#\n -]){0,60}", text in "\\PC{0,60}") {
        let masker = Masker::new([secret.as_str()]);
        let _ = masker.mask(&text);
        let _ = Weakness::of(&secret);
    }

    #[test]
    fn no_form_of_a_secret_survives(secret in "\\PC{6,30}", before in "[a-z]{0,5}", after in "[a-z]{0,5}") {
        prop_assume!(is_long_enough(secret.trim()));
        let masker = Masker::new([secret.as_str()]);
        let whole = format!("{before}{secret}{after}");
        let encoded = [
            whole.clone(),
            serde_json::Value::from(whole.as_str()).to_string(),
            STANDARD.encode(&whole),
            URL_SAFE_NO_PAD.encode(&whole),
            percent_encoded(&whole),
        ];
        for text in encoded {
            prop_assert!(masker.mask(&text).contains(MASK), "{}", text);
        }
    }

    #[test]
    fn a_text_without_secrets_is_unchanged(text in "[0-9 \n]{0,60}") {
        prop_assert_eq!(Masker::new(["hunter22"]).mask(&text), text);
    }
}
