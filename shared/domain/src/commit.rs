//! What people recognise a commit by.

use crate::text::clean_line;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Characters of a title that are kept.
const LONGEST_TITLE: usize = 200;
/// Characters of an author's name that are kept.
const LONGEST_AUTHOR: usize = 100;

/// A commit's title and author, as GitLab tells them: one line each, of whoever wrote the commit, so
/// nothing is believed of either. Both are empty where nobody told them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommitLine {
    /// The first line of the commit's message.
    #[serde(default)]
    pub title: String,
    /// The name that Git has of its author.
    #[serde(default)]
    pub author: String,
}

impl CommitLine {
    /// Cut to what a list can show, each in one clean line.
    pub fn new(title: &str, author: &str) -> Self {
        Self { title: clean_line(title, LONGEST_TITLE), author: clean_line(author, LONGEST_AUTHOR) }
    }

    /// Nobody told anything.
    pub fn is_empty(&self) -> bool {
        self.title.is_empty() && self.author.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_line_that_fits() {
        let line = CommitLine::new(" Widen\tthe subnet\u{7} ", "Ada\nLovelace");
        assert_eq!((&*line.title, &*line.author), ("Widen the subnet", "Ada Lovelace"));
        assert_eq!(CommitLine::new(&"x".repeat(999), "").title.chars().count(), LONGEST_TITLE);
        assert!(CommitLine::new("", " ").is_empty());
    }
}
