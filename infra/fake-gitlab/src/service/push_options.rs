//! `git push -o …`: skipping CI, opening a merge request.

use super::merge_requests::NewMergeRequest;
use crate::git::Oid;
use crate::git::repo::RefChange;
use crate::model::{ProjectId, State, UserId};

/// The options of one push.
#[derive(Clone, Debug, Default)]
pub(crate) struct PushOptions(pub(crate) Vec<String>);

impl PushOptions {
    /// Whether no pipeline is to be made; webhooks are sent all the same.
    pub(crate) fn skips_ci(&self) -> bool {
        self.0.iter().any(|option| option == "ci.skip")
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|option| option == name)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }
}

impl State {
    /// `merge_request.create`, with `.target` and `.title`.
    pub(crate) fn open_by_push(
        &mut self,
        project: ProjectId,
        user: UserId,
        changes: &[RefChange],
        options: &PushOptions,
    ) {
        if !options.has("merge_request.create") {
            return;
        }
        let pushed = changes.iter().filter(|change| !change.after.is_null());
        let branches: Vec<(String, Oid)> = pushed
            .filter_map(|change| {
                Some((change.name.strip_prefix("refs/heads/")?.to_owned(), change.after))
            })
            .collect();
        for (branch, head) in branches {
            let found = self.project(project);
            let target = options.value("merge_request.target").unwrap_or(found.default_branch());
            let commit = found.repo.commit(head);
            let title = options
                .value("merge_request.title")
                .map(str::to_owned)
                .or_else(|| commit.map(|commit| commit.title().to_owned()));
            let new = NewMergeRequest {
                target_branch: target.to_owned(),
                title: title.unwrap_or_else(|| branch.clone()),
                source_branch: branch,
                ..NewMergeRequest::default()
            };
            // One that is open already stays as it is.
            let _ = self.open_merge_request(project, user, new);
        }
    }
}
