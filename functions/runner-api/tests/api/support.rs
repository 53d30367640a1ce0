//! A world of one stack, its runs, and the API over them.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use gantry_domain::{
    ProjectId, Repository, RunId, StackId, UserId,
    integration::{BotUser, Integration},
    protocol::{ClaimAnswer, ClaimRequest, LockInfo, StateCommit},
    run::{Phase, PlanOptions, Position, Run, RunState, RunType},
    stack::{Settings, Stack, Variable},
};
use gantry_local_queues::LocalQueues;
use gantry_local_table::LocalTable;
use gantry_objects::Objects;
use gantry_queue::{Envelope, Message, QueueName, Sender};
use gantry_runner_api::{Deps, Limits, admin_state_router, router};
use gantry_secrets::{
    FileSecrets, SESSION_COOKIE, SecretName, Secrets, Session, Signer, TokenFor, TokenKind,
};
use gantry_setup::{Clock, clock::ClockHand};
use gantry_store::{
    Expect, Outcome, Store, Stored, Write,
    config::{AdminKey, Role, SlugEntry, admin_key_digest, persons_key, place_of_persons_key},
    keys,
};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tower::ServiceExt as _;

pub(crate) const PROJECT: ProjectId = ProjectId(7);
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const SEALING_KEY: &str = "the sealing key";
const START: i64 = 1_767_323_045;

