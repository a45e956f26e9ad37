//! What agents are told, and how that changes: by prompts that the operator has mounted, and by a Catalog's own.

use std::time::Duration;

use cataloger::api::Catalog;
use cataloger::api::catalog::Phase;
use cataloger_tests::author::{Asker, place};
use cataloger_tests::cluster::apply;
use cataloger_tests::model_server::ModelServer;
use cataloger_tests::operator::{NODE, Operator, PATIENCE, Settings, condition, handled, is, phase};
use cataloger_tests::served::Served;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{anthropic, model, saying, slow};

/// How often it is looked whether the prompts are there.
const LOOK: Duration = Duration::from_secs(2);

/// Prompts: those of the binary, with something more for who catalogs.
fn telling(name: &str, word: &str) -> Value {
    let usual = include_str!("../../../prompts/cataloging.yaml");
    texts(name, &format!("{usual}  {word}\n"))
}

fn texts(name: &str, cataloging: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"cataloging.yaml": cataloging},
    })
}

/// Has the operator see other prompts, and waits until it says so.
async fn mount(operator: &Operator, pod: &str, mut prompts: Value, outcome: &str) {
    let label = format!("outcome=\"{outcome}\"");
    let seen = async || {
        let name = "cataloger_prompts_reloads_total";
        operator
            .metric(pod, name, &[label.as_str()])
            .await
            .unwrap_or_default()
    };
    let before = seen().await;
    prompts["metadata"]["namespace"] = operator.system().into();
    apply(&operator.cluster.admin, &prompts).await;
    let pods: Api<Pod> = Api::namespaced(operator.cluster.admin.clone(), &operator.system());
    let began = Instant::now();
    while seen().await <= before {
        assert!(
            began.elapsed() < PATIENCE,
            "{outcome}: never seen\n{}",
            operator.logs().await
        );
        // The kubelet looks after a volume now and then, and whenever the Pod changes.
        let touch = json!({"metadata": {"annotations": {
            "cataloger.dev/tests-touched": format!("{:016x}", rand::random::<u64>()),
        }}});
        pods.patch_metadata(pod, &PatchParams::default(), &Patch::Merge(&touch))
            .await
            .expect("it is there");
        sleep(LOOK).await;
    }
}

/// What the agent that catalogs was told for a Catalog, run by run.
fn tasks(server: &ModelServer, intent: &str) -> Vec<String> {
    let requests = server.requests().into_iter();
    requests
        .filter(|request| place(request) == (Asker::Catalog, 0) && request.body.contains(intent))
        .map(|request| request.body)
        .collect()
}

