//! Whoever comes next finds the sandbox of a run, and goes on with it; what nobody needs is swept away.

use std::time::Duration;

use cataloger::sandbox::client::{Attach, Client, Timing};
use cataloger::sandbox::pod::{PodOptions, PodSandbox, sweep};
use cataloger::sandbox::{BootId, Sandbox, SandboxError, Variables};
use cataloger_tests::cluster::{Cluster, SANDBOXES};
use cataloger_tests::place::identity;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{bare, on_the_cluster, open, output};

on_the_cluster!(
    goes_on_with_what_is_there,
    replaces_what_it_does_not_know,
    ends_well_when_it_is_told,
    leaves_nothing_behind,
    sweeps_only_what_nobody_needs,
    sweeps_the_others_when_one_stays,
);

async fn goes_on_with_what_is_there(cluster: Cluster) {
    let mut options = bare(&cluster);
    let first = open(options.clone()).await.unwrap();
    output(&first, 1, "x = 5").await;
    options.epoch = 2;
    // Knowing which one it was, and knowing nothing, as after a crash at the worst moment.
    for known in [Some(first.boot()), None] {
        let env = Variables::from_iter([("LATE", "no")]);
        let second = PodSandbox::open(options.clone(), known.as_ref(), &env)
            .await
            .unwrap();
        assert_eq!((second.uid(), second.boot()), (first.uid(), first.boot()));
        let id = second.last_call().next().0;
        assert_eq!(
            output(&second, id, "import os\nx, os.environ.get('LATE')").await,
            "(5, None)\n"
        );
        options.epoch += 1;
    }
    let error = crate::execute(&first, 9, "1").await.expect_err("it was shut out");
    assert!(matches!(error, SandboxError::Superseded { .. }), "{error}");
    let error = first.close().await.expect_err("it is another's by now");
    assert!(matches!(error, SandboxError::Superseded { .. }), "{error}");
    assert!(cluster.pods().get_opt(first.name()).await.unwrap().is_some());
    first.remove().await.unwrap();
}

async fn replaces_what_it_does_not_know(cluster: Cluster) {
    let options = bare(&cluster);
    let first = open(options.clone()).await.unwrap();
    let other: BootId = serde_json::from_str("\"00000000000000000000000000000000\"").unwrap();
    let second = PodSandbox::open(options, Some(&other), &Variables::new())
        .await
        .unwrap();
    assert_ne!(second.uid(), first.uid());
    assert_eq!(second.name(), first.name());
    assert_eq!(output(&second, 1, "1").await, "1\n");
    second.close().await.unwrap();
}

/// Its Pod has nobody who kills it then.
async fn ends_well_when_it_is_told(cluster: Cluster) {
    let sandbox = open(bare(&cluster)).await.unwrap();
    let attach = Attach::Existing {
        boot: Some(sandbox.boot()),
    };
    let other = Client::connect(sandbox.dial(), identity(2), attach, Timing::default())
        .await
        .unwrap();
    other.close().await.unwrap();
    let phase = loop {
        let pod = cluster.pods().get(sandbox.name()).await.unwrap();
        let phase = pod.status.unwrap().phase.unwrap();
        if phase != "Running" {
            break phase;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(phase, "Succeeded");
    sandbox.remove().await.unwrap();
}

async fn leaves_nothing_behind(cluster: Cluster) {
    let sandbox = open(bare(&cluster)).await.unwrap();
    let policies: Api<NetworkPolicy> = Api::namespaced(cluster.admin.clone(), SANDBOXES);
    assert!(policies.get_opt(sandbox.name()).await.unwrap().is_some());
    sandbox.close().await.unwrap();
    assert!(policies.get_opt(sandbox.name()).await.unwrap().is_none());
    assert!(cluster.pods().get_opt(sandbox.name()).await.unwrap().is_none());
    sandbox.close().await.expect("once more does no harm");
}

fn installed(cluster: &Cluster, installation: &str) -> PodOptions {
    let mut options = bare(cluster);
    options.owner.installation = format!("{installation}-{}", std::process::id());
    options
}

async fn sweeps_only_what_nobody_needs(cluster: Cluster) {
    let installed = |installation| installed(&cluster, installation);
    let (dead, alive, foreign) = tokio::join!(
        open(installed("sweep")),
        open(installed("sweep")),
        open(installed("others"))
    );
    let (dead, alive, foreign) = (dead.unwrap(), alive.unwrap(), foreign.unwrap());
    let installation = &alive.owner().installation;
    let patience = bare(&cluster).patience;
    let living = alive.owner().clone();
    let lives = |uid: &str, run: &str| (uid, run) == (living.uid.as_str(), living.run.as_str());
    let swept = sweep(&cluster.operator, SANDBOXES, installation, &patience, lives)
        .await
        .unwrap();
    assert_eq!(swept.pods, [dead.name()]);
    assert_eq!(swept.policies, [dead.name()]);
    assert_eq!(output(&alive, 1, "1").await, "1\n");
    assert_eq!(output(&foreign, 1, "1").await, "1\n");
    alive.close().await.unwrap();
    foreign.close().await.unwrap();
}

async fn sweeps_the_others_when_one_stays(cluster: Cluster) {
    let options = || installed(&cluster, "stays");
    let (one, other) = tokio::join!(open(options()), open(options()));
    let mut both = [one.unwrap(), other.unwrap()];
    both.sort_by(|one, other| one.name().cmp(other.name()));
    let [stuck, other] = &both;
    let (pods, params) = (cluster.pods(), PatchParams::default());
    let held = async |by: &[&str]| {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": by}}));
        pods.patch(stuck.name(), &params, &patch).await.unwrap();
    };
    held(&["cataloger-tests.dev/held"]).await;
    let mut patience = options().patience;
    patience.end = Duration::from_secs(10);
    let installation = &stuck.owner().installation;
    let sweep = async || {
        sweep(&cluster.operator, SANDBOXES, installation, &patience, |_, _| {
            false
        })
        .await
    };

    let error = sweep().await.expect_err("one stays");
    assert!(error.message.contains(stuck.name()), "{error}");
    assert!(pods.get_opt(other.name()).await.unwrap().is_none());
    let policies: Api<NetworkPolicy> = Api::namespaced(cluster.admin.clone(), SANDBOXES);
    assert!(policies.get_opt(other.name()).await.unwrap().is_none());
    assert!(policies.get_opt(stuck.name()).await.unwrap().is_some());

    held(&[]).await;
    sweep().await.expect("nothing holds it any more");
    assert!(pods.get_opt(stuck.name()).await.unwrap().is_none());
    assert!(policies.get_opt(stuck.name()).await.unwrap().is_none());
}
