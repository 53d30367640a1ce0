//! A commit, and the files of a branch.

use super::html::{commit_link, esc, layout, table, time, tree_url};
use super::markdown::diff_lines;
use crate::git::NOTHING;
use crate::model::{Project, State};

pub(super) fn commit(state: &State, project: &Project, sha: &str) -> Option<String> {
    let repo = &project.repo;
    let commit = project.resolve(sha)?;
    let parent = commit.parents.first().and_then(|id| repo.commit(*id));
    let before = parent.map_or(NOTHING, |parent| parent.tree);
    let changes: String = repo
        .changes(before, commit.tree)
        .iter()
        .map(|change| {
            let renamed = if change.is_rename() {
                format!(" <span class=\"soft\">was {}</span>", esc(&change.old_path))
            } else {
                String::new()
            };
            format!(
                "<div class=\"card\"><code>{}</code>{renamed}<pre class=\"diff\">{}</pre></div>",
                esc(&change.new_path),
                diff_lines(&repo.patch(change))
            )
        })
        .collect();
    let parents: Vec<String> =
        commit.parents.iter().map(|id| commit_link(state, project, *id)).collect();
    let body = format!(
        "<h1>{}</h1><p class=\"meta\"><code>{}</code> by {} on {}, parents {}</p>\
         <pre>{}</pre>{changes}",
        esc(commit.title()),
        commit.id,
        esc(&commit.author),
        time(commit.time),
        if parents.is_empty() { "none".to_owned() } else { parents.join(" ") },
        esc(&commit.message),
    );
    Some(layout(state, Some(project), commit.title(), false, &body))
}

pub(super) fn tree(state: &State, project: &Project, name: &str) -> Option<String> {
    let head = project.repo.resolve(name, project.default_branch())?;
    let repo = &project.repo;
    let files: String = repo
        .files(head.tree)
        .into_iter()
        .take(500)
        .map(|file| {
            let text = repo.blob(file.id).and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.unwrap_or_else(|| "(binary)".to_owned());
            format!(
                "<details class=\"card\"><summary><code>{}</code></summary><pre>{}</pre></details>",
                esc(&file.path),
                esc(&text)
            )
        })
        .collect();
    let tags: Vec<String> = project
        .repo
        .refs_below("refs/tags/")
        .map(|(tag, _)| {
            format!(
                "<tr><td><a href=\"{}\">{}</a></td></tr>",
                esc(&tree_url(state, project, tag)),
                esc(tag)
            )
        })
        .collect();
    let body = format!(
        "<h1>{}</h1><p class=\"meta\">at {} {}</p>{files}<h2>Tags</h2><div class=\"card\">{}</div>",
        esc(name),
        commit_link(state, project, head.id),
        esc(head.title()),
        table(&["Tag"], &tags, "None."),
    );
    Some(layout(state, Some(project), name, false, &body))
}
