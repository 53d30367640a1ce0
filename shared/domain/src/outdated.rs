//! Whether a run is still one that its stack wants: asked before it gets a runner, and again when a
//! runner claims it. What a runner gets (variables, hooks, the folder) is the stack's of that moment.

use crate::{integration::Integration, run::Run, stack::Stack};

/// Why the run gets no runner any more, in words for people: its stack was deleted, detached from
/// its GitLab server, moved to another project or branch, or does not allow uploaded code any more.
pub fn outdated(
    run: &Run,
    stack: Option<&Stack>,
    integration: Option<&Integration>,
) -> Option<String> {
    let word = if run.module || run.test.is_some() { "module" } else { "stack" };
    let Some(stack) = stack.filter(|stack| stack.deleted_at.is_none()) else {
        return Some(format!("The {word} was deleted"));
    };
    if stack.repository != run.repository || stack.branch != run.tracked_branch {
        return Some(format!("The {word} was moved to another project or branch"));
    }
    if run.upload.is_some() && !stack.settings.local_previews {
        return Some("The stack no longer allows previews of uploaded code".to_owned());
    }
    (!stack.is_attached(integration))
        .then(|| format!("The {word} was detached from its GitLab server"))
}
