//! Creating and changing targets: what may be set, and how it is kept.

use super::{SavedTarget, find, present};
use crate::{
    app::App,
    form::Form,
    refusal::{Answer, Refusal},
    stacks::label,
};
use gantry_domain::{
    TargetName,
    notification::{Filter, NotificationEvent, TargetKind},
};
use gantry_secrets::{TargetPart, new_target_secret, seal_for_target};
use gantry_store::{
    Expect, Outcome, Write, keys,
    notifications::{EndingSecret, NotificationTarget},
};
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use strum::VariantArray as _;
use url::Url;

/// Each is looked at for whatever happens.
const MOST_TARGETS: usize = 50;
const LONGEST_URL: usize = 2_000;
const MOST_LABELS: usize = 50;
/// How long a secret that was replaced signs beside the new one.
const SECRET_ENDS_AFTER: SignedDuration = SignedDuration::from_hours(24);

const ASKS_FOR_NAME: &str = "Enter a name, such as that of the channel.";
const ASKS_FOR_URL: &str = "Enter the URL that messages are sent to.";

/// Makes a target.
pub(crate) async fn make(app: &App, body: Map<String, Value>) -> Answer<SavedTarget> {
    let mut form = Form::new(body);
    let name = name(&mut form);
    let kind = form.choice::<TargetKind>("kind");
    if kind.is_none() {
        form.wrong("kind", "Choose a kind: webhook, slack or teams.");
    }
    let address = address(&mut form);
    if address.is_none() {
        form.wrong("url", ASKS_FOR_URL);
    }
    let events = events(&mut form);
    let labels = labels(&mut form);
    let there = app.store.notification_targets().await?;
    if there.iter().any(|target| Some(&target.value.name) == name.as_ref()) {
        form.wrong("name", "Another target already has this name");
    }
    form.check()?;
    if there.len() >= MOST_TARGETS {
        let detail = format!("At most {MOST_TARGETS} can be notified.");
        return Err(Refusal::conflict("Too many notification targets", detail));
    }
    let missing = || Refusal::field("name", ASKS_FOR_NAME);
    let (name, kind) = name.zip(kind).ok_or_else(missing)?;
    let (address, shown) = address.ok_or_else(missing)?;
    let secret = (kind == TargetKind::Webhook).then(new_target_secret);
    let seal = |part, value: &SecretString| seal_for_target(&app.sealer, &name, part, value);
    let now = app.clock.now();
    let target = NotificationTarget {
        kind,
        address: seal(TargetPart::Address, &address)?,
        shown,
        secret: secret.as_ref().map(|secret| seal(TargetPart::Secret, secret)).transpose()?,
        previous: None,
        filter: Filter {
            events: events.unwrap_or_else(|| NotificationEvent::VARIANTS.iter().copied().collect()),
            labels: labels.unwrap_or_default(),
        },
        created_at: now,
        saved_at: now,
        name: name.clone(),
    };
    let write = Write::put(keys::notification_target(&name), Expect::Absent, &target)?;
    saved(app, write, target, secret).await
}

/// Changes a target. What is not named stays.
pub(crate) async fn change(app: &App, name: &str, body: Map<String, Value>) -> Answer<SavedTarget> {
    let found = find(app, name).await?;
    let before = &found.value;
    let mut form = Form::new(body);
    let address = address(&mut form);
    let events = events(&mut form);
    let labels = labels(&mut form);
    let is_renewed = form.flag("new_secret") == Some(true);
    if is_renewed && before.secret.is_none() {
        form.wrong("new_secret", "Only webhooks have a secret");
    }
    form.check()?;
    let seal = |part, value: &SecretString| seal_for_target(&app.sealer, &before.name, part, value);
    let now = app.clock.now();
    let mut target = NotificationTarget { saved_at: now, ..before.clone() };
    if let Some((address, shown)) = address {
        target.address = seal(TargetPart::Address, &address)?;
        target.shown = shown;
    }
    let secret = is_renewed.then(new_target_secret);
    if let Some(secret) = &secret {
        let until = now + SECRET_ENDS_AFTER;
        let ends = before.secret.clone().map(|sealed| EndingSecret { sealed, until });
        target.secret = Some(seal(TargetPart::Secret, secret)?);
        target.previous = ends;
    }
    target.filter.events = events.unwrap_or(target.filter.events);
    target.filter.labels = labels.unwrap_or(target.filter.labels);
    let write = Write::put(found.key.clone(), found.unchanged(), &target)?;
    saved(app, write, target, secret).await
}

async fn saved(
    app: &App,
    write: Write,
    target: NotificationTarget,
    secret: Option<SecretString>,
) -> Answer<SavedTarget> {
    match app.store.write(vec![write]).await? {
        Outcome::Written => {}
        Outcome::Stale => {
            return Err(Refusal::conflict(
                "Somebody else changed it",
                "The target was changed at the same time. Check it and try again.",
            ));
        }
    }
    let secret = secret.map(|secret| secret.expose_secret().to_owned());
    Ok(SavedTarget { view: present(app, target).await?, secret })
}

fn name(form: &mut Form) -> Option<TargetName> {
    let name = form.required_text("name", ASKS_FOR_NAME)?;
    let read = name.parse().ok();
    if read.is_none() {
        let rule = "Use 1 to 40 of a-z, 0-9 and -, starting and ending with a letter or digit";
        form.wrong("name", rule);
    }
    read
}

/// Where messages go, and what is shown of it. The URL is not quoted: it is a secret.
fn address(form: &mut Form) -> Option<(SecretString, String)> {
    let text = form.raw_text("url")?;
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let url = Url::parse(text).ok().filter(|_| text.len() <= LONGEST_URL);
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(mut url) = url else {
        form.wrong("url", "Must be a URL that begins with https:// or http://");
        return None;
    };
    url.set_fragment(None);
    let shown = url.origin().ascii_serialization();
    Some((SecretString::from(url.to_string()), shown))
}

fn events(form: &mut Form) -> Option<BTreeSet<NotificationEvent>> {
    let known = || NotificationEvent::VARIANTS.iter();
    let check = |text: &str| match known().any(|event| event.to_string() == text) {
        true => Ok(text.to_owned()),
        false => {
            let all: Vec<String> = known().map(ToString::to_string).collect();
            Err(format!("Must be one of {}", all.join(", ")))
        }
    };
    let asked = form.texts("events", NotificationEvent::VARIANTS.len(), check)?;
    if asked.is_empty() && !form.is_wrong("events") {
        form.wrong("events", "Choose at least one.");
    }
    Some(known().copied().filter(|event| asked.contains(&event.to_string())).collect())
}

fn labels(form: &mut Form) -> Option<Vec<String>> {
    let mut labels = form.texts("labels", MOST_LABELS, label)?;
    labels.sort();
    labels.dedup();
    Some(labels)
}
