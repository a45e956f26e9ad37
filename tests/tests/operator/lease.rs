//! The election of a leader, at a real API server.

use std::time::Duration;

use cataloger::runtime::lease::{Leadership, LeaseOptions, acquire};
use cataloger_tests::cluster::{Cluster, SANDBOXES, cluster};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Short, so that nobody waits for long.
const DURATION: Duration = Duration::from_secs(3);

async fn lead(cluster: &Cluster, lease: &str, identity: &str) -> Leadership {
    let options = LeaseOptions::new(SANDBOXES, lease, identity).lasting(DURATION);
    let never = CancellationToken::new();
    let leadership = acquire(cluster.admin.clone(), &options, &never, &|| {})
        .await
        .unwrap();
    leadership.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_goes_from_one_to_the_next() {
    let cluster = cluster().await;
    let leases: Api<Lease> = Api::namespaced(cluster.admin.clone(), SANDBOXES);
    let name = format!("lease-{:08x}", rand::random::<u32>());
    let first = lead(&cluster, &name, "first").await;
    assert_eq!(first.epoch(), 1);
    let old = leases.get(&name).await.unwrap();

    let next = |identity: &'static str| {
        let (cluster, name) = (cluster.clone(), name.clone());
        tokio::spawn(async move {
            let leadership = lead(&cluster, &name, identity).await;
            (leadership, Instant::now())
        })
    };
    let waiting = next("second");
    let lost = first.lost();
    first.release().await.unwrap();
    let released = Instant::now();
    let (second, taken) = waiting.await.unwrap();
    assert!(lost.is_cancelled());
    assert_eq!(second.epoch(), 2);
    assert!(
        taken < released + Duration::from_secs(2),
        "{:?}",
        taken - released
    );

    // What the first has in its hands is of no use any more.
    let refused = leases.replace(&name, &PostParams::default(), &old).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 409));
    assert!(second.is_held_now());

    // Gone without a word: it is waited for until it is over.
    let waiting = next("third");
    let (lost, gone) = (second.lost(), Instant::now());
    drop(second);
    assert!(lost.is_cancelled());
    let (third, taken) = waiting.await.unwrap();
    assert_eq!(third.epoch(), 3);
    let waited = taken - gone;
    assert!(waited > DURATION / 2 && waited < DURATION * 3, "{waited:?}");
    third.release().await.unwrap();
    let spec = leases.get(&name).await.unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity, spec.lease_transitions), (None, Some(2)));
    leases.delete(&name, &DeleteParams::default()).await.unwrap();
}
