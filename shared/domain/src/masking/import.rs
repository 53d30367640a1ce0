//! Import ids in Terraform's output. For some resources the id is the secret itself
//! (`random_password`), and the output comes before anything says so.

use super::MASK;
use std::borrow::Cow;

/// What stands before an id in the output of Terraform and OpenTofu, and what after it.
const PLACES: [(&str, &str, &str); 6] = [
    ("Preparing import...", "[id=", "]"),
    ("Importing...", "[id=", "]"),
    ("Import complete", "[id=", "]"),
    ("(imported from", "\"", "\""),
    ("Importing from ID", "\"", "\""),
    ("(import id", "\"", "\""),
];

/// A line of output without the id of what is imported.
pub fn hide_import_id(line: &str) -> Cow<'_, str> {
    for (said, before, after) in PLACES {
        let Some((first, rest)) = line.split_once(said) else { continue };
        let Some(start) = rest.find(before).map(|at| at + before.len()) else { continue };
        // The last one: the id may hold one too. Without one all of the rest is the id.
        let end = rest.rfind(after).filter(|end| *end >= start).unwrap_or(rest.len());
        return format!("{first}{said}{}{MASK}{}", &rest[..start], &rest[end..]).into();
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_imports_are_hidden() {
        let lines = [
            "\u{1b}[0m\u{1b}[1mrandom_password.p: Preparing import... [id=hunter]22]\u{1b}[0m",
            "random_password.p: Importing... [id=hunter22]",
            "random_password.p: Import complete [id=hunter22]",
            "    # (imported from \"hunter\"22\")",
            "random_password.p: Importing from ID \"hunter22\"...",
            "random_password.p: Importing... [id=hunter",
            "  with random_password.p (import id \"hunter22\"),",
            "random_password.p: Refreshing state... [id=none]",
        ];
        let shown: Vec<_> = lines.iter().map(|line| hide_import_id(line)).collect();
        insta::assert_snapshot!(shown.join("\n").replace('\u{1b}', ""), @r#"
        [0m[1mrandom_password.p: Preparing import... [id=(secret)][0m
        random_password.p: Importing... [id=(secret)]
        random_password.p: Import complete [id=(secret)]
            # (imported from "(secret)")
        random_password.p: Importing from ID "(secret)"...
        random_password.p: Importing... [id=(secret)
          with random_password.p (import id "(secret)"),
        random_password.p: Refreshing state... [id=none]
        "#);
    }
}
