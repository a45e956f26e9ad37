//! `cataloger selftest`: whether an installation makes a page, tried as a user would.

use std::time::Duration;

use clap::Args;
use kube::Client;
use tokio::time::timeout;

use super::exit;
use crate::api::duration::Duration as Written;
use crate::controllers::trial::Trial;

/// How long it may take to find out which cluster there is.
const CONNECT: Duration = Duration::from_secs(30);

/// Have the operator of a cluster catalog a sample, by the builtin model, which needs no key.
///
/// A Secret, a `ModelProvider` and a Catalog are made, and removed when the page is published or can't be. The sample
/// is in the sandbox's image. Pages stay in the operator's bucket: each trial replaces the last one's.
#[derive(Debug, Args)]
pub struct SelftestArguments {
    /// The namespace that it is tried in, which the operator has to look at
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "default")]
    namespace: String,
    /// What all that is made is called, and the prefix of the pages
    #[arg(long, value_name = "NAME", default_value = "cataloger-selftest")]
    name: String,
    /// How long it may take
    #[arg(long, value_name = "TIME", default_value = "5m")]
    timeout: Written,
    /// Leave the Catalog there
    #[arg(long)]
    keep: bool,
}

/// Runs the subcommand; its exit code.
pub async fn run(arguments: SelftestArguments) -> u8 {
    let client = match timeout(CONNECT, Client::try_default()).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => {
            eprintln!("cataloger: the cluster can't be reached: {error}; run it in a Pod, or set KUBECONFIG");
            return exit::USAGE;
        }
        Err(_) => {
            eprintln!("cataloger: the cluster can't be reached in time");
            return exit::FAILED;
        }
    };
    let trial = Trial {
        namespace: arguments.namespace,
        name: arguments.name,
        patience: arguments.timeout.into(),
    };
    let result = trial.run(&client, &mut |said| eprintln!("{said}")).await;
    let code = match result {
        Ok(artifacts) => {
            println!("{}", artifacts.catalog);
            exit::DONE
        }
        Err(error) => {
            eprintln!("cataloger: {error}");
            exit::FAILED
        }
    };
    if !arguments.keep
        && let Err(error) = trial.remove(&client).await
    {
        eprintln!("cataloger: {error}; remove it by hand");
        return code.max(exit::FAILED);
    }
    code
}
