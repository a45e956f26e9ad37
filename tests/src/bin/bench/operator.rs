//! The operator: what it needs while nothing happens, and for a run.
//!
//! It is a process of this machine, in front of the tests' API server; sandboxes are Pods, and the model is the builtin
//! one. The database is the sample shop in `PostgreSQL`.

mod process;
mod recovery;
pub(crate) mod schedules;

use std::time::{Duration, Instant};

use cataloger::api::Catalog;
use cataloger::api::catalog::Phase;
use cataloger::sandbox::pod::manifest;
use cataloger_tests::cluster::{SANDBOXES, apply, owner};
use cataloger_tests::measure::Times;
use cataloger_tests::operator::{handled, phase, until};
use cataloger_tests::served::Served;
use futures::future::{Either, join_all, select};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

use self::process::Process;
use crate::usage::{self, mebibytes};

/// How long runs may take.
const PATIENCE: Duration = Duration::from_mins(15);
/// How many Catalogs are created at once.
const HANDS: usize = 16;
/// How often memory is looked at.
const PAUSE: Duration = Duration::from_millis(200);

/// How much of everything there is.
pub(crate) struct Size {
    /// How many Catalogs do nothing.
    pub(crate) catalogs: u32,
    /// How many runs there are at once.
    pub(crate) runs: usize,
    /// How many runs there are one after the other.
    pub(crate) starts: usize,
    /// How long it is watched while nothing happens.
    pub(crate) idle: Duration,
}

/// All of it.
pub(crate) async fn all(size: Size) {
    let Some(mut operator) = Process::start(size.runs).await else {
        println!("bench: the operator is left out: the cluster has neither its bucket nor its databases");
        return;
    };
    let nothing = idle(&operator, 0, size.idle).await;
    println!(
        "bench: operator without Catalogs: resident memory {:.1} MiB",
        mebibytes(nothing)
    );
    suspended(&operator, size.catalogs).await;
    let many = idle(&operator, size.catalogs, size.idle).await;
    println!(
        "bench: operator with {} idle Catalogs: resident memory {:.1} MiB ratio to none={:.2}",
        size.catalogs,
        mebibytes(many),
        mebibytes(many) / mebibytes(nothing)
    );
    let shop = Served::postgres_shop();
    let url = shop.reader();
    let metadata = json!({"name": "shop", "namespace": operator.tenant()});
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"url": url}});
    apply(&operator.cluster.admin, &secret).await;
    let alone = starts(&operator, size.starts).await;
    at_once(&operator, size.runs, alone).await;
    recovery::all(&mut operator, size.starts).await;
    operator.end().await;
}

/// What it asks of the API server while nothing happens; its memory after it.
async fn idle(operator: &Process, catalogs: u32, stretch: Duration) -> u64 {
    const CALLS: &str = "cataloger_api_calls_total";
    operator.rests().await;
    let (before, worked) = (operator.metrics().await, usage::processor(operator.pid()));
    tokio::time::sleep(stretch).await;
    let (after, worked) = (
        operator.metrics().await,
        usage::processor(operator.pid()).saturating_sub(worked),
    );
    let calls = after.sum(CALLS, "", &[]) - before.sum(CALLS, "", &[]);
    let others = |metrics: &process::Metrics| metrics.sum(CALLS, "", &["\"leases\""]);
    let others = others(&after) - others(&before);
    let writes = |metrics: &process::Metrics| {
        metrics.sum("cataloger_status_writes_total", "", &[]) + metrics.sum(CALLS, "/status\"", &[])
    };
    let writes = writes(&after) - writes(&before);
    let hour = 3600.0 / stretch.as_secs_f64();
    println!(
        "bench: operator with {catalogs} idle Catalogs for {:.0} s: {calls} API calls, {others} of them not for its lease, {writes} writes of a status (goal: 0); on a processor {:.2} s",
        stretch.as_secs_f64(),
        worked.as_secs_f64(),
    );
    if catalogs > 0 {
        println!(
            "bench: operator, for a Catalog and an hour: {:.3} API calls besides the lease's, {:.3} writes",
            others * hour / f64::from(catalogs),
            writes * hour / f64::from(catalogs),
        );
    }
    for (series, more) in after.more(&before, CALLS) {
        println!("bench:   {series} {more}");
    }
    usage::resident(operator.pid()).expect("it runs")
}

/// Creates Catalogs that are suspended, and waits until each has a status.
async fn suspended(operator: &Process, number: u32) {
    let (api, began) = (operator.catalogs(), Instant::now());
    stream::iter(0..number)
        .for_each_concurrent(HANDS, async |index| {
            let catalog = catalog(operator, &format!("idle-{index}"), true);
            let catalog: Catalog = serde_json::from_value(catalog).expect("a Catalog");
            let created = api.create(&PostParams::default(), &catalog).await;
            created.expect("it is created");
        })
        .await;
    let created = began.elapsed();
    operator.rests().await;
    let all = api
        .list(&ListParams::default())
        .await
        .expect("they can be listed");
    let silent = all.items.iter().filter(|catalog| !handled(catalog)).count();
    assert_eq!(silent, 0, "no status: {}", operator.told());
    println!(
        "bench: {number} suspended Catalogs created in {:.1} s",
        created.as_secs_f64()
    );
}

