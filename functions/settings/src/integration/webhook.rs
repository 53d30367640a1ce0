//! What a webhook needs to be made: here or by hand.

use crate::{
    app::{App, PublicUrl},
    refusal::{Answer, Refusal},
};
use gantry_domain::ProjectId;
use gantry_gitlab::webhook::WebhookSecrets;
use gantry_secrets::SecretName;
use jiff::Timestamp;
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::Serialize;

/// The path of the webhook endpoint below the public address.
const PATH: &str = "/webhooks/gitlab";

/// The events that a webhook has to be made for, as GitLab's API names them.
static EVENTS: [&str; 4] =
    ["push_events", "tag_push_events", "merge_requests_events", COMMENT_EVENTS];
/// Only where a stack of the project takes commands from comments.
const COMMENT_EVENTS: &str = "note_events";

/// Where GitLab is to call, and whether it can.
pub(crate) struct Addresses {
    /// The webhook's address; none when nobody said how this installation is reached.
    pub(crate) endpoint: Option<String>,
    /// Why GitLab cannot call, in one line; none when nothing speaks against it.
    pub(crate) note: Option<String>,
}

impl Addresses {
    /// The addresses of this installation, for a GitLab on `api_host`.
    pub(crate) fn of(public_url: Option<&PublicUrl>, api_host: &str) -> Self {
        Self {
            endpoint: public_url.map(|url| format!("{url}{PATH}")),
            note: cannot_call(public_url, api_host),
        }
    }
}

/// Why GitLab cannot call here; none when nothing speaks against it. A GitLab on this machine
/// can call a loopback address.
pub(crate) fn cannot_call(public_url: Option<&PublicUrl>, api_host: &str) -> Option<String> {
    let here = api_host.parse::<PublicUrl>().is_ok_and(|host| host.is_loopback());
    let why = match public_url {
        None => "GANTRY_PUBLIC_URL is not set".to_owned(),
        Some(url) if url.is_loopback() && !here => {
            format!("{url} can be reached only from this machine")
        }
        Some(_) => return None,
    };
    Some(format!(
        "GitLab cannot reach Gantry: {why}. Changes are found by polling GitLab instead (every \
         30 s on a single machine). To change that, set GANTRY_PUBLIC_URL to a URL that GitLab \
         can reach, and restart Gantry."
    ))
}

/// The secrets that webhooks carry; made when GitLab is connected.
pub(crate) async fn kept_secrets(app: &App) -> Answer<WebhookSecrets> {
    let kept = app.secrets.get(SecretName::WebhookSecrets).await?.ok_or_else(|| {
        Refusal::conflict("GitLab is not connected", "Connect it first (PUT /api/v1/integration).")
    })?;
    WebhookSecrets::from_json(&kept)
        .map_err(|error| Refusal::from(gantry_setup::web::Problem::internal(&error)))
}

/// What is needed to create a project's webhook by hand.
#[derive(Clone, Serialize, JsonSchema)]
pub(crate) struct Webhook {
    /// The URL for GitLab to call; null if the installation's public URL is not known.
    pub(crate) endpoint: Option<String>,
    /// The events to enable, as GitLab's API names them.
    events: &'static [&'static str],
    /// A `gitlab_project_hook` for GitLab's Terraform provider.
    pub(crate) terraform: String,
    /// Present for admins only. They do not belong in Terraform code.
    #[serde(flatten)]
    pub(crate) secrets: Option<HookSecrets>,
}

/// What authenticates GitLab's calls. Admins can always see it, because webhooks are also created
/// by hand.
#[derive(Clone, Serialize, JsonSchema)]
pub(crate) struct HookSecrets {
    /// The secret token; for admins only.
    pub(crate) secret: String,
    /// The signing token (GitLab 19.0 and newer); for admins only.
    #[schemars(extend("x-may-be-null" = true))]
    pub(crate) signing_token: Option<String>,
    /// Until when the secret before the last rotation still works; for admins only. Absent for a
    /// webhook that does not exist yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-may-be-null" = true))]
    pub(crate) previous_secret_until: Option<Option<Timestamp>>,
}

