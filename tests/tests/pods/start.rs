//! Each way not to start has its reason, and leaves nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cataloger::sandbox::pod::PodOptions;
use cataloger::sandbox::pod::manifest::{PullPolicy, Volume, VolumeSource};
use cataloger::sandbox::{Class, NotStarted, Obstacle, SandboxError};
use cataloger_tests::cluster::{Cluster, SANDBOXES, apply};
use http_body_util::Empty;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use tokio::net::TcpListener;

use crate::{bare, on_the_cluster, open};

on_the_cluster!(
    tells_that_no_node_takes_it,
    tells_that_its_image_is_not_there,
    tells_what_a_registry_says,
    tells_what_it_said_when_it_crashed,
    tells_that_a_volume_or_a_runtime_is_not_there,
    tells_that_the_quota_is_used_up,
    tells_that_admission_refuses_it,
    tells_that_the_operator_may_not,
    leaves_alone_what_is_not_its_own,
);

/// Opens what can't start; why. Nothing stays of it.
async fn refused(cluster: &Cluster, options: PodOptions) -> (NotStarted, Class) {
    let (namespace, name) = (options.namespace.clone(), options.owner.name());
    let error = open(options).await.expect_err("it can't start");
    let class = error.class();
    let SandboxError::NotStarted(why) = error else {
        panic!("{error}");
    };
    let pods: Api<Pod> = Api::namespaced(cluster.admin.clone(), &namespace);
    assert!(pods.get_opt(&name).await.unwrap().is_none(), "{why}");
    let policies: Api<NetworkPolicy> = Api::namespaced(cluster.admin.clone(), &namespace);
    assert!(policies.get_opt(&name).await.unwrap().is_none(), "{why}");
    (why, class)
}

/// Puts an object of YAML there.
async fn put(cluster: &Cluster, yaml: &str) {
    apply(
        &cluster.admin,
        &serde_yaml::from_str::<serde_json::Value>(yaml).expect("YAML"),
    )
    .await;
}

/// A namespace with an object in it that is in the way of Pods, and the right to make some.
async fn obstructed(cluster: &Cluster, name: &str, obstacle: &str) -> PodOptions {
    cluster.namespace(name).await;
    put(cluster, obstacle).await;
    let mut options = bare(cluster);
    options.client = cluster.admin.clone();
    options.namespace = name.into();
    options
}

async fn tells_that_no_node_takes_it(cluster: Cluster) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut options = bare(&cluster);
    options.shape.node_selector = BTreeMap::from([("no-such-label".into(), "yes".into())]);
    options.patience.start = Duration::from_secs(4);
    options.tell = {
        let told = Arc::clone(&told);
        Arc::new(move |why: &NotStarted| told.lock().unwrap().push(why.obstacle))
    };
    let (why, class) = refused(&cluster, options).await;
    assert_eq!(
        (why.obstacle, class),
        (Obstacle::Unschedulable, Class::Wait),
        "{why}"
    );
    assert!(why.message.contains("node affinity/selector"), "{why}");
    assert_eq!(told.lock().unwrap().first(), Some(&Obstacle::Unschedulable));
}

async fn tells_that_its_image_is_not_there(cluster: Cluster) {
    let mut options = bare(&cluster);
    options.shape.image = "localhost/no-such-image:1".into();
    options.shape.pull = PullPolicy::Never;
    let (why, class) = refused(&cluster, options).await;
    assert_eq!(
        (why.obstacle, class),
        (Obstacle::ImageMissing, Class::Stop),
        "{why}"
    );
    assert!(why.message.contains("ErrImageNeverPull"), "{why}");
    let mut options = bare(&cluster);
    options.shape.image = "Not An Image".into();
    let (why, _) = refused(&cluster, options).await;
    assert!(
        matches!(why.obstacle, Obstacle::ImageMissing | Obstacle::Refused),
        "{why}"
    );
}

