//! What configurations may say: the switches, as README.md lists them.

use crate::protocol::{
    ActionSchema, Attribute, Block, IdentityAttribute, IdentitySchema, IdentitySchemas,
    NestedBlock, NestedType, Nesting, Schema, Schemas, ServerCapabilities,
};
use std::collections::HashMap;

/// The two types of resources are the same, so that one can be moved to the other.
pub(crate) const RESOURCES: [&str; 2] = ["test_object", "test_thing"];

pub(crate) fn schemas() -> Schemas {
    let schema = |block: &Block| Schema { version: 0, block: Some(block.clone()) };
    let resource = schema(&resource());
    let data = schema(&attributes(vec![
        required("id", "string"),
        computed("text", "string"),
        computed("number", "number"),
        sensitive(computed("secret", "string")),
    ]));
    let token = schema(&attributes(vec![
        required("name", "string"),
        sensitive(computed("value", "string")),
    ]));
    let note = schema(&attributes(vec![
        required("text", "string"),
        sensitive(optional("secret", "string")),
        optional("fails", "bool"),
        optional("takes", "number"),
    ]));
    let one = |name: &str, schema: Schema| HashMap::from([(name.to_owned(), schema)]);
    Schemas {
        provider: Some(schema(&attributes(vec![required("folder", "string")]))),
        resources: RESOURCES.map(|name| (name.to_owned(), resource.clone())).into(),
        data_sources: one("test_object", data),
        capabilities: Some(ServerCapabilities { plan_destroy: true, move_resource_state: true }),
        ephemeral: one("test_token", token),
        actions: HashMap::from([("test_note".to_owned(), ActionSchema { schema: Some(note) })]),
    }
}

pub(crate) fn identities() -> IdentitySchemas {
    let id = IdentityAttribute {
        name: "id".to_owned(),
        r#type: br#""string""#.to_vec(),
        required_for_import: true,
    };
    let schema = IdentitySchema { version: 0, attributes: vec![id] };
    IdentitySchemas { schemas: RESOURCES.map(|name| (name.to_owned(), schema.clone())).into() }
}

/// What a resource has.
pub(crate) fn resource() -> Block {
    let attributes = vec![
        computed("id", "string"),
        computed("revision", "number"),
        required("name", "string"),
        optional("text", "string"),
        optional("number", "number"),
        Attribute { r#type: br#"["map","string"]"#.to_vec(), ..optional("tags", "") },
        sensitive(optional("secret", "string")),
        sensitive(optional("pin", "number")),
        Attribute { write_only: true, ..optional("write_only", "string") },
        optional("write_only_version", "number"),
        Attribute { deprecated: true, ..optional("old_text", "string") },
        Attribute {
            r#type: Vec::new(),
            nested_type: Some(NestedType {
                attributes: vec![required("url", "string"), sensitive(optional("token", "string"))],
                nesting: Nesting::List.into(),
            }),
            ..optional("endpoints", "")
        },
        Attribute { r#type: br#"["set","string"]"#.to_vec(), ..optional("fails_to", "") },
        Attribute { r#type: br#"["set","string"]"#.to_vec(), ..optional("warns_at", "") },
        Attribute { r#type: br#"["map","number"]"#.to_vec(), ..optional("takes", "") },
    ];
    let rule = vec![
        required("port", "number"),
        optional("text", "string"),
        sensitive(optional("secret", "string")),
    ];
    let label = vec![required("key", "string"), optional("value", "string")];
    let settings = vec![optional("text", "string"), optional("number", "number")];
    Block {
        version: 0,
        attributes,
        block_types: vec![
            nested("rule", Nesting::List, rule),
            nested("label", Nesting::Set, label),
            nested("settings", Nesting::Single, settings),
            nested("unwritten", Nesting::List, vec![optional("text", "string")]),
        ],
    }
}

fn attributes(attributes: Vec<Attribute>) -> Block {
    Block { version: 0, attributes, block_types: Vec::new() }
}

fn nested(name: &str, nesting: Nesting, has: Vec<Attribute>) -> NestedBlock {
    let block = Some(attributes(has));
    NestedBlock { type_name: name.to_owned(), block, nesting: nesting.into() }
}

fn attribute(name: &str, r#type: &str) -> Attribute {
    let r#type = format!("{:?}", r#type).into_bytes();
    Attribute { name: name.to_owned(), r#type, ..Attribute::default() }
}

fn required(name: &str, r#type: &str) -> Attribute {
    Attribute { required: true, ..attribute(name, r#type) }
}

fn optional(name: &str, r#type: &str) -> Attribute {
    Attribute { optional: true, ..attribute(name, r#type) }
}

fn computed(name: &str, r#type: &str) -> Attribute {
    Attribute { computed: true, ..attribute(name, r#type) }
}

fn sensitive(attribute: Attribute) -> Attribute {
    Attribute { sensitive: true, ..attribute }
}
