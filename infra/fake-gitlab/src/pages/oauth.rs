//! Signing in elsewhere with this server: who somebody is, and whether they want to.

use super::html::{esc, layout};
use crate::api::params::Params;
use crate::model::State;
use crate::model::oauth::Asked;
use crate::service::oauth::OauthError;

/// What a decision repeats of the request.
const REPEATED: [&str; 8] = [
    "client_id",
    "redirect_uri",
    "state",
    "response_type",
    "scope",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];

/// Asks who somebody is, as there are no passwords, and whether the application may have it.
pub(crate) fn consent(
    state: &State,
    asked: &Asked,
    params: &Params,
    problem: Option<&str>,
) -> String {
    let problem = problem.map_or_else(String::new, |problem| {
        format!("<p class=\"card problem\">{}</p>", esc(problem))
    });
    let hidden = REPEATED.iter().filter_map(|name| {
        let value = params.text(name)?;
        Some(format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", esc(&value)))
    });
    let people = state.users.values().filter(|user| !user.bot && !user.blocked);
    let people = people.map(|user| {
        let name = esc(&user.username);
        format!("<option value=\"{name}\">{name} ({})</option>", esc(&user.name))
    });
    let scopes = asked.scopes.iter().map(|scope| format!("<li><code>{}</code></li>", esc(scope)));
    let name = esc(&asked.application.name);
    let body = format!(
        "<h1>{name} asks for access</h1>\n{problem}<p>It will be able to:</p>\n<ul>{}</ul>\n\
         <form class=\"block card\" method=\"post\" action=\"/oauth/authorize\">{}\n\
         <label>You are <select name=\"user\">{}</select></label>\n\
         <button class=\"main\">Authorize</button>\n\
         <button name=\"_method\" value=\"delete\">Deny</button></form>",
        scopes.collect::<String>(),
        hidden.collect::<String>(),
        people.collect::<String>(),
    );
    layout(state, None, &format!("{} asks for access", asked.application.name), false, &body)
}

/// Says what is wrong with a request that nobody can decide.
pub(crate) fn refused(state: &State, error: &OauthError) -> String {
    let body = format!(
        "<h1>Nothing to authorize</h1>\n<p class=\"card problem\">{}</p>",
        esc(&error.description)
    );
    layout(state, None, "Nothing to authorize", false, &body)
}
