//! The sample projects.

use gantry_fake_gitlab::{Ci, CiMode, FakeGitlab, ProjectId, ProjectOptions, Protection, UserId};
use jiff::SignedDuration;

/// Terraform code that needs no provider: `terraform_data` is built in.
pub(crate) fn network_main(cidr: &str) -> String {
    format!(
        r#"# The network of a small company, as far as it can be built without a cloud account.

variable "admin_password" {{
  type      = string
  sensitive = true
  default   = "correct horse battery staple"
}}

resource "terraform_data" "network" {{
  input = {{
    name = "office"
    cidr = "{cidr}"
  }}
}}

resource "terraform_data" "firewall" {{
  input = {{
    network  = terraform_data.network.output.name
    ports    = [22, 443]
    password = var.admin_password
  }}
}}

output "cidr" {{
  value = terraform_data.network.output.cidr
}}
"#
    )
}

pub(crate) const DNS: &str = r#"
resource "terraform_data" "dns" {
  input = {
    zone    = "example.com"
    records = { www = "10.0.0.10", mail = "10.0.0.20" }
  }
}
"#;

const PLATFORM: &str = r#"resource "terraform_data" "cluster" {
  input = { nodes = 3 }
}
"#;

const CI: &str = "build:\n  script: [\"true\"]\n";

fn make(
    gitlab: &FakeGitlab,
    bot: UserId,
    path: &str,
    options: ProjectOptions,
) -> anyhow::Result<ProjectId> {
    let project = gitlab.create_project(path, options)?;
    gitlab.set_member(project, bot, 40);
    gitlab.set_member(project, gitlab.create_user("you"), 40);
    Ok(project)
}

/// `acme/network`: no CI of its own.
pub(crate) fn network(gitlab: &FakeGitlab, bot: UserId) -> anyhow::Result<ProjectId> {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let options = ProjectOptions {
        files: vec![
            file("README.md", "# Our network\n\nTerraform code lives in `network/`.\n"),
            file("network/main.tf", &network_main("10.0.0.0/16")),
        ],
        ..ProjectOptions::default()
    };
    make(gitlab, bot, "acme/network", options)
}

/// `acme/platform`: with CI of its own, and pipelines must succeed.
pub(crate) fn platform(gitlab: &FakeGitlab, bot: UserId) -> anyhow::Result<ProjectId> {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let options = ProjectOptions {
        files: vec![
            file("README.md", "# Our platform\n"),
            file(".gitlab-ci.yml", CI),
            file("main.tf", PLATFORM),
        ],
        ci: Ci {
            mode: CiMode::MergeRequest,
            delay: SignedDuration::from_secs(1),
            duration: Some(SignedDuration::from_secs(2)),
            job: "build".to_owned(),
        },
        pipelines_must_succeed: true,
        protected_branches: vec![Protection::maintainers("main")],
        ..ProjectOptions::default()
    };
    make(gitlab, bot, "acme/platform", options)
}

/// A module that takes only names of lower-case letters.
pub(crate) const MODULE: &str = r#"variable "name" {
  type        = string
  description = "The name of the zone."
  validation {
    condition     = can(regex("^[a-z]+$", var.name))
    error_message = "A zone's name has lower-case letters only."
  }
}

resource "terraform_data" "zone" {
  input = var.name
}

output "zone" {
  value       = "${terraform_data.zone.output}.example.com"
  description = "The zone's full name."
}
"#;

/// Its tests: one that passes, and one that must fail.
pub(crate) const MODULE_CONFIG: &str = "version: 1
module_version: 1.0.0
tests:
  - name: office
    variables: { TF_VAR_name: office }
  - name: refuses-capitals
    negative: true
    variables: { TF_VAR_name: Office }
";

/// Code of a stack that uses the module through the registry at `host`.
pub(crate) fn uses_module(host: &str) -> String {
    format!(
        r#"
module "zone" {{
  source  = "{host}/acme/zone/dns"
  version = "~> 1.0"
  name    = "office"
}}
"#
    )
}

/// `acme/terraform-dns-zone`: a module, not yet written.
pub(crate) fn module(gitlab: &FakeGitlab, bot: UserId) -> anyhow::Result<ProjectId> {
    let readme = "# DNS zone\n\nA module; its tests are in `.gantry/config.yml`.\n";
    let options = ProjectOptions {
        files: vec![("README.md".to_owned(), readme.to_owned())],
        ..ProjectOptions::default()
    };
    make(gitlab, bot, "acme/terraform-dns-zone", options)
}

/// Code of a web server that exists outside of any cloud, after the lines that name its provider;
/// where the tool knows actions, one is invoked at every change.
pub(crate) fn web_main(provider: &str, port: u16, with_action: bool) -> String {
    let (trigger, action) = if with_action { (TRIGGER, ACTION) } else { ("", "") };
    format!(
        r#"{provider}resource "test_object" "web" {{
  name = "web"
  text = "hello"

  rule {{
    port = {port}
    text = "open"
  }}
{trigger}}}
{action}"#
    )
}

const TRIGGER: &str = "
  lifecycle {
    action_trigger {
      events  = [after_update]
      actions = [action.test_note.told]
    }
  }
";

const ACTION: &str = r#"
action "test_note" "told" {
  config {
    text = "the web server has changed"
  }
}
"#;

/// `acme/web`: what it describes exists outside.
pub(crate) fn web(gitlab: &FakeGitlab, bot: UserId) -> anyhow::Result<ProjectId> {
    let readme = "# Our web server\n\nIt is just a file on this machine.\n";
    let options = ProjectOptions {
        files: vec![("README.md".to_owned(), readme.to_owned())],
        ..ProjectOptions::default()
    };
    make(gitlab, bot, "acme/web", options)
}
