//! Which tests of a module may start now, which never will, and what they come to when all have
//! ended.

use super::{TestCase, TestName};
use crate::{run::RunState, text};
use std::collections::BTreeMap;

/// What to do with the tests that have not ended. A test that is in neither list waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness<'a> {
    /// Everything that they depend on has passed. A test that already runs is among them: only
    /// the caller knows that it was started.
    pub start: Vec<&'a TestCase>,
    /// What they depend on has failed, with the failed test's name: one that they name themselves
    /// before one that others between them name, and the first in the order of `depends_on`.
    pub skip: Vec<(&'a TestCase, &'a TestName)>,
}

/// What follows for the tests from those that have ended (true: passed). Both lists have the order
/// of `tests`. A dependency that is not among the tests never passes unless it has ended.
pub fn ready<'a>(tests: &'a [TestCase], ended: &BTreeMap<TestName, bool>) -> Readiness<'a> {
    let open = || tests.iter().filter(|test| !ended.contains_key(&test.name));
    // Failures spread one dependency further each round, so the nearest is the one that is named.
    let mut causes: BTreeMap<&TestName, &TestName> = BTreeMap::new();
    loop {
        let cause = |test: &'a TestCase| {
            test.depends_on.iter().find_map(|needed| match ended.get(needed) {
                Some(passed) => (!passed).then_some(needed),
                None => causes.get(needed).copied(),
            })
        };
        let untold = open().filter(|test| !causes.contains_key(&test.name));
        let found: Vec<_> =
            untold.filter_map(|test| cause(test).map(|cause| (&test.name, cause))).collect();
        if found.is_empty() {
            break;
        }
        causes.extend(found);
    }
    let passed = |name: &TestName| ended.get(name) == Some(&true);
    Readiness {
        start: open().filter(|test| test.depends_on.iter().all(passed)).collect(),
        skip: open().filter_map(|test| Some((test, *causes.get(&test.name)?))).collect(),
    }
}

/// Which tests have ended, and whether they passed.
pub fn passed(states: &BTreeMap<TestName, RunState>) -> BTreeMap<TestName, bool> {
    let ended = states.iter().filter(|(_, state)| state.is_final());
    ended.map(|(name, state)| (name.clone(), *state == RunState::Finished)).collect()
}

