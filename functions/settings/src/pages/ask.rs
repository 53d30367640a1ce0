//! Questions: what cannot be undone is asked once, with what it means, before it is done. Without a
//! script: the question is a page, and its form carries the answer. A form that comes without it
//! leads to the question.

use super::{
    page, sessions,
    shell::{Frame, Shell},
    show::{Moment, short},
};
use crate::{
    access,
    app::App,
    form::Params,
    keys as admin_keys, notifications, operations,
    people::{self, SessionView, Whose},
    refusal::{Answer, Refusal},
    runs, stacks,
};
use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use gantry_domain::{run::RunState, stack::Stack, state::contents, text::counted};
use gantry_store::{
    keys,
    runner::{StateLock, StateVersion},
};
use serde::Deserialize;

/// The field that says that somebody has read the question.
pub(super) const SURE: &str = "sure";

#[derive(Template)]
#[template(path = "ask.html")]
struct Question {
    shell: Shell,
    /// What it means.
    words: Vec<String>,
    /// Where the answer goes, from `/`.
    action: String,
    /// What the answer names.
    fields: Vec<(&'static str, String)>,
    /// The words of the button.
    label: &'static str,
    /// Where no leads, from `/`.
    back: String,
}

/// What a question is about, where its path does not say it.
#[derive(Default, Deserialize)]
pub(crate) struct About {
    #[serde(default)]
    key: String,
    #[serde(default)]
    queue: String,
    #[serde(default)]
    session: String,
    person: Option<String>,
    others: Option<String>,
    version: Option<u64>,
    end: Option<String>,
    force: Option<String>,
}

/// `GET /keys/delete?key=`
pub(crate) async fn revoke(
    State(app): State<App>,
    frame: Frame,
    Params(about): Params<About>,
) -> Answer<Response> {
    let all = admin_keys::listed(&app).await?;
    let key = all.into_iter().find(|key| key.id == about.key);
    let key = key.ok_or_else(|| Refusal::not_found("key"))?;
    Ok(page(&Question {
        shell: frame.shell("keys", format!("Revoke the key {}?", short(&key.name, 64))),
        words: vec![
            "It stops working at once, and every session that was started with it ends.".to_owned(),
            "This cannot be undone. Its holder will need a new key.".to_owned(),
        ],
        action: "keys/delete".to_owned(),
        fields: vec![("key", key.id)],
        label: "Revoke",
        back: "keys".to_owned(),
    }))
}

/// `GET /account/end?session=`, or `?others=`
pub(crate) async fn end_own(
    State(app): State<App>,
    frame: Frame,
    Params(about): Params<About>,
) -> Answer<Response> {
    if about.others.is_some() {
        let words = "Whoever uses another session has to sign in again. Keys stop working at once, \
                     and what uses them will need new ones. This session stays.";
        return Ok(page(&Question {
            shell: frame.shell("account", "End all other sessions, and all your keys?"),
            words: vec![words.to_owned()],
            action: "account/end".to_owned(),
            fields: vec![("others", "on".to_owned())],
            label: "End all",
            back: "account".to_owned(),
        }));
    }
    let found = people::find(&app, frame.caller()?, Whose::Own, &about.session).await?;
    Ok(of_session(&frame, "account", found))
}

/// `GET /people/end?session=`, or `?person=`
pub(crate) async fn end_of_others(
    State(app): State<App>,
    frame: Frame,
    Params(about): Params<About>,
) -> Answer<Response> {
    let Some(id) = about.person else {
        let found = people::find(&app, frame.caller()?, Whose::Everybodys, &about.session).await?;
        return Ok(of_session(&frame, "people", found));
    };
    let all = people::everybody(&app).await?;
    let person = all.into_iter().find(|person| person.id.to_string() == id);
    let person = person.ok_or_else(|| Refusal::not_found("person"))?;
    Ok(page(&Question {
        shell: frame.shell("keys", format!("End everything of {}?", short(&person.name, 64))),
        words: vec![
            format!(
                "All sessions of @{} end, and all keys: they stop working at once, and what uses \
                 them will need new ones.",
                person.username
            ),
            "Who still has a role in GitLab can sign in again.".to_owned(),
        ],
        action: "people/end".to_owned(),
        fields: vec![("person", id)],
        label: "End all",
        back: "people".to_owned(),
    }))
}

fn of_session(frame: &Frame, page_of: &'static str, found: SessionView) -> Response {
    let words = match found.key {
        Some(_) => "It stops working at once. This cannot be undone: what uses it needs a new key.",
        None => "Whoever uses it has to sign in again.",
    };
    let title = format!("End {}?", sessions::what(&found));
    let of = format!("It is of {} @{}.", found.person.name, found.person.username);
    let here = if page_of == "account" { "account" } else { "keys" };
    page(&Question {
        shell: frame.shell(here, title),
        words: vec![of, words.to_owned()],
        action: format!("{page_of}/end"),
        fields: vec![("session", found.id)],
        label: "End",
        back: page_of.to_owned(),
    })
}

/// `GET /notifications/{target}/delete`
pub(crate) async fn delete_target(
    State(app): State<App>,
    frame: Frame,
    Path(name): Path<String>,
) -> Answer<Response> {
    let name = notifications::find(&app, &name).await?.value.name;
    let back = format!("notifications/{name}");
    Ok(page(&Question {
        shell: frame.shell("operations", format!("Delete the notification target {name}?")),
        words: vec![
            "Nothing is sent to it any more, and what waits for it is dropped.".to_owned(),
            "Its URL and its secret are removed and cannot be shown or restored.".to_owned(),
        ],
        action: format!("{back}/delete"),
        fields: Vec::new(),
        label: "Delete",
        back,
    }))
}

/// `GET /gitlab/unlink`
pub(crate) async fn unlink(frame: Frame) -> Response {
    page(&Question {
        shell: frame.shell("gitlab", "Unlink GitLab?"),
        words: vec![
            "Nothing will run, and waiting runs are canceled. Webhooks are still answered, so that \
             GitLab does not disable them."
                .to_owned(),
            "Stacks and their states are kept, detached, until a server is connected again. Revoke \
             the token in GitLab."
                .to_owned(),
        ],
        action: "gitlab/unlink".to_owned(),
        fields: Vec::new(),
        label: "Unlink",
        back: "gitlab".to_owned(),
    })
}

/// `GET /gitlab/rotate?end=&force=`
pub(crate) async fn rotate(frame: Frame, Params(about): Params<About>) -> Response {
    if about.end.is_some() {
        let ends = "The previous secret stops working now. Webhooks that still use it are refused; \
                    the current secret stays.";
        return page(&Question {
            shell: frame.shell("gitlab", "Revoke the webhook's previous secret?"),
            words: vec![ends.to_owned()],
            action: "gitlab/rotate".to_owned(),
            fields: vec![("end", "on".to_owned())],
            label: "Revoke",
            back: "gitlab".to_owned(),
        });
    }
    let mut fields = Vec::new();
    let words = "Webhooks created by Gantry get the new secret at once; the others are listed, and \
                 must be updated by hand. The old secret works for seven more days.";
    let mut words = vec![words.to_owned()];
    if about.force.is_some() {
        fields.push(("force", "on".to_owned()));
        let ends = "A rotation is in progress. The secret before it stops working now, not after \
                    its seven days.";
        words.push(ends.to_owned());
    }
    page(&Question {
        shell: frame.shell("gitlab", "Replace the webhook's secret?"),
        words,
        action: "gitlab/rotate".to_owned(),
        fields,
        label: "Replace",
        back: "gitlab".to_owned(),
    })
}

/// `GET /operations/redrive?queue=`
pub(crate) async fn redrive(
    State(app): State<App>,
    frame: Frame,
    Params(about): Params<About>,
) -> Answer<Response> {
    let found = operations::look(&app).await?.dead_letters;
    let queue = found.into_iter().find(|queue| queue.queue == about.queue);
    let queue = queue.ok_or_else(|| Refusal::not_found("queue"))?;
    let count = counted(queue.messages.len(), "message");
    Ok(page(&Question {
        shell: frame.shell("operations", format!("Resend {count}?")),
        words: vec![
            format!(
                "What they ask for in the queue {} is done now, as far as it still applies. This \
                 can start runs and write to GitLab.",
                queue.queue
            ),
            "Messages that fail again return to this list.".to_owned(),
        ],
        action: "operations/redrive".to_owned(),
        fields: vec![("queue", queue.queue.to_owned())],
        label: "Resend",
        back: "operations".to_owned(),
    }))
}

/// Refuses people, admins among them: so does runner-api, which would do what is asked about.
fn with_a_key_alone(frame: &Frame) -> Answer<()> {
    match frame.caller()?.role() {
        Some(_) => Ok(()),
        None => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "You don't have permission",
            "You are signed in with GitLab. Sign in with an access key of an admin instead: states \
             contain secrets.",
        )),
    }
}

