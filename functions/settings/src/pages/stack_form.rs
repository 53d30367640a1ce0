//! The form of a stack: made, and changed. Its fields become the JSON that the API takes.

use super::{
    fields::Fields,
    forms::{CommandRow, FormView, VariableRow},
    go_to,
    kept::Keeper,
    respond,
    shell::{Frame, Shell},
    sign_in_settings::LEVELS,
    unpushed_form::{self, UnpushedFields},
    variables,
};
use crate::{
    app::App,
    form::Errors,
    refusal::{Answer, Done, Refusal},
    stacks::{self, Kind},
};
use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use gantry_domain::stack::{Stack, TimeLimit};
use gantry_store::Stored;
use serde_json::{Map, Value, json};

/// Empty rows that a form has for further variables.
const SPARE_ROWS: usize = 3;

#[derive(Template)]
#[template(path = "form.html")]
struct Page {
    shell: Shell,
    /// The part of the addresses.
    place: &'static str,
    word: &'static str,
    is_module: bool,
    form: FormView,
    variables: Vec<VariableRow>,
    hooks: Vec<HookList>,
    unpushed: UnpushedFields,
    /// The slug of the stack that is changed; none for a new one.
    slug: Option<String>,
    /// The version that the change is based on.
    version: u64,
    hook: bool,
    /// What somebody else changed meanwhile: field, what is there now, what was typed.
    differences: Vec<(String, String, String)>,
    /// Where *Cancel* leads.
    back: String,
}

/// The commands that run at one moment.
struct HookList {
    name: &'static str,
    label: &'static str,
    rows: Vec<CommandRow>,
}

/// The part of the addresses, and of the navigation, that pages of this kind have.
pub(super) fn place(kind: Kind) -> &'static str {
    match kind {
        Kind::Stack => "stacks",
        Kind::Module => "modules",
    }
}

fn draw(
    kind: Kind,
    shell: Shell,
    status: StatusCode,
    form: FormView,
    edits: Option<(&str, u64)>,
    hook: bool,
    differences: Vec<(String, String, String)>,
) -> Response {
    let mut variables = form.variables();
    for row in &mut variables {
        // The API's words are none that the list offers.
        if row.runs.is_empty() && row.runs_error.is_some() {
            row.runs_error = Some(variables::choose_runs(kind).to_owned());
        }
    }
    let filled = variables.len();
    variables.extend((filled..filled + SPARE_ROWS).map(|at| VariableRow {
        at,
        lines: 1,
        ..Default::default()
    }));
    let (slug, version) = match edits {
        Some((slug, version)) => (Some(slug.to_owned()), version),
        None => (None, 0),
    };
    let hooks = HOOKS.map(|(name, label)| {
        let rows = form.commands(&format!("hooks.{name}"));
        HookList { name, label, rows }
    });
    let unpushed = UnpushedFields::of(&form);
    let place = place(kind);
    let back = match (&slug, kind) {
        (Some(slug), _) => format!("{place}/{slug}"),
        (None, Kind::Stack) => "./".to_owned(),
        (None, Kind::Module) => place.to_owned(),
    };
    let page = Page {
        shell,
        place,
        word: kind.word(),
        is_module: kind == Kind::Module,
        form,
        variables,
        hooks: hooks.into(),
        unpushed,
        slug,
        version,
        hook,
        differences,
        back,
    };
    respond(status, &page)
}

/// `GET /stacks/new`
pub(crate) async fn new(frame: Frame) -> Response {
    ask(&frame, Kind::Stack)
}

/// `GET /modules/new`
pub(crate) async fn new_module(frame: Frame) -> Response {
    ask(&frame, Kind::Module)
}

fn ask(frame: &Frame, kind: Kind) -> Response {
    let shell = frame.shell(place(kind), format!("New {}", kind.word()));
    let form = FormView::of(stacks::blank(kind));
    draw(kind, shell, StatusCode::OK, form, None, true, Vec::new())
}

/// `POST /modules/new`
pub(crate) async fn create_module(
    State(app): State<App>,
    frame: Frame,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    Box::pin(make(&app, &frame, Kind::Module, &fields)).await
}

/// `GET /modules/{slug}/edit`
pub(crate) async fn edit_module(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
) -> Answer<Response> {
    begin(&app, &frame, Kind::Module, &slug).await
}

