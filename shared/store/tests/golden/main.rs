//! Records as they are kept. `golden/v<N>/` holds what builds of that version wrote; every one must
//! stay readable. A sample without a file gets one, and the test fails once.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod samples;

use gantry_store::scheduler::SlotEntry;
use samples::{id, run_id, samples, stack_id};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::PathBuf};

/// Raised when a record is written in another form. The folder before stays: it must be readable.
const VERSION: u32 = 1;

type Reader = dyn Fn(&str) -> Result<bool, serde_json::Error>;

/// A record as it is written, and whether a text is read as the same record.
struct Sample {
    name: &'static str,
    body: String,
    is_same: Box<Reader>,
}

fn sample<T>(name: &'static str, value: T) -> Sample
where
    T: Serialize + DeserializeOwned + PartialEq + 'static,
{
    let body = serde_json::to_string(&value).unwrap();
    let is_same =
        Box::new(move |text: &str| serde_json::from_str::<T>(text).map(|read| read == value));
    Sample { name, body, is_same }
}

fn golden(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("golden/v{version}"))
}

#[test]
fn every_record_is_written_as_it_was_and_read_back() {
    let mut made = Vec::new();
    for Sample { name, body, is_same } in samples() {
        assert!(is_same(&body).unwrap(), "{name} there and back");
        let written: Value = serde_json::from_str(&body).unwrap();
        let path = golden(VERSION).join(format!("{name}.json"));
        let Ok(file) = fs::read_to_string(&path) else {
            fs::create_dir_all(golden(VERSION)).unwrap();
            fs::write(&path, serde_json::to_string_pretty(&written).unwrap() + "\n").unwrap();
            made.push(name);
            continue;
        };
        let is_same = is_same(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(is_same, "{name} is read as something else than it was");
        let before: Value = serde_json::from_str(&file).unwrap();
        assert_eq!(written, before, "{name} is written in another form: raise VERSION");
    }
    assert!(
        made.is_empty(),
        "{made:?} were missing and are made now: look at them and commit them"
    );
}

#[test]
fn every_record_of_this_version_and_the_last_is_readable() {
    let samples = samples();
    for version in VERSION.saturating_sub(1)..=VERSION {
        let Ok(files) = fs::read_dir(golden(version)) else { continue };
        for file in files {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let sample = samples.iter().find(|sample| sample.name == name);
            let sample = sample.unwrap_or_else(|| panic!("{} has no sample", path.display()));
            let body = fs::read_to_string(&path).unwrap();
            let _as_it_is_read_now =
                (sample.is_same)(&body).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
}

#[test]
fn no_two_samples_have_the_same_name() {
    let samples = samples();
    let names: BTreeSet<&str> = samples.iter().map(|sample| sample.name).collect();
    assert_eq!(names.len(), samples.len());
}

#[test]
fn what_it_does_not_know_does_not_stop_a_reader() {
    for Sample { name, body, is_same } in samples() {
        let mut value: Value = serde_json::from_str(&body).unwrap();
        if let Some(fields) = value.as_object_mut() {
            fields.insert("new".into(), true.into());
            assert!(is_same(&value.to_string()).unwrap(), "{name}");
        }
    }
}

#[test]
fn a_place_in_the_room_from_before_pools_counts_as_started() {
    let before =
        r#"{"run": "run-1", "stack": "network", "taken": true, "at": "2026-01-02T03:04:05Z"}"#;
    let entry: SlotEntry = serde_json::from_str(before).unwrap();
    let expected = SlotEntry {
        run: run_id(),
        stack: stack_id(),
        pool: None,
        taken: true,
        started: u32::MAX,
        at: id("2026-01-02T03:04:05Z"),
    };
    assert_eq!(entry, expected);
}