/// A registry that has nothing, on this machine, which is our own cluster's node. Its port.
async fn registry(status: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| async move {
                // What there is of the registry's protocol before an image is asked for.
                let status = if request.uri().path() == "/v2/" {
                    200
                } else {
                    status
                };
                let body = Empty::<bytes::Bytes>::new();
                Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    port
}

async fn tells_what_a_registry_says(cluster: Cluster) {
    if !cluster.own {
        return;
    }
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for (port, obstacle, class) in [
        (registry(404).await, Obstacle::ImageMissing, Class::Stop),
        (registry(403).await, Obstacle::ImageDenied, Class::Stop),
        (nobody, Obstacle::ImageUnavailable, Class::Rebuild),
    ] {
        let mut options = bare(&cluster);
        options.shape.image = format!("localhost:{port}/sandbox:1");
        options.shape.pull = PullPolicy::IfNotPresent;
        let (why, found) = refused(&cluster, options).await;
        assert_eq!((why.obstacle, found), (obstacle, class), "{why}");
    }
}

async fn tells_what_it_said_when_it_crashed(cluster: Cluster) {
    let mut options = bare(&cluster);
    options.shape.arguments = vec!["--no-such-option".into()];
    let (why, class) = refused(&cluster, options).await;
    assert_eq!((why.obstacle, class), (Obstacle::Crashing, Class::Stop), "{why}");
    assert!(why.message.contains("exit code 2"), "{why}");
    assert!(why.message.contains("--no-such-option"), "{why}");
}

async fn tells_that_a_volume_or_a_runtime_is_not_there(cluster: Cluster) {
    let mut options = bare(&cluster);
    options.patience.start = Duration::from_secs(4);
    options.shape.volumes = vec![Volume {
        name: "shop".into(),
        source: VolumeSource::Claim("no-such-claim".into()),
        mounts: vec![("/data".into(), None)],
    }];
    let (why, _) = refused(&cluster, options).await;
    assert_eq!(why.obstacle, Obstacle::Unschedulable, "{why}");
    assert!(why.message.contains("no-such-claim"), "{why}");

    put(
        &cluster,
        "{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: cataloger-tests-none}, handler: no-such-handler}",
    )
    .await;
    let mut options = bare(&cluster);
    options.shape.runtime_class = Some("cataloger-tests-none".into());
    options.patience.start = Duration::from_secs(15);
    let (why, class) = refused(&cluster, options).await;
    assert_eq!(
        (why.obstacle, class),
        (Obstacle::Unmountable, Class::Rebuild),
        "{why}"
    );
    assert!(why.message.contains("no-such-handler"), "{why}");
}

async fn tells_that_the_quota_is_used_up(cluster: Cluster) {
    let quota = "{apiVersion: v1, kind: ResourceQuota, metadata: {name: none, namespace: cataloger-tests-quota}, spec: {hard: {pods: '0'}}}";
    let options = obstructed(&cluster, "cataloger-tests-quota", quota).await;
    // The quota counts a moment after it is there.
    let quotas: Api<k8s_openapi::api::core::v1::ResourceQuota> =
        Api::namespaced(cluster.admin.clone(), "cataloger-tests-quota");
    while quotas
        .get("none")
        .await
        .unwrap()
        .status
        .and_then(|it| it.hard)
        .is_none()
    {
        tokio::task::yield_now().await;
    }
    let (why, class) = refused(&cluster, options).await;
    assert_eq!((why.obstacle, class), (Obstacle::Quota, Class::Wait), "{why}");
}

async fn tells_that_admission_refuses_it(cluster: Cluster) {
    let limits = "{apiVersion: v1, kind: LimitRange, metadata: {name: small, namespace: cataloger-tests-limits}, spec: {limits: [{type: Container, max: {memory: 1Mi}}]}}";
    let options = obstructed(&cluster, "cataloger-tests-limits", limits).await;
    // An admission plugin sees a new object a moment after it is there.
    let (why, class) = loop {
        match open(options.clone()).await {
            Ok(sandbox) => sandbox.remove().await.expect("it can be removed"),
            Err(SandboxError::NotStarted(why)) => {
                let class = SandboxError::from(why.clone()).class();
                break (why, class);
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!((why.obstacle, class), (Obstacle::Refused, Class::Stop), "{why}");
    assert!(why.message.contains("maximum memory usage"), "{why}");
}

async fn tells_that_the_operator_may_not(cluster: Cluster) {
    let mut options = bare(&cluster);
    options.namespace = "default".into();
    let error = open(options).await.expect_err("it may not");
    assert!(
        matches!(&error, SandboxError::NotStarted(why) if why.obstacle == Obstacle::Forbidden),
        "{error}"
    );
    assert_eq!(error.class(), Class::Stop);
}

async fn leaves_alone_what_is_not_its_own(cluster: Cluster) {
    let options = bare(&cluster);
    let name = options.owner.name();
    let mut pod =
        cataloger::sandbox::pod::manifest::pod(&options.owner, SANDBOXES, &options.shape, &options.names);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert("cataloger.dev/installation".into(), "somebody-else".into());
    let pods = cluster.pods();
    let made = pods.create(&PostParams::default(), &pod).await.unwrap();
    let error = open(options).await.expect_err("it is another's");
    assert!(
        matches!(&error, SandboxError::NotStarted(why) if why.obstacle == Obstacle::Occupied),
        "{error}"
    );
    assert_eq!(pods.get(&name).await.unwrap().metadata.uid, made.metadata.uid);
    let now = DeleteParams::default().grace_period(0);
    pods.delete(&name, &now).await.unwrap();
}
