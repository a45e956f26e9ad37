//! Many at once.

use cataloger::sandbox::Sandbox;
use cataloger_tests::cluster::Cluster;
use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ListParams;

use crate::{bare, on_the_cluster, open, output};

on_the_cluster!(ten_at_once);

async fn ten_at_once(cluster: Cluster) {
    let run = format!("many-{}", std::process::id());
    let opened = join_all((0..10).map(|_| {
        let mut options = bare(&cluster);
        options.owner.run.clone_from(&run);
        let small = [("cpu", "10m"), ("memory", "64Mi")];
        let small = small.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())));
        options.shape.resources.requests = Some(small.into());
        open(options)
    }))
    .await;
    let sandboxes: Vec<_> = opened.into_iter().map(|it| it.expect("it starts")).collect();
    let answers = join_all(
        sandboxes
            .iter()
            .zip(0..)
            .map(|(it, n)| async move { output(it, 1, &format!("{n} * {n}")).await }),
    )
    .await;
    let expected: Vec<_> = (0..10).map(|n| format!("{}\n", n * n)).collect();
    assert_eq!(answers, expected);
    for closed in join_all(sandboxes.iter().map(Sandbox::close)).await {
        closed.expect("it is closed");
    }
    let left = ListParams::default().labels(&format!("cataloger.dev/run={run}"));
    assert!(cluster.pods().list(&left).await.unwrap().items.is_empty());
}
