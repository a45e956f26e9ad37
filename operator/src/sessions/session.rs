//! One session: a run is adopted, gone on with or begun, driven to its end, and old ones make room.
//!
//! It must not know Kubernetes: what it works with is given to it. Which try it is, and what comes after it, others
//! decide.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{Key, Progress};
use crate::agent::prompts::Prompts;
use crate::llm::Model;
use crate::llm::prices::Prices;
use crate::redact::Redactor;
use crate::run::{self, Event, GoodRun, Kind, Outcome, Parts, Plan, Remedy, RunError, Sandboxes, Whose};
use crate::runtime::fence::{Fence, FencedSandboxes, FencedStore};
use crate::runtime::metered::{MeteredSandboxes, MeteredStore};
use crate::runtime::metrics::{Metrics, RunObserver};
use crate::store::preflight::Proven;
use crate::store::{Layout, RunId, S3Options, S3Store, Store};

/// What is heard of a sandbox while a run gets one.
#[derive(Debug, Clone)]
pub enum SandboxNews {
    /// This is in its way.
    Waits(String),
    /// It answers, by this name.
    Runs(String),
}

/// Takes news of a sandbox.
pub type Tell = Arc<dyn Fn(SandboxNews) + Send + Sync>;

/// Makes what makes sandboxes, once there is somebody to tell.
pub type MakeSandboxes = Box<dyn FnOnce(Tell) -> Arc<dyn Sandboxes> + Send>;

/// Removes what may be left of the sandbox of a run: one that was being made when nobody wanted it any more, or that an
/// operator had which has died since.
pub type CleanUp = Box<dyn FnOnce(RunId) -> BoxFuture<'static, ()> + Send>;

/// Where pages go.
#[derive(Clone)]
pub enum StoreAt {
    /// The operator's own bucket, which is open.
    Own(OwnStore),
    /// Somebody else's.
    Theirs(Box<S3Options>),
}

/// The operator's own bucket, for all of its runs.
#[derive(Clone)]
pub struct OwnStore {
    /// The bucket.
    pub store: Arc<dyn Store>,
    /// Whether it was proved to be fit.
    pub proven: Arc<Proven>,
}

/// All that a session needs.
pub struct Assignment {
    /// Whose it is.
    pub key: Key,
    /// What is asked for.
    pub plan: Plan,
    /// Where pages go.
    pub store: StoreAt,
    /// What is called how there.
    pub layout: Layout,
    /// Who answers.
    pub model: Arc<dyn Model>,
    /// Where code runs.
    pub sandboxes: MakeSandboxes,
    /// Takes away what the run itself could not.
    pub clean_up: CleanUp,
    /// What agents are told.
    pub prompts: Prompts,
    /// What models cost.
    pub prices: Prices,
    /// The secrets that nothing may hold.
    pub redactor: Redactor,
    /// The run to go on with, if it is known.
    pub run: Option<RunId>,
    /// Whether a good run that is there may stand for this one.
    pub adopt: bool,
    /// How many runs are kept, if not all.
    pub keep: Option<u32>,
    /// Who counts.
    pub metrics: Metrics,
    /// Who may write.
    pub fence: Fence,
}

impl fmt::Debug for Assignment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Assignment")
            .field("key", &self.key)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

/// Why a run has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What kind of trouble it is.
    pub kind: Kind,
    /// What failed and what to do, without secrets.
    pub message: String,
    /// What can heal it.
    pub remedy: Remedy,
    /// Before when another try is in vain, if that is known.
    pub not_before: Option<Timestamp>,
    /// Whether the next try can go on with the run.
    pub resumable: bool,
}

/// How a session has ended.
#[derive(Debug, Clone)]
pub enum Ended {
    /// The run has come to its end.
    Succeeded(Box<Outcome>),
    /// A good run of before stands for it.
    Adopted(Box<GoodRun>),
    /// It has not.
    Failed(Trouble),
    /// It was told to stop.
    Stopped,
    /// Somebody else goes on with it.
    HandedOver,
}

