//! Who may do what: every route is asked by everybody, and what comes of it is compared with the
//! tables in `docs/rights.md`.

use crate::{
    browser::{Browser, FORM, hidden},
    people::{key_named, key_of, member, offer, offered, session_of, sign_in},
    plans::asked,
    support::{COMMIT, Got, World},
};
use axum::http::Method;
use bytes::Bytes;
use gantry_domain::{
    RunId, TargetName,
    event::{EventRecord, EventSource},
    ids::short_digest,
    plan::{Change, Delta},
    rights::{Level, StackLevels},
    run::{Run, RunState, RunType},
    stack::Stack,
};
use gantry_queue::{FeedbackMessage, QueueName};
use gantry_settings::{ServedRoute, served};
use gantry_store::{
    config::{SlugEntry, admin_key_digest},
    keys,
    notifications::{Delivery, DeliveryState, NotificationTarget},
    scheduler::{Receipt, VersionRecord, VersionState},
};
use serde_json::{Value, json};
use std::{fmt::Write as _, fs};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rights.md");
const BEGIN: &str = "<!-- tables: a test writes them -->\n";
const END: &str = "<!-- end of tables -->\n";
/// The module's only version.
const VERSION: &str = "1.0.0";
const EVENT: &str = "a-push";

/// Somebody who asks.
struct Somebody {
    /// As the head of the tables has them.
    name: &'static str,
    /// Their session; empty of nobody.
    cookie: String,
    /// What its forms carry.
    token: String,
    /// Their key; none of nobody.
    key: Option<String>,
}

impl Somebody {
    async fn of(name: &'static str, browser: Browser<'_>, key: String) -> Self {
        let page = browser.get("/events").await.text;
        Self { name, token: hidden(&page, "_token"), cookie: browser.cookie, key: Some(key) }
    }

    async fn ask(&self, w: &World, method: &Method, address: &str, fields: &[(&str, &str)]) -> Got {
        if is_for_programs(address) {
            let fields: Value =
                fields.iter().map(|(name, value)| (*name, Value::from(*value))).collect();
            let body = if method == Method::GET { String::new() } else { fields.to_string() };
            return w.ask(method.as_str(), address, self.key.as_deref(), &[], body).await;
        }
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let form = form.append_pair("_token", &self.token).extend_pairs(fields).finish();
        let headers = [("cookie", self.cookie.as_str()), ("content-type", FORM)];
        let body = if method == Method::GET { String::new() } else { form };
        w.ask(method.as_str(), address, None, &headers, body).await
    }
}

/// Who asks there has a key; elsewhere, a browser's session.
fn is_for_programs(path: &str) -> bool {
    path.starts_with("/api/") || path.starts_with("/registry/")
}

/// What there is to be asked for.
struct Things {
    stack: Stack,
    module: Stack,
    deploy: Run,
    preview: Run,
    /// The ID of a key that nobody uses.
    key: String,
    /// The IDs of somebody else, and of a session of theirs.
    person: String,
    session: String,
    /// Somebody who is notified, and a message to them.
    target: String,
    delivery: String,
}

/// A world with all who ask.
struct Everybody {
    w: World,
    all: Vec<Somebody>,
    things: Things,
    /// The session of somebody who does not ask.
    other: String,
    /// How often there are the same things.
    copies: u32,
}

impl Everybody {
    async fn new() -> Self {
        let (w, application) = offered().await;
        let group = w.gitlab.create_group("acme/platform");
        let groups = json!({ "admin_groups": ["acme/platform"] });
        offer(&w, &application, groups).await.expect(200);
        let things = things(&w).await;
        let nobody =
            Somebody { name: "nobody", cookie: String::new(), token: String::new(), key: None };
        let mut all = vec![nobody];
        // People come first: what they do may end what keys work with, and not the other way round.
        for (name, level) in
            [("none", 0), ("Reporter", 20), ("Developer", 30), ("Maintainer", 40), ("Owner", 50)]
        {
            let browser = sign_in(&w, &member(&w, &name.to_lowercase(), level)).await;
            let key = key_of(&browser).await;
            all.push(Somebody::of(name, browser, key).await);
        }
        let admin = w.gitlab.person("grace");
        w.gitlab.set_group_member(group, admin.id(), 40);
        let browser = sign_in(&w, &admin).await;
        let key = key_of(&browser).await;
        all.push(Somebody::of("an admin", browser, key).await);
        for role in ["worker", "read", "deploy", "admin"] {
            let mut body = json!({ "name": role, "role": role });
            if role == "worker" {
                body["pool"] = "on-premises".into();
            }
            let made = w.post("/api/v1/keys", body).await.expect(201);
            let key = made.body["key"].as_str().unwrap().to_owned();
            let browser = Browser::sign_in(&w, &key).await;
            all.push(Somebody::of(role, browser, key).await);
        }
        let other = sign_in(&w, &w.gitlab.person("zoe")).await;
        let person = session_of(&other).split('#').next().unwrap().to_owned();
        let (other, things) = (other.cookie, Things { person, ..things });
        Self { w, all, things, other, copies: 0 }
    }

