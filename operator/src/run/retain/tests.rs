//! Which runs make room, over a directory that falters when it is told to.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::store::layout::{Probe, User};
use crate::store::{ContentType, Creation, DirectoryStore, Listing, Meta, Object, Operation, Page, Prefix};

/// A store that takes so many removals more, and says no from then on.
#[derive(Debug)]
struct Faltering {
    store: DirectoryStore,
    left: Mutex<usize>,
}

#[async_trait]
impl Store for Faltering {
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
        self.store.create(key, content, content_type).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let taken = {
            let mut left = self.left.lock().unwrap();
            let taken = left.checked_sub(1);
            *left = taken.unwrap_or(0);
            taken
        };
        if taken.is_none() {
            return Err(StoreError {
                operation: Operation::Delete,
                on: self.uri(key),
                problem: Problem::Denied { message: "no".into() },
            });
        }
        self.store.delete(key).await
    }

    async fn list(&self, listing: &Listing) -> Result<Page, StoreError> {
        self.store.list(listing).await
    }

    fn uri(&self, key: &Key) -> String {
        self.store.uri(key)
    }
}

struct Scene {
    _directory: tempfile::TempDir,
    store: Faltering,
    layout: Layout,
    cancel: CancellationToken,
}

const PAGES: [&str; 5] = [
    "catalog.html",
    "catalog_script.py",
    "recent_summary.html",
    "run.json",
    "summary_script.py",
];

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(directory.path().join("pages"))
            .await
            .unwrap();
        Self {
            _directory: directory,
            store: Faltering {
                store,
                left: Mutex::new(usize::MAX),
            },
            layout: Layout::new("db/shop".parse::<Prefix>().unwrap()),
            cancel: CancellationToken::new(),
        }
    }

    async fn put(&self, key: &Key, content: &str) {
        let content = content.to_owned().into();
        self.store.put(key, content, ContentType::of(key)).await.unwrap();
    }

    async fn journal(&self, run: RunId, entries: u32, last: Moment) {
        for number in 1..=entries {
            let entry = format!("{{\"version\": 1, \"at\": \"{last}\"}}");
            self.put(&self.layout.entry(run, number).unwrap(), &entry).await;
        }
    }

    /// A run that came to its end.
    async fn good(&self, run: RunId) {
        for name in PAGES {
            self.put(&self.layout.object(run, name).unwrap(), "x").await;
        }
        self.journal(run, 3, old()).await;
    }

    async fn retain(&self, keep: u32, protect: &[RunId]) -> Result<Vec<RunId>, RunError> {
        retain(&self.store, &self.layout, &self.cancel, keep, protect).await
    }

    /// All keys, without the prefix.
    async fn keys(&self) -> Vec<String> {
        let all = list_all(&self.store, None, Depth::Everything, 10_000)
            .await
            .unwrap();
        all.objects
            .iter()
            .map(|listed| listed.key.as_str().trim_start_matches("db/shop/").to_owned())
            .collect()
    }

    /// The runs of which something is there.
    async fn there(&self) -> BTreeSet<RunId> {
        let keys = self.keys().await;
        keys.iter()
            .filter_map(|key| {
                key.trim_start_matches(".journal/")
                    .split('/')
                    .next()?
                    .parse()
                    .ok()
            })
            .collect()
    }
}

fn at(text: &str) -> RunId {
    text.parse().unwrap()
}

/// The first of January 2020 and the days after it.
fn day(day: u32) -> RunId {
    at(&format!("202001{day:02}T000000Z"))
}

fn old() -> Moment {
    serde_json::from_str("\"2020-01-01T00:00:00.000Z\"").unwrap()
}

#[tokio::test]
async fn the_newest_that_came_to_their_end_are_kept() {
    let scene = Scene::new().await;
    assert_eq!(scene.retain(1, &[]).await.unwrap(), []);
    for number in 1..=8 {
        scene.good(day(number)).await;
    }
    // Failed between the good ones: one with a page, the others without.
    scene.journal(at("20200103T120000Z"), 4, old()).await;
    scene.journal(at("20200106T120000Z"), 4, old()).await;
    let begun = at("20200102T120000Z");
    scene.journal(begun, 4, old()).await;
    scene.put(&scene.layout.catalog(begun), "x").await;
    // It is after the last good one, and may be under way.
    scene.journal(day(9), 2, old()).await;

    let removed = scene.retain(3, &[]).await.unwrap();
    let expected = [
        day(5),
        day(4),
        at("20200103T120000Z"),
        day(3),
        begun,
        day(2),
        day(1),
    ];
    assert_eq!(removed, expected);
    let there = [day(6), at("20200106T120000Z"), day(7), day(8), day(9)];
    assert_eq!(scene.there().await, there.into());
    assert_eq!(scene.retain(3, &[]).await.unwrap(), []);
    // What is asked for makes no difference to the last good one.
    let removed = scene.retain(0, &[]).await.unwrap();
    assert_eq!(removed, [day(7), at("20200106T120000Z"), day(6)]);
    assert_eq!(scene.there().await, [day(8), day(9)].into());
}

