//! How a sandbox is lost in the middle of a call, and what is not a loss.

use std::time::Duration;

use cataloger::sandbox::pod::{PodSandbox, manifest};
use cataloger::sandbox::{Class, Executed, Loss, Sandbox, SandboxError, Status, Variables};
use cataloger_tests::cluster::{Cluster, SANDBOXES};
use cataloger_tests::script::run;
use kube::api::{DeleteParams, EvictParams, PostParams};
use tokio::time::sleep;

use crate::{bare, during, on_the_cluster, open, output};

on_the_cluster!(
    tells_that_its_pod_was_deleted,
    tells_that_its_pod_was_evicted,
    tells_that_its_container_was_killed,
    tells_that_its_container_has_restarted,
    tells_that_its_time_is_over,
);

const FOR_EVER: &str = "while True: pass";

/// The loss that a call ends with. It stays so.
async fn lost(sandbox: &PodSandbox, answer: Result<Executed, SandboxError>) -> Loss {
    let error = answer.expect_err("its sandbox is gone");
    assert_eq!(error.class(), Class::Rebuild, "{error}");
    let SandboxError::Lost(loss) = error else {
        panic!("{error}");
    };
    let again = crate::execute(sandbox, 9, "1").await.expect_err("it stays so");
    assert!(matches!(again, SandboxError::Lost(_)), "{again}");
    loss
}

async fn tells_that_its_pod_was_deleted(cluster: Cluster) {
    let sandbox = open(bare(&cluster)).await.unwrap();
    let delete = async {
        let pods = cluster.pods();
        pods.delete(sandbox.name(), &DeleteParams::default())
            .await
            .unwrap();
    };
    let (answer, ()) = during(&sandbox, 1, FOR_EVER, delete).await;
    let loss = lost(&sandbox, answer).await;
    assert_eq!(gone(&loss), "its Pod was deleted");
    sandbox.remove().await.unwrap();
}

fn gone(loss: &Loss) -> &str {
    let Loss::Gone { message } = loss else {
        panic!("{loss}");
    };
    message
}

/// As a drained node does.
async fn tells_that_its_pod_was_evicted(cluster: Cluster) {
    let sandbox = open(bare(&cluster)).await.unwrap();
    let evict = async {
        let pods = cluster.pods();
        pods.evict(sandbox.name(), &EvictParams::default()).await.unwrap();
    };
    let (answer, ()) = during(&sandbox, 1, FOR_EVER, evict).await;
    let loss = lost(&sandbox, answer).await;
    assert!(gone(&loss).contains("EvictionByEvictionAPI"), "{loss}");
    sandbox.remove().await.unwrap();
}

/// As where memory has run out, under the second version of control groups: all of it at once.
async fn tells_that_its_container_was_killed(cluster: Cluster) {
    if !cluster.own {
        return;
    }
    let sandbox = open(bare(&cluster)).await.unwrap();
    let (answer, ()) = during(&sandbox, 1, FOR_EVER, cluster.kill(sandbox.name())).await;
    let loss = lost(&sandbox, answer).await;
    assert!(gone(&loss).contains("exit code 137"), "{loss}");
    // Whoever opens it again gets another one.
    let mut options = bare(&cluster);
    options.owner = sandbox.owner().clone();
    let again = PodSandbox::open(options, Some(&sandbox.boot()), &Variables::new())
        .await
        .unwrap();
    assert_ne!(again.uid(), sandbox.uid());
    assert_eq!(output(&again, 1, "1").await, "1\n");
    again.remove().await.unwrap();
}

/// Ours are never started again; one that somebody's admission has changed may be.
async fn tells_that_its_container_has_restarted(cluster: Cluster) {
    if !cluster.own {
        return;
    }
    let options = bare(&cluster);
    let mut pod = manifest::pod(&options.owner, SANDBOXES, &options.shape, &options.names);
    pod.spec.as_mut().unwrap().restart_policy = Some("Always".into());
    cluster.pods().create(&PostParams::default(), &pod).await.unwrap();
    let sandbox = open(options).await.unwrap();
    let (answer, ()) = during(&sandbox, 1, FOR_EVER, cluster.kill(sandbox.name())).await;
    let loss = lost(&sandbox, answer).await;
    assert!(matches!(&loss, Loss::Restarted { .. }), "{loss}");
    sandbox.remove().await.unwrap();
}

async fn tells_that_its_time_is_over(cluster: Cluster) {
    let mut options = bare(&cluster);
    options.shape.deadline = Duration::from_secs(5);
    let sandbox = open(options).await.unwrap();
    let (answer, ()) = during(&sandbox, 1, FOR_EVER, async {}).await;
    let loss = lost(&sandbox, answer).await;
    assert!(gone(&loss).contains("DeadlineExceeded"), "{loss}");
    sandbox.remove().await.unwrap();
}

/// What stops all that others stand on happens while nobody else does anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_when_the_cluster_falters() {
    crate::within_deadline(async {
        let cluster = cataloger_tests::cluster::cluster().await;
        if cluster.own {
            let _alone = crate::CALM.write().await;
            Box::pin(falter(cluster)).await;
        }
    })
    .await;
}

async fn falter(cluster: Cluster) {
    let sandbox = open(bare(&cluster)).await.unwrap();
    output(&sandbox, 1, "x = []").await;
    let wait = |tenths: u32| {
        format!("import time\nfor n in range({tenths}): time.sleep(0.1)\nx.append(1)\nprint('end')")
    };

    let restart = run("tests/cluster/part", &["restart", "containerd"]);
    let (answer, ()) = during(&sandbox, 2, &wait(50), restart).await;
    let executed = answer.expect("it is answered");
    assert_eq!(
        (executed.status, executed.output.as_str()),
        (Status::Ok, "begun\nend\n")
    );

    let away = async {
        run("tests/cluster/part", &["stop", "apiserver"]).await;
        // So long it stays away: that is what is tested.
        sleep(Duration::from_secs(20)).await;
        run("tests/cluster/part", &["start", "apiserver"]).await;
    };
    let (answer, ()) = during(&sandbox, 3, &wait(300), away).await;
    let executed = answer.expect("it is answered");
    assert_eq!(
        (executed.status, executed.output.as_str()),
        (Status::Ok, "begun\nend\n")
    );
    assert_eq!(output(&sandbox, 4, "x").await, "[1, 1]\n");
    sandbox.remove().await.unwrap();
}
