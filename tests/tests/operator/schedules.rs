//! Catalogs by the clock. What the scenarios share: schedules whose Catalogs do nothing, and how they stand.

mod by_hand;
mod cron_job;
mod dies;
mod kept;
mod missed;
mod unreadable;
mod wrong;

use std::time::Duration;

use cataloger::api::{Catalog, CatalogSchedule, REQUESTED_AT};
use cataloger_tests::operator::Tenant;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

/// Longer than two minutes by the clock, and two runs of them.
const PATIENCE: Duration = Duration::from_mins(8);

/// A schedule of Catalogs that do nothing: they are suspended, and so active for ever.
pub(crate) fn idle(tenant: &Tenant<'_>, name: &str, more: Value) -> Value {
    let template = tenant.catalog(name, json!({"suspend": true}));
    let mut spec = json!({"schedule": "@every 1s", "catalogTemplate": {"spec": template["spec"]}});
    let Value::Object(more) = more else {
        panic!("no members: {more}")
    };
    for (field, value) in more {
        spec[field] = value;
    }
    json!({
        "apiVersion": "cataloger.dev/v1alpha1", "kind": "CatalogSchedule",
        "metadata": {"name": name}, "spec": spec,
    })
}

async fn change(tenant: &Tenant<'_>, name: &str, change: Value) {
    let (schedules, patch) = (tenant.schedules(), Patch::Merge(change));
    let changed = schedules.patch(name, &PatchParams::default(), &patch).await;
    changed.unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn reason(schedule: &CatalogSchedule) -> Option<&str> {
    let status = schedule.status.as_ref()?;
    if status.observed_generation != schedule.metadata.generation {
        return None;
    }
    let ready = status.conditions.iter().find(|it| it.type_ == "Ready")?;
    Some(&ready.reason)
}

async fn stands(tenant: &Tenant<'_>, name: &str, as_wanted: &str) -> CatalogSchedule {
    let holds = |it: &CatalogSchedule| reason(it) == Some(as_wanted);
    tenant.until_of(&tenant.schedules(), name, as_wanted, holds).await
}

pub(crate) fn active(schedule: &CatalogSchedule) -> &[String] {
    schedule.status.as_ref().map_or(&[], |status| &status.active)
}

/// The Catalogs of a schedule, by their names.
async fn catalogs(tenant: &Tenant<'_>, schedule: &str) -> Vec<Catalog> {
    let its = ListParams::default().labels(&format!("cataloger.dev/schedule={schedule}"));
    let mut all = tenant
        .catalogs()
        .list(&its)
        .await
        .expect("they can be listed")
        .items;
    all.sort_by_key(kube::ResourceExt::name_any);
    all
}

/// Asks for a Catalog by hand, and waits until it was made, if it is not over already.
async fn ask(tenant: &Tenant<'_>, name: &str, value: &str) {
    let annotation = json!({"metadata": {"annotations": {REQUESTED_AT: value}}});
    change(tenant, name, annotation).await;
    let asked = |it: &CatalogSchedule| {
        let made = it.status.as_ref().and_then(|it| it.requested.as_ref());
        made.is_some_and(|made| made.at == value) || is_handled(it, value)
    };
    tenant.until_of(&tenant.schedules(), name, value, asked).await;
}

/// Whether the Catalog that was asked for by this value has ended.
fn is_handled(schedule: &CatalogSchedule, value: &str) -> bool {
    let status = schedule.status.as_ref();
    status.is_some_and(|it| it.last_handled_reconcile_at.as_deref() == Some(value))
}

async fn handled(tenant: &Tenant<'_>, name: &str, value: &str) -> CatalogSchedule {
    let over = |it: &CatalogSchedule| is_handled(it, value) && active(it).is_empty();
    tenant.until_of(&tenant.schedules(), name, "handled", over).await
}
