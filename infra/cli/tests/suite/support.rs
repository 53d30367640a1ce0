//! A Gantry of a few answers, and a terminal whose words are kept.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use clap::{CommandFactory as _, Parser};
use gantry_cli::{Command, Person, Stream, Surroundings};
use serde_json::{Value, json};
use std::{
    cell::RefCell,
    io::{self, Write},
    path::Path,
    rc::Rc,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

const DESCRIPTION: &str = include_str!("../../../../functions/settings/openapi.json");
pub(crate) const KEY: &str = "good-key-4711";
/// May look and nothing else.
pub(crate) const READER: &str = "reader-key-4711";
/// The value of the environment variable `TF_VAR_token`.
pub(crate) const SECRET: &str = "hush-hush-4711";
pub(crate) const RUN: &str = "r-8c41d7";
/// As the tool writes it, to the byte.
pub(crate) const STATE: &[u8] = b"{\n  \"version\": 4,\n\t\"serial\": 12 }";

/// The description's example of a type.
pub(crate) fn example(name: &str) -> Value {
    static READ: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(DESCRIPTION).unwrap());
    READ["components"]["schemas"][name]["examples"][0].clone()
}

/// What the server says and has seen.
#[derive(Default)]
pub(crate) struct Script {
    /// What is another than in the example of a run, at each look; the last one stays.
    pub(crate) looks: Vec<Value>,
    /// How many looks there were.
    pub(crate) looked: usize,
    /// Pieces of the log, and at which look they are there.
    pub(crate) log: Vec<(usize, &'static str)>,
    /// So many requests are answered that it is busy.
    pub(crate) busy: usize,
    /// From a look on it is busy for so many requests.
    pub(crate) outage: Option<(usize, usize)>,
    /// How commands are answered instead.
    pub(crate) commands: Vec<(u16, Value)>,
    /// Requests with their idempotency key and body.
    pub(crate) seen: Vec<(String, String, Value)>,
    /// Where the state is instead.
    pub(crate) state_at: Option<String>,
    /// Another page is in front of it.
    pub(crate) is_html: bool,
    /// Runs have no numbers.
    pub(crate) is_old: bool,
    /// Where an archive goes instead.
    pub(crate) upload_at: Option<String>,
    /// The archives that came.
    pub(crate) uploads: Vec<Vec<u8>>,
    /// The run whose result is unknown, which blocks the stack.
    pub(crate) blocked_by: Option<&'static str>,
    /// Every page of a list leads to the same one.
    pub(crate) is_stuck: bool,
}

type Shared = Arc<Mutex<Script>>;

/// A server that runs.
pub(crate) struct Gantry {
    pub(crate) url: String,
    script: Shared,
}

impl Gantry {
    pub(crate) async fn start(script: Script) -> Self {
        Self::start_after(script, 0).await
    }

    /// One whose first connections break.
    pub(crate) async fn start_after(script: Script, broken: usize) -> Self {
        let script: Shared = Arc::new(Mutex::new(script));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(script.clone());
        tokio::spawn(async move {
            for _ in 0..broken {
                drop(listener.accept().await.unwrap());
            }
            axum::serve(listener, router).await.unwrap();
        });
        Self { url, script }
    }

    /// A run that is looked at in these states.
    pub(crate) async fn with_run(looks: &[Value]) -> Self {
        Self::start(Script { looks: looks.to_vec(), ..Script::default() }).await
    }

