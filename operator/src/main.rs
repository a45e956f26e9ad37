//! The `cataloger` binary: subcommands and wiring, nothing else.

use cataloger::commands::arguments::RunArguments;
use cataloger::commands::comment::{self, CommentArguments};
use cataloger::commands::crds::{self, CrdsArguments};
use cataloger::commands::operator::{self, arguments::OperatorArguments};
use cataloger::commands::run;
use cataloger::commands::selftest::{self, SelftestArguments};
use cataloger::commands::session::{self, SessionArguments};
use cataloger::commands::version::{self, VersionArguments};
use cataloger::logs::{self, Format};
use clap::{Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

/// Living documentation of databases.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<RunArguments>),
    Comment(CommentArguments),
    Session(SessionArguments),
    Crds(CrdsArguments),
    Operator(Box<OperatorArguments>),
    Selftest(SelftestArguments),
    Version(VersionArguments),
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    match &arguments.command {
        Command::Operator(arguments) => logs::set_up(arguments.log_format(), LevelFilter::INFO),
        _ => logs::set_up(Format::Text, LevelFilter::WARN),
    }
    let code = match arguments.command {
        Command::Run(arguments) => run::run(*arguments).await,
        Command::Comment(arguments) => comment::run(arguments).await,
        Command::Session(arguments) => session::run(arguments).await,
        Command::Crds(arguments) => crds::run(&arguments),
        Command::Operator(arguments) => operator::run(*arguments).await,
        Command::Selftest(arguments) => selftest::run(arguments).await,
        Command::Version(arguments) => version::run(&arguments),
    };
    // A thread may still wait for a line of standard input; the runtime would wait for it.
    std::process::exit(code.into())
}
