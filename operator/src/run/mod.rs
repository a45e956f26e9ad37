//! One run from start to end: sandbox, catalog, summary, and the journal that lets it go on where it was.
//!
//! Over the traits [`Sandbox`](crate::sandbox::Sandbox), [`Model`] and [`Store`]. It must not know Kubernetes,
//! HTTP, or who watches.

mod claim;
mod clean;
mod content;
mod context;
mod database;
mod engine;
mod error;
pub mod event;
mod good;
mod journal;
mod next;
mod outcome;
pub mod preflight;
mod provenance;
mod publish;
pub mod record;
mod remedy;
pub mod report;
mod retain;
pub mod script;
mod state;
mod stop;
mod told;
mod workplace;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

pub use self::claim::{Whose, unfinished};
pub use self::database::{Database, InvalidDatabase};
pub use self::engine::{resume, start};
pub use self::error::{Kind, RunError};
pub use self::event::{Event, Phase, Watch};
pub use self::good::{GoodRun, last_good};
pub use self::journal::JournalError;
pub use self::outcome::{Outcome, SoFar};
pub use self::remedy::Remedy;
pub use self::retain::retain;
use crate::agent::budget::Limits;
use crate::agent::prompts::Prompts;
use crate::llm::prices::Prices;
use crate::llm::{Model, ModelSpec};
use crate::redact::Redactor;
use crate::sandbox::{BootId, Sandbox, SandboxError, Variables};
use crate::store::preflight::Proven;
use crate::store::{Layout, RunId, Store};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The database.
    pub database: Database,
    /// The tables, by names and patterns.
    pub tables: Vec<String>,
    /// Whether the database's role may be one that can write.
    pub allow_writable: bool,
    /// What the author wants to be known.
    pub intent: Option<String>,
    /// The model.
    pub model: ModelSpec,
    /// Those to go on with.
    pub fallbacks: Vec<ModelSpec>,
    /// What the run may use.
    pub limits: Limits,
    /// Bounds of each piece of code.
    pub cell: CellLimits,
    /// Who asks.
    pub claimant: Claimant,
    /// What the user wrote, for the record. Without secrets.
    pub manifest: Value,
}

/// Bounds of a piece of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellLimits {
    /// How long it may run.
    pub timeout: std::time::Duration,
    /// How many rows of a table are shown.
    pub max_rows: u32,
}

/// Who takes a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claimant {
    /// The installation.
    pub installation: String,
    /// The Catalog's UID, where there is one.
    pub catalog: Option<String>,
    /// What bought the run: whoever holds the same finds it again, and nobody else goes on with it by themselves.
    pub order: Option<String>,
    /// For whom the pages are, by names that outlive a UID.
    pub subject: Option<Subject>,
}

/// A Catalog as it would be made anew: by its names and by what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// A hash of what it asks for: its own, not the one of [`record::Asked`].
    pub fingerprint: String,
    /// The request that it answers, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<String>,
}

/// What a run works with.
pub struct Parts {
    /// Where pages and journal are kept.
    pub store: Arc<dyn Store>,
    /// Whether it was proved to be fit.
    pub proven: Arc<Proven>,
    /// What is called how there.
    pub layout: Layout,
    /// Who answers.
    pub model: Arc<dyn Model>,
    /// Where code runs.
    pub sandboxes: Arc<dyn Sandboxes>,
    /// What agents are told.
    pub prompts: Prompts,
    /// What models cost.
    pub prices: Prices,
    /// The secrets that nothing may hold.
    pub redactor: Redactor,
    /// Says that nobody wants the run any more: it stops where it is, and its sandbox is closed.
    pub cancel: CancellationToken,
    /// Says that somebody else goes on with it: nothing new is begun, an answer of a model that is on its way is
    /// waited for, since it is paid, and the sandbox is left as it is, with the code that runs in it. Whoever can't
    /// wait drops the run's future, which harms nothing but that answer.
    pub hand_over: CancellationToken,
}

/// Makes sandboxes.
#[async_trait]
pub trait Sandboxes: Send + Sync {
    /// The sandbox of a run: `known`, if it is still there, else a new one with these variables.
    async fn open(
        &self,
        run: RunId,
        known: Option<&BootId>,
        env: &Variables,
    ) -> Result<Box<dyn Sandbox>, SandboxError>;
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
