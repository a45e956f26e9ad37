//! The sandbox in Pods: starts, lost streams, and many at once.

use std::time::Instant;

use cataloger::sandbox::client::{Attach, Client, Timing};
use cataloger::sandbox::pod::exec::ExecDial;
use cataloger::sandbox::pod::{PodOptions, PodSandbox, manifest};
use cataloger::sandbox::{CallId, Cell, Sandbox, Variables};
use cataloger_tests::cluster::{Cluster, SANDBOXES, cluster, owner};
use cataloger_tests::measure::Times;
use cataloger_tests::place::{Place, Subject, identity};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube_runtime::wait::{await_condition, conditions};

fn options(cluster: &Cluster, packages: bool) -> PodOptions {
    let mut options = cluster.options();
    if !packages {
        options.shape.arguments = vec!["--preload".into(), String::new()];
    }
    options
}

async fn answered(sandbox: &dyn Sandbox, id: u64) {
    let executed = sandbox
        .execute(CallId(id), &Cell::new("1"), &mut |_| {})
        .await
        .expect("it is answered");
    assert_eq!(executed.output, "1\n");
}

/// From create to the first line of Python, against a plain Pod of the same image from create to Ready.
pub(crate) async fn starts(number: usize) {
    let cluster = cluster().await;
    let (mut plain, mut first, mut packed) = (Times::default(), Times::default(), Times::default());
    for turn in 0..=number {
        let took = [
            plain_start(&cluster).await,
            start(&cluster, false).await,
            start(&cluster, true).await,
        ];
        // The first one finds everything cold.
        if turn > 0 {
            plain.add(took[0]);
            first.add(took[1]);
            packed.add(took[2]);
        }
    }
    println!("bench: Pod plain, from create to ready {plain}");
    println!(
        "bench: Pod from create to the first answer without packages {first} ratio={:.2} (goal: 1.5)",
        first.ratio(&plain)
    );
    println!(
        "bench: Pod from create to the first answer with packages {packed} ratio={:.2}",
        packed.ratio(&plain)
    );
}

async fn start(cluster: &Cluster, packages: bool) -> std::time::Duration {
    let began = Instant::now();
    let sandbox = PodSandbox::open(options(cluster, packages), None, &Variables::new())
        .await
        .expect("a Pod starts");
    answered(&sandbox, 1).await;
    let took = began.elapsed();
    sandbox.close().await.expect("it is closed");
    took
}

async fn plain_start(cluster: &Cluster) -> std::time::Duration {
    let options = options(cluster, false);
    let pod = manifest::pod(&owner(), SANDBOXES, &options.shape, &options.names);
    let name = pod.metadata.name.clone().expect("it has one");
    let pods = cluster.pods();
    let began = Instant::now();
    pods.create(&PostParams::default(), &pod)
        .await
        .expect("it is created");
    await_condition(pods.clone(), &name, conditions::is_pod_running())
        .await
        .expect("it runs");
    let took = began.elapsed();
    pods.delete(&name, &DeleteParams::default().grace_period(0))
        .await
        .expect("it is deleted");
    took
}

/// From a stream that breaks on its way to the next answer.
pub(crate) async fn losses(number: usize) {
    let subject = Subject::bare(Place::Pod).await;
    let (sandbox, cluster) = subject.pod();
    let (admin, relay) = cluster.relayed(1, 1 << 40).await;
    let pods: Api<Pod> = Api::namespaced(admin, SANDBOXES);
    let dial = ExecDial::new(pods, sandbox.name(), sandbox.uid());
    let attach = Attach::Existing {
        boot: Some(sandbox.boot()),
    };
    let client = Client::connect(dial, identity(2), attach, Timing::default())
        .await
        .expect("it connects");
    let (mut lost, mut whole) = (Times::default(), Times::default());
    let mut id = 0;
    for _ in 0..number {
        for (times, cut) in [(&mut whole, false), (&mut lost, true)] {
            id += 1;
            if cut {
                relay.cut();
            }
            let began = Instant::now();
            answered(&client, id).await;
            times.add(began.elapsed());
            client.acknowledge(CallId(id)).await.expect("it is heard");
        }
    }
    println!(
        "bench: Pod from a lost stream to the next answer {lost} (goal: p50 under 150 ms) ratio to a call={:.1}",
        lost.ratio(&whole)
    );
    drop(client);
    subject.discard().await;
}

/// Many with little each: they start, answer over as many streams, and go away.
pub(crate) async fn many(number: usize) {
    const CALLS: u64 = 20;
    let cluster = cluster().await;
    let began = Instant::now();
    let opened = join_all((0..number).map(|_| {
        let mut options = options(&cluster, false);
        let small = [("cpu", "1m"), ("memory", "32Mi")];
        let small = small.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())));
        options.shape.resources.requests = Some(small.into());
        async {
            let began = Instant::now();
            let sandbox = PodSandbox::open(options, None, &Variables::new()).await;
            let sandbox = sandbox.expect("a Pod starts");
            answered(&sandbox, 1).await;
            (sandbox, began.elapsed())
        }
    }))
    .await;
    let all = began.elapsed();
    let (mut starts, mut calls, mut alone) = (Times::default(), Times::default(), Times::default());
    let mut sandboxes = Vec::new();
    for (sandbox, took) in opened {
        starts.add(took);
        sandboxes.push(sandbox);
    }
    println!(
        "bench: {number} Pods at once, all answered after {:.1} s, each {starts}",
        all.as_secs_f64()
    );
    if let Some(sandbox) = sandboxes.first() {
        for id in 2..2 + 5 * CALLS {
            let began = Instant::now();
            answered(sandbox, id).await;
            alone.add(began.elapsed());
            sandbox.acknowledge(CallId(id)).await.expect("it is heard");
        }
    }
    let timed = join_all(sandboxes.iter().map(|sandbox| async {
        let mut took = Vec::new();
        for id in 1000..1000 + CALLS {
            let began = Instant::now();
            answered(sandbox, id).await;
            took.push(began.elapsed());
            sandbox.acknowledge(CallId(id)).await.expect("it is heard");
        }
        took
    }))
    .await;
    timed.into_iter().flatten().for_each(|took| calls.add(took));
    println!(
        "bench: {number} streams at once execute(\"1\") {calls} ratio to one alone={:.1}",
        calls.ratio(&alone)
    );
    let began = Instant::now();
    for closed in join_all(sandboxes.iter().map(Sandbox::close)).await {
        closed.expect("it is closed");
    }
    println!(
        "bench: {number} Pods went away in {:.1} s",
        began.elapsed().as_secs_f64()
    );
}
