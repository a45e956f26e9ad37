//! Waiting for what an object says, by watching it. Nothing here sleeps.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt as _;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// Waits until an object is as it should be; what it was last, if that takes too long.
pub async fn until<K>(
    api: &Api<K>,
    name: &str,
    patience: Duration,
    mut holds: impl FnMut(&K) -> bool,
) -> Result<K, Option<Box<K>>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut last = None;
    let watching = watched(api, name, |object| {
        let enough = object.as_ref().is_some_and(&mut holds);
        last = object;
        enough
    });
    let in_time = timeout(patience, watching).await.is_ok();
    match last {
        Some(object) if in_time => Ok(object),
        last => Err(last.map(Box::new)),
    }
}

/// Waits until there is no such object; what it was last, if that takes too long.
pub async fn gone<K>(api: &Api<K>, name: &str, patience: Duration) -> Result<(), Option<Box<K>>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut last = None;
    let watching = watched(api, name, |object| {
        let gone = object.is_none();
        last = object.or(last.take());
        gone
    });
    match timeout(patience, watching).await {
        Ok(()) => Ok(()),
        Err(_) => Err(last.map(Box::new)),
    }
}

/// Looks at an object as it is, and at each change, until that is enough.
async fn watched<K>(api: &Api<K>, name: &str, mut look: impl FnMut(Option<K>) -> bool)
where
    K: Clone + DeserializeOwned + Debug,
{
    let only = format!("metadata.name={name}");
    loop {
        // A watch may begin with what was there a while ago: before what the test has just done.
        let now = api.list(&ListParams::default().fields(&only)).await;
        let now = now.expect("it can be listed");
        let since = now.metadata.resource_version.unwrap_or_default();
        if look(now.items.into_iter().next()) {
            return;
        }
        let changes = WatchParams::default().fields(&only);
        let events = api.watch(&changes, &since).await.expect("it can be watched");
        let mut events = Box::pin(events);
        while let Some(event) = events.next().await {
            let enough = match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => look(Some(object)),
                Ok(WatchEvent::Deleted(_)) => look(None),
                Ok(WatchEvent::Bookmark(_)) => false,
                // The API server ends watches when it likes.
                Ok(WatchEvent::Error(_)) | Err(_) => break,
            };
            if enough {
                return;
            }
        }
        tokio::task::yield_now().await;
    }
}
