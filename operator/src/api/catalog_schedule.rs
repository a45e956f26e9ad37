//! `CatalogSchedule`: Catalogs made again and again, by the clock. It means what a `CronJob` means, wherever the words
//! are the same.

#![expect(clippy::duplicated_attributes, reason = "columns are alike")]

mod status;

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CatalogSpec;
use super::rules::{Obey, schedules};
use super::schemas::labels;

pub use status::{CatalogScheduleStatus, ManualRun};

/// When Catalogs are made, and which. The least is a schedule and a template.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cataloger.dev",
    version = "v1alpha1",
    kind = "CatalogSchedule",
    namespaced,
    status = "CatalogScheduleStatus",
    shortname = "csched",
    category = "cataloger",
    derive = "PartialEq",
    doc = "A CatalogSchedule makes a Catalog at each time that its schedule names, as a CronJob makes Jobs. All of them write below one prefix, so that each sees the pages of those before it. Deleting it deletes its Catalogs and leaves the bucket alone.",
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule"),
    printcolumn(name = "Time zone", type_ = "string", json_path = ".spec.timeZone"),
    printcolumn(name = "Suspend", type_ = "boolean", json_path = ".spec.suspend"),
    printcolumn(name = "Active", type_ = "string", json_path = ".status.active"),
    printcolumn(
        name = "Last schedule",
        type_ = "date",
        json_path = ".status.lastScheduleTime"
    ),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextScheduleTime"),
    printcolumn(
        name = "Last success",
        type_ = "date",
        json_path = ".status.lastSuccessfulTime"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
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
    selectable = ".spec.suspend"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogScheduleSpec {
    /// When: five fields, which are minute, hour, day of the month, month and day of the week, or one of `@hourly`,
    /// `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually` and `@every DURATION`. Example:
    /// `30 2 * * mon-fri`. It is read as a `CronJob` reads it: if both days are said, either will do. What can't be
    /// read is told by the condition `Ready`. A change counts from the last time on that was handled.
    #[schemars(
        length(min = 1, max = 200),
        transform = Obey([&schedules::NO_ZONE, &schedules::FIELDS]),
    )]
    pub schedule: String,
    /// The zone whose clock `schedule` speaks of. Example: `Europe/Berlin`. If not said, `Etc/UTC`. What an hour
    /// skips when summer begins is skipped; what it repeats when summer ends happens twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), transform = Obey([&schedules::TIME_ZONE]))]
    pub time_zone: Option<String>,
    /// Whether to make no Catalogs. Those that are there go on. Times that pass meanwhile are missed: afterwards the
    /// last of them is made up for, if `startingDeadlineSeconds` allows it.
    #[serde(default)]
    pub suspend: bool,
    /// What to do when the time has come and an earlier Catalog of this schedule has not ended yet: `Allow` (make
    /// another one beside it), `Forbid` (wait until it has ended) or `Replace` (delete it, with its run).
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,
    /// How late a Catalog may be made, in seconds. Example: `3600`. If not said, however late: after an outage one is
    /// made for the last time that was missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315_360_000))]
    pub starting_deadline_seconds: Option<u32>,
    /// How many Catalogs that succeeded are kept; the oldest go first. Their pages stay in the bucket. Example: `7`.
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 1000))]
    pub successful_catalogs_history_limit: u32,
    /// How many Catalogs that failed are kept; the oldest go first. Example: `3`.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub failed_catalogs_history_limit: u32,
    /// Make each Catalog up to so many seconds later, so that a hundred schedules of one time don't begin in the same
    /// second. Example: `600`. How much later is drawn once for each time and each schedule, and stays. Names and
    /// `status.lastScheduleTime` have the time of the schedule itself. If not said, on time. It should be shorter
    /// than the time between two Catalogs: else some are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub jitter_seconds: Option<u32>,
    /// The Catalogs that are made. A change counts for the next one.
    pub catalog_template: CatalogTemplate,
}

fn three() -> u32 {
    3
}

fn one() -> u32 {
    1
}

/// What to do when the time has come and an earlier Catalog of the schedule has not ended yet: `Allow`, `Forbid` or
/// `Replace`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// Make another one beside it.
    #[default]
    Allow,
    /// Wait until it has ended.
    Forbid,
    /// Delete it.
    Replace,
}

/// What a Catalog is made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogTemplate {
    /// Labels and annotations of the Catalogs. Their names come from the schedule: its own, a dash, and the time in
    /// minutes since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// The spec of the Catalogs. `ttlSecondsAfterFinished` is heeded by the schedule, which deletes a Catalog only when
    /// it knows what came of it, and counts for those that are there as well.
    pub spec: CatalogSpec,
}

/// Labels and annotations of Catalogs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateMetadata {
    /// Labels. Example: `{team: sales}`. If not said, none but the operator's own. At most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations. Example: `{example.com/owner: sales@example.com}`. If not said, none but the operator's own. At
    /// most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schemas::annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// The definition of the kind. Unlike that of others it has a rule about the name, which only the whole object can
/// have.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = CatalogSchedule::crd();
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut();
        if let Some(schema) = schema.and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            schema.x_kubernetes_validations = serde_json::from_value(schedules::NAME.as_schemas()).ok();
        }
    }
    definition
}
