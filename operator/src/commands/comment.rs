//! `cataloger comment`: what a person has to say about a catalog, for the next run.

use std::io::{self, Read as _};
use std::time::SystemTime;

use bytes::Bytes;
use clap::Args;
use thiserror::Error;

use super::{exit, place};
use crate::store::layout::User;
use crate::store::{ContentType, Creation, Layout, Location, RunId, Store, StoreError};

/// The longest comment, in bytes. The next run reads only the first 1,000 characters of each.
const LONGEST: usize = 10_000;
/// How many comments somebody can make in one second.
const TRIES: u32 = 60;

/// Comment on a catalog; the next run takes it into account.
///
/// Comments are data to the agents, which follow them where the database agrees, and name who made them.
#[derive(Debug, Args)]
pub struct CommentArguments {
    /// The comment; `-` reads it from standard input
    text: String,
    /// Where the pages are: a directory, or `s3://BUCKET/PREFIX`
    #[arg(long, short, value_name = "PLACE")]
    output: String,
    /// The run; the last one with a catalog, if not said
    #[arg(long, value_name = "RUN")]
    run: Option<RunId>,
    /// Who comments
    #[arg(long, value_name = "NAME", env = "USER")]
    user: Option<String>,
}

#[derive(Debug, Error)]
enum CommentError {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs the subcommand; its exit code.
pub async fn run(arguments: CommentArguments) -> u8 {
    match write(arguments).await {
        Ok(uri) => {
            println!("{uri}");
            exit::DONE
        }
        Err(error) => {
            eprintln!("cataloger: {error}");
            match error {
                CommentError::Usage(_) => exit::USAGE,
                CommentError::Store(_) => exit::STORE,
            }
        }
    }
}

async fn write(arguments: CommentArguments) -> Result<String, CommentError> {
    let usage = |message: String| CommentError::Usage(message);
    let text = if arguments.text == "-" {
        let mut text = String::new();
        io::stdin()
            .take(LONGEST as u64 + 1)
            .read_to_string(&mut text)
            .map_err(|error| usage(format!("standard input: {error}")))?;
        text
    } else {
        arguments.text
    };
    if text.trim().is_empty() {
        return Err(usage("the comment is empty".to_owned()));
    }
    if text.len() > LONGEST {
        return Err(usage(format!(
            "the comment is longer than {LONGEST} bytes: say it shorter"
        )));
    }
    let location: Location = arguments
        .output
        .parse()
        .map_err(|error| usage(format!("{error}")))?;
    let (store, layout) = place::open(&location, None).await?;
    let run = match arguments.run {
        Some(run) if store.head(&layout.catalog(run)).await?.is_none() => {
            return Err(usage(format!(
                "there is no catalog of run {run} at {}",
                store.uri(&layout.catalog(run))
            )));
        }
        Some(run) => run,
        None => last(&*store, &layout)
            .await?
            .ok_or_else(|| usage(format!("there is no catalog at {location} yet")))?,
    };
    let user = User::from_name(arguments.user.as_deref().unwrap_or("unknown"));
    let content = Bytes::from(format!("{}\n", text.trim()));
    let mut time = RunId::at(SystemTime::now());
    for _ in 0..TRIES {
        let key = layout.comment(run, &user, time);
        match store.create(&key, content.clone(), ContentType::Text).await? {
            Creation::Created => return Ok(store.uri(&key)),
            // One's own, or another of the same second.
            Creation::Exists => match store.get(&key).await? {
                Some(object) if object.content == content => return Ok(store.uri(&key)),
                _ => time = time.following(),
            },
        }
    }
    Err(usage(format!(
        "{user} has made {TRIES} comments just now: try again later"
    )))
}

async fn last(store: &dyn Store, layout: &Layout) -> Result<Option<RunId>, StoreError> {
    let newest_first = layout.runs(store).await?.into_iter().rev();
    let last = layout.with_catalog(store, newest_first, 1).await?;
    Ok(last.first().copied())
}
