//! What every page has around it: head, navigation, who is signed in; and the page of a refusal.

use super::{
    respond,
    session::{GivenUpView, Viewer, root_of, viewer},
    show::at_most,
    sign_in,
};
use crate::{
    access::{About, Caller},
    app::App,
    refusal::{Answer, Refusal},
};
use askama::Template;
use axum::{
    extract::{FromRequestParts, MatchedPath, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use gantry_domain::{rights::Right, stack::Stack};
use gantry_setup::web::Problem;
use gantry_store::config::Role;
use std::convert::Infallible;
use url::Url;

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
    /// Where somebody without a session can sign in, and come back from.
    pub(super) sign_in: Option<String>,
    /// What was just done.
    pub(super) done: Option<&'static str>,
    /// What the page is about.
    about: About,
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) name: String,
    caller: Caller,
    pub(super) form_token: String,
    /// How many runs need confirmation; empty when none do.
    pub(super) unconfirmed: String,
    /// Messages that were given up, for admins.
    pub(super) given_up: Option<GivenUpView>,
}

impl Who {
    pub(super) fn of(viewer: &Viewer) -> Self {
        Self {
            name: viewer.caller.name.clone(),
            caller: viewer.caller.clone(),
            form_token: viewer.form_token.clone(),
            unconfirmed: match viewer.unconfirmed {
                0 => String::new(),
                count => at_most(count),
            },
            given_up: viewer.given_up.clone(),
        }
    }

    pub(super) fn is_admin(&self) -> bool {
        self.caller.may(Right::Admin)
    }

    /// Nothing is kept from them.
    pub(super) fn sees_all(&self) -> bool {
        self.caller.sees_all()
    }

    /// It is a person, and no key.
    pub(super) fn is_person(&self) -> bool {
        self.caller.role().is_none()
    }

    /// Their key goes past the rules about who confirms.
    pub(super) fn may_override(&self) -> bool {
        self.caller.role() == Some(Role::Admin)
    }
}

impl Shell {
    /// The same around a page of a stack or module, or of something of it.
    pub(super) fn of(self, stack: &Stack) -> Self {
        Self { about: About::stack(stack), ..self }
    }

    fn may(&self, right: Right) -> bool {
        self.who.as_ref().is_some_and(|who| who.caller.may_with(right, self.about))
    }

    /// An admin of the installation.
    pub(super) fn is_admin(&self) -> bool {
        self.who.as_ref().is_some_and(Who::is_admin)
    }

    pub(super) fn may_preview(&self) -> bool {
        self.may(Right::Preview)
    }

    pub(super) fn may_deploy(&self) -> bool {
        self.may(Right::Deploy)
    }

    pub(super) fn may_unblock(&self) -> bool {
        self.may(Right::Unblock)
    }

    pub(super) fn may_edit(&self) -> bool {
        self.may(Right::Edit)
    }

    /// Whether they can download states, and change them: with an admin's key alone, because
    /// runner-api, which does it, does not know what people may.
    pub(super) fn may_change_states(&self) -> bool {
        self.who.as_ref().is_some_and(|who| who.is_admin() && !who.is_person())
    }

    /// Messages that were given up; none on the page that shows them.
    pub(super) fn given_up(&self) -> Option<&GivenUpView> {
        let who = self.who.as_ref().filter(|_| self.here != "operations")?;
        who.given_up.as_ref()
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
    /// The page, below the root; none where nobody comes back to it.
    pub(super) here: Option<String>,
    /// What was just done.
    pub(super) done: Option<&'static str>,
}

impl Frame {
    pub(super) fn shell(&self, here: &'static str, title: impl Into<String>) -> Shell {
        Shell {
            root: self.root.clone(),
            title: title.into(),
            here,
            who: self.viewer.as_ref().map(Who::of),
            sign_in: self.here.as_ref().map(|here| sign_in::address(&self.root, here)),
            done: self.done,
            about: About::Installation,
        }
    }

