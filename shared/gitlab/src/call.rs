//! One call, before it is sent.

use crate::limits::Bucket;
use gantry_domain::{GroupId, ProjectId};
use http::Method;
use serde_json::Value;

/// One call. Paths are segments, because GitLab wants names in them encoded whole.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) segments: Vec<String>,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
    pub(crate) download: bool,
}

impl Call {
    pub(crate) fn new(method: Method, segments: &[&str]) -> Self {
        let segments = segments.iter().map(|&segment| segment.to_owned()).collect();
        Self { method, segments, query: Vec::new(), body: None, download: false }
    }

    pub(crate) fn get(segments: &[&str]) -> Self {
        Self::new(Method::GET, segments)
    }

    /// A call below `/projects/:id`.
    pub(crate) fn project(method: Method, project: ProjectId, segments: &[&str]) -> Self {
        let id = project.to_string();
        Self::new(method, &[&["projects", &id], segments].concat())
    }

    /// A read below `/groups/:id`.
    pub(crate) fn group(group: GroupId, segments: &[&str]) -> Self {
        let id = group.to_string();
        Self::get(&[&["groups", &id], segments].concat())
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(crate) fn maybe(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) fn bucket(&self) -> Bucket {
        match self.segments.get(2..4) {
            Some([a, b]) if a == "repository" && b == "files" => Bucket::Files,
            _ => Bucket::General,
        }
    }
}
