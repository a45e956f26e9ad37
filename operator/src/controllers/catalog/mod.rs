//! The controller of Catalogs: dereference, validate, decide what is next, build, write the status, and only then act.
//!
//! A run's session is a task of its own; a reconcile starts it, observes it and never waits for it. All that must
//! survive is in the status and in the bucket, so the operator may die between any two lines.

mod apply;
mod build;
mod conditions;
mod dereference;
mod due;
mod events;
mod lifecycle;
#[cfg(test)]
mod machine;
mod reason;
mod sandboxes;
mod sweep;
mod unread;
mod validate;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::{Client, Resource as _, ResourceExt as _};
use kube_runtime::controller::Action;
use secrecy::SecretString;
use tokio::sync::watch::Receiver;
use tracing::{Instrument as _, info_span, warn};

use self::apply::ApplyError;
use self::conditions::{Facts, Problem};
use self::due::{FOLLOW, Next, Sight, is, is_under_way, next, patience};
use self::reason::Reason;
use self::validate::Valid;
pub use self::watch::run;
use super::announce::Announcer;
use super::provider::{Accounts, Verdict};
use super::settings::Settings;
use crate::agent::prompts::Prompts;
use crate::api::Catalog;
use crate::api::catalog::{CatalogStatus, RunStatus};
use crate::llm::Http;
use crate::runtime::fence::Fence;
use crate::runtime::lease::Holding;
use crate::runtime::metrics::Metrics;
use crate::runtime::metrics::labels::{Kind, Reconciled, StatusOutcome};
use crate::sandbox::InstallationSecret;
use crate::sessions::queue::Place;
use crate::sessions::{Assignment, Key, OwnStore, Sessions, View};

/// How often a Catalog is looked at for which nothing happens: what nobody tells of is found then.
const REST: Duration = Duration::from_hours(1);

/// How often, if its prompts are its own: all `ConfigMaps` of a cluster would have to be watched to hear of a change.
const PROMPTS: Duration = Duration::from_mins(1);

/// What the controller works with.
pub struct Context {
    /// The cluster.
    pub client: Client,
    /// The operator's configuration.
    pub settings: Settings,
    /// The runs that are under way.
    pub sessions: Sessions,
    /// The providers.
    pub accounts: Accounts,
    /// What agents are told.
    pub prompts: Receiver<Arc<Prompts>>,
    /// Connections to models.
    pub http: Http,
    /// The operator's own bucket.
    pub store: Option<OwnStore>,
    /// The operator's own secrets, to be hidden.
    pub secrets: Vec<SecretString>,
    /// What the keys of sandboxes are derived from.
    pub installation: InstallationSecret,
    /// Which leader this is.
    pub epoch: u64,
    /// Whether it still is.
    pub holding: Holding,
    /// Where writes ask that.
    pub fence: Fence,
    /// Tells people.
    pub announcer: Announcer,
    /// Who counts.
    pub metrics: Metrics,
    /// When statuses were last written: what changes all the time is not written all the time.
    pub written: Mutex<BTreeMap<String, Instant>>,
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Context")
    }
}

/// Looks at a Catalog once.
async fn reconcile(
    object: Arc<DeserializeGuard<Catalog>>,
    context: Arc<Context>,
) -> Result<Action, ApplyError> {
    let began = Instant::now();
    let result = match &object.0 {
        Ok(catalog) => {
            let span = info_span!("reconcile", catalog = %format_args!(
                "{}/{}", catalog.namespace().unwrap_or_default(), catalog.name_any()
            ));
            Box::pin(look(catalog, &context)).instrument(span).await
        }
        Err(unreadable) => {
            let told = unread::tell(&context, unreadable).await;
            told.map(|action| (action, Reconciled::Stalled))
        }
    };
    let outcome = match &result {
        Ok((_, outcome)) => *outcome,
        Err(ApplyError::Stale { .. }) => Reconciled::Retry,
        Err(ApplyError::Api { .. }) => Reconciled::Error,
    };
    context
        .metrics
        .reconciled(Kind::Catalog, outcome, began.elapsed());
    result.map(|(action, _)| action)
}

