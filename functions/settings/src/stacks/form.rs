//! A stack as a person defines it: every field checked, everything wrong said at once.

use super::{
    control, unpushed,
    variables::{self, WantedVariable},
};
use crate::form::{Errors, Form};
use gantry_domain::{
    GitUrl, ProjectId, StackSlug,
    decision::globs,
    drift::DriftSettings,
    stack::{
        CommentLevel, Hooks, OnPush, OnTag, Pool, Replan, Roles, Settings, Stack, TimeLimit,
        Timeouts, TrackedQueue, normalize_root, normalize_var_file,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The fields that an answer has beside the definition; sent back, they change nothing.
const READ_ONLY: &[&str] = &[
    "id",
    "project_id",
    "project_path",
    "created_at",
    "page",
    "status",
    "findings",
    "note",
    "webhook",
];

/// A definition as it was sent, checked as far as that goes without asking anybody.
pub(super) struct Wanted {
    pub(super) settings: Settings,
    pub(super) slug: Option<StackSlug>,
    pub(super) project: Option<ProjectRef>,
    /// The project's default branch when nothing was said.
    pub(super) branch: Option<String>,
    /// By the project's visibility when nothing was said.
    pub(super) comment: Option<CommentLevel>,
    pub(super) variables: Vec<WantedVariable>,
    /// The version that an edit is based on.
    pub(super) version: Option<u64>,
    /// What only modules have.
    pub(super) module: Option<WantedModule>,
}

/// What a module's definition has besides what it shares with stacks.
pub(super) struct WantedModule {
    /// Guessed from the project's name when nothing was said.
    pub(super) terraform_provider: Option<String>,
    pub(super) tag_prefix: String,
}

/// What a definition is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Code that is applied.
    Stack,
    /// Code that stacks use, and that is only tested.
    Module,
}

impl Kind {
    pub(crate) fn of(stack: &Stack) -> Self {
        if stack.module.is_some() { Self::Module } else { Self::Stack }
    }

    /// The word for people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stack => "stack",
            Self::Module => "module",
        }
    }
}

/// Where code can be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Provider {
    /// A project of the linked GitLab server.
    #[default]
    Gitlab,
    /// A public repository.
    Git,
}

/// A project or repository as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProjectRef {
    Id(ProjectId),
    Path(String),
    Git(GitUrl),
}

/// Reads the definition of a stack or a module. What is wrong is collected, so that the caller can
/// add what it finds.
pub(super) fn read(kind: Kind, fields: Map<String, Value>) -> (Wanted, Errors) {
    let mut form = Form::new(fields);
    let name = name(&mut form, kind);
    let slug = form.choice::<StackSlug>("slug");
    let provider = form.choice::<Provider>("provider").unwrap_or_default();
    if kind == Kind::Module && provider == Provider::Git {
        form.wrong("provider", "Must be gitlab, because a module's code is in a GitLab project");
    }
    let project = project(&mut form, provider);
    let branch = branch(&mut form);
    let project_root = root(&mut form);
    let comment = form.choice("comment");
    let mut settings = Settings {
        name,
        description: description(&mut form),
        var_files: var_files(&mut form, &project_root),
        tool: form.choice("tool").unwrap_or_default(),
        tool_version: tool_version(&mut form),
        pool: pool(&mut form),
        roles: Roles { plan: role(&mut form, "plan_role"), apply: None },
        allow_forks: form.texts("allow_forks", 100, fork).unwrap_or_default(),
        comment: comment.unwrap_or_default(),
        labels: labels(&mut form),
        timeouts: timeouts(&mut form, kind),
        levels: control::levels(&mut form),
        project_root,
        project_globs: Vec::new(),
        autodeploy: false,
        approvals: None,
        require_merge_request_approval: false,
        on_push: OnPush::Tracked,
        on_tag: None,
        tracked_queue: TrackedQueue::Every,
        mention: false,
        comment_commands: false,
        local_previews: false,
        manage_state: true,
        drift: DriftSettings::default(),
        schedules: Vec::new(),
        replan: Replan::default(),
        hooks: Hooks::default(),
    };
    let module = match kind {
        Kind::Stack => {
            of_stacks_alone(&mut form, &mut settings);
            None
        }
        Kind::Module => Some(of_modules_alone(&mut form)),
    };
    if provider == Provider::Git {
        control::refuse_elsewhere(&mut form, &settings);
        unpushed::refuse_elsewhere(&mut form, &settings);
    }
    let variables = variables::read(&mut form);
    if settings.manage_state {
        variables::check_workspace(&mut form, &variables);
    }
    let version = form.choice("version");
    form.ignore(READ_ONLY);
    if kind == Kind::Module {
        form.ignore(&["namespace", "source", "current"]);
    }
    let wanted = Wanted { settings, slug, project, branch, comment, variables, version, module };
    (wanted, form.finish())
}

