//! What the operator's configuration opens is taken, and comes to where it is for: the sandbox, the bucket, the model.

use cataloger::api::catalog::Phase;
use cataloger::store::{Depth, Key, list_all};
use cataloger_tests::author::{Move, results};
use cataloger_tests::cluster::{Cluster, apply, cluster};
use cataloger_tests::model_server::KEY;
use cataloger_tests::operator::{NODE, Operator, Settings, condition, handled, is, phase};
use cataloger_tests::s3;
use cataloger_tests::served::Served;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{WHOLE, model, saying};

/// A runtime class of the tests', of the runtime that the node has anyway.
const RUNTIME: &str = "cataloger-tests-runc";
/// The default provider's name.
const USUAL: &str = "usual";
/// What nobody can mistake for the operator's own keys.
const THEIRS: (&str, &str) = ("theirs", "their-secret/key+of=tests");

/// Code that tries to reach two ports of the node.
fn trying(open: u16, closed: u16) -> String {
    format!(
        "import socket\n\
         def tries(port):\n    \
             try:\n        socket.create_connection(('{NODE}', port), timeout=5).close()\n        return 'open'\n    \
             except OSError as error:\n        return type(error).__name__\n\
         [tries(port) for port in ({open}, {closed})]"
    )
}

/// An operator's settings that open all that there is to choose, and name a default provider.
fn open(cluster: &Cluster, usual: &str) -> Settings {
    Settings::default()
        // Whoever does not choose another one does not even start.
        .set("SANDBOX_IMAGE", "localhost/cataloger-tests-none:1")
        .set("ALLOW_IMAGE", &cluster.image)
        .set("ALLOW_RUNTIME_CLASS", RUNTIME)
        .set("ALLOW_NODE_SELECTOR", "kubernetes.io/os=*")
        .set("ALLOW_TOLERATION", "dedicated")
        .set("ALLOW_EGRESS", &format!("{NODE}/32"))
        .set("ALLOW_ENDPOINT", &format!("http://{NODE}:*"))
        .set("ALLOW_BASE_URL", &format!("http://{NODE}:*"))
        // The manifests name a model; an overlay can't take that away.
        .set("MODEL", "")
        .set("DEFAULT_PROVIDER", usual)
}

/// That a sandbox's Pod is as its Catalog has chosen.
async fn is_as_chosen(operator: &Operator, namespace: &str, name: &str) {
    let pods: Api<Pod> = Api::namespaced(operator.cluster.admin.clone(), namespace);
    let pod = pods.get(name).await.unwrap().spec.unwrap();
    assert_eq!(pod.containers[0].image.as_ref(), Some(&operator.cluster.image));
    assert_eq!(pod.runtime_class_name.as_deref(), Some(RUNTIME));
    let labels = pod.node_selector.unwrap_or_default();
    assert_eq!(labels.get("kubernetes.io/os").map(String::as_str), Some("linux"));
    let tolerations = pod.tolerations.unwrap_or_default();
    assert!(
        tolerations
            .iter()
            .any(|it| it.key.as_deref() == Some("dedicated") && it.value.as_deref() == Some("batch")),
        "{tolerations:?}"
    );
}