/// What a look comes to, before anything is written.
struct Decision {
    status: CatalogStatus,
    next: Next,
    /// A session that begins once the status is written.
    start: Option<Box<Assignment>>,
    /// When to look again.
    again: Duration,
    /// For who counts.
    outcome: Reconciled,
}

async fn look(catalog: &Catalog, context: &Context) -> Result<(Action, Reconciled), ApplyError> {
    let Some(uid) = catalog.uid() else {
        return Ok((Action::await_change(), Reconciled::Ok));
    };
    let key = Key {
        uid,
        namespace: catalog.namespace().unwrap_or_default(),
        name: catalog.name_any(),
    };
    if catalog.meta().deletion_timestamp.is_some() {
        context.sessions.abandon(&key);
        return Ok((Action::await_change(), Reconciled::Ok));
    }
    let old = catalog.status.clone().unwrap_or_default();
    let view = context.sessions.view(&key.uid);
    let over = matches!(view, View::Over { .. });
    let decision = Box::pin(decide(catalog, &key, &old, &view, context)).await;
    if decision.status != old && (over || may_write(&key, &old, &decision.status, context)) {
        let written = if context.holding.is_held_now() {
            apply::status(&context.client, catalog, &decision.status).await
        } else {
            // It was away for a while: somebody else may lead.
            Err(ApplyError::Stale {
                catalog: key.to_string(),
            })
        };
        context.metrics.status_written(match &written {
            Ok(_) => StatusOutcome::Ok,
            Err(ApplyError::Stale { .. }) => StatusOutcome::Conflict,
            Err(ApplyError::Api { .. }) => StatusOutcome::Error,
        });
        if let Err(error) = written {
            if decision.start.is_some() {
                // The place stays asked for: the next look, which comes soon, takes it.
                context.sessions.leave(&key);
            }
            return Err(error);
        }
        remember(&key, context);
        for news in events::events(&old, &decision.status) {
            context.announcer.tell(catalog.object_ref(&()), news.into());
        }
    }
    let rest = rest(catalog);
    if over {
        context.sessions.forget(&key);
        context.sessions.look_at(key);
        return Ok((Action::requeue(rest), Reconciled::Ok));
    }
    match decision.next {
        Next::Stop(why) => context.sessions.stop(&key.uid, why),
        Next::Expire => {
            apply::delete(&context.client, catalog).await?;
            tracing::info!("its time to live is over: deleted");
        }
        _ => {}
    }
    if let Some(assignment) = decision.start {
        context.sessions.start(*assignment);
    }
    Ok((Action::requeue(decision.again), decision.outcome))
}

/// When to look again while nothing is heard.
fn rest(catalog: &Catalog) -> Duration {
    if catalog.spec.prompts.is_some() {
        PROMPTS
    } else {
        REST
    }
}

/// Whether a change is worth a write now. What a run is at changes with each turn; that is written now and then.
fn may_write(key: &Key, old: &CatalogStatus, new: &CatalogStatus, context: &Context) -> bool {
    if quiet(old) != quiet(new) {
        return true;
    }
    let written = context.written.lock().unwrap_or_else(PoisonError::into_inner);
    written.get(&key.uid).is_none_or(|at| at.elapsed() >= FOLLOW)
}

fn remember(key: &Key, context: &Context) {
    let mut written = context.written.lock().unwrap_or_else(PoisonError::into_inner);
    written.retain(|_, at| at.elapsed() < FOLLOW);
    written.insert(key.uid.clone(), Instant::now());
}

/// A status without what changes with each turn.
fn quiet(status: &CatalogStatus) -> CatalogStatus {
    let mut quiet = status.clone();
    if let Some(run) = quiet.run.as_mut().filter(|run| is_under_way(run)) {
        run.message = None;
        run.usage = None;
        run.iteration = 0;
        run.model = None;
    }
    for condition in &mut quiet.conditions {
        condition.message.clear();
    }
    quiet
}

