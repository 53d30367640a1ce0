//! The calls of GitLab that nobody waits for: comparisons, and repeats of what GitLab refused. All of
//! them together have one budget of calls a minute, and projects take turns.

use super::Projects;
use gantry_domain::{
    ProjectId,
    comparing::{self, Budget, Due},
};
use gantry_queue::{Failure, FeedbackMessage, ProjectMessage};
use gantry_store::{
    Expect, Key, Outcome, Stored, Write,
    config::ProjectEntry,
    feedback::Refusal,
    keys,
    scheduler::{BudgetUsed, Comparing},
};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// A comparison that was begun and not heard of since is begun again.
const COMPARISON_LOST_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// How much of what GitLab refused one turn has tried again: there may be a lot that it refuses for
/// good.
const REFUSED_AT_ONCE: usize = 10;

/// What of a project is due.
#[derive(Default)]
struct Turn {
    compare: Option<Stored<Comparing>>,
    /// What was refused, the longest ago first.
    repeats: Vec<(Refusal, FeedbackMessage)>,
}

impl Turn {
    /// What GitLab refused of a project that is compared is tried again, whether it is time or not:
    /// who looks at a project may find that it allows more than before.
    fn of(
        compare: Option<Stored<Comparing>>,
        mut refused: Vec<(Refusal, FeedbackMessage)>,
        is_due: impl Fn(&Refusal) -> bool,
    ) -> Option<Self> {
        refused.retain(|(refusal, _)| compare.is_some() || is_due(refusal));
        refused.truncate(REFUSED_AT_ONCE);
        let is_any = compare.is_some() || !refused.is_empty();
        is_any.then_some(Self { compare, repeats: refused })
    }

    /// `known` is what the last comparison left.
    fn due(&self, project: ProjectId, known: Option<&Comparing>) -> Due {
        let compare = self.compare.as_ref().map(|found| &found.value);
        Due {
            project,
            changed_at: known.and_then(|known| known.changed_at),
            last_at: match compare {
                Some(known) => known.asked_at.max(known.last_at),
                None => self.repeats.first().map(|(refusal, _)| refusal.tried_at),
            },
            calls: comparing::calls(compare.map(|known| known.calls), self.repeats.len()),
        }
    }
}

