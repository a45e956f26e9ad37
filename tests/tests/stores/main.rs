//! Stores, as files and in a real S3 server: one suite, and what only one of them can get wrong.

mod rights;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cataloger::run;
use cataloger::store::layout::{Probe, User};
use cataloger::store::preflight::{self, PreflightError};
use cataloger::store::s3::S3Credentials;
use cataloger::store::{
    Class, ContentType, Creation, Depth, DirectoryStore, Key, Layout, Listing, MAX_OBJECT, Meta, Prefix,
    Problem, RunId, S3Options, S3Store, Store, list_all,
};
use cataloger_tests::s3::{self, Fake, Fault, Server};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Directory,
    S3,
}

enum Place {
    Directory(TempDir),
    S3(Server),
}

struct Subject(Place);

impl Subject {
    fn new(kind: Kind) -> Self {
        Self(match kind {
            Kind::Directory => Place::Directory(tempfile::tempdir().unwrap()),
            Kind::S3 => Place::S3(Server::start()),
        })
    }

    /// Each is a store of its own, as another process would have it.
    async fn store(&self) -> Arc<dyn Store> {
        match &self.0 {
            Place::Directory(directory) => Arc::new(
                DirectoryStore::open(directory.path().join("pages"))
                    .await
                    .unwrap(),
            ),
            Place::S3(server) => Arc::new(server.store().await),
        }
    }
}

macro_rules! over_both {
    ($($name:ident),* $(,)?) => {
        mod directory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Subject::new(super::Kind::Directory)).await;
            })*
        }
        mod s3_server {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Subject::new(super::Kind::S3)).await;
            })*
        }
    };
}

over_both!(
    objects_come_back_as_they_went,
    one_of_all_writers_wins,
    listings_are_the_same_each_time,
    listings_go_past_a_thousand,
    odd_keys_are_kept,
    large_objects_are_whole,
    the_preflight_is_passed_and_leaves_nothing,
    probes_that_were_left_are_removed,
    taken_names_are_passed_over,
    old_runs_are_removed_and_the_last_good_one_is_found,
);

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

const TEXT: ContentType = ContentType::Text;

async fn listings_are_the_same_each_time(subject: Subject) {
    let store = subject.store().await;
    for name in ["a", "shop/b", "shop/eu/c"] {
        store.put(&key(name), "x".into(), TEXT).await.unwrap();
    }
    for depth in [Depth::Folder, Depth::Everything] {
        let everything = Listing::of(None, depth);
        let list = || store.list(&everything);
        let first = list().await.unwrap();
        assert!(!first.objects.is_empty());
        let (second, third) = tokio::join!(list(), list());
        assert_eq!((second.unwrap(), third.unwrap()), (first.clone(), first));
    }
}

async fn objects_come_back_as_they_went(subject: Subject) {
    let store = subject.store().await;
    let page = key("shop/20261121T120000Z/catalog.html");
    assert_eq!(store.get(&page).await.unwrap(), None);
    assert_eq!(store.head(&page).await.unwrap(), None);
    store.delete(&page).await.unwrap();
    for content in ["<p>first", "", "<p>and a longer second one"] {
        store.put(&page, content.into(), ContentType::Html).await.unwrap();
        let object = store.get(&page).await.unwrap().unwrap();
        assert_eq!(object.content, content);
        assert_eq!(object.content_type, ContentType::Html);
        assert_eq!(
            store.head(&page).await.unwrap().unwrap(),
            Meta {
                size: content.len() as u64,
                content_type: ContentType::Html
            }
        );
    }
    let again = store.create(&page, "mine".into(), ContentType::Html).await;
    assert_eq!(again.unwrap(), Creation::Exists);
    let object = store.get(&page).await.unwrap().unwrap();
    assert_eq!(object.content, "<p>and a longer second one");
    // What one has written, another reads.
    let other = subject.store().await;
    assert_eq!(other.get(&page).await.unwrap().unwrap(), object);
    other.delete(&page).await.unwrap();
    assert_eq!(store.get(&page).await.unwrap(), None);
    let created = store.create(&page, "mine".into(), ContentType::Html).await;
    assert_eq!(created.unwrap(), Creation::Created);
    assert!(store.uri(&page).ends_with("shop/20261121T120000Z/catalog.html"));
}