/// Reads [`Settings::OF_STACKS_ALONE`].
fn of_stacks_alone(form: &mut Form, settings: &mut Settings) {
    settings.project_globs = globs(form, &settings.project_root);
    settings.roles.apply = role(form, "apply_role");
    settings.autodeploy = form.flag("autodeploy").unwrap_or(false);
    settings.approvals = control::approvals(form);
    settings.require_merge_request_approval =
        form.flag("require_merge_request_approval").unwrap_or(false);
    settings.on_push = form.choice("on_push").unwrap_or_default();
    settings.on_tag = on_tag(form);
    settings.tracked_queue = form.choice("tracked_queue").unwrap_or_default();
    settings.mention = form.flag("mention").unwrap_or(false);
    settings.comment_commands = form.flag("comment_commands").unwrap_or(false);
    settings.local_previews = form.flag("local_previews").unwrap_or(false);
    settings.manage_state = form.flag("manage_state").unwrap_or(true);
    settings.drift = unpushed::drift(form);
    settings.schedules = unpushed::schedules(form);
    settings.replan = form.choice("replan").unwrap_or_default();
    settings.hooks = hooks(form);
}

fn of_modules_alone(form: &mut Form) -> WantedModule {
    let terraform_provider = form.text("terraform_provider");
    if terraform_provider.as_ref().is_some_and(|name| !is_provider_name(name)) {
        form.wrong("terraform_provider", "Must be 1 to 64 characters of a-z and 0-9, such as aws");
    }
    let tag_prefix = form.text("tag_prefix").unwrap_or_default();
    if tag_prefix.len() > 100 || tag_prefix.contains(char::is_whitespace) {
        form.wrong("tag_prefix", "Must be at most 100 characters without spaces, such as network/");
    } else if let Some(bare) = tag_prefix.strip_prefix("refs/tags/") {
        form.wrong("tag_prefix", format!("Leave out refs/tags/: {bare}"));
    } else if let Some(part) = globs::not_in_tags(&tag_prefix).or_else(|| {
        tag_prefix.contains(['*', '?', '[']).then_some("*, ? or [ (patterns are not supported)")
    }) {
        let problem = format!(
            "No tag can begin with this, because Git does not allow a tag name with {part}"
        );
        form.wrong("tag_prefix", problem);
    }
    WantedModule { terraform_provider, tag_prefix }
}

/// A module without one is named after its project.
fn name(form: &mut Form, kind: Kind) -> String {
    match kind {
        Kind::Stack => {
            let name = form.required_text("name", "Enter a name.").unwrap_or_default();
            if name.chars().count() > 100 {
                form.wrong("name", "At most 100 characters are allowed");
            }
            name
        }
        Kind::Module => {
            let name = form.text("name").unwrap_or_default();
            if !name.is_empty() && !is_registry_name(&name) {
                let problem = "Must be 1 to 64 characters of a-z, 0-9, - and _, because it is part \
                               of the module's address";
                form.wrong("name", problem);
            }
            name
        }
    }
}

fn is_registry_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    (1..=64).contains(&name.len())
        && name.bytes().all(allowed)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_provider_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn description(form: &mut Form) -> Option<String> {
    let text = form.raw_text("description")?;
    let length = text.chars().count();
    if length > 2_000 {
        form.wrong("description", format!("Has {length} characters; at most 2,000 are allowed"));
    }
    Some(text).filter(|text| !text.trim().is_empty())
}

