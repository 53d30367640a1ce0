//! Comments with commands. A comment is read from GitLab, whatever a webhook says of it; what it asks
//! for is decided once, by what its author is in the project, and handed to the stacks.

use super::{Dealt, Event, Projects};
use crate::{deps::HISTORY_KEPT, trouble::gitlab_failure};
use gantry_domain::{
    CommitSha, ProjectId, StackId, UserId,
    approval::Person,
    comment::{
        Action, Answered, Command as Asked, Facts, Found, Place, RunFacts, StackFacts, Why,
        commands, decide,
    },
    event::{Hook, NoteHint},
    integration::Integration,
    rights::{Level, Levels},
    run::{PlanOptions, Run, RunType},
    stack::{Stack, StackHead},
    text::{answer, clean_line, counted},
};
use gantry_gitlab::{Client, MergeRequest, Note};
use gantry_queue::{Command, Failure, FeedbackMessage, StackMessage};
use gantry_store::{
    Expect, Key, Outcome, Stored, Write,
    config::SignIn,
    keys,
    scheduler::{CommentRecord, DecisionRecord, MergeRequestRecord, RunEntry},
};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// A command that is found later than this does nothing: what it was about has moved on.
const LATE: SignedDuration = SignedDuration::from_hours(1);
/// Comments that are older are not looked at, when comparing finds them.
const OLDEST: SignedDuration = SignedDuration::from_hours(24);
/// GitLab writes down that a merge request has a new comment only where its last change is older.
pub(super) const UNSAID: SignedDuration = SignedDuration::from_mins(1);
/// Characters of an event's outcome.
const OUTCOME_CHARS: usize = 300;

/// Whether a comment in the project may hold a command.
pub(super) fn take_commands(stacks: &[Stack]) -> bool {
    stacks.iter().any(|stack| stack.settings.comment_commands)
}

/// What is asked for a comment, once it is known that something is.
struct Comment<'a> {
    place: Place,
    hint: &'a NoteHint,
    by: Person,
    found: Found,
    late: bool,
}

/// What the author may do, and what takes which level.
struct Standing {
    level: Level,
    levels: Levels,
}

