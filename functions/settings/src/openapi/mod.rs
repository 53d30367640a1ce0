//! The description of the API (OpenAPI 3.1), made of the routes and of the types that they take and
//! answer with.
//!
//! What is served is `openapi.json`, which is kept beside the code: a test makes it anew and compares.

mod bodies;
mod by_hand;
mod definition;
mod elsewhere;
mod operation;
mod schemas;

pub(crate) use bodies::{
    ConfirmRun, ConnectGitLab, DecideRun, HoldRunners, MakeKey, MakeVersion, NewNotificationTarget,
    NewUpload, NotificationTargetChange, Redrive, RetryRun, ReviewRun, RotateSecret, SetDrift,
    SetUpSignIn, StartPreview, StartRun, StartTask, UnblockStack, YankVersion,
};
pub(crate) use definition::{
    ModuleChange, NewModule, NewStack, StackChange, of_answered_module, of_stack,
};
pub(crate) use operation::{AnyObject, BodyOf, Operation, Tag, schema_of};

use self::schemas::Schemas;
use crate::{access::Access, routes::Route};
use gantry_setup::web::Problem;
use gantry_store::config::Role;
use serde_json::{Map, Value, json};

const ABOUT: &str = "Runs Terraform and OpenTofu for pushes, tags and merge requests in GitLab. Every request \
    needs an access key as bearer token; `x-role` is the role that it must have. Errors are \
    application/problem+json. Every change is recorded with its actor and outcome. Lists are \
    paginated: `limit` is the number of items per page, and `after` is the `next` of the previous \
    page, which is null at the end. Unknown parameters and fields are refused.";

/// The description.
pub(crate) fn document(routes: Vec<Route>) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for route in routes.iter().chain(&elsewhere::routes()) {
        let Some(operation) = &route.operation else { continue };
        let described = operation.describe(route, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = described;
    }
    schemas.answer(schema_of::<Problem>);
    let tags: Vec<_> =
        Tag::ALL.map(|tag| json!({ "name": tag.name(), "description": tag.about() })).into();
    let refused = json!({
        "description": "Refused. The response says what is wrong and what to do.",
        "content": { "application/problem+json": {
            "schema": { "$ref": "#/components/schemas/Problem" }
        } }
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gantry",
            "version": "1",
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "key": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
            "responses": { "Refused": refused },
            "schemas": schemas.finish(),
        },
    })
}

/// The role that a route needs, in the description's word; none where everybody may.
fn role(access: Access) -> Option<&'static str> {
    match access {
        Access::Open => None,
        Access::Key(right) | Access::Page(right) => Some(Role::with(right).as_str()),
    }
}
