//! What an environment variable of a run may be called.

/// What names are like, for people: what [`is_variable_name`] takes.
pub const VARIABLE_NAMES: &str = "Use only letters, digits and _, and do not start with a digit; \
                                  after TF_VAR_, any valid name of a Terraform variable";

/// Whether a run can have an environment variable of this name.
///
/// A shell knows letters, digits and `_` alone. What Terraform itself looks for may have more:
/// its own identifiers have letters of any language and `-`, and a host's name has `-` in
/// `TF_TOKEN_<host>`.
/// <https://developer.hashicorp.com/terraform/language/syntax/configuration#identifiers>
pub fn is_variable_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some(input) = name.strip_prefix("TF_VAR_") {
        return input.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    }
    if let Some(host) = name.strip_prefix("TF_TOKEN_") {
        return host.chars().all(|c| plain(c) || c == '-');
    }
    name.starts_with(|c| plain(c) && !c.is_ascii_digit()) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_terraform_looks_for_are_taken() {
        for name in [
            "A",
            "_a1",
            "AWS_PROFILE",
            "TF_VAR_region",
            "TF_VAR_my-var",
            "TF_VAR_größe",
            "TF_VAR__x",
            "TF_TOKEN_app_terraform_io",
            "TF_TOKEN_my--gitlab_example_com",
            "TF_TOKEN_my-gitlab_example_com",
        ] {
            assert!(is_variable_name(name), "{name}");
        }
        for name in [
            "",
            "1A",
            "A B",
            "my-var",
            "größe",
            "TF_VAR_a b",
            "TF_VAR_a.b",
            "TF_VAR_a=b",
            "TF_VAR_a\n",
            "TF_TOKEN_größe",
            "TF_LOG-x",
            "A=B",
            "A\0",
        ] {
            assert!(!is_variable_name(name), "{name:?}");
        }
    }
}
