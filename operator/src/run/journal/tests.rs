//! How long a journal waits for its store, by a clock that is moved on, and which versions are read.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::*;
use crate::store::{DirectoryStore, Listing, Meta, Object, Operation, Page, Prefix};

/// A directory that takes nothing until a moment.
#[derive(Debug)]
struct Away {
    store: DirectoryStore,
    until: Instant,
    problem: Problem,
    tries: AtomicU32,
}

#[async_trait]
impl Store for Away {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.store.get(key).await
    }

    async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        self.store.head(key).await
    }

    async fn put(&self, key: &Key, content: Bytes, content_type: ContentType) -> Result<(), StoreError> {
        self.store.put(key, content, content_type).await
    }

    async fn create(
        &self,
        key: &Key,
        content: Bytes,
        content_type: ContentType,
    ) -> Result<Creation, StoreError> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        if Instant::now() < self.until {
            return Err(StoreError {
                operation: Operation::Create,
                on: self.uri(key),
                problem: self.problem.clone(),
            });
        }
        self.store.create(key, content, content_type).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.store.delete(key).await
    }

    async fn list(&self, listing: &Listing) -> Result<Page, StoreError> {
        self.store.list(listing).await
    }

    fn uri(&self, key: &Key) -> String {
        self.store.uri(key)
    }
}

/// What becomes of an entry while a store has this problem for so long: whether it was written, how long that took,
/// how often it was tried, and what was said.
async fn appended(problem: Problem, away: Duration) -> (bool, Duration, u32, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let store = Away {
        store: DirectoryStore::open(directory.path()).await.unwrap(),
        until: began + away,
        problem,
        tries: AtomicU32::new(0),
    };
    let (layout, redactor, cancel) = (
        Layout::new(Prefix::root()),
        Redactor::builder().build(),
        CancellationToken::new(),
    );
    let said = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&said);
    let watch = move |event: &Event| {
        hears.lock().unwrap().push(match event {
            Event::StoreAway { .. } => "away".to_owned(),
            Event::StoreBack => "back".to_owned(),
            other => format!("{other:?}"),
        });
    };
    let run = RunId::at(std::time::UNIX_EPOCH);
    let mut journal = Journal::new((&store, &layout), &redactor, &cancel, &watch, (run, 4));
    let result = journal.append(Record::Shortened).await;
    let took = began.elapsed();
    assert!(took >= journal.waited());
    let tries = store.tries.load(Ordering::Relaxed);
    assert_eq!(journal.waited() > Duration::ZERO, tries > 1);
    let key = layout.entry(run, 5).unwrap();
    assert_eq!(store.head(&key).await.unwrap().is_some(), result.is_ok());
    let said = said.lock().unwrap().clone();
    (result.is_ok(), took, tries, said)
}

fn unreachable() -> Problem {
    Problem::Unreachable {
        message: "connection refused".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_paid_for_waits_ten_minutes_for_its_store() {
    let (written, took, tries, said) = appended(unreachable(), Duration::from_mins(10)).await;
    assert!(written);
    // Not much longer than it was away.
    assert!(took < Duration::from_mins(10) + LONGEST, "{took:?}");
    assert!((20..40).contains(&tries), "{tries}");
    assert_eq!(said.len(), usize::try_from(tries).unwrap());
    assert_eq!(said.last().map(String::as_str), Some("back"));
    let throttled = Problem::Throttled {
        message: "503 SlowDown".into(),
    };
    assert!(appended(throttled, Duration::from_mins(10)).await.0);
    let (written, _, tries, said) = appended(unreachable(), Duration::ZERO).await;
    assert_eq!((written, tries, said), (true, 1, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn it_does_not_wait_for_ever() {
    let (written, took, _, said) = appended(unreachable(), Duration::from_hours(2)).await;
    assert!(!written && !said.contains(&"back".to_owned()));
    assert!(
        (PATIENCE..PATIENCE + LONGEST * 2).contains(&took),
        "given up after {took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_person_has_to_mend_is_waited_for_half_a_minute() {
    let message = String::new;
    for problem in [
        Problem::Full { message: message() },
        Problem::Denied { message: message() },
        Problem::NoCredentials { message: message() },
        Problem::NoBucket { bucket: message() },
    ] {
        assert!(appended(problem.clone(), Duration::from_secs(30)).await.0);
        let (written, took, ..) = appended(problem, Duration::from_hours(1)).await;
        assert!(!written && took < Duration::from_secs(40), "{took:?}");
    }
    let unsupported = Problem::Unsupported { message: message() };
    assert_eq!(appended(unsupported, Duration::from_secs(1)).await.2, 1);
}

#[test]
fn this_version_and_the_one_before_are_read() {
    let read = |version: u32| {
        let entry = format!(
            "{{\"version\": {version}, \"writer\": \"me\", \"at\": \"2026-11-21T12:00:03.123Z\", \"record\": \"shortened\"}}"
        );
        parse(entry.as_bytes()).map_err(|why| why.on("000007.json".into()).to_string())
    };
    for version in OLDEST..=VERSION {
        assert_eq!(read(version).unwrap().version, version);
    }
    for version in [OLDEST - 1, VERSION + 1] {
        let why = read(version).unwrap_err();
        assert!(
            why.contains(&format!("is of version {version} of the journal")),
            "{why}"
        );
    }
}