/// As times are written: what is read back must be what was written.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

async fn decide(
    catalog: &Catalog,
    key: &Key,
    old: &CatalogStatus,
    view: &View,
    context: &Context,
) -> Decision {
    let now = now();
    let spec = &catalog.spec;
    let mut status = old.clone();
    let mut summary = None;
    let mut obstacle = None;
    let sight = match view {
        View::Absent => Sight::Absent,
        View::Running {
            progress,
            elapsed,
            stopping,
        } => {
            lifecycle::follow(&mut status, progress, now);
            obstacle.clone_from(&progress.obstacle);
            Sight::Running {
                elapsed: *elapsed,
                stopping: stopping.is_some(),
            }
        }
        View::Over {
            progress,
            ended,
            stopped,
        } => {
            summary = lifecycle::end(&mut status, (ended, progress, *stopped), spec.backoff_limit, now);
            Sight::Absent
        }
    };
    let valid = valid(catalog, key, context).await;
    let mut problem = valid.as_ref().err().cloned();
    let (mut then, mut start) = (Next::Rest, None);
    match &valid {
        Ok(valid) => {
            then = next(&valid.wanted, &status, sight, now);
            // An end is written down before anything else begins.
            if let Next::Begin { run, before } = &then
                && !matches!(view, View::Over { .. })
            {
                match begin(catalog, key, valid, (run, *before), &mut status, context, now).await {
                    Ok(assignment) => start = assignment.map(Box::new),
                    Err(why) => problem = Some(why),
                }
            } else if sight == Sight::Absent {
                // Who waits for nothing must not stand in the queue.
                context.sessions.leave(key);
                if spec.suspend {
                    lifecycle::suspend(&mut status, now);
                }
            }
        }
        Err(why) if matches!(sight, Sight::Running { .. }) => {
            then = if why.passes {
                Next::Follow
            } else {
                Next::Stop(crate::sessions::Stop::Replaced)
            };
        }
        Err(why) => {
            context.sessions.leave(key);
            stand_still(&mut status, spec.suspend, why, now);
        }
    }
    let wanted = valid.as_ref().ok().map(|valid| &valid.wanted);
    let again = match &then {
        Next::Wait(left) => (*left).clamp(Duration::from_millis(200), rest(catalog)),
        Next::Follow | Next::Stop(_) => FOLLOW,
        Next::Begin { .. } if start.is_some() => FOLLOW,
        _ => match &problem {
            Some(why) if why.passes => patience(reconciling_since(old, why), now),
            _ => rest(catalog),
        },
    };
    conditions::update(
        &mut status,
        &Facts {
            wanted,
            suspended: spec.suspend,
            // Of a run that goes on, nothing is wrong.
            problem: problem
                .as_ref()
                .filter(|why| !why.passes || matches!(sight, Sight::Absent)),
            obstacle: obstacle.as_deref(),
            summary: summary.as_ref(),
            generation: catalog.metadata.generation,
            now,
        },
    );
    let outcome = match &problem {
        Some(why) if why.passes => Reconciled::Waiting,
        Some(_) => Reconciled::Stalled,
        None if matches!(then, Next::Rest) => Reconciled::Ok,
        None => Reconciled::Waiting,
    };
    Decision {
        status,
        next: then,
        start,
        again,
        outcome,
    }
}

/// Nothing can run; of a Catalog that is suspended nothing would.
fn stand_still(status: &mut CatalogStatus, suspended: bool, why: &Problem, now: Timestamp) {
    if suspended {
        lifecycle::suspend(status, now);
    } else {
        lifecycle::wait(status, why.reason, &why.message, now);
    }
}

