//! Environments.

use crate::{Client, Error, absent::Thing, call::Call};
use gantry_domain::ProjectId;
use http::Method;
use serde::Deserialize;
use serde_json::json;

/// An environment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Environment {
    /// GitLab's id.
    pub id: u64,
    /// Its name, unique in the project.
    pub name: String,
    /// Where *Open* leads.
    pub external_url: Option<String>,
    /// `available`, `stopping` or `stopped`.
    pub state: Option<String>,
}

impl Client {
    /// The environment of exactly that name, stopped ones included, or none.
    pub async fn environment_by_name(
        &self,
        project: ProjectId,
        name: &str,
    ) -> Result<Option<Environment>, Error> {
        let call = Call::project(Method::GET, project, &["environments"]).query("name", name);
        let here = |environment: &Environment| environment.name == name;
        let mut found = self.list_until(call, usize::MAX, here).await?;
        Ok(found.pop().filter(here))
    }

    /// Makes an environment. A name that exists is [`Error::Refused`].
    pub async fn create_environment(
        &self,
        project: ProjectId,
        name: &str,
        external_url: Option<&str>,
    ) -> Result<Environment, Error> {
        let mut body = json!({ "name": name });
        if let Some(url) = external_url {
            body["external_url"] = json!(url);
        }
        self.json(Call::project(Method::POST, project, &["environments"]).body(body)).await
    }

    /// Sets where *Open* leads.
    pub async fn update_environment(
        &self,
        project: ProjectId,
        environment: u64,
        external_url: &str,
    ) -> Result<Environment, Error> {
        let path = ["environments", &environment.to_string()];
        let body = json!({ "external_url": external_url });
        self.json(Call::project(Method::PUT, project, &path).body(body)).await
    }

    /// Stops an environment; one that is gone is no error. A new deployment makes it available
    /// again.
    pub async fn stop_environment(
        &self,
        project: ProjectId,
        environment: u64,
    ) -> Result<(), Error> {
        let path = ["environments", &environment.to_string(), "stop"];
        let call = Call::project(Method::POST, project, &path);
        let what = Thing::Environment.of(project);
        self.unless_absent(what, self.done(call.clone()), self.done(call)).await.map(drop)
    }
}
