//! Reads a sample, and notes which structs and enums were read where, with all the fields and
//! variants that they have: serde tells a format these names, also of fields that are left out of
//! what is written.

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer,
    VariantAccess, Visitor,
    value::{MapDeserializer, SeqDeserializer, StrDeserializer},
};
use serde_json::{Error, Value};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

/// The names that a struct or enum has, and those of them that samples have a value for.
#[derive(Default)]
pub(crate) struct Seen {
    structs: BTreeMap<(&'static str, &'static [&'static str]), BTreeSet<String>>,
    enums: BTreeMap<(&'static str, &'static [&'static str]), BTreeSet<String>>,
}

/// Where a struct was read.
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) pointer: String,
    pub(crate) fields: Vec<String>,
}

impl Seen {
    pub(crate) fn structs(&self) -> BTreeSet<&'static str> {
        self.structs.keys().map(|(name, _)| *name).collect()
    }

    /// One line for each field or variant that no sample has.
    pub(crate) fn missing(&self, folder: &str) -> Vec<String> {
        let without = |known: &BTreeMap<(&'static str, &'static [&'static str]), _>, what: &str| {
            let kinds = known.iter().flat_map(|((kind, names), found): (_, &BTreeSet<String>)| {
                let missing = names.iter().filter(|name| !found.contains(**name));
                missing.map(move |name| (*kind, *name)).collect::<Vec<_>>()
            });
            let line = |(kind, name): (&str, &str)| {
                format!(
                    "no file in {folder} shows the {what} {name:?} of {kind}: add it with a value to \
                     a file that has the others, or make a file for it"
                )
            };
            kinds.map(line).collect::<Vec<_>>()
        };
        [without(&self.structs, "field"), without(&self.enums, "variant")].concat()
    }
}

/// Reads a sample as a `T`, and notes what was read.
pub(crate) fn read<T: DeserializeOwned>(
    sample: &Value,
    seen: &mut Seen,
    places: &mut Vec<Place>,
) -> Result<T, Error> {
    let notes = RefCell::new((seen, places));
    T::deserialize(Traced { value: sample, pointer: String::new(), notes: &notes })
}

type Notes<'a> = RefCell<(&'a mut Seen, &'a mut Vec<Place>)>;

/// A value of a sample, with its place.
struct Traced<'a> {
    value: &'a Value,
    pointer: String,
    notes: &'a Notes<'a>,
}

impl<'a> Traced<'a> {
    fn inside(&self, key: impl std::fmt::Display, value: &'a Value) -> Self {
        let key = key.to_string().replace('~', "~0").replace('/', "~1");
        let pointer = format!("{}/{key}", self.pointer);
        Self { value, pointer, notes: self.notes }
    }

    /// An enum whose variant is a field beside those of the variant: serde tells no names of it, so
    /// that its fields are those of the sample.
    fn note_tagged(&self) {
        let (Some(Value::String(kind)), Value::Object(found)) =
            (self.value.get("kind"), self.value)
        else {
            return;
        };
        let within = self.pointer.rsplit('/').next().unwrap_or_default();
        let name = format!("{within} {kind}").trim_start().to_owned();
        let fields = found.keys().filter(|field| *field != "kind").cloned().collect();
        let place = Place { name, pointer: self.pointer.clone(), fields };
        self.notes.borrow_mut().1.push(place);
    }

    fn contents<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Object(fields) => {
                let fields = fields.iter();
                visitor.visit_map(MapDeserializer::new(
                    fields.map(|(key, value)| (key.as_str(), self.inside(key, value))),
                ))
            }
            Value::Array(all) => {
                let all = all.iter().enumerate();
                let all = all.map(|(at, value)| self.inside(at, value));
                visitor.visit_seq(SeqDeserializer::new(all))
            }
            plain => plain.deserialize_any(visitor),
        }
    }

    fn note_struct(&self, name: &'static str, shown: String, fields: &'static [&'static str]) {
        let Value::Object(found) = self.value else { return };
        let (seen, places) = &mut *self.notes.borrow_mut();
        let filled = found.iter().filter(|(_, value)| !value.is_null());
        let filled = filled.map(|(field, _)| field.clone());
        seen.structs.entry((name, fields)).or_default().extend(filled);
        let fields = fields.iter().map(|&field| field.to_owned()).collect();
        places.push(Place { name: shown, pointer: self.pointer.clone(), fields });
    }
}

impl<'de> IntoDeserializer<'de, Error> for Traced<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Traced<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note_tagged();
        self.contents(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.contents(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.note_struct(name, name.to_owned(), fields);
        self.contents(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let (variant, content) = match self.value {
            Value::String(variant) => (variant.as_str(), None),
            Value::Object(one) if one.len() == 1 => {
                let mut one = one.iter().map(|(name, value)| (name.as_str(), Some(value)));
                one.next().unwrap_or_default()
            }
            _ => return Err(Error::custom(format!("{} is no {name}", self.value))),
        };
        let known = (name, variants);
        self.notes.borrow_mut().0.enums.entry(known).or_default().insert(variant.to_owned());
        let content = content.map(|value| self.inside(variant, value));
        visitor.visit_enum(Variant { of: name, variant, content })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct identifier ignored_any
    }
}

struct Variant<'a> {
    of: &'static str,
    variant: &'a str,
    content: Option<Traced<'a>>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name: StrDeserializer<'_, Error> = self.variant.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> Variant<'de> {
    fn content(self) -> Result<Traced<'de>, Error> {
        self.content.ok_or_else(|| Error::custom(format!("{} holds nothing", self.variant)))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None => Ok(()),
            Some(_) => Err(Error::custom(format!("{} holds something", self.variant))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        self.content()?.contents(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let (of, variant) = (self.of, self.variant);
        let content = self.content()?;
        content.note_struct(of, format!("{of}::{variant}"), fields);
        content.contents(visitor)
    }
}