impl Ended {
    /// In a word, for logs and counters.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Succeeded(_) => "succeeded",
            Self::Adopted(_) => "adopted",
            Self::Failed(_) => "failed",
            Self::Stopped => "stopped",
            Self::HandedOver => "handed over",
        }
    }

    /// After a panic.
    pub(super) fn broken() -> Self {
        Self::Failed(Trouble {
            kind: Kind::Sandbox,
            message: "the run's task ended in a panic: a defect of the operator, whose log has more"
                .to_owned(),
            remedy: Remedy::Retry,
            not_before: None,
            resumable: true,
        })
    }
}

/// How a session is told to end.
pub(super) struct Tokens {
    /// Nobody wants the run any more.
    pub(super) cancel: CancellationToken,
    /// Somebody else goes on with it.
    pub(super) hand_over: CancellationToken,
}

/// Who hears what a run does.
pub(super) struct Heard {
    /// Counts it.
    pub(super) observer: Arc<RunObserver>,
    /// What the run's lines in the log are of: it gets the run's name when there is one.
    pub(super) span: Span,
}

/// How long a session that is told to stop may take to put its things away. After that it is left where it is, as if
/// the operator had died.
const STOPS: Duration = Duration::from_mins(3);

/// Drives a run to its end. `look` is called when its progress should be seen at once.
pub(super) async fn drive(
    mut assignment: Assignment,
    tokens: Tokens,
    progress: Arc<Mutex<Progress>>,
    heard: Heard,
    look: impl Fn() + Clone + Send + Sync + 'static,
) -> Ended {
    let clean_up = std::mem::replace(&mut assignment.clean_up, Box::new(|_| Box::pin(async {})));
    let seen = Arc::clone(&progress);
    let _hidden = crate::logs::hide_for(assignment.redactor.clone());
    let redactor = assignment.redactor.clone();
    let (cancel, hand_over) = (tokens.cancel.clone(), tokens.hand_over.clone());
    let driven = async {
        tokio::select! {
            ended = run(assignment, tokens, progress, heard, look) => ended,
            () = too_late(&cancel) => {
                tracing::error!("the run does not stop; it is left in the middle of a step: a defect");
                Err(RunError::Interrupted)
            }
        }
    };
    let ended = match driven.await {
        Ok(ended) => ended,
        Err(RunError::Interrupted) if hand_over.is_cancelled() && !cancel.is_cancelled() => Ended::HandedOver,
        Err(RunError::Interrupted) => Ended::Stopped,
        Err(error) => Ended::Failed(Trouble {
            kind: error.kind(),
            message: redactor.redact(&error.to_string()).into_owned(),
            remedy: error.remedy(),
            not_before: error.not_before(),
            resumable: error.is_resumable(),
        }),
    };
    let known = seen.lock().unwrap_or_else(PoisonError::into_inner).run;
    let ours = match &ended {
        Ended::HandedOver => false,
        Ended::Failed(trouble) => trouble.remedy != Remedy::Nothing,
        // Also after a good end: a run that was only to be written down has never opened what an operator left that died.
        Ended::Succeeded(_) | Ended::Adopted(_) | Ended::Stopped => true,
    };
    if let Some(run) = known.filter(|_| ours) {
        clean_up(run).await;
    }
    ended
}

/// Comes when a session was told to stop, and has had its time for that.
async fn too_late(cancel: &CancellationToken) {
    cancel.cancelled().await;
    tokio::time::sleep(STOPS).await;
}

