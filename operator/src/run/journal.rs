//! A run's durable record: objects that are created once and never changed, `{prefix}/.journal/{run}/000001.json`
//! and on.
//!
//! Each entry is created only if it is absent, so of two who write the same run one is told at its next entry,
//! and stops. It must not know what the entries mean.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::event::{Event, Watch};
use super::record::{Entry, Moment, OLDEST, Record, VERSION};
use crate::redact::Redactor;
use crate::store::layout::MAX_ENTRY;
use crate::store::{Class, ContentType, Creation, Key, Layout, Problem, RunId, Store, StoreError};

/// So many entries are read at once.
const READERS: usize = 16;
/// How long is waited for a store that is away while something would be lost without it: answers that were paid for.
const PATIENCE: Duration = Duration::from_mins(15);
/// The longest of these waits.
const LONGEST: Duration = Duration::from_secs(30);
/// The first waits before a store is asked once more.
const WAITS: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
];

/// Why a journal can't be written or read.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The store does not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody else writes this run.
    #[error(
        "somebody else goes on with run {run} (entry {number} of its journal is theirs): leave it to them"
    )]
    Overtaken {
        /// The run.
        run: RunId,
        /// The entry.
        number: u32,
    },
    /// What is there is no entry.
    #[error("{on} is damaged ({message}): start another run")]
    Damaged {
        /// The entry.
        on: String,
        /// What is wrong with it.
        message: String,
    },
    /// Another release wrote it.
    #[error(
        "{on} is of version {version} of the journal, and this release knows {OLDEST} to {VERSION}: go on with the release that began it, or start another run"
    )]
    Foreign {
        /// The entry.
        on: String,
        /// Its version.
        version: u64,
    },
    /// It is longer than a journal can be.
    #[error("the journal of run {run} is full: start another run")]
    Full {
        /// The run.
        run: RunId,
    },
}

/// Asks a store again where that helps, as often as the waits allow.
pub(super) async fn persist<T, F>(cancel: &CancellationToken, what: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let brief = |error: &StoreError, tries: usize, _| {
        let wait = WAITS.get(tries).copied();
        wait.filter(|_| error.class() != Class::Stop)
    };
    patiently(cancel, what, brief, |_| ()).await
}

/// How long to wait for a store that can't take what is lost without it, after so many tries, the first of them so
/// long ago.
fn lasting(error: &StoreError, tries: usize, since: Duration) -> Option<Duration> {
    match (&error.problem, error.class()) {
        (_, Class::Retry | Class::Wait) if since < PATIENCE => {
            Some(WAITS.get(tries).copied().unwrap_or(LONGEST))
        }
        // Somebody may make room, or mend what is wrong with a key.
        (
            Problem::Full { .. }
            | Problem::Denied { .. }
            | Problem::NoCredentials { .. }
            | Problem::NoBucket { .. },
            _,
        ) => WAITS.get(tries).copied(),
        _ => None,
    }
}

async fn patiently<T, F>(
    cancel: &CancellationToken,
    what: impl Fn() -> F,
    wait: impl Fn(&StoreError, usize, Duration) -> Option<Duration>,
    tell: impl Fn(&StoreError),
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let began = Instant::now();
    let mut tries = 0;
    loop {
        let error = match what().await {
            Err(error) => error,
            done => return done,
        };
        let Some(wait) = wait(&error, tries, began.elapsed()) else {
            return Err(error);
        };
        tries += 1;
        tracing::warn!(%error, wait_ms = wait.as_millis(), "asking the store again");
        tell(&error);
        tokio::select! {
            () = sleep(wait) => {}
            // Who is told to stop tries a last time, at once: what is known should not be lost.
            () = cancel.cancelled() => return what().await,
        }
    }
}

/// The journal of a run, for who writes it.
pub(super) struct Journal<'a> {
    store: &'a dyn Store,
    layout: &'a Layout,
    redactor: &'a Redactor,
    cancel: &'a CancellationToken,
    watch: &'a Watch<'a>,
    run: RunId,
    writer: String,
    /// The number of the next entry.
    next: u32,
    /// How long the store was waited for.
    waited: Duration,
}

impl<'a> Journal<'a> {
    /// Of a run that has `written` entries.
    pub(super) fn new(
        (store, layout): (&'a dyn Store, &'a Layout),
        redactor: &'a Redactor,
        cancel: &'a CancellationToken,
        watch: &'a Watch<'a>,
        (run, written): (RunId, u32),
    ) -> Self {
        Self {
            store,
            layout,
            redactor,
            cancel,
            watch,
            run,
            writer: hex::encode(rand::random::<[u8; 8]>()),
            next: written + 1,
            waited: Duration::ZERO,
        }
    }

    /// How long the store was waited for: nobody's fault, and no time of the run.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// The run.
    pub(super) fn run(&self) -> RunId {
        self.run
    }

