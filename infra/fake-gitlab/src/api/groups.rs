//! Groups and their members.

use serde_json::{Value, json};

use super::answer::{Answer, ApiResult, Refusal};
use super::projects::{min_access_level, one_member};
use super::{Call, paging};
use crate::model::{Group, GroupId, State};

pub(crate) fn list(state: &State, call: &Call) -> ApiResult {
    let needed = min_access_level(&call.params)?;
    // Administrators see all, unless it is asked for what their own role is.
    let all = needed == 0 && call.caller().is_some_and(|user| state.user(user).admin);
    let role = |group: &Group| call.caller().map_or(0, |user| state.inherited(&group.path, user));
    let mut found: Vec<&Group> =
        state.groups.values().filter(|group| all || role(group) >= needed.max(1)).collect();
    found.sort_by_key(|group| &group.path);
    paging::sort(call, &mut found, "asc")?;
    paging::page(call, found, |group| group_json(state, group))
}

pub(crate) fn get(state: &State, call: &Call, id: &str) -> ApiResult {
    Ok(Answer::ok(group_json(state, find(state, call, id)?)))
}

/// A member's role: its own, or (`all`) the highest that it has, also from the groups above.
pub(crate) fn member(state: &State, call: &Call, id: &str, user: &str, all: bool) -> ApiResult {
    let group = find(state, call, id)?;
    one_member(state, user, |user| match all {
        true => state.inherited(&group.path, user),
        false => group.members.get(&user).copied().unwrap_or(0),
    })
}

/// The group of a path part, a number or a path; all groups are private.
fn find<'a>(state: &'a State, call: &Call, id: &str) -> Result<&'a Group, Refusal> {
    let by_number = id.parse().ok().and_then(|number| state.groups.get(&GroupId(number)));
    let visible = |group: &&Group| {
        call.caller()
            .is_some_and(|user| state.user(user).admin || state.inherited(&group.path, user) > 0)
    };
    let found = by_number.or_else(|| state.group_at(id)).filter(visible);
    found.ok_or_else(|| Refusal::not_found("Group"))
}

fn group_json(state: &State, group: &Group) -> Value {
    let (parent, name) = group.path.rsplit_once('/').unwrap_or(("", &group.path));
    json!({
        "id": group.id,
        "name": name,
        "path": name,
        "full_path": group.path,
        "visibility": "private",
        "parent_id": state.group_at(parent).map(|parent| parent.id),
        "web_url": format!("{}/groups/{}", state.base_url, group.path),
    })
}
