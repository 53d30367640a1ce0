//! What will and will not work at a stack's project. Nothing of it prevents saving: rights can be
//! given later, and a branch pushed later.

use super::{
    code,
    place::{Place, Seen},
    rules,
    watched::{self, At},
};
use crate::{app::App, gitlab::Linked};
use gantry_domain::{
    ProjectId, UserId,
    masking::Weakness,
    root::not_of_every_command,
    stack::{CommentLevel, Stack, Tool, Variable, VariableRuns, VariableValue},
};
use gantry_git::Branches;
use gantry_gitlab::{AccessRule, Client, Error, Project};
use gantry_secrets::Sealer;
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::Serialize;

/// GitLab's number for the role Developer: enough for statuses, notes and deployments.
const DEVELOPER: u32 = 30;
/// GitLab's number for the role Maintainer: needed for webhooks.
const MAINTAINER: u32 = 40;

/// The variable that tells OpenTofu how to encrypt states and plans.
const ENCRYPTION: &str = "TF_ENCRYPTION";

/// Something that was checked in the project or repository, and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Finding {
    /// `warning` if something will not work.
    level: Level,
    /// What was found.
    pub(crate) what: String,
    /// What it means.
    pub(crate) meaning: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Level {
    Ok,
    Warning,
}

impl Finding {
    /// Something will not work.
    pub(crate) fn is_warning(&self) -> bool {
        self.level == Level::Warning
    }

    pub(super) fn ok(what: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { level: Level::Ok, what: what.into(), meaning: meaning.into() }
    }

    pub(super) fn warning(what: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { level: Level::Warning, what: what.into(), meaning: meaning.into() }
    }

    /// GitLab did not say.
    pub(crate) fn unknown(what: &str, error: &Error) -> Self {
        Self::warning(format!("Could not check {what}"), format!("The reason: {error}"))
    }
}

/// Looks at where a stack's code lies.
pub(crate) async fn check(place: &Place, stack: &Stack) -> Vec<Finding> {
    match &place.seen {
        Seen::Project(found, linked) => project(linked, found, stack).await,
        Seen::Repository(branches) => repository(branches, stack),
    }
}

/// A repository that is not at GitLab.
fn repository(branches: &Branches, stack: &Stack) -> Vec<Finding> {
    let branch = match branches.head(&stack.branch) {
        Some(head) => Finding::ok(
            format!("Branch {} exists and is at {}", stack.branch, head.short()),
            "Runs that are started by hand use its latest commit.",
        ),
        None => Finding::warning(
            format!("Branch {} does not exist", stack.branch),
            "Nothing runs until it does.",
        ),
    };
    let by_hand = Finding::ok(
        "Everybody can read the repository",
        "Runs are started by hand. Gantry learns of no changes there, and writes nothing to it.",
    );
    [by_hand, branch].into_iter().chain(exposed_secrets(stack)).collect()
}

/// Looks at the project with the eyes of the bot user.
async fn project(linked: &Linked, project: &Project, stack: &Stack) -> Vec<Finding> {
    let Linked { client, integration } = linked;
    let user = integration.bot.id;
    let role = match client.member_access_level(project.id, user).await {
        Ok(role) => role.or_else(|| project.own_access_level()),
        Err(_) => project.own_access_level(),
    };
    let (branch, rules) = tokio::join!(
        branch_and_root(client, project.id, stack, user, role),
        Box::pin(rules::findings(client, project, stack, user, role))
    );
    let mut findings = vec![role_of(&integration.bot.username, role)];
    findings.extend(webhook_rights(role));
    findings.extend(project_settings(project));
    findings.extend(branch);
    findings.extend(rules);
    findings.extend(visibility(project, stack));
    findings.extend(exposed_secrets(stack));
    findings
}

fn role_of(username: &str, role: Option<u32>) -> Finding {
    let name = role.map_or("no role", role_name);
    let what = format!("{username} has the role {name}");
    if role.is_some_and(|role| role >= DEVELOPER) {
        Finding::ok(what, "Statuses, comments and deployments can be written.")
    } else if role.is_some() {
        Finding::warning(
            what,
            "GitLab refuses statuses, comments and deployments. Give it the role Developer.",
        )
    } else {
        Finding::warning(
            format!("{username} is not a member of the project, as far as GitLab says"),
            "GitLab may refuse statuses, comments and deployments. Give it the role Developer.",
        )
    }
}

