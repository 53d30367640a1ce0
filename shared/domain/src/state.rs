//! The forms of a state, what is listed of one, and what is said of it.

mod instances;
mod masker;
mod origins;
mod outputs;

pub use instances::{Instance, instances};
pub use masker::StateMasker;
pub use origins::{Origin, Origins};
pub use outputs::{Output, Outputs, outputs};

use serde::{Deserialize, Serialize};

/// What can be read of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateForm {
    /// Everything.
    #[default]
    Plain,
    /// OpenTofu encrypted it: only its serial and lineage.
    Encrypted,
    /// A form that Gantry does not know: nothing of what it holds.
    Unknown,
}

impl StateForm {
    /// True for what needs no word of its own.
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

/// What a state holds, for people. `resources` is none where nobody can tell.
pub fn contents(form: StateForm, resources: Option<u32>) -> String {
    match (form, resources) {
        (_, Some(count)) => more_or_one(count),
        (StateForm::Encrypted, None) => "encrypted by OpenTofu".to_owned(),
        (StateForm::Plain | StateForm::Unknown, None) => {
            "in a format Gantry cannot read".to_owned()
        }
    }
}

/// Why resources and outputs are not listed, where they are not.
pub fn unreadable(form: StateForm) -> Option<&'static str> {
    match form {
        StateForm::Plain => None,
        StateForm::Encrypted => Some(
            "Encrypted by OpenTofu. Gantry stores it as it is and cannot list its resources and \
             outputs.",
        ),
        StateForm::Unknown => Some(
            "In a format unknown to Gantry, which stores it as it is and cannot list its resources \
             and outputs.",
        ),
    }
}

fn more_or_one(count: u32) -> String {
    match count {
        1 => "1 resource".to_owned(),
        _ => format!("{count} resources"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_never_nothing() {
        let said = |form, resources| contents(form, resources);
        assert_eq!(said(StateForm::Plain, Some(0)), "0 resources");
        assert_eq!(said(StateForm::Plain, Some(1)), "1 resource");
        assert_eq!(said(StateForm::Encrypted, None), "encrypted by OpenTofu");
        assert_eq!(said(StateForm::Unknown, None), "in a format Gantry cannot read");
        assert_eq!(unreadable(StateForm::Plain), None);
    }
}
