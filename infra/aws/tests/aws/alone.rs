//! Functions that cannot work say so when they start, in one line with the name of what is missing.

use gantry_aws::{Cloud, functions::package, tools};
use std::{
    collections::BTreeMap,
    io::Read as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Variables that have a meaning when they are missing.
const OPTIONAL: &[&str] = &[
    "GANTRY_GITLAB_CA",
    "GANTRY_ADMIN_CIDRS",
    "GANTRY_RUNNERS",
    "GANTRY_COMPARE_EVERY",
    "GANTRY_COMPARE_CALLS",
];
const ADDRESS: &str = "GANTRY_PUBLIC_URL";
/// Those that are called by address take it from the request where none is set.
const NEED_THE_ADDRESS: &[&str] = &["Scheduler", "Publisher"];

/// What the function says when it is started like this, which must be its end.
fn said(function: &str, variables: &BTreeMap<String, String>) -> String {
    let program = tools::program(&package(function)).unwrap();
    let mut child = Command::new(program)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{function} starts all the same");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(!status.success());
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_named_when_a_function_starts() {
    let cloud = Cloud::deploy("alone").await.unwrap();
    let one_line = |function: &str, variables: &BTreeMap<String, String>, name: &str| {
        let text = said(function, variables);
        assert_eq!(text.lines().count(), 1, "{function} without {name} says:\n{text}");
        assert!(text.contains(name) && text.contains(r#""level":"ERROR""#), "{name}: {text}");
    };
    let mut checked = 0;
    for function in cloud.lambda.names() {
        let variables = cloud.lambda.variables(&function).unwrap();
        let own = variables.keys().filter(|name| name.starts_with("GANTRY_"));
        let is_needed = |name: &str| match name {
            ADDRESS => NEED_THE_ADDRESS.contains(&function.as_str()),
            _ => !OPTIONAL.contains(&name),
        };
        for name in own.filter(|name| is_needed(name)) {
            let mut without = variables.clone();
            without.remove(name);
            one_line(&function, &without, name);
            checked += 1;
        }
        if variables.contains_key("GANTRY_TABLE") {
            let mut elsewhere = variables.clone();
            elsewhere.insert("GANTRY_TABLE".to_owned(), "no-such-table".to_owned());
            one_line(&function, &elsewhere, "no-such-table");
            checked += 1;
        }
    }
    assert!(checked > 25, "only {checked} things were left out");

    for (secret, functions) in [
        ("signing-keys", &["Scheduler", "Publisher", "Settings", "RunnerApi"][..]),
        ("sealing-key", &["Settings", "RunnerApi"]),
        ("admin-key", &["Settings"]),
    ] {
        let before = cloud.secret(secret).await.unwrap();
        cloud.set_secret(secret, " ").await.unwrap();
        for function in functions {
            one_line(function, &cloud.lambda.variables(function).unwrap(), secret);
        }
        cloud.set_secret(secret, &before).await.unwrap();
    }
}
