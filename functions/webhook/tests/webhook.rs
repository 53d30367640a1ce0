//! What GitLab gets as an answer, and what lands on the queue.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use gantry_domain::event::Hook;
use gantry_gitlab::webhook::WebhookSecrets;
use gantry_local_queues::LocalQueues;
use gantry_queue::{
    Envelope, Message, Outgoing, ProjectMessage, QueueName, Received, SendError, Sender, Transport,
};
use gantry_secrets::{SecretError, SecretName, Secrets};
use gantry_setup::{Clock, clock::ClockHand};
use gantry_webhook::{Deps, PATH, router};
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tower::ServiceExt as _;

const PUSH: &str = r#"{"object_kind":"push","ref":"refs/heads/main","project_id":7,
    "before":"0123456789abcdef0123456789abcdef01234567",
    "after":"89abcdef0123456789abcdef0123456789abcdef"}"#;

#[derive(Default)]
struct CountedSecrets {
    kept: Mutex<Option<SecretString>>,
    reads: AtomicU32,
}

#[async_trait]
impl Secrets for CountedSecrets {
    async fn get(&self, name: SecretName) -> Result<Option<SecretString>, SecretError> {
        assert_eq!(name, SecretName::WebhookSecrets, "the webhook reads no other secret");
        self.reads.fetch_add(1, Ordering::SeqCst);
        Ok(self.kept.lock().unwrap().clone())
    }

    async fn put(&self, _: SecretName, value: &SecretString) -> Result<(), SecretError> {
        *self.kept.lock().unwrap() = Some(value.clone());
        Ok(())
    }
}

struct ClosedQueues;

#[async_trait]
impl Transport for ClosedQueues {
    async fn send(&self, messages: Vec<Outgoing>) -> Vec<Result<(), SendError>> {
        let closed =
            |m: Outgoing| SendError::Unavailable { queue: m.queue, message: "gone".into() };
        messages.into_iter().map(|message| Err(closed(message))).collect()
    }

    async fn change_visibility(
        &self,
        _: QueueName,
        _: &str,
        _: Duration,
    ) -> Result<(), anyhow::Error> {
        Ok(())
    }

    async fn move_to_dead_letters(
        &self,
        _: QueueName,
        _: &Received,
        _: &str,
    ) -> Result<(), anyhow::Error> {
        Ok(())
    }
}

struct World {
    router: Router,
    queues: Arc<LocalQueues>,
    store: Arc<CountedSecrets>,
    secrets: WebhookSecrets,
    hand: ClockHand,
    clock: Clock,
}

impl World {
    async fn new() -> Self {
        let (clock, hand) = Clock::stopped_at(Timestamp::from_second(1_767_323_045).unwrap());
        let now = clock.clone();
        let queues = Arc::new(LocalQueues::in_memory(Arc::new(move || now.now())).unwrap());
        let store = Arc::new(CountedSecrets::default());
        let secrets = WebhookSecrets::generate();
        store.put(SecretName::WebhookSecrets, &secrets.to_json()).await.unwrap();
        let router = router_with(queues.clone(), store.clone(), &clock);
        Self { router, queues, store, secrets, hand, clock }
    }

    fn token(&self) -> String {
        self.secrets.token.expose_secret().to_owned()
    }

    async fn rotate(&mut self) {
        self.secrets = self.secrets.rotate(self.clock.now(), SignedDuration::from_hours(1));
        self.store.put(SecretName::WebhookSecrets, &self.secrets.to_json()).await.unwrap();
    }

    async fn post(&self, token: &str, headers: &[(&str, &str)], body: &str) -> StatusCode {
        post(&self.router, token, headers, body).await.0
    }

    fn reads(&self) -> u32 {
        self.store.reads.load(Ordering::SeqCst)
    }

    fn hooks(&self) -> Vec<(String, Hook)> {
        let received = self.queues.peek(QueueName::Events).unwrap();
        let hooks = received.into_iter().map(|received| {
            match Envelope::from_body(&received.body).unwrap().message {
                Message::Project(ProjectMessage::Hook { hook, .. }) => {
                    (received.dedup.unwrap(), hook)
                }
                other => panic!("{other:?}"),
            }
        });
        hooks.collect()
    }
}

fn router_with(queues: Arc<dyn Transport>, secrets: Arc<dyn Secrets>, clock: &Clock) -> Router {
    let now = clock.clone();
    let sender = Sender::new(queues, Arc::new(move || now.now()));
    router(Deps { sender, secrets, clock: clock.clone() })
}

