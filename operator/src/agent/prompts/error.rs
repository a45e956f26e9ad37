//! What can be wrong with prompts.

use std::path::PathBuf;

use thiserror::Error;

use super::Kind;

/// What is wrong with a prompt. Somebody has to mend it: trying again never helps.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PromptError {
    /// It can't be read.
    #[error("the prompts can't be read from {}: {message}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The directory holds none.
    #[error("{origin} holds no prompt; put cataloging.yaml or summary.yaml there")]
    Empty {
        /// What should hold some.
        origin: String,
    },
    /// A file of a name that no prompt has.
    #[error("{origin} is no prompt that is used; name it cataloging.yaml or summary.yaml, or remove it")]
    Foreign {
        /// The file.
        origin: String,
    },
    /// It is not as it has to be.
    #[error("{origin}, line {line}: {message}")]
    Invalid {
        /// The file.
        origin: String,
        /// The line in it, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// An input is missing.
    #[error("the prompt {origin} needs the input \"{name}\" ({description}), and nothing was given")]
    Missing {
        /// The file.
        origin: String,
        /// The input.
        name: String,
        /// What it is.
        description: String,
    },
    /// A value is of another type.
    #[error("the prompt {origin} wants the input \"{name}\" as {kind}, and got something else")]
    Mistyped {
        /// The file.
        origin: String,
        /// The input.
        name: String,
        /// What it should be.
        kind: Kind,
    },
    /// Something is given that the prompt does not know.
    #[error("the prompt {origin} has no input \"{name}\"; ask it with `takes` first")]
    Unasked {
        /// The file.
        origin: String,
        /// The input.
        name: String,
    },
}
