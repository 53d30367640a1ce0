//! Lines up two lists: what stayed, what went, what came.

/// The most comparisons that an exact answer may cost; beyond it everything in the middle counts
/// as exchanged. The answer stays the same on every machine.
const EFFORT: usize = 1_000_000;

/// One step through both lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The same on both sides: index before, index after.
    Same(usize, usize),
    /// Only before.
    Removed(usize),
    /// Only after.
    Added(usize),
}

/// The longest common subsequence of two lists as steps in order; within a gap what was removed
/// comes first.
pub(crate) fn align(before: usize, after: usize, same: impl Fn(usize, usize) -> bool) -> Vec<Step> {
    let shorter = before.min(after);
    let head = (0..shorter).take_while(|i| same(*i, *i)).count();
    let tail = (0..shorter - head).take_while(|i| same(before - 1 - i, after - 1 - i)).count();
    let (rows, columns) = (before - head - tail, after - head - tail);

    let mut steps: Vec<Step> = (0..head).map(|i| Step::Same(i, i)).collect();
    middle(head, rows, columns, &same, &mut steps);
    steps.extend((0..tail).rev().map(|i| Step::Same(before - 1 - i, after - 1 - i)));
    steps
}

fn middle(
    head: usize,
    rows: usize,
    columns: usize,
    same: &impl Fn(usize, usize) -> bool,
    steps: &mut Vec<Step>,
) {
    let (mut i, mut j) = (0, 0);
    if rows.saturating_mul(columns) <= EFFORT {
        // longest[i][j]: how many are common to the rests from i and from j.
        let width = columns + 1;
        let mut longest = vec![0u32; (rows + 1) * width];
        for i in (0..rows).rev() {
            for j in (0..columns).rev() {
                longest[i * width + j] = if same(head + i, head + j) {
                    longest[(i + 1) * width + j + 1] + 1
                } else {
                    longest[(i + 1) * width + j].max(longest[i * width + j + 1])
                };
            }
        }
        while i < rows && j < columns {
            if same(head + i, head + j) {
                steps.push(Step::Same(head + i, head + j));
                (i, j) = (i + 1, j + 1);
            } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
                steps.push(Step::Removed(head + i));
                i += 1;
            } else {
                steps.push(Step::Added(head + j));
                j += 1;
            }
        }
    }
    steps.extend((i..rows).map(|i| Step::Removed(head + i)));
    steps.extend((j..columns).map(|j| Step::Added(head + j)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn show(before: &str, after: &str) -> String {
        let (b, a): (Vec<char>, Vec<char>) = (before.chars().collect(), after.chars().collect());
        align(b.len(), a.len(), |i, j| b[i] == a[j])
            .into_iter()
            .map(|step| match step {
                Step::Same(i, _) => b[i].to_string(),
                Step::Removed(i) => format!("-{}", b[i]),
                Step::Added(j) => format!("+{}", a[j]),
            })
            .collect()
    }

    #[test]
    fn what_stays_is_kept_together() {
        insta::assert_snapshot!(show("abcde", "axcdey"), @"a-b+xcde+y");
        insta::assert_snapshot!(show("", "ab"), @"+a+b");
        insta::assert_snapshot!(show("ab", "ab"), @"ab");
    }

    proptest! {
        #[test]
        fn both_sides_come_out_whole(before in "[ab]{0,12}", after in "[ab]{0,12}") {
            let steps = align(before.len(), after.len(), |i, j| {
                before.as_bytes()[i] == after.as_bytes()[j]
            });
            let b: Vec<usize> = steps.iter().filter_map(|s| match s {
                Step::Same(i, _) | Step::Removed(i) => Some(*i),
                Step::Added(_) => None,
            }).collect();
            let a: Vec<usize> = steps.iter().filter_map(|s| match s {
                Step::Same(_, j) | Step::Added(j) => Some(*j),
                Step::Removed(_) => None,
            }).collect();
            prop_assert_eq!(b, (0..before.len()).collect::<Vec<_>>());
            prop_assert_eq!(a, (0..after.len()).collect::<Vec<_>>());
        }
    }
}
