//! Runs that are cut off anywhere, and go on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cataloger::store::{Depth, Store as _, list_all};
use cataloger_tests::author::{Author, Move, page, place};
use cataloger_tests::proxy::{Answer, Proxy};
use cataloger_tests::s3;
use rustix::process::Signal;

use crate::scene::{self, Scene};

/// The entries of the run that is killed.
const ENTRIES: u32 = 30;

/// Ends a process as soon as an entry of its journal is in the bucket.
#[derive(Default)]
pub(crate) struct Killer {
    pub(crate) after: u32,
    pub(crate) pid: Option<u32>,
    pub(crate) killed: bool,
    /// How often each object was made.
    pub(crate) made: BTreeMap<String, u32>,
}

impl Killer {
    pub(crate) fn see(&mut self, answer: &Answer) {
        if answer.method == "PUT" && answer.status == 200 {
            *self.made.entry(answer.path.clone()).or_default() += 1;
        }
        if answer.entry() == Some(self.after) {
            let pid = self
                .pid
                .and_then(|pid| i32::try_from(pid).ok())
                .expect("it has started");
            let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
            rustix::process::kill_process(pid, Signal::KILL).expect("it runs");
            self.killed = true;
        }
    }
}

/// With all that makes entries of their own: calls side by side, one that fails, a session that is lost, a page that
/// is refused.
fn author() -> Author {
    let mut author = Author::default();
    author
        .catalog
        .insert(0, Move::Execute("import os\nos._exit(7)".into()));
    let last = author.catalog.len() - 1;
    author
        .catalog
        .insert(last, Move::Submit(page("<script>1</script>")));
    author
}

/// Killed after each entry of its journal, in its own process each time; then gone on with.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_nor_done_twice_wherever_it_is_killed() {
    let bucket = s3::Server::start();
    let killer = Arc::new(Mutex::new(Killer::default()));
    let seen = Arc::clone(&killer);
    let proxy = Proxy::start(bucket.endpoint(), move |answer| seen.lock().unwrap().see(answer)).await;
    let mut after = 1;
    loop {
        let scene = Scene::with(author()).await;
        let place_of_pages = format!("s3://pages/killed-after-{after}");
        let arguments = ["--output", place_of_pages.as_str()];
        *killer.lock().unwrap() = Killer {
            after,
            ..Killer::default()
        };
        let running = {
            // The process must be known before it can write.
            let mut killer = killer.lock().unwrap();
            let command = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(scene.command(&arguments))
            });
            let running = command.bucket(&proxy.url()).start();
            killer.pid = Some(running.pid());
            running
        };
        let output = running.end().await;
        if !std::mem::take(&mut killer.lock().unwrap().killed) {
            assert_eq!(output.code(), Some(0), "{}", output.stderr);
            break;
        }
        assert_eq!(
            output.code(),
            None,
            "it was killed after entry {after}: {}",
            output.stderr
        );
        killer.lock().unwrap().after = 0;
        let resumed = scene
            .command(&["--output", &place_of_pages, "--resume"])
            .await
            .bucket(&proxy.url())
            .run()
            .await;
        assert_eq!(resumed.code(), Some(0), "after entry {after}: {}", resumed.stderr);

        // No request was on its way when it was killed, so none may be there twice.
        let mut counted = BTreeMap::new();
        for request in scene.server.requests() {
            let (asker, turn) = place(&request);
            *counted.entry(format!("{asker:?} {turn}")).or_insert(0) += 1;
        }
        assert!(
            counted.values().all(|times| *times == 1),
            "after entry {after}: {counted:?}"
        );
        assert_eq!(counted.len(), 8, "after entry {after}: {counted:?}");
        assert_eq!(
            scene.server.problems(),
            Vec::<String>::new(),
            "after entry {after}"
        );
        let made = killer.lock().unwrap().made.clone();
        assert!(
            made.values().all(|times| *times == 1),
            "after entry {after}: {made:?}"
        );
        is_whole(&bucket, after).await;
        after += 1;
    }
    // Claimed, surveyed, ready, began, six turns with five calls and two checks, ended, two objects; ready, began, two turns with
    // a call and a check, ended, two objects; finished.
    assert_eq!(after, ENTRIES + 1);
}

/// One run, with all its pages, its variables as they were.
async fn is_whole(bucket: &s3::Server, after: u32) {
    let store = bucket.store().await;
    let folder = format!("killed-after-{after}").parse().unwrap();
    let all = list_all(&store, Some(folder), Depth::Everything, 1000)
        .await
        .unwrap();
    let mut pages = Vec::new();
    let mut computed = false;
    for listed in &all.objects {
        let object = store.get(&listed.key).await.unwrap().unwrap();
        let text = String::from_utf8(object.content.to_vec()).unwrap();
        if listed.key.as_str().contains("/.journal/") {
            computed |= text.contains("'3 orders, 42'");
        } else {
            pages.push((listed.key.name().to_owned(), text));
        }
    }
    assert!(computed, "after entry {after}: the variables were not rebuilt");
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "catalog.html",
            "catalog_script.py",
            "recent_summary.html",
            "run.json",
            "summary_script.py"
        ],
        "after entry {after}"
    );
    let report: serde_json::Value = serde_json::from_str(&pages[3].1).unwrap();
    assert_eq!(
        report["attempts"],
        if after == ENTRIES { 1 } else { 2 },
        "after entry {after}"
    );
    for (name, text) in pages.iter().filter(|(name, _)| name != "run.json") {
        assert_eq!(
            report["objects"][name]["sha256"],
            cataloger_tests::sha256(text.as_bytes()),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_says_what_is_kept() {
    // It is still thinking when it is stopped.
    let scene = Scene::with(Author {
        latency: Duration::from_secs(1),
        ..Author::default()
    })
    .await;
    let running = scene.command(&[]).await.start();
    scene.server.asked(2).await;
    running.signal(Signal::INT);
    let output = running.end().await;
    assert_eq!(output.code(), Some(130), "{}", output.stderr);
    let pages = scene.pages();
    let run = scene::names(&pages.join(".journal"))[0].clone();
    assert!(
        output.stderr.contains(&format!("run {run} is kept")) && output.stderr.contains("--resume"),
        "{}",
        output.stderr
    );
    assert_eq!(scene::runs(&pages), Vec::<String>::new());
    let resumed = scene.run(&["--resume"]).await;
    assert_eq!(resumed.code(), Some(0), "{}", resumed.stderr);
    scene::is_whole(&pages, &run);
    // What was asked for must be the same; and a run that is finished is not gone on with.
    let other = scene.run(&["--resume", &run, "--intent", "another"]).await;
    assert_eq!(other.code(), Some(2), "{}", other.stderr);
    assert!(
        other.stderr.contains("the intent of it is another"),
        "{}",
        other.stderr
    );
    let none = scene.run(&["--resume"]).await;
    assert_eq!(none.code(), Some(2), "{}", none.stderr);
    assert!(none.stderr.contains("no run to go on with"), "{}", none.stderr);
    let again = scene.run(&["--resume", &run]).await;
    assert_eq!(again.code(), Some(0), "{}", again.stderr);
    assert_eq!(scene::runs(&pages), [run]);
}
