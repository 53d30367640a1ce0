//! Constraints on the version of the tool that no tool looks at.

use crate::{
    code::{self, Configuration, RootFile},
    stack::Tool,
};

/// The first OpenTofu that takes `required_version` in files that Terraform may read, too, for a
/// word to Terraform.
const FIRST: (u64, u64) = (1, 12);

/// What people should know of a `required_version` that the tool of a stack does not look at.
/// `version` is the tool's, where it is known.
pub fn unenforced_version(
    files: &[RootFile<'_>],
    tool: Tool,
    version: Option<&semver::Version>,
) -> Option<String> {
    let is_older = version.is_some_and(|version| (version.major, version.minor) < FIRST);
    if tool != Tool::OpenTofu || is_older {
        return None;
    }
    let files = code::configuration(files, tool);
    let asked = |file: &Configuration<'_>| {
        let mut blocks = file.body.of("terraform");
        blocks.find_map(|block| block.body.get("required_version").map(str::to_owned))
    };
    let own = |file: &Configuration<'_>| {
        file.is_for_opentofu() && asked(file).is_some()
            || file.body.of("language").any(|block| block.body.of("compatible_with").count() > 0)
    };
    if files.iter().any(own) {
        return None;
    }
    let (name, asked) = files.iter().find_map(|file| Some((file.name, asked(file)?)))?;
    Some(format!(
        "required_version = {asked} in {name} only applies to Terraform. Since 1.12, OpenTofu \
         ignores it and plans with any version. Put it in a .tofu file, or use language {{ \
         compatible_with {{ opentofu = … }} }}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKS: &str = "terraform {\n  required_version = \"< 1.0\"\n}\n";
    const LANGUAGE: &str = "language {\n  compatible_with {\n    opentofu = \">= 1.12\"\n  }\n}\n";

    fn told(files: &[(&str, &str)], tool: Tool, version: Option<&str>) -> Option<String> {
        let files: Vec<_> = files.iter().map(|(name, text)| RootFile { name, text }).collect();
        let version = version.map(|version| version.parse().unwrap());
        unenforced_version(&files, tool, version.as_ref())
    }

    #[test]
    fn a_constraint_that_nobody_looks_at_is_told() {
        let files = [("main.tf", ASKS)];
        insta::assert_snapshot!(told(&files, Tool::OpenTofu, None).unwrap(), @r#"required_version = "< 1.0" in main.tf only applies to Terraform. Since 1.12, OpenTofu ignores it and plans with any version. Put it in a .tofu file, or use language { compatible_with { opentofu = … } }"#);
        assert!(told(&files, Tool::OpenTofu, Some("1.12.0")).is_some());
        let json = [("main.tf.json", r#"{"terraform": {"required_version": "< 1.0"}}"#)];
        assert!(told(&json, Tool::OpenTofu, Some("2.0.0-rc1")).is_some());
    }

    #[test]
    fn one_that_is_kept_is_not() {
        let files = [("main.tf", ASKS)];
        assert_eq!(told(&files, Tool::Terraform, None), None);
        assert_eq!(told(&files, Tool::OpenTofu, Some("1.11.9")), None);
        for own in [ASKS, LANGUAGE] {
            assert_eq!(told(&[("main.tf", ASKS), ("v.tofu", own)], Tool::OpenTofu, None), None);
        }
        // OpenTofu does not read the file at all.
        assert_eq!(told(&[("main.tf", ASKS), ("main.tofu", "")], Tool::OpenTofu, None), None);
        assert_eq!(told(&[("main.tf", "")], Tool::OpenTofu, None), None);
    }
}
