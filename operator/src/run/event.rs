//! What a run does, for who watches it. Nothing depends on it, and it holds no secrets.

use std::time::Duration;

use super::outcome::SoFar;
use crate::agent::budget::{Limits, Spent};
use crate::agent::prompts::Role;
use crate::llm::{ModelSpec, Progress};
use crate::store::RunId;

/// Takes events as they happen. It must not block.
pub type Watch<'a> = dyn Fn(&Event) + Send + Sync + 'a;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The run has its name and its folder.
    Claimed {
        /// The run.
        run: RunId,
        /// Where its pages will be.
        folder: String,
    },
    /// A run is gone on with.
    Resumed {
        /// The run.
        run: RunId,
        /// Where its pages will be.
        folder: String,
        /// How many entries its journal has.
        entries: u32,
        /// What it has come to.
        so_far: SoFar,
    },
    /// Something begins.
    Phase(Phase),
    /// The database is fit for the run.
    Surveyed(super::preflight::Survey),
    /// An agent has its task.
    Began {
        /// Which agent.
        role: Role,
        /// The earlier runs that it is told of.
        earlier: Vec<RunId>,
    },
    /// The sandbox is as an agent needs it.
    Ready {
        /// Which agent.
        role: Role,
    },
    /// The model is asked.
    Asking {
        /// Which turn it will be.
        turn: u32,
        /// Of at most so many.
        of: u32,
    },
    /// While it answers.
    Model(Progress),
    /// It has answered.
    Answered {
        /// Which model.
        model: ModelSpec,
        /// What it said besides calls.
        text: String,
        /// What the whole run has used.
        spent: Spent,
        /// Of this.
        limits: Limits,
    },
    /// It has not, but may have to be paid.
    Unanswered {
        /// What went wrong.
        problem: String,
        /// What the whole run has used.
        spent: Spent,
    },
    /// Code runs.
    Running {
        /// The code.
        code: String,
    },
    /// While it runs.
    Output(String),
    /// It has run.
    Ran {
        /// Whether without trouble.
        ok: bool,
        /// What it wrote, or what went wrong with it.
        told: String,
        /// How long it took.
        took: Duration,
    },
    /// A page was handed in.
    Checked {
        /// What is wrong with it, if something is.
        problem: Option<String>,
    },
    /// The variables of an agent are made again, in a new sandbox.
    Rebuilding {
        /// From so many pieces of code.
        cells: usize,
    },
    /// An object is there.
    Published {
        /// Its name in the run's folder.
        name: String,
        /// Where it is.
        uri: String,
        /// Its size.
        bytes: u64,
    },
    /// The store can't be used, and is asked again: what would be lost otherwise waits.
    StoreAway {
        /// What it, or the way to it, says.
        problem: String,
    },
    /// It can be used again.
    StoreBack,
    /// Something that the user should know.
    Warning(String),
}

/// What a run is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The store is tried.
    Preparing,
    /// The sandbox is made.
    Provisioning,
    /// The agent explores and writes.
    Cataloging,
    /// The page is published; the summary is being written.
    Summarizing,
}

impl Phase {
    /// Its name, as a status has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "Preparing",
            Self::Provisioning => "Provisioning",
            Self::Cataloging => "Cataloging",
            Self::Summarizing => "Summarizing",
        }
    }
}

impl From<Role> for Phase {
    /// What a run is at while an agent works.
    fn from(role: Role) -> Self {
        match role {
            Role::Cataloging => Self::Cataloging,
            Role::Summary => Self::Summarizing,
        }
    }
}
