//! Counts of what a plan would do, and how they are said.

use crate::text::{counted, grouped};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

const TO_DO: [&str; 4] = ["to import", "to move", "to forget", "to invoke"];
const DONE: [&str; 4] = ["imported", "moved", "forgotten", "invoked"];

/// Counts of what a plan would do. A replacement counts as one to add and one to destroy, as
/// Terraform counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Delta {
    /// Resources to create.
    pub add: u32,
    /// Resources to change in place.
    pub change: u32,
    /// Resources to destroy.
    pub destroy: u32,
    /// Resources to replace. Each is counted in `add`, and in `destroy` or `forget`, too.
    #[serde(skip_serializing_if = "is_zero")]
    pub replace: u32,
    /// Resources to import.
    pub import: u32,
    /// Resources whose address changes.
    #[serde(rename = "move")]
    pub moved: u32,
    /// Resources to drop from the state without destroying them.
    pub forget: u32,
    /// Actions of providers to invoke.
    #[serde(skip_serializing_if = "is_zero")]
    pub invoke: u32,
    /// Outputs whose value changes.
    pub outputs: u32,
}

impl Delta {
    /// Nothing at all would happen.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Something is done that a state tells of: what is only invoked leaves it as it is.
    pub fn changes_the_state(&self) -> bool {
        !Self { invoke: 0, ..*self }.is_empty()
    }

    /// `+1 ~0 −0, 1 to import`: for a sum over stacks. Without the three where all are zero and
    /// something else is not.
    pub fn short(&self) -> String {
        self.brief(TO_DO)
    }

    /// The same after the apply: `+1 ~0 −0, 1 imported`.
    pub fn short_done(&self) -> String {
        self.brief(DONE)
    }

    fn brief(&self, words: [&str; 4]) -> String {
        let rest = format!("{}{}", self.replaced(), self.rest(words));
        if (self.add, self.change, self.destroy) == (0, 0, 0) && !rest.is_empty() {
            return rest.trim_start_matches(", ").to_owned();
        }
        format!("+{} ~{} −{}{rest}", self.add, self.change, self.destroy)
    }

    /// What a table that has columns for what is added, changed and destroyed says besides:
    /// `1 replacement, 1 to import, 1 output`.
    pub fn besides(&self) -> String {
        let replaced = match self.replace {
            0 => String::new(),
            count => format!(", {}", counted(count as usize, "replacement")),
        };
        (replaced + &self.rest(TO_DO)).trim_start_matches(", ").to_owned()
    }

    /// How many of what is added and destroyed replace each other: ` (1 replacement)`.
    fn replaced(&self) -> String {
        match self.replace {
            0 => String::new(),
            count => format!(" ({})", counted(count as usize, "replacement")),
        }
    }

    /// What was done, after the apply: `1 added, 0 changed, 0 destroyed`.
    pub fn done(&self) -> String {
        let mut text =
            format!("{} added, {} changed, {} destroyed", self.add, self.change, self.destroy);
        text.push_str(&self.replaced());
        text.push_str(&self.rest(DONE));
        text
    }

    /// The sum of two.
    pub fn plus(self, other: Self) -> Self {
        Self {
            add: self.add.saturating_add(other.add),
            change: self.change.saturating_add(other.change),
            destroy: self.destroy.saturating_add(other.destroy),
            replace: self.replace.saturating_add(other.replace),
            import: self.import.saturating_add(other.import),
            moved: self.moved.saturating_add(other.moved),
            forget: self.forget.saturating_add(other.forget),
            invoke: self.invoke.saturating_add(other.invoke),
            outputs: self.outputs.saturating_add(other.outputs),
        }
    }

    /// The counts that are said only when they are not zero.
    fn rest(&self, [import, moved, forget, invoke]: [&str; 4]) -> String {
        let outputs = if self.outputs == 1 { "output" } else { "outputs" };
        let counts = [
            (self.import, import),
            (self.moved, moved),
            (self.forget, forget),
            (self.invoke, invoke),
            (self.outputs, outputs),
        ];
        counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!(", {} {word}", grouped(count as usize)))
            .collect()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
pub(crate) fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl fmt::Display for Delta {
    /// `1 to add, 0 to change, 0 to destroy, 1 to import`, or `No changes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("No changes");
        }
        write!(f, "{} to add, {} to change, {} to destroy", self.add, self.change, self.destroy)?;
        f.write_str(&self.replaced())?;
        f.write_str(&self.rest(TO_DO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_as_words() {
        let some = Delta { add: 1, ..Delta::default() };
        let all = Delta {
            add: 1,
            change: 2,
            destroy: 3,
            replace: 1,
            import: 4,
            moved: 5,
            forget: 6,
            invoke: 7,
            outputs: 1,
        };
        insta::assert_snapshot!(Delta::default(), @"No changes");
        insta::assert_snapshot!(some, @"1 to add, 0 to change, 0 to destroy");
        insta::assert_snapshot!(all, @"1 to add, 2 to change, 3 to destroy (1 replacement), 4 to import, 5 to move, 6 to forget, 7 to invoke, 1 output");
        insta::assert_snapshot!(all.done(), @"1 added, 2 changed, 3 destroyed (1 replacement), 4 imported, 5 moved, 6 forgotten, 7 invoked, 1 output");
        insta::assert_snapshot!(all.plus(some).short(), @"+2 ~2 −3 (1 replacement), 4 to import, 5 to move, 6 to forget, 7 to invoke, 1 output");
        let invoked = Delta { invoke: 1, ..Delta::default() };
        assert_eq!(invoked.done(), "0 added, 0 changed, 0 destroyed, 1 invoked");
        assert!(!invoked.is_empty() && !invoked.changes_the_state());
        assert!(invoked.plus(some).changes_the_state());
        let imports = Delta { import: 1, ..Delta::default() };
        assert_eq!(
            (imports.short(), imports.short_done()),
            ("1 to import".to_owned(), "1 imported".to_owned())
        );
        assert_eq!(Delta::default().short(), "+0 ~0 −0");
        let replaced = Delta { replace: 2, ..imports };
        assert_eq!(replaced.besides(), "2 replacements, 1 to import");
    }
}
