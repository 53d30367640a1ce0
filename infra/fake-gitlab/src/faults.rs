//! Trouble on request: errors, limits, dropped connections, a server that is down.

/// Which requests a fault is for.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    /// The HTTP method; `None` is any.
    pub method: Option<String>,
    /// A part of the path; empty is any.
    pub path_contains: String,
}

impl Matcher {
    /// Any request.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests of a method whose path contains something.
    pub fn new(method: &str, path_contains: &str) -> Self {
        Self { method: Some(method.to_owned()), path_contains: path_contains.to_owned() }
    }

    pub(crate) fn matches(&self, method: &str, path: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && path.contains(&self.path_contains)
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// An answer that is not GitLab's own, such as a proxy's 502.
    Status {
        /// The HTTP status.
        code: u16,
        /// The body.
        body: String,
        /// Headers of the answer.
        headers: Vec<(String, String)>,
    },
    /// 429 with `Retry-After` and plain text.
    RateLimited {
        /// Seconds.
        retry_after: u64,
    },
    /// The connection ends without an answer and nothing was done.
    Drop,
    /// The request is carried out and the connection ends without an answer.
    ApplyThenDrop,
    /// No answer comes, ever, and nothing was done.
    Hang,
    /// The request is carried out, and its answer comes later than anybody waits for it.
    ApplyThenHang,
}

impl Fault {
    /// An answer with this status and a JSON message.
    #[must_use]
    pub fn status(code: u16) -> Self {
        let body = serde_json::json!({ "message": format!("{code} injected") }).to_string();
        Self::Status { code, body, headers: Vec::new() }
    }

    /// An answer with this status and these words of GitLab's.
    #[must_use]
    pub fn saying(code: u16, words: &str) -> Self {
        let body = serde_json::json!({ "message": words }).to_string();
        Self::Status { code, body, headers: Vec::new() }
    }

    /// A web page of a proxy or a maintenance, with this status.
    #[must_use]
    pub fn page(code: u16) -> Self {
        let body = "<!DOCTYPE html>\n<html><body>Back soon</body></html>".to_owned();
        Self::Status { code, body, headers: Vec::new() }
    }

    /// Nothing, as if all were well.
    #[must_use]
    pub fn nothing() -> Self {
        Self::Status { code: 200, body: String::new(), headers: Vec::new() }
    }

    /// The JSON of another service, as if all were well.
    #[must_use]
    pub fn another_service() -> Self {
        Self::Status { code: 200, body: r#"{"status":"ok"}"#.to_owned(), headers: Vec::new() }
    }

    /// A redirect to a page on the same server, as proxies send people to their sign-in.
    #[must_use]
    pub fn redirect() -> Self {
        let headers = vec![("Location".to_owned(), "/sign-in".to_owned())];
        Self::Status { code: 302, body: String::new(), headers }
    }
}

/// The faults that wait for their requests.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) waiting: Vec<(Matcher, Fault, u32)>,
    pub(crate) down: bool,
}

impl Faults {
    /// The fault for a request, if one waits for it.
    pub(crate) fn take(&mut self, method: &str, path: &str) -> Option<Fault> {
        if self.down {
            return Some(Fault::Status {
                code: 503,
                body: "GitLab is not responding".to_owned(),
                headers: vec![("Retry-After".to_owned(), "30".to_owned())],
            });
        }
        let at = self.waiting.iter().position(|(matcher, ..)| matcher.matches(method, path))?;
        self.waiting[at].2 -= 1;
        if self.waiting[at].2 == 0 {
            return Some(self.waiting.remove(at).1);
        }
        Some(self.waiting[at].1.clone())
    }
}
