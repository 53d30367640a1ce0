//! The messages of plugin protocol 6 that this provider needs.
//!
//! Names and field numbers are those of
//! <https://developer.hashicorp.com/terraform/plugin/terraform-plugin-protocol>.
//! Messages that have the same fields share a struct; fields that nobody reads are left out, which
//! Protocol Buffers allows.

use prost::{Enumeration, Message, Oneof};
use std::collections::HashMap;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Empty {}

/// A value: one of both is set.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DynamicValue {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) msgpack: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) json: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
#[repr(i32)]
pub(crate) enum Severity {
    Invalid = 0,
    Error = 1,
    Warning = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Diagnostic {
    #[prost(enumeration = "Severity", tag = "1")]
    pub(crate) severity: i32,
    #[prost(string, tag = "2")]
    pub(crate) summary: String,
    #[prost(string, tag = "3")]
    pub(crate) detail: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) attribute: Option<AttributePath>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttributePath {
    #[prost(message, repeated, tag = "1")]
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Step {
    #[prost(oneof = "Selector", tags = "1, 2, 3")]
    pub(crate) selector: Option<Selector>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Selector {
    #[prost(string, tag = "1")]
    Attribute(String),
    #[prost(string, tag = "2")]
    Key(String),
    #[prost(int64, tag = "3")]
    Index(i64),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Schema {
    #[prost(int64, tag = "1")]
    pub(crate) version: i64,
    #[prost(message, optional, tag = "2")]
    pub(crate) block: Option<Block>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Block {
    #[prost(int64, tag = "1")]
    pub(crate) version: i64,
    #[prost(message, repeated, tag = "2")]
    pub(crate) attributes: Vec<Attribute>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) block_types: Vec<NestedBlock>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// JSON; empty where there is a nested type.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) r#type: Vec<u8>,
    #[prost(message, optional, tag = "10")]
    pub(crate) nested_type: Option<NestedType>,
    #[prost(bool, tag = "4")]
    pub(crate) required: bool,
    #[prost(bool, tag = "5")]
    pub(crate) optional: bool,
    #[prost(bool, tag = "6")]
    pub(crate) computed: bool,
    #[prost(bool, tag = "7")]
    pub(crate) sensitive: bool,
    #[prost(bool, tag = "9")]
    pub(crate) deprecated: bool,
    #[prost(bool, tag = "11")]
    pub(crate) write_only: bool,
}

/// The numbers that blocks and nested types have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Enumeration)]
#[repr(i32)]
pub(crate) enum Nesting {
    Invalid = 0,
    Single = 1,
    List = 2,
    Set = 3,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NestedBlock {
    #[prost(string, tag = "1")]
    pub(crate) type_name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) block: Option<Block>,
    #[prost(enumeration = "Nesting", tag = "3")]
    pub(crate) nesting: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NestedType {
    #[prost(message, repeated, tag = "1")]
    pub(crate) attributes: Vec<Attribute>,
    #[prost(enumeration = "Nesting", tag = "3")]
    pub(crate) nesting: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ServerCapabilities {
    #[prost(bool, tag = "1")]
    pub(crate) plan_destroy: bool,
    #[prost(bool, tag = "3")]
    pub(crate) move_resource_state: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ActionSchema {
    #[prost(message, optional, tag = "1")]
    pub(crate) schema: Option<Schema>,
}

/// `GetProviderSchema`'s answer.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Schemas {
    #[prost(message, optional, tag = "1")]
    pub(crate) provider: Option<Schema>,
    #[prost(map = "string, message", tag = "2")]
    pub(crate) resources: HashMap<String, Schema>,
    #[prost(map = "string, message", tag = "3")]
    pub(crate) data_sources: HashMap<String, Schema>,
    #[prost(message, optional, tag = "6")]
    pub(crate) capabilities: Option<ServerCapabilities>,
    #[prost(map = "string, message", tag = "8")]
    pub(crate) ephemeral: HashMap<String, Schema>,
    #[prost(map = "string, message", tag = "11")]
    pub(crate) actions: HashMap<String, ActionSchema>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct IdentityAttribute {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) r#type: Vec<u8>,
    #[prost(bool, tag = "3")]
    pub(crate) required_for_import: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct IdentitySchema {
    #[prost(int64, tag = "1")]
    pub(crate) version: i64,
    #[prost(message, repeated, tag = "2")]
    pub(crate) attributes: Vec<IdentityAttribute>,
}

/// `GetResourceIdentitySchemas`' answer.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct IdentitySchemas {
    #[prost(map = "string, message", tag = "1")]
    pub(crate) schemas: HashMap<String, IdentitySchema>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Identity {
    #[prost(message, optional, tag = "1")]
    pub(crate) data: Option<DynamicValue>,
}

/// `ConfigureProvider`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Configure {
    #[prost(message, optional, tag = "2")]
    pub(crate) config: Option<DynamicValue>,
}

/// What is asked about a type's configuration: resources, data sources, ephemeral resources and
/// actions, validated, planned, read, opened and invoked.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Configured {
    #[prost(string, tag = "1")]
    pub(crate) type_name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) config: Option<DynamicValue>,
}

/// The answer to whatever has none but diagnostics.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Diagnosed {
    #[prost(message, repeated, tag = "1")]
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// `UpgradeResourceState` and `UpgradeResourceIdentity`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Upgrade {
    #[prost(message, optional, tag = "3")]
    pub(crate) raw: Option<Raw>,
}

/// What is in the state's file.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Raw {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) json: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct UpgradedState {
    #[prost(message, optional, tag = "1")]
    pub(crate) state: Option<DynamicValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct UpgradedIdentity {
    #[prost(message, optional, tag = "1")]
    pub(crate) identity: Option<Identity>,
}

/// `ReadResource`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Read {
    #[prost(message, optional, tag = "2")]
    pub(crate) state: Option<DynamicValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReadAnswer {
    #[prost(message, optional, tag = "1")]
    pub(crate) state: Option<DynamicValue>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) diagnostics: Vec<Diagnostic>,
    #[prost(message, optional, tag = "5")]
    pub(crate) identity: Option<Identity>,
}

/// `PlanResourceChange`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Plan {
    #[prost(message, optional, tag = "2")]
    pub(crate) prior: Option<DynamicValue>,
    #[prost(message, optional, tag = "3")]
    pub(crate) proposed: Option<DynamicValue>,
    #[prost(message, optional, tag = "8")]
    pub(crate) identity: Option<Identity>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PlanAnswer {
    #[prost(message, optional, tag = "1")]
    pub(crate) planned: Option<DynamicValue>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) requires_replace: Vec<AttributePath>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) diagnostics: Vec<Diagnostic>,
    #[prost(message, optional, tag = "7")]
    pub(crate) identity: Option<Identity>,
}