pub(crate) struct World {
    router: Router,
    pub(crate) store: Store,
    /// Where its records are: it counts what it is asked.
    pub(crate) table: LocalTable,
    pub(crate) queues: Arc<LocalQueues>,
    pub(crate) objects: Objects,
    pub(crate) clock: Clock,
    pub(crate) hand: ClockHand,
    signer: Signer,
    _folder: tempfile::TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::at("https://gantry.example.com").await
    }

    /// An installation with this address.
    pub(crate) async fn at(public_url: &str) -> Self {
        let table = LocalTable::in_memory().unwrap();
        let client = aws_sdk_dynamodb::Client::new(&table.config());
        let store = Store::new(client, "gantry".to_owned());
        store.create_table_if_missing().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::in_folder(&folder.path().join("objects")).unwrap();
        let secrets = Arc::new(FileSecrets::new(folder.path().join("secrets.json")));
        secrets.put(SecretName::SigningKeys, &"signing".into()).await.unwrap();
        secrets.put(SecretName::SealingKey, &SEALING_KEY.into()).await.unwrap();
        let (clock, hand) = Clock::stopped_at(Timestamp::from_second(START).unwrap());
        let now = clock.clone();
        let now: gantry_queue::Now = Arc::new(move || now.now());
        let queues = Arc::new(LocalQueues::in_memory(Arc::clone(&now)).unwrap());
        let deps = Deps {
            store: store.clone(),
            sender: Sender::new(queues.clone(), now),
            objects: objects.clone(),
            secrets,
            walls: Default::default(),
            clock: clock.clone(),
            public_url: public_url.to_owned(),
            identities: None,
            limits: Limits { plan: 1 << 20, state: 64 << 10, ..Limits::default() },
        };
        let router = router(deps.clone()).merge(admin_state_router(deps));
        let signer = Signer::new(&"signing".into());
        let world =
            Self { router, store, table, queues, objects, clock, hand, signer, _folder: folder };
        world.put(keys::stack_config(&stack_id()), &stack()).await;
        world.put(keys::integration(), &integration()).await;
        let entry = SlugEntry {
            stack: stack_id(),
            deleted: false,
            module: false,
            found_by: Default::default(),
        };
        world.put(keys::slug(&stack().slug), &entry).await;
        world
    }

    pub(crate) async fn put<T: Serialize>(&self, key: gantry_store::Key, value: &T) {
        let there: Option<Stored<serde_json::Value>> = self.store.get(&key).await.unwrap();
        let expect = there.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let write = Write::put(key, expect, value).unwrap();
        assert_eq!(self.store.write(vec![write]).await.unwrap(), Outcome::Written);
    }

    /// Makes a run that waits to be claimed for its plan.
    pub(crate) async fn run(&self, id: &str, run_type: RunType) -> Run {
        let run = run(id, run_type, self.clock.now());
        self.put(keys::run(&run.id), &run).await;
        run
    }

    pub(crate) async fn edit(&self, run: &RunId, edit: impl FnOnce(&mut Run)) -> Run {
        let mut run: Run = self.store.get(&keys::run(run)).await.unwrap().unwrap().value;
        edit(&mut run);
        self.put(keys::run(&run.id), &run).await;
        run
    }

    pub(crate) async fn set_variables(&self, variables: Vec<Variable>) {
        self.put(keys::stack_config(&stack_id()), &Stack { variables, ..stack() }).await;
    }

    pub(crate) fn claim_token(&self, run: &Run) -> String {
        self.token(run, TokenKind::Claim)
    }

    pub(crate) fn token(&self, run: &Run, kind: TokenKind) -> String {
        let token = TokenFor {
            kind,
            run: run.id.clone(),
            phase: run.phase,
            attempt: run.attempt,
            expires: Some(self.clock.now().as_second() + 600),
        };
        self.signer.sign(&token).expose_secret().to_owned()
    }

    pub(crate) async fn claim(&self, run: &Run, nonce: &str) -> Answer {
        let request = ClaimRequest {
            runner: "local-1".to_owned(),
            nonce: nonce.to_owned(),
            identity: None,
            tells_again: false,
            heeds_options: true,
        };
        self.json(Method::POST, "claim", &self.claim_token(run), &request).await
    }

    /// Claims a run's phase and moves the run as the scheduler would. The run's token.
    pub(crate) async fn claimed(&self, run: &Run) -> String {
        let answer: ClaimAnswer = self.claim(run, "n").await.expect(200).json();
        self.edit(&run.id, |run| {
            run.state = match run.phase {
                Phase::Plan => RunState::Planning,
                Phase::Apply => RunState::Applying,
            };
        })
        .await;
        answer.run_token
    }

    pub(crate) async fn json(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: &impl Serialize,
    ) -> Answer {
        self.send(method, path, token, serde_json::to_vec(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Method::GET, path, token, Vec::new()).await
    }

    /// A request to the runner API, or, with a path from the root, to the admin API.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Vec<u8>,
    ) -> Answer {
        let uri =
            if path.starts_with('/') { path.to_owned() } else { format!("/runner/v1/{path}") };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .unwrap();
        self.answer(request).await
    }

    /// A sign of life of a runner that speaks `version`.
    pub(crate) async fn send_version(&self, token: &str, version: &str) -> Answer {
        let request = Request::post("/runner/v1/beat")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(gantry_domain::protocol::VERSION_HEADER, version)
            .body(Body::empty())
            .unwrap();
        self.answer(request).await
    }

    /// A form of a page, from a session of this admin key.
    pub(crate) async fn form(&self, path: &str, key: &str, fields: &str) -> Answer {
        self.form_of(path, admin_key_digest(key), fields).await
    }

    /// A form of a page, from a session of this key's digest, or of a person.
    pub(crate) async fn form_of(&self, path: &str, session: String, fields: &str) -> Answer {
        let session = Session::begin(session, self.clock.now());
        let (cookie, token) = (session.to_cookie(&self.signer), session.form_token(&self.signer));
        let request = Request::post(path)
            .header(header::COOKIE, format!("{SESSION_COOKIE}={}", cookie.expose_secret()))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(format!("_token={}&{fields}", token.expose_secret())))
            .unwrap();
        self.answer(request).await
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) fn messages(&self, queue: QueueName) -> Vec<Message> {
        let all = self.queues.peek(queue).unwrap();
        all.iter().map(|m| Envelope::from_body(&m.body).unwrap().message).collect()
    }

    /// Uploads and commits a state under a lock.
    pub(crate) async fn write_state(&self, token: &str, lock: Option<&str>, body: &str) -> Answer {
        let digest = digest(body);
        let path = format!("state/upload?digest={digest}");
        self.send(Method::PUT, &path, token, body.into()).await.expect(204);
        let lock_id = lock.map(str::to_owned);
        let commit = StateCommit { lock_id, digest, rescued: false };
        self.json(Method::POST, "state", token, &commit).await
    }

    pub(crate) async fn lock(&self, token: &str, id: &str) -> Answer {
        self.json(Method::POST, "state/lock", token, &lock_info(id)).await
    }

    /// An admin key with this role.
    pub(crate) async fn admin(&self, role: Role) -> String {
        let secret = format!("key of {role:?}");
        let key =
            AdminKey { name: format!("{role:?}"), role, pool: None, created_at: self.clock.now() };
        self.put(keys::admin_key(&admin_key_digest(&secret)), &key).await;
        secret
    }

    /// Ada, an admin who signed in with GitLab: her session, and a key of hers.
    pub(crate) async fn ada(&self) -> (String, String) {
        let (id, now) = (UserId(7), self.clock.now());
        let person = json!({
            "id": id, "generation": 1, "username": "ada", "name": "Ada Lovelace", "admin": true,
            "levels": {}, "read_at": now,
        });
        self.put(keys::person(id), &person).await;
        let session = json!({
            "person": id, "generation": 1, "begun_at": now, "tokens": "",
            "expires_at": now + jiff::SignedDuration::from_hours(12),
        });
        let (at_pages, key) = (keys::session(id, "browser"), persons_key(id, "5ecret"));
        for place in [at_pages.clone(), place_of_persons_key(&key).unwrap()] {
            self.put(place, &session).await;
        }
        (at_pages.sk, key)
    }
}

