//! Branches that nobody tracks: previews of what they would change.

use super::Decided;
use crate::{
    projects::{Event, Projects, facts::Between},
    trouble::gitlab_failure,
};
use gantry_domain::{
    CommitLine, CommitSha, StackId,
    decision::{Decision, Facts, decide},
    run::Interest,
    stack::Stack,
};
use gantry_gitlab::{Client, MergeRequestFilter};
use gantry_queue::Failure;
use gantry_store::scheduler::RefRecord;
use gantry_store::{Expect, Stored, Write, keys};
use std::collections::{BTreeMap, BTreeSet};

impl Projects<'_> {
    /// Another branch moved: previews for the stacks that it would change.
    pub(crate) async fn decide_branch(
        &self,
        event: &Event,
        client: &Client,
        branch: &str,
        stacks: &[Stack],
    ) -> Result<String, Failure> {
        let project = event.project;
        let key = keys::branch(project, branch);
        let known = self.deps.store.get::<RefRecord>(&key).await?;
        let live = client.branch(project, branch).await.map_err(gitlab_failure)?;
        let page = live.as_ref().and_then(|live| live.web_url.as_deref());
        self.note_page(client, project, stacks, page).await?;
        let (live, commit_line) = live.map(|live| (live.sha, live.line)).unzip();
        let before = known.as_ref().and_then(|k| k.value.head.clone());
        if known.is_some() && before == live {
            return Ok(match live {
                Some(head) => format!("already processed: {branch} is at {}", head.short()),
                None => format!("already processed: {branch} does not exist"),
            });
        }
        if let Some(old) = &before {
            let because = match &live {
                Some(head) => format!("Superseded by {}", head.short()),
                None => format!("Branch {branch} was deleted"),
            };
            let interest = Interest::Branch(branch.to_owned());
            let asked = known.as_ref().map(|k| k.value.affected.as_slice()).unwrap_or_default();
            self.release_all(event, old, &interest, &because, asked, |_| true).await?;
        }
        let (outcome, affected) = match &live {
            None => (format!("{branch} was deleted"), Vec::new()),
            Some(head) => {
                let commit_line = commit_line.unwrap_or_default();
                self.propose_branch(event, client, branch, (head, commit_line), stacks).await?
            }
        };
        let expect = known.as_ref().map_or(Expect::Absent, Stored::unchanged);
        self.replace(Write::put(key, expect, &RefRecord { head: live, affected })?).await?;
        Ok(outcome)
    }

    async fn propose_branch(
        &self,
        event: &Event,
        client: &Client,
        branch: &str,
        (head, commit_line): (&CommitSha, CommitLine),
        stacks: &[Stack],
    ) -> Result<(String, Vec<StackId>), Failure> {
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
        let mut decided = Decided {
            commit: head,
            commit_line,
            git_ref: branch,
            tracked_key: String::new(),
            each: Vec::new(),
        };
        for stack in stacks {
            if targets.is_empty() || targets.contains(&stack.branch) {
                by_branch.entry(&stack.branch).or_default().push(stack);
            } else {
                let reason = format!(
                    "{branch} has an open merge request that does not target {}",
                    stack.branch
                );
                decided.each.push((stack, Decision::Nothing { reason, untouched: true }));
            }
        }
        for (tracked, tracking) in by_branch {
            let between = Between { from: tracked, base: None, to: head, straight: false };
            let (changes, _) = self.changes(client, event.project, &between, &tracking).await?;
            let facts = Facts::Branch { branch: branch.to_owned(), changes, is_tracked: false };
            decided.each.extend(tracking.into_iter().map(|s| (s, decide(&facts, s))));
        }
        let subject = decided.subject(false, self.deps.now());
        self.hand_over(event, &decided, &format!("branch#{branch}"), &subject).await?;
        Ok((decided.summary(), decided.affected()))
    }
}
