//! Somebody who works with the server: commits, branches, tags, merge requests, comments.
//!
//! A person's actions are not checked for rights, only for what makes no sense.

use crate::api::answer::Refusal;
use crate::api::params::Params;
use crate::git::NOTHING;
use crate::git::Oid;
use crate::git::repo::FileChanges;
use crate::model::{Application, IssueIid, MergeRequestIid, NoteId, ProjectId, State, UserId};
use crate::server::FakeGitlab;
use crate::service::commits::NewCommit;
use crate::service::issues::NewIssue;
use crate::service::merge_requests::{MergeRequestUpdate, NewMergeRequest};
use crate::service::notes::{NoteOutcome, NotePlace};

/// What a merge request is opened with.
#[derive(Clone, Debug, Default)]
pub struct MergeRequestSpec {
    /// The project of the source branch, when it is a fork.
    pub source_project: Option<ProjectId>,
    /// The source branch.
    pub source_branch: String,
    /// The target branch; empty is the default branch.
    pub target_branch: String,
    /// The title; empty is the source branch.
    pub title: String,
}

impl MergeRequestSpec {
    /// From a branch into the default branch.
    pub fn from(source_branch: &str) -> Self {
        Self { source_branch: source_branch.to_owned(), ..Self::default() }
    }

    /// Into another branch.
    #[must_use]
    pub fn into(mut self, target_branch: &str) -> Self {
        target_branch.clone_into(&mut self.target_branch);
        self
    }

    /// From a fork.
    #[must_use]
    pub fn of(mut self, source_project: ProjectId) -> Self {
        self.source_project = Some(source_project);
        self
    }

    /// With a title.
    #[must_use]
    pub fn titled(mut self, title: &str) -> Self {
        title.clone_into(&mut self.title);
        self
    }
}

/// Somebody who works with the server.
#[derive(Clone)]
pub struct Person {
    gitlab: FakeGitlab,
    user: UserId,
}

type Done<T> = Result<T, Refusal>;

/// The parameters of an address.
fn asked_at(url: &str) -> Params {
    let mut params = Params::default();
    params.add_form(url.split_once('?').map_or("", |(_, query)| query));
    params
}

impl Person {
    pub(crate) fn new(gitlab: FakeGitlab, user: UserId) -> Self {
        Self { gitlab, user }
    }

    /// The user.
    #[must_use]
    pub fn id(&self) -> UserId {
        self.user
    }

    fn with<T>(&self, work: impl FnOnce(&mut State, UserId) -> T) -> T {
        self.gitlab.with(|state| work(state, self.user))
    }

