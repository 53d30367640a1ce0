//! Variables as people have them in files named `.env`: the text is read into names and values.
//!
//! Nothing is substituted: a `$` is a character like any other. No problem repeats a value, nor what
//! stands where a name should be: it may be a part of one.

use super::{VARIABLE_NAMES, is_variable_name};
use std::collections::HashMap;

/// What a text says, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DotEnv {
    /// Names and values, in the text's order; each name once.
    pub variables: Vec<(String, String)>,
    /// The lines that are no variables, from 1 on, and why; for people.
    pub problems: Vec<(usize, String)>,
}

const NO_VALUE: &str = "no = after the name. Put quotes around a value of several lines";
const ENDLESS: &str = "the quote that begins here is never closed. Nothing after it was read";
const AFTER_QUOTE: &str = "there is something after the closing quote";
const ESCAPES: &str = "between double quotes, a backslash can only be followed by n, r, t, \\, \", \
                       ', $ or `. Use single quotes to keep backslashes as they are";

/// A value, or what is wrong with it; and what follows it.
type Read<'a> = (Result<String, &'static str>, &'a str);

impl DotEnv {
    /// Reads a text of lines `NAME=value`.
    ///
    /// `export` may stand before a name. A value is bare, up to the end of its line or to a ` #`;
    /// in single quotes, as it is; or in double quotes, with the usual escapes. What is in quotes may
    /// have several lines. Empty lines, and lines that begin with `#`, say nothing.
    pub fn read(text: &str) -> Self {
        let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        let mut found = Self::default();
        let mut lines = HashMap::new();
        let (mut line, mut rest) = (1, text.as_str());
        while !rest.is_empty() {
            let after = found.read_one(line, rest, &mut lines);
            line += rest[..rest.len() - after.len()].matches('\n').count();
            rest = after;
        }
        found
    }

    /// Reads what begins on a line, and answers what follows it. `lines` has the line of each name.
    fn read_one<'a>(
        &mut self,
        line: usize,
        text: &'a str,
        lines: &mut HashMap<String, usize>,
    ) -> &'a str {
        let (first, after) = text.split_once('\n').unwrap_or((text, ""));
        let bare = first.trim();
        if bare.is_empty() || bare.starts_with('#') {
            return after;
        }
        let Some((name, value)) = text.split_once('=').filter(|_| first.contains('=')) else {
            self.problems.push((line, NO_VALUE.to_owned()));
            return after;
        };
        let name = name.trim();
        let exported = name.strip_prefix("export").filter(|name| name.starts_with([' ', '\t']));
        let name = exported.map_or(name, str::trim_start);
        let (value, after) = read_value(value);
        let problem = match value {
            _ if !is_variable_name(name) => {
                format!("what is before the = is not a variable name. {VARIABLE_NAMES}")
            }
            Err(problem) => problem.to_owned(),
            Ok(value) => match lines.get(name) {
                Some(before) => format!("{name} is already defined on line {before}"),
                None => {
                    lines.insert(name.to_owned(), line);
                    self.variables.push((name.to_owned(), value));
                    return after;
                }
            },
        };
        self.problems.push((line, problem));
        after
    }
}

/// Reads what follows a `=`, and the rest of the line that it ends on.
fn read_value(text: &str) -> Read<'_> {
    let quoted = text.trim_start_matches([' ', '\t']);
    let (value, after) = match quoted.chars().next() {
        Some('\'') => match quoted[1..].split_once('\'') {
            Some((value, after)) => (Ok(value.to_owned()), after),
            None => return (Err(ENDLESS), ""),
        },
        Some('"') => double_quoted(&quoted[1..]),
        _ => {
            let (line, after) = text.split_once('\n').unwrap_or((text, ""));
            return (Ok(without_comment(line).trim().to_owned()), after);
        }
    };
    let (line, after) = after.split_once('\n').unwrap_or((after, ""));
    match without_comment(line).trim() {
        "" => (value, after),
        _ => (value.and(Err(AFTER_QUOTE)), after),
    }
}

/// Reads up to the closing quote, past escapes that are none.
fn double_quoted(text: &str) -> Read<'_> {
    let (mut value, mut problem) = (String::new(), None);
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        match next {
            '"' => return (problem.map_or(Ok(value), Err), chars.as_str()),
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some(itself @ ('\\' | '"' | '\'' | '$' | '`')) => value.push(itself),
                _ => problem = Some(ESCAPES),
            },
            other => value.push(other),
        }
    }
    (Err(ENDLESS), "")
}

