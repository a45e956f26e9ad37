//! What can heal a run that has failed, by its error alone.
//!
//! It must not know how often a run is tried, nor who tries it.

use jiff::Timestamp;

use super::error::RunError;
use super::journal::JournalError;
use super::record::Failure;
use crate::agent::Defeat;
use crate::llm::ModelError;
use crate::sandbox::{Class as SandboxClass, SandboxError};
use crate::store::{Class as StoreClass, StoreError};

/// What can heal a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// Another try, after a while.
    Retry,
    /// A change by a person: of what is asked for, of what it may use, or of what it stands on.
    Change,
    /// Nothing is to be healed: somebody has stopped the run, or has taken it over.
    Nothing,
}

impl RunError {
    /// What can heal it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Interrupted => Remedy::Nothing,
            Self::Preflight(error) => of_store(error.class()),
            Self::Store(error) => of_store(error.class()),
            Self::Journal(error) => of_journal(error),
            Self::Sandbox(error) => of_sandbox(error),
            Self::Refused(refusal) if refusal.may_pass() => Remedy::Retry,
            Self::Refused(_) | Self::Input(_) | Self::Prompt(_) => Remedy::Change,
            Self::Model(error) => of_model(error),
            Self::NoPage(failure) => of_failure(failure),
            // A database that was surveyed and found fit: most likely its server is away. For the others another
            // run is begun, which nothing is in the way of.
            Self::Database { .. } | Self::Occupied { .. } | Self::NotResumable(_) | Self::NoName { .. } => {
                Remedy::Retry
            }
        }
    }

    /// Before when another try is in vain, if that is known.
    pub fn not_before(&self) -> Option<Timestamp> {
        match self {
            Self::Model(error) => opens_at(error),
            _ => None,
        }
    }

    /// Whether another try goes on with the same run. If not it is of no more use, and another one is begun.
    pub fn is_resumable(&self) -> bool {
        match self {
            Self::NotResumable(_) | Self::Occupied { .. } | Self::NoName { .. } => false,
            Self::Journal(error) => match error {
                JournalError::Store(_) | JournalError::Overtaken { .. } => true,
                JournalError::Damaged { .. } | JournalError::Foreign { .. } | JournalError::Full { .. } => {
                    false
                }
            },
            // What the journal holds is what is wrong.
            Self::Model(error) => !matches!(error.last(), ModelError::Invalid { .. }),
            Self::NoPage(failure) => {
                !matches!(failure, Failure::Trouble(_) | Failure::Defeat(Defeat::TooLong))
            }
            Self::Input(_)
            | Self::Prompt(_)
            | Self::Preflight(_)
            | Self::Store(_)
            | Self::Sandbox(_)
            | Self::Database { .. }
            | Self::Refused(_)
            | Self::Interrupted => true,
        }
    }
}

/// Of a model: when it may be paid for again.
fn opens_at(error: &ModelError) -> Option<Timestamp> {
    match error.last() {
        ModelError::Budget { opens_at, .. } => Some(*opens_at),
        _ => None,
    }
}

fn of_store(class: StoreClass) -> Remedy {
    match class {
        StoreClass::Retry | StoreClass::Wait => Remedy::Retry,
        StoreClass::Stop => Remedy::Change,
    }
}

fn of_journal(error: &JournalError) -> Remedy {
    match error {
        JournalError::Store(error) => of_store(StoreError::class(error)),
        JournalError::Overtaken { .. } => Remedy::Nothing,
        JournalError::Damaged { .. } | JournalError::Foreign { .. } | JournalError::Full { .. } => {
            Remedy::Retry
        }
    }
}

fn of_sandbox(error: &SandboxError) -> Remedy {
    match error {
        SandboxError::Superseded { .. } => Remedy::Nothing,
        // Another sandbox may do it. What a class of `Stop` says is only that this one won't.
        SandboxError::Setup { .. }
        | SandboxError::Conflict { .. }
        | SandboxError::Leftovers { .. }
        | SandboxError::Closed => Remedy::Retry,
        error => match error.class() {
            SandboxClass::Retry | SandboxClass::Wait | SandboxClass::Rebuild => Remedy::Retry,
            SandboxClass::Stop => Remedy::Change,
        },
    }
}

fn of_model(error: &ModelError) -> Remedy {
    match error {
        ModelError::Unreachable { .. }
        | ModelError::Broken { .. }
        | ModelError::Silent { .. }
        | ModelError::TooSlow { .. }
        | ModelError::NotUnderstood { .. }
        | ModelError::NoLeave { .. }
        // There is a new one some day, and whoever tries asks when: `not_before`.
        | ModelError::Budget { .. } => Remedy::Retry,
        ModelError::Status { status, .. } => match status {
            // A key that was renewed while the run went on is read anew by the next try.
            401 | 408 | 425 | 429 | 500.. => Remedy::Retry,
            // The name, the address, what the key may do, or what is sent.
            _ => Remedy::Change,
        },
        ModelError::Deadline { .. }
        | ModelError::Quota { .. }
        | ModelError::TooLong { .. }
        | ModelError::Invalid { .. }
        | ModelError::Setup { .. } => Remedy::Change,
        // Of the others no more is known than that they did not answer, and one that does is enough.
        ModelError::Exhausted { attempts, last }
            if attempts.iter().any(|it| last.model() != Some(&it.asked)) =>
        {
            Remedy::Retry
        }
        ModelError::Exhausted { last, .. } => of_model(last),
    }
}

fn of_failure(failure: &Failure) -> Remedy {
    match failure {
        Failure::Defeat(defeat) => match defeat {
            Defeat::Silent | Defeat::Clumsy | Defeat::Circling => Remedy::Retry,
            Defeat::UsedUp(_) | Defeat::Refused { .. } | Defeat::TooLong => Remedy::Change,
        },
        // Another release has accepted the page, and this one makes its own.
        Failure::Trouble(_) => Remedy::Retry,
    }
}

#[cfg(test)]
mod tests;
