//! Comparing what is decided with what GitLab has: what no webhook told is found here, and goes
//! through the same decisions.

use super::{
    Dealt, Event, Projects,
    comments::{UNSAID, take_commands},
};
use crate::trouble::{gitlab_failure, refusal};
use gantry_domain::{
    CommitSha, EventId, ProjectId,
    decision::runs_on_tags,
    event::{EventSource, Hook},
    stack::Stack,
};
use gantry_gitlab::{Client, Error, MergeRequestFilter, TagOrder};
use gantry_queue::{Failure, ProjectMessage};
use gantry_setup::metrics;
use gantry_store::{
    Stored, Write, keys,
    scheduler::{Comparing, MergeRequestRecord, RefRecord, TrackedBranch},
};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Where trouble says nothing better, the next try.
const TROUBLE: SignedDuration = SignedDuration::from_secs(60);

/// How many pages of the newest branches or tags are looked through for those that no webhook told:
/// the first without any ends it.
const NEWEST_PAGES: u32 = 10;

/// How many branches that are not among the newest one comparison looks for: each costs a call.
const LOOKED_FOR: usize = 4;

/// How many branches one comparison reads of those that were decided before.
const DECIDED_BEFORE: i32 = 500;

impl Projects<'_> {
    /// Compares one project. Trouble at GitLab is not the message's fault: the next look is set,
    /// and the message is done.
    pub(crate) async fn on_compare(&self, project: ProjectId) -> Result<(), Failure> {
        let key = keys::comparing(project);
        let Some(found) = self.deps.store.get::<Comparing>(&key).await? else { return Ok(()) };
        let stacks = self.stacks_of(project).await?;
        if stacks.is_empty() {
            let of_project = self.deps.store.stacks_of_project(project).await?;
            if of_project.iter().any(|stack| stack.deleted_at.is_none()) {
                // GitLab is unlinked: what was seen last is still where the next look goes on.
                let wait = self.deps.limits.compare_every;
                return self.compare_again(&found, found.value.clone(), wait).await;
            }
            let write = Write::Delete { key, expect: found.unchanged() };
            let _either_way = self.deps.store.write(vec![write]).await?;
            self.remembered.forget_webhooks(project);
            return Ok(());
        }
        match self.compare_project(project, &stacks, &found.value).await {
            Ok(after) => {
                self.deps.note_health(None).await?;
                let wait = if after.webhook_at.is_some() {
                    self.deps.limits.compare_every
                } else {
                    self.deps.limits.compare_unseen_every
                };
                self.compare_again(&found, after, wait).await
            }
            Err(failure) if failure.retry_after.is_some() || refusal(&failure).is_some() => {
                self.deps.note_outage(&failure).await?;
                let wait = failure
                    .retry_after
                    .and_then(|wait| SignedDuration::try_from(wait).ok())
                    .unwrap_or(TROUBLE);
                tracing::warn!(
                    project.id = project.0,
                    "polling GitLab is delayed: {:#}",
                    failure.error
                );
                self.compare_again(&found, found.value.clone(), wait.max(TROUBLE)).await
            }
            Err(failure) => Err(failure),
        }
    }

    async fn compare_again(
        &self,
        found: &Stored<Comparing>,
        mut after: Comparing,
        wait: SignedDuration,
    ) -> Result<(), Failure> {
        after.next_at = Some(self.next_look(&after, wait));
        let write = Write::put(found.key.clone(), found.unchanged(), &after)?;
        let _either_way = self.deps.store.write(vec![write]).await?;
        Ok(())
    }

    async fn compare_project(
        &self,
        project: ProjectId,
        stacks: &[Stack],
        before: &Comparing,
    ) -> Result<Comparing, Failure> {
        let client = self.deps.gitlab().await?.counting();
        let now = self.deps.now();
        let mut after = Comparing { last_at: Some(now), ..before.clone() };
        let from = *after.branches_from.get_or_insert(now);
        let mut heads = BTreeMap::new();
        let (newest, are_all) =
            self.compare_newest_branches(&client, project, stacks, from, &mut heads).await?;
        let tracked =
            self.compare_tracked_branches(&client, project, stacks, &heads, are_all).await?;
        let (others, next) =
            self.compare_other_branches(&client, project, stacks, &heads, are_all, before).await?;
        let moved = newest || tracked || others;
        after.branches_after = next;
        after.comments_from = take_commands(stacks).then(|| before.comments_from.unwrap_or(now));
        let seen =
            self.compare_merge_requests(&client, project, stacks, before, after.comments_from);
        let seen = seen.await?;
        after.updated_after = seen.or_else(|| before.updated_after.clone());
        if !stacks.iter().any(runs_on_tags) {
            // Whoever asks for tags again begins with those that are there then.
            (after.tags_known, after.tags_from, after.tag_pages) = (false, None, 0);
        } else if before.knows_tags() {
            self.compare_tags(&client, project, stacks).await?;
        } else {
            after = self.learn_tags(&client, project, after).await?;
        }
        after.hook_status = Some(hook_status(&client, project).await);
        if moved || after.updated_after != before.updated_after {
            after.changed_at = Some(now);
        }
        after.calls = client.calls();
        Ok(after)
    }

    /// Branches whose commits are the newest: `heads` has them all afterwards. Answers whether any
    /// had moved, and whether they are all that there are.
    async fn compare_newest_branches(
        &self,
        client: &Client,
        project: ProjectId,
        stacks: &[Stack],
        from: Timestamp,
        heads: &mut BTreeMap<String, CommitSha>,
    ) -> Result<(bool, bool), Failure> {
        let tracked = tracked_of(stacks);
        let mut are_all = false;
        let mut moved = false;
        for page in 1..=NEWEST_PAGES {
            let (branches, more) =
                client.newest_branches(project, page).await.map_err(gitlab_failure)?;
            if page == 1 {
                let page = branches.first().and_then(|branch| branch.web_url.as_deref());
                self.note_page(client, project, stacks, page).await?;
            }
            let mut is_news = false;
            let places: Vec<_> = branches.iter().map(|b| keys::branch(project, &b.name)).collect();
            let known = self.deps.store.get_many::<RefRecord>(&places).await?;
            let mut known: BTreeMap<_, _> =
                known.into_iter().map(|found| (found.key, found.value.head)).collect();
            for branch in branches {
                heads.insert(branch.name.clone(), branch.sha.clone());
                if tracked.contains(branch.name.as_str()) {
                    continue;
                }
                let before = known.remove(&keys::branch(project, &branch.name));
                let has_moved = match &before {
                    Some(head) => head.as_ref() != Some(&branch.sha),
                    // One that was there before starts nothing by itself.
                    None => branch.committed_at.is_some_and(|at| at >= from),
                };
                if !has_moved {
                    continue;
                }
                is_news = true;
                let head = branch.sha.to_string();
                let (name, claimed_head) = (branch.name, Some(head.clone()));
                let hook = Hook::Push { project, branch: name.clone(), claimed_head };
                // A branch can go there and back: where it was tells the times apart.
                let was = before.flatten().map(|head| head.to_string()).unwrap_or_default();
                let event = self.found(project, &hook, &[&name, &head, &was]);
                let outcome = self.decide_branch(&event, &deciding(client), &name, stacks).await?;
                self.write_outcome(&event, outcome).await?;
            }
            moved |= is_news;
            are_all = !more;
            if !is_news || !more {
                break;
            }
        }
        Ok((moved, are_all))
    }

    /// Branches that were decided before and are not among the newest: they were deleted, or set
    /// back to an older commit, or nothing happened to them. Answers whether any had moved, and
    /// where the next look goes on.
    async fn compare_other_branches(
        &self,
        client: &Client,
        project: ProjectId,
        stacks: &[Stack],
        heads: &BTreeMap<String, CommitSha>,
        are_all: bool,
        before: &Comparing,
    ) -> Result<(bool, Option<String>), Failure> {
        let tracked = tracked_of(stacks);
        let after = before.branches_after.as_deref();
        let partition = keys::merge_requests(project);
        let known = self.deps.store.query::<RefRecord>(
            &partition,
            keys::BRANCHES,
            after,
            false,
            DECIDED_BEFORE,
        );
        let known = known.await?;
        let mut moved = false;
        let mut looked_for = 0;
        let mut last = after.map(str::to_owned);
        for record in known.items {
            let name = record.key.sk.trim_start_matches(keys::BRANCHES).to_owned();
            let is_compared = heads.contains_key(&name) || tracked.contains(name.as_str());
            if let Some(was) = record.value.head.filter(|_| !is_compared) {
                let live = if are_all {
                    None
                } else if looked_for == LOOKED_FOR {
                    return Ok((moved, last));
                } else {
                    looked_for += 1;
                    let live = client.branch(project, &name).await;
                    live.map_err(gitlab_failure)?.map(|branch| branch.sha)
                };
                if live.as_ref() != Some(&was) {
                    moved = true;
                    let head = live.map(|head| head.to_string());
                    let parts = [&name, head.as_deref().unwrap_or_default(), was.as_str()];
                    let hook =
                        Hook::Push { project, branch: name.clone(), claimed_head: head.clone() };
                    let event = self.found(project, &hook, &parts);
                    let outcome =
                        self.decide_branch(&event, &deciding(client), &name, stacks).await?;
                    self.write_outcome(&event, outcome).await?;
                }
            }
            last = Some(record.key.sk);
        }
        Ok((moved, known.next))
    }

    /// The branches that stacks track. Answers whether any had moved.
    async fn compare_tracked_branches(
        &self,
        client: &Client,
        project: ProjectId,
        stacks: &[Stack],
        heads: &BTreeMap<String, CommitSha>,
        are_all: bool,
    ) -> Result<bool, Failure> {
        let mut moved = false;
        for branch in tracked_of(stacks) {
            let live = match heads.get(branch) {
                None if !are_all => {
                    let live = client.branch(project, branch).await;
                    live.map_err(gitlab_failure)?.map(|branch| branch.sha)
                }
                listed => listed.cloned(),
            };
            let known = self
                .deps
                .store
                .get::<TrackedBranch>(&keys::tracked_branch(project, branch))
                .await?;
            let is_known = known.as_ref().is_some_and(|k| {
                k.value.open.is_none()
                    && match &live {
                        Some(head) => k.value.decided.as_ref() == Some(head) && !k.value.missing,
                        None => k.value.missing,
                    }
            });
            if is_known {
                continue;
            }
            let head = live.as_ref().map(|h| h.to_string());
            let hook =
                Hook::Push { project, branch: branch.to_owned(), claimed_head: head.clone() };
            // A branch can go there and back: the number of its decisions tells the times apart.
            let decided = known.as_ref().map_or(0, |k| k.value.number).to_string();
            let parts = [branch, head.as_deref().unwrap_or(""), &decided];
            let event = self.found(project, &hook, &parts);
            let outcome = self.decide_tracked(&event, &deciding(client), branch, stacks).await?;
            self.write_outcome(&event, outcome).await?;
            moved = true;
        }
        Ok(moved)
    }

    /// Answers the newest change that was seen.
    async fn compare_merge_requests(
        &self,
        client: &Client,
        project: ProjectId,
        stacks: &[Stack],
        before: &Comparing,
        comments_from: Option<Timestamp>,
    ) -> Result<Option<String>, Failure> {
        let since: Option<Timestamp> =
            before.updated_after.as_ref().and_then(|text| text.parse().ok());
        let filter = MergeRequestFilter {
            with_closed: true,
            updated_after: since,
            ..MergeRequestFilter::default()
        };
        let listed = client.merge_requests(project, &filter).await.map_err(gitlab_failure)?;
        let mut newest = since;
        let mut all_ready = true;
        for mr in &listed {
            let known = self
                .deps
                .store
                .get::<MergeRequestRecord>(&keys::merge_request(project, mr.iid))
                .await?;
            let is_open = mr.state == "opened";
            let is_known = match &known {
                Some(k) => {
                    k.value.state == mr.state
                        && k.value.target_branch == mr.target_branch
                        && (!is_open || k.value.head == mr.sha)
                }
                // One that was opened and closed unseen never ran.
                None => !is_open,
            };
            if !is_known {
                let hook =
                    Hook::MergeRequest { project, iid: mr.iid, action: Some(mr.state.clone()) };
                let (iid, sha) = (mr.iid.to_string(), mr.sha.as_ref().map(|s| s.to_string()));
                // A merge request can be as it was before: its time tells the two apart.
                let changed_at = mr.updated_at.map(|at| at.to_string()).unwrap_or_default();
                let parts = [
                    iid.as_str(),
                    &mr.state,
                    &mr.target_branch,
                    sha.as_deref().unwrap_or(""),
                    &changed_at,
                ];
                let event = self.found(project, &hook, &parts);
                match self.decide_merge_request(&event, &deciding(client), mr.iid, stacks).await? {
                    Dealt::Done(outcome) => self.write_outcome(&event, outcome).await?,
                    Dealt::Later(_) => all_ready = false,
                }
            }
            if let Some(from) = comments_from {
                let compared = self.compare_comments(client, project, stacks, mr, from);
                all_ready &= Box::pin(compared).await?;
            }
            newest = newest.max(mr.updated_at);
        }
        if !all_ready {
            // What was not ready is listed again next time.
            return Ok(before.updated_after.clone());
        }
        // GitLab's times have fractions that the filter may drop: one second is seen twice. A comment
        // within a minute of another change changes no time.
        let mut twice = SignedDuration::from_secs(1);
        if comments_from.is_some() {
            twice += UNSAID;
        }
        let seen = newest.map(|at| at - twice).max(since);
        Ok(seen.map(|at| at.to_string()))
    }

    async fn compare_tags(
        &self,
        client: &Client,
        project: ProjectId,
        stacks: &[Stack],
    ) -> Result<(), Failure> {
        for page in 1..=NEWEST_PAGES {
            let (tags, more) =
                client.tags(project, TagOrder::Newest, page).await.map_err(gitlab_failure)?;
            let mut is_news = false;
            for tag in tags {
                let key = keys::tag(project, &tag.name);
                let known = self.deps.store.get::<RefRecord>(&key).await?;
                if known.is_some_and(|k| k.value.head.as_ref() == Some(&tag.sha)) {
                    continue;
                }
                is_news = true;
                let hook = Hook::Tag {
                    project,
                    tag: tag.name.clone(),
                    claimed_commit: Some(tag.sha.to_string()),
                };
                let event = self.found(project, &hook, &[&tag.name, tag.sha.as_str()]);
                let outcome = self.decide_tag(&event, &deciding(client), &tag.name, stacks).await?;
                self.write_outcome(&event, outcome).await?;
            }
            if !is_news || !more {
                break;
            }
        }
        Ok(())
    }

    /// When the next look is: at once while there are tags to be learned.
    pub(crate) fn next_look(&self, known: &Comparing, wait: SignedDuration) -> Timestamp {
        let is_learning = known.tags_from.is_some() && !known.tags_known;
        self.deps.now() + if is_learning { SignedDuration::ZERO } else { wait }
    }

    /// A difference as an event. What was found names it, so that finding it again is the same.
    pub(super) fn found(&self, project: ProjectId, hook: &Hook, parts: &[&str]) -> Event {
        metrics::count("FoundByComparing", 1);
        let project_text = project.to_string();
        let mut all = vec![project_text.as_str()];
        all.extend(parts);
        Event {
            id: EventId::derive("found", &all),
            source: EventSource::Comparing,
            project,
            received_at: self.deps.now(),
            what: format!("{} (found by polling)", hook.describe()),
        }
    }

    /// Nudges a comparison now, whenever it was due.
    pub(crate) async fn compare_soon(
        &self,
        project: ProjectId,
        cause: String,
    ) -> Result<(), Failure> {
        Ok(self.deps.sender.send(ProjectMessage::Compare { project, cause }).await?)
    }
}

/// The client for deciding what was found: those calls do not count as the comparison's.
fn deciding(client: &Client) -> Client {
    client.counting()
}

fn tracked_of(stacks: &[Stack]) -> BTreeSet<&str> {
    stacks.iter().map(|stack| stack.branch.as_str()).collect()
}

/// GitLab's word on the project's hook that comes here, for the pages.
async fn hook_status(client: &Client, project: ProjectId) -> String {
    match client.hooks(project).await {
        Ok(hooks) => hooks.iter().find(|h| h.url.ends_with("/webhooks/gitlab")).map_or_else(
            || "missing".to_owned(),
            |h| h.alert_status.clone().unwrap_or_else(|| "executable".to_owned()),
        ),
        Err(Error::Forbidden { .. } | Error::NotFound { .. }) => "not visible".to_owned(),
        Err(_) => "unknown".to_owned(),
    }
}
