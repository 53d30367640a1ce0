//! Globs as people type them: over whole paths of the repository, and over the names of tags.

use crate::stack::in_repository;
use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

fn build(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).build()
}

/// A pattern over tags, ready to be compared.
pub(super) fn over_tags(pattern: &str) -> Option<GlobMatcher> {
    build(pattern).ok().map(|glob| glob.compile_matcher())
}

/// Globs over paths. One without wildcards that names a folder means all that is in it.
pub fn over_paths(patterns: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        for glob in [build(pattern), build(&format!("{pattern}/**"))] {
            match glob {
                Ok(glob) => drop(set.add(glob)),
                Err(_) => continue,
            }
            if !is_literal(pattern) {
                break;
            }
        }
    }
    set.build().unwrap_or_else(|_| GlobSet::empty())
}

/// The folder that everything lies in, or below, that a glob over paths can match; empty for the
/// repository itself.
pub fn folder_of(pattern: &str) -> String {
    let parts: Vec<&str> = pattern.split('/').collect();
    let literal = parts.iter().take(parts.len() - 1).take_while(|part| is_literal(part));
    literal.copied().collect::<Vec<_>>().join("/")
}

/// It has no wildcard.
fn is_literal(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', ']', '{', '}', '\\'])
}

/// A glob over the repository's paths without the blanks around it, or what is wrong with it: also
/// that it could match nothing, because no path in a repository looks like it.
pub fn check_over_paths(root: &str, pattern: &str) -> Result<String, String> {
    let pattern = pattern.trim();
    if pattern.is_empty() {
        return Err("A glob cannot be empty.".to_owned());
    }
    if pattern.contains(char::is_control) {
        return Err("A glob cannot contain a line break or another control character.".to_owned());
    }
    let parts: Vec<&str> = pattern.split('/').collect();
    let before_last = &parts[..parts.len() - 1];
    // What braces and commas part is a beginning too: {../a,b}/*.tf.
    let is_step = |part: &&str| {
        let last = part.rsplit(['{', ',']).next().unwrap_or_default();
        [".", ".."].contains(&last) || [".", ".."].contains(part)
    };
    let wrong = if pattern.starts_with('!') {
        Some("Globs only add paths; ! cannot exclude any. List the paths that count.")
    } else if pattern.contains('\\') {
        Some(
            "Separate folders with /, not \\. To match a special character itself, put it in \
             brackets: [*].",
        )
    } else if pattern.starts_with('/') {
        Some("Globs are relative to the repository's root and cannot start with /.")
    } else if before_last.iter().any(is_step) || parts.iter().any(|p| [".", ".."].contains(p)) {
        Some(
            "Globs match whole paths from the repository's root and cannot contain . or .. as a \
             folder.",
        )
    } else if pattern.ends_with('/') {
        Some("Globs match files, not folders. Use ** for all files below a folder.")
    } else if parts.contains(&"") {
        Some("No path contains //.")
    } else if parts.iter().any(|part| part.trim() != *part) {
        Some("No path has a space next to a /.")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        return Err(match meant(root, pattern) {
            Some(meant) => format!("{wrong} Use {meant} instead."),
            None => wrong.to_owned(),
        });
    }
    build(pattern).map_err(|error| format!("Not a valid glob: {}", error.kind()))?;
    Ok(pattern.to_owned())
}

/// The glob that somebody meant, probably.
fn meant(root: &str, pattern: &str) -> Option<String> {
    if pattern.starts_with('!') || pattern.contains('{') {
        return None;
    }
    let path = pattern.replace('\\', "/");
    let is_folder = path.ends_with('/');
    let segments: Vec<&str> =
        path.split('/').map(str::trim).filter(|part| !["", "."].contains(part)).collect();
    let climbs = segments.first() == Some(&"..");
    let mut path = in_repository(if climbs { root } else { "" }, &segments.join("/"));
    if is_folder && !path.is_empty() && !path.ends_with("**") {
        path.push_str("/**");
    }
    (!path.is_empty() && build(&path).is_ok()).then_some(path)
}

