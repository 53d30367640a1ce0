//! Deciding what an event means for each stack of its project, and handing it to them.
//!
//! Each of these can be repeated from the start: what was already decided is recognised, triggers
//! name what makes them necessary, and the record that closes a decision is written last.

use crate::{
    Work,
    facts::Between,
    gitlab_failure,
    hooks::{Dealt, Event, KEPT},
};
use gantry_domain::{
    CommitSha, MergeRequestIid, ProjectId, RunId, StackId,
    decision::{Changes, Decision, Facts, Fork, decide},
    run::{RunType, Want},
    stack::{OnPush, Stack},
};
use gantry_gitlab::{MergeRequest, MergeRequestFilter};
use gantry_queue::{Failure, Message, Trigger};
use gantry_store::{
    Expect, Outcome, Stored, Write, keys,
    scheduler::{
        DecisionRecord, MergeRequestRecord, OpenDecision, RefRecord, RunEntry, Subject,
        TrackedBranch,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// What was decided for the stacks of a project, on the way to their triggers.
struct Decided<'a> {
    commit: &'a CommitSha,
    git_ref: &'a str,
    /// Names a tracked run; proposed ones are named by their commit.
    tracked_key: String,
    each: Vec<(&'a Stack, Decision)>,
}

impl Decided<'_> {
    fn affected(&self) -> Vec<StackId> {
        self.each.iter().filter(|(_, d)| d.runs()).map(|(s, _)| s.id.clone()).collect()
    }

    fn summary(&self) -> String {
        let runs = self.affected().len();
        match (runs, self.each.len()) {
            (0, 1) => "the stack is not run".to_owned(),
            (0, all) => format!("none of {all} stacks is run"),
            (runs, all) => format!("{runs} of {all} stacks run"),
        }
    }
}

impl Work {
    /// A tracked branch may have moved.
    pub(crate) async fn decide_tracked(
        &self,
        event: &Event,
        branch: &str,
        stacks: &[Stack],
    ) -> Result<String, Failure> {
        let client = self.gitlab().await?;
        let key = keys::tracked_branch(event.project, branch);
        let found = self.deps.store.get::<TrackedBranch>(&key).await?;
        let Some(mut stored) = found.filter(|found| !found.value.left) else {
            self.begin_branch(event.project, branch).await?;
            return Ok(format!("{branch} is recorded as it is: changes count from here"));
        };
        if let Some(open) = stored.value.open.clone() {
            self.carry_out(event, branch, &stored, &open, stacks).await?;
            match self.deps.store.get::<TrackedBranch>(&key).await? {
                Some(again) => stored = again,
                None => return Ok(format!("{branch} is not tracked any more")),
            }
        }
        let live = client.branch(event.project, branch).await.map_err(gitlab_failure)?;
        let Some(live) = live else {
            if let Some(old) = &stored.value.decided {
                let want = Want::Branch(branch.to_owned());
                let because = format!("Branch {branch} was deleted");
                self.unwant_all(event, old, &want, &because, &[], |_| true).await?;
            }
            let missing = TrackedBranch { missing: true, ..stored.value.clone() };
            self.replace(Write::put(key, stored.unchanged(), &missing)?).await?;
            return Ok(format!("{branch} is not there: its stacks do not run"));
        };
        if stored.value.decided.as_ref() == Some(&live.sha) {
            if stored.value.missing {
                let back = TrackedBranch { missing: false, ..stored.value.clone() };
                self.replace(Write::put(key, stored.unchanged(), &back)?).await?;
            }
            return Ok(format!("already decided: {branch} is at {}", live.sha.short()));
        }
        let open = OpenDecision {
            event: event.id.clone(),
            number: stored.value.number + 1,
            from: stored.value.decided.clone(),
            to: live.sha,
        };
        let opened =
            TrackedBranch { open: Some(open.clone()), missing: false, ..stored.value.clone() };
        let due = Some(self.now() + jiff::SignedDuration::from_secs(60));
        self.replace(Write::put(key.clone(), stored.unchanged(), &opened)?.due(due)).await?;
        let stored = Stored { key, version: stored.version + 1, value: opened };
        self.carry_out(event, branch, &stored, &open, stacks).await
    }

    /// Carries out a recorded decision: what changed, one trigger a stack, then it is closed.
    async fn carry_out(
        &self,
        event: &Event,
        branch: &str,
        stored: &Stored<TrackedBranch>,
        open: &OpenDecision,
        stacks: &[Stack],
    ) -> Result<String, Failure> {
        let client = self.gitlab().await?;
        let tracking: Vec<&Stack> = stacks.iter().filter(|s| s.branch == branch).collect();
        let changes = match &open.from {
            None => None,
            Some(from) => {
                let between =
                    Between { from: from.as_str(), base: Some(from), to: &open.to, straight: true };
                Some(self.changes(&client, event.project, &between, &tracking).await?)
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
            git_ref: branch,
            tracked_key: format!("decision#{branch}#{}", open.number),
            each: stacks.iter().map(|s| (s, decide(facts_for(s), s))).collect(),
        };
        if let Some(from) = &open.from
            && tracking.iter().any(|s| s.on_push == OnPush::Proposed)
        {
            let want = Want::Branch(branch.to_owned());
            let because = format!("Superseded by {}", open.to.short());
            self.unwant_all(event, from, &want, &because, &[], |_| true).await?;
        }
        let subject = Subject {
            branch: branch.to_owned(),
            merge_request: None,
            fork_of: None,
            affected: u32::try_from(decided.affected().len()).unwrap_or(u32::MAX),
            to_tracked: true,
            decided_at: Some(self.now()),
        };
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
    /// are numbered, and runs named, by them.
    pub(crate) async fn leave_branches(&self, project: ProjectId) -> Result<(), Failure> {
        let stacks = self.deps.store.stacks_of_project(project).await?;
        let partition = keys::tracked_branches(project);
        let known =
            self.deps.store.query_all::<TrackedBranch>(&partition, keys::TRACKED_BRANCHES).await?;
        for branch in known.into_iter().filter(|branch| !branch.value.left) {
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

    /// Records a branch's head when its first stack is made.
    pub(crate) async fn begin_branch(
        &self,
        project: ProjectId,
        branch: &str,
    ) -> Result<(), Failure> {
        let key = keys::tracked_branch(project, branch);
        let found = self.deps.store.get::<TrackedBranch>(&key).await?;
        if found.as_ref().is_some_and(|found| !found.value.left) {
            return Ok(());
        }
        let client = self.gitlab().await?;
        let live = client.branch(project, branch).await.map_err(gitlab_failure)?;
        let begun = TrackedBranch {
            missing: live.is_none(),
            decided: live.map(|b| b.sha),
            number: found.as_ref().map_or(0, |found| found.value.number),
            open: None,
            left: false,
        };
        let expect = found.as_ref().map_or(Expect::Absent, Stored::unchanged);
        self.replace(Write::put(key, expect, &begun)?).await
    }

    /// Another branch moved: previews for the stacks that it would change.
    pub(crate) async fn decide_branch(
        &self,
        event: &Event,
        branch: &str,
        stacks: &[Stack],
    ) -> Result<String, Failure> {
        let client = self.gitlab().await?;
        let project = event.project;
        let key = keys::branch(project, branch);
        let known = self.deps.store.get::<RefRecord>(&key).await?;
        let live = client.branch(project, branch).await.map_err(gitlab_failure)?.map(|b| b.sha);
        let before = known.as_ref().and_then(|k| k.value.head.clone());
        if known.is_some() && before == live {
            return Ok(match live {
                Some(head) => format!("already decided: {branch} is at {}", head.short()),
                None => format!("already decided: {branch} is not there"),
            });
        }
        if let Some(old) = &before {
            let because = match &live {
                Some(head) => format!("Superseded by {}", head.short()),
                None => format!("Branch {branch} was deleted"),
            };
            let want = Want::Branch(branch.to_owned());
            let asked = known.as_ref().map(|k| k.value.affected.as_slice()).unwrap_or_default();
            self.unwant_all(event, old, &want, &because, asked, |_| true).await?;
        }
        let (outcome, affected) = match &live {
            None => (format!("{branch} was deleted"), Vec::new()),
            Some(head) => self.propose_branch(event, branch, head, stacks).await?,
        };
        let expect = known.as_ref().map_or(Expect::Absent, Stored::unchanged);
        self.replace(Write::put(key, expect, &RefRecord { head: live, affected })?).await?;
        Ok(outcome)
    }

    async fn propose_branch(
        &self,
        event: &Event,
        branch: &str,
        head: &CommitSha,
        stacks: &[Stack],
    ) -> Result<(String, Vec<StackId>), Failure> {
        let client = self.gitlab().await?;
        let filter = MergeRequestFilter {
            source_branch: Some(branch.to_owned()),
            ..MergeRequestFilter::default()
        };
        let targets: BTreeSet<String> = client
            .merge_requests(event.project, &filter)
            .await
            .map_err(gitlab_failure)?
            .into_iter()
            .filter(|mr| mr.source_project_id == Some(event.project))
            .map(|mr| mr.target_branch)
            .collect();
        let mut by_branch: BTreeMap<&str, Vec<&Stack>> = BTreeMap::new();
        let mut decided =
            Decided { commit: head, git_ref: branch, tracked_key: String::new(), each: Vec::new() };
        for stack in stacks {
            if targets.is_empty() || targets.contains(&stack.branch) {
                by_branch.entry(&stack.branch).or_default().push(stack);
            } else {
                let reason = format!(
                    "{branch} has an open merge request, whose target is not {}",
                    stack.branch
                );
                decided.each.push((stack, Decision::Nothing { reason, untouched: true }));
            }
        }
        for (tracked, tracking) in by_branch {
            let between = Between { from: tracked, base: None, to: head, straight: false };
            let changes = self.changes(&client, event.project, &between, &tracking).await?;
            let facts = Facts::Branch { branch: branch.to_owned(), changes, is_tracked: false };
            decided.each.extend(tracking.into_iter().map(|s| (s, decide(&facts, s))));
        }
        let subject = Subject {
            branch: branch.to_owned(),
            merge_request: None,
            fork_of: None,
            affected: u32::try_from(decided.affected().len()).unwrap_or(u32::MAX),
            to_tracked: false,
            decided_at: Some(self.now()),
        };
        self.hand_over(event, &decided, &format!("branch#{branch}"), &subject).await?;
        Ok((decided.summary(), decided.affected()))
    }

    /// Something about a merge request changed: only head, target and state count.
    pub(crate) async fn decide_merge_request(
        &self,
        event: &Event,
        iid: MergeRequestIid,
        stacks: &[Stack],
    ) -> Result<Dealt, Failure> {
        let client = self.gitlab().await?;
        let live = client.merge_request(event.project, iid).await.map_err(gitlab_failure)?;
        let key = keys::merge_request(event.project, iid);
        let known = self.deps.store.get::<MergeRequestRecord>(&key).await?;
        let Some(live) = live else {
            return Ok(Dealt::Done(format!("merge request !{iid} is not there")));
        };
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
                self.want(Message::Note { project: event.project, iid, want: 0 }).await?;
            }
            return Ok(Dealt::Done(
                "already decided: neither head, target nor state changed".to_owned(),
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
        };
        let outcome = match &live.sha {
            Some(head) if is_open => {
                let (outcome, affected) =
                    self.propose_merge_request(event, &live, head, stacks).await?;
                record.affected = affected;
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
            self.want(Message::Note { project: event.project, iid, want: 0 }).await?;
        }
        Ok(Dealt::Done(outcome))
    }

    async fn propose_merge_request(
        &self,
        event: &Event,
        live: &MergeRequest,
        head: &CommitSha,
        stacks: &[Stack],
    ) -> Result<(String, Vec<StackId>), Failure> {
        let client = self.gitlab().await?;
        let project = event.project;
        let tracking: Vec<&Stack> =
            stacks.iter().filter(|s| s.branch == live.target_branch).collect();
        let changes = if tracking.is_empty() {
            Changes::Paths(BTreeSet::new())
        } else {
            let base = live.diff_refs.as_ref().and_then(|refs| refs.base_sha.as_ref());
            let between = Between { from: &live.target_branch, base, to: head, straight: false };
            self.changes(&client, project, &between, &tracking).await?
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
            git_ref: &live.source_branch,
            tracked_key: String::new(),
            each: stacks.iter().map(|s| (s, decide(&facts, s))).collect(),
        };
        let affected = decided.affected();
        let subject = Subject {
            branch: live.source_branch.clone(),
            merge_request: Some(live.iid),
            fork_of: fork.map(|f| f.project),
            affected: u32::try_from(affected.len()).unwrap_or(u32::MAX),
            to_tracked: !tracking.is_empty(),
            decided_at: Some(self.now()),
        };
        self.hand_over(event, &decided, &format!("mr#{}", live.iid), &subject).await?;
        if affected.is_empty() && !tracking.is_empty() {
            let commit = head.clone();
            self.want(Message::Status { project, commit, want: 0 }).await?;
        }
        Ok((decided.summary(), affected))
    }

    /// Takes the merge request's want from the runs that are no longer for it.
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
        let want = Want::MergeRequest(after.iid);
        if !is_open {
            let because = format!("Merge request !{} was {}", after.iid, after.state);
            return self.unwant_all(event, old, &want, &because, asked, |_| true).await;
        }
        if after.head.as_ref() == Some(old) {
            let because = format!("Merge request !{} has another target now", after.iid);
            let gone = |stack: &StackId| !after.affected.contains(stack);
            return self.unwant_all(event, old, &want, &because, asked, gone).await;
        }
        let newer = after.head.as_ref().map(|h| h.short().to_owned()).unwrap_or_default();
        let because = format!("Superseded by {newer}");
        self.unwant_all(event, old, &want, &because, asked, |_| true).await
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
            to_tracked: true,
            decided_at: Some(self.now()),
        };
        let key = keys::commit_subject(project, commit, &format!("merged#{}", live.iid));
        let write = Write::put(key, Expect::Any, &subject)?.expires(self.now() + KEPT);
        Ok(self.deps.store.put_all(&[write]).await?)
    }

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
                let needs_branch = stack.on_tag.as_ref().is_some_and(|t| t.run == OnPush::Tracked);
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
            let subject = Subject {
                branch: tag.to_owned(),
                merge_request: None,
                fork_of: None,
                affected: u32::try_from(decided.affected().len()).unwrap_or(u32::MAX),
                to_tracked: false,
                decided_at: Some(self.now()),
            };
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

    /// Writes down what was decided and sends each stack its trigger.
    async fn hand_over(
        &self,
        event: &Event,
        decided: &Decided<'_>,
        subject_name: &str,
        subject: &Subject,
    ) -> Result<(), Failure> {
        let now = self.now();
        let key = keys::commit_subject(event.project, decided.commit, subject_name);
        let mut writes = vec![Write::put(key, Expect::Any, subject)?.expires(now + KEPT)];
        for (stack, decision) in &decided.each {
            let record = DecisionRecord {
                stack: stack.id.clone(),
                slug: stack.slug.clone(),
                runs: decision.runs(),
                reason: decision.reason().to_owned(),
                commit: Some(decided.commit.clone()),
                at: now,
            };
            let key = keys::decision(&event.id, &stack.id);
            writes.push(Write::put(key, Expect::Any, &record)?.expires(now + KEPT));
        }
        self.deps.store.put_all(&writes).await?;
        let triggers = decided.each.iter().filter_map(|(stack, decision)| {
            let Decision::Run { run_type, want, fork_of, reason } = decision else { return None };
            let key = match run_type {
                RunType::Proposed => format!("proposed#{}", decided.commit),
                _ => decided.tracked_key.clone(),
            };
            let trigger = Trigger {
                run_type: *run_type,
                key,
                commit: decided.commit.clone(),
                git_ref: decided.git_ref.to_owned(),
                tracked_branch: stack.branch.clone(),
                fork_of: *fork_of,
                want: want.clone(),
                stacks_touched: subject.affected,
                reason: reason.clone(),
                by: None,
            };
            let (stack, event) = (stack.id.clone(), event.id.clone());
            Some(Message::Trigger { stack, event, trigger })
        });
        Ok(self.deps.sender.send_all(triggers.collect()).await?)
    }

    /// Takes a want from the proposed runs of a commit whose stack `applies_to`. `asked` are the
    /// stacks that were asked for one.
    async fn unwant_all(
        &self,
        event: &Event,
        commit: &CommitSha,
        want: &Want,
        because: &str,
        asked: &[StackId],
        applies_to: impl Fn(&StackId) -> bool,
    ) -> Result<(), Failure> {
        let partition = keys::commit_runs(event.project, commit);
        let entries = self.deps.store.query_all::<RunEntry>(&partition, "run#").await?;
        let mut runs: BTreeSet<(StackId, RunId)> = entries
            .iter()
            .filter(|entry| entry.value.run_type == RunType::Proposed)
            .map(|entry| (entry.value.stack.clone(), entry.value.run.clone()))
            .collect();
        // A stack that was asked may not have come to it yet. Its run will have this name, and is
        // there when this message is handled: behind the trigger.
        let have: BTreeSet<StackId> = runs.iter().map(|(stack, _)| stack.clone()).collect();
        for stack in asked.iter().filter(|stack| !have.contains(stack)) {
            runs.insert((stack.clone(), crate::triggers::first_proposed(stack, commit)));
        }
        let messages =
            runs.into_iter().filter(|(stack, _)| applies_to(stack)).map(|(stack, run)| {
                Message::Unwant {
                    stack,
                    run,
                    want: want.clone(),
                    event: event.id.clone(),
                    because: because.to_owned(),
                }
            });
        Ok(self.deps.sender.send_all(messages.collect()).await?)
    }

    /// A single write that is based on a read; somebody being first means: read again.
    async fn replace(&self, write: Write) -> Result<(), Failure> {
        match self.deps.store.write(vec![write]).await? {
            Outcome::Written => Ok(()),
            Outcome::Stale => crate::moves::written(Outcome::Stale, &"a record"),
        }
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