async fn run(
    assignment: Assignment,
    tokens: Tokens,
    progress: Arc<Mutex<Progress>>,
    heard: Heard,
    look: impl Fn() + Clone + Send + Sync + 'static,
) -> Result<Ended, RunError> {
    let Assignment {
        key,
        plan,
        store,
        layout,
        model,
        sandboxes,
        clean_up: _,
        prompts,
        prices,
        redactor,
        run: known,
        adopt,
        keep,
        metrics,
        fence,
    } = assignment;
    let OwnStore { store, proven } = match store {
        StoreAt::Own(own) => own,
        StoreAt::Theirs(options) => OwnStore {
            store: Arc::new(S3Store::open(*options).await?),
            proven: Arc::default(),
        },
    };
    let store = MeteredStore::new(store, metrics.clone());
    let store: Arc<dyn Store> = Arc::new(FencedStore::new(Arc::new(store), fence.clone()));
    let change = move |what: &dyn Fn(&mut Progress) -> bool| {
        // What a thread that panicked has left is still right.
        let loud = what(&mut progress.lock().unwrap_or_else(PoisonError::into_inner));
        if loud {
            look();
        }
    };
    let tell: Tell = {
        let change = change.clone();
        Arc::new(move |news| match news {
            SandboxNews::Waits(why) => change(&|progress| progress.sandbox_waits(why.clone())),
            SandboxNews::Runs(name) => change(&|progress| progress.sandbox_runs(name.clone())),
        })
    };
    let parts = Parts {
        store,
        proven,
        layout,
        model,
        sandboxes: Arc::new(FencedSandboxes::new(
            Arc::new(MeteredSandboxes::new(sandboxes(tell), metrics)),
            fence,
        )),
        prompts,
        prices,
        redactor,
        cancel: tokens.cancel,
        hand_over: tokens.hand_over,
    };
    // Both are looked for at once: nothing else happens before the sandbox is made.
    let (good, known) = tokio::try_join!(adoptable(adopt, &plan, &parts), begun(known, &plan, &parts))?;
    if let Some(good) = good {
        return Ok(Ended::Adopted(Box::new(good)));
    }
    let anew = |why: &str| change(&|progress| progress.begun_anew(why));
    let watch = |event: &Event| {
        if let Event::Claimed { run, .. } | Event::Resumed { run, .. } = event {
            heard.span.record("run", run.to_string());
        }
        heard.observer.observe(event);
        change(&|progress| progress.take(event));
    };
    let outcome = go_on(&plan, &parts, known, &key, &watch, &anew).await?;
    if let Some(keep) = keep {
        make_room(&parts, keep, outcome.run, &key).await;
    }
    Ok(Ended::Succeeded(Box::new(outcome)))
}

/// A good run that stands for this one, if one may.
async fn adoptable(adopt: bool, plan: &Plan, parts: &Parts) -> Result<Option<GoodRun>, RunError> {
    let Some(subject) = plan.claimant.subject.as_ref().filter(|_| adopt) else {
        return Ok(None);
    };
    let good = run::last_good(&*parts.store, &parts.layout, &parts.cancel).await?;
    Ok(good.filter(|good| good.is_of(subject)))
}

/// The run that is known, or one that a session before this began and could not tell of.
async fn begun(known: Option<RunId>, plan: &Plan, parts: &Parts) -> Result<Option<RunId>, RunError> {
    match known {
        Some(run) => Ok(Some(run)),
        None => run::unfinished(plan, parts).await,
    }
}

/// Goes on with the run that was begun; else begins one.
async fn go_on(
    plan: &Plan,
    parts: &Parts,
    mut known: Option<RunId>,
    key: &Key,
    watch: &run::Watch<'_>,
    anew: &(dyn Fn(&str) + Send + Sync),
) -> Result<Outcome, RunError> {
    let mut useless = Vec::new();
    while let Some(run) = known {
        match run::resume(plan, parts, (run, Whose::Mine), watch).await {
            Err(error) if !error.is_resumable() => {
                // What it had paid is lost; a journal that can't be gone on with must not stop everything.
                let message = format!("run {run} can't be gone on with ({error}); it is begun anew");
                tracing::warn!(catalog = %key, message);
                anew(&parts.redactor.redact(&message));
                useless.push(run);
            }
            driven => return driven,
        }
        // It may have been begun anew already, and nobody could tell.
        known = run::unfinished(plan, parts)
            .await?
            .filter(|run| !useless.contains(run));
    }
    run::start(plan, parts, watch).await
}

/// What is kept too long is no reason for a run to fail.
async fn make_room(parts: &Parts, keep: u32, current: RunId, key: &Key) {
    match run::retain(&*parts.store, &parts.layout, &parts.cancel, keep, &[current]).await {
        Ok(removed) if removed.is_empty() => {}
        Ok(removed) => tracing::info!(catalog = %key, runs = removed.len(), "old runs were removed"),
        Err(error) => tracing::warn!(catalog = %key, %error, "old runs could not be removed"),
    }
}
