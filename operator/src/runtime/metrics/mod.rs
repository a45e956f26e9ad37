//! What is measured, for Prometheus: counters, gauges and histograms, all with labels of closed lists.
//!
//! It must not know who scrapes them.

pub mod labels;
mod observer;
mod process;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use thiserror::Error;

use self::labels::{
    ApiOutcome, BucketOperation, BucketOutcome, Kind, Leave, ModelOutcome, ModelProvider, Phase, Reconciled,
    ReloadOutcome, Resource, RunOutcome, SandboxOutcome, StatusOutcome, TokenKind, Tool, ToolOutcome, Verb,
};
pub use self::observer::RunObserver;
use self::process::Process;

/// The media type of what [`Metrics::encode`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Names of labels, and words of the lists in [`labels`].
type Labels<const N: usize> = [(&'static str, &'static str); N];

type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// Metrics could not be written down.
#[derive(Debug, Clone, Copy, Error)]
#[error("the metrics could not be written as text; this is a bug")]
pub struct NotEncoded;

/// All that is measured. Clones are the same.
#[derive(Clone)]
pub struct Metrics(Arc<All>);

struct All {
    registry: Registry,
    reconciles: Counters<2>,
    reconcile_seconds: Histograms<1>,
    queue_length: Gauge,
    active_runs: Gauges<1>,
    runs: Counters<1>,
    run_seconds: Histograms<1>,
    sandbox_start_seconds: Histograms<1>,
    tool_calls: Counters<2>,
    model_calls: Counters<2>,
    leaves: Counters<1>,
    tokens: Counters<1>,
    cost: Counter<f64, AtomicU64>,
    bucket_calls: Counters<2>,
    bucket_call_seconds: Histograms<1>,
    api_calls: Counters<3>,
    status_writes: Counters<1>,
    leader: Gauge,
    prompts_reloads: Counters<1>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Registers what is measured, with a name that begins with the program's.
struct Named(Registry);

impl Named {
    fn put<M: Metric + Clone>(&mut self, name: &str, about: &str, metric: M) -> M {
        self.0.register(name, about, metric.clone());
        metric
    }

    fn seconds<const N: usize>(
        &mut self,
        name: &str,
        about: &str,
        buckets: fn() -> Histogram,
    ) -> Histograms<N>
    where
        Labels<N>: EncodeLabelSet,
    {
        let family = Family::new_with_constructor(buckets);
        self.0
            .register_with_unit(name, about, Unit::Seconds, family.clone());
        family
    }
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        let mut named = Named(Registry::with_prefix("cataloger"));
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        named.0.register("build", "Which release this is", build);
        named.0.register_collector(Box::new(Process));
        let all = All {
            reconciles: named.put(
                "reconciles",
                "Looks at a resource, by how they ended",
                Family::default(),
            ),
            reconcile_seconds: named.seconds("reconcile", "How long a look at a resource takes", short),
            queue_length: named.put("queue_length", "Runs that wait for their turn", Gauge::default()),
            active_runs: named.put(
                "active_runs",
                "Runs under way, by what they are at",
                Family::default(),
            ),
            runs: named.put("runs", "Runs that have ended here, by how", Family::default()),
            run_seconds: named.seconds("run", "How long runs take, by how they ended", long),
            sandbox_start_seconds: named.seconds(
                "sandbox_start",
                "How long it takes until there is a sandbox that answers",
                medium,
            ),
            tool_calls: named.put(
                "tool_calls",
                "Calls of tools, by what the model was told",
                Family::default(),
            ),
            model_calls: named.put(
                "model_calls",
                "Requests to models, each try of its own",
                Family::default(),
            ),
            leaves: named.put(
                "leaves",
                "Requests to a ModelProvider's models that asked its budget and its rates for leave, by the answer",
                Family::default(),
            ),
            tokens: named.put("tokens", "Tokens that were used", Family::default()),
            cost: named.put(
                "cost_dollars",
                "What tokens cost, as far as their price is known",
                Counter::default(),
            ),
            bucket_calls: named.put("bucket_calls", "Calls of buckets", Family::default()),
            bucket_call_seconds: named.seconds("bucket_call", "How long a call of a bucket takes", short),
            api_calls: named.put(
                "api_calls",
                "Calls of the API server, tries that were made again not counted",
                Family::default(),
            ),
            status_writes: named.put(
                "status_writes",
                "Statuses that were to be written",
                Family::default(),
            ),
            leader: named.put("leader", "Whether this replica leads", Gauge::default()),
            prompts_reloads: named.put(
                "prompts_reloads",
                "Changes of the mounted prompts, by what became of them",
                Family::default(),
            ),
            registry: named.0,
        };
        all.begin();
        Self(Arc::new(all))
    }

