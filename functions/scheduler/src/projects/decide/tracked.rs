//! A tracked branch: a push says that it may have moved, and what lies between the last decision and
//! its head now is decided once, under a number.

use super::Decided;
use crate::{
    projects::{Event, Projects, facts::Between},
    trouble::gitlab_failure,
};
use gantry_domain::{
    ProjectId,
    decision::{Changes, Facts, decide},
    run::Interest,
    stack::{OnPush, Stack},
};
use gantry_gitlab::Client;
use gantry_queue::Failure;
use gantry_store::scheduler::{OpenDecision, TrackedBranch};
use gantry_store::{Expect, Stored, Write, keys};
use std::collections::BTreeSet;

impl Projects<'_> {
    /// A tracked branch may have moved.
    pub(crate) async fn decide_tracked(
        &self,
        event: &Event,
        client: &Client,
        branch: &str,
        stacks: &[Stack],
    ) -> Result<String, Failure> {
        let key = keys::tracked_branch(event.project, branch);
        let mut stored = match self.deps.store.get::<TrackedBranch>(&key).await? {
            Some(found) if !found.value.left => found,
            before => self.begin_branch(event.project, branch, stacks, before).await?,
        };
        if let Some(open) = stored.value.open.clone() {
            self.carry_out(event, client, branch, &stored, &open, stacks).await?;
            match self.deps.store.get::<TrackedBranch>(&key).await? {
                Some(again) => stored = again,
                None => return Ok(format!("{branch} is no longer tracked")),
            }
        }
        let live = client.branch(event.project, branch).await.map_err(gitlab_failure)?;
        let page = live.as_ref().and_then(|live| live.web_url.as_deref());
        self.note_page(client, event.project, stacks, page).await?;
        let Some(live) = live else {
            if let Some(old) = &stored.value.decided {
                let interest = Interest::Branch(branch.to_owned());
                let because = format!("Branch {branch} was deleted");
                self.release_all(event, old, &interest, &because, &[], |_| true).await?;
            }
            let missing = TrackedBranch { missing: true, ..stored.value.clone() };
            self.replace(Write::put(key, stored.unchanged(), &missing)?).await?;
            return Ok(format!("{branch} does not exist, so its stacks do not run"));
        };
        if stored.value.decided.as_ref() == Some(&live.sha) {
            if stored.value.missing {
                let back = TrackedBranch { missing: false, ..stored.value.clone() };
                self.replace(Write::put(key, stored.unchanged(), &back)?).await?;
            }
            return Ok(format!("already processed: {branch} is at {}", live.sha.short()));
        }
        let open = OpenDecision {
            event: event.id.clone(),
            number: stored.value.number + 1,
            from: stored.value.decided.clone(),
            to: live.sha,
            line: live.line,
        };
        let opened =
            TrackedBranch { open: Some(open.clone()), missing: false, ..stored.value.clone() };
        let due = Some(self.deps.now() + jiff::SignedDuration::from_secs(60));
        self.replace(Write::put(key.clone(), stored.unchanged(), &opened)?.due(due)).await?;
        let stored = Stored { key, version: stored.version + 1, value: opened };
        self.carry_out(event, client, branch, &stored, &open, stacks).await
    }

    /// Carries out a recorded decision: what changed, one trigger a stack, then it is closed.
    async fn carry_out(
        &self,
        event: &Event,
        client: &Client,
        branch: &str,
        stored: &Stored<TrackedBranch>,
        open: &OpenDecision,
        stacks: &[Stack],
    ) -> Result<String, Failure> {
        let tracking: Vec<&Stack> = stacks.iter().filter(|s| s.branch == branch).collect();
        let changes = match &open.from {
            None => None,
            Some(from) => {
                let between =
                    Between { from: from.as_str(), base: Some(from), to: &open.to, straight: true };
                Some(self.changes(client, event.project, &between, &tracking).await?.0)
            }
        };
        let facts = Facts::TrackedBranch { head: open.to.clone(), changes };
        let elsewhere = Facts::Branch {
            branch: branch.to_owned(),
            changes: Changes::Paths(BTreeSet::new()),
            is_tracked: true,
        };
        let facts_for = |stack: &Stack| if stack.branch == branch { &facts } else { &elsewhere };
        let decided = Decided {
            commit: &open.to,
            commit_line: open.line.clone(),
            git_ref: branch,
            tracked_key: format!("decision#{branch}#{}", open.number),
            each: stacks.iter().map(|s| (s, decide(facts_for(s), s))).collect(),
        };
        if let Some(from) = &open.from
            && tracking.iter().any(|s| s.settings.on_push == OnPush::Proposed)
        {
            let interest = Interest::Branch(branch.to_owned());
            let because = format!("Superseded by {}", open.to.short());
            self.release_all(event, from, &interest, &because, &[], |_| true).await?;
        }
        let subject = decided.subject(true, self.deps.now());
        self.hand_over(event, &decided, &format!("branch#{branch}"), &subject).await?;
        let closed = TrackedBranch {
            decided: Some(open.to.clone()),
            number: open.number,
            open: None,
            missing: false,
            left: false,
        };
        self.replace(Write::put(stored.key.clone(), stored.unchanged(), &closed)?).await?;
        Ok(decided.summary())
    }

    /// Marks branches that no stack of the project tracks any more. Their records stay: decisions
    /// are numbered, and runs named, by them. `tracked` is one that is known to be tracked.
    pub(crate) async fn leave_branches(
        &self,
        project: ProjectId,
        tracked: Option<&str>,
    ) -> Result<(), Failure> {
        let tracked = tracked.map(|branch| keys::tracked_branch(project, branch));
        let partition = keys::tracked_branches(project);
        let mut known =
            self.deps.store.query_all::<TrackedBranch>(&partition, keys::TRACKED_BRANCHES).await?;
        known.retain(|branch| !branch.value.left && Some(&branch.key) != tracked.as_ref());
        if known.is_empty() {
            return Ok(());
        }
        let stacks = self.deps.store.stacks_of_project(project).await?;
        for branch in known {
            let is_tracked = stacks.iter().any(|stack| {
                stack.deleted_at.is_none()
                    && keys::tracked_branch(project, &stack.branch) == branch.key
            });
            if !is_tracked {
                let left = TrackedBranch { left: true, open: None, ..branch.value.clone() };
                self.replace(Write::put(branch.key.clone(), branch.unchanged(), &left)?).await?;
            }
        }
        Ok(())
    }

    /// Records where the changes of a branch begin to count: at its head when its first stack was
    /// made. It may have moved since.
    pub(crate) async fn begin_branch(
        &self,
        project: ProjectId,
        branch: &str,
        stacks: &[Stack],
        before: Option<Stored<TrackedBranch>>,
    ) -> Result<Stored<TrackedBranch>, Failure> {
        let first = stacks.iter().filter(|s| s.branch == branch).min_by_key(|s| s.created_at);
        let begins_at = match first.and_then(|stack| stack.begins_at.clone()) {
            Some(head) => Some(head),
            None => {
                let client = self.deps.gitlab().await?;
                client.branch(project, branch).await.map_err(gitlab_failure)?.map(|b| b.sha)
            }
        };
        let begun = TrackedBranch {
            missing: begins_at.is_none(),
            decided: begins_at,
            number: before.as_ref().map_or(0, |before| before.value.number),
            open: None,
            left: false,
        };
        let key = keys::tracked_branch(project, branch);
        let expect = before.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let write = Write::put(key.clone(), expect, &begun)?;
        let version = write.version().unwrap_or_default();
        self.replace(write).await?;
        Ok(Stored { key, version, value: begun })
    }
}
