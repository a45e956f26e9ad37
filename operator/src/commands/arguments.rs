//! The arguments of `cataloger run`.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use crate::api::duration::Duration as Written;
use crate::llm::ModelSpec;
use crate::llm::prices::Cost;

/// Catalog a database: let a model explore it, and publish the page that it writes.
///
/// What to do is said by a manifest, the Catalog that a cluster takes (`-f`), or by `--database`, `--table` and
/// `--output`. Keys come from `ANTHROPIC_API_KEY`, `OPENAI_API_KEY` and the usual `AWS_` variables, or from Secrets in
/// the manifest. The addresses of the pages go to standard output, progress to standard error.
///
/// Exit codes: 2 wrong usage or manifest, 3 no sandbox, 4 the database can't be read or could be written, 5 pages can't be kept,
/// 6 the model does not answer, 7 tokens, money, turns or time are used up, 8 the model makes no page,
/// 9 somebody else drives the run, 130 interrupted.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// A manifest with a Catalog, and perhaps Secrets and a `ModelProvider`; `-` is standard input
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["tables", "intent"])]
    pub(super) file: Option<PathBuf>,
    /// Which Catalog of the manifest, if it holds several
    #[arg(long, value_name = "NAME", requires = "file")]
    pub(super) catalog: Option<String>,
    /// The URL of the database, such as `postgresql://reader:…@host/shop`
    ///
    /// Better given by the environment variable: other users may see a command's arguments.
    #[arg(
        long = "database-url",
        visible_alias = "database",
        value_name = "URL",
        env = "DATABASE_URL",
        hide_env_values = true
    )]
    pub(super) database: Option<SecretString>,
    /// A table: orders, sales.orders, or a pattern such as sales.*; may be repeated
    #[arg(long = "table", short, value_name = "TABLE")]
    pub(super) tables: Vec<String>,
    /// Go on although the database's role can write
    #[arg(long)]
    pub(super) allow_writable: bool,
    /// What you want to know about the tables, in a few sentences
    #[arg(long, value_name = "TEXT")]
    pub(super) intent: Option<String>,
    /// Where the pages go: a directory, or `s3://BUCKET/PREFIX`
    #[arg(long, short, value_name = "PLACE")]
    pub(super) output: Option<String>,
    /// The model: builtin, anthropic/NAME, or openai/NAME for any compatible endpoint; `CATALOGER_MODEL`, if nothing
    /// says one
    #[arg(long, short, value_name = "MODEL")]
    pub(super) model: Option<ModelSpec>,
    /// A model to go on with when that one can't; may be repeated
    #[arg(long = "fallback", value_name = "MODEL")]
    pub(super) fallbacks: Vec<ModelSpec>,
    /// How many tokens the run may use; what is read from a cache does not count  [default: 100000]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(1000..=1_000_000_000))]
    pub(super) max_tokens: Option<u64>,
    /// How many US dollars the run may cost
    #[arg(long, value_name = "DOLLARS")]
    pub(super) max_cost: Option<Cost>,
    /// How many turns of the model there may be  [default: 50]
    #[arg(long, visible_alias = "max-iterations", value_name = "TURNS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) max_turns: Option<u32>,
    /// How long the run may take  [default: 30m]
    #[arg(long, value_name = "TIME")]
    pub(super) timeout: Option<Written>,
    /// How long a piece of code may run  [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub(super) execute_timeout: Option<Written>,
    /// How many rows of a table the model is shown  [default: 20]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) max_rows: Option<u32>,
    /// Prompts of your own: a directory with cataloging.yaml, summary.yaml or both
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) prompts: Option<PathBuf>,
    /// Go on with a run that was cut off: the newest for the same, or this one
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = NEWEST)]
    pub(super) resume: Option<String>,
    /// Events as lines of JSON on standard output
    #[arg(long)]
    pub(super) json: bool,
}

/// What `--resume` means without a run.
pub(super) const NEWEST: &str = "newest";
