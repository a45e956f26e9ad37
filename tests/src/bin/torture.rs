//! Torture: thousands of calls while the stream is cut at random offsets, either way.
//!
//! Over exec it is cut in three places: here, between here and the API server, and in the Pod, where the thin client
//! is killed.
//!
//! Each call leaves a mark in its session and shows a text that no other call shows. In the end each mark is
//! there once and each text came back whole. The last line counts; the exit code is 1 if anything went wrong.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cataloger::sandbox::client::{Attach, Client, Dial, Timing};
use cataloger::sandbox::pod::exec::ExecDial;
use cataloger::sandbox::{CallId, Cell, Sandbox};
use cataloger_tests::cluster::SANDBOXES;
use cataloger_tests::cutting::Cutting;
use cataloger_tests::place::{AnyDial, Place, Subject, identity};
use cataloger_tests::relay::Relay;
use clap::Parser;
use tokio::io::AsyncReadExt as _;
use tokio::task::AbortHandle;

/// How long thin clients in a Pod are left in peace.
const KILLS: Duration = Duration::from_millis(700);

/// Calls over streams that are cut at random.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many calls in all.
    #[arg(long, default_value_t = 10_000)]
    calls: u64,
    /// Sandboxes at the same time, which share the calls.
    #[arg(long, default_value_t = 4)]
    sandboxes: u64,
    /// After how many bytes a stream is cut, on average.
    #[arg(long, default_value_t = 5_000)]
    mean: u64,
    /// Makes a run that can be repeated.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// In Pods of the tests' cluster instead of processes.
    #[arg(long)]
    pods: bool,
}

/// What went wrong in one sandbox, and how often its streams were cut.
#[derive(Debug, Default)]
struct Tally {
    cuts: u64,
    lost: u64,
    twice: u64,
    mixed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arc::new(Arguments::parse());
    let began = Instant::now();
    let tasks: Vec<_> = (0..arguments.sandboxes)
        .map(|number| tokio::spawn(torture(Arc::clone(&arguments), number)))
        .collect();
    let mut sum = Tally::default();
    for task in tasks {
        match task.await {
            Ok(tally) => {
                sum.cuts += tally.cuts;
                sum.lost += tally.lost;
                sum.twice += tally.twice;
                sum.mixed += tally.mixed;
            }
            Err(error) => {
                eprintln!("torture: a sandbox failed: {error}");
                sum.lost += 1;
            }
        }
    }
    println!(
        "torture: {:.0} s with seed {}",
        began.elapsed().as_secs_f64(),
        arguments.seed
    );
    println!(
        "torture: calls={} cuts={} lost={} twice={} mixed={}",
        arguments.calls, sum.cuts, sum.lost, sum.twice, sum.mixed
    );
    let clean = sum.cuts > 0 && sum.lost + sum.twice + sum.mixed == 0;
    ExitCode::from(u8::from(!clean))
}

/// A text that belongs to one call of one sandbox; most are short, some long.
fn expected(sandbox: u64, call: u64) -> String {
    let length = match call % 50 {
        0 => 40_000,
        7 | 19 => 3_000,
        n => n + 1,
    };
    format!("<{sandbox}.{call}>").repeat(usize::try_from(length).unwrap_or(1))
}

