//! One value or several of them.

use std::{borrow::Cow, collections::BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How many values a filter may name: more than any of its kinds has.
const VALUES_MAX: usize = 50;

/// A value, or a list of 1 to 50: `"failed"` or `["failed", "rejected"]`. In a query string the
/// member stands several times, or its values are separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Several<T>(BTreeSet<T>);

impl<T: Ord> Several<T> {
    pub fn one(value: T) -> Self {
        Self(BTreeSet::from([value]))
    }

    /// Nothing where there is no value.
    pub fn of(values: impl IntoIterator<Item = T>) -> Option<Self> {
        let values: BTreeSet<T> = values.into_iter().collect();
        (!values.is_empty()).then_some(Self(values))
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

impl<T: Serialize + Ord> Serialize for Several<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.first() {
            Some(only) if self.0.len() == 1 => only.serialize(serializer),
            Some(_) | None => self.0.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de> + Ord> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, bound = "T: Deserialize<'de>")]
        enum Written<T> {
            One(T),
            Several(Vec<T>),
        }
        let values = match Written::deserialize(deserializer)? {
            Written::One(value) => vec![value],
            Written::Several(values) => values,
        };
        if (1..=VALUES_MAX).contains(&values.len()) {
            Ok(Self(values.into_iter().collect()))
        } else {
            let message = format!("use 1 to {VALUES_MAX} values");
            Err(de::Error::custom(message))
        }
    }
}

impl<T: JsonSchema> JsonSchema for Several<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Several{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({
            "anyOf": [
                one,
                { "type": "array", "items": one, "minItems": 1, "maxItems": VALUES_MAX },
            ],
        })
    }
}