/// `GET /stacks/{slug}/restore?version=`
pub(crate) async fn restore(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
    Params(about): Params<About>,
) -> Answer<Response> {
    with_a_key_alone(&frame)?;
    let stack = stacks::find(&app, &slug).await?.value;
    let missing = || Refusal::not_found("version of the state");
    let number = about.version.ok_or_else(missing)?;
    let key = keys::state_version(&stack.id, number);
    let version = app.store.get::<StateVersion>(&key).await?.ok_or_else(missing)?.value;
    let at = Moment::at(version.at, app.clock.now());
    let holds = contents(version.form, version.resources);
    Ok(of_stack(
        &frame,
        &stack,
        format!("Restore version {number} of the state?"),
        vec![
            format!(
                "The state of {} returns to what it was {}: serial {}, {holds}, by {}. The current \
                 version stays in the list of versions.",
                stack.slug, at.age, version.serial, version.by
            ),
            "Existing resources are not changed. But the next plan knows only what is in this \
             version: resources created since then are not, and the next apply would create them \
             a second time."
                .to_owned(),
        ],
        ("state/restore", vec![("version", number.to_string())], "Restore"),
    ))
}

/// `GET /stacks/{slug}/unlock`
pub(crate) async fn unlock(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
) -> Answer<Response> {
    with_a_key_alone(&frame)?;
    let stack = stacks::find(&app, &slug).await?.value;
    let lock = app.store.get::<StateLock>(&keys::lock(&stack.id)).await?;
    let lock =
        lock.ok_or_else(|| Refusal::conflict("Not locked", "The stack's state is not locked."))?;
    let at = Moment::at(lock.value.at, app.clock.now());
    Ok(of_stack(
        &frame,
        &stack,
        "Unlock the state?".to_owned(),
        vec![
            format!(
                "The run {} has held the lock since {} for {}.",
                lock.value.run, at.exact, lock.value.info.operation
            ),
            "Unlock it only if that run's runner is gone. A runner that is still working can no \
             longer write its state, and what it creates would be in no state."
                .to_owned(),
        ],
        ("state/unlock", Vec::new(), "Unlock"),
    ))
}