fn role_name(level: u32) -> &'static str {
    match level {
        ..10 => "Minimal access",
        10..20 => "Guest",
        20..30 => "Reporter",
        30..40 => "Developer",
        40..50 => "Maintainer",
        _ => "Owner",
    }
}

fn webhook_rights(role: Option<u32>) -> Option<Finding> {
    if role.is_some_and(|role| role >= MAINTAINER) {
        let what = "Gantry may create the project's webhook";
        return Some(Finding::ok(what, "It can also repair it."));
    }
    Some(Finding::warning(
        "Only Maintainers may create the project's webhook",
        "Give Gantry's user the role Maintainer, or create the webhook by hand. Without one, \
         changes are found by polling GitLab.",
    ))
}

fn project_settings(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    if project.archived {
        findings.push(Finding::warning(
            "The project is archived",
            "GitLab refuses everything that would be written to it.",
        ));
    }
    findings.push(if project.has_ci() {
        Finding::ok("CI/CD is on", "Statuses appear with the project's pipelines.")
    } else {
        Finding::warning("CI/CD is off", "GitLab keeps the statuses, but does not show them.")
    });
    findings.push(if project.only_allow_merge_if_pipeline_succeeds {
        Finding::ok("\"Pipelines must succeed\" is on", "A failed plan blocks merging.")
    } else {
        Finding::warning(
            "\"Pipelines must succeed\" is off",
            "A failed plan is shown, but will not block merging. This is a setting of the project.",
        )
    });
    findings
}

async fn branch_and_root(
    client: &Client,
    project: ProjectId,
    stack: &Stack,
    user: UserId,
    role: Option<u32>,
) -> Vec<Finding> {
    let named = &stack.branch;
    let branch = match client.branch(project, named).await {
        Ok(Some(branch)) => branch,
        Ok(None) => {
            return vec![Finding::warning(
                format!("Branch {named} does not exist"),
                "Nothing runs until it is pushed.",
            )];
        }
        Err(error) => return vec![Finding::unknown(&format!("branch {named}"), &error)],
    };
    let mut findings = vec![if branch.protected && branch.can_push != Some(true) {
        protected_branch(client, project, stack, user, role).await
    } else if branch.protected {
        Finding::ok(
            format!("Branch {named} is protected; Gantry's user may push to it"),
            "Statuses can be written.",
        )
    } else {
        Finding::ok(format!("Branch {named} exists"), "Deploys use this branch.")
    }];
    let at = At { client, project, sha: &branch.sha };
    let mut is_there = true;
    if !stack.settings.project_root.is_empty() {
        let (there, finding) = watched::root(at, stack).await;
        is_there = there;
        findings.push(finding);
    }
    let (idle, left_out) =
        tokio::join!(watched::idle_globs(at, stack), watched::not_in_archives(at, stack));
    findings.extend(idle);
    findings.extend(left_out);
    if is_there && stack.module.is_some() {
        findings.extend(watched::module_config(at, stack).await);
    } else if is_there {
        findings.extend(code::findings(client, project, &branch.sha, stack).await);
    }
    findings
}

/// Who may neither push nor merge to a protected branch may not write statuses on it.
async fn protected_branch(
    client: &Client,
    project: ProjectId,
    stack: &Stack,
    user: UserId,
    role: Option<u32>,
) -> Finding {
    let what = format!("Branch {} is protected", stack.branch);
    let rules = match client.protected_branch(project, &stack.branch).await {
        Ok(rules) => rules,
        Err(Error::Forbidden { .. } | Error::NotFound { .. }) => {
            return Finding::warning(
                format!("{what}; Gantry's user may not see the rules"),
                "If it may neither push nor merge, GitLab refuses statuses on this branch.",
            );
        }
        Err(error) => {
            return Finding::unknown(&format!("the protection of {}", stack.branch), &error);
        }
    };
    let allowed = |rules: &[AccessRule]| AccessRule::any_allows(rules, user, role);
    let answers = rules
        .iter()
        .flat_map(|rule| [allowed(&rule.push_access_levels), allowed(&rule.merge_access_levels)])
        .collect::<Vec<_>>();
    if answers.contains(&Some(true)) {
        Finding::ok(format!("{what}; Gantry's user may merge to it"), "Statuses can be written.")
    } else if answers.contains(&None) {
        Finding::warning(
            what,
            "Whether Gantry's user may push or merge depends on a group. If it may not, GitLab \
             refuses statuses on this branch.",
        )
    } else {
        Finding::warning(
            format!("{what}; Gantry's user may neither push nor merge"),
            "GitLab refuses statuses on this branch. Allow the user to merge.",
        )
    }
}

