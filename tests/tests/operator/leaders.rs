//! Operators that come and go while runs are under way.

use cataloger::api::catalog::Phase;
use cataloger_tests::author::{Author, Move, asked_again};
use cataloger_tests::model_server::ModelServer;
use cataloger_tests::operator::{NODE, Operator, Settings, Tenant, phase, until};
use cataloger_tests::served::Served;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;

use crate::{anthropic, model, slow};

fn settings() -> Settings {
    Settings::default().set("ALLOW_BASE_URL", &format!("http://{NODE}:*"))
}

/// Waits until the agent has taken some turns.
async fn at_work(tenant: &Tenant<'_>, name: &str, server: &ModelServer) {
    server.asked(2).await;
    tenant
        .until(name, "at work", |it| phase(it) == Some(Phase::Cataloging))
        .await;
}

/// Each turn of each agent was asked for once; the one that was in flight, twice at most.
pub(crate) fn paid_once(server: &ModelServer) {
    assert!(asked_again(server) <= 1, "{:#?}", server.requests());
    assert_eq!(server.problems(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_in_the_middle_of_a_run_goes_on_with_it() {
    let Some(operator) = Operator::own("killed", &settings()).await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let server = model(slow(1)).await;
    let name = tenant.unique("shop");
    let choice = anthropic(&tenant, &server).await;
    tenant.begin(&name, &shop.reader(), choice).await;
    at_work(&tenant, &name, &server).await;
    let pod = operator.leader().await;
    operator.kill(&pod).await;
    let catalog = tenant.succeeded(&name).await;
    let status = catalog.status.unwrap();
    // The same run: a crash of the operator is no attempt.
    assert_eq!((status.history.len(), status.run.unwrap().attempt), (1, 1));
    paid_once(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_takes_over_from_one_that_is_killed_or_drained() {
    let Some(operator) = Operator::own("two", &settings().replicas(2)).await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let server = model(slow(1)).await;
    let choice = anthropic(&tenant, &server).await;
    let (name, url) = (tenant.unique("shop"), shop.reader());
    tenant.begin(&name, &url, choice.clone()).await;
    at_work(&tenant, &name, &server).await;
    let first = operator.leader().await;
    operator.kill(&first).await;
    let second = operator.leader_after(&first).await;
    tenant.succeeded(&name).await;
    paid_once(&server);

    // In good order, as when its node is drained.
    let server = model(slow(1)).await;
    let choice = anthropic(&tenant, &server).await;
    let name = tenant.unique("shop");
    tenant.begin(&name, &url, choice).await;
    at_work(&tenant, &name, &server).await;
    operator.drain(&second).await;
    operator.leader_after(&second).await;
    tenant.succeeded(&name).await;
    paid_once(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_is_lost_is_made_anew() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let server = model(slow(1)).await;
    let name = tenant.unique("lost");
    let choice = anthropic(&tenant, &server).await;
    tenant.begin(&name, &shop.reader(), choice).await;
    at_work(&tenant, &name, &server).await;
    let with = tenant
        .until(&name, "in a sandbox", |it| {
            it.status
                .as_ref()
                .and_then(|it| it.run.as_ref())
                .is_some_and(|it| it.sandbox.is_some())
        })
        .await;
    let pod = with.status.unwrap().run.unwrap().sandbox.unwrap();
    let (namespace, pod) = pod.split_once('/').unwrap();
    let pods: Api<Pod> = Api::namespaced(operator.cluster.admin.clone(), namespace);
    pods.delete(pod, &kube::api::DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    tenant.succeeded(&name).await;
    assert_eq!(server.problems(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_of_two_answer_and_one_leads() {
    let Some(operator) = Operator::own("answers", &Settings::default().replicas(2)).await else {
        return;
    };
    let leader = operator.leader().await;
    let pods = operator.pods().await;
    assert_eq!(pods.len(), 2);
    let all: Api<Pod> = Api::namespaced(operator.cluster.admin.clone(), &operator.system());
    for pod in pods {
        let name = pod.metadata.name.unwrap();
        let ready = |pod: &Pod| {
            let conditions = pod.status.iter().flat_map(|it| it.conditions.iter().flatten());
            conditions
                .into_iter()
                .any(|it| it.type_ == "Ready" && it.status == "True")
        };
        until(&all, &name, std::time::Duration::from_mins(1), ready)
            .await
            .unwrap();
        for path in ["/healthz", "/readyz", "/metrics"] {
            let answer = operator.get(&name, path).await;
            assert!(answer.is_ok(), "{path}: {answer:?}");
        }
        let metrics = operator.get(&name, "/metrics").await.unwrap();
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("cataloger_"), "{line}");
        }
        let leads = operator.metric(&name, "cataloger_leader", &[]).await;
        assert_eq!(leads, Some(f64::from(u8::from(name == leader))), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_buys_no_run() {
    let Some(operator) = Operator::own("restart", &settings()).await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let server = model(Author::default()).await;
    let name = tenant.unique("shop");
    let choice = anthropic(&tenant, &server).await;
    tenant.begin(&name, &shop.reader(), choice).await;
    let before = tenant.succeeded(&name).await;
    let asked = server.requests().len();
    let pod = operator.leader().await;
    operator.stop(&pod).await;
    operator.leader_after(&pod).await;
    // Whatever the new one does to this one, it has done by the time that it has done the next.
    let next = tenant.unique("next");
    tenant.begin(&next, &shop.url(), json!({"suspend": true})).await;
    tenant
        .until(&next, "seen", cataloger_tests::operator::handled)
        .await;
    let after = tenant.catalogs().get(&name).await.unwrap();
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
    assert_eq!(server.requests().len(), asked);
}

/// An author who is at work while both replicas are replaced.
fn long() -> Author {
    let mut author = slow(2);
    let code = (1..=6).map(|turn| Move::Execute(format!("turn_{turn} = {turn}\nturn_{turn}")));
    author.catalog.splice(1..1, code);
    author
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_in_the_middle_of_ten_runs_costs_nothing() {
    const RUNS: usize = 10;
    let Some(operator) = Operator::own("rolling", &settings().replicas(2)).await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let author = long();
    let turns = author.catalog.len() + author.summary.len();
    let server = model(author).await;
    let (choice, url) = (anthropic(&tenant, &server).await, shop.reader());
    let names: Vec<String> = (1..=RUNS).map(|number| format!("rolled-{number}")).collect();
    for name in &names {
        tenant.begin(name, &url, choice.clone()).await;
    }
    server.asked(RUNS).await;
    let before = operator.pods().await;
    let deployments: Api<Deployment> = Api::namespaced(operator.cluster.admin.clone(), &operator.system());
    deployments.restart("cataloger").await.unwrap();
    let rolled = |it: &Deployment| {
        let Some(status) = &it.status else { return false };
        let all = [status.replicas, status.updated_replicas, status.ready_replicas];
        status.observed_generation == it.metadata.generation && all == [Some(2); 3]
    };
    let patience = std::time::Duration::from_mins(3);
    until(&deployments, "cataloger", patience, rolled).await.unwrap();
    // The runs were under way all the time.
    assert!(server.requests().len() < RUNS * turns);
    for pod in operator.pods().await {
        assert!(!before.iter().any(|old| old.metadata.uid == pod.metadata.uid));
    }
    for name in &names {
        let status = tenant.succeeded(name).await.status.unwrap();
        assert_eq!((status.history.len(), status.history[0].attempts), (1, 1));
    }
    assert_eq!(server.requests().len(), RUNS * turns, "as undisturbed");
    assert_eq!(server.problems(), Vec::<String>::new());
}
