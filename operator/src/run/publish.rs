//! Writing the objects of a run's folder: each once, never over another's.

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::journal::persist;
use super::record::Published;
use super::{RunError, sha256};
use crate::store::{ContentType, Creation, Key, RunId, Store};

/// What an object with this content is.
pub(super) fn described(key: &Key, content: &[u8]) -> Published {
    Published {
        name: key.name().to_owned(),
        bytes: content.len() as u64,
        sha256: sha256(content),
    }
}

/// Whether an object is there that was noted, and may not have been written any more. Not if another one is.
pub(super) async fn is_there(
    store: &dyn Store,
    cancel: &CancellationToken,
    run: RunId,
    key: &Key,
    noted: &Published,
) -> Result<bool, RunError> {
    let there = persist(cancel, || store.get(key)).await?;
    match there {
        None => Ok(false),
        Some(object) if described(key, &object.content) == *noted => Ok(true),
        Some(_) => Err(occupied(store, run, key)),
    }
}

/// Writes an object, or finds that it is there: as it should be, or `as_good`.
pub(super) async fn publish(
    store: &dyn Store,
    cancel: &CancellationToken,
    run: RunId,
    key: &Key,
    content: &Bytes,
    as_good: impl Fn(&[u8]) -> bool,
) -> Result<(), RunError> {
    let created = persist(cancel, || {
        store.create(key, content.clone(), ContentType::of(key))
    })
    .await?;
    if created == Creation::Exists {
        let there = persist(cancel, || store.get(key)).await?;
        if there.is_none_or(|object| object.content != *content && !as_good(&object.content)) {
            return Err(occupied(store, run, key));
        }
    }
    Ok(())
}

fn occupied(store: &dyn Store, run: RunId, key: &Key) -> RunError {
    RunError::Occupied {
        on: store.uri(key),
        run,
    }
}
