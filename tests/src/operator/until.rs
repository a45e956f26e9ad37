//! Waiting for what an object says, by watching it. Nothing here sleeps.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt as _;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
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
    let watching = async {
        // A watch says nothing of what is not there as it begins.
        while let Some(object) = api.get_opt(name).await.expect("it can be asked for") {
            last = Some(object);
            let enough = timeout(Duration::from_secs(20), watched(api, name, |it| it.is_none()));
            if enough.await.is_ok() {
                break;
            }
        }
    };
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
    let only = WatchParams::default().fields(&format!("metadata.name={name}"));
    loop {
        let events = api.watch(&only, "0").await.expect("it can be watched");
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
