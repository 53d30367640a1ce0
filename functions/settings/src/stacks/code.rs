//! What the code of a stack means for its state, read from the tracked branch when the stack is
//! saved. A run decides it again, with all that it gets.

use super::check::Finding;
use gantry_domain::{
    CommitSha, ProjectId,
    root::{self, Asked, RootFile},
    stack::{Stack, Tool},
};
use gantry_gitlab::{Client, Error};

/// More configuration files than this are not read for a finding.
const MOST_FILES: usize = 30;

/// Looks at the configuration files of the project root.
pub(super) async fn findings(
    client: &Client,
    project: ProjectId,
    sha: &CommitSha,
    stack: &Stack,
) -> Vec<Finding> {
    match read(client, project, sha, &stack.settings.project_root).await {
        Ok(Some(files)) => of_files(&files, stack),
        Ok(None) => Vec::new(),
        Err(error) => vec![Finding::unknown("the code's backend", &error)],
    }
}

async fn read(
    client: &Client,
    project: ProjectId,
    sha: &CommitSha,
    folder: &str,
) -> Result<Option<Vec<(String, String)>>, Error> {
    let mut names = client.files_in(project, sha, folder).await?;
    names.retain(|name| root::is_configuration(name, Tool::OpenTofu));
    if names.len() > MOST_FILES {
        return Ok(None);
    }
    let mut files = Vec::new();
    for name in names {
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let body = client.file(project, sha.as_str(), &path).await?.unwrap_or_default();
        files.push((name, String::from_utf8_lossy(&body).into_owned()));
    }
    Ok(Some(files))
}

fn of_files(files: &[(String, String)], stack: &Stack) -> Vec<Finding> {
    let files: Vec<_> = files.iter().map(|(name, text)| RootFile { name, text }).collect();
    let asked = Asked {
        tool: stack.settings.tool,
        manage_state: stack.settings.manage_state,
        is_test: false,
        variable: &|_| None,
    };
    let version = stack.settings.tool_version.as_ref().and_then(|version| version.parse().ok());
    let mut findings = match root::admit(&files, &asked) {
        Ok(admitted) => {
            let told = |remark| Finding::warning("The code configures its own backend", remark);
            admitted.remarks.into_iter().map(told).collect()
        }
        // A hook may generate it.
        Err(root::Refusal::NoConfiguration(_)) if !stack.settings.hooks.before_init.is_empty() => {
            Vec::new()
        }
        Err(refusal) => vec![Finding::warning("Runs will be refused", refusal.to_string())],
    };
    let unenforced = root::unenforced_version(&files, stack.settings.tool, version.as_ref());
    findings.extend(unenforced.map(|meaning| {
        Finding::warning("The code has a version constraint that nothing enforces", meaning)
    }));
    findings
}

/// What it means that another tool executes a stack from now on.
pub(super) fn of_another_tool(before: &Stack, after: &Stack) -> Option<Finding> {
    if before.settings.tool == after.settings.tool {
        return None;
    }
    let meaning = match after.settings.tool {
        Tool::Terraform => {
            "Terraform destroys objects with lifecycle { destroy = false } when they are replaced \
             or removed, whereas OpenTofu leaves them in place. Its first apply also drops \
             OpenTofu's marks from the state."
        }
        Tool::OpenTofu => {
            "OpenTofu treats lifecycle { destroy = false } differently: it leaves such objects in \
             place when they are replaced, removed or destroyed, and forgets them."
        }
    };
    let what = format!("The tool is now {}", after.settings.tool.command());
    Some(Finding::warning(what, meaning))
}
