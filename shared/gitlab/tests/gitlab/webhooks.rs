//! Webhooks as GitLab servers of many ages sent them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gantry_domain::{MergeRequestIid, ProjectId, event::Hook};
use gantry_gitlab::webhook::{
    PreviousSecret, SecretAge, VerifyError, WebhookSecrets, delivery_id, parse, verify,
    which_secret,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use std::{collections::HashSet, path::Path};

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|&(name, value)| {
            let value = HeaderValue::from_str(value).expect("a header's value");
            (HeaderName::from_static(name), value)
        })
        .collect()
}

fn read(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/payloads");
    std::fs::read(folder.join(name)).expect("a sample")
}

fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/payloads");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the samples")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".json"))
        .collect();
    names.sort();
    assert!(names.len() > 20, "the samples are there");
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

fn event_of(name: &str) -> &'static str {
    match name {
        name if name.contains("system") && !name.contains("gitlabdocs") => "System Hook",
        name if name.starts_with("tag_push") => "Tag Push Hook",
        name if name.starts_with("push") => "Push Hook",
        name if name.starts_with("merge_request") => "Merge Request Hook",
        _ => "Note Hook",
    }
}

#[test]
fn every_sample_is_understood() {
    let lines: Vec<String> = samples()
        .iter()
        .map(|(name, body)| {
            let hook = parse(&headers(&[("x-gitlab-event", event_of(name))]), body);
            let project = hook.project().map_or("?".to_owned(), |id| id.to_string());
            format!("{name}: {project} {}", hook.describe())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_kind_of_a_ref_is_its_prefix() {
    let body = |git_ref: &str| {
        format!(r#"{{"object_kind":"push","ref":"{git_ref}","after":"a1","project_id":7}}"#)
    };
    // The test button of old servers sends a push body as tag hook.
    let tag_hook = headers(&[("x-gitlab-event", "Tag Push Hook")]);
    assert_eq!(
        parse(&tag_hook, body("refs/tags/v1/2").as_bytes()),
        Hook::Tag {
            project: ProjectId(7),
            tag: "v1/2".to_owned(),
            claimed_commit: Some("a1".to_owned())
        }
    );
    assert_eq!(
        parse(&tag_hook, body("refs/heads/a/b#c").as_bytes()),
        Hook::Push {
            project: ProjectId(7),
            branch: "a/b#c".to_owned(),
            claimed_head: Some("a1".to_owned())
        }
    );
    for git_ref in ["main", "refs/heads/", "refs/keep-around/x", ""] {
        let hook = parse(&tag_hook, body(git_ref).as_bytes());
        assert!(matches!(hook, Hook::Other { project: Some(ProjectId(7)), .. }), "{hook:?}");
    }
}

#[test]
fn an_annotated_tags_commit_is_not_the_tag_object() {
    let body = br#"{"object_kind":"tag_push","ref":"refs/tags/v1","after":"b2",
        "checkout_sha":"c3","project_id":7}"#;
    let hook = parse(&HeaderMap::new(), body);
    assert!(
        matches!(&hook, Hook::Tag { claimed_commit: Some(commit), .. } if commit == "c3"),
        "{hook:?}"
    );
}

#[test]
fn deleting_claims_no_head() {
    let zero = "0".repeat(40);
    let body = format!(
        r#"{{"object_kind":"tag_push","ref":"refs/tags/v1","after":"{zero}","checkout_sha":null,
        "project_id":7}}"#
    );
    let hook = parse(&HeaderMap::new(), body.as_bytes());
    assert!(matches!(hook, Hook::Tag { claimed_commit: None, .. }), "{hook:?}");
    let hook = parse(&HeaderMap::new(), body.replace("tags", "heads").as_bytes());
    assert_eq!(hook.describe(), "branch v1 deleted");
}

/// A new comment as GitLab 19 sends it, with other fields.
fn comment(change: impl FnOnce(&mut serde_json::Value)) -> Hook {
    let sample = read("note__gitlabdocs-19__merge_request_create.json");
    let mut body: serde_json::Value = serde_json::from_slice(&sample).expect("a sample");
    body["object_attributes"]["note"] = "One.\r\n/gantry plan network".into();
    body["object_attributes"]["discussion_id"] = "6a9c1750b37d513a43987b574953fceb50b03ce7".into();
    change(&mut body);
    parse(&headers(&[("x-gitlab-event", "Note Hook")]), body.to_string().as_bytes())
}

#[test]
fn a_new_comment_that_may_hold_a_command_says_where_it_is() {
    let Hook::Note { project: ProjectId(5), note: Some(hint) } = comment(|_| ()) else {
        panic!("{:?}", comment(|_| ()))
    };
    assert_eq!((hint.iid, hint.note), (MergeRequestIid(1), 1244));
    assert_eq!(hint.discussion.as_deref(), Some("6a9c1750b37d513a43987b574953fceb50b03ce7"));
    // Before 16.11 nothing said that it is new: then only new ones came.
    let old = comment(|body| {
        body["object_attributes"].as_object_mut().expect("an object").remove("action");
        body["object_attributes"].as_object_mut().expect("an object").remove("discussion_id");
    });
    let Hook::Note { note: Some(hint), .. } = old else { panic!("{old:?}") };
    assert_eq!(hint.discussion, None);
}

#[test]
fn no_other_comment_does() {
    let with = |name: &'static str, value: serde_json::Value| {
        comment(move |body| body["object_attributes"][name] = value)
    };
    for hook in [
        with("note", "see /gantry plan".into()),
        with("note", "LGTM".into()),
        with("action", "update".into()),
        with("noteable_type", "Issue".into()),
        with("system", true.into()),
        with("internal", true.into()),
        with("id", serde_json::Value::Null),
        comment(|body| body["merge_request"] = serde_json::Value::Null),
    ] {
        assert_eq!(hook, Hook::Note { project: ProjectId(5), note: None });
    }
    let none = comment(|body| {
        for name in ["project", "project_id"] {
            body[name] = serde_json::Value::Null;
        }
        body["object_attributes"]["project_id"] = serde_json::Value::Null;
    });
    assert!(matches!(none, Hook::Other { project: None, .. }), "{none:?}");
}