fn visibility(project: &Project, stack: &Stack) -> Option<Finding> {
    if !project.is_public() {
        return None;
    }
    Some(match stack.settings.comment {
        CommentLevel::Full => Finding::warning(
            "The project is public, and comments show every change",
            "Anyone on the internet can read what plans would change.",
        ),
        CommentLevel::Summary => Finding::ok(
            "The project is public; comments show counts only",
            "Set comment to full to show every change to everyone.",
        ),
        CommentLevel::None => {
            Finding::ok("The project is public", "The stack does not appear in comments.")
        }
    })
}

/// What a stack's variables do not do.
pub(super) fn of_variables(stack: &Stack, sealer: &Sealer) -> Vec<Finding> {
    let mut findings = weak_secrets(stack, sealer);
    findings.extend(not_encrypted(stack));
    findings.extend(arguments(stack));
    findings
}

/// Arguments that a command refuses, or has no use for.
fn arguments(stack: &Stack) -> Option<Finding> {
    let given = stack.variables.iter().find(|variable| variable.name == "TF_CLI_ARGS")?;
    let VariableValue::Plain(given) = &given.value else { return None };
    let some = not_of_every_command(given);
    (!some.is_empty()).then(|| {
        Finding::warning(
            format!("The variable TF_CLI_ARGS has {}", some.join(" ")),
            "It is passed to every command: to init, which refuses most plan options, and to the \
             apply of a saved plan. Use TF_CLI_ARGS_plan for plan options, and var_files for files \
             of values.",
        )
    })
}

/// A module that no tool can ask for.
pub(super) fn of_registry(app: &App, stack: &Stack) -> Option<Finding> {
    let why = app.public_url.as_ref().filter(|_| stack.module.is_some())?.without_registry()?;
    Some(Finding::warning("The module's versions cannot be downloaded", format!("{why}.")))
}

/// Terraform takes a variable of OpenTofu's without a word.
fn not_encrypted(stack: &Stack) -> Option<Finding> {
    let names_it = stack.variables.iter().any(|variable| variable.name == ENCRYPTION);
    (stack.settings.tool == Tool::Terraform && names_it).then(|| {
        Finding::warning(
            format!("Terraform does not know the variable {ENCRYPTION}"),
            "The state is stored unencrypted. Choose OpenTofu, which would encrypt it, as the \
             stack's tool, or remove the variable.",
        )
    })
}

/// Secrets that nothing can hide, because they are too short. Looked at as they are kept, so that
/// it is said as long as it is so.
fn weak_secrets(stack: &Stack, sealer: &Sealer) -> Vec<Finding> {
    let warning = |(name, weakness): (&str, Weakness)| {
        Finding::warning(format!("The secret {name} cannot be masked"), weakness.text())
    };
    weaknesses(stack, sealer).into_iter().map(warning).collect()
}

/// The same, by the names of the variables.
pub(crate) fn weaknesses<'a>(stack: &'a Stack, sealer: &Sealer) -> Vec<(&'a str, Weakness)> {
    let weakness = |variable: &'a Variable| match &variable.value {
        VariableValue::Sealed(sealed) => {
            let value = sealer.open(&stack.id, &variable.name, sealed).ok()?;
            Some((variable.name.as_str(), Weakness::of(value.expose_secret())?))
        }
        VariableValue::Plain(_) => None,
    };
    stack.variables.iter().filter_map(weakness).collect()
}

fn exposed_secrets(stack: &Stack) -> Option<Finding> {
    let exposed: Vec<&str> = stack
        .variables
        .iter()
        .filter(|variable| {
            matches!(variable.value, VariableValue::Sealed(_)) && variable.runs == VariableRuns::All
        })
        .map(|variable| variable.name.as_str())
        .collect();
    if exposed.is_empty() {
        return None;
    }
    Some(Finding::warning(
        format!("Secrets available to all runs: {}", exposed.join(", ")),
        "A plan executes the branch's code, so anyone who can push a branch can read them.",
    ))
}
