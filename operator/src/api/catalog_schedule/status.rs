//! What became of a `CatalogSchedule`: what the operator writes and nobody else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::catalog::Artifacts;

/// What became of a schedule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
// Until the operator has looked at it, as for a Catalog.
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct CatalogScheduleStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds, with reasons and what to do. `Ready`: the schedule is followed, or suspended; how its Catalogs come
    /// out changes nothing of that. `Reconciling` is true while something is tried again, `Stalled` while nothing
    /// goes on until somebody changes something; each is there once it was true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The Catalogs that have not ended yet, by their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub active: Vec<String>,
    /// The last time of the schedule for which a Catalog was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// The last time of the schedule for which none was made, since it was too late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_missed_time: Option<Time>,
    /// When the next Catalog is made, jitter included; none while the schedule is suspended or can't be followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,
    /// When a Catalog last ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Time>,
    /// What that Catalog has published: where the pages are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Artifacts>,
    /// The Catalog that was asked for by the annotation `cataloger.dev/requestedAt`, until it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<ManualRun>,
    /// The last value of the annotation `cataloger.dev/requestedAt` whose Catalog has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

/// A Catalog that was asked for by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManualRun {
    /// The value of the annotation.
    pub at: String,
    /// The Catalog's name.
    pub catalog: String,
}
