//! Benches. They print figures, each beside something of the same run; they judge nothing.

mod catalogs;
mod operator;
mod pods;
mod runs;
mod sandbox;
mod usage;

use std::time::Duration;

use cataloger_tests::place::Place;
use clap::{Parser, ValueEnum};

use crate::catalogs::Size;

/// How many rows a table has where there are many.
const ROWS: u64 = 1000;

/// Benches of the sandbox, of runs, of catalogs and of the operator.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these parts.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// How many Pods there are at once.
    #[arg(long, default_value_t = 50)]
    pods: usize,
    /// How many calls are timed.
    #[arg(long, default_value_t = 2000)]
    calls: usize,
    /// How many starts are timed.
    #[arg(long, default_value_t = 5)]
    starts: usize,
    /// How many turns the runs have.
    #[arg(long, default_value_t = 50)]
    turns: u32,
    /// Of how many tables there are catalogs.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1000])]
    tables: Vec<u32>,
    /// How many rows the large table has; 0 leaves it out.
    #[arg(long, default_value_t = 20_000_000)]
    rows: u64,
    /// How many Catalogs the operator has that do nothing.
    #[arg(long, default_value_t = 1000)]
    idle_catalogs: u32,
    /// For how many seconds it is watched while nothing happens.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// How many schedules it has that are not due.
    #[arg(long, default_value_t = 5000)]
    idle_schedules: u32,
    /// How many schedules are due in one minute.
    #[arg(long, default_value_t = 1000)]
    due_schedules: u32,
    /// How many runs it has at once.
    #[arg(long, default_value_t = 10)]
    runs: usize,
}

/// A part of the benches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The sandbox, as a process.
    Sandbox,
    /// The sandbox in Pods of the tests' cluster.
    Pods,
    /// The engine of runs, with a played model.
    Runs,
    /// Catalogs of large databases.
    Catalogs,
    /// The operator, as a process in front of the tests' cluster.
    Operator,
    /// Its schedules.
    Schedules,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    if wanted(Part::Sandbox) {
        sandbox::all(Place::Local, arguments.calls, arguments.starts).await;
    }
    if wanted(Part::Pods) {
        sandbox::all(Place::Pod, arguments.calls, arguments.starts).await;
        pods::starts(arguments.starts).await;
        pods::losses(arguments.calls / 20).await;
        pods::many(arguments.pods).await;
    }
    if wanted(Part::Runs) {
        runs::share(arguments.turns).await;
        runs::memory(arguments.turns).await;
    }
    if wanted(Part::Catalogs) {
        let many = arguments.tables.iter().map(|tables| Size {
            tables: *tables,
            rows: ROWS,
        });
        let large = (arguments.rows > 0).then_some(Size {
            tables: 1,
            rows: arguments.rows,
        });
        catalogs::all(&many.chain(large).collect::<Vec<_>>()).await;
    }
    if wanted(Part::Operator) {
        Box::pin(operator::all(operator::Size {
            catalogs: arguments.idle_catalogs,
            runs: arguments.runs,
            starts: arguments.starts,
            idle: Duration::from_secs(arguments.idle),
        }))
        .await;
    }
    if wanted(Part::Schedules) {
        Box::pin(operator::schedules::all(operator::schedules::Size {
            idle: arguments.idle_schedules,
            due: arguments.due_schedules,
            stretch: Duration::from_secs(arguments.idle),
        }))
        .await;
    }
}