#[tokio::test]
async fn nothing_goes_that_somebody_wants() {
    let scene = Scene::new().await;
    for number in 1..=6 {
        scene.good(day(number)).await;
    }
    let ann = User::from_name("ann");
    scene
        .put(&scene.layout.comment(day(1), &ann, day(3)), "why?")
        .await;
    let foreign = Key::new("db/shop/20200102T000000Z/notes.txt").unwrap();
    scene.put(&foreign, "mine").await;
    let beside = Key::new("db/shop/20200102T000000Z/comments.txt").unwrap();
    scene.put(&beside, "mine").await;
    for other in ["db/shop/about.html", "db/shop2/20200101T000000Z/run.json", "x"] {
        scene.put(&Key::new(other).unwrap(), "mine").await;
    }
    let probe = scene.layout.probe(Probe {
        at: RunId::now(),
        owner: 1,
        nonce: 1,
    });
    scene.put(&probe, "{}").await;
    // In people's own words, and not ours.
    let odd = Key::new("db/shop/20200104T000000Z/comments/odd name.md").unwrap();
    scene.put(&odd, "why?").await;
    // Written to a moment ago: somebody may be at it, though others were quicker.
    let slow = at("20200102T120000Z");
    scene.journal(slow, 3, Moment::now()).await;

    let removed = scene.retain(1, &[day(3)]).await.unwrap();
    assert_eq!(removed, [day(5), day(2)]);
    let there = [day(1), day(2), slow, day(3), day(4), day(6)];
    assert_eq!(scene.there().await, there.into());
    let of_second: Vec<String> = scene.keys().await;
    let of_second: Vec<&String> = of_second
        .iter()
        .filter(|key| key.contains("0200102T000000Z"))
        .collect();
    assert_eq!(
        of_second,
        ["20200102T000000Z/comments.txt", "20200102T000000Z/notes.txt"]
    );
    for kept in [
        probe.as_str(),
        "db/shop/about.html",
        "db/shop2/20200101T000000Z/run.json",
        "x",
    ] {
        assert!(
            scene
                .store
                .head(&Key::new(kept).unwrap())
                .await
                .unwrap()
                .is_some(),
            "{kept}"
        );
    }
    // And so it stays.
    assert_eq!(scene.retain(1, &[day(3)]).await.unwrap(), []);
    assert_eq!(scene.retain(1, &[]).await.unwrap(), [day(3)]);
}

#[tokio::test]
async fn without_a_good_run_nothing_goes() {
    let scene = Scene::new().await;
    scene.journal(day(1), 3, old()).await;
    scene.put(&scene.layout.catalog(day(1)), "x").await;
    scene.put(&scene.layout.run(day(2)), "x").await;
    assert_eq!(scene.retain(1, &[]).await.unwrap(), []);
    assert_eq!(scene.there().await, [day(1), day(2)].into());
}

#[tokio::test]
async fn cut_off_anywhere_it_leaves_nothing_that_seems_whole_and_is_ended_the_next_time() {
    for removals in 0..=8 {
        let scene = Scene::new().await;
        scene.good(day(1)).await;
        scene.good(day(2)).await;
        *scene.store.left.lock().unwrap() = removals;
        let result = scene.retain(1, &[]).await;
        assert_eq!(result.is_ok(), removals == 8, "{removals}");
        let keys = scene.keys().await;
        let has = |key: &str| keys.iter().any(|it| it == key);
        let report = has("20200101T000000Z/run.json");
        // Nobody would go on with it as if it had no end.
        assert!(
            report || !has(".journal/20200101T000000Z/000001.json"),
            "{removals}: {keys:?}"
        );
        // A report is never without its pages.
        for name in PAGES {
            assert!(
                !report || has(&format!("20200101T000000Z/{name}")),
                "{removals}: {keys:?}"
            );
        }
        *scene.store.left.lock().unwrap() = usize::MAX;
        let again = scene.retain(1, &[]).await.unwrap();
        assert_eq!(again.len(), usize::from(removals < 8), "{removals}");
        assert_eq!(scene.there().await, [day(2)].into(), "{removals}");
    }
}

#[tokio::test]
async fn not_all_goes_at_once() {
    let scene = Scene::new().await;
    scene.good(day(2)).await;
    scene.journal(day(1), 1100, old()).await;
    assert_eq!(scene.retain(1, &[]).await.unwrap(), []);
    assert_eq!(scene.keys().await.len(), 8 + 100);
    assert_eq!(scene.retain(1, &[]).await.unwrap(), [day(1)]);
    assert_eq!(scene.there().await, [day(2)].into());

    scene.good(day(1)).await;
    scene.cancel.cancel();
    let stopped = scene.retain(1, &[]).await;
    assert!(matches!(stopped, Err(RunError::Interrupted)), "{stopped:?}");
    assert_eq!(scene.there().await, [day(1), day(2)].into());
}
