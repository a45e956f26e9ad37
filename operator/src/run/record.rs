//! What a journal holds: the entries, and nothing of how they are written.
//!
//! Everything that a run has learned from outside is here, so that whoever reads the entries in order knows
//! what the run knew. The format has a version; `docs/journal.md` describes it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::Subject;
use super::preflight::Survey;
use crate::agent::Defeat;
use crate::agent::budget::Limits;
use crate::agent::prompts::{Prompt, Role};
use crate::llm::prices::Cost;
use crate::llm::{Attempt, ModelSpec, Turn};
use crate::sandbox::{BootId, State, Status};
use crate::store::RunId;

/// The version of the format that is written.
///
/// 1: an object was noted once it was there. 2: before it is written.
pub const VERSION: u32 = 2;
/// The oldest version that is read.
pub const OLDEST: u32 = 1;

/// An entry.
///
/// A turn has raw JSON in it, which serde can't carry through internally tagged, untagged or flattened types:
/// there is none around it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The version of the format.
    pub version: u32,
    /// Who wrote it: a random name of the process's work on this run.
    pub writer: String,
    /// When.
    pub at: Moment,
    /// What.
    pub record: Record,
}

/// A moment, as text in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Timestamp);

impl Moment {
    /// By the clock.
    pub fn now() -> Self {
        // Milliseconds are enough, and what is read back is what was written.
        Self(Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap_or_default())
    }

    /// As others count.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }

    /// How long after an earlier moment it is; nothing if the clock went back.
    pub fn since(self, earlier: Self) -> Duration {
        let milliseconds = self.0.as_millisecond() - earlier.0.as_millisecond();
        Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.3}", self.0)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The first entry: somebody takes the run.
    Claimed(Claim),
    /// Somebody goes on with it.
    Resumed {
        /// With these limits.
        limits: Limits,
    },
    /// The database is fit for the run, and these tables are meant.
    Surveyed(Survey),
    /// The sandbox is as an agent needs it.
    Ready(Ready),
    /// An agent has its task.
    Began(Beginning),
    /// The model has answered the agent.
    Answered {
        /// The answer. If it held a secret: without it, and without its raw form.
        turn: Turn,
        /// What it cost, failed tries included, if that is known.
        cost: Option<Cost>,
    },
    /// It has not, but may have to be paid.
    Unanswered {
        /// What went wrong.
        problem: String,
        /// The tries.
        attempts: Vec<Attempt>,
        /// What they cost, if that is known.
        cost: Option<Cost>,
    },
    /// The model found the conversation too long.
    Shortened,
    /// Code was run for the agent.
    Ran(Ran),
    /// A page was checked for it.
    Checked {
        /// What is wrong with the page, if something is.
        problem: Option<String>,
    },
    /// The agent's work is over.
    Ended {
        /// Which agent.
        role: Role,
        /// Why without a page.
        failure: Option<Failure>,
    },
    /// This is what an object of the run's folder is. It is written next: if this is the last entry, it may not be
    /// there yet.
    Published(Published),
    /// All is done, and `run.json` follows from the entries.
    Finished {
        /// What the reader should know besides.
        warnings: Vec<String>,
    },
}

/// Who takes a run, and what was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The run.
    pub run: RunId,
    /// By which release.
    pub cataloger: String,
    /// Which installation.
    pub installation: String,
    /// The Catalog's UID, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
    /// What bought the run, where something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// For whom the pages are, where somebody is known by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// A hash of all that can change the result.
    pub fingerprint: String,
    /// What was asked for.
    pub asked: Asked,
    /// With these limits.
    pub limits: Limits,
    /// What the user wrote.
    pub manifest: Value,
}

/// What can change the result. Its hash is the fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// The database, without user and password.
    pub database: String,
    /// The tables.
    pub tables: Vec<String>,
    /// What the author wants to be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// Where the pages go.
    pub storage: String,
    /// The model.
    pub model: ModelSpec,
    /// Those to go on with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<ModelSpec>,
    /// The prompts.
    pub prompts: Vec<PromptUsed>,
}

/// A prompt, for who asks where a page came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptUsed {
    /// Its id.
    pub id: String,
    /// Its version, for people.
    pub version: String,
    /// The hash of its text.
    pub sha256: String,
}

impl From<&Prompt> for PromptUsed {
    fn from(prompt: &Prompt) -> Self {
        Self {
            id: prompt.id.clone(),
            version: prompt.version.clone(),
            sha256: prompt.sha256.clone(),
        }
    }
}

/// That a sandbox is as an agent needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// Which agent.
    pub role: Role,
    /// Which sandbox.
    pub boot: BootId,
    /// What the agent must know, if its variables could not all be rebuilt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

/// The task of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Beginning {
    /// Which agent.
    pub role: Role,
    /// All that it is told.
    pub task: String,
    /// The earlier runs that it is told of or, for the summary, given.
    pub earlier: Vec<RunId>,
}

/// What became of code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// The code.
    pub code: String,
    /// What the model is told.
    pub told: String,
    /// How it ended; none if the sandbox was lost with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Whether the variables survived.
    pub state: State,
    /// What it raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised: Option<Raised>,
    /// How long it took.
    pub milliseconds: u64,
}

impl Ran {
    /// Whether the code ended without trouble.
    pub fn ok(&self) -> bool {
        self.status == Some(Status::Ok)
    }
}

/// An exception.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    /// Its class.
    pub name: String,
    /// Its message.
    pub message: String,
}

/// Why an agent's work ended without a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The agent has given up.
    Defeat(Defeat),
    /// Something around it failed.
    Trouble(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Defeat(defeat) => defeat.fmt(formatter),
            Self::Trouble(message) => formatter.write_str(message),
        }
    }
}

/// An object, as it is or is about to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Its name in the run's folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The hash of what is in it.
    pub sha256: String,
}
