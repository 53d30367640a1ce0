//! What the tool warned of, as it may be told.

use gantry_domain::{masking::Masker, plan::Warning, text};
use gantry_engine::diagnostics::Warned;

/// Characters of a warning's summary, and of its place.
const LONGEST: usize = 300;
/// Summaries in a report, which is small.
const MOST_REPORTED: usize = 20;
/// What stands in a report for all others.
const FURTHER: &str = "Further warnings: see the log";

/// Masked, and each text one line.
pub(crate) fn masked(warnings: Vec<Warning>, masker: &Masker) -> Vec<Warning> {
    let line = |text: &str| text::clean_line(&masker.mask(text), LONGEST);
    let masked = |warning: Warning| Warning {
        summary: line(&warning.summary),
        place: warning.place.as_deref().map(line),
        count: warning.count,
    };
    warnings.into_iter().map(masked).collect()
}

/// The same for a report.
pub(crate) fn of_report(warned: Warned, masker: &Masker) -> Vec<Warning> {
    let Warned { warnings, cut } = warned;
    let mut reported = masked(warnings, masker);
    let is_cut = cut > 0 || reported.len() > MOST_REPORTED;
    let kept = if is_cut { MOST_REPORTED - 1 } else { MOST_REPORTED };
    let further = reported.drain(reported.len().min(kept)..);
    let count = further.map(|warning| warning.count).fold(cut, u32::saturating_add);
    if is_cut {
        reported.push(Warning { summary: FURTHER.to_owned(), place: None, count });
    }
    reported
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_what_it_leaves_out() {
        let warning = |number: usize| Warning {
            summary: format!("No {number}\nin hunter-22-hunter"),
            place: None,
            count: 2,
        };
        let warned = |many: usize, cut| Warned { warnings: (0..many).map(warning).collect(), cut };
        let masker = Masker::new(["hunter-22-hunter"]);
        for (many, cut, listed, count) in
            [(0, 0, 0, 0), (20, 0, 20, 2), (21, 0, 20, 4), (50, 7, 20, 69)]
        {
            let reported = of_report(warned(many, cut), &masker);
            assert_eq!(reported.len(), listed);
            assert_eq!(reported.last().map_or(0, |last| last.count), count, "{many}");
            assert!(reported.iter().all(|one| !one.summary.contains("hunter")));
            let all: u32 = reported.iter().map(|one| one.count).sum();
            assert_eq!(all, 2 * u32::try_from(many).unwrap() + cut);
        }
    }
}
