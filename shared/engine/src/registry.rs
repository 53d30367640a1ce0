//! Telling Terraform and OpenTofu of a module registry, in a CLI configuration of the run's own.
//!
//! The registry is named instead of discovered: discovery needs HTTPS, and the address that the
//! runner has may be another one than the world's.

use crate::{Environment, files};
use std::{io, path::Path};

/// The variable that names the CLI configuration.
const VARIABLE: &str = "TF_CLI_CONFIG_FILE";

/// Writes the CLI configuration into `home`, and has the environment name it, unless the stack
/// brings one of its own. `service` is the address of the registry's modules.
///
/// # Errors
/// When the file cannot be written.
pub fn describe(
    environment: &mut Environment,
    home: &Path,
    host: &str,
    service: &str,
    token: &str,
) -> io::Result<()> {
    if environment.get(VARIABLE).is_some() {
        return Ok(());
    }
    let path = home.join("terraform.rc");
    let (host, service, token) = (quoted(host), quoted(service), quoted(token));
    let text = format!(
        "host {host} {{\n  services = {{\n    \"modules.v1\" = {service}\n  }}\n}}\n\n\
         credentials {host} {{\n  token = {token}\n}}\n"
    );
    files::write_private(&path, text.as_bytes())?;
    environment.set(VARIABLE, path.to_string_lossy());
    Ok(())
}

/// A text as HCL has it, with nothing in it that means anything.
fn quoted(text: &str) -> String {
    let plain =
        text.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '$' | '%'));
    format!("\"{}\"", plain.collect::<String>())
}
