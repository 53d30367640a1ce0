//! Issues: the list, one of them, and what a person does with it.

use super::html::{badge, esc, layout, table, time};
use super::markdown::render;
use crate::api::answer::Refusal;
use crate::api::params::Params;
use crate::model::{Issue, Project, ProjectId, State, UserId};
use crate::service::issues::NewIssue;

fn row(state: &State, project: &Project, issue: &Issue) -> String {
    let labels: String = issue.labels.iter().map(|label| badge(label)).collect();
    format!(
        "<tr><td>{}</td><td><a href=\"{}\">#{} {}</a></td><td>{labels}</td>\
         <td class=\"soft\">{}</td></tr>",
        badge(issue.state.name()),
        esc(&state.issue_url(project.id, issue.iid)),
        issue.iid,
        esc(&issue.title),
        esc(&state.user(issue.author).name),
    )
}

/// All issues, the newest first, and a form for another one.
pub(super) fn list(state: &State, project: &Project, problem: Option<&str>) -> String {
    let rows: Vec<String> =
        project.issues.iter().rev().map(|issue| row(state, project, issue)).collect();
    let body = format!(
        "<h1>Issues</h1>{}<div class=\"card\">{}</div>\
         <form class=\"block card\" method=\"post\" action=\"{}/-/issues\">\
         <label>Title <input name=\"title\" required></label>\
         <label>Description <textarea name=\"description\" rows=\"3\"></textarea></label>\
         <button>Create issue</button></form>",
        problem_card(problem),
        table(&["", "Issue", "Labels", "Author"], &rows, "No issues yet."),
        esc(&state.project_url(project)),
    );
    layout(state, Some(project), "Issues", false, &body)
}

fn problem_card(problem: Option<&str>) -> String {
    problem.map_or_else(String::new, |text| {
        format!("<p class=\"card problem\" role=\"alert\">GitLab refused: {}</p>", esc(text))
    })
}

pub(super) fn open(
    state: &mut State,
    project: ProjectId,
    user: UserId,
    params: &Params,
) -> Result<u64, Refusal> {
    let new = NewIssue {
        title: params.required("title")?,
        description: params.text("description").unwrap_or_default(),
        ..NewIssue::default()
    };
    state.open_issue(project, user, new)
}

/// What a button of the page does, and where it leads; `None` when there is no such button.
pub(super) fn act(
    state: &mut State,
    project: ProjectId,
    iid: &str,
    action: &str,
    params: &Params,
) -> Option<Result<(ProjectId, String), Refusal>> {
    let iid: u64 = iid.parse().ok()?;
    state.project(project).issue(iid)?;
    let here = (project, format!("issues/{iid}"));
    Some(match action {
        "close" | "reopen" => state.change_issue_state(project, iid, action).map(|()| here),
        "delete" => state.delete_issue(project, iid).map(|()| (project, "issues".to_owned())),
        "move" => {
            let path = params.text("project").unwrap_or_default();
            let to = state.project_at(path.trim()).map(|found| found.id);
            match to {
                Some(to) => {
                    let copy = state.move_issue(project, iid, to);
                    copy.map(|copy| (to, format!("issues/{copy}")))
                }
                None => Err(Refusal::not_found("Project")),
            }
        }
        _ => return None,
    })
}

pub(super) fn page(
    state: &State,
    project: &Project,
    iid: &str,
    problem: Option<&str>,
) -> Option<String> {
    let issue = project.issue(iid.parse().ok()?)?;
    let url = esc(&state.issue_url(project.id, issue.iid));
    let button = |action: &str, text: &str| {
        format!("<form method=\"post\" action=\"{url}/{action}\"><button>{text}</button></form> ")
    };
    let state_button = match issue.state.name() {
        "opened" => button("close", "Close issue"),
        _ => button("reopen", "Reopen issue"),
    };
    let others: String = state
        .projects
        .values()
        .filter(|other| other.id != project.id)
        .map(|other| format!("<option>{}</option>", esc(&other.path)))
        .collect();
    let move_form = match others.as_str() {
        "" => String::new(),
        others => format!(
            "<form method=\"post\" action=\"{url}/move\"><label>Move to \
             <select name=\"project\">{others}</select></label><button>Move</button></form>"
        ),
    };
    let people: Vec<String> =
        issue.assignees.iter().map(|user| esc(&state.user(*user).name)).collect();
    let labels: String = issue.labels.iter().map(|label| badge(label)).collect();
    let confidential = if issue.confidential { badge("confidential") } else { String::new() };
    let moved = if issue.moved_to.is_some() { badge("moved") } else { String::new() };
    let body = format!(
        "<h1>{} <span class=\"soft\">#{}</span></h1>\n\
         <p>{} {confidential} {moved} {labels} <b>{}</b> \
         <span class=\"meta\">opened {}, changed {}, assigned to {}</span></p>{}\
         <div class=\"card markdown\">{}</div>\n<p>{state_button}{}</p>{move_form}",
        esc(&issue.title),
        issue.iid,
        badge(issue.state.name()),
        esc(&state.user(issue.author).name),
        time(issue.created_at),
        time(issue.updated_at),
        if people.is_empty() { "nobody".to_owned() } else { people.join(", ") },
        problem_card(problem),
        render(&issue.description),
        button("delete", "Delete issue"),
    );
    Some(layout(state, Some(project), &issue.title, false, &body))
}
