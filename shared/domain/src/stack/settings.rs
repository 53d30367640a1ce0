//! What a person sets of a stack: one definition for its record, the API, the forms and their
//! description.

use super::{CommentLevel, Hooks, OnPush, OnTag, Pool, Roles, Tool, TrackedQueue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a person sets of a stack or a module, as it is kept in its record. What needs GitLab or a
/// key to be understood stands in [`super::Stack`] itself: slug, project, branch and variables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// What people call it; a module's name in the registry.
    pub name: String,
    /// What it is for, in Markdown, at most 2,000 characters: shown on its page.
    pub description: Option<String>,
    /// The folder that Terraform runs in, relative to the repository: no leading or trailing
    /// slash, empty for the repository's root.
    pub project_root: String,
    /// Further paths that affect the stack, as globs over the whole path.
    pub project_globs: Vec<String>,
    /// Files of values for Terraform's variables, by their paths from the project root, never out
    /// of the repository; a later file wins over an earlier one.
    pub var_files: Vec<String>,
    /// The program that runs it.
    pub tool: Tool,
    /// The program's version; the one on `PATH` when empty.
    pub tool_version: Option<String>,
    /// The pool whose workers take its runs; the installation's own runners when none.
    pub pool: Option<Pool>,
    /// The cloud roles that its runs get: `plan_role` and `apply_role` of the API.
    pub roles: Roles,
    /// Apply tracked runs without asking.
    pub autodeploy: bool,
    /// Projects (path or id) or namespaces whose merge requests may run here.
    pub allow_forks: Vec<String>,
    /// What a push to the tracked branch starts.
    pub on_push: OnPush,
    /// What a tag starts; nothing when empty.
    pub on_tag: Option<OnTag>,
    /// What happens to queued tracked runs when a newer one comes.
    pub tracked_queue: TrackedQueue,
    /// How much of the change a merge request's note shows.
    pub comment: CommentLevel,
    /// Gantry keeps the Terraform state; false for a stack with a backend of its own.
    #[serde(default = "kept")]
    pub manage_state: bool,
    /// Free labels for searching.
    pub labels: Vec<String>,
    /// Shell commands around the phases.
    pub hooks: Hooks,
}

impl Settings {
    /// The fields that modules do not have, by their names in the API.
    pub const OF_STACKS_ALONE: &[&str] = &[
        "project_globs",
        "apply_role",
        "autodeploy",
        "on_push",
        "on_tag",
        "tracked_queue",
        "manage_state",
        "hooks",
    ];
}

/// Where a record does not say who keeps the state.
fn kept() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_does_not_say_who_keeps_the_state_leaves_it_with_gantry() {
        let nothing_said: Settings = serde_json::from_str("{}").unwrap();
        assert!(nothing_said.manage_state);
    }
}
