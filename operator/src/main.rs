//! The `cataloger` binary: subcommands and wiring, nothing else.

use std::io::IsTerminal as _;

use cataloger::crds::{self, CrdsArguments};
use cataloger::session::{self, SessionArguments};
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Living documentation of databases.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Session(SessionArguments),
    Crds(CrdsArguments),
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
    let code = match arguments.command {
        Command::Session(arguments) => session::run(arguments).await,
        Command::Crds(arguments) => crds::run(&arguments),
    };
    // A thread may still wait for a line of standard input; the runtime would wait for it.
    std::process::exit(code.into())
}
