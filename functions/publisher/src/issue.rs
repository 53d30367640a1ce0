//! The one issue of a stack that differs from what was applied.
//!
//! What people do with it counts: one that they closed, deleted or moved is theirs, until something
//! else differs.

use crate::{Client, Done, Memory, Trouble, Work, client};
use gantry_connection::Connected;
use gantry_domain::{
    ProjectId, StackId, UserId,
    drift::Drift,
    run::Run,
    stack::{CommentLevel, Stack, StackHead},
    text::drift::{self, IssueInput},
};
use gantry_gitlab::{Issue, IssueEdit, NewIssue};
use gantry_store::keys;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes of JSON that a change may have: far more than an issue has room for.
const LARGEST_CHANGE: usize = 400_000;

/// What was written for a stack.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct IssueMemory {
    /// The project that it is in.
    project: Option<ProjectId>,
    /// Its number there.
    issue: Option<u64>,
    /// Something differed at the last look; otherwise it was closed.
    #[serde(default)]
    is_open: bool,
    /// SHA-256 of what it says, and of what differs.
    said: Option<String>,
    differs: Option<String>,
    /// What it was given.
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    assignees: Vec<String>,
    /// GitLab's own words where it refused.
    #[serde(default)]
    pub(crate) refusal: Option<String>,
}

/// What there should be.
struct Wanted<'a> {
    stack: &'a Stack,
    project: ProjectId,
    input: IssueInput,
    /// Only members of the project may read it.
    confidential: bool,
}

impl Work {
    pub(crate) async fn publish_issue(
        &self,
        connected: &Connected,
        stack: &StackId,
        mut memory: Memory<IssueMemory>,
    ) -> Result<Done, Trouble> {
        let Some(found) = self.deps.store.stack(stack).await? else { return Ok(Done::default()) };
        let stack = found.value;
        if stack.generation != connected.integration.value.generation {
            return Ok(Done::default());
        }
        let refused = match Box::pin(self.bring_issue_up(connected, &stack, &mut memory)).await {
            Ok(()) => None,
            Err(Trouble::Gitlab(error)) if error.is_refusal() => Some(error.to_string()),
            Err(trouble) => return Err(trouble),
        };
        if let Some(words) = &refused {
            tracing::warn!(stack = %stack.slug, "{words}");
        }
        if memory.value.refusal != refused {
            memory.value.refusal.clone_from(&refused);
            self.remember(&mut memory).await?;
        }
        Ok(Done { runs: 1, refused, look_at: None })
    }

    async fn bring_issue_up(
        &self,
        connected: &Connected,
        stack: &Stack,
        memory: &mut Memory<IssueMemory>,
    ) -> Result<(), Trouble> {
        let gitlab = client(connected);
        if memory.value.project.is_some_and(|project| Some(project) != stack.project()) {
            self.close_issue(gitlab, memory).await?;
            memory.value = IssueMemory::default();
        }
        match self.wanted_issue(connected, stack).await? {
            Some(wanted) => self.open_issue(connected, &wanted, memory).await,
            None => self.close_issue(gitlab, memory).await,
        }
    }