fn project(form: &mut Form, provider: Provider) -> Option<ProjectRef> {
    if provider == Provider::Git {
        return form.choice::<GitUrl>("project").map(ProjectRef::Git);
    }
    match form.value("project")? {
        Value::Number(number) => match number.as_u64() {
            Some(id) if id > 0 => return Some(ProjectRef::Id(ProjectId(id))),
            _ => form.wrong("project", "Not a project ID"),
        },
        Value::String(text) => {
            let text = text.trim().trim_matches('/').trim_end_matches(".git").to_owned();
            if let Ok(id) = text.parse() {
                return Some(ProjectRef::Id(ProjectId(id)));
            }
            if text.contains('/') && !text.contains(char::is_whitespace) {
                return Some(ProjectRef::Path(text));
            }
            form.wrong("project", "Must be a path like group/project, or a project ID");
        }
        _ => form.wrong("project", "Must be a path like group/project, or a project ID"),
    }
    None
}

fn branch(form: &mut Form) -> Option<String> {
    let branch = form.text("branch")?;
    if let Some(bare) = branch.strip_prefix("refs/heads/") {
        form.wrong("branch", format!("Leave out refs/heads/: {bare}"));
        return None;
    }
    // Git's own rules (git check-ref-format).
    let forbidden = branch.contains([' ', '~', '^', ':', '?', '*', '[', '\\'])
        || ["..", "@{", "//"].iter().any(|part| branch.contains(part))
        || branch.starts_with(['-', '/', '.'])
        || branch.ends_with(['/', '.'])
        || branch.ends_with(".lock");
    if forbidden || branch.len() > 250 {
        form.wrong("branch", "Not a valid branch name; patterns are not supported");
        return None;
    }
    Some(branch)
}

fn root(form: &mut Form) -> String {
    let root = form.text("project_root").unwrap_or_default();
    match normalize_root(&root) {
        Ok(root) if root.len() <= 500 => return root,
        Ok(_) => form.wrong("project_root", "Must be at most 500 bytes"),
        Err(problem) => form.wrong("project_root", problem.to_string()),
    }
    String::new()
}

fn var_files(form: &mut Form, root: &str) -> Vec<String> {
    let var_file = |text: &str| match normalize_var_file(root, text) {
        Ok(path) if path.len() <= 500 => Ok(path),
        Ok(_) => Err("Must be at most 500 bytes".to_owned()),
        Err(problem) => Err(problem.to_string()),
    };
    form.texts("var_files", 20, var_file).unwrap_or_default()
}

fn globs(form: &mut Form, root: &str) -> Vec<String> {
    let glob = |text: &str| globs::check_over_paths(root, text);
    form.texts("project_globs", 100, glob).unwrap_or_default()
}

/// A released version: it becomes part of an address that the program is downloaded from.
fn tool_version(form: &mut Form) -> Option<String> {
    let text = form.text("tool_version")?;
    let text = text.strip_prefix('v').unwrap_or(&text);
    let (numbers, suffix) = text.split_once('-').map_or((text, None), |(n, s)| (n, Some(s)));
    let parts: Vec<&str> = numbers.split('.').collect();
    let is_number = |part: &&str| {
        !part.is_empty() && part.len() <= 4 && part.bytes().all(|b| b.is_ascii_digit())
    };
    let is_suffix = |text: &str| {
        !text.is_empty()
            && text.len() <= 20
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
    };
    if parts.len() == 3 && parts.iter().all(is_number) && suffix.is_none_or(is_suffix) {
        return Some(text.to_owned());
    }
    form.wrong("tool_version", "Must be a released version, such as 1.9.8");
    None
}

/// The pool of workers that takes the runs.
pub(crate) fn pool(form: &mut Form) -> Option<Pool> {
    let name = form.text("pool").filter(|name| !name.trim().is_empty())?;
    match Pool::try_from(name.trim().to_owned()) {
        Ok(pool) => Some(pool),
        Err(problem) => {
            form.wrong("pool", problem);
            None
        }
    }
}