impl Projects<'_> {
    /// Somebody wrote a comment that may hold commands.
    pub(super) async fn decide_comment(
        &self,
        event: &Event,
        client: &Client,
        hint: &NoteHint,
        stacks: &[Stack],
    ) -> Result<Dealt, Failure> {
        let done = |why: &str| Ok(Dealt::Done(why.to_owned()));
        let project = event.project;
        let place = Place { project, iid: hint.iid, note: hint.note };
        let key = keys::comment(project, hint.note);
        if let Some(known) = self.deps.store.get::<CommentRecord>(&key).await? {
            return self.hand_over_comment(project, known).await;
        }
        let Some(integration) = self.linked().await? else { return done("GitLab is unlinked") };
        let integration = integration.value;
        let note = client.note(project, hint.iid, hint.note).await.map_err(gitlab_failure)?;
        let Some(note) = note else { return done("the comment is gone") };
        let (author, written_at) = match may_count(&note, integration.bot.id) {
            Ok(found) => found,
            Err(why) => return done(why),
        };
        let found = commands(&note.body);
        if found.lines.is_empty() {
            return done("no command in it");
        }
        let account = client.account(author).await.map_err(gitlab_failure)?;
        let is_person = account.as_ref().is_some_and(|account| !account.bot && account.is_active());
        let (username, name) =
            account.map(|account| (account.username, account.name)).unwrap_or_default();
        let by = Person { id: author, username, name };
        let late = self.deps.now().duration_since(written_at) > LATE;
        let comment = Comment { place, hint, by, found, late };
        if !is_person {
            self.keep_comment(&comment, Vec::new(), true).await?;
            return done("not by a person, so it does nothing");
        }
        let Some(standing) = self.standing(client, project, author, &integration).await? else {
            // They may not even know that there are stacks.
            self.keep_comment(&comment, Vec::new(), true).await?;
            return done("its author has no role in the project that sees its stacks");
        };
        if late {
            let kept = self.keep_comment(&comment, Vec::new(), false).await?;
            return self.hand_over_comment(project, kept).await;
        }
        match Box::pin(self.decide_merge_request(event, client, hint.iid, stacks)).await? {
            Dealt::Done(_) => {}
            later @ Dealt::Later(_) => return Ok(later),
        }
        let Some(facts) = self.facts(&comment, &standing, stacks).await? else {
            return done("the merge request does not exist");
        };
        let mut answered = Vec::new();
        let mut asks = 0;
        for line in &comment.found.lines {
            let of_line = decide(line, &facts, asks);
            asks += of_line.asked.len();
            answered.push(of_line);
        }
        let kept = self.keep_comment(&comment, answered, false).await?;
        self.hand_over_comment(project, kept).await
    }

    /// What the author is in the project, where that is enough to see its stacks.
    async fn standing(
        &self,
        client: &Client,
        project: ProjectId,
        author: UserId,
        integration: &Integration,
    ) -> Result<Option<Standing>, Failure> {
        let sign_in = self.deps.store.get::<SignIn>(&keys::sign_in()).await?;
        let of_this_link = sign_in.filter(|known| known.value.generation == integration.generation);
        let levels = of_this_link.map_or_else(Levels::default, |known| known.value.levels);
        let number = client.member_access_level(project, author).await.map_err(gitlab_failure)?;
        let level = number.and_then(Level::reached_by).filter(|level| *level >= levels.read);
        Ok(level.map(|level| Standing { level, levels }))
    }

    /// Keeps what was decided for a comment; what is known of it where somebody else was first.
    async fn keep_comment(
        &self,
        comment: &Comment<'_>,
        commands: Vec<Answered>,
        handed_over: bool,
    ) -> Result<Stored<CommentRecord>, Failure> {
        let now = self.deps.now();
        let record = CommentRecord {
            iid: comment.place.iid,
            note: comment.place.note,
            discussion: comment.hint.discussion.clone(),
            by: comment.by.clone(),
            commands,
            more: comment.found.more && !comment.late,
            late: comment.late,
            handed_over,
            at: now,
        };
        let key = keys::comment(comment.place.project, comment.place.note);
        let write = Write::put(key.clone(), Expect::Absent, &record)?.expires(now + HISTORY_KEPT);
        let version = write.version().unwrap_or_default();
        match self.deps.store.write(vec![write]).await? {
            Outcome::Written => Ok(Stored { key, version, value: record }),
            Outcome::Stale => {
                let known = self.deps.store.get::<CommentRecord>(&key).await?;
                known.ok_or_else(|| anyhow::anyhow!("{key} came and went").into())
            }
        }
    }

    /// Hands what a comment asks for to the stacks, and has it answered. A repeat finds all that was
    /// decided, and each request is one command however often it is sent.
    async fn hand_over_comment(
        &self,
        project: ProjectId,
        known: Stored<CommentRecord>,
    ) -> Result<Dealt, Failure> {
        let record = &known.value;
        if record.handed_over {
            return Ok(Dealt::Done("already processed".to_owned()));
        }
        let place = Place { project, iid: record.iid, note: record.note };
        let actor = answer::person(&record.by);
        let asked = record.commands.iter().flat_map(|command| &command.asked);
        let messages = asked.map(|asked| StackMessage::Command {
            stack: asked.stack.clone(),
            request: asked.request.clone(),
            actor: actor.clone(),
            person: Some(record.by.clone()),
            command: as_command(&asked.action, place),
        });
        self.deps.sender.send_all(messages.collect()).await?;
        let Place { iid, note, .. } = place;
        self.deps.raise(FeedbackMessage::Answer { project, iid, note, want: 0 }).await?;
        let done = CommentRecord { handed_over: true, ..record.clone() };
        let write = Write::put(known.key.clone(), known.unchanged(), &done)?;
        let write = write.expires(record.at + HISTORY_KEPT);
        let _either_way = self.deps.store.write(vec![write]).await?;
        Ok(Dealt::Done(outcome_of(record)))
    }

    /// What decides about the commands; none where there is no such merge request.
    async fn facts(
        &self,
        comment: &Comment<'_>,
        standing: &Standing,
        stacks: &[Stack],
    ) -> Result<Option<Facts>, Failure> {
        let store = &self.deps.store;
        let place = comment.place;
        let key = keys::merge_request(place.project, place.iid);
        let Some(record) = store.get::<MergeRequestRecord>(&key).await? else { return Ok(None) };
        let record = record.value;
        let asked = || comment.found.lines.iter().map(|line| &line.command);
        let names: BTreeSet<&str> = asked().flat_map(named).collect();
        let about_runs =
            asked().any(|asked| !matches!(asked, Asked::Help | Asked::Why | Asked::Unknown));
        let is_meant = |stack: &&Stack| {
            let is_named =
                names.contains(stack.slug.as_str()) || record.affected.contains(&stack.id);
            about_runs && is_named && stack.settings.comment_commands
        };
        let meant: BTreeSet<&StackId> =
            stacks.iter().filter(is_meant).map(|stack| &stack.id).collect();
        let of = |commit: &Option<CommitSha>| commit.clone().filter(|_| !meant.is_empty());
        let (head, merge) = (of(&record.head), of(&record.merged_as));
        let previews = self.newest_runs(place.project, head.as_ref(), RunType::Proposed);
        let previews = runs_of(previews.await?, &meant);
        let deploys = self.newest_runs(place.project, merge.as_ref(), RunType::Tracked);
        let deploys = runs_of(deploys.await?, &meant);
        let wanted: Vec<Key> = previews.values().chain(deploys.values()).cloned().collect();
        let runs = store.get_many::<Run>(&wanted).await?;
        let runs: BTreeMap<Key, RunFacts> = runs
            .into_iter()
            .map(|run| (run.key, RunFacts { run: run.value.id, state: run.value.state }))
            .collect();
        let heads: Vec<Key> = meant.iter().map(|stack| keys::stack_head(stack)).collect();
        let heads = store.get_many::<StackHead>(&heads).await?;
        let blocked: BTreeSet<Key> = heads
            .into_iter()
            .filter(|head| head.value.blocked.is_some())
            .map(|head| head.key)
            .collect();
        let facts_of = |stack: &Stack| StackFacts {
            stack: stack.id.clone(),
            slug: stack.slug.clone(),
            takes: stack.settings.comment_commands,
            levels: stack.settings.levels,
            affected: record.affected.contains(&stack.id),
            blocked: blocked.contains(&keys::stack_head(&stack.id)),
            preview: previews.get(&stack.id).and_then(|run| runs.get(run)).cloned(),
            deploy: deploys.get(&stack.id).and_then(|run| runs.get(run)).cloned(),
        };
        let why = match asked().any(|asked| *asked == Asked::Why) {
            true => self.why(&record).await?,
            false => Vec::new(),
        };
        Ok(Some(Facts {
            place,
            level: standing.level,
            levels: standing.levels,
            state: record.state.clone(),
            head: record.head.clone(),
            branch: record.source_branch.clone(),
            from_fork: record.source_project != Some(place.project),
            stacks: stacks.iter().map(facts_of).collect(),
            why,
        }))
    }

    /// The newest run of a type for each stack of a commit.
    async fn newest_runs(
        &self,
        project: ProjectId,
        commit: Option<&CommitSha>,
        run_type: RunType,
    ) -> Result<BTreeMap<StackId, RunEntry>, Failure> {
        let Some(commit) = commit else { return Ok(BTreeMap::new()) };
        let partition = keys::commit_runs(project, commit);
        let entries = self.deps.store.query_all::<RunEntry>(&partition, "run#").await?;
        let mut newest: BTreeMap<StackId, RunEntry> = BTreeMap::new();
        for entry in entries.into_iter().map(|entry| entry.value) {
            let is_older = |known: &RunEntry| known.created_at > entry.created_at;
            if entry.run_type == run_type && !newest.get(&entry.stack).is_some_and(is_older) {
                newest.insert(entry.stack.clone(), entry);
            }
        }
        Ok(newest)
    }

    /// What was decided for the merge request's newest commit.
    async fn why(&self, record: &MergeRequestRecord) -> Result<Vec<Why>, Failure> {
        // Records of before say it only until the merge.
        let Some(event) = record.decided_by.as_ref().or(record.event.as_ref()) else {
            return Ok(Vec::new());
        };
        let partition = keys::event_decisions(event);
        let decisions = self.deps.store.query_all::<DecisionRecord>(&partition, "").await?;
        let decisions = decisions.into_iter().map(|decision| decision.value);
        let why = decisions.map(|decision| Why {
            stack: decision.slug,
            runs: decision.runs,
            reason: decision.reason,
        });
        Ok(why.collect())
    }

    /// Commands in the comments of a merge request of which no webhook told. Answers whether all of
    /// them could be decided.
    pub(super) async fn compare_comments(
        &self,
        client: &Client,
        project: ProjectId,
        stacks: &[Stack],
        listed: &MergeRequest,
        from: Timestamp,
    ) -> Result<bool, Failure> {
        let from = from.max(self.deps.now() - OLDEST);
        let is_old = listed.updated_at.is_some_and(|at| at + UNSAID < from);
        if is_old || listed.user_notes_count == Some(0) {
            return Ok(true);
        }
        let notes = client.notes_since(project, listed.iid, from).await.map_err(gitlab_failure)?;
        let mut all_decided = true;
        // The oldest first.
        for note in notes.iter().rev() {
            if note.system || is_changed(note) || commands(&note.body).lines.is_empty() {
                continue;
            }
            let key = keys::comment(project, note.id);
            let known = self.deps.store.get::<CommentRecord>(&key).await?;
            let is_news = known.is_none_or(|known| !known.value.handed_over);
            if !is_news {
                continue;
            }
            let hint = NoteHint { iid: listed.iid, note: note.id, discussion: None };
            let hook = Hook::Note { project, note: Some(hint.clone()) };
            let parts = [listed.iid.to_string(), note.id.to_string()];
            let event = self.found(project, &hook, &parts.each_ref().map(String::as_str));
            let deciding = client.counting();
            match Box::pin(self.decide_comment(&event, &deciding, &hint, stacks)).await? {
                Dealt::Done(outcome) => self.write_outcome(&event, outcome).await?,
                Dealt::Later(_) => all_decided = false,
            }
        }
        Ok(all_decided)
    }
}

