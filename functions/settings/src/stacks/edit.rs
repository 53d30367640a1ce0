//! Editing a stack. What is left out of a request stays as it is; null takes the default.

use super::{
    changed_meanwhile, check, code,
    create::Checked,
    etag, failed, find_of, form,
    form::{Kind, ProjectRef, Wanted},
    head, nothing_unfinished,
    place::{self, Place, Seen},
    tell, times_of, tracked_branch, variables, view, webhook,
};
use crate::{
    access::Caller,
    app::App,
    form::{Body, Errors},
    integration::cannot_call,
    refusal::{Answer, Done, Refusal},
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::{HeaderMap, header},
    response::IntoResponse,
};
use gantry_domain::{Repository, rights::Right, stack::Stack};
use gantry_store::{
    Expect, Outcome, Stored, Write,
    config::{ProjectStack, SlugEntry},
    keys,
};
use serde_json::{Map, Value};

/// `PUT /api/v1/stacks/{slug}`
pub(crate) async fn edit(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(slug): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Answer<impl IntoResponse> {
    let before = find_of(&app, Kind::Stack, &slug).await?;
    let based_on = tag_of(&headers);
    let (answer, version, changed) =
        Box::pin(change(&app, &caller, before, body, based_on, Errors::new())).await?;
    let done = Done::new(format!("changed {changed}"));
    Ok(([(header::ETAG, etag(version))], Extension(done), Json(answer)))
}

/// Changes a stack to what a person defined: fields that are left out stay as they are. Answers
/// the stack, its version, and which fields changed. What is wrong already is told with the rest.
pub(crate) async fn change(
    app: &App,
    caller: &Caller,
    before: Stored<Stack>,
    body: Map<String, Value>,
    based_on: Option<String>,
    wrong: Errors,
) -> Answer<(Checked, u64, String)> {
    let integration = app.store.integration().await?.map(|found| found.value);
    let is_attached = view::is_there(&before.value, integration.as_ref());
    let (mut wanted, mut errors) =
        form::read(Kind::of(&before.value), on_top_of(&before.value, is_attached, body));
    expect_version(based_on.as_deref(), wanted.version, before.version)?;
    errors.extend(wrong);
    if wanted.slug.take().is_some_and(|slug| slug != before.value.slug) {
        let problem = "Cannot be changed, because statuses and environments in GitLab use it";
        errors.insert("slug".to_owned(), problem.to_owned());
    }
    if let (Some(now), Some(wants)) = (&before.value.module, &wanted.module) {
        let fixed = "Cannot be changed, because it is part of the module's address in the registry";
        if wanted.settings.name != before.value.settings.name {
            errors.insert("name".to_owned(), fixed.to_owned());
        }
        if wants.terraform_provider.as_ref().is_some_and(|name| *name != now.terraform_provider) {
            errors.insert("terraform_provider".to_owned(), fixed.to_owned());
        }
    }
    let is_same =
        wanted.project.as_ref().is_none_or(|project| is_attached && names(project, &before.value));
    if !caller.may(Right::Admin) {
        refuse_for_others(&before.value, &wanted, is_same, &mut errors);
    }
    let found = if is_same || errors.contains_key("project") {
        None
    } else {
        place::find(app, wanted.project.take(), &mut errors).await?
    };
    let variables = std::mem::take(&mut wanted.variables);
    let (sealer, old) = (&app.sealer, Some(&before.value));
    let variables = variables::keep(sealer, &before.value.id, variables, old, &mut errors)?;
    if !errors.is_empty() {
        return Err(Refusal::fields(errors));
    }
    let mut after = with(&before.value, wanted, found.as_ref());
    after.variables = variables;
    let applied = app.store.applied_run_made_at(&after.id).await?;
    after.retired = variables::retire(sealer, &before.value, &after, applied, app.clock.now())?;
    let code = |stack: &Stack| (stack.repository.clone(), stack.generation, stack.branch.clone());
    let stays = settled(&before.value) == settled(&after)
        && before.value.settings.project_globs == after.settings.project_globs;
    let seen = if stays {
        None
    } else {
        match found {
            Some(found) => Some(found),
            None => place::of(app, &after).await.ok(),
        }
    };
    if code(&before.value) != code(&after) {
        after.begins_at = match &seen {
            Some(seen) => seen.head(&after.branch).await,
            None => None,
        };
    }
    save(app, &before, &after).await?;
    let version = before.version + 1;
    if before.value.repository != after.repository {
        tell(app, before.value.project(), &after.id, format!("v{version}.left")).await;
    }
    tell(app, after.project(), &after.id, format!("v{version}")).await;
    webhook::add_comments(app, Some(&before.value), &after).await;

    let mut findings = check::of_variables(&after, sealer);
    let note = match &seen {
        Some(seen) => {
            findings.extend(check::check(seen, &after).await);
            note(app, seen)
        }
        None => None,
    };
    findings.extend(code::of_another_tool(&before.value, &after));
    let changed = changed(&before.value, &after);
    let head = head(app, &after.id).await?.map(|head| head.value).unwrap_or_default();
    let missing = tracked_branch(app, &after).await?.is_some_and(|known| known.missing);
    let failed = failed(app, &after.id).await?;
    let (_, timer) = times_of(app, &after).await?;
    let stored = Stored { key: before.key, version, value: after };
    let stack = view::of(stored, head, missing, failed, integration.as_ref(), timer.as_ref());
    Ok((Checked { stack, findings, note }, version, changed))
}

/// What only admins of the installation change: what it lends to a stack, whose code it runs, and the
/// rules that hold those back who could change them.
fn refuse_for_others(before: &Stack, wanted: &Wanted, same_project: bool, errors: &mut Errors) {
    const ADMINS: &str = "Only admins of this Gantry can change it";
    const RULES: &str = "Only admins of this Gantry can change it: otherwise whoever may change the \
                         stack could lift the rule for a deploy of their own";
    let (old, new) = (&before.settings, &wanted.settings);
    let same_merge_requests =
        old.require_merge_request_approval == new.require_merge_request_approval;
    for (name, stays, why) in [
        ("project", same_project, ADMINS),
        ("plan_role", old.roles.plan == new.roles.plan, ADMINS),
        ("apply_role", old.roles.apply == new.roles.apply, ADMINS),
        ("pool", old.pool == new.pool, ADMINS),
        ("approvals", old.approvals == new.approvals, RULES),
        ("require_merge_request_approval", same_merge_requests, RULES),
        ("levels", old.levels == new.levels, RULES),
    ] {
        if !stays {
            errors.insert(name.to_owned(), why.to_owned());
        }
    }
}

/// The version that a request says it is based on.
pub(crate) fn tag_of(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(header::IF_MATCH).and_then(|tag| tag.to_str().ok())?;
    Some(tag.trim().trim_start_matches("W/").trim_matches('"').to_owned())
}

/// The request's fields over the ones that are there.
fn on_top_of(stack: &Stack, is_attached: bool, body: Map<String, Value>) -> Map<String, Value> {
    let mut fields = view::definition(stack, is_attached);
    // These two have no default to go back to.
    for (name, value) in body {
        if !(value.is_null() && matches!(name.as_str(), "project" | "branch" | "slug")) {
            fields.insert(name, value);
        }
    }
    fields
}

/// The version that the edit is based on, from the body or `If-Match`, has to be the present one.
fn expect_version(tag: Option<&str>, in_body: Option<u64>, version: u64) -> Answer<()> {
    let tag_matches = tag.is_none_or(|tag| tag == "*" || tag == version.to_string());
    if tag_matches && in_body.is_none_or(|based_on| based_on == version) {
        return Ok(());
    }
    Err(Refusal::conflict(
        "Somebody else changed it",
        format!("The stack is now at version {version}. Read it again and repeat the change."),
    ))
}

fn names(project: &ProjectRef, stack: &Stack) -> bool {
    match project {
        ProjectRef::Id(id) => stack.project() == Some(*id),
        ProjectRef::Path(path) => stack.project().is_some() && *path == stack.project_path,
        ProjectRef::Git(url) => stack.repository == Repository::Git(url.clone()),
    }
}

fn with(before: &Stack, wanted: Wanted, place: Option<&Place>) -> Stack {
    let mut after = Stack {
        branch: wanted.branch.unwrap_or_else(|| before.branch.clone()),
        settings: wanted.settings,
        ..before.clone()
    };
    if let (Some(now), Some(wanted)) = (&mut after.module, wanted.module) {
        now.tag_prefix = wanted.tag_prefix;
    }
    if let Some(place) = place {
        after.repository = place.repository.clone();
        after.project_path = place.path.clone();
        after.project_is_public = place.is_public;
        after.generation = place.generation;
    }
    after
}

/// What may change only while nothing tracked is unfinished. Who keeps the state is one of them:
/// a plan remembers where its state is.
fn settled(stack: &Stack) -> impl PartialEq + '_ {
    let set = &stack.settings;
    (&stack.repository, stack.generation, &stack.branch, &set.project_root, set.manage_state)
}