async fn one_of_all_writers_wins(subject: Subject) {
    const WRITERS: usize = 8;
    let mut stores = Vec::new();
    for _ in 0..WRITERS {
        stores.push(subject.store().await);
    }
    for round in 0..40 {
        // A folder that is not there yet is part of the race.
        let entry = key(&format!("p/.journal/{round}/000001.json"));
        let mut writers = JoinSet::new();
        for (writer, store) in stores.iter().enumerate() {
            let (store, entry) = (Arc::clone(store), entry.clone());
            writers.spawn(async move {
                let content = Bytes::from(format!("{writer}").repeat(5000));
                let made = store.create(&entry, content.clone(), ContentType::Json).await;
                (made.unwrap() == Creation::Created).then_some(content)
            });
        }
        let winners: Vec<Bytes> = writers.join_all().await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let found = stores[0].get(&entry).await.unwrap().unwrap();
        assert_eq!(found.content, winners[0], "round {round}");
    }
}

async fn listings_go_past_a_thousand(subject: Subject) {
    let store = subject.store().await;
    let mut expected = BTreeSet::new();
    let mut writers = JoinSet::new();
    for number in 0..1050 {
        for name in [
            format!("p/{number:04}/run.json"),
            format!("p/.journal/x/{number:06}.json"),
        ] {
            expected.insert(key(&name));
            let store = Arc::clone(&store);
            writers.spawn(async move { store.put(&key(&name), "{}".into(), ContentType::Json).await });
            if writers.len() >= 32 {
                writers.join_next().await.unwrap().unwrap().unwrap();
            }
        }
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap().unwrap();
    }
    // Sorted as bytes: "p-" and "p.txt" come before "p/".
    for beside in ["p-/x.txt", "p.txt", "p0.txt"] {
        store.put(&key(beside), "".into(), TEXT).await.unwrap();
    }
    let all = list_all(store.as_ref(), Some(key("p")), Depth::Everything, 10_000)
        .await
        .unwrap();
    let keys: Vec<Key> = all.objects.iter().map(|listed| listed.key.clone()).collect();
    assert_eq!(keys, expected.iter().cloned().collect::<Vec<_>>());
    assert!(all.objects.iter().all(|listed| listed.size == 2));
    assert!(all.folders.is_empty());

    let top = list_all(store.as_ref(), Some(key("p")), Depth::Folder, 10_000)
        .await
        .unwrap();
    assert_eq!(top.objects, []);
    assert_eq!(top.folders.len(), 1051);
    assert_eq!(top.folders[0], key("p/.journal"));
    assert_eq!(top.folders[1050], key("p/1049"));

    let root = list_all(store.as_ref(), None, Depth::Folder, 10_000)
        .await
        .unwrap();
    assert_eq!(root.folders, [key("p-"), key("p")]);
    let names: Vec<&str> = root.objects.iter().map(|listed| listed.key.as_str()).collect();
    assert_eq!(names, ["p.txt", "p0.txt"]);

    // Small pages are the same list.
    let mut listing = Listing::of(Some(key("p/.journal")), Depth::Everything);
    listing.limit = 300;
    let mut pages = Vec::new();
    loop {
        let page = store.list(&listing).await.unwrap();
        pages.push(page.objects.len());
        match page.next {
            Some(next) => listing.after = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, [300, 300, 300, 150]);

    let error = list_all(store.as_ref(), Some(key("p")), Depth::Everything, 1500)
        .await
        .unwrap_err();
    assert_eq!(error.problem, Problem::TooMany { most: 1500 });
    let nothing = store
        .list(&Listing::of(Some(key("nobody")), Depth::Everything))
        .await
        .unwrap();
    assert_eq!((nothing.objects.len(), nothing.next), (0, None));
}

async fn old_runs_are_removed_and_the_last_good_one_is_found(subject: Subject) {
    let store = subject.store().await;
    let layout = Layout::new("db/shop".parse::<Prefix>().unwrap());
    let cancel = CancellationToken::new();
    let put = |key: Key, content: String| {
        let store = Arc::clone(&store);
        async move {
            let content_type = ContentType::of(&key);
            store.put(&key, content.into(), content_type).await.unwrap();
        }
    };
    let moment = "2020-01-01T00:00:00Z";
    let days = [1, 2, 3, 4].map(|day| -> RunId { format!("2020010{day}T000000Z").parse().unwrap() });
    for run in days {
        let report = format!(
            r#"{{"run": "{run}", "fingerprint": "f", "startedAt": "{moment}", "finishedAt": "{moment}",
                "objects": {{"catalog.html": {{}}}}}}"#
        );
        put(layout.catalog(run), "<p>page".into()).await;
        put(layout.catalog_script(run), "1".into()).await;
        put(layout.run(run), report).await;
        for number in 1..=40 {
            let entry = format!(r#"{{"version": 1, "at": "{moment}"}}"#);
            put(layout.entry(run, number).unwrap(), entry).await;
        }
    }
    // The newest came to nothing yet, and people have something to say about the second.
    store.delete(&layout.run(days[3])).await.unwrap();
    let ann = User::from_name("ann");
    put(layout.comment(days[1], &ann, days[2]), "why?".into()).await;
    let there = || async {
        let all = list_all(store.as_ref(), None, Depth::Everything, 1000)
            .await
            .unwrap();
        let runs = all.objects.iter().filter_map(|it| layout.parse(&it.key));
        runs.map(|(run, _)| run).collect::<BTreeSet<_>>()
    };
    let retain = |keep| run::retain(&*store, &layout, &cancel, keep, &[]);

    let last = run::last_good(&*store, &layout, &cancel).await.unwrap().unwrap();
    assert_eq!(last.run, days[2]);
    let (name, uri) = &last.objects[0];
    assert_eq!(
        (name.as_str(), uri),
        ("catalog.html", &store.uri(&layout.catalog(days[2])))
    );
    assert_eq!(retain(3).await.unwrap(), []);
    assert_eq!(there().await, days.into());
    assert_eq!(retain(1).await.unwrap(), [days[0]]);
    assert_eq!(there().await, days[1..].iter().copied().collect());
    assert_eq!(retain(1).await.unwrap(), []);
}