/// `POST /modules/{slug}/edit`
pub(crate) async fn save_module(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    keep(&app, &frame, Kind::Module, &slug, &fields).await
}

/// `POST /stacks/new`
pub(crate) async fn create(
    State(app): State<App>,
    frame: Frame,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    Box::pin(make(&app, &frame, Kind::Stack, &fields)).await
}

async fn make(app: &App, frame: &Frame, kind: Kind, fields: &Fields) -> Answer<Response> {
    let keeper = Keeper::of(app, frame, &format!("{}/new", place(kind)));
    let (values, wrong) = typed(kind, fields, &keeper);
    let hook = fields.has("make_webhook");
    let mut wanted = values.clone();
    wanted.retain(|_, value| !value.is_null());
    match stacks::make(app, kind, wanted, wrong.clone()).await {
        Ok(made) => {
            let slug = made.stack.slug().clone();
            let mut outcome = format!("created the {} {slug}", kind.word());
            let stack = stacks::find(app, slug.as_str()).await?.value;
            let mut hint = "checked";
            if hook && stack.project().is_some() {
                match stacks::ensure_hook(app, frame.caller()?, &stack).await {
                    Ok(_) => outcome.push_str(" and its project's webhook"),
                    Err(refusal) => {
                        hint = "no-webhook";
                        outcome.push_str(&format!("; no webhook: {}", refusal.outcome()));
                    }
                }
            }
            let to = format!("{}{}/{slug}?made={hint}#check", frame.root, place(kind));
            let done = Done::new(outcome).making(&slug);
            Ok((Extension(done), go_to(&to)).into_response())
        }
        Err(refusal) => {
            let form = FormView::refused(values, &refusal).telling(wrong).keeping_secrets(&keeper);
            let shell = frame.shell(place(kind), format!("New {}", kind.word()));
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let response = draw(kind, shell, status, form, None, hook, Vec::new());
            Ok((Extension(Done::new(refusal.outcome())), response).into_response())
        }
    }
}

/// `GET /stacks/{slug}/edit`
pub(crate) async fn edit(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
) -> Answer<Response> {
    begin(&app, &frame, Kind::Stack, &slug).await
}

async fn begin(app: &App, frame: &Frame, kind: Kind, slug: &str) -> Answer<Response> {
    let stack = stacks::find_of(app, kind, slug).await?;
    let weak = stacks::weaknesses(&stack.value, &app.sealer);
    let form = FormView::of(definition(&stack.value)).warning_of(weak);
    let shell = frame.shell(place(kind), format!("Edit {}", stack.value.settings.name));
    Ok(draw(kind, shell, StatusCode::OK, form, Some((slug, stack.version)), false, Vec::new()))
}

