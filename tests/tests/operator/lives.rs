//! What is done to a Catalog while it runs.

use cataloger::api::catalog::Phase;
use cataloger_tests::author::Author;
use cataloger_tests::operator::{Operator, gone, handled, is, phase, read};
use cataloger_tests::operator::{PATIENCE, Tenant};
use cataloger_tests::served::Served;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::{anthropic, busy, model, saying, slow};

/// The Pod of a Catalog's sandbox, once its agent is at work.
async fn sandbox(tenant: &Tenant<'_>, name: &str) -> (String, String) {
    let at_work = tenant.until(name, "at work", |catalog| {
        let run = catalog.status.as_ref().and_then(|it| it.run.as_ref());
        phase(catalog) == Some(Phase::Cataloging) && run.is_some_and(|it| it.sandbox.is_some())
    });
    let pod = at_work.await.status.unwrap().run.unwrap().sandbox.unwrap();
    let (namespace, pod) = pod.split_once('/').unwrap();
    (namespace.to_owned(), pod.to_owned())
}

/// Waits until nothing is left of a sandbox.
async fn is_removed(operator: &Operator, (namespace, pod): &(String, String)) {
    let pods: Api<Pod> = Api::namespaced(operator.cluster.admin.clone(), namespace);
    gone(&pods, pod, PATIENCE)
        .await
        .unwrap_or_else(|last| panic!("it stays: {last:?}"));
    let policies: Api<NetworkPolicy> = Api::namespaced(operator.cluster.admin.clone(), namespace);
    gone(&policies, pod, PATIENCE)
        .await
        .unwrap_or_else(|last| panic!("it stays: {last:?}"));
    let left = policies.list(&ListParams::default()).await.unwrap();
    assert!(!left.items.iter().any(|it| it.metadata.name.as_ref() == Some(pod)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_one_stops_and_goes_on() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let server = model(slow(2)).await;
    let name = tenant.unique("pause");
    let choice = anthropic(&tenant, &server).await;
    tenant.begin(&name, &shop.reader(), choice).await;
    let pod = sandbox(&tenant, &name).await;
    tenant.patch(&name, json!({"spec": {"suspend": true}})).await;
    tenant
        .until(&name, "suspended", |it| {
            handled(it) && phase(it) == Some(Phase::Suspended)
        })
        .await;
    is_removed(&operator, &pod).await;
    server.think(Author::default().brain());
    tenant.patch(&name, json!({"spec": {"suspend": false}})).await;
    tenant.succeeded(&name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_suspended_from_the_start_does_nothing() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let name = tenant.unique("asleep");
    tenant
        .begin(&name, &shop.reader(), json!({"suspend": true}))
        .await;
    let catalog = tenant
        .until(&name, "suspended", |it| {
            handled(it) && phase(it) == Some(Phase::Suspended)
        })
        .await;
    assert!(catalog.status.unwrap().history.is_empty());
    assert!(tenant.objects(&name).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_deleted_takes_its_sandbox_along() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let server = model(busy(600)).await;
    let name = tenant.unique("gone");
    let choice = anthropic(&tenant, &server).await;
    tenant.begin(&name, &shop.reader(), choice).await;
    let pod = sandbox(&tenant, &name).await;
    tenant.delete(&name).await;
    tenant.gone(&name).await;
    is_removed(&operator, &pod).await;
    // Its journal is left, as all in the bucket is.
    assert!(
        tenant
            .objects(&name)
            .await
            .iter()
            .any(|it| it.starts_with(".journal/"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_changed_begins_anew() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let server = model(busy(600)).await;
    let name = tenant.unique("changed");
    let choice = anthropic(&tenant, &server).await;
    tenant.begin(&name, &shop.reader(), choice).await;
    let pod = sandbox(&tenant, &name).await;
    server.think(saying("<p>anew</p>").brain());
    let change = json!({"spec": {"tables": ["orders"], "intent": "What is an order?"}});
    tenant.patch(&name, change).await;
    let catalog = tenant.succeeded(&name).await;
    is_removed(&operator, &pod).await;
    assert!(is(&catalog, "Ready", "True"));
    let page = read(&catalog.status.unwrap().artifacts.unwrap().catalog).await;
    assert!(String::from_utf8_lossy(&page).contains("anew"));
}
