//! Modules: all of them, and one with its versions, its tests and how to use it.

use super::{
    commands,
    fields::Fields,
    go_to, markdown,
    overview::RunRow,
    page,
    shell::{Frame, Shell},
    show::{Chip, Moment, short},
    stack,
};
use crate::{
    access::Caller,
    app::{App, PublicUrl},
    form::Params,
    gitlab::detached,
    modules,
    refusal::{Answer, Done, Refusal},
    runs,
    stacks::{self, Kind, ListQuery},
};
use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use gantry_domain::{
    run::{Run, RunType},
    stack::Tool,
    text::clean_line,
};
use gantry_package::{Declared, Input, Metadata, Output, ProviderRequirement};
use gantry_store::scheduler::{VersionRecord, VersionState};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Versions that the page lists.
const VERSIONS: usize = 50;

#[derive(Template)]
#[template(path = "modules.html")]
struct List {
    shell: Shell,
    linked: bool,
    rows: Vec<ModuleRow>,
    next: Option<String>,
    search: String,
    label: String,
}

struct ModuleRow {
    slug: String,
    name: String,
    project: String,
    branch: String,
    labels: Vec<String>,
    current: Option<String>,
    trouble: Option<String>,
    latest: Option<RunRow>,
}

/// `GET /modules`
pub(crate) async fn list(
    State(app): State<App>,
    frame: Frame,
    Params(query): Params<ListQuery>,
) -> Answer<Response> {
    let filled = |text: &Option<String>| {
        text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let (search, label) = (filled(&query.search), filled(&query.label));
    let query = ListQuery { search: search.clone(), label: label.clone(), modules: true, ..query };
    let integration = app.store.integration().await?.map(|found| found.value);
    let found = stacks::find_page(&app, frame.caller()?, &query).await?;
    let now = app.clock.now();
    let mut rows = Vec::with_capacity(found.rows.len());
    for row in &found.rows {
        let module = &row.stack.value;
        let current = modules::current(&app, &module.id).await?;
        let blocked = row.head.blocked.as_ref().map(|_| "Blocked".to_owned());
        let is_detached = detached(module, integration.as_ref()).is_some();
        rows.push(ModuleRow {
            slug: module.slug.to_string(),
            name: short(&module.settings.name, 80),
            project: short(&module.project_path, 80),
            branch: short(&module.branch, 40),
            labels: module.settings.labels.iter().map(|label| short(label, 40)).collect(),
            current: current.map(|version| version.version.to_string()),
            trouble: blocked.or(is_detached.then(|| "Detached".to_owned())),
            latest: row.latest.as_ref().map(|run| RunRow::of(run, now)),
        });
    }
    Ok(page(&List {
        shell: frame.shell("modules", "Modules"),
        linked: integration.is_some_and(|known| known.linked),
        rows,
        next: found.next,
        search: search.unwrap_or_default(),
        label: label.unwrap_or_default(),
    }))
}

#[derive(Template)]
#[template(path = "module.html")]
struct Page {
    shell: Shell,
    slug: String,
    name: String,
    /// What it is for, as HTML.
    description: Option<String>,
    project: String,
    project_url: Option<String>,
    branch: String,
    root: String,
    made: Option<String>,
    outcome: Option<stack::Said>,
    detached: Option<String>,
    branch_missing: bool,
    blocked: Option<stack::Blocked>,
    current: Option<String>,
    usage: String,
    /// Why the tools cannot ask for it, where they cannot.
    no_registry: Option<String>,
    /// Where Terraform looks for a token of the host; none where it has a port.
    token_variable: Option<String>,
    host: String,
    tag: String,
    versions: Vec<VersionRow>,
    code: Option<Code>,
    runs: Vec<RunRow>,
}

/// What the code of the current version says of itself.
struct Code {
    /// As the module's own tool reads it, and where the other one reads something else, that.
    views: Vec<View>,
    terraform: Option<String>,
    opentofu: Option<String>,
    problems: Vec<String>,
    /// Its README, as HTML.
    readme: Option<String>,
}

struct View {
    /// Who reads it like that; none where both do.
    tool: Option<&'static str>,
    inputs: Vec<InputRow>,
    outputs: Vec<OutputRow>,
    providers: Vec<ProviderRow>,
}

struct VersionRow {
    number: String,
    current: bool,
    active: bool,
    chip: Chip,
    tag: Option<String>,
    yanked: Option<String>,
    run: String,
    commit: String,
    at: Moment,
}

struct InputRow {
    name: String,
    kind: String,
    required: bool,
    sensitive: bool,
    default: String,
    description: String,
}

struct OutputRow {
    name: String,
    sensitive: bool,
    description: String,
}

struct ProviderRow {
    name: String,
    source: String,
    version: String,
}

#[derive(Default, Deserialize)]
pub(crate) struct Query {
    made: Option<String>,
    asked: Option<String>,
}

/// `GET /modules/{slug}`
pub(crate) async fn show(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
    Params(query): Params<Query>,
) -> Answer<Response> {
    let module = stacks::find_of(&app, Kind::Module, &slug).await?.value;
    let now = app.clock.now();
    let integration = app.store.integration().await?.map(|found| found.value);
    let head = stacks::head(&app, &module.id).await?.map(|head| head.value).unwrap_or_default();
    let missing = stacks::tracked_branch(&app, &module).await?.is_some_and(|b| b.missing);
    let all = modules::versions_of(&app, &module.id).await?;
    let current = modules::newest(&all).cloned();
    let code = match &current {
        Some(current) => modules::code_of(&app, &module.id, current).await?,
        None => None,
    };
    let inputs =
        code.as_ref().map(|code| inputs_of(code, module.settings.tool)).unwrap_or_default();
    let asked = runs::ListQuery { after: None, limit: Some(100) };
    let found = runs::page(&app, frame.caller()?, &module, &asked).await?.0;
    // The tests stand on the page of the run that they belong to.
    let own = |run: &&Run| run.run_type != RunType::Test;
    let runs: Vec<RunRow> =
        found.iter().filter(own).take(25).map(|run| RunRow::of(run, now)).collect();
    let url = app.public_url.as_ref();
    let host = url.and_then(PublicUrl::registry_host).unwrap_or_default().to_owned();
    let address = modules::address_of(&module);
    let tag_prefix = module.module.as_ref().map(|of| of.tag_prefix.clone()).unwrap_or_default();
    let number = current.as_ref().map(|version| version.version.to_string());
    let versions = all.iter().rev().take(VERSIONS);
    let row = |version: &VersionRecord| version_row(version, current.as_ref(), now);
    Ok(page(&Page {
        shell: frame.shell("modules", module.settings.name.clone()).of(&module),
        slug: module.slug.to_string(),
        name: module.settings.name.clone(),
        description: module.settings.description.as_deref().map(|text| markdown::html(text, 1)),
        project: short(&module.project_path, 120),
        project_url: stack::project_url(&module, integration.as_ref()),
        branch: short(&module.branch, 80),
        root: match module.settings.project_root.as_str() {
            "" => "/".to_owned(),
            root => root.to_owned(),
        },
        made: query.made,
        outcome: stack::outcome(&app, &module, query.asked.as_deref(), None).await?,
        detached: detached(&module, integration.as_ref()),
        branch_missing: missing,
        blocked: stack::blocked(&head, now),
        usage: usage(&module.settings.name, &host, &address, number.as_deref(), inputs),
        no_registry: url.and_then(PublicUrl::without_registry),
        token_variable: token_variable(&host),
        host,
        tag: format!("{tag_prefix}v1.0.0"),
        versions: versions.map(row).collect(),
        code: code.map(|code| code_view(code, module.settings.tool)),
        current: number,
        runs,
    }))
}

/// The variable in which Terraform looks for a host's token; hosts with a port have none.
fn token_variable(host: &str) -> Option<String> {
    if host.contains(':') {
        return None;
    }
    Some(format!("TF_TOKEN_{}", host.replace('-', "__").replace('.', "_")))
}

fn usage(name: &str, host: &str, address: &str, version: Option<&str>, inputs: &[Input]) -> String {
    let mut lines = vec![
        format!("module \"{name}\" {{"),
        format!("  source  = \"{host}/{address}\""),
        format!("  version = \"{}\"", version.unwrap_or("0.0.0")),
    ];
    let required: Vec<&Input> = inputs.iter().filter(|input| input.required).collect();
    if !required.is_empty() {
        lines.push(String::new());
        lines.extend(required.iter().map(|input| format!("  {} = …", short(&input.name, 60))));
    }
    lines.push("}".to_owned());
    lines.join("\n")
}

fn version_row(
    version: &VersionRecord,
    current: Option<&VersionRecord>,
    now: Timestamp,
) -> VersionRow {
    let active = version.state == VersionState::Active;
    let chip = match (active, &version.yanked) {
        (false, _) => Chip::new("bad", "✕", "Failed"),
        (true, Some(_)) => Chip::new("quiet", "⊘", "Yanked"),
        (true, None) => Chip::new("ok", "✓", "Active"),
    };
    VersionRow {
        number: version.version.to_string(),
        current: current.is_some_and(|current| current.version == version.version),
        active,
        chip,
        tag: version.tag.as_deref().map(|tag| short(tag, 60)),
        yanked: version.yanked.as_ref().map(|yanked| short(&yanked.note, 160)),
        run: version.run.to_string(),
        commit: version.commit.short().to_owned(),
        at: Moment::at(version.at, now),
    }
}

/// The inputs as the tool reads them.
fn inputs_of(code: &Metadata, tool: Tool) -> &[Input] {
    match &code.opentofu {
        Some(own) if tool == Tool::OpenTofu => &own.inputs,
        _ => &code.inputs,
    }
}

fn code_view(code: Metadata, tool: Tool) -> Code {
    let Metadata { inputs, outputs, providers, .. } = code;
    let shared = Declared { inputs, outputs, providers };
    let mut views = match code.opentofu {
        None => vec![view(None, shared)],
        Some(own) => vec![view(Some("Terraform"), shared), view(Some("OpenTofu"), own)],
    };
    if tool == Tool::OpenTofu {
        views.reverse();
    }
    let line = |text: String| clean_line(&text, 300);
    Code {
        views,
        terraform: code.required_version.map(line),
        opentofu: code.required_opentofu.map(line),
        problems: code.problems.into_iter().map(line).collect(),
        readme: code.readme.map(|text| markdown::html(&text, 2)),
    }
}

fn view(tool: Option<&'static str>, declared: Declared) -> View {
    View {
        tool,
        inputs: declared.inputs.into_iter().map(input_row).collect(),
        outputs: declared.outputs.into_iter().map(output_row).collect(),
        providers: declared.providers.into_iter().map(provider_row).collect(),
    }
}

fn input_row(input: Input) -> InputRow {
    InputRow {
        name: short(&input.name, 80),
        kind: short(&input.type_.unwrap_or_else(|| "any".to_owned()), 200),
        required: input.required,
        sensitive: input.sensitive,
        default: short(&input.default.unwrap_or_default(), 120),
        description: short(&input.description.unwrap_or_default(), 400),
    }
}

fn output_row(output: Output) -> OutputRow {
    OutputRow {
        name: short(&output.name, 80),
        sensitive: output.sensitive,
        description: short(&output.description.unwrap_or_default(), 400),
    }
}

fn provider_row(provider: ProviderRequirement) -> ProviderRow {
    let implied = || format!("hashicorp/{}", provider.name);
    ProviderRow {
        source: short(&provider.source.clone().unwrap_or_else(implied), 120),
        name: short(&provider.name, 80),
        version: short(&provider.version.unwrap_or_else(|| "any".to_owned()), 120),
    }
}

/// `POST /modules/{slug}/versions`
pub(crate) async fn make_version(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Path(slug): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let view = modules::ask_version(&app, &caller, &slug, body(&fields, &["version", "commit"]));
    let view = view.await?;
    let to = match &view.run {
        Some(run) => format!("runs/{run}"),
        None => format!("modules/{slug}"),
    };
    Ok(commands::asked(&frame, &to, view))
}

/// `POST /modules/{slug}/yank`
pub(crate) async fn yank(
    State(app): State<App>,
    frame: Frame,
    Extension(caller): Extension<Caller>,
    Path(slug): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let number = fields.text("version").to_owned();
    let view = modules::ask_yank(&app, &caller, &slug, &number, body(&fields, &["note"])).await?;
    Ok(commands::asked(&frame, &format!("modules/{slug}"), view))
}

/// `POST /modules/{slug}/delete`
pub(crate) async fn remove(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    let slug = stacks::find_of(&app, Kind::Module, &slug).await?.value.slug.to_string();
    if fields.text("slug").trim() != slug {
        return Err(Refusal::field("slug", format!("Type \"{slug}\" to confirm.")));
    }
    let (slug, _) = stacks::delete(&app, &slug, None).await?;
    let done = Done::new(format!("deleted the module {slug}"));
    Ok((Extension(done), go_to(&format!("{}modules?done=module-deleted", frame.root)))
        .into_response())
}

/// The fields that were filled in.
fn body(fields: &Fields, names: &[&str]) -> Map<String, Value> {
    let filled = names.iter().map(|name| ((*name).to_owned(), fields.value(name)));
    filled.filter(|(_, value)| !value.is_null()).collect()
}