/// Who wrote a comment that may count, and when; otherwise why it does not.
fn may_count(note: &Note, bot: UserId) -> Result<(UserId, Timestamp), &'static str> {
    let Some(author) = note.author.as_ref() else { return Err("its author is gone") };
    if note.system || note.internal {
        return Err("comments of GitLab's own and internal ones do nothing");
    }
    if author.id == bot {
        return Err("Gantry wrote it itself");
    }
    if is_changed(note) {
        return Err("it has changed since it was written, so it does nothing");
    }
    let written_at = note.created_at.ok_or("GitLab does not say when it was written")?;
    Ok((author.id, written_at))
}

/// It has changed since it was written: by an edit, perhaps of somebody else than its author, or by an
/// emoji or a first reply, which GitLab does not tell apart from one.
fn is_changed(note: &Note) -> bool {
    note.created_at != note.updated_at
}

/// The names in a command: of stacks, or of a run.
fn named(command: &Asked) -> Vec<&str> {
    match command {
        Asked::Plan(names) => names.iter().map(String::as_str).collect(),
        Asked::Confirm(name) | Asked::Discard(name) | Asked::Stop(name) => {
            name.as_deref().into_iter().collect()
        }
        Asked::Unlock { stack, .. } => stack.as_deref().into_iter().collect(),
        Asked::Help | Asked::Why | Asked::Unknown => Vec::new(),
    }
}

