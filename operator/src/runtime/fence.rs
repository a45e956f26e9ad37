//! The doors to everything outside: open while this replica leads, shut for good once it does not.
//!
//! A process that was paused for minutes goes on in the middle of whatever it did, before any of its tasks can learn
//! that another replica leads by now. So each write asks at its door, by the clock, and whoever may not pass waits
//! there until the process ends, which it does at once: no error can lead to another write. It must not know what is
//! done behind a door.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;

use super::lease::Holding;
use crate::llm::{Model, ModelError, ModelSpec, Progress, Request, Turn};
use crate::run::Sandboxes;
use crate::sandbox::{
    BootId, CallId, Cell, Chunk, DaemonStatus, Executed, FilePut, Sandbox, SandboxError, Variables, WasReset,
};
use crate::store::{ContentType, Creation, Key, Listing, Meta, Object, Page, RunId, Store, StoreError};

/// Who may pass. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Fence(Arc<OnceLock<Holding>>);

impl Fence {
    /// From now on only while this lease is held. Before, nothing is under way, and all may pass.
    pub fn guard(&self, holding: Holding) {
        // A process leads once.
        let _ = self.0.set(holding);
    }

    /// Returns while this replica leads, and never once it does not.
    pub async fn pass(&self) {
        if let Some(holding) = self.0.get() {
            holding.held().await;
        }
    }
}

/// A store that is written to only by who leads.
#[derive(Debug, Clone)]
pub struct FencedStore {
    store: Arc<dyn Store>,
    fence: Fence,
}

impl FencedStore {
    /// Fences this one.
    pub fn new(store: Arc<dyn Store>, fence: Fence) -> Self {
        Self { store, fence }
    }
}

#[async_trait]
impl Store for FencedStore {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.store.get(key).await
    }

    async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        self.store.head(key).await
    }

    async fn put(&self, key: &Key, content: Bytes, content_type: ContentType) -> Result<(), StoreError> {
        self.fence.pass().await;
        self.store.put(key, content, content_type).await
    }

    async fn create(
        &self,
        key: &Key,
        content: Bytes,
        content_type: ContentType,
    ) -> Result<Creation, StoreError> {
        self.fence.pass().await;
        self.store.create(key, content, content_type).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.fence.pass().await;
        self.store.delete(key).await
    }

    async fn list(&self, listing: &Listing) -> Result<Page, StoreError> {
        self.store.list(listing).await
    }

    fn uri(&self, key: &Key) -> String {
        self.store.uri(key)
    }
}

/// A model that only who leads asks.
pub struct FencedModel {
    model: Arc<dyn Model>,
    fence: Fence,
}

impl FencedModel {
    /// Fences this one.
    pub fn new(model: Arc<dyn Model>, fence: Fence) -> Self {
        Self { model, fence }
    }
}

#[async_trait]
impl Model for FencedModel {
    async fn complete(
        &self,
        request: &Request<'_>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Turn, ModelError> {
        self.fence.pass().await;
        self.model.complete(request, progress).await
    }

    fn spec(&self) -> &ModelSpec {
        self.model.spec()
    }
}

/// Sandboxes that only who leads drives.
pub struct FencedSandboxes {
    sandboxes: Arc<dyn Sandboxes>,
    fence: Fence,
}

impl FencedSandboxes {
    /// Fences these.
    pub fn new(sandboxes: Arc<dyn Sandboxes>, fence: Fence) -> Self {
        Self { sandboxes, fence }
    }
}

#[async_trait]
impl Sandboxes for FencedSandboxes {
    async fn open(
        &self,
        run: RunId,
        known: Option<&BootId>,
        env: &Variables,
    ) -> Result<Box<dyn Sandbox>, SandboxError> {
        self.fence.pass().await;
        let sandbox = self.sandboxes.open(run, known, env).await?;
        let fence = self.fence.clone();
        Ok(Box::new(FencedSandbox { sandbox, fence }))
    }
}

struct FencedSandbox {
    sandbox: Box<dyn Sandbox>,
    fence: Fence,
}

#[async_trait]
impl Sandbox for FencedSandbox {
    async fn execute(
        &self,
        id: CallId,
        cell: &Cell,
        output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Executed, SandboxError> {
        self.fence.pass().await;
        self.sandbox.execute(id, cell, output).await
    }

    async fn reset(&self, id: CallId, env: &Variables) -> Result<WasReset, SandboxError> {
        self.fence.pass().await;
        self.sandbox.reset(id, env).await
    }

    async fn put_file(
        &self,
        id: CallId,
        path: &str,
        content: Bytes,
        append: bool,
    ) -> Result<FilePut, SandboxError> {
        self.fence.pass().await;
        self.sandbox.put_file(id, path, content, append).await
    }

    async fn interrupt(&self, id: CallId) -> Result<(), SandboxError> {
        self.fence.pass().await;
        self.sandbox.interrupt(id).await
    }

    async fn acknowledge(&self, through: CallId) -> Result<(), SandboxError> {
        self.fence.pass().await;
        self.sandbox.acknowledge(through).await
    }

    async fn status(&self) -> Result<DaemonStatus, SandboxError> {
        self.sandbox.status().await
    }

    async fn close(&self) -> Result<(), SandboxError> {
        self.fence.pass().await;
        self.sandbox.close().await
    }

    fn last_call(&self) -> CallId {
        self.sandbox.last_call()
    }

    fn boot(&self) -> BootId {
        self.sandbox.boot()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;
    use tokio::time::{Instant, advance};

    use super::*;
    use crate::store::DirectoryStore;

    #[tokio::test(start_paused = true)]
    async fn who_leads_no_more_stands_before_shut_doors() {
        let directory = tempfile::tempdir().unwrap();
        let inner = Arc::new(DirectoryStore::open(directory.path()).await.unwrap());
        let fence = Fence::default();
        let store = FencedStore::new(inner.clone(), fence.clone());
        let key = Key::new("a.txt").unwrap();
        let write = async |text: &'static str| {
            let content = Bytes::from_static(text.as_bytes());
            store.put(&key, content, ContentType::Text).await.unwrap();
        };
        // Nobody leads yet: what is done then, is done by who waits.
        write("before").await;
        let holding = Holding::until_then(Instant::now() + Duration::from_secs(10));
        fence.guard(holding.clone());
        write("held").await;

        // It was paused, and does not know yet that it is over.
        advance(Duration::from_secs(11)).await;
        let mut late = Box::pin(write("late"));
        assert!(late.as_mut().now_or_never().is_none());
        // The answer to its last renewal was on its way: it leads after all.
        holding.renew(Instant::now() + Duration::from_secs(10));
        late.await;
        assert_eq!(&inner.get(&key).await.unwrap().unwrap().content[..], b"late");

        holding.lose();
        assert!(write("lost").now_or_never().is_none());
        let read = store.get(&key).await.unwrap().unwrap();
        assert_eq!(&read.content[..], b"late");
    }
}
