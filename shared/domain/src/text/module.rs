//! What is said of a module's runs.

use super::counted;
use crate::{module::TestName, protocol::LeftBehind};
use semver::Version;

/// Names listed in a sentence.
const NAMES: usize = 5;

/// What passed tests mean for the module's versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The version exists from now on.
    Made(Version),
    /// A merge would make it.
    WouldMake(Version),
    /// It exists already: its number is never used again.
    Exists(Version),
    /// The configuration names none, and no tag did.
    NoNumber,
}

/// How a module's run ended well: `3 tests passed; version 1.2.0 created`.
pub fn passed(tests: usize, outcome: &Outcome) -> String {
    let tests = match tests {
        0 => "No tests".to_owned(),
        tests => format!("{} passed", counted(tests, "test")),
    };
    let version = match outcome {
        Outcome::Made(number) => format!("version {number} created"),
        Outcome::WouldMake(number) => format!("merging creates version {number}"),
        Outcome::Exists(number) => format!("version {number} already exists"),
        Outcome::NoNumber => "no version because module_version is not set".to_owned(),
    };
    format!("{tests}; {version}")
}

/// Which tests failed: `2 of 5 tests failed: basic, large; 1 skipped`.
pub fn failed(tests: usize, failed: &[&TestName], skipped_count: usize) -> String {
    let names: Vec<&str> = failed.iter().take(NAMES).map(|name| name.as_str()).collect();
    let more = match failed.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let skipped = match skipped_count {
        0 => String::new(),
        skipped => format!("; {skipped} skipped"),
    };
    let all = counted(tests, "test");
    if failed.is_empty() {
        return format!("{skipped_count} of {all} did not run");
    }
    format!("{} of {all} failed: {}{more}{skipped}", failed.len(), names.join(", "))
}

/// Why a test did not run.
pub fn skipped(because: &TestName) -> String {
    format!("Skipped: {because} failed")
}

/// How a test ended that was to fail, and did.
pub fn failed_as_expected(summary: &str) -> String {
    format!("Failed as expected: {summary}")
}

/// Why a test failed that was to fail, and did not.
pub const DID_NOT_FAIL: &str = "Expected plan or apply to fail, but both succeeded";

/// Why a test failed whose destroy has left something where it was.
pub fn left_behind(left: &[LeftBehind]) -> String {
    let objects: Vec<_> = left.iter().take(NAMES).map(LeftBehind::to_string).collect();
    let more = match left.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("Left behind {}: {}{more}", counted(left.len(), "object"), objects.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said() {
        let version = Version::new(1, 2, 0);
        let name = |text: &str| text.parse::<TestName>().unwrap();
        let names: Vec<_> = ["a", "b", "c", "d", "e", "f"].into_iter().map(name).collect();
        let names: Vec<&TestName> = names.iter().collect();
        let all = [
            passed(3, &Outcome::Made(version.clone())),
            passed(1, &Outcome::WouldMake(version.clone())),
            passed(0, &Outcome::Exists(version)),
            passed(2, &Outcome::NoNumber),
            failed(5, &names[..2], 1),
            failed(6, &names, 0),
            failed(3, &[], 1),
            skipped(names[0]),
            failed_as_expected("Invalid value"),
            left_behind(&[
                LeftBehind { address: "a.b".to_owned(), id: Some("i-1".to_owned()) },
                LeftBehind { address: "a.c".to_owned(), id: None },
            ]),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        3 tests passed; version 1.2.0 created
        1 test passed; merging creates version 1.2.0
        No tests; version 1.2.0 already exists
        2 tests passed; no version because module_version is not set
        2 of 5 tests failed: a, b; 1 skipped
        6 of 6 tests failed: a, b, c, d, e and 1 more
        1 of 3 tests did not run
        Skipped: a failed
        Failed as expected: Invalid value
        Left behind 2 objects: a.b (i-1), a.c
        ");
    }
}