/// `ApplyResourceChange`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Apply {
    #[prost(message, optional, tag = "2")]
    pub(crate) prior: Option<DynamicValue>,
    #[prost(message, optional, tag = "3")]
    pub(crate) planned: Option<DynamicValue>,
    #[prost(message, optional, tag = "4")]
    pub(crate) config: Option<DynamicValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ApplyAnswer {
    #[prost(message, optional, tag = "1")]
    pub(crate) state: Option<DynamicValue>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) diagnostics: Vec<Diagnostic>,
    #[prost(message, optional, tag = "5")]
    pub(crate) identity: Option<Identity>,
}

/// `ImportResourceState`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Import {
    #[prost(string, tag = "1")]
    pub(crate) type_name: String,
    /// Empty where there is an identity.
    #[prost(string, tag = "2")]
    pub(crate) id: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) identity: Option<Identity>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Imported {
    #[prost(string, tag = "1")]
    pub(crate) type_name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) state: Option<DynamicValue>,
    #[prost(message, optional, tag = "4")]
    pub(crate) identity: Option<Identity>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ImportAnswer {
    #[prost(message, repeated, tag = "1")]
    pub(crate) imported: Vec<Imported>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// `MoveResourceState`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Move {
    #[prost(string, tag = "2")]
    pub(crate) source_type: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) source: Option<Raw>,
    #[prost(string, tag = "5")]
    pub(crate) target_type: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Moved {
    #[prost(message, optional, tag = "1")]
    pub(crate) state: Option<DynamicValue>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) diagnostics: Vec<Diagnostic>,
    #[prost(message, optional, tag = "4")]
    pub(crate) identity: Option<Identity>,
}

/// `ReadDataSource`'s answer.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Data {
    #[prost(message, optional, tag = "1")]
    pub(crate) state: Option<DynamicValue>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// `OpenEphemeralResource`'s answer.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Opened {
    #[prost(message, repeated, tag = "1")]
    pub(crate) diagnostics: Vec<Diagnostic>,
    #[prost(message, optional, tag = "3")]
    pub(crate) result: Option<DynamicValue>,
}

/// One message of an action that runs: the last one says that it is done.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ActionEvent {
    #[prost(oneof = "ActionEventKind", tags = "1, 2")]
    pub(crate) kind: Option<ActionEventKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum ActionEventKind {
    #[prost(message, tag = "1")]
    Progress(Progress),
    #[prost(message, tag = "2")]
    Completed(Diagnosed),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Progress {
    #[prost(string, tag = "1")]
    pub(crate) message: String,
}
