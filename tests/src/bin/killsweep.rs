//! Kills an operator at every external write of a run, and looks at what becomes of it: `make killsweep`.

use std::process::ExitCode;
use std::sync::Arc;

use cataloger_tests::sweep::{Ground, Options, Storm, storm, sweep};
use clap::Parser;

/// The operator is killed at every external write of a run, before it is sent and after it was done.
#[derive(Debug, Parser)]
struct Arguments {
    /// Of all kills only one of so many
    #[arg(long, default_value_t = 1)]
    one_of: usize,
    /// By which they are chosen; a random one, if not said
    #[arg(long)]
    seed: Option<u64>,
    /// How many operators at once
    #[arg(long, default_value_t = 4)]
    parallel: usize,
    /// Only kills whose name has this in it, such as "bucket PUT catalog.html"
    #[arg(long)]
    only: Option<String>,
    /// Instead: so many random faults of all kinds
    #[arg(long)]
    faults: Option<usize>,
    /// Over so many runs at once
    #[arg(long, default_value_t = 30)]
    runs: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(ground) = Box::pin(Ground::new("killsweep")).await else {
        eprintln!("kill sweep: it needs the tests' own cluster");
        return ExitCode::FAILURE;
    };
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let clean = if let Some(faults) = arguments.faults {
        let runs = arguments.runs.max(1);
        let damage = Box::pin(storm(&ground, Storm { faults, runs, seed })).await;
        println!("{damage}");
        damage.is_clean()
    } else {
        let options = Options {
            one_of: arguments.one_of.max(1),
            seed,
            parallel: arguments.parallel.max(1),
            only: arguments.only,
        };
        let sum = Box::pin(sweep(Arc::new(ground), &options)).await;
        println!("{sum}");
        sum.is_clean()
    };
    ExitCode::from(u8::from(!clean))
}
