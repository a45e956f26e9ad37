//! Proves that a store keeps the promise of [`Store::create`], before anything rests on it.
//!
//! Some servers take `If-None-Match: *` and overwrite all the same. Two operators on such a store would both
//! believe that a run is theirs.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use thiserror::Error;
use tokio::time::Instant;

use super::error::{Class, StoreError};
use super::layout::Probe;
use super::{ContentType, Creation, Key, Layout, RunId, Store};

/// How many write the same key at once.
const WRITERS: u32 = 4;

/// A probe that is older belongs to no preflight that is under way: each of its calls has a timeout.
const ABANDONED: Duration = Duration::from_hours(1);

/// What the preflight saw.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// A probe that could not be removed, and why. Runs work all the same; removing old ones will not.
    pub leftover: Option<StoreError>,
}

/// Why a store is not used.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum PreflightError {
    /// It can't be used at all.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It overwrites.
    #[error(
        "the store at {on} does not keep to If-None-Match ({message}), so two runs could overwrite one another: use another store, or a newer release of its server"
    )]
    ConditionIgnored {
        /// The probe.
        on: String,
        /// What it did.
        message: String,
    },
    /// It does not give back what was written.
    #[error("the store at {on} does not give back what was written ({message}): use another store")]
    Untrue {
        /// The probe.
        on: String,
        /// What it gave.
        message: String,
    },
}

impl PreflightError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Store(error) => error.class(),
            Self::ConditionIgnored { .. } | Self::Untrue { .. } => Class::Stop,
        }
    }
}

/// How long a proof holds: servers are replaced by other releases.
const HOLDS: Duration = Duration::from_hours(1);

/// Whether one store was proved, and when: so that not each run of an operator proves its bucket anew.
#[derive(Debug, Default)]
pub struct Proven(Mutex<Option<Instant>>);

impl Proven {
    /// Proves the store, if it was not lately. What an earlier life of the owner has left there goes all the same.
    pub async fn prove(
        &self,
        store: &dyn Store,
        layout: &Layout,
        owner: Option<u64>,
    ) -> Result<Proof, PreflightError> {
        let at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if at.is_some_and(|at| at.elapsed() < HOLDS) {
            let leftover = remove_abandoned(store, layout, owner).await.err();
            return Ok(Proof { leftover });
        }
        let proof = prove(store, layout, owner).await?;
        // What stays behind is said each time.
        if proof.leftover.is_none() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(proof)
    }
}

/// Lets several writers race for a probe, then writes it once more, looks what is there, and removes it.
///
/// An `owner` does this once at a time: probes of the same one are of a process that has died in the middle of it. They
/// are removed, and so are old ones of anybody.
pub async fn prove(store: &dyn Store, layout: &Layout, owner: Option<u64>) -> Result<Proof, PreflightError> {
    let abandoned = remove_abandoned(store, layout, owner).await.err();
    let key = layout.probe(Probe {
        at: RunId::now(),
        owner: owner.unwrap_or_else(rand::random),
        nonce: rand::random(),
    });
    let proven = race(store, &key).await;
    // Also after a failure: what was written must go.
    let leftover = store.delete(&key).await.err().or(abandoned);
    proven.map(|()| Proof { leftover })
}

async fn remove_abandoned(store: &dyn Store, layout: &Layout, owner: Option<u64>) -> Result<(), StoreError> {
    let old = SystemTime::now().checked_sub(ABANDONED).map(RunId::at);
    // Who can't be asked now is asked the next time; if it is not there at all, the race says so.
    let probes = layout.probes(store).await.unwrap_or_default();
    for probe in probes {
        if Some(probe.owner) == owner || old.is_some_and(|old| probe.at < old) {
            store.delete(&layout.probe(probe)).await?;
        }
    }
    Ok(())
}

fn content(writer: u32) -> Bytes {
    Bytes::from(format!("{{\"probe\": {writer}}}\n"))
}

async fn race(store: &dyn Store, key: &Key) -> Result<(), PreflightError> {
    let write = |writer| store.create(key, content(writer), ContentType::Json);
    // All are waited for, so that none writes after the probe was removed.
    let made = tokio::join!(write(0), write(1), write(2), write(3));
    let mut winners = Vec::new();
    let mut failed = None;
    for (writer, made) in (0..WRITERS).zip([made.0, made.1, made.2, made.3]) {
        match made {
            Ok(Creation::Created) => winners.push(writer),
            Ok(Creation::Exists) => {}
            Err(error) => failed = Some(error),
        }
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    let ignored = |message: String| PreflightError::ConditionIgnored {
        on: store.uri(key),
        message,
    };
    if winners.len() > 1 {
        return Err(ignored(format!(
            "{} of {WRITERS} writers of one object were told that they made it",
            winners.len()
        )));
    }
    if store.create(key, content(WRITERS), ContentType::Json).await? == Creation::Created {
        return Err(ignored("it made an object anew that was there".into()));
    }
    let found = store.get(key).await?.map(|object| object.content);
    // No winner: its answer was lost, and the second try found its own object.
    let expected = match winners[..] {
        [winner] => vec![content(winner)],
        _ => (0..WRITERS).map(content).collect(),
    };
    match found {
        Some(found) if expected.contains(&found) => Ok(()),
        Some(found) if found == content(WRITERS) => Err(ignored(
            "it said that the object was there, and overwrote it".into(),
        )),
        Some(found) => Err(PreflightError::Untrue {
            on: store.uri(key),
            message: format!("{} other bytes", found.len()),
        }),
        None => Err(PreflightError::Untrue {
            on: store.uri(key),
            message: "nothing is there".into(),
        }),
    }
}
