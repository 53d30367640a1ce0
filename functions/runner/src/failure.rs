//! Why a phase did not come to its end, and how that is reported.

use crate::{api::ApiError, job::Progress};
use gantry_domain::{
    masking::{CUT, Masker},
    protocol::ReportKind,
    text::NOTHING_APPLIED,
};
use gantry_engine::{
    StopKind, StopReason,
    diagnostics::{Diagnostic, main_error},
    tool::ToolError,
    workspace::ArchiveError,
};

/// Characters of a failure's one line.
const LONGEST_SUMMARY: usize = 200;
/// Characters of one error's text.
const LONGEST_ERROR: usize = 4000;
/// Errors that are reported.
const MOST_ERRORS: usize = 20;

/// Why a phase did not come to its end. It holds what Terraform said, with secrets: no `Debug`.
pub(crate) enum Failure {
    /// Somebody, or the time limit, asked for it.
    Stopped(StopReason),
    /// Terraform said no.
    Terraform {
        /// In one line, where Terraform gave no error.
        fallback: String,
        /// What it said.
        errors: Vec<Diagnostic>,
    },
    /// It never came to that, or it was not Terraform.
    Other(String),
}

impl Failure {
    pub(crate) fn other(text: impl Into<String>) -> Self {
        Self::Other(text.into())
    }

    /// Where nothing more can be reported: the token is refused.
    fn gone() -> Self {
        let text = "the run was given up".to_owned();
        Self::Stopped(StopReason { kind: StopKind::Gone, text })
    }

    /// As `what` cannot be done.
    pub(crate) fn api(what: &str, error: ApiError) -> Self {
        match error {
            ApiError::Gone => Self::gone(),
            ApiError::Conflict(body) => {
                Self::Other(format!("{what}: {}", String::from_utf8_lossy(&body)))
            }
            other => Self::Other(format!("{what}: {other}")),
        }
    }

    /// The one line, not yet masked.
    fn summary(&self) -> String {
        match self {
            Self::Stopped(reason) => reason.text.clone(),
            Self::Terraform { fallback, errors } => {
                main_error(errors).map_or(fallback, |error| &error.summary).clone()
            }
            Self::Other(text) => text.clone(),
        }
    }

    /// For the runner's own log: what kind it is and, masked, its one line.
    pub(crate) fn for_log(&self, masker: &Masker) -> String {
        let kind = match self {
            Self::Stopped(_) => "stopped",
            Self::Terraform { .. } => "the tool failed",
            Self::Other(_) => "failed",
        };
        format!("{kind}: {}", line(&self.summary(), masker))
    }

    fn errors(&self) -> Vec<&str> {
        match self {
            Self::Terraform { errors, .. } => errors.iter().map(|e| e.text.as_str()).collect(),
            // What does not fit into one line is not lost.
            Self::Other(text) if text.chars().count() > LONGEST_SUMMARY => vec![text],
            _ => Vec::new(),
        }
    }

    /// What is told, given how far the phase came and whether it was asked to stop.
    pub(crate) fn report(
        self,
        progress: Progress,
        stop: Option<StopReason>,
        masker: &Masker,
        log_tail: Vec<String>,
    ) -> ReportKind {
        let Some(stop) = stop else {
            return match progress {
                Progress::BeforeApply => self.nothing_applied(masker, log_tail),
                _ => self.failed(masker, log_tail),
            };
        };
        match (progress, stop.kind) {
            (Progress::Planning, StopKind::TimedOut) => {
                Self::Stopped(stop).failed(masker, log_tail)
            }
            (Progress::Planning, _) => ReportKind::Stopped,
            (Progress::BeforeApply, _) => {
                let summary = format!("{NOTHING_APPLIED}: {}", stop.text);
                ReportKind::Interrupted { summary: line(&summary, masker) }
            }
            // Terraform's error is only the echo of a time limit, which nobody else tells of.
            (Progress::Applying, StopKind::TimedOut) => {
                ReportKind::Interrupted { summary: line(&stop.text, masker) }
            }
            (Progress::Applying, _) => {
                ReportKind::Interrupted { summary: line(&self.summary(), masker) }
            }
            // No wish to stop ends a destroy.
            (Progress::Destroying, _) => self.failed(masker, log_tail),
        }
    }

    fn told_errors(&self, masker: &Masker) -> Vec<String> {
        let errors = self.errors().into_iter().take(MOST_ERRORS);
        errors.map(|text| cut(&masker.mask(text), LONGEST_ERROR)).collect()
    }

