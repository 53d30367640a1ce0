//! What a module is called, guessed from its repository's name.

/// The name and the provider of a module, from a project's path whose last segment is
/// `terraform-<provider>-<name>`, as registries want it
/// (<https://developer.hashicorp.com/terraform/registry/modules/publish>). Both are of the form
/// that a module's address can hold: the provider 1 to 64 of a-z and 0-9, the name 1 to 64 of
/// a-z, A-Z, 0-9, `-` and `_`, beginning and ending with a letter or digit.
pub fn guess(project_path: &str) -> Option<(&str, &str)> {
    let last = project_path.trim_end_matches('/').rsplit('/').next()?;
    let (provider, name) = last.strip_prefix("terraform-")?.split_once('-')?;
    let is_provider = (1..=64).contains(&provider.len())
        && provider.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_edge = |c: char| c.is_ascii_alphanumeric();
    let is_name = (1..=64).contains(&name.len())
        && name.starts_with(is_edge)
        && name.ends_with(is_edge)
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    (is_provider && is_name).then_some((name, provider))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_follow_the_convention() {
        for (path, name, provider) in [
            ("infra/modules/terraform-aws-vpc", "vpc", "aws"),
            ("terraform-aws-s3-bucket", "s3-bucket", "aws"),
            ("a/terraform-null-label/", "label", "null"),
            ("a/terraform-azure2-a_B", "a_B", "azure2"),
        ] {
            assert_eq!(guess(path), Some((name, provider)), "{path}");
        }
    }

    #[test]
    fn names_that_say_nothing() {
        for path in [
            "",
            "/",
            "vpc",
            "terraform-aws",
            "terraform-aws-",
            "terraform--vpc",
            "terraform-AWS-vpc",
            "terraform-aws--vpc",
            "terraform-aws-vpc-",
            "terraform-aws-v.pc",
            "Terraform-aws-vpc",
            "terraform-aws-vpc/examples",
            "my-terraform-aws-vpc",
        ] {
            assert_eq!(guess(path), None, "{path}");
        }
    }
}