    /// What each of them gets, in a row of the table.
    async fn row(&mut self, route: &ServedRoute, way: &Way) -> String {
        let mut answers = Vec::new();
        if route.path.ends_with("/redrive") {
            self.w.give_up(QueueName::Events, "the table was gone");
        }
        for place in 0..self.all.len() {
            let changes = route.method != Method::GET;
            let own = if changes { Some(self.another(route.path).await) } else { None };
            let things = own.as_ref().unwrap_or(&self.things);
            let address = address(route.path, things, way);
            let mut fields: Vec<(&str, &str)> = way.fields.clone();
            if address == "/sign-in" {
                fields.push(("key", self.w.admin.as_str()));
            }
            let got = self.all[place].ask(&self.w, &route.method, &address, &fields).await;
            assert_ne!(got.status, 500, "{} {address}: {}", route.method, got.text);
            answers.push((self.all[place].name, answer(&got)));
        }
        let of = |name: &str| {
            let found = answers.iter().find(|(of, _)| *of == name);
            found.map_or("", |(_, answer)| *answer).to_owned()
        };
        let what = [route.what, way.of].into_iter().filter(|words| !words.is_empty());
        let what = what.collect::<Vec<_>>().join(": ");
        let cells = COLUMNS.map(|(name, _)| of(name));
        format!("| `{} {}` | {what} | {} |", route.method, route.path, cells.join(" | "))
    }

    /// The same things once more, for a request that may change them.
    async fn another(&mut self, path: &str) -> Things {
        self.copies += 1;
        let (w, of, number) = (&self.w, &self.things, self.copies);
        let stack = copy_of_stack(w, &of.stack, number).await;
        let module = copy_of_stack(w, &of.module, number).await;
        make_version(w, &module, &of.deploy.id).await;
        Things {
            deploy: copy_of_run(w, &of.deploy, &stack).await,
            preview: copy_of_run(w, &of.preview, &stack).await,
            key: spare_key(w, number).await,
            person: of.person.clone(),
            session: match path.contains("/sessions/") {
                true => self.spare_session(number).await,
                false => String::new(),
            },
            target: target(w, &format!("ops-{number}")).await,
            delivery: of.delivery.clone(),
            stack,
            module,
        }
    }

    /// A key of somebody who does not ask, as lists name it.
    async fn spare_session(&self, number: u32) -> String {
        let name = format!("spare-{number}");
        key_named(&Browser { w: &self.w, cookie: self.other.clone() }, &name).await;
        let list = self.w.get("/api/v1/sessions").await.expect(200).body;
        let mut all = list["sessions"].as_array().unwrap().iter();
        let found = all.find(|session| session["key"] == name.as_str()).unwrap();
        found["id"].as_str().unwrap().to_owned()
    }

    /// Everybody can still do what they could: what was asked has ended nobody's session or key.
    async fn is_intact(&self) -> bool {
        for who in self.all.iter().filter(|who| who.key.is_some()) {
            for list in ["/events", "/api/v1/events"] {
                let answer = answer(&who.ask(&self.w, &Method::GET, list, &[]).await);
                if answer == "sign in" {
                    return false;
                }
            }
        }
        let linked = self.w.get("/api/v1/integration").await.expect(200).body["linked"].clone();
        let offered = self.w.get("/api/v1/sign-in").await.expect(200).body["offered"].clone();
        linked == true && offered == true
    }
}

