//! What a fetch leaves in object storage.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use gantry_connection::Connection;
use gantry_domain::{
    ProjectId, Repository, UserId,
    integration::{BotUser, Integration},
    module::Packed,
    source::{SourceFailed, SourceWaits},
};
use gantry_fake_gitlab::{Config, FakeGitlab, ProjectOptions, Visibility};
use gantry_git::Git;
use gantry_local_queues::LocalQueues;
use gantry_local_table::LocalTable;
use gantry_objects::{Objects, keys};
use gantry_queue::{
    Context, Envelope, Failure, Handler, Message, QueueName, Sender, SourceMessage, StackMessage,
};
use gantry_secrets::{FileSecrets, SecretName, Secrets as _};
use gantry_setup::{Clock, clock::ClockHand};
use gantry_source::{Deps, handler};
use gantry_store::{Expect, Outcome, Store, Write};
use jiff::Timestamp;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

const PROJECT: ProjectId = ProjectId(7);
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// More than Git's index of one commit takes.
const LARGEST: u64 = 100_000;

/// A GitLab that gives one answer.
#[derive(Clone)]
struct FakeGitLab {
    answer: Arc<Mutex<Reply>>,
    shows_the_project: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
}

#[derive(Clone)]
enum Reply {
    Archive(Vec<u8>),
    /// The connection breaks after these bytes.
    Broken(Vec<u8>),
    Status(u16, &'static str),
}

async fn answer(State(gitlab): State<FakeGitLab>, address: Uri) -> Response {
    gitlab.calls.fetch_add(1, Ordering::SeqCst);
    if address.path().ends_with("/projects/7") && gitlab.shows_the_project.load(Ordering::SeqCst) {
        return Json(serde_json::json!({ "id": 7, "path_with_namespace": "acme/network" }))
            .into_response();
    }
    let reply = gitlab.answer.lock().unwrap().clone();
    match reply {
        Reply::Archive(bytes) => bytes.into_response(),
        Reply::Broken(bytes) => {
            let broken = Err(std::io::Error::other("broken"));
            let pieces = futures::stream::iter([Ok(Bytes::from(bytes)), broken]);
            Body::from_stream(pieces).into_response()
        }
        Reply::Status(status, body) => {
            let status = StatusCode::from_u16(status).unwrap();
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::RETRY_AFTER, "17")];
            (status, headers, body).into_response()
        }
    }
}

