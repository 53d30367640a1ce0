//! Project webhooks.

use crate::{Client, Error, absent::Thing, call::Call};
use gantry_domain::ProjectId;
use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

/// A webhook of a project. GitLab never tells its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ProjectHook {
    /// GitLab's id.
    pub id: u64,
    /// Where it calls.
    pub url: String,
    /// Calls for pushes to branches.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub push_events: bool,
    /// Calls for tags.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub tag_push_events: bool,
    /// Calls for merge requests.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub merge_requests_events: bool,
    /// Calls for comments.
    #[serde(default, deserialize_with = "crate::reading::or_default")]
    pub note_events: bool,
    /// Pushes only of branches like this; none or empty means all.
    #[serde(default, deserialize_with = "crate::reading::filled")]
    pub push_events_branch_filter: Option<String>,
    /// False when somebody switched the check of our certificate off.
    pub enable_ssl_verification: Option<bool>,
    /// Whether it sends a secret token; told by newer servers only.
    pub token_present: Option<bool>,
    /// Whether it signs; told since 19.0. Older servers ignore a signing token without a word.
    pub signing_token_present: Option<bool>,
    /// `executable`, `temporarily_disabled` or `disabled`.
    pub alert_status: Option<String>,
    /// Until when it is switched off after failures, as GitLab writes it.
    pub disabled_until: Option<String>,
}

impl ProjectHook {
    /// True when GitLab switched it off after failures: events are lost meanwhile.
    pub fn is_disabled(&self) -> bool {
        matches!(self.alert_status.as_deref(), Some("disabled" | "temporarily_disabled"))
    }

    /// True when it calls for everything that Gantry acts upon in every project.
    pub fn has_all_events(&self) -> bool {
        self.push_events
            && self.tag_push_events
            && self.merge_requests_events
            && self.push_events_branch_filter.is_none()
    }
}

/// The webhook that Gantry wants: pushes, tags and merge requests, all branches.
#[derive(Debug, Clone)]
pub struct HookSettings {
    /// Where to call.
    pub url: String,
    /// What `X-Gitlab-Token` is to carry. GitLab forgets the old one when the address changes.
    pub token: SecretString,
    /// The key to sign with; servers before 19.0 ignore it.
    pub signing_token: Option<SecretString>,
    /// False only for a receiver whose certificate GitLab cannot check.
    pub verify_tls: bool,
    /// Call for comments too. False leaves that as it is.
    pub note_events: bool,
}

impl HookSettings {
    fn body(&self) -> Value {
        let mut body = json!({
            "url": self.url,
            "token": self.token.expose_secret(),
            "push_events": true,
            "tag_push_events": true,
            "merge_requests_events": true,
            "push_events_branch_filter": "",
            "enable_ssl_verification": self.verify_tls,
        });
        if self.note_events {
            body["note_events"] = json!(true);
        }
        if let Some(signing) = &self.signing_token {
            body["signing_token"] = json!(signing.expose_secret());
        }
        body
    }
}

impl Client {
    /// Every webhook of the project. Needs the Maintainer role.
    pub async fn hooks(&self, project: ProjectId) -> Result<Vec<ProjectHook>, Error> {
        self.list(Call::project(Method::GET, project, &["hooks"])).await
    }

    /// Makes a webhook. GitLab takes the same address twice: list first.
    pub async fn create_hook(
        &self,
        project: ProjectId,
        settings: &HookSettings,
    ) -> Result<ProjectHook, Error> {
        let call = Call::project(Method::POST, project, &["hooks"]);
        self.json(call.body(settings.body())).await
    }

    /// Sets a webhook's address, secrets and events.
    pub async fn update_hook(
        &self,
        project: ProjectId,
        hook: u64,
        settings: &HookSettings,
    ) -> Result<ProjectHook, Error> {
        let call = Call::project(Method::PUT, project, &["hooks", &hook.to_string()]);
        self.json(call.body(settings.body())).await
    }

    /// Deletes a webhook. One that is gone already is no error.
    pub async fn delete_hook(&self, project: ProjectId, hook: u64) -> Result<(), Error> {
        let call = Call::project(Method::DELETE, project, &["hooks", &hook.to_string()]);
        let what = Thing::Webhook.of(project);
        self.unless_absent(what, self.done(call.clone()), self.done(call)).await.map(drop)
    }
}
