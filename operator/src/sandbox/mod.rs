//! Where the agent's Python lives: the trait [`Sandbox`], and what implements it.
//!
//! Callers choose the ids of calls and may ask again with the same id, over another connection and from
//! another process: a call runs at most once, and every asking gets the same answer. This module must not
//! know why code is run, nor what a journal or a model is.

mod account;
pub mod client;
pub mod environment;
mod error;
pub mod link;
pub mod local;
pub mod pod;
pub mod process;
pub mod protocol;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

pub use error::{Class, Loss, NotStarted, Obstacle, SandboxError};
pub use protocol::seal::{BootId, InstallationSecret};

/// The most bytes that one [`Sandbox::put_file`] takes; a larger file is several calls.
pub const MAX_FILE_PART: usize = 8 * 1024 * 1024;

/// The number of a call. It grows from call to call over the life of a sandbox, whoever calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct CallId(pub u64);

impl CallId {
    /// The id after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl TryFrom<u64> for CallId {
    type Error = &'static str;

    fn try_from(number: u64) -> Result<Self, Self::Error> {
        if number < protocol::NUMBER_LIMIT {
            Ok(Self(number))
        } else {
            Err("an id of 2^53 or more")
        }
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Environment variables of a session. Values are secrets (the database's URL): never shown, never logged.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Variables(BTreeMap<String, SecretString>);

impl Variables {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<SecretString>) {
        self.0.insert(name.into(), value.into());
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl<N: Into<String>, V: Into<SecretString>> FromIterator<(N, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Variables")?;
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// Code to run, and within which bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Python. The value of a last expression is shown.
    pub code: String,
    /// How long it may run before it is interrupted.
    pub timeout: Duration,
    /// How long it may take to give way to the interrupt, before the session is replaced.
    pub grace: Duration,
    /// How many rows of a table are shown.
    pub max_rows: u32,
    /// How many bytes of output are kept, half from the begin and half from the end.
    pub output_limit: u32,
}

impl Cell {
    /// Code within the usual bounds: 60 s, 5 s of grace, 20 rows, 64 KiB of output.
    pub fn new(code: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            timeout: Duration::from_mins(1),
            grace: Duration::from_secs(5),
            max_rows: 20,
            output_limit: 64 * 1024,
        }
    }
}

/// Output of a running call, for the eye only: [`Executed::output`] has it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it begins, in characters from the begin of the output.
    pub offset: u64,
    /// The text.
    pub text: String,
}

/// How a cell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The code ended.
    Ok,
    /// It raised.
    Error,
    /// It took too long.
    Timeout,
    /// It was interrupted.
    Interrupted,
    /// Its processes passed the memory limit.
    OutOfMemory,
    /// Its processes passed the process limit.
    TooManyProcesses,
    /// Its process ended by itself.
    Exited,
    /// A signal ended its process.
    Killed,
    /// It wrote to, or closed, the session's own channel.
    Corrupted,
    /// No session could be started: the code was not run.
    Unavailable,
}

impl Status {
    /// The word of the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::OutOfMemory => "out_of_memory",
            Self::TooManyProcesses => "too_many_processes",
            Self::Exited => "exited",
            Self::Killed => "killed",
            Self::Corrupted => "corrupted",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Whether the session's variables survived a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// They are there.
    Kept,
    /// They are gone; files stay.
    Lost,
}

/// What a cell did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// Whether the code ended without trouble.
    pub ok: bool,
    /// How it ended.
    pub status: Status,
    /// What it wrote, with the middle left out if that was too much.
    pub output: String,
    /// The bytes that it wrote.
    pub total: u64,
    /// The bytes that were left out of the middle.
    pub omitted: u64,
    /// Whether the session's variables survived.
    pub state: State,
    /// One sentence about how it ended.
    pub detail: Option<String>,
    /// What had happened to the session before this call.
    pub notice: Option<String>,
    /// What processes and threads of earlier calls wrote meanwhile.
    pub background: Option<Background>,
    /// What it raised.
    pub error: Option<Raised>,
    /// How long it ran.
    pub duration_ms: u64,
    /// The number of the session that ran it.
    pub generation: u64,
}

/// What stands in an output in place of so many bytes that were left out.
pub fn gap(omitted: u64) -> String {
    let mut number = omitted.to_string();
    let mut at = number.len();
    while at > 3 {
        at -= 3;
        number.insert(at, ',');
    }
    format!("\n[... {number} bytes left out ...]\n")
}

/// What processes and threads of earlier calls wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Background {
    /// The text.
    pub output: String,
    /// The bytes that were left out of the middle.
    pub omitted: u64,
}

/// An exception.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    /// Its class.
    pub name: String,
    /// Its message.
    pub message: String,
}

/// What became of a reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasReset {
    /// Whether everything is as new.
    pub ok: bool,
    /// `ok` or `failed`.
    pub status: String,
    /// What went wrong.
    pub detail: Option<String>,
    /// The number of the fresh session.
    pub generation: u64,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePut {
    /// Whether it was written.
    pub ok: bool,
    /// `ok` or `failed`.
    pub status: String,
    /// What went wrong.
    pub detail: Option<String>,
    /// The file's size now.
    pub size: u64,
}

/// How a daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Which daemon.
    pub boot: BootId,
    /// Since when.
    pub uptime_ms: u64,
    /// The number of the session.
    pub generation: u64,
    /// The call that runs.
    pub running: Option<CallId>,
    /// The highest id of a call that was seen.
    pub last: CallId,
    /// The calls whose answers are kept.
    pub kept: Vec<CallId>,
    /// The session's processes.
    pub processes: u64,
    /// Their memory.
    pub memory_bytes: u64,
    /// What they may have, if there is a limit.
    pub memory_limit: Option<u64>,
    /// The memory of the daemon itself.
    pub daemon_bytes: u64,
}

/// A Python session somewhere else, that survives broken streams and changes of controllers.
///
/// Dropping the future of a call leaves the call running; ask again with its id to get the answer.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Runs code. `output` sees what it writes as it comes, each character once; the result has it again.
    async fn execute(
        &self,
        id: CallId,
        cell: &Cell,
        output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Executed, SandboxError>;

    /// Ends all processes, empties all writable directories, and starts a fresh session with `env`.
    async fn reset(&self, id: CallId, env: &Variables) -> Result<WasReset, SandboxError>;

    /// Writes (or appends) at most [`MAX_FILE_PART`] bytes to a path below the session's directory.
    async fn put_file(
        &self,
        id: CallId,
        path: &str,
        content: Bytes,
        append: bool,
    ) -> Result<FilePut, SandboxError>;

    /// As Ctrl-C would, if that call runs. Returns before it takes effect; the call's answer tells.
    async fn interrupt(&self, id: CallId) -> Result<(), SandboxError>;

    /// Says that the answers of all calls up to `through` are not needed any more.
    async fn acknowledge(&self, through: CallId) -> Result<(), SandboxError>;

    /// Asks the daemon how it is.
    async fn status(&self) -> Result<DaemonStatus, SandboxError>;

    /// Ends the sandbox and all that is in it.
    async fn close(&self) -> Result<(), SandboxError>;

    /// The highest id that a call of this sandbox has had, whoever called.
    fn last_call(&self) -> CallId;

    /// Which daemon this is. Another one has another past.
    fn boot(&self) -> BootId;
}