struct World {
    gitlab: FakeGitLab,
    objects: Objects,
    queues: Arc<LocalQueues>,
    handler: Box<dyn Handler>,
    clock: Clock,
    hand: ClockHand,
    asked_at: Timestamp,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let gitlab = FakeGitLab {
            answer: Arc::new(Mutex::new(Reply::Archive(gzip(b"archive")))),
            shows_the_project: Arc::default(),
            calls: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(gitlab.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::in_folder(&folder.path().join("objects")).unwrap();
        let secrets = Arc::new(FileSecrets::new(folder.path().join("secrets.json")));
        secrets.put(SecretName::ApiToken, &"token".into()).await.unwrap();
        let (clock, hand) = Clock::stopped_at(Timestamp::from_second(1_767_323_045).unwrap());
        let (now, sent_at) = (clock.clone(), clock.clone());
        let queue_time = clock.clone();
        let queues = Arc::new(LocalQueues::in_memory(Arc::new(move || queue_time.now())).unwrap());
        let connection = Connection::new(store(host).await, secrets, Arc::new(move || now.now()));
        let handler = Box::new(handler(Deps {
            connection: Arc::new(connection),
            git: Git::default(),
            sender: Sender::new(Arc::clone(&queues) as _, Arc::new(move || sent_at.now())),
            objects: objects.clone(),
            clock: clock.clone(),
            largest: LARGEST,
        }));
        let asked_at = clock.now();
        Self { gitlab, objects, queues, handler, clock, hand, asked_at, _folder: folder }
    }

    fn answers(&self, reply: Reply) {
        *self.gitlab.answer.lock().unwrap() = reply;
    }

    fn shows_the_project(&self) {
        self.gitlab.shows_the_project.store(true, Ordering::SeqCst);
    }

    fn calls(&self) -> u32 {
        self.gitlab.calls.load(Ordering::SeqCst)
    }

    async fn fetch(&self) -> Result<(), Failure> {
        self.fetch_of(Repository::Gitlab(PROJECT), COMMIT).await
    }

    async fn fetch_of(&self, repository: Repository, commit: &str) -> Result<(), Failure> {
        let commit = commit.parse().unwrap();
        self.handle(SourceMessage::Fetch {
            repository,
            commit,
            cause: "test".to_owned(),
            waits: None,
        })
        .await
    }

    async fn handle(&self, message: SourceMessage) -> Result<(), Failure> {
        let context = Context {
            queue: QueueName::Source,
            message_id: "m".to_owned(),
            receive_count: 1,
            hops: 0,
            sent_at: Some(self.asked_at),
            deadline: tokio::time::Instant::now() + Duration::from_secs(60),
        };
        self.handler.handle(context, message.into()).await
    }

    async fn archive(&self) -> Option<Bytes> {
        self.objects.get(&keys::source(PROJECT, COMMIT)).await.unwrap()
    }

    async fn failed(&self) -> Option<String> {
        let kept = self.objects.get(&keys::source_failed(PROJECT, COMMIT)).await.unwrap();
        kept.map(|kept| SourceFailed::from_json(&kept).unwrap().reason)
    }
}

async fn store(api_host: String) -> Store {
    let table = LocalTable::in_memory().unwrap();
    let client = aws_sdk_dynamodb::Client::new(&table.config());
    let store = Store::new(client, "gantry".to_owned());
    store.create_table_if_missing().await.unwrap();
    let integration = Integration {
        api_host,
        generation: 1,
        linked: true,
        server_version: None,
        bot: BotUser { id: UserId(1), username: "gantry".to_owned() },
        previous_bot: None,
        token_scopes: vec![],
        token_expires_on: None,
        saved_at: Timestamp::UNIX_EPOCH,
        installation: "i".to_owned(),
    };
    let write =
        Write::put(gantry_store::keys::integration(), Expect::Absent, &integration).unwrap();
    assert_eq!(store.write(vec![write]).await.unwrap(), Outcome::Written);
    store
}

/// Bytes that begin as a gzip file does.
fn gzip(content: &[u8]) -> Vec<u8> {
    [&[0x1f, 0x8b], content].concat()
}

#[tokio::test]
async fn an_archive_is_fetched_once() {
    let world = World::new().await;
    for _ in 0..3 {
        world.fetch().await.unwrap();
    }
    assert_eq!(world.archive().await.unwrap(), gzip(b"archive"));
    assert_eq!((world.calls(), world.failed().await), (1, None));
}

#[tokio::test]
async fn what_cannot_be_had_says_why_and_is_asked_for_later_again() {
    let world = World::new().await;
    world.answers(Reply::Archive(gzip(&[0; LARGEST as usize])));
    world.fetch().await.unwrap();
    assert!(world.failed().await.unwrap().contains("larger than"));
    assert_eq!(world.archive().await, None);
    world.fetch().await.unwrap();
    assert_eq!(world.calls(), 1);

    world.hand.advance(Duration::from_secs(600));
    world.answers(Reply::Status(404, r#"{"message":"404 Commit Not Found"}"#));
    world.fetch().await.unwrap();
    assert!(world.failed().await.unwrap().contains("does not have the commit"));

    world.hand.advance(Duration::from_secs(600));
    world.answers(Reply::Archive(gzip(b"mended")));
    world.fetch().await.unwrap();
    assert_eq!(
        (world.archive().await.unwrap(), world.failed().await),
        (gzip(b"mended").into(), None)
    );
}

#[tokio::test]
async fn a_refusal_of_everything_is_waited_out_for_an_hour() {
    for (status, body) in [
        (403, r#"{"message":"403 Forbidden"}"#),
        (404, r#"{"message":"404 Project Not Found"}"#),
        (404, r#"{"error":"404 Not Found"}"#),
    ] {
        let world = World::new().await;
        world.answers(Reply::Status(status, body));
        for _ in 0..3 {
            let failure = world.fetch().await.unwrap_err();
            assert!(failure.retry_after.is_some(), "{body}");
            assert_eq!(world.failed().await, None, "{body}");
            world.hand.advance(Duration::from_secs(19 * 60));
        }
        world.hand.advance(Duration::from_secs(5 * 60));
        world.fetch().await.unwrap();
        assert!(world.failed().await.unwrap().contains(&status.to_string()), "{body}");
    }
}

#[tokio::test]
async fn what_comes_in_place_of_an_archive_is_waited_out_for_an_hour() {
    for (came, words) in
        [("", "nothing"), ("<html>", "a web page"), (r#"{"status":"ok"}"#, "status")]
    {
        let world = World::new().await;
        world.answers(Reply::Archive(came.into()));
        for _ in 0..3 {
            let failure = world.fetch().await.unwrap_err();
            assert!(failure.retry_after.is_some(), "{came}");
            assert_eq!((world.archive().await, world.failed().await), (None, None), "{came}");
            assert!(waits(&world).await.unwrap().contains(words), "{came}");
            world.hand.advance(Duration::from_secs(19 * 60));
        }
        world.hand.advance(Duration::from_secs(5 * 60));
        // Everything comes so: GitLab is in trouble.
        assert!(world.fetch().await.unwrap_err().retry_after.is_some(), "{came}");
        world.shows_the_project();
        world.fetch().await.unwrap();
        let reason = world.failed().await.unwrap();
        assert!(
            reason.contains(words) && reason.contains("instead. A proxy or firewall"),
            "{reason}"
        );
        assert_eq!(world.archive().await, None);
    }
}

#[tokio::test]
async fn trouble_at_gitlab_is_waited_out() {
    let world = World::new().await;
    for (status, wait) in [(503, 17), (429, 17), (401, 60)] {
        world.answers(Reply::Status(status, r#"{"message":"no"}"#));
        let failure = world.fetch().await.unwrap_err();
        assert_eq!(failure.retry_after, Some(Duration::from_secs(wait)), "{status}");
        world.hand.advance(Duration::from_secs(60));
    }
    world.answers(Reply::Broken(gzip(b"half of it")));
    assert!(world.fetch().await.unwrap_err().retry_after.is_some());
    assert_eq!((world.archive().await, world.failed().await), (None, None));
    world.hand.advance(Duration::from_secs(60));
    world.answers(Reply::Archive(gzip(b"whole")));
    world.fetch().await.unwrap();
    assert!(world.archive().await.is_some());
    assert!(world.clock.now() > Timestamp::UNIX_EPOCH);
}

/// What the runs of the project wait for.
async fn waits(w: &World) -> Option<String> {
    let kept = w.objects.get(&keys::source_waits(PROJECT)).await.unwrap()?;
    let waits = SourceWaits::from_json(&kept).unwrap();
    Some(SourceWaits::to_text(Some(&waits), w.clock.now()))
}

#[tokio::test]
async fn a_run_is_told_when_its_source_is_there_and_until_then_what_it_waits_for() {
    let w = World::new().await;
    let ask = |stack: &str, run: &str| SourceMessage::Fetch {
        repository: Repository::Gitlab(PROJECT),
        commit: COMMIT.parse().unwrap(),
        cause: format!("{run}.1"),
        waits: Some((stack.parse().unwrap(), run.parse().unwrap())),
    };
    let told = || -> Vec<Message> {
        let sent = w.queues.peek(QueueName::Events).unwrap();
        sent.iter().map(|sent| Envelope::from_body(&sent.body).unwrap().message).collect()
    };
    for (status, words) in [
        (429, "GitLab allows five archive downloads per project per minute. Next attempt in 17 s."),
        (503, "503"),
    ] {
        w.answers(Reply::Status(status, r#"{"message":"no"}"#));
        w.handle(ask("s1", "r1")).await.unwrap_err();
        let said = waits(&w).await.unwrap();
        assert!(said.contains(words), "{said}");
        assert!(told().is_empty());
        w.hand.advance(Duration::from_secs(60));
    }
    w.answers(Reply::Archive(gzip(b"whole")));
    w.handle(ask("s1", "r1")).await.unwrap();
    assert!(
        matches!(&told()[..], [Message::Stack(StackMessage::Fetched { run, is_there: true, is_new: true, commit: Some(commit), .. })] if run.as_str() == "r1" && commit.as_str() == COMMIT)
    );
    // Another run of the commit.
    w.handle(ask("s2", "r2")).await.unwrap();
    let told = told();
    assert!(
        matches!(
            &told[1..],
            [Message::Stack(StackMessage::Fetched { is_there: true, is_new: false, .. })]
        ),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_run_is_told_when_its_source_cannot_be_had() {
    let w = World::new().await;
    w.answers(Reply::Status(404, r#"{"message":"404 Commit Not Found"}"#));
    let (repository, commit) = (Repository::Gitlab(PROJECT), COMMIT.parse().unwrap());
    let run = Some(("s1".parse().unwrap(), "r1".parse().unwrap()));
    w.hand.advance(Duration::from_secs(2 * 60 * 60));
    w.handle(SourceMessage::Fetch { repository, commit, cause: "c".to_owned(), waits: run })
        .await
        .unwrap();
    let sent = w.queues.peek(QueueName::Events).unwrap();
    let told = Envelope::from_body(&sent[0].body).unwrap().message;
    assert!(
        matches!(told, Message::Stack(StackMessage::Fetched { is_there: false, .. })),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_repository_that_is_not_at_gitlab_is_read_too() {
    let elsewhere = FakeGitlab::start(Config::default()).await.unwrap();
    let project = |name: &str, visibility| {
        let options = ProjectOptions {
            files: vec![("main.tf".to_owned(), "# main\n".to_owned())],
            visibility,
            ..ProjectOptions::default()
        };
        let project = elsewhere.create_project(name, options).unwrap();
        let url = format!("{}/{name}.git", elsewhere.base_url());
        (Repository::Git(url.parse().unwrap()), elsewhere.head(project, "main").unwrap())
    };
    let w = World::new().await;
    let (open, commit) = project("acme/open", Visibility::Public);
    w.fetch_of(open.clone(), &commit).await.unwrap();
    let archive = w.objects.get(&keys::source(open.key(), &commit)).await.unwrap().unwrap();
    assert_eq!(archive[..2], [0x1f, 0x8b]);

    let (closed, commit) = project("acme/closed", Visibility::Private);
    w.fetch_of(closed.clone(), &commit).await.unwrap();
    let kept = w.objects.get(&keys::source_failed(closed.key(), &commit)).await.unwrap().unwrap();
    let reason = SourceFailed::from_json(&kept).unwrap().reason;
    assert!(reason.contains("acme/closed.git: there is no public repository"), "{reason}");
    assert_eq!(w.calls(), 0, "GitLab is not asked");

    let away = Repository::Git("http://127.0.0.1:1/a/b".parse().unwrap());
    let waits = w.fetch_of(away, &commit).await.unwrap_err();
    assert!(waits.retry_after.is_some(), "{:?}", waits.error);
}

#[tokio::test]
async fn a_module_is_packed_from_its_commit() {
    let elsewhere = FakeGitlab::start(Config::default()).await.unwrap();
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let options = ProjectOptions {
        files: vec![
            file("net/main.tf", "variable \"name\" {\n  type = string\n}\n"),
            file("net/README.md", "# Network\n"),
            file("other/main.tf", "# not of the module\n"),
        ],
        visibility: Visibility::Public,
        ..ProjectOptions::default()
    };
    let project = elsewhere.create_project("acme/modules", options).unwrap();
    let url = format!("{}/acme/modules.git", elsewhere.base_url());
    let repository = Repository::Git(url.parse().unwrap());
    let w = World::new().await;
    let pack = |root: &str| SourceMessage::Package {
        stack: "m1".parse().unwrap(),
        run: format!("r-{root}").parse().unwrap(),
        repository: repository.clone(),
        commit: elsewhere.head(project, "main").unwrap().parse().unwrap(),
        root: root.to_owned(),
    };
    w.handle(pack("net")).await.unwrap();
    w.handle(pack("gone")).await.unwrap();
    let told: Vec<Message> = w
        .queues
        .peek(QueueName::Events)
        .unwrap()
        .iter()
        .map(|sent| Envelope::from_body(&sent.body).unwrap().message)
        .collect();
    let [
        Message::Stack(StackMessage::Packaged { packed: Packed::Done { digest }, .. }),
        Message::Stack(StackMessage::Packaged { packed, .. }),
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    let reason = "The module cannot be packed for the registry: the folder gone does not exist in the commit";
    assert_eq!(*packed, Packed::Impossible { reason: reason.to_owned() });
    let archive = w.objects.get(&keys::module("m1", digest)).await.unwrap().unwrap();
    assert_eq!(archive[..2], [0x1f, 0x8b]);
    let metadata = w.objects.get(&keys::module_metadata("m1", digest)).await.unwrap().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata).unwrap();
    assert_eq!(metadata["inputs"][0]["name"], "name");
    assert_eq!(metadata["readme"], "# Network\n");
}
