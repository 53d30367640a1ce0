//! Merge requests: the list, one of them, the forms.

use super::html::{badge, commit_row, esc, layout, pipeline_card, table, time};
use super::markdown::{diff_lines, render};
use crate::api::answer::Refusal;
use crate::api::params::Params;
use crate::model::{MergeRequest, Note, Pipeline, Project, ProjectId, State, UserId};
use crate::service::merge_requests::{NewMergeRequest, changes, commits};

pub(super) fn row(state: &State, mr: &MergeRequest) -> String {
    format!(
        "<tr><td>{}</td><td><a href=\"{}\">!{} {}</a></td><td>{} → {}</td>\
         <td class=\"soft\">{}</td></tr>",
        badge(mr.state.name()),
        esc(&state.merge_request_url(mr)),
        mr.iid,
        esc(&mr.title),
        esc(&mr.source_branch),
        esc(&mr.target_branch),
        esc(&state.user(mr.author).name),
    )
}

fn problem_card(problem: Option<&str>) -> String {
    problem.map_or_else(String::new, |text| {
        format!("<p class=\"card problem\" role=\"alert\">GitLab refused: {}</p>", esc(text))
    })
}

/// The form for a new merge request.
pub(super) fn form(
    state: &State,
    project: &Project,
    source: &str,
    problem: Option<&str>,
) -> String {
    let options = |chosen: &str| -> String {
        let branches = project.repo.refs_below("refs/heads/");
        branches
            .map(|(name, _)| {
                let selected = if name == chosen { " selected" } else { "" };
                format!("<option{selected}>{}</option>", esc(name))
            })
            .collect()
    };
    let title = project.repo.branch(source).and_then(|head| project.repo.commit(head));
    let title = title.map_or(String::new(), |commit| commit.title().to_owned());
    let body = format!(
        "<h1>New merge request</h1>{}<form class=\"block card\" method=\"post\" \
         action=\"{}/-/merge_requests\">\
         <label>Source branch <select name=\"source_branch\">{}</select></label>\
         <label>Target branch <select name=\"target_branch\">{}</select></label>\
         <label>Title <input name=\"title\" value=\"{}\" required></label>\
         <label>Description <textarea name=\"description\" rows=\"4\"></textarea></label>\
         <button class=\"main\">Create merge request</button></form>",
        problem_card(problem),
        esc(&state.project_url(project)),
        options(source),
        options(project.default_branch()),
        esc(&title),
    );
    layout(state, Some(project), "New merge request", false, &body)
}

pub(super) fn open(
    state: &mut State,
    project: ProjectId,
    user: UserId,
    params: &Params,
) -> Result<u64, Refusal> {
    let new = NewMergeRequest {
        source_branch: params.required("source_branch")?,
        target_branch: params.required("target_branch")?,
        title: params.filled("title").ok_or_else(|| Refusal::missing("title"))?,
        description: params.text("description").unwrap_or_default(),
        ..NewMergeRequest::default()
    };
    state.open_merge_request(project, user, new)
}

