//! Questions: what cannot be undone is asked once, with what it means, before it is done. Without a
//! script: the question is a page, and its form carries the answer. A form that comes without it
//! leads to the question.

use super::{
    page,
    shell::{Frame, Shell},
    show::{Moment, short},
};
use crate::{
    access,
    app::App,
    form::Params,
    keys as admin_keys, operations,
    refusal::{Answer, Refusal},
    runs, stacks,
};
use askama::Template;
use axum::{
    extract::{Path, State},
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
            "It ends at once, and so does every session that was begun with it. Whoever uses it \
             is refused from then on."
                .to_owned(),
            "It cannot be brought back: its holder needs a new one.".to_owned(),
        ],
        action: "keys/delete".to_owned(),
        fields: vec![("key", key.id)],
        label: "Revoke",
        back: "keys".to_owned(),
    }))
}

/// `GET /gitlab/unlink`
pub(crate) async fn unlink(frame: Frame) -> Response {
    page(&Question {
        shell: frame.shell("gitlab", "Unlink GitLab?"),
        words: vec![
            "Nothing runs any more, and runs that wait are canceled. Webhooks are still answered, \
             so that GitLab does not switch them off."
                .to_owned(),
            "Stacks and their states stay, detached, until a server is connected again. Revoke the \
             token at GitLab."
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
    let mut fields = Vec::new();
    let words = if about.end.is_some() {
        fields.push(("end", "on".to_owned()));
        "The previous secret ends now. Webhooks that still use it are refused; the present secret \
         stays."
    } else {
        "The webhooks that Gantry made get the new secret at once; the others are listed, and have \
         to be changed by hand. The old secret works for seven more days."
    };
    let mut words = vec![words.to_owned()];
    if about.force.is_some() {
        fields.push(("force", "on".to_owned()));
        let ends = "A replacement is under way: the secret before it ends now, not after its seven \
                    days.";
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
        shell: frame.shell("operations", format!("Send {count} again?")),
        words: vec![
            format!(
                "What they ask for in the queue {} is done now, as far as it still makes sense: \
                 runs can start, and GitLab can be written to.",
                queue.queue
            ),
            "What fails again comes back here.".to_owned(),
        ],
        action: "operations/redrive".to_owned(),
        fields: vec![("queue", queue.queue.to_owned())],
        label: "Send again",
        back: "operations".to_owned(),
    }))
}

/// `GET /stacks/{slug}/restore?version=`
pub(crate) async fn restore(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
    Params(about): Params<About>,
) -> Answer<Response> {
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
                "The state of {} becomes what it was {}: serial {}, {holds}, by {}. What is \
                 current now stays in the list of versions.",
                stack.slug,
                at.age,
                version.serial,
                version.by
            ),
            "Nothing that exists is changed. But the next plan knows only what this version knows: \
             what was made since is not in it, and the next apply would make it a second time."
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
    let stack = stacks::find(&app, &slug).await?.value;
    let lock = app.store.get::<StateLock>(&keys::lock(&stack.id)).await?;
    let lock = lock.ok_or_else(|| {
        Refusal::conflict("It is not locked", "The lock of the stack's state is free already.")
    })?;
    let at = Moment::at(lock.value.at, app.clock.now());
    Ok(of_stack(
        &frame,
        &stack,
        "Unlock the state?".to_owned(),
        vec![
            format!(
                "The run {} holds the lock since {} for {}.",
                lock.value.run, at.exact, lock.value.info.operation
            ),
            "Unlock it only when that run's runner is gone. One that still works cannot write its \
             state any more, and what it makes is in no state."
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
    let words = "The run that waits for a person is discarded, and every queued run but the newest \
                 is canceled. The newest goes next.";
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
            "What is in flight is finished, and the state is written. What was not begun is left \
             undone, so that the infrastructure can stand between two states. A command of a \
             provisioner is killed at once: its resource is tainted, and the next apply replaces \
             it. The run fails."
        }
        RunState::Testing => {
            "Its tests are stopped, and what they have made is destroyed. No version comes of it."
        }
        _ => "The plan ends and is not shown. It can be repeated with Retry.",
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
