//! Pieces that all pages are made of.

use jiff::Timestamp;

use crate::api::params::encode;
use crate::git::{Commit, Oid};
use crate::model::{Pipeline, Project, State};

/// Escapes text for HTML.
pub(super) fn esc(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A whole page. One with something that moves by itself is loaded again after a while.
pub(super) fn layout(
    state: &State,
    project: Option<&Project>,
    title: &str,
    moving: bool,
    body: &str,
) -> String {
    let style = include_str!("style.css");
    let refresh = if moving { "<meta http-equiv=\"refresh\" content=\"5\">" } else { "" };
    let crumb = project.map_or_else(String::new, |project| {
        format!("/ <a href=\"{}\">{}</a>", esc(&state.project_url(project)), esc(&project.path))
    });
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{refresh}\
         <title>{} · Fake GitLab</title>\n<style>\n{style}</style>\n</head>\n<body>\n\
         <header><a class=\"name\" href=\"{}/\">Fake GitLab</a> {crumb}\
         <span class=\"hint\">pretends to be GitLab {}</span></header>\n<main>\n{body}\n</main>\n\
         </body>\n</html>\n",
        esc(title),
        esc(&state.base_url),
        esc(&state.config.version.to_string()),
    )
}

/// A coloured word.
pub(super) fn badge(word: &str) -> String {
    let text = word.replace('_', " ");
    format!("<span class=\"badge {}\">{}</span>", esc(word), esc(&text))
}

pub(super) fn time(time: Timestamp) -> String {
    esc(&time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// A link to a commit.
pub(super) fn commit_link(state: &State, project: &Project, id: Oid) -> String {
    let url = state.project_url(project);
    format!("<a href=\"{}/-/commit/{id}\"><code>{}</code></a>", esc(&url), id.to_hex_with_len(8))
}

/// A row of a commit list.
pub(super) fn commit_row(state: &State, project: &Project, commit: &Commit) -> String {
    format!(
        "<tr><td>{}</td><td>{}</td><td class=\"soft\">{}</td><td class=\"soft\">{}</td></tr>",
        commit_link(state, project, commit.id),
        esc(commit.title()),
        esc(&commit.author),
        time(commit.time),
    )
}

/// A table; nothing to show is said in words.
pub(super) fn table(head: &[&str], rows: &[String], nothing: &str) -> String {
    if rows.is_empty() {
        return format!("<p class=\"soft\">{}</p>", esc(nothing));
    }
    let head: String = head.iter().map(|name| format!("<th>{}</th>", esc(name))).collect();
    format!("<table class=\"list\"><tr>{head}</tr>{}</table>", rows.concat())
}

/// A pipeline with its jobs, each with its text and link.
pub(super) fn pipeline_card(state: &State, project: &Project, pipeline: &Pipeline) -> String {
    let rows: Vec<String> = pipeline
        .latest_jobs()
        .map(|job| {
            let name = match &job.target_url {
                Some(url) => format!("<a href=\"{}\">{}</a>", esc(url), esc(&job.name)),
                None => esc(&job.name),
            };
            let text = job.description.as_deref().unwrap_or_default();
            format!("<tr><td>{}</td><td>{name}</td><td>{}</td></tr>", badge(&job.status), esc(text))
        })
        .collect();
    format!(
        "<div class=\"card\"><div>{} <a href=\"{}/-/pipelines/{id}\">#{id}</a> \
         <span class=\"meta\">{} for {} at {}, {}</span></div>{}</div>",
        badge(pipeline.status()),
        esc(&state.project_url(project)),
        esc(pipeline.source.name()),
        esc(&pipeline.ref_name),
        commit_link(state, project, pipeline.sha),
        time(pipeline.created_at),
        table(&["", "Job", ""], &rows, "No jobs."),
        id = pipeline.id,
    )
}

/// The address of a branch's files.
pub(super) fn tree_url(state: &State, project: &Project, branch: &str) -> String {
    let parts: Vec<String> = branch.split('/').map(encode).collect();
    format!("{}/-/tree/{}", state.project_url(project), parts.join("/"))
}
