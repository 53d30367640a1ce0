//! Reading from GitLab what lies between two commits.

use super::Projects;
use crate::trouble::gitlab_failure;
use futures::{StreamExt as _, TryStreamExt as _};
use gantry_domain::{
    CommitLine, CommitSha, ProjectId,
    decision::{Changes, TreeChange, is_below},
    stack::Stack,
};
use gantry_gitlab::{Client, Compare};
use gantry_queue::Failure;
use gantry_store::{
    Expect, Key, Write, keys,
    scheduler::{ComparedFolder, Sides},
};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// How many folders are compared side by side: each takes two calls.
const FOLDERS_AT_ONCE: usize = 8;
/// How long what was read is kept: longer than a message is tried.
const TREES_KEPT: SignedDuration = SignedDuration::from_hours(48);

/// Two points of a project's history.
pub(crate) struct Between<'a> {
    /// A commit or a branch's name.
    pub(crate) from: &'a str,
    /// The commit whose tree is compared with `to`'s when the list of changes is cut off; none where
    /// GitLab has to be asked which commit both have in common.
    pub(crate) base: Option<&'a CommitSha>,
    pub(crate) to: &'a CommitSha,
    /// From commit to commit, as opposed to what `to` adds since both parted.
    pub(crate) straight: bool,
}

