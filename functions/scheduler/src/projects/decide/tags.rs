//! Tags, for stacks that run on them.

use super::Decided;
use crate::{
    projects::{Event, Projects},
    trouble::gitlab_failure,
};
use gantry_domain::{
    ProjectId,
    decision::{Facts, decide, tag_needs_branch},
    event::EventSource,
    run::Interest,
    stack::Stack,
};
use gantry_gitlab::{Client, Tag, TagOrder};
use gantry_queue::Failure;
use gantry_store::scheduler::{Comparing, RefRecord};
use gantry_store::{Expect, Stored, Write, keys};
use std::collections::BTreeMap;

/// Pages of tags that one message learns; the next one goes on.
const PAGES_AT_ONCE: u32 = 20;
/// GitLab lists no more than 50,000 in pages.
const MOST_PAGES: u32 = 500;

impl Projects<'_> {
    /// A tag was made, moved or deleted.
    pub(crate) async fn decide_tag(
        &self,
        event: &Event,
        client: &Client,
        tag: &str,
        stacks: &[Stack],
    ) -> Result<String, Failure> {
        let project = event.project;
        let key = keys::tag(project, tag);
        let known = self.deps.store.get::<RefRecord>(&key).await?;
        let live = client.tag(project, tag).await.map_err(gitlab_failure)?;
        let before = known.as_ref().and_then(|k| k.value.head.clone());
        let head = live.as_ref().map(|t| t.sha.clone());
        if known.is_some() && before == head {
            return Ok(format!("already processed: tag {tag} did not move"));
        }
        if let Some(old) = &before {
            let because = format!("Tag {tag} was moved or deleted");
            let asked = known.as_ref().map(|k| k.value.affected.as_slice()).unwrap_or_default();
            let interest = Interest::Tag(tag.to_owned());
            self.release_all(event, old, &interest, &because, asked, |_| true).await?;
        }
        let mut outcome = format!("tag {tag} was deleted");
        let mut affected = Vec::new();
        let old = match &live {
            Some(live) if known.is_none() => self.may_be_old(event, live).await?,
            _ => None,
        };
        if let Some(why) = old {
            outcome = why;
        } else if let Some(live) = &live {
            let mut decided = Decided {
                commit: &live.sha,
                commit_line: live.line.clone(),
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
            let subject = decided.subject(false, self.deps.now());
            self.hand_over(event, &decided, &format!("tag#{tag}"), &subject).await?;
            outcome = decided.summary();
            affected = decided.affected();
        }
        let expect = known.as_ref().map_or(Expect::Absent, Stored::unchanged);
        self.replace(Write::put(key, expect, &RefRecord { head, affected })?).await?;
        Ok(outcome)
    }

    /// Records tags that are there already: they start nothing. Answers how far it came: a project
    /// may have more than fit into one go.
    pub(crate) async fn learn_tags(
        &self,
        client: &Client,
        project: ProjectId,
        mut known: Comparing,
    ) -> Result<Comparing, Failure> {
        if known.tags_from.is_none() {
            known.tags_from = Some(self.deps.now());
            known.tags_known = false;
            known.tag_pages = 0;
        }
        for _ in 0..PAGES_AT_ONCE {
            let page = known.tag_pages + 1;
            let (tags, more) =
                client.tags(project, TagOrder::Name, page).await.map_err(gitlab_failure)?;
            for tag in tags {
                let record = RefRecord { head: Some(tag.sha), affected: Vec::new() };
                let write = Write::put(keys::tag(project, &tag.name), Expect::Absent, &record)?;
                let _known_or_new = self.deps.store.write(vec![write]).await?;
            }
            known.tag_pages = page;
            if !more || page >= MOST_PAGES {
                known.tags_known = true;
                break;
            }
        }
        Ok(known)
    }

    /// Why a tag that was not known starts nothing: it may have been there before the first look.
    /// A webhook tells that it is new, once all that were there are known.
    async fn may_be_old(&self, event: &Event, tag: &Tag) -> Result<Option<String>, Failure> {
        let comparing = self.deps.store.get::<Comparing>(&keys::comparing(event.project)).await?;
        let comparing = comparing.map(|found| found.value).unwrap_or_default();
        if event.source == EventSource::Webhook && comparing.knows_tags() {
            return Ok(None);
        }
        let is_newer =
            comparing.tags_from.zip(tag.committed_at).is_some_and(|(from, at)| at >= from);
        Ok((!is_newer).then(|| {
            format!(
                "tag {} does not start anything because its commit is older than the first look at \
                 the project's tags",
                tag.name
            )
        }))
    }
}
