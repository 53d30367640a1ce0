//! Issues: opening, changing, closing, moving and deleting them, and who sees confidential ones.

use crate::api::access::REPORTER;
use crate::api::answer::Refusal;
use crate::model::{Issue, IssueState, ProjectId, State, UserId};

/// What an issue is opened with.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewIssue {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) labels: Vec<String>,
    pub(crate) assignees: Vec<UserId>,
    pub(crate) confidential: bool,
}

/// What of an issue is to change.
#[derive(Clone, Debug, Default)]
pub(crate) struct IssueUpdate {
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) labels: Option<Vec<String>>,
    pub(crate) add_labels: Vec<String>,
    pub(crate) remove_labels: Vec<String>,
    pub(crate) assignees: Option<Vec<UserId>>,
    pub(crate) confidential: Option<bool>,
}

/// The longest title, and the longest description.
const TITLE: usize = 255;
const DESCRIPTION: usize = 1_048_576;

fn check_texts(title: &str, description: &str) -> Result<(), Refusal> {
    match () {
        () if title.trim().is_empty() => Err(Refusal::field("title", "can't be blank")),
        () if title.chars().count() > TITLE => {
            Err(Refusal::field("title", "is too long (maximum is 255 characters)"))
        }
        () if description.chars().count() > DESCRIPTION => {
            Err(Refusal::field("description", "is too long (maximum is 1048576 characters)"))
        }
        () => Ok(()),
    }
}

/// Labels are made as they are named, each once.
fn tidied(labels: Vec<String>) -> Vec<String> {
    let mut tidy: Vec<String> = Vec::new();
    for label in labels.into_iter().map(|label| label.trim().to_owned()) {
        if !label.is_empty() && !tidy.contains(&label) {
            tidy.push(label);
        }
    }
    tidy
}

impl State {
    /// Whether somebody sees an issue: a confidential one is for members from Reporter on, its author
    /// and its assignees.
    pub(crate) fn sees_issue(
        &self,
        project: ProjectId,
        issue: &Issue,
        user: Option<UserId>,
    ) -> bool {
        let involved = |user| issue.author == user || issue.assignees.contains(&user);
        let member = |user| self.role(self.project(project), self.user(user)) >= REPORTER;
        !issue.confidential || user.is_some_and(|user| involved(user) || member(user))
    }

    /// Those of some users that there are: others are left aside, as are all but the first where the
    /// edition knows one assignee only.
    fn assignable(&self, users: Vec<UserId>) -> Vec<UserId> {
        let most = if self.config.version.is_enterprise() { usize::MAX } else { 1 };
        users.into_iter().filter(|user| self.users.contains_key(user)).take(most).collect()
    }

    pub(crate) fn open_issue(
        &mut self,
        project: ProjectId,
        author: UserId,
        new: NewIssue,
    ) -> Result<u64, Refusal> {
        check_texts(&new.title, &new.description)?;
        let assignees = self.assignable(new.assignees);
        let (id, now) = (self.next_id("issue"), self.now());
        let found = self.project_mut(project);
        found.last_issue += 1;
        let iid = found.last_issue;
        found.issues.push(Issue {
            id,
            iid,
            state: IssueState::Opened,
            title: new.title,
            description: new.description,
            author,
            labels: tidied(new.labels),
            assignees,
            confidential: new.confidential,
            moved_to: None,
            created_at: now,
            updated_at: now,
            closed_at: None,
        });
        Ok(iid)
    }

    fn issue_mut(&mut self, project: ProjectId, iid: u64) -> Result<&mut Issue, Refusal> {
        let found = self.project_mut(project).issues.iter_mut().find(|issue| issue.iid == iid);
        found.ok_or_else(|| Refusal::not_found("Issue"))
    }

    pub(crate) fn update_issue(
        &mut self,
        project: ProjectId,
        iid: u64,
        update: IssueUpdate,
    ) -> Result<(), Refusal> {
        let assignees = update.assignees.map(|users| self.assignable(users));
        let now = self.now();
        let issue = self.issue_mut(project, iid)?;
        let title = update.title.unwrap_or_else(|| issue.title.clone());
        let description = update.description.unwrap_or_else(|| issue.description.clone());
        check_texts(&title, &description)?;
        let mut labels = update.labels.unwrap_or_else(|| issue.labels.clone());
        labels.extend(update.add_labels);
        labels.retain(|label| !update.remove_labels.contains(label));
        issue.title = title;
        issue.description = description;
        issue.labels = tidied(labels);
        issue.assignees = assignees.unwrap_or_else(|| issue.assignees.clone());
        issue.confidential = update.confidential.unwrap_or(issue.confidential);
        issue.updated_at = now;
        Ok(())
    }

    /// Closes or reopens (`close`, `reopen`) an issue, where that changes anything.
    pub(crate) fn change_issue_state(
        &mut self,
        project: ProjectId,
        iid: u64,
        event: &str,
    ) -> Result<(), Refusal> {
        let now = self.now();
        let issue = self.issue_mut(project, iid)?;
        let state = match event {
            "close" => IssueState::Closed,
            _ => IssueState::Opened,
        };
        if issue.state != state {
            issue.state = state;
            issue.closed_at = (state == IssueState::Closed).then_some(now);
            issue.updated_at = now;
        }
        Ok(())
    }

    pub(crate) fn delete_issue(&mut self, project: ProjectId, iid: u64) -> Result<(), Refusal> {
        self.issue_mut(project, iid)?;
        self.project_mut(project).issues.retain(|issue| issue.iid != iid);
        Ok(())
    }

    /// Closes an issue and copies it into another project; gives the copy's number there.
    pub(crate) fn move_issue(
        &mut self,
        project: ProjectId,
        iid: u64,
        to: ProjectId,
    ) -> Result<u64, Refusal> {
        if !self.projects.contains_key(&to) {
            return Err(Refusal::not_found("Project"));
        }
        let issue = self.issue_mut(project, iid)?.clone();
        let problem = match () {
            () if to == project => "Cannot move issue to project it originates from!",
            () if issue.moved_to.is_some() => "Cannot move issue due to insufficient permissions!",
            () => "",
        };
        if !problem.is_empty() {
            return Err(Refusal::message(400, problem));
        }
        // A copy keeps its author; labels go where the other project has them, and here all do.
        let new = NewIssue {
            title: issue.title,
            description: issue.description,
            labels: issue.labels,
            assignees: issue.assignees,
            confidential: issue.confidential,
        };
        let copy = self.open_issue(to, issue.author, new)?;
        let id = self.project(to).issue(copy).map(|copy| copy.id);
        self.issue_mut(project, iid)?.moved_to = id;
        self.change_issue_state(project, iid, "close")?;
        Ok(copy)
    }
}