/// A `#` begins a comment after a space alone: it may be a part of a value.
fn without_comment(line: &str) -> &str {
    let is_comment = |(at, _): &(usize, &str)| line[..*at].ends_with([' ', '\t']);
    let comment = line.match_indices('#').find(is_comment);
    comment.map_or(line, |(at, _)| &line[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[(&str, &str)]) {
        let found = DotEnv::read(text);
        assert!(found.problems.is_empty(), "{text:?}: {:?}", found.problems);
        let variables: Vec<(&str, &str)> =
            found.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(variables, expect, "{text:?}");
    }

    #[track_caller]
    fn problems(text: &str) -> Vec<String> {
        let said = DotEnv::read(text).problems;
        said.into_iter().map(|(line, problem)| format!("{line}: {problem}")).collect()
    }

    #[test]
    fn names_and_values_are_read() {
        check("", &[]);
        check("A=1", &[("A", "1")]);
        check(
            "A=1\nB=\n\n# C=3\n  # more\nTF_VAR_my-var=x",
            &[("A", "1"), ("B", ""), ("TF_VAR_my-var", "x")],
        );
        check(
            "\u{feff}export A=1\r\n export\tB = 2 \r\nexport=3\r\n",
            &[("A", "1"), ("B", "2"), ("export", "3")],
        );
        check(
            "URL=postgres://u:p@h/db?x=y#z\nJSON={\"a\": [1]}",
            &[("URL", "postgres://u:p@h/db?x=y#z"), ("JSON", "{\"a\": [1]}")],
        );
    }

    #[test]
    fn comments_end_bare_values_and_follow_quoted_ones() {
        check(
            "A=1 # one\nB=#2\nC= # none\nD=it's # it",
            &[("A", "1"), ("B", "#2"), ("C", ""), ("D", "it's")],
        );
        check(
            "A='1 # one' # two\nB=\"a # b\"  # c\nC='x' ",
            &[("A", "1 # one"), ("B", "a # b"), ("C", "x")],
        );
    }

    #[test]
    fn nothing_is_substituted() {
        let text = "A=$HOME/${PATH}\nB=\"$HOME ${PATH} \\$X\"\nC='$HOME'\nD=$(id) `id`";
        check(
            text,
            &[
                ("A", "$HOME/${PATH}"),
                ("B", "$HOME ${PATH} $X"),
                ("C", "$HOME"),
                ("D", "$(id) `id`"),
            ],
        );
    }

    #[test]
    fn quotes_keep_spaces_escapes_and_lines() {
        check(
            "A=' x '\nB=\" y \"\nC=''\nD=\"\"",
            &[("A", " x "), ("B", " y "), ("C", ""), ("D", "")],
        );
        check(r#"A="one\ntwo\t\"three\" \\n \'\`""#, &[("A", "one\ntwo\t\"three\" \\n '`")]);
        check(r"A='one\ntwo\'", &[("A", r"one\ntwo\")]);
        check(r"A=C:\new", &[("A", r"C:\new")]);
        check(
            "A=\"-----BEGIN\r\nabc=\r\n# def\r\n-----END\r\n\"\r\nB='1\n2'\n",
            &[("A", "-----BEGIN\nabc=\n# def\n-----END\n"), ("B", "1\n2")],
        );
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_the_rest_is_read() {
        let text = "A=1\nhush\n1B=hush\nC='a\nb' hush\nD=\"\\q hush\"\n\nA=hush\nE=5\nF='hush\nG=6";
        let found = DotEnv::read(text);
        let read: Vec<&str> = found.variables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(read, ["A", "E"]);
        let said = problems(text);
        insta::assert_snapshot!(said.join("\n"), @r#"
        2: no = after the name. Put quotes around a value of several lines
        3: what is before the = is not a variable name. Use only letters, digits and _, and do not start with a digit; after TF_VAR_, any valid name of a Terraform variable
        4: there is something after the closing quote
        6: between double quotes, a backslash can only be followed by n, r, t, \, ", ', $ or `. Use single quotes to keep backslashes as they are
        8: A is already defined on line 1
        10: the quote that begins here is never closed. Nothing after it was read
        "#);
        assert!(!said.iter().any(|line| line.contains("hush")), "{said:?}");
    }

    #[test]
    fn a_name_that_is_none_takes_its_lines_with_it() {
        let said = problems("-x='a\nB=2\n'\nbad name=1\n=2");
        let lines: Vec<&str> = said.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(lines, ["1", "4", "5"], "{said:?}");
    }

    proptest::proptest! {
        /// However a text is broken, reading it ends, and every name is a name.
        #[test]
        fn every_text_is_read_to_its_end(text in "[A-B=\"'#\\\\\n\r $é]{0,40}") {
            let found = DotEnv::read(&text);
            for (name, _) in &found.variables {
                proptest::prop_assert!(is_variable_name(name));
            }
            let last = text.matches('\n').count() + 1;
            for (line, _) in &found.problems {
                proptest::prop_assert!((1..=last).contains(line), "{} of {}", line, last);
            }
        }

        /// What any text is in single quotes is what is read.
        #[test]
        fn a_quoted_value_is_as_it_was(value in "[^'\r]{0,40}") {
            let found = DotEnv::read(&format!("A='{value}'"));
            proptest::prop_assert_eq!(found.variables, [("A".to_owned(), value)]);
        }
    }
}