/// `GET /stacks/{slug}/catch-up`
pub(crate) async fn catch_up(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
) -> Answer<Response> {
    let stack = stacks::find(&app, &slug).await?.value;
    let words = "The run that needs confirmation is discarded, and every queued run except the \
                 newest is canceled. The newest runs next.";
    Ok(of_stack(
        &frame,
        &stack,
        format!("Catch up with {}?", short(&stack.branch, 80)),
        vec![words.to_owned()],
        ("catch-up", Vec::new(), "Catch up"),
    ))
}

fn of_stack(
    frame: &Frame,
    stack: &Stack,
    title: String,
    words: Vec<String>,
    (action, fields, label): (&str, Vec<(&'static str, String)>, &'static str),
) -> Response {
    let back = format!("stacks/{}", stack.slug);
    let action = format!("{back}/{action}");
    page(&Question { shell: frame.shell("stacks", title), words, action, fields, label, back })
}

/// `GET /runs/{id}/stop`
pub(crate) async fn stop(
    State(app): State<App>,
    frame: Frame,
    Path(id): Path<String>,
) -> Answer<Response> {
    let run = runs::find(&app, &id).await?;
    let words = match run.state {
        RunState::Applying => {
            "Operations in progress finish, and the state is written. What has not started is \
             skipped, so the infrastructure may be left partly changed. A provisioner command is \
             killed at once: its resource is tainted, and the next apply replaces it. The run \
             fails."
        }
        RunState::Testing => {
            "Its tests are stopped, and what they created is destroyed. No version is created."
        }
        _ => "The plan is stopped and not shown. You can repeat it with Plan again.",
    };
    Ok(page(&Question {
        shell: frame.shell("stacks", format!("Stop {} #{}?", run.slug, run.number)),
        words: vec![words.to_owned()],
        action: format!("runs/{}/stop", run.id),
        // The same answer sent twice is one request.
        fields: vec![("_request", access::new_request().to_string())],
        label: "Stop",
        back: format!("runs/{}", run.id),
    }))
}
