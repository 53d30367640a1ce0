//! Comments on merge requests.

use super::quick_actions::{Extracted, extract};
use crate::api::access::DEVELOPER;
use crate::api::answer::Refusal;
use crate::model::{Note, ProjectId, State, UserId};

/// What became of a note.
#[derive(Clone, Debug)]
pub(crate) enum NoteOutcome {
    /// It is there.
    Kept(Note),
    /// It held only commands: they were executed and there is no note (any more).
    OnlyCommands(Vec<String>),
}

impl State {
    /// Writes a comment, executing its quick actions with the rights of its author.
    pub(crate) fn create_note(
        &mut self,
        project: ProjectId,
        iid: u64,
        author: UserId,
        body: &str,
        internal: bool,
    ) -> Result<NoteOutcome, Refusal> {
        let (body, commands) = self.take_commands(project, iid, author, body)?;
        if body.is_empty() {
            return Ok(NoteOutcome::OnlyCommands(commands));
        }
        let (id, created_at) = (self.next_id("note"), self.now());
        let updated_at = created_at;
        let note = Note { id, author, body, system: false, internal, created_at, updated_at };
        let mr = self.merge_request_mut(project, iid);
        mr.notes.push(note.clone());
        mr.updated_at = updated_at;
        let mr = mr.clone();
        self.fire_note(&mr, &note, author, "create");
        Ok(NoteOutcome::Kept(note))
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
        let (body, commands) = self.take_commands(project, iid, user, body)?;
        let now = self.now();
        let mr = self.merge_request_mut(project, iid);
        if body.is_empty() {
            mr.notes.retain(|note| note.id != id);
            return Ok(NoteOutcome::OnlyCommands(commands));
        }
        let note = mr.notes.iter_mut().find(|note| note.id == id);
        let note = note.ok_or_else(|| Refusal::not_found("Note"))?;
        note.body = body;
        note.updated_at = now;
        let (note, mr) = (note.clone(), mr.clone());
        self.fire_note(&mr, &note, user, "update");
        Ok(NoteOutcome::Kept(note))
    }

    /// Executes a text's quick actions: what is left of it, and the names of those that were
    /// executed. Commands of which none could be applied are an error.
    fn take_commands(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        body: &str,
    ) -> Result<(String, Vec<String>), Refusal> {
        self.check_body(body)?;
        let Extracted { body, mut commands } = extract(body);
        // A command that its author may not give, or that makes no sense, does nothing.
        commands.retain(|command| self.execute(project, iid, user, command).is_ok());
        self.observed.quick_actions.extend_from_slice(&commands);
        if body.is_empty() && commands.is_empty() {
            return Err(Refusal::bad_request("Failed to apply commands."));
        }
        Ok((body, commands))
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

    /// Those that change nothing that anybody looks at are executed in name only.
    fn execute(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        command: &str,
    ) -> Result<(), Refusal> {
        let (found, who) = (self.project(project), self.user(user));
        let mr = found.merge_request(iid).ok_or_else(|| Refusal::not_found(""))?;
        let allowed = match command {
            "merge" => self.branch_rights(found, who, &mr.target_branch).merge,
            "approve" => self.role(found, who) >= DEVELOPER,
            _ => mr.author == user || self.role(found, who) >= DEVELOPER,
        };
        match command {
            _ if !allowed => Err(Refusal::forbidden()),
            "close" | "reopen" => {
                self.change_state(project, iid, user, command);
                Ok(())
            }
            "merge" => self.set_auto_merge(project, iid, user, None),
            _ => Ok(()),
        }
    }
}
