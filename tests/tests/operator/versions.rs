//! Catalogs that another release of the operator wrote: with fields that this one does not know, or can't read.

use std::time::Duration;

use cataloger::api::Catalog;
use cataloger::api::catalog::Phase;
use cataloger_tests::cluster::apply;
use cataloger_tests::operator::{NODE, Operator, Settings, Tenant, handled, phase, rendered, until};
use cataloger_tests::served::Served;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{anthropic, model, slow};

/// The Catalogs that [`unreadable`] makes. What is new in the first is dropped by the API server, as soon as it does not
/// know it any more; the others stay as they are. Of the last it takes no status after that: a rule of the definition
/// can't be tried on it.
const ODD: [&str; 4] = ["newer", "garbled", "dreaming", "unruly"];

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

/// Makes Catalogs that nobody can read, and has those that are there become such, through a definition that lets them
/// in for a moment.
pub(crate) async fn unreadable(operator: &Operator, tenant: &Tenant<'_>, there: &[&str]) {
    // The definition is everybody's: one at a time.
    static ONE: Mutex<()> = Mutex::const_new(());
    let _one = ONE.lock().await;
    let any = untyped(operator, tenant);
    let (usual, open) = definitions().await;
    define(operator, &open).await;
    let newer = tenant.catalog("newer", json!({"sharding": {"by": "week"}}));
    let garbled = tenant.catalog("garbled", json!({"backoffLimit": "many"}));
    let unruly = json!({
        "apiVersion": "cataloger.dev/v1alpha1", "kind": "Catalog",
        "metadata": {"name": "unruly"}, "spec": {"tables": 7, "limits": "none"},
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
    for object in [garbled, dreaming, unruly] {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        any.create(&create, &object).await.unwrap();
    }
    let odd = json!({"status": {"phase": "Dreaming", "history": "none", "run": {"attempt": "two"}}});
    any.patch_status("dreaming", &PatchParams::default(), &Patch::Merge(&odd))
        .await
        .unwrap();
    let garbled = json!({"spec": {"backoffLimit": "many"}});
    for name in there {
        any.patch(name, &PatchParams::default(), &Patch::Merge(&garbled))
            .await
            .unwrap();
    }
    define(operator, &usual).await;
}

/// Waits until a Catalog is told that it is not understood.
async fn told(tenant: &Tenant<'_>, any: &Api<DynamicObject>, name: &str) {
    let is_told = |object: &DynamicObject| {
        let conditions = object.data["status"]["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .any(|it| it["type"] == "Stalled" && it["status"] == "True" && it["reason"] == "NotUnderstood")
    };
    let object = tenant.until_of(any, name, "told", is_told).await;
    assert_eq!(
        object.data["status"]["observedGeneration"],
        json!(object.metadata.generation)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_that_cannot_be_read_disturb_nobody() {
    let settings = Settings::default()
        .set("MAX_RUNS", "1")
        .set("ALLOW_BASE_URL", &format!("http://{NODE}:*"));
    let Some(operator) = Operator::own("versions", &settings).await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let url = shop.reader();
    let server = model(slow(600)).await;
    let choice = anthropic(&tenant, &server).await;
    tenant.begin("running", &url, choice).await;
    let runs = |it: &Catalog| phase(it) == Some(Phase::Cataloging);
    tenant.until("running", "under way", runs).await;
    unreadable(&operator, &tenant, &["running"]).await;
    let any = untyped(&operator, &tenant);
    for name in ["garbled", "dreaming", "running"] {
        told(&tenant, &any, name).await;
        tenant.told(name, "NotUnderstood").await;
    }
    tenant.told("unruly", "NotUnderstood").await;
    // All the others are served, before and after a restart, also in the place of the one that ran.
    tenant.begin("one", &url, json!({})).await;
    tenant.succeeded("one").await;
    let pod = operator.leader().await;
    operator.stop(&pod).await;
    operator.leader_after(&pod).await;
    tenant.begin("two", &url, json!({"suspend": true})).await;
    tenant.until("two", "seen", handled).await;
    for name in ODD {
        let left = any.get(name).await.unwrap();
        assert!(left.metadata.deletion_timestamp.is_none(), "{name}");
        any.delete(name, &DeleteParams::default()).await.unwrap();
    }
}
