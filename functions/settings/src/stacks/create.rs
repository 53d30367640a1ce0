//! Making a stack.

use super::{
    changed_meanwhile, check, etag, form,
    form::{Kind, Wanted},
    place::{self, Place, Seen},
    tell, times_of, variables, view, webhook,
};
use crate::{
    app::App,
    form::{Body, Errors},
    gitlab::Linked,
    integration::cannot_call,
    refusal::{Answer, Done, Refusal},
};
use axum::{
    Extension, Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use gantry_domain::{
    StackId, StackSlug,
    ids::short_digest,
    module,
    stack::{CommentLevel, Module, Stack, StackHead},
};
use gantry_store::{
    Expect, Outcome, Stored, Write,
    config::{ProjectStack, RegistryEntry, SlugEntry},
    keys,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// A stack that was just created or changed, with the findings about its project.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CheckedStack")]
pub(crate) struct Checked {
    #[serde(flatten)]
    pub(crate) stack: view::StackView,
    pub(crate) findings: Vec<check::Finding>,
    /// Why GitLab cannot reach Gantry; null when it can, as far as is known.
    pub(crate) note: Option<String>,
}

/// `POST /api/v1/stacks`
pub(crate) async fn create(State(app): State<App>, Body(body): Body) -> Answer<impl IntoResponse> {
    let made = make(&app, Kind::Stack, body, Errors::new()).await?;
    let slug = made.stack.slug();
    let done = Done::new(format!("created the stack {slug}")).making(slug);
    let headers = [(header::LOCATION, format!("/api/v1/stacks/{slug}")), (header::ETAG, etag(1))];
    Ok((StatusCode::CREATED, headers, Extension(done), Json(made)))
}

/// Makes a stack, or a module, of what a person defined. What is wrong already is told with the rest.
pub(crate) async fn make(
    app: &App,
    kind: Kind,
    body: Map<String, Value>,
    wrong: Errors,
) -> Answer<Checked> {
    let (mut wanted, mut errors) = form::read(kind, body);
    errors.extend(wrong);
    let named_by = slug_field(&wanted);
    let is_named = !errors.contains_key("project");
    let place = match wanted.project.take() {
        None if !is_named => None,
        named => place::find(app, named, &mut errors).await?,
    };
    let named = match (&wanted.module, &place) {
        (Some(_), Some(place)) => name_module(&mut wanted, place, &mut errors),
        _ => None,
    };
    let slug = find_slug(app, &wanted, named_by, &mut errors).await?;
    let branch = place.as_ref().and_then(|place| {
        let branch = wanted.branch.take().or_else(|| place.default_branch.clone());
        if branch.is_none() {
            let problem = "Enter a branch. The repository is empty and has no default branch.";
            errors.entry("branch".to_owned()).or_insert_with(|| problem.to_owned());
        }
        branch
    });
    let id: StackId = short_digest(&[&rand::random::<u128>().to_string()])
        .parse()
        .map_err(|error| Refusal::from(gantry_setup::web::Problem::internal(&error)))?;
    let variables = std::mem::take(&mut wanted.variables);
    let variables = variables::keep(&app.sealer, &id, variables, None, &mut errors)?;
    let (Slug::Free(slug), Some(place), Some(branch), true) =
        (&slug, place, branch, errors.is_empty())
    else {
        return Err(match (slug, errors.len()) {
            (Slug::Taken(problem), 1) if errors.get(named_by) == Some(&problem) => {
                conflict(named_by, problem)
            }
            _ => Refusal::fields(errors),
        });
    };
    wanted.settings.comment = wanted.comment.unwrap_or_else(|| usual_comment(&place));
    let begins_at = place.head(&branch).await;
    let stack = Stack {
        id,
        slug: slug.clone(),
        settings: wanted.settings,
        repository: place.repository.clone(),
        project_path: place.path.clone(),
        generation: place.generation,
        project_is_public: place.is_public,
        branch,
        begins_at,
        variables,
        retired: Vec::new(),
        created_at: app.clock.now(),
        deleted_at: None,
        state_kept_until: None,
        module: named,
    };
    let version = save(app, &stack, named_by).await?;
    tell(app, stack.project(), &stack.id, "made".to_owned()).await;
    webhook::add_comments(app, None, &stack).await;
    let mut findings = check::of_variables(&stack, &app.sealer);
    findings.extend(check::check(&place, &stack).await);
    findings.extend(check::of_registry(app, &stack));
    let (integration, note) = match &place.seen {
        Seen::Project(_, Linked { integration, .. }) => {
            (Some(integration), cannot_call(app.public_url.as_ref(), &integration.api_host))
        }
        Seen::Repository(_) => (None, None),
    };
    let (_, timer) = times_of(app, &stack).await?;
    let stored = Stored { key: keys::stack_config(&stack.id), version, value: stack };
    let head = StackHead::default();
    let stack = view::of(stored, head, false, None, integration, timer.as_ref());
    Ok(Checked { stack, findings, note })
}

/// What a module is called in the registry, as far as nobody said it: by its project's name.
fn name_module(wanted: &mut Wanted, place: &Place, errors: &mut Errors) -> Option<Module> {
    let said = wanted.module.as_ref()?;
    let guessed = module::guess(&place.path);
    let unknown = |what: &str| {
        format!(
            "Enter {what}. It cannot be guessed, because {} is not named \
             terraform-<provider>-<name>.",
            place.path
        )
    };
    if wanted.settings.name.is_empty() {
        match &guessed {
            Some((name, _)) => wanted.settings.name = (*name).to_owned(),
            None => drop(errors.entry("name".to_owned()).or_insert(unknown("a name"))),
        }
    }
    let guessed = guessed.map(|(_, provider)| provider.to_owned());
    let provider = said.terraform_provider.clone().or(guessed);
    let Some(terraform_provider) = provider else {
        errors.entry("terraform_provider".to_owned()).or_insert(unknown("a provider"));
        return None;
    };
    let tag_prefix = said.tag_prefix.clone();
    Some(Module { namespace: namespace(&place.path), terraform_provider, tag_prefix })
}

/// The first part of a module's address: the project's top group, in the registry's letters.
fn namespace(path: &str) -> String {
    let group = path.split('/').next().unwrap_or_default().to_lowercase();
    let letters = group.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let name: String = letters.take(64).collect();
    match name.trim_matches('-') {
        "" => "modules".to_owned(),
        name => name.to_owned(),
    }
}

/// On a public project everybody can read the notes: they show counts unless asked for more.
fn usual_comment(place: &Place) -> CommentLevel {
    if place.is_public { CommentLevel::Summary } else { CommentLevel::Full }
}

/// The slug that a stack gets.
enum Slug {
    /// It was never used.
    Free(StackSlug),
    /// It belongs to another one: what is said of that.
    Taken(String),
    /// There is none yet, because of what is wrong with slug or name.
    None,
}

/// The field that gives the slug, of those that were sent: a module has its name from its project.
fn slug_field(wanted: &Wanted) -> &'static str {
    match (&wanted.slug, wanted.settings.name.is_empty()) {
        (Some(_), _) => "slug",
        (None, false) => "name",
        (None, true) => "project",
    }
}

async fn find_slug(
    app: &App,
    wanted: &Wanted,
    named_by: &'static str,
    errors: &mut Errors,
) -> Answer<Slug> {
    if errors.contains_key("slug") || (wanted.slug.is_none() && wanted.settings.name.is_empty()) {
        return Ok(Slug::None);
    }
    let slug =
        match wanted.slug.clone().map_or_else(|| StackSlug::from_name(&wanted.settings.name), Ok) {
            Ok(slug) => slug,
            Err(_) => {
                let problem = "Enter a slug of a-z, 0-9 and -. None can be derived from the name.";
                errors.insert("slug".to_owned(), problem.to_owned());
                return Ok(Slug::None);
            }
        };
    if let Some(taken) = app.store.get::<SlugEntry>(&keys::slug(&slug)).await? {
        let problem = taken_slug(named_by, &slug, taken.value.deleted);
        errors.entry(named_by.to_owned()).or_insert(problem.clone());
        return Ok(Slug::Taken(problem));
    }
    Ok(Slug::Free(slug))
}

fn taken_slug(field: &str, slug: &StackSlug, deleted: bool) -> String {
    let taken = match deleted {
        true => "stays reserved for a deleted stack",
        false => "is already taken",
    };
    match field {
        "slug" => format!("The slug {slug} {taken}. Choose another one."),
        _ => format!("The {field} gives the slug {slug}, which {taken}. Enter a slug as well."),
    }
}

/// A slug that is taken, where nothing else is wrong.
fn conflict(field: &'static str, problem: String) -> Refusal {
    gantry_setup::web::Problem::new(
        StatusCode::CONFLICT,
        "The slug is taken",
        format!("Nothing was created. {problem}"),
    )
    .field(field, problem)
    .into()
}

/// Slug, definition and place among the project's stacks: all or nothing.
/// The version of the stack that was saved.
async fn save(app: &App, stack: &Stack, named_by: &'static str) -> Answer<u64> {
    let slug = SlugEntry::of(stack);
    let entry = ProjectStack { stack: stack.id.clone(), branch: stack.branch.clone() };
    // The project's entry may change at the same time (a hook is made): look once more.
    for _ in 0..3 {
        let config = Write::put(keys::stack_config(&stack.id), Expect::Absent, stack)?.first();
        let version = config.version().unwrap_or_default();
        let mut writes = vec![Write::put(keys::slug(&stack.slug), Expect::Absent, &slug)?, config];
        if let Some(project) = stack.project() {
            let key = keys::project_stack(project, &stack.id);
            writes.push(Write::put(key, Expect::Absent, &entry)?);
        }
        writes.extend(place::listed(app, stack).await?);
        let address = stack.module.as_ref().map(|module| {
            keys::registry(&module.namespace, &stack.settings.name, &module.terraform_provider)
        });
        if let Some(address) = &address {
            let entry = RegistryEntry { module: stack.id.clone() };
            writes.push(Write::put(address.clone(), Expect::Absent, &entry)?);
        }
        if app.store.write(writes).await? == Outcome::Written {
            return Ok(version);
        }
        if let Some(address) = address
            && app.store.get::<RegistryEntry>(&address).await?.is_some()
        {
            let problem =
                format!("{} is already the address of another module in the registry", address.sk);
            return Err(Refusal::fields(Errors::from([("name".to_owned(), problem)])));
        }
        if let Some(taken) = app.store.get::<SlugEntry>(&keys::slug(&stack.slug)).await? {
            let problem = taken_slug(named_by, &stack.slug, taken.value.deleted);
            return Err(conflict(named_by, problem));
        }
    }
    Err(changed_meanwhile())
}
