//! Catalogs that another release of the operator wrote: with fields that this one does not know, or can't read.

use std::time::Duration;

use cataloger::api::Catalog;
use cataloger_tests::cluster::apply;
use cataloger_tests::operator::{Operator, Settings, Tenant, handled, rendered, until};
use cataloger_tests::served::Served;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// The Catalogs that [`unreadable`] makes.
const ODD: [&str; 3] = ["newer", "garbled", "dreaming"];

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
    // They have to be known fields.
    if let Some(version) = open["spec"]["versions"][0].as_object_mut() {
        version.remove("selectableFields");
    }
    (usual, open)
}

/// Applies a definition.
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
        Duration::from_mins(1),
        established,
    )
    .await
    .unwrap();
}

fn untyped(operator: &Operator, tenant: &Tenant<'_>) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<Catalog>(&());
    Api::namespaced_with(operator.cluster.admin.clone(), &tenant.namespace, &resource)
}

/// Makes Catalogs that nobody can read, through a definition that lets them in for a moment.
pub(crate) async fn unreadable(operator: &Operator, tenant: &Tenant<'_>) {
    // The definition is everybody's: one at a time.
    static ONE: Mutex<()> = Mutex::const_new(());
    let _one = ONE.lock().await;
    let any = untyped(operator, tenant);
    let (usual, open) = definitions().await;
    define(operator, &open).await;
    let newer = tenant.catalog("newer", json!({"sharding": {"by": "week"}}));
    let garbled = json!({
        "apiVersion": "cataloger.dev/v1alpha1", "kind": "Catalog",
        "metadata": {"name": "garbled"}, "spec": {"tables": 7, "limits": "none"},
    });
    let dreaming = tenant.catalog("dreaming", json!({"suspend": true}));
    let create = PostParams::default();
    // The API server may take a moment to go by the new definition: until then it drops what it doesn't know.
    loop {
        let made: DynamicObject = serde_json::from_value(newer.clone()).unwrap();
        let made = any.create(&create, &made).await;
        if made.is_ok_and(|made| made.data["spec"]["sharding"] == json!({"by": "week"})) {
            break;
        }
        let _ = any.delete("newer", &DeleteParams::default()).await;
    }
    for object in [garbled, dreaming] {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        any.create(&create, &object).await.unwrap();
    }
    let odd = json!({"status": {"phase": "Dreaming", "history": "none", "run": {"attempt": "two"}}});
    any.patch_status("dreaming", &PatchParams::default(), &Patch::Merge(&odd))
        .await
        .unwrap();
    define(operator, &usual).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_that_cannot_be_read_disturb_nobody() {
    let Some(operator) = Operator::own("versions", &Settings::default()).await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let url = shop.reader();
    unreadable(&operator, &tenant).await;
    // All the others are served, before and after a restart.
    tenant.begin("one", &url, json!({})).await;
    tenant.succeeded("one").await;
    let pod = operator.leader().await;
    operator.stop(&pod).await;
    operator.leader_after(&pod).await;
    tenant.begin("two", &url, json!({"suspend": true})).await;
    tenant.until("two", "seen", handled).await;
    let any = untyped(&operator, &tenant);
    for name in ODD {
        let left = any.get(name).await.unwrap();
        assert!(left.metadata.deletion_timestamp.is_none(), "{name}");
        any.delete(name, &DeleteParams::default()).await.unwrap();
    }
}