/// That all of a run is in a folder of a bucket.
async fn has_all(bucket: &s3::Server, folder: &str) {
    let store = bucket.store().await;
    let listed = list_all(&store, Some(Key::new(folder).unwrap()), Depth::Everything, 1000).await;
    let objects: Vec<String> = listed
        .unwrap()
        .objects
        .into_iter()
        .map(|it| it.key.as_str().to_owned())
        .collect();
    for object in WHOLE {
        assert!(objects.contains(&format!("{folder}/{object}")), "{objects:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_is_taken_and_works() {
    let cluster = cluster().await;
    if !cluster.own {
        return;
    }
    let keeper = format!("{}-a", Operator::name_of("allowed"));
    let settings = open(&cluster, &format!("{keeper}/{USUAL}"));
    let runtime = json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
        "metadata": {"name": RUNTIME}, "handler": "runc",
    });
    apply(&cluster.admin, &runtime).await;
    let Some(operator) = Operator::own("allowed", &settings).await else {
        return;
    };
    let (keeper, tenant, shop) = (
        operator.tenant("a"),
        operator.tenant("b"),
        Served::postgres_shop(),
    );
    let url = shop.reader();

    let (reached, closed) = (
        TcpListener::bind((NODE, 0)).await.unwrap(),
        TcpListener::bind((NODE, 0)).await.unwrap(),
    );
    let (port, other) = (
        reached.local_addr().unwrap().port(),
        closed.local_addr().unwrap().port(),
    );
    let mut author = saying("<p>as allowed</p>");
    author.catalog.insert(1, Move::Execute(trying(port, other)));
    let server = model(author).await;
    keeper.secret(USUAL, &[("key", KEY)]).await;
    let spec = json!({
        "anthropic": {"apiKeySecretRef": {"name": USUAL, "key": "key"}, "baseURL": server.url()},
        "defaultModel": "claude-sonnet-5-5",
    });
    keeper.provider(USUAL, spec).await;
    let bucket = s3::Server::start_at(NODE, THEIRS);
    let keys = [
        ("AWS_ACCESS_KEY_ID", THEIRS.0),
        ("AWS_SECRET_ACCESS_KEY", THEIRS.1),
    ];
    tenant.secret("keys", &keys).await;

    // Of another namespace than the default provider, which allows none: who configured it has.
    let choices = json!({
        "sandbox": {
            "image": cluster.image,
            "runtimeClassName": RUNTIME,
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "batch", "effect": "NoSchedule"}],
            "egress": [{"cidr": format!("{NODE}/32"), "port": port}],
        },
        "storage": {"s3": {
            "bucket": s3::BUCKET, "endpoint": bucket.endpoint(), "credentialsSecretRef": {"name": "keys"},
        }},
    });
    server.hold();
    tenant.begin("chosen", &url, choices).await;
    let sandbox = |it: &cataloger::api::Catalog| it.status.as_ref()?.run.as_ref()?.sandbox.clone();
    let at_work = tenant
        .until("chosen", "at work in a sandbox", |it| {
            phase(it) == Some(Phase::Cataloging) && sandbox(it).is_some()
        })
        .await;
    let name = sandbox(&at_work).unwrap();
    let (namespace, name) = name.split_once('/').unwrap();
    is_as_chosen(&operator, namespace, name).await;
    server.let_go();
    let status = tenant.succeeded("chosen").await.status.unwrap();

    let (run, artifacts) = (status.run.unwrap(), status.artifacts.unwrap());
    assert_eq!(run.model.as_deref(), Some("anthropic/claude-sonnet-5-5"));
    // The port that it asked for, and no other one of the same host.
    let reached = results(&server.requests()[2]);
    assert!(reached.contains("['open', 'TimeoutError']"), "{reached}");
    assert_eq!(server.problems(), Vec::<String>::new());
    // All is in its own bucket, and nothing in the operator's.
    let folder = format!("chosen/{}", artifacts.timestamp);
    assert_eq!(
        artifacts.catalog,
        format!("s3://{}/{folder}/catalog.html", s3::BUCKET)
    );
    has_all(&bucket, &folder).await;
    assert!(tenant.objects("chosen").await.is_empty());
    let logs = operator.all_logs().await;
    assert!(!logs.contains(THEIRS.1) && !logs.contains(KEY));

    // To be named, the same provider has to allow it.
    let asked = server.requests().len();
    let named = json!({
        "sandbox": {"image": cluster.image},
        "model": {"providerRef": {"name": USUAL, "namespace": keeper.namespace}},
    });
    tenant.begin("named", &url, named).await;
    let refused = tenant
        .until("named", "refused", |it| handled(it) && is(it, "Stalled", "True"))
        .await;
    let why = condition(&refused, "Stalled").unwrap();
    assert_eq!(why.reason, "NotAllowed");
    assert!(why.message.contains("spec.allowedNamespaces"), "{}", why.message);
    assert_eq!(server.requests().len(), asked);
}
