//! `Catalog`: one database, some of its tables, where their documentation goes, and how it came out.

#![expect(unreachable_pub, reason = "KubeSchema repeats the types inside of functions")]
#![expect(clippy::duplicated_attributes, reason = "columns are alike")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
use super::duration::Duration;

/// A Catalog documents tables of a database: a language model explores them in a sandbox, and the page
/// that it writes goes to a bucket, beside a summary of what has changed since the earlier ones.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cataloger.dev",
    version = "v1alpha1",
    kind = "Catalog",
    namespaced,
    status = "CatalogStatus",
    shortname = "ctlg",
    category = "cataloger",
    derive = "PartialEq",
    doc = "A Catalog documents tables of a database: a language model explores them in a sandbox, and the page that it writes goes to a bucket, beside a summary of what has changed since the earlier ones.",
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
        name = "Catalog",
        type_ = "string",
        json_path = ".status.artifacts.catalog",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.run.message",
        priority = 1
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    ),
    selectable = ".status.phase"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogSpec {
    /// Where the database is.
    pub database: Database,
    /// Which tables: `orders`, `sales.orders`, or patterns such as `sales.*` and `fact_*`; odd names in double
    /// quotes.
    #[schemars(
        length(min = 1, max = 200),
        inner(length(min = 1, max = 130), pattern(r#"^(?:[^\s;"]|"[^"\n\r]+")+$"#))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub tables: Vec<String>,
    /// Where the pages go.
    pub storage: Storage,
    /// Which model writes. Without it, the operator's default provider and that provider's default model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelChoice>,
    /// What the author wants to be known about these tables, in a few sentences. The agent honours it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4000))]
    pub intent: Option<String>,
    /// Prompts of one's own, in place of the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PromptsChoice>,
    /// What a run may use.
    #[serde(default)]
    pub limits: Limits,
    /// How the sandbox differs from the operator's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxOptions>,
    /// Start no run, and stop one that runs.
    #[serde(default)]
    pub suspend: bool,
    /// How often a run is tried again after the sandbox or the model failed for good.
    #[serde(default = "two")]
    #[schemars(range(min = 0, max = 10))]
    pub backoff_limit: u32,
    /// Delete the Catalog so many seconds after its run has ended. The pages stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315_360_000))]
    pub ttl_seconds_after_finished: Option<u32>,
    /// What is kept in the bucket.
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
    /// The Secret that holds the database's URL, such as `postgresql://reader:…@host/db`. The role that it
    /// names must only be able to read.
    pub secret_ref: DatabaseSecretRef,
    /// Whether a run may begin although the role can write. Otherwise it is refused, with the statements that
    /// make a role which can only read.
    #[serde(default)]
    pub allow_writable: bool,
}

/// A key of a Secret in the Catalog's namespace, `url` if not said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseSecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[serde(default = "url")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn url() -> String {
    "url".to_owned()
}

/// Where the pages go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Storage {
    /// A bucket of S3 or of what speaks its protocol.
    pub s3: S3,
}

/// A place in a bucket. What is not said is the operator's default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct S3 {
    /// The bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 63))]
    pub bucket: Option<String>,
    /// Every run makes a folder below this prefix, named by its time. Catalogs that share a prefix share
    /// their past.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.split('/').exists(p, p == '' || p == '.' || p == '..')").message("prefix must not begin or end with a slash, nor have empty parts, '.' or '..' between slashes"))]
    pub prefix: String,
    /// The bucket's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// The URL of a server other than AWS's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), pattern(r"^https?://[^\s]+$"))]
    pub endpoint: Option<String>,
    /// Name the bucket in the path and not in the host's name, as most servers other than AWS's want it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_path_style: Option<bool>,
    /// The Secret with `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if needed, `AWS_SESSION_TOKEN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
}

/// Which model writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelChoice {
    /// The `ModelProvider`; the operator's default provider if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_ref: Option<ProviderRef>,
    /// The model, as the provider names it; the provider's default if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub name: Option<String>,
    /// Models of the same provider to go on with when that one can't, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), inner(length(min = 1, max = 200)))]
    pub fallbacks: Vec<String>,
}

/// Prompts of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PromptsChoice {
    /// The ConfigMap with `cataloging.yaml`, `summary.yaml` or both; what it lacks is the operator's.
    pub config_map_ref: ConfigMapRef,
}

/// A ConfigMap in the Catalog's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapRef {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A `ModelProvider`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace; the Catalog's own if not said. Another one has to allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// What a run may use. Each limit is looked at before a call is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Tokens: input that was not read from a cache, cache writes, and output.
    #[serde(default = "Limits::max_tokens")]
    #[schemars(range(min = 1000, max = 1_000_000_000))]
    pub max_tokens: u64,
    /// US dollars, where the model's prices are known. All kinds of tokens count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    pub max_cost: Option<f64>,
    /// Turns of the model.
    #[serde(default = "Limits::max_iterations")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_iterations: u32,
    /// Time for all of it.
    #[serde(default = "Limits::timeout")]
    pub timeout: Duration,
    /// Time for each piece of code.
    #[serde(default = "Limits::execute_timeout")]
    pub execute_timeout: Duration,
    /// Rows of a table that the model is shown.
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

/// How the sandbox differs from the operator's usual one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SandboxOptions {
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Requests and limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// A runtime class, such as one for gVisor or Kata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,
    /// Nodes that it may run on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that it tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Volumes, such as a claim that holds a database file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub volumes: Vec<Volume>,
    /// Where the volumes are seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub volume_mounts: Vec<VolumeMount>,
    /// What may be reached besides the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub egress: Vec<Egress>,
}

/// A volume of the sandbox: a claim, which is read only, or an empty directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.persistentVolumeClaim) != has(self.emptyDir)").message("say exactly one of persistentVolumeClaim and emptyDir"))]
pub struct Volume {
    /// Its name, for `volumeMounts`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// A claim in the Catalog's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<Claim>,
    /// An empty directory, for files of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
}

/// A claim in the Catalog's namespace. It is mounted read only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// The claim's name.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
}

/// An empty directory of a limited size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmptyDir {
    /// How large it may become, such as `1Gi`.
    pub size_limit: Quantity,
}

/// Where a volume is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeMount {
    /// The volume's name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The path in the sandbox.
    #[schemars(length(min = 2, max = 512), pattern(r"^/[^:]+$"))]
    pub mount_path: String,
    /// A path in the volume, of which only what is below is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub sub_path: Option<String>,
}

/// Addresses and a port that may be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Egress {
    /// Addresses, as a CIDR.
    #[schemars(length(min = 3, max = 64))]
    pub cidr: String,
    /// The TCP port.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: u16,
}

/// What is kept in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retention {
    /// How many runs; older ones are deleted with their journals. All, if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub runs: Option<u32>,
}

/// Where a Catalog is, at a glance. The conditions hold the truth.
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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CatalogStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pending, Provisioning, Cataloging, Summarizing, Succeeded, Failed or Suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// `Ready`, `Reconciling`, `Stalled`, `SandboxReady`, `CatalogPublished` and `SummaryPublished`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The last value of the annotation `cataloger.dev/requestedAt` that was handled.
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
    /// What it is at, or how it ended: as `status.phase` has it.
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
    /// Succeeded or Failed.
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