#[test]
fn the_project_is_found_wherever_it_is_named() {
    for body in [
        r#"{"object_kind":"merge_request","project":{"id":7},"object_attributes":{"iid":3}}"#,
        r#"{"object_kind":"merge_request","project":{},"object_attributes":{"iid":3,"target_project_id":7}}"#,
        r#"{"object_kind":"merge_request","project":null,"project_id":"7","object_attributes":{"iid":"3"}}"#,
        r#"{"event_name":"merge_request","project":{"id":"x"},"project_id":7,"object_attributes":{"iid":3,"action":9}}"#,
    ] {
        let wanted =
            Hook::MergeRequest { project: ProjectId(7), iid: MergeRequestIid(3), action: None };
        assert_eq!(parse(&HeaderMap::new(), body.as_bytes()), wanted, "{body}");
    }
}

#[test]
fn what_has_no_use_says_what_it_was() {
    let what = |event: &str, body: &str| {
        let headers =
            if event.is_empty() { HeaderMap::new() } else { headers(&[("x-gitlab-event", event)]) };
        parse(&headers, body.as_bytes()).describe()
    };
    let said = [
        what("Push Hook", ""),
        what("Push Hook", "deploy main now"),
        what("Push Hook", "[1]"),
        what("Push Hook", r#"{"text":"a custom template"}"#),
        what("Push Hook", r#"{"ref":"refs/heads/main","project_id":4,"after":"abc"}"#),
        what("", r#"{"text":"a custom template"}"#),
        what("", r#"{"object_kind":"push","ref":"refs/heads/main"}"#),
        what("Pipeline Hook", r#"{"object_kind":"pipeline","project":{"id":3}}"#),
        what("System Hook", r#"{"event_name":"repository_update","project_id":3}"#),
        what("X Hook", r#"{"object_kind":"something\nnew"}"#),
        what("Note Hook", r#"{"object_kind":"note"}"#),
        what("Merge Request Hook", r#"{"object_kind":"merge_request","object_attributes":[]}"#),
        what(
            "",
            r#"{"object_kind":"merge_request","object_attributes":{"iid":1},"external_approval_rule":{}}"#,
        ),
    ];
    insta::assert_snapshot!(said.join("\n"), @"
    Push Hook: the body is not a JSON object
    Push Hook: the body is not a JSON object
    Push Hook: the body is not a JSON object
    push with missing parts (a custom webhook template?)
    push to main (abc)
    a body without an event type
    push with missing parts (a custom webhook template?)
    pipeline
    repository_update
    somethingnew
    note with missing parts (a custom webhook template?)
    merge_request with missing parts (a custom webhook template?)
    external status check
    ");
}

proptest! {
    #[test]
    fn nothing_makes_parsing_fail(
        event in "\\PC{0,20}",
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "\\{\"(object_kind|event_name)\":\"(push|tag_push|note|merge_request)\",\"(ref|project|object_attributes)\":[\\[\\]{}0-9a\",:-]{0,30}\\}"
                .prop_map(String::into_bytes),
        ],
    ) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(event.as_bytes()) {
            headers.insert("x-gitlab-event", value.clone());
            headers.insert("webhook-id", value);
        }
        let hook = parse(&headers, &body);
        let id = delivery_id(&headers, &hook, &body);
        prop_assert!(id.as_str().parse::<gantry_domain::EventId>().is_ok());
    }
}

#[test]
fn gitlabs_own_delivery_id_comes_first() {
    let body = br#"{"object_kind":"push","ref":"refs/heads/main","after":"a1","project_id":7}"#;
    let id = |pairs: &[(&'static str, &str)]| {
        let headers = headers(pairs);
        delivery_id(&headers, &parse(&headers, body), body).to_string()
    };
    assert_eq!(id(&[("idempotency-key", "k-1"), ("webhook-id", "w-1")]), "w-1");
    assert_eq!(id(&[("idempotency-key", "k-1")]), "k-1");
    // These two are made anew for every attempt.
    let retried = [("x-gitlab-event-uuid", "u1"), ("x-gitlab-webhook-uuid", "u2")];
    assert_eq!(id(&retried), id(&[]));
    assert!(id(&[]).starts_with("push-"));
    assert_eq!(id(&[("webhook-id", "")]), id(&[]));
    assert!(id(&[("webhook-id", "../../a b")]).starts_with("id-"));
}

#[test]
fn old_servers_events_are_told_apart_by_content() {
    let mut seen = HashSet::new();
    let id = |body: &str| {
        let hook = parse(&HeaderMap::new(), body.as_bytes());
        delivery_id(&HeaderMap::new(), &hook, body.as_bytes())
    };
    for body in [
        r#"{"object_kind":"push","ref":"refs/heads/main","before":"a1","after":"a2","project_id":7}"#,
        r#"{"object_kind":"push","ref":"refs/heads/main","before":"a2","after":"a3","project_id":7}"#,
        r#"{"object_kind":"push","ref":"refs/heads/dev","before":"a1","after":"a2","project_id":7}"#,
        r#"{"object_kind":"push","ref":"refs/heads/main","before":"a1","after":"a2","project_id":8}"#,
        r#"{"object_kind":"tag_push","ref":"refs/tags/main","before":"a1","after":"a2","project_id":7}"#,
        r#"{"object_kind":"merge_request","project":{"id":7},"object_attributes":{"iid":3,"action":"open","updated_at":"x"}}"#,
        r#"{"object_kind":"merge_request","project":{"id":7},"object_attributes":{"iid":3,"action":"update","updated_at":"x"}}"#,
        r#"{"object_kind":"merge_request","project":{"id":7},"object_attributes":{"iid":3,"action":"update","updated_at":"y"}}"#,
        r#"{"object_kind":"merge_request","project":{"id":7},"object_attributes":{"iid":3,"action":"update","updated_at":"y","oldrev":"a1"}}"#,
        r#"{"object_kind":"merge_request","project":{"id":7},"object_attributes":{"iid":3,"action":"update","updated_at":"y","last_commit":{"id":"a2"}}}"#,
        r#"{"object_kind":"note","project_id":7,"object_attributes":{"id":1,"updated_at":"x"}}"#,
        r#"{"object_kind":"note","project_id":7,"object_attributes":{"id":1,"updated_at":"y"}}"#,
        r#"{"object_kind":"note","project_id":7}"#,
        "not JSON",
        "not JSON either",
    ] {
        assert!(seen.insert(id(body)), "seen before: {body}");
        assert_eq!(id(body), id(body));
    }
    // The same event, rendered anew: what does not identify it may differ.
    assert_eq!(
        id(r#"{"object_kind":"push","ref":"refs/heads/a","after":"a2","project_id":7}"#),
        id(
            r#"{"user_name":"n","ref":"refs/heads/a","object_kind":"push","after":"a2","project":{"id":7}}"#
        ),
    );
}

const SIGNING: &str = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=";
const ID: &str = "f5e5f430-f57b-4e6e-9fac-d9128cd7232f";
const SIGNATURE: &str = "v1,Q/Xs0AQwFCrSU+Jqzp4d4uGCI2fQlx3ls7vaEn5SqGY=";
const SIGNED_AT: i64 = 1_744_578_123;
const BODY: &[u8] = br#"{"object_kind":"push"}"#;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn secrets(token: &str, signing: Option<&str>) -> WebhookSecrets {
    WebhookSecrets {
        token: token.into(),
        previous_token: None,
        signing_token: signing.map(Into::into),
        previous_signing_token: None,
    }
}

fn previous(value: &str, expires_at: i64) -> Option<PreviousSecret> {
    Some(PreviousSecret { value: value.into(), expires_at: at(expires_at) })
}

fn signed(signature: &str) -> HeaderMap {
    headers(&[
        ("webhook-id", ID),
        ("webhook-timestamp", "1744578123"),
        ("webhook-signature", signature),
    ])
}

#[test]
fn the_documented_signature_is_right_and_any_change_makes_it_wrong() {
    let ours = secrets("t", Some(SIGNING));
    let check = |headers: &HeaderMap, body: &[u8], now| verify(headers, body, &ours, at(now));
    let good = signed(SIGNATURE);
    assert_eq!(check(&good, BODY, SIGNED_AT), Ok(()));
    assert_eq!(check(&good, BODY, SIGNED_AT + 300), Ok(()));
    assert_eq!(check(&good, BODY, SIGNED_AT - 300), Ok(()));
    assert_eq!(check(&good, BODY, SIGNED_AT + 301), Err(VerifyError::WrongTime));
    assert_eq!(check(&good, BODY, SIGNED_AT - 301), Err(VerifyError::WrongTime));

    for i in 0..BODY.len() {
        let mut body = BODY.to_vec();
        body[i] ^= 1;
        assert_eq!(check(&good, &body, SIGNED_AT), Err(VerifyError::WrongSignature));
    }
    for (name, value) in [("webhook-id", "other"), ("webhook-timestamp", "1744578124")] {
        let mut changed = good.clone();
        changed.insert(name, HeaderValue::from_static(value));
        assert_eq!(check(&changed, BODY, SIGNED_AT), Err(VerifyError::WrongSignature), "{name}");
    }
    for name in ["webhook-id", "webhook-timestamp"] {
        let mut without = good.clone();
        without.remove(name);
        assert_eq!(check(&without, BODY, SIGNED_AT), Err(VerifyError::BrokenSignature));
    }
    let mut broken = good.clone();
    broken.insert("webhook-timestamp", HeaderValue::from_static("soon"));
    assert_eq!(check(&broken, BODY, SIGNED_AT), Err(VerifyError::BrokenSignature));
}

#[test]
fn one_good_signature_among_several_is_enough() {
    let ours = secrets("t", Some(SIGNING));
    let check = |signature: &str| verify(&signed(signature), BODY, &ours, at(SIGNED_AT));
    let other = format!("v1,{}", STANDARD.encode([7; 32]));
    assert_eq!(check(&format!("{other} {SIGNATURE}")), Ok(()));
    assert_eq!(check(&format!("v2,xyz {SIGNATURE} v1,")), Ok(()));
    let cut = SIGNATURE.replace("GY=", "");
    for wrong in [&other, "v1,", "", "v2,xyz", &SIGNATURE.replace("v1", "v2"), &cut, "v1,AA=="] {
        assert_eq!(check(wrong), Err(VerifyError::WrongSignature), "{wrong}");
    }
}

#[test]
fn a_wrong_signature_is_not_made_good_by_the_token() {
    let ours = secrets("secret", Some(SIGNING));
    let mut request = signed(&SIGNATURE.replace('Q', "R"));
    request.insert("x-gitlab-token", HeaderValue::from_static("secret"));
    assert_eq!(verify(&request, BODY, &ours, at(SIGNED_AT)), Err(VerifyError::WrongSignature));
    // Without a key of ours the signature is somebody else's business.
    assert_eq!(verify(&request, BODY, &secrets("secret", None), at(SIGNED_AT)), Ok(()));
    // GitLab 19 sends id and time with every hook, signed or not.
    request.remove("webhook-signature");
    assert_eq!(verify(&request, BODY, &ours, at(SIGNED_AT + 999_999)), Ok(()));
}

#[test]
fn tokens_must_be_equal() {
    let ours = secrets("secret", None);
    let check = |token: &str| verify(&headers(&[("x-gitlab-token", token)]), BODY, &ours, at(0));
    assert_eq!(check("secret"), Ok(()));
    for wrong in ["", "Secret", "secre", "secret ", "secrets"] {
        assert_eq!(check(wrong), Err(VerifyError::WrongToken), "{wrong:?}");
    }
    let nothing = verify(&HeaderMap::new(), BODY, &ours, at(0));
    assert_eq!(nothing, Err(VerifyError::NothingSent));
}

#[test]
fn empty_and_broken_secrets_match_nothing() {
    let empty = headers(&[("x-gitlab-token", "")]);
    for token in ["", " "] {
        let mut ours = secrets(token, Some("whsec_"));
        ours.previous_token = previous(token, 100);
        assert!(verify(&empty, BODY, &ours, at(0)).is_err());
        assert!(verify(&HeaderMap::new(), BODY, &ours, at(0)).is_err());
    }
    for key in ["whsec_", "whsec_%%", "dGVzdA==", "whsec", ""] {
        let ours = secrets("t", Some(key));
        assert!(verify(&signed(SIGNATURE), BODY, &ours, at(SIGNED_AT)).is_err(), "{key}");
    }
}

#[test]
fn replaced_secrets_count_until_they_expire() {
    let mut ours = secrets("new", Some("whsec_bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmU="));
    ours.previous_token = previous("old", SIGNED_AT + 10);
    ours.previous_signing_token = previous(SIGNING, SIGNED_AT + 10);
    let old = headers(&[("x-gitlab-token", "old")]);
    let new = headers(&[("x-gitlab-token", "new")]);
    let which = |headers: &HeaderMap, now| which_secret(headers, BODY, &ours, at(now));
    assert_eq!(which(&new, SIGNED_AT), Ok(SecretAge::Current));
    for request in [&old, &signed(SIGNATURE)] {
        assert_eq!(which(request, SIGNED_AT + 9), Ok(SecretAge::Previous));
        assert!(which(request, SIGNED_AT + 10).is_err_and(VerifyError::may_be_our_secret));
    }
}

#[test]
fn generated_secrets_verify_what_they_sign() {
    let ours = WebhookSecrets::generate();
    let token = headers(&[("x-gitlab-token", ours.token.expose_secret())]);
    assert_eq!(verify(&token, BODY, &ours, at(0)), Ok(()));
    assert!(verify(&token, BODY, &WebhookSecrets::generate(), at(0)).is_err());
}
