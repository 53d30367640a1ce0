//! Comments on merge requests.

use super::merge::MergeOptions;
use super::merge_requests::MergeRequestUpdate;
use super::quick_actions::{Extracted, extract, mentions};
use crate::api::access::DEVELOPER;
use crate::api::answer::Refusal;
use crate::model::{MergeRequestIid, Note, ProjectId, State, UserId};
use crate::observe::{Mention, QuickAction};

/// What became of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoteOutcome {
    /// It is there.
    Kept(u64),
    /// It held only commands: they were executed and there is no note (any more).
    OnlyCommands(Vec<String>),
}

impl State {
    /// Writes a comment, executing its quick actions with the rights of its author.
    pub(crate) fn create_note(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        body: &str,
        internal: bool,
    ) -> Result<NoteOutcome, Refusal> {
        self.check_body(body)?;
        let Extracted { body, commands } = extract(body, &self.config.version);
        let names = self.execute(project, iid, user, commands);
        if body.trim().is_empty() {
            return only_commands(names);
        }
        self.notify(project, iid, &body);
        let (id, now) = (self.next_id("note"), self.now());
        let note = Note {
            id,
            author: user,
            body,
            system: false,
            internal,
            created_at: now,
            updated_at: now,
        };
        let mr = self.merge_request_mut(project, iid);
        mr.notes.push(note.clone());
        mr.updated_at = now;
        let mr = mr.clone();
        self.fire_note(&mr, &note, user, "create");
        Ok(NoteOutcome::Kept(id))
    }

    /// Edits a comment; one that is left with nothing but commands is deleted.
    pub(crate) fn edit_note(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        id: u64,
        body: &str,
    ) -> Result<NoteOutcome, Refusal> {
        self.check_body(body)?;
        let Extracted { body, commands } = extract(body, &self.config.version);
        let names = self.execute(project, iid, user, commands);
        let now = self.now();
        let mr = self.merge_request_mut(project, iid);
        if body.trim().is_empty() {
            mr.notes.retain(|note| note.id != id);
            return only_commands(names);
        }
        let Some(note) = mr.notes.iter_mut().find(|note| note.id == id) else {
            return Err(Refusal::not_found("Note"));
        };
        note.body.clone_from(&body);
        note.updated_at = now;
        let (note, mr) = (note.clone(), mr.clone());
        self.notify(project, iid, &body);
        self.fire_note(&mr, &note, user, "update");
        Ok(NoteOutcome::Kept(id))
    }

    fn check_body(&self, body: &str) -> Result<(), Refusal> {
        let limit = self.config.limits.note_characters;
        let problem = if body.trim().is_empty() {
            "can't be blank".to_owned()
        } else if body.chars().count() > limit {
            format!("is too long (maximum is {limit} characters)")
        } else {
            return Ok(());
        };
        // GitLab prints Ruby's own notation here.
        Err(Refusal::bad_request(&format!("Note {{:note=>[{problem:?}]}}")))
    }

    fn notify(&mut self, project: ProjectId, iid: u64, body: &str) {
        let iid = MergeRequestIid(iid);
        let named = mentions(body).into_iter().map(|name| Mention { project, iid, name });
        self.observed.mentions.extend(named);
    }

    fn execute(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        commands: Vec<(String, String)>,
    ) -> Vec<String> {
        let mut names = Vec::new();
        for (command, argument) in commands {
            // A command that its author may not give, or that makes no sense, does nothing.
            if self.execute_one(project, iid, user, &command, &argument).is_err() {
                continue;
            }
            self.observed.quick_actions.push(QuickAction {
                project,
                iid: MergeRequestIid(iid),
                user: self.user(user).username.clone(),
                command: command.clone(),
                argument,
            });
            names.push(command);
        }
        names
    }

    fn execute_one(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        command: &str,
        argument: &str,
    ) -> Result<(), Refusal> {
        let (found, who) = (self.project(project), self.user(user));
        let mr = found.merge_request(iid).ok_or_else(|| Refusal::not_found(""))?;
        let rights = found.branch_rights(who, &mr.target_branch);
        let allowed = match command {
            "merge" => rights.merge,
            "approve" => found.level(who) >= DEVELOPER,
            _ => mr.author == user || found.level(who) >= DEVELOPER,
        };
        if !allowed {
            return Err(Refusal::forbidden());
        }
        let mut update = MergeRequestUpdate::default();
        match command {
            "close" | "reopen" => update.state_event = Some(command.to_owned()),
            "title" => update.title = Some(argument.to_owned()),
            "target_branch" => update.target_branch = Some(argument.to_owned()),
            "draft" if !mr.is_draft() => update.title = Some(format!("Draft: {}", mr.title)),
            "ready" if mr.is_draft() => {
                let title = mr.title.split_once(':').map_or("", |(_, title)| title).trim();
                update.title = Some(title.to_owned());
            }
            "label" | "labels" => {
                let mut labels = mr.labels.clone();
                labels.push(argument.trim_start_matches('~').to_owned());
                update.labels = Some(labels);
            }
            "approve" => {
                self.approve(project, iid, user);
                return Ok(());
            }
            "merge" => {
                return self.set_auto_merge(project, iid, user, &MergeOptions::default());
            }
            _ => return Ok(()),
        }
        self.update_merge_request(project, iid, user, update)
    }

    /// Approves a merge request.
    pub(crate) fn approve(&mut self, project: ProjectId, iid: u64, user: UserId) {
        let now = self.now();
        let mr = self.merge_request_mut(project, iid);
        if mr.approvals.insert(user) {
            mr.updated_at = now;
            let mr = mr.clone();
            let event = crate::events::merge_request::MrEvent::new("approved");
            self.fire_merge_request(&mr, user, &event);
        }
    }
}

/// Commands of which none could be applied are an error.
fn only_commands(names: Vec<String>) -> Result<NoteOutcome, Refusal> {
    if names.is_empty() {
        return Err(Refusal::bad_request("Failed to apply commands."));
    }
    Ok(NoteOutcome::OnlyCommands(names))
}
