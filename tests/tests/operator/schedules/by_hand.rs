//! Asked for by hand: beside the clock, in its way, and replaced by it.

use cataloger::api::{CatalogSchedule, REQUESTED_AT};
use cataloger_tests::operator::Operator;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::json;

use super::{active, catalogs, change, idle, reason, stands};

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_suspended_asked_by_hand_waits_and_replaces() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let tenant = operator.tenant("a");
    let name = tenant.unique("byhand");
    let policy = json!({"suspend": true, "concurrencyPolicy": "Forbid"});
    tenant.apply(idle(&tenant, &name, policy)).await;
    stands(&tenant, &name, "Suspended").await;
    assert_eq!(catalogs(&tenant, &name).await.len(), 0);

    let ask = |value: &str| json!({"metadata": {"annotations": {REQUESTED_AT: value}}});
    change(&tenant, &name, ask("today")).await;
    let schedules = tenant.schedules();
    let one = |it: &CatalogSchedule| active(it).len() == 1;
    let asked = tenant.until_of(&schedules, &name, "asked by hand", one).await;
    let by_hand = active(&asked)[0].clone();
    assert!(by_hand.starts_with(&format!("{name}-m")), "{by_hand}");
    assert_eq!(
        asked.status.expect("it was looked at").last_handled_reconcile_at,
        None
    );

    // Its time comes, and it waits.
    change(&tenant, &name, json!({"spec": {"suspend": false}})).await;
    let waits = stands(&tenant, &name, "AlreadyActive").await;
    assert_eq!(waits.status.expect("it was looked at").last_schedule_time, None);
    assert_eq!(catalogs(&tenant, &name).await.len(), 1);
    // What was asked for takes the place of nobody, but a slot does of it.
    change(&tenant, &name, json!({"spec": {"concurrencyPolicy": "Replace"}})).await;
    let replaced = tenant
        .until_of(&schedules, &name, "replaced", |it| {
            it.status
                .as_ref()
                .is_some_and(|it| it.last_schedule_time.is_some())
                && !active(it).contains(&by_hand)
        })
        .await;
    change(&tenant, &name, json!({"spec": {"suspend": true}})).await;
    assert_eq!(active(&replaced).len(), 1);
    tenant.gone(&by_hand).await;
    // It is not made again.
    let handled = |it: &CatalogSchedule| {
        reason(it) == Some("Suspended")
            && it
                .status
                .as_ref()
                .and_then(|it| it.last_handled_reconcile_at.as_deref())
                == Some("today")
    };
    tenant.until_of(&schedules, &name, "handled", handled).await;
    assert!(
        tenant
            .catalogs()
            .get_opt(&by_hand)
            .await
            .expect("it can be asked")
            .is_none()
    );

    // Its Catalogs go with it.
    let left = catalogs(&tenant, &name).await;
    assert!(!left.is_empty());
    schedules
        .delete(&name, &DeleteParams::default())
        .await
        .expect("it is there");
    for catalog in left {
        tenant.gone(&catalog.name_any()).await;
    }
}
