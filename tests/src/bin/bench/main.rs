//! Benches. They print figures, each beside something of the same run; they judge nothing.

mod catalogs;
mod runs;
mod sandbox;
mod usage;

use cataloger_tests::place::Place;
use clap::Parser;

use crate::catalogs::Size;

/// How many rows a table has where there are many.
const ROWS: u64 = 1000;

/// Benches of the sandbox, of runs and of catalogs.
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
    /// Of how many tables there are catalogs.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1000])]
    tables: Vec<u32>,
    /// How many rows the large table has; 0 leaves it out.
    #[arg(long, default_value_t = 20_000_000)]
    rows: u64,
    /// Only the engine of runs, with a played model.
    #[arg(long)]
    only_runs: bool,
    /// Only catalogs of large databases.
    #[arg(long, conflicts_with = "only_runs")]
    only_catalogs: bool,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let mut places = vec![Place::Local];
    if arguments.container {
        places.push(Place::Container);
    }
    let only = arguments.only_runs || arguments.only_catalogs;
    if !only {
        for place in places {
            sandbox::all(place, arguments.calls, arguments.starts).await;
        }
    }
    if !only || arguments.only_runs {
        runs::share(arguments.turns).await;
        runs::memory(arguments.turns).await;
    }
    if !only || arguments.only_catalogs {
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
}
