//! What has to hold between the tests of a module: each name once, every dependency there, and no
//! test that waits for itself.

use super::{ConfigError, Placed};
use crate::{ids::TestName, text::cut};
use std::collections::HashMap;

/// Refuses the first thing that does not hold.
pub(super) fn check(tests: &[Placed]) -> Result<(), ConfigError> {
    let mut places: HashMap<&TestName, usize> = HashMap::new();
    for (place, Placed { at, test, .. }) in tests.iter().enumerate() {
        if let Some(first) = places.insert(&test.name, place) {
            let (name, first) = (&test.name, tests[first].at.line);
            let second = at.line;
            let problem = format!("two tests are named {name} (lines {first} and {second})");
            return Err(at.error(problem));
        }
    }
    check_dependencies(tests, &places)?;
    check_cycles(tests, &places)
}

fn check_dependencies(
    tests: &[Placed],
    places: &HashMap<&TestName, usize>,
) -> Result<(), ConfigError> {
    for Placed { test, depends_on_at, .. } in tests {
        for (number, (needed, at)) in test.depends_on.iter().zip(depends_on_at).enumerate() {
            let name = &test.name;
            if needed == name {
                return Err(at.error(format!("the test {name} depends on itself")));
            }
            if !places.contains_key(needed) {
                let problem = format!("the test {name} depends on {needed}, which does not exist");
                return Err(at.error(problem));
            }
            if test.depends_on[..number].contains(needed) {
                return Err(at.error(format!("the test {name} depends on {needed} twice")));
            }
        }
    }
    Ok(())
}

/// Every dependency is there. Takes away what waits for nothing until only cycles are left, and
/// what waits for them.
fn check_cycles(tests: &[Placed], places: &HashMap<&TestName, usize>) -> Result<(), ConfigError> {
    let needs = |test: usize| tests[test].test.depends_on.iter().map(|name| places[name]);
    let mut left: Vec<usize> = (0..tests.len()).collect();
    loop {
        let stay =
            left.iter().copied().filter(|test| needs(*test).any(|need| left.contains(&need)));
        let stay: Vec<usize> = stay.collect();
        if stay.len() == left.len() {
            break;
        }
        left = stay;
    }
    let Some(first) = left.first() else { return Ok(()) };
    // Whatever is left needs something that is left: following that comes back sometime.
    let mut path = vec![*first];
    while let Some(next) = path.last().and_then(|last| needs(*last).find(|n| left.contains(n))) {
        if let Some(begin) = path.iter().position(|test| *test == next) {
            path.drain(..begin);
            break;
        }
        path.push(next);
    }
    // It is told from the test that stands first in the file.
    let earliest = (0..path.len()).min_by_key(|place| path[*place]);
    path.rotate_left(earliest.unwrap_or_default());
    let begin = path[0];
    let after = path.get(1).copied().unwrap_or(begin);
    let entry = needs(begin).position(|need| need == after).unwrap_or_default();
    let names = path.iter().chain([&begin]).map(|test| tests[*test].test.name.as_str());
    let cycle = cut(&names.collect::<Vec<_>>().join(" → "), 500);
    let problem = format!("these tests depend on each other: {cycle}");
    Err(tests[begin].depends_on_at[entry].error(problem))
}
