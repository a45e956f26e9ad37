//! Runs of the engine itself, without a process around it: quick to start, and in the test's hands.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cataloger::agent::budget::Limits;
use cataloger::agent::prompts::Prompts;
use cataloger::llm::prices::Prices;
use cataloger::llm::retry::{Chain, RetryPolicy};
use cataloger::llm::{Http, ModelSpec, Providers};
use cataloger::redact::Redactor;
use cataloger::run::{
    self, CellLimits, Claimant, Database, Event, Outcome, Parts, Plan, RunError, Sandboxes,
};
use cataloger::sandbox::local::{Interpreter, LocalOptions, LocalSandbox};
use cataloger::sandbox::{
    BootId, CallId, Cell, Chunk, DaemonStatus, Executed, FilePut, Sandbox, SandboxError, Variables, WasReset,
};
use cataloger::store::{DirectoryStore, Layout, Prefix, RunId};
use cataloger_tests::place::interpreter;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::scene::{self, MODEL, Scene};

/// More than any test needs.
pub(crate) const PLENTY: Limits = Limits {
    tokens: 1_000_000,
    cost: None,
    turns: 50,
    time: Duration::from_mins(5),
};

/// Asks again at once.
pub(crate) const QUICK: RetryPolicy = RetryPolicy {
    attempts: 4,
    first: Duration::from_millis(1),
    longest: Duration::from_millis(5),
    patience: Duration::from_secs(2),
};

/// Sandboxes without the data packages loaded beforehand, and the processes of their daemons.
pub(crate) struct Boxes {
    interpreter: Interpreter,
    /// What each may use, in bytes.
    memory: u64,
    pids: Mutex<Vec<u32>>,
}

impl Boxes {
    pub(crate) async fn new(memory: u64) -> Arc<Self> {
        Arc::new(Self {
            interpreter: interpreter().await,
            memory,
            pids: Mutex::default(),
        })
    }

    /// How many there have been.
    pub(crate) fn opened(&self) -> usize {
        self.pids.lock().unwrap().len()
    }

