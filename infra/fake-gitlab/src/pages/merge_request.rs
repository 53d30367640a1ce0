//! Merge requests: the list, one of them, the forms.

use std::collections::BTreeSet;

use super::html::{badge, commit_row, esc, layout, pipeline_card, table, time};
use super::markdown::{diff_lines, render};
use crate::api::answer::Refusal;
use crate::api::params::Params;
use crate::model::{Award, MergeRequest, Note, Pipeline, Project, ProjectId, State, UserId};
use crate::service::merge_requests::{NewMergeRequest, changes, commits};
use crate::service::notes::NotePlace;

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
        "resolve" => {
            let discussion = params.text("discussion").unwrap_or_default();
            state.resolve(project, iid, user, &discussion, true)
        }
        "close" | "reopen" => {
            state.change_state(project, iid, user, action);
            Ok(())
        }
        "comment" => {
            let text = params.text("body").unwrap_or_default();
            let place = match params.filled("discussion") {
                Some(discussion) => NotePlace::Discussion(discussion),
                None => NotePlace::Alone { internal: false },
            };
            state.create_note(project, iid, user, &text, &place).map(|_| ())
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
    let notes = discussions(state, mr);
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

/// The comments, each with the replies to it.
fn discussions(state: &State, mr: &MergeRequest) -> String {
    let url = esc(&state.merge_request_url(mr));
    let mut seen = BTreeSet::new();
    let firsts = mr.notes.iter().filter(|note| seen.insert(note.discussion.as_str()));
    let card = |first: &Note| {
        let notes: Vec<String> =
            mr.discussion(&first.discussion).map(|note| note_card(state, note)).collect();
        if first.system {
            return notes.concat();
        }
        let hidden =
            format!("<input type=\"hidden\" name=\"discussion\" value=\"{}\">", first.discussion);
        let thread = match (first.threaded, first.resolved_by) {
            (false, _) => String::new(),
            (true, Some(user)) => {
                format!("<span class=\"soft\">resolved by {}</span>", esc(&state.user(user).name))
            }
            (true, None) => format!(
                "<form method=\"post\" action=\"{url}/resolve\">{hidden}\
                 <button>Resolve thread</button></form>"
            ),
        };
        let (first, replies) =
            notes.split_first().map_or(("", &notes[..]), |(one, all)| (one.as_str(), all));
        format!(
            "<section class=\"thread\">{first}<div class=\"replies\">{}</div>\
             <details class=\"reply\"><summary>Reply</summary>\
             <form class=\"block\" method=\"post\" action=\"{url}/comment\">{hidden}\
             <label>Reply <textarea name=\"body\" rows=\"2\" required></textarea></label>\
             <button>Reply</button></form></details>{thread}</section>",
            replies.concat(),
        )
    };
    firsts.map(card).collect()
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
         <div class=\"markdown\">{}</div>{}</div>",
        note.id,
        time(note.created_at),
        render(&note.body),
        awards(state, note),
    )
}

/// The emoji of a comment, with who gave them.
fn awards(state: &State, note: &Note) -> String {
    if note.awards.is_empty() {
        return String::new();
    }
    let award = |award: &Award| {
        format!(
            ":{}: <span class=\"soft\">{}</span>",
            award.name,
            esc(&state.user(award.user).name)
        )
    };
    let all: Vec<String> = note.awards.iter().map(award).collect();
    format!("<p class=\"meta\">{}</p>", all.join(" "))
}

fn comment_form(url: &str) -> String {
    format!(
        "<form class=\"block\" method=\"post\" action=\"{}/comment\"><label>Comment \
         <textarea name=\"body\" rows=\"2\" required></textarea></label><button>Comment</button>\
         </form>",
        esc(url)
    )
}
