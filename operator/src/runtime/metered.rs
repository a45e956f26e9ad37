//! Stores and sandboxes that are measured while they are used.
//!
//! It must not change what they do.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::metrics::Metrics;
use super::metrics::labels::{BucketOperation, BucketOutcome, SandboxOutcome};
use crate::run::Sandboxes;
use crate::sandbox::{BootId, Sandbox, SandboxError, Variables};
use crate::store::{ContentType, Creation, Key, Listing, Meta, Object, Page, RunId, Store, StoreError};

/// A store whose calls are counted.
#[derive(Debug, Clone)]
pub struct MeteredStore {
    store: Arc<dyn Store>,
    metrics: Metrics,
}

impl MeteredStore {
    /// Counts the calls of this one.
    pub fn new(store: Arc<dyn Store>, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    async fn count<T>(
        &self,
        operation: BucketOperation,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let result = call.await;
        self.metrics
            .bucket_called(operation, BucketOutcome::from(&result), began.elapsed());
        result
    }
}

#[async_trait]
impl Store for MeteredStore {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.count(BucketOperation::Get, self.store.get(key)).await
    }

    async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        self.count(BucketOperation::Head, self.store.head(key)).await
    }

    async fn put(&self, key: &Key, content: Bytes, content_type: ContentType) -> Result<(), StoreError> {
        let call = self.store.put(key, content, content_type);
        self.count(BucketOperation::Put, call).await
    }

    async fn create(
        &self,
        key: &Key,
        content: Bytes,
        content_type: ContentType,
    ) -> Result<Creation, StoreError> {
        let call = self.store.create(key, content, content_type);
        self.count(BucketOperation::Create, call).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.count(BucketOperation::Delete, self.store.delete(key)).await
    }

    async fn list(&self, listing: &Listing) -> Result<Page, StoreError> {
        self.count(BucketOperation::List, self.store.list(listing)).await
    }

    fn uri(&self, key: &Key) -> String {
        self.store.uri(key)
    }
}

/// Makes sandboxes, and measures how long that takes.
pub struct MeteredSandboxes {
    sandboxes: Arc<dyn Sandboxes>,
    metrics: Metrics,
}

impl MeteredSandboxes {
    /// Measures these.
    pub fn new(sandboxes: Arc<dyn Sandboxes>, metrics: Metrics) -> Self {
        Self { sandboxes, metrics }
    }
}

#[async_trait]
impl Sandboxes for MeteredSandboxes {
    async fn open(
        &self,
        run: RunId,
        known: Option<&BootId>,
        env: &Variables,
    ) -> Result<Box<dyn Sandbox>, SandboxError> {
        let began = Instant::now();
        let result = self.sandboxes.open(run, known, env).await;
        let outcome = match &result {
            Ok(sandbox) if known == Some(&sandbox.boot()) => SandboxOutcome::Found,
            Ok(_) => SandboxOutcome::Started,
            Err(_) => SandboxOutcome::Failed,
        };
        self.metrics.sandbox_started(outcome, began.elapsed());
        result
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::tests::has;
    use super::*;
    use crate::sandbox::{CallId, Cell, Chunk, DaemonStatus, Executed, FilePut, WasReset};
    use crate::store::{Depth, DirectoryStore};

    #[tokio::test]
    async fn calls_of_a_store_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let metrics = Metrics::new();
        let inner = DirectoryStore::open(directory.path()).await.unwrap();
        let store = MeteredStore::new(Arc::new(inner), metrics.clone());
        let key = Key::new("a/b.txt").unwrap();
        assert_eq!(store.get(&key).await.unwrap(), None);
        let content = Bytes::from_static(b"b");
        for creation in [Creation::Created, Creation::Exists] {
            let created = store
                .create(&key, content.clone(), ContentType::Text)
                .await
                .unwrap();
            assert_eq!(created, creation);
        }
        store.put(&key, content.clone(), ContentType::Text).await.unwrap();
        assert_eq!(store.head(&key).await.unwrap().unwrap().size, 1);
        assert_eq!(
            store
                .list(&Listing::of(None, Depth::Everything))
                .await
                .unwrap()
                .objects
                .len(),
            1
        );
        assert_eq!(store.get(&key).await.unwrap().unwrap().content, content);
        // A file is where a folder would have to be.
        let below = Key::new("a/b.txt/c").unwrap();
        store.put(&below, content, ContentType::Text).await.unwrap_err();
        store.delete(&key).await.unwrap();
        assert!(store.uri(&key).ends_with("a/b.txt"));
        for (operation, outcome, count) in [
            ("get", "ok", 2),
            ("create", "ok", 2),
            ("put", "ok", 1),
            ("put", "refused", 1),
            ("head", "ok", 1),
            ("list", "ok", 1),
            ("delete", "ok", 1),
        ] {
            let series = format!("operation=\"{operation}\",outcome=\"{outcome}\"");
            let line = format!("cataloger_bucket_calls_total{{{series}}} {count}");
            assert!(has(&metrics, &line), "{line}");
        }
        assert!(has(
            &metrics,
            "cataloger_bucket_call_seconds_count{operation=\"put\"} 2"
        ));
    }

