//! Comments on merge requests, their threads and their emoji.

use jiff::SignedDuration;

use super::quick_actions::{Extracted, extract};
use crate::api::access::DEVELOPER;
use crate::api::answer::Refusal;
use crate::model::{Award, Note, ProjectId, State, UserId};

/// A comment changes its merge request's time only where that is older than this.
const TOUCH_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// Where a comment goes.
#[derive(Clone, Debug)]
pub(crate) enum NotePlace {
    /// It stands alone, until somebody replies.
    Alone {
        /// For members from Reporter on.
        internal: bool,
    },
    /// It begins a thread.
    Thread,
    /// It is a reply, which makes a thread of what stood alone.
    Discussion(String),
}

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
        into: &NotePlace,
    ) -> Result<NoteOutcome, Refusal> {
        if let NotePlace::Discussion(id) = into {
            let mr = self.merge_request(project, iid)?;
            let first = mr.discussion(id).next();
            let first = first.ok_or_else(|| Refusal::not_found("Discussion"))?;
            if first.system {
                return Err(Refusal::bad_request("Discussion can not be replied to."));
            }
        }
        let (body, commands) = self.take_commands(project, iid, author, body)?;
        if body.is_empty() {
            return Ok(NoteOutcome::OnlyCommands(commands));
        }
        let (id, now) = (self.next_id("note"), self.now());
        let mut note = Note::new(id, author, body, now);
        let mr = self.merge_request_mut(project, iid);
        match into {
            NotePlace::Alone { internal } => note.internal = *internal,
            NotePlace::Thread => note.threaded = true,
            NotePlace::Discussion(id) => {
                note.discussion.clone_from(id);
                note.threaded = true;
                for other in mr.notes.iter_mut().filter(|other| other.discussion == *id) {
                    if !std::mem::replace(&mut other.threaded, true) {
                        other.updated_at = now;
                    }
                    note.internal = other.internal;
                }
            }
        }
        mr.notes.push(note.clone());
        if now.duration_since(mr.updated_at) > TOUCH_INTERVAL {
            mr.updated_at = now;
        }
        let mr = mr.clone();
        self.fire_note(&mr, &note, author, "create");
        Ok(NoteOutcome::Kept(note))
    }

    /// Resolves all of a thread, or opens it again.
    pub(crate) fn resolve(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        discussion: &str,
        resolved: bool,
    ) -> Result<(), Refusal> {
        let mr = self.merge_request(project, iid)?;
        let threaded = mr.discussion(discussion).any(|note| note.threaded);
        let role = self.role(self.project(project), self.user(user));
        if mr.discussion(discussion).next().is_none() {
            return Err(Refusal::not_found("Discussion"));
        }
        if !threaded || (role < DEVELOPER && mr.author != user) {
            return Err(Refusal::forbidden());
        }
        let now = self.now();
        let mr = self.merge_request_mut(project, iid);
        for note in mr.notes.iter_mut().filter(|note| note.discussion == discussion) {
            note.resolved_by = resolved.then_some(user);
            note.updated_at = now;
        }
        Ok(())
    }

    /// Gives a comment an emoji, each user each one once.
    pub(crate) fn award(
        &mut self,
        project: ProjectId,
        iid: u64,
        user: UserId,
        id: u64,
        name: &str,
    ) -> Result<Award, Refusal> {
        let (award, now) = (self.next_id("award"), self.now());
        let mr = self.merge_request_mut(project, iid);
        let note = mr.notes.iter_mut().find(|note| note.id == id && !note.system);
        let note = note.ok_or_else(|| Refusal::not_found("Award Emoji"))?;
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_+-".contains(c);
        if name.is_empty() || !name.chars().all(known) {
            return Err(Refusal::not_found("Award Emoji Name is not a valid emoji name"));
        }
        if note.awards.iter().any(|award| award.user == user && award.name == name) {
            return Err(Refusal::not_found("Award Emoji Name has already been taken"));
        }
        let award = Award { id: award, name: name.to_owned(), user };
        note.awards.push(award.clone());
        note.updated_at = now;
        Ok(award)
    }

    /// Deletes a comment.
    pub(crate) fn delete_note(&mut self, project: ProjectId, iid: u64, id: u64) {
        self.merge_request_mut(project, iid).notes.retain(|note| note.id != id);
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
