//! What became of a Catalog: what the operator writes and nobody else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where it is, at a glance: `Pending` (waits to begin), `Provisioning` (the sandbox is being made), `Cataloging` (the
/// agent explores and writes), `Summarizing` (the page is published, the summary is being written), `Succeeded`,
/// `Failed` (given up) or `Suspended`. The conditions hold the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Waiting to begin.
    Pending,
    /// The sandbox is being made.
    Provisioning,
    /// The agent explores and writes.
    Cataloging,
    /// The page is published; the summary is being written.
    Summarizing,
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// Suspended by its author.
    Suspended,
}

/// What became of a Catalog.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
// Until the operator has looked at it: who judges by kstatus, as Flux does, takes an object without a status for done.
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct CatalogStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is, at a glance: `Pending` (waits to begin), `Provisioning` (the sandbox is being made), `Cataloging`
    /// (the agent explores and writes), `Summarizing` (the page is published, the summary is being written),
    /// `Succeeded`, `Failed` (given up) or `Suspended`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What holds, with reasons and what to do. `Ready`: there is a good catalog; it stays so during and after a
    /// later run, well or not. `Reconciling`: the spec is not handled yet. `Stalled`: nothing goes on until somebody
    /// changes something. `SandboxReady`, `CatalogPublished`, `SummaryPublished`: how far the run is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The last value of the annotation `cataloger.dev/requestedAt` whose run has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The run that is under way, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStatus>,
    /// What the last good run has published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Artifacts>,
    /// The last ten runs, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<PastRun>,
}

/// A run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Its UTC timestamp, which is its folder in the bucket; none until it has claimed that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is at, or how it ended: `Pending`, `Provisioning`, `Cataloging`, `Summarizing`, `Succeeded`, `Failed`
    /// or `Suspended`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Why it failed, or why it waits: a reason of the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it is doing, or why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Which try it is, from 1.
    #[serde(default)]
    pub attempt: u32,
    /// The agent at work: `cataloging` or `summary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The model that answers, as `PROVIDER/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model's turns so far.
    #[serde(default)]
    pub iteration: u32,
    /// What it has used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageStatus>,
    /// The sandbox's Pod, as `namespace/name`, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// A hash of all that can change the result: database, tables, storage, model, intent and prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// A hash of limits, sandbox and backoff: after a failure, a change of them is a reason to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// The value of the annotation `cataloger.dev/requestedAt` that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<String>,
    /// When it became due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was last seen to enter its phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Time>,
}

/// What a run has used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageStatus {
    /// Tokens that count against `limits.maxTokens`.
    pub tokens: u64,
    /// Input that was not read from a cache.
    pub input: u64,
    /// Input that was written to a cache.
    pub cache_write: u64,
    /// Input that was read from a cache.
    pub cache_read: u64,
    /// Output.
    pub output: u64,
    /// US dollars, if the model's prices are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

/// What a run has published: a URI for every object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifacts {
    /// The run's UTC timestamp.
    pub timestamp: String,
    /// The hash of what it was made from, as `status.run.fingerprint` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The catalog's page.
    pub catalog: String,
    /// What has changed since the earlier ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The code that the catalog came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog_script: Option<String>,
    /// The code that the summary came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary_script: Option<String>,
    /// The run's own record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// A run that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastRun {
    /// Its UTC timestamp; none if it ended before it had claimed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How it ended: `Succeeded` or `Failed`.
    pub phase: Phase,
    /// When it became due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Why it failed: a reason of the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it failed, or what was not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How many tries it took.
    #[serde(default)]
    pub attempts: u32,
    /// What it has used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageStatus>,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
}
