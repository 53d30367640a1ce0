//! What a test can see of what happened.

/// How many requests are remembered.
const REQUESTS: usize = 200_000;

/// One request as the fake saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// The HTTP method.
    pub method: String,
    /// The path below `/api/v4`, still percent-encoded; for git and pages the whole path.
    pub path: String,
    /// The query, still encoded.
    pub query: String,
    /// The status of the answer; 0 when the connection was dropped.
    pub status: u16,
    /// The user name of the token.
    pub user: Option<String>,
}

/// A successful write by a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// What was written, in one line for people.
    pub line: String,
    /// The HTTP method.
    pub method: String,
    /// The path below `/api/v4`.
    pub path: String,
    /// What GitLab answered: the thing as it is after the write; null where it says nothing.
    pub answer: serde_json::Value,
}

impl Observed {
    /// Remembers a request; of very many the oldest are forgotten, for a demo that runs for days.
    pub(crate) fn saw(&mut self, request: RequestRecord) {
        if self.requests.len() >= REQUESTS {
            self.requests.drain(..REQUESTS / 2);
        }
        self.requests.push(request);
    }

    /// Remembers a write; see [`Self::saw`].
    pub(crate) fn wrote(&mut self, write: Write) {
        if self.writes.len() >= REQUESTS {
            self.writes.drain(..REQUESTS / 2);
        }
        self.writes.push(write);
    }
}

impl std::fmt::Display for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line)
    }
}

/// Everything that is kept for tests.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) requests: Vec<RequestRecord>,
    pub(crate) unknown: Vec<RequestRecord>,
    pub(crate) writes: Vec<Write>,
    pub(crate) quick_actions: Vec<String>,
    /// Compare answers as if it had run out of time.
    pub(crate) compare_timeout: bool,
}
