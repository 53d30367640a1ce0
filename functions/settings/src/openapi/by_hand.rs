//! Schemas that are written by hand, in `states.json`: what another function answers about states.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// All of them, by name.
pub(super) fn definitions() -> Map<String, Value> {
    serde_json::from_str(include_str!("states.json")).unwrap_or_default()
}

macro_rules! by_hand {
    ($($name:literal is $type:ty),* $(,)?) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_schemas: &mut SchemaGenerator) -> Schema {
                Schema::default()
            }
        }
    )*};
}

/// What is known of a stack's state.
pub(super) enum State {}
/// A version of a stack's state.
pub(super) enum StateVersion {}
/// A state to import, or to make current again.
pub(super) enum NewState {}
/// States that were found again.
pub(super) enum RestoredStates {}

by_hand! {
    "State" is State,
    "StateVersion" is StateVersion,
    "NewState" is NewState,
    "RestoredStates" is RestoredStates,
}
