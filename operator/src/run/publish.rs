//! Writing the objects of a run's folder: each once, never over another's.

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::journal::persist;
use super::record::Published;
use super::{RunError, sha256};
use crate::store::{ContentType, Creation, Key, RunId, Store};

/// Writes an object, or finds that it is there as it should be: a run that goes on does not know whether its
/// last write came through.
pub(super) async fn publish(
    store: &dyn Store,
    cancel: &CancellationToken,
    run: RunId,
    key: &Key,
    content: String,
) -> Result<Published, RunError> {
    let content = Bytes::from(content);
    let created = persist(cancel, || {
        store.create(key, content.clone(), ContentType::of(key))
    })
    .await?;
    if created == Creation::Exists {
        let there = persist(cancel, || store.get(key)).await?;
        if there.is_none_or(|object| object.content != content) {
            return Err(RunError::Occupied {
                on: store.uri(key),
                run,
            });
        }
    }
    Ok(Published {
        name: key.name().to_owned(),
        bytes: content.len() as u64,
        sha256: sha256(&content),
    })
}
