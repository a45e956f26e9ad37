//! What the operator may do, compared with what the API server saw it do.
//!
//! Its name comes last, so that it begins when all others have: it looks at what they did, too.

use std::collections::BTreeSet;
use std::path::Path;

use cataloger_tests::databases;
use cataloger_tests::model_server::KEY;
use cataloger_tests::operator::audit::{Call, Rule, Scope, calls};
use cataloger_tests::operator::{
    NODE, Operator, Settings, Tenant, alone, condition, handled, is, rendered, rules,
};
use cataloger_tests::served::Served;
use cataloger_tests::volume::Claim;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::runs::{let_in, with};
use crate::versions::unreadable;
use crate::{model, saying};

/// What is allowed and never asked for by itself: the API server looks whether `create` is allowed, too, where a
/// stream is opened with `get`, and where something is applied that is not there. A `ModelProvider` is read by its name
/// only after somebody else has written it in the same moment, which no test can bring about at will. A Lease is made
/// only where a tool has left out that of the manifests.
fn is_asked_for_by_the_server(rule: &Rule) -> bool {
    let by_chance = rule.verb == "get" && rule.resource == "modelproviders";
    by_chance
        || rule.verb == "create"
            && ["pods/exec", "networkpolicies", "leases"].contains(&rule.resource.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_is_needed_and_none_is_missing() {
    let settings = Settings::default().set("ALLOW_BASE_URL", &format!("http://{NODE}:*"));
    let Some(operator) = Operator::own("rights", &settings.replicas(2)).await else {
        return;
    };
    let (keeper, tenant, shop) = (
        operator.tenant("a"),
        operator.tenant("b"),
        Served::postgres_shop(),
    );
    let url = shop.reader();

    // A day in its life: a provider with a budget, prompts of one's own, a Catalog whose time is over soon, …
    let server = model(saying("<p>seen</p>")).await;
    keeper.secret("key", &[("key", KEY)]).await;
    let spec = json!({
        "anthropic": {"apiKeySecretRef": {"name": "key", "key": "key"}, "baseURL": server.url()},
        "defaultModel": "claude-sonnet-5-5", "budget": {"amount": 5}, "allowedNamespaces": ["*"],
    });
    keeper.provider("lender", spec).await;
    let prompts = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prompts"},
        "data": {"cataloging.yaml": include_str!("../../../prompts/cataloging.yaml")},
    });
    tenant.apply(prompts).await;
    let rest = json!({
        "model": {"providerRef": {"name": "lender", "namespace": keeper.namespace}},
        "prompts": {"configMapRef": {"name": "prompts"}},
        "ttlSecondsAfterFinished": 1,
    });
    tenant.begin("short", &url, rest).await;
    tenant.gone("short").await;
    // … one that fails more than once for the same reason, so that an event is counted and not repeated, …
    tenant.apply(tenant.catalog("early", json!({}))).await;
    tenant
        .until("early", "refused", |it| handled(it) && is(it, "Ready", "False"))
        .await;
    // … one whose database is a Service without a selector, and which runs twice, …
    let elsewhere = endpoint(&operator, &tenant).await;
    tenant
        .begin(
            "plain",
            &url.replace("postgres.cataloger-tests.svc", &elsewhere),
            json!({}),
        )
        .await;
    tenant.succeeded("plain").await;
    tenant.again("plain", "once more").await;
    tenant.succeeded("plain").await;
    // … one that can't be read, …
    unreadable(&operator, &tenant, &[]).await;
    // … one whose sandbox does not start, …
    let_in(&operator, &keeper).await;
    let nowhere = unmountable(&operator, &keeper).await;
    keeper
        .begin("blocked", "sqlite:////data/shop.db", with(&nowhere))
        .await;
    keeper
        .until("blocked", "told why", |it| {
            condition(it, "SandboxReady").is_some_and(|it| it.reason == "SandboxBlocked")
        })
        .await;
    keeper.delete("blocked").await;
    keeper.gone("blocked").await;
    nowhere.remove().await;
    // … one whose file is on a claim, …
    let directory = tempfile::tempdir().unwrap();
    databases::sqlite(
        &directory.path().join("shop.db"),
        "create table customers (id integer primary key); create table orders (id integer primary key)",
    );
    let claim = Claim::within(&operator.cluster, &keeper.namespace, directory.path()).await;
    keeper
        .begin("file", "sqlite:////data/shop.db", with(&claim))
        .await;
    keeper.succeeded("file").await;
    // … and a leader that goes.
    let leader = operator.leader().await;
    operator.stop(&leader).await;
    operator.leader_after(&leader).await;
    keeper.delete("file").await;
    keeper.gone("file").await;
    claim.remove().await;

    alone().await;
    let all = calls(&format!("cataloger-e2e-{}-", std::process::id()));
    let forbidden: Vec<&Call> = all.iter().filter(|call| call.is_forbidden()).collect();
    assert!(
        forbidden.is_empty(),
        "not allowed, and yet it asks: {forbidden:#?}"
    );

    // Of the others it counts what they did, not where.
    let allowed = rules(&rendered().await);
    let done: BTreeSet<Call> = all.iter().map(anywhere).collect();
    let needless: Vec<String> = allowed
        .iter()
        .filter(|rule| !is_asked_for_by_the_server(rule))
        .filter(|rule| !done.iter().any(|call| rule.allows(call)))
        .map(ToString::to_string)
        .collect();
    assert!(needless.is_empty(), "allowed, and never asked for: {needless:#?}");
    assert!(allowed.iter().any(|rule| rule.scope == Scope::Everywhere));
}

/// A Service in front of the tests' PostgreSQL that has addresses, and no selector.
async fn endpoint(operator: &Operator, tenant: &Tenant<'_>) -> String {
    let pods: Api<Pod> = Api::namespaced(operator.cluster.admin.clone(), "cataloger-tests");
    let servers = pods
        .list(&ListParams::default().labels("app=postgres"))
        .await
        .unwrap();
    let address = servers
        .items
        .into_iter()
        .find_map(|pod| pod.status?.pod_ip)
        .unwrap();
    tenant
        .apply(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "elsewhere"},
            "spec": {"ports": [{"port": 5432}]},
        }))
        .await;
    tenant
        .apply(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "elsewhere", "labels": {"kubernetes.io/service-name": "elsewhere"}},
            "addressType": "IPv4", "ports": [{"port": 5432, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        }))
        .await;
    "elsewhere".to_owned()
}

/// A claim to what is not there.
async fn unmountable(operator: &Operator, tenant: &Tenant<'_>) -> Claim {
    Claim::within(&operator.cluster, &tenant.namespace, Path::new("/nowhere/at/all")).await
}

/// The same call in an installation under the names of the manifests.
fn anywhere(call: &Call) -> Call {
    let mut call = call.clone();
    for end in ["system", "sandboxes"] {
        if let Some(installation) = call.namespace.strip_suffix(&format!("-{end}"))
            && installation.starts_with("cataloger-e2e-")
        {
            // What is called as the installation: its lease, and its secret.
            if let Some(rest) = call.name.strip_prefix(installation) {
                call.name = format!("cataloger{rest}");
            }
            call.namespace = format!("cataloger-{end}");
        }
    }
    call
}
