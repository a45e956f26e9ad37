//! Catalogs that another release of the operator wrote: with fields that this one does not know, or can't read.

use cataloger_tests::cluster::apply;
use cataloger_tests::operator::{Operator, Settings, handled, rendered, until};
use cataloger_tests::served::Served;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// The definition of Catalogs, as it is and as that other release would have it: any field, of any type.
async fn definitions() -> (Value, Value) {
    let objects = rendered().await;
    let usual = objects
        .into_iter()
        .find(|object| object["metadata"]["name"] == "catalogs.cataloger.dev")
        .unwrap();
    let mut open = usual.clone();
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let properties = &mut open["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    properties["spec"] = anything.clone();
    properties["status"] = anything;
    (usual, open)
}

/// Applies a definition, and waits until the API server goes by it.
async fn define(operator: &Operator, definition: &Value) {
    let admin = &operator.cluster.admin;
    apply(admin, definition).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(admin.clone());
    let established = |it: &CustomResourceDefinition| {
        let conditions = it.status.iter().flat_map(|it| it.conditions.iter().flatten());
        conditions
            .into_iter()
            .any(|it| it.type_ == "Established" && it.status == "True")
    };
    until(
        &definitions,
        "catalogs.cataloger.dev",
        std::time::Duration::from_mins(1),
        established,
    )
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_that_cannot_be_read_disturb_nobody() {
    // The definition is everybody's: one at a time.
    static ONE: Mutex<()> = Mutex::const_new(());
    let _one = ONE.lock().await;
    let Some(operator) = Operator::own("versions", &Settings::default()).await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let url = shop.reader();
    let resource = ApiResource::erase::<cataloger::api::Catalog>(&());
    let any: Api<DynamicObject> =
        Api::namespaced_with(operator.cluster.admin.clone(), &tenant.namespace, &resource);
    let (usual, open) = definitions().await;

    define(&operator, &open).await;
    let newer = tenant.catalog("newer", json!({"sharding": {"by": "week"}}));
    let garbled = json!({
        "apiVersion": "cataloger.dev/v1alpha1", "kind": "Catalog",
        "metadata": {"name": "garbled"}, "spec": {"tables": 7, "limits": "none"},
    });
    let mut told = tenant.catalog("told", json!({"suspend": true}));
    let create = PostParams::default();
    // The API server may take a moment to go by the new definition: until then it drops what it doesn't know.
    let mut kept = Value::Null;
    while kept != json!({"by": "week"}) {
        let _ = any.delete("newer", &kube::api::DeleteParams::default()).await;
        let made: DynamicObject = serde_json::from_value(newer.clone()).unwrap();
        if let Ok(made) = any.create(&create, &made).await {
            kept = made.data["spec"]["sharding"].clone();
        }
    }
    for object in [garbled, told.take()] {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        any.create(&create, &object).await.unwrap();
    }
    let odd = json!({"status": {"phase": "Dreaming", "history": "none", "run": {"attempt": "two"}}});
    any.patch_status("told", &PatchParams::default(), &Patch::Merge(&odd))
        .await
        .unwrap();

    // All the others are served, before and after a restart.
    tenant.begin("one", &url, json!({})).await;
    tenant.succeeded("one").await;
    let pod = operator.leader().await;
    operator.stop(&pod).await;
    operator.leader_after(&pod).await;
    tenant.begin("two", &url, json!({"suspend": true})).await;
    tenant.until("two", "seen", handled).await;
    for name in ["newer", "garbled", "told"] {
        let left = any.get(name).await.unwrap();
        assert!(left.metadata.deletion_timestamp.is_none(), "{name}");
        any.delete(name, &kube::api::DeleteParams::default())
            .await
            .unwrap();
    }
    define(&operator, &usual).await;
}