async fn odd_keys_are_kept(subject: Subject) {
    let store = subject.store().await;
    let long = "n".repeat(200);
    let names: BTreeSet<Key> = [
        "o/день/Übersicht 2026.html",
        "o/a+b c%20d%2Fe&f=g?h#i.txt",
        "o/'quoted' \"twice\" <tag> {x} [y] | ^ ~ ` ! $ * ( ) ; : , @ =.txt",
        "o/back\\slash.txt",
        "o/-dash/…/🦀.json",
        "o/...dots...",
        "o/.hidden",
        &format!("o/{long}/{long}/{long}"),
    ]
    .into_iter()
    .map(key)
    .collect();
    for name in &names {
        let made = store.create(name, name.as_str().to_owned().into(), TEXT).await;
        assert_eq!(made.unwrap(), Creation::Created, "{name}");
        let again = store.create(name, "".into(), TEXT).await;
        assert_eq!(again.unwrap(), Creation::Exists, "{name}");
    }
    for name in &names {
        let object = store.get(name).await.unwrap().unwrap();
        assert_eq!(object.content, name.as_str());
        assert_eq!(
            store.head(name).await.unwrap().unwrap().size,
            name.as_str().len() as u64
        );
    }
    let listed = list_all(store.as_ref(), Some(key("o")), Depth::Everything, 100)
        .await
        .unwrap();
    let listed: Vec<Key> = listed.objects.into_iter().map(|it| it.key).collect();
    assert_eq!(listed, names.iter().cloned().collect::<Vec<_>>());
    for name in &names {
        store.delete(name).await.unwrap();
        assert_eq!(store.get(name).await.unwrap(), None);
    }
    let rest = list_all(store.as_ref(), None, Depth::Everything, 100)
        .await
        .unwrap();
    assert_eq!(rest.objects, []);
}

async fn large_objects_are_whole(subject: Subject) {
    let store = subject.store().await;
    let content: Bytes = (0..(20_u32 << 20)).map(|number| (number % 251) as u8).collect();
    let big = key("big.bin");
    store
        .put(&big, content.clone(), ContentType::Bytes)
        .await
        .unwrap();
    assert!(store.get(&big).await.unwrap().unwrap().content == content);
    let error = store
        .put(&big, Bytes::from(vec![0; MAX_OBJECT + 1]), ContentType::Bytes)
        .await
        .unwrap_err();
    assert!(matches!(error.problem, Problem::TooLarge { .. }), "{error}");
    assert_eq!(store.head(&big).await.unwrap().unwrap().size, 20 << 20);
}

async fn the_preflight_is_passed_and_leaves_nothing(subject: Subject) {
    let store = subject.store().await;
    for prefix in ["", "db/shop"] {
        let layout = Layout::new(prefix.parse().unwrap());
        let proof = preflight::prove(store.as_ref(), &layout, None).await.unwrap();
        assert!(proof.leftover.is_none());
    }
    let rest = list_all(store.as_ref(), None, Depth::Everything, 100)
        .await
        .unwrap();
    assert_eq!(rest.objects, []);
}