/// What a button of the page does; `None` when there is no such button.
pub(super) fn act(
    state: &mut State,
    project: ProjectId,
    user: UserId,
    iid: &str,
    action: &str,
    params: &Params,
) -> Option<Result<(), Refusal>> {
    let iid = iid.parse().ok()?;
    state.project(project).merge_request(iid)?;
    Some(match action {
        "merge" => state.merge_now(project, iid, user, None),
        "auto_merge" => state.set_auto_merge(project, iid, user, None),
        "close" | "reopen" => {
            state.change_state(project, iid, user, action);
            Ok(())
        }
        "comment" => {
            let text = params.text("body").unwrap_or_default();
            state.create_note(project, iid, user, &text, false).map(|_| ())
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
    let mr = project.merge_request(iid.parse().ok()?)?;
    let commits: Vec<String> =
        commits(project, mr).iter().map(|commit| commit_row(state, project, commit)).collect();
    let pipelines: Vec<&Pipeline> =
        state.candidates(mr).filter(|pipeline| pipeline.is_of(&mr.heads)).collect();
    let cards: String =
        pipelines.iter().map(|pipeline| pipeline_card(state, project, pipeline)).collect();
    let notes: String = mr.notes.iter().map(|note| note_card(state, note)).collect();
    let changes: String = changes(project, mr)
        .iter()
        .map(|change| {
            format!(
                "<details class=\"card\"><summary><code>{}</code></summary>\
                 <pre class=\"diff\">{}</pre></details>",
                esc(&change.new_path),
                diff_lines(&project.repo.patch(change))
            )
        })
        .collect();
    let body = format!(
        "<h1>{} <span class=\"soft\">!{}</span></h1>\n<p>{} <b>{}</b> wants to merge \
         <code>{}</code> into <code>{}</code> <span class=\"meta\">opened {}</span></p>\n{}\
         <div class=\"card markdown\">{}</div>\n{}\n<h2>Pipelines</h2>{}\n<h2>Notes</h2>{notes}{}\n\
         <h2>Commits</h2><div class=\"card\">{}</div>\n<h2>Changes</h2>{changes}",
        esc(&mr.title),
        mr.iid,
        badge(mr.state.name()),
        esc(&state.user(mr.author).name),
        esc(&mr.source_branch),
        esc(&mr.target_branch),
        time(mr.created_at),
        problem_card(problem),
        if mr.description.is_empty() {
            "<p class=\"soft\">No description.</p>".into()
        } else {
            render(&mr.description)
        },
        buttons(state, mr),
        if cards.is_empty() { "<p class=\"soft\">None yet.</p>".into() } else { cards },
        comment_form(&state.merge_request_url(mr)),
        table(&["Commit", "", "Author", "Date (UTC)"], &commits, "No commits."),
    );
    let moving = mr.is_open() && pipelines.iter().any(|pipeline| !pipeline.is_finished());
    Some(layout(state, Some(project), &mr.title, moving, &body))
}

fn buttons(state: &State, mr: &MergeRequest) -> String {
    let url = state.merge_request_url(mr);
    let button = |action: &str, text: &str, class: &str| {
        format!(
            "<form method=\"post\" action=\"{}/{action}\"><button class=\"{class}\">{text}\
             </button></form> ",
            esc(&url)
        )
    };
    let status = state.detailed_merge_status(mr);
    let buttons = match (mr.state.name(), status) {
        ("opened", "mergeable") => button("merge", "Merge", "main") + &button("close", "Close", ""),
        ("opened", "ci_still_running" | "ci_must_pass") if mr.auto_merge.is_none() => {
            button("auto_merge", "Merge when the pipeline succeeds", "main")
                + &button("close", "Close", "")
        }
        ("opened", _) => button("close", "Close", ""),
        ("closed", _) => button("reopen", "Reopen", ""),
        _ => String::new(),
    };
    let waits = if mr.auto_merge.is_some() {
        badge("merges when the pipeline succeeds")
    } else {
        String::new()
    };
    let state = if mr.is_open() { badge(status) } else { String::new() };
    format!("<p>{state} {waits} {buttons}</p>")
}

fn note_card(state: &State, note: &Note) -> String {
    let author = esc(&state.user(note.author).name);
    if note.system {
        let text = render(&note.body);
        let text = text.trim().trim_start_matches("<p>").trim_end_matches("</p>").to_owned();
        return format!("<p class=\"meta\">{author} {text} · {}</p>", time(note.created_at));
    }
    let edited = if note.updated_at > note.created_at {
        format!(", edited {}", time(note.updated_at))
    } else {
        String::new()
    };
    format!(
        "<div class=\"card\" id=\"note_{}\"><p class=\"meta\"><b>{author}</b> {}{edited}</p>\
         <div class=\"markdown\">{}</div></div>",
        note.id,
        time(note.created_at),
        render(&note.body),
    )
}

fn comment_form(url: &str) -> String {
    format!(
        "<form class=\"block\" method=\"post\" action=\"{}/comment\"><label>Comment \
         <textarea name=\"body\" rows=\"2\" required></textarea></label><button>Comment</button>\
         </form>",
        esc(url)
    )
}
