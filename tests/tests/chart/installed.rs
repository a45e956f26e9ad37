//! The chart on a real cluster, from the first install to the last trace, with a run under way while it changes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use cataloger::api::CatalogSchedule;
use cataloger::api::catalog::Phase;
use cataloger_tests::author::{Author, asked_again};
use cataloger_tests::cluster::{Cluster, apply, cluster};
use cataloger_tests::model_server::{KEY, ModelServer};
use cataloger_tests::operator::{NODE, Operator, Tenant, phase, release};
use cataloger_tests::s3;
use cataloger_tests::script::{last_line, output, repository};
use cataloger_tests::served::Served;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;
use tempfile::TempDir;

use crate::commands::{Names, documented};
use crate::{chart, helped};

/// A release before this one: its kinds are fewer.
const OLDER: &str = "tests/corpus/charts/cataloger-0.0.9.tgz";

/// A release of the tests: its names, and the values that it is installed with.
struct Release {
    name: String,
    values: TempDir,
    kubeconfig: String,
}

impl Release {
    async fn new(cluster: &Cluster) -> Self {
        let name = format!("cataloger-e2e-{}-chart", std::process::id());
        let values = release(cluster, &name).await;
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("values.json"), values.to_string()).expect("it is written");
        Self {
            name,
            values: directory,
            kubeconfig: last_line("tests/cluster/up", &[]).await,
        }
    }

    /// Runs a command for Helm as a page of the documentation has it, about this release.
    async fn helm(&self, page: &str, begins: &str, chart: &Path, more: &[&str]) -> String {
        let names = Names {
            release: "docs",
            namespace: &format!("{}-system", self.name),
            chart: chart.to_str().expect("a path is text"),
        };
        let words = documented(page, begins, &names);
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.extend(["--kubeconfig", &self.kubeconfig]);
        arguments.extend(more);
        helped(&arguments).await
    }
}

/// What nobody needs who has a cluster of their own, or its definitions by Helm alone: in this one other tests have made
/// them, by other means.
const SHARED: [&str; 2] = ["--take-ownership", "--force-conflicts"];

/// A model, and a provider and a Catalog that ask it, in the middle of a run.
async fn in_the_middle(tenant: &Tenant<'_>, name: &str, url: &str) -> ModelServer {
    let server = ModelServer::start_at(NODE).await;
    let author = Author {
        latency: Duration::from_secs(1),
        ..Author::default()
    };
    server.think(author.brain());
    tenant.secret("key", &[("key", KEY)]).await;
    let spec = json!({
        "anthropic": {"apiKeySecretRef": {"name": "key", "key": "key"}, "baseURL": server.url()},
        "defaultModel": "claude-sonnet-5-5",
    });
    tenant.provider(name, spec).await;
    let choice = json!({"model": {"providerRef": {"name": name}}});
    tenant.begin(name, url, choice).await;
    server.asked(2).await;
    tenant
        .until(name, "at work", |it| phase(it) == Some(Phase::Cataloging))
        .await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_installed_tested_upgraded_rolled_back_and_removed() {
    let cluster = cluster().await;
    if !cluster.own {
        return;
    }
    let release = Release::new(&cluster).await;
    let operator = Operator::installed_as(&cluster, &release.name, &["a"]);
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let url = shop.reader();

    let (older, this) = (repository().join(OLDER), chart());
    let values = release.values.path().join("values.json");
    let own = [&["--values", values.to_str().unwrap()], &SHARED[..]].concat();
    release
        .helm("install.md", "helm install cataloger ", &older, &own)
        .await;
    assert_eq!(ready(&cluster, &operator).await, 2);
    tenant.begin("kept", &url, json!({})).await;
    let kept = tenant.succeeded("kept").await;

    // An upgrade in the middle of a run.
    let server = in_the_middle(&tenant, "running", &url).await;
    let notes = release
        .helm("upgrade.md", "helm upgrade cataloger ", &this, &SHARED)
        .await;
    assert!(notes.contains("helm test docs"), "{notes}");
    let run = tenant.succeeded("running").await.status.unwrap();
    assert_eq!(run.history.len(), 1, "{run:?}");
    assert_eq!(asked_again(&server), 0, "{:#?}", server.requests());
    assert_eq!(server.problems(), Vec::<String>::new());
    let now = tenant.succeeded("kept").await;
    assert_eq!(now.metadata.uid, kept.metadata.uid);
    assert_eq!(history(&now), history(&kept), "nothing runs anew");

    // What `helm test` says, and what it leaves.
    let said = release.helm("install.md", "helm test ", &this, &[]).await;
    let page = format!(
        "s3://{}/{}/{}-a/cataloger-selftest/",
        s3::BUCKET,
        release.name,
        release.name
    );
    assert!(said.contains(&page), "{page}: {said}");
    assert!(tenant.objects("cataloger-selftest").await.len() > 4);
    tenant.gone("cataloger-selftest").await;
    who_edits_writes_no_status(&cluster, &release, &tenant.namespace).await;
    let nightly = schedule(&tenant).await;

    // Back, again in the middle of a run.
    tenant
        .patch("running", json!({"spec": {"intent": "What is sold."}}))
        .await;
    server.asked(2 + server.requests().len()).await;
    release
        .helm("install.md", "helm rollback ", &this, &["--force-conflicts"])
        .await;
    assert_eq!(ready(&cluster, &operator).await, 2);
    let run = tenant.succeeded("running").await.status.unwrap();
    assert_eq!(run.history.len(), 2, "{run:?}");
    assert_eq!(history(&tenant.succeeded("kept").await), history(&kept));

    // And away.
    release
        .helm("install.md", "helm uninstall ", &this, &["--wait"])
        .await;
    let left = left(&cluster, &release).await;
    assert_eq!(left, BTreeSet::new());
    assert_eq!(
        tenant
            .catalogs()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.admin.clone());
    for kind in ["catalogs", "catalogschedules", "modelproviders"] {
        definitions.get(&format!("{kind}.cataloger.dev")).await.unwrap();
    }
    // A kind that the older release does not know was left alone by it, and stays as well.
    let left = tenant.schedules().get("nightly").await.unwrap();
    assert_eq!(
        (left.metadata.uid, left.spec, left.status),
        (nightly.metadata.uid, nightly.spec, nightly.status)
    );
}

/// A schedule that the operator has looked at.
async fn schedule(tenant: &Tenant<'_>) -> CatalogSchedule {
    let template = tenant.catalog("nightly", json!({}));
    let spec = json!({
        "schedule": "@daily", "suspend": true, "catalogTemplate": {"spec": template["spec"]},
    });
    let metadata = json!({"name": "nightly"});
    let object = json!({
        "apiVersion": "cataloger.dev/v1alpha1", "kind": "CatalogSchedule", "metadata": metadata, "spec": spec,
    });
    tenant.apply(object).await;
    let looked_at = |it: &CatalogSchedule| it.status.as_ref().is_some_and(|it| !it.conditions.is_empty());
    tenant
        .until_of(&tenant.schedules(), "nightly", "looked at", looked_at)
        .await
}

/// Asks the API server what somebody may do whom the chart's role for editors is given to.
async fn who_edits_writes_no_status(cluster: &Cluster, release: &Release, namespace: &str) {
    let role = format!("{}-system-cataloger-edit", release.name);
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
        "metadata": {"name": "editors", "namespace": namespace},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "an-editor"}],
    });
    apply(&cluster.admin, &binding).await;
    let reviews: Api<SubjectAccessReview> = Api::all(cluster.admin.clone());
    let may = async |verb: &str, resource: &str, subresource: &str| {
        let review = serde_json::from_value(json!({
            "metadata": {},
            "spec": {"user": "an-editor", "resourceAttributes": {
                "namespace": namespace, "group": "cataloger.dev",
                "verb": verb, "resource": resource, "subresource": subresource,
            }},
        }));
        let told = reviews.create(&PostParams::default(), &review.unwrap()).await;
        told.unwrap().status.unwrap().allowed
    };
    for resource in ["catalogs", "catalogschedules", "modelproviders"] {
        // What a role grants is known a moment after it was bound.
        let began = Instant::now();
        while !may("create", resource, "").await {
            assert!(began.elapsed() < Duration::from_mins(1), "{role}: {resource}");
        }
        for verb in ["update", "patch"] {
            assert!(!may(verb, resource, "status").await, "{verb} {resource}/status");
        }
    }
    let bindings: Api<RoleBinding> = Api::namespaced(cluster.admin.clone(), namespace);
    bindings
        .delete("editors", &DeleteParams::default())
        .await
        .unwrap();
}