    /// A resource was looked at.
    pub fn reconciled(&self, kind: Kind, outcome: Reconciled, took: Duration) {
        self.0.reconciles.get_or_create(&reconcile(kind, outcome)).inc();
        let seconds = self
            .0
            .reconcile_seconds
            .get_or_create_owned(&[("kind", kind.as_str())]);
        seconds.observe(took.as_secs_f64());
    }

    /// A request to a provider's models has asked for leave.
    pub fn leave_asked(&self, answer: Leave) {
        self.0.leaves.get_or_create(&leave(answer)).inc();
    }

    /// So many runs wait now.
    pub fn queued(&self, runs: usize) {
        self.0.queue_length.set(i64::try_from(runs).unwrap_or(i64::MAX));
    }

    /// Watches a run from now on.
    pub fn run_observer(&self) -> RunObserver {
        RunObserver::new(self.clone())
    }

    /// A run has ended without an observer. How long it took is told only of one that was driven.
    pub fn run_ended(&self, outcome: RunOutcome, took: Option<Duration>) {
        let labels = run(outcome);
        self.0.runs.get_or_create(&labels).inc();
        if let Some(took) = took {
            self.0
                .run_seconds
                .get_or_create_owned(&labels)
                .observe(took.as_secs_f64());
        }
    }

    /// There is a sandbox, or there is none.
    pub fn sandbox_started(&self, outcome: SandboxOutcome, took: Duration) {
        let labels = [("outcome", outcome.as_str())];
        let seconds = self.0.sandbox_start_seconds.get_or_create_owned(&labels);
        seconds.observe(took.as_secs_f64());
    }

    /// A bucket has answered, or has not.
    pub fn bucket_called(&self, operation: BucketOperation, outcome: BucketOutcome, took: Duration) {
        self.0
            .bucket_calls
            .get_or_create(&bucket(operation, outcome))
            .inc();
        let labels = [("operation", operation.as_str())];
        let seconds = self.0.bucket_call_seconds.get_or_create_owned(&labels);
        seconds.observe(took.as_secs_f64());
    }

    /// The API server has answered, or has not.
    pub fn api_called(&self, verb: Verb, resource: Resource, outcome: ApiOutcome) {
        let labels = [
            ("verb", verb.as_str()),
            ("resource", resource.as_str()),
            ("outcome", outcome.as_str()),
        ];
        self.0.api_calls.get_or_create(&labels).inc();
    }

    /// A status was written, or was not.
    pub fn status_written(&self, outcome: StatusOutcome) {
        self.0.status_writes.get_or_create(&status(outcome)).inc();
    }

    /// Whether this replica leads now.
    pub fn leads(&self, leads: bool) {
        self.0.leader.set(leads.into());
    }

    /// The mounted prompts have changed.
    pub fn prompts_reloaded(&self, outcome: ReloadOutcome) {
        self.0.prompts_reloads.get_or_create(&reload(outcome)).inc();
    }

    fn active_runs(&self, at: Phase) -> Gauge {
        self.0.active_runs.get_or_create_owned(&phase(at))
    }

    fn model_called(&self, provider: ModelProvider, outcome: ModelOutcome) {
        self.0.model_calls.get_or_create(&model(provider, outcome)).inc();
    }

