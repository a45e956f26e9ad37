//! Whose is what in a resource that comes from Git: the spec is of whoever applies it, and the status is the
//! operator's, so that neither sees a difference that the other one has made.

use cataloger::api::catalog::Phase;
use cataloger::api::{Catalog, CatalogSchedule, REQUESTED_AT};
use cataloger_tests::author::Author;
use cataloger_tests::cluster::try_apply;
use cataloger_tests::model_server::KEY;
use cataloger_tests::operator::{Operator, Tenant, handled, phase};
use cataloger_tests::script::repository;
use cataloger_tests::served::Served;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, PatchParams, TypeMeta};
use kube::core::GroupVersionKind;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::model;
use crate::schedules::idle;

/// How Flux and Argo CD apply by the server, each by its name, unless told otherwise.
const MANAGERS: [&str; 2] = ["kustomize-controller", "argocd-controller"];

/// A manifest as it stands in Git, with things said in other words than a program would choose.
fn manifest(tenant: &Tenant<'_>, name: &str) -> Value {
    let mut manifest = tenant.catalog(
        name,
        json!({
            "limits": {"timeout": "1200s", "executeTimeout": "90s"},
            "sandbox": {"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}},
            "model": {"providerRef": {"name": name}},
        }),
    );
    manifest["metadata"]["namespace"] = tenant.namespace.as_str().into();
    manifest["metadata"]["labels"] = json!({"team": "sales"});
    manifest
}

async fn applied(operator: &Operator, object: &Value, params: &PatchParams) -> Value {
    let applied: DynamicObject = try_apply(&operator.cluster.admin, object, params)
        .await
        .unwrap_or_else(|error| panic!("{object:#}: {error}"));
    serde_json::to_value(applied).unwrap()
}

/// The object as it is in the cluster.
async fn live(operator: &Operator, object: &Value) -> Value {
    let types = TypeMeta::deserialize(object).unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types).unwrap());
    let (namespace, name) = (&object["metadata"]["namespace"], &object["metadata"]["name"]);
    let admin = operator.cluster.admin.clone();
    let api: Api<DynamicObject> = Api::namespaced_with(admin, namespace.as_str().unwrap(), &resource);
    let live = api.get(name.as_str().unwrap()).await.unwrap();
    serde_json::to_value(live).unwrap()
}

/// What the operator has made of it, without what may change at any time.
fn outcome(object: &Value) -> Value {
    let status = &object["status"];
    json!([
        status["observedGeneration"],
        status["phase"],
        status["artifacts"],
        status["history"],
        status["active"],
        status["requested"],
        status["lastScheduleTime"],
        status["spending"]["spent"]
    ])
}

