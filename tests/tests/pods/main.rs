//! The sandbox as a Pod, on a real cluster: how it starts, how it is lost, what holds it, and what it reaches.
//!
//! How it behaves once it runs is the suite `sandbox`, which runs over Pods as over processes.

mod adopt;
mod cell;
mod loss;
mod many;
mod reach;
mod start;

use std::future::Future;
use std::time::Duration;

use cataloger::sandbox::pod::{PodOptions, PodSandbox};
use cataloger::sandbox::{CallId, Cell, Executed, Sandbox, SandboxError, Variables};
use cataloger_tests::cluster::Cluster;

/// No test hangs. The first one may have to wait for the cluster.
async fn within_deadline(scenario: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_mins(4), Box::pin(scenario))
        .await
        .expect("the test ends in time");
}

/// Whoever needs a cluster that answers reads it; whoever stops a part of the cluster writes it.
static CALM: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

/// Makes a test of each scenario.
macro_rules! on_the_cluster {
    ($($scenario:ident),+ $(,)?) => {
        mod on_the_cluster {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    crate::within_deadline(async {
                        let _calm = crate::CALM.read().await;
                        super::$scenario(cataloger_tests::cluster::cluster().await).await;
                    })
                    .await;
                }
            )+
        }
    };
}
pub(crate) use on_the_cluster;

/// Options for a sandbox that starts quickly: without the data packages.
fn bare(cluster: &Cluster) -> PodOptions {
    let mut options = cluster.options();
    options.shape.arguments = vec!["--preload".into(), String::new()];
    options
}

async fn open(options: PodOptions) -> Result<PodSandbox, SandboxError> {
    PodSandbox::open(options, None, &Variables::new()).await
}

async fn execute(sandbox: &PodSandbox, id: u64, code: &str) -> Result<Executed, SandboxError> {
    sandbox.execute(CallId(id), &Cell::new(code), &mut |_| {}).await
}

/// Runs code that must end well; its output.
async fn output(sandbox: &PodSandbox, id: u64, code: &str) -> String {
    let executed = execute(sandbox, id, code).await.expect("it is answered");
    assert!(executed.ok, "{code}: {executed:?}");
    executed.output
}

/// Runs code that prints as soon as it runs, and does something else meanwhile; both results.
async fn during<T>(
    sandbox: &PodSandbox,
    id: u64,
    code: &str,
    event: impl Future<Output = T>,
) -> (Result<Executed, SandboxError>, T) {
    let (sender, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let mut show = move |_| {
        let _ = sender.send(());
    };
    let code = format!("print('begun')\n{code}");
    let cell = Cell::new(code);
    let answer = sandbox.execute(CallId(id), &cell, &mut show);
    let event = async {
        begun.recv().await.expect("it begins");
        event.await
    };
    tokio::join!(answer, event)
}
