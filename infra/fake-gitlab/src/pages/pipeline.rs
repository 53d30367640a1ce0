//! One pipeline.

use super::html::{esc, layout, pipeline_card};
use crate::model::{Project, State};

pub(super) fn page(state: &State, project: &Project, id: &str) -> Option<String> {
    let pipeline = project.pipeline(id.parse().ok()?)?;
    let of = pipeline.merge_request.map_or_else(String::new, |(target, iid)| {
        let url = state.project_url(state.projects.get(&target).unwrap_or(project));
        format!("<p>For <a href=\"{}/-/merge_requests/{iid}\">!{iid}</a></p>", esc(&url))
    });
    let card = pipeline_card(state, project, pipeline);
    let title = format!("Pipeline #{}", pipeline.id);
    let body = format!("<h1>{title}</h1>{of}{card}");
    Some(layout(state, Some(project), &title, !pipeline.is_finished(), &body))
}
