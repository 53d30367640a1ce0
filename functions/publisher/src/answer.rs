//! The one reply to a comment with commands, in its discussion.

use crate::{Client, Done, Memory, Trouble, Work, client, refusal};
use gantry_connection::Connected;
use gantry_domain::{
    UserId,
    comment::{Asked, Place},
    text::answer::{self, AnswerInput, Outcome, Shown},
};
use gantry_gitlab::{Discussion, Error};
use gantry_store::{
    Key, keys,
    scheduler::{CommandOutcome, CommentRecord},
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{collections::HashMap, ops::Not};

/// So long the reply waits for the last of those that were asked; then it says who has not answered.
const WAITS: SignedDuration = SignedDuration::from_secs(15);
/// Shows meanwhile that the comment was seen.
const SEEN: &str = "eyes";

/// What was written for a comment.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct AnswerMemory {
    /// The reply.
    answer: Option<u64>,
    /// SHA-256 of its text.
    body: Option<String>,
    /// The comment has the emoji that says that it was seen.
    #[serde(default, skip_serializing_if = "Not::not")]
    seen: bool,
    /// The reply begins a thread that nobody has to resolve: it is to be resolved.
    #[serde(default, skip_serializing_if = "Not::not")]
    resolves: bool,
    /// The comment, or the reply, was deleted: nothing is written any more.
    #[serde(default, skip_serializing_if = "Not::not")]
    gone: bool,
    /// GitLab's own words where it refused.
    #[serde(default)]
    pub(crate) refusal: Option<String>,
}

/// The reply at GitLab.
enum Written {
    Answer(u64),
    /// The comment, or the reply, was deleted.
    Gone,
}

impl Work {
    pub(crate) async fn publish_answer(
        &self,
        connected: &Connected,
        place: Place,
        mut memory: Memory<AnswerMemory>,
    ) -> Result<Done, Trouble> {
        let key = keys::comment(place.project, place.note);
        let Some(found) = self.deps.store.get::<CommentRecord>(&key).await? else {
            return Ok(Done::default());
        };
        let record = found.value;
        if memory.value.gone {
            return Ok(Done::default());
        }
        let gitlab = client(connected);
        let outcomes = self.outcomes(&record).await?;
        let waits_until = record.at + WAITS;
        let all_are_there =
            asked_in(&record).all(|asked| outcomes.contains_key(&outcome_key(asked)));
        if !all_are_there && self.deps.clock.now() < waits_until {
            if !memory.value.seen {
                let Place { project, iid, note } = place;
                match gitlab.award(project, iid, note, SEEN).await {
                    // It is a courtesy.
                    Err(error) if refusal(&error).is_none() => return Err(error.into()),
                    _ => memory.value.seen = true,
                }
                self.remember(&mut memory).await?;
            }
            return Ok(Done { look_at: Some(waits_until), ..Done::default() });
        }
        let links = self.links_in(gitlab, place.project).await?;
        let shown = |asked: &Asked| {
            outcomes.get(&outcome_key(asked)).map(|outcome| Outcome {
                done: outcome.done,
                message: outcome.message.clone(),
                run: outcome.run.as_ref().map(|run| links.to(run)),
            })
        };
        let commands = record.commands.iter().map(|answered| Shown {
            answered,
            outcomes: answered.asked.iter().map(shown).collect(),
        });
        let installation = &connected.integration.value.installation;
        let input = AnswerInput {
            installation,
            place,
            commands: commands.collect(),
            more: record.more,
            late: record.late,
        };
        let body = answer::render(&input);
        let digest = hex::encode(Sha256::digest(body.as_bytes()));
        let before = memory.value.refusal.take();
        if memory.value.body.as_deref() == Some(&digest) && !memory.value.resolves {
            if before.is_some() {
                self.remember(&mut memory).await?;
            }
            return Ok(Done::default());
        }
        let marker = answer::marker(installation, place);
        let bot = connected.integration.value.bot.id;
        match self.write_answer(gitlab, place, &record, &body, (bot, &marker), &mut memory).await {
            Ok(Written::Answer(id)) => {
                memory.value.answer = Some(id);
                memory.value.body = Some(digest);
            }
            Ok(Written::Gone) => memory.value.gone = true,
            Err(Trouble::Gitlab(error)) if refusal(&error).is_some() => {
                memory.value.refusal = refusal(&error);
            }
            Err(trouble) => return Err(trouble),
        }
        self.remember(&mut memory).await?;
        Ok(Done { refused: memory.value.refusal, ..Done::default() })
    }

