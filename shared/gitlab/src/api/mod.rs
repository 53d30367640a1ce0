//! The calls, by subject. Each answer has only the fields that Gantry uses.

mod approvals;
mod commits;
mod compare;
mod deployments;
mod environments;
mod hooks;
mod issues;
mod memberships;
mod merge_requests;
mod notes;
mod people;
mod pipelines;
mod projects;
mod protection;
mod refs;
mod server;
mod statuses;
mod tree;

pub use approvals::MergeRequestApprovals;
pub use commits::Commit;
pub use compare::Compare;
pub use deployments::{Deployment, DeploymentState, NewDeployment};
pub use environments::Environment;
pub use hooks::{HookSettings, ProjectHook};
pub use issues::{Issue, IssueEdit, NewIssue};
pub use memberships::ProjectLevel;
pub use merge_requests::{DiffRefs, HeadPipeline, MergeRequest, MergeRequestFilter};
pub use notes::{Author, Note};
pub use people::Group;
pub use pipelines::Pipeline;
pub use projects::{ForkedFrom, Namespace, Project};
pub use protection::{AccessRule, ApprovalRule, ProtectedBranch, ProtectedEnvironment};
pub use refs::{Branch, Tag, TagOrder};
pub use server::{CurrentUser, TokenSelf, Version};
pub use statuses::{NewStatus, PostedStatus, StatusState};
pub use tree::TreeKind;
