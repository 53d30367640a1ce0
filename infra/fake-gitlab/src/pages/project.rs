//! A project: branches, merge requests, pipelines, environments, hooks.

use super::html::{badge, commit_link, esc, layout, pipeline_card, table, time, tree_url};
use super::merge_request::row;
use crate::api::params::encode;
use crate::model::{Hook, Project, State};

pub(super) fn page(state: &State, project: &Project) -> String {
    let url = state.project_url(project);
    let pipelines: Vec<String> = project
        .pipelines
        .iter()
        .rev()
        .take(5)
        .map(|pipeline| pipeline_card(state, project, pipeline))
        .collect();
    let requests: Vec<String> =
        project.merge_requests.iter().rev().take(10).map(|mr| row(state, mr)).collect();
    let head = ["", "Merge request", "Branches", "Author"];
    let body = format!(
        "<h1>{}</h1>\n<p class=\"meta\">Clone: <code>git clone {}.git</code> \
         &nbsp; project id <code>{}</code></p>\n\
         <h2>Branches</h2><div class=\"card\">{}</div>\n\
         <h2>Merge requests</h2><div class=\"card\">{}</div>\n\
         <p><a href=\"{}/-/issues\">Issues ({})</a></p>\n\
         <h2>Pipelines</h2>{}\n<h2>Environments</h2><div class=\"card\">{}</div>\n\
         <h2>Webhooks</h2><div class=\"card\">{}</div>",
        esc(&project.path),
        esc(&url),
        project.id,
        branches(state, project),
        table(&head, &requests, "No merge requests yet. Push a branch, then open one."),
        esc(&url),
        project.issues.len(),
        if pipelines.is_empty() {
            "<p class=\"soft\">None yet.</p>".into()
        } else {
            pipelines.concat()
        },
        environments(state, project),
        hooks(state, project),
    );
    let moving = project.pipelines.iter().rev().take(5).any(|pipeline| !pipeline.is_finished());
    layout(state, Some(project), &project.path, moving, &body)
}

fn branches(state: &State, project: &Project) -> String {
    let url = state.project_url(project);
    let rows: Vec<String> = project
        .repo
        .refs_below("refs/heads/")
        .map(|(name, head)| {
            let commit = project.repo.commit(head);
            let title = commit.as_ref().map_or("", |commit| commit.title());
            let open = if name == project.default_branch() {
                badge("default")
            } else {
                format!(
                    "<a href=\"{}/-/merge_requests/new?merge_request%5Bsource_branch%5D={}\">\
                     New merge request</a>",
                    esc(&url),
                    encode(name)
                )
            };
            format!(
                "<tr><td><a href=\"{}\">{}</a></td><td>{}</td><td>{}</td><td>{open}</td></tr>",
                esc(&tree_url(state, project, name)),
                esc(name),
                commit_link(state, project, head),
                esc(title),
            )
        })
        .collect();
    table(&["Branch", "Head", "", ""], &rows, "The repository is empty.")
}

fn environments(state: &State, project: &Project) -> String {
    let rows: Vec<String> = project
        .environments
        .iter()
        .map(|environment| {
            let last: Vec<String> = project
                .deployments
                .iter()
                .rev()
                .filter(|deployment| deployment.environment == environment.name)
                .take(5)
                .map(|deployment| {
                    format!(
                        "{} {} <span class=\"soft\">{} {}</span>",
                        badge(&deployment.status),
                        commit_link(state, project, deployment.sha),
                        esc(&deployment.ref_name),
                        time(deployment.updated_at),
                    )
                })
                .collect();
            let name = match &environment.external_url {
                Some(url) => format!("<a href=\"{}\">{}</a>", esc(url), esc(&environment.name)),
                None => esc(&environment.name),
            };
            let stopped = if environment.stopped { badge("stopped") } else { String::new() };
            format!("<tr><td>{name} {stopped}</td><td>{}</td></tr>", last.join("<br>"))
        })
        .collect();
    table(&["Environment", "Deployments, newest first"], &rows, "No environments yet.")
}

fn hooks(state: &State, project: &Project) -> String {
    let row = |hook: &Hook| {
        let events: Vec<&str> =
            hook.events.iter().map(|name| name.trim_end_matches("_events")).collect();
        let log: Vec<String> = hook
            .log
            .iter()
            .rev()
            .take(8)
            .map(|event| {
                format!(
                    "{} → <b>{}</b> <span class=\"soft\">{}</span>",
                    esc(event.delivery.event),
                    esc(&event.response_status),
                    time(event.created_at)
                )
            })
            .collect();
        format!(
            "<tr><td>{}<br><span class=\"soft\">{}</span></td><td>{}</td><td>{}</td></tr>",
            esc(&hook.url),
            esc(&events.join(", ")),
            badge(hook.alert_status(state.now())),
            log.join("<br>"),
        )
    };
    let rows: Vec<String> = project.hooks.iter().map(row).collect();
    table(&["Address and events", "Health", "Deliveries, newest first"], &rows, "No webhooks yet.")
}
