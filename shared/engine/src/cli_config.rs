//! The CLI configuration of Terraform and OpenTofu: mirrors of providers, hosts, credentials.
//!
//! Both read one file of the home (`.terraformrc`; OpenTofu `.tofurc` instead, where there is one)
//! and each `*.tfrc` of the folder `.terraform.d`, and merge them; a host that two files name is
//! what the last one says. Where `TF_CLI_CONFIG_FILE` names a file, they read that one and nothing
//! else. So Gantry writes a file of that folder, the installation's configuration is the home's
//! `.terraformrc` until a hook writes another, and [`settle`](SETTLE) makes a file that the
//! variable names the home's too.
//!
//! The registry is named instead of discovered: discovery needs HTTPS, and the address that the
//! runner has may be another one than the world's.

use crate::{Environment, files};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The variables that name a file; the second is older.
const VARIABLES: [&str; 2] = ["TF_CLI_CONFIG_FILE", "TERRAFORM_CONFIG"];
/// The file of the home that both tools read.
const FILE: &str = ".terraformrc";
/// What [`SETTLE`] exits with where the variable names a file that is not there: it stays, and the
/// tool says what it has to say of it.
pub const NOT_THERE: i32 = 4;

/// A shell script for the project root, once the hooks before init have run. `$1` is the tool's
/// command, `$2` a folder for what an apply on another machine needs, and `$3` is `changed` where
/// the home's file is not the installation's.
pub const SETTLE: &str = r#"set -e
named=${TF_CLI_CONFIG_FILE:-${TERRAFORM_CONFIG:-}}
folder=$HOME/.terraform.d
if [ -n "$named" ]; then
    [ -r "$named" ] || exit 4
    cp -fL -- "$named" "$HOME/.gantry.tfrc"
    rm -f "$HOME/.terraformrc" "$HOME/.tofurc"
    for file in "$folder"/*.tfrc "$folder"/*.tfrc.json; do
        case $file in */zz-gantry.tfrc) ;; *) rm -f "$file" ;; esac
    done
    mv -f "$HOME/.gantry.tfrc" "$HOME/.terraformrc"
elif [ "$1" = tofu ] && [ -n "${XDG_CONFIG_HOME:-}" ]; then
    # OpenTofu looks there when it finds nothing in the home, where Gantry may have written.
    own=$(ls -A "$folder" 2> /dev/null | grep -vx zz-gantry.tfrc || true)
    for file in "$XDG_CONFIG_HOME"/opentofu/*.tfrc "$XDG_CONFIG_HOME"/opentofu/*.tfrc.json; do
        [ -n "$own" ] || [ ! -f "$file" ] || { mkdir -p "$folder" && cp -fL "$file" "$folder"; }
    done
    file=$XDG_CONFIG_HOME/opentofu/tofurc
    [ "$3" = changed ] || [ -e "$HOME/.tofurc" ] || [ ! -f "$file" ] || cp -fL "$file" "$HOME/.tofurc"
fi
mkdir -p "$2/.terraform.d"
if [ -n "$named" ] || [ "$3" = changed ]; then
    [ ! -f "$HOME/.terraformrc" ] || cp -fL "$HOME/.terraformrc" "$2"
fi
[ ! -f "$HOME/.tofurc" ] || cp -fL "$HOME/.tofurc" "$2"
for file in "$folder"/*.tfrc "$folder"/*.tfrc.json; do
    case $file in */zz-gantry.tfrc) continue ;; esac
    [ ! -f "$file" ] || cp -fL "$file" "$2/.terraform.d"
done"#;

/// A shell script that puts back into the home what [`SETTLE`] has kept in the folder `$1`.
pub const PUT_BACK: &str = r#"cp -fR "$1"/. "$HOME""#;

/// Writes the installation's configuration into a run's new home.
pub fn write_installations(home: &Path, text: &str) -> io::Result<()> {
    files::write_private(&home.join(FILE), text.as_bytes())
}

/// Whether the home's file is another one than the installation's.
pub fn is_changed(home: &Path, installations: Option<&str>) -> bool {
    of_home(home).as_deref() != installations
}

/// What the home's file says; none where there is none that can be read.
pub fn of_home(home: &Path) -> Option<String> {
    files::open_regular(home, &home.join(FILE)).and_then(io::read_to_string).ok()
}

