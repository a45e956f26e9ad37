//! From a manifest to pages, for each kind of database.

use std::process::Command;

use cataloger::api::Catalog;
use cataloger_tests::cluster::apply;
use cataloger_tests::databases;
use cataloger_tests::operator::{Operator, Tenant, condition, is, read};
use cataloger_tests::place::python;
use cataloger_tests::served::Served;
use cataloger_tests::sha256;
use cataloger_tests::volume::Claim;
use serde_json::{Value, json};

use crate::WHOLE;

/// That the status of a Catalog whose only run came to a good end tells the truth; what `run.json` says.
async fn is_true(operator: &Operator, tenant: &Tenant<'_>, catalog: &Catalog) -> Value {
    let name = catalog.metadata.name.as_deref().unwrap();
    let status = catalog.status.as_ref().unwrap();
    let (run, artifacts) = (status.run.as_ref().unwrap(), status.artifacts.as_ref().unwrap());
    let id = run.id.as_deref().unwrap();
    assert_eq!(artifacts.timestamp, id);
    assert_eq!(status.observed_generation, catalog.metadata.generation);

    // Where it says, and nowhere else but for the journal.
    let folder = format!("s3://pages/{}/{}/{name}/{id}", operator.name, tenant.namespace);
    let uris = [
        Some(&artifacts.catalog),
        artifacts.catalog_script.as_ref(),
        artifacts.summary.as_ref(),
        artifacts.run.as_ref(),
        artifacts.summary_script.as_ref(),
    ];
    let report: Value = serde_json::from_slice(&read(artifacts.run.as_ref().unwrap()).await).unwrap();
    for (object, uri) in WHOLE.iter().zip(uris) {
        assert_eq!(uri, Some(&format!("{folder}/{object}")));
        let content = read(uri.unwrap()).await;
        if *object != "run.json" {
            assert_eq!(report["objects"][*object]["sha256"], sha256(&content), "{object}");
        }
    }
    let objects = tenant.objects(name).await;
    let (journal, pages): (Vec<_>, Vec<_>) = objects.iter().partition(|it| it.starts_with(".journal/"));
    assert!(
        journal
            .iter()
            .all(|it| it.starts_with(&format!(".journal/{id}/")))
    );
    let expected: Vec<String> = WHOLE.iter().map(|object| format!("{id}/{object}")).collect();
    assert_eq!(pages, expected.iter().collect::<Vec<_>>());

    // What it used is what the record says.
    let usage = run.usage.as_ref().unwrap();
    assert_eq!(report["usage"]["tokens"], usage.tokens);
    assert_eq!(report["usage"]["output"], usage.output);
    assert_eq!(run.attempt, 1);
    assert!(run.started_at.is_some() && run.finished_at >= run.started_at);
    assert!(run.sandbox.is_none() && run.next_attempt_at.is_none());
    assert_eq!(status.history.len(), 1);
    assert_eq!(status.history[0].id.as_deref(), Some(id));
    assert_eq!(status.history[0].catalog.as_ref(), Some(&artifacts.catalog));

    for (name, wanted) in [
        ("Ready", "True"),
        ("CatalogPublished", "True"),
        ("SummaryPublished", "True"),
    ] {
        assert!(
            is(catalog, name, wanted),
            "{name}: {:?}",
            condition(catalog, name)
        );
    }
    for name in ["Reconciling", "Stalled"] {
        assert!(
            !is(catalog, name, "True"),
            "{name}: {:?}",
            condition(catalog, name)
        );
    }
    for condition in &status.conditions {
        assert_eq!(condition.observed_generation, catalog.metadata.generation);
        assert!(!condition.reason.is_empty(), "{condition:?}");
    }
    report
}

/// That nothing is left of the sandboxes of a Catalog.
async fn is_tidy(operator: &Operator, name: &str) {
    let left = operator.sandbox_pods().await;
    assert!(!left.iter().any(|pod| pod.contains(name)), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_cataloged() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let name = tenant.unique("postgres");
    tenant.begin(&name, &shop.reader(), json!({})).await;
    let catalog = tenant.succeeded(&name).await;
    is_true(&operator, &tenant, &catalog).await;
    is_tidy(&operator, &name).await;
    let page = read(&catalog.status.unwrap().artifacts.unwrap().catalog).await;
    let page = String::from_utf8(page.to_vec()).unwrap();
    assert!(page.contains("customers") && page.contains("2,500"), "{page}");
    // What a person would want to know was told.
    assert!(!tenant.events(&name).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_is_cataloged() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::mariadb_shop());
    let name = tenant.unique("mysql");
    tenant.begin(&name, &shop.reader(), json!({})).await;
    let catalog = tenant.succeeded(&name).await;
    is_true(&operator, &tenant, &catalog).await;
}

/// Lets the operator make sandboxes in a namespace, as whoever keeps it does.
pub(crate) async fn let_in(operator: &Operator, tenant: &Tenant<'_>) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "cataloger-sandboxes", "namespace": tenant.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": operator.sandboxes()},
        "subjects": [{"kind": "ServiceAccount", "name": "cataloger", "namespace": operator.system()}],
    });
    apply(&operator.cluster.admin, &binding).await;
}

/// A Catalog's sandbox that sees a claim.
pub(crate) fn with(claim: &Claim) -> Value {
    json!({"sandbox": {
        "volumes": [{"name": "files", "persistentVolumeClaim": {"claimName": claim.name()}}],
        "volumeMounts": [{"name": "files", "mountPath": "/data"}],
    }})
}

const ORDERS: &str = "create table customers (id integer primary key, name varchar); \
                      insert into customers values (1, 'Ada'), (2, 'Ben'); \
                      create table orders (id integer primary key, customer_id integer, total double); \
                      insert into orders values (1, 1, 2.5), (2, 1, 3), (3, 2, 4);";

#[tokio::test(flavor = "multi_thread")]
async fn files_on_a_claim_are_cataloged() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let tenant = operator.tenant("a");
    let_in(&operator, &tenant).await;
    let directory = tempfile::tempdir().unwrap();
    databases::sqlite(&directory.path().join("shop.db"), ORDERS);
    let code = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute(sys.argv[2])";
    let made = Command::new(python().await)
        .args(["-c", code])
        .arg(directory.path().join("shop.duckdb"))
        .arg(ORDERS)
        .status();
    assert!(made.unwrap().success());

    let claim = Claim::within(&operator.cluster, &tenant.namespace, directory.path()).await;
    let names = [tenant.unique("sqlite"), tenant.unique("duckdb")];
    let urls = ["sqlite:////data/shop.db", "duckdb:////data/shop.duckdb"];
    for (name, url) in names.iter().zip(urls) {
        tenant.begin(name, url, with(&claim)).await;
    }
    for name in &names {
        let catalog = tenant.succeeded(name).await;
        is_true(&operator, &tenant, &catalog).await;
        tenant.delete(name).await;
        tenant.gone(name).await;
    }
    claim.remove().await;
}
