//! What the state of a stack holds: its resources as a tree, and its outputs.

use crate::{
    app::App,
    form::Params,
    pages::{
        page,
        shell::{Frame, Shell},
        show::{Moment, short},
    },
    refusal::Answer,
    stacks::{self, Kind, OutputList, Resource, ResourceList, ResourceQuery, StateWriter},
};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use gantry_domain::text::{counted, grouped};
use jiff::Timestamp;

/// Resources on one page.
const A_PAGE: i32 = 300;
/// So many are unfolded at once.
const UNFOLDED: usize = 30;
/// Modules that are named where not all resources are on the page.
const NAMED: usize = 200;
/// Characters of a value beyond which it is folded.
const FOLDED: usize = 120;

#[derive(Template)]
#[template(path = "stack_resources.html")]
struct ResourcePage {
    shell: Shell,
    slug: String,
    name: String,
    search: String,
    /// Why nothing is listed.
    unavailable: Option<String>,
    /// How many there are, and of them here.
    found: String,
    modules: Vec<Module>,
    is_unfolded: bool,
    /// The modules of all that was found, where only a part of it is here.
    index: Vec<(String, String)>,
    /// The writer of the oldest version that was compared.
    oldest: Option<Writer>,
    next: Option<String>,
}

struct Module {
    name: String,
    count: usize,
    types: Vec<Type>,
}

struct Type {
    name: String,
    rows: Vec<Row>,
}

struct Row {
    address: String,
    tainted: bool,
    deposed: bool,
    /// What was done with it, and by whom: the first thing, and the last.
    steps: Vec<(&'static str, Option<Writer>)>,
}

#[derive(Clone)]
struct Writer {
    run: Option<String>,
    by: String,
    at: Moment,
}

/// `GET /stacks/{slug}/resources?after=&search=`
pub(crate) async fn resources(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
    Params(query): Params<ResourceQuery>,
) -> Answer<Response> {
    let stack = stacks::find_of(&app, Kind::Stack, &slug).await?.value;
    let list = stacks::resources_of(&app, &stack, &query, A_PAGE).await?;
    let now = app.clock.now();
    let search = query.search.as_deref().unwrap_or_default().trim().to_owned();
    let is_part = list.resources.len() < list.total;
    let name = |module: &str| if module.is_empty() { "Root module" } else { module }.to_owned();
    let index = list.modules.iter().filter(|_| is_part && list.modules.len() > 1).take(NAMED);
    Ok(page(&ResourcePage {
        shell: frame.shell("stacks", format!("Resources of {}", stack.settings.name)).of(&stack),
        slug: stack.slug.to_string(),
        name: stack.settings.name.clone(),
        found: found(&list, !search.is_empty()),
        is_unfolded: list.resources.len() <= UNFOLDED,
        index: index
            .map(|(module, count)| (module.clone(), format!("{} ({count})", name(module))))
            .collect(),
        modules: tree(&list.resources, &name, now),
        oldest: list.compared_to.as_ref().map(|writer| Writer::of(writer, now)),
        unavailable: list.unavailable,
        next: list.next,
        search,
    }))
}

/// How many there are, or were found, and how many of them are on the page.
fn found(list: &ResourceList, is_search: bool) -> String {
    let (resources, read) = list.counts;
    let all = match read {
        0 => counted(resources, "resource"),
        _ => format!("{}, {}", counted(resources, "resource"), counted(read, "data source")),
    };
    let here = list.resources.len();
    let matches = match is_search {
        true => format!("{} of them match", grouped(list.total)),
        false => String::new(),
    };
    let part = match here < list.total {
        true => format!("{} of these are on this page", grouped(here)),
        false => String::new(),
    };
    let all = [all, matches, part];
    all.into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join("; ")
}

/// By module, then by type: the resources are in this order.
fn tree(resources: &[Resource], name: &dyn Fn(&str) -> String, now: Timestamp) -> Vec<Module> {
    let kind = |one: &Resource| (one.module.clone(), one.managed, one.resource_type.clone());
    let of_modules = resources.chunk_by(|one, next| one.module == next.module);
    let modules = of_modules.map(|all| Module {
        name: name(&all[0].module),
        count: all.len(),
        types: all
            .chunk_by(|one, next| kind(one) == kind(next))
            .map(|all| Type {
                name: match all[0].managed {
                    true => all[0].resource_type.clone(),
                    false => format!("data.{}", all[0].resource_type),
                },
                rows: all.iter().map(|one| row(one, now)).collect(),
            })
            .collect(),
    });
    modules.collect()
}

fn row(resource: &Resource, now: Timestamp) -> Row {
    let writer = |writer: &Option<StateWriter>| writer.as_ref().map(|one| Writer::of(one, now));
    let (first, last) = (writer(&resource.created_by), writer(&resource.changed_by));
    let is_same = resource.created_by == resource.changed_by;
    let steps = match resource.managed {
        true if is_same => vec![("created by", first)],
        true => vec![("created by", first), ("last changed by", last)],
        false => vec![("read by", last)],
    };
    Row {
        address: resource.address.clone(),
        tainted: resource.tainted,
        deposed: resource.deposed.is_some(),
        steps,
    }
}

impl Writer {
    fn of(writer: &StateWriter, now: Timestamp) -> Self {
        Self {
            run: writer.run.as_ref().map(ToString::to_string),
            by: writer.by.clone(),
            at: Moment::at(writer.at, now),
        }
    }
}

#[derive(Template)]
#[template(path = "stack_outputs.html")]
struct OutputPage {
    shell: Shell,
    slug: String,
    name: String,
    unavailable: Option<String>,
    outputs: Vec<OutputRow>,
    /// How many are not here.
    left_out: usize,
}

struct OutputRow {
    name: String,
    kind: String,
    /// None of a sensitive one.
    value: Option<String>,
    /// What is shown of a long one before it is unfolded.
    short: Option<String>,
}

/// `GET /stacks/{slug}/outputs`
pub(crate) async fn outputs(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
) -> Answer<Response> {
    let stack = stacks::find_of(&app, Kind::Stack, &slug).await?.value;
    let OutputList { outputs, total, unavailable, .. } = stacks::outputs_of(&app, &stack).await?;
    let left_out = total - outputs.len();
    let row = |output: stacks::Output| OutputRow {
        short: output.value.as_deref().and_then(folded),
        name: output.name,
        kind: output.kind,
        value: output.value,
    };
    Ok(page(&OutputPage {
        shell: frame.shell("stacks", format!("Outputs of {}", stack.settings.name)).of(&stack),
        slug: stack.slug.to_string(),
        name: stack.settings.name.clone(),
        unavailable,
        outputs: outputs.into_iter().map(row).collect(),
        left_out,
    }))
}

/// What stands for a value that is long, or has several lines.
fn folded(value: &str) -> Option<String> {
    let is_long = value.contains('\n') || value.chars().count() > FOLDED;
    is_long.then(|| short(&value.split_whitespace().collect::<Vec<_>>().join(" "), FOLDED))
}
