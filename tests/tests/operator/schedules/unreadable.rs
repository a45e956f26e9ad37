//! A schedule that another release wrote, and that this one can't read.

use std::time::{Duration, Instant};

use cataloger::api::CatalogSchedule;
use cataloger_tests::cluster::apply;
use cataloger_tests::operator::{Operator, Tenant, rendered, until};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{active, idle, stands};

/// The definition as it is, and as a later release would have it, which knows one policy more.
async fn definitions() -> (Value, Value) {
    let objects = rendered().await;
    let usual = objects
        .into_iter()
        .find(|object| object["metadata"]["name"] == "catalogschedules.cataloger.dev")
        .unwrap();
    let mut later = usual.clone();
    let spec = &mut later["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let policies = &mut spec["properties"]["concurrencyPolicy"]["enum"];
    policies.as_array_mut().expect("a list").push("Queue".into());
    (usual, later)
}

/// Applies a schedule of the later release, by its definition, which is there for that moment only.
async fn applied(operator: &Operator, tenant: &Tenant<'_>, schedule: &Value) {
    // The definition is everybody's: one at a time.
    static ONE: Mutex<()> = Mutex::const_new(());
    let _one = ONE.lock().await;
    let (usual, later) = definitions().await;
    apply(&operator.cluster.admin, &later).await;
    let began = Instant::now();
    let taken = loop {
        // The API server may take a moment to go by it.
        match tenant.try_apply(schedule.clone()).await {
            Err(_) if began.elapsed() < Duration::from_mins(1) => {}
            taken => break taken,
        }
    };
    apply(&operator.cluster.admin, &usual).await;
    taken.expect("the later definition takes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_read_is_told_so_and_disturbs_nobody() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let tenant = operator.tenant("b");
    let (odd, other) = (tenant.unique("queued"), tenant.unique("beside"));
    let queued = idle(&tenant, &odd, json!({"concurrencyPolicy": "Queue"}));
    applied(&operator, &tenant, &queued).await;
    let kind = ApiResource::erase::<CatalogSchedule>(&());
    let any: Api<DynamicObject> =
        Api::namespaced_with(operator.cluster.admin.clone(), &tenant.namespace, &kind);
    let says = |it: &DynamicObject| {
        let conditions = it.data["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let ready = conditions.find(|it| it["type"] == "Ready");
        ready.map_or(Value::Null, |ready| json!([ready["status"], ready["reason"]]))
    };
    let told = until(&any, &odd, Duration::from_mins(3), |it| {
        says(it) == json!(["False", "NotUnderstood"])
    });
    let told = told
        .await
        .unwrap_or_else(|last| panic!("it is not told: {last:#?}"));
    assert_eq!(told.data["spec"]["concurrencyPolicy"], "Queue");
    let events = tenant.told(&odd, "NotUnderstood").await;
    assert!(
        events
            .iter()
            .any(|(_, note)| note.contains("upgrade the operator")),
        "{events:?}"
    );

    // Another one goes by the clock meanwhile.
    tenant.apply(idle(&tenant, &other, json!({}))).await;
    tenant
        .until_of(&tenant.schedules(), &other, "followed", |it| {
            !active(it).is_empty()
        })
        .await;
    // A correction is enough.
    let right = Patch::Merge(json!({"spec": {"concurrencyPolicy": "Allow", "suspend": true}}));
    any.patch(&odd, &PatchParams::default(), &right)
        .await
        .expect("it is taken");
    stands(&tenant, &odd, "Suspended").await;
    let mended = any.get(&odd).await.expect("it is there");
    let conditions = mended.data["status"]["conditions"].as_array().expect("a list");
    let stalled = conditions.iter().find(|it| it["type"] == "Stalled");
    assert_eq!(
        stalled.map(|it| &it["status"]),
        Some(&json!("False")),
        "{mended:#?}"
    );
    for name in [odd, other] {
        any.delete(&name, &DeleteParams::default())
            .await
            .expect("it is there");
    }
}