impl Projects<'_> {
    /// Begins the comparisons whose turn it is, and tries again what GitLab refused, within the
    /// budget. Comparisons that never began, because the message that should begin them was lost,
    /// begin first.
    pub(crate) async fn call_in_turn(&self, now: Timestamp) -> Result<(), Failure> {
        let store = &self.deps.store;
        let projects = store.query_all::<ProjectEntry>(keys::PROJECTS, "").await?;
        let projects: Vec<_> = projects.into_iter().map(|entry| entry.value.project).collect();
        let known = self.comparings(&projects).await?;
        let integration = store.integration().await?.filter(|found| found.value.linked);
        let mut refused = match &integration {
            Some(_) => self.refused_by_project().await?,
            None => BTreeMap::new(),
        };
        let saved_at = integration.map_or(Timestamp::UNIX_EPOCH, |found| found.value.saved_at);
        let anew_since = saved_at.max(self.deps.limits.compare_anew_since);
        let mut turns = BTreeMap::new();
        let mut due = Vec::new();
        for project in &projects {
            if !known.contains_key(project) {
                self.begin_comparing(*project).await?;
            }
        }
        // What was begun in a project is finished also where no stack is any more.
        let projects: BTreeSet<ProjectId> =
            projects.into_iter().chain(refused.keys().copied()).collect();
        for project in projects {
            let found = known.get(&project);
            let compare = found.filter(|found| found.value.is_due(now, anew_since)).cloned();
            let refused = refused.remove(&project).unwrap_or_default();
            let is_due = |refusal: &Refusal| refusal.is_due(now) || refusal.tried_at <= saved_at;
            if let Some(turn) = Turn::of(compare, refused, is_due) {
                due.push(turn.due(project, found.map(|found| &found.value)));
                turns.insert(project, turn);
            }
        }
        for project in self.spend(&due, now).await? {
            let Some(turn) = turns.remove(&project) else { continue };
            self.take_turn(project, turn, now).await?;
        }
        Ok(())
    }

    async fn comparings(
        &self,
        projects: &[ProjectId],
    ) -> Result<BTreeMap<ProjectId, Stored<Comparing>>, Failure> {
        let mut known = BTreeMap::new();
        for projects in projects.chunks(100) {
            let places: BTreeMap<Key, ProjectId> =
                projects.iter().map(|project| (keys::comparing(*project), *project)).collect();
            let keys: Vec<Key> = places.keys().cloned().collect();
            for found in self.deps.store.get_many::<Comparing>(&keys).await? {
                known.extend(places.get(&found.key).map(|project| (*project, found)));
            }
        }
        Ok(known)
    }

    /// What GitLab refused, the longest ago first, with the nudge that tries it again.
    async fn refused_by_project(
        &self,
    ) -> Result<BTreeMap<ProjectId, Vec<(Refusal, FeedbackMessage)>>, Failure> {
        let mut refused = self.deps.store.refused().await?;
        refused.sort_by_key(|refusal| refusal.tried_at);
        let mut by_project: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for refusal in refused {
            let Some(nudge) = FeedbackMessage::for_target(&refusal.target) else { continue };
            let project = match &nudge {
                FeedbackMessage::Environment { stack, .. }
                | FeedbackMessage::Issue { stack, .. } => {
                    let stack = self.deps.store.stack(stack).await?;
                    stack.and_then(|stack| stack.value.project())
                }
                FeedbackMessage::Status { project, .. } | FeedbackMessage::Note { project, .. } => {
                    Some(*project)
                }
            };
            if let Some(project) = project {
                by_project.entry(project).or_default().push((refusal, nudge));
            }
        }
        Ok(by_project)
    }

    /// The projects whose turn it is, as far as the budget reaches; none where another sweep spends
    /// it now.
    async fn spend(&self, due: &[Due], now: Timestamp) -> Result<Vec<ProjectId>, Failure> {
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let key = keys::budget();
        let used = self.deps.store.get::<BudgetUsed>(&key).await?;
        let budget = Budget { per_minute: self.deps.limits.compare_calls };
        let (turns, until) = budget.spend(used.as_ref().map(|used| used.value.until), due, now);
        let expect = used.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let write = Write::put(key, expect, &BudgetUsed { until })?;
        if turns.is_empty() || self.deps.store.write(vec![write]).await? == Outcome::Stale {
            return Ok(Vec::new());
        }
        Ok(turns)
    }

    async fn take_turn(
        &self,
        project: ProjectId,
        turn: Turn,
        now: Timestamp,
    ) -> Result<(), Failure> {
        if let Some(found) = turn.compare {
            // Whoever comes by meanwhile leaves it, and finds it again should the message be lost.
            let next_at = Some(now + COMPARISON_LOST_AFTER);
            let asked = Comparing { next_at, asked_at: Some(now), ..found.value.clone() };
            let write = Write::put(found.key.clone(), found.unchanged(), &asked)?;
            if self.deps.store.write(vec![write]).await? == Outcome::Written {
                self.compare_soon(project, now.as_millisecond().to_string()).await?;
            }
        }
        for (_, nudge) in turn.repeats {
            self.deps.raise(nudge).await?;
        }
        Ok(())
    }

    async fn begin_comparing(&self, project: ProjectId) -> Result<(), Failure> {
        for stack in self.stacks_of(project).await? {
            let cause = format!("sweep.{}", self.deps.now().as_millisecond());
            let message = ProjectMessage::StackChanged { project, stack: stack.id, cause };
            self.deps.sender.send(message).await?;
        }
        Ok(())
    }
}
