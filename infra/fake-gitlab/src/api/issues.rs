//! Issues of a project.

use serde_json::{Value, json};

use super::access::REPORTER;
use super::answer::{Answer, ApiResult, Refusal};
use super::shapes::api_time;
use super::{Call, paging};
use crate::model::{Issue, ProjectId, State, UserId};
use crate::service::issues::{IssueUpdate, NewIssue};

/// A member who may do least.
const GUEST: u8 = 10;
const OWNER: u8 = 50;

fn issue_json(state: &State, project: ProjectId, issue: &Issue) -> Value {
    let people = |users: &[UserId]| -> Vec<Value> {
        users.iter().map(|user| state.user_json(*user)).collect()
    };
    json!({
        "id": issue.id,
        "iid": issue.iid,
        "project_id": project,
        "title": issue.title,
        "description": issue.description,
        "state": issue.state.name(),
        "author": state.user_json(issue.author),
        "labels": issue.labels,
        "assignees": people(&issue.assignees),
        "assignee": people(&issue.assignees).first(),
        "confidential": issue.confidential,
        "issue_type": "issue",
        "moved_to_id": issue.moved_to,
        "created_at": api_time(issue.created_at),
        "updated_at": api_time(issue.updated_at),
        "closed_at": issue.closed_at.map(api_time),
        "web_url": state.issue_url(project, issue.iid),
    })
}

impl State {
    pub(crate) fn issue_url(&self, project: ProjectId, iid: u64) -> String {
        format!("{}/-/issues/{iid}", self.project_url(self.project(project)))
    }
}

/// Issues of private projects are for members.
fn check_member(state: &State, call: &Call, project: ProjectId) -> Result<(), Refusal> {
    let private = state.project(project).options.visibility == crate::config::Visibility::Private;
    match private && state.level(project, call) < GUEST {
        true => Err(Refusal::forbidden()),
        false => Ok(()),
    }
}

/// The issue of a path part, where the caller sees it. GitLab does not name what is not there.
fn find<'a>(
    state: &'a State,
    call: &Call,
    project: ProjectId,
    iid: &str,
    missing: &str,
) -> Result<&'a Issue, Refusal> {
    check_member(state, call, project)?;
    let iid = iid.parse().map_err(|_| Refusal::invalid("issue_iid"))?;
    let found = state.project(project).issue(iid);
    let found = found.filter(|issue| state.sees_issue(project, issue, call.caller()));
    found.ok_or_else(|| Refusal::not_found(missing))
}

/// Whether a text has all words of a search, each as the beginning of a word. GitLab's full-text
/// search, since 15.x (`app/models/concerns/pg_full_text_searchable.rb`): PostgreSQL takes what stands
/// in angle brackets for tags, comments too, and leaves it out.
fn has_words(text: &str, search: &str) -> bool {
    let (mut seen, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('<') {
        seen += before;
        seen.push(' ');
        let end = if after.starts_with("!--") { "-->" } else { ">" };
        rest = after.split_once(end).map_or("", |(_, behind)| behind);
    }
    seen += rest;
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.map(str::to_lowercase).collect()
    };
    let seen = words(&seen);
    words(search).iter().all(|word| seen.iter().any(|known| known.starts_with(word.as_str())))
}

pub(crate) fn list(state: &State, call: &Call, project: ProjectId) -> ApiResult {
    check_member(state, call, project)?;
    let params = &call.params;
    let wanted = params.choice("state", &["opened", "closed", "all"])?;
    let wanted = wanted.filter(|wanted| *wanted != "all");
    let author = params.number("author_id")?.map(UserId);
    let labels = params.list("labels");
    let confidential = params.flag("confidential")?;
    let search = params.filled("search");
    let places = params.list("in");
    let within = |place: &str| places.is_empty() || places.iter().any(|known| known == place);
    let found = |issue: &Issue, search: &str| {
        (within("title") && has_words(&issue.title, search))
            || (within("description") && has_words(&issue.description, search))
    };
    let mut all: Vec<&Issue> = state
        .project(project)
        .issues
        .iter()
        .filter(|issue| state.sees_issue(project, issue, call.caller()))
        .filter(|issue| wanted.is_none_or(|wanted| wanted == issue.state.name()))
        .filter(|issue| author.is_none_or(|author| author == issue.author))
        .filter(|issue| labels.iter().all(|label| issue.labels.contains(label)))
        .filter(|issue| confidential.is_none_or(|wanted| wanted == issue.confidential))
        .filter(|issue| search.as_deref().is_none_or(|search| found(issue, search)))
        .collect();
    match params.choice("order_by", &["created_at", "updated_at", "title"])? {
        Some("updated_at") => all.sort_by_key(|issue| (issue.updated_at, issue.id)),
        Some("title") => all.sort_by_key(|issue| &issue.title),
        _ => all.sort_by_key(|issue| issue.id),
    }
    paging::sort(call, &mut all, "desc")?;
    paging::page(call, all, |issue| issue_json(state, project, issue))
}

pub(crate) fn get(state: &State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let issue = find(state, call, project, iid, "")?;
    Ok(Answer::ok(issue_json(state, project, issue)))
}