/// Since when a thing is missing, as far as a condition says.
fn reconciling_since<'a>(
    status: &'a CatalogStatus,
    problem: &Problem,
) -> Option<&'a k8s_openapi::apimachinery::pkg::apis::meta::v1::Time> {
    let reason = problem.reason.to_string();
    if let Some(run) = status
        .run
        .as_ref()
        .filter(|run| run.reason.as_ref() == Some(&reason))
    {
        return run.phase_since.as_ref();
    }
    let told = status.conditions.iter().find(|it| it.reason == reason)?;
    Some(&told.last_transition_time)
}

async fn valid(catalog: &Catalog, key: &Key, context: &Context) -> Result<Valid, Problem> {
    let found = dereference::dereference(
        &context.client,
        &context.accounts,
        &context.settings,
        &key.namespace,
        &catalog.spec,
    )
    .await?;
    let prompts = Arc::clone(&context.prompts.borrow());
    validate::validate(catalog, &found, &context.settings, &prompts)
}

/// Gets a place for a run and all that it needs; nothing, if it has to wait for its turn.
async fn begin(
    catalog: &Catalog,
    key: &Key,
    valid: &Valid,
    (run, before): (&RunStatus, bool),
    status: &mut CatalogStatus,
    context: &Context,
    now: Timestamp,
) -> Result<Option<Assignment>, Problem> {
    let adopt =
        status.artifacts.is_none() && status.history.is_empty() && run.id.is_none() && run.attempt == 1;
    let same = status
        .run
        .as_ref()
        .is_some_and(|known| is_under_way(known) && known.fingerprint == run.fingerprint);
    if !same
        || status
            .run
            .as_ref()
            .is_some_and(|known| is(known, Reason::BackingOff))
    {
        status.run = Some(run.clone());
    }
    let usable = usable(valid, context);
    if let Err(why) = usable {
        context.sessions.leave(key);
        lifecycle::wait(status, why.reason, &why.message, now);
        return Err(why);
    }
    if let Place::Waiting { position, of } = context.sessions.ask(key, before) {
        let message = format!(
            "waits for its turn: {position} of {of} in the queue; {} runs may be under way at once",
            context.settings.most_runs
        );
        lifecycle::wait(status, Reason::Queued, &message, now);
        return Ok(None);
    }
    let due = build::Due { run, adopt };
    match Box::pin(build::assignment(context, catalog, key, valid, due)).await {
        Ok(assignment) => {
            status.run = Some(run.clone());
            Ok(Some(assignment))
        }
        Err(why) => {
            // Others can use the place meanwhile.
            context.sessions.leave(key);
            lifecycle::wait(status, why.reason, &why.message, now);
            Err(why)
        }
    }
}

/// Whether the provider can be asked now.
fn usable(valid: &Valid, context: &Context) -> Result<(), Problem> {
    let Some(provider) = &valid.provider else {
        return Ok(());
    };
    let (reason, message) = match context.accounts.verdict(provider) {
        Verdict::Usable => return Ok(()),
        Verdict::Unknown { message } => (Reason::ProviderNotReady, format!("the {provider}: {message}")),
        Verdict::Missing => (
            Reason::ProviderMissing,
            format!("there is no {provider}: create it, or name another one"),
        ),
        Verdict::NotReady { reason, message } => (
            Reason::ProviderNotReady,
            format!("the {provider} is not ready ({}): {message}", reason.as_str()),
        ),
        Verdict::Closed { until, message } => (
            Reason::BudgetUsedUp,
            format!("the {provider} is closed until {until}: {message}"),
        ),
    };
    Err(Problem {
        reason,
        message,
        passes: true,
    })
}

/// When to look again after a failure to write.
#[expect(clippy::needless_pass_by_value, reason = "kube gives it so")]
fn after_error(object: Arc<DeserializeGuard<Catalog>>, error: &ApplyError, _context: Arc<Context>) -> Action {
    match error {
        // The change is on its way to us.
        ApplyError::Stale { .. } => Action::requeue(Duration::from_millis(500)),
        ApplyError::Api { .. } => {
            warn!(catalog = object.name_any(), %error, "a Catalog could not be looked after");
            Action::requeue(Duration::from_secs(5))
        }
    }
}