/// A stack, a module, and what belongs to them, as an installation has it.
async fn things(w: &World) -> Things {
    let stack = w.stack().await;
    let module = json!({
        "project": "acme/network", "name": "vpc", "slug": "vpc", "terraform_provider": "aws",
    });
    w.post("/api/v1/modules", module).await.expect(201);
    let module = w.stored_stack("vpc").await;
    // Plans are compared with those before them.
    let mut runs = Vec::new();
    for (key, run_type) in
        [("first", RunType::Tracked), ("deploy", RunType::Tracked), ("preview", RunType::Proposed)]
    {
        let mut run = w.run(&stack, key, RunState::Unconfirmed).await;
        run.run_type = run_type;
        w.save_run(&run).await;
        let delta = Delta { add: 1, ..Delta::default() };
        let change = Change { v: 1, delta, ..Change::default() };
        let body = Bytes::from(serde_json::to_vec(&change).unwrap());
        w.objects.put(&gantry_objects::keys::change(&run.id, run.attempt), body).await.unwrap();
        runs.push(run);
    }
    let [_, deploy, preview]: [Run; 3] = runs.try_into().unwrap();
    make_version(w, &module, &deploy.id).await;
    let now = w.clock.now();
    let record = EventRecord {
        id: EVENT.parse().unwrap(),
        source: EventSource::Webhook,
        project: stack.project(),
        what: "push to main".to_owned(),
        received_at: now,
        outcome: None,
    };
    w.put(keys::event(now, &record.id), &record).await;
    w.put(keys::receipt(&record.id), &Receipt { at: now }).await;
    let state = json!({
        "number": 1, "serial": 1, "lineage": "l", "digest": "d", "object": "none", "size": 1,
        "resources": 1, "run": null, "by": "Ada", "rescued": false, "at": now,
    });
    w.put(keys::state_version(&stack.id, 1), &state).await;
    Things {
        key: spare_key(w, 0).await,
        person: String::new(),
        session: String::new(),
        target: target(w, "ops").await,
        delivery: "failed.r-1".to_owned(),
        stack,
        module,
        deploy,
        preview,
    }
}

/// Somebody who is notified, of this name, to whom a message was sent.
async fn target(w: &World, name: &str) -> String {
    let (to, now): (TargetName, _) = (name.parse().unwrap(), w.clock.now());
    let first = "ops".parse().unwrap();
    match w.store.notification_target(&first).await.unwrap() {
        // More of them than can be made.
        Some(found) => {
            let copy = NotificationTarget { name: to.clone(), ..found.value };
            w.put(keys::notification_target(&to), &copy).await;
        }
        None => {
            let url = "https://hooks.example.com/x";
            let body = json!({ "name": name, "kind": "webhook", "url": url });
            w.post("/api/v1/notifications", body).await.expect(201);
        }
    }
    let delivery = Delivery::new("failed.r-1".parse().unwrap(), now);
    let delivery = delivery.ended(DeliveryState::GivenUp, None);
    let listed = keys::delivery(&to, now, &delivery.about);
    w.put(listed, &delivery).await;
    let nudge = FeedbackMessage::Notify { to, about: delivery.about.clone(), want: 0 };
    w.put(keys::feedback_memory(&nudge.target()), &delivery).await;
    name.to_owned()
}

async fn make_version(w: &World, module: &Stack, run: &RunId) {
    let record = VersionRecord {
        version: VERSION.parse().unwrap(),
        state: VersionState::Active,
        commit: COMMIT.parse().unwrap(),
        run: run.clone(),
        tag: None,
        at: w.clock.now(),
        digest: Some("abc".to_owned()),
        yanked: None,
    };
    w.put(keys::version(&module.id, &record.version), &record).await;
}

async fn copy_of_stack(w: &World, of: &Stack, number: u32) -> Stack {
    let slug = format!("{}-{number}", of.slug);
    let id = short_digest(&[&slug]).parse().unwrap();
    let stack = Stack { id, slug: slug.parse().unwrap(), ..of.clone() };
    w.put(keys::slug(&stack.slug), &SlugEntry::of(&stack)).await;
    w.put(keys::stack_config(&stack.id), &stack).await;
    stack
}

async fn copy_of_run(w: &World, of: &Run, stack: &Stack) -> Run {
    let id = RunId::derive(&stack.id, &of.key);
    let run = Run { id, stack: stack.id.clone(), slug: stack.slug.clone(), ..of.clone() };
    w.save_run(&run).await;
    run
}

async fn spare_key(w: &World, number: u32) -> String {
    let name = format!("spare-{number}");
    let digest = admin_key_digest(&name);
    let key = json!({ "name": name, "role": "read", "created_at": w.clock.now() });
    w.put(keys::admin_key(&digest), &key).await;
    digest[..16].to_owned()
}

