//! Torture: thousands of calls while the stream is cut at random offsets, either way.
//!
//! Each call leaves a mark in its session and shows a text that no other call shows. In the end each mark is
//! there once and each text came back whole. The last line counts; the exit code is 1 if anything went wrong.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cataloger::sandbox::client::{Attach, Client, Timing};
use cataloger::sandbox::{CallId, Cell, Sandbox};
use cataloger_tests::cutting::Cutting;
use cataloger_tests::place::{Place, Subject, identity};
use clap::Parser;

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
    /// In containers of the image instead of processes.
    #[arg(long)]
    container: bool,
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
    let place = if arguments.container {
        Place::Container
    } else {
        Place::Local
    };
    let subject = Subject::bare(place).await;
    let mut tally = Tally::default();
    let dial = Cutting::new(subject.dial(), arguments.seed * 1000 + number, arguments.mean);
    let cuts = dial.cuts();
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
        let mut seen = String::new();
        let mut show = |chunk: cataloger::sandbox::Chunk| seen.push_str(&chunk.text);
        match client.execute(CallId(call), &cell, &mut show).await {
            Ok(executed) => {
                if executed.output != wanted || !wanted.starts_with(&seen) {
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
    tally.cuts = cuts.load(Ordering::Relaxed);
    drop(client);
    subject.discard().await;
    tally
}
