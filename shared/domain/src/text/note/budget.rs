//! Shares the space of a note between its sections: a small one gets all it needs, the large ones
//! get equal parts of what is left.

use super::Section;
use crate::text::more;

/// Bytes kept for the line that counts the sections left out.
const RESERVE: usize = 120;
/// Bytes of lines below which a section says too little to be there.
const USEFUL: usize = 600;

/// Lines up to which all sections together are shown unfolded.
const SHORT: usize = 30;

/// The sections, within `bytes`. Where even their frames do not fit, the less important are left
/// out and counted.
pub(super) fn share(sections: &mut [(u8, Section)], bytes: usize) -> String {
    let mut order: Vec<usize> = (0..sections.len()).collect();
    order.sort_by_key(|i| sections[*i].0);
    let mut left = bytes.saturating_sub(RESERVE);
    let mut kept: Vec<usize> = order
        .into_iter()
        .take_while(|i| {
            let section = &sections[*i].1;
            let least = section.frame() + section.wanted().min(USEFUL);
            let fits = least <= left;
            left = left.saturating_sub(least);
            fits
        })
        .collect();
    kept.sort_unstable();
    let wanted: Vec<usize> = kept.iter().map(|i| sections[*i].1.wanted()).collect();
    let frames: usize = kept.iter().map(|i| sections[*i].1.frame()).sum();
    let level = fill(&wanted, bytes.saturating_sub(RESERVE + frames));
    let is_folded = sections.iter().map(|(_, section)| section.lines()).sum::<usize>() > SHORT;
    let render = |(i, w): (&usize, &usize)| sections[*i].1.render((*w).min(level), is_folded);
    let mut out: String = kept.iter().zip(&wanted).map(render).collect();
    if kept.len() < sections.len() {
        let cut = more(sections.len() - kept.len(), "stack");
        out += &format!("\n… and {cut} with details (see the runs in the table)\n");
    }
    out
}

/// The level up to which each of `wanted` can be filled so that all together take at most `bytes`.
fn fill(wanted: &[usize], bytes: usize) -> usize {
    let mut sorted = wanted.to_vec();
    sorted.sort_unstable();
    let mut left = bytes;
    for (at, want) in sorted.iter().enumerate() {
        let part = left / (sorted.len() - at);
        if *want > part {
            return part;
        }
        left -= want;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_ones_get_all_and_large_ones_equal_parts() {
        assert_eq!(fill(&[10, 1_000, 50, 1_000], 660), 300);
        assert_eq!(fill(&[10, 20], 30), usize::MAX);
        assert_eq!(fill(&[], 0), usize::MAX);
        assert_eq!(fill(&[5], 0), 0);
    }

    proptest! {
        #[test]
        fn nobody_overdraws_and_little_is_wasted(
            wanted in prop::collection::vec(0usize..500, 1..20), bytes in 0usize..3_000,
        ) {
            let level = fill(&wanted, bytes);
            let used: usize = wanted.iter().map(|w| (*w).min(level)).sum();
            prop_assert!(used <= bytes);
            let all: usize = wanted.iter().sum();
            prop_assert!(used + wanted.len() > bytes.min(all));
        }
    }
}