    /// What is told of a test's apply, before what it made is destroyed.
    pub(crate) fn of_apply(&self, masker: &Masker) -> ReportKind {
        ReportKind::ApplyFailed {
            summary: line(&self.summary(), masker),
            errors: self.told_errors(masker),
            log_tail: Vec::new(),
            in_terraform: matches!(self, Self::Terraform { .. }),
        }
    }

    /// The same where the tool was not told to apply yet. People need to know that first, also where
    /// it is the tool that failed, in the init before an apply.
    fn nothing_applied(self, masker: &Masker, log_tail: Vec<String>) -> ReportKind {
        let text = match self.summary() {
            text if text.starts_with(NOTHING_APPLIED) => text,
            text => format!("{NOTHING_APPLIED}: {text}"),
        };
        let told = Self::Other(text);
        let errors = match self {
            Self::Terraform { .. } => self.told_errors(masker),
            _ => told.told_errors(masker),
        };
        let summary = line(&told.summary(), masker);
        ReportKind::Failed { summary, errors, log_tail, in_terraform: false }
    }

    fn failed(self, masker: &Masker, log_tail: Vec<String>) -> ReportKind {
        ReportKind::Failed {
            summary: line(&self.summary(), masker),
            errors: self.told_errors(masker),
            log_tail,
            in_terraform: matches!(self, Self::Terraform { .. }),
        }
    }
}

/// One line, masked, and cut only then: half a secret would not be recognised.
fn line(text: &str, masker: &Masker) -> String {
    let masked = masker.mask(text);
    cut(masked.split_whitespace().collect::<Vec<_>>().join(" ").as_str(), LONGEST_SUMMARY)
}

/// The text up to so many characters, with a sign at its end where some were left out.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some(_) => text.chars().take(longest - 1).chain([CUT]).collect(),
    }
}

/// An error with its causes, for people.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

impl From<ToolError> for Failure {
    fn from(error: ToolError) -> Self {
        Self::Other(chain(&error))
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self::Other(chain(&error))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(format!("error on the runner's machine: {error}"))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(format!("error on the runner's machine: {error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_masked_before_it_is_cut() {
        let masker = Masker::new(["hunter-hunter-hunter"]);
        let text = format!("{}\n hunter-hunter-hunter", "x".repeat(189));
        let line = line(&text, &masker);
        assert!(line.ends_with("x (secret)"), "{line}");
        assert_eq!(super::line(&"y".repeat(300), &masker).chars().count(), 200);
    }

    #[test]
    fn what_fails_before_the_apply_says_that_nothing_was_applied() {
        let masker = Masker::new(["hunter22"]);
        let said = |failure: Failure, progress| {
            let told = failure.report(progress, None, &masker, Vec::new());
            let ReportKind::Failed { summary, errors, in_terraform, .. } = told else {
                panic!("{told:?}")
            };
            (summary, errors, in_terraform)
        };
        let tool = || {
            let (summary, text) = ("no hunter22".to_owned(), "Error: no hunter22".to_owned());
            Failure::Terraform {
                fallback: String::new(),
                errors: vec![Diagnostic { summary, text }],
            }
        };
        let errors = vec!["Error: no (secret)".to_owned()];
        let nothing = "Nothing was applied: no (secret)".to_owned();
        assert_eq!(said(tool(), Progress::BeforeApply), (nothing, errors.clone(), false));
        let applying = ("no (secret)".to_owned(), errors, true);
        assert_eq!(said(tool(), Progress::Applying), applying);

        // It is said once, and what does not fit into one line is not lost.
        let known = "Nothing was applied because the disk is full";
        let told = (known.to_owned(), Vec::new(), false);
        assert_eq!(said(Failure::other(known), Progress::BeforeApply), told);
        let long = "x".repeat(LONGEST_SUMMARY);
        let (_, errors, _) = said(Failure::other(&long), Progress::BeforeApply);
        assert_eq!(errors, [format!("Nothing was applied: {long}")]);
    }

    #[test]
    fn the_runners_log_gets_no_secret() {
        let masker = Masker::new(["hunter22"]);
        let error = Diagnostic {
            summary: "no hunter22 here".to_owned(),
            text: "Error: no hunter22 here".to_owned(),
        };
        let failure = Failure::Terraform { fallback: String::new(), errors: vec![error] };
        insta::assert_snapshot!(failure.for_log(&masker), @"the tool failed: no (secret) here");
    }
}