    /// None where nothing differs, or the stack asks for no issue.
    async fn wanted_issue<'a>(
        &self,
        connected: &Connected,
        stack: &'a Stack,
    ) -> Result<Option<Wanted<'a>>, Trouble> {
        let settings = &stack.settings;
        let asks = settings.drift.issue && stack.deleted_at.is_none() && stack.module.is_none();
        let Some(project) = stack.project().filter(|_| asks) else { return Ok(None) };
        let head = self.deps.store.get::<StackHead>(&keys::stack_head(&stack.id)).await?;
        let differs = |drift: &Drift| drift.found > 0;
        let Some(drift) = head.and_then(|head| head.value.drift).filter(differs) else {
            return Ok(None);
        };
        let links = self.links_in(client(connected), project).await?;
        let run = match settings.comment {
            CommentLevel::Full => self.deps.store.get::<Run>(&keys::run(&drift.run)).await?,
            CommentLevel::Summary | CommentLevel::None => None,
        };
        let change = match run {
            Some(run) => self.change(&run.value, LARGEST_CHANGE).await?,
            None => None,
        };
        let input = IssueInput {
            installation: connected.integration.value.installation.clone(),
            stack: stack.id.clone(),
            slug: stack.slug.clone(),
            change: change.map(|(_, change)| change),
            found_by: links.to(&drift.run),
            failed: drift.failed.as_ref().map(|run| links.to(run)),
            page: format!("{}/stacks/{}", self.deps.public_url, stack.slug),
            drift,
        };
        let confidential = links.is_public() && settings.comment != CommentLevel::Summary;
        Ok(Some(Wanted { stack, project, input, confidential }))
    }

    async fn open_issue(
        &self,
        connected: &Connected,
        wanted: &Wanted<'_>,
        memory: &mut Memory<IssueMemory>,
    ) -> Result<(), Trouble> {
        let gitlab = client(connected);
        let asked = &wanted.stack.settings.drift;
        let now = IssueMemory {
            project: Some(wanted.project),
            issue: memory.value.issue,
            is_open: true,
            said: Some(digest(&wanted.input.said())),
            differs: Some(digest(&wanted.input.differs())),
            labels: asked.labels.clone(),
            assignees: asked.assignees.clone(),
            refusal: memory.value.refusal.clone(),
        };
        let before = &memory.value;
        let is_given = before.labels == now.labels && before.assignees == now.assignees;
        if before.is_open && before.said == now.said && is_given {
            return Ok(());
        }
        let is_news = !before.is_open || before.differs != now.differs;
        let known = match now.issue {
            Some(issue) => gitlab.issue(wanted.project, issue).await?,
            None => None,
        };
        let known = known.filter(|live| !live.is_moved());
        let is_theirs = now.issue.is_some() && !known.as_ref().is_some_and(Issue::is_open);
        if is_theirs && !is_news {
            memory.value = now;
            return self.remember(memory).await;
        }
        let live = match known {
            Some(live) => Some(live),
            // It may have been opened, and nobody has heard of it.
            None => self.find_issue(connected, wanted).await?,
        };
        let assignees = match live.is_none() || before.assignees != now.assignees {
            true => assignees(gitlab, &asked.assignees).await?,
            false => Vec::new(),
        };
        let issue = match live {
            Some(live) => {
                let edit = edit(&live, wanted, assignees, before.labels != now.labels);
                if !edit.is_empty() {
                    gitlab.edit_issue(wanted.project, live.iid, &edit).await?;
                }
                live.iid
            }
            None => {
                let issue = NewIssue {
                    title: drift::title(&wanted.stack.slug),
                    description: wanted.input.body(),
                    labels: asked.labels.clone(),
                    assignees,
                    confidential: wanted.confidential,
                };
                gitlab.create_issue(wanted.project, &issue).await?.iid
            }
        };
        memory.value = IssueMemory { issue: Some(issue), ..now };
        self.remember(memory).await
    }

    async fn find_issue(
        &self,
        connected: &Connected,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Issue>, Trouble> {
        let integration = &connected.integration.value;
        let marker = drift::marker(&integration.installation, &wanted.stack.id);
        let is_it = |found: &Issue| !found.is_moved() && found.description.starts_with(&marker);
        let gitlab = client(connected);
        Ok(gitlab.issues_by(wanted.project, integration.bot.id, is_it).await?)
    }

    /// Nothing differs any more, or nobody asks for an issue any more.
    async fn close_issue(
        &self,
        gitlab: &Client,
        memory: &mut Memory<IssueMemory>,
    ) -> Result<(), Trouble> {
        let IssueMemory { project, issue, is_open, .. } = &memory.value;
        let (Some(project), Some(issue), true) = (*project, *issue, *is_open) else {
            return Ok(());
        };
        let live = gitlab.issue(project, issue).await?;
        if live.is_some_and(|live| live.is_open() && !live.is_moved()) {
            let close = IssueEdit { is_open: Some(false), ..IssueEdit::default() };
            gitlab.edit_issue(project, issue, &close).await?;
        }
        let before = std::mem::take(&mut memory.value);
        memory.value = IssueMemory { is_open: false, said: None, differs: None, ..before };
        self.remember(memory).await
    }
}

/// What becomes another of an issue that is there. Labels that people gave it stay.
fn edit(
    live: &Issue,
    wanted: &Wanted<'_>,
    assignees: Vec<UserId>,
    asks_for_other_labels: bool,
) -> IssueEdit {
    let body = wanted.input.body();
    let asked = wanted.stack.settings.drift.labels.iter().filter(|_| asks_for_other_labels);
    let missing: Vec<&String> = asked.filter(|label| !live.labels.contains(label)).collect();
    let labels = || live.labels.iter().chain(missing.iter().copied()).cloned().collect();
    IssueEdit {
        description: Some(body).filter(|body| *body != live.description),
        labels: (!missing.is_empty()).then(labels),
        assignees: Some(assignees).filter(|assignees| !assignees.is_empty()),
        confidential: Some(true).filter(|_| wanted.confidential && !live.confidential),
        is_open: (!live.is_open()).then_some(true),
    }
}

/// The users of these names. Whom GitLab does not have, nothing is assigned to.
async fn assignees(gitlab: &Client, names: &[String]) -> Result<Vec<UserId>, Trouble> {
    let mut found = Vec::new();
    for name in names {
        match gitlab.user_by_name(name).await? {
            Some(user) => found.push(user.id),
            None => tracing::warn!("GitLab has no user {name}, so no issue is assigned to them"),
        }
    }
    Ok(found)
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}