/// The ARN of a role. Whether it may be used, AWS says when a run is started.
fn role(form: &mut Form, field: &'static str) -> Option<String> {
    let text = form.text(field)?;
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let is_role = matches!(
        parts.as_slice(),
        ["arn", partition, "iam", "", account, path]
            if partition.starts_with("aws")
                && account.len() == 12
                && account.bytes().all(|b| b.is_ascii_digit())
                && path.strip_prefix("role/").is_some_and(|name| !name.is_empty() && !name.ends_with('/'))
                && text.len() <= 600
                && text.bytes().all(|b| b.is_ascii_graphic())
    );
    if !is_role {
        form.wrong(
            field,
            "Must be the ARN of a role: arn:aws:iam::123456789012:role/gantry/plan/network",
        );
        return None;
    }
    // Whoever can push a branch can do what its previews' role may.
    if field == "plan_role" && text.contains(":role/") && text.contains("/apply/") {
        form.wrong(field, "This role is for applying, but previews execute the code of any branch");
        return None;
    }
    Some(text)
}

fn fork(text: &str) -> Result<String, String> {
    let text = text.trim().trim_matches('/');
    let usable = !text.is_empty()
        && text.len() <= 300
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '*');
    if usable {
        Ok(text.to_owned())
    } else {
        Err("Must be a project's path or ID, or a namespace; patterns are not supported".to_owned())
    }
}

fn on_tag(form: &mut Form) -> Option<OnTag> {
    let (pattern, run) = form.object("on_tag", |form| {
        let pattern = form.required_text("pattern", "Enter which tags, such as v*.");
        if let Some(Err(problem)) = pattern.as_deref().map(globs::check_over_tags) {
            form.wrong("pattern", problem);
        }
        let run = form.choice("run");
        if run.is_none() {
            form.wrong("run", "Must be tracked or proposed");
        }
        (pattern, run)
    })?;
    Some(OnTag { pattern: pattern?, run: run? })
}

/// A label, or what is wrong with it.
pub(crate) fn label(text: &str) -> Result<String, String> {
    let text = text.trim();
    let usable =
        !text.is_empty() && text.chars().count() <= 64 && !text.contains(|c: char| c.is_control());
    if usable { Ok(text.to_owned()) } else { Err("Must have 1 to 64 characters".to_owned()) }
}

fn labels(form: &mut Form) -> Vec<String> {
    let mut labels = form.texts("labels", 50, label).unwrap_or_default();
    labels.sort();
    labels.dedup();
    labels
}

/// What a plan and all that follows it on the same machine may take: a build on AWS lives for eight
/// hours, and has time to end in.
const LONGEST_RUN: TimeLimit = TimeLimit::of_hours(7);
/// As long as a plan that waits is kept on AWS.
const LONGEST_WAIT: TimeLimit = TimeLimit::of_hours(7 * 24);

/// How long phases may take, within bounds: a limit that is missing is the usual one. A test also
/// destroys what it has applied, and waits for nobody.
fn timeouts(form: &mut Form, kind: Kind) -> Timeouts {
    let usual = Timeouts::default();
    form.object("timeouts", |form| {
        let mut limit = |name, usual, least: TimeLimit, most: TimeLimit| {
            let limit = form.choice::<TimeLimit>(name).unwrap_or(usual);
            if limit < least || limit > most {
                form.wrong(name, format!("Must be between {least} and {most}, not {limit}"));
            }
            limit
        };
        let minute = TimeLimit::of_minutes(1);
        let plan = limit("plan", usual.plan, minute, LONGEST_RUN);
        let apply = limit("apply", usual.apply, minute, LONGEST_RUN);
        let unconfirmed = match kind {
            Kind::Stack => {
                limit("unconfirmed", usual.unconfirmed, TimeLimit::of_hours(1), LONGEST_WAIT)
            }
            Kind::Module => usual.unconfirmed,
        };
        let (times, what) = match kind {
            Kind::Stack => (1, "A plan and its apply"),
            Kind::Module => (2, "A test's plan, its apply and its destroy"),
        };
        let longest = plan.seconds().saturating_add(apply.seconds().saturating_mul(times));
        if longest > LONGEST_RUN.seconds() && !form.is_wrong("plan") && !form.is_wrong("apply") {
            form.wrong("apply", format!("{what} may take at most {LONGEST_RUN} together"));
        }
        Timeouts { plan, apply, unconfirmed }
    })
    .unwrap_or(usual)
}

