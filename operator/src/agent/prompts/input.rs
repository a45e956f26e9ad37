//! What a prompt may be told, and of which type it is.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// The type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Text that is put in as it is.
    String,
    /// A whole number.
    Integer,
    /// Short texts; each becomes a line.
    List,
    /// Text that anybody may have written. It is put in between lines that mark it as data, and that it can't
    /// imitate.
    Untrusted,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::List => "list",
            Self::Untrusted => "untrusted",
        })
    }
}

/// The value of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// For [`Kind::String`] and [`Kind::Untrusted`].
    Text(String),
    /// For [`Kind::Integer`].
    Integer(u64),
    /// For [`Kind::List`].
    List(Vec<String>),
}

impl Value {
    pub(super) fn fits(&self, kind: Kind) -> bool {
        matches!(
            (self, kind),
            (Self::Text(_), Kind::String | Kind::Untrusted)
                | (Self::Integer(_), Kind::Integer)
                | (Self::List(_), Kind::List)
        )
    }

    pub(super) fn says_something(&self) -> bool {
        match self {
            Self::Text(text) => !text.trim().is_empty(),
            Self::Integer(_) => true,
            Self::List(items) => !items.is_empty(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<Vec<String>> for Value {
    fn from(items: Vec<String>) -> Self {
        Self::List(items)
    }
}

/// The values of a prompt's inputs, by name.
pub type Values = BTreeMap<&'static str, Value>;

/// What a prompt wants to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name in the template.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// What it is.
    pub description: String,
    /// What is taken where nothing is given; none where something has to be.
    pub default: Option<Value>,
}
