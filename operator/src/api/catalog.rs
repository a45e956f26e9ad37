//! `Catalog`: one database, some of its tables, where their documentation goes, and how it came out.

#![expect(clippy::duplicated_attributes, reason = "columns are alike")]

mod limits;
mod model;
mod sandbox;
mod status;
mod storage;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{Each, Obey, names, tables};

pub use limits::Limits;
pub use model::{ModelChoice, ProviderRef};
pub use sandbox::{Claim, Egress, EmptyDir, SandboxOptions, Volume, VolumeMount};
pub use status::{Artifacts, CatalogStatus, PastRun, Phase, RunStatus, UsageStatus};
pub use storage::{S3, Storage};

/// What is wanted. The least is a Secret, tables and a prefix. A run is due for each new state of what can change
/// its result (`database`, `tables`, `storage`, `model`, `intent`, `prompts`), and for each new value of the
/// annotation `cataloger.dev/requestedAt`. A restart or a new release of the operator makes none due.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cataloger.dev",
    version = "v1alpha1",
    kind = "Catalog",
    namespaced,
    status = "CatalogStatus",
    shortname = "ctlg",
    category = "cataloger",
    derive = "PartialEq",
    doc = "A Catalog documents tables of a database: a language model explores them in a sandbox, and the page that it writes goes to a bucket, beside a summary of what has changed since the earlier ones. Deleting it stops its run and leaves the bucket alone.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Tables", type_ = "string", json_path = ".spec.tables"),
    printcolumn(name = "Model", type_ = "string", json_path = ".status.run.model"),
    printcolumn(name = "Tokens", type_ = "integer", json_path = ".status.run.usage.tokens"),
    printcolumn(
        name = "Last run",
        type_ = "string",
        json_path = ".status.artifacts.timestamp"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    ),
    printcolumn(
        name = "Turn",
        type_ = "integer",
        json_path = ".status.run.iteration",
        priority = 1
    ),
    printcolumn(
        name = "Cost",
        type_ = "number",
        json_path = ".status.run.usage.cost",
        priority = 1
    ),
    printcolumn(
        name = "Catalog",
        type_ = "string",
        json_path = ".status.artifacts.catalog",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    selectable = ".status.phase",
    selectable = ".spec.suspend",
    selectable = ".spec.database.secretRef.name",
    selectable = ".spec.model.providerRef.name",
    selectable = ".spec.prompts.configMapRef.name",
    selectable = ".spec.storage.s3.bucket",
    selectable = ".spec.storage.s3.credentialsSecretRef.name"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogSpec {
    /// Where the database is. A change makes a run due.
    pub database: Database,
    /// Which tables: `orders`, `sales.orders`, or patterns such as `sales.*` and `fact_*`, where `*` stands for any
    /// text and `?` for one letter. Odd names are in double quotes, as `"Odd Name"`, and are no patterns. Example:
    /// `[orders, sales.*]`. 1 to 200, none twice, each of at most 140 letters, without spaces and `;` outside of
    /// quotes. All that is named has to be found before a model is asked. A change makes a run due; another order
    /// does not.
    #[schemars(
        length(min = 1, max = 200),
        inner(length(min = 1, max = 140)),
        transform = Each([&tables::TABLE]),
        transform = Obey([&tables::ONCE]),
        extend("x-kubernetes-list-type" = "set"),
    )]
    pub tables: Vec<String>,
    /// Where the pages go. A change of bucket, endpoint or prefix makes a run due.
    pub storage: Storage,
    /// Which model writes. If not said, the default model of the operator's default provider. A change makes a run
    /// due, also where it is the provider's defaults that change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelChoice>,
    /// What you want to be known about these tables, in a few sentences; the agent honours it. Example: `For analysts
    /// who are new here: what one row of each table stands for. Say where returns are.` If not said, the agent
    /// decides. At most 4000 letters. No secrets: a model reads it. A change makes a run due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4000))]
    pub intent: Option<String>,
    /// Prompts of your own, in place of the operator's. A change makes a run due, also one of the text in the
    /// `ConfigMap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PromptsChoice>,
    /// What a run may use. Each limit is looked at before a call is made, so that a run overshoots by one call at
    /// most. A sixth is kept for the summary. A change makes a run due only if the last one failed.
    #[serde(default)]
    pub limits: Limits,
    /// How the sandbox differs from the operator's usual one. Most of it is closed until the operator's configuration
    /// opens it. A change makes a run due only if the last one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxOptions>,
    /// Whether to start no run, and to stop the one that is under way; nothing that it has learned is lost, and it
    /// goes on where it was. A change makes no run due that was not due before.
    #[serde(default)]
    pub suspend: bool,
    /// How often a run is tried again, with growing waits, after a failure that another try can heal: of the
    /// sandbox, the model or the database; a bucket that is away is waited for without one. Each try goes on where
    /// the last one was. From 0, which is never, to 10. Example: `5`. A change makes a run due only if the last one
    /// failed.
    #[serde(default = "two")]
    #[schemars(range(min = 0, max = 10))]
    pub backoff_limit: u32,
    /// Delete this Catalog so many seconds after its run has ended, well or not. Example: `86400`, a day. The pages
    /// stay, and a Catalog that is created anew and wants the same adopts them without a run. If not said, it stays.
    /// A change makes no run due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315_360_000))]
    pub ttl_seconds_after_finished: Option<u32>,
    /// What is kept in the bucket. If not said, everything. A change makes no run due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

fn two() -> u32 {
    2
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Database {
    /// The Secret that holds the database's URL, such as `postgresql://reader:…@host/shop`, `mysql://…`,
    /// `sqlite:////data/shop.db` or `duckdb:////data/shop.duckdb`. The role in it must only be able to read. It is
    /// read when a run begins, so that a rotated password needs nothing else; a change of name or key makes a run
    /// due.
    pub secret_ref: DatabaseSecretRef,
    /// Whether a run may begin although the role can write. Otherwise it is refused, with the statements that make a
    /// role which can only read. A change makes a run due.
    #[serde(default)]
    pub allow_writable: bool,
}

/// A key of a Secret in the Catalog's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseSecretRef {
    /// The Secret's name, in the Catalog's namespace. Example: `sales-database`. If it is not there yet, the Catalog
    /// waits for it.
    #[schemars(length(min = 1, max = 253), transform = Obey([&names::SUBDOMAIN]))]
    pub name: String,
    /// The key in it whose value is the URL. Example: `reader-url`.
    #[serde(default = "url")]
    #[schemars(length(min = 1, max = 253), transform = Obey([&names::KEY]))]
    pub key: String,
}

fn url() -> String {
    "url".to_owned()
}

/// Prompts of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PromptsChoice {
    /// The `ConfigMap` with `cataloging.yaml`, `summary.yaml` or both; what it lacks is the operator's. A prompt with
    /// a variable that is misspelt, missing or unused is refused, with its line.
    pub config_map_ref: ConfigMapRef,
}

/// A `ConfigMap` in the Catalog's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapRef {
    /// The `ConfigMap`'s name, in the Catalog's namespace. Example: `sales-prompts`.
    #[schemars(length(min = 1, max = 253), transform = Obey([&names::SUBDOMAIN]))]
    pub name: String,
}

/// What is kept in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retention {
    /// How many runs under the prefix; older ones are deleted with their journals, after a run that went well. The
    /// last good run is never deleted, nor one that holds people's comments. Example: `30`. If not said, all are
    /// kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub runs: Option<u32>,
}