    /// What those that were asked have said so far.
    async fn outcomes(
        &self,
        record: &CommentRecord,
    ) -> Result<HashMap<Key, CommandOutcome>, Trouble> {
        let wanted: Vec<Key> = asked_in(record).map(outcome_key).collect();
        let found = self.deps.store.get_many::<CommandOutcome>(&wanted).await?;
        Ok(found.into_iter().map(|found| (found.key, found.value)).collect())
    }

    /// Edits the reply, or finds it again by its marker, or makes it; nothing where the comment, or the
    /// reply, is gone. A reply whose making was not answered is found, not made twice.
    async fn write_answer(
        &self,
        gitlab: &Client,
        place: Place,
        record: &CommentRecord,
        body: &str,
        (bot, marker): (UserId, &str),
        memory: &mut Memory<AnswerMemory>,
    ) -> Result<Written, Trouble> {
        let Place { project, iid, note } = place;
        if let Some(known) = memory.value.answer.filter(|_| !memory.value.resolves) {
            return Ok(match gitlab.update_note(project, iid, known, body).await {
                Ok(note) => Written::Answer(note.id),
                Err(Error::NotFound { .. }) => Written::Gone,
                Err(error) => return Err(error.into()),
            });
        }
        let found = match &record.discussion {
            Some(known) => gitlab.discussion(project, iid, known).await?,
            None => gitlab.discussion_of(project, iid, note).await?,
        };
        let Some(discussion) = found.filter(|found| found.has(note)) else {
            return Ok(Written::Gone);
        };
        let is_ours = |found: &&gantry_gitlab::Note| {
            let by_us = found.author.as_ref().is_some_and(|author| author.id == bot);
            by_us && found.body.starts_with(marker)
        };
        let ours = discussion.notes.iter().find(is_ours);
        let id = match ours {
            Some(ours) if ours.body == body => ours.id,
            Some(ours) => gitlab.update_note(project, iid, ours.id, body).await?.id,
            None => {
                if discussion.individual_note && self.must_be_resolved(gitlab, place).await? {
                    // Whoever takes over after the reply has to know that nobody else began a thread.
                    memory.value.resolves = true;
                    self.remember(memory).await?;
                }
                match gitlab.reply(project, iid, &discussion.id, body).await {
                    Ok(note) => note.id,
                    // It went just now, or GitLab says so of something else.
                    Err(error @ Error::NotFound { .. }) => {
                        return match self.still_there(gitlab, place, &discussion).await? {
                            true => Err(error.into()),
                            false => Ok(Written::Gone),
                        };
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        if memory.value.resolves {
            match gitlab.resolve_discussion(project, iid, &discussion.id).await {
                Err(error) if refusal(&error).is_none() => return Err(error.into()),
                // A person can do it.
                _ => memory.value.resolves = false,
            }
        }
        Ok(Written::Answer(id))
    }

    /// A thread that nobody resolves would keep the merge request from being merged.
    async fn must_be_resolved(&self, gitlab: &Client, place: Place) -> Result<bool, Trouble> {
        let project = gitlab.project_lately(place.project).await?;
        Ok(project.only_allow_merge_if_all_discussions_are_resolved)
    }

    async fn still_there(
        &self,
        gitlab: &Client,
        place: Place,
        discussion: &Discussion,
    ) -> Result<bool, Trouble> {
        let Place { project, iid, note } = place;
        let found = gitlab.discussion(project, iid, &discussion.id).await?;
        Ok(found.is_some_and(|found| found.has(note)))
    }
}

fn asked_in(record: &CommentRecord) -> impl Iterator<Item = &Asked> {
    record.commands.iter().flat_map(|command| &command.asked)
}

fn outcome_key(asked: &Asked) -> Key {
    keys::command(&asked.stack, &asked.request)
}
