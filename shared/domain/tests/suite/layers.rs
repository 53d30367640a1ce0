//! Keeps the layers of ARCHITECTURE.md: reads every manifest and source of the workspace, and
//! fails with the lines that are where they should not be. It stands with `domain` because that
//! builds fast.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Crates that bring an async runtime, HTTP or AWS.
const HEAVY: &[&str] = &[
    "tokio",
    "futures",
    "async-trait",
    "http",
    "hyper",
    "reqwest",
    "axum",
    "tower",
    "object_store",
    "rusqlite",
    "aws-config",
    "aws-smithy-types",
    "lambda_runtime",
];
/// How code names the crates of AWS.
const AWS_CRATES: &[&str] = &[
    "aws_sdk_",
    "aws_config",
    "aws_smithy_",
    "aws_lambda_events",
    "lambda_http",
    "lambda_runtime",
];
/// What has no place in `domain`: files, network, processes, clocks, chance, async.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "rand::",
    "tokio",
    "async fn",
    ".await",
];
/// The packages that may name a crate of AWS, besides the `main.rs` of a function.
const EDGES: &[&str] = &[
    "shared/store/",
    "shared/queue/",
    "shared/secrets/",
    "shared/setup/",
    "infra/local/",
    "infra/local-table/",
    "infra/bench/",
    "infra/aws/",
];

#[test]
fn domain_is_pure() {
    let heavy: Vec<_> = everything_below("gantry-domain")
        .into_iter()
        .filter(|name| HEAVY.contains(&name.as_str()) || name.starts_with("aws-sdk"))
        .collect();
    assert!(heavy.is_empty(), "gantry-domain depends, itself or by others, on {heavy:?}");
    let own = manifest("shared/domain").dependencies;
    assert!(own.iter().all(|name| !name.starts_with("gantry-")), "domain is the lowest: {own:?}");
    nowhere(|path| path.starts_with("shared/domain/src"), IMPURE);
}

#[test]
fn only_the_edges_name_aws() {
    let edge = |path: &str| EDGES.iter().any(|edge| path.starts_with(edge));
    nowhere(|path| !edge(path) && !is_test(path) && !is_main_of_function(path), AWS_CRATES);
    for folder in packages() {
        let aws: Vec<_> = manifest(&folder)
            .dependencies
            .into_iter()
            .filter(|name| name.starts_with("aws") || name.starts_with("lambda"))
            .collect();
        let main = format!("{folder}/src/main.rs");
        let has_main = is_main_of_function(&main) && root().join(&main).exists();
        let inside = format!("{folder}/");
        let may = edge(&inside) || is_test(&inside) || has_main;
        assert!(may || aws.is_empty(), "{folder}/Cargo.toml names {aws:?}");
    }
}

#[test]
fn only_gitlab_calls_gitlab() {
    let knows =
        |path: &str| path.starts_with("shared/gitlab/") || path.starts_with("infra/fake-gitlab/");
    nowhere(|path| !knows(path) && !is_test(path), &["/api/v4", "PRIVATE-TOKEN"]);
}

#[test]
fn functions_know_what_is_shared_and_not_each_other() {
    let names = |above: &str| -> BTreeSet<String> {
        let folders = packages().into_iter().filter(|folder| folder.starts_with(above));
        folders.map(|folder| manifest(&folder).name).collect()
    };
    let above_shared: BTreeSet<_> = &names("functions/") | &names("infra/");
    assert!(above_shared.contains("gantry-webhook") && above_shared.contains("gantry-local"));
    for folder in packages().into_iter().filter(|folder| !folder.starts_with("infra/")) {
        for dependency in manifest(&folder).dependencies {
            let wrong = above_shared.contains(&dependency);
            assert!(!wrong, "{folder}/Cargo.toml names {dependency}");
        }
    }
}

#[test]
fn a_function_links_no_more_than_it_needs() {
    for folder in packages().into_iter().filter(|folder| folder.starts_with("functions/")) {
        let linked = linked(&manifest(&folder).name);
        assert!(!linked.contains("rusqlite"), "{folder} compiles SQLite");
        assert!(!linked.contains("dynoxide-rs"), "{folder} has a database of its own");
    }
    let webhook = linked("gantry-webhook");
    assert!(
        webhook.contains("aws-sdk-sqs") && !webhook.contains("aws-sdk-dynamodb"),
        "{webhook:?}"
    );
    let store = linked("gantry-store");
    assert!(!store.contains("gantry-queue"), "records know no queue");
}

