//! Merge requests: only head, target and state count.

use super::Decided;
use crate::{
    deps::HISTORY_KEPT,
    projects::{Dealt, Event, Projects, facts::Between},
    trouble::gitlab_failure,
};
use gantry_domain::{
    CommitLine, CommitSha, MergeRequestIid, ProjectId, StackId,
    decision::{Changes, Facts, Fork, decide},
    run::Interest,
    stack::Stack,
};
use gantry_gitlab::{Client, MergeRequest};
use gantry_queue::{Failure, FeedbackMessage};
use gantry_store::scheduler::{MergeRequestRecord, Subject};
use gantry_store::{Expect, Stored, Write, keys};
use std::collections::BTreeSet;

impl Projects<'_> {
    /// Something about a merge request changed: only head, target and state count.
    pub(crate) async fn decide_merge_request(
        &self,
        event: &Event,
        client: &Client,
        iid: MergeRequestIid,
        stacks: &[Stack],
    ) -> Result<Dealt, Failure> {
        let live = client.merge_request(event.project, iid).await.map_err(gitlab_failure)?;
        let key = keys::merge_request(event.project, iid);
        let known = self.deps.store.get::<MergeRequestRecord>(&key).await?;
        let Some(live) = live else {
            if let Some(known) = known {
                self.forget_merge_request(event, &known).await?;
            }
            return Ok(Dealt::Done(format!("merge request !{iid} does not exist")));
        };
        self.note_page(client, event.project, stacks, live.web_url.as_deref()).await?;
        let is_open = live.state == "opened";
        if is_open && live.sha.is_none() {
            return Ok(Dealt::Later("GitLab is still preparing the merge request".to_owned()));
        }
        let merged_as = merged_as(&live);
        let is_same = known.as_ref().is_some_and(|k| {
            k.value.state == live.state
                && k.value.target_branch == live.target_branch
                && k.value.merged_as == merged_as
                && (!is_open || k.value.head == live.sha)
        });
        if is_same {
            if known.is_some_and(|k| k.value.event.as_ref() == Some(&event.id)) {
                // This very event was written down; whether its note was asked for is not known.
                self.deps
                    .raise(FeedbackMessage::Note { project: event.project, iid, want: 0 })
                    .await?;
            }
            return Ok(Dealt::Done(
                "already processed: head, target and state are unchanged".to_owned(),
            ));
        }
        let mut record = MergeRequestRecord {
            iid,
            state: live.state.clone(),
            head: live.sha.clone(),
            source_branch: live.source_branch.clone(),
            source_project: live.source_project_id,
            target_branch: live.target_branch.clone(),
            affected: Vec::new(),
            merged_as: merged_as.clone(),
            updated_at: live.updated_at.map(|at| at.to_string()),
            event: Some(event.id.clone()),
            decided_by: known.as_ref().and_then(|known| known.value.decided_by.clone()),
        };
        let outcome = match &live.sha {
            Some(head) if is_open => {
                let (outcome, affected) =
                    self.propose_merge_request(event, client, &live, head, stacks).await?;
                record.affected = affected;
                record.decided_by = Some(event.id.clone());
                outcome
            }
            _ => {
                record.affected =
                    known.as_ref().map(|k| k.value.affected.clone()).unwrap_or_default();
                self.remember_merge(event.project, &live, merged_as.as_ref()).await?;
                format!("merge request !{iid} is {}", live.state)
            }
        };
        self.leave_old_head(event, known.as_ref().map(|k| &k.value), &record, is_open).await?;
        let had_note = known.as_ref().is_some_and(|k| !k.value.affected.is_empty());
        let expect = known.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let has_note = had_note || !record.affected.is_empty();
        self.replace(Write::put(key, expect, &record)?).await?;
        if has_note {
            self.deps.raise(FeedbackMessage::Note { project: event.project, iid, want: 0 }).await?;
        }
        Ok(Dealt::Done(outcome))
    }

    async fn propose_merge_request(
        &self,
        event: &Event,
        client: &Client,
        live: &MergeRequest,
        head: &CommitSha,
        stacks: &[Stack],
    ) -> Result<(String, Vec<StackId>), Failure> {
        let project = event.project;
        let tracking: Vec<&Stack> =
            stacks.iter().filter(|s| s.branch == live.target_branch).collect();
        let (changes, commit_line) = if tracking.is_empty() {
            (Changes::Paths(BTreeSet::new()), CommitLine::default())
        } else {
            let base = live.diff_refs.as_ref().and_then(|refs| refs.base_sha.as_ref());
            let between = Between { from: &live.target_branch, base, to: head, straight: false };
            self.changes(client, project, &between, &tracking).await?
        };
        let fork = match live.source_project_id {
            Some(source) if source != project => {
                // A fork that cannot be read can still be allowed by its id.
                let path = client.project(source).await.ok().map(|p| p.path_with_namespace);
                Some(Fork { project: source, path })
            }
            _ => None,
        };
        let facts = Facts::MergeRequest {
            iid: live.iid,
            target_branch: live.target_branch.clone(),
            fork: fork.clone(),
            changes,
        };
        let decided = Decided {
            commit: head,
            commit_line,
            git_ref: &live.source_branch,
            tracked_key: String::new(),
            each: stacks.iter().map(|s| (s, decide(&facts, s))).collect(),
        };
        let affected = decided.affected();
        let subject = Subject {
            merge_request: Some(live.iid),
            fork_of: fork.map(|f| f.project),
            ..decided.subject(!tracking.is_empty(), self.deps.now())
        };
        self.hand_over(event, &decided, &format!("mr#{}", live.iid), &subject).await?;
        if affected.is_empty() && !tracking.is_empty() {
            let commit = head.clone();
            self.deps.raise(FeedbackMessage::Status { project, commit, want: 0 }).await?;
        }
        Ok((decided.summary(), affected))
    }

    /// GitLab deleted it, or does not show it any more: nothing runs for it.
    async fn forget_merge_request(
        &self,
        event: &Event,
        known: &Stored<MergeRequestRecord>,
    ) -> Result<(), Failure> {
        let gone = MergeRequestRecord {
            state: "deleted".to_owned(),
            affected: Vec::new(),
            event: Some(event.id.clone()),
            ..known.value.clone()
        };
        if known.value.state == gone.state {
            return Ok(());
        }
        self.leave_old_head(event, Some(&known.value), &gone, false).await?;
        self.replace(Write::put(known.key.clone(), known.unchanged(), &gone)?).await
    }

    /// Takes the merge request's interest from the runs that are no longer for it.
    async fn leave_old_head(
        &self,
        event: &Event,
        before: Option<&MergeRequestRecord>,
        after: &MergeRequestRecord,
        is_open: bool,
    ) -> Result<(), Failure> {
        let Some(before) = before else { return Ok(()) };
        let Some(old) = before.head.as_ref() else { return Ok(()) };
        let asked = before.affected.as_slice();
        let interest = Interest::MergeRequest(after.iid);
        if !is_open {
            let because = format!("Merge request !{} was {}", after.iid, after.state);
            return self.release_all(event, old, &interest, &because, asked, |_| true).await;
        }
        if after.head.as_ref() == Some(old) {
            let because = format!("Merge request !{} now has a different target", after.iid);
            let gone = |stack: &StackId| !after.affected.contains(stack);
            return self.release_all(event, old, &interest, &because, asked, gone).await;
        }
        let newer = after.head.as_ref().map(|h| h.short().to_owned()).unwrap_or_default();
        let because = format!("Superseded by {newer}");
        self.release_all(event, old, &interest, &because, asked, |_| true).await
    }

    /// The note of a merged merge request shows the tracked runs of the commit that it became.
    async fn remember_merge(
        &self,
        project: ProjectId,
        live: &MergeRequest,
        merged_as: Option<&CommitSha>,
    ) -> Result<(), Failure> {
        let Some(commit) = merged_as else { return Ok(()) };
        let subject = Subject {
            branch: live.target_branch.clone(),
            merge_request: Some(live.iid),
            fork_of: None,
            affected: 0,
            stacks: Vec::new(),
            to_tracked: true,
            decided_at: Some(self.deps.now()),
        };
        let key = keys::commit_subject(project, commit, &format!("merged#{}", live.iid));
        let write = Write::put(key, Expect::Any, &subject)?.expires(self.deps.now() + HISTORY_KEPT);
        Ok(self.deps.store.put_all(&[write]).await?)
    }
}

/// The commit that a merge made on the target branch.
fn merged_as(live: &MergeRequest) -> Option<CommitSha> {
    if live.state != "merged" {
        return None;
    }
    live.merge_commit_sha
        .clone()
        .or_else(|| live.squash_commit_sha.clone())
        .or_else(|| live.sha.clone())
}
