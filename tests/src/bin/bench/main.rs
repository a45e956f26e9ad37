//! Benches. They print figures, each beside something of the same run; they judge nothing.

mod runs;
mod sandbox;

use cataloger_tests::place::Place;
use clap::Parser;

/// Benches of the sandbox and of runs.
#[derive(Debug, Parser)]
struct Arguments {
    /// In a container of the image as well.
    #[arg(long)]
    container: bool,
    /// How many calls are timed.
    #[arg(long, default_value_t = 2000)]
    calls: usize,
    /// How many starts are timed.
    #[arg(long, default_value_t = 5)]
    starts: usize,
    /// How many turns the runs have.
    #[arg(long, default_value_t = 50)]
    turns: u32,
    /// Only runs.
    #[arg(long)]
    only_runs: bool,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let mut places = vec![Place::Local];
    if arguments.container {
        places.push(Place::Container);
    }
    if arguments.only_runs {
        places.clear();
    }
    for place in places {
        sandbox::all(place, arguments.calls, arguments.starts).await;
    }
    runs::share(arguments.turns).await;
    runs::memory(arguments.turns).await;
}