fn hooks(form: &mut Form) -> Hooks {
    form.object("hooks", |form| {
        let mut list = |name| form.texts(name, 20, unpushed::command).unwrap_or_default();
        Hooks {
            before_init: list("before_init"),
            after_init: list("after_init"),
            before_plan: list("before_plan"),
            after_plan: list("after_plan"),
            before_apply: list("before_apply"),
            after_apply: list("after_apply"),
        }
    })
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(body: Value) -> String {
        let Value::Object(fields) = body else { panic!() };
        let said = read(Kind::Stack, fields)
            .1
            .into_iter()
            .map(|(field, problem)| format!("{field} {problem}"));
        said.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_wrong_field_is_named() {
        insta::assert_snapshot!(problems(json!({
            "slug": "Not A Slug", "provider": "github", "project": "network", "branch": "a..b",
            "project_root": "../x", "var_files": ["/a", "../b", ""], "project_globs": ["a/[", "/b", "ok/**"], "tool": "pulumi",
            "tool_version": "latest", "autodeploy": "yes", "allow_forks": ["*"],
            "on_push": "always", "on_tag": {"pattern": "v["}, "tracked_queue": "first",
            "comment": "loud", "manage_state": 1, "labels": [""],
            "timeouts": {"claim": 5, "plan": "soon", "apply": 30, "unconfirmed": "100 days"},
            "variables": [
                {"name": "1A", "value": "x"}, {"name": "GANTRY_RUN_ID", "value": "x"},
                {"name": "TF_HTTP_ADDRESS", "value": "x"}, {"name": "PATH", "value": "x"},
                {"name": "A", "value": 3}, {"name": "B", "value": "x", "secret": true},
                {"name": "C", "value": "x"}, {"name": "C", "value": "y"}, {"name": "D"},
                {"name": "E", "value": "x", "secret": true, "runs": "some"},
            ],
            "hooks": {"before_all": [], "after_plan": ["", "true"]},
            "approvals": {"required": 0, "from": ["@ada", "ada", "Owner"], "form": 1},
            "require_merge_request_approval": "yes",
            "levels": {"read": "owner", "deploy": "boss"},
            "drift": {"schedule": "sometimes"}, "schedules": [{"name": "a", "when": {"cron": "* * *"}}],
            "replan": "some",
        })), @"
        allow_forks[0] Must be a project's path or ID, or a namespace; patterns are not supported
        approvals.form Unknown field; allowed: required, from
        approvals.from[1] Not a valid approver: use @name for a user or group of GitLab, or one of reporter, developer, maintainer and owner
        approvals.from[2] Not a valid approver: use @name for a user or group of GitLab, or one of reporter, developer, maintainer and owner
        approvals.required Use a number from 1 to 10
        autodeploy Must be true or false, not a string
        branch Not a valid branch name; patterns are not supported
        comment Must be one of full, summary, none
        drift.schedule Must be installation, never, or an object with own
        hooks.after_plan[0] Must not be empty
        hooks.before_all Unknown field; allowed: before_init, after_init, before_plan, after_plan, before_apply, after_apply
        labels[0] Must have 1 to 64 characters
        levels.deploy Must be one of reporter, developer, maintainer, owner
        levels.read Unknown field; allowed: preview, deploy, edit
        manage_state Must be true or false, not a number
        name Enter a name.
        on_push Must be tracked or proposed
        on_tag.pattern Not a valid glob: unclosed character class; missing ']'
        on_tag.run Must be tracked or proposed
        project Must be a path like group/project, or a project ID
        project_globs[0] Not a valid glob: unclosed character class; missing ']'
        project_globs[1] Globs are relative to the repository's root and cannot start with /. Use b instead.
        project_root The project root must be a folder inside the repository, such as infra/network, without ..
        provider Must be gitlab or git
        replan Must be one of all, mergeable, none
        require_merge_request_approval Must be true or false, not a string
        schedules[0].when.cron Not a cron pattern: use minute, hour, day of the month, month and day of the week, such as 30 6 * * 1-5
        slug not a valid slug: use 1 to 64 of a-z, 0-9 and -, starting and ending with a letter or digit
        timeouts.apply Must be between 1 minute and 7 hours, not 30 seconds
        timeouts.claim Unknown field; allowed: plan, apply, unconfirmed
        timeouts.plan Use a duration such as 90m, 1h 30m or 7 days
        timeouts.unconfirmed Must be between 1 hour and 7 days, not 100 days
        tool Must be terraform or opentofu
        tool_version Must be a released version, such as 1.9.8
        tracked_queue Must be every or latest
        var_files[0] A variable file must be a file inside the repository, given by its path from the project root, such as prod.tfvars or ../common.tfvars
        var_files[1] A variable file must be a file inside the repository, given by its path from the project root, such as prod.tfvars or ../common.tfvars
        var_files[2] A variable file must be a file inside the repository, given by its path from the project root, such as prod.tfvars or ../common.tfvars
        variables[0].name Use only letters, digits and _, and do not start with a digit; after TF_VAR_, any valid name of a Terraform variable
        variables[1].name GANTRY_RUN_ID is set by Gantry or would change what a run executes
        variables[2].name TF_HTTP_ADDRESS is set by Gantry or would change what a run executes
        variables[3].name PATH is set by Gantry or would change what a run executes
        variables[4].value Must be a string, not a number
        variables[5].runs Choose which runs get the secret. all: previews get it too, and a plan executes the branch's code, so anyone who can push can read it. tracked: only runs of the tracked branch get it.
        variables[7].name C is defined twice
        variables[8].value Enter a value.
        variables[9].runs Must be all or tracked
        ");
    }

    #[test]
    fn what_follows_on_one_machine_fits_into_its_life() {
        let said = |kind, plan: &str, apply: &str| {
            let body =
                json!({ "name": "n", "project": 7, "timeouts": { "plan": plan, "apply": apply } });
            let Value::Object(fields) = body else { panic!() };
            read(kind, fields).1.into_values().collect::<Vec<_>>().join("; ")
        };
        assert_eq!(said(Kind::Stack, "1h", "6h"), "");
        assert_eq!(
            said(Kind::Stack, "1h", "6h 1s"),
            "A plan and its apply may take at most 7 hours together"
        );
        assert_eq!(said(Kind::Module, "1h", "3h"), "");
        assert_eq!(
            said(Kind::Module, "1h", "3h 1s"),
            "A test's plan, its apply and its destroy may take at most 7 hours together"
        );
    }

    #[test]
    fn what_is_right_is_taken() {
        assert_eq!(
            problems(json!({
                "name": "Network", "slug": "network", "provider": "gitlab", "project": 7,
                "branch": "release/1.x", "project_root": "/infra/", "var_files": ["../eu.tfvars"], "project_globs": ["mod/**"],
                "tool": "opentofu", "tool_version": "1.9.0-rc1", "autodeploy": true,
                "allow_forks": [7, "team/"], "on_push": "proposed",
                "on_tag": {"pattern": "v*", "run": "tracked"}, "tracked_queue": "latest",
                "comment": "none", "manage_state": false, "labels": ["b", "a", "a"],
                "timeouts": {"plan": "90m", "apply": 14400},
                "variables": [{"name": "A", "value": "x", "secret": true, "runs": "tracked"}],
                "hooks": {"after_plan": ["true"]}, "version": 3, "id": "x", "status": {},
                "approvals": {"required": 2, "from": ["@ada", " @acme/ops", "maintainer"]},
                "require_merge_request_approval": true, "levels": {"deploy": "owner"},
                "drift": {"schedule": "never", "issue": true}, "replan": "none",
                "schedules": [{"name": "nightly", "when": {"cron": "0 3 * * *"}, "task": null}],
            })),
            ""
        );
    }
}