/// A way to use a route.
#[derive(Default)]
struct Way {
    /// What it asks for then.
    of: &'static str,
    /// It is about a preview, where it is about a run.
    is_preview: bool,
    fields: Vec<(&'static str, &'static str)>,
}

/// The ways to use a route: its rights may differ.
fn ways(route: &ServedRoute) -> Vec<Way> {
    let of_runs = |end: &str| route.path.ends_with(&format!("/runs/{{id}}/{end}"));
    if route.path.ends_with("/stacks/{slug}/runs") && route.method == Method::POST {
        let preview = Way { of: "a preview", fields: vec![("type", "proposed")], ..Way::default() };
        let deploy = Way { of: "a deploy", fields: vec![("type", "tracked")], ..Way::default() };
        return vec![preview, deploy];
    }
    if of_runs("stop") || of_runs("retry") {
        let preview = Way { of: "a preview", is_preview: true, ..Way::default() };
        return vec![preview, Way { of: "a deploy", ..Way::default() }];
    }
    let fields = match route.path {
        "/modules/{slug}/yank" => vec![("version", VERSION)],
        "/notifications/{target}/send" => vec![("delivery", "failed.r-1")],
        _ => Vec::new(),
    };
    vec![Way { fields, ..Way::default() }]
}

/// A route's address: what it names is there, so that nothing but a right is missing.
fn address(path: &str, things: &Things, way: &Way) -> String {
    let run = if way.is_preview { &things.preview } else { &things.deploy };
    let name = |name: &str| match name {
        "slug" if path.contains("/modules/") => things.module.slug.to_string(),
        "slug" => things.stack.slug.to_string(),
        "id" if path.contains("/runs/") => run.id.to_string(),
        "id" if path.contains("/events/") => EVENT.to_owned(),
        "id" if path.contains("/keys/") => things.key.clone(),
        "id" if path.contains("/sessions/") => things.session.clone(),
        "target" => things.target.clone(),
        "delivery" => things.delivery.clone(),
        "name" if path.contains("/assets/") => "gantry.css".to_owned(),
        "namespace" => things.module.module.as_ref().unwrap().namespace.clone(),
        "name" => things.module.settings.name.clone(),
        "provider" => things.module.module.as_ref().unwrap().terraform_provider.clone(),
        "version" => VERSION.to_owned(),
        "request" => "a-command".to_owned(),
        "digest" => "0".repeat(64),
        "module" => things.module.id.to_string(),
        "file" => "abc.tar.gz".to_owned(),
        other => panic!("{path}: say here what to ask for as {other}"),
    };
    let part = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        Some(of) => name(of),
        None => part.to_owned(),
    };
    let filled = path.split('/').map(part).collect::<Vec<_>>().join("/");
    let query = match path {
        "/stacks/{slug}/restore" => "?version=1".to_owned(),
        "/operations/redrive" => "?queue=events".to_owned(),
        "/keys/delete" => format!("?key={}", things.key),
        "/account/end" => "?others=on".to_owned(),
        "/people/end" => format!("?person={}", things.person),
        _ => String::new(),
    };
    filled + &query
}

/// What an answer means for who asked.
fn answer(got: &Got) -> &'static str {
    let to = got.headers.get("location").and_then(|to| to.to_str().ok()).unwrap_or_default();
    match got.status {
        401 => "sign in",
        303 if to.contains("sign-in?next=") => "sign in",
        403 => "no",
        404 => "hidden",
        _ => "yes",
    }
}

/// Who asks, and the head of their column.
const COLUMNS: [(&str, &str); 11] = [
    ("nobody", "nobody"),
    ("worker", "key: worker"),
    ("read", "key: read"),
    ("deploy", "key: deploy"),
    ("admin", "key: admin"),
    ("none", "no member"),
    ("Reporter", "Reporter"),
    ("Developer", "Developer"),
    ("Maintainer", "Maintainer"),
    ("Owner", "Owner"),
    ("an admin", "person: admin"),
];

/// The tables, as everybody finds them.
async fn tables() -> String {
    let mut everybody = Everybody::new().await;
    let mut text = String::new();
    for (title, of_programs) in [("With a key", true), ("In a browser", false)] {
        let heads = COLUMNS.map(|(_, head)| head);
        let lines = "|---".repeat(COLUMNS.len() + 2);
        let head = format!("| request | what | {} |\n{lines}|", heads.join(" | "));
        writeln!(text, "### {title}\n\n{head}").unwrap();
        for route in served().iter().filter(|of| is_for_programs(of.path) == of_programs) {
            for way in ways(route) {
                writeln!(text, "{}", everybody.row(route, &way).await).unwrap();
                if route.method != Method::GET && !everybody.is_intact().await {
                    everybody = Everybody::new().await;
                }
            }
        }
        text.push('\n');
    }
    text
}

