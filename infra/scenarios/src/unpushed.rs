//! What stories of work that nobody pushed need: what is found elsewhere, issues, and the times of
//! stacks.

use crate::{Planned, World};
use gantry_domain::{schedule::Schedule, stack::StackHead, timer::StackTimer};
use gantry_fake_gitlab::ProjectId;
use gantry_store::{Expect, Outcome, Write, config::DriftDefaults, keys, scheduler::DriftedStack};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

impl World {
    /// What looks for the drift of a stack find from now on.
    pub fn drifts(&mut self, slug: &str, found: Planned) {
        self.runners.drifts.insert(slug.to_owned(), found);
    }

    /// The host is down for so long: nobody sees the time go by.
    pub fn nobody_is_there(&mut self, time: Duration) {
        self.hand.advance(time);
    }

    /// Lets time pass until then, in a few steps.
    pub async fn pass_until(&mut self, then: &str) {
        let then: Timestamp = then.parse().unwrap();
        let left = then.duration_since(self.now());
        assert!(left.is_positive(), "it is {} already", self.now());
        self.pass(left.unsigned_abs()).await;
    }

    /// How all stacks are looked at for drift that say nothing else.
    pub async fn drift_defaults(&self, schedule: Option<Schedule>) {
        let set = DriftDefaults { schedule, ..DriftDefaults::default() };
        let write = Write::put(keys::drift_defaults(), Expect::Any, &set).unwrap();
        assert_eq!(self.system.store.write(vec![write]).await.unwrap(), Outcome::Written);
    }

    /// The times of a stack, also of one that was deleted, if it has any.
    pub async fn timer(&self, slug: &str) -> Option<StackTimer> {
        let stack = self.system.store.stack_ever(&slug.parse().unwrap()).await.unwrap()?;
        let key = keys::stack_timer(&stack.value.id);
        self.system.store.get::<StackTimer>(&key).await.unwrap().map(|timer| timer.value)
    }

    /// What is known of a stack as a whole.
    pub async fn head(&self, slug: &str) -> StackHead {
        let stack = self.system.store.stack_by_slug(&slug.parse().unwrap()).await.unwrap().unwrap();
        let head = self.system.store.get::<StackHead>(&keys::stack_head(&stack.value.id)).await;
        head.unwrap().map(|head| head.value).unwrap_or_default()
    }

    /// How many stacks are listed as drifted.
    pub async fn drifted(&self) -> usize {
        let listed = self.system.store.query_all::<DriftedStack>(keys::DRIFTED, "").await;
        listed.unwrap().len()
    }

    /// The issues of a project, the oldest first.
    pub async fn issues(&self, project: ProjectId) -> Vec<Value> {
        let path = "issues?state=all&order_by=created_at&sort=asc&per_page=100";
        let (status, found) = self.at_gitlab(Method::GET, project, path, None).await;
        assert!(status.is_success(), "{status}: {found}");
        found.as_array().cloned().unwrap_or_default()
    }

    /// The one issue that is open.
    pub async fn open_issue(&self, project: ProjectId) -> Value {
        let mut open = self.issues(project).await;
        open.retain(|issue| issue.get("state").is_some_and(|state| state == "opened"));
        assert_eq!(open.len(), 1, "one open issue was expected: {open:#?}\n{}", self.history());
        open.remove(0)
    }

    /// A person closes an issue.
    pub async fn close_issue(&self, project: ProjectId, issue: &Value) {
        let path = path_of(issue, "");
        let body = json!({ "state_event": "close" });
        self.done_at_gitlab(Method::PUT, project, &path, Some(body)).await;
    }

    /// A person deletes an issue.
    pub async fn delete_issue(&self, project: ProjectId, issue: &Value) {
        self.done_at_gitlab(Method::DELETE, project, &path_of(issue, ""), None).await;
    }

    /// A person moves an issue to another project.
    pub async fn move_issue(&self, project: ProjectId, issue: &Value, to: ProjectId) {
        let body = json!({ "to_project_id": to.0 });
        self.done_at_gitlab(Method::POST, project, &path_of(issue, "/move"), Some(body)).await;
    }

    async fn done_at_gitlab(
        &self,
        method: Method,
        project: ProjectId,
        path: &str,
        body: Option<Value>,
    ) {
        let (status, said) = self.at_gitlab(method, project, path, body).await;
        assert!(status.is_success(), "{path}: {status}: {said}");
    }

    /// An administrator of GitLab asks something of its API.
    async fn at_gitlab(
        &self,
        method: Method,
        project: ProjectId,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let admin = self.gitlab.create_user("administrator");
        self.gitlab.make_admin(admin);
        let token = self.gitlab.create_token(admin, &["api"], None);
        let url = format!("{}/api/v4/projects/{}/{path}", self.gitlab.base_url(), project.0);
        let mut request = self.http.request(method, url).header("PRIVATE-TOKEN", token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

fn path_of(issue: &Value, rest: &str) -> String {
    let number = issue.get("iid").and_then(Value::as_u64).unwrap();
    format!("issues/{number}{rest}")
}