    /// What was asked of it beside looking: `POST /api/v1/runs/r-8c41d7/confirm`.
    pub(crate) fn posts(&self) -> Vec<String> {
        let seen = self.script.lock().unwrap();
        let lines = seen.seen.iter().map(|(line, ..)| line.clone());
        lines.filter(|line| line.starts_with("POST ")).collect()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// Carries out a command line with the key, where no terminal is.
    pub(crate) async fn says(&self, line: &str) -> Said {
        Terminal { url: Some(self.url.clone()), key: Some(KEY.into()), ..Terminal::default() }
            .says(line)
            .await
    }

    /// The same on a terminal, at which somebody types.
    pub(crate) async fn says_to(&self, typed: &'static str, line: &str) -> Said {
        let (url, key) = (Some(self.url.clone()), Some(KEY.into()));
        Terminal { url, key, typed: Some(typed), ..Terminal::default() }.says(line).await
    }
}

async fn answer(State(script): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let sent = to_bytes(body, usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&sent).unwrap_or_default();
    let header = |name: &str| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let line = format!("{} {}", parts.method, parts.uri);
    let mut script = script.lock().unwrap();
    script.seen.push((line, header("idempotency-key"), body));
    if script.busy > 0 {
        script.busy -= 1;
        let busy = problem(503, "Everybody is busy.");
        return ([(header::RETRY_AFTER, "0")], busy).into_response();
    }
    if script.is_html {
        return (StatusCode::OK, "<html>Welcome</html>").into_response();
    }
    // An address of object storage, which is signed and takes no key.
    if parts.uri.path() == "/signed" {
        return match header("authorization").is_empty() {
            true => STATE.into_response(),
            false => problem(400, "A key was sent.").into_response(),
        };
    }
    if parts.uri.path() == "/signed-upload" {
        if !header("authorization").is_empty() || header("x-amz-checksum-sha256") != "sum" {
            return problem(403, "That is not what was signed.").into_response();
        }
        script.uploads.push(sent.to_vec());
        return StatusCode::OK.into_response();
    }
    let is_post = parts.method == "POST";
    match header("authorization").strip_prefix("Bearer ") {
        Some(KEY) => {}
        Some(READER) if !is_post => {}
        Some(READER) => {
            let why = "The key \"reader\" has the role read, this needs deploy.";
            return problem(403, why).into_response();
        }
        _ => return problem(401, "The key is not one of this installation's.").into_response(),
    }
    let path: Vec<&str> = parts.uri.path().trim_start_matches("/api/v1/").split('/').collect();
    let query = parts.uri.query().unwrap_or_default();
    match (is_post, path.as_slice()) {
        (false, ["stacks"]) if script.is_stuck => {
            good(json!({ "stacks": [example("Stack")], "next": "2" }))
        }
        (false, ["stacks"]) => stacks(query),
        (true, ["stacks", "network", "previews"]) => good(json!({
            "url": script.upload_at, "headers": { "x-amz-checksum-sha256": "sum" },
        })),
        (false, ["stacks", "network", "previews", _]) if parts.method == "PUT" => {
            script.uploads.push(sent.to_vec());
            StatusCode::NO_CONTENT.into_response()
        }
        (false, ["stacks", "network"]) => {
            let mut stack = example("Stack");
            if let Some(run) = script.blocked_by {
                stack["status"]["blocked"] = json!({
                    "run": run, "reason": "the result is unknown", "since": "2026-03-02T09:31:40Z",
                });
            }
            good(stack)
        }
        (false, ["stacks", "network", "runs"]) => runs(&script, query),
        (false, ["waiting"]) => good(example("RunList")),
        (false, ["runs"]) => match query.split('&').next().unwrap_or_default() {
            "state=lost" => problem(422, "Check: state."),
            "state=discarded" => good(json!({ "runs": [], "next": null })),
            _ => runs(&script, query),
        },
        (false, ["stacks", "network", "state", "current"]) => match &script.state_at {
            Some(at) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, at)]).into_response(),
            None => STATE.into_response(),
        },
        (false, ["runs", RUN]) => {
            let run = run(&script, script.looked);
            script.looked = (script.looked + 1).min(script.looks.len().saturating_sub(1));
            let looked = script.looked;
            if let Some((_, busy)) = script.outage.take_if(|(look, _)| *look == looked) {
                script.busy = busy;
            }
            good(run)
        }
        (false, ["runs", RUN, "log"]) => log(&script, query),
        (false, ["runs", RUN, "change"]) => good(example("Change")),
        (false, ["commands", "network", _])
        | (
            true,
            ["stacks", "network", "runs" | "unblock" | "drift" | "tasks"]
            | ["stacks", "network", "previews", _, "start"]
            | ["runs", RUN, _],
        ) => command(&mut script),
        _ => problem(404, "There is no such thing.").into_response(),
    }
}

fn good(document: Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}

fn problem(status: u16, detail: &str) -> Response {
    let body = json!({ "status": status, "title": "No", "detail": detail });
    answer_with(status, &body)
}

fn answer_with(status: u16, body: &Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), Body::from(body.to_string())).into_response()
}

/// The example of a run as it is at a look.
fn run(script: &Script, look: usize) -> Value {
    let mut run = example("Run");
    if let Some(Value::Object(other)) = script.looks.get(look) {
        run.as_object_mut().unwrap().extend(other.clone());
    }
    if script.is_old {
        run.as_object_mut().unwrap().remove("number");
    }
    run
}

/// Four stacks, on two pages: one whose last deploy failed, one that is idle, one whose deploy needs
/// confirmation, and one that differs from what was applied.
fn stacks(query: &str) -> Response {
    let named = |slug: &str| {
        let mut stack = example("Stack");
        stack["slug"] = slug.into();
        stack["status"]["drift"] = Value::Null;
        stack
    };
    let mut drifted = named("web");
    drifted["status"]["drift"] = json!({ "found": 2 });
    let mut failed = named("dns");
    failed["status"]["failed"] = "r-105".into();
    let mut held = named("network");
    held["status"]["tracked_run"] = RUN.into();
    good(match query {
        query if query.contains("after=2") => json!({ "stacks": [held, drifted], "next": null }),
        query if query.contains("search=none") => json!({ "stacks": [], "next": null }),
        _ => json!({ "stacks": [failed, named("mail")], "next": "2" }),
    })
}