/// By whoever would have done so, as soon as they come again; and by anybody in the end.
async fn probes_that_were_left_are_removed(subject: Subject) {
    let store = subject.store().await;
    let layout = Layout::new("db/shop".parse().unwrap());
    let now = SystemTime::now();
    let left = |ago, owner| {
        let at = RunId::at(now - Duration::from_secs(ago));
        layout.probe(Probe { at, owner, nonce: 5 })
    };
    let (old, mine, anothers) = (left(7200, 1), left(60, 2), left(60, 3));
    for probe in [&old, &mine, &anothers] {
        store
            .put(probe, Bytes::from_static(b"{}"), ContentType::Json)
            .await
            .unwrap();
    }
    let proof = preflight::prove(store.as_ref(), &layout, Some(2)).await.unwrap();
    assert!(proof.leftover.is_none());
    let rest = list_all(store.as_ref(), None, Depth::Everything, 100)
        .await
        .unwrap();
    let rest: Vec<_> = rest.objects.into_iter().map(|listed| listed.key).collect();
    assert_eq!(rest, [anothers]);
}

async fn taken_names_are_passed_over(subject: Subject) {
    let store = subject.store().await;
    let layout = Layout::new("db/shop".parse().unwrap());
    let run: RunId = "20261231T235958Z".parse().unwrap();
    assert_eq!(layout.next_free(store.as_ref(), run).await.unwrap(), run);
    // Pages without a journal are taken, and so is a journal without pages.
    store
        .put(&layout.catalog(run), "".into(), ContentType::Html)
        .await
        .unwrap();
    let second = run.following();
    store
        .put(&layout.entry(second, 1).unwrap(), "{}".into(), ContentType::Json)
        .await
        .unwrap();
    let free = layout.next_free(store.as_ref(), run).await.unwrap();
    assert_eq!(free.to_string(), "20270101T000000Z");
    assert_eq!(layout.runs(store.as_ref()).await.unwrap(), [run]);
    assert_eq!(layout.journals(store.as_ref()).await.unwrap(), [second]);
    let all = Layout::new(Prefix::root());
    assert_eq!(all.runs(store.as_ref()).await.unwrap(), []);
}

// What only S3 can get wrong.

async fn failing(options: S3Options) -> Vec<cataloger::store::StoreError> {
    let store = S3Store::open(options).await.unwrap();
    let name = key("x.txt");
    vec![
        store.get(&name).await.unwrap_err(),
        store.head(&name).await.unwrap_err(),
        store.put(&name, "x".into(), TEXT).await.unwrap_err(),
        store.create(&name, "x".into(), TEXT).await.unwrap_err(),
        store.delete(&name).await.unwrap_err(),
        store.list(&Listing::of(None, Depth::Folder)).await.unwrap_err(),
    ]
}

#[tokio::test]
async fn wrong_keys_are_denied_and_not_shown() {
    let server = Server::start();
    for (id, secret) in [("tests", "another-secret-key"), ("nobody", s3::SECRET)] {
        let mut options = server.options();
        options.credentials = Some(S3Credentials {
            access_key_id: id.into(),
            secret_access_key: secret.into(),
            session_token: None,
        });
        for error in failing(options).await {
            assert!(matches!(error.problem, Problem::Denied { .. }), "{error}");
            assert_eq!(error.class(), Class::Stop);
            assert!(!format!("{error} {error:?}").contains(secret), "{error}");
        }
    }
}

