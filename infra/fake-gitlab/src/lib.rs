//! A strict, stateful GitLab for demos and tests.
//!
//! It keeps projects, branches, merge requests, pipelines, statuses, notes, environments and
//! hooks, serves GitLab's REST API and git over HTTP, sends signed webhooks, and refuses what
//! GitLab refuses, with GitLab's words.
//! A test starts one with [`FakeGitlab::start`], acts as people through [`Person`], and looks at
//! what came of it through the methods of [`FakeGitlab`].
//! What it enforces, and what it leaves out, is in the README beside the crate.

mod api;
mod config;
mod control;
mod delivery;
mod events;
mod faults;
mod git;
mod model;
mod observe;
mod pages;
mod person;
mod server;
mod service;
mod snapshot;
mod version;

pub use api::answer::Refusal;
pub use config::{
    Allowed, Ci, CiMode, Clock, Config, DeliveryMode, Gate, Limits, ProjectOptions,
    ProtectedEnvironment, Protection, Visibility,
};
pub use delivery::{Delivery, DeliveryResult};
pub use faults::{Fault, Matcher};
pub use model::{
    Application, GroupId, IssueIid, MergeRequestIid, NoteId, PipelineId, ProjectId, UserId,
};
pub use observe::{RequestRecord, Write};
pub use person::{MergeRequestSpec, Person};
pub use server::FakeGitlab;
pub use snapshot::{
    DeploymentView, EnvironmentView, HookView, IssueView, MergeRequestView, NoteView, PipelineView,
    StatusView,
};
pub use version::ServerVersion;