/// Runs number 106 to 6, in pages of at most 100.
fn runs(script: &Script, query: &str) -> Response {
    let number = |name: &str| {
        let mut values = query.split('&').filter_map(|pair| pair.strip_prefix(name));
        values.next().and_then(|value| value.parse::<u64>().ok())
    };
    let from = number("after=").unwrap_or(106);
    let last = from.saturating_sub(number("limit=").unwrap_or(25)).max(5);
    let summary = |number: u64| {
        let mut run = example("RunList")["runs"][0].clone();
        run["number"] = number.into();
        run["id"] = if number == 6 { RUN.to_owned() } else { format!("r-{number}") }.into();
        if script.is_old {
            run.as_object_mut().unwrap().remove("number");
        }
        run
    };
    let runs: Vec<Value> = (last + 1..=from).rev().map(summary).collect();
    let next = (last > 5).then(|| last.to_string());
    good(json!({ "runs": runs, "next": next }))
}

/// A piece at a time.
fn log(script: &Script, query: &str) -> Response {
    let there: Vec<&str> = script
        .log
        .iter()
        .filter(|(look, _)| *look <= script.looked)
        .map(|(_, text)| *text)
        .collect();
    let at: usize = match query.strip_prefix("after=") {
        Some(after) => after.parse().unwrap(),
        None if query == "before=end" => there.len(),
        None => 0,
    };
    let piece = there.get(at);
    let next = (at + usize::from(piece.is_some())).to_string();
    let pieces: Vec<Value> = piece
        .map(|text| json!({ "phase": "plan", "attempt": 1, "offset": 0, "text": text }))
        .into_iter()
        .collect();
    let more = at + 1 < there.len() || script.is_stuck;
    good(json!({ "pieces": pieces, "next": next, "more": more, "ended": false }))
}

fn command(script: &mut Script) -> Response {
    if script.commands.is_empty() {
        return good(example("Command"));
    }
    let (status, body) = script.commands.remove(0);
    answer_with(status, &body)
}

/// What a command is carried out with.
#[derive(Default)]
pub(crate) struct Terminal<'a> {
    pub(crate) folder: Option<&'a Path>,
    pub(crate) home: Option<&'a Path>,
    pub(crate) url: Option<String>,
    pub(crate) key: Option<String>,
    /// Both streams are terminals, and somebody types this.
    pub(crate) typed: Option<&'static str>,
    /// What comes from standard input where nobody is there.
    pub(crate) input: &'static str,
    pub(crate) has_no_browser: bool,
}

/// What was said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

#[derive(Parser)]
#[command(name = "gantry")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

impl Terminal<'_> {
    pub(crate) async fn says(&self, line: &str) -> Said {
        let command = Cli::try_parse_from(line.split(' ')).unwrap().command;
        let (out, err) = (Kept::default(), Kept::default());
        let is_terminal = self.typed.is_some();
        let stream = |kept: &Kept| Stream { write: Box::new(kept.clone()), is_terminal };
        let around = Surroundings {
            folder: self.folder.map(Path::to_owned),
            home: self.home.map(Path::to_owned),
            url: self.url.clone(),
            key: self.key.clone(),
            no_color: false,
            variable: |name| (name == "TF_VAR_token").then(|| SECRET.to_owned()),
            out: stream(&out),
            err: stream(&err),
            person: Box::new(Typing { typed: self.typed, input: self.input }),
            browser: if self.has_no_browser {
                |_| Err(io::ErrorKind::NotFound.into())
            } else {
                |_| Ok(())
            },
            look_every: Duration::from_millis(2),
        };
        let ended = gantry_cli::run(command, Cli::command(), around).await;
        let said = Said { code: ended.code(), out: out.text(), err: err.text() };
        // Whatever is said, no key is in it.
        for key in [KEY, READER, SECRET, "wrong-key"] {
            assert!(!said.out.contains(key) && !said.err.contains(key), "{said:?}");
        }
        said
    }
}

#[derive(Clone, Default)]
struct Kept(Rc<RefCell<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Typing {
    typed: Option<&'static str>,
    input: &'static str,
}

impl Person for Typing {
    fn is_there(&self) -> bool {
        self.typed.is_some()
    }

    fn line(&mut self) -> io::Result<String> {
        Ok(self.typed.unwrap().to_owned())
    }

    fn hidden(&mut self) -> io::Result<String> {
        self.line()
    }

    fn all(&mut self) -> io::Result<String> {
        assert!(!self.is_there(), "a terminal is never read to its end");
        Ok(self.input.to_owned())
    }
}