impl Projects<'_> {
    /// One comparison, whatever the number of stacks; where it is cut off, the trees of each
    /// project root that nothing of it is listed of. And the line of the commit that it leads to,
    /// where the comparison told it.
    pub(crate) async fn changes(
        &self,
        client: &Client,
        project: ProjectId,
        between: &Between<'_>,
        stacks: &[&Stack],
    ) -> Result<(Changes, CommitLine), Failure> {
        let compared = client
            .compare_lately(project, between.from, between.to, between.straight)
            .await
            .map_err(gitlab_failure)?;
        let (listed, why, line) = match compared {
            Some(Compare { paths, why_incomplete: None, line, .. }) => {
                return Ok((Changes::Paths(paths), line));
            }
            Some(Compare { paths, why_incomplete: Some(why), line, .. }) => (paths, why, line),
            None => {
                let why = "GitLab does not have one of the two commits".to_owned();
                (BTreeSet::new(), why, CommitLine::default())
            }
        };
        let wanted: BTreeSet<&str> =
            stacks.iter().map(|s| s.settings.project_root.as_str()).collect();
        // What is listed has changed, whatever is missing: nobody has to look at that.
        let (changed, open): (BTreeSet<&str>, BTreeSet<&str>) =
            wanted.into_iter().partition(|root| listed.iter().any(|path| is_below(path, root)));
        let mut roots = all(&changed, TreeChange::Different);
        if !open.is_empty() {
            let base = match between.base {
                Some(base) => Some(base.clone()),
                None => client
                    .merge_base(project, between.from, between.to)
                    .await
                    .map_err(gitlab_failure)?,
            };
            roots.extend(match base {
                Some(base) => self.tree_changes(client, project, &base, between.to, &open).await?,
                None => all(&open, TreeChange::Unknown),
            });
        }
        Ok((Changes::Unlisted { why, roots }, line))
    }

    /// Which of the folders differ between two commits. Reads the trees from the top, and goes on
    /// only where both sides have a folder with different content and one of `wanted` below it: two
    /// lists for each such folder, however many lie in it. What was read is kept: a comparison that
    /// takes longer than a message may is gone on with.
    async fn tree_changes(
        &self,
        client: &Client,
        project: ProjectId,
        from: &CommitSha,
        to: &CommitSha,
        wanted: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, TreeChange>, Failure> {
        let trees = Trees { client, project, from, to };
        let partition = keys::compared_trees(project, from, to);
        let kept = self.deps.store.query_all::<ComparedFolder>(&partition, "").await?;
        let kept: BTreeMap<String, Names> =
            kept.into_iter().map(|kept| (kept.value.folder, kept.value.names)).collect();
        let mut known = BTreeMap::new();
        let mut open = BTreeMap::from([(String::new(), wanted.clone())]);
        while !open.is_empty() {
            let mut reads = Vec::new();
            for (folder, wanted) in std::mem::take(&mut open) {
                let kept = kept.get(&folder);
                reads.push(self.compare_folder(&trees, folder, wanted, kept));
            }
            let compared: Vec<_> = futures::stream::iter(reads)
                .buffer_unordered(FOLDERS_AT_ONCE)
                .try_collect()
                .await?;
            for (folder, wanted, sides) in compared {
                let Some(sides) = sides else {
                    // A commit that GitLab does not have any more says nothing about its folders.
                    known.extend(all(&wanted, TreeChange::Unknown));
                    continue;
                };
                for root in wanted {
                    let name = name_in(&folder, root);
                    let path = match folder.as_str() {
                        "" => name.to_owned(),
                        folder => format!("{folder}/{name}"),
                    };
                    let change = match sides.get(name).unwrap_or(&Sides::Neither) {
                        _ if root.is_empty() && from == to => TreeChange::Same,
                        _ if root.is_empty() => TreeChange::Different,
                        Sides::Neither => TreeChange::Unknown,
                        Sides::Same => TreeChange::Same,
                        Sides::Different if path != root => {
                            open.entry(path).or_default().insert(root);
                            continue;
                        }
                        Sides::Different | Sides::One => TreeChange::Different,
                    };
                    known.insert(root.to_owned(), change);
                }
            }
        }
        Ok(known)
    }

    /// What the trees have in a folder on the way to the `wanted` ones; none where GitLab lacks one of
    /// the commits.
    async fn compare_folder<'w>(
        &self,
        trees: &Trees<'_>,
        folder: String,
        wanted: BTreeSet<&'w str>,
        kept: Option<&Names>,
    ) -> Result<(String, BTreeSet<&'w str>, Option<Names>), Failure> {
        let names: BTreeSet<&str> = wanted.iter().map(|root| name_in(&folder, root)).collect();
        if let Some(kept) = kept
            && names.iter().all(|name| kept.contains_key(*name))
        {
            return Ok((folder, wanted, Some(kept.clone())));
        }
        let Trees { client, project, from, to } = *trees;
        let entries = |at| client.entries(project, at, &folder);
        let (before, after) =
            futures::try_join!(entries(from), entries(to)).map_err(gitlab_failure)?;
        let (Some(before), Some(after)) = (before, after) else {
            return Ok((folder, wanted, None));
        };
        let sides = |name: &str| match (before.get(name), after.get(name)) {
            (None, None) => Sides::Neither,
            (before, after) if before == after => Sides::Same,
            (Some(_), Some(_)) => Sides::Different,
            _ => Sides::One,
        };
        let names: Names = names.iter().map(|name| ((*name).to_owned(), sides(name))).collect();
        let compared = ComparedFolder { folder: folder.clone(), names: names.clone() };
        let key = Key::new(keys::compared_trees(project, from, to), format!("/{folder}"));
        let write = Write::put(key, Expect::Any, &compared)?.expires(self.deps.now() + TREES_KEPT);
        self.deps.store.put_all(&[write]).await?;
        Ok((folder, wanted, Some(names)))
    }
}

/// What both trees have of the names in a folder.
type Names = BTreeMap<String, Sides>;

/// The two trees that are compared.
struct Trees<'a> {
    client: &'a Client,
    project: ProjectId,
    from: &'a CommitSha,
    to: &'a CommitSha,
}

/// The name in `folder` that is, or leads to, `root`.
fn name_in<'a>(folder: &str, root: &'a str) -> &'a str {
    let rest = root.strip_prefix(folder).unwrap_or(root);
    rest.trim_start_matches('/').split('/').next().unwrap_or_default()
}

fn all(roots: &BTreeSet<&str>, change: TreeChange) -> BTreeMap<String, TreeChange> {
    roots.iter().map(|root| ((*root).to_owned(), change)).collect()
}