async fn post(
    router: &Router,
    token: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().method(Method::POST).uri(PATH);
    if !token.is_empty() {
        request = request.header("X-Gitlab-Token", token);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router, request.body(Body::from(body.to_owned())).unwrap()).await
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn an_authentic_hook_is_on_the_queue_once() {
    let world = World::new().await;
    let headers = [("X-Gitlab-Event", "Push Hook"), ("Idempotency-Key", "one")];
    for _ in 0..2 {
        let (status, _, body) = post(&world.router, &world.token(), &headers, PUSH).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
    }
    let hooks = world.hooks();
    let [(dedup, Hook::Push { branch, .. })] = &hooks[..] else { panic!("{hooks:?}") };
    assert_eq!((dedup.as_str(), branch.as_str()), ("hook.one", "main"));
    // Older servers send no id: the content tells.
    for _ in 0..2 {
        assert_eq!(world.post(&world.token(), &[], PUSH).await, 200);
    }
    assert_eq!(world.hooks().len(), 2);
    assert_eq!(world.reads(), 1);
}

#[tokio::test]
async fn whatever_is_authentic_is_taken() {
    let world = World::new().await;
    for body in
        ["", "{}", "[1]", "\u{0}", r#"{"object_kind":"push"}"#, r#"{"object_kind":"emoji"}"#]
    {
        let headers = [("X-Gitlab-Event", "Whatever Hook")];
        assert_eq!(world.post(&world.token(), &headers, body).await, 200, "{body}");
    }
    assert!(world.hooks().iter().all(|(_, hook)| matches!(hook, Hook::Other { .. })));
}

#[tokio::test]
async fn a_branch_may_have_any_name_that_git_allows() {
    let world = World::new().await;
    let name = "feature/\u{fffe}\u{ffff}";
    let body = PUSH.replace("refs/heads/main", &format!("refs/heads/{name}"));
    assert_eq!(world.post(&world.token(), &[], &body).await, 200);
    let hooks = world.hooks();
    let [(_, Hook::Push { branch, .. })] = &hooks[..] else { panic!("{hooks:?}") };
    assert_eq!(branch.as_str(), name);
}

#[tokio::test]
async fn strangers_get_one_answer_and_seldom_cause_a_read() {
    let world = World::new().await;
    let mut answers = Vec::new();
    for token in ["", "wrong", "wrong again"] {
        let (status, _, body) = post(&world.router, token, &[], PUSH).await;
        assert_eq!(status, 401);
        answers.push(body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(world.reads(), 1);
    for _ in 0..30 {
        world.hand.advance(Duration::from_secs(1));
        assert_eq!(world.post("wrong", &[], PUSH).await, 401);
    }
    assert_eq!(world.reads(), 4, "at most once in 10 s");
    assert!(world.hooks().is_empty());
}

#[tokio::test]
async fn a_new_secret_counts_at_once_and_an_old_one_for_a_while() {
    let mut world = World::new().await;
    let old = world.token();
    assert_eq!(world.post(&old, &[], PUSH).await, 200);
    world.hand.advance(Duration::from_secs(11));
    world.rotate().await;
    assert_eq!(world.post(&world.token(), &[], PUSH).await, 200);
    assert_eq!(world.post(&old, &[], PUSH).await, 200);
    assert_eq!(world.reads(), 2);
    // An admin ends the old one. It is noticed without any request that does not match.
    world.secrets = world.secrets.without_previous();
    world.store.put(SecretName::WebhookSecrets, &world.secrets.to_json()).await.unwrap();
    world.hand.advance(Duration::from_secs(301));
    assert_eq!(world.post(&world.token(), &[], PUSH).await, 200);
    assert_eq!(world.post(&old, &[], PUSH).await, 401);
}

#[tokio::test]
async fn nothing_is_accepted_that_the_queue_does_not_have() {
    let world = World::new().await;
    let closed = router_with(Arc::new(ClosedQueues), world.store.clone(), &world.clock);
    assert_eq!(post(&closed, &world.token(), &[], PUSH).await.0, 503);
    *world.store.kept.lock().unwrap() = None;
    let unlinked = router_with(world.queues.clone(), world.store.clone(), &world.clock);
    assert_eq!(post(&unlinked, &world.token(), &[], PUSH).await.0, 401);
}

#[tokio::test]
async fn people_who_look_are_told_what_this_is() {
    let world = World::new().await;
    let request = Request::get(PATH).body(Body::empty()).unwrap();
    let (status, headers, text) = send(&world.router, request).await;
    assert_eq!((status.as_u16(), headers["allow"].to_str().unwrap()), (405, "POST"));
    assert!(text.contains("GitLab"));
}

#[tokio::test]
async fn a_body_beyond_gitlabs_limit_is_refused() {
    let world = World::new().await;
    let large = "x".repeat((25 << 20) + 1);
    assert_eq!(world.post(&world.token(), &[], &large).await, 413);
}

/// Log lines of one thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_bodies_nor_headers_are_logged() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;
    let body = PUSH.replace("main", "a-telling-name");
    let headers = [("X-Telling-Header", "tell"), ("X-Gitlab-Event", "Push Hook")];
    assert_eq!(world.post(&world.token(), &headers, &body).await, 200);
    assert_eq!(world.post("wrong-secret", &headers, &body).await, 401);
    let closed = router_with(Arc::new(ClosedQueues), world.store.clone(), &world.clock);
    assert_eq!(post(&closed, &world.token(), &headers, &body).await.0, 503);
    drop(guard);
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("accepted a webhook") && log.contains("refused a webhook"), "{log}");
    for told in ["telling", "tell", "wrong-secret", "89abcdef", &world.token()] {
        assert!(!log.contains(told), "{told} in {log}");
    }
}