/// `kubectl diff` ends with 0 if there is nothing to do.
async fn no_difference(object: &Value, how: &[&str]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_json::to_vec(object).unwrap()).unwrap();
    let output = Command::new(repository().join("tests/cluster/kubectl"))
        .arg("diff")
        .args(how)
        .arg("--filename")
        .arg(file.path())
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Looks at an object whose manifest was applied as it stands in Git, when the operator is done with it.
async fn nothing_to_do(operator: &Operator, git: &Value) {
    let live = live(operator, git).await;
    for manager in MANAGERS {
        // As it stands there, nothing would change,
        let dry = applied(operator, git, &PatchParams::apply(manager).dry_run()).await;
        assert_eq!(dry["spec"], live["spec"]);
        assert_eq!(dry["metadata"]["generation"], live["metadata"]["generation"]);
        assert_eq!(outcome(&dry), outcome(&live));
    }
    no_difference(git, &["--server-side", "--field-manager", MANAGERS[0]]).await;
    // also by a three-way patch made at home, as Argo CD compares unless told otherwise.
    no_difference(git, &[]).await;

    // Each field has one owner.
    let fields = live["metadata"]["managedFields"].as_array().unwrap();
    let of = |name: &str| -> Vec<&Value> { fields.iter().filter(|it| it["manager"] == name).collect() };
    let ours = of("cataloger");
    assert!(!ours.is_empty(), "{fields:#?}");
    for entry in ours {
        assert_eq!(entry["subresource"], "status", "{entry:#}");
        let members: Vec<_> = entry["fieldsV1"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["f:status"]);
    }
    for entry in of(MANAGERS[0]) {
        assert!(entry["fieldsV1"].get("f:status").is_none(), "{entry:#}");
    }
    assert_eq!(fields.len(), 2, "{fields:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_git_says_is_not_fought_with() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let server = model(Author::default()).await;
    let name = tenant.unique("owned");
    let flux = PatchParams::apply(MANAGERS[0]);
    tenant
        .secret(&name, &[("url", &shop.reader()), ("key", KEY)])
        .await;
    let provider = json!({
        "apiVersion": "cataloger.dev/v1alpha1", "kind": "ModelProvider",
        "metadata": {"name": name, "namespace": tenant.namespace},
        "spec": {
            "openai": {"apiKeySecretRef": {"name": name, "key": "key"}, "baseURL": format!("{}/v1", server.url())},
            "defaultModel": "gpt-test",
            "prices": {"gpt-test": {"input": 1, "output": 2.50}},
            "budget": {"amount": 1000.0},
        },
    });
    let catalog = manifest(&tenant, &name);
    applied(&operator, &provider, &flux).await;
    applied(&operator, &catalog, &flux).await;
    let done = tenant.succeeded(&name).await;

    nothing_to_do(&operator, &catalog).await;
    // Where money is accounted for, the provider's status goes on changing for a while.
    tenant
        .until_of(&tenant.providers(), &name, "all that was spent", |it| {
            let spending = it.status.as_ref().and_then(|it| it.spending.as_ref());
            spending.is_some_and(|it| it.reserved == 0.0 && it.spent > 0.0)
        })
        .await;
    nothing_to_do(&operator, &provider).await;

    // Applied again, by the same, by another, and by force: the status stays, and nothing runs.
    let before = live(&operator, &catalog).await;
    for params in [
        flux.clone(),
        PatchParams::apply(MANAGERS[1]),
        PatchParams::apply(MANAGERS[1]).force(),
    ] {
        let again = applied(&operator, &catalog, &params).await;
        assert_eq!(outcome(&again), outcome(&before));
        assert_eq!(again["metadata"]["generation"], before["metadata"]["generation"]);
    }
    // What Git changes is what is done next, and what Git no longer says is gone.
    let mut changed = catalog.clone();
    changed["spec"]["intent"] = "What is an order?".into();
    changed["spec"].as_object_mut().unwrap().remove("limits");
    for manager in MANAGERS {
        applied(&operator, &changed, &PatchParams::apply(manager)).await;
    }
    let ran = tenant
        .until(&name, "run for the change", |it: &Catalog| {
            handled(it) && phase(it) == Some(Phase::Succeeded)
        })
        .await;
    assert_eq!(ran.spec.intent.as_deref(), Some("What is an order?"));
    let limits = serde_json::to_value(&ran.spec.limits).unwrap();
    assert_eq!(limits["timeout"], "30m");
    let folder = |it: &Catalog| it.status.clone().unwrap().artifacts.unwrap().timestamp;
    assert_ne!(folder(&ran), folder(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_from_git_keeps_its_status_whoever_applies_it() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let tenant = operator.tenant("a");
    let name = tenant.unique("nightly");
    // Asked for by a commit; its Catalog is suspended, and so active for ever.
    let more = json!({"schedule": "0 0 1 1 *", "suspend": true, "startingDeadlineSeconds": 3600});
    let mut git = idle(&tenant, &name, more);
    git["metadata"]["namespace"] = tenant.namespace.as_str().into();
    git["metadata"]["annotations"] = json!({REQUESTED_AT: "2026-11-27"});
    let flux = PatchParams::apply(MANAGERS[0]);
    applied(&operator, &git, &flux).await;
    let schedules = tenant.schedules();
    let runs = |it: &CatalogSchedule| it.status.as_ref().is_some_and(|it| it.requested.is_some());
    tenant.until_of(&schedules, &name, "asked for", runs).await;
    nothing_to_do(&operator, &git).await;

    let before = live(&operator, &git).await;
    for params in [
        flux,
        PatchParams::apply(MANAGERS[1]),
        PatchParams::apply(MANAGERS[1]).force(),
    ] {
        let again = applied(&operator, &git, &params).await;
        assert_eq!(outcome(&again), outcome(&before));
        assert_eq!(again["metadata"]["generation"], before["metadata"]["generation"]);
    }
    // What Git changes is heeded, and its Catalog is still known.
    git["spec"]["timeZone"] = "Asia/Kathmandu".into();
    for manager in MANAGERS {
        applied(&operator, &git, &PatchParams::apply(manager).force()).await;
    }
    let heeded = |it: &CatalogSchedule| {
        let status = it.status.as_ref();
        status.is_some_and(|status| status.observed_generation == it.metadata.generation)
    };
    tenant
        .until_of(&schedules, &name, "looked at again", heeded)
        .await;
    let after = live(&operator, &git).await;
    assert_eq!(after["status"]["active"], before["status"]["active"]);
    assert_eq!(after["status"]["requested"], before["status"]["requested"]);
}
