//! Which rule an approval counts for, where it could count for several.

/// For each person the rule that their approval counts for: each for one at most, and so that as
/// many count as possible. `may` has the rules that a person may approve for, `room` how many
/// approvals each rule asks for. Whose approval came first keeps counting when others come.
pub(super) fn assign(may: &[Vec<usize>], room: &[usize]) -> Vec<Option<usize>> {
    let mut placed = vec![None; may.len()];
    for person in 0..may.len() {
        place(person, may, room, &mut placed, &mut vec![false; room.len()]);
    }
    placed
}

/// Finds a rule for a person, where needed by moving others to another of theirs (Kuhn's way to a
/// largest matching).
fn place(
    person: usize,
    may: &[Vec<usize>],
    room: &[usize],
    placed: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for &rule in &may[person] {
        if std::mem::replace(&mut tried[rule], true) {
            continue;
        }
        let here: Vec<usize> =
            (0..placed.len()).filter(|&other| placed[other] == Some(rule)).collect();
        if here.len() < room[rule]
            || here.into_iter().any(|other| place(other, may, room, placed, tried))
        {
            placed[person] = Some(rule);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn who_could_count_for_several_makes_room_for_who_cannot() {
        // The first counts for the first rule, until somebody comes who can count for no other.
        assert_eq!(assign(&[vec![0, 1]], &[1, 1]), [Some(0)]);
        assert_eq!(assign(&[vec![0, 1], vec![0]], &[1, 1]), [Some(1), Some(0)]);
        assert_eq!(assign(&[vec![0], vec![0], vec![]], &[1]), [Some(0), None, None]);
        assert_eq!(assign(&[vec![0]], &[0]), [None]);
    }

    /// The most that can count, by trying everything.
    fn most(may: &[Vec<usize>], room: &[usize]) -> usize {
        let Some((first, rest)) = may.split_first() else { return 0 };
        let mut best = most(rest, room);
        for &rule in first {
            if room[rule] > 0 {
                let mut left = room.to_vec();
                left[rule] -= 1;
                best = best.max(1 + most(rest, &left));
            }
        }
        best
    }

    proptest! {
        #[test]
        fn as_many_count_as_possible(
            room in prop::collection::vec(0usize..3, 1..4),
            chances in prop::collection::vec(prop::collection::vec(any::<bool>(), 3), 0..6),
        ) {
            let may: Vec<Vec<usize>> = chances
                .iter()
                .map(|chance| (0..room.len()).filter(|&rule| chance[rule]).collect())
                .collect();
            let placed = assign(&may, &room);
            for (person, rule) in placed.iter().enumerate() {
                prop_assert!(rule.is_none_or(|rule| may[person].contains(&rule)));
            }
            for (rule, room) in room.iter().enumerate() {
                let here = placed.iter().filter(|place| **place == Some(rule)).count();
                prop_assert!(here <= *room);
            }
            let counted = placed.iter().flatten().count();
            prop_assert_eq!(counted, most(&may, &room));
        }
    }
}