    /// The number of the next entry.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Writes an entry. What was written is what the entry says then: it may have been redacted.
    pub(super) async fn append(&mut self, record: Record) -> Result<Entry, JournalError> {
        let number = self.next;
        let key = self
            .layout
            .entry(self.run, number)
            .filter(|_| number <= MAX_ENTRY)
            .ok_or(JournalError::Full { run: self.run })?;
        let entry = Entry {
            version: VERSION,
            writer: self.writer.clone(),
            at: Moment::now(),
            record,
        };
        let (entry, text) = self.clean(&key, entry)?;
        let content = Bytes::from(text);
        // What an entry holds may have been paid for.
        let store = self.store;
        let create = || store.create(&key, content.clone(), ContentType::Json);
        let created = self.lastingly(create).await?;
        if created == Creation::Exists {
            // It may be one's own: the answer to the first try may have been lost.
            let there = persist(self.cancel, || self.store.get(&key)).await?;
            if there.is_none_or(|object| object.content != content) {
                return Err(JournalError::Overtaken {
                    run: self.run,
                    number,
                });
            }
        }
        self.next += 1;
        Ok(entry)
    }

    /// Asks the store for as long as there is hope, and tells that it is waited for.
    pub(super) async fn lastingly<T, F>(&mut self, what: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let away = AtomicBool::new(false);
        let tell = |error: &StoreError| {
            away.store(true, Ordering::Relaxed);
            let problem = self.redactor.redact(&error.to_string()).into_owned();
            (self.watch)(&Event::StoreAway { problem });
        };
        let began = Instant::now();
        let result = patiently(self.cancel, what, lasting, tell).await;
        if away.into_inner() {
            self.waited += began.elapsed();
            if result.is_ok() {
                (self.watch)(&Event::StoreBack);
            }
        }
        result
    }

    /// The entry as text, without secrets. Records are redacted where they are made; this makes sure.
    fn clean(&self, key: &Key, entry: Entry) -> Result<(Entry, String), JournalError> {
        let damaged = |error: serde_json::Error| JournalError::Damaged {
            on: self.store.uri(key),
            message: error.to_string(),
        };
        let text = serde_json::to_string(&entry).map_err(damaged)?;
        if self.redactor.is_clean(&text) {
            return Ok((entry, text));
        }
        let mut value = serde_json::to_value(&entry).map_err(damaged)?;
        self.redactor.redact_json(&mut value["record"]);
        let text = value.to_string();
        Ok((serde_json::from_str(&text).map_err(damaged)?, text))
    }
}

/// The first entry of a run, if there is one.
pub(super) async fn first(
    store: &dyn Store,
    layout: &Layout,
    cancel: &CancellationToken,
    run: RunId,
) -> Result<Option<Entry>, JournalError> {
    read(store, layout, cancel, run, 1).await
}

/// All entries of a run, in order.
pub(super) async fn load(
    store: &dyn Store,
    layout: &Layout,
    cancel: &CancellationToken,
    run: RunId,
) -> Result<Vec<Entry>, JournalError> {
    // Not from a listing, which may be late: until one is not there.
    let mut entries = Vec::new();
    let mut found = stream::iter(1..=MAX_ENTRY)
        .map(|number| read(store, layout, cancel, run, number))
        .buffered(READERS);
    while let Some(entry) = found.next().await {
        match entry? {
            Some(entry) => entries.push(entry),
            None => break,
        }
    }
    Ok(entries)
}

async fn read(
    store: &dyn Store,
    layout: &Layout,
    cancel: &CancellationToken,
    run: RunId,
    number: u32,
) -> Result<Option<Entry>, JournalError> {
    let Some(key) = layout.entry(run, number) else {
        return Ok(None);
    };
    let Some(object) = persist(cancel, || store.get(&key)).await? else {
        return Ok(None);
    };
    parse(&object.content)
        .map(Some)
        .map_err(|problem| problem.on(store.uri(&key)))
}

enum Unreadable {
    Damaged(String),
    Foreign(u64),
}

impl Unreadable {
    fn on(self, on: String) -> JournalError {
        match self {
            Self::Damaged(message) => JournalError::Damaged { on, message },
            Self::Foreign(version) => JournalError::Foreign { on, version },
        }
    }
}

#[derive(serde::Deserialize)]
struct Versioned {
    version: u64,
}

fn parse(content: &[u8]) -> Result<Entry, Unreadable> {
    let damaged = |error: serde_json::Error| Unreadable::Damaged(error.to_string());
    // Of another version nothing but this is known.
    let Versioned { version } = serde_json::from_slice(content).map_err(damaged)?;
    if !(u64::from(OLDEST)..=u64::from(VERSION)).contains(&version) {
        return Err(Unreadable::Foreign(version));
    }
    serde_json::from_slice(content).map_err(damaged)
}

#[cfg(test)]
mod tests;