fn assignees(call: &Call) -> Result<Option<Vec<UserId>>, Refusal> {
    let several = call.params.get("assignee_ids").map(|value| match value {
        Value::Array(items) => items.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>(),
        _ => call.params.list("assignee_ids").iter().map(|id| id.parse().ok()).collect(),
    });
    match several {
        // 0, or nothing, takes all of them away.
        Some(Some(ids)) => Ok(Some(ids.into_iter().filter(|id| *id > 0).map(UserId).collect())),
        Some(None) => Err(Refusal::invalid("assignee_ids")),
        None => Ok(call.params.number("assignee_id")?.map(|id| vec![UserId(id)])),
    }
}

pub(crate) fn create(state: &mut State, call: &Call, project: ProjectId) -> ApiResult {
    let user = call.user()?;
    check_member(state, call, project)?;
    let params = &call.params;
    params.check_texts(&["description"])?;
    // Whoever is no member may write, and set nothing else.
    let member = state.level(project, call) >= GUEST;
    let new = NewIssue {
        title: params.required("title")?,
        description: params.text("description").unwrap_or_default(),
        labels: if member { params.list("labels") } else { Vec::new() },
        assignees: assignees(call)?.filter(|_| member).unwrap_or_default(),
        confidential: params.flag("confidential")?.unwrap_or(false),
    };
    let iid = state.open_issue(project, user, new)?;
    Ok(shown(state, project, iid, 201)?.wrote(format!("issue #{iid}")))
}

/// An issue as it is after a write.
fn shown(state: &State, project: ProjectId, iid: u64, status: u16) -> Result<Answer, Refusal> {
    let issue = state.project(project).issue(iid).ok_or_else(|| Refusal::not_found("Issue"))?;
    let body = issue_json(state, project, issue);
    Ok(if status == 201 { Answer::created(body) } else { Answer::ok(body) })
}

/// What a change may name: one of these at least.
const CHANGES: [&str; 10] = [
    "title",
    "description",
    "state_event",
    "labels",
    "add_labels",
    "remove_labels",
    "assignee_ids",
    "assignee_id",
    "confidential",
    "discussion_locked",
];

/// The author may change an issue, and members from Reporter on; labels, assignees and who sees it
/// are these members' alone, and left aside from others.
pub(crate) fn update(state: &mut State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let user = call.user()?;
    let issue = find(state, call, project, iid, "")?;
    let (iid, author) = (issue.iid, issue.author);
    let member = state.level(project, call) >= REPORTER;
    if !member && author != user {
        return Err(Refusal::forbidden());
    }
    let params = &call.params;
    if !CHANGES.iter().any(|name| params.has(name)) {
        let names = CHANGES.join(", ");
        let text = format!("{names} are missing, at least one parameter must be provided");
        return Err(Refusal::error(400, text));
    }
    params.check_texts(&["title", "description"])?;
    let event = params.choice("state_event", &["close", "reopen"])?;
    let listed = |name: &str| params.has(name).then(|| params.list(name));
    let mut update = IssueUpdate {
        title: params.text("title"),
        description: params.text("description"),
        ..IssueUpdate::default()
    };
    if member {
        update.labels = listed("labels");
        update.add_labels = listed("add_labels").unwrap_or_default();
        update.remove_labels = listed("remove_labels").unwrap_or_default();
        update.assignees = assignees(call)?;
        update.confidential = params.flag("confidential")?;
    }
    state.update_issue(project, iid, update)?;
    if let Some(event) = event {
        state.change_issue_state(project, iid, event)?;
    }
    Ok(shown(state, project, iid, 200)?.wrote(format!("changed issue #{iid}")))
}

/// Owners alone delete issues.
pub(crate) fn delete(state: &mut State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let iid = find(state, call, project, iid, "Issue")?.iid;
    state.require(call, project, OWNER)?;
    state.delete_issue(project, iid)?;
    Ok(Answer::no_content().wrote(format!("deleted issue #{iid}")))
}

/// Moving takes Reporter in both projects.
pub(crate) fn move_to(state: &mut State, call: &Call, project: ProjectId, iid: &str) -> ApiResult {
    let iid = find(state, call, project, iid, "Issue")?.iid;
    let to = call.params.number("to_project_id")?.map(ProjectId);
    let to = to.ok_or_else(|| Refusal::missing("to_project_id"))?;
    if !state.projects.contains_key(&to) {
        return Err(Refusal::not_found("Project"));
    }
    if state.level(project, call) < REPORTER || state.level(to, call) < REPORTER {
        return Err(Refusal::message(400, "Cannot move issue due to insufficient permissions!"));
    }
    let copy = state.move_issue(project, iid, to)?;
    Ok(shown(state, to, copy, 201)?.wrote(format!("moved issue #{iid}")))
}

#[cfg(test)]
mod tests {
    use super::has_words;

    #[test]
    fn a_search_finds_words_by_their_beginnings_and_nothing_in_comments() {
        let text = "<!-- gantry:hidden -->\nDrift of network-eu <b>bold</b> now";
        for (search, found) in [
            ("drift", true),
            ("net", true),
            ("network-eu drift", true),
            ("bold", true),
            ("hidden", false),
            ("gantry", false),
            ("drift of nothing", false),
        ] {
            assert_eq!(has_words(text, search), found, "{search}");
        }
    }
}