    /// One of a boot that is known, if it has one.
    struct Fixed(Option<BootId>);

    #[async_trait]
    impl Sandboxes for Fixed {
        async fn open(
            &self,
            _: RunId,
            _: Option<&BootId>,
            _: &Variables,
        ) -> Result<Box<dyn Sandbox>, SandboxError> {
            match &self.0 {
                Some(boot) => Ok(Box::new(Idle(boot.clone()))),
                None => Err(SandboxError::Closed),
            }
        }
    }

    struct Idle(BootId);

    #[async_trait]
    impl Sandbox for Idle {
        async fn execute(
            &self,
            _: CallId,
            _: &Cell,
            _: &mut (dyn FnMut(Chunk) + Send),
        ) -> Result<Executed, SandboxError> {
            Err(SandboxError::Closed)
        }

        async fn reset(&self, _: CallId, _: &Variables) -> Result<WasReset, SandboxError> {
            Err(SandboxError::Closed)
        }

        async fn put_file(&self, _: CallId, _: &str, _: Bytes, _: bool) -> Result<FilePut, SandboxError> {
            Err(SandboxError::Closed)
        }

        async fn interrupt(&self, _: CallId) -> Result<(), SandboxError> {
            Ok(())
        }

        async fn acknowledge(&self, _: CallId) -> Result<(), SandboxError> {
            Ok(())
        }

        async fn status(&self) -> Result<DaemonStatus, SandboxError> {
            Err(SandboxError::Closed)
        }

        async fn close(&self) -> Result<(), SandboxError> {
            Ok(())
        }

        fn last_call(&self) -> CallId {
            CallId(0)
        }

        fn boot(&self) -> BootId {
            self.0.clone()
        }
    }

    #[tokio::test]
    async fn sandboxes_are_measured_by_how_they_came_about() {
        let metrics = Metrics::new();
        let (boot, other) = (BootId::random(), BootId::random());
        let open = async |there: Option<&BootId>, known: Option<&BootId>| {
            let sandboxes = MeteredSandboxes::new(Arc::new(Fixed(there.cloned())), metrics.clone());
            let run = RunId::at(std::time::UNIX_EPOCH);
            sandboxes.open(run, known, &Variables::new()).await.is_ok()
        };
        assert!(open(Some(&boot), None).await);
        assert!(open(Some(&boot), Some(&other)).await);
        assert!(open(Some(&boot), Some(&boot)).await);
        assert!(!open(None, Some(&boot)).await);
        for (outcome, count) in [("started", 2), ("found", 1), ("failed", 1)] {
            let line = format!("cataloger_sandbox_start_seconds_count{{outcome=\"{outcome}\"}} {count}");
            assert!(has(&metrics, &line), "{line}");
        }
    }
}