/// Where the runs of these stacks are.
fn runs_of(
    runs: BTreeMap<StackId, RunEntry>,
    stacks: &BTreeSet<&StackId>,
) -> BTreeMap<StackId, Key> {
    let meant = runs.into_iter().filter(|(stack, _)| stacks.contains(stack));
    meant.map(|(stack, entry)| (stack, keys::run(&entry.run))).collect()
}

/// What a stack is asked, as the message says it.
fn as_command(action: &Action, place: Place) -> Command {
    let comment = || Some(answer::said_on(place.iid));
    match action.clone() {
        Action::Start { commit, branch } => Command::Trigger {
            run_type: RunType::Proposed,
            commit: Some(commit),
            branch: Some(branch),
            options: PlanOptions::default(),
        },
        Action::Retry { run } => Command::Retry { run, force: false },
        Action::Confirm { run } => {
            Command::Confirm { run, comment: comment(), override_reason: None }
        }
        Action::Discard { run } => Command::Discard { run, comment: comment() },
        Action::Stop { run } => Command::Stop { run },
        Action::Unblock { reason } => Command::Unblock { reason },
    }
}

/// What became of a comment, for the list of events.
fn outcome_of(record: &CommentRecord) -> String {
    let by = format!("by @{}", record.by.username);
    if record.late {
        return clean_line(&format!("commands {by}, found too late to do anything"), OUTCOME_CHARS);
    }
    let lines: Vec<&str> = record.commands.iter().map(|command| command.line.as_str()).collect();
    let asked: usize = record.commands.iter().map(|command| command.asked.len()).sum();
    let requests = counted(asked, "request");
    clean_line(&format!("{} {by}: {requests} to stacks", lines.join(", ")), OUTCOME_CHARS)
}