/// Says what is wrong with a pattern over tags: also that no tag could have such a name.
pub fn check_over_tags(pattern: &str) -> Result<(), String> {
    if let Some(bare) = pattern.strip_prefix("refs/tags/") {
        return Err(format!("Match the bare tag name, without refs/tags/: {bare}"));
    }
    if pattern.starts_with('!') {
        return Err("Patterns cannot exclude tags with !. Match the tags that should start a run."
            .to_owned());
    }
    build(pattern).map_err(|error| format!("Not a valid glob: {}", error.kind()))?;
    let ends = pattern.ends_with('/').then_some("a / at the end");
    // In these, a sign may stand for something else, or be one choice of several.
    let is_plain = !pattern.contains(['[', '{', '\\']);
    match ends.or_else(|| not_in_tags(pattern).filter(|_| is_plain)) {
        Some(part) => {
            Err(format!("Cannot match any tag: Git does not allow a tag name with {part}"))
        }
        None => Ok(()),
    }
}

/// What is in a text that is in no tag's name, by Git's own rules (`git check-ref-format`).
pub fn not_in_tags(text: &str) -> Option<&'static str> {
    let inside = [
        (" ", "a space"),
        ("\t", "a space"),
        ("\\", "a \\"),
        ("~", "a ~"),
        ("^", "a ^"),
        (":", "a :"),
        ("..", "two dots in a row"),
        ("//", "two slashes in a row"),
        ("@{", "@{"),
    ];
    let found = inside.iter().find(|(part, _)| text.contains(part)).map(|(_, words)| *words);
    found.or_else(|| text.starts_with(['/', '-']).then_some("a / or - at the start"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_that_can_match_nothing_is_refused_with_the_right_form() {
        let said = |pattern: &str| match check_over_paths("live/prod/net", pattern) {
            Ok(taken) => format!("{pattern:?} is taken: {taken}"),
            Err(problem) => format!("{pattern:?} {problem}"),
        };
        let all: Vec<_> = [
            "../../modules/**/*.tf",
            "../../../../modules/**",
            "./modules/**",
            "modules/../vpc/**",
            "modules/",
            "modules/**/",
            "modules\\**",
            "..\\modules\\*.tf",
            "!modules/**",
            "/modules/**",
            "//modules/**",
            "modules//vpc/*.tf",
            "modules /vpc/*.tf",
            "{../a,b}/*.tf",
            "{a,./b}/*.tf",
            "/",
            "..",
            ".",
            "./",
            "!",
            " ",
            "a\nb",
            "a/[",
        ]
        .map(said)
        .into();
        insta::assert_snapshot!(all.join("\n"), @r#"
        "../../modules/**/*.tf" Globs match whole paths from the repository's root and cannot contain . or .. as a folder. Use live/modules/**/*.tf instead.
        "../../../../modules/**" Globs match whole paths from the repository's root and cannot contain . or .. as a folder. Use modules/** instead.
        "./modules/**" Globs match whole paths from the repository's root and cannot contain . or .. as a folder. Use modules/** instead.
        "modules/../vpc/**" Globs match whole paths from the repository's root and cannot contain . or .. as a folder. Use vpc/** instead.
        "modules/" Globs match files, not folders. Use ** for all files below a folder. Use modules/** instead.
        "modules/**/" Globs match files, not folders. Use ** for all files below a folder. Use modules/** instead.
        "modules\\**" Separate folders with /, not \. To match a special character itself, put it in brackets: [*]. Use modules/** instead.
        "..\\modules\\*.tf" Separate folders with /, not \. To match a special character itself, put it in brackets: [*]. Use live/prod/modules/*.tf instead.
        "!modules/**" Globs only add paths; ! cannot exclude any. List the paths that count.
        "/modules/**" Globs are relative to the repository's root and cannot start with /. Use modules/** instead.
        "//modules/**" Globs are relative to the repository's root and cannot start with /. Use modules/** instead.
        "modules//vpc/*.tf" No path contains //. Use modules/vpc/*.tf instead.
        "modules /vpc/*.tf" No path has a space next to a /. Use modules/vpc/*.tf instead.
        "{../a,b}/*.tf" Globs match whole paths from the repository's root and cannot contain . or .. as a folder.
        "{a,./b}/*.tf" Globs match whole paths from the repository's root and cannot contain . or .. as a folder.
        "/" Globs are relative to the repository's root and cannot start with /.
        ".." Globs match whole paths from the repository's root and cannot contain . or .. as a folder. Use live/prod instead.
        "." Globs match whole paths from the repository's root and cannot contain . or .. as a folder.
        "./" Globs match whole paths from the repository's root and cannot contain . or .. as a folder.
        "!" Globs only add paths; ! cannot exclude any. List the paths that count.
        " " A glob cannot be empty.
        "a\nb" A glob cannot contain a line break or another control character.
        "a/[" Not a valid glob: unclosed character class; missing ']'
        "#);
    }

    #[test]
    fn a_glob_that_can_match_is_taken() {
        for pattern in [
            "modules/**/*.tf",
            "modules",
            "Makefile",
            "modules/**",
            "**/*.tf",
            ".gitlab-ci.yml",
            ".config/**",
            "a..b/*",
            "..a/*",
            "{a,b}/*.tf",
            "{.,_}config/*",
            "mod*/x[!a].tf",
            "my folder/*.tf",
            "a!b/*",
            "**",
            "[*]/x",
        ] {
            assert_eq!(check_over_paths("", pattern), Ok(pattern.to_owned()), "{pattern}");
        }
        assert_eq!(check_over_paths("", "  modules/** "), Ok("modules/**".to_owned()));
    }

    #[test]
    fn a_name_without_wildcards_is_a_file_or_a_folder_with_all_in_it() {
        let touches = |pattern: &str, path: &str| over_paths(&[pattern.to_owned()]).is_match(path);
        for path in ["modules/vpc", "modules/vpc/main.tf", "modules/vpc/a/b.tf"] {
            assert!(touches("modules/vpc", path), "{path}");
        }
        assert!(!touches("modules/vpc", "modules/vpcs/main.tf"));
        assert!(!touches("modules/*", "modules/vpc/main.tf"));
    }

    #[test]
    fn where_a_glob_looks() {
        for (pattern, folder) in [
            ("modules/vpc/**/*.tf", "modules/vpc"),
            ("modules/vpc", "modules"),
            ("modules/v*/a/b", "modules"),
            ("**/*.tf", ""),
            ("Makefile", ""),
            ("{a,b}/c", ""),
        ] {
            assert_eq!(folder_of(pattern), folder, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_over_tags_that_no_tag_can_match_is_refused() {
        let said = |pattern: &str| match check_over_tags(pattern) {
            Ok(()) => format!("{pattern:?} is taken"),
            Err(problem) => format!("{pattern:?} {problem}"),
        };
        let all: Vec<_> = [
            "v*",
            "net/v[0-9]*",
            "{v, r}*",
            "v[^0]*",
            "v1\\.*",
            "refs/tags/v*",
            "!v*",
            "/v*",
            "v*/",
            "v *",
            "a//v*",
            "v..*",
            "v[",
        ]
        .map(said)
        .into();
        insta::assert_snapshot!(all.join("\n"), @r#"
        "v*" is taken
        "net/v[0-9]*" is taken
        "{v, r}*" is taken
        "v[^0]*" is taken
        "v1\\.*" is taken
        "refs/tags/v*" Match the bare tag name, without refs/tags/: v*
        "!v*" Patterns cannot exclude tags with !. Match the tags that should start a run.
        "/v*" Cannot match any tag: Git does not allow a tag name with a / or - at the start
        "v*/" Cannot match any tag: Git does not allow a tag name with a / at the end
        "v *" Cannot match any tag: Git does not allow a tag name with a space
        "a//v*" Cannot match any tag: Git does not allow a tag name with two slashes in a row
        "v..*" Cannot match any tag: Git does not allow a tag name with two dots in a row
        "v[" Not a valid glob: unclosed character class; missing ']'
        "#);
    }
}