fn history(catalog: &cataloger::api::Catalog) -> Vec<Option<String>> {
    let status = catalog.status.as_ref().expect("it has run");
    status.history.iter().map(|run| run.id.clone()).collect()
}

/// How many Pods of the operator are ready.
async fn ready(cluster: &Cluster, operator: &Operator) -> i32 {
    let deployments: Api<Deployment> = Api::namespaced(cluster.admin.clone(), &operator.system());
    let status = deployments.get("cataloger").await.unwrap().status.unwrap();
    status.ready_replicas.unwrap_or_default()
}

/// All that is in the release's namespaces, or named after them, but for what users and Kubernetes have made.
async fn left(cluster: &Cluster, release: &Release) -> BTreeSet<String> {
    let namespaces: Api<Namespace> = Api::all(cluster.admin.clone());
    let sandboxes = format!("{}-sandboxes", release.name);
    let gone = cataloger_tests::operator::gone(&namespaces, &sandboxes, Duration::from_mins(2)).await;
    gone.unwrap_or_else(|last| panic!("{sandboxes} stays: {last:?}"));

    let kinds = output(
        "tests/cluster/kubectl",
        &[
            "api-resources",
            "--verbs=list",
            "--output=name",
            "--namespaced=true",
        ],
    )
    .await;
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let mut left = BTreeSet::new();
    for namespace in [format!("{}-system", release.name), format!("{}-a", release.name)] {
        let names = output(
            "tests/cluster/kubectl",
            &[
                "get",
                &kinds.join(","),
                "--namespace",
                &namespace,
                "--output=name",
                "--ignore-not-found",
            ],
        )
        .await;
        left.extend(names.lines().map(|name| format!("{namespace} {name}")));
    }
    let everywhere = output(
        "tests/cluster/kubectl",
        &["get", "clusterroles,clusterrolebindings", "--output=name"],
    )
    .await;
    left.extend(
        everywhere
            .lines()
            .filter(|name| name.contains(&release.name))
            .map(str::to_owned),
    );
    let of_others = [
        "configmap/kube-root-ca.crt",
        "serviceaccount/default",
        "secret/cataloger-keys",
        "secret/key",
        "secret/kept",
        "secret/running",
        "catalog.cataloger.dev/",
        "catalogschedule.cataloger.dev/",
        "modelprovider.cataloger.dev/",
        // Pods that are on their way out; their Deployment is gone.
        "pod/cataloger-",
        "podmetrics",
    ];
    left.retain(|name| !of_others.iter().any(|other| name.contains(other)));
    left
}
