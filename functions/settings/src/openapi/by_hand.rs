//! Schemas that are written by hand, in `definitions.json`: what a person defines of a stack or a
//! module, and what another function answers about states.

use crate::{
    modules::ModuleView,
    stacks::{Finding, StackView},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// All of them, by name.
pub(super) fn definitions() -> Map<String, Value> {
    serde_json::from_str(include_str!("definitions.json")).unwrap_or_default()
}

macro_rules! by_hand {
    ($($name:literal is $type:ty),* $(,)?) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
                // Those that are written by hand name this one.
                let _named_there = schemas.subschema_for::<Finding>();
                Schema::default()
            }
        }
    )*};
}

/// A stack, and what was found at its project.
pub(crate) enum CheckedStack {}
/// A stack to make.
pub(crate) enum NewStack {}
/// What is to change of a stack.
pub(crate) enum StackChange {}
/// A module to make.
pub(crate) enum NewModule {}
/// What is to change of a module.
pub(crate) enum ModuleChange {}
/// What is known of a stack's state.
pub(super) enum State {}
/// A version of a stack's state.
pub(super) enum StateVersion {}
/// A state to import, or to make current again.
pub(super) enum NewState {}
/// States that were found again.
pub(super) enum RestoredStates {}

by_hand! {
    "Stack" is StackView,
    "CheckedStack" is CheckedStack,
    "NewStack" is NewStack,
    "StackChange" is StackChange,
    "Module" is ModuleView,
    "NewModule" is NewModule,
    "ModuleChange" is ModuleChange,
    "State" is State,
    "StateVersion" is StateVersion,
    "NewState" is NewState,
    "RestoredStates" is RestoredStates,
}
