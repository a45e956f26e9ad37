//! Runs: how much of a run's time is the engine's own, and how much memory a long one needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use cataloger::agent::budget::Limits;
use cataloger::agent::prompts::Prompts;
use cataloger::commands::local::LocalSandboxes;
use cataloger::llm::prices::Prices;
use cataloger::llm::{Http, Model, ModelError, ModelSpec, Progress, Request, Turn};
use cataloger::redact::Redactor;
use cataloger::run::{self, CellLimits, Claimant, Database, Event, Parts, Phase, Plan, Sandboxes};
use cataloger::sandbox::{
    BootId, CallId, Cell, Chunk, DaemonStatus, Executed, FilePut, Sandbox, SandboxError, Variables, WasReset,
};
use cataloger::store::{
    ContentType, Creation, DirectoryStore, Key, Layout, Listing, Meta, Object, Page, Prefix, RunId, Store,
    StoreError,
};
use cataloger_tests::author::{Author, Move, page};
use cataloger_tests::command::Cataloger;
use cataloger_tests::model_server::ModelServer;
use cataloger_tests::place::interpreter;

use crate::usage;

/// How long the played model takes for a turn.
const TURN: Duration = Duration::from_millis(50);
const MODEL: &str = "anthropic/claude-sonnet-5-5";

/// An author of so many turns, each with this code; `{}` in it is the turn's number.
fn author(turns: u32, code: &str, latency: Duration) -> Author {
    let cells = (1..turns).map(|turn| Move::Execute(code.replace("{}", &turn.to_string())));
    Author {
        catalog: cells.chain([Move::Submit(page("<p>done</p>"))]).collect(),
        summary: vec![Move::Submit(page("<p>No baseline</p>"))],
        latency,
    }
}

/// Nanoseconds that were spent within something.
#[derive(Debug, Clone, Default)]
struct Spent(Arc<AtomicU64>);

impl Spent {
    async fn on<T>(&self, what: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let result = what.await;
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_add(took, Ordering::Relaxed);
        result
    }

