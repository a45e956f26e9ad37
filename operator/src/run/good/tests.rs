//! Which run stands for a Catalog that is made anew, and that odd reports stand for nothing.

use serde_json::json;

use super::*;
use crate::store::{ContentType, DirectoryStore, Key, Prefix};

struct Scene {
    _directory: tempfile::TempDir,
    store: DirectoryStore,
    layout: Layout,
    cancel: CancellationToken,
}

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            store: DirectoryStore::open(directory.path().join("pages"))
                .await
                .unwrap(),
            _directory: directory,
            layout: Layout::new("db/shop".parse::<Prefix>().unwrap()),
            cancel: CancellationToken::new(),
        }
    }

    async fn put(&self, key: &Key, content: String) {
        self.store
            .put(key, content.into(), ContentType::of(key))
            .await
            .unwrap();
    }

    /// A run with a catalog and this report.
    async fn run(&self, run: RunId, report: &Value) {
        self.put(&self.layout.catalog(run), "<p>x".into()).await;
        self.put(&self.layout.run(run), report.to_string()).await;
    }

    async fn last(&self) -> Option<GoodRun> {
        last_good(&self.store, &self.layout, &self.cancel).await.unwrap()
    }
}

fn at(text: &str) -> RunId {
    text.parse().unwrap()
}

fn subject() -> Subject {
    Subject {
        namespace: "shop".into(),
        name: "orders".into(),
        fingerprint: "f".repeat(64),
        requested_at: None,
    }
}

fn report(run: RunId) -> Value {
    json!({
        "version": 1, "run": run, "cataloger": "0.1.0", "fingerprint": "abc", "order": "o", "subject": subject(),
        "startedAt": "2026-11-21T12:00:03.123Z", "finishedAt": "2026-11-21T12:01:03.123Z", "seconds": 1.5,
        "attempts": 2, "usage": {"turns": 4, "tokens": 35, "input": 10, "output": 20, "cacheWrite": 5,
            "cacheRead": 7, "cost": 0.125_001},
        "catalog": {"models": [
            {"asked": "anthropic/a", "model": "a", "turns": 1}, {"asked": "openai/b", "model": "b", "turns": 2},
            {"asked": "whose is this", "model": "", "turns": 9}]},
        "summary": {"models": [], "failure": "no page was handed in"},
        "objects": {"catalog.html": {"bytes": 3}, "../../escaped": {}, "run.json": {}, "catalog_script.py": {}},
        "warnings": ["w"], "what a later release says": [1],
    })
}

#[tokio::test]
async fn the_newest_run_that_came_to_its_end_is_found() {
    let scene = Scene::new().await;
    assert_eq!(scene.last().await, None);
    let (good, later) = (at("20261121T120000Z"), at("20261121T130000Z"));
    scene
        .run(at("20261120T120000Z"), &report(at("20261120T120000Z")))
        .await;
    scene.run(good, &report(good)).await;
    // Each newer one lacks something: its report, its catalog, its name; or says nothing.
    let catalog = scene.layout.catalog(later);
    scene.put(&catalog, "<p>under way".into()).await;
    let half = at("20261121T130001Z");
    scene.put(&scene.layout.run(half), report(half).to_string()).await;
    scene.run(at("20261121T130002Z"), &report(good)).await;
    let mut broken = report(at("20261121T130003Z"));
    broken["finishedAt"] = json!("yesterday");
    scene.run(at("20261121T130003Z"), &broken).await;
    scene.run(at("20261121T130004Z"), &json!([])).await;

    let found = scene.last().await.unwrap();
    assert_eq!(found.run, good);
    assert!(found.is_of(&subject()));
    let other = Subject {
        fingerprint: "e".repeat(64),
        ..subject()
    };
    assert!(!found.is_of(&other));
    // A request buys another run, but for one that this run has answered; no request is none.
    let asked = |at: Option<&str>| Subject {
        requested_at: at.map(str::to_owned),
        ..subject()
    };
    assert!(!found.is_of(&asked(Some("monday"))));
    let answered = GoodRun {
        subject: Some(asked(Some("monday"))),
        ..found.clone()
    };
    assert!(answered.is_of(&asked(Some("monday"))) && answered.is_of(&asked(None)));
    assert!(!answered.is_of(&asked(Some("tuesday"))) && !answered.is_of(&other));
    assert_eq!(found.order.as_deref(), Some("o"));
    assert_eq!((found.attempts, found.driven), (2, Duration::from_millis(1500)));
    assert_eq!(found.finished_at.to_string(), "2026-11-21T12:01:03.123Z");
    let names: Vec<&str> = found.objects.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["catalog.html", "catalog_script.py", "run.json"]);
    assert!(
        found.objects[0]
            .1
            .ends_with("db/shop/20261121T120000Z/catalog.html")
    );
    assert_eq!(found.summary_failure.as_deref(), Some("no page was handed in"));
    let models: Vec<String> = found.models.iter().map(ToString::to_string).collect();
    assert_eq!(models, ["openai/b", "anthropic/a"]);
    assert_eq!(found.spent.usage.budget_tokens(), 35);
    assert_eq!((found.spent.turns, found.spent.cost), (4, Some(Cost(125_001))));
    assert_eq!(found.warnings, ["w"]);
}

#[tokio::test]
async fn little_is_needed_and_nothing_is_without_bounds() {
    let scene = Scene::new().await;
    let run = at("20261121T120000Z");
    let mut least = json!({
        "run": run, "fingerprint": "abc", "startedAt": "2026-11-21T12:00:03Z", "finishedAt": "2026-11-21T12:01:03Z",
    });
    scene.run(run, &least).await;
    let found = scene.last().await.unwrap();
    assert_eq!((found.subject, found.spent.cost), (None, None));
    assert_eq!(found.summary_failure.as_deref(), Some("run.json says why"));

    least["warnings"] = vec!["w".repeat(10_000); 1000].into();
    least["usage"] = json!({"cost": -1e300});
    least["seconds"] = json!(-1);
    scene.run(run, &least).await;
    let found = scene.last().await.unwrap();
    assert_eq!(
        (found.warnings.len(), found.warnings[0].chars().count()),
        (100, 2001)
    );
    assert_eq!((found.spent.cost, found.driven), (Some(Cost(0)), Duration::ZERO));

    // A hundred runs that came to nothing are passed over, and no more.
    for later in 1..=100u32 {
        let later = RunId::at(run.time() + Duration::from_secs(later.into()));
        scene.put(&scene.layout.catalog(later), String::new()).await;
    }
    assert_eq!(scene.last().await, None);
    scene
        .store
        .delete(&scene.layout.catalog(run.following()))
        .await
        .unwrap();
    assert_eq!(scene.last().await.map(|found| found.run), Some(run));

    scene.cancel.cancel();
    let stopped = last_good(&scene.store, &scene.layout, &scene.cancel).await;
    assert!(matches!(stopped, Err(RunError::Interrupted)));
}