async fn save(app: &App, before: &Stored<Stack>, after: &Stack) -> Answer<()> {
    let old = &before.value;
    let mut writes = vec![
        Write::put(before.key.clone(), before.unchanged(), after)?,
        Write::put(keys::slug(&after.slug), Expect::Present, &SlugEntry::of(after))?,
    ];
    if settled(old) != settled(after) {
        writes.push(
            nothing_unfinished(
                app,
                old,
                "Project, branch, root and state cannot be changed while a deploy is in progress",
            )
            .await?,
        );
        let place = ProjectStack { stack: after.id.clone(), branch: after.branch.clone() };
        if let Some(project) = after.project() {
            let key = keys::project_stack(project, &after.id);
            writes.push(Write::put(key, Expect::Any, &place)?);
        }
        if let Some(left) = old.project().filter(|left| after.project() != Some(*left)) {
            let key = keys::project_stack(left, &old.id);
            writes.push(Write::Delete { key, expect: Expect::Any });
        }
        writes.extend(place::listed(app, after).await?);
    }
    match app.store.write(writes).await? {
        Outcome::Written => Ok(()),
        Outcome::Stale => Err(changed_meanwhile()),
    }
}

/// Why GitLab cannot call here; none when it can, or need not.
fn note(app: &App, seen: &Place) -> Option<String> {
    match &seen.seen {
        Seen::Project(_, linked) => {
            cannot_call(app.public_url.as_ref(), &linked.integration.api_host)
        }
        Seen::Repository(_) => None,
    }
}

/// The names of the fields that changed, for the list of activities.
fn changed(before: &Stack, after: &Stack) -> String {
    let read = |stack: &Stack| view::definition(stack, true);
    let (old, mut new) = (read(before), read(after));
    new.retain(|name, value| old.get(name) != Some(value));
    let mut names: Errors = new.into_iter().map(|(name, _)| (name, String::new())).collect();
    // Sealed values are not in a definition.
    if before.variables != after.variables {
        names.insert("variables".to_owned(), String::new());
    }
    match names.into_keys().collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "nothing".to_owned(),
        names => names,
    }
}
