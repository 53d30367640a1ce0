//! People of GitLab at the pages: how they come to sign in there, and how time passes for them.

use crate::support::{Page, Screen, World};
use gantry_fake_gitlab::{Application, Person};
use gantry_store::{Outcome, Write, config::PersonSession, keys};
use std::time::Duration;

/// A right that is lost in GitLab is lost after this at the latest.
pub(crate) const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);

impl World {
    /// One with a stack, in which people can sign in.
    pub(crate) async fn with_people() -> (Self, Application) {
        let w = Box::pin(Self::with_a_stack()).await;
        let admin = w.browser(Screen::default()).await;
        admin.sign_in(&w.key).await;
        let application = w.let_people_sign_in(&admin).await;
        admin.close().await;
        (w, application)
    }

    /// Lets people sign in, by hand at an admin's page.
    pub(crate) async fn let_people_sign_in(&self, admin: &Page) -> Application {
        admin.go("/gitlab").await;
        admin.press("Set it up").await;
        let redirect = admin.find("#redirect").await.text().await.unwrap();
        let scopes = "openid profile read_api";
        let application = self.gitlab.create_application("Gantry", &redirect, scopes, true);
        let application = application.unwrap();
        admin.fill("application_id", &application.application_id).await;
        admin.fill("secret", &application.secret).await;
        admin.press("Save").await;
        admin.wait_for("Saved. GitLab accepts the application's ID and secret.").await;
        application
    }

    /// Somebody with this level in the project.
    pub(crate) fn member(&self, name: &str, level: u8) -> Person {
        let person = self.gitlab.person(name);
        self.gitlab.set_member(self.project, person.id(), level);
        person
    }

    /// The browser of somebody who has signed in with GitLab.
    pub(crate) async fn browser_of(&self, name: &str, screen: Screen) -> Page {
        let page = self.browser(screen).await;
        page.go("/sign-in").await;
        page.sign_in_with_gitlab(name).await;
        page
    }

    /// Lets time pass for all sessions of people: the host has the machine's clock, so it is what is
    /// kept of them that becomes older.
    pub(crate) async fn let_pass(&self, time: Duration) {
        let store = &self.host.system.store;
        for found in store.query_all::<PersonSession>(keys::SESSIONS, "").await.unwrap() {
            let mut found = Some(found);
            while let Some(before) = found.take() {
                let session = &before.value;
                let older = PersonSession {
                    begun_at: session.begun_at - time,
                    expires_at: session.expires_at - time,
                    asking_until: session.asking_until.map(|until| until - time),
                    asked_at: session.asked_at.map(|asked| asked - time),
                    ..session.clone()
                };
                let write = Write::put(before.key.clone(), before.unchanged(), &older).unwrap();
                // A page that is open may have asked GitLab meanwhile.
                if store.write(vec![write]).await.unwrap() == Outcome::Stale {
                    found = store.get(&before.key).await.unwrap();
                }
            }
        }
    }
}

impl Page {
    /// Signs in at a page that offers it, and goes on to where that leads.
    pub(crate) async fn sign_in_with_gitlab(&self, name: &str) {
        self.press("Sign in with GitLab").await;
        self.authorize(name).await;
        self.find("header .who").await;
    }

    /// On GitLab's page: says who it is, and lets Gantry know.
    pub(crate) async fn authorize(&self, name: &str) {
        self.wait_for("Gantry asks for access").await;
        self.click(&format!("main option[value='{name}']")).await;
        self.press("Authorize").await;
    }

    /// Makes a key on the account's page, with GitLab's consent; the key.
    pub(crate) async fn make_key(&self, person: &str, name: &str) -> String {
        self.go("/account").await;
        self.fill("name", name).await;
        self.press("Create key").await;
        self.wait_for("One more step").await;
        self.press("Continue to GitLab").await;
        self.authorize(person).await;
        self.wait_for("Copy it now: it won't be shown again.").await;
        self.find("#new-key").await.text().await.unwrap()
    }

    /// Who is signed in.
    pub(crate) async fn who(&self) -> String {
        self.find("header .who").await.text().await.unwrap()
    }

    pub(crate) async fn sign_out(&self) {
        self.click("header form.out button").await;
        self.wait_at("/sign-in").await;
    }

    /// Opens the run that needs confirmation, as soon as there is one; its address.
    pub(crate) async fn open_waiting(&self) -> String {
        self.go("/runs?state=unconfirmed").await;
        self.reload_until("network #").await;
        self.click("main tbody a").await;
        self.wait_at("/runs/").await;
        self.place().await
    }
}