    /// Who is signed in: the guard has let nobody else here.
    pub(super) fn caller(&self) -> Answer<&Caller> {
        let nobody =
            || Refusal::new(StatusCode::UNAUTHORIZED, "Authentication required", "Sign in first.");
        self.viewer.as_ref().map(|viewer| &viewer.caller).ok_or_else(nobody)
    }
}

/// The message that `?done=` of an address asks for.
fn said(query: Option<&str>) -> Option<&'static str> {
    let mut pairs = url::form_urlencoded::parse(query?.as_bytes());
    Some(match pairs.find(|(name, _)| name == "done")?.1.as_ref() {
        "revoked" => "Key revoked. It no longer works, and its sessions have ended.",
        "ended" => "Ended. What was ended no longer works.",
        "sign-in" => "Saved. GitLab accepts the application's ID and secret.",
        "no-sign-in" => {
            "Nobody can sign in with GitLab any more, and sessions that were begun so have ended."
        }
        "unlinked" => "GitLab unlinked. Nothing runs until a server is connected again.",
        "stack-deleted" => "Stack deleted. It no longer runs.",
        "module-deleted" => "Module deleted. Its tests no longer run.",
        "drift" => "Saved. It counts within a few minutes.",
        "sent" => "Messages resent. Those that fail again return to this list.",
        "target-saved" => "Target saved.",
        "target-deleted" => "Target deleted. Nothing is sent to it any more.",
        "target-tested" => "A test is on its way. Reload the page to see the answer.",
        "notification-sent" => "It is sent again. Reload the page to see the answer.",
        _ => return None,
    })
}

impl<S: Send + Sync> FromRequestParts<S> for Frame {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let path = parts.extensions.get::<MatchedPath>().map_or("/", MatchedPath::as_str);
        let viewer = parts.extensions.get::<Viewer>().cloned();
        let root = root_of(path);
        // The key of a link stays out: who signs in needs none.
        let here = sign_in::below(&root, &parts.uri).join("/");
        let here = Some(here).filter(|here| viewer.is_none() && here != "sign-in");
        Ok(Self { root, viewer, here, done: said(parts.uri.query()) })
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
    let Some(problem) = refused(&response) else { return response };
    let frame = Frame { root: root.to_owned(), viewer: viewer.cloned(), here: None, done: None };
    let page = RefusalPage {
        shell: frame.shell("", problem.title),
        detail: problem.detail,
        errors: problem.errors.into_iter().collect(),
    };
    respond(problem.status, &page)
}

/// What an open page shows does not stay there once who sees it may not any more: the page loads
/// itself again, and says so. htmx leaves what it shows in place otherwise.
pub(super) fn gone(headers: &HeaderMap, mut response: Response) -> Response {
    if headers.contains_key("hx-request") && response.status() == StatusCode::NOT_FOUND {
        response.headers_mut().insert("hx-refresh", HeaderValue::from_static("true"));
    }
    response
}

/// Where there is nothing: a page for a browser, and a line for everybody else.
pub(crate) async fn nowhere(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok());
    if !accepts.is_some_and(|accepts| accepts.contains("text/html")) {
        let line = "There is no page at this address.\n";
        return (StatusCode::NOT_FOUND, line).into_response();
    }
    let address = app.public_url.as_ref().and_then(|url| Url::parse(url.as_str()).ok());
    let prefix = address.as_ref().map_or("", |url| url.path().trim_end_matches('/'));
    let root = root_of(uri.path().strip_prefix(prefix).unwrap_or(uri.path()));
    let viewer = viewer(&app, &headers).await.ok().flatten();
    let detail = "The URL is wrong, or what it showed was deleted.";
    let refusal_of = Refusal::new(StatusCode::NOT_FOUND, "Page not found", detail);
    refusal(&root, viewer.as_ref(), refusal_of.into_response())
}

/// A refusal that a handler answered with, if it did.
pub(super) fn refused(response: &Response) -> Option<Problem> {
    response.extensions().get::<Problem>().cloned()
}
