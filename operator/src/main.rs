//! The `cataloger` binary: subcommands and wiring, nothing else.

use clap::Parser;

/// Living documentation of databases.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {}

fn main() {
    Arguments::parse();
}
