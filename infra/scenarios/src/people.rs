//! People of GitLab who use Gantry. What they ask is sent as settings sends it for them; that settings
//! lets them is told by its own tests.

use crate::World;
use gantry_domain::{
    EventId, GroupId, UserId,
    approval::{Person, VerdictState},
    rights::Levels,
    run::Run,
    stack::{Settings, Stack},
};
use gantry_queue::{Command, StackMessage};
use gantry_store::{
    Expect, Outcome, Stored, Write,
    config::{Person as Known, SignIn},
    keys,
    scheduler::CommandOutcome,
};

impl World {
    /// From now on people can sign in with GitLab; Maintainers of these groups are admins.
    pub async fn people_sign_in(&self, admin_groups: &[&str]) {
        let linked = self.system.store.integration().await.unwrap().unwrap().value;
        let settings = SignIn {
            application: "0af3".to_owned(),
            secret: String::new(),
            generation: linked.generation,
            admin_groups: admin_groups.iter().map(|&group| group.to_owned()).collect(),
            admin_group_ids: Default::default(),
            levels: Levels::default(),
            saved_at: self.now(),
            works_since: None,
            run_links_off: false,
        };
        self.write(Write::put(keys::sign_in(), Expect::Any, &settings).unwrap()).await;
    }

    /// Gantry knows which group of GitLab is meant by a path whose Maintainers are admins.
    pub async fn admin_group_is(&self, path: &str, group: GroupId) {
        let found = self.system.store.get::<SignIn>(&keys::sign_in()).await.unwrap().unwrap();
        let mut settings = found.value.clone();
        settings.admin_group_ids.insert(path.to_owned(), group);
        self.write(Write::put(found.key.clone(), found.unchanged(), &settings).unwrap()).await;
    }

    /// An admin signs in: their own token has shown what they are.
    pub async fn admin_signs_in(&self, username: &str) {
        let linked = self.system.store.integration().await.unwrap().unwrap().value;
        let Person { id, username, name } = self.person(username);
        let known = Known {
            id,
            generation: linked.generation,
            username,
            name,
            admin: true,
            levels: Default::default(),
            read_at: self.now(),
        };
        self.write(Write::put(keys::person(id), Expect::Any, &known).unwrap()).await;
    }

    /// What the stack's settings say from now on.
    pub async fn change_settings(&self, slug: &str, change: impl FnOnce(&mut Settings)) {
        let found = self.stack_of(slug).await;
        let mut stack = found.value.clone();
        change(&mut stack.settings);
        self.write(Write::put(found.key.clone(), found.unchanged(), &stack).unwrap()).await;
    }

    /// A person asks something of a stack or a run of it; nobody has handled it yet.
    pub async fn send_for(&mut self, username: &str, slug: &str, command: Command) -> EventId {
        let person = self.person(username);
        self.send(username, Some(person), slug, command).await
    }

    /// The same for a key that is nobody's.
    pub async fn send_with_key(&mut self, name: &str, slug: &str, command: Command) -> EventId {
        self.send(name, None, slug, command).await
    }

    /// What became of it: whether it was carried out, and what was said.
    pub async fn outcome(&self, slug: &str, request: &EventId) -> (bool, String) {
        let key = keys::command(&self.stack_of(slug).await.value.id, request);
        match self.system.store.get::<CommandOutcome>(&key).await.unwrap() {
            Some(found) => (found.value.done, found.value.message),
            None => panic!("nobody has handled it:\n{}", self.history()),
        }
    }

    /// A person asks something, and everything happens that follows.
    pub async fn person_asks(
        &mut self,
        username: &str,
        slug: &str,
        command: Command,
    ) -> (bool, String) {
        let request = self.send_for(username, slug, command).await;
        self.settle().await;
        self.outcome(slug, &request).await
    }

    /// The same for a key that is nobody's.
    pub async fn key_asks(&mut self, name: &str, slug: &str, command: Command) -> (bool, String) {
        let request = self.send_with_key(name, slug, command).await;
        self.settle().await;
        self.outcome(slug, &request).await
    }

    /// What is kept with a run of the rules about who confirms.
    pub async fn rules_of(&self, run: &str) -> Option<(VerdictState, String)> {
        let found = self.system.store.get::<Run>(&keys::run(&run.parse().unwrap())).await.unwrap();
        found.unwrap().value.approval.map(|last| (last.state, last.message))
    }

    async fn send(
        &mut self,
        actor: &str,
        person: Option<Person>,
        slug: &str,
        command: Command,
    ) -> EventId {
        self.take_over().await;
        let stack = self.stack_of(slug).await.value.id;
        let number = self.told.len().to_string();
        let request = EventId::derive("request", &[actor, &number]);
        let (actor, asked) = (actor.to_owned(), request.clone());
        let message = StackMessage::Command { stack, request: asked, actor, person, command };
        self.system.sender.send(message).await.unwrap();
        request
    }

    fn person(&self, username: &str) -> Person {
        let id = UserId(self.gitlab.create_user(username).0);
        Person { id, username: username.to_owned(), name: String::new() }
    }

    async fn stack_of(&self, slug: &str) -> Stored<Stack> {
        let found = self.system.store.stack_by_slug(&slug.parse().unwrap()).await;
        found.unwrap().unwrap()
    }

    async fn write(&self, write: Write) {
        assert_eq!(self.system.store.write(vec![write]).await.unwrap(), Outcome::Written);
    }
}
