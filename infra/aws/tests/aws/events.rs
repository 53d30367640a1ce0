//! The sample events, each given to its function as `infra/events/README.md` says.

use gantry_aws::{Cloud, functions::package, tools};
use serde_json::{Value, json};
use std::process::Command;

/// What comes back: a status, or the messages that are to be kept.
const EVENTS: &[(&str, &str)] = &[
    ("webhook", "Webhook"),
    ("scheduler", "Scheduler"),
    ("scheduler-later", "Scheduler"),
    ("scheduler-timer", "Scheduler"),
    ("scheduler-build", "Scheduler"),
    ("publisher", "Publisher"),
    ("source", "Source"),
    ("settings", "Settings"),
    ("runner-api", "RunnerApi"),
];

/// The script needs nothing but the program.
#[test]
fn every_function_takes_its_sample_event_on_its_own() {
    let folder = tools::repository().join("infra/events");
    for (event, function) in EVENTS {
        let output = Command::new("python3")
            .arg(folder.join("invoke.py"))
            .arg(tools::program(&package(function)).unwrap())
            .arg(folder.join(event).with_extension("json"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{event}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Strangers can send anything to an address. Nothing of it may be an error of the function.
#[test]
fn every_function_that_takes_requests_refuses_what_is_none() {
    let folder = tools::repository().join("infra/events");
    let broken = tempfile::tempdir().unwrap();
    for (sample, function) in
        [("webhook", "Webhook"), ("settings", "Settings"), ("runner-api", "RunnerApi")]
    {
        let sample = std::fs::read(folder.join(sample).with_extension("json")).unwrap();
        let sample: Value = serde_json::from_slice(&sample).unwrap();
        let with = |pointer: &str, value: Value| {
            let mut event = sample.clone();
            *event.pointer_mut(pointer).unwrap() = value;
            event
        };
        for event in [
            with("/headers", json!({ "a\nb": "c" })),
            with("/requestContext/domainName", json!("no host")),
            with("/rawQueryString", json!("a=\u{0}")),
            json!([]),
        ] {
            let path = broken.path().join("event.json");
            std::fs::write(&path, event.to_string()).unwrap();
            let output = Command::new("python3")
                .arg(folder.join("invoke.py"))
                .arg(tools::program(&package(function)).unwrap())
                .arg(&path)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{function}, {event}: {said}");
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(answer["statusCode"], 400, "{function}, {event}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_function_takes_its_sample_event() {
    let cloud = Cloud::deploy("events").await.unwrap();
    cloud.set_secret("webhook-secrets", r#"{"token":"sample-secret"}"#).await.unwrap();
    for function in cloud.lambda.names() {
        cloud.lambda.spawn(&function).unwrap();
    }
    let port = cloud.lambda.address.rsplit(':').next().unwrap().to_owned();
    let folder = tools::repository().join("infra/events");
    let mut answers = Vec::new();
    for (event, function) in EVENTS {
        let mut command = Command::new(tools::folder().unwrap().join("cargo-lambda"));
        command
            .args(["lambda", "invoke", "--invoke-address", "127.0.0.1", "--invoke-port", &port])
            .arg("--data-file")
            .arg(folder.join(event).with_extension("json"))
            .arg(package(function))
            .current_dir(tools::repository());
        let output = tokio::task::block_in_place(|| command.output()).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{event}: {said}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let kept = answer["batchItemFailures"].as_array().map(Vec::len);
        answers.push(json!([event, kept.map_or(answer["statusCode"].clone(), Value::from)]));
    }
    // The two that wait are told that no GitLab is connected.
    assert_eq!(
        Value::from(answers),
        json!([
            ["webhook", 200],
            ["scheduler", 0],
            ["scheduler-later", 0],
            ["scheduler-timer", 0],
            ["scheduler-build", 0],
            ["publisher", 0],
            ["source", 1],
            ["settings", 200],
            ["runner-api", 401],
        ])
    );
    let samples = std::fs::read_dir(folder).unwrap();
    let samples = samples.filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "json")
    });
    assert_eq!(samples.count(), EVENTS.len(), "a sample that nobody tries");
    assert_eq!(cloud.forbidden_calls().unwrap(), [].into());
}
