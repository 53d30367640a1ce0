//! Values as the protocol carries them, and as the files outside hold them.

use crate::protocol::DynamicValue;
use rmpv::Value;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// An object's attributes and blocks, by name.
pub(crate) type Object = BTreeMap<String, Value>;

/// What is not known before the apply.
pub(crate) fn unknown() -> Value {
    Value::Ext(0, vec![0])
}

/// The object that was sent; none where it is null, or nothing that MessagePack knows.
pub(crate) fn object(value: Option<&DynamicValue>) -> Option<Object> {
    match rmpv::decode::read_value(&mut value?.msgpack.as_slice()).ok()? {
        Value::Map(entries) => {
            let name = |name: &Value| name.as_str().unwrap_or_default().to_owned();
            Some(entries.into_iter().map(|(key, value)| (name(&key), value)).collect())
        }
        _ => None,
    }
}

/// The object as it is sent; null where there is none.
pub(crate) fn send(object: Option<&Object>) -> Option<DynamicValue> {
    let value = object.map_or(Value::Nil, |object| {
        let entry = |(name, value): (&String, &Value)| (Value::from(name.as_str()), value.clone());
        Value::Map(object.iter().map(entry).collect())
    });
    let mut msgpack = Vec::new();
    // Writing into memory does not fail.
    rmpv::encode::write_value(&mut msgpack, &value).ok()?;
    Some(DynamicValue { msgpack, json: Vec::new() })
}

/// The text of an attribute, where it has one.
pub(crate) fn text<'a>(object: &'a Object, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a set of texts has this one.
pub(crate) fn has(object: &Object, set: &str, item: &str) -> bool {
    let items = object.get(set).and_then(Value::as_array);
    items.is_some_and(|items| items.iter().any(|found| found.as_str() == Some(item)))
}

/// A value as it is written into a file. A number that JSON's readers would round is a text there,
/// as it is in the protocol.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Boolean(value) => Json::Bool(*value),
        Value::Integer(value) => value
            .as_i64()
            .map(Json::from)
            .or_else(|| value.as_u64().map(Json::from))
            .unwrap_or_default(),
        Value::F32(value) => Json::from(*value),
        Value::F64(value) => Json::from(*value),
        Value::String(value) => Json::from(value.as_str()),
        Value::Array(values) => values.iter().map(to_json).collect(),
        Value::Map(entries) => Json::Object(
            entries
                .iter()
                .map(|(key, value)| (key.as_str().unwrap_or_default().to_owned(), to_json(value)))
                .collect(),
        ),
        Value::Nil | Value::Binary(_) | Value::Ext(..) => Json::Null,
    }
}

/// A value as it was read from a file.
pub(crate) fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => number
            .as_i64()
            .map(Value::from)
            .or_else(|| number.as_u64().map(Value::from))
            .or_else(|| number.as_f64().map(Value::from))
            .unwrap_or(Value::Nil),
        Json::String(value) => Value::from(value.as_str()),
        Json::Array(values) => Value::Array(values.iter().map(of_json).collect()),
        Json::Object(entries) => {
            let entry =
                |(key, value): (&String, &Json)| (Value::from(key.as_str()), of_json(value));
            Value::Map(entries.iter().map(entry).collect())
        }
    }
}
