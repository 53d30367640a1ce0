//! What every page has around it: head, navigation, who is signed in; and the page of a refusal.

use super::{
    guard::{self, Viewer, root_of},
    respond,
};
use askama::Template;
use axum::{
    extract::{FromRequestParts, MatchedPath},
    http::request::Parts,
    response::Response,
};
use gantry_store::config::Role;
use std::convert::Infallible;

/// The frame of a page.
#[derive(Debug, Clone)]
pub(super) struct Shell {
    /// The way to `/`, relative to the page.
    pub(super) root: String,
    pub(super) title: String,
    /// The part of the navigation that the page belongs to.
    pub(super) here: &'static str,
    /// Nobody on the pages that need no session.
    pub(super) who: Option<Who>,
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) form_token: String,
}

impl Who {
    pub(super) fn of(viewer: &Viewer) -> Self {
        Self {
            name: viewer.caller.name.clone(),
            role: viewer.caller.role,
            form_token: viewer.form_token.clone(),
        }
    }

    pub(super) fn is_admin(&self) -> bool {
        self.role >= Role::Admin
    }

    pub(super) fn may_deploy(&self) -> bool {
        self.role >= Role::Deploy
    }
}

impl Shell {
    pub(super) fn is_admin(&self) -> bool {
        self.who.as_ref().is_some_and(Who::is_admin)
    }

    pub(super) fn may_deploy(&self) -> bool {
        self.who.as_ref().is_some_and(Who::may_deploy)
    }

    /// The hidden field that every form carries.
    pub(super) fn form_token(&self) -> &str {
        self.who.as_ref().map_or("", |who| &who.form_token)
    }
}

/// What a handler needs to put a frame around its page.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(super) root: String,
    pub(super) viewer: Option<Viewer>,
}

impl Frame {
    pub(super) fn shell(&self, here: &'static str, title: impl Into<String>) -> Shell {
        Shell {
            root: self.root.clone(),
            title: title.into(),
            here,
            who: self.viewer.as_ref().map(Who::of),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Frame {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let path = parts.extensions.get::<MatchedPath>().map_or("/", MatchedPath::as_str);
        Ok(Self { root: root_of(path), viewer: parts.extensions.get::<Viewer>().cloned() })
    }
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage {
    shell: Shell,
    detail: String,
    errors: Vec<(String, String)>,
}

/// A handler's refusal as a page; every other answer as it is.
pub(super) fn refusal(root: &str, viewer: Option<&Viewer>, response: Response) -> Response {
    let Some(problem) = guard::refused(&response) else { return response };
    let frame = Frame { root: root.to_owned(), viewer: viewer.cloned() };
    let page = RefusalPage {
        shell: frame.shell("", problem.title),
        detail: problem.detail,
        errors: problem.errors.into_iter().collect(),
    };
    respond(problem.status, &page)
}
