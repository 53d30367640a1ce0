//! Tags, for stacks that run on them.

use super::Decided;
use crate::hooks::Event;
use crate::{Work, gitlab_failure};
use gantry_domain::ProjectId;
use gantry_domain::decision::{Facts, decide, tag_needs_branch};
use gantry_domain::run::Want;
use gantry_domain::stack::Stack;
use gantry_queue::Failure;
use gantry_store::scheduler::RefRecord;
use gantry_store::{Expect, Stored, Write, keys};
use std::collections::BTreeMap;

impl Work {
    /// A tag was made, moved or deleted.
    pub(crate) async fn decide_tag(
        &self,
        event: &Event,
        tag: &str,
        stacks: &[Stack],
    ) -> Result<String, Failure> {
        let client = self.gitlab().await?;
        let project = event.project;
        let key = keys::tag(project, tag);
        let known = self.deps.store.get::<RefRecord>(&key).await?;
        let live = client.tag(project, tag).await.map_err(gitlab_failure)?;
        let before = known.as_ref().and_then(|k| k.value.head.clone());
        let head = live.as_ref().map(|t| t.sha.clone());
        if known.is_some() && before == head {
            return Ok(format!("already decided: tag {tag} did not move"));
        }
        if let Some(old) = &before {
            let because = format!("Tag {tag} was moved or deleted");
            let asked = known.as_ref().map(|k| k.value.affected.as_slice()).unwrap_or_default();
            let want = Want::Tag(tag.to_owned());
            self.unwant_all(event, old, &want, &because, asked, |_| true).await?;
        }
        let mut outcome = format!("tag {tag} was deleted");
        let mut affected = Vec::new();
        if let Some(live) = &live {
            let mut decided = Decided {
                commit: &live.sha,
                git_ref: tag,
                tracked_key: format!("tag#{tag}#{}", live.sha),
                each: Vec::new(),
            };
            let mut in_branch: BTreeMap<&str, bool> = BTreeMap::new();
            for stack in stacks {
                let needs_branch = tag_needs_branch(stack);
                let in_tracked_branch = match in_branch.get(stack.branch.as_str()) {
                    Some(known) => *known,
                    None if needs_branch && !live.protected => {
                        let found = client
                            .is_commit_in_branch(project, &live.sha, &stack.branch)
                            .await
                            .map_err(gitlab_failure)?;
                        in_branch.insert(&stack.branch, found);
                        found
                    }
                    None => false,
                };
                let facts = Facts::Tag {
                    tag: tag.to_owned(),
                    in_tracked_branch,
                    is_protected: live.protected,
                };
                decided.each.push((stack, decide(&facts, stack)));
            }
            let subject = decided.subject(false, self.now());
            self.hand_over(event, &decided, &format!("tag#{tag}"), &subject).await?;
            outcome = decided.summary();
            affected = decided.affected();
        }
        let expect = known.as_ref().map_or(Expect::Absent, Stored::unchanged);
        self.replace(Write::put(key, expect, &RefRecord { head, affected })?).await?;
        Ok(outcome)
    }

    /// Records tags that are there already: they start nothing.
    pub(crate) async fn learn_tags(&self, project: ProjectId) -> Result<(), Failure> {
        let client = self.gitlab().await?;
        for tag in client.tags(project, "", 100).await.map_err(gitlab_failure)? {
            let record = RefRecord { head: Some(tag.sha), affected: Vec::new() };
            let write = Write::put(keys::tag(project, &tag.name), Expect::Absent, &record)?;
            let _known_or_new = self.deps.store.write(vec![write]).await?;
        }
        Ok(())
    }
}
