//! Kills an operator at every external write of a run, and looks at what becomes of it: `make killsweep`.

use std::process::ExitCode;
use std::sync::Arc;

use cataloger_tests::sweep::{Ground, Options, sweep};
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
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(ground) = Box::pin(Ground::new("killsweep")).await else {
        eprintln!("kill sweep: it needs the tests' own cluster");
        return ExitCode::FAILURE;
    };
    let options = Options {
        one_of: arguments.one_of.max(1),
        seed: arguments.seed.unwrap_or_else(rand::random),
        parallel: arguments.parallel.max(1),
        only: arguments.only,
    };
    println!("kill sweep: seed {}", options.seed);
    let sum = Box::pin(sweep(Arc::new(ground), &options)).await;
    println!("{sum}");
    ExitCode::from(u8::from(!sum.is_clean()))
}
