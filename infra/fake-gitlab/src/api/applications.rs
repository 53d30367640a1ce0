//! OAuth applications of the whole server, which administrators make.

use serde_json::json;

use super::Call;
use super::answer::{Answer, ApiResult, Refusal};
use crate::model::State;

/// The secret is shown here and never again.
pub(crate) fn create(state: &mut State, call: &Call) -> ApiResult {
    let user = call.user()?;
    if !state.user(user).admin {
        return Err(Refusal::forbidden());
    }
    let params = &call.params;
    let (name, uris) = (params.required("name")?, params.required("redirect_uri")?);
    let scopes = params.text("scopes");
    let scopes = scopes.ok_or_else(|| Refusal::error(400, "scopes is missing, scopes is empty"))?;
    if scopes.trim().is_empty() {
        return Err(Refusal::error(400, "scopes is empty"));
    }
    let confidential = params.flag("confidential")?.unwrap_or(true);
    let made = state.create_application(&name, &uris, &scopes, confidential)?;
    let body = json!({
        "id": made.id,
        "application_id": made.application_id,
        "application_name": made.name,
        "secret": made.secret,
        "callback_url": made.redirect_uri,
        "confidential": made.confidential,
        "scopes": made.scopes,
    });
    Ok(Answer::created(body).wrote(format!("application {name}")))
}
