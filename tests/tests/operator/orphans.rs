//! Sandboxes whose Catalog went while no operator was there: they are found and removed, and nothing else is.

use cataloger::sandbox::pod::manifest::INSTALLATION;
use cataloger_tests::cluster::apply;
use cataloger_tests::databases;
use cataloger_tests::operator::{Operator, PATIENCE, Tenant, gone, until};
use cataloger_tests::volume::Claim;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use serde_json::{Value, json};

use crate::busy;
use crate::outside::Ground;
use crate::runs::with;

/// The sandbox of a Catalog, by namespace and name.
async fn sandbox(tenant: &Tenant<'_>, name: &str) -> (String, String) {
    let told = |it: &cataloger::api::Catalog| it.status.as_ref()?.run.as_ref()?.sandbox.clone();
    let known = tenant
        .until(name, "in a sandbox", |catalog| told(catalog).is_some())
        .await;
    let told = told(&known).unwrap();
    let (namespace, pod) = told.split_once('/').unwrap();
    (namespace.to_owned(), pod.to_owned())
}

/// Waits until a Pod and its policy are gone.
async fn is_removed(operator: &Operator, (namespace, name): &(String, String)) {
    let admin = &operator.cluster.admin;
    let pods: Api<Pod> = Api::namespaced(admin.clone(), namespace);
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), namespace);
    let left = gone(&pods, name, PATIENCE).await;
    left.unwrap_or_else(|last| panic!("it stays: {last:?}"));
    let left = gone(&policies, name, PATIENCE).await;
    left.unwrap_or_else(|last| panic!("it stays: {last:?}"));
}

/// The same Pod under another name, as another installation in the same namespace would have it, with its policy.
async fn of_others(operator: &Operator, (namespace, name): &(String, String)) -> String {
    let admin = &operator.cluster.admin;
    let pods: Api<Pod> = Api::namespaced(admin.clone(), namespace);
    let pod = pods.get(name).await.unwrap();
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), namespace);
    let policy = policies.get(name).await.unwrap();
    let other = format!("{name}-other");
    for (kind, version, metadata, spec) in [
        (
            "NetworkPolicy",
            "networking.k8s.io/v1",
            policy.metadata,
            json!(policy.spec),
        ),
        ("Pod", "v1", pod.metadata, json!(pod.spec)),
    ] {
        let mut labels = metadata.labels.unwrap();
        labels.insert(INSTALLATION.to_owned(), "others".to_owned());
        let mut spec: Value = spec;
        spec.as_object_mut().unwrap().remove("nodeName");
        apply(
            admin,
            &json!({
                "apiVersion": version, "kind": kind, "spec": spec,
                "metadata": {"name": other, "namespace": namespace, "labels": labels},
            }),
        )
        .await;
    }
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_of_catalogs_that_went_meanwhile_are_removed() {
    let Some(ground) = Ground::new("orphans", busy(600)).await else {
        return;
    };
    let operator = &ground.operator;
    let tenant = operator.another_tenant("a").await;
    let directory = tempfile::tempdir().unwrap();
    databases::sqlite(
        &directory.path().join("shop.db"),
        "create table customers (id integer primary key); create table orders (id integer primary key)",
    );
    let claim = Claim::within(&operator.cluster, &tenant.namespace, directory.path()).await;
    let mut first = ground.start(&tenant, "first", "3s").await;
    ground.leads(&tenant, "first").await;
    tenant
        .begin("file", "sqlite:////data/shop.db", with(&claim))
        .await;
    ground.at_work(&tenant, "shop", json!({}), 4).await;
    let (beside, usual) = (sandbox(&tenant, "file").await, sandbox(&tenant, "shop").await);
    assert_eq!(beside.0, tenant.namespace);
    assert_eq!(usual.0, operator.sandboxes());
    let foreign = of_others(operator, &usual).await;
    first.kill().await;

    for name in ["file", "shop"] {
        tenant.delete(name).await;
        tenant.gone(name).await;
    }
    // What lies beside the Catalog needs no operator to go: none would look there.
    is_removed(operator, &beside).await;
    let pods: Api<Pod> = Api::namespaced(operator.cluster.admin.clone(), &usual.0);
    assert!(pods.get_opt(&usual.1).await.unwrap().is_some());
    let _second = ground.start(&tenant, "second", "3s").await;
    is_removed(operator, &usual).await;

    let runs = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        pod.metadata.deletion_timestamp.is_none() && phase == Some("Running")
    };
    until(&pods, &foreign, PATIENCE, runs).await.unwrap();
    let policies: Api<NetworkPolicy> = Api::namespaced(operator.cluster.admin.clone(), &usual.0);
    assert!(policies.get_opt(&foreign).await.unwrap().is_some());
    claim.remove().await;
}
