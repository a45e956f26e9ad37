//! How long a run stands still when its operator dies, and what it costs to be able to go on. The model is played, so
//! that it can be seen when it is asked again.

use std::time::{Duration, Instant};

use cataloger_tests::author::{Author, Move, page};
use cataloger_tests::cluster::apply;
use cataloger_tests::measure::Times;
use cataloger_tests::model_server::{KEY, ModelServer};
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::process::Process;
use super::{catalog, succeeded};

/// How many pieces of code are run before the page.
const CELLS: usize = 10;
/// The operator dies while this request has no answer yet.
const FATAL: usize = 9;
/// How long the model takes for an answer: real ones take longer.
const ANSWER: Duration = Duration::from_secs(1);
/// How often it is looked whether the model was asked.
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_mins(3);

/// Runs that are left alone, and some whose operator is killed, with the sandbox left and with it gone.
pub(super) async fn all(operator: &mut Process, number: usize) {
    let server = ModelServer::start().await;
    server.think(author().brain());
    provider(operator, &server).await;
    let (mut first, mut kept, mut replayed) = (Times::default(), Times::default(), Times::default());
    journal(operator, &server).await;
    for turn in 0..number {
        first.add(begin(operator, &server, &format!("first-{turn}")).await);
        succeeded(operator, &format!("first-{turn}")).await;
        for (times, gone) in [(&mut kept, false), (&mut replayed, true)] {
            let name = format!("killed-{turn}-{gone}");
            times.add(killed(operator, &server, &name, gone).await);
            succeeded(operator, &name).await;
        }
    }
    println!("bench: operator from the apply of a Catalog to the first request to its model {first}");
    println!(
        "bench: operator killed and started anew, to the next request, with the sandbox kept {kept} ratio={:.2}",
        kept.ratio(&first)
    );
    println!(
        "bench: the same with the sandbox gone and {} pieces of code run again {replayed} ratio={:.2}",
        FATAL - 1,
        replayed.ratio(&first)
    );
}

fn author() -> Author {
    let mut author = Author {
        latency: ANSWER,
        ..Author::default()
    };
    let cells = (0..CELLS).map(|at| Move::Execute(format!("value_{at} = {at}\nvalue_{at}")));
    author.catalog = cells.chain([Move::Submit(page("<p>Done</p>"))]).collect();
    author
}

async fn provider(operator: &Process, server: &ModelServer) {
    let metadata = json!({"name": "played", "namespace": operator.tenant()});
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": KEY}});
    apply(&operator.cluster.admin, &secret).await;
    let spec = json!({
        "anthropic": {"apiKeySecretRef": {"name": "played", "key": "key"}, "baseURL": server.url()},
        "defaultModel": "claude-sonnet-5-5",
    });
    let provider = json!({
        "apiVersion": "cataloger.dev/v1alpha1", "kind": "ModelProvider", "metadata": metadata, "spec": spec,
    });
    apply(&operator.cluster.admin, &provider).await;
}

/// Begins a run; how long it takes until the model is asked.
async fn begin(operator: &Process, server: &ModelServer, name: &str) -> Duration {
    let (asked, began) = (server.requests().len(), Instant::now());
    let mut manifest = catalog(operator, name, false);
    manifest["spec"]["model"] = json!({"providerRef": {"name": "played"}});
    apply(&operator.cluster.admin, &manifest).await;
    requests(operator, server, asked + 1).await;
    began.elapsed()
}

/// Waits until the model was asked so often.
async fn requests(operator: &Process, server: &ModelServer, number: usize) {
    let asked = async {
        while server.requests().len() < number {
            sleep(PAUSE).await;
        }
    };
    let asked = timeout(PATIENCE, asked).await;
    asked.unwrap_or_else(|_| panic!("the model is not asked: {}", operator.told()));
}

/// Kills the operator in a run; how long it takes until the model is asked again.
async fn killed(operator: &mut Process, server: &ModelServer, name: &str, gone: bool) -> Duration {
    let before = server.requests().len();
    begin(operator, server, name).await;
    requests(operator, server, before + FATAL).await;
    let began = Instant::now();
    let pods = operator.pods();
    let loss = async {
        if gone {
            let at_once = DeleteParams::default().grace_period(0);
            let all = ListParams::default();
            let deleted = pods.delete_collection(&at_once, &all).await;
            deleted.expect("Pods can be deleted");
        }
    };
    operator.reborn(loss).await;
    requests(operator, server, before + FATAL + 1).await;
    began.elapsed()
}

/// What the journal of a run costs.
async fn journal(operator: &Process, server: &ModelServer) {
    const CREATE: &str = "operation=\"create\"";
    let (before, asked, began) = (operator.metrics().await, server.requests().len(), Instant::now());
    begin(operator, server, "journal").await;
    succeeded(operator, "journal").await;
    let (after, took) = (operator.metrics().await, began.elapsed().as_secs_f64());
    let more = |name| after.sum(name, CREATE, &[]) - before.sum(name, CREATE, &[]);
    let (writes, seconds) = (
        more("cataloger_bucket_calls_total"),
        more("cataloger_bucket_call_seconds_sum"),
    );
    let turns = f64::from(u32::try_from(server.requests().len() - asked).expect("a small number"));
    println!(
        "bench: operator, for a turn of a run (the model takes {:.0} ms of it): {:.2} entries of the journal, pages and claim among them, which take {:.0} ms; share of the run={:.3}",
        ANSWER.as_secs_f64() * 1000.0,
        writes / turns,
        seconds / turns * 1000.0,
        seconds / took
    );
}
