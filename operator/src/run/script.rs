//! What an agent has run, as a script.
//!
//! It must not know what the code does.

use crate::agent::prompts::Role;
use crate::store::RunId;

/// A piece of code.
#[derive(Debug)]
pub struct Ran<'a> {
    /// Which one it is.
    pub number: u32,
    /// The code.
    pub code: &'a str,
    /// How it ended.
    pub fate: Fate<'a>,
}

/// How a piece of code ended.
#[derive(Debug)]
pub enum Fate<'a> {
    /// Without trouble.
    Ok,
    /// It raised.
    Raised {
        /// The exception's class.
        name: &'a str,
        /// Its message.
        message: &'a str,
    },
    /// It did not end by itself.
    NotFinished(&'a str),
}

/// The script.
pub fn script(_: Role, run: RunId, cells: &[Ran<'_>]) -> String {
    let cells = cells
        .iter()
        .map(|ran| format!("# %% {}\n{}\n", ran.number, ran.code));
    std::iter::once(format!("# What run {run} has run.\n"))
        .chain(cells)
        .collect()
}