    /// Kills the daemon of the last one, as nothing but an accident would.
    pub(crate) fn kill(&self) {
        let pid = *self.pids.lock().unwrap().last().expect("there is a sandbox");
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

#[async_trait]
impl Sandboxes for Boxes {
    async fn open(
        &self,
        _: RunId,
        _: Option<&BootId>,
        env: &Variables,
    ) -> Result<Box<dyn Sandbox>, SandboxError> {
        let mut options = LocalOptions::new(self.interpreter.clone(), env.clone());
        options.preload = Some(Vec::new());
        options.limits.memory = self.memory;
        let sandbox = LocalSandbox::start(options).await?;
        self.pids.lock().unwrap().push(sandbox.pid());
        Ok(Box::new(sandbox))
    }
}

/// One sandbox with the data packages loaded, for run after run: each begins with a reset all the same.
pub(crate) struct Warm(Arc<LocalSandbox>);

impl Warm {
    pub(crate) async fn new() -> Arc<Self> {
        let options = LocalOptions::new(interpreter().await, Variables::new());
        Arc::new(Self(Arc::new(LocalSandbox::start(options).await.unwrap())))
    }
}

#[async_trait]
impl Sandboxes for Warm {
    async fn open(
        &self,
        _: RunId,
        _: Option<&BootId>,
        _: &Variables,
    ) -> Result<Box<dyn Sandbox>, SandboxError> {
        Ok(Box::new(Lent {
            sandbox: Arc::clone(&self.0),
            after: self.0.last_call().0,
            closed: Arc::default(),
        }))
    }
}

/// A sandbox that outlives who drives it, as a Pod does, until somebody closes it.
pub(crate) struct Kept {
    interpreter: Interpreter,
    there: tokio::sync::Mutex<Option<Arc<LocalSandbox>>>,
    opened: AtomicUsize,
    closed: Arc<AtomicUsize>,
}

impl Kept {
    pub(crate) async fn new() -> Arc<Self> {
        Arc::new(Self {
            interpreter: interpreter().await,
            there: tokio::sync::Mutex::default(),
            opened: AtomicUsize::new(0),
            closed: Arc::default(),
        })
    }

    /// How many there have been, and how many of them were closed.
    pub(crate) fn counted(&self) -> (usize, usize) {
        (
            self.opened.load(Ordering::SeqCst),
            self.closed.load(Ordering::SeqCst),
        )
    }
}

#[async_trait]
impl Sandboxes for Kept {
    async fn open(
        &self,
        _: RunId,
        known: Option<&BootId>,
        env: &Variables,
    ) -> Result<Box<dyn Sandbox>, SandboxError> {
        let mut there = self.there.lock().await;
        let closed = self.opened.load(Ordering::SeqCst) == self.closed.load(Ordering::SeqCst);
        there.take_if(|sandbox| closed || known.is_some_and(|known| *known != sandbox.boot()));
        let sandbox = if let Some(sandbox) = &*there {
            Arc::clone(sandbox)
        } else {
            let mut options = LocalOptions::new(self.interpreter.clone(), env.clone());
            options.preload = Some(Vec::new());
            let sandbox = Arc::new(LocalSandbox::start(options).await?);
            self.opened.fetch_add(1, Ordering::SeqCst);
            Arc::clone(there.insert(sandbox))
        };
        Ok(Box::new(Lent {
            sandbox,
            after: 0,
            closed: Arc::clone(&self.closed),
        }))
    }
}

/// A sandbox that others have had before, whose ids go on after theirs.
struct Lent {
    sandbox: Arc<LocalSandbox>,
    after: u64,
    closed: Arc<AtomicUsize>,
}

impl Lent {
    fn id(&self, id: CallId) -> CallId {
        CallId(self.after + id.0)
    }
}

#[async_trait]
impl Sandbox for Lent {
    async fn execute(
        &self,
        id: CallId,
        cell: &Cell,
        output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Executed, SandboxError> {
        self.sandbox.execute(self.id(id), cell, output).await
    }

    async fn reset(&self, id: CallId, env: &Variables) -> Result<WasReset, SandboxError> {
        self.sandbox.reset(self.id(id), env).await
    }

    async fn put_file(
        &self,
        id: CallId,
        path: &str,
        content: Bytes,
        append: bool,
    ) -> Result<FilePut, SandboxError> {
        self.sandbox.put_file(self.id(id), path, content, append).await
    }

    async fn interrupt(&self, id: CallId) -> Result<(), SandboxError> {
        self.sandbox.interrupt(self.id(id)).await
    }

    async fn acknowledge(&self, through: CallId) -> Result<(), SandboxError> {
        self.sandbox.acknowledge(self.id(through)).await
    }

    async fn status(&self) -> Result<DaemonStatus, SandboxError> {
        self.sandbox.status().await
    }

    async fn close(&self) -> Result<(), SandboxError> {
        self.closed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn last_call(&self) -> CallId {
        self.sandbox.last_call()
    }

    fn boot(&self) -> BootId {
        self.sandbox.boot()
    }
}

pub(crate) fn spec(text: &str) -> ModelSpec {
    text.parse().unwrap()
}

/// These models, asked again at once.
pub(crate) fn chain(providers: &Providers, models: &[ModelSpec]) -> Chain {
    let http = Http::new(&providers.timeouts).unwrap();
    let model = |spec| providers.model(&http, spec).unwrap();
    let first = Chain::new(model(&models[0]), QUICK);
    models[1..]
        .iter()
        .fold(first, |chain, spec| chain.or(model(spec), QUICK))
}

impl Scene {
    /// The file's catalog by the usual model.
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            database: Database::new(&self.database().into()).unwrap(),
            allow_writable: false,
            tables: vec!["orders".into()],
            intent: None,
            model: spec(MODEL),
            fallbacks: Vec::new(),
            limits: PLENTY,
            cell: CellLimits {
                timeout: Duration::from_secs(20),
                max_rows: 20,
            },
            claimant: Claimant::default(),
            manifest: Value::Null,
        }
    }

    /// What such a plan is carried out with.
    pub(crate) async fn parts(&self, plan: &Plan) -> Parts {
        self.parts_at(plan, self.pages()).await
    }

    /// With pages elsewhere.
    pub(crate) async fn parts_at(&self, plan: &Plan, pages: PathBuf) -> Parts {
        let mut models = vec![plan.model.clone()];
        models.extend(plan.fallbacks.iter().cloned());
        Parts {
            proven: std::sync::Arc::default(),
            store: Arc::new(DirectoryStore::open(pages).await.unwrap()),
            layout: Layout::new(Prefix::root()),
            model: Arc::new(chain(&self.server.providers(), &models)),
            sandboxes: Boxes::new(2 << 30).await,
            prompts: Prompts::embedded().unwrap(),
            prices: Prices::bundled().clone(),
            redactor: Redactor::builder().database_url(plan.database.url()).build(),
            cancel: CancellationToken::new(),
            hand_over: CancellationToken::new(),
        }
    }

    /// The run in the directory of pages, of which there is only one.
    pub(crate) fn only(&self) -> RunId {
        let names = scene::names(&self.pages().join(".journal"));
        assert_eq!(names.len(), 1, "{names:?}");
        names[0].parse().unwrap()
    }

    /// The records of that run.
    pub(crate) fn records(&self) -> Vec<Value> {
        scene::journal(&self.pages(), &self.only().to_string())
    }

    /// Its report.
    pub(crate) fn report(&self) -> Value {
        let path = self.pages().join(self.only().to_string()).join("run.json");
        serde_json::from_str(&scene::read(path)).unwrap()
    }
}

/// What became of a run, and what was said meanwhile.
pub(crate) type Told = (Result<Outcome, RunError>, Vec<Event>);

/// Begins a run, and drives it to its end.
pub(crate) async fn start(plan: &Plan, parts: &Parts) -> Told {
    let events = Mutex::new(Vec::new());
    let watch = |event: &Event| events.lock().unwrap().push(event.clone());
    let result = run::start(plan, parts, &watch).await;
    (result, events.into_inner().unwrap())
}

/// Goes on with a run.
pub(crate) async fn resume(plan: &Plan, parts: &Parts, run: RunId) -> Told {
    let events = Mutex::new(Vec::new());
    let watch = |event: &Event| events.lock().unwrap().push(event.clone());
    let result = run::resume(plan, parts, (run, run::Whose::Mine), &watch).await;
    (result, events.into_inner().unwrap())
}
