//! Where in a text a part of a value is, for messages. Must not know what it means.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Map;

use super::tree::{Key, Tree, Trouble};
use crate::api::field::Step;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    /// The key that leads there.
    Key,
    /// What is there.
    Value,
}

/// Goes down a path and fails at its end: parsers say where they fail.
///
/// What is not there is where that is which should hold it.
pub(super) struct Locate<'p> {
    steps: &'p [Step],
    of: Of,
}

impl<'p> Locate<'p> {
    pub(super) fn new(steps: &'p [Step], of: Of) -> Self {
        Self { steps, of }
    }
}

impl<'de> DeserializeSeed<'de> for Locate<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Says whether a key is the one, or fails there.
struct IsKey<'p> {
    wanted: &'p str,
    fail: bool,
}

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        let trouble = Trouble::default();
        let key = Key {
            tree: &Tree::new(&trouble),
            taken: &Map::new(),
            stop: self.fail.then_some(self.wanted),
        }
        .deserialize(deserializer)?;
        Ok(key == self.wanted)
    }
}

fn here<E: Error>() -> E {
    E::custom("here")
}

impl<'de> Visitor<'de> for Locate<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a place")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.steps.split_first() else {
            return Err(here());
        };
        let seed = || IsKey {
            wanted,
            fail: rest.is_empty() && self.of == Of::Key,
        };
        while let Some(found) = entries.next_key_seed(seed())? {
            if found {
                entries.next_value_seed(Locate {
                    steps: rest,
                    of: self.of,
                })?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Err(here())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Some((Step::Index(wanted), rest)) = self.steps.split_first() else {
            return Err(here());
        };
        for _ in 0..*wanted {
            entries.next_element::<IgnoredAny>()?;
        }
        entries.next_element_seed(Locate {
            steps: rest,
            of: self.of,
        })?;
        Err(here())
    }
}
