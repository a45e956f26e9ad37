//! `cataloger version`: which release this is, and which formats it speaks.

use clap::Args;
use serde_json::{Value, json};

use crate::api::{GROUP, VERSION};
use crate::run::record;

/// Say which release this is.
#[derive(Debug, Args)]
pub struct VersionArguments {
    /// As JSON, with the versions of the API and of the journal that this release knows
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand; its exit code.
pub fn run(arguments: &VersionArguments) -> u8 {
    if arguments.json {
        println!("{}", versions());
    } else {
        println!("cataloger {}", env!("CARGO_PKG_VERSION"));
    }
    0
}

fn versions() -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "api": format!("{GROUP}/{VERSION}"),
        "journal": record::VERSION,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_that_are_written() {
        let versions = versions();
        assert_eq!(versions["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(versions["api"], "cataloger.dev/v1alpha1");
        assert_eq!(versions["journal"], 2);
    }
}
