//! A store whose listings are late: what was written is there for who asks by name, and not yet in a list. One whose
//! answers are.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use cataloger::agent::prompts::Role;
use cataloger::run::{self, Kind, Parts, Plan, Sandboxes};
use cataloger::store::{
    ContentType, Creation, DirectoryStore, Key, Listing, Meta, Object, Page, Store, StoreError,
};
use cataloger_tests::faults::{Act, Moment, Points, Proxy};
use cataloger_tests::s3;

use crate::scene::{self, Scene};
use crate::stage::{Warm, resume, start};

/// A directory that lists nothing of what was written since.
#[derive(Debug)]
struct Late {
    store: DirectoryStore,
    hidden: Mutex<BTreeSet<String>>,
    /// The next object with these words in it is written, and that is heard so much later.
    slow: Mutex<Option<(&'static str, Duration)>>,
}

impl Late {
    async fn at(pages: &Path) -> Arc<Self> {
        Arc::new(Self {
            store: DirectoryStore::open(pages.to_owned()).await.unwrap(),
            hidden: Mutex::default(),
            slow: Mutex::default(),
        })
    }

    fn hide(&self, key: &Key) {
        self.hidden.lock().unwrap().insert(key.as_str().to_owned());
    }

    /// All that is there is listed now.
    fn catch_up(&self) {
        self.hidden.lock().unwrap().clear();
    }
}

#[async_trait]
impl Store for Late {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.store.get(key).await
    }

