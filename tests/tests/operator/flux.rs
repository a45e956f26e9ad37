//! The operator and its Catalogs by commits: Flux fetches what Git says, applies it, and waits for it.

use std::process::id;
use std::time::Duration;

use cataloger::api::Catalog;
use cataloger::api::catalog::Phase;
use cataloger_tests::cluster::cluster;
use cataloger_tests::flux::{Flux, NAME};
use cataloger_tests::operator::{Operator, Tenant, gone, handled, merge, phase, read, release};
use cataloger_tests::served::Served;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::examples::example;

/// Whether a Kustomization has applied a revision, and all of it is as it should be.
fn is_ready(object: &DynamicObject, revision: &str) -> bool {
    let status = &object.data["status"];
    let conditions = status["conditions"].as_array();
    status["lastAppliedRevision"] == revision
        && status["observedGeneration"] == json!(object.metadata.generation)
        && conditions
            .into_iter()
            .flatten()
            .any(|it| it["type"] == "Ready" && it["status"] == "True")
}

/// Waits until Flux has applied a revision, and all of it is as it should be.
async fn applied(flux: &Flux, tenant: &Tenant<'_>, revision: &str) {
    let ready = |it: &DynamicObject| is_ready(it, revision);
    tenant
        .until_of(&flux.kustomizations(), NAME, "ready", ready)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_becomes_a_page() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let Some(flux) = Flux::start(&operator.cluster.admin, &tenant.namespace).await else {
        return;
    };
    let name = tenant.unique("commit");
    tenant.secret(&name, &[("url", &shop.reader())]).await;
    let mut manifest = tenant.catalog(&name, json!({}));
    manifest["metadata"]["namespace"] = tenant.namespace.as_str().into();
    let kustomizations = flux.kustomizations();
    let ready = async |revision: &str| {
        applied(&flux, &tenant, revision).await;
        tenant.catalogs().get_opt(&name).await.unwrap()
    };

    // Ready is ready: not before there is a page.
    let first = flux.commit(Some(&manifest)).await;
    flux.follow().await;
    let done = ready(&first).await.unwrap();
    assert_eq!(phase(&done), Some(Phase::Succeeded));
    let artifacts = |it: &Catalog| it.status.clone().unwrap().artifacts.unwrap();
    let page = read(&artifacts(&done).catalog).await;
    assert!(String::from_utf8_lossy(&page).contains("customers"));

    // Applied once more: nothing is different, and nothing runs.
    let again = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "again"}}});
    kustomizations
        .patch(NAME, &PatchParams::default(), &Patch::Merge(&again))
        .await
        .unwrap();
    tenant
        .until_of(&kustomizations, NAME, "handled", |it: &DynamicObject| {
            it.data["status"]["lastHandledReconcileAt"] == "again"
        })
        .await;
    let after = ready(&first).await.unwrap();
    assert_eq!(after.metadata.generation, done.metadata.generation);
    assert_eq!(artifacts(&after), artifacts(&done));

    // What a commit changes is done anew.
    manifest["spec"]["intent"] = "What is an order?".into();
    let second = flux.commit(Some(&manifest)).await;
    let changed = ready(&second).await.unwrap();
    assert!(handled(&changed) && phase(&changed) == Some(Phase::Succeeded));
    assert_ne!(artifacts(&changed).timestamp, artifacts(&done).timestamp);

    // What Git has no longer is no longer there; its pages are.
    let third = flux.commit(None).await;
    let gone = ready(&third).await;
    assert!(gone.is_none_or(|it| it.metadata.deletion_timestamp.is_some()));
    read(&artifacts(&changed).catalog).await;
    flux.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_becomes_an_operator() {
    let cluster = cluster().await;
    if !cluster.own {
        return;
    }
    // None of the names whose rights are looked at: they go before its Pods do.
    let name = format!("cataloger-by-flux-{}", id());
    let operator = Operator::installed_as(&cluster, &name, &["a"]);
    let Some(flux) = Flux::start(&cluster.admin, &operator.system()).await else {
        return;
    };
    let mut manifest = example("flux", "operator-helm.yaml", "HelmRelease");
    merge(
        &mut manifest,
        json!({
            "metadata": {"namespace": operator.system()},
            "spec": {
                "targetNamespace": operator.system(), "storageNamespace": operator.system(),
                "values": release(&cluster, &name).await,
            },
        }),
    );
    let applied = async |revision: &str| applied(&flux, &operator.tenant("a"), revision).await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.admin.clone(), &operator.system());
    let ready = async || {
        let deployment = deployments.get("cataloger").await.unwrap();
        deployment.status.and_then(|it| it.ready_replicas)
    };

    // Ready is ready: not before all its Pods are.
    flux.add("charts/cataloger").await;
    let first = flux.commit(Some(&manifest)).await;
    flux.follow().await;
    applied(&first).await;
    assert_eq!(ready().await, Some(2));
    // What a commit changes is changed.
    merge(&mut manifest, json!({"spec": {"values": {"replicas": 1}}}));
    let second = flux.commit(Some(&manifest)).await;
    applied(&second).await;
    assert_eq!(ready().await, Some(1));
    // And it works.
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    tenant.begin("first", &shop.reader(), json!({})).await;
    tenant.succeeded("first").await;
    tenant.delete("first").await;
    tenant.gone("first").await;

    // What Git has no longer is no longer there; the kinds are.
    let third = flux.commit(None).await;
    applied(&third).await;
    let patience = Duration::from_mins(2);
    let left = gone(&deployments, "cataloger", patience).await;
    left.unwrap_or_else(|last| panic!("it stays: {last:?}"));
    let left = gone(&flux.releases(), "cataloger", patience).await;
    left.unwrap_or_else(|last| panic!("it stays: {last:?}"));
    tenant.catalogs().list(&ListParams::default()).await.unwrap();
    flux.leave().await;
}
