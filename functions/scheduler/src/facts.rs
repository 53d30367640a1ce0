//! Reading from GitLab what lies between two commits.

use crate::{Work, gitlab_failure};
use gantry_domain::{
    CommitSha, ProjectId,
    decision::{Changes, TreeChange},
    stack::Stack,
};
use gantry_gitlab::Client;
use gantry_queue::Failure;
use std::collections::{BTreeMap, BTreeSet};

/// Two points of a project's history.
pub(crate) struct Between<'a> {
    /// A commit or a branch's name.
    pub(crate) from: &'a str,
    /// The commit whose tree `from` is compared with when the list of changes is cut off; none
    /// when it is not known.
    pub(crate) base: Option<&'a CommitSha>,
    pub(crate) to: &'a CommitSha,
    /// From commit to commit, as opposed to what `to` adds since both parted.
    pub(crate) straight: bool,
}

impl Work {
    /// One comparison, whatever the number of stacks; where it is cut off, the trees of each
    /// project root.
    pub(crate) async fn changes(
        &self,
        client: &Client,
        project: ProjectId,
        between: &Between<'_>,
        stacks: &[&Stack],
    ) -> Result<Changes, Failure> {
        let compared = client
            .compare(project, between.from, between.to, between.straight)
            .await
            .map_err(gitlab_failure)?;
        let why = match compared {
            Some(compare) if compare.complete => return Ok(Changes::Paths(compare.paths)),
            Some(compare) => compare.why_incomplete.unwrap_or_else(|| "not complete".to_owned()),
            None => "not to be had, because one side is gone".to_owned(),
        };
        let wanted: BTreeSet<&str> = stacks.iter().map(|s| s.project_root.as_str()).collect();
        let mut roots = BTreeMap::new();
        for root in wanted {
            let change = match between.base {
                Some(base) => self.tree_change(client, project, base, between.to, root).await?,
                None => TreeChange::Unknown,
            };
            roots.insert(root.to_owned(), change);
        }
        Ok(Changes::Unlisted { why, roots })
    }

    async fn tree_change(
        &self,
        client: &Client,
        project: ProjectId,
        from: &CommitSha,
        to: &CommitSha,
        root: &str,
    ) -> Result<TreeChange, Failure> {
        if root.is_empty() {
            return Ok(if from == to { TreeChange::Same } else { TreeChange::Different });
        }
        let before = client.tree_id(project, from, root).await.map_err(gitlab_failure)?;
        let after = client.tree_id(project, to, root).await.map_err(gitlab_failure)?;
        Ok(match (before, after) {
            (None, None) => TreeChange::Unknown,
            (before, after) if before == after => TreeChange::Same,
            _ => TreeChange::Different,
        })
    }
}