#[tokio::test]
async fn a_missing_bucket_is_named() {
    let server = Server::start();
    let options = S3Options {
        bucket: "nowhere".into(),
        ..server.options()
    };
    for error in failing(options).await {
        let missing = Problem::NoBucket {
            bucket: "nowhere".into(),
        };
        assert_eq!(error.problem, missing, "{error}");
        assert!(error.to_string().contains("s3://nowhere"), "{error}");
        assert!(error.to_string().contains("http://127.0.0.1:"), "{error}");
    }
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_said() {
    let server = Server::start();
    let options = server.options();
    drop(server);
    for error in failing(options).await {
        assert!(matches!(error.problem, Problem::Unreachable { .. }), "{error}");
        assert_eq!(error.class(), Class::Retry);
    }
}

#[tokio::test]
async fn who_never_answers_is_not_waited_for() {
    let fake = Fake::start(Fault::Hangs).await;
    let mut options = fake.options();
    options.timing.read = Duration::from_millis(50);
    options.timing.attempt = Duration::from_millis(100);
    options.timing.operation = Duration::from_millis(200);
    for error in failing(options).await {
        assert!(
            matches!(
                error.problem,
                Problem::Timeout { .. } | Problem::Unreachable { .. }
            ),
            "{error}"
        );
        assert_eq!(error.class(), Class::Retry);
    }
}

#[tokio::test]
async fn a_store_that_ignores_the_condition_is_refused() {
    for fault in [Fault::IgnoresCondition, Fault::OverwritesAndDenies] {
        let fake = Fake::start(fault).await;
        let store = fake.store().await;
        let layout = Layout::new("db/shop".parse().unwrap());
        let error = preflight::prove(&store, &layout, None).await.unwrap_err();
        assert!(
            matches!(error, PreflightError::ConditionIgnored { .. }),
            "{error}"
        );
        assert_eq!(error.class(), Class::Stop);
        assert!(error.to_string().contains("If-None-Match"), "{error}");
        assert!(fake.objects().is_empty());
    }
    let fake = Fake::start(Fault::None).await;
    let layout = Layout::new(Prefix::root());
    assert!(preflight::prove(&fake.store().await, &layout, None).await.is_ok());
}

#[tokio::test]
async fn errors_of_the_server_are_told_apart() {
    for (status, code, class) in [
        (503, "SlowDown", Class::Wait),
        (429, "TooManyRequests", Class::Wait),
        (500, "InternalError", Class::Retry),
        (409, "ConditionalRequestConflict", Class::Retry),
        (403, "AccessDenied", Class::Stop),
        (507, "InsufficientStorage", Class::Stop),
        (301, "PermanentRedirect", Class::Stop),
        (400, "InvalidArgument", Class::Stop),
    ] {
        let fake = Fake::start(Fault::Answers {
            times: 100,
            status,
            code,
        })
        .await;
        let store = fake.store().await;
        let error = store
            .create(&key("x.json"), "{}".into(), ContentType::Json)
            .await
            .unwrap_err();
        assert_eq!(error.class(), class, "{status} {code}: {error}");
        let requests = fake.requests().len();
        // The SDK leaves a 429 to its caller.
        if class == Class::Stop || status == 429 {
            assert_eq!(requests, 1, "{code} is not tried again");
        } else {
            assert!((2..=12).contains(&requests), "{code}: {requests} tries");
        }
    }
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    for (status, code) in [(503, "SlowDown"), (409, "ConditionalRequestConflict")] {
        let fake = Fake::start(Fault::Answers {
            times: 1,
            status,
            code,
        })
        .await;
        let store = fake.store().await;
        let made = store.create(&key("x.json"), "{}".into(), ContentType::Json).await;
        assert_eq!(made.unwrap(), Creation::Created, "{code}");
        assert_eq!(fake.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_lost_answer_may_make_ones_own_object_anothers() {
    // As documented on `Creation::Exists`: the journal reads it, and finds itself.
    let fake = Fake::start(Fault::LosesAnswers(1)).await;
    let store = fake.store().await;
    let entry = key("x.json");
    let made = store
        .create(&entry, "mine".into(), ContentType::Json)
        .await
        .unwrap();
    assert_eq!(made, Creation::Exists);
    assert_eq!(store.get(&entry).await.unwrap().unwrap().content, "mine");
}

// What only a directory can get wrong.

#[tokio::test]
async fn a_full_disk_is_a_clear_error_and_loses_nothing() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: mounting a small file system needs root");
        return;
    }
    let mount = Mount::new();
    let store = DirectoryStore::open(mount.0.path().join("pages")).await.unwrap();
    let page = key("run/catalog.html");
    store.put(&page, "old".into(), ContentType::Html).await.unwrap();
    let big = Bytes::from(vec![b'x'; 2 << 20]);
    for error in [
        store
            .put(&page, big.clone(), ContentType::Html)
            .await
            .unwrap_err(),
        store
            .create(&key("new.html"), big.clone(), ContentType::Html)
            .await
            .unwrap_err(),
    ] {
        assert!(matches!(error.problem, Problem::Full { .. }), "{error}");
        assert!(error.to_string().contains("no room"), "{error}");
    }
    assert_eq!(store.get(&page).await.unwrap().unwrap().content, "old");
    assert_eq!(store.head(&key("new.html")).await.unwrap(), None);
    // What was begun is gone, so there is room again.
    let fits = Bytes::from(vec![b'x'; 512 << 10]);
    store.put(&page, fits, ContentType::Html).await.unwrap();
}

struct Mount(TempDir);

impl Mount {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(directory.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "a small file system can be mounted");
        Self(directory)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
    }
}