pub(crate) fn digest(body: &str) -> String {
    hex::encode(Sha256::digest(body))
}

pub(crate) fn state_body(serial: u64, lineage: &str) -> String {
    json!({"version": 4, "serial": serial, "lineage": lineage, "resources": [
        {"mode": "managed", "type": "terraform_data", "name": "a", "instances": [{}]},
    ]})
    .to_string()
}

pub(crate) fn lock_info(id: &str) -> LockInfo {
    LockInfo {
        id: id.to_owned(),
        operation: "OperationTypeApply".to_owned(),
        info: String::new(),
        who: "root@runner".to_owned(),
        version: "1.15.0".to_owned(),
        created: "2026-01-02T03:04:05Z".to_owned(),
        path: String::new(),
    }
}

pub(crate) fn stack_id() -> StackId {
    "s1".parse().unwrap()
}

fn integration() -> Integration {
    Integration {
        api_host: "https://gitlab.example.com".to_owned(),
        generation: 1,
        linked: true,
        server_version: None,
        bot: BotUser { id: UserId(1), username: "gantry".to_owned() },
        previous_bot: None,
        token_scopes: vec![],
        token_expires_on: None,
        saved_at: Timestamp::UNIX_EPOCH,
        installation: "one".to_owned(),
    }
}

pub(crate) fn stack() -> Stack {
    Stack {
        id: stack_id(),
        slug: "network".parse().unwrap(),
        settings: Settings {
            name: "Network".to_owned(),
            project_root: "infra".to_owned(),
            manage_state: true,
            ..Settings::default()
        },
        repository: Repository::Gitlab(PROJECT),
        project_path: "group/network".to_owned(),
        generation: 1,
        project_is_public: false,
        branch: "main".to_owned(),
        variables: vec![],
        retired: vec![],
        created_at: Timestamp::UNIX_EPOCH,
        deleted_at: None,
        begins_at: None,
        state_kept_until: None,
        module: None,
    }
}

fn run(id: &str, run_type: RunType, now: Timestamp) -> Run {
    Run {
        role: None,
        id: id.parse().unwrap(),
        stack: stack_id(),
        slug: stack().slug,
        repository: Repository::Gitlab(PROJECT),
        run_type,
        number: 1,
        key: format!("key of {id}"),
        commit: COMMIT.parse().unwrap(),
        git_ref: "main".to_owned(),
        tracked_branch: "main".to_owned(),
        fork_of: None,
        stacks_touched: 1,
        event: None,
        reason: "a push".to_owned(),
        by: None,
        state: RunState::Preparing,
        history: vec![],
        interests: Default::default(),
        phase: Phase::Plan,
        attempt: 1,
        last_report: 0,
        runner: None,
        stop_asked: None,
        over_time: false,
        delta: None,
        partial: false,
        failed_checks: 0,
        applied: false,
        plan_digest: None,
        ending: None,
        lost: false,
        doubt: None,
        outstanding: Default::default(),
        position: Position::Slot,
        autodeploy: false,
        created_at: now,
        pool: None,
        asked_at: None,
        since: now,
        handed_out_at: Some(now),
        unclaimed: 0,
        module: false,
        test: None,
        version: None,
        verdict: None,
        left_behind: false,
        warnings: Vec::new(),
        commit_line: Default::default(),
        upload: None,
        started_by: None,
        reviews: Vec::new(),
        approval: None,
        held: false,
        not_started: None,
        unpushed: None,
        options: PlanOptions::default(),
        tolerated: 0,
    }
}
