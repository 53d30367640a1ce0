//! The state of the whole server, behind one mutex.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::{Group, GroupId, Oauth, Project, ProjectId, Token, User, UserId};
use crate::api::answer::Refusal;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::faults::Faults;
use crate::observe::Observed;

/// Everything the server remembers.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) base_url: String,
    pub(crate) data: PathBuf,
    pub(crate) users: BTreeMap<UserId, User>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) oauth: Oauth,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) projects: BTreeMap<ProjectId, Project>,
    pub(crate) outbox: VecDeque<Delivery>,
    pub(crate) observed: Observed,
    pub(crate) faults: Faults,
    ids: HashMap<&'static str, u64>,
    windows: HashMap<String, VecDeque<Timestamp>>,
}

impl State {
    pub(crate) fn new(config: Config, base_url: String, data: PathBuf) -> Self {
        Self {
            config,
            base_url,
            data,
            users: BTreeMap::new(),
            tokens: Vec::new(),
            oauth: Oauth::default(),
            groups: BTreeMap::new(),
            projects: BTreeMap::new(),
            outbox: VecDeque::new(),
            observed: Observed::default(),
            faults: Faults::default(),
            ids: HashMap::new(),
            windows: HashMap::new(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.config.now)()
    }

    /// The next number of a kind of thing; kinds start at different numbers, so that a mix-up
    /// of two kinds shows.
    pub(crate) fn next_id(&mut self, kind: &'static str) -> u64 {
        let start = match kind {
            "project" => 10,
            "group" => 80,
            "merge_request" => 900,
            "pipeline" => 3_000,
            "job" => 50_000,
            "note" => 7_000,
            "award" => 8_000,
            "issue" => 1_200,
            "hook" => 400,
            "environment" => 200,
            "deployment" => 600,
            _ => 1,
        };
        let next = self.ids.entry(kind).or_insert(start);
        *next += 1;
        *next - 1
    }

    pub(crate) fn user(&self, id: UserId) -> &User {
        &self.users[&id]
    }

    pub(crate) fn user_named(&self, username: &str) -> Option<&User> {
        self.users.values().find(|user| user.username == username)
    }

    pub(crate) fn project(&self, id: ProjectId) -> &Project {
        &self.projects[&id]
    }

    pub(crate) fn project_mut(&mut self, id: ProjectId) -> &mut Project {
        self.projects.get_mut(&id).expect("projects are looked up before they are changed")
    }

    pub(crate) fn project_at(&self, path: &str) -> Option<&Project> {
        self.projects.values().find(|project| project.path.eq_ignore_ascii_case(path))
    }

    /// The project that is, or was, at a path.
    pub(crate) fn project_once_at(&self, path: &str) -> Option<&Project> {
        let was =
            |project: &&Project| project.old_paths.iter().any(|old| old.eq_ignore_ascii_case(path));
        self.project_at(path).or_else(|| self.projects.values().find(was))
    }

    /// Takes one from a limit of so many a minute; refuses with GitLab's 429.
    pub(crate) fn take(&mut self, key: String, limit: Option<u32>) -> Result<(), Refusal> {
        let Some(limit) = limit else { return Ok(()) };
        let now = self.now();
        let window = self.windows.entry(key).or_default();
        let start = now - SignedDuration::from_secs(60);
        while window.front().is_some_and(|time| *time <= start) {
            window.pop_front();
        }
        if window.len() >= limit as usize {
            return Err(Refusal::retry_later());
        }
        window.push_back(now);
        Ok(())
    }
}
