//! The routes of the API that `runner-api` serves, which alone may write states and locks. They are
//! described here, because people find everything in one place.

#![expect(dead_code, reason = "the parameters are read elsewhere")]

use super::{
    AnyObject, BodyOf,
    Tag::{Operations, Runs, Stacks},
    by_hand::{NewState, RestoredStates, State, StateVersion},
};
use crate::routes::{Route, delete, post, read};
use axum::http::StatusCode;
use gantry_domain::rights::Right::{Admin, Read};
use schemars::JsonSchema;

#[derive(JsonSchema)]
struct PageQuery {
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items per page: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

#[derive(JsonSchema)]
struct ForceQuery {
    /// Accept a state that does not follow the current one.
    force: Option<bool>,
}

#[derive(JsonSchema)]
struct AfterQuery {
    /// The `next` of the previous response.
    after: Option<String>,
}

const STATE: &str = "/api/v1/stacks/{slug}/state";

pub(super) fn routes() -> Vec<Route> {
    let restore = "/api/v1/operations/restore-states";
    vec![
        read(STATE, Read, not_here)
            .named(Stacks, "showState", "A stack's state")
            .taking::<PageQuery>(&["after", "limit"])
            .gives::<State>("Current version, lock, versions."),
        post(STATE, Admin, "", not_here)
            .named(Stacks, "replaceState", "Import or restore a state")
            .about(
                "Refused while a deploy is in progress or the stack is blocked. A state may be \
                 compressed with gzip; on AWS a request has at most 6 MB.",
            )
            .taking::<ForceQuery>(&["force"])
            .body(Some(BodyOf::required::<NewState>().or_packed("A state compressed with gzip.")))
            .gives::<StateVersion>("The version that is current now.")
            .refuses(&[409]),
        delete("/api/v1/stacks/{slug}/state/lock", Admin, "", not_here)
            .named(Stacks, "unlockState", "Release the lock, whoever holds it")
            .about("Refused while a deploy is in progress or the stack is blocked.")
            .ends("The state is not locked.")
            .refuses(&[409]),
        read("/api/v1/stacks/{slug}/state/{version}", Admin, not_here)
            .named(Stacks, "downloadState", "The body of a version, or of `current`")
            .gives::<AnyObject>("A state as the tool writes it."),
        read("/api/v1/runs/{id}/state/{version}", Admin, not_here)
            .named(Runs, "downloadTestState", "What a module's test created and could not destroy")
            .gives::<AnyObject>("A state as the tool writes it."),
        post(restore, Admin, "", not_here)
            .named(
                Operations,
                "restoreStates",
                "Point each stack to the newest state that object storage holds",
            )
            .about(
                "Use it after the records were restored to an earlier time. Refused unless runs \
                 are paused. The highest serial of a lineage wins; other lineages and ties are \
                 conflicts and are kept as rescued versions for somebody to decide. Repeat it with \
                 `after` while the response has `next`.",
            )
            .taking::<AfterQuery>(&["after"])
            .gives::<RestoredStates>("States that were missing from the records.")
            .refuses(&[409]),
    ]
}

/// Never called: the routes are not this function's.
async fn not_here() -> StatusCode {
    StatusCode::NOT_FOUND
}
