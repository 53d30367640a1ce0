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
        let roots = match between.base {
            Some(base) => self.tree_changes(client, project, base, between.to, &wanted).await?,
            None => all(&wanted, TreeChange::Unknown),
        };
        Ok(Changes::Unlisted { why, roots })
    }

    /// Which of the folders differ between two commits. Reads the trees from the top, and goes on
    /// only where both sides have a folder with different content and one of `wanted` below it: two
    /// lists for each such folder, however many lie in it.
    async fn tree_changes(
        &self,
        client: &Client,
        project: ProjectId,
        from: &CommitSha,
        to: &CommitSha,
        wanted: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, TreeChange>, Failure> {
        let mut known = BTreeMap::new();
        let mut open = vec![(String::new(), wanted.clone())];
        while let Some((folder, wanted)) = open.pop() {
            let entries = |at| client.entries(project, at, &folder);
            let (before, after) =
                futures::try_join!(entries(from), entries(to)).map_err(gitlab_failure)?;
            let (Some(before), Some(after)) = (before, after) else {
                // A commit that GitLab does not have any more says nothing about its folders.
                known.extend(all(&wanted, TreeChange::Unknown));
                continue;
            };
            let mut below: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
            for root in wanted {
                let rest = root.strip_prefix(folder.as_str()).unwrap_or(root);
                let name = rest.trim_start_matches('/').split('/').next().unwrap_or_default();
                let path = match folder.as_str() {
                    "" => name.to_owned(),
                    folder => format!("{folder}/{name}"),
                };
                let change = match (before.get(name), after.get(name)) {
                    _ if root.is_empty() && from == to => TreeChange::Same,
                    _ if root.is_empty() => TreeChange::Different,
                    (None, None) => TreeChange::Unknown,
                    (before, after) if before == after => TreeChange::Same,
                    (Some(_), Some(_)) if path != root => {
                        below.entry(path).or_default().insert(root);
                        continue;
                    }
                    _ => TreeChange::Different,
                };
                known.insert(root.to_owned(), change);
            }
            open.extend(below);
        }
        Ok(known)
    }
}

fn all(roots: &BTreeSet<&str>, change: TreeChange) -> BTreeMap<String, TreeChange> {
    roots.iter().map(|root| ((*root).to_owned(), change)).collect()
}
