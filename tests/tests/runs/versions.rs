//! Runs that another release began: gone on with, or begun anew with a reason. What is there of theirs stays as it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cataloger::agent::prompts::{Prompts, Role};
use cataloger::run::record::VERSION;
use cataloger::run::{Claimant, Kind, Parts, Sandboxes};
use cataloger::runtime::fence::Fence;
use cataloger::runtime::metrics::Metrics;
use cataloger::sessions::queue::Place;
use cataloger::sessions::{Assignment, Ended, Key, OwnStore, Sessions, StoreAt, View};
use cataloger::store::RunId;
use cataloger_tests::script::repository;
use cataloger_tests::sha256;
use serde_json::Value;

use crate::scene::{self, Scene};
use crate::stage::{Warm, resume, start};

/// The run whose journal is in the corpus.
const OLD: &str = "20261126T210706Z";
/// What it was asked.
const INTENT: &str = "What is an order?";
/// How many turns its agents take in all.
const TURNS: usize = 6;

fn journal_of(scene: &Scene, run: &str) -> PathBuf {
    scene.pages().join(".journal").join(run)
}

fn entry(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number:06}.json"))
}

fn value(path: &Path) -> Value {
    serde_json::from_str(&scene::read(path)).unwrap()
}

/// Puts the journal of the corpus into the pages of a scene, as far as the first entry that is as wanted. How many
/// answers it holds, and how many entries.
fn lay(scene: &Scene, last: impl Fn(&Value) -> bool) -> (usize, usize) {
    let corpus = repository().join("tests/corpus/journals/1");
    let folder = journal_of(scene, OLD);
    std::fs::create_dir_all(&folder).unwrap();
    let prompts = Prompts::embedded().unwrap();
    let used = Role::ALL.map(|role| cataloger::run::record::PromptUsed::from(prompts.get(role)));
    let mut answers = 0;
    for number in 1.. {
        let text = scene::read(entry(&corpus, number)).replace("{{DATABASE}}", &scene.database());
        let mut value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["version"], 1);
        if number == 1 {
            // They may change with each release; then another run would be due, whatever the version.
            value["record"]["claimed"]["asked"]["prompts"] = serde_json::to_value(&used).unwrap();
        }
        std::fs::write(entry(&folder, number), value.to_string()).unwrap();
        answers += usize::from(value["record"].get("answered").is_some());
        if last(&value["record"]) {
            return (answers, number);
        }
    }
    unreachable!("one of them is wanted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_the_version_before_is_gone_on_with() {
    let second_cell = |record: &Value| {
        record["ran"]["code"]
            .as_str()
            .is_some_and(|code| code.contains("count"))
    };
    let accepted = |record: &Value| record.get("checked").is_some();
    for last in [second_cell as fn(&Value) -> bool, accepted] {
        let scene = Scene::new().await;
        let (answers, entries) = lay(&scene, last);
        let output = scene.run(&["--resume", OLD, "--intent", INTENT]).await;
        assert_eq!(output.code(), Some(0), "{}", output.stderr);
        // What was answered is not asked again.
        assert_eq!(scene.server.requests().len(), TURNS - answers);
        assert_eq!(scene.server.problems(), Vec::<String>::new());
        let report = scene::is_whole(&scene.pages(), OLD);
        assert_eq!(report["attempts"], 2);
        assert_eq!(report["usage"]["turns"], TURNS);
        // What it adds is of its own version.
        let folder = journal_of(&scene, OLD);
        assert_eq!(value(&entry(&folder, entries))["version"], 1);
        assert_eq!(value(&entry(&folder, entries + 1))["version"], VERSION);
    }
}

/// A run that came to its end, without all that was done after an entry: its number.
async fn cut_after(scene: &Scene, last: impl Fn(&Value) -> bool) -> (RunId, usize) {
    let plan = scene.plan();
    let parts = parts(scene, &Warm::new().await).await;
    start(&plan, &parts).await.0.unwrap();
    let run = scene.only();
    let number = 1 + scene.records().iter().position(last).unwrap();
    let folder = journal_of(scene, &run.to_string());
    for name in scene::names(&folder).split_off(number) {
        std::fs::remove_file(folder.join(name)).unwrap();
    }
    (run, number)
}

async fn parts(scene: &Scene, warm: &Arc<Warm>) -> Parts {
    Parts {
        sandboxes: Arc::clone(warm) as Arc<dyn Sandboxes>,
        ..scene.parts(&scene.plan()).await
    }
}

fn publishes(record: &Value, name: &str) -> bool {
    record["published"]["name"] == name
}

