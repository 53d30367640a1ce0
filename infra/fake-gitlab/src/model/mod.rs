//! Everything the server remembers.

pub(crate) mod environment;
pub(crate) mod group;
pub(crate) mod hook;
pub(crate) mod ids;
pub(crate) mod issue;
pub(crate) mod merge_request;
pub(crate) mod oauth;
pub(crate) mod pipeline;
pub(crate) mod project;
pub(crate) mod state;
pub(crate) mod user;

pub(crate) use environment::{Deployment, Environment};
pub(crate) use group::Group;
pub(crate) use hook::{Hook, HookEvent};
pub use ids::{GroupId, IssueIid, MergeRequestIid, NoteId, PipelineId, ProjectId, UserId};
pub(crate) use issue::{Issue, IssueState};
pub(crate) use merge_request::{Award, DiffRefs, MergeRequest, MrState, Note};
pub use oauth::Application;
pub(crate) use oauth::{Grant, Oauth, OauthToken};
pub(crate) use pipeline::{Job, JobKind, Pipeline, Source};
pub(crate) use project::Project;
pub(crate) use state::State;
pub(crate) use user::{Token, User};