#[tokio::test]
async fn everybody_may_what_the_documentation_says() {
    let tables = Box::pin(tables()).await;
    let docs = fs::read_to_string(DOCS).unwrap();
    let (before, rest) = docs.split_once(BEGIN).unwrap();
    let (documented, after) = rest.split_once(END).unwrap();
    if documented.trim() == tables.trim() {
        return;
    }
    if asked("GANTRY_WRITE_DOCS") == "1" {
        fs::write(DOCS, format!("{before}{BEGIN}\n{tables}{END}{after}")).unwrap();
        return;
    }
    let stale = documented.lines().filter(|line| !tables.contains(*line)).collect::<Vec<_>>();
    panic!(
        "docs/rights.md says what is not so:\n{}\nThis is so:\n\n{tables}\nLook at the difference \
         after GANTRY_WRITE_DOCS=1 make test ARGS=\"--test suite -- rights\"",
        stale.join("\n")
    );
}

/// The same stack, which asks for more than the installation.
async fn asks_for(w: &World, stack: &Stack, levels: StackLevels) {
    let mut asking = w.stored_stack(stack.slug.as_str()).await;
    asking.settings.levels = levels;
    w.put(keys::stack_config(&stack.id), &asking).await;
}

#[tokio::test]
async fn a_stack_may_ask_for_more_than_the_installation() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    let run = w.run(&stack, "one", RunState::Unconfirmed).await;
    let page = format!("/runs/{}", run.id);
    let confirm = format!("{page}/confirm");
    let developer = sign_in(&w, &member(&w, "dev", 30)).await;
    let maintainer = sign_in(&w, &member(&w, "mia", 40)).await;
    let owner = sign_in(&w, &member(&w, "olga", 50)).await;
    let deploy = Browser::sign_in(&w, &w.key("deploy").await).await;
    let previews = "/stacks/network/runs";
    maintainer.send(&confirm, "").await.expect(303);
    developer.send(previews, "type=proposed").await.expect(303);

    let levels = StackLevels { deploy: Some(Level::Owner), ..StackLevels::default() };
    asks_for(&w, &stack, levels).await;
    let got = maintainer.send(&confirm, "").await.expect(403);
    let said = "In GitLab you are Maintainer in this project; this requires Owner, because the \
                stack asks for it.";
    assert!(got.text.contains(said), "{}", got.text);
    // Also where the route asks for less than what is started.
    let got = maintainer.send(previews, "type=tracked").await.expect(403);
    assert!(got.text.contains("because the stack asks for it"), "{}", got.text);
    developer.send(previews, "type=proposed").await.expect(303);
    owner.send(&confirm, "").await.expect(303);
    deploy.send(&confirm, "").await.expect(303);
    // What nobody here may is not offered.
    for (browser, may) in [(&maintainer, false), (&owner, true), (&deploy, true)] {
        let run = browser.get(&page).await.expect(200).text;
        assert_eq!(run.contains("Confirm and apply"), may, "{run}");
        let stack = browser.get("/stacks/network").await.expect(200).text;
        assert_eq!(stack.contains("<option value=\"tracked\">"), may, "{stack}");
    }

    // What it asks for below the installation's counts for nothing, and everybody still sees it.
    let lower = Some(Level::Reporter);
    let levels = StackLevels { preview: Some(Level::Owner), deploy: lower, edit: lower };
    asks_for(&w, &stack, levels).await;
    developer.get("/stacks/network").await.expect(200);
    developer.send(previews, "type=proposed").await.expect(403);
    maintainer.send(&confirm, "").await.expect(403);
    maintainer.get("/stacks/network/edit").await.expect(403);
    owner.get("/stacks/network/edit").await.expect(200);
}

#[tokio::test]
async fn what_takes_a_level_here_says_so_without_naming_the_stack() {
    let (w, _) = offered().await;
    let stack = w.stack().await;
    asks_for(&w, &stack, StackLevels { edit: Some(Level::Owner), ..StackLevels::default() }).await;
    let maintainer = sign_in(&w, &member(&w, "mia", 40)).await;
    let got = maintainer.get("/stacks/network/edit").await.expect(403);
    assert!(got.text.contains("this requires Owner. Somebody who is"), "{}", got.text);
}
