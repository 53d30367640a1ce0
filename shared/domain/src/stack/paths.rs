//! Paths that a stack names inside its repository, each in its one form.

/// Why a project root cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "The project root must be a folder inside the repository, such as infra/network, without .."
)]
pub struct InvalidRoot;

/// A project root in its one form: no leading, trailing or doubled slash, no `.`; empty for the
/// repository itself.
pub fn normalize_root(root: &str) -> Result<String, InvalidRoot> {
    let mut segments = Vec::new();
    for segment in root.trim().split('/') {
        match segment {
            "" | "." => {}
            ".." => return Err(InvalidRoot),
            other if is_unusable(other) => return Err(InvalidRoot),
            other => segments.push(other),
        }
    }
    Ok(segments.join("/"))
}

/// Why a variable file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "A variable file must be a file inside the repository, given by its path from the project \
     root, such as prod.tfvars or ../common.tfvars"
)]
pub struct InvalidVarFile;

/// A variable file's path from the project root in its one form: `..` at its beginning only, and
/// never out of the repository.
pub fn normalize_var_file(root: &str, path: &str) -> Result<String, InvalidVarFile> {
    let path = path.trim();
    if path.starts_with('/') || path.ends_with('/') {
        return Err(InvalidVarFile);
    }
    let depth = root.split('/').filter(|segment| !segment.is_empty()).count();
    let (mut up, mut segments) = (0, Vec::new());
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." if segments.pop().is_some() => {}
            ".." if up < depth => up += 1,
            ".." => return Err(InvalidVarFile),
            other if is_unusable(other) => return Err(InvalidVarFile),
            other => segments.push(other),
        }
    }
    if segments.is_empty() || path.ends_with("/..") || path.ends_with("/.") {
        return Err(InvalidVarFile);
    }
    Ok("../".repeat(up) + &segments.join("/"))
}

/// The path from the repository's root of what a path in the form of [`normalize_var_file`] names.
pub fn in_repository(root: &str, path: &str) -> String {
    let mut segments: Vec<&str> = root.split('/').filter(|segment| !segment.is_empty()).collect();
    for segment in path.split('/') {
        match segment {
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    segments.join("/")
}

fn is_unusable(segment: &str) -> bool {
    segment.chars().any(|c| c.is_control() || c == '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_one_form() {
        assert_eq!(normalize_root("/infra//net/./").unwrap(), "infra/net");
        assert_eq!(normalize_root(" . ").unwrap(), "");
        assert!(normalize_root("a/../b").is_err());
        assert!(normalize_root("a\nb").is_err());
    }

    #[test]
    fn a_variable_file_has_one_form_and_stays_in_the_repository() {
        let normal = |path| normalize_var_file("infra/net", path);
        assert_eq!(normal(" ./vars//eu.tfvars ").unwrap(), "vars/eu.tfvars");
        assert_eq!(normal("vars/../eu.tfvars").unwrap(), "eu.tfvars");
        assert_eq!(normal("../a/../../eu.tfvars").unwrap(), "../../eu.tfvars");
        for outside in ["../../../eu.tfvars", "a/../../../../eu.tfvars", "/eu.tfvars"] {
            assert_eq!(normal(outside), Err(InvalidVarFile), "{outside}");
        }
        for no_file in ["", ".", "..", "../..", "vars/", "vars/.", "vars/a/..", "a\nb", "a\\b"] {
            assert_eq!(normal(no_file), Err(InvalidVarFile), "{no_file}");
        }
        assert_eq!(normalize_var_file("", "../eu.tfvars"), Err(InvalidVarFile));
    }

    #[test]
    fn where_a_variable_file_is() {
        assert_eq!(in_repository("infra/net", "eu.tfvars"), "infra/net/eu.tfvars");
        assert_eq!(in_repository("infra/net", "../../vars/eu.tfvars"), "vars/eu.tfvars");
        assert_eq!(in_repository("", "eu.tfvars"), "eu.tfvars");
    }
}
