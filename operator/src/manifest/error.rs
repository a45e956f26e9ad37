//! What is wrong with a file of resources, where, and what to do. It shows no secrets.

use std::fmt;

use thiserror::Error;

use super::words;
use crate::api::field::FieldPath;
use crate::api::{GROUP, VERSION};

/// The most mistakes that are told at once.
const TOLD: usize = 20;

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub origin: String,
    /// Which document of it, from 1.
    pub document: usize,
    /// Line and column, from 1, where they are known.
    pub place: Option<(usize, usize)>,
    /// Which resource, if that much could be read: `Catalog sales`.
    pub resource: Option<String>,
    /// Which field.
    pub path: FieldPath,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.origin)?;
        if let Some((line, column)) = self.place {
            write!(formatter, ":{line}:{column}")?;
        }
        formatter.write_str(": ")?;
        if !self.path.is_root() {
            write!(formatter, "{}: ", self.path)?;
        }
        write!(formatter, "{} (document {}", self.message, self.document)?;
        if let Some(resource) = &self.resource {
            write!(formatter, ", {resource}")?;
        }
        formatter.write_str(")")
    }
}

/// Why a file can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It has mistakes, in the order of the file.
    #[error("{}", lines(.0))]
    Wrong(Vec<Fault>),
    /// There is nothing in it.
    #[error("{origin} is empty: write a Catalog into it (apiVersion: {GROUP}/{VERSION}, kind: Catalog)")]
    Empty {
        /// The file.
        origin: String,
    },
    /// There is something else in it.
    #[error(
        "{origin} holds no Catalog, but {}: add a document with apiVersion: {GROUP}/{VERSION} and kind: Catalog",
        words::list(found)
    )]
    NoCatalog {
        /// The file.
        origin: String,
        /// What there is.
        found: Vec<String>,
    },
    /// There is a schedule in it, but nothing to run now.
    #[error(
        "{origin} holds no Catalog, but the CatalogSchedule {schedule}, which only a cluster follows: apply it there, or write a document with apiVersion: {GROUP}/{VERSION}, kind: Catalog and what its spec.catalogTemplate says"
    )]
    OnlySchedule {
        /// The file.
        origin: String,
        /// The schedule.
        schedule: String,
    },
    /// It has several, and none is chosen.
    #[error(
        "{origin} holds several Catalogs, {}: choose one by --catalog NAME",
        words::list(names)
    )]
    Several {
        /// The file.
        origin: String,
        /// Their names.
        names: Vec<String>,
    },
    /// The one that is chosen is not there.
    #[error(
        "{origin} holds no Catalog {name}, but {}: give one of these names",
        words::list(names)
    )]
    NotThere {
        /// The file.
        origin: String,
        /// Which is chosen.
        name: String,
        /// Which there are.
        names: Vec<String>,
    },
    /// The Catalog names a provider that is not there.
    #[error(
        "spec.model.providerRef of the Catalog names the ModelProvider {provider}, which {origin} does not hold{}: add its document to the file, or give --model",
        but(found)
    )]
    NoProvider {
        /// The file.
        origin: String,
        /// Which is named.
        provider: String,
        /// Which there are.
        found: Vec<String>,
    },
    /// A Secret is there, but not what is wanted of it.
    #[error(
        "{asker} wants the key {key} of the Secret {secret}, which in {origin} has {}: add it to the Secret, or name a key that it has",
        keys_of(keys)
    )]
    NoKey {
        /// The file.
        origin: String,
        /// Which field asks.
        asker: String,
        /// The Secret.
        secret: String,
        /// The key that it should have.
        key: String,
        /// The keys that it has.
        keys: Vec<String>,
    },
    /// A secret is not text.
    #[error(
        "the key {key} of the Secret {secret} in {origin} {problem}, which {asker} can't use: put the plain text into stringData"
    )]
    NotText {
        /// The file.
        origin: String,
        /// Which field asks.
        asker: String,
        /// The Secret.
        secret: String,
        /// The key.
        key: String,
        /// What it is instead.
        problem: &'static str,
    },
    /// Something that a cluster may know otherwise is neither said in the file nor by the caller.
    #[error("{origin}: {what}: {advice}")]
    Incomplete {
        /// The file.
        origin: String,
        /// What is missing, or can't be used.
        what: String,
        /// What to do.
        advice: String,
    },
}

fn lines(faults: &[Fault]) -> String {
    let mut lines: Vec<String> = faults.iter().take(TOLD).map(Fault::to_string).collect();
    if faults.len() > TOLD {
        lines.push(format!("and {} more mistakes", faults.len() - TOLD));
    }
    lines.join("\n")
}

fn but(found: &[String]) -> String {
    if found.is_empty() {
        return String::new();
    }
    format!(" (it holds {})", words::list(found))
}

fn keys_of(keys: &[String]) -> String {
    match keys {
        [] => "no keys at all".to_owned(),
        keys => format!("only {}", words::list(keys)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_mistakes_are_cut_short() {
        let fault = |line| Fault {
            origin: "c.yaml".into(),
            document: 1,
            place: Some((line, 3)),
            resource: None,
            path: FieldPath::of(["spec", "x"]),
            message: "is wrong".into(),
        };
        assert_eq!(fault(7).to_string(), "c.yaml:7:3: spec.x: is wrong (document 1)");
        let text = ManifestError::Wrong((1..=23).map(fault).collect()).to_string();
        assert_eq!(text.lines().count(), 21);
        assert!(text.ends_with("and 3 more mistakes"), "{text}");
    }
}
