//! Whose turn it is to be compared with GitLab, or to be asked again for what it refused.
//!
//! Nobody waits for either, so all of that together gets a budget of calls a minute.

use crate::ProjectId;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// What a comparison is taken to need before one is known, in calls.
const USUAL_CALLS: u32 = 4;
/// What a repeat of something that GitLab refused is taken to need: to look, and to write.
const REPEAT_CALLS: u32 = 2;
/// What is not used up is kept for so long.
const KEPT: SignedDuration = SignedDuration::from_mins(1);

/// How many calls a project's turn is taken to need: for a comparison, where it is compared, as many
/// as its last one took (0 when that is not known), and for so many repeats.
pub fn calls(comparison: Option<u32>, repeats: usize) -> u32 {
    let comparison = comparison.map_or(0, |calls| if calls == 0 { USUAL_CALLS } else { calls });
    let repeats = u32::try_from(repeats).unwrap_or(u32::MAX).saturating_mul(REPEAT_CALLS);
    comparison.saturating_add(repeats)
}

/// A project whose turn has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The project.
    pub project: ProjectId,
    /// When something in it was last seen to change.
    pub changed_at: Option<Timestamp>,
    /// When its last turn was.
    pub last_at: Option<Timestamp>,
    /// How many calls its turn is taken to need ([`calls`]).
    pub calls: u32,
}

/// So many calls a minute. What was spent is kept as the time until which the budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Calls a minute, at least one.
    pub per_minute: u32,
}

impl Budget {
    fn each(self) -> SignedDuration {
        KEPT / i32::try_from(self.per_minute.max(1)).unwrap_or(i32::MAX)
    }

    /// Chooses from `due` as far as the budget reaches, by turns the project that changed last and
    /// the one that has waited for the longest: who changes often comes often, and nobody never.
    /// Answers also until when the budget is used up then.
    pub fn spend(
        self,
        used_until: Option<Timestamp>,
        due: &[Due],
        now: Timestamp,
    ) -> (Vec<ProjectId>, Timestamp) {
        let mut until = used_until.unwrap_or(now - KEPT).max(now - KEPT);
        let mut lately: Vec<&Due> = due.iter().collect();
        lately.sort_by_key(|due| (std::cmp::Reverse(due.changed_at), due.last_at));
        let mut longest: Vec<&Due> = due.iter().collect();
        longest.sort_by_key(|due| due.last_at);
        let by_turns = lately.into_iter().zip(longest).flat_map(|(a, b)| [a, b]);
        let mut chosen = Vec::new();
        let mut seen = BTreeSet::new();
        for next in by_turns.filter(|next| seen.insert(next.project)) {
            // One that needs more than a whole minute has its turn too: the next ones wait longer.
            if until + self.each() > now {
                break;
            }
            until += self.each() * i32::try_from(next.calls).unwrap_or(i32::MAX);
            chosen.push(next.project);
        }
        (chosen, until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn due(project: u64, changed: Option<i64>, last: Option<i64>, calls: u32) -> Due {
        let (changed_at, last_at) = (changed.map(at), last.map(at));
        Due { project: ProjectId(project), changed_at, last_at, calls }
    }

    fn chosen(per_minute: u32, due: &[Due]) -> Vec<u64> {
        let (chosen, _) = Budget { per_minute }.spend(None, due, at(100));
        chosen.iter().map(|project| project.0).collect()
    }

    #[test]
    fn who_changed_last_and_who_waited_longest_take_turns() {
        let all = [
            due(1, None, Some(10), 4),
            due(2, Some(50), Some(90), 4),
            due(3, None, Some(20), 4),
            due(4, Some(80), Some(95), 4),
            due(5, None, None, calls(Some(0), 0)),
        ];
        assert_eq!(chosen(60, &all), [4, 5, 2, 1, 3]);
        assert_eq!(chosen(8, &all), [4, 5], "as far as it reaches");
        assert_eq!(chosen(9, &all), [4, 5, 2], "what is begun may cost more than is left");
        assert_eq!(chosen(1, &[due(1, None, None, 500)]), [1]);
        assert_eq!(chosen(60, &[]), [0; 0]);
    }

    #[test]
    fn a_turn_needs_calls_for_all_that_is_due() {
        assert_eq!([calls(Some(0), 0), calls(Some(7), 0)], [USUAL_CALLS, 7]);
        assert_eq!([calls(None, 3), calls(Some(7), 3)], [6, 13]);
    }

    #[test]
    fn no_minute_has_more_calls_than_the_budget_and_everybody_has_a_turn() {
        let budget = Budget { per_minute: 60 };
        let mut last = vec![None; 116];
        let mut until = None;
        let mut calls = Vec::new();
        for second in (0..1200).step_by(5) {
            let all: Vec<Due> = (0..116)
                .map(|n| due(n, (n < 5).then_some(second), last[n as usize], 4))
                .filter(|due| due.last_at.is_none_or(|last| last <= at(second - 30)))
                .collect();
            let (chosen, then) = budget.spend(until, &all, at(second));
            until = Some(then);
            for project in chosen {
                last[project.0 as usize] = Some(second);
                calls.push((second, 4));
            }
        }
        for minute in (60..1200).step_by(5) {
            let within = calls.iter().filter(|(at, _)| (minute - 60..minute).contains(at));
            let made: i64 = within.map(|(_, calls)| calls).sum();
            assert!(made <= 60 + 4 || minute <= 120, "{made} calls in the minute before {minute}");
            assert!(made <= 120, "{made} calls in the first minutes");
        }
        assert!(last.iter().all(Option::is_some), "{last:?}");
    }
}
