//! Catalogs by commits: Flux's kustomize-controller applies what Git says, and waits for it.

use cataloger::api::Catalog;
use cataloger::api::catalog::Phase;
use cataloger_tests::flux::Flux;
use cataloger_tests::operator::{Operator, handled, phase, read};
use cataloger_tests::served::Served;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::json;

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
    let ready = async |kustomization: &str, revision: &str| {
        tenant
            .until_of(&kustomizations, kustomization, "ready", |it: &DynamicObject| {
                is_ready(it, revision)
            })
            .await;
        tenant.catalogs().get_opt(&name).await.unwrap()
    };

    // Ready is ready: not before there is a page.
    let first = flux.commit(Some(&manifest)).await;
    let kustomization = flux.follow().await;
    let done = ready(kustomization, &first).await.unwrap();
    assert_eq!(phase(&done), Some(Phase::Succeeded));
    let artifacts = |it: &Catalog| it.status.clone().unwrap().artifacts.unwrap();
    let page = read(&artifacts(&done).catalog).await;
    assert!(String::from_utf8_lossy(&page).contains("customers"));

    // Applied once more: nothing is different, and nothing runs.
    let again = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "again"}}});
    kustomizations
        .patch(kustomization, &PatchParams::default(), &Patch::Merge(&again))
        .await
        .unwrap();
    tenant
        .until_of(&kustomizations, kustomization, "handled", |it: &DynamicObject| {
            it.data["status"]["lastHandledReconcileAt"] == "again"
        })
        .await;
    let after = ready(kustomization, &first).await.unwrap();
    assert_eq!(after.metadata.generation, done.metadata.generation);
    assert_eq!(artifacts(&after), artifacts(&done));

    // What a commit changes is done anew.
    manifest["spec"]["intent"] = "What is an order?".into();
    let second = flux.commit(Some(&manifest)).await;
    let changed = ready(kustomization, &second).await.unwrap();
    assert!(handled(&changed) && phase(&changed) == Some(Phase::Succeeded));
    assert_ne!(artifacts(&changed).timestamp, artifacts(&done).timestamp);

    // What Git has no longer is no longer there; its pages are.
    let third = flux.commit(None).await;
    let gone = ready(kustomization, &third).await;
    assert!(gone.is_none_or(|it| it.metadata.deletion_timestamp.is_some()));
    read(&artifacts(&changed).catalog).await;
}