/// The first Pod that is added while something is done; how long that takes.
async fn added(pods: &Api<Pod>, something: impl Future<Output = ()>) -> Duration {
    let there = pods
        .list_metadata(&ListParams::default())
        .await
        .expect("they can be listed");
    let version = there.metadata.resource_version.expect("a list has one");
    let events = pods
        .watch(&WatchParams::default(), &version)
        .await
        .expect("they can be watched");
    let mut events = Box::pin(events);
    let began = Instant::now();
    let seen = Box::pin(async {
        loop {
            let event = events
                .next()
                .await
                .expect("the watch goes on")
                .expect("a good event");
            if matches!(event, WatchEvent::Added(_)) {
                return began.elapsed();
            }
        }
    });
    match select(seen, Box::pin(something)).await {
        Either::Left((took, something)) => {
            something.await;
            took
        }
        Either::Right(((), seen)) => tokio::time::timeout(PATIENCE, seen).await.expect("a Pod comes"),
    }
}

/// Runs one after the other: from the apply of a Catalog to its Pod, against a plain Pod from its create to the word of
/// it; time on a processor. What one takes.
async fn starts(operator: &Process, number: usize) -> Duration {
    let (mut pods, mut plain, mut whole) = (Times::default(), Times::default(), Times::default());
    let mut worked = Duration::ZERO;
    for turn in 0..=number {
        let name = format!("run-{turn}");
        let (before, began) = (usage::processor(operator.pid()), Instant::now());
        let manifest = catalog(operator, &name, false);
        let pod = added(&operator.pods(), apply(&operator.cluster.admin, &manifest)).await;
        succeeded(operator, &name).await;
        let took = began.elapsed();
        operator.rests().await;
        // The first one finds everything cold.
        if turn > 0 {
            pods.add(pod);
            whole.add(took);
            worked += usage::processor(operator.pid()).saturating_sub(before);
            plain.add(plain_pod(operator).await);
        }
    }
    println!("bench: operator from the apply of a Catalog to its Pod {pods} (goal: p50 of 100 ms)");
    println!(
        "bench: plain Pod from create to the word of it {plain} ratio={:.1}",
        pods.ratio(&plain)
    );
    print_worked(number, worked, "one after the other", whole.percentile(50));
    whole.percentile(50)
}

fn print_worked(number: usize, worked: Duration, how: &str, one: Duration) {
    let each = worked.as_secs_f64() / f64::from(u32::try_from(number).expect("a small number").max(1));
    println!(
        "bench: operator's time on a processor for a run, of {number} {how}: {each:.2} s; a run takes {:.1} s ratio={:.3}",
        one.as_secs_f64(),
        each / one.as_secs_f64()
    );
}

async fn plain_pod(operator: &Process) -> Duration {
    let (pods, options) = (operator.pods(), operator.cluster.options());
    let mut pod = manifest::pod(&owner(), SANDBOXES, &options.shape, &options.names);
    // There nobody else's Pods come and go.
    pod.metadata.namespace = None;
    let name = pod.metadata.name.clone().expect("it has one");
    let took = added(&pods, async {
        let created = pods.create(&PostParams::default(), &pod).await;
        created.expect("it is created");
    })
    .await;
    let at_once = DeleteParams::default().grace_period(0);
    pods.delete(&name, &at_once).await.expect("it is there");
    took
}

/// As many runs at once: memory, time on a processor, time.
async fn at_once(operator: &Process, number: usize, alone: Duration) {
    let names: Vec<String> = (0..number).map(|index| format!("many-{index}")).collect();
    let idle = usage::resident(operator.pid()).expect("it runs");
    let (before, began) = (usage::processor(operator.pid()), Instant::now());
    let running = join_all(names.iter().map(async |name| {
        apply(&operator.cluster.admin, &catalog(operator, name, false)).await;
        succeeded(operator, name).await;
    }));
    let (mut running, mut peak, mut most) = (Box::pin(running), idle, 0.0_f64);
    loop {
        let pause = Box::pin(tokio::time::sleep(PAUSE));
        let Either::Right(((), rest)) = select(running, pause).await else {
            break;
        };
        running = rest;
        peak = peak.max(usage::resident(operator.pid()).unwrap_or_default());
        most = most.max(operator.metrics().await.sum("cataloger_active_runs", "", &[]));
    }
    let took = began.elapsed();
    let worked = usage::processor(operator.pid()).saturating_sub(before);
    println!(
        "bench: operator with {number} runs, {most} at once: resident memory at its most {:.1} MiB, before {:.1} MiB ratio={:.2}",
        mebibytes(peak),
        mebibytes(idle),
        mebibytes(peak) / mebibytes(idle)
    );
    println!(
        "bench: {number} runs at once all done after {:.1} s, one alone {:.1} s ratio={:.1}",
        took.as_secs_f64(),
        alone.as_secs_f64(),
        took.as_secs_f64() / alone.as_secs_f64()
    );
    print_worked(number, worked, "at once", took);
}

/// Waits until a Catalog's run has succeeded.
async fn succeeded(operator: &Process, name: &str) {
    let ended = until(&operator.catalogs(), name, PATIENCE, |catalog| {
        handled(catalog) && matches!(phase(catalog), Some(Phase::Succeeded | Phase::Failed))
    })
    .await;
    match ended {
        Ok(catalog) if phase(&catalog) == Some(Phase::Succeeded) => {}
        other => panic!("{other:#?}\n{}", operator.told()),
    }
}

/// A Catalog of the shop, whose sandbox asks for little: the node has to take many.
fn catalog(operator: &Process, name: &str, suspend: bool) -> Value {
    let requests = json!({"cpu": "1m", "memory": "32Mi"});
    json!({
        "apiVersion": "cataloger.dev/v1alpha1", "kind": "Catalog",
        "metadata": {"name": name, "namespace": operator.tenant()},
        "spec": {
            "database": {"secretRef": {"name": "shop"}},
            "tables": ["customers", "orders"],
            "storage": {"s3": {"prefix": name}},
            "sandbox": {"resources": {"requests": requests, "limits": {"cpu": "2", "memory": "1Gi"}}},
            "suspend": suspend,
        },
    })
}
