//! What a process remembers of projects for some minutes, so that not every event reads it again. The
//! record may have become another meanwhile, by another process: here is only what does no harm then.

use gantry_domain::ProjectId;
use gantry_store::scheduler::ProjectPath;
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// For how long.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);

/// What a process remembers.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<BTreeMap<ProjectId, Project>>);

/// What is known of a project, and until when.
#[derive(Default)]
struct Project {
    /// That webhooks come is written down.
    webhooks: Option<Until<()>>,
    /// Where it is, by its record; none where it has no record.
    path: Option<Until<Option<ProjectPath>>>,
}

/// What is known from one time until another.
struct Until<T> {
    from: Timestamp,
    until: Timestamp,
    known: T,
}

impl<T> Until<T> {
    fn new(from: Timestamp, longest: SignedDuration, known: T) -> Self {
        Self { from, until: from + longest.min(REMEMBERED), known }
    }

    fn at(&self, now: Timestamp) -> Option<&T> {
        // A clock may be set back.
        (self.from..self.until).contains(&now).then_some(&self.known)
    }
}

impl Remembered {
    fn projects(&self) -> MutexGuard<'_, BTreeMap<ProjectId, Project>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when it is known that the project's webhooks come.
    pub(crate) fn has_webhooks(&self, project: ProjectId, now: Timestamp) -> bool {
        let projects = self.projects();
        let known = projects.get(&project).and_then(|project| project.webhooks.as_ref());
        known.is_some_and(|known| known.at(now).is_some())
    }

    /// That the project's webhooks come is written down, and no news for so long.
    pub(crate) fn keep_webhooks(
        &self,
        project: ProjectId,
        now: Timestamp,
        no_news_for: SignedDuration,
    ) {
        let webhooks = Some(Until::new(now, no_news_for, ()));
        self.projects().entry(project).or_default().webhooks = webhooks;
    }

    /// Another record of the project's comparisons has begun, or it has none any more.
    pub(crate) fn forget_webhooks(&self, project: ProjectId) {
        if let Some(known) = self.projects().get_mut(&project) {
            known.webhooks = None;
        }
    }

    /// What the project's record said of where it is. None when that is not remembered.
    pub(crate) fn path(&self, project: ProjectId, now: Timestamp) -> Option<Option<ProjectPath>> {
        let projects = self.projects();
        projects.get(&project)?.path.as_ref()?.at(now).cloned()
    }

    /// What the project's record says of where it is.
    pub(crate) fn keep_path(&self, project: ProjectId, now: Timestamp, path: Option<ProjectPath>) {
        let path = Some(Until::new(now, REMEMBERED, path));
        self.projects().entry(project).or_default().path = path;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: ProjectId = ProjectId(7);

    fn minute(n: i64) -> Timestamp {
        Timestamp::from_second(n * 60).unwrap()
    }

    #[test]
    fn webhooks_are_no_news_for_minutes_and_no_longer_than_their_record_says() {
        let remembered = Remembered::default();
        let comes = |n| remembered.has_webhooks(PROJECT, minute(n));
        assert!(!comes(1));
        remembered.keep_webhooks(PROJECT, minute(1), SignedDuration::from_hours(1));
        assert_eq!([0, 1, 10, 11].map(comes), [false, true, true, false]);
        assert!(!remembered.has_webhooks(ProjectId(8), minute(1)));
        remembered.keep_webhooks(PROJECT, minute(20), SignedDuration::from_mins(2));
        assert_eq!([21, 22].map(comes), [true, false]);
        remembered.forget_webhooks(PROJECT);
        assert!(!comes(21));
    }

    #[test]
    fn a_path_is_what_was_read_last_also_that_there_was_none() {
        let remembered = Remembered::default();
        let path = |n| remembered.path(PROJECT, minute(n));
        assert_eq!(path(1), None);
        remembered.keep_path(PROJECT, minute(1), None);
        assert_eq!(path(2), Some(None));
        let there = ProjectPath { project: PROJECT, generation: 1, path: "acme/web".to_owned() };
        remembered.keep_path(PROJECT, minute(3), Some(there.clone()));
        remembered.forget_webhooks(PROJECT);
        assert_eq!([12, 13].map(path), [Some(Some(there)), None]);
    }
}
