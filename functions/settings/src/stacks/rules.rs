//! Who decides about a stack's deploys, as far as GitLab tells: what protects the environment, and
//! whom the stack's own approvals name.

use super::check::Finding;
use futures::future::join_all;
use gantry_domain::{
    UserId,
    approval::{Approver, NotAllowed, Progress, Protection, Verdict},
    stack::Stack,
    text::{approval::of_run, names::Prefix},
};
use gantry_gitlab::{AccessRule, Client, Error, Project, ProtectedEnvironment};

/// What is found. Nothing of a module is deployed.
pub(super) async fn findings(
    client: &Client,
    project: &Project,
    stack: &Stack,
    user: UserId,
    role: Option<u32>,
) -> Vec<Finding> {
    if stack.module.is_some() {
        return Vec::new();
    }
    let (mut found, unknown) =
        tokio::join!(environment(client, project, stack, user, role), unknown_names(client, stack));
    found.extend(unknown);
    found
}

/// What protects the stack's environment.
async fn environment(
    client: &Client,
    project: &Project,
    stack: &Stack,
    user: UserId,
    role: Option<u32>,
) -> Vec<Finding> {
    let name = Prefix::default().environment(&stack.slug);
    match client.protected_environment(project, &name).await {
        Ok(Some(rules)) => vec![deployments(&name, &rules, user, role), followed(&name, &rules)],
        Ok(None) => vec![Finding::ok(
            format!("Environment {name} is not protected"),
            "Deployments can be written.",
        )],
        Err(Error::Forbidden { .. }) => vec![Finding::warning(
            format!("Gantry's user may not read who may deploy to {name}"),
            "GitLab shows protected environments to Maintainers only. Until Gantry's user is one, \
             nothing of this stack can be confirmed.",
        )],
        Err(error) => vec![Finding::unknown(&format!("environment {name}"), &error)],
    }
}

/// Whether GitLab takes deployments.
fn deployments(
    name: &str,
    rules: &ProtectedEnvironment,
    user: UserId,
    role: Option<u32>,
) -> Finding {
    match AccessRule::any_allows(&rules.deploy_access_levels, user, role) {
        Some(true) => Finding::ok(
            format!("Environment {name} is protected; Gantry's user may deploy to it"),
            "Deployments can be written.",
        ),
        _ => Finding::warning(
            format!("Environment {name} is protected"),
            "GitLab refuses deployments unless Gantry's user is allowed to deploy.",
        ),
    }
}

/// What GitLab's rules mean for whoever confirms.
fn followed(name: &str, rules: &ProtectedEnvironment) -> Finding {
    let Protection { origin, may_deploy, approvals } = rules.protection(|_| None);
    let may_deploy = NotAllowed::MayNotDeploy { environment: name.to_owned(), who: may_deploy };
    let mut meaning = format!("Gantry follows them: {}", of_run(&Verdict::NotAllowed(may_deploy)));
    if !approvals.is_empty() {
        let open = approvals.into_iter().map(|rule| Progress {
            origin,
            who: rule.who,
            required: rule.required,
            given: Vec::new(),
        });
        let waits = of_run(&Verdict::NeedsApprovals { approvals: open.collect() });
        meaning.push_str(&format!(", and a deploy {waits}"));
    }
    meaning.push('.');
    Finding::ok("GitLab's rules say who confirms a deploy", meaning)
}

/// Users and groups that the stack's own approvals name and that GitLab does not have.
async fn unknown_names(client: &Client, stack: &Stack) -> Vec<Finding> {
    let approvers = stack.settings.approvals.iter().flat_map(|approvals| approvals.from.iter());
    let looks = approvers.filter_map(|approver| match approver {
        Approver::Named(path) => Some(unknown_name(client, path)),
        Approver::Role(_) => None,
    });
    join_all(looks).await.into_iter().flatten().collect()
}

async fn unknown_name(client: &Client, path: &str) -> Option<Finding> {
    match is_known(client, path).await {
        Ok(true) => None,
        Ok(false) => Some(Finding::warning(
            format!("GitLab has no user or group @{path}, as far as Gantry's user sees"),
            "Nobody's approval counts in its place. If it is a private group, make Gantry's user \
             a member of it.",
        )),
        Err(error) => Some(Finding::unknown(&format!("whether GitLab has @{path}"), &error)),
    }
}

async fn is_known(client: &Client, path: &str) -> Result<bool, Error> {
    if !path.contains('/') && client.user_by_name(path).await?.is_some() {
        return Ok(true);
    }
    Ok(client.group_by_path(path).await?.is_some())
}