/// Writes Gantry's registry into a run's new home. `service` is the address of its modules.
pub fn write_registry(home: &Path, host: &str, service: &str, token: &str) -> io::Result<()> {
    let folder = home.join(".terraform.d");
    files::make_folder(&folder, 0o700)?;
    let (host, service, token) = (quoted(host), quoted(service), quoted(token));
    let text = format!(
        "host {host} {{\n  services = {{\n    \"modules.v1\" = {service}\n  }}\n}}\n\n\
         credentials {host} {{\n  token = {token}\n}}\n"
    );
    // Its name is the last of the folder.
    files::write_private(&folder.join("zz-gantry.tfrc"), text.as_bytes())
}

/// Whether a variable names a file.
pub fn is_named(environment: &Environment) -> bool {
    VARIABLES.iter().any(|name| environment.get(name).is_some_and(|file| !file.is_empty()))
}

/// Whether the tools read nothing but what lies in `home`.
pub fn is_only_of(environment: &Environment, home: &Path) -> bool {
    let has_another = environment.get("XDG_CONFIG_HOME").is_some_and(|folder| !folder.is_empty());
    let is_home = environment.get("HOME").is_some_and(|folder| Path::new(folder) == home);
    is_home && !has_another && !is_named(environment)
}

/// Lets the tools read the home.
pub fn name_none(environment: &mut Environment) {
    for name in VARIABLES {
        environment.unset(name);
    }
}

/// What is secret in a configuration: the values of its tokens and passwords, and the passwords in
/// its addresses.
pub fn secrets(text: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    for (name, value) in values(text) {
        let address = value.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
        if let Some((_, password)) = address.and_then(|(user, _)| user.split_once(':')) {
            secrets.push(password.to_owned());
        }
        let name = name.to_ascii_lowercase();
        if ["token", "password", "secret"].iter().any(|part| name.contains(part)) {
            secrets.push(value);
        }
    }
    secrets.retain(|secret| !secret.is_empty());
    secrets
}

/// The folders that a configuration names as mirrors of providers.
pub fn mirrors(text: &str) -> Vec<PathBuf> {
    let paths = values(text).into_iter().filter(|(name, _)| name == "path");
    paths.map(|(_, path)| PathBuf::from(path)).filter(|path| path.is_absolute()).collect()
}

/// The quoted texts of a configuration, in either form, each with the name before it.
fn values(text: &str) -> Vec<(String, String)> {
    let mut values = Vec::new();
    let mut name = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = if c == '"' {
            let (value, end) = quoted_text(rest);
            // In JSON, names are quoted too.
            values.push((std::mem::replace(&mut name, value.clone()), value));
            end
        } else if c == '#' || rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if c.is_alphanumeric() || c == '_' {
            let word = |c: char| !(c.is_alphanumeric() || c == '_' || c == '-');
            let end = rest.find(word).unwrap_or(rest.len());
            name = rest[..end].to_owned();
            end
        } else {
            if !(c.is_whitespace() || c == '=' || c == ':' || c == '[') {
                name.clear();
            }
            c.len_utf8()
        };
        rest = &rest[end..];
    }
    values
}

/// The quoted text that `rest` begins with, without its escapes, and where it ends.
fn quoted_text(rest: &str) -> (String, usize) {
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, at + 1),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    (value, rest.len())
}

/// A text as HCL has it, with nothing in it that means anything.
fn quoted(text: &str) -> String {
    let plain =
        text.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '$' | '%'));
    format!("\"{}\"", plain.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_passwords_are_secret_in_both_forms() {
        let hcl = r#"
            # token = "only-a-comment"
            credentials "app.example.com" {
              token = "first-token"
            }
            oci_credentials "example.com" { username = "me" password = "pass\"word" }
            provider_installation {
              network_mirror { url = "https://me:mirror-pass@mirror.example.com/path/" }
            }
        "#;
        assert_eq!(secrets(hcl), ["first-token", "pass\"word", "mirror-pass"]);
        let json = r#"{"credentials": {"token.example.com": {"token": "second-token"}}}"#;
        assert_eq!(secrets(json), ["second-token"]);
    }

    #[test]
    fn mirrors_are_found_in_both_forms() {
        let hcl = r#"
            provider_installation {
              filesystem_mirror {
                path    = "/srv/mirror"
                include = ["example.com/*/*"]
              }
              filesystem_mirror { path = "relative" }
            }
        "#;
        assert_eq!(mirrors(hcl), [PathBuf::from("/srv/mirror")]);
        let json = r#"{"provider_installation": [{"filesystem_mirror": [{"path": "/srv/m"}]}]}"#;
        assert_eq!(mirrors(json), [PathBuf::from("/srv/m")]);
    }
}