/// Why a module's run has failed whose tests have ended like this, in one line; none when all have
/// passed. A canceled test was skipped.
pub fn failure(tests: &[TestCase], states: &BTreeMap<TestName, RunState>) -> Option<String> {
    let state = |test: &TestCase| states.get(&test.name).copied();
    let ended_badly = |state| !matches!(state, Some(RunState::Finished | RunState::Canceled));
    let failed: Vec<_> =
        tests.iter().filter(|test| ended_badly(state(test))).map(|test| &test.name).collect();
    let skipped = tests.iter().filter(|test| state(test) == Some(RunState::Canceled)).count();
    let is_any = !failed.is_empty() || skipped > 0;
    is_any.then(|| text::module::failed(tests.len(), &failed, skipped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> TestName {
        text.parse().unwrap()
    }

    /// `c: a b` is the test c, which depends on a and b.
    fn tests(lines: &[&str]) -> Vec<TestCase> {
        let test = |line: &&str| {
            let (own, needs) = line.split_once(':').unwrap();
            TestCase {
                name: name(own),
                project_root: String::new(),
                variables: BTreeMap::new(),
                negative: false,
                depends_on: needs.split_whitespace().map(name).collect(),
                tool: None,
                tool_version: None,
            }
        };
        lines.iter().map(test).collect()
    }

    /// What is ready when those with `+` passed and those with `-` failed.
    #[track_caller]
    fn check(lines: &[&str], ended: &str, expect: &str) {
        let ended = ended.split_whitespace().map(|text| (name(&text[1..]), text.starts_with('+')));
        let tests = tests(lines);
        let Readiness { start, skip } = ready(&tests, &ended.collect());
        let start = start.iter().map(|test| format!("start {}", test.name));
        let skip = skip.iter().map(|(test, cause)| format!("skip {} for {cause}", test.name));
        assert_eq!(start.chain(skip).collect::<Vec<_>>().join(", "), expect);
    }

    #[test]
    fn what_depends_on_nothing_starts_at_once() {
        check(&["a:", "b: a", "c:"], "", "start a, start c");
        check(&[], "", "");
    }

    #[test]
    fn what_passed_makes_room_for_what_waited() {
        let tests = ["a:", "b: a", "c: a b"];
        check(&tests, "+a", "start b");
        check(&tests, "+a +b", "start c");
        check(&tests, "+a +b +c", "");
    }

    #[test]
    fn a_failure_skips_everything_behind_it() {
        let tests = ["d: c", "c: b", "b: a", "a:", "e:"];
        check(&tests, "-a", "start e, skip d for a, skip c for a, skip b for a");
        check(&tests, "-a -b", "start e, skip d for b, skip c for b");
    }

    #[test]
    fn the_nearest_failure_is_named_and_then_the_first() {
        check(&["a:", "b:", "c: b a"], "-a -b", "skip c for b");
        check(&["a:", "b: a", "x:", "c: b x"], "-a -x", "skip b for a, skip c for x");
        check(&["a:", "b: a", "x:", "c: b x"], "-a", "start x, skip b for a, skip c for a");
    }

    #[test]
    fn a_failure_is_told_before_the_rest_has_ended() {
        check(&["a:", "b:", "c: a b"], "-b", "start a, skip c for b");
    }

    #[test]
    fn what_cannot_be_waits_and_does_not_hang() {
        check(&["a: b", "b: a", "c: gone"], "", "");
        check(&["a: b", "b: a x", "x:"], "-x", "skip a for x, skip b for x");
        check(&["c: gone"], "+gone", "start c");
    }

    #[test]
    fn a_run_passes_when_all_its_tests_have() {
        let tests = tests(&["a:", "b: a", "c:"]);
        let failure = |states: [RunState; 3]| {
            let names = ["a", "b", "c"].map(name);
            failure(&tests, &names.into_iter().zip(states).collect())
        };
        use RunState::{Canceled, Failed, Finished, Stopped};
        assert_eq!(failure([Finished; 3]), None);
        let words = |failed: &[&str], skipped| {
            let failed: Vec<_> = failed.iter().map(|text| name(text)).collect();
            Some(text::module::failed(3, &failed.iter().collect::<Vec<_>>(), skipped))
        };
        assert_eq!(failure([Failed, Canceled, Finished]), words(&["a"], 1));
        assert_eq!(failure([Finished, Finished, Stopped]), words(&["c"], 0));
        assert_eq!(failure([Canceled; 3]), words(&[], 3));
    }

    proptest! {
        /// Whatever passes and fails, every test ends, and none starts with a failure behind it.
        #[test]
        fn all_tests_end(
            needs in prop::collection::vec(prop::collection::btree_set(0usize..12, 0..4), 1..12),
            passes in prop::collection::vec(any::<bool>(), 12),
        ) {
            let lines = needs.iter().enumerate().map(|(place, needs)| {
                let needs = needs.iter().filter(|need| **need < place);
                format!("t{place}:{}", needs.map(|need| format!(" t{need}")).collect::<String>())
            });
            let lines: Vec<String> = lines.collect();
            let tests = tests(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            let mut ended: BTreeMap<TestName, bool> = BTreeMap::new();
            while ended.len() < tests.len() {
                let Readiness { start, skip } = ready(&tests, &ended);
                prop_assert!(!start.is_empty() || !skip.is_empty());
                let mut now = Vec::new();
                for test in start {
                    prop_assert!(test.depends_on.iter().all(|need| ended[need]));
                    let place: usize = test.name.as_str()[1..].parse().unwrap();
                    now.push((test.name.clone(), passes[place]));
                }
                for (test, cause) in skip {
                    prop_assert_eq!(ended.get(cause), Some(&false));
                    now.push((test.name.clone(), false));
                }
                ended.extend(now);
            }
        }
    }
}