impl HookSecrets {
    /// Those for a hook that is not there yet.
    pub(crate) fn of_new(secrets: &WebhookSecrets) -> Self {
        let signing = secrets.signing_token.as_ref().map(|secret| secret.expose_secret());
        Self {
            secret: secrets.token.expose_secret().to_owned(),
            signing_token: signing.map(str::to_owned),
            previous_secret_until: None,
        }
    }

    /// Those of all hooks, as they are now.
    pub(super) fn at(secrets: &WebhookSecrets, now: Timestamp) -> Self {
        let previous = secrets.previous_token.as_ref().map(|previous| previous.expires_at);
        let until = previous.filter(|until| *until > now);
        Self { previous_secret_until: Some(until), ..Self::of_new(secrets) }
    }
}

/// What somebody needs to make the webhook by hand, without its secrets.
pub(crate) fn by_hand(
    endpoint: Option<&str>,
    project: Option<ProjectId>,
    signs: bool,
    comments: bool,
) -> Webhook {
    let events = EVENTS.split_last().map(|(_, others)| others).filter(|_| !comments);
    Webhook {
        endpoint: endpoint.map(str::to_owned),
        events: events.unwrap_or(&EVENTS),
        terraform: terraform(endpoint, project, signs, comments),
        secrets: None,
    }
}

/// A `gitlab_project_hook` for GitLab's Terraform provider.
fn terraform(
    endpoint: Option<&str>,
    project: Option<ProjectId>,
    signs: bool,
    comments: bool,
) -> String {
    let project = project.map_or_else(
        || "\"group/project\" # the project's path or ID".to_owned(),
        |project| project.to_string(),
    );
    let endpoint = endpoint.unwrap_or("https://<Gantry's address>/webhooks/gitlab");
    let mut names = vec!["gantry_webhook_secret"];
    let mut fields = vec![("project", project), ("url", quoted(endpoint))];
    let events = EVENTS.iter().copied().filter(|event| comments || *event != COMMENT_EVENTS);
    fields.extend(events.map(|event| (event, "true".to_owned())));
    fields.push(("token", "var.gantry_webhook_secret".to_owned()));
    if signs {
        names.push("gantry_signing_token");
        fields.push(("signing_token", "var.gantry_signing_token".to_owned()));
    }
    let mut text = String::new();
    for name in names {
        text.push_str(&format!(
            "variable \"{name}\" {{\n  type      = string\n  sensitive = true\n}}\n\n"
        ));
    }
    text.push_str("resource \"gitlab_project_hook\" \"gantry\" {\n");
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields {
        text.push_str(&format!("  {name:width$} = {value}\n"));
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace("${", "$${").replace("%{", "%%{"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terraform_block_is_ready() {
        let text =
            terraform(Some("https://g.example/webhooks/gitlab"), Some(ProjectId(7)), true, false);
        insta::assert_snapshot!(text, @r#"
        variable "gantry_webhook_secret" {
          type      = string
          sensitive = true
        }

        variable "gantry_signing_token" {
          type      = string
          sensitive = true
        }

        resource "gitlab_project_hook" "gantry" {
          project               = 7
          url                   = "https://g.example/webhooks/gitlab"
          push_events           = true
          tag_push_events       = true
          merge_requests_events = true
          token                 = var.gantry_webhook_secret
          signing_token         = var.gantry_signing_token
        }
        "#);
        let with_comments = terraform(None, None, false, true);
        assert!(with_comments.contains("  note_events           = true\n"), "{with_comments}");
        assert_eq!(quoted("a\"${b}"), "\"a\\\"$${b}\"");
    }

    #[test]
    fn who_can_call_is_said() {
        let url = |text: &str| text.parse::<PublicUrl>().unwrap();
        let can = |here: Option<&PublicUrl>, host: &str| cannot_call(here, host).is_none();
        let (local, public) = (url("http://127.0.0.1:1"), url("https://g.example"));
        assert!(can(Some(&public), "https://gitlab.com"));
        assert!(can(Some(&local), "http://localhost:3000"));
        assert!(!can(Some(&local), "https://gitlab.com"));
        assert!(!can(None, "http://localhost:3000"));
    }
}