fn timestamp(catalog: &Catalog) -> Option<String> {
    Some(catalog.status.as_ref()?.artifacts.as_ref()?.timestamp.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_prompts_are_heeded_without_a_restart() {
    let settings = Settings::default().set("ALLOW_BASE_URL", &format!("http://{NODE}:*"));
    let Some(operator) = Operator::own("prompts", &settings).await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let (server, url) = (model(saying("<p>as told</p>")).await, shop.reader());
    let choice = anthropic(&tenant, &server).await;
    let with = |more: Value| {
        let mut rest = choice.clone();
        for (name, value) in more.as_object().unwrap() {
            rest[name] = value.clone();
        }
        rest
    };
    let (usual, own) = ("This is the usual one.", "This one has its own.");
    let pod = operator.leader().await;

    // Broken ones of a Catalog are refused with their line, and waited for.
    tenant.apply(texts("mine", "id: [")).await;
    let prompts = json!({"intent": own, "prompts": {"configMapRef": {"name": "mine"}}});
    tenant.begin("own", &url, with(prompts)).await;
    tenant.begin("usual", &url, with(json!({"intent": usual}))).await;
    let refused = tenant
        .until("own", "refused", |it| handled(it) && is(it, "Ready", "False"))
        .await;
    let why = condition(&refused, "Reconciling").unwrap();
    assert_eq!(
        (why.status.as_str(), why.reason.as_str()),
        ("True", "PromptsInvalid")
    );
    assert!(
        why.message.contains("mine") && why.message.contains("cataloging.yaml"),
        "{}",
        why.message
    );
    let first = timestamp(&tenant.succeeded("usual").await);
    assert_eq!((tasks(&server, own).len(), tasks(&server, usual).len()), (0, 1));
    tenant.apply(telling("mine", "Mine, as mended.")).await;
    let mended = timestamp(&tenant.succeeded("own").await);
    let told = tasks(&server, own);
    assert!(
        told.len() == 1 && told[0].contains("Mine, as mended."),
        "{told:#?}"
    );

    // Others of the operator: whoever has none of its own runs anew, by the same process.
    tenant.apply(telling("mine", "Mine, once more.")).await;
    mount(
        &operator,
        &pod,
        telling("cataloger-prompts", "Everybody's, and new."),
        "replaced",
    )
    .await;
    let next = tenant
        .until("usual", "run anew", |it| timestamp(it) != first)
        .await;
    let told = tasks(&server, usual);
    assert!(
        told.len() == 2 && !told[0].contains("Everybody's") && told[1].contains("Everybody's, and new."),
        "{told:#?}"
    );
    // Broken ones change nothing, and are told of.
    mount(&operator, &pod, texts("cataloger-prompts", "id: ["), "refused").await;
    let system = operator.tenant("system");
    let events = system.told(&pod, "PromptsInvalid").await;
    assert!(
        events
            .iter()
            .any(|(reason, note)| reason == "PromptsInvalid" && note.contains("cataloging.yaml")),
        "{events:#?}"
    );
    tenant.again("usual", "with the last good ones").await;
    let again = tenant
        .until("usual", "run once more", |it| {
            handled(it) && timestamp(it) != timestamp(&next)
        })
        .await;
    assert!(is(&again, "Ready", "True"));
    let told = tasks(&server, usual);
    assert!(
        told.len() == 3 && told[2].contains("Everybody's, and new."),
        "{told:#?}"
    );

    // A Catalog's own are looked at each minute.
    tenant
        .until("own", "run anew", |it| timestamp(it) != mended)
        .await;
    let told = tasks(&server, own);
    assert!(
        told.len() == 2 && told[1].contains("Mine, once more."),
        "{told:#?}"
    );
    assert!(!told[1].contains("Everybody's"));
    assert_eq!(server.problems(), Vec::<String>::new());

    let pods = operator.pods().await;
    assert_eq!(pods.len(), 1);
    assert_eq!(pods[0].metadata.name.as_deref(), Some(pod.as_str()));
    let states = pods[0]
        .status
        .as_ref()
        .and_then(|it| it.container_statuses.as_ref());
    assert!(
        states.is_some_and(|all| all.iter().all(|it| it.restart_count == 0)),
        "{states:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_suspended_stops_also_while_its_prompts_are_gone() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let author = slow(3);
    let turns = author.catalog.len() + author.summary.len();
    let server = model(author).await;
    let name = tenant.unique("prompted");
    tenant.apply(telling(&name, "Mine, for a while.")).await;
    let mut choice = anthropic(&tenant, &server).await;
    choice["prompts"] = json!({"configMapRef": {"name": name}});
    tenant.begin(&name, &shop.reader(), choice).await;
    server.asked(1).await;
    let prompts: Api<ConfigMap> = Api::namespaced(operator.cluster.admin.clone(), &tenant.namespace);
    prompts.delete(&name, &DeleteParams::default()).await.unwrap();
    tenant.patch(&name, json!({"spec": {"suspend": true}})).await;
    tenant
        .until(&name, "suspended", |it| phase(it) == Some(Phase::Suspended))
        .await;
    assert!(server.requests().len() < turns, "{:#?}", server.requests());
}