#[test]
fn a_main_is_thin() {
    for (path, text) in sources().iter().filter(|(path, _)| is_main_of_function(path)) {
        let lines = text.lines().count();
        assert!(lines <= 100, "{path} has {lines} lines: only what needs no test belongs there");
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_not_allowed() {
    nowhere(|_| true, &["#[allow(", "#![allow("]);
}

/// Fails with every line of code (not of comments) in these files that has one of the words.
#[track_caller]
fn nowhere(among: impl Fn(&str) -> bool, words: &[&str]) {
    let mut found = Vec::new();
    let mut read = 0;
    for (path, text) in sources() {
        // This file has all the words.
        if !among(&path) || path == "shared/domain/tests/suite/layers.rs" {
            continue;
        }
        read += 1;
        for (number, line) in text.lines().enumerate() {
            let code = line.trim_start();
            if !code.starts_with("//") && words.iter().any(|word| has_word(code, word)) {
                found.push(format!("{path}:{}: {code}", number + 1));
            }
        }
    }
    assert!(read > 5, "the test reads only {read} files: it looks in the wrong place");
    assert!(found.is_empty(), "these words do not belong there:\n{}", found.join("\n"));
}

/// True when the word is in the line and no longer name ends in it (`rand::` is not `brand::`).
fn has_word(line: &str, word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !word.starts_with(in_name) || !line[..at].chars().next_back().is_some_and(in_name)
    })
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.starts_with("infra/scenarios/")
}

fn is_main_of_function(path: &str) -> bool {
    path.starts_with("functions/") && path.ends_with("/src/main.rs")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folders of the workspace's packages (`shared/domain`).
fn packages() -> Vec<String> {
    let mut found = Vec::new();
    for above in ["functions", "shared", "infra"] {
        for entry in fs::read_dir(root().join(above)).unwrap() {
            let folder = entry.unwrap().path();
            if folder.join("Cargo.toml").exists() {
                found.push(format!("{above}/{}", folder.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    assert!(found.len() > 12, "{found:?}");
    found
}

/// Every Rust file of the workspace, by its path from the root.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = packages().iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let short = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.insert(short, text);
            }
        }
    }
    found
}

/// What is built into a package: its dependencies, and those of the packages of this workspace
/// among them.
fn linked(package: &str) -> BTreeSet<String> {
    let all: BTreeMap<String, Vec<String>> = packages()
        .iter()
        .map(|folder| manifest(folder))
        .map(|manifest| (manifest.name, manifest.dependencies))
        .collect();
    let mut found = BTreeSet::new();
    let mut open = vec![package.to_owned()];
    while let Some(name) = open.pop() {
        for need in all.get(&name).into_iter().flatten() {
            if found.insert(need.clone()) {
                open.push(need.clone());
            }
        }
    }
    found
}

struct Manifest {
    name: String,
    /// What is built into the package: tests may need anything.
    dependencies: Vec<String>,
}

fn manifest(folder: &str) -> Manifest {
    let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let (mut name, mut dependencies) = (String::new(), Vec::new());
    let mut section = "";
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line;
            let table = section.strip_prefix("[dependencies.").and_then(|s| s.strip_suffix(']'));
            dependencies.extend(table.map(str::to_owned));
        } else if let Some((key, value)) = line.split_once('=') {
            let key = key.split('.').next().unwrap_or_default().trim();
            if section == "[package]" && key == "name" {
                name = value.trim().trim_matches('"').to_owned();
            } else if section.ends_with("dependencies]") && !section.contains("dev-") {
                dependencies.push(key.to_owned());
            }
        }
    }
    Manifest { name, dependencies }
}

/// Every package that the named one needs, as the lock file has it (what its tests need included).
fn everything_below(package: &str) -> BTreeSet<String> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let mut needs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = "";
    for line in lock.lines() {
        if let Some(name) = line.strip_prefix("name = ") {
            current = name.trim_matches('"');
        } else if let Some(name) = line.strip_prefix(" \"") {
            let name = name.split(['"', ' ']).next().unwrap_or_default();
            needs.entry(current).or_default().push(name);
        }
    }
    let mut found = BTreeSet::new();
    let mut open = vec![package];
    while let Some(name) = open.pop() {
        for need in needs.get(name).into_iter().flatten() {
            if found.insert((*need).to_owned()) {
                open.push(need);
            }
        }
    }
    assert!(found.len() > 10, "the lock file was not understood");
    found
}
