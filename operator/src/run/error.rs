//! What can go wrong with a run, and what to do then. The errors alone decide.

use thiserror::Error;

use super::journal::JournalError;
use super::preflight::Refusal;
use super::record::Failure;
use crate::agent::prompts::PromptError;
use crate::llm::ModelError;
use crate::sandbox::SandboxError;
use crate::store::preflight::PreflightError;
use crate::store::{RunId, StoreError};

/// What kind of trouble it is: the exit code of the command, and the reason of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for can't be right.
    Input,
    /// There is no sandbox.
    Sandbox,
    /// The database can't be read.
    Database,
    /// Pages and journal can't be kept.
    Store,
    /// The model does not answer.
    Model,
    /// Tokens, money, turns or time are used up.
    Budget,
    /// The model answers, but makes no page.
    Agent,
    /// Somebody else drives the run.
    Overtaken,
    /// Somebody wants no more.
    Interrupted,
}

/// Why a run has not come to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// Something is asked for that can't be.
    #[error("{0}")]
    Input(String),
    /// A prompt is wrong.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The store is not fit for runs.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// The store does not do what it should.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal can't be written or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The sandbox does not do what it should.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The database can't be opened from the sandbox.
    #[error("the database can't be opened: {message}")]
    Database {
        /// What Python said.
        message: String,
    },
    /// The database is not fit for a run, or what is asked for is not in it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The model does not answer.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// There is no page.
    #[error("no page was handed in: {0}")]
    NoPage(Failure),
    /// Something of another run is in the place.
    #[error(
        "{on} is there already, with other content: somebody else has written into the folder of run {run}"
    )]
    Occupied {
        /// The object.
        on: String,
        /// The run.
        run: RunId,
    },
    /// There is no such run to go on with.
    #[error("{0}")]
    NotResumable(String),
    /// All names that a run could have are taken.
    #[error("all names of runs from {from} on are taken by others: try again")]
    NoName {
        /// The first that was tried.
        from: RunId,
    },
    /// Somebody wants no more.
    #[error("interrupted")]
    Interrupted,
}

impl RunError {
    /// What kind of trouble it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Input(_)
            | Self::Prompt(_)
            | Self::NotResumable(_)
            | Self::Model(ModelError::Setup { .. }) => Kind::Input,
            Self::Journal(JournalError::Overtaken { .. })
            | Self::Sandbox(SandboxError::Superseded { .. }) => Kind::Overtaken,
            Self::Preflight(_)
            | Self::Store(_)
            | Self::Occupied { .. }
            | Self::NoName { .. }
            | Self::Journal(_) => Kind::Store,
            // Where the database is can't be found.
            Self::Sandbox(SandboxError::NoWay { .. }) | Self::Database { .. } => Kind::Database,
            Self::Sandbox(_) => Kind::Sandbox,
            Self::Refused(refusal) => refusal.kind(),
            Self::Model(error) if matches!(error.last(), ModelError::Budget { .. }) => Kind::Budget,
            Self::Model(_) => Kind::Model,
            Self::NoPage(Failure::Defeat(crate::agent::Defeat::UsedUp(_))) => Kind::Budget,
            Self::NoPage(_) => Kind::Agent,
            Self::Interrupted => Kind::Interrupted,
        }
    }

    /// Whether only the agent at work is concerned, so that a run can end without its summary.
    pub(super) fn spares_the_run(&self) -> bool {
        matches!(
            self,
            Self::Model(_) | Self::Sandbox(_) | Self::NoPage(_) | Self::Prompt(_)
        ) && !matches!(self, Self::Sandbox(SandboxError::Superseded { .. }))
    }
}
