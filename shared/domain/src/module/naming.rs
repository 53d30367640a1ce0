//! What a module is called: guessed from its repository's name, and the host in its address.

/// The host, and its port, in the addresses of modules that an installation at `url` offers. None
/// where Terraform and OpenTofu take it for no registry's host, neither in an address nor in their
/// CLI configuration: such a name has a dot, and letters, digits and `-` besides, and letters of
/// other languages are written as they are.
pub fn registry_host(url: &str) -> Option<&str> {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next()?;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let fits = |c: char| c.is_alphanumeric() || c == '-';
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(fits)
            && !label.to_ascii_lowercase().starts_with("xn--")
    };
    (name.contains('.') && name.split('.').all(is_label)).then_some(host)
}

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

/// A file that somebody took for the configuration file, of those that lie beside it.
pub fn misnamed(names: &[String]) -> Option<&str> {
    let stem = |name: &str| name.to_lowercase().split('.').next().unwrap_or_default().to_owned();
    let ending = |name: &str| name.rsplit_once('.').map(|(_, ending)| ending.to_lowercase());
    let is_near = |name: &&String| {
        stem(name) == "config" || matches!(ending(name).as_deref(), Some("yml" | "yaml"))
    };
    names.iter().find(is_near).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_has_a_host_that_terraform_takes() {
        for (url, host) in [
            ("https://gantry.example.com/prod", Some("gantry.example.com")),
            ("https://Gantry.example.com:8443", Some("Gantry.example.com:8443")),
            ("http://127.0.0.1:8283", Some("127.0.0.1:8283")),
            ("https://bücher.example", Some("bücher.example")),
            ("http://localhost:8283", None),
            ("http://gantry:8080", None),
            ("http://[::1]:8283", None),
            ("https://my_gantry.example.com", None),
            ("https://gantry..com", None),
            ("https://xn--bcher-kva.example", None),
            ("", None),
        ] {
            assert_eq!(registry_host(url), host, "{url}");
        }
    }

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
    fn a_configuration_file_with_another_name_is_found() {
        let found = |name: &str| misnamed(&["README.md".to_owned(), name.to_owned()]).is_some();
        for name in
            ["config.yaml", "config.YML", "Config.yml", "config.json", "config", "tests.yml"]
        {
            assert!(found(name), "{name}");
        }
        for name in ["notes.md", "yaml", "my-config.tf"] {
            assert!(!found(name), "{name}");
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
