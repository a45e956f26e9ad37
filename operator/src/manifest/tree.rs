//! One document as a plain value, strictly: each key once, nothing that JSON doesn't have.
//!
//! It shows no value in an error: it may be a secret. Must not know what the value means.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::api::field::{FieldPath, Step};

/// The key of YAML that takes over another mapping.
const MERGE: &str = "<<";

/// What went wrong, told past the parser: it would say more than is wanted.
pub(super) type Trouble = RefCell<Option<(FieldPath, String)>>;

/// Makes a value.
pub(super) struct Tree<'t> {
    path: FieldPath,
    trouble: &'t Trouble,
}

impl<'t> Tree<'t> {
    pub(super) fn new(trouble: &'t Trouble) -> Self {
        Self {
            path: FieldPath::root(),
            trouble,
        }
    }

    fn at(&self, step: Step) -> Self {
        Self {
            path: self.path.then(step),
            trouble: self.trouble,
        }
    }

    fn fail<T, E: Error>(&self, message: impl Into<String>) -> Result<T, E> {
        *self.trouble.borrow_mut() = Some((self.path.clone(), message.into()));
        Err(E::custom("told elsewhere"))
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Value, E> {
        self.fail("a number that is too large; if it is text, put it in quotes")
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Value, E> {
        self.fail("a number that is too large; if it is text, put it in quotes")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        match Number::from_f64(value) {
            Some(number) => Ok(Value::Number(number)),
            None => self.fail("infinity and not-a-number can't be used; if it is text, put it in quotes"),
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        self.fail("tags (words that begin with '!') can't be used; if it is text, put it in quotes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = entries.next_element_seed(self.at(Step::Index(list.len())))? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let mut merged = Vec::new();
        while let Some(key) = entries.next_key_seed(Key {
            tree: &self,
            taken: &object,
            stop: None,
        })? {
            let value = entries.next_value_seed(self.at(Step::Key(key.clone())))?;
            if key != MERGE {
                object.insert(key, value);
                continue;
            }
            for other in match value {
                Value::Array(others) => others,
                other => vec![other],
            } {
                let Value::Object(other) = other else {
                    return self.fail("'<<' takes over a mapping, or a list of them");
                };
                merged.push(other);
            }
        }
        // The first that has a key counts, and its own keys before all.
        for (key, value) in merged.into_iter().flatten() {
            object.entry(key).or_insert(value);
        }
        Ok(Value::Object(object))
    }
}

/// Makes a key that is not taken yet. Numbers and the like become text, as in the cluster.
pub(super) struct Key<'k, 't> {
    pub(super) tree: &'k Tree<'t>,
    pub(super) taken: &'k Map<String, Value>,
    /// The key to fail at. Only from within are failures placed at the key.
    pub(super) stop: Option<&'k str>,
}

impl Key<'_, '_> {
    fn text<E: Error>(&self, key: String) -> Result<String, E> {
        if self.taken.contains_key(&key) {
            return self
                .tree
                .at(Step::Key(key))
                .fail("the key is there twice: remove one");
        }
        if self.stop == Some(key.as_str()) {
            return Err(E::custom("here"));
        }
        Ok(key)
    }

    fn wrong<T, E: Error>(&self) -> Result<T, E> {
        self.tree
            .fail("a key that is not text; if this is a template with {{ … }}, render it first")
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_, '_> {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        self.text(key.to_owned())
    }

    fn visit_bool<E: Error>(self, key: bool) -> Result<String, E> {
        self.text(key.to_string())
    }

    fn visit_i64<E: Error>(self, key: i64) -> Result<String, E> {
        self.text(key.to_string())
    }

    fn visit_u64<E: Error>(self, key: u64) -> Result<String, E> {
        self.text(key.to_string())
    }

    fn visit_f64<E: Error>(self, key: f64) -> Result<String, E> {
        self.text(key.to_string())
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<String, E> {
        self.wrong()
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<String, E> {
        self.wrong()
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        self.wrong()
    }

    fn visit_none<E: Error>(self) -> Result<String, E> {
        self.wrong()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        self.wrong()
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        self.wrong()
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        self.wrong()
    }
}
