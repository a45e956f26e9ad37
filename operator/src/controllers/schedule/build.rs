//! The Catalog of a slot, out of its schedule. Pure; the same each time, so that the API server itself sees to it that
//! there is one only.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kube::api::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};
use sha2::{Digest as _, Sha256};

use crate::api::{Catalog, CatalogSchedule, MANAGED_BY, MANAGER, SCHEDULE, SCHEDULED_AT};

/// What the Catalog of a slot is called, as a `CronJob` calls its Jobs.
pub(super) fn name_of_slot(schedule: &str, slot: Timestamp) -> String {
    format!("{schedule}-{}", slot.as_second().div_euclid(60))
}

/// What the Catalog is called that somebody has asked for. No slot has such a name.
pub(super) fn name_of_request(schedule: &str, uid: &str, value: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(uid);
    hash.update([0]);
    hash.update(value);
    let short: String = hex::encode(hash.finalize()).chars().take(8).collect();
    format!("{schedule}-m{short}")
}

/// The Catalog.
pub(super) fn catalog(
    schedule: &CatalogSchedule,
    name: &str,
    slot: Option<Timestamp>,
    zone: &TimeZone,
) -> Catalog {
    let template = &schedule.spec.catalog_template;
    let metadata = template.metadata.clone().unwrap_or_default();
    let (mut labels, mut annotations) = (metadata.labels, metadata.annotations);
    labels.insert(SCHEDULE.to_owned(), schedule.name_any());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if let Some(slot) = slot {
        let local = slot.to_zoned(zone.clone());
        annotations.insert(
            SCHEDULED_AT.to_owned(),
            local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        );
    }
    let mut spec = template.spec.clone();
    // The schedule heeds it: it has to know first what came of the Catalog.
    spec.ttl_seconds_after_finished = None;
    Catalog {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: schedule.namespace(),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: schedule.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_catalog_says_whose_and_for_when_it_is() {
        let schedule: CatalogSchedule = serde_json::from_value(json!({
            "apiVersion": "cataloger.dev/v1alpha1", "kind": "CatalogSchedule",
            "metadata": {"name": "nightly", "namespace": "n", "uid": "u"},
            "spec": {"schedule": "@daily", "catalogTemplate": {
                "metadata": {"labels": {"team": "sales"}},
                "spec": {
                    "database": {"secretRef": {"name": "db"}}, "tables": ["a"], "storage": {"s3": {"prefix": "p"}},
                    "ttlSecondsAfterFinished": 60,
                },
            }},
        }))
        .unwrap();
        let zone = crate::cron::zone(Some("Europe/Berlin")).unwrap();
        let slot = "2026-11-26T01:30:00Z".parse().unwrap();
        let name = name_of_slot("nightly", slot);
        let made = serde_json::to_value(catalog(&schedule, &name, Some(slot), &zone)).unwrap();
        assert_eq!(
            made["metadata"],
            json!({
                "name": "nightly-29927610", "namespace": "n",
                "labels": {
                    "team": "sales", "cataloger.dev/schedule": "nightly", "app.kubernetes.io/managed-by": "cataloger",
                },
                "annotations": {"cataloger.dev/scheduledAt": "2026-11-26T02:30:00+01:00"},
                "ownerReferences": [{
                    "apiVersion": "cataloger.dev/v1alpha1", "kind": "CatalogSchedule", "name": "nightly", "uid": "u",
                    "controller": true,
                }],
            })
        );
        assert_eq!(made["spec"].get("ttlSecondsAfterFinished"), None);
        let asked = name_of_request("nightly", "u", "2026-11-26");
        assert_eq!((asked.len(), &asked[..9]), (17, "nightly-m"));
        assert_ne!(asked, name_of_request("nightly", "u", "2026-11-27"));
    }
}