    /// Pushes a commit with these files to a branch, which is made from the default branch if it
    /// is not there; `None` as content removes a file. Gives the commit's id.
    ///
    /// # Errors
    /// When a file to remove is not there or the branch cannot have this name.
    pub fn push_files(
        &self,
        project: ProjectId,
        branch: &str,
        files: &[(&str, Option<&str>)],
        message: &str,
    ) -> Done<String> {
        let changes: FileChanges = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.map(|text| text.as_bytes().to_vec())))
            .collect();
        self.push_changes(project, branch, changes, message)
    }

    /// Pushes one file that need not be text; see [`Self::push_files`].
    ///
    /// # Errors
    /// When the branch cannot have this name.
    pub fn push_bytes(
        &self,
        project: ProjectId,
        branch: &str,
        path: &str,
        content: &[u8],
    ) -> Done<String> {
        let changes = [(path.to_owned(), Some(content.to_vec()))].into_iter().collect();
        self.push_changes(project, branch, changes, &format!("Change {path}"))
    }

    fn push_changes(
        &self,
        project: ProjectId,
        branch: &str,
        changes: FileChanges,
        message: &str,
    ) -> Done<String> {
        let (branch, message) = (branch.to_owned(), message.to_owned());
        let new = NewCommit { branch, parent: None, message, changes };
        self.with(|state, user| state.commit(project, user, &new)).map(|id| id.to_string())
    }

    /// Pushes one file; see [`Self::push_files`].
    ///
    /// # Errors
    /// When the branch cannot have this name.
    pub fn push(&self, project: ProjectId, branch: &str, path: &str, text: &str) -> Done<String> {
        self.push_files(project, branch, &[(path, Some(text))], &format!("Change {path}"))
    }

    /// Moves several refs in one push: full names, and commit ids (or names) or `None` to delete.
    /// History may be rewritten.
    ///
    /// # Errors
    /// When a commit is not there or a ref cannot have its name.
    pub fn push_refs(&self, project: ProjectId, refs: &[(&str, Option<&str>)]) -> Done<()> {
        self.with(|state, user| {
            let found = state.project(project);
            let resolve = |name: &str| {
                let commit = found.repo.resolve(name, found.default_branch());
                commit.map(|commit| commit.id).ok_or_else(|| Refusal::not_found("Commit"))
            };
            let moves: Vec<(String, Oid)> = refs
                .iter()
                .map(|(name, to)| Ok(((*name).to_owned(), to.map_or(Ok(NOTHING), resolve)?)))
                .collect::<Done<_>>()?;
            state.push_refs(project, user, &moves)
        })
    }

    /// Makes a branch, or moves it as a force push does.
    ///
    /// # Errors
    /// When `to` is no commit, branch or tag.
    pub fn set_branch(&self, project: ProjectId, name: &str, to: &str) -> Done<()> {
        self.push_refs(project, &[(&format!("refs/heads/{name}"), Some(to))])
    }

    /// Deletes a branch.
    ///
    /// # Errors
    /// Never for a branch that is there.
    pub fn delete_branch(&self, project: ProjectId, name: &str) -> Done<()> {
        self.push_refs(project, &[(&format!("refs/heads/{name}"), None)])
    }

    /// Makes a tag, annotated when there is a message; gives the id of the tag object or commit.
    ///
    /// # Errors
    /// When the tag is there already or `from` is nothing.
    pub fn tag(
        &self,
        project: ProjectId,
        name: &str,
        from: &str,
        message: Option<&str>,
    ) -> Done<String> {
        let made = self.with(|state, user| state.create_tag(project, user, name, from, message));
        made.map(|id| id.to_string())
    }

    /// Deletes a tag.
    ///
    /// # Errors
    /// Never for a tag that is there.
    pub fn delete_tag(&self, project: ProjectId, name: &str) -> Done<()> {
        self.push_refs(project, &[(&format!("refs/tags/{name}"), None)])
    }

    /// Opens a merge request.
    ///
    /// # Errors
    /// When a branch is missing or there is an open one for it already.
    pub fn open_merge_request(
        &self,
        project: ProjectId,
        spec: MergeRequestSpec,
    ) -> Done<MergeRequestIid> {
        self.with(|state, user| {
            let or = |text: String, other: &str| {
                if text.is_empty() { other.to_owned() } else { text }
            };
            let new = NewMergeRequest {
                source_project: spec.source_project,
                title: or(spec.title, &spec.source_branch),
                source_branch: spec.source_branch,
                target_branch: or(spec.target_branch, state.project(project).default_branch()),
                ..NewMergeRequest::default()
            };
            state.open_merge_request(project, user, new).map(MergeRequestIid)
        })
    }

    fn update(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        update: MergeRequestUpdate,
    ) -> Done<()> {
        self.with(|state, user| {
            state.project(project).merge_request(iid.0).ok_or_else(|| Refusal::not_found(""))?;
            state.update_merge_request(project, iid.0, user, update)
        })
    }

    fn change_state(&self, project: ProjectId, iid: MergeRequestIid, event: &str) -> Done<()> {
        self.with(|state, user| {
            state.project(project).merge_request(iid.0).ok_or_else(|| Refusal::not_found(""))?;
            state.change_state(project, iid.0, user, event);
            Ok(())
        })
    }

    /// Closes a merge request.
    ///
    /// # Errors
    /// When it is not there.
    pub fn close(&self, project: ProjectId, iid: MergeRequestIid) -> Done<()> {
        self.change_state(project, iid, "close")
    }

    /// Reopens a merge request.
    ///
    /// # Errors
    /// When it is not there.
    pub fn reopen(&self, project: ProjectId, iid: MergeRequestIid) -> Done<()> {
        self.change_state(project, iid, "reopen")
    }

    /// Changes the title; `Draft:` at its beginning makes a draft.
    ///
    /// # Errors
    /// When it is not there.
    pub fn set_title(&self, project: ProjectId, iid: MergeRequestIid, title: &str) -> Done<()> {
        let title = Some(title.to_owned());
        self.update(project, iid, MergeRequestUpdate { title, ..Default::default() })
    }

    /// Changes the target branch.
    ///
    /// # Errors
    /// When it or the branch is not there.
    pub fn retarget(&self, project: ProjectId, iid: MergeRequestIid, branch: &str) -> Done<()> {
        let target_branch = Some(branch.to_owned());
        self.update(project, iid, MergeRequestUpdate { target_branch, ..Default::default() })
    }

    /// Merges now.
    ///
    /// # Errors
    /// What the merge button would say: a draft, a conflict, a pipeline that must succeed.
    pub fn merge(&self, project: ProjectId, iid: MergeRequestIid) -> Done<()> {
        self.with(|state, user| state.merge_now(project, iid.0, user, None))
    }

    /// Merges as soon as the head pipeline succeeds, at once where nothing is in the way.
    ///
    /// # Errors
    /// What the merge button would say.
    pub fn auto_merge(&self, project: ProjectId, iid: MergeRequestIid) -> Done<()> {
        self.with(|state, user| state.set_auto_merge(project, iid.0, user, None))
    }

    /// Approves a merge request.
    ///
    /// # Errors
    /// When it is not there, and for whoever may not: its author, who has approved it already, and
    /// who is no developer.
    pub fn approve(&self, project: ProjectId, iid: MergeRequestIid) -> Done<()> {
        self.with(|state, user| state.approve(project, iid.0, user))
    }

    /// Presses *Authorize* on the page at an address of `/oauth/authorize`; gives the address that
    /// the browser is sent to.
    ///
    /// # Errors
    /// When that page has no such button, and for somebody who is blocked.
    pub fn authorize(&self, url: &str) -> Done<String> {
        self.with(|state, user| {
            let asked = state.ask(&asked_at(url))?;
            state.authorize(asked, user)
        })
    }

    /// Presses *Deny* there; see [`Self::authorize`].
    ///
    /// # Errors
    /// When that page has no such button.
    pub fn deny(&self, url: &str) -> Done<String> {
        let asked = self.with(|state, _| state.ask(&asked_at(url)));
        asked.map(|asked| asked.denied()).map_err(Refusal::from)
    }

    /// Takes back what this person let an application do: its tokens are dead.
    pub fn revoke_application(&self, application: &Application) {
        self.with(|state, user| state.oauth.revoke_application(application.id, user));
    }

    /// Comments; quick actions in the text are executed. `None` when nothing else was in it.
    ///
    /// # Errors
    /// When the text is empty or too long.
    pub fn comment(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        text: &str,
    ) -> Done<Option<NoteId>> {
        self.write_note(project, iid, text, &NotePlace::Alone { internal: false })
    }

    /// Comments for members from Reporter on alone; see [`Self::comment`].
    ///
    /// # Errors
    /// When the text is empty or too long.
    pub fn comment_internally(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        text: &str,
    ) -> Done<Option<NoteId>> {
        self.write_note(project, iid, text, &NotePlace::Alone { internal: true })
    }

    /// Replies to a comment, in its discussion.
    ///
    /// # Errors
    /// When the comment is not there, or is GitLab's own.
    pub fn reply(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        note: NoteId,
        text: &str,
    ) -> Done<Option<NoteId>> {
        let discussion = self.with(|state, _| {
            let mr = state.merge_request(project, iid.0)?;
            let note = mr.notes.iter().find(|known| known.id == note.0);
            note.map(|note| note.discussion.clone()).ok_or_else(|| Refusal::not_found("Note"))
        })?;
        self.write_note(project, iid, text, &NotePlace::Discussion(discussion))
    }

    /// Replies to a comment by e-mail, with the whole of it quoted below, as mail programs do.
    ///
    /// # Errors
    /// When the comment is not there, or is GitLab's own.
    pub fn reply_by_mail(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        note: NoteId,
        text: &str,
    ) -> Done<Option<NoteId>> {
        let quoted: Done<String> = self.with(|state, _| {
            let mr = state.merge_request(project, iid.0)?;
            let note = mr.notes.iter().find(|known| known.id == note.0);
            let note = note.ok_or_else(|| Refusal::not_found("Note"))?;
            let name = &state.user(note.author).name;
            let lines: Vec<String> = note.body.lines().map(|line| format!("> {line}")).collect();
            Ok(format!("On Tue, 3 Mar 2026 at 10:01, {name} wrote:\n\n{}", lines.join("\n")))
        });
        self.reply(project, iid, note, &format!("{text}\n\n{}\n", quoted?))
    }

    fn write_note(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        text: &str,
        into: &NotePlace,
    ) -> Done<Option<NoteId>> {
        let outcome =
            self.with(|state, user| state.create_note(project, iid.0, user, text, into))?;
        Ok(match outcome {
            NoteOutcome::Kept(note) => Some(NoteId(note.id)),
            NoteOutcome::OnlyCommands(_) => None,
        })
    }

    /// Edits a comment, whoever wrote it.
    ///
    /// # Errors
    /// When it is not there, or the text is empty or too long.
    pub fn edit_comment(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        note: NoteId,
        text: &str,
    ) -> Done<()> {
        self.with(|state, user| state.edit_note(project, iid.0, user, note.0, text)).map(drop)
    }

    /// Deletes a comment, whoever wrote it.
    ///
    /// # Errors
    /// When there is no such merge request.
    pub fn delete_comment(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        note: NoteId,
    ) -> Done<()> {
        self.with(|state, _| {
            state.merge_request(project, iid.0)?;
            state.delete_note(project, iid.0, note.0);
            Ok(())
        })
    }

    /// Gives a comment an emoji.
    ///
    /// # Errors
    /// When it is not there, or this person has given it before.
    pub fn react(
        &self,
        project: ProjectId,
        iid: MergeRequestIid,
        note: NoteId,
        emoji: &str,
    ) -> Done<()> {
        self.with(|state, user| {
            state.merge_request(project, iid.0)?;
            state.award(project, iid.0, user, note.0, emoji).map(drop)
        })
    }

    /// Opens an issue.
    ///
    /// # Errors
    /// When the title is empty.
    pub fn open_issue(&self, project: ProjectId, title: &str, text: &str) -> Done<IssueIid> {
        self.with(|state, user| {
            let new = NewIssue {
                title: title.to_owned(),
                description: text.to_owned(),
                ..NewIssue::default()
            };
            state.open_issue(project, user, new).map(IssueIid)
        })
    }

    /// Closes an issue, or opens it again.
    ///
    /// # Errors
    /// When it is not there.
    pub fn set_issue_open(&self, project: ProjectId, iid: IssueIid, open: bool) -> Done<()> {
        let event = if open { "reopen" } else { "close" };
        self.with(|state, _| state.change_issue_state(project, iid.0, event))
    }

    /// Deletes an issue.
    ///
    /// # Errors
    /// When it is not there.
    pub fn delete_issue(&self, project: ProjectId, iid: IssueIid) -> Done<()> {
        self.with(|state, _| state.delete_issue(project, iid.0))
    }

    /// Moves an issue into another project: it is closed, and a copy is there. Gives the copy's number.
    ///
    /// # Errors
    /// When it, or the project, is not there.
    pub fn move_issue(&self, project: ProjectId, iid: IssueIid, to: ProjectId) -> Done<IssueIid> {
        self.with(|state, _| state.move_issue(project, iid.0, to)).map(IssueIid)
    }
}
