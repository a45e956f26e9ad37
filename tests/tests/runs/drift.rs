//! Summaries of the builtin model against the truth: changes planted among what does not change, over many seeds.
//! Every one is told, and nothing else.

use std::path::Path;
use std::sync::Arc;

use cataloger::run::{Database, Sandboxes};
use cataloger_tests::databases::{mariadb, postgres};
use tempfile::TempDir;

use crate::scene::{self, Scene};
use crate::stage::{self, Warm};
use crate::truth::{directory, script};

/// Databases that are cataloged, changed, and cataloged again.
struct Twice {
    scene: Scene,
    sandboxes: Arc<Warm>,
}

impl Twice {
    async fn new() -> Self {
        Self {
            scene: Scene::new().await,
            sandboxes: Warm::new().await,
        }
    }

    async fn run(&self, url: &str, pages: &Path) {
        let mut plan = self.scene.plan();
        plan.database = Database::new(&url.to_owned().into()).unwrap();
        plan.tables = vec!["*".to_owned()];
        plan.model = stage::spec("builtin");
        plan.allow_writable = true;
        plan.cell.timeout = std::time::Duration::from_mins(1);
        let mut parts = self.scene.parts_at(&plan, pages.to_owned()).await;
        parts.sandboxes = Arc::clone(&self.sandboxes) as Arc<dyn Sandboxes>;
        let (outcome, events) = stage::start(&plan, &parts).await;
        outcome.unwrap_or_else(|error| panic!("{error}: {events:#?}"));
    }

    /// Whether the summary says all that was planted, and nothing else.
    async fn is_told(&self, engine: &str, seed: u32, writer: &str, reader: &str) {
        let pages: TempDir = directory();
        let seed = seed.to_string();
        script("drift.py", &[engine, writer, &seed, "before"]).await;
        self.run(reader, pages.path()).await;
        let planted = script("drift.py", &[engine, writer, &seed, "after"]).await;
        let planted: Vec<String> = serde_json::from_str(&planted).unwrap();
        self.run(reader, pages.path()).await;
        let runs = scene::runs(pages.path());
        let summary = scene::read(pages.path().join(&runs[1]).join("recent_summary.html"));
        let told = scene::changes(&summary);
        let missed: Vec<_> = planted
            .iter()
            .filter(|planted| !told.iter().any(|told| told.starts_with(*planted)))
            .collect();
        let more: Vec<_> = told
            .iter()
            .filter(|told| !planted.iter().any(|planted| told.starts_with(planted)))
            .collect();
        assert!(
            missed.is_empty() && more.is_empty() && told.len() == planted.len(),
            "{engine}, seed {seed}\nmissed: {missed:#?}\nnot planted: {more:#?}\n{summary}"
        );
        println!(
            "{engine}, seed {seed}: {} planted changes, all told",
            planted.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_files_are_told_and_nothing_else() {
    let twice = Twice::new().await;
    for (engine, seeds) in [("sqlite", 0..4), ("duckdb", 4..6)] {
        for seed in seeds {
            let directory = directory();
            let url = format!("{engine}:///{}", directory.path().join("drift.db").display());
            twice.is_told(engine, seed, &url, &url).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_servers_are_told_and_nothing_else() {
    let twice = Twice::new().await;
    let server = postgres("SELECT 1");
    for seed in 6..8 {
        twice
            .is_told("postgres", seed, &server.url_of_writer(), &server.url())
            .await;
    }
    let server = mariadb("SELECT 1");
    for seed in 8..10 {
        twice
            .is_told("mariadb", seed, &server.url_of_writer(), &server.url())
            .await;
    }
}