async fn torture(arguments: Arc<Arguments>, number: u64) -> Tally {
    let place = if arguments.pods { Place::Pod } else { Place::Local };
    let subject = Subject::bare(place).await;
    let mut tally = Tally::default();
    let seed = arguments.seed * 1000 + number;
    let between = if arguments.pods {
        Some(Between::start(&subject, seed, arguments.mean).await)
    } else {
        None
    };
    let dial = match &between {
        Some(between) => between.dial(&subject),
        None => subject.dial(),
    };
    let dial = Cutting::new(dial, seed, arguments.mean);
    let mut cuts = vec![dial.cuts()];
    cuts.extend(
        between
            .iter()
            .flat_map(|between| [between.relay.cuts(), Arc::clone(&between.killed)]),
    );
    let attach = Attach::Existing {
        boot: Some(subject.sandbox().boot()),
    };
    let client = match Client::connect(dial, identity(2), attach, Timing::default()).await {
        Ok(client) => client,
        Err(error) => panic!("no connection: {error}"),
    };
    let share =
        arguments.calls / arguments.sandboxes + u64::from(number < arguments.calls % arguments.sandboxes);
    for call in 1..=share {
        let wanted = expected(number, call);
        let times = wanted.len() / format!("<{number}.{call}>").len();
        let cell = Cell {
            output_limit: 1 << 20,
            ..Cell::new(format!(
                "marks = globals().get('marks', [])\nmarks.append({call})\nprint('<{number}.{call}>' * {times}, end='')"
            ))
        };
        let mut shown = String::new();
        let mut show = |chunk: cataloger::sandbox::Chunk| shown.push_str(&chunk.text);
        match client.execute(CallId(call), &cell, &mut show).await {
            Ok(executed) => {
                if executed.output != wanted || !wanted.starts_with(&shown) {
                    eprintln!(
                        "torture: call {number}.{call} was answered by {:.100}",
                        executed.output
                    );
                    tally.mixed += 1;
                }
            }
            Err(error) => {
                eprintln!("torture: call {number}.{call}: {error}");
                tally.lost += 1;
            }
        }
        // Not each one, so that several answers wait at times.
        if call % 3 == 0 && client.acknowledge(CallId(call)).await.is_err() {
            tally.lost += 1;
        }
    }
    let count = Cell::new("from collections import Counter\nc = Counter(marks)\nlen(c), sum(c.values())");
    match client.execute(CallId(share + 1), &count, &mut |_| {}).await {
        Ok(executed) => {
            let mut counts = executed
                .output
                .trim()
                .trim_matches(['(', ')'])
                .split(", ")
                .map(str::parse::<u64>);
            match (counts.next(), counts.next()) {
                (Some(Ok(distinct)), Some(Ok(all))) => {
                    tally.lost += share.saturating_sub(distinct);
                    tally.twice += all.saturating_sub(distinct);
                }
                _ => tally.lost += 1,
            }
        }
        Err(error) => {
            eprintln!("torture: the count of {number}: {error}");
            tally.lost += 1;
        }
    }
    tally.cuts = cuts.iter().map(|cuts| cuts.load(Ordering::Relaxed)).sum();
    drop(client);
    drop(between);
    subject.discard().await;
    tally
}

/// What breaks a stream to a Pod beyond this process.
struct Between {
    relay: Relay,
    client: kube::Client,
    killed: Arc<AtomicU64>,
    killing: AbortHandle,
}

impl Drop for Between {
    fn drop(&mut self) {
        self.killing.abort();
    }
}

/// Kills the thin clients of a Pod, from a process beside them, and says how many.
const KILL: &str = "\
import os
killed = 0
for name in os.listdir('/proc'):
    try:
        if name.isdigit() and b'connect' in open(f'/proc/{name}/cmdline', 'rb').read().split(b'\\0')[:6]:
            os.kill(int(name), 9)
            killed += 1
    except OSError: pass
print(killed)
";

impl Between {
    async fn start(subject: &Subject, seed: u64, mean: u64) -> Self {
        let (sandbox, cluster) = subject.pod();
        // A TLS handshake alone is about 4 KB.
        let (client, relay) = cluster.relayed(seed, 8_000 + 2 * mean).await;
        let killed = Arc::new(AtomicU64::new(0));
        let python = ["/opt/venv/bin/python", "-I", "-S", "-c", KILL];
        let dial = ExecDial::of(cluster.pods(), sandbox.name(), sandbox.uid(), python);
        let killing = tokio::spawn(kill(dial, Arc::clone(&killed))).abort_handle();
        Self {
            relay,
            client,
            killed,
            killing,
        }
    }

    fn dial(&self, subject: &Subject) -> AnyDial {
        let (sandbox, _) = subject.pod();
        let pods = kube::Api::namespaced(self.client.clone(), SANDBOXES);
        AnyDial(Box::new(ExecDial::new(pods, sandbox.name(), sandbox.uid())))
    }
}

async fn kill(dial: ExecDial, killed: Arc<AtomicU64>) {
    loop {
        let Ok(mut connection) = dial.dial().await else {
            continue;
        };
        let mut said = String::new();
        let _ = connection.reader.read_to_string(&mut said).await;
        killed.fetch_add(said.trim().parse().unwrap_or(0), Ordering::Relaxed);
        tokio::time::sleep(KILLS).await;
    }
}