/// Another release has noted what its page is. It may have written it, or not, or somebody else has written another.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_another_release_was_writing_is_its_own_or_made_anew() {
    let theirs = "<!doctype html><title>Shop</title><p>in another frame</p>\n";
    for (case, there) in [
        ("written", Some(theirs)),
        ("not written", None),
        ("of somebody else", Some("mine")),
    ] {
        let scene = Scene::new().await;
        let (run, number) = cut_after(&scene, |record| publishes(record, "catalog.html")).await;
        let folder = scene.pages().join(run.to_string());
        for name in [
            "recent_summary.html",
            "summary_script.py",
            "run.json",
            "catalog.html",
        ] {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
        let noted = entry(&journal_of(&scene, &run.to_string()), number);
        let mut page = value(&noted);
        page["record"]["published"]["bytes"] = theirs.len().into();
        page["record"]["published"]["sha256"] = sha256(theirs.as_bytes()).into();
        std::fs::write(&noted, page.to_string()).unwrap();
        if let Some(content) = there {
            std::fs::write(folder.join("catalog.html"), content).unwrap();
        }
        let asked = scene.server.requests().len();
        let parts = parts(&scene, &Warm::new().await).await;
        let (result, _) = resume(&scene.plan(), &parts, run).await;
        let page = folder.join("catalog.html");
        if case == "of somebody else" {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), Kind::Store, "{error}");
            assert!(error.to_string().contains("with other content"), "{error}");
            assert!(!error.is_resumable());
            assert_eq!(scene::read(page), "mine");
            continue;
        }
        assert_eq!(result.unwrap().summary_failure, None, "{case}");
        // Hashes of all objects are those of the report.
        scene::is_whole(&scene.pages(), &run.to_string());
        assert_eq!(scene::read(page) == theirs, case == "written", "{case}");
        // Nothing but the summary, which was not there, is paid for.
        assert_eq!(scene.server.requests().len(), asked + 2, "{case}");
        let records = scene.records();
        let pages = records.iter().filter(|record| publishes(record, "catalog.html"));
        assert_eq!(pages.count(), if case == "written" { 1 } else { 2 }, "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_another_release_has_written_is_as_good() {
    let scene = Scene::new().await;
    let (run, _) = cut_after(&scene, |record| record.get("finished").is_some()).await;
    let path = scene.pages().join(run.to_string()).join("run.json");
    let mut report = value(&path);
    report["version"] = 2.into();
    report["mood"] = "good".into();
    std::fs::write(&path, report.to_string()).unwrap();
    let (plan, warm) = (scene.plan(), Warm::new().await);
    let outcome = resume(&plan, &parts(&scene, &warm).await, run).await.0.unwrap();
    assert_eq!((outcome.run, outcome.summary_failure), (run, None));
    assert_eq!(value(&path)["mood"], "good");
    // One of another run is not.
    report["run"] = OLD.into();
    std::fs::write(&path, report.to_string()).unwrap();
    let error = resume(&plan, &parts(&scene, &warm).await, run)
        .await
        .0
        .unwrap_err();
    assert!(error.to_string().contains("run.json is there already"), "{error}");
}

/// A session that was told of a run of a version to come.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_be_gone_on_with_is_begun_anew_with_a_reason() {
    let scene = Scene::new().await;
    let mut plan = scene.plan();
    plan.claimant = Claimant {
        installation: "here".into(),
        catalog: Some("5a3c".into()),
        order: Some("first".into()),
        subject: None,
    };
    let folder = journal_of(&scene, OLD);
    std::fs::create_dir_all(&folder).unwrap();
    let later = format!("{{\"version\": {}, \"all\": \"else\"}}", VERSION + 1);
    std::fs::write(entry(&folder, 1), &later).unwrap();

    let warm = Warm::new().await;
    let parts = parts(&scene, &warm).await;
    let (sessions, mut looks) = Sessions::new(1, Metrics::new());
    let key = Key {
        uid: "5a3c".into(),
        namespace: "shop".into(),
        name: "orders".into(),
    };
    assert_eq!(sessions.ask(&key, true), Place::Granted);
    sessions.start(Assignment {
        key: key.clone(),
        plan,
        store: StoreAt::Own(OwnStore {
            store: parts.store,
            proven: parts.proven,
        }),
        layout: parts.layout,
        model: parts.model,
        sandboxes: Box::new(|_| parts.sandboxes),
        clean_up: Box::new(|_| Box::pin(async {})),
        prompts: parts.prompts,
        prices: parts.prices,
        redactor: parts.redactor,
        run: OLD.parse().ok(),
        adopt: false,
        keep: None,
        metrics: Metrics::new(),
        fence: Fence::default(),
    });
    let (ended, progress) = loop {
        looks.recv().await.unwrap();
        match sessions.view(&key.uid) {
            View::Absent => panic!("it is forgotten"),
            View::Running { .. } => {}
            View::Over { ended, progress, .. } => break (ended, progress),
        }
    };
    let Ended::Succeeded(outcome) = &*ended else {
        panic!("{ended:?}");
    };
    assert_ne!(outcome.run.to_string(), OLD);
    assert_eq!(progress.run, Some(outcome.run));
    let reason = format!("is of version {} of the journal", VERSION + 1);
    let told = progress.anew.unwrap();
    assert!(
        told.contains(&reason) && told.ends_with("it is begun anew"),
        "{told}"
    );
    assert_eq!(scene::read(entry(&folder, 1)), later);
    scene::is_whole(&scene.pages(), &outcome.run.to_string());
}
