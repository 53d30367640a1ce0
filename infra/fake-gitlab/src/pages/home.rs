//! The list of projects.

use super::html::{esc, layout, table, time};
use crate::model::{Project, State};

pub(super) fn page(state: &State) -> String {
    let mut projects: Vec<&Project> = state.projects.values().collect();
    projects.sort_by(|a, b| a.path.cmp(&b.path));
    let rows: Vec<String> = projects
        .iter()
        .map(|project| {
            let open = project.merge_requests.iter().filter(|mr| mr.is_open()).count();
            format!(
                "<tr><td><a href=\"{}\"><b>{}</b></a></td><td class=\"soft\">{}</td>\
                 <td>{open} open</td><td class=\"soft\">{}</td></tr>",
                esc(&state.project_url(project)),
                esc(&project.path),
                project.options.visibility.name(),
                time(project.last_activity_at),
            )
        })
        .collect();
    let head = ["Project", "Visibility", "Merge requests", "Last activity (UTC)"];
    let body = format!(
        "<h1>Projects</h1>\n<div class=\"card\">{}</div>\n\
         <p class=\"soft\">This server keeps everything in memory and forgets it when it stops.</p>",
        table(&head, &rows, "No projects yet."),
    );
    layout(state, None, "Projects", false, &body)
}