/// `POST /stacks/{slug}/edit`
pub(crate) async fn save(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Answer<Response> {
    keep(&app, &frame, Kind::Stack, &slug, &fields).await
}

async fn keep(
    app: &App,
    frame: &Frame,
    kind: Kind,
    slug: &str,
    fields: &Fields,
) -> Answer<Response> {
    let caller = frame.caller()?;
    let before = stacks::find_of(app, kind, slug).await?;
    let keeper = Keeper::of(app, frame, &format!("{}/{slug}/edit", place(kind)));
    let (mut values, wrong) = typed(kind, fields, &keeper);
    values.remove("slug");
    let based_on = fields.text("version").to_owned();
    let integration = app.store.integration().await?.map(|found| found.value);
    let is_attached = stacks::is_there(&before.value, integration.as_ref());
    let shown = stacks::definition(&before.value, is_attached);
    let wanted = changed_only(kind, &shown, values.clone());
    let based = Some(based_on.clone());
    match Box::pin(stacks::change(app, caller, before.clone(), wanted, based, wrong.clone())).await
    {
        Ok((_, _, changed)) => {
            let done = Done::new(format!("changed {changed}"));
            let to = format!("{}{}/{slug}?made=changed#check", frame.root, place(kind));
            Ok((Extension(done), go_to(&to)).into_response())
        }
        Err(refusal) => {
            let form = FormView::refused(values.clone(), &refusal);
            let form = form.telling(wrong).keeping_secrets(&keeper);
            refused(app, frame, slug, &before, (values, form), &based_on, &refusal).await
        }
    }
}

/// The form again, with what was typed; and, where somebody else was first, with both versions.
async fn refused(
    app: &App,
    frame: &Frame,
    slug: &str,
    before: &Stored<Stack>,
    (values, form): (Map<String, Value>, FormView),
    based_on: &str,
    refusal: &Refusal,
) -> Answer<Response> {
    let kind = Kind::of(&before.value);
    let now = stacks::find(app, slug).await?;
    let differences = if based_on == now.version.to_string() {
        Vec::new()
    } else {
        differences(&definition(&now.value), &values)
    };
    let weak = stacks::weaknesses(&now.value, &app.sealer);
    let mut form = form.warning_of(weak);
    if !differences.is_empty() {
        form.problem = Some(format!(
            "Somebody else changed the {} in the meantime. Nothing of yours was saved. Below are \
             the current values and yours; save again to overwrite them.",
            kind.word()
        ));
    }
    let shell = frame.shell(place(kind), format!("Edit {}", before.value.settings.name));
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let response = draw(kind, shell, status, form, Some((slug, now.version)), false, differences);
    Ok((Extension(Done::new(refusal.outcome())), response).into_response())
}

fn definition(stack: &Stack) -> Map<String, Value> {
    stacks::definition(stack, true)
}

/// Fields that are not the same: name, what is there now, what was typed.
fn differences(
    now: &Map<String, Value>,
    typed: &Map<String, Value>,
) -> Vec<(String, String, String)> {
    let words = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let same = |name: &str, value: &Value| {
        // A secret value is in no definition, and variables are compared by what can be seen.
        name == "variables" || now.get(name).is_none_or(|there| there == value)
    };
    typed
        .iter()
        .filter(|(name, value)| !same(name, value))
        .map(|(name, value)| {
            (name.clone(), words(now.get(name).unwrap_or(&Value::Null)), words(value))
        })
        .collect()
}

/// What was typed, as the API takes it; and what is wrong with it that the API cannot know.
fn typed(kind: Kind, fields: &Fields, keeper: &Keeper) -> (Map<String, Value>, Errors) {
    let fields = fields.clone().with_kept(|field, sealed| keeper.open(field, sealed));
    let (mut values, mut wrong) = (read(kind, &fields), variables::lost(&fields));
    if let Some(rows) = values.get_mut("variables").and_then(Value::as_array_mut) {
        variables::add_pasted(&fields, rows, &mut wrong);
    }
    (values, wrong)
}

/// The form's fields as the API takes them, each by what a definition has in its place: null where
/// nothing was typed.
fn read(kind: Kind, fields: &Fields) -> Map<String, Value> {
    let read = |(name, usual): (String, Value)| {
        let value = match (name.as_str(), usual) {
            ("variables", _) => Value::Array(variables::read(fields)),
            ("on_tag", _) => match fields.value("on_tag.pattern") {
                Value::Null => Value::Null,
                pattern => json!({ "pattern": pattern, "run": fields.value("on_tag.run") }),
            },
            ("hooks", _) => {
                let list = |name: &str| (name.to_owned(), fields.items(&format!("hooks.{name}")));
                HOOKS.iter().map(|(name, _)| list(name)).collect()
            }
            ("approvals", _) => approvals(fields),
            ("drift", _) => unpushed_form::drift(fields),
            ("schedules", _) => unpushed_form::schedules(fields),
            ("levels", _) => STACK_LEVELS
                .iter()
                .map(|(name, _)| {
                    (name.trim_start_matches("levels.").to_owned(), fields.value(name))
                })
                .filter(|(_, level)| !level.is_null())
                .collect(),
            ("timeouts", Value::Object(limits)) => {
                let limit = |name: String| {
                    let typed = fields.value(&format!("timeouts.{name}"));
                    (name, time_limit(typed))
                };
                limits.into_iter().map(|(name, _)| limit(name)).collect()
            }
            (_, Value::Array(_)) => fields.lines(&name),
            (_, Value::Bool(_)) => fields.has(&name).into(),
            _ => fields.value(&name),
        };
        (name, value)
    };
    stacks::blank(kind).into_iter().map(read).collect()
}

/// The approvals that were typed: none where neither how many nor whose was.
fn approvals(fields: &Fields) -> Value {
    let (required, from) = (fields.value("approvals.required"), fields.lines("approvals.from"));
    if required.is_null() && from.as_array().is_some_and(Vec::is_empty) {
        return Value::Null;
    }
    let number = required.as_str().and_then(|typed| typed.parse::<u32>().ok());
    json!({ "required": number.map_or(required, Value::from), "from": from })
}

/// What was typed as a time, in seconds; as it is where it is none, for the refusal to name it.
fn time_limit(typed: Value) -> Value {
    let limit = typed.as_str().and_then(|text| text.parse::<TimeLimit>().ok());
    limit.map_or(typed, |limit| limit.seconds().into())
}

/// The fields that somebody has changed, and of lists the parts. What comes back as it was shown is
/// what is there: a browser does not keep how a value's lines end.
fn changed_only(
    kind: Kind,
    there: &Map<String, Value>,
    mut typed: Map<String, Value>,
) -> Map<String, Value> {
    let shown = read(kind, &Fields::of(there));
    typed.retain(|name, value| shown.get(name) != Some(value));
    for (name, value) in &mut typed {
        let (Some(there), Some(shown)) = (there.get(name), shown.get(name)) else { continue };
        match name.as_str() {
            "variables" | "schedules" => keep_unchanged(value, shown, there),
            "hooks" => {
                for (list, value) in value.as_object_mut().into_iter().flatten() {
                    keep_unchanged(value, &shown[list], &there[list]);
                }
            }
            _ => {}
        }
    }
    typed
}

/// Puts what is there in the place of each item that came back as it was shown.
fn keep_unchanged(typed: &mut Value, shown: &Value, there: &Value) {
    let (Some(typed), Some(shown), Some(there)) =
        (typed.as_array_mut(), shown.as_array(), there.as_array())
    else {
        return;
    };
    for item in typed {
        if let Some(there) = shown.iter().zip(there).find(|(shown, _)| *shown == item) {
            *item = there.1.clone();
        }
    }
}

/// What a stack may ask people to be in its project.
const STACK_LEVELS: [(&str, &str); 3] = [
    ("levels.preview", "Start, repeat and stop previews"),
    ("levels.deploy", "Confirm, discard, start and stop deploys, and unblock"),
    ("levels.edit", "Change and delete it"),
];

/// The lists of hooks, in the order in which they run.
const HOOKS: [(&str, &str); 6] = [
    ("before_init", "Before init"),
    ("after_init", "After init"),
    ("before_plan", "Before plan"),
    ("after_plan", "After plan"),
    ("before_apply", "Before apply"),
    ("after_apply", "After apply"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_what_the_api_takes() {
        let fields = Fields::read(
            b"name=Net&slug=&project=a/b&branch=main&project_root=&labels=x%0D%0Ay&manage_state=on\
              &on_tag.pattern=v*&on_tag.run=tracked&variables[0].name=A&variables[0].value=1\
              &variables[0].runs=&variables[1].name=S&variables[1].value=&variables[1].secret=on\
              &variables[1].runs=&variables[2].name=&variables[2].value=\
              &hooks.after_plan[1]=true&hooks.after_plan[0]=if+x%0D%0Athen+y%0D%0Afi&\
              hooks.after_plan[2]=+%0D%0A&approvals.required=+2+&approvals.from=@ada%0D%0A%0D%0A@a/b\
              &levels.preview=&levels.deploy=owner",
        );
        let values = Value::Object(read(Kind::Stack, &fields));
        assert_eq!(values["slug"], Value::Null);
        assert_eq!(values["labels"], json!(["x", "y"]));
        assert_eq!((&values["autodeploy"], &values["manage_state"]), (&json!(false), &json!(true)));
        assert_eq!(values["on_tag"], json!({"pattern": "v*", "run": "tracked"}));
        assert_eq!(
            values["variables"],
            json!([
                {"name": "A", "secret": false, "value": "1", "runs": "all"},
                {"name": "S", "secret": true},
            ])
        );
        assert_eq!(values["hooks"]["after_plan"], json!(["if x\nthen y\nfi", "true"]));
        assert_eq!(values["approvals"], json!({ "required": 2, "from": ["@ada", "@a/b"] }));
        assert_eq!(values["levels"], json!({ "deploy": "owner" }));
        for (typed, expected) in [
            ("approvals.required=&approvals.from=+%0D%0A", json!(null)),
            ("approvals.required=two", json!({ "required": "two", "from": [] })),
            ("approvals.from=@ada", json!({ "required": null, "from": ["@ada"] })),
        ] {
            let values = read(Kind::Stack, &Fields::read(typed.as_bytes()));
            assert_eq!(values["approvals"], expected, "{typed}");
        }
    }

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(fields) = value else { panic!() };
        fields
    }

    /// Values that a browser, or the reading of a form, does not give back as they are.
    fn awkward() -> Map<String, Value> {
        object(json!({
            "name": "Net", "project": "a/b", "branch": "main", "project_root": "", "pool": null,
            "project_globs": ["a/**"], "var_files": ["eu.tfvars"], "labels": ["x", "y"],
            "allow_forks": [], "autodeploy": false, "manage_state": true, "comment": "full",
            "on_tag": { "pattern": "v*", "run": "tracked" }, "tool": "terraform",
            "approvals": { "required": 2, "from": ["@ada", "@acme/ops"] },
            "require_merge_request_approval": true, "levels": { "deploy": "owner" },
            "variables": [
                { "name": "PEM", "value": "-----\r\nabc\r\n-----\r\n", "secret": false, "runs": "all" },
                { "name": "LINES", "value": "\none\ntwo\n", "secret": false, "runs": "all" },
                { "name": "SPACES", "value": "  x\u{1b}[0m\u{202e} ", "secret": false, "runs": "tracked" },
                { "name": "S", "secret": true, "runs": "tracked" },
            ],
            "hooks": {
                "before_init": ["set -e\r\nmake\rx\r\n", "  true  "], "after_init": [],
                "before_plan": ["one\n\ntwo"], "after_plan": [], "before_apply": [],
                "after_apply": [],
            },
            "drift": {
                "schedule": { "own": { "cron": "0 3 * * *", "time_zone": "Europe/Berlin" } },
                "plan": "full", "issue": true, "labels": ["drift"], "assignees": [],
                "tolerate": [{ "address": "module.asg.*", "attributes": ["tags.*", "size"] }],
            },
            "schedules": [
                { "name": "nightly", "when": { "cron": "0 3 * * *", "time_zone": "UTC" }, "task": null },
                {
                    "name": "keys", "when": { "cron": "0 4 * * *", "time_zone": "UTC" },
                    "task": "set -e\r\nmake\rx\r\n",
                },
            ],
            "replan": "none",
        }))
    }

    #[test]
    fn a_form_that_is_sent_as_it_was_shown_changes_nothing() {
        let there = awkward();
        let mut fields = Fields::of(&there);
        let sent = changed_only(Kind::Stack, &there, read(Kind::Stack, &fields));
        let said: Vec<&String> =
            sent.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name).collect();
        assert!(said.is_empty(), "{sent:?}");
        fields = Fields::read(fields.as_query("?").trim_start_matches("??").as_bytes());
        assert!(
            changed_only(Kind::Stack, &there, read(Kind::Stack, &fields))
                .values()
                .all(Value::is_null)
        );
    }

    #[test]
    fn what_is_changed_leaves_the_rest_of_its_list_as_it_is() {
        let there = awkward();
        let mut changed = there.clone();
        changed["variables"][2]["value"] = "y".into();
        changed["hooks"]["before_init"][1] = "false".into();
        changed["schedules"][0]["name"] = "daily".into();
        let sent = changed_only(Kind::Stack, &there, read(Kind::Stack, &Fields::of(&changed)));
        assert_eq!(sent["variables"][0], there["variables"][0]);
        assert_eq!(sent["variables"][1], there["variables"][1]);
        assert_eq!(sent["variables"][2]["value"], "y");
        assert_eq!(sent["variables"][3], there["variables"][3]);
        assert_eq!(sent["hooks"]["before_init"][0], there["hooks"]["before_init"][0]);
        assert_eq!(sent["hooks"]["before_init"][1], "false");
        assert_eq!(sent["hooks"]["before_plan"], there["hooks"]["before_plan"]);
        assert_eq!(sent["schedules"][0]["name"], "daily");
        assert_eq!(sent["schedules"][1], there["schedules"][1]);
        assert!(!sent.contains_key("labels") && !sent.contains_key("drift"));
    }
}
