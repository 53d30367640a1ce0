//! Counts of what a plan would do, and how they are said.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Counts of what a plan would do. A replacement counts as one to add and one to destroy, as
/// Terraform counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delta {
    /// Resources to create.
    pub add: u32,
    /// Resources to change in place.
    pub change: u32,
    /// Resources to destroy.
    pub destroy: u32,
    /// Resources to import.
    pub import: u32,
    /// Resources whose address changes.
    #[serde(rename = "move")]
    pub moved: u32,
    /// Resources to drop from the state without destroying them.
    pub forget: u32,
    /// Outputs whose value changes.
    pub outputs: u32,
}

impl Delta {
    /// Nothing at all would happen.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `+1 ~0 −0`: for a table or a sum over stacks.
    pub fn short(&self) -> String {
        format!("+{} ~{} −{}", self.add, self.change, self.destroy)
    }

    /// What was done, after the apply: `1 added, 0 changed, 0 destroyed`.
    pub fn done(&self) -> String {
        let mut text =
            format!("{} added, {} changed, {} destroyed", self.add, self.change, self.destroy);
        text.push_str(&self.rest(["imported", "moved", "forgotten"]));
        text
    }

    /// The sum of two.
    pub fn plus(self, other: Self) -> Self {
        Self {
            add: self.add.saturating_add(other.add),
            change: self.change.saturating_add(other.change),
            destroy: self.destroy.saturating_add(other.destroy),
            import: self.import.saturating_add(other.import),
            moved: self.moved.saturating_add(other.moved),
            forget: self.forget.saturating_add(other.forget),
            outputs: self.outputs.saturating_add(other.outputs),
        }
    }

    /// The counts that are said only when they are not zero.
    fn rest(&self, [import, moved, forget]: [&str; 3]) -> String {
        let outputs = if self.outputs == 1 { "output" } else { "outputs" };
        [(self.import, import), (self.moved, moved), (self.forget, forget), (self.outputs, outputs)]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!(", {count} {word}"))
            .collect()
    }
}

impl fmt::Display for Delta {
    /// `1 to add, 0 to change, 0 to destroy, 1 to import`, or `No changes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("No changes");
        }
        write!(f, "{} to add, {} to change, {} to destroy", self.add, self.change, self.destroy)?;
        f.write_str(&self.rest(["to import", "to move", "to forget"]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_as_words() {
        let some = Delta { add: 1, ..Delta::default() };
        let all =
            Delta { add: 1, change: 2, destroy: 3, import: 4, moved: 5, forget: 6, outputs: 1 };
        insta::assert_snapshot!(Delta::default(), @"No changes");
        insta::assert_snapshot!(some, @"1 to add, 0 to change, 0 to destroy");
        insta::assert_snapshot!(all, @"1 to add, 2 to change, 3 to destroy, 4 to import, 5 to move, 6 to forget, 1 output");
        insta::assert_snapshot!(all.done(), @"1 added, 2 changed, 3 destroyed, 4 imported, 5 moved, 6 forgotten, 1 output");
        insta::assert_snapshot!(all.plus(some).short(), @"+2 ~2 −3");
    }
}