    fn tool_called(&self, called: Tool, outcome: ToolOutcome) {
        self.0.tool_calls.get_or_create(&tool(called, outcome)).inc();
    }

    fn tokens_used(&self, kind: TokenKind, more: u64) {
        self.0.tokens.get_or_create(&tokens(kind)).inc_by(more);
    }

    /// In millionths of a dollar.
    fn paid(&self, more: u64) {
        // Exact up to nine thousand million dollars.
        #[expect(clippy::cast_precision_loss)]
        self.0.cost.inc_by(more as f64 / 1e6);
    }

    /// All of it, as OpenMetrics text.
    pub fn encode(&self) -> Result<String, NotEncoded> {
        let mut text = String::new();
        encode(&mut text, &self.0.registry).map_err(|_| NotEncoded)?;
        Ok(text)
    }
}

impl All {
    /// Says of all that can be counted that it was counted zero times: a first one is an increase then.
    fn begin(&self) {
        begin_pairs(&self.reconciles, reconcile, Kind::ALL, Reconciled::ALL);
        begin(&self.active_runs, phase, Phase::ALL);
        begin(&self.runs, run, RunOutcome::ALL);
        begin_pairs(&self.tool_calls, tool, Tool::ALL, ToolOutcome::ALL);
        begin_pairs(&self.model_calls, model, ModelProvider::ALL, ModelOutcome::ALL);
        begin(&self.leaves, leave, Leave::ALL);
        begin(&self.tokens, tokens, TokenKind::ALL);
        begin_pairs(
            &self.bucket_calls,
            bucket,
            BucketOperation::ALL,
            BucketOutcome::ALL,
        );
        begin(&self.status_writes, status, StatusOutcome::ALL);
        begin(&self.prompts_reloads, reload, ReloadOutcome::ALL);
    }
}

fn begin<T: Copy, M: Default>(family: &Family<Labels<1>, M>, labels: fn(T) -> Labels<1>, all: &[T]) {
    for it in all {
        drop(family.get_or_create(&labels(*it)));
    }
}

fn begin_pairs<T: Copy, U: Copy>(family: &Counters<2>, labels: fn(T, U) -> Labels<2>, all: &[T], of: &[U]) {
    for it in all {
        for other in of {
            drop(family.get_or_create(&labels(*it, *other)));
        }
    }
}

fn phase(phase: Phase) -> Labels<1> {
    [("phase", phase.as_str())]
}

fn reconcile(kind: Kind, outcome: Reconciled) -> Labels<2> {
    [("kind", kind.as_str()), ("outcome", outcome.as_str())]
}

fn leave(answer: Leave) -> Labels<1> {
    [("outcome", answer.as_str())]
}

fn run(outcome: RunOutcome) -> Labels<1> {
    [("outcome", outcome.as_str())]
}

fn tool(tool: Tool, outcome: ToolOutcome) -> Labels<2> {
    [("tool", tool.as_str()), ("outcome", outcome.as_str())]
}

fn model(provider: ModelProvider, outcome: ModelOutcome) -> Labels<2> {
    [("provider", provider.as_str()), ("outcome", outcome.as_str())]
}

fn tokens(kind: TokenKind) -> Labels<1> {
    [("kind", kind.as_str())]
}

fn bucket(operation: BucketOperation, outcome: BucketOutcome) -> Labels<2> {
    [("operation", operation.as_str()), ("outcome", outcome.as_str())]
}

fn status(outcome: StatusOutcome) -> Labels<1> {
    [("outcome", outcome.as_str())]
}

fn reload(outcome: ReloadOutcome) -> Labels<1> {
    [("outcome", outcome.as_str())]
}

/// For what takes milliseconds.
fn short() -> Histogram {
    Histogram::new([
        0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

/// For what takes seconds.
fn medium() -> Histogram {
    Histogram::new([0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0])
}

/// For what takes minutes.
fn long() -> Histogram {
    Histogram::new([
        5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0,
    ])
}

#[cfg(test)]
pub(super) mod tests;
