//! What can go wrong with a store, and what to do then. The errors alone decide.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Try the same again, a few times, with pauses. After a lost answer it may have happened already.
    Retry,
    /// The store asks for less: try again after a longer pause.
    Wait,
    /// Trying again can't help before somebody has changed something.
    Stop,
}

/// What was to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Opening the store.
    Open,
    /// Reading.
    Get,
    /// Looking whether it is there.
    Head,
    /// Writing.
    Put,
    /// Writing what is not there yet.
    Create,
    /// Removing.
    Delete,
    /// Listing.
    List,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Open => "open",
            Self::Get => "read",
            Self::Head => "look up",
            Self::Put => "write",
            Self::Create => "create",
            Self::Delete => "remove",
            Self::List => "list",
        })
    }
}

/// A store could not do something.
#[derive(Debug, Clone, Error)]
#[error("could not {operation} {on}: {problem}")]
pub struct StoreError {
    /// What was to be done.
    pub operation: Operation,
    /// On what: a path or a URI.
    pub on: String,
    /// Why not.
    #[source]
    pub problem: Problem,
}

impl StoreError {
    pub(super) fn new(operation: Operation, on: impl Into<String>, problem: Problem) -> Self {
        Self {
            operation,
            on: on.into(),
            problem,
        }
    }

    /// What to do about it.
    pub fn class(&self) -> Class {
        self.problem.class()
    }
}

/// Why a store could not do something.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// Nobody answers.
    #[error("the store can't be reached ({message}); check its endpoint and the network")]
    Unreachable {
        /// What the connection said.
        message: String,
    },
    /// The address is none.
    #[error("the store's address is not usable ({message}); check endpoint, region and bucket name")]
    Address {
        /// What is wrong.
        message: String,
    },
    /// No answer in time.
    #[error("no answer within {} s", after.as_secs())]
    Timeout {
        /// How long it was waited.
        after: Duration,
    },
    /// Not with these credentials.
    #[error("{message}; check the credentials and what they permit")]
    Denied {
        /// Who said so, and how.
        message: String,
    },
    /// There are no credentials.
    #[error(
        "there are no credentials ({message}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role"
    )]
    NoCredentials {
        /// Where they were looked for.
        message: String,
    },
    /// The bucket is not there.
    #[error("there is no bucket \"{bucket}\"; create it, or correct its name, region or endpoint")]
    NoBucket {
        /// Its name.
        bucket: String,
    },
    /// Too much at once.
    #[error("the store asks for fewer requests ({message})")]
    Throttled {
        /// What it said.
        message: String,
    },
    /// The store failed.
    #[error("the store failed ({message})")]
    Unavailable {
        /// What it said.
        message: String,
    },
    /// Others write the same key at the same time, for longer than it was tried.
    #[error("others are writing it at the same time")]
    Contended,
    /// The store can't create only if absent.
    #[error(
        "the store can't write only what is not there yet ({message}); use one that honours If-None-Match"
    )]
    Unsupported {
        /// What it said.
        message: String,
    },
    /// No room.
    #[error("there is no room left ({message}); make room and try again")]
    Full {
        /// What said so.
        message: String,
    },
    /// Something else is in the way.
    #[error("{message}; move it away, or choose another place")]
    Blocked {
        /// What, and how.
        message: String,
    },
    /// Larger than objects may be.
    #[error("it has {size} bytes; at most {} are taken", super::MAX_OBJECT)]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// More than was expected.
    #[error("there are more than {most} objects; remove old ones, or choose another prefix")]
    TooMany {
        /// The bound.
        most: usize,
    },
    /// The store said no, for a reason of its own.
    #[error("the store refused ({message})")]
    Refused {
        /// What it said.
        message: String,
    },
    /// Its answer was not understood.
    #[error("the store's answer was not understood ({message})")]
    Protocol {
        /// What was wrong with it.
        message: String,
    },
    /// The file system failed.
    #[error("{message}")]
    File {
        /// What it said.
        message: String,
    },
}

impl Problem {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Unavailable { .. }
            | Self::Contended
            | Self::Protocol { .. } => Class::Retry,
            Self::Throttled { .. } => Class::Wait,
            Self::Address { .. }
            | Self::Denied { .. }
            | Self::NoCredentials { .. }
            | Self::NoBucket { .. }
            | Self::Unsupported { .. }
            | Self::Full { .. }
            | Self::Blocked { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Refused { .. }
            | Self::File { .. } => Class::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_failed_on_what_and_what_to_do() {
        let error = StoreError::new(
            Operation::Create,
            "s3://pages/x.json",
            Problem::NoBucket {
                bucket: "pages".into(),
            },
        );
        assert_eq!(
            error.to_string(),
            "could not create s3://pages/x.json: there is no bucket \"pages\"; create it, or correct its name, region or endpoint"
        );
        assert_eq!(error.class(), Class::Stop);
        let full = Problem::Full {
            message: "No space left on device".into(),
        };
        assert_eq!(
            full.to_string(),
            "there is no room left (No space left on device); make room and try again"
        );
    }
}
