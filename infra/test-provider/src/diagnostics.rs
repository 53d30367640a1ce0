//! What the provider says besides its answers.

use crate::protocol::{AttributePath, Diagnostic, Selector, Severity, Step};

pub(crate) fn path(attribute: &str) -> AttributePath {
    let selector = Some(Selector::Attribute(attribute.to_owned()));
    AttributePath { steps: vec![Step { selector }] }
}

pub(crate) fn error(summary: &str, detail: impl Into<String>) -> Diagnostic {
    diagnostic(Severity::Error, summary, detail.into(), None)
}

/// A warning about one attribute.
pub(crate) fn warning(summary: &str, detail: impl Into<String>, attribute: &str) -> Diagnostic {
    diagnostic(Severity::Warning, summary, detail.into(), Some(path(attribute)))
}

fn diagnostic(
    severity: Severity,
    summary: &str,
    detail: String,
    attribute: Option<AttributePath>,
) -> Diagnostic {
    Diagnostic { severity: severity.into(), summary: summary.to_owned(), detail, attribute }
}
