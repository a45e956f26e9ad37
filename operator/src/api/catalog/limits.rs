//! What a run of a Catalog may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::duration::Duration;
use crate::api::rules::{Obey, amounts};

/// What a run may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = Obey([&amounts::TIMEOUTS]))]
pub struct Limits {
    /// How many tokens: input that was not read from a cache, cache writes, and output. Example: `300000`. At least
    /// 1000. A change makes a run due only if the last one failed.
    #[serde(default = "Limits::max_tokens")]
    #[schemars(range(min = 1000, max = 1_000_000_000))]
    pub max_tokens: u64,
    /// How many US dollars; all kinds of tokens count. Example: `2.5`. A model without a known price is refused
    /// then: add it to the provider's `prices`. If not said, dollars are not looked at. A change makes a run due
    /// only if the last one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    pub max_cost: Option<f64>,
    /// How many turns of the model: answers, each of which may run code. Example: `80`. A change makes a run due
    /// only if the last one failed.
    #[serde(default = "Limits::max_iterations")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_iterations: u32,
    /// How long the whole run may take, without its waits. Example: `1h30m`. Hours, minutes, seconds and
    /// milliseconds, at most `1000h`. A change makes a run due only if the last one failed.
    #[serde(default = "Limits::timeout")]
    pub timeout: Duration,
    /// How long each piece of code may take; it is stopped then, and the model told. Example: `5m`. Written as
    /// `timeout`, and not longer than that. A statement of a database other than SQLite and DuckDB has 60 s, unless the
    /// code sets another limit for itself. A change makes a run due only if the last one failed.
    #[serde(default = "Limits::execute_timeout")]
    pub execute_timeout: Duration,
    /// How many rows of a table the model is shown when code ends in one. Example: `50`. A change makes a run due
    /// only if the last one failed.
    #[serde(default = "Limits::max_rows")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_rows: u32,
}

impl Limits {
    fn max_tokens() -> u64 {
        100_000
    }

    fn max_iterations() -> u32 {
        50
    }

    fn timeout() -> Duration {
        Duration::from_secs(30 * 60)
    }

    fn execute_timeout() -> Duration {
        Duration::from_secs(60)
    }

    fn max_rows() -> u32 {
        20
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_tokens: Self::max_tokens(),
            max_cost: None,
            max_iterations: Self::max_iterations(),
            timeout: Self::timeout(),
            execute_timeout: Self::execute_timeout(),
            max_rows: Self::max_rows(),
        }
    }
}
