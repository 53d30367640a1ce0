//! What a person sets of a stack: one definition for its record, the API, the forms and their
//! description.

use super::{CommentLevel, Hooks, OnPush, OnTag, Pool, Roles, Timeouts, Tool, TrackedQueue};
use crate::{approval::Approvals, drift::DriftSettings, rights::StackLevels, schedule::Schedule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a person sets of a stack or a module, as it is kept in its record. What needs GitLab or a
/// key to be understood stands in [`super::Stack`] itself: slug, project, branch and variables.
///
/// What a record of an earlier version may not have is a default here. What counts where a person
/// says nothing is the form's to know: a record without a name or a tool is a damaged one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// The display name; for a module, its name in the registry.
    pub name: String,
    /// What it is for, in Markdown, at most 2,000 characters: shown on its page.
    #[serde(default)]
    pub description: Option<String>,
    /// The folder that the tool runs in, relative to the repository: no leading or trailing
    /// slash, empty for the repository's root.
    pub project_root: String,
    /// Additional paths that affect the stack, as globs over the whole path.
    pub project_globs: Vec<String>,
    /// Files of values for the code's variables, by their paths from the project root, never out
    /// of the repository; a later file wins over an earlier one.
    #[serde(default)]
    pub var_files: Vec<String>,
    /// The program that runs it.
    pub tool: Tool,
    /// The program's version; the one on `PATH` when empty.
    pub tool_version: Option<String>,
    /// The worker pool for its runs; the built-in runners when empty.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// The cloud roles that its runs get: `plan_role` and `apply_role` of the API.
    #[serde(default)]
    pub roles: Roles,
    /// Apply deploys automatically, without confirmation.
    pub autodeploy: bool,
    /// Approvals that a deploy needs before it is applied, besides those that GitLab asks for.
    #[serde(default)]
    pub approvals: Option<Approvals>,
    /// Apply only what came into the branch with a merge request that was approved.
    #[serde(default)]
    pub require_merge_request_approval: bool,
    /// What people need to be in the project, where that is more than the installation asks for.
    #[serde(default)]
    pub levels: StackLevels,
    /// Projects (path or id) or namespaces whose merge requests may run here.
    pub allow_forks: Vec<String>,
    /// What a push to the tracked branch starts.
    pub on_push: OnPush,
    /// What a tag starts; nothing when empty.
    pub on_tag: Option<OnTag>,
    /// What happens to queued deploys when a newer one arrives.
    pub tracked_queue: TrackedQueue,
    /// How much of the change a merge request's note shows.
    pub comment: CommentLevel,
    /// Mention a merge request's author, in a new comment, when a deploy after the merge needs
    /// confirmation or has failed.
    #[serde(default)]
    pub mention: bool,
    /// Take commands from comments on merge requests (`/gantry plan`): whoever writes one needs the
    /// role in the project that the same takes on the pages.
    #[serde(default)]
    pub comment_commands: bool,
    /// Allow previews of uploaded code: whoever has a key with the role deploy can then run any code
    /// with what the stack's previews get.
    #[serde(default)]
    pub local_previews: bool,
    /// Gantry stores the state; false if the stack uses its own backend.
    pub manage_state: bool,
    /// Free labels for searching.
    pub labels: Vec<String>,
    /// How it is looked at for drift.
    #[serde(default)]
    pub drift: DriftSettings,
    /// What runs at times of its own.
    #[serde(default)]
    pub schedules: Vec<Scheduled>,
    /// Which previews of open merge requests are made again when a deploy was applied.
    #[serde(default)]
    pub replan: Replan,
    /// Shell commands around the phases.
    pub hooks: Hooks,
    /// How long phases may take.
    pub timeouts: Timeouts,
}

/// A run that begins at times of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Scheduled {
    /// Its name, unique in the stack.
    pub name: String,
    /// When.
    pub when: Schedule,
    /// The command of a task; a deploy of the branch's head, where there is none.
    #[serde(default)]
    pub task: Option<String>,
}

/// Which previews of open merge requests are made again when a deploy was applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Replan {
    /// All of them.
    All,
    /// Those of merge requests that could be merged.
    #[default]
    Mergeable,
    /// Not one of them: they say that they are old.
    None,
}

impl Settings {
    /// The fields that modules do not have, by their names in the API.
    pub const OF_STACKS_ALONE: &[&str] = &[
        "project_globs",
        "apply_role",
        "autodeploy",
        "approvals",
        "require_merge_request_approval",
        "on_push",
        "on_tag",
        "tracked_queue",
        "mention",
        "comment_commands",
        "local_previews",
        "manage_state",
        "drift",
        "schedules",
        "replan",
        "hooks",
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn only_what_came_later_may_be_missing_in_a_record() {
        let later = [
            "description",
            "var_files",
            "pool",
            "roles",
            "approvals",
            "require_merge_request_approval",
            "levels",
            "mention",
            "comment_commands",
            "local_previews",
            "drift",
            "schedules",
            "replan",
        ];
        let Value::Object(all) = json!(Settings::default()) else { panic!() };
        for name in all.keys() {
            let mut record = all.clone();
            record.remove(name);
            let read = serde_json::from_value::<Settings>(record.into());
            let may_be_missing = later.contains(&name.as_str()) || all[name].is_null();
            assert_eq!(read.is_ok(), may_be_missing, "{name}");
        }
    }
}
