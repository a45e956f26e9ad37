//! What the binary writes to standard error beside its answers: logs, and what is left to say in a panic.
//! Known secrets are in neither.
//!
//! It must not know what is run, nor which secrets there are: whoever learns of them calls [`hide`] or
//! [`hide_for`].

mod hidden;
mod json;
mod panics;

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};
use std::{env, panic};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

pub use self::hidden::Hiding;
use self::hidden::{Hidden, Redacted};
use self::json::Json;
use crate::redact::Redactor;

/// What is hidden in this process.
static HIDDEN: Hidden = Hidden::nothing();

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// Sends logs to standard error, as much as `RUST_LOG` says (this level, if it says nothing), and panics too.
/// Call it once, before anything is worth a line.
pub fn set_up(format: Format, level: LevelFilter) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level.to_string()));
    if let Err(error) = begin(format, filter) {
        tracing::warn!(%error, "logs are somebody else's already");
    }
    panic::set_hook(Box::new(move |panic| {
        let text = panics::text(panic);
        // Where logs can't be written, nobody can be told that they can't.
        let _ = match format {
            Format::Text => HIDDEN.line(io::stderr()).write_all(text.as_bytes()),
            Format::Json => json::panicked(&text, &HIDDEN, io::stderr()),
        };
    }));
}

fn begin(format: Format, filter: EnvFilter) -> Result<(), TryInitError> {
    let out = io::stderr;
    match format {
        Format::Text => {
            let layer = tracing_subscriber::fmt::layer()
                .with_writer(Redacted { out, hidden: &HIDDEN })
                .with_ansi(io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none());
            tracing_subscriber::registry().with(filter).with(layer).try_init()
        }
        Format::Json => {
            let layer = Json { out, hidden: &HIDDEN };
            tracing_subscriber::registry().with(filter).with(layer).try_init()
        }
    }
}

/// Hides these secrets of the process, instead of those that were told so before, in every line from now on.
/// Until then nothing is known to be secret.
pub fn hide(redactor: Redactor) {
    HIDDEN.set(redactor);
}

/// Hides these secrets too, until the guard is dropped: those of one of many that are at work at once.
pub fn hide_for(redactor: Redactor) -> Hiding {
    HIDDEN.add(redactor)
}

/// A text for people, without what is hidden.
pub fn redact(text: &str) -> Cow<'_, str> {
    HIDDEN.redact(text)
}