    async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        self.store.head(key).await
    }

    async fn put(&self, key: &Key, content: Bytes, content_type: ContentType) -> Result<(), StoreError> {
        self.hide(key);
        self.store.put(key, content, content_type).await
    }

    async fn create(
        &self,
        key: &Key,
        content: Bytes,
        content_type: ContentType,
    ) -> Result<Creation, StoreError> {
        self.hide(key);
        let text = String::from_utf8_lossy(&content).into_owned();
        let created = self.store.create(key, content, content_type).await;
        let slow = {
            let mut slow = self.slow.lock().unwrap();
            slow.take_if(|(words, _)| text.contains(*words))
        };
        if let Some((_, wait)) = slow {
            tokio::time::sleep(wait).await;
        }
        created
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.store.delete(key).await
    }

    async fn list(&self, listing: &Listing) -> Result<Page, StoreError> {
        let mut page = self.store.list(listing).await?;
        let hidden = self.hidden.lock().unwrap();
        page.objects.retain(|it| !hidden.contains(it.key.as_str()));
        // A folder is seen once something in it is.
        let hides = |folder: &Key| {
            let folder = format!("{}/", folder.as_str());
            hidden.iter().any(|key| key.starts_with(&folder))
        };
        page.folders.retain(|folder| !hides(folder));
        Ok(page)
    }

    fn uri(&self, key: &Key) -> String {
        self.store.uri(key)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_that_are_late_lose_and_overwrite_nothing() {
    let scene = Scene::new().await;
    let (plan, warm) = (scene.plan(), Warm::new().await);
    let store = Late::at(&scene.pages()).await;
    let parts = async || Parts {
        store: Arc::clone(&store) as Arc<dyn Store>,
        sandboxes: Arc::clone(&warm) as Arc<dyn Sandboxes>,
        ..scene.parts(&plan).await
    };
    // Cut off in its middle, and gone on with by name: no list is needed for that.
    let first = parts().await;
    let watch = |event: &run::Event| {
        if matches!(event, run::Event::Ran { .. }) {
            first.cancel.cancel();
        }
    };
    let stopped = run::start(&plan, &first, &watch).await.unwrap_err();
    assert_eq!(stopped.kind(), Kind::Interrupted, "{stopped}");
    let run = scene.only();
    let asked = scene.server.requests().len();
    let outcome = resume(&plan, &parts().await, run).await.0.unwrap();
    assert_eq!(outcome.run, run);
    assert_eq!(scene.server.requests().len(), 6, "{asked} before");
    let before = scene::is_whole(&scene.pages(), &run.to_string());

    // Who begins another one does not see it, and leaves it alone all the same.
    let (second, _) = start(&plan, &parts().await).await;
    let second = second.unwrap().run;
    assert_ne!(second, run);
    assert_eq!(scene::is_whole(&scene.pages(), &run.to_string()), before);
    scene::is_whole(&scene.pages(), &second.to_string());

    // Nothing is removed because it is not listed; and once it is, all is known.
    let kept = parts().await;
    let removed = run::retain(&*kept.store, &kept.layout, &kept.cancel, 1, &[]).await;
    assert_eq!(removed.unwrap(), []);
    store.catch_up();
    let good = run::last_good(&*kept.store, &kept.layout, &kept.cancel).await;
    assert_eq!(good.unwrap().unwrap().run, second);
}

/// The time of a run may be over while an entry is written: it is waited for, since who gives it up half way does not
/// know whether it is there, and takes its own for another's.
#[tokio::test(flavor = "multi_thread")]
async fn time_that_ends_while_an_entry_is_written_ends_the_summary_alone() {
    let scene = Scene::new().await;
    let (plan, warm) = (scene.plan(), Warm::new().await);
    let store = Late::at(&scene.pages()).await;
    let parts = async |plan: &Plan| Parts {
        store: Arc::clone(&store) as Arc<dyn Store>,
        sandboxes: Arc::clone(&warm) as Arc<dyn Sandboxes>,
        ..scene.parts(plan).await
    };
    // Up to where the summary has its task.
    let began = Instant::now();
    let first = parts(&plan).await;
    let watch = |event: &run::Event| {
        if let run::Event::Began { role, .. } = event
            && *role == Role::Summary
        {
            first.hand_over.cancel();
        }
    };
    let stopped = run::start(&plan, &first, &watch).await.unwrap_err();
    assert_eq!(stopped.kind(), Kind::Interrupted, "{stopped}");
    let run = scene.only();
    let asked = scene.server.requests().len();

    // There is time to get a sandbox, and none left when it is heard that it is noted.
    let time = began.elapsed() + Duration::from_secs(8);
    let mut limited = plan;
    limited.limits.time = time;
    *store.slow.lock().unwrap() = Some(("\"ready\"", time));
    let outcome = resume(&limited, &parts(&limited).await, run).await.0.unwrap();
    let failure = outcome.summary_failure.unwrap();
    assert!(failure.contains("time"), "{failure}");
    assert_eq!(scene.server.requests().len(), asked);
    let records = scene.records();
    let [.., ended, finished] = &records[..] else {
        panic!("{records:?}");
    };
    assert!(
        ended["ended"]["role"] == "summary" && finished["finished"].is_object(),
        "{records:?}"
    );
    assert_eq!(
        scene::names(&scene.pages().join(run.to_string())),
        ["catalog.html", "catalog_script.py", "run.json"]
    );
}

/// Each answer takes a third of a second longer than it should.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_slow_only_takes_longer() {
    let bucket = s3::Server::start();
    let points = Points::new(|seen| match seen.moment {
        Moment::Before => Act::Wait(Duration::from_millis(300)),
        Moment::After { .. } => Act::Pass,
    });
    let proxy = Proxy::bucket(bucket.endpoint(), &points).await;
    let scene = Scene::new().await;
    let began = Instant::now();
    let command = scene.command(&["--output", "s3://pages/docs"]).await;
    let output = command.bucket(&proxy.url()).run().await;
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    assert!(
        !output.stderr.contains("waits for the store"),
        "{}",
        output.stderr
    );
    assert!(began.elapsed() > Duration::from_secs(9), "{:?}", began.elapsed());
    assert_eq!(output.stdout.lines().count(), 5);
    assert_eq!(scene.server.requests().len(), 6);
}
