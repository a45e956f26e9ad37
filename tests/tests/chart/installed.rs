//! The chart on a real cluster, from the first install to the last trace, with a run under way while it changes.

use std::collections::BTreeSet;
use std::time::Duration;

use cataloger::api::catalog::Phase;
use cataloger_tests::author::{Author, asked_again};
use cataloger_tests::cluster::{Cluster, cluster};
use cataloger_tests::model_server::{KEY, ModelServer};
use cataloger_tests::operator::{NODE, Operator, Tenant, phase, release};
use cataloger_tests::s3;
use cataloger_tests::script::{last_line, output, repository};
use cataloger_tests::served::Served;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use tempfile::TempDir;

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

    /// Runs Helm about this release.
    async fn helm(&self, verb: &str, more: &[&str]) -> String {
        let system = format!("{}-system", self.name);
        let mut arguments = vec![
            verb,
            "docs",
            "--namespace",
            &system,
            "--kubeconfig",
            &self.kubeconfig,
        ];
        arguments.extend(more);
        helped(&arguments).await
    }

    /// Installs a chart, or upgrades to it.
    async fn put(&self, verb: &str, chart: &str) -> String {
        let values = self.values.path().join("values.json");
        let values = values.to_str().expect("a path is text");
        // Other tests have made the definitions, by other means.
        let ours = [
            "--take-ownership",
            "--force-conflicts",
            "--wait",
            "--timeout",
            "3m",
        ];
        self.helm(verb, &[&[chart, "--values", values] as &[&str], &ours].concat())
            .await
    }
}

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

    let older = repository().join(OLDER);
    release.put("install", older.to_str().unwrap()).await;
    assert_eq!(ready(&cluster, &operator).await, 2);
    tenant.begin("kept", &url, json!({})).await;
    let kept = tenant.succeeded("kept").await;

    // An upgrade in the middle of a run.
    let server = in_the_middle(&tenant, "running", &url).await;
    let this = chart();
    let notes = release.put("upgrade", this.to_str().unwrap()).await;
    assert!(notes.contains("helm test docs"), "{notes}");
    let run = tenant.succeeded("running").await.status.unwrap();
    assert_eq!(run.history.len(), 1, "{run:?}");
    assert_eq!(asked_again(&server), 0, "{:#?}", server.requests());
    assert_eq!(server.problems(), Vec::<String>::new());
    let now = tenant.succeeded("kept").await;
    assert_eq!(now.metadata.uid, kept.metadata.uid);
    assert_eq!(history(&now), history(&kept), "nothing runs anew");

    // What `helm test` says, and what it leaves.
    let said = release.helm("test", &["--logs", "--timeout", "5m"]).await;
    let page = format!(
        "s3://{}/{}/{}-a/cataloger-selftest/",
        s3::BUCKET,
        release.name,
        release.name
    );
    assert!(said.contains(&page), "{page}: {said}");
    assert!(tenant.objects("cataloger-selftest").await.len() > 4);
    tenant.gone("cataloger-selftest").await;

    // Back, again in the middle of a run.
    tenant
        .patch("running", json!({"spec": {"intent": "What is sold."}}))
        .await;
    server.asked(2 + server.requests().len()).await;
    release
        .helm(
            "rollback",
            &["1", "--force-conflicts", "--wait", "--timeout", "3m"],
        )
        .await;
    assert_eq!(ready(&cluster, &operator).await, 2);
    let run = tenant.succeeded("running").await.status.unwrap();
    assert_eq!(run.history.len(), 2, "{run:?}");
    assert_eq!(history(&tenant.succeeded("kept").await), history(&kept));

    // And away.
    release.helm("uninstall", &["--wait", "--timeout", "3m"]).await;
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
    for kind in ["catalogs", "modelproviders"] {
        definitions.get(&format!("{kind}.cataloger.dev")).await.unwrap();
    }
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
        "modelprovider.cataloger.dev/",
        // Pods that are on their way out; their Deployment is gone.
        "pod/cataloger-",
        "podmetrics",
    ];
    left.retain(|name| !of_others.iter().any(|other| name.contains(other)));
    left
}