    fn time(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// Something whose calls are timed.
#[derive(Debug)]
struct Timed<T>(T, Spent);

#[async_trait]
impl Model for Timed<Arc<dyn Model>> {
    async fn complete(
        &self,
        request: &Request<'_>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Turn, ModelError> {
        self.1.on(self.0.complete(request, progress)).await
    }

    fn spec(&self) -> &ModelSpec {
        self.0.spec()
    }
}

#[async_trait]
impl Sandboxes for Timed<LocalSandboxes> {
    async fn open(
        &self,
        run: RunId,
        known: Option<&BootId>,
        env: &Variables,
    ) -> Result<Box<dyn Sandbox>, SandboxError> {
        let sandbox = self.1.on(self.0.open(run, known, env)).await?;
        Ok(Box::new(Timed(sandbox, self.1.clone())))
    }
}

#[async_trait]
impl Sandbox for Timed<Box<dyn Sandbox>> {
    async fn execute(
        &self,
        id: CallId,
        cell: &Cell,
        output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Executed, SandboxError> {
        self.1.on(self.0.execute(id, cell, output)).await
    }

    async fn reset(&self, id: CallId, env: &Variables) -> Result<WasReset, SandboxError> {
        self.1.on(self.0.reset(id, env)).await
    }

    async fn put_file(
        &self,
        id: CallId,
        path: &str,
        content: Bytes,
        append: bool,
    ) -> Result<FilePut, SandboxError> {
        self.1.on(self.0.put_file(id, path, content, append)).await
    }

    async fn interrupt(&self, id: CallId) -> Result<(), SandboxError> {
        self.1.on(self.0.interrupt(id)).await
    }

    async fn acknowledge(&self, through: CallId) -> Result<(), SandboxError> {
        self.1.on(self.0.acknowledge(through)).await
    }

    async fn status(&self) -> Result<DaemonStatus, SandboxError> {
        self.1.on(self.0.status()).await
    }

    async fn close(&self) -> Result<(), SandboxError> {
        self.1.on(self.0.close()).await
    }

    fn last_call(&self) -> CallId {
        self.0.last_call()
    }

    fn boot(&self) -> BootId {
        self.0.boot()
    }
}

#[async_trait]
impl Store for Timed<DirectoryStore> {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.1.on(self.0.get(key)).await
    }

    async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        self.1.on(self.0.head(key)).await
    }

    async fn put(&self, key: &Key, content: Bytes, content_type: ContentType) -> Result<(), StoreError> {
        self.1.on(self.0.put(key, content, content_type)).await
    }

    async fn create(
        &self,
        key: &Key,
        content: Bytes,
        content_type: ContentType,
    ) -> Result<Creation, StoreError> {
        self.1.on(self.0.create(key, content, content_type)).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.1.on(self.0.delete(key)).await
    }

    async fn list(&self, listing: &Listing) -> Result<Page, StoreError> {
        self.1.on(self.0.list(listing)).await
    }

    fn uri(&self, key: &Key) -> String {
        self.0.uri(key)
    }
}

/// What the engine itself takes of a run whose turns take 50 ms, each with a piece of code.
pub(crate) async fn share(turns: u32) {
    let server = ModelServer::start().await;
    server.think(author(turns, "print('{} ' * 200)", TURN).brain());
    let directory = tempfile::tempdir().expect("a directory");
    let store = DirectoryStore::open(directory.path()).await.expect("a store");
    let spec: ModelSpec = MODEL.parse().expect("a model");
    let providers = server.providers();
    let http = Http::new(&providers.timeouts).expect("HTTP");
    let model: Arc<dyn Model> = Arc::new(providers.chain(&http, &spec, &[]).expect("a model"));
    let (of_store, of_model, of_sandbox) = (Spent::default(), Spent::default(), Spent::default());
    let database = "sqlite:////nowhere/shop.db".to_owned().into();
    let parts = Parts {
        proven: std::sync::Arc::default(),
        store: Arc::new(Timed(store, of_store.clone())),
        layout: Layout::new(Prefix::root()),
        model: Arc::new(Timed(model, of_model.clone())),
        sandboxes: Arc::new(Timed(
            LocalSandboxes {
                interpreter: interpreter().await,
                preload: Some(Vec::new()),
            },
            of_sandbox.clone(),
        )),
        prompts: Prompts::embedded().expect("prompts"),
        prices: Prices::bundled().clone(),
        redactor: Redactor::builder().database_url(&database).build(),
        cancel: tokio_util::sync::CancellationToken::new(),
        hand_over: tokio_util::sync::CancellationToken::new(),
    };
    let file = directory.path().join("shop.db");
    cataloger_tests::databases::sqlite(&file, "CREATE TABLE orders (id integer)");
    let plan = Plan {
        database: Database::new(&format!("sqlite:///{}", file.display()).into()).expect("a URL"),
        tables: vec!["orders".into()],
        allow_writable: false,
        intent: None,
        model: spec,
        fallbacks: Vec::new(),
        limits: Limits {
            tokens: 1_000_000_000,
            cost: None,
            turns: turns * 2,
            time: Duration::from_hours(1),
        },
        cell: CellLimits {
            timeout: Duration::from_mins(1),
            max_rows: 20,
        },
        claimant: Claimant::default(),
        manifest: serde_json::Value::Null,
    };
    let began = std::sync::Mutex::new(None);
    let outside = || of_store.time() + of_model.time() + of_sandbox.time();
    let watch = |event: &Event| {
        // What comes before the first turn is the sandbox's start.
        if let (Event::Phase(Phase::Cataloging), Ok(mut began)) = (event, began.lock()) {
            *began = Some((
                Instant::now(),
                outside(),
                of_model.time(),
                of_sandbox.time(),
                of_store.time(),
            ));
        }
    };
    run::start(&plan, &parts, &watch)
        .await
        .expect("the run ends well");
    let (at, before, model, sandbox, stored) = began.into_inner().expect("no panic").expect("it has begun");
    let wall = at.elapsed();
    let own = wall.saturating_sub(outside().saturating_sub(before));
    let percent = |time: Duration| 100.0 * time.as_secs_f64() / wall.as_secs_f64();
    println!(
        "bench: run of {turns} turns of {} ms: engine's own share={:.2}% of {:.2} s (goal: under 2%); model {:.1}%, sandbox {:.1}%, journal and pages {:.1}%",
        TURN.as_millis(),
        percent(own),
        wall.as_secs_f64(),
        percent(of_model.time().saturating_sub(model)),
        percent(of_sandbox.time().saturating_sub(sandbox)),
        percent(of_store.time().saturating_sub(stored)),
    );
}

/// The memory of `cataloger run` at its most: with one turn, and with many that show as much as they may.
pub(crate) async fn memory(turns: u32) {
    let mut peaks = Vec::new();
    for turns in [2, turns] {
        let server = ModelServer::start().await;
        server.think(author(turns, "print('{} ' * 100_000)", Duration::from_millis(20)).brain());
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("shop.db");
        cataloger_tests::databases::sqlite(&file, "CREATE TABLE orders (id integer)");
        let pages = directory.path().join("pages");
        let most = (turns * 2).to_string();
        let running = Cataloger::new([
            "run",
            "--table",
            "orders",
            "--model",
            MODEL,
            "--max-tokens",
            "1000000000",
            "--max-turns",
            &most,
            "--output",
            &pages.display().to_string(),
        ])
        .await
        .env("DATABASE_URL", &format!("sqlite:///{}", file.display()))
        .models(&server)
        .start();
        let pid = running.pid();
        let watching = tokio::spawn(usage::watch(pid));
        let output = running.end().await;
        assert_eq!(output.code(), Some(0), "{}", output.stderr);
        peaks.push(watching.await.expect("it ends with the process").own);
    }
    let (few, many) = (usage::mebibytes(peaks[0]), usage::mebibytes(peaks[1]));
    println!(
        "bench: memory of a run of {turns} turns with 16 KiB of results each {many:.1} MiB, of 2 turns {few:.1} MiB ratio={:.2}",
        many / few
    );
}
